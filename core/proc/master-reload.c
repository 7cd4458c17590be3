/* SPDX-License-Identifier: MIT
   Settings anew under a running server: who takes them, and who is replaced. */
#include "core/proc/master.h"

#include "core/proc/messages.h"
#include <culver/time.h>

#include <stdio.h>
#include <string.h>

/* Problems go to the log, and to who asked for the reload. */
struct problems {
	master_problem_fn *fn;
	void *ctx;
};

static void log_problem(void *ctx, const struct cv_conf_problem *problem)
{
	struct problems *p = ctx;
	char text[MASTER_PROBLEM_MAX];

	cv_error(NULL, "settings: %s", master_problem_text(problem, text, sizeof(text)));
	if (p->fn != NULL)
		p->fn(p->ctx, problem);
}

void master_reopen_log(struct master *m)
{
	struct cv_node *node, *next;
	struct cv_err err = { 0 };

	if (cv_role_log_open(m->mc->core, "master", &err) < 0) {
		cv_error(NULL, "%s", err.text);
		return;
	}
	cv_list_foreach(&m->children, node, next) {
		struct child *child = cv_container(node, struct child, node);
		int fds[CV_LOG_OUTPUTS];
		unsigned count = cv_log_fds(fds);
		if (count > 0 && !child->gone && cv_ipc_send(child->control, CV_MSG_REOPEN_LOG, 0, CV_STR(""), fds, count) < 0)
			cv_warn(NULL, "%s (pid %ld): the log could not be handed over", child->ops->name, (long)child->pid);
	}
}

void master_give_tokens(struct master *m)
{
	struct cv_node *node, *next;

	cv_list_foreach(&m->listeners, node, next) {
		struct listener *l = cv_container(node, struct listener, node);
		if (l->token == 0)
			l->token = ++m->next_token;
	}
}

/* Tell a child which listeners are new, changed or gone. */
static void send_listener_changes(struct master *m, struct child *child, uint64_t known)
{
	struct cv_node *node, *next;

	if (!master_child_listens(child))
		return;
	cv_list_foreach(&m->listeners, node, next) {
		const struct listener *l = cv_container(node, struct listener, node);
		if (l->old_token != 0)
			master_send(child, CV_MSG_LISTENER_GONE, l->old_token, CV_STR(""), -1);
		if (!l->wanted)
			master_send(child, CV_MSG_LISTENER_GONE, l->token, CV_STR(""), -1);
		else if (l->token > known && master_listener_for(child, l))
			master_send_listener(child, l);
	}
}

