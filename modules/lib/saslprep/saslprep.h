/* SPDX-License-Identifier: MIT
   SASLprep (RFC 4013), the profile of stringprep (RFC 3454) for user names. */
#ifndef CV_SASLPREP_H
#define CV_SASLPREP_H

#include <culver/arena.h>
#include <culver/err.h>

/* Prepare a name, as a stored string. In arena, but for one that stays as it is. -1 with a public err when it is not valid UTF-8, holds what is prohibited, or nothing
   is left of it. Unassigned code points are those of the Unicode version that utf8proc knows, not of 3.2. */
CV_MUST_CHECK int cv_saslprep(struct cv_arena *arena, struct cv_str in, struct cv_str *out_r, struct cv_err *err);
/* The same of a query string (RFC 3454 section 7), which may hold unassigned code points; a password too: what is made of it on the way is wiped. */
CV_MUST_CHECK int cv_saslprep_query(struct cv_arena *arena, struct cv_str in, struct cv_str *out_r, struct cv_err *err);

#endif
