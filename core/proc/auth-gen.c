/* SPDX-License-Identifier: MIT
   Settings of the auth process in force, with their databases. */
#include <config.h>

#include "core/proc/auth-private.h"

#include "core/proc/settings.h"
#include <culver/map.h>

#define MECHS_MAX 64u

static const struct cv_sasl_mech *mech_of(const struct cv_registry *registry, const char *name)
{
	char upper[64] = { 0 };
	size_t len = strlen(name);

	if (len >= sizeof(upper))
		return NULL;
	for (size_t i = 0; i < len; i++)
		upper[i] = cv_upper(name[i]);
	return cv_provider_get(registry, CV_CAP_SASL, upper);
}

static void add_mechs(const struct cv_auth_settings *set, struct cv_arena *arena, struct cv_map *seen, const char **names, size_t *count)
{
	for (size_t i = 0; set->auth_mechanisms[i] != NULL; i++) {
		char *lower = cv_arena_strdup(arena, set->auth_mechanisms[i]);
		for (char *c = lower; *c != '\0'; c++)
			*c = cv_lower(*c);
		if (cv_map_get(seen, cv_str_c(lower)) != NULL || *count == MECHS_MAX)
			continue;
		(void)cv_map_set(seen, cv_str_c(lower), lower);
		names[(*count)++] = set->auth_mechanisms[i];
	}
}

/* Every value of auth_mechanisms that can apply stands at the top or in one of the sections. */
static int find_mechs(const struct cv_auth_settings *top, const struct cv_conf *conf, struct cv_arena *arena, const char *const **mechs_r,
	struct cv_err *err)
{
	static const char *const kinds[] = { "protocol", "local", "remote" };
	const char **names = cv_new(arena, const char *, MECHS_MAX + 1);
	struct cv_map *seen = cv_map_new();
	size_t count = 0;
	int ret = 0;

	add_mechs(top, arena, seen, names, &count);
	for (size_t k = 0; k < CV_COUNT_OF(kinds) && ret == 0; k++) {
		const char *name;
		for (size_t pos = 0; ret == 0 && cv_conf_section_next(conf, kinds[k], &pos, &name);) {
			struct cv_str addr, bits;
			struct cv_conf_filter filter = { .protocol = k == 0 ? name : NULL };
			struct cv_arena *scratch = cv_arena_new("mechanisms", NULL, 0);
			const void *set = NULL;

			/* An address or a name: as the other of the two it matches nothing. */
			(void)cv_str_split(cv_str_c(name), '/', &addr, &bits);
			if (k == 1) {
				filter.local_addr = cv_arena_cstr(scratch, addr);
				filter.local_name = name[0] == '*' ? cv_str_c(cv_arena_printf(scratch, "x%s", name + 1)) : cv_str_c(name);
			} else if (k == 2) {
				filter.remote_addr = cv_arena_cstr(scratch, addr);
			}
			ret = cv_conf_get(conf, &cv_auth_settings_table, &filter, arena, &set, err);
			if (ret == 0)
				add_mechs(set, arena, seen, names, &count);
			cv_arena_free(&scratch);
		}
	}
	cv_map_free(&seen);
	*mechs_r = names;
	return ret;
}

static int check_mechs(const char *const *mechs, const struct cv_registry *registry, struct cv_err *err)
{
	struct cv_buf names, unknown;
	const char *name;

	cv_buf_init(&unknown, 300);
	for (size_t i = 0; mechs[i] != NULL; i++) {
		if (mech_of(registry, mechs[i]) == NULL)
			cv_buf_printf(&unknown, "%s%s", unknown.len > 0 ? ", " : "", mechs[i]);
	}
	bool good = unknown.len == 0;
	if (!good) {
		cv_buf_init(&names, 300);
		for (size_t pos = 0; cv_provider_next(registry, CV_CAP_SASL, &pos, &name) != NULL;)
			cv_buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", name);
		(void)cv_err_set(err, CV_ERR_INVALID, "auth_mechanisms: no loaded module provides %s (there are: %s)", unknown.data,
			names.len > 0 ? names.data : "none");
		cv_buf_deinit(&names);
	}
	cv_buf_deinit(&unknown);
	return good ? 0 : -1;
}

/* Combinations that can't mean what they say. */
static int check_databases(const struct auth_dbs *dbs, struct cv_err *err)
{
	bool normal = false;

	for (size_t i = 0; i < dbs->passdb_count; i++) {
		const struct auth_passdb *db = &dbs->passdbs[i];

		normal = normal || (!db->set->master && !db->set->deny);
		if (db->set->deny && db->impl->lookup == NULL)
			return cv_err_set(err, CV_ERR_INVALID, "[passdb %s]: deny needs a driver that can be asked without a password", db->name);
	}
	if (dbs->passdb_count > 0 && !normal)
		return cv_err_set(err, CV_ERR_INVALID, "every [passdb] is a deny or master one: nobody could log in");
	return 0;
}

