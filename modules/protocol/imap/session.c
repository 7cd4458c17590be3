/* SPDX-License-Identifier: MIT
   The session: input to commands, commands to handlers in slices, one tagged reply for each. */
#include <config.h>

#include "annotate.h"
#include "metadata.h"
#include "notify.h"
#include "push.h"
#include "urlauth.h"

#include "modules/lib/imap/imap-code.h"
#include "modules/lib/imap/imap-quote.h"

#include <culver/reader.h>
#include <culver/time.h>

#define MAX_INPUT ((size_t)64 * 1024)
#define MAX_OUTPUT ((size_t)128 * 1024)
#define BAD_COMMANDS_MAX 20u
/* Octets of a refused command that are read and dropped; a literal beyond that ends the connection (RFC 7888 section 4). */
#define SKIP_MAX ((uint64_t)64 * 1024 * 1024)

/* ---- The end ---------------------------------------------------------------------------------------- */

static void set_state(struct imap_session *s, enum imap_state state)
{
	if (cv_log_debug_on("imap"))
		cv_debug(s->log, "imap state %d -> %d", (int)s->state, (int)state);
	s->state = state;
}

static void end(struct imap_session *s, const char *reason, void (*how)(struct cv_session *session, const char *reason))
{
	const struct imap_stats *stats = &s->stats;
	char numbers[9][24];
	const uint64_t values[9] = { stats->deleted, stats->expunged, stats->appended, stats->header_count, stats->header_size,
		stats->body_count, stats->body_size, cv_session_bytes_in(s->session), cv_session_bytes_out(s->session) };
	static const struct {
		char letter;
		const char *name;
	} names[9] = { { 0, "deleted" }, { 0, "expunged" }, { 0, "appended" }, { 0, "fetch_hdr_count" }, { 0, "fetch_hdr_bytes" },
		{ 0, "fetch_body_count" }, { 0, "fetch_body_bytes" }, { 'i', "input" }, { 'o', "output" } };
	struct cv_var vars[9];
	struct cv_err err = { 0 };
	struct cv_buf text;

	if (s->state == IMAP_STATE_LOGOUT)
		return;
	for (size_t i = 0; i < CV_COUNT_OF(vars); i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "%llu", (unsigned long long)values[i]);
		vars[i] = (struct cv_var){ .letter = names[i].letter, .name = names[i].name, .value = cv_str_c(numbers[i]) };
	}
	cv_buf_init(&text, 2000);
	cv_buf_append_c(&text, reason);
	if (s->set->imap_logout_format != NULL && *s->set->imap_logout_format != '\0') {
		cv_buf_append_char(&text, ' ');
		if (cv_var_expand(&text, s->set->imap_logout_format, vars, CV_COUNT_OF(vars), &err) < 0)
			cv_error(s->log, "imap_logout_format: %s", err.text);
	}
	set_state(s, IMAP_STATE_LOGOUT);
	how(s->session, text.data);
	cv_buf_deinit(&text);
}

void imap_close(struct imap_session *s, const char *reason)
{
	end(s, reason, cv_session_close);
}

void imap_give_back(struct imap_session *s)
{
	end(s, "Logged off", cv_session_give_back);
}

/* ---- Output ----------------------------------------------------------------------------------------- */

struct cv_buf *imap_out(struct cv_imap_cmd *cmd)
{
	return cv_stream_out(imap_cmd_session(cmd)->stream);
}

void imap_write_octets(struct imap_session *s, struct cv_str octets)
{
	if (cv_str_has_nul(octets))
		cv_imap_append_octets(cv_stream_out(s->stream), octets);
	else
		cv_stream_write(s->stream, octets);
}

size_t imap_room(struct cv_imap_cmd *cmd)
{
	return cv_stream_room(imap_cmd_session(cmd)->stream);
}

