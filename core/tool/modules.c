/* SPDX-License-Identifier: MIT
   The culver command: opening modules, and `culver modules`. */
#include "core/proc/settings.h"
#include "core/tool/tool.h"

static const struct {
	enum cv_role role;
	const char *name;
} roles[] = {
	{ CV_ROLE_MASTER, "master" }, { CV_ROLE_FRONT, "front" }, { CV_ROLE_AUTH, "auth" }, { CV_ROLE_AUTH_HELPER, "auth-helper" },
	{ CV_ROLE_SPAWNER, "spawner" }, { CV_ROLE_WORKER, "worker" }, { CV_ROLE_TOOL, "tool" },
};

const char *tool_module_dir(struct tool *tool)
{
	const char *const *overrides = tool->overrides.data;
	/* Before the arguments are read to their end, the list has no end either. */
	if (tool->overrides.count > 0 && tool->overrides.data[tool->overrides.count - 1] != NULL) {
		const char **copy = cv_new(tool->arena, const char *, tool->overrides.count + 1);
		memcpy(copy, tool->overrides.data, tool->overrides.count * sizeof(*copy));
		overrides = copy;
	}
	const char *dir = cv_conf_peek(tool->conf_path, overrides, "mail_plugin_dir", tool->arena);
	return dir != NULL ? dir : CV_MODULE_DIR;
}

static void on_refused(void *ctx, const char *name, const struct cv_err *err)
{
	struct tool *tool = ctx;
	tool->refused++;
	tool_complain("module %s is refused: %s", name, err->text);
}

void tool_modules(struct tool *tool)
{
	struct cv_err err = { 0 };
	if (tool->reg != NULL)
		return;
	tool->reg = cv_registry_new();
	cv_server_modules_open(tool->reg, tool_module_dir(tool), on_refused, tool);
	if (cv_modules_load(tool->reg, CV_ROLE_TOOL, &err) < 0) {
		tool->refused++;
		tool_complain("modules: %s", err.text);
	}
}

/* ---- culver modules ------------------------------------------------------------------------------------------------ */

static const char *kind_name(enum cv_module_kind kind)
{
	switch (kind) {
	case CV_KIND_PROTOCOL:
		return "protocol";
	case CV_KIND_STORAGE:
		return "storage";
	case CV_KIND_AUTH:
		return "auth";
	case CV_KIND_FILTER:
		return "filter";
	case CV_KIND_PLUGIN:
		return "plugin";
	}
	return "unknown";
}

static const char *const capability_names[CV_CAP_COUNT] = {
	[CV_CAP_LOGIN] = "login", [CV_CAP_SESSION] = "session", [CV_CAP_STORAGE] = "storage", [CV_CAP_PASSDB] = "passdb", [CV_CAP_USERDB] = "userdb",
	[CV_CAP_SASL] = "sasl", [CV_CAP_PASS_SCHEME] = "scheme", [CV_CAP_FILTER] = "filter", [CV_CAP_TRANSFORM] = "transform",
	[CV_CAP_SEARCH] = "search", [CV_CAP_ADMIN] = "admin", [CV_CAP_IMAP_COMMAND] = "imap-command", [CV_CAP_SIEVE] = "sieve",
	[CV_CAP_SUBSCRIBER] = "subscriber", [CV_CAP_SERVICE] = "service", [CV_CAP_QUOTA] = "quota", [CV_CAP_IMAP_LIST] = "imap-list",
	[CV_CAP_TEXTS] = "texts",
};

struct view {
	struct tool *tool;
	struct cv_conf *conf; /* NULL: the settings have problems; all modules are looked at then */
	json_t *modules;      /* by name */
	struct output hooks, providers;
	int status;
};

static json_t *module_row(struct view *v, const struct cv_module_info *info)
{
	json_t *row = json_object_get(v->modules, info->module->name);
	if (row != NULL)
		return row;
	row = json_object();
	(void)json_object_set_new(row, "module", json_text(info->module->name));
	(void)json_object_set_new(row, "version", json_text(info->module->version));
	(void)json_object_set_new(row, "kind", json_text(kind_name(info->module->kind)));
	json_t *may = json_array();
	for (size_t i = 0; i < CV_COUNT_OF(roles); i++)
		if ((info->module->roles & (unsigned)roles[i].role) != 0)
			(void)json_array_append_new(may, json_text(roles[i].name));
	(void)json_object_set_new(row, "roles", may);
	(void)json_object_set_new(row, "loaded", json_array());
	(void)json_object_set_new(row, "path", json_text(info->path));
	(void)json_object_set_new(v->modules, info->module->name, row);
	return row;
}

