/* SPDX-License-Identifier: MIT
   cv_session_* for unit tests of what runs after login. */
#include <config.h>

#include "modules/lib/imap/imap-text.h"
#include "t/lib/fake-session.h"

#include <culver/settings.h>

#include <string.h>
#include <unistd.h>

/* ---- The worker --------------------------------------------------------------------------------------- */

static const struct cv_conf *empty_conf(struct cv_arena *arena)
{
	char path[] = "/tmp/culver-test-XXXXXX";
	const struct cv_conf_problem *problems;
	const char *const none[] = { NULL };
	struct cv_conf *conf;
	size_t count;
	int fd = mkstemp(path);

	if (fd < 0)
		cv_fatal("%s cannot be made", path);
	close(fd);
	if (cv_conf_load(path, none, NULL, 0, arena, &conf, &problems, &count) < 0)
		cv_fatal("defaults: %s", problems[0].text);
	unlink(path);
	return conf;
}

void fake_worker_open_user(struct fake_worker *worker)
{
	struct cv_user_config config = {
		.name = "tim",
		.mail_location = worker->mail_location,
		.sysuid = (uint32_t)geteuid(),
		.sysgid = (uint32_t)getegid(),
		.registry = worker->registry,
		.loop = worker->in_loop ? worker->loop : NULL,
		.protocol = "imap",
	};
	struct cv_err err = { 0 };

	if (cv_user_open(&config, &worker->user, &err) < 0)
		cv_fatal("user cannot be opened: %s", err.text);
}

struct fake_worker *fake_worker_new(const struct cv_module *const *modules, const char *mail_location, bool in_loop)
{
	struct fake_worker *worker = cv_new0(struct fake_worker);
	struct cv_err err = { 0 };
	const char *name;
	size_t pos = 0;

	worker->arena = cv_arena_new("fake worker", NULL, 0);
	worker->loop = cv_loop_new(CV_LOOP_FAKE);
	worker->in_loop = in_loop;
	worker->mail_location = cv_arena_strdup(worker->arena, mail_location);
	worker->registry = cv_registry_new();
	for (; *modules != NULL; modules++)
		if (cv_module_add_static(worker->registry, *modules, &err) < 0)
			cv_fatal("%s", err.text);
	if (cv_modules_load(worker->registry, CV_ROLE_WORKER, &err) < 0)
		cv_fatal("%s", err.text);
	worker->protocol = cv_provider_next(worker->registry, CV_CAP_SESSION, &pos, &name);
	fake_worker_open_user(worker);
	return worker;
}

void fake_worker_set_conf(struct fake_worker *worker, const struct cv_settings_table *table, const void *set)
{
	struct fake_session_conf *conf = NULL;

	for (size_t i = 0; i < worker->confs.count && conf == NULL; i++)
		if (worker->confs.data[i].table == table)
			conf = &worker->confs.data[i];
	if (conf == NULL)
		conf = cv_vec_push(&worker->confs);
	conf->table = table;
	conf->set = set;
}

static void end_sessions(struct fake_worker *worker)
{
	while (worker->sessions.count > 0)
		fake_session_end(&worker->sessions.data[worker->sessions.count - 1]);
	cv_vec_free(&worker->sessions);
}

void fake_worker_close_user(struct fake_worker *worker)
{
	end_sessions(worker);
	fake_worker_run(worker);
	cv_user_close(&worker->user);
}

void fake_worker_reopen(struct fake_worker *worker)
{
	fake_worker_close_user(worker);
	fake_worker_open_user(worker);
}

void fake_worker_free(struct fake_worker **worker)
{
	if (*worker == NULL)
		return;
	fake_worker_close_user(*worker);
	cv_registry_free(&(*worker)->registry);
	cv_loop_free(&(*worker)->loop);
	cv_vec_free(&(*worker)->confs);
	cv_arena_free(&(*worker)->arena);
	cv_free(*worker);
	*worker = NULL;
}

