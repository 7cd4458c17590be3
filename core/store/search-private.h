/* SPDX-License-Identifier: MIT
   A search over a view, between the files that make it up: search.c goes through the messages, search-answer.c tells what is known of one. */
#ifndef CV_STORE_SEARCH_PRIVATE_H
#define CV_STORE_SEARCH_PRIVATE_H

#include <culver/mailsearch.h>

#include "core/store/store-private.h"
#include <culver/search.h>

/* Of a key, and of the tree, for the message at hand. 0 is not known yet. */
enum cv_answer { CV_ANSWER_UNKNOWN = 0, CV_ANSWER_YES = 1, CV_ANSWER_NO = -1 };

enum cv_search_stage { AT_ROW = 0, IN_BODY };

struct cv_mailsearch {
	struct cv_view *view;
	struct cv_mailsearch_key *root;
	struct cv_ranges candidates; /* sequence numbers that can match at all */
	uint32_t goal, done;         /* candidates, and those that were begun with */
	size_t range;                /* the one in progress; from_end: counted from the last */
	uint32_t next;               /* sequence number within it; 0: its start, or its end */
	bool from_end;
	uint32_t max;                /* messages that are wanted */
	struct cv_ranges found;
	uint32_t found_count;
	uint8_t *relevancy;          /* by sequence number, of those found; NULL: no key is fuzzy */
	uint64_t modseq;
	bool expunged;
	size_t failed;
	struct cv_err first_error;

	/* Keys that are not answered from the columns, NULL-terminated by count. */
	struct cv_mailsearch_key **texts;
	size_t text_count, text_cap;
	struct cv_search *header_search, *body_search; /* NULL: no such key */
	enum cv_memo *memos;         /* by text key: what of it is kept between searches; CV_MEMOS: nothing */
	CV_VEC(struct cv_buf) note_texts; /* of NOTE keys, as they are compared, by index */
	struct cv_buf mapped;
	struct cv_index_answer *known; /* by text key: what an index said; NULL: none was asked */
	size_t index;                /* the one that is being asked */
	bool asked;

	/* The message in progress. */
	enum cv_search_stage stage;
	uint32_t seq;
	struct cv_row row;
	bool row_whole;      /* more than cv_view_flags knows */
	struct cv_arena *arena;
	struct cv_mail *mail;
	struct cv_mailsearch_message message; /* its reader is the mail's */
	size_t ask_count, ask;  /* ASK keys; in stage IN_BODY: the text key that is asked next */
	bool body_done;         /* in stage IN_BODY: the body was searched */
	struct cv_buf header;
};

static inline enum cv_answer cv_answer_is(bool yes)
{
	return yes ? CV_ANSWER_YES : CV_ANSWER_NO;
}

/* The key asks for the day that the message says it was sent. */
bool cv_answer_is_sent(const struct cv_mailsearch_key *key);
/* All columns of the message at hand. */
const struct cv_row *cv_answer_row(struct cv_mailsearch *search);
/* A message is begun with: what indexes have said of it; the rest is not known yet. */
void cv_answer_begin(struct cv_mailsearch *search);
/* What earlier searches have kept of it; its record; its header, whose length is size, from the message's reader. Keys that are answered stay as they are. */
void cv_answer_from_memos(const struct cv_mailsearch *search);
void cv_answer_from_record(struct cv_mailsearch *search, const struct cv_parse_record *record);
CV_MUST_CHECK int cv_answer_from_header(struct cv_mailsearch *search, uint64_t size, struct cv_err *err);
/* What a search for texts that has looked at the message says of one of its keys. */
void cv_answer_from(const struct cv_search *search, struct cv_mailsearch_key *key);
/* Of the tree or a part of it, from what is known of its keys. */
enum cv_answer cv_answer_tree(struct cv_mailsearch *search, const struct cv_mailsearch_key *key);
/* Of a key that the message matches, 1 to 100; 0: nothing in it was matched fuzzily. */
unsigned cv_answer_relevancy(struct cv_mailsearch *search, const struct cv_mailsearch_key *key);

#endif
