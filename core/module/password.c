/* SPDX-License-Identifier: MIT
   Stored passwords "{SCHEME.encoding}data": find the scheme's module, decode, verify and make. */
#include <config.h>

#include <culver/auth.h>
#include <culver/log.h>

#define SCHEME_NAME_MAX 32   /* octets */
#define STORED_MAX 8192      /* octets of a stored credential */

enum encoding { ENC_NATIVE, ENC_BASE64, ENC_HEX };

/* A scheme's name without its suffix, and the data behind the name. */
struct stored {
	struct cv_str name;
	enum encoding encoding;
	struct cv_str data;
};

/* "SSHA.hex": the suffix leaves name. False when what is behind the dot is no encoding. */
static bool split_encoding(struct cv_str *name, enum encoding *encoding_r)
{
	struct cv_str head, tail;

	*encoding_r = ENC_NATIVE;
	if (!cv_str_split(*name, '.', &head, &tail))
		return true;
	if (cv_str_caseeq_c(tail, "b64") || cv_str_caseeq_c(tail, "base64"))
		*encoding_r = ENC_BASE64;
	else if (cv_str_caseeq_c(tail, "hex"))
		*encoding_r = ENC_HEX;
	else
		return false;
	*name = head;
	return true;
}

/* A "{" without "}" is no prefix but part of the data. A bare "$1$…" is MD5-CRYPT whatever the default, as files of
   pam_pwdfile and Dovecot mean it. */
static struct stored split_stored(struct cv_str text, const char *default_scheme)
{
	struct stored stored = { .name = cv_str_c(default_scheme), .data = text };
	size_t end = cv_str_find(text, '}');

	if (text.len > 0 && text.ptr[0] == '{' && end != SIZE_MAX) {
		stored.name = cv_str_sub(text, 1, end - 1);
		stored.data = cv_str_sub(text, end + 1, SIZE_MAX);
	} else if (cv_str_starts(text, CV_STR("$1$"))) {
		stored.name = CV_STR("MD5-CRYPT");
	}
	return stored;
}

/* Takes the suffix off *name. NULL with err set when no module provides the scheme. */
static const struct cv_pass_scheme *find_scheme(const struct cv_registry *reg, struct cv_str *name, enum encoding *encoding_r,
	struct cv_err *err)
{
	const struct cv_pass_scheme *scheme = NULL;
	char upper[SCHEME_NAME_MAX + 1] = { 0 };

	if (!split_encoding(name, encoding_r) || name->len == 0 || name->len > SCHEME_NAME_MAX) {
		(void)cv_err_set(err, CV_ERR_UNSUPPORTED, "unknown password scheme or encoding %s", cv_log_clean(*name));
		return NULL;
	}
	for (size_t i = 0; i < name->len; i++)
		upper[i] = cv_upper(name->ptr[i]);
	if (!cv_str_has_nul(*name))
		scheme = cv_provider_get(reg, CV_CAP_PASS_SCHEME, upper);
	if (scheme == NULL)
		(void)cv_err_set(err, CV_ERR_UNSUPPORTED, "password scheme %s is not provided by any loaded module",
			cv_log_clean(*name));
	return scheme;
}

/* The scheme's octets out of data. The native encoding of an unsalted scheme may be the other one: its length tells. */
static int decode(const struct cv_pass_scheme *scheme, enum encoding encoding, struct cv_str data, struct cv_buf *out,
	struct cv_err *err)
{
	bool ok = true;

