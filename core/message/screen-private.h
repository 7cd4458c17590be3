/* SPDX-License-Identifier: MIT
   Does a text hold a key, asked of the text's own octets: neither is it converted to UTF-8 nor case-mapped, but for what may be the place. Most texts hold
   no key, and that is told at the speed of memory. */
#ifndef CV_SCREEN_PRIVATE_H
#define CV_SCREEN_PRIVATE_H

#include "core/message/casemap-private.h"

#include <culver/charset.h>

/* One key; reusable for any text. */
struct cv_screen;
/* needle as cv_casemap makes it. NULL when it can't be looked for so: it is empty, no UTF-8, or has U+FFFD, which stands for octets that are not valid, or a
   small letter, which no letter of ASCII becomes. casemap is borrowed. */
struct cv_screen *cv_screen_new(struct cv_str needle, struct cv_casemap_cache *casemap);
void cv_screen_free(struct cv_screen **screen);

/* Can text in this charset be screened? Those in which each octet below 0x80 is that character of ASCII and nothing else. Of one that has to be guessed, text
   that is ASCII. */
bool cv_screen_takes(const struct cv_charset *charset);

/* Octets that must stay around what is asked about, so that a key that begins or ends there is seen. */
size_t cv_screen_margin(const struct cv_screen *screen);

enum cv_screen_answer {
	CV_SCREEN_NO,
	CV_SCREEN_YES,
	CV_SCREEN_UNKNOWN /* too many places look like it: to map all of the text is cheaper */
};
/* Does text hold the key, with its anchor (a place in the key; no matter which) in an octet from from to before to? The pieces of a text that are asked about
   follow each other. charset is one that is taken, with no character begun, and is left so. NO and YES are what looking for needle in all of the text,
   converted and mapped by cv_casemap, would tell. */
enum cv_screen_answer cv_screen_ask(struct cv_screen *screen, struct cv_charset *charset, struct cv_str text, size_t from, size_t to);

/* Text as a message has it: perhaps quoted-printable, perhaps HTML, of which the text without its markup counts as well. */
struct cv_screen_raw {
	struct cv_str text; /* all of it */
	bool quoted_printable, html;
};
/* False: the key is not in that text, neither as it is when it is decoded, nor without its markup. True says nothing. Only for keys of letters and digits of ASCII
   does it ever say false. */
bool cv_screen_may_hold(struct cv_screen *screen, const struct cv_charset *charset, const struct cv_screen_raw *raw);

#endif
