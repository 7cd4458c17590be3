/* SPDX-License-Identifier: MIT
   From state, snapshots and journal to memory: at the start, and after a failed write. */
#include <config.h>

#include "core/store/store-private.h"

#include <stdio.h>
#include <stdlib.h>

/* After damage sequence numbers go on this much higher: no more records than this can have been lost, since the state is written whenever a segment
   is full. */
#define SEQ_JUMP (1u << 24)
/* So many UIDs are passed over in each mailbox of an index that is a copy: what was given out since it was made is not known. */
#define UID_JUMP (1u << 20)
#define MEND_RETRY_MS 1000
#define UNSYNCED_MAX 65536u /* more records than fit into what may wait for a sync (TAIL_MAX of journal-write.c) */
/* The least octets of a record that gives out a UID. */
#define APPEND_MIN 128u

/* What the snapshots say when the state does not: found by their names. */
struct known {
	uint64_t seq;
	struct cv_snapshot *snapshot; /* owned */
};
struct overlay {
	CV_VEC(struct known) known; /* by sequence number */
	size_t next;
};

struct replay {
	struct cv_user *user;
	unsigned what;
	struct overlay overlay;
};

/* ---- snapshots instead of the state ----------------------------------------------------------------------------- */

static int note_snapshot(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct replay *replay = ctx;
	struct cv_user *user = replay->user;
	struct cv_snapshot *snapshot;
	struct cv_err open_err = { 0 };
	size_t len = strlen(name);
	int ret;

	(void)type;
	if (strncmp(name, "box.", 4) != 0 || (len != 4 + 32 && (len != 4 + 32 + 4 || strcmp(name + 36, ".old") != 0)))
		return 1;
	ret = cv_snapshot_open(user->index_dir, name, &snapshot, &open_err);
	if (ret > 0)
		*cv_vec_push(&replay->overlay.known) = (struct known){ snapshot->head.seq, snapshot };
	else if (ret < 0 && open_err.code != CV_ERR_CORRUPT) { /* set aside when the mailbox is loaded */
		*err = open_err;
		return -1;
	}
	return 1;
}

static int compare_known(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int list_snapshots(struct replay *replay, struct cv_err *err)
{
	if (cv_file_list(replay->user->index_dir, ".", note_snapshot, replay, err) < 0)
		return -1;
	if (replay->overlay.known.count > 1)
		qsort(replay->overlay.known.data, replay->overlay.known.count, sizeof(*replay->overlay.known.data), compare_known);
	return 1;
}

static void free_snapshots(struct overlay *overlay)
{
	for (size_t i = 0; i < overlay->known.count; i++)
		cv_snapshot_free(&overlay->known.data[i].snapshot);
	cv_vec_free(&overlay->known);
}

/* A name for a mailbox that is known from its snapshot alone. */
static struct cv_name *free_name(struct cv_user *user, struct cv_str text)
{
	struct cv_name *name = text.len > 0 ? cv_tree_find(user, text) : NULL;
	struct cv_buf other;

	if (text.len > 0 && (name == NULL || name->mailbox == NULL))
		return cv_tree_add(user, text);
	cv_buf_init(&other, text.len + 32);
	for (unsigned i = 1; name == NULL || name->mailbox != NULL; i++) {
		cv_buf_clear(&other);
		cv_buf_printf(&other, "%.*s-%u", CV_STR_ARG(text.len > 0 ? text : CV_STR("lost")), i);
		name = cv_tree_add(user, cv_buf_str(&other));
	}
	cv_buf_deinit(&other);
	return name;
}

/* A snapshot may have later changes than its sequence number tells: their records follow. */
static void take_annotations(struct cv_mailbox *mailbox, const struct cv_snapshot_head *head)
{
	struct cv_reader reader = cv_reader_init(head->annotations);

	if (head->seq <= mailbox->annotations.seq)
		return;
	cv_annotations_clear(&mailbox->annotations);
	if (head->annotations.ptr != NULL && !cv_annotations_take(&reader, &mailbox->annotations))
		cv_warn(&mailbox->log_ctx, "annotations in the snapshot make no sense");
	mailbox->annotations.seq = head->seq;
	cv_annotations_use(mailbox);
}

/* Numbers of a mailbox as its snapshot has them, when they are newer than what is known. */
static void take_known(struct cv_user *user, const struct cv_snapshot_head *head)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &head->guid);

	if (mailbox == NULL) {
		struct cv_name *name = free_name(user, head->name);

		mailbox = cv_mailbox_new(user, &head->guid);
		mailbox->uidvalidity = head->uidvalidity;
		mailbox->special_use = head->special_use;
		mailbox->name = name;
		mailbox->log_ctx.mailbox = cv_name_str(name);
		name->mailbox = mailbox;
		name->subscribed = name->subscribed || head->subscribed;
		mailbox->older_need = 1;
		user->last_uidvalidity = CV_MAX(user->last_uidvalidity, head->uidvalidity);
	}
	if (head->highest_modseq >= mailbox->highest_modseq) {
		/* Annotations that were changed while it was written may be in it already: the columns tell. */
		mailbox->counts = (struct cv_counts){ head->messages, head->unseen, head->deleted, head->recent, head->size,
			head->first_unseen, head->notes_len, head->notes_count > 0 };
		user->usage_known = user->notes_known = false;
		mailbox->first_recent = head->first_recent;
		mailbox->highest_modseq = head->highest_modseq;
	}
	take_annotations(mailbox, head);
	mailbox->uidnext = CV_MAX(mailbox->uidnext, head->uidnext);
	mailbox->uid_reserved = CV_MAX(mailbox->uid_reserved, mailbox->uidnext);
	if (head->seq > mailbox->snapshot_seq)
		mailbox->snapshot_seq = head->seq;
	user->list_valid = false;
}

