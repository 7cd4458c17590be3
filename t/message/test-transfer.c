/* SPDX-License-Identifier: MIT
   Content transfer encodings, cut anywhere, right and wrong. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/charset.h>
#include <culver/reader.h>

struct row {
	enum cv_transfer transfer;
	struct cv_str in, want;
	bool invalid;
};
#define ROW(transfer, in, want, invalid) { CV_TRANSFER_##transfer, CV_STR_INIT(in), CV_STR_INIT(want), invalid }

static void check(const struct row *rows, size_t count)
{
	struct cv_buf out;

	cv_buf_init(&out, 10000);
	for (size_t i = 0; i < count; i++) {
		for (size_t step = 1; step <= rows[i].in.len + 1; step++) {
			struct cv_transfer_decoder d;

			cv_buf_clear(&out);
			cv_transfer_decoder_init(&d, rows[i].transfer);
			for (size_t pos = 0; pos < rows[i].in.len; pos += step)
				cv_transfer_decode(&d, cv_str_sub(rows[i].in, pos, step), &out);
			cv_transfer_decode_finish(&d, &out);
			if (!cv_str_eq(cv_buf_str(&out), rows[i].want) || d.invalid != rows[i].invalid)
				print_error("row %zu in pieces of %zu\n", i, step);
			assert_str_eq(cv_buf_str(&out), rows[i].want);
			assert_int_equal(d.invalid, rows[i].invalid);
		}
	}
	cv_buf_deinit(&out);
}

static void base64_is_decoded(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		ROW(BASE64, "", "", false),
		ROW(BASE64, "Zg==", "f", false),
		ROW(BASE64, "Zm8=", "fo", false),
		ROW(BASE64, "Zm9vYmFy\r\nZm9v\r\n", "foobarfoo", false),
		ROW(BASE64, "Z m\t9 v", "foo", false),
		/* no padding; texts joined; rubbish between; a lone sextet */
		ROW(BASE64, "Zm8", "fo", false),
		ROW(BASE64, "Zg==Zg==", "ff", false),
		ROW(BASE64, "Zm9v!YmFy", "foobar", true),
		ROW(BASE64, "Zm9vY", "foo", true),
		ROW(BASE64, "Zm9vY===Zm9v", "foofoo", true),
		ROW(BASE64, "AP+/", "\0\xFF\xBF", false),
	};

	check(rows, CV_COUNT_OF(rows));
}

static void quoted_printable_is_decoded(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		ROW(QP, "plain", "plain", false),
		ROW(QP, "gr=FC=c3=9F", "gr\xFC\xC3\x9F", false),
		ROW(QP, "soft=\r\nbreak=\nagain", "softbreakagain", false),
		ROW(QP, "soft=  \t\r\nbreak", "softbreak", false),
		/* RFC 2045 section 6.7 rule 3: white space at the end of a line goes */
		ROW(QP, "end  \r\nmid dle\t\nlast  ", "end\r\nmid dle\nlast", false),
		ROW(QP, "keep=20\r\n", "keep \r\n", false),
		ROW(QP, "=", "", false),
		ROW(QP, "a=XYb=4", "a=XYb=4", true),
		ROW(QP, "a==41", "a=A", true),
		ROW(QP, "a=  b", "a=  b", true),
		ROW(QP, "a\rb \r c\r\r\n", "a\rb \r c\r\r\n", false),
		ROW(QP, "\xE4 8-bit", "\xE4 8-bit", false),
	};

	check(rows, CV_COUNT_OF(rows));
}

/* Long text is decoded by whole lines, single octets are not: both give the same. */
static void quoted_printable_is_the_same_by_lines_and_by_octets(void **state CV_UNUSED)
{
	static const char *const pieces[] = { "=", "=41", "=e9", "=\r\n", "=\n", "= \r\n", "=4", "=zz", " ", "\t", "\r", "\n", "\r\n", " \r\n", "\xE9", "word",
		"some more words than fit into eight octets", "=D0=B3=D0=B0" };
	struct cv_buf in, whole, single;
	uint32_t seed = 7;

	cv_buf_init(&in, 10000);
	cv_buf_init(&whole, 10000);
	cv_buf_init(&single, 10000);
	for (unsigned round = 0; round < 2000; round++) {
		struct cv_transfer_decoder at_once, by_octet;

		cv_buf_clear(&in);
		cv_buf_clear(&whole);
		cv_buf_clear(&single);
		for (unsigned i = 0; i < 60; i++) {
			seed = seed * 1664525u + 1013904223u;
			cv_buf_append_c(&in, pieces[(seed >> 16) % (round % 2 == 0 ? CV_COUNT_OF(pieces) : 4)]);
		}
		cv_transfer_decoder_init(&at_once, CV_TRANSFER_QP);
		cv_transfer_decode(&at_once, cv_buf_str(&in), &whole);
		cv_transfer_decode_finish(&at_once, &whole);
		cv_transfer_decoder_init(&by_octet, CV_TRANSFER_QP);
		for (size_t i = 0; i < in.len; i++)
			cv_transfer_decode(&by_octet, cv_str_sub(cv_buf_str(&in), i, 1), &single);
		cv_transfer_decode_finish(&by_octet, &single);
		assert_str_eq(cv_buf_str(&whole), cv_buf_str(&single));
		assert_int_equal(at_once.invalid, by_octet.invalid);
	}
	cv_buf_deinit(&in);
	cv_buf_deinit(&whole);
	cv_buf_deinit(&single);
}

