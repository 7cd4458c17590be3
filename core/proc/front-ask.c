/* SPDX-License-Identifier: MIT
   What front's logins ask of auth and spawner, and the answers: each question has a number until it is answered, or its login is gone. */
#include "core/proc/auth-settings.h"
#include "core/proc/front.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Unread input that goes along in SESSION beside all other fields. */
#define UNREAD_MAX (40 * 1024)

/* A question that is out. */
struct pending {
	struct cv_node node; /* front_login.pending */
	struct cv_login *login;
	enum pending_kind { PENDING_AUTH = 1, PENDING_LOOKUP, PENDING_JOB, PENDING_SESSION } kind;
	uint64_t id;
	uint64_t login_id;   /* the protocol's own number */
	struct cv_stream *pair; /* SESSION over TLS: our end, or NULL */
	struct cv_timer *limit; /* JOB: no longer than that, or NULL */
	const struct direct *direct; /* JOB: the worker that has it; NULL: the spawner was asked */
	char *user;          /* JOB: owned; whose worker a channel may come to, or NULL */
};

static struct front_login *of(const struct cv_login *login)
{
	return login->host_data;
}

/* ---- Questions that are out ------------------------------------------------------------------------------------------ */

static struct cv_str id_key(const uint64_t *id)
{
	return cv_str_mem(id, sizeof(*id));
}

static struct pending *ask(struct cv_login *login, enum pending_kind kind)
{
	struct front *front = of(login)->front;
	struct pending *p = cv_new0(struct pending);

	p->login = login;
	p->kind = kind;
	p->id = ++front->next_id;
	cv_list_append(&of(login)->pending, &p->node);
	(void)cv_map_set(front->pending, id_key(&p->id), p);
	return p;
}

static void forget(struct front *front, struct pending *p)
{
	cv_list_remove(&p->node);
	(void)cv_map_remove(front->pending, id_key(&p->id));
	cv_timer_remove(&p->limit);
	cv_free(p->user);
	if (p->pair != NULL)
		front->pair_count--;
	cv_stream_free(&p->pair);
	cv_free(p);
}

static struct pending *find(struct front *front, uint64_t id, enum pending_kind kind)
{
	struct pending *p = cv_map_get(front->pending, id_key(&id));

	return p != NULL && p->kind == kind ? p : NULL;
}

/* ---- What logins ask: auth --------------------------------------------------------------------------------------------- */

static void put_client_id(struct cv_buf *out, const struct cv_login *login)
{
	cv_put_u16(out, (uint16_t)login->client_id.count);
	for (size_t i = 0; i < login->client_id.count; i++) {
		cv_put_str(out, cv_str_c(login->client_id.data[i].key));
		cv_put_str(out, cv_str_c(login->client_id.data[i].value));
	}
}

static struct cv_str sni_of(const struct cv_login *login)
{
	const struct cv_tls_info *tls = cv_stream_tls(login->stream);

	return tls != NULL ? tls->sni : (struct cv_str){ 0 };
}

/* Strings that a client chose are bounded before they go into a message. */
static struct cv_str cut(struct cv_str s, size_t max)
{
	return cv_str_sub(s, 0, max);
}

/* Whose connection it is, as auth and workers are told. */
static void put_connection(struct cv_buf *out, const struct cv_login *login)
{
	cv_put_str(out, cv_str_c(login->session));
	cv_put_str(out, cv_login_remote(login));
	cv_put_u32(out, login->peer.remote_port);
	cv_put_str(out, cv_login_local(login));
	cv_put_u32(out, login->peer.local_port);
	cv_put_str(out, cut(sni_of(login), 255));
	cv_put_u8(out, cv_login_is_secured(login));
}

static int post(struct cv_ipc *ipc, uint16_t type, uint64_t id, const struct cv_buf *out, int fd)
{
	if (ipc == NULL || !cv_buf_ok(out))
		return -1;
	return cv_ipc_send(ipc, type, id, cv_buf_str(out), fd >= 0 ? &fd : NULL, fd >= 0 ? 1 : 0);
}

