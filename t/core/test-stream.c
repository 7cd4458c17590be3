/* SPDX-License-Identifier: MIT
   Streams and relays over sockets and memory, on both back ends. */
#include <config.h>

#include "core/loop/stream-private.h"
#include "t/lib/test.h"
#include <culver/reader.h>
#include <culver/stream.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The user of a stream under test: collects lines, counts calls. */
struct user {
	struct cv_loop *loop;
	struct cv_stream *s;
	struct cv_buf lines; /* each with a bar behind it */
	int inputs, outputs;
	bool leave_input;    /* don't consume */
	bool free_in_input, free_in_output;
	bool inside;         /* within a call of ours into the stream */
	size_t to_produce;   /* octets to write whenever there is room */
};

static void user_input(void *ctx)
{
	struct user *u = ctx;

	assert_false(u->inside);
	u->inputs++;
	if (u->free_in_input) {
		cv_stream_free(&u->s);
		return;
	}
	while (!u->leave_input) {
		struct cv_reader r = cv_reader_init(cv_stream_input(u->s));
		struct cv_str line;

		if (!cv_take_line(&r, &line))
			break;
		cv_buf_append(&u->lines, line);
		cv_buf_append_char(&u->lines, '|');
		u->inside = true;
		cv_stream_consume(u->s, r.pos);
		u->inside = false;
	}
}

static void user_output(void *ctx)
{
	struct user *u = ctx;

	assert_false(u->inside);
	u->outputs++;
	if (u->free_in_output) {
		cv_stream_free(&u->s);
		return;
	}
	u->inside = true;
	while (u->to_produce > 0 && cv_stream_room(u->s) > 0) {
		char octets[1000];
		size_t len = CV_MIN(sizeof(octets), u->to_produce);

		for (size_t i = 0; i < len; i++)
			octets[i] = (char)(unsigned char)(u->to_produce - i);
		cv_stream_write(u->s, cv_str_mem(octets, len));
		u->to_produce -= len;
	}
	u->inside = false;
}

static const struct cv_stream_ops user_ops = { .input = user_input, .output = user_output };

static void user_init(struct user *u, struct cv_loop *loop, struct cv_stream *s)
{
	*u = (struct user){ .loop = loop, .s = s };
	cv_buf_init(&u->lines, 1000000);
	cv_stream_set_ops(s, &user_ops, u);
}

static void user_end(struct user *u)
{
	cv_stream_free(&u->s);
	cv_buf_deinit(&u->lines);
}

static int pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
}

static void rounds(struct cv_loop *loop, int count)
{
	for (int i = 0; i < count; i++)
		(void)cv_loop_once(loop, 0);
}

/* All that can be read now. */
static size_t slurp(int fd, struct cv_buf *to)
{
	char octets[4096];
	size_t total = 0;
	ssize_t n;

	while ((n = read(fd, octets, sizeof(octets))) > 0) {
		if (to != NULL)
			cv_buf_append_mem(to, octets, (size_t)n);
		total += (size_t)n;
	}
	return total;
}

#define on_both(name)                                                                                         \
	static void name##_with(struct cv_loop *loop, struct cv_arena *arena);                                \
	static void name(void **state)                                                                        \
	{                                                                                                     \
		static const enum cv_loop_backend backends[] = { CV_LOOP_EPOLL, CV_LOOP_POLL };               \
                                                                                                              \
		for (size_t backend_ = 0; backend_ < CV_COUNT_OF(backends); backend_++) {                     \
			struct cv_loop *loop_ = cv_loop_new(backends[backend_]);                              \
                                                                                                              \
			name##_with(loop_, *state);                                                           \
			cv_loop_free(&loop_);                                                                 \
		}                                                                                             \
	}                                                                                                     \
	static void name##_with(struct cv_loop *loop, struct cv_arena *arena CV_UNUSED)

