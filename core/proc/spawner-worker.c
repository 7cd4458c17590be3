/* SPDX-License-Identifier: MIT
   Workers: starting one for each user, what they say, and their end. */
#include "core/proc/auth-seal.h"
#include "core/proc/login-private.h"
#include "core/proc/spawner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

/* A worker that is to end and does not. */
#define STOP_LIMIT_MS 30000
#define HELD_MAX 64           /* of cv_sandbox_hold */
#define PREPARED_FOR_MS 1000u /* a file that was replaced is another one for Landlock */
#define LOOKED_FOR_MS 60000u  /* even where all seem to be the same */
#define ASKS_MAX 16u /* of one worker at a time, to other users' workers */

/* ---- Workers -------------------------------------------------------------------------------------------------------------- */

/* All requests that somebody waits for. */
void spawner_each_request(struct spawner *sp, void (*fn)(struct request *r, const void *who), const void *who)
{
	struct cv_node *node, *next, *of_worker, *next_of_worker;

	cv_list_foreach(&sp->waiting, node, next)
		fn(cv_container(node, struct request, node), who);
	cv_list_foreach(&sp->crowded, node, next)
		fn(cv_container(node, struct request, node), who);
	cv_list_foreach(&sp->workers, node, next) {
		struct worker *w = cv_container(node, struct worker, node);
		cv_list_foreach(&w->waiting, of_worker, next_of_worker)
			fn(cv_container(of_worker, struct request, node), who);
		cv_list_foreach(&w->running, of_worker, next_of_worker)
			fn(cv_container(of_worker, struct request, node), who);
	}
}

/* What it asked for goes on; nobody takes the answers. */
static void forget_asker(struct request *r, const void *asker)
{
	if (r->asker == asker)
		r->asker = NULL;
}

static void not_idle(struct worker *w)
{
	if (w->idle.next == NULL)
		return;
	cv_list_remove(&w->idle);
	w->sp->idle_count--;
}

/* It may have nothing to do now. Of too many such the one that has been so longest is asked to go. */
static void look_idle(struct worker *w)
{
	struct spawner *sp = w->sp;

	not_idle(w);
	if (w->state != WORKER_READY || cv_map_count(w->sessions) > 0 || cv_map_count(w->jobs) > 0)
		return;
	cv_list_append(&sp->idle, &w->idle);
	sp->idle_count++;
	if (sp->idle_count <= sp->idle_limit)
		return;
	struct worker *oldest = cv_container(sp->idle.next, struct worker, idle);
	not_idle(oldest);
	spawner_worker_send(oldest, CV_MSG_WORKER_REST, 0, CV_STR(""), -1);
}

void spawner_worker_free(struct worker *w)
{
	struct spawner *sp = w->sp;
	struct cv_str key;
	void *value;

	if (w->asking > 0)
		spawner_each_request(sp, forget_asker, w);
	not_idle(w);
	cv_list_remove(&w->node);
	(void)cv_map_remove(sp->by_user, cv_str_c(w->user));
	(void)cv_map_remove(sp->by_pid, cv_str_mem(&w->pid, sizeof(w->pid)));
	for (size_t pos = 0; cv_map_next(w->sessions, &pos, &key, &value);)
		session_free(value);
	cv_map_free(&w->sessions);
	cv_map_free(&w->jobs);
	cv_ipc_free(&w->ipc);
	cv_timer_remove(&w->limit);
	cv_arena_free(&w->arena);
	cv_gen_unref(&w->gen);
	cv_free(w);
	sp->worker_count--;
}

void spawner_worker_send(struct worker *w, uint16_t type, uint64_t id, struct cv_str payload, int fd)
{
	if (w->ipc == NULL)
		return;
	if (cv_ipc_send(w->ipc, type, id, payload, fd >= 0 ? &fd : NULL, fd >= 0 ? 1 : 0) < 0)
		cv_warn(&w->log, "a message to the worker could not be sent");
	w->sent++;
}

