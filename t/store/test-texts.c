/* SPDX-License-Identifier: MIT
   Texts that a module makes of parse records and the store keeps: when they are made, and that nothing is told that was not made. */
#include <config.h>

#include "core/store/cache.h"
#include "t/store/store-disk.h"

#include <culver/loop.h>
#include <culver/texts.h>

#include <stdio.h>
#include <string.h>

#define MAIL "Subject: one\r\n\r\nx\r\n"
#define FORMAT 7u

static unsigned calls;

/* "subject" and "<subject> of so many octets"; of a subject that begins with "long" the second is too long, of "none" there are no texts. */
static bool make(struct cv_str octets, struct cv_arena *arena, struct cv_buf *texts)
{
	struct cv_parse_record record;
	struct cv_err err = { 0 };

	(void)arena;
	calls++;
	if (cv_parse_record_open(octets, &record, &err) < 0 || cv_parse_record_field(&record, CV_STR("subject"), &texts[0]) <= 0)
		return false;
	if (cv_str_starts(cv_buf_str(&texts[0]), CV_STR("none")))
		return false;
	cv_buf_printf(&texts[1], "<%.*s> of %llu octets", CV_STR_ARG(cv_buf_str(&texts[0])), (unsigned long long)record.size);
	for (size_t i = 0; cv_str_starts(cv_buf_str(&texts[0]), CV_STR("long")) && i < CV_TEXT_MAX; i++)
		cv_buf_append_char(&texts[1], 'x');
	return true;
}

static const struct cv_text_maker maker = {
	.name = "test", .format = FORMAT, .count = 2, .memos = { CV_MEMO_ENVELOPE, CV_MEMO_BODYSTRUCTURE }, .make = make
}, other = {
	.name = "test", .format = FORMAT + 1, .count = 2, .memos = { CV_MEMO_ENVELOPE, CV_MEMO_BODYSTRUCTURE }, .make = make
}, second = {
	.name = "second", .format = FORMAT, .count = 1, .memos = { CV_MEMO_ENVELOPE }, .make = make
};

static void provide(struct cv_registry *reg, const struct cv_text_maker *provided)
{
	struct cv_err err = { 0 };

	assert_ok(cv_provide_text_maker(reg, provided, &err));
}
static void provide_one(struct cv_registry *reg)
{
	provide(reg, &maker);
}
static void provide_other(struct cv_registry *reg)
{
	provide(reg, &other);
}
static void provide_two(struct cv_registry *reg)
{
	provide(reg, &maker);
	provide(reg, &second);
}

static void begin(struct store *s, void **state)
{
	store_init(s, state);
	s->add_hooks = provide_one;
	store_open(s);
	calls = 0;
}

static void reopen(struct store *s)
{
	store_close(s);
	store_open(s);
}

