/* SPDX-License-Identifier: MIT
   The auth role: what its harness asks of it. Logins are in auth-request.c, its askers in auth-front.c, auth-spawner.c, auth-client.c and auth-admin.c. */
#include <config.h>

#include "core/proc/auth-private.h"

#include "core/proc/role.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define HELPER_WAIT_MS 60000
#define HELPER_IDLE_MS 300000
#define WAITING_MAX 2048
#define STOP_POLL_MS 50
#define STOP_MAX_MS 5000

struct front {
	struct cv_node node;
	struct auth_front *front;
};

struct listener {
	struct cv_node node;
	uint64_t token;
	struct auth_client_listener *listener;
};

struct role {
	struct auth auth; /* first: cv_admin_process is both */
	struct cv_role_proc *proc;
	struct cv_node fronts, listeners;
	struct auth_spawner *spawner;
	struct cv_timer *stopping;
	uint64_t stop_by_ms;
};

/* ---- Starter ---------------------------------------------------------------------------------------------------- */

static CV_NORETURN void become_starter(int fd)
{
	static char name[] = "culverd", role[] = "--role=auth-starter";
	char *argv[] = { name, role, NULL };
	const int keep[] = { CV_CONTROL_FD };

	if (fd != CV_CONTROL_FD && dup2(fd, CV_CONTROL_FD) < 0)
		_exit(71);
	if (fd == CV_CONTROL_FD)
		(void)fcntl(fd, F_SETFD, 0);
	cv_close_from(CV_CONTROL_FD, keep, CV_COUNT_OF(keep));
	cv_signal_unblock_all();
	(void)execv("/proc/self/exe", argv);
	_exit(71);
}

static void on_starter_lost(void *ctx)
{
	struct role *role = ctx;

	/* It can't be started anew without the rights that are gone: master starts auth anew. */
	if (!role->proc->stopping)
		cv_fatal("the starter of helpers is gone");
}

