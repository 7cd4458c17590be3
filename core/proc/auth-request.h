/* SPDX-License-Identifier: MIT
   One authentication or look-up on its way: mechanism, password databases, user databases, hooks, answer. Private to auth-request.c, auth-result.c,
   auth-passdb.c and auth-userdb.c. */
#ifndef CV_PROC_AUTH_REQUEST_H
#define CV_PROC_AUTH_REQUEST_H

#include "core/proc/auth-private.h"

enum auth_state {
	AUTH_NEW,
	AUTH_PENALTY,  /* waits because its address failed before */
	AUTH_MECH,     /* the mechanism steps */
	AUTH_CLIENT,   /* waits for the client's response */
	AUTH_PASSDB,   /* a passdb is asked */
	AUTH_HASH,     /* a password is checked against what a passdb gave */
	AUTH_USERDB,   /* a userdb is asked */
	AUTH_LATER,    /* succeeds when delay_until has come */
	AUTH_FAILING,  /* the answer waits for auth_failure_delay */
	AUTH_DONE
};

/* What the passdbs are asked for. */
enum auth_passdb_mode {
	AUTH_VERIFY,      /* the password */
	AUTH_CREDENTIALS, /* what is stored, for a mechanism */
	AUTH_EXISTS       /* the user and fields, without a password */
};

struct auth_request {
	struct cv_auth_request r;
	struct auth *auth;
	struct auth_gen *gen;
	const struct cv_auth_settings *set; /* for this service and these addresses */
	struct cv_node node;
	enum auth_state state;
	struct cv_log_ctx log;
	auth_answer_fn *answer;
	void *ctx;
	uint64_t id;
	uint64_t started_ms;
	bool lookup;       /* no login */
	bool no_userdb, no_penalty, no_delay;
	bool nodelay;      /* a passdb's field */
	struct cv_timer *timer;
	struct auth_job *job;

	const struct cv_sasl_mech *mech;
	void *mech_state;
	struct cv_str initial;   /* response that waits for the end of the penalty */
	struct cv_str password;  /* of VERIFY */
	bool mech_lookup;        /* the mechanism waits for a stored credential */
	bool mech_proven;        /* … has ended well */
	bool proven;             /* the credentials are right */

	/* Password databases. */
	enum auth_passdb_mode mode;
	size_t passdb_index;
	struct auth_passdb *passdb; /* being asked, or the last that was */
	struct cv_map *passdb_saved; /* fields before it, to be put back when it fails */
	struct cv_str user_saved;
	bool master_phase;
	bool master_done;   /* a master was accepted */
	bool not_master;    /* none was: whether the one who wanted to be another is who he says is asked all the same, and then told */
	struct cv_str wanted; /* … whom he wanted to be */
	bool authenticated; /* "the present state" of result_* rules */
	bool skip_verify;   /* an earlier one has verified the password */
	bool temp_seen;
	bool user_seen;     /* some passdb knows the user */
	size_t asked;       /* passdbs that could answer */
	struct cv_str stored; /* of CREDENTIALS: the first found */
	enum cv_auth_result hash_result; /* what the outcome is when the hash matches */
	bool hash_dummy;    /* the hash is of another user: only its time counts */
	bool has_cache_key;
	bool from_cache;    /* the answer is a kept one */
	uint8_t cache_key[AUTH_CACHE_KEY];

	/* User databases. */
	size_t userdb_index;
	struct auth_userdb *userdb;
	struct cv_map *userdb_saved;
	struct cv_auth_request before; /* ids, home, mail, user before the userdb that is asked */
	bool found;
	bool userdb_temp_seen;
	bool exists_for_userdb; /* the passdbs are asked on behalf of a userdb that knows every name */

	enum cv_auth_result result; /* of a look-up */
	enum cv_err_code fail_code;
	struct cv_str host, host_user; /* where the user is to log in instead */
	struct cv_str fail_text;
	char reason[CV_ERR_TEXT_MAX];
	const char *decided_by;
};

void auth_set_state(struct auth_request *request, enum auth_state state);
/* What the log and administrators are told of a failure. */
void auth_reason(struct auth_request *request, const char *fmt, ...) CV_PRINTF(2, 3);
bool auth_is_verbose(const struct auth_request *request, unsigned of_database);
/* Map for fields that ends with the request's arena; copy of another one. */
struct cv_map *auth_fields_copy(struct auth_request *request, const struct cv_map *fields);
/* Call fn in that state, once, after so many milliseconds; another wait replaces it. */
void auth_wait_ms(struct auth_request *request, enum auth_state state, uint64_t ms, cv_timer_fn *fn);
/* The mechanism's next step. The request may be gone after it. */
void auth_step(struct auth_request *request, struct cv_str response);
/* The credentials are right: on to the user databases, or the end. */
void auth_proven(struct auth_request *request);
/* The request ends with this answer, now or after a delay. text: for the client; absent: what the code says. */
void auth_fail(struct auth_request *request, enum cv_err_code code, struct cv_str text);
/* The same for an error whose text is for the log, but where it is public. */
void auth_fail_err(struct auth_request *request, enum cv_err_code code, const struct cv_err *err);
void auth_request_free(struct auth_request *request);
/* Begin asking; ends in auth_passdbs_done. */
void auth_passdbs_begin(struct auth_request *request, enum auth_passdb_mode mode);
void auth_passdbs_done(struct auth_request *request, enum cv_auth_result result, const struct cv_err *err);
/* Begin asking; ends in auth_userdbs_done. */
void auth_userdbs_begin(struct auth_request *request);
void auth_userdbs_done(struct auth_request *request, enum cv_auth_result result, const struct cv_err *err);
/* The passdbs' answer to "does the user exist", for auth_userdbs. */
void auth_userdb_exists(struct auth_request *request, enum cv_auth_result result, const struct cv_err *err);

#endif
