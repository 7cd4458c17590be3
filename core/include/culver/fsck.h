/* SPDX-License-Identifier: MIT
   Checking a user's mail: journal, state, snapshots, parse records, message files and folders against each other, while sessions go on. */
#ifndef CV_FSCK_H
#define CV_FSCK_H

#include <culver/mailbox.h>

struct cv_fsck;

enum cv_fsck_result {
	CV_FSCK_FOUND = 1,  /* report: nothing was done about it */
	CV_FSCK_REPAIRED,   /* all is as it should be again */
	CV_FSCK_LOST        /* beyond repair: what is said to be lost is not to be had from anything that is there */
};

/* One thing that is not as it should be. Views are borrowed. */
struct cv_fsck_finding {
	struct cv_str mailbox; /* absent: of the user as a whole */
	uint32_t uid;          /* 0: no message in particular */
	struct cv_str file;    /* in the index directory, or the storage's reference of the message */
	const char *problem;
	enum cv_fsck_result result;
};

struct cv_fsck_config {
	bool repair;           /* else it is only told */
	bool accept;           /* with repair: messages whose octets changed are taken as they are from now on */
	void (*found)(void *ctx, const struct cv_fsck_finding *finding);
	void *ctx;
};

/* So far. */
struct cv_fsck_counts {
	uint64_t mailboxes, messages, octets, found, repaired, lost;
};

/* Begin; the checking is done by steps. INUSE while another one of this user's is not ended. What opening a mailbox mends by itself is mended without
   repair too. */
CV_EXPORT CV_MUST_CHECK int cv_fsck_begin(struct cv_user *user, const struct cv_fsck_config *config, struct cv_fsck **fsck_r, struct cv_err *err);
/* Go on until the deadline of the monotonic clock (a message is read as a whole, repairing an index is one piece). 1 all is done, 0 there is more, -1 it
   can't go on. */
CV_EXPORT CV_MUST_CHECK int cv_fsck_step(struct cv_fsck *fsck, uint64_t deadline_ms, struct cv_err *err);
CV_EXPORT struct cv_fsck_counts cv_fsck_counts_of(const struct cv_fsck *fsck);
CV_EXPORT void cv_fsck_end(struct cv_fsck **fsck);

#endif
