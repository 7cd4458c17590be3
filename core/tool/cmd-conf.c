/* SPDX-License-Identifier: MIT
   culver conf: settings in effect, all problems, and what a setting means. */
#include "core/proc/master.h"
#include "core/proc/settings.h"
#include "core/tool/tool.h"

struct settings {
	const struct cv_settings_table *const *tables;
	size_t table_count;
	struct cv_conf *conf; /* NULL: there are problems */
	const struct cv_conf_problem *problems;
	size_t problem_count;
};

static void load(struct tool *tool, unsigned opts, struct settings *s)
{
	memset(s, 0, sizeof(*s));
	tool_modules(tool);
	s->tables = cv_server_tables(tool->reg, tool->arena, &s->table_count);
	if (cv_conf_load_with(tool->conf_path, tool->overrides.data, s->tables, s->table_count, opts, tool->arena, &s->conf, &s->problems,
		    &s->problem_count) < 0)
		s->conf = NULL;
}

static void print_problems(const struct settings *s, FILE *to)
{
	for (size_t i = 0; i < s->problem_count; i++) {
		const struct cv_conf_problem *p = &s->problems[i];
		if (p->file != NULL) {
			output_text(to, p->file);
			if (p->line > 0)
				(void)fprintf(to, ":%u", p->line);
			(void)fputs(": ", to);
		}
		output_text(to, p->text);
		(void)fputc('\n', to);
	}
}

static json_t *problems_json(const struct settings *s)
{
	json_t *list = json_array();
	for (size_t i = 0; i < s->problem_count; i++) {
		json_t *row = json_object();
		(void)json_object_set_new(row, "file", s->problems[i].file != NULL ? json_text(s->problems[i].file) : json_null());
		(void)json_object_set_new(row, "line", s->problems[i].line > 0 ? json_integer(s->problems[i].line) : json_null());
		(void)json_object_set_new(row, "text", json_text(s->problems[i].text));
		(void)json_array_append_new(list, row);
	}
	json_t *whole = json_object();
	(void)json_object_set_new(whole, "problems", list);
	return whole;
}

static int report_problems(struct tool *tool, const struct settings *s)
{
	print_problems(s, stderr);
	tool_complain("the settings have %zu problem%s", s->problem_count, s->problem_count == 1 ? "" : "s");
	if (tool->json)
		output_json(problems_json(s));
	return EXIT_SETTINGS;
}

/* ---- culver conf ----------------------------------------------------------------------------------------------------- */

static bool wanted(const struct tool *tool, const char *key)
{
	const char *name;
	bool any = false;
	for (size_t pos = 0; (name = tool_arg_next(tool, "name", &pos)) != NULL;) {
		any = true;
		if (cv_str_caseeq(cv_str_c(name), cv_str_c(key)))
			return true;
	}
	return !any;
}

static json_t *item_json(const struct cv_conf_item *item)
{
	json_t *row = json_object();
	(void)json_object_set_new(row, "section", *item->kind == '\0' ? json_null() : json_text(item->kind));
	(void)json_object_set_new(row, "section_name", *item->kind == '\0' ? json_null() : json_text(item->name));
	(void)json_object_set_new(row, "name", json_text(item->key));
	(void)json_object_set_new(row, "value", item->hidden ? json_null() : json_text(item->value));
	(void)json_object_set_new(row, "hidden", json_boolean(item->hidden));
	(void)json_object_set_new(row, "changed", json_boolean(item->changed));
	(void)json_object_set_new(row, "default", json_text(item->row != NULL ? item->row->def : NULL));
	(void)json_object_set_new(row, "file", json_text(item->file));
	(void)json_object_set_new(row, "line", item->line > 0 ? json_integer(item->line) : json_null());
	(void)json_object_set_new(row, "help", json_text(item->row != NULL ? item->row->help : NULL));
	return row;
}

static int print_items(struct tool *tool, const struct settings *s, unsigned show)
{
	size_t count, shown = 0;
	const struct cv_conf_item *items = cv_conf_items(s->conf, s->tables, s->table_count, show, tool->arena, &count);
	json_t *list = json_array();
	bool names = tool_flag(tool, "name");

	for (size_t i = 0; i < count; i++) {
		const struct cv_conf_item *item = &items[i];
		if (!wanted(tool, item->key))
			continue;
		shown++;
		if (tool->json) {
			(void)json_array_append_new(list, item_json(item));
			continue;
		}
		if (*item->kind != '\0')
			(void)printf("[%s %s] ", item->kind, item->name);
		(void)printf("%s = ", item->key);
		output_text(stdout, item->value);
		(void)putchar('\n');
	}
	if (tool->json)
		output_json(json_incref(list));
	json_decref(list);
	if (!names || shown > 0)
		return 0;
	struct cv_buf ignored;
	struct cv_err err = { 0 };
	const char *name = tool_arg(tool, "name");
	int status = 0;
	cv_buf_init(&ignored, 1 << 20);
	if (cv_conf_explain(NULL, s->tables, s->table_count, name, &ignored, &err) < 0) {
		tool_complain("%s", err.text);
		status = cv_admin_exit_status(err.code);
	}
	cv_buf_deinit(&ignored);
	return status;
}

