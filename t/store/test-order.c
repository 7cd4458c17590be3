/* SPDX-License-Identifier: MIT
   The table of doc/durability, proven: which calls come before a reply, in which order. Whoever changes them changes the rows here and the text there. */
#include <config.h>

#include "t/store/store-helper.h"
#include <culver/buf.h>
#include <culver/file.h>
#include <culver/loop.h>
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

CV_EXPORT extern const struct cv_module maildir_LTX_cv_module;

#define MAIL "Subject: x\r\n\r\nx\r\n"

/* ---- calls as words ------------------------------------------------------------------------------------------------- */

struct order {
	char root[PATH_MAX]; /* with a slash at the end */
	struct cv_buf calls; /* "write journal, sync journal, " */
	struct cv_buf last;  /* the last one, for repetitions */
};

/* What a path below the root is. */
static const char *kind_of(const char *path)
{
	const char *name = strrchr(path, '/');
	char dir[PATH_MAX];

	name = name != NULL ? name + 1 : path;
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(name - path), path);
	if (strncmp(path, "culver-index", 12) == 0)
		return strncmp(name, "journal.", 8) == 0 ? "journal" : strncmp(name, "copy.", 5) == 0 ? "copy" : strcmp(name, "culver-index") == 0 ? "index" : "index file";
	if (strncmp(path, "culver-trash.", 13) == 0)
		return "trash";
	if (strcmp(path, "") == 0)
		return "root";
	if (strcmp(name, "culver-mailbox") == 0)
		return "owner";
	if (strncmp(name, "dovecot-uidlist", 15) == 0)
		return "uidlist";
	if (strcmp(name, "culver-making") == 0 || strcmp(name, "maildirfolder") == 0)
		return "mark";
	if (strcmp(name, "new") == 0 || strcmp(name, "cur") == 0 || strcmp(name, "tmp") == 0 || strcmp(name, "dbox-Mails") == 0)
		return "folder";
	if (strstr(dir, "new/") != NULL || strstr(dir, "cur/") != NULL || strstr(dir, "tmp/") != NULL || strstr(dir, "dbox-Mails/") != NULL)
		return "message";
	return strcmp(path, "mailboxes") == 0 ? "root" : "folder";
}

static const char *below_root(const struct order *order, int dir, const char *name, char path[PATH_MAX])
{
	size_t len = strlen(order->root);
	char link[64];
	ssize_t got;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	got = readlink(link, path, PATH_MAX - 1);
	assert_true(got >= 0);
	path[got] = '\0';
	if (name != NULL && strcmp(name, ".") != 0)
		(void)snprintf(path + got, PATH_MAX - (size_t)got, "/%s", name);
	if (strncmp(path, order->root, len - 1) != 0)
		return NULL;
	return path[len - 1] == '/' ? path + len : "";
}

static void note(struct order *order, const char *verb, int dir, const char *name)
{
	char path[PATH_MAX];
	const char *rest = below_root(order, dir, name, path);
	struct cv_buf call;

	if (rest == NULL)
		return;
	cv_buf_init(&call, 256);
	cv_buf_printf(&call, "%s %s", verb, kind_of(rest));
	/* Several of a kind in a row count once, but for syncs. */
	if (order->last.len == 0 || strcmp(order->last.data, call.data) != 0 || strcmp(verb, "sync") == 0) {
		cv_buf_printf(&order->calls, "%s%s", order->calls.len > 0 ? ", " : "", call.data);
		cv_buf_clear(&order->last);
		cv_buf_append_c(&order->last, call.data);
	}
	cv_buf_deinit(&call);
}

