/* SPDX-License-Identifier: MIT
   Zeros ahead of the journal's last record (journal-ahead.c), over sdbox on an event loop whose clock the test moves: when they are made, that no one takes them for
   anything but the end, and that they are gone from whatever is left. */
#include <config.h>

#include "t/store/store-disk.h"

#include <culver/loop.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAIL "Subject: a\r\n\r\none\r\n"
#define BEHIND ((off_t)16 << 10) /* they begin so far behind the last record at least, */
#define COUNT ((off_t)32 << 10)  /* and are so many */

static const char *segment_path(struct store *s, uint32_t number)
{
	return cv_arena_printf(*s->state, "%s/mail/culver-index/journal.%016x", s->dir, number);
}

static off_t size_of(struct store *s, uint32_t number)
{
	struct stat st;

	assert_int_equal(stat(segment_path(s, number), &st), 0);
	return st.st_size;
}

static struct cv_segment *last_segment(struct store *s)
{
	return &s->user->journal.segments.data[s->user->journal.segments.count - 1];
}

/* Is the last segment's file longer than its records, and are there zeros alone behind them? */
static bool is_ahead(struct store *s)
{
	const struct cv_segment *last = last_segment(s);
	off_t size = size_of(s, last->number);
	FILE *file;
	int c;

	assert_true(size >= (off_t)last->len);
	if (size == (off_t)last->len)
		return false;
	file = fopen(segment_path(s, last->number), "r");
	assert_non_null(file);
	assert_int_equal(fseek(file, (long)last->len, SEEK_SET), 0);
	while ((c = fgetc(file)) != EOF)
		assert_int_equal(c, 0);
	assert_int_equal(fclose(file), 0);
	return true;
}

static void open_with(struct store *s, uint32_t writes)
{
	store_open(s);
	s->user->journal.ahead_writes = writes;
}

/* With two messages, and zeros ahead once the thread had its turn. */
static void begin(struct store *s, void **state)
{
	store_init(s, state);
	s->loop = cv_loop_new(CV_LOOP_FAKE);
	open_with(s, 2);
	store_save(s, "INBOX", MAIL, 0);
	store_save(s, "INBOX", MAIL, 0);
	if (s->user->journal.ahead.refused) {
		store_deinit(s);
		skip(); /* a file system where nothing passes the cache, or nothing is written over */
	}
	store_turn(s, 0);
	store_turn(s, 0);
	assert_null(s->user->journal.ahead.beside);
	assert_true(is_ahead(s));
	assert_true(size_of(s, last_segment(s)->number) >= (off_t)last_segment(s)->len + COUNT);
}

/* The process ends without closing anything: what is on disk then, changed by the test or not, is opened. */
static void killed(struct store *s, void (*change)(struct store *s, struct disk *disk))
{
	struct disk disk;

	disk_read(s, &disk);
	if (change != NULL)
		change(s, &disk);
	store_close(s);
	disk_write(s, &disk);
	disk_free(&disk);
	open_with(s, 2);
}

static void records_go_over_them(void **state)
{
	struct store s;
	off_t size;

	begin(&s, state);
	size = size_of(&s, last_segment(&s)->number);
	for (unsigned i = 0; i < 40; i++)
		store_save(&s, "INBOX", MAIL, i % 2 == 0 ? CV_FLAG_SEEN : 0);
	assert_true(is_ahead(&s));
	assert_true(size_of(&s, last_segment(&s)->number) >= size);
	store_turn(&s, 100);
	for (uint32_t uid = 1; uid <= 42; uid++)
		store_octets(&s, "INBOX", uid, MAIL);
	store_deinit(&s);
}

/* More than is kept free in front of the thread: it is waited for. */
static void no_record_meets_those_that_are_being_written(void **state)
{
	char mail[24 << 10];
	struct store s;

	store_init(&s, state);
	s.loop = cv_loop_new(CV_LOOP_FAKE);
	open_with(&s, 2);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	if (s.user->journal.ahead.refused) {
		store_deinit(&s);
		skip();
	}
	memset(mail, 'x', sizeof(mail));
	(void)memcpy(mail, "Subject: long\r\n\r\n", 17);
	mail[sizeof(mail) - 1] = '\0';
	assert_true(s.user->journal.ahead.beside != NULL && !is_ahead(&s));
	store_save(&s, "INBOX", mail, 0);
	assert_true(is_ahead(&s));
	store_save(&s, "INBOX", mail, 0);
	store_turn(&s, 100);
	assert_true(is_ahead(&s));
	killed(&s, NULL);
	store_octets(&s, "INBOX", 3, mail);
	store_octets(&s, "INBOX", 4, mail);
	store_deinit(&s);
}

static void they_are_the_end_after_a_crash(void **state)
{
	unsigned errors = store_log_errors();
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, CV_FLAG_SEEN);
	killed(&s, NULL);
	assert_false(is_ahead(&s));
	store_expect(&s, "INBOX", "1 -|2 -|3 S");
	store_save(&s, "INBOX", MAIL, 0);
	killed(&s, NULL);
	store_expect(&s, "INBOX", "1 -|2 -|3 S|4 -");
	assert_int_equal(store_log_errors(), errors);
	store_deinit(&s);
}

/* Of the last record some blocks are still zeros: of segment and copy, from where this says. */
static uint64_t torn_from;

