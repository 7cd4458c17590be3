/* SPDX-License-Identifier: MIT
   Does the file system do what the store needs? Tried at a user's first opening after each start of the machine, and when the directory is on another file
   system than it was; where cv_selftest_share was called, by the first of the users who share a file system, and not by the others. */
#ifndef CV_STORE_SELFTEST_H
#define CV_STORE_SELFTEST_H

#include <culver/err.h>

struct cv_selftest {
	int index_dir;           /* what was tried before is in its file "fs-test" */
	const char *path;        /* of the index directory's root, for messages */
	const char *root;        /* where the messages are: tried too when it is another file system */
	unsigned file_mode;
	bool sync;               /* mail_fsync is not never */
	bool locks;              /* the file "lock" there is locked by this process, and the system's locks are relied upon */
};
/* 1; -1 (UNAVAILABLE) with one sentence that says what is missing and what to do. What can be lived with is a warning in the log, so also that there
   is no room to try a file system that was fine before. */
CV_MUST_CHECK int cv_selftest_run(const struct cv_selftest *test, struct cv_err *err);
/* Before workers are forked: what one of them has found to be fine the others need not try. They could lie to each other, and gain nothing by that. Without memory
   for it, each tries for itself. */
void cv_selftest_share(void);

#endif
