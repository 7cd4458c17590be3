/* SPDX-License-Identifier: MIT
   The password databases of a request, one after the other, as Dovecot 2.3 asks them.

   Differs from 2.3: a passdb that says "disabled" ends it (there too), one that fails internally counts as a temporary failure unless another one succeeds, whatever
   the rules say; fields that need a proxy are refused with a clear log line. */
#include <config.h>

#include "core/proc/auth-request.h"

#include "core/proc/auth-nets.h"
#include "core/proc/auth-user.h"
#include <culver/reader.h>
#include <culver/time.h>

/* What is hashed for unknown users before any real one was seen: SHA512-CRYPT with 5000 rounds. */
#define DUMMY_STORED "{SHA512-CRYPT}$6$lULmRfWjcGD7qfFV$CIWLuOvNvUnb6ZsBfVOZPokzc8SPtBoLj532wFeeKJkicrkYfPeHzH.ZIbdSt9Z7SFZHOVVQ0S0sOWBqfbCAG/"
#define STORED_MAX 8192u

static void run(struct auth_request *request);
static bool took(struct auth_request *request, enum cv_auth_result result, struct cv_str stored, struct cv_err *err);
static bool outcome(struct auth_request *request, enum cv_auth_result result, struct cv_err *err);

static const char *result_word(enum cv_auth_result result)
{
	switch (result) {
	case CV_AUTH_OK:
		return "ok";
	case CV_AUTH_NOUSER:
		return "unknown user";
	case CV_AUTH_MISMATCH:
		return "password mismatch";
	case CV_AUTH_DISABLED:
		return "disabled";
	case CV_AUTH_TEMP:
		return "temporary failure";
	}
	return "?";
}

/* ---- Which one is asked -------------------------------------------------------------------------------------- */

static bool list_has(const char *const *list, struct cv_str word)
{
	for (size_t i = 0; list[i] != NULL; i++)
		if (cv_str_caseeq_c(word, list[i]))
			return true;
	return false;
}

static bool applies(const struct auth_request *request, const struct auth_passdb *db)
{
	const struct cv_passdb_settings *set = db->set;

	if (set->master != request->master_phase)
		return false;
	if (request->exists_for_userdb && set->deny)
		return false;
	if (set->skip == CV_PASSDB_SKIP_AUTHENTICATED && request->authenticated)
		return false;
	if (set->skip == CV_PASSDB_SKIP_UNAUTHENTICATED && !request->authenticated)
		return false;
	if (set->mechanisms != NULL && set->mechanisms[0] != NULL &&
		!list_has(set->mechanisms, request->r.mech.len > 0 ? request->r.mech : CV_STR("none")))
		return false;
	return auth_user_matches(set->username_filter, request->r.user);
}

/* ---- Asking --------------------------------------------------------------------------------------------------- */

static bool needs_password(const struct auth_request *request)
{
	return request->mode == AUTH_VERIFY && !request->skip_verify;
}

/* Which of its functions answers the question: 'l' lookup, 'v' verify, 0 none. */
static char question(const struct auth_request *request, const struct auth_passdb *db)
{
	if (db->impl->lookup != NULL)
		return 'l';
	return db->impl->verify != NULL && needs_password(request) ? 'v' : 0;
}

static void put_answer(struct auth_request *request, struct cv_str stored)
{
	struct cv_buf value;
	uint8_t mark[AUTH_CACHE_KEY];

	cv_buf_init_wipe(&value, CV_IPC_MAX_PAYLOAD);
	auth_cache_mark(request->auth->cache, request->password, mark);
	cv_put_str(&value, cv_str_mem(mark, sizeof(mark)));
	cv_put_str(&value, stored);
	cv_helper_put_results(&value, &request->r);
	if (cv_buf_ok(&value))
		auth_cache_put(request->auth->cache, request->cache_key, cv_buf_str(&value));
	cv_buf_deinit(&value);
}

