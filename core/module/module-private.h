/* SPDX-License-Identifier: MIT
   Modules and hooks: what the files of core/module share. */
#ifndef CV_MODULE_PRIVATE_H
#define CV_MODULE_PRIVATE_H

#include <culver/hooks.h>
#include <culver/map.h>

/* One opened module. module points into the shared object, or to a copy in arena when the object's structure was shorter. */
struct opened_module {
	const struct cv_module *module;
	const char *path; /* NULL: static */
	void *handle;     /* lt_dlhandle */
	bool loaded;
};

struct provider {
	const char *name;
	const void *provider;
	const struct cv_module *owner;
};

struct service {
	const char *name;
	unsigned version;
	const void *service;
	const struct cv_module *owner;
};

/* One typed handler; which member is set follows from the hook. */
union hook_fn {
#define HOOK_FN(hook, policy) cv_hook_##hook##_fn *hook;
	CV_HOOK_LIST(HOOK_FN)
#undef HOOK_FN
	cv_hook_fn *point;
};

enum hook_id {
#define HOOK_ID(hook, policy) HOOK_##hook,
	CV_HOOK_LIST(HOOK_ID)
#undef HOOK_ID
	HOOK_COUNT
};

/* As it was added. point NULL: one of the closed list. */
struct added_handler {
	struct cv_hook_opts opts;
	union hook_fn fn;
	enum hook_id hook;
	const char *point;
};

/* As it runs: in order, in read-only memory. */
struct flat_handler {
	union hook_fn fn;
	void *ctx;
	const char *name;
	enum cv_hook_stage stage;
};

struct flat_list {
	const struct flat_handler *handlers;
	size_t count;
};

struct cv_hook_point {
	const char *name;
	enum cv_hook_policy policy;
	struct flat_list list; /* empty until frozen */
};

struct cv_registry {
	struct cv_arena *arena;
	const struct cv_conf *conf;
	CV_VEC(struct opened_module) modules;
	CV_VEC(const struct cv_module *) load_order; /* those that were loaded */
	CV_VEC(struct provider) providers[CV_CAP_COUNT]; /* sorted by name */
	CV_VEC(struct service) services;
	CV_VEC(struct added_handler) added;
	CV_VEC(struct cv_hook_point *) points;
	unsigned slots;
	const struct cv_module *loading; /* whose load runs */
	bool frozen;
	const struct flat_list *hooks; /* [HOOK_COUNT] in the read-only memory; NULL until frozen */
	void *flat;                    /* that memory */
	size_t flat_size;
};

/* Put the handlers in order and make the table read-only. */
int cv_hooks_freeze(struct cv_registry *reg, struct cv_err *err);
void cv_hooks_free(struct cv_registry *reg);
struct opened_module *cv_module_find(struct cv_registry *reg, const char *name);
bool cv_module_name_ok(const char *name);
/* Close a shared object that cv_module_open opened. */
void cv_module_close(struct opened_module *opened);

#endif
