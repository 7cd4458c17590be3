/* SPDX-License-Identifier: MIT
   Settings of authentication: names, defaults and meanings as in Dovecot 2.3. */
#include <config.h>

#include "core/proc/auth-settings.h"

#include <culver/auth.h>

static const char *const rule_words[] = { "return-ok", "return", "return-fail", "continue", "continue-ok", "continue-fail", NULL };
static const char *const passdb_skip_words[] = { "never", "authenticated", "unauthenticated", NULL };
static const char *const userdb_skip_words[] = { "never", "found", "notfound", NULL };
static const char *const verbose_words[] = { "default", "yes", "no", NULL };

/* ---- Top level ------------------------------------------------------------------------------------------- */

static const struct cv_setting auth_rows[] = {
	CV_SETTING_LIST(cv_auth_settings, auth_mechanisms, "plain", "SASL mechanisms that are offered, such as plain, login, scram-sha-256, external; and apop for POP3 (needs passwords stored as {PLAIN})."),
	CV_SETTING_VAR(cv_auth_settings, auth_username_format, "%Lu",
		"What is made of the name a client gives before any database is asked; empty: nothing. %Ln drops the domain."),
	CV_SETTING_STR(cv_auth_settings, auth_username_chars, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@",
		"Characters allowed in user names; empty: all but control characters and the slash, which are never allowed."),
	CV_SETTING_STR(cv_auth_settings, auth_username_translation, "",
		"Pairs of characters: each first one is replaced by the second in user names. \"/@\" makes @ of /."),
	CV_SETTING_STR(cv_auth_settings, auth_default_realm, "", "Domain that is appended to user names without one."),
	CV_SETTING_LIST(cv_auth_settings, auth_realms, NULL,
		"Must be empty: realms are for DIGEST-MD5 and GSSAPI, and no mechanism of this version asks for one."),
	CV_SETTING_STR(cv_auth_settings, auth_master_user_separator, "",
		"With \"*\", the name user*master with master's password logs in as user, when a [passdb] with master = yes knows master. Empty: off."),
	CV_SETTING_TIME(cv_auth_settings, auth_failure_delay, "2s", 0, 60000,
		"A failed login is answered no earlier than this after it was sent."),
	{ "auth_worker_max_count", CV_SET_UINT, CV_SETTING_OFF(cv_auth_settings, auth_worker_max_count, uint64_t), "30", 1, 1000, NULL,
		"Processes at most of each kind that ask databases which may block (PAM, NSS) and check slow password hashes.", CV_SET_TOP },
	{ "auth_worker_timeout", CV_SET_TIME, CV_SETTING_OFF(cv_auth_settings, auth_worker_timeout, uint64_t), "30s", 1000, 600000, NULL,
		"Such a process is killed when it takes longer for one request, which is then answered as a temporary failure.", CV_SET_TOP },
	{ "auth_cache_size", CV_SET_SIZE, CV_SETTING_OFF(cv_auth_settings, auth_cache_size, uint64_t), "0", 0, UINT64_C(4) << 30, NULL,
		"Memory for answers of the databases that are kept; 0: none are.", CV_SET_TOP },
	{ "auth_cache_ttl", CV_SET_TIME, CV_SETTING_OFF(cv_auth_settings, auth_cache_ttl, uint64_t), "1h", 0, 0, NULL,
		"How long a kept answer is used.", CV_SET_TOP },
	{ "auth_cache_negative_ttl", CV_SET_TIME, CV_SETTING_OFF(cv_auth_settings, auth_cache_negative_ttl, uint64_t), "1h", 0, 0, NULL,
		"How long it is remembered that a user does not exist; 0: not at all.", CV_SET_TOP },
	CV_SETTING_BOOL(cv_auth_settings, auth_ssl_require_client_cert, "no", "Logins need a valid client certificate."),
	CV_SETTING_BOOL(cv_auth_settings, auth_ssl_username_from_cert, "no",
		"The user name is the one in the client's certificate, whatever the client says."),
	CV_SETTING_BOOL(cv_auth_settings, auth_verbose, "no", "Log for each failed login which database said what."),
};

static int check_auth(const void *ptr, struct cv_err *err)
{
	const struct cv_auth_settings *set = ptr;

	if (strlen(set->auth_username_translation) % 2 != 0)
		return cv_err_set(err, CV_ERR_INVALID, "auth_username_translation must hold pairs of characters");
	if (set->auth_realms != NULL && set->auth_realms[0] != NULL)
		return cv_err_set(err, CV_ERR_INVALID, "auth_realms would have no effect: realms are for DIGEST-MD5 and GSSAPI, and no mechanism of this version asks "
			"for one. auth_default_realm gives user names a domain");
	if (set->auth_mechanisms == NULL || set->auth_mechanisms[0] == NULL)
		return cv_err_set(err, CV_ERR_INVALID, "auth_mechanisms names no mechanism: nobody could log in");
	return 0;
}

/* ---- Sections --------------------------------------------------------------------------------------------- */

#define HELP_DRIVER "The database's kind, as a module provides it; without it the section's name is the kind."
#define HELP_ARGS "What the driver needs, in its own form."
#define HELP_DEFAULT "Fields \"key=value key2=value2\" with %variables, used where the database gives none."
#define HELP_OVERRIDE "Fields \"key=value key2=value2\" with %variables, over those that the database gives."
#define HELP_VERBOSE "Over the setting auth_verbose, for this database."

