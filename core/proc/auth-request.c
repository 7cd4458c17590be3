/* SPDX-License-Identifier: MIT
   The life of an authentication: begin, steps of the mechanism, databases, hooks, the one answer. */
#include <config.h>

#include "core/proc/auth-request.h"

#include "core/proc/auth-user.h"
#include <culver/hooks.h>
#include <culver/time.h>

#include <stdio.h>

#define DELAY_UNTIL_MAX_SEC 300

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

static void step(struct auth_request *request, struct cv_str response);
static void fail(struct auth_request *request, enum cv_err_code code, struct cv_str text);

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

static struct cv_str copy(struct cv_arena *arena, struct cv_str s)
{
	return s.ptr == NULL ? s : cv_arena_str(arena, s);
}

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
		.service = copy(arena, spec->service),
		.mech = copy(arena, spec->mech),
		.session = copy(arena, spec->session),
		.remote = copy(arena, spec->remote),
		.local = copy(arena, spec->local),
		.local_name = copy(arena, spec->local_name),
		.remote_port = spec->remote_port,
		.local_port = spec->local_port,
		.secured = spec->secured,
		.cert_valid = spec->cert_valid,
		.cert_user = copy(arena, spec->cert_user),
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

static void request_free(struct auth_request *request)
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
		request_free(request);
}

static void wait_ms(struct auth_request *request, enum auth_state state, uint64_t ms, cv_timer_fn *fn)
{
	auth_set_state(request, state);
	cv_timer_remove(&request->timer);
	request->timer = cv_timer_add(request->auth->loop, ms, fn, request);
}

/* The one answer; the request is gone after it. */
static void answer(struct auth_request *request, const struct auth_answer *what)
{
	auth_set_state(request, AUTH_DONE);
	request->answer(request->ctx, request, what);
	request_free(request);
}

static void tell_result(struct auth_request *request, bool success, bool temporary)
{
	struct cv_hook_auth_result args = { .request = &request->r, .success = success, .temporary = temporary };
	struct cv_err err = { 0 };

	if (cv_hook_run_auth_result(request->auth->registry, &args, &err) == CV_HOOK_ERROR)
		cv_error(&request->log, "hook auth_result: %s", err.text);
}

/* ---- Failure -------------------------------------------------------------------------------------------------- */

static void answer_failure(struct auth_request *request)
{
	struct auth_answer what = {
		.kind = AUTH_ANSWER_FAIL, .code = request->fail_code, .text = request->fail_text, .result = request->result,
		.host = request->host, .host_user = request->host_user
	};

	answer(request, &what);
}

static void on_failure_due(void *ctx)
{
	answer_failure(ctx);
}

static bool is_temporary(enum cv_err_code code)
{
	return code != CV_ERR_AUTH && code != CV_ERR_PERM && code != CV_ERR_INVALID && code != CV_ERR_EXPIRED && code != CV_ERR_AUTHZ;
}

static const char *code_word(enum cv_err_code code)
{
	switch ((int)code) {
	case CV_ERR_AUTH:
		return "refused";
	case CV_ERR_INVALID:
		return "malformed";
	case CV_ERR_PERM:
	case CV_ERR_AUTHZ:
		return "not allowed";
	case CV_ERR_EXPIRED:
		return "expired";
	default:
		return "temporary failure";
	}
}

