/* SPDX-License-Identifier: MIT
   Front: takes connections, speaks TLS and the login part of protocols, and hands connections to workers. It has no rights and nothing of a user's. */
#include "core/proc/auth-settings.h"
#include "core/proc/front.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ACCEPT_BURST 32
#define TLS_MAX (64u * 1024 * 1024)
/* Unread input that goes along in SESSION beside all other fields. */
#define UNREAD_MAX (40 * 1024)
/* Descriptors kept back for channels, the log, memfds and pairs on their way. */
#define FDS_RESERVED 128
#define FULL_WAIT_MS 250
#define DRAIN_LOOK_MS 200
#define NOISE_MS 60000

struct listener {
	struct cv_node node;
	struct front *front;
	uint64_t token;
	char *name;
	const struct cv_login_protocol *protocol;
	bool tls, is_unix;
	int fd;
	struct cv_io *io;
	uint64_t accept_round; /* of the loop: the last with a connection */
};

/* Connections of one address, or of one IPv6 network of 64 bits. */
struct address {
	size_t count;
};

/* What front knows of a login beside the login itself. */
struct front_login {
	struct front *front;
	struct cv_gen *gen;
	struct cv_node pending;
	char address[20];
	size_t address_len; /* 0: not counted */
};

/* A question that is out. */
struct pending {
	struct cv_node node; /* front_login.pending */
	struct cv_login *login;
	enum pending_kind { PENDING_AUTH = 1, PENDING_LOOKUP, PENDING_JOB, PENDING_SESSION } kind;
	uint64_t id;
	uint64_t login_id;   /* the protocol's own number */
	int pair_fd;         /* SESSION over TLS: our end; -1 */
	struct cv_timer *limit; /* JOB: no longer than that, or NULL */
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
	p->pair_fd = -1;
	cv_list_append(&of(login)->pending, &p->node);
	(void)cv_map_set(front->pending, id_key(&p->id), p);
	return p;
}

static void forget(struct front *front, struct pending *p)
{
	cv_list_remove(&p->node);
	(void)cv_map_remove(front->pending, id_key(&p->id));
	cv_timer_remove(&p->limit);
	if (p->pair_fd >= 0) {
		(void)close(p->pair_fd);
		front->pair_count--;
	}
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
	cv_put_str(&out, cv_str_c(login->session));
	cv_put_str(&out, cv_login_remote(login));
	cv_put_u32(&out, login->peer.remote_port);
	cv_put_str(&out, cv_login_local(login));
	cv_put_u32(&out, login->peer.local_port);
	cv_put_str(&out, cut(sni_of(login), 255));
	cv_put_u8(&out, cv_login_is_secured(login));
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

static int front_job(struct cv_login *login, uint64_t id, struct cv_str ticket, struct cv_str payload, int memfd, uint64_t within_ms)
{
	struct front *front = of(login)->front;
	struct pending *p = ask(login, PENDING_JOB);
	struct cv_buf out;

	p->login_id = id;
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, ticket);
	cv_put_str(&out, cv_str_c(login->protocol->name));
	cv_put_str(&out, cv_str_c(login->session));
	cv_put_str(&out, cv_login_remote(login));
	cv_put_str(&out, payload);
	int result = post(front->spawner, CV_MSG_JOB, p->id, &out, memfd);
	cv_buf_deinit(&out);
	if (result < 0)
		forget(front, p);
	else if (within_ms > 0)
		p->limit = cv_timer_add(front->loop, within_ms, on_job_late, p);
	return result;
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
		p->pair_fd = pair[0];
		front->pair_count++;
		(void)snprintf(description, sizeof(description), "%s %s (%d bits)", tls->protocol, tls->cipher, tls->bits);
	}
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&out, login->ticket);
	cv_put_str(&out, cv_str_c(login->protocol->name));
	cv_put_str(&out, cv_str_c(login->session));
	cv_put_str(&out, cv_login_remote(login));
	cv_put_u32(&out, login->peer.remote_port);
	cv_put_str(&out, cv_login_local(login));
	cv_put_u32(&out, login->peer.local_port);
	cv_put_str(&out, cut(sni_of(login), 255));
	cv_put_u8(&out, cv_login_is_secured(login));
	cv_put_str(&out, cv_str_c(description));
	cv_put_str(&out, resume);
	cv_put_str(&out, unread);
	put_client_id(&out, login);
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

