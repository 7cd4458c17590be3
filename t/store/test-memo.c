/* SPDX-License-Identifier: MIT
   What is kept of messages' headers between commands: right, bounded, and gone when it has to be. */
#include <config.h>

#include "core/store/order.h"
#include "core/store/store-private.h"
#include "t/store/store-helper.h"

#include <culver/mailsearch.h>

#include <stdio.h>
#include <string.h>

/* UIDs of the messages that a key finds in the whole view. */
static void expect_key(struct cv_view *view, struct cv_mailsearch_key *key, const char *want)
{
	struct cv_mailsearch *search;
	struct cv_err err = { 0 };
	struct cv_buf got;

	assert_int_equal(cv_mailsearch_new(view, key, &search, &err), 0);
	while (!cv_mailsearch_step(search, 1000)) {
	}
	assert_int_equal(cv_mailsearch_failed(search, &err), 0);
	cv_buf_init(&got, 1000);
	for (size_t i = 0; i < cv_mailsearch_found(search)->count; i++)
		for (uint32_t seq = cv_mailsearch_found(search)->data[i].first; seq <= cv_mailsearch_found(search)->data[i].last; seq++)
			cv_buf_printf(&got, "%s%u", got.len > 0 ? " " : "", cv_view_uid(view, seq));
	assert_str_eq(cv_buf_str(&got), cv_str_c(want));
	cv_buf_deinit(&got);
	cv_mailsearch_free(&search);
}

/* With a header field that has a text. */
static void expect_found(struct cv_view *view, const char *field, const char *text, const char *want)
{
	struct cv_arena *arena = cv_arena_new("test", NULL, 0);
	struct cv_mailsearch_key *key = cv_mailsearch_key_new(arena, CV_MAILSEARCH_HEADER);

	key->name = cv_str_c(field);
	key->text = cv_str_c(text);
	expect_key(view, key, want);
	cv_arena_free(&arena);
}

/* By the day that they say they were sent. */
static void expect_sent(struct cv_view *view, enum cv_mailsearch_kind kind, int64_t day, const char *want)
{
	struct cv_arena *arena = cv_arena_new("test", NULL, 0);
	struct cv_mailsearch_key *key = cv_mailsearch_key_new(arena, kind);

	key->day = day;
	expect_key(view, key, want);
	cv_arena_free(&arena);
}

static struct cv_view *open_view(struct store *s, const char *name)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_err err = { 0 };
	struct cv_view *view;

	assert_ok(cv_view_open(mailbox, 0, &view, &err));
	cv_mailbox_unref(&mailbox);
	return view;
}

/* A store with so many messages in INBOX, one like the other. */
static struct cv_view *init_equal(struct store *s, void **state, unsigned count)
{
	store_init(s, state);
	store_open(s);
	for (unsigned i = 0; i < count; i++)
		store_save(s, "INBOX", "Subject: a\r\n\r\nx\r\n", 0);
	return open_view(s, "INBOX");
}