bool imap_no_args(struct cv_imap_cmd *cmd)
{
	if (cmd->args == NULL)
		return true;
	imap_bad(cmd, "Unexpected arguments");
	return false;
}

/* ---- Waiting ---------------------------------------------------------------------------------------- */

void imap_resume(struct cv_imap_cmd *cmd)
{
	struct imap_cmd *own = imap_cmd(cmd);

	if (own->phase == IMAP_PHASE_WAIT) {
		own->phase = IMAP_PHASE_STEP;
		cv_session_want_step(cmd->session);
	} else {
		own->resumed = true;
	}
}

/* What the mail library calls back with may come after the session's end: it holds this, not the command. */
struct imap_commit {
	struct imap_cmd *cmd; /* NULL: the session ended */
};

static void commit_done(void *ctx, int result, const struct cv_err *err)
{
	struct imap_commit *commit = ctx;
	struct imap_cmd *cmd = commit->cmd;

	cv_free(commit);
	if (cmd == NULL)
		return;
	cmd->commit = NULL;
	cmd->commit_result = result;
	if (result < 0 && err != NULL)
		cmd->commit_err = *err;
	imap_resume(&cmd->pub);
}

enum cv_imap_result imap_begin_commit(struct cv_imap_cmd *cmd, struct cv_txn **txn)
{
	struct imap_cmd *own = imap_cmd(cmd);
	struct imap_commit *commit = cv_new0(struct imap_commit);

	cv_assert(own->commit == NULL);
	commit->cmd = own;
	own->commit = commit;
	own->commit_result = 0;
	own->commit_err = (struct cv_err){ 0 };
	own->commit_id = cv_txn_id(*txn);
	if (cv_txn_commit(txn, commit_done, commit, &own->commit_err) == 0)
		return CV_IMAP_WAIT;
	own->commit = NULL;
	own->commit_result = -1;
	cv_free(commit);
	return CV_IMAP_DONE;
}

enum cv_imap_result imap_commit(struct cv_imap_cmd *cmd, struct cv_txn **txn)
{
	if (imap_begin_commit(cmd, txn) == CV_IMAP_WAIT)
		return CV_IMAP_WAIT;
	return imap_fail(cmd, &imap_cmd(cmd)->commit_err);
}

/* ---- Commands --------------------------------------------------------------------------------------- */

static int api_mailbox_name(struct cv_imap_cmd *cmd, struct cv_str wire, struct cv_str *name_r, struct cv_err *err)
{
	return imap_mailbox_name(cmd, wire, 0, name_r, err);
}

static void api_append_mailbox(struct cv_imap_cmd *cmd, struct cv_buf *out, struct cv_str name)
{
	imap_append_mailbox(imap_cmd_session(cmd), out, name);
}

static int api_sequence_set(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct cv_ranges *seqs_r, struct cv_err *err)
{
	if (cmd->view == NULL)
		return cv_err_set_public(err, CV_ERR_INVALID, "No mailbox is selected");
	return imap_sequence_set(cmd, arg, seqs_r, err);
}

static const struct cv_imap_api api = {
	.ok = imap_ok,
	.no = imap_no,
	.bad = imap_bad,
	.fail = imap_fail,
	.out = imap_out,
	.room = imap_room,
	.resume = imap_resume,
	.mailbox_name = api_mailbox_name,
	.append_mailbox = api_append_mailbox,
	.append_astring = cv_imap_append_astring,
	.append_nstring = cv_imap_append_nstring,
	.append_string = cv_imap_append_string,
	.sequence_set = api_sequence_set,
};

struct imap_cmd *imap_cmd_new(struct imap_session *s, const struct cv_imap_command *command, bool uid)
{
	struct cv_arena *arena = cv_arena_new("imap command", NULL, 0);
	struct imap_cmd *cmd = cv_new(arena, struct imap_cmd, 1);

