/* SPDX-License-Identifier: MIT
   Replies: what a command ends with, and lines with text for people, in the session's language. */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-code.h"
#include "modules/lib/imap/imap-quote.h"

#include <culver/loop.h>
#include <culver/time.h>

/* ---- What a command ends with ------------------------------------------------------------------------ */

static enum cv_imap_result set_reply(struct cv_imap_cmd *cmd, enum imap_reply reply, const char *code, const char *text)
{
	struct imap_cmd *own = imap_cmd(cmd);

	cv_assert(own->reply == IMAP_NO_REPLY);
	own->reply = reply;
	own->code = code != NULL ? cv_arena_strdup(cmd->arena, code) : NULL;
	own->text = cv_arena_strdup(cmd->arena, text);
	return CV_IMAP_DONE;
}

enum cv_imap_result imap_ok(struct cv_imap_cmd *cmd, const char *code, const char *text)
{
	return set_reply(cmd, IMAP_OK, code, text);
}

enum cv_imap_result imap_no(struct cv_imap_cmd *cmd, const char *code, const char *text)
{
	return set_reply(cmd, IMAP_NO, code, text);
}

enum cv_imap_result imap_bad(struct cv_imap_cmd *cmd, const char *text)
{
	return set_reply(cmd, IMAP_BAD, NULL, text);
}

enum cv_imap_result imap_bad_code(struct cv_imap_cmd *cmd, const char *code, const char *text)
{
	return set_reply(cmd, IMAP_BAD, code, text);
}

static void log_err(struct imap_session *s, const struct cv_imap_cmd *cmd, const struct cv_err *err)
{
	if (!err->public_text)
		cv_error(s->log, "%s: %s", cmd->command->verb, err->text);
}

enum cv_imap_result imap_fail(struct cv_imap_cmd *cmd, const struct cv_err *err)
{
	log_err(imap_cmd_session(cmd), cmd, err);
	return imap_no(cmd, cv_imap_code(err->code), cv_err_public(err));
}

enum cv_imap_result imap_fail_target(struct cv_imap_cmd *cmd, const struct cv_err *err)
{
	if (err->code != CV_ERR_NOTFOUND)
		return imap_fail(cmd, err);
	log_err(imap_cmd_session(cmd), cmd, err);
	return imap_no(cmd, "TRYCREATE", cv_err_public(err));
}

enum cv_imap_result imap_bad_err(struct cv_imap_cmd *cmd, const struct cv_err *err)
{
	if (err->code == CV_ERR_LIMIT)
		return imap_fail(cmd, err);
	return imap_bad(cmd, cv_err_public(err));
}

/* ---- Lines ------------------------------------------------------------------------------------------- */

void imap_write_reply(struct cv_buf *out, unsigned language, struct cv_str tag, const char *status, const char *code, const char *text)
{
	if (tag.ptr != NULL)
		cv_buf_append(out, tag);
	else
		cv_buf_append_char(out, '*');
	cv_buf_append_char(out, ' ');
	cv_buf_append_c(out, status);
	cv_buf_append_char(out, ' ');
	if (code != NULL) {
		cv_buf_append_char(out, '[');
		cv_buf_append_c(out, code);
		cv_buf_append_c(out, "] ");
	}
	cv_imap_append_text(out, language, text);
	cv_buf_append_c(out, "\r\n");
}

void imap_reply(struct imap_session *s, struct cv_str tag, const char *status, const char *code, const char *text)
{
	imap_write_reply(cv_stream_out(s->stream), s->language, tag, status, code, text);
}

void imap_tell(struct imap_session *s, const char *status, const char *code, const char *text)
{
	imap_reply(s, (struct cv_str){ NULL, 0 }, status, code, text);
}

void imap_tell_number(struct imap_session *s, const char *code, uint64_t number, const char *text)
{
	char whole[64];

	snprintf(whole, sizeof(whole), "%s %llu", code, (unsigned long long)number);
	imap_tell(s, "OK", whole, text);
}

void imap_end_line(const struct imap_session *s, struct cv_buf *out, const char *text)
{
	cv_imap_append_text(out, s->language, text);
	cv_buf_append_c(out, "\r\n");
}

void imap_bye(struct imap_session *s, const char *code, const char *text, const char *reason)
{
	if (s->state == IMAP_STATE_LOGOUT)
		return;
	if (!s->in_line)
		imap_tell(s, "BYE", code, text);
	imap_close(s, reason);
}

/* ---- Long commands (RFC 9585) ------------------------------------------------------------------------ */

static bool progress_is_due(struct imap_cmd *cmd)
{
	uint64_t now = cv_time_mono_us();

	if (cmd->s->in_line || cmd->s->set->imap_progress_interval == 0 || now - cmd->progress_us < cmd->s->set->imap_progress_interval * 1000)
		return false;
	cmd->progress_us = now;
	return true;
}

static void tell_progress(struct imap_cmd *cmd, const char *state)
{
	struct cv_buf *out = imap_out(&cmd->pub);

	/* RFC 9585 section 4: "if it contains the "]" character, it MUST be set to NIL". */
	cv_buf_append_c(out, "* OK [INPROGRESS (");
	if (cv_str_find(cmd->pub.tag, ']') == SIZE_MAX)
		cv_imap_append_string(out, cmd->pub.tag);
	else
		cv_buf_append_c(out, "NIL");
	cv_buf_printf(out, " %s)] ", state);
	imap_end_line(cmd->s, out, "Still working on it");
}

void imap_progress(struct cv_imap_cmd *cmd, uint32_t done, uint32_t goal)
{
	char state[64];

	if (done >= goal || !progress_is_due(imap_cmd(cmd)))
		return;
	snprintf(state, sizeof(state), "%u %u", done, goal);
	tell_progress(imap_cmd(cmd), state);
}

void imap_still_working(struct cv_imap_cmd *cmd)
{
	if (progress_is_due(imap_cmd(cmd)))
		tell_progress(imap_cmd(cmd), "NIL NIL");
}

/* IDLE and UNAUTHENTICATE wait for the client, not the client for them. */
static bool waits(const struct imap_session *s)
{
	return s->cmd != NULL && s->cmd->phase == IMAP_PHASE_WAIT && s->cmd->input == NULL;
}

static void on_waiting(void *ctx)
{
	struct imap_session *s = ctx;

	s->progress_armed = false;
	if (!waits(s))
		return;
	/* Nothing more is put behind what the client does not take. */
	if (cv_stream_unsent(s->stream) == 0)
		imap_still_working(&s->cmd->pub);
	imap_progress_wait(s);
}

/* The timer runs out at most once in the time: commands that are done before leave it as it is. */
void imap_progress_wait(struct imap_session *s)
{
	struct cv_loop *loop = cv_session_loop(s->session);

	if (s->progress_armed || s->set->imap_progress_interval == 0 || loop == NULL || !waits(s))
		return;
	if (s->progress == NULL)
		s->progress = cv_timer_add(loop, s->set->imap_progress_interval, on_waiting, s);
	else
		cv_timer_set(s->progress, s->set->imap_progress_interval);
	s->progress_armed = true;
}