static int run_conf(struct tool *tool)
{
	struct settings s;
	struct cv_buf out;
	unsigned show = (tool_flag(tool, "changed") ? (unsigned)CV_CONF_CHANGED : 0) | (tool_flag(tool, "secrets") ? (unsigned)CV_CONF_SECRETS : 0) |
		(tool_flag(tool, "origin") ? (unsigned)CV_CONF_ORIGIN : 0);

	load(tool, CV_CONF_UNREADABLE_OK, &s);
	if (s.conf == NULL)
		return report_problems(tool, &s);
	if (tool->json || tool_flag(tool, "name"))
		return print_items(tool, &s, show);
	cv_buf_init_wipe(&out, 64 * 1024 * 1024);
	cv_conf_print(s.conf, s.tables, s.table_count, show, &out);
	(void)fwrite(out.len > 0 ? out.data : "", 1, out.len, stdout);
	bool ok = cv_buf_ok(&out);
	cv_buf_deinit(&out);
	if (!ok)
		tool_complain("the settings are too long to show");
	return ok ? 0 : EXIT_INTERNAL;
}

static const struct cv_admin_param conf_params[] = {
	{ .name = "changed", .letter = 'n', .kind = CV_ADMIN_FLAG, .help = "only what differs from its default" },
	{ .name = "origin", .letter = 'f', .kind = CV_ADMIN_FLAG, .help = "file and line of each setting in a comment above it" },
	{ .name = "secrets", .letter = 'S', .kind = CV_ADMIN_FLAG, .help = "show passwords too; otherwise they are #hidden" },
	{ .name = "name", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REPEAT, .meta = "NAME", .help = "only these settings" },
	{ .name = NULL },
};
static const struct cv_admin_spec conf_spec = {
	.name = "conf",
	.role = CV_ROLE_TOOL,
	.params = conf_params,
	.summary = "show settings as they are in effect",
	.help = "Reads the settings files as the server does at its next start or reload. What is shown is a settings file again: -n -S of a server is all that another one needs to be "
		"set up the same. Exit status 78, and every problem with file and line, when the settings are wrong.",
};
const struct local_command tool_conf = { .spec = &conf_spec, .run = run_conf };

/* ---- culver conf check ------------------------------------------------------------------------------------------------ */

struct found {
	struct cv_arena *arena;
	CV_VEC(struct cv_conf_problem) problems;
};

static void on_problem(void *ctx, const struct cv_conf_problem *problem)
{
	struct found *found = ctx;
	struct cv_conf_problem *copy = cv_vec_push(&found->problems);

	copy->file = problem->file != NULL ? cv_arena_strdup(found->arena, problem->file) : NULL;
	copy->line = problem->line;
	copy->text = cv_arena_strdup(found->arena, problem->text);
}

/* The reading is the server's own, so that what passes here starts there. */
static int run_check(struct tool *tool)
{
	const struct master_opts opts = { .conf_path = tool->conf_path, .overrides = tool->overrides.data, .ready_fd = -1 };
	struct found found = { .arena = tool->arena };
	int status = 0;

	tool_modules(tool);
	struct master_conf *mc = master_conf_load(&opts, on_problem, &found);
	const struct settings s = { .problems = found.problems.data, .problem_count = found.problems.count };
	if (mc == NULL) {
		status = report_problems(tool, &s);
	} else {
		if (tool->json)
			output_json(problems_json(&s));
		else
			(void)printf("%s: no problems\n", tool->conf_path);
		if (tool->refused > 0)
			status = EXIT_SETTINGS;
	}
	master_conf_free(&mc);
	cv_vec_free(&found.problems);
	return status;
}

