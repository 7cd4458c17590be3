/* SPDX-License-Identifier: MIT
   The spawner: has all worker modules loaded, forks one worker for each user, and passes it the user's sessions and jobs. */
#include "core/proc/auth-seal.h"
#include "core/proc/spawner.h"

#include <signal.h>
#include <unistd.h>

/* An idle worker's memory, the kernel's included, and which part of all may be theirs. */
#define IDLE_WORKER (512u << 10)
#define IDLE_PART 8
#define IDLE_MIN 16

static int spawner_peer(struct cv_role_proc *proc, enum cv_role role, uint32_t index, int fd)
{
	if (role == CV_ROLE_AUTH) {
		spawner_auth_connect(proc->state, fd);
	} else if (role == CV_ROLE_FRONT) {
		spawner_front_connect(proc->state, index, fd);
	} else {
		(void)close(fd);
		return -1;
	}
	return 0;
}

/* ---- Administrators -------------------------------------------------------------------------------------------------------------------------- */

static int spawner_admin_user(struct cv_role_proc *proc, struct cv_str user, struct cv_str payload, int fd)
{
	struct spawner *sp = proc->state;
	struct request *r = request_new(sp, REQUEST_ADMIN, NULL, 0, fd);

	r->payload = cv_arena_str(r->arena, payload);
	spawner_ask(sp, r, CV_MSG_USERDB, user, CV_STR("admin"));
	return 0;
}

/* ---- Start, reload, stop ---------------------------------------------------------------------------------------------------------------------- */

/* How many idle workers may stay where nothing is set. */
static size_t idle_room(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;

	return (size_t)CV_MAX(memory / IDLE_PART / IDLE_WORKER, (uint64_t)IDLE_MIN);
}

static int take_settings(struct spawner *sp, struct cv_err *err)
{
	const struct cv_gen *gen = sp->proc->gen;
	const struct cv_core_settings *core = gen->core;
	const struct cv_service_settings *service = cv_service_settings(gen->conf, "worker", gen->arena);
	uint32_t sysuid = UINT32_MAX, sysgid = UINT32_MAX, primary = UINT32_MAX;

	if (sp->proc->privileged && core->mail_uid != NULL && cv_restrict_user(core->mail_uid, &sysuid, &primary, err) < 0)
		return cv_err_context(err, "mail_uid");
	sysgid = primary;
	if (sp->proc->privileged && core->mail_gid != NULL && cv_restrict_group(core->mail_gid, &sysgid, err) < 0)
		return cv_err_context(err, "mail_gid");
	sp->groups.count = 0;
	for (size_t i = 0; sp->proc->privileged && core->mail_access_groups != NULL && core->mail_access_groups[i] != NULL; i++) {
		uint32_t group;
		if (cv_restrict_group(core->mail_access_groups[i], &group, err) < 0)
			return cv_err_context(err, "mail_access_groups");
		*cv_vec_push(&sp->groups) = group;
	}
	sp->mail_uid = sysuid;
	sp->mail_gid = sysgid;
	sp->worker_limit = service->process_limit != 0 ? service->process_limit : core->default_process_limit;
	sp->session_limit = service->client_limit;
	sp->idle_limit = service->idle_limit != 0 ? service->idle_limit : idle_room();
	sp->idle_ms = service->idle_kill != 0 ? service->idle_kill : core->default_idle_kill;
	sp->vsz_limit = cv_service_vsz_limit(gen->conf, "worker", gen->arena);
	return 0;
}

static int spawner_init(struct cv_role_proc *proc, struct cv_err *err)
{
	struct spawner *sp = cv_new0(struct spawner);

	proc->state = sp;
	sp->proc = proc;
	sp->loop = proc->loop;
	cv_list_init(&sp->fronts);
	cv_list_init(&sp->workers);
	cv_list_init(&sp->idle);
	cv_list_init(&sp->waiting);
	sp->by_user = cv_map_new();
	sp->households = cv_map_new();
	sp->sleepers = cv_map_new();
	cv_list_init(&sp->crowded);
	sp->by_pid = cv_map_new();
	sp->asked = cv_map_new();
	sp->fd_limit = cv_limit_nofile();
	/* The one process that maps the mail library, for its workers. */
	sp->entry = worker_library(err);
	if (sp->entry == NULL)
		return -1;
	sp->entry->prewarm();
	return take_settings(sp, err);
}

static int spawner_start(struct cv_role_proc *proc, struct cv_err *err)
{
	struct spawner *sp = proc->state;

	(void)err;
	cv_limit_vsz(cv_service_vsz_limit(proc->gen->conf, "spawner", proc->gen->arena));
	cv_signal_add(proc->loop, SIGCHLD, spawner_on_child, sp);
	cv_title_set("%s spawner", proc->gen->core->instance_name);
	return 0;
}