on_both(input_split_at_every_octet_gives_the_same_lines)
{
	static const char text[] = "a1 LOGIN\r\n\r\na2 noop\na3 \0x\r\n";
	size_t len = sizeof(text) - 1;

	for (size_t cut = 0; cut <= len; cut++) {
		struct user u;
		int fds[2];

		assert_int_equal(pair(fds), 0);
		user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 64));
		assert_int_equal(write(fds[1], text, cut), (ssize_t)cut);
		rounds(loop, 2);
		assert_int_equal(write(fds[1], &text[cut], len - cut), (ssize_t)(len - cut));
		rounds(loop, 2);
		assert_str(cv_buf_str(&u.lines), "a1 LOGIN||a2 noop|a3 \0x|");
		assert_int_equal(cv_stream_bytes_in(u.s), len);
		assert_null(cv_stream_error(u.s));
		user_end(&u);
		(void)close(fds[1]);
	}
}

on_both(end_of_input_comes_after_its_last_octets)
{
	struct user u;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 64));
	assert_int_equal(write(fds[1], "x\ny", 3), 3);
	(void)close(fds[1]);
	rounds(loop, 3);
	assert_str(cv_buf_str(&u.lines), "x|");
	/* Not while input is left. */
	assert_false(cv_stream_eof(u.s));
	cv_stream_consume(u.s, 1);
	assert_true(cv_stream_eof(u.s));
	assert_null(cv_stream_error(u.s));
	u.inputs = 0;
	rounds(loop, 3);
	assert_int_equal(u.inputs, 0);
	user_end(&u);
}

on_both(full_input_stops_reading_until_it_is_consumed)
{
	struct user u;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 10, 64));
	u.leave_input = true;
	assert_int_equal(write(fds[1], "0123456789abcdef", 16), 16);
	rounds(loop, 4);
	assert_int_equal(u.inputs, 1);
	assert_true(cv_stream_input_full(u.s));
	assert_str(cv_stream_input(u.s), "0123456789");
	/* What was consumed does not come again, and the rest follows. */
	cv_stream_consume(u.s, 4);
	assert_str(cv_stream_input(u.s), "456789");
	rounds(loop, 4);
	assert_str(cv_stream_input(u.s), "456789abcd");
	cv_stream_consume(u.s, 10);
	rounds(loop, 4);
	assert_str(cv_stream_input(u.s), "ef");
	user_end(&u);
	(void)close(fds[1]);
}

on_both(wanted_input_is_offered_again_once)
{
	struct user u;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 64));
	u.leave_input = true;
	assert_int_equal(write(fds[1], "x\n", 2), 2);
	rounds(loop, 3);
	assert_int_equal(u.inputs, 1);
	cv_stream_want_input(u.s);
	assert_int_equal(u.inputs, 1);
	rounds(loop, 3);
	assert_int_equal(u.inputs, 2);
	user_end(&u);
	(void)close(fds[1]);
}

on_both(paused_stream_reads_nothing_and_resumes)
{
	struct user u;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 64));
	cv_stream_pause(u.s);
	assert_int_equal(write(fds[1], "x\n", 2), 2);
	rounds(loop, 3);
	assert_int_equal(u.inputs, 0);
	cv_stream_resume(u.s);
	rounds(loop, 3);
	assert_str(cv_buf_str(&u.lines), "x|");
	user_end(&u);
	(void)close(fds[1]);
}

static void count_event(void *ctx, unsigned events CV_UNUSED)
{
	(*(int *)ctx)++;
}

on_both(paused_stream_leaves_its_descriptor_to_others)
{
	struct user u;
	int fds[2], events = 0;

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 64));
	cv_stream_pause_watch(u.s);
	/* There is no room for a second one while the loop watches it. */
	struct cv_io *io = cv_io_add(loop, fds[0], CV_IO_READ, count_event, &events);
	assert_int_equal(write(fds[1], "x\n", 2), 2);
	rounds(loop, 1);
	assert_true(events > 0);
	cv_io_remove(&io);
	rounds(loop, 3);
	assert_int_equal(u.inputs, 0);
	cv_stream_resume(u.s);
	rounds(loop, 3);
	assert_str(cv_buf_str(&u.lines), "x|");
	user_end(&u);
	(void)close(fds[1]);
}

