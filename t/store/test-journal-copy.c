/* SPDX-License-Identifier: MIT
   Copies of the journal's segments: what happens to them and to what they stand in for while the user is open. That any one file may be lost is
   in test-damage.c. */
#include <config.h>

#include "t/store/store-disk.h"

#include <errno.h>
#include <stdio.h>

#define MAIL "Subject: x\r\n\r\nx\r\n"
#define SEGMENT "journal.0000000000000001"
#define COPY "copy.0000000000000001"

static const struct disk_file *file_of(const struct disk *disk, const char *name)
{
	const struct disk_file *file = disk_find(disk, name);

	assert_non_null(file);
	return file;
}

static void assert_copied(struct store *s)
{
	struct disk disk = { 0 };
	const struct disk_file *segment, *copy;

	disk_read(s, &disk);
	segment = file_of(&disk, SEGMENT);
	copy = file_of(&disk, COPY);
	assert_int_equal(copy->octets.len, segment->octets.len);
	assert_memory_equal(copy->octets.ptr, segment->octets.ptr, segment->octets.len);
	disk_free(&disk);
}

static void begin_with(struct store *s, void **state, bool files_first)
{
	store_init(s, state);
	store_open(s);
	if (files_first)
		store_set_files_first(s);
	store_save(s, "INBOX", MAIL, 0);
	store_save(s, "Drafts", MAIL, CV_FLAG_SEEN);
	store_flags(s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_FLAGGED, "Word");
	assert_copied(s);
}

static void begin(struct store *s, void **state)
{
	begin_with(s, state, false);
}

/* As after kill -9: what is on disk now is there when it is opened again. */
static void reopen_killed(struct store *s)
{
	struct disk disk = { 0 };

	disk_read(s, &disk);
	store_close(s);
	disk_write(s, &disk);
	disk_free(&disk);
	store_open(s);
}

