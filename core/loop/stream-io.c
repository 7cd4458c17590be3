/* SPDX-License-Identifier: MIT
   What a stream does with its descriptor: reading, writing, the TLS handshake. No callback is called from here. */
#include <config.h>

#include "core/loop/stream-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define TLS_CHUNK 65536   /* octets that TLS collects before the kernel gets them, beside those of a call */
#define READ_BUDGET 65536 /* octets a round, so that one peer does not hold up the others */

static void fail_errno(struct cv_stream *s, int errnum)
{
	char number[64];

	cv_stream_fail(s, strerror_r(errnum, number, sizeof(number)));
}

static unsigned wait_of(enum cv_tls_result result)
{
	return result == CV_TLS_WANT_WRITE ? CV_IO_WRITE : CV_IO_READ;
}

static void take_in(struct cv_stream *s, const char *p, size_t len)
{
	if (s->in_pos > 0) {
		cv_buf_consume(&s->in, s->in_pos);
		s->in_pos = 0;
	}
	cv_buf_append_mem(&s->in, p, len);
	cv_assert(cv_buf_ok(&s->in));
	if (s->deflate == NULL)
		s->bytes_in += len;
	s->input_due = true;
}

static void end_input(struct cv_stream *s)
{
	s->eof = true;
	s->input_due = true;
}

static void read_mem(struct cv_stream *s)
{
	size_t len = CV_MIN(s->mem_in.len, s->max_in - cv_stream_buffered(s));

	if (len > 0) {
		take_in(s, s->mem_in.data, len);
		cv_buf_consume(&s->mem_in, len);
	}
	if (s->mem_in.len == 0 && s->mem_eof && !s->eof)
		end_input(s);
}

/* A socket need not be made non-blocking for that. */
static ssize_t read_some(const struct cv_stream *s, char *p, size_t size)
{
	return s->is_socket ? recv(s->fd, p, size, MSG_DONTWAIT) : read(s->fd, p, size);
}

/* Packed octets from the descriptor, or memory. False when there are none now. */
static bool fill_packed(struct cv_stream *s)
{
	char *scratch = cv_loop_scratch(s->loop);
	size_t room = cv_stream_packed_room(s);
	ssize_t n;

	if (room == 0)
		return false;
	if (s->is_mem) {
		n = (ssize_t)CV_MIN(s->mem_in.len, room);
		cv_stream_packed_take(s, s->mem_in.data, (size_t)n);
		cv_buf_consume(&s->mem_in, (size_t)n);
		if (n == 0 && s->mem_eof)
			end_input(s);
		return n > 0;
	}
	do
		n = read_some(s, scratch, CV_MIN(room, CV_LOOP_SCRATCH));
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		cv_stream_packed_take(s, scratch, (size_t)n);
		return true;
	}
	if (n == 0)
		end_input(s);
	else if (errno != EAGAIN && errno != EWOULDBLOCK)
		fail_errno(s, errno);
	return false;
}

static void read_deflate(struct cv_stream *s)
{
	char *scratch = cv_loop_scratch(s->loop);
	size_t budget = READ_BUDGET;

	s->more = false;
	while (s->error == NULL && !s->eof) {
		size_t room = CV_MIN(CV_MIN(budget, CV_LOOP_SCRATCH), s->max_in - cv_stream_buffered(s));
		ssize_t n;

		if (room == 0 || cv_stream_packed_held(s)) {
			s->more = cv_stream_packed_waits(s);
			return;
		}
		if (!cv_stream_packed_waits(s)) {
			if (!fill_packed(s))
				return;
			continue;
		}
		n = cv_stream_unpack(s, scratch, room);
		if (n > 0) {
			take_in(s, scratch, (size_t)n);
			cv_wipe(scratch, (size_t)n);
			budget -= (size_t)n;
		}
	}
}

