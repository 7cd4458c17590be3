/* SPDX-License-Identifier: MIT
   The module loader: what it refuses, and in what order it loads. */
#include "t/lib/test.h"

#include <culver/module.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
	struct cv_arena *arena;
	const char *dir;
	struct cv_registry *reg;
};

static int setup(void **state)
{
	if (cv_test_setup(state) != 0)
		return -1;
	struct cv_arena *arena = *state;
	struct fixture *f = cv_new(arena, struct fixture, 1);
	f->arena = arena;
	f->dir = cv_test_dir(state);
	f->reg = cv_registry_new();
	*state = f;
	return chmod(f->dir, 0755);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	cv_registry_free(&f->reg);
	*state = f->arena;
	return cv_test_teardown_fds_only(state);
}

static const char *path_of(struct fixture *f, const char *name)
{
	return cv_arena_printf(f->arena, "%s/%s.so", f->dir, name);
}

static void write_whole(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		assert_true(n > 0);
		data += n;
		len -= (size_t)n;
	}
}

/* The module built as `from` becomes NAME.so. */
static void install_as(struct fixture *f, const char *from, const char *name)
{
	char octets[65536];
	const char *source = cv_arena_printf(f->arena, "%s/%s.so", TEST_MODULE_DIR, from);
	int in = open(source, O_RDONLY | O_CLOEXEC), out = open(path_of(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	assert_true(in >= 0 && out >= 0);
	for (ssize_t n; (n = read(in, octets, sizeof(octets))) != 0;) {
		assert_true(n > 0);
		write_whole(out, octets, (size_t)n);
	}
	assert_int_equal(close(in), 0);
	assert_int_equal(fchmod(out, 0755), 0);
	assert_int_equal(close(out), 0);
}

static void install(struct fixture *f, const char *name)
{
	install_as(f, name, name);
}

static void assert_refused(struct fixture *f, const char *name, const char *want)
{
	struct cv_err err = { 0 };
	struct cv_module_info info;
	size_t pos = 0;
	assert_int_equal(cv_module_open(f->reg, f->dir, name, &err), -1);
	if (strstr(err.text, want) == NULL)
		print_message("%s\n", err.text);
	assert_non_null(strstr(err.text, want));
	while (cv_module_next(f->reg, &pos, &info))
		assert_string_not_equal(info.module->name, name);
}

static void open_ok(struct fixture *f, const char *name)
{
	struct cv_err err = { 0 };
	int ret = cv_module_open(f->reg, f->dir, name, &err);
	assert_string_equal(err.text, "");
	assert_int_equal(ret, 0);
}

static void a_good_module_is_opened_and_loaded_once(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	struct cv_module_info info;
	size_t pos = 0;
	install(f, "good");
	open_ok(f, "good");
	open_ok(f, "good");
	assert_true(cv_module_next(f->reg, &pos, &info));
	assert_string_equal(info.module->name, "good");
	assert_string_equal(info.path, path_of(f, "good"));
	assert_false(info.loaded);
	assert_false(cv_module_next(f->reg, &pos, &info));
	assert_null(cv_service_get(f->reg, "good", 1));
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_WORKER, &err), 0);
	assert_non_null(cv_service_get(f->reg, "good", 1));
	assert_null(cv_service_get(f->reg, "good", 2));
	pos = 0;
	assert_true(cv_module_next(f->reg, &pos, &info));
	assert_true(info.loaded);
}

static void a_module_is_not_loaded_in_a_role_that_it_does_not_name(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	install(f, "good");
	open_ok(f, "good");
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_FRONT, &err), 0);
	assert_null(cv_service_get(f->reg, "good", 1));
}

static void what_does_not_fit_is_refused_with_found_and_wanted(void **state)
{
	static const struct {
		const char *name, *text;
	} rows[] = {
		{ "bad-magic", "its magic number is 0x12345678, 0x4d564c43 is wanted" },
		{ "other-major", "was built for module interface 2.0, this server has 1.0" },
		{ "newer-minor", "needs module interface 1.1, this server has 1.0" },
		{ "tiny-struct", "its module structure has 8 octets" },
		{ "missing-symbol", "undefined symbol: cv_test_nobody_has_this" },
		{ "misnamed", "names itself \"another\", its file's name wants \"misnamed\"" },
		{ "bad-roles", "may be loaded in roles 0x100000" },
		{ "other-symbol", "has no symbol \"other_symbol_LTX_cv_module\"" },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		install(f, rows[i].name);
		assert_refused(f, rows[i].name, rows[i].text);
	}
}