on_both(octets_handed_over_come_first)
{
	struct user u;
	struct cv_stream *s;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	s = cv_stream_new(loop, fds[0], 8, 64);
	assert_int_equal(cv_stream_unread(s, CV_STR("123456789")), -1);
	assert_int_equal(cv_stream_unread(s, CV_STR("ab")), 1);
	assert_int_equal(write(fds[1], "c\n", 2), 2);
	user_init(&u, loop, s);
	rounds(loop, 3);
	assert_str(cv_buf_str(&u.lines), "abc|");
	user_end(&u);
	(void)close(fds[1]);
}

on_both(output_of_a_round_is_written_at_its_end)
{
	struct user u;
	int fds[2];
	struct cv_buf got;

	cv_buf_init(&got, 1000);
	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 64));
	cv_stream_write(u.s, CV_STR("one "));
	cv_buf_printf(cv_stream_out(u.s), "%d", 2);
	assert_int_equal(slurp(fds[1], &got), 0);
	assert_int_equal(cv_stream_unsent(u.s), 5);
	rounds(loop, 1);
	(void)slurp(fds[1], &got);
	assert_str(cv_buf_str(&got), "one 2");
	assert_int_equal(cv_stream_unsent(u.s), 0);
	assert_int_equal(cv_stream_bytes_out(u.s), 5);
	cv_stream_write(u.s, CV_STR("three"));
	assert_int_equal(cv_stream_flush(u.s), 1);
	assert_int_equal(slurp(fds[1], &got), 5);
	user_end(&u);
	(void)close(fds[1]);
	cv_buf_deinit(&got);
}

on_both(slow_reader_stops_the_producer_not_the_loop)
{
	size_t total = 3000000, received = 0, max_unsent = 0;
	struct user u, other;
	int fds[2], fds2[2], small = 4096;
	struct cv_buf got;

	cv_buf_init(&got, total);
	assert_int_equal(pair(fds), 0);
	assert_int_equal(pair(fds2), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 100000));
	user_init(&other, loop, cv_stream_new(loop, fds2[0], 64, 64));
	u.to_produce = total;
	user_output(&u);
	assert_int_equal(cv_stream_room(u.s), 0);
	rounds(loop, 20);
	/* Nobody reads: nothing is produced beyond the bound, and others are served. */
	assert_true(u.to_produce > 2000000);
	assert_int_equal(u.outputs, 1);
	assert_int_equal(write(fds2[1], "x\n", 2), 2);
	rounds(loop, 2);
	assert_str(cv_buf_str(&other.lines), "x|");
	while (received < total) {
		size_t n = slurp(fds[1], &got);

		received += n;
		max_unsent = CV_MAX(max_unsent, cv_stream_unsent(u.s));
		(void)cv_loop_once(loop, n > 0 ? 0 : 1000);
	}
	assert_int_equal(received, total);
	assert_true(max_unsent <= 101000);
	for (size_t i = 0; i < total; i++) {
		if ((unsigned char)got.data[i] != ((total - i) & 0xff))
			fail_msg("octet %zu is wrong", i);
	}
	assert_int_equal(cv_stream_unsent(u.s), 0);
	user_end(&u);
	user_end(&other);
	(void)close(fds[1]);
	(void)close(fds2[1]);
	cv_buf_deinit(&got);
}

