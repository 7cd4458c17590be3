/* SPDX-License-Identifier: MIT
   The user databases of a request, one after the other, as Dovecot 2.3 asks them. */
#include <config.h>

#include "core/proc/auth-request.h"

#include "core/proc/auth-user.h"
#include <culver/reader.h>

static void run(struct auth_request *request);
static bool outcome(struct auth_request *request, enum cv_auth_result result, struct cv_err *err);

static int set_field(void *ctx, struct cv_str key, struct cv_str value, struct cv_err *err)
{
	return cv_auth_userdb_set(ctx, key, value, err);
}

/* ---- Before and after one database ----------------------------------------------------------------------------- */

static void save(struct auth_request *request)
{
	request->before = request->r;
	request->userdb_saved = auth_fields_copy(request, request->r.fields);
}

static void put_back(struct auth_request *request)
{
	request->r.user = request->before.user;
	request->r.sysuid = request->before.sysuid;
	request->r.sysgid = request->before.sysgid;
	request->r.sysuid_set = request->before.sysuid_set;
	request->r.sysgid_set = request->before.sysgid_set;
	request->r.sysuid_name = request->before.sysuid_name;
	request->r.sysgid_name = request->before.sysgid_name;
	request->r.home = request->before.home;
	request->r.mail = request->before.mail;
	request->r.fields = request->userdb_saved;
}

static void keep_answer(struct auth_request *request, enum cv_auth_result result)
{
	struct cv_buf value;

	if (!request->has_cache_key)
		return;
	if (result == CV_AUTH_NOUSER) {
		auth_cache_put(request->auth->cache, request->cache_key, CV_STR(""));
	} else if (result == CV_AUTH_OK) {
		cv_buf_init_wipe(&value, CV_IPC_MAX_PAYLOAD);
		cv_helper_put_results(&value, &request->r);
		if (cv_buf_ok(&value))
			auth_cache_put(request->auth->cache, request->cache_key, cv_buf_str(&value));
		cv_buf_deinit(&value);
	}
}

