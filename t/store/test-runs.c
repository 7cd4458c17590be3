/* SPDX-License-Identifier: MIT
   Texts of many messages stand in runs apart from their records: what is read of the file, in any order, and with damage. */
#include <config.h>

#include "core/store/cache.h"
#include "t/store/store-disk.h"

#include <culver/texts.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD 16u
#define TEXT_LONG 4000u

static const char *word; /* before what is made of a subject */
static unsigned calls;

/* The subject behind the word; where it begins with "long" so many x behind that. */
static bool make(struct cv_str octets, struct cv_arena *arena, struct cv_buf *texts)
{
	struct cv_parse_record record;
	struct cv_err err = { 0 };
	struct cv_buf subject;

	(void)arena;
	calls++;
	cv_buf_init(&subject, 100);
	if (cv_parse_record_open(octets, &record, &err) < 0 || cv_parse_record_field(&record, CV_STR("subject"), &subject) <= 0) {
		cv_buf_deinit(&subject);
		return false;
	}
	cv_buf_append_c(&texts[0], word);
	cv_buf_append(&texts[0], cv_buf_str(&subject));
	while (cv_str_starts(cv_buf_str(&subject), CV_STR("long")) && texts[0].len < TEXT_LONG)
		cv_buf_append_char(&texts[0], 'x');
	cv_buf_deinit(&subject);
	return true;
}

static const struct cv_text_maker maker = { .name = "test", .format = 3, .count = 1, .memos = { CV_MEMO_ENVELOPE }, .make = make };

static void provide(struct cv_registry *reg)
{
	struct cv_err err = { 0 };

	assert_ok(cv_provide_text_maker(reg, &maker, &err));
}

static void reopen(struct store *s)
{
	store_close(s);
	store_open(s);
}

/* A mailbox with so many messages, whose records went to the cache file together. */
static void begin(struct store *s, void **state, const char *subject, unsigned count)
{
	store_init(s, state);
	s->add_hooks = provide;
	store_open(s);
	word = "";
	for (unsigned i = 1; i <= count; i++) {
		char mail[100];

		(void)snprintf(mail, sizeof(mail), "Subject: %s%u\r\n\r\nx\r\n", subject, i);
		store_save(s, "INBOX", mail, 0);
	}
	reopen(s);
	calls = 0;
}

static struct cv_view *open_view(struct store *s)
{
	struct cv_mailbox *mailbox = store_get(s, "INBOX");
	struct cv_err err = { 0 };
	struct cv_view *view;

	assert_ok(cv_view_open(mailbox, 0, &view, &err));
	cv_mailbox_unref(&mailbox);
	return view;
}

static struct cv_str text_of(struct cv_view *view, uint32_t seq)
{
	static const enum cv_memo memo[] = { CV_MEMO_ENVELOPE };
	struct cv_str text;

	cv_view_texts(view, seq, memo, 1, &text);
	return text;
}

static void expect(struct cv_view *view, uint32_t seq, const char *subject, uint32_t uid)
{
	char want[100];
	struct cv_str text = text_of(view, seq);

	(void)snprintf(want, sizeof(want), "%s%u", subject, uid);
	assert_non_null(text.ptr);
	if (text.len == TEXT_LONG)
		assert_true(cv_str_starts(text, cv_str_c(want)) && text.ptr[strlen(want)] == 'x');
	else
		assert_str_eq(text, cv_str_c(want));
}

/* The octets of the cache file of INBOX, and its name. */
static struct cv_str read_cache(struct store *s, const char **name_r)
{
	struct cv_str octets = { 0 };
	struct disk disk = { 0 };

	disk_read(s, &disk);
	for (size_t i = 0; i < disk.files.count; i++) {
		if (strncmp(disk.files.data[i].name, "cache.", 6) == 0) {
			assert_null(octets.ptr);
			*name_r = disk.files.data[i].name;
			octets = disk.files.data[i].octets;
		}
	}
	disk_free(&disk);
	assert_non_null(octets.ptr);
	return octets;
}

static bool has_run(struct store *s)
{
	const char *name;

	return cv_str_starts(cv_str_sub(read_cache(s, &name), HEAD, SIZE_MAX), CV_STR("CVcr"));
}

struct reads {
	unsigned count;
	size_t octets;
};

static int count_reads(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct reads *reads = ctx;

	(void)name;
	if (op == CV_FILE_READ) {
		reads->count++;
		reads->octets += *len;
	}
	return 0;
}

static void few_stand_behind_their_records(void **state)
{
	for (unsigned count = 3; count <= 4; count++) {
		struct cv_view *view;
		struct store s;

		begin(&s, state, "s", count);
		assert_int_equal(has_run(&s), count == 4);
		view = open_view(&s);
		for (uint32_t seq = 1; seq <= count; seq++)
			expect(view, seq, "s", seq);
		cv_view_close(&view);
		store_deinit(&s);
	}
}

