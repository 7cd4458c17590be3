/* SPDX-License-Identifier: MIT
   What a client with a cache knows of a user's mailboxes (RFC 7162): modseqs, flags, and which messages there are; and whether it can still rely on that. */
#ifndef CV_CRASH_SEEN_H
#define CV_CRASH_SEEN_H

#include <culver/buf.h>
#include <culver/mailbox.h>

struct seen;

/* All mailboxes of these names that are there, as they are now. -1 with err when something cannot be read. */
CV_MUST_CHECK int seen_take(struct cv_user *user, const char *const *names, size_t count, struct seen **seen_r, struct cv_err *err);
void seen_free(struct seen **seen);
/* A client that has seen `seen` asks for what has changed since (CHANGEDSINCE and VANISHED). 1; 0 with a line in why for each thing that it would not hear of
   and for each number that went back; -1 with err when something cannot be read. A mailbox is the same when its UIDVALIDITY is; those that are gone are
   passed over. */
CV_MUST_CHECK int seen_check(const struct seen *seen, struct cv_user *user, const char *const *names, size_t count, struct cv_buf *why, struct cv_err *err);
/* The highest modseq that was shown of the mailbox with this UIDVALIDITY; 0: it was not there. */
uint64_t seen_highest(const struct seen *seen, uint32_t uidvalidity);
#endif
