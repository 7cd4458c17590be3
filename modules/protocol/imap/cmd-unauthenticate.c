/* SPDX-License-Identifier: MIT
   UNAUTHENTICATE (RFC 8437): the connection goes back to front, and with the session all of its state goes. */
#include <config.h>

#include "imap-session.h"

/* RFC 8437 section 4.1: "the server terminates its outgoing compression layer after it sends the CRLF following the OK response". */
static void log_off(struct imap_session *s)
{
	if (cv_stream_deflated(s->stream))
		cv_stream_end_deflate(s->stream);
	imap_give_back(s);
}

/* Whether the client's compressed data, which ends with this command, has come to its end. False: it has not, or never will. */
static bool packed_end(struct imap_cmd *cmd)
{
	int result = cv_stream_packed_end(cmd->s->stream);

	/* A NO is not permitted; "Servers MAY close the connection with an untagged BYE response". */
	if (result < 0)
		imap_bye(cmd->s, NULL, "What follows UNAUTHENTICATE must not be compressed", "What follows UNAUTHENTICATE must not be compressed");
	return result > 0;
}

/* More of what ends it. */
static void on_input(struct imap_cmd *cmd)
{
	if (!packed_end(cmd))
		return;
	cmd->input = NULL;
	imap_resume(&cmd->pub);
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	imap_cmd(cmd)->after = log_off;
	return imap_ok(cmd, NULL, "Logged off, the next login may come");
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_cmd *own = imap_cmd(cmd);

	if (!imap_no_args(cmd))
		return CV_IMAP_DONE;
	if (!cv_stream_deflated(own->s->stream) || packed_end(own))
		return step(cmd);
	own->input = on_input;
	return CV_IMAP_WAIT;
}

const struct cv_imap_command imap_cmd_unauthenticate = {
	.verb = "UNAUTHENTICATE",
	.opts = CV_IMAP_LOGGED_IN | CV_IMAP_NO_SYNC,
	.run = run,
	.step = step,
};
