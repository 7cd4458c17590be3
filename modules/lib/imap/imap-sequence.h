/* SPDX-License-Identifier: MIT
   Sequence sets (RFC 3501 section 9: sequence-set). */
#ifndef CV_IMAP_SEQUENCE_H
#define CV_IMAP_SEQUENCE_H

#include <culver/mailbox.h>

/* Looks like the start of a sequence set (a digit, "*" or "$"). */
bool cv_imap_is_sequence(struct cv_str s);
/* Parse a set, "1,4:7,12:*" in any order; star is what "*" means. Adds to *set, which is sorted and joined. False when it is none (0, empty
   elements, numbers beyond 32 bits); then *set is as it was. Time O(n log n). */
CV_MUST_CHECK bool cv_imap_sequence_parse(struct cv_str s, uint32_t star, struct cv_ranges *set);
/* seq-last-command = "$" (RFC 5182 section 3): take a "$" that is all of *s or stands behind its last comma off, and the comma. True when there was one;
   what is left may be empty then. */
bool cv_imap_sequence_cut_saved(struct cv_str *s);

#endif
