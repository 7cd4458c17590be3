/* SPDX-License-Identifier: MIT
   What comes of what mechanism and databases say: the next of them, failure or success, hooks, the one answer. */
#include <config.h>

#include "core/proc/auth-request.h"

#include "core/proc/auth-user.h"
#include <culver/hooks.h>
#include <culver/time.h>

#define DELAY_UNTIL_MAX_SEC 300

void auth_wait_ms(struct auth_request *request, enum auth_state state, uint64_t ms, cv_timer_fn *fn)
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
	auth_request_free(request);
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
void auth_fail(struct auth_request *request, enum cv_err_code code, struct cv_str text)
{
	bool temporary;
	uint64_t delay = request->set->auth_failure_delay, passed = cv_loop_now_ms(request->auth->loop) - request->started_ms;

	/* A master that is who he says, and can't be whom he wants to be. */
	if (code == CV_ERR_AUTH && request->master_done && (request->proven || request->mode != AUTH_CREDENTIALS))
		code = CV_ERR_AUTHZ;
	temporary = is_temporary(code);
	request->fail_code = code;
	request->fail_text = cv_arena_str(request->r.arena, text);
	if (request->lookup) {
		auth_wait_ms(request, AUTH_FAILING, 0, on_failure_due);
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
	auth_wait_ms(request, AUTH_FAILING, delay > passed ? delay - passed : 0, on_failure_due);
}

void auth_fail_err(struct auth_request *request, enum cv_err_code code, const struct cv_err *err)
{
	if (err->code != CV_ERR_NONE)
		auth_reason(request, "%s", err->text);
	auth_fail(request, code, err->public_text ? cv_str_c(err->text) : (struct cv_str){ 0 });
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
		auth_wait_ms(request, AUTH_LATER, 0, on_success_due);
		return;
	}
	if (until != NULL) {
		wait = delay_until_ms(until);
		if (wait < 0) {
			cv_error(&request->log, "field delay_until: %s is no time within the next %d seconds", cv_log_clean(cv_str_c(until)),
				DELAY_UNTIL_MAX_SEC);
			auth_fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
			return;
		}
	}
	switch (cv_hook_run_auth_success(request->auth->registry, &args, &err)) {
	case CV_HOOK_DENY:
		auth_fail_err(request, CV_ERR_PERM, &err);
		return;
	case CV_HOOK_ERROR:
		cv_error(&request->log, "hook auth_success: %s", err.text);
		auth_fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
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
	auth_wait_ms(request, AUTH_LATER, (uint64_t)wait, on_success_due);
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
			auth_fail_err(request, CV_ERR_NOTFOUND, &why);
			break;
		}
		/* Who has proven a password exists: that no userdb knows him is an administrator's slip, not his. */
		cv_error(&request->log, "authenticated, but no userdb knows the user");
		auth_fail_err(request, CV_ERR_TEMP, &why);
		break;
	case CV_AUTH_DISABLED:
		auth_fail_err(request, CV_ERR_PERM, &why);
		break;
	case CV_AUTH_TEMP:
		auth_fail_err(request, CV_ERR_TEMP, &why);
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
		auth_fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
		return false;
	}
	if (!refers)
		return true;
	text = cv_auth_field(&request->r, "reason");
	auth_reason(request, "field nologin");
	if (!take_referral(request)) {
		auth_fail(request, CV_ERR_TEMP, (struct cv_str){ 0 });
		return false;
	}
	if (request->host.len > 0)
		auth_reason(request, "referred to %s", cv_log_clean(request->host));
	auth_fail(request, CV_ERR_PERM, text != NULL ? cv_str_c(text) :
			request->host.len > 0   ? CV_STR("Log in at the other server instead.") :
						  CV_STR("Login is not allowed now."));
	return false;
}

void auth_proven(struct auth_request *request)
{
	request->proven = true;
	if (request->not_master) {
		auth_reason(request, "no master, and may not be %s", cv_log_clean(request->wanted));
		auth_fail(request, CV_ERR_AUTHZ, (struct cv_str){ 0 });
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
			auth_fail_err(request, result == CV_AUTH_TEMP ? CV_ERR_TEMP : disabled_code(&why), &why);
			return;
		}
		/* An unknown user goes through the motions as a known one does. */
		auth_step(request, result == CV_AUTH_OK ? request->stored : (struct cv_str){ 0 });
		return;
	}
	/* Proven by a certificate, and no passdb can say anything without a password: the userdbs decide whether there is such a user. */
	if (request->mech_proven && result == CV_AUTH_NOUSER && request->asked == 0 && !request->master_phase)
		result = CV_AUTH_OK;
	request->result = result;
	switch (result) {
	case CV_AUTH_OK:
		auth_proven(request);
		break;
	case CV_AUTH_NOUSER:
	case CV_AUTH_MISMATCH:
		/* What a database wants the client to know (a one-time password's challenge), else nothing. */
		auth_fail_err(request, CV_ERR_AUTH, &why);
		break;
	case CV_AUTH_DISABLED:
		auth_fail_err(request, disabled_code(&why), &why);
		break;
	case CV_AUTH_TEMP:
		auth_fail_err(request, CV_ERR_TEMP, &why);
		break;
	}
}