/* Some go from where they are, with what was appended before them, some are copied, and the kernel takes any part of either. */
on_both(large_pieces_arrive_in_order)
{
	static const size_t sizes[] = { 5, 16384, 60000, 1, 65536, 20000, 16383, 49152, 16384, 7, 65000, 65536, 100000, 40000, 65536, 3 };
	size_t total = 0, piece = 0;
	struct cv_buf want, got;
	int fds[2], small = 4096;
	struct user u;

	for (size_t i = 0; i < CV_COUNT_OF(sizes); i++)
		total += sizes[i];
	cv_buf_init(&want, total);
	cv_buf_init(&got, total);
	for (size_t i = 0; i < total; i++)
		cv_buf_append_char(&want, (char)(i * 7 + i / 251));
	assert_int_equal(pair(fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 150000));
	for (size_t pos = 0; pos < total || cv_stream_unsent(u.s) > 0;) {
		while (piece < CV_COUNT_OF(sizes) && cv_stream_room(u.s) >= sizes[piece]) {
			char *octets = cv_malloc(sizes[piece]);

			memcpy(octets, want.data + pos, sizes[piece]);
			cv_stream_write(u.s, cv_str_mem(octets, sizes[piece]));
			cv_free(octets); /* it is the caller's again */
			pos += sizes[piece++];
		}
		rounds(loop, 1);
		assert_null(cv_stream_error(u.s));
		(void)slurp(fds[1], &got);
	}
	assert_str_eq(cv_buf_str(&got), cv_buf_str(&want));
	assert_int_equal(cv_stream_bytes_out(u.s), total);
	user_end(&u);
	(void)close(fds[1]);
	cv_buf_deinit(&want);
	cv_buf_deinit(&got);
}

on_both(large_piece_for_a_peer_that_is_gone_fails_the_stream)
{
	char *octets = cv_malloc(100000);
	struct user u;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 150000));
	(void)close(fds[1]);
	cv_stream_write(u.s, cv_str_mem(octets, 100000));
	assert_non_null(cv_stream_error(u.s));
	cv_stream_write(u.s, cv_str_mem(octets, 100000));
	rounds(loop, 2);
	assert_int_equal(cv_stream_unsent(u.s), 0);
	assert_true(u.outputs > 0);
	user_end(&u);
	cv_free(octets);
}

on_both(memory_of_output_is_given_back_when_all_is_written)
{
	char *octets = cv_malloc(50000);
	struct user u;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 200000));
	for (int i = 0; i < 3; i++)
		cv_stream_write(u.s, cv_str_mem(octets, 10000));
	cv_stream_write(u.s, cv_str_mem(octets, 50000));
	assert_true(u.s->out.cap > 0);
	for (int i = 0; i < 4 && cv_stream_unsent(u.s) > 0; i++) {
		rounds(loop, 1);
		(void)slurp(fds[1], NULL);
	}
	assert_int_equal(cv_stream_bytes_out(u.s), 80000);
	assert_int_equal(u.s->out.cap, 0);
	assert_int_equal(u.s->sending.cap, 0);
	user_end(&u);
	(void)close(fds[1]);
	cv_free(octets);
}

on_both(output_beyond_the_slack_fails_the_stream)
{
	struct user u;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 1000));
	/* One append, so that the stream can't write in between. */
	cv_buf_printf(cv_stream_out(u.s), "%0*d", 70000, 1);
	rounds(loop, 2);
	assert_string_equal(cv_stream_error(u.s), "Output limit exceeded");
	assert_int_equal(cv_stream_room(u.s), 1000);
	cv_stream_write(u.s, CV_STR("dropped"));
	rounds(loop, 2);
	assert_int_equal(cv_stream_flush(u.s), -1);
	assert_int_equal(slurp(fds[1], NULL), 0);
	user_end(&u);
	(void)close(fds[1]);
}

on_both(writing_to_a_peer_that_is_gone_fails_the_stream)
{
	struct user u;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 1000));
	(void)close(fds[1]);
	cv_stream_pause(u.s);
	u.inputs = u.outputs = 0;
	cv_stream_write(u.s, CV_STR("x"));
	rounds(loop, 3);
	assert_non_null(cv_stream_error(u.s));
	/* Who waits for room is told; who paused input is not, before it resumes. */
	assert_true(u.outputs > 0);
	assert_int_equal(u.inputs, 0);
	cv_stream_resume(u.s);
	rounds(loop, 3);
	assert_int_equal(u.inputs, 1);
	user_end(&u);
}

