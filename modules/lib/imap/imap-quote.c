/* SPDX-License-Identifier: MIT
   Strings for replies. */
#include <config.h>

#include "imap-quote.h"

#include <culver/imap.h>

/* A quoted string beyond this is hard on clients with fixed line buffers (RFC 2683 section 3.2.1.5). */
#define QUOTED_MAX 1000u

static bool can_be_quoted(struct cv_str s)
{
	if (s.len > QUOTED_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '\0' || c == '\r' || c == '\n' || c >= 0x7f)
			return false;
	}
	return true;
}

void cv_imap_append_octets(struct cv_buf *out, struct cv_str s)
{
	while (s.len > 0) {
		size_t at = cv_str_find(s, '\0');

		if (at == SIZE_MAX) {
			cv_buf_append(out, s);
			return;
		}
		cv_buf_append(out, cv_str_sub(s, 0, at));
		cv_buf_append_char(out, (char)0x80);
		s = cv_str_sub(s, at + 1, SIZE_MAX);
	}
}

void cv_imap_append_string(struct cv_buf *out, struct cv_str s)
{
	if (!can_be_quoted(s)) {
		cv_buf_append_char(out, '{');
		cv_buf_append_u64(out, s.len);
		cv_buf_append_c(out, "}\r\n");
		cv_imap_append_octets(out, s);
		return;
	}
	cv_buf_append_char(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			cv_buf_append_char(out, '\\');
		cv_buf_append_char(out, s.ptr[i]);
	}
	cv_buf_append_char(out, '"');
}

void cv_imap_append_nstring(struct cv_buf *out, struct cv_str s)
{
	if (s.ptr == NULL)
		cv_buf_append_c(out, "NIL");
	else
		cv_imap_append_string(out, s);
}

void cv_imap_append_astring(struct cv_buf *out, struct cv_str s)
{
	if (cv_imap_is_word(s, CV_IMAP_ASTRING_CHAR) && cv_str_is_ascii(s) && s.len <= QUOTED_MAX &&
		!cv_str_caseeq_c(s, "NIL"))
		cv_buf_append(out, s);
	else
		cv_imap_append_string(out, s);
}

void cv_imap_append_text(struct cv_buf *out, const char *text)
{
	if (*text == '\0')
		text = "-";
	for (; *text != '\0'; text++)
		cv_buf_append_char(out, (unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f ? '?' : *text);
}
