/* SPDX-License-Identifier: MIT
   Names of system users and groups in the fields uid and gid: asked in a helper, since a name service may take its time, and remembered for a while. */
#include <config.h>

#include "core/proc/auth-request.h"

#include <culver/map.h>

#define IDS_MAX 1024u
#define KEEP_MS 60000u

struct known {
	uint32_t id;
	uint64_t until_ms;
};

struct auth_ids {
	struct cv_loop *loop;
	struct cv_map *users, *groups; /* name -> struct known */
};

static void forget_all(struct cv_map *map)
{
	struct cv_str name;
	void *value;

	for (size_t pos = 0; cv_map_next(map, &pos, &name, &value);)
		cv_free(value);
}

struct auth_ids *auth_ids_new(struct cv_loop *loop)
{
	struct auth_ids *ids = cv_new0(struct auth_ids);

	ids->loop = loop;
	ids->users = cv_map_new();
	ids->groups = cv_map_new();
	return ids;
}

void auth_ids_free(struct auth_ids **ids_p)
{
	struct auth_ids *ids = *ids_p;

	*ids_p = NULL;
	if (ids == NULL)
		return;
	forget_all(ids->users);
	forget_all(ids->groups);
	cv_map_free(&ids->users);
	cv_map_free(&ids->groups);
	cv_free(ids);
}

static bool recall(const struct auth_ids *ids, const struct cv_map *map, struct cv_str *name, uint32_t *id)
{
	const struct known *known = name->len == 0 ? NULL : cv_map_get(map, *name);

	if (name->len == 0)
		return true;
	if (known == NULL || known->until_ms <= cv_loop_now_ms(ids->loop))
		return false;
	*id = known->id;
	*name = (struct cv_str){ 0 };
	return true;
}

static void remember(struct auth_ids *ids, struct cv_map **map, struct cv_str name, uint32_t id)
{
	struct known *known;

	if (name.len == 0)
		return;
	/* Only what an administrator wrote comes here: more names than that are rare, and asking again is cheap. */
	if (cv_map_count(*map) >= IDS_MAX) {
		forget_all(*map);
		cv_map_free(map);
		*map = cv_map_new();
	}
	known = cv_map_get(*map, name);
	if (known == NULL) {
		known = cv_new0(struct known);
		(void)cv_map_set(*map, name, known);
	}
	known->id = id;
	known->until_ms = cv_loop_now_ms(ids->loop) + KEEP_MS;
}

static void on_resolved(void *ctx, const struct auth_job_answer *answer)
{
	struct auth_request *request = ctx;
	struct cv_auth_request *r = &request->r;
	struct auth_ids *ids = request->auth->ids;

	request->job = NULL;
	if (answer->result != CV_AUTH_OK || answer->results == NULL) {
		cv_error(&request->log, "fields uid and gid: %s", answer->err->text);
		auth_userdbs_done(request, CV_AUTH_TEMP, answer->err);
		return;
	}
	if (r->sysuid_name.len > 0)
		r->sysuid = answer->results->sysuid;
	if (r->sysgid_name.len > 0)
		r->sysgid = answer->results->sysgid;
	remember(ids, &ids->users, r->sysuid_name, r->sysuid);
	remember(ids, &ids->groups, r->sysgid_name, r->sysgid);
	r->sysuid_name = r->sysgid_name = (struct cv_str){ 0 };
	auth_userdbs_done(request, CV_AUTH_OK, NULL);
}

int auth_ids_resolve(struct auth_request *request, struct cv_err *err)
{
	struct cv_auth_request *r = &request->r;
	const struct auth_ids *ids = request->auth->ids;

	if (r->sysuid_name.len == 0 && r->sysgid_name.len == 0)
		return 1;
	/* Tests have neither. */
	if (request->auth->pool == NULL || ids == NULL)
		return cv_auth_resolve_ids(r, err) < 0 ? -1 : 1;
	bool user = recall(ids, ids->users, &r->sysuid_name, &r->sysuid), group = recall(ids, ids->groups, &r->sysgid_name, &r->sysgid);
	if (user && group)
		return 1;
	struct auth_job_spec spec = {
		.kind = CV_HELPER_PLAIN,
		.op = CV_HELPER_IDS,
		.database = "",
		.default_scheme = "PLAIN",
		.request = r,
		.done = on_resolved,
		.ctx = request,
	};
	request->job = auth_pool_submit(request->auth->pool, &spec);
	return 0;
}