static void tear(struct store *s, struct disk *disk)
{
	const char *parts[] = { "journal.", "copy." };

	for (size_t i = 0; i < CV_COUNT_OF(parts); i++) {
		const char *name = cv_arena_printf(*s->state, "%s%016x", parts[i], last_segment(s)->number);
		const struct disk_file *file = disk_find(disk, name);

		assert_non_null(file);
		memset((char *)(uintptr_t)file->octets.ptr + torn_from, 0, 24);
	}
}

static void a_torn_record_among_them_is_cut_off(void **state)
{
	unsigned errors = store_log_errors();
	struct store s;

	begin(&s, state);
	torn_from = last_segment(&s)->len + 64;
	store_save(&s, "INBOX", MAIL, 0);
	killed(&s, tear);
	assert_false(is_ahead(&s));
	assert_int_equal(last_segment(&s)->len, torn_from - 64);
	store_expect(&s, "INBOX", "1 -|2 -");
	assert_int_equal(store_log_errors(), errors);
	store_deinit(&s);
}

static void a_bad_record_before_another_is_damage(void **state)
{
	unsigned errors = store_log_errors();
	struct store s;

	begin(&s, state);
	torn_from = last_segment(&s)->len + 64;
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	killed(&s, tear);
	assert_true(store_log_errors() > errors);
	store_octets(&s, "INBOX", 1, MAIL);
	store_octets(&s, "INBOX", 4, MAIL);
	store_deinit(&s);
}

static void nobody_leaves_them(void **state)
{
	struct cv_err err = { 0 };
	uint32_t number;
	struct store s;
	off_t len;

	begin(&s, state);
	cv_user_quiet(s.user);
	assert_false(is_ahead(&s));
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	store_turn(&s, 0);
	store_turn(&s, 0);
	assert_true(is_ahead(&s));
	number = last_segment(&s)->number;
	len = (off_t)last_segment(&s)->len;
	assert_ok(cv_journal_rotate(&s.user->journal, &err));
	assert_int_equal(size_of(&s, number), len);
	store_save(&s, "INBOX", MAIL, 0);
	assert_int_not_equal(last_segment(&s)->number, number);
	store_save(&s, "INBOX", MAIL, 0);
	store_turn(&s, 0);
	store_turn(&s, 0);
	assert_true(is_ahead(&s));
	s.leave_records = true;
	number = last_segment(&s)->number;
	len = (off_t)last_segment(&s)->len;
	store_close(&s);
	assert_int_equal(size_of(&s, number), len);
	open_with(&s, 2);
	store_expect(&s, "INBOX", "1 -|2 -|3 -|4 -|5 -|6 -");
	store_deinit(&s);
}

/* One that is being written when the user is closed is waited for. */
static void closing_waits_for_them(void **state)
{
	struct store s;

	begin(&s, state);
	cv_user_quiet(s.user);
	while (s.user->journal.ahead.beside == NULL)
		store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	open_with(&s, 2);
	assert_false(is_ahead(&s));
	store_expect(&s, "INBOX", "1 -|2 -|3 -|4 -");
	store_deinit(&s);
}

static int no_room_for_zeros(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *count = ctx;

	(void)name;
	if (op != CV_FILE_WRITE || len == NULL || *len < (size_t)COUNT)
		return 0;
	(*count)++;
	return ENOSPC;
}

static void a_full_disk_gets_the_room_back(void **state)
{
	unsigned count = 0;
	struct store s;

	begin(&s, state);
	cv_user_quiet(s.user);
	cv_file_set_fault(no_room_for_zeros, &count);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	store_turn(&s, 0);
	store_turn(&s, 0);
	assert_int_equal(count, 1);
	assert_false(is_ahead(&s));
	for (unsigned i = 0; i < 10; i++) /* and is not asked again */
		store_save(&s, "INBOX", MAIL, 0);
	store_turn(&s, 0);
	store_turn(&s, 0);
	assert_int_equal(count, 1);
	assert_false(is_ahead(&s));
	cv_file_set_fault(NULL, NULL);
	killed(&s, NULL);
	store_octets(&s, "INBOX", 14, MAIL);
	store_deinit(&s);
}

static void few_changes_have_none(void **state)
{
	struct store s;

	store_init(&s, state);
	s.loop = cv_loop_new(CV_LOOP_FAKE);
	open_with(&s, 0);
	for (unsigned i = 0; i < 40; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_turn(&s, 0);
	assert_false(is_ahead(&s));
	s.user->journal.ahead_writes = 2;
	s.user->journal.fsync = CV_FSYNC_NEVER; /* nothing waits for the disk */
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	store_turn(&s, 0);
	assert_false(is_ahead(&s));
	s.user->journal.fsync = CV_FSYNC_OPTIMIZED;
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(records_go_over_them),
		cv_test(no_record_meets_those_that_are_being_written),
		cv_test(they_are_the_end_after_a_crash),
		cv_test(a_torn_record_among_them_is_cut_off),
		cv_test(a_bad_record_before_another_is_damage),
		cv_test(nobody_leaves_them),
		cv_test(closing_waits_for_them),
		cv_test(a_full_disk_gets_the_room_back),
		cv_test(few_changes_have_none),
	};

	return store_tests_run(tests);
}
