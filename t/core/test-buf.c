/* SPDX-License-Identifier: MIT
   Buffers: growth, the maximum, sticky failure, encodings. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/reader.h>

#include <string.h>

static void is_a_c_string_from_the_start(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 10);
	assert_string_equal(buf.data, "");
	assert_str(cv_buf_str(&buf), "");
	cv_buf_append_c(&buf, "abc");
	assert_string_equal(buf.data, "abc");
	cv_buf_clear(&buf);
	assert_string_equal(buf.data, "");
	cv_buf_deinit(&buf);
	cv_buf_deinit(&buf);
}

static void append_past_maximum_marks_failed(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 5);
	cv_buf_append_c(&buf, "abcde");
	assert_true(cv_buf_ok(&buf));
	cv_buf_append_char(&buf, 'f');
	assert_false(cv_buf_ok(&buf));
	assert_str(cv_buf_str(&buf), "abcde");
	cv_buf_consume(&buf, 5);
	cv_buf_append_char(&buf, 'x');
	assert_false(cv_buf_ok(&buf));
	assert_int_equal(buf.len, 0);
	cv_buf_clear(&buf);
	assert_true(cv_buf_ok(&buf));
	cv_buf_append_c(&buf, "xyz");
	assert_str(cv_buf_str(&buf), "xyz");
	cv_buf_deinit(&buf);
}

static void nothing_fits_into_maximum_zero(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 0);
	cv_buf_append(&buf, CV_STR(""));
	assert_true(cv_buf_ok(&buf));
	cv_buf_append(&buf, CV_STR("a"));
	assert_false(cv_buf_ok(&buf));
	cv_buf_deinit(&buf);
}

static void printf_grows_and_fails_whole(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 200);
	cv_buf_printf(&buf, "%s=%d ", "n", 42);
	assert_str(cv_buf_str(&buf), "n=42 ");
	cv_buf_printf(&buf, "%0150d", 1);
	assert_true(cv_buf_ok(&buf));
	assert_int_equal(buf.len, 155);
	cv_buf_printf(&buf, "%045d", 1);
	assert_true(cv_buf_ok(&buf));
	assert_int_equal(buf.len, 200);
	cv_buf_printf(&buf, "%s", "x");
	assert_false(cv_buf_ok(&buf));
	assert_int_equal(buf.len, 200);
	assert_int_equal(buf.data[200], '\0');
	cv_buf_deinit(&buf);
}

static void reserve_checks_room_and_commit_checks_reserve(void **state CV_UNUSED)
{
	struct cv_buf buf;
	char *p;

	cv_buf_init(&buf, 100);
	p = cv_buf_reserve(&buf, 60);
	assert_non_null(p);
	memset(p, 'a', 60);
	cv_buf_commit(&buf, 10);
	assert_str(cv_buf_str(&buf), "aaaaaaaaaa");
	assert_string_equal(buf.data, "aaaaaaaaaa");
	expect_assert_failure(cv_buf_commit(&buf, 1000));
	assert_null(cv_buf_reserve(&buf, 91));
	assert_false(cv_buf_ok(&buf));
	cv_buf_clear(&buf);
	assert_null(cv_buf_reserve(&buf, SIZE_MAX));
	cv_buf_deinit(&buf);
	cv_buf_init(&buf, SIZE_MAX);
	assert_null(cv_buf_reserve(&buf, SIZE_MAX));
	cv_buf_deinit(&buf);
}

static void consume_and_truncate_keep_the_middle(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init_wipe(&buf, 1000);
	cv_buf_append_c(&buf, "0123456789");
	cv_buf_consume(&buf, 3);
	cv_buf_truncate(&buf, 4);
	assert_string_equal(buf.data, "3456");
	assert_int_equal(buf.len, 4);
	/* A wiping buffer keeps nothing behind its end. */
	for (size_t i = buf.len; i < 10; i++)
		assert_int_equal(buf.data[i], '\0');
	cv_buf_truncate(&buf, 40);
	assert_int_equal(buf.len, 4);
	cv_buf_consume(&buf, 1000);
	assert_int_equal(buf.len, 0);
	cv_buf_deinit(&buf);
}

