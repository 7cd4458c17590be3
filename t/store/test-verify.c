/* SPDX-License-Identifier: MIT
   Checksums of messages: made while they are saved, kept through copies, changes of flags and closing, compared when they are read; and index files of
   before there were any. */
#include <config.h>

#include "t/store/store-disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MAIL "From: a@example.org\r\nSubject: one\r\n\r\nHello\r\n"

/* Change one octet of the body where it lies: that of "Hello" which is from. */
static void flip(struct store *s, const char *file, char from, char to)
{
	char path[700], c;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/mail/mailboxes/%s", s->dir, file);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	for (off_t at = 0; pread(fd, &c, 1, at) == 1; at++) {
		if (c == from && pread(fd, &c, 1, at + 1) == 1 && c == 'e') {
			assert_int_equal(pwrite(fd, &to, 1, at), 1);
			break;
		}
	}
	(void)close(fd);
}

static int read_it(struct store *s, const char *name, uint32_t uid, struct cv_err *err)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_view *view;
	struct cv_mail *mail;
	struct cv_str octets;
	int ret;

	*err = (struct cv_err){ 0 };
	assert_true(cv_view_open(mailbox, CV_VIEW_READONLY, &view, err) >= 0);
	assert_true(cv_mail_open(view, cv_view_seq(view, uid), &mail, err) >= 0);
	ret = cv_mail_octets(mail, &octets, err);
	cv_mail_close(&mail);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	return ret;
}

/* Its octets are asked for as FETCH does it: long ones come piece by piece. */
static int parse_it(struct store *s, const char *name, uint32_t uid, struct cv_err *err)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_message_reader *reader;
	struct cv_view *view;
	struct cv_mail *mail;
	int ret;

	*err = (struct cv_err){ 0 };
	assert_true(cv_view_open(mailbox, CV_VIEW_READONLY, &view, err) >= 0);
	assert_true(cv_mail_open(view, cv_view_seq(view, uid), &mail, err) >= 0);
	ret = cv_mail_reader(mail, &reader, err);
	cv_mail_close(&mail);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	return ret;
}

static uint32_t sum_of(struct store *s, const char *name, uint32_t uid)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_err err = { 0 };
	uint32_t row, sum;

	assert_ok(cv_mailbox_load(mailbox, &err));
	assert_true(cv_columns_find(mailbox->columns, uid, UINT32_MAX, &row));
	sum = *cv_col_sum(mailbox->columns, row);
	cv_mailbox_unref(&mailbox);
	return sum;
}

static void set_verify(struct store *s, enum cv_verify how)
{
	struct cv_store_settings *set = cv_new(s->user->arena, struct cv_store_settings, 1);

	*set = *s->user->set;
	set->mail_verify = how;
	s->user->set = set;
}

static void damage_is_found_when_it_is_read(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_set_files_first(&s); /* nothing else has their octets */
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	assert_int_equal(sum_of(&s, "INBOX", 1), cv_crc32c(0, MAIL, strlen(MAIL)));
	flip(&s, "INBOX/dbox-Mails/u.1", 'H', 'J');
	for (unsigned i = 0; i < 3; i++) { /* each time, also after closing */
		assert_int_equal(read_it(&s, "INBOX", 1, &err), -1);
		assert_int_equal(err.code, CV_ERR_CORRUPT);
		assert_non_null(strstr(err.text, "damaged"));
		assert_true(read_it(&s, "INBOX", 2, &err) > 0);
		if (i == 1) {
			store_close(&s);
			store_open(&s);
		}
	}
	set_verify(&s, CV_VERIFY_LOG);
	assert_true(read_it(&s, "INBOX", 1, &err) > 0);
	store_close(&s);
	store_open(&s);
	set_verify(&s, CV_VERIFY_NO);
	assert_true(read_it(&s, "INBOX", 1, &err) > 0);
	store_deinit(&s);
}

