/* SPDX-License-Identifier: MIT
   Mailboxes, messages and views over sdbox, without an event loop. */
#include <config.h>

#include "t/store/store-helper.h"

#include <culver/file.h>

#include <errno.h>
#include <string.h>

#define MAIL_A "From: a@example.org\r\nSubject: first\r\n\r\nHello\r\n"
#define MAIL_B "From: b@example.org\nSubject: second\n\nbare\nlines\n"

static void first_open_makes_the_usual_mailboxes(void **state)
{
	struct store s;
	struct cv_mailbox_info info;
	const char *const want[] = { "INBOX", "Drafts", "Junk", "Sent", "Trash" };
	size_t pos = 0, n = 0;

	store_init(&s, state);
	store_open(&s);
	while (cv_mailbox_next(s.user, &pos, &info)) {
		assert_true(n < CV_COUNT_OF(want));
		assert_str_eq(info.name, cv_str_c(want[n++]));
		assert_true(info.exists);
		assert_true(info.subscribed);
		assert_false(info.has_children);
	}
	assert_int_equal(n, CV_COUNT_OF(want));
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Junk"), &info), 1);
	assert_int_equal(info.special_use, CV_USE_JUNK);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("iNbOx"), &info), 1);
	assert_str(info.name, "INBOX");
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("nothing"), &info), 0);
	store_deinit(&s);
}

static bool has_folder(struct store *s, const char *mailbox)
{
	return store_has_file(s, mailbox, "culver-mailbox");
}

/* They are there for everyone; a folder is made when a message comes. */
static void the_usual_mailboxes_get_their_folders_with_the_first_message(void **state)
{
	struct cv_mailbox_status status;
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	for (int i = 0; i < 2; i++) { /* also when it is no news */
		store_open(&s);
		assert_ok(cv_mailbox_get(s.user, CV_STR("Sent"), &mailbox, &err));
		assert_ok(cv_mailbox_get_status(mailbox, &status, &err));
		assert_int_equal(status.uidnext, 1);
		cv_mailbox_unref(&mailbox);
		store_expect(&s, "Drafts", "");
		assert_false(has_folder(&s, "INBOX") || has_folder(&s, "Drafts") || has_folder(&s, "Sent"));
		store_close(&s);
	}
	store_open(&s);
	store_save(&s, "INBOX", MAIL_A, 0);
	store_copy(&s, "INBOX", 1, 1, "Sent", false);
	store_octets(&s, "Sent", 1, MAIL_A);
	assert_true(has_folder(&s, "INBOX") && has_folder(&s, "Sent"));
	assert_false(has_folder(&s, "Drafts") || has_folder(&s, "Junk"));
	assert_ok(cv_mailbox_rename(s.user, CV_STR("Junk"), CV_STR("Spam/old"), &err));
	assert_ok(cv_mailbox_delete(s.user, CV_STR("Drafts"), &err));
	store_save(&s, "Spam/old", MAIL_B, 0);
	assert_true(has_folder(&s, "Spam/old"));
	store_close(&s);
	store_open(&s); /* settings have missed these two */
	store_save(&s, "Drafts", MAIL_B, 0);
	store_expect(&s, "Drafts", "1 -");
	store_expect(&s, "Junk", "");
	store_expect(&s, "Spam/old", "1 -");
	assert_int_equal(store_log_errors(), 0);
	store_deinit(&s);
}

static void an_empty_inbox_without_folder_can_be_renamed(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_mailbox_rename(s.user, CV_STR("INBOX"), CV_STR("Old"), &err));
	store_expect(&s, "Old", "");
	store_save(&s, "INBOX", MAIL_A, 0);
	store_expect(&s, "INBOX", "1 -");
	store_deinit(&s);
}

static void saved_messages_are_there_after_reopen(void **state)
{
	struct store s;

	store_init(&s, state);
	store_open(&s);
	assert_int_equal(store_save(&s, "INBOX", MAIL_A, 0), 1);
	assert_int_equal(store_save_keyword(&s, "INBOX", MAIL_B, CV_FLAG_SEEN, "$Work"), 2);
	store_expect(&s, "INBOX", "1 -|2 S $Work");
	store_octets(&s, "INBOX", 1, MAIL_A);
	store_octets(&s, "INBOX", 2, MAIL_B);
	for (int i = 0; i < 3; i++) {
		store_close(&s);
		store_open(&s);
		store_expect(&s, "INBOX", "1 -|2 S $Work");
		store_octets(&s, "INBOX", 2, MAIL_B);
	}
	assert_int_equal(store_save(&s, "INBOX", MAIL_A, 0), 3);
	store_deinit(&s);
}