static void front_ended(struct cv_login *login)
{
	struct front_login *fl = of(login);
	struct front *front = fl->front;
	struct cv_node *node, *next;

	for (node = fl->pending.next; node != &fl->pending; node = next) {
		next = node->next;
		forget(front, cv_container(node, struct pending, node));
	}
	cv_list_remove(&login->node);
	if (login->protocol->opts & CV_LOGIN_NO_AUTH)
		front->peer_count--;
	else
		front->login_count--;
	if (fl->address_len > 0) {
		struct cv_str key = cv_str_mem(fl->address, fl->address_len);
		struct address *a = cv_map_get(front->addresses, key);
		if (a != NULL && --a->count == 0)
			cv_free(cv_map_remove(front->addresses, key));
	}
	cv_gen_unref(&fl->gen);
	cv_free(fl);
	front_look_drained(front);
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
	uint8_t result;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &result) || !cv_take_str(&msg->payload, 1024, &r.user) || !cv_take_str(&msg->payload, CV_TICKET_LEN, &r.ticket) ||
		!cv_take_str(&msg->payload, CV_ERR_TEXT_MAX, &r.text) || !cv_reader_end(&msg->payload))
		return -1;
	struct pending *p = find(ctx, msg->id, PENDING_LOOKUP);
	if (p == NULL)
		return 0;
	struct cv_login *login = p->login;
	r.id = p->login_id;
	r.result = (enum cv_auth_result)result;
	forget(ctx, p);
	cv_login_on_user(login, &r);
	return 0;
}

static void listen_all(struct front *front);

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
			listen_all(front);
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

void front_relay_done(void *ctx)
{
	struct relay *relay = ctx;
	struct front *front = relay->front;

	cv_list_remove(&relay->node);
	if (cv_map_get(front->relayed, cv_str_c(relay->session)) == relay)
		(void)cv_map_remove(front->relayed, cv_str_c(relay->session));
	front->relay_count--;
	cv_free(relay);
	front_look_drained(front);
}

struct relay *front_relay_new(struct front *front, const struct cv_login_protocol *protocol, const char *session, const struct cv_login_peer *peer)
{
	struct relay *relay = cv_new0(struct relay);

	relay->front = front;
	relay->protocol = protocol;
	relay->peer = *peer;
	(void)snprintf(relay->session, sizeof(relay->session), "%s", session);
	cv_list_append(&front->relays, &relay->node);
	(void)cv_map_set(front->relayed, cv_str_c(relay->session), relay);
	front->relay_count++;
	return relay;
}

void front_relay_begin(struct relay *relay, struct cv_stream *client, int pair_fd)
{
	struct cv_stream *worker = cv_stream_new_socket(relay->front->loop, pair_fd, false, RELAY_BUFFER, RELAY_BUFFER);

	cv_stream_resume(client);
	/* What is relayed over TLS is never handed on. */
	cv_stream_set_sole(client);
	cv_stream_set_sole(worker);
	relay->relay = cv_relay_new(client, worker, front_relay_done, relay);
}

