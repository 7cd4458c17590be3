/* SPDX-License-Identifier: MIT
   Streams: buffers and callbacks over what stream-io.c reads and writes. */
#include <config.h>

#include "core/loop/stream-private.h"
#include <culver/tls.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 98304       /* octets of output that are written before the round ends */
#define THROUGH_MIN 16384 /* octets of one piece that are worth a write of two parts instead of a copy */
#define KEPT_MAX 1024     /* octets of memory for output that stay when the round ends */
#define LINGER_MS 2000

static void on_io(void *ctx, unsigned events);
static void on_next_round(void *ctx);
static void on_round_end(void *ctx);

static struct cv_stream *stream_new(struct cv_loop *loop, int fd, size_t max_in, size_t max_out)
{
	struct cv_stream *s = cv_new0(struct cv_stream);

	cv_assert(max_in > 0 && max_out > 0 && max_out < SIZE_MAX - CV_STREAM_SLACK);
	s->loop = loop;
	s->fd = fd;
	s->max_in = max_in;
	s->max_out = max_out;
	cv_buf_init_wipe(&s->in, max_in);
	cv_buf_init(&s->out, max_out + CV_STREAM_SLACK);
	cv_buf_init(&s->sending, max_out + CV_STREAM_SLACK);
	cv_buf_init_wipe(&s->mem_in, SIZE_MAX);
	s->read_wait = CV_IO_READ;
	s->write_wait = CV_IO_WRITE;
	s->next = (struct cv_task){ .fn = on_next_round, .ctx = s };
	s->end = (struct cv_task){ .fn = on_round_end, .ctx = s };
	return s;
}

static void make_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	cv_assert(flags >= 0);
	if ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
		cv_fatal("descriptor %d cannot be made non-blocking (errno %d)", fd, errno);
}

struct cv_stream *cv_stream_new(struct cv_loop *loop, int fd, size_t max_in, size_t max_out)
{
	struct cv_stream *s = stream_new(loop, fd, max_in, max_out);
	int domain = 0;
	socklen_t len = sizeof(domain);

	s->is_socket = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0;
	if (!s->is_socket)
		make_nonblocking(fd);
	s->is_tcp = s->is_socket && (domain == AF_INET || domain == AF_INET6);
	cv_stream_update(s);
	return s;
}

struct cv_stream *cv_stream_new_socket(struct cv_loop *loop, int fd, bool tcp, size_t max_in, size_t max_out)
{
	struct cv_stream *s = stream_new(loop, fd, max_in, max_out);

	s->is_socket = true;
	s->is_tcp = tcp;
	cv_stream_update(s);
	return s;
}

void cv_stream_set_sole(struct cv_stream *s)
{
	s->sole = true;
}

struct cv_stream *cv_stream_new_mem(struct cv_loop *loop, size_t max_in, size_t max_out)
{
	struct cv_stream *s = stream_new(loop, -1, max_in, max_out);

	s->is_mem = true;
	return s;
}

/* Give back all but the structure itself, which a callback's frames may still hold. */
static void release(struct cv_stream *s)
{
	bool shared = s->loop->abandoned;

	cv_task_cancel(&s->next);
	cv_task_cancel(&s->end);
	cv_list_remove(&s->orphan.node);
	/* In a forked child the connection is the parent's: leave without a word. */
	if (s->tls != NULL && s->error == NULL && !shared && !s->farewell) {
		cv_tls_conn_close_notify(s->tls);
		(void)cv_tls_conn_flush(s->tls, false, &(struct cv_err){ 0 });
	}
	cv_tls_conn_free(&s->tls);
	cv_stream_free_deflate(s);
	cv_tls_ctx_unref(&s->tls_ctx);
	cv_timer_remove(&s->close_timer);
	if (s->sole)
		cv_io_forget(&s->io);
	else
		cv_io_remove(&s->io);
	if (s->fd >= 0)
		(void)close(s->fd);
	s->fd = -1;
	cv_buf_deinit(&s->in);
	cv_buf_deinit(&s->out);
	cv_buf_deinit(&s->sending);
	cv_buf_deinit(&s->mem_in);
	cv_free(s->error);
	s->error = NULL;
}

