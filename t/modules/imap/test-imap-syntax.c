/* SPDX-License-Identifier: MIT
   Tests of the small pieces of IMAP syntax: quoting, modified UTF-7, list patterns, dates, flags. */
#include <config.h>

#include "modules/lib/imap/imap-code.h"
#include "modules/lib/imap/imap-date.h"
#include "modules/lib/imap/imap-flags.h"
#include "modules/lib/imap/imap-id.h"
#include "modules/lib/imap/imap-match.h"
#include "modules/lib/imap/imap-quote.h"
#include "modules/lib/imap/imap-return.h"
#include "modules/lib/imap/imap-sequence.h"
#include "modules/lib/imap/imap-utf7.h"
#include "t/lib/test.h"

#include <culver/mailbox.h>
#include <culver/time.h>

static struct cv_buf out;

static struct cv_str with(void (*append)(struct cv_buf *, struct cv_str), struct cv_str s)
{
	cv_buf_deinit(&out);
	cv_buf_init(&out, 1 << 20);
	append(&out, s);
	return cv_buf_str(&out);
}

static int drop_out(void **state)
{
	cv_buf_deinit(&out);
	return cv_test_teardown(state);
}
#define test(fn) cmocka_unit_test_setup_teardown(fn, cv_test_setup, drop_out)

static void strings_are_quoted_where_that_is_safe(void **state)
{
	char longest[1001];

	(void)state;
	assert_str(with(cv_imap_append_string, CV_STR("")), "\"\"");
	assert_str(with(cv_imap_append_string, CV_STR("a\\b\"c")), "\"a\\\\b\\\"c\"");
	assert_str(with(cv_imap_append_string, CV_STR("a\r\nb")), "{4}\r\na\r\nb");
	assert_str(with(cv_imap_append_string, CV_STR("a\0b")), "{3}\r\na\x80" "b");
	assert_str(with(cv_imap_append_string, CV_STR("\xc3\xa4")), "{2}\r\n\xc3\xa4");
	memset(longest, 'x', sizeof(longest));
	assert_true(cv_str_starts(with(cv_imap_append_string, cv_str_mem(longest, 1000)), CV_STR("\"xx")));
	assert_true(cv_str_starts(with(cv_imap_append_string, cv_str_mem(longest, 1001)), CV_STR("{1001}\r\n")));
	assert_str(with(cv_imap_append_nstring, (struct cv_str){ NULL, 0 }), "NIL");
	assert_str(with(cv_imap_append_nstring, CV_STR("NIL")), "\"NIL\"");
	assert_str(with(cv_imap_append_astring, CV_STR("INBOX")), "INBOX");
	assert_str(with(cv_imap_append_astring, CV_STR("a]b")), "a]b");
	assert_str(with(cv_imap_append_astring, CV_STR("nil")), "\"nil\"");
	assert_str(with(cv_imap_append_astring, CV_STR("")), "\"\"");
	assert_str(with(cv_imap_append_astring, CV_STR("a b")), "\"a b\"");
	assert_str(with(cv_imap_append_astring, CV_STR("a%")), "\"a%\"");
	assert_str(with(cv_imap_append_astring, CV_STR("\xc3\xa4")), "{2}\r\n\xc3\xa4");
}

/* Whatever stands wherever in a string, whose octets are looked at by eights. */
static void each_octet_at_each_place_is_sent_so_that_it_comes_back(void **state)
{
	(void)state;
	for (size_t len = 1; len < 20; len++) {
		for (size_t at = 0; at < len; at++) {
			for (int c = 0; c < 256; c++) {
				char text[20];
				struct cv_str sent;

				memset(text, 'a' + (int)at, sizeof(text));
				text[at] = (char)c;
				sent = with(cv_imap_append_string, cv_str_mem(text, len));
				if (c == 0 || c == '\r' || c == '\n' || c >= 0x7f)
					assert_int_equal(sent.ptr[0], '{');
				else if (c == '"' || c == '\\')
					assert_true(sent.len == len + 3 && sent.ptr[at + 1] == '\\' && sent.ptr[at + 2] == (char)c);
				else
					assert_true(sent.len == len + 2 && sent.ptr[0] == '"' && memcmp(sent.ptr + 1, text, len) == 0);
			}
		}
	}
}

