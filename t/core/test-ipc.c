/* SPDX-License-Identifier: MIT
   Messages between processes: what is allowed passes, all else closes the channel. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/ipc.h>
#include <culver/log.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PING = 1, TEXT, FDS, LATER, BIG, REPLY };

struct side {
	struct cv_ipc *ipc;
	int handled, closed;
	uint64_t id;
	struct cv_buf text;
	int kept_fd;
	bool take_fd, free_in_handler, free_in_closed;
};

static char logged[2048];

static void remember(void *ctx CV_UNUSED, enum cv_log_level level CV_UNUSED, struct cv_str line)
{
	size_t len = CV_MIN(line.len, sizeof(logged) - 1);

	memcpy(logged, line.ptr, len);
	logged[len] = '\0';
}

static int on_any(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct side *side = ctx;

	assert_ptr_equal(cv_ipc_ctx(ipc), side);
	side->handled++;
	side->id = msg->id;
	cv_buf_clear(&side->text);
	cv_buf_append(&side->text, cv_reader_rest(&msg->payload));
	if (side->take_fd && msg->nfds > 0) {
		side->kept_fd = msg->fds[0];
		msg->fds[0] = -1;
	}
	if (side->free_in_handler)
		cv_ipc_free(&side->ipc);
	return 1;
}

static int on_text(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_str text;

	if (!cv_take_str(&msg->payload, 5, &text) || !cv_reader_end(&msg->payload))
		return -1;
	return on_any(ctx, ipc, msg);
}

static const struct cv_ipc_type table[] = {
	{ .type = PING, .name = "ping", .max_len = 0, .handler = on_any },
	{ .type = TEXT, .name = "text", .max_len = 100, .handler = on_text },
	{ .type = FDS, .name = "fds", .max_len = 10, .min_fds = 1, .max_fds = 2, .handler = on_any },
	{ .type = LATER, .name = "later", .max_len = 10, .states = 2, .handler = on_any },
	{ .type = BIG, .name = "big", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_any },
};

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct side *side = ctx;

	assert_ptr_equal(cv_ipc_ctx(ipc), side);
	side->closed++;
	if (side->free_in_closed)
		cv_ipc_free(&side->ipc);
}

static void side_open(struct side *side, struct cv_loop *loop, int fd, const char *peer)
{
	*side = (struct side){ .kept_fd = -1 };
	cv_buf_init(&side->text, CV_IPC_MAX_PAYLOAD);
	side->ipc = cv_ipc_new(loop, fd, peer, table, CV_COUNT_OF(table), on_closed, side);
}

static void side_end(struct side *side)
{
	cv_ipc_free(&side->ipc);
	if (side->kept_fd >= 0)
		(void)close(side->kept_fd);
	cv_buf_deinit(&side->text);
}

static void rounds(struct cv_loop *loop, int count)
{
	for (int i = 0; i < count; i++)
		(void)cv_loop_once(loop, 0);
}

/* A loop with both sides in it, on each back end. */
#define on_both(name)                                                                                         \
	static void name##_with(struct cv_loop *loop, struct side *a, struct side *b);                        \
	static void name(void **state CV_UNUSED)                                                              \
	{                                                                                                     \
		static const enum cv_loop_backend backends[] = { CV_LOOP_EPOLL, CV_LOOP_POLL };               \
                                                                                                              \
		for (size_t backend_ = 0; backend_ < CV_COUNT_OF(backends); backend_++) {                     \
			struct cv_loop *loop_ = cv_loop_new(backends[backend_]);                              \
			struct side a_, b_;                                                                   \
			int fds_[2];                                                                          \
                                                                                                              \
			cv_ipc_pair(fds_);                                                                    \
			side_open(&a_, loop_, fds_[0], "the far side");                                       \
			side_open(&b_, loop_, fds_[1], "the near side");                                      \
			logged[0] = '\0';                                                                     \
			name##_with(loop_, &a_, &b_);                                                         \
			side_end(&a_);                                                                        \
			side_end(&b_);                                                                        \
			cv_loop_free(&loop_);                                                                 \
		}                                                                                             \
	}                                                                                                     \
	static void name##_with(struct cv_loop *loop, struct side *a, struct side *b)