/* True with the answer that was kept. A kept "verify" counts for the same password only. */
static bool take_answer(struct auth_request *request, bool expired, enum cv_auth_result *result_r, struct cv_str *stored_r)
{
	uint8_t mark[AUTH_CACHE_KEY];
	struct cv_str value, kept_mark, stored;
	struct cv_reader r;

	if (!request->has_cache_key || !auth_cache_get(request->auth->cache, request->cache_key, expired, &value))
		return false;
	if (value.len == 0) {
		*result_r = CV_AUTH_NOUSER;
		return true;
	}
	r = cv_reader_init(value);
	auth_cache_mark(request->auth->cache, request->password, mark);
	if (!cv_take_str(&r, AUTH_CACHE_KEY, &kept_mark) || !cv_take_str(&r, STORED_MAX, &stored))
		return false;
	if (question(request, request->passdb) == 'v' && !cv_str_eq(kept_mark, cv_str_mem(mark, sizeof(mark))))
		return false;
	*stored_r = stored.ptr == NULL ? stored : cv_arena_str(request->r.arena, stored);
	*result_r = CV_AUTH_OK;
	return cv_helper_take_results(&r, &request->r);
}

static void keep_answer(struct auth_request *request, enum cv_auth_result result, struct cv_str stored)
{
	if (!request->has_cache_key)
		return;
	if (result == CV_AUTH_OK)
		put_answer(request, stored);
	else if (result == CV_AUTH_NOUSER)
		auth_cache_put(request->auth->cache, request->cache_key, CV_STR(""));
}

/* From a helper, or from the database in this process. */
static bool answered(struct auth_request *request, enum cv_auth_result result, struct cv_str stored, struct cv_err *err)
{
	if (result == CV_AUTH_TEMP) {
		cv_error(&request->log, "passdb %s: %s", request->passdb->name, err->text);
		if (take_answer(request, true, &result, &stored))
			cv_warn(&request->log, "passdb %s: its last answer is used instead", request->passdb->name);
	} else {
		keep_answer(request, result, stored);
	}
	return took(request, result, stored, err);
}

static void on_answer(void *ctx, const struct auth_job_answer *answer)
{
	struct auth_request *request = ctx;
	struct cv_str stored = { 0 };
	struct cv_err err = *answer->err;

	request->job = NULL;
	if (answer->results != NULL)
		cv_helper_copy_results(answer->results, &request->r);
	if (answer->stored.ptr != NULL)
		stored = cv_arena_str(request->r.arena, answer->stored);
	if (answered(request, answer->result, stored, &err))
		run(request);
}

/* True with the answer in *result_r; false when it comes later. */
static bool ask(struct auth_request *request, char what, enum cv_auth_result *result_r, struct cv_str *stored_r, struct cv_err *err)
{
	struct auth_passdb *db = request->passdb;
	struct auth_job_spec spec = {
		.kind = db->root ? CV_HELPER_ROOT : CV_HELPER_PLAIN,
		.op = what == 'l' ? CV_HELPER_PASSDB_LOOKUP : CV_HELPER_PASSDB_VERIFY,
		.database = db->name,
		.secret = what == 'l' ? (struct cv_str){ 0 } : request->password,
		.default_scheme = "PLAIN",
		.request = &request->r,
		.done = on_answer,
		.ctx = request,
	};

	if (!db->helper) {
		*result_r = what == 'l' ? db->impl->lookup(db->db, &request->r, stored_r, err) :
			db->impl->verify(db->db, &request->r, request->password, err);
		return true;
	}
	if (request->auth->pool == NULL) {
		(void)cv_err_set(err, CV_ERR_INTERNAL, "there are no helper processes");
		*result_r = CV_AUTH_TEMP;
		return true;
	}
	request->job = auth_pool_submit(request->auth->pool, &spec);
	return false;
}

static int set_field(void *ctx, struct cv_str key, struct cv_str value, struct cv_err *err)
{
	(void)err;
	cv_auth_field_set(ctx, key, value);
	return 0;
}

static void save(struct auth_request *request)
{
	request->passdb_saved = auth_fields_copy(request, request->r.fields);
	request->user_saved = request->r.user;
}

static void put_back(struct auth_request *request)
{
	request->r.fields = request->passdb_saved;
	request->r.user = request->user_saved;
}

