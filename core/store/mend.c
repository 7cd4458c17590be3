/* SPDX-License-Identifier: MIT
   Columns from a snapshot and the journal, and what to do when some of that is missing or does not check. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

void cv_user_set_aside(struct cv_user *user, const char *name)
{
	struct cv_err err = { 0 };

	if (cv_file_aside(user->index_dir, name, &err) < 0)
		cv_error(&user->log_ctx, "%s is damaged and could not be set aside: %s", name, err.text);
}

void cv_mailbox_recount(struct cv_mailbox *mailbox)
{
	const struct cv_columns *columns = mailbox->columns;
	struct cv_counts counts = { 0 };

	for (uint32_t row = 0; row < columns->count; row++) {
		uint16_t flags = *cv_col_flags(columns, row);
		uint32_t uid = *cv_col_uid(columns, row);

		if ((flags & CV_ROW_EXPUNGED) != 0)
			continue;
		counts.messages++;
		counts.size += *cv_col_virtual_size(columns, row);
		counts.deleted += (flags & CV_FLAG_DELETED) != 0;
		counts.recent += uid >= mailbox->first_recent;
		if ((flags & CV_FLAG_SEEN) == 0 && counts.unseen++ == 0)
			counts.first_unseen = uid;
		if (uid >= mailbox->uidnext)
			mailbox->uidnext = uid + 1;
	}
	mailbox->counts = counts;
	cv_notes_recount(mailbox);
	mailbox->user->usage_known = false;
	mailbox->user->state_dirty = true;
	mailbox->uid_reserved = CV_MAX(mailbox->uid_reserved, mailbox->uidnext);
}

/* What the columns should hold is not all known: the storage has to tell. */
static void left_to_scan(struct cv_mailbox *mailbox, const char *why)
{
	if (!mailbox->needs_scan)
		cv_error(&mailbox->log_ctx, "%s; the messages that are there will be looked for", why);
	mailbox->needs_scan = true;
	mailbox->user->state_dirty = true;
}

/* ---- snapshots ----------------------------------------------------------------------------------------------- */

/* 1 with a snapshot of this mailbox, 0 when there is none that can be used: one that does not check is set aside. */
static int open_snapshot(struct cv_mailbox *mailbox, const char *suffix, struct cv_snapshot **snapshot_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_err own_err = { 0 };
	char name[CV_BOX_NAME_MAX];
	int ret;

	cv_box_name(mailbox, "box", suffix, name);
	ret = cv_snapshot_open(user->index_dir, name, snapshot_r, &own_err);
	if (ret > 0 && memcmp(&(*snapshot_r)->head.guid, &mailbox->guid, sizeof(mailbox->guid)) != 0) {
		cv_snapshot_free(snapshot_r);
		ret = cv_err_set(&own_err, CV_ERR_CORRUPT, "%s is of another mailbox", name);
	}
	if (ret >= 0)
		return ret;
	if (own_err.code != CV_ERR_CORRUPT) {
		*err = own_err;
		return -1;
	}
	cv_error(&mailbox->log_ctx, "snapshot is damaged, it is set aside and the older one and the journal are used: %s", own_err.text);
	cv_user_set_aside(user, name);
	mailbox->rewrite = true;
	return 0;
}

/* Keyword sets get the numbers that they have in this process. False when the column does not check. */
static bool number_sets(struct cv_mailbox *mailbox, struct cv_snapshot *snapshot)
{
	uint32_t *sets = (uint32_t *)(void *)(snapshot->octets + snapshot->head.column_offset[CV_COLUMN_keyword_set]), *map;

	if (cv_keywords_adopt(&mailbox->keywords, &snapshot->head, &map) > 0)
		return true;
	for (uint32_t chunk = 0; chunk < cv_snapshot_chunks(snapshot); chunk++) {
		if (!cv_snapshot_chunk_ok(snapshot, CV_COLUMN_keyword_set, chunk)) {
			cv_free(map);
			return false;
		}
		snapshot->checked[CV_COLUMN_keyword_set][chunk] = CV_CHUNK_WRITTEN; /* sets have other numbers in the file */
	}
	for (uint32_t row = 0; row < snapshot->head.rows; row++)
		sets[row] = sets[row] <= snapshot->head.set_count ? map[sets[row]] : 0;
	cv_free(map);
	return true;
}

