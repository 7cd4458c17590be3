/* SPDX-License-Identifier: MIT
   Settings tests: a directory with files, loading them, and what is expected of that. */
#ifndef CV_T_CONF_HELPER_H
#define CV_T_CONF_HELPER_H

#include "t/conf/conf-tables.h"
#include "t/lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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