static void on_event(void *ctx, const struct cv_file_event *event)
{
	switch (event->op) {
	case CV_FILE_OPEN:
		note(ctx, "make", event->dir, event->name);
		return;
	case CV_FILE_MKDIR:
		note(ctx, "mkdir", event->dir, event->name);
		return;
	case CV_FILE_WRITE:
		note(ctx, "write", event->fd, NULL);
		return;
	case CV_FILE_SYNC:
		assert_false(event->failed);
		note(ctx, "sync", event->fd, NULL);
		return;
	case CV_FILE_TRUNCATE:
		note(ctx, "cut", event->fd, NULL);
		return;
	case CV_FILE_RENAME:
		note(ctx, "rename", event->to_dir, event->to_name);
		return;
	case CV_FILE_LINK:
		note(ctx, "link", event->to_dir, event->to_name);
		return;
	case CV_FILE_UNLINK:
		note(ctx, "unlink", event->dir, event->name);
		return;
	case CV_FILE_READ:
	case CV_FILE_STAT:
	case CV_FILE_MAP:
	case CV_FILE_LIST:
		return;
	}
}

/* ---- replies ------------------------------------------------------------------------------------------------------- */

static void deliver(struct store *s)
{
	const struct cv_save_config config = { .delivery = true };
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_err err = { 0 };
	struct cv_save *save;

	assert_ok(cv_save_begin(txn, inbox, &config, &save, &err));
	assert_ok(cv_save_write(save, CV_STR(MAIL), &err));
	assert_ok(cv_save_finish(save, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_mailbox_unref(&inbox);
}

static void append(struct store *s)
{
	(void)store_save(s, "INBOX", MAIL, CV_FLAG_SEEN);
}

/* As a session does: it does not ask for a sync. */
static void store(struct store *s)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_txn *txn = cv_txn_begin(s->user);
	const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_FLAGGED };
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, 1, 1);
	assert_ok(cv_txn_flags(txn, inbox, &uids, &change, NULL, NULL, &err));
	assert_ok(cv_txn_commit(&txn, NULL, NULL, &err));
	(void)cv_loop_once(s->loop, 0);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
}

static void expunge(struct store *s)
{
	store_expunge(s, "INBOX", 1, 2);
}

static void copy_or_move(struct store *s, uint32_t uid, bool move)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX"), *other = store_get(s, "Other");
	struct cv_ranges uids = { 0 }, from = { 0 }, to = { 0 };
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, uid, uid);
	assert_ok(cv_txn_copy(txn, inbox, &uids, other, move, &from, &to, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_ranges_free(&uids);
	cv_ranges_free(&from);
	cv_ranges_free(&to);
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&other);
}

static void copy(struct store *s)
{
	copy_or_move(s, 1, false);
}

static void move(struct store *s)
{
	copy_or_move(s, 1, true);
}

static void create(struct store *s)
{
	struct cv_err err = { 0 };

	assert_ok(cv_mailbox_create(s->user, CV_STR("New"), 0, &err));
}

static void rename_it(struct store *s)
{
	struct cv_err err = { 0 };

	assert_ok(cv_mailbox_rename(s->user, CV_STR("Other"), CV_STR("Another"), &err));
}

static void delete_it(struct store *s)
{
	struct cv_err err = { 0 };

	assert_ok(cv_mailbox_delete(s->user, CV_STR("Other"), &err));
}

static void subscribe(struct store *s)
{
	struct cv_err err = { 0 };

	assert_ok(cv_mailbox_subscribe(s->user, CV_STR("Other"), true, &err));
}

static void set_metadata(struct store *s)
{
	store_annotate(s, "INBOX", "/private/comment", "x");
}

/* ---- the table ----------------------------------------------------------------------------------------------------- */

/* Calls with mail_fsync = always; optimized: NULL when they are the same. With never they are those of always without the syncs, or
   those of `never` when that is set. There are two messages in
   INBOX, and a mailbox Other. */
static const struct row {
	const char *reply, *driver;
	void (*run)(struct store *s);
	const char *always, *optimized, *never;
} rows[] = {
#include "t/store/order-rows.h"
};

static const struct cv_conf *conf_with(struct store *s, const char *fsync)
{
	const struct cv_settings_table *tables[16];
	const struct cv_conf_problem *problems;
	const char *path = cv_arena_printf(*s->state, "%s/culver.ini", s->dir);
	struct cv_conf *conf;
	size_t count = 0, problem_count;
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "mail_fsync = %s\n", fsync);
	fclose(file);
	while (cv_mail_settings_tables[count] != NULL && count < CV_COUNT_OF(tables)) {
		tables[count] = cv_mail_settings_tables[count];
		count++;
	}
	assert_int_equal(cv_conf_load(path, NULL, tables, count, *s->state, &conf, &problems, &problem_count), 0);
	return conf;
}