void cv_stream_free(struct cv_stream **s_p)
{
	struct cv_stream *s = *s_p;

	*s_p = NULL;
	if (s == NULL || s->freed)
		return;
	release(s);
	if (s->busy > 0)
		s->freed = true;
	else
		cv_free(s);
}

static void enter(struct cv_stream *s)
{
	s->busy++;
}

/* False when the stream was freed meanwhile. */
static bool leave(struct cv_stream *s)
{
	s->busy--;
	if (!s->freed)
		return true;
	if (s->busy == 0)
		cv_free(s);
	return false;
}

size_t cv_stream_buffered(const struct cv_stream *s)
{
	return s->in.len - s->in_pos;
}

static bool reads(const struct cv_stream *s)
{
	if (s->eof || s->error != NULL)
		return false;
	if (s->closing)
		return s->lingering;
	if (s->deflate != NULL && (cv_stream_packed_held(s) || (!cv_stream_packed_waits(s) && cv_stream_packed_room(s) == 0)))
		return false;
	return !s->paused && cv_stream_buffered(s) < s->max_in;
}

void cv_stream_update(struct cv_stream *s)
{
	unsigned events = 0;

	if (s->fd < 0)
		return;
	if (s->error == NULL) {
		if (s->state == CV_STREAM_TLS_HANDSHAKE)
			events = s->read_wait;
		else if (s->state != CV_STREAM_TLS_FLUSH && reads(s))
			events = s->read_wait;
		if (s->blocked && s->state != CV_STREAM_TLS_HANDSHAKE)
			events |= s->write_wait;
	}
	if (s->io != NULL)
		cv_io_set(s->io, events);
	else if (events != 0)
		s->io = cv_io_add(s->loop, s->fd, events, on_io, s);
	if (s->more && (s->state == CV_STREAM_TLS || s->deflate != NULL) && reads(s))
		cv_loop_next_round(s->loop, &s->next);
}

void cv_stream_fail(struct cv_stream *s, const char *text)
{
	if (s->error != NULL)
		return;
	s->error = cv_strdup(text);
	s->blocked = false;
	s->input_due = true;
	/* Whoever waits for room gets it, and then sees the error. */
	s->output_due = true;
	cv_buf_clear(&s->out);
	cv_buf_deinit(&s->sending);
	s->sent = 0;
	s->out.max = s->max_out + CV_STREAM_SLACK;
	cv_loop_next_round(s->loop, &s->next);
}

/* Run the callbacks that are due. False when the stream is no more. */
static bool deliver(struct cv_stream *s)
{
	enter(s);
	if (s->output_due && !s->closing) {
		s->output_due = false;
		if (s->ops.output != NULL)
			s->ops.output(s->ctx);
	}
	if (!s->freed && s->input_due && !s->paused && !s->closing) {
		s->input_due = false;
		if (s->ops.input != NULL)
			s->ops.input(s->ctx);
	}
	return leave(s);
}

static bool deliver_secured(struct cv_stream *s)
{
	/* Written before the handshake was over. */
	cv_loop_round_end(s->loop, &s->end);
	enter(s);
	if (s->ops.secured != NULL)
		s->ops.secured(s->ctx);
	return leave(s);
}

static void on_close_timer(void *ctx)
{
	struct cv_stream *s = ctx;

	cv_stream_free(&s);
}

static void free_orphan(struct cv_loop_orphan *orphan)
{
	struct cv_stream *s = cv_container(orphan, struct cv_stream, orphan);

	cv_stream_free(&s);
}

