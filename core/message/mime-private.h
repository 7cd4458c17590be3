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

/* Give indexes in preorder, mark attachments, sum up flags and counts. */
void cv_mime_tree_finish(struct cv_message *message);

#endif