	cv_assert(s->cmd == NULL);
	cmd->s = s;
	cmd->phase = IMAP_PHASE_RUN;
	cmd->progress_us = cv_time_mono_us();
	cmd->pub = (struct cv_imap_cmd){
		.api = &api,
		.command = command,
		.session = s->session,
		.user = s->user,
		.view = s->view,
		.arena = arena,
		.tag = cv_imap_parser_tag(s->parser),
		.uid = uid,
		.args = cv_imap_parser_args(s->parser),
	};
	if (uid && cmd->pub.args != NULL)
		cmd->pub.args = cmd->pub.args->next;
	s->cmd = cmd;
	cv_session_set_state(s->session, command->verb);
	return cmd;
}

static void free_command(struct imap_session *s)
{
	struct imap_cmd *cmd = s->cmd;
	struct cv_arena *arena = cmd->pub.arena;

	if (cmd->commit != NULL)
		cmd->commit->cmd = NULL;
	s->cmd = NULL;
	cv_arena_free(&arena);
}

/* Free a command that will not be finished. */
static void drop_command(struct imap_session *s)
{
	if (s->cmd->pub.command->cancel != NULL)
		s->cmd->pub.command->cancel(&s->cmd->pub);
	free_command(s);
}

static void count_bad(struct imap_session *s)
{
	if (++s->bad_in_a_row >= BAD_COMMANDS_MAX)
		imap_bye(s, "CLIENTBUG", "Too many invalid commands", "Too many invalid commands");
}

/* A command that never became one: BAD under its tag, as far as that is known. */
static void refuse_tag(struct imap_session *s, struct cv_str tag, const char *code, const char *text)
{
	imap_reply(s, tag, "BAD", code, text);
	count_bad(s);
}

static void refuse(struct imap_session *s, const char *code, const char *text)
{
	refuse_tag(s, cv_imap_parser_tag(s->parser), code, text);
}

/* RFC 7162 section 3.2: "if the server sends MODSEQ FETCH data items while EXPUNGE (or VANISHED) replies with lower mod-sequences being delayed, the
   server MUST send the HIGHESTMODSEQ response code with a lower value than the EXPUNGE's mod-sequence"; and a higher one when the client has got
   them. */
static void tell_modseq(struct imap_cmd *cmd)
{
	struct imap_session *s = cmd->s;
	const char *code;
	bool pending;

	if (s->view == NULL || !s->condstore || (cmd->pub.command->opts & CV_IMAP_NO_SYNC) != 0)
		return;
	pending = cv_view_expunges_pending(s->view);
	if (!pending && !s->modseq_held)
		return;
	s->modseq_held = pending;
	code = imap_code_printf(&cmd->pub, "HIGHESTMODSEQ %llu", (unsigned long long)imap_highest_modseq(s));
	if (cmd->code == NULL && cmd->reply == IMAP_OK)
		cmd->code = code;
	else
		imap_tell(s, "OK", code, "Highest");
}

/* RFC 9738 section 3.1: MESSAGELIMIT is in the OK, unless another response code is: "when the server needs to return both EXPUNGEISSUED and MESSAGELIMIT
   response codes, the former MUST be returned in the tagged OK response, while the latter MUST be returned in an untagged NO response". */
static void tell_limit(struct imap_cmd *cmd)
{
	bool issued = cmd->reply == IMAP_NO && cmd->code != NULL && strcmp(cmd->code, "EXPUNGEISSUED") == 0;

	if (cmd->limit_code == NULL || (cmd->reply != IMAP_OK && !issued))
		return;
	cmd->reply = IMAP_OK;
	if (cmd->code == NULL)
		cmd->code = cmd->limit_code;
	else
		imap_tell(cmd->s, "NO", cmd->limit_code, "Not all messages were meant");
	cmd->limit_code = NULL;
}

