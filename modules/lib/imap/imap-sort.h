/* SPDX-License-Identifier: MIT
   Sorting messages (RFC 5256, RFC 5957, RFC 6203 section 6): the sort program, and its evaluation in slices. */
#ifndef CV_IMAP_SORT_H
#define CV_IMAP_SORT_H

#include <culver/address.h>
#include <culver/imap.h>
#include <culver/mailbox.h>
#include <culver/mailsearch.h>

enum cv_imap_sort_key {
	CV_IMAP_SORT_ARRIVAL = 1,
	CV_IMAP_SORT_CC,
	CV_IMAP_SORT_DATE,
	CV_IMAP_SORT_DISPLAYFROM,
	CV_IMAP_SORT_DISPLAYTO,
	CV_IMAP_SORT_FROM,
	CV_IMAP_SORT_SIZE,
	CV_IMAP_SORT_SUBJECT,
	CV_IMAP_SORT_TO,
	CV_IMAP_SORT_RELEVANCY, /* the highest first */
	CV_IMAP_SORT_ANNOTATION /* RFC 5257 section 4.9 */
};
#define CV_IMAP_SORT_ANNOTATIONS_MAX 16u
#define CV_IMAP_SORT_KEYS (10u + CV_IMAP_SORT_ANNOTATIONS_MAX)

/* Criteria in order; each key once: a repeated one can't matter. */
struct cv_imap_sort_program {
	struct {
		enum cv_imap_sort_key key;
		bool reverse;
		struct cv_str entry; /* ANNOTATION: whose value; in the arguments, or in arena */
		bool priv;
	} criteria[CV_IMAP_SORT_KEYS];
	size_t count;
	size_t annotations;      /* of these */
	bool relevancy;          /* is among them */
};

/* sort-criteria = "(" sort-criterion *(SP sort-criterion) ")". -1 with a public err (BAD). */
CV_MUST_CHECK int cv_imap_sort_parse(const struct cv_imap_arg *arg, struct cv_imap_sort_program *program_r, struct cv_err *err);
/* A copy that lives in arena. */
struct cv_imap_sort_program cv_imap_sort_copy(struct cv_arena *arena, const struct cv_imap_sort_program *program);

/* Append an address list's sort key: addr-mailbox of its first address, or its display value (RFC 5957 section 3), as cv_header_key and cv_text_key
   make it. */
void cv_imap_sort_address(struct cv_buf *out, const struct cv_address_list *list, bool display);

struct cv_imap_sorter;
/* Sort the messages seqs (copied) of view, which is borrowed and must not drop expunged messages until the sorter is freed. */
struct cv_imap_sorter *cv_imap_sorter_new(struct cv_view *view, const struct cv_ranges *seqs, const struct cv_imap_sort_program *program);
/* Where relevancies are from, for a program that has them; borrowed. Without, all messages have the same. */
void cv_imap_sorter_relevancies(struct cv_imap_sorter *sorter, const struct cv_mailsearch *search);
void cv_imap_sorter_free(struct cv_imap_sorter **sorter);
/* Go on for about budget_us microseconds. True when all is sorted. Memory is bounded by the number of messages: of long texts the beginning is kept, and
   the rest read again where it decides. */
bool cv_imap_sorter_step(struct cv_imap_sorter *sorter, uint64_t budget_us);
/* Sequence numbers in order; valid until free. Messages that are gone meanwhile are left out. */
const uint32_t *cv_imap_sorter_order(const struct cv_imap_sorter *sorter, size_t *count_r);
/* Messages whose keys could not be read; the first one's error. */
size_t cv_imap_sorter_failed(const struct cv_imap_sorter *sorter, struct cv_err *err_r);
/* How far it is, of how much: for progress reports. */
uint32_t cv_imap_sorter_done(const struct cv_imap_sorter *sorter);
uint32_t cv_imap_sorter_goal(const struct cv_imap_sorter *sorter);

#endif
