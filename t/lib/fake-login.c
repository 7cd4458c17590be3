/* SPDX-License-Identifier: MIT
   cv_login_* for unit tests of what runs before login. */
#include <config.h>

#include "t/lib/fake-login.h"

#include <culver/ipc.h>

#include <string.h>
#include <unistd.h>

#define MESSAGE_MAX (64 * 1024 * 1024)

struct cv_login *fake_login_new(const struct cv_login_protocol *protocol)
{
	struct cv_login *login = cv_new0(struct cv_login);

	login->protocol = protocol;
	login->plaintext_allowed = true;
	login->mechs[0] = "PLAIN";
	login->session = CV_STR("SESSION-1");
	login->remote = CV_STR("192.0.2.7");
	login->arena = cv_arena_new("fake login", NULL, 0);
	login->loop = cv_loop_new(CV_LOOP_FAKE);
	return login;
}

const struct cv_login_protocol *fake_login_protocol(const struct cv_module *module)
{
	struct cv_registry *reg = cv_registry_new();
	const struct cv_login_protocol *protocol = NULL;
	struct cv_err err = { 0 };
	const char *name;
	size_t pos = 0;

	if (cv_module_add_static(reg, module, &err) == 0 && cv_modules_load(reg, CV_ROLE_FRONT, &err) == 0)
		protocol = cv_provider_next(reg, CV_CAP_LOGIN, &pos, &name);
	cv_registry_free(&reg);
	return protocol;
}

void fake_login_set_conf(struct cv_login *login, const struct cv_settings_table *table, const void *set)
{
	struct fake_conf *conf = cv_vec_push(&login->confs);

	conf->table = table;
	conf->set = set;
}

static void on_input(void *ctx)
{
	struct cv_login *login = ctx;

	if (!login->closed && !login->finished)
		login->protocol->input(login->state);
}

static void on_output(void *ctx)
{
	struct cv_login *login = ctx;

	if (!login->closed && !login->finished && login->protocol->output != NULL)
		login->protocol->output(login->state);
}

static const struct cv_stream_ops stream_ops = { .input = on_input, .output = on_output };

void fake_login_start(struct cv_login *login)
{
	login->log = (struct cv_log_ctx){ .session = login->session };
	login->stream = cv_stream_new_mem(login->loop, login->max_in != 0 ? login->max_in : login->protocol->max_input,
		login->max_out != 0 ? login->max_out : login->protocol->max_output);
	cv_stream_set_ops(login->stream, &stream_ops, login);
	login->state = login->protocol->start(login);
}

void fake_login_run(struct cv_login *login)
{
	for (int i = 0; i < 100 && cv_loop_once(login->loop, 0) > 0; i++)
		;
}

void fake_login_push(struct cv_login *login, struct cv_str octets)
{
	cv_stream_mem_push(login->stream, octets, false);
	fake_login_run(login);
}

void fake_login_push_split(struct cv_login *login, struct cv_str octets)
{
	for (size_t i = 0; i < octets.len; i++)
		fake_login_push(login, cv_str_sub(octets, i, 1));
}

void fake_login_eof(struct cv_login *login)
{
	cv_stream_mem_push(login->stream, CV_STR(""), true);
	fake_login_run(login);
}

struct cv_str fake_login_output(struct cv_login *login)
{
	struct cv_buf *out = cv_stream_out(login->stream);
	struct cv_str copy;

	cv_assert(cv_buf_ok(out));
	copy = cv_arena_str(login->arena, cv_buf_str(out));
	cv_buf_clear(out);
	return copy;
}

void fake_login_auth_answer(struct cv_login *login, enum cv_login_auth_kind kind, enum cv_err_code code, const char *data)
{
	struct cv_login_auth_reply reply = { .kind = kind, .code = code };

	cv_assert(login->auth_running);
	login->auth_running = kind == CV_LOGIN_CHALLENGE;
	if (kind == CV_LOGIN_CHALLENGE)
		reply.data = cv_str_c(data);
	else if (kind == CV_LOGIN_OK)
		reply.user = cv_str_c(data);
	else
		reply.text = cv_str_c(data);
	login->protocol->auth_reply(login->state, &reply);
	fake_login_run(login);
}