/* text: absent, or for the client. The answer comes when it has been long enough since the request came, whatever took how long. */
static void fail(struct auth_request *request, enum cv_err_code code, struct cv_str text)
{
	bool temporary;
	uint64_t delay = request->set->auth_failure_delay, passed = cv_loop_now_ms(request->auth->loop) - request->started_ms;

	/* A master that is who he says, and can't be whom he wants to be. */
	if (code == CV_ERR_AUTH && request->master_done && (request->proven || request->mode != AUTH_CREDENTIALS))
		code = CV_ERR_AUTHZ;
	temporary = is_temporary(code);
	request->fail_code = code;
	request->fail_text = copy(request->r.arena, text);
	if (request->lookup) {
		wait_ms(request, AUTH_FAILING, 0, on_failure_due);
		return;
	}
	tell_result(request, false, temporary);
	/* One line a failure, in this form: log watchers count them by remote=. */
	cv_info(&request->log, "login failed: %s service=%s mech=%s%s%s", code_word(code), cv_log_clean(request->r.service),
		cv_log_clean(request->r.mech), request->reason[0] != '\0' ? " reason=" : "",
		request->reason[0] != '\0' ? cv_log_clean(cv_str_c(request->reason)) : "");
	if (temporary)
		request->auth->temporaries++;
	else
		request->auth->failures++;
	if (temporary || request->no_delay || request->nodelay)
		delay = 0;
	else if (code == CV_ERR_AUTH && !request->no_penalty)
		auth_delay_failed(request->auth->delays, request->r.remote, request->r.orig_user, request->password);
	wait_ms(request, AUTH_FAILING, delay > passed ? delay - passed : 0, on_failure_due);
}

static void fail_err(struct auth_request *request, enum cv_err_code code, const struct cv_err *err)
{
	if (err->code != CV_ERR_NONE)
		auth_reason(request, "%s", err->text);
	fail(request, code, err->public_text ? cv_str_c(err->text) : (struct cv_str){ 0 });
}

/* ---- Success --------------------------------------------------------------------------------------------------- */

static void answer_success(struct auth_request *request)
{
	struct auth_answer what = { .kind = AUTH_ANSWER_OK, .result = CV_AUTH_OK };

	answer(request, &what);
}

static void on_success_due(void *ctx)
{
	answer_success(ctx);
}

/* "<seconds since 1970>[+<at most so many more>]": ms from now, or -1 when it is not to be taken. */
static int64_t delay_until_ms(const char *text)
{
	struct cv_str at, more;
	uint64_t sec, spread = 0;
	int64_t now = cv_time_now_sec(), wait;

	(void)cv_str_split(cv_str_c(text), '+', &at, &more);
	if (!cv_str_to_u64(at, INT64_MAX, &sec) || (more.ptr != NULL && !cv_str_to_u64(more, DELAY_UNTIL_MAX_SEC, &spread)))
		return -1;
	wait = (int64_t)sec - now;
	if (wait > DELAY_UNTIL_MAX_SEC)
		return -1;
	if (wait <= 0)
		return 0;
	wait *= 1000;
	if (spread > 0) {
		uint32_t random;

		cv_random(&random, sizeof(random));
		wait += (int64_t)(random % (spread * 1000));
	}
	return wait;
}

static void succeed(struct auth_request *request)
{
	struct cv_hook_auth_success args = { .request = &request->r };
	const struct cv_map *passdb_fields = request->r.passdb_fields != NULL ? request->r.passdb_fields : request->r.fields;
	const char *until = passdb_fields == NULL ? NULL : cv_map_get(passdb_fields, CV_STR("delay_until"));
	struct cv_err err = { 0 };
	int64_t wait = 0;

	if (request->lookup) {
		request->result = CV_AUTH_OK;
		wait_ms(request, AUTH_LATER, 0, on_success_due);
		return;
	}
	if (until != NULL) {
		wait = delay_until_ms(until);
		if (wait < 0) {
			cv_error(&request->log, "field delay_until: %s is no time within the next %d seconds", cv_log_clean(cv_str_c(until)),
				DELAY_UNTIL_MAX_SEC);
			fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
			return;
		}
	}
	switch (cv_hook_run_auth_success(request->auth->registry, &args, &err)) {
	case CV_HOOK_DENY:
		fail_err(request, CV_ERR_PERM, &err);
		return;
	case CV_HOOK_ERROR:
		cv_error(&request->log, "hook auth_success: %s", err.text);
		fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
		return;
	case CV_HOOK_PASS:
	case CV_HOOK_DONE:
		break;
	}
	auth_delay_succeeded(request->auth->delays, request->r.remote);
	request->auth->successes++;
	tell_result(request, true, false);
	if (auth_is_verbose(request, CV_AUTH_VERBOSE_DEFAULT))
		cv_info(&request->log, "authenticated service=%s mech=%s", cv_log_clean(request->r.service), cv_log_clean(request->r.mech));
	else
		cv_debug(&request->log, "authenticated");
	/* Not from within the call that began it. */
	wait_ms(request, AUTH_LATER, (uint64_t)wait, on_success_due);
}

