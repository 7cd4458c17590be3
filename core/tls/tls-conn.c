/* SPDX-License-Identifier: MIT
   One TLS connection: the error queue is emptied before each call, and the result read right after it. */
#include <config.h>

#include "core/tls/tls-openssl.h"

#include <culver/buf.h>

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/socket.h>

#define HELD_MAX ((size_t)512 * 1024) /* octets that may wait to be flushed: beyond it nothing is taken */

struct cv_tls_conn {
	SSL *ssl;
	struct cv_tls_ctx *ctx; /* a reference */
	struct cv_arena *arena;
	struct cv_tls_info info;
	int fd;             /* borrowed */
	struct cv_buf held; /* written by OpenSSL, not flushed; octets before sent are gone */
	size_t sent;
	bool eof;           /* the peer ended its direction of the socket */
	bool drained;       /* during this call: all that had come was read */
	bool verify_failed;
	bool broken; /* OpenSSL forbids any further call but free */
};

/* ---- Between OpenSSL and the socket -------------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *p, size_t size, size_t *len_r)
{
	struct cv_tls_conn *conn = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	*len_r = 0;
	/* Behind its part of a handshake OpenSSL asks for the peer's, before that can have seen ours. */
	if (conn->drained) {
		BIO_set_retry_read(bio);
		return 0;
	}
	do
		n = recv(conn->fd, p, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	*len_r = n > 0 ? (size_t)n : 0;
	conn->eof = n == 0;
	conn->drained = n > 0 && (size_t)n < size;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		BIO_set_retry_read(bio);
	return n > 0;
}

static int bio_write(BIO *bio, const char *p, size_t len, size_t *len_r)
{
	struct cv_tls_conn *conn = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*len_r = 0;
	if (cv_tls_conn_unsent(conn) >= HELD_MAX) {
		BIO_set_retry_write(bio);
		return 0;
	}
	cv_buf_append_mem(&conn->held, p, len);
	*len_r = len;
	return 1;
}

static long bio_ctrl(BIO *bio, int what, long number CV_UNUSED, void *ptr CV_UNUSED)
{
	const struct cv_tls_conn *conn = BIO_get_data(bio);

	switch (what) {
	case BIO_CTRL_FLUSH: /* it is ours to say when */
		return 1;
	case BIO_CTRL_EOF:
		return conn->eof;
	default:
		return 0;
	}
}

static BIO *bio_new(struct cv_tls_conn *conn)
{
	static BIO_METHOD *method; /* one for the process: OpenSSL has few numbers for them, and wants it to live as long as any BIO */
	BIO *bio;

	if (method == NULL) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "culver");
		if (method == NULL || BIO_meth_set_read_ex(method, bio_read) != 1 || BIO_meth_set_write_ex(method, bio_write) != 1 ||
			BIO_meth_set_ctrl(method, bio_ctrl) != 1)
			cv_fatal("OpenSSL gives no BIO: %s", cv_tls_openssl_reason());
	}
	bio = BIO_new(method);
	if (bio == NULL)
		cv_fatal("OpenSSL gives no BIO: %s", cv_tls_openssl_reason());
	BIO_set_data(bio, conn);
	BIO_set_init(bio, 1);
	return bio;
}

size_t cv_tls_conn_unsent(const struct cv_tls_conn *conn)
{
	return conn->held.len - conn->sent;
}