/* Untagged data of the selected mailbox, then the tagged reply. True when all is written. */
static bool finish(struct imap_session *s)
{
	static const char *const words[] = { [IMAP_OK] = "OK", [IMAP_NO] = "NO", [IMAP_BAD] = "BAD" };
	struct imap_cmd *cmd = s->cmd;
	unsigned opts = cmd->pub.command->opts;
	bool wanted = cmd->reply != IMAP_BAD && (opts & CV_IMAP_NO_SYNC) == 0 &&
		((s->workarounds & IMAP_DELAY_NEWMAIL) == 0 || (opts & CV_IMAP_SHOWS_NEW) != 0);

	cv_assert(cmd->reply != IMAP_NO_REPLY);
	if (!cmd->synced) {
		if (wanted)
			imap_sync(s, (opts & CV_IMAP_KEEPS_SEQ) == 0 || cmd->pub.uid, 0);
		cmd->synced = true;
	}
	if (!imap_write_events(s))
		return false;
	tell_limit(cmd);
	if (cmd->reply != IMAP_BAD)
		tell_modseq(cmd);
	if (cmd->reply == IMAP_BAD)
		refuse_tag(s, cmd->pub.tag, cmd->code, cmd->text);
	else
		imap_reply(s, cmd->pub.tag, words[cmd->reply], cmd->code, cmd->text);
	if (cmd->reply == IMAP_OK && cmd->after != NULL)
		cmd->after(s);
	if (cmd->reply != IMAP_BAD)
		s->bad_in_a_row = 0;
	if (cmd->pub.command == &imap_cmd_logout && cmd->reply == IMAP_OK) {
		cv_stream_set_bidden(s->stream);
		imap_close(s, "Logged out");
	}
	return true;
}

/* Can the messages be read that the command is about? Else what it finds is no answer, and what it does is not what it was to do. */
static bool is_readable(struct imap_cmd *cmd)
{
	struct imap_session *s = cmd->s;
	const struct cv_imap_command *command = cmd->pub.command;
	/* UNSELECT reads nothing; REPLACE takes its literal first, and refuses a message that it does not see. */
	bool asks = (command->opts & CV_IMAP_LOGGED_IN) == CV_IMAP_SELECTED && command != &imap_cmd_unselect && command != &imap_cmd_replace;
	struct cv_err err = { 0 };

	if (s->view != NULL && asks && cmd->unreadable == NULL && cv_view_usable(s->view, &err) < 0) {
		cmd->unreadable = cv_new(cmd->pub.arena, struct cv_err, 1);
		*cmd->unreadable = err;
	}
	return cmd->unreadable == NULL;
}

static enum cv_imap_result run_command(struct imap_cmd *cmd)
{
	struct imap_session *s = cmd->s;
	enum cv_imap_result result;
	bool reads;

	if (cmd->phase == IMAP_PHASE_RUN && !is_readable(cmd))
		return imap_fail(&cmd->pub, cmd->unreadable);
	s->acting = true;
	result = cmd->phase == IMAP_PHASE_RUN ? cmd->pub.command->run(&cmd->pub) : cmd->pub.command->step(&cmd->pub);
	s->acting = false;
	/* What was changed is changed, but who only reads (FETCH may set \Seen) was told too little. */
	reads = (cmd->pub.command->opts & CV_IMAP_KEEPS_SEQ) != 0 && cmd->pub.command != &imap_cmd_store;
	if (!is_readable(cmd) && result == CV_IMAP_DONE && cmd->reply == IMAP_OK && (reads || cmd->commit_id == 0))
		result = imap_fail(&cmd->pub, cmd->unreadable);
	return result;
}

