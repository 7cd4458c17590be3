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
	uint64_t due_ms; /* the next keep-alive line */
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
		imap_tell(s, "OK", NULL, IMAP_STILL_HERE);
	}
	idle->due_ms = cv_loop_now_ms(cv_session_loop(s->session)) + s->set->imap_idle_notify_interval;
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
	cv_session_set_sleep(cmd->session, imap_cmd_session(cmd)->set->imap_hibernate_silent_timeout);
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

static void begin(struct cv_imap_cmd *cmd, uint64_t first_ms)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_loop *loop = cv_session_loop(cmd->session);
	struct idle *idle = cv_new(cmd->arena, struct idle, 1);
	cv_buf_init(&idle->line, LINE_MAX_OCTETS);
	idle->cmd = cmd;
	cmd->data = idle;
	imap_cmd(cmd)->input = on_input;
	if (s->set->imap_idle_notify_interval > 0 && loop != NULL) {
		idle->due_ms = cv_loop_now_ms(loop) + first_ms;
		idle->timer = cv_timer_add(loop, first_ms, keep_alive, idle);
		cv_session_set_timeout(cmd->session, 0);
	}
	if (cmd->view != NULL)
		cv_view_set_notify(cmd->view, on_change, idle);
	cv_session_set_sleep(cmd->session, s->set->imap_hibernate_timeout);
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);

	if (!imap_no_args(cmd))
		return CV_IMAP_DONE;
	begin(cmd, s->set->imap_idle_notify_interval);
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

bool imap_idle_waits(struct imap_cmd *cmd, uint64_t *keepalive_in_ms_r)
{
	const struct idle *idle = cmd->pub.data;
	uint64_t now = cv_loop_now_ms(cv_session_loop(cmd->pub.session));

	if (cmd->phase != IMAP_PHASE_WAIT || cmd->resumed || idle == NULL || idle->line.len > 0 || !cv_buf_ok(&idle->line) || idle->untaken > 0 ||
		(cmd->pub.view != NULL && cv_view_pending(cmd->pub.view)))
		return false;
	*keepalive_in_ms_r = idle->timer != NULL && idle->due_ms > now ? idle->due_ms - now : 0;
	return true;
}

void imap_idle_go_on(struct imap_session *s, struct cv_str tag, uint64_t keepalive_in_ms)
{
	struct imap_cmd *cmd = imap_cmd_new(s, &imap_cmd_idle, false);

	cmd->pub.tag = cv_arena_str(cmd->pub.arena, tag);
	begin(&cmd->pub, keepalive_in_ms);
	cmd->phase = IMAP_PHASE_STEP;
	cv_session_want_step(s->session);
}

const struct cv_imap_command imap_cmd_idle = {
	.verb = "IDLE",
	.opts = CV_IMAP_LOGGED_IN | CV_IMAP_SHOWS_NEW,
	.run = run,
	.step = step,
	.cancel = stop,
};
