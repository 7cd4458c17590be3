/* SPDX-License-Identifier: MIT
   For fuzz targets that need IMAP sessions over a real store: one user, made once, whose files are put back as they were before each run. */
#ifndef CV_FUZZ_IMAP_USER_H
#define CV_FUZZ_IMAP_USER_H

#include "t/fuzz/fuzz.h"
#include "t/lib/fake-session.h"

/* The worker of a user with one message in INBOX: files are as they were at the first call, and the user is opened anew. The same worker each time; its files
   go away when the process ends. */
struct fake_worker *fuzz_imap_user(void);
/* A session that is logged in, its greeting read. */
struct cv_session *fuzz_imap_log_in(struct fake_worker *worker);
/* Octets of the server are well-formed lines and literals; "tag STATUS" of each tagged reply is appended to outcomes. */
void fuzz_imap_check(struct cv_str replies, struct cv_buf *outcomes);

#endif
