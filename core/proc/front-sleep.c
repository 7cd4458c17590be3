/* SPDX-License-Identifier: MIT
   Sleeping sessions in front: connections that wait for their clients. What the sessions are is the spawner's to know; here they have a number. */
#include "core/proc/front.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_MAX 4096
#define OUTPUT_MAX 4096
#define CLOSE_MS 10000
#define KEEPALIVE_MIN_MS 100
/* Keepalives that may pile up before the client counts as gone. */
#define UNTAKEN_MAX 5u

struct sleeper {
	struct cv_node node;
	struct front *front;
	uint64_t id;
	enum sleeper_state {
		SLEEPER_FALLING = 1, /* its relay is being undone */
		SLEEPER_ASLEEP,
		SLEEPER_FLUSHING,    /* it wakes as soon as what was written has gone out */
		SLEEPER_ASKED        /* the spawner has been told */
	} state;
	bool wake_at_end, rouse;
	struct cv_stream *stream; /* NULL while FALLING */
	struct relay *relay;      /* FALLING: the one that is undone; NULL: none */
	bool relayed;
	int pair_fd;              /* ASKED and relayed: our end; -1 */
	struct cv_timer *timer;
	uint64_t timeout_due, keepalive_due; /* 0: none */
	uint32_t keepalive_ms;
	unsigned untaken;
	char *keepalive, *goodbye; /* owned */
	size_t keepalive_len, goodbye_len;
	/* For the relay to come. */
	const struct cv_login_protocol *protocol;
	struct cv_login_peer *peer; /* owned */
	char session[CV_SESSION_ID_LEN + 1];
};

static struct cv_str id_key(const uint64_t *id)
{
	return cv_str_mem(id, sizeof(*id));
}

/* ---- Life --------------------------------------------------------------------------------------------------------------------------- */

static void set_timer(struct sleeper *s)
{
	uint64_t due = s->timeout_due, now = cv_loop_now_ms(s->front->loop);

	if (s->keepalive_due != 0 && (due == 0 || s->keepalive_due < due))
		due = s->keepalive_due;
	if (due != 0)
		cv_timer_set(s->timer, due > now ? due - now : 0);
}

static void sleeper_free(struct sleeper *s)
{
	struct front *front = s->front;

	(void)cv_map_remove(front->sleeping, id_key(&s->id));
	cv_list_remove(&s->node);
	cv_timer_remove(&s->timer);
	if (s->stream != NULL)
		cv_stream_free(&s->stream);
	if (s->pair_fd >= 0) {
		(void)close(s->pair_fd);
		front->pair_count--;
	}
	cv_free(s->keepalive);
	cv_free(s->goodbye);
	cv_free(s->peer);
	cv_free(s);
	front->sleeper_count--;
	front_look_drained(front);
}

static void tell_gone(struct front *front, uint64_t id, const char *reason)
{
	struct cv_buf out;

	cv_buf_init(&out, 512);
	cv_put_str(&out, cv_str_sub(cv_str_c(reason), 0, 200));
	if (front->spawner != NULL && cv_ipc_send(front->spawner, CV_MSG_SLEEPER_GONE, id, cv_buf_str(&out), NULL, 0) < 0)
		cv_warn(NULL, "the end of a sleeping session could not be told to the spawner");
	cv_buf_deinit(&out);
}

/* The client is not there any more. */
static void gone(struct sleeper *s, const char *reason)
{
	tell_gone(s->front, s->id, reason);
	sleeper_free(s);
}

/* The server ends it; the spawner knows. */
static void say_goodbye(struct sleeper *s)
{
	/* A worker may have the socket already, and write to it as well. */
	if (s->stream != NULL && (s->relayed || s->state != SLEEPER_ASKED)) {
		cv_stream_write(s->stream, cv_str_mem(s->goodbye, s->goodbye_len));
		cv_stream_close_after_flush(&s->stream, CLOSE_MS);
	}
	sleeper_free(s);
}

/* ---- Waking --------------------------------------------------------------------------------------------------------------------------- */

static void ask_spawner(struct sleeper *s)
{
	struct front *front = s->front;
	uint64_t now = cv_loop_now_ms(front->loop);
	int pair[2] = { -1, -1 }, fd = cv_stream_fd(s->stream);
	struct cv_buf out;

	if (s->relayed) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
			cv_warn(NULL, "session=%s cannot wake: socket pair: %s", s->session, strerror(errno));
			tell_gone(front, s->id, "no socket pair to wake it with");
			say_goodbye(s);
			return;
		}
		s->pair_fd = pair[0];
		front->pair_count++;
		fd = pair[1];
	}
	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_u32(&out, s->keepalive_due > now ? (uint32_t)(s->keepalive_due - now) : 0);
	/* What is relayed comes through the pair. */
	cv_put_str(&out, s->relayed ? CV_STR("") : cv_stream_input(s->stream));
	int result = front->spawner != NULL ? cv_ipc_send(front->spawner, CV_MSG_WAKE, s->id, cv_buf_str(&out), &fd, 1) : -1;
	cv_buf_deinit(&out);
	if (pair[1] >= 0)
		(void)close(pair[1]);
	if (result < 0) {
		say_goodbye(s);
		return;
	}
	s->state = SLEEPER_ASKED;
	cv_timer_stop(s->timer);
}

