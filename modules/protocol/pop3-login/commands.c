/* SPDX-License-Identifier: MIT
   POP3 before login: the commands (RFC 1939 section 4, RFC 2449, RFC 2595 section 4). */
#include <config.h>

#include "modules/protocol/pop3-login/pop3-login.h"

#include <strings.h>

enum command_opts {
	NO_ARGS = 1,  /* an argument is a syntax error */
	PASSWORD = 2, /* allowed only where a password may be sent */
};

struct command {
	const char *verb;
	void (*handler)(struct cv_pop3_login *client, struct cv_str args);
	unsigned opts;
};

bool cv_pop3_login_user_allowed(const struct cv_pop3_login *client)
{
	const char *name;
	size_t pos = 0;

	if (!cv_login_plaintext_allowed(client->login))
		return false;
	while (cv_login_mech_next(client->login, &pos, &name)) {
		if (strcmp(name, "PLAIN") == 0)
			return true;
	}
	return false;
}

static void add_line(struct cv_arena *arena, struct cv_pop3_resume *resume, const struct cv_buf *line)
{
	if (cv_buf_ok(line))
		resume->lines[resume->count++] = cv_arena_str(arena, cv_buf_str(line));
}

void cv_pop3_login_resume(struct cv_pop3_login *client, struct cv_arena *arena, struct cv_pop3_resume *resume_r)
{
	struct cv_buf line;
	const char *name;
	size_t pos = 0;

	*resume_r = (struct cv_pop3_resume){ 0 };
	resume_r->utf8_user = client->set->auth_saslprep;
	/* RFC 2449 section 4: a reply line has at most 512 octets. */
	cv_buf_init(&line, 510);
	if (cv_pop3_login_user_allowed(client)) {
		cv_buf_append_c(&line, "USER");
		add_line(arena, resume_r, &line);
	}
	cv_buf_clear(&line);
	cv_buf_append_c(&line, "SASL");
	while (cv_login_mech_next(client->login, &pos, &name)) {
		cv_buf_append_char(&line, ' ');
		cv_buf_append_c(&line, name);
	}
	if (line.len > strlen("SASL"))
		add_line(arena, resume_r, &line);
	if (client->set->pop3_implementation != NULL && client->set->pop3_implementation[0] != '\0') {
		cv_buf_clear(&line);
		cv_buf_printf(&line, "IMPLEMENTATION %s", client->set->pop3_implementation);
		add_line(arena, resume_r, &line);
	}
	if (client->set->pop3_expire != NULL && client->set->pop3_expire[0] != '\0') {
		cv_buf_clear(&line);
		cv_buf_printf(&line, "EXPIRE %s", strcasecmp(client->set->pop3_expire, "never") == 0 ? "NEVER" : client->set->pop3_expire);
		add_line(arena, resume_r, &line);
	}
	resume_r->login_delay = (uint32_t)(client->set->pop3_login_delay / 1000);
	if (resume_r->login_delay > 0) {
		cv_buf_clear(&line);
		cv_buf_printf(&line, "LOGIN-DELAY %u", resume_r->login_delay);
		add_line(arena, resume_r, &line);
	}
	cv_buf_deinit(&line);
	resume_r->utf8 = client->utf8;
	resume_r->language = client->language;
	resume_r->star = cv_pop3_login_star(client);
}

static void cmd_capa(struct cv_pop3_login *client, CV_UNUSED struct cv_str args)
{
	struct cv_buf *out = cv_stream_out(client->stream);
	/* Not the connection's: a client may ask any number of times. */
	struct cv_arena *arena = cv_arena_new("capabilities", NULL, 0);
	struct cv_pop3_resume resume;

	cv_pop3_login_resume(client, arena, &resume);
	cv_pop3_login_reply(client, "+OK Capability list follows.");
	cv_pop3_append_capabilities(out, resume.utf8_user);
	if (cv_login_tls_available(client->login))
		cv_buf_append_c(out, "STLS\r\n");
	for (size_t i = 0; i < resume.count; i++) {
		cv_buf_append(out, resume.lines[i]);
		cv_buf_append_c(out, "\r\n");
	}
	cv_buf_append_c(out, ".\r\n");
	cv_arena_free(&arena);
}

static void cmd_stls(struct cv_pop3_login *client, CV_UNUSED struct cv_str args)
{
	if (cv_login_tls_active(client->login)) {
		cv_pop3_login_reply(client, "-ERR TLS is active already.");
		return;
	}
	if (!cv_login_tls_available(client->login)) {
		cv_pop3_login_reply(client, "-ERR TLS is not available.");
		return;
	}
	cv_pop3_login_reply(client, "+OK Begin TLS negotiation now.");
	cv_pop3_login_set_state(client, CV_POP3_LOGIN_TLS);
	cv_login_start_tls(client->login);
}

static void cmd_user(struct cv_pop3_login *client, struct cv_str args)
{
	if (args.len == 0) {
		cv_pop3_login_reply(client, "-ERR USER needs a name.");
		return;
	}
	cv_buf_clear(&client->user);
	cv_buf_append(&client->user, args);
	/* RFC 1939 section 7: nothing is told of whether there is such a user. */
	cv_pop3_login_reply(client, "+OK Send the password.");
}

