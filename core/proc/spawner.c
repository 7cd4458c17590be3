/* SPDX-License-Identifier: MIT
   The spawner: has all worker modules loaded, forks one worker for each user, and passes it the user's sessions and jobs. */
#include "core/proc/login-private.h"
#include "core/proc/role.h"
#include "core/proc/spawner.h"
#include "core/proc/worker.h"
#include <culver/hooks.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

/* A worker that is to end and does not. */
#define STOP_LIMIT_MS 30000
#define AUTH_WAIT_MS 60000
/* Descriptors kept back for channels, the log, the library, and messages on their way from each front. */
#define FDS_RESERVED 128
#define NOISE_MS 60000
/* Of one user at a time: their descriptors would pile up behind a worker that hangs in its storage. */
#define JOBS_MAX 256u
#define ASKS_MAX 16u /* of one worker at a time, to other users' workers */
#define WAITING_MAX 10000 /* questions to auth at a time: beyond this the server is in trouble */

/* ---- Requests ---------------------------------------------------------------------------------------------------------- */

static void request_close_fd(struct request *r)
{
	if (r->fd < 0)
		return;
	(void)close(r->fd);
	r->fd = -1;
	r->sp->held_fds--;
}

void request_free(struct request **request_p)
{
	struct request *r = *request_p;

	*request_p = NULL;
	if (r == NULL)
		return;
	cv_list_remove(&r->node);
	if (r->asker != NULL)
		r->asker->asking--;
	request_close_fd(r);
	cv_arena_free(&r->arena);
	cv_free(r);
}

struct request *request_new(struct spawner *sp, enum request_kind kind, struct front_peer *front, uint64_t front_id, int fd)
{
	struct request *r = cv_new0(struct request);

	r->arena = cv_arena_new("request", NULL, 0);
	r->kind = kind;
	r->front = front;
	r->front_id = front_id;
	r->sp = sp;
	r->fd = fd;
	sp->held_fds += fd >= 0;
	r->id = ++sp->next_id;
	return r;
}

static void send_front(struct front_peer *front, uint16_t type, uint64_t id, const struct cv_buf *out)
{
	if (front == NULL || front->ipc == NULL)
		return;
	if (cv_ipc_send(front->ipc, type, id, cv_buf_str(out), NULL, 0) < 0)
		cv_warn(NULL, "an answer to front could not be sent");
}

static void put_err(struct cv_buf *out, const struct cv_err *err)
{
	cv_put_u8(out, (uint8_t)err->code);
	cv_put_u8(out, err->public_text);
	cv_put_str(out, cv_str_c(err->text));
}

static void worker_send(struct worker *w, uint16_t type, uint64_t id, struct cv_str payload, int fd);

/* A job's answer, to who asked. */
static void send_job_reply(const struct request *r, const struct cv_buf *out, int fd)
{
	if (!r->asked_by_worker)
		send_front(r->front, CV_MSG_JOB_REPLY, r->front_id, out);
	else if (r->asker != NULL)
		worker_send(r->asker, CV_MSG_WORKER_ANSWER, r->front_id, cv_buf_str(out), fd);
}

/* Answer with an error and forget. */
static void request_fail(struct request *r, const struct cv_err *err)
{
	struct cv_err temporary;
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	switch (r->kind) {
	case REQUEST_SESSION:
		put_err(&out, err);
		send_front(r->front, CV_MSG_SESSION_FAIL, r->front_id, &out);
		break;
	case REQUEST_WAKE:
		cv_warn(NULL, "user=%s session=%s could not wake: %s", cv_log_clean(cv_str_c(r->user)), cv_log_clean(r->session), err->text);
		put_err(&out, err);
		send_front(r->front, CV_MSG_WAKE_FAIL, r->front_id, &out);
		break;
	case REQUEST_JOB:
		/* A bound of the server's is no fault of the delivery: it must come again, not bounce. */
		if (err->code == CV_ERR_LIMIT) {
			temporary = *err;
			temporary.code = CV_ERR_UNAVAILABLE;
			err = &temporary;
		}
		put_err(&out, err);
		cv_put_str(&out, CV_STR(""));
		send_job_reply(r, &out, -1);
		break;
	case REQUEST_ADMIN:
		cv_admin_refuse_with(r->fd, err, r->no_user ? CV_ADMIN_STATUS_NOUSER : 0);
		r->fd = -1;
		r->sp->held_fds--;
		break;
	}
	cv_buf_deinit(&out);
	request_free(&r);
}