static void on_limit(void *ctx)
{
	struct worker *w = ctx;

	cv_error(&w->log, "worker (pid %ld) does not end: killed", (long)w->pid);
	(void)kill(w->pid, SIGKILL);
}

void spawner_worker_stop(struct worker *w, uint16_t type, struct cv_str payload)
{
	if (w->state == WORKER_EXITING)
		return;
	w->state = WORKER_EXITING;
	not_idle(w);
	spawner_worker_send(w, type, 0, payload, -1);
	w->limit = cv_timer_add(w->sp->loop, STOP_LIMIT_MS, on_limit, w);
}

void spawner_kick(struct worker *w, struct cv_str session, struct cv_str reason)
{
	struct cv_buf out;

	cv_buf_init(&out, 1024);
	cv_put_str(&out, session);
	cv_put_str(&out, reason);
	spawner_worker_send(w, CV_MSG_WORKER_KICK, 0, cv_buf_str(&out), -1);
	cv_buf_deinit(&out);
}

char *spawner_copy(struct cv_str s)
{
	char *copy = cv_malloc(s.len + 1);

	memcpy(copy, s.ptr, s.len);
	copy[s.len] = '\0';
	return copy;
}

void session_free(struct session *s)
{
	if (s == NULL)
		return;
	cv_free(s->head);
	cv_free(s);
}

static void count_session(struct worker *w, const struct request *r)
{
	struct session *s = cv_map_get(w->sessions, r->session);

	if (s == NULL) {
		s = cv_new0(struct session);
		(void)cv_map_set(w->sessions, r->session, s);
	}
	(void)snprintf(s->protocol, sizeof(s->protocol), "%.*s", CV_STR_ARG(r->protocol));
	(void)snprintf(s->remote, sizeof(s->remote), "%.*s", CV_STR_ARG(r->remote));
	(void)snprintf(s->state, sizeof(s->state), "start");
	s->since_sec = r->since_sec != 0 ? r->since_sec : cv_time_now_sec();
	s->secured = r->secured;
	s->front = r->front;
	s->relayed = r->relayed;
	cv_free(s->head);
	s->head_len = r->head_len;
	s->head = spawner_copy(cv_str_sub(r->payload, 0, r->head_len));
}

/* Front asked for a way of its own to the worker: one end to each. Without one all goes on by way of the spawner. */
static void make_channel(struct worker *w, struct request *r)
{
	struct cv_err err = { 0 };
	struct cv_buf out;
	int pair[2];

	if (r->front == NULL || !spawner_fds_left(w->sp))
		return;
	if (cv_ipc_pair_try(pair, &err) < 0) {
		cv_warn(&w->log, "a channel between front and worker: %s", err.text);
		return;
	}
	cv_buf_init(&out, 256);
	cv_put_str(&out, r->protocol);
	spawner_worker_send(w, CV_MSG_WORKER_FRONT, 0, cv_buf_str(&out), pair[1]);
	cv_buf_deinit(&out);
	(void)close(pair[1]);
	r->channel = pair[0];
	w->sp->held_fds++;
}

/* Front hears that the worker has its session. */
static void tell_taken(const struct request *r)
{
	struct cv_buf nothing;

	if (r->kind == REQUEST_SESSION) {
		spawner_tell_begun(r);
		return;
	}
	cv_buf_init(&nothing, 16);
	spawner_send_front(r->front, CV_MSG_WOKEN, r->front_id, &nothing, -1);
	cv_buf_deinit(&nothing);
}

