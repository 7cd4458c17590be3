/* SPDX-License-Identifier: MIT
   A worker: drops to its user's identity, confines itself to the user's files, and runs all of the user's sessions and jobs. */
#include "core/proc/worker.h"

#include "core/proc/role.h"
#include "core/proc/session-private.h"
#include "core/proc/worker-ended.h"
#include "core/proc/worker-front.h"
#include "core/proc/worker-user.h"
#include "core/store/lease.h"
#include "core/store/selftest.h"
#include <culver/admin.h>
#include <culver/hooks.h>
#include <culver/time.h>

#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The user's files may still be held by a worker whose spawner died: it is ending. */
#define INUSE_RETRY_MS 100
#define INUSE_TRIES 100
#define BUSY_MS 1000
#define LAST_WORDS_MS 200
#define KEPT_MEMORY (1 << 20)
#define TOP_PAD (128 << 10)
#define QUIET_MS 1000

struct worker_process {
	const struct cv_worker_args *args;
	struct cv_loop *loop;
	struct cv_ipc *spawner;
	struct cv_session_host host;
	struct cv_arena *arena;
	unsigned admins;           /* administrators' commands that run */
	uint32_t received;         /* messages from spawner */
	struct worker_fronts fronts;
	struct worker_ended ended;
	struct cv_timer *idle, *last_words;
	bool stopping;
	bool resting;              /* fronts were asked to close their channels, so that it may end */
	bool slept;                /* the last thing to do was to put sessions to sleep */
	struct cv_log_ctx log;
};

static void stop(struct worker_process *wp, const char *reason);
static void tell(struct worker_process *wp, uint16_t type, uint64_t id, const struct cv_buf *out);

/* ---- Opening the mail --------------------------------------------------------------------------------------------------------- */

/* Another server has the mail, or it was moved: sessions end, and the next worker begins with what is there. */
static void on_lost(void *ctx, const struct cv_err *err)
{
	struct worker_process *wp = ctx;
	struct cv_buf none;

	(void)err;
	cv_buf_init(&none, 1);
	tell(wp, CV_MSG_WORKER_LOST, 0, &none);
	cv_buf_deinit(&none);
	stop(wp, "shutdown");
}

static int open_user(struct worker_process *wp, struct cv_err *err)
{
	const struct cv_worker_args *args = wp->args;
	struct cv_user_config config = worker_user_config(args);
	bool exact = true;
	int result;

	config.loop = wp->loop;
	config.lost = on_lost;
	config.lost_ctx = wp;
	if (args->core->landlock && worker_confine(args, wp->arena, &config, &exact, err) < 0)
		return -1;
	if (cv_sandbox_seccomp(CV_SANDBOX_WORKER, (enum cv_seccomp_mode)args->core->seccomp, err) < 0)
		return -1;
	for (unsigned tries = 0;; tries++) {
		*err = (struct cv_err){ 0 };
		result = cv_user_open(&config, &wp->host.user, err);
		if (result == 0 || err->code != CV_ERR_INUSE || tries >= INUSE_TRIES)
			break;
		struct timespec pause = { .tv_nsec = INUSE_RETRY_MS * 1000000L };
		(void)nanosleep(&pause, NULL);
	}
	if (result < 0)
		return -1;
	/* Now that all directories are there, nothing above them is needed any more. */
	if (!exact && worker_confine(args, wp->arena, &config, &exact, err) < 0)
		return -1;
	cv_sandbox_let_go();
	return 0;
}

/* ---- To the spawner ---------------------------------------------------------------------------------------------------------- */

static void tell_fd(struct worker_process *wp, uint16_t type, uint64_t id, const struct cv_buf *out, int fd)
{
	if (wp->spawner == NULL)
		return;
	if (!cv_buf_ok(out) || cv_ipc_send(wp->spawner, type, id, cv_buf_str(out), fd >= 0 ? &fd : NULL, fd >= 0 ? 1 : 0) < 0)
		cv_warn(&wp->log, "message %u to the spawner could not be sent", type);
}

