/* SPDX-License-Identifier: MIT
   sdbox: mailbox names as directories. */
#include <config.h>

#include "modules/lib/imap/imap-utf7.h"
#include "modules/storage/sdbox/sdbox-private.h"

#include <limits.h>
#include <string.h>

/* One level: modified UTF-7, at most NAME_MAX octets, not "." or ".." or the messages' directory. */
static int put_level(const struct sdbox *st, struct cv_buf *out, struct cv_str level, struct cv_err *err)
{
	size_t before = out->len;
	struct cv_str encoded;

	cv_imap_utf7_encode(out, level);
	encoded = cv_str_sub(cv_buf_str(out), before, SIZE_MAX);
	if (!cv_buf_ok(out) || encoded.len > NAME_MAX)
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is too long");
	if (encoded.len == 0)
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name has an empty level");
	if (cv_str_eq_c(encoded, ".") || cv_str_eq_c(encoded, "..") || cv_str_eq_c(encoded, st->dirname))
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is reserved");
	return 1;
}

static int put_levels(const struct sdbox *st, struct cv_buf *out, struct cv_str name, struct cv_err *err)
{
	struct cv_str level, rest = name;
	bool more;

	do {
		more = cv_str_split(rest, '/', &level, &rest);
		if (put_level(st, out, level, err) < 0)
			return -1;
		cv_buf_append_char(out, '/');
	} while (more);
	return 1;
}

int sdbox_path(const struct sdbox *st, struct cv_str name, char **path_r, struct cv_err *err)
{
	struct cv_buf path;
	int ret;

	*path_r = NULL;
	cv_buf_init(&path, PATH_MAX - 256);
	ret = put_levels(st, &path, name, err);
	cv_buf_append_c(&path, st->dirname);
	if (ret > 0 && !cv_buf_ok(&path))
		ret = cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is too long");
	if (ret > 0)
		*path_r = cv_strdup(path.data);
	cv_buf_deinit(&path);
	return ret;
}

int sdbox_name_check(void *st, struct cv_str name, struct cv_err *err)
{
	char *path;

	if (sdbox_path(st, name, &path, err) < 0)
		return -1;
	cv_free(path);
	return 0;
}

/* Without printf: it is asked for with each message that is read. */
void sdbox_uid_name(char name[SDBOX_NAME_MAX], const char *prefix, uint32_t uid)
{
	char digits[10];
	size_t len = strlen(prefix), at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + uid % 10);
		uid /= 10;
	} while (uid > 0);
	/* UNSAFE: eight octets, ten digits and a NUL fit. */
	cv_assert(len + sizeof(digits) < SDBOX_NAME_MAX);
	memcpy(name, prefix, len);
	memcpy(name + len, digits + at, sizeof(digits) - at);
	name[len + sizeof(digits) - at] = '\0';
}

bool sdbox_level_decode(struct cv_buf *out, const char *name)
{
	return cv_imap_utf7_decode(out, cv_str_c(name));
}
