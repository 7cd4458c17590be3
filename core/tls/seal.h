/* SPDX-License-Identifier: MIT
   Octets that only holders of a key can read or make. Private to the server. */
#ifndef CV_SEAL_H
#define CV_SEAL_H

#include <culver/buf.h>

#define CV_SEAL_KEY_LEN 32
#define CV_SEAL_ADDS 16 /* octets that a seal is longer than what is in it */

struct cv_seal;

/* AES-256-GCM with key, which is copied. Ends the process when OpenSSL has no such thing. */
CV_EXPORT struct cv_seal *cv_seal_new(const uint8_t key[CV_SEAL_KEY_LEN]);
/* The key is wiped. */
CV_EXPORT void cv_seal_free(struct cv_seal **seal);
/* Append plain, sealed. It opens with the same number and context only. A number must never come twice with one key. */
CV_EXPORT void cv_seal_put(struct cv_seal *seal, uint64_t number, struct cv_str context, struct cv_str plain, struct cv_buf *out);
/* Append what is sealed. False, and nothing appended, when it was not sealed with this key, number and context, or does not fit. */
CV_EXPORT CV_MUST_CHECK bool cv_seal_open(struct cv_seal *seal, uint64_t number, struct cv_str context, struct cv_str sealed, struct cv_buf *out);

#endif
