/* SPDX-License-Identifier: MIT
   maildir: mailbox names as directories. */
#include <config.h>

#include "modules/lib/imap/imap-utf7.h"
#include "modules/storage/maildir/maildir-private.h"

#include <limits.h>
#include <string.h>

#define LEVELS_MAX 100

static const char hex_digits[] = "0123456789abcdef";

static bool is_hex(char c)
{
	return c != '\0' && strchr(hex_digits, c) != NULL;
}

/* "\xx" in s at i. */
static bool is_escape(struct cv_str s, size_t i)
{
	return s.ptr[i] == '\\' && s.len - i >= 3 && is_hex(s.ptr[i + 1]) && is_hex(s.ptr[i + 2]);
}

static void put_escaped(struct cv_buf *out, char c)
{
	cv_buf_append_char(out, '\\');
	cv_buf_append_char(out, hex_digits[(uint8_t)c >> 4]);
	cv_buf_append_char(out, hex_digits[(uint8_t)c & 15]);
}

/* Names that have another meaning in LAYOUT=fs. */
static bool is_reserved(const struct maildir *st, struct cv_str level, bool first)
{
	static const char *const names[] = { "cur", "new", "tmp", "maildirfolder" };

	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		if (cv_str_eq_c(level, names[i]))
			return true;
	}
	if (*st->dirname != '\0' && cv_str_eq_c(level, st->dirname))
		return true;
	return first && (cv_str_starts(level, CV_STR("culver-")) || cv_str_starts(level, CV_STR("dovecot")) ||
		cv_str_eq_c(level, "subscriptions"));
}

/* One level: modified UTF-7, escaped. */
static int put_level(const struct maildir *st, struct cv_buf *out, struct cv_str level, bool first, struct cv_err *err)
{
	struct cv_buf utf7;
	struct cv_str encoded;
	size_t before = out->len;

	cv_buf_init(&utf7, NAME_MAX);
	cv_imap_utf7_encode(&utf7, level);
	encoded = cv_buf_str(&utf7);
	for (size_t i = 0; i < encoded.len; i++) {
		char c = encoded.ptr[i];
		bool escape = is_escape(encoded, i) ||
			(st->fs ? i == 0 && (c == '.' || is_reserved(st, encoded, first)) : c == '.');

		if (escape)
			put_escaped(out, c);
		else
			cv_buf_append_char(out, c);
	}
	if (!cv_buf_ok(&utf7) || !cv_buf_ok(out) || out->len - before > NAME_MAX) {
		cv_buf_deinit(&utf7);
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is too long");
	}
	cv_buf_deinit(&utf7);
	return out->len > before ? 1 : cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name has an empty level");
}

static int put_levels(const struct maildir *st, struct cv_buf *out, struct cv_str name, struct cv_err *err)
{
	struct cv_str level, rest = name;
	unsigned count = 0;
	bool more;

	if (cv_str_has_nul(name))
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name holds a NUL");
	do {
		more = cv_str_split(rest, '/', &level, &rest);
		if (!st->fs || count > 0)
			cv_buf_append_char(out, st->fs ? '/' : '.');
		if (put_level(st, out, level, count == 0, err) < 0)
			return -1;
		if (++count > LEVELS_MAX)
			return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name has too many levels");
	} while (more);
	if (!st->fs && out->len > NAME_MAX)
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is too long");
	return 1;
}

int maildir_path(const struct maildir *st, struct cv_str name, char **path_r, struct cv_err *err)
{
	struct cv_buf path;
	int ret;

	*path_r = NULL;
	if (cv_str_eq_c(name, "INBOX") && (st->inbox >= 0 || *st->dirname == '\0')) {
		*path_r = cv_strdup(".");
		return 1;
	}
	cv_buf_init(&path, PATH_MAX - 512);
	ret = put_levels(st, &path, name, err);
	if (*st->dirname != '\0') {
		cv_buf_append_char(&path, '/');
		cv_buf_append_c(&path, st->dirname);
	}
	if (ret > 0 && !cv_buf_ok(&path))
		ret = cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is too long");
	if (ret > 0)
		*path_r = cv_strdup(path.data);
	cv_buf_deinit(&path);
	return ret;
}

int maildir_name_check(void *st, struct cv_str name, struct cv_err *err)
{
	char *path;

	if (maildir_path(st, name, &path, err) < 0)
		return -1;
	cv_free(path);
	return 0;
}

static bool decode_level(struct cv_buf *out, struct cv_str level)
{
	struct cv_buf utf7;
	bool ok;

	cv_buf_init(&utf7, NAME_MAX);
	for (size_t i = 0; i < level.len; i++) {
		if (is_escape(level, i)) {
			size_t high = (size_t)(strchr(hex_digits, level.ptr[i + 1]) - hex_digits);
			size_t low = (size_t)(strchr(hex_digits, level.ptr[i + 2]) - hex_digits);

			cv_buf_append_char(&utf7, (char)(high << 4 | low));
			i += 2;
		} else {
			cv_buf_append_char(&utf7, level.ptr[i]);
		}
	}
	ok = level.len > 0 && cv_buf_ok(&utf7) && cv_imap_utf7_decode(out, cv_buf_str(&utf7));
	cv_buf_deinit(&utf7);
	return ok;
}

/* Does the name lead back to where it came from? */
static bool leads_back(const struct maildir *st, const char *path, struct cv_str name)
{
	struct cv_err ignored = { 0 };
	size_t len = strlen(path);
	char *again;
	bool same;

	/* "inbox" in other letters is INBOX to clients. */
	if (cv_str_casestarts(name, CV_STR("INBOX")) && (name.len == 5 || name.ptr[5] == '/') && !cv_str_starts(name, CV_STR("INBOX")))
		return false;
	if (maildir_path(st, name, &again, &ignored) <= 0)
		return false;
	same = strncmp(again, path, len) == 0 && (again[len] == '\0' || (*st->dirname != '\0' && again[len] == '/' && strcmp(again + len + 1, st->dirname) == 0));
	cv_free(again);
	return same;
}

bool maildir_name_decode(const struct maildir *st, const char *path, struct cv_buf *out)
{
	struct cv_str level, rest = cv_str_c(path);
	size_t before = out->len;
	bool more;

	if (!st->fs) {
		if (path[0] != '.')
			return false;
		rest = cv_str_sub(rest, 1, SIZE_MAX);
	}
	do {
		more = cv_str_split(rest, st->fs ? '/' : '.', &level, &rest);
		if (!decode_level(out, level)) {
			cv_buf_truncate(out, before);
			return false;
		}
		if (more)
			cv_buf_append_char(out, '/');
	} while (more);
	if (cv_buf_ok(out) && leads_back(st, path, cv_str_sub(cv_buf_str(out), before, SIZE_MAX)))
		return true;
	cv_buf_truncate(out, before);
	return false;
}
