/* SPDX-License-Identifier: MIT
   The password schemes of this module, one table a file. */
#ifndef CV_SCHEMES_H
#define CV_SCHEMES_H

#include <culver/auth.h>

struct scheme_table {
	const struct cv_pass_scheme *schemes;
	size_t count;
};

extern const struct scheme_table schemes_plain;  /* PLAIN, CLEAR, CLEARTEXT, PLAIN-TRUNC */
extern const struct scheme_table schemes_crypt;  /* CRYPT, *-CRYPT, YESCRYPT: libxcrypt */
extern const struct scheme_table schemes_digest; /* MD5 and SHA, plain and salted */
extern const struct scheme_table schemes_pbkdf2; /* PBKDF2, SCRAM-SHA-1, SCRAM-SHA-256 */
extern const struct scheme_table schemes_argon2; /* ARGON2I, ARGON2ID */

/* 1 when crypt(3) of password with setting gives setting again, 0 when not, -1 when setting is of no form that crypt(3) knows. */
int scheme_crypt_matches(struct cv_str password, struct cv_str setting, struct cv_err *err);

/* The octets of both are the same; time depends on the lengths only. */
static inline bool scheme_equal(struct cv_str a, struct cv_str b)
{
	return a.len == b.len && cv_equal_secret(a.ptr, b.ptr, a.len);
}

#endif
