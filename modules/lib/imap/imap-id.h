/* SPDX-License-Identifier: MIT
   The ID command (RFC 2971): the client's list checked, the server's list from a setting. */
#ifndef CV_IMAP_ID_H
#define CV_IMAP_ID_H

#include <culver/imap.h>

/* id-params-list = "(" *(string SP nstring) ")" / nil, all of the arguments. fn, which may be NULL, is called for each pair. -1 with a public err (BAD): no
   list, a key without value, more than 30 pairs, a key beyond 30 or a value beyond 1024 octets (RFC 2971 section 3.3). */
CV_MUST_CHECK int cv_imap_id_parse(const struct cv_imap_arg *args, void (*fn)(void *ctx, struct cv_str key, struct cv_str value), void *ctx,
	struct cv_err *err);
/* Append "key=value" of a pair, cleaned for the log, with ", " before it when out has something already; nothing when fields, a list of words as in
   imap_id_log, does not name the key ("*" names all). */
void cv_imap_id_log(struct cv_buf *out, const char *fields, struct cv_str key, struct cv_str value);
/* Append "* ID (…)" with CRLF. pairs: "key value key value", the value * being the server's own for name, version and os; empty: NIL. */
void cv_imap_append_id(struct cv_buf *out, const char *pairs);

#endif
