/* SPDX-License-Identifier: MIT
   What the part tree's builder and its helpers share. */
#ifndef CV_MIME_PRIVATE_H
#define CV_MIME_PRIVATE_H

#include <culver/message.h>

#define CV_MIME_DEPTH_MAX 100

/* What a header says about its part, and about its message when envelope is not NULL. part has its defaults before. addresses_left
   is how many addresses may be kept yet. Strings live in arena. */
void cv_mime_header_apply(struct cv_arena *arena, const struct cv_mime_limits *limits, struct cv_str header,
	struct cv_mime_part *part, struct cv_envelope *envelope, uint32_t *addresses_left);

/* Where octets of a message are. */
enum cv_mime_place {
	CV_MIME_IN_HEADER, /* of a part: at most one line, perhaps a piece of it; the empty line too */
	CV_MIME_IN_BODY,   /* a leaf's body, or what is before, between and behind the parts of a multipart */
	CV_MIME_DELIMITER  /* a delimiter line of a multipart; the line end before it came as the body's, or the header's, in front of it */
};
/* Tell fn each octet that is fed, once and in order, and the part that it is in: fields of the part's header are set from the first octet behind the header
   on, other members when the message is finished. Before the first octets. */
void cv_mime_parser_observe(struct cv_mime_parser *parser,
	void (*fn)(void *ctx, const struct cv_mime_part *part, enum cv_mime_place place, struct cv_str octets), void *ctx);

/* Give indexes in preorder, mark attachments, sum up flags and counts. */
void cv_mime_tree_finish(struct cv_message *message);

#endif