static void a_module_whose_requirement_is_absent_is_refused(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	install(f, "needs-absent");
	assert_int_equal(cv_module_open(f->reg, f->dir, "needs-absent", &err), -1);
	assert_non_null(strstr(err.text, "module needs-absent requires absent: cannot look at"));
	/* And it cannot be loaded by the way. */
	memset(&err, 0, sizeof(err));
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_WORKER, &err), -1);
	assert_non_null(strstr(err.text, "module needs-absent requires absent, which is not there"));
}

static void a_shorter_structure_loads_and_has_no_later_members(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	install(f, "short-struct");
	open_ok(f, "short-struct");
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_WORKER, &err), 0);
	assert_non_null(cv_service_get(f->reg, "short-struct", 1));
	/* Its unload would end the process. */
	cv_registry_free(&f->reg);
}

static void required_modules_are_opened_and_loaded_first(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	install(f, "good");
	install(f, "a-needs-good");
	open_ok(f, "a-needs-good");
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_WORKER, &err), 0);
	assert_non_null(cv_service_get(f->reg, "good", 1));
}

static void a_circle_of_requirements_is_named(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	install(f, "cycle-a");
	install(f, "cycle-b");
	open_ok(f, "cycle-b");
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_WORKER, &err), -1);
	assert_string_equal(err.text, "modules require each other in a circle: cycle-a -> cycle-b -> cycle-a");
}

static void files_that_others_may_change_are_refused(void **state)
{
	struct fixture *f = *state;
	install(f, "good");
	assert_int_equal(chmod(path_of(f, "good"), 0757), 0);
	assert_refused(f, "good", "can be written by everyone (mode 0757): chmod o-w it");
	assert_int_equal(chmod(path_of(f, "good"), 0755), 0);
	assert_int_equal(chmod(f->dir, 0777), 0);
	assert_refused(f, "good", "can be written by everyone (mode 0777): chmod o-w it");
	assert_int_equal(chmod(f->dir, 0755), 0);
	open_ok(f, "good");
}

static void files_of_other_users_are_refused(void **state)
{
	struct fixture *f = *state;
	if (geteuid() != 0)
		skip();
	install(f, "good");
	assert_int_equal(chown(path_of(f, "good"), 12345, (gid_t)-1), 0);
	assert_refused(f, "good", "belongs to uid 12345, it must belong to root");
	assert_int_equal(chown(path_of(f, "good"), 0, 12345), 0);
	assert_int_equal(chmod(path_of(f, "good"), 0775), 0);
	assert_refused(f, "good", "can be written by group 12345");
	assert_int_equal(chmod(path_of(f, "good"), 0755), 0);
	open_ok(f, "good");
}

