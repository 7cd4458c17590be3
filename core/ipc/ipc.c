/* SPDX-License-Identifier: MIT
   Channels of typed messages: what may come is a table, and whoever sends anything else is cut off. */
#include <config.h>

#include "core/loop/loop-private.h"
#include <culver/ipc.h>
#include <culver/log.h>
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_LEN 12                     /* u16 type, u16 0, u64 id */
#define QUEUE_MAX ((size_t)16 * 1024 * 1024) /* octets waiting for the peer to read */
#define MESSAGES_A_ROUND 16
#define ALONE_MAX 4u /* 15 rounds */
#define RETRY_MS 10     /* when the kernel is short of memory or of descriptors in flight */
#define SOCKET_BUFFER (4 * (CV_IPC_MAX_PAYLOAD + HEADER_LEN))

struct queued {
	struct cv_node node;
	struct cv_buf data; /* wiping */
	int fds[CV_IPC_MAX_FDS]; /* owned */
	unsigned nfds;
};

struct cv_ipc {
	struct cv_loop *loop; /* may be NULL */
	int fd;               /* owned; -1 once closed */
	struct cv_io *io;
	struct cv_timer *retry; /* NULL until it was needed */
	bool retrying;
	const char *peer;
	const struct cv_ipc_type *table;
	size_t count;
	uint32_t state;
	void (*closed)(void *ctx, struct cv_ipc *ipc);
	void *ctx;
	struct cv_node queue;
	size_t queued; /* octets */
	bool send_failed; /* the peer reads no more; what it said before is still taken, then the channel is closed */
	struct cv_task drain_task, closed_task;
	bool told; /* closed was called */
	uint64_t read_round; /* of the loop, in which there was a message */
	unsigned alone, alone_rounds; /* times that none was behind it; rounds left that are not tried for that */
	unsigned busy;
	bool freed;
};

static const struct cv_log_ctx log_ctx = { .category = "ipc" };

