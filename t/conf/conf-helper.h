/* SPDX-License-Identifier: MIT
   Settings tests: tables that have every type, and a directory with files. */
#ifndef CV_T_CONF_HELPER_H
#define CV_T_CONF_HELPER_H

#include "t/lib/test.h"

#include <culver/settings.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

struct fixture {
	struct cv_arena *arena;
	const char *dir;
	struct cv_conf *conf;
	const struct cv_conf_problem *problems;
	size_t problem_count;
};

CV_UNUSED static const char *path_of(struct fixture *f, const char *name)
{
	return cv_arena_printf(f->arena, "%s/%s", f->dir, name);
}

static int setup(void **state)
{
	if (cv_test_setup(state) != 0)
		return -1;
	struct cv_arena *arena = *state;
	struct fixture *f = cv_new(arena, struct fixture, 1);
	f->arena = arena;
	f->dir = cv_test_dir(state);
	*state = f;
	return mkdir(cv_arena_printf(arena, "%s/conf.d", f->dir), 0700);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	*state = f->arena;
	return cv_test_teardown(state);
}

static void write_file(struct fixture *f, const char *name, const char *text)
{
	int fd = open(path_of(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
}

CV_UNUSED static void print_problems(const struct fixture *f)
{
	for (size_t i = 0; i < f->problem_count; i++)
		print_message("%s:%u: %s\n", f->problems[i].file, f->problems[i].line, f->problems[i].text);
}

static void load_path(struct fixture *f, const char *path, const char *const *overrides)
{
	f->conf = NULL;
	int ret = cv_conf_load(path, overrides, all_tables, CV_COUNT_OF(all_tables), f->arena, &f->conf, &f->problems, &f->problem_count);
	assert_int_equal(ret, f->problem_count == 0 ? 0 : -1);
	assert_int_equal(ret == 0, f->conf != NULL);
}

CV_UNUSED static void load(struct fixture *f, const char *const *overrides)
{
	load_path(f, path_of(f, "culver.ini"), overrides);
}

CV_UNUSED static const struct top *top_for(struct fixture *f, const struct cv_conf_filter *filter)
{
	const void *set;
	struct cv_err err = { 0 };
	int ret = cv_conf_get(f->conf, &top_table, filter, f->arena, &set, &err);
	assert_string_equal(err.text, "");
	assert_int_equal(ret, 0);
	return set;
}

CV_UNUSED static const struct top *load_top(struct fixture *f, const char *const *overrides)
{
	load(f, overrides);
	print_problems(f);
	assert_int_equal(f->problem_count, 0);
	return top_for(f, NULL);
}

CV_UNUSED static const struct cv_conf_problem *find_problem(const struct fixture *f, const char *file, unsigned line, const char *text)
{
	for (size_t i = 0; i < f->problem_count; i++)
		if (strcmp(f->problems[i].file, file) == 0 && f->problems[i].line == line && strcmp(f->problems[i].text, text) == 0)
			return &f->problems[i];
	return NULL;
}

/* Exactly this one, in culver.ini. */
CV_UNUSED static void assert_problem(struct fixture *f, unsigned line, const char *text)
{
	load(f, NULL);
	if (f->problem_count != 1 || find_problem(f, path_of(f, "culver.ini"), line, text) == NULL)
		print_problems(f);
	assert_int_equal(f->problem_count, 1);
	assert_string_equal(f->problems[0].text, text);
	assert_int_equal(f->problems[0].line, line);
	assert_string_equal(f->problems[0].file, path_of(f, "culver.ini"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
