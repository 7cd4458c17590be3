/* SPDX-License-Identifier: MIT
   POP3: the texts of replies in the languages that LANG chooses among (RFC 6856 section 3). */
#ifndef CV_POP3_TEXT_H
#define CV_POP3_TEXT_H

#include <culver/buf.h>

/* Of all replies until LANG. Its texts are ASCII. */
#define CV_POP3_ENGLISH 0u
#define CV_POP3_LANGUAGES 3u

/* "en" and the like (RFC 5646). */
const char *cv_pop3_language_tag(unsigned language);
/* By tag, without case. */
CV_MUST_CHECK bool cv_pop3_language_find(struct cv_str tag, unsigned *language_r);
/* The language for a basic language range: that of the range, or of the longest part of it that names one (RFC 4647 section 3.4): "de-AT" gives "de". */
CV_MUST_CHECK bool cv_pop3_language_match(struct cv_str range, unsigned *language_r);
/* Append the language listing: a line for each language, its tag and its own name for itself, and the line with the dot. */
void cv_pop3_language_list(struct cv_buf *out);

/* An English text in the language; the text itself when there is no translation. Of a format (with its status and its place for a response code) translations
   have the same conversions in the same order. */
const char *cv_pop3_text(unsigned language, const char *text) __attribute__((format_arg(2)));

/* For tests: each row of the table once; false at the end. */
bool cv_pop3_text_row(size_t row, const char *texts_r[CV_POP3_LANGUAGES]);

#endif