on_both(callbacks_may_free_the_stream)
{
	struct user u;
	int fds[2];
	char c;

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 1000));
	u.free_in_input = true;
	assert_int_equal(write(fds[1], "x", 1), 1);
	rounds(loop, 2);
	assert_null(u.s);
	assert_int_equal(read(fds[1], &c, 1), 0);
	user_end(&u);
	(void)close(fds[1]);

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 1000));
	u.free_in_output = true;
	cv_stream_write(u.s, CV_STR("x"));
	rounds(loop, 2);
	assert_null(u.s);
	user_end(&u);
	(void)close(fds[1]);
}

on_both(detached_descriptor_is_the_callers)
{
	struct user u;
	int fds[2], fd;

	assert_int_equal(pair(fds), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 1000));
	u.leave_input = true;
	assert_int_equal(write(fds[1], "x", 1), 1);
	rounds(loop, 2);
	cv_stream_write(u.s, CV_STR("y"));
	assert_int_equal(cv_stream_detach(u.s), -1);
	assert_int_equal(cv_stream_flush(u.s), 1);
	fd = cv_stream_detach(u.s);
	assert_int_equal(fd, fds[0]);
	assert_str(cv_stream_input(u.s), "x");
	rounds(loop, 2);
	user_end(&u);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	(void)close(fd);
	(void)close(fds[1]);
}

on_both(close_after_flush_writes_all_then_closes)
{
	size_t total = 500000, received = 0;
	int fds[2], small = 4096;
	struct user u;
	char c;

	assert_int_equal(pair(fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, total));
	u.to_produce = total;
	user_output(&u);
	u.inputs = u.outputs = 0;
	cv_stream_close_after_flush(&u.s, 60000);
	assert_null(u.s);
	/* Its late input is of no interest any more. */
	assert_int_equal(write(fds[1], "x\n", 2), 2);
	while (received < total) {
		size_t n = slurp(fds[1], NULL);

		received += n;
		(void)cv_loop_once(loop, n > 0 ? 0 : 1000);
	}
	rounds(loop, 3);
	assert_int_equal(received, total);
	errno = 0;
	assert_true(read(fds[1], &c, 1) == 0 || errno == ECONNRESET);
	assert_int_equal(u.inputs + u.outputs, 0);
	user_end(&u);
	(void)close(fds[1]);
}

on_both(stream_that_closes_when_the_loop_ends_is_freed)
{
	struct user u;
	int fds[2], small = 4096;

	assert_int_equal(pair(fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 500000));
	u.to_produce = 400000;
	user_output(&u);
	cv_stream_close_after_flush(&u.s, 60000);
	rounds(loop, 2);
	user_end(&u);
	/* The descriptor check of the teardown sees whether it was closed. */
	(void)close(fds[1]);
}

static void close_gives_up_after_its_time(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct user u;
	int fds[2], small = 4096;
	char c;

	assert_int_equal(pair(fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 500000));
	u.to_produce = 400000;
	user_output(&u);
	cv_stream_close_after_flush(&u.s, 5000);
	rounds(loop, 3);
	cv_loop_fake_advance(loop, 4999);
	rounds(loop, 3);
	assert_true(write(fds[1], "x", 1) == 1);
	cv_loop_fake_advance(loop, 1);
	rounds(loop, 3);
	(void)slurp(fds[1], NULL);
	assert_true(read(fds[1], &c, 1) <= 0);
	assert_int_equal(write(fds[1], "x", 1), -1);
	user_end(&u);
	(void)close(fds[1]);
	cv_loop_free(&loop);
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[1], (const struct sockaddr *)&addr, sizeof(addr)), 0);
	fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[0] >= 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	(void)close(listener);
}

static void wait_readable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&poll_fd, 1, 5000), 1);
}