static void it_goes_on_where_it_was(void **state)
{
	struct store s;

	begin(&s, state);
	reopen_killed(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	store_close(&s);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	store_deinit(&s);
}

/* A copy that a crash left shorter, that was removed, that is something else: the next write makes it anew. */
static void one_that_is_not_as_long_is_made_anew(void **state)
{
	const struct cv_str others[] = { CV_STR(""), CV_STR("CVSJRNL1"), cv_str_mem(NULL, 0) };
	struct store s;

	begin(&s, state);
	for (size_t i = 0; i < CV_COUNT_OF(others); i++) {
		if (others[i].ptr != NULL)
			disk_put_file(&s, COPY, others[i]);
		else
			disk_remove_file(&s, COPY);
		reopen_killed(&s);
		store_save(&s, "INBOX", MAIL, 0);
		assert_copied(&s);
	}
	store_expect(&s, "INBOX", "1 F Word|2 -|3 -|4 -");
	store_deinit(&s);
}

/* The file is removed or changed under a session that is open, and the server is killed later. */
static void what_happens_to_the_segment_of_an_open_user_loses_nothing(void **state)
{
	for (unsigned harm = 0; harm < 3; harm++) {
		struct disk disk = { 0 };
		struct store s;

		begin(&s, state);
		disk_read(&s, &disk);
		if (harm == 0)
			disk_remove_file(&s, SEGMENT);
		else
			disk_put_file(&s, SEGMENT, harm == 1 ? CV_STR("") : cv_str_sub(file_of(&disk, SEGMENT)->octets, 0, 200));
		disk_free(&disk);
		store_save(&s, "INBOX", MAIL, CV_FLAG_ANSWERED);
		store_flags(&s, "Drafts", 1, 1, CV_FLAGS_ADD, CV_FLAG_DRAFT, NULL);
		reopen_killed(&s);
		store_expect(&s, "INBOX", "1 F Word|2 A");
		store_expect(&s, "Drafts", "1 ST");
		assert_int_equal(disk_count(&s, ".damaged-"), harm == 0 ? 0 : 1);
		store_save(&s, "INBOX", MAIL, 0);
		assert_copied(&s);
		store_deinit(&s);
	}
}

/* A mailbox that is not loaded yet is read from the records: they come from the copy. (With messages' octets in them it is loaded when the user is opened, to make
   their files.) */
static void records_that_are_read_later_come_from_it(void **state)
{
	struct disk disk = { 0 };
	struct store s;
	char *octets;
	size_t len;

	begin_with(&s, state, true);
	store_set_sizes(&s, 1 << 20, 1 << 20);
	reopen_killed(&s);
	disk_read(&s, &disk);
	len = file_of(&disk, SEGMENT)->octets.len;
	octets = cv_arena_alloc(*state, len);
	memcpy(octets, file_of(&disk, SEGMENT)->octets.ptr, len);
	for (size_t at = CV_SEGMENT_HEAD; at < len; at += 40)
		octets[at] = (char)(octets[at] ^ 1);
	disk_put_file(&s, SEGMENT, cv_str_mem(octets, len));
	disk_free(&disk);
	store_expect(&s, "INBOX", "1 F Word");
	store_expect(&s, "Drafts", "1 S");
	/* The file is whole again, and goes on to be written. */
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 F Word|2 -");
	store_deinit(&s);
}

/* Writing goes on where it was: what can't be made as long as it was is left for the repair from memory, and nothing behind it is taken along. */
static void the_segment_that_is_written_to_keeps_its_length(void **state)
{
	struct disk disk = { 0 };
	struct cv_err err = { 0 };
	uint64_t end;
	struct store s;
	char *octets;
	size_t len;

	begin(&s, state);
	end = cv_journal_end_pos(&s.user->journal).offset;
	disk_read(&s, &disk);
	len = file_of(&disk, SEGMENT)->octets.len;
	assert_int_equal(len, end);
	/* Both end too soon, the segment before the copy. */
	disk_put_file(&s, SEGMENT, cv_str_sub(file_of(&disk, SEGMENT)->octets, 0, CV_SEGMENT_HEAD));
	disk_put_file(&s, COPY, cv_str_sub(file_of(&disk, COPY)->octets, 0, len - 8));
	assert_int_equal(cv_journal_restore(&s.user->journal, 1, &err), 0);
	assert_int_equal(cv_journal_end_pos(&s.user->journal).offset, end);
	/* The segment is damaged, and there are octets behind it. */
	octets = cv_arena_alloc(*state, len + 64);
	memcpy(octets, file_of(&disk, SEGMENT)->octets.ptr, len);
	memset(octets + CV_SEGMENT_HEAD, 'x', 8);
	memset(octets + len, 'y', 64);
	disk_put_file(&s, SEGMENT, cv_str_mem(octets, len + 64));
	disk_put_file(&s, COPY, file_of(&disk, COPY)->octets);
	disk_free(&disk);
	assert_int_equal(cv_journal_restore(&s.user->journal, 1, &err), 1);
	assert_int_equal(cv_journal_end_pos(&s.user->journal).offset, end);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 F Word|2 -");
	store_deinit(&s);
}

static int fail_copies(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *failed = ctx;

	(void)len;
	if (op != CV_FILE_OPEN || name == NULL || strncmp(name, "copy.", 5) != 0)
		return 0;
	(*failed)++;
	return ENOSPC;
}

/* No change is refused because its copy can't be written. */
static void no_change_depends_on_it(void **state)
{
	unsigned failed = 0;
	struct store s;

	store_init(&s, state);
	cv_file_set_fault(fail_copies, &failed);
	store_open(&s);
	for (unsigned i = 0; i < 20; i++)
		store_save(&s, "INBOX", MAIL, 0);
	assert_true(failed >= 1 && failed < 20); /* asked once a second, told once */
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(disk_count(&s, "copy."), 0);
	reopen_killed(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	store_deinit(&s);
}

/* A disk that was full for a while: the copy is made up for, over what there was of it. */
static void it_is_kept_again_when_it_can_be_written(void **state)
{
	const struct disk_file *copy;
	struct disk disk;
	unsigned failed = 0;
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	disk_read(&s, &disk);
	copy = disk_find(&disk, COPY);
	assert_non_null(copy);
	cv_file_close(&s.user->journal.copy_fd);
	cv_file_set_fault(fail_copies, &failed);
	store_save(&s, "INBOX", MAIL, 0);
	assert_int_equal(failed, 1);
	store_save(&s, "INBOX", MAIL, 0); /* within the same second */
	assert_int_equal(failed, 1);
	s.user->journal.copy_again_ms = 1;
	store_save(&s, "INBOX", MAIL, 0);
	assert_int_equal(failed, 2);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(disk_count(&s, COPY), 1);
	disk_put_file(&s, COPY, copy->octets); /* as the writes that failed have left it */
	s.user->journal.copy_again_ms = 1;
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	assert_int_equal(s.user->journal.copy_again_ms, 0);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	disk_free(&disk);
	store_deinit(&s);
}

static void dropped_segments_take_theirs_along(void **state)
{
	struct store s;

	begin(&s, state);
	store_set_sizes(&s, 20000, 4096);
	for (unsigned i = 0; i < 600; i++)
		store_save(&s, "INBOX", MAIL, 0);
	assert_int_equal(disk_count(&s, SEGMENT), 0);
	assert_int_equal(disk_count(&s, COPY), 0);
	assert_int_equal(disk_count(&s, "copy."), disk_count(&s, "journal."));
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(it_goes_on_where_it_was),
		cv_test(one_that_is_not_as_long_is_made_anew),
		cv_test(what_happens_to_the_segment_of_an_open_user_loses_nothing),
		cv_test(records_that_are_read_later_come_from_it),
		cv_test(the_segment_that_is_written_to_keeps_its_length),
		cv_test(no_change_depends_on_it),
		cv_test(it_is_kept_again_when_it_can_be_written),
		cv_test(dropped_segments_take_theirs_along),
	};

	return store_tests_run(tests);
}
