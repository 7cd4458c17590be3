/* SPDX-License-Identifier: MIT
   Folding the journal into snapshots and state, and dropping what is not needed any more.

   A checkpoint begins when the segment that is written to is full: a new one is begun, mailboxes with much behind their snapshot, and those that keep
   old segments alive, get a new snapshot, one after the other and a slice in each round of the loop; then the state is written, then segments
   that nothing needs are dropped. A crash anywhere between leaves files that give the same: each is written under a temporary name, and what it
   replaces stays beside it. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

#define SLICE_MS 10
#define RETRY_MS 60000
#define SEGMENTS_KEPT 3         /* closed ones that a mailbox may keep alive before it is written again */
#define ROW_OCTETS 100u         /* of a snapshot, about */
#define WORTH_PART 8            /* of a snapshot's octets behind it make a new one worth it when the user is closed */

struct cv_checkpoint {
	CV_VEC(struct cv_guid) todo;
	size_t done;
	struct cv_snapshot_writer *writer;
	bool rotated;
	bool waiting; /* for a moment at which all that was committed is published */
};

/* ---- what is needed ------------------------------------------------------------------------------------------ */

uint64_t cv_journal_keep_seq(const struct cv_user *user)
{
	uint64_t keep = user->older_state_seq, work = cv_work_first(user);

	if (work <= keep)
		keep = work - 1;
	for (size_t i = 0; i < user->names.count; i++) {
		const struct cv_mailbox *mailbox = user->names.data[i]->mailbox;

		if (mailbox != NULL && mailbox->older_need != 0)
			keep = CV_MIN(keep, mailbox->older_need - 1);
	}
	return keep;
}

static int drop(struct cv_user *user, struct cv_err *err)
{
	int64_t now = cv_time_now_sec(), keep = (int64_t)(user->set->mail_journal_keep_time / 1000);
	uint64_t seq = CV_MIN(cv_journal_keep_seq(user), cv_subscribers_keep_seq(user));

	/* Without a time to keep them, a clock that was set back keeps nothing either. */
	return cv_journal_drop(&user->journal, seq, keep == 0 ? INT64_MAX : now - keep, err);
}

/* ---- what is worth it ----------------------------------------------------------------------------------------- */

static bool much_is_behind(const struct cv_mailbox *mailbox)
{
	return mailbox->behind_octets >= mailbox->user->set->mail_snapshot_min_size;
}

/* Does it keep a segment alive that is older than the last ones? */
static bool keeps_segments(const struct cv_mailbox *mailbox)
{
	const struct cv_journal *journal = &mailbox->user->journal;
	return mailbox->older_need != 0 && journal->segments.count > SEGMENTS_KEPT &&
		mailbox->older_need <= journal->segments.data[journal->segments.count - SEGMENTS_KEPT].before_seq;
}

/* When the user is closed: reading the records must be worth more than writing the columns. */
static bool worth_at_close(const struct cv_mailbox *mailbox)
{
	uint64_t size = (uint64_t)mailbox->counts.messages * ROW_OCTETS;

	if (mailbox->columns != NULL && mailbox->columns->notes != NULL)
		size += mailbox->columns->notes->octets;
	if (mailbox->rewrite)
		return true;
	if (mailbox->behind.count == 0 && mailbox->dirty == 0)
		return false;
	return size <= mailbox->user->set->mail_snapshot_min_size || mailbox->behind_octets >= size / WORTH_PART ||
		mailbox->dirty >= mailbox->counts.messages / WORTH_PART;
}

/* The same for the user as a whole: so little was recorded since the state that reading it at the next opening is cheaper than writing and
   syncing three files now. */
static bool little_is_behind(const struct cv_user *user)
{
	uint64_t octets = 0;

	if (user->state_seq == 0 || user->state_dirty || user->state_is_old || user->behind_records >= user->set->mail_journal_close_records)
		return false;
	for (size_t i = 0; i < user->names.count; i++) {
		const struct cv_mailbox *mailbox = user->names.data[i]->mailbox;
		if (mailbox == NULL)
			continue;
		if (mailbox->rewrite || mailbox->dirty > 0)
			return false;
		octets += mailbox->behind_octets;
	}
	return octets < user->set->mail_snapshot_min_size / 2;
}

