/* SPDX-License-Identifier: MIT
   Sleeping sessions: the spawner keeps whose they are and what their worker wrote of them, a front has the connection. */
#include "core/proc/login-private.h"
#include "core/proc/spawner.h"
#include <culver/hooks.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SAVED_MAX (CV_SLEEP_BLOB_MAX + 64)

/* ---- Keeping ----------------------------------------------------------------------------------------------------------------------- */

static struct cv_str id_key(const uint64_t *id)
{
	return cv_str_mem(id, sizeof(*id));
}

static struct household *household_of(struct worker *w)
{
	struct spawner *sp = w->sp;
	struct household *house = cv_map_get(sp->households, cv_str_c(w->user));
	size_t count = 0;

	if (house != NULL)
		return house;
	house = cv_new0(struct household);
	house->sp = sp;
	house->arena = cv_arena_new("household", NULL, 0);
	house->user = cv_arena_strdup(house->arena, w->user);
	house->home = w->home != NULL ? cv_arena_strdup(house->arena, w->home) : NULL;
	house->mail = w->mail != NULL ? cv_arena_strdup(house->arena, w->mail) : NULL;
	while (w->fields[count] != NULL)
		count++;
	const char **fields = cv_new(house->arena, const char *, count + 1);
	for (size_t i = 0; i < count; i++)
		fields[i] = cv_arena_strdup(house->arena, w->fields[i]);
	house->fields = fields;
	house->sysuid = w->sysuid;
	house->sysgid = w->sysgid;
	cv_list_init(&house->sleepers);
	(void)cv_map_set(sp->households, cv_str_c(house->user), house);
	return house;
}

/* The household goes with its last one. */
static void sleeper_free(struct sleeper *sleeper)
{
	struct household *house = sleeper->of;
	struct spawner *sp = house->sp;

	(void)cv_map_remove(sp->sleepers, id_key(&sleeper->id));
	cv_list_remove(&sleeper->node);
	session_free(sleeper->session);
	if (sleeper->saved != NULL)
		cv_wipe(sleeper->saved, sleeper->saved_len);
	cv_free(sleeper->saved);
	cv_free(sleeper);
	if (--house->count > 0)
		return;
	(void)cv_map_remove(sp->households, cv_str_c(house->user));
	cv_arena_free(&house->arena);
	cv_free(house);
}

static void say_ended(const struct sleeper *sleeper, struct cv_str reason)
{
	const struct session *s = sleeper->session;
	const struct cv_log_ctx log = { .category = s->protocol, .session = cv_str_c(sleeper->name), .user = cv_str_c(sleeper->of->user),
		.remote = cv_str_c(s->remote) };

	cv_info(&log, "%s session ended: %s while it was asleep, time=%llds", s->protocol, cv_log_clean(reason),
		(long long)(cv_time_now_sec() - s->since_sec));
}

static void rouse(struct sleeper *sleeper)
{
	struct front_peer *front = sleeper->session->front;

	if (sleeper->roused)
		return;
	sleeper->roused = true;
	if (spawner_front_send(front, CV_MSG_ROUSE, sleeper->id, CV_STR(""), NULL, 0) < 0)
		cv_warn(NULL, "session=%s front could not be asked for a sleeping session", sleeper->name);
}

/* Some handler of session_end waits for each session's end. */
static bool end_has_handlers(const struct spawner *sp)
{
	const char *hook, *handler;
	enum cv_hook_stage stage;

	for (size_t pos = 0; cv_hook_next(sp->proc->registry, &pos, &hook, &handler, &stage);) {
		if (strcmp(hook, "session_end") == 0)
			return true;
	}
	return false;
}

/* ---- From workers ---------------------------------------------------------------------------------------------------------------------- */

struct told {
	struct cv_str session, keepalive, goodbye, saved;
	uint32_t received, timeout_ms, keepalive_ms, keepalive_in_ms;
	uint64_t octets;
};

static bool take_told(struct cv_reader *r, struct told *t)
{
	return cv_take_str(r, 64, &t->session) && cv_take_u32(r, &t->received) && cv_take_u64(r, &t->octets) && cv_take_u32(r, &t->timeout_ms) &&
		cv_take_u32(r, &t->keepalive_ms) && cv_take_u32(r, &t->keepalive_in_ms) && cv_take_str(r, CV_SLEEP_TEXT_MAX, &t->keepalive) &&
		cv_take_str(r, CV_SLEEP_TEXT_MAX, &t->goodbye) && cv_take_str(r, SAVED_MAX, &t->saved) && t->saved.ptr != NULL && cv_reader_end(r);
}

