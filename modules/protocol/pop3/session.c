/* SPDX-License-Identifier: MIT
   POP3 after login: the session from "Logged in" to its end, and the module. */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

#include <culver/time.h>

#define MAX_OUTPUT ((size_t)128 * 1024)
#define SLICE_US 10000u /* of commands that came together, before others have their turn */

static const char *const delete_types[] = { "default", "expunge", "flag", NULL };
static const char *const uidl_duplicates[] = { "allow", "rename", NULL };
static const struct {
	const char *name;
	unsigned bit;
} workarounds[] = { { "outlook-no-nuls", CV_POP3_NO_NULS }, { "oe-ns-eoh", CV_POP3_NS_EOH } };

static const struct cv_setting rows[] = {
	CV_SETTING_VAR(cv_pop3_settings, pop3_uidl_format, "%08Xu%08Xv",
		"Unique-ids: %u UID, %v UIDVALIDITY, %g GUID, %f file name (Maildir). One kept from another server goes before."),
	CV_SETTING_ENUM(cv_pop3_settings, pop3_uidl_duplicates, "allow", uidl_duplicates,
		"Messages with the same unique-id: allow them, or rename the later ones (\"-2\", \"-3\" behind it)."),
	CV_SETTING_BOOL(cv_pop3_settings, pop3_reuse_xuidl, "no", "Take the X-UIDL field of a message as its unique-id."),
	CV_SETTING_BOOL(cv_pop3_settings, pop3_save_uidl, "no",
		"Keep the unique-ids that clients were told, so that they stay when pop3_uidl_format or what it is made of changes."),
	CV_SETTING_BOOL(cv_pop3_settings, pop3_no_flag_updates, "no", "Do not mark retrieved messages as seen."),
	CV_SETTING_BOOL(cv_pop3_settings, pop3_lock_session, "no", "Only one POP3 session of a user at a time; others get [IN-USE]."),
	CV_SETTING_BOOL(cv_pop3_settings, pop3_enable_last, "no", "Offer the old LAST command."),
	CV_SETTING_STR(cv_pop3_settings, pop3_deleted_flag, NULL,
		"Flag or keyword that hides a message from POP3; DELE sets it instead of removing the message."),
	CV_SETTING_ENUM(cv_pop3_settings, pop3_delete_type, "default", delete_types,
		"What DELE does: expunge, or set pop3_deleted_flag; default: flag when there is one, else expunge."),
	CV_SETTING_LIST(cv_pop3_settings, pop3_client_workarounds, NULL,
		"outlook-no-nuls: NULs become 0x80; oe-ns-eoh: a missing end of the header is added."),
	CV_SETTING_VAR(cv_pop3_settings, pop3_logout_format, "top=%t/%p, retr=%r/%b, del=%d/%m, size=%s",
		"Numbers logged at the end of a session: %t TOP commands, %p their octets, %r RETR commands, %b their octets, %d deleted messages, "
		"%{deleted_bytes} their octets, %m messages and %s octets at login, %i octets in, %o out, %u how many unique-ids the client knew and will know, each with "
		"a hash."),
};

static void logout_vars(const struct cv_pop3_session *client, struct cv_var *vars, struct cv_buf *texts);
#define LOGOUT_VARS 11

static int expand_logout(const char *format, const struct cv_pop3_session *client, struct cv_buf *out, struct cv_err *err)
{
	struct cv_var vars[LOGOUT_VARS];
	struct cv_buf texts[LOGOUT_VARS];
	int ret;

	logout_vars(client, vars, texts);
	ret = cv_var_expand(out, format, vars, LOGOUT_VARS, err);
	for (size_t i = 0; i < LOGOUT_VARS; i++)
		cv_buf_deinit(&texts[i]);
	return ret;
}

static int check_workarounds(const struct cv_pop3_settings *s, unsigned *bits_r, struct cv_err *err)
{
	*bits_r = 0;
	for (const char *const *word = s->pop3_client_workarounds; word != NULL && *word != NULL; word++) {
		unsigned bit = 0;

		for (size_t i = 0; i < CV_COUNT_OF(workarounds); i++) {
			if (strcmp(*word, workarounds[i].name) == 0)
				bit = workarounds[i].bit;
		}
		if (bit == 0)
			return cv_err_set(err, CV_ERR_INVALID,
				"pop3_client_workarounds: there is no workaround %s (allowed: outlook-no-nuls oe-ns-eoh)", *word);
		*bits_r |= bit;
	}
	return 0;
}

