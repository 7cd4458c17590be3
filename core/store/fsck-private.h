/* SPDX-License-Identifier: MIT
   What the files of the check share: fsck.c (its stages, and what is told), fsck-message.c (one message after the other). */
#ifndef CV_STORE_FSCK_PRIVATE_H
#define CV_STORE_FSCK_PRIVATE_H

#include "core/store/note.h"
#include "core/store/store-private.h"
#include <culver/fsck.h>

enum cv_fsck_stage { STAGE_JOURNAL, STAGE_STATE, STAGE_MAILBOXES, STAGE_FOLD, STAGE_FOLDERS, STAGE_FILES, STAGE_DONE };

/* A finding that is told when what was done about it is on disk. Texts are owned, but for remedy. */
struct cv_fsck_later {
	char *mailbox, *file, *problem;
	const char *remedy; /* "; it is …", or NULL */
	uint32_t uid;
};

struct cv_fsck {
	struct cv_user *user;
	struct cv_fsck_config config;
	struct cv_fsck_counts counts;
	enum cv_fsck_stage stage;
	CV_VEC(struct cv_fsck_later) later;
	/* journal */
	CV_VEC(uint32_t) segments;
	size_t segment;
	uint64_t offset;
	struct cv_buf record;
	bool journal_bad, fold;    /* fold: index files have to be written anew */
	/* mailboxes */
	CV_VEC(struct cv_guid) boxes;
	size_t box;
	struct cv_mailbox *mailbox; /* counted; NULL: the next one is to be begun */
	uint32_t next_uid;
	uint64_t bad_records;
	bool compare;               /* files are missing or extra: the storage is to be looked through */
};

/* What was found, and how it ended. */
void cv_fsck_tell(struct cv_fsck *f, uint32_t uid, struct cv_str file, enum cv_fsck_result result, const char *fmt, ...) CV_PRINTF(5, 6);
/* Without repair: that it was found. Else it is told when index files were written anew: that it was repaired, and how (remedy, may be NULL; borrowed for good); or,
   when they could not be, that it was not. */
void cv_fsck_tell_later(struct cv_fsck *f, uint32_t uid, struct cv_str file, const char *remedy, const char *fmt, ...) CV_PRINTF(5, 6);
/* Messages of the mailbox from next_uid on: 1 to its end, 0 time is over, -1. */
CV_MUST_CHECK int cv_fsck_messages(struct cv_fsck *f, uint64_t deadline_ms, struct cv_err *err);

#endif
