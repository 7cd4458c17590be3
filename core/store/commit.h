/* SPDX-License-Identifier: MIT
   What the files of committing share: commit.c (may it be?), commit-record.c (what is it?), flush.c (it is). */
#ifndef CV_STORE_COMMIT_H
#define CV_STORE_COMMIT_H

#include "core/store/store-private.h"

/* Make the record of a transaction that was checked, in the journal's pending buffer, and apply it to the columns: 1 with txn->seq, or 0 there when it changes
   nothing; -1 (LIMIT) when it is too long: then it is nowhere, and what was queued before it has gone out. */
CV_MUST_CHECK int cv_commit_record(struct cv_txn *txn, struct cv_err *err);
/* Memory has what the journal does not: it is forgotten and read anew; as long as that does not work nothing is usable. */
void cv_user_memory_ahead(struct cv_user *user);

#endif
