/* SPDX-License-Identifier: MIT
   URLFETCH (RFC 4467 section 7, RFC 5524): what URLs stand for, of this user's mailboxes and, through their workers, of others'. */
#include <config.h>

#include "part.h"
#include "urlauth.h"

#include "modules/lib/imap/imap-quote.h"

#include <culver/file.h>
#include <culver/ipc.h>
#include <culver/reader.h>
#include <culver/time.h>

#define URLS_MAX 100u
#define CHUNK ((size_t)64 * 1024)

/* url-fetch-param = "BODY" / "BINARY" / "BODYPARTSTRUCTURE" / atom */
enum {
	WANT_BODY = 1,
	WANT_BINARY = 2,
	WANT_STRUCTURE = 4
};

struct urlfetch {
	const struct cv_imap_arg *next; /* URL to begin with */
	struct cv_str text;             /* the one at hand */
	unsigned want;                  /* of it; 0: the form of RFC 4467 */
	struct imap_part *part;         /* its octets: here … */
	bool counting;                  /* they are read to see how many they are; none was written yet */
	struct cv_str map;              /* … or from another user's worker; absent: none */
	size_t map_done, map_size;      /* map_size octets of it are the part's, the rest is its structure */
	struct cv_ask *ask;             /* that was asked, and has not answered */
	bool answered;
	int memfd;
	struct cv_str head;             /* what it answered */
	struct cv_err err;
};

static void unmap(struct urlfetch *fetch)
{
	if (fetch->map.ptr != NULL)
		cv_memfd_unmap(fetch->map);
	fetch->map = (struct cv_str){ 0 };
	fetch->map_done = fetch->map_size = 0;
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

/* What stands before the octets of a part, or all when there are none to come. structure: empty when there is none to tell; unknown: it can't be decoded.
   urldata-ext = SP url-full url-metadata; url-metadata = 1*(SP "(" url-metadata-el ")") */
static void begin_part(struct cv_imap_cmd *cmd, struct cv_str structure, uint64_t size, bool nul, bool unknown)
{
	struct urlfetch *fetch = cmd->data;
	struct cv_buf *out = imap_out(cmd);
	bool data = (fetch->want & (WANT_BODY | WANT_BINARY)) != 0 || fetch->want == 0;

	if (!data && structure.len == 0) {
		write_nil(cmd);
		return;
	}
	begin_line(cmd);
	if (structure.len > 0) {
		cv_buf_append_c(out, "(BODYPARTSTRUCTURE ");
		cv_buf_append(out, structure);
		cv_buf_append_c(out, data ? ") " : ")");
	}
	if (data && fetch->want != 0)
		cv_buf_append_c(out, (fetch->want & WANT_BODY) != 0 ? "(BODY " : "(BINARY ");
	if (data && unknown)
		cv_buf_append_c(out, "NIL)");
	else if (data && size > 0)
		cv_imap_append_literal_head(out, nul, size);
	else if (data)
		cv_buf_append_c(out, fetch->want != 0 ? "\"\")" : "\"\"");
	imap_cmd_session(cmd)->in_line = data && !unknown && size > 0;
	if (!imap_cmd_session(cmd)->in_line)
		cv_buf_append_c(out, "\r\n");
}

static void end_part(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cmd->data;
	struct imap_session *s = imap_cmd_session(cmd);

	if (s->in_line)
		cv_buf_append_c(imap_out(cmd), fetch->want != 0 ? ")\r\n" : "\r\n");
	s->in_line = false;
	imap_part_close(&fetch->part);
	unmap(fetch);
}

/* Everything is known now that stands before the octets. -1: the session was ended. */
static int begin_counted(struct cv_imap_cmd *cmd, struct cv_err *err)
{
	struct urlfetch *fetch = cmd->data;
	struct cv_buf structure;
	bool fits;

	fetch->counting = false;
	cv_buf_init(&structure, IMAP_PART_STRUCTURE_MAX);
	if ((fetch->want & WANT_STRUCTURE) != 0)
		(void)imap_part_append_structure(fetch->part, &structure);
	fits = cv_buf_ok(&structure);
	if (fits)
		begin_part(cmd, cv_buf_str(&structure), imap_part_size(fetch->part), imap_part_nul(fetch->part), imap_part_unknown(fetch->part));
	cv_buf_deinit(&structure);
	if (!fits)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Structure is too large");
	if (!imap_cmd_session(cmd)->in_line) {
		end_part(cmd);
		return 0;
	}
	return imap_part_rewind(fetch->part, err);
}

/* One more piece is read to be counted. -1: the command fails. */
static int count_piece(struct cv_imap_cmd *cmd, struct cv_err *err)
{
	struct urlfetch *fetch = cmd->data;
	struct cv_str octets;
	int result = imap_part_read(fetch->part, CHUNK, &octets, err);

	if (result < 0)
		return -1;
	return result > 0 ? 0 : begin_counted(cmd, err);
}

/* One more piece of the literal. False: the session was ended. */
static bool write_piece(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cmd->data;
	struct imap_session *s = imap_cmd_session(cmd);
	size_t room = CV_MIN(imap_room(cmd), CHUNK);
	struct cv_str octets = cv_str_sub(fetch->map, fetch->map_done, CV_MIN(room, fetch->map_size - fetch->map_done));
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
		end_part(cmd);
		return true;
	}
	if ((fetch->want & WANT_BINARY) != 0)
		cv_buf_append(imap_out(cmd), octets);
	else
		imap_write_octets(s, octets);
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
	fetch->head = cv_arena_str(cmd->arena, reply->data);
	fetch->memfd = reply->memfd;
	reply->memfd = -1;
	imap_resume(cmd);
}