static void close_fds(const int *fds, unsigned nfds)
{
	for (unsigned i = 0; i < nfds; i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
}

static void queued_free(struct cv_ipc *ipc, struct queued *message)
{
	cv_list_remove(&message->node);
	ipc->queued -= message->data.len;
	close_fds(message->fds, message->nfds);
	cv_buf_deinit(&message->data);
	cv_free(message);
}

static void drop_queue(struct cv_ipc *ipc)
{
	while (!cv_list_empty(&ipc->queue))
		queued_free(ipc, cv_container(ipc->queue.next, struct queued, node));
}

static void release(struct cv_ipc *ipc)
{
	cv_task_cancel(&ipc->drain_task);
	cv_task_cancel(&ipc->closed_task);
	drop_queue(ipc);
	cv_timer_remove(&ipc->retry);
	cv_io_remove(&ipc->io);
	if (ipc->fd >= 0)
		(void)close(ipc->fd);
	ipc->fd = -1;
}

static void enter(struct cv_ipc *ipc)
{
	ipc->busy++;
}

/* False when the channel was freed meanwhile. */
static bool leave(struct cv_ipc *ipc)
{
	ipc->busy--;
	if (!ipc->freed)
		return true;
	if (ipc->busy == 0)
		cv_free(ipc);
	return false;
}

static void tell_closed(void *ctx)
{
	struct cv_ipc *ipc = ctx;

	if (ipc->told)
		return;
	ipc->told = true;
	enter(ipc);
	if (ipc->closed != NULL)
		ipc->closed(ipc->ctx, ipc);
	(void)leave(ipc);
}

/* The channel is of no use any more; its owner is told from the loop. */
static void shut(struct cv_ipc *ipc)
{
	if (ipc->fd < 0)
		return;
	release(ipc);
	if (ipc->loop != NULL)
		cv_loop_next_round(ipc->loop, &ipc->closed_task);
}

/* The peer broke the rules. */
static int broken(struct cv_ipc *ipc, const char *what, const char *name)
{
	cv_error(&log_ctx, "message from %s refused: %s%s%s; channel closed", ipc->peer, what, name != NULL ? " " : "",
		name != NULL ? name : "");
	shut(ipc);
	return -1;
}

static void update(struct cv_ipc *ipc)
{
	if (ipc->io != NULL)
		cv_io_set(ipc->io, CV_IO_READ | (cv_list_empty(&ipc->queue) || ipc->retrying ? 0u : CV_IO_WRITE));
}

/* A message's two parts, for the kernel to put together. */
static struct iovec part(struct cv_str data)
{
	return (struct iovec){ .iov_base = (void *)(uintptr_t)data.ptr, .iov_len = data.len };
}

/* 1 sent, 0 not now, -1 the channel is broken. */
static int send_one(struct cv_ipc *ipc, struct cv_str head, struct cv_str payload, const int *fds, unsigned nfds)
{
	struct iovec iov[] = { part(head), part(payload) };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(CV_IPC_MAX_FDS * sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = payload.len > 0 ? 2 : 1 };
	ssize_t n;

	if (nfds > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(ipc->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	ipc->retrying = false;
	if (n >= 0)
		return 1;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return 0;
	if (errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS) {
		/* The socket is writable all the same: poll would spin. */
		ipc->retrying = true;
		return 0;
	}
	if (errno != EPIPE && errno != ECONNRESET)
		cv_error(&log_ctx, "message to %s cannot be sent: errno %d; channel closed", ipc->peer, errno);
	return -1;
}

/* Nothing can be sent any more. The last words of a peer that went may still wait to be read, so the close is told after them. */
static void stop_sending(struct cv_ipc *ipc)
{
	ipc->send_failed = true;
	ipc->retrying = false;
	drop_queue(ipc);
	cv_timer_remove(&ipc->retry);
	update(ipc);
	if (ipc->loop != NULL)
		cv_loop_next_round(ipc->loop, &ipc->drain_task);
}

static void on_retry(void *ctx);

static void wait_to_send(struct cv_ipc *ipc)
{
	if (ipc->retrying && ipc->retry == NULL)
		ipc->retry = cv_timer_add(ipc->loop, RETRY_MS, on_retry, ipc);
	else if (ipc->retrying)
		cv_timer_set(ipc->retry, RETRY_MS);
	update(ipc);
}

static void send_queued(struct cv_ipc *ipc)
{
	while (!cv_list_empty(&ipc->queue)) {
		struct queued *message = cv_container(ipc->queue.next, struct queued, node);
		int result = send_one(ipc, cv_buf_str(&message->data), CV_STR(""), message->fds, message->nfds);

		if (result < 0) {
			stop_sending(ipc);
			return;
		}
		if (result == 0)
			break;
		queued_free(ipc, message);
	}
	wait_to_send(ipc);
}

static void on_retry(void *ctx)
{
	send_queued(ctx);
}

/* Without a loop nobody would send it later: wait here. */
static int send_blocking(struct cv_ipc *ipc, struct cv_str head, struct cv_str payload, const int *fds, unsigned nfds)
{
	for (;;) {
		struct pollfd poll_fd = { .fd = ipc->fd, .events = POLLOUT };
		int result = send_one(ipc, head, payload, fds, nfds);

		if (result != 0)
			return result;
		if (poll(&poll_fd, ipc->retrying ? 0 : 1, ipc->retrying ? RETRY_MS : -1) < 0 && errno != EINTR)
			return -1;
	}
}

static int enqueue(struct cv_ipc *ipc, struct cv_str head, struct cv_str payload, const int *fds, unsigned nfds)
{
	struct queued *message;

	if (head.len + payload.len > QUEUE_MAX - CV_MIN(ipc->queued, QUEUE_MAX))
		return -1;
	message = cv_new0(struct queued);
	for (unsigned i = 0; i < nfds; i++) {
		message->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (message->fds[i] < 0) {
			close_fds(message->fds, i);
			cv_free(message);
			return -1;
		}
	}
	message->nfds = nfds;
	cv_buf_init_wipe(&message->data, HEADER_LEN + CV_IPC_MAX_PAYLOAD);
	cv_buf_append(&message->data, head);
	cv_buf_append(&message->data, payload);
	ipc->queued += message->data.len;
	cv_list_append(&ipc->queue, &message->node);
	return 1;
}

int cv_ipc_send(struct cv_ipc *ipc, uint16_t type, uint64_t id, struct cv_str payload, const int *fds, unsigned nfds)
{
	struct cv_buf buf;
	int result = 0;

	cv_assert(payload.len <= CV_IPC_MAX_PAYLOAD && nfds <= CV_IPC_MAX_FDS);
	if (ipc->fd < 0 || ipc->send_failed)
		return -1;
	cv_buf_init(&buf, HEADER_LEN);
	cv_put_u16(&buf, type);
	cv_put_u16(&buf, 0);
	cv_put_u64(&buf, id);
	struct cv_str head = cv_buf_str(&buf);
	if (ipc->loop == NULL) {
		result = send_blocking(ipc, head, payload, fds, nfds);
		if (result < 0)
			stop_sending(ipc);
	} else {
		if (cv_list_empty(&ipc->queue))
			result = send_one(ipc, head, payload, fds, nfds);
		if (result < 0) {
			stop_sending(ipc);
		} else if (result == 0) {
			result = enqueue(ipc, head, payload, fds, nfds);
			if (result > 0)
				wait_to_send(ipc);
		}
	}
	cv_buf_deinit(&buf);
	return result;
}

static const struct cv_ipc_type *find_type(const struct cv_ipc *ipc, uint16_t type)
{
	for (size_t i = 0; i < ipc->count; i++) {
		if (ipc->table[i].type == type)
			return &ipc->table[i];
	}
	return NULL;
}

/* Check the message against its row and run the handler. 1 handled, -1 refused; the channel may be freed by then. */
static int dispatch(struct cv_ipc *ipc, struct cv_str data, struct cv_ipc_msg *msg)
{
	struct cv_reader r = cv_reader_init(data);
	const struct cv_ipc_type *row;
	uint16_t zero;
	int result;

	if (!cv_take_u16(&r, &msg->type) || !cv_take_u16(&r, &zero) || zero != 0 || !cv_take_u64(&r, &msg->id))
		return broken(ipc, "bad header", NULL);
	row = find_type(ipc, msg->type);
	if (row == NULL)
		return broken(ipc, "unknown type", NULL);
	msg->payload = cv_reader_init(cv_reader_rest(&r));
	if (cv_reader_left(&msg->payload) > row->max_len)
		return broken(ipc, "too long:", row->name);
	if (msg->nfds < row->min_fds || msg->nfds > row->max_fds)
		return broken(ipc, "wrong number of descriptors:", row->name);
	if (row->states != 0 && (row->states & ipc->state) == 0)
		return broken(ipc, "not allowed in this state:", row->name);
	enter(ipc);
	result = row->handler(ipc->ctx, ipc, msg);
	if (!leave(ipc))
		return 1;
	if (result < 0)
		return broken(ipc, "does not check:", row->name);
	return 1;
}

static void take_fds(struct msghdr *header, struct cv_ipc_msg *msg)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL; cmsg = CMSG_NXTHDR(header, cmsg)) {
		size_t count;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		/* UNSAFE: the control buffer has room for CV_IPC_MAX_FDS only, and the kernel drops what does not fit. */
		cv_assert(count <= CV_IPC_MAX_FDS - msg->nfds);
		memcpy(&msg->fds[msg->nfds], CMSG_DATA(cmsg), count * sizeof(int));
		msg->nfds += (unsigned)count;
	}
}

/* A buffer for one message. Blocks of that size cost the allocator more than the message; while a handler receives another one there are two. */
static char *take_buffer(struct cv_ipc *ipc, size_t size)
{
	char *data = ipc->loop != NULL ? ipc->loop->message : NULL;

	if (data == NULL)
		return cv_reallocarray(NULL, size, 1);
	ipc->loop->message = NULL;
	return data;
}

static void put_buffer(struct cv_loop *loop, char *data)
{
	if (loop != NULL && loop->message == NULL && !loop->abandoned)
		loop->message = data;
	else
		cv_free(data);
}

/* Receive and dispatch one message. 1 handled, 0 none there, -1 the channel is closed; it may be freed by then (then 1). */
static int receive_one(struct cv_ipc *ipc, bool *eof_r)
{
	size_t size = HEADER_LEN + CV_IPC_MAX_PAYLOAD;
	struct cv_loop *loop = ipc->loop;
	char *data = take_buffer(ipc, size);
	struct iovec iov = { .iov_base = data, .iov_len = size };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(CV_IPC_MAX_FDS * sizeof(int))];
	} control = { 0 };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	struct cv_ipc_msg msg = { 0 };
	/* The kernel says once, and first, that the peer went without reading all of ours: its own messages are still there. */
	unsigned was_reset = 0;
	int result;
	ssize_t n;

	for (unsigned i = 0; i < CV_IPC_MAX_FDS; i++)
		msg.fds[i] = -1;
	do
		n = recvmsg(ipc->fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && (errno == EINTR || (errno == ECONNRESET && !was_reset++)));
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		put_buffer(loop, data);
		return 0;
	}
	if (n <= 0) {
		if (n < 0 && errno != ECONNRESET)
			cv_error(&log_ctx, "message from %s cannot be received: errno %d; channel closed", ipc->peer, errno);
		*eof_r = n == 0 || errno == ECONNRESET;
		put_buffer(loop, data);
		shut(ipc);
		return -1;
	}
	take_fds(&header, &msg);
	/* CTRUNC: more descriptors than any row allows, or no room for them in our table. */
	if ((header.msg_flags & MSG_TRUNC) != 0)
		result = broken(ipc, "longer than any may be", NULL);
	else if ((header.msg_flags & MSG_CTRUNC) != 0)
		result = broken(ipc, "its descriptors did not all arrive", NULL);
	else
		result = dispatch(ipc, cv_str_mem(data, (size_t)n), &msg);
	close_fds(msg.fds, CV_IPC_MAX_FDS);
	/* Credentials travel here. */
	cv_wipe(data, (size_t)n);
	put_buffer(loop, data);
	return result;
}