static void tell(struct worker_process *wp, uint16_t type, uint64_t id, const struct cv_buf *out)
{
	tell_fd(wp, type, id, out, -1);
}

static void tell_failed(struct worker_process *wp, const struct cv_err *err)
{
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_msg_put_err(&out, err);
	tell(wp, CV_MSG_WORKER_FAILED, 0, &out);
	cv_buf_deinit(&out);
}

static void on_state(struct cv_session_host *host, const struct cv_session *session, const char *state, bool ended)
{
	struct worker_process *wp = host->ctx;
	struct cv_buf out;

	if (ended) {
		worker_ended_add(&wp->ended, session->id);
		return;
	}
	cv_buf_init(&out, 4096);
	cv_put_str(&out, session->id);
	cv_put_str(&out, cv_str_c(state));
	tell(wp, CV_MSG_WORKER_SESSION_STATE, 0, &out);
	cv_buf_deinit(&out);
}

static void tell_ended(void *ctx, const struct cv_buf *ids)
{
	tell(ctx, CV_MSG_WORKER_ENDED, 0, ids);
}

static void on_job_reply(struct cv_session_host *host, uint64_t id, const struct cv_err *err, struct cv_str data, int memfd)
{
	struct worker_process *wp = host->ctx;
	struct cv_buf out;

	if ((id & WORKER_FRONT_JOB) != 0) {
		worker_fronts_reply(&wp->fronts, id, err, data);
		return;
	}
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_msg_put_err(&out, err);
	cv_put_str(&out, data);
	tell_fd(wp, CV_MSG_WORKER_JOB_REPLY, id, &out, memfd);
	cv_buf_deinit(&out);
}

static void on_give_back(struct cv_session_host *host, const struct cv_session *session, int fd, uint64_t octets, struct cv_str unread)
{
	struct worker_process *wp = host->ctx;
	struct cv_buf out;

	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, session->id);
	cv_put_u64(&out, octets);
	cv_put_str(&out, unread);
	if (wp->spawner == NULL || cv_ipc_send(wp->spawner, CV_MSG_WORKER_SESSION_BACK, 0, cv_buf_str(&out), &fd, 1) < 0)
		cv_warn(&session->log, "the connection cannot be given back: there is no spawner");
	cv_buf_deinit(&out);
	(void)close(fd);
}

static uint32_t bounded_ms(uint64_t ms)
{
	return (uint32_t)CV_MIN(ms, (uint64_t)UINT32_MAX);
}

static bool on_may_sleep(struct cv_session_host *host)
{
	const struct worker_process *wp = host->ctx;

	return !wp->stopping && wp->spawner != NULL && host->job_count == 0 && wp->admins == 0;
}

static bool on_sleep(struct cv_session_host *host, const struct cv_session *session, int fd, uint64_t octets, const struct cv_session_sleep *sleep,
	uint64_t timeout_ms)
{
	struct worker_process *wp = host->ctx;
	struct cv_buf out;

	worker_ended_tell(&wp->ended, false);
	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, session->id);
	cv_put_u32(&out, wp->received);
	cv_put_u64(&out, octets);
	cv_put_u32(&out, bounded_ms(timeout_ms));
	cv_put_u32(&out, sleep->keepalive.len > 0 ? bounded_ms(sleep->keepalive_ms) : 0);
	cv_put_u32(&out, bounded_ms(sleep->keepalive_in_ms));
	cv_put_str(&out, sleep->keepalive);
	cv_put_str(&out, sleep->goodbye);
	cv_put_str(&out, cv_buf_str(sleep->blob));
	bool sent = wp->spawner != NULL && cv_buf_ok(&out) && cv_ipc_send(wp->spawner, CV_MSG_WORKER_SLEEP, 0, cv_buf_str(&out), &fd, 1) >= 0;
	cv_buf_deinit(&out);
	(void)close(fd);
	wp->slept |= sent;
	return sent;
}

