/* SPDX-License-Identifier: MIT
   Messages that come to the journal with their octets and get their files afterwards, over sdbox on an event loop whose clock the test moves. */
#include <config.h>

#include "t/store/store-disk.h"

#include <culver/loop.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_MS 60000
#define ONE "Subject: a\r\n\r\none\r\n"
#define TWO "Subject: b\r\n\r\ntwo\r\n"

static void begin(struct store *s, void **state)
{
	store_init(s, state);
	s->loop = cv_loop_new(CV_LOOP_FAKE);
	store_open(s);
}

static ino_t inode_of(struct store *s, const char *mailbox, const char *name)
{
	struct stat st;

	assert_int_equal(stat(store_file(s, mailbox, name), &st), 0);
	return st.st_ino;
}

static off_t size_of(struct store *s, const char *mailbox, const char *name)
{
	struct stat st;

	assert_int_equal(stat(store_file(s, mailbox, name), &st), 0);
	return st.st_size;
}

static void copy_octets(const char *from, const char *to)
{
	char octets[4096];
	FILE *in = fopen(from, "r"), *out = fopen(to, "w");
	size_t len;

	assert_non_null(in);
	assert_non_null(out);
	len = fread(octets, 1, sizeof(octets), in);
	assert_int_equal(fwrite(octets, 1, len, out), len);
	assert_int_equal(fclose(in), 0);
	assert_int_equal(fclose(out), 0);
}

/* Calls of one kind on files of messages fail while error is set. */
struct failing {
	enum cv_file_op op;
	int error;
	unsigned count;
};

static int fail_some(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct failing *failing = ctx;

	(void)len;
	if (op != failing->op || failing->error == 0 || (op == CV_FILE_OPEN && (name == NULL || strncmp(name, "u.", 2) != 0)))
		return 0;
	failing->count++;
	return failing->error;
}

static void its_file_is_made_after_it_was_recorded(void **state)
{
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, CV_FLAG_SEEN);
	assert_false(store_has_file(&s, "INBOX", "u.1"));
	store_expect(&s, "INBOX", "1 S");
	store_turn(&s, 0);
	assert_false(store_has_file(&s, "INBOX", "u.1")); /* others may come */
	store_turn(&s, 1000);
	assert_true(store_has_file(&s, "INBOX", "u.1"));
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "INBOX", 1, ONE);
	store_deinit(&s);
}

static void whoever_reads_it_does_not_wait(void **state)
{
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_octets(&s, "INBOX", 1, ONE);
	assert_true(store_has_file(&s, "INBOX", "u.1"));
	store_turn(&s, 1000);
	assert_int_equal(s.user->owed.count, 0);
	store_deinit(&s);
}

/* What was expunged goes after the files of new messages, which are made sooner for it. */
static void what_is_to_be_removed_waits_for_a_tenth_of_a_second(void **state)
{
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_turn(&s, 1000);
	store_save(&s, "INBOX", ONE, 0);
	store_turn(&s, 100);
	assert_false(store_has_file(&s, "INBOX", "u.2"));
	store_expunge(&s, "INBOX", 1, 1);
	store_turn(&s, 100);
	store_turn(&s, 0);
	assert_true(store_has_file(&s, "INBOX", "u.2"));
	assert_false(store_has_file(&s, "INBOX", "u.1"));
	store_deinit(&s);
}

static void many_do_not_wait(void **state)
{
	struct store s;

	begin(&s, state);
	for (unsigned i = 0; i < 64; i++)
		store_save(&s, "INBOX", ONE, 0);
	store_turn(&s, 0);
	store_turn(&s, 0);
	assert_true(store_has_file(&s, "INBOX", "u.1") && store_has_file(&s, "INBOX", "u.64"));
	assert_int_equal(s.user->owed.count, 0);
	store_deinit(&s);
}

/* Until the files are being made beside the loop; of a test's loop none is there yet. */
static void turn_until_beside(struct store *s)
{
	store_turn(s, 0);
	cv_loop_fake_advance(s->loop, 1000);
	for (unsigned i = 0; s->user->landing == NULL; i++) {
		assert_true(i < 10);
		(void)cv_loop_once(s->loop, 0);
	}
	assert_false(store_has_file(s, "INBOX", "u.1"));
}