static bool has_behind(const struct cv_mailbox *mailbox)
{
	return mailbox->behind.count > 0 || mailbox->rewrite;
}

static bool due(const struct cv_mailbox *mailbox)
{
	return much_is_behind(mailbox) || keeps_segments(mailbox) || mailbox->rewrite;
}

static void choose(struct cv_user *user, struct cv_checkpoint *checkpoint, bool (*chosen)(const struct cv_mailbox *mailbox))
{
	for (size_t i = 0; i < user->names.count; i++) {
		const struct cv_mailbox *mailbox = user->names.data[i]->mailbox;

		if (mailbox != NULL && chosen(mailbox))
			*cv_vec_push(&checkpoint->todo) = mailbox->guid;
	}
}

/* ---- doing it -------------------------------------------------------------------------------------------------- */

static void stop(struct cv_user *user)
{
	struct cv_checkpoint *checkpoint = user->checkpoint;

	if (checkpoint == NULL)
		return;
	cv_snapshot_end(&checkpoint->writer);
	cv_vec_free(&checkpoint->todo);
	cv_free(checkpoint);
	user->checkpoint = NULL;
	if (user->checkpoint_timer != NULL)
		cv_timer_stop(user->checkpoint_timer);
	user->checkpoint_due = false;
}

static bool segment_is_full(const struct cv_user *user)
{
	return cv_journal_tail_size(&user->journal) >= user->set->mail_journal_segment_size;
}

/* Everything that was committed is durable: 1; 0 when those who were told of it have committed more: then cv_checkpoint_quiet comes. */
static int settle(struct cv_user *user, struct cv_err *err)
{
	struct cv_checkpoint *checkpoint = user->checkpoint;

	cv_user_flush(user);
	if (user->broken)
		return cv_err_set(err, CV_ERR_TEMP, "memory is not what the journal says");
	checkpoint->waiting = cv_user_unpublished(user);
	if (checkpoint->waiting)
		return 0;
	if (checkpoint->rotated || !segment_is_full(user))
		return cv_journal_sync(&user->journal, err);
	checkpoint->rotated = true;
	return cv_journal_rotate(&user->journal, err);
}

/* 1 with a writer, or without one when the mailbox went; 0 not yet. */
static int begin_snapshot(struct cv_user *user, const struct cv_guid *guid, struct cv_err *err)
{
	int ret = settle(user, err);
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, guid);

	if (ret <= 0 || mailbox == NULL)
		return ret;
	if (cv_mailbox_load(mailbox, err) < 0 || cv_snapshot_begin(mailbox, &user->checkpoint->writer, err) < 0)
		return cv_err_context(err, "%s", mailbox->name->text);
	return 1;
}

/* Memory of a mailbox that no one looks at is given back: the snapshot has it. */
static void let_go(struct cv_mailbox *mailbox)
{
	if (mailbox->refs == 0 && cv_list_empty(&mailbox->views) && mailbox->open_mails == 0 && !cv_user_unpublished(mailbox->user))
		cv_mailbox_unload(mailbox);
}

/* A piece of the mailbox at hand. 1 it is done, 0 there is more. */
static int snapshot_slice(struct cv_user *user, uint64_t deadline_ms, struct cv_err *err)
{
	struct cv_checkpoint *checkpoint = user->checkpoint;
	const struct cv_guid guid = checkpoint->todo.data[checkpoint->done];
	struct cv_mailbox *mailbox;
	int ret;

	if (cv_mailbox_by_guid(user, &guid) == NULL) {
		cv_snapshot_end(&checkpoint->writer);
		return 1;
	}
	if (checkpoint->writer == NULL) {
		ret = begin_snapshot(user, &guid, err);
		if (ret <= 0 || checkpoint->writer == NULL)
			return ret;
	}
	ret = cv_snapshot_step(checkpoint->writer, deadline_ms, err);
	if (ret > 0)
		ret = cv_snapshot_finish(checkpoint->writer, err);
	if (ret == 0)
		return 0;
	cv_snapshot_end(&checkpoint->writer);
	mailbox = cv_mailbox_by_guid(user, &guid);
	if (ret > 0 && mailbox != NULL) {
		/* The older one still lacks what came before this one: once more. */
		if (keeps_segments(mailbox))
			*cv_vec_push(&checkpoint->todo) = mailbox->guid;
		let_go(mailbox);
	}
	return ret;
}

