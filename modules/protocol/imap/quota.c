/* SPDX-License-Identifier: MIT
   Quota: a message that would be refused need not come; and soft quota (RFC 9208 section 4.3.1), a warning beside the OK when a command has brought a mailbox
   above a limit that may be exceeded. */
#include <config.h>

#include "imap-session.h"

#include <culver/quota.h>

int imap_quota_fits(struct cv_imap_cmd *cmd, const struct cv_mailbox *mailbox, uint64_t octets, struct cv_err *err)
{
	const struct cv_registry *reg = cv_session_registry(cmd->session);
	const struct cv_quota *quota;

	for (size_t pos = 0; (quota = cv_provider_next(reg, CV_CAP_QUOTA, &pos, NULL)) != NULL;) {
		if (quota->fits != NULL && quota->fits(cmd->user, cv_mailbox_name(mailbox), octets, err) < 0)
			return -1;
	}
	return 0;
}

bool imap_over_quota(struct cv_imap_cmd *cmd, const struct cv_mailbox *mailbox, const char **text_r)
{
	const struct cv_registry *reg = cv_session_registry(cmd->session);
	const struct cv_quota *quota;

	*text_r = "";
	for (size_t pos = 0; (quota = cv_provider_next(reg, CV_CAP_QUOTA, &pos, NULL)) != NULL;) {
		if (quota->over(cmd->user, cv_mailbox_name(mailbox), text_r))
			return true;
	}
	return false;
}

void imap_warn_quota(struct cv_imap_cmd *cmd, const struct cv_mailbox *mailbox, bool before)
{
	const char *text;

	if (before || !imap_over_quota(cmd, mailbox, &text))
		return;
	imap_tell(imap_cmd_session(cmd), "NO", "OVERQUOTA", text);
}