static void take_vanished(struct cv_mailbox *mailbox, const struct cv_snapshot_head *head)
{
	struct cv_reader reader = cv_reader_init(head->vanished);
	struct cv_vanished v;

	if (mailbox->mending)
		return;
	mailbox->vanished.count = 0;
	while (cv_take_u64(&reader, &v.modseq) && cv_take_u32(&reader, &v.first) && cv_take_u32(&reader, &v.last))
		*cv_vec_push(&mailbox->vanished) = v;
	mailbox->vanished_from = CV_MAX(mailbox->vanished_from, head->vanished_from);
}

/* ---- journal --------------------------------------------------------------------------------------------------- */

/* The records that are known to be behind the snapshot. */
static int replay_behind(struct cv_mailbox *mailbox, uint64_t above, struct cv_err *err)
{
	struct cv_journal *journal = &mailbox->user->journal;
	struct cv_record_head head;
	struct cv_str entries;
	struct cv_buf buf;
	int ret = 1;

	cv_buf_init(&buf, CV_JOURNAL_READ_MAX);
	for (size_t i = 0; ret > 0 && i < mailbox->behind.count; i++) {
		const struct cv_behind *behind = &mailbox->behind.data[i];
		struct cv_err read_err = { 0 };

		if (behind->seq <= above)
			continue;
		if (cv_journal_read(journal, behind->pos, &buf, &head, &entries, &read_err) > 0 && head.seq == behind->seq) {
			mailbox->user->replayed++;
			ret = cv_apply_rows(mailbox, &head, behind->pos, entries, err);
		} else if (read_err.code == CV_ERR_NONE || read_err.code == CV_ERR_CORRUPT || read_err.code == CV_ERR_NOTFOUND) {
			cv_error(&mailbox->log_ctx, "journal record %llu is lost: %s", (unsigned long long)behind->seq,
				read_err.code == CV_ERR_NONE ? "another one is in its place" : read_err.text);
			cv_journal_mark_damaged(journal, behind->pos.segment);
			left_to_scan(mailbox, "changes of the mailbox are lost");
		} else {
			*err = read_err;
			ret = -1;
		}
	}
	cv_buf_deinit(&buf);
	return ret;
}

static int replay_one(void *ctx, const struct cv_record_head *head, struct cv_journal_pos pos, struct cv_str entries, struct cv_err *err)
{
	struct cv_mailbox *mailbox = ctx;
	if (head->seq > mailbox->user->published_seq || !cv_record_concerns(entries, &mailbox->guid))
		return 1;
	if (!mailbox->mending)
		*cv_vec_push(&mailbox->behind) = (struct cv_behind){ head->seq, pos, cv_record_weight(head->len, cv_entries_octets(entries)) };
	return cv_apply_rows(mailbox, head, pos, entries, err);
}

/* All records of the mailbox above seq, found by looking through the journal: 1; 0 when some of them are not there any more. */
static int replay_journal(struct cv_mailbox *mailbox, uint64_t seq, struct cv_err *err)
{
	/* Behind the older snapshot, or without one, it is known which record comes next; there may be none. */
	uint64_t need = seq < mailbox->older_seq ? seq + 1 : mailbox->older_need != 0 ? mailbox->older_need : mailbox->user->published_seq + 1;
	struct cv_journal *journal = &mailbox->user->journal;
	struct cv_journal_damage damage;
	uint64_t given = journal->seq;

	if (cv_journal_scan(journal, seq, (struct cv_journal_pos){ 0 }, false, replay_one, mailbox, &damage, err) < 0)
		return -1;
	journal->seq = CV_MAX(journal->seq, given);
	return !damage.damaged && cv_journal_complete_from(journal) <= CV_MAX(seq, need - 1);
}

/* ---- loading --------------------------------------------------------------------------------------------------- */

/* The snapshot has more than the journal: its end is lost, and what is known of the mailbox is older than the snapshot. */
static void journal_is_short(struct cv_mailbox *mailbox, const struct cv_snapshot_head *head)
{
	struct cv_user *user = mailbox->user;

	cv_error(&mailbox->log_ctx, "the journal ends at record %llu, the mailbox's snapshot has record %llu", (unsigned long long)user->published_seq,
		(unsigned long long)head->seq);
	user->journal.seq = CV_MAX(user->journal.seq, head->seq);
	mailbox->highest_modseq = CV_MAX(mailbox->highest_modseq, head->highest_modseq);
	mailbox->uidnext = CV_MAX(mailbox->uidnext, head->uidnext);
	mailbox->uid_reserved = CV_MAX(mailbox->uid_reserved, mailbox->uidnext);
	left_to_scan(mailbox, "the end of the journal is lost");
}