/* A message seldom has another one behind it, and to find that out is a system call: where there was one in the round before too, there may be more.
   Each time that there was none, twice as many rounds go by before that is tried again. */
static int messages_at_once(struct cv_ipc *ipc)
{
	uint64_t round = ipc->loop->rounds;
	bool again = ipc->read_round + 1 >= round;

	ipc->read_round = round;
	if (ipc->send_failed)
		return MESSAGES_A_ROUND;
	if (!again || ipc->alone_rounds > 0) {
		ipc->alone_rounds -= ipc->alone_rounds > 0;
		return 1;
	}
	return MESSAGES_A_ROUND;
}

/* So many came where more than one was asked for. */
static void remember_came(struct cv_ipc *ipc, int came)
{
	ipc->alone = came > 1 ? 0 : CV_MIN(ipc->alone + 1, ALONE_MAX);
	ipc->alone_rounds = (1u << ipc->alone) - 1;
}

static void on_io(void *ctx, unsigned events)
{
	struct cv_ipc *ipc = ctx;
	bool eof = false;

	enter(ipc);
	if ((events & CV_IO_WRITE) != 0 && !cv_list_empty(&ipc->queue))
		send_queued(ipc);
	if ((events & CV_IO_READ) != 0) {
		int result = 1, most = messages_at_once(ipc);
		int came = 0;
		while (came < most && result > 0 && !ipc->freed && ipc->fd >= 0) {
			result = receive_one(ipc, &eof);
			came += result > 0;
		}
		if (most > 1)
			remember_came(ipc, came);
		if (result == 0 && ipc->send_failed)
			shut(ipc);
	}
	(void)leave(ipc);
}

