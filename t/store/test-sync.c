/* SPDX-License-Identifier: MIT
   A sync that fails and has lost what was written: the next one says that all is well, and it must be. */
#include <config.h>

#include "t/store/store-disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MAIL "From: a@example.org\r\nSubject: one\r\n\r\nHello\r\n"

struct loss {
	struct store *s;
	unsigned failing; /* syncs that still fail */
	unsigned failed;
	uint64_t from;    /* octets of the journal from here on were never synced */
};

/* What the system does: the pages count as clean, their octets are not on disk, and are read from there when they are needed again. */
static int lose(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct loss *loss = ctx;
	const struct cv_journal *journal = &loss->s->user->journal;
	char path[800], zeros[4096] = { 0 };
	struct stat st;
	int fd;

	(void)name;
	(void)len;
	if (op != CV_FILE_SYNC || loss->failing == 0)
		return 0;
	loss->failing--;
	loss->failed++;
	(void)snprintf(path, sizeof(path), "%s/mail/culver-index/journal.%016x", loss->s->dir,
		journal->segments.data[journal->segments.count - 1].number);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	for (uint64_t at = loss->from; at < (uint64_t)st.st_size; at += sizeof(zeros))
		assert_true(pwrite(fd, zeros, (size_t)CV_MIN((uint64_t)sizeof(zeros), (uint64_t)st.st_size - at), (off_t)at) > 0);
	(void)close(fd);
	return EIO;
}

/* Flags that wait to be synced, as mail_fsync = optimized has them. */
static void set_lazily(struct store *s, uint32_t uid, uint16_t flags)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_txn *txn = cv_txn_begin(s->user);
	const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = flags };
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, uid, uid);
	assert_ok(cv_txn_flags(txn, inbox, &uids, &change, NULL, NULL, &err));
	assert_ok(cv_txn_commit(&txn, NULL, NULL, &err));
	cv_user_flush(s->user);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
}

/* What is on disk when the process ends now, without closing anything. */
static void killed(struct store *s)
{
	struct disk disk;

	disk_read(s, &disk);
	store_close(s);
	disk_write(s, &disk);
	disk_free(&disk);
	store_open(s);
}

static void begin(struct store *s, struct loss *loss, void **state)
{
	struct cv_err err = { 0 };

	store_init(s, state);
	store_open(s);
	store_save(s, "INBOX", MAIL, 0);
	store_save(s, "INBOX", MAIL, 0);
	assert_ok(cv_journal_sync(&s->user->journal, &err));
	*loss = (struct loss){ .s = s, .from = s->user->journal.synced };
	assert_true(loss->from > CV_SEGMENT_HEAD);
	set_lazily(s, 1, CV_FLAG_SEEN);
	assert_true(s->user->journal.unsynced);
	cv_file_set_fault(lose, loss);
}

static void flags_outlive_a_sync_that_fails_once(void **state)
{
	struct cv_err err = { 0 };
	struct loss loss;
	struct store s;

	begin(&s, &loss, state);
	loss.failing = 1;
	assert_int_equal(cv_journal_sync(&s.user->journal, &err), -1);
	set_lazily(&s, 2, CV_FLAG_FLAGGED);
	assert_ok(cv_journal_sync(&s.user->journal, &err));
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(loss.failed, 1);
	assert_false(s.user->journal.unsynced);
	store_expect(&s, "INBOX", "1 S|2 F");
	killed(&s);
	store_expect(&s, "INBOX", "1 S|2 F");
	store_deinit(&s);
}

/* The sync of a change that is refused has lost the flags before it, too. */
static void flags_outlive_a_change_that_is_refused(void **state)
{
	struct cv_ranges uids = { 0 };
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct loss loss;
	struct store s;

	begin(&s, &loss, state);
	for (unsigned failing = 1; failing <= 2; failing++) { /* with 2 the cut of the segment fails as well */
		loss.failing = failing;
		inbox = store_get(&s, "INBOX");
		txn = cv_txn_begin(s.user);
		cv_ranges_add(&uids, 2, 2);
		assert_ok(cv_txn_expunge(txn, inbox, &uids, &err));
		assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
		cv_mailbox_unref(&inbox);
		assert_int_equal(loss.failing, 0);
		store_expect(&s, "INBOX", failing == 1 ? "1 S|2 -" : "1 SA|2 -");
		if (failing == 2) /* it is cut and written again before the next change */
			store_save(&s, "INBOX", MAIL, 0);
		killed(&s);
		store_expect(&s, "INBOX", failing == 1 ? "1 S|2 -" : "1 SA|2 -|3 -");
		assert_ok(cv_journal_sync(&s.user->journal, &err));
		loss.from = cv_journal_end_pos(&s.user->journal).offset;
		set_lazily(&s, 1, CV_FLAG_ANSWERED);
	}
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(loss.failed, 3);
	cv_ranges_free(&uids);
	store_deinit(&s);
}

/* Another process's sync failed, and it was killed: what this one reads from the system's memory need not be on disk. */
static void what_was_read_is_written_again(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	set_lazily(&s, 1, CV_FLAG_SEEN);
	killed(&s);
	assert_true(s.user->journal.tail.len > 0);
	assert_true(s.user->journal.rewrite);
	set_lazily(&s, 1, CV_FLAG_ANSWERED);
	assert_ok(cv_journal_sync(&s.user->journal, &err));
	assert_int_equal(s.user->journal.tail.len, 0);
	killed(&s);
	store_expect(&s, "INBOX", "1 SA");
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(flags_outlive_a_sync_that_fails_once),
		cv_test(flags_outlive_a_change_that_is_refused),
		cv_test(what_was_read_is_written_again),
	};

	return store_tests_run(tests);
}