static int front_auth_begin(struct cv_login *login, struct cv_str mech, struct cv_str initial)
{
	struct front *front = of(login)->front;
	const struct cv_tls_info *tls = cv_stream_tls(login->stream);
	struct pending *p = ask(login, PENDING_AUTH);
	struct cv_buf out;

	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, cv_str_c(login->protocol->name));
	cv_put_str(&out, mech);
	cv_put_str(&out, initial);
	put_connection(&out, login);
	cv_put_u8(&out, tls != NULL && tls->client_cert_valid);
	cv_put_str(&out, tls != NULL && tls->client_cert_valid ? cut(tls->client_cert_user, 255) : (struct cv_str){ 0 });
	put_client_id(&out, login);
	int result = post(front->auth, CV_MSG_AUTH_BEGIN, p->id, &out, -1);
	cv_buf_deinit(&out);
	if (result < 0)
		forget(front, p);
	else
		login->auth_id = p->id;
	return result;
}

static int front_auth_continue(struct cv_login *login, struct cv_str response)
{
	struct cv_buf out;

	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, response);
	int result = post(of(login)->front->auth, CV_MSG_AUTH_CONTINUE, login->auth_id, &out, -1);
	cv_buf_deinit(&out);
	return result;
}

static void front_auth_abort(struct cv_login *login)
{
	struct front *front = of(login)->front;
	struct pending *p = find(front, login->auth_id, PENDING_AUTH);

	if (p == NULL)
		return;
	if (front->auth != NULL && cv_ipc_send(front->auth, CV_MSG_AUTH_ABORT, p->id, CV_STR(""), NULL, 0) < 0)
		cv_debug(&login->log, "the end of an exchange could not be told to auth");
	forget(front, p);
}

static int front_lookup(struct cv_login *login, uint64_t id, struct cv_str user)
{
	struct front *front = of(login)->front;
	struct pending *p = ask(login, PENDING_LOOKUP);
	struct cv_buf out;

	p->login_id = id;
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, cv_str_c(login->protocol->name));
	cv_put_str(&out, user);
	cv_put_str(&out, cv_str_c(login->session));
	cv_put_str(&out, cv_login_remote(login));
	cv_put_str(&out, cv_login_local(login));
	int result = post(front->auth, CV_MSG_USER_LOOKUP, p->id, &out, -1);
	cv_buf_deinit(&out);
	if (result < 0)
		forget(front, p);
	return result;
}

/* ---- What logins ask: spawner ---------------------------------------------------------------------------------------------- */

/* The job may still be done: its answer comes to nobody. */
static void on_job_late(void *ctx)
{
	struct pending *p = ctx;
	struct cv_login *login = p->login;
	struct cv_login_job_reply r = { .id = p->login_id };

	forget(of(login)->front, p);
	(void)cv_err_set(&r.err, CV_ERR_TEMP, "the user's worker did not answer in time");
	cv_login_on_job(login, &r);
}

static bool front_worker_hook(const struct cv_login *login, const char *hook)
{
	const struct front *front = of(login)->front;

	for (size_t i = 0; i < front->hooks.count; i++) {
		if (strcmp(front->hooks.data[i], hook) == 0)
			return true;
	}
	return false;
}

/* What modules keep as a ticket: auth's, and behind it whose it is. */
static void put_login_ticket(struct cv_buf *out, struct cv_str ticket, struct cv_str user)
{
	cv_put_str(out, ticket);
	cv_put_str(out, user);
}

static bool take_login_ticket(struct cv_str kept, struct cv_str *ticket_r, struct cv_str *user_r)
{
	struct cv_reader r = cv_reader_init(kept);

	return cv_take_str(&r, CV_TICKET_MANY_MAX, ticket_r) && cv_take_str(&r, 1024, user_r) && cv_reader_end(&r) && user_r->len > 0;
}

