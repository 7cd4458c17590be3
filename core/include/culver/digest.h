/* SPDX-License-Identifier: MIT
   Message digests, for settings variables and stored passwords. */
#ifndef CV_DIGEST_H
#define CV_DIGEST_H

#include <culver/err.h>

#define CV_DIGEST_MAX 64 /* octets of the longest result */

/* Digest of the octets of a followed by those of b. algorithm: "md5", "sha1", "sha224", "sha256", "sha384" or "sha512". The result has *len_r
   octets. -1: unknown algorithm (CV_ERR_UNSUPPORTED), or one that the system's policy forbids (CV_ERR_UNAVAILABLE). */
CV_EXPORT CV_MUST_CHECK int cv_digest(const char *algorithm, struct cv_str a, struct cv_str b, uint8_t out[CV_DIGEST_MAX], size_t *len_r,
	struct cv_err *err);

#endif