on_both(messages_arrive_whole_and_in_order)
{
	struct cv_buf buf;

	cv_buf_init(&buf, 1000);
	cv_put_str(&buf, CV_STR("hi\0yo"));
	assert_int_equal(cv_ipc_send(a->ipc, PING, 7, CV_STR(""), NULL, 0), 1);
	assert_int_equal(cv_ipc_send(a->ipc, TEXT, UINT64_MAX, cv_buf_str(&buf), NULL, 0), 1);
	rounds(loop, 2);
	assert_int_equal(b->handled, 2);
	assert_true(b->id == UINT64_MAX);
	assert_int_equal(cv_ipc_send(b->ipc, PING, 8, CV_STR(""), NULL, 0), 1);
	rounds(loop, 2);
	assert_int_equal(a->handled, 1);
	assert_int_equal(a->id, 8);
	assert_int_equal(a->closed + b->closed, 0);
	cv_buf_deinit(&buf);
}

on_both(largest_payload_passes_and_larger_is_our_bug)
{
	char *octets = cv_malloc(CV_IPC_MAX_PAYLOAD + 1);

	memset(octets, 'x', CV_IPC_MAX_PAYLOAD + 1);
	assert_int_equal(cv_ipc_send(a->ipc, BIG, 1, cv_str_mem(octets, CV_IPC_MAX_PAYLOAD), NULL, 0), 1);
	rounds(loop, 2);
	assert_int_equal(b->handled, 1);
	assert_int_equal(b->text.len, CV_IPC_MAX_PAYLOAD);
	expect_assert_failure((void)!cv_ipc_send(a->ipc, BIG, 1, cv_str_mem(octets, CV_IPC_MAX_PAYLOAD + 1), NULL, 0));
	cv_free(octets);
}

static int open_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 200; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

on_both(descriptors_are_the_receivers_to_take)
{
	int fds[2], before;
	char c = 0;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	before = open_fds();
	/* Not taken: closed after the handler. */
	assert_int_equal(cv_ipc_send(a->ipc, FDS, 1, CV_STR(""), fds, 2), 1);
	rounds(loop, 2);
	assert_int_equal(b->handled, 1);
	assert_int_equal(open_fds(), before);
	b->take_fd = true;
	assert_int_equal(cv_ipc_send(a->ipc, FDS, 1, CV_STR(""), fds, 1), 1);
	rounds(loop, 2);
	assert_true(b->kept_fd >= 0);
	assert_int_equal(fcntl(b->kept_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(fds[1], "z", 1), 1);
	assert_int_equal(read(b->kept_fd, &c, 1), 1);
	assert_int_equal(c, 'z');
	(void)close(fds[0]);
	(void)close(fds[1]);
}

/* What the peer may not do, as datagrams on the bare socket. */
static const struct {
	const char *what;
	struct cv_str data;
	int nfds;
} refused[] = {
	{ "no header", CV_STR_INIT("\1\0\0\0\0\0\0\0\0\0\0"), 0 },
	{ "reserved octets", CV_STR_INIT("\1\0\1\0\0\0\0\0\0\0\0\0"), 0 },
	{ "unknown type", CV_STR_INIT("\77\0\0\0\0\0\0\0\0\0\0\0"), 0 },
	{ "a reply type that is not in the table", CV_STR_INIT("\6\0\0\0\0\0\0\0\0\0\0\0"), 0 },
	{ "too long", CV_STR_INIT("\1\0\0\0\0\0\0\0\0\0\0\0x"), 0 },
	{ "too few descriptors", CV_STR_INIT("\3\0\0\0\0\0\0\0\0\0\0\0"), 0 },
	{ "too many descriptors", CV_STR_INIT("\3\0\0\0\0\0\0\0\0\0\0\0"), 3 },
	{ "descriptors where none may be", CV_STR_INIT("\1\0\0\0\0\0\0\0\0\0\0\0"), 1 },
	{ "more descriptors than any type has", CV_STR_INIT("\3\0\0\0\0\0\0\0\0\0\0\0"), 20 },
	{ "wrong state", CV_STR_INIT("\4\0\0\0\0\0\0\0\0\0\0\0"), 0 },
	{ "a field that does not check", CV_STR_INIT("\2\0\0\0\0\0\0\0\0\0\0\0\377\0\0\0abc"), 0 },
	{ "octets left over", CV_STR_INIT("\2\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0abc"), 0 },
};

static void send_raw(int fd, struct cv_str data, int nfds)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data.ptr, .iov_len = data.len };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(20 * sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds > 0) {
		int fds[20] = { 0 };
		size_t len = (size_t)nfds * sizeof(int);

		for (int i = 0; i < nfds; i++)
			fds[i] = fd;
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(len);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(len);
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, len);
	}
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), (ssize_t)data.len);
}

