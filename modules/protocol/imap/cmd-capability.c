/* SPDX-License-Identifier: MIT
   CAPABILITY (RFC 3501 section 6.1.1). */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct cv_buf *out = imap_out(cmd);

	if (!imap_no_args(cmd))
		return CV_IMAP_DONE;
	cv_buf_append_c(out, "* CAPABILITY ");
	imap_append_capabilities(imap_cmd_session(cmd), out);
	cv_buf_append_c(out, "\r\n");
	return imap_ok(cmd, NULL, "Capability completed");
}

const struct cv_imap_command imap_cmd_capability = { .verb = "CAPABILITY", .opts = CV_IMAP_LOGGED_IN, .run = run };
