/* SPDX-License-Identifier: MIT
   Texts for people: the languages that there are, and catalogues of translations, keyed by the English text as it stands in the code. */
#ifndef CV_TEXT_H
#define CV_TEXT_H

#include <culver/buf.h>

enum cv_language { CV_ENGLISH = 0, CV_GERMAN, CV_FRENCH, CV_LANGUAGES };

/* "en" and the like (RFC 5646). */
const char *cv_language_tag(unsigned language);
/* The language's own name for itself. */
const char *cv_language_name(unsigned language);
/* By tag, without case. */
CV_MUST_CHECK bool cv_language_find(struct cv_str tag, unsigned *language_r);
/* range without its last subtag (RFC 4647 section 3.4: a subtag of one character goes with what is behind it); false: it has but one. */
CV_MUST_CHECK bool cv_language_shorten(struct cv_str *range);
/* The language for a basic language range: that of the range, or of the longest part of it that names one (RFC 4647 section 3.4): "de-AT" gives "de". */
CV_MUST_CHECK bool cv_language_match(struct cv_str range, unsigned *language_r);

/* One text: English, which is ASCII, and the translations, in the order of enum cv_language. */
typedef const char *const cv_text_row[CV_LANGUAGES];

/* The translation of an English text; NULL when no row has it. */
const char *cv_text_find(const cv_text_row *rows, size_t count, unsigned language, const char *english) __attribute__((format_arg(4)));
/* The same for a finished text that one of the formats in rows may have made: its numbers and strings stand in the translation, appended to out, which has
   the same conversions in the same order (%u, %zu, %llu, %d: digits; %c: one octet; %s: up to what follows it). False: none of them made it. */
CV_MUST_CHECK bool cv_text_refill(const cv_text_row *rows, size_t count, unsigned language, const char *english, struct cv_buf *out);

#endif
