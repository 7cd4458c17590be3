/* SPDX-License-Identifier: MIT
   Encoded words (RFC 2047) and parameters (RFC 2231), right and wrong ones. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/charset.h>
#include <culver/header.h>

#include <string.h>

struct row {
	const char *in, *want;
};

static void check_decoded(const struct row *rows, size_t count)
{
	struct cv_buf out;

	cv_buf_init(&out, 10000);
	for (size_t i = 0; i < count; i++) {
		cv_buf_clear(&out);
		cv_header_decode(&out, cv_str_c(rows[i].in));
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
	}
	cv_buf_deinit(&out);
}

static void words_are_decoded_from_their_charset(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		{ "plain text", "plain text" },
		{ "=?UTF-8?Q?Gr=C3=BC=C3=9Fe_aus_Ulm?=", "Gr\u00FC\u00DFe aus Ulm" },
		{ "=?utf-8?B?R3LDvMOfZQ==?=", "Gr\u00FC\u00DFe" },
		{ "=?iso-8859-1?q?=FCber?= alles", "\u00FCber alles" },
		{ "=?ISO-8859-15?Q?10_=A4?=", "10 \u20AC" },
		{ "=?koi8-r?B?8NLJ18XU?=", "\u041F\u0440\u0438\u0432\u0435\u0442" },
		{ "=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "\u65E5\u672C" },
		{ "=?gb2312?B?1tC5+g==?=", "\u4E2D\u56FD" },
		{ "=?ks_c_5601-1987?B?x9GxuQ==?=", "\uD55C\uAD6D" },
		{ "=?big5?B?pKSk5Q==?=", "\u4E2D\u6587" },
		{ "=?windows-1256?Q?=E3=D1=CD=C8=C7?=", "\u0645\u0631\u062D\u0628\u0627" },
		/* RFC 2231 section 5: a language in the charset */
		{ "=?US-ASCII*en?Q?Keith_Moore?=", "Keith Moore" },
	};

	check_decoded(rows, CV_COUNT_OF(rows));
}

static void white_space_between_words_is_not_shown(void **state CV_UNUSED)
{
	/* RFC 2047 section 6.2: linear white space that separates a pair of adjacent encoded words is ignored. */
	static const struct row rows[] = {
		{ "=?us-ascii?Q?a?= =?us-ascii?Q?b?=", "ab" },
		{ "=?us-ascii?Q?a?=\r\n   \t=?us-ascii?Q?b?=", "ab" },
		{ "=?us-ascii?Q?a?= b =?us-ascii?Q?c?=", "a b c" },
		{ "=?us-ascii?Q?a_b?=", "a b" },
		{ "=?us-ascii?Q?a?= =?us-ascii?Q?_b?=", "a b" },
		{ "(=?us-ascii?Q?a?= =?us-ascii?Q?b?=)", "(ab)" },
	};

	check_decoded(rows, CV_COUNT_OF(rows));
}

static void characters_split_over_words_are_joined(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		{ "=?utf-8?B?4oI=?= =?utf-8?B?rA==?=", "\u20AC" },
		{ "=?utf-8?Q?=E2?=\n =?UTF-8?B?gqw=?=", "\u20AC" },
		/* not over words of two charsets, and not over text */
		{ "=?utf-8?Q?=E2=82?= =?iso-8859-15?Q?=A4?=", "\uFFFD\u20AC" },
		{ "=?utf-8?Q?=E2=82?= x", "\uFFFD x" },
		{ "=?iso-2022-jp?B?GyRCRnw=?= =?iso-2022-jp?B?S1wbKEI=?=", "\u65E5\u672C" },
	};

	check_decoded(rows, CV_COUNT_OF(rows));
}

