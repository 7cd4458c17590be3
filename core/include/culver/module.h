/* SPDX-License-Identifier: MIT
   The module interface: what a shared object exports, and how it registers providers and hooks. */
#ifndef CV_MODULE_H
#define CV_MODULE_H

#include <culver/arena.h>
#include <culver/err.h>
#include <culver/settings.h>

/* Interface version. A module loads when its major is the server's and its minor is not newer. Changes:
   2026-11-24  1.0  first version */
#define CV_ABI_MAJOR 1
#define CV_ABI_MINOR 0
#define CV_MODULE_MAGIC 0x4d564c43u /* "CLVM" */

/* Processes a module may be loaded in (bits). */
enum cv_role {
	CV_ROLE_MASTER = 1,
	CV_ROLE_FRONT = 2,
	CV_ROLE_AUTH = 4,
	CV_ROLE_AUTH_HELPER = 8,
	CV_ROLE_SPAWNER = 16, /* workers are forked from it: a module for workers names CV_ROLE_WORKER only */
	CV_ROLE_WORKER = 32,
	CV_ROLE_TOOL = 64
};

enum cv_module_kind { CV_KIND_PROTOCOL = 1, CV_KIND_STORAGE, CV_KIND_AUTH, CV_KIND_FILTER, CV_KIND_PLUGIN };

struct cv_registry;

/* The exported object. Read-only; lives as long as the shared object. */
struct cv_module {
	uint32_t magic;
	uint16_t abi_major, abi_minor;
	uint32_t struct_size;
	const char *name;            /* lower-case letters, digits, dash: the file is NAME.so */
	const char *version;
	enum cv_module_kind kind;
	unsigned roles;              /* enum cv_role bits */
	const char *const *needs;    /* names of modules loaded before; NULL-terminated or NULL */
	const struct cv_settings_table *const *settings; /* NULL-terminated or NULL; read in every role, master and tool included */
	/* Looks at the settings (already typed) before anything starts; runs in the master. May be NULL. */
	int (*check)(const struct cv_conf *conf, struct cv_err *err);
	/* Register providers and hooks. Opens no files, starts nothing. role is the process's. */
	int (*load)(struct cv_registry *reg, enum cv_role role, struct cv_err *err);
	void (*unload)(struct cv_registry *reg);
	/* New members only here, at the end. */
};

/* CV_MODULE(ident) = { .kind = …, … }; ident is the module's name with underscores for dashes. */
#define CV_MODULE(ident)                                                                                      \
	CV_EXPORT_DATA const struct cv_module ident##_LTX_cv_module;                                         \
	const struct cv_module ident##_LTX_cv_module
/* The members that identify; put first in the initialiser. */
#define CV_MODULE_ABI                                                                                         \
	.magic = CV_MODULE_MAGIC, .abi_major = CV_ABI_MAJOR, .abi_minor = CV_ABI_MINOR,                       \
	.struct_size = sizeof(struct cv_module)

/* What a provider implements. Each has an interface structure in the header named. */
enum cv_capability {
	CV_CAP_LOGIN = 1,     /* struct cv_login_protocol, protocol.h: the part of a protocol before login, in front */
	CV_CAP_SESSION,       /* struct cv_session_protocol, protocol.h: the part after login, in a worker */
	CV_CAP_STORAGE,       /* struct cv_storage, storage.h */
	CV_CAP_PASSDB,        /* struct cv_passdb, auth.h */
	CV_CAP_USERDB,        /* struct cv_userdb, auth.h */
	CV_CAP_SASL,          /* struct cv_sasl_mech, auth.h */
	CV_CAP_PASS_SCHEME,   /* struct cv_pass_scheme, auth.h */
	CV_CAP_FILTER,        /* struct cv_filter, filter.h: decides where a delivered message goes */
	CV_CAP_TRANSFORM,     /* struct cv_transform, transform.h: changes message octets on the way to and from storage */
	CV_CAP_SEARCH,        /* struct cv_search_index, searchindex.h: answers text keys of searches from an index */
	CV_CAP_ADMIN,         /* struct cv_admin_command, admin.h */
	CV_CAP_IMAP_COMMAND,  /* struct cv_imap_command, imap.h (installed by modules/lib/imap) */
	CV_CAP_SIEVE,         /* Sieve extensions */
	CV_CAP_SUBSCRIBER,    /* struct cv_subscriber, mailbox.h: gets every journal record in order */
	CV_CAP_SERVICE,       /* cv_service_register */
	CV_CAP_QUOTA,         /* struct cv_quota, quota.h: knows limits and what is used of them */
	CV_CAP_IMAP_LIST,     /* struct cv_imap_list_return, imap.h: a return option of LIST */
	CV_CAP_TEXTS,         /* struct cv_text_maker, texts.h: makes the texts about a message that are kept */
	CV_CAP_COUNT
};

