/* SPDX-License-Identifier: MIT
   CANCELUPDATE (RFC 5267 section 4.3.5). */
#include <config.h>

#include "context.h"

/* "CANCELUPDATE" 1*(SP quoted) */
static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_str tag;

	if (cmd->args == NULL)
		return imap_bad(cmd, "Tags are missing");
	for (const struct cv_imap_arg *arg = cmd->args; arg != NULL; arg = arg->next)
		if (!cv_imap_arg_string(arg, &tag) || !imap_context_is(s, tag))
			return imap_bad(cmd, "Tag of no search that is kept up to date");
	for (const struct cv_imap_arg *arg = cmd->args; arg != NULL; arg = arg->next)
		if (cv_imap_arg_string(arg, &tag))
			(void)imap_context_cancel(s, tag); /* one may be named twice */
	return imap_ok(cmd, NULL, "No further updates");
}

const struct cv_imap_command imap_cmd_cancelupdate = {
	.verb = "CANCELUPDATE",
	.opts = CV_IMAP_SELECTED,
	.run = run,
};
