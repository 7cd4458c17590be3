/* SPDX-License-Identifier: MIT
   Compressed streams against zlib at the other end: how they begin, flush, are bounded, and end. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/stream.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#define MAX_IN 4096
#define MAX_OUT 65536

static Bytef *octets(const char *p)
{
	return (Bytef *)(uintptr_t)p;
}

/* What a client would send. */
struct packer {
	z_stream z;
};

static void packer_init(struct packer *p)
{
	*p = (struct packer){ 0 };
	assert_int_equal(deflateInit2(&p->z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
}

static void packer_add(struct packer *p, struct cv_buf *to, struct cv_str text, int flush)
{
	char chunk[1000];

	p->z.next_in = octets(text.ptr);
	p->z.avail_in = (unsigned)text.len;
	do {
		p->z.next_out = octets(chunk);
		p->z.avail_out = sizeof(chunk);
		(void)deflate(&p->z, flush);
		cv_buf_append_mem(to, chunk, sizeof(chunk) - p->z.avail_out);
	} while (p->z.avail_out == 0);
}

/* All of packed, unpacked; the rest behind its end to *rest. Returns whether it has an end. */
static bool unpack_all(struct cv_str packed, struct cv_buf *to, struct cv_str *rest)
{
	z_stream z = { .next_in = octets(packed.ptr), .avail_in = (unsigned)packed.len };
	char chunk[1000];
	int result;

	assert_int_equal(inflateInit2(&z, -15), Z_OK);
	do {
		z.next_out = octets(chunk);
		z.avail_out = sizeof(chunk);
		result = inflate(&z, Z_SYNC_FLUSH);
		assert_true(result == Z_OK || result == Z_BUF_ERROR || result == Z_STREAM_END);
		cv_buf_append_mem(to, chunk, sizeof(chunk) - z.avail_out);
	} while (result == Z_OK && (z.avail_in > 0 || z.avail_out == 0));
	*rest = cv_str_sub(packed, packed.len - z.avail_in, SIZE_MAX);
	inflateEnd(&z);
	return result == Z_STREAM_END;
}

/* The user of the stream under test: takes all input unless it is told not to. */
struct user {
	struct cv_stream *s;
	struct cv_buf got;
	int inputs;
	bool leave;
	/* Once got ends with this, the peer compresses no more. */
	const char *last;
	int ended;            /* what cv_stream_packed_end said; INT32_MIN: not asked */
	size_t ended_at;      /* length of got then */
};

static void try_end(struct user *u)
{
	u->ended = cv_stream_packed_end(u->s);
	assert_int_equal(cv_stream_packed_end(u->s), u->ended);
	if (u->ended != 1)
		return;
	cv_stream_write(u->s, CV_STR("bye\r\n"));
	cv_stream_end_deflate(u->s);
	cv_stream_write(u->s, CV_STR("plain\r\n"));
}

static void on_input(void *ctx)
{
	struct user *u = ctx;
	struct cv_str in = cv_stream_input(u->s);

	u->inputs++;
	assert_true(in.len <= MAX_IN);
	if (u->leave)
		return;
	if (u->ended == 0) {
		assert_int_equal(in.len, 0);
		try_end(u);
		return;
	}
	cv_buf_append(&u->got, in);
	cv_stream_consume(u->s, in.len);
	if (u->last != NULL && u->ended == INT32_MIN && cv_str_ends(cv_buf_str(&u->got), cv_str_c(u->last))) {
		u->ended_at = u->got.len;
		try_end(u);
	}
}

static const struct cv_stream_ops ops = { .input = on_input };

static void user_init(struct user *u, struct cv_stream *s)
{
	*u = (struct user){ .s = s, .ended = INT32_MIN };
	cv_buf_init(&u->got, SIZE_MAX);
	cv_stream_set_ops(s, &ops, u);
}

static void user_end(struct user *u)
{
	cv_stream_free(&u->s);
	cv_buf_deinit(&u->got);
}

static void rounds(struct cv_loop *loop, int count)
{
	for (int i = 0; i < count; i++)
		(void)cv_loop_once(loop, 0);
}

static void slurp(int fd, struct cv_buf *to)
{
	char chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		cv_buf_append_mem(to, chunk, (size_t)n);
}

static void start(struct cv_loop *loop, struct user *u, int *fd)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	*fd = fds[1];
	user_init(u, cv_stream_new(loop, fds[0], MAX_IN, MAX_OUT));
	cv_stream_start_deflate(u->s, 6, 14);
}

static void send_all(int fd, struct cv_str data)
{
	assert_int_equal(write(fd, data.ptr, data.len), (ssize_t)data.len);
}

static const int flushes[] = { Z_SYNC_FLUSH, Z_FULL_FLUSH, Z_PARTIAL_FLUSH };

static void input_is_the_same_however_it_is_flushed_and_cut(void **state)
{
	(void)state;
	for (size_t f = 0; f < CV_COUNT_OF(flushes); f++) {
		struct packer p;
		struct cv_buf packed;

		packer_init(&p);
		cv_buf_init(&packed, SIZE_MAX);
		packer_add(&p, &packed, CV_STR("a1 NOOP\r\na2 NO"), flushes[f]);
		packer_add(&p, &packed, CV_STR("OP\r\n"), flushes[f]);
		deflateEnd(&p.z);
		for (size_t cut = 0; cut <= packed.len; cut++) {
			struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
			struct user u;
			int fd;

			start(loop, &u, &fd);
			send_all(fd, cv_str_sub(cv_buf_str(&packed), 0, cut));
			rounds(loop, 6);
			send_all(fd, cv_str_sub(cv_buf_str(&packed), cut, SIZE_MAX));
			rounds(loop, 6);
			assert_str(cv_buf_str(&u.got), "a1 NOOP\r\na2 NOOP\r\n");
			assert_null(cv_stream_error(u.s));
			user_end(&u);
			(void)close(fd);
			cv_loop_free(&loop);
		}
		cv_buf_deinit(&packed);
	}
}

static void each_round_of_output_is_flushed(void **state)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct cv_buf packed, plain;
	struct cv_str rest;
	struct user u;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	user_init(&u, cv_stream_new(loop, fds[0], MAX_IN, MAX_OUT));
	cv_buf_init(&packed, SIZE_MAX);
	cv_buf_init(&plain, SIZE_MAX);
	cv_stream_write(u.s, CV_STR("OK from here on\r\n"));
	cv_stream_start_deflate(u.s, 1, 9);
	for (int i = 0; i < 5; i++) {
		cv_stream_write(u.s, CV_STR("* 1 EXISTS\r\n"));
		rounds(loop, 2);
		slurp(fds[1], &packed);
		assert_true(cv_str_starts(cv_buf_str(&packed), CV_STR("OK from here on\r\n")));
		cv_buf_clear(&plain);
		assert_false(unpack_all(cv_str_sub(cv_buf_str(&packed), 17, SIZE_MAX), &plain, &rest));
		assert_int_equal(plain.len, (i + 1) * 12);
		assert_int_equal(cv_stream_unsent(u.s), 0);
	}
	/* What repeats itself costs little. */
	assert_true(packed.len < 17 + 5 * 12);
	user_end(&u);
	(void)close(fds[1]);
	cv_buf_deinit(&packed);
	cv_buf_deinit(&plain);
	cv_loop_free(&loop);
}