/* ---- Workers -------------------------------------------------------------------------------------------------------------- */

/* All requests that somebody waits for. */
static void each_request(struct spawner *sp, void (*fn)(struct request *r, const void *who), const void *who)
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

static void worker_free(struct worker *w)
{
	struct spawner *sp = w->sp;
	struct cv_str key;
	void *value;

	if (w->asking > 0)
		each_request(sp, forget_asker, w);
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

static void worker_send(struct worker *w, uint16_t type, uint64_t id, struct cv_str payload, int fd)
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

static void worker_stop(struct worker *w, uint16_t type, struct cv_str payload)
{
	if (w->state == WORKER_EXITING)
		return;
	w->state = WORKER_EXITING;
	worker_send(w, type, 0, payload, -1);
	w->limit = cv_timer_add(w->sp->loop, STOP_LIMIT_MS, on_limit, w);
}

void spawner_kick(struct worker *w, struct cv_str session, struct cv_str reason)
{
	struct cv_buf out;

	cv_buf_init(&out, 1024);
	cv_put_str(&out, session);
	cv_put_str(&out, reason);
	worker_send(w, CV_MSG_WORKER_KICK, 0, cv_buf_str(&out), -1);
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

/* Give a request to a worker that is ready. */
static void worker_take(struct worker *w, struct request *r)
{
	struct cv_buf out;

	cv_list_remove(&r->node);
	switch (r->kind) {
	case REQUEST_SESSION:
	case REQUEST_WAKE:
		count_session(w, r);
		worker_send(w, r->kind == REQUEST_WAKE ? CV_MSG_WORKER_WAKE : CV_MSG_WORKER_SESSION, r->id, r->payload, r->fd);
		cv_buf_init(&out, 16);
		send_front(r->front, r->kind == REQUEST_WAKE ? CV_MSG_WOKEN : CV_MSG_SESSION_OK, r->front_id, &out);
		cv_buf_deinit(&out);
		if (r->kick)
			spawner_kick(w, r->session, CV_STR("kicked"));
		request_free(&r);
		break;
	case REQUEST_JOB:
		worker_send(w, CV_MSG_WORKER_JOB, r->id, r->payload, r->fd);
		request_close_fd(r);
		(void)cv_map_set(w->jobs, cv_str_mem(&r->id, sizeof(r->id)), r);
		cv_list_append(&w->running, &r->node);
		break;
	case REQUEST_ADMIN:
		worker_send(w, CV_MSG_WORKER_ADMIN, r->id, r->payload, r->fd);
		request_free(&r);
		break;
	}
	spawner_rouse(w->sp, w->user);
}

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

/* w: the user's worker; NULL: there is none. */
static int check_limits(const struct spawner *sp, const struct worker *w, const struct request *r, struct cv_err *err)
{
	const struct cv_gen *gen = sp->proc->gen;
	uint64_t per_address = gen->core->mail_max_userip_connections, per_user = sp->session_limit, count = 0;
	struct cv_node *node, *next;

	if (r->kind == REQUEST_JOB && w != NULL) {
		size_t jobs = cv_map_count(w->jobs);
		cv_list_foreach(&w->waiting, node, next)
			jobs += cv_container(node, struct request, node)->kind == REQUEST_JOB;
		if (jobs >= JOBS_MAX)
			return cv_err_set(err, CV_ERR_LIMIT, "%zu deliveries to this user are waiting for the worker (pid %ld)", jobs, (long)w->pid);
	}
	if (r->kind != REQUEST_SESSION)
		return 0;
	/* [protocol X] may say otherwise. */
	struct cv_conf_filter filter = { .protocol = cv_arena_cstr(r->arena, r->protocol) };
	const void *set;
	if (filter.protocol != NULL && cv_conf_get(gen->conf, &cv_core_settings_table, &filter, r->arena, &set, NULL) == 0)
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

static void fail_list(struct cv_node *list, const struct cv_err *err)
{
	while (!cv_list_empty(list)) {
		struct request *r = cv_container(list->next, struct request, node);
		request_fail(r, err);
	}
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
	return 0;
}

static int on_worker_failed(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_err err = { 0 };
	struct cv_str text;
	uint8_t code, is_public;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &code) || !cv_take_u8(&msg->payload, &is_public) ||
		!cv_take_str(&msg->payload, CV_ERR_TEXT_MAX, &text) || !cv_reader_end(&msg->payload))
		return -1;
	(void)cv_err_set(&err, code == CV_ERR_NONE ? CV_ERR_TEMP : (enum cv_err_code)code, "%.*s", CV_STR_ARG(text));
	err.public_text = is_public != 0;
	cv_error(&w->log, "the user's mail cannot be opened: %s", err.text);
	w->failed = true;
	if (w->failure == NULL)
		w->failure = cv_new(w->arena, struct cv_err, 1);
	*w->failure = err;
	if (w->state == WORKER_STARTING)
		w->state = WORKER_EXITING;
	fail_list(&w->waiting, &err);
	return 0;
}

static int on_session_state(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_str session, protocol, state;
	uint8_t ended;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 255, &session) || !cv_take_str(&msg->payload, 255, &protocol) || !cv_take_str(&msg->payload, 255, &state) ||
		!cv_take_u8(&msg->payload, &ended) || !cv_reader_end(&msg->payload))
		return -1;
	struct session *s = cv_map_get(w->sessions, session);
	if (s == NULL)
		return 0;
	if (ended) {
		session_free(cv_map_remove(w->sessions, session));
		return 0;
	}
	(void)snprintf(s->state, sizeof(s->state), "%.*s", CV_STR_ARG(state));
	return 0;
}

