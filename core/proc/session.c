/* SPDX-License-Identifier: MIT
   The functions by which a protocol module's session part speaks to the worker (protocol.h). */
#include "core/proc/session-private.h"

#include <culver/hooks.h>
#include <culver/ipc.h>

#include <string.h>
#include <unistd.h>

#define CLOSE_FLUSH_MS 10000
/* A message a second at most tells what a session does. */
#define TELL_MS 1000
#define GIVE_MS 60000
/* Until those that are left are looked at: sessions that come and go shall not have each a round of the loop for that. */
#define LEFT_MS 200
#define ASK_PAYLOAD_MAX ((size_t)16 * 1024)
#define JOB_OCTETS_MAX ((size_t)2 * 1024 * 1024 * 1024)

/* ---- The host ----------------------------------------------------------------------------------------------------------- */

/* One step for each session that wants one, those that asked first first; input and timers of all come between the rounds. */
static void on_step(void *ctx)
{
	struct cv_session_host *host = ctx;
	struct cv_node now;

	/* Those that ask again wait for the next round. */
	cv_list_move(&now, &host->stepping);
	while (!cv_list_empty(&now)) {
		struct cv_session *session = cv_container(now.next, struct cv_session, step_node);
		cv_list_remove(&session->step_node);
		if (session->life == CV_SESSION_OPEN && session->protocol->step != NULL)
			session->protocol->step(session->state);
	}
	if (!cv_list_empty(&host->stepping))
		cv_timer_set(host->step_timer, 0);
}

static void on_sleepy(void *ctx)
{
	struct cv_session_host *host = ctx;

	host->sleepy_due = 0;
	cv_session_look_sleepy(host);
}

void cv_session_host_init(struct cv_session_host *host)
{
	cv_list_init(&host->sessions);
	cv_list_init(&host->jobs);
	cv_list_init(&host->stepping);
	cv_list_init(&host->asks);
	host->step_timer = cv_timer_add_stopped(host->loop, on_step, host);
	host->sleepy = cv_timer_add_stopped(host->loop, on_sleepy, host);
}

void cv_session_host_deinit(struct cv_session_host *host)
{
	cv_timer_remove(&host->step_timer);
	cv_timer_remove(&host->sleepy);
}

/* ---- Life of a session ---------------------------------------------------------------------------------------------------- */

static void tell(struct cv_session *session)
{
	if (session->told == session->shown)
		return;
	session->told = session->shown;
	session->host->state(session->host, session, session->shown, false);
}

static void on_tell(void *ctx)
{
	tell(ctx);
}

static void forget_asks(struct cv_session *session)
{
	struct cv_node *node, *next;

	cv_list_foreach(&session->host->asks, node, next) {
		struct cv_ask *ask = cv_container(node, struct cv_ask, node);
		if (ask->session == session)
			cv_ask_cancel(&ask);
	}
}

/* Hooks and protocol are done with it. */
static void leave(struct cv_session *session)
{
	struct cv_hook_session_end args = { .session = session };
	struct cv_err err = { 0 };

	if (session->hooked && cv_hook_run_session_end(session->host->registry, &args, &err) == CV_HOOK_ERROR)
		cv_warn(&session->log, "session_end: %s", err.text);
	session->hooked = false;
	if (session->state != NULL && session->protocol->end != NULL)
		session->protocol->end(session->state);
	session->state = NULL;
	forget_asks(session);
}

static void end_session(struct cv_session *session)
{
	uint64_t seconds = (cv_loop_now_ms(session->host->loop) - session->started_ms) / 1000;

	leave(session);
	cv_info(&session->log, "%s session ended: %s in=%llu out=%llu time=%llus", session->protocol->name,
		session->reason != NULL ? session->reason : "closed", (unsigned long long)cv_session_bytes_in(session),
		(unsigned long long)cv_session_bytes_out(session), (unsigned long long)seconds);
	cv_session_remove(session, false);
}

void cv_session_remove(struct cv_session *session, bool quiet)
{
	struct cv_session_host *host = session->host;

	if (quiet) {
		session->hooked = false;
		leave(session);
	} else {
		host->state(host, session, "", true);
	}
	cv_buf_deinit(&session->blob);
	cv_list_remove(&session->node);
	cv_list_remove(&session->step_node);
	cv_timer_remove(&session->tell);
	cv_timer_remove(&session->timeout);
	cv_timer_remove(&session->later);
	cv_stream_close_after_flush(&session->stream, CLOSE_FLUSH_MS);
	cv_arena_free(&session->arena);
	cv_free(session->data);
	cv_free(session);
	host->session_count--;
	/* Those that are left may all be waiting. */
	if (host->session_count > 0)
		cv_session_look_in(host, LEFT_MS);
	host->ended(host);
}

