/* SPDX-License-Identifier: MIT
   STATUS items: what STATUS and LIST's STATUS return option share. */
#ifndef CV_IMAP_STATUS_H
#define CV_IMAP_STATUS_H

#include "imap-session.h"

#define STATUS_ITEMS_MAX 16u

/* What was asked for, each item once, in the client's order. */
struct status_items {
	size_t items[STATUS_ITEMS_MAX];
	size_t count;
	bool deleted_storage; /* DELETED-STORAGE is among them */
	bool modseq; /* HIGHESTMODSEQ is among them: the command is a CONDSTORE enabling one */
};

/* "(" status-att *(SP status-att) ")". False: the reply was made. */
CV_MUST_CHECK bool status_parse(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct status_items *items_r);
/* Append "* STATUS name (…)" for a mailbox. -1 with err: nothing was appended. */
CV_MUST_CHECK int status_write(struct imap_session *s, struct cv_buf *out, struct cv_str name, const struct status_items *items,
	struct cv_err *err);
/* What a STATUS response tells of events (IMAP_NOTIFY_MESSAGES) in a mailbox that is not selected; first: of NOTIFY SET STATUS (RFC 5465 sections 3.1
   and 5.1 to 5.3). */
void imap_notify_items(const struct imap_session *s, unsigned events, bool first, struct status_items *items_r);

#endif
