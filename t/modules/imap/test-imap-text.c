/* SPDX-License-Identifier: MIT
   IMAP: the choice of a language, and the catalogue of texts. */
#include <config.h>

#include "modules/lib/imap/imap-text.h"
#include "t/lib/test.h"

#include <culver/err.h>

#include <string.h>

/* ---- LANGUAGE ------------------------------------------------------------------------------------------ */

static enum cv_imap_language_wish wish(const char *args, unsigned *language_r)
{
	struct cv_imap_limits limits = { .line = 4096, .literal = 4096 };
	struct cv_imap_parser *parser = cv_imap_parser_new(&limits);
	struct cv_err err = { 0 };
	enum cv_imap_language_wish result;
	struct cv_buf line;
	size_t used;

	cv_buf_init(&line, 4096);
	cv_buf_printf(&line, "a LANGUAGE%s%s\r\n", *args != '\0' ? " " : "", args);
	assert_int_equal(cv_imap_parser_feed(parser, cv_buf_str(&line), &used, &err), CV_IMAP_COMMAND);
	*language_r = 99;
	result = cv_imap_language_wish(cv_imap_parser_args(parser), "fr", language_r);
	cv_buf_deinit(&line);
	cv_imap_parser_free(&parser);
	return result;
}

static void ranges_choose_languages(void **state)
{
	enum { EN = 1 + CV_ENGLISH, DE = 1 + CV_GERMAN, FR = 1 + CV_FRENCH };
	static const struct {
		const char *args;
		enum cv_imap_language_wish wish;
		unsigned language;
	} cases[] = {
		{ "", CV_IMAP_LANGUAGE_LIST, 99 },
		{ "en", CV_IMAP_LANGUAGE_CHOSEN, EN },
		{ "EN-us", CV_IMAP_LANGUAGE_CHOSEN, EN },
		{ "\"de\"", CV_IMAP_LANGUAGE_CHOSEN, DE },
		{ "de-Latn-DE-1996", CV_IMAP_LANGUAGE_CHOSEN, DE },
		{ "de-x-bla", CV_IMAP_LANGUAGE_CHOSEN, DE },
		{ "\"de-*-DE\"", CV_IMAP_LANGUAGE_CHOSEN, DE },
		{ "mul", CV_IMAP_LANGUAGE_NONE, 99 },
		{ "mul fr de", CV_IMAP_LANGUAGE_CHOSEN, FR },
		{ "den", CV_IMAP_LANGUAGE_NONE, 99 },
		{ "i-default", CV_IMAP_LANGUAGE_CHOSEN, CV_IMAP_I_DEFAULT },
		{ "I-DEFAULT-x", CV_IMAP_LANGUAGE_CHOSEN, CV_IMAP_I_DEFAULT },
		{ "i", CV_IMAP_LANGUAGE_NONE, 99 },
		{ "Default", CV_IMAP_LANGUAGE_CHOSEN, FR },
		{ "de default", CV_IMAP_LANGUAGE_CHOSEN, DE },
		{ "default de", CV_IMAP_LANGUAGE_CHOSEN, FR },
		{ "\"*\"", CV_IMAP_LANGUAGE_CHOSEN, FR },
		{ "\"*\" de", CV_IMAP_LANGUAGE_CHOSEN, DE },
		{ "\"*\" tlh", CV_IMAP_LANGUAGE_NONE, 99 },
		{ "tlh \"*\"", CV_IMAP_LANGUAGE_CHOSEN, FR },
		{ "\"*-CH\"", CV_IMAP_LANGUAGE_CHOSEN, FR },
		{ "\"\"", CV_IMAP_LANGUAGE_BAD, 99 },
		{ "de-", CV_IMAP_LANGUAGE_BAD, 99 },
		{ "-de", CV_IMAP_LANGUAGE_BAD, 99 },
		{ "de--at", CV_IMAP_LANGUAGE_BAD, 99 },
		{ "d1", CV_IMAP_LANGUAGE_BAD, 99 },
		{ "de_AT", CV_IMAP_LANGUAGE_BAD, 99 },
		{ "abcdefghi", CV_IMAP_LANGUAGE_BAD, 99 },
		{ "*", CV_IMAP_LANGUAGE_BAD, 99 },
		{ "(de)", CV_IMAP_LANGUAGE_BAD, 99 },
		{ "\"d e\"", CV_IMAP_LANGUAGE_BAD, 99 },
	};
	unsigned language;

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(cases); i++) {
		assert_int_equal(wish(cases[i].args, &language), cases[i].wish);
		if (cases[i].wish == CV_IMAP_LANGUAGE_CHOSEN)
			assert_int_equal(language, cases[i].language);
	}
	/* All of them have to be ranges. */
	assert_int_equal(wish("de d_e", &language), CV_IMAP_LANGUAGE_BAD);
}