/* Give a request to a worker that is ready. */
static void worker_take(struct worker *w, struct request *r)
{
	cv_list_remove(&r->node);
	not_idle(w);
	switch (r->kind) {
	case REQUEST_SESSION:
	case REQUEST_WAKE:
		count_session(w, r);
		spawner_worker_send(w, r->kind == REQUEST_WAKE ? CV_MSG_WORKER_WAKE : CV_MSG_WORKER_SESSION, r->id, r->payload, r->fd);
		tell_taken(r);
		if (r->kick)
			spawner_kick(w, r->session, CV_STR("kicked"));
		request_free(&r);
		break;
	case REQUEST_JOB:
		if (r->channel_wanted)
			make_channel(w, r);
		spawner_worker_send(w, CV_MSG_WORKER_JOB, r->id, r->payload, r->fd);
		request_close_fd(r);
		(void)cv_map_set(w->jobs, cv_str_mem(&r->id, sizeof(r->id)), r);
		cv_list_append(&w->running, &r->node);
		break;
	case REQUEST_ADMIN:
		spawner_worker_send(w, CV_MSG_WORKER_ADMIN, r->id, r->payload, r->fd);
		request_free(&r);
		look_idle(w); /* it knows itself how long that takes */
		break;
	}
	spawner_rouse(w->sp, w->user);
}

/* ---- From workers ------------------------------------------------------------------------------------------------------------ */

static int on_worker_ready(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	if (w->state != WORKER_STARTING)
		return w->state == WORKER_EXITING ? 0 : -1;
	w->state = WORKER_READY;
	w->was_ready = true;
	while (!cv_list_empty(&w->waiting))
		worker_take(w, cv_container(w->waiting.next, struct request, node));
	look_idle(w);
	return 0;
}

static int on_worker_failed(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_err err;

	(void)ipc;
	if (!cv_msg_take_err(&msg->payload, &err) || !cv_reader_end(&msg->payload))
		return -1;
	if (err.code == CV_ERR_NONE)
		err.code = CV_ERR_TEMP;
	cv_error(&w->log, "the user's mail cannot be opened: %s", err.text);
	w->failed = true;
	if (w->failure == NULL)
		w->failure = cv_new(w->arena, struct cv_err, 1);
	*w->failure = err;
	if (w->state == WORKER_STARTING)
		w->state = WORKER_EXITING;
	spawner_fail_list(&w->waiting, &err);
	return 0;
}

static int on_session_state(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_str session, state;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 64, &session) || !cv_take_str(&msg->payload, 255, &state) || !cv_reader_end(&msg->payload))
		return -1;
	struct session *s = cv_map_get(w->sessions, session);
	if (s != NULL)
		(void)snprintf(s->state, sizeof(s->state), "%.*s", CV_STR_ARG(state));
	return 0;
}

static int on_sessions_ended(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_str session;
	uint8_t asked;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &asked))
		return -1;
	while (!cv_reader_end(&msg->payload)) {
		if (!cv_take_str(&msg->payload, 64, &session))
			return -1;
		session_free(cv_map_remove(w->sessions, session));
	}
	look_idle(w);
	if (asked != 0)
		spawner_ends_told(w);
	return 0;
}

/* To the front that has it, or had it; another one can go on as well with a socket that none has. */
static void give_back(struct worker *w, struct cv_str id, const struct session *s, uint64_t octets, struct cv_str unread, const struct cv_ipc_msg *msg)
{
	struct front_peer *front = s->front;
	struct cv_buf out;

	if (front == NULL && !s->relayed && !cv_list_empty(&w->sp->fronts))
		front = cv_container(w->sp->fronts.next, struct front_peer, node);
	if (front == NULL || front->ipc == NULL)
		return;
	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, id);
	cv_put_str(&out, cv_str_c(s->protocol));
	cv_put_str(&out, cv_str_c(s->remote));
	cv_put_u8(&out, s->relayed);
	cv_put_u64(&out, octets);
	cv_put_str(&out, unread);
	if (spawner_front_send(front, CV_MSG_SESSION_BACK, 0, cv_buf_str(&out), msg->fds, msg->nfds) < 0)
		cv_warn(&w->log, "a connection could not be given back to front");
	cv_buf_deinit(&out);
}

static int on_session_back(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_str id, unread;
	uint64_t octets;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 64, &id) || !cv_take_u64(&msg->payload, &octets) ||
		!cv_take_str(&msg->payload, CV_SESSION_BACK_MAX, &unread) || !cv_reader_end(&msg->payload))
		return -1;
	struct session *s = cv_map_remove(w->sessions, id);
	if (s == NULL)
		return -1;
	give_back(w, id, s, octets, unread, msg);
	session_free(s);
	look_idle(w);
	return 0;
}

