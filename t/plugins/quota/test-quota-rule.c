/* SPDX-License-Identifier: MIT
   Plugin quota: rules, limits of mailboxes, and what is too much. */
#include <config.h>

#include "plugins/quota/quota.h"
#include "t/lib/test.h"

#include <string.h>

#define K UINT64_C(1024)
#define M (K * K)
#define G (M * K)

static void add(struct cv_quota_rules *rules, struct cv_arena *arena, const char *const *texts)
{
	struct cv_err err = { 0 };

	for (; *texts != NULL; texts++) {
		if (cv_quota_rule_add(rules, arena, '.', cv_str_c(*texts), &err) < 0)
			fail_msg("%s: %s", *texts, err.text);
	}
}

static void rules_say_what_applies(void **state)
{
	static const struct {
		const char *rules[5], *mailbox;
		bool ignored;
		bool storage_limited;
		uint64_t storage;
		bool messages_limited;
		uint64_t messages;
	} rows[] = {
		{ { NULL }, "INBOX", false, false, 0, false, 0 },
		{ { "*:storage=1G", NULL }, "INBOX", false, true, G, false, 0 },
		{ { "*:storage=1G:messages=1000", NULL }, "INBOX", false, true, G, true, 1000 },
		{ { "*:storage=1000", NULL }, "INBOX", false, true, 1000 * K, false, 0 },
		{ { "*:storage=1000b", NULL }, "INBOX", false, true, 1000, false, 0 },
		{ { "*:bytes=1000", NULL }, "INBOX", false, true, 1000, false, 0 },
		{ { "*:bytes=1k", NULL }, "INBOX", false, true, K, false, 0 },
		{ { "*:storage=3t", NULL }, "INBOX", false, true, 3 * K * G, false, 0 },
		{ { "*:storage=0:messages=0", NULL }, "INBOX", false, false, 0, false, 0 },
		{ { "*:storage=1M", "*:messages=5", NULL }, "INBOX", false, true, M, true, 5 },
		{ { "*:storage=1M", "*:storage=2M", NULL }, "INBOX", false, true, 2 * M, false, 0 },
		{ { "*:ignore", NULL }, "INBOX", false, false, 0, false, 0 },
		{ { "?:storage=1M", NULL }, "INBOX", false, true, M, false, 0 },
		{ { "?:storage=1M", "*:messages=5", NULL }, "INBOX", false, false, 0, true, 5 },
		{ { "*:messages=5", "?:storage=1M", NULL }, "INBOX", false, false, 0, true, 5 },
		/* Above and below the user's. */
		{ { "*:storage=1M", "Trash:storage=+100k", NULL }, "Trash", false, true, M + 100 * K, false, 0 },
		{ { "*:storage=1M", "Trash:storage=100k", NULL }, "Trash", false, true, M + 100 * K, false, 0 },
		{ { "*:storage=1M", "Trash:storage=+100k", NULL }, "Trash2", false, true, M, false, 0 },
		{ { "*:storage=1M", "Trash:storage=+10%", NULL }, "Trash", false, true, M + M / 10, false, 0 },
		{ { "*:storage=1M", "Trash:storage=10%%", NULL }, "Trash", false, true, M + M / 10, false, 0 },
		{ { "*:storage=1M", "Trash:storage=-25%", NULL }, "Trash", false, true, M - M / 4, false, 0 },
		{ { "*:storage=1M", "Trash:storage=-2M", NULL }, "Trash", false, true, 0, false, 0 },
		{ { "*:messages=99", "Trash:messages=+10%", NULL }, "Trash", false, false, 0, true, 108 },
		{ { "Trash:storage=+1M", NULL }, "Trash", false, false, 0, false, 0 },
		{ { "Trash:storage=1M", NULL }, "Trash", false, true, M, false, 0 },
		{ { "Trash:storage=1M", NULL }, "INBOX", false, false, 0, false, 0 },
		{ { "Trash:storage=1M", "*:storage=1M", NULL }, "Trash", false, true, 2 * M, false, 0 },
		{ { "*:storage=1M", "Trash:ignore", NULL }, "Trash", true, false, 0, false, 0 },
		/* Names. */
		{ { "*:messages=1", "inbox:messages=1", NULL }, "INBOX", false, false, 0, true, 2 },
		{ { "*:messages=1", "A B.c:messages=1", NULL }, "A B/c", false, false, 0, true, 2 },
		{ { "*:messages=1", "A/c:messages=1", NULL }, "A/c", false, false, 0, true, 2 },
		{ { "*:messages=1", "A*:messages=1", "A/b:messages=2", NULL }, "A/b", false, false, 0, true, 3 },
		{ { "*:messages=1", "A*:messages=1", "A.?:messages=2", NULL }, "A/b", false, false, 0, true, 2 },
		{ { "*:messages=1", "A.?:messages=2", "A.*:messages=4", NULL }, "A/bc", false, false, 0, true, 5 },
	};
	struct cv_arena *arena = *state;

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_quota_rules *rules = cv_new(arena, struct cv_quota_rules, 1);
		struct cv_quota_limits got;

		add(rules, arena, rows[i].rules);
		cv_quota_limits_of(rules, cv_str_c(rows[i].mailbox), &got);
		if (got.ignored != rows[i].ignored || got.storage_limited != rows[i].storage_limited || got.storage != rows[i].storage ||
			got.messages_limited != rows[i].messages_limited || got.messages != rows[i].messages)
			fail_msg("row %zu: %d %d %llu %d %llu", i, got.ignored, got.storage_limited, (unsigned long long)got.storage,
				got.messages_limited, (unsigned long long)got.messages);
	}
}

