/* SPDX-License-Identifier: MIT
   Certificates for tests, made while they run: a CA, and what it signs. */
#ifndef CV_TEST_CERTS_H
#define CV_TEST_CERTS_H

#include <culver/arena.h>

#include <openssl/x509.h>

struct cv_test_ca {
	struct cv_arena *arena;
	EVP_PKEY *key;
	X509 *cert;
	struct cv_str pem;
	long serial;
};

enum cv_test_key { CV_TEST_KEY_EC, CV_TEST_KEY_RSA };

/* PEM texts in the CA's arena. */
struct cv_test_cert {
	struct cv_str cert, key;
	long serial;
};

/* Freed with the arena. */
struct cv_test_ca *cv_test_ca_new(struct cv_arena *arena, const char *name);
/* A certificate for common name and DNS name cn that is valid until expires (seconds since 1970; 0: for a year). With a password the
   key is encrypted. */
struct cv_test_cert cv_test_cert_new(struct cv_test_ca *ca, const char *cn, enum cv_test_key type, int64_t expires,
	const char *password);
/* A CRL that revokes one serial number, or none (0). */
struct cv_str cv_test_crl_new(struct cv_test_ca *ca, long revoked);
/* DH parameters of a well-known group. */
struct cv_str cv_test_dh_new(struct cv_arena *arena);

#endif
