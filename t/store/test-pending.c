/* SPDX-License-Identifier: MIT
   Messages that are saved and not committed yet, over sdbox and maildir: what a failed sync, and a mailbox that moves or goes, mean for them. */
#include <config.h>

#include "t/store/store-disk.h"
#include "t/store/store-helper.h"
#include <culver/file.h>
#include <culver/loop.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

CV_EXPORT extern const struct cv_module maildir_LTX_cv_module;

#define MAIL "From: a@example.org\r\nSubject: one\r\n\r\nHello\r\n"

/* The next syncs, as many as ctx says. */
static int fail_sync(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *failing = ctx;

	(void)name;
	(void)len;
	return op == CV_FILE_SYNC && *failing > 0 ? --*failing, EIO : 0;
}

/* A message that is there, but that is not committed. */
static struct cv_txn *save_half(struct store *s, const char *name)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_txn *txn = cv_txn_begin(s->user);
	const struct cv_save_config config = { 0 };
	struct cv_err err = { 0 };
	struct cv_save *save;

	assert_ok(cv_save_begin(txn, mailbox, &config, &save, &err));
	assert_ok(cv_save_write(save, CV_STR(MAIL), &err));
	assert_ok(cv_save_finish(save, &err));
	cv_mailbox_unref(&mailbox);
	return txn;
}

static const char *const drivers[] = { "sdbox", "maildir" };

static void init_with(struct store *s, void **state, const char *driver)
{
	store_init(s, state);
	s->driver = driver;
	s->module = driver == drivers[1] ? &maildir_LTX_cv_module : NULL;
	store_open(s);
	store_set_files_first(s);
}

/* A refused message is not synced again with others: its mailbox may be elsewhere by then. */
static void what_was_refused_is_in_nobodys_way(void **state)
{
	for (size_t i = 0; i < 2 * CV_COUNT_OF(drivers); i++) {
		struct cv_err err = { 0 };
		unsigned failing = 1;
		struct cv_txn *txn;
		struct store s;

		init_with(&s, state, drivers[i / 2]);
		assert_ok(cv_mailbox_create(s.user, CV_STR("Old"), 0, &err));
		txn = save_half(&s, "Old");
		cv_file_set_fault(fail_sync, &failing);
		assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
		cv_file_set_fault(NULL, NULL);
		assert_int_equal(failing, 0);
		if (i % 2 == 0)
			assert_ok(cv_mailbox_rename(s.user, CV_STR("Old"), CV_STR("New"), &err));
		else
			assert_ok(cv_mailbox_delete(s.user, CV_STR("Old"), &err));
		(void)store_save(&s, "INBOX", MAIL, 0);
		store_deinit(&s);
	}
}

/* Nor one that was given up, or that comes to its end when its mailbox has moved. */
static void what_waits_follows_its_mailbox(void **state)
{
	for (size_t i = 0; i < 3 * CV_COUNT_OF(drivers); i++) {
		struct cv_err err = { 0 };
		struct cv_txn *txn;
		struct store s;

		init_with(&s, state, drivers[i / 3]);
		assert_ok(cv_mailbox_create(s.user, CV_STR("Old"), 0, &err));
		txn = save_half(&s, "Old");
		if (i % 3 == 0)
			cv_txn_rollback(&txn);
		if (i % 3 == 2)
			assert_ok(cv_mailbox_delete(s.user, CV_STR("Old"), &err));
		else
			assert_ok(cv_mailbox_rename(s.user, CV_STR("Old"), CV_STR("New"), &err));
		(void)store_save(&s, "INBOX", MAIL, 0);
		if (i % 3 == 1) {
			assert_ok(cv_txn_commit_wait(&txn, &err));
			store_octets(&s, "New", 1, MAIL);
			store_close(&s);
			store_open(&s);
			store_octets(&s, "New", 1, MAIL);
		}
		if (i % 3 == 2)
			assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
		store_deinit(&s);
	}
}

/* The sync that failed may have lost the octets of a message that somebody else has not committed yet, and the next one would not tell. */
static void a_sync_that_fails_refuses_all_that_was_saved(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(drivers); i++) {
		struct cv_err err = { 0 };
		unsigned failing = 1;
		struct cv_txn *waiting, *txn;
		struct store s;

		init_with(&s, state, drivers[i]);
		waiting = save_half(&s, "INBOX");
		txn = save_half(&s, "INBOX");
		cv_file_set_fault(fail_sync, &failing);
		assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
		cv_file_set_fault(NULL, NULL);
		assert_int_equal(failing, 0);
		assert_int_equal(cv_txn_commit_wait(&waiting, &err), -1);
		assert_int_equal(err.code, CV_ERR_TEMP);
		store_expect(&s, "INBOX", "");
		(void)store_save(&s, "INBOX", MAIL, 0);
		store_deinit(&s);
	}
}

struct moved {
	bool synced;
	unsigned moves, early;
};