static void status_counts_without_a_view(void **state)
{
	struct store s;
	struct cv_mailbox_status status;
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL_A, CV_FLAG_SEEN);
	store_save(&s, "INBOX", MAIL_B, 0);
	store_save(&s, "INBOX", MAIL_B, CV_FLAG_DELETED);
	store_close(&s);
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_mailbox_get_status(inbox, &status, &err));
	assert_int_equal(status.messages, 3);
	assert_int_equal(status.unseen, 2);
	assert_int_equal(status.deleted, 1);
	assert_int_equal(status.recent, 3);
	assert_int_equal(status.first_unseen_uid, 2);
	assert_int_equal(status.uidnext, 4);
	/* RFC822.SIZE counts each bare LF as CRLF */
	assert_int_equal(status.size, strlen(MAIL_A) + 2 * (strlen(MAIL_B) + 5));
	assert_true(status.uidvalidity > 0);
	store_flags(&s, "INBOX", 2, 2, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	assert_ok(cv_mailbox_get_status(inbox, &status, &err));
	assert_int_equal(status.unseen, 1);
	assert_int_equal(status.first_unseen_uid, 3);
	store_expunge(&s, "INBOX", 3, 3);
	assert_ok(cv_mailbox_get_status(inbox, &status, &err));
	assert_int_equal(status.unseen, 0);
	assert_int_equal(status.first_unseen_uid, 0);
	assert_int_equal(status.deleted, 0);
	assert_int_equal(status.messages, 2);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void views_keep_their_sequence_numbers_until_sync(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_row row;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 5; i++)
		store_save(&s, "INBOX", MAIL_A, 0);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &view, &err));
	assert_int_equal(cv_view_count(view), 5);
	assert_int_equal(cv_view_recent(view), 5);
	store_expunge(&s, "INBOX", 2, 3);
	store_expunge(&s, "INBOX", 5, 5);
	store_save(&s, "INBOX", MAIL_B, 0);
	store_flags(&s, "INBOX", 4, 4, CV_FLAGS_ADD, CV_FLAG_FLAGGED, "new");
	assert_true(cv_view_pending(view));
	assert_int_equal(cv_view_count(view), 5);
	assert_int_equal(cv_view_uid(view, 2), 2);
	assert_false(cv_view_row(view, 2, &row));
	/* RFC 3501 section 7.4.1: no EXPUNGE while FETCH, STORE or SEARCH is in progress */
	assert_string_equal(store_sync(&s, view, false, 0), "exists 6; keywords; flags 4 uid 4");
	assert_int_equal(cv_view_count(view), 6);
	assert_true(cv_view_pending(view));
	assert_string_equal(store_sync(&s, view, true, 0), "expunge 2 uid 2; expunge 2 uid 3; expunge 3 uid 5");
	assert_int_equal(cv_view_count(view), 3);
	assert_int_equal(cv_view_uid(view, 1), 1);
	assert_int_equal(cv_view_uid(view, 2), 4);
	assert_int_equal(cv_view_uid(view, 3), 6);
	assert_int_equal(cv_view_seq(view, 4), 2);
	assert_int_equal(cv_view_seq(view, 5), 0);
	assert_int_equal(cv_view_seq_from(view, 5), 3);
	assert_int_equal(cv_view_seq_from(view, 7), 4);
	assert_false(cv_view_pending(view));
	assert_string_equal(store_sync(&s, view, true, 0), "");
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void own_flag_changes_are_left_out(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_view *mine, *other;
	struct cv_ranges uids = { 0 };
	struct cv_txn *txn;
	const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_SEEN };
	struct cv_err err = { 0 };
	uint64_t id;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL_A, 0);
	store_save(&s, "INBOX", MAIL_A, 0);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &mine, &err));
	assert_ok(cv_view_open(inbox, 0, &other, &err));
	txn = cv_txn_begin(s.user);
	id = cv_txn_id(txn);
	cv_ranges_add(&uids, 1, 2);
	assert_ok(cv_txn_flags(txn, inbox, &uids, &change, NULL, NULL, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	store_flags(&s, "INBOX", 2, 2, CV_FLAGS_ADD, CV_FLAG_FLAGGED, NULL);
	assert_string_equal(store_sync(&s, mine, true, id), "flags 2 uid 2");
	assert_string_equal(store_sync(&s, other, true, 0), "flags 1 uid 1; flags 2 uid 2");
	cv_ranges_free(&uids);
	cv_view_close(&mine);
	cv_view_close(&other);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void recent_goes_to_one_session(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_view *examine, *first, *second;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL_A, 0);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, CV_VIEW_READONLY, &examine, &err));
	assert_int_equal(cv_view_recent(examine), 1);
	assert_ok(cv_view_open(inbox, 0, &first, &err));
	assert_int_equal(cv_view_recent(first), 1);
	assert_ok(cv_view_open(inbox, 0, &second, &err));
	assert_int_equal(cv_view_recent(second), 0);
	store_save(&s, "INBOX", MAIL_B, 0);
	store_sync(&s, second, true, 0);
	store_sync(&s, first, true, 0);
	assert_int_equal(cv_view_recent(second), 1);
	assert_int_equal(cv_view_recent(first), 1);
	cv_view_close(&examine);
	cv_view_close(&first);
	cv_view_close(&second);
	cv_mailbox_unref(&inbox);
	store_close(&s);
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &first, &err));
	assert_int_equal(cv_view_recent(first), 0);
	cv_view_close(&first);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void copy_and_move_keep_what_belongs_to_the_message(void **state)
{
	struct store s;
	struct cv_mailbox *inbox, *junk;
	struct cv_ranges uids = { 0 }, old_uids = { 0 }, new_uids = { 0 };
	struct cv_txn *txn;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	store_save_keyword(&s, "INBOX", MAIL_A, CV_FLAG_FLAGGED, "$Work");
	store_save(&s, "INBOX", MAIL_B, CV_FLAG_SEEN);
	store_save(&s, "INBOX", MAIL_B, 0);
	inbox = store_get(&s, "INBOX");
	junk = store_get(&s, "Junk");
	txn = cv_txn_begin(s.user);
	cv_ranges_add(&uids, 1, 2);
	assert_ok(cv_txn_copy(txn, inbox, &uids, junk, false, &old_uids, &new_uids, &err));
	assert_int_equal(cv_ranges_numbers(&new_uids), 2);
	store_expect(&s, "Junk", "");
	assert_ok(cv_txn_commit_wait(&txn, &err));
	store_expect(&s, "Junk", "1 F $Work|2 S");
	store_expect(&s, "INBOX", "1 F $Work|2 S|3 -");
	txn = cv_txn_begin(s.user);
	cv_ranges_add(&uids, 3, 9);
	assert_ok(cv_txn_copy(txn, inbox, &uids, junk, true, NULL, NULL, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	store_expect(&s, "Junk", "1 F $Work|2 S|3 F $Work|4 S|5 -");
	store_expect(&s, "INBOX", "");
	store_octets(&s, "Junk", 5, MAIL_B);
	txn = cv_txn_begin(s.user);
	assert_int_equal(cv_txn_copy(txn, inbox, &uids, junk, false, NULL, NULL, &err), -1);
	assert_int_equal(err.code, CV_ERR_EXPUNGED);
	cv_txn_rollback(&txn);
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&junk);
	store_close(&s);
	store_open(&s);
	store_expect(&s, "Junk", "1 F $Work|2 S|3 F $Work|4 S|5 -");
	store_octets(&s, "Junk", 3, MAIL_A);
	assert_int_equal(store_save(&s, "INBOX", MAIL_A, 0), 4);
	cv_ranges_free(&uids);
	cv_ranges_free(&old_uids);
	cv_ranges_free(&new_uids);
	store_deinit(&s);
}

static void unchanged_since_leaves_newer_messages_alone(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_mailbox_status status;
	struct cv_ranges uids = { 0 }, failed = { 0 }, gone = { 0 };
	struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_ANSWERED, .unchanged_since_set = true };
	struct cv_txn *txn;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 4; i++)
		store_save(&s, "INBOX", MAIL_A, 0);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_mailbox_get_status(inbox, &status, &err));
	store_flags(&s, "INBOX", 2, 2, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	store_expunge(&s, "INBOX", 3, 3);
	change.unchanged_since = status.highest_modseq;
	cv_ranges_add(&uids, 1, 6);
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_flags(txn, inbox, &uids, &change, &failed, &gone, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	store_expect(&s, "INBOX", "1 A|2 S|4 A");
	assert_int_equal(failed.count, 1);
	assert_int_equal(failed.data[0].first, 2);
	assert_int_equal(cv_ranges_numbers(&gone), 3);
	assert_true(cv_ranges_has(&gone, 3) && cv_ranges_has(&gone, 5) && cv_ranges_has(&gone, 6));
	cv_ranges_free(&uids);
	cv_ranges_free(&failed);
	cv_ranges_free(&gone);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void a_message_that_is_so_already_gets_no_new_modseq(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_mailbox_status before, after;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL_A, CV_FLAG_SEEN);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_mailbox_get_status(inbox, &before, &err));
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	assert_ok(cv_mailbox_get_status(inbox, &after, &err));
	assert_int_equal(before.highest_modseq, after.highest_modseq);
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_REMOVE, CV_FLAG_SEEN, NULL);
	assert_ok(cv_mailbox_get_status(inbox, &after, &err));
	assert_true(after.highest_modseq > before.highest_modseq);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void names_are_checked_made_and_removed(void **state)
{
	struct store s;
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	assert_int_equal(cv_mailbox_create(s.user, CV_STR("a//b"), 0, &err), -1);
	assert_int_equal(err.code, CV_ERR_INVALID);
	assert_int_equal(cv_mailbox_create(s.user, CV_STR("../x"), 0, &err), -1);
	assert_int_equal(cv_mailbox_create(s.user, CV_STR("x\xff"), 0, &err), -1);
	assert_int_equal(cv_mailbox_create(s.user, CV_STR("Junk"), 0, &err), -1);
	assert_int_equal(err.code, CV_ERR_EXISTS);
	assert_ok(cv_mailbox_create(s.user, CV_STR("Arbeit/B\xc3\xbcro/heute"), 0, &err));
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Arbeit"), &info), 1);
	assert_false(info.exists);
	assert_true(info.has_children);
	assert_ok(cv_mailbox_create(s.user, CV_STR("Arbeit"), 0, &err));
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Arbeit"), &info), 1);
	assert_true(info.exists);
	/* RFC 3501 section 6.3.4: the name stays while others are below it */
	assert_ok(cv_mailbox_delete(s.user, CV_STR("Arbeit"), &err));
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Arbeit"), &info), 1);
	assert_false(info.exists);
	assert_int_equal(cv_mailbox_delete(s.user, CV_STR("INBOX"), &err), -1);
	assert_int_equal(cv_mailbox_delete(s.user, CV_STR("nix"), &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	store_close(&s);
	store_open(&s);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Arbeit/B\xc3\xbcro/heute"), &info), 1);
	assert_true(info.exists);
	store_deinit(&s);
}

static void a_mailbox_made_again_has_a_higher_uidvalidity(void **state)
{
	struct store s;
	struct cv_mailbox_info before, after;
	struct cv_mailbox *mailbox;
	struct cv_view *view;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_mailbox_create(s.user, CV_STR("x"), 0, &err));
	store_save(&s, "x", MAIL_A, 0);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("x"), &before), 1);
	mailbox = store_get(&s, "x");
	assert_ok(cv_view_open(mailbox, 0, &view, &err));
	assert_ok(cv_mailbox_delete(s.user, CV_STR("x"), &err));
	assert_string_equal(store_sync(&s, view, true, 0), "gone");
	assert_ok(cv_mailbox_create(s.user, CV_STR("x"), 0, &err));
	store_expect(&s, "x", "");
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("x"), &after), 1);
	assert_true(after.uidvalidity > before.uidvalidity);
	assert_memory_not_equal(before.guid, after.guid, 16);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	store_deinit(&s);
}