static int give_to_front(struct front_peer *front, const struct sleeper *sleeper, const struct told *t, int fd)
{
	const struct session *s = sleeper->session;
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_put_str(&out, t->session);
	cv_put_str(&out, cv_str_c(s->protocol));
	cv_put_str(&out, cv_str_c(s->remote));
	cv_put_u8(&out, s->relayed);
	cv_put_u64(&out, t->octets);
	cv_put_u8(&out, end_has_handlers(front->sp));
	cv_put_u32(&out, t->timeout_ms);
	cv_put_u32(&out, t->keepalive_ms);
	cv_put_u32(&out, t->keepalive_in_ms);
	cv_put_str(&out, t->keepalive);
	cv_put_str(&out, t->goodbye);
	int result = spawner_front_send(front, CV_MSG_SLEEP, sleeper->id, cv_buf_str(&out), &fd, 1);
	cv_buf_deinit(&out);
	return result;
}

/* Those that it was given by a front, and sleeps with; any front will do for a socket that none has. */
static struct front_peer *front_for(const struct spawner *sp, const struct session *s)
{
	struct front_peer *front = s->front;

	if (front == NULL && !s->relayed && !cv_list_empty(&sp->fronts))
		front = cv_container(sp->fronts.next, struct front_peer, node);
	return front != NULL && front->ipc != NULL ? front : NULL;
}

int spawner_on_sleep(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct worker *w = ctx;
	struct spawner *sp = w->sp;
	struct told t;
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	(void)ipc;
	if (!take_told(&msg->payload, &t))
		return -1;
	struct session *s = cv_map_get(w->sessions, t.session);
	if (s == NULL)
		return -1;
	/* Of what is relayed it is the end of a pair, of no use any more when front has read it empty. */
	if (!s->relayed && (getsockopt(msg->fds[0], SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0 || cookie == 0)) {
		cv_warn(&w->log, "a sleeping session's connection is no socket");
		return -1;
	}
	(void)cv_map_remove(w->sessions, t.session);
	struct sleeper *sleeper = cv_new0(struct sleeper);
	sleeper->session = s;
	sleeper->id = ++sp->next_id;
	sleeper->cookie = cookie;
	sleeper->saved = spawner_copy(t.saved);
	sleeper->saved_len = t.saved.len;
	(void)snprintf(sleeper->name, sizeof(sleeper->name), "%.*s", CV_STR_ARG(t.session));
	sleeper->of = household_of(w);
	sleeper->of->count++;
	cv_list_append(&sleeper->of->sleepers, &sleeper->node);
	(void)cv_map_set(sp->sleepers, id_key(&sleeper->id), sleeper);
	s->front = front_for(sp, s);
	if (sp->stopping || s->front == NULL || give_to_front(s->front, sleeper, &t, msg->fds[0]) < 0) {
		say_ended(sleeper, CV_STR("the front ended"));
		sleeper_free(sleeper);
		return 0;
	}
	/* Something was on its way to the worker, which is awake again. */
	if (t.received != w->sent)
		rouse(sleeper);
	return 0;
}

/* ---- From fronts ------------------------------------------------------------------------------------------------------------------------- */

static struct sleeper *find(const struct front_peer *front, uint64_t id)
{
	struct sleeper *sleeper = cv_map_get(front->sp->sleepers, id_key(&id));

	return sleeper != NULL && sleeper->session->front == front ? sleeper : NULL;
}

/* It is the connection that fell asleep, or a new end of what front relays. */
static bool is_its_own(const struct sleeper *sleeper, int fd)
{
	uint64_t cookie = 0;
	int domain = 0;
	socklen_t len = sizeof(cookie);

	if (sleeper->session->relayed) {
		len = sizeof(domain);
		return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
	}
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 && cookie == sleeper->cookie;
}

static void fill_request(struct request *r, const struct sleeper *sleeper, uint32_t keepalive_in_ms, struct cv_str unread)
{
	const struct household *house = sleeper->of;
	const struct session *s = sleeper->session;
	struct cv_buf out;
	size_t count = 0;

	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_buf_append_mem(&out, s->head, s->head_len);
	cv_put_str(&out, cv_str_mem(sleeper->saved, sleeper->saved_len));
	cv_put_u32(&out, keepalive_in_ms);
	cv_put_str(&out, unread);
	r->payload = cv_buf_ok(&out) ? cv_arena_str(r->arena, cv_buf_str(&out)) : (struct cv_str){ 0 };
	cv_buf_deinit(&out);
	r->head_len = s->head_len;
	r->protocol = cv_arena_str(r->arena, cv_str_c(s->protocol));
	r->session = cv_arena_str(r->arena, cv_str_c(sleeper->name));
	r->remote = cv_arena_str(r->arena, cv_str_c(s->remote));
	r->secured = s->secured;
	r->relayed = s->relayed;
	r->since_sec = s->since_sec;
	r->kick = sleeper->kick;
	r->user = cv_arena_strdup(r->arena, house->user);
	r->home = house->home != NULL ? cv_arena_strdup(r->arena, house->home) : NULL;
	r->mail = house->mail != NULL ? cv_arena_strdup(r->arena, house->mail) : NULL;
	while (house->fields[count] != NULL)
		count++;
	r->fields = cv_new(r->arena, const char *, count + 1);
	for (; r->field_count < count; r->field_count++)
		r->fields[r->field_count] = cv_arena_strdup(r->arena, house->fields[r->field_count]);
	r->sysuid = house->sysuid;
	r->sysgid = house->sysgid;
}

static void refuse(struct front_peer *front, uint64_t id, enum cv_err_code code, const char *text)
{
	struct cv_buf out;

	cv_buf_init(&out, 1024);
	cv_put_u8(&out, (uint8_t)code);
	cv_put_u8(&out, false);
	cv_put_str(&out, cv_str_c(text));
	if (spawner_front_send(front, CV_MSG_WAKE_FAIL, id, cv_buf_str(&out), NULL, 0) < 0)
		cv_warn(NULL, "an answer to front could not be sent");
	cv_buf_deinit(&out);
}

int spawner_on_wake(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front_peer *front = ctx;
	struct spawner *sp = front->sp;
	struct cv_str unread;
	uint32_t keepalive_in_ms;

	(void)ipc;
	if (!cv_take_u32(&msg->payload, &keepalive_in_ms) || !cv_take_str(&msg->payload, CV_SESSION_BACK_MAX, &unread) || !cv_reader_end(&msg->payload))
		return -1;
	struct sleeper *sleeper = find(front, msg->id);
	/* Dismissed meanwhile: front knows by now. */
	if (sleeper == NULL)
		return 0;
	if (!is_its_own(sleeper, msg->fds[0])) {
		cv_error(NULL, "session=%s front brings another connection for a sleeping session than its own", sleeper->name);
		refuse(front, msg->id, CV_ERR_PERM, "another connection");
		say_ended(sleeper, CV_STR("the connection is lost"));
		sleeper_free(sleeper);
		return 0;
	}
	if (!spawner_fds_left(sp)) {
		refuse(front, msg->id, CV_ERR_LIMIT, "the server has no room for more sessions");
		say_ended(sleeper, CV_STR("no descriptors are left"));
		sleeper_free(sleeper);
		return 0;
	}
	struct request *r = request_new(sp, REQUEST_WAKE, front, msg->id, spawner_take_fd(msg));
	fill_request(r, sleeper, keepalive_in_ms, unread);
	sleeper_free(sleeper);
	spawner_place(sp, r);
	return 0;
}

int spawner_on_sleeper_gone(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front_peer *front = ctx;
	struct cv_str reason;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 255, &reason) || !cv_reader_end(&msg->payload))
		return -1;
	struct sleeper *sleeper = find(front, msg->id);
	if (sleeper == NULL)
		return 0;
	say_ended(sleeper, reason);
	sleeper_free(sleeper);
	return 0;
}

