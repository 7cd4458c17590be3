/* SPDX-License-Identifier: MIT
   One TLS connection, for streams: each call does what can be done now and says what it waits for. */
#ifndef CV_TLS_PRIVATE_H
#define CV_TLS_PRIVATE_H

#include <culver/tls.h>

struct cv_tls_conn;

enum cv_tls_result {
	CV_TLS_DONE,
	CV_TLS_WANT_READ, /* call again when the descriptor is readable; the same octets again for a write */
	CV_TLS_WANT_WRITE,
	CV_TLS_EOF,    /* the peer ended its direction, with or without saying so in TLS */
	CV_TLS_FAILED, /* err is set; only free is allowed now */
};

/* What TLS writes is collected until cv_tls_conn_flush: the last of the handshake, session tickets and the first words of a protocol go out as one, and so do
   last words and TLS's own farewell. */

/* Server side on a socket, which is borrowed and need not be non-blocking. Takes a reference of ctx. */
struct cv_tls_conn *cv_tls_conn_new(struct cv_tls_ctx *ctx, int fd);
void cv_tls_conn_free(struct cv_tls_conn **conn);
/* DONE: what it wrote last is still to be flushed. WANT_READ, WANT_WRITE, EOF and FAILED: what could be flushed was. */
enum cv_tls_result cv_tls_conn_handshake(struct cv_tls_conn *conn, struct cv_err *err);
/* DONE: at least one octet was read. */
enum cv_tls_result cv_tls_conn_read(struct cv_tls_conn *conn, char *p, size_t size, size_t *len_r, struct cv_err *err);
/* DONE: *len_r octets of them were taken, at least one, and wait to be flushed. WANT_WRITE: too much waits. */
enum cv_tls_result cv_tls_conn_write(struct cv_tls_conn *conn, const char *p, size_t len, size_t *len_r, struct cv_err *err);
/* Octets were taken from the descriptor that no read has returned yet. */
bool cv_tls_conn_pending(const struct cv_tls_conn *conn);
/* What was collected, to the peer. DONE: all of it; WANT_WRITE: the kernel takes no more now; FAILED: the connection broke, err says how. more: the end of our
   direction follows at once, and leaves with it. */
enum cv_tls_result cv_tls_conn_flush(struct cv_tls_conn *conn, bool more, struct cv_err *err);
/* Octets that wait to be flushed. */
size_t cv_tls_conn_unsent(const struct cv_tls_conn *conn);
/* Tell the peer that we will write nothing more: to be flushed. */
void cv_tls_conn_close_notify(struct cv_tls_conn *conn);
/* After the handshake; lives as long as the connection. */
const struct cv_tls_info *cv_tls_conn_info(const struct cv_tls_conn *conn);

#endif