static void what_is_wrong_has_an_answer_too(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		{ "=?utf-8?Q?no end", "=?utf-8?Q?no end" },
		{ "=?utf-8?X?abc?=", "=?utf-8?X?abc?=" },
		{ "=?" "?Q?abc?=", "=?" "?Q?abc?=" },
		{ "=?utf-8?Q?" "?=", "" },
		{ "a=?utf-8?Q?b?=c", "abc" },
		{ "\"=?utf-8?Q?quoted?=\"", "\"quoted\"" },
		{ "=?utf-8?Q?with space?=", "with space" },
		{ "=?utf-8?Q?=4?= =?utf-8?Q?=GG?=", "=4=GG" },
		{ "=?utf-8?B?YQ?=", "a" },
		{ "=?utf-8?B?Y*Q=?=", "a" },
		{ "=?utf-8?Q?a=00b=0Ac?=", "a b c" },
		{ "=?x-nonesuch?Q?=E4?=", "\u00E4" },
		{ "=?unknown-8bit?Q?=C3=A4?=", "\u00E4" },
		/* raw 8-bit: UTF-8 (RFC 6532), else windows-1252 */
		{ "caf\xC3\xA9", "caf\u00E9" },
		{ "caf\xE9 \x80", "caf\u00E9 \u20AC" },
		{ "=?=?utf-8?Q?a?=", "=?a" },
		{ "tab\tand\x7F" "del", "tab and del" },
	};

	check_decoded(rows, CV_COUNT_OF(rows));
}

static void hostile_values_take_linear_time(void **state CV_UNUSED)
{
	struct cv_buf value, out;

	cv_buf_init(&value, SIZE_MAX);
	cv_buf_init(&out, SIZE_MAX);
	for (int i = 0; i < 200000; i++)
		cv_buf_append_c(&value, "=?a?q?x");
	cv_header_decode(&out, cv_buf_str(&value));
	assert_str_eq(cv_buf_str(&out), cv_buf_str(&value));
	cv_buf_deinit(&value);
	cv_buf_deinit(&out);
}

static void encoding_gives_short_words_that_decode_to_the_same(void **state CV_UNUSED)
{
	static const char *const texts[] = { "Gr\u00FC\u00DFe",
		("\u65E5\u672C\u8A9E\u306E\u4EF6\u540D\u3067\u3059\u304C\u9577\u3044\u306E\u3067\u4E8C\u3064\u306B\u306A\u308B"), "a =?utf-8?q?b?= c", "line\nbreak" , "\u00E9",
		"plain then \u00E9 and a very long tail of plain words that does not fit into one word of 75 octets" };
	struct cv_buf coded, decoded;

	cv_buf_init(&coded, 1000);
	cv_buf_init(&decoded, 1000);
	cv_header_encode(&coded, CV_STR("plain"));
	assert_str(cv_buf_str(&coded), "plain");
	for (size_t i = 0; i < CV_COUNT_OF(texts); i++) {
		struct cv_str rest, word;

		cv_buf_clear(&coded);
		cv_buf_clear(&decoded);
		cv_header_encode(&coded, cv_str_c(texts[i]));
		assert_true(cv_str_is_ascii(cv_buf_str(&coded)));
		rest = cv_buf_str(&coded);
		while (rest.len > 0) {
			(void)cv_str_split(rest, ' ', &word, &rest);
			assert_true(word.len <= 75);
		}
		cv_header_decode(&decoded, cv_buf_str(&coded));
		if (strcmp(texts[i], "line\nbreak") == 0)
			assert_str(cv_buf_str(&decoded), "line break");
		else
			assert_str_eq(cv_buf_str(&decoded), cv_str_c(texts[i]));
	}
	cv_buf_deinit(&coded);
	cv_buf_deinit(&decoded);
}

/* ---- parameters ---- */

/* "name=value;name=value" of what a Content-Type says. */
static void check_params(struct cv_arena *arena, const char *value, const char *want)
{
	struct cv_str type, subtype;
	struct cv_params params;
	struct cv_buf out;

	cv_buf_init(&out, 10000);
	assert_true(cv_header_parse_content_type(arena, cv_str_c(value), 100, &type, &subtype, &params));
	cv_buf_append(&out, type);
	cv_buf_append_char(&out, '/');
	cv_buf_append(&out, subtype);
	for (size_t i = 0; i < params.count; i++) {
		cv_buf_append_char(&out, ';');
		cv_buf_append(&out, params.items[i].name);
		cv_buf_append_char(&out, '=');
		cv_buf_append(&out, params.items[i].value);
	}
	assert_str_eq(cv_buf_str(&out), cv_str_c(want));
	cv_buf_deinit(&out);
}