static void what_is_made_beside_is_owed_until_then(void **state)
{
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_save(&s, "INBOX", TWO, 0);
	turn_until_beside(&s);
	assert_int_equal(s.user->owed.count, 2);
	store_octets(&s, "INBOX", 2, TWO); /* waits for them */
	assert_null(s.user->landing);
	assert_int_equal(s.user->owed.count, 0);
	assert_true(store_has_file(&s, "INBOX", "u.1") && store_has_file(&s, "INBOX", "u.2"));
	store_deinit(&s);
}

static void more_may_come_and_go_meanwhile(void **state)
{
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_save(&s, "INBOX", TWO, 0);
	turn_until_beside(&s);
	store_save(&s, "INBOX", ONE TWO, 0);
	store_expunge(&s, "INBOX", 1, 1);
	assert_int_equal(s.user->owed.count, 3);
	store_turn(&s, 0);
	store_turn(&s, 1000);
	store_turn(&s, 1000);
	assert_int_equal(s.user->owed.count, 0);
	assert_false(store_has_file(&s, "INBOX", "u.1"));
	assert_true(store_has_file(&s, "INBOX", "u.2") && store_has_file(&s, "INBOX", "u.3"));
	store_octets(&s, "INBOX", 3, ONE TWO);
	store_deinit(&s);
}

/* Closing, a mailbox that is deleted, and memory that is read anew after a write that failed. */
static void whoever_ends_waits_for_what_is_made_beside(void **state)
{
	struct store s;
	struct cv_err err = { 0 };

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	turn_until_beside(&s);
	store_close(&s);
	assert_true(store_has_file(&s, "INBOX", "u.1"));
	assert_int_equal(unlink(store_file(&s, "INBOX", "u.1")), 0); /* it is settled: nobody makes it again */
	store_open(&s);
	assert_int_equal(s.user->owed.count, 0);
	assert_false(store_has_file(&s, "INBOX", "u.1"));
	assert_true(cv_mailbox_create(s.user, CV_STR("gone"), 0, &err) > 0);
	store_save(&s, "gone", ONE, 0);
	turn_until_beside(&s);
	assert_true(cv_mailbox_delete(s.user, CV_STR("gone"), &err) > 0);
	assert_null(s.user->landing);
	store_save(&s, "INBOX", TWO, 0);
	turn_until_beside(&s);
	assert_true(cv_user_reread(s.user, &err) > 0); /* memory is read anew: it goes on */
	store_turn(&s, 0);
	assert_null(s.user->landing);
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "INBOX", 2, TWO);
	store_deinit(&s);
}

/* Not a test's loop: a thread. Each round begins while the one before may be under way. */
static void a_thread_makes_them(void **state)
{
	struct store s;

	store_init(&s, state);
	s.loop = cv_loop_new(CV_LOOP_EPOLL);
	store_open(&s);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 64; i++)
			store_save(&s, "INBOX", ONE, 0);
		for (unsigned i = 0; i < 3; i++)
			(void)cv_loop_once(s.loop, 0);
	}
	for (unsigned i = 0; s.user->owed.count > 0; i++) {
		assert_true(i < 10000);
		(void)cv_loop_once(s.loop, 10);
	}
	assert_true(store_has_file(&s, "INBOX", "u.1") && store_has_file(&s, "INBOX", "u.320"));
	for (uint32_t uid = 1; uid <= 320; uid += 40)
		store_octets(&s, "INBOX", uid, ONE);
	store_deinit(&s);
}

