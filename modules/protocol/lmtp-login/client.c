/* SPDX-License-Identifier: MIT
   LMTP in front: the connection, from greeting to goodbye, and the module. */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"

#include <unistd.h>

static const char *const delivery_addresses[] = { "none", "final", NULL };

static const struct cv_setting rows[] = {
	CV_SETTING_STR(cv_lmtp_settings, hostname, NULL, "This server's name in greetings and trace fields; empty: the system's name."),
	CV_SETTING_STR(cv_lmtp_settings, recipient_delimiter, "+",
		"Characters of which the first one in a recipient's local part separates the user from the detail; empty: none."),
	CV_SETTING_STR(cv_lmtp_settings, postmaster_address, NULL,
		"Who gets mail for <postmaster> when there is no such user; empty: it is refused."),
	CV_SETTING_UINT(cv_lmtp_settings, lmtp_max_recipients, "1000", 100, 100000, "Recipients of one message, at most."),
	CV_SETTING_SIZE(cv_lmtp_settings, message_size_limit, "100M", 0, CV_LMTP_SIZE_MAX,
		"Largest message taken in, as sent; 0: only what memory allows (1G)."),
	CV_SETTING_BOOL(cv_lmtp_settings, quota_full_tempfail, "no",
		"Refuse mail for a user over quota for now (452 4.2.2), so that the sender tries again, and not for good (552 5.2.2)."),
	CV_SETTING_BOOL(cv_lmtp_settings, lmtp_add_received_header, "yes", "Add a Received field to each message delivered by LMTP."),
	CV_SETTING_ENUM(cv_lmtp_settings, lmtp_hdr_delivery_address, "final", delivery_addresses,
		"Address in the Delivered-To field: the recipient's, or no such field."),
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
	const struct cv_lmtp_settings *s = set;

	if (s->hostname != NULL && s->hostname[0] != '\0' && !cv_lmtp_is_domain(cv_str_c(s->hostname)))
		return cv_err_set(err, CV_ERR_INVALID, "hostname: must be a domain name");
	if (s->recipient_delimiter != NULL && (!is_clean(s->recipient_delimiter) || strchr(s->recipient_delimiter, '@') != NULL))
		return cv_err_set(err, CV_ERR_INVALID, "recipient_delimiter: printable ASCII characters other than @ are allowed");
	return 0;
}

const struct cv_settings_table cv_lmtp_settings_table =
	CV_SETTINGS_TABLE(NULL, "LMTP", cv_lmtp_settings, rows, check_settings);

static const char *state_name(enum cv_lmtp_state state)
{
	switch (state) {
	case CV_LMTP_COMMAND:
		return "command";
	case CV_LMTP_DATA:
		return "data";
	case CV_LMTP_CHUNK:
		return "chunk";
	case CV_LMTP_DELIVER:
		return "deliver";
	case CV_LMTP_CLOSED:
		return "closed";
	}
	return "?";
}

void cv_lmtp_set_state(struct cv_lmtp_client *client, enum cv_lmtp_state state)
{
	cv_debug(cv_login_log(client->login), "lmtp state %s -> %s", state_name(client->state), state_name(state));
	client->state = state;
}

struct cv_buf *cv_lmtp_out(struct cv_lmtp_client *client)
{
	struct cv_buf *out = cv_stream_out(client->stream);

	if (client->mail_reply_due)
		cv_buf_append_c(out, "250 2.1.0 OK\r\n");
	client->mail_reply_due = false;
	return out;
}

void cv_lmtp_reply(struct cv_lmtp_client *client, unsigned code, const char *enhanced, const char *fmt, ...)
{
	struct cv_buf *out = cv_lmtp_out(client);
	size_t start;
	va_list ap;

	cv_buf_append_u64(out, code);
	cv_buf_append_char(out, ' ');
	if (enhanced != NULL) {
		cv_buf_append_c(out, enhanced);
		cv_buf_append_char(out, ' ');
	}
	start = out->len;
	va_start(ap, fmt);
	cv_buf_vprintf(out, fmt, ap);
	va_end(ap);
	/* A text from elsewhere (a hook's, a database's) must not end the line. */
	for (size_t i = start; i < out->len; i++) {
		if (out->data[i] < ' ' || out->data[i] > '~')
			out->data[i] = '?';
	}
	cv_buf_append_c(out, "\r\n");
}