static int on_worker_job_reply(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_err err;
	struct cv_str data;
	struct cv_buf out;

	(void)ipc;
	if (!cv_msg_take_err(&msg->payload, &err) || !cv_take_str(&msg->payload, CV_LOGIN_PAYLOAD_MAX, &data) || !cv_reader_end(&msg->payload))
		return -1;
	struct request *r = cv_map_remove(w->jobs, cv_str_mem(&msg->id, sizeof(msg->id)));
	if (r == NULL)
		return -1;
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_msg_put_err(&out, &err);
	cv_put_str(&out, data);
	spawner_send_reply(r, &out, msg->nfds > 0 ? msg->fds[0] : -1);
	cv_buf_deinit(&out);
	w->sp->jobs_done++;
	request_free(&r);
	look_idle(w);
	return 0;
}

/* It may go when nothing was sent that it has not seen; from then on all waits for its end, and then for its successor. */
static int on_worker_idle(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_buf out;
	uint32_t received, jobs;

	(void)ipc;
	if (!cv_take_u32(&msg->payload, &received) || !cv_take_u32(&msg->payload, &jobs) || !cv_reader_end(&msg->payload))
		return -1;
	w->sp->jobs_done += jobs;
	if (w->state != WORKER_READY || received != w->sent)
		return 0;
	cv_buf_init(&out, 16);
	cv_put_u32(&out, w->sent);
	spawner_worker_stop(w, CV_MSG_WORKER_MAYEXIT, cv_buf_str(&out));
	cv_buf_deinit(&out);
	return 0;
}

static int on_worker_lost(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	spawner_worker_stop(w, CV_MSG_WORKER_STOP, CV_STR(""));
	return 0;
}

/* Fronts gave it jobs that did not pass here. */
static int on_worker_active(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	uint32_t jobs;

	(void)ipc;
	if (!cv_take_u32(&msg->payload, &jobs) || !cv_reader_end(&msg->payload))
		return -1;
	w->sp->jobs_done += jobs;
	look_idle(w);
	spawner_rouse(w->sp, w->user);
	return 0;
}

/* Can jobs of this protocol be asked for by other users' workers? */
static bool for_users(const struct spawner *sp, const char *protocol)
{
	const struct cv_session_protocol *p = protocol != NULL ? cv_provider_get(sp->proc->registry, CV_CAP_SESSION, protocol) : NULL;

	return p != NULL && p->job != NULL && (p->opts & CV_SESSION_FOR_USERS) != 0;
}

static int on_worker_ask(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct request *r = request_new(w->sp, REQUEST_JOB, NULL, msg->id, -1);
	struct cv_str user, payload;
	struct cv_err err = { 0 };
	struct cv_buf out;

	(void)ipc;
	r->asked_by_worker = true;
	r->asker = w;
	w->asking++;
	if (!cv_take_str(&msg->payload, 1024, &user) || !cv_take_str(&msg->payload, 63, &r->protocol) || !cv_take_str(&msg->payload, 64, &r->session) ||
		!cv_take_str(&msg->payload, CV_LOGIN_PAYLOAD_MAX, &payload) || !cv_reader_end(&msg->payload)) {
		request_free(&r);
		return -1;
	}
	r->protocol = cv_arena_str(r->arena, r->protocol);
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, r->protocol);
	cv_put_str(&out, r->session);
	cv_put_str(&out, (struct cv_str){ 0 });
	cv_put_str(&out, payload);
	cv_put_str(&out, cv_str_c(w->user));
	r->payload = cv_arena_str(r->arena, cv_buf_str(&out));
	if (!cv_buf_ok(&out) || user.len == 0 || cv_str_has_nul(user) || !for_users(w->sp, cv_arena_cstr(r->arena, r->protocol)))
		(void)cv_err_set(&err, CV_ERR_PERM, "a worker may not ask for jobs of protocol %s", cv_log_clean(r->protocol));
	else if (w->asking > ASKS_MAX)
		(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, "%zu questions to other users' workers are not answered yet", w->asking - 1);
	cv_buf_deinit(&out);
	if (err.code != CV_ERR_NONE) {
		cv_warn(&w->log, "%s", err.text);
		request_fail(r, &err);
	} else {
		spawner_ask(w->sp, r, CV_MSG_USERDB, user, r->protocol);
	}
	return 0;
}

