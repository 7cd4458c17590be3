/* SPDX-License-Identifier: MIT
   Settings of the auth process in force, with their databases. */
#include <config.h>

#include "core/proc/auth-private.h"

#include "core/proc/settings.h"

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

static int check_mechs(const struct auth_gen *gen, const struct cv_registry *registry, struct cv_err *err)
{
	struct cv_buf names;
	const char *name;
	size_t pos = 0;

	for (size_t i = 0; gen->set->auth_mechanisms[i] != NULL; i++) {
		if (mech_of(registry, gen->set->auth_mechanisms[i]) != NULL)
			continue;
		cv_buf_init(&names, 300);
		while (cv_provider_next(registry, CV_CAP_SASL, &pos, &name) != NULL)
			cv_buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", name);
		(void)cv_err_set(err, CV_ERR_INVALID, "auth_mechanisms: no loaded module provides %s (there are: %s)",
			gen->set->auth_mechanisms[i], names.len > 0 ? names.data : "none");
		cv_buf_deinit(&names);
		return -1;
	}
	return 0;
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
	if (check_mechs(gen, registry, err) < 0 || check_databases(gen->dbs, err) < 0 || auth_dbs_open_all(gen->dbs, err) < 0) {
		auth_gen_unref(&gen);
		return NULL;
	}
	gen->release = release;
	gen->ctx = ctx;
	return gen;
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

bool auth_mech_next(const struct auth *auth, size_t *pos, const struct cv_sasl_mech **mech_r)
{
	const char *name = auth->gen->set->auth_mechanisms[*pos];

	if (name == NULL)
		return false;
	(*pos)++;
	*mech_r = mech_of(auth->registry, name);
	cv_assert(*mech_r != NULL);
	return true;
}
