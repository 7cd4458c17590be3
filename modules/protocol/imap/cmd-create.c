/* SPDX-License-Identifier: MIT
   CREATE (RFC 3501 section 6.3.3). */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct cv_err err = { 0 };
	struct cv_str name;

	/* "If the mailbox name is suffixed with the server's hierarchy separator character … the name created is without the trailing hierarchy
	   delimiter." */
	if (!imap_mailbox_arg(cmd, cmd->args, IMAP_NAME_TRAILING_SEP, &name))
		return CV_IMAP_DONE;
	if (cmd->args->next != NULL)
		return imap_bad(cmd, "Unexpected arguments");
	if (cv_mailbox_create(cmd->user, name, 0, &err) < 0)
		return imap_fail(cmd, &err);
	return imap_ok(cmd, NULL, "Create completed");
}

const struct cv_imap_command imap_cmd_create = { .verb = "CREATE", .opts = CV_IMAP_LOGGED_IN, .run = run };
