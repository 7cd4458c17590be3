/* SPDX-License-Identifier: MIT
   Jobs that fronts give to the worker itself. A front may lie: what it can have done this way is what it could by way of the spawner, with a ticket that auth gives
   for any user's name; so a channel is good for one protocol, and no longer than a ticket. */
#include "core/proc/worker-front.h"

#include "core/proc/login-private.h"
#include <culver/ipc.h>

#include <unistd.h>

#define CHANNELS_MAX 64u
#define RENEW_MS 300000u   /* a channel that is so old is to be given up … */
#define GOOD_FOR_MS 600000u /* … and is good for nothing then */

struct channel {
	struct cv_node node;
	struct worker_fronts *fronts;
	const struct cv_session_protocol *protocol;
	struct cv_ipc *ipc;
	uint64_t since_ms;
	bool asked; /* to end */
	uint64_t asked_ms;
};

struct front_job {
	struct channel *channel; /* NULL: it is gone */
	uint64_t id, front_id;
};

static struct cv_str key(const uint64_t *id)
{
	return cv_str_mem(id, sizeof(*id));
}

static void channel_free(struct channel *c)
{
	struct worker_fronts *fronts = c->fronts;
	struct cv_str id;
	void *value;

	for (size_t pos = 0; cv_map_next(fronts->jobs, &pos, &id, &value);) {
		struct front_job *job = value;
		if (job->channel == c)
			job->channel = NULL;
	}
	cv_list_remove(&c->node);
	fronts->count--;
	cv_ipc_free(&c->ipc);
	cv_free(c);
}

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct channel *c = ctx;
	struct worker_fronts *fronts = c->fronts;

	(void)ipc;
	channel_free(c);
	if (fronts->count == 0)
		fronts->all_gone(fronts->ctx);
}

static void send(struct channel *c, uint16_t type, uint64_t id, const struct cv_buf *out)
{
	/* One that does not read is closed by the channel; its front fails what waits for it. */
	if (!cv_buf_ok(out) || cv_ipc_send(c->ipc, type, id, cv_buf_str(out), NULL, 0) < 0)
		cv_debug(NULL, "message %u to a front could not be sent", type);
}

static void send_reply(struct channel *c, uint64_t id, const struct cv_err *err, struct cv_str data)
{
	struct cv_buf out;

	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_msg_put_err(&out, err);
	cv_put_str(&out, data);
	send(c, CV_MSG_DIRECT_REPLY, id, &out);
	cv_buf_deinit(&out);
}

static void ask_end(struct channel *c)
{
	struct cv_buf nothing;

	c->asked = true;
	c->asked_ms = cv_loop_now_ms(c->fronts->host->loop);
	cv_buf_init(&nothing, 16);
	send(c, CV_MSG_DIRECT_END, 0, &nothing);
	cv_buf_deinit(&nothing);
}

static int on_job(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct channel *c = ctx;
	struct worker_fronts *fronts = c->fronts;
	struct cv_str session, remote, payload;
	uint64_t age = cv_loop_now_ms(fronts->host->loop) - c->since_ms;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 64, &session) || !cv_take_str(&msg->payload, 45, &remote) ||
		!cv_take_str(&msg->payload, CV_LOGIN_PAYLOAD_MAX, &payload) || !cv_reader_end(&msg->payload) || age > GOOD_FOR_MS)
		return -1;
	if (age > RENEW_MS && !c->asked)
		ask_end(c);
	if (fronts->host->job_count >= CV_WORKER_JOBS_MAX) {
		struct cv_err err = { 0 };
		(void)cv_err_set(&err, CV_ERR_UNAVAILABLE, "%zu deliveries to this user are waiting", fronts->host->job_count);
		send_reply(c, msg->id, &err, CV_STR(""));
		return 0;
	}
	struct front_job *job = cv_new0(struct front_job);
	job->channel = c;
	job->front_id = msg->id;
	job->id = ++fronts->next_job | WORKER_FRONT_JOB;
	(void)cv_map_set(fronts->jobs, key(&job->id), job);
	fronts->done++;
	fronts->begins(fronts->ctx);
	cv_job_begin(fronts->host, job->id, c->protocol, session, remote, payload, (struct cv_str){ 0 }, msg->nfds > 0 ? msg->fds[0] : -1);
	return 0;
}

static const struct cv_ipc_type table[] = {
	{ CV_MSG_DIRECT_JOB, "DIRECT_JOB", CV_LOGIN_PAYLOAD_MAX + 1024, 0, 1, 0, on_job },
};

void worker_fronts_init(struct worker_fronts *fronts, struct cv_session_host *host)
{
	fronts->host = host;
	cv_list_init(&fronts->channels);
	fronts->jobs = cv_map_new();
}

void worker_fronts_deinit(struct worker_fronts *fronts)
{
	struct cv_str id;
	void *value;

	worker_fronts_drop(fronts);
	for (size_t pos = 0; cv_map_next(fronts->jobs, &pos, &id, &value);)
		cv_free(value);
	cv_map_free(&fronts->jobs);
}

void worker_fronts_add(struct worker_fronts *fronts, const struct cv_session_protocol *protocol, int fd)
{
	if (fronts->count >= CHANNELS_MAX) {
		(void)close(fd);
		return;
	}
	struct channel *c = cv_new0(struct channel);
	c->fronts = fronts;
	c->protocol = protocol;
	c->since_ms = cv_loop_now_ms(fronts->host->loop);
	c->ipc = cv_ipc_new(fronts->host->loop, fd, "front", table, CV_COUNT_OF(table), on_closed, c);
	cv_list_append(&fronts->channels, &c->node);
	fronts->count++;
}

bool worker_fronts_ask_end(struct worker_fronts *fronts)
{
	struct cv_node *node, *next;
	uint64_t now = cv_loop_now_ms(fronts->host->loop);
	bool wait = false;

	cv_list_foreach(&fronts->channels, node, next) {
		struct channel *c = cv_container(node, struct channel, node);
		if (!c->asked)
			ask_end(c);
		wait = wait || now - c->asked_ms < WORKER_FRONTS_END_MS;
	}
	return wait;
}

void worker_fronts_drop(struct worker_fronts *fronts)
{
	while (!cv_list_empty(&fronts->channels))
		channel_free(cv_container(fronts->channels.next, struct channel, node));
}

void worker_fronts_reply(struct worker_fronts *fronts, uint64_t id, const struct cv_err *err, struct cv_str data)
{
	struct front_job *job = cv_map_remove(fronts->jobs, key(&id));

	cv_assert(job != NULL);
	if (job->channel != NULL)
		send_reply(job->channel, job->front_id, err, data);
	cv_free(job);
}
