/* SPDX-License-Identifier: MIT
   LOGOUT (RFC 3501 section 6.1.3). The session closes the connection behind the reply. */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	if (!imap_no_args(cmd))
		return CV_IMAP_DONE;
	imap_tell(imap_cmd_session(cmd), "BYE", NULL, "Logging out");
	return imap_ok(cmd, NULL, "Logout completed");
}

const struct cv_imap_command imap_cmd_logout = { .verb = "LOGOUT", .opts = CV_IMAP_LOGGED_IN | CV_IMAP_NO_SYNC, .run = run };