static int on_session_ok(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	struct pending *p = find(front, msg->id, PENDING_SESSION);

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	if (p == NULL)
		return 0;
	struct cv_login *login = p->login;
	int pair_fd = p->pair_fd;
	if (pair_fd >= 0) {
		p->pair_fd = -1;
		front->pair_count--;
	}
	forget(front, p);
	front->logged_in++;
	/* What the login knows of it has to be asked before it ends. */
	struct relay *relay = pair_fd >= 0 ? front_relay_new(front, login->protocol, login->session, &login->peer) : NULL;
	struct cv_stream *stream = cv_login_on_handed_over(login);
	if (pair_fd < 0) {
		/* The worker has the socket itself; what was read ahead went along. */
		cv_stream_free(&stream);
		return 0;
	}
	front_relay_begin(relay, stream, pair_fd);
	return 0;
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

static int on_job_reply(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	struct cv_login_job_reply r = { 0 };

	(void)ipc;
	if (!cv_msg_take_err(&msg->payload, &r.err) || !cv_take_str(&msg->payload, CV_LOGIN_PAYLOAD_MAX, &r.data) || !cv_reader_end(&msg->payload))
		return -1;
	struct pending *p = find(front, msg->id, PENDING_JOB);
	if (p == NULL)
		return 0;
	struct cv_login *login = p->login;
	r.id = p->login_id;
	forget(front, p);
	cv_login_on_job(login, &r);
	return 0;
}

static void forget_hooks(struct front *front)
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
	forget_hooks(front);
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

static int on_session_back(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);

static const struct cv_ipc_type spawner_table[] = {
	{ CV_MSG_HOOKS, "HOOKS", 8192, 0, 0, 0, on_hooks },
	{ CV_MSG_SESSION_BACK, "SESSION_BACK", CV_SESSION_BACK_MAX + 1024, 1, 1, 0, on_session_back },
	{ CV_MSG_SLEEP, "SLEEP", 2048, 1, 1, 0, front_on_sleep },
	{ CV_MSG_ROUSE, "ROUSE", 0, 0, 0, 0, front_on_rouse },
	{ CV_MSG_WOKEN, "WOKEN", 0, 0, 0, 0, front_on_woken },
	{ CV_MSG_WAKE_FAIL, "WAKE_FAIL", 1024, 0, 0, 0, front_on_wake_fail },
	{ CV_MSG_SESSION_OK, "SESSION_OK", 0, 0, 0, 0, on_session_ok },
	{ CV_MSG_SESSION_FAIL, "SESSION_FAIL", 1024, 0, 0, 0, on_session_fail },
	{ CV_MSG_JOB_REPLY, "JOB_REPLY", CV_LOGIN_PAYLOAD_MAX + 1024, 0, 0, 0, on_job_reply },
};

/* ---- Channels ----------------------------------------------------------------------------------------------------------------------- */

/* The process behind a channel is gone, and the questions that were put to it with it. */
static void fail_pending(struct front *front, bool of_auth)
{
	struct cv_str key;
	void *value;
	CV_VEC(uint64_t) ids = { 0 };

	/* Answers run modules' code, which may ask anew: numbers first. */
	for (size_t pos = 0; cv_map_next(front->pending, &pos, &key, &value);) {
		const struct pending *p = value;
		if ((p->kind == PENDING_AUTH || p->kind == PENDING_LOOKUP) == of_auth)
			*cv_vec_push(&ids) = p->id;
	}
	for (size_t i = 0; i < ids.count; i++) {
		struct pending *p = cv_map_get(front->pending, id_key(&ids.data[i]));
		if (p == NULL)
			continue;
		struct cv_login *login = p->login;
		enum pending_kind kind = p->kind;
		bool over_tls = p->pair_fd >= 0;
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
			(void)cv_err_set(&job.err, CV_ERR_UNAVAILABLE, "the spawner ended");
			cv_login_on_job(login, &job);
			break;
		case PENDING_SESSION:
			(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, "the spawner ended");
			/* A worker may have the socket already and write to it as well: nothing can be said then. */
			if (over_tls)
				cv_login_on_handover_failed(login, &err);
			else
				cv_login_close(login, "the spawner ended");
			break;
		}
	}
	cv_vec_free(&ids);
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
		forget_hooks(front);
	cv_ipc_free(&gone);
	fail_pending(front, of_auth);
	if (!of_auth)
		front_end_sleepers(front, "the spawner ended");
	cv_role_peer_lost(front->proc, of_auth ? CV_ROLE_AUTH : CV_ROLE_SPAWNER);
}

static int front_peer(struct cv_role_proc *proc, enum cv_role role, uint32_t index, int fd)
{
	struct front *front = proc->state;

	(void)index;
	if (role == CV_ROLE_AUTH) {
		if (front->auth != NULL) {
			cv_ipc_free(&front->auth);
			fail_pending(front, true);
		}
		front->auth = cv_ipc_new(front->loop, fd, "auth", auth_table, CV_COUNT_OF(auth_table), on_peer_closed, front);
		return 0;
	}
	if (role == CV_ROLE_SPAWNER) {
		if (front->spawner != NULL) {
			cv_ipc_free(&front->spawner);
			fail_pending(front, false);
			front_end_sleepers(front, "the spawner ended");
		}
		front->spawner = cv_ipc_new(front->loop, fd, "spawner", spawner_table, CV_COUNT_OF(spawner_table), on_peer_closed, front);
		return 0;
	}
	(void)close(fd);
	return -1;
}