/* More than a run of them: reading texts in their order reads them and not much more. */
static void a_list_reads_no_records(void **state)
{
	struct reads reads = { 0 };
	struct cv_view *view;
	const char *name;
	struct store s;
	const unsigned count = 300;

	begin(&s, state, "long", count);
	assert_true(has_run(&s));
	assert_in_range(read_cache(&s, &name).len, (size_t)count * TEXT_LONG, (size_t)count * (TEXT_LONG + 1000));
	view = open_view(&s);
	expect(view, count, "long", count); /* columns are there now */
	cv_user_quiet(s.user);
	cv_file_set_fault(count_reads, &reads);
	for (uint32_t seq = 1; seq <= count; seq++)
		expect(view, seq, "long", seq);
	cv_file_set_fault(NULL, NULL);
	assert_in_range(reads.octets, (size_t)count * TEXT_LONG, (size_t)count * TEXT_LONG + 6 * CV_WINDOW_AHEAD);
	assert_in_range(reads.count, 1, (size_t)count * TEXT_LONG / CV_WINDOW_AHEAD + 20);
	assert_int_equal(calls, 0);
	cv_view_close(&view);
	store_deinit(&s);
}

/* One anywhere: a piece with the record, and one with the text. */
static void one_alone_reads_little(void **state)
{
	struct cv_view *view;
	struct store s;

	begin(&s, state, "long", 100);
	view = open_view(&s);
	expect(view, 1, "long", 1);
	for (uint32_t seq = 20; seq < 100; seq += 20) {
		struct reads reads = { 0 };

		if (seq == 40)
			cv_user_quiet(s.user);
		cv_file_set_fault(count_reads, &reads);
		expect(view, seq, "long", seq);
		cv_file_set_fault(NULL, NULL);
		assert_in_range(reads.octets, 1, (size_t)20 << 10);
	}
	cv_view_close(&view);
	store_deinit(&s);
}

static void any_order_gives_the_same(void **state)
{
	struct cv_view *view;
	uint64_t seed = 20261129;
	struct store s;

	begin(&s, state, "s", 200);
	assert_true(has_run(&s));
	view = open_view(&s);
	for (unsigned turn = 0; turn < 3; turn++) {
		for (uint32_t seq = 200; seq > 0; seq--)
			expect(view, seq, "s", seq);
		cv_user_quiet(s.user);
		for (unsigned i = 0; i < 500; i++) {
			uint32_t seq = 1 + next_random(&seed, 200);

			expect(view, seq, "s", seq);
			cv_memos_free(&view->mailbox->columns->memos); /* from the file again */
		}
		for (uint32_t seq = 1; seq <= 200; seq += 1 + next_random(&seed, 40))
			expect(view, seq, "s", seq);
	}
	assert_int_equal(calls, 0);
	cv_view_close(&view);
	store_expunge(&s, "INBOX", 3, 20);
	store_expunge(&s, "INBOX", 30, 60);
	for (uint32_t uid = 100; uid < 140; uid += 3)
		store_expunge(&s, "INBOX", uid, uid);
	reopen(&s);
	view = open_view(&s);
	for (uint32_t seq = 1, uid = 1; uid <= 200; uid++) {
		if ((uid >= 3 && uid <= 20) || (uid >= 30 && uid <= 60) || (uid >= 100 && uid < 140 && (uid - 100) % 3 == 0))
			continue;
		expect(view, seq++, "s", uid);
	}
	assert_int_equal(calls, 0);
	cv_view_close(&view);
	store_deinit(&s);
}

static struct cv_str record_of(struct cv_view *view, uint32_t seq, struct cv_mail **mail_r)
{
	struct cv_err err = { 0 };
	struct cv_str record;

	assert_ok(cv_mail_open(view, seq, mail_r, &err));
	assert_ok(cv_mail_record(*mail_r, &record, &err));
	return record;
}

/* A record that is not the one a run was written with has its own texts. */
static void a_run_is_of_its_records(void **state)
{
	struct cv_mail *mail;
	struct cv_view *view;
	struct store s;
	uint32_t row;

	begin(&s, state, "s", 6);
	view = open_view(&s);
	assert_true(cv_view_find_row(view, 3, &row));
	cv_set_cache(view->mailbox->columns, row, 0);
	word = "new ";
	(void)record_of(view, 3, &mail);
	cv_mail_close(&mail);
	assert_int_equal(calls, 1);
	for (unsigned turn = 0; turn < 2; turn++) {
		for (uint32_t seq = 1; seq <= 6; seq++)
			expect(view, seq, seq == 3 ? "new s" : "s", seq);
		cv_memos_free(&view->mailbox->columns->memos);
	}
	cv_view_close(&view);
	reopen(&s);
	view = open_view(&s);
	expect(view, 3, "new s", 3);
	expect(view, 4, "s", 4);
	cv_view_close(&view);
	store_deinit(&s);
}

/* Is at within the head of a pointer? There need not be any, so that one whose head is damaged may be none. */
static bool in_pointer_head(struct cv_str octets, size_t at)
{
	for (size_t i = at < HEAD ? 0 : at - HEAD + 1; i <= at; i++) {
		if (cv_str_starts(cv_str_sub(octets, i, SIZE_MAX), CV_STR("CVcp")))
			return true;
	}
	return false;
}

