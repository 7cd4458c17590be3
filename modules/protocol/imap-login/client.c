/* SPDX-License-Identifier: MIT
   IMAP before login: the connection, from greeting to goodbye, and the module. */
#include <config.h>

#include "modules/protocol/imap-login/imap-login.h"

/* Has the same rows as the imap module's table: the same setting before and after login. */
static const struct cv_setting rows[] = {
	CV_SETTING_STR(cv_imap_login_settings, imap_id_log, "",
		"Fields of the client's ID command that are logged; * for all; empty: none"),
	CV_SETTING_STR(cv_imap_login_settings, imap_id_send, "name *",
		"Pairs of key and value for the reply to ID; the value * stands for the server's own (name, version, os)"),
	CV_SETTING_STR(cv_imap_login_settings, imap_language, "en",
		"Language of texts that LANGUAGE \"default\" chooses (RFC 5255): en, de, fr or i-default, which is English in ASCII"),
};

static int check(const void *set, struct cv_err *err)
{
	return cv_imap_language_check(((const struct cv_imap_login_settings *)set)->imap_language, err);
}

const struct cv_settings_table cv_imap_login_settings = CV_SETTINGS_TABLE(NULL, "IMAP before login", cv_imap_login_settings, rows, check);

static const char *state_name(enum cv_imap_login_state state)
{
	switch (state) {
	case CV_IMAP_LOGIN_COMMAND:
		return "command";
	case CV_IMAP_LOGIN_TLS:
		return "tls";
	case CV_IMAP_LOGIN_VERIFY:
		return "verify";
	case CV_IMAP_LOGIN_RESPONSE:
		return "response";
	case CV_IMAP_LOGIN_FINISHING:
		return "finishing";
	case CV_IMAP_LOGIN_CLOSED:
		return "closed";
	}
	return "?";
}

void cv_imap_login_set_state(struct cv_imap_login *client, enum cv_imap_login_state state)
{
	cv_debug(cv_login_log(client->login), "imap-login state %s -> %s", state_name(client->state), state_name(state));
	client->state = state;
}

void cv_imap_login_reply(struct cv_imap_login *client, struct cv_str tag, const char *status, const char *code, const char *text)
{
	struct cv_buf *out = cv_stream_out(client->stream);

	cv_buf_append(out, tag.len > 0 ? tag : CV_STR("*"));
	cv_buf_printf(out, " %s ", status);
	if (code != NULL)
		cv_buf_printf(out, "[%s] ", code);
	cv_imap_append_text(out, client->language, text);
	cv_buf_append_c(out, "\r\n");
}

void cv_imap_login_close(struct cv_imap_login *client, const char *reason)
{
	if (client->state == CV_IMAP_LOGIN_CLOSED)
		return;
	cv_imap_login_set_state(client, CV_IMAP_LOGIN_CLOSED);
	cv_login_close(client->login, reason);
}

static void bye(struct cv_imap_login *client, const char *code, const char *text)
{
	cv_imap_login_reply(client, (struct cv_str){ NULL, 0 }, "BYE", code, text);
}

void cv_imap_login_bad(struct cv_imap_login *client, struct cv_str tag, const char *text)
{
	cv_imap_login_reply(client, tag, "BAD", NULL, text);
	if (++client->bad_commands < CV_IMAP_LOGIN_BAD_MAX)
		return;
	bye(client, "CLIENTBUG", "Too many invalid commands");
	cv_imap_login_close(client, "too many invalid commands");
}

static void new_parser(struct cv_imap_login *client)
{
	struct cv_imap_limits limits = {
		.line = CV_IMAP_LOGIN_LINE_MAX,
		.literal = CV_IMAP_LOGIN_LITERAL_MAX,
		.depth = 5,
		.wipe = true,
	};

	cv_imap_parser_free(&client->parser);
	client->parser = cv_imap_parser_new(&limits);
}

/* Without a greeting: the client has had it, or got the OK for UNAUTHENTICATE (RFC 8437 section 3) from the worker. */
static void *back(struct cv_login *login)
{
	struct cv_imap_login *client = cv_new(cv_login_arena(login), struct cv_imap_login, 1);

	client->login = login;
	client->stream = cv_login_stream(login);
	client->set = cv_login_conf(login, &cv_imap_login_settings);
	client->state = CV_IMAP_LOGIN_COMMAND;
	client->language = CV_IMAP_I_DEFAULT; /* also behind UNAUTHENTICATE (RFC 8437 section 4.1) */
	cv_buf_init(&client->tag, CV_IMAP_LOGIN_LINE_MAX);
	new_parser(client);
	return client;
}

static void *start(struct cv_login *login)
{
	struct cv_imap_login *client = back(login);
	const struct cv_login_settings *common = cv_login_conf(login, &cv_login_settings_table);
	struct cv_buf *out = cv_stream_out(client->stream);

	cv_buf_append_c(out, "* OK [CAPABILITY ");
	cv_imap_login_capabilities(client, out);
	cv_buf_append_c(out, "] ");
	cv_imap_append_text(out, client->language, common->login_greeting);
	cv_buf_append_c(out, "\r\n");
	return client;
}

static void end(void *state)
{
	struct cv_imap_login *client = state;

	cv_imap_parser_free(&client->parser);
	cv_buf_deinit(&client->tag);
}