/* To the front that has it, or had it; another one can go on as well with a socket that none has. */
static int on_session_back(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_str id, unread;
	uint64_t octets;
	struct cv_buf out;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 64, &id) || !cv_take_u64(&msg->payload, &octets) ||
		!cv_take_str(&msg->payload, CV_SESSION_BACK_MAX, &unread) || !cv_reader_end(&msg->payload))
		return -1;
	const struct session *s = cv_map_get(w->sessions, id);
	if (s == NULL || s->relayed != (msg->nfds == 0))
		return -1;
	struct front_peer *front = s->front;
	if (front == NULL && !s->relayed && !cv_list_empty(&w->sp->fronts))
		front = cv_container(w->sp->fronts.next, struct front_peer, node);
	if (front == NULL || front->ipc == NULL)
		return 0;
	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, id);
	cv_put_str(&out, cv_str_c(s->protocol));
	cv_put_str(&out, cv_str_c(s->remote));
	cv_put_u64(&out, octets);
	cv_put_str(&out, unread);
	if (cv_ipc_send(front->ipc, CV_MSG_SESSION_BACK, 0, cv_buf_str(&out), msg->fds, msg->nfds) < 0)
		cv_warn(&w->log, "a connection could not be given back to front");
	cv_buf_deinit(&out);
	return 0;
}

static int on_worker_job_reply(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_str text, data;
	uint8_t code, is_public;
	struct cv_buf out;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &code) || !cv_take_u8(&msg->payload, &is_public) ||
		!cv_take_str(&msg->payload, CV_ERR_TEXT_MAX, &text) || !cv_take_str(&msg->payload, CV_LOGIN_PAYLOAD_MAX, &data) ||
		!cv_reader_end(&msg->payload))
		return -1;
	struct request *r = cv_map_remove(w->jobs, cv_str_mem(&msg->id, sizeof(msg->id)));
	if (r == NULL)
		return -1;
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_u8(&out, code);
	cv_put_u8(&out, is_public);
	cv_put_str(&out, text);
	cv_put_str(&out, data);
	send_job_reply(r, &out, msg->nfds > 0 ? msg->fds[0] : -1);
	cv_buf_deinit(&out);
	w->sp->jobs_done++;
	request_free(&r);
	return 0;
}

/* It may go when nothing was sent that it has not seen; from then on all waits for its end, and then for its successor. */
static int on_worker_idle(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct cv_buf out;
	uint32_t received;

	(void)ipc;
	if (!cv_take_u32(&msg->payload, &received) || !cv_reader_end(&msg->payload))
		return -1;
	if (w->state != WORKER_READY || received != w->sent)
		return 0;
	cv_buf_init(&out, 16);
	cv_put_u32(&out, w->sent);
	worker_stop(w, CV_MSG_WORKER_MAYEXIT, cv_buf_str(&out));
	cv_buf_deinit(&out);
	return 0;
}

static void ask_auth(struct spawner *sp, struct request *r, uint16_t type, struct cv_str what, struct cv_str service);

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
		ask_auth(w->sp, r, CV_MSG_USERDB, user, r->protocol);
	}
	return 0;
}