/* Whatever was asked before: texts, whether there is such a field, fields that no record keeps, fields that come twice or do not convert. */
static void a_search_finds_the_same_again(void **state)
{
	static const char *const mails[] = {
		"Message-ID: <One@x>\r\nDate: Thu, 1 Jan 1970 00:30:00 +1400\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: Anna (at work) <anna@x>\r\n\r\nx\r\n",
		"From: bert@y\r\nX-Own: one\r\n\r\nx\r\n",
		"Date: no date\r\nSubject:\r\nTo: anna@x\r\nCc: bert@y\r\n\r\nx\r\n",
		"Date: Wed, 31 Dec 1969 23:30:00 -0500\r\nSubject: one\r\nSubject: two\r\n\r\nx\r\n",
		"Subject: =?x-none?q?odd=FF?= one\r\n\r\nx\r\n",
	};
	struct cv_view *view;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (size_t i = 0; i < CV_COUNT_OF(mails); i++)
		store_save(&s, "INBOX", mails[i], 0);
	view = open_view(&s, "INBOX");
	for (int i = 0; i < 3; i++) {
		expect_found(view, "Subject", "gr\xc3\xbc", "1");
		expect_found(view, "subject", "", "1 3 4 5");
		expect_found(view, "Subject", "two", "4");
		expect_found(view, "Subject", "ONE", "4 5");
		expect_found(view, "From", "anna@x", "1");
		expect_found(view, "From", "", "1 2");
		expect_found(view, "To", "ANNA", "3");
		expect_found(view, "Cc", "bert", "3");
		expect_found(view, "X-Own", "one", "2");
		expect_found(view, "Message-ID", "<one@X>", "1");
		expect_found(view, "Message-ID", "", "1");
		expect_sent(view, CV_MAILSEARCH_SENTON, 0, "1");
		expect_sent(view, CV_MAILSEARCH_SENTSINCE, -1, "1 4");
		expect_sent(view, CV_MAILSEARCH_SENTBEFORE, 0, "4");
	}
	assert_true(s.user->memo_octets[CV_MEMO_KEYS] > 0);
	cv_view_close(&view);
	store_deinit(&s);
}

static void what_is_kept_goes_with_its_message_and_when_the_user_is_quiet(void **state)
{
	struct cv_view *view;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (unsigned i = 1; i <= 6; i++) {
		char mail[60];

		(void)snprintf(mail, sizeof(mail), "Subject: number %u\r\n\r\nx\r\n", i);
		store_save(&s, "INBOX", mail, 0);
	}
	view = open_view(&s, "INBOX");
	expect_found(view, "Subject", "number", "1 2 3 4 5 6");
	store_expunge(&s, "INBOX", 2, 3);
	(void)store_sync(&s, view, true, 0);
	store_save(&s, "INBOX", "Subject: number 7\r\n\r\nx\r\n", 0);
	(void)store_sync(&s, view, true, 0);
	expect_found(view, "Subject", "number 2", "");
	expect_found(view, "Subject", "number 4", "4");
	expect_found(view, "Subject", "number 7", "7");
	assert_true(s.user->memo_octets[CV_MEMO_KEYS] > 0);
	cv_user_quiet(s.user);
	assert_int_equal(s.user->memo_octets[CV_MEMO_KEYS], 0);
	expect_found(view, "Subject", "number 7", "7");
	cv_view_close(&view);
	store_deinit(&s);
}

/* Of a large mailbox only what is kept takes memory, not all the messages there are. */
static void what_is_kept_of_few_messages_is_small(void **state)
{
	enum { MESSAGES = 1100 };
	struct cv_view *view;
	struct cv_str got;
	struct store s;

	view = init_equal(&s, state, MESSAGES);
	cv_view_memo_keep(view, MESSAGES, CV_MEMO_SORT_SUBJECT, CV_STR("last"));
	assert_true(s.user->memo_octets[CV_MEMO_KEYS] < (size_t)MESSAGES * sizeof(uint32_t));
	assert_false(cv_view_memo(view, 1, CV_MEMO_SORT_SUBJECT, &got));
	cv_view_memo_keep(view, 1, CV_MEMO_SORT_SUBJECT, CV_STR("first"));
	cv_view_memo_keep(view, 600, CV_MEMO_SORT_SUBJECT, CV_STR("between"));
	assert_true(cv_view_memo(view, 1, CV_MEMO_SORT_SUBJECT, &got) && cv_str_eq(got, CV_STR("first")));
	assert_true(cv_view_memo(view, 600, CV_MEMO_SORT_SUBJECT, &got) && cv_str_eq(got, CV_STR("between")));
	assert_true(cv_view_memo(view, MESSAGES, CV_MEMO_SORT_SUBJECT, &got) && cv_str_eq(got, CV_STR("last")));
	assert_false(cv_view_memo(view, 2, CV_MEMO_SORT_SUBJECT, &got));
	cv_view_close(&view);
	store_deinit(&s);
}