/* Each time that it is read as a whole; one that is read piece by piece once in a process. */
static void it_is_compared_each_time(void **state)
{
	struct cv_err err = { 0 };
	struct cv_buf text;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_set_files_first(&s);
	store_save(&s, "INBOX", MAIL, 0);
	cv_buf_init(&text, SIZE_MAX);
	cv_buf_append_c(&text, MAIL);
	while (text.len < (size_t)300 << 10)
		cv_buf_append_c(&text, "0123456789\r\n");
	store_save(&s, "INBOX", text.data, 0);
	cv_buf_deinit(&text);
	for (uint32_t uid = 1; uid <= 2; uid++) {
		assert_true(parse_it(&s, "INBOX", uid, &err) > 0);
		flip(&s, uid == 1 ? "INBOX/dbox-Mails/u.1" : "INBOX/dbox-Mails/u.2", 'H', 'J');
		assert_int_equal(parse_it(&s, "INBOX", uid, &err), uid == 1 ? -1 : 1);
	}
	store_flags(&s, "INBOX", 1, 2, CV_FLAGS_ADD, CV_FLAG_SEEN, "$Work");
	store_expect(&s, "INBOX", "1 S $Work|2 S $Work");
	store_close(&s);
	store_open(&s);
	store_expect(&s, "INBOX", "1 S $Work|2 S $Work");
	assert_int_equal(parse_it(&s, "INBOX", 1, &err), -1);
	assert_int_equal(parse_it(&s, "INBOX", 2, &err), -1);
	store_deinit(&s);
}

/* What it is remembered by is made of octets that check: not of what has come to its file since it was read first. */
static void nothing_is_remembered_of_octets_that_do_not_check(void **state)
{
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };
	struct cv_view *view;
	struct cv_mail *mail;
	struct cv_str record;
	struct store s;
	uint32_t row;

	store_init(&s, state);
	store_open(&s);
	store_set_files_first(&s); /* nothing else has their octets */
	store_save(&s, "INBOX", MAIL, 0);
	mailbox = store_get(&s, "INBOX");
	for (unsigned opened = 0; opened < 2; opened++) { /* also of octets that are at hand already */
		assert_true(read_it(&s, "INBOX", 1, &err) > 0);
		assert_true(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err) >= 0);
		assert_true(cv_columns_find(mailbox->columns, 1, UINT32_MAX, &row));
		cv_set_cache(mailbox->columns, row, 0);
		flip(&s, "INBOX/dbox-Mails/u.1", 'H', 'J');
		assert_true(cv_mail_open(view, 1, &mail, &err) >= 0);
		if (opened > 0)
			assert_int_equal(cv_mail_octets(mail, &record, &err), -1);
		assert_int_equal(cv_mail_record(mail, &record, &err), -1);
		assert_int_equal(err.code, CV_ERR_CORRUPT);
		assert_true(*cv_col_cache(mailbox->columns, row) == 0);
		cv_mail_close(&mail);
		flip(&s, "INBOX/dbox-Mails/u.1", 'J', 'H');
		assert_true(cv_mail_open(view, 1, &mail, &err) >= 0);
		assert_true(cv_mail_record(mail, &record, &err) > 0);
		cv_mail_close(&mail);
		cv_view_close(&view);
	}
	cv_mailbox_unref(&mailbox);
	store_deinit(&s);
}

static int refuse_writes(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *refused = ctx;

	(void)name;
	if (op != CV_FILE_WRITE)
		return 0;
	*len = 0;
	(*refused)++;
	return ENOSPC;
}

/* On a full disk nothing is remembered, and one try, with its line in the log, is enough for a while. */
static void a_full_disk_is_not_tried_for_each_message(void **state)
{
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };
	struct cv_view *view;
	struct cv_mail *mail;
	struct cv_str record;
	unsigned refused = 0;
	struct store s;
	uint32_t row;

	store_init(&s, state);
	store_open(&s);
	for (unsigned i = 0; i < 3; i++)
		store_save(&s, "INBOX", MAIL, 0);
	assert_true(read_it(&s, "INBOX", 1, &err) > 0);
	mailbox = store_get(&s, "INBOX");
	assert_true(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err) >= 0);
	cv_file_set_fault(refuse_writes, &refused);
	for (uint32_t uid = 1; uid <= 3; uid++) {
		assert_true(cv_columns_find(mailbox->columns, uid, UINT32_MAX, &row));
		cv_set_cache(mailbox->columns, row, 0);
		assert_true(cv_mail_open(view, uid, &mail, &err) >= 0);
		assert_true(cv_mail_record(mail, &record, &err) > 0);
		cv_mail_close(&mail);
	}
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(refused, 1);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	store_deinit(&s);
}

