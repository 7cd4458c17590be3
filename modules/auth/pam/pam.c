/* SPDX-License-Identifier: MIT
   The pam passdb: asks Linux-PAM. Runs in a helper process that keeps root's rights. */
#include <config.h>

#include <culver/auth.h>
#include <culver/log.h>
#include <culver/reader.h>

#include <security/pam_appl.h>

#define MESSAGES_MAX 64       /* of one call of the conversation */
#define FAILURE_TEXT_MAX 200  /* octets shown to the client */
#define SERVICE_MAX 64

struct pam_settings {
	const char *pam_confdir;
};
static const struct cv_setting rows[] = {
	CV_SETTING_STR(pam_settings, pam_confdir, NULL,
		"Directory of the PAM service files, instead of /etc/pam.d. Needs a PAM library that has pam_start_confdir."),
};
static const struct cv_settings_table table = CV_SETTINGS_TABLE_TOP("PAM", pam_settings, rows, NULL);
static const struct cv_settings_table *const tables[] = { &table, NULL };

struct db {
	const char *service; /* may have variables */
	const char *confdir; /* NULL: the system's */
	bool session, setcred, failure_show_msg;
};

/* ---- args: [session=yes] [setcred=yes] [failure_show_msg=yes] [SERVICE] ------------------------------------ */

static int parse_bool(struct cv_str word, const char *key, bool *value_r, struct cv_err *err)
{
	struct cv_str value = cv_str_sub(word, strlen(key), SIZE_MAX);

	*value_r = cv_str_eq_c(value, "yes");
	if (!*value_r && !cv_str_eq_c(value, "no"))
		return cv_err_set(err, CV_ERR_INVALID, "args: %s must be yes or no, not %s", key, cv_log_clean(value));
	return 0;
}

static int parse_args(struct db *db, const struct cv_authdb_config *config, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(cv_str_c(config->args));
	int ret = 0;

	db->service = "culver";
	while (ret == 0 && !cv_reader_end(&r)) {
		struct cv_str word;

		if (!cv_take_until(&r, ' ', &word)) {
			word = cv_reader_rest(&r);
			r.pos = r.s.len;
		}
		if (word.len == 0)
			continue;
		if (cv_str_starts(word, CV_STR("session=")))
			ret = parse_bool(word, "session=", &db->session, err);
		else if (cv_str_starts(word, CV_STR("setcred=")))
			ret = parse_bool(word, "setcred=", &db->setcred, err);
		else if (cv_str_starts(word, CV_STR("failure_show_msg=")))
			ret = parse_bool(word, "failure_show_msg=", &db->failure_show_msg, err);
		else if (cv_str_find(word, '=') != SIZE_MAX)
			ret = cv_err_set(err, CV_ERR_INVALID, "args: unknown word %s (known: session=, setcred=, failure_show_msg=, "
				"max_requests=, cache_key=, and the name of the PAM service at the end)", cv_log_clean(word));
		else if (!cv_reader_end(&r))
			ret = cv_err_set(err, CV_ERR_INVALID, "args: the name of the PAM service must come last");
		else if (cv_str_eq_c(word, "*"))
			db->service = "%s"; /* older way to say it */
		else
			db->service = cv_arena_cstr(config->arena, word);
	}
	if (ret == 0 && db->service == NULL)
		ret = cv_err_set(err, CV_ERR_INVALID, "args holds a NUL");
	if (ret == 0)
		ret = cv_var_check(db->service, err);
	return ret;
}

static int open_db(const struct cv_authdb_config *config, void **db_r, struct cv_err *err)
{
	struct db *db = cv_new(config->arena, struct db, 1);
	const void *set = NULL;

	if (parse_args(db, config, err) < 0)
		return -1;
	if (config->conf != NULL) {
		if (cv_conf_get(config->conf, &table, NULL, config->arena, &set, err) < 0)
			return -1;
		db->confdir = ((const struct pam_settings *)set)->pam_confdir;
	}
	if (db->confdir != NULL && db->confdir[0] == '\0')
		db->confdir = NULL;
#ifndef HAVE_PAM_START_CONFDIR
	if (db->confdir != NULL)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "pam_confdir: this system's PAM library has no pam_start_confdir");
#endif
	*db_r = db;
	return 0;
}

static void close_db(void *db)
{
	(void)db;
}

/* ---- Conversation ------------------------------------------------------------------------------------------ */

struct conversation {
	struct cv_str password;
	struct cv_arena *arena;
	const char *user;
	struct cv_buf text; /* last error message of a module, for failure_show_msg */
};

/* Answers of this function are freed by PAM with free(3). */
static char *answer(struct cv_str s)
{
	char *copy;

	if (cv_str_has_nul(s))
		return NULL;
	copy = calloc(1, s.len + 1);
	if (copy != NULL && s.len > 0)
		memcpy(copy, s.ptr, s.len);
	return copy;
}

static void drop_answers(struct pam_response *responses, int count)
{
	for (int i = 0; i < count; i++) {
		if (responses[i].resp == NULL)
			continue;
		cv_wipe(responses[i].resp, strlen(responses[i].resp));
		free(responses[i].resp);
	}
	free(responses);
}