/* Files that are owed keep the segments that say so: 1 none of the old ones is kept, 0 there is more to be made. At closing they have had their time. */
static int make_owed(struct cv_user *user, uint64_t deadline_ms)
{
	const struct cv_journal *journal = &user->journal;
	struct cv_err err = { 0 };
	unsigned wait_ms;
	int ret;

	if (user->owed.count == 0 || user->work_running || user->closing || journal->segments.count == 0 ||
		user->owed.data[0].seq > journal->segments.data[journal->segments.count - 1].before_seq)
		return 1;
	ret = cv_owed_run(user, true, deadline_ms, &wait_ms, &err);
	if (ret < 0)
		cv_warn(&user->log_ctx, "%s; trying again later", err.text);
	return ret != 0;
}

/* 1 all is done, 0 there is more. */
static int slice(struct cv_user *user, uint64_t deadline_ms, struct cv_err *err)
{
	struct cv_checkpoint *checkpoint = user->checkpoint;
	int settled;

	while (checkpoint->done < checkpoint->todo.count) {
		int ret = snapshot_slice(user, deadline_ms, err);

		if (ret < 0)
			return -1;
		checkpoint->done += ret > 0;
		if (ret == 0 || cv_time_mono_ms() >= deadline_ms)
			return 0;
	}
	if (make_owed(user, deadline_ms) == 0)
		return 0;
	settled = settle(user, err);
	if (settled <= 0)
		return settled;
	return cv_state_write(user, err) < 0 ? -1 : drop(user, err);
}

static void run(struct cv_user *user, bool all)
{
	struct cv_err err = { 0 };
	int ret;

	user->checkpoint_running = true;
	do
		ret = slice(user, all ? UINT64_MAX : cv_time_mono_ms() + SLICE_MS, &err);
	while (ret == 0 && all);
	user->checkpoint_running = false;
	if (ret == 0) {
		cv_timer_set(user->checkpoint_timer, 0);
		return;
	}
	stop(user);
	if (ret < 0) {
		cv_error(&user->log_ctx, "journal can't be folded, it grows until it can: %s", err.text);
		user->checkpoint_retry_ms = cv_time_mono_ms() + RETRY_MS;
	}
}

static int begin(struct cv_user *user, bool (*chosen)(const struct cv_mailbox *mailbox), struct cv_err *err)
{
	int ret;

	user->checkpoint = cv_new0(struct cv_checkpoint);
	user->checkpoint_running = true;
	ret = settle(user, err);
	user->checkpoint_running = false;
	if (ret < 0) {
		stop(user);
		return -1;
	}
	choose(user, user->checkpoint, chosen);
	return 1;
}

static bool is_time(const struct cv_user *user)
{
	return segment_is_full(user) && cv_time_mono_ms() >= user->checkpoint_retry_ms;
}

void cv_checkpoint_soon(struct cv_user *user)
{
	/* Set again in each round, it would never strike. */
	if (user->loop != NULL && !user->checkpoint_due)
		cv_timer_set(user->checkpoint_timer, 0);
	user->checkpoint_due = true;
}