static void grows_in_many_small_steps(void **state CV_UNUSED)
{
	struct cv_buf buf;

	for (int wipe = 0; wipe < 2; wipe++) {
		cv_buf_init(&buf, 100000);
		buf.wipe = wipe == 1;
		for (unsigned i = 0; i < 100000; i++)
			cv_buf_append_char(&buf, (char)(unsigned char)(i * 7));
		assert_true(cv_buf_ok(&buf));
		for (unsigned i = 0; i < 100000; i++)
			assert_int_equal((unsigned char)buf.data[i], (i * 7) & 0xff);
		cv_buf_deinit(&buf);
	}
}

static void decimal_numbers(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 100);
	cv_buf_append_u64(&buf, 0);
	cv_buf_append_char(&buf, ' ');
	cv_buf_append_u64(&buf, 1234567890);
	cv_buf_append_char(&buf, ' ');
	cv_buf_append_u64(&buf, UINT64_MAX);
	assert_str(cv_buf_str(&buf), "0 1234567890 18446744073709551615");
	cv_buf_deinit(&buf);
}

static void binary_forms_read_back(void **state CV_UNUSED)
{
	static const uint64_t numbers[] = { 0, 1, 127, 128, 300, 16383, 16384, UINT32_MAX, (uint64_t)1 << 63, UINT64_MAX };
	struct cv_buf buf;
	struct cv_reader r;
	struct cv_str s;
	uint8_t n8 = 0;
	uint16_t n16 = 0;
	uint32_t n32 = 0;
	uint64_t n64 = 0;

	cv_buf_init(&buf, 1000);
	cv_put_u8(&buf, 0xfe);
	cv_put_u16(&buf, 0xfedc);
	cv_put_u32(&buf, 0xfedcba98u);
	cv_put_u64(&buf, 0xfedcba9876543210u);
	assert_str(cv_buf_str(&buf), "\xfe\xdc\xfe\x98\xba\xdc\xfe\x10\x32\x54\x76\x98\xba\xdc\xfe");
	for (size_t i = 0; i < CV_COUNT_OF(numbers); i++)
		cv_put_varint(&buf, numbers[i]);
	cv_put_str(&buf, CV_STR("a\0c"));
	cv_put_str(&buf, CV_STR(""));
	cv_put_str(&buf, (struct cv_str){ 0 });
	r = cv_reader_init(cv_buf_str(&buf));
	assert_true(cv_take_u8(&r, &n8) && cv_take_u16(&r, &n16) && cv_take_u32(&r, &n32) && cv_take_u64(&r, &n64));
	assert_int_equal(n8, 0xfe);
	assert_int_equal(n16, 0xfedc);
	assert_int_equal(n32, 0xfedcba98u);
	assert_true(n64 == 0xfedcba9876543210u);
	for (size_t i = 0; i < CV_COUNT_OF(numbers); i++) {
		assert_true(cv_take_varint(&r, &n64));
		assert_true(n64 == numbers[i]);
	}
	assert_true(cv_take_str(&r, 3, &s));
	assert_str(s, "a\0c");
	assert_true(cv_take_str(&r, 0, &s));
	assert_true(s.ptr != NULL && s.len == 0);
	assert_true(cv_take_str(&r, 0, &s));
	assert_true(s.ptr == NULL && s.len == 0);
	assert_true(cv_reader_end(&r));
	cv_buf_deinit(&buf);
}

static void length_prefixed_octets_fail_whole(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 8);
	cv_put_str(&buf, CV_STR("12345"));
	assert_false(cv_buf_ok(&buf));
	assert_int_equal(buf.len, 0);
	cv_buf_deinit(&buf);
}

static const struct {
	struct cv_str plain, encoded;
} base64_rows[] = {
	/* RFC 4648 section 10. */
	{ CV_STR_INIT(""), CV_STR_INIT("") },
	{ CV_STR_INIT("f"), CV_STR_INIT("Zg==") },
	{ CV_STR_INIT("fo"), CV_STR_INIT("Zm8=") },
	{ CV_STR_INIT("foo"), CV_STR_INIT("Zm9v") },
	{ CV_STR_INIT("foob"), CV_STR_INIT("Zm9vYg==") },
	{ CV_STR_INIT("fooba"), CV_STR_INIT("Zm9vYmE=") },
	{ CV_STR_INIT("foobar"), CV_STR_INIT("Zm9vYmFy") },
	{ CV_STR_INIT("\0\xff\xfe\xfb"), CV_STR_INIT("AP/++w==") },
};

