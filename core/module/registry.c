/* SPDX-License-Identifier: MIT
   The registry of a process: its modules and what they provide. */
#include "core/module/module-private.h"

#include <culver/auth.h>
#include <culver/mailbox.h>
#include <culver/protocol.h>
#include <culver/quota.h>
#include <culver/storage.h>

struct cv_registry *cv_registry_new(void)
{
	struct cv_registry *reg = cv_new0(struct cv_registry);
	reg->arena = cv_arena_new("modules", NULL, 0);
	return reg;
}

void cv_registry_free(struct cv_registry **regp)
{
	struct cv_registry *reg = *regp;
	if (reg == NULL)
		return;
	*regp = NULL;
	for (size_t i = reg->load_order.count; i > 0; i--)
		if (reg->load_order.data[i - 1]->unload != NULL)
			reg->load_order.data[i - 1]->unload(reg);
	/* What points into shared objects goes before they do. */
	cv_hooks_free(reg);
	for (size_t i = 0; i < CV_CAP_COUNT; i++)
		cv_vec_free(&reg->providers[i]);
	cv_vec_free(&reg->services);
	cv_vec_free(&reg->load_order);
	for (size_t i = reg->modules.count; i > 0; i--)
		cv_module_close(&reg->modules.data[i - 1]);
	cv_vec_free(&reg->modules);
	cv_arena_free(&reg->arena);
	cv_free(reg);
}

void cv_registry_set_conf(struct cv_registry *reg, const struct cv_conf *conf)
{
	reg->conf = conf;
}

const struct cv_conf *cv_registry_conf(const struct cv_registry *reg)
{
	return reg->conf;
}

/* Sizes of the interfaces that this library knows; 0: the reader of that capability looks after it. */
static size_t known_size(enum cv_capability cap)
{
	switch (cap) {
	case CV_CAP_LOGIN:
		return sizeof(struct cv_login_protocol);
	case CV_CAP_SESSION:
		return sizeof(struct cv_session_protocol);
	case CV_CAP_STORAGE:
		return sizeof(struct cv_storage);
	case CV_CAP_PASSDB:
		return sizeof(struct cv_passdb);
	case CV_CAP_USERDB:
		return sizeof(struct cv_userdb);
	case CV_CAP_SASL:
		return sizeof(struct cv_sasl_mech);
	case CV_CAP_PASS_SCHEME:
		return sizeof(struct cv_pass_scheme);
	case CV_CAP_SUBSCRIBER:
		return sizeof(struct cv_subscriber);
	case CV_CAP_QUOTA:
		return sizeof(struct cv_quota);
	case CV_CAP_FILTER:
	case CV_CAP_TRANSFORM:
	case CV_CAP_TEXTS:
	case CV_CAP_SEARCH:
	case CV_CAP_ADMIN:
	case CV_CAP_IMAP_COMMAND:
	case CV_CAP_IMAP_LIST:
	case CV_CAP_SIEVE:
	case CV_CAP_SERVICE:
	case CV_CAP_COUNT:
		break;
	}
	return 0;
}

static int check_loading(const struct cv_registry *reg, const char *what, struct cv_err *err)
{
	if (reg->loading != NULL)
		return 0;
	return cv_err_set(err, CV_ERR_INTERNAL, "%s is registered outside of a module's load", what);
}

int cv_provide(struct cv_registry *reg, enum cv_capability cap, const char *name, const void *provider, size_t size, struct cv_err *err)
{
	cv_assert(cap > 0 && cap < CV_CAP_COUNT);
	if (check_loading(reg, name, err) < 0)
		return -1;
	size_t at = 0;
	while (at < reg->providers[cap].count && strcmp(reg->providers[cap].data[at].name, name) < 0)
		at++;
	if (at < reg->providers[cap].count && strcmp(reg->providers[cap].data[at].name, name) == 0)
		return cv_err_set(err, CV_ERR_EXISTS, "\"%s\" is provided by module %s already", name,
			reg->providers[cap].data[at].owner->name);
	if (size < known_size(cap)) {
		/* Compiled against an older interface: members it does not have are absent. */
		void *whole = cv_arena_alloc(reg->arena, known_size(cap));
		memcpy(whole, provider, size);
		provider = whole;
	}
	(void)cv_vec_push(&reg->providers[cap]);
	struct provider *list = reg->providers[cap].data;
	memmove(&list[at + 1], &list[at], (reg->providers[cap].count - 1 - at) * sizeof(*list));
	list[at] = (struct provider){ .name = name, .provider = provider, .owner = reg->loading };
	return 0;
}