/* Straight to the worker, where there is a way. */
static int job_direct(struct pending *p, struct cv_str user, struct cv_str payload, int memfd)
{
	const struct cv_login *login = p->login;
	struct front *front = of(login)->front;
	struct direct *d = front_direct_find(front, user, cv_str_c(login->protocol->name));
	struct cv_buf out;

	if (d == NULL)
		return -1;
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, cv_str_c(login->session));
	cv_put_str(&out, cv_login_remote(login));
	cv_put_str(&out, payload);
	int result = cv_buf_ok(&out) ? front_direct_send(d, p->id, cv_buf_str(&out), memfd) : -1;
	cv_buf_deinit(&out);
	if (result == 0)
		p->direct = d;
	return result;
}

static int job_by_spawner(struct pending *p, struct cv_str ticket, struct cv_str user, struct cv_str payload, int memfd)
{
	const struct cv_login *login = p->login;
	struct front *front = of(login)->front;
	struct cv_str protocol = cv_str_c(login->protocol->name);
	struct cv_buf out;

	bool wanted = front_direct_wanted(front, user) && front_direct_find(front, user, protocol) == NULL;
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, ticket);
	cv_put_u8(&out, wanted);
	cv_put_str(&out, protocol);
	cv_put_str(&out, cv_str_c(login->session));
	cv_put_str(&out, cv_login_remote(login));
	cv_put_str(&out, payload);
	int result = post(front->spawner, CV_MSG_JOB, p->id, &out, memfd);
	cv_buf_deinit(&out);
	if (result >= 0 && wanted) {
		p->user = cv_malloc(user.len + 1);
		memcpy(p->user, user.ptr, user.len);
		p->user[user.len] = '\0';
	}
	return result;
}

static int front_job(struct cv_login *login, uint64_t id, struct cv_str kept, struct cv_str payload, int memfd, uint64_t within_ms)
{
	struct front *front = of(login)->front;
	struct pending *p = ask(login, PENDING_JOB);
	struct cv_str ticket, user;

	p->login_id = id;
	int result = -1;
	if (take_login_ticket(kept, &ticket, &user)) {
		result = job_direct(p, user, payload, memfd);
		if (result < 0)
			result = job_by_spawner(p, ticket, user, payload, memfd);
	}
	if (result < 0)
		forget(front, p);
	else if (within_ms > 0)
		p->limit = cv_timer_add(front->loop, within_ms, on_job_late, p);
	return result;
}

/* A worker has its session. */
static void handed_over(struct front *front, struct pending *p)
{
	struct cv_login *login = p->login;
	struct cv_stream *pair = p->pair;
	if (pair != NULL) {
		p->pair = NULL;
		front->pair_count--;
	}
	forget(front, p);
	front->logged_in++;
	/* What the login knows of it has to be asked before it ends. */
	struct relay *relay = pair != NULL ? front_relay_new(front, login->protocol, login->session, &login->peer) : NULL;
	struct cv_stream *stream = cv_login_on_handed_over(login);
	if (pair == NULL) {
		/* The worker has the socket itself; what was read ahead went along. */
		cv_stream_free(&stream);
		return;
	}
	front_relay_begin(relay, stream, pair);
}

/* The worker's first words: that it has the session need not be heard from the spawner. Why it ends without any is the spawner's to say. */
static void on_pair_input(void *ctx)
{
	struct pending *p = ctx;

	if (cv_stream_input(p->pair).len > 0)
		handed_over(of(p->login)->front, p);
}