static bool ask_database(struct auth_request *request)
{
	enum cv_auth_result result;
	struct cv_str stored = { 0 };
	struct cv_err err = { 0 };

	auth_set_state(request, AUTH_PASSDB);
	if (!ask(request, question(request, request->passdb), &result, &stored, &err))
		return false;
	return answered(request, result, stored, &err);
}

/* True: go on with the next one. */
static bool ask_one(struct auth_request *request)
{
	struct auth_passdb *db = request->passdb;
	enum cv_auth_result result;
	struct cv_str stored = { 0 };
	struct cv_err err = { 0 };
	char what = question(request, db);

	save(request);
	if (cv_auth_fields_each(&request->r, db->set->default_fields, set_field, &request->r, &err) < 0) {
		cv_error(&request->log, "passdb %s: default_fields: %s", db->name, err.text);
		return outcome(request, CV_AUTH_TEMP, &err);
	}
	if (what == 0) {
		(void)cv_err_set(&err, CV_ERR_UNSUPPORTED, "passdb %s can only be asked with a password", db->name);
		/* A denied user must not slip through because the question can't be put. */
		return outcome(request, db->set->deny ? CV_AUTH_TEMP : CV_AUTH_NOUSER, &err);
	}
	request->asked++;
	request->has_cache_key = db->cached && auth_cache_key(request->auth->cache, what, db->name, &request->r, request->cache_key);
	request->from_cache = take_answer(request, false, &result, &stored);
	if (request->from_cache)
		return took(request, result, stored, &err);
	return ask_database(request);
}

/* One who is no master wants to be another user. Whether he is who he says is found out as for a login of his own, so that he can be told why he is refused:
   with right credentials he is not allowed, and no login follows; with wrong ones it is as if he had only said who he is. */
static void ask_without_master(struct auth_request *request)
{
	request->master_phase = false;
	request->not_master = true;
	request->wanted = request->r.login_user;
	request->r.login_user = (struct cv_str){ 0 };
	request->passdb_index = 0;
	request->skip_verify = request->mode == AUTH_EXISTS;
	request->user_seen = false;
	request->asked = 0;
}

/* False: a database was asked that answers later, or has ended it. */
static bool ask_all(struct auth_request *request)
{
	struct auth_dbs *dbs = request->gen->dbs;

	while (request->passdb_index < dbs->passdb_count) {
		struct auth_passdb *db = &dbs->passdbs[request->passdb_index++];

		if (!applies(request, db))
			continue;
		request->passdb = db;
		if (!ask_one(request))
			return false;
	}
	return true;
}

static void run(struct auth_request *request)
{
	if (!ask_all(request))
		return;
	if (request->master_phase && !request->authenticated && !request->temp_seen) {
		if (request->asked == 0)
			auth_reason(request, "login as another user, but no [passdb] with master = yes was asked");
		ask_without_master(request);
		if (!ask_all(request))
			return;
	}
	if (request->authenticated)
		auth_passdbs_done(request, CV_AUTH_OK, NULL);
	else if (request->temp_seen)
		auth_passdbs_done(request, CV_AUTH_TEMP, NULL);
	else
		auth_passdbs_done(request, request->user_seen ? CV_AUTH_MISMATCH : CV_AUTH_NOUSER, NULL);
}

/* ---- The password against what is stored ---------------------------------------------------------------------- */

static bool hashed(struct auth_request *request, int match, struct cv_err *err)
{
	if (request->hash_dummy) {
		struct cv_err unknown = { 0 };

		return outcome(request, request->hash_result, &unknown);
	}
	if (match < 0) {
		cv_error(&request->log, "passdb %s: %s", request->passdb->name, err->text);
		return outcome(request, CV_AUTH_TEMP, err);
	}
	if (match == 0 && request->from_cache) {
		/* The password may have been changed since. */
		auth_cache_remove(request->auth->cache, request->cache_key);
		request->from_cache = false;
		put_back(request);
		save(request);
		return ask_database(request);
	}
	return outcome(request, match == 1 ? CV_AUTH_OK : CV_AUTH_MISMATCH, err);
}

