/* SPDX-License-Identifier: MIT
   Journal subscribers: each gets every record in order from its own cursor, a slice at a time, and again what it could not take. */
#include <config.h>

#include "core/store/cursor.h"
#include "core/store/store-private.h"

#define SLICE_MS 10           /* of one subscriber, while others wait */
#define CLOSE_MS 1000         /* of all, when the user is closed */
#define SYNC_MS 1000          /* cursors and flag changes are on disk after that */
#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS 300000
#define NAME_MAX_OCTETS 64

enum state {
	SUB_CLOSED = 1, /* its open has not succeeded yet */
	SUB_RESET_NEW,  /* has to be told that it begins */
	SUB_RESET_LOST, /* has to be told that records are gone */
	SUB_RUNNING,
	SUB_REFUSED     /* its cursor is a newer server's: left alone */
};

struct cv_subscription {
	const char *name;
	const struct cv_subscriber *provider;
	void *ctx;
	enum state state;
	struct cv_cursor cursor;
	struct cv_journal_pos next; /* of the record after the cursor's; segment 0: to be looked for */
	uint64_t told;              /* changes of that record that were told already */
	bool unwritten;             /* the cursor is newer than its file */
	uint64_t retry_at_ms, retry_ms; /* 0: not waiting */
};

/* ---- where it is ---------------------------------------------------------------------------------------------- */

/* Are there records above seq that nobody will read any more? While a damaged segment lies in between it is not known yet how many are lost. */
static bool missed(const struct cv_user *user, uint64_t seq)
{
	uint64_t from = cv_journal_complete_from(&user->journal);

	return from != UINT64_MAX && seq < from;
}

/* Begin at what the journal has still got. */
static void rewind_to_start(struct cv_user *user, struct cv_subscription *sub)
{
	sub->cursor.at = sub->next = (struct cv_journal_pos){ 0 };
	sub->cursor.seq = missed(user, 0) ? cv_journal_complete_from(&user->journal) : 0;
	sub->cursor.hlc = 0;
	sub->told = 0;
}

static void lose(struct cv_user *user, struct cv_subscription *sub, const char *why)
{
	cv_warn(&user->log_ctx, "subscriber %s has missed records (%s): it is told to begin anew", sub->name, why);
	rewind_to_start(user, sub);
	sub->state = SUB_RESET_LOST;
}

/* The record that the cursor names must be the one that was told: else the journal is another one, or lost its end. */
static void find_place(struct cv_user *user, struct cv_subscription *sub, struct cv_buf *buf)
{
	struct cv_journal_pos at = sub->cursor.at;
	struct cv_record_head head;
	struct cv_str entries;
	struct cv_err err = { 0 };

	if (sub->cursor.seq > user->journal.seq) {
		lose(user, sub, "its cursor is beyond the journal's end");
	} else if (at.segment != 0 && cv_journal_has_segment(&user->journal, at.segment)) {
		if (cv_journal_read(&user->journal, at, buf, &head, &entries, &err) < 0 || head.seq != sub->cursor.seq ||
			head.hlc != sub->cursor.hlc) {
			lose(user, sub, "the journal is not the one it knew");
			return;
		}
		sub->next = (struct cv_journal_pos){ at.segment, at.offset + head.len };
	}
}

static void open_cursor(struct cv_user *user, struct cv_subscription *sub, struct cv_buf *buf)
{
	struct cv_err err = { 0 };
	int ret = cv_cursor_open(&sub->cursor, user->index_dir, sub->name, &err);

	if (ret > 0) {
		sub->state = SUB_RUNNING;
		find_place(user, sub, buf);
	} else if (ret == 0) {
		rewind_to_start(user, sub);
		sub->state = SUB_RESET_NEW;
	} else if (err.code == CV_ERR_CORRUPT) {
		lose(user, sub, err.text);
	} else {
		cv_error(&user->log_ctx, "subscriber %s gets no records: %s", sub->name, err.text);
		sub->state = SUB_REFUSED;
	}
}

/* ---- telling ------------------------------------------------------------------------------------------------------ */

