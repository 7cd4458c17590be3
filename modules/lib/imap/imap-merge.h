/* SPDX-License-Identifier: MIT
   A stable merge sort that can stop and go on: long commands work in slices. */
#ifndef CV_IMAP_MERGE_H
#define CV_IMAP_MERGE_H

#include <culver/str.h>

/* The caller's array of numbers, sorted in place by compare (< 0, 0, > 0). { 0 } to begin; cv_imap_merge_init; cv_imap_merge_deinit at the end. */
struct cv_imap_merge {
	int (*compare)(void *ctx, uint32_t a, uint32_t b);
	void *ctx;
	uint32_t *data;
	size_t count;
	/* of the sort */
	uint32_t *from, *to, *own;
	size_t width, start, left, right, at;
};
void cv_imap_merge_init(struct cv_imap_merge *merge, uint32_t *data, size_t count, int (*compare)(void *ctx, uint32_t a, uint32_t b), void *ctx);
void cv_imap_merge_deinit(struct cv_imap_merge *merge);
/* Compare or copy at most steps times. True when data is sorted. */
bool cv_imap_merge_step(struct cv_imap_merge *merge, size_t steps);

#endif
