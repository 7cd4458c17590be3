/* SPDX-License-Identifier: MIT
   Helpers: a queue of jobs for each kind, and as many processes as it takes, up to a maximum. */
#include <config.h>

#include "core/proc/auth-pool.h"

#include <culver/log.h>
#include <culver/map.h>
#include <culver/reader.h>

#include <signal.h>
#include <sys/wait.h>

#define START_RETRY_MS 1000 /* after a helper could not be started, or died before it was ready */

static const struct cv_log_ctx log_ctx = { .category = "auth" };

struct auth_job {
	struct cv_node node;
	struct auth_pool *pool;
	struct kind *kind;
	struct helper *helper;   /* that works on it */
	bool waiting;            /* in kind->waiting */
	struct cv_buf message;   /* wiping: the REQUEST */
	struct cv_timer *timer;  /* until it has waited, or worked, too long */
	auth_job_fn *done;
	auth_job_row_fn *row;
	void *ctx;
	bool cancelled;
};

enum helper_state { HELPER_STARTING, HELPER_SETTING_UP, HELPER_IDLE, HELPER_BUSY, HELPER_ENDING };

struct helper {
	struct cv_node node;
	struct kind *kind;
	enum helper_state state;
	uint64_t id;             /* of START, and of its present job */
	uint32_t pid;
	unsigned generation;     /* of settings */
	struct cv_ipc *ipc;
	struct auth_job *job;
	struct cv_timer *idle;
};

struct kind {
	struct auth_pool *pool;
	enum cv_helper_kind kind;
	struct cv_node helpers;
	size_t helper_count;
	struct cv_node waiting;
	size_t waiting_count;
	struct cv_timer *retry;
	bool holding;            /* no new helper before retry */
};

struct auth_pool {
	struct cv_loop *loop;
	struct cv_ipc *starter;
	struct auth_pool_limits limits;
	void (*lost)(void *ctx);
	void *ctx;
	struct kind kinds[2];
	struct cv_node refused; /* jobs that will be told so in the next round */
	uint64_t next_id;
	unsigned generation;
	bool has_conf;
};

static void run_waiting(struct kind *kind);

/* ---- Jobs --------------------------------------------------------------------------------------------------- */

static void stop_waiting(struct auth_job *job)
{
	if (!job->waiting)
		return;
	job->waiting = false;
	job->kind->waiting_count--;
	cv_list_remove(&job->node);
}

static void job_free(struct auth_job *job)
{
	stop_waiting(job);
	cv_list_remove(&job->node);
	cv_timer_remove(&job->timer);
	cv_buf_deinit(&job->message);
	cv_free(job);
}

/* Answer and free. */
static void job_done(struct auth_job *job, const struct auth_job_answer *answer)
{
	auth_job_fn *done = job->cancelled ? NULL : job->done;
	void *ctx = job->ctx;

	job_free(job);
	if (done != NULL)
		done(ctx, answer);
}

static void job_failed(struct auth_job *job, const char *why)
{
	struct cv_err err = { 0 };
	struct auth_job_answer answer = { .result = CV_AUTH_TEMP, .err = &err };

	(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, "%s", why);
	job_done(job, &answer);
}

/* ---- Helpers ------------------------------------------------------------------------------------------------ */

static void helper_free(struct helper *helper)
{
	cv_list_remove(&helper->node);
	helper->kind->helper_count--;
	cv_timer_remove(&helper->idle);
	cv_ipc_free(&helper->ipc);
	cv_free(helper);
}

static void kill_helper(struct helper *helper)
{
	struct auth_pool *pool = helper->kind->pool;
	struct cv_buf out;

	cv_buf_init(&out, 8);
	cv_put_u32(&out, helper->pid);
	if (cv_ipc_send(pool->starter, CV_HELPER_KILL, 0, cv_buf_str(&out), NULL, 0) < 0)
		cv_error(&log_ctx, "the helper with pid %u could not be killed", helper->pid);
	cv_buf_deinit(&out);
}

/* The job fails, the helper is of no use any more. */
static void helper_lost(struct helper *helper, const char *why)
{
	struct kind *kind = helper->kind;
	struct auth_job *job = helper->job;

	if (helper->state == HELPER_STARTING || helper->state == HELPER_SETTING_UP) {
		kind->holding = true;
		cv_timer_set(kind->retry, START_RETRY_MS);
	}
	helper_free(helper);
	if (job != NULL) {
		cv_error(&log_ctx, "%s: its request is answered as a temporary failure", why);
		job_failed(job, why);
	}
	run_waiting(kind);
}