static bool run_steps(struct fake_worker *worker)
{
	bool any = false;

	for (size_t i = 0; i < worker->sessions.count; i++) {
		struct cv_session *session = worker->sessions.data[i];

		if (session == NULL || !session->want_step || session->closed)
			continue;
		session->want_step = false;
		worker->protocol->step(session->state);
		any = true;
	}
	return any;
}

void fake_worker_run(struct fake_worker *worker)
{
	/* Quiet rounds in a row: what waits for the disk comes back from a helper or a later round. */
	for (int i = 0, quiet = 0; i < 100000 && quiet < 3; i++) {
		bool any = cv_loop_once(worker->loop, 0) > 0;

		quiet = run_steps(worker) || any ? 0 : quiet + 1;
	}
}

/* ---- Sessions ----------------------------------------------------------------------------------------- */

static void on_input(void *ctx)
{
	struct cv_session *session = ctx;

	if (!session->closed && session->state != NULL)
		session->worker->protocol->input(session->state);
}

static void on_output(void *ctx)
{
	struct cv_session *session = ctx;

	if (!session->closed && session->state != NULL && session->worker->protocol->output != NULL)
		session->worker->protocol->output(session->state);
}

static const struct cv_stream_ops stream_ops = { .input = on_input, .output = on_output };

static struct cv_session *new_session(struct fake_worker *worker)
{
	struct cv_session *session = cv_new0(struct cv_session);

	session->worker = worker;
	session->arena = cv_arena_new("fake session", NULL, 0);
	session->id = CV_STR("SESSION-1");
	session->remote = CV_STR("192.0.2.7");
	session->log = (struct cv_log_ctx){ .session = session->id };
	session->stream = cv_stream_new_mem(worker->loop, worker->protocol->max_input, worker->protocol->max_output);
	cv_stream_set_ops(session->stream, &stream_ops, session);
	*cv_vec_push(&worker->sessions) = session;
	return session;
}

struct cv_session *fake_session_start(struct fake_worker *worker, struct cv_str resume)
{
	struct cv_session *session = new_session(worker);
	struct cv_err err = { 0 };

	session->state = worker->protocol->start(session, resume, &err);
	return session;
}

struct cv_session *fake_session_start_imap(struct fake_worker *worker)
{
	struct cv_session *session;
	struct cv_buf resume;

	cv_buf_init(&resume, 100);
	cv_put_u8(&resume, 2);
	cv_put_str(&resume, CV_STR("L"));
	cv_put_u8(&resume, CV_IMAP_I_DEFAULT);
	session = fake_session_start(worker, cv_buf_str(&resume));
	cv_buf_deinit(&resume);
	return session;
}

struct cv_session *fake_session_wake(struct fake_worker *worker, const struct cv_session_wake *wake)
{
	struct cv_session *session = new_session(worker);
	struct cv_err err = { 0 };

	session->state = worker->protocol->wake(session, wake, &err);
	return session;
}

void fake_session_push(struct cv_session *session, struct cv_str octets)
{
	cv_stream_mem_push(session->stream, octets, false);
	fake_worker_run(session->worker);
}

void fake_session_push_split(struct cv_session *session, struct cv_str octets)
{
	for (size_t i = 0; i < octets.len; i++)
		fake_session_push(session, cv_str_sub(octets, i, 1));
}

void fake_session_eof(struct cv_session *session)
{
	cv_stream_mem_push(session->stream, CV_STR(""), true);
	fake_worker_run(session->worker);
}

struct cv_str fake_session_output(struct cv_session *session)
{
	struct cv_buf *out = cv_stream_out(session->stream), all;
	struct cv_str copy;