static void utf7_names_come_back_the_same(void **state)
{
	static const struct {
		struct cv_str utf7, utf8;
	} rows[] = {
		{ CV_STR_INIT(""), CV_STR_INIT("") },
		{ CV_STR_INIT("INBOX"), CV_STR_INIT("INBOX") },
		{ CV_STR_INIT("R&-D"), CV_STR_INIT("R&D") },
		{ CV_STR_INIT("&-&-"), CV_STR_INIT("&&") },
		{ CV_STR_INIT("Entw&APw-rfe"), CV_STR_INIT("Entw\xc3\xbcrfe") },
		/* RFC 3501 section 5.1.3's example */
		{ CV_STR_INIT("~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
			CV_STR_INIT("~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e") },
		{ CV_STR_INIT("&U,BTF2XlZyyKng-"), CV_STR_INIT("\xe5\x8f\xb0\xe5\x8c\x97\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e") },
		{ CV_STR_INIT("&Jjo-!"), CV_STR_INIT("\xe2\x98\xba!") },
		{ CV_STR_INIT("&Jjo-&-"), CV_STR_INIT("\xe2\x98\xba&") },
		{ CV_STR_INIT("&2D3eCg-"), CV_STR_INIT("\xf0\x9f\x98\x8a") },
		{ CV_STR_INIT("&AAEAfw-"), CV_STR_INIT("\x01\x7f") },
	};

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		assert_str_eq(with(cv_imap_utf7_encode, rows[i].utf8), rows[i].utf7);
		cv_buf_clear(&out);
		assert_true(cv_imap_utf7_decode(&out, rows[i].utf7));
		assert_str_eq(cv_buf_str(&out), rows[i].utf8);
	}
}

static void wrong_utf7_is_refused_and_leaves_the_buffer(void **state)
{
	static const struct cv_str rows[] = {
		CV_STR_INIT("&Jjo!"),                 /* RFC 3501: "does not contain a shift to US-ASCII before the !" */
		CV_STR_INIT("&U,BTFw-&ZeVnLIqe-"),    /* RFC 3501: "contains a superfluous shift" */
		CV_STR_INIT("&"), CV_STR_INIT("a&APw"), CV_STR_INIT("&AGE-"), /* no end; "a" in base64 */
		CV_STR_INIT("&APx-"),                 /* padding bits */
		CV_STR_INIT("&AP-"), CV_STR_INIT("&APwA-"), CV_STR_INIT("&A-"), /* half a character */
		CV_STR_INIT("&2D0-"), CV_STR_INIT("&3go-"), CV_STR_INIT("&2D0APw-"), /* lone surrogates */
		CV_STR_INIT("&AAA-"),                 /* U+0000 */
		CV_STR_INIT("\xc3\xbc"), CV_STR_INIT("a\tb"), CV_STR_INIT("&AP/-"), CV_STR_INIT("&AP w-"),
	};

	(void)state;
	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		cv_buf_clear(&out);
		cv_buf_append_c(&out, "kept");
		assert_false(cv_imap_utf7_decode(&out, rows[i]));
		assert_str(cv_buf_str(&out), "kept");
	}
}

static void text_that_is_no_utf8_still_has_a_name(void **state)
{
	(void)state;
	assert_str(with(cv_imap_utf7_encode, CV_STR("a\xff" "b")), "a&,,0-b");
	assert_str(with(cv_imap_utf7_encode, CV_STR("\xc3")), "&,,0-");
	assert_str(with(cv_imap_utf7_encode, CV_STR("\xed\xa0\x80")), "&,,3,,f,9-");
	assert_str(with(cv_imap_utf7_encode, CV_STR("\xc0\x80")), "&,,3,,Q-");
}

static bool matches(void **state, const char *pattern, const char *name)
{
	return cv_imap_pattern_match(cv_imap_pattern_new(*state, cv_str_c(pattern), '/'), cv_str_c(name));
}