void cv_checkpoint_consider(struct cv_user *user)
{
	struct cv_err err = { 0 };

	if (user->checkpoint != NULL || user->broken || user->recovering || !is_time(user))
		return;
	if (user->loop != NULL) {
		cv_checkpoint_soon(user);
		return;
	}
	if (begin(user, due, &err) > 0) {
		run(user, true);
	} else {
		cv_error(&user->log_ctx, "journal can't be folded, it grows until it can: %s", err.text);
		user->checkpoint_retry_ms = cv_time_mono_ms() + RETRY_MS;
	}
}

/* A checkpoint goes on, or begins: the segment is full, or a snapshot was found to be damaged. */
static void on_timer(void *ctx)
{
	struct cv_user *user = ctx;
	struct cv_err err = { 0 };

	user->checkpoint_due = false;
	if (user->broken)
		return;
	cv_user_mend_journal(user);
	if (user->checkpoint != NULL && user->checkpoint->waiting && cv_user_unpublished(user))
		return; /* the flush that is due calls cv_checkpoint_quiet */
	if (user->checkpoint == NULL && begin(user, due, &err) < 0) {
		cv_error(&user->log_ctx, "journal can't be folded, it grows until it can: %s", err.text);
		user->checkpoint_retry_ms = cv_time_mono_ms() + RETRY_MS;
		return;
	}
	if (user->checkpoint != NULL)
		run(user, false);
}

void cv_checkpoint_quiet(struct cv_user *user)
{
	if (user->checkpoint == NULL || !user->checkpoint->waiting || user->checkpoint_running)
		return;
	user->checkpoint->waiting = false;
	run(user, false);
}

int cv_checkpoint_all(struct cv_user *user, struct cv_err *err)
{
	int ret;

	stop(user);
	if (begin(user, has_behind, err) < 0)
		return -1;
	do
		ret = slice(user, UINT64_MAX, err);
	while (ret == 0);
	stop(user);
	return ret;
}

/* No state is written that would say so: a record, which nobody waits for. Where a power cut takes it, files that are there are made once more. */
static void say_settled(struct cv_user *user)
{
	const struct cv_entry entry = { .kind = CV_ENTRY_SETTLED, .number = user->owed_settled };
	struct cv_err err = { 0 };

	if (user->owed_settled == 0)
		return;
	user->owed_settled = 0; /* said once */
	if (cv_commit_lazy(user, &entry, &err) < 0)
		cv_warn(&user->log_ctx, "files of messages are made once more at the next opening: %s", err.text);
	else
		cv_user_flush(user);
}

void cv_checkpoint_close(struct cv_user *user)
{
	struct cv_err err = { 0 };

	stop(user);
	if (!user->lost)
		cv_user_flush(user);
	if (user->broken || user->lost)
		return;
	cv_journal_look(&user->journal, true);
	cv_user_mend_journal(user);
	if (little_is_behind(user)) {
		say_settled(user);
		return;
	}
	if (begin(user, worth_at_close, &err) > 0) {
		if (user->checkpoint->todo.count > 0 || user->published_seq != user->state_seq || user->state_dirty || user->state_is_old)
			run(user, true);
		else
			stop(user);
	} else
		cv_error(&user->log_ctx, "journal can't be folded: %s", err.text);
}

void cv_checkpoint_forget(struct cv_user *user, const struct cv_guid *guid)
{
	static const char *const names[][2] = { { "box", "" }, { "box", ".old" }, { "box", ".new" }, { "cache", "" },
		{ "cache", ".new" } };
	const struct cv_mailbox gone = { .guid = *guid };
	char name[CV_BOX_NAME_MAX];

	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		struct cv_err err = { 0 };

		cv_box_name(&gone, names[i][0], names[i][1], name);
		if (cv_file_unlink(user->index_dir, name, &err) < 0)
			cv_warn(&user->log_ctx, "%s of a deleted mailbox stays: %s", name, err.text);
	}
}

void cv_checkpoint_init(struct cv_user *user)
{
	if (user->loop == NULL)
		return;
	user->checkpoint_timer = cv_timer_add_stopped(user->loop, on_timer, user);
}

void cv_checkpoint_deinit(struct cv_user *user)
{
	stop(user);
	cv_timer_remove(&user->checkpoint_timer);
}
