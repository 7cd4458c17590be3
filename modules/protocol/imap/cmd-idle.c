/* SPDX-License-Identifier: MIT
   IDLE (RFC 2177): changes are told as they happen, until the client says DONE. */
#include <config.h>

#include "notify.h"

/* A line that is no DONE is refused before it grows beyond this. */
#define LINE_MAX_OCTETS 1024u
/* Keep-alive lines that may pile up before the client counts as gone. */
#define UNTAKEN_MAX 5u

struct idle {
	struct cv_imap_cmd *cmd;
	struct cv_timer *timer;
	unsigned untaken;
	struct cv_buf line; /* what came of the client's line */
};

static void on_change(void *ctx)
{
	struct idle *idle = ctx;

	imap_resume(idle->cmd);
}

/* Nothing but this proves that the connection is still there. */
static void keep_alive(void *ctx)
{
	struct idle *idle = ctx;
	struct imap_session *s = imap_cmd_session(idle->cmd);

	if (cv_stream_unsent(s->stream) > 0) {
		if (++idle->untaken >= UNTAKEN_MAX) {
			imap_close(s, "Connection lost: client takes no output");
			return;
		}
	} else {
		idle->untaken = 0;
		imap_tell(s, "OK", NULL, "Still here");
	}
	cv_timer_set(idle->timer, s->set->imap_idle_notify_interval);
}

static void stop(struct cv_imap_cmd *cmd)
{
	struct idle *idle = cmd->data;

	if (idle == NULL)
		return;
	cmd->data = NULL;
	imap_cmd(cmd)->input = NULL;
	cv_buf_deinit(&idle->line);
	if (idle->timer != NULL)
		cv_timer_remove(&idle->timer);
	imap_notify_attach(imap_cmd_session(cmd));
	if (cmd->view != NULL && imap_cmd_session(cmd)->notify == NULL)
		cv_view_set_notify(cmd->view, NULL, NULL);
	cv_session_set_timeout(cmd->session, IMAP_INACTIVITY_MS);
}

/* The client's line. */
static void on_input(struct imap_cmd *cmd)
{
	struct imap_session *s = cmd->s;
	struct idle *idle = cmd->pub.data;
	struct cv_str input = cv_stream_input(s->stream);
	size_t end = cv_str_find(input, '\n');
	bool done;

	cv_buf_append(&idle->line, cv_str_sub(input, 0, end));
	cv_stream_consume(s->stream, end == SIZE_MAX ? input.len : end + 1);
	if (end == SIZE_MAX && cv_buf_ok(&idle->line)) {
		if (cv_stream_ended(s->stream))
			imap_close(s, "Connection closed");
		return;
	}
	done = cv_buf_ok(&idle->line) && cv_str_caseeq_c(cv_str_trim(cv_buf_str(&idle->line)), "DONE");
	stop(&cmd->pub);
	if (done)
		imap_ok(&cmd->pub, NULL, "Idle completed");
	else
		imap_bad(&cmd->pub, "DONE was expected");
	cmd->phase = IMAP_PHASE_REPLY;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_loop *loop = cv_session_loop(cmd->session);
	struct idle *idle;

	if (!imap_no_args(cmd))
		return CV_IMAP_DONE;
	idle = cv_new(cmd->arena, struct idle, 1);
	cv_buf_init(&idle->line, LINE_MAX_OCTETS);
	idle->cmd = cmd;
	cmd->data = idle;
	imap_cmd(cmd)->input = on_input;
	if (s->set->imap_idle_notify_interval > 0 && loop != NULL) {
		idle->timer = cv_timer_add(loop, s->set->imap_idle_notify_interval, keep_alive, idle);
		cv_session_set_timeout(cmd->session, 0);
	}
	if (cmd->view != NULL)
		cv_view_set_notify(cmd->view, on_change, idle);
	cv_buf_append_c(imap_out(cmd), "+ ");
	imap_end_line(s, imap_out(cmd), "idling");
	/* DONE may be there already, behind IDLE in one packet. */
	cv_stream_want_input(s->stream);
	return CV_IMAP_STEP;
}

/* Tell what has happened; again when more does. */
static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);

	if (s->events.count == 0)
		imap_sync(s, true, 0);
	return imap_write_events(s) && imap_notify_write(s) ? CV_IMAP_WAIT : CV_IMAP_STEP;
}

const struct cv_imap_command imap_cmd_idle = {
	.verb = "IDLE",
	.opts = CV_IMAP_LOGGED_IN | CV_IMAP_SHOWS_NEW,
	.run = run,
	.step = step,
	.cancel = stop,
};