static void view_hooks(struct view *v, const struct cv_registry *reg, const char *role)
{
	const char *hook, *handler;
	enum cv_hook_stage stage;
	json_int_t order = 0;
	const char *last = "";
	for (size_t pos = 0; cv_hook_next(reg, &pos, &hook, &handler, &stage);) {
		order = strcmp(hook, last) == 0 ? order + 1 : 1;
		last = hook;
		json_t *row = json_object();
		(void)json_object_set_new(row, "role", json_text(role));
		(void)json_object_set_new(row, "hook", json_text(hook));
		(void)json_object_set_new(row, "order", json_integer(order));
		(void)json_object_set_new(row, "handler", json_text(handler));
		(void)json_object_set_new(row, "stage", json_text(cv_hook_stage_name(stage)));
		output_row(&v->hooks, row);
	}
}

static void add_once(json_t *list, const char *text)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
			return;
	(void)json_array_append_new(list, json_text(text));
}

/* One row for what a module has of one capability. */
static json_t *provider_row(struct view *v, const char *module, const char *capability)
{
	for (size_t i = 0; i < json_array_size(v->providers.rows); i++) {
		json_t *row = json_array_get(v->providers.rows, i);
		if (strcmp(json_string_value(json_object_get(row, "module")), module) == 0 &&
			strcmp(json_string_value(json_object_get(row, "capability")), capability) == 0)
			return row;
	}
	json_t *row = json_object();
	(void)json_object_set_new(row, "module", json_text(module));
	(void)json_object_set_new(row, "capability", json_text(capability));
	(void)json_object_set_new(row, "names", json_array());
	(void)json_object_set_new(row, "roles", json_array());
	output_row(&v->providers, row);
	return row;
}

static void view_providers(struct view *v, const struct cv_registry *reg, const char *role)
{
	for (unsigned cap = 1; cap < CV_CAP_COUNT; cap++) {
		const char *name;
		for (size_t pos = 0; cv_provider_next(reg, (enum cv_capability)cap, &pos, &name) != NULL;) {
			json_t *row = provider_row(v, cv_provider_owner(reg, (enum cv_capability)cap, name), capability_names[cap]);
			add_once(json_object_get(row, "names"), name);
			add_once(json_object_get(row, "roles"), role);
		}
	}
}

/* What a process of the role would load: a registry of its own, as there. */
static void view_role(struct view *v, enum cv_role role, const char *role_name)
{
	struct cv_registry *reg = cv_registry_new();
	const char *const *names = cv_module_list(tool_module_dir(v->tool), v->tool->arena);
	struct cv_err err = { 0 };
	struct cv_module_info info;

	if (v->conf != NULL && cv_server_modules(v->tool->reg, v->conf, (unsigned)role, v->tool->arena, &names, &err) < 0) {
		tool_complain("%s: %s", role_name, err.text);
		v->status = EXIT_SETTINGS;
	}
	cv_registry_set_conf(reg, v->conf);
	for (size_t i = 0; names[i] != NULL; i++)
		(void)!cv_module_open(reg, tool_module_dir(v->tool), names[i], NULL); /* refused ones were told */
	if (cv_modules_load(reg, role, &err) < 0) {
		tool_complain("%s: %s", role_name, err.text);
		v->status = EXIT_SETTINGS;
	}
	for (size_t pos = 0; cv_module_next(reg, &pos, &info);)
		if (info.loaded)
			(void)json_array_append_new(json_object_get(module_row(v, &info), "loaded"), json_text(role_name));
	view_hooks(v, reg, role_name);
	view_providers(v, reg, role_name);
	cv_registry_free(&reg);
}

