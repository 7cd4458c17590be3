/* SPDX-License-Identifier: MIT
   What the header code shares. */
#ifndef CV_HEADER_PRIVATE_H
#define CV_HEADER_PRIVATE_H

#include <culver/header.h>

/* Length of the encoded word at s[pos], 0 when there is none. *next_end is where the first "?=" at or behind the place looked
   at lies: 0 at first, kept for all calls on s with growing pos, so that a value full of "=?" takes linear time. */
size_t cv_encoded_word_length(struct cv_str s, size_t pos, size_t *next_end);
/* Append s with each control character as a space. */
void cv_append_clean(struct cv_buf *out, struct cv_str s);

#endif