static void drain(void *ctx)
{
	struct cv_ipc *ipc = ctx;

	enter(ipc);
	on_io(ipc, CV_IO_READ);
	if (!ipc->freed && ipc->fd >= 0)
		cv_loop_next_round(ipc->loop, &ipc->drain_task);
	(void)leave(ipc);
}

struct cv_ipc *cv_ipc_new(struct cv_loop *loop, int fd, const char *peer, const struct cv_ipc_type *table, size_t count,
	void (*closed)(void *ctx, struct cv_ipc *ipc), void *ctx)
{
	struct cv_ipc *ipc = cv_new0(struct cv_ipc);

	ipc->loop = loop;
	ipc->fd = fd;
	ipc->peer = peer;
	ipc->table = table;
	ipc->count = count;
	ipc->closed = closed;
	ipc->ctx = ctx;
	cv_list_init(&ipc->queue);
	ipc->drain_task = (struct cv_task){ .fn = drain, .ctx = ipc };
	ipc->closed_task = (struct cv_task){ .fn = tell_closed, .ctx = ipc };
	if (loop != NULL)
		ipc->io = cv_io_add(loop, fd, CV_IO_READ, on_io, ipc);
	return ipc;
}

void cv_ipc_free(struct cv_ipc **ipc_p)
{
	struct cv_ipc *ipc = *ipc_p;

	*ipc_p = NULL;
	if (ipc == NULL || ipc->freed)
		return;
	release(ipc);
	if (ipc->busy > 0)
		ipc->freed = true;
	else
		cv_free(ipc);
}

