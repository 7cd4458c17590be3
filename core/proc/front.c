/* SPDX-License-Identifier: MIT
   Front: takes connections, speaks TLS and the login part of protocols, and hands connections to workers. It has no rights and nothing of a user's.
   Here its start, reload and end; front-connection.c has the connections, front-ask.c what is asked of auth and spawner, front-sleep.c sleeping sessions. */
#include "core/proc/front.h"

#include <time.h>
#include <unistd.h>

#define TLS_MAX (64u * 1024 * 1024)
#define DRAIN_LOOK_MS 200

static int front_tls(struct cv_role_proc *proc, int memfd, struct cv_err *err)
{
	struct front *front = proc->state;
	struct cv_str data;
	struct tls_set *set = NULL;

	int result = cv_memfd_map(memfd, TLS_MAX, &data, err);
	(void)close(memfd);
	if (result < 0)
		return -1;
	result = tls_set_read(data, proc->registry, &set, err);
	cv_memfd_unmap(data);
	if (result < 0)
		return -1;
	tls_set_unref(&front->tls);
	front->tls = set;
	return 0;
}

/* ---- Start, reload, stop ------------------------------------------------------------------------------------------------------------------- */

static void take_limits(struct front *front)
{
	const struct cv_gen *gen = front->proc->gen;
	const struct cv_service_settings *service = cv_service_settings(gen->conf, "front", gen->arena);

	front->client_limit = service->client_limit != 0 ? service->client_limit : gen->core->default_client_limit;
}

static void on_drain(void *ctx);

static int front_init(struct cv_role_proc *proc, struct cv_err *err)
{
	struct front *front = cv_new0(struct front);

	(void)err;
	proc->state = front;
	front->proc = proc;
	front->loop = proc->loop;
	cv_list_init(&front->listeners);
	cv_list_init(&front->logins);
	cv_list_init(&front->peers);
	cv_list_init(&front->relays);
	cv_list_init(&front->sleepers);
	front->sleeping = cv_map_new();
	front->direct = cv_map_new();
	cv_list_init(&front->directs);
	front->pending = cv_map_new();
	front->addresses = cv_map_new();
	front->relayed = cv_map_new();
	front->full = cv_timer_add_stopped(front->loop, front_on_rested, front);
	front->drain = cv_timer_add_stopped(front->loop, on_drain, front);
	front_ask_init(front);
	return 0;
}

static int front_start(struct cv_role_proc *proc, struct cv_err *err)
{
	struct front *front = proc->state;
	const struct cv_core_settings *core = proc->gen->core;
	struct cv_restrict to = { .sysuid = (uint32_t)geteuid(), .sysgid = (uint32_t)getegid() };

	front->fd_limit = cv_limit_nofile();
	take_limits(front);
	cv_limit_vsz(cv_service_vsz_limit(proc->gen->conf, "front", proc->gen->arena));
	if (proc->privileged) {
		if (cv_restrict_user(core->default_login_user, &to.sysuid, &to.sysgid, err) < 0)
			return -1;
		to.chroot = cv_arena_printf(proc->gen->arena, "%s/empty", core->base_dir);
	}
	/* Read once while the files can be seen: the log asks for local time. */
	tzset();
	if (cv_restrict(&to, err) < 0)
		return -1;
	int confined = core->landlock ? cv_sandbox_landlock(NULL, 0, err) : 0;
	if (confined < 0 || cv_sandbox_seccomp(CV_SANDBOX_FRONT, (enum cv_seccomp_mode)core->seccomp, err) < 0)
		return -1;
	if (confined == 0 && core->landlock && proc->index == 0)
		cv_info(NULL, "this kernel has no Landlock: fronts are confined by %s only", proc->privileged ? "their empty root" : "seccomp");
	cv_title_set("%s front", core->instance_name);
	proc->started = true;
	front_listen_all(front);
	/* Without auth's mechanisms clients would be told that they cannot log in. */
	return front->has_mechs ? 0 : 1;
}

static int front_reload(struct cv_role_proc *proc, struct cv_gen *old, struct cv_err *err)
{
	(void)old;
	(void)err;
	take_limits(proc->state);
	return 0;
}

