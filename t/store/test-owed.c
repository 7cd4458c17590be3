/* SPDX-License-Identifier: MIT
   Copies that are recorded first and made afterwards, over sdbox on an event loop whose clock the test moves. */
#include <config.h>

#include "t/store/store-disk.h"

#include <culver/loop.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_MS 60000

static void begin(struct store *s, void **state)
{
	store_init(s, state);
	s->loop = cv_loop_new(CV_LOOP_FAKE);
	store_open(s);
	store_save(s, "INBOX", "Subject: a\r\n\r\none\r\n", 0);
	store_save(s, "INBOX", "Subject: b\r\n\r\ntwo\r\n", CV_FLAG_SEEN);
	store_save(s, "INBOX", "Subject: c\r\n\r\nthree\r\n", 0);
	store_turn(s, 1000); /* they have files */
}

static void write_file(const char *path, const char *octets)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(octets, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int failing_link(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	(void)name;
	(void)len;
	return op == CV_FILE_LINK ? *(const int *)ctx : 0;
}

static void a_copy_is_made_after_it_was_recorded(void **state)
{
	struct store s;

	begin(&s, state);
	store_copy(&s, "INBOX", 1, 3, "Sent", false);
	assert_false(store_has_file(&s, "Sent", "u.1"));
	store_expect(&s, "Sent", "1 -|2 S|3 -");
	store_turn(&s, 0);
	assert_true(store_has_file(&s, "Sent", "u.1") && store_has_file(&s, "Sent", "u.3"));
	assert_int_equal(s.user->owed.count, 1); /* made, and not synced yet */
	store_turn(&s, 100);
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "Sent", 2, "Subject: b\r\n\r\ntwo\r\n");
	store_deinit(&s);
}

static void until_then_it_is_read_where_it_came_from(void **state)
{
	int error = ENOSPC;
	struct store s;

	begin(&s, state);
	cv_file_set_fault(failing_link, &error);
	store_copy(&s, "INBOX", 1, 3, "Sent", false);
	store_turn(&s, 0);
	store_octets(&s, "Sent", 3, "Subject: c\r\n\r\nthree\r\n");
	assert_false(store_has_file(&s, "Sent", "u.3"));
	cv_file_set_fault(NULL, NULL);
	store_turn(&s, RETRY_MS);
	assert_true(store_has_file(&s, "Sent", "u.3"));
	store_octets(&s, "Sent", 3, "Subject: c\r\n\r\nthree\r\n");
	store_deinit(&s);
}

static void nothing_is_removed_before_what_is_made_of_it(void **state)
{
	int error = ENOSPC;
	struct store s;

	begin(&s, state);
	cv_file_set_fault(failing_link, &error);
	store_copy(&s, "INBOX", 1, 2, "Sent", true);
	store_copy(&s, "INBOX", 3, 3, "Sent", false);
	store_expunge(&s, "INBOX", 3, 3);
	store_turn(&s, RETRY_MS);
	store_expect(&s, "INBOX", "");
	store_expect(&s, "Sent", "1 -|2 S|3 -");
	assert_true(store_has_file(&s, "INBOX", "u.1") && store_has_file(&s, "INBOX", "u.3"));
	store_octets(&s, "Sent", 3, "Subject: c\r\n\r\nthree\r\n");
	cv_file_set_fault(NULL, NULL);
	store_turn(&s, RETRY_MS);
	store_turn(&s, 100);
	assert_false(store_has_file(&s, "INBOX", "u.1") || store_has_file(&s, "INBOX", "u.3"));
	store_octets(&s, "Sent", 1, "Subject: a\r\n\r\none\r\n");
	store_octets(&s, "Sent", 3, "Subject: c\r\n\r\nthree\r\n");
	store_deinit(&s);
}

