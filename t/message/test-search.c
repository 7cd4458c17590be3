/* SPDX-License-Identifier: MIT
   Text search in decoded messages, i;unicode-casemap, base subjects. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/search.h>

struct row {
	const char *in, *want;
};

static void casemap_is_titlecase_and_decomposition(void **state CV_UNUSED)
{
	static const struct row rows[] = {
		{ "abc XYZ 12", "ABC XYZ 12" },
		{ "\u00E4", "A\u0308" },
		{ "\u00C4", "A\u0308" },
		/* RFC 5051 section 2's own example: U+01C4 by way of U+01C5 */
		{ "\u01C4", "Dz\u030C" },
		{ "\u01C6", "Dz\u030C" },
		{ "\uFB01", "fi" }, /* has no titlecase property, so the decomposition stays small */
		{ "\u00DF", "\u00DF" },
		{ "\u0430\u0431", "\u0410\u0411" },
		{ "\uFF41", "A" },
		{ "\uD55C", "\u1112\u1161\u11AB" },
		{ "\xFF" "abc", "\xFF" "abc" },
		{ "a\u20ACb", "A\u20ACB" },
	};
	struct cv_buf out;

	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		cv_buf_clear(&out);
		cv_casemap(&out, cv_str_c(rows[i].in));
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
	}
	assert_true(cv_casemap_eq(CV_STR("Stra\u00DFe \u00C4"), CV_STR("sTRA\u00DFE \u00E4")));
	assert_false(cv_casemap_eq(CV_STR("a"), CV_STR("b")));
	assert_true(cv_casemap_contains(CV_STR("\u00DCber alles"), CV_STR("\u00FCBER")));
	assert_false(cv_casemap_contains(CV_STR("Uber"), CV_STR("\u00FCber")));
	cv_buf_deinit(&out);
}

/* ASCII is mapped by words, what is near the end is not; and a maximum that is just enough is enough. */
static void casemap_is_the_same_at_once_and_by_characters(void **state CV_UNUSED)
{
	static const char *const characters[] = { "a", "z", "M", "{", "`", "@", "[", "\x7F", " ", "\u00E4", "\uFB01", "\u0431", "\u6E2F", "\U0001F600" };
	struct cv_buf text, whole, single, exact;
	uint32_t seed = 5;

	cv_buf_init(&text, 100000);
	cv_buf_init(&whole, 100000);
	cv_buf_init(&single, 100000);
	for (unsigned round = 0; round < 300; round++) {
		cv_buf_clear(&text);
		cv_buf_clear(&whole);
		cv_buf_clear(&single);
		for (unsigned i = 0; i < (round == 0 ? 6000 : 50); i++) {
			struct cv_str character;

			seed = seed * 1664525u + 1013904223u;
			character = cv_str_c(characters[(seed >> 16) % (round % 3 == 0 ? CV_COUNT_OF(characters) : 9 + round % 3)]);
			cv_buf_append(&text, character);
			cv_casemap(&single, character);
		}
		cv_casemap(&whole, cv_buf_str(&text));
		assert_str_eq(cv_buf_str(&whole), cv_buf_str(&single));
		cv_buf_init(&exact, whole.len);
		cv_casemap(&exact, cv_buf_str(&text));
		assert_str_eq(cv_buf_str(&exact), cv_buf_str(&whole));
		cv_buf_deinit(&exact);
	}
	cv_buf_deinit(&text);
	cv_buf_deinit(&whole);
	cv_buf_deinit(&single);
}