static const struct cv_admin_column module_columns[] = {
	{ "module", "Module", CV_ADMIN_COL_TEXT }, { "version", "Version", CV_ADMIN_COL_TEXT }, { "kind", "Kind", CV_ADMIN_COL_TEXT },
	{ "loaded", "Loaded in", CV_ADMIN_COL_LIST }, { "roles", NULL, CV_ADMIN_COL_LIST }, { "path", "File", CV_ADMIN_COL_TEXT }, { .key = NULL },
};
static const struct cv_admin_column provider_columns[] = {
	{ "module", "Module", CV_ADMIN_COL_TEXT }, { "capability", "Provides", CV_ADMIN_COL_TEXT }, { "roles", "In", CV_ADMIN_COL_LIST },
	{ "names", "Names", CV_ADMIN_COL_LIST }, { .key = NULL },
};
static const struct cv_admin_column hook_columns[] = {
	{ "role", "Role", CV_ADMIN_COL_TEXT }, { "hook", "Hook", CV_ADMIN_COL_TEXT }, { "order", "Order", CV_ADMIN_COL_NUMBER },
	{ "handler", "Handler", CV_ADMIN_COL_TEXT }, { "stage", "Stage", CV_ADMIN_COL_TEXT }, { .key = NULL },
};

static void show(struct view *v)
{
	struct output modules;
	struct cv_module_info info;

	output_init(&modules, v->tool);
	output_columns(&modules, module_columns, false);
	for (size_t pos = 0; cv_module_next(v->tool->reg, &pos, &info);)
		output_row(&modules, json_incref(module_row(v, &info)));
	if (v->tool->json) {
		json_t *whole = json_object();
		(void)json_object_set(whole, "modules", modules.rows);
		(void)json_object_set(whole, "providers", v->providers.rows);
		(void)json_object_set(whole, "hooks", v->hooks.rows);
		output_json(whole);
	} else {
		output_finish(&modules, NULL);
		if (json_array_size(v->providers.rows) > 0)
			(void)putchar('\n');
		output_finish(&v->providers, NULL);
		if (json_array_size(v->hooks.rows) > 0)
			(void)putchar('\n');
		output_finish(&v->hooks, NULL);
	}
	output_deinit(&modules);
}

static int run_modules(struct tool *tool)
{
	struct view v = { .tool = tool, .modules = json_object() };
	const struct cv_conf_problem *problems;
	size_t table_count, problem_count;

	tool_modules(tool);
	output_init(&v.hooks, tool);
	output_init(&v.providers, tool);
	output_columns(&v.hooks, hook_columns, false);
	output_columns(&v.providers, provider_columns, false);
	const struct cv_settings_table *const *tables = cv_server_tables(tool->reg, tool->arena, &table_count);
	if (cv_conf_load_with(tool->conf_path, tool->overrides.data, tables, table_count, CV_CONF_UNREADABLE_OK, tool->arena, &v.conf, &problems,
		    &problem_count) < 0) {
		tool_complain("the settings have problems (see culver conf check): all modules are shown, not those that the settings ask for");
		v.conf = NULL;
		v.status = EXIT_SETTINGS;
	}
	for (size_t i = 0; i < CV_COUNT_OF(roles); i++)
		if (roles[i].role != CV_ROLE_TOOL || tool_flag(tool, "all"))
			view_role(&v, roles[i].role, roles[i].name);
	show(&v);
	output_deinit(&v.hooks);
	output_deinit(&v.providers);
	json_decref(v.modules);
	return v.status != 0 ? v.status : tool->refused > 0 ? EXIT_SETTINGS : 0;
}

static const struct cv_admin_param modules_params[] = {
	{ .name = "all", .letter = 'a', .kind = CV_ADMIN_FLAG, .help = "also what this command itself loads" },
	{ .name = NULL },
};
static const struct cv_admin_spec modules_spec = {
	.name = "modules",
	.role = CV_ROLE_TOOL,
	.params = modules_params,
	.summary = "show modules, what they provide, and hooks in their order",
	.help = "Opens the modules as the server would with these settings, role by role, and shows three tables: the modules and the processes that load them, what each provides, and "
		"the handlers of each hook in the order in which they run. The order comes from stages, constraints and names, never from files or load order. Exit status "
		"78 when a module is refused.",
};
const struct local_command tool_modules_command = { .spec = &modules_spec, .run = run_modules };
