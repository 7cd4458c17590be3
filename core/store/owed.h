/* SPDX-License-Identifier: MIT
   What the files of owed messages share: owed.c (what is owed, and where its octets are), owed-make.c (its files are made). */
#ifndef CV_STORE_OWED_H
#define CV_STORE_OWED_H

#include "core/store/store-private.h"

/* Where a message's octets are until it has a file of its own. */
struct cv_origin {
	struct cv_guid mailbox;
	uint32_t uid;
	size_t ref_len;
	char ref[CV_STORAGE_REF_MAX];
	struct cv_guid source; /* the message that was copied: another one when that was owed itself */
	uint32_t source_uid;
};

/* Of an entry COPY. */
void cv_origin_set(struct cv_origin *origin, const struct cv_entry *entry);
/* What a copy is made of that one of the records from number `first` on owes. 1, 0 when none of them owes its file. */
CV_MUST_CHECK int cv_origin_find(struct cv_user *user, size_t first, const struct cv_guid *mailbox, uint32_t uid, struct cv_origin *origin_r,
	struct cv_err *err);
/* The file of the message that was copied. What is made and could not be synced counts as owed until it could, so a copy of it was to be made of what it was
   made of itself; which may have gone since, for that was synced before, by a process that came to its end. 1, 0 when nothing is known of it. */
CV_MUST_CHECK int cv_origin_find_source(struct cv_user *user, const struct cv_guid *mailbox, uint32_t uid, struct cv_origin *origin_r, struct cv_err *err);

#endif