/* Whoever said LOGOUT gets the last reply and the end, and nobody waits for its own end. */
static void peer_that_asked_for_the_end_is_not_waited_for(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct cv_buf got;
	struct user u;
	int fds[2];
	char c;

	cv_buf_init(&got, 1000);
	tcp_pair(fds);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 1000));
	cv_stream_set_bidden(u.s);
	cv_stream_write(u.s, CV_STR("* BYE\r\n"));
	cv_stream_close_after_flush(&u.s, 5000);
	rounds(loop, 1);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	wait_readable(fds[1]);
	(void)slurp(fds[1], &got);
	assert_str(cv_buf_str(&got), "* BYE\r\n");
	wait_readable(fds[1]);
	assert_int_equal(read(fds[1], &c, 1), 0);
	cv_buf_deinit(&got);
	user_end(&u);
	(void)close(fds[1]);
	cv_loop_free(&loop);
}

static void peer_that_says_more_all_the_same_gets_the_last_reply(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct cv_buf got;
	struct user u;
	int fds[2];

	cv_buf_init(&got, 1000);
	tcp_pair(fds);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 1000));
	cv_stream_set_bidden(u.s);
	assert_int_equal(write(fds[1], "NOOP\r\n", 6), 6);
	wait_readable(fds[0]);
	cv_stream_write(u.s, CV_STR("* BYE\r\n"));
	cv_stream_close_after_flush(&u.s, 5000);
	rounds(loop, 1);
	assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	wait_readable(fds[1]);
	(void)slurp(fds[1], &got);
	assert_str(cv_buf_str(&got), "* BYE\r\n");
	(void)close(fds[1]);
	wait_readable(fds[0]);
	rounds(loop, 2);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	cv_buf_deinit(&got);
	user_end(&u);
	cv_loop_free(&loop);
}

/* A close with input unread would reset the connection and take the farewell with it. */
static void last_reply_survives_input_that_nobody_reads(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct cv_buf got;
	struct user u;
	int fds[2], tries;
	char c;

	cv_buf_init(&got, 1000);
	tcp_pair(fds);
	user_init(&u, loop, cv_stream_new(loop, fds[0], 64, 1000));
	cv_stream_write(u.s, CV_STR("* BYE\r\n"));
	cv_stream_close_after_flush(&u.s, 5000);
	assert_int_equal(write(fds[1], "NOOP\r\nNOOP\r\n", 12), 12);
	for (int i = 0; i < 200 && got.len < 7; i++) {
		(void)usleep(1000);
		rounds(loop, 1);
		(void)slurp(fds[1], &got);
	}
	assert_int_equal(write(fds[1], "NOOP\r\n", 6), 6);
	(void)usleep(2000);
	rounds(loop, 3);
	assert_str(cv_buf_str(&got), "* BYE\r\n");
	assert_int_equal(read(fds[1], &c, 1), 0);
	cv_loop_fake_advance(loop, 2000);
	rounds(loop, 2);
	/* Closed for good by now: the first octet provokes the reset that the next one meets. */
	for (tries = 0; tries < 200 && write(fds[1], "x", 1) == 1; tries++)
		(void)usleep(1000);
	assert_true(tries < 200);
	user_end(&u);
	(void)close(fds[1]);
	cv_buf_deinit(&got);
	cv_loop_free(&loop);
}

static void memory_stream_feeds_and_collects(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct user u;

	user_init(&u, loop, cv_stream_new_mem(loop, 8, 40));
	cv_stream_mem_push(u.s, CV_STR("one\r\ntwo\r\nthree\r\nfo"), false);
	rounds(loop, 5);
	assert_str(cv_buf_str(&u.lines), "one|two|three|");
	cv_stream_mem_push(u.s, CV_STR("ur\n"), true);
	rounds(loop, 3);
	assert_str(cv_buf_str(&u.lines), "one|two|three|four|");
	assert_true(cv_stream_eof(u.s));
	u.outputs = 0;
	cv_stream_write(u.s, CV_STR("0123456789012345678901234567890123456789"));
	rounds(loop, 2);
	assert_int_equal(cv_stream_room(u.s), 0);
	assert_int_equal(u.outputs, 0);
	assert_str(cv_buf_str(cv_stream_out(u.s)), "0123456789012345678901234567890123456789");
	cv_buf_consume(cv_stream_out(u.s), 31);
	rounds(loop, 2);
	assert_int_equal(u.outputs, 1);
	assert_int_equal(cv_stream_room(u.s), 31);
	user_end(&u);
	cv_loop_free(&loop);
}

