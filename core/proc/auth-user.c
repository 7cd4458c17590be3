/* SPDX-License-Identifier: MIT
   User names. */
#include <config.h>

#include "core/proc/auth-user.h"

#include <culver/log.h>

bool auth_user_split_master(const struct cv_auth_settings *set, struct cv_str name, struct cv_str *user_r, struct cv_str *master_r)
{
	struct cv_str separator = cv_str_c(set->auth_master_user_separator);
	size_t at;

	if (separator.len == 0)
		return false;
	at = cv_str_find_str(name, separator);
	if (at == SIZE_MAX)
		return false;
	*user_r = cv_str_sub(name, 0, at);
	*master_r = cv_str_sub(name, at + separator.len, SIZE_MAX);
	return true;
}

static bool is_dots(struct cv_str s)
{
	return cv_str_eq_c(s, ".") || cv_str_eq_c(s, "..");
}

bool auth_user_is_safe(struct cv_str user)
{
	struct cv_str name, domain;

	if (user.len == 0 || user.len > AUTH_USER_MAX)
		return false;
	for (size_t i = 0; i < user.len; i++)
		if ((unsigned char)user.ptr[i] < 0x20 || user.ptr[i] == 0x7f || user.ptr[i] == '/')
			return false;
	(void)cv_str_split(user, '@', &name, &domain);
	return name.len > 0 && !is_dots(user) && !is_dots(name) && !is_dots(domain);
}

static char translate(const char *translation, char c)
{
	for (size_t i = 0; translation[i] != '\0' && translation[i + 1] != '\0'; i += 2)
		if (translation[i] == c)
			return translation[i + 1];
	return c;
}

/* Realm, translation and allowed characters, into out. */
static int clean_name(const struct cv_auth_settings *set, struct cv_str name, struct cv_buf *out, struct cv_err *err)
{
	for (size_t i = 0; i < name.len; i++)
		cv_buf_append_char(out, translate(set->auth_username_translation, name.ptr[i]));
	if (set->auth_default_realm[0] != '\0' && cv_str_find(cv_buf_str(out), '@') == SIZE_MAX) {
		cv_buf_append_char(out, '@');
		cv_buf_append_c(out, set->auth_default_realm);
	}
	if (!cv_buf_ok(out))
		return cv_err_set(err, CV_ERR_INVALID, "the user name is longer than %u octets", AUTH_USER_MAX);
	for (size_t i = 0; set->auth_username_chars[0] != '\0' && i < out->len; i++)
		if (out->data[i] == '\0' || strchr(set->auth_username_chars, out->data[i]) == NULL)
			return cv_err_set(err, CV_ERR_INVALID, "the user name holds an octet that auth_username_chars does not allow: 0x%02x",
				(unsigned char)out->data[i]);
	if (!auth_user_is_safe(cv_buf_str(out)))
		return cv_err_set(err, CV_ERR_INVALID, "%s is no name for a user", cv_log_clean(cv_buf_str(out)));
	return 0;
}

int auth_user_normalise(const struct cv_auth_settings *set, const struct cv_auth_request *request, struct cv_str name,
	struct cv_str *user_r, struct cv_err *err)
{
	struct cv_buf clean, made;
	int ret = 0;

	cv_buf_init(&clean, AUTH_USER_MAX);
	cv_buf_init(&made, AUTH_USER_MAX);
	if (clean_name(set, name, &clean, err) == 0) {
		if (set->auth_username_format != NULL && set->auth_username_format[0] != '\0') {
			struct cv_auth_request named = *request;

			named.user = cv_buf_str(&clean);
			ret = cv_auth_expand(&named, set->auth_username_format, &made, err);
			if (ret < 0)
				(void)cv_err_context(err, "auth_username_format");
		} else {
			cv_buf_append(&made, cv_buf_str(&clean));
		}
		if (ret == 0 && cv_buf_ok(&made) && auth_user_is_safe(cv_buf_str(&made))) {
			*user_r = cv_arena_str(request->arena, cv_buf_str(&made));
			ret = 1;
		} else if (ret == 0) {
			(void)cv_err_set(err, CV_ERR_INVALID, "auth_username_format makes no name for a user of %s",
				cv_log_clean(cv_buf_str(&clean)));
		}
	}
	cv_buf_deinit(&clean);
	cv_buf_deinit(&made);
	return ret;
}

bool auth_wildcard(struct cv_str pattern, struct cv_str text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;

	while (t < text.len) {
		if (p < pattern.len && pattern.ptr[p] == '*') {
			star = p++;
			mark = t;
		} else if (p < pattern.len && (pattern.ptr[p] == '?' || cv_lower(pattern.ptr[p]) == cv_lower(text.ptr[t]))) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.ptr[p] == '*')
		p++;
	return p == pattern.len;
}

bool auth_user_matches(const char *const *filter, struct cv_str user)
{
	bool any = false;

	if (filter == NULL || filter[0] == NULL)
		return true;
	for (size_t i = 0; filter[i] != NULL; i++) {
		if (filter[i][0] == '!') {
			if (auth_wildcard(cv_str_c(filter[i] + 1), user))
				return false;
		} else {
			any = any || auth_wildcard(cv_str_c(filter[i]), user);
		}
	}
	return any;
}
