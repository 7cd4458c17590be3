/* SPDX-License-Identifier: MIT
   SEARCH programs to the neutral tree of culver/mailsearch.h (RFC 3501 section 6.4.4, RFC 7162 section 3.1.5, RFC 5032, RFC 5182, RFC 5466, RFC 6203, RFC 8474, RFC 8514). */
#ifndef CV_IMAP_SEARCH_H
#define CV_IMAP_SEARCH_H

#include <culver/imap.h>
#include <culver/mailsearch.h>

struct cv_imap_search {
	struct cv_mailsearch_key *root; /* AND of all keys */
	bool modseq;                    /* there is a MODSEQ key */
	bool seqs;                      /* there are message numbers */
	bool fuzzy;                     /* there is a FUZZY key */
	/* Of a program that could not be read. */
	struct cv_str undefined_filter; /* NOTFOUND: there is no such filter (UNDEFINED-FILTER) */
	bool filter_charset;            /* INVALID: filters go with UTF-8 and US-ASCII alone (BAD with BADCHARSET) */
};

/* What the mailbox and the moment give. */
struct cv_imap_search_context {
	uint32_t seq_star, uid_star;   /* what "*" means */
	const struct cv_ranges *saved; /* UIDs that "$" stands for (RFC 5182) */
	int64_t now_sec;               /* for OLDER and YOUNGER (RFC 5032) */
	/* The program that a filter stands for (RFC 5466), valid until the end of the call; false: there is none. NULL: FILTER is not known. */
	bool (*filter)(void *ctx, struct cv_str name, struct cv_str *program_r);
	void *filter_ctx;
	bool annotate;                 /* ANNOTATION is known (RFC 5257) */
};

/* ["CHARSET" SP astring SP] search-key *(SP search-key), from arg to the end of the arguments. All in arena.
   -1 with a public err: CV_ERR_UNSUPPORTED for a charset that is not known (BADCHARSET), CV_ERR_NOTFOUND for a filter that is not there, CV_ERR_LIMIT, or
   CV_ERR_INVALID for wrong syntax (BAD); *search_r may say more. */
CV_MUST_CHECK int cv_imap_search_parse(struct cv_arena *arena, const struct cv_imap_arg *arg, const struct cv_imap_search_context *context,
	struct cv_imap_search *search_r, struct cv_err *err);
/* The same for SORT and THREAD (RFC 5256 section 5): the charset is always there, and is charset. */
CV_MUST_CHECK int cv_imap_search_parse_charset(struct cv_arena *arena, struct cv_str charset, const struct cv_imap_arg *arg,
	const struct cv_imap_search_context *context, struct cv_imap_search *search_r, struct cv_err *err);

/* Text of a search program in the client's charset (absent: none was given) as UTF-8. */
void cv_imap_search_text(struct cv_arena *arena, struct cv_str charset, struct cv_str s, struct cv_str *text_r);

/* filter-name = 1*<any ATOM-CHAR except "/"> */
bool cv_imap_is_filter_name(struct cv_str s);
/* Is it a filter's program: search-key *(SP search-key) in UTF-8? -1 with a public err (INVALID, LIMIT). */
CV_MUST_CHECK int cv_imap_filter_check(struct cv_str program, struct cv_err *err);

/* Append an EMAILID (RFC 8474 section 4: objectid) of a message's GUID. */
void cv_imap_append_emailid(struct cv_buf *out, const uint8_t guid[16]);

#endif