/* ---- User databases ---------------------------------------------------------------------------------------------- */

/* A system account that must not own mail. Without a uid the server's mail_uid will be taken. */
static bool ids_ok(const struct auth_request *request, struct cv_err *err)
{
	const struct auth_gen *gen = request->gen;
	const struct cv_auth_request *r = &request->r;

	if (r->sysuid_set && (r->sysuid < gen->first_valid_uid || (gen->last_valid_uid != 0 && r->sysuid > gen->last_valid_uid)))
		return cv_err_set(err, CV_ERR_PERM, "uid %u is not within first_valid_uid and last_valid_uid", r->sysuid) == 0;
	if (r->sysgid_set && (r->sysgid < gen->first_valid_gid || (gen->last_valid_gid != 0 && r->sysgid > gen->last_valid_gid)))
		return cv_err_set(err, CV_ERR_PERM, "gid %u is not within first_valid_gid and last_valid_gid", r->sysgid) == 0;
	return true;
}

void auth_userdbs_done(struct auth_request *request, enum cv_auth_result result, const struct cv_err *err)
{
	struct cv_err why = { 0 };

	if (err != NULL)
		why = *err;
	request->result = result;
	if (result == CV_AUTH_OK && cv_auth_field(&request->r, "chroot") != NULL) {
		(void)cv_err_set(&why, CV_ERR_UNSUPPORTED, "the field chroot is not supported: workers are confined without it");
		cv_error(&request->log, "%s", why.text);
		request->result = result = CV_AUTH_TEMP;
	}
	if (result == CV_AUTH_OK) {
		int ids = auth_ids_resolve(request, &why);
		if (ids == 0)
			return;
		if (ids < 0) {
			cv_error(&request->log, "fields uid and gid: %s", why.text);
			request->result = result = CV_AUTH_TEMP;
		}
	}
	if (result == CV_AUTH_OK && !ids_ok(request, &why)) {
		cv_warn(&request->log, "%s", why.text);
		request->result = result = CV_AUTH_DISABLED;
	}
	switch (result) {
	case CV_AUTH_OK:
		succeed(request);
		break;
	case CV_AUTH_NOUSER:
	case CV_AUTH_MISMATCH:
		if (request->lookup) {
			fail_err(request, CV_ERR_NOTFOUND, &why);
			break;
		}
		/* Who has proven a password exists: that no userdb knows him is an administrator's slip, not his. */
		cv_error(&request->log, "authenticated, but no userdb knows the user");
		fail_err(request, CV_ERR_TEMP, &why);
		break;
	case CV_AUTH_DISABLED:
		fail_err(request, CV_ERR_PERM, &why);
		break;
	case CV_AUTH_TEMP:
		fail_err(request, CV_ERR_TEMP, &why);
		break;
	}
}

/* ---- Password databases ------------------------------------------------------------------------------------------- */

static bool is_host(const char *host)
{
	for (const char *c = host; *c != '\0'; c++)
		if (!cv_is_alnum(*c) && strchr("-.:[]", *c) == NULL)
			return false;
	return *host != '\0';
}