/* Go on with the command in progress. True when it is done and gone, or takes a literal now. */
static bool advance(struct imap_session *s)
{
	struct imap_cmd *cmd = s->cmd;
	enum cv_imap_result result;

	switch (cmd->phase) {
	case IMAP_PHASE_LITERAL:
	case IMAP_PHASE_WAIT:
		return false;
	case IMAP_PHASE_RUN:
		result = run_command(cmd);
		break;
	case IMAP_PHASE_STEP:
		if (cv_stream_room(s->stream) == 0)
			return false;
		result = run_command(cmd);
		break;
	case IMAP_PHASE_REPLY:
		result = CV_IMAP_DONE;
		break;
	default:
		return false;
	}
	if (s->state == IMAP_STATE_LOGOUT)
		return false;
	if (cmd->phase == IMAP_PHASE_LITERAL)
		return true;
	switch (result) {
	case CV_IMAP_STEP:
		cmd->phase = IMAP_PHASE_STEP;
		if (cv_stream_room(s->stream) > 0)
			cv_session_want_step(s->session);
		return false;
	case CV_IMAP_WAIT:
		cmd->phase = cmd->resumed ? IMAP_PHASE_STEP : IMAP_PHASE_WAIT;
		if (cmd->resumed)
			cv_session_want_step(s->session);
		cmd->resumed = false;
		imap_progress_wait(s);
		return false;
	case CV_IMAP_DONE:
		break;
	}
	cmd->phase = IMAP_PHASE_REPLY;
	if (!finish(s))
		return false;
	free_command(s);
	if (s->view != NULL)
		cv_view_rest(s->view);
	/* A refused APPEND may have octets on the way that are still to be skipped. */
	if (cv_imap_parser_complete(s->parser))
		cv_imap_parser_next(s->parser);
	cv_session_set_state(s->session, s->view != NULL ? "selected" : "authenticated");
	return true;
}

static unsigned state_bit(const struct imap_session *s)
{
	return s->state == IMAP_STATE_SELECTED ? CV_IMAP_SELECTED : CV_IMAP_AUTHENTICATED;
}

/* The command for the verb and, for UID, its first argument. NULL with *why_r and perhaps *code_r. */
static const struct cv_imap_command *look_up(struct imap_session *s, bool *uid_r, const char **code_r, const char **why_r)
{
	struct cv_str verb = cv_imap_parser_verb(s->parser);
	const struct cv_imap_arg *args = cv_imap_parser_args(s->parser);
	const struct cv_imap_command *command;

	*code_r = NULL;
	*uid_r = cv_str_caseeq_c(verb, "UID");
	if (*uid_r && (args == NULL || !cv_imap_arg_atom(args, &verb))) {
		*why_r = "UID needs a command";
		return NULL;
	}
	command = imap_find_command(s, verb, *uid_r);
	if (command == NULL) {
		*why_r = "Unknown command";
		return NULL;
	}
	if ((command->opts & state_bit(s)) == 0) {
		*why_r = s->state == IMAP_STATE_SELECTED ? "Command is not allowed while a mailbox is selected" : "No mailbox is selected";
		return NULL;
	}
	/* RFC 9586 section 3.2: those that take message numbers "are prohibited and MUST result in a tagged BAD response". */
	if (s->uidonly && !*uid_r && (command->opts & CV_IMAP_UID_VARIANT) != 0) {
		*code_r = "UIDREQUIRED";
		*why_r = "Message numbers are not allowed once UIDONLY is enabled";
		return NULL;
	}
	return command;
}

static void start_command(struct imap_session *s)
{
	const char *code, *why;
	bool uid;
	const struct cv_imap_command *command = look_up(s, &uid, &code, &why);

	if (command == NULL) {
		refuse(s, code, why);
		cv_imap_parser_next(s->parser);
		return;
	}
	/* Nothing behind it is unpacked, whenever it runs. -1 comes again there. */
	if (command == &imap_cmd_unauthenticate && cv_imap_parser_args(s->parser) == NULL && cv_stream_deflated(s->stream))
		(void)!cv_stream_packed_end(s->stream);
	(void)imap_cmd_new(s, command, uid);
}