	if (encoding == ENC_NATIVE && (scheme->opts & (CV_SCHEME_BASE64 | CV_SCHEME_HEX)) != 0) {
		if (scheme->octets != 0)
			encoding = data.len == scheme->octets * 2 ? ENC_HEX : ENC_BASE64;
		else
			encoding = scheme->opts & CV_SCHEME_HEX ? ENC_HEX : ENC_BASE64;
	}
	switch (encoding) {
	case ENC_NATIVE:
		cv_buf_append(out, data);
		break;
	case ENC_BASE64:
		ok = cv_base64_decode(out, data);
		break;
	case ENC_HEX:
		ok = cv_hex_decode(out, data);
		break;
	}
	if (!ok || !cv_buf_ok(out))
		return cv_err_set(err, CV_ERR_CORRUPT, "the stored %s password is not in its encoding (%s)", scheme->name,
			encoding == ENC_HEX ? "hex" : "base64");
	if (scheme->octets != 0 && out->len != scheme->octets)
		return cv_err_set(err, CV_ERR_CORRUPT, "the stored %s password has %zu octets instead of %zu", scheme->name,
			out->len, scheme->octets);
	return 1;
}

int cv_password_verify(const struct cv_registry *reg, struct cv_str password, struct cv_str user, struct cv_str text,
	const char *default_scheme, struct cv_err *err)
{
	struct stored stored = split_stored(text, default_scheme);
	const struct cv_pass_scheme *scheme;
	struct cv_buf data;
	int ret;

	if (text.len > STORED_MAX)
		return cv_err_set(err, CV_ERR_LIMIT, "the stored password has more than %d octets", STORED_MAX);
	scheme = find_scheme(reg, &stored.name, &stored.encoding, err);
	if (scheme == NULL)
		return -1;
	cv_buf_init_wipe(&data, STORED_MAX);
	ret = decode(scheme, stored.encoding, stored.data, &data, err);
	/* An empty field in a database is a user without a password, never an empty password. */
	if (ret == 1 && data.len == 0)
		ret = 0;
	if (ret == 1)
		ret = scheme->verify(password, user, cv_buf_str(&data), err);
	cv_buf_deinit(&data);
	return ret;
}

int cv_password_generate(const struct cv_registry *reg, const char *scheme_name, struct cv_str password, struct cv_str user,
	unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	struct cv_str full = cv_str_c(scheme_name), name = full;
	const struct cv_pass_scheme *scheme;
	enum encoding encoding;
	struct cv_buf data;
	int ret;

	scheme = find_scheme(reg, &name, &encoding, err);
	if (scheme == NULL)
		return -1;
	if (scheme->generate == NULL)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "%s is for old passwords only: new ones cannot be made", scheme->name);
	cv_buf_init_wipe(&data, STORED_MAX);
	ret = scheme->generate(password, user, rounds, &data, err);
	if (ret >= 0) {
		if (encoding == ENC_NATIVE && (scheme->opts & (CV_SCHEME_BASE64 | CV_SCHEME_HEX)) != 0)
			encoding = scheme->opts & CV_SCHEME_HEX ? ENC_HEX : ENC_BASE64;
		cv_buf_append_char(out, '{');
		for (size_t i = 0; i < full.len; i++)
			cv_buf_append_char(out, cv_upper(full.ptr[i]));
		cv_buf_append_char(out, '}');
		switch (encoding) {
		case ENC_NATIVE:
			cv_buf_append(out, cv_buf_str(&data));
			break;
		case ENC_BASE64:
			cv_buf_append_base64(out, cv_buf_str(&data));
			break;
		case ENC_HEX:
			cv_buf_append_hex(out, cv_buf_str(&data));
			break;
		}
		ret = cv_buf_ok(&data) && cv_buf_ok(out) ? 1 : cv_err_set(err, CV_ERR_LIMIT, "the password is too long");
	}
	cv_buf_deinit(&data);
	return ret;
}

bool cv_password_scheme(const struct cv_registry *reg, struct cv_str text, const char *default_scheme, struct cv_str *name_r,
	bool *fast_r)
{
	struct stored stored = split_stored(text, default_scheme);
	const struct cv_pass_scheme *scheme = find_scheme(reg, &stored.name, &stored.encoding, NULL);

	*name_r = stored.name;
	*fast_r = scheme != NULL && (scheme->opts & CV_SCHEME_FAST) != 0;
	return scheme != NULL;
}