static void what_is_no_file_or_no_object_is_refused_with_the_true_reason(void **state)
{
	struct fixture *f = *state;
	assert_refused(f, "good", "No such file or directory");
	assert_int_equal(mkdir(path_of(f, "folder"), 0755), 0);
	assert_refused(f, "folder", "is not a regular file");
	int fd = open(path_of(f, "junk"), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	write_whole(fd, "this is not an object at all, but it has some octets\n", 53);
	assert_int_equal(close(fd), 0);
	assert_refused(f, "junk", "junk.so: ");
	struct cv_err err = { 0 };
	assert_int_equal(cv_module_open(f->reg, "relative/dir", "good", &err), -1);
	assert_non_null(strstr(err.text, "must be an absolute path"));
}

static void names_cannot_leave_the_directory(void **state)
{
	static const char *const names[] = { "", "../good", "Good", "a/b", "-good", "good.so", "gööd",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	struct fixture *f = *state;
	for (size_t i = 0; i < CV_COUNT_OF(names); i++)
		assert_refused(f, names[i], "is no module name");
}

static void modules_are_listed_by_name(void **state)
{
	struct fixture *f = *state;
	install(f, "short-struct");
	install(f, "good");
	install_as(f, "good", "libgood");
	install_as(f, "good", "Bad_Name");
	const char *const *list = cv_module_list(f->dir, f->arena);
	assert_string_equal(list[0], "good");
	assert_string_equal(list[1], "short-struct");
	assert_null(list[2]);
	assert_null(cv_module_list("/nonexistent", f->arena)[0]);
}

/* ---- Built-in modules: order, providers, slots ------------------------------------------------------------------- */

static char trace[200];

static void note(const char *what, const char *name)
{
	size_t len = strlen(trace);
	assert_true(snprintf(trace + len, sizeof(trace) - len, "%s%s ", what, name) < (int)(sizeof(trace) - len));
}

#define STATIC_MODULE(id, text, ...)                                                                          \
	static int id##_load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)                  \
	{                                                                                                     \
		(void)role;                                                                                   \
		note("+", text);                                                                              \
		return id##_provide(reg, err);                                                                \
	}                                                                                                     \
	static void id##_unload(struct cv_registry *reg)                                                      \
	{                                                                                                     \
		(void)reg;                                                                                    \
		note("-", text);                                                                              \
	}                                                                                                     \
	static const struct cv_module id##_module = {                                                         \
		CV_MODULE_ABI, .name = text, .version = "1", .kind = CV_KIND_PLUGIN, .roles = CV_ROLE_WORKER, .load = id##_load, \
		.unload = id##_unload, __VA_ARGS__                                                            \
	}

static const int thing_b = 2, thing_a = 1;

static int zeta_provide(struct cv_registry *reg, struct cv_err *err)
{
	assert_int_equal(cv_slot_register(reg), 0);
	assert_int_equal(cv_slot_register(reg), 1);
	if (cv_provide(reg, CV_CAP_SIEVE, "b", &thing_b, sizeof(thing_b), err) < 0)
		return -1;
	return cv_provide(reg, CV_CAP_SIEVE, "a", &thing_a, sizeof(thing_a), err);
}

static int alpha_provide(struct cv_registry *reg, struct cv_err *err)
{
	(void)err;
	/* What it requires is there already. */
	assert_non_null(cv_provider_get(reg, CV_CAP_SIEVE, "a"));
	return 0;
}

static int twice_provide(struct cv_registry *reg, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_SIEVE, "a", &thing_b, sizeof(thing_b), err);
}

static const char *const needs_zeta[] = { "zeta", NULL };
static const char *const needs_itself[] = { "itself", NULL };
STATIC_MODULE(zeta, "zeta", .needs = NULL);
STATIC_MODULE(alpha, "alpha", .needs = needs_zeta);
STATIC_MODULE(twice, "twice", .needs = needs_zeta);
static int itself_provide(struct cv_registry *reg, struct cv_err *err)
{
	(void)reg;
	(void)err;
	return 0;
}
STATIC_MODULE(itself, "itself", .needs = needs_itself);

static void add(struct fixture *f, const struct cv_module *module)
{
	struct cv_err err = { 0 };
	assert_int_equal(cv_module_add_static(f->reg, module, &err), 0);
}

static void load_order_follows_requirements_then_names_and_unload_is_reversed(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	trace[0] = '\0';
	install(f, "good");
	open_ok(f, "good");
	add(f, &alpha_module);
	add(f, &zeta_module);
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_WORKER, &err), 0);
	assert_string_equal(trace, "+zeta +alpha ");
	cv_registry_free(&f->reg);
	assert_string_equal(trace, "+zeta +alpha -alpha -zeta ");
}

