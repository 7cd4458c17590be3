/* SPDX-License-Identifier: MIT
   IMAP before login: one connection and what its commands need. Private to this module. */
#ifndef CV_IMAP_LOGIN_H
#define CV_IMAP_LOGIN_H

#include "modules/lib/imap/imap-text.h"

#include <culver/protocol.h>

/* Invalid commands in a row after which the connection is closed. */
#define CV_IMAP_LOGIN_BAD_MAX 3u
/* Longest line of a SASL exchange (RFC 4422 gives none; tokens of OAUTHBEARER and GSSAPI fit), and longest command. */
#define CV_IMAP_LOGIN_LINE_MAX ((size_t)12 * 1024)
/* Literals before login: names and passwords. */
#define CV_IMAP_LOGIN_LITERAL_MAX ((size_t)4096)
/* Octets of refused commands that are read and dropped before the connection is closed. */
#define CV_IMAP_LOGIN_SKIP_MAX ((uint64_t)64 * 1024)

struct cv_imap_login_settings {
	const char *imap_id_log;
	const char *imap_id_send;
	const char *imap_language;
};
extern const struct cv_settings_table cv_imap_login_settings;

enum cv_imap_login_state {
	CV_IMAP_LOGIN_COMMAND = 1, /* a command is awaited */
	CV_IMAP_LOGIN_TLS,         /* the handshake behind STARTTLS runs */
	CV_IMAP_LOGIN_VERIFY,      /* auth's answer is awaited; input waits */
	CV_IMAP_LOGIN_RESPONSE,    /* the client's answer to a challenge is awaited */
	CV_IMAP_LOGIN_FINISHING,   /* the connection is on its way to the worker */
	CV_IMAP_LOGIN_CLOSED
};

struct cv_imap_login {
	struct cv_login *login;
	struct cv_stream *stream;
	const struct cv_imap_login_settings *set;
	enum cv_imap_login_state state;
	struct cv_imap_parser *parser;
	struct cv_buf tag;     /* of the login command in progress */
	unsigned bad_commands; /* since the last valid one */
	unsigned language;     /* LANGUAGE (RFC 5255): of texts; see imap-text.h */
};

void cv_imap_login_set_state(struct cv_imap_login *client, enum cv_imap_login_state state);
/* "tag OK [code] text"; tag absent: "*". code NULL: none. text is English, and a row of imap-text.c. */
void cv_imap_login_reply(struct cv_imap_login *client, struct cv_str tag, const char *status, const char *code, const char *text);
/* BAD; closes the connection when there were too many. */
void cv_imap_login_bad(struct cv_imap_login *client, struct cv_str tag, const char *text);
void cv_imap_login_close(struct cv_imap_login *client, const char *reason);

/* commands.c */
/* Run the command that the parser has complete. */
void cv_imap_login_command(struct cv_imap_login *client);
/* The verb is one of ours: its literals are taken. */
bool cv_imap_login_knows(struct cv_str verb);
/* Append "IMAP4rev1 …" for the connection as it is now. */
void cv_imap_login_capabilities(const struct cv_imap_login *client, struct cv_buf *out);

/* auth.c */
/* LOGIN is possible: a password may be sent now, and mechanism PLAIN, which carries it, is on. */
bool cv_imap_login_allowed(const struct cv_imap_login *client);
/* AUTHENTICATE; initial: base64 as given, absent when there is none. */
void cv_imap_login_authenticate(struct cv_imap_login *client, struct cv_str tag, struct cv_str mech, struct cv_str initial);
void cv_imap_login_login(struct cv_imap_login *client, struct cv_str tag, struct cv_str user, struct cv_str password);
/* Read the answer to a challenge from the stream. True when a line was taken. */
bool cv_imap_login_response(struct cv_imap_login *client);
void cv_imap_login_auth_reply(void *state, const struct cv_login_auth_reply *reply);
void cv_imap_login_finish_failed(void *state, const struct cv_err *err);

#endif