/* resp_r may be NULL: modules that only say something (pam_matrix) pass none. */
static int converse(int count, const struct pam_message **messages, struct pam_response **responses_r, void *ctx)
{
	struct conversation *conv = ctx;
	struct pam_response *responses = NULL;

	if (count <= 0 || count > MESSAGES_MAX)
		return PAM_CONV_ERR;
	if (responses_r != NULL) {
		*responses_r = NULL;
		responses = calloc((size_t)count, sizeof(*responses));
		if (responses == NULL)
			return PAM_BUF_ERR;
	}
	for (int i = 0; i < count; i++) {
		const struct pam_message *message = messages[i];
		struct cv_str say = { 0 };
		bool asked = true;

		switch (message->msg_style) {
		case PAM_PROMPT_ECHO_ON: /* for the name */
			say = cv_str_c(conv->user);
			break;
		case PAM_PROMPT_ECHO_OFF:
			say = conv->password;
			break;
		case PAM_ERROR_MSG:
			cv_buf_clear(&conv->text);
			cv_buf_append(&conv->text, cv_str_trim(cv_str_sub(cv_str_c(message->msg), 0, FAILURE_TEXT_MAX)));
			asked = false;
			break;
		case PAM_TEXT_INFO:
			asked = false;
			break;
		default:
			drop_answers(responses, responses == NULL ? 0 : count);
			return PAM_CONV_ERR;
		}
		if (!asked)
			continue;
		if (responses == NULL)
			return PAM_CONV_ERR;
		responses[i].resp = answer(say);
		if (responses[i].resp == NULL) {
			drop_answers(responses, count);
			return PAM_CONV_ERR;
		}
	}
	if (responses_r != NULL)
		*responses_r = responses;
	return PAM_SUCCESS;
}

/* ---- Verify ------------------------------------------------------------------------------------------------ */

/* What a failure of each step means. Everything that is not a statement about the user or the password is temporary. */
static enum cv_auth_result auth_result(int status)
{
	switch (status) {
	case PAM_SUCCESS:
		return CV_AUTH_OK;
	case PAM_USER_UNKNOWN:
		return CV_AUTH_NOUSER;
	case PAM_AUTH_ERR:
	case PAM_MAXTRIES:
	case PAM_PERM_DENIED:
		return CV_AUTH_MISMATCH;
	case PAM_ACCT_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD:
	case PAM_AUTHTOK_EXPIRED:
		return CV_AUTH_DISABLED;
	default:
		return CV_AUTH_TEMP;
	}
}

static enum cv_auth_result account_result(int status)
{
	switch (status) {
	case PAM_SUCCESS:
		return CV_AUTH_OK;
	case PAM_ACCT_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD:
	case PAM_AUTHTOK_EXPIRED:
	case PAM_PERM_DENIED:
	case PAM_AUTH_ERR:
	case PAM_USER_UNKNOWN:
		return CV_AUTH_DISABLED;
	default:
		return CV_AUTH_TEMP;
	}
}

static const char *disabled_text(int status)
{
	switch (status) {
	case PAM_NEW_AUTHTOK_REQD:
	case PAM_AUTHTOK_EXPIRED:
		return "Your password has expired.";
	case PAM_ACCT_EXPIRED:
		return "Your account has expired.";
	default:
		return "Your account may not be used for this.";
	}
}

static enum cv_err_code code_of(enum cv_auth_result result, int status)
{
	switch (result) {
	case CV_AUTH_DISABLED:
		return status == PAM_NEW_AUTHTOK_REQD || status == PAM_AUTHTOK_EXPIRED ? CV_ERR_EXPIRED : CV_ERR_PERM;
	case CV_AUTH_NOUSER:
		return CV_ERR_NOTFOUND;
	case CV_AUTH_MISMATCH:
		return CV_ERR_AUTH;
	case CV_AUTH_TEMP:
		return CV_ERR_UNAVAILABLE;
	case CV_AUTH_OK:
		break;
	}
	return CV_ERR_NONE;
}

/* Fill err for a step that failed. What a module said is shown when failure_show_msg asks for it, and nothing is shown about names and passwords. */
static enum cv_auth_result failed(const struct db *db, pam_handle_t *pamh, const char *step, int status, enum cv_auth_result result,
	const struct conversation *conv, struct cv_err *err)
{
	enum cv_err_code code = code_of(result, status);

	if (db->failure_show_msg && result != CV_AUTH_TEMP && conv->text.len > 0)
		(void)cv_err_set_public(err, code, "%s", cv_log_clean(cv_buf_str(&conv->text)));
	else if (result == CV_AUTH_DISABLED)
		(void)cv_err_set_public(err, code, "%s", disabled_text(status));
	else
		(void)cv_err_set(err, code, "%s: %s", step, pam_strerror(pamh, status));
	return result;
}