static int check_settings(const void *set, struct cv_err *err)
{
	const struct cv_pop3_settings *s = set;
	struct cv_str keyword;
	struct cv_buf out;
	uint16_t flag;
	unsigned bits;
	int ret;

	if (check_workarounds(s, &bits, err) < 0)
		return -1;
	if (cv_pop3_uidl_format_check(s->pop3_uidl_format, err) < 0)
		return cv_err_context(err, "pop3_uidl_format");
	if (s->pop3_deleted_flag != NULL && s->pop3_deleted_flag[0] != '\0') {
		if (!cv_pop3_flag_parse(s->pop3_deleted_flag, &flag, &keyword))
			return cv_err_set(err, CV_ERR_INVALID, "pop3_deleted_flag: must be a system flag (\\Deleted) or a keyword ($Name)");
	} else if (s->pop3_delete_type == CV_POP3_DELETE_FLAG) {
		return cv_err_set(err, CV_ERR_INVALID, "pop3_delete_type: flag needs pop3_deleted_flag");
	}
	cv_buf_init(&out, 4096);
	ret = expand_logout(s->pop3_logout_format, NULL, &out, err);
	cv_buf_deinit(&out);
	return ret < 0 ? cv_err_context(err, "pop3_logout_format") : 0;
}

const struct cv_settings_table cv_pop3_settings_table =
	CV_SETTINGS_TABLE(NULL, "POP3", cv_pop3_settings, rows, check_settings);

/* The slot of a user's pop3_lock_session lock; written once, in load(). */
static unsigned lock_slot;

static const char *state_name(enum cv_pop3_state state)
{
	switch (state) {
	case CV_POP3_COMMAND:
		return "command";
	case CV_POP3_OUTPUT:
		return "output";
	case CV_POP3_UPDATE:
		return "update";
	case CV_POP3_CLOSED:
		return "closed";
	}
	return "?";
}

void cv_pop3_set_state(struct cv_pop3_session *client, enum cv_pop3_state state)
{
	cv_debug(cv_session_log(client->session), "pop3 state %s -> %s", state_name(client->state), state_name(state));
	client->state = state;
}

void cv_pop3_reply(struct cv_pop3_session *client, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cv_pop3_append_line(cv_stream_out(client->stream), client->language, fmt, ap);
	va_end(ap);
}

/* client NULL: zeros, to see whether a format expands. texts are the caller's to deinit. */
static void logout_vars(const struct cv_pop3_session *client, struct cv_var *vars, struct cv_buf *texts)
{
	static const struct cv_var names[LOGOUT_VARS] = { { 'i', "input", { NULL, 0 } }, { 'o', "output", { NULL, 0 } },
		{ 't', "top_count", { NULL, 0 } }, { 'p', "top_bytes", { NULL, 0 } }, { 'r', "retr_count", { NULL, 0 } },
		{ 'b', "retr_bytes", { NULL, 0 } }, { 'd', "deleted_count", { NULL, 0 } }, { 0, "deleted_bytes", { NULL, 0 } },
		{ 'm', "message_count", { NULL, 0 } }, { 's', "message_bytes", { NULL, 0 } }, { 'u', "uidl_change", { NULL, 0 } } };
	uint64_t values[LOGOUT_VARS] = { 0 };

	if (client != NULL) {
		const uint64_t now[LOGOUT_VARS] = { cv_stream_bytes_in(client->stream), cv_stream_bytes_out(client->stream),
			client->count.top, client->count.top_size, client->count.retr, client->count.retr_size,
			client->count.deleted, client->count.deleted > 0 ? client->drop.deleted_size : 0,
			client->drop.msgs.count, client->drop.size, 0 };

		memcpy(values, now, sizeof(values));
	}
	for (size_t i = 0; i < LOGOUT_VARS; i++) {
		cv_buf_init(&texts[i], 100);
		if (i < LOGOUT_VARS - 1)
			cv_buf_append_u64(&texts[i], values[i]);
		else if (client != NULL)
			cv_pop3_maildrop_uidl_change(client, &texts[i]);
		vars[i] = names[i];
		vars[i].value = cv_buf_str(&texts[i]);
	}
}

void cv_pop3_close(struct cv_pop3_session *client, const char *reason)
{
	struct cv_buf text;

	if (client->state == CV_POP3_CLOSED)
		return;
	cv_pop3_set_state(client, CV_POP3_CLOSED);
	cv_buf_init(&text, 1024);
	cv_buf_printf(&text, "%s ", reason);
	/* The format was checked; too long a text is left out. */
	if (expand_logout(client->set->pop3_logout_format, client, &text, NULL) < 0 || !cv_buf_ok(&text))
		cv_session_close(client->session, reason);
	else
		cv_session_close(client->session, cv_arena_printf(cv_session_arena(client->session), "%.*s", CV_STR_ARG(cv_buf_str(&text))));
	cv_buf_deinit(&text);
}

