/* SPDX-License-Identifier: MIT
   The life of an authentication: begin, names, steps of the mechanism. How it goes on with what databases say, and ends, is in auth-result.c. */
#include <config.h>

#include "core/proc/auth-request.h"

#include "core/proc/auth-user.h"
#include <culver/hooks.h>
#include <culver/time.h>

#include <stdio.h>

static const char *const state_names[] = {
	[AUTH_NEW] = "new",
	[AUTH_PENALTY] = "penalty",
	[AUTH_MECH] = "mechanism",
	[AUTH_CLIENT] = "client",
	[AUTH_PASSDB] = "passdb",
	[AUTH_HASH] = "hash",
	[AUTH_USERDB] = "userdb",
	[AUTH_LATER] = "later",
	[AUTH_FAILING] = "failing",
	[AUTH_DONE] = "done",
};

/* ---- Bits --------------------------------------------------------------------------------------------------- */

void auth_set_state(struct auth_request *request, enum auth_state state)
{
	if (request->state == state)
		return;
	cv_debug(&request->log, "%s -> %s", state_names[request->state], state_names[state]);
	request->state = state;
}

void auth_reason(struct auth_request *request, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(request->reason, sizeof(request->reason), fmt, ap);
	va_end(ap);
}

bool auth_is_verbose(const struct auth_request *request, unsigned of_database)
{
	return of_database == CV_AUTH_VERBOSE_YES || (of_database == CV_AUTH_VERBOSE_DEFAULT && request->set->auth_verbose);
}

static void free_map(void *ctx)
{
	struct cv_map *map = ctx;

	cv_map_free(&map);
}

struct cv_map *auth_fields_copy(struct auth_request *request, const struct cv_map *fields)
{
	struct cv_map *copy = cv_map_new();
	struct cv_str key;
	void *value;
	size_t pos = 0;

	while (fields != NULL && cv_map_next(fields, &pos, &key, &value))
		(void)cv_map_set(copy, key, value);
	cv_arena_cleanup(request->r.arena, free_map, copy);
	return copy;
}

/* ---- Begin and end ------------------------------------------------------------------------------------------- */

static const char *text_or_null(struct cv_arena *arena, struct cv_str s)
{
	return s.len > 0 ? cv_arena_cstr(arena, s) : NULL;
}

/* As [protocol], [local] and [remote] sections have them for this one. */
static const struct cv_auth_settings *settings_for(const struct auth_request *request)
{
	const struct cv_auth_request *r = &request->r;
	struct cv_conf_filter filter = { .protocol = text_or_null(r->arena, r->service), .local_name = r->local_name,
		.local_addr = text_or_null(r->arena, r->local), .remote_addr = text_or_null(r->arena, r->remote) };
	struct cv_err err = { 0 };
	const void *set = NULL;

	if (cv_conf_get_shared(request->gen->dbs->conf, &cv_auth_settings_table, &filter, r->arena, &set, &err) < 0)
		cv_fatal("settings that were checked cannot be read: %s", err.text);
	return set;
}

static struct auth_request *request_new(struct auth *auth, const struct auth_request_spec *spec)
{
	struct cv_arena *arena;
	struct auth_request *request;

	if (auth->request_count >= AUTH_REQUESTS_MAX)
		return NULL;
	arena = cv_arena_new("auth request", NULL, CV_ARENA_WIPE);
	request = cv_new(arena, struct auth_request, 1);
	request->r = (struct cv_auth_request){
		.arena = arena,
		.service = cv_arena_str(arena, spec->service),
		.mech = cv_arena_str(arena, spec->mech),
		.session = cv_arena_str(arena, spec->session),
		.remote = cv_arena_str(arena, spec->remote),
		.local = cv_arena_str(arena, spec->local),
		.local_name = cv_arena_str(arena, spec->local_name),
		.remote_port = spec->remote_port,
		.local_port = spec->local_port,
		.secured = spec->secured,
		.cert_valid = spec->cert_valid,
		.cert_user = cv_arena_str(arena, spec->cert_user),
		.conf = auth->gen->dbs->conf,
	};
	request->auth = auth;
	request->gen = auth_gen_ref(auth->gen);
	request->set = settings_for(request);
	request->answer = spec->answer;
	request->ctx = spec->ctx;
	request->id = spec->id;
	request->no_userdb = spec->no_userdb;
	request->no_delay = spec->no_delay;
	request->no_penalty = spec->no_penalty || spec->no_delay;
	request->started_ms = cv_loop_now_ms(auth->loop);
	request->log = (struct cv_log_ctx){ .category = "auth", .session = request->r.session, .remote = request->r.remote };
	cv_list_append(&auth->requests, &request->node);
	auth->request_count++;
	return request;
}

void auth_request_free(struct auth_request *request)
{
	struct cv_arena *arena = request->r.arena;

	request->auth->request_count--;
	cv_list_remove(&request->node);
	auth_job_cancel(&request->job);
	cv_timer_remove(&request->timer);
	auth_gen_unref(&request->gen);
	cv_arena_free(&arena);
}