static int relays_done;

static void relay_done(void *ctx)
{
	relays_done++;
	*(struct cv_relay **)ctx = NULL;
}

struct relayed {
	struct cv_relay *relay;
	int client, worker; /* the far ends */
};

static void relay_open(struct cv_loop *loop, struct relayed *r, size_t max)
{
	int a[2], b[2];

	assert_int_equal(pair(a), 0);
	assert_int_equal(pair(b), 0);
	relays_done = 0;
	r->client = a[1];
	r->worker = b[1];
	r->relay = cv_relay_new(cv_stream_new(loop, a[0], max, max), cv_stream_new(loop, b[0], max, max), relay_done,
		&r->relay);
}

on_both(relay_moves_much_both_ways_in_bounded_memory)
{
	size_t total = 1000000, sent[2] = { 0 }, received[2] = { 0 };
	struct relayed r;
	char octets[5000];

	relay_open(loop, &r, 8192);
	memset(octets, 'x', sizeof(octets));
	while (received[0] < total || received[1] < total) {
		int fds[2] = { r.client, r.worker };

		for (int i = 0; i < 2; i++) {
			ssize_t n = sent[i] < total ? write(fds[i], octets, CV_MIN(sizeof(octets), total - sent[i])) : 0;

			if (n > 0)
				sent[i] += (size_t)n;
			received[1 - i] += slurp(fds[1 - i], NULL);
		}
		(void)cv_loop_once(loop, 10);
	}
	assert_int_equal(received[0], total);
	assert_int_equal(received[1], total);
	assert_int_equal(relays_done, 0);
	cv_relay_free(&r.relay);
	assert_int_equal(relays_done, 0);
	(void)close(r.client);
	(void)close(r.worker);
}

on_both(relay_passes_half_closes_on)
{
	struct relayed r;
	struct cv_buf got;
	char c;

	cv_buf_init(&got, 1000);
	relay_open(loop, &r, 100);
	assert_int_equal(write(r.client, "commands", 8), 8);
	assert_int_equal(shutdown(r.client, SHUT_WR), 0);
	rounds(loop, 4);
	(void)slurp(r.worker, &got);
	assert_str(cv_buf_str(&got), "commands");
	assert_int_equal(read(r.worker, &c, 1), 0);
	assert_int_equal(relays_done, 0);
	/* The other direction still goes. */
	assert_int_equal(write(r.worker, "replies", 7), 7);
	rounds(loop, 4);
	cv_buf_clear(&got);
	(void)slurp(r.client, &got);
	assert_str(cv_buf_str(&got), "replies");
	(void)close(r.worker);
	rounds(loop, 4);
	assert_int_equal(relays_done, 1);
	assert_null(r.relay);
	assert_int_equal(read(r.client, &c, 1), 0);
	(void)close(r.client);
	cv_buf_deinit(&got);
}

on_both(relay_ends_when_the_worker_is_gone)
{
	struct relayed r;
	struct cv_buf got;
	char c;

	cv_buf_init(&got, 1000);
	relay_open(loop, &r, 100);
	assert_int_equal(write(r.worker, "* BYE\r\n", 7), 7);
	(void)close(r.worker);
	rounds(loop, 6);
	/* The client is silent, and hears the last words. */
	assert_int_equal(relays_done, 1);
	(void)slurp(r.client, &got);
	assert_str(cv_buf_str(&got), "* BYE\r\n");
	assert_int_equal(read(r.client, &c, 1), 0);
	(void)close(r.client);
	cv_buf_deinit(&got);
}