/* A name that is only subscribed to is no mailbox: nothing is in the way of a rename. */
static void rename_goes_above_what_is_only_subscribed_to(void **state)
{
	struct store s;
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_mailbox_create(s.user, CV_STR("a"), 0, &err));
	assert_ok(cv_mailbox_create(s.user, CV_STR("a/x"), 0, &err));
	store_save(&s, "a/x", MAIL_A, 0);
	assert_ok(cv_mailbox_create(s.user, CV_STR("b/x"), 0, &err));
	assert_ok(cv_mailbox_subscribe(s.user, CV_STR("b/x"), true, &err));
	assert_int_equal(cv_mailbox_rename(s.user, CV_STR("a"), CV_STR("b"), &err), -1);
	assert_ok(cv_mailbox_delete(s.user, CV_STR("b/x"), &err));
	assert_ok(cv_mailbox_rename(s.user, CV_STR("a"), CV_STR("b"), &err));
	store_close(&s);
	store_open(&s);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("b/x"), &info), 1);
	assert_true(info.exists && info.subscribed);
	store_expect(&s, "b/x", "1 -");
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("a"), &info), 0);
	store_deinit(&s);
}

static void rename_takes_children_along(void **state)
{
	struct store s;
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_mailbox_create(s.user, CV_STR("a"), 0, &err));
	assert_ok(cv_mailbox_create(s.user, CV_STR("a/b/c"), 0, &err));
	store_save(&s, "a", MAIL_A, 0);
	store_save(&s, "a/b/c", MAIL_B, CV_FLAG_SEEN);
	assert_int_equal(cv_mailbox_rename(s.user, CV_STR("a"), CV_STR("a/x"), &err), -1);
	assert_int_equal(cv_mailbox_rename(s.user, CV_STR("a"), CV_STR("Junk"), &err), -1);
	assert_int_equal(err.code, CV_ERR_EXISTS);
	assert_ok(cv_mailbox_rename(s.user, CV_STR("a"), CV_STR("z/y"), &err));
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("a"), &info), 0);
	store_expect(&s, "z/y", "1 -");
	store_octets(&s, "z/y/b/c", 1, MAIL_B);
	store_close(&s);
	store_open(&s);
	store_octets(&s, "z/y/b/c", 1, MAIL_B);
	store_octets(&s, "z/y", 1, MAIL_A);
	store_deinit(&s);
}