void cv_pop3_bad(struct cv_pop3_session *client, const char *text)
{
	if (++client->bad_commands >= CV_POP3_BAD_MAX) {
		cv_pop3_reply(client, "-ERR Too many invalid commands.");
		cv_pop3_close(client, "Disconnected: too many invalid commands");
		return;
	}
	cv_pop3_reply(client, "-ERR %s", cv_pop3_text(client->language, text));
}

void cv_pop3_begin_output(struct cv_pop3_session *client, bool (*more)(struct cv_pop3_session *client))
{
	client->more = more;
	cv_pop3_set_state(client, CV_POP3_OUTPUT);
}

/* pop3_lock_session: one at a time. */
static int lock(struct cv_pop3_session *client, struct cv_err *err)
{
	void **data = cv_user_data(client->user, lock_slot);

	if (!client->set->pop3_lock_session)
		return 0;
	if (*data != NULL)
		return cv_err_set_public(err, CV_ERR_INUSE, "The maildrop is open in another POP3 session");
	*data = client;
	client->locked = true;
	return 0;
}

static void end(void *state)
{
	struct cv_pop3_session *client = state;
	struct cv_err err = { 0 };

	cv_pop3_surrogate_free(&client->surrogate);
	cv_mail_close(&client->mail);
	cv_pop3_ahead_drop(client);
	cv_pop3_update_forget(client);
	/* Without QUIT nothing is deleted (RFC 1939 section 6); that messages were read may be kept. */
	if (client->drop.view != NULL && !client->updated && cv_pop3_update(client, false, NULL, &err) < 0)
		cv_error(cv_session_log(client->session), "marking messages as seen failed: %s", err.text);
	cv_pop3_update_forget(client);
	cv_pop3_maildrop_close(client);
	cv_pop3_input_deinit(&client->input);
	if (client->locked)
		*cv_user_data(client->user, lock_slot) = NULL;
}

/* Has the format a %u? */
static bool uses_uidl_change(const char *format)
{
	struct cv_buf texts[2], unused[LOGOUT_VARS];
	struct cv_var vars[LOGOUT_VARS];
	bool same, ok = true;

	logout_vars(NULL, vars, unused);
	for (size_t i = 0; i < 2; i++) {
		cv_buf_init(&texts[i], 4096);
		vars[LOGOUT_VARS - 1].value = i == 0 ? CV_STR("a") : CV_STR("b");
		ok = cv_var_expand(&texts[i], format, vars, LOGOUT_VARS, NULL) >= 0 && ok;
	}
	same = cv_str_eq(cv_buf_str(&texts[0]), cv_buf_str(&texts[1]));
	for (size_t i = 0; i < LOGOUT_VARS; i++)
		cv_buf_deinit(&unused[i]);
	cv_buf_deinit(&texts[0]);
	cv_buf_deinit(&texts[1]);
	return ok && !same;
}

static int open_session(struct cv_pop3_session *client, struct cv_str resume, struct cv_err *err)
{
	if (!cv_pop3_resume_take(resume, &client->resume))
		return cv_err_set(err, CV_ERR_INTERNAL, "the session's start from front does not check");
	for (size_t i = 0; i < client->resume.count; i++)
		client->resume.lines[i] = cv_arena_str(cv_session_arena(client->session), client->resume.lines[i]);
	client->language = client->resume.language;
	client->wants_uidl_change = uses_uidl_change(client->set->pop3_logout_format);
	if (check_workarounds(client->set, &client->workarounds, err) < 0)
		return -1;
	if (client->set->pop3_deleted_flag != NULL && client->set->pop3_deleted_flag[0] != '\0' &&
		!cv_pop3_flag_parse(client->set->pop3_deleted_flag, &client->deleted_flag, &client->deleted_keyword))
		return cv_err_set(err, CV_ERR_INTERNAL, "pop3_deleted_flag is not valid");
	return lock(client, err) < 0 ? -1 : cv_pop3_maildrop_open(client, err);
}

static void *start(struct cv_session *session, struct cv_str resume, struct cv_err *err)
{
	struct cv_pop3_session *client = cv_new(cv_session_arena(session), struct cv_pop3_session, 1);
	uint32_t wait;

	client->session = session;
	client->stream = cv_session_stream(session);
	client->user = cv_session_user(session);
	client->set = cv_session_conf(session, &cv_pop3_settings_table);
	client->state = CV_POP3_COMMAND;
	cv_pop3_input_init(&client->input);
	if (open_session(client, resume, err) < 0) {
		cv_pop3_reply(client, "-ERR %s%s", cv_pop3_response_code(err->code, false), cv_pop3_text(client->language, cv_err_public(err)));
		end(client);
		return NULL;
	}
	wait = cv_pop3_login_delay(client);
	if (wait > 0) {
		cv_pop3_reply(client, "-ERR [LOGIN-DELAY] Wait %u seconds before you log in again.", wait);
		(void)cv_err_set_public(err, CV_ERR_LIMIT, "pop3_login_delay: %u seconds too early", wait);
		end(client);
		return NULL;
	}
	cv_session_set_timeout(session, CV_POP3_TIMEOUT_MS);
	cv_session_set_state(session, "IDLE");
	cv_pop3_reply(client, "+OK Logged in.");
	return client;
}