/* Its channel and its starter both tell, in either order. */
static void helper_ended(struct helper *helper)
{
	helper_lost(helper, helper->job != NULL ? "the helper process ended while it worked" : "the helper process ended");
}

static void on_idle(void *ctx)
{
	struct helper *helper = ctx;

	/* The last one stays, so that a quiet server answers at once. Closing the channel ends the process. */
	if (helper->kind->helper_count > 1)
		helper_free(helper);
}

static void helper_idle(struct helper *helper)
{
	helper->state = HELPER_IDLE;
	cv_timer_set(helper->idle, helper->kind->pool->limits.idle_ms);
}

/* One that knows old settings only ends when it has nothing to do. */
static void drop_outdated(struct helper *helper)
{
	if (helper->state == HELPER_IDLE && helper->generation != helper->kind->pool->generation)
		helper_free(helper);
}

static int on_ready(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct helper *helper = ctx;
	struct kind *kind = helper->kind;

	(void)ipc;
	if (!cv_reader_end(&msg->payload) || helper->state != HELPER_SETTING_UP)
		return -1;
	helper_idle(helper);
	drop_outdated(helper);
	run_waiting(kind);
	return 0;
}

static int on_row(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct helper *helper = ctx;
	struct cv_str user;

	(void)ipc;
	if (!cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &user) || !cv_reader_end(&msg->payload) || helper->state != HELPER_BUSY ||
		msg->id != helper->id)
		return -1;
	/* Slow lists are not hung ones. */
	cv_timer_set(helper->job->timer, helper->kind->pool->limits.job_ms);
	if (!helper->job->cancelled && helper->job->row != NULL)
		helper->job->row(helper->job->ctx, user);
	return 0;
}

static int on_result(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct helper *helper = ctx;
	struct kind *kind = helper->kind;
	struct cv_arena *arena = cv_arena_new("helper results", NULL, CV_ARENA_WIPE);
	struct cv_auth_request results = { .arena = arena };
	struct auth_job *job = helper->job;
	struct auth_job_answer answer = { .results = &results };
	struct cv_err err = { 0 };
	uint8_t result, retire, code, public_text;
	struct cv_str text;
	bool ok;

	(void)ipc;
	ok = helper->state == HELPER_BUSY && msg->id == helper->id && cv_take_u8(&msg->payload, &result) && result >= CV_AUTH_OK &&
		result <= CV_AUTH_TEMP && cv_take_u8(&msg->payload, &retire) &&
		cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &answer.stored) && cv_take_u8(&msg->payload, &code) &&
		code <= CV_ERR_LAST && cv_take_u8(&msg->payload, &public_text) &&
		cv_take_str(&msg->payload, CV_ERR_TEXT_MAX, &text) && cv_helper_take_results(&msg->payload, &results) &&
		cv_reader_end(&msg->payload);
	if (ok) {
		if (public_text != 0)
			(void)cv_err_set_public(&err, (enum cv_err_code)code, "%.*s", CV_STR_ARG(text));
		else if (code != CV_ERR_NONE)
			(void)cv_err_set(&err, (enum cv_err_code)code, "%.*s", CV_STR_ARG(text));
		answer.result = (enum cv_auth_result)result;
		answer.err = &err;
		helper->job = NULL;
		if (retire != 0) {
			/* It ends by itself: its channel is closed here, so that its end is no surprise. */
			helper_free(helper);
			job_done(job, &answer);
		} else {
			/* What the answer leads to may give this helper work at once. */
			helper_idle(helper);
			job_done(job, &answer);
			drop_outdated(helper);
		}
		run_waiting(kind);
	}
	cv_arena_free(&arena);
	return ok ? 0 : -1;
}

/* pid 0: the starter. */
static int log_line(struct cv_ipc_msg *msg, uint32_t pid)
{
	struct cv_str line;
	uint8_t level;
	size_t end;

	if (!cv_take_u8(&msg->payload, &level) || level > CV_LOG_DEBUG || !cv_take_str(&msg->payload, 4096, &line) ||
		!cv_reader_end(&msg->payload))
		return -1;
	/* Without "level role[pid] ", which our own log puts there. */
	end = cv_str_find(line, ']');
	if (end != SIZE_MAX)
		line = cv_str_trim(cv_str_sub(line, end + 1, SIZE_MAX));
	if (pid == 0)
		cv_log(&log_ctx, (enum cv_log_level)level, "starter: %.*s", CV_STR_ARG(line));
	else
		cv_log(&log_ctx, (enum cv_log_level)level, "helper %u: %.*s", pid, CV_STR_ARG(line));
	return 0;
}

