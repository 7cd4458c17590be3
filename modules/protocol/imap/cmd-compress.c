/* SPDX-License-Identifier: MIT
   COMPRESS (RFC 4978). */
#include <config.h>

#include "imap-session.h"

static void begin(struct imap_session *s)
{
	cv_stream_start_deflate(s->stream, (unsigned)s->set->imap_compress_deflate_level, (unsigned)s->set->imap_compress_deflate_window);
}

/* compress = "COMPRESS" SP algorithm */
static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);

	if (cmd->args == NULL || cmd->args->next != NULL)
		return imap_bad(cmd, "COMPRESS needs one algorithm");
	if (!cv_imap_arg_is(cmd->args, "DEFLATE"))
		return imap_bad(cmd, "Unknown compression algorithm");
	/* TLS never compresses here (core/tls), so that it can be active in this way only; for that section 3 says BAD. */
	if (cv_stream_deflated(s->stream))
		return imap_bad_code(cmd, "COMPRESSIONACTIVE", "DEFLATE is active already");
	imap_cmd(cmd)->after = begin;
	return imap_ok(cmd, NULL, "DEFLATE active");
}

const struct cv_imap_command imap_cmd_compress = { .verb = "COMPRESS", .opts = CV_IMAP_LOGGED_IN, .run = run };
