/* SPDX-License-Identifier: MIT
   What the files of reconciling share: reconcile.c (what differs?), reconcile-take.c (it becomes records). */
#ifndef CV_STORE_RECONCILE_H
#define CV_STORE_RECONCILE_H

#include "core/store/store-private.h"


/* A file that no row knows. */
struct cv_found_file {
	struct cv_str ref, uidl;   /* in the arena */
	uint32_t uid;              /* 0: it gets the next one */
	uint16_t flags;
	uint32_t set;
	int64_t date;
	uint64_t size, virtual_size;
	struct cv_guid guid;
	uint32_t sum;
	bool unconfirmed;
};

struct cv_reconcile {
	struct cv_mailbox *mailbox;
	struct cv_arena *arena;
	bool lossy;                /* the columns may lack messages that were in them */
	bool fresh;                /* nothing is known of the mailbox yet */
	uint32_t rows;             /* when the scan began */
	uint8_t *seen;             /* by row */
	uint16_t *base;            /* by row: flags before ours that are not mirrored; NO_BASE: none. NULL: none at all */
	uint32_t *ours;            /* by row: a bit for each value that ours had since then: the file may have any of them */
	uint16_t *new_flags;       /* by row, with new_set; NULL: no row changed */
	uint32_t *new_set;
	uint8_t *changed;
	bool *kept;                /* by keyword: does the format keep it? */
	size_t kept_count;
	struct cv_map *by_key;     /* row + 1; NULL until it is needed */
	struct cv_map *going;      /* keys of expunged messages whose octets are still to go; NULL: none */
	CV_VEC(struct cv_found_file) found;
	CV_VEC(struct cv_str) confirm; /* references that are recorded and do not know it */
};

/* Flags that others changed and messages that they removed, as one record. */
CV_MUST_CHECK int cv_reconcile_changes(struct cv_reconcile *r, struct cv_err *err);
/* Files that no row knows become messages: 1 all are taken, 0 there are more. */
CV_MUST_CHECK int cv_reconcile_new(struct cv_reconcile *r, struct cv_err *err);
/* Tell the storage of messages that are recorded and do not know it. */
void cv_reconcile_confirm(struct cv_reconcile *r);

#endif