static void a_copy_of_a_copy_is_made_of_what_is_there(void **state)
{
	struct store s;

	begin(&s, state);
	store_copy(&s, "INBOX", 1, 3, "Sent", true);
	store_copy(&s, "Sent", 1, 3, "INBOX", true);
	store_copy(&s, "INBOX", 4, 5, "Trash", true);
	store_turn(&s, 0);
	store_turn(&s, 100);
	store_expect(&s, "INBOX", "6 -");
	store_expect(&s, "Trash", "1 -|2 S");
	assert_false(store_has_file(&s, "INBOX", "u.1") || store_has_file(&s, "Sent", "u.1") || store_has_file(&s, "INBOX", "u.4"));
	store_octets(&s, "INBOX", 6, "Subject: c\r\n\r\nthree\r\n");
	store_octets(&s, "Trash", 1, "Subject: a\r\n\r\none\r\n");
	store_deinit(&s);
}

static void a_deleted_mailbox_has_given_what_was_copied_from_it(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	begin(&s, state);
	store_copy(&s, "INBOX", 1, 3, "Sent", true);
	store_turn(&s, 0);
	store_turn(&s, 100);
	store_copy(&s, "Sent", 1, 3, "INBOX", false);
	assert_ok(cv_mailbox_delete(s.user, CV_STR("Sent"), &err));
	store_octets(&s, "INBOX", 4, "Subject: a\r\n\r\none\r\n");
	store_octets(&s, "INBOX", 6, "Subject: c\r\n\r\nthree\r\n");
	store_deinit(&s);
}

/* After a crash the copies count as owed again; that their source is gone is no error then. */
static void copies_from_a_deleted_mailbox_are_there_after_a_crash(void **state)
{
	struct cv_err err = { 0 };
	struct disk disk;
	struct store s;
	unsigned errors;

	begin(&s, state);
	store_copy(&s, "INBOX", 1, 3, "Sent", true);
	store_turn(&s, 0);
	store_turn(&s, 100);
	store_copy(&s, "Sent", 1, 3, "INBOX", false);
	assert_ok(cv_mailbox_delete(s.user, CV_STR("Sent"), &err));
	disk_read(&s, &disk);
	store_close(&s);
	disk_write(&s, &disk);
	disk_free(&disk);
	errors = store_log_errors();
	store_open(&s);
	store_turn(&s, 0);
	store_turn(&s, 100);
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "INBOX", 4, "Subject: a\r\n\r\none\r\n");
	store_octets(&s, "INBOX", 6, "Subject: c\r\n\r\nthree\r\n");
	assert_int_equal(store_log_errors(), errors);
	store_deinit(&s);
}

static void another_programs_file_of_that_name_stays(void **state)
{
	static const char theirs[] = "not ours\n";
	char octets[100] = "";
	struct cv_err err = { 0 };
	struct store s;
	FILE *file;

	begin(&s, state);
	assert_ok(cv_mailbox_create(s.user, CV_STR("Other"), 0, &err));
	write_file(store_file(&s, "Other", "u.1"), theirs);
	write_file(store_file(&s, "Other", ".culver.2"), "never confirmed\n");
	store_copy(&s, "INBOX", 1, 2, "Other", false);
	store_octets(&s, "Other", 1, "Subject: a\r\n\r\none\r\n");
	store_octets(&s, "Other", 2, "Subject: b\r\n\r\ntwo\r\n");
	store_turn(&s, 0);
	store_turn(&s, 100);
	store_close(&s);
	store_open(&s);
	store_expect(&s, "Other", "1 -|2 S");
	store_octets(&s, "Other", 1, "Subject: a\r\n\r\none\r\n");
	store_octets(&s, "Other", 2, "Subject: b\r\n\r\ntwo\r\n");
	store_expunge(&s, "Other", 1, 1);
	store_turn(&s, 0);
	store_turn(&s, 100);
	file = fopen(store_file(&s, "Other", "u.1"), "r");
	assert_non_null(file);
	assert_non_null(fgets(octets, sizeof(octets), file));
	assert_int_equal(fclose(file), 0);
	assert_string_equal(octets, theirs);
	store_deinit(&s);
}