static int on_ask(struct cv_session_host *host, uint64_t id, struct cv_str user, const char *protocol, struct cv_str session, struct cv_str payload,
	struct cv_err *err)
{
	struct worker_process *wp = host->ctx;
	struct cv_buf out;
	int result = 0;

	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, user);
	cv_put_str(&out, cv_str_c(protocol));
	cv_put_str(&out, session);
	cv_put_str(&out, payload);
	if (wp->spawner == NULL || !cv_buf_ok(&out) || cv_ipc_send(wp->spawner, CV_MSG_WORKER_ASK, id, cv_buf_str(&out), NULL, 0) < 0)
		result = cv_err_set(err, CV_ERR_UNAVAILABLE, "the spawner could not be asked");
	cv_buf_deinit(&out);
	return result;
}

/* ---- Idle and end -------------------------------------------------------------------------------------------------------------- */

static bool busy(const struct worker_process *wp)
{
	return wp->host.session_count > 0 || wp->host.job_count > 0 || wp->admins > 0;
}

static void set_title(const struct worker_process *wp)
{
	const struct cv_core_settings *core = wp->args->core;

	if (core->verbose_proctitle)
		cv_title_set("%s worker: %s (%zu sessions, %zu jobs)", core->instance_name, wp->args->user, wp->host.session_count,
			wp->host.job_count);
}

static void look_idle(struct worker_process *wp)
{
	set_title(wp);
	if (busy(wp)) {
		cv_timer_stop(wp->idle);
		return;
	}
	if (wp->stopping)
		cv_timer_set(wp->last_words, LAST_WORDS_MS);
	else
		cv_timer_set(wp->idle, wp->slept ? 0 : wp->args->idle_ms);
}

static void on_ended(struct cv_session_host *host)
{
	look_idle(host->ctx);
}

static uint32_t take_done(struct worker_process *wp)
{
	uint32_t done = wp->fronts.done;

	wp->fronts.done = 0;
	return done;
}

static void tell_active(struct worker_process *wp)
{
	struct cv_buf out;

	cv_buf_init(&out, 16);
	cv_put_u32(&out, take_done(wp));
	tell(wp, CV_MSG_WORKER_ACTIVE, 0, &out);
	cv_buf_deinit(&out);
}

/* There is something to do. */
static void wake_up(struct worker_process *wp)
{
	cv_timer_stop(wp->idle);
	wp->slept = wp->resting = false;
}

/* A job of a front's. The spawner, which knows nothing of it, brings sessions back that went to sleep. */
static void on_front_job(void *ctx)
{
	struct worker_process *wp = ctx;

	if (wp->slept)
		tell_active(wp);
	wake_up(wp);
	/* It came before the front was told that this worker ends: it is done all the same. */
	cv_timer_stop(wp->last_words);
}

static void on_fronts_gone(void *ctx)
{
	struct worker_process *wp = ctx;

	if (wp->resting && !busy(wp) && !wp->stopping)
		cv_timer_set(wp->idle, 0);
}

static void on_idle(void *ctx)
{
	struct worker_process *wp = ctx;
	struct cv_buf out;

	if (busy(wp) || wp->stopping)
		return;
	if (cv_user_busy(wp->host.user)) {
		cv_timer_set(wp->idle, BUSY_MS);
		return;
	}
	/* What they have sent is received before the channel's end. */
	if (worker_fronts_ask_end(&wp->fronts)) {
		wp->resting = true;
		cv_timer_set(wp->idle, WORKER_FRONTS_END_MS);
		return;
	}
	worker_fronts_drop(&wp->fronts);
	worker_ended_tell(&wp->ended, false);
	cv_buf_init(&out, 16);
	cv_put_u32(&out, wp->received);
	cv_put_u32(&out, take_done(wp));
	tell(wp, CV_MSG_WORKER_IDLE, 0, &out);
	cv_buf_deinit(&out);
	/* Asked again, should the answer be a message that was on its way. */
	cv_timer_set(wp->idle, CV_MAX(wp->args->idle_ms, (uint64_t)1000));
}

