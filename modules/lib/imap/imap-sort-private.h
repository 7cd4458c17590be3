/* SPDX-License-Identifier: MIT
   The sorter, for imap-sort.c (messages are sorted by their keys) and imap-sort-order.c (what was sorted before is kept). */
#ifndef CV_IMAP_SORT_PRIVATE_H
#define CV_IMAP_SORT_PRIVATE_H

#include "imap-merge.h"
#include "imap-message.h"
#include "imap-sort.h"

#include <culver/order.h>

/* Of a message and a text criterion. */
struct cv_imap_sort_text {
	uint64_t beginning; /* its first octets as a number: where it differs, it decides */
	size_t offset;      /* in the pool */
	uint32_t len;
	bool cut;           /* there is more in the message */
};

union cv_imap_sort_value {
	int64_t number;
	struct cv_imap_sort_text text;
};

/* Messages that the kept order lacks. They are the rows then, sorted by keys, and come among those that it has. */
struct cv_imap_sort_late {
	struct cv_ranges seqs; /* owned */
	uint32_t count;
	uint32_t *placed;      /* those that the order has, in order; NULL: no message is late, or all are sorted by keys; owned */
	uint32_t placed_count;
	uint32_t *result;      /* as far as it is made: taken of placed, done of the rows; owned */
	uint32_t taken, done;
	uint32_t low, high;    /* between them in placed the next row belongs */
	uint32_t known;        /* messages of the order */
};

struct cv_imap_sorter {
	struct cv_view *view;
	const struct cv_mailsearch *search; /* whose relevancies are sorted by, or NULL */
	struct cv_imap_sort_program program;
	struct cv_ranges seqs;       /* owned */
	const struct cv_ranges *from; /* whose messages are placed or read: seqs, or those of late */
	uint32_t goal, done;         /* messages, and those whose keys were read */
	size_t range;
	uint32_t next;               /* 0: the range's start */
	uint32_t *seq;               /* of row i: goal of them, rows are used; when it has sorted, in order */
	struct cv_imap_merge_item *items; /* rows while it sorts, by the first criterion; NULL then */
	union cv_imap_sort_value *values; /* of row i: program.count from i * program.count on */
	uint32_t rows;
	struct cv_buf pool;
	bool merging, merged, sorted; /* merged: items are in order; sorted: seq is */
	struct cv_imap_merge merge;
	struct cv_order *order;      /* a kept one, while messages are placed in it; then the one that is made of the result; NULL: none */
	uint32_t *slots;             /* messages by their places in it; owned */
	struct cv_imap_sort_late late;
	uint32_t ordered;            /* messages that the one being made has */
	uint64_t slow;               /* texts that were read again */
	struct cv_imap_message message;
	struct cv_buf scratch, first, second;
	size_t failed;
	struct cv_err first_error;
};

/* imap-sort.c */
/* The next message of from; false: there is none. */
bool cv_imap_sort_next(struct cv_imap_sorter *sorter, uint32_t *seq_r);
/* Read a message's keys, program.count of them; sorter->message may be open then. -1 with err. */
CV_MUST_CHECK int cv_imap_sort_keys(struct cv_imap_sorter *sorter, uint32_t seq, union cv_imap_sort_value *values, struct cv_err *err);
/* Which row comes first by the criteria: < 0, 0, > 0. ctx: the sorter. */
int cv_imap_sort_compare(void *ctx, uint32_t a, uint32_t b);

/* imap-sort-order.c: each for about budget_us microseconds since start; true when there is no more to do of this. */
/* Is there an order that has the messages? Then slots is set. */
void cv_imap_sort_begin_places(struct cv_imap_sorter *sorter);
/* Place messages in the order that is kept. */
bool cv_imap_sort_place_some(struct cv_imap_sorter *sorter, uint64_t start, uint64_t budget_us);
/* Bring the rows, in order, among the messages that were placed. */
bool cv_imap_sort_insert_some(struct cv_imap_sorter *sorter, uint64_t start, uint64_t budget_us);
/* Keep the order that was found by keys, for the next time. */
void cv_imap_sort_begin_keeping(struct cv_imap_sorter *sorter);
bool cv_imap_sort_keep_some(struct cv_imap_sorter *sorter, uint64_t start, uint64_t budget_us);

#endif