void fake_login_secured(struct cv_login *login)
{
	login->tls_active = true;
	login->tls_available = false;
	login->protocol->secured(login->state);
	fake_login_run(login);
}

void fake_login_finish_failed(struct cv_login *login, enum cv_err_code code, const char *public_text)
{
	struct cv_err err = { 0 };

	cv_assert(login->finished);
	login->finished = false;
	if (public_text != NULL)
		cv_err_set_public(&err, code, "%s", public_text);
	else
		cv_err_set(&err, code, "for the log only");
	login->protocol->finish_failed(login->state, &err);
	fake_login_run(login);
}

void fake_login_lookup_answer(struct cv_login *login, size_t index, enum cv_auth_result result)
{
	struct cv_login_user_reply reply = { .result = result };

	cv_assert(index < login->lookups.count && !login->lookups.data[index].answered);
	login->lookups.data[index].answered = true;
	reply.id = login->lookups.data[index].id;
	reply.user = login->lookups.data[index].user;
	if (result == CV_AUTH_OK)
		reply.ticket = CV_STR("0123456789abcdef");
	login->protocol->user_reply(login->state, &reply);
	fake_login_run(login);
}

static void answer_job(struct cv_login *login, size_t index, struct cv_login_job_reply *reply)
{
	cv_assert(index < login->jobs.count && !login->jobs.data[index].answered);
	login->jobs.data[index].answered = true;
	reply->id = login->jobs.data[index].id;
	login->protocol->job_reply(login->state, reply);
	fake_login_run(login);
}

void fake_login_job_answer_data(struct cv_login *login, size_t index, struct cv_str data)
{
	struct cv_login_job_reply reply = { .data = data };

	answer_job(login, index, &reply);
}

void fake_login_job_answer(struct cv_login *login, size_t index, enum cv_err_code code, const char *public_text)
{
	struct cv_login_job_reply reply = { 0 };

	if (code != CV_ERR_NONE && public_text != NULL)
		cv_err_set_public(&reply.err, code, "%s", public_text);
	else if (code != CV_ERR_NONE)
		cv_err_set(&reply.err, code, "for the log only");
	answer_job(login, index, &reply);
}

void fake_login_free(struct cv_login **login)
{
	if (*login == NULL)
		return;
	if ((*login)->protocol->end != NULL)
		(*login)->protocol->end((*login)->state);
	cv_stream_free(&(*login)->stream);
	cv_loop_free(&(*login)->loop);
	cv_vec_free(&(*login)->confs);
	cv_vec_free(&(*login)->lookups);
	cv_vec_free(&(*login)->jobs);
	cv_arena_free(&(*login)->arena);
	cv_free(*login);
	*login = NULL;
}

/* ---- What modules call -------------------------------------------------------------------------------- */

struct cv_stream *cv_login_stream(struct cv_login *login)
{
	return login->stream;
}

struct cv_arena *cv_login_arena(struct cv_login *login)
{
	return login->arena;
}

const struct cv_log_ctx *cv_login_log(struct cv_login *login)
{
	return &login->log;
}

struct cv_str cv_login_session_id(const struct cv_login *login)
{
	return login->session;
}

struct cv_str cv_login_remote(const struct cv_login *login)
{
	return login->remote;
}

struct cv_str cv_login_local(const struct cv_login *login)
{
	(void)login;
	return CV_STR("192.0.2.1");
}

/* Settings where all is default: of a file without any. */
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

const void *cv_login_conf(struct cv_login *login, const struct cv_settings_table *table)
{
	struct cv_err err = { 0 };
	const void *set;

	for (size_t i = 0; i < login->confs.count; i++) {
		if (login->confs.data[i].table == table)
			return login->confs.data[i].set;
	}
	if (cv_conf_get(empty_conf(login->arena), table, NULL, login->arena, &set, &err) < 0)
		cv_fatal("defaults: %s", err.text);
	return set;
}

const struct cv_registry *cv_login_registry(const struct cv_login *login)
{
	(void)login;
	return NULL;
}

bool cv_login_tls_active(const struct cv_login *login)
{
	return login->tls_active;
}

