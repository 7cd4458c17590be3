/* SPDX-License-Identifier: MIT
   Charset names to what decodes them. */
#ifndef CV_CHARSET_PRIVATE_H
#define CV_CHARSET_PRIVATE_H

#include <culver/charset.h>

enum cv_charset_kind {
	CV_CHARSET_GUESS, /* UTF-8 where it is well formed, else windows-1252 */
	CV_CHARSET_UTF8,
	CV_CHARSET_WINDOWS_1252,
	CV_CHARSET_UTF7,
	CV_CHARSET_TABLE, /* never resolved: ICONV becomes it when the charset is opened and has a table */
	CV_CHARSET_ICONV
};

struct cv_charset_name {
	enum cv_charset_kind kind;
	bool known;         /* GUESS: US-ASCII is known, "x-unknown" is not */
	char iconv_name[24]; /* ICONV: what iconv_open takes */
	uint8_t unit;       /* octets to skip at an invalid sequence */
};

struct cv_charset_table {
	const char *iconv_name;
	uint16_t high[128]; /* characters of the octets from 0x80 on; U+FFFD: none */
};
extern const struct cv_charset_table cv_charset_tables[];
extern const size_t cv_charset_table_count;

/* Never fails: what it does not know is GUESS, not known. Only names from its own tables ever reach iconv. */
void cv_charset_resolve(struct cv_str name, struct cv_charset_name *name_r);

/* Of a charset in which each octet is a character, and those below 0x80 are ASCII: the characters of the others. NULL for other charsets. */
const uint16_t *cv_charset_high(const struct cv_charset *charset);
/* UTF-8, said to be so, not guessed. */
bool cv_charset_is_utf8(const struct cv_charset *charset);
/* Octets below 0x80 are ASCII, of others it has to be guessed what they are. */
bool cv_charset_is_guessed(const struct cv_charset *charset);

#endif