void auth_request_abort(struct auth_request **request_p)
{
	struct auth_request *request = *request_p;

	*request_p = NULL;
	if (request != NULL)
		auth_request_free(request);
}

/* ---- Names -------------------------------------------------------------------------------------------------------- */

static bool normalise(struct auth_request *request, struct cv_str name, struct cv_str *user_r)
{
	struct cv_err err = { 0 };
	int ret = auth_user_normalise(request->set, &request->r, name, user_r, &err);

	if (ret == 1)
		return true;
	if (ret < 0)
		cv_error(&request->log, "%s", err.text);
	request->result = ret < 0 ? CV_AUTH_TEMP : CV_AUTH_NOUSER;
	auth_fail_err(request, ret < 0 ? CV_ERR_TEMP : request->lookup ? CV_ERR_NOTFOUND : CV_ERR_AUTH, &err);
	return false;
}

/* True when the login may go on. */
static bool begin_hook(struct auth_request *request)
{
	struct cv_hook_auth_begin args = { .request = &request->r };
	struct cv_err err = { 0 };

	switch (cv_hook_run_auth_begin(request->auth->registry, &args, &err)) {
	case CV_HOOK_DENY:
		auth_fail_err(request, CV_ERR_PERM, &err);
		return false;
	case CV_HOOK_ERROR:
		cv_error(&request->log, "hook auth_begin: %s", err.text);
		auth_fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
		return false;
	case CV_HOOK_PASS:
	case CV_HOOK_DONE:
		break;
	}
	return true;
}

/* What the mechanism said: user, and master_user when it was told two names. After it, user is who is authenticated, and login_user whom a master wants to be. */
static bool set_user(struct auth_request *request)
{
	struct cv_auth_request *r = &request->r;
	struct cv_str user = r->user, master = r->master_user;

	if (request->set->auth_ssl_username_from_cert) {
		if (!r->cert_valid || r->cert_user.len == 0) {
			auth_reason(request, "the client's certificate names no user (auth_ssl_username_from_cert)");
			auth_fail(request, CV_ERR_AUTH, (struct cv_str){ 0 });
			return false;
		}
		user = r->cert_user;
		master = (struct cv_str){ 0 };
	}
	r->orig_user = user;
	request->log.user = user;
	r->master_user = (struct cv_str){ 0 };
	if (master.ptr == NULL && !auth_user_split_master(request->set, user, &user, &master)) {
		if (!normalise(request, user, &r->user))
			return false;
	} else if (!normalise(request, user, &r->login_user) || !normalise(request, master, &r->user)) {
		return false;
	}
	/* Now that hooks can see who it is, and before any database is asked. */
	return begin_hook(request);
}

/* ---- Mechanism ------------------------------------------------------------------------------------------------------ */

static void on_client_timeout(void *ctx)
{
	struct auth_request *request = ctx;

	auth_reason(request, "the client did not answer");
	auth_fail(request, CV_ERR_INVALID, (struct cv_str){ 0 });
}

static void on_challenge(void *ctx)
{
	struct auth_request *request = ctx;
	struct auth_answer what = { .kind = AUTH_ANSWER_CHALLENGE, .challenge = request->initial };

	auth_wait_ms(request, AUTH_CLIENT, AUTH_CLIENT_TIMEOUT_MS, on_client_timeout);
	request->answer(request->ctx, request, &what);
}

void auth_step(struct auth_request *request, struct cv_str response)
{
	struct cv_str challenge = { 0 }, password = { 0 };
	struct cv_err err = { 0 };

	auth_set_state(request, AUTH_MECH);
	switch (request->mech->step(request->mech_state, &request->r, response, &challenge, &password, &err)) {
	case CV_SASL_CONTINUE:
		request->initial = cv_arena_str(request->r.arena, challenge);
		auth_wait_ms(request, AUTH_MECH, 0, on_challenge);
		break;
	case CV_SASL_VERIFY:
		request->password = password;
		if (set_user(request))
			auth_passdbs_begin(request, AUTH_VERIFY);
		break;
	case CV_SASL_LOOKUP:
		request->mech_lookup = true;
		if (set_user(request))
			auth_passdbs_begin(request, AUTH_CREDENTIALS);
		break;
	case CV_SASL_SUCCESS:
		if (request->stored.ptr != NULL) {
			auth_proven(request);
			break;
		}
		request->mech_proven = true;
		if (set_user(request))
			auth_passdbs_begin(request, AUTH_EXISTS);
		break;
	case CV_SASL_FAIL:
		if (err.code != CV_ERR_AUTH && err.code != CV_ERR_INVALID)
			cv_error(&request->log, "%s: %s", request->mech->name, err.text);
		auth_fail_err(request, err.code == CV_ERR_AUTH || err.code == CV_ERR_INVALID ? err.code : CV_ERR_TEMP, &err);
		break;
	}
}