/* "a, sync b, c" without its syncs; what then stands beside its like is one. */
static const char *without_syncs(struct store *s, const char *calls)
{
	struct cv_str rest = cv_str_c(calls), call, last = { 0 };
	struct cv_buf out;
	const char *text;

	cv_buf_init(&out, 4096);
	for (bool more = true; more; last = cv_str_starts(call, CV_STR("sync ")) ? last : call) {
		more = cv_str_split(rest, ',', &call, &rest);
		call = cv_str_trim(call);
		if (!cv_str_starts(call, CV_STR("sync ")) && !cv_str_eq(call, last))
			cv_buf_printf(&out, "%s%.*s", out.len > 0 ? ", " : "", CV_STR_ARG(call));
	}
	text = cv_arena_strdup(*s->state, out.data);
	cv_buf_deinit(&out);
	return text;
}

static void begin(struct store *s, void **state, const struct row *row, const char *fsync)
{
	struct cv_err err = { 0 };

	store_init(s, state);
	s->driver = row->driver;
	if (strcmp(row->driver, "maildir") == 0)
		s->module = &maildir_LTX_cv_module;
	s->conf = conf_with(s, fsync);
	s->loop = cv_loop_new(CV_LOOP_FAKE); /* what comes after the reply waits for it */
	store_open(s);
	(void)store_save(s, "INBOX", MAIL, 0);
	(void)store_save(s, "INBOX", MAIL, 0);
	assert_ok(cv_mailbox_create(s->user, CV_STR("Other"), 0, &err));
	(void)store_save(s, "Other", MAIL, 0);
	store_close(s); /* messages' files are durable then */
	store_open(s);
	store_expect(s, "INBOX", "1 -|2 -");
	store_expect(s, "Other", "1 -");
	store_flags(s, "Other", 1, 1, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL); /* which is synced, and all before it */
	(void)cv_loop_once(s->loop, 0);
}

/* *slow_r: it took longer than a slice of work lasts, so that what comes in the next one may be missing. */
static bool check_once(void **state, const struct row *row, const char *fsync, const char *want, bool *slow_r)
{
	uint64_t start_ms;
	struct order order = { .root = "" };
	struct store s;
	bool same;

	begin(&s, state, row, fsync);
	cv_buf_init(&order.calls, 4096);
	cv_buf_init(&order.last, 256);
	(void)snprintf(order.root, sizeof(order.root), "%s/mail/", s.dir);
	cv_file_set_watch(on_event, &order);
	start_ms = cv_time_mono_ms();
	row->run(&s);
	*slow_r = cv_time_mono_ms() > start_ms + 3;
	cv_file_set_watch(NULL, NULL);
	if (strcmp(fsync, "never") == 0)
		want = row->never != NULL ? row->never : without_syncs(&s, want);
	same = strcmp(want, order.calls.data) == 0;
	if (!same && !*slow_r)
		print_error("%s, %s, mail_fsync = %s\n  want: %s\n  is:   %s\n", row->reply, row->driver, fsync, want, order.calls.data);
	cv_buf_deinit(&order.calls);
	cv_buf_deinit(&order.last);
	store_deinit(&s);
	return same;
}

static bool check(void **state, const struct row *row, const char *fsync, const char *want)
{
	bool slow = true;

	for (unsigned i = 0; i < 200 && slow; i++) {
		if (check_once(state, row, fsync, want, &slow))
			return true;
	}
	if (slow)
		print_error("%s, %s, mail_fsync = %s: never as fast as a slice of work\n", row->reply, row->driver, fsync);
	return false;
}

static void calls_before_a_reply_are_those_of_the_table(void **state)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		const struct row *row = &rows[i];
		const char *optimized = row->optimized != NULL ? row->optimized : row->always;

		wrong += !check(state, row, "always", row->always);
		wrong += !check(state, row, "optimized", optimized);
		wrong += !check(state, row, "never", row->always);
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(calls_before_a_reply_are_those_of_the_table),
	};

	return store_tests_run(tests);
}