/* As by a server with these modules. */
static void reopen_with(struct store *s, void (*add_hooks)(struct cv_registry *reg))
{
	store_close(s);
	cv_registry_free(&s->registry);
	s->add_hooks = add_hooks;
	store_open(s);
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

static void get(struct cv_view *view, uint32_t seq, struct cv_str texts_r[2])
{
	static const enum cv_memo memos[] = { CV_MEMO_ENVELOPE, CV_MEMO_BODYSTRUCTURE };

	cv_view_texts(view, seq, memos, 2, texts_r);
}

static void expect(struct cv_view *view, uint32_t seq, const char *first, const char *last)
{
	struct cv_str texts[2];

	get(view, seq, texts);
	assert_true(first == NULL ? texts[0].ptr == NULL : cv_str_eq_c(texts[0], first));
	assert_true(last == NULL ? texts[1].ptr == NULL : cv_str_eq_c(texts[1], last));
}

/* In a view of its own. */
static void expect_one(struct store *s, const char *first, const char *last)
{
	struct cv_view *view = open_view(s);

	expect(view, 1, first, last);
	cv_view_close(&view);
}

/* The octets of the cache file of INBOX, and its name. */
static struct cv_str read_cache(struct store *s, const char **name_r)
{
	struct disk disk = { 0 };
	struct cv_str octets = { 0 };

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

/* Where the entry with the texts of the only message begins, behind that of its record. */
static size_t texts_at(struct cv_str octets)
{
	struct cv_reader reader = cv_reader_init(cv_str_sub(octets, 16 + 4, SIZE_MAX));
	uint32_t len;

	assert_true(cv_take_u32(&reader, &len));
	return 16 + 16 + (size_t)len;
}

static void they_are_made_when_a_record_goes_to_the_cache_file(void **state)
{
	struct cv_view *view;
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	expect_one(&s, NULL, NULL);
	assert_int_equal(calls, 0);
	store_close(&s);
	assert_int_equal(calls, 1);
	store_open(&s);
	view = open_view(&s);
	for (unsigned i = 0; i < 4; i++) {
		expect(view, 1, "one", "<one> of 19 octets");
		assert_int_equal(s.user->memo_octets[CV_MEMO_TEXTS] > 3000, i > 0); /* what is asked for again is kept in memory, */
	}
	cv_user_quiet(s.user);
	assert_int_equal(s.user->memo_octets[CV_MEMO_TEXTS], 0);
	expect(view, 1, "one", "<one> of 19 octets"); /* until the user is quiet */
	assert_int_equal(calls, 1);
	cv_view_close(&view);
	store_deinit(&s);
}

static void one_of_them_can_be_asked_for(void **state)
{
	static const enum cv_memo last[] = { CV_MEMO_BODYSTRUCTURE }, unknown[] = { CV_MEMO_THREAD, CV_MEMO_ENVELOPE };
	struct cv_str texts[2];
	struct cv_view *view;
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	reopen(&s);
	view = open_view(&s);
	for (unsigned i = 0; i < 3; i++) {
		cv_view_texts(view, 1, last, 1, texts);
		assert_str_eq(texts[0], CV_STR("<one> of 19 octets"));
		cv_view_texts(view, 1, unknown, 2, texts);
		assert_null(texts[0].ptr);
		assert_str_eq(texts[1], CV_STR("one"));
	}
	cv_view_close(&view);
	store_deinit(&s);
}

static void long_ones_and_none_are_not_kept(void **state)
{
	struct cv_view *view;
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", "Subject: long\r\n\r\nx\r\n", 0);
	store_save(&s, "INBOX", "Subject: none\r\n\r\nx\r\n", 0);
	store_save(&s, "INBOX", "From: a@b\r\n\r\nx\r\n", 0);
	store_save(&s, "INBOX", "Subject: last\r\n\r\nx\r\n", 0);
	reopen(&s);
	view = open_view(&s);
	expect(view, 1, "long", NULL);
	expect(view, 2, NULL, NULL);
	expect(view, 3, NULL, NULL);
	expect(view, 4, "last", "<last> of 20 octets");
	cv_view_close(&view);
	store_deinit(&s);
}

static void damage_is_no_text(void **state)
{
	const char *name;
	struct cv_str octets;
	struct cv_view *view;
	struct store s;
	size_t from;
	char *bad;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	reopen(&s);
	octets = read_cache(&s, &name);
	from = texts_at(octets);
	assert_true(from + 16 + 12 + 20 < octets.len);
	bad = cv_arena_alloc(*state, octets.len);
	view = open_view(&s);
	for (size_t at = from; at < octets.len; at++) {
		memcpy(bad, octets.ptr, octets.len);
		bad[at] = (char)(bad[at] ^ 1 << at % 8);
		disk_put_file(&s, name, cv_str_mem(bad, octets.len));
		cv_user_quiet(s.user);
		expect(view, 1, NULL, NULL);
		disk_put_file(&s, name, cv_str_sub(octets, 0, at)); /* it ends there */
		cv_user_quiet(s.user);
		expect(view, 1, NULL, NULL);
	}
	disk_put_file(&s, name, octets);
	cv_user_quiet(s.user);
	expect(view, 1, "one", "<one> of 19 octets");
	cv_view_close(&view);
	store_deinit(&s);
}

static void expect_record(struct store *s)
{
	struct cv_view *view = open_view(s);
	struct cv_parse_record parsed;
	struct cv_err err = { 0 };
	struct cv_mail *mail;
	struct cv_str record;

	assert_ok(cv_mail_open(view, 1, &mail, &err));
	assert_ok(cv_mail_record(mail, &record, &err));
	assert_ok(cv_parse_record_open(record, &parsed, &err));
	cv_mail_close(&mail);
	cv_view_close(&view);
}

/* What has the name of the cache file and can't be one is in nobody's way, and it is kept. */
static void what_is_no_cache_file_is_kept(void **state)
{
	static const char kinds[] = "lpdg";
	char name[64];
	const char *found;
	struct disk disk = { 0 };
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	reopen(&s);
	(void)read_cache(&s, &found);
	(void)snprintf(name, sizeof(name), "%s", found);
	for (size_t i = 0; kinds[i] != '\0'; i++) {
		store_close(&s);
		if (kinds[i] == 'g')
			disk_put_file(&s, name, CV_STR("nothing of ours is in this"));
		else
			disk_put_other(&s, name, kinds[i]);
		store_open(&s);
		expect_record(&s);
		store_save(&s, "INBOX", MAIL, 0);
		reopen(&s);
		expect_record(&s);
		disk_read(&s, &disk);
		assert_non_null(disk_find(&disk, name));
		disk_free(&disk);
	}
	assert_int_equal(disk_count(&s, ".damaged-"), 1); /* the plain one of them */
	store_deinit(&s);
}

/* Of a server that does not make them, of one that makes others, and of one that is newer. */
static void others_files_are_read(void **state)
{
	const char *name;
	size_t len;
	struct store s;

	begin(&s, state);
	reopen_with(&s, NULL);
	store_save(&s, "INBOX", MAIL, 0);
	reopen(&s);
	len = read_cache(&s, &name).len;
	reopen_with(&s, provide_one);
	expect_one(&s, NULL, NULL);
	expect_record(&s);
	assert_int_equal(calls, 0);
	assert_int_equal(read_cache(&s, &name).len, len); /* what was written before stays as it is */
	store_deinit(&s);

	store_init(&s, state);
	s.add_hooks = provide_one;
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	reopen_with(&s, provide_other);
	expect_one(&s, NULL, NULL);
	expect_record(&s);
	reopen_with(&s, NULL);
	expect_one(&s, NULL, NULL);
	expect_record(&s);
	reopen_with(&s, provide_one);
	expect_one(&s, "one", "<one> of 19 octets");
	store_deinit(&s);
}

static void rewrite(struct store *s)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_err err = { 0 };
	struct cv_cache_batch batch;
	struct cv_cache *cache;
	struct cv_buf record;

	assert_ok(cv_mailbox_load(inbox, &err));
	cv_buf_init(&record, CV_PARSE_RECORD_MAX);
	assert_ok(cv_cache_rewrite_begin(inbox, &cache, &err));
	cv_cache_batch_init(&batch);
	for (uint32_t row = 0; row < inbox->columns->count; row++)
		assert_int_equal(cv_cache_batch_copy(&batch, inbox, *cv_col_cache(inbox->columns, row), *cv_col_uid(inbox->columns, row), &record, &err), 1);
	assert_ok(cv_cache_rewrite_some(cache, &batch, &err));
	assert_ok(cv_cache_rewrite_end(inbox, &cache, &err));
	for (uint32_t row = 0; row < inbox->columns->count; row++)
		cv_set_cache(inbox->columns, row, batch.added.data[row].where);
	cv_cache_batch_deinit(&batch);
	inbox->dirty++;
	cv_buf_deinit(&record);
	cv_mailbox_unref(&inbox);
}

static void a_file_that_is_written_anew_has_them(void **state)
{
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	reopen(&s);
	assert_int_equal(calls, 1);
	rewrite(&s);
	assert_int_equal(calls, 1); /* as they were */
	expect_one(&s, "one", "<one> of 19 octets");
	reopen_with(&s, provide_other);
	expect_one(&s, NULL, NULL);
	rewrite(&s);
	assert_int_equal(calls, 2);
	expect_one(&s, "one", "<one> of 19 octets");
	store_deinit(&s);
}

static void a_copied_record_takes_them_along(void **state)
{
	struct cv_str octets, texts[CV_TEXTS_MAX];
	struct cv_mailbox *inbox, *to;
	struct cv_err err = { 0 };
	struct cv_buf record;
	uint64_t where;
	struct store s;

	begin(&s, state);
	store_save(&s, "INBOX", MAIL, 0);
	assert_ok(cv_mailbox_create(s.user, CV_STR("to"), 0, &err));
	reopen(&s);
	calls = 0;
	inbox = store_get(&s, "INBOX");
	to = store_get(&s, "to");
	assert_ok(cv_mailbox_load(inbox, &err));
	cv_buf_init(&record, CV_PARSE_RECORD_MAX);
	assert_int_equal(cv_cache_copy(inbox, *cv_col_cache(inbox->columns, 0), 1, to, 9, &record, &where, &err), 1);
	assert_int_equal(calls, 0);
	assert_int_equal(cv_cache_texts(to, where, 9, &octets, &err), 1);
	assert_true(cv_texts_take(s.user, octets, texts));
	assert_str_eq(texts[0], CV_STR("one"));
	assert_int_equal(cv_cache_texts(to, where, 1, &octets, &err), 0);
	cv_buf_deinit(&record);
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&to);
	store_deinit(&s);
}

