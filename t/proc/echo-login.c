/* SPDX-License-Identifier: MIT
   Test protocol, login part: LOGIN USER PASSWORD, STARTTLS, CAPA, NOOP, QUIT, and DELIVER USER TEXT (a look-up and a job). One word answers: OK, NO, BAD. */
#include <culver/ipc.h>
#include <culver/protocol.h>

#include <string.h>
#include <unistd.h>

struct state {
	struct cv_login *login;
	struct cv_arena *arena;
	struct cv_str text; /* of DELIVER */
};

static void say(struct state *st, const char *line)
{
	cv_buf_append_c(cv_stream_out(cv_login_stream(st->login)), line);
	cv_buf_append_c(cv_stream_out(cv_login_stream(st->login)), "\r\n");
}

/* Compiled twice: with DROP it is the protocol "drop", which has no login. */

static void *start(struct cv_login *login)
{
	struct state *st = cv_new(cv_login_arena(login), struct state, 1);
	const struct cv_login_settings *set = cv_login_conf(login, &cv_login_settings_table);

	st->login = login;
	st->arena = cv_login_arena(login);
	cv_buf_printf(cv_stream_out(cv_login_stream(login)), "OK %s\r\n", set->login_greeting);
	return st;
}

static void goodbye(void *state, const char *reason)
{
	struct state *st = state;

	cv_buf_printf(cv_stream_out(cv_login_stream(st->login)), "BYE %s\r\n", reason);
}

#ifndef DROP

static void log_in(struct state *st, struct cv_str args)
{
	struct cv_str user, password;
	struct cv_buf sasl;
	struct cv_err err = { 0 };

	(void)cv_str_split(args, ' ', &user, &password);
	cv_buf_init_wipe(&sasl, 2048);
	cv_buf_append_char(&sasl, '\0');
	cv_buf_append(&sasl, user);
	cv_buf_append_char(&sasl, '\0');
	cv_buf_append(&sasl, password);
	if (cv_login_auth(st->login, CV_STR("PLAIN"), cv_buf_str(&sasl), &err) < 0)
		cv_buf_printf(cv_stream_out(cv_login_stream(st->login)), "NO %s\r\n", cv_err_public(&err));
	cv_buf_deinit(&sasl);
}

static void capa(struct state *st)
{
	struct cv_buf *out = cv_stream_out(cv_login_stream(st->login));
	const char *name;

	cv_buf_append_c(out, "OK");
	if (cv_login_tls_available(st->login))
		cv_buf_append_c(out, " STARTTLS");
	if (!cv_login_plaintext_allowed(st->login))
		cv_buf_append_c(out, " LOGINDISABLED");
	for (size_t pos = 0; cv_login_mech_next(st->login, &pos, &name);)
		cv_buf_printf(out, " AUTH=%s", name);
	cv_buf_append_c(out, "\r\n");
}

/* False: wait for an answer before the next line. */
static bool command(struct state *st, struct cv_str line)
{
	if (cv_str_starts(line, CV_STR("LOGIN "))) {
		log_in(st, cv_str_sub(line, 6, SIZE_MAX));
		return false;
	}
	if (cv_str_eq_c(line, "CAPA")) {
		capa(st);
	} else if (cv_str_eq_c(line, "NOOP")) {
		say(st, "OK");
	} else if (cv_str_eq_c(line, "STARTTLS")) {
		if (cv_login_tls_available(st->login)) {
			say(st, "OK begin");
			cv_login_start_tls(st->login);
			return false;
		}
		say(st, "NO");
	} else if (cv_str_eq_c(line, "QUIT")) {
		say(st, "OK bye");
		cv_login_close(st->login, "quit");
		return false;
	} else {
		say(st, "BAD");
	}
	return true;
}

static void input(void *state)
{
	struct state *st = state;
	struct cv_stream *s = cv_login_stream(st->login);
	bool more = true;

	while (more) {
		struct cv_reader r = cv_reader_init(cv_stream_input(s));
		struct cv_str line;
		if (!cv_take_line(&r, &line)) {
			if (cv_stream_input_full(s))
				cv_login_close(st->login, "line too long");
			return;
		}
		line = cv_arena_str(st->arena, line);
		cv_stream_consume(s, r.pos);
		more = command(st, line);
	}
}