static void take_known_before(struct replay *replay, uint64_t seq)
{
	struct overlay *overlay = &replay->overlay;

	for (; overlay->next < overlay->known.count && overlay->known.data[overlay->next].seq < seq; overlay->next++)
		take_known(replay->user, &overlay->known.data[overlay->next].snapshot->head);
}

/* ---- journal ----------------------------------------------------------------------------------------------------- */

static void forget_settled(struct cv_user *user, struct cv_str entries)
{
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;

	while (cv_entry_next(&reader, &entry) > 0) {
		if (entry.kind == CV_ENTRY_SETTLED)
			cv_owed_forget(user, entry.number);
	}
}

static int replay_record(void *ctx, const struct cv_record_head *head, struct cv_journal_pos pos, struct cv_str entries,
	struct cv_err *err)
{
	struct replay *replay = ctx;
	struct cv_user *user = replay->user;
	struct cv_record_head weighed = *head;
	uint32_t octets = cv_entries_octets(entries);

	if (head->seq > user->published_seq && (replay->what & CV_APPLY_TREE) == 0)
		return 1;
	user->replayed++;
	if (head->seq > user->state_seq)
		user->behind_records++;
	take_known_before(replay, head->seq);
	weighed.len = cv_record_weight(head->len, octets);
	if (cv_apply_record(user, &weighed, pos, entries, replay->what, err) < 0)
		return -1;
	if ((replay->what & CV_APPLY_TREE) != 0)
		forget_settled(user, entries);
	if ((replay->what & CV_APPLY_TREE) != 0 && cv_record_owes(entries))
		cv_owed_add(user, &(struct cv_owed){ .seq = head->seq, .pos = pos, .octets = octets, .again = true, .copies = true });
	if (head->seq > user->work_seq && (replay->what & CV_APPLY_TREE) != 0 && cv_record_has_work(user, entries))
		cv_work_add(user, head->seq, pos);
	return 1;
}

static void note_lost(struct cv_journal_damage *damage, uint64_t lost, const char *what)
{
	damage->damaged = true;
	damage->lost = damage->lost > UINT64_MAX - lost ? UINT64_MAX : damage->lost + lost;
	if (damage->what[0] == '\0')
		(void)snprintf(damage->what, sizeof(damage->what), "%s", what);
}