	cv_buf_init(&all, SIZE_MAX / 2);
	do {
		cv_assert(cv_buf_ok(out));
		cv_buf_append(&all, cv_buf_str(out));
		cv_buf_clear(out);
		on_output(session);
		fake_worker_run(session->worker);
	} while (out->len > 0);
	copy = all.len > 0 ? cv_arena_str(session->arena, cv_buf_str(&all)) : CV_STR("");
	cv_buf_deinit(&all);
	return copy;
}

void fake_session_end(struct cv_session **session)
{
	struct cv_session *s = *session;
	struct fake_worker *worker;

	if (s == NULL)
		return;
	worker = s->worker;
	if (s->state != NULL && worker->protocol->end != NULL)
		worker->protocol->end(s->state);
	for (size_t i = 0; i < worker->sessions.count; i++) {
		if (worker->sessions.data[i] == s) {
			memmove(&worker->sessions.data[i], &worker->sessions.data[i + 1],
				(worker->sessions.count - i - 1) * sizeof(struct cv_session *));
			worker->sessions.count--;
			break;
		}
	}
	cv_stream_free(&s->stream);
	cv_arena_free(&s->arena);
	cv_free(s);
	/* The caller's pointer may be the list's own slot, which holds another session now. */
	if (*session == s)
		*session = NULL;
}

/* ---- What modules call -------------------------------------------------------------------------------- */

struct cv_stream *cv_session_stream(struct cv_session *session)
{
	return session->stream;
}

struct cv_user *cv_session_user(struct cv_session *session)
{
	return session->worker->user;
}

int cv_session_ask(struct cv_session *session, struct cv_str user, const char *protocol, struct cv_str payload, cv_ask_fn *fn, void *ctx,
	struct cv_ask **ask_r, struct cv_err *err)
{
	(void)session;
	(void)user;
	(void)protocol;
	(void)payload;
	(void)fn;
	(void)ctx;
	*ask_r = NULL;
	return cv_err_set(err, CV_ERR_UNSUPPORTED, "there is nobody to ask for other users");
}

void cv_ask_cancel(struct cv_ask **ask)
{
	cv_assert(*ask == NULL);
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
	return session->worker->loop;
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

const void *cv_session_conf(struct cv_session *session, const struct cv_settings_table *table)
{
	struct fake_worker *worker = session->worker;
	struct cv_err err = { 0 };
	const void *set;

	for (size_t i = 0; i < worker->confs.count; i++)
		if (worker->confs.data[i].table == table)
			return worker->confs.data[i].set;
	if (cv_conf_get(empty_conf(worker->arena), table, NULL, worker->arena, &set, &err) < 0)
		cv_fatal("defaults: %s", err.text);
	fake_worker_set_conf(worker, table, set);
	return set;
}

const struct cv_registry *cv_session_registry(const struct cv_session *session)
{
	return session->worker->registry;
}

void **cv_session_data(struct cv_session *session, unsigned slot)
{
	cv_assert(slot < CV_COUNT_OF(session->data));
	return &session->data[slot];
}

void cv_session_want_step(struct cv_session *session)
{
	session->want_step = true;
}

void cv_session_set_timeout(struct cv_session *session, uint64_t ms)
{
	session->timeout_ms = ms;
}

void cv_session_set_state(struct cv_session *session, const char *state)
{
	session->state_text = state;
}

void cv_session_set_sleep(struct cv_session *session, uint64_t after_ms)
{
	session->sleep_ms = after_ms;
}

uint64_t cv_session_bytes_in(const struct cv_session *session)
{
	return cv_stream_bytes_in(session->stream);
}

uint64_t cv_session_bytes_out(const struct cv_session *session)
{
	return cv_stream_bytes_out(session->stream);
}

void cv_session_close(struct cv_session *session, const char *reason)
{
	if (session->closed)
		return;
	session->closed = true;
	session->close_reason = cv_arena_str(session->arena, cv_str_c(reason));
}

void cv_session_give_back(struct cv_session *session, const char *reason)
{
	cv_session_close(session, reason);
}