/* While a session works, memory is kept for its next command; the system would have to clear it each time. That goes for buffers of a message as well,
   which malloc would otherwise get from the system one by one from 128 KiB on (and no longer by a limit that grows, once one of these is set). */
static void keep_memory(void)
{
	(void)mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY);
	(void)mallopt(M_TOP_PAD, TOP_PAD);
	(void)mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY);
}

static void on_quiet(void *ctx)
{
	struct worker_process *wp = ctx;

	if (wp->host.user != NULL)
		cv_user_quiet(wp->host.user);
	(void)malloc_trim(0);
}

static void on_last_words(void *ctx)
{
	struct worker_process *wp = ctx;

	cv_loop_stop(wp->loop);
}

static void say_goodbye(struct worker_process *wp, const char *reason)
{
	struct cv_node *node, *next;

	cv_list_foreach(&wp->host.sessions, node, next)
		cv_session_goodbye(cv_container(node, struct cv_session, node), reason);
}

static void stop(struct worker_process *wp, const char *reason)
{
	if (wp->stopping)
		return;
	wp->stopping = true;
	(void)worker_fronts_ask_end(&wp->fronts);
	say_goodbye(wp, reason);
	look_idle(wp);
}

/* ---- From the spawner ------------------------------------------------------------------------------------------------------------- */

static const struct cv_session_protocol *find_protocol(const struct worker_process *wp, struct cv_str name)
{
	char text[64];

	/* On the stack: a worker may see millions of jobs. */
	if (name.len == 0 || name.len >= sizeof(text) || cv_str_has_nul(name))
		return NULL;
	memcpy(text, name.ptr, name.len);
	text[name.len] = '\0';
	return cv_provider_get(wp->args->registry, CV_CAP_SESSION, text);
}

static bool take_session_head(struct cv_reader *r, struct cv_str *protocol, struct cv_session_config *config, uint8_t *secured)
{
	return cv_take_str(r, 63, protocol) && cv_take_str(r, 64, &config->id) && cv_take_str(r, 45, &config->remote) &&
		cv_take_u32(r, &config->remote_port) && cv_take_str(r, 45, &config->local) && cv_take_u32(r, &config->local_port) &&
		cv_take_str(r, 255, &config->local_name) && cv_take_u8(r, secured) && cv_take_str(r, 255, &config->tls);
}

static int take_session(struct worker_process *wp, struct cv_ipc_msg *msg, struct cv_str protocol, struct cv_session_config *config, uint8_t secured)
{
	config->secured = secured != 0;
	config->protocol = find_protocol(wp, protocol);
	if (config->protocol == NULL || config->protocol->start == NULL) {
		cv_error(&wp->log, "no module runs sessions of protocol %s", cv_log_clean(protocol));
		struct cv_session ended = { .id = config->id, .protocol = &(const struct cv_session_protocol){ .name = "none" } };
		on_state(&wp->host, &ended, "", true);
		return 0;
	}
	wake_up(wp);
	config->fd = msg->fds[0];
	msg->fds[0] = -1;
	cv_session_begin(&wp->host, config);
	set_title(wp);
	if (wp->stopping) /* it was on its way */
		say_goodbye(wp, "shutdown");
	return 0;
}

static int on_session(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;
	struct cv_session_config config = { 0 };
	struct cv_str protocol;
	uint8_t secured;

	(void)ipc;
	wp->received++;
	struct cv_reader *r = &msg->payload;
	if (!take_session_head(r, &protocol, &config, &secured) || !cv_take_str(r, CV_LOGIN_RESUME_MAX, &config.resume) ||
		!cv_take_str(r, CV_IPC_MAX_PAYLOAD, &config.unread) || !cv_msg_skip_kv(r) || !cv_reader_end(r))
		return -1;
	return take_session(wp, msg, protocol, &config, secured);
}