/* ---- Connections ------------------------------------------------------------------------------------------------------------------------ */

static void set_peer(const struct sockaddr_storage *sa, char *text, size_t size, uint32_t *port)
{
	union {
		const struct sockaddr_storage *storage;
		const struct sockaddr_in *in;
		const struct sockaddr_in6 *in6;
	} u = { .storage = sa };

	text[0] = '\0';
	if (sa->ss_family == AF_INET) {
		(void)inet_ntop(AF_INET, &u.in->sin_addr, text, (socklen_t)size);
		*port = ntohs(u.in->sin_port);
	} else if (sa->ss_family == AF_INET6) {
		if (IN6_IS_ADDR_V4MAPPED(&u.in6->sin6_addr))
			(void)inet_ntop(AF_INET, &u.in6->sin6_addr.s6_addr[12], text, (socklen_t)size);
		else
			(void)inet_ntop(AF_INET6, &u.in6->sin6_addr, text, (socklen_t)size);
		*port = ntohs(u.in6->sin6_port);
	}
}

/* Every process has so many descriptors: those of connections, of relays (two each), and of pairs on their way. */
bool front_fds_left(const struct front *front)
{
	return front->login_count + front->peer_count + 2 * front->relay_count + 2 * front->pair_count + front->sleeper_count + FDS_RESERVED < front->fd_limit;
}

static void rest_listeners(struct front *front, bool rest)
{
	struct cv_node *node, *next;

	cv_list_foreach(&front->listeners, node, next) {
		struct listener *l = cv_container(node, struct listener, node);
		if (rest)
			cv_io_remove(&l->io);
	}
}

static void on_rested(void *ctx)
{
	struct front *front = ctx;

	if (!front_fds_left(front)) {
		cv_timer_set(front->full, FULL_WAIT_MS);
		return;
	}
	listen_all(front);
}

/* The oldest that has not logged in makes room. False: there is none that could. */
static bool drop_oldest(struct front *front)
{
	struct cv_node *node, *next;

	cv_list_foreach(&front->logins, node, next) {
		struct cv_login *login = cv_container(node, struct cv_login, node);
		if (login->state == CV_LOGIN_CLOSED || login->auth_id != 0 || login->state == CV_LOGIN_HANDOVER)
			continue;
		cv_login_goodbye(login, "overloaded");
		return true;
	}
	return false;
}

void front_say_full(struct front *front, const char *what)
{
	uint64_t now = cv_loop_now_ms(front->loop);

	if (front->said_full_ms != 0 && now - front->said_full_ms < NOISE_MS)
		return;
	front->said_full_ms = now;
	cv_warn(NULL, "no room for more connections (%s): %zu before login, %zu of deliverers, %zu relayed, %zu asleep, descriptors %llu (LimitNOFILE of the "
		"service, ulimit -n), client_limit %llu", what, front->login_count, front->peer_count, front->relay_count, front->sleeper_count, (unsigned long long)front->fd_limit, (unsigned long long)front->client_limit);
}

static void overloaded(struct front *front, const char *what)
{
	front_say_full(front, what);
	(void)drop_oldest(front);
	rest_listeners(front, true);
	cv_timer_set(front->full, FULL_WAIT_MS);
}

/* Key for counting: an IPv4 address, or the network of an IPv6 one. */
static size_t address_key(const char *text, char key[20])
{
	uint8_t raw[16];
	uint32_t mapped;

	if (!cv_net_address(text, raw, &mapped))
		return 0;
	size_t len = mapped == 96 ? 16 : 8;
	memcpy(key, raw, len);
	return len;
}