static void providers_come_in_name_order_and_names_are_taken_once(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	const char *name;
	size_t pos = 0;
	add(f, &zeta_module);
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_WORKER, &err), 0);
	assert_ptr_equal(cv_provider_next(f->reg, CV_CAP_SIEVE, &pos, &name), &thing_a);
	assert_string_equal(name, "a");
	assert_ptr_equal(cv_provider_next(f->reg, CV_CAP_SIEVE, &pos, &name), &thing_b);
	assert_null(cv_provider_next(f->reg, CV_CAP_SIEVE, &pos, &name));
	assert_null(cv_provider_get(f->reg, CV_CAP_SIEVE, "c"));
	assert_null(cv_provider_get(f->reg, CV_CAP_FILTER, "a"));
	assert_string_equal(cv_provider_owner(f->reg, CV_CAP_SIEVE, "a"), "zeta");
	assert_int_equal(cv_slot_count(f->reg), 2);
	/* Only within load. */
	assert_int_equal(cv_provide(f->reg, CV_CAP_SIEVE, "d", &thing_a, sizeof(thing_a), &err), -1);
	assert_int_equal(cv_service_register(f->reg, "d", 1, &thing_a, &err), -1);
	assert_int_equal(err.code, CV_ERR_INTERNAL);
}

static void a_name_that_is_taken_fails_the_load_and_names_both(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	trace[0] = '\0';
	add(f, &twice_module);
	add(f, &zeta_module);
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_WORKER, &err), -1);
	assert_string_equal(err.text, "module twice: \"a\" is provided by module zeta already");
	cv_registry_free(&f->reg);
	assert_string_equal(trace, "+zeta +twice -zeta ");
}

static void a_module_that_requires_itself_is_a_circle(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	add(f, &itself_module);
	assert_int_equal(cv_modules_load(f->reg, CV_ROLE_WORKER, &err), -1);
	assert_string_equal(err.text, "modules require each other in a circle: itself -> itself");
}

static void two_modules_of_one_name_are_refused(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	add(f, &zeta_module);
	assert_int_equal(cv_module_add_static(f->reg, &zeta_module, &err), -1);
	assert_int_equal(err.code, CV_ERR_EXISTS);
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

struct set {
	bool flag;
};
static const struct cv_setting rows[] = { CV_SETTING_BOOL(set, flag, "no", "A switch.") };
static const struct cv_settings_table core_table = CV_SETTINGS_TABLE(NULL, "Core", set, rows, NULL);
static const struct cv_settings_table other_table = CV_SETTINGS_TABLE("thing", "Things", set, rows, NULL);
static const struct cv_settings_table *const module_tables[] = { &core_table, &other_table, NULL };

static int check(const struct cv_conf *conf, struct cv_err *err)
{
	return conf == NULL ? cv_err_set(err, CV_ERR_INVALID, "no settings") : 0;
}

static int with_tables_provide(struct cv_registry *reg, struct cv_err *err)
{
	(void)reg;
	(void)err;
	return 0;
}
STATIC_MODULE(with_tables, "with-tables", .settings = module_tables, .check = check);

static void tables_of_all_modules_come_once_each(void **state)
{
	static const struct cv_settings_table *const core[] = { &core_table };
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	size_t count;
	add(f, &zeta_module);
	add(f, &with_tables_module);
	const struct cv_settings_table *const *tables = cv_registry_tables(f->reg, core, 1, f->arena, &count);
	assert_int_equal(count, 2);
	assert_ptr_equal(tables[0], &core_table);
	assert_ptr_equal(tables[1], &other_table);
	assert_int_equal(cv_modules_check(f->reg, NULL, &err), -1);
	assert_string_equal(err.text, "module with-tables: no settings");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_good_module_is_opened_and_loaded_once),
		T(a_module_is_not_loaded_in_a_role_that_it_does_not_name),
		T(what_does_not_fit_is_refused_with_found_and_wanted),
		T(a_module_whose_requirement_is_absent_is_refused),
		T(a_shorter_structure_loads_and_has_no_later_members),
		T(required_modules_are_opened_and_loaded_first),
		T(a_circle_of_requirements_is_named),
		T(files_that_others_may_change_are_refused),
		T(files_of_other_users_are_refused),
		T(what_is_no_file_or_no_object_is_refused_with_the_true_reason),
		T(names_cannot_leave_the_directory),
		T(modules_are_listed_by_name),
		T(load_order_follows_requirements_then_names_and_unload_is_reversed),
		T(providers_come_in_name_order_and_names_are_taken_once),
		T(a_name_that_is_taken_fails_the_load_and_names_both),
		T(a_module_that_requires_itself_is_a_circle),
		T(two_modules_of_one_name_are_refused),
		T(tables_of_all_modules_come_once_each),
	};
	return cv_test_run(tests);
}