static int start_starter(struct role *role, struct cv_err *err)
{
	static const struct auth_pool_limits limits = {
		.max_helpers = 1, .job_ms = 30000, .wait_ms = HELPER_WAIT_MS, .idle_ms = HELPER_IDLE_MS, .max_waiting = WAITING_MAX
	};
	int ends[2];
	pid_t pid;

	if (cv_ipc_pair_try(ends, err) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		become_starter(ends[1]);
	(void)close(ends[1]);
	if (pid < 0) {
		(void)close(ends[0]);
		return cv_err_sys(err, errno, "fork");
	}
	role->auth.pool = auth_pool_new(role->auth.loop, ends[0], &limits, on_starter_lost, role);
	return 0;
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

static void release_gen(void *ctx)
{
	struct cv_gen *gen = ctx;

	cv_gen_unref(&gen);
}

static int take_settings(struct role *role, struct cv_err *err)
{
	struct cv_role_proc *proc = role->proc;
	struct auth_gen *gen = auth_gen_new(proc->registry, proc->gen->conf, release_gen, proc->gen, err);

	if (gen == NULL)
		return -1;
	(void)cv_gen_ref(proc->gen);
	auth_gen_unref(&role->auth.gen);
	role->auth.gen = gen;
	if (proc->gen->memfd >= 0)
		auth_pool_set_conf(role->auth.pool, proc->modules, proc->gen->memfd, gen->set->auth_worker_max_count, gen->set->auth_worker_timeout);
	auth_cache_configure(role->auth.cache, gen->set->auth_cache_size, gen->set->auth_cache_ttl, gen->set->auth_cache_negative_ttl);
	return 0;
}

static int reload(struct cv_role_proc *proc, struct cv_gen *old, struct cv_err *err)
{
	struct role *role = proc->state;
	struct cv_node *node, *next;

	(void)old;
	if (take_settings(role, err) < 0)
		return -1;
	cv_list_foreach(&role->fronts, node, next)
		auth_front_send_mechs(cv_container(node, struct front, node)->front);
	return 0;
}

/* ---- Begin --------------------------------------------------------------------------------------------------------- */

static int init(struct cv_role_proc *proc, struct cv_err *err)
{
	struct role *role = cv_new0(struct role);

	proc->state = role;
	role->proc = proc;
	role->auth.loop = proc->loop;
	role->auth.registry = proc->registry;
	role->auth.tickets = auth_tickets_new(proc->loop);
	role->auth.sealer = auth_sealer_new();
	role->auth.delays = auth_delays_new(proc->loop);
	role->auth.cache = auth_cache_new(proc->loop);
	role->auth.ids = auth_ids_new(proc->loop);
	cv_list_init(&role->auth.requests);
	cv_list_init(&role->fronts);
	cv_list_init(&role->listeners);
	if (start_starter(role, err) < 0)
		return -1;
	return take_settings(role, err);
}

static int drop_rights(const struct cv_core_settings *core, struct cv_err *err)
{
	static const struct cv_sandbox_path read_all = { .path = "/", .write = false };
	struct cv_restrict to = { 0 };

	if (cv_restrict_user(core->default_internal_user, &to.sysuid, &to.sysgid, err) < 0)
		return -1;
	if (core->default_internal_group != NULL && core->default_internal_group[0] != '\0' &&
		cv_restrict_group(core->default_internal_group, &to.sysgid, err) < 0)
		return -1;
	if (cv_restrict(&to, err) < 0)
		return -1;
	/* Password files may lie anywhere; nothing is written. */
	if (core->landlock && cv_sandbox_landlock(&read_all, 1, err) < 0)
		return -1;
	return 0;
}

static int start(struct cv_role_proc *proc, struct cv_err *err)
{
	const struct cv_core_settings *core = proc->gen->core;

	(void)cv_limit_nofile();
	cv_limit_vsz(cv_service_vsz_limit(proc->gen->conf, "auth", proc->gen->arena));
	if (proc->privileged && drop_rights(core, err) < 0)
		return -1;
	return cv_sandbox_seccomp(CV_SANDBOX_AUTH, (enum cv_seccomp_mode)core->seccomp, err);
}

/* ---- Askers ---------------------------------------------------------------------------------------------------------- */

static void on_front_gone(void *ctx, struct auth_front *gone)
{
	struct role *role = ctx;
	struct cv_node *node, *next;

	cv_list_foreach(&role->fronts, node, next) {
		struct front *front = cv_container(node, struct front, node);

		if (front->front != gone)
			continue;
		cv_list_remove(&front->node);
		auth_front_free(&front->front);
		cv_free(front);
	}
}

static void on_spawner_gone(void *ctx, struct auth_spawner *gone)
{
	struct role *role = ctx;

	(void)gone;
	auth_spawner_free(&role->spawner);
}

static int peer(struct cv_role_proc *proc, enum cv_role peer_role, uint32_t index, int fd)
{
	struct role *role = proc->state;
	struct front *front;

	(void)index;
	if (peer_role == CV_ROLE_FRONT) {
		front = cv_new0(struct front);
		cv_list_append(&role->fronts, &front->node);
		front->front = auth_front_new(&role->auth, fd, on_front_gone, role);
		return 0;
	}
	if (peer_role == CV_ROLE_SPAWNER) {
		/* A new one comes when the old one is gone, which may not have been noticed yet. */
		auth_spawner_free(&role->spawner);
		role->spawner = auth_spawner_new(&role->auth, fd, on_spawner_gone, role);
		return 0;
	}
	(void)close(fd);
	return -1;
}

static int listener(struct cv_role_proc *proc, uint64_t token, struct cv_str name, struct cv_str protocol, bool tls, bool is_unix, int fd)
{
	struct role *role = proc->state;
	struct listener *entry;

	(void)name;
	(void)is_unix;
	if (!cv_str_eq_c(protocol, "auth-client") || tls) {
		(void)close(fd);
		return -1;
	}
	entry = cv_new0(struct listener);
	entry->token = token;
	entry->listener = auth_client_listener_new(&role->auth, fd);
	cv_list_append(&role->listeners, &entry->node);
	return 0;
}

static void drop_listener(struct listener *entry)
{
	cv_list_remove(&entry->node);
	auth_client_listener_free(&entry->listener);
	cv_free(entry);
}

static void listener_gone(struct cv_role_proc *proc, uint64_t token)
{
	struct role *role = proc->state;
	struct cv_node *node, *next;

	cv_list_foreach(&role->listeners, node, next) {
		struct listener *entry = cv_container(node, struct listener, node);

		if (entry->token == token)
			drop_listener(entry);
	}
}

/* ---- End -------------------------------------------------------------------------------------------------------------- */

static void on_stopping(void *ctx)
{
	struct role *role = ctx;

	if (role->auth.request_count == 0 || cv_loop_now_ms(role->auth.loop) >= role->stop_by_ms)
		cv_loop_stop(role->auth.loop);
	else
		cv_timer_set(role->stopping, STOP_POLL_MS);
}

/* Logins that are being checked are answered first. */
static void stop(struct cv_role_proc *proc, bool graceful)
{
	struct role *role = proc->state;

	if (!graceful) {
		cv_loop_stop(proc->loop);
		return;
	}
	role->stop_by_ms = cv_loop_now_ms(proc->loop) + STOP_MAX_MS;
	role->stopping = cv_timer_add(proc->loop, 0, on_stopping, role);
}

static void status(struct cv_role_proc *proc, struct cv_buf *kv)
{
	const struct auth *auth = &((struct role *)proc->state)->auth;

	cv_role_figure(kv, "logins_ok", auth->successes);
	cv_role_figure(kv, "logins_failed", auth->failures);
	cv_role_figure(kv, "logins_not_checked", auth->temporaries);
	cv_role_figure(kv, "requests", auth->request_count);
	cv_role_figure(kv, "helpers", auth_pool_helpers(auth->pool));
	cv_role_figure(kv, "waiting_for_helper", auth_pool_waiting(auth->pool));
	cv_role_figure(kv, "tickets", auth_tickets_count(auth->tickets));
	cv_role_figure(kv, "slowed_addresses", auth_delays_count(auth->delays));
	cv_role_figure(kv, "cached", auth_cache_count(auth->cache));
	cv_role_figure(kv, "cache_hits", auth_cache_hits(auth->cache));
}

static void deinit(struct cv_role_proc *proc)
{
	struct role *role = proc->state;

	if (role == NULL)
		return;
	proc->state = NULL;
	cv_timer_remove(&role->stopping);
	while (!cv_list_empty(&role->listeners))
		drop_listener(cv_container(role->listeners.next, struct listener, node));
	while (!cv_list_empty(&role->fronts))
		on_front_gone(role, cv_container(role->fronts.next, struct front, node)->front);
	auth_spawner_free(&role->spawner);
	while (!cv_list_empty(&role->auth.requests)) {
		struct auth_request *request = auth_request_of_node(role->auth.requests.next);

		auth_request_abort(&request);
	}
	auth_pool_free(&role->auth.pool);
	auth_gen_unref(&role->auth.gen);
	auth_cache_free(&role->auth.cache);
	auth_ids_free(&role->auth.ids);
	auth_delays_free(&role->auth.delays);
	auth_tickets_free(&role->auth.tickets);
	auth_sealer_free(&role->auth.sealer);
	cv_free(role);
}

static int load(struct cv_registry *registry, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return auth_admin_provide(registry, err);
}

static const struct cv_module own_module = {
	CV_MODULE_ABI,
	.name = "auth",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_AUTH,
	.roles = CV_ROLE_AUTH,
	.load = load,
};

const struct cv_role_ops cv_auth_role = {
	.name = "auth",
	.role = CV_ROLE_AUTH,
	.module_role = CV_ROLE_AUTH,
	.init = init,
	.start = start,
	.reload = reload,
	.peer = peer,
	.listener = listener,
	.listener_gone = listener_gone,
	.stop = stop,
	.status = status,
	.own_module = &own_module,
	.deinit = deinit,
};