static bool same_names(const char *const *a, const char *const *b)
{
	size_t i = 0;

	while (a[i] != NULL && b[i] != NULL && strcmp(a[i], b[i]) == 0)
		i++;
	return a[i] == NULL && b[i] == NULL;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Settings that a process takes once, before it gives its rights up. */
static bool needs_another(const struct slot *slot, const struct master_conf *before, const struct master_conf *now)
{
	const struct cv_core_settings *a = before->core, *b = now->core;
	char kinds_a[4], kinds_b[4];

	cv_role_log_kinds(a, kinds_a);
	cv_role_log_kinds(b, kinds_b);
	return strcmp(kinds_a, kinds_b) != 0 || !same_text(a->syslog_facility, b->syslog_facility) ||
		!same_text(a->default_login_user, b->default_login_user) || !same_text(a->default_internal_user, b->default_internal_user) ||
		!same_text(a->default_internal_group, b->default_internal_group) || !same_text(a->instance_name, b->instance_name) ||
		!same_text(a->mail_plugin_dir, b->mail_plugin_dir) || a->seccomp != b->seccomp || a->landlock != b->landlock ||
		cv_service_vsz_limit(before->conf, slot->ops->name, before->arena) != cv_service_vsz_limit(now->conf, slot->ops->name, now->arena);
}

/* A confined process cannot open modules that it was not started with: another takes its place and the old one serves its connections to their end. */
static void replace(struct slot *slot)
{
	struct child *old = slot->child;
	struct cv_err err = { 0 };

	if (old != NULL) {
		old->state = CHILD_DRAINING;
		slot->child = NULL;
	}
	if (master_child_start(slot, &err) < 0) {
		master_reload_problem(slot->m, slot->ops->name, err.text);
		if (old != NULL) {
			old->state = CHILD_READY;
			slot->child = old;
		}
		return;
	}
	if (old != NULL)
		master_send_stop(old, true);
}

static void reload_slot(struct slot *slot, const struct master_conf *before, const char *const *modules_before, const char *const *modules_now,
	uint64_t known)
{
	struct child *child = slot->child;
	struct master *m = slot->m;
	struct cv_err err = { 0 };

	if (child == NULL)
		return;
	/* One that still starts was given the old settings. */
	if (child->state != CHILD_READY ||
		(slot->ops->role != CV_ROLE_SPAWNER && (!same_names(modules_before, modules_now) || needs_another(slot, before, m->mc)))) {
		replace(slot);
		return;
	}
	if (!same_names(modules_before, modules_now) || !same_text(before->core->mail_plugin_dir, m->mc->core->mail_plugin_dir))
		master_send_modules(child, m->mc);
	if (master_send_conf(child, m->mc, &err) < 0) {
		master_reload_problem(m, slot->ops->name, err.text);
		return;
	}
	child->reload_due++;
	send_listener_changes(m, child, known);
}

struct slot *master_new_slot(struct master *m, const struct cv_role_ops *ops, uint32_t index)
{
	struct slot *slot = cv_new0(struct slot);

	slot->m = m;
	slot->ops = ops;
	slot->index = index;
	return slot;
}

static void set_front_count(struct master *m, size_t count)
{
	struct cv_err err = { 0 };

	while (m->fronts.count > count) {
		struct slot *slot = m->fronts.data[--m->fronts.count];
		if (slot->child != NULL) {
			slot->child->state = CHILD_DRAINING;
			master_send_stop(slot->child, true);
		}
		cv_timer_remove(&slot->restart);
		cv_free(slot);
	}
	while (m->fronts.count < count) {
		struct slot *slot = master_new_slot(m, &cv_front_role, (uint32_t)m->fronts.count);
		*cv_vec_push(&m->fronts) = slot;
		if (master_child_start(slot, &err) < 0)
			cv_error(NULL, "%s", err.text);
	}
}

static void forget_listeners(struct master *m)
{
	struct cv_node *node, *next;

	for (node = m->listeners.next; node != &m->listeners; node = next) {
		struct listener *l = cv_container(node, struct listener, node);
		next = node->next;
		l->old_token = 0;
		if (!l->wanted)
			master_listener_free(m, l);
	}
}

int master_reload(struct master *m, master_problem_fn *fn, void *ctx)
{
	struct cv_err err = { 0 };
	struct problems problems = { .fn = fn, .ctx = ctx };

	if (m->stopping || !m->ready)
		return 0;
	char notify[64];
	(void)snprintf(notify, sizeof(notify), "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)cv_time_mono_us());
	master_notify(notify);
	struct master_conf *now = master_conf_load(&m->opts, log_problem, &problems), *before = m->mc;
	if (now != NULL && strcmp(now->core->base_dir, before->core->base_dir) != 0) {
		log_problem(&problems, &(const struct cv_conf_problem){ .text = "base_dir can be changed by a restart only" });
		master_conf_free(&now);
	}
	struct master_tls tls = { .memfd = -1 };
	if (now != NULL && master_tls_make(m, now, false, &tls, &err) < 0) {
		log_problem(&problems, &(const struct cv_conf_problem){ .text = err.text });
		master_conf_free(&now);
	} else if (now != NULL && master_listen(m, now, &err) < 0) {
		/* Last, since nobody may find a listener open that is not served. */
		log_problem(&problems, &(const struct cv_conf_problem){ .text = err.text });
		master_tls_drop(&tls);
		master_conf_free(&now);
	}
	if (now == NULL) {
		cv_error(NULL, "the new settings are not taken, the old ones stay in force");
		master_notify("READY=1\nSTATUS=Serving with old settings: the new ones have errors");
		return -1;
	}
	m->mc = now;
	bool tls_differs = master_tls_use(m, &tls);
	uint64_t known = m->next_token;
	master_give_tokens(m);
	m->reloading = true;
	m->reload_problem[0] = '\0';
	cv_timer_set(m->stop_timer, MASTER_START_LIMIT_MS);
	reload_slot(&m->auth, before, before->auth_modules, now->auth_modules, known);
	reload_slot(&m->spawner, before, before->worker_modules, now->worker_modules, known);
	for (size_t i = 0; i < CV_MIN(m->fronts.count, (size_t)now->front_count); i++)
		reload_slot(m->fronts.data[i], before, before->front_modules, now->front_modules, known);
	set_front_count(m, now->front_count);
	if (tls_differs)
		master_tls_send(m);
	forget_listeners(m);
	master_conf_free(&before);
	master_tls_watch(m);
	master_admin_settings(m);
	master_reopen_log(m);
	master_progress(m);
	return 0;
}

/* ---- Its end ----------------------------------------------------------------------------------------------------------------- */

static bool answered(const struct master *m)
{
	struct cv_node *node, *next;

	cv_list_foreach(&m->children, node, next) {
		if (cv_container(node, struct child, node)->reload_due > 0)
			return false;
	}
	return true;
}

/* All have answered, or never will. */
static void reload_ends(struct master *m)
{
	bool good = m->reload_problem[0] == '\0', settings = m->reloading, certificates = m->renewing;

	m->reloading = m->renewing = false;
	cv_timer_stop(m->stop_timer);
	if (certificates && good)
		cv_info(NULL, "certificates are renewed");
	else if (certificates && !settings)
		cv_error(NULL, "the new certificates are not in use everywhere: %s", m->reload_problem);
	if (settings) {
		if (good)
			cv_info(NULL, "settings are reloaded");
		else
			cv_error(NULL, "not all parts took the new settings: %s", m->reload_problem);
		master_admin_reloaded(m, good ? NULL : m->reload_problem);
		master_notify(good ? "READY=1\nSTATUS=Serving" : "READY=1\nSTATUS=Serving, some processes with old settings: see the log");
	}
	m->reload_problem[0] = '\0';
}

void master_reload_problem(struct master *m, const char *part, const char *text)
{
	cv_error(NULL, "%s keeps what it had: %s", part, text);
	if (m->reload_problem[0] == '\0')
		(void)snprintf(m->reload_problem, sizeof(m->reload_problem), "%s: %s", part, text);
}

void master_reload_progress(struct master *m)
{
	if ((m->reloading || m->renewing) && answered(m))
		reload_ends(m);
}

void master_reload_late(struct master *m)
{
	struct cv_node *node, *next;

	if (!m->reloading && !m->renewing)
		return;
	cv_list_foreach(&m->children, node, next)
		cv_container(node, struct child, node)->reload_due = 0;
	master_reload_problem(m, "a process", "it did not answer in time");
	reload_ends(m);
}
