/* SPDX-License-Identifier: MIT
   Inside core/tls: the context, and errors of OpenSSL. */
#ifndef CV_TLS_OPENSSL_H
#define CV_TLS_OPENSSL_H

#include "core/tls/tls-private.h"

#include <openssl/ssl.h>

/* One SSL_CTX a pair, all alike but for the certificate. The first is served to whoever names no other. */
struct cv_tls_ctx {
	int refs;
	struct cv_arena *arena;
	SSL_CTX **pairs;
	struct cv_str *names; /* per pair; absent for the default */
	size_t pair_count;
	size_t default_pair;
	struct cv_str alpn;
	int username_nid; /* NID_undef: none */
	int64_t expires;
};

/* The reason of the first error in OpenSSL's queue, which is empty afterwards. Valid for ever. */
const char *cv_tls_openssl_reason(void);
/* A certificate of the client did not verify. */
void cv_tls_conn_verify_failed(SSL *ssl);

#endif
