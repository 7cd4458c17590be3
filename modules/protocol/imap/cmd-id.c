/* SPDX-License-Identifier: MIT
   ID (RFC 2971). */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-id.h"

struct id_log {
	const char *fields;
	struct cv_buf text;
};

static void log_pair(void *ctx, struct cv_str key, struct cv_str value)
{
	struct id_log *log = ctx;

	cv_imap_id_log(&log->text, log->fields, key, value);
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct id_log log = { .fields = s->set->imap_id_log };
	struct cv_err err = { 0 };
	int result;

	cv_buf_init(&log.text, (size_t)64 * 1024);
	result = cv_imap_id_parse(cmd->args, log_pair, &log, &err);
	if (result >= 0 && log.text.len > 0)
		cv_info(s->log, "ID sent: %s", log.text.data);
	cv_buf_deinit(&log.text);
	if (result < 0)
		return imap_bad_err(cmd, &err);
	cv_imap_append_id(imap_out(cmd), s->set->imap_id_send);
	return imap_ok(cmd, NULL, "ID completed");
}

const struct cv_imap_command imap_cmd_id = { .verb = "ID", .opts = CV_IMAP_LOGGED_IN, .run = run };
