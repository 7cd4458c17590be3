/* SPDX-License-Identifier: MIT
   How much a user may have at a time. */
#include "core/proc/login-private.h"
#include "core/proc/spawner.h"

/* Of a worker, that wait for its word: one that does not give it shall not collect connections. */
#define UNSURE_MAX 16u

static size_t sessions_from(const struct spawner *sp, const struct worker *w, const struct request *r)
{
	struct cv_str key;
	void *value;
	struct cv_node *node, *next;
	size_t count = spawner_sleeping(sp, r->user, r->remote, r->protocol);

	if (w == NULL)
		return count;
	for (size_t pos = 0; cv_map_next(w->sessions, &pos, &key, &value);) {
		const struct session *s = value;
		count += cv_str_eq_c(r->remote, s->remote) && cv_str_eq_c(r->protocol, s->protocol);
	}
	cv_list_foreach(&w->waiting, node, next) {
		const struct request *other = cv_container(node, struct request, node);
		count += (other->kind == REQUEST_SESSION || other->kind == REQUEST_WAKE) && cv_str_eq(other->remote, r->remote) && cv_str_eq(other->protocol, r->protocol);
	}
	return count;
}

int spawner_check_limits(const struct spawner *sp, const struct worker *w, const struct request *r, struct cv_err *err)
{
	const struct cv_gen *gen = sp->proc->gen;
	uint64_t per_address = gen->core->mail_max_userip_connections, per_user = sp->session_limit, count = 0;
	struct cv_node *node, *next;

	if (r->kind == REQUEST_JOB && w != NULL) {
		size_t jobs = cv_map_count(w->jobs);
		cv_list_foreach(&w->waiting, node, next)
			jobs += cv_container(node, struct request, node)->kind == REQUEST_JOB;
		if (jobs >= CV_WORKER_JOBS_MAX)
			return cv_err_set(err, CV_ERR_LIMIT, "%zu deliveries to this user are waiting for the worker (pid %ld)", jobs, (long)w->pid);
	}
	if (r->kind != REQUEST_SESSION)
		return 0;
	/* [protocol X] may say otherwise. */
	struct cv_conf_filter filter = { .protocol = cv_arena_cstr(r->arena, r->protocol) };
	const void *set;
	if (filter.protocol != NULL && cv_conf_get_shared(gen->conf, &cv_core_settings_table, &filter, r->arena, &set, NULL) == 0)
		per_address = ((const struct cv_core_settings *)set)->mail_max_userip_connections;
	if (per_address != 0 && r->remote.len > 0 && sessions_from(sp, w, r) >= per_address)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Maximum number of connections from user+IP exceeded (mail_max_userip_connections=%llu)",
			(unsigned long long)per_address);
	if (per_user == 0)
		return 0;
	count = spawner_sleeping(sp, r->user, (struct cv_str){ 0 }, (struct cv_str){ 0 });
	if (w != NULL) {
		count += cv_map_count(w->sessions);
		cv_list_foreach(&w->waiting, node, next) {
			enum request_kind kind = cv_container(node, struct request, node)->kind;
			count += kind == REQUEST_SESSION || kind == REQUEST_WAKE;
		}
	}
	if (count >= per_user)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Maximum number of sessions of this user exceeded ([service worker] client_limit=%llu)",
			(unsigned long long)per_user);
	return 0;
}

/* ---- Ends that were not told yet ------------------------------------------------------------------------------------------------ */

bool spawner_ask_ends(struct worker *w, struct request *r)
{
	struct cv_node *node, *next;
	size_t unsure = 0;

	if (r->kind != REQUEST_SESSION || r->ends_asked || w->state != WORKER_READY || cv_map_count(w->sessions) == 0)
		return false;
	cv_list_foreach(&w->waiting, node, next)
		unsure++;
	if (unsure >= UNSURE_MAX)
		return false;
	if (!w->ends_asked)
		spawner_worker_send(w, CV_MSG_WORKER_TELL, 0, CV_STR(""), -1);
	w->ends_asked = r->ends_asked = true;
	cv_list_append(&w->waiting, &r->node);
	return true;
}

void spawner_ends_told(struct worker *w)
{
	struct spawner *sp = w->sp;
	struct cv_node unsure;

	w->ends_asked = false;
	/* One that is to end is asked for nothing more: what waits gets its successor. */
	if (w->state != WORKER_READY)
		return;
	cv_list_move(&unsure, &w->waiting);
	while (!cv_list_empty(&unsure)) {
		struct request *r = cv_container(unsure.next, struct request, node);
		cv_list_remove(&r->node);
		spawner_place(sp, r);
	}
}