/* A command announced a literal: refuse it now, or let its octets come. */
static void literal_due(struct imap_session *s)
{
	struct cv_imap_literal literal = cv_imap_parser_literal(s->parser);
	struct cv_err err = { 0 };
	const char *code, *why;
	char maxsize[64];
	bool uid, annotation;
	const struct cv_imap_command *command;

	if (s->cmd != NULL) {
		imap_append_literal(s->cmd);
		return;
	}
	command = look_up(s, &uid, &code, &why);
	if (command == NULL) {
		refuse(s, code, why);
		cv_imap_parser_skip(s->parser);
		return;
	}
	if (imap_append_takes(s, command, uid)) {
		imap_append_literal(imap_cmd_new(s, command, uid));
		return;
	}
	annotation = literal.in_list && annotate_takes(s, command, cv_imap_parser_args(s->parser));
	/* RFC 5257 section 4.5, the same. */
	if (annotation && literal.size > annotate_value_max(s)) {
		imap_reply(s, cv_imap_parser_tag(s->parser), "NO", "ANNOTATE TOOBIG", "Annotation is too large");
		cv_imap_parser_skip(s->parser);
		return;
	}
	/* RFC 5464 section 4.3: "If the server is unable to set an annotation because the size of its value is too large". */
	if (command == &imap_cmd_setmetadata && literal.in_list && literal.size > cv_annotation_value_max(s->user)) {
		snprintf(maxsize, sizeof(maxsize), "METADATA MAXSIZE %zu", cv_annotation_value_max(s->user));
		imap_reply(s, cv_imap_parser_tag(s->parser), "NO", maxsize, "Value is too large");
		cv_imap_parser_skip(s->parser);
		return;
	}
	if (annotation)
		cv_imap_parser_allow(s->parser, annotate_literals_max(s));
	/* One value of the largest size that is allowed, and some text beside it. */
	if (command == &imap_cmd_setmetadata)
		cv_imap_parser_allow(s->parser, (size_t)s->set->imap_max_line_length + cv_annotation_value_max(s->user));
	if (cv_imap_parser_keep(s->parser, &err) < 0) {
		refuse(s, NULL, err.text);
		return;
	}
	if (literal.sync)
		cv_buf_append_c(cv_stream_out(s->stream), "+ OK\r\n");
}

/* Octets of a streamed literal, or of what must be skipped, or a command. True when there was something to do. */
static bool read_input(struct imap_session *s)
{
	struct cv_str input = cv_stream_input(s->stream), chunk;
	struct cv_err err = { 0 };
	size_t used = 0;
	enum cv_imap_parsed parsed = cv_imap_parser_feed(s->parser, input, &used, &err);

	cv_stream_consume(s->stream, used);
	switch (parsed) {
	case CV_IMAP_MORE:
		if (cv_imap_parser_skipped(s->parser) > SKIP_MAX)
			imap_bye(s, "TOOBIG", "Literal is too long", "Literal is too long");
		return false;
	case CV_IMAP_COMMAND:
		if (s->cmd != NULL)
			s->cmd->phase = IMAP_PHASE_RUN; /* APPEND: its literal is complete */
		else
			start_command(s);
		return true;
	case CV_IMAP_LITERAL_DUE:
		literal_due(s);
		return true;
	case CV_IMAP_STREAMING:
		input = cv_stream_input(s->stream);
		if (input.len == 0)
			return false;
		cv_imap_parser_stream(s->parser, input, &used, &chunk);
		imap_append_take(s->cmd, chunk);
		cv_stream_consume(s->stream, used);
		return true;
	case CV_IMAP_BAD:
		if (s->cmd != NULL)
			drop_command(s);
		refuse(s, NULL, err.text);
		return true;
	case CV_IMAP_SKIPPED:
		cv_imap_parser_next(s->parser);
		return true;
	}
	return false;
}