/* The last status is kept for pam_end, which some modules look at. */
static enum cv_auth_result steps(const struct db *db, pam_handle_t *pamh, struct cv_auth_request *request, struct conversation *conv,
	int *status, struct cv_err *err)
{
	const void *user = NULL;
	char *remote = cv_arena_cstr(request->arena, request->remote);

	*status = pam_set_item(pamh, PAM_TTY, "culver");
	if (*status == PAM_SUCCESS && remote != NULL && remote[0] != '\0')
		*status = pam_set_item(pamh, PAM_RHOST, remote);
	if (*status != PAM_SUCCESS)
		return failed(db, pamh, "pam_set_item", *status, CV_AUTH_TEMP, conv, err);
	*status = pam_authenticate(pamh, 0);
	if (*status != PAM_SUCCESS)
		return failed(db, pamh, "pam_authenticate", *status, auth_result(*status), conv, err);
	*status = pam_acct_mgmt(pamh, 0);
	if (*status != PAM_SUCCESS)
		return failed(db, pamh, "pam_acct_mgmt", *status, account_result(*status), conv, err);
	if (db->setcred) {
		*status = pam_setcred(pamh, PAM_ESTABLISH_CRED);
		if (*status != PAM_SUCCESS)
			return failed(db, pamh, "pam_setcred", *status, CV_AUTH_TEMP, conv, err);
	}
	if (db->session) {
		*status = pam_open_session(pamh, 0);
		if (*status == PAM_SUCCESS)
			*status = pam_close_session(pamh, 0);
		if (*status != PAM_SUCCESS)
			return failed(db, pamh, "pam_open_session", *status, CV_AUTH_TEMP, conv, err);
	}
	/* Modules may map names. */
	*status = pam_get_item(pamh, PAM_USER, &user);
	if (*status != PAM_SUCCESS || user == NULL)
		return failed(db, pamh, "pam_get_item(PAM_USER)", *status, CV_AUTH_TEMP, conv, err);
	if (!cv_str_eq_c(request->user, user))
		cv_auth_field_set(request, CV_STR("user"), cv_str_c(user));
	return CV_AUTH_OK;
}

static int start(const struct db *db, const char *service, const struct pam_conv *conv, const char *user, pam_handle_t **pamh_r)
{
#ifdef HAVE_PAM_START_CONFDIR
	if (db->confdir != NULL)
		return pam_start_confdir(service, user, conv, db->confdir, pamh_r);
#endif
	(void)db;
	return pam_start(service, user, conv, pamh_r);
}

/* The service's name is a file name: what the client says of the service must not leave the directory. */
static bool service_ok(struct cv_str service)
{
	return service.len > 0 && service.len <= SERVICE_MAX && cv_str_find(service, '/') == SIZE_MAX && service.ptr[0] != '.' &&
		!cv_str_has_nul(service);
}

static enum cv_auth_result verify(void *ctx, struct cv_auth_request *request, struct cv_str password, struct cv_err *err)
{
	const struct db *db = ctx;
	struct conversation conv = { .password = password, .arena = request->arena };
	struct pam_conv pam_conv = { .conv = converse, .appdata_ptr = &conv };
	enum cv_auth_result result = CV_AUTH_TEMP;
	pam_handle_t *pamh = NULL;
	struct cv_buf service;
	int status;

	conv.user = cv_arena_cstr(request->arena, request->user);
	if (conv.user == NULL || conv.user[0] == '\0' || cv_str_has_nul(password)) {
		(void)cv_err_set(err, CV_ERR_AUTH, "name or password holds a NUL, or the name is empty");
		return CV_AUTH_MISMATCH;
	}
	cv_buf_init(&conv.text, FAILURE_TEXT_MAX);
	cv_buf_init(&service, SERVICE_MAX);
	if (cv_auth_expand(request, db->service, &service, err) < 0 || !service_ok(cv_buf_str(&service))) {
		if (err->code == CV_ERR_NONE)
			(void)cv_err_set(err, CV_ERR_INVALID, "%s is not a name for a PAM service", cv_log_clean(cv_buf_str(&service)));
	} else {
		status = start(db, service.data, &pam_conv, conv.user, &pamh);
		if (status != PAM_SUCCESS) {
			(void)cv_err_set(err, CV_ERR_UNAVAILABLE, "pam_start(%s): %s", service.data, pam_strerror(pamh, status));
		} else {
			result = steps(db, pamh, request, &conv, &status, err);
			(void)pam_end(pamh, status);
		}
	}
	cv_buf_deinit(&service);
	cv_buf_deinit(&conv.text);
	return result;
}

static const struct cv_passdb passdb = {
	.name = "pam",
	.opts = CV_AUTHDB_BLOCKING | CV_AUTHDB_ROOT | CV_AUTHDB_NOCACHE,
	.open = open_db,
	.close = close_db,
	.verify = verify,
	.max_requests = 100, /* many PAM modules leak */
};

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_passdb(reg, &passdb, err);
}

CV_MODULE(pam) = {
	CV_MODULE_ABI,
	.name = "pam",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_AUTH,
	.roles = CV_ROLE_MASTER | CV_ROLE_AUTH | CV_ROLE_AUTH_HELPER,
	.settings = tables,
	.load = load,
};
