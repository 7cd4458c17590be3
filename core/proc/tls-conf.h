/* SPDX-License-Identifier: MIT
   TLS settings between master, which reads the files, and front, which uses them. */
#ifndef CV_PROC_TLS_CONF_H
#define CV_PROC_TLS_CONF_H

#include <culver/map.h>
#include <culver/module.h>
#include <culver/tls.h>

/* What cv_tls_ctx_new gets, for one protocol and local network. Views are borrowed. */
struct tls_profile {
	struct cv_str protocol;
	struct cv_str local; /* address or network; absent: everywhere else */
	CV_VEC(struct cv_tls_pair) pairs;
	struct cv_str ca, dh;
	const char *min_protocol, *cipher_list, *cipher_suites, *curve_list, *cert_username_field;
	bool prefer_server_ciphers, verify_client_cert, require_crl, tickets_off;
};
CV_MUST_CHECK int tls_profile_ctx(const struct tls_profile *p, const char *alpn, struct cv_tls_ctx **ctx_r, struct cv_err *err);

struct tls_set_entry {
	char *protocol;
	uint8_t net[16]; /* IPv4 as mapped */
	uint32_t bits;   /* 0: everywhere */
	struct cv_tls_ctx *ctx;
};

/* All contexts of a front process, until the next TLS message. Streams keep the context they began with. */
struct tls_set {
	unsigned refs;
	CV_VEC(struct tls_set_entry) entries;
};
CV_MUST_CHECK int tls_set_read(struct cv_str data, const struct cv_registry *front, struct tls_set **set_r, struct cv_err *err);
void tls_set_unref(struct tls_set **set);
/* The context for a connection; NULL: no TLS. Borrowed from set. */
struct cv_tls_ctx *tls_set_find(const struct tls_set *set, const char *protocol, const char *local_addr);

#endif
