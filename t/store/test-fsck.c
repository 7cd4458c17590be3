/* SPDX-License-Identifier: MIT
   fsck, without a server: t/clients/fsck.py has the rest. */
#include <config.h>

#include "t/store/store-disk.h"

#include <culver/fsck.h>
#include <culver/loop.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAIL "Subject: x\r\n\r\nx\r\n"
#define COPY "copy.0000000000000001"

static void on_done(void *ctx, int result, const struct cv_err *err)
{
	bool *done = ctx;

	(void)err;
	assert_int_equal(result, 0);
	*done = true;
}

static void commit_one(struct store *s, bool *done)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_txn *txn = cv_txn_begin(s->user);
	const struct cv_save_config config = { 0 };
	struct cv_save *save;
	struct cv_err err = { 0 };

	assert_ok(cv_save_begin(txn, inbox, &config, &save, &err));
	assert_ok(cv_save_write(save, CV_STR(MAIL), &err));
	assert_ok(cv_save_finish(save, &err));
	assert_ok(cv_txn_commit(&txn, on_done, done, &err));
	cv_mailbox_unref(&inbox);
}

/* Sessions go on between its steps: what they have committed is in memory, its record and file are not there yet. */
static void what_is_committed_but_not_written_is_no_damage(void **state)
{
	struct cv_fsck_config config = { .repair = true };
	unsigned found = 0;
	struct cv_err err = { 0 };
	struct cv_fsck *fsck;
	struct store s;
	bool done = false;

	store_init(&s, state);
	s.loop = cv_loop_new(CV_LOOP_EPOLL);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	config.found = store_count_found;
	config.ctx = &found;
	assert_ok(cv_fsck_begin(s.user, &config, &fsck, &err));
	commit_one(&s, &done);
	assert_false(done);
	assert_ok(cv_fsck_step(fsck, UINT64_MAX, &err));
	cv_fsck_end(&fsck);
	assert_int_equal(found, 0);
	assert_true(done);
	store_expect(&s, "INBOX", "1 -|2 -");
	store_octets(&s, "INBOX", 2, MAIL);
	store_close(&s);
	cv_loop_free(&s.loop);
	store_deinit(&s);
}

struct gone {
	unsigned found, repaired, lost;
};

static void count_gone(void *ctx, const struct cv_fsck_finding *finding)
{
	struct gone *gone = ctx;

	gone->found += finding->result == CV_FSCK_FOUND;
	gone->repaired += finding->result == CV_FSCK_REPAIRED;
	gone->lost += finding->result == CV_FSCK_LOST;
}

static struct gone check_gone(struct store *s, bool repair)
{
	struct gone gone = { 0 };

	store_fsck_run(s, &(struct cv_fsck_config){ .repair = repair, .found = count_gone, .ctx = &gone });
	return gone;
}

static void remove_message(struct store *s, uint32_t uid)
{
	char path[700];

	(void)snprintf(path, sizeof(path), "%s/mail/mailboxes/INBOX/dbox-Mails/u.%u", s->dir, uid);
	assert_int_equal(unlink(path), 0);
}