static void annotations_have_one_limit(void **state)
{
	static const struct {
		uint64_t used, in, out, limit;
		int want;
	} rows[] = {
		{ 0, 100, 0, 100, 0 }, { 0, 101, 0, 100, -1 }, { 99, 1, 0, 100, 0 }, { 99, 2, 0, 100, -1 }, { 99, 2, 1, 100, 0 },
		/* Who takes away what comes makes it no worse. */
		{ 200, 5, 5, 100, 0 }, { 200, 5, 4, 100, -1 }, { 200, 0, 4, 100, 0 },
		{ UINT64_MAX, UINT64_MAX, 0, 100, -1 }, { 5, UINT64_MAX, 0, 0, 0 },
	};
	static const char *const texts[] = { "*:storage=1M:annotations=3", "*:annotations=2k", NULL };
	struct cv_quota_rules *rules = cv_new(*state, struct cv_quota_rules, 1);

	add(rules, *state, texts);
	assert_int_equal(rules->most.annotations, 2 * K);
	assert_int_equal(rules->most.storage, M);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		if (cv_quota_notes_check(rows[i].used, rows[i].in, rows[i].out, rows[i].limit) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *rule, *text;
	} rows[] = {
		{ "", "must be MAILBOX:LIMIT" },
		{ "*", "must be MAILBOX:LIMIT" },
		{ "*:", "must be MAILBOX:LIMIT" },
		{ ":storage=1", "must be MAILBOX:LIMIT" },
		{ "*:1G", "is none of" },
		{ "*:storage", "is none of" },
		{ "*:storage=", "is no size" },
		{ "*:storage=x", "is no size" },
		{ "*:storage=1x", "a number, and b, k, M, G, T" },
		{ "*:storage=1 G", "a number, and b, k, M, G, T" },
		{ "*:storage=1GG", "a number, and b, k, M, G, T" },
		{ "*:storage=99999999999T", "is no size" },
		{ "*:storage=99999999999999999999", "is no size" },
		{ "*:storage=9007199254740992", "is no size" },
		{ "*:storage=50%", "can't be relative" },
		{ "*:storage=-1", "can't be relative" },
		{ "*:messages=1k", "a number" },
		{ "*:messages=--1", "is no number" },
		{ "*:backend=1", "is none of" },
		{ "Trash:mailboxes=1", "is none of" },
		{ "Trash:annotations=1", "is none of" },
		{ "*:annotations=10%", "can't be relative" },
		{ "*:annotations=x", "is no size" },
		{ "*:storage=1M::messages=1", "is none of" },
	};
	struct cv_arena *arena = *state;
	struct cv_quota_rules *rules = cv_new(arena, struct cv_quota_rules, 1);
	struct cv_quota_limits limits;

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };

		assert_int_equal(cv_quota_rule_add(rules, arena, '/', cv_str_c(rows[i].rule), &err), -1);
		if (strstr(err.text, rows[i].text) == NULL)
			fail_msg("%s: %s", rows[i].rule, err.text);
	}
	cv_quota_limits_of(rules, CV_STR("Trash"), &limits);
	assert_false(limits.storage_limited || limits.messages_limited || limits.ignored);
	assert_int_equal(rules->count, 0);
}