static int on_log(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	const struct helper *helper = ctx;

	(void)ipc;
	return log_line(msg, helper->pid);
}

static const struct cv_ipc_type helper_table[] = {
	{ CV_HELPER_READY, "READY", 0, 0, 0, 0, on_ready },
	{ CV_HELPER_RESULT, "RESULT", CV_IPC_MAX_PAYLOAD, 0, 0, 0, on_result },
	{ CV_HELPER_ROW, "ROW", 8192, 0, 0, 0, on_row },
	{ CV_HELPER_LOG, "LOG", 8192, 0, 0, 0, on_log },
};

static void on_helper_closed(void *ctx, struct cv_ipc *ipc)
{
	struct helper *helper = ctx;

	(void)ipc;
	helper_ended(helper);
}

static void start_helper(struct kind *kind)
{
	struct auth_pool *pool = kind->pool;
	struct helper *helper = cv_new0(struct helper);
	struct cv_buf out;

	helper->kind = kind;
	helper->state = HELPER_STARTING;
	helper->id = ++pool->next_id;
	helper->generation = pool->generation;
	helper->idle = cv_timer_add_stopped(pool->loop, on_idle, helper);
	cv_list_append(&kind->helpers, &helper->node);
	kind->helper_count++;
	cv_buf_init(&out, 8);
	cv_put_u8(&out, (uint8_t)kind->kind);
	/* When the starter is gone, its channel says so. */
	(void)!cv_ipc_send(pool->starter, CV_HELPER_START, helper->id, cv_buf_str(&out), NULL, 0);
	cv_buf_deinit(&out);
}

/* ---- Queue -------------------------------------------------------------------------------------------------- */

static void on_job_timeout(void *ctx)
{
	struct auth_job *job = ctx;

	if (job->helper == NULL && !job->waiting) {
		job_failed(job, "the request was not taken");
		return;
	}
	if (job->waiting) {
		cv_error(&log_ctx, "no helper was free for %llu ms: more of them (auth_worker_max_count) or faster databases are needed",
			(unsigned long long)job->pool->limits.wait_ms);
		job_failed(job, "no helper was free in time");
		return;
	}
	cv_error(&log_ctx, "the helper with pid %u did not answer in %llu ms (auth_worker_timeout): killed", job->helper->pid,
		(unsigned long long)job->pool->limits.job_ms);
	kill_helper(job->helper);
	helper_lost(job->helper, "the helper process did not answer in time");
}

static struct helper *idle_helper(struct kind *kind)
{
	struct cv_node *node, *next;

	cv_list_foreach(&kind->helpers, node, next) {
		struct helper *helper = cv_container(node, struct helper, node);

		if (helper->state == HELPER_IDLE && helper->job == NULL && helper->generation == kind->pool->generation)
			return helper;
	}
	return NULL;
}

static size_t helpers_coming(const struct kind *kind)
{
	size_t n = 0;

	for (const struct cv_node *node = kind->helpers.next; node != &kind->helpers; node = node->next) {
		const struct helper *helper = cv_container((uintptr_t)node, struct helper, node);

		n += helper->state == HELPER_STARTING || helper->state == HELPER_SETTING_UP;
	}
	return n;
}

static bool give(struct helper *helper, struct auth_job *job)
{
	helper->id = ++job->pool->next_id;
	cv_timer_stop(helper->idle);
	if (cv_ipc_send(helper->ipc, CV_HELPER_REQUEST, helper->id, cv_buf_str(&job->message), NULL, 0) < 0)
		return false;
	helper->state = HELPER_BUSY;
	helper->job = job;
	job->helper = helper;
	stop_waiting(job);
	cv_buf_deinit(&job->message);
	cv_timer_set(job->timer, job->pool->limits.job_ms);
	return true;
}

static void run_waiting(struct kind *kind)
{
	struct auth_pool *pool = kind->pool;

	while (!cv_list_empty(&kind->waiting)) {
		struct auth_job *job = cv_container(kind->waiting.next, struct auth_job, node);
		struct helper *helper = idle_helper(kind);

		if (helper == NULL)
			break;
		/* A channel that does not take it is about to be reported closed. */
		if (!give(helper, job))
			helper->state = HELPER_ENDING;
	}
	if (!pool->has_conf || kind->holding)
		return;
	while (kind->waiting_count > helpers_coming(kind) && kind->helper_count < pool->limits.max_helpers)
		start_helper(kind);
}

static void on_retry(void *ctx)
{
	struct kind *kind = ctx;

	kind->holding = false;
	run_waiting(kind);
}

