/* SPDX-License-Identifier: MIT
   Texts for people: languages, and looking up translations. */
#include <config.h>

#include "modules/lib/text/text.h"

#include <culver/reader.h>

/* Conversions of one format. */
#define PLACES_MAX 4u

static const struct {
	const char *tag, *name;
} languages[CV_LANGUAGES] = {
	[CV_ENGLISH] = { "en", "English" },
	[CV_GERMAN] = { "de", "Deutsch" },
	[CV_FRENCH] = { "fr", "Français" },
};

const char *cv_language_tag(unsigned language)
{
	cv_assert(language < CV_LANGUAGES);
	return languages[language].tag;
}

const char *cv_language_name(unsigned language)
{
	cv_assert(language < CV_LANGUAGES);
	return languages[language].name;
}

bool cv_language_find(struct cv_str tag, unsigned *language_r)
{
	for (unsigned i = 0; i < CV_LANGUAGES; i++) {
		if (cv_str_caseeq_c(tag, languages[i].tag)) {
			*language_r = i;
			return true;
		}
	}
	return false;
}

bool cv_language_shorten(struct cv_str *range)
{
	size_t dash = cv_str_rfind(*range, '-');

	if (dash == SIZE_MAX)
		return false;
	range->len = dash;
	if (range->len >= 2 && range->ptr[range->len - 2] == '-')
		range->len -= 2;
	return true;
}

bool cv_language_match(struct cv_str range, unsigned *language_r)
{
	while (!cv_language_find(range, language_r))
		if (!cv_language_shorten(&range))
			return false;
	return true;
}

const char *cv_text_find(const cv_text_row *rows, size_t count, unsigned language, const char *english)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i][CV_ENGLISH], english) == 0)
			return rows[i][language];
	return NULL;
}

/* The letter of a conversion whose % was taken. */
static char take_conversion(struct cv_reader *format)
{
	char c = '\0';

	while (cv_take_any(format, &c) && !cv_is_alpha(c))
		;
	while ((c == 'l' || c == 'z') && cv_take_any(format, &c))
		;
	return c;
}

static bool take_place(struct cv_reader *in, char conversion, char next, struct cv_str *place_r)
{
	struct cv_str rest = cv_reader_rest(in);
	size_t len = 0;

	switch (conversion) {
	case 'u':
	case 'd':
		while (len < rest.len && cv_is_digit(rest.ptr[len]))
			len++;
		break;
	case 'c':
		len = CV_MIN(rest.len, (size_t)1);
		break;
	default:
		len = next == '\0' ? rest.len : CV_MIN(cv_str_find(rest, next), rest.len);
		break;
	}
	return len > 0 && cv_take_len(in, len, place_r);
}

/* What stands in text where the format has conversions; false when the format can't have made it. */
static bool read_places(const char *fmt, const char *text, struct cv_str places_r[PLACES_MAX])
{
	struct cv_reader format = cv_reader_init(cv_str_c(fmt)), in = cv_reader_init(cv_str_c(text));
	size_t count = 0;
	char want, got;

	while (cv_take_any(&format, &want)) {
		if (want == '%') {
			char conversion = take_conversion(&format), next = '\0';

			if (!cv_reader_end(&format))
				next = (char)cv_peek(&format);
			if (count == PLACES_MAX || !take_place(&in, conversion, next, &places_r[count++]))
				return false;
		} else if (!cv_take_any(&in, &got) || got != want) {
			return false;
		}
	}
	return cv_reader_end(&in);
}

static void fill(const char *fmt, const struct cv_str *places, struct cv_buf *out)
{
	struct cv_reader format = cv_reader_init(cv_str_c(fmt));
	char c;

	while (cv_take_any(&format, &c)) {
		if (c == '%') {
			(void)take_conversion(&format);
			cv_buf_append(out, *places++);
		} else {
			cv_buf_append_char(out, c);
		}
	}
}

bool cv_text_refill(const cv_text_row *rows, size_t count, unsigned language, const char *english, struct cv_buf *out)
{
	struct cv_str places[PLACES_MAX] = { 0 };

	for (size_t i = 0; i < count; i++) {
		if (read_places(rows[i][CV_ENGLISH], english, places)) {
			fill(rows[i][language], places, out);
			return true;
		}
	}
	return false;
}
