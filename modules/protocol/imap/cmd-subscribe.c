/* SPDX-License-Identifier: MIT
   SUBSCRIBE and UNSUBSCRIBE (RFC 3501 sections 6.3.6 and 6.3.7). */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd, bool on)
{
	struct cv_err err = { 0 };
	struct cv_str name;

	if (!imap_mailbox_arg(cmd, cmd->args, 0, &name))
		return CV_IMAP_DONE;
	if (cmd->args->next != NULL)
		return imap_bad(cmd, "Unexpected arguments");
	if (cv_mailbox_subscribe(cmd->user, name, on, &err) < 0)
		return imap_fail(cmd, &err);
	return imap_ok(cmd, NULL, on ? "Subscribe completed" : "Unsubscribe completed");
}

static enum cv_imap_result run_subscribe(struct cv_imap_cmd *cmd)
{
	return run(cmd, true);
}

static enum cv_imap_result run_unsubscribe(struct cv_imap_cmd *cmd)
{
	return run(cmd, false);
}

const struct cv_imap_command imap_cmd_subscribe = { .verb = "SUBSCRIBE", .opts = CV_IMAP_LOGGED_IN, .run = run_subscribe };
const struct cv_imap_command imap_cmd_unsubscribe = { .verb = "UNSUBSCRIBE", .opts = CV_IMAP_LOGGED_IN, .run = run_unsubscribe };