/* Neither snapshot is as new as it should be. */
static int load_older(struct cv_mailbox *mailbox, struct cv_snapshot *snapshot, struct cv_err *err)
{
	uint64_t seq = snapshot != NULL ? snapshot->head.seq : 0;
	int whole;

	mailbox->behind.count = 0;
	mailbox->rewrite = true;
	if (snapshot == NULL)
		mailbox->vanished.count = 0;
	whole = replay_journal(mailbox, seq, err);
	if (whole < 0)
		return -1;
	mailbox->snapshot_seq = mailbox->older_seq = seq;
	mailbox->older_need = mailbox->behind.count > 0 ? mailbox->behind.data[0].seq : 0;
	if (whole == 0) {
		mailbox->vanished_from = CV_MAX(mailbox->vanished_from, mailbox->highest_modseq);
		left_to_scan(mailbox, "the journal does not go back to the mailbox's snapshot");
	}
	return 1;
}

/* It was written after the state: a crash came between them. */
static void newer_than_known(struct cv_mailbox *mailbox, uint64_t seq)
{
	size_t kept = 0;

	mailbox->snapshot_seq = seq;
	mailbox->behind_octets = 0;
	for (size_t i = 0; i < mailbox->behind.count; i++) {
		if (mailbox->behind.data[i].seq <= seq)
			continue;
		mailbox->behind_octets += mailbox->behind.data[i].len;
		mailbox->behind.data[kept++] = mailbox->behind.data[i];
	}
	mailbox->behind.count = kept;
}

static int use_snapshot(struct cv_mailbox *mailbox, struct cv_snapshot **snapshot)
{
	if (*snapshot == NULL) {
		mailbox->columns = cv_columns_new();
		return 1;
	}
	if (!number_sets(mailbox, *snapshot)) {
		cv_snapshot_free(snapshot);
		return 0;
	}
	take_vanished(mailbox, &(*snapshot)->head);
	(*snapshot)->owner = mailbox;
	mailbox->columns = cv_columns_on(*snapshot);
	return 1;
}

/* Records tell what was changed in annotations, not how many octets they have then. */
static void count_loaded_notes(struct cv_mailbox *mailbox, bool was_lossy)
{
	const struct cv_counts *counts = &mailbox->counts;
	uint64_t loaded = cv_notes_octets(mailbox->columns), before = counts->notes;
	bool unknown = counts->notes_unknown;

	if (!unknown && counts->notes == loaded)
		return;
	cv_notes_recount(mailbox);
	mailbox->user->state_dirty = true;
	if (!unknown && counts->notes != before && !mailbox->needs_scan && !was_lossy)
		cv_error(&mailbox->log_ctx, "has %llu octets of annotations, %llu were counted: counted anew", (unsigned long long)counts->notes,
			(unsigned long long)before);
}