static void base_subjects_are_those_of_rfc5256(void **state CV_UNUSED)
{
	static const struct {
		const char *in, *want;
		bool reply;
	} rows[] = {
		{ "hello", "hello", false },
		{ "Re: hello", "hello", true },
		{ "RE : Fwd: fw:hello", "hello", true },
		{ "  two\t \r\n spaces  ", "two spaces", false },
		{ "hello (fwd)", "hello", true },
		{ "hello (fWd)  (fwd)", "hello", true },
		{ "[list] hello", "hello", false },
		{ "[list] Re: [other] hello", "hello", true },
		{ "Re[2]: hello", "hello", true },
		{ "re [x] : hello", "hello", true },
		{ "Re: [x]", "[x]", true },
		{ "[a][b][c]", "[c]", false },
		{ "[a [b] c", "[a [b] c", false },
		{ "[fwd: hello]", "hello", true },
		{ "Re: [FWD: [fwd: re: hello (fwd)]]", "hello", true },
		{ "[foo] Fwd: [bar] Re: fw: b (fWd)  (fwd)", "b", true },
		{ "b (a)", "b (a)", false },
		{ "re:", "", true },
		{ "", "", false },
		{ "reply: x", "reply: x", false },
		{ "Re: =?utf-8?q?Re=3A_gr=C3=BCn?=", "gr\u00FCn", true },
		{ "Fwd: Fw: Re: (fwd)", "", true },
		/* (2) repeats; what only looks like a trailer stays */
		{ "a (fwd) b", "a (fwd) b", false },
		{ "(fwd)", "", true },
		{ "a(fwd)", "a", true },
		/* (3) subj-refwd: no space between "re" and its letters, a blob may follow, ":" must */
		{ "R e: a", "R e: a", false },
		{ "fwd[a] : b", "b", true },
		{ "fwdd: b", "fwdd: b", false },
		{ "Re [a][b]: c", "Re [a][b]: c", false },
		{ "Re [a]b: c", "Re [a]b: c", false },
		{ "[a] [b] re: c", "c", true },
		{ "[a] b re: c", "b re: c", false },
		/* (4) a blob goes only when something is left: "last subj-blob is subj-base if subj-base would otherwise be empty" */
		{ "[a]", "[a]", false },
		{ "[]", "[]", false },
		{ "[a] [b]", "[b]", false },
		{ "[a] re: [b] [c]", "[c]", true },
		{ "[a]b", "b", false },
		{ "[a]]b", "]b", false },
		/* (5), (6) and again from (2) */
		{ "[a] [fwd: [b] re: c (fwd) ] (fwd)", "c", true },
		{ "[fwd: a] b", "b", false },
		{ "[fwd:]", "", true },
		{ "[fwd: [a]]", "[a]", true },
		{ "re: [fwd: re: [fwd: x] (fwd)]", "x", true },
		/* decoded text takes part, with its spaces */
		{ "=?us-ascii?q?Re=3A?= =?us-ascii?q?_=5Ba=5D_b?=", "b", true },
	};
	struct cv_buf out;

	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		cv_buf_clear(&out);
		assert_int_equal(cv_subject_base(&out, cv_str_c(rows[i].in)), rows[i].reply);
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
	}
	cv_buf_deinit(&out);
}

static void hostile_subjects_take_linear_time(void **state CV_UNUSED)
{
	static const char *const pieces[] = { "[]", "re:", "[fwd:", "(fwd)", "[a] ", "re[]" };
	struct cv_buf in, out;

	cv_buf_init(&in, SIZE_MAX);
	cv_buf_init(&out, SIZE_MAX);
	for (size_t i = 0; i < CV_COUNT_OF(pieces); i++) {
		cv_buf_clear(&in);
		while (in.len < 500000)
			cv_buf_append_c(&in, pieces[i]);
		(void)cv_subject_base(&out, cv_buf_str(&in));
	}
	cv_buf_deinit(&in);
	cv_buf_deinit(&out);
}

/* ---- messages ---- */

static bool found(struct cv_str message, enum cv_search_where where, const char *name, const char *needle)
{
	struct cv_arena *arena = cv_arena_new("search", NULL, 0);
	struct cv_message_reader *reader = cv_message_reader_new_mem(message);
	struct cv_search *search = cv_search_new();
	struct cv_message *m;
	bool answers[2];
	size_t index;

	assert_int_equal(cv_message_parse(arena, NULL, reader, &m, NULL), 1);
	assert_int_equal(cv_search_add(search, where, cv_str_c(name), cv_str_c(needle), &index, NULL), 1);
	for (int i = 0; i < 2; i++) {
		uint64_t budget = i == 0 ? UINT64_MAX : 1;
		int result;

		cv_search_begin(search, reader, m->root);
		while ((result = cv_search_step(search, budget, NULL)) == 0)
			;
		assert_int_equal(result, 1);
		answers[i] = cv_search_found(search, index);
	}
	assert_int_equal(answers[0], answers[1]);
	cv_search_free(&search);
	cv_message_reader_free(&reader);
	cv_arena_free(&arena);
	return answers[0];
}
#define assert_found(...) assert_true(found(__VA_ARGS__))
#define assert_not_found(...) assert_false(found(__VA_ARGS__))

