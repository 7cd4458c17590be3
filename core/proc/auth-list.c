/* SPDX-License-Identifier: MIT
   Listing all users, for administrators. */
#include <config.h>

#include "core/proc/auth-private.h"

#include "core/proc/auth-user.h"
#include <culver/map.h>

#define USERS_MAX 5000000u /* names that are remembered to tell each once */

struct auth_list {
	struct auth *auth;
	struct auth_gen *gen;
	struct cv_buf mask;
	bool all;
	void (*user)(void *ctx, struct cv_str user);
	void (*end)(void *ctx, const struct cv_err *err);
	void *ctx;
	size_t index;
	bool asked; /* some userdb can list */
	struct cv_map *seen;
	struct cv_timer *timer;
	struct auth_job *job;
	struct cv_err err; /* the first that went wrong */
};

static const struct cv_log_ctx log_ctx = { .category = "auth" };

static void list_free(struct auth_list *list)
{
	auth_job_cancel(&list->job);
	cv_timer_remove(&list->timer);
	auth_gen_unref(&list->gen);
	cv_map_free(&list->seen);
	cv_buf_deinit(&list->mask);
	cv_free(list);
}

static int on_user(void *ctx, struct cv_str user)
{
	struct auth_list *list = ctx;

	if (!auth_user_is_safe(user) || (!list->all && !auth_wildcard(cv_buf_str(&list->mask), user)))
		return 0;
	if (cv_map_count(list->seen) >= USERS_MAX) {
		(void)cv_err_set(&list->err, CV_ERR_LIMIT, "there are more than %u users", USERS_MAX);
		return -1;
	}
	if (cv_map_set(list->seen, user, list) == NULL)
		list->user(list->ctx, user);
	return 0;
}

static void on_row(void *ctx, struct cv_str user)
{
	(void)on_user(ctx, user);
}

static void trouble(struct auth_list *list, const struct auth_userdb *db, const struct cv_err *err)
{
	cv_error(&log_ctx, "userdb %s: the users cannot be listed: %s", db->name, err->text);
	if (list->err.code == CV_ERR_NONE)
		list->err = *err;
}

static void go_on(void *ctx);

static void on_end(void *ctx, const struct auth_job_answer *answer)
{
	struct auth_list *list = ctx;

	list->job = NULL;
	if (answer->result != CV_AUTH_OK)
		trouble(list, &list->gen->dbs->userdbs[list->index - 1], answer->err);
	go_on(list);
}

static void go_on(void *ctx)
{
	struct auth_list *list = ctx;
	struct cv_err err = { 0 };

	while (list->index < list->gen->dbs->userdb_count) {
		struct auth_userdb *db = &list->gen->dbs->userdbs[list->index++];
		struct cv_auth_request empty = { 0 };
		struct auth_job_spec spec = {
			.kind = db->root ? CV_HELPER_ROOT : CV_HELPER_PLAIN,
			.op = CV_HELPER_ITERATE,
			.database = db->name,
			.default_scheme = "PLAIN",
			.request = &empty,
			.done = on_end,
			.row = on_row,
			.ctx = list,
		};

		if (db->impl->iterate == NULL)
			continue;
		list->asked = true;
		if (db->helper && list->auth->pool != NULL) {
			list->job = auth_pool_submit(list->auth->pool, &spec);
			return;
		}
		if (db->impl->iterate(db->db, on_user, list, &err) < 0)
			trouble(list, db, &err);
	}
	if (!list->asked)
		(void)cv_err_set_public(&list->err, CV_ERR_UNSUPPORTED, "none of the user databases can list its users");
	list->end(list->ctx, list->err.code == CV_ERR_NONE ? NULL : &list->err);
	list_free(list);
}

struct auth_list *auth_list_begin(struct auth *auth, struct cv_str mask, void (*user)(void *ctx, struct cv_str user),
	void (*end)(void *ctx, const struct cv_err *err), void *ctx)
{
	struct auth_list *list = cv_new0(struct auth_list);

	list->auth = auth;
	list->gen = auth_gen_ref(auth->gen);
	cv_buf_init(&list->mask, 4096);
	cv_buf_append(&list->mask, mask);
	list->all = mask.ptr == NULL;
	list->user = user;
	list->end = end;
	list->ctx = ctx;
	list->seen = cv_map_new();
	list->timer = cv_timer_add(auth->loop, 0, go_on, list);
	return list;
}

void auth_list_abort(struct auth_list **list_p)
{
	struct auth_list *list = *list_p;

	*list_p = NULL;
	if (list != NULL)
		list_free(list);
}
