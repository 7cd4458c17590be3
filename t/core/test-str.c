/* SPDX-License-Identifier: MIT
   Views of octets. */
#include <config.h>

#include "t/lib/test.h"

static void comparing(void **state CV_UNUSED)
{
	struct cv_str absent = { 0 };

	assert_true(cv_str_eq(CV_STR("a\0b"), CV_STR("a\0b")));
	assert_false(cv_str_eq(CV_STR("a\0b"), CV_STR("a\0c")));
	assert_true(cv_str_eq(absent, CV_STR("")));
	assert_true(cv_str_eq_c(CV_STR("x"), "x"));
	assert_false(cv_str_eq_c(CV_STR("x\0"), "x"));
	assert_true(cv_str_caseeq(CV_STR("InBox"), CV_STR("INBOX")));
	assert_false(cv_str_caseeq(CV_STR("inbo"), CV_STR("INBOX")));
	assert_true(cv_str_caseeq_c(CV_STR("a@["), "A@["));
	assert_false(cv_str_caseeq_c(CV_STR("@"), "`"));
	assert_false(cv_str_caseeq(CV_STR("\xc4"), CV_STR("\xe4")));
	assert_true(cv_str_cmp(CV_STR("a"), CV_STR("ab")) < 0);
	assert_true(cv_str_cmp(CV_STR("b"), CV_STR("ab")) > 0);
	assert_true(cv_str_cmp(CV_STR("\xff"), CV_STR("a")) > 0);
	assert_true(cv_str_cmp(absent, CV_STR("")) == 0);
	assert_null(cv_str_c(NULL).ptr);
}

static void beginnings_and_ends(void **state CV_UNUSED)
{
	assert_true(cv_str_starts(CV_STR("abc"), CV_STR("ab")));
	assert_true(cv_str_starts(CV_STR("abc"), CV_STR("")));
	assert_false(cv_str_starts(CV_STR("ab"), CV_STR("abc")));
	assert_true(cv_str_casestarts(CV_STR("ABc"), CV_STR("aB")));
	assert_false(cv_str_casestarts(CV_STR("A"), CV_STR("aB")));
	assert_true(cv_str_ends(CV_STR("abc"), CV_STR("bc")));
	assert_false(cv_str_ends(CV_STR("c"), CV_STR("bc")));
	assert_true(cv_str_ends((struct cv_str){ 0 }, CV_STR("")));
}

static void finding(void **state CV_UNUSED)
{
	assert_int_equal(cv_str_find(CV_STR("abcabc"), 'b'), 1);
	assert_int_equal(cv_str_rfind(CV_STR("abcabc"), 'b'), 4);
	assert_true(cv_str_find(CV_STR("abc"), 'x') == SIZE_MAX);
	assert_true(cv_str_rfind((struct cv_str){ 0 }, 'x') == SIZE_MAX);
	assert_int_equal(cv_str_find_str(CV_STR("aab aabb"), CV_STR("aabb")), 4);
	assert_int_equal(cv_str_find_str(CV_STR("x"), CV_STR("")), 0);
	assert_true(cv_str_find_str(CV_STR("aab"), CV_STR("aabb")) == SIZE_MAX);
	assert_true(cv_str_has_nul(CV_STR("a\0")));
	assert_false(cv_str_has_nul(CV_STR("a")));
}

static void cutting(void **state CV_UNUSED)
{
	struct cv_str head, tail;

	assert_str(cv_str_sub(CV_STR("abcd"), 1, 2), "bc");
	assert_str(cv_str_sub(CV_STR("abcd"), 3, SIZE_MAX), "d");
	assert_str(cv_str_sub(CV_STR("abcd"), SIZE_MAX, SIZE_MAX), "");
	assert_null(cv_str_sub((struct cv_str){ 0 }, 1, 1).ptr);
	assert_str(cv_str_trim(CV_STR(" \t\r\na b\r\n ")), "a b");
	assert_str(cv_str_trim(CV_STR(" \r")), "");
	assert_true(cv_str_split(CV_STR("a=b=c"), '=', &head, &tail));
	assert_str(head, "a");
	assert_str(tail, "b=c");
	assert_true(cv_str_split(CV_STR("a="), '=', &head, &tail));
	assert_true(tail.ptr != NULL && tail.len == 0);
	assert_false(cv_str_split(CV_STR("a"), '=', &head, &tail));
	assert_str(head, "a");
	assert_null(tail.ptr);
}