int cv_mailbox_load_columns(struct cv_mailbox *mailbox, struct cv_err *err)
{
	struct cv_snapshot *snapshot = NULL, *older = NULL;
	bool was_lossy = mailbox->needs_scan;
	uint64_t want = mailbox->snapshot_seq;
	uint32_t live;

	if (open_snapshot(mailbox, "", &snapshot, err) < 0)
		return -1;
	if ((snapshot == NULL && want > 0) || (snapshot != NULL && snapshot->head.seq < want)) {
		if (snapshot != NULL)
			cv_error(&mailbox->log_ctx, "snapshot has records up to %llu, it should have them up to %llu",
				(unsigned long long)snapshot->head.seq, (unsigned long long)want);
		else if (!mailbox->rewrite)
			cv_error(&mailbox->log_ctx, "snapshot is missing");
		if (open_snapshot(mailbox, ".old", &older, err) < 0) {
			cv_snapshot_free(&snapshot);
			return -1;
		}
		if (older != NULL && (snapshot == NULL || older->head.seq > snapshot->head.seq)) {
			cv_snapshot_free(&snapshot);
			snapshot = older;
			older = NULL;
		}
		cv_snapshot_free(&older);
	}
	if (use_snapshot(mailbox, &snapshot) == 0) /* keywords' numbers are damaged */
		mailbox->columns = cv_columns_new();
	mailbox->vanished.count = snapshot != NULL ? mailbox->vanished.count : 0;
	if (snapshot != NULL && snapshot->head.seq > mailbox->user->published_seq)
		journal_is_short(mailbox, &snapshot->head);
	if ((snapshot != NULL ? snapshot->head.seq : 0) < want) {
		if (load_older(mailbox, snapshot, err) < 0)
			return -1;
	} else if (replay_behind(mailbox, snapshot != NULL ? snapshot->head.seq : 0, err) < 0) {
		return -1;
	}
	if (snapshot != NULL && snapshot->head.seq > want)
		newer_than_known(mailbox, snapshot->head.seq);
	live = mailbox->columns->count - mailbox->columns->dead;
	/* What was mended meanwhile was counted before the last records were applied. */
	if (live != mailbox->counts.messages || (mailbox->needs_scan && !was_lossy)) {
		if (!mailbox->needs_scan && !was_lossy)
			cv_error(&mailbox->log_ctx, "has %u messages, %u were counted: counted anew", live, mailbox->counts.messages);
		cv_mailbox_recount(mailbox);
	}
	count_loaded_notes(mailbox, was_lossy);
	return 1;
}

/* ---- mending --------------------------------------------------------------------------------------------------- */

struct bad {
	uint8_t *chunks[CV_COLUMNS], *blocks;
	bool any_block;
};

static void find_bad(const struct cv_snapshot *snapshot, struct bad *bad)
{
	for (unsigned i = 0; i < CV_COLUMNS; i++) {
		bad->chunks[i] = cv_calloc((size_t)cv_snapshot_chunks(snapshot) + 1, 1);
		for (uint32_t chunk = 0; chunk < cv_snapshot_chunks(snapshot); chunk++)
			bad->chunks[i][chunk] = snapshot->checked[i][chunk] == 0 && !cv_snapshot_chunk_ok(snapshot, (enum cv_column)i, chunk);
	}
	bad->blocks = cv_calloc((size_t)cv_snapshot_pool_blocks(snapshot) + 1, 1);
	for (uint32_t block = 0; block < cv_snapshot_pool_blocks(snapshot); block++) {
		bad->blocks[block] = snapshot->pool_checked[block] == 0 && !cv_snapshot_block_ok(snapshot, block);
		bad->any_block = bad->any_block || bad->blocks[block] != 0;
	}
}

/* The same columns from the older snapshot and the journal; NULL when they can't be had. */
static struct cv_columns *second_columns(struct cv_mailbox *mailbox)
{
	struct cv_columns *first = mailbox->columns, *second;
	struct cv_snapshot *older = NULL;
	struct cv_err err = { 0 };
	uint64_t seq;
	int ret;

	mailbox->columns = NULL;
	mailbox->mending = true;
	if (open_snapshot(mailbox, ".old", &older, &err) < 0)
		cv_error(&mailbox->log_ctx, "older snapshot can't be read: %s", err.text);
	if (older != NULL && (!cv_snapshot_all_ok(older) || use_snapshot(mailbox, &older) == 0)) {
		cv_error(&mailbox->log_ctx, "older snapshot is damaged too");
		cv_snapshot_free(&older);
	}
	if (older != NULL)
		cv_snapshot_trust(older);
	else
		mailbox->columns = cv_columns_new();
	seq = older != NULL ? older->head.seq : 0;
	ret = replay_journal(mailbox, seq, &err);
	if (ret < 0)
		cv_error(&mailbox->log_ctx, "journal can't be read: %s", err.text);
	second = mailbox->columns;
	mailbox->columns = first;
	mailbox->mending = false;
	return second;
}

static void lose_row(struct cv_mailbox *mailbox, uint32_t row)
{
	if (cv_row_live(mailbox->columns, row))
		mailbox->columns->dead++;
	cv_set_flags(mailbox->columns, row, CV_ROW_EXPUNGED);
}

