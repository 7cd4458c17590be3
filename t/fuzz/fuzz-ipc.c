/* SPDX-License-Identifier: MIT
   Channels between processes: a peer that sends any octets at all reaches a handler only with what the table allows, else is cut off. And the records of an
   authentication request: any octets are refused, or read as something that is written and read the same. */
#include <config.h>

#include "core/proc/auth-helper.h"
#include "t/fuzz/fuzz.h"

#include <culver/log.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned handled, closed;

static void check_fds(const struct cv_ipc_msg *msg, unsigned min, unsigned max)
{
	fuzz_check(msg->nfds >= min && msg->nfds <= max);
	for (unsigned i = 0; i < msg->nfds; i++)
		fuzz_check(fcntl(msg->fds[i], F_GETFD) == FD_CLOEXEC);
}

static int on_short(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	uint32_t n;

	(void)ctx;
	(void)ipc;
	handled++;
	fuzz_check(msg->type == 1 && cv_reader_left(&msg->payload) <= 8);
	check_fds(msg, 0, 0);
	return cv_take_u32(&msg->payload, &n) && cv_reader_end(&msg->payload) ? 0 : -1;
}

static int on_fds(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_str s;

	(void)ctx;
	handled++;
	fuzz_check(msg->type == 2 && cv_reader_left(&msg->payload) <= 1000);
	check_fds(msg, 1, 2);
	cv_ipc_set_state(ipc, 2);
	return cv_take_str(&msg->payload, 500, &s) && cv_reader_end(&msg->payload) ? 0 : -1;
}

static int on_late(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	(void)ctx;
	(void)ipc;
	handled++;
	fuzz_check(msg->type == 3);
	check_fds(msg, 0, 1);
	return 0;
}

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	(void)ctx;
	(void)ipc;
	closed++;
}

static const struct cv_ipc_type table[] = {
	{ 1, "SHORT", 8, 0, 0, 0, on_short },
	{ 2, "FDS", 1000, 1, 2, 1 | 2, on_fds },
	{ 3, "LATE", CV_IPC_MAX_PAYLOAD, 0, 1, 2, on_late },
};

/* One datagram with that many descriptors. */
static void send_raw(int fd, struct cv_str data, unsigned nfds, int borrowed)
{
	struct iovec iov = { .iov_len = data.len };
	union {
		struct cmsghdr head;
		char octets[CMSG_SPACE(4 * sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	char copy[2048];

	memcpy(copy, data.ptr, data.len);
	iov.iov_base = copy;
	if (nfds > 0) {
		int fds[4] = { borrowed, borrowed, borrowed, borrowed };

		msg.msg_control = control.octets;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, nfds * sizeof(int));
	}
	(void)!sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Input: datagrams of one octet with the number of descriptors (low two bits) and the length, and so many octets. */
static void check_channel(struct cv_str input)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct cv_reader r = cv_reader_init(input);
	struct cv_ipc *ipc;
	struct cv_str data;
	uint8_t head;
	int fds[2];

	handled = closed = 0;
	cv_ipc_pair(fds);
	ipc = cv_ipc_new(loop, fds[0], "fuzz", table, CV_COUNT_OF(table), on_closed, NULL);
	cv_ipc_set_state(ipc, 1);
	while (cv_take_u8(&r, &head)) {
		if (!cv_take_len(&r, (size_t)(head >> 2) * 4, &data))
			data = cv_reader_rest(&r), r.pos = r.s.len;
		if (data.len > 0)
			send_raw(fds[1], data, head & 3, fds[1]);
		for (int i = 0; i < 3; i++)
			(void)cv_loop_once(loop, 0);
	}
	(void)close(fds[1]);
	for (int i = 0; i < 3; i++)
		(void)cv_loop_once(loop, 0);
	fuzz_check(closed == 1);
	cv_ipc_free(&ipc);
	cv_loop_free(&loop);
}

static void check_request(struct cv_str input)
{
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, CV_ARENA_WIPE);
	struct cv_auth_request request = { .arena = arena }, again = { .arena = arena };
	struct cv_reader r = cv_reader_init(input);
	struct cv_buf out, out2;

	cv_buf_init(&out, SIZE_MAX / 2);
	cv_buf_init(&out2, SIZE_MAX / 2);
	if (cv_helper_take_request(&r, &request)) {
		cv_helper_put_request(&out, &request);
		r = cv_reader_init(cv_buf_str(&out));
		fuzz_check(cv_helper_take_request(&r, &again) && cv_reader_end(&r));
		/* Fields come in no order: the lengths tell. */
		cv_helper_put_request(&out2, &again);
		fuzz_check(out.len == out2.len);
	}
	cv_buf_deinit(&out);
	cv_buf_deinit(&out2);
	cv_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cv_log_config quiet = { .target = CV_LOG_FILE, .path = "/dev/null" };
	struct cv_str input = cv_str_mem(data, size);

	(void)cv_log_open(&quiet, NULL);
	check_channel(input);
	check_request(input);
	return 0;
}
