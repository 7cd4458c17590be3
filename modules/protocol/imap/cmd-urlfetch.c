/* SPDX-License-Identifier: MIT
   URLFETCH (RFC 4467 section 7): what URLs stand for, of this user's mailboxes and, through their workers, of others'. */
#include <config.h>

#include "part.h"
#include "urlauth.h"

#include "modules/lib/imap/imap-quote.h"

#include <culver/file.h>
#include <culver/ipc.h>
#include <culver/time.h>

#define URLS_MAX 100u
#define CHUNK ((size_t)64 * 1024)

struct urlfetch {
	const struct cv_imap_arg *next; /* URL to begin with */
	struct cv_str text;             /* the one at hand */
	struct imap_part *part;         /* its octets: here … */
	struct cv_str map;              /* … or from another user's worker; absent: none */
	size_t map_done;
	struct cv_ask *ask;             /* that was asked, and has not answered */
	bool answered;
	int memfd;
	struct cv_err err;              /* what it answered */
};

static void unmap(struct urlfetch *fetch)
{
	if (fetch->map.ptr != NULL)
		cv_memfd_unmap(fetch->map);
	fetch->map = (struct cv_str){ 0 };
	fetch->map_done = 0;
}

static void stop(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cmd->data;

	if (fetch == NULL)
		return;
	cmd->data = NULL;
	cv_ask_cancel(&fetch->ask);
	imap_part_close(&fetch->part);
	unmap(fetch);
	if (fetch->memfd >= 0)
		cv_file_close(&fetch->memfd);
}

/* ---- The response --------------------------------------------------------------------------------------- */

static void begin_line(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cmd->data;

	cv_buf_append_c(imap_out(cmd), "* URLFETCH ");
	cv_imap_append_string(imap_out(cmd), fetch->text);
	cv_buf_append_char(imap_out(cmd), ' ');
}

/* "The returned data string is NIL if the URL is invalid for any reason (including validation failure)." */
static void write_nil(struct cv_imap_cmd *cmd)
{
	begin_line(cmd);
	cv_buf_append_c(imap_out(cmd), "NIL\r\n");
}

static void begin_literal(struct cv_imap_cmd *cmd, uint64_t size)
{
	begin_line(cmd);
	if (size == 0)
		cv_buf_append_c(imap_out(cmd), "\"\"\r\n");
	else
		cv_buf_printf(imap_out(cmd), "{%llu}\r\n", (unsigned long long)size);
	imap_cmd_session(cmd)->in_line = size > 0;
}

static void end_literal(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cmd->data;
	struct imap_session *s = imap_cmd_session(cmd);

	if (s->in_line)
		cv_buf_append_c(imap_out(cmd), "\r\n");
	s->in_line = false;
	imap_part_close(&fetch->part);
	unmap(fetch);
}

/* One more piece of the literal. False: the session was ended. */
static bool write_piece(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cmd->data;
	struct imap_session *s = imap_cmd_session(cmd);
	size_t room = CV_MIN(imap_room(cmd), CHUNK);
	struct cv_str octets = cv_str_sub(fetch->map, fetch->map_done, room);
	struct cv_err err = { 0 };
	int result = octets.len > 0;

	if (fetch->part != NULL)
		result = imap_part_read(fetch->part, room, &octets, &err);
	if (result < 0) {
		/* The client was promised octets that do not come: only the end of the connection tells it. */
		cv_error(s->log, "URLFETCH: %s", err.text);
		imap_close(s, "Message could not be sent whole");
		return false;
	}
	if (result == 0) {
		end_literal(cmd);
		return true;
	}
	cv_imap_append_octets(imap_out(cmd), octets);
	if (fetch->part == NULL)
		fetch->map_done += octets.len;
	return true;
}

/* ---- URLs ------------------------------------------------------------------------------------------------ */

static void on_answer(void *ctx, struct cv_ask_reply *reply)
{
	struct cv_imap_cmd *cmd = ctx;
	struct urlfetch *fetch = cmd->data;

	fetch->ask = NULL;
	fetch->answered = true;
	fetch->err = reply->err;
	fetch->memfd = reply->memfd;
	reply->memfd = -1;
	imap_resume(cmd);
}

/* Of this user's own mailboxes. -1 with err: the command fails. */
static int begin_own(struct cv_imap_cmd *cmd, const struct cv_imap_url *url, struct cv_err *err)
{
	struct urlfetch *fetch = cmd->data;
	bool ok;
	int result;

	if (imap_urlauth_verify(cmd->user, imap_cmd_session(cmd)->set, url, cv_str_c(cv_user_name(cmd->user)), &ok, err) < 0)
		return -1;
	if (!ok) {
		write_nil(cmd);
		return 0;
	}
	result = imap_part_open(cmd->user, url, &fetch->part, err);
	if (result < 0 && !err->public_text)
		return -1;
	/* "If the URL is valid, but the IMAP fetch of the body part returned NIL […], the returned data string should be the empty string". */
	if (result < 0)
		write_nil(cmd);
	else
		begin_literal(cmd, result > 0 ? imap_part_size(fetch->part) : 0);
	return 0;
}