/* ---- Back to front ------------------------------------------------------------------------------------------------------------- */

static void give_back(struct cv_session *session)
{
	struct cv_str in;

	if (cv_stream_flush(session->stream) < 0) {
		cv_session_close(session, "the connection was lost");
		return;
	}
	if (cv_stream_unsent(session->stream) > 0)
		return;
	in = cv_stream_input(session->stream);
	if (in.len > CV_SESSION_BACK_MAX) {
		cv_session_close(session, "too much input for the next login");
		return;
	}
	uint64_t octets = cv_stream_bytes_out(session->stream);
	int fd = cv_stream_detach(session->stream);
	if (fd < 0) {
		cv_session_close(session, "the connection cannot be given back");
		return;
	}
	session->host->give_back(session->host, session, fd, octets, in);
	end_session(session);
}

void cv_session_give_back(struct cv_session *session, const char *reason)
{
	if (session->life != CV_SESSION_OPEN)
		return;
	session->life = CV_SESSION_GIVING;
	session->reason = reason != NULL ? cv_arena_strdup(session->arena, reason) : NULL;
	session->shown = "unauthenticated";
	cv_timer_set(session->timeout, GIVE_MS);
	cv_stream_pause(session->stream);
	/* The module is still on the stack. */
	cv_timer_set(session->later, 0);
}

static void on_later(void *ctx)
{
	struct cv_session *session = ctx;

	if (session->life == CV_SESSION_GIVING) {
		leave(session);
		give_back(session);
	} else {
		end_session(session);
	}
}

void cv_session_close(struct cv_session *session, const char *reason)
{
	if (session->life == CV_SESSION_CLOSING)
		return;
	session->life = CV_SESSION_CLOSING;
	session->reason = reason != NULL ? cv_arena_strdup(session->arena, reason) : NULL; /* the caller may have made it up */
	cv_timer_stop(session->timeout);
	cv_stream_pause(session->stream);
	/* The module is still on the stack. */
	cv_timer_set(session->later, 0);
}

void cv_session_goodbye(struct cv_session *session, const char *reason)
{
	if (session->life == CV_SESSION_CLOSING)
		return;
	if (session->state != NULL && session->protocol->goodbye != NULL)
		session->protocol->goodbye(session->state, reason);
	cv_session_close(session, reason);
}

static void on_input(void *ctx)
{
	struct cv_session *session = ctx;

	if (session->life != CV_SESSION_OPEN)
		return;
	session->input_ms = cv_loop_now_ms(session->host->loop);
	session->protocol->input(session->state);
	if (session->life != CV_SESSION_OPEN)
		return;
	/* What the protocol does with an end of input is its own; a broken connection is over. */
	const char *error = cv_stream_error(session->stream);
	if (error != NULL)
		cv_session_close(session, cv_arena_strdup(session->arena, error));
}

static void on_output(void *ctx)
{
	struct cv_session *session = ctx;

	if (session->life == CV_SESSION_GIVING && session->state == NULL)
		give_back(session);
	else if (session->life == CV_SESSION_OPEN && session->protocol->output != NULL)
		session->protocol->output(session->state);
}

static const struct cv_stream_ops stream_ops = { .input = on_input, .output = on_output };

static void on_timeout(void *ctx)
{
	struct cv_session *session = ctx;
	uint64_t now = cv_loop_now_ms(session->host->loop), due = session->input_ms + session->timeout_ms;

	if (session->life == CV_SESSION_GIVING)
		cv_session_close(session, "the connection could not be given back");
	if (session->timeout_ms == 0 || session->life != CV_SESSION_OPEN)
		return;
	if (now < due) {
		cv_timer_set(session->timeout, due - now);
		return;
	}
	session->input_ms = now;
	cv_timer_set(session->timeout, session->timeout_ms);
	if (session->protocol->timeout != NULL)
		session->protocol->timeout(session->state);
	else
		cv_session_goodbye(session, "timeout");
}

