/* SPDX-License-Identifier: MIT
   Settings files, variables and the flat form: what loads prints as a file that loads to the same; nothing else does harm. */
#include <config.h>

#include "t/conf/conf-tables.h"
#include "t/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALL all_tables, CV_COUNT_OF(all_tables)
#define SHOWN (CV_CONF_SECRETS | CV_CONF_CHANGED | CV_CONF_ORIGIN)

/* Both readers of a settings file take a path. */
static struct cv_conf *load(struct cv_str text, struct cv_arena *arena)
{
	char path[64];
	struct cv_conf *conf = NULL;
	const struct cv_conf_problem *problems;
	size_t count;
	int fd = memfd_create("culver.ini", MFD_CLOEXEC);

	fuzz_check(fd >= 0);
	fuzz_check(fchmod(fd, 0600) == 0);
	while (text.len > 0) {
		ssize_t n = write(fd, text.ptr, text.len);
		fuzz_check(n > 0);
		text = cv_str_sub(text, (size_t)n, SIZE_MAX);
	}
	fuzz_check(snprintf(path, sizeof(path), "/proc/self/fd/%d", fd) < (int)sizeof(path));
	int ret = cv_conf_load(path, NULL, ALL, arena, &conf, &problems, &count);
	(void)close(fd);
	fuzz_check((ret == 0) == (count == 0) && (ret == 0) == (conf != NULL));
	for (size_t i = 0; i < count; i++)
		fuzz_check(problems[i].file != NULL && problems[i].text != NULL && problems[i].text[0] != '\0');
	return conf;
}

static void check_same(const struct cv_conf *a, const struct cv_conf *b, struct cv_arena *arena)
{
	size_t na, nb;
	const struct cv_conf_item *ia = cv_conf_items(a, ALL, CV_CONF_SECRETS, arena, &na);
	const struct cv_conf_item *ib = cv_conf_items(b, ALL, CV_CONF_SECRETS, arena, &nb);
	fuzz_check(na == nb);
	for (size_t i = 0; i < na; i++) {
		fuzz_check(strcmp(ia[i].kind, ib[i].kind) == 0 && strcmp(ia[i].name, ib[i].name) == 0);
		fuzz_check(strcmp(ia[i].key, ib[i].key) == 0 && ia[i].row == ib[i].row);
		fuzz_check(ia[i].changed == ib[i].changed);
		fuzz_check(!ia[i].changed || strcmp(ia[i].value, ib[i].value) == 0);
	}
}

static void check_file(struct cv_str text, struct cv_arena *arena)
{
	struct cv_conf *conf = load(text, arena), *again;
	struct cv_buf out;
	if (conf == NULL)
		return;
	cv_buf_init(&out, SIZE_MAX);
	cv_conf_print(conf, ALL, SHOWN, &out);
	again = load(cv_buf_str(&out), arena);
	fuzz_check(again != NULL);
	check_same(conf, again, arena);
	cv_buf_clear(&out);
	cv_conf_serialize(conf, false, &out);
	fuzz_check(cv_conf_deserialize(cv_buf_str(&out), arena, &again, NULL) == 0);
	check_same(conf, again, arena);
	cv_buf_deinit(&out);
}

/* Text whose syntax is right expands, unless a value does not fit its operator; wrong syntax never does. */
static void check_variables(struct cv_str text, struct cv_arena *arena)
{
	static const struct cv_var vars[] = {
		{ 'u', "user", CV_STR_INIT("user@example.com") },
		{ 'n', "username", CV_STR_INIT("user") },
		{ 'd', "domain", { NULL, 0 } },
	};
	struct cv_err err = { 0 };
	struct cv_buf out;
	const char *s = cv_arena_cstr(arena, text);
	if (s == NULL)
		return;
	int syntax = cv_var_check(s, &err);
	fuzz_check(syntax == 0 || err.code != CV_ERR_NONE);
	cv_buf_init(&out, 1 << 20);
	fuzz_check(syntax == 0 || cv_var_expand(&out, s, vars, CV_COUNT_OF(vars), &err) < 0);
	if (syntax == 0)
		(void)!cv_var_expand(&out, s, vars, CV_COUNT_OF(vars), &err);
	cv_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str octets = cv_str_mem(data, size);
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct cv_conf *conf;

	check_file(octets, arena);
	check_variables(octets, arena);
	if (cv_conf_deserialize(octets, arena, &conf, NULL) == 0) {
		size_t count;
		(void)cv_conf_items(conf, ALL, 0, arena, &count);
	}
	cv_arena_free(&arena);
	return 0;
}
