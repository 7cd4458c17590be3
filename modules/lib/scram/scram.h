/* SPDX-License-Identifier: MIT
   The keys of SCRAM (RFC 5802 section 3, RFC 7677): made from a password, and stored as "rounds,salt,stored key,server key". */
#ifndef CV_SCRAM_H
#define CV_SCRAM_H

#include <culver/buf.h>
#include <culver/err.h>

#define SCRAM_ROUNDS 4096u /* RFC 7677 section 4: at least */
#define SCRAM_ROUNDS_MAX 10000000u
#define SCRAM_OCTETS_MAX 32
#define SCRAM_SALT_MAX 256

enum scram_hash { SCRAM_SHA1, SCRAM_SHA256 };

/* Secret: overwrite (cv_wipe) when done. */
struct scram_keys {
	uint32_t rounds;
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_len;
	uint8_t stored[SCRAM_OCTETS_MAX], server[SCRAM_OCTETS_MAX];
	size_t len; /* octets of each key */
};

size_t scram_octets(enum scram_hash hash);
/* rounds, salt and salt_len of keys are given, the rest is filled. -1 when the crypto library refuses. */
CV_MUST_CHECK int scram_derive(enum scram_hash hash, struct cv_str password, struct scram_keys *keys, struct cv_err *err);
/* From the stored form; the last three are base64. */
CV_MUST_CHECK int scram_parse(enum scram_hash hash, struct cv_str stored, struct scram_keys *keys, struct cv_err *err);
void scram_append(struct cv_buf *out, const struct scram_keys *keys);
/* out gets scram_octets(hash). */
CV_MUST_CHECK bool scram_hmac(enum scram_hash hash, struct cv_str key, struct cv_str text, uint8_t out[SCRAM_OCTETS_MAX]);
CV_MUST_CHECK bool scram_digest(enum scram_hash hash, struct cv_str text, uint8_t out[SCRAM_OCTETS_MAX]);

#endif