static const struct cv_ipc_type worker_table[] = {
	{ CV_MSG_WORKER_READY, "WORKER_READY", 0, 0, 0, 0, on_worker_ready },
	{ CV_MSG_WORKER_FAILED, "WORKER_FAILED", 1024, 0, 0, 0, on_worker_failed },
	{ CV_MSG_WORKER_SESSION_STATE, "WORKER_SESSION_STATE", 1024, 0, 0, 0, on_session_state },
	{ CV_MSG_WORKER_ENDED, "WORKER_ENDED", CV_WORKER_ENDED_LEN, 0, 0, 0, on_sessions_ended },
	{ CV_MSG_WORKER_SESSION_BACK, "WORKER_SESSION_BACK", CV_SESSION_BACK_MAX + 1024, 1, 1, 0, on_session_back },
	{ CV_MSG_WORKER_SLEEP, "WORKER_SLEEP", CV_IPC_MAX_PAYLOAD, 0, 1, 0, spawner_on_sleep },
	{ CV_MSG_WORKER_JOB_REPLY, "WORKER_JOB_REPLY", CV_LOGIN_PAYLOAD_MAX + 1024, 0, 1, 0, on_worker_job_reply },
	{ CV_MSG_WORKER_IDLE, "WORKER_IDLE", 8, 0, 0, 0, on_worker_idle },
	{ CV_MSG_WORKER_ACTIVE, "WORKER_ACTIVE", 4, 0, 0, 0, on_worker_active },
	{ CV_MSG_WORKER_LOST, "WORKER_LOST", 0, 0, 0, 0, on_worker_lost },
	{ CV_MSG_WORKER_ASK, "WORKER_ASK", CV_IPC_MAX_PAYLOAD, 0, 0, 0, on_worker_ask },
};

/* Its end is near, or it broke the rules; what is left of it is settled when it is reaped. */
static void on_worker_closed(void *ctx, struct cv_ipc *ipc)
{
	struct worker *w = ctx;

	(void)ipc;
	w->state = WORKER_EXITING;
	not_idle(w);
	cv_ipc_free(&w->ipc);
	if (w->limit == NULL)
		w->limit = cv_timer_add(w->sp->loop, STOP_LIMIT_MS, on_limit, w);
}

/* ---- Starting one ---------------------------------------------------------------------------------------------------------------- */

/* What all workers are confined with. */
static int prepare(struct spawner *sp, const struct cv_core_settings *core, struct cv_err *err)
{
	uint64_t now = cv_loop_now_ms(sp->loop);

	if (core->worker_exec || (sp->prepared_ms != 0 && now - sp->prepared_ms < PREPARED_FOR_MS))
		return 0;
	bool anew = sp->prepared_ms == 0 || now - sp->looked_ms >= LOOKED_FOR_MS;
	if (anew)
		sp->looked_ms = now;
	sp->prepared_ms = now;
	return sp->entry->prepare(core, anew, err);
}

