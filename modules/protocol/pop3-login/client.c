/* SPDX-License-Identifier: MIT
   POP3 before login: the connection, from greeting to goodbye, and the module. */
#include <config.h>

#include "modules/lib/saslprep/saslprep.h"
#include "modules/protocol/pop3-login/pop3-login.h"

#include <strings.h>
#include <unistd.h>

static const struct cv_setting rows[] = {
	CV_SETTING_STR(cv_pop3_login_settings, pop3_implementation, NULL,
		"What the POP3 capability IMPLEMENTATION says (RFC 2449); empty: it is not announced."),
	CV_SETTING_STR(cv_pop3_login_settings, pop3_expire, "never",
		"What the POP3 capability EXPIRE says (RFC 2449): never, or after how many days mail may be removed by whatever this site removes it with; empty: it is not "
		"announced."),
	CV_SETTING_TIME(cv_pop3_login_settings, pop3_login_delay, "0", 0, 86400000,
		"Least time between two POP3 logins of a user; who comes earlier gets [LOGIN-DELAY] (RFC 2449). 0: none."),
	CV_SETTING_SASLPREP(cv_pop3_login_settings),
	CV_SETTING_STR(cv_pop3_login_settings, pop3_language, "en", "Language that POP3's \"LANG *\" chooses (RFC 6856): en, de or fr."),
};

static bool is_clean(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text < ' ' || *text > '~')
			return false;
	}
	return true;
}

static int check_settings(const void *set, struct cv_err *err)
{
	const struct cv_pop3_login_settings *s = set;
	unsigned language;
	uint32_t days;

	/* A capability is one line of at most 512 octets (RFC 2449 section 4). */
	if (s->pop3_implementation != NULL &&
		(!is_clean(s->pop3_implementation) || strlen(s->pop3_implementation) > 400))
		return cv_err_set(err, CV_ERR_INVALID,
			"pop3_implementation: at most 400 printable ASCII characters are allowed");
	if (s->pop3_expire != NULL && s->pop3_expire[0] != '\0' && strcasecmp(s->pop3_expire, "never") != 0 &&
		(!cv_str_to_u32(cv_str_c(s->pop3_expire), 100000, &days) || days == 0))
		return cv_err_set(err, CV_ERR_INVALID, "pop3_expire: must be never, or a number of days from 1 to 100000");
	if (s->pop3_login_delay % 1000 != 0)
		return cv_err_set(err, CV_ERR_INVALID, "pop3_login_delay: must be whole seconds");
	if (!cv_language_find(cv_str_c(s->pop3_language), &language))
		return cv_err_set(err, CV_ERR_INVALID, "pop3_language: there are no texts in %s (allowed: en de fr)", s->pop3_language);
	return 0;
}

const struct cv_settings_table cv_pop3_login_settings =
	CV_SETTINGS_TABLE(NULL, "POP3 before login", cv_pop3_login_settings, rows, check_settings);

static const char *state_name(enum cv_pop3_login_state state)
{
	switch (state) {
	case CV_POP3_LOGIN_COMMAND:
		return "command";
	case CV_POP3_LOGIN_TLS:
		return "tls";
	case CV_POP3_LOGIN_VERIFY:
		return "verify";
	case CV_POP3_LOGIN_RESPONSE:
		return "response";
	case CV_POP3_LOGIN_FINISHING:
		return "finishing";
	case CV_POP3_LOGIN_CLOSED:
		return "closed";
	}
	return "?";
}

void cv_pop3_login_set_state(struct cv_pop3_login *client, enum cv_pop3_login_state state)
{
	cv_debug(cv_login_log(client->login), "pop3-login state %s -> %s", state_name(client->state),
		state_name(state));
	client->state = state;
}

void cv_pop3_login_reply(struct cv_pop3_login *client, const char *fmt, ...)
{
	struct cv_buf *out = cv_stream_out(client->stream);
	va_list ap;

	va_start(ap, fmt);
	cv_pop3_append_line(out, client->language, fmt, ap);
	va_end(ap);
}

