/* SPDX-License-Identifier: MIT
   What a user's worker is to take: its way from who asks to auth, and to the worker. */
#include "core/proc/auth-seal.h"
#include "core/proc/login-private.h"
#include "core/proc/spawner.h"

#include <unistd.h>

/* Descriptors kept back for channels, the log, the library, and messages on their way from each front. */
#define FDS_RESERVED 128
#define NOISE_MS 60000
#define WAITING_MAX 10000 /* questions to auth at a time: beyond this the server is in trouble */

/* ---- Requests ---------------------------------------------------------------------------------------------------------- */

void request_close_fd(struct request *r)
{
	if (r->fd < 0)
		return;
	(void)close(r->fd);
	r->fd = -1;
	r->sp->held_fds--;
}

static void close_channel(struct request *r)
{
	if (r->channel < 0)
		return;
	(void)close(r->channel);
	r->channel = -1;
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
	close_channel(r);
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
	r->channel = -1;
	sp->held_fds += fd >= 0;
	r->id = ++sp->next_id;
	return r;
}

void spawner_send_front(struct front_peer *front, uint16_t type, uint64_t id, const struct cv_buf *out, int fd)
{
	if (front == NULL || front->ipc == NULL)
		return;
	if (spawner_front_send(front, type, id, cv_buf_str(out), fd >= 0 ? &fd : NULL, fd >= 0 ? 1 : 0) < 0)
		cv_warn(NULL, "an answer to front could not be sent");
}

/* A job's answer, to who asked. */
void spawner_send_reply(const struct request *r, const struct cv_buf *out, int fd)
{
	if (!r->asked_by_worker)
		spawner_send_front(r->front, CV_MSG_JOB_REPLY, r->front_id, out, r->channel);
	else if (r->asker != NULL)
		spawner_worker_send(r->asker, CV_MSG_WORKER_ANSWER, r->front_id, cv_buf_str(out), fd);
}

