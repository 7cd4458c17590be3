/* SPDX-License-Identifier: MIT
   A parsed message as text, so that two trees can be compared, and a test can say what it wants in a few lines. */
#ifndef CV_MESSAGE_DUMP_H
#define CV_MESSAGE_DUMP_H

#include <culver/message.h>

/* One line a part: indentation, number in preorder, kind, type/subtype, parameters, fields, header and body as
   offset+size/wire size/lines, flags. */
void cv_dump_part(struct cv_buf *out, const struct cv_mime_part *part);
/* All parts, with envelopes. */
void cv_dump_tree(struct cv_buf *out, const struct cv_mime_part *root);
/* date|subject|in-reply-to|message-id and the address lists, absent as "-". */
void cv_dump_envelope(struct cv_buf *out, const struct cv_envelope *envelope);
/* "name|route|mailbox|host" of each, groups as "{name" and "}", separated by ", ". */
void cv_dump_addresses(struct cv_buf *out, const struct cv_address_list *list);
/* The tree and all else that cv_message says. */
void cv_dump_message(struct cv_buf *out, const struct cv_message *message);
/* Invariants that every tree has; the first that does not hold as text, or NULL. */
const char *cv_check_tree(const struct cv_message *message);

/* What cv_binary_encoder makes of octets, all from a literal8, must be the same message: the same for pieces of step octets, with the same tree, and each
   leaf with the same content. The first that does not hold as text, or NULL, with the result appended to out. */
const char *cv_check_binary_encoder(struct cv_str octets, size_t step, struct cv_buf *out);

#endif
