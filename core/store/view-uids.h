/* SPDX-License-Identifier: MIT
   The UIDs that a view shows, by sequence number. What a mailbox has when it is opened is one array that all its views share; a view keeps only which of
   these are no messages of it, and what came later. So opening costs what was expunged and added since that array was made, and not the mailbox. */
#ifndef CV_STORE_VIEW_UIDS_H
#define CV_STORE_VIEW_UIDS_H

#include "core/store/columns.h"
#include <culver/map.h>
#include <culver/mailbox.h>

struct cv_uid_base;

struct cv_view_uids {
	uint32_t count;            /* messages */
	struct cv_uid_base *base;  /* shared; NULL: none */
	const uint32_t *base_uids; /* of the base, ascending; row numbers of the columns are places in it */
	const uint8_t *base_made;  /* one for each chunk of these, 0: not made yet (snapshot.h); NULL: all are there */
	uint32_t base_count;
	uint32_t base_live;        /* base_count without the holes */
	CV_VEC(uint32_t) holes;    /* places in the base that are no messages of the view, ascending */
	CV_VEC(uint32_t) tail;     /* UIDs above those of the base */
};

/* All messages that live in the columns. What the columns keep for it is made anew when much was added since. */
void cv_uids_open(struct cv_view_uids *uids, struct cv_columns *columns);
void cv_uids_free(struct cv_view_uids *uids);
/* Above all that are there. */
void cv_uids_push(struct cv_view_uids *uids, uint32_t uid);
/* Make those of the base's chunk that this place is in. */
void cv_uids_make(const struct cv_view_uids *uids, uint32_t at);
static inline uint32_t cv_uids_of_base(const struct cv_view_uids *uids, uint32_t at)
{
	if (uids->base_made != NULL && uids->base_made[at >> CV_CHUNK_SHIFT] == 0)
		cv_uids_make(uids, at);
	return uids->base_uids[at];
}
/* cv_uids_at where there are holes, for index < base_live. */
uint32_t cv_uids_at_holes(const struct cv_view_uids *uids, uint32_t index, uint32_t *row_r);
/* index is the sequence number less 1. *row_r: where the row may be (cv_columns_find). */
static inline uint32_t cv_uids_at(const struct cv_view_uids *uids, uint32_t index, uint32_t *row_r)
{
	if (index >= uids->base_live) {
		*row_r = uids->base_count + (index - uids->base_live);
		return uids->tail.data[index - uids->base_live];
	}
	if (uids->holes.count > 0)
		return cv_uids_at_holes(uids, index, row_r);
	*row_r = index;
	return cv_uids_of_base(uids, index);
}
/* Index of the first UID that is not below uid. */
uint32_t cv_uids_from(const struct cv_view_uids *uids, uint32_t uid);
void cv_uids_remove(struct cv_view_uids *uids, const struct cv_ranges *gone);

void cv_uid_base_unref(struct cv_uid_base **base);

#endif