/* Fields nologin and host, with port and destuser: the user's mail is on another server. False: they cannot be understood. */
static bool take_referral(struct auth_request *request)
{
	const char *host = cv_auth_field(&request->r, "host"), *port = cv_auth_field(&request->r, "port");
	const char *user = cv_auth_field(&request->r, "destuser");
	uint32_t number;

	if (host == NULL)
		return true;
	if (!is_host(host) || (port != NULL && !cv_str_to_u32(cv_str_c(port), 65535, &number))) {
		cv_error(&request->log, "field host or port is wrong: \"%s\"", cv_log_clean(cv_str_c(host)));
		return false;
	}
	request->host = cv_str_c(port != NULL ? cv_arena_printf(request->r.arena, "%s:%s", host, port) : host);
	request->host_user = user != NULL ? cv_str_c(user) : request->r.user;
	return true;
}

/* Fields of a proven user that refuse the login, or that this server can't honour. */
static bool login_allowed(struct auth_request *request)
{
	static const char *const proxying[] = { "proxy", "proxy_maybe", "host" };
	bool refers = cv_auth_field(&request->r, "nologin") != NULL;
	const char *text;

	for (size_t i = 0; i < CV_COUNT_OF(proxying); i++) {
		if (cv_auth_field(&request->r, proxying[i]) == NULL || (refers && strcmp(proxying[i], "host") == 0))
			continue;
		cv_error(&request->log, "field %s: logins cannot be handed to another server", proxying[i]);
		auth_reason(request, "field %s is not supported", proxying[i]);
		fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
		return false;
	}
	if (!refers)
		return true;
	text = cv_auth_field(&request->r, "reason");
	auth_reason(request, "field nologin");
	if (!take_referral(request)) {
		fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
		return false;
	}
	if (request->host.len > 0)
		auth_reason(request, "referred to %s", cv_log_clean(request->host));
	fail(request, CV_ERR_PERM, text != NULL ? cv_str_c(text) :
			request->host.len > 0   ? CV_STR("Log in at the other server instead.") :
						  CV_STR("Login is not allowed now."));
	return false;
}

static void proven(struct auth_request *request)
{
	request->proven = true;
	if (request->not_master) {
		auth_reason(request, "no master, and may not be %s", cv_log_clean(request->wanted));
		fail(request, CV_ERR_AUTHZ, (struct cv_str){ 0 });
		return;
	}
	if (!login_allowed(request))
		return;
	if (request->no_userdb)
		succeed(request);
	else
		auth_userdbs_begin(request);
}

static enum cv_err_code disabled_code(const struct cv_err *why)
{
	return why->code == CV_ERR_EXPIRED ? CV_ERR_EXPIRED : CV_ERR_PERM;
}

void auth_passdbs_done(struct auth_request *request, enum cv_auth_result result, const struct cv_err *err)
{
	struct cv_err why = { 0 };

	if (request->exists_for_userdb) {
		auth_userdb_exists(request, result, err);
		return;
	}
	if (err != NULL)
		why = *err;
	request->log.user = request->r.user;
	if (request->mech_lookup) {
		request->mech_lookup = false;
		if (result == CV_AUTH_TEMP || result == CV_AUTH_DISABLED) {
			fail_err(request, result == CV_AUTH_TEMP ? CV_ERR_TEMP : disabled_code(&why), &why);
			return;
		}
		/* An unknown user goes through the motions as a known one does. */
		step(request, result == CV_AUTH_OK ? request->stored : (struct cv_str){ 0 });
		return;
	}
	/* Proven by a certificate, and no passdb can say anything without a password: the userdbs decide whether there is such a user. */
	if (request->mech_proven && result == CV_AUTH_NOUSER && request->asked == 0 && !request->master_phase)
		result = CV_AUTH_OK;
	request->result = result;
	switch (result) {
	case CV_AUTH_OK:
		proven(request);
		break;
	case CV_AUTH_NOUSER:
	case CV_AUTH_MISMATCH:
		/* What a database wants the client to know (a one-time password's challenge), else nothing. */
		fail_err(request, CV_ERR_AUTH, &why);
		break;
	case CV_AUTH_DISABLED:
		fail_err(request, disabled_code(&why), &why);
		break;
	case CV_AUTH_TEMP:
		fail_err(request, CV_ERR_TEMP, &why);
		break;
	}
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
	fail_err(request, ret < 0 ? CV_ERR_TEMP : request->lookup ? CV_ERR_NOTFOUND : CV_ERR_AUTH, &err);
	return false;
}