static const struct cv_ipc_type worker_table[] = {
	{ CV_MSG_WORKER_READY, "WORKER_READY", 0, 0, 0, 0, on_worker_ready },
	{ CV_MSG_WORKER_FAILED, "WORKER_FAILED", 1024, 0, 0, 0, on_worker_failed },
	{ CV_MSG_WORKER_SESSION_STATE, "WORKER_SESSION_STATE", 1024, 0, 0, 0, on_session_state },
	{ CV_MSG_WORKER_SESSION_BACK, "WORKER_SESSION_BACK", CV_SESSION_BACK_MAX + 1024, 0, 1, 0, on_session_back },
	{ CV_MSG_WORKER_SLEEP, "WORKER_SLEEP", CV_IPC_MAX_PAYLOAD, 0, 1, 0, spawner_on_sleep },
	{ CV_MSG_WORKER_JOB_REPLY, "WORKER_JOB_REPLY", CV_LOGIN_PAYLOAD_MAX + 1024, 0, 1, 0, on_worker_job_reply },
	{ CV_MSG_WORKER_IDLE, "WORKER_IDLE", 4, 0, 0, 0, on_worker_idle },
	{ CV_MSG_WORKER_ASK, "WORKER_ASK", CV_IPC_MAX_PAYLOAD, 0, 0, 0, on_worker_ask },
};

/* Its end is near, or it broke the rules; what is left of it is settled when it is reaped. */
static void on_worker_closed(void *ctx, struct cv_ipc *ipc)
{
	struct worker *w = ctx;

	(void)ipc;
	w->state = WORKER_EXITING;
	cv_ipc_free(&w->ipc);
	if (w->limit == NULL)
		w->limit = cv_timer_add(w->sp->loop, STOP_LIMIT_MS, on_limit, w);
}

/* ---- Starting one ---------------------------------------------------------------------------------------------------------------- */

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
	int keep[1 + CV_LOG_OUTPUTS] = { fd };
	size_t logs = cv_log_fds(keep + 1);

	cv_loop_abandon(&proc->loop);
	cv_signal_unblock_all();
	if (args_fd >= 0)
		worker_exec(fd, args_fd, w->gen->memfd);
	/* The system log's socket is inside the C library, which opens it anew. */
	closelog();
	cv_close_from(3, keep, 1 + logs);
	cv_log_set_role("worker");
	_exit(sp->entry->run(&args));
}