static unsigned part_opts(const struct urlfetch *fetch)
{
	return ((fetch->want & WANT_BINARY) != 0 ? IMAP_PART_BINARY : 0u) | ((fetch->want & WANT_STRUCTURE) != 0 ? IMAP_PART_STRUCTURE : 0u);
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
	result = imap_part_open(cmd->user, url, part_opts(fetch), &fetch->part, err);
	if (result < 0 && !err->public_text)
		return -1;
	/* "If the URL is valid, but the IMAP fetch of the body part returned NIL […], the returned data string should be the empty string". */
	if (result < 0)
		write_nil(cmd);
	else if (result == 0)
		begin_part(cmd, CV_STR(""), 0, false, false);
	else if ((fetch->want & WANT_BINARY) != 0)
		fetch->counting = true;
	else
		return begin_counted(cmd, err);
	return 0;
}

/* 1 began or done, 0 another worker was asked, -1 with err: the command fails. */
static int begin_url(struct cv_imap_cmd *cmd, struct cv_err *err)
{
	struct urlfetch *fetch = cmd->data;
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_err why = { 0 };
	struct cv_imap_url url;
	struct cv_buf payload;
	int result;

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
	cv_buf_init(&payload, SIZE_MAX / 2);
	cv_put_u8(&payload, (uint8_t)part_opts(fetch));
	cv_buf_append(&payload, fetch->text);
	result = cv_session_ask(cmd->session, url.user, IMAP_URLAUTH_PROTOCOL, cv_buf_str(&payload), on_answer, cmd, &fetch->ask, err);
	cv_buf_deinit(&payload);
	return result < 0 ? -1 : 0;
}