static void without_a_file_it_is_read_from_the_journal(void **state)
{
	struct failing failing = { CV_FILE_OPEN, ENOSPC, 0 };
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_save(&s, "INBOX", TWO, 0);
	cv_file_set_fault(fail_some, &failing);
	store_turn(&s, 1000);
	assert_true(failing.count > 0);
	store_octets(&s, "INBOX", 2, TWO);
	store_octets(&s, "INBOX", 1, ONE);
	store_expunge(&s, "INBOX", 1, 1);
	cv_file_set_fault(NULL, NULL);
	store_turn(&s, RETRY_MS);
	store_turn(&s, 1000);
	assert_int_equal(s.user->owed.count, 0);
	assert_false(store_has_file(&s, "INBOX", "u.1"));
	assert_true(store_has_file(&s, "INBOX", "u.2"));
	store_octets(&s, "INBOX", 2, TWO);
	store_deinit(&s);
}

static void what_could_not_be_synced_is_written_again(void **state)
{
	struct failing failing = { CV_FILE_SYNC, EIO, 0 };
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_save(&s, "INBOX", TWO, 0);
	cv_file_set_fault(fail_some, &failing);
	store_turn(&s, 1000);
	assert_true(failing.count > 0);
	assert_int_equal(s.user->owed.count, 2);
	copy_octets("/dev/null", store_file(&s, "INBOX", "u.1")); /* what the system may have made of it */
	failing.error = 0;
	store_turn(&s, RETRY_MS);
	store_turn(&s, 1000);
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "INBOX", 1, ONE);
	store_octets(&s, "INBOX", 2, TWO);
	cv_file_set_fault(NULL, NULL);
	store_deinit(&s);
}

/* A crash left the file torn, longer than it should be, or not at all; a copy is a link to it. */
static void a_crash_leaves_nothing_torn(void **state)
{
	struct disk disk;
	struct store s;
	ino_t inode;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_save(&s, "INBOX", TWO, 0);
	store_save(&s, "INBOX", ONE TWO, 0);
	disk_read(&s, &disk);
	store_close(&s);
	inode = inode_of(&s, "INBOX", "u.1");
	assert_int_equal(truncate(store_file(&s, "INBOX", "u.1"), 20), 0);
	assert_int_equal(unlink(store_file(&s, "INBOX", "u.2")), 0);
	assert_int_equal(truncate(store_file(&s, "INBOX", "u.3"), 4000), 0);
	disk_write(&s, &disk);
	disk_free(&disk);
	store_open(&s);
	assert_int_equal(s.user->owed.count, 0);
	store_expect(&s, "INBOX", "1 -|2 -|3 -");
	store_octets(&s, "INBOX", 1, ONE);
	store_octets(&s, "INBOX", 2, TWO);
	store_octets(&s, "INBOX", 3, ONE TWO);
	assert_int_equal(inode_of(&s, "INBOX", "u.1"), inode);
	store_deinit(&s);
}

/* The server is killed before it made the file, and one file of the index is lost: the segment, wholly or at any of its octets, or its copy. */
static void whichever_file_of_the_index_is_lost_it_is_there(void **state)
{
	const char *const files[] = { "journal.0000000000000001", "copy.0000000000000001" };

	for (unsigned row = 0; row < 6; row++) {
		const char *name = files[row % 2];
		struct disk disk;
		struct store s;
		struct cv_str octets;
		char *damaged;

		begin(&s, state);
		store_save(&s, "INBOX", ONE, 0);
		store_save(&s, "INBOX", TWO, CV_FLAG_SEEN);
		assert_false(store_has_file(&s, "INBOX", "u.1") || store_has_file(&s, "INBOX", "u.2"));
		disk_read(&s, &disk);
		store_close(&s);
		disk_write(&s, &disk);
		assert_int_equal(unlink(store_file(&s, "INBOX", "u.1")), 0);
		assert_int_equal(unlink(store_file(&s, "INBOX", "u.2")), 0);
		octets = disk_find(&disk, name)->octets;
		if (row < 2) {
			disk_remove_file(&s, name);
		} else {
			damaged = cv_arena_alloc(*state, octets.len);
			memcpy(damaged, octets.ptr, octets.len);
			for (size_t at = row < 4 ? octets.len - 20 : CV_SEGMENT_HEAD; at < octets.len; at += 40)
				damaged[at] = (char)(damaged[at] ^ 1);
			disk_put_file(&s, name, cv_str_mem(damaged, octets.len));
		}
		disk_free(&disk);
		store_open(&s);
		store_expect(&s, "INBOX", "1 -|2 S");
		store_octets(&s, "INBOX", 1, ONE);
		store_octets(&s, "INBOX", 2, TWO);
		assert_true(store_has_file(&s, "INBOX", "u.1") && store_has_file(&s, "INBOX", "u.2"));
		store_deinit(&s);
	}
}

