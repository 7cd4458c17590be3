/* SPDX-License-Identifier: MIT
   Snapshots that are written while the mailbox changes, and checkpoints on an event loop. */
#include <config.h>

#include "t/store/store-disk.h"

#include <culver/loop.h>

#define MAIL "Subject: one\r\n\r\nHello\r\n"
#define MANY (CV_CHUNK_ROWS + 600u)
#define ALL (DUMP_NUMBERS | DUMP_MODSEQS)

static void save_many(struct store *s, const char *name, uint32_t count)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_txn *txn = cv_txn_begin(s->user);
	const struct cv_save_config config = { 0 };
	struct cv_err err = { 0 };
	struct cv_save *save;

	for (uint32_t i = 0; i < count; i++) {
		assert_ok(cv_save_begin(txn, mailbox, &config, &save, &err));
		assert_ok(cv_save_write(save, CV_STR(MAIL), &err));
		assert_ok(cv_save_finish(save, &err));
	}
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_mailbox_unref(&mailbox);
}

/* Rows that are in the file already change, and ones that are not yet; some go, some come. */
static void changes_while_a_snapshot_is_written_are_not_lost(void **state)
{
	struct cv_snapshot_writer *writer;
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	const char *before;
	unsigned steps = 0;
	struct store s;
	int ret;

	store_init(&s, state);
	store_open(&s);
	save_many(&s, "INBOX", MANY);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_mailbox_load(inbox, &err));
	assert_ok(cv_snapshot_begin(inbox, &writer, &err));
	do {
		uint32_t n = ++steps;

		ret = cv_snapshot_step(writer, 0, &err);
		assert_ok(ret);
		store_flags(&s, "INBOX", n, n + 3, CV_FLAGS_ADD, CV_FLAG_SEEN, "$Early");
		store_flags(&s, "INBOX", MANY - n, MANY - n + 3, CV_FLAGS_ADD, CV_FLAG_FLAGGED, "late");
		store_flags(&s, "INBOX", MANY - n, MANY - n + 1, CV_FLAGS_REMOVE, CV_FLAG_FLAGGED, NULL);
		store_expunge(&s, "INBOX", 1000 + n, 1000 + n);
		store_expunge(&s, "INBOX", MANY - 200 - n, MANY - 200 - n);
		store_save_keyword(&s, "INBOX", MAIL, CV_FLAG_DRAFT, "new");
	} while (ret == 0);
	assert_true(steps > 10);
	assert_ok(cv_snapshot_finish(writer, &err));
	cv_snapshot_end(&writer);
	assert_true(inbox->behind.count >= 4);
	before = store_dump_all(&s, ALL);
	cv_mailbox_unload(inbox);
	assert_same_dump(store_dump_all(&s, ALL), before);
	cv_mailbox_unref(&inbox);
	store_close(&s);
	store_open(&s);
	assert_same_dump(store_dump_all(&s, ALL), before);
	store_deinit(&s);
}

static void a_mailbox_that_is_deleted_meanwhile_stops_its_snapshot(void **state)
{
	struct cv_snapshot_writer *writer;
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "Junk", MAIL, 0);
	mailbox = store_get(&s, "Junk");
	assert_ok(cv_snapshot_begin(mailbox, &writer, &err));
	cv_mailbox_unref(&mailbox);
	assert_ok(cv_mailbox_delete(s.user, CV_STR("Junk"), &err));
	assert_int_equal(cv_snapshot_step(writer, UINT64_MAX, &err), -1);
	cv_snapshot_end(&writer);
	assert_int_equal(disk_count(&s, "box."), 0);
	store_deinit(&s);
}

/* Opening reads runs of UIDs, words and checksums: columns, UIDs included, are made and checked when they are touched. */
static void columns_are_checked_when_they_are_touched(void **state)
{
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	save_many(&s, "INBOX", MANY);
	store_close(&s);
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_mailbox_load(inbox, &err));
	assert_int_equal(inbox->columns->base_count, MANY);
	for (unsigned i = 0; i < CV_COLUMNS; i++) {
		assert_int_equal(inbox->columns->checked[i][0], 0);
		assert_int_equal(inbox->columns->checked[i][1], 0);
	}
	(void)*cv_col_date(inbox->columns, MANY - 1);
	assert_int_equal(inbox->columns->checked[CV_COLUMN_date][0], 0);
	assert_int_equal(inbox->columns->checked[CV_COLUMN_date][1], 1);
	assert_int_equal(*cv_col_uid(inbox->columns, MANY - 1), MANY);
	assert_int_equal(inbox->columns->checked[CV_COLUMN_uid][0], 0);
	assert_int_equal(inbox->columns->checked[CV_COLUMN_uid][1], 1);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void turn(struct store *s)
{
	while (cv_loop_once(s->loop, 0) > 0)
		;
}