static int take_part(struct cv_imap_cmd *cmd, struct cv_err *err)
{
	struct urlfetch *fetch = cmd->data;
	struct cv_reader in = cv_reader_init(fetch->head);
	struct cv_str structure;
	uint8_t flags;
	uint64_t size;

	if (cv_memfd_map(fetch->memfd, IMAP_APPEND_LIMIT + IMAP_PART_STRUCTURE_MAX, &fetch->map, err) < 0)
		return -1;
	if (!cv_take_u8(&in, &flags) || !cv_take_u64(&in, &size) || !cv_reader_end(&in) || size > fetch->map.len)
		return cv_err_set(err, CV_ERR_INTERNAL, "another user's worker answered something else than what was asked");
	fetch->map_size = (size_t)size;
	structure = cv_str_sub(fetch->map, fetch->map_size, SIZE_MAX);
	begin_part(cmd, structure, size, (flags & IMAP_URLAUTH_NUL) != 0, (flags & IMAP_URLAUTH_UNKNOWN) != 0);
	if (!imap_cmd_session(cmd)->in_line)
		unmap(fetch);
	return 0;
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
		begin_part(cmd, CV_STR(""), 0, false, false);
	} else {
		result = take_part(cmd, err);
	}
	if (fetch->memfd >= 0)
		cv_file_close(&fetch->memfd);
	fetch->memfd = -1;
	return result;
}

/* One bit; 0: it is no word of ours. */
static unsigned want_of(const struct cv_imap_arg *param)
{
	if (cv_imap_arg_is(param, "BODY"))
		return WANT_BODY;
	if (cv_imap_arg_is(param, "BINARY"))
		return WANT_BINARY;
	return cv_imap_arg_is(param, "BODYPARTSTRUCTURE") ? WANT_STRUCTURE : 0;
}

/* The next URL and what is wanted of it. */
static void take_arg(struct urlfetch *fetch)
{
	const struct cv_imap_arg *arg = fetch->next, *param;

	fetch->want = 0;
	fetch->next = arg->next;
	if (cv_imap_arg_list(arg, &param)) {
		arg = param;
		for (param = param->next; param != NULL; param = param->next)
			fetch->want |= want_of(param);
	}
	(void)cv_imap_arg_astring(arg, &fetch->text);
}

static enum cv_imap_result go_on(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cmd->data;
	uint64_t start = cv_time_mono_us();
	struct cv_err err = { 0 };
	int result;

	while (imap_room(cmd) > 0 && cv_time_mono_us() - start < IMAP_SLICE_US) {
		if (fetch->counting) {
			if (count_piece(cmd, &err) < 0)
				return imap_fail(cmd, &err);
			continue;
		}
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
		take_arg(fetch);
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

/* url-fetch-arg = url-full / "(" url-full *(SP url-fetch-param) ")" (RFC 5524 section 5). False: *why_r. */
static bool check_arg(const struct cv_imap_arg *arg, const char **why_r)
{
	const struct cv_imap_arg *param = NULL;
	struct cv_str text;
	unsigned seen = 0, bit;

	*why_r = "A URL is needed";
	if (cv_imap_arg_list(arg, &param))
		arg = param;
	if (arg == NULL || !cv_imap_arg_astring(arg, &text))
		return false;
	for (param = param != NULL ? param->next : NULL; param != NULL; param = param->next) {
		bit = want_of(param);
		/* Section 3.1: "Metadata items MUST NOT appear more than once per URL requested, and clients MUST NOT request both BINARY and BODY." */
		*why_r = bit == 0 ? "BODY, BINARY or BODYPARTSTRUCTURE is needed" : "BODY or BINARY, and each item once";
		if (bit == 0 || (seen & bit) != 0 || ((seen | bit) & (WANT_BODY | WANT_BINARY)) == (WANT_BODY | WANT_BINARY))
			return false;
		seen |= bit;
	}
	return true;
}

/* urlfetch = "URLFETCH" 1*(SP url-fetch-arg) */
static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct urlfetch *fetch = cv_new(cmd->arena, struct urlfetch, 1);
	const char *why;
	unsigned count = 0;

	for (const struct cv_imap_arg *arg = cmd->args; arg != NULL; arg = arg->next) {
		if (++count > URLS_MAX)
			return imap_bad(cmd, "Too many URLs at once");
		if (!check_arg(arg, &why))
			return imap_bad(cmd, why);
	}
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