/* Flags that are not synced yet keep nobody from having it made. */
static void who_reads_has_the_file_made(void **state)
{
	const struct cv_flags_change seen = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_SEEN };
	struct cv_mailbox *inbox;
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	inbox = store_get(&s, "INBOX");
	txn = cv_txn_begin(s.user);
	cv_ranges_add(&uids, 1, 1);
	assert_ok(cv_txn_flags(txn, inbox, &uids, &seen, NULL, NULL, &err));
	assert_ok(cv_txn_commit(&txn, NULL, NULL, &err));
	store_turn(&s, 0);
	assert_true(s.user->journal.unsynced);
	assert_false(store_has_file(&s, "INBOX", "u.1"));
	store_octets(&s, "INBOX", 1, ONE);
	assert_true(store_has_file(&s, "INBOX", "u.1"));
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

/* What was synced, and said to be in a later record, is left as it is after a crash; so it is after the user was closed. */
static void what_is_settled_is_not_written_again(void **state)
{
	struct disk disk;
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_turn(&s, 1000);
	assert_int_equal(s.user->owed.count, 0);
	assert_true(s.user->owed_settled > 0);
	store_save(&s, "INBOX", TWO, 0);
	assert_int_equal(s.user->owed_settled, 0);
	disk_read(&s, &disk);
	store_close(&s);
	disk_write(&s, &disk);
	disk_free(&disk);
	copy_octets("/dev/null", store_file(&s, "INBOX", "u.1"));
	copy_octets("/dev/null", store_file(&s, "INBOX", "u.2"));
	store_open(&s);
	store_octets(&s, "INBOX", 2, TWO);
	assert_int_equal(size_of(&s, "INBOX", "u.1"), 0);
	store_close(&s);
	copy_octets("/dev/null", store_file(&s, "INBOX", "u.2"));
	store_open(&s);
	assert_int_equal(size_of(&s, "INBOX", "u.2"), 0);
	store_deinit(&s);
}

/* The sync that a state waits for is not theirs alone: when it fails, they are written again. */
static void what_another_sync_could_not_settle_is_written_again(void **state)
{
	struct failing failing = { CV_FILE_SYNC, 0, 0 };
	struct cv_err err = { 0 };
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_octets(&s, "INBOX", 1, ONE); /* makes the file, and does not sync it */
	assert_int_equal(s.user->owed_made, 1);
	cv_file_set_fault(fail_some, &failing);
	failing.error = EIO;
	assert_int_equal(cv_work_settle(s.user, &err), -1);
	failing.error = 0;
	assert_int_equal(s.user->owed_made, 0);
	copy_octets("/dev/null", store_file(&s, "INBOX", "u.1"));
	store_turn(&s, 1000);
	store_turn(&s, RETRY_MS);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "INBOX", 1, ONE);
	store_deinit(&s);
}

/* It has the name before the file is made, or takes it while the server is down. */
static void another_programs_message_stays(void **state)
{
	struct disk disk;
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_turn(&s, 1000);
	copy_octets(store_file(&s, "INBOX", "u.1"), store_file(&s, "INBOX", "u.2"));
	store_save(&s, "INBOX", TWO, 0);
	store_turn(&s, 1000);
	store_octets(&s, "INBOX", 2, TWO);
	assert_true(store_has_file(&s, "INBOX", "u.3"));
	store_save(&s, "INBOX", ONE TWO, 0);
	store_expect(&s, "INBOX", "1 -|2 -|4 -");
	disk_read(&s, &disk);
	store_close(&s);
	disk_write(&s, &disk);
	disk_free(&disk);
	copy_octets(store_file(&s, "INBOX", "u.1"), store_file(&s, "INBOX", "u.4"));
	store_open(&s);
	store_octets(&s, "INBOX", 4, ONE TWO);
	store_octets(&s, "INBOX", 1, ONE);
	assert_true(store_has_file(&s, "INBOX", "u.5"));
	store_deinit(&s);
}