const void *cv_provider_get(const struct cv_registry *reg, enum cv_capability cap, const char *name)
{
	cv_assert(cap > 0 && cap < CV_CAP_COUNT);
	for (size_t i = 0; i < reg->providers[cap].count; i++)
		if (strcmp(reg->providers[cap].data[i].name, name) == 0)
			return reg->providers[cap].data[i].provider;
	return NULL;
}

const void *cv_provider_next(const struct cv_registry *reg, enum cv_capability cap, size_t *pos, const char **name_r)
{
	cv_assert(cap > 0 && cap < CV_CAP_COUNT);
	if (*pos >= reg->providers[cap].count)
		return NULL;
	const struct provider *p = &reg->providers[cap].data[(*pos)++];
	if (name_r != NULL)
		*name_r = p->name;
	return p->provider;
}

const char *cv_provider_owner(const struct cv_registry *reg, enum cv_capability cap, const char *name)
{
	cv_assert(cap > 0 && cap < CV_CAP_COUNT);
	for (size_t i = 0; i < reg->providers[cap].count; i++)
		if (strcmp(reg->providers[cap].data[i].name, name) == 0)
			return reg->providers[cap].data[i].owner->name;
	return NULL;
}

int cv_service_register(struct cv_registry *reg, const char *name, unsigned version, const void *service, struct cv_err *err)
{
	if (check_loading(reg, name, err) < 0)
		return -1;
	for (size_t i = 0; i < reg->services.count; i++)
		if (strcmp(reg->services.data[i].name, name) == 0 && reg->services.data[i].version == version)
			return cv_err_set(err, CV_ERR_EXISTS, "service \"%s\" version %u is offered by module %s already", name, version,
				reg->services.data[i].owner->name);
	*cv_vec_push(&reg->services) =
		(struct service){ .name = name, .version = version, .service = service, .owner = reg->loading };
	return 0;
}

const void *cv_service_get(const struct cv_registry *reg, const char *name, unsigned version)
{
	for (size_t i = 0; i < reg->services.count; i++)
		if (strcmp(reg->services.data[i].name, name) == 0 && reg->services.data[i].version == version)
			return reg->services.data[i].service;
	return NULL;
}

unsigned cv_slot_register(struct cv_registry *reg)
{
	cv_assert(reg->loading != NULL);
	return reg->slots++;
}

void *cv_registry_alloc(struct cv_registry *reg, size_t size)
{
	return cv_arena_alloc(reg->arena, size);
}

unsigned cv_slot_count(const struct cv_registry *reg)
{
	return reg->slots;
}

const struct cv_settings_table *const *cv_registry_tables(const struct cv_registry *reg, const struct cv_settings_table *const *more,
	size_t more_count, struct cv_arena *arena, size_t *count_r)
{
	size_t count = more_count;
	for (size_t i = 0; i < reg->modules.count; i++)
		for (size_t j = 0; reg->modules.data[i].module->settings != NULL && reg->modules.data[i].module->settings[j] != NULL; j++)
			count++;
	const struct cv_settings_table **list = cv_new(arena, const struct cv_settings_table *, count + 1);
	size_t n = 0;
	for (size_t i = 0; i < more_count; i++)
		list[n++] = more[i];
	for (size_t i = 0; i < reg->modules.count; i++) {
		const struct cv_settings_table *const *tables = reg->modules.data[i].module->settings;
		for (size_t j = 0; tables != NULL && tables[j] != NULL; j++) {
			size_t k = 0;
			while (k < n && list[k] != tables[j])
				k++;
			if (k == n)
				list[n++] = tables[j];
		}
	}
	*count_r = n;
	return list;
}

bool cv_module_next(const struct cv_registry *reg, size_t *pos, struct cv_module_info *info_r)
{
	if (*pos >= reg->modules.count)
		return false;
	const struct opened_module *opened = &reg->modules.data[(*pos)++];
	*info_r = (struct cv_module_info){ .module = opened->module, .path = opened->path, .loaded = opened->loaded };
	return true;
}