/* "Up" gets its name in the mail directory. */
static bool is_at(int fd, const char *end)
{
	char link[64], path[800];
	ssize_t len, end_len = (ssize_t)strlen(end);

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path));
	return len > end_len && memcmp(path + len - end_len, end, (size_t)end_len) == 0;
}

static void note_move(void *ctx, const struct cv_file_event *event)
{
	struct moved *moved = ctx;

	if (event->op == CV_FILE_MKDIR && strcmp(event->name, "Up") == 0) {
		moved->synced = false;
	} else if (event->op == CV_FILE_SYNC && !event->failed) {
		moved->synced = moved->synced || is_at(event->fd, "/mail");
	} else if (event->op == CV_FILE_RENAME && (strncmp(event->to_name, "Up/New", 6) == 0 || is_at(event->to_dir, "/Up/New"))) {
		moved->moves++;
		moved->early += !moved->synced;
	}
}

/* Else a power cut may take the directory above, and all that has moved into it. */
static void a_maildir_moves_to_a_place_that_is_on_disk(void **state)
{
	static const char *const layouts[] = { "fs:DIRNAME=box", "fs" }; /* the folder moves as a whole, or what is in it */

	for (size_t i = 0; i < CV_COUNT_OF(layouts); i++) {
		struct moved moved = { 0 };
		struct cv_err err = { 0 };
		struct store s;

		store_init(&s, state);
		s.module = &maildir_LTX_cv_module;
		s.location = cv_arena_printf(*state, "maildir:%s/mail:LAYOUT=%s", s.dir, layouts[i]);
		store_open(&s);
		assert_ok(cv_mailbox_create(s.user, CV_STR("Old"), 0, &err));
		store_save(&s, "Old", MAIL, 0);
		cv_file_set_watch(note_move, &moved);
		assert_ok(cv_mailbox_rename(s.user, CV_STR("Old"), CV_STR("Up/New"), &err));
		cv_file_set_watch(NULL, NULL);
		assert_true(moved.moves > 0);
		assert_int_equal(moved.early, 0);
		store_octets(&s, "Up/New", 1, MAIL);
		store_deinit(&s);
	}
}

/* Octets that come with the record were not in the storage when the sync failed. */
static void what_comes_with_its_record_is_not_refused(void **state)
{
	struct cv_err err = { 0 };
	unsigned failing = 1;
	struct cv_txn *waiting, *txn;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	waiting = save_half(&s, "INBOX");
	txn = save_half(&s, "INBOX");
	cv_file_set_fault(fail_sync, &failing);
	assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(failing, 0);
	store_expect(&s, "INBOX", "");
	assert_ok(cv_txn_commit_wait(&waiting, &err));
	for (unsigned i = 0; i < 2; i++) {
		store_expect(&s, "INBOX", "1 -");
		store_octets(&s, "INBOX", 1, MAIL);
		store_close(&s);
		store_open(&s);
	}
	store_deinit(&s);
}

static void note_flag_names(void *ctx, const struct cv_file_event *event)
{
	unsigned *names = ctx;

	*names += event->op == CV_FILE_RENAME && strstr(event->to_name, ":2,S") != NULL;
}

/* The record of the flags was written and not synced when another one failed, and what failed could not be cut off either. */
static void flags_go_into_file_names_only_when_their_record_is_on_disk(void **state)
{
	const struct cv_flags_change seen = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_SEEN };
	struct cv_ranges uids = { 0 };
	unsigned failing = 1000, names = 0;
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;

	store_init(&s, state);
	s.driver = "maildir";
	s.module = &maildir_LTX_cv_module;
	s.loop = cv_loop_new(CV_LOOP_FAKE);
	store_open(&s);
	(void)store_save(&s, "INBOX", MAIL, 0);
	inbox = store_get(&s, "INBOX");
	cv_ranges_add(&uids, 1, 1);
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_flags(txn, inbox, &uids, &seen, NULL, NULL, &err));
	assert_ok(cv_txn_commit(&txn, NULL, NULL, &err));
	store_turn(&s, 0);
	assert_true(s.user->journal.unsynced);
	cv_file_set_watch(note_flag_names, &names);
	cv_file_set_fault(fail_sync, &failing);
	assert_int_equal(cv_mailbox_subscribe(s.user, CV_STR("Other"), true, &err), -1);
	assert_true(s.user->journal.uncut);
	store_turn(&s, 2000);
	assert_int_equal(names, 0);
	cv_file_set_fault(NULL, NULL);
	cv_mailbox_unref(&inbox);
	store_close(&s);
	cv_file_set_watch(NULL, NULL);
	assert_int_equal(names, 1);
	cv_ranges_free(&uids);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(what_was_refused_is_in_nobodys_way),
		cv_test(what_waits_follows_its_mailbox),
		cv_test(a_sync_that_fails_refuses_all_that_was_saved),
		cv_test(a_maildir_moves_to_a_place_that_is_on_disk),
		cv_test(what_comes_with_its_record_is_not_refused),
		cv_test(flags_go_into_file_names_only_when_their_record_is_on_disk),
	};

	return store_tests_run(tests);
}