static void back_off(struct cv_user *user, struct cv_subscription *sub, const char *what, const struct cv_err *err)
{
	sub->retry_ms = sub->retry_ms == 0 ? RETRY_FIRST_MS : CV_MIN(sub->retry_ms * 2, (uint64_t)RETRY_LAST_MS);
	sub->retry_at_ms = (user->loop != NULL ? cv_loop_now_ms(user->loop) : cv_time_mono_ms()) + sub->retry_ms;
	cv_warn(&user->log_ctx, "subscriber %s: %s: %s; again in %llu s", sub->name, what,
		err->code != CV_ERR_NONE ? cv_log_clean(cv_str_c(err->text)) : "no reason given", (unsigned long long)sub->retry_ms / 1000);
}

static void write_cursor(struct cv_user *user, struct cv_subscription *sub)
{
	struct cv_err err = { 0 };

	if (cv_cursor_write(&sub->cursor, user->index_dir, sub->name, user->storage_args.file_mode, &err) < 0) {
		if (!sub->unwritten)
			cv_error(&user->log_ctx, "cursor of subscriber %s can't be written, it will get records again: %s", sub->name, err.text);
		sub->unwritten = true;
	} else {
		sub->unwritten = false;
	}
}

/* 1 done, 0 it waits. */
static int begin(struct cv_user *user, struct cv_subscription *sub)
{
	struct cv_err err = { 0 };

	if (sub->state == SUB_CLOSED) {
		struct cv_buf buf;

		if (sub->provider->open != NULL && sub->provider->open(user, &sub->ctx, &err) < 0) {
			sub->ctx = NULL;
			back_off(user, sub, "open", &err);
			return 0;
		}
		cv_buf_init(&buf, CV_JOURNAL_READ_MAX);
		open_cursor(user, sub, &buf);
		cv_buf_deinit(&buf);
	}
	if (sub->state == SUB_RUNNING && missed(user, sub->cursor.seq))
		lose(user, sub, "they were dropped before it had them");
	if (sub->state == SUB_RESET_NEW || sub->state == SUB_RESET_LOST) {
		enum cv_subscriber_reset why = sub->state == SUB_RESET_NEW ? CV_SUBSCRIBER_NEW : CV_SUBSCRIBER_LOST;

		if (sub->provider->reset != NULL && sub->provider->reset(sub->ctx, why, &err) < 0) {
			back_off(user, sub, "reset", &err);
			return 0;
		}
		if (missed(user, sub->cursor.seq))
			rewind_to_start(user, sub);
		sub->state = SUB_RUNNING;
		write_cursor(user, sub);
	}
	return sub->state == SUB_RUNNING;
}

struct slice {
	struct cv_user *user;
	struct cv_subscription *sub;
	uint64_t end_ms;
	struct cv_err err;
};

static int tell(void *ctx, const struct cv_change *changes, size_t count)
{
	struct slice *slice = ctx;

	if (slice->sub->provider->record(slice->sub->ctx, changes, count, &slice->err) < 0)
		return -1;
	slice->sub->told += count;
	return cv_time_mono_ms() < slice->end_ms ? 1 : 0;
}

/* A record is told when it can't be taken back any more: published, and on disk. */
static bool is_certain(const struct cv_user *user, const struct cv_record_head *head, struct cv_journal_pos pos)
{
	const struct cv_journal *journal = &user->journal;

	if (head->seq > user->published_seq)
		return false;
	return user->storage_args.fsync == CV_FSYNC_NEVER || journal->fd < 0 ||
		pos.segment != journal->segments.data[journal->segments.count - 1].number || pos.offset + head->len <= journal->synced;
}

/* The next record: 1 told, 0 there is none or it waits, -1 the slice is over. */
static int tell_next(struct slice *slice, struct cv_buf *buf, bool *uncertain_r)
{
	struct cv_user *user = slice->user;
	struct cv_subscription *sub = slice->sub;
	struct cv_record_head head;
	struct cv_str entries;
	struct cv_err err = { 0 };
	int ret = cv_journal_next(&user->journal, &sub->next, buf, &head, &entries, &err);

	if (ret == 0)
		return 0;
	if (ret < 0) {
		if (err.code != CV_ERR_CORRUPT) {
			back_off(user, sub, "journal", &err);
			return 0;
		}
		lose(user, sub, err.text);
		/* What lies behind the damage is part of what a new beginning looks at. */
		sub->cursor.seq = user->published_seq;
		sub->next = cv_journal_end_pos(&user->journal);
		return 1;
	}
	if (head.seq <= sub->cursor.seq) {
		sub->next.offset += head.len;
		return 1;
	}
	if (!is_certain(user, &head, sub->next)) {
		*uncertain_r = true;
		return 0;
	}
	ret = cv_changes_tell(user, &head, entries, sub->told, tell, slice);
	if (ret < 0) {
		back_off(user, sub, "record", &slice->err);
		return 0;
	}
	if (ret == 0)
		return -1;
	sub->retry_ms = sub->retry_at_ms = 0;
	sub->cursor.at = sub->next;
	sub->cursor.seq = head.seq;
	sub->cursor.hlc = head.hlc;
	sub->next.offset += head.len;
	sub->told = 0;
	sub->unwritten = true;
	return cv_time_mono_ms() < slice->end_ms ? 1 : -1;
}

