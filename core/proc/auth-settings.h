/* SPDX-License-Identifier: MIT
   Settings of authentication: the top-level ones and the sections [passdb NAME] and [userdb NAME]. */
#ifndef CV_PROC_AUTH_SETTINGS_H
#define CV_PROC_AUTH_SETTINGS_H

#include <culver/settings.h>

struct cv_auth_settings {
	const char *const *auth_mechanisms;
	const char *auth_username_format;
	const char *auth_username_chars;
	const char *auth_username_translation;
	const char *auth_default_realm;
	const char *const *auth_realms;
	const char *auth_master_user_separator;
	uint64_t auth_failure_delay;       /* ms */
	uint64_t auth_worker_max_count;
	uint64_t auth_worker_timeout;      /* ms */
	uint64_t auth_cache_size;          /* octets; 0: off */
	uint64_t auth_cache_ttl;           /* ms */
	uint64_t auth_cache_negative_ttl;  /* ms; 0: unknown users are not kept */
	bool auth_ssl_require_client_cert;
	bool auth_ssl_username_from_cert;
	bool auth_verbose;
};

/* What to do after a database answered; order of cv_auth_rules. */
enum cv_auth_rule {
	CV_RULE_RETURN_OK,
	CV_RULE_RETURN,
	CV_RULE_RETURN_FAIL,
	CV_RULE_CONTINUE,
	CV_RULE_CONTINUE_OK,
	CV_RULE_CONTINUE_FAIL
};
enum cv_passdb_skip { CV_PASSDB_SKIP_NEVER, CV_PASSDB_SKIP_AUTHENTICATED, CV_PASSDB_SKIP_UNAUTHENTICATED };
enum cv_userdb_skip { CV_USERDB_SKIP_NEVER, CV_USERDB_SKIP_FOUND, CV_USERDB_SKIP_NOTFOUND };
enum cv_auth_verbose { CV_AUTH_VERBOSE_DEFAULT, CV_AUTH_VERBOSE_YES, CV_AUTH_VERBOSE_NO };

/* driver NULL: the section's name. */
struct cv_passdb_settings {
	const char *driver;
	const char *args;
	const char *default_fields, *override_fields;
	bool deny, master, pass;
	unsigned skip;
	unsigned result_success, result_failure, result_internalfail;
	const char *const *mechanisms;
	const char *const *username_filter;
	unsigned auth_verbose;
};
struct cv_userdb_settings {
	const char *driver;
	const char *args;
	const char *default_fields, *override_fields;
	unsigned skip;
	unsigned result_success, result_failure, result_internalfail;
	unsigned auth_verbose;
};

CV_EXPORT_DATA const struct cv_settings_table cv_auth_settings_table;
CV_EXPORT_DATA const struct cv_settings_table cv_passdb_settings_table;
CV_EXPORT_DATA const struct cv_settings_table cv_userdb_settings_table;
/* All three, ended by NULL. */
CV_EXPORT_DATA const struct cv_settings_table *const cv_auth_settings_tables[];

#endif
