/* SPDX-License-Identifier: MIT
   IMAP before login: AUTHENTICATE with and without initial response (RFC 3501 section 6.2.2, RFC 4959), LOGIN, and the way to the worker. */
#include <config.h>

#include "modules/protocol/imap-login/imap-login.h"

#include "modules/lib/imap/imap-code.h"

bool cv_imap_login_allowed(const struct cv_imap_login *client)
{
	const char *name;
	size_t pos = 0;

	if (!cv_login_plaintext_allowed(client->login))
		return false;
	while (cv_login_mech_next(client->login, &pos, &name))
		if (strcmp(name, "PLAIN") == 0)
			return true;
	return false;
}

static void begin(struct cv_imap_login *client, struct cv_str tag, struct cv_str mech, struct cv_str initial)
{
	struct cv_err err = { 0 };
	const char *code;

	if (cv_login_auth(client->login, mech, initial, &err) < 0) {
		/* Not allowed is, before login, not allowed without TLS. */
		code = err.code == CV_ERR_PERM ? "PRIVACYREQUIRED" : cv_imap_login_code(err.code);
		cv_imap_login_reply(client, tag, "NO", code, cv_err_public(&err));
		return;
	}
	cv_buf_clear(&client->tag);
	cv_buf_append(&client->tag, tag);
	cv_imap_login_set_state(client, CV_IMAP_LOGIN_VERIFY);
}

/* Octets that are there are not absent, also when there are none. */
static struct cv_str present(const struct cv_buf *octets)
{
	return octets->len > 0 ? cv_buf_str(octets) : CV_STR("");
}

void cv_imap_login_authenticate(struct cv_imap_login *client, struct cv_str tag, struct cv_str mech, struct cv_str initial)
{
	struct cv_buf octets;

	if (initial.ptr == NULL) {
		begin(client, tag, mech, initial);
		return;
	}
	cv_buf_init_wipe(&octets, CV_IMAP_LOGIN_LINE_MAX);
	/* RFC 4959 section 3: "=" is an initial response of no octets. */
	if (cv_str_eq_c(initial, "=") || cv_base64_decode(&octets, initial))
		begin(client, tag, mech, present(&octets));
	else
		cv_imap_login_bad(client, tag, "Invalid base64 in the initial response");
	cv_buf_deinit(&octets);
}

void cv_imap_login_login(struct cv_imap_login *client, struct cv_str tag, struct cv_str user, struct cv_str password)
{
	struct cv_buf octets;

	if (!cv_imap_login_allowed(client)) {
		/* RFC 3501 section 11.2 (3): "an error even if the password is correct". */
		cv_imap_login_reply(client, tag, "NO", "PRIVACYREQUIRED",
			cv_login_plaintext_allowed(client->login) ? "LOGIN is disabled" : "LOGIN is not allowed without TLS");
		return;
	}
	/* As the message of mechanism PLAIN (RFC 4616): no authorization identity, NUL, user, NUL, password. Neither holds a NUL. */
	cv_buf_init_wipe(&octets, (size_t)4 * CV_IMAP_LOGIN_LINE_MAX);
	cv_buf_append_char(&octets, '\0');
	cv_buf_append(&octets, user);
	cv_buf_append_char(&octets, '\0');
	cv_buf_append(&octets, password);
	begin(client, tag, CV_STR("PLAIN"), cv_buf_str(&octets));
	cv_buf_deinit(&octets);
}

static void give_up(struct cv_imap_login *client, const char *text)
{
	cv_login_auth_abort(client->login);
	cv_imap_login_set_state(client, CV_IMAP_LOGIN_COMMAND);
	cv_imap_login_bad(client, cv_buf_str(&client->tag), text);
}

static void answer(struct cv_imap_login *client, struct cv_str line)
{
	struct cv_buf octets;

	/* RFC 3501 section 6.2.2: "If the client wishes to cancel an authentication exchange, it issues a line consisting of a single "*"." */
	if (cv_str_eq_c(line, "*")) {
		give_up(client, "Authentication was cancelled");
		return;
	}
	cv_buf_init_wipe(&octets, CV_IMAP_LOGIN_LINE_MAX);
	if (cv_base64_decode(&octets, line)) {
		cv_imap_login_set_state(client, CV_IMAP_LOGIN_VERIFY);
		cv_login_auth_continue(client->login, present(&octets));
	} else {
		give_up(client, "Invalid base64 in the response");
	}
	cv_buf_deinit(&octets);
}

bool cv_imap_login_response(struct cv_imap_login *client)
{
	struct cv_str input = cv_stream_input(client->stream);
	size_t end = cv_str_find(input, '\n');
	struct cv_buf line;

	if (end == SIZE_MAX && input.len <= CV_IMAP_LOGIN_LINE_MAX)
		return false;
	cv_buf_init_wipe(&line, CV_IMAP_LOGIN_LINE_MAX);
	cv_buf_append(&line, cv_str_sub(input, 0, end));
	if (cv_buf_ok(&line) && line.len > 0 && line.data[line.len - 1] == '\r')
		cv_buf_truncate(&line, line.len - 1);
	cv_stream_consume(client->stream, end == SIZE_MAX ? input.len : end + 1);
	if (cv_buf_ok(&line))
		answer(client, cv_buf_str(&line));
	else
		give_up(client, "Response is too long");
	cv_buf_deinit(&line);
	return true;
}