static void headers_are_searched_decoded(void **state CV_UNUSED)
{
	struct cv_str m = CV_STR("Subject: =?iso-8859-1?Q?Gr=FC=DFe?= an\n\talle\nX-Foo: bar\n\nbody\n");

	assert_found(m, CV_SEARCH_HEADER, "subject", "GR\u00DC\u00DFE AN ALLE");
	assert_found(m, CV_SEARCH_TEXT, "", "gr\u00FC\u00DFe");
	assert_found(m, CV_SEARCH_TEXT, "", "subject: gr");
	assert_not_found(m, CV_SEARCH_BODY, "", "gr\u00FC\u00DFe");
	assert_not_found(m, CV_SEARCH_HEADER, "x-foo", "gr\u00FC\u00DFe");
	assert_not_found(m, CV_SEARCH_HEADER, "subject", "subject");
	assert_not_found(m, CV_SEARCH_TEXT, "", "=FC");
	/* the empty text asks whether there is such a field */
	assert_found(m, CV_SEARCH_HEADER, "X-FOO", "");
	assert_not_found(m, CV_SEARCH_HEADER, "X-Bar", "");
	assert_found(m, CV_SEARCH_BODY, "", "");
}

static void addresses_are_searched_without_comments(void **state CV_UNUSED)
{
	struct cv_str m = CV_STR("From: <user-from (comment)@ (comment) domain.org>\nTo: \"Doe, \\\"J\\\"\" <j@x>\n"
				 "Cc: =?utf-8?Q?M=C3=BCller?= <m@x>, g: y@z;\n\n");

	assert_found(m, CV_SEARCH_HEADER, "from", "user-from@domain.org");
	assert_found(m, CV_SEARCH_HEADER, "from", "comment");
	assert_found(m, CV_SEARCH_HEADER, "to", "doe, \"j\" <J@X>");
	assert_found(m, CV_SEARCH_HEADER, "cc", "m\u00FCller <m@x>");
	assert_found(m, CV_SEARCH_HEADER, "cc", "y@z");
	/* not over two addresses */
	assert_not_found(m, CV_SEARCH_HEADER, "cc", "m@x> g");
}

static void bodies_are_searched_decoded(void **state CV_UNUSED)
{
	struct cv_str qp = CV_STR("Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=\n=DFe an alle\n");
	struct cv_str base64 = CV_STR("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\naGF5IG5l\nZWRs\nZSBoYXk=\n");

	assert_found(qp, CV_SEARCH_BODY, "", "gr\u00FC\u00DFe an");
	assert_found(base64, CV_SEARCH_TEXT, "", "NEEDLE");
	assert_not_found(base64, CV_SEARCH_TEXT, "", "aGF5");
}

static void many_charsets_are_searched(void **state CV_UNUSED)
{
	static const struct {
		const char *charset;
		struct cv_str text;
		const char *needle;
	} rows[] = { { "utf-8", CV_STR_INIT("x \xD0\x9F\xD1\x80\xD0\xB8"), "\u043F\u0440\u0438" },
		{ "koi8-r", CV_STR_INIT("x \xF0\xD2\xC9"), "\u043F\u0440\u0438" },
		{ "windows-1251", CV_STR_INIT("\xCF\xF0\xE8"), "\u043F\u0440\u0438" },
		{ "iso-8859-7", CV_STR_INIT("\xC1\xC2"), "\u03B1\u03B2" },
		{ "iso-2022-jp", CV_STR_INIT("\x1B$BF|K\\\x1B(B"), "\u65E5\u672C" },
		{ "shift_jis", CV_STR_INIT("\x93\xFA\x96\x7B"), "\u65E5\u672C" },
		{ "euc-kr", CV_STR_INIT("\xC7\xD1\xB1\xB9"), "\uD55C\uAD6D" },
		{ "big5", CV_STR_INIT("\xA4\xA4\xA4\xE5"), "\u4E2D\u6587" },
		{ "gb2312", CV_STR_INIT("\xD6\xD0\xB9\xFA"), "\u4E2D\u56FD" },
		{ "utf-16le", CV_STR_INIT("N\0e\0e\0d\0l\0e\0"), "needle" },
		{ "utf-7", CV_STR_INIT("H+AOQ-llo"), "h\u00C4llo" },
		{ "x-unknown", CV_STR_INIT("caf\xE9"), "CAF\u00C9" },
		{ "us-ascii", CV_STR_INIT("caf\xC3\xA9"), "CAF\u00C9" } };

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_buf m;

		cv_buf_init(&m, 1000);
		cv_buf_printf(&m, "Content-Type: text/plain; charset=%s\r\n\r\n", rows[i].charset);
		cv_buf_append(&m, rows[i].text);
		if (!found(cv_buf_str(&m), CV_SEARCH_BODY, "", rows[i].needle))
			fail_msg("not found in %s", rows[i].charset);
		assert_not_found(cv_buf_str(&m), CV_SEARCH_BODY, "", "never there");
		cv_buf_deinit(&m);
	}
}