static void renaming_the_inbox_moves_its_messages(void **state)
{
	struct store s;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL_A, CV_FLAG_FLAGGED);
	assert_ok(cv_mailbox_rename(s.user, CV_STR("INBOX"), CV_STR("old"), &err));
	store_expect(&s, "INBOX", "");
	store_expect(&s, "old", "1 F");
	store_deinit(&s);
}

static void subscriptions_outlive_mailboxes(void **state)
{
	struct store s;
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_mailbox_create(s.user, CV_STR("x"), 0, &err));
	assert_ok(cv_mailbox_subscribe(s.user, CV_STR("x"), true, &err));
	assert_ok(cv_mailbox_delete(s.user, CV_STR("x"), &err));
	store_close(&s);
	store_open(&s);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("x"), &info), 1);
	assert_true(info.subscribed);
	assert_false(info.exists);
	assert_ok(cv_mailbox_subscribe(s.user, CV_STR("x"), false, &err));
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("x"), &info), 0);
	store_deinit(&s);
}

static void a_second_owner_is_refused(void **state)
{
	struct store s, t;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	t = s;
	t.user = NULL;
	assert_int_equal(store_try_open(&t, &err), -1);
	assert_int_equal(err.code, CV_ERR_INUSE);
	store_deinit(&s);
}

