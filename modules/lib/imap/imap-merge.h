/* SPDX-License-Identifier: MIT
   A stable merge sort that can stop and go on: long commands work in slices. */
#ifndef CV_IMAP_MERGE_H
#define CV_IMAP_MERGE_H

#include <culver/str.h>

/* What is sorted: by key, then by more, and by compare where both are equal. */
struct cv_imap_merge_item {
	uint64_t key;
	uint32_t more, number;
};

/* A key in the order of signed numbers. */
static inline uint64_t cv_imap_merge_key(int64_t n)
{
	return (uint64_t)n ^ UINT64_C(1) << 63;
}

/* The caller's array, sorted in place. compare (< 0, 0, > 0) is given the numbers of items with equal keys; NULL: they are the same. { 0 } to begin;
   cv_imap_merge_init; cv_imap_merge_deinit at the end. */
struct cv_imap_merge {
	int (*compare)(void *ctx, uint32_t a, uint32_t b);
	void *ctx;
	struct cv_imap_merge_item *data;
	size_t count;
	/* of the sort */
	struct cv_imap_merge_item *from, *to, *own;
	size_t width, start, left, right, at;
	bool in_order; /* the two runs follow each other as they are */
};
void cv_imap_merge_init(struct cv_imap_merge *merge, struct cv_imap_merge_item *data, size_t count, int (*compare)(void *ctx, uint32_t a, uint32_t b),
	void *ctx);
void cv_imap_merge_deinit(struct cv_imap_merge *merge);
/* Compare or copy at most steps times. True when data is sorted. */
bool cv_imap_merge_step(struct cv_imap_merge *merge, size_t steps);

#endif