static void rules_are_bounded(void **state)
{
	struct cv_arena *arena = *state;
	struct cv_quota_rules *rules = cv_new(arena, struct cv_quota_rules, 1);
	struct cv_err err = { 0 };
	char text[40];

	for (unsigned i = 0; i < CV_QUOTA_RULES_MAX; i++) {
		snprintf(text, sizeof(text), "box%u:ignore", i);
		assert_int_equal(cv_quota_rule_add(rules, arena, '/', cv_str_c(text), &err), 0);
	}
	assert_int_equal(cv_quota_rule_add(rules, arena, '/', CV_STR("another:ignore"), &err), -1);
	assert_int_equal(cv_quota_rule_add(rules, arena, '/', CV_STR("box7:messages=1"), &err), 0);
}

static void grace_and_roots_are_read(void **state)
{
	struct cv_quota_grace grace;
	struct cv_quota_root root;
	struct cv_err err = { 0 };

	(void)state;
	assert_int_equal(cv_quota_grace_parse(CV_STR("10%"), &grace, &err), 0);
	assert_int_equal(cv_quota_grace_of(&grace, G), G / 10);
	assert_int_equal(cv_quota_grace_of(&grace, UINT64_MAX), UINT64_MAX / 10);
	assert_int_equal(cv_quota_grace_parse(CV_STR("10%%"), &grace, &err), 0);
	assert_int_equal(cv_quota_grace_of(&grace, 50), 5);
	assert_int_equal(cv_quota_grace_parse(CV_STR("50M"), &grace, &err), 0);
	assert_int_equal(cv_quota_grace_of(&grace, G), 50 * M);
	assert_int_equal(cv_quota_grace_parse(CV_STR(""), &grace, &err), 0);
	assert_int_equal(cv_quota_grace_of(&grace, G), 0);
	assert_int_equal(cv_quota_grace_parse(CV_STR("x"), &grace, &err), -1);
	assert_int_equal(cv_quota_grace_parse(CV_STR("10%x"), &grace, &err), -1);
	assert_int_equal(cv_quota_root_parse(CV_STR("count"), &root, &err), 0);
	assert_str(root.name, "");
	assert_int_equal(cv_quota_root_parse(CV_STR("count:User quota:noenforcing:hidden"), &root, &err), 0);
	assert_str(root.name, "User quota");
	assert_true(root.noenforcing && root.hidden && !root.ignoreunlimited);
	assert_int_equal(cv_quota_root_parse(CV_STR("maildir:User quota"), &root, &err), -1);
	assert_int_equal(cv_quota_root_parse(CV_STR("count:x:ns=y"), &root, &err), -1);
	assert_int_equal(cv_quota_root_parse(CV_STR("count:a\nb"), &root, &err), -1);
}