static void much_output_goes_out_whole_past_a_slow_reader(void **state)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct cv_buf packed, plain, sent;
	struct cv_str rest;
	struct user u;
	uint32_t noise = 1;
	int fd;

	(void)state;
	start(loop, &u, &fd);
	cv_buf_init(&packed, SIZE_MAX);
	cv_buf_init(&plain, SIZE_MAX);
	cv_buf_init(&sent, SIZE_MAX);
	for (int i = 0; i < 2000; i++) {
		char chunk[1000];

		/* Does not get shorter. */
		for (size_t j = 0; j < sizeof(chunk); j++) {
			noise = noise * 1664525u + 1013904223u;
			chunk[j] = (char)(unsigned char)(noise >> 24);
		}
		while (cv_stream_room(u.s) == 0) {
			slurp(fd, &packed);
			rounds(loop, 1);
		}
		cv_stream_write(u.s, cv_str_mem(chunk, sizeof(chunk)));
		cv_buf_append_mem(&sent, chunk, sizeof(chunk));
		assert_true(cv_stream_unsent(u.s) < MAX_OUT + 65536 + 4096);
	}
	for (int i = 0; i < 100; i++) {
		rounds(loop, 1);
		slurp(fd, &packed);
	}
	assert_null(cv_stream_error(u.s));
	(void)unpack_all(cv_buf_str(&packed), &plain, &rest);
	assert_true(cv_str_eq(cv_buf_str(&plain), cv_buf_str(&sent)));
	assert_int_equal(cv_stream_bytes_out(u.s), packed.len);
	user_end(&u);
	(void)close(fd);
	cv_buf_deinit(&packed);
	cv_buf_deinit(&plain);
	cv_buf_deinit(&sent);
	cv_loop_free(&loop);
}