static void read_plain(struct cv_stream *s)
{
	char *scratch = cv_loop_scratch(s->loop);
	size_t room = CV_MIN(CV_LOOP_SCRATCH, s->max_in - cv_stream_buffered(s));
	ssize_t n;

	do
		n = read_some(s, scratch, room);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		take_in(s, scratch, (size_t)n);
		cv_wipe(scratch, (size_t)n);
		/* Nothing more will come but the end, which the kernel would announce anew: the user can do with both at once. */
		if (s->hup && s->is_socket && (size_t)n < room && recv(s->fd, scratch, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			end_input(s);
	} else if (n == 0) {
		end_input(s);
	} else if (errno != EAGAIN && errno != EWOULDBLOCK) {
		fail_errno(s, errno);
	}
}

static void read_tls(struct cv_stream *s)
{
	char *scratch = cv_loop_scratch(s->loop);
	size_t budget = READ_BUDGET;

	s->more = false;
	for (;;) {
		size_t room = CV_MIN(budget, s->max_in - cv_stream_buffered(s)), len = 0;
		struct cv_err err = { 0 };
		enum cv_tls_result result;

		if (room == 0) {
			/* OpenSSL may have read further than we took: the descriptor won't say so. */
			s->more = cv_tls_conn_pending(s->tls);
			return;
		}
		result = cv_tls_conn_read(s->tls, scratch, CV_MIN(room, CV_LOOP_SCRATCH), &len, &err);
		switch (result) {
		case CV_TLS_DONE:
			take_in(s, scratch, len);
			cv_wipe(scratch, len);
			budget -= len;
			/* OpenSSL reads as much as it has room for: what it left is announced by the descriptor. */
			if (!cv_tls_conn_pending(s->tls))
				return;
			break;
		case CV_TLS_WANT_READ:
		case CV_TLS_WANT_WRITE:
			s->read_wait = wait_of(result);
			return;
		case CV_TLS_EOF:
			end_input(s);
			return;
		case CV_TLS_FAILED:
			/* An alert says why. */
			(void)cv_tls_conn_flush(s->tls, false, &(struct cv_err){ 0 });
			cv_stream_fail(s, err.text);
			return;
		}
	}
}

void cv_stream_read(struct cv_stream *s)
{
	if (s->error != NULL || s->eof || cv_stream_buffered(s) >= s->max_in)
		return;
	if (s->deflate != NULL)
		read_deflate(s);
	else if (s->is_mem)
		read_mem(s);
	else if (s->state == CV_STREAM_PLAIN)
		read_plain(s);
	else if (s->state == CV_STREAM_TLS)
		read_tls(s);
	/* An answer of TLS's own. */
	if (s->state == CV_STREAM_TLS && cv_tls_conn_unsent(s->tls) > 0)
		cv_loop_round_end(s->loop, &s->end);
}

/* Octets written, 0 when the kernel takes none now, -1 when the stream failed. */
static ssize_t write_some(struct cv_stream *s, const char *p, size_t len)
{
	struct cv_err err = { 0 };
	ssize_t n;

	if (s->state == CV_STREAM_TLS) {
		size_t written = 0;
		enum cv_tls_result result = cv_tls_conn_write(s->tls, p, len, &written, &err);

		if (result == CV_TLS_DONE)
			return (ssize_t)written;
		if (result == CV_TLS_FAILED || result == CV_TLS_EOF) {
			cv_stream_fail(s, result == CV_TLS_EOF ? "Connection closed" : err.text);
			return -1;
		}
		s->write_wait = wait_of(result);
		return 0;
	}
	/* The last octets leave in one packet with the end that all_written tells. */
	int more = s->is_tcp && s->half_close && s->out.len == 0 && s->state == CV_STREAM_PLAIN ? MSG_MORE : 0;
	do
		n = s->is_socket ? send(s->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT | more) : write(s->fd, p, len);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno != EAGAIN && errno != EWOULDBLOCK) {
		fail_errno(s, errno);
		return -1;
	}
	s->write_wait = CV_IO_WRITE;
	return 0;
}

void cv_stream_send_through(struct cv_stream *s, struct cv_str data)
{
	struct iovec parts[2] = { { .iov_base = s->out.data, .iov_len = s->out.len }, { .iov_base = (void *)(uintptr_t)data.ptr, .iov_len = data.len } };
	const struct msghdr msg = { .msg_iov = parts, .msg_iovlen = CV_COUNT_OF(parts) };
	size_t written, waited;
	ssize_t n;

	do
		n = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
		fail_errno(s, errno);
		return;
	}
	written = n > 0 ? (size_t)n : 0;
	s->bytes_out += written;
	if (written < s->out.len + data.len) {
		s->blocked = true;
		s->write_wait = CV_IO_WRITE;
	}
	waited = CV_MIN(written, s->out.len);
	cv_buf_consume(&s->out, waited);
	cv_buf_append(&s->out, cv_str_sub(data, written - waited, SIZE_MAX));
}

/* To the kernel what TLS has collected, with its farewell behind it where that is due. -1 when the stream failed. */
static int send_tls(struct cv_stream *s)
{
	struct cv_err err = { 0 };

	if (s->half_close && !s->farewell && !s->blocked && cv_stream_unwritten(s) == 0) {
		s->farewell = true;
		cv_tls_conn_close_notify(s->tls);
	}
	switch (cv_tls_conn_flush(s->tls, s->is_tcp && s->farewell, &err)) {
	case CV_TLS_FAILED:
		cv_stream_fail(s, err.text);
		return -1;
	case CV_TLS_WANT_WRITE:
		s->blocked = true;
		s->write_wait = CV_IO_WRITE;
		return 0;
	case CV_TLS_WANT_READ:
	case CV_TLS_EOF:
	case CV_TLS_DONE:
		break;
	}
	return 0;
}