struct auth_job *auth_pool_submit(struct auth_pool *pool, const struct auth_job_spec *spec)
{
	struct auth_job *job = cv_new0(struct auth_job);
	struct kind *kind = &pool->kinds[spec->kind == CV_HELPER_ROOT];
	bool ok;

	job->pool = pool;
	job->kind = kind;
	job->done = spec->done;
	job->row = spec->row;
	job->ctx = spec->ctx;
	cv_buf_init_wipe(&job->message, CV_IPC_MAX_PAYLOAD);
	cv_put_u8(&job->message, (uint8_t)spec->op);
	cv_put_str(&job->message, cv_str_c(spec->database));
	cv_put_str(&job->message, spec->secret);
	cv_put_str(&job->message, spec->stored);
	cv_put_str(&job->message, cv_str_c(spec->default_scheme));
	cv_helper_put_request(&job->message, spec->request);
	ok = cv_buf_ok(&job->message) && kind->waiting_count < pool->limits.max_waiting;
	if (!ok)
		cv_error(&log_ctx, cv_buf_ok(&job->message) ? "too many requests wait for a helper" : "a request is too large for a helper");
	/* What can't be done fails in the next round, not within this call. */
	job->timer = cv_timer_add(pool->loop, ok ? pool->limits.wait_ms : 0, on_job_timeout, job);
	if (ok) {
		job->waiting = true;
		kind->waiting_count++;
		cv_list_append(&kind->waiting, &job->node);
		run_waiting(kind);
	} else {
		cv_list_append(&pool->refused, &job->node);
	}
	return job;
}

void auth_job_cancel(struct auth_job **job_p)
{
	struct auth_job *job = *job_p;

	*job_p = NULL;
	if (job == NULL)
		return;
	job->cancelled = true;
	/* A helper that works on it goes on to the end. */
	if (job->helper == NULL)
		job_free(job);
}

/* ---- Starter ------------------------------------------------------------------------------------------------ */

static struct helper *find_helper(struct auth_pool *pool, uint64_t id, uint32_t pid)
{
	for (size_t i = 0; i < CV_COUNT_OF(pool->kinds); i++) {
		struct cv_node *node, *next;

		cv_list_foreach(&pool->kinds[i].helpers, node, next) {
			struct helper *helper = cv_container(node, struct helper, node);

			if (pid != 0 ? helper->pid == pid : helper->state == HELPER_STARTING && helper->id == id)
				return helper;
		}
	}
	return NULL;
}

static int on_started(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_pool *pool = ctx;
	struct helper *helper = find_helper(pool, msg->id, 0);
	uint32_t pid;

	(void)ipc;
	if (!cv_take_u32(&msg->payload, &pid) || !cv_reader_end(&msg->payload))
		return -1;
	/* Not wanted any more: the closed channel ends it. */
	if (helper == NULL)
		return 0;
	helper->pid = pid;
	helper->state = HELPER_SETTING_UP;
	helper->ipc = cv_ipc_new(pool->loop, msg->fds[0], "helper", helper_table, CV_COUNT_OF(helper_table), on_helper_closed, helper);
	msg->fds[0] = -1;
	return 0;
}

static int on_failed(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_pool *pool = ctx;
	struct helper *helper = find_helper(pool, msg->id, 0);
	struct cv_str text;

	(void)ipc;
	if (!cv_take_str(&msg->payload, CV_ERR_TEXT_MAX, &text) || !cv_reader_end(&msg->payload))
		return -1;
	cv_error(&log_ctx, "a helper could not be started: %.*s", CV_STR_ARG(text));
	if (helper != NULL)
		helper_lost(helper, "the helper process could not be started");
	return 0;
}

static int on_exited(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct auth_pool *pool = ctx;
	struct helper *helper;
	uint32_t pid, status;

	(void)ipc;
	if (!cv_take_u32(&msg->payload, &pid) || !cv_take_u32(&msg->payload, &status) || !cv_reader_end(&msg->payload))
		return -1;
	if (WIFSIGNALED((int)status) && WTERMSIG((int)status) != SIGKILL)
		cv_error(&log_ctx, "helper %u crashed (signal %d)", pid, WTERMSIG((int)status));
	else if (WIFEXITED((int)status) && WEXITSTATUS((int)status) != 0)
		cv_error(&log_ctx, "helper %u ended with status %d", pid, WEXITSTATUS((int)status));
	helper = find_helper(pool, 0, pid);
	if (helper != NULL)
		helper_ended(helper);
	return 0;
}