void cv_pop3_login_close(struct cv_pop3_login *client, const char *reason)
{
	if (client->state == CV_POP3_LOGIN_CLOSED)
		return;
	cv_pop3_login_set_state(client, CV_POP3_LOGIN_CLOSED);
	cv_login_close(client->login, reason);
}

void cv_pop3_login_bad(struct cv_pop3_login *client, const char *text)
{
	if (++client->bad_commands >= CV_POP3_LOGIN_BAD_MAX) {
		cv_pop3_login_reply(client, "-ERR Too many invalid commands.");
		cv_pop3_login_close(client, "too many invalid commands");
		return;
	}
	cv_pop3_login_reply(client, "-ERR %s", cv_pop3_text(client->language, text));
}

unsigned cv_pop3_login_star(const struct cv_pop3_login *client)
{
	unsigned language = CV_ENGLISH;

	if (!cv_language_find(cv_str_c(client->set->pop3_language), &language))
		cv_fatal("pop3_language was checked, and is not valid");
	return language;
}

/* timestamp = msg-id (RFC 1939 section 7): never the same one twice. The part behind the @ is only there to be one. */
static const char *make_timestamp(struct cv_pop3_login *client)
{
	char host[256] = "";
	uint8_t random[16];
	struct cv_buf out;
	const char *text;
	bool ok;

	ok = gethostname(host, sizeof(host) - 1) == 0 && host[0] != '\0';
	for (const char *p = host; ok && *p != '\0'; p++)
		ok = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", *p) != NULL ||
			(*p == '.' && p > host && p[-1] != '.' && p[1] != '\0');
	cv_random(random, sizeof(random));
	cv_buf_init(&out, 512);
	cv_buf_append_char(&out, '<');
	cv_buf_append_hex(&out, cv_str_mem(random, sizeof(random)));
	cv_buf_printf(&out, "@%s>", ok ? host : "localhost");
	text = cv_arena_cstr(cv_login_arena(client->login), cv_buf_str(&out));
	cv_buf_deinit(&out);
	return text;
}

/* A "<" in the greeting begins a timestamp (RFC 2449 section 3), so there is none but that. */
static void greet(struct cv_pop3_login *client, const char *greeting)
{
	struct cv_buf text;

	/* One that is not given to clients whom it would not help. */
	if (cv_login_own_allowed(client->login, "APOP"))
		client->timestamp = make_timestamp(client);
	cv_buf_init(&text, 200);
	cv_buf_append(&text, cv_str_sub(cv_str_c(greeting), 0, 200));
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '<')
			text.data[i] = '(';
	}
	cv_pop3_login_reply(client, "+OK %.*s%s%s", CV_STR_ARG(cv_buf_str(&text)), client->timestamp != NULL ? " " : "",
		client->timestamp != NULL ? client->timestamp : "");
	cv_buf_deinit(&text);
}

static void *start(struct cv_login *login)
{
	struct cv_pop3_login *client = cv_new(cv_login_arena(login), struct cv_pop3_login, 1);
	const struct cv_login_settings *common = cv_login_conf(login, &cv_login_settings_table);

	client->login = login;
	client->stream = cv_login_stream(login);
	client->set = cv_login_conf(login, &cv_pop3_login_settings);
	client->state = CV_POP3_LOGIN_COMMAND;
	cv_pop3_input_init(&client->input);
	cv_buf_init(&client->user, CV_POP3_LINE_MAX);
	greet(client, common->login_greeting);
	return client;
}

static void end(void *state)
{
	struct cv_pop3_login *client = state;

	cv_pop3_input_deinit(&client->input);
	cv_buf_deinit(&client->user);
}

/* AUTH's initial response may be as long as any other (the 255 octets of RFC 5034 section 4 bind the client, not us). */
static size_t line_max(const struct cv_pop3_login *client)
{
	if (client->state == CV_POP3_LOGIN_RESPONSE ||
		cv_str_casestarts(cv_stream_input(client->stream), CV_STR("AUTH ")))
		return CV_POP3_AUTH_LINE_MAX;
	return CV_POP3_LINE_MAX;
}