void cv_lmtp_close(struct cv_lmtp_client *client, const char *reason)
{
	if (client->state == CV_LMTP_CLOSED)
		return;
	cv_lmtp_set_state(client, CV_LMTP_CLOSED);
	cv_login_close(client->login, reason);
}

void cv_lmtp_bad(struct cv_lmtp_client *client, unsigned code, const char *enhanced, const char *text)
{
	if (++client->bad_commands >= CV_LMTP_BAD_MAX) {
		cv_lmtp_reply(client, 421, "4.7.0", "Too many invalid commands");
		cv_lmtp_close(client, "too many invalid commands");
		return;
	}
	cv_lmtp_reply(client, code, enhanced, "%s", text);
}

void cv_lmtp_reset(struct cv_lmtp_client *client)
{
	client->base_id += client->rcpts.count;
	cv_vec_free(&client->rcpts);
	if (client->spooling)
		cv_lmtp_spool_deinit(&client->spool);
	client->spooling = false;
	client->mail_given = client->chunks = false;
	client->reverse_path = (struct cv_str){ NULL, 0 };
	client->announced = 0;
	client->accepted = client->replied = client->started = client->pending = 0;
	cv_arena_reset(client->arena);
}

static void *start(struct cv_login *login)
{
	const struct cv_login_settings *common = cv_login_conf(login, &cv_login_settings_table);
	struct cv_arena *arena = cv_login_arena(login);
	struct cv_lmtp_client *client = cv_new(arena, struct cv_lmtp_client, 1);
	char name[256] = "";

	client->login = login;
	client->stream = cv_login_stream(login);
	client->set = cv_login_conf(login, &cv_lmtp_settings_table);
	client->state = CV_LMTP_COMMAND;
	client->arena = cv_arena_new("transaction", arena, 0);
	cv_buf_init(&client->line, CV_LMTP_LINE_MAX);
	cv_buf_init(&client->lhlo, CV_LMTP_LINE_MAX);
	client->hostname = cv_str_c(client->set->hostname);
	if (client->hostname.len == 0) {
		if (gethostname(name, sizeof(name) - 1) < 0 || !cv_lmtp_is_domain(cv_str_c(name)))
			client->hostname = CV_STR("localhost");
		else
			client->hostname = cv_arena_str(arena, cv_str_c(name));
	}
	cv_lmtp_reply(client, 220, NULL, "%.*s %s", CV_STR_ARG(client->hostname), common->login_greeting);
	return client;
}

static void end(void *state)
{
	struct cv_lmtp_client *client = state;

	cv_lmtp_reset(client);
	cv_buf_deinit(&client->line);
	cv_buf_deinit(&client->lhlo);
}

/* One command line into client->line, empty when it is too long. False when there is none yet. */
static bool take_line(struct cv_lmtp_client *client)
{
	struct cv_str in = cv_stream_input(client->stream), line;
	size_t end_pos = cv_str_find(in, '\n');
	bool bad;

	if (end_pos == SIZE_MAX) {
		if (client->discarding || in.len >= CV_LMTP_LINE_MAX) {
			client->discarding = true;
			cv_stream_consume(client->stream, in.len);
		}
		return false;
	}
	line = cv_str_sub(in, 0, end_pos);
	if (cv_str_ends(line, CV_STR("\r")))
		line.len--;
	bad = client->discarding || end_pos >= CV_LMTP_LINE_MAX || cv_str_has_nul(line);
	client->discarding = false;
	cv_buf_clear(&client->line);
	if (!bad)
		cv_buf_append(&client->line, line);
	client->line_bad = bad;
	cv_stream_consume(client->stream, end_pos + 1);
	return true;
}