static void start(struct cv_session *session, struct cv_str resume)
{
	struct cv_session_host *host = session->host;
	struct cv_hook_session_start args = { .session = session };
	struct cv_err err = { 0 };

	enum cv_hook_result result = cv_hook_run_session_start(host->registry, &args, &err);
	if (result == CV_HOOK_DENY || result == CV_HOOK_ERROR) {
		cv_warn(&session->log, "%s session refused: %s", session->protocol->name, err.text);
		if (session->protocol->refuse != NULL)
			session->protocol->refuse(session, resume, &err);
		cv_session_close(session, "refused by a plugin");
		return;
	}
	session->hooked = true;
	session->state = session->protocol->start(session, resume, &err);
	if (session->state == NULL) {
		/* Another session is there, or it comes too early: nobody has to do anything about it. */
		if (err.code == CV_ERR_INUSE || err.code == CV_ERR_LIMIT)
			cv_info(&session->log, "%s session was not started: %s", session->protocol->name, err.text);
		else
			cv_error(&session->log, "%s session could not start: %s", session->protocol->name, err.text);
		cv_session_close(session, "could not start");
		return;
	}
	if (session->life == CV_SESSION_OPEN && cv_stream_input(session->stream).len > 0)
		cv_stream_want_input(session->stream);
}

/* One that slept: its session_start was at its login. */
static void wake(struct cv_session *session, const struct cv_session_config *config)
{
	struct cv_session_wake wake = { .keepalive_in_ms = config->keepalive_in_ms };
	struct cv_err err = { 0 };

	session->hooked = true;
	if (!cv_session_take_saved(session, config->saved, &wake) || session->protocol->wake == NULL)
		(void)cv_err_set(&err, CV_ERR_INTERNAL, "what was kept of it does not fit");
	else
		session->state = session->protocol->wake(session, &wake, &err);
	if (session->state == NULL) {
		cv_error(&session->log, "%s session could not go on: %s", session->protocol->name, err.text);
		cv_session_close(session, "could not go on");
	} else if (session->life == CV_SESSION_OPEN && cv_stream_input(session->stream).len > 0) {
		cv_stream_want_input(session->stream);
	}
}

void cv_session_begin(struct cv_session_host *host, const struct cv_session_config *config)
{
	struct cv_session *session = cv_new0(struct cv_session);

	session->host = host;
	session->protocol = config->protocol;
	session->arena = cv_arena_new("session", NULL, 0);
	session->life = CV_SESSION_OPEN;
	session->id = cv_arena_str(session->arena, config->id);
	session->remote = config->remote.ptr != NULL ? cv_arena_str(session->arena, config->remote) : (struct cv_str){ 0 };
	session->local = config->local.ptr != NULL ? cv_arena_str(session->arena, config->local) : (struct cv_str){ 0 };
	session->local_name = cv_arena_str(session->arena, config->local_name);
	session->tls = cv_arena_str(session->arena, config->tls);
	session->remote_port = config->remote_port;
	session->local_port = config->local_port;
	session->secured = config->secured;
	session->relayed = config->tls.len > 0;
	session->shown = session->told = "";
	session->log = (struct cv_log_ctx){ .category = config->protocol->name, .session = session->id, .user = cv_str_c(host->user_name),
		.remote = session->remote };
	session->started_ms = session->input_ms = session->awake_ms = cv_loop_now_ms(host->loop);
	cv_buf_init(&session->blob, CV_SLEEP_SAVED_MAX);
	session->data = cv_calloc((size_t)cv_slot_count(host->registry) + 1, sizeof(void *));
	session->tell = cv_timer_add_stopped(host->loop, on_tell, session);
	session->timeout = cv_timer_add_stopped(host->loop, on_timeout, session);
	session->later = cv_timer_add_stopped(host->loop, on_later, session);
	cv_list_append(&host->sessions, &session->node);
	host->session_count++;
	size_t max_input = CV_MAX(config->protocol->max_input, config->unread.len);
	session->stream = cv_stream_new_socket(host->loop, config->fd, !session->relayed && session->remote.len > 0, max_input, config->protocol->max_output);
	cv_stream_set_ops(session->stream, &stream_ops, session);
	if (config->unread.len > 0 && cv_stream_unread(session->stream, config->unread) < 0) {
		cv_session_close(session, "too much input before the login was done");
		return;
	}
	if (config->saved.ptr != NULL)
		wake(session, config);
	else
		start(session, config->resume);
}

