/* SPDX-License-Identifier: MIT
   Front's channels to users' workers: jobs for a user to whom some came before go straight to the worker. A worker may have been taken over by its user: all that it
   can say here is the answers to its own jobs. */
#include "core/proc/front.h"

#define CHANNELS_MAX 1024u
#define CHANNELS_PART 8u  /* of the descriptors */
#define UNANSWERED_MAX 32u /* of one worker: what is more waits at the spawner, which bounds it */

static struct cv_str key_of(struct cv_str user, struct cv_str protocol, struct cv_buf *key)
{
	cv_put_str(key, user);
	cv_put_str(key, protocol);
	return cv_buf_str(key);
}

/* No job is given to it any more; it closes when all are answered. */
static void retire(struct direct *d)
{
	if (!d->ended)
		(void)cv_map_remove(d->front->direct, cv_buf_str(&d->key));
	d->ended = true;
}

static void direct_free(struct direct *d)
{
	retire(d);
	cv_list_remove(&d->node);
	d->front->direct_count--;
	cv_ipc_free(&d->ipc);
	cv_buf_deinit(&d->key);
	cv_free(d);
}

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct direct *d = ctx;

	(void)ipc;
	retire(d);
	if (d->unanswered > 0)
		front_fail_direct(d);
	direct_free(d);
}

static int on_reply(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct direct *d = ctx;

	(void)ipc;
	if (d->unanswered == 0)
		return -1;
	d->unanswered--;
	int result = front_on_job_answer(d->front, msg, d);
	if (result == 0 && d->ended && d->unanswered == 0)
		direct_free(d);
	return result;
}

static int on_end(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct direct *d = ctx;

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	retire(d);
	if (d->unanswered == 0)
		direct_free(d);
	return 0;
}

static const struct cv_ipc_type table[] = {
	{ CV_MSG_DIRECT_REPLY, "DIRECT_REPLY", CV_LOGIN_PAYLOAD_MAX + 1024, 0, 0, 0, on_reply },
	{ CV_MSG_DIRECT_END, "DIRECT_END", 0, 0, 0, 0, on_end },
};

struct direct *front_direct_find(struct front *front, struct cv_str user, struct cv_str protocol)
{
	struct cv_buf key;

	cv_buf_init(&key, 4096);
	struct direct *d = cv_map_get(front->direct, key_of(user, protocol, &key));
	cv_buf_deinit(&key);
	return d;
}

bool front_direct_wanted(struct front *front, struct cv_str user)
{
	uint64_t hash = cv_hash(user.ptr, user.len);
	uint32_t *seen = &front->direct_seen[hash % FRONT_DIRECT_SEEN], mark = (uint32_t)(hash >> 32) | 1;
	bool before = *seen == mark;

	*seen = mark;
	return before && front->direct_count < CHANNELS_MAX && front->direct_count < front->fd_limit / CHANNELS_PART && front_fds_left(front);
}

void front_direct_add(struct front *front, struct cv_str user, struct cv_str protocol, int fd)
{
	struct direct *d = cv_new0(struct direct);

	d->front = front;
	cv_buf_init(&d->key, 4096);
	(void)key_of(user, protocol, &d->key);
	d->ipc = cv_ipc_new(front->loop, fd, "worker", table, CV_COUNT_OF(table), on_closed, d);
	(void)cv_map_set(front->direct, cv_buf_str(&d->key), d);
	cv_list_append(&front->directs, &d->node);
	front->direct_count++;
}

int front_direct_send(struct direct *d, uint64_t id, struct cv_str payload, int memfd)
{
	if (d->unanswered >= UNANSWERED_MAX)
		return -1;
	if (cv_ipc_send(d->ipc, CV_MSG_DIRECT_JOB, id, payload, memfd >= 0 ? &memfd : NULL, memfd >= 0 ? 1 : 0) < 0) {
		retire(d);
		return -1;
	}
	d->unanswered++;
	return 0;
}

void front_free_directs(struct front *front)
{
	while (!cv_list_empty(&front->directs))
		direct_free(cv_container(front->directs.next, struct direct, node));
}