static int worker_start(struct spawner *sp, struct request *r, struct cv_err *err)
{
	struct worker *w;
	int pair[2], args_fd = -1;

	if (sp->worker_count >= sp->worker_limit) {
		struct cv_node *node, *next;
		/* One that has nothing to do makes room for the next time. */
		cv_list_foreach(&sp->workers, node, next) {
			struct worker *idle = cv_container(node, struct worker, node);
			if (idle->state == WORKER_READY && cv_map_count(idle->sessions) == 0 && cv_map_count(idle->jobs) == 0) {
				worker_stop(idle, CV_MSG_WORKER_STOP, CV_STR(""));
				break;
			}
		}
		return cv_err_set(err, CV_ERR_LIMIT, "all %zu workers are in use (default_process_limit)", sp->worker_limit);
	}
	if (cv_ipc_pair_try(pair, err) < 0)
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
		worker_free(w);
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
	if (check_limits(sp, w, r, &err) < 0) {
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
	fail_list(&w->running, &err);
	/* What came behind its last words gets the reason all the same. */
	if (w->failure != NULL)
		err = *w->failure;
	cv_list_init(&waiting);
	while (!cv_list_empty(&w->waiting)) {
		struct cv_node *node = w->waiting.next;
		cv_list_remove(node);
		cv_list_append(&waiting, node);
	}
	worker_free(w);
	/* One that died while it started would die again: its requests fail. Those that came to one that was ending get the next worker. */
	if (!was_ready) {
		fail_list(&waiting, &err);
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

static void on_child(void *ctx, int signo, int pid_hint, int uid)
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

/* ---- Who it is: auth ------------------------------------------------------------------------------------------------------------------ */

static int check_ids(const struct spawner *sp, struct request *r, struct cv_err *err)
{
	const struct cv_core_settings *core = sp->proc->gen->core;

	if (!sp->proc->privileged) {
		/* One uid for everything. */
		if (r->sysuid == UINT32_MAX)
			r->sysuid = (uint32_t)geteuid();
		if (r->sysgid == UINT32_MAX || r->sysuid == geteuid())
			r->sysgid = (uint32_t)getegid();
		if (r->sysuid != geteuid())
			return cv_err_set(err, CV_ERR_TEMP, "the user database says uid %u, but the server runs without root's rights as uid %u", r->sysuid,
				(unsigned)geteuid());
		return 0;
	}
	if (r->sysuid == UINT32_MAX)
		r->sysuid = sp->mail_uid;
	if (r->sysgid == UINT32_MAX)
		r->sysgid = sp->mail_gid;
	if (r->sysuid == UINT32_MAX || r->sysgid == UINT32_MAX)
		return cv_err_set(err, CV_ERR_TEMP, "neither the user database nor mail_%s says which Unix %s the mail belongs to",
			r->sysuid == UINT32_MAX ? "uid" : "gid", r->sysuid == UINT32_MAX ? "user" : "group");
	if (r->sysuid == 0)
		return cv_err_set(err, CV_ERR_PERM, "mail of root is never served: give root an alias");
	if (r->sysuid < core->first_valid_uid || (core->last_valid_uid != 0 && r->sysuid > core->last_valid_uid))
		return cv_err_set(err, CV_ERR_PERM, "uid %u is outside first_valid_uid = %llu and last_valid_uid = %llu", r->sysuid,
			(unsigned long long)core->first_valid_uid, (unsigned long long)core->last_valid_uid);
	if (r->sysgid == 0 || r->sysgid < core->first_valid_gid || (core->last_valid_gid != 0 && r->sysgid > core->last_valid_gid))
		return cv_err_set(err, CV_ERR_PERM, "gid %u is outside first_valid_gid = %llu and last_valid_gid = %llu", r->sysgid,
			(unsigned long long)core->first_valid_gid, (unsigned long long)core->last_valid_gid);
	return 0;
}

static bool take_text(struct cv_reader *reader, struct cv_arena *arena, const char **out)
{
	struct cv_str s;

	if (!cv_take_str(reader, 8192, &s))
		return false;
	*out = s.ptr != NULL ? cv_arena_cstr(arena, s) : NULL;
	return s.ptr == NULL || *out != NULL;
}

static bool take_fields(struct cv_reader *reader, struct request *r)
{
	uint16_t count;

	if (!cv_take_u16(reader, &count))
		return false;
	const char **fields = cv_new(r->arena, const char *, (size_t)count + 1);
	for (uint16_t i = 0; i < count; i++) {
		struct cv_str key, value;
		if (!cv_take_str(reader, 8192, &key) || !cv_take_str(reader, CV_IPC_MAX_PAYLOAD, &value))
			return false;
		if (!cv_str_has_nul(key) && !cv_str_has_nul(value))
			fields[r->field_count++] = cv_arena_printf(r->arena, "%.*s=%.*s", CV_STR_ARG(key), CV_STR_ARG(value));
	}
	r->fields = fields;
	return true;
}

static int on_user_record(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct spawner *sp = ctx;
	struct cv_err err = { 0 };
	struct cv_str text;
	uint8_t result;

	(void)ipc;
	struct request *r = cv_map_get(sp->asked, cv_str_mem(&msg->id, sizeof(msg->id)));
	if (r == NULL)
		return 0;
	if (!cv_take_u8(&msg->payload, &result) || !take_text(&msg->payload, r->arena, &r->user) || !cv_take_u32(&msg->payload, &r->sysuid) ||
		!cv_take_u32(&msg->payload, &r->sysgid) || !take_text(&msg->payload, r->arena, &r->home) ||
		!take_text(&msg->payload, r->arena, &r->mail) || !take_fields(&msg->payload, r) ||
		!cv_take_str(&msg->payload, CV_ERR_TEXT_MAX, &text) || !cv_reader_end(&msg->payload))
		return -1;
	(void)cv_map_remove(sp->asked, cv_str_mem(&r->id, sizeof(r->id)));
	cv_list_remove(&r->node);
	switch ((enum cv_auth_result)result) {
	case CV_AUTH_OK:
		if (r->user == NULL || r->user[0] == '\0')
			(void)cv_err_set(&err, CV_ERR_TEMP, "auth told no user");
		else if (check_ids(sp, r, &err) < 0)
			cv_error(NULL, "user %s: %s", cv_log_clean(cv_str_c(r->user)), err.text);
		break;
	case CV_AUTH_NOUSER:
		if (r->kind == REQUEST_ADMIN)
			(void)cv_err_set(&err, CV_ERR_NOTFOUND, "there is no such user");
		else
			(void)cv_err_set_public(&err, CV_ERR_AUTH, "There is no such user, or the login is too old");
		r->no_user = true;
		break;
	case CV_AUTH_MISMATCH:
	case CV_AUTH_DISABLED:
		(void)cv_err_set(&err, CV_ERR_PERM, "the user is disabled");
		break;
	case CV_AUTH_TEMP:
		(void)cv_err_set(&err, CV_ERR_TEMP, "the user database: %.*s", CV_STR_ARG(text));
		break;
	default:
		return -1;
	}
	if (err.code != CV_ERR_NONE)
		request_fail(r, &err);
	else
		spawner_place(sp, r);
	return 0;
}

static const struct cv_ipc_type auth_table[] = {
	{ CV_MSG_USER_RECORD, "USER_RECORD", CV_IPC_MAX_PAYLOAD, 0, 0, 0, on_user_record },
};

static void fail_asked(struct spawner *sp)
{
	struct cv_err err = { 0 };

	(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, "auth ended");
	while (!cv_list_empty(&sp->waiting)) {
		struct request *r = cv_container(sp->waiting.next, struct request, node);
		(void)cv_map_remove(sp->asked, cv_str_mem(&r->id, sizeof(r->id)));
		request_fail(r, &err);
	}
}

static void on_auth_closed(void *ctx, struct cv_ipc *ipc)
{
	struct spawner *sp = ctx;

	(void)ipc;
	cv_ipc_free(&sp->auth);
	fail_asked(sp);
	cv_role_peer_lost(sp->proc, CV_ROLE_AUTH);
}

/* Those of workers, of requests, and what is on its way: one that did not arrive for want of a number would cost the whole channel. */
static bool fds_left(const struct spawner *sp)
{
	return sp->worker_count + sp->held_fds + FDS_RESERVED < sp->fd_limit;
}

static void say_full(struct spawner *sp)
{
	uint64_t now = cv_loop_now_ms(sp->loop);

	if (sp->said_full_ms != 0 && now - sp->said_full_ms < NOISE_MS)
		return;
	sp->said_full_ms = now;
	cv_error(NULL, "the spawner has no descriptors left: %zu workers, %zu requests, limit %llu (LimitNOFILE of the service, ulimit -n)", sp->worker_count,
		sp->held_fds, (unsigned long long)sp->fd_limit);
}

bool spawner_fds_left(struct spawner *sp)
{
	if (fds_left(sp))
		return true;
	say_full(sp);
	return false;
}

static void ask_auth(struct spawner *sp, struct request *r, uint16_t type, struct cv_str what, struct cv_str service)
{
	struct cv_err err = { 0 };
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_put_str(&out, what);
	cv_put_str(&out, service);
	if (type == CV_MSG_TICKET)
		cv_put_u8(&out, r->kind == REQUEST_SESSION);
	int result = -1;
	if (sp->stopping)
		(void)cv_err_set_public(&err, CV_ERR_UNAVAILABLE, "The server is shutting down");
	else if (!fds_left(sp))
		(void)cv_err_set_public(&err, CV_ERR_LIMIT, "The server has no room for more sessions");
	else if (sp->auth == NULL || cv_map_count(sp->asked) >= WAITING_MAX)
		(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, sp->auth == NULL ? "there is no auth process now" : "auth is overloaded");
	else if (cv_ipc_send(sp->auth, type, r->id, cv_buf_str(&out), NULL, 0) < 0)
		(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, "auth could not be asked");
	else
		result = 0;
	cv_buf_deinit(&out);
	if (result < 0) {
		if (!fds_left(sp))
			say_full(sp);
		request_fail(r, &err);
		return;
	}
	(void)cv_map_set(sp->asked, cv_str_mem(&r->id, sizeof(r->id)), r);
	cv_list_append(&sp->waiting, &r->node);
}

/* ---- From fronts: they may lie, but only about what they were told by clients anyway ------------------------------------------------------ */

int spawner_take_fd(struct cv_ipc_msg *msg)
{
	int fd = -1;

	if (msg->nfds > 0) {
		fd = msg->fds[0];
		msg->fds[0] = -1;
	}
	return fd;
}

static bool skip_kv(struct cv_reader *reader)
{
	uint16_t count;
	struct cv_str s;

	if (!cv_take_u16(reader, &count) || count > CV_LOGIN_CLIENT_ID_MAX)
		return false;
	for (unsigned i = 0; i < 2u * count; i++) {
		if (!cv_take_str(reader, 1024, &s))
			return false;
	}
	return true;
}

/* What follows the ticket goes to the worker as it is; here it is checked whole, so that a worker need not fear it. */
static bool take_session(struct cv_reader *reader, struct request *r)
{
	struct cv_str local, name, tls, resume, unread;
	uint32_t remote_port, local_port;
	uint8_t secured;

	r->payload = cv_arena_str(r->arena, cv_reader_rest(reader));
	struct cv_reader own = cv_reader_init(r->payload);
	if (!cv_take_str(&own, 63, &r->protocol) || !cv_take_str(&own, 64, &r->session) || !cv_take_str(&own, 45, &r->remote) ||
		!cv_take_u32(&own, &remote_port) || !cv_take_str(&own, 45, &local) || !cv_take_u32(&own, &local_port) ||
		!cv_take_str(&own, 255, &name) || !cv_take_u8(&own, &secured) || !cv_take_str(&own, 255, &tls))
		return false;
	r->head_len = own.pos;
	if (!cv_take_str(&own, CV_LOGIN_RESUME_MAX, &resume) || !cv_take_str(&own, CV_IPC_MAX_PAYLOAD, &unread) || !skip_kv(&own))
		return false;
	r->secured = secured != 0;
	r->relayed = tls.len > 0;
	return cv_reader_end(&own) && r->session.len > 0;
}

static int on_session(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front_peer *front = ctx;
	struct request *r = request_new(front->sp, REQUEST_SESSION, front, msg->id, spawner_take_fd(msg));
	struct cv_str ticket;

	(void)ipc;
	if (!cv_take_str(&msg->payload, CV_TICKET_LEN, &ticket) || ticket.len != CV_TICKET_LEN || !take_session(&msg->payload, r)) {
		request_free(&r);
		return -1;
	}
	ask_auth(front->sp, r, CV_MSG_TICKET, ticket, r->protocol);
	return 0;
}

static int on_job(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front_peer *front = ctx;
	struct request *r = request_new(front->sp, REQUEST_JOB, front, msg->id, spawner_take_fd(msg));
	struct cv_str ticket, payload;
	struct cv_buf out;

	(void)ipc;
	bool good = cv_take_str(&msg->payload, CV_TICKET_LEN, &ticket) && ticket.len == CV_TICKET_LEN;
	if (good) {
		r->payload = cv_arena_str(r->arena, cv_reader_rest(&msg->payload));
		struct cv_reader own = cv_reader_init(r->payload);
		good = cv_take_str(&own, 63, &r->protocol) && cv_take_str(&own, 64, &r->session) && cv_take_str(&own, 45, &r->remote) &&
			cv_take_str(&own, CV_LOGIN_PAYLOAD_MAX, &payload) && cv_reader_end(&own);
	}
	if (good) {
		/* Who asks is the spawner's to say, and front asks for nobody. */
		cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
		cv_buf_append(&out, r->payload);
		cv_put_str(&out, (struct cv_str){ 0 });
		r->payload = cv_arena_str(r->arena, cv_buf_str(&out));
		good = cv_buf_ok(&out);
		cv_buf_deinit(&out);
	}
	if (!good) {
		request_free(&r);
		return -1;
	}
	ask_auth(front->sp, r, CV_MSG_TICKET, ticket, r->protocol);
	return 0;
}

static const struct cv_ipc_type front_table[] = {
	{ CV_MSG_SESSION, "SESSION", CV_IPC_MAX_PAYLOAD, 1, 1, 0, on_session },
	{ CV_MSG_JOB, "JOB", CV_IPC_MAX_PAYLOAD, 0, 1, 0, on_job },
	{ CV_MSG_WAKE, "WAKE", CV_IPC_MAX_PAYLOAD, 1, 1, 0, spawner_on_wake },
	{ CV_MSG_SLEEPER_GONE, "SLEEPER_GONE", 512, 0, 0, 0, spawner_on_sleeper_gone },
};

static void forget_front(struct request *r, const void *front)
{
	if (r->front == front)
		r->front = NULL;
}

/* Its connections before login are lost; deliveries that run go on. */
static void front_free(struct front_peer *front)
{
	struct cv_node *node, *next;

	each_request(front->sp, forget_front, front);
	spawner_forget_sleepers(front->sp, front);
	cv_list_foreach(&front->sp->workers, node, next) {
		struct worker *w = cv_container(node, struct worker, node);
		struct cv_str key;
		void *value;
		for (size_t pos = 0; cv_map_next(w->sessions, &pos, &key, &value);) {
			struct session *s = value;
			if (s->front == front)
				s->front = NULL;
		}
	}
	cv_list_remove(&front->node);
	cv_ipc_free(&front->ipc);
	cv_free(front);
}

static void on_front_closed(void *ctx, struct cv_ipc *ipc)
{
	(void)ipc;
	front_free(ctx);
}

/* What front need not ask workers for. */
static void tell_hooks(struct spawner *sp, struct front_peer *front)
{
	const char *hook, *handler, *before = "";
	enum cv_hook_stage stage;
	uint16_t count = 0;
	struct cv_buf names, out;

	cv_buf_init(&names, CV_IPC_MAX_PAYLOAD);
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	for (size_t pos = 0; cv_hook_next(sp->proc->registry, &pos, &hook, &handler, &stage);) {
		if (strcmp(hook, before) == 0) /* handlers of one hook come together */
			continue;
		cv_put_str(&names, cv_str_c(hook));
		before = hook;
		count++;
	}
	cv_put_u16(&out, count);
	cv_buf_append(&out, cv_buf_str(&names));
	send_front(front, CV_MSG_HOOKS, 0, &out);
	cv_buf_deinit(&names);
	cv_buf_deinit(&out);
}

static int spawner_peer(struct cv_role_proc *proc, enum cv_role role, uint32_t index, int fd)
{
	struct spawner *sp = proc->state;

	if (role == CV_ROLE_AUTH) {
		if (sp->auth != NULL) {
			cv_ipc_free(&sp->auth);
			fail_asked(sp);
		}
		sp->auth = cv_ipc_new(sp->loop, fd, "auth", auth_table, CV_COUNT_OF(auth_table), on_auth_closed, sp);
		return 0;
	}
	if (role == CV_ROLE_FRONT) {
		struct front_peer *front = cv_new0(struct front_peer);
		front->sp = sp;
		front->index = index;
		front->ipc = cv_ipc_new(sp->loop, fd, "front", front_table, CV_COUNT_OF(front_table), on_front_closed, front);
		cv_list_append(&sp->fronts, &front->node);
		tell_hooks(sp, front);
		return 0;
	}
	(void)close(fd);
	return -1;
}

/* ---- Administrators -------------------------------------------------------------------------------------------------------------------------- */

static int spawner_admin_user(struct cv_role_proc *proc, struct cv_str user, struct cv_str payload, int fd)
{
	struct spawner *sp = proc->state;
	struct request *r = request_new(sp, REQUEST_ADMIN, NULL, 0, fd);

	r->payload = cv_arena_str(r->arena, payload);
	ask_auth(sp, r, CV_MSG_USERDB, user, CV_STR("admin"));
	return 0;
}

/* ---- Start, reload, stop ---------------------------------------------------------------------------------------------------------------------- */

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
	cv_signal_add(proc->loop, SIGCHLD, on_child, sp);
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
	/* The modules may be others now. */
	cv_list_foreach(&sp->fronts, node, next)
		tell_hooks(sp, cv_container(node, struct front_peer, node));
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
	fail_list(&sp->crowded, &err);
	cv_list_foreach(&sp->workers, node, next)
		worker_stop(cv_container(node, struct worker, node), CV_MSG_WORKER_STOP, CV_STR(""));
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
	fail_list(&sp->waiting, &err);
	fail_list(&sp->crowded, &err);
	spawner_forget_sleepers(sp, NULL);
	for (node = sp->workers.next; node != &sp->workers; node = next) {
		struct worker *w = cv_container(node, struct worker, node);
		next = node->next;
		fail_list(&w->waiting, &err);
		fail_list(&w->running, &err);
		worker_free(w);
	}
	for (node = sp->fronts.next; node != &sp->fronts; node = next) {
		next = node->next;
		front_free(cv_container(node, struct front_peer, node));
	}
	cv_ipc_free(&sp->auth);
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