static void whoever_breaks_a_rule_is_cut_off_and_logged(void **state CV_UNUSED)
{
	for (size_t i = 0; i < CV_COUNT_OF(refused); i++) {
		struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
		struct side side;
		int fds[2];
		char c;

		cv_ipc_pair(fds);
		side_open(&side, loop, fds[0], "the culprit");
		cv_ipc_set_state(side.ipc, 1);
		logged[0] = '\0';
		send_raw(fds[1], refused[i].data, refused[i].nfds);
		/* What follows is not looked at any more. */
		send_raw(fds[1], CV_STR("\1\0\0\0\0\0\0\0\0\0\0\0"), 0);
		rounds(loop, 3);
		if (side.handled != 0 || side.closed != 1 || strstr(logged, "the culprit") == NULL)
			fail_msg("%s: handled %d, closed %d, logged %s", refused[i].what, side.handled, side.closed, logged);
		assert_int_equal(cv_ipc_fd(side.ipc), -1);
		assert_int_equal(cv_ipc_send(side.ipc, PING, 0, CV_STR(""), NULL, 0), -1);
		assert_true(recv(fds[1], &c, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
		rounds(loop, 3);
		assert_int_equal(side.closed, 1);
		side_end(&side);
		(void)close(fds[1]);
		cv_loop_free(&loop);
	}
}

on_both(state_opens_the_types_that_belong_to_it)
{
	cv_ipc_set_state(b->ipc, 2);
	assert_int_equal(cv_ipc_send(a->ipc, LATER, 1, CV_STR("x"), NULL, 0), 1);
	rounds(loop, 2);
	assert_int_equal(b->handled, 1);
	cv_ipc_set_state(b->ipc, 4);
	assert_int_equal(cv_ipc_send(a->ipc, LATER, 1, CV_STR("x"), NULL, 0), 1);
	rounds(loop, 3);
	assert_int_equal(b->handled, 1);
	assert_int_equal(b->closed, 1);
	assert_non_null(strstr(logged, "later"));
}

on_both(peer_that_goes_is_told_once_without_a_log_line)
{
	b->free_in_closed = true;
	/* Sent before it went: still handled. */
	assert_int_equal(cv_ipc_send(a->ipc, PING, 1, CV_STR(""), NULL, 0), 1);
	cv_ipc_free(&a->ipc);
	rounds(loop, 4);
	assert_int_equal(b->handled, 1);
	assert_int_equal(b->closed, 1);
	assert_null(b->ipc);
	assert_string_equal(logged, "");
}

/* The peer answers the first message and ends: what it did not read comes back to us as an error of the socket. */
on_both(last_words_of_a_peer_that_did_not_read_all_are_heard)
{
	assert_int_equal(cv_ipc_send(a->ipc, PING, 1, CV_STR(""), NULL, 0), 1);
	assert_int_equal(cv_ipc_send(b->ipc, PING, 8, CV_STR(""), NULL, 0), 1);
	cv_ipc_free(&b->ipc);
	rounds(loop, 4);
	assert_int_equal(a->handled, 1);
	assert_int_equal(a->id, 8);
	assert_int_equal(a->closed, 1);
	assert_string_equal(logged, "");
}

on_both(last_words_are_heard_after_a_message_that_could_not_be_sent)
{
	/* More than one round takes. */
	for (uint64_t i = 1; i <= 40; i++)
		assert_int_equal(cv_ipc_send(b->ipc, PING, i, CV_STR(""), NULL, 0), 1);
	assert_int_equal(cv_ipc_send(a->ipc, PING, 1, CV_STR(""), NULL, 0), 1);
	cv_ipc_free(&b->ipc);
	assert_int_equal(cv_ipc_send(a->ipc, PING, 2, CV_STR(""), NULL, 0), -1);
	assert_int_equal(cv_ipc_send(a->ipc, PING, 3, CV_STR(""), NULL, 0), -1);
	assert_int_equal(a->closed, 0);
	rounds(loop, 8);
	assert_int_equal(a->handled, 40);
	assert_int_equal(a->id, 40);
	assert_int_equal(a->closed, 1);
	assert_string_equal(logged, "");
}

on_both(last_words_are_heard_while_messages_wait)
{
	char *octets = cv_malloc(60000);

	for (int i = 0; i < 40; i++)
		assert_int_equal(cv_ipc_send(a->ipc, BIG, 1, cv_str_mem(octets, 60000), NULL, 0), 1);
	assert_int_equal(cv_ipc_send(b->ipc, PING, 9, CV_STR(""), NULL, 0), 1);
	cv_ipc_free(&b->ipc);
	rounds(loop, 6);
	assert_int_equal(a->handled, 1);
	assert_int_equal(a->id, 9);
	assert_int_equal(a->closed, 1);
	cv_free(octets);
}

/* One that reads no more, but lives, is of no use either. */
on_both(peer_that_only_stops_reading_is_closed)
{
	assert_int_equal(shutdown(cv_ipc_fd(b->ipc), SHUT_RD), 0);
	assert_int_equal(cv_ipc_send(b->ipc, PING, 9, CV_STR(""), NULL, 0), 1);
	assert_int_equal(cv_ipc_send(a->ipc, PING, 2, CV_STR(""), NULL, 0), -1);
	rounds(loop, 6);
	assert_int_equal(a->handled, 1);
	assert_int_equal(a->closed, 1);
}

on_both(handler_may_free_the_channel)
{
	b->free_in_handler = true;
	assert_int_equal(cv_ipc_send(a->ipc, PING, 1, CV_STR(""), NULL, 0), 1);
	assert_int_equal(cv_ipc_send(a->ipc, PING, 2, CV_STR(""), NULL, 0), 1);
	rounds(loop, 3);
	assert_int_equal(b->handled, 1);
	assert_int_equal(b->closed, 0);
	assert_int_equal(a->closed, 1);
}

on_both(messages_wait_for_a_slow_peer_up_to_a_bound)
{
	struct cv_str payload = { 0 };
	char *octets = cv_malloc(60000);
	int sent = 0;

	payload = cv_str_mem(octets, 60000);
	/* The peer's loop does not run. */
	while (cv_ipc_send(a->ipc, BIG, 1, payload, NULL, 0) == 1)
		sent++;
	assert_true(sent > 200 && sent < 400);
	/* Still open, and what waits arrives. */
	assert_int_equal(a->closed, 0);
	for (int i = 0; i < 1000 && b->handled < sent; i++)
		(void)cv_loop_once(loop, 10);
	assert_int_equal(b->handled, sent);
	assert_int_equal(cv_ipc_send(a->ipc, BIG, 1, payload, NULL, 0), 1);
	cv_free(octets);
}

on_both(descriptor_waits_with_its_message)
{
	char *octets = cv_malloc(60000);
	int fds[2], count = 0;
	char c = 0;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	for (; count < 20; count++)
		assert_int_equal(cv_ipc_send(a->ipc, BIG, 1, cv_str_mem(octets, 60000), NULL, 0), 1);
	assert_int_equal(cv_ipc_send(a->ipc, FDS, 2, CV_STR(""), fds, 1), 1);
	/* The sender keeps and closes its own at once. */
	(void)close(fds[0]);
	b->take_fd = true;
	for (int i = 0; i < 100 && b->handled <= count; i++)
		(void)cv_loop_once(loop, 10);
	assert_true(b->kept_fd >= 0);
	assert_int_equal(write(fds[1], "q", 1), 1);
	assert_int_equal(read(b->kept_fd, &c, 1), 1);
	(void)close(fds[1]);
	cv_free(octets);
}

static void helper_without_a_loop_waits(void **state CV_UNUSED)
{
	struct side a, b;
	int fds[2];

	cv_ipc_pair(fds);
	side_open(&a, NULL, fds[0], "parent");
	side_open(&b, NULL, fds[1], "helper");
	assert_int_equal(cv_ipc_recv_wait(b.ipc, 5), -1);
	assert_int_equal(b.closed, 0);
	assert_int_equal(cv_ipc_send(a.ipc, PING, 3, CV_STR(""), NULL, 0), 1);
	assert_int_equal(cv_ipc_recv_wait(b.ipc, 1000), 1);
	assert_int_equal(b.handled, 1);
	assert_int_equal(b.id, 3);
	cv_ipc_free(&a.ipc);
	assert_int_equal(cv_ipc_recv_wait(b.ipc, -1), 0);
	assert_int_equal(b.closed, 1);
	assert_int_equal(cv_ipc_recv_wait(b.ipc, -1), -1);
	side_end(&a);
	side_end(&b);

	cv_ipc_pair(fds);
	side_open(&b, NULL, fds[1], "helper");
	send_raw(fds[0], CV_STR("\77\0\0\0\0\0\0\0\0\0\0\0"), 0);
	assert_int_equal(cv_ipc_recv_wait(b.ipc, 1000), -1);
	assert_int_equal(b.closed, 1);
	side_end(&b);
	(void)close(fds[0]);
}

static void helper_without_a_loop_hears_last_words(void **state CV_UNUSED)
{
	struct side a, b;
	int fds[2];

	cv_ipc_pair(fds);
	side_open(&a, NULL, fds[0], "parent");
	side_open(&b, NULL, fds[1], "helper");
	assert_int_equal(cv_ipc_send(b.ipc, PING, 1, CV_STR(""), NULL, 0), 1);
	assert_int_equal(cv_ipc_send(a.ipc, PING, 3, CV_STR(""), NULL, 0), 1);
	cv_ipc_free(&a.ipc);
	assert_int_equal(cv_ipc_send(b.ipc, PING, 2, CV_STR(""), NULL, 0), -1);
	assert_int_equal(cv_ipc_recv_wait(b.ipc, -1), 1);
	assert_int_equal(b.id, 3);
	assert_int_equal(cv_ipc_recv_wait(b.ipc, -1), 0);
	assert_int_equal(b.closed, 1);
	side_end(&a);
	side_end(&b);
}

static void sealed_memory_files_pass(void **state)
{
	struct cv_str text = cv_str_c(cv_arena_printf(*state, "%0100000d", 5)), got;
	struct cv_err err = { 0 };
	int fd = cv_memfd_from("test", text, &err), empty = cv_memfd_from("test", CV_STR(""), &err);

	assert_true(fd >= 0 && empty >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(cv_memfd_map(fd, 100000, &got, &err), 1);
	assert_str_eq(got, text);
	cv_memfd_unmap(got);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(cv_memfd_map(fd, 99999, &got, &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	assert_int_equal(cv_memfd_map(empty, 0, &got, &err), 1);
	assert_true(got.ptr != NULL && got.len == 0);
	cv_memfd_unmap(got);
	(void)close(fd);
	(void)close(empty);
}

static void memory_that_can_still_change_is_refused(void **state)
{
	static const int partial[] = { 0, F_SEAL_WRITE, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW,
		F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_GROW, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW };
	char *path = cv_arena_printf(*state, "%s/file", cv_test_dir(state));
	struct cv_err err = { 0 };
	struct cv_str got;
	int fd;

	for (size_t i = 0; i < CV_COUNT_OF(partial); i++) {
		fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		assert_int_equal(write(fd, "x", 1), 1);
		assert_int_equal(fcntl(fd, F_ADD_SEALS, partial[i]), 0);
		assert_int_equal(cv_memfd_map(fd, 10, &got, &err), -1);
		assert_int_equal(err.code, CV_ERR_INVALID);
		(void)close(fd);
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(cv_memfd_map(fd, 10, &got, &err), -1);
	(void)close(fd);
	assert_int_equal(cv_memfd_map(-1, 10, &got, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(messages_arrive_whole_and_in_order),
		cv_test(largest_payload_passes_and_larger_is_our_bug),
		cv_test(descriptors_are_the_receivers_to_take),
		cv_test(whoever_breaks_a_rule_is_cut_off_and_logged),
		cv_test(state_opens_the_types_that_belong_to_it),
		cv_test(peer_that_goes_is_told_once_without_a_log_line),
		cv_test(last_words_of_a_peer_that_did_not_read_all_are_heard),
		cv_test(last_words_are_heard_after_a_message_that_could_not_be_sent),
		cv_test(last_words_are_heard_while_messages_wait),
		cv_test(peer_that_only_stops_reading_is_closed),
		cv_test(handler_may_free_the_channel),
		cv_test(messages_wait_for_a_slow_peer_up_to_a_bound),
		cv_test(descriptor_waits_with_its_message),
		cv_test(helper_without_a_loop_waits),
		cv_test(helper_without_a_loop_hears_last_words),
		cv_test(sealed_memory_files_pass),
		cv_test(memory_that_can_still_change_is_refused),
	};
	struct cv_log_config config = { .target = CV_LOG_CALLBACK, .callback = remember };

	(void)cv_log_open(&config, NULL);
	return cv_test_run(tests);
}
