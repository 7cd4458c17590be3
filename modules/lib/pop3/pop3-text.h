/* SPDX-License-Identifier: MIT
   POP3: the texts of replies in the languages that LANG chooses among (RFC 6856 section 3). */
#ifndef CV_POP3_TEXT_H
#define CV_POP3_TEXT_H

#include "modules/lib/text/text.h"

/* Append the language listing: a line for each language, its tag and its own name for itself, and the line with the dot. */
void cv_pop3_language_list(struct cv_buf *out);

/* An English text (of all replies until LANG) in the language; the text itself when there is no translation. Of a format (with its status and its place for a response code) translations
   have the same conversions in the same order. */
const char *cv_pop3_text(unsigned language, const char *text) __attribute__((format_arg(2)));

/* For tests: each row of the table once; false at the end. */
bool cv_pop3_text_row(size_t row, const char *texts_r[CV_LANGUAGES]);

#endif