static void parameters_are_read_as_written(void **state)
{
	static const struct row rows[] = {
		{ "text/plain", "text/plain" },
		/* RFC 2045 section 5.1: these two are the same */
		{ "text/plain; charset=us-ascii (Plain text)", "text/plain;charset=us-ascii" },
		{ "text/plain; charset=\"us-ascii\"", "text/plain;charset=us-ascii" },
		{ "Text / HTML ;CHARSET = utf-8 ; ; format=flowed;", "Text/HTML;CHARSET=utf-8;format=flowed" },
		{ "(c) text (c) / (c) plain (c) ; (c) a (c) = (c) b (c)", "text/plain;a=b" },
		{ "multipart/mixed; boundary=\"a\\\"b\\\\c\"", "multipart/mixed;boundary=a\"b\\c" },
		{ "multipart/mixed; boundary=\"foo\n bar\"", "multipart/mixed;boundary=foo bar" },
		{ "multipart/mixed; boundary=----=_x.y?", "multipart/mixed;boundary=----=_x.y?" },
		{ "a/b; name=my file (2).pdf; x=1", "a/b;name=my file (2).pdf;x=1" },
		{ "a/b; name=file(2).pdf", "a/b;name=file(2).pdf" },
		{ "a/b; charset=utf-8 name=x", "a/b;charset=utf-8;name=x" },
		{ "a/b; name=\"x\" size=3", "a/b;name=x;size=3" },
		{ "a/b name=x", "a/b;name=x" },
		{ "a/b; name=\"never closed; x=1", "a/b;name=never closed; x=1" },
		{ "a/b; name=x (never closed; x=1", "a/b;name=x (never closed;x=1" },
		{ "a/b; name=; x=1", "a/b;name=;x=1" },
		{ "a/b; =x; y", "a/b" },
		{ "a/b; title*0*=us-ascii'en'x%20; title*1=y", "a/b;title*0*=us-ascii'en'x%20;title*1=y" },
		{ "a/b; name=caf\xC3\xA9", "a/b;name=caf\xC3\xA9" },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++)
		check_params(*state, rows[i].in, rows[i].want);
}

static void invalid_types_are_refused(void **state)
{
	static const char *const values[] = { "", "text", "text/", "/plain", "text;charset=x", "\"text\"/plain", "=", ";" };
	struct cv_str type, subtype;
	struct cv_params params;

	for (size_t i = 0; i < CV_COUNT_OF(values); i++) {
		assert_false(
			cv_header_parse_content_type(*state, cv_str_c(values[i]), 100, &type, &subtype, &params));
		assert_null(type.ptr);
		assert_int_equal(params.count, 0);
	}
}

static void parameters_stop_at_their_bound(void **state)
{
	struct cv_str token;
	struct cv_params params;

	assert_true(cv_header_parse_token_params(
		*state, CV_STR("attachment; a=1; b=2; c=3"), 2, &token, &params));
	assert_str(token, "attachment");
	assert_int_equal(params.count, 2);
	assert_str(cv_params_raw(&params, CV_STR("B")), "2");
	assert_null(cv_params_raw(&params, CV_STR("c")).ptr);
}

static void hostile_parameters_take_linear_time(void **state)
{
	static const char *const pieces[] = { " (", " (c)", " x", ";;", " a=", "\\\"", "(((", "a=\"" };
	struct cv_buf value;
	struct cv_str type, subtype;
	struct cv_params params;

	cv_buf_init(&value, SIZE_MAX);
	for (size_t i = 0; i < CV_COUNT_OF(pieces); i++) {
		cv_buf_clear(&value);
		cv_buf_append_c(&value, "a/b; c=d ");
		while (value.len < 1000000)
			cv_buf_append_c(&value, pieces[i]);
		assert_true(
			cv_header_parse_content_type(*state, cv_buf_str(&value), 100, &type, &subtype, &params));
		cv_arena_reset(*state);
	}
	cv_buf_deinit(&value);
}

static void check_value(struct cv_arena *arena, const char *value, const char *name, const char *want)
{
	struct cv_str token;
	struct cv_params params;
	struct cv_buf out;

	cv_buf_init(&out, 10000);
	assert_true(cv_header_parse_token_params(arena, cv_str_c(value), 100, &token, &params));
	assert_int_equal(cv_params_decode(&params, cv_str_c(name), &out), want != NULL);
	if (want != NULL)
		assert_str_eq(cv_buf_str(&out), cv_str_c(want));
	cv_buf_deinit(&out);
}

