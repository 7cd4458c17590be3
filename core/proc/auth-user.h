/* SPDX-License-Identifier: MIT
   Names of users: what is made of what a client gives, and which names a database is asked for. */
#ifndef CV_PROC_AUTH_USER_H
#define CV_PROC_AUTH_USER_H

#include "core/proc/auth-settings.h"

#include <culver/auth.h>

#define AUTH_USER_MAX 1024u /* octets of a name */

/* Normalise name: auth_default_realm, auth_username_translation, auth_username_chars, auth_username_format (its %variables are the request's, with name as user).
   1 with *user_r in the request's arena; 0 when it is no name of a user (err says why, for the log); -1 when the settings can't be applied. */
CV_MUST_CHECK int auth_user_normalise(const struct cv_auth_settings *set, const struct cv_auth_request *request, struct cv_str name,
	struct cv_str *user_r, struct cv_err *err);
/* "user*master": false when the separator is off or not in it. Nothing is copied. */
bool auth_user_split_master(const struct cv_auth_settings *set, struct cv_str name, struct cv_str *user_r, struct cv_str *master_r);
/* A name no path can be led astray by: not empty, no control character, no slash, and neither it nor its parts around '@' are "." or "..". */
bool auth_user_is_safe(struct cv_str user);
/* Patterns with * and ?, "!" before one that must not match. An empty list matches all. */
bool auth_user_matches(const char *const *filter, struct cv_str user);
/* One pattern. */
bool auth_wildcard(struct cv_str pattern, struct cv_str text);

#endif
