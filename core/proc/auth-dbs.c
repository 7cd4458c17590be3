/* SPDX-License-Identifier: MIT
   Password and user databases: from the settings to open instances. */
#include <config.h>

#include "core/proc/auth-dbs.h"

#include <culver/log.h>
#include <culver/reader.h>

#define MAX_REQUESTS 1000000u

/* The words of args that are the server's. */
struct own_words {
	enum { BLOCKING_DRIVER, BLOCKING_YES, BLOCKING_NO } blocking;
	bool cache_key;
	bool max_requests_given;
	uint32_t max_requests;
	const char *rest;
};

static int parse_args(const char *args, struct cv_arena *arena, struct own_words *own, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(cv_str_c(args));
	struct cv_buf rest;
	int ret = 0;

	cv_buf_init_wipe(&rest, 65536);
	while (ret == 0 && !cv_reader_end(&r)) {
		struct cv_str word;

		if (!cv_take_until(&r, ' ', &word)) {
			word = cv_reader_rest(&r);
			r.pos = r.s.len;
		}
		if (word.len == 0)
			continue;
		if (cv_str_eq_c(word, "blocking=yes")) {
			own->blocking = BLOCKING_YES;
		} else if (cv_str_eq_c(word, "blocking=no")) {
			own->blocking = BLOCKING_NO;
		} else if (cv_str_starts(word, CV_STR("cache_key="))) {
			own->cache_key = true;
		} else if (cv_str_starts(word, CV_STR("max_requests="))) {
			own->max_requests_given = true;
			if (!cv_str_to_u32(cv_str_sub(word, 13, SIZE_MAX), MAX_REQUESTS, &own->max_requests))
				ret = cv_err_set(err, CV_ERR_INVALID, "args: max_requests must be a number up to %u", MAX_REQUESTS);
		} else {
			if (rest.len > 0)
				cv_buf_append_char(&rest, ' ');
			cv_buf_append(&rest, word);
		}
	}
	if (ret == 0 && !cv_buf_ok(&rest))
		ret = cv_err_set(err, CV_ERR_LIMIT, "args is too long");
	own->rest = ret == 0 ? cv_arena_str(arena, cv_buf_str(&rest)).ptr : NULL;
	cv_buf_deinit(&rest);
	return ret;
}

/* "unknown driver x (there are: a, b)". */
static int unknown_driver(const struct cv_registry *registry, enum cv_capability cap, const char *driver, struct cv_err *err)
{
	struct cv_buf names;
	const char *name;
	size_t pos = 0;

	cv_buf_init(&names, 300);
	while (cv_provider_next(registry, cap, &pos, &name) != NULL)
		cv_buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", name);
	(void)cv_err_set(err, CV_ERR_INVALID, "no loaded module provides the driver %s (there are: %s)", driver,
		names.len > 0 ? names.data : "none");
	cv_buf_deinit(&names);
	return -1;
}

/* What is asked in a helper, and of which kind. */
static void place(unsigned opts, const struct own_words *own, bool *helper, bool *root, bool *cached)
{
	bool blocking = own->blocking == BLOCKING_DRIVER ? (opts & CV_AUTHDB_BLOCKING) != 0 : own->blocking == BLOCKING_YES;

	/* What needs rights that auth has not can't be asked elsewhere. */
	*root = (opts & CV_AUTHDB_ROOT) != 0;
	*helper = blocking || *root;
	*cached = own->cache_key || (opts & CV_AUTHDB_NOCACHE) == 0;
}

static int new_passdb(struct auth_dbs *dbs, const char *name, struct auth_passdb *db, struct cv_err *err)
{
	struct own_words own = { .max_requests = 0 };
	const void *set;
	const char *driver;

	if (cv_conf_get_section(dbs->conf, &cv_passdb_settings_table, name, dbs->arena, &set, err) < 0)
		return -1;
	db->name = cv_arena_strdup(dbs->arena, name);
	db->set = set;
	driver = db->set->driver != NULL ? db->set->driver : name;
	db->impl = cv_provider_get(dbs->registry, CV_CAP_PASSDB, driver);
	if (db->impl == NULL)
		return unknown_driver(dbs->registry, CV_CAP_PASSDB, driver, err);
	if (parse_args(db->set->args, dbs->arena, &own, err) < 0)
		return -1;
	db->args = own.rest;
	db->max_requests = own.max_requests_given ? own.max_requests : db->impl->max_requests;
	cv_buf_init_wipe(&db->dummy, 8192);
	place(db->impl->opts, &own, &db->helper, &db->root, &db->cached);
	return 0;
}

static int new_userdb(struct auth_dbs *dbs, const char *name, struct auth_userdb *db, struct cv_err *err)
{
	struct own_words own = { .max_requests = 0 };
	const void *set;
	const char *driver;

	if (cv_conf_get_section(dbs->conf, &cv_userdb_settings_table, name, dbs->arena, &set, err) < 0)
		return -1;
	db->name = cv_arena_strdup(dbs->arena, name);
	db->set = set;
	driver = db->set->driver != NULL ? db->set->driver : name;
	db->impl = cv_provider_get(dbs->registry, CV_CAP_USERDB, driver);
	if (db->impl == NULL)
		return unknown_driver(dbs->registry, CV_CAP_USERDB, driver, err);
	if (parse_args(db->set->args, dbs->arena, &own, err) < 0)
		return -1;
	db->args = own.rest;
	db->max_requests = own.max_requests;
	place(db->impl->opts, &own, &db->helper, &db->root, &db->cached);
	return 0;
}

static size_t count_sections(const struct cv_conf *conf, const char *kind)
{
	const char *name;
	size_t pos = 0, n = 0;

	while (cv_conf_section_next(conf, kind, &pos, &name))
		n++;
	return n;
}

