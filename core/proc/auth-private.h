/* SPDX-License-Identifier: MIT
   The auth process: what its files share. */
#ifndef CV_PROC_AUTH_PRIVATE_H
#define CV_PROC_AUTH_PRIVATE_H

#include "core/proc/auth-cache.h"
#include "core/proc/auth-dbs.h"
#include "core/proc/auth-delay.h"
#include "core/proc/auth-pool.h"
#include "core/proc/auth-seal.h"
#include "core/proc/auth-ticket.h"

#include <culver/log.h>
#include <culver/stream.h>

/* Unanswered at a time, in all; each has an arena of a few KiB. */
#define AUTH_REQUESTS_MAX 16384u
/* Of one front: one that lost its mind, or all of whose clients are one, leaves room for the others. */
#define AUTH_FRONT_REQUESTS_MAX (AUTH_REQUESTS_MAX / 2)
/* A client that does not answer a challenge. */
#define AUTH_CLIENT_TIMEOUT_MS 60000u
/* One SASL response. */
#define AUTH_RESPONSE_MAX 16384u

/* Settings in force and their open databases. Counted: requests finish on those they began with. */
struct auth_gen {
	unsigned refs;
	struct auth_dbs *dbs;
	const struct cv_auth_settings *set;  /* without a filter */
	const char *const *mechs;            /* that any section names */
	uint32_t first_valid_uid, last_valid_uid; /* last 0: no bound */
	uint32_t first_valid_gid, last_valid_gid;
	void (*release)(void *ctx); /* when the last reference goes: of what conf lives in */
	void *ctx;
};

struct auth {
	struct cv_loop *loop;
	const struct cv_registry *registry;
	struct auth_gen *gen;
	struct auth_pool *pool; /* NULL in tests: databases that need helpers fail, hashes are checked here */
	struct auth_tickets *tickets;
	struct auth_sealer *sealer; /* of logins' tickets */
	struct auth_delays *delays;
	struct auth_cache *cache;
	struct auth_ids *ids;   /* NULL in tests */
	struct cv_node requests;
	size_t request_count;
	uint64_t successes, failures, temporaries; /* since start */
};

/* conf must live until release(ctx), which may be NULL. NULL with err set when databases, drivers or mechanisms are not as they must be. */
struct auth_gen *auth_gen_new(const struct cv_registry *registry, const struct cv_conf *conf, void (*release)(void *ctx), void *ctx,
	struct cv_err *err);
/* All that auth_gen_new would fail at, for the master and "culver conf check". key is NULL when it is about several settings. */
void auth_check(const struct cv_registry *registry, const struct cv_conf *conf, auth_problem_fn *fn, void *ctx);
struct auth_gen *auth_gen_ref(struct auth_gen *gen);
void auth_gen_unref(struct auth_gen **gen);
/* The mechanism of that name, or NULL when no module provides it. */
const struct cv_sasl_mech *auth_mech_find(const struct auth *auth, const char *name);
/* All mechanisms that auth_mechanisms names anywhere, each once, those at the top of the settings first: false at the end. *pos starts at 0. */
bool auth_mech_next(const struct auth *auth, size_t *pos, const struct cv_sasl_mech **mech_r);

/* ---- Requests (auth-request.c) ------------------------------------------------------------------------------- */

struct auth_request;

enum auth_answer_kind { AUTH_ANSWER_CHALLENGE = 1, AUTH_ANSWER_OK, AUTH_ANSWER_FAIL };
struct auth_answer {
	enum auth_answer_kind kind;
	struct cv_str challenge;
	/* FAIL: AUTH wrong, PERM disabled or refused, TEMP could not tell, INVALID malformed, LIMIT. text: absent, or may be shown to the client. */
	enum cv_err_code code;
	struct cv_str text;
	/* Look-ups: which of OK, NOUSER, DISABLED, TEMP it is. */
	enum cv_auth_result result;
	/* FAIL with PERM: the user logs in there, under that name; absent: nothing to tell. host has ":" and a port when it is a special one. */
	struct cv_str host, host_user;
};
/* Never called from within the functions below. After OK and FAIL the request is gone when this returns. */
typedef void auth_answer_fn(void *ctx, struct auth_request *request, const struct auth_answer *answer);