static void patterns_match_whole_names(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool want;
	} rows[] = {
		{ "*", "", true }, { "*", "a/b/c", true }, { "%", "a", true }, { "%", "a/b", false }, { "%", "", true },
		{ "", "", true }, { "", "a", false }, { "a", "a", true }, { "a", "ab", false }, { "ab", "a", false },
		{ "a/%", "a/b", true }, { "a/%", "a/b/c", false }, { "a/%", "a/", true }, { "a/*", "a/b/c", true },
		{ "%/%", "a/b", true }, { "%/%", "a", false }, { "%/%", "a/b/c", false }, { "*b", "a/b", true },
		{ "*%", "a/b", true }, { "%*", "a/b", true }, { "%%", "ab", true }, { "%%", "a/b", false }, { "%*%", "a/b/c", true },
		{ "a*b*c", "aXbYbZc", true }, { "a*b*c", "aXbYbZ", false }, { "%3/%4", "t3/t4", true }, { "%t*4", "t3/t4", true },
		{ "inbox", "INBOX", true }, { "InB%", "INBOX", true }, { "inbox/x", "INBOX/x", true }, { "inbox/X", "INBOX/x", false },
		{ "inboxes", "INBOXES", false }, { "*ox", "INBOX", true }, { "A", "a", false }, { "in%/x", "INBOX/x", true },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		if (matches(state, rows[i].pattern, rows[i].name) != rows[i].want)
			fail_msg("%s %s", rows[i].pattern, rows[i].name);
	}
}

/* An exponential matcher would not come back from this. */
static void many_wildcards_are_no_slower_than_length_times_length(void **state)
{
	struct cv_buf pattern;
	struct cv_imap_pattern *p;
	char name[1000];
	uint64_t start = cv_time_mono_ms();

	cv_buf_init(&pattern, 10000);
	for (int i = 0; i < 1000; i++)
		cv_buf_append_c(&pattern, i % 2 == 0 ? "*a" : "%a");
	memset(name, 'a', sizeof(name));
	p = cv_imap_pattern_new(*state, cv_buf_str(&pattern), '/');
	for (int i = 0; i < 20; i++)
		assert_true(cv_imap_pattern_match(p, cv_str_mem(name, sizeof(name))));
	assert_false(cv_imap_pattern_match(p, cv_str_mem(name, sizeof(name) - 1)));
	assert_true(cv_time_mono_ms() - start < 10000);
	cv_buf_deinit(&pattern);
}

static void dates_are_exact(void **state)
{
	int64_t day;

	(void)state;
	assert_true(cv_imap_date_parse(CV_STR("1-Jan-1970"), &day));
	assert_int_equal(day, 0);
	assert_true(cv_imap_date_parse(CV_STR("01-feb-1994"), &day));
	assert_int_equal(day, 8797);
	assert_true(cv_imap_date_parse(CV_STR("31-Dec-1969"), &day));
	assert_int_equal(day, -1);
	assert_true(cv_imap_date_parse(CV_STR("29-Feb-2000"), &day));
	assert_false(cv_imap_date_parse(CV_STR("29-Feb-1900"), &day));
	assert_false(cv_imap_date_parse(CV_STR("0-Feb-1994"), &day));
	assert_false(cv_imap_date_parse(CV_STR("32-Jan-1994"), &day));
	assert_false(cv_imap_date_parse(CV_STR("1-Foo-1994"), &day));
	assert_false(cv_imap_date_parse(CV_STR("1-Feb-94"), &day));
	assert_false(cv_imap_date_parse(CV_STR("1-Feb-19940"), &day));
	assert_false(cv_imap_date_parse(CV_STR("1 Feb 1994"), &day));
	assert_false(cv_imap_date_parse(CV_STR(""), &day));
	assert_false(cv_imap_date_parse(CV_STR("1"), &day));
}