static void long_runs_of_blanks_are_text(void **state CV_UNUSED)
{
	struct cv_transfer_decoder d;
	struct cv_buf out, in;

	cv_buf_init(&in, SIZE_MAX);
	cv_buf_init(&out, SIZE_MAX);
	for (int i = 0; i < 100000; i++)
		cv_buf_append_char(&in, ' ');
	cv_buf_append_c(&in, "x");
	cv_transfer_decoder_init(&d, CV_TRANSFER_QP);
	cv_transfer_decode(&d, cv_buf_str(&in), &out);
	cv_transfer_decode_finish(&d, &out);
	assert_str_eq(cv_buf_str(&out), cv_buf_str(&in));
	cv_buf_deinit(&in);
	cv_buf_deinit(&out);
}

static void uuencode_is_decoded(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		ROW(UUENCODE, "begin 644 x\n#0V%T\n`\nend\n", "Cat", false),
		ROW(UUENCODE, "text before\nbegin 644 x y\r\n#0V%T\r\n \r\nend\r\nbehind\n", "Cat", false),
		ROW(UUENCODE, "begin 644 x\n$0V%T\n`\nend", "Cat\0", false),
		ROW(UUENCODE, "begin 644 x\n#0V%T\n", "Cat", true),
		ROW(UUENCODE, "nothing", "", true),
	};

	check(rows, CV_COUNT_OF(rows));
}

static void other_encodings_are_identity(void **state CV_UNUSED)
{
	static const struct row rows[] = { ROW(IDENTITY, "a=41 \r\n\0", "a=41 \r\n\0", false), ROW(UNKNOWN, "=41", "=41", false) };

	check(rows, CV_COUNT_OF(rows));
}

static void names_are_recognised(void **state CV_UNUSED)
{
	assert_int_equal(cv_transfer_parse(CV_STR(" Base64 (c)")), CV_TRANSFER_BASE64);
	assert_int_equal(cv_transfer_parse(CV_STR("(a(b)) QUOTED-PRINTABLE;")), CV_TRANSFER_QP);
	assert_int_equal(cv_transfer_parse(CV_STR("\"7bit\"")), CV_TRANSFER_IDENTITY);
	assert_int_equal(cv_transfer_parse(CV_STR("")), CV_TRANSFER_IDENTITY);
	assert_int_equal(cv_transfer_parse(CV_STR("x-uuencode")), CV_TRANSFER_UUENCODE);
	assert_int_equal(cv_transfer_parse(CV_STR("base65")), CV_TRANSFER_UNKNOWN);
	assert_int_equal(cv_transfer_parse(CV_STR("base64base64base64base64base64")), CV_TRANSFER_UNKNOWN);
}

static void encoders_keep_lines_short_and_decode_back(void **state CV_UNUSED)
{
	struct cv_buf in, coded, out;

	cv_buf_init(&in, 10000);
	cv_buf_init(&coded, 100000);
	cv_buf_init(&out, 100000);
	for (unsigned i = 0; i < 1500; i++)
		cv_buf_append_char(&in, (char)(i * 7 % 251 == '\r' ? 'x' : i * 7 % 251));
	cv_buf_append_c(&in, " \r\n. dot\r\nFrom me\r\ntab\t\r\n");
	for (int qp = 0; qp < 2; qp++) {
		struct cv_transfer_decoder d;
		struct cv_reader lines;
		struct cv_str line;

		cv_buf_clear(&coded);
		cv_buf_clear(&out);
		if (qp)
			cv_encode_qp(&coded, cv_buf_str(&in));
		else
			cv_encode_base64_lines(&coded, cv_buf_str(&in));
		lines = cv_reader_init(cv_buf_str(&coded));
		while (cv_take_line(&lines, &line)) {
			assert_true(line.len <= 76);
			assert_false(cv_str_ends(line, CV_STR(" ")));
			assert_false(cv_str_starts(line, CV_STR(".")));
		}
		assert_true(cv_reader_end(&lines));
		cv_transfer_decoder_init(&d, qp ? CV_TRANSFER_QP : CV_TRANSFER_BASE64);
		cv_transfer_decode(&d, cv_buf_str(&coded), &out);
		cv_transfer_decode_finish(&d, &out);
		if (qp) { /* bare LF is a line end to it */
			struct cv_buf crlf;

			cv_buf_init(&crlf, 10000);
			for (size_t i = 0; i < in.len; i++) {
				if (in.data[i] == '\n' && (i == 0 || in.data[i - 1] != '\r'))
					cv_buf_append_char(&crlf, '\r');
				cv_buf_append_char(&crlf, in.data[i]);
			}
			assert_str_eq(cv_buf_str(&out), cv_buf_str(&crlf));
			cv_buf_deinit(&crlf);
		} else {
			assert_str_eq(cv_buf_str(&out), cv_buf_str(&in));
		}
		assert_false(d.invalid);
	}
	cv_buf_deinit(&in);
	cv_buf_deinit(&coded);
	cv_buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(base64_is_decoded),
		cv_test(quoted_printable_is_decoded),
		cv_test(quoted_printable_is_the_same_by_lines_and_by_octets),
		cv_test(long_runs_of_blanks_are_text),
		cv_test(uuencode_is_decoded),
		cv_test(other_encodings_are_identity),
		cv_test(names_are_recognised),
		cv_test(encoders_keep_lines_short_and_decode_back),
	};

	return cv_test_run(tests);
}