void imap_run(struct imap_session *s)
{
	uint64_t start = cv_time_mono_us();

	while (s->state != IMAP_STATE_LOGOUT) {
		if (s->cmd != NULL && s->cmd->phase != IMAP_PHASE_LITERAL) {
			if (!advance(s))
				return;
		} else if (s->cmd == NULL && s->in_line) {
			if (!imap_notify_push(s)) /* a FETCH response that was begun between commands */
				return;
		} else if (cv_stream_room(s->stream) == 0 || !read_input(s)) {
			break;
		}
		if (cv_time_mono_us() - start > IMAP_SLICE_US) {
			cv_session_want_step(s->session);
			return;
		}
	}
	if (s->state != IMAP_STATE_LOGOUT && cv_stream_eof(s->stream))
		imap_close(s, "Connection closed");
	else if (s->state != IMAP_STATE_LOGOUT && s->cmd == NULL && imap_notify_due(s))
		(void)imap_notify_push(s); /* false: it goes on when there is room, or in the next round */
}

/* ---- What the worker calls -------------------------------------------------------------------------- */

static void on_input(void *state)
{
	struct imap_session *s = state;

	if (s->state == IMAP_STATE_LOGOUT)
		return;
	if (cv_stream_error(s->stream) != NULL) {
		imap_close(s, cv_stream_deflated(s->stream) ? cv_stream_error(s->stream) : "Connection lost");
		return;
	}
	if (s->cmd != NULL && s->cmd->input != NULL)
		s->cmd->input(s->cmd);
	imap_run(s);
}

static void on_output(void *state)
{
	struct imap_session *s = state;

	if (s->state != IMAP_STATE_LOGOUT)
		imap_run(s);
}

static void on_step(void *state)
{
	struct imap_session *s = state;

	if (s->state != IMAP_STATE_LOGOUT)
		imap_run(s);
}

static void on_timeout(void *state)
{
	struct imap_session *s = state;

	/* A command in progress is busy, unless nobody takes what it writes. */
	if (s->cmd != NULL && s->cmd->phase != IMAP_PHASE_LITERAL && cv_stream_unsent(s->stream) == 0) {
		cv_session_set_timeout(s->session, IMAP_INACTIVITY_MS);
		return;
	}
	imap_bye(s, NULL, "Disconnected for inactivity", "Disconnected for inactivity");
}

static void on_goodbye(void *state, const char *reason)
{
	struct imap_session *s = state;

	if (strcmp(reason, "shutdown") == 0)
		imap_bye(s, "UNAVAILABLE", "Server is shutting down", reason);
	else if (strcmp(reason, "kicked") == 0)
		imap_bye(s, "UNAVAILABLE", "Session was ended by the administrator", reason);
	else
		imap_bye(s, "UNAVAILABLE", reason, reason);
}

void imap_session_end(void *state)
{
	struct imap_session *s = state;

	if (s->cmd != NULL)
		drop_command(s);
	if (s->progress != NULL)
		cv_timer_remove(&s->progress);
	if (s->urlauth_watch != NULL)
		cv_annotations_unwatch(&s->urlauth_watch);
	imap_unselect(s);
	imap_notify_free(&s->notify);
	imap_push_free(s);
	metadata_disable(s);
	cv_buf_deinit(&s->sleep_texts);
	cv_vec_free(&s->events);
	cv_imap_parser_free(&s->parser);
}

/* What imap-login gives along: u8 version, str tag of the login command, u8 language. *language_r is set when all is right. */
static bool read_resume(struct cv_str resume, struct cv_str *tag_r, unsigned *language_r)
{
	struct cv_reader in = cv_reader_init(resume);
	uint8_t version, language;

	if (!cv_take_u8(&in, &version) || version != 2 || !cv_take_str(&in, 1024, tag_r) || tag_r->len == 0 || !cv_take_u8(&in, &language) ||
		language >= CV_IMAP_LANGUAGES || !cv_reader_end(&in) || !cv_imap_is_word(*tag_r, CV_IMAP_ASTRING_CHAR))
		return false;
	*language_r = language;
	return true;
}

