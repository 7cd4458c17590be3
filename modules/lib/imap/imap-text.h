/* SPDX-License-Identifier: MIT
   IMAP: the human-readable text of responses, in the languages that LANGUAGE chooses among (RFC 5255 section 3). Code has the English text; imap-text.c has
   the catalogue. */
#ifndef CV_IMAP_TEXT_H
#define CV_IMAP_TEXT_H

#include "modules/lib/imap/imap-parser.h"
#include "modules/lib/text/text.h"

/* A session's language: until LANGUAGE it is "i-default" (RFC 2277), which is English in ASCII; then one of text.h's, behind it, with texts in UTF-8. */
#define CV_IMAP_I_DEFAULT 0u
#define CV_IMAP_LANGUAGES (1u + CV_LANGUAGES)

/* By tag, without case. */
CV_MUST_CHECK bool cv_imap_language_find(struct cv_str tag, unsigned *language_r);
/* The setting imap_language, when it names no language: -1. */
CV_MUST_CHECK int cv_imap_language_check(const char *setting, struct cv_err *err);

/* What the arguments of LANGUAGE ask for. preferred: the setting imap_language, which was checked. */
enum cv_imap_language_wish {
	CV_IMAP_LANGUAGE_LIST = 1, /* none: which languages there are */
	CV_IMAP_LANGUAGE_CHOSEN,   /* *language_r */
	CV_IMAP_LANGUAGE_NONE,     /* no range matches */
	CV_IMAP_LANGUAGE_BAD       /* not all are language ranges (RFC 4647 section 2) */
};
enum cv_imap_language_wish cv_imap_language_wish(const struct cv_imap_arg *args, const char *preferred, unsigned *language_r);

/* "* LANGUAGE (tag)"; all of them: "* LANGUAGE (tag tag …)". */
void cv_imap_append_language(struct cv_buf *out, unsigned language);
void cv_imap_append_languages(struct cv_buf *out);

/* resp-text: human-readable text in the language. Of a text without a translation (it comes from an administrator, from a module of others) the text itself:
   control characters are "?", so is, before LANGUAGE, what is not ASCII; never empty, never with "[" first, which would be a response code. */
void cv_imap_append_text(struct cv_buf *out, unsigned language, const char *text);

/* For tests: each row of the catalogue once, those of formats behind the others; false at the end. */
bool cv_imap_text_row(size_t row, const char *texts_r[CV_LANGUAGES]);

#endif
