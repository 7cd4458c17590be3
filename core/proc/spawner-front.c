/* SPDX-License-Identifier: MIT
   What fronts ask of the spawner. */
#include "core/proc/login-private.h"
#include "core/proc/spawner.h"
#include <culver/hooks.h>

#include <string.h>

/* Until a front hears of sessions that it does not wait for. */
#define TELL_BEGUN_MS 20

/* ---- To fronts ------------------------------------------------------------------------------------------------------------------------- */

static int tell_begun(struct front_peer *front)
{
	int result = 0;

	if (front->begun.len == 0)
		return 0;
	cv_timer_stop(front->tell_begun);
	if (front->ipc == NULL || cv_ipc_send(front->ipc, CV_MSG_SESSION_OK, 0, cv_buf_str(&front->begun), NULL, 0) < 0)
		result = -1;
	cv_buf_clear(&front->begun);
	return result;
}

static void on_tell_begun(void *ctx)
{
	if (tell_begun(ctx) < 0)
		cv_warn(NULL, "an answer to front could not be sent");
}

void spawner_tell_begun(const struct request *r)
{
	struct front_peer *front = r->front;

	if (front == NULL)
		return;
	if (front->begun.len == 0)
		cv_timer_set(front->tell_begun, TELL_BEGUN_MS);
	cv_put_u64(&front->begun, r->front_id);
	if (r->ok_wanted || front->begun.len >= CV_SESSION_OK_MAX * sizeof(uint64_t))
		on_tell_begun(front);
}

/* In the order in which it happened: what comes back from a worker had begun. */
int spawner_front_send(struct front_peer *front, uint16_t type, uint64_t id, struct cv_str payload, const int *fds, unsigned nfds)
{
	if (front->ipc == NULL || tell_begun(front) < 0)
		return -1;
	return cv_ipc_send(front->ipc, type, id, payload, fds, nfds);
}

/* ---- From fronts: they may lie, but only about what they were told by clients anyway ------------------------------------------------------ */

int spawner_take_fd(struct cv_ipc_msg *msg)
{
	int fd = -1;

	if (msg->nfds > 0) {
		fd = msg->fds[0];
		msg->fds[0] = -1;
	}
	return fd;
}

/* What follows the ticket goes to the worker as it is; here it is checked whole, so that a worker need not fear it. */
static bool take_session(struct cv_reader *reader, struct request *r)
{
	struct cv_str local, name, tls, resume, unread;
	uint32_t remote_port, local_port;
	uint8_t secured;

	r->payload = cv_arena_str(r->arena, cv_reader_rest(reader));
	struct cv_reader own = cv_reader_init(r->payload);
	if (!cv_take_str(&own, 63, &r->protocol) || !cv_take_str(&own, 64, &r->session) || !cv_take_str(&own, 45, &r->remote) ||
		!cv_take_u32(&own, &remote_port) || !cv_take_str(&own, 45, &local) || !cv_take_u32(&own, &local_port) ||
		!cv_take_str(&own, 255, &name) || !cv_take_u8(&own, &secured) || !cv_take_str(&own, 255, &tls))
		return false;
	r->head_len = own.pos;
	if (!cv_take_str(&own, CV_LOGIN_RESUME_MAX, &resume) || !cv_take_str(&own, CV_IPC_MAX_PAYLOAD, &unread) || !cv_msg_skip_kv(&own))
		return false;
	r->secured = secured != 0;
	r->relayed = tls.len > 0;
	return cv_reader_end(&own) && r->session.len > 0;
}

/* Whose r is. */
static void redeem(struct request *r, struct cv_str ticket)
{
	if (ticket.len > CV_TICKET_LEN)
		spawner_open_ticket(r->sp, r, ticket);
	else
		spawner_ask(r->sp, r, CV_MSG_TICKET, ticket, r->protocol);
}

static int on_session(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front_peer *front = ctx;
	struct request *r = request_new(front->sp, REQUEST_SESSION, front, msg->id, spawner_take_fd(msg));
	struct cv_str ticket;
	uint8_t wanted;

	(void)ipc;
	if (!cv_take_str(&msg->payload, CV_TICKET_MAX, &ticket) || ticket.len < CV_TICKET_LEN || !cv_take_u8(&msg->payload, &wanted) ||
		!take_session(&msg->payload, r)) {
		request_free(&r);
		return -1;
	}
	r->ok_wanted = wanted != 0;
	redeem(r, ticket);
	return 0;
}