/* True when the login may go on. */
static bool begin_hook(struct auth_request *request)
{
	struct cv_hook_auth_begin args = { .request = &request->r };
	struct cv_err err = { 0 };

	switch (cv_hook_run_auth_begin(request->auth->registry, &args, &err)) {
	case CV_HOOK_DENY:
		fail_err(request, CV_ERR_PERM, &err);
		return false;
	case CV_HOOK_ERROR:
		cv_error(&request->log, "hook auth_begin: %s", err.text);
		fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
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
			fail(request, CV_ERR_AUTH, (struct cv_str){ 0 });
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
	fail(request, CV_ERR_INVALID, (struct cv_str){ 0 });
}

static void on_challenge(void *ctx)
{
	struct auth_request *request = ctx;
	struct auth_answer what = { .kind = AUTH_ANSWER_CHALLENGE, .challenge = request->initial };

	wait_ms(request, AUTH_CLIENT, AUTH_CLIENT_TIMEOUT_MS, on_client_timeout);
	request->answer(request->ctx, request, &what);
}

static void step(struct auth_request *request, struct cv_str response)
{
	struct cv_str challenge = { 0 }, password = { 0 };
	struct cv_err err = { 0 };

	auth_set_state(request, AUTH_MECH);
	switch (request->mech->step(request->mech_state, &request->r, response, &challenge, &password, &err)) {
	case CV_SASL_CONTINUE:
		request->initial = copy(request->r.arena, challenge);
		wait_ms(request, AUTH_MECH, 0, on_challenge);
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
			proven(request);
			break;
		}
		request->mech_proven = true;
		if (set_user(request))
			auth_passdbs_begin(request, AUTH_EXISTS);
		break;
	case CV_SASL_FAIL:
		if (err.code != CV_ERR_AUTH && err.code != CV_ERR_INVALID)
			cv_error(&request->log, "%s: %s", request->mech->name, err.text);
		fail_err(request, err.code == CV_ERR_AUTH || err.code == CV_ERR_INVALID ? err.code : CV_ERR_TEMP, &err);
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
		fail(request, CV_ERR_AUTH, (struct cv_str){ 0 });
		return;
	}
	if (request->mech != NULL) {
		request->mech_state = request->mech->start(&request->r);
		step(request, request->initial);
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
	fail(request, CV_ERR_INVALID, (struct cv_str){ 0 });
}

static void begin(struct auth_request *request)
{
	uint64_t penalty = 0;

	if (!request->no_penalty)
		penalty = auth_delay_before(request->auth->delays, request->r.remote, request->set->auth_failure_delay);
	wait_ms(request, penalty > 0 ? AUTH_PENALTY : AUTH_NEW, penalty, on_begin);
}

struct auth_request *auth_login_begin(struct auth *auth, const struct auth_request_spec *spec, struct cv_str initial)
{
	struct auth_request *request = request_new(auth, spec);

	if (request == NULL)
		return NULL;
	request->mech = find_mech(request);
	if (request->mech == NULL || initial.len > AUTH_RESPONSE_MAX) {
		wait_ms(request, AUTH_NEW, 0, on_unknown_mech);
		return request;
	}
	request->r.mech = cv_str_c(request->mech->name);
	request->initial = copy(request->r.arena, initial);
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
	step(request, response.ptr == NULL ? CV_STR("") : copy(request->r.arena, response));
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
	wait_ms(request, AUTH_NEW, 0, on_lookup);
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