static void base64_both_ways(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 100);
	for (size_t i = 0; i < CV_COUNT_OF(base64_rows); i++) {
		cv_buf_clear(&buf);
		cv_buf_append_base64(&buf, base64_rows[i].plain);
		assert_str_eq(cv_buf_str(&buf), base64_rows[i].encoded);
		cv_buf_clear(&buf);
		assert_true(cv_base64_decode(&buf, base64_rows[i].encoded));
		assert_str_eq(cv_buf_str(&buf), base64_rows[i].plain);
	}
	cv_buf_deinit(&buf);
}

static void bad_base64_leaves_the_buffer(void **state CV_UNUSED)
{
	static const char *const rows[] = { "Z", "Zg", "Zg=", "Zg===", "Z===", "====", "=", "Zm9v=", "Zm 9v", "Zm9v\n", "Zg==Zg==",
		"Zm9-", "Zh==", "Zm9=", "Zm=v", "Zm9vZ===" };
	struct cv_buf buf;

	cv_buf_init(&buf, 100);
	cv_buf_append_c(&buf, "kept");
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		if (cv_base64_decode(&buf, cv_str_c(rows[i])))
			fail_msg("%s was taken", rows[i]);
		assert_string_equal(buf.data, "kept");
		assert_true(cv_buf_ok(&buf));
	}
	buf.max = 6;
	assert_false(cv_base64_decode(&buf, CV_STR("Zm9v")));
	assert_true(cv_buf_ok(&buf));
	assert_true(cv_base64_decode(&buf, CV_STR("Zm8=")));
	assert_string_equal(buf.data, "keptfo");
	cv_buf_deinit(&buf);
}

static void hex_both_ways(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 100);
	cv_buf_append_hex(&buf, CV_STR("\0\x7f\xAb"));
	assert_str(cv_buf_str(&buf), "007fab");
	cv_buf_clear(&buf);
	assert_true(cv_hex_decode(&buf, CV_STR("007FaB")));
	assert_str(cv_buf_str(&buf), "\0\x7f\xab");
	assert_false(cv_hex_decode(&buf, CV_STR("0")));
	assert_false(cv_hex_decode(&buf, CV_STR("0g")));
	assert_false(cv_hex_decode(&buf, CV_STR(" 1")));
	assert_str(cv_buf_str(&buf), "\0\x7f\xab");
	cv_buf_deinit(&buf);
}

static void utf8_of_each_length(void **state CV_UNUSED)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 100);
	cv_buf_append_utf8(&buf, 'a');
	cv_buf_append_utf8(&buf, 0x7ff);
	cv_buf_append_utf8(&buf, 0x20ac);
	cv_buf_append_utf8(&buf, 0x10ffff);
	assert_str(cv_buf_str(&buf), "a\xdf\xbf\xe2\x82\xac\xf4\x8f\xbf\xbf");
	cv_buf_clear(&buf);
	cv_buf_append_utf8(&buf, 0xd800);
	cv_buf_append_utf8(&buf, 0x110000);
	assert_str(cv_buf_str(&buf), "\xef\xbf\xbd\xef\xbf\xbd");
	cv_buf_deinit(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(is_a_c_string_from_the_start),
		cv_test(append_past_maximum_marks_failed),
		cv_test(nothing_fits_into_maximum_zero),
		cv_test(printf_grows_and_fails_whole),
		cv_test(reserve_checks_room_and_commit_checks_reserve),
		cv_test(consume_and_truncate_keep_the_middle),
		cv_test(grows_in_many_small_steps),
		cv_test(decimal_numbers),
		cv_test(binary_forms_read_back),
		cv_test(length_prefixed_octets_fail_whole),
		cv_test(base64_both_ways),
		cv_test(bad_base64_leaves_the_buffer),
		cv_test(hex_both_ways),
		cv_test(utf8_of_each_length),
	};

	return cv_test_run(tests);
}