struct cv_session *cv_session_find(const struct cv_session_host *host, struct cv_str id)
{
	struct cv_node *node, *next;

	cv_list_foreach(&host->sessions, node, next) {
		struct cv_session *session = cv_container(node, struct cv_session, node);
		if (cv_str_eq(session->id, id))
			return session;
	}
	return NULL;
}

/* ---- What modules ask -------------------------------------------------------------------------------------------------------- */

struct cv_stream *cv_session_stream(struct cv_session *session)
{
	return session->stream;
}

struct cv_user *cv_session_user(struct cv_session *session)
{
	return session->host->user;
}

struct cv_arena *cv_session_arena(struct cv_session *session)
{
	return session->arena;
}

const struct cv_log_ctx *cv_session_log(struct cv_session *session)
{
	return &session->log;
}

struct cv_loop *cv_session_loop(struct cv_session *session)
{
	return session->host->loop;
}

struct cv_str cv_session_id(const struct cv_session *session)
{
	return session->id;
}

struct cv_str cv_session_remote(const struct cv_session *session)
{
	return session->remote;
}

bool cv_session_secured(const struct cv_session *session)
{
	return session->secured;
}

const struct cv_registry *cv_session_registry(const struct cv_session *session)
{
	return session->host->registry;
}

void **cv_session_data(struct cv_session *session, unsigned slot)
{
	cv_assert(slot < cv_slot_count(session->host->registry));
	return &session->data[slot];
}

const void *cv_session_conf(struct cv_session *session, const struct cv_settings_table *table)
{
	struct cv_conf_filter filter = { .protocol = session->protocol->name, .local_name = session->local_name,
		.local_addr = session->local.len > 0 ? session->local.ptr : NULL,
		.remote_addr = session->remote.len > 0 ? session->remote.ptr : NULL };
	const void *set;
	struct cv_err err = { 0 };

	for (unsigned i = 0; i < session->cached_count; i++) {
		if (session->cached[i].table == table)
			return session->cached[i].set;
	}
	if (cv_conf_get_shared(session->host->conf, table, &filter, session->arena, &set, &err) < 0)
		cv_fatal("settings that were checked cannot be read: %s", err.text);
	if (session->cached_count < CV_COUNT_OF(session->cached)) {
		session->cached[session->cached_count].table = table;
		session->cached[session->cached_count++].set = set;
	}
	return set;
}

void cv_session_want_step(struct cv_session *session)
{
	if (session->step_node.next != NULL || session->life != CV_SESSION_OPEN)
		return;
	if (cv_list_empty(&session->host->stepping))
		cv_timer_set(session->host->step_timer, 0);
	cv_list_append(&session->host->stepping, &session->step_node);
}

void cv_session_set_timeout(struct cv_session *session, uint64_t ms)
{
	if (session->timeout_ms == ms)
		return;
	session->timeout_ms = ms;
	if (ms == 0) {
		cv_timer_stop(session->timeout);
		return;
	}
	uint64_t now = cv_loop_now_ms(session->host->loop), due = session->input_ms + ms;
	cv_timer_set(session->timeout, due > now ? due - now : 0);
}

void cv_session_set_state(struct cv_session *session, const char *state)
{
	if (session->shown == session->told && state != session->shown)
		cv_timer_set(session->tell, TELL_MS);
	session->shown = state;
}

/* ---- Questions to other users' workers ------------------------------------------------------------------------------------------ */

int cv_session_ask(struct cv_session *session, struct cv_str user, const char *protocol, struct cv_str payload, cv_ask_fn *fn, void *ctx,
	struct cv_ask **ask_r, struct cv_err *err)
{
	struct cv_session_host *host = session->host;
	struct cv_ask *ask;

	if (host->ask == NULL)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "there is nobody to ask for other users");
	if (payload.len > ASK_PAYLOAD_MAX)
		return cv_err_set(err, CV_ERR_INVALID, "a question of %zu octets is too long", payload.len);
	if (host->ask(host, host->last_ask + 1, user, protocol, session->id, payload, err) < 0)
		return -1;
	ask = cv_new0(struct cv_ask);
	*ask = (struct cv_ask){ .session = session, .id = ++host->last_ask, .fn = fn, .ctx = ctx };
	cv_list_append(&host->asks, &ask->node);
	*ask_r = ask;
	return 0;
}

