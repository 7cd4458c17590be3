/* SPDX-License-Identifier: MIT
   Readers: a take that fails stays where it was. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/reader.h>

static void empty_and_absent_views_are_at_their_end(void **state CV_UNUSED)
{
	struct cv_str views[] = { CV_STR_INIT(""), { 0 } }, s;

	for (size_t i = 0; i < CV_COUNT_OF(views); i++) {
		struct cv_reader r = cv_reader_init(views[i]);
		uint64_t n64;
		uint32_t n32;
		uint8_t n8;
		char c;

		assert_true(cv_reader_end(&r));
		assert_int_equal(cv_peek(&r), -1);
		assert_int_equal(cv_reader_left(&r), 0);
		assert_int_equal(cv_reader_rest(&r).len, 0);
		assert_false(cv_take_char(&r, 'a'));
		assert_false(cv_take_any(&r, &c));
		assert_false(cv_take_lit(&r, CV_STR("a")));
		assert_true(cv_take_lit(&r, CV_STR("")));
		assert_true(cv_take_len(&r, 0, &s));
		assert_false(cv_take_len(&r, 1, &s));
		assert_int_equal(cv_take_while(&r, cv_is_alpha).len, 0);
		assert_false(cv_take_until(&r, 'x', &s));
		assert_false(cv_take_line(&r, &s));
		assert_false(cv_parse_u32(&r, UINT32_MAX, &n32));
		assert_false(cv_take_u8(&r, &n8));
		assert_false(cv_take_varint(&r, &n64));
		assert_false(cv_take_str(&r, 10, &s));
		assert_true(cv_reader_end(&r));
	}
}

static void takes_advance_in_turn(void **state CV_UNUSED)
{
	struct cv_reader r = cv_reader_init(CV_STR("A1 FETCH 42 (x)\r\nrest"));
	struct cv_str s;
	uint32_t n;
	char c;

	assert_str(cv_take_while(&r, cv_is_alnum), "A1");
	assert_true(cv_take_char(&r, ' '));
	assert_false(cv_take_lit(&r, CV_STR("fetch")));
	assert_true(cv_take_caselit(&r, CV_STR("fetch")));
	assert_true(cv_take_any(&r, &c));
	assert_int_equal(c, ' ');
	assert_true(cv_parse_u32(&r, 42, &n));
	assert_int_equal(n, 42);
	assert_true(cv_take_until(&r, '(', &s));
	assert_str(s, " ");
	assert_true(cv_take_len(&r, 1, &s));
	assert_str(s, "x");
	assert_int_equal(cv_peek(&r), ')');
	assert_true(cv_take_line(&r, &s));
	assert_str(s, ")");
	assert_false(cv_take_line(&r, &s));
	assert_str(cv_reader_rest(&r), "rest");
	assert_false(cv_reader_end(&r));
	assert_true(cv_take_len(&r, 4, &s));
	assert_true(cv_reader_end(&r));
}

static void failed_takes_stay(void **state CV_UNUSED)
{
	struct cv_reader r = cv_reader_init(CV_STR("99x"));
	struct cv_str s;
	uint32_t n = 7;

	assert_false(cv_parse_u32(&r, 98, &n));
	assert_int_equal(r.pos, 0);
	assert_int_equal(n, 7);
	assert_false(cv_take_len(&r, 4, &s));
	assert_false(cv_take_len(&r, SIZE_MAX, &s));
	assert_false(cv_take_until(&r, 'y', &s));
	assert_false(cv_take_lit(&r, CV_STR("99xy")));
	assert_int_equal(r.pos, 0);
}

static void lines_end_in_lf_or_crlf(void **state CV_UNUSED)
{
	struct cv_reader r = cv_reader_init(CV_STR("a\r\nb\n\r\n\nc\r"));
	struct cv_str s;

	assert_true(cv_take_line(&r, &s));
	assert_str(s, "a");
	assert_true(cv_take_line(&r, &s));
	assert_str(s, "b");
	assert_true(cv_take_line(&r, &s));
	assert_str(s, "");
	assert_true(cv_take_line(&r, &s));
	assert_str(s, "");
	assert_false(cv_take_line(&r, &s));
	assert_int_equal(cv_reader_left(&r), 2);
}

static void numbers_have_no_sign_space_or_overflow(void **state CV_UNUSED)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t n;
	} rows[] = { { "0", true, 0 }, { "18446744073709551615", true, UINT64_MAX }, { "18446744073709551616", false, 0 },
		{ "99999999999999999999", false, 0 }, { "184467440737095516150", false, 0 }, { "-1", false, 0 }, { "+1", false, 0 },
		{ " 1", false, 0 }, { "", false, 0 }, { "007", true, 7 }, { "x", false, 0 } };

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_reader r = cv_reader_init(cv_str_c(rows[i].text));
		uint64_t n = 0;

		assert_int_equal(cv_parse_u64(&r, UINT64_MAX, &n), rows[i].ok);
		assert_true(n == rows[i].n);
		assert_int_equal(r.pos, rows[i].ok ? r.s.len : 0);
		assert_int_equal(cv_str_to_u64(cv_str_c(rows[i].text), UINT64_MAX, &n), rows[i].ok);
	}
}

static void varints_are_whole_short_and_in_range(void **state CV_UNUSED)
{
	static const struct cv_str bad[] = { CV_STR_INIT("\x80"), CV_STR_INIT("\x80\x00"), CV_STR_INIT("\xff\x80"),
		CV_STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
		CV_STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") };
	uint64_t n;

	for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
		struct cv_reader r = cv_reader_init(bad[i]);

		assert_false(cv_take_varint(&r, &n));
		assert_int_equal(r.pos, 0);
	}
}

static void prefixed_octets_respect_maximum_and_end(void **state CV_UNUSED)
{
	struct cv_reader r = cv_reader_init(CV_STR("\3\0\0\0abc\3\0\0\0ab"));
	struct cv_str s;

	assert_false(cv_take_str(&r, 2, &s));
	assert_int_equal(r.pos, 0);
	assert_true(cv_take_str(&r, 3, &s));
	assert_str(s, "abc");
	assert_false(cv_take_str(&r, 100, &s));
	assert_int_equal(r.pos, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(empty_and_absent_views_are_at_their_end),
		cv_test(takes_advance_in_turn),
		cv_test(failed_takes_stay),
		cv_test(lines_end_in_lf_or_crlf),
		cv_test(numbers_have_no_sign_space_or_overflow),
		cv_test(varints_are_whole_short_and_in_range),
		cv_test(prefixed_octets_respect_maximum_and_end),
	};

	return cv_test_run(tests);
}