static bool count_address(struct front *front, struct cv_login *login)
{
	struct front_login *fl = of(login);

	if (login->peer.is_unix || login->trusted)
		return true;
	fl->address_len = address_key(login->peer.remote, fl->address);
	if (fl->address_len == 0)
		return true;
	struct cv_str key = cv_str_mem(fl->address, fl->address_len);
	struct address *a = cv_map_get(front->addresses, key);
	if (a == NULL) {
		a = cv_new0(struct address);
		(void)cv_map_set(front->addresses, key, a);
	}
	a->count++;
	return login->set->login_max_connections_per_ip == 0 || a->count <= login->set->login_max_connections_per_ip;
}

static void find_peer(int fd, const struct sockaddr_storage *remote, struct cv_login_peer *peer)
{
	struct sockaddr_storage local = { 0 };
	socklen_t len = sizeof(local);

	set_peer(remote, peer->remote, sizeof(peer->remote), &peer->remote_port);
	if (getsockname(fd, (struct sockaddr *)(void *)&local, &len) == 0)
		set_peer(&local, peer->local, sizeof(peer->local), &peer->local_port);
}

/* A connection's time before login begins. */
static struct cv_login *begin_login(struct front *front, const struct cv_login_protocol *protocol, struct cv_stream *stream,
	const struct cv_login_peer *peer, bool tls, bool back)
{
	struct front_login *fl = cv_new0(struct front_login);
	bool no_auth = (protocol->opts & CV_LOGIN_NO_AUTH) != 0;

	fl->front = front;
	fl->gen = cv_gen_ref(front->proc->gen);
	cv_list_init(&fl->pending);
	struct cv_login_config config = { .host = &front->host, .host_data = fl, .protocol = protocol, .conf = fl->gen->conf, .peer = peer, .tls = tls,
		.back = back, .stream = stream };
	if (no_auth)
		front->peer_count++;
	else
		front->login_count++;
	struct cv_login *login = cv_login_new(&config);
	cv_list_append(no_auth ? &front->peers : &front->logins, &login->node);
	if (!count_address(front, login)) {
		uint64_t now = cv_loop_now_ms(front->loop);
		front->refused++;
		if (front->said_address_ms == 0 || now - front->said_address_ms >= NOISE_MS) {
			front->said_address_ms = now;
			cv_warn(&login->log, "too many connections from this address that are not logged in (login_max_connections_per_ip)");
		}
		cv_login_goodbye(login, "overloaded");
	}
	return login;
}

static struct cv_login *take_connection(struct listener *l, int fd, const struct sockaddr_storage *remote)
{
	struct front *front = l->front;
	struct cv_login_peer peer = { .is_unix = l->is_unix };

	/* TCP_NODELAY and SO_KEEPALIVE come from the listening socket. */
	if (!l->is_unix)
		find_peer(fd, remote, &peer);
	front->accepted++;
	struct cv_stream *stream = cv_stream_new_socket(front->loop, fd, !l->is_unix, l->protocol->max_input, l->protocol->max_output);
	return begin_login(front, l->protocol, stream, &peer, l->tls, false);
}

/* ---- Connections that workers give back ------------------------------------------------------------------------------------------------------ */

static void take_back(struct front *front, const struct cv_login_protocol *protocol, struct cv_stream *stream, const struct cv_login_peer *peer,
	const char *session, struct cv_str unread)
{
	cv_stream_push_back(stream, unread);
	const struct cv_login *login = begin_login(front, protocol, stream, peer, false, true);
	if (login->state != CV_LOGIN_CLOSED)
		cv_info(&login->log, "the client of session %s logged off, and may log in again", session);
}

static void relay_back(void *ctx, struct cv_stream *stream, struct cv_str rest)
{
	struct relay *relay = ctx;
	struct front *front = relay->front;

	if (stream != NULL)
		take_back(front, relay->protocol, stream, &relay->peer, relay->session, rest);
	else
		cv_warn(NULL, "session=%s the client logged off, but its connection did not come back whole", relay->session);
	front_relay_done(relay);
}

bool front_check_peer(int fd, struct cv_str remote, struct cv_login_peer *peer_r)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	*peer_r = (struct cv_login_peer){ 0 };
	if (getpeername(fd, (struct sockaddr *)(void *)&sa, &len) < 0)
		return false;
	peer_r->is_unix = sa.ss_family == AF_UNIX;
	if (!peer_r->is_unix)
		find_peer(fd, &sa, peer_r);
	return cv_str_eq_c(remote, peer_r->remote);
}