/* Their files were removed by hand: those whose octets the journal has come back as they were, the last one is taken out. */
static void messages_that_the_journal_has_come_back(void **state)
{
	struct gone gone;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (unsigned i = 0; i < 3; i++)
		store_save(&s, "INBOX", MAIL, i == 1 ? CV_FLAG_FLAGGED : 0);
	store_set_files_first(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_close(&s); /* their files are made */
	store_open(&s);
	for (uint32_t uid = 2; uid <= 4; uid++)
		remove_message(&s, uid);
	gone = check_gone(&s, false);
	assert_true(gone.found == 3 && gone.repaired == 0 && gone.lost == 0);
	gone = check_gone(&s, true);
	assert_true(gone.found == 0 && gone.repaired == 2 && gone.lost == 1);
	for (unsigned round = 0; round < 2; round++) {
		store_expect(&s, "INBOX", "1 -|2 F|3 -");
		store_octets(&s, "INBOX", 2, MAIL);
		store_octets(&s, "INBOX", 3, MAIL);
		store_close(&s);
		store_open(&s);
	}
	store_deinit(&s);
}

/* A segment that was cut under its writer has zeros there, which must not pass for a parse record. */
static void a_hole_in_the_journal_is_no_parse_record(void **state)
{
	struct disk disk = { 0 };
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct cv_view *view;
	struct cv_mail *mail;
	struct cv_str record;
	struct store s;
	char *zeros;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	disk_read(&s, &disk);
	const struct disk_file *segment = disk_find(&disk, "journal.0000000000000001");
	assert_non_null(segment);
	zeros = cv_arena_alloc(*state, segment->octets.len);
	memset(zeros, 0, segment->octets.len);
	disk_put_file(&s, segment->name, cv_str_mem(zeros, segment->octets.len));
	disk_free(&disk);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, CV_VIEW_READONLY, &view, &err));
	assert_ok(cv_mail_open(view, 1, &mail, &err));
	assert_ok(cv_mail_record(mail, &record, &err));
	assert_true(record.len > 0);
	cv_mail_close(&mail);
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void a_copy_of_the_journal_is_made_anew(void **state)
{
	for (unsigned harm = 0; harm < 3; harm++) {
		for (unsigned repair = 0; repair < 2; repair++) {
			struct disk disk = { 0 };
			struct store s;

			store_init(&s, state);
			store_open(&s);
			store_save(&s, "INBOX", MAIL, 0);
			disk_read(&s, &disk);
			if (harm == 0) {
				disk_remove_file(&s, COPY);
			} else {
				const struct disk_file *copy = disk_find(&disk, COPY);
				char *other;

				assert_non_null(copy);
				other = cv_arena_alloc(*state, copy->octets.len);
				memcpy(other, copy->octets.ptr, copy->octets.len);
				other[copy->octets.len - 1] = (char)(other[copy->octets.len - 1] ^ 1);
				disk_put_file(&s, COPY, cv_str_mem(other, harm == 1 ? copy->octets.len : copy->octets.len - 8));
			}
			disk_free(&disk);
			assert_int_equal(store_fsck(&s, repair != 0), 1);
			assert_int_equal(store_fsck(&s, repair != 0), repair != 0 ? 0 : 1);
			store_save(&s, "INBOX", MAIL, 0);
			assert_int_equal(store_fsck(&s, false), repair != 0 ? 0 : 1);
			store_deinit(&s);
		}
	}
}

static void octets_of_annotations_are_compared(void **state)
{
	struct cv_usage usage;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_note(&s, "INBOX", 1, 1, "/comment", "x");
	assert_int_equal(store_fsck(&s, false), 0);
	s.user->names.data[0]->mailbox->counts.notes++;
	assert_int_equal(store_fsck(&s, false), 1);
	assert_int_equal(store_fsck(&s, true), 1);
	assert_int_equal(store_fsck(&s, false), 0);
	cv_user_usage(s.user, &usage);
	assert_int_equal(usage.notes, strlen("/comment") + 1 + 12);
	store_deinit(&s);
}

static int no_descriptors(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	(void)ctx;
	(void)len;
	return op == CV_FILE_OPEN && name != NULL && strncmp(name, "u.", 2) == 0 ? EMFILE : 0;
}

/* That says nothing of them: they are not called lost. */
static void messages_that_could_not_be_looked_at_end_it(void **state)
{
	unsigned found = 0;
	struct cv_fsck_config config = { .repair = true, .found = store_count_found, .ctx = &found };
	struct cv_err err = { 0 };
	struct cv_fsck *fsck;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	store_open(&s);
	assert_ok(cv_fsck_begin(s.user, &config, &fsck, &err));
	cv_file_set_fault(no_descriptors, NULL);
	assert_int_equal(cv_fsck_step(fsck, UINT64_MAX, &err), -1);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(err.code, CV_ERR_UNAVAILABLE);
	cv_fsck_end(&fsck);
	assert_int_equal(found, 0);
	assert_int_equal(store_fsck(&s, true), 0);
	store_expect(&s, "INBOX", "1 -|2 -");
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(what_is_committed_but_not_written_is_no_damage),
		cv_test(a_hole_in_the_journal_is_no_parse_record),
		cv_test(a_copy_of_the_journal_is_made_anew),
		cv_test(octets_of_annotations_are_compared),
		cv_test(messages_that_could_not_be_looked_at_end_it),
		cv_test(messages_that_the_journal_has_come_back),
	};

	return store_tests_run(tests);
}
