/* SPDX-License-Identifier: MIT
   Views that are saved and restored, beside ones that stay; and octets that are no such view. */
#include <config.h>

#include "t/store/store-helper.h"

#include <string.h>

#define MAIL "Subject: one\r\n\r\nHello\r\n"

static struct cv_str save_view(struct store *s, const struct cv_view *view)
{
	struct cv_buf out;

	cv_buf_init(&out, 65536);
	cv_view_save(view, &out);
	assert_true(cv_buf_ok(&out));
	struct cv_str saved = cv_arena_str(*s->state, cv_buf_str(&out));
	cv_buf_deinit(&out);
	return saved;
}

static int restore(struct store *s, struct cv_str saved, struct cv_view **view_r)
{
	struct cv_reader in = cv_reader_init(saved);
	struct cv_err err = { 0 };
	int result = cv_view_restore(s->user, &in, view_r, &err);

	assert_true(result <= 0 || cv_reader_end(&in));
	return result;
}

static struct cv_view *open_view(struct store *s)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_err err = { 0 };
	struct cv_view *view;

	assert_ok(cv_view_open(inbox, 0, &view, &err));
	cv_mailbox_unref(&inbox);
	return view;
}

static void change_all(struct store *s)
{
	store_flags(s, "INBOX", 2, 2, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	store_expunge(s, "INBOX", 4, 5);
	store_flags(s, "INBOX", 9, 9, CV_FLAGS_ADD, 0, "$New");
	(void)store_save(s, "INBOX", MAIL, CV_FLAG_FLAGGED);
	store_expunge(s, "INBOX", 1, 1);
	(void)store_save(s, "INBOX", MAIL, 0);
}

static void fill(struct store *s)
{
	for (unsigned i = 0; i < 10; i++)
		(void)store_save(s, "INBOX", MAIL, 0);
	store_expunge(s, "INBOX", 6, 6);
}

static void one_that_was_saved_is_told_the_same_as_one_that_stayed(void **state)
{
	struct cv_view *stays, *slept, *reader;
	struct store s;

	for (unsigned expunges = 0; expunges < 2; expunges++) {
		store_init(&s, state);
		store_open(&s);
		fill(&s);
		slept = open_view(&s);
		struct cv_str saved = save_view(&s, slept);
		uint32_t recent = cv_view_recent(slept);
		cv_view_close(&slept);
		reader = open_view(&s);
		stays = open_view(&s);
		change_all(&s);
		assert_int_equal(restore(&s, saved, &slept), 1);
		assert_int_equal(cv_view_recent(slept), recent);
		assert_true(cv_view_pending(slept));
		assert_string_equal(store_sync(&s, slept, expunges != 0, 0), store_sync(&s, stays, expunges != 0, 0));
		assert_int_equal(cv_view_highest_modseq(slept), cv_view_highest_modseq(stays));
		assert_int_equal(cv_view_count(slept), cv_view_count(stays));
		assert_string_equal(store_sync(&s, slept, true, 0), store_sync(&s, stays, true, 0));
		assert_false(cv_view_pending(slept));
		cv_view_close(&slept);
		cv_view_close(&stays);
		cv_view_close(&reader);
		store_deinit(&s);
	}
}

static void the_process_may_end_meanwhile(void **state)
{
	struct cv_view *view;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	fill(&s);
	view = open_view(&s);
	struct cv_str saved = save_view(&s, view);
	cv_view_close(&view);
	store_close(&s);
	store_open(&s);
	assert_int_equal(restore(&s, saved, &view), 1);
	assert_false(cv_view_pending(view));
	assert_string_equal(store_sync(&s, view, true, 0), "");
	cv_view_close(&view);
	change_all(&s);
	store_close(&s);
	store_open(&s);
	assert_int_equal(restore(&s, saved, &view), 1);
	assert_string_equal(store_sync(&s, view, true, 0),
		"expunge 1 uid 1; expunge 3 uid 4; expunge 3 uid 5; exists 8; keywords; flags 1 uid 2; flags 5 uid 9");
	cv_view_close(&view);
	store_deinit(&s);
}

static void a_mailbox_that_is_gone_is_told(void **state)
{
	struct cv_view *view;
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_mailbox_create(s.user, CV_STR("Box"), 0, &err));
	(void)store_save(&s, "Box", MAIL, 0);
	struct cv_mailbox *box = store_get(&s, "Box");
	assert_ok(cv_view_open(box, CV_VIEW_READONLY, &view, &err));
	cv_mailbox_unref(&box);
	struct cv_str saved = save_view(&s, view);
	cv_view_close(&view);
	assert_int_equal(restore(&s, saved, &view), 1);
	assert_true(cv_view_readonly(view));
	cv_view_close(&view);
	assert_ok(cv_mailbox_delete(s.user, CV_STR("Box"), &err));
	assert_int_equal(restore(&s, saved, &view), 0);
	assert_null(view);
	store_deinit(&s);
}

/* Every octet changed, and every end cut off: refused, or a view that can be used. */
static void other_octets_do_no_harm(void **state)
{
	struct cv_view *view;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	fill(&s);
	view = open_view(&s);
	struct cv_str saved = save_view(&s, view);
	cv_view_close(&view);
	char *octets = cv_arena_alloc(*state, saved.len);
	for (size_t len = 0; len < saved.len; len++)
		assert_true(restore(&s, cv_str_sub(saved, 0, len), &view) < 0);
	for (size_t at = 0; at < saved.len; at++) {
		for (unsigned bit = 1; bit < 256; bit <<= 1) {
			struct cv_reader in;
			struct cv_err err = { 0 };

			memcpy(octets, saved.ptr, saved.len);
			octets[at] = (char)((unsigned char)octets[at] ^ bit);
			in = cv_reader_init(cv_str_mem(octets, saved.len));
			if (cv_view_restore(s.user, &in, &view, &err) <= 0)
				continue;
			(void)store_sync(&s, view, true, 0);
			cv_view_close(&view);
		}
	}
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(one_that_was_saved_is_told_the_same_as_one_that_stayed),
		cv_test(the_process_may_end_meanwhile),
		cv_test(a_mailbox_that_is_gone_is_told),
		cv_test(other_octets_do_no_harm),
	};

	return store_tests_run(tests);
}