static void try_wake(struct sleeper *s)
{
	if (cv_stream_flush(s->stream) < 0)
		gone(s, cv_stream_error(s->stream) != NULL ? cv_stream_error(s->stream) : "Connection closed");
	else if (cv_stream_unsent(s->stream) == 0)
		ask_spawner(s);
}

static void wake(struct sleeper *s)
{
	if (s->state != SLEEPER_ASLEEP)
		return;
	s->state = SLEEPER_FLUSHING;
	cv_stream_pause(s->stream);
	try_wake(s);
}

static void on_input(void *ctx)
{
	struct sleeper *s = ctx;

	if (s->state != SLEEPER_ASLEEP && s->state != SLEEPER_FLUSHING)
		return;
	if (cv_stream_error(s->stream) != NULL)
		gone(s, cv_stream_error(s->stream));
	else if (cv_stream_input(s->stream).len > 0 || (cv_stream_ended(s->stream) && s->wake_at_end))
		wake(s);
	else if (cv_stream_ended(s->stream))
		gone(s, "Connection closed");
}

static void on_output(void *ctx)
{
	struct sleeper *s = ctx;

	s->untaken = 0;
	if (s->state == SLEEPER_FLUSHING)
		try_wake(s);
}

static void on_timer(void *ctx)
{
	struct sleeper *s = ctx;
	uint64_t now = cv_loop_now_ms(s->front->loop);

	if (s->keepalive_due != 0 && s->keepalive_due <= now) {
		s->keepalive_due = now + s->keepalive_ms;
		if (cv_stream_unsent(s->stream) == 0) {
			cv_stream_write(s->stream, cv_str_mem(s->keepalive, s->keepalive_len));
		} else if (++s->untaken >= UNTAKEN_MAX) {
			gone(s, "Connection lost: client takes no output");
			return;
		}
	}
	if (s->timeout_due != 0 && s->timeout_due <= now) {
		/* The session has its own words for that. */
		s->timeout_due = 0;
		set_timer(s);
		wake(s);
		return;
	}
	set_timer(s);
}

/* ---- Falling asleep ------------------------------------------------------------------------------------------------------------------------ */

static void fall_asleep(struct sleeper *s, struct cv_stream *stream)
{
	static const struct cv_stream_ops ops = { .input = on_input, .output = on_output };
	uint64_t now = cv_loop_now_ms(s->front->loop);

	s->state = SLEEPER_ASLEEP;
	s->stream = stream;
	if (s->front->draining || s->front->spawner == NULL) {
		tell_gone(s->front, s->id, "shutdown");
		say_goodbye(s);
		return;
	}
	cv_stream_set_ops(stream, &ops, s);
	cv_stream_resume(stream);
	/* Times that were told as of then. */
	if (s->timeout_due != 0)
		s->timeout_due += now;
	if (s->keepalive_len > 0)
		s->keepalive_due += now;
	set_timer(s);
	if (!front_fds_left(s->front)) {
		front_say_full(s->front, "a session cannot sleep: descriptors");
		s->rouse = true;
	}
	if (s->rouse)
		wake(s);
}

/* The relay is undone: what the worker had not taken stands before all else. */
static void on_relay_back(void *ctx, struct cv_stream *stream, struct cv_str rest)
{
	struct sleeper *s = ctx;
	struct relay *relay = s->relay;

	s->relay = NULL;
	if (stream == NULL) {
		gone(s, "Connection closed");
	} else {
		if (rest.len > 0)
			cv_stream_push_back(stream, rest);
		fall_asleep(s, stream);
	}
	front_relay_done(relay);
}

static char *copy(struct cv_str s)
{
	char *text = cv_malloc(s.len + 1);

	if (s.len > 0)
		memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	return text;
}

static void take_socket(struct sleeper *s, int fd, struct cv_str remote)
{
	struct cv_login_peer peer;

	if (!front_check_peer(fd, remote, &peer)) {
		cv_warn(NULL, "session=%s a worker gave another connection than its own", s->session);
		(void)close(fd);
		gone(s, "the connection is not the session's");
		return;
	}
	fall_asleep(s, cv_stream_new(s->front->loop, fd, INPUT_MAX, OUTPUT_MAX));
}