static void on_hashed(void *ctx, const struct auth_job_answer *answer)
{
	struct auth_request *request = ctx;
	struct cv_err err = *answer->err;
	int match = answer->result == CV_AUTH_OK ? 1 : answer->result == CV_AUTH_MISMATCH ? 0 : -1;

	request->job = NULL;
	if (hashed(request, match, &err))
		run(request);
}

/* Quick schemes here, slow ones in a helper. */
static bool hash(struct auth_request *request, struct cv_str stored)
{
	struct auth_job_spec spec = {
		.kind = CV_HELPER_PLAIN,
		.op = CV_HELPER_HASH,
		.database = "",
		.secret = request->password,
		.stored = stored,
		.default_scheme = "CRYPT",
		.request = &request->r,
		.done = on_hashed,
		.ctx = request,
	};
	struct cv_err err = { 0 };
	struct cv_str scheme;
	bool fast;

	auth_set_state(request, AUTH_HASH);
	if (!cv_password_scheme(request->auth->registry, stored, "CRYPT", &scheme, &fast) || fast || request->auth->pool == NULL) {
		int match = cv_password_verify(request->auth->registry, request->password, request->r.user, stored, "CRYPT", &err);

		return hashed(request, match, &err);
	}
	request->job = auth_pool_submit(request->auth->pool, &spec);
	return false;
}

/* As long as a user of this database would take. */
static bool hash_dummy(struct auth_request *request, enum cv_auth_result result)
{
	struct cv_str stored = cv_buf_str(&request->passdb->dummy);

	request->hash_dummy = true;
	request->hash_result = result;
	return hash(request, stored.len > 0 ? stored : CV_STR(DUMMY_STORED));
}

static bool hash_stored(struct auth_request *request, struct cv_str stored)
{
	struct cv_err err = { 0 };
	struct cv_buf *dummy = &request->passdb->dummy;

	request->hash_dummy = false;
	if (cv_auth_field(&request->r, "nopassword") != NULL) {
		if (stored.len == 0)
			return outcome(request, CV_AUTH_OK, &err);
		(void)cv_err_set(&err, CV_ERR_INVALID, "the field nopassword is set, but there is a password too");
		cv_error(&request->log, "passdb %s: %s", request->passdb->name, err.text);
		return outcome(request, CV_AUTH_TEMP, &err);
	}
	if (stored.len == 0) {
		(void)cv_err_set(&err, CV_ERR_AUTH, "the user has no password");
		return outcome(request, CV_AUTH_MISMATCH, &err);
	}
	cv_buf_clear(dummy);
	cv_buf_append(dummy, stored);
	return hash(request, stored);
}

/* The database has answered; where it gave a stored password it is checked now. */
static bool took(struct auth_request *request, enum cv_auth_result result, struct cv_str stored, struct cv_err *err)
{
	bool by_lookup = question(request, request->passdb) == 'l';

	if (result == CV_AUTH_OK && by_lookup && cv_auth_field(&request->r, "noauthenticate") != NULL)
		/* Only fields; whether it is the user is for the next to say. */
		return outcome(request, CV_AUTH_NOUSER, err);
	if (!by_lookup || !needs_password(request) || request->passdb->set->deny) {
		if (result == CV_AUTH_OK && request->mode == AUTH_CREDENTIALS && request->stored.ptr == NULL)
			request->stored = stored;
		return outcome(request, result, err);
	}
	if (result == CV_AUTH_OK)
		return hash_stored(request, stored);
	if (result == CV_AUTH_NOUSER)
		return hash_dummy(request, result);
	return outcome(request, result, err);
}

/* ---- Fields that mean something -------------------------------------------------------------------------------- */

static struct cv_str before_at(struct cv_str user)
{
	struct cv_str name, domain;

	(void)cv_str_split(user, '@', &name, &domain);
	return name;
}