static void parse_record_is_served_without_the_file(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_mail *mail;
	struct cv_str record;
	struct cv_parse_record parsed;
	struct cv_buf subject;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL_B, 0);
	store_close(&s);
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &view, &err));
	assert_int_equal(rename(cv_arena_printf(*state, "%s/mail/mailboxes/INBOX/dbox-Mails/u.1", s.dir),
				 cv_arena_printf(*state, "%s/away", s.dir)), 0);
	assert_ok(cv_mail_open(view, 1, &mail, &err));
	assert_ok(cv_mail_record(mail, &record, &err));
	assert_ok(cv_parse_record_open(record, &parsed, &err));
	assert_int_equal(parsed.size, strlen(MAIL_B));
	cv_buf_init(&subject, 100);
	assert_int_equal(cv_parse_record_field(&parsed, CV_STR("Subject"), &subject), 1);
	assert_str_eq(cv_buf_str(&subject), CV_STR("second"));
	cv_buf_deinit(&subject);
	cv_mail_close(&mail);
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void an_open_message_outlives_its_expunge(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_mail *mail;
	struct cv_str octets;
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL_A, 0);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &view, &err));
	assert_ok(cv_mail_open(view, 1, &mail, &err));
	store_expunge(&s, "INBOX", 1, 1);
	assert_string_equal(store_sync(&s, view, true, 0), "expunge 1 uid 1");
	assert_ok(cv_mail_octets(mail, &octets, &err));
	assert_str(octets, MAIL_A);
	cv_mail_close(&mail);
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void what_is_read_next_is_opened_ahead(void **state)
{
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_check_ahead(&s);
	store_deinit(&s);
}