static int front_handover(struct cv_login *login, struct cv_str resume, struct cv_err *err)
{
	struct front *front = of(login)->front;
	const struct cv_tls_info *tls = cv_stream_tls(login->stream);
	struct cv_str unread = tls != NULL ? CV_STR("") : cv_stream_input(login->stream);
	char description[128] = "";
	int pair[2] = { -1, -1 };
	struct cv_buf out;

	if (unread.len > UNREAD_MAX)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Too much input before the login was done");
	/* Over TLS the worker gets one end of a pair, and front moves octets between the other and the client. */
	if (tls != NULL && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return cv_err_sys(err, errno, "socket pair");
	struct pending *p = ask(login, PENDING_SESSION);
	if (tls != NULL) {
		p->pair = front_pair_stream(front, pair[0]);
		cv_stream_set_ops(p->pair, &(const struct cv_stream_ops){ .input = on_pair_input }, p);
		front->pair_count++;
		(void)snprintf(description, sizeof(description), "%s %s (%d bits)", tls->protocol, tls->cipher, tls->bits);
	}
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, login->ticket);
	/* A worker that has the socket needs front no more, and one that has an end of a pair speaks; but for the last words of a local one, which end with the last
	   descriptor. */
	cv_put_u8(&out, login->peer.is_unix || front_is_crowded(front, login));
	cv_put_str(&out, cv_str_c(login->protocol->name));
	put_connection(&out, login);
	cv_put_str(&out, cv_str_c(description));
	cv_put_str(&out, resume);
	cv_put_str(&out, unread);
	put_client_id(&out, login);
	if (tls == NULL)
		cv_stream_pause_watch(login->stream);
	int result = post(front->spawner, CV_MSG_SESSION, p->id, &out, tls != NULL ? pair[1] : cv_stream_fd(login->stream));
	bool too_long = !cv_buf_ok(&out);
	cv_buf_deinit(&out);
	if (pair[1] >= 0)
		(void)close(pair[1]);
	if (result < 0) {
		forget(front, p);
		return too_long ? cv_err_set_public(err, CV_ERR_LIMIT, "Too much input before the login was done") :
				  cv_err_set(err, CV_ERR_UNAVAILABLE, "no spawner");
	}
	return 0;
}

/* ---- What logins ask: the rest ------------------------------------------------------------------------------------------------- */

static struct cv_tls_ctx *front_tls_ctx(struct cv_login *login)
{
	return tls_set_find(of(login)->front->tls, login->protocol->name, login->peer.is_unix ? NULL : login->peer.local);
}

static bool front_mech_next(const struct cv_login *login, size_t *pos, const char **name_r, unsigned *opts_r)
{
	const struct front *front = of(login)->front;
	/* Its cache of settings is all that changes. */
	const struct cv_auth_settings *set = cv_login_conf((struct cv_login *)(uintptr_t)login, &cv_auth_settings_table);

	/* In the order of the settings for this connection; what auth does not know yet, or no more, is passed over. */
	while (set->auth_mechanisms != NULL && set->auth_mechanisms[*pos] != NULL) {
		struct cv_str wanted = cv_str_c(set->auth_mechanisms[(*pos)++]);
		for (size_t i = 0; i < front->mechs.count; i++) {
			if (!cv_str_caseeq_c(wanted, front->mechs.data[i].name))
				continue;
			*name_r = front->mechs.data[i].name;
			*opts_r = front->mechs.data[i].opts;
			return true;
		}
	}
	return false;
}

void front_ask_init(struct front *front)
{
	front->host = (struct cv_login_host){
		.loop = front->loop,
		.registry = front->proc->registry,
		.auth_begin = front_auth_begin,
		.auth_continue = front_auth_continue,
		.auth_abort = front_auth_abort,
		.user_lookup = front_lookup,
		.job = front_job,
		.worker_hook = front_worker_hook,
		.handover = front_handover,
		.tls_ctx = front_tls_ctx,
		.mech_next = front_mech_next,
		.ended = front_ended,
	};
}

void front_forget_questions(struct front_login *fl)
{
	struct cv_node *node, *next;

	for (node = fl->pending.next; node != &fl->pending; node = next) {
		next = node->next;
		forget(fl->front, cv_container(node, struct pending, node));
	}
}

/* ---- Answers of auth ------------------------------------------------------------------------------------------------------------- */

static int on_challenge(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_str data;

	(void)ipc;
	if (!cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &data) || !cv_reader_end(&msg->payload))
		return -1;
	struct pending *p = find(ctx, msg->id, PENDING_AUTH);
	if (p != NULL)
		cv_login_on_challenge(p->login, data);
	return 0;
}