static void the_setting_names_a_language(void **state)
{
	struct cv_err err = { 0 };

	(void)state;
	assert_int_equal(cv_imap_language_check("de", &err), 0);
	assert_int_equal(cv_imap_language_check("i-default", &err), 0);
	assert_int_equal(cv_imap_language_check("de-AT", &err), -1);
	assert_int_equal(cv_imap_language_check("", &err), -1);
}

/* ---- Texts --------------------------------------------------------------------------------------------- */

static void expect_text(unsigned language, const char *text, const char *want)
{
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_imap_append_text(&out, language, text);
	assert_true(cv_buf_ok(&out));
	assert_string_equal(out.data, want);
	cv_buf_deinit(&out);
}

static void texts_are_lines_of_their_language(void **state)
{
	const unsigned english = 1 + CV_ENGLISH, german = 1 + CV_GERMAN, french = 1 + CV_FRENCH;

	(void)state;
	expect_text(CV_IMAP_I_DEFAULT, "Unknown command", "Unknown command");
	expect_text(english, "Unknown command", "Unknown command");
	expect_text(german, "Unknown command", "Unbekannter Befehl");
	expect_text(french, "The language was changed", "La langue a été changée");
	/* What formats made. */
	expect_text(german, "More than 64 search keys", "Mehr als 64 Suchschlüssel");
	expect_text(german, "The x right is not supported", "Das Recht x gibt es nicht");
	expect_text(french, "Mailbox name is not valid modified UTF-7", "Le nom de la boîte n'est pas valide en modified UTF-7");
	expect_text(german, "Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)",
		"Zu viele Verbindungen dieses Benutzers von dieser Adresse (mail_max_userip_connections=10)");
	expect_text(german, "More than x search keys", "More than x search keys");
	expect_text(german, "More than 64 search keys!", "More than 64 search keys!");
	expect_text(german, "More than  search keys", "More than  search keys");
	expect_text(german, "More than 6", "More than 6");
	/* Of others: as it is, in UTF-8 behind LANGUAGE only. */
	expect_text(CV_IMAP_I_DEFAULT, "Gr\xc3\xbc\xc3\x9f" "e", "Gr????e");
	expect_text(english, "Gr\xc3\xbc\xc3\x9f" "e", "Gr\xc3\xbc\xc3\x9f" "e");
	expect_text(german, "Gr\xfc\xc3\x9f" "e", "Gr???e");
	expect_text(german, "a\r\nb OK\x7f\t", "a??b OK??");
	expect_text(german, "", "-");
	/* RFC 5255 section 3.5: the text's first character is none of "[". */
	expect_text(german, "[ALERT] x", " [ALERT] x");
	expect_text(CV_IMAP_I_DEFAULT, "[ALERT] x", " [ALERT] x");
	expect_text(german, "x [", "x [");
}

/* What conversions a format has, in order. */
static void conversions(const char *text, char *out)
{
	for (; *text != '\0'; text++) {
		if (*text != '%')
			continue;
		do {
			*out++ = *++text;
		} while (strchr("sudxc%", *text) == NULL);
	}
	*out = '\0';
}

static void translations_fit(void **state)
{
	const char *texts[CV_LANGUAGES], *other[CV_LANGUAGES];
	size_t row;

	(void)state;
	for (row = 0; cv_imap_text_row(row, texts); row++) {
		char want[50], got[50];

		assert_true(cv_str_is_ascii(cv_str_c(texts[CV_ENGLISH])));
		conversions(texts[CV_ENGLISH], want);
		for (unsigned i = 0; i < CV_LANGUAGES; i++) {
			assert_non_null(texts[i]);
			assert_true(cv_str_is_utf8(cv_str_c(texts[i])));
			assert_true(texts[i][0] != '\0' && texts[i][0] != '[');
			for (const char *c = texts[i]; *c != '\0'; c++)
				assert_true((unsigned char)*c >= ' ' && *c != 0x7f);
			conversions(texts[i], got);
			assert_string_equal(got, want);
			if (want[0] == '\0')
				expect_text(1 + i, texts[CV_ENGLISH], texts[i]);
		}
		for (size_t before = 0; before < row; before++) {
			assert_true(cv_imap_text_row(before, other));
			assert_true(strcmp(other[CV_ENGLISH], texts[CV_ENGLISH]) != 0);
		}
	}
	assert_true(row > 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(ranges_choose_languages),
		cv_test(the_setting_names_a_language),
		cv_test(texts_are_lines_of_their_language),
		cv_test(translations_fit),
	};

	return cv_test_run(tests);
}