/* RFC 4467 section 7, RESETKEY: "Any current IMAP session logged in as the user that has the mailbox selected will receive an untagged OK response". */
static void on_annotation(void *ctx, const struct cv_annotation_change *change)
{
	struct imap_session *s = ctx;

	if (change->mailbox == NULL || s->view == NULL || change->mailbox != cv_view_mailbox(s->view) ||
		!cv_str_eq(change->name, CV_STR(IMAP_URLAUTH_ENTRY)))
		return;
	/* Who did it is told in the tagged reply. */
	if (s->cmd == NULL || s->cmd->commit_id != change->txn)
		s->urlauth_changed = true;
}

struct imap_session *imap_session_new(struct cv_session *session, struct cv_err *err)
{
	struct imap_session *s = cv_new(cv_session_arena(session), struct imap_session, 1);
	struct cv_imap_limits limits = { 0 };

	s->session = session;
	s->stream = cv_session_stream(session);
	s->user = cv_session_user(session);
	s->log = cv_session_log(session);
	s->set = cv_session_conf(session, &imap_settings_table);
	if (imap_workarounds(s->set->imap_client_workarounds, &s->workarounds, err) < 0)
		return NULL;
	s->separator = cv_user_separator(s->user);
	if (s->set->imap_urlauth)
		s->urlauth_watch = cv_annotations_watch(s->user, on_annotation, s);
	s->state = IMAP_STATE_AUTHENTICATED;
	cv_buf_init(&s->sleep_texts, 2 * CV_SLEEP_TEXT_MAX);
	limits.line = limits.literal = (size_t)s->set->imap_max_line_length;
	s->parser = cv_imap_parser_new(&limits);
	cv_session_set_timeout(session, IMAP_INACTIVITY_MS);
	cv_session_set_sleep(session, s->set->imap_hibernate_silent_timeout);
	cv_session_set_state(session, "authenticated");
	return s;
}

static void *on_start(struct cv_session *session, struct cv_str resume, struct cv_err *err)
{
	unsigned language = CV_IMAP_I_DEFAULT;
	struct imap_session *s;
	struct cv_buf *out;
	struct cv_str tag;

	if (!read_resume(resume, &tag, &language)) {
		cv_err_set(err, CV_ERR_INTERNAL, "imap-login gave no valid tag along");
		return NULL;
	}
	s = imap_session_new(session, err);
	if (s == NULL)
		return NULL;
	s->language = language;
	out = cv_stream_out(s->stream);
	cv_buf_append(out, tag);
	cv_buf_append_c(out, " OK [CAPABILITY ");
	imap_append_capabilities(s, out);
	cv_buf_append_c(out, "] ");
	imap_end_line(s, out, "Logged in");
	return s;
}

/* The session_start hook said no: the login command's reply is still due. */
static void on_refuse(struct cv_session *session, struct cv_str resume, const struct cv_err *err)
{
	struct cv_buf *out = cv_stream_out(cv_session_stream(session));
	unsigned language = CV_IMAP_I_DEFAULT;
	struct cv_str tag;

	if (read_resume(resume, &tag, &language))
		imap_write_reply(out, language, tag, "NO", cv_imap_login_code(err->code), cv_err_public(err));
	imap_write_reply(out, language, (struct cv_str){ NULL, 0 }, "BYE", NULL, "Session was refused");
}

const struct cv_session_protocol imap_session_protocol = {
	.name = "imap",
	.max_input = MAX_INPUT,
	.max_output = MAX_OUTPUT,
	.start = on_start,
	.input = on_input,
	.output = on_output,
	.step = on_step,
	.timeout = on_timeout,
	.goodbye = on_goodbye,
	.end = imap_session_end,
	.refuse = on_refuse,
	.sleep = imap_sleep,
	.wake = imap_wake,
};