static int on_job(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct front_peer *front = ctx;
	struct request *r = request_new(front->sp, REQUEST_JOB, front, msg->id, spawner_take_fd(msg));
	struct cv_str ticket, payload;
	struct cv_buf out;
	uint8_t wanted;

	(void)ipc;
	bool good = cv_take_str(&msg->payload, CV_TICKET_MANY_MAX, &ticket) && ticket.len >= CV_TICKET_LEN &&
		cv_take_u8(&msg->payload, &wanted);
	if (good) {
		r->channel_wanted = wanted != 0;
		r->payload = cv_arena_str(r->arena, cv_reader_rest(&msg->payload));
		struct cv_reader own = cv_reader_init(r->payload);
		good = cv_take_str(&own, 63, &r->protocol) && cv_take_str(&own, 64, &r->session) && cv_take_str(&own, 45, &r->remote) &&
			cv_take_str(&own, CV_LOGIN_PAYLOAD_MAX, &payload) && cv_reader_end(&own);
	}
	if (good) {
		/* Who asks is the spawner's to say, and front asks for nobody. */
		cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
		cv_buf_append(&out, r->payload);
		cv_put_str(&out, (struct cv_str){ 0 });
		r->payload = cv_arena_str(r->arena, cv_buf_str(&out));
		good = cv_buf_ok(&out);
		cv_buf_deinit(&out);
	}
	if (!good) {
		request_free(&r);
		return -1;
	}
	redeem(r, ticket);
	return 0;
}

static const struct cv_ipc_type front_table[] = {
	{ CV_MSG_SESSION, "SESSION", CV_IPC_MAX_PAYLOAD, 1, 1, 0, on_session },
	{ CV_MSG_JOB, "JOB", CV_IPC_MAX_PAYLOAD, 0, 1, 0, on_job },
	{ CV_MSG_WAKE, "WAKE", CV_IPC_MAX_PAYLOAD, 1, 1, 0, spawner_on_wake },
	{ CV_MSG_SLEEPER_GONE, "SLEEPER_GONE", 512, 0, 0, 0, spawner_on_sleeper_gone },
};

static void forget_front(struct request *r, const void *front)
{
	if (r->front == front)
		r->front = NULL;
}

/* Its connections before login are lost; deliveries that run go on. */
void spawner_front_free(struct front_peer *front)
{
	struct cv_node *node, *next;

	spawner_each_request(front->sp, forget_front, front);
	spawner_forget_sleepers(front->sp, front);
	cv_list_foreach(&front->sp->workers, node, next) {
		struct worker *w = cv_container(node, struct worker, node);
		struct cv_str key;
		void *value;
		for (size_t pos = 0; cv_map_next(w->sessions, &pos, &key, &value);) {
			struct session *s = value;
			if (s->front == front)
				s->front = NULL;
		}
	}
	on_tell_begun(front);
	cv_list_remove(&front->node);
	cv_timer_remove(&front->tell_begun);
	cv_buf_deinit(&front->begun);
	cv_ipc_free(&front->ipc);
	cv_free(front);
}

static void on_front_closed(void *ctx, struct cv_ipc *ipc)
{
	struct front_peer *front = ctx;

	(void)ipc;
	cv_buf_clear(&front->begun); /* nobody is there to hear it */
	spawner_front_free(front);
}

/* What front need not ask workers for. */
void spawner_tell_hooks(struct spawner *sp, struct front_peer *front)
{
	const char *hook, *handler, *before = "";
	enum cv_hook_stage stage;
	uint16_t count = 0;
	struct cv_buf names, out;

	cv_buf_init(&names, CV_IPC_MAX_PAYLOAD);
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	for (size_t pos = 0; cv_hook_next(sp->proc->registry, &pos, &hook, &handler, &stage);) {
		if (strcmp(hook, before) == 0) /* handlers of one hook come together */
			continue;
		cv_put_str(&names, cv_str_c(hook));
		before = hook;
		count++;
	}
	cv_put_u16(&out, count);
	cv_buf_append(&out, cv_buf_str(&names));
	spawner_send_front(front, CV_MSG_HOOKS, 0, &out, -1);
	cv_buf_deinit(&names);
	cv_buf_deinit(&out);
}

void spawner_front_connect(struct spawner *sp, uint32_t index, int fd)
{
	struct front_peer *front = cv_new0(struct front_peer);

	front->sp = sp;
	front->index = index;
	cv_buf_init(&front->begun, CV_SESSION_OK_MAX * sizeof(uint64_t));
	front->tell_begun = cv_timer_add_stopped(sp->loop, on_tell_begun, front);
	front->ipc = cv_ipc_new(sp->loop, fd, "front", front_table, CV_COUNT_OF(front_table), on_front_closed, front);
	cv_list_append(&sp->fronts, &front->node);
	spawner_tell_hooks(sp, front);
}
