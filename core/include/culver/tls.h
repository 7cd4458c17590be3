/* SPDX-License-Identifier: MIT
   TLS server contexts over OpenSSL; the only header by which others see TLS. */
#ifndef CV_TLS_H
#define CV_TLS_H

#include <culver/arena.h>
#include <culver/err.h>

struct cv_tls_ctx;

/* One certificate with its key, in PEM octets (the master reads the files, so that the key needs to be readable by root only). */
struct cv_tls_pair {
	struct cv_str name;     /* SNI name, "*.example.org" wildcards allowed; absent: the default */
	struct cv_str cert;     /* certificate and chain */
	struct cv_str key;
	struct cv_str key_password;
	struct cv_str alt_cert; /* second pair of another key type, absent when none */
	struct cv_str alt_key;
};

struct cv_tls_config {
	const struct cv_tls_pair *pairs; /* the first without a name is the default, else the first */
	size_t pair_count;
	struct cv_str ca;              /* PEM: CAs (and CRLs) for client certificates; absent: none */
	struct cv_str dh;              /* PEM DH parameters; absent: OpenSSL's automatic ones */
	const char *min_protocol;      /* "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" */
	const char *cipher_list;       /* up to TLS 1.2; NULL: library */
	const char *cipher_suites;     /* TLS 1.3; NULL: library */
	const char *curve_list;        /* NULL: library */
	bool prefer_server_ciphers;
	bool verify_client_cert;       /* ask for a client certificate */
	bool require_crl;
	const char *alpn;              /* protocol name a client may offer, e.g. "imap"; NULL: ALPN is ignored. A client that offers
	                                  ALPN without it is refused (ALPACA); one that offers none is taken. */
	const char *cert_username_field; /* "commonName", … or "x500UniqueIdentifier" */
	bool tickets_off;
};

/* Load what OpenSSL reads from files (openssl.cnf with the system's policy): before an empty root is entered. */
CV_EXPORT void cv_tls_preload(void);
/* Everything is checked (key belongs to certificate, PEM is whole, dates are read); err says which pair and why. */
CV_EXPORT CV_MUST_CHECK int cv_tls_ctx_new(const struct cv_tls_config *config, struct cv_tls_ctx **ctx_r, struct cv_err *err);
/* Reference counted: streams hold one. */
CV_EXPORT struct cv_tls_ctx *cv_tls_ctx_ref(struct cv_tls_ctx *ctx);
CV_EXPORT void cv_tls_ctx_unref(struct cv_tls_ctx **ctx);
/* End of validity of the default certificate, seconds since 1970. */
CV_EXPORT int64_t cv_tls_ctx_expires(const struct cv_tls_ctx *ctx);

struct cv_tls_info {
	const char *protocol;      /* "TLSv1.3" */
	const char *cipher;
	int bits;
	struct cv_str sni;         /* absent when none */
	struct cv_str alpn;
	bool client_cert_valid;    /* a verified client certificate was given */
	struct cv_str client_cert_user; /* its cert_username_field */
};

#endif