/* One step of whatever is next. False when it must wait for input, output or the disk. */
static bool proceed(struct cv_pop3_session *client)
{
	switch (client->state) {
	case CV_POP3_COMMAND:
		if (cv_stream_room(client->stream) == 0)
			return false;
		switch (cv_pop3_input_line(&client->input, client->stream, CV_POP3_LINE_MAX)) {
		case 0:
			return false;
		case 1:
			cv_pop3_command(client);
			break;
		default:
			cv_pop3_bad(client, "Line too long or with a NUL.");
			break;
		}
		return true;
	case CV_POP3_OUTPUT:
		if (!client->more(client)) {
			/* Room is left: it was the end of a slice. Else output() goes on. */
			if (cv_stream_room(client->stream) > 0)
				cv_session_want_step(client->session);
			return false;
		}
		client->more = NULL;
		cv_session_set_state(client->session, "IDLE");
		cv_pop3_set_state(client, CV_POP3_COMMAND);
		return true;
	case CV_POP3_UPDATE:
	case CV_POP3_CLOSED:
		break;
	}
	return false;
}

static void run(void *state)
{
	struct cv_pop3_session *client = state;
	uint64_t start = cv_time_mono_us();

	if (client->state == CV_POP3_CLOSED)
		return;
	if (cv_stream_error(client->stream) != NULL) {
		cv_pop3_close(client, "Disconnected: connection broke");
		return;
	}
	while (proceed(client)) {
		if (cv_time_mono_us() - start > SLICE_US) {
			cv_session_want_step(client->session);
			return;
		}
	}
	/* What is left is no whole line; but one may wait for room. */
	if (client->state == CV_POP3_COMMAND && cv_stream_ended(client->stream) && cv_stream_room(client->stream) > 0)
		cv_pop3_close(client, "Disconnected: connection closed without QUIT");
}

/* A reply that was complete before this round is on its way: there is time for what may come next. */
static void step(void *state)
{
	struct cv_pop3_session *client = state;
	uint32_t next = client->ahead.next;

	run(state);
	if (next != 0 && next == client->ahead.next && client->state == CV_POP3_COMMAND)
		cv_pop3_read_ahead(client);
}

static void timeout(void *state)
{
	struct cv_pop3_session *client = state;
	uint64_t sent = cv_stream_bytes_out(client->stream);

	/* A large message on a slow line is no idle client. */
	if (client->state == CV_POP3_UPDATE || (client->state == CV_POP3_OUTPUT && sent != client->progress)) {
		client->progress = sent;
		cv_session_set_timeout(client->session, CV_POP3_TIMEOUT_MS);
		return;
	}
	/* RFC 1939 section 3: "without […] sending any response to the client" */
	cv_pop3_close(client, "Disconnected: inactivity");
}

static void goodbye(void *state, const char *reason)
{
	struct cv_pop3_session *client = state;

	/* Within a reply of many lines this would be part of it. */
	if (client->state == CV_POP3_COMMAND)
		cv_pop3_reply(client, "-ERR [SYS/TEMP] Disconnected: %s.", reason);
	cv_pop3_set_state(client, CV_POP3_CLOSED);
}

/* A plugin wants no session: the login's reply says so. */
static void refuse(struct cv_session *session, struct cv_str resume, const struct cv_err *err)
{
	struct cv_pop3_session client = { .session = session, .stream = cv_session_stream(session) };

	if (cv_pop3_resume_take(resume, &client.resume))
		client.language = client.resume.language;
	cv_pop3_reply(&client, "-ERR %s%s", cv_pop3_response_code(err->code, true), cv_pop3_text(client.language, cv_err_public(err)));
}

static const struct cv_session_protocol protocol = {
	.name = "pop3",
	.max_input = CV_POP3_INPUT_MAX,
	.max_output = MAX_OUTPUT,
	.start = start,
	.input = run,
	.output = run,
	.step = step,
	.timeout = timeout,
	.goodbye = goodbye,
	.end = end,
	.refuse = refuse,
};

static int load(struct cv_registry *reg, CV_UNUSED enum cv_role role, struct cv_err *err)
{
	lock_slot = cv_slot_register(reg);
	return cv_provide_session(reg, &protocol, err);
}

static const struct cv_settings_table *const tables[] = { &cv_pop3_settings_table, NULL };

CV_MODULE(pop3) = {
	CV_MODULE_ABI,
	.name = "pop3",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PROTOCOL,
	.roles = CV_ROLE_WORKER,
	.settings = tables,
	.load = load,
};