/* The segment that the journal ended in when the state was written is not there, and was not dropped because all in it was folded. */
static bool end_is_missing(struct cv_journal *journal, struct cv_journal_pos end, uint64_t state_seq)
{
	if (end.segment == 0 || cv_journal_has_segment(journal, end.segment))
		return false;
	/* Its number is not used again: places in it are remembered elsewhere. */
	journal->next_number = CV_MAX(journal->next_number, end.segment + 1);
	for (size_t i = 0; i < journal->segments.count; i++) {
		const struct cv_segment *segment = &journal->segments.data[i];

		if (segment->number > end.segment)
			return !segment->damaged && segment->before_seq > state_seq;
	}
	return end.offset > CV_SEGMENT_HEAD;
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

/* Higher than all that a client may have seen: UIDs and sequence numbers that were given out in what is lost. */
static void jump(struct cv_user *user, uint32_t uids)
{
	struct cv_str key;
	size_t pos = 0;
	void *value;

	user->journal.seq += SEQ_JUMP;
	user->published_seq = user->journal.written_seq = user->journal.seq;
	while (cv_map_next(user->mailboxes, &pos, &key, &value)) {
		struct cv_mailbox *mailbox = value;

		mailbox->needs_scan = true;
		if (mailbox->uidnext < UINT32_MAX / 2) /* the more were passed over, the fewer are */
			mailbox->uidnext += CV_MIN(uids, (UINT32_MAX / 2 - mailbox->uidnext) / 64 + 1);
		mailbox->uid_reserved = CV_MAX(mailbox->uid_reserved, mailbox->uidnext);
		mailbox->highest_modseq = mailbox->vanished_from = user->journal.seq;
	}
}

/* The same in the journal. */
static int record_jump(struct cv_user *user, struct cv_err *err)
{
	struct cv_txn *txn = cv_txn_begin(user);
	struct cv_str key;
	size_t pos = 0;
	void *value;

	txn->internal = true;
	while (cv_map_next(user->mailboxes, &pos, &key, &value)) {
		const struct cv_mailbox *mailbox = value;
		const struct cv_entry entry = { .kind = CV_ENTRY_UIDNEXT, .mailbox = mailbox->guid, .uid = mailbox->uidnext,
			.number = user->journal.seq };

		cv_txn_add_entry(txn, &entry);
	}
	return cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
}

/* All that is known goes to snapshots and a state, which ask for a scan of every mailbox; only then segments that do not check are set aside, so
   that a crash in between finds the same damage again. */
static int look_everywhere(struct cv_user *user, uint32_t uids, struct cv_err *err)
{
	jump(user, uids);
	/* While the records can be read that have messages' octets. */
	cv_owed_begin(user);
	user->folders_behind = user->work_due > 0;
	if (cv_owed_all(user, err) < 0 || cv_checkpoint_all(user, err) < 0 || cv_journal_rotate(&user->journal, err) < 0 || cv_journal_set_aside(&user->journal, err) < 0)
		return cv_err_context(err, "after damage");
	user->journal.lost_seq = user->published_seq;
	if (record_jump(user, err) < 0 || cv_state_write(user, err) < 0)
		return cv_err_context(err, "after damage");
	user->adopt_folders = true;
	return 1;
}

static int heal(struct cv_user *user, const struct cv_journal_damage *damage, struct cv_err *err)
{
	uint64_t lost = CV_MIN(damage->lost, 2 * user->set->mail_journal_segment_size);

	cv_error(&user->log_ctx, "journal is damaged, changes that were confirmed may be lost: %s; what is there is kept, bad files are set aside, "
		"and the messages of every mailbox are looked for", damage->what);
	return look_everywhere(user, user->lease.copied ? UID_JUMP : (uint32_t)(lost / APPEND_MIN) + 1, err);
}

/* A backup of the index was put back, or the mail was copied to another place: messages that came after it may be there without it, and clients may know UIDs
   and sequence numbers that it does not know. */
static int begin_from_copy(struct cv_user *user, struct cv_err *err)
{
	cv_warn(&user->log_ctx, "the index is a copy (of a backup that was put back, or from another disk), with changes up to record %llu: the messages of every mailbox "
		"are looked for, and new ones get higher UIDs than any that may have been given out since it was made", (unsigned long long)user->published_seq);
	return look_everywhere(user, UID_JUMP, err);
}

/* Flushing tells those who wait, who may commit more. */
static int settle(struct cv_user *user, struct cv_err *err)
{
	for (unsigned i = 0; i < 100; i++) {
		cv_user_flush(user);
		if (user->broken)
			return cv_err_set(err, CV_ERR_TEMP, "memory is not what the journal says");
		if (!cv_user_unpublished(user))
			return 1;
	}
	return cv_err_set(err, CV_ERR_TEMP, "changes do not end");
}

/* No snapshot needs records of a bad segment: one whose older one does, or that has none, is followed by a newer one. */
static int write_snapshots_twice(struct cv_user *user, struct cv_err *err)
{
	for (size_t i = 0; i < user->names.count; i++) {
		struct cv_mailbox *mailbox = user->names.data[i]->mailbox;

		if (mailbox != NULL && mailbox->snapshot_seq != 0 && (mailbox->older_need != 0 || mailbox->older_seq == 0))
			mailbox->rewrite = true;
	}
	return cv_checkpoint_all(user, err);
}

int cv_user_write_anew(struct cv_user *user, struct cv_err *err)
{
	bool damaged = cv_journal_is_damaged(&user->journal);

	/* Messages' octets are only there until their files are made. What is to be removed is known from records of the journal: files would come back as messages. */
	if (damaged && cv_owed_all(user, err) < 0)
		return -1;
	if (damaged)
		cv_work_run(user, true);
	if (damaged && (user->owed.count > 0 || ((user->external || user->set->mail_undelete_time == 0) && cv_work_is_due(user))))
		return cv_err_set(err, CV_ERR_TEMP, "messages that are to be made or removed are waited for");
	if (cv_checkpoint_all(user, err) < 0 || (damaged && write_snapshots_twice(user, err) < 0))
		return -1;
	if (settle(user, err) < 0)
		return -1;
	if (damaged) {
		if (cv_journal_rotate(&user->journal, err) < 0 || cv_journal_set_aside(&user->journal, err) < 0)
			return -1;
		user->journal.lost_seq = user->published_seq;
	}
	if (cv_state_write(user, err) < 0)
		return -1;
	user->journal.harmed = false;
	return 1;
}

void cv_user_mend_journal(struct cv_user *user)
{
	struct cv_err err = { 0 };

	if (!user->journal.harmed || user->mending || user->broken || user->lost || user->recovering || user->fsck_running || cv_time_mono_ms() < user->checkpoint_retry_ms)
		return;
	/* What runs just now ends first. */
	if (user->checkpoint_running || user->work_running || user->owed_running) {
		cv_checkpoint_soon(user);
		return;
	}
	user->mending = true;
	if (cv_user_write_anew(user, &err) > 0) {
		cv_warn(&user->log_ctx, "the journal was harmed while the mail was open: all that is known was written anew from memory");
	} else {
		cv_error(&user->log_ctx, "the journal was harmed while the mail was open, and can't be written anew yet (a crash may lose changes until it can): %s", err.text);
		user->checkpoint_retry_ms = cv_time_mono_ms() + MEND_RETRY_MS;
	}
	user->mending = false;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

/* Does the journal begin behind the state? One that is damaged may or may not: scanning tells. */
static bool is_short_of_state(const struct cv_user *user)
{
	return user->journal.segments.count > 0 && !cv_journal_is_damaged(&user->journal) &&
		cv_journal_complete_from(&user->journal) > user->state_seq;
}

/* The newest state that the journal goes back to. */
static int read_state(struct cv_user *user, struct cv_state_info *info, struct cv_err *err)
{
	int ret = cv_state_read(user, info, err);

	if (ret > 0 && !info->older && is_short_of_state(user)) {
		struct cv_journal_pos end = info->end;

		cv_error(&user->log_ctx, "state is as of record %llu, the journal does not go back that far: it is set aside",
			(unsigned long long)user->state_seq);
		cv_user_set_aside(user, "state");
		cv_state_forget(user);
		ret = cv_state_read(user, info, err);
		if (ret == 0)
			info->end = end;
	}
	return ret;
}

int cv_user_recover(struct cv_user *user, struct cv_err *err)
{
	struct replay replay = { .user = user, .what = CV_APPLY_TREE | CV_APPLY_COUNTS | CV_APPLY_NOTE };
	struct cv_journal *journal = &user->journal;
	struct cv_journal_damage damage = { 0 };
	struct cv_state_info info;
	bool missing, short_of;
	uint64_t given;
	int ret;

	if (cv_journal_list(journal, err) < 0)
		return cv_err_context(err, "journal");
	if (read_state(user, &info, err) < 0)
		return -1;
	given = journal->seq;
	missing = end_is_missing(journal, info.end, user->state_seq);
	short_of = is_short_of_state(user);
	ret = short_of || user->state_seq == 0 ? list_snapshots(&replay, err) : 1;
	user->recovering = true;
	if (ret > 0)
		ret = cv_journal_scan(journal, user->state_seq, missing ? (struct cv_journal_pos){ 0 } : info.end, true, replay_record, &replay,
			&damage, err);
	if (ret > 0 && missing)
		note_lost(&damage, UINT64_MAX, "the segment that was written to is missing");
	if (ret > 0 && short_of)
		note_lost(&damage, UINT64_MAX, "it does not go back to the state");
	if (ret > 0 && damage.damaged && replay.overlay.known.count == 0)
		ret = list_snapshots(&replay, err);
	if (replay.overlay.known.count > 0) {
		uint64_t newest = replay.overlay.known.data[replay.overlay.known.count - 1].seq;

		if (newest > journal->seq)
			note_lost(&damage, UINT64_MAX, "it ends before the snapshots");
		journal->seq = CV_MAX(journal->seq, newest);
		take_known_before(&replay, UINT64_MAX);
	}
	free_snapshots(&replay.overlay);
	if (ret < 0) {
		user->recovering = false;
		return cv_err_context(err, "journal");
	}
	if (damage.torn)
		cv_info(&user->log_ctx, "journal ended in a torn record: what was never confirmed was cut off");
	journal->seq = CV_MAX(journal->seq, given);
	user->published_seq = journal->written_seq = journal->seq;
	/* A power cut may have taken records that were shown and not synced yet: their numbers are not given to other changes. */
	if (journal->seq > 0)
		journal->seq += UNSYNCED_MAX;
	user->journal.epoch++;
	/* A former owner who lives may still write to the last segment: it is left then. */
	ret = cv_journal_resume(journal, user->lease.by_time ? 0 : user->set->mail_journal_segment_size, err);
	if (ret > 0 && damage.damaged)
		ret = heal(user, &damage, err);
	else if (ret > 0 && user->lease.copied && user->published_seq > 0)
		ret = begin_from_copy(user, err);
	user->recovering = false;
	return ret > 0 ? cv_lease_settle(&user->lease, err) : ret;
}

/* ---- after a failed write ------------------------------------------------------------------------------------------- */

static void forget(struct cv_mailbox *mailbox)
{
	uint64_t published = mailbox->user->published_seq;

	cv_mailbox_unload(mailbox);
	mailbox->counts = mailbox->base.counts;
	mailbox->user->usage_known = mailbox->user->notes_known = false;
	mailbox->uidnext = mailbox->base.uidnext;
	mailbox->first_recent = mailbox->base.first_recent;
	mailbox->highest_modseq = mailbox->base.highest_modseq;
	mailbox->vanished_from = mailbox->base.vanished_from;
	while (mailbox->behind.count > 0 && mailbox->behind.data[mailbox->behind.count - 1].seq > published) {
		uint64_t len = mailbox->behind.data[--mailbox->behind.count].len;

		mailbox->behind_octets -= CV_MIN(mailbox->behind_octets, len);
	}
	mailbox->applied_seq = 0;
}

int cv_user_reread(struct cv_user *user, struct cv_err *err)
{
	struct replay replay = { .user = user, .what = CV_APPLY_COUNTS | CV_APPLY_NOTE };
	struct cv_journal_damage damage;
	uint64_t seq = user->journal.seq;
	struct cv_str key;
	size_t pos = 0;
	void *value;

	user->generation++;
	user->behind_records = 0;
	while (cv_map_next(user->mailboxes, &pos, &key, &value))
		forget(value);
	if (cv_journal_scan(&user->journal, user->state_seq, (struct cv_journal_pos){ 0 }, false, replay_record, &replay, &damage, err) < 0)
		return cv_err_context(err, "journal");
	/* Memory without what was confirmed must not go on: the next opening looks for it everywhere, and says what is lost. */
	if (damage.damaged)
		return cv_err_set(err, CV_ERR_CORRUPT, "%s", damage.what);
	user->journal.seq = seq; /* numbers that were given out are not given out again */
	pos = 0;
	while (cv_map_next(user->mailboxes, &pos, &key, &value)) {
		struct cv_mailbox *mailbox = value;

		mailbox->uid_reserved = CV_MAX(mailbox->uid_reserved, mailbox->uidnext);
		/* Annotations are not read anew, but have raised it. */
		mailbox->highest_modseq = CV_MAX(mailbox->highest_modseq, mailbox->published_modseq);
		if (!cv_list_empty(&mailbox->views) && cv_mailbox_load(mailbox, err) < 0)
			return -1;
	}
	return 1;
}