/* ---- For the rest of the spawner ------------------------------------------------------------------------------------------------------------ */

void spawner_rouse(struct spawner *sp, const char *user)
{
	const struct household *house = cv_map_get(sp->households, cv_str_c(user));
	struct cv_node *node, *next;

	if (house == NULL)
		return;
	cv_list_foreach(&house->sleepers, node, next)
		rouse(cv_container(node, struct sleeper, node));
}

void spawner_forget_sleepers(struct spawner *sp, const struct front_peer *front)
{
	struct cv_str key;
	void *value;

	for (size_t pos = 0; cv_map_next(sp->sleepers, &pos, &key, &value);) {
		struct sleeper *sleeper = value;
		if (front != NULL && sleeper->session->front != front)
			continue;
		say_ended(sleeper, front != NULL ? CV_STR("the front ended") : CV_STR("the server ended"));
		sleeper_free(sleeper);
	}
}

size_t spawner_sleeping(const struct spawner *sp, const char *user, struct cv_str remote, struct cv_str protocol)
{
	const struct household *house = cv_map_get(sp->households, cv_str_c(user));
	struct cv_node *node, *next;
	size_t count = 0;

	if (house == NULL)
		return 0;
	if (remote.ptr == NULL)
		return house->count;
	cv_list_foreach(&house->sleepers, node, next) {
		const struct session *s = cv_container(node, struct sleeper, node)->session;
		count += cv_str_eq_c(remote, s->remote) && cv_str_eq_c(protocol, s->protocol);
	}
	return count;
}

void spawner_kick_sleeper(struct sleeper *sleeper)
{
	sleeper->kick = true;
	rouse(sleeper);
}