static void cmd_pass(struct cv_pop3_login *client, struct cv_str args)
{
	if (client->user.len == 0) {
		cv_pop3_login_reply(client, "-ERR Send USER before.");
		return;
	}
	cv_pop3_login_pass(client, args);
}

static void list_mechs(struct cv_pop3_login *client)
{
	const char *name;
	size_t pos = 0;

	/* Not in RFC 5034, but clients older than CAPA ask this way. */
	cv_pop3_login_reply(client, "+OK Mechanisms follow.");
	while (cv_login_mech_next(client->login, &pos, &name))
		cv_pop3_login_reply(client, "%s", name);
	cv_pop3_login_reply(client, ".");
}

static void cmd_auth(struct cv_pop3_login *client, struct cv_str args)
{
	struct cv_str mech, initial;

	if (args.len == 0) {
		list_mechs(client);
		return;
	}
	(void)cv_str_split(args, ' ', &mech, &initial);
	if (mech.len == 0 || cv_str_find(initial, ' ') != SIZE_MAX) {
		cv_pop3_login_bad(client, "Syntax: AUTH mechanism [initial-response]");
		return;
	}
	cv_pop3_login_auth(client, mech, initial);
}

/* RFC 1939 section 7: after the greeting, or after USER or PASS was refused; that USER was accepted is forgotten. */
static void cmd_apop(struct cv_pop3_login *client, struct cv_str args)
{
	size_t space = cv_str_rfind(args, ' ');

	if (client->timestamp == NULL || !cv_login_own_allowed(client->login, "APOP")) {
		cv_pop3_login_reply(client, "-ERR APOP is not available here.");
		return;
	}
	if (space == SIZE_MAX || space == 0) {
		cv_pop3_login_bad(client, "Syntax: APOP name digest");
		return;
	}
	cv_buf_clear(&client->user);
	cv_pop3_login_apop(client, cv_str_sub(args, 0, space), cv_str_sub(args, space + 1, SIZE_MAX));
}

/* RFC 6856 section 2.1 */
static void cmd_utf8(struct cv_pop3_login *client, CV_UNUSED struct cv_str args)
{
	client->utf8 = true;
	cv_pop3_login_reply(client, "+OK UTF-8 mode is on.");
}

/* RFC 6856 section 3.2 */
static void cmd_lang(struct cv_pop3_login *client, struct cv_str args)
{
	unsigned language = cv_pop3_login_star(client);

	args = cv_str_trim(args);
	if (args.len == 0) {
		cv_pop3_login_reply(client, "+OK Language listing follows.");
		cv_pop3_language_list(cv_stream_out(client->stream));
		return;
	}
	if (!cv_str_eq(args, CV_STR("*")) && !cv_language_match(args, &language)) {
		cv_pop3_login_reply(client, "-ERR There is no language for %.*s.", CV_STR_ARG(args));
		return;
	}
	client->language = language;
	cv_pop3_login_reply(client, "+OK %s The language was changed.", cv_language_tag(language));
}

static void cmd_quit(struct cv_pop3_login *client, CV_UNUSED struct cv_str args)
{
	cv_pop3_login_reply(client, "+OK Bye.");
	cv_pop3_login_close(client, "client quit before login");
}

static const struct command commands[] = {
	{ "APOP", cmd_apop, 0 },
	{ "AUTH", cmd_auth, 0 },
	{ "CAPA", cmd_capa, NO_ARGS },
	{ "LANG", cmd_lang, 0 },
	{ "PASS", cmd_pass, PASSWORD },
	{ "QUIT", cmd_quit, NO_ARGS },
	{ "STLS", cmd_stls, NO_ARGS },
	{ "USER", cmd_user, PASSWORD },
	{ "UTF8", cmd_utf8, NO_ARGS },
};

static const struct command *find_command(struct cv_str verb)
{
	for (size_t i = 0; i < CV_COUNT_OF(commands); i++) {
		if (cv_str_caseeq_c(verb, commands[i].verb))
			return &commands[i];
	}
	return NULL;
}

void cv_pop3_login_command(struct cv_pop3_login *client)
{
	const struct command *command;
	struct cv_str verb, args;

	(void)cv_str_split(cv_buf_str(&client->input.line), ' ', &verb, &args);
	command = find_command(verb);
	/* RFC 1939 section 7: PASS is for the command that follows USER. */
	if (command == NULL || command->handler != cmd_pass)
		cv_buf_clear(&client->user);
	if (command == NULL) {
		cv_pop3_login_bad(client, "Unknown command.");
		return;
	}
	if ((command->opts & NO_ARGS) != 0 && cv_str_trim(args).len > 0) {
		cv_pop3_login_bad(client, "This command takes no argument.");
		return;
	}
	client->bad_commands = 0;
	if ((command->opts & PASSWORD) != 0 && !cv_pop3_login_user_allowed(client)) {
		cv_pop3_login_reply(client, cv_login_tls_available(client->login)
			? "-ERR [AUTH] Passwords are taken over TLS only: use STLS before."
			: "-ERR [AUTH] USER and PASS are not allowed here.");
		return;
	}
	command->handler(client, args);
}