static void rfc2231_values_are_joined_and_decoded(void **state)
{
	check_value(*state, "x; URL*0=\"ftp://\"; URL*1=\"cs.example/pub\"", "url", "ftp://cs.example/pub");
	check_value(*state, "x; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "title", "This is ***fun***");
	/* RFC 2231 section 4.1: encoded and plain segments may be mixed */
	check_value(*state, "x; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
		"title", "This is even more ***fun*** isn't it!");
	/* segments in any order; the number decides */
	check_value(*state, "x; f*1=b; f*2=c; f*0=a", "f", "abc");
	check_value(*state, "x; f*0=a; f*2=c", "f", "a");
	check_value(*state, "x; f*1=b", "f", NULL);
	/* a character cut by segments */
	check_value(*state, "x; f*0*=utf-8''%E2%82; f*1*=%AC", "f", "\u20AC");
	check_value(*state, "x; filename*=iso-8859-1''%A3%20rates; filename=rates", "filename", "\u00A3 rates");
	check_value(*state, "x; filename*=UTF-8''%e2%82%ac; filename=old", "FILENAME", "\u20AC");
	/* wrong ones */
	check_value(*state, "x; f*=caf%E9", "f", "caf\u00E9");
	check_value(*state, "x; f*=utf-8''100%; g=1", "f", "100%");
	check_value(*state, "x; f*=utf-8'%41", "f", "utf-8'A");
	check_value(*state, "x; f*=utf-8''a%00%0Ab", "f", "a  b");
	/* RFC 2047 words do not belong into parameters, but are there */
	check_value(*state, "x; f=\"=?utf-8?B?4oKs?=.pdf\"", "f", "\u20AC.pdf");
	check_value(*state, "x; f*0=\"=?utf-8?Q?=E2=82\"; f*1=\"=AC?=\"", "f", "\u20AC");
	check_value(*state, "x; f=1", "ff", NULL);
}

static void append_pair(void *ctx, struct cv_str name, struct cv_str value)
{
	cv_buf_append(ctx, name);
	cv_buf_append_char(ctx, '|');
	cv_buf_append(ctx, value);
	cv_buf_append_char(ctx, '\n');
}

static void check_joined(struct cv_arena *arena, const char *value, const char *want)
{
	struct cv_str token;
	struct cv_params params;
	struct cv_buf out;

	cv_buf_init(&out, 10000);
	assert_true(cv_header_parse_token_params(arena, cv_str_c(value), 100, &token, &params));
	cv_params_each_joined(&params, append_pair, &out);
	assert_str_eq(cv_buf_str(&out), cv_str_c(want));
	cv_buf_deinit(&out);
}

static void continuations_are_joined_as_written(void **state)
{
	check_joined(*state, "x; a=1; b*=utf-8''%41", "a|1\nb*|utf-8''%41\n");
	check_joined(*state, "x; URL*0=\"ftp:// \"; z=9; url*1=\"cs.example\"", "URL|ftp:// cs.example\nz|9\n");
	check_joined(*state, "x; t*0*=us-ascii'en'A%20; t*1*=%2A; t*2=\"isn't 5%\"", "t*|us-ascii'en'A%20%2Aisn%27t%205%25\n");
	/* the number decides, also when section 0 comes last */
	check_joined(*state, "x; f*1=b; g=1; f*2=c; f*0=a", "g|1\nf|abc\n");
	/* percent encoding needs a charset's place before it */
	check_joined(*state, "x; f*0=a; f*1*=%C3", "f*|''a%C3\n");
	/* what belongs to nothing stays */
	check_joined(*state, "x; f*0=a; f*2=c; f*0=again; g*1=x; *0=y; h*0*1=z", "f|a\nf*2|c\nf*0|again\ng*1|x\n*0|y\nh*0*1|z\n");
	check_joined(*state, "x; f*0=\"\"", "f|\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test_fds_only(words_are_decoded_from_their_charset),
		cv_test_fds_only(white_space_between_words_is_not_shown),
		cv_test_fds_only(characters_split_over_words_are_joined),
		cv_test_fds_only(what_is_wrong_has_an_answer_too),
		cv_test(hostile_values_take_linear_time),
		cv_test(encoding_gives_short_words_that_decode_to_the_same),
		cv_test(parameters_are_read_as_written),
		cv_test_fds_only(continuations_are_joined_as_written),
		cv_test(invalid_types_are_refused),
		cv_test(parameters_stop_at_their_bound),
		cv_test(hostile_parameters_take_linear_time),
		cv_test_fds_only(rfc2231_values_are_joined_and_decoded),
	};
	int failed = cv_test_run(tests);

	cv_charset_cache_clear();
	return failed;
}