static void what_is_owed_is_remembered_when_the_user_is_closed(void **state)
{
	int error = ENOSPC;
	struct disk disk;
	struct store s;

	begin(&s, state);
	cv_file_set_fault(failing_link, &error);
	store_copy(&s, "INBOX", 1, 3, "Sent", true);
	store_close(&s);
	cv_file_set_fault(NULL, NULL);
	disk_read(&s, &disk);
	assert_int_equal(disk_find(&disk, "state")->octets.ptr[8], 3);
	disk_free(&disk);
	assert_false(store_has_file(&s, "Sent", "u.2"));
	store_open(&s);
	assert_int_equal(s.user->owed.count, 0);
	assert_true(store_has_file(&s, "Sent", "u.2"));
	assert_false(store_has_file(&s, "INBOX", "u.2"));
	store_octets(&s, "Sent", 2, "Subject: b\r\n\r\ntwo\r\n");
	store_close(&s);
	disk_read(&s, &disk);
	assert_int_equal(disk_find(&disk, "state")->octets.ptr[8], 1);
	disk_free(&disk);
	store_open(&s);
	store_deinit(&s);
}

static void without_links_octets_are_copied(void **state)
{
	int error = EPERM;
	struct store s;

	begin(&s, state);
	cv_file_set_fault(failing_link, &error);
	store_copy(&s, "INBOX", 1, 3, "Sent", true);
	store_turn(&s, 0);
	store_turn(&s, 100);
	assert_true(store_has_file(&s, "Sent", "u.3"));
	assert_false(store_has_file(&s, "INBOX", "u.3"));
	store_octets(&s, "Sent", 3, "Subject: c\r\n\r\nthree\r\n");
	cv_file_set_fault(NULL, NULL);
	store_deinit(&s);
}

static int failing_move(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	(void)len;
	return op == CV_FILE_RENAME && strstr(name, "dbox-Mails") != NULL ? *(const int *)ctx : 0;
}

/* After a crash it counts as owed again; its source has gone, and another mailbox's folder can't be moved, which all that is owed waits for. */
static void a_copy_that_was_made_before_a_crash_is_read_though_others_wait(void **state)
{
	struct cv_err err = { 0 };
	struct disk disk;
	struct store s;
	int error = EIO;

	begin(&s, state);
	assert_ok(cv_mailbox_create(s.user, CV_STR("Old"), 0, &err));
	assert_ok(cv_mailbox_rename(s.user, CV_STR("Old"), CV_STR("New"), &err));
	store_copy(&s, "INBOX", 1, 3, "Sent", true);
	disk_read(&s, &disk);
	store_turn(&s, 0);
	store_turn(&s, 100);
	assert_false(store_has_file(&s, "INBOX", "u.2"));
	store_close(&s);
	disk_write(&s, &disk);
	disk_free(&disk);
	assert_int_equal(mkdir(cv_arena_printf(*state, "%s/mail/mailboxes/Old", s.dir), 0700), 0);
	assert_int_equal(rename(store_file(&s, "New", ""), store_file(&s, "Old", "")), 0);
	cv_file_set_fault(failing_move, &error);
	store_open(&s);
	assert_true(s.user->folders_behind);
	store_octets(&s, "Sent", 2, "Subject: b\r\n\r\ntwo\r\n");
	cv_file_set_fault(NULL, NULL);
	store_turn(&s, RETRY_MS);
	store_turn(&s, 100);
	assert_false(s.user->folders_behind);
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "Sent", 1, "Subject: a\r\n\r\none\r\n");
	store_deinit(&s);
}

struct unsynced {
	bool linked, failed;
};

/* The first sync behind a link. */
static int failing_settle(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct unsynced *unsynced = ctx;

	(void)name;
	(void)len;
	unsynced->linked = unsynced->linked || op == CV_FILE_LINK;
	if (op != CV_FILE_SYNC || !unsynced->linked || unsynced->failed)
		return 0;
	unsynced->failed = true;
	return EIO;
}