static void html_is_searched_with_and_without_its_markup(void **state CV_UNUSED)
{
	struct cv_str m = CV_STR("Content-Type: text/html\n\n<p>hel<b>lo</b> w&ouml;rld<br>next <a href=\"http://x.test/\">l</a>ink</p>\n");

	assert_found(m, CV_SEARCH_BODY, "", "hello w\u00D6rld");
	assert_found(m, CV_SEARCH_BODY, "", "link");
	assert_found(m, CV_SEARCH_BODY, "", "http://x.test/");
	assert_found(m, CV_SEARCH_BODY, "", "<br>NEXT");
	assert_not_found(m, CV_SEARCH_BODY, "", "rldnext");
}

static void parts_and_nested_messages_are_searched(void **state CV_UNUSED)
{
	struct cv_str m = CV_STR("Subject: outer\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n--b\nContent-Type: message/rfc822\n\n"
				 "Subject: inner\n\ninner text\n--b\nContent-Type: application/octet-stream; name=file.bin\n\nopaque\n--b\n"
				 "Content-Type: message/delivery-status\n\nStatus: 5.1.1\n--b--\nepilogue\n");

	assert_found(m, CV_SEARCH_BODY, "", "inner text");
	assert_found(m, CV_SEARCH_BODY, "", "subject: inner");
	assert_found(m, CV_SEARCH_BODY, "", "file.bin");
	assert_found(m, CV_SEARCH_BODY, "", "5.1.1");
	assert_not_found(m, CV_SEARCH_BODY, "", "outer");
	assert_not_found(m, CV_SEARCH_BODY, "", "opaque");
	assert_not_found(m, CV_SEARCH_BODY, "", "preamble");
	assert_not_found(m, CV_SEARCH_HEADER, "subject", "inner");
	/* not from the end of one part into the next */
	assert_not_found(m, CV_SEARCH_BODY, "", "text--b");
}

static void matches_lie_across_slices(void **state CV_UNUSED)
{
	/* slices are 8 KiB: move a needle over the border octet by octet */
	for (size_t at = 8192 - 12; at < 8192 + 2; at++) {
		struct cv_buf m;

		cv_buf_init(&m, SIZE_MAX);
		cv_buf_append_c(&m, "Content-Type: text/plain; charset=utf-8\n\n");
		for (size_t i = 0; i < at; i++)
			cv_buf_append_char(&m, i % 60 == 59 ? '\n' : 'x');
		cv_buf_append_c(&m, "n\u00E4\u00E4dle");
		for (size_t i = 0; i < 5000; i++)
			cv_buf_append_char(&m, 'y');
		assert_found(cv_buf_str(&m), CV_SEARCH_BODY, "", "N\u00C4\u00C4DLE");
		assert_not_found(cv_buf_str(&m), CV_SEARCH_BODY, "", "n\u00E4\u00E4dlf");
		cv_buf_deinit(&m);
	}
}

static void keep_text(void *ctx, const struct cv_search_piece *piece)
{
	if (piece->where == CV_SEARCH_BODY)
		cv_buf_append(ctx, piece->text);
}