static const struct cv_admin_param no_params[] = { { .name = NULL } };
static const struct cv_admin_spec check_spec = {
	.name = "conf check",
	.role = CV_ROLE_TOOL,
	.params = no_params,
	.summary = "find every problem in the settings files",
	.help = "Checks what the server checks when it starts or reloads: names, values, repeated settings, files that settings name, what the INI reader would misread, modules, "
		"listeners, databases, certificates and the system's users; and says all with file and line. Run it as root: it reads the private keys too. Exit status 0 when there is no problem, 78 when there is one.",
};
const struct local_command tool_conf_check = { .spec = &check_spec, .run = run_check };

/* ---- culver conf explain ---------------------------------------------------------------------------------------------- */

static json_t *explain_json(const struct settings *s, const char *key, struct cv_arena *arena)
{
	json_t *list = json_array();
	for (size_t i = 0; i < s->table_count; i++) {
		for (size_t j = 0; j < s->tables[i]->count; j++) {
			const struct cv_setting *row = &s->tables[i]->rows[j];
			if (!cv_str_caseeq_c(cv_str_c(key), row->key))
				continue;
			json_t *one = json_object();
			(void)json_object_set_new(one, "name", json_text(row->key));
			(void)json_object_set_new(one, "section", json_text(s->tables[i]->kind));
			(void)json_object_set_new(one, "help", json_text(row->help));
			(void)json_object_set_new(one, "default", json_text(row->def));
			(void)json_object_set_new(one, "part", json_text(s->tables[i]->title));
			json_t *values = json_array();
			size_t count = 0;
			const struct cv_conf_item *items = s->conf == NULL ? NULL : cv_conf_items(s->conf, s->tables, s->table_count, 0, arena, &count);
			for (size_t k = 0; k < count; k++)
				if (items[k].row == row)
					(void)json_array_append_new(values, item_json(&items[k]));
			(void)json_object_set_new(one, "values", values);
			(void)json_array_append_new(list, one);
		}
	}
	return list;
}

static int run_explain(struct tool *tool)
{
	struct settings s;
	struct cv_buf out;
	struct cv_err err = { 0 };
	const char *name;
	int status = 0;

	load(tool, CV_CONF_UNREADABLE_OK, &s);
	if (s.conf == NULL)
		tool_complain("the settings have problems (see culver conf check): values in effect are not shown");
	cv_buf_init(&out, 1 << 20);
	json_t *all = json_array();
	for (size_t pos = 0; (name = tool_arg_next(tool, "name", &pos)) != NULL;) {
		if (out.len > 0)
			cv_buf_append_char(&out, '\n');
		if (cv_conf_explain(s.conf, s.tables, s.table_count, name, &out, &err) < 0) {
			tool_complain("%s", err.text);
			status = cv_admin_exit_status(err.code);
		} else if (tool->json) {
			json_t *one = explain_json(&s, name, tool->arena);
			(void)json_array_extend(all, one);
			json_decref(one);
		}
	}
	if (tool->json)
		output_json(json_incref(all));
	else if (out.len > 0)
		output_text(stdout, out.data);
	json_decref(all);
	cv_buf_deinit(&out);
	return status;
}

static const struct cv_admin_param explain_params[] = {
	{ .name = "name", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED | CV_ADMIN_REPEAT, .meta = "NAME", .help = "a setting" },
	{ .name = NULL },
};
static const struct cv_admin_spec explain_spec = {
	.name = "conf explain",
	.role = CV_ROLE_TOOL,
	.params = explain_params,
	.summary = "say what a setting means, what it is, and where that is set",
};
const struct local_command tool_conf_explain = { .spec = &explain_spec, .run = run_explain };

/* ---- culver conf manual: the build makes culver.ini(5) of it ------------------------------------------------------------ */

static int run_manual(struct tool *tool)
{
	struct cv_buf out;
	size_t count;

	tool_modules(tool);
	const struct cv_settings_table *const *tables = cv_server_tables(tool->reg, tool->arena, &count);
	cv_buf_init(&out, 4 << 20);
	cv_conf_manual(tables, count, &out);
	(void)fwrite(out.len > 0 ? out.data : "", 1, out.len, stdout);
	bool ok = cv_buf_ok(&out);
	cv_buf_deinit(&out);
	return ok && tool->refused == 0 ? 0 : EXIT_INTERNAL;
}

static const struct cv_admin_spec manual_spec = {
	.name = "conf manual",
	.role = CV_ROLE_TOOL,
	.params = no_params,
	.summary = "write the manual page of all settings (mdoc)",
	.help = "culver.ini(5) is made by this. Run it again after installing further modules to see their settings: culver conf manual | man -l -",
};
const struct local_command tool_conf_manual = { .spec = &manual_spec, .run = run_manual };