static const char *fail_text(enum cv_err_code code)
{
	switch (code) {
	case CV_ERR_TEMP:
	case CV_ERR_UNAVAILABLE:
	case CV_ERR_INTERNAL:
	case CV_ERR_CORRUPT:
	case CV_ERR_NOQUOTA:
	case CV_ERR_EXISTS:
	case CV_ERR_EXPUNGED:
		return "Authentication is not possible now, try again later";
	case CV_ERR_PERM:
		return "This account may not log in";
	case CV_ERR_EXPIRED:
		return "The password has expired";
	case CV_ERR_AUTHZ:
		return "This account may not act as that user";
	case CV_ERR_LIMIT:
		return "Too many logins, try again later";
	case CV_ERR_INUSE:
		return "The mail is in use elsewhere, try again later";
	case CV_ERR_UNSUPPORTED:
		return "Authentication is not possible this way";
	case CV_ERR_NONE:
	case CV_ERR_NOTFOUND:
	case CV_ERR_INVALID:
	case CV_ERR_AUTH:
		break;
	}
	return "Authentication failed";
}

/* "REFERRAL imap://user;AUTH=*@host/" (RFC 2221 section 4.1; the URL: RFC 5092 section 11, enc-user). */
static const char *referral(struct cv_imap_login *client, struct cv_str host, struct cv_str user)
{
	struct cv_buf code;
	const char *copy;

	cv_buf_init(&code, 8192);
	cv_buf_append_c(&code, "REFERRAL imap://");
	for (size_t i = 0; i < user.len; i++) {
		char c = user.ptr[i];

		if (cv_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
			cv_buf_append_char(&code, c);
		else
			cv_buf_printf(&code, "%%%02X", (unsigned)(unsigned char)c);
	}
	cv_buf_append_c(&code, ";AUTH=*@");
	cv_buf_append(&code, host);
	cv_buf_append_char(&code, '/');
	copy = cv_arena_strdup(cv_login_arena(client->login), code.data);
	cv_buf_deinit(&code);
	return copy;
}

static void failed(struct cv_imap_login *client, const struct cv_login_auth_reply *reply)
{
	enum cv_err_code code = reply->code;
	struct cv_str text = reply->text;
	const char *words = fail_text(code), *word;

	if (text.len > 0 && !cv_str_has_nul(text))
		words = cv_arena_printf(cv_login_arena(client->login), "%.*s", CV_STR_ARG(text));
	word = cv_imap_login_code(code == CV_ERR_NONE ? CV_ERR_AUTH : code);
	/* "]" would end the code: an address of IPv6 is not told. */
	if (code == CV_ERR_PERM && reply->host.len > 0 && cv_str_find(reply->host, ']') == SIZE_MAX)
		word = referral(client, reply->host, reply->user);
	cv_imap_login_reply(client, cv_buf_str(&client->tag), "NO", word, words);
	cv_imap_login_set_state(client, CV_IMAP_LOGIN_COMMAND);
	cv_stream_want_input(client->stream);
}

/* The worker answers the command: its tag goes along (u8 version, str tag, u8 language). */
static void finish(struct cv_imap_login *client)
{
	struct cv_buf resume;

	cv_buf_init(&resume, 4096);
	cv_put_u8(&resume, 2);
	cv_put_str(&resume, cv_buf_str(&client->tag));
	cv_put_u8(&resume, (uint8_t)client->language);
	cv_imap_login_set_state(client, CV_IMAP_LOGIN_FINISHING);
	cv_login_finish(client->login, cv_buf_str(&resume));
	cv_buf_deinit(&resume);
}

void cv_imap_login_auth_reply(void *state, const struct cv_login_auth_reply *reply)
{
	struct cv_imap_login *client = state;
	struct cv_buf *out = cv_stream_out(client->stream);

	/* An answer that crossed with a cancel. */
	if (client->state != CV_IMAP_LOGIN_VERIFY)
		return;
	switch (reply->kind) {
	case CV_LOGIN_CHALLENGE:
		cv_buf_append_c(out, "+ ");
		cv_buf_append_base64(out, reply->data);
		cv_buf_append_c(out, "\r\n");
		cv_imap_login_set_state(client, CV_IMAP_LOGIN_RESPONSE);
		cv_stream_want_input(client->stream);
		break;
	case CV_LOGIN_OK:
		finish(client);
		break;
	case CV_LOGIN_FAIL:
		failed(client, reply);
		break;
	}
}

void cv_imap_login_finish_failed(void *state, const struct cv_err *err)
{
	struct cv_imap_login *client = state;

	cv_imap_login_reply(client, cv_buf_str(&client->tag), "NO", cv_imap_login_code(err->code), cv_err_public(err));
	cv_imap_login_set_state(client, CV_IMAP_LOGIN_COMMAND);
	cv_stream_want_input(client->stream);
}