/* The loop folds the journal while changes come, a round at a time. */
static void the_loop_folds_the_journal(void **state)
{
	const char *before;
	uint64_t most = 0, seed = 5;
	struct store s;

	store_init(&s, state);
	s.loop = cv_loop_new(CV_LOOP_EPOLL);
	store_open(&s);
	store_set_sizes(&s, 8192, 2048);
	for (unsigned i = 0; i < 30; i++)
		store_save(&s, i % 2 == 0 ? "INBOX" : "Sent", MAIL, 0);
	for (unsigned i = 0; i < 3000; i++) {
		store_flags(&s, i / 2 % 3 == 0 ? "Sent" : "INBOX", 1 + i / 2 % 10, 1 + i / 2 % 10,
			i % 2 == 0 ? CV_FLAGS_ADD : CV_FLAGS_REMOVE, CV_FLAG_FLAGGED, NULL);
		if (next_random(&seed, 4) == 0)
			(void)cv_loop_once(s.loop, 0);
		if (i % 100 == 0)
			most = CV_MAX(most, disk_journal_size(&s));
	}
	turn(&s);
	assert_null(s.user->checkpoint);
	assert_true(most <= 8 * 8192);
	before = store_dump_all(&s, ALL);
	store_close(&s);
	store_open(&s);
	assert_same_dump(store_dump_all(&s, ALL), before);
	store_deinit(&s);
}

struct chain {
	struct store *s;
	unsigned left;
};

static void next_in_chain(void *ctx, int result, const struct cv_err *commit_err)
{
	struct chain *chain = ctx;
	const struct cv_flags_change change = { .op = chain->left % 2 == 0 ? CV_FLAGS_ADD : CV_FLAGS_REMOVE, .flags = CV_FLAG_SEEN };
	struct cv_mailbox *inbox;
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };
	struct cv_txn *txn;

	(void)commit_err;
	assert_int_equal(result, 0);
	if (chain->left-- == 0)
		return;
	inbox = store_get(chain->s, "INBOX");
	txn = cv_txn_begin(chain->s->user);
	cv_ranges_add(&uids, 1, 1);
	assert_ok(cv_txn_flags(txn, inbox, &uids, &change, NULL, NULL, &err));
	assert_ok(cv_txn_commit(&txn, next_in_chain, chain, &err));
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
}

/* A session that changes something as soon as it is told that its last change is done: there is never a moment without changes. */
static void the_loop_folds_the_journal_of_a_busy_session(void **state)
{
	struct chain chain;
	const char *before;
	uint64_t most = 0;
	struct store s;

	store_init(&s, state);
	s.loop = cv_loop_new(CV_LOOP_EPOLL);
	store_open(&s);
	store_set_sizes(&s, 8192, 2048);
	store_save(&s, "INBOX", MAIL, 0);
	chain = (struct chain){ &s, 3000 };
	next_in_chain(&chain, 0, NULL);
	while (chain.left < 3000 && chain.left > 0) {
		(void)cv_loop_once(s.loop, 0);
		if (chain.left % 100 == 0)
			most = CV_MAX(most, disk_journal_size(&s));
	}
	turn(&s);
	assert_true(most <= 8 * 8192);
	before = store_dump_all(&s, ALL);
	store_close(&s);
	store_open(&s);
	assert_same_dump(store_dump_all(&s, ALL), before);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(changes_while_a_snapshot_is_written_are_not_lost),
		cv_test(a_mailbox_that_is_deleted_meanwhile_stops_its_snapshot),
		cv_test(columns_are_checked_when_they_are_touched),
		cv_test(the_loop_folds_the_journal),
		cv_test(the_loop_folds_the_journal_of_a_busy_session),
	};

	return store_tests_run(tests);
}
