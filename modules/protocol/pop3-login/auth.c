/* SPDX-License-Identifier: MIT
   POP3 before login: authentication by AUTH (RFC 5034) and by USER and PASS, and the way to the worker. */
#include <config.h>

#include "modules/protocol/pop3-login/pop3-login.h"

/* RFC 5034 section 4: base64, "=" for a response of no octets. What cannot be decoded rejects the command. */
static bool decode(struct cv_buf *out, struct cv_str text)
{
	return cv_str_eq(text, CV_STR("=")) || cv_base64_decode(out, text);
}

static void begin(struct cv_pop3_login *client, struct cv_str mech, struct cv_str initial)
{
	struct cv_err err = { 0 };

	if (cv_login_auth(client->login, mech, initial, &err) < 0) {
		cv_pop3_login_reply(client, "-ERR %s%s", cv_pop3_response_code(err.code, true),
			cv_pop3_text(client->language, cv_err_public(&err)));
		return;
	}
	cv_pop3_login_set_state(client, CV_POP3_LOGIN_VERIFY);
}

/* digest = 32 hexadecimal digits (RFC 1939 section 7) */
void cv_pop3_login_apop(struct cv_pop3_login *client, struct cv_str name, struct cv_str digest)
{
	struct cv_buf message;
	struct cv_err err = { 0 };

	/* What mechanism APOP of auth takes: timestamp, NUL, name, NUL, the digest's octets. */
	cv_buf_init_wipe(&message, 2048);
	cv_buf_append_c(&message, client->timestamp);
	cv_buf_append_char(&message, '\0');
	cv_buf_append(&message, name);
	cv_buf_append_char(&message, '\0');
	if (digest.len != 32 || !cv_hex_decode(&message, digest))
		cv_pop3_login_bad(client, "Syntax: APOP name digest");
	else if (cv_login_auth_own(client->login, "APOP", cv_buf_str(&message), &err) < 0)
		cv_pop3_login_reply(client, "-ERR %s%s", cv_pop3_response_code(err.code, true),
			cv_pop3_text(client->language, cv_err_public(&err)));
	else
		cv_pop3_login_set_state(client, CV_POP3_LOGIN_VERIFY);
	cv_buf_deinit(&message);
}

void cv_pop3_login_auth(struct cv_pop3_login *client, struct cv_str mech, struct cv_str initial)
{
	struct cv_buf octets;

	if (initial.ptr == NULL) {
		begin(client, mech, initial);
		return;
	}
	cv_buf_init_wipe(&octets, CV_POP3_AUTH_LINE_MAX);
	/* An empty view with a pointer is a response that is there but empty. */
	if (decode(&octets, initial))
		begin(client, mech, octets.len > 0 ? cv_buf_str(&octets) : CV_STR(""));
	else
		cv_pop3_login_bad(client, "Invalid base64 in the initial response.");
	cv_buf_deinit(&octets);
}

void cv_pop3_login_pass(struct cv_pop3_login *client, struct cv_str password)
{
	struct cv_buf octets;

	/* As the message of mechanism PLAIN (RFC 4616): no authorization identity, NUL, user, NUL, password. Lines hold no NUL. */
	cv_buf_init_wipe(&octets, CV_POP3_AUTH_LINE_MAX);
	cv_buf_append_char(&octets, '\0');
	cv_buf_append(&octets, cv_buf_str(&client->user));
	cv_buf_append_char(&octets, '\0');
	cv_buf_append(&octets, password);
	cv_buf_clear(&client->user);
	begin(client, CV_STR("PLAIN"), cv_buf_str(&octets));
	cv_buf_deinit(&octets);
}

