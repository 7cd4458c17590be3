/* SPDX-License-Identifier: MIT
   IMAP before login: the command table (RFC 3501 sections 6.1 and 6.2, RFC 2971, RFC 5255). */
#include <config.h>

#include "modules/protocol/imap-login/imap-login.h"

#include "modules/lib/imap/imap-id.h"

struct command {
	const char *verb;
	void (*run)(struct cv_imap_login *client, struct cv_str tag, const struct cv_imap_arg *args);
	bool no_args;
};

static void run_capability(struct cv_imap_login *client, struct cv_str tag, const struct cv_imap_arg *args)
{
	struct cv_buf *out = cv_stream_out(client->stream);

	(void)args;
	cv_buf_append_c(out, "* CAPABILITY ");
	cv_imap_login_capabilities(client, out);
	cv_buf_append_c(out, "\r\n");
	cv_imap_login_reply(client, tag, "OK", NULL, "Capability completed");
}

static void run_noop(struct cv_imap_login *client, struct cv_str tag, const struct cv_imap_arg *args)
{
	(void)args;
	cv_imap_login_reply(client, tag, "OK", NULL, "NOOP completed");
}

static void run_logout(struct cv_imap_login *client, struct cv_str tag, const struct cv_imap_arg *args)
{
	(void)args;
	cv_imap_login_reply(client, (struct cv_str){ NULL, 0 }, "BYE", NULL, "Logging out");
	cv_imap_login_reply(client, tag, "OK", NULL, "Logout completed");
	cv_imap_login_close(client, "logged out before login");
}

static void run_starttls(struct cv_imap_login *client, struct cv_str tag, const struct cv_imap_arg *args)
{
	(void)args;
	if (!cv_login_tls_available(client->login)) {
		cv_imap_login_bad(client, tag,
			cv_login_tls_active(client->login) ? "TLS is active already" : "TLS is not available");
		return;
	}
	cv_imap_login_reply(client, tag, "OK", NULL, "Begin TLS negotiation now");
	cv_imap_login_set_state(client, CV_IMAP_LOGIN_TLS);
	cv_login_start_tls(client->login);
}

struct id {
	struct cv_imap_login *client;
	struct cv_buf log;
};

static void keep_id(void *ctx, struct cv_str key, struct cv_str value)
{
	struct id *id = ctx;

	if (value.ptr != NULL)
		cv_login_set_client_id(id->client->login, key, value);
	cv_imap_id_log(&id->log, id->client->set->imap_id_log, key, value);
}

static void run_id(struct cv_imap_login *client, struct cv_str tag, const struct cv_imap_arg *args)
{
	struct id id = { .client = client };
	struct cv_err err = { 0 };
	int result;

	cv_buf_init(&id.log, (size_t)64 * 1024);
	result = cv_imap_id_parse(args, keep_id, &id, &err);
	if (result >= 0 && id.log.len > 0)
		cv_info(cv_login_log(client->login), "ID sent: %s", id.log.data);
	cv_buf_deinit(&id.log);
	if (result < 0) {
		cv_imap_login_bad(client, tag, err.text);
		return;
	}
	cv_imap_append_id(cv_stream_out(client->stream), client->set->imap_id_send);
	cv_imap_login_reply(client, tag, "OK", NULL, "ID completed");
}

/* authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")] *(CRLF base64) */
static void run_authenticate(struct cv_imap_login *client, struct cv_str tag, const struct cv_imap_arg *args)
{
	struct cv_str mech, initial = { NULL, 0 };

	if (!cv_imap_arg_atom(args, &mech) || (args->next != NULL && (!cv_imap_arg_atom(args->next, &initial) || args->next->next != NULL))) {
		cv_imap_login_bad(client, tag, "Missing or invalid arguments");
		return;
	}
	cv_imap_login_authenticate(client, tag, mech, initial);
}

static void run_language(struct cv_imap_login *client, struct cv_str tag, const struct cv_imap_arg *args)
{
	struct cv_buf *out = cv_stream_out(client->stream);
	unsigned language;

	switch (cv_imap_language_wish(args, client->set->imap_language, &language)) {
	case CV_IMAP_LANGUAGE_LIST:
		cv_imap_append_languages(out);
		cv_imap_login_reply(client, tag, "OK", NULL, "Languages are listed");
		return;
	case CV_IMAP_LANGUAGE_CHOSEN:
		cv_imap_append_language(out, language);
		client->language = language;
		cv_imap_login_reply(client, tag, "OK", NULL, "The language was changed");
		return;
	case CV_IMAP_LANGUAGE_NONE:
		cv_imap_login_reply(client, tag, "NO", NULL, "No language matches");
		return;
	case CV_IMAP_LANGUAGE_BAD:
		break;
	}
	cv_imap_login_bad(client, tag, "LANGUAGE takes language ranges");
}

/* login = "LOGIN" SP userid SP password */
static void run_login(struct cv_imap_login *client, struct cv_str tag, const struct cv_imap_arg *args)
{
	struct cv_str user, password;

	if (!cv_imap_arg_astring(args, &user) || !cv_imap_arg_astring(args->next, &password) || args->next->next != NULL) {
		cv_imap_login_bad(client, tag, "LOGIN needs a user and a password");
		return;
	}
	cv_imap_login_login(client, tag, user, password);
}

static const struct command commands[] = {
	{ "AUTHENTICATE", run_authenticate, false },
	{ "CAPABILITY", run_capability, true },
	{ "ID", run_id, false },
	{ "LANGUAGE", run_language, false },
	{ "LOGIN", run_login, false },
	{ "LOGOUT", run_logout, true },
	{ "NOOP", run_noop, true },
	{ "STARTTLS", run_starttls, true },
};

static const struct command *find(struct cv_str verb)
{
	for (size_t i = 0; i < CV_COUNT_OF(commands); i++)
		if (cv_str_caseeq_c(verb, commands[i].verb))
			return &commands[i];
	return NULL;
}

bool cv_imap_login_knows(struct cv_str verb)
{
	return find(verb) != NULL;
}

void cv_imap_login_command(struct cv_imap_login *client)
{
	struct cv_str tag = cv_imap_parser_tag(client->parser);
	const struct cv_imap_arg *args = cv_imap_parser_args(client->parser);
	const struct command *command = find(cv_imap_parser_verb(client->parser));
	unsigned bad_before = client->bad_commands;

	if (command == NULL)
		cv_imap_login_bad(client, tag, "Unknown command, or not allowed before login");
	else if (command->no_args && args != NULL)
		cv_imap_login_bad(client, tag, "Unexpected arguments");
	else
		command->run(client, tag, args);
	if (client->bad_commands == bad_before)
		client->bad_commands = 0;
}

void cv_imap_login_capabilities(const struct cv_imap_login *client, struct cv_buf *out)
{
	const char *name;
	size_t pos = 0;

	cv_buf_append_c(out, "IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE IDLE LANGUAGE LOGIN-REFERRALS");
	if (cv_login_tls_available(client->login))
		cv_buf_append_c(out, " STARTTLS");
	if (!cv_imap_login_allowed(client))
		cv_buf_append_c(out, " LOGINDISABLED");
	while (cv_login_mech_next(client->login, &pos, &name)) {
		cv_buf_append_c(out, " AUTH=");
		cv_buf_append_c(out, name);
	}
}