/* Damage, and texts that check and are not those that are made of the record. */
static void fsck_finds_and_mends_them(void **state)
{
	for (unsigned wrong = 0; wrong < 2; wrong++) {
		struct cv_str octets;
		const char *name;
		struct store s;
		size_t from;
		char *bad;

		begin(&s, state);
		store_save(&s, "INBOX", MAIL, 0);
		reopen(&s);
		assert_int_equal(store_fsck(&s, false), 0);
		octets = read_cache(&s, &name);
		from = texts_at(octets);
		cv_assert(octets.ptr != NULL);
		bad = cv_arena_alloc(*state, octets.len);
		memcpy(bad, octets.ptr, octets.len);
		bad[octets.len - 1] = 'X';
		if (wrong == 1) {
			uint32_t crc = cv_crc32c(0, bad + from + 16, octets.len - from - 16);

			for (unsigned i = 0; i < 4; i++)
				bad[from + 8 + i] = (char)(uint8_t)(crc >> 8 * i);
		}
		disk_put_file(&s, name, cv_str_mem(bad, octets.len));
		cv_user_quiet(s.user);
		assert_int_equal(store_fsck(&s, false), 1);
		assert_int_equal(store_fsck(&s, true), 1);
		expect_one(&s, NULL, NULL);
		expect_record(&s); /* which parses it again */
		expect_one(&s, "one", "<one> of 19 octets");
		assert_int_equal(store_fsck(&s, false), 0);
		store_deinit(&s);
	}
}

