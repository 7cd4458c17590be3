/* SPDX-License-Identifier: MIT
   Journal subscribers: every record in order, at least once, over failures, crashes and lost cursors. */
#include <config.h>

#include "t/store/store-disk.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAIL "From: a@example.org\r\nSubject: first\r\n\r\nHello\r\n"

/* What the subscriber of these tests does and saw; the tests run one after the other. */
static struct seen {
	struct cv_buf text;
	uint64_t changes, calls, largest, last_modseq;
	unsigned fail;        /* so many calls of record fail */
	unsigned fail_reset;
	bool count_only;
	bool die;             /* in the middle of the next call, as by SIGKILL */
	int out;              /* where text goes too, when not -1 */
	bool change_something;
	struct cv_user *user;
} seen;

static void note(const char *fmt, ...) CV_PRINTF(1, 2);
static void note(const char *fmt, ...)
{
	char line[200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	cv_buf_append_c(&seen.text, line);
	if (seen.out >= 0)
		assert_int_equal(write(seen.out, line, strlen(line)), strlen(line));
}

static int on_open(struct cv_user *user, void **ctx_r, struct cv_err *err)
{
	(void)err;
	seen.user = user;
	*ctx_r = &seen;
	return 1;
}

static void on_close(void *ctx)
{
	assert_ptr_equal(ctx, &seen);
	seen.user = NULL;
}

static int on_reset(void *ctx, enum cv_subscriber_reset why, struct cv_err *err)
{
	assert_ptr_equal(ctx, &seen);
	if (seen.fail_reset > 0) {
		seen.fail_reset--;
		return cv_err_set(err, CV_ERR_TEMP, "not yet");
	}
	seen.last_modseq = 0;
	note("%s;", why == CV_SUBSCRIBER_NEW ? "new" : "lost");
	return 1;
}

static void change_something(void)
{
	struct cv_err err = { 0 };

	seen.change_something = false;
	assert_ok(cv_mailbox_create(seen.user, CV_STR("made"), 0, &err));
}

static int on_record(void *ctx, const struct cv_change *changes, size_t count, struct cv_err *err)
{
	static const char *const kinds[] = { "", "create", "rename", "delete", "subscribe", "annotate", "append", "flags", "expunge", "copy", "note" };

	assert_ptr_equal(ctx, &seen);
	assert_true(count > 0);
	seen.calls++;
	if (seen.fail > 0) {
		seen.fail--;
		return cv_err_set(err, CV_ERR_TEMP, "not now");
	}
	if (seen.change_something)
		change_something();
	for (size_t i = 0; i < count; i++) {
		assert_true(changes[i].modseq >= seen.last_modseq);
		seen.last_modseq = changes[i].modseq;
		if (!seen.count_only)
			note("%s %.*s %u", kinds[changes[i].kind], CV_STR_ARG(changes[i].name), changes[i].uid);
		if (!seen.count_only && changes[i].kind == CV_CHANGE_NOTE)
			note(" %.*s%s=%.*s", CV_STR_ARG(changes[i].note), changes[i].note_private ? " priv" : "",
				CV_STR_ARG(changes[i].note_value.ptr != NULL ? changes[i].note_value : CV_STR("(removed)")));
		if (!seen.count_only)
			note(";");
	}
	seen.changes += count;
	seen.largest = CV_MAX(seen.largest, (uint64_t)count);
	if (seen.die)
		_exit(9);
	return 1;
}

static const struct cv_subscriber subscriber = {
	.name = "test",
	.open = on_open,
	.record = on_record,
	.close = on_close,
	.reset = on_reset,
};

static void add(struct cv_registry *reg)
{
	struct cv_err err = { 0 };

	assert_ok(cv_provide_subscriber(reg, &subscriber, &err));
}

static void begin(struct store *s, void **state)
{
	cv_buf_deinit(&seen.text);
	seen = (struct seen){ .out = -1 };
	cv_buf_init(&seen.text, 1 << 20);
	store_init(s, state);
	s->add_hooks = add;
}

static void end(struct store *s)
{
	store_deinit(s);
	cv_buf_deinit(&seen.text);
}

static void expect_seen(const char *want)
{
	assert_true(cv_buf_ok(&seen.text));
	assert_str_eq(cv_buf_str(&seen.text), cv_str_c(want));
	cv_buf_clear(&seen.text);
}

#define FIRST "create INBOX 0;subscribe INBOX 0;create Drafts 0;subscribe Drafts 0;create Sent 0;subscribe Sent 0;" \
	"create Junk 0;subscribe Junk 0;create Trash 0;subscribe Trash 0;"

/* A user without the subscriber, as before its module was installed. */
static void before_installation(struct store *s)
{
	s->add_hooks = NULL;
	store_open(s);
	store_save(s, "INBOX", MAIL, 0);
	store_deinit(s);
	s->registry = NULL;
	s->add_hooks = add;
}

static void a_new_one_begins_at_the_start_and_goes_on_where_it_was(void **state)
{
	struct store s;

	begin(&s, state);
	before_installation(&s);
	store_open(&s);
	expect_seen("new;" FIRST "append INBOX 1;");
	store_save(&s, "INBOX", MAIL, 0);
	store_flags(&s, "INBOX", 1, 2, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	store_expunge(&s, "INBOX", 1, 1);
	expect_seen("append INBOX 2;flags INBOX 1;flags INBOX 2;expunge INBOX 1;");
	for (int i = 0; i < 3; i++) {
		store_close(&s);
		store_open(&s);
		expect_seen("");
	}
	store_save(&s, "Sent", MAIL, 0);
	expect_seen("append Sent 1;");
	end(&s);
}

static void annotations_of_messages_are_told_one_by_one(void **state)
{
	struct cv_ranges uids = { 0 };
	struct cv_mailbox *inbox, *sent;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;

	begin(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	cv_buf_clear(&seen.text);
	store_note(&s, "INBOX", 1, 2, "/comment", "x");
	store_note(&s, "INBOX", 2, 2, "/comment priv", "y");
	store_note(&s, "INBOX", 1, 2, "/comment priv", NULL);
	expect_seen("note INBOX 1 /comment=x;note INBOX 2 /comment=x;note INBOX 2 /comment priv=y;note INBOX 2 /comment priv=(removed);");
	/* Behind the copy that has them. */
	inbox = store_get(&s, "INBOX");
	sent = store_get(&s, "Sent");
	txn = cv_txn_begin(s.user);
	cv_ranges_add(&uids, 2, 2);
	assert_ok(cv_txn_copy(txn, inbox, &uids, sent, false, NULL, NULL, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	expect_seen("copy Sent 1;note Sent 1 /comment=x;");
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&sent);
	end(&s);
}

static void what_fails_is_told_again(void **state)
{
	struct store s;

	begin(&s, state);
	seen.fail_reset = 1;
	store_open(&s);
	expect_seen("");
	store_save(&s, "INBOX", MAIL, 0);
	expect_seen("new;" FIRST "append INBOX 1;");
	seen.fail = 2;
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	expect_seen("");
	store_save(&s, "INBOX", MAIL, 0);
	expect_seen("append INBOX 2;append INBOX 3;append INBOX 4;");
	/* Over a close: nothing was taken. */
	seen.fail = 100;
	store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	seen.fail = 0;
	store_open(&s);
	expect_seen("append INBOX 5;");
	end(&s);
}

static void rounds(struct store *s, int count)
{
	for (int i = 0; i < count; i++)
		cv_loop_once(s->loop, 0);
}

static void failures_back_off(void **state)
{
	struct store s;
	uint64_t before;

	begin(&s, state);
	s.loop = cv_loop_new(CV_LOOP_FAKE);
	store_open(&s);
	rounds(&s, 20);
	expect_seen("new;" FIRST);
	seen.fail = 4;
	before = seen.calls;
	store_save(&s, "INBOX", MAIL, 0);
	rounds(&s, 20);
	assert_int_equal(seen.calls - before, 1);
	/* Other changes do not hurry it. */
	store_save(&s, "INBOX", MAIL, 0);
	rounds(&s, 20);
	assert_int_equal(seen.calls - before, 1);
	for (int i = 0; i < 15; i++) { /* after 1, 3, 7, 15 seconds */
		cv_loop_fake_advance(s.loop, 1000);
		rounds(&s, 20);
		assert_int_equal(seen.calls - before, i < 2 ? 2 : i < 6 ? 3 : i < 14 ? 4 : 6);
	}
	expect_seen("append INBOX 1;append INBOX 2;");
	end(&s);
}

static void a_long_record_is_told_in_slices(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_ranges uids = { 0 };
	struct cv_txn *txn;
	struct cv_err err = { 0 };

	begin(&s, state);
	seen.count_only = true;
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	store_save(&s, "INBOX", MAIL, 0);
	cv_ranges_add(&uids, 1, 1);
	while (cv_ranges_numbers(&uids) < 3000) { /* doubles the mailbox each time */
		txn = cv_txn_begin(s.user);
		assert_ok(cv_txn_copy(txn, inbox, &uids, inbox, false, NULL, &uids, &err));
		assert_ok(cv_txn_commit_wait(&txn, &err));
	}
	seen.changes = seen.calls = seen.largest = 0;
	seen.fail = 1;
	store_flags(&s, "INBOX", 1, 5000, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	store_save(&s, "INBOX", MAIL, 0);
	assert_int_equal(seen.changes, cv_ranges_numbers(&uids) + 1);
	assert_true(seen.largest <= 1024);
	assert_true(seen.calls >= 5);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
	end(&s);
}

/* A child is the worker, and ends between handling and the writing of the cursor. */
static void crash_in_handler(struct store *s, const char *file)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		seen.out = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		store_open(s);
		seen.die = true;
		store_save(s, "INBOX", MAIL, 0);
		_exit(1); /* it did not come so far */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 9);
}

static void a_crash_before_the_cursor_is_written_tells_again(void **state)
{
	struct store s;
	char file[600], text[1000];
	ssize_t len;
	int fd;

	begin(&s, state);
	(void)snprintf(file, sizeof(file), "%s/told", s.dir);
	crash_in_handler(&s, file);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	len = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	assert_true(len > 0);
	text[len] = '\0';
	assert_string_equal(text, "new;" FIRST "append INBOX 1;");
	/* The append was told, its cursor was not written: it comes again, and what came before does not. */
	store_open(&s);
	expect_seen("append INBOX 1;");
	store_save(&s, "INBOX", MAIL, 0);
	expect_seen("append INBOX 2;");
	store_expect(&s, "INBOX", "1 -|2 -");
	end(&s);
}

static void spoil(struct store *s, const char *name, off_t at, size_t len)
{
	char path[700], junk[64];
	int fd;

	memset(junk, 'x', sizeof(junk));
	(void)snprintf(path, sizeof(path), "%s/mail/culver-index/%s", s->dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, junk, len, at), len);
	(void)close(fd);
}

static void a_damaged_cursor_begins_anew_and_half_of_one_does_not(void **state)
{
	struct store s;

	begin(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	expect_seen("new;" FIRST "append INBOX 1;");
	store_close(&s);
	/* One slot torn, as by a power cut while it was written: at most the last record comes again. */
	spoil(&s, "cursor.test", 20, 8);
	store_open(&s);
	assert_true(cv_str_eq_c(cv_buf_str(&seen.text), "append INBOX 1;") || seen.text.len == 0);
	cv_buf_clear(&seen.text);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	expect_seen("append INBOX 2;append INBOX 3;");
	store_close(&s);
	spoil(&s, "cursor.test", 20, 8);
	spoil(&s, "cursor.test", 512 + 20, 8);
	store_open(&s);
	assert_true(cv_str_starts(cv_buf_str(&seen.text), CV_STR("lost;")));
	assert_true(cv_str_find_str(cv_buf_str(&seen.text), CV_STR("append INBOX 2;append INBOX 3;")) != SIZE_MAX);
	cv_buf_clear(&seen.text);
	store_close(&s);
	store_open(&s);
	expect_seen("");
	end(&s);
}

static void copy_file(const char *from, const char *to)
{
	static char octets[1 << 16];
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ssize_t len = read(in, octets, sizeof(octets));

	assert_true(len > 0 && len < (ssize_t)sizeof(octets));
	assert_int_equal(write(out, octets, (size_t)len), len);
	(void)close(in);
	(void)close(out);
}

static void a_journal_that_was_put_back_is_noticed(void **state)
{
	struct store s;
	char journal[700], kept[700];

	begin(&s, state);
	(void)snprintf(journal, sizeof(journal), "%s/mail/culver-index/journal.0000000000000001", s.dir);
	(void)snprintf(kept, sizeof(kept), "%s/kept", s.dir);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	expect_seen("new;" FIRST "append INBOX 1;");
	copy_file(journal, kept);
	store_open(&s);
	store_save(&s, "Sent", MAIL, 0);
	store_close(&s);
	expect_seen("append Sent 1;");
	/* The cursor is newer than the journal now. */
	assert_int_equal(rename(kept, journal), 0);
	disk_remove_file(&s, "copy.0000000000000001");
	store_open(&s);
	assert_true(cv_str_starts(cv_buf_str(&seen.text), CV_STR("lost;")));
	end(&s);
}

/* As much as the journal's segments hold is written, folded and dropped in this test: kilobytes, not megabytes. */
static void set_sizes(struct store *s, uint64_t keep)
{
	static struct cv_store_settings set;

	store_set_sizes(s, 4096, 512);
	set = *s->user->set;
	set.mail_journal_subscriber_keep = keep;
	s->user->set = &set;
}

static void write_much(struct store *s, int times)
{
	for (int i = 0; i < times; i++) {
		store_flags(s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
		store_flags(s, "INBOX", 1, 1, CV_FLAGS_REMOVE, CV_FLAG_SEEN, NULL);
	}
}

static void what_one_needs_is_kept_up_to_a_bound(void **state)
{
	struct store s;
	uint64_t before;

	begin(&s, state);
	store_open(&s);
	set_sizes(&s, 1 << 20);
	store_save(&s, "INBOX", MAIL, 0);
	seen.count_only = true;
	write_much(&s, 200);
	/* Nothing waits for the old segments: they go. */
	assert_true(disk_journal_size(&s) < 40000);
	assert_int_equal(disk_count(&s, "journal.0000000000000001"), 0);
	seen.fail = 1000000;
	before = seen.changes;
	write_much(&s, 400);
	assert_true(disk_journal_size(&s) > 60000);
	seen.fail = 0;
	write_much(&s, 1);
	assert_int_equal(seen.changes - before, 802);
	write_much(&s, 100);
	assert_true(disk_journal_size(&s) < 40000);
	/* Beyond the bound the records are dropped, and it is told so. */
	set_sizes(&s, 20000);
	cv_buf_clear(&seen.text);
	seen.fail = 1000000;
	before = seen.changes;
	write_much(&s, 800);
	assert_true(disk_journal_size(&s) < 60000);
	seen.fail = 0;
	write_much(&s, 1);
	assert_true(cv_str_starts(cv_buf_str(&seen.text), CV_STR("lost;"))); /* once for each time that more was dropped */
	cv_buf_clear(&seen.text);
	assert_true(seen.changes - before > 50);
	assert_true(seen.changes - before < 1602);
	before = seen.changes;
	write_much(&s, 1);
	assert_int_equal(seen.changes - before, 2);
	expect_seen("");
	end(&s);
}

static void a_handler_may_change_something_itself(void **state)
{
	struct store s;

	begin(&s, state);
	store_open(&s);
	cv_buf_clear(&seen.text);
	seen.change_something = true;
	store_save(&s, "INBOX", MAIL, 0);
	expect_seen("append INBOX 1;create made 0;");
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(a_new_one_begins_at_the_start_and_goes_on_where_it_was),
		cv_test(annotations_of_messages_are_told_one_by_one),
		cv_test(what_fails_is_told_again),
		cv_test(failures_back_off),
		cv_test(a_long_record_is_told_in_slices),
		cv_test(a_crash_before_the_cursor_is_written_tells_again),
		cv_test(a_damaged_cursor_begins_anew_and_half_of_one_does_not),
		cv_test(a_journal_that_was_put_back_is_noticed),
		cv_test(what_one_needs_is_kept_up_to_a_bound),
		cv_test(a_handler_may_change_something_itself),
	};

	return store_tests_run(tests);
}