/* A search remembers what characters are mapped to, cv_casemap does not: all characters, each one beside others and again when it is known. */
static void a_search_maps_all_characters_as_casemap_does(void **state)
{
	struct cv_buf text, message, mapped, tapped;
	struct cv_message_reader *reader;
	struct cv_search *search;
	struct cv_message *m;

	cv_buf_init(&text, SIZE_MAX / 2);
	cv_buf_init(&message, SIZE_MAX / 2);
	cv_buf_init(&mapped, SIZE_MAX / 2);
	cv_buf_init(&tapped, SIZE_MAX / 2);
	for (uint32_t c = 1; c < 0x30000; c++) {
		if (c == '\r' || (c >= 0xD800 && c <= 0xDFFF))
			continue;
		cv_buf_append_utf8(&text, c);
		if (c % 3 == 0)
			cv_buf_append_utf8(&text, c / 2 == '\r' || (c / 2 >= 0xD800 && c / 2 <= 0xDFFF) ? 'a' : c / 2);
		cv_buf_append_utf8(&text, c);
		if (c % 100 == 0)
			cv_buf_append_c(&text, " aBc xyz{@[`Z Straße\n");
	}
	cv_buf_append_c(&message, "Content-Type: text/plain; charset=utf-8\n\n");
	cv_buf_append(&message, cv_buf_str(&text));
	cv_casemap(&mapped, cv_buf_str(&text));
	reader = cv_message_reader_new_mem(cv_buf_str(&message));
	assert_int_equal(cv_message_parse(*state, NULL, reader, &m, NULL), 1);
	search = cv_search_new_tap(keep_text, &tapped);
	cv_search_begin(search, reader, m->root);
	assert_int_equal(cv_search_step(search, UINT64_MAX, NULL), 1);
	assert_int_equal(tapped.len, mapped.len);
	assert_true(cv_str_eq(cv_buf_str(&tapped), cv_buf_str(&mapped)));
	cv_search_free(&search);
	cv_message_reader_free(&reader);
	cv_buf_deinit(&text);
	cv_buf_deinit(&message);
	cv_buf_deinit(&mapped);
	cv_buf_deinit(&tapped);
}

static void several_keys_are_answered_in_one_pass(void **state)
{
	struct cv_str octets = CV_STR("Subject: one two\nTo: a@b\n\nthree four\n");
	static const struct {
		enum cv_search_where where;
		const char *name, *needle;
		bool found;
	} rows[] = { { CV_SEARCH_HEADER, "subject", "one", true }, { CV_SEARCH_HEADER, "subject", "three", false },
		{ CV_SEARCH_BODY, "", "FOUR", true }, { CV_SEARCH_TEXT, "", "two", true }, { CV_SEARCH_TEXT, "", "three", true },
		{ CV_SEARCH_BODY, "", "one", false } };
	struct cv_message_reader *reader = cv_message_reader_new_mem(octets);
	struct cv_search *search = cv_search_new();
	struct cv_message *m;
	size_t index;

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		assert_int_equal(
			cv_search_add(search, rows[i].where, cv_str_c(rows[i].name), cv_str_c(rows[i].needle), &index, NULL), 1);
		assert_int_equal(index, i);
		assert_int_equal(cv_search_needs_body(search), i >= 2);
	}
	assert_int_equal(cv_message_parse(*state, NULL, reader, &m, NULL), 1);
	/* twice: a search is for message after message */
	for (int again = 0; again < 2; again++) {
		cv_search_begin(search, reader, m->root);
		assert_int_equal(cv_search_step(search, UINT64_MAX, NULL), 1);
		for (size_t i = 0; i < CV_COUNT_OF(rows); i++)
			assert_int_equal(cv_search_found(search, i), rows[i].found);
	}
	/* from a header alone */
	cv_search_header(search, CV_STR("Subject: three\n"));
	assert_false(cv_search_found(search, 0));
	assert_true(cv_search_found(search, 1));
	assert_false(cv_search_found(search, 2));
	cv_search_free(&search);
	cv_message_reader_free(&reader);
}

static unsigned fuzzy_score(enum cv_search_where where, const char *needle, const char *octets)
{
	struct cv_arena *arena = cv_arena_new("test", NULL, 0);
	struct cv_search *search = cv_search_new();
	struct cv_message_reader *reader = cv_message_reader_new_mem(cv_str_c(octets));
	struct cv_message *message;
	unsigned score;
	size_t index;
	int result;

	assert_int_equal(cv_search_add_fuzzy(search, where, CV_STR("Subject"), cv_str_c(needle), &index, NULL), 1);
	assert_int_equal(cv_message_parse(arena, NULL, reader, &message, NULL), 1);
	cv_search_begin(search, reader, message->root);
	while ((result = cv_search_step(search, 10, NULL)) == 0)
		;
	assert_int_equal(result, 1);
	score = cv_search_score(search, index);
	assert_int_equal(cv_search_found(search, index), score > 0);
	cv_message_reader_free(&reader);
	cv_search_free(&search);
	cv_arena_free(&arena);
	return score;
}