static void undo_relay(struct sleeper *s, struct cv_str session, uint64_t octets, int end_fd)
{
	struct front *front = s->front;
	struct relay *relay = cv_map_remove(front->relayed, session);

	if (relay == NULL) {
		(void)close(end_fd);
		gone(s, "Connection closed");
		return;
	}
	s->relayed = true;
	s->relay = relay;
	s->protocol = relay->protocol;
	s->peer = cv_new0(struct cv_login_peer);
	*s->peer = relay->peer;
	cv_relay_give_back(relay->relay, octets, CV_STR(""), end_fd, on_relay_back, s);
}

int front_on_sleep(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	struct cv_str session, protocol, remote, keepalive, goodbye;
	uint32_t timeout_ms, keepalive_ms, keepalive_in_ms;
	uint64_t octets;
	uint8_t relayed, wake_at_end;

	(void)ipc;
	struct cv_reader *r = &msg->payload;
	if (!cv_take_str(r, CV_SESSION_ID_LEN, &session) || !cv_take_str(r, 63, &protocol) || !cv_take_str(r, 45, &remote) || !cv_take_u8(r, &relayed) ||
		!cv_take_u64(r, &octets) ||
		!cv_take_u8(r, &wake_at_end) || !cv_take_u32(r, &timeout_ms) || !cv_take_u32(r, &keepalive_ms) || !cv_take_u32(r, &keepalive_in_ms) ||
		!cv_take_str(r, CV_SLEEP_TEXT_MAX, &keepalive) || !cv_take_str(r, CV_SLEEP_TEXT_MAX, &goodbye) || !cv_reader_end(r))
		return -1;
	struct sleeper *s = cv_new0(struct sleeper);
	s->front = front;
	s->id = msg->id;
	s->state = SLEEPER_FALLING;
	s->pair_fd = -1;
	s->wake_at_end = wake_at_end != 0;
	s->timeout_due = timeout_ms;
	s->keepalive_ms = CV_MAX(keepalive_ms, (uint32_t)KEEPALIVE_MIN_MS);
	s->keepalive_len = keepalive_ms > 0 ? keepalive.len : 0;
	s->keepalive_due = s->keepalive_len > 0 ? keepalive_in_ms : 0;
	s->keepalive = copy(keepalive);
	s->goodbye = copy(goodbye);
	s->goodbye_len = goodbye.len;
	(void)snprintf(s->session, sizeof(s->session), "%.*s", CV_STR_ARG(session));
	s->timer = cv_timer_add_stopped(front->loop, on_timer, s);
	cv_list_append(&front->sleepers, &s->node);
	(void)cv_map_set(front->sleeping, id_key(&s->id), s);
	front->sleeper_count++;
	int fd = msg->fds[0];
	msg->fds[0] = -1;
	if (relayed)
		undo_relay(s, session, octets, fd);
	else
		take_socket(s, fd, remote);
	return 0;
}

/* ---- From the spawner ------------------------------------------------------------------------------------------------------------------------ */

/* NULL: it ended meanwhile, and the spawner is about to hear so. */
static struct sleeper *find(const struct front *front, uint64_t id)
{
	return cv_map_get(front->sleeping, id_key(&id));
}

int front_on_rouse(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct sleeper *s = find(ctx, msg->id);

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	if (s == NULL)
		return 0;
	s->rouse = true;
	wake(s);
	return 0;
}

int front_on_woken(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front *front = ctx;
	struct sleeper *s = find(front, msg->id);

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	if (s == NULL || s->state != SLEEPER_ASKED)
		return 0;
	if (s->relayed) {
		struct cv_stream *stream = s->stream;
		int fd = s->pair_fd;
		s->stream = NULL;
		s->pair_fd = -1;
		front->pair_count--;
		front_relay_begin(front_relay_new(front, s->protocol, s->session, s->peer), stream, front_pair_stream(front, fd));
	}
	/* Else the worker has the socket itself; what was read ahead went along. */
	sleeper_free(s);
	return 0;
}

int front_on_wake_fail(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct sleeper *s = find(ctx, msg->id);
	struct cv_err err;

	(void)ipc;
	if (!cv_msg_take_err(&msg->payload, &err) || !cv_reader_end(&msg->payload))
		return -1;
	if (s == NULL)
		return 0;
	/* No worker got the socket. */
	if (s->state == SLEEPER_ASKED)
		s->state = SLEEPER_ASLEEP;
	say_goodbye(s);
	return 0;
}

void front_end_sleepers(struct front *front, const char *why)
{
	struct cv_node *node, *next;

	for (node = front->sleepers.next; node != &front->sleepers; node = next) {
		struct sleeper *s = cv_container(node, struct sleeper, node);
		struct relay *relay = s->relay;

		next = node->next;
		if (relay != NULL) {
			/* Its streams are the relay's still: it ends without a word. */
			s->relay = NULL;
			cv_relay_free(&relay->relay);
			front_relay_done(relay);
		}
		tell_gone(front, s->id, why);
		say_goodbye(s);
	}
}
