/* SPDX-License-Identifier: MIT
   Charsets to UTF-8, cut anywhere, and their many names. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/charset.h>

#include <iconv.h>

struct row {
	const char *charset;
	struct cv_str octets;
	const char *want;
};
#define ROW(charset, octets, want) { charset, CV_STR_INIT(octets), want }

static void check(const struct row *rows, size_t count)
{
	struct cv_buf out;

	cv_buf_init(&out, 10000);
	for (size_t i = 0; i < count; i++) {
		/* whole, and cut in two at each octet, and octet by octet */
		for (size_t cut = 0; cut <= rows[i].octets.len + 1; cut++) {
			struct cv_charset *charset = cv_charset_open(cv_str_c(rows[i].charset));

			cv_buf_clear(&out);
			if (cut > rows[i].octets.len) {
				for (size_t k = 0; k < rows[i].octets.len; k++)
					cv_charset_feed(charset, cv_str_sub(rows[i].octets, k, 1), &out);
			} else {
				cv_charset_feed(charset, cv_str_sub(rows[i].octets, 0, cut), &out);
				cv_charset_feed(charset, cv_str_sub(rows[i].octets, cut, SIZE_MAX), &out);
			}
			cv_charset_finish(charset, &out);
			cv_charset_close(&charset);
			assert_null(charset);
			if (!cv_str_eq_c(cv_buf_str(&out), rows[i].want))
				print_error("row %zu (%s), cut at %zu\n", i, rows[i].charset, cut);
			assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
		}
	}
	cv_buf_deinit(&out);
}

static void text_becomes_utf8_however_it_is_cut(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		ROW("us-ascii", "plain", "plain"),
		ROW("utf-8", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80!", "\u00E4\u20AC\U0001F600!"),
		ROW("iso-8859-1", "\xE4\x80", "\u00E4\u20AC"),
		ROW("iso-8859-2", "\xB1\xE6", "\u0105\u0107"),
		ROW("iso-8859-5", "\xB0\xD0", "\u0410\u0430"),
		ROW("iso-8859-7", "\xE1", "\u03B1"),
		ROW("iso-8859-8-i", "\xF9\xEC\xE5\xED", "\u05E9\u05DC\u05D5\u05DD"),
		ROW("iso-8859-15", "\xA4", "\u20AC"),
		ROW("windows-1251", "\xCF\xF0", "\u041F\u0440"),
		ROW("windows-1252", "\x93\xE9\x94", "\u201C\u00E9\u201D"),
		ROW("koi8-u", "\xD4\xA4", "\u0442\u0454"),
		ROW("cp850", "\x84", "\u00E4"),
		ROW("macintosh", "\x8A", "\u00E4"),
		ROW("shift_jis", "\x93\xFA\x96\x7B", "\u65E5\u672C"),
		ROW("euc-jp", "\xC6\xFC\xCB\xDC", "\u65E5\u672C"),
		ROW("iso-2022-jp", "a\x1B$BF|K\\\x1B(Bz", "a\u65E5\u672Cz"),
		ROW("gb2312", "\xD6\xD0", "\u4E2D"),
		ROW("gbk", "\x81\x40", "\u4E02"),
		ROW("gb18030", "\x90\x30\x81\x30", "\U00010000"),
		ROW("big5", "\xA4\xA4", "\u4E2D"),
		ROW("euc-kr", "\xC7\xD1", "\uD55C"),
		ROW("iso-2022-kr", "\x1B$)C\x0E\x47\x51\x0F", "\uD55C"),
		ROW("tis-620", "\xA1", "\u0E01"),
		/* RFC 2152's examples */
		ROW("utf-7", "A+ImIDkQ.", "A\u2262\u0391."),
		ROW("utf-7", "Hi Mom -+Jjo--!", "Hi Mom -\u263A-!"),
		ROW("utf-7", "+ZeVnLIqe-", "\u65E5\u672C\u8A9E"),
		ROW("utf-7", "Item 3 is +AKM-1. 1 +- 1", "Item 3 is \u00A31. 1 + 1"),
		ROW("utf-7", "+2D3eAA-", "\U0001F600"),
		ROW("utf-16", "\xFF\xFE\xE4\x00\x3D\xD8\x00\xDE", "\u00E4\U0001F600"),
		ROW("utf-16be", "\x00\xE4", "\u00E4"),
		ROW("utf-16le", "\xE4\x00", "\u00E4"),
		ROW("utf-32be", "\x00\x01\xF6\x00", "\U0001F600"),
		ROW("windows-1258", "a\xEC", "\u00E1") /* glibc composes */,
	};

	check(rows, CV_COUNT_OF(rows));
}

