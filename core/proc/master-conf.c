/* SPDX-License-Identifier: MIT
   The master's reading of settings: everything is read and checked as a whole before any of it counts. */
#include "core/proc/auth-private.h"
#include "core/proc/master.h"

#include <culver/hooks.h>
#include <culver/protocol.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRONTS_MAX 256u

struct reading {
	const struct master_opts *opts;
	struct master_conf *mc;
	master_problem_fn *fn;
	void *ctx;
	unsigned problems;
	const struct cv_conf_item *items; /* all that is set, for the place of what is wrong; set once the files are read */
	size_t item_count;
	struct cv_map *refused; /* module name -> why it could not be opened */
};

const char *master_problem_text(const struct cv_conf_problem *problem, char *buf, size_t size)
{
	if (problem->file == NULL)
		(void)snprintf(buf, size, "%s", problem->text);
	else if (problem->line == 0)
		(void)snprintf(buf, size, "%s: %s", problem->file, problem->text);
	else
		(void)snprintf(buf, size, "%s:%u: %s", problem->file, problem->line, problem->text);
	return buf;
}

CV_PRINTF(4, 0)
static void tell(struct reading *r, const char *file, unsigned line, const char *fmt, va_list ap)
{
	char text[2048];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	r->problems++;
	r->fn(r->ctx, &(const struct cv_conf_problem){ .file = file, .line = line, .text = text });
}

CV_PRINTF(2, 3)
static void problem(struct reading *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(r, NULL, 0, fmt, ap);
	va_end(ap);
}

/* With the place at which key is set in [kind name]; kind NULL: outside of sections. */
CV_PRINTF(5, 6)
static void problem_at(struct reading *r, const char *kind, const char *name, const char *key, const char *fmt, ...)
{
	const struct cv_conf_item *at = NULL;
	va_list ap;

	for (size_t i = 0; i < r->item_count && key != NULL && at == NULL; i++) {
		const struct cv_conf_item *item = &r->items[i];
		if (strcmp(item->kind, kind != NULL ? kind : "") == 0 && strcmp(item->name, name != NULL ? name : "") == 0 &&
			strcmp(item->key, key) == 0)
			at = item;
	}
	va_start(ap, fmt);
	tell(r, at != NULL ? at->file : NULL, at != NULL ? at->line : 0, fmt, ap);
	va_end(ap);
}

/* ---- Modules --------------------------------------------------------------------------------------------------- */

static void on_refused(void *ctx, const char *name, const struct cv_err *err)
{
	struct reading *r = ctx;

	(void)cv_map_set(r->refused, cv_str_c(name), cv_arena_strdup(r->mc->arena, err->text));
}

/* Every module is opened, for its settings; those that no setting asks for may be broken. */
static const char *open_modules(struct reading *r)
{
	const char *dir = cv_conf_peek(r->opts->conf_path, r->opts->overrides, "mail_plugin_dir", r->mc->arena);

	if (dir == NULL || dir[0] == '\0')
		dir = CV_MODULE_DIR;
	r->mc->registry = cv_registry_new();
	if (dir[0] == '/')
		cv_server_modules_open(r->mc->registry, dir, on_refused, r);
	return dir;
}

/* Names for a role; a fault is told once, by the first role that asks. */
static const char *const *role_modules(struct reading *r, unsigned roles)
{
	const char *const *names = NULL;
	struct cv_err err = { 0 };

	if (cv_server_modules(r->mc->registry, r->mc->conf, roles, r->mc->arena, &names, &err) < 0 && r->problems == 0) {
		struct cv_str name;
		void *why;
		problem(r, "%s", err.text);
		for (size_t pos = 0; cv_map_next(r->refused, &pos, &name, &why);)
			problem(r, "module %.*s was refused: %s", CV_STR_ARG(name), (const char *)why);
	}
	return names;
}

