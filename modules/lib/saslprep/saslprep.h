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

/* The row of the setting, in each table of a module that asks for it: a bool auth_saslprep of the struct. Needs culver/settings.h. */
#define CV_SETTING_SASLPREP(type) \
	CV_SETTING_BOOL(type, auth_saslprep, "no", \
		"Prepare names and passwords outside ASCII by SASLprep (RFC 4013) before they are compared, and refuse those that can't be; POP3 announces UTF8 USER " \
		"then. What is stored must have been prepared in the same way. no: they are compared octet by octet")

#endif