static int on_auth_ok(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_str user, ticket;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 1024, &user) || !cv_take_str(&msg->payload, CV_TICKET_MAX, &ticket) || !cv_reader_end(&msg->payload))
		return -1;
	struct pending *p = find(ctx, msg->id, PENDING_AUTH);
	if (p == NULL)
		return 0;
	struct cv_login *login = p->login;
	forget(ctx, p);
	cv_login_on_auth_ok(login, user, ticket);
	return 0;
}

static int on_auth_fail(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	uint8_t code;
	struct cv_str text, host, user;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &code) || !cv_take_str(&msg->payload, CV_ERR_TEXT_MAX, &text) || !cv_take_str(&msg->payload, 1024, &host) ||
		!cv_take_str(&msg->payload, 1024, &user) || !cv_reader_end(&msg->payload))
		return -1;
	struct pending *p = find(ctx, msg->id, PENDING_AUTH);
	if (p == NULL)
		return 0;
	struct cv_login *login = p->login;
	forget(ctx, p);
	cv_login_on_referral(login, (enum cv_err_code)code, text, host, user);
	return 0;
}

static int on_user_reply(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_login_user_reply r = { 0 };
	struct cv_buf kept;
	uint8_t result;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &result) || !cv_take_str(&msg->payload, 1024, &r.user) || !cv_take_str(&msg->payload, CV_TICKET_MANY_MAX, &r.ticket) ||
		!cv_take_str(&msg->payload, CV_ERR_TEXT_MAX, &r.text) || !cv_reader_end(&msg->payload))
		return -1;
	struct pending *p = find(ctx, msg->id, PENDING_LOOKUP);
	if (p == NULL)
		return 0;
	struct cv_login *login = p->login;
	r.id = p->login_id;
	r.result = (enum cv_auth_result)result;
	forget(ctx, p);
	cv_buf_init_wipe(&kept, CV_LOGIN_TICKET_MAX);
	if (r.ticket.len > 0) {
		put_login_ticket(&kept, r.ticket, r.user);
		r.ticket = cv_buf_str(&kept);
	}
	cv_login_on_user(login, &r);
	cv_buf_deinit(&kept);
	return 0;
}

static int on_mechs(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	uint16_t count;

	(void)ipc;
	if (!cv_take_u16(&msg->payload, &count))
		return -1;
	front->mechs.count = 0;
	for (uint16_t i = 0; i < count; i++) {
		struct cv_str name;
		uint8_t opts;
		if (!cv_take_str(&msg->payload, sizeof(front->mechs.data[0].name) - 1, &name) || !cv_take_u8(&msg->payload, &opts))
			return -1;
		struct mech *mech = cv_vec_push(&front->mechs);
		memcpy(mech->name, name.ptr, name.len);
		mech->opts = opts;
	}
	if (!cv_reader_end(&msg->payload))
		return -1;
	if (!front->has_mechs) {
		front->has_mechs = true;
		if (front->proc->started) {
			front_listen_all(front);
			cv_role_ready(front->proc);
		}
	}
	return 0;
}

static const struct cv_ipc_type auth_table[] = {
	{ CV_MSG_AUTH_CHALLENGE, "AUTH_CHALLENGE", CV_IPC_MAX_PAYLOAD, 0, 0, 0, on_challenge },
	{ CV_MSG_AUTH_OK, "AUTH_OK", 4096, 0, 0, 0, on_auth_ok },
	{ CV_MSG_AUTH_FAIL, "AUTH_FAIL", 4096, 0, 0, 0, on_auth_fail },
	{ CV_MSG_USER_REPLY, "USER_REPLY", 4096, 0, 0, 0, on_user_reply },
	{ CV_MSG_MECHS, "MECHS", 8192, 0, 0, 0, on_mechs },
};

/* ---- Answers of the spawner ---------------------------------------------------------------------------------------------------- */

static int on_session_ok(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	bool whole = true;
	uint64_t id;

	(void)ipc;
	cv_log_gather();
	while (whole && !cv_reader_end(&msg->payload)) {
		whole = cv_take_u64(&msg->payload, &id);
		struct pending *p = whole ? find(ctx, id, PENDING_SESSION) : NULL;
		if (p != NULL)
			handed_over(ctx, p);
	}
	cv_log_gather_end();
	return whole ? 0 : -1;
}