/* 1 began or done, 0 another worker was asked, -1 with err: the command fails. */
static int begin_url(struct cv_imap_cmd *cmd, struct cv_err *err)
{
	struct urlfetch *fetch = cmd->data;
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_err why = { 0 };
	struct cv_imap_url url;

	/* "The server MUST return NIL for any IMAP URL that references an entire IMAP server, a list of mailboxes, an entire IMAP mailbox, or IMAP search
	   results." */
	if (cv_imap_url_parse(cmd->arena, fetch->text, cv_str_c(NULL), &url, &why) < 0 || !url.has_server || url.user.ptr == NULL || url.uid == 0 ||
		url.mechanism.ptr == NULL || !imap_urlauth_is_ours(s->set, url.server)) {
		write_nil(cmd);
		return 1;
	}
	if (cv_str_caseeq_c(url.user, cv_user_name(cmd->user)))
		return begin_own(cmd, &url, err) < 0 ? -1 : 1;
	fetch->answered = false;
	return cv_session_ask(cmd->session, url.user, IMAP_URLAUTH_PROTOCOL, fetch->text, on_answer, cmd, &fetch->ask, err) < 0 ? -1 : 0;
}

/* -1 with err: the command fails. */
static int take_answer(struct cv_imap_cmd *cmd, struct cv_err *err)
{
	struct urlfetch *fetch = cmd->data;
	int result = 0;

	fetch->answered = false;
	/* Of a user who is not there nothing else is told than of a URL that is not valid. */
	if (fetch->err.code == CV_ERR_AUTH || (fetch->err.code != CV_ERR_NONE && fetch->err.public_text)) {
		write_nil(cmd);
	} else if (fetch->err.code != CV_ERR_NONE) {
		*err = fetch->err;
		result = -1;
	} else if (fetch->memfd < 0) {
		begin_literal(cmd, 0);
	} else if ((result = cv_memfd_map(fetch->memfd, IMAP_APPEND_LIMIT, &fetch->map, err)) >= 0) {
		begin_literal(cmd, fetch->map.len);
		if (fetch->map.len == 0)
			unmap(fetch);
	}
	if (fetch->memfd >= 0)
		cv_file_close(&fetch->memfd);
	fetch->memfd = -1;
	return result;
}

static enum cv_imap_result go_on(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cmd->data;
	uint64_t start = cv_time_mono_us();
	struct cv_err err = { 0 };
	int result;

	while (imap_room(cmd) > 0 && cv_time_mono_us() - start < IMAP_SLICE_US) {
		if (fetch->part != NULL || fetch->map.ptr != NULL) {
			if (!write_piece(cmd))
				return CV_IMAP_DONE;
			continue;
		}
		if (fetch->ask != NULL)
			return CV_IMAP_WAIT;
		if (fetch->answered) {
			if (take_answer(cmd, &err) < 0)
				return imap_fail(cmd, &err);
			continue;
		}
		if (fetch->next == NULL)
			return imap_ok(cmd, NULL, "Urlfetch completed");
		(void)cv_imap_arg_astring(fetch->next, &fetch->text);
		fetch->next = fetch->next->next;
		result = begin_url(cmd, &err);
		if (result < 0)
			return imap_fail(cmd, &err);
	}
	return CV_IMAP_STEP;
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	enum cv_imap_result result = go_on(cmd);

	if (result == CV_IMAP_DONE)
		stop(cmd);
	return result;
}

/* urlfetch = "URLFETCH" 1*(SP url-full) */
static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cv_new(cmd->arena, struct urlfetch, 1);
	struct cv_str text;
	unsigned count = 0;

	for (const struct cv_imap_arg *arg = cmd->args; arg != NULL; arg = arg->next)
		if (!cv_imap_arg_astring(arg, &text) || ++count > URLS_MAX)
			return imap_bad(cmd, count > URLS_MAX ? "Too many URLs at once" : "A URL is needed");
	if (count == 0)
		return imap_bad(cmd, "A URL is needed");
	fetch->next = cmd->args;
	fetch->memfd = -1;
	cmd->data = fetch;
	return step(cmd);
}

const struct cv_imap_command imap_cmd_urlfetch = {
	.verb = "URLFETCH",
	.opts = CV_IMAP_LOGGED_IN,
	.run = run,
	.step = step,
	.cancel = stop,
};
