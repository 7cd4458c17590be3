/* SPDX-License-Identifier: MIT
   Snapshots: a mailbox's columns in a file that is mapped as it is. */
#ifndef CV_STORE_SNAPSHOT_H
#define CV_STORE_SNAPSHOT_H

struct cv_snapshot;

void cv_snapshot_free(struct cv_snapshot **snapshot);

#endif