static void what_is_kept_is_bounded(void **state)
{
	char text[CV_MEMO_MAX + 1];
	struct cv_view *view;
	struct cv_str got;
	size_t others;
	struct store s;

	view = init_equal(&s, state, 1);
	memset(text, 'x', sizeof(text));
	assert_false(cv_view_memo(view, 1, CV_MEMO_THREAD, &got));
	cv_view_memo_keep(view, 1, CV_MEMO_THREAD, cv_str_mem(text, CV_MEMO_MAX + 1));
	assert_false(cv_view_memo(view, 1, CV_MEMO_THREAD, &got));
	cv_view_memo_keep(view, 1, CV_MEMO_THREAD, cv_str_mem(text, CV_MEMO_MAX));
	assert_true(cv_view_memo(view, 1, CV_MEMO_THREAD, &got));
	assert_str_eq(got, cv_str_mem(text, CV_MEMO_MAX));
	assert_false(cv_view_memo(view, 1, CV_MEMO_SENT, &got));
	cv_view_memo_keep(view, 1, CV_MEMO_SENT, CV_STR(""));
	assert_true(cv_view_memo(view, 1, CV_MEMO_SENT, &got));
	assert_int_equal(got.len, 0);
	/* Nothing more is taken when the user's share is used up; texts have their own. */
	others = ((size_t)32 << 20) - s.user->memo_octets[CV_MEMO_KEYS] - 3000;
	s.user->memo_octets[CV_MEMO_KEYS] += others;
	cv_view_memo_keep(view, 1, CV_MEMO_FIND_TO, cv_str_mem(text, 1000));
	assert_false(cv_view_memo(view, 1, CV_MEMO_FIND_TO, &got));
	cv_view_memo_keep(view, 1, CV_MEMO_ENVELOPE, cv_str_mem(text, 1000));
	assert_true(cv_view_memo(view, 1, CV_MEMO_ENVELOPE, &got));
	s.user->memo_octets[CV_MEMO_KEYS] -= others;
	others = ((size_t)8 << 20) - s.user->memo_octets[CV_MEMO_TEXTS] - 3000;
	s.user->memo_octets[CV_MEMO_TEXTS] += others;
	cv_view_memo_keep(view, 1, CV_MEMO_BODYSTRUCTURE, cv_str_mem(text, 1000));
	assert_false(cv_view_memo(view, 1, CV_MEMO_BODYSTRUCTURE, &got));
	cv_view_memo_keep(view, 1, CV_MEMO_SORT_TO, cv_str_mem(text, 1000));
	assert_true(cv_view_memo(view, 1, CV_MEMO_SORT_TO, &got));
	s.user->memo_octets[CV_MEMO_TEXTS] -= others;
	cv_user_quiet(s.user);
	assert_int_equal(s.user->memo_octets[CV_MEMO_KEYS], 0);
	assert_int_equal(s.user->memo_octets[CV_MEMO_TEXTS], 0);
	cv_view_close(&view);
	store_deinit(&s);
}

/* An order of the messages first to last, from the last on. False: it is not kept. */
static bool keep_order(struct cv_view *view, const char *name, uint32_t first, uint32_t last)
{
	struct cv_order *order = cv_order_new(view, cv_str_c(name), last - first + 1, cv_str_c(name));

	if (order == NULL)
		return false;
	for (uint32_t seq = last; seq >= first; seq--)
		cv_order_add(order, view, seq);
	cv_order_keep(order);
	cv_order_unref(&order);
	return true;
}

/* -1: expunged, 0: none, else the place and one. */
static int place_of(const struct cv_order *order, const struct cv_view *view, uint32_t seq)
{
	uint32_t place;
	int placed = cv_order_place(order, view, seq, &place);

	return placed > 0 ? (int)place + 1 : placed;
}