/* In the child: nothing of the spawner's may be reached from here on. */
CV_NORETURN static void become_worker(struct worker *w, int fd, int args_fd)
{
	struct spawner *sp = w->sp;
	struct cv_role_proc *proc = sp->proc;
	struct cv_worker_args args = {
		.registry = proc->registry,
		.conf = w->gen->conf,
		.core = w->gen->core,
		.privileged = proc->privileged,
		.control_fd = fd,
		.user = w->user,
		.home = w->home,
		.mail = w->mail,
		.fields = w->fields,
		.sysuid = w->sysuid,
		.sysgid = w->sysgid,
		.groups = sp->groups.data,
		.group_count = sp->groups.count,
		.idle_ms = sp->idle_ms,
		.vsz_limit = sp->vsz_limit,
	};
	int keep[1 + CV_LOG_OUTPUTS + HELD_MAX] = { fd };
	size_t kept = 1 + cv_log_fds(keep + 1);

	/* Who has that key can be anyone. */
	auth_opener_free(&sp->opener);
	cv_loop_abandon(&proc->loop);
	cv_signal_unblock_all();
	if (args_fd >= 0)
		worker_exec(fd, args_fd, w->gen->memfd);
	/* The system log's socket is inside the C library, which opens it anew. */
	closelog();
	kept += cv_sandbox_held(keep + kept, HELD_MAX);
	cv_close_from(3, keep, kept);
	cv_log_set_role("worker");
	_exit(sp->entry->run(&args));
}

static int worker_start(struct spawner *sp, struct request *r, struct cv_err *err)
{
	struct worker *w;
	int pair[2], args_fd = -1;

	if (sp->worker_count >= sp->worker_limit) {
		/* One that has nothing to do makes room for the next time. */
		if (!cv_list_empty(&sp->idle))
			spawner_worker_stop(cv_container(sp->idle.next, struct worker, idle), CV_MSG_WORKER_STOP, CV_STR(""));
		return cv_err_set(err, CV_ERR_LIMIT, "all %zu workers are in use (default_process_limit)", sp->worker_limit);
	}
	if (prepare(sp, sp->proc->gen->core, err) < 0 || cv_ipc_pair_try(pair, err) < 0)
		return cv_err_context(err, "starting a worker");
	w = cv_new0(struct worker);
	w->sp = sp;
	w->arena = cv_arena_new("worker", NULL, 0);
	w->user = cv_arena_strdup(w->arena, r->user);
	w->home = r->home != NULL ? cv_arena_strdup(w->arena, r->home) : NULL;
	w->mail = r->mail != NULL ? cv_arena_strdup(w->arena, r->mail) : NULL;
	const char **fields = cv_new(w->arena, const char *, r->field_count + 1);
	for (size_t i = 0; i < r->field_count; i++)
		fields[i] = cv_arena_strdup(w->arena, r->fields[i]);
	w->fields = fields;
	w->sysuid = r->sysuid;
	w->sysgid = r->sysgid;
	w->state = WORKER_STARTING;
	w->log = (struct cv_log_ctx){ .category = "proc", .user = cv_str_c(w->user) };
	w->gen = cv_gen_ref(sp->proc->gen);
	w->sessions = cv_map_new();
	w->jobs = cv_map_new();
	w->since_sec = cv_time_now_sec();
	cv_list_init(&w->waiting);
	cv_list_init(&w->running);
	(void)fflush(NULL);
	w->pid = -1;
	if (w->gen->core->worker_exec)
		args_fd = worker_exec_pack(w, err);
	if (!w->gen->core->worker_exec || args_fd >= 0)
		w->pid = fork();
	if (w->pid == 0)
		become_worker(w, pair[1], args_fd);
	int errnum = errno;
	(void)close(pair[1]);
	if (args_fd >= 0)
		(void)close(args_fd);
	sp->worker_count++;
	cv_list_append(&sp->workers, &w->node);
	if (w->pid < 0) {
		(void)close(pair[0]);
		spawner_worker_free(w);
		return err->code != CV_ERR_NONE ? cv_err_context(err, "starting a worker") : cv_err_sys(err, errnum, "starting a worker");
	}
	sp->started++;
	w->ipc = cv_ipc_new(sp->loop, pair[0], "worker", worker_table, CV_COUNT_OF(worker_table), on_worker_closed, w);
	(void)cv_map_set(sp->by_user, cv_str_c(w->user), w);
	(void)cv_map_set(sp->by_pid, cv_str_mem(&w->pid, sizeof(w->pid)), w);
	cv_list_append(&w->waiting, &r->node);
	return 0;
}