struct auth_request_spec {
	struct cv_str service, mech, session, remote, local, local_name, cert_user;
	uint32_t remote_port, local_port;
	bool secured, cert_valid;
	bool no_userdb;    /* of a login: the password is all that is asked (an MTA's) */
	bool no_penalty;   /* failures do not count against the address */
	bool no_delay;     /* … and are answered at once */
	auth_answer_fn *answer;
	void *ctx;
	uint64_t id;       /* the asker's */
};

/* A login with spec's mechanism; initial absent: none. Strings are copied. NULL when there are too many requests. */
struct auth_request *auth_login_begin(struct auth *auth, const struct auth_request_spec *spec, struct cv_str initial);
/* The client's answer to a challenge; -1 when none is awaited. */
CV_MUST_CHECK int auth_login_continue(struct auth_request *request, struct cv_str response);
/* Name and password as PLAIN would give them, without a mechanism. */
struct auth_request *auth_login_plain(struct auth *auth, const struct auth_request_spec *spec, struct cv_str user, struct cv_str password);
/* A user's record without a login. */
struct auth_request *auth_lookup_begin(struct auth *auth, const struct auth_request_spec *spec, struct cv_str user);
/* The asker is gone: no answer. */
void auth_request_abort(struct auth_request **request);
struct auth_request *auth_request_of_node(struct cv_node *node); /* of auth->requests */
uint64_t auth_request_id(const struct auth_request *request);
/* What is known of it; valid until it is answered. */
const struct cv_auth_request *auth_request_data(const struct auth_request *request);
/* Why a login failed, for administrators; "" when there is nothing to say. And the passdb that decided, or NULL. */
const char *auth_request_reason(const struct auth_request *request);
const char *auth_request_passdb(const struct auth_request *request);
/* The payload of USER_RECORD. */
void auth_request_put_record(const struct auth_request *request, enum cv_auth_result result, struct cv_str text, struct cv_buf *out);

/* ---- Ids of names (auth-ids.c) --------------------------------------------------------------------------------- */

struct auth_ids *auth_ids_new(struct cv_loop *loop);
void auth_ids_free(struct auth_ids **ids);
/* The numbers of the request's sysuid_name and sysgid_name. 1: there, 0: asked for, auth_userdbs_done follows, -1. */
CV_MUST_CHECK int auth_ids_resolve(struct auth_request *request, struct cv_err *err);

/* ---- All users (auth-list.c) ----------------------------------------------------------------------------------- */

struct auth_list;
/* Ask all userdbs that can for names that match mask (absent: all); each name once. user is called for each, end once at last (never from within auth_list_begin);
   err is NULL when all was listed. */
struct auth_list *auth_list_begin(struct auth *auth, struct cv_str mask, void (*user)(void *ctx, struct cv_str user),
	void (*end)(void *ctx, const struct cv_err *err), void *ctx);
void auth_list_abort(struct auth_list **list);

/* ---- Askers ---------------------------------------------------------------------------------------------------- */

struct auth_front;
struct auth_front *auth_front_new(struct auth *auth, int fd, void (*gone)(void *ctx, struct auth_front *front), void *ctx);
void auth_front_free(struct auth_front **front);
void auth_front_send_mechs(struct auth_front *front);

struct auth_spawner;
struct auth_spawner *auth_spawner_new(struct auth *auth, int fd, void (*gone)(void *ctx, struct auth_spawner *spawner), void *ctx);
void auth_spawner_free(struct auth_spawner **spawner);

/* The socket that Postfix and Exim ask (Dovecot's authentication protocol 1.2). */
struct auth_client_listener;
struct auth_client_listener *auth_client_listener_new(struct auth *auth, int fd);
void auth_client_listener_free(struct auth_client_listener **listener);
/* One connection over a stream that is there (tests). */
struct auth_client;
struct auth_client *auth_client_new(struct auth_client_listener *listener, struct cv_stream *stream);

/* Administrators' commands: user, auth test. */
CV_MUST_CHECK int auth_admin_provide(struct cv_registry *registry, struct cv_err *err);

#endif