static void mend_value(struct cv_columns *first, uint32_t row, const struct cv_columns *second, uint32_t from, enum cv_column column)
{
	switch (column) {
	case CV_COLUMN_ref:
		cv_columns_set_names(first, row, cv_columns_ref(second, from), cv_columns_uidl(second, from));
		return;
	case CV_COLUMN_cache:
		cv_set_cache(first, row, 0); /* parsed again when it is asked for */
		return;
#define COPY(name)                                                                                            \
	case CV_COLUMN_##name:                                                                                \
		cv_set_##name(first, row, *cv_col_##name(second, from));                                      \
		return;
		COPY(uid)
		COPY(flags)
		COPY(zone)
		COPY(keyword_set)
		COPY(modseq)
		COPY(date)
		COPY(saved)
		COPY(virtual_size)
		COPY(physical_size)
		COPY(guid)
		COPY(sum)
#undef COPY
	case CV_COLUMNS:
		return;
	}
}

/* Does what the row names in the pool lie in a bad block? */
static bool names_are_bad(const struct cv_columns *columns, uint32_t row, const struct bad *bad)
{
	uint64_t at = *cv_col_ref(columns, row), last;

	if (!bad->any_block || at >= columns->base_pool_len)
		return false;
	last = CV_MIN(at + 2 + CV_STORAGE_REF_MAX + UINT16_MAX, columns->base_pool_len - 1);
	for (uint64_t block = at / CV_POOL_BLOCK; block <= last / CV_POOL_BLOCK; block++) {
		if (bad->blocks[block] != 0)
			return true;
	}
	return false;
}

static bool mend_row(struct cv_mailbox *mailbox, uint32_t row, const struct cv_columns *second, const struct bad *bad)
{
	struct cv_columns *first = mailbox->columns;
	bool names = bad->chunks[CV_COLUMN_ref][row >> CV_CHUNK_SHIFT] == 0 && names_are_bad(first, row, bad), any = names;
	bool found;
	uint32_t from;

	for (unsigned i = 0; i < CV_COLUMNS && !any; i++)
		any = bad->chunks[i][row >> CV_CHUNK_SHIFT] != 0;
	if (!any)
		return true;
	if (bad->chunks[CV_COLUMN_flags][row >> CV_CHUNK_SHIFT] != 0)
		cv_set_flags(first, row, 0);
	found = cv_columns_find(second, *cv_col_uid(first, row), row, &from);
	if (!found || !cv_row_live(second, from)) { /* one that is there has been expunged, perhaps by a record that is applied to the first only now */
		lose_row(mailbox, row);
		return found;
	}
	for (unsigned i = 0; i < CV_COLUMNS; i++) {
		if (bad->chunks[i][row >> CV_CHUNK_SHIFT] != 0)
			mend_value(first, row, second, from, (enum cv_column)i);
	}
	if (names)
		mend_value(first, row, second, from, CV_COLUMN_ref);
	return true;
}

void cv_mailbox_mend(struct cv_mailbox *mailbox)
{
	struct cv_user *user = mailbox->user;
	struct cv_columns *second;
	struct bad bad = { 0 };
	char name[CV_BOX_NAME_MAX];
	uint32_t lost = 0;
	size_t lost_notes;

	cv_error(&mailbox->log_ctx, "snapshot is damaged, it is set aside and mended from the older one and the journal");
	find_bad(mailbox->columns->base, &bad);
	cv_snapshot_trust(mailbox->columns->base);
	second = second_columns(mailbox);
	for (uint32_t row = 0; row < mailbox->columns->base_count; row++)
		lost += !mend_row(mailbox, row, second, &bad);
	cv_columns_unknown(mailbox->columns);
	lost_notes = cv_notes_mend(mailbox->columns, second);
	cv_columns_free(&second);
	for (unsigned i = 0; i < CV_COLUMNS; i++)
		cv_free(bad.chunks[i]);
	cv_free(bad.blocks);
	cv_notes_count(mailbox);
	if (lost_notes > 0)
		cv_error(&mailbox->log_ctx, "annotations of %zu messages of the damaged snapshot are known from nowhere else: they are lost", lost_notes);
	if (lost > 0) {
		mailbox->vanished_from = CV_MAX(mailbox->vanished_from, mailbox->highest_modseq);
		left_to_scan(mailbox, "some messages of the damaged snapshot are known from nowhere else");
		cv_mailbox_recount(mailbox);
	}
	cv_box_name(mailbox, "box", "", name);
	cv_user_set_aside(user, name);
	mailbox->rewrite = true;
	cv_checkpoint_soon(user);
}