/* Answer with an error and forget. */
void request_fail(struct request *r, const struct cv_err *err)
{
	struct cv_err temporary;
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	switch (r->kind) {
	case REQUEST_SESSION:
		cv_msg_put_err(&out, err);
		spawner_send_front(r->front, CV_MSG_SESSION_FAIL, r->front_id, &out, -1);
		break;
	case REQUEST_WAKE:
		cv_warn(NULL, "user=%s session=%s could not wake: %s", cv_log_clean(cv_str_c(r->user)), cv_log_clean(r->session), err->text);
		cv_msg_put_err(&out, err);
		spawner_send_front(r->front, CV_MSG_WAKE_FAIL, r->front_id, &out, -1);
		break;
	case REQUEST_JOB:
		/* A bound of the server's is no fault of the delivery: it must come again, not bounce. */
		if (err->code == CV_ERR_LIMIT) {
			temporary = *err;
			temporary.code = CV_ERR_UNAVAILABLE;
			err = &temporary;
		}
		cv_msg_put_err(&out, err);
		cv_put_str(&out, CV_STR(""));
		spawner_send_reply(r, &out, -1);
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

void spawner_fail_list(struct cv_node *requests, const struct cv_err *err)
{
	while (!cv_list_empty(requests)) {
		struct request *r = cv_container(requests->next, struct request, node);
		request_fail(r, err);
	}
}

/* ---- Who it is: auth ------------------------------------------------------------------------------------------------------------------ */

static int check_ids(const struct spawner *sp, struct request *r, struct cv_err *err)
{
	const struct cv_core_settings *core = sp->proc->gen->core;

	if (!sp->proc->privileged) {
		/* One uid for everything. */
		uint32_t own = (uint32_t)geteuid();
		if (r->sysuid == UINT32_MAX)
			r->sysuid = own;
		if (r->sysgid == UINT32_MAX || r->sysuid == own)
			r->sysgid = (uint32_t)getegid();
		if (r->sysuid != own)
			return cv_err_set(err, CV_ERR_TEMP, "the user database says uid %u, but the server runs without root's rights as uid %u", r->sysuid,
				(unsigned)own);
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

/* It waits for auth. */
static void put_on(struct request *r)
{
	(void)cv_map_set(r->sp->asked, cv_str_mem(&r->id, sizeof(r->id)), r);
	cv_list_append(&r->sp->waiting, &r->node);
}

static void take_off(struct request *r)
{
	(void)cv_map_remove(r->sp->asked, cv_str_mem(&r->id, sizeof(r->id)));
	cv_list_remove(&r->node);
}

/* The payload of a USER_RECORD. */
static bool take_record(struct cv_reader *payload, struct request *r, uint8_t *result_r, struct cv_str *text_r)
{
	return cv_take_u8(payload, result_r) && take_text(payload, r->arena, &r->user) && cv_take_u32(payload, &r->sysuid) &&
		cv_take_u32(payload, &r->sysgid) && take_text(payload, r->arena, &r->home) && take_text(payload, r->arena, &r->mail) &&
		take_fields(payload, r) && cv_take_str(payload, CV_ERR_TEXT_MAX, text_r) && cv_reader_end(payload);
}

/* auth's word on a request that waits for nothing else. -1: there is no such result. */
static int take_result(struct spawner *sp, struct request *r, uint8_t result, struct cv_str text)
{
	struct cv_err err = { 0 };

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
		else if (r->kind == REQUEST_JOB && r->front != NULL) /* there was one when the recipient was taken: mail is not to bounce */
			(void)cv_err_set(&err, CV_ERR_TEMP, "the look-up of the user is too old, or from before auth was started again");
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

static int on_user_record(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct spawner *sp = ctx;
	struct cv_str text;
	uint8_t result;

	(void)ipc;
	struct request *r = cv_map_get(sp->asked, cv_str_mem(&msg->id, sizeof(msg->id)));
	if (r == NULL)
		return 0;
	if (!take_record(&msg->payload, r, &result, &text))
		return -1;
	take_off(r);
	return take_result(sp, r, result, text);
}

static int on_seal_key(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct spawner *sp = ctx;
	struct cv_node *node, *next;

	(void)ipc;
	auth_opener_free(&sp->opener);
	sp->opener = auth_opener_new(cv_reader_rest(&msg->payload));
	if (sp->opener == NULL)
		return -1;
	cv_list_foreach(&sp->waiting, node, next) {
		struct request *r = cv_container(node, struct request, node);
		if (r->ticket.len == 0)
			continue;
		take_off(r);
		spawner_open_ticket(sp, r, r->ticket);
	}
	return 0;
}

static const struct cv_ipc_type auth_table[] = {
	{ CV_MSG_SEAL_KEY, "SEAL_KEY", 256, 0, 0, 0, on_seal_key },
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
	auth_opener_free(&sp->opener);
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

void spawner_ask(struct spawner *sp, struct request *r, uint16_t type, struct cv_str what, struct cv_str service)
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
	put_on(r);
}

void spawner_open_ticket(struct spawner *sp, struct request *r, struct cv_str ticket)
{
	struct cv_err err = { 0 };
	struct cv_buf record;
	struct cv_str text = { 0 };

	/* Front's message may be read before auth's first. */
	if (sp->opener == NULL && sp->auth != NULL && !sp->stopping && cv_map_count(sp->asked) < WAITING_MAX) {
		r->ticket = cv_arena_str(r->arena, ticket);
		put_on(r);
		return;
	}
	uint8_t result = CV_AUTH_NOUSER;

	cv_buf_init_wipe(&record, CV_TICKET_MAX);
	if (sp->stopping) {
		(void)cv_err_set_public(&err, CV_ERR_UNAVAILABLE, "The server is shutting down");
	} else if (!spawner_fds_left(sp)) {
		(void)cv_err_set_public(&err, CV_ERR_LIMIT, "The server has no room for more sessions");
	} else if (sp->opener == NULL) {
		(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, "there is no auth process now");
	} else if (auth_open(sp->opener, cv_loop_now_ms(sp->loop), r->protocol, ticket, r->kind == REQUEST_JOB, &record)) {
		struct cv_reader payload = cv_reader_init(cv_buf_str(&record));
		if (!take_record(&payload, r, &result, &text))
			(void)cv_err_set(&err, CV_ERR_TEMP, "auth sealed what is no record");
	}
	if (err.code == CV_ERR_NONE && take_result(sp, r, result, text) < 0)
		(void)cv_err_set(&err, CV_ERR_TEMP, "auth sealed what is no result");
	if (err.code != CV_ERR_NONE)
		request_fail(r, &err);
	cv_buf_deinit(&record);
}

void spawner_auth_connect(struct spawner *sp, int fd)
{
	if (sp->auth != NULL) {
		cv_ipc_free(&sp->auth);
		auth_opener_free(&sp->opener);
		fail_asked(sp);
	}
	sp->auth = cv_ipc_new(sp->loop, fd, "auth", auth_table, CV_COUNT_OF(auth_table), on_auth_closed, sp);
}