/* 16 MiB in 16 KiB: comes in pieces of max_in, and only as fast as it is taken. */
static void bomb_is_unpacked_no_faster_than_taken(void **state)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct packer p;
	struct cv_buf packed;
	struct user u;
	size_t total = (size_t)16 * 1024 * 1024;
	char *zeros = cv_calloc(total, 1);
	int fd;

	(void)state;
	start(loop, &u, &fd);
	packer_init(&p);
	cv_buf_init(&packed, SIZE_MAX);
	packer_add(&p, &packed, cv_str_mem(zeros, total), Z_SYNC_FLUSH);
	deflateEnd(&p.z);
	assert_true(packed.len < 20000);
	send_all(fd, cv_buf_str(&packed));
	u.leave = true;
	rounds(loop, 50);
	assert_int_equal(cv_stream_input(u.s).len, MAX_IN);
	assert_int_equal(u.inputs, 1);
	u.leave = false;
	cv_stream_want_input(u.s);
	for (int i = 0; i < 100000 && u.got.len < total; i++) {
		int inputs = u.inputs;

		rounds(loop, 1);
		assert_true(u.inputs <= inputs + 1);
	}
	assert_int_equal(u.got.len, total);
	assert_null(cv_stream_error(u.s));
	user_end(&u);
	(void)close(fd);
	cv_free(zeros);
	cv_buf_deinit(&packed);
	cv_loop_free(&loop);
}

static void what_is_no_compressed_data_fails_the_stream(void **state)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct user u;
	int fd;

	(void)state;
	start(loop, &u, &fd);
	send_all(fd, CV_STR("a1 NOOP\r\n"));
	rounds(loop, 4);
	assert_non_null(cv_stream_error(u.s));
	assert_int_equal(u.got.len, 0);
	user_end(&u);
	(void)close(fd);
	cv_loop_free(&loop);
}

static void end_of_compressed_data_is_the_end_of_input(void **state)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct packer p;
	struct cv_buf packed;
	struct user u;
	int fd;

	(void)state;
	start(loop, &u, &fd);
	packer_init(&p);
	cv_buf_init(&packed, SIZE_MAX);
	packer_add(&p, &packed, CV_STR("a1 NOOP\r\n"), Z_FINISH);
	deflateEnd(&p.z);
	cv_buf_append_c(&packed, "a2 NOOP\r\n");
	send_all(fd, cv_buf_str(&packed));
	rounds(loop, 6);
	assert_str(cv_buf_str(&u.got), "a1 NOOP\r\n");
	assert_true(cv_stream_eof(u.s));
	user_end(&u);
	(void)close(fd);
	cv_buf_deinit(&packed);
	cv_loop_free(&loop);
}

static void waiting_input_is_taken_as_compressed(void **state)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct packer p;
	struct cv_buf packed;
	struct user u;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	user_init(&u, cv_stream_new(loop, fds[0], MAX_IN, MAX_OUT));
	u.leave = true;
	packer_init(&p);
	cv_buf_init(&packed, SIZE_MAX);
	packer_add(&p, &packed, CV_STR("a1 NOOP\r\n"), Z_SYNC_FLUSH);
	deflateEnd(&p.z);
	send_all(fds[1], cv_buf_str(&packed));
	rounds(loop, 2);
	assert_int_equal(cv_stream_input(u.s).len, packed.len);
	cv_stream_start_deflate(u.s, 6, 15);
	u.leave = false;
	rounds(loop, 4);
	assert_str(cv_buf_str(&u.got), "a1 NOOP\r\n");
	user_end(&u);
	(void)close(fds[1]);
	cv_buf_deinit(&packed);
	cv_loop_free(&loop);
}