static void it_can_be_moved_before_it_has_a_file(void **state)
{
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_copy(&s, "INBOX", 1, 1, "Sent", true);
	store_octets(&s, "Sent", 1, ONE);
	store_turn(&s, 1000);
	store_turn(&s, 1000);
	assert_true(store_has_file(&s, "Sent", "u.1"));
	assert_false(store_has_file(&s, "INBOX", "u.1"));
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "Sent", 1, ONE);
	store_deinit(&s);
}

/* Neither it nor what it is to be made of has a file, and none can be made now: changes of flags cannot be synced. */
static void a_copy_of_it_is_read_from_the_journal(void **state)
{
	const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_SEEN };
	struct failing failing = { .op = CV_FILE_SYNC, .error = EIO };
	struct cv_mailbox *inbox;
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	store_copy(&s, "INBOX", 1, 1, "Sent", false);
	inbox = store_get(&s, "INBOX");
	txn = cv_txn_begin(s.user);
	cv_ranges_add(&uids, 1, 1);
	assert_ok(cv_txn_flags(txn, inbox, &uids, &change, NULL, NULL, &err));
	assert_ok(cv_txn_commit(&txn, NULL, NULL, &err));
	cv_user_flush(s.user);
	assert_true(s.user->journal.unsynced);
	cv_file_set_fault(fail_some, &failing);
	store_octets(&s, "Sent", 1, ONE);
	store_octets(&s, "INBOX", 1, ONE);
	cv_file_set_fault(NULL, NULL);
	assert_false(store_has_file(&s, "INBOX", "u.1") || store_has_file(&s, "Sent", "u.1"));
	store_turn(&s, 1000);
	store_turn(&s, 1000);
	assert_true(store_has_file(&s, "INBOX", "u.1") && store_has_file(&s, "Sent", "u.1"));
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void its_mailbox_may_move_or_go(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	begin(&s, state);
	assert_ok(cv_mailbox_create(s.user, CV_STR("Work"), 0, &err));
	assert_ok(cv_mailbox_create(s.user, CV_STR("Play"), 0, &err));
	store_save(&s, "Work", ONE, 0);
	store_save(&s, "Play", TWO, 0);
	assert_ok(cv_mailbox_rename(s.user, CV_STR("Work"), CV_STR("Done"), &err));
	assert_ok(cv_mailbox_delete(s.user, CV_STR("Play"), &err));
	store_turn(&s, 1000);
	assert_true(store_has_file(&s, "Done", "u.1"));
	assert_false(store_has_file(&s, "Play", "u.1"));
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "Done", 1, ONE);
	store_deinit(&s);
}

static void a_folder_that_is_gone_is_made_again(void **state)
{
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", ONE, 0);
	assert_int_equal(unlink(store_file(&s, "INBOX", "culver-mailbox")), 0);
	assert_int_equal(rmdir(store_file(&s, "INBOX", "")), 0);
	store_turn(&s, 1000);
	assert_int_equal(s.user->owed.count, 0);
	assert_true(store_has_file(&s, "INBOX", "u.1"));
	store_octets(&s, "INBOX", 1, ONE);
	store_deinit(&s);
}

/* A message of len octets, a C string; the caller's to free. */
static char *make_long(size_t len)
{
	char *octets = malloc(len + 1);

	assert_non_null(octets);
	memset(octets, 'x', len);
	memcpy(octets, "a: b\r\n\r\n", 8);
	octets[len] = '\0';
	return octets;
}

