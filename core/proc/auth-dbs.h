/* SPDX-License-Identifier: MIT
   The databases of one generation of settings: sections [passdb NAME] and [userdb NAME] in file order, with their drivers. */
#ifndef CV_PROC_AUTH_DBS_H
#define CV_PROC_AUTH_DBS_H

#include "core/proc/auth-settings.h"

#include <culver/auth.h>

struct auth_passdb {
	const char *name; /* of the section */
	const struct cv_passdb_settings *set;
	const struct cv_passdb *impl;
	const char *args; /* without the server's own words */
	bool helper;      /* is asked in a helper … */
	bool root;        /* … that keeps its rights */
	bool cached;
	uint64_t max_requests; /* 0: no limit */
	uint64_t requests;     /* helper: so far */
	void *db;         /* open instance; NULL: not yet opened in this process */
	struct cv_buf dummy; /* wiping: last stored password seen, hashed for unknown users so that they take as long */
};

struct auth_userdb {
	const char *name;
	const struct cv_userdb_settings *set;
	const struct cv_userdb *impl;
	const char *args;
	bool helper, root, cached;
	uint64_t max_requests, requests;
	void *db;
};

struct auth_dbs {
	const struct cv_registry *registry;
	const struct cv_conf *conf;
	struct cv_arena *arena;
	struct auth_passdb *passdbs;
	size_t passdb_count;
	struct auth_userdb *userdbs;
	size_t userdb_count;
};

/* Read the sections and find their drivers. conf and registry must live as long. NULL with err set: unknown driver, bad args of the server's own. Opens none. */
struct auth_dbs *auth_dbs_new(const struct cv_registry *registry, const struct cv_conf *conf, struct cv_err *err);
/* What auth_dbs_new and auth_dbs_open_all would fail at, all of it, told through fn: the section (kind and name) and the key that it is about. Returns how many.
   kind is NULL for a setting outside of sections. */
typedef void auth_problem_fn(void *ctx, const char *kind, const char *name, const char *key, const char *text);
unsigned auth_dbs_check(const struct cv_registry *registry, const struct cv_conf *conf, auth_problem_fn *fn, void *ctx);
/* Closes what is open. */
void auth_dbs_free(struct auth_dbs **dbs);
/* By the section's name; NULL when there is none. */
struct auth_passdb *auth_dbs_passdb(const struct auth_dbs *dbs, const char *name);
struct auth_userdb *auth_dbs_userdb(const struct auth_dbs *dbs, const char *name);
/* Open unless open. */
CV_MUST_CHECK int auth_passdb_open(struct auth_dbs *dbs, struct auth_passdb *db, struct cv_err *err);
CV_MUST_CHECK int auth_userdb_open(struct auth_dbs *dbs, struct auth_userdb *db, struct cv_err *err);
/* Open all: the check that their args are right. */
CV_MUST_CHECK int auth_dbs_open_all(struct auth_dbs *dbs, struct cv_err *err);

#endif