static void date_times_come_back_the_same(void **state)
{
	static const struct {
		struct cv_str text;
		int64_t sec;
		int zone;
	} rows[] = {
		{ CV_STR_INIT(" 7-Feb-1994 21:52:25 -0800"), 760686745, -480 },
		{ CV_STR_INIT("17-Jul-1996 02:44:25 -0700"), 837596665, -420 },
		{ CV_STR_INIT(" 1-Jan-1970 00:00:00 +0000"), 0, 0 },
		{ CV_STR_INIT("31-Dec-1969 23:30:00 -0030"), 0, -30 },
		{ CV_STR_INIT(" 1-Nov-2026 10:11:12 +1345"), 1793478372, 825 },
	};
	int64_t sec;
	int zone;

	(void)state;
	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		assert_true(cv_imap_datetime_parse(rows[i].text, &sec, &zone));
		assert_int_equal(sec, rows[i].sec);
		assert_int_equal(zone, rows[i].zone);
		cv_buf_clear(&out);
		cv_imap_append_datetime(&out, sec, zone);
		assert_str_eq(cv_str_sub(cv_buf_str(&out), 1, out.len - 2), rows[i].text);
	}
	assert_true(cv_imap_datetime_parse(CV_STR("07-Feb-1994 21:52:25 -0800"), &sec, &zone));
	assert_true(cv_imap_datetime_parse(CV_STR("7-Feb-1994 21:52:25 -0800"), &sec, &zone));
	assert_false(cv_imap_datetime_parse(CV_STR(" 7-Feb-1994 24:52:25 -0800"), &sec, &zone));
	assert_false(cv_imap_datetime_parse(CV_STR(" 7-Feb-1994 21:60:25 -0800"), &sec, &zone));
	assert_false(cv_imap_datetime_parse(CV_STR(" 7-Feb-1994 21:52:25"), &sec, &zone));
	assert_false(cv_imap_datetime_parse(CV_STR(" 7-Feb-1994 21:52:25 0800"), &sec, &zone));
	assert_false(cv_imap_datetime_parse(CV_STR(" 7-Feb-1994 21:52:25 -08000"), &sec, &zone));
	assert_false(cv_imap_datetime_parse(CV_STR("30-Feb-1994 21:52:25 -0800"), &sec, &zone));
	assert_false(cv_imap_datetime_parse(CV_STR(""), &sec, &zone));
}

static struct cv_imap_arg *atoms(void **state, const char *const *words)
{
	struct cv_imap_arg *first = NULL, **last = &first;

	for (; *words != NULL; words++, last = &(*last)->next) {
		*last = cv_new(*state, struct cv_imap_arg, 1);
		(*last)->type = CV_IMAP_ARG_ATOM;
		(*last)->str = cv_str_c(*words);
	}
	return first;
}

static void flags_and_keywords_are_told_apart(void **state)
{
	static const char *const words[] = { "\\seen", "$Junk", "\\DRAFT", "$junk", "Later", NULL };
	struct cv_imap_flags flags;
	struct cv_err err = { 0 };

	assert_int_equal(cv_imap_flags_parse(*state, atoms(state, words), &flags, &err), 0);
	assert_int_equal(flags.flags, CV_FLAG_SEEN | CV_FLAG_DRAFT);
	assert_int_equal(flags.count, 2);
	assert_str(flags.keywords[0], "$Junk");
	assert_str(flags.keywords[1], "Later");
	cv_buf_init(&out, 1000);
	cv_imap_append_flags(&out, flags.flags, true, flags.keywords, flags.count);
	assert_str(cv_buf_str(&out), "\\Seen \\Draft \\Recent $Junk Later");
}

static void flags_that_are_none_are_refused(void **state)
{
	static const char *const rows[][2] = { { "\\Recent", NULL }, { "\\Foo", NULL }, { "a%", NULL }, { "a]", NULL }, { "\xc3\xa4", NULL },
		{ "\\*", NULL } };
	struct cv_imap_flags flags;

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };

		assert_int_equal(cv_imap_flags_parse(*state, atoms(state, rows[i]), &flags, &err), -1);
		assert_true(err.public_text);
	}
}

/* ---- Result options ------------------------------------------------------------------------------------ */

