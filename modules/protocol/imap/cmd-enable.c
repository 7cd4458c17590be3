/* SPDX-License-Identifier: MIT
   ENABLE (RFC 5161): CONDSTORE is what can be enabled. */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	bool condstore = false;
	struct cv_str word;

	if (cmd->args == NULL)
		return imap_bad(cmd, "ENABLE needs a capability");
	for (const struct cv_imap_arg *arg = cmd->args; arg != NULL; arg = arg->next) {
		if (!cv_imap_arg_atom(arg, &word))
			return imap_bad(cmd, "Capabilities are atoms");
		condstore |= cv_str_caseeq_c(word, "CONDSTORE");
	}
	/* RFC 5161 section 3.1: what is not known, or not to be enabled, is ignored. */
	cv_buf_append_c(imap_out(cmd), condstore ? "* ENABLED CONDSTORE\r\n" : "* ENABLED\r\n");
	if (condstore)
		imap_enable_condstore(s, imap_out(cmd));
	return imap_ok(cmd, NULL, "Enabled");
}

const struct cv_imap_command imap_cmd_enable = { .verb = "ENABLE", .opts = CV_IMAP_LOGGED_IN, .run = run };