static void lost(struct cv_pop3_login *client)
{
	if (client->state == CV_POP3_LOGIN_VERIFY || client->state == CV_POP3_LOGIN_RESPONSE)
		cv_login_auth_abort(client->login);
	cv_pop3_login_close(client, "client closed the connection");
}

static void input(void *state)
{
	struct cv_pop3_login *client = state;
	int ret = 1;

	if (cv_stream_error(client->stream) != NULL && client->state != CV_POP3_LOGIN_FINISHING) {
		lost(client);
		return;
	}
	while (ret != 0 && (client->state == CV_POP3_LOGIN_COMMAND || client->state == CV_POP3_LOGIN_RESPONSE)) {
		ret = cv_pop3_input_line(&client->input, client->stream, line_max(client));
		if (ret > 0 && client->state == CV_POP3_LOGIN_RESPONSE) {
			cv_pop3_login_response(client);
		} else if (ret > 0) {
			cv_pop3_login_command(client);
		} else if (ret < 0) {
			if (client->state == CV_POP3_LOGIN_RESPONSE) {
				cv_login_auth_abort(client->login);
				cv_pop3_login_set_state(client, CV_POP3_LOGIN_COMMAND);
			}
			cv_pop3_login_bad(client, "Line too long or with a NUL.");
		}
	}
	/* What is left is no whole line. A client that closed its side only may still read auth's answer. */
	if ((client->state == CV_POP3_LOGIN_COMMAND || client->state == CV_POP3_LOGIN_RESPONSE) &&
		cv_stream_ended(client->stream))
		lost(client);
}

static void secured(void *state)
{
	struct cv_pop3_login *client = state;

	/* Settings may differ by the name the client asked for. */
	client->set = cv_login_conf(client->login, &cv_pop3_login_settings);
	/* RFC 2595 section 4: what was said before is forgotten. */
	cv_buf_clear(&client->user);
	client->utf8 = false;
	client->language = CV_ENGLISH;
	cv_pop3_login_set_state(client, CV_POP3_LOGIN_COMMAND);
	cv_stream_want_input(client->stream);
}

static void goodbye(void *state, const char *reason)
{
	struct cv_pop3_login *client = state;

	/* RFC 1939 section 3: after a timeout no response is sent. */
	if (strcmp(reason, "overloaded") == 0)
		cv_pop3_login_reply(client, "-ERR [SYS/TEMP] Too many connections, try again later.");
	else if (strcmp(reason, "timeout") != 0)
		cv_pop3_login_reply(client, "-ERR [SYS/TEMP] The server is shutting down.");
	cv_pop3_login_set_state(client, CV_POP3_LOGIN_CLOSED);
}

static const struct cv_login_listener listeners[] = {
	{ "pop3", 110, false, NULL },
	{ "pop3s", 995, true, NULL },
	{ NULL, 0, false, NULL },
};

static const struct cv_login_protocol protocol = {
	.name = "pop3",
	.listeners = listeners,
	.max_input = CV_POP3_INPUT_MAX,
	.max_output = 16384,
	.alpn = "pop3",
	.start = start,
	.input = input,
	.secured = secured,
	.auth_reply = cv_pop3_login_auth_reply,
	.finish_failed = cv_pop3_login_finish_failed,
	.goodbye = goodbye,
	.end = end,
};

static int load(struct cv_registry *reg, CV_UNUSED enum cv_role role, struct cv_err *err)
{
	return cv_provide_login(reg, &protocol, err);
}

static const struct cv_settings_table *const tables[] = { &cv_pop3_login_settings, NULL };

CV_MODULE(pop3_login) = {
	CV_MODULE_ABI,
	.name = "pop3-login",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PROTOCOL,
	.roles = CV_ROLE_FRONT,
	.settings = tables,
	.load = load,
};