/* No octet can be changed so that another text is told, and fsck finds it. */
static void damage_is_no_text(void **state)
{
	struct cv_view *view;
	struct cv_str octets;
	const char *name;
	struct store s;
	char *bad;

	begin(&s, state, "s", 5);
	assert_true(has_run(&s));
	octets = read_cache(&s, &name);
	bad = cv_arena_alloc(*state, octets.len);
	view = open_view(&s);
	for (size_t at = HEAD; at < octets.len; at++) {
		unsigned told = 0;

		memcpy(bad, octets.ptr, octets.len);
		bad[at] = (char)(bad[at] ^ 1 << at % 8);
		disk_put_file(&s, name, cv_str_mem(bad, octets.len));
		cv_user_quiet(s.user);
		for (uint32_t seq = 1; seq <= 5; seq++) {
			char want[20];
			struct cv_str text = text_of(view, seq);

			(void)snprintf(want, sizeof(want), "s%u", seq);
			assert_true(text.ptr == NULL || cv_str_eq_c(text, want));
			told += text.ptr != NULL;
		}
		assert_in_range(told, 4, 5);
		assert_in_range(store_fsck(&s, false), in_pointer_head(octets, at) ? 0 : 1, 1);
	}
	disk_put_file(&s, name, cv_str_sub(octets, 0, octets.len / 2));
	cv_user_quiet(s.user);
	for (uint32_t seq = 1; seq <= 5; seq++)
		(void)text_of(view, seq);
	disk_put_file(&s, name, octets);
	cv_user_quiet(s.user);
	assert_int_equal(store_fsck(&s, false), 0);
	for (uint32_t seq = 1; seq <= 5; seq++)
		expect(view, seq, "s", seq);
	cv_view_close(&view);
	store_deinit(&s);
}

static void fsck_mends_them(void **state)
{
	struct cv_mail *mail;
	struct cv_view *view;
	struct cv_str octets;
	const char *name;
	struct store s;
	char *bad;

	begin(&s, state, "s", 5);
	octets = read_cache(&s, &name);
	bad = cv_arena_alloc(*state, octets.len);
	memcpy(bad, octets.ptr, octets.len);
	bad[HEAD + HEAD + 6] ^= 1; /* of the first one's texts */
	disk_put_file(&s, name, cv_str_mem(bad, octets.len));
	cv_user_quiet(s.user);
	assert_int_equal(store_fsck(&s, true), 1);
	view = open_view(&s);
	assert_null(text_of(view, 1).ptr);
	(void)record_of(view, 1, &mail); /* which parses it again */
	cv_mail_close(&mail);
	for (uint32_t seq = 1; seq <= 5; seq++)
		expect(view, seq, "s", seq);
	cv_view_close(&view);
	assert_int_equal(store_fsck(&s, false), 0);
	store_deinit(&s);
}

static int no_room(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *writes = ctx;

	(void)name;
	if (op != CV_FILE_WRITE || (*writes)-- > 0)
		return 0;
	*len /= 2; /* some of it is written */
	*writes = 0;
	return ENOSPC;
}

/* What a write that failed has left is not taken for what is written there later. */
static void a_write_that_fails_leaves_nothing(void **state)
{
	for (unsigned writes = 0; writes < 2; writes++) {
		struct cv_mailbox *inbox;
		struct cv_err err = { 0 };
		struct cv_view *view;
		unsigned left = writes;
		struct cv_cache_batch batch;
		struct cv_mail *mail;
		struct store s;

		begin(&s, state, "s", 5);
		view = open_view(&s);
		inbox = view->mailbox;
		cv_cache_batch_init(&batch);
		for (unsigned turn = 0; turn < 2; turn++) {
			for (uint32_t seq = 1; seq <= 5; seq++) {
				struct cv_str record = record_of(view, seq, &mail);

				word = turn == 0 ? "bad " : "";
				cv_cache_batch_add(&batch, s.user, seq, record);
				cv_mail_close(&mail);
			}
			if (turn == 0) {
				cv_file_set_fault(no_room, &left);
				assert_int_equal(cv_cache_batch_write(&batch, inbox, &err), -1);
				cv_file_set_fault(NULL, NULL);
				assert_int_equal(batch.added.count, 0);
				continue;
			}
			for (uint32_t seq = 1; seq <= 5; seq++)
				cv_set_cache(inbox->columns, seq - 1, cv_cache_in_journal((struct cv_journal_pos){ 1, 100 }));
			assert_ok(cv_cache_batch_write(&batch, inbox, &err));
		}
		for (uint32_t seq = 1; seq <= 5; seq++)
			expect(view, seq, "s", seq);
		cv_cache_batch_deinit(&batch);
		cv_view_close(&view);
		assert_int_equal(store_fsck(&s, false), 0);
		store_deinit(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(few_stand_behind_their_records),
		cv_test(a_list_reads_no_records),
		cv_test(one_alone_reads_little),
		cv_test(any_order_gives_the_same),
		cv_test(a_run_is_of_its_records),
		cv_test(damage_is_no_text),
		cv_test(fsck_mends_them),
		cv_test(a_write_that_fails_leaves_nothing),
	};

	return store_tests_run(tests);
}