/* Many that came together go to the cache file with their files; few wait for a snapshot. */
static void many_new_messages_get_them_with_their_files(void **state)
{
	for (unsigned count = 15; count <= 16; count++) {
		struct cv_view *view;
		struct store s;

		store_init(&s, state);
		s.add_hooks = provide_one;
		s.loop = cv_loop_new(CV_LOOP_FAKE);
		store_open(&s);
		calls = 0;
		for (unsigned i = 0; i < count; i++)
			store_save(&s, "INBOX", MAIL, 0);
		assert_int_equal(calls, 0);
		for (unsigned i = 0; i < 200 && s.user->owed.count > 0; i++) {
			store_turn(&s, 100);
		}
		assert_int_equal(s.user->owed.count, 0);
		assert_int_equal(calls, count == 16 ? 16 : 0);
		view = open_view(&s);
		expect(view, count, count == 16 ? "one" : NULL, count == 16 ? "<one> of 19 octets" : NULL);
		cv_view_close(&view);
		store_deinit(&s);
	}
}

static void one_module_makes_them(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	s.add_hooks = provide_two;
	assert_int_equal(store_try_open(&s, &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(they_are_made_when_a_record_goes_to_the_cache_file),
		cv_test(what_is_no_cache_file_is_kept),
		cv_test(one_of_them_can_be_asked_for),
		cv_test(long_ones_and_none_are_not_kept),
		cv_test(damage_is_no_text),
		cv_test(others_files_are_read),
		cv_test(a_file_that_is_written_anew_has_them),
		cv_test(a_copied_record_takes_them_along),
		cv_test(fsck_finds_and_mends_them),
		cv_test(many_new_messages_get_them_with_their_files),
		cv_test(one_module_makes_them),
	};

	return store_tests_run(tests);
}