/* ms: how long it may take. True: there is more to do at once. */
static bool run_one(struct cv_user *user, struct cv_subscription *sub, struct cv_buf *buf, uint64_t ms, bool *uncertain_r)
{
	struct slice slice = { .user = user, .sub = sub, .end_ms = cv_time_mono_ms() + ms };
	uint64_t seq;
	int ret;

	if (sub->state == SUB_REFUSED || begin(user, sub) == 0)
		return false;
	seq = sub->cursor.seq;
	do
		ret = tell_next(&slice, buf, uncertain_r);
	while (ret > 0 && sub->state == SUB_RUNNING);
	if (sub->cursor.seq != seq || sub->unwritten)
		write_cursor(user, sub);
	return ret != 0;
}

static bool is_waiting(const struct cv_user *user, const struct cv_subscription *sub, uint64_t now_ms)
{
	return user->loop != NULL && sub->retry_at_ms > now_ms;
}

static void run(struct cv_user *user, uint64_t ms)
{
	uint64_t now = user->loop != NULL ? cv_loop_now_ms(user->loop) : 0, wait = UINT64_MAX;
	bool uncertain = false;
	struct cv_buf buf;

	user->subscribers_running = true;
	user->subscribers_kicked = false;
	cv_buf_init(&buf, CV_JOURNAL_READ_MAX);
	for (size_t i = 0; i < user->subscription_count; i++) {
		struct cv_subscription *sub = &user->subscriptions[i];

		if (!is_waiting(user, sub, now)) {
			sub->retry_at_ms = 0;
			if (run_one(user, sub, &buf, ms, &uncertain))
				wait = 0;
		}
		if (sub->retry_at_ms > now)
			wait = CV_MIN(wait, sub->retry_at_ms - now);
		if (sub->cursor.unsynced)
			wait = CV_MIN(wait, (uint64_t)SYNC_MS);
	}
	cv_buf_deinit(&buf);
	user->subscribers_running = false;
	if (user->subscribers_kicked)
		wait = 0;
	if (uncertain)
		wait = CV_MIN(wait, (uint64_t)SYNC_MS);
	user->subscribers_uncertain = uncertain;
	user->subscribers_pending = wait == 0;
	if (user->loop != NULL && wait != UINT64_MAX)
		cv_timer_set(user->subscriber_timer, wait);
}

static void sync_cursors(struct cv_user *user)
{
	struct cv_err err = { 0 };

	for (size_t i = 0; user->storage_args.fsync != CV_FSYNC_NEVER && i < user->subscription_count; i++) {
		if (cv_cursor_sync(&user->subscriptions[i].cursor, user->index_dir, &err) < 0)
			cv_error(&user->log_ctx, "cursor of subscriber %s: %s", user->subscriptions[i].name, err.text);
	}
}

/* Flag changes that no one has synced yet are synced for those who wait for them. */
static void make_certain(struct cv_user *user)
{
	struct cv_err err = { 0 };

	/* Once: after a failure it is left to the timer. */
	if (user->subscribers_uncertain && cv_journal_sync(&user->journal, &err) < 0) {
		cv_error(&user->log_ctx, "%s; trying again", err.text);
		user->subscribers_uncertain = false;
	}
}

static void on_timer(void *ctx)
{
	struct cv_user *user = ctx;
	uint64_t now = cv_loop_now_ms(user->loop);

	if (now - user->subscribers_synced_ms >= SYNC_MS) {
		user->subscribers_synced_ms = now;
		make_certain(user);
		sync_cursors(user);
	}
	run(user, SLICE_MS);
}