enum cv_tls_result cv_tls_conn_flush(struct cv_tls_conn *conn, bool more, struct cv_err *err)
{
	while (cv_tls_conn_unsent(conn) > 0) {
		/* UNSAFE: sent is never beyond len. */
		ssize_t n = send(conn->fd, conn->held.data + conn->sent, conn->held.len - conn->sent, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
		if (n >= 0) {
			conn->sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return CV_TLS_WANT_WRITE;
		(void)cv_err_sys(err, errno, "TLS");
		cv_buf_clear(&conn->held);
		conn->sent = 0;
		return CV_TLS_FAILED;
	}
	/* Connections that wait keep no memory for it. */
	cv_buf_deinit(&conn->held);
	conn->sent = 0;
	return CV_TLS_DONE;
}

/* ---- The connection ----------------------------------------------------------------------------------------------------------- */

struct cv_tls_conn *cv_tls_conn_new(struct cv_tls_ctx *ctx, int fd)
{
	struct cv_arena *arena = cv_arena_new("tls connection", NULL, 0);
	struct cv_tls_conn *conn = cv_new(arena, struct cv_tls_conn, 1);

	conn->arena = arena;
	conn->ctx = cv_tls_ctx_ref(ctx);
	conn->fd = fd;
	cv_buf_init(&conn->held, SIZE_MAX);
	conn->ssl = SSL_new(ctx->pairs[ctx->default_pair]);
	if (conn->ssl == NULL || SSL_set_app_data(conn->ssl, conn) != 1)
		cv_fatal("OpenSSL gives no connection: %s", cv_tls_openssl_reason());
	BIO *bio = bio_new(conn);
	SSL_set_bio(conn->ssl, bio, bio);
	SSL_set_accept_state(conn->ssl);
	return conn;
}

void cv_tls_conn_free(struct cv_tls_conn **conn_p)
{
	struct cv_tls_conn *conn = *conn_p;
	struct cv_arena *arena;

	*conn_p = NULL;
	if (conn == NULL)
		return;
	SSL_free(conn->ssl);
	cv_buf_deinit(&conn->held);
	cv_tls_ctx_unref(&conn->ctx);
	arena = conn->arena;
	cv_arena_free(&arena);
}

void cv_tls_conn_verify_failed(SSL *ssl)
{
	struct cv_tls_conn *conn = SSL_get_app_data(ssl);

	conn->verify_failed = true;
}

/* What result, of a call just made, means. */
static enum cv_tls_result result_of(struct cv_tls_conn *conn, int result, struct cv_err *err)
{
	int errnum = errno, error = SSL_get_error(conn->ssl, result);

	switch (error) {
	case SSL_ERROR_NONE:
		return CV_TLS_DONE;
	case SSL_ERROR_WANT_READ:
		return CV_TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return CV_TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return CV_TLS_EOF;
	case SSL_ERROR_SYSCALL:
		conn->broken = true;
		ERR_clear_error();
		if (errnum == 0)
			return CV_TLS_EOF;
		(void)cv_err_sys(err, errnum, "TLS");
		return CV_TLS_FAILED;
	default:
		conn->broken = true;
		/* Many a client closes without TLS's own farewell; our protocols say themselves when they are complete. */
		if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SSL &&
			ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
			ERR_clear_error();
			return CV_TLS_EOF;
		}
		(void)cv_err_set(err, CV_ERR_TEMP, "TLS: %s", cv_tls_openssl_reason());
		return CV_TLS_FAILED;
	}
}

/* Absent when there is no such field, or one that holds a NUL. */
static struct cv_str name_field(struct cv_arena *arena, const X509 *cert, int nid)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = nid != NID_undef ? X509_NAME_get_index_by_NID(subject, nid, -1) : -1;
	const ASN1_STRING *value = at >= 0 ? X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)) : NULL;
	struct cv_str copy = { 0 };
	unsigned char *utf8 = NULL;
	int len = value != NULL ? ASN1_STRING_to_UTF8(&utf8, value) : -1;

	if (len > 0 && !cv_str_has_nul(cv_str_mem(utf8, (size_t)len)))
		copy = cv_arena_str(arena, cv_str_mem(utf8, (size_t)len));
	OPENSSL_free(utf8);
	ERR_clear_error();
	return copy;
}

static void fill_info(struct cv_tls_conn *conn)
{
	const unsigned char *alpn = NULL;
	unsigned alpn_len = 0;
	X509 *cert = SSL_get1_peer_certificate(conn->ssl);

	SSL_get0_alpn_selected(conn->ssl, &alpn, &alpn_len);
	conn->info.protocol = SSL_get_version(conn->ssl);
	conn->info.cipher = SSL_get_cipher_name(conn->ssl);
	conn->info.bits = SSL_get_cipher_bits(conn->ssl, NULL);
	conn->info.sni =
		cv_arena_str(conn->arena, cv_str_c(SSL_get_servername(conn->ssl, TLSEXT_NAMETYPE_host_name)));
	conn->info.alpn = cv_arena_str(conn->arena, cv_str_mem(alpn, alpn_len));
	if (cert == NULL)
		return;
	conn->info.client_cert_valid = !conn->verify_failed && SSL_get_verify_result(conn->ssl) == X509_V_OK;
	if (conn->info.client_cert_valid)
		conn->info.client_cert_user = name_field(conn->arena, cert, conn->ctx->username_nid);
	X509_free(cert);
}

enum cv_tls_result cv_tls_conn_handshake(struct cv_tls_conn *conn, struct cv_err *err)
{
	enum cv_tls_result result = cv_tls_conn_flush(conn, false, err);

	if (result != CV_TLS_DONE)
		return result;
	ERR_clear_error();
	conn->drained = false;
	errno = 0;
	result = result_of(conn, SSL_do_handshake(conn->ssl), err);
	if (result == CV_TLS_DONE) {
		fill_info(conn);
		return result;
	}
	/* Its part of the handshake, or an alert. */
	struct cv_err flush_err = { 0 };
	enum cv_tls_result flushed = cv_tls_conn_flush(conn, false, &flush_err);
	if (flushed == CV_TLS_DONE || result == CV_TLS_EOF || result == CV_TLS_FAILED)
		return result;
	if (flushed == CV_TLS_FAILED)
		*err = flush_err;
	return flushed;
}

enum cv_tls_result cv_tls_conn_read(struct cv_tls_conn *conn, char *p, size_t size, size_t *len_r, struct cv_err *err)
{
	ERR_clear_error();
	conn->drained = false;
	errno = 0;
	return result_of(conn, SSL_read_ex(conn->ssl, p, size, len_r), err);
}

enum cv_tls_result cv_tls_conn_write(struct cv_tls_conn *conn, const char *p, size_t len, size_t *len_r, struct cv_err *err)
{
	ERR_clear_error();
	conn->drained = false;
	errno = 0;
	return result_of(conn, SSL_write_ex(conn->ssl, p, len, len_r), err);
}

bool cv_tls_conn_pending(const struct cv_tls_conn *conn)
{
	return SSL_has_pending(conn->ssl) == 1;
}

void cv_tls_conn_close_notify(struct cv_tls_conn *conn)
{
	if (conn->broken || !SSL_is_init_finished(conn->ssl))
		return;
	ERR_clear_error();
	(void)SSL_shutdown(conn->ssl);
	ERR_clear_error();
}

const struct cv_tls_info *cv_tls_conn_info(const struct cv_tls_conn *conn)
{
	return &conn->info;
}
