/* SPDX-License-Identifier: MIT
   SASLprep (RFC 4013) of names and passwords: the tables of RFC 3454, stored strings beside queries. */
#include <config.h>

#include "t/lib/test.h"

#include "modules/lib/saslprep/saslprep.h"

#include <string.h>


static void octets_of(uint32_t c, char out[5])
{
	memset(out, 0, 5);
	if (c < 0x80) {
		out[0] = (char)c;
	} else if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
	} else {
		out[0] = (char)(0xf0 | c >> 18);
		out[1] = (char)(0x80 | (c >> 12 & 0x3f));
		out[2] = (char)(0x80 | (c >> 6 & 0x3f));
		out[3] = (char)(0x80 | (c & 0x3f));
	}
}

static bool passes(void **state, uint32_t c, bool query)
{
	char octets[5], text[16];
	struct cv_err err = { 0 };
	struct cv_str out;

	octets_of(c, octets);
	(void)snprintf(text, sizeof(text), "a%sb", octets);
	return (query ? cv_saslprep_query(*state, cv_str_c(text), &out, &err) : cv_saslprep(*state, cv_str_c(text), &out, &err)) == 0;
}

/* RFC 4013 section 3. */
static void examples_of_the_rfc(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "I\xc2\xadX", "IX" }, { "user", "user" }, { "USER", "USER" }, { "\xc2\xaa", "a" }, { "\xe2\x85\xa8", "IX" }, { "\x07", NULL },
		{ "\xd8\xa7" "1", NULL },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		struct cv_str stored, query;
		int a = cv_saslprep(*state, cv_str_c(rows[i].in), &stored, &err), b = cv_saslprep_query(*state, cv_str_c(rows[i].in), &query, &err);

		if (a != (rows[i].out != NULL ? 0 : -1) || a != b)
			fail_msg("row %zu: %d %d", i, a, b);
		if (a == 0) {
			assert_str_eq(stored, cv_str_c(rows[i].out));
			assert_str_eq(query, cv_str_c(rows[i].out));
		}
	}
}

/* Ranges of RFC 3454 appendix C, each from both ends, in the middle of other text: RFC 4013 section 2.3. */
static void prohibited_characters_are_refused(void **state)
{
	static const struct {
		uint32_t first, last;
	} rows[] = {
		{ 0x1, 0x1f }, { 0x7f, 0x7f },                                     /* C.2.1 */
		{ 0x80, 0x9f }, { 0x6dd, 0x6dd }, { 0x70f, 0x70f }, { 0x180e, 0x180e }, { 0x2028, 0x2029 }, { 0x2061, 0x2063 }, { 0x206a, 0x206f },
		{ 0xfff9, 0xfffc }, { 0x1d173, 0x1d17a },                          /* C.2.2 */
		{ 0xe000, 0xf8ff }, { 0xf0000, 0xffffd }, { 0x100000, 0x10fffd },  /* C.3 */
		{ 0xfdd0, 0xfdef }, { 0xfffe, 0xffff }, { 0x1fffe, 0x1ffff }, { 0x10fffe, 0x10ffff }, /* C.4 */
		{ 0xfffd, 0xfffd },                                                /* C.6 */
		{ 0x2ff0, 0x2ffb },                                                /* C.7 */
		{ 0x200e, 0x200f }, { 0x202a, 0x202e },                            /* C.8; U+0340 and U+0341 are gone after NFKC */
		{ 0xe0001, 0xe0001 }, { 0xe0020, 0xe007f },                        /* C.9 */
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++)
		for (int end = 0; end < 2; end++)
			if (passes(state, end == 0 ? rows[i].first : rows[i].last, false) || passes(state, end == 0 ? rows[i].first : rows[i].last, true))
				fail_msg("U+%04X passes", end == 0 ? rows[i].first : rows[i].last);
	assert_false(passes(state, 0xd800, true)); /* C.5: no UTF-8 */
}

/* RFC 3454 section 7: unassigned code points "are allowed in query strings", and not in stored ones. */
static void unassigned_characters_are_for_queries(void **state)
{
	assert_false(passes(state, 0x378, false));
	assert_true(passes(state, 0x378, true));
}

static void what_is_mapped(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "a\xc2\xa0" "b", "a b" }, { "a\xe3\x80\x80" "b", "a b" }, { "a\xe1\x9a\x80" "b", "a b" },      /* C.1.2 to a space */
		{ "a\xef\xbb\xbf" "b", "ab" }, { "a\xe2\x80\x8d" "b", "ab" }, { "a\xef\xb8\x8f" "b", "ab" }, { "a\xe1\xa0\x86" "b", "ab" }, /* B.1 to nothing */
		{ "e\xcc\x81", "\xc3\xa9" }, { "\xef\xac\x81", "fi" }, { "\xef\xbd\x81", "a" },                  /* NFKC */
		{ "\xd7\x90" "1" "\xd7\x91", "\xd7\x90" "1" "\xd7\x91" },                                        /* right to left at both ends */
		{ " a ", " a " },
	};
	static const char *const refused[] = { "", "\xc2\xad", "\xff", "\xc3", "\xed\xa0\x80", "\xd7\x90" "a", "1" "\xd7\x90", "\xd7\x90" "1" };

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		struct cv_str out;

		if (cv_saslprep_query(*state, cv_str_c(rows[i].in), &out, &err) < 0)
			fail_msg("row %zu: %s", i, err.text);
		assert_str_eq(out, cv_str_c(rows[i].out));
	}
	for (size_t i = 0; i < CV_COUNT_OF(refused); i++) {
		struct cv_err err = { 0 };
		struct cv_str out;

		if (cv_saslprep_query(*state, cv_str_c(refused[i]), &out, &err) == 0)
			fail_msg("refused row %zu passes", i);
	}
}

static void long_ones(void **state)
{
	struct cv_buf text;
	struct cv_err err = { 0 };
	struct cv_str out;

	cv_buf_init(&text, 10000);
	for (int i = 0; i < 2048; i++)
		cv_buf_append_c(&text, "\xc3\xa4");
	assert_int_equal(cv_saslprep_query(*state, cv_buf_str(&text), &out, &err), 0);
	assert_int_equal(out.len, 4096);
	assert_int_equal(cv_saslprep(*state, cv_buf_str(&text), &out, &err), -1);
	cv_buf_append_char(&text, 'a');
	assert_int_equal(cv_saslprep_query(*state, cv_buf_str(&text), &out, &err), -1);
	cv_buf_deinit(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(examples_of_the_rfc),
		cv_test(prohibited_characters_are_refused),
		cv_test(unassigned_characters_are_for_queries),
		cv_test(what_is_mapped),
		cv_test(long_ones),
	};

	return cv_test_run(tests);
}