void cv_ipc_set_state(struct cv_ipc *ipc, uint32_t state_bit)
{
	ipc->state = state_bit;
}

int cv_ipc_fd(const struct cv_ipc *ipc)
{
	return ipc->fd;
}

void *cv_ipc_ctx(const struct cv_ipc *ipc)
{
	return ipc->ctx;
}

static int wait_readable(int fd, int timeout_ms)
{
	uint64_t deadline = timeout_ms >= 0 ? cv_time_mono_ms() + (uint64_t)timeout_ms : 0;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	for (;;) {
		uint64_t now = cv_time_mono_ms();
		int left = timeout_ms < 0 ? -1 : now < deadline ? (int)(deadline - now) : 0;
		int n = poll(&poll_fd, 1, left);

		if (n > 0)
			return 1;
		if (n == 0 || errno != EINTR)
			return -1;
	}
}

int cv_ipc_recv_wait(struct cv_ipc *ipc, int timeout_ms)
{
	bool eof = false;
	int result;

	if (ipc->fd < 0)
		return -1;
	bool readable = wait_readable(ipc->fd, ipc->send_failed ? 0 : timeout_ms) > 0;
	if (!readable && !ipc->send_failed)
		return -1;
	enter(ipc);
	if (readable) {
		result = receive_one(ipc, &eof);
	} else {
		shut(ipc);
		eof = true;
		result = -1;
	}
	if (!ipc->freed && ipc->fd < 0 && ipc->loop == NULL)
		tell_closed(ipc);
	(void)leave(ipc);
	/* Readable, but nothing there: another process took it from a shared socket. */
	if (result == 0)
		return -1;
	return result < 0 && eof ? 0 : result;
}

int cv_ipc_pair_try(int fds_r[2], struct cv_err *err)
{
	int size = SOCKET_BUFFER;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds_r) != 0)
		return cv_err_sys(err, errno, "pair of sockets");
	for (int i = 0; i < 2; i++)
		(void)setsockopt(fds_r[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

void cv_ipc_pair(int fds_r[2])
{
	struct cv_err err = { 0 };

	if (cv_ipc_pair_try(fds_r, &err) < 0)
		cv_fatal("%s", err.text);
}
