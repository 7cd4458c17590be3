/* SPDX-License-Identifier: MIT
   Inside a stream: its state, and what its files do for each other. */
#ifndef CV_STREAM_PRIVATE_H
#define CV_STREAM_PRIVATE_H

#include "core/loop/loop-private.h"
#include "core/tls/tls-private.h"
#include <culver/stream.h>

#define CV_STREAM_SLACK 65536 /* octets of output beyond max_out before the stream fails */

enum cv_stream_state {
	CV_STREAM_PLAIN,
	CV_STREAM_TLS_FLUSH,     /* TLS was asked for: plain output goes first */
	CV_STREAM_TLS_HANDSHAKE,
	CV_STREAM_TLS,
};

struct cv_stream_deflate;

struct cv_stream {
	struct cv_loop *loop;
	int fd; /* owned; -1 for memory and once detached */
	bool is_mem, is_socket, is_tcp;
	bool sole; /* nobody else has fd: the kernel forgets it when it is closed */
	struct cv_io *io; /* NULL until something is waited for */
	struct cv_stream_ops ops;
	void *ctx;
	size_t max_in, max_out;

	struct cv_buf in; /* wiping; octets before in_pos are consumed and wiped */
	size_t in_pos;
	struct cv_buf out;     /* what the user appends */
	struct cv_buf sending; /* what is being written; octets before sent are gone */
	size_t sent;
	struct cv_buf mem_in; /* memory: pushed, but over max_in */
	bool mem_eof;

	enum cv_stream_state state;
	struct cv_tls_ctx *tls_ctx; /* a reference, while TLS is wanted or there */
	struct cv_tls_conn *tls;
	struct cv_stream_deflate *deflate; /* NULL: not compressed */
	unsigned read_wait, write_wait; /* the event that lets each direction, or the handshake (read_wait), go on */

	char *error; /* owned, NULL while all is well */
	bool eof;    /* the peer ended its direction */
	bool hup;    /* and ours too: nobody reads what we would write */
	bool paused;
	bool blocked;       /* the kernel took no more output: wait for write_wait */
	bool above_low;     /* more than the low-water mark was unsent */
	bool more;          /* TLS or packed input may hold octets that no event will announce */
	bool input_due, output_due;
	bool half_close, half_closed; /* our direction is to be ended after the output; is ended */
	bool farewell;      /* TLS has said so */
	bool bidden;        /* the peer asked for the end, and says no more */
	bool closing;       /* owned by the loop: freed when all is written */
	bool lingering;     /* all is written: wait for the peer to see it */
	struct cv_timer *close_timer;
	struct cv_loop_orphan orphan;

	struct cv_task next, end; /* of next and this round */
	unsigned busy;            /* callbacks on the stack */
	bool freed;               /* while busy: free when the last one returns */
	uint64_t bytes_in, bytes_out;
};

size_t cv_stream_buffered(const struct cv_stream *s);
/* Octets of output that TLS, or the kernel, has not taken. */
size_t cv_stream_unwritten(const struct cv_stream *s);
/* Set what the loop waits for from the state. */
void cv_stream_update(struct cv_stream *s);
/* The first failure stays; output is dropped; the user is told in the next round. */
void cv_stream_fail(struct cv_stream *s, const char *text);
/* Read what fits once: from the descriptor, TLS or memory. No callbacks. */
void cv_stream_read(struct cv_stream *s);
/* As cv_stream_flush, without an update. */
int cv_stream_send(struct cv_stream *s);
/* For a plain socket that takes output and has none in writing: what was appended, and data behind it, in one write without a copy of data. What the
   kernel does not take is appended. Without an update. */
void cv_stream_send_through(struct cv_stream *s, struct cv_str data);
/* Go on with the handshake. True when it was completed by this call. */
bool cv_stream_handshake(struct cv_stream *s);

/* stream-deflate.c, for a stream with deflate set. */
/* Pack out to where the last of it was sent from, which must be empty. */
void cv_stream_pack(struct cv_stream *s);
/* Octets of packed input to read now. */
size_t cv_stream_packed_room(const struct cv_stream *s);
void cv_stream_packed_take(struct cv_stream *s, const char *p, size_t len);
/* Packed input can be unpacked. */
bool cv_stream_packed_waits(const struct cv_stream *s);
/* A block ended: what is behind it waits until the user has taken all before. It may say that the rest is not packed. */
bool cv_stream_packed_held(const struct cv_stream *s);
/* Unpack to out, to the end of a block at most. -1: the stream failed. */
ssize_t cv_stream_unpack(struct cv_stream *s, char *out, size_t room);
void cv_stream_free_deflate(struct cv_stream *s);

/* End our direction once all output is written; input goes on. */
void cv_stream_half_close(struct cv_stream *s);
/* The peer ended its direction and takes no more of ours (known of local sockets only). */
bool cv_stream_gone(const struct cv_stream *s);

#endif