static int on_wake(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;
	struct cv_session_config config = { 0 };
	struct cv_str protocol;
	uint32_t keepalive_in_ms;
	uint8_t secured;

	(void)ipc;
	wp->received++;
	struct cv_reader *r = &msg->payload;
	if (!take_session_head(r, &protocol, &config, &secured) || !cv_take_str(r, CV_SLEEP_SAVED_MAX, &config.saved) || config.saved.ptr == NULL ||
		!cv_take_u32(r, &keepalive_in_ms) || !cv_take_str(r, CV_IPC_MAX_PAYLOAD, &config.unread) || !cv_reader_end(r))
		return -1;
	config.keepalive_in_ms = keepalive_in_ms;
	return take_session(wp, msg, protocol, &config, secured);
}

static int on_job(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;
	struct cv_str protocol, session, remote, payload, asker;

	(void)ipc;
	wp->received++;
	if (!cv_take_str(&msg->payload, 63, &protocol) || !cv_take_str(&msg->payload, 64, &session) || !cv_take_str(&msg->payload, 45, &remote) ||
		!cv_take_str(&msg->payload, CV_LOGIN_PAYLOAD_MAX, &payload) || !cv_take_str(&msg->payload, 8192, &asker) || !cv_reader_end(&msg->payload) ||
		(msg->id & WORKER_FRONT_JOB) != 0)
		return -1;
	const struct cv_session_protocol *p = find_protocol(wp, protocol);
	if (p == NULL || p->job == NULL) {
		struct cv_err err = { 0 };
		(void)cv_err_set(&err, CV_ERR_INTERNAL, "no module runs jobs of protocol %s", cv_log_clean(protocol));
		cv_error(&wp->log, "%s", err.text);
		on_job_reply(&wp->host, msg->id, &err, CV_STR(""), -1);
		return 0;
	}
	wake_up(wp);
	cv_job_begin(&wp->host, msg->id, p, session, remote, payload, asker, msg->nfds > 0 ? msg->fds[0] : -1);
	return 0;
}

static int on_front(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;
	struct cv_str protocol;

	(void)ipc;
	wp->received++;
	if (!cv_take_str(&msg->payload, 63, &protocol) || !cv_reader_end(&msg->payload))
		return -1;
	const struct cv_session_protocol *p = find_protocol(wp, protocol);
	/* Closed again otherwise; the job that comes with it says what is wrong. */
	if (p == NULL || p->job == NULL || wp->stopping)
		return 0;
	worker_fronts_add(&wp->fronts, p, msg->fds[0]);
	msg->fds[0] = -1;
	return 0;
}

static int on_answer(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;
	struct cv_ask_reply reply = { .memfd = msg->nfds > 0 ? msg->fds[0] : -1 };

	(void)ipc;
	wp->received++;
	if (!cv_msg_take_err(&msg->payload, &reply.err) || !cv_take_str(&msg->payload, CV_LOGIN_PAYLOAD_MAX, &reply.data) || !cv_reader_end(&msg->payload))
		return -1;
	cv_session_answer(&wp->host, msg->id, &reply);
	if (reply.memfd < 0 && msg->nfds > 0)
		msg->fds[0] = -1;
	return 0;
}

static void admin_finished(void *ctx)
{
	struct worker_process *wp = ctx;

	wp->admins--;
	look_idle(wp);
}

static int on_admin(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;
	struct cv_admin_request request;
	struct cv_err err = { 0 };
	struct cv_str peer;

	(void)ipc;
	wp->received++;
	if (!cv_take_str(&msg->payload, 255, &peer))
		return -1;
	int fd = msg->fds[0];
	msg->fds[0] = -1;
	struct cv_arena *arena = cv_arena_new("admin request", NULL, CV_ARENA_WIPE);
	if (cv_admin_request_parse(&msg->payload, arena, &request, &err) < 0) {
		cv_admin_refuse(fd, &err);
	} else {
		struct cv_admin_serve_config config = { .registry = wp->args->registry, .loop = wp->loop, .fd = fd,
			.peer = cv_arena_cstr(arena, peer), .role = CV_ROLE_WORKER, .user = wp->host.user, .process = wp,
			.finished = admin_finished, .ctx = wp };
		wp->admins++;
		wake_up(wp);
		cv_admin_serve(&config, request.command, request.args, request.arg_count);
	}
	cv_arena_free(&arena);
	look_idle(wp);
	return 0;
}