/* Each line refers to the one before, and each goes to another stream over the same connection, some of it as input that was read ahead. */
static void compression_goes_on_in_another_stream(void **state)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct cv_buf packed, saved, sent, text, alone;
	struct cv_str rest;
	struct packer p;
	struct user u;
	int fd;

	(void)state;
	packer_init(&p);
	cv_buf_init(&packed, SIZE_MAX);
	cv_buf_init(&saved, SIZE_MAX);
	cv_buf_init(&sent, SIZE_MAX);
	cv_buf_init(&text, SIZE_MAX);
	cv_buf_init(&alone, SIZE_MAX);
	cv_deflate_alone(&alone, CV_STR("* OK Still here\r\n"));
	start(loop, &u, &fd);
	assert_true(cv_stream_save_deflate(u.s, &saved));
	for (unsigned turn = 0; turn < 6; turn++) {
		size_t ahead = turn * 3;

		cv_buf_clear(&packed);
		packer_add(&p, &packed, CV_STR("a1 FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)\r\n"), Z_SYNC_FLUSH);
		assert_true(turn == 0 || packed.len < 30);
		if (turn == 0) {
			send_all(fd, cv_buf_str(&packed));
		} else {
			struct cv_reader in = cv_reader_init(cv_buf_str(&saved));
			int own;

			cv_stream_drop_deflate(u.s);
			own = cv_stream_detach(u.s);
			assert_true(own >= 0);
			user_end(&u);
			assert_true(write(own, alone.data, alone.len) == (ssize_t)alone.len);
			user_init(&u, cv_stream_new(loop, own, MAX_IN, MAX_OUT));
			assert_int_equal(cv_stream_unread(u.s, cv_str_sub(cv_buf_str(&packed), 0, ahead)), 1);
			assert_int_equal(cv_stream_restore_deflate(u.s, 6, 14, &in), 1);
			assert_true(cv_reader_end(&in));
			send_all(fd, cv_str_sub(cv_buf_str(&packed), ahead, SIZE_MAX));
		}
		rounds(loop, 6);
		assert_str(cv_buf_str(&u.got), "a1 FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)\r\n");
		cv_stream_write(u.s, CV_STR("a1 OK\r\n"));
		rounds(loop, 2);
		cv_buf_clear(&saved);
		assert_true(cv_stream_save_deflate(u.s, &saved));
	}
	/* Half of what was packed: not now. */
	cv_buf_clear(&packed);
	packer_add(&p, &packed, CV_STR("a2 NOOP\r\n"), Z_SYNC_FLUSH);
	send_all(fd, cv_str_sub(cv_buf_str(&packed), 0, packed.len - 2));
	rounds(loop, 4);
	assert_false(cv_stream_save_deflate(u.s, &saved));
	slurp(fd, &sent);
	(void)unpack_all(cv_buf_str(&sent), &text, &rest);
	assert_str(cv_str_sub(cv_buf_str(&text), 0, 38), "a1 OK\r\n* OK Still here\r\na1 OK\r\n* OK St");
	assert_int_equal(text.len, 6 * 7 + 5 * 17);
	deflateEnd(&p.z);
	user_end(&u);
	(void)close(fd);
	cv_buf_deinit(&packed);
	cv_buf_deinit(&saved);
	cv_buf_deinit(&sent);
	cv_buf_deinit(&text);
	cv_buf_deinit(&alone);
	cv_loop_free(&loop);
}