static void invalid_octets_become_one_replacement_each(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		ROW("utf-8", "a\x80z", "a\uFFFDz"),
		ROW("utf-8", "\xE2\x82", "\uFFFD"),
		ROW("utf-8", "\xE2\x82z", "\uFFFDz"),
		ROW("utf-8", "\xC0\xAF", "\uFFFD\uFFFD"),
		ROW("utf-8", "\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"),
		ROW("utf-8", "\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"),
		ROW("utf-8", "\xF0\x9F\x98", "\uFFFD"),
		ROW("utf-8", "\xE2\xE2\x82\xAC", "\uFFFD\u20AC"),
		ROW("euc-jp", "a\xFFz", "a\uFFFDz"),
		ROW("shift_jis", "a\x93", "a\uFFFD"),
		ROW("utf-16be", "\xD8\x00\x00\x61", "\uFFFDa"),
		ROW("utf-16le", "a\x00z", "a\uFFFD"),
		ROW("windows-1252", "\x81", "\uFFFD"),
		ROW("utf-7", "a+ b", "a\uFFFD b"),
		ROW("utf-7", "+2D0-x", "\uFFFDx"),
		ROW("utf-7", "+3gA-x", "\uFFFDx"),
		ROW("utf-7", "+AKN-x", "\u00A3\uFFFDx"),
		ROW("utf-7", "+AKMA-\xFF", "\u00A3\uFFFD\uFFFD"),
		ROW("utf-7", "+", "\uFFFD"),
	};

	check(rows, CV_COUNT_OF(rows));
}

static void unknown_charsets_are_guessed(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		ROW("x-unknown", "\xC3\xA4 \xE4", "\u00E4 \u00E4"),
		ROW("", "\xE2\x82\xAC\xE2\x82", "\u20AC\u00E2\u201A"),
		ROW("us-ascii", "caf\xC3\xA9", "caf\u00E9"),
		ROW("../../etc/passwd", "x\xE4", "x\u00E4"),
		ROW("UTF-8//IGNORE", "x", "x"),
	};

	check(rows, CV_COUNT_OF(rows));
	assert_false(cv_charset_known(CV_STR("x-unknown")));
	assert_false(cv_charset_known(CV_STR("")));
	assert_false(cv_charset_known(CV_STR("a-name-longer-than-any-charset-has-ever-had-in-mail")));
}

static void names_have_many_spellings(void **state CV_UNUSED)
{
	static const char *const names[] = { "UTF-8", "utf8", "US-ASCII", "ANSI_X3.4-1968", "latin1", "ISO_8859-1:1987",
		"ISO8859-15", "iso-8859-8-e", "8859-1", "windows-1250", "cp1250", "x-cp1250", "CP-850", "IBM850", "koi8-r",
		"unicode-1-1-utf-7", "ks_c_5601-1987", "x-sjis", "Shift_JIS", "GB_2312-80", "x-gbk", "cn-big5", "big5-hkscs",
		"euc-tw", "x-euc-jp", "csISO2022JP", "ISO-2022-CN", "tis-620", "x-mac-roman", "x-mac-cyrillic", "viscii",
		"UTF-16LE", "ucs-2", "utf-32", "cp65001", "johab", "georgian-ps", "armscii-8", "tcvn", "cp437", "cp737", "cp775",
		"cp852", "cp855", "cp857", "cp858", "cp860", "cp861", "cp862", "cp863", "cp864", "cp865", "cp866", "cp869",
		"cp874", "cp1255", "cp1256", "cp1257", "cp51932", "iso-2022-jp-2", "koi8-t", "koi8-ru", "x-mac-ce",
		"georgian-academy", "iso-8859-16", "iso-8859-10", "iso-8859-13", "iso-8859-14", "iso-8859-11" };

	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		if (!cv_charset_known(cv_str_c(names[i])))
			fail_msg("not known: %s", names[i]);
	}
}

static void output_stops_at_the_buffers_maximum(void **state CV_UNUSED)
{
	struct cv_buf in, out;

	cv_buf_init(&in, SIZE_MAX);
	for (int i = 0; i < 10000; i++)
		cv_buf_append_c(&in, "\xC6\xFC");
	cv_buf_init(&out, 100);
	cv_charset_to_utf8(CV_STR("euc-jp"), cv_buf_str(&in), &out);
	assert_false(cv_buf_ok(&out));
	assert_true(out.len <= 100);
	cv_buf_deinit(&in);
	cv_buf_deinit(&out);
}

static void utf8_becomes_other_charsets_or_fails(void **state CV_UNUSED)
{
	struct cv_buf out;

	cv_buf_init(&out, 1000);
	assert_true(cv_charset_from_utf8(CV_STR("iso-8859-15"), CV_STR("10 \u20AC"), &out));
	assert_str(cv_buf_str(&out), "10 \xA4");
	cv_buf_clear(&out);
	assert_true(cv_charset_from_utf8(CV_STR("iso-2022-jp"), CV_STR("\u65E5"), &out));
	assert_str(cv_buf_str(&out), "\x1B$BF|\x1B(B");
	assert_false(cv_charset_from_utf8(CV_STR("iso-8859-1"), CV_STR("\u65E5"), &out));
	assert_false(cv_charset_from_utf8(CV_STR("us-ascii"), CV_STR("\u00E4"), &out));
	assert_false(cv_charset_from_utf8(CV_STR("nonesuch"), CV_STR("a"), &out));
	assert_false(cv_charset_from_utf8(CV_STR("utf-8"), CV_STR("\xFF"), &out));
	cv_buf_deinit(&out);
}