bool cv_login_tls_available(const struct cv_login *login)
{
	return login->tls_available && !login->tls_active;
}

bool cv_login_plaintext_allowed(const struct cv_login *login)
{
	return login->plaintext_allowed || login->tls_active;
}

bool cv_login_mech_next(const struct cv_login *login, size_t *pos, const char **name_r)
{
	if (!cv_login_plaintext_allowed(login) || *pos >= CV_COUNT_OF(login->mechs) || login->mechs[*pos] == NULL)
		return false;
	*name_r = login->mechs[(*pos)++];
	return true;
}

void cv_login_start_tls(struct cv_login *login)
{
	login->tls_started = true;
	cv_stream_consume(login->stream, cv_stream_input(login->stream).len);
}

int cv_login_auth(struct cv_login *login, struct cv_str mech, struct cv_str initial, struct cv_err *err)
{
	cv_assert(!login->auth_running);
	if (login->auth_refuse)
		return cv_err_set_public(err, CV_ERR_UNSUPPORTED, "Unsupported mechanism");
	login->auth_begun++;
	login->auth_running = true;
	login->auth_mech = cv_arena_str(login->arena, mech);
	login->auth_initial = initial.ptr != NULL ? cv_arena_str(login->arena, initial) : initial;
	return 0;
}

bool cv_login_own_allowed(const struct cv_login *login, const char *mech)
{
	return login->own != NULL && strcmp(login->own, mech) == 0;
}

int cv_login_auth_own(struct cv_login *login, const char *mech, struct cv_str initial, struct cv_err *err)
{
	cv_assert(cv_login_own_allowed(login, mech));
	return cv_login_auth(login, cv_str_c(mech), initial, err);
}

void cv_login_auth_continue(struct cv_login *login, struct cv_str response)
{
	cv_assert(login->auth_running);
	login->auth_continued++;
	login->auth_response = cv_arena_str(login->arena, response);
}

void cv_login_auth_abort(struct cv_login *login)
{
	cv_assert(login->auth_running);
	login->auth_running = false;
	login->auth_aborted++;
}

void cv_login_finish(struct cv_login *login, struct cv_str resume)
{
	cv_assert(!login->finished && resume.len <= 4096);
	login->finished = true;
	login->resume = cv_arena_str(login->arena, resume);
	login->unread = cv_arena_str(login->arena, cv_stream_input(login->stream));
}

void cv_login_close(struct cv_login *login, const char *reason)
{
	cv_assert(!login->closed);
	login->closed = true;
	login->close_reason = cv_arena_str(login->arena, cv_str_c(reason));
}

void cv_login_set_client_id(struct cv_login *login, struct cv_str key, struct cv_str value)
{
	(void)login;
	(void)key;
	(void)value;
}

void cv_login_user_lookup(struct cv_login *login, uint64_t id, struct cv_str user)
{
	struct fake_lookup *lookup = cv_vec_push(&login->lookups);

	lookup->id = id;
	lookup->user = cv_arena_str(login->arena, user);
}

bool cv_login_worker_hook(const struct cv_login *login, const char *hook)
{
	(void)hook;
	return login->worker_hooks;
}

void cv_login_job(struct cv_login *login, uint64_t id, struct cv_str ticket, struct cv_str payload, int memfd)
{
	cv_login_job_within(login, id, ticket, payload, memfd, 0);
}

void cv_login_job_within(struct cv_login *login, uint64_t id, struct cv_str ticket, struct cv_str payload, int memfd, uint64_t within_ms)
{
	struct fake_job *job = cv_vec_push(&login->jobs);
	struct cv_err err = { 0 };
	struct cv_str octets;

	job->id = id;
	job->ticket = cv_arena_str(login->arena, ticket);
	job->payload = cv_arena_str(login->arena, payload);
	job->within_ms = within_ms;
	if (memfd < 0)
		return;
	if (cv_memfd_map(memfd, MESSAGE_MAX, &octets, &err) < 0)
		cv_fatal("job: %s", err.text);
	job->octets = cv_arena_str(login->arena, octets);
	cv_memfd_unmap(octets);
}