static void on_begin(void *ctx)
{
	struct auth_request *request = ctx;

	/* From here on, so that the penalty comes on top. */
	request->started_ms = cv_loop_now_ms(request->auth->loop);
	if (request->set->auth_ssl_require_client_cert && !request->r.cert_valid) {
		auth_reason(request, "no valid client certificate (auth_ssl_require_client_cert)");
		auth_fail(request, CV_ERR_AUTH, (struct cv_str){ 0 });
		return;
	}
	if (request->mech != NULL) {
		request->mech_state = request->mech->start(&request->r);
		auth_step(request, request->initial);
	} else if (set_user(request)) {
		auth_passdbs_begin(request, AUTH_VERIFY);
	}
}

/* Of those that the settings for this login name. */
static const struct cv_sasl_mech *find_mech(const struct auth_request *request)
{
	for (size_t i = 0; request->set->auth_mechanisms[i] != NULL; i++)
		if (cv_str_caseeq_c(request->r.mech, request->set->auth_mechanisms[i]))
			return auth_mech_find(request->auth, request->set->auth_mechanisms[i]);
	return NULL;
}

static void on_unknown_mech(void *ctx)
{
	struct auth_request *request = ctx;

	auth_reason(request, "mechanism is not offered");
	auth_fail(request, CV_ERR_INVALID, (struct cv_str){ 0 });
}

static void begin(struct auth_request *request)
{
	uint64_t penalty = 0;

	if (!request->no_penalty)
		penalty = auth_delay_before(request->auth->delays, request->r.remote, request->set->auth_failure_delay);
	auth_wait_ms(request, penalty > 0 ? AUTH_PENALTY : AUTH_NEW, penalty, on_begin);
}

struct auth_request *auth_login_begin(struct auth *auth, const struct auth_request_spec *spec, struct cv_str initial)
{
	struct auth_request *request = request_new(auth, spec);

	if (request == NULL)
		return NULL;
	request->mech = find_mech(request);
	if (request->mech == NULL || initial.len > AUTH_RESPONSE_MAX) {
		auth_wait_ms(request, AUTH_NEW, 0, on_unknown_mech);
		return request;
	}
	request->r.mech = cv_str_c(request->mech->name);
	request->initial = cv_arena_str(request->r.arena, initial);
	begin(request);
	return request;
}

struct auth_request *auth_login_plain(struct auth *auth, const struct auth_request_spec *spec, struct cv_str user, struct cv_str password)
{
	struct auth_request *request = request_new(auth, spec);

	if (request == NULL)
		return NULL;
	request->r.mech = CV_STR("PLAIN");
	request->r.user = cv_arena_str(request->r.arena, user);
	request->password = cv_arena_str(request->r.arena, password);
	begin(request);
	return request;
}

int auth_login_continue(struct auth_request *request, struct cv_str response)
{
	if (request->state != AUTH_CLIENT || response.len > AUTH_RESPONSE_MAX)
		return -1;
	cv_timer_stop(request->timer);
	/* Empty is not absent: the client has answered. */
	auth_step(request, response.ptr == NULL ? CV_STR("") : cv_arena_str(request->r.arena, response));
	return 0;
}

static void on_lookup(void *ctx)
{
	struct auth_request *request = ctx;
	struct cv_str user = request->r.orig_user;

	request->log.user = user;
	if (normalise(request, user, &request->r.user))
		auth_userdbs_begin(request);
}

struct auth_request *auth_lookup_begin(struct auth *auth, const struct auth_request_spec *spec, struct cv_str user)
{
	struct auth_request *request = request_new(auth, spec);

	if (request == NULL)
		return NULL;
	request->lookup = true;
	request->r.userdb_only = true;
	request->r.orig_user = cv_arena_str(request->r.arena, user);
	auth_wait_ms(request, AUTH_NEW, 0, on_lookup);
	return request;
}

/* ---- What askers want to know ------------------------------------------------------------------------------------------- */

struct auth_request *auth_request_of_node(struct cv_node *node)
{
	return cv_container(node, struct auth_request, node);
}

uint64_t auth_request_id(const struct auth_request *request)
{
	return request->id;
}

const struct cv_auth_request *auth_request_data(const struct auth_request *request)
{
	return &request->r;
}

const char *auth_request_reason(const struct auth_request *request)
{
	return request->reason;
}

const char *auth_request_passdb(const struct auth_request *request)
{
	return request->decided_by;
}

void auth_request_put_record(const struct auth_request *request, enum cv_auth_result result, struct cv_str text, struct cv_buf *out)
{
	const struct cv_auth_request *r = &request->r;

	cv_put_u8(out, (uint8_t)result);
	cv_put_str(out, r->user);
	cv_put_u32(out, r->sysuid_set ? r->sysuid : UINT32_MAX);
	cv_put_u32(out, r->sysgid_set ? r->sysgid : UINT32_MAX);
	cv_put_str(out, r->home);
	cv_put_str(out, r->mail);
	cv_kv_put(out, r->fields);
	cv_put_str(out, text);
}