/* All output is written: do what waited for that. */
static void all_written(struct cv_stream *s)
{
	cv_buf_clear(&s->sending); /* its memory is the next output's, until the round ends */
	s->sent = 0;
	if (s->half_close && !s->half_closed && s->state != CV_STREAM_TLS_FLUSH) {
		s->half_closed = true;
		if (s->is_socket)
			(void)shutdown(s->fd, SHUT_WR);
	}
}

int cv_stream_send(struct cv_stream *s)
{
	size_t low = s->max_out / 4;
	bool wrote = false;

	if (s->out.failed && s->error == NULL)
		cv_stream_fail(s, "Output limit exceeded");
	if (s->error != NULL || s->half_closed || (s->fd < 0 && !s->is_mem)) {
		cv_buf_clear(&s->out);
		cv_buf_clear(&s->sending);
		s->sent = 0;
		return -1;
	}
	s->above_low = s->above_low || cv_stream_unsent(s) > low;
	s->blocked = false;
	while (!s->is_mem && s->state != CV_STREAM_TLS_HANDSHAKE) {
		ssize_t n;

		if (s->sent == s->sending.len) {
			struct cv_buf spare = s->sending;

			/* What was appended since TLS was asked for must not go out in plain text. */
			if (s->out.len == 0 || s->state == CV_STREAM_TLS_FLUSH)
				break;
			if (s->deflate != NULL) {
				cv_stream_pack(s);
			} else {
				cv_buf_clear(&spare);
				s->sending = s->out;
				s->out = spare;
				s->sent = 0;
			}
		}
		if (s->state == CV_STREAM_TLS && cv_tls_conn_unsent(s->tls) >= TLS_CHUNK) {
			if (send_tls(s) < 0)
				return -1;
			if (s->blocked)
				break;
		}
		size_t len = s->sending.len - s->sent;
		n = write_some(s, s->sending.data + s->sent, s->state == CV_STREAM_TLS ? CV_MIN(len, (size_t)TLS_CHUNK) : len);
		if (n < 0)
			return -1;
		s->blocked = n == 0;
		if (s->blocked)
			break;
		s->sent += (size_t)n;
		s->bytes_out += (size_t)n;
		wrote = true;
	}
	if (s->state == CV_STREAM_TLS && send_tls(s) < 0)
		return -1;
	/* The bound is on both together. */
	s->out.max = s->max_out + CV_STREAM_SLACK - CV_MIN(s->sending.len - s->sent, s->max_out);
	if (cv_stream_unsent(s) <= low && (s->above_low || (wrote && cv_stream_unsent(s) == 0))) {
		s->above_low = false;
		s->output_due = true;
	}
	if (!s->is_mem && s->sent == s->sending.len && !s->blocked && (s->out.len == 0 || s->state == CV_STREAM_TLS_FLUSH))
		all_written(s);
	return cv_stream_unsent(s) == 0 ? 1 : 0;
}

/* What the client says first is there already: it mostly is where front is woken for nothing less. Who was told something in plain text has not seen it yet. */
static bool has_spoken(const struct cv_stream *s)
{
	char c;

	return s->bytes_out == 0 && recv(s->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

bool cv_stream_handshake(struct cv_stream *s)
{
	struct cv_err err = { 0 };
	enum cv_tls_result result;

	if (s->error != NULL)
		return false;
	/* TLS's buffers are tens of KiB, which one that only connects shall not have: they are made when there is something to read. */
	if (s->state != CV_STREAM_TLS_HANDSHAKE) {
		s->state = CV_STREAM_TLS_HANDSHAKE;
		s->read_wait = CV_IO_READ;
		if (!has_spoken(s))
			return false;
	}
	if (s->tls == NULL)
		s->tls = cv_tls_conn_new(s->tls_ctx, s->fd);
	result = cv_tls_conn_handshake(s->tls, &err);
	switch (result) {
	case CV_TLS_DONE:
		s->state = CV_STREAM_TLS;
		s->read_wait = CV_IO_READ;
		s->write_wait = CV_IO_WRITE;
		/* What the client said right behind its part of the handshake. */
		s->more = cv_tls_conn_pending(s->tls);
		return true;
	case CV_TLS_WANT_READ:
	case CV_TLS_WANT_WRITE:
		s->read_wait = wait_of(result);
		return false;
	case CV_TLS_EOF:
		cv_stream_fail(s, "Connection closed during the TLS handshake");
		return false;
	case CV_TLS_FAILED:
		cv_stream_fail(s, err.text);
		return false;
	}
	return false;
}