static bool among(const char *const *names, const char *name)
{
	for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static void run_checks(struct reading *r)
{
	struct master_conf *mc = r->mc;
	struct cv_module_info info;

	for (size_t pos = 0; cv_module_next(mc->registry, &pos, &info);) {
		struct cv_err err = { 0 };
		if (info.module->check == NULL || !(among(mc->front_modules, info.module->name) || among(mc->auth_modules, info.module->name) ||
							  among(mc->worker_modules, info.module->name)))
			continue;
		if (info.module->check(mc->conf, &err) < 0)
			problem(r, "module %s: %s", info.module->name, err.text);
	}
}

/* A registry as that role will have it; NULL with err. */
static struct cv_registry *load_as(const struct master_conf *mc, enum cv_role role, const char *const *names, struct cv_err *err)
{
	struct cv_registry *reg = cv_registry_new();

	cv_registry_set_conf(reg, mc->conf);
	for (size_t i = 0; names[i] != NULL; i++) {
		if (cv_module_open(reg, mc->core->mail_plugin_dir, names[i], err) < 0) {
			cv_registry_free(&reg);
			return NULL;
		}
	}
	if (cv_modules_load(reg, role, err) < 0)
		cv_registry_free(&reg);
	return reg;
}

/* ---- Listeners ---------------------------------------------------------------------------------------------------- */

static const char *socket_path(const struct master_conf *mc, const char *path)
{
	return path[0] == '/' ? path : cv_arena_printf(mc->arena, "%s/%s", mc->core->base_dir, path);
}

static void want_tcp(struct master_conf *mc, struct listener_want want, const char *const *addresses)
{
	want.address_given = addresses != NULL && addresses[0] != NULL;
	if (!want.address_given)
		addresses = mc->core->listen;
	for (size_t i = 0; addresses != NULL && addresses[i] != NULL; i++) {
		want.address = addresses[i];
		*cv_vec_push(&mc->listeners) = want;
	}
}

static const struct cv_login_listener *default_listener(const struct cv_registry *front, const char *name, const char **protocol_r)
{
	const struct cv_login_protocol *p;

	for (size_t pos = 0; (p = cv_provider_next(front, CV_CAP_LOGIN, &pos, NULL)) != NULL;) {
		for (const struct cv_login_listener *l = p->listeners; l != NULL && l->name != NULL; l++) {
			if (strcmp(l->name, name) == 0) {
				*protocol_r = p->name;
				return l;
			}
		}
	}
	return NULL;
}

static bool serves(const struct master_conf *mc, const struct cv_registry *front, const char *protocol)
{
	if (strcmp(protocol, "auth-client") == 0)
		return true;
	return among(mc->core->protocols, protocol) && cv_provider_get(front, CV_CAP_LOGIN, protocol) != NULL;
}

static bool has_login_module(const struct master_conf *mc, const char *protocol)
{
	const char *module = cv_arena_printf(mc->arena, "%s-login", protocol);
	struct cv_module_info info;

	for (size_t pos = 0; cv_module_next(mc->registry, &pos, &info);) {
		if (strcmp(info.module->name, module) == 0)
			return true;
	}
	return false;
}

static bool same_place(const struct listener_want *a, const struct listener_want *b)
{
	if (a->path != NULL || b->path != NULL)
		return a->path != NULL && b->path != NULL && strcmp(a->path, b->path) == 0;
	return a->port == b->port && strcmp(a->address, b->address) == 0;
}

/* Only one of them could listen there. */
static void check_places(struct reading *r)
{
	const struct master_conf *mc = r->mc;

	for (size_t i = 0; i < mc->listeners.count; i++) {
		for (size_t j = 0; j < i; j++) {
			const struct listener_want *a = &mc->listeners.data[j], *b = &mc->listeners.data[i];
			if (same_place(a, b))
				problem_at(r, "listener", b->name, b->path != NULL ? "path" : "port", "listeners %s and %s have the same %s", a->name, b->name,
					b->path != NULL ? "path" : "address and port");
		}
	}
}

static void given_listener(struct reading *r, const struct cv_registry *front, const char *name, struct cv_map *given)
{
	struct master_conf *mc = r->mc;
	const void *set;
	struct cv_err err = { 0 };
	const char *protocol = NULL;

	if (cv_conf_get_section(mc->conf, &cv_listener_settings_table, name, mc->arena, &set, &err) < 0) {
		problem(r, "[listener %s]: %s", name, err.text);
		return;
	}
	const struct cv_listener_settings *ls = set;
	const struct cv_login_listener *def = default_listener(front, name, &protocol);
	if (ls->protocol != NULL)
		protocol = ls->protocol;
	if (protocol == NULL) {
		problem(r, "[listener %s]: protocol: which one? No protocol has a listener of that name", name);
		return;
	}
	(void)cv_map_set(given, cv_str_c(protocol), mc);
	if (!serves(mc, front, protocol)) {
		/* One that is switched off in `protocols` is no mistake; one that nobody knows is. */
		if (!has_login_module(mc, protocol))
			problem_at(r, "listener", name, "protocol", "[listener %s]: there is no protocol %s that takes connections (no module %s-login)",
				name, protocol, protocol);
		return;
	}
	struct listener_want want = { .name = name, .protocol = protocol, .mode = ls->mode, .user = ls->user, .group = ls->group,
		.backlog = (int)ls->backlog, .tls = ls->ssl || (def != NULL && def->tls && ls->port == 0) };
	if (ls->path != NULL) {
		if (ls->port != 0 || ls->ssl)
			problem(r, "[listener %s]: path is a Unix socket, which has no port and no ssl", name);
		want.path = socket_path(mc, ls->path);
		want.tls = false;
		*cv_vec_push(&mc->listeners) = want;
	} else if (ls->port != 0) {
		if (strcmp(protocol, "auth-client") == 0) {
			problem(r, "[listener %s]: auth-client speaks over a Unix socket only: give path instead of port", name);
			return;
		}
		want.port = (unsigned)ls->port;
		want_tcp(mc, want, ls->address);
	}
	/* Neither port nor path: switched off. */
}

static bool uses_tls(const struct master_conf *mc, const char *protocol)
{
	struct cv_conf_filter filter = { .protocol = protocol };
	const void *set;

	return cv_conf_get(mc->conf, &cv_ssl_settings_table, &filter, mc->arena, &set, NULL) == 0 &&
		((const struct cv_ssl_settings *)set)->ssl != CV_SSL_NO;
}

static void find_listeners(struct reading *r, const struct cv_registry *front)
{
	struct master_conf *mc = r->mc;
	struct cv_map *given = cv_map_new();
	const struct cv_login_protocol *p;
	const char *name;

	for (size_t pos = 0; cv_conf_section_next(mc->conf, "listener", &pos, &name);)
		given_listener(r, front, name, given);
	/* A protocol that has listeners in the settings has no others. */
	for (size_t pos = 0; (p = cv_provider_next(front, CV_CAP_LOGIN, &pos, NULL)) != NULL;) {
		if (!serves(mc, front, p->name) || cv_map_get(given, cv_str_c(p->name)) != NULL)
			continue;
		for (const struct cv_login_listener *l = p->listeners; l != NULL && l->name != NULL; l++) {
			if (l->tls && !uses_tls(mc, p->name))
				continue;
			struct listener_want want = { .name = l->name, .protocol = p->name, .tls = l->tls, .port = l->port, .mode = 0600,
				.backlog = 511 };
			if (l->path != NULL) {
				want.path = socket_path(mc, l->path);
				*cv_vec_push(&mc->listeners) = want;
			} else if (l->port != 0) {
				want_tcp(mc, want, NULL);
			}
		}
	}
	cv_map_free(&given);
	if (mc->listeners.count == 0 && mc->core->protocols != NULL && mc->core->protocols[0] != NULL &&
		strcmp(mc->core->protocols[0], "none") != 0)
		problem(r, "no listener is left: every [listener NAME] has neither port nor path");
	check_places(r);
}

/* ---- Databases, storage ------------------------------------------------------------------------------------------------ */

static void auth_problem(void *ctx, const char *kind, const char *name, const char *key, const char *text)
{
	problem_at(ctx, kind, name, key, "%s", text);
}

/* The place of mail for users of whom the user database says nothing else. */
static void check_storage(struct reading *r, const struct cv_registry *worker)
{
	for (size_t i = 0; i < r->item_count; i++) {
		const struct cv_conf_item *item = &r->items[i];
		struct cv_str driver, rest;
		if (*item->kind != '\0' || strcmp(item->key, "mail_location") != 0)
			continue;
		if (!cv_str_split(cv_str_c(item->value), ':', &driver, &rest) || memchr(driver.ptr, '%', driver.len) != NULL)
			continue; /* an empty one, or one that differs by user */
		if (cv_provider_get(worker, CV_CAP_STORAGE, cv_arena_cstr(r->mc->arena, driver)) == NULL)
			problem_at(r, NULL, NULL, item->key, "mail_location: no module provides the storage %.*s", CV_STR_ARG(driver));
	}
}

/* ---- TLS, users -------------------------------------------------------------------------------------------------------- */

static void check_tls(struct reading *r)
{
	struct cv_err err = { 0 };

	if (tls_conf_build(r->mc, false, &r->mc->tls, &err) < 0)
		problem(r, "%s", err.text);
}

/* Whose sockets are another user's runs as that user, though root looks at its settings. */
static bool runs_without_root(const struct cv_core_settings *core)
{
	struct stat st;

	return geteuid() != 0 || (stat(core->base_dir, &st) == 0 && st.st_uid != 0);
}

static void check_users(struct reading *r)
{
	const struct cv_core_settings *core = r->mc->core;
	struct cv_err err = { 0 };
	uint32_t internal, login, gid;

	if (runs_without_root(core))
		return;
	if (cv_restrict_user(core->default_internal_user, &internal, &gid, &err) < 0)
		problem(r, "default_internal_user: %s", err.text);
	else if (internal == 0)
		problem(r, "default_internal_user: must not be root");
	if (cv_restrict_user(core->default_login_user, &login, &gid, &err) < 0)
		problem(r, "default_login_user: %s", err.text);
	else if (login == 0)
		problem(r, "default_login_user: must not be root");
	if (cv_restrict_group(core->default_internal_group, &gid, &err) < 0)
		problem(r, "default_internal_group: %s", err.text);
	for (size_t i = 0; core->mail_access_groups != NULL && core->mail_access_groups[i] != NULL; i++) {
		if (cv_restrict_group(core->mail_access_groups[i], &gid, &err) < 0)
			problem(r, "mail_access_groups: %s", err.text);
	}
}

static unsigned count_fronts(const struct master_conf *mc)
{
	const struct cv_service_settings *service = cv_service_settings(mc->conf, "front", mc->arena);
	cpu_set_t set;

	if (service->process_limit != 0)
		return (unsigned)CV_MIN(service->process_limit, FRONTS_MAX);
	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return CV_MIN((unsigned)CPU_COUNT(&set), FRONTS_MAX);
	return 1;
}

static void check_services(struct reading *r)
{
	static const char *const names[] = { "front", "auth", "spawner", "worker", NULL };
	const char *name;

	for (size_t pos = 0; cv_conf_section_next(r->mc->conf, "service", &pos, &name);) {
		const struct cv_service_settings *service = cv_service_settings(r->mc->conf, name, r->mc->arena);
		bool front = strcmp(name, "front") == 0, worker = strcmp(name, "worker") == 0;
		if (!among(names, name)) {
			problem(r, "[service %s]: there is no such process; there are front, auth, spawner and worker", name);
			continue;
		}
		if (service->process_limit != 0 && !front && !worker)
			problem(r, "[service %s]: process_limit has no effect, there is one such process (helpers of auth: auth_worker_max_count)", name);
		if (service->client_limit != 0 && !front && !worker)
			problem(r, "[service %s]: client_limit is for front and worker only", name);
		if (service->idle_kill != 0 && !worker)
			problem(r, "[service %s]: idle_kill is for worker only", name);
		if (service->idle_limit != 0 && !worker)
			problem(r, "[service %s]: idle_limit is for worker only", name);
	}
}

/* ---- The whole --------------------------------------------------------------------------------------------------------- */

static void check_all(struct reading *r)
{
	struct master_conf *mc = r->mc;
	static const struct {
		enum cv_role role;
		const char *name;
	} roles[] = { { CV_ROLE_FRONT, "front" }, { CV_ROLE_AUTH, "auth" }, { CV_ROLE_AUTH_HELPER, "auth helper" }, { CV_ROLE_WORKER, "worker" } };

	mc->front_modules = role_modules(r, CV_ROLE_FRONT);
	mc->auth_modules = role_modules(r, CV_ROLE_AUTH | CV_ROLE_AUTH_HELPER);
	mc->worker_modules = role_modules(r, CV_ROLE_WORKER);
	if (r->problems > 0)
		return;
	run_checks(r);
	for (size_t i = 0; i < CV_COUNT_OF(roles); i++) {
		const char *const *names = roles[i].role == CV_ROLE_FRONT ? mc->front_modules :
			roles[i].role == CV_ROLE_WORKER			  ? mc->worker_modules :
									    mc->auth_modules;
		struct cv_err err = { 0 };
		struct cv_registry *reg = load_as(mc, roles[i].role, names, &err);
		if (reg == NULL)
			problem(r, "modules of %s: %s", roles[i].name, err.text);
		else if (roles[i].role == CV_ROLE_FRONT)
			find_listeners(r, reg);
		else if (roles[i].role == CV_ROLE_AUTH)
			auth_check(reg, mc->conf, auth_problem, r);
		else if (roles[i].role == CV_ROLE_WORKER)
			check_storage(r, reg);
		cv_registry_free(&reg);
	}
	check_services(r);
	check_users(r);
	check_tls(r);
	mc->front_count = count_fronts(mc);
}

struct master_conf *master_conf_load(const struct master_opts *opts, master_problem_fn *fn, void *ctx)
{
	struct master_conf *mc = cv_new0(struct master_conf);
	struct reading r = { .opts = opts, .mc = mc, .fn = fn, .ctx = ctx, .refused = cv_map_new() };
	const struct cv_conf_problem *problems;
	size_t table_count, problem_count = 0;
	const void *set;
	struct cv_err err = { 0 };

	mc->arena = cv_arena_new("settings", NULL, CV_ARENA_WIPE);
	cv_buf_init_wipe(&mc->tls, TLS_CONF_MAX);
	const char *dir = open_modules(&r);
	const struct cv_settings_table *const *tables = cv_server_tables(mc->registry, mc->arena, &table_count);
	if (cv_conf_load(opts->conf_path, opts->overrides, tables, table_count, mc->arena, &mc->conf, &problems, &problem_count) < 0) {
		r.problems += (unsigned)problem_count;
		for (size_t i = 0; i < problem_count; i++)
			fn(ctx, &problems[i]);
		if (r.problems == 0)
			problem(&r, "%s cannot be read", opts->conf_path);
	} else {
		cv_registry_set_conf(mc->registry, mc->conf);
		r.items = cv_conf_items(mc->conf, tables, table_count, 0, mc->arena, &r.item_count);
		if (cv_conf_get(mc->conf, &cv_core_settings_table, NULL, mc->arena, &set, &err) < 0) {
			problem(&r, "%s", err.text);
		} else {
			mc->core = set;
			if (strcmp(dir, mc->core->mail_plugin_dir) != 0)
				problem(&r, "mail_plugin_dir: it counts at the top of the file only");
			else
				check_all(&r);
		}
	}
	cv_map_free(&r.refused);
	if (r.problems > 0)
		master_conf_free(&mc);
	return mc;
}

void master_conf_free(struct master_conf **mc_p)
{
	struct master_conf *mc = *mc_p;

	*mc_p = NULL;
	if (mc == NULL)
		return;
	cv_buf_deinit(&mc->tls);
	cv_vec_free(&mc->listeners);
	cv_registry_free(&mc->registry);
	cv_arena_free(&mc->arena);
	cv_free(mc);
}

int master_conf_memfd(const struct master_conf *mc, enum cv_role role, struct cv_err *err)
{
	/* Front sees no secret at all, auth none of TLS, workers none of TLS. */
	static const struct cv_settings_table *const tls_only[] = { &cv_ssl_settings_table };
	struct cv_buf out;

	cv_buf_init_wipe(&out, 64 * 1024 * 1024);
	if (role == CV_ROLE_FRONT)
		cv_conf_serialize(mc->conf, true, &out);
	else
		cv_conf_serialize_without(mc->conf, tls_only, CV_COUNT_OF(tls_only), &out);
	int fd = cv_buf_ok(&out) ? cv_memfd_from("culver-settings", cv_buf_str(&out), err) :
				   cv_err_set(err, CV_ERR_LIMIT, "the settings are larger than 64 MB");
	cv_buf_deinit(&out);
	return fd;
}

static void print_role(const struct master_conf *mc, enum cv_role role, const char *title, const char *const *names)
{
	static const char *const stages[] = { "first", "early", "normal", "late", "last" };
	struct cv_err err = { 0 };
	struct cv_registry *reg = load_as(mc, role, names, &err);
	struct cv_module_info info;
	const char *hook, *handler;
	enum cv_hook_stage stage;

	printf("%s\n", title);
	if (reg == NULL) {
		printf("  cannot be loaded: %s\n", err.text);
		return;
	}
	for (size_t pos = 0; cv_module_next(reg, &pos, &info);)
		printf("  module  %-20s %-10s %s%s\n", info.module->name, info.module->version, info.path != NULL ? info.path : "(built in)",
			info.loaded ? "" : " (not loaded)");
	for (size_t pos = 0; cv_hook_next(reg, &pos, &hook, &handler, &stage);)
		printf("  hook    %-20s %-10s %s\n", hook, stages[stage], handler);
	cv_registry_free(&reg);
}

void master_conf_print_modules(const struct master_conf *mc)
{
	print_role(mc, CV_ROLE_FRONT, "front", mc->front_modules);
	print_role(mc, CV_ROLE_AUTH, "auth", mc->auth_modules);
	print_role(mc, CV_ROLE_WORKER, "worker", mc->worker_modules);
}
