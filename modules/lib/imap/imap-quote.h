/* SPDX-License-Identifier: MIT
   Strings for replies: every value from outside goes through one of these (RFC 3501 section 9). */
#ifndef CV_IMAP_QUOTE_H
#define CV_IMAP_QUOTE_H

#include <culver/buf.h>

/* string: quoted when it is 7-bit, short and on one line, else a literal. NUL, which no IMAP string may hold, becomes 0x80. */
void cv_imap_append_string(struct cv_buf *out, struct cv_str s);
/* nstring: the absent view is NIL. */
void cv_imap_append_nstring(struct cv_buf *out, struct cv_str s);
/* astring: an atom where that is possible ("NIL" is quoted, as some clients take it for nothing). */
void cv_imap_append_astring(struct cv_buf *out, struct cv_str s);
/* The same where UTF-8 may stand between quotes (RFC 9051 section 9: QUOTED-CHAR). */
void cv_imap_append_astring_utf8(struct cv_buf *out, struct cv_str s);
/* Octets of a literal's content with NUL as 0x80. */
void cv_imap_append_octets(struct cv_buf *out, struct cv_str s);
/* What stands before the octets of a literal: "{octets}" CRLF, or "~{octets}" CRLF of a literal8 (RFC 3516 section 7). */
void cv_imap_append_literal_head(struct cv_buf *out, bool literal8, uint64_t octets);

#endif
