/* SPDX-License-Identifier: MIT
   Dovecot's file "subscriptions". Names are in modified UTF-7; version 2 escapes with an octet 1. */
#include <config.h>

#include "modules/lib/dovecot/subscriptions.h"
#include "modules/lib/imap/imap-utf7.h"
#include <culver/file.h>
#include <culver/log.h>
#include <culver/reader.h>

#include <fcntl.h>

#define FILE_MAX ((size_t)4 << 20)
#define NAME_MAX_LEN 4096u

/* Octet 1 and a character stand for what a line can't hold. False when the escape is none. */
static bool unescape(struct cv_buf *out, struct cv_str level)
{
	for (size_t i = 0; i < level.len; i++) {
		char c = level.ptr[i];

		if (c == '\001') {
			if (++i == level.len)
				return false;
			switch (level.ptr[i]) {
			case '1':
				c = '\001';
				break;
			case 't':
				c = '\t';
				break;
			case 'r':
				c = '\r';
				break;
			case 'n':
				c = '\n';
				break;
			default:
				return false;
			}
		}
		cv_buf_append_char(out, c);
	}
	return true;
}

static bool decode(struct cv_buf *name, struct cv_str line, char separator, bool escaped)
{
	struct cv_str level, rest = line;
	bool more, ok = true;
	struct cv_buf plain;

	cv_buf_clear(name);
	cv_buf_init(&plain, NAME_MAX_LEN);
	do {
		more = cv_str_split(rest, separator, &level, &rest);
		cv_buf_clear(&plain);
		if (escaped)
			ok = unescape(&plain, level);
		else
			cv_buf_append(&plain, level);
		ok = ok && plain.len > 0 && cv_buf_ok(&plain);
		if (ok && name->len > 0)
			cv_buf_append_char(name, '/');
		ok = ok && cv_imap_utf7_decode(name, cv_buf_str(&plain));
	} while (ok && more);
	cv_buf_deinit(&plain);
	return ok && cv_buf_ok(name) && name->len > 0;
}

static int read_lines(struct cv_str text, char separator, int (*fn)(void *ctx, struct cv_str name), void *ctx)
{
	struct cv_reader reader = cv_reader_init(text);
	bool escaped = cv_str_starts(text, CV_STR("V\t2\n"));
	struct cv_buf name;
	struct cv_str line;
	int ret = 1;

	if (escaped && !cv_take_line(&reader, &line))
		return 1;
	cv_buf_init(&name, NAME_MAX_LEN);
	while (ret > 0 && cv_take_line(&reader, &line)) {
		if (line.len == 0)
			continue;
		if (decode(&name, line, escaped ? '\t' : separator, escaped))
			ret = fn(ctx, cv_buf_str(&name)) < 0 ? -1 : 1;
		else
			cv_warn(NULL, "line of the subscriptions file is passed over: %s", cv_log_clean(line));
	}
	cv_buf_deinit(&name);
	return ret;
}

int cv_dovecot_subscriptions(const char *dir, char separator, int (*fn)(void *ctx, struct cv_str name), void *ctx, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	struct cv_buf text;
	size_t got = 0;
	int root, fd, ret;
	void *p;

	if (cv_file_root(dir, &root, &open_err) < 0)
		return open_err.code == CV_ERR_NOTFOUND ? 1 : (*err = open_err, -1);
	ret = cv_file_open(root, "subscriptions", O_RDONLY, 0, &fd, &open_err);
	cv_file_close(&root);
	if (ret < 0)
		return open_err.code == CV_ERR_NOTFOUND ? 1 : (*err = open_err, -1);
	cv_buf_init(&text, FILE_MAX);
	p = cv_buf_reserve(&text, FILE_MAX);
	cv_assert(p != NULL);
	ret = cv_file_pread(fd, p, FILE_MAX, 0, &got, err);
	cv_file_close(&fd);
	if (ret > 0) {
		cv_buf_commit(&text, got);
		ret = read_lines(cv_buf_str(&text), separator, fn, ctx);
	}
	cv_buf_deinit(&text);
	return ret;
}
