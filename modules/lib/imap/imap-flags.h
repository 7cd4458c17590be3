/* SPDX-License-Identifier: MIT
   Flags and keywords as the protocol writes them (RFC 3501 section 2.3.2). */
#ifndef CV_IMAP_FLAGS_H
#define CV_IMAP_FLAGS_H

#include <culver/imap.h>

#define CV_IMAP_KEYWORD_MAX 255u  /* octets of a keyword */
#define CV_IMAP_KEYWORDS_MAX 100u /* keywords of a command */

struct cv_imap_flags {
	uint16_t flags; /* enum cv_flag */
	const struct cv_str *keywords;
	size_t count;
};

/* The flags from first on: elements of a flag-list, or of STORE's form without parentheses. Repeated ones count once. Memory in arena. -1 with a
   public err: not an atom, an unknown system flag, \Recent, too many. */
CV_MUST_CHECK int cv_imap_flags_parse(struct cv_arena *arena, const struct cv_imap_arg *first, struct cv_imap_flags *flags_r, struct cv_err *err);
/* One keyword: an atom that is no system flag. */
CV_MUST_CHECK int cv_imap_keyword_check(struct cv_str keyword, struct cv_err *err);
/* Append "(\Seen $Junk)" without the parentheses. recent: \Recent too. A keyword that is no atom (kept so by another program) is left out. */
void cv_imap_append_flags(struct cv_buf *out, uint16_t flags, bool recent, const struct cv_str *keywords, size_t count);

#endif