static int on_session_fail(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	struct cv_err err;

	(void)ipc;
	if (!cv_msg_take_err(&msg->payload, &err) || !cv_reader_end(&msg->payload))
		return -1;
	struct pending *p = find(front, msg->id, PENDING_SESSION);
	if (p == NULL)
		return 0;
	struct cv_login *login = p->login;
	forget(front, p);
	cv_login_on_handover_failed(login, &err);
	return 0;
}

/* The spawner's answer may bring a channel to the worker. */
static void take_channel(struct front *front, const struct pending *p, struct cv_ipc_msg *msg)
{
	struct cv_str protocol = cv_str_c(p->login->protocol->name);

	if (msg->nfds == 0 || p->user == NULL || front_direct_find(front, cv_str_c(p->user), protocol) != NULL)
		return;
	front_direct_add(front, cv_str_c(p->user), protocol, msg->fds[0]);
	msg->fds[0] = -1;
}

int front_on_job_answer(struct front *front, struct cv_ipc_msg *msg, const struct direct *from)
{
	struct cv_login_job_reply r = { 0 };

	if (!cv_msg_take_err(&msg->payload, &r.err) || !cv_take_str(&msg->payload, CV_LOGIN_PAYLOAD_MAX, &r.data) || !cv_reader_end(&msg->payload))
		return -1;
	struct pending *p = find(front, msg->id, PENDING_JOB);
	if (p == NULL)
		return 0;
	/* Nobody answers for another. */
	if (p->direct != from)
		return -1;
	struct cv_login *login = p->login;
	r.id = p->login_id;
	take_channel(front, p, msg);
	forget(front, p);
	cv_login_on_job(login, &r);
	return 0;
}

static int on_job_reply(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	(void)ipc;
	return front_on_job_answer(ctx, msg, NULL);
}

void front_forget_hooks(struct front *front)
{
	for (size_t i = 0; i < front->hooks.count; i++)
		cv_free(front->hooks.data[i]);
	front->hooks.count = 0;
}

static int on_hooks(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	uint16_t count;

	(void)ipc;
	front_forget_hooks(front);
	if (!cv_take_u16(&msg->payload, &count))
		return -1;
	for (uint16_t i = 0; i < count; i++) {
		struct cv_str name;
		char text[64];

		if (!cv_take_str(&msg->payload, sizeof(text) - 1, &name) || cv_str_has_nul(name))
			return -1;
		(void)snprintf(text, sizeof(text), "%.*s", CV_STR_ARG(name));
		*cv_vec_push(&front->hooks) = cv_strdup(text);
	}
	return cv_reader_end(&msg->payload) ? 0 : -1;
}

static const struct cv_ipc_type spawner_table[] = {
	{ CV_MSG_HOOKS, "HOOKS", 8192, 0, 0, 0, on_hooks },
	{ CV_MSG_SESSION_BACK, "SESSION_BACK", CV_SESSION_BACK_MAX + 1024, 1, 1, 0, front_on_session_back },
	{ CV_MSG_SLEEP, "SLEEP", 2048, 1, 1, 0, front_on_sleep },
	{ CV_MSG_ROUSE, "ROUSE", 0, 0, 0, 0, front_on_rouse },
	{ CV_MSG_WOKEN, "WOKEN", 0, 0, 0, 0, front_on_woken },
	{ CV_MSG_WAKE_FAIL, "WAKE_FAIL", 1024, 0, 0, 0, front_on_wake_fail },
	{ CV_MSG_SESSION_OK, "SESSION_OK", CV_SESSION_OK_MAX * sizeof(uint64_t), 0, 0, 0, on_session_ok },
	{ CV_MSG_SESSION_FAIL, "SESSION_FAIL", 1024, 0, 0, 0, on_session_fail },
	{ CV_MSG_JOB_REPLY, "JOB_REPLY", CV_LOGIN_PAYLOAD_MAX + 1024, 0, 1, 0, on_job_reply },
};