/* A socket of its own that comes from a worker: it must be what it was. */
static int take_socket_back(struct front *front, int fd, struct cv_str session, struct cv_str protocol, struct cv_str remote, struct cv_str unread)
{
	struct cv_login_peer peer = { 0 };
	char id[65] = "", name[32] = "";

	(void)snprintf(id, sizeof(id), "%.*s", CV_STR_ARG(session));
	(void)snprintf(name, sizeof(name), "%.*s", CV_STR_ARG(protocol));
	const struct cv_login_protocol *login = cv_provider_get(front->proc->registry, CV_CAP_LOGIN, name);
	if (login == NULL || login->back == NULL || !front_fds_left(front)) {
		(void)close(fd);
		return 0;
	}
	if (!front_check_peer(fd, remote, &peer)) {
		cv_warn(NULL, "session=%s a worker gave another connection back than its own", cv_log_clean(session));
		(void)close(fd);
		return 0;
	}
	take_back(front, login, cv_stream_new(front->loop, fd, login->max_input, login->max_output), &peer, id, unread);
	return 0;
}

static int on_session_back(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	struct cv_str session, protocol, remote, unread;
	uint64_t octets;
	uint8_t relayed;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 64, &session) || !cv_take_str(&msg->payload, 63, &protocol) || !cv_take_str(&msg->payload, 45, &remote) ||
		!cv_take_u8(&msg->payload, &relayed) || !cv_take_u64(&msg->payload, &octets) || !cv_take_str(&msg->payload, CV_SESSION_BACK_MAX, &unread) || !cv_reader_end(&msg->payload))
		return -1;
	int fd = msg->fds[0];
	msg->fds[0] = -1;
	if (!relayed)
		return take_socket_back(front, fd, session, protocol, remote, unread);
	/* Gone meanwhile, or asked for twice: then it is not there any more. */
	struct relay *relay = cv_map_remove(front->relayed, session);
	if (relay != NULL && relay->protocol->back != NULL)
		cv_relay_give_back(relay->relay, octets, unread, fd, relay_back, relay);
	else
		(void)close(fd);
	return 0;
}

static void on_accept(void *ctx, unsigned events)
{
	struct listener *l = ctx;
	struct front *front = l->front;

	(void)events;
	/* To ask whether there is another one is a call for nothing where they come one by one. */
	unsigned most = cv_loop_rounds(front->loop) - l->accept_round <= 1 ? ACCEPT_BURST : 1;
	l->accept_round = cv_loop_rounds(front->loop);
	for (unsigned i = 0; i < most; i++) {
		struct sockaddr_storage remote = { 0 };
		socklen_t len = sizeof(remote);
		if (!front_fds_left(front)) {
			overloaded(front, "descriptors");
			return;
		}
		int fd = accept4(l->fd, (struct sockaddr *)(void *)&remote, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				overloaded(front, strerror(errno));
			/* EAGAIN: another front was faster. Others concern that one connection only. */
			else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && errno != EPROTO && errno != EPERM)
				cv_warn(NULL, "listener %s: accept: %s", l->name, strerror(errno));
			if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO)
				continue;
			return;
		}
		struct cv_login *login = take_connection(l, fd, &remote);
		/* Each kind has the bound for itself: neither keeps the other out. Who delivers comes again by himself. */
		if (l->protocol->opts & CV_LOGIN_NO_AUTH) {
			if (front->peer_count > front->client_limit) {
				front_say_full(front, "client_limit");
				cv_login_goodbye(login, "overloaded");
			}
		} else if (front->login_count + front->relay_count > front->client_limit) {
			front_say_full(front, "client_limit");
			(void)drop_oldest(front);
		}
	}
}

/* ---- Listeners --------------------------------------------------------------------------------------------------------------------------- */

static void listen_on(struct listener *l)
{
	if (l->io == NULL && l->front->proc->started && l->front->has_mechs && !l->front->draining)
		l->io = cv_io_add(l->front->loop, l->fd, CV_IO_READ | CV_IO_EXCLUSIVE, on_accept, l);
}