/* The peer said that it has nothing more to say, and did not. */
static bool said_all(const struct cv_stream *s)
{
	char c;

	return s->bidden && s->half_closed && s->state == CV_STREAM_PLAIN && recv(s->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* All is written, or can't be. True when the stream was freed. */
static bool finish_closing(struct cv_stream *s)
{
	if (s->error == NULL && cv_stream_unsent(s) > 0)
		return false;
	/* Closing a TCP socket with input unread would reset the connection, and the peer lose what we just wrote: end our
	   direction, and wait for the peer to end its own. */
	if (s->error == NULL && s->is_tcp && !s->eof && !s->lingering && !said_all(s)) {
		s->lingering = true;
		cv_stream_half_close(s);
		(void)cv_stream_send(s);
		if (s->error == NULL) {
			cv_timer_set(s->close_timer, LINGER_MS);
			cv_stream_update(s);
			return false;
		}
	}
	if (s->lingering && s->error == NULL && !s->eof)
		return false;
	cv_stream_free(&s);
	return true;
}

/* Nothing is on its way: one that waits for its client has little memory for output, as much as most replies need. */
static void drop_memory(struct cv_stream *s)
{
	if (cv_stream_unwritten(s) > 0 || s->out.failed)
		return;
	if (s->out.cap > KEPT_MAX)
		cv_buf_deinit(&s->out);
	cv_buf_deinit(&s->sending);
	s->sent = 0;
}

static void on_io(void *ctx, unsigned events)
{
	struct cv_stream *s = ctx;

	if ((events & CV_IO_HUP) != 0 && !s->is_tcp)
		s->hup = true;
	if (s->state == CV_STREAM_TLS_HANDSHAKE) {
		if (cv_stream_handshake(s) && !deliver_secured(s))
			return;
	} else {
		if (s->blocked && (events & s->write_wait) != 0)
			(void)cv_stream_send(s);
		if (s->lingering) {
			cv_stream_read(s);
			cv_buf_clear(&s->in);
			s->in_pos = 0;
		} else if (reads(s) && s->state != CV_STREAM_TLS_FLUSH && (events & s->read_wait) != 0) {
			cv_stream_read(s);
		}
	}
	if (s->closing) {
		if (finish_closing(s))
			return;
	} else if (!deliver(s)) {
		return;
	}
	if (s->state == CV_STREAM_TLS_FLUSH && !s->blocked)
		cv_loop_round_end(s->loop, &s->end);
	drop_memory(s);
	cv_stream_update(s);
}

static void on_next_round(void *ctx)
{
	struct cv_stream *s = ctx;

	if (s->is_mem || (s->more && reads(s)))
		cv_stream_read(s);
	if (s->closing) {
		if (finish_closing(s))
			return;
	} else if (!deliver(s)) {
		return;
	}
	cv_stream_update(s);
}

static void on_round_end(void *ctx)
{
	struct cv_stream *s = ctx;

	/* Of a socket of this machine whose reader may sleep: the end is there when it wakes up for the last octets, and it can do with both at once. */
	if (s->closing && !s->is_tcp && !s->blocked && cv_stream_unsent(s) > 0)
		cv_io_remove(&s->io);
	if (!s->blocked)
		(void)cv_stream_send(s);
	if (s->state == CV_STREAM_TLS_FLUSH && s->error == NULL && s->sent == s->sending.len) {
		if (cv_stream_handshake(s) && !deliver_secured(s))
			return;
	}
	if (s->closing) {
		if (finish_closing(s))
			return;
	} else if (s->output_due && !deliver(s)) {
		return;
	}
	drop_memory(s);
	cv_stream_update(s);
}

void cv_stream_set_ops(struct cv_stream *s, const struct cv_stream_ops *ops, void *ctx)
{
	s->ops = *ops;
	s->ctx = ctx;
	if (cv_stream_buffered(s) > 0 || s->eof || s->error != NULL)
		cv_stream_want_input(s);
}

void cv_stream_mem_push(struct cv_stream *s, struct cv_str data, bool eof)
{
	cv_assert(s->is_mem && !s->mem_eof);
	cv_buf_append(&s->mem_in, data);
	s->mem_eof = eof;
	cv_loop_next_round(s->loop, &s->next);
}

struct cv_str cv_stream_input(const struct cv_stream *s)
{
	return cv_str_sub(cv_buf_str(&s->in), s->in_pos, SIZE_MAX);
}

void cv_stream_consume(struct cv_stream *s, size_t len)
{
	bool was_full = cv_stream_input_full(s), was_held = s->deflate != NULL && cv_stream_packed_held(s);

	cv_assert(len <= cv_stream_buffered(s));
	if (len == 0)
		return;
	s->in_pos += len;
	if (s->in_pos == s->in.len) {
		cv_buf_deinit(&s->in);
		s->in_pos = 0;
	} else {
		/* UNSAFE: within the octets that are buffered, as was just checked. */
		cv_wipe(s->in.data + s->in_pos - len, len);
	}
	if (s->is_mem && (s->mem_in.len > 0 || s->mem_eof))
		cv_loop_next_round(s->loop, &s->next);
	else if (was_full || was_held)
		cv_stream_update(s);
}

bool cv_stream_input_full(const struct cv_stream *s)
{
	return cv_stream_buffered(s) >= s->max_in;
}

void cv_stream_want_input(struct cv_stream *s)
{
	s->input_due = true;
	cv_loop_next_round(s->loop, &s->next);
}

int cv_stream_unread(struct cv_stream *s, struct cv_str data)
{
	if (cv_stream_input_full(s) || data.len > s->max_in - cv_stream_buffered(s))
		return data.len == 0 ? 1 : -1;
	if (s->in_pos > 0) {
		cv_buf_consume(&s->in, s->in_pos);
		s->in_pos = 0;
	}
	cv_buf_append(&s->in, data);
	cv_stream_want_input(s);
	cv_stream_update(s);
	return 1;
}

void cv_stream_push_back(struct cv_stream *s, struct cv_str data)
{
	struct cv_buf all;

	if (data.len == 0)
		return;
	cv_buf_init_wipe(&all, CV_MAX(s->max_in, data.len + cv_stream_buffered(s)));
	cv_buf_append(&all, data);
	cv_buf_append(&all, cv_stream_input(s));
	cv_buf_deinit(&s->in);
	s->in = all;
	s->in_pos = 0;
	cv_stream_want_input(s);
	cv_stream_update(s);
}

void cv_stream_pause(struct cv_stream *s)
{
	s->paused = true;
	cv_stream_update(s);
}

void cv_stream_pause_watch(struct cv_stream *s)
{
	cv_io_remove(&s->io);
	cv_stream_pause(s);
}

void cv_stream_resume(struct cv_stream *s)
{
	if (!s->paused)
		return;
	s->paused = false;
	if (s->input_due || cv_stream_buffered(s) > 0)
		cv_stream_want_input(s);
	cv_stream_update(s);
}

struct cv_buf *cv_stream_out(struct cv_stream *s)
{
	if (s->out.len >= CHUNK && !s->blocked && s->fd >= 0) {
		(void)cv_stream_send(s);
		cv_stream_update(s);
		if (s->output_due)
			cv_loop_next_round(s->loop, &s->next);
	}
	cv_loop_round_end(s->loop, &s->end);
	return &s->out;
}

/* A write is due with these octets, and nothing has to be done with them before it. */
static bool may_send_through(const struct cv_stream *s, size_t len)
{
	return len >= THROUGH_MIN && s->out.len + len >= CHUNK && s->state == CV_STREAM_PLAIN && s->is_socket && s->fd >= 0 && s->deflate == NULL &&
		!s->blocked && s->sent == s->sending.len && !s->half_close && s->error == NULL && !s->out.failed;
}

void cv_stream_write(struct cv_stream *s, struct cv_str data)
{
	if (may_send_through(s, data.len)) {
		cv_stream_send_through(s, data);
		cv_stream_update(s);
	} else {
		cv_buf_append(cv_stream_out(s), data);
	}
}

size_t cv_stream_unwritten(const struct cv_stream *s)
{
	return s->sending.len - s->sent + s->out.len;
}

size_t cv_stream_unsent(const struct cv_stream *s)
{
	return cv_stream_unwritten(s) + (s->state == CV_STREAM_TLS ? cv_tls_conn_unsent(s->tls) : 0);
}

size_t cv_stream_room(const struct cv_stream *s)
{
	size_t unsent = cv_stream_unsent(s);

	/* What is written to a broken stream is dropped: it must not hold up its producer. */
	if (s->error != NULL)
		return s->max_out;
	return unsent < s->max_out ? s->max_out - unsent : 0;
}

int cv_stream_flush(struct cv_stream *s)
{
	int result = cv_stream_send(s);

	if (s->output_due)
		cv_loop_next_round(s->loop, &s->next);
	if (s->state == CV_STREAM_TLS_FLUSH && !s->blocked)
		cv_loop_round_end(s->loop, &s->end);
	cv_stream_update(s);
	return result;
}

void cv_stream_close_after_flush(struct cv_stream **s_p, uint64_t timeout_ms)
{
	struct cv_stream *s = *s_p;

	*s_p = NULL;
	if (s == NULL || s->freed)
		return;
	if (s->is_mem || s->fd < 0 || s->error != NULL) {
		cv_stream_free(&s);
		return;
	}
	s->closing = true;
	/* The end of our direction goes right behind the last words. */
	s->half_close = s->half_close || (s->is_tcp && !s->eof);
	s->ops = (struct cv_stream_ops){ 0 };
	cv_buf_deinit(&s->in);
	s->in_pos = 0;
	s->orphan.free = free_orphan;
	cv_list_append(&s->loop->orphans, &s->orphan.node);
	s->close_timer = cv_timer_add(s->loop, timeout_ms, on_close_timer, s);
	cv_loop_round_end(s->loop, &s->end);
	cv_stream_update(s);
}

void cv_stream_set_bidden(struct cv_stream *s)
{
	s->bidden = true;
}

void cv_stream_half_close(struct cv_stream *s)
{
	s->half_close = true;
	cv_loop_round_end(s->loop, &s->end);
}

bool cv_stream_gone(const struct cv_stream *s)
{
	return s->eof && s->hup;
}

bool cv_stream_ended(const struct cv_stream *s)
{
	return s->eof;
}

bool cv_stream_eof(const struct cv_stream *s)
{
	return s->eof && cv_stream_buffered(s) == 0;
}

const char *cv_stream_error(const struct cv_stream *s)
{
	return s->error;
}

int cv_stream_fd(const struct cv_stream *s)
{
	return s->fd;
}

int cv_stream_detach(struct cv_stream *s)
{
	int fd = s->fd;

	if (s->state != CV_STREAM_PLAIN || s->deflate != NULL || cv_stream_unsent(s) > 0 || fd < 0)
		return -1;
	cv_io_remove(&s->io);
	s->fd = -1;
	s->sole = false;
	return fd;
}

uint64_t cv_stream_bytes_in(const struct cv_stream *s)
{
	return s->bytes_in;
}

uint64_t cv_stream_bytes_out(const struct cv_stream *s)
{
	return s->bytes_out;
}

void cv_stream_start_tls(struct cv_stream *s, struct cv_tls_ctx *tls)
{
	cv_assert(s->state == CV_STREAM_PLAIN && s->deflate == NULL && s->fd >= 0 && s->is_socket && !s->closing);
	/* RFC 3501 section 6.2.1 and many a CVE: what came in plain text behind STARTTLS was not said under TLS. */
	cv_buf_deinit(&s->in);
	s->in_pos = 0;
	s->input_due = false;
	if (s->out.failed) {
		cv_stream_fail(s, "Output limit exceeded");
		return;
	}
	/* What is in out from now on goes out after the handshake. */
	s->sending.max = SIZE_MAX;
	cv_buf_append(&s->sending, cv_buf_str(&s->out));
	cv_buf_clear(&s->out);
	s->tls_ctx = cv_tls_ctx_ref(tls);
	s->state = CV_STREAM_TLS_FLUSH;
	if (s->eof)
		cv_stream_fail(s, "Connection closed before the TLS handshake");
	cv_loop_round_end(s->loop, &s->end);
	cv_stream_update(s);
}

const struct cv_tls_info *cv_stream_tls(const struct cv_stream *s)
{
	return s->state == CV_STREAM_TLS ? cv_tls_conn_info(s->tls) : NULL;
}
