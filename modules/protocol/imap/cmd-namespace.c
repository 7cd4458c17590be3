/* SPDX-License-Identifier: MIT
   NAMESPACE (RFC 2342): one personal namespace without prefix. */
#include <config.h>

#include "imap-session.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	char separator = imap_cmd_session(cmd)->separator;

	if (!imap_no_args(cmd))
		return CV_IMAP_DONE;
	cv_buf_printf(imap_out(cmd), "* NAMESPACE ((\"\" \"%s%c\")) NIL NIL\r\n", separator == '\\' ? "\\" : "", separator);
	return imap_ok(cmd, NULL, "Namespace completed");
}

const struct cv_imap_command imap_cmd_namespace = { .verb = "NAMESPACE", .opts = CV_IMAP_LOGGED_IN, .run = run };