void cv_pop3_login_response(struct cv_pop3_login *client)
{
	struct cv_str line = cv_buf_str(&client->input.line);
	struct cv_buf octets;

	if (cv_str_eq(line, CV_STR("*"))) {
		cv_login_auth_abort(client->login);
		cv_pop3_login_set_state(client, CV_POP3_LOGIN_COMMAND);
		cv_pop3_login_reply(client, "-ERR Authentication was cancelled.");
		return;
	}
	cv_buf_init_wipe(&octets, CV_POP3_AUTH_LINE_MAX);
	if (cv_base64_decode(&octets, line)) {
		cv_pop3_login_set_state(client, CV_POP3_LOGIN_VERIFY);
		cv_login_auth_continue(client->login, octets.len > 0 ? cv_buf_str(&octets) : CV_STR(""));
	} else {
		cv_login_auth_abort(client->login);
		cv_pop3_login_set_state(client, CV_POP3_LOGIN_COMMAND);
		cv_pop3_login_bad(client, "Invalid base64 in the response.");
	}
	cv_buf_deinit(&octets);
}

static const char *fail_text(enum cv_err_code code)
{
	switch (code) {
	case CV_ERR_TEMP:
	case CV_ERR_UNAVAILABLE:
	case CV_ERR_INTERNAL:
	case CV_ERR_CORRUPT:
	case CV_ERR_NOQUOTA:
		return "Authentication is not possible now, try again later.";
	case CV_ERR_PERM:
		return "This account may not log in.";
	case CV_ERR_EXPIRED:
		return "Your password has expired.";
	case CV_ERR_AUTHZ:
		return "This account may not act as that user.";
	case CV_ERR_LIMIT:
	case CV_ERR_INUSE:
		return "Too many logins, try again later.";
	case CV_ERR_NONE:
	case CV_ERR_NOTFOUND:
	case CV_ERR_EXISTS:
	case CV_ERR_INVALID:
	case CV_ERR_EXPUNGED:
	case CV_ERR_UNSUPPORTED:
	case CV_ERR_AUTH:
		break;
	}
	return "Authentication failed.";
}

static void failed(struct cv_pop3_login *client, enum cv_err_code code, struct cv_str text)
{
	const char *words;

	if (code == CV_ERR_NONE)
		code = CV_ERR_AUTH;
	words = text.len > 0 ? cv_arena_cstr(cv_login_arena(client->login), text) : NULL;
	if (words == NULL)
		words = fail_text(code);
	cv_pop3_login_reply(client, "-ERR %s%s", cv_pop3_response_code(code, true), cv_pop3_text(client->language, words));
	cv_pop3_login_set_state(client, CV_POP3_LOGIN_COMMAND);
	cv_stream_want_input(client->stream);
}

static void finish(struct cv_pop3_login *client)
{
	struct cv_arena *arena = cv_arena_new("capabilities", NULL, 0);
	struct cv_pop3_resume resume;
	struct cv_buf data;

	cv_pop3_login_resume(client, arena, &resume);
	cv_buf_init(&data, 4096);
	cv_pop3_resume_put(&resume, &data);
	cv_arena_free(&arena);
	cv_pop3_login_set_state(client, CV_POP3_LOGIN_FINISHING);
	cv_login_finish(client->login, cv_buf_str(&data));
	cv_buf_deinit(&data);
}

void cv_pop3_login_auth_reply(void *state, const struct cv_login_auth_reply *reply)
{
	struct cv_pop3_login *client = state;
	struct cv_buf *out = cv_stream_out(client->stream);

	/* An answer that crossed with a cancel. */
	if (client->state != CV_POP3_LOGIN_VERIFY)
		return;
	switch (reply->kind) {
	case CV_LOGIN_CHALLENGE:
		cv_buf_append_c(out, "+ ");
		cv_buf_append_base64(out, reply->data);
		cv_buf_append_c(out, "\r\n");
		cv_pop3_login_set_state(client, CV_POP3_LOGIN_RESPONSE);
		cv_stream_want_input(client->stream);
		break;
	case CV_LOGIN_OK:
		finish(client);
		break;
	case CV_LOGIN_FAIL:
		failed(client, reply->code, reply->text);
		break;
	}
}

void cv_pop3_login_finish_failed(void *state, const struct cv_err *err)
{
	struct cv_pop3_login *client = state;

	cv_pop3_login_reply(client, "-ERR %s%s", cv_pop3_response_code(err->code, false), cv_pop3_text(client->language, cv_err_public(err)));
	cv_pop3_login_set_state(client, CV_POP3_LOGIN_COMMAND);
	cv_stream_want_input(client->stream);
}