static int spawner_reload(struct cv_role_proc *proc, struct cv_gen *old, struct cv_err *err)
{
	struct spawner *sp = proc->state;
	struct cv_node *node, *next;

	(void)old;
	if (take_settings(sp, err) < 0)
		return -1;
	if ((enum cv_seccomp_mode)proc->gen->core->seccomp < cv_sandbox_passed_on())
		cv_warn(NULL, "seccomp: workers have the filter of before until the server is started anew");
	sp->prepared_ms = 0;
	/* The modules may be others now. */
	cv_list_foreach(&sp->fronts, node, next)
		spawner_tell_hooks(sp, cv_container(node, struct front_peer, node));
	return 0;
}

static void spawner_log_reopened(struct cv_role_proc *proc)
{
	struct spawner *sp = proc->state;
	struct cv_node *node, *next;
	int fds[CV_LOG_OUTPUTS];
	unsigned count = cv_log_fds(fds);

	cv_list_foreach(&sp->workers, node, next) {
		struct worker *w = cv_container(node, struct worker, node);
		if (w->ipc == NULL || count == 0)
			continue;
		if (cv_ipc_send(w->ipc, CV_MSG_WORKER_REOPEN_LOG, 0, CV_STR(""), fds, count) < 0)
			cv_warn(&w->log, "the log could not be handed over");
		w->sent++;
	}
}

static void spawner_stop(struct cv_role_proc *proc, bool graceful)
{
	struct spawner *sp = proc->state;
	struct cv_node *node, *next;

	struct cv_err err = { 0 };

	sp->stopping = true;
	(void)cv_err_set_public(&err, CV_ERR_UNAVAILABLE, "The server is shutting down");
	spawner_fail_list(&sp->crowded, &err);
	cv_list_foreach(&sp->workers, node, next)
		spawner_worker_stop(cv_container(node, struct worker, node), CV_MSG_WORKER_STOP, CV_STR(""));
	if (!graceful || sp->worker_count == 0)
		cv_loop_stop(sp->loop);
}

static void spawner_status(struct cv_role_proc *proc, struct cv_buf *kv)
{
	const struct spawner *sp = proc->state;
	struct cv_node *node, *next;
	size_t sessions = 0, jobs = 0;

	cv_list_foreach(&sp->workers, node, next) {
		const struct worker *w = cv_container(node, struct worker, node);
		sessions += cv_map_count(w->sessions);
		jobs += cv_map_count(w->jobs);
	}
	cv_role_figure(kv, "workers", sp->worker_count);
	cv_role_figure(kv, "workers_idle", sp->idle_count);
	cv_role_figure(kv, "sessions", sessions);
	cv_role_figure(kv, "sleeping", cv_map_count(sp->sleepers));
	cv_role_figure(kv, "jobs", jobs);
	cv_role_figure(kv, "workers_started", sp->started);
	cv_role_figure(kv, "jobs_done", sp->jobs_done);
}

static void spawner_deinit(struct cv_role_proc *proc)
{
	struct spawner *sp = proc->state;
	struct cv_node *node, *next;
	struct cv_err err = { 0 };

	(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, "the spawner ends");
	spawner_fail_list(&sp->waiting, &err);
	spawner_fail_list(&sp->crowded, &err);
	spawner_forget_sleepers(sp, NULL);
	for (node = sp->workers.next; node != &sp->workers; node = next) {
		struct worker *w = cv_container(node, struct worker, node);
		next = node->next;
		spawner_fail_list(&w->waiting, &err);
		spawner_fail_list(&w->running, &err);
		spawner_worker_free(w);
	}
	for (node = sp->fronts.next; node != &sp->fronts; node = next) {
		next = node->next;
		spawner_front_free(cv_container(node, struct front_peer, node));
	}
	cv_ipc_free(&sp->auth);
	auth_opener_free(&sp->opener);
	cv_map_free(&sp->by_user);
	cv_map_free(&sp->households);
	cv_map_free(&sp->sleepers);
	cv_map_free(&sp->by_pid);
	cv_map_free(&sp->asked);
	cv_vec_free(&sp->groups);
	cv_free(sp);
	proc->state = NULL;
}

const struct cv_role_ops cv_spawner_role = {
	.name = "spawner",
	.role = CV_ROLE_SPAWNER,
	.module_role = CV_ROLE_WORKER,
	.init = spawner_init,
	.start = spawner_start,
	.reload = spawner_reload,
	.peer = spawner_peer,
	.log_reopened = spawner_log_reopened,
	.stop = spawner_stop,
	.status = spawner_status,
	.admin_user = spawner_admin_user,
	.own_module = &spawner_admin_module,
	.deinit = spawner_deinit,
};
