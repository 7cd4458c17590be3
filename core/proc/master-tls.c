/* SPDX-License-Identifier: MIT
   Certificates and keys: read by the master, given to fronts, and again when a file changes. */
#include "core/proc/master.h"

#include "core/proc/messages.h"

#include <unistd.h>

int master_tls_make(const struct master *m, const struct master_conf *mc, bool fresh, struct master_tls *tls, struct cv_err *err)
{
	tls->memfd = -1;
	cv_buf_init_wipe(&tls->data, TLS_CONF_MAX);
	if (!fresh) {
		cv_buf_append(&tls->data, cv_buf_str(&mc->tls));
	} else if (tls_conf_build(mc, fresh, &tls->data, err) < 0) {
		cv_buf_deinit(&tls->data);
		return -1;
	}
	if (m->tls_memfd >= 0 && cv_str_eq(cv_buf_str(&tls->data), cv_buf_str(&m->tls_data)))
		return 0;
	tls->memfd = cv_memfd_from("culver-tls", cv_buf_str(&tls->data), err);
	if (tls->memfd < 0) {
		cv_buf_deinit(&tls->data);
		return -1;
	}
	return 0;
}

bool master_tls_use(struct master *m, struct master_tls *tls)
{
	if (tls->memfd < 0) {
		cv_buf_deinit(&tls->data);
		return false;
	}
	if (m->tls_memfd >= 0)
		(void)close(m->tls_memfd);
	m->tls_memfd = tls->memfd;
	cv_buf_deinit(&m->tls_data);
	m->tls_data = tls->data;
	return true;
}

void master_tls_drop(struct master_tls *tls)
{
	if (tls->memfd >= 0)
		(void)close(tls->memfd);
	cv_buf_deinit(&tls->data);
}

int master_tls_take(struct master *m, const struct master_conf *mc, bool fresh, struct cv_err *err)
{
	struct master_tls tls;

	if (master_tls_make(m, mc, fresh, &tls, err) < 0)
		return -1;
	return master_tls_use(m, &tls) ? 1 : 0;
}

void master_tls_send(struct master *m)
{
	struct cv_node *node, *next;

	cv_list_foreach(&m->children, node, next) {
		struct child *child = cv_container(node, struct child, node);
		if (child->ops->role != CV_ROLE_FRONT || child->state == CHILD_DRAINING || child->state == CHILD_STOPPING)
			continue;
		master_send(child, CV_MSG_TLS, 0, CV_STR(""), m->tls_memfd);
		/* One that is not ready yet takes it as a part of its start. */
		child->reload_due += child->state == CHILD_READY;
	}
}

static void on_files_changed(void *ctx)
{
	struct master *m = ctx;
	struct cv_err err = { 0 };
	int result = master_tls_take(m, m->mc, true, &err);

	if (result < 0) {
		cv_error(NULL, "a certificate file changed and cannot be used, the old certificate stays in use: %s", err.text);
	} else if (result > 0) {
		m->renewing = true;
		cv_timer_set(m->stop_timer, MASTER_START_LIMIT_MS);
		master_tls_send(m);
		master_progress(m);
	}
}

void master_tls_watch(struct master *m)
{
	struct cv_arena *arena = cv_arena_new("watch", NULL, 0);

	master_watch_free(&m->watch);
	m->watch = master_watch_new(m->loop, tls_conf_files(m->mc, arena), on_files_changed, m);
	cv_arena_free(&arena);
}
