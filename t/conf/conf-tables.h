/* SPDX-License-Identifier: MIT
   Settings tests and fuzzing: tables that have every type. */
#ifndef CV_T_CONF_TABLES_H
#define CV_T_CONF_TABLES_H

#include <culver/settings.h>

struct top {
	const char *const *protocols;
	bool flag;
	uint64_t number;
	uint64_t size;
	uint64_t wait;
	const char *text;
	const char *place;
	const char *const *words;
	unsigned mode;
	unsigned perm;
	const char *cert;
	const char *key;
};

struct passdb {
	const char *driver;
	const char *args;
	const char *pass;
};

struct userdb {
	const char *driver;
};

static const char *const mode_words[] = { "no", "yes", "required", NULL };

static const struct cv_setting top_rows[] = {
	CV_SETTING_LIST(top, protocols, "imap pop3", "Protocols to serve."),
	CV_SETTING_BOOL(top, flag, "no", "A switch."),
	CV_SETTING_UINT(top, number, "7", 1, 1000, "A number."),
	CV_SETTING_SIZE(top, size, "64k", 0, 0, "A size."),
	CV_SETTING_TIME(top, wait, "30s", 0, 0, "A time."),
	CV_SETTING_STR(top, text, NULL, "A text."),
	CV_SETTING_VAR(top, place, "maildir:~/Maildir", "Where mail is."),
	CV_SETTING_LIST(top, words, NULL, "Some words."),
	CV_SETTING_ENUM(top, mode, "yes", mode_words, "A choice."),
	CV_SETTING_OCTAL(top, perm, "0600", "A mode."),
	CV_SETTING_FILE(top, cert, NULL, "A certificate."),
	{ "key", CV_SET_VAR, CV_SETTING_OFF(top, key, const char *), NULL, 0, 0, NULL, "A secret.", CV_SET_SECRET },
};

static int check_top(const void *set, struct cv_err *err)
{
	const struct top *top = set;
	if (top->number == 13)
		return cv_err_set(err, CV_ERR_INVALID, "number must not be 13");
	return 0;
}

static const struct cv_settings_table top_table = CV_SETTINGS_TABLE(NULL, "Test settings", top, top_rows, check_top);

static const struct cv_setting passdb_rows[] = {
	{ "driver", CV_SET_STR, CV_SETTING_OFF(passdb, driver, const char *), NULL, 0, 0, NULL, "Driver.", CV_SET_REQUIRED },
	CV_SETTING_STR(passdb, args, NULL, "Arguments."),
	CV_SETTING_SECRET(passdb, pass, NULL, "Password."),
};
static const struct cv_settings_table passdb_table = CV_SETTINGS_TABLE("passdb", "Password databases", passdb, passdb_rows, NULL);

static const struct cv_setting userdb_rows[] = {
	CV_SETTING_STR(userdb, driver, "static", "Driver."),
};
static const struct cv_settings_table userdb_table = {
	.kind = "userdb",
	.title = "User databases",
	.rows = userdb_rows,
	.count = 1,
	.struct_size = sizeof(struct userdb),
	.extra = true,
};

static const struct cv_settings_table *const all_tables[] = { &top_table, &passdb_table, &userdb_table };

#endif
