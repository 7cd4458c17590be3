/* SPDX-License-Identifier: MIT
   RENAME (RFC 3501 section 6.3.5, RFC 9051 section 6.3.6). */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct cv_err err = { 0 };
	struct cv_str from, to;

	if (!imap_mailbox_arg(cmd, cmd->args, 0, &from) || !imap_mailbox_arg(cmd, cmd->args->next, IMAP_NAME_TRAILING_SEP | IMAP_NAME_NEW, &to))
		return CV_IMAP_DONE;
	if (cmd->args->next->next != NULL)
		return imap_bad(cmd, "Unexpected arguments");
	if (cv_mailbox_rename(cmd->user, from, to, &err) < 0)
		return imap_fail(cmd, &err);
	/* RFC 9051 section 6.3.9.7 */
	if (imap_cmd_session(cmd)->rev2)
		imap_write_list(cmd, imap_out(cmd), to, imap_wire_name(imap_cmd_session(cmd), cmd->arena, from));
	return imap_ok(cmd, NULL, "Rename completed");
}

const struct cv_imap_command imap_cmd_rename = { .verb = "RENAME", .opts = CV_IMAP_LOGGED_IN, .run = run };