static void words_are_matched_fuzzily(void **state CV_UNUSED)
{
	/* What a word is worth, spread over 1 to 100: 100 for 100, 90 to 88, 80 to 76, 60 to 53, 50 to 41, 48 to 39, 40 to 29, 30 to 18. */
	static const struct {
		const char *needle, *subject;
		unsigned score;
	} rows[] = {
		{ "hello", "Hello", 100 },
		{ "hello world", "say: Hello, World!", 88 }, /* the comma is between them */
		{ "hello world", "hello world", 100 },
		{ "hello world", "worlds of hello", 78 },    /* (100 + 80) / 2, apart */
		{ "hello world", "hello moon", 0 },          /* all words, or none */
		{ "helo", "hello", 41 },                     /* one is missing */
		{ "helllo", "hello", 41 },                   /* too many */
		{ "hallo", "hello", 41 },                    /* wrong */
		{ "ehllo", "hello", 41 },                    /* swapped */
		{ "elhlo", "hello", 0 },                     /* two slips */
		{ "mississippi", "missisipi", 18 },          /* two, in a long word */
		{ "mississippi", "misisipi", 0 },
		{ "cat", "cut", 0 },                         /* short words have no slips */
		{ "cat", "cats", 76 },
		{ "ca", "cat", 53 },                         /* nor do two characters begin a word, but SEARCH finds them */
		{ "voice", "invoices", 53 },
		{ "cafe", "Caf\u00E9", 100 },
		{ "caf\u00E9", "cafe", 100 },
		{ "\u0441\u043B\u043E\u0432\u043E", "\u0421\u041B\u041E\u0412\u0410", 41 },
		{ "\u05E9\u05DC\u05D5\u05DD", "\u05E9\u05C1\u05B8\u05DC\u05D5\u05B9\u05DD", 100 },
		{ "\u6771\u4EAC", "\u6771\u4EAC\u90FD", 53 }, /* no spaces: part of a word */
		{ "--", "a--b", 100 },                       /* no words: there or not */
		{ "--", "a-b", 0 },
		{ "", "anything", 100 },
	};
	struct cv_buf text, octets;

	cv_buf_init(&octets, 100000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		cv_buf_clear(&octets);
		cv_buf_printf(&octets, "Subject: %s\r\n\r\n", rows[i].subject);
		if (fuzzy_score(CV_SEARCH_HEADER, rows[i].needle, octets.data) != rows[i].score)
			fail_msg("\"%s\" in \"%s\": %u", rows[i].needle, rows[i].subject, fuzzy_score(CV_SEARCH_HEADER, rows[i].needle, octets.data));
		if (fuzzy_score(CV_SEARCH_TEXT, rows[i].needle, octets.data) != rows[i].score)
			fail_msg("\"%s\" in text \"%s\"", rows[i].needle, rows[i].subject);
	}
	/* Places: Subject, text of the body, another field. */
	assert_int_equal(fuzzy_score(CV_SEARCH_TEXT, "word", "X: word\r\n\r\n"), 53);
	assert_int_equal(fuzzy_score(CV_SEARCH_TEXT, "word", "X: word\r\n\r\na word"), 76);
	assert_int_equal(fuzzy_score(CV_SEARCH_TEXT, "word", "X: word\r\nSubject: word\r\n\r\na word"), 100);
	assert_int_equal(fuzzy_score(CV_SEARCH_BODY, "word", "Subject: word\r\n\r\na word"), 100);
	assert_int_equal(fuzzy_score(CV_SEARCH_BODY, "word", "Subject: word\r\n\r\nnothing"), 0);
	/* Words of the whole message count together; markup has none. */
	assert_int_equal(fuzzy_score(CV_SEARCH_TEXT, "hello moon", "Subject: hello\r\n\r\nmoon"), 78);
	assert_int_equal(fuzzy_score(CV_SEARCH_BODY, "hrefs", "Content-Type: text/html\r\n\r\n<a href=x>here</a>"), 0);
	/* Words across slices, and very long ones. */
	cv_buf_init(&text, 100000);
	cv_buf_append_c(&text, "\r\n");
	for (size_t i = 0; i < 5000; i++)
		cv_buf_append_c(&text, "abcdefghij ");
	assert_int_equal(fuzzy_score(CV_SEARCH_BODY, "abcdefghjk", text.data), 18);
	cv_buf_clear(&text);
	cv_buf_append_c(&text, "\r\n");
	for (size_t i = 0; i < 20000; i++)
		cv_buf_append_c(&text, "a");
	assert_int_equal(fuzzy_score(CV_SEARCH_BODY, "aaa", text.data), 76);
	assert_int_equal(fuzzy_score(CV_SEARCH_BODY, "aaab", text.data), 0);
	cv_buf_deinit(&text);
	cv_buf_deinit(&octets);
}