/* Offer a provider. name is borrowed (a literal). size: sizeof the structure as compiled, so that members added later count as absent.
   -1 when the name is taken. Only within load. Use the typed cv_provide_* of each header. */
CV_EXPORT CV_MUST_CHECK int cv_provide(struct cv_registry *reg, enum cv_capability cap, const char *name, const void *provider,
	size_t size, struct cv_err *err);
/* NULL when absent. The names compare exactly. */
CV_EXPORT const void *cv_provider_get(const struct cv_registry *reg, enum cv_capability cap, const char *name);
/* All of a capability in name order; NULL at the end. *pos starts at 0. */
CV_EXPORT const void *cv_provider_next(const struct cv_registry *reg, enum cv_capability cap, size_t *pos, const char **name_r);

/* The name of the module that provides it, or NULL. */
CV_EXPORT const char *cv_provider_owner(const struct cv_registry *reg, enum cv_capability cap, const char *name);

/* A service one module offers to others: an interface structure under a name and a version. NULL if absent. */
CV_EXPORT CV_MUST_CHECK int cv_service_register(struct cv_registry *reg, const char *name, unsigned version, const void *service,
	struct cv_err *err);
CV_EXPORT const void *cv_service_get(const struct cv_registry *reg, const char *name, unsigned version);

/* A slot for a module's per-object data: session, user, mailbox contexts of the other headers have cv_*_data(obj, slot). Taken in load. */
CV_EXPORT unsigned cv_slot_register(struct cv_registry *reg);
CV_EXPORT unsigned cv_slot_count(const struct cv_registry *reg);

/* Zeroed memory that lives as long as the registry: for what load makes. */
CV_EXPORT void *cv_registry_alloc(struct cv_registry *reg, size_t size);

/* The settings of this process; NULL before they are read. */
CV_EXPORT const struct cv_conf *cv_registry_conf(const struct cv_registry *reg);

/* ---- For the server, not for modules -------------------------------------------------------------- */

CV_EXPORT struct cv_registry *cv_registry_new(void);
CV_EXPORT void cv_registry_free(struct cv_registry **reg); /* unloads modules in reverse */
CV_EXPORT void cv_registry_set_conf(struct cv_registry *reg, const struct cv_conf *conf);
/* Open NAME.so in dir (absolute): owner root or the invoking user, not writable by others (file and directory), symbol, magic, ABI,
   name; then, in the same way, what it needs. Does not call load. Already open: fine. err says what was found, what was wanted, and what to do. */
CV_EXPORT CV_MUST_CHECK int cv_module_open(struct cv_registry *reg, const char *dir, const char *name, struct cv_err *err);
/* All that are open and allowed in role: required ones first, then load. Then the hooks are ordered and frozen. */
CV_EXPORT CV_MUST_CHECK int cv_modules_load(struct cv_registry *reg, enum cv_role role, struct cv_err *err);
/* The check of each open module, in the order of opening; the first that fails. In the master and the tool. */
CV_EXPORT CV_MUST_CHECK int cv_modules_check(const struct cv_registry *reg, const struct cv_conf *conf, struct cv_err *err);
/* All settings tables: those of more (the core's), then each open module's, each once. In arena; *count_r of them. */
CV_EXPORT const struct cv_settings_table *const *cv_registry_tables(const struct cv_registry *reg,
	const struct cv_settings_table *const *more, size_t more_count, struct cv_arena *arena, size_t *count_r);
/* Register the core's own "module" (static), for providers and hooks built in. */
CV_EXPORT CV_MUST_CHECK int cv_module_add_static(struct cv_registry *reg, const struct cv_module *module, struct cv_err *err);
/* Names of all *.so in dir but lib*.so, sorted, NULL-terminated, in arena. */
CV_EXPORT const char *const *cv_module_list(const char *dir, struct cv_arena *arena);
struct cv_module_info {
	const struct cv_module *module;
	const char *path; /* NULL: static */
	bool loaded;      /* its load was called in this role */
};
CV_EXPORT bool cv_module_next(const struct cv_registry *reg, size_t *pos, struct cv_module_info *info_r);

#endif