static void copies_have_it_too(void **state)
{
	struct cv_ranges uids = { 0 }, old = { 0 }, new = { 0 };
	struct cv_mailbox *inbox, *sent;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	inbox = store_get(&s, "INBOX");
	sent = store_get(&s, "Sent");
	txn = cv_txn_begin(s.user);
	cv_ranges_add(&uids, 1, 1);
	assert_ok(cv_txn_copy(txn, inbox, &uids, sent, false, &old, &new, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	assert_int_equal(sum_of(&s, "Sent", 1), cv_crc32c(0, MAIL, strlen(MAIL)));
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&sent);
	cv_ranges_free(&uids);
	cv_ranges_free(&old);
	cv_ranges_free(&new);
	store_close(&s);
	store_open(&s);
	assert_int_equal(sum_of(&s, "Sent", 1), cv_crc32c(0, MAIL, strlen(MAIL)));
	store_deinit(&s);
}

/* ---- what older versions wrote ------------------------------------------------------------------------------------- */

static void put(char *p, uint64_t n, unsigned octets)
{
	for (unsigned i = 0; i < octets; i++)
		p[i] = (char)(uint8_t)(n >> (8 * i));
}

static uint64_t get(const char *p, unsigned octets)
{
	uint64_t n = 0;

	for (unsigned i = octets; i > 0; i--)
		n = n << 8 | (uint8_t)p[i - 1];
	return n;
}

#define AT_VERSION 8
#define AT_FILE_LEN 16
#define AT_ROWS 48
#define AT_COLUMNS 117
#define AFTER_COLUMNS (16 + 20 + 20)

/* A snapshot as version 2 had it: without the column of checksums, in its place and among the checks. */
static struct cv_str as_version_2(void **state, struct cv_str octets)
{
	char *file = cv_arena_alloc(*state, octets.len), *after;
	size_t first = AT_COLUMNS + 4 + 12 * (size_t)CV_SNAPSHOT_COLUMNS_OLD;
	uint64_t chunks, at, len;

	memcpy(file, octets.ptr, octets.len);
	chunks = get(file + AT_ROWS, 4) / CV_CHUNK_ROWS + (get(file + AT_ROWS, 4) % CV_CHUNK_ROWS != 0);
	put(file + AT_VERSION, 2, 4);
	put(file + AT_COLUMNS, CV_SNAPSHOT_COLUMNS_OLD, 4);
	memmove(file + first, file + first + 12, AFTER_COLUMNS);
	after = file + first;
	memset(after + AFTER_COLUMNS, 0, 12);
	at = get(after + 36, 8);
	len = get(after + 44, 8) - 4 * chunks;
	memmove(file + at + 4 * CV_SNAPSHOT_COLUMNS_OLD * chunks, file + at + 4 * (CV_SNAPSHOT_COLUMNS_OLD + 1) * chunks,
		(size_t)(len - 4 * CV_SNAPSHOT_COLUMNS_OLD * chunks));
	put(after + 44, len, 8);
	put(after + 52, cv_crc32c(0, file + at, (size_t)len), 4);
	put(file + AT_FILE_LEN, at + len, 8);
	put(file + CV_SNAPSHOT_HEAD - 4, cv_crc32c(0, file, CV_SNAPSHOT_HEAD - 4), 4);
	return cv_str_mem(file, (size_t)(at + len));
}

static void snapshots_of_version_2_are_read(void **state)
{
	struct cv_err err = { 0 };
	const char *before;
	struct disk disk;
	struct store s;
	unsigned changed = 0;

	store_init(&s, state);
	store_open(&s);
	store_set_files_first(&s); /* nothing else has their octets */
	for (unsigned i = 0; i < 20; i++)
		store_save_keyword(&s, "INBOX", MAIL, (uint16_t)(i % 32), i % 3 == 0 ? "$Work" : NULL);
	store_close(&s);
	store_open(&s);
	before = store_dump_all(&s, DUMP_NUMBERS | DUMP_MODSEQS | DUMP_OCTETS);
	store_close(&s);
	disk_read(&s, &disk);
	for (size_t i = 0; i < disk.files.count; i++) {
		if (strncmp(disk.files.data[i].name, "box.", 4) != 0)
			continue;
		disk_put_file(&s, disk.files.data[i].name, as_version_2(state, disk.files.data[i].octets));
		changed++;
	}
	disk_free(&disk);
	assert_true(changed > 0);
	store_open(&s);
	assert_int_equal(sum_of(&s, "INBOX", 3), 0);
	assert_same_dump(store_dump_all(&s, DUMP_NUMBERS | DUMP_MODSEQS | DUMP_OCTETS), before);
	/* Each was read: from now on it has one, also on disk. */
	assert_int_equal(sum_of(&s, "INBOX", 3), cv_crc32c(0, MAIL, strlen(MAIL)));
	store_close(&s);
	assert_int_equal(disk_count(&s, ".damaged-"), 0);
	store_open(&s);
	assert_int_equal(sum_of(&s, "INBOX", 3), cv_crc32c(0, MAIL, strlen(MAIL)));
	flip(&s, "INBOX/dbox-Mails/u.3", 'H', 'J');
	assert_int_equal(read_it(&s, "INBOX", 3, &err), -1);
	store_deinit(&s);
}

/* An entry of a message as version 1 had it ends without a checksum. */
static void records_of_version_1_are_read(void **state)
{
	struct cv_entry entry = { .kind = CV_ENTRY_APPEND, .message = { .uid = 7, .ref = CV_STR("u.7"), .parse = CV_STR("parsed"), .sum = 12345 } };
	struct cv_entry got;
	struct cv_reader reader;
	struct cv_buf buf;

	(void)state;
	cv_buf_init(&buf, 4096);
	cv_entry_put(&buf, &entry);
	reader = cv_reader_init(cv_buf_str(&buf));
	assert_int_equal(cv_entry_next(&reader, &got), 1);
	assert_int_equal(got.message.sum, 12345);
	assert_str_eq(got.message.parse, CV_STR("parsed"));
	cv_buf_truncate(&buf, buf.len - 4);
	put(buf.data + 1, buf.len - 5, 4);
	reader = cv_reader_init(cv_buf_str(&buf));
	assert_int_equal(cv_entry_next(&reader, &got), 1);
	assert_int_equal(got.message.sum, 0);
	assert_str_eq(got.message.parse, CV_STR("parsed"));
	for (unsigned cut = 1; cut < 4; cut++) { /* between the two nothing makes sense */
		cv_buf_clear(&buf);
		cv_entry_put(&buf, &entry);
		cv_buf_truncate(&buf, buf.len - cut);
		put(buf.data + 1, buf.len - 5, 4);
		reader = cv_reader_init(cv_buf_str(&buf));
		assert_int_equal(cv_entry_next(&reader, &got), -1);
	}
	cv_buf_deinit(&buf);
}

/* Another program cuts a long message's file while it is sent: what is not there any more is an error, and not the end of the process. */
static void a_file_may_be_cut_while_it_is_read(void **state)
{
	const size_t line = strlen("0123456789\r\n");
	struct cv_message_reader *reader;
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };
	struct cv_view *view;
	struct cv_mail *mail;
	struct cv_str octets;
	struct cv_buf text;
	struct store s;
	char path[700];
	uint64_t pos = 0;
	int ret;

	store_init(&s, state);
	store_open(&s);
	cv_buf_init(&text, SIZE_MAX);
	cv_buf_append_c(&text, "Subject: long\r\n\r\n");
	while (text.len < (size_t)2 << 20)
		cv_buf_append_c(&text, "0123456789\r\n");
	store_save(&s, "INBOX", text.data, 0);
	mailbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err));
	assert_ok(cv_mail_open(view, 1, &mail, &err));
	assert_ok(cv_mail_reader(mail, &reader, &err));
	assert_int_equal(reader->size, text.len);
	assert_int_equal(cv_message_reader_get(reader, 0, line, &octets, &err), 1);
	(void)snprintf(path, sizeof(path), "%s/mail/mailboxes/INBOX/dbox-Mails/u.1", s.dir);
	assert_int_equal(truncate(path, 1 << 20), 0);
	while ((ret = cv_message_reader_get(reader, pos, SIZE_MAX, &octets, &err)) > 0) {
		assert_memory_equal(octets.ptr, text.data + pos, octets.len);
		pos += octets.len;
	}
	assert_int_equal(ret, -1);
	assert_int_equal(err.code, CV_ERR_CORRUPT);
	assert_true(pos > (1 << 20) - 4096 && pos <= 1 << 20);
	cv_mail_close(&mail);
	/* From now on it is refused beforehand. */
	assert_int_equal(read_it(&s, "INBOX", 1, &err), -1);
	assert_int_equal(err.code, CV_ERR_CORRUPT);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	cv_buf_deinit(&text);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(damage_is_found_when_it_is_read),
		cv_test(a_file_may_be_cut_while_it_is_read),
		cv_test(it_is_compared_each_time),
		cv_test(nothing_is_remembered_of_octets_that_do_not_check),
		cv_test(a_full_disk_is_not_tried_for_each_message),
		cv_test(copies_have_it_too),
		cv_test(snapshots_of_version_2_are_read),
		cv_test(records_of_version_1_are_read),
	};

	return store_tests_run(tests);
}