/* user=, username= (keeps the domain), domain=, and for masters login_user=. */
static int rename_user(struct auth_request *request, struct cv_err *err)
{
	struct cv_auth_request *r = &request->r;
	const char *user = cv_auth_field(r, "user"), *username = cv_auth_field(r, "username"), *domain = cv_auth_field(r, "domain");
	const char *login_user = request->master_phase ? cv_auth_field(r, "login_user") : NULL;
	struct cv_str name, old_domain, made = r->user;

	if (user != NULL)
		made = cv_str_c(user);
	if (username != NULL) {
		if (cv_str_split(made, '@', &name, &old_domain) && strchr(username, '@') == NULL)
			made = cv_str_c(cv_arena_printf(r->arena, "%s@%.*s", username, CV_STR_ARG(old_domain)));
		else
			made = cv_str_c(username);
	}
	if (domain != NULL) {
		name = before_at(made);
		made = cv_str_c(cv_arena_printf(r->arena, "%.*s@%s", CV_STR_ARG(name), domain));
	}
	cv_auth_field_remove(r, CV_STR("user"));
	cv_auth_field_remove(r, CV_STR("username"));
	cv_auth_field_remove(r, CV_STR("domain"));
	if (!auth_user_is_safe(made))
		return cv_err_set(err, CV_ERR_INVALID, "%s is no name for a user", cv_log_clean(made));
	if (!cv_str_eq(made, r->user)) {
		cv_debug(&request->log, "passdb %s: user is now %s", request->passdb->name, cv_log_clean(made));
		r->user = cv_arena_str(r->arena, made);
	}
	if (login_user != NULL) {
		if (!auth_user_is_safe(cv_str_c(login_user)))
			return cv_err_set(err, CV_ERR_INVALID, "login_user %s is no name for a user", cv_log_clean(cv_str_c(login_user)));
		r->login_user = cv_arena_str(r->arena, cv_str_c(login_user));
		cv_auth_field_remove(r, CV_STR("login_user"));
	}
	return 0;
}

/* allow_nets; allow_real_nets is the same, since no proxy is in between. As a wrong password when the client is elsewhere. */
static enum cv_auth_result check_nets(struct auth_request *request, const char *field, struct cv_err *err)
{
	const char *nets = cv_auth_field(&request->r, field);
	int match = nets == NULL ? 1 : auth_nets_match(cv_str_c(nets), request->r.remote, err);

	if (match < 0)
		return CV_AUTH_TEMP;
	if (match == 0) {
		(void)cv_err_set(err, CV_ERR_AUTH, "%s does not hold the client's address", field);
		return CV_AUTH_MISMATCH;
	}
	return CV_AUTH_OK;
}

/* After a database has said yes: its override_fields, and what the fields make of the yes. */
static enum cv_auth_result apply_fields(struct auth_request *request, struct cv_err *err)
{
	struct cv_auth_request *r = &request->r;
	enum cv_auth_result result;

	if (cv_auth_fields_each(r, request->passdb->set->override_fields, set_field, r, err) < 0) {
		(void)cv_err_context(err, "override_fields");
		return CV_AUTH_TEMP;
	}
	if (cv_auth_field(r, "fail") != NULL) {
		(void)cv_err_set(err, CV_ERR_AUTH, "the field fail is set");
		return CV_AUTH_MISMATCH;
	}
	result = check_nets(request, "allow_nets", err);
	if (result == CV_AUTH_OK)
		result = check_nets(request, "allow_real_nets", err);
	if (result == CV_AUTH_OK && rename_user(request, err) < 0)
		result = CV_AUTH_TEMP;
	if (cv_auth_field(r, "nodelay") != NULL)
		request->nodelay = true;
	return result;
}

/* ---- What follows from the outcome ------------------------------------------------------------------------------ */

