/* SPDX-License-Identifier: MIT
   DELETE (RFC 3501 section 6.3.4). */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_mailbox_info info;
	struct cv_err err = { 0 };
	struct cv_str name;
	bool selected;

	if (!imap_mailbox_arg(cmd, cmd->args, 0, &name))
		return CV_IMAP_DONE;
	if (cmd->args->next != NULL)
		return imap_bad(cmd, "Unexpected arguments");
	selected = s->view != NULL && cv_str_eq(cv_mailbox_name(cv_view_mailbox(s->view)), name);
	if (cv_mailbox_delete(cmd->user, name, &err) < 0) {
		/* RFC 9051 section 6.3.5: "The NO response SHOULD include the HASCHILDREN response code." */
		if (err.code == CV_ERR_PERM && cv_mailbox_lookup(cmd->user, name, &info) > 0 && !info.exists && info.has_children)
			return imap_no(cmd, "HASCHILDREN", cv_err_public(&err));
		return imap_fail(cmd, &err);
	}
	/* The client knows what it did: its own mailbox is just no longer selected. Other sessions get BYE (sync.c). */
	if (selected)
		imap_unselect(s);
	return imap_ok(cmd, NULL, "Delete completed");
}

const struct cv_imap_command imap_cmd_delete = { .verb = "DELETE", .opts = CV_IMAP_LOGGED_IN, .run = run };
