/* SPDX-License-Identifier: MIT
   A search done the slow way, to compare with: all text of a message is mapped, and looked through. */
#ifndef CV_TEST_MAPPED_SEARCH_H
#define CV_TEST_MAPPED_SEARCH_H

#include <culver/search.h>

/* Is needle (UTF-8) in the message, where a key of this kind looks (BODY or TEXT)? */
bool mapped_search(struct cv_message_reader *reader, const struct cv_mime_part *root, enum cv_search_where where, struct cv_str needle);

#endif