static const struct cv_setting passdb_rows[] = {
	CV_SETTING_STR(cv_passdb_settings, driver, NULL, HELP_DRIVER),
	CV_SETTING_STR(cv_passdb_settings, args, "", HELP_ARGS),
	CV_SETTING_VAR(cv_passdb_settings, default_fields, "", HELP_DEFAULT),
	CV_SETTING_VAR(cv_passdb_settings, override_fields, "", HELP_OVERRIDE),
	CV_SETTING_BOOL(cv_passdb_settings, deny, "no", "Users who are found here are refused."),
	CV_SETTING_BOOL(cv_passdb_settings, master, "no", "Users who are found here may log in as others."),
	CV_SETTING_BOOL(cv_passdb_settings, pass, "no", "The same as result_success = continue."),
	CV_SETTING_ENUM(cv_passdb_settings, skip, "never", passdb_skip_words, "Leave this one out when an earlier one has, or has not, authenticated the user."),
	CV_SETTING_ENUM(cv_passdb_settings, result_success, "return-ok", rule_words, "What to do when the password is right."),
	CV_SETTING_ENUM(cv_passdb_settings, result_failure, "continue", rule_words, "What to do when the user is unknown or the password wrong."),
	CV_SETTING_ENUM(cv_passdb_settings, result_internalfail, "continue", rule_words, "What to do when the database could not answer."),
	CV_SETTING_LIST(cv_passdb_settings, mechanisms, NULL, "Ask this one only for these mechanisms (\"none\": for look-ups without a login)."),
	CV_SETTING_LIST(cv_passdb_settings, username_filter, NULL,
		"Ask this one only for names that match one of these patterns (* and ?) and none of those that begin with !."),
	CV_SETTING_ENUM(cv_passdb_settings, auth_verbose, "default", verbose_words, HELP_VERBOSE),
};

static const struct cv_setting userdb_rows[] = {
	CV_SETTING_STR(cv_userdb_settings, driver, NULL, HELP_DRIVER),
	CV_SETTING_STR(cv_userdb_settings, args, "", HELP_ARGS),
	CV_SETTING_VAR(cv_userdb_settings, default_fields, "", HELP_DEFAULT),
	CV_SETTING_VAR(cv_userdb_settings, override_fields, "", HELP_OVERRIDE),
	CV_SETTING_ENUM(cv_userdb_settings, skip, "never", userdb_skip_words, "Leave this one out when an earlier one has, or has not, found the user."),
	CV_SETTING_ENUM(cv_userdb_settings, result_success, "return-ok", rule_words, "What to do when the user was found."),
	CV_SETTING_ENUM(cv_userdb_settings, result_failure, "continue", rule_words, "What to do when the user is unknown."),
	CV_SETTING_ENUM(cv_userdb_settings, result_internalfail, "continue", rule_words, "What to do when the database could not answer."),
	CV_SETTING_ENUM(cv_userdb_settings, auth_verbose, "default", verbose_words, HELP_VERBOSE),
};

static int ignore_field(void *ctx, struct cv_str key, struct cv_str value, struct cv_err *err)
{
	(void)ctx;
	(void)key;
	(void)value;
	(void)err;
	return 0;
}

/* A variable that no request has would fail each login: found here, with empty values. */
static int check_fields(const char *key, const char *list, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("check", NULL, 0);
	struct cv_auth_request request = { .arena = arena };
	int ret = cv_auth_fields_each(&request, list, ignore_field, NULL, err);

	cv_arena_free(&arena);
	return ret < 0 ? cv_err_context(err, "%s", key) : 0;
}

static int check_passdb(const void *ptr, struct cv_err *err)
{
	const struct cv_passdb_settings *set = ptr;

	if (check_fields("default_fields", set->default_fields, err) < 0 || check_fields("override_fields", set->override_fields, err) < 0)
		return -1;
	if (set->pass && set->result_success != CV_RULE_RETURN_OK && set->result_success != CV_RULE_CONTINUE)
		return cv_err_set(err, CV_ERR_INVALID, "pass = yes means result_success = continue, but result_success says otherwise");
	if (set->deny && set->master)
		return cv_err_set(err, CV_ERR_INVALID, "deny and master exclude each other");
	return 0;
}

static int check_userdb(const void *ptr, struct cv_err *err)
{
	const struct cv_userdb_settings *set = ptr;

	if (check_fields("default_fields", set->default_fields, err) < 0)
		return -1;
	return check_fields("override_fields", set->override_fields, err);
}

const struct cv_settings_table cv_auth_settings_table = CV_SETTINGS_TABLE(NULL, "Authentication", cv_auth_settings, auth_rows, check_auth);
const struct cv_settings_table cv_passdb_settings_table =
	CV_SETTINGS_TABLE("passdb", "Password databases", cv_passdb_settings, passdb_rows, check_passdb);
const struct cv_settings_table cv_userdb_settings_table =
	CV_SETTINGS_TABLE("userdb", "User databases", cv_userdb_settings, userdb_rows, check_userdb);
const struct cv_settings_table *const cv_auth_settings_tables[] = {
	&cv_auth_settings_table, &cv_passdb_settings_table, &cv_userdb_settings_table, NULL
};
