/* SPDX-License-Identifier: MIT
   SEARCH MIMEPART (draft-bosch-imap-search-mimepart-00): messages of which any part matches. What the draft leaves open is said in doc/imap-searching. */
#ifndef CV_IMAP_MIMEPART_H
#define CV_IMAP_MIMEPART_H

#include <culver/imap.h>
#include <culver/mailsearch.h>
#include <culver/search.h>

/* mpart-key, which *arg goes behind. key becomes one of CV_MAILSEARCH_ASK. *keys counts the keys of all MIMEPARTs of a program. All in arena. -1 with a public err (INVALID, LIMIT). */
CV_MUST_CHECK int cv_imap_mimepart_parse(struct cv_arena *arena, struct cv_str charset, const struct cv_imap_arg **arg, size_t *keys,
	struct cv_mailsearch_key *key, struct cv_err *err);

/* ---- between the parser and the evaluation ---- */

enum cv_imap_mimepart_kind {
	CV_IMAP_MIMEPART_AND = 1,
	CV_IMAP_MIMEPART_OR,
	CV_IMAP_MIMEPART_CHILD,  /* of child; NULL: EXISTS */
	CV_IMAP_MIMEPART_PARENT,
	CV_IMAP_MIMEPART_DEPTH,  /* compare, number */
	CV_IMAP_MIMEPART_INDEX,
	CV_IMAP_MIMEPART_SIZE,
	CV_IMAP_MIMEPART_SENT,   /* compare, day */
	CV_IMAP_MIMEPART_PART,   /* equal: what get gives of the part */
	CV_IMAP_MIMEPART_DESCRIPTION,
	CV_IMAP_MIMEPART_LANGUAGE,
	CV_IMAP_MIMEPART_MD5,
	CV_IMAP_MIMEPART_PARAM,  /* name, text */
	CV_IMAP_MIMEPART_DISPOSITION_PARAM,
	CV_IMAP_MIMEPART_FILENAME, /* how, text */
	CV_IMAP_MIMEPART_FIELD,  /* of a message's envelope: text */
	CV_IMAP_MIMEPART_ADDRESS,
	/* From the octets. */
	CV_IMAP_MIMEPART_HEADER,
	CV_IMAP_MIMEPART_BODY,
	CV_IMAP_MIMEPART_TEXT
};

enum cv_imap_mimepart_compare { CV_IMAP_MIMEPART_LESS = -1, CV_IMAP_MIMEPART_EQUAL = 0, CV_IMAP_MIMEPART_MORE = 1 };
enum cv_imap_mimepart_how { CV_IMAP_MIMEPART_IS = 1, CV_IMAP_MIMEPART_CONTAINS, CV_IMAP_MIMEPART_BEGINS, CV_IMAP_MIMEPART_ENDS };

struct cv_imap_mimepart_key {
	enum cv_imap_mimepart_kind kind;
	bool negated;
	struct cv_imap_mimepart_key *child, *next;
	enum cv_imap_mimepart_compare compare;
	bool inclusive;       /* LESS and MORE: or equal */
	enum cv_imap_mimepart_how how;
	uint64_t number;
	int64_t day;
	struct cv_str name;
	struct cv_str text;   /* as it came; of keys that look for a substring as cv_casemap makes it */
	size_t offset;        /* PART, FIELD, ADDRESS: of the member in the part, or its envelope */
	size_t index[2];      /* HEADER: in search; BODY and TEXT: of the text, and of the body alone */
	uint8_t *known;       /* by part, of the message at hand: 0 not yet, 1 no, 2 yes; NULL: none */
	uint8_t *body;        /* BODY and TEXT: the same of the body alone */
};

struct cv_imap_mimepart {
	struct cv_imap_mimepart_key *root;
	struct cv_search *search;  /* NULL: no key needs the octets; the arena's */
	struct cv_imap_mimepart_key **octet_keys;
	size_t octet_count;

	/* The message at hand. */
	struct cv_mime_part **parts; /* in preorder; NULL: its tree is not there yet */
	size_t part_count, at;       /* at: the part that is searched, or behind the last */
	uint32_t *places;            /* among the parts of the same parent, from 1 */
	bool in_part;
	struct cv_buf raw, mapped;
};

cv_mailsearch_ask_fn cv_imap_mimepart_ask;

#endif