static void changes_are_checked(void **state)
{
	static const struct {
		uint64_t used, in, out;
		bool stricter;
		uint64_t limit, grace;
		int want;
	} rows[] = {
		{ 0, 100, 0, false, 100, 0, 0 },
		{ 0, 101, 0, false, 100, 0, -1 },
		{ 99, 1, 0, false, 100, 0, 0 },
		{ 100, 1, 0, false, 100, 0, -1 },
		/* Grace is for who was below the limit. */
		{ 99, 11, 0, false, 100, 10, 0 },
		{ 99, 12, 0, false, 100, 10, -1 },
		{ 100, 1, 0, false, 100, 10, -1 },
		{ 105, 1, 0, false, 100, 10, -1 },
		/* Who takes away what comes makes it no worse. */
		{ 100, 50, 50, false, 100, 0, 0 },
		{ 200, 50, 50, false, 100, 0, 0 },
		{ 200, 50, 60, false, 100, 0, 0 },
		{ 200, 50, 49, false, 100, 0, -1 },
		{ 100, 50, 49, false, 100, 0, -1 },
		{ 100, 50, 49, false, 100, 1, -1 },
		/* To where less may be. */
		{ 200, 50, 50, true, 100, 0, -1 },
		{ 100, 50, 50, true, 100, 0, 0 },
		/* Nothing wraps. */
		{ UINT64_MAX, UINT64_MAX, 0, false, 100, 10, -1 },
		{ 0, UINT64_MAX, UINT64_MAX, false, 100, 0, 0 },
		{ 5, 1, UINT64_MAX, false, 0, 0, 0 },
		{ 0, 1, 0, false, 0, 0, -1 },
	};

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_quota_grace grace = { .n = rows[i].grace }, none = { 0 };
		struct cv_quota_limits limits = { .storage_limited = true, .storage = rows[i].limit };
		struct cv_quota_change change = { .storage_in = rows[i].in, .storage_out = rows[i].out, .stricter = rows[i].stricter };
		bool storage;
		int got;

		assert_int_equal(cv_quota_change_check(&change, rows[i].used, 0, &grace, &storage), 0); /* nothing is put anywhere */
		cv_quota_change_target(&change, &limits);
		got = cv_quota_change_check(&change, rows[i].used, 0, &grace, &storage);
		if (got != rows[i].want || storage != (rows[i].want < 0))
			fail_msg("row %zu: %d", i, got);
		if (rows[i].grace > 0)
			continue;
		change = (struct cv_quota_change){ .messages_in = rows[i].in, .messages_out = rows[i].out, .stricter = rows[i].stricter };
		limits = (struct cv_quota_limits){ .messages_limited = true, .messages = rows[i].limit };
		cv_quota_change_target(&change, &limits);
		assert_int_equal(cv_quota_change_check(&change, 0, rows[i].used, &none, &storage), rows[i].want);
		assert_false(storage);
	}
}

/* Of several mailboxes the lowest limits count. */
static void the_lowest_limit_counts(void **state)
{
	struct cv_quota_limits high = { .storage_limited = true, .storage = 200 }, low = { .storage_limited = true, .storage = 100 },
		other = { .messages_limited = true, .messages = 1 };
	struct cv_quota_change change = { .storage_in = 150, .messages_in = 1 };
	struct cv_quota_grace none = { 0 };
	bool storage;

	(void)state;
	cv_quota_change_target(&change, &high);
	assert_int_equal(cv_quota_change_check(&change, 0, 0, &none, &storage), 0);
	cv_quota_change_target(&change, &other);
	assert_int_equal(cv_quota_change_check(&change, 0, 0, &none, &storage), 0);
	assert_int_equal(cv_quota_change_check(&change, 0, 1, &none, &storage), -1);
	assert_false(storage);
	cv_quota_change_target(&change, &low);
	assert_int_equal(cv_quota_change_check(&change, 0, 0, &none, &storage), -1);
	assert_true(storage);
	cv_quota_change_target(&change, &high);
	assert_int_equal(cv_quota_change_check(&change, 0, 0, &none, &storage), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(rules_say_what_applies),
		cv_test(annotations_have_one_limit),
		cv_test(mistakes_are_named),
		cv_test(rules_are_bounded),
		cv_test(grace_and_roots_are_read),
		cv_test(changes_are_checked),
		cv_test(the_lowest_limit_counts),
	};

	return cv_test_run(tests);
}
