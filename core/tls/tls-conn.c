/* SPDX-License-Identifier: MIT
   One TLS connection: the error queue is emptied before each call, and the result read right after it. */
#include <config.h>

#include "core/tls/tls-openssl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

struct cv_tls_conn {
	SSL *ssl;
	struct cv_tls_ctx *ctx; /* a reference */
	struct cv_arena *arena;
	struct cv_tls_info info;
	bool verify_failed;
	bool broken; /* OpenSSL forbids any further call but free */
};

struct cv_tls_conn *cv_tls_conn_new(struct cv_tls_ctx *ctx, int fd)
{
	struct cv_arena *arena = cv_arena_new("tls connection", NULL, 0);
	struct cv_tls_conn *conn = cv_new(arena, struct cv_tls_conn, 1);

	conn->arena = arena;
	conn->ctx = cv_tls_ctx_ref(ctx);
	conn->ssl = SSL_new(ctx->pairs[ctx->default_pair]);
	if (conn->ssl == NULL || SSL_set_fd(conn->ssl, fd) != 1 || SSL_set_app_data(conn->ssl, conn) != 1)
		cv_fatal("OpenSSL gives no connection: %s", cv_tls_openssl_reason());
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
	enum cv_tls_result result;

	ERR_clear_error();
	errno = 0;
	result = result_of(conn, SSL_do_handshake(conn->ssl), err);
	if (result == CV_TLS_DONE)
		fill_info(conn);
	return result;
}

enum cv_tls_result cv_tls_conn_read(struct cv_tls_conn *conn, char *p, size_t size, size_t *len_r, struct cv_err *err)
{
	ERR_clear_error();
	errno = 0;
	return result_of(conn, SSL_read_ex(conn->ssl, p, size, len_r), err);
}

enum cv_tls_result cv_tls_conn_write(struct cv_tls_conn *conn, const char *p, size_t len, size_t *len_r, struct cv_err *err)
{
	ERR_clear_error();
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