static void follow(struct auth_request *request, unsigned rule, enum cv_auth_result result)
{
	/* What holds for one database only. */
	cv_auth_field_remove(&request->r, CV_STR("nopassword"));
	cv_auth_field_remove(&request->r, CV_STR("noauthenticate"));
	cv_auth_field_remove(&request->r, CV_STR("allow_nets"));
	cv_auth_field_remove(&request->r, CV_STR("allow_real_nets"));
	switch ((enum cv_auth_rule)rule) {
	case CV_RULE_RETURN_OK:
		request->authenticated = true;
		request->passdb_index = SIZE_MAX;
		break;
	case CV_RULE_RETURN:
		request->passdb_index = SIZE_MAX;
		break;
	case CV_RULE_RETURN_FAIL:
		request->authenticated = false;
		request->passdb_index = SIZE_MAX;
		break;
	case CV_RULE_CONTINUE:
		if (result == CV_AUTH_OK)
			request->skip_verify = true;
		break;
	case CV_RULE_CONTINUE_OK:
		request->authenticated = true;
		request->skip_verify = true;
		break;
	case CV_RULE_CONTINUE_FAIL:
		request->authenticated = false;
		break;
	}
}

/* The master is who he says, and may be the other user: now it is the other user who logs in. */
static void become_login_user(struct auth_request *request)
{
	request->r.master_user = request->r.user;
	request->r.user = request->r.login_user;
	request->r.login_user = (struct cv_str){ 0 };
	request->log.user = request->r.user;
	request->master_phase = false;
	request->master_done = true;
	if (request->passdb_index != SIZE_MAX)
		request->passdb_index = 0;
}

static bool outcome(struct auth_request *request, enum cv_auth_result result, struct cv_err *err)
{
	const struct auth_passdb *db = request->passdb;
	const struct cv_passdb_settings *set = db->set;
	unsigned rule = set->result_failure;
	bool fields_only;

	if (set->deny && result != CV_AUTH_NOUSER) {
		/* Found is refused, and so is "cannot tell". */
		if (result == CV_AUTH_TEMP) {
			auth_passdbs_done(request, CV_AUTH_TEMP, err);
			return false;
		}
		put_back(request);
		(void)cv_err_set(err, CV_ERR_PERM, "found in deny passdb %s", db->name);
		auth_passdbs_done(request, CV_AUTH_DISABLED, err);
		return false;
	}
	if (result == CV_AUTH_OK) {
		result = apply_fields(request, err);
		if (result == CV_AUTH_TEMP)
			cv_error(&request->log, "passdb %s: %s", db->name, err->text);
	}
	if (auth_is_verbose(request, set->auth_verbose))
		cv_info(&request->log, "passdb %s: %s%s%s", db->name, result_word(result), err->code != CV_ERR_NONE ? ": " : "",
			err->code != CV_ERR_NONE ? err->text : "");
	request->decided_by = db->name;
	if (result != CV_AUTH_OK && (err->code != CV_ERR_NONE || request->reason[0] == '\0'))
		auth_reason(request, "%s: %s", db->name, err->code != CV_ERR_NONE ? err->text : result_word(result));
	fields_only = result == CV_AUTH_NOUSER && cv_auth_field(&request->r, "noauthenticate") != NULL;
	switch (result) {
	case CV_AUTH_DISABLED:
		auth_passdbs_done(request, result, err);
		return false;
	case CV_AUTH_OK:
		rule = set->pass ? CV_RULE_CONTINUE : set->result_success;
		break;
	case CV_AUTH_TEMP:
		request->temp_seen = true;
		rule = set->result_internalfail;
		break;
	case CV_AUTH_NOUSER:
		if (fields_only)
			rule = CV_RULE_CONTINUE;
		break;
	case CV_AUTH_MISMATCH:
		request->user_seen = true;
		break;
	}
	/* Fields of one that failed do not count. */
	if (result != CV_AUTH_OK && !fields_only)
		put_back(request);
	follow(request, rule, result);
	if (request->master_phase && result == CV_AUTH_OK)
		become_login_user(request);
	return true;
}

void auth_passdbs_begin(struct auth_request *request, enum auth_passdb_mode mode)
{
	request->mode = mode;
	request->passdb_index = 0;
	request->authenticated = false;
	request->skip_verify = mode == AUTH_EXISTS;
	request->temp_seen = request->user_seen = false;
	request->asked = 0;
	request->master_phase = !request->exists_for_userdb && request->r.login_user.ptr != NULL;
	run(request);
}