static int on_kick(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;
	struct cv_str id, reason;
	struct cv_node *node, *next;

	(void)ipc;
	wp->received++;
	if (!cv_take_str(&msg->payload, 64, &id) || !cv_take_str(&msg->payload, 255, &reason) || !cv_reader_end(&msg->payload))
		return -1;
	cv_list_foreach(&wp->host.sessions, node, next) {
		struct cv_session *session = cv_container(node, struct cv_session, node);
		if (id.ptr == NULL || cv_str_eq(session->id, id))
			cv_session_goodbye(session, cv_arena_str(session->arena, reason).ptr);
	}
	return 0;
}

static int on_reopen_log(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;

	(void)ipc;
	wp->received++;
	if (!cv_reader_end(&msg->payload))
		return -1;
	cv_log_replace_fds(msg->fds, msg->nfds);
	return 0;
}

static int on_stop(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;

	(void)ipc;
	wp->received++;
	if (!cv_reader_end(&msg->payload))
		return -1;
	stop(wp, "shutdown");
	return 0;
}

static int on_rest(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;

	(void)ipc;
	wp->received++;
	if (!cv_reader_end(&msg->payload))
		return -1;
	if (wp->fronts.done > 0)
		tell_active(wp);
	else if (!busy(wp) && !wp->stopping)
		cv_timer_set(wp->idle, 0);
	return 0;
}

static int on_tell(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;

	(void)ipc;
	wp->received++;
	if (!cv_reader_end(&msg->payload))
		return -1;
	worker_ended_tell(&wp->ended, true);
	return 0;
}

static int on_mayexit(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker_process *wp = ctx;
	uint32_t sent;

	(void)ipc;
	if (!cv_take_u32(&msg->payload, &sent) || !cv_reader_end(&msg->payload))
		return -1;
	/* The spawner sends nothing after it, and what it sent before came before. */
	if (sent == wp->received && !busy(wp))
		cv_loop_stop(wp->loop);
	else
		cv_error(&wp->log, "the spawner counted %u messages, %u arrived", sent, wp->received);
	wp->received++;
	return 0;
}

static const struct cv_ipc_type table[] = {
	{ CV_MSG_WORKER_SESSION, "WORKER_SESSION", CV_IPC_MAX_PAYLOAD, 1, 1, 0, on_session },
	{ CV_MSG_WORKER_WAKE, "WORKER_WAKE", CV_IPC_MAX_PAYLOAD, 1, 1, 0, on_wake },
	{ CV_MSG_WORKER_JOB, "WORKER_JOB", CV_IPC_MAX_PAYLOAD, 0, 1, 0, on_job },
	{ CV_MSG_WORKER_FRONT, "WORKER_FRONT", 128, 1, 1, 0, on_front },
	{ CV_MSG_WORKER_ANSWER, "WORKER_ANSWER", CV_LOGIN_PAYLOAD_MAX + 1024, 0, 1, 0, on_answer },
	{ CV_MSG_WORKER_ADMIN, "WORKER_ADMIN", CV_IPC_MAX_PAYLOAD, 1, 1, 0, on_admin },
	{ CV_MSG_WORKER_KICK, "WORKER_KICK", 1024, 0, 0, 0, on_kick },
	{ CV_MSG_WORKER_REOPEN_LOG, "WORKER_REOPEN_LOG", 0, 1, CV_LOG_OUTPUTS, 0, on_reopen_log },
	{ CV_MSG_WORKER_STOP, "WORKER_STOP", 0, 0, 0, 0, on_stop },
	{ CV_MSG_WORKER_REST, "WORKER_REST", 0, 0, 0, 0, on_rest },
	{ CV_MSG_WORKER_TELL, "WORKER_TELL", 0, 0, 0, 0, on_tell },
	{ CV_MSG_WORKER_MAYEXIT, "WORKER_MAYEXIT", 4, 0, 0, 0, on_mayexit },
};