static int on_starter_log(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	(void)ctx;
	(void)ipc;
	return log_line(msg, 0);
}

static const struct cv_ipc_type starter_table[] = {
	{ CV_HELPER_LOG, "LOG", 8192, 0, 0, 0, on_starter_log },
	{ CV_HELPER_STARTED, "STARTED", 4, 1, 1, 0, on_started },
	{ CV_HELPER_FAILED, "FAILED", 1024, 0, 0, 0, on_failed },
	{ CV_HELPER_EXITED, "EXITED", 8, 0, 0, 0, on_exited },
};

static void on_starter_closed(void *ctx, struct cv_ipc *ipc)
{
	struct auth_pool *pool = ctx;

	(void)ipc;
	pool->lost(pool->ctx);
}

struct auth_pool *auth_pool_new(struct cv_loop *loop, int fd, const struct auth_pool_limits *limits, void (*lost)(void *ctx), void *ctx)
{
	struct auth_pool *pool = cv_new0(struct auth_pool);

	pool->loop = loop;
	pool->limits = *limits;
	pool->lost = lost;
	pool->ctx = ctx;
	pool->starter = cv_ipc_new(loop, fd, "auth-starter", starter_table, CV_COUNT_OF(starter_table), on_starter_closed, pool);
	for (size_t i = 0; i < CV_COUNT_OF(pool->kinds); i++) {
		struct kind *kind = &pool->kinds[i];

		kind->pool = pool;
		kind->kind = i == 0 ? CV_HELPER_PLAIN : CV_HELPER_ROOT;
		cv_list_init(&kind->helpers);
		cv_list_init(&kind->waiting);
		kind->retry = cv_timer_add_stopped(loop, on_retry, kind);
	}
	cv_list_init(&pool->refused);
	return pool;
}

static void send_modules(struct auth_pool *pool, const char *const *modules)
{
	struct cv_buf out;
	uint16_t count = 0;

	while (modules[count] != NULL)
		count++;
	cv_buf_init(&out, 32768);
	cv_put_u16(&out, count);
	for (size_t i = 0; i < count; i++)
		cv_put_str(&out, cv_str_c(modules[i]));
	if (!cv_buf_ok(&out))
		cv_fatal("the names of all modules do not fit into a message");
	(void)!cv_ipc_send(pool->starter, CV_HELPER_MODULES, 0, cv_buf_str(&out), NULL, 0);
	cv_buf_deinit(&out);
}

void auth_pool_set_conf(struct auth_pool *pool, const char *const *modules, int memfd, uint64_t max_helpers, uint64_t job_ms)
{
	send_modules(pool, modules);
	pool->limits.max_helpers = max_helpers;
	pool->limits.job_ms = job_ms;
	pool->generation++;
	pool->has_conf = true;
	(void)!cv_ipc_send(pool->starter, CV_HELPER_CONF, 0, CV_STR(""), &memfd, 1);
	for (size_t i = 0; i < CV_COUNT_OF(pool->kinds); i++) {
		struct cv_node *node, *next;

		cv_list_foreach(&pool->kinds[i].helpers, node, next) {
			struct helper *helper = cv_container(node, struct helper, node);

			if (helper->state == HELPER_IDLE)
				helper_free(helper);
		}
		run_waiting(&pool->kinds[i]);
	}
}

void auth_pool_free(struct auth_pool **pool_p)
{
	struct auth_pool *pool = *pool_p;

	*pool_p = NULL;
	if (pool == NULL)
		return;
	for (size_t i = 0; i < CV_COUNT_OF(pool->kinds); i++) {
		struct kind *kind = &pool->kinds[i];
		struct cv_node *node, *next;

		cv_list_foreach(&kind->waiting, node, next)
			job_free(cv_container(node, struct auth_job, node));
		cv_list_foreach(&kind->helpers, node, next) {
			struct helper *helper = cv_container(node, struct helper, node);

			if (helper->job != NULL)
				job_free(helper->job);
			helper_free(helper);
		}
		cv_timer_remove(&kind->retry);
	}
	while (!cv_list_empty(&pool->refused))
		job_free(cv_container(pool->refused.next, struct auth_job, node));
	cv_ipc_free(&pool->starter);
	cv_free(pool);
}

size_t auth_pool_waiting(const struct auth_pool *pool)
{
	return pool->kinds[0].waiting_count + pool->kinds[1].waiting_count;
}

size_t auth_pool_helpers(const struct auth_pool *pool)
{
	return pool->kinds[0].helper_count + pool->kinds[1].helper_count;
}
