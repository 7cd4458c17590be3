/* SPDX-License-Identifier: MIT
   Streams: a connection with bounded input and output buffers, over a descriptor, TLS or memory. */
#ifndef CV_STREAM_H
#define CV_STREAM_H

#include <culver/buf.h>
#include <culver/loop.h>
#include <culver/reader.h>

struct cv_stream;
struct cv_tls_ctx;
struct cv_tls_info;

/* Callbacks of a stream's one user. None is called from inside a cv_stream_* function, only from the loop. A callback may free
   the stream. */
struct cv_stream_ops {
	/* There is new input, or the state became EOF or failed (ask cv_stream_eof, cv_stream_error). Not called while input is
	   stopped. Called again in the next round when input was left and cv_stream_want_input was called. */
	void (*input)(void *ctx);
	/* Output went from above to below the low-water mark (a quarter of max_out), or all is written. May be NULL. */
	void (*output)(void *ctx);
	/* The TLS handshake is done (cv_tls_info is there). May be NULL. */
	void (*secured)(void *ctx);
};

/* fd becomes the stream's (closed with it; what is no socket is set non-blocking). max_in, max_out in octets. */
CV_EXPORT struct cv_stream *cv_stream_new(struct cv_loop *loop, int fd, size_t max_in, size_t max_out);
/* The same for what is known to be a socket, of TCP or of this machine: the kernel is not asked. */
CV_EXPORT struct cv_stream *cv_stream_new_socket(struct cv_loop *loop, int fd, bool tcp, size_t max_in, size_t max_out);
/* No other descriptor, here or in another process, is of fd's connection, until it is closed or detached: then the loop need not be told of its end. */
CV_EXPORT void cv_stream_set_sole(struct cv_stream *s);
/* A stream of memory for tests: input is pushed by cv_stream_mem_push, output collected in cv_stream_out. */
CV_EXPORT struct cv_stream *cv_stream_new_mem(struct cv_loop *loop, size_t max_in, size_t max_out);
CV_EXPORT void cv_stream_mem_push(struct cv_stream *s, struct cv_str data, bool eof);
/* Closes the descriptor; unsent output is dropped. Sets *s to NULL. */
CV_EXPORT void cv_stream_free(struct cv_stream **s);
CV_EXPORT void cv_stream_set_ops(struct cv_stream *s, const struct cv_stream_ops *ops, void *ctx);

/* Buffered input: valid until the next cv_stream_consume or return to the loop. Reading from the peer stops by itself while
   max_in octets wait. */
CV_EXPORT struct cv_str cv_stream_input(const struct cv_stream *s);
CV_EXPORT void cv_stream_consume(struct cv_stream *s, size_t len);
CV_EXPORT bool cv_stream_input_full(const struct cv_stream *s);
/* Call ops->input again in the next round although no new octet came. */
CV_EXPORT void cv_stream_want_input(struct cv_stream *s);
/* Take octets (handed over from another process) as if just received; refused (-1) when over max_in. */
CV_EXPORT CV_MUST_CHECK int cv_stream_unread(struct cv_stream *s, struct cv_str data);
/* Octets that stood before all input that waits: taken even when that is more than max_in, nothing is read then before they are consumed. */
CV_EXPORT void cv_stream_push_back(struct cv_stream *s, struct cv_str data);
/* Stop and resume reading (a session that may not go on before its output is taken). */
CV_EXPORT void cv_stream_pause(struct cv_stream *s);
/* Pause, and leave the descriptor alone from now on, as another process has it: what it hears wakes nobody here. After a pause the loop may ask once more. */
CV_EXPORT void cv_stream_pause_watch(struct cv_stream *s);
CV_EXPORT void cv_stream_resume(struct cv_stream *s);

/* Output is collected and written once at the end of the round, or when a chunk is full. Append to cv_stream_out freely; it never
   fails below max_out plus a slack of 64 KiB; users of large output ask cv_stream_room first. */
CV_EXPORT struct cv_buf *cv_stream_out(struct cv_stream *s);
/* Octets until max_out; 0: stop producing and wait for ops->output. */
CV_EXPORT size_t cv_stream_room(const struct cv_stream *s);
/* Append data; a large piece may be written at once and from where it is. */
CV_EXPORT void cv_stream_write(struct cv_stream *s, struct cv_str data);
/* Try to write now. 1 all written, 0 some left, -1 failed. */
CV_EXPORT int cv_stream_flush(struct cv_stream *s);
CV_EXPORT size_t cv_stream_unsent(const struct cv_stream *s);
/* Free the stream once all output is written or after timeout_ms; no callback is called any more. Sets *s to NULL. */
CV_EXPORT void cv_stream_close_after_flush(struct cv_stream **s, uint64_t timeout_ms);
/* The peer has said its last (LOGOUT, QUIT): a close does not wait for it to end its direction, unless it sent more all the same. */
CV_EXPORT void cv_stream_set_bidden(struct cv_stream *s);

