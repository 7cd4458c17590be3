/* SPDX-License-Identifier: MIT
   Merge sort from the bottom up: pairs of runs of one width after another, then runs of twice the width. */
#include <config.h>

#include "imap-merge.h"

#include <culver/base.h>

#include <string.h>

void cv_imap_merge_init(struct cv_imap_merge *merge, uint32_t *data, size_t count, int (*compare)(void *ctx, uint32_t a, uint32_t b), void *ctx)
{
	*merge = (struct cv_imap_merge){ .compare = compare, .ctx = ctx, .data = data, .count = count, .from = data, .width = 1 };
	if (count > 1) {
		merge->own = cv_calloc(count, sizeof(*merge->own));
		merge->to = merge->own;
		merge->right = 1;
	}
}

void cv_imap_merge_deinit(struct cv_imap_merge *merge)
{
	cv_free(merge->own);
	*merge = (struct cv_imap_merge){ 0 };
}

static void begin_pair(struct cv_imap_merge *merge, size_t start)
{
	merge->start = merge->left = merge->at = start;
	merge->right = CV_MIN(start + merge->width, merge->count);
}

static void next_pair(struct cv_imap_merge *merge)
{
	uint32_t *swap;

	if (merge->count - merge->start > 2 * merge->width) {
		begin_pair(merge, merge->start + 2 * merge->width);
		return;
	}
	swap = merge->from;
	merge->from = merge->to;
	merge->to = swap;
	merge->width *= 2;
	begin_pair(merge, 0);
}

bool cv_imap_merge_step(struct cv_imap_merge *merge, size_t steps)
{
	while (merge->width < merge->count) {
		size_t left_end = CV_MIN(merge->start + merge->width, merge->count);
		size_t right_end = CV_MIN(left_end + merge->width, merge->count);

		for (; merge->at < right_end; steps--) {
			bool right;

			if (steps == 0)
				return false;
			right = merge->left == left_end ||
				(merge->right < right_end && merge->compare(merge->ctx, merge->from[merge->left], merge->from[merge->right]) > 0);
			merge->to[merge->at++] = merge->from[right ? merge->right++ : merge->left++];
		}
		next_pair(merge);
	}
	if (merge->from != merge->data) {
		memcpy(merge->data, merge->from, merge->count * sizeof(*merge->data));
		merge->from = merge->data;
	}
	return true;
}