static void delivery_files_into_inbox_when_the_target_is_missing(void **state)
{
	struct store s;
	struct cv_delivery delivery = { .octets = CV_STR_INIT(MAIL_A), .header = CV_STR_INIT("Return-Path: <x@example.org>\r\n"),
		.mailbox = CV_STR_INIT("lists") };
	struct cv_err err = { 0 };

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_deliver(s.user, &delivery, NULL, NULL, &err));
	assert_int_equal(delivery.uid, 1);
	store_octets(&s, "INBOX", 1, "Return-Path: <x@example.org>\r\n" MAIL_A);
	store_deinit(&s);
}

/* Writes fail from now on, as on a full disk, after so many more. */
static int no_space(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	int *left = ctx;

	(void)name;
	if (op != CV_FILE_WRITE || (*left)-- > 0)
		return 0;
	*len = 0;
	return ENOSPC;
}

static void a_change_that_cannot_be_written_leaves_all_as_it_was(void **state)
{
	static const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_FLAGGED };
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };
	int left = 0;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL_A, 0);
	store_save(&s, "INBOX", MAIL_B, CV_FLAG_SEEN);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &view, &err));
	cv_ranges_add(&uids, 1, 2);
	for (int i = 0; i < 4; i++) {
		struct cv_txn *txn = cv_txn_begin(s.user);

		assert_ok(cv_txn_flags(txn, inbox, &uids, &change, NULL, NULL, &err));
		cv_file_set_fault(no_space, &left);
		assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
		cv_file_set_fault(NULL, NULL);
		assert_int_equal(err.code, CV_ERR_NOQUOTA);
		err = (struct cv_err){ 0 };
		assert_string_equal(store_sync(&s, view, true, 0), "");
		store_expect(&s, "INBOX", "1 -|2 S");
	}
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_ANSWERED, NULL);
	assert_string_equal(store_sync(&s, view, true, 0), "flags 1 uid 1");
	store_expect(&s, "INBOX", "1 A|2 S");
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	cv_ranges_free(&uids);
	store_close(&s);
	store_open(&s);
	store_expect(&s, "INBOX", "1 A|2 S");
	store_octets(&s, "INBOX", 2, MAIL_B);
	store_deinit(&s);
}

static void expect_usage(struct store *s, uint64_t messages, uint64_t size, uint64_t mailboxes)
{
	struct cv_usage usage;

	cv_user_usage(s->user, &usage);
	assert_int_equal(usage.messages, messages);
	assert_int_equal(usage.size, size);
	assert_int_equal(usage.mailboxes, mailboxes);
}