/* r's user is known: to the user's worker, or a new one. r is placed or failed. */
void spawner_place(struct spawner *sp, struct request *r)
{
	struct cv_err err = { 0 };
	struct worker *w = cv_map_get(sp->by_user, cv_str_c(r->user));

	if (sp->stopping) {
		(void)cv_err_set_public(&err, CV_ERR_UNAVAILABLE, "The server is shutting down");
		request_fail(r, &err);
		return;
	}
	if (spawner_check_limits(sp, w, r, &err) < 0) {
		if (w == NULL || !spawner_ask_ends(w, r))
			request_fail(r, &err);
		return;
	}
	if (w == NULL) {
		if (worker_start(sp, r, &err) >= 0)
			return;
		/* A session that was there already does not end for want of room: it gets the next. */
		if (r->kind == REQUEST_WAKE && err.code == CV_ERR_LIMIT) {
			cv_list_append(&sp->crowded, &r->node);
			return;
		}
		cv_error(NULL, "user %s: %s", cv_log_clean(cv_str_c(r->user)), err.text);
		request_fail(r, &err);
		return;
	}
	if (w->state == WORKER_READY)
		worker_take(w, r);
	else
		cv_list_append(&w->waiting, &r->node);
}

/* ---- Reaping ----------------------------------------------------------------------------------------------------------------------- */

static void say_how(const struct worker *w, int status)
{
	if (WIFSIGNALED(status))
		cv_error(&w->log, "worker (pid %ld) was killed by signal %d (%s)%s: %zu sessions, %zu jobs", (long)w->pid, WTERMSIG(status),
			strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "", cv_map_count(w->sessions), cv_map_count(w->jobs));
	else if (WEXITSTATUS(status) != 0 && !w->failed)
		cv_error(&w->log, "worker (pid %ld) ended with status %d: %zu sessions, %zu jobs", (long)w->pid, WEXITSTATUS(status),
			cv_map_count(w->sessions), cv_map_count(w->jobs));
}

static void worker_ended(struct worker *w, int status)
{
	struct spawner *sp = w->sp;
	struct cv_node waiting;
	struct cv_err err = { 0 };
	bool was_ready = w->was_ready;

	/* What it still said before its end: replies to jobs, most of all. */
	while (w->ipc != NULL && cv_ipc_recv_wait(w->ipc, 0) == 1)
		continue;
	say_how(w, status);
	(void)cv_err_set(&err, CV_ERR_TEMP, "the user's worker ended");
	spawner_fail_list(&w->running, &err);
	/* What came behind its last words gets the reason all the same. */
	if (w->failure != NULL)
		err = *w->failure;
	cv_list_init(&waiting);
	while (!cv_list_empty(&w->waiting)) {
		struct cv_node *node = w->waiting.next;
		cv_list_remove(node);
		cv_list_append(&waiting, node);
	}
	spawner_worker_free(w);
	/* One that died while it started would die again: its requests fail. Those that came to one that was ending get the next worker. */
	if (!was_ready) {
		spawner_fail_list(&waiting, &err);
	} else {
		while (!cv_list_empty(&waiting)) {
			struct request *r = cv_container(waiting.next, struct request, node);
			cv_list_remove(&r->node);
			spawner_place(sp, r);
		}
	}
	if (!cv_list_empty(&sp->crowded)) {
		struct request *r = cv_container(sp->crowded.next, struct request, node);
		cv_list_remove(&r->node);
		spawner_place(sp, r);
	}
	if (sp->stopping && sp->worker_count == 0)
		cv_loop_stop(sp->loop);
}

void spawner_on_child(void *ctx, int signo, int pid_hint, int uid)
{
	struct spawner *sp = ctx;

	(void)signo;
	(void)pid_hint;
	(void)uid;
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid <= 0)
			return;
		struct worker *w = cv_map_get(sp->by_pid, cv_str_mem(&pid, sizeof(pid)));
		if (w != NULL)
			worker_ended(w, status);
	}
}