static void an_order_is_right_whatever_becomes_of_its_messages(void **state)
{
	struct cv_order *order, *unfinished;
	struct cv_view *view;
	struct store s;

	view = init_equal(&s, state, 4);
	assert_null(cv_order_get(view, CV_STR("one")));
	assert_false(keep_order(view, "one", 1, 1)); /* too few */
	assert_true(keep_order(view, "one", 2, 4));
	assert_null(cv_order_get(view, CV_STR("two")));
	order = cv_order_get(view, CV_STR("one"));
	assert_int_equal(cv_order_count(order), 3);
	assert_str_eq(cv_order_text(order), CV_STR("one"));
	assert_int_equal(place_of(order, view, 1), 0);
	assert_int_equal(place_of(order, view, 2), 3);
	assert_int_equal(place_of(order, view, 4), 1);
	/* expunged, seen by the view or not yet; and new ones */
	store_expunge(&s, "INBOX", 3, 3);
	assert_int_equal(place_of(order, view, 3), -1);
	store_save(&s, "INBOX", "Subject: b\r\n\r\nx\r\n", 0);
	(void)store_sync(&s, view, true, 0);
	assert_int_equal(place_of(order, view, 2), 3);
	assert_int_equal(place_of(order, view, 3), 1);
	assert_int_equal(place_of(order, view, 4), 0);
	/* one that is given up while somebody has it */
	cv_user_quiet(s.user);
	assert_int_equal(s.user->memo_octets[CV_MEMO_ORDERS], 0);
	assert_int_equal(place_of(order, view, 2), 0);
	assert_str_eq(cv_order_text(order), CV_STR("one"));
	assert_null(cv_order_get(view, CV_STR("one")));
	cv_order_unref(&order);
	/* one that is not whole is no order, and goes when it was not kept */
	unfinished = cv_order_new(view, CV_STR("one"), 4, CV_STR(""));
	assert_null(cv_order_get(view, CV_STR("one")));
	assert_true(s.user->memo_octets[CV_MEMO_ORDERS] > 0);
	cv_order_unref(&unfinished);
	assert_int_equal(s.user->memo_octets[CV_MEMO_ORDERS], 0);
	cv_view_close(&view);
	store_deinit(&s);
}

static void orders_are_bounded(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", "f" };
	struct cv_order *order;
	struct cv_view *view;
	size_t others;
	struct store s;

	view = init_equal(&s, state, 1);
	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		assert_true(keep_order(view, names[i], 1, 1));
		order = cv_order_get(view, CV_STR("a")); /* asked for again and again */
		assert_non_null(order);
		cv_order_unref(&order);
	}
	assert_null(cv_order_get(view, CV_STR("b")));
	assert_null(cv_order_get(view, CV_STR("c")));
	order = cv_order_get(view, CV_STR("f"));
	assert_non_null(order);
	cv_order_unref(&order);
	/* Other mailboxes of the user have all the rest: one of ours is given up for what is new. */
	others = ((size_t)16 << 20) - s.user->memo_octets[CV_MEMO_ORDERS];
	s.user->memo_octets[CV_MEMO_ORDERS] += others;
	assert_true(keep_order(view, "g", 1, 1));
	s.user->memo_octets[CV_MEMO_ORDERS] -= others;
	cv_view_close(&view);
	cv_user_quiet(s.user);
	assert_int_equal(s.user->memo_octets[CV_MEMO_ORDERS], 0);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(a_search_finds_the_same_again),
		cv_test(what_is_kept_goes_with_its_message_and_when_the_user_is_quiet),
		cv_test(what_is_kept_of_few_messages_is_small),
		cv_test(what_is_kept_is_bounded),
		cv_test(an_order_is_right_whatever_becomes_of_its_messages),
		cv_test(orders_are_bounded),
	};

	return store_tests_run(tests);
}