static void set_valid_ids(struct auth_gen *gen, const struct cv_core_settings *core)
{
	gen->first_valid_uid = (uint32_t)CV_MIN(core->first_valid_uid, UINT32_MAX);
	gen->last_valid_uid = (uint32_t)CV_MIN(core->last_valid_uid, UINT32_MAX);
	gen->first_valid_gid = (uint32_t)CV_MIN(core->first_valid_gid, UINT32_MAX);
	gen->last_valid_gid = (uint32_t)CV_MIN(core->last_valid_gid, UINT32_MAX);
}

struct auth_gen *auth_gen_new(const struct cv_registry *registry, const struct cv_conf *conf, void (*release)(void *ctx), void *ctx,
	struct cv_err *err)
{
	struct auth_gen *gen = cv_new0(struct auth_gen);
	const void *set = NULL, *core = NULL;

	gen->refs = 1;
	gen->dbs = auth_dbs_new(registry, conf, err);
	if (gen->dbs == NULL || cv_conf_get(conf, &cv_auth_settings_table, NULL, gen->dbs->arena, &set, err) < 0 ||
		cv_conf_get(conf, &cv_core_settings_table, NULL, gen->dbs->arena, &core, err) < 0) {
		auth_gen_unref(&gen);
		return NULL;
	}
	gen->set = set;
	set_valid_ids(gen, core);
	if (find_mechs(set, conf, gen->dbs->arena, &gen->mechs, err) < 0 || check_mechs(gen->mechs, registry, err) < 0 ||
		check_databases(gen->dbs, err) < 0 || auth_dbs_open_all(gen->dbs, err) < 0) {
		auth_gen_unref(&gen);
		return NULL;
	}
	gen->release = release;
	gen->ctx = ctx;
	return gen;
}

void auth_check(const struct cv_registry *registry, const struct cv_conf *conf, auth_problem_fn *fn, void *ctx)
{
	struct cv_arena *arena = cv_arena_new("auth settings", NULL, 0);
	struct auth_dbs *dbs = NULL;
	const char *const *mechs;
	const void *set;
	struct cv_err err = { 0 };

	if (cv_conf_get(conf, &cv_auth_settings_table, NULL, arena, &set, &err) < 0 || find_mechs(set, conf, arena, &mechs, &err) < 0 ||
		check_mechs(mechs, registry, &err) < 0)
		fn(ctx, NULL, NULL, "auth_mechanisms", err.text);
	if (auth_dbs_check(registry, conf, fn, ctx) == 0) {
		dbs = auth_dbs_new(registry, conf, &err);
		if (dbs == NULL || check_databases(dbs, &err) < 0)
			fn(ctx, NULL, NULL, NULL, err.text);
	}
	auth_dbs_free(&dbs);
	cv_arena_free(&arena);
}

struct auth_gen *auth_gen_ref(struct auth_gen *gen)
{
	gen->refs++;
	return gen;
}

void auth_gen_unref(struct auth_gen **gen_p)
{
	struct auth_gen *gen = *gen_p;

	*gen_p = NULL;
	if (gen == NULL || --gen->refs > 0)
		return;
	auth_dbs_free(&gen->dbs);
	if (gen->release != NULL)
		gen->release(gen->ctx);
	cv_free(gen);
}

const struct cv_sasl_mech *auth_mech_find(const struct auth *auth, const char *name)
{
	return mech_of(auth->registry, name);
}

/* A mechanism of which it is known that nobody could log in by it is not there. */
static bool is_usable(const struct auth_gen *gen, const struct cv_sasl_mech *mech)
{
	if ((mech->opts & CV_SASL_STORED) == 0)
		return true;
	for (size_t i = 0; i < gen->dbs->passdb_count; i++) {
		const struct auth_passdb *db = &gen->dbs->passdbs[i];

		if (db->impl->lookup != NULL && !db->set->deny)
			return true;
	}
	return false;
}

bool auth_mech_next(const struct auth *auth, size_t *pos, const struct cv_sasl_mech **mech_r)
{
	const char *name;

	while ((name = auth->gen->mechs[*pos]) != NULL) {
		(*pos)++;
		*mech_r = mech_of(auth->registry, name);
		cv_assert(*mech_r != NULL);
		if (is_usable(auth->gen, *mech_r))
			return true;
	}
	return false;
}