void cv_subscribers_kick(struct cv_user *user)
{
	if (user->subscription_count == 0 || !user->subscribers_started)
		return;
	if (user->subscribers_running) { /* a handler changed something itself: that comes in its turn */
		user->subscribers_kicked = true;
		return;
	}
	if (user->loop != NULL) {
		cv_timer_set(user->subscriber_timer, 0);
		return;
	}
	/* Without a loop there is no later. */
	do {
		run(user, UINT32_MAX);
		make_certain(user);
	} while (user->subscribers_uncertain || user->subscribers_kicked);
}

/* ---- open, close, what is needed ------------------------------------------------------------------------------------ */

static bool is_file_name(const char *name)
{
	size_t len = 0;

	for (; name[len] != '\0'; len++) {
		if (!cv_is_alnum(name[len]) && name[len] != '-')
			return false;
	}
	return len > 0 && len <= NAME_MAX_OCTETS;
}

void cv_subscribers_init(struct cv_user *user)
{
	const struct cv_subscriber *provider;
	const char *name;
	size_t pos = 0, count = 0;

	while (user->registry != NULL && cv_provider_next(user->registry, CV_CAP_SUBSCRIBER, &pos, &name) != NULL)
		count++;
	if (count == 0)
		return;
	user->subscriptions = cv_calloc(count, sizeof(*user->subscriptions));
	pos = 0;
	while ((provider = cv_provider_next(user->registry, CV_CAP_SUBSCRIBER, &pos, &name)) != NULL) {
		struct cv_subscription *sub = &user->subscriptions[user->subscription_count++];

		*sub = (struct cv_subscription){ .name = name, .provider = provider, .state = SUB_CLOSED, .cursor = { .fd = -1 } };
		if (!is_file_name(name)) {
			cv_error(&user->log_ctx, "subscriber %s gets no records: its name may have letters, digits and dashes only", name);
			sub->state = SUB_REFUSED;
		}
	}
	if (user->loop != NULL) {
		user->subscriber_timer = cv_timer_add_stopped(user->loop, on_timer, user);
	}
}

void cv_subscribers_start(struct cv_user *user)
{
	user->subscribers_started = true;
	cv_subscribers_kick(user);
}

void cv_subscribers_close(struct cv_user *user)
{
	uint64_t end = cv_time_mono_ms() + CLOSE_MS;
	bool more = user->subscribers_started;

	user->subscribers_started = false;
	if (user->subscription_count == 0)
		return;
	/* What is left goes on from the cursor at the next opening. */
	user->subscribers_uncertain = true;
	make_certain(user);
	while (more && cv_time_mono_ms() < end) {
		uint64_t before = 0, after = 0;

		for (size_t i = 0; i < user->subscription_count; i++)
			before += user->subscriptions[i].cursor.seq + user->subscriptions[i].told;
		run(user, SLICE_MS);
		for (size_t i = 0; i < user->subscription_count; i++)
			after += user->subscriptions[i].cursor.seq + user->subscriptions[i].told;
		more = before != after;
	}
	sync_cursors(user);
	for (size_t i = 0; i < user->subscription_count; i++) {
		struct cv_subscription *sub = &user->subscriptions[i];

		if (sub->state != SUB_CLOSED && sub->provider->close != NULL)
			sub->provider->close(sub->ctx);
	}
}

void cv_subscribers_free(struct cv_user *user)
{
	for (size_t i = 0; i < user->subscription_count; i++)
		cv_cursor_close(&user->subscriptions[i].cursor);
	cv_free(user->subscriptions);
	user->subscriptions = NULL;
	user->subscription_count = 0;
	cv_timer_remove(&user->subscriber_timer);
}

uint64_t cv_subscribers_keep_seq(const struct cv_user *user)
{
	const struct cv_journal *journal = &user->journal;
	uint64_t keep = UINT64_MAX, bound = UINT64_MAX, size = 0;

	for (size_t i = 0; i < user->subscription_count; i++) {
		const struct cv_subscription *sub = &user->subscriptions[i];

		/* One that has not opened yet may have a cursor: all is kept until it is known. */
		if (sub->state != SUB_REFUSED)
			keep = CV_MIN(keep, sub->state == SUB_CLOSED ? 0 : sub->cursor.seq);
	}
	for (size_t i = journal->segments.count; keep != UINT64_MAX && i > 0; i--) {
		size += journal->segments.data[i - 1].len;
		if (size > user->set->mail_journal_subscriber_keep)
			break;
		bound = i > 1 ? journal->segments.data[i - 1].before_seq : 0;
	}
	return CV_MAX(keep, bound);
}
