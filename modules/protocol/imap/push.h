/* SPDX-License-Identifier: MIT
   FETCH responses for new messages that are told without being asked for. Private to the module. */
#ifndef CV_IMAP_PUSH_H
#define CV_IMAP_PUSH_H

#include "fetch.h"

/* Write the responses for uids, which leave it, while there is room: those of searches that are kept up to date, and with notify those that NOTIFY asked for.
   False: more room or time is needed, or the session ended. */
bool imap_push_fetches(struct imap_session *s, struct cv_ranges *uids, bool notify);
void imap_push_free(struct imap_session *s);
/* What more asks for, too. Memory in arena; strings stay more's. */
void imap_fetch_merge(struct cv_arena *arena, struct cv_imap_fetch *all, const struct cv_imap_fetch *more);

#endif