static void lost(struct cv_imap_login *client)
{
	if (client->state == CV_IMAP_LOGIN_VERIFY || client->state == CV_IMAP_LOGIN_RESPONSE)
		cv_login_auth_abort(client->login);
	cv_imap_login_close(client, "client closed the connection");
}

/* Any argument but a name or password may be refused before its octets come. */
static void literal_due(struct cv_imap_login *client)
{
	struct cv_imap_literal literal = cv_imap_parser_literal(client->parser);
	struct cv_err err = { 0 };

	if (!cv_imap_login_knows(cv_imap_parser_verb(client->parser))) {
		cv_imap_login_bad(client, cv_imap_parser_tag(client->parser), "Unknown command, or not allowed before login");
		cv_imap_parser_skip(client->parser);
	} else if (cv_imap_parser_keep(client->parser, &err) < 0) {
		cv_imap_login_bad(client, cv_imap_parser_tag(client->parser), err.text);
	} else if (literal.sync) {
		cv_buf_append_c(cv_stream_out(client->stream), "+ OK\r\n");
	}
}

/* Go on with the input that is there. False when more is needed. */
static bool read_command(struct cv_imap_login *client)
{
	struct cv_err err = { 0 };
	size_t used = 0;
	enum cv_imap_parsed parsed = cv_imap_parser_feed(client->parser, cv_stream_input(client->stream), &used, &err);

	/* Before the command runs: what is behind it belongs to the worker. */
	cv_stream_consume(client->stream, used);
	switch (parsed) {
	case CV_IMAP_MORE:
		if (cv_imap_parser_skipped(client->parser) > CV_IMAP_LOGIN_SKIP_MAX) {
			bye(client, "TOOBIG", "Command is too long");
			cv_imap_login_close(client, "command too long");
		}
		return false;
	case CV_IMAP_COMMAND:
		cv_imap_login_command(client);
		cv_imap_parser_next(client->parser);
		return true;
	case CV_IMAP_LITERAL_DUE:
		literal_due(client);
		return true;
	case CV_IMAP_BAD:
		cv_imap_login_bad(client, cv_imap_parser_tag(client->parser), err.text);
		return true;
	case CV_IMAP_SKIPPED:
		cv_imap_parser_next(client->parser);
		return true;
	case CV_IMAP_STREAMING: /* nothing is streamed here */
		break;
	}
	return false;
}

static void input(void *state)
{
	struct cv_imap_login *client = state;
	bool more = true;

	if (cv_stream_error(client->stream) != NULL && client->state != CV_IMAP_LOGIN_FINISHING) {
		lost(client);
		return;
	}
	while (more && (client->state == CV_IMAP_LOGIN_COMMAND || client->state == CV_IMAP_LOGIN_RESPONSE))
		more = client->state == CV_IMAP_LOGIN_RESPONSE ? cv_imap_login_response(client) : read_command(client);
	/* A client that closed its side only may still read auth's answer. */
	if ((client->state == CV_IMAP_LOGIN_COMMAND || client->state == CV_IMAP_LOGIN_RESPONSE) && cv_stream_ended(client->stream))
		lost(client);
}

static void secured(void *state)
{
	struct cv_imap_login *client = state;

	/* Nothing that came in plain text counts any more (RFC 3501 section 6.2.1). */
	new_parser(client);
	client->bad_commands = 0;
	client->language = CV_IMAP_I_DEFAULT;
	cv_imap_login_set_state(client, CV_IMAP_LOGIN_COMMAND);
	cv_stream_want_input(client->stream);
}

static void goodbye(void *state, const char *reason)
{
	struct cv_imap_login *client = state;

	if (strcmp(reason, "timeout") == 0)
		bye(client, NULL, "Disconnected: nothing was heard for too long");
	else if (strcmp(reason, "overloaded") == 0)
		bye(client, "UNAVAILABLE", "Too many connections, try again later");
	else
		bye(client, "UNAVAILABLE", "Server is shutting down");
	cv_imap_login_set_state(client, CV_IMAP_LOGIN_CLOSED);
}

static const struct cv_login_listener listeners[] = {
	{ "imap", 143, false, NULL },
	{ "imaps", 993, true, NULL },
	{ NULL, 0, false, NULL },
};

static const struct cv_login_protocol protocol = {
	.name = "imap",
	.listeners = listeners,
	.max_input = (size_t)16 * 1024,
	.max_output = (size_t)16 * 1024,
	.alpn = "imap",
	.start = start,
	.input = input,
	.secured = secured,
	.auth_reply = cv_imap_login_auth_reply,
	.finish_failed = cv_imap_login_finish_failed,
	.goodbye = goodbye,
	.end = end,
	.back = back,
};

static int load(struct cv_registry *reg, CV_UNUSED enum cv_role role, struct cv_err *err)
{
	return cv_provide_login(reg, &protocol, err);
}

static const struct cv_settings_table *const tables[] = { &cv_imap_login_settings, NULL };

CV_MODULE(imap_login) = {
	CV_MODULE_ABI,
	.name = "imap-login",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PROTOCOL,
	.roles = CV_ROLE_FRONT,
	.settings = tables,
	.load = load,
};