static bool idle(const struct front *front)
{
	return front->login_count == 0 && front->peer_count == 0 && front->relay_count == 0 && front->sleeper_count == 0;
}

/* Those that wait for an answer of ours get it first. */
static void say_goodbye(struct cv_node *list)
{
	struct cv_node *node, *next;

	cv_list_foreach(list, node, next) {
		struct cv_login *login = cv_container(node, struct cv_login, node);
		if (login->requests == 0 && login->auth_id == 0 && login->state != CV_LOGIN_HANDOVER && login->state != CV_LOGIN_FLUSHING)
			cv_login_goodbye(login, "shutdown");
	}
}

static void on_drain(void *ctx)
{
	struct front *front = ctx;

	if (front->graceful_end) {
		cv_loop_stop(front->loop);
		return;
	}
	say_goodbye(&front->logins);
	say_goodbye(&front->peers);
	front_end_sleepers(front, "shutdown");
	cv_timer_set(front->drain, DRAIN_LOOK_MS);
	front_look_drained(front);
}

/* All connections are over: last words are on their way out for a moment more. */
void front_look_drained(struct front *front)
{
	if (!front->draining || !idle(front) || front->graceful_end)
		return;
	front->graceful_end = true;
	cv_timer_set(front->drain, 50);
}

static void front_stop(struct cv_role_proc *proc, bool graceful)
{
	struct front *front = proc->state;

	if (!graceful) {
		cv_loop_stop(front->loop);
		return;
	}
	front->draining = true;
	cv_timer_stop(front->full);
	front_free_listeners(front);
	cv_timer_set(front->drain, 0);
}

static void front_status(struct cv_role_proc *proc, struct cv_buf *kv)
{
	const struct front *front = proc->state;

	cv_role_figure(kv, "before_login", front->login_count);
	cv_role_figure(kv, "lmtp_like", front->peer_count);
	cv_role_figure(kv, "relayed", front->relay_count);
	cv_role_figure(kv, "sleeping", front->sleeper_count);
	cv_role_figure(kv, "to_workers", front->direct_count);
	cv_role_figure(kv, "accepted", front->accepted);
	cv_role_figure(kv, "logged_in", front->logged_in);
	cv_role_figure(kv, "refused", front->refused);
}

static void end_logins(struct cv_node *list)
{
	struct cv_node *node, *next;

	cv_list_foreach(list, node, next)
		cv_login_close(cv_container(node, struct cv_login, node), "server ends");
}

static void front_deinit(struct cv_role_proc *proc)
{
	struct front *front = proc->state;

	end_logins(&front->logins);
	end_logins(&front->peers);
	front_end_sleepers(front, "server ends");
	/* Closing happens in the next round. */
	for (unsigned i = 0; i < 8 && (front->login_count > 0 || front->peer_count > 0); i++)
		(void)cv_loop_once(front->loop, 0);
	front_free_relays(front);
	front_free_listeners(front);
	front_free_directs(front);
	cv_ipc_free(&front->auth);
	cv_ipc_free(&front->spawner);
	tls_set_unref(&front->tls);
	cv_vec_free(&front->mechs);
	front_forget_hooks(front);
	cv_vec_free(&front->hooks);
	cv_timer_remove(&front->full);
	cv_timer_remove(&front->drain);
	cv_map_free(&front->pending);
	cv_map_free(&front->addresses);
	cv_map_free(&front->relayed);
	cv_map_free(&front->sleeping);
	cv_map_free(&front->direct);
	cv_free(front);
	proc->state = NULL;
}

const struct cv_role_ops cv_front_role = {
	.name = "front",
	.role = CV_ROLE_FRONT,
	.module_role = CV_ROLE_FRONT,
	.init = front_init,
	.start = front_start,
	.reload = front_reload,
	.peer = front_peer,
	.listener = front_listener,
	.tls = front_tls,
	.listener_gone = front_listener_gone,
	.stop = front_stop,
	.status = front_status,
	.deinit = front_deinit,
};