static void secured(void *state)
{
	(void)state;
}

static void auth_reply(void *state, const struct cv_login_auth_reply *reply)
{
	struct state *st = state;

	if (reply->kind == CV_LOGIN_OK) {
		cv_login_finish(st->login, CV_STR("resume"));
	} else {
		cv_buf_printf(cv_stream_out(cv_login_stream(st->login)), "NO %s\r\n", cv_err_code_name(reply->code));
		cv_stream_want_input(cv_login_stream(st->login));
	}
}

static void finish_failed(void *state, const struct cv_err *err)
{
	struct state *st = state;

	cv_buf_printf(cv_stream_out(cv_login_stream(st->login)), "NO %s %s\r\n", cv_err_code_name(err->code), cv_err_public(err));
}

static const struct cv_login_listener listeners[] = { { .name = "echo", .port = 10007 }, { .name = "echos", .port = 10008, .tls = true },
	{ 0 } };

static const struct cv_login_protocol protocol = {
	.name = "echo",
	.listeners = listeners,
	.max_input = 4096,
	.max_output = 4096,
	.alpn = "echo",
	.start = start,
	.input = input,
	.secured = secured,
	.auth_reply = auth_reply,
	.finish_failed = finish_failed,
	.goodbye = goodbye,
};

#else

static void command(struct state *st, struct cv_str line)
{
	struct cv_str user;

	if (cv_str_starts(line, CV_STR("DELIVER "))) {
		(void)cv_str_split(cv_str_sub(line, 8, SIZE_MAX), ' ', &user, &st->text);
		cv_login_user_lookup(st->login, 7, user);
	} else {
		say(st, "BAD");
	}
}

static void input(void *state)
{
	struct state *st = state;
	struct cv_stream *s = cv_login_stream(st->login);
	struct cv_reader r = cv_reader_init(cv_stream_input(s));
	struct cv_str line;

	if (!cv_take_line(&r, &line))
		return;
	line = cv_arena_str(st->arena, line);
	cv_stream_consume(s, r.pos);
	command(st, line);
}

static void user_reply(void *state, const struct cv_login_user_reply *reply)
{
	struct state *st = state;
	struct cv_err err = { 0 };

	if (reply->result != CV_AUTH_OK) {
		say(st, reply->result == CV_AUTH_NOUSER ? "NO user" : "NO temp");
		return;
	}
	int fd = cv_memfd_from("echo", st->text, &err);
	cv_login_job(st->login, 9, reply->ticket, CV_STR("payload"), fd);
	(void)close(fd);
}

static void job_reply(void *state, const struct cv_login_job_reply *reply)
{
	struct state *st = state;

	if (reply->err.code == CV_ERR_NONE)
		cv_buf_printf(cv_stream_out(cv_login_stream(st->login)), "OK %.*s\r\n", CV_STR_ARG(reply->data));
	else
		cv_buf_printf(cv_stream_out(cv_login_stream(st->login)), "NO %s\r\n", cv_err_is_temp(&reply->err) ? "temp" : "perm");
}

static const struct cv_login_listener listeners[] = { { .name = "drop", .path = "drop" }, { 0 } };

static const struct cv_login_protocol protocol = {
	.name = "drop",
	.listeners = listeners,
	.max_input = 4096,
	.max_output = 4096,
	.opts = CV_LOGIN_NO_AUTH,
	.start = start,
	.input = input,
	.user_reply = user_reply,
	.job_reply = job_reply,
	.goodbye = goodbye,
};

#endif

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_login(reg, &protocol, err);
}

#ifdef DROP
CV_MODULE(drop_login) = {
	.name = "drop-login",
#else
CV_MODULE(echo_login) = {
	.name = "echo-login",
#endif
	CV_MODULE_ABI,
	.version = "1",
	.kind = CV_KIND_PROTOCOL,
	.roles = CV_ROLE_FRONT,
	.load = load,
};