static void partial_ranges_name_places(void **state)
{
	static const struct {
		const char *text;
		uint32_t count, first, last; /* first 0: none */
	} rows[] = {
		{ "1:3", 5, 1, 3 }, { "3:1", 5, 1, 3 }, { "4:9", 5, 4, 5 }, { "6:9", 5, 0, 0 }, { "1:1", 0, 0, 0 }, { "-1:-1", 5, 5, 5 },
		{ "-1:-3", 5, 3, 5 }, { "-3:-1", 5, 3, 5 }, { "-4:-9", 5, 1, 2 }, { "-6:-9", 5, 0, 0 }, { "1:4294967295", 5, 1, 5 },
		{ "-1:-4294967295", 5, 1, 5 },
	};
	static const char *const wrong[] = { "", "1", "1:", ":1", "0:1", "1:0", "-1:1", "1:-1", "1:*", "1:2,3", "1:4294967296", "-:-1", "1:2 ", "-0:-1" };
	struct cv_imap_partial partial;
	uint32_t first, last;

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		assert_true(cv_imap_partial_parse(cv_str_c(rows[i].text), &partial));
		assert_int_equal(cv_imap_partial_places(&partial, rows[i].count, &first, &last), rows[i].first != 0);
		if (rows[i].first != 0) {
			assert_int_equal(first, rows[i].first);
			assert_int_equal(last, rows[i].last);
		}
	}
	for (size_t i = 0; i < CV_COUNT_OF(wrong); i++)
		assert_false(cv_imap_partial_parse(cv_str_c(wrong[i]), &partial));
}

static void saved_results_are_cut_off_sets(void **state)
{
	static const struct {
		const char *set, *rest;
		bool saved;
	} rows[] = { { "$", "", true }, { "1,$", "1", true }, { "1:2,*,$", "1:2,*", true }, { "$,1", "$,1", false }, { "1$", "1$", false },
		{ ",$", ",$", false }, { "", "", false }, { "12", "12", false } };

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_str set = cv_str_c(rows[i].set);

		assert_int_equal(cv_imap_sequence_cut_saved(&set), rows[i].saved);
		assert_true(cv_str_eq_c(set, rows[i].rest));
	}
}

static void every_error_of_a_login_has_a_code(void **state)
{
	(void)state;
	for (int code = CV_ERR_TEMP; code <= CV_ERR_LAST; code++)
		assert_non_null(cv_imap_login_code((enum cv_err_code)code));
	assert_string_equal(cv_imap_code(CV_ERR_NOQUOTA), "OVERQUOTA");
}

static void id_fields_are_logged_as_the_setting_says(void **state)
{
	static const struct {
		const char *fields, *want;
	} rows[] = {
		{ NULL, "" },
		{ "", "" },
		{ "name", "name=Bird" },
		{ "NAME  os", "name=Bird, os=NIL" },
		{ "*", "name=Bird, version=\"1 2\", os=NIL" },
		{ "colour", "" },
	};
	struct cv_buf line;

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		cv_buf_init(&line, 1000);
		cv_imap_id_log(&line, rows[i].fields, CV_STR("name"), CV_STR("Bird"));
		cv_imap_id_log(&line, rows[i].fields, CV_STR("version"), CV_STR("1 2"));
		cv_imap_id_log(&line, rows[i].fields, CV_STR("os"), (struct cv_str){ NULL, 0 });
		assert_str_eq(cv_buf_str(&line), cv_str_c(rows[i].want));
		cv_buf_deinit(&line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(strings_are_quoted_where_that_is_safe),
		test(each_octet_at_each_place_is_sent_so_that_it_comes_back),
		test(utf7_names_come_back_the_same),
		test(wrong_utf7_is_refused_and_leaves_the_buffer),
		test(text_that_is_no_utf8_still_has_a_name),
		test(patterns_match_whole_names),
		test(many_wildcards_are_no_slower_than_length_times_length),
		test(dates_are_exact),
		test(date_times_come_back_the_same),
		test(flags_and_keywords_are_told_apart),
		test(flags_that_are_none_are_refused),
		test(partial_ranges_name_places),
		test(saved_results_are_cut_off_sets),
		test(every_error_of_a_login_has_a_code),
		test(id_fields_are_logged_as_the_setting_says),
	};

	return cv_test_run(tests);
}