/* The index as it is in disk comes back, as after a crash; what counts as owed again can't be synced. */
static void crash_and_fail(struct store *s, struct disk *disk)
{
	struct unsynced unsynced = { 0 };

	store_close(s);
	disk_write(s, disk);
	disk_free(disk);
	cv_file_set_fault(failing_settle, &unsynced);
	store_open(s);
	cv_file_set_fault(NULL, NULL);
	assert_true(unsynced.failed);
	assert_true(cv_owed_any(s->user));
}

/* Of the copies of Sent in Trash: they are there, read before they are made and afterwards. */
static void expect_in_trash(struct store *s)
{
	unsigned errors;
	int error = EIO;

	store_copy(s, "Sent", 1, 3, "Trash", true);
	cv_file_set_fault(failing_link, &error);
	store_octets(s, "Trash", 1, "Subject: a\r\n\r\none\r\n");
	cv_file_set_fault(NULL, NULL);
	assert_false(store_has_file(s, "Trash", "u.1"));
	errors = store_log_errors();
	store_turn(s, RETRY_MS);
	store_turn(s, 100);
	assert_int_equal(s->user->owed.count, 0);
	assert_int_equal(store_log_errors(), errors);
	assert_false(store_has_file(s, "Sent", "u.2"));
	store_octets(s, "Trash", 2, "Subject: b\r\n\r\ntwo\r\n");
	store_octets(s, "Trash", 3, "Subject: c\r\n\r\nthree\r\n");
}

/* They are owed, so that a copy of them is to be made of what they were made of: which has gone, with the process before. */
static void a_copy_of_what_could_not_be_synced_is_made_of_it(void **state)
{
	struct disk disk;
	struct store s;

	begin(&s, state);
	store_copy(&s, "INBOX", 1, 3, "Sent", true);
	disk_read(&s, &disk);
	store_turn(&s, 0);
	store_turn(&s, 100);
	assert_false(store_has_file(&s, "INBOX", "u.2"));
	crash_and_fail(&s, &disk);
	expect_in_trash(&s);
	store_deinit(&s);
}

struct slow {
	unsigned links, unlinks;
};

/* Changing a name takes 12 ms: three of the store's batches take more than the two seconds that it allows. */
static int slow_names(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct slow *slow = ctx;

	(void)len;
	if ((op != CV_FILE_LINK && op != CV_FILE_UNLINK) || strncmp(name, "u.", 2) != 0)
		return 0;
	slow->links += op == CV_FILE_LINK;
	slow->unlinks += op == CV_FILE_UNLINK;
	(void)usleep(12000);
	return 0;
}

/* 510 copies, or removals, would take six seconds: neither who closes nor who opens waits for them. */
static void very_many_files_are_no_wait(void **state)
{
	struct cv_err err = { 0 };
	struct slow slow = { 0 };
	struct store s;

	begin(&s, state);
	assert_ok(cv_mailbox_create(s.user, CV_STR("Archive"), 0, &err));
	for (uint32_t have = 1; have < 512; have *= 2) /* messages 1 to 2, 2 to 4, … of Sent, all of them the first one */
		store_copy(&s, have == 1 ? "INBOX" : "Sent", 1, have == 1 ? 2 : have, "Sent", false);
	store_turn(&s, 0);
	store_turn(&s, 100);
	assert_int_equal(s.user->owed.count, 0);
	cv_file_set_fault(slow_names, &slow);
	store_copy(&s, "Sent", 1, 510, "Archive", false);
	store_expunge(&s, "Sent", 1, 510);
	store_close(&s);
	store_open(&s);
	assert_true(slow.links > 0 && slow.links < 510);
	assert_int_equal(slow.unlinks, 0);
	store_octets(&s, "Archive", 1, "Subject: a\r\n\r\none\r\n");
	store_octets(&s, "Archive", 510, "Subject: b\r\n\r\ntwo\r\n");
	cv_file_set_fault(NULL, NULL);
	for (unsigned i = 0; i < 100 && cv_work_is_due(s.user); i++)
		store_turn(&s, 100);
	assert_false(cv_work_is_due(s.user));
	assert_true(store_has_file(&s, "Archive", "u.510"));
	assert_false(store_has_file(&s, "Sent", "u.1") || store_has_file(&s, "Sent", "u.510"));
	cv_file_set_fault(slow_names, &slow);
	store_expunge(&s, "Archive", 1, 510);
	store_close(&s);
	store_open(&s);
	cv_file_set_fault(NULL, NULL);
	assert_true(slow.unlinks > 0 && slow.unlinks < 510);
	for (unsigned i = 0; i < 100 && cv_work_is_due(s.user); i++)
		store_turn(&s, 100);
	assert_false(cv_work_is_due(s.user) || store_has_file(&s, "Archive", "u.510"));
	store_expect(&s, "Archive", "");
	store_deinit(&s);
}