on_both(relay_takes_over_octets_that_wait)
{
	struct cv_stream *a, *b;
	struct cv_relay *relay;
	int fa[2], fb[2];
	struct cv_buf got;

	cv_buf_init(&got, 1000);
	assert_int_equal(pair(fa), 0);
	assert_int_equal(pair(fb), 0);
	a = cv_stream_new(loop, fa[0], 100, 100);
	b = cv_stream_new(loop, fb[0], 100, 100);
	assert_int_equal(cv_stream_unread(a, CV_STR("pipelined")), 1);
	cv_stream_pause(a);
	relay = cv_relay_new(a, b, NULL, NULL);
	rounds(loop, 3);
	(void)slurp(fb[1], &got);
	assert_str(cv_buf_str(&got), "pipelined");
	cv_relay_free(&relay);
	(void)close(fa[1]);
	(void)close(fb[1]);
	cv_buf_deinit(&got);
}

on_both(relay_moves_what_its_second_stream_brought_before)
{
	struct cv_stream *a, *b;
	struct cv_relay *relay;
	int fa[2], fb[2];
	struct cv_buf got;

	cv_buf_init(&got, 1000);
	assert_int_equal(pair(fa), 0);
	assert_int_equal(pair(fb), 0);
	a = cv_stream_new(loop, fa[0], 100, 4);
	b = cv_stream_new(loop, fb[0], 100, 100);
	assert_int_equal(write(fb[1], "welcome", 7), 7);
	rounds(loop, 2);
	relay = cv_relay_new(a, b, NULL, NULL);
	rounds(loop, 1);
	(void)slurp(fa[1], &got);
	assert_true(got.len >= 4); /* as much as there was room for */
	rounds(loop, 3);
	(void)slurp(fa[1], &got);
	assert_str(cv_buf_str(&got), "welcome");
	cv_relay_free(&relay);
	(void)close(fa[1]);
	(void)close(fb[1]);
	cv_buf_deinit(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(input_split_at_every_octet_gives_the_same_lines),
		cv_test(end_of_input_comes_after_its_last_octets),
		cv_test(full_input_stops_reading_until_it_is_consumed),
		cv_test(wanted_input_is_offered_again_once),
		cv_test(paused_stream_reads_nothing_and_resumes),
		cv_test(paused_stream_leaves_its_descriptor_to_others),
		cv_test(octets_handed_over_come_first),
		cv_test(output_of_a_round_is_written_at_its_end),
		cv_test(slow_reader_stops_the_producer_not_the_loop),
		cv_test(large_pieces_arrive_in_order),
		cv_test(large_piece_for_a_peer_that_is_gone_fails_the_stream),
		cv_test(memory_of_output_is_given_back_when_all_is_written),
		cv_test(output_beyond_the_slack_fails_the_stream),
		cv_test(writing_to_a_peer_that_is_gone_fails_the_stream),
		cv_test(callbacks_may_free_the_stream),
		cv_test(detached_descriptor_is_the_callers),
		cv_test(close_after_flush_writes_all_then_closes),
		cv_test(stream_that_closes_when_the_loop_ends_is_freed),
		cv_test(close_gives_up_after_its_time),
		cv_test(last_reply_survives_input_that_nobody_reads),
		cv_test(peer_that_asked_for_the_end_is_not_waited_for),
		cv_test(peer_that_says_more_all_the_same_gets_the_last_reply),
		cv_test(memory_stream_feeds_and_collects),
		cv_test(relay_moves_much_both_ways_in_bounded_memory),
		cv_test(relay_passes_half_closes_on),
		cv_test(relay_ends_when_the_worker_is_gone),
		cv_test(relay_takes_over_octets_that_wait),
		cv_test(relay_moves_what_its_second_stream_brought_before),
	};

	return cv_test_run(tests);
}
