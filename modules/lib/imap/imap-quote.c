/* SPDX-License-Identifier: MIT
   Strings for replies. */
#include <config.h>

#include "imap-quote.h"

#include <culver/imap.h>

#include <string.h>

/* A quoted string beyond this is hard on clients with fixed line buffers (RFC 2683 section 3.2.1.5). */
#define QUOTED_MAX 1000u

enum form { PLAIN, ESCAPED, LITERAL };

#define EACH(octet) (UINT64_C(0x0101010101010101) * (octet))

static bool any_below(uint64_t octets, uint64_t limit)
{
	return ((octets - EACH(limit)) & ~octets & EACH(0x80)) != 0;
}

/* Printable ASCII without quotes and backslashes, eight octets at a time. */
static bool is_plain(struct cv_str s)
{
	size_t i = 0;

	for (; s.len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
		uint64_t octets;

		memcpy(&octets, s.ptr + i, sizeof(octets));
		/* 0x7f and one is 0x80; in what has a higher octet already, a carry does no harm. */
		if (((octets | (octets + EACH(1))) & EACH(0x80)) != 0 || any_below(octets, 0x20) || any_below(octets ^ EACH('"'), 1) ||
			any_below(octets ^ EACH('\\'), 1))
			return false;
	}
	for (; i < s.len; i++)
		if ((unsigned char)s.ptr[i] - 0x20u > 0x7eu - 0x20u || s.ptr[i] == '"' || s.ptr[i] == '\\')
			return false;
	return true;
}

/* How a string can be sent: between quotes as it is, between quotes with backslashes, or as a literal. */
static enum form form_of(struct cv_str s)
{
	unsigned bad = 0;

	if (s.len > QUOTED_MAX)
		return LITERAL;
	if (is_plain(s)) /* nearly always */
		return PLAIN;
	for (size_t i = 0; i < s.len; i++) {
		unsigned c = (unsigned char)s.ptr[i];

		bad |= (unsigned)(c == '\0') | (unsigned)(c == '\r') | (unsigned)(c == '\n') | (unsigned)(c >= 0x7f);
	}
	return bad != 0 ? LITERAL : ESCAPED;
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

void cv_imap_append_literal_head(struct cv_buf *out, bool literal8, uint64_t octets)
{
	cv_buf_append_c(out, literal8 ? "~{" : "{");
	cv_buf_append_u64(out, octets);
	cv_buf_append_c(out, "}\r\n");
}

static void append_literal(struct cv_buf *out, struct cv_str s)
{
	cv_imap_append_literal_head(out, false, s.len);
	cv_imap_append_octets(out, s);
}

static void append_escaped(struct cv_buf *out, struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			cv_buf_append_char(out, '\\');
		cv_buf_append_char(out, s.ptr[i]);
	}
}

void cv_imap_append_string(struct cv_buf *out, struct cv_str s)
{
	enum form form = form_of(s);

	if (form == LITERAL) {
		append_literal(out, s);
		return;
	}
	cv_buf_append_char(out, '"');
	if (form == PLAIN)
		cv_buf_append(out, s);
	else
		append_escaped(out, s);
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

/* Of UTF-8 without control characters. */
static bool is_quotable_utf8(struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
			return false;
	return s.len <= QUOTED_MAX && cv_str_is_utf8(s);
}

void cv_imap_append_astring_utf8(struct cv_buf *out, struct cv_str s)
{
	if (cv_str_is_ascii(s) || !is_quotable_utf8(s)) {
		cv_imap_append_astring(out, s);
		return;
	}
	cv_buf_append_char(out, '"');
	append_escaped(out, s);
	cv_buf_append_char(out, '"');
}