void cv_ask_cancel(struct cv_ask **ask)
{
	if (*ask == NULL)
		return;
	cv_list_remove(&(*ask)->node);
	cv_free(*ask);
	*ask = NULL;
}

void cv_session_answer(struct cv_session_host *host, uint64_t id, struct cv_ask_reply *reply)
{
	struct cv_node *node, *next;

	cv_list_foreach(&host->asks, node, next) {
		struct cv_ask *ask = cv_container(node, struct cv_ask, node);
		if (ask->id != id)
			continue;
		cv_ask_fn *fn = ask->fn;
		void *ctx = ask->ctx;
		cv_ask_cancel(&ask);
		fn(ctx, reply);
		return;
	}
}

/* ---- Jobs ---------------------------------------------------------------------------------------------------------------------- */

static void end_job(struct cv_job *job)
{
	struct cv_session_host *host = job->host;

	cv_list_remove(&job->node);
	if (job->octets.ptr != NULL)
		cv_memfd_unmap(job->octets);
	cv_arena_free(&job->arena);
	cv_free(job);
	host->job_count--;
	host->ended(host);
}

static void reply(struct cv_job *job, const struct cv_err *err, struct cv_str data, int memfd)
{
	struct cv_err too_long = { 0 };

	if (data.len > CV_LOGIN_PAYLOAD_MAX) {
		(void)cv_err_set(&too_long, CV_ERR_INTERNAL, "the answer of a job is too long");
		err = &too_long;
		data = CV_STR("");
	}
	job->host->job_reply(job->host, job->id, err, data, memfd);
	end_job(job);
}

void cv_job_reply(struct cv_job *job, const struct cv_err *err, struct cv_str data)
{
	reply(job, err, data, -1);
}

void cv_job_reply_memfd(struct cv_job *job, struct cv_str data, int memfd)
{
	reply(job, NULL, data, memfd);
}

void cv_job_begin(struct cv_session_host *host, uint64_t id, const struct cv_session_protocol *protocol, struct cv_str session,
	struct cv_str remote, struct cv_str payload, struct cv_str asker, int memfd)
{
	struct cv_job *job = cv_new0(struct cv_job);
	struct cv_err err = { 0 };

	job->host = host;
	job->id = id;
	job->protocol = protocol;
	job->arena = cv_arena_new("job", NULL, 0);
	job->session = cv_arena_str(job->arena, session);
	job->remote = remote.ptr != NULL ? cv_arena_str(job->arena, remote) : (struct cv_str){ 0 };
	job->payload = cv_arena_str(job->arena, payload);
	job->asker = asker.ptr != NULL ? cv_arena_str(job->arena, asker) : (struct cv_str){ 0 };
	job->log = (struct cv_log_ctx){ .category = protocol->name, .session = job->session, .user = cv_str_c(host->user_name),
		.remote = job->remote };
	cv_list_append(&host->jobs, &job->node);
	host->job_count++;
	if (memfd >= 0 && cv_memfd_map(memfd, JOB_OCTETS_MAX, &job->octets, &err) < 0) {
		job->octets = (struct cv_str){ 0 };
		cv_job_reply(job, &err, CV_STR(""));
		return;
	}
	if (protocol->job(job, &err) < 0)
		cv_job_reply(job, &err, CV_STR(""));
}

struct cv_user *cv_job_user(struct cv_job *job)
{
	return job->host->user;
}

struct cv_str cv_job_payload(const struct cv_job *job)
{
	return job->payload;
}

struct cv_str cv_job_octets(const struct cv_job *job)
{
	return job->octets;
}

struct cv_str cv_job_asker(const struct cv_job *job)
{
	return job->asker;
}

const struct cv_log_ctx *cv_job_log(struct cv_job *job)
{
	return &job->log;
}

struct cv_arena *cv_job_arena(struct cv_job *job)
{
	return job->arena;
}

const void *cv_job_conf(struct cv_job *job, const struct cv_settings_table *table)
{
	struct cv_conf_filter filter = { .protocol = job->protocol->name, .remote_addr = job->remote.len > 0 ? job->remote.ptr : NULL };
	const void *set;
	struct cv_err err = { 0 };

	if (cv_conf_get_shared(job->host->conf, table, &filter, job->arena, &set, &err) < 0)
		cv_fatal("settings that were checked cannot be read: %s", err.text);
	return set;
}