/* False when nothing more can be done now. */
static bool proceed(struct cv_lmtp_client *client)
{
	switch (client->state) {
	case CV_LMTP_COMMAND:
		if (cv_stream_room(client->stream) == 0 || (!client->line_waits && !take_line(client)))
			return false;
		client->line_waits = !cv_lmtp_command(client);
		return !client->line_waits;
	case CV_LMTP_DATA:
	case CV_LMTP_CHUNK:
		return cv_lmtp_data_input(client);
	case CV_LMTP_DELIVER:
	case CV_LMTP_CLOSED:
		break;
	}
	return false;
}

static void input(void *state)
{
	struct cv_lmtp_client *client = state;

	if (client->state == CV_LMTP_CLOSED)
		return;
	if (cv_stream_error(client->stream) == NULL) {
		while (proceed(client))
			;
		/* Nothing will come that it could go along with. */
		if (client->pending == 0 && client->mail_reply_due)
			(void)cv_lmtp_out(client);
		if (client->state == CV_LMTP_CLOSED || !cv_stream_ended(client->stream))
			return;
		/* What is left is no whole command; but one may wait for room or for answers, and then be carried out. */
		if (client->state == CV_LMTP_COMMAND && (client->line_waits || cv_stream_room(client->stream) == 0))
			return;
	}
	switch (client->state) {
	case CV_LMTP_COMMAND:
		cv_lmtp_close(client, "client closed the connection");
		break;
	case CV_LMTP_DATA:
	case CV_LMTP_CHUNK:
		cv_lmtp_close(client, "client closed the connection within a message, nothing was delivered");
		break;
	case CV_LMTP_DELIVER:
		cv_lmtp_close(client, "client closed the connection before the replies to its message");
		break;
	case CV_LMTP_CLOSED:
		break;
	}
}

void cv_lmtp_go_on(struct cv_lmtp_client *client)
{
	input(client);
}

static void output(void *state)
{
	struct cv_lmtp_client *client = state;

	if (client->state == CV_LMTP_DELIVER)
		cv_lmtp_deliver_more(client);
	else
		cv_stream_want_input(client->stream);
}

static void goodbye(void *state, const char *reason)
{
	struct cv_lmtp_client *client = state;

	if (strcmp(reason, "timeout") == 0)
		cv_lmtp_reply(client, 421, "4.4.2", "%.*s Nothing was heard for too long", CV_STR_ARG(client->hostname));
	else if (strcmp(reason, "overloaded") == 0)
		cv_lmtp_reply(client, 421, "4.3.2", "%.*s Too many connections", CV_STR_ARG(client->hostname));
	else
		cv_lmtp_reply(client, 421, "4.3.2", "%.*s Shutting down", CV_STR_ARG(client->hostname));
	cv_lmtp_set_state(client, CV_LMTP_CLOSED);
}

/* A unix socket by default; TCP where [listener NAME] gives a port. */
static const struct cv_login_listener listeners[] = {
	{ "lmtp", 0, false, "lmtp" },
	{ NULL, 0, false, NULL },
};

static const struct cv_login_protocol protocol = {
	.name = "lmtp",
	.listeners = listeners,
	.max_input = 65536,
	.max_output = 32768,
	.opts = CV_LOGIN_NO_AUTH,
	.start = start,
	.input = input,
	.output = output,
	.user_reply = cv_lmtp_user_reply,
	.job_reply = cv_lmtp_job_reply,
	.goodbye = goodbye,
	.end = end,
};

static int load(struct cv_registry *reg, CV_UNUSED enum cv_role role, struct cv_err *err)
{
	return cv_provide_login(reg, &protocol, err);
}

static const struct cv_settings_table *const tables[] = { &cv_lmtp_settings_table, NULL };

CV_MODULE(lmtp_login) = {
	CV_MODULE_ABI,
	.name = "lmtp-login",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PROTOCOL,
	.roles = CV_ROLE_FRONT,
	.settings = tables,
	.load = load,
};
