/* SPDX-License-Identifier: MIT
   What SEARCH, SORT and their like shall return: result options and ESEARCH data (RFC 4466 section 2.6.1, RFC 4731, RFC 5182, RFC 5267, RFC 6203, RFC 9394). */
#ifndef CV_IMAP_RETURN_H
#define CV_IMAP_RETURN_H

#include <culver/imap.h>

enum cv_imap_return_opt {
	CV_IMAP_RETURN_MIN = 1,
	CV_IMAP_RETURN_MAX = 2,
	CV_IMAP_RETURN_ALL = 4,
	CV_IMAP_RETURN_COUNT = 8,
	CV_IMAP_RETURN_SAVE = 16,
	CV_IMAP_RETURN_PARTIAL = 32,
	CV_IMAP_RETURN_UPDATE = 64,
	CV_IMAP_RETURN_CONTEXT = 128,
	CV_IMAP_RETURN_RELEVANCY = 256
};

/* partial-range (RFC 9394 section 4): first <= last, counted from 1; from_end: backwards from the last message. */
struct cv_imap_partial {
	uint32_t first, last;
	bool from_end;
};
/* False when s is none. first is at most last, whichever stood first. */
CV_MUST_CHECK bool cv_imap_partial_parse(struct cv_str s, struct cv_imap_partial *partial_r);
/* The places, from 1 to count, that are in the range: false when there are none. */
CV_MUST_CHECK bool cv_imap_partial_places(const struct cv_imap_partial *partial, uint32_t count, uint32_t *first_r, uint32_t *last_r);

struct cv_imap_return {
	bool given;         /* there was a RETURN: ESEARCH is the answer */
	unsigned opts;      /* enum cv_imap_return_opt; an empty list gives ALL */
	struct cv_imap_partial partial;
	const struct cv_imap_arg *update; /* RFC 5465 section 7: the list of fetch-att behind UPDATE, or NULL */
};

/* ["RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"]: from *arg on, which goes behind it. allowed: the options that the command has.
   -1 with a public err (BAD): an unknown option, or PARTIAL with ALL or with another PARTIAL (RFC 9394 section 3.1). */
CV_MUST_CHECK int cv_imap_return_parse(const struct cv_imap_arg **arg, unsigned allowed, struct cv_imap_return *return_r, struct cv_err *err);

#endif
