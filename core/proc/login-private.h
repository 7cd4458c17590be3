/* SPDX-License-Identifier: MIT
   A connection before login, between the protocol module that speaks and the front process that owns it. Private to core/proc and tests. */
#ifndef CV_PROC_LOGIN_PRIVATE_H
#define CV_PROC_LOGIN_PRIVATE_H

#include "core/proc/messages.h"
#include "core/proc/settings.h"
#include <culver/log.h>
#include <culver/map.h>
#include <culver/protocol.h>

#define CV_LOGIN_RESUME_MAX 4096
#define CV_LOGIN_CLIENT_ID_MAX 30
#define CV_LOGIN_PAYLOAD_MAX (32 * 1024)
#define CV_SESSION_ID_LEN 16

enum cv_login_state {
	CV_LOGIN_HANDSHAKE = 1, /* implicit TLS; the protocol has not begun */
	CV_LOGIN_OPEN,          /* the protocol speaks */
	CV_LOGIN_FLUSHING,      /* cv_login_finish was called; output is on its way out */
	CV_LOGIN_HANDOVER,      /* the spawner was asked */
	CV_LOGIN_CLOSED         /* ends in the next round */
};

struct cv_login;

/* What front does for its connections. Answers come through cv_login_on_*. None may free the login but ended, which must forget it. */
struct cv_login_host {
	struct cv_loop *loop;
	const struct cv_registry *registry;
	/* Send AUTH_BEGIN with login->auth_id (which it sets anew); -1: there is no auth process now. */
	int (*auth_begin)(struct cv_login *login, struct cv_str mech, struct cv_str initial);
	int (*auth_continue)(struct cv_login *login, struct cv_str response);
	void (*auth_abort)(struct cv_login *login);
	int (*user_lookup)(struct cv_login *login, uint64_t id, struct cv_str user);
	/* within_ms 0: no bound. */
	int (*job)(struct cv_login *login, uint64_t id, struct cv_str ticket, struct cv_str payload, int memfd, uint64_t within_ms);
	bool (*worker_hook)(const struct cv_login *login, const char *hook);
	/* Send SESSION; -1 with err: not possible now. */
	int (*handover)(struct cv_login *login, struct cv_str resume, struct cv_err *err);
	struct cv_tls_ctx *(*tls_ctx)(struct cv_login *login); /* borrowed; NULL: none */
	bool (*mech_next)(const struct cv_login *login, size_t *pos, const char **name_r, unsigned *opts_r);
	/* login is over (its protocol's end was called, its stream is closing by itself): take it out of all tables; it is freed after. */
	void (*ended)(struct cv_login *login);
};

/* Where a connection comes from. */
struct cv_login_peer {
	bool is_unix;
	char remote[46], local[46]; /* addresses as text; "" on a Unix socket */
	uint32_t remote_port, local_port;
};

/* What the client said of itself. */
struct cv_login_pair {
	char *key, *value;
};

struct cv_login {
	struct cv_node node;          /* host's list, longest without input first */
	const struct cv_login_host *host;
	void *host_data;
	const struct cv_login_protocol *protocol;
	struct cv_arena *arena;
	struct cv_stream *stream;
	const struct cv_conf *conf;
	const struct cv_login_settings *set;
	enum cv_login_state state;
	void *protocol_state;
	struct cv_login_peer peer;
	bool local_peer, trusted, implicit_tls, tls_started, ssl_required, ssl_off;
	char session[CV_SESSION_ID_LEN + 1];
	struct cv_log_ctx log;
	uint64_t started_ms, input_ms;
	struct cv_timer *deadline, *later;
	/* The exchange that runs. */
	uint64_t auth_id;             /* 0: none */
	bool auth_unsent;             /* auth could not be reached: the answer comes from the next round */
	char mech[32];
	unsigned failures;
	unsigned requests;            /* look-ups and jobs that run */
	/* After CV_LOGIN_OK. */
	struct cv_str ticket;         /* in arena, which is wiped */
	bool ticket_set;
	char *user;                   /* in arena */
	struct cv_str resume;         /* in arena */
	const struct cv_err *failure; /* of a handover, told from the next round; in arena, or NULL */
	const char *reason;           /* of the close */
	bool quiet;                   /* no log line at the end: handed over */
	CV_VEC(struct cv_login_pair) client_id;
	struct {
		const struct cv_settings_table *table;
		const void *set;
	} cached[8];
	unsigned cached_count;
};

struct cv_login_config {
	const struct cv_login_host *host;
	void *host_data;
	const struct cv_login_protocol *protocol;
	const struct cv_conf *conf;
	struct cv_stream *stream;     /* becomes the login's */
	const struct cv_login_peer *peer;
	bool tls;                     /* from the first octet */
	bool back;                    /* a worker gave it back: nothing greets the client, TLS is there or may begin */
};
/* Begin. The protocol's start (or back) is called now, or after the handshake. */
CV_EXPORT struct cv_login *cv_login_new(const struct cv_login_config *config);
/* Answers of auth and spawner. Those for what is over are for the host to drop. */
CV_EXPORT void cv_login_on_challenge(struct cv_login *login, struct cv_str data);
CV_EXPORT void cv_login_on_auth_ok(struct cv_login *login, struct cv_str user, struct cv_str ticket);
CV_EXPORT void cv_login_on_auth_fail(struct cv_login *login, enum cv_err_code code, struct cv_str text);
CV_EXPORT void cv_login_on_referral(struct cv_login *login, enum cv_err_code code, struct cv_str text, struct cv_str host, struct cv_str user);
CV_EXPORT void cv_login_on_user(struct cv_login *login, const struct cv_login_user_reply *reply);
CV_EXPORT void cv_login_on_job(struct cv_login *login, const struct cv_login_job_reply *reply);
/* A worker has it. Gives the stream back: it is the host's now, for a relay or to be closed. login ends. */
CV_EXPORT struct cv_stream *cv_login_on_handed_over(struct cv_login *login);
CV_EXPORT void cv_login_on_handover_failed(struct cv_login *login, const struct cv_err *err);
/* In plain text, and whether a worker has it will not be known any more: nothing is said, and the connection goes on where a worker has it. login ends. */
CV_EXPORT void cv_login_on_handover_unknown(struct cv_login *login, const char *reason);
/* Say goodbye (the protocol does) and close. reason: "timeout", "shutdown", "overloaded". */
CV_EXPORT void cv_login_goodbye(struct cv_login *login, const char *reason);
CV_EXPORT bool cv_login_is_secured(const struct cv_login *login);

/* A new session id: CV_SESSION_ID_LEN characters of the URL alphabet of base64, and a NUL. */
CV_EXPORT void cv_session_id_new(char out[CV_SESSION_ID_LEN + 1]);
/* Address as 16 octets, IPv4 as ::ffff:a.b.c.d (then *mapped_bits_r is 96, else 0). */
CV_EXPORT CV_MUST_CHECK bool cv_net_address(const char *text, uint8_t out[16], uint32_t *mapped_bits_r);
/* "192.0.2.0/24", "2001:db8::1": network and how many bits of the 128 count. */
CV_EXPORT CV_MUST_CHECK bool cv_net_parse(struct cv_str text, uint8_t net[16], uint32_t *bits_r);
CV_EXPORT bool cv_net_contains(const uint8_t net[16], uint32_t bits, const uint8_t addr[16]);
/* addr (text) lies in one of nets ("192.0.2.0/24", "::1"), NULL-terminated or NULL. */
CV_EXPORT bool cv_net_match_any(const char *const *nets, const char *addr);

#endif
