/* SPDX-License-Identifier: MIT
   POP3 before login: one connection and what its commands need. Private to this module. */
#ifndef CV_POP3_LOGIN_H
#define CV_POP3_LOGIN_H

#include "modules/lib/pop3/pop3.h"
#include "modules/lib/pop3/pop3-text.h"

#include <culver/protocol.h>

/* Invalid commands in a row after which the connection is closed. */
#define CV_POP3_LOGIN_BAD_MAX 3

struct cv_pop3_login_settings {
	const char *pop3_implementation;
	const char *pop3_expire;
	uint64_t pop3_login_delay; /* ms */
	const char *pop3_language;
	bool auth_saslprep;
};
extern const struct cv_settings_table cv_pop3_login_settings;

enum cv_pop3_login_state {
	CV_POP3_LOGIN_COMMAND,   /* a command is awaited */
	CV_POP3_LOGIN_TLS,       /* the handshake behind STLS runs */
	CV_POP3_LOGIN_VERIFY,    /* auth's answer is awaited; input waits */
	CV_POP3_LOGIN_RESPONSE,  /* the client's answer to a challenge is awaited */
	CV_POP3_LOGIN_FINISHING, /* the connection is on its way to the worker */
	CV_POP3_LOGIN_CLOSED
};

struct cv_pop3_login {
	struct cv_login *login;
	struct cv_stream *stream;
	const struct cv_pop3_login_settings *set;
	enum cv_pop3_login_state state;
	struct cv_pop3_input input;
	struct cv_buf user;      /* of USER, until PASS; empty: none */
	unsigned bad_commands;   /* since the last valid one */
	const char *timestamp;   /* of the greeting, for APOP; NULL: none */
	bool utf8;               /* UTF8 was given */
	unsigned language;
};

void cv_pop3_login_set_state(struct cv_pop3_login *client, enum cv_pop3_login_state state);
/* One line of reply, in the client's language; its CRLF is added. */
void cv_pop3_login_reply(struct cv_pop3_login *client, const char *fmt, ...) CV_PRINTF(2, 3);
/* Reply to what is no valid command now; closes the connection when there were too many. */
void cv_pop3_login_bad(struct cv_pop3_login *client, const char *text);
void cv_pop3_login_close(struct cv_pop3_login *client, const char *reason);

/* Run the command line in client->input.line (commands.c). */
void cv_pop3_login_command(struct cv_pop3_login *client);
/* USER may be used: a password may be sent now, and mechanism PLAIN, which carries it, is on. */
bool cv_pop3_login_user_allowed(const struct cv_pop3_login *client);
/* The capabilities that depend on settings and on the connection (all but STLS). Lines live in the arena. */
void cv_pop3_login_resume(struct cv_pop3_login *client, struct cv_arena *arena, struct cv_pop3_resume *resume_r);

/* AUTH and PASS (auth.c). initial: base64 as given, absent when there is none. */
void cv_pop3_login_auth(struct cv_pop3_login *client, struct cv_str mech, struct cv_str initial);
void cv_pop3_login_pass(struct cv_pop3_login *client, struct cv_str password);
void cv_pop3_login_apop(struct cv_pop3_login *client, struct cv_str name, struct cv_str digest);
/* The language that "LANG *" chooses: pop3_language. */
unsigned cv_pop3_login_star(const struct cv_pop3_login *client);
/* The line in client->input.line answers a challenge. */
void cv_pop3_login_response(struct cv_pop3_login *client);
void cv_pop3_login_auth_reply(void *state, const struct cv_login_auth_reply *reply);
void cv_pop3_login_finish_failed(void *state, const struct cv_err *err);

#endif