/* The peer will send nothing more and all input was consumed / the connection broke (errno kept in the text). */
CV_EXPORT bool cv_stream_eof(const struct cv_stream *s);
/* The peer will send nothing more, whether or not input is left: half a command then never becomes a whole one. */
CV_EXPORT bool cv_stream_ended(const struct cv_stream *s);
CV_EXPORT const char *cv_stream_error(const struct cv_stream *s); /* NULL while all is well */
CV_EXPORT int cv_stream_fd(const struct cv_stream *s);
/* Give the descriptor away: the stream forgets it; the caller takes cv_stream_input before. Output must be flushed. -1 over TLS. */
CV_EXPORT int cv_stream_detach(struct cv_stream *s);
CV_EXPORT uint64_t cv_stream_bytes_in(const struct cv_stream *s);
CV_EXPORT uint64_t cv_stream_bytes_out(const struct cv_stream *s);

/* Become the server side of TLS. Buffered plaintext input is discarded (command injection behind STARTTLS); output buffered
   before goes out in plain text first. Fails only through cv_stream_error. */
CV_EXPORT void cv_stream_start_tls(struct cv_stream *s, struct cv_tls_ctx *tls);
/* NULL before the handshake is done. */
CV_EXPORT const struct cv_tls_info *cv_stream_tls(const struct cv_stream *s);

/* Both directions are compressed from here on (raw DEFLATE, RFC 1951): output that waits goes out as it is, input that waits is taken as
   compressed. Output is packed whenever all before it was written, and flushed so that the peer can unpack all of it; input is unpacked as it is taken,
   never beyond max_in (of a stream of memory, input only). level: 0 to 9; window: 9 to 15, about 2^(window + 3) octets of memory, beside 40 KiB to unpack. Not over TLS. The user must
   take parts of lines: what is behind a flush of the peer's comes when all before it was taken. cv_stream_bytes_in and cv_stream_bytes_out go on counting what is
   on the connection. The end of the peer's compressed data is the end of its input. */
CV_EXPORT void cv_stream_start_deflate(struct cv_stream *s, unsigned level, unsigned window);
CV_EXPORT bool cv_stream_deflated(const struct cv_stream *s);
/* Compression that goes on in another process. save: append what restore needs, some 32 KiB at most; false when the peer's compressed data is not between two flushes,
   or some of it waits: try again later. All output must be written. drop: from here on octets are as they are, nothing is written or read for it. restore: as
   start, with what the peer's compressed data refers to; input that waits is compressed. -1: these are no such octets. */
CV_EXPORT CV_MUST_CHECK bool cv_stream_save_deflate(const struct cv_stream *s, struct cv_buf *out);
CV_EXPORT void cv_stream_drop_deflate(struct cv_stream *s);
CV_EXPORT CV_MUST_CHECK int cv_stream_restore_deflate(struct cv_stream *s, unsigned level, unsigned window, struct cv_reader *in);
/* Append text as compressed data that can stand between any two flushes, any number of times. */
CV_EXPORT void cv_deflate_alone(struct cv_buf *out, struct cv_str text);
/* Back to octets as they are, in two steps. All input was taken, and the user knows that the peer compresses no more: take in what ends its compressed
   data (an end of it, or a flush). 1 done, 0 that has not come yet: nothing more is unpacked, ops->input is called when there is more; -1 more follows
   that is compressed, or the end of input. Asked again, it says the same. */
CV_EXPORT CV_MUST_CHECK int cv_stream_packed_end(struct cv_stream *s);
/* Behind a 1: output that waits is the last that is compressed; its compressed data is ended. */
CV_EXPORT void cv_stream_end_deflate(struct cv_stream *s);

/* Move octets between two streams until both directions ended, then free both and call done(ctx) (front after login). Bounded by
   the streams' maxima; half-closes are passed on. */
struct cv_relay;
CV_EXPORT struct cv_relay *cv_relay_new(struct cv_stream *a, struct cv_stream *b, void (*done)(void *ctx), void *ctx);
CV_EXPORT void cv_relay_free(struct cv_relay **relay);
/* The user at the other end of b gives a back, with that end, end_fd, which becomes the relay's and is read empty at once: so nothing that the user would have to send
   back can be taken for output. Of what comes from b, octets (counted from the relay's beginning) are a's still. When a has these, back is called instead of
   done, from the loop: a is the callee's, paused, and its own input stands behind rest, which is what the user had read and did not take (unread), and what
   was on its way to it, 1 MiB at most; or a is NULL, when end_fd cannot be read, b has other octets than it should, a failed, or a minute was over. The relay is gone then. */
typedef void cv_relay_back_fn(void *ctx, struct cv_stream *a, struct cv_str rest);
CV_EXPORT void cv_relay_give_back(struct cv_relay *relay, uint64_t octets, struct cv_str unread, int end_fd, cv_relay_back_fn *back, void *ctx);

#endif