static void harm_record(struct store *s, const char *file, const char *octets)
{
	const struct disk_file *found;
	struct disk disk;
	char *harmed, *at;

	disk_read(s, &disk);
	found = disk_find(&disk, file);
	assert_non_null(found);
	harmed = cv_arena_alloc(*s->state, found->octets.len);
	memcpy(harmed, found->octets.ptr, found->octets.len);
	at = memmem(harmed, found->octets.len, octets, strlen(octets));
	assert_non_null(at);
	*at ^= 1;
	disk_put_file(s, file, cv_str_mem(harmed, found->octets.len));
	disk_free(&disk);
}

/* What neither the segment nor its copy has is told, and does not keep the others from being made; all that is known is written anew. */
static void a_record_that_is_lost_is_told(void **state)
{
	unsigned errors = store_log_errors();
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", "Subject: d\r\n\r\nfour\r\n", 0);
	harm_record(&s, "journal.0000000000000001", "Subject: d\r\n");
	harm_record(&s, "copy.0000000000000001", "Subject: d\r\n");
	cv_window_drop(&s.user->journal.window);
	store_save(&s, "INBOX", "Subject: e\r\n\r\nfive\r\n", 0);
	store_turn(&s, 1000);
	assert_true(store_has_file(&s, "INBOX", "u.5"));
	assert_false(store_has_file(&s, "INBOX", "u.4"));
	assert_int_equal(store_log_errors(), errors + 1);
	store_save(&s, "INBOX", "Subject: f\r\n\r\nsix\r\n", 0);
	store_turn(&s, 1000);
	assert_int_equal(store_log_errors(), errors + 1);
	assert_true(disk_count(&s, ".damaged-") > 0);
	assert_int_equal(s.user->owed.count, 0);
	store_close(&s);
	store_open(&s);
	store_expect(&s, "INBOX", "1 -|2 S|3 -|4 -|5 -|6 -");
	store_octets(&s, "INBOX", 6, "Subject: f\r\n\r\nsix\r\n");
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(a_copy_is_made_after_it_was_recorded),
		cv_test(until_then_it_is_read_where_it_came_from),
		cv_test(nothing_is_removed_before_what_is_made_of_it),
		cv_test(a_copy_of_a_copy_is_made_of_what_is_there),
		cv_test(a_deleted_mailbox_has_given_what_was_copied_from_it),
		cv_test(copies_from_a_deleted_mailbox_are_there_after_a_crash),
		cv_test(another_programs_file_of_that_name_stays),
		cv_test(what_is_owed_is_remembered_when_the_user_is_closed),
		cv_test(a_copy_that_was_made_before_a_crash_is_read_though_others_wait),
		cv_test(a_copy_of_what_could_not_be_synced_is_made_of_it),
		cv_test(without_links_octets_are_copied),
		cv_test(very_many_files_are_no_wait),
		cv_test(a_record_that_is_lost_is_told),
	};

	return store_tests_run(tests);
}