/* Our tables against the C library, octet by octet. */
static void single_octets_are_what_iconv_says(void **state CV_UNUSED)
{
	static const char *const names[] = { "ISO-8859-2", "ISO-8859-3", "ISO-8859-4", "ISO-8859-5", "ISO-8859-6", "ISO-8859-7", "ISO-8859-8", "ISO-8859-10", "ISO-8859-13",
		"ISO-8859-14", "ISO-8859-15", "ISO-8859-16", "CP874", "CP1250", "CP1251", "CP1253", "CP1254", "CP1255", "CP1256", "CP1257", "CP1258", "KOI8-R",
		"KOI8-U", "CP437", "CP850", "CP866", "MACINTOSH" };
	struct cv_buf out;

	cv_buf_init(&out, 100);
	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		iconv_t cd = iconv_open("UTF-8", names[i]);
		assert_true(cd != (iconv_t)-1);
		for (unsigned octet = 1; octet < 256; octet++) {
			char in = (char)octet, want[16], *from = &in, *to = want;
			size_t left = 1, room = sizeof(want);
			bool bad = iconv(cd, &from, &left, &to, &room) == (size_t)-1;
			(void)iconv(cd, NULL, NULL, &to, &room);
			cv_buf_clear(&out);
			cv_charset_to_utf8(cv_str_c(names[i]), cv_str_mem(&in, 1), &out);
			if (bad)
				assert_str(cv_buf_str(&out), "\uFFFD");
			else
				assert_str_eq(cv_buf_str(&out), cv_str_mem(want, sizeof(want) - room));
		}
		(void)iconv_close(cd);
	}
	cv_buf_deinit(&out);
}

/* Long text is converted by words of ASCII and whole runs, single octets are not. room: a maximum that is just enough. */
static void text_is_the_same_at_once_and_by_octets(void **state CV_UNUSED)
{
	static const char *const names[] = { "utf-8", "iso-8859-1", "iso-8859-2", "koi8-r", "windows-1251", "us-ascii" };
	static const char *const pieces[] = { "plain", " ", "longer than eight octets", "\xC3\xA4", "\xD0\xB3\xD0\xB0", "\xE6\xB8\xAF\xE5\x8F\xA3", "\xF0\x9F\x98\x80", "\xE0\x80",
		"\xED\xA0\x80", "\xC3", "\xE6\xB8", "\x93", "\xFF", "\xC0\x80" };
	struct cv_buf in, whole, single, exact;
	uint32_t seed = 3;

	cv_buf_init(&in, 10000);
	cv_buf_init(&whole, 40000);
	cv_buf_init(&single, 40000);
	for (unsigned round = 0; round < 1200; round++) {
		struct cv_str name = cv_str_c(names[round % CV_COUNT_OF(names)]);
		struct cv_charset *charset = cv_charset_open(name);

		cv_buf_clear(&in);
		cv_buf_clear(&whole);
		cv_buf_clear(&single);
		for (unsigned i = 0; i < 60; i++) {
			seed = seed * 1664525u + 1013904223u;
			cv_buf_append_c(&in, pieces[(seed >> 16) % (round % 4 < 2 ? CV_COUNT_OF(pieces) : 6)]);
		}
		cv_charset_to_utf8(name, cv_buf_str(&in), &whole);
		for (size_t i = 0; i < in.len; i++)
			cv_charset_feed(charset, cv_str_sub(cv_buf_str(&in), i, 1), &single);
		cv_charset_finish(charset, &single);
		cv_charset_close(&charset);
		assert_str_eq(cv_buf_str(&whole), cv_buf_str(&single));
		cv_buf_init(&exact, whole.len);
		cv_charset_to_utf8(name, cv_buf_str(&in), &exact);
		assert_str_eq(cv_buf_str(&exact), cv_buf_str(&whole));
		cv_buf_deinit(&exact);
	}
	cv_buf_deinit(&in);
	cv_buf_deinit(&whole);
	cv_buf_deinit(&single);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test_fds_only(text_becomes_utf8_however_it_is_cut),
		cv_test_fds_only(invalid_octets_become_one_replacement_each),
		cv_test_fds_only(unknown_charsets_are_guessed),
		cv_test_fds_only(names_have_many_spellings),
		cv_test_fds_only(output_stops_at_the_buffers_maximum),
		cv_test_fds_only(utf8_becomes_other_charsets_or_fails),
		cv_test_fds_only(text_is_the_same_at_once_and_by_octets),
		cv_test_fds_only(single_octets_are_what_iconv_says),
	};
	int failed = cv_test_run(tests);

	cv_charset_cache_clear();
	return failed;
}