static void ascii_at_every_offset(void **state CV_UNUSED)
{
	char text[150];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = 'a';
	assert_true(cv_str_is_ascii(cv_str_mem(text, sizeof(text))));
	for (size_t i = 0; i < sizeof(text); i++) {
		text[i] = (char)0x80;
		assert_false(cv_str_is_ascii(cv_str_mem(text, sizeof(text))));
		assert_false(cv_str_is_utf8(cv_str_mem(text, sizeof(text))));
		text[i] = 'a';
	}
	assert_true(cv_str_is_ascii((struct cv_str){ 0 }));
}

static void utf8_is_well_formed_or_not(void **state CV_UNUSED)
{
	static const struct {
		struct cv_str s;
		bool ok;
	} rows[] = {
		{ CV_STR_INIT(""), true },
		{ CV_STR_INIT("\0"), true },
		{ CV_STR_INIT("\xc2\x80\xdf\xbf"), true },
		{ CV_STR_INIT("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"), true },
		{ CV_STR_INIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), true },
		{ CV_STR_INIT("\xc1\xbf"), false },         /* overlong */
		{ CV_STR_INIT("\xe0\x9f\xbf"), false },     /* overlong */
		{ CV_STR_INIT("\xf0\x8f\xbf\xbf"), false }, /* overlong */
		{ CV_STR_INIT("\xed\xa0\x80"), false },     /* surrogate */
		{ CV_STR_INIT("\xf4\x90\x80\x80"), false }, /* beyond U+10FFFF */
		{ CV_STR_INIT("\xf5\x80\x80\x80"), false },
		{ CV_STR_INIT("\xff"), false },
		{ CV_STR_INIT("\xc3"), false },
		{ CV_STR_INIT("\xe2\x82"), false },
		{ CV_STR_INIT("\xf0\x9f\x98"), false },
		{ CV_STR_INIT("\xe2\x28\xa1"), false },
		{ CV_STR_INIT("12345678\xc3\xa9""12345678\x80"), false },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++)
		assert_int_equal(cv_str_is_utf8(rows[i].s), rows[i].ok);
}

static void every_scalar_value_is_utf8(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 8);
	for (uint32_t c = 0; c <= 0x10ffff; c += c < 0x11000 ? 1 : 97) {
		cv_buf_clear(&buf);
		cv_buf_append_utf8(&buf, c);
		assert_true(cv_str_is_utf8(cv_buf_str(&buf)));
		/* None of its proper beginnings is. */
		for (size_t len = 1; len < buf.len; len++)
			assert_false(cv_str_is_utf8(cv_str_sub(cv_buf_str(&buf), 0, len)));
	}
	cv_buf_deinit(&buf);
}

static void whole_numbers(void **state CV_UNUSED)
{
	uint32_t n = 5;

	assert_true(cv_str_to_u32(CV_STR("4294967295"), UINT32_MAX, &n));
	assert_true(n == UINT32_MAX);
	n = 5;
	assert_false(cv_str_to_u32(CV_STR("4294967296"), UINT32_MAX, &n));
	assert_false(cv_str_to_u32(CV_STR("11"), 10, &n));
	assert_false(cv_str_to_u32(CV_STR("1 "), 10, &n));
	assert_false(cv_str_to_u32(CV_STR("1\0"), 10, &n));
	assert_false(cv_str_to_u32(CV_STR(""), 10, &n));
	assert_int_equal(n, 5);
}

static void masks_match_runs_and_single_octets(void **state)
{
	static const struct {
		const char *text, *mask;
		bool like;
	} rows[] = {
		{ "", "", true }, { "", "*", true }, { "", "?", false }, { "a", "", false }, { "abc", "abc", true }, { "abc", "ABC", false },
		{ "abc", "a*", true }, { "abc", "*c", true }, { "abc", "a?c", true }, { "abc", "a?", false }, { "abc", "*b*", true },
		{ "aaab", "*ab", true }, { "aXbXc", "*X*X*", true }, { "aXbXc", "*X*X*X*", false }, { "a/b/c", "a*c", true },
		{ "abc", "abc*", true }, { "abc", "abc?", false }, { "a*c", "a*c", true },
	};
	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++)
		assert_int_equal(cv_str_like(cv_str_c(rows[i].text), cv_str_c(rows[i].mask)), rows[i].like);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(masks_match_runs_and_single_octets),
		cv_test(comparing),
		cv_test(beginnings_and_ends),
		cv_test(finding),
		cv_test(cutting),
		cv_test(ascii_at_every_offset),
		cv_test(utf8_is_well_formed_or_not),
		cv_test(every_scalar_value_is_utf8),
		cv_test(whole_numbers),
	};

	return cv_test_run(tests);
}