static void a_long_one_goes_to_its_file_at_once(void **state)
{
	size_t len = (256u << 10) + 1;
	char *octets = make_long(len);
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", octets, 0);
	assert_int_equal(s.user->owed.count, 0);
	assert_true(store_has_file(&s, "INBOX", "u.1"));
	store_octets(&s, "INBOX", 1, octets);
	octets[len - 1] = '\0';
	store_save(&s, "INBOX", octets, 0);
	assert_int_equal(s.user->owed.count, 1);
	store_octets(&s, "INBOX", 2, octets);
	store_deinit(&s);
	free(octets);
}

static void long_ones_do_not_wait_for_many(void **state)
{
	char *octets = make_long(250u << 10);
	struct store s;

	begin(&s, state);
	for (unsigned i = 0; i < 17; i++)
		store_save(&s, "INBOX", octets, 0);
	assert_int_equal(s.user->owed.count, 17);
	store_turn(&s, 0);
	store_turn(&s, 0);
	assert_true(store_has_file(&s, "INBOX", "u.1") && store_has_file(&s, "INBOX", "u.17"));
	assert_int_equal(s.user->owed.count, 0);
	store_octets(&s, "INBOX", 17, octets);
	store_deinit(&s);
	free(octets);
}

/* Those whose files are not made are no more than so many, and have no more than so many octets. */
static void files_are_not_left_behind(void **state)
{
	char *octets = make_long(256u << 10);
	struct store s;

	begin(&s, state);
	for (unsigned i = 0; i < 1025; i++)
		store_save(&s, "INBOX", ONE, 0);
	assert_int_equal(s.user->owed.count, 1024);
	assert_true(store_has_file(&s, "INBOX", "u.1025"));
	assert_false(store_has_file(&s, "INBOX", "u.1024"));
	for (unsigned i = 0; s.user->owed.count > 0; i++) {
		assert_true(i < 100);
		store_turn(&s, 1000);
	}
	assert_true(store_has_file(&s, "INBOX", "u.1") && store_has_file(&s, "INBOX", "u.1024"));
	for (unsigned i = 0; i < 129; i++)
		store_save(&s, "INBOX", octets, 0);
	assert_true(s.user->owed_octets <= 32u << 20);
	assert_true(store_has_file(&s, "INBOX", "u.1154"));
	store_octets(&s, "INBOX", 1025, ONE);
	store_octets(&s, "INBOX", 1154, octets);
	store_deinit(&s);
	free(octets);
}

/* The C library keeps memory of a thread that has ended for the next one. */
static void nothing(CV_UNUSED void *ctx)
{
}

static void have_a_thread_before(void)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct cv_beside *beside = cv_beside_begin(loop, nothing, nothing, NULL);

	cv_beside_end(&beside);
	cv_loop_free(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(its_file_is_made_after_it_was_recorded),
		cv_test(whoever_reads_it_does_not_wait),
		cv_test(many_do_not_wait),
		cv_test(what_is_to_be_removed_waits_for_a_tenth_of_a_second),
		cv_test(what_is_made_beside_is_owed_until_then),
		cv_test(more_may_come_and_go_meanwhile),
		cv_test(whoever_ends_waits_for_what_is_made_beside),
		cv_test(a_thread_makes_them),
		cv_test(without_a_file_it_is_read_from_the_journal),
		cv_test(what_could_not_be_synced_is_written_again),
		cv_test(a_crash_leaves_nothing_torn),
		cv_test(whichever_file_of_the_index_is_lost_it_is_there),
		cv_test(who_reads_has_the_file_made),
		cv_test(what_is_settled_is_not_written_again),
		cv_test(what_another_sync_could_not_settle_is_written_again),
		cv_test(another_programs_message_stays),
		cv_test(it_can_be_moved_before_it_has_a_file),
		cv_test(a_copy_of_it_is_read_from_the_journal),
		cv_test(its_mailbox_may_move_or_go),
		cv_test(a_folder_that_is_gone_is_made_again),
		cv_test(a_long_one_goes_to_its_file_at_once),
		cv_test(long_ones_do_not_wait_for_many),
		cv_test(files_are_not_left_behind),
	};

	have_a_thread_before();
	return store_tests_run(tests);
}
