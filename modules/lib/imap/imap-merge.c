/* SPDX-License-Identifier: MIT
   Merge sort from the bottom up: pairs of runs of one width after another, then runs of twice the width. */
#include <config.h>

#include "imap-merge.h"

#include <culver/base.h>

#include <string.h>

static size_t left_end(const struct cv_imap_merge *merge)
{
	return CV_MIN(merge->start + merge->width, merge->count);
}

static void begin_pair(struct cv_imap_merge *merge, size_t start)
{
	merge->start = merge->left = merge->at = start;
	merge->right = left_end(merge);
	merge->in_order = merge->right < merge->count && merge->from[merge->right - 1].key < merge->from[merge->right].key;
}

void cv_imap_merge_init(struct cv_imap_merge *merge, struct cv_imap_merge_item *data, size_t count, int (*compare)(void *ctx, uint32_t a, uint32_t b),
	void *ctx)
{
	*merge = (struct cv_imap_merge){ .compare = compare, .ctx = ctx, .data = data, .count = count, .from = data, .width = 1 };
	if (count > 1) {
		merge->own = cv_calloc(count, sizeof(*merge->own));
		merge->to = merge->own;
		begin_pair(merge, 0);
	}
}

void cv_imap_merge_deinit(struct cv_imap_merge *merge)
{
	cv_free(merge->own);
	*merge = (struct cv_imap_merge){ 0 };
}

static void next_pair(struct cv_imap_merge *merge)
{
	struct cv_imap_merge_item *swap;

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

/* Merge until one of the runs is used up, or all steps are. Which one is taken is seldom foreseen: without a branch it need not be. */
static void merge_runs(struct cv_imap_merge *merge, size_t right_end, size_t *steps)
{
	const struct cv_imap_merge_item *from = merge->from;
	size_t end = left_end(merge), left = merge->left, right = merge->right, at = merge->at;

	for (; *steps > 0 && left < end && right < right_end; (*steps)--) {
		bool take = from[right].key < from[left].key;

		if (from[right].key == from[left].key) {
			take = from[right].more < from[left].more;
			if (from[right].more == from[left].more && merge->compare != NULL)
				take = merge->compare(merge->ctx, from[left].number, from[right].number) > 0;
		}
		merge->to[at++] = from[take ? right : left];
		right += take;
		left += !take;
	}
	merge->left = left;
	merge->right = right;
	merge->at = at;
}

/* The rest of a pair, of which only one run is left or whose runs are in order. */
static void copy_rest(struct cv_imap_merge *merge, size_t right_end, size_t *steps)
{
	size_t some = CV_MIN(*steps, right_end - merge->at);
	/* What is left of the right run stands where it goes. */
	bool in_place = merge->in_order || merge->left == left_end(merge);

	memcpy(merge->to + merge->at, merge->from + (in_place ? merge->at : merge->left), some * sizeof(*merge->to));
	merge->at += some;
	if (!in_place)
		merge->left += some;
	*steps -= some;
}

bool cv_imap_merge_step(struct cv_imap_merge *merge, size_t steps)
{
	while (merge->width < merge->count) {
		size_t right_end = CV_MIN(left_end(merge) + merge->width, merge->count);

		if (!merge->in_order)
			merge_runs(merge, right_end, &steps);
		copy_rest(merge, right_end, &steps);
		if (merge->at < right_end)
			return false;
		next_pair(merge);
	}
	if (merge->from != merge->data) {
		memcpy(merge->data, merge->from, merge->count * sizeof(*merge->data));
		merge->from = merge->data;
	}
	return true;
}