static void listen_all(struct front *front)
{
	struct cv_node *node, *next;

	cv_list_foreach(&front->listeners, node, next)
		listen_on(cv_container(node, struct listener, node));
}

static int front_listener(struct cv_role_proc *proc, uint64_t token, struct cv_str name, struct cv_str protocol, bool tls, bool is_unix, int fd)
{
	struct front *front = proc->state;
	struct listener *l = cv_new0(struct listener);
	struct cv_buf text;

	l->front = front;
	l->token = token;
	l->tls = tls;
	l->is_unix = is_unix;
	l->fd = fd;
	cv_buf_init(&text, 256);
	cv_buf_append(&text, protocol);
	l->protocol = text.data != NULL ? cv_provider_get(proc->registry, CV_CAP_LOGIN, text.data) : NULL;
	cv_buf_clear(&text);
	cv_buf_append(&text, name);
	l->name = cv_strdup(text.data != NULL ? text.data : "");
	cv_buf_deinit(&text);
	cv_list_append(&front->listeners, &l->node);
	if (l->protocol == NULL) {
		cv_error(NULL, "listener %s: no module speaks protocol %s", l->name, cv_log_clean(protocol));
		return -1;
	}
	listen_on(l);
	return 0;
}

static void free_listener(struct listener *l)
{
	cv_list_remove(&l->node);
	cv_io_remove(&l->io);
	(void)close(l->fd);
	cv_free(l->name);
	cv_free(l);
}

static void front_listener_gone(struct cv_role_proc *proc, uint64_t token)
{
	struct front *front = proc->state;
	struct cv_node *node, *next;

	for (node = front->listeners.next; node != &front->listeners; node = next) {
		struct listener *l = cv_container(node, struct listener, node);
		next = node->next;
		if (l->token == token)
			free_listener(l);
	}
}

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
	front->pending = cv_map_new();
	front->addresses = cv_map_new();
	front->relayed = cv_map_new();
	front->full = cv_timer_add_stopped(front->loop, on_rested, front);
	front->drain = cv_timer_add_stopped(front->loop, on_drain, front);
	front->host = (struct cv_login_host){
		.loop = proc->loop,
		.registry = proc->registry,
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
	listen_all(front);
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
	struct cv_node *node, *next;

	if (!graceful) {
		cv_loop_stop(front->loop);
		return;
	}
	front->draining = true;
	cv_timer_stop(front->full);
	for (node = front->listeners.next; node != &front->listeners; node = next) {
		next = node->next;
		free_listener(cv_container(node, struct listener, node));
	}
	cv_timer_set(front->drain, 0);
}

static void front_status(struct cv_role_proc *proc, struct cv_buf *kv)
{
	const struct front *front = proc->state;

	cv_role_figure(kv, "before_login", front->login_count);
	cv_role_figure(kv, "lmtp_like", front->peer_count);
	cv_role_figure(kv, "relayed", front->relay_count);
	cv_role_figure(kv, "sleeping", front->sleeper_count);
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
	struct cv_node *node, *next;

	end_logins(&front->logins);
	end_logins(&front->peers);
	front_end_sleepers(front, "server ends");
	/* Closing happens in the next round. */
	for (unsigned i = 0; i < 8 && (front->login_count > 0 || front->peer_count > 0); i++)
		(void)cv_loop_once(front->loop, 0);
	for (node = front->relays.next; node != &front->relays; node = next) {
		struct relay *relay = cv_container(node, struct relay, node);
		next = node->next;
		cv_list_remove(&relay->node);
		cv_relay_free(&relay->relay);
		cv_free(relay);
	}
	for (node = front->listeners.next; node != &front->listeners; node = next) {
		next = node->next;
		free_listener(cv_container(node, struct listener, node));
	}
	cv_ipc_free(&front->auth);
	cv_ipc_free(&front->spawner);
	tls_set_unref(&front->tls);
	cv_vec_free(&front->mechs);
	forget_hooks(front);
	cv_vec_free(&front->hooks);
	cv_timer_remove(&front->full);
	cv_timer_remove(&front->drain);
	cv_map_free(&front->pending);
	cv_map_free(&front->addresses);
	cv_map_free(&front->relayed);
	cv_map_free(&front->sleeping);
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
