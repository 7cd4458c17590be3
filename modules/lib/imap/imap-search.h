/* SPDX-License-Identifier: MIT
   SEARCH programs to the neutral tree of culver/mailsearch.h (RFC 3501 section 6.4.4, RFC 7162 section 3.1.5). */
#ifndef CV_IMAP_SEARCH_H
#define CV_IMAP_SEARCH_H

#include <culver/imap.h>
#include <culver/mailsearch.h>

struct cv_imap_search {
	struct cv_mailsearch_key *root; /* AND of all keys */
	bool modseq;                    /* there is a MODSEQ key */
};

/* ["CHARSET" SP astring SP] search-key *(SP search-key), from arg to the end of the arguments. seq_star and uid_star are what "*" means. All in arena.
   -1 with a public err: CV_ERR_UNSUPPORTED for a charset that is not known (BADCHARSET), CV_ERR_LIMIT, or CV_ERR_INVALID for wrong syntax (BAD). */
CV_MUST_CHECK int cv_imap_search_parse(struct cv_arena *arena, const struct cv_imap_arg *arg, uint32_t seq_star, uint32_t uid_star,
	struct cv_imap_search *search_r, struct cv_err *err);

#endif