/* The spawner died: its successor must be able to open the user's mail soon. */
static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct worker_process *wp = ctx;

	(void)ipc;
	cv_ipc_free(&wp->spawner);
	if (!wp->stopping)
		cv_warn(&wp->log, "the spawner is gone: ending");
	stop(wp, "shutdown");
}

static void on_term(void *ctx, int signo, int pid, int uid)
{
	(void)signo;
	(void)pid;
	(void)uid;
	stop(ctx, "shutdown");
}

static void no_signal(void *ctx, int signo, int pid, int uid)
{
	(void)ctx;
	(void)signo;
	(void)pid;
	(void)uid;
}

/* ---- Life ------------------------------------------------------------------------------------------------------------------------------ */

static void prewarm(void)
{
	cv_selftest_share();
	cv_lease_look_around();
}

static int begin(struct worker_process *wp, struct cv_err *err)
{
	return worker_become_user(wp->args, wp->arena, err) < 0 || open_user(wp, err) < 0 ? -1 : 0;
}

static int run(const struct cv_worker_args *args)
{
	struct worker_process process = { 0 }, *wp = &process;
	struct cv_err err = { 0 };
	struct cv_buf nothing;
	int status = 0;

	wp->args = args;
	wp->arena = cv_arena_new("worker", NULL, 0);
	wp->log = (struct cv_log_ctx){ .category = "proc", .user = cv_str_c(args->user) };
	cv_title_set("%s worker: %s", args->core->instance_name, args->user);
	wp->loop = cv_loop_new(CV_LOOP_EPOLL);
	cv_signal_add(wp->loop, SIGTERM, on_term, wp);
	cv_signal_add(wp->loop, SIGINT, no_signal, wp);
	cv_signal_add(wp->loop, SIGHUP, no_signal, wp);
	cv_signal_add(wp->loop, SIGUSR1, no_signal, wp);
	wp->spawner = cv_ipc_new(wp->loop, args->control_fd, "spawner", table, CV_COUNT_OF(table), on_closed, wp);
	wp->idle = cv_timer_add_stopped(wp->loop, on_idle, wp);
	wp->last_words = cv_timer_add_stopped(wp->loop, on_last_words, wp);
	wp->host = (struct cv_session_host){ .loop = wp->loop, .registry = args->registry, .conf = args->conf, .user_name = args->user,
		.state = on_state, .job_reply = on_job_reply, .give_back = on_give_back, .ask = on_ask, .may_sleep = on_may_sleep,
		.sleep = on_sleep, .ended = on_ended, .ctx = wp };
	cv_session_host_init(&wp->host);
	wp->fronts = (struct worker_fronts){ .begins = on_front_job, .all_gone = on_fronts_gone, .ctx = wp };
	worker_fronts_init(&wp->fronts, &wp->host);
	wp->ended = (struct worker_ended){ .tell = tell_ended, .ctx = wp };
	worker_ended_init(&wp->ended, wp->loop);
	cv_buf_init(&nothing, 16);
	if (begin(wp, &err) < 0) {
		tell_failed(wp, &err);
		status = 1;
	} else {
		tell(wp, CV_MSG_WORKER_READY, 0, &nothing);
		look_idle(wp);
		keep_memory();
		cv_loop_on_quiet(wp->loop, QUIET_MS, on_quiet, wp);
		cv_loop_run(wp->loop);
	}
	cv_buf_deinit(&nothing);
	cv_user_close(&wp->host.user);
	worker_fronts_deinit(&wp->fronts);
	worker_ended_deinit(&wp->ended);
	cv_session_host_deinit(&wp->host);
	cv_timer_remove(&wp->idle);
	cv_timer_remove(&wp->last_words);
	cv_ipc_free(&wp->spawner);
	cv_loop_free(&wp->loop);
	cv_arena_free(&wp->arena);
	return status;
}

const struct cv_worker_entry cv_worker_entry = { .version = CV_WORKER_ENTRY_VERSION, .prewarm = prewarm, .prepare = worker_confine_prepare, .run = run };
