/* SPDX-License-Identifier: MIT
   ID (RFC 2971). */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-id.h"

static void log_pair(void *ctx, struct cv_str key, struct cv_str value)
{
	struct imap_session *s = ctx;

	cv_debug(s->log, "client ID: %s=%s", cv_log_clean(key), cv_log_clean(value));
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_err err = { 0 };

	if (cv_imap_id_parse(cmd->args, cv_log_debug_on("imap") ? log_pair : NULL, s, &err) < 0)
		return imap_bad_err(cmd, &err);
	cv_imap_append_id(imap_out(cmd), s->set->imap_id_send);
	return imap_ok(cmd, NULL, "ID completed");
}

const struct cv_imap_command imap_cmd_id = { .verb = "ID", .opts = CV_IMAP_LOGGED_IN, .run = run };