/* ---- Channels ----------------------------------------------------------------------------------------------------------------------- */

static bool is_asked_of_auth(const struct pending *p)
{
	return p->kind == PENDING_AUTH || p->kind == PENDING_LOOKUP;
}

/* The process behind a channel (auth, the worker, or else the spawner) is gone, and the questions that were put to it with it. */
static void fail_pending(struct front *front, bool of_auth, const struct direct *of_worker)
{
	struct cv_str key;
	void *value;
	CV_VEC(uint64_t) ids = { 0 };

	/* Answers run modules' code, which may ask anew: numbers first. */
	for (size_t pos = 0; cv_map_next(front->pending, &pos, &key, &value);) {
		const struct pending *p = value;
		if (is_asked_of_auth(p) == of_auth && p->direct == of_worker)
			*cv_vec_push(&ids) = p->id;
	}
	for (size_t i = 0; i < ids.count; i++) {
		struct pending *p = cv_map_get(front->pending, id_key(&ids.data[i]));
		if (p == NULL)
			continue;
		struct cv_login *login = p->login;
		enum pending_kind kind = p->kind;
		bool over_tls = p->pair != NULL;
		struct cv_login_user_reply user = { .id = p->login_id, .result = CV_AUTH_TEMP };
		struct cv_login_job_reply job = { .id = p->login_id };
		struct cv_err err = { 0 };
		forget(front, p);
		switch (kind) {
		case PENDING_AUTH:
			cv_login_on_auth_fail(login, CV_ERR_UNAVAILABLE, (struct cv_str){ 0 });
			break;
		case PENDING_LOOKUP:
			cv_login_on_user(login, &user);
			break;
		case PENDING_JOB:
			if (of_worker != NULL)
				(void)cv_err_set(&job.err, CV_ERR_TEMP, "the user's worker ended");
			else
				(void)cv_err_set(&job.err, CV_ERR_UNAVAILABLE, "the spawner ended");
			cv_login_on_job(login, &job);
			break;
		case PENDING_SESSION:
			(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, "the spawner ended");
			/* A worker may have the socket already and write to it as well: nothing can be said then, nor the connection be shut down. */
			if (over_tls)
				cv_login_on_handover_failed(login, &err);
			else
				cv_login_on_handover_unknown(login, "the spawner ended");
			break;
		}
	}
	cv_vec_free(&ids);
}

void front_fail_direct(const struct direct *d)
{
	fail_pending(d->front, false, d);
}

static void on_peer_closed(void *ctx, struct cv_ipc *ipc)
{
	struct front *front = ctx;
	bool of_auth = ipc == front->auth;
	struct cv_ipc *gone = ipc;

	if (of_auth)
		front->auth = NULL;
	else
		front->spawner = NULL;
	if (!of_auth)
		front_forget_hooks(front);
	cv_ipc_free(&gone);
	fail_pending(front, of_auth, NULL);
	if (!of_auth)
		front_end_sleepers(front, "the spawner ended");
	cv_role_peer_lost(front->proc, of_auth ? CV_ROLE_AUTH : CV_ROLE_SPAWNER);
}

int front_peer(struct cv_role_proc *proc, enum cv_role role, uint32_t index, int fd)
{
	struct front *front = proc->state;

	(void)index;
	if (role == CV_ROLE_AUTH) {
		if (front->auth != NULL) {
			cv_ipc_free(&front->auth);
			fail_pending(front, true, NULL);
		}
		front->auth = cv_ipc_new(front->loop, fd, "auth", auth_table, CV_COUNT_OF(auth_table), on_peer_closed, front);
		return 0;
	}
	if (role == CV_ROLE_SPAWNER) {
		if (front->spawner != NULL) {
			cv_ipc_free(&front->spawner);
			fail_pending(front, false, NULL);
			front_end_sleepers(front, "the spawner ended");
		}
		front->spawner = cv_ipc_new(front->loop, fd, "spawner", spawner_table, CV_COUNT_OF(spawner_table), on_peer_closed, front);
		return 0;
	}
	(void)close(fd);
	return -1;
}