static bool take_answer(struct auth_request *request, bool expired, enum cv_auth_result *result_r)
{
	struct cv_str value;
	struct cv_reader r;

	if (!request->has_cache_key || !auth_cache_get(request->auth->cache, request->cache_key, expired, &value))
		return false;
	*result_r = value.len == 0 ? CV_AUTH_NOUSER : CV_AUTH_OK;
	r = cv_reader_init(value);
	return value.len == 0 || cv_helper_take_results(&r, &request->r);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static bool answered(struct auth_request *request, enum cv_auth_result result, struct cv_err *err)
{
	if (result == CV_AUTH_TEMP) {
		cv_error(&request->log, "userdb %s: %s", request->userdb->name, err->text);
		if (take_answer(request, true, &result))
			cv_warn(&request->log, "userdb %s: its last answer is used instead", request->userdb->name);
	} else {
		keep_answer(request, result);
	}
	return outcome(request, result, err);
}

static void on_answer(void *ctx, const struct auth_job_answer *answer)
{
	struct auth_request *request = ctx;
	struct cv_err err = *answer->err;

	request->job = NULL;
	if (answer->results != NULL)
		cv_helper_copy_results(answer->results, &request->r);
	if (answered(request, answer->result, &err))
		run(request);
}

/* True: go on with the next one. */
static bool ask_one(struct auth_request *request)
{
	struct auth_userdb *db = request->userdb;
	struct auth_job_spec spec = {
		.kind = db->root ? CV_HELPER_ROOT : CV_HELPER_PLAIN,
		.op = CV_HELPER_USERDB_LOOKUP,
		.database = db->name,
		.default_scheme = "PLAIN",
		.request = &request->r,
		.done = on_answer,
		.ctx = request,
	};
	enum cv_auth_result result;
	struct cv_err err = { 0 };

	save(request);
	if (cv_auth_fields_each(&request->r, db->set->default_fields, set_field, &request->r, &err) < 0) {
		(void)cv_err_context(&err, "default_fields");
		return answered(request, CV_AUTH_TEMP, &err);
	}
	request->has_cache_key = db->cached && auth_cache_key(request->auth->cache, 'u', db->name, &request->r, request->cache_key);
	if (take_answer(request, false, &result))
		return outcome(request, result, &err);
	auth_set_state(request, AUTH_USERDB);
	if (!db->helper)
		return answered(request, db->impl->lookup(db->db, &request->r, &err), &err);
	if (request->auth->pool == NULL) {
		(void)cv_err_set(&err, CV_ERR_INTERNAL, "there are no helper processes");
		return answered(request, CV_AUTH_TEMP, &err);
	}
	request->job = auth_pool_submit(request->auth->pool, &spec);
	return false;
}

static bool applies(const struct auth_request *request, const struct auth_userdb *db)
{
	if (db->set->skip == CV_USERDB_SKIP_FOUND)
		return !request->found;
	return db->set->skip != CV_USERDB_SKIP_NOTFOUND || request->found;
}

static void run(struct auth_request *request)
{
	struct auth_dbs *dbs = request->gen->dbs;

	while (request->userdb_index < dbs->userdb_count) {
		struct auth_userdb *db = &dbs->userdbs[request->userdb_index++];

		if (!applies(request, db))
			continue;
		request->userdb = db;
		if (!ask_one(request))
			return;
	}
	if (request->found)
		auth_userdbs_done(request, CV_AUTH_OK, NULL);
	else
		auth_userdbs_done(request, request->userdb_temp_seen ? CV_AUTH_TEMP : CV_AUTH_NOUSER, NULL);
}

/* ---- What follows -------------------------------------------------------------------------------------------------- */

static int apply_fields(struct auth_request *request, struct cv_err *err)
{
	struct cv_auth_request *r = &request->r;
	const char *user;

	if (cv_auth_fields_each(r, request->userdb->set->override_fields, set_field, r, err) < 0)
		return cv_err_context(err, "override_fields");
	user = cv_auth_field(r, "user");
	if (user != NULL) {
		r->user = cv_arena_str(r->arena, cv_str_c(user));
		cv_auth_field_remove(r, CV_STR("user"));
	}
	if (!auth_user_is_safe(r->user))
		return cv_err_set(err, CV_ERR_INVALID, "%s is no name for a user", cv_log_clean(r->user));
	request->log.user = r->user;
	return 0;
}

static void follow(struct auth_request *request, unsigned rule)
{
	switch ((enum cv_auth_rule)rule) {
	case CV_RULE_RETURN_OK:
		request->found = true;
		request->userdb_index = SIZE_MAX;
		break;
	case CV_RULE_RETURN:
		request->userdb_index = SIZE_MAX;
		break;
	case CV_RULE_RETURN_FAIL:
		request->found = false;
		request->userdb_index = SIZE_MAX;
		break;
	case CV_RULE_CONTINUE:
		break;
	case CV_RULE_CONTINUE_OK:
		request->found = true;
		break;
	case CV_RULE_CONTINUE_FAIL:
		request->found = false;
		break;
	}
}

/* A database that answers for every name: without a login, someone else has to know the user. */
static bool must_exist(const struct auth_request *request)
{
	return request->lookup && (request->userdb->impl->opts & CV_AUTHDB_ANY_USER) != 0 && !request->exists_for_userdb &&
		cv_auth_field(&request->r, "allow_all_users") == NULL;
}

static bool outcome(struct auth_request *request, enum cv_auth_result result, struct cv_err *err)
{
	const struct cv_userdb_settings *set = request->userdb->set;
	unsigned rule = set->result_failure;

	if (result == CV_AUTH_OK && must_exist(request)) {
		/* The passdbs work on fields of their own. */
		request->r.passdb_fields = request->r.fields;
		request->r.fields = NULL;
		request->exists_for_userdb = true;
		auth_passdbs_begin(request, AUTH_EXISTS);
		return false;
	}
	request->exists_for_userdb = false;
	if (result == CV_AUTH_OK && apply_fields(request, err) < 0) {
		cv_error(&request->log, "userdb %s: %s", request->userdb->name, err->text);
		result = CV_AUTH_TEMP;
	}
	if (auth_is_verbose(request, set->auth_verbose) && result != CV_AUTH_OK)
		cv_info(&request->log, "userdb %s: %s", request->userdb->name, err->code != CV_ERR_NONE ? err->text : "unknown user");
	if (result != CV_AUTH_OK) {
		auth_reason(request, "%s: %s", request->userdb->name, err->code != CV_ERR_NONE ? err->text : "unknown user");
		put_back(request);
	}
	switch (result) {
	case CV_AUTH_OK:
		rule = set->result_success;
		break;
	case CV_AUTH_TEMP:
		request->userdb_temp_seen = true;
		rule = set->result_internalfail;
		break;
	case CV_AUTH_DISABLED:
		auth_userdbs_done(request, result, err);
		return false;
	case CV_AUTH_NOUSER:
	case CV_AUTH_MISMATCH:
		break;
	}
	follow(request, rule);
	return true;
}

void auth_userdb_exists(struct auth_request *request, enum cv_auth_result result, const struct cv_err *err)
{
	struct cv_str user = request->r.user;
	struct cv_err why = { 0 };
	bool more;

	/* What the passdb said in fields is not asked for here. */
	request->r.fields = request->r.passdb_fields;
	request->r.passdb_fields = NULL;
	if (err != NULL)
		why = *err;
	if (request->asked == 0) {
		(void)cv_err_set(&why, CV_ERR_INVALID, "whether the user exists cannot be found out: no passdb can be asked without a password. Use another "
			"userdb, or put allow_all_users=yes into its args.");
		cv_error(&request->log, "userdb %s: %s", request->userdb->name, why.text);
		result = CV_AUTH_TEMP;
	} else if (result != CV_AUTH_TEMP && result != CV_AUTH_OK) {
		result = CV_AUTH_NOUSER;
	}
	if (result == CV_AUTH_OK && !cv_str_eq(user, request->before.user)) {
		/* The passdb has another name for the user: the template is filled with that one, as after a login. */
		put_back(request);
		request->r.user = user;
		more = ask_one(request);
	} else {
		request->r.user = request->before.user;
		more = outcome(request, result, &why);
	}
	if (more)
		run(request);
}

static void seed(struct auth_request *request)
{
	struct cv_auth_request *r = &request->r;
	const struct cv_map *passdb_fields = r->passdb_fields;
	struct cv_err err = { 0 };
	struct cv_str key;
	void *value;
	size_t pos = 0;

	while (passdb_fields != NULL && cv_map_next(passdb_fields, &pos, &key, &value)) {
		if (!cv_str_starts(key, CV_STR("userdb_")))
			continue;
		if (cv_auth_userdb_set(r, cv_str_sub(key, 7, SIZE_MAX), cv_str_c(value), &err) < 0) {
			cv_error(&request->log, "field %s of a passdb: %s", cv_log_clean(key), err.text);
			request->userdb_temp_seen = true;
		}
	}
}

void auth_userdbs_begin(struct auth_request *request)
{
	request->userdb_index = 0;
	request->found = request->userdb_temp_seen = false;
	if (!request->lookup) {
		request->r.passdb_fields = request->r.fields;
		if (request->r.passdb_fields == NULL)
			request->r.passdb_fields = auth_fields_copy(request, NULL);
		request->r.fields = NULL;
		seed(request);
		if (request->userdb_temp_seen) {
			auth_userdbs_done(request, CV_AUTH_TEMP, NULL);
			return;
		}
	}
	run(request);
}