/* All ways to flush or finish, cut at each octet: what comes behind is text, and so is our own output. */
static void both_directions_go_back_to_text(void **state)
{
	static const struct {
		int flush, more; /* more: a second flush behind; -1: none */
	} ways[] = { { Z_SYNC_FLUSH, -1 }, { Z_FULL_FLUSH, -1 }, { Z_PARTIAL_FLUSH, -1 }, { Z_FINISH, -1 }, { Z_SYNC_FLUSH, Z_FINISH },
		{ Z_PARTIAL_FLUSH, Z_FINISH }, { Z_PARTIAL_FLUSH, Z_SYNC_FLUSH }, { Z_SYNC_FLUSH, Z_PARTIAL_FLUSH } };

	(void)state;
	/* Different lengths leave different numbers of bits in the last octet. */
	for (size_t pad = 0; pad < 12; pad++) {
		for (size_t w = 0; w < CV_COUNT_OF(ways); w++) {
			struct packer p;
			struct cv_buf packed;
			size_t end;

			packer_init(&p);
			cv_buf_init(&packed, SIZE_MAX);
			packer_add(&p, &packed, cv_str_sub(CV_STR("a012345678901"), 0, 1 + pad), Z_NO_FLUSH);
			packer_add(&p, &packed, CV_STR(" LAST\r\n"), ways[w].flush);
			if (ways[w].more >= 0)
				packer_add(&p, &packed, CV_STR(""), ways[w].more);
			deflateEnd(&p.z);
			end = packed.len;
			cv_buf_append_c(&packed, "b1 AUTHENTICATE PLAIN\r\n");
			for (size_t cut = 0; cut <= packed.len; cut++) {
				struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
				struct cv_buf out, plain;
				struct cv_str rest;
				struct user u;
				int fd;

				/* A client that sends the second flush alone has said before that it is done. */
				if (ways[w].more >= 0 && cut < end)
					cut = end;
				start(loop, &u, &fd);
				u.last = " LAST\r\n";
				cv_buf_init(&out, SIZE_MAX);
				cv_buf_init(&plain, SIZE_MAX);
				send_all(fd, cv_str_sub(cv_buf_str(&packed), 0, cut));
				rounds(loop, 6);
				/* It waits for the whole of the flush, and no longer. */
				if (cut < end)
					assert_int_not_equal(u.ended, 1);
				else
					assert_int_equal(u.ended, 1);
				send_all(fd, cv_str_sub(cv_buf_str(&packed), cut, SIZE_MAX));
				rounds(loop, 6);
				assert_int_equal(u.ended, 1);
				assert_false(cv_stream_deflated(u.s));
				assert_null(cv_stream_error(u.s));
				assert_false(cv_stream_ended(u.s));
				assert_str(cv_str_sub(cv_buf_str(&u.got), u.ended_at, SIZE_MAX), "b1 AUTHENTICATE PLAIN\r\n");
				slurp(fd, &out);
				assert_true(unpack_all(cv_buf_str(&out), &plain, &rest));
				assert_str(cv_buf_str(&plain), "bye\r\n");
				assert_str(rest, "plain\r\n");
				user_end(&u);
				(void)close(fd);
				cv_buf_deinit(&out);
				cv_buf_deinit(&plain);
				cv_loop_free(&loop);
			}
			cv_buf_deinit(&packed);
		}
	}
}

static void what_is_compressed_behind_the_last_command_is_an_error(void **state)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct packer p;
	struct cv_buf packed;
	struct user u;
	int fd;

	(void)state;
	start(loop, &u, &fd);
	u.last = " LAST\r\n";
	packer_init(&p);
	cv_buf_init(&packed, SIZE_MAX);
	packer_add(&p, &packed, CV_STR("a LAST\r\n"), Z_BLOCK);
	packer_add(&p, &packed, CV_STR("b\r\n"), Z_SYNC_FLUSH);
	deflateEnd(&p.z);
	send_all(fd, cv_buf_str(&packed));
	rounds(loop, 6);
	assert_int_equal(u.ended, -1);
	user_end(&u);
	(void)close(fd);
	cv_buf_deinit(&packed);
	cv_loop_free(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(input_is_the_same_however_it_is_flushed_and_cut),
		cv_test(each_round_of_output_is_flushed),
		cv_test(much_output_goes_out_whole_past_a_slow_reader),
		cv_test(bomb_is_unpacked_no_faster_than_taken),
		cv_test(what_is_no_compressed_data_fails_the_stream),
		cv_test(end_of_compressed_data_is_the_end_of_input),
		cv_test(waiting_input_is_taken_as_compressed),
		cv_test(compression_goes_on_in_another_stream),
		cv_test(both_directions_go_back_to_text),
		cv_test(what_is_compressed_behind_the_last_command_is_an_error),
	};

	return cv_test_run(tests);
}