static struct auth_dbs *with_room(const struct cv_registry *registry, const struct cv_conf *conf)
{
	struct auth_dbs *dbs = cv_new0(struct auth_dbs);

	dbs->registry = registry;
	dbs->conf = conf;
	dbs->arena = cv_arena_new("auth databases", NULL, CV_ARENA_WIPE);
	dbs->passdbs = cv_new(dbs->arena, struct auth_passdb, count_sections(conf, "passdb"));
	dbs->userdbs = cv_new(dbs->arena, struct auth_userdb, count_sections(conf, "userdb"));
	return dbs;
}

struct auth_dbs *auth_dbs_new(const struct cv_registry *registry, const struct cv_conf *conf, struct cv_err *err)
{
	struct auth_dbs *dbs = with_room(registry, conf);
	const char *name;
	size_t pos = 0;

	while (cv_conf_section_next(conf, "passdb", &pos, &name)) {
		if (new_passdb(dbs, name, &dbs->passdbs[dbs->passdb_count++], err) < 0) {
			(void)cv_err_context(err, "[passdb %s]", name);
			auth_dbs_free(&dbs);
			return NULL;
		}
	}
	pos = 0;
	while (cv_conf_section_next(conf, "userdb", &pos, &name)) {
		if (new_userdb(dbs, name, &dbs->userdbs[dbs->userdb_count++], err) < 0) {
			(void)cv_err_context(err, "[userdb %s]", name);
			auth_dbs_free(&dbs);
			return NULL;
		}
	}
	return dbs;
}

void auth_dbs_free(struct auth_dbs **dbs_p)
{
	struct auth_dbs *dbs = *dbs_p;

	*dbs_p = NULL;
	if (dbs == NULL)
		return;
	for (size_t i = 0; i < dbs->passdb_count; i++) {
		struct auth_passdb *db = &dbs->passdbs[i];

		if (db->db != NULL)
			db->impl->close(db->db);
		cv_buf_deinit(&db->dummy);
	}
	for (size_t i = 0; i < dbs->userdb_count; i++)
		if (dbs->userdbs[i].db != NULL)
			dbs->userdbs[i].impl->close(dbs->userdbs[i].db);
	cv_arena_free(&dbs->arena);
	cv_free(dbs);
}

struct auth_passdb *auth_dbs_passdb(const struct auth_dbs *dbs, const char *name)
{
	for (size_t i = 0; i < dbs->passdb_count; i++)
		if (strcmp(dbs->passdbs[i].name, name) == 0)
			return &dbs->passdbs[i];
	return NULL;
}

struct auth_userdb *auth_dbs_userdb(const struct auth_dbs *dbs, const char *name)
{
	for (size_t i = 0; i < dbs->userdb_count; i++)
		if (strcmp(dbs->userdbs[i].name, name) == 0)
			return &dbs->userdbs[i];
	return NULL;
}

int auth_passdb_open(struct auth_dbs *dbs, struct auth_passdb *db, struct cv_err *err)
{
	struct cv_authdb_config config = { .name = db->name, .args = db->args, .conf = dbs->conf, .arena = dbs->arena };

	if (db->db != NULL || db->impl->open(&config, &db->db, err) >= 0)
		return 0;
	return cv_err_context(err, "[passdb %s]", db->name);
}

int auth_userdb_open(struct auth_dbs *dbs, struct auth_userdb *db, struct cv_err *err)
{
	struct cv_authdb_config config = { .name = db->name, .args = db->args, .conf = dbs->conf, .arena = dbs->arena };

	if (db->db != NULL || db->impl->open(&config, &db->db, err) >= 0)
		return 0;
	return cv_err_context(err, "[userdb %s]", db->name);
}

unsigned auth_dbs_check(const struct cv_registry *registry, const struct cv_conf *conf, auth_problem_fn *fn, void *ctx)
{
	struct auth_dbs *dbs = with_room(registry, conf);
	unsigned problems = 0;
	const char *name;

	for (size_t pos = 0; cv_conf_section_next(conf, "passdb", &pos, &name);) {
		struct auth_passdb *db = &dbs->passdbs[dbs->passdb_count++];
		struct cv_err err = { 0 };
		bool known = new_passdb(dbs, name, db, &err) == 0;
		if (known && auth_passdb_open(dbs, db, &err) == 0)
			continue;
		problems++;
		if (!known)
			(void)cv_err_context(&err, "[passdb %s]", name);
		fn(ctx, "passdb", name, db->impl == NULL ? "driver" : "args", err.text);
	}
	for (size_t pos = 0; cv_conf_section_next(conf, "userdb", &pos, &name);) {
		struct auth_userdb *db = &dbs->userdbs[dbs->userdb_count++];
		struct cv_err err = { 0 };
		bool known = new_userdb(dbs, name, db, &err) == 0;
		if (known && auth_userdb_open(dbs, db, &err) == 0)
			continue;
		problems++;
		if (!known)
			(void)cv_err_context(&err, "[userdb %s]", name);
		fn(ctx, "userdb", name, db->impl == NULL ? "driver" : "args", err.text);
	}
	auth_dbs_free(&dbs);
	return problems;
}

int auth_dbs_open_all(struct auth_dbs *dbs, struct cv_err *err)
{
	for (size_t i = 0; i < dbs->passdb_count; i++)
		if (auth_passdb_open(dbs, &dbs->passdbs[i], err) < 0)
			return -1;
	for (size_t i = 0; i < dbs->userdb_count; i++)
		if (auth_userdb_open(dbs, &dbs->userdbs[i], err) < 0)
			return -1;
	return 0;
}