/* Also before it is on disk, and again after reopening: nothing is counted for it. */
static void sums_follow_every_change(void **state)
{
	const uint64_t a = strlen(MAIL_A), b = strlen(MAIL_B) + 5; /* with CRLF line ends */
	struct cv_ranges uids = { 0 }, all = { 0 };
	struct cv_mailbox *inbox, *sent, *trash;
	struct cv_usage usage;
	struct cv_txn *txn;
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	expect_usage(&s, 0, 0, 5);
	(void)store_save(&s, "INBOX", MAIL_A, 0);
	(void)store_save(&s, "INBOX", MAIL_B, CV_FLAG_DELETED);
	(void)store_save(&s, "INBOX", MAIL_A, CV_FLAG_DELETED);
	expect_usage(&s, 3, 2 * a + b, 5);
	inbox = store_get(&s, "INBOX");
	sent = store_get(&s, "Sent");
	trash = store_get(&s, "Trash");
	cv_ranges_add(&uids, 2, 9);
	cv_ranges_add(&all, 1, UINT32_MAX);
	assert_ok(cv_mailbox_sum(inbox, &uids, 0, &usage, &err));
	assert_int_equal(usage.size, a + b);
	assert_ok(cv_mailbox_sum(inbox, NULL, CV_FLAG_DELETED, &usage, &err));
	assert_int_equal(usage.messages, 2);
	assert_int_equal(usage.size, a + b);
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_copy(txn, inbox, &all, trash, true, NULL, NULL, &err));
	cv_txn_rollback(&txn);
	expect_usage(&s, 3, 2 * a + b, 5);
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_copy(txn, inbox, &uids, sent, true, NULL, NULL, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	expect_usage(&s, 3, 2 * a + b, 5);
	cv_mailbox_usage(sent, &usage);
	assert_int_equal(usage.size, a + b);
	store_expunge(&s, "Sent", 1, 1);
	expect_usage(&s, 2, 2 * a, 5);
	assert_ok(cv_mailbox_create(s.user, CV_STR("x"), 0, &err));
	(void)store_save(&s, "x", MAIL_B, 0);
	expect_usage(&s, 3, 2 * a + b, 6);
	assert_int_equal(cv_mailbox_verify(inbox, &err), 1);
	assert_int_equal(cv_mailbox_verify(sent, &err), 1);
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&sent);
	cv_mailbox_unref(&trash);
	store_close(&s);
	store_open(&s);
	expect_usage(&s, 3, 2 * a + b, 6);
	assert_ok(cv_mailbox_delete(s.user, CV_STR("x"), &err));
	expect_usage(&s, 2, 2 * a, 5);
	cv_ranges_free(&uids);
	cv_ranges_free(&all);
	store_deinit(&s);
}

/* Of one that another session deletes while this one reads: no error of the file's, which is gone with it. */
static void messages_of_a_deleted_mailbox_are_expunged(void **state)
{
	struct cv_mailbox *mailbox;
	struct cv_view *view;
	struct cv_mail *mail;
	struct cv_str octets;
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "Junk", "Subject: a\r\n\r\none\r\n", 0);
	mailbox = store_get(&s, "Junk");
	assert_ok(cv_view_open(mailbox, 0, &view, &err));
	cv_mailbox_unref(&mailbox);
	assert_ok(cv_mail_open(view, 1, &mail, &err));
	assert_ok(cv_mailbox_delete(s.user, CV_STR("Junk"), &err));
	assert_int_equal(cv_mail_octets(mail, &octets, &err), -1);
	assert_int_equal(err.code, CV_ERR_EXPUNGED);
	cv_mail_close(&mail);
	cv_view_close(&view);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(first_open_makes_the_usual_mailboxes),
		cv_test(the_usual_mailboxes_get_their_folders_with_the_first_message),
		cv_test(an_empty_inbox_without_folder_can_be_renamed),
		cv_test(saved_messages_are_there_after_reopen),
		cv_test(status_counts_without_a_view),
		cv_test(what_is_read_next_is_opened_ahead),
		cv_test(views_keep_their_sequence_numbers_until_sync),
		cv_test(own_flag_changes_are_left_out),
		cv_test(recent_goes_to_one_session),
		cv_test(copy_and_move_keep_what_belongs_to_the_message),
		cv_test(unchanged_since_leaves_newer_messages_alone),
		cv_test(a_message_that_is_so_already_gets_no_new_modseq),
		cv_test(names_are_checked_made_and_removed),
		cv_test(a_mailbox_made_again_has_a_higher_uidvalidity),
		cv_test(rename_goes_above_what_is_only_subscribed_to),
		cv_test(rename_takes_children_along),
		cv_test(renaming_the_inbox_moves_its_messages),
		cv_test(subscriptions_outlive_mailboxes),
		cv_test(a_second_owner_is_refused),
		cv_test(parse_record_is_served_without_the_file),
		cv_test(an_open_message_outlives_its_expunge),
		cv_test(delivery_files_into_inbox_when_the_target_is_missing),
		cv_test(a_change_that_cannot_be_written_leaves_all_as_it_was),
		cv_test(sums_follow_every_change),
		cv_test(messages_of_a_deleted_mailbox_are_expunged),
	};

	return store_tests_run(tests);
}