static void so_many_words_are_matched_fuzzily(void **state CV_UNUSED)
{
	struct cv_search *search = cv_search_new();
	struct cv_err err = { 0 };
	size_t index;

	for (unsigned i = 0; i < CV_SEARCH_FUZZY_WORDS_MAX / 4; i++)
		assert_int_equal(cv_search_add_fuzzy(search, CV_SEARCH_TEXT, CV_STR(""), CV_STR("a, b; c d"), &index, &err), 1);
	assert_int_equal(cv_search_add_fuzzy(search, CV_SEARCH_TEXT, CV_STR(""), CV_STR("--"), &index, &err), 1);
	assert_int_equal(cv_search_add_fuzzy(search, CV_SEARCH_TEXT, CV_STR(""), CV_STR("e"), &index, &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	cv_search_free(&search);
}

static void bounds_of_keys_are_refused(void **state CV_UNUSED)
{
	struct cv_search *search = cv_search_new();
	struct cv_err err = { 0 };
	struct cv_buf needle;
	size_t index;

	cv_buf_init(&needle, SIZE_MAX);
	for (int i = 0; i <= CV_SEARCH_NEEDLE_MAX; i++)
		cv_buf_append_char(&needle, 'x');
	assert_int_equal(cv_search_add(search, CV_SEARCH_BODY, CV_STR(""), cv_buf_str(&needle), &index, &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	for (int i = 0; i < CV_SEARCH_KEYS_MAX; i++)
		assert_int_equal(cv_search_add(search, CV_SEARCH_BODY, CV_STR(""), CV_STR("x"), &index, &err), 1);
	assert_int_equal(cv_search_add(search, CV_SEARCH_BODY, CV_STR(""), CV_STR("x"), &index, &err), -1);
	cv_buf_deinit(&needle);
	cv_search_free(&search);
}

static void a_message_that_cannot_be_read_is_an_error(void **state)
{
	struct cv_message_reader *good = cv_message_reader_new_mem(CV_STR("Subject: x\n\nbody")), *bad;
	struct cv_search *search = cv_search_new();
	struct cv_err err = { 0 };
	struct cv_message *m;
	size_t index;

	assert_int_equal(cv_message_parse(*state, NULL, good, &m, NULL), 1);
	bad = cv_message_reader_new_fd(-1, 0, 16, false);
	assert_int_equal(cv_search_add(search, CV_SEARCH_TEXT, CV_STR(""), CV_STR("y"), &index, NULL), 1);
	cv_search_begin(search, bad, m->root);
	assert_int_equal(cv_search_step(search, UINT64_MAX, &err), -1);
	assert_int_not_equal(err.code, CV_ERR_NONE);
	cv_message_reader_free(&good);
	cv_message_reader_free(&bad);
	cv_search_free(&search);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(casemap_is_titlecase_and_decomposition),
		cv_test_fds_only(casemap_is_the_same_at_once_and_by_characters),
		cv_test(base_subjects_are_those_of_rfc5256),
		cv_test(hostile_subjects_take_linear_time),
		cv_test_fds_only(headers_are_searched_decoded),
		cv_test_fds_only(addresses_are_searched_without_comments),
		cv_test_fds_only(bodies_are_searched_decoded),
		cv_test_fds_only(many_charsets_are_searched),
		cv_test(html_is_searched_with_and_without_its_markup),
		cv_test(parts_and_nested_messages_are_searched),
		cv_test(matches_lie_across_slices),
		cv_test(a_search_maps_all_characters_as_casemap_does),
		cv_test(several_keys_are_answered_in_one_pass),
		cv_test(words_are_matched_fuzzily),
		cv_test(so_many_words_are_matched_fuzzily),
		cv_test(bounds_of_keys_are_refused),
		cv_test(a_message_that_cannot_be_read_is_an_error),
	};
	int failed = cv_test_run(tests);

	cv_charset_cache_clear();
	return failed;
}
