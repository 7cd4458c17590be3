/* SPDX-License-Identifier: MIT
   sdbox: the file that says whose folder it is. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"
#include <culver/log.h>
#include <culver/reader.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_LEN 128

/* What has the name and can't be read or written (a link, a pipe, a directory, a file without rights) gets another one, as if it had not been there: 1; 0: it is a file
   like any other. */
static int keep_odd(int dir, const struct cv_err *why, struct cv_err *err)
{
	struct stat there;
	int ret = cv_file_stat(dir, SDBOX_OWNER, &there, err);

	if (ret <= 0 || (S_ISREG(there.st_mode) && why->code != CV_ERR_PERM))
		return ret < 0 ? -1 : 0;
	if (cv_file_aside(dir, SDBOX_OWNER, err) < 0)
		return -1;
	cv_warn(NULL, "%s of a mailbox can't be used; it is kept under another name: %s", SDBOX_OWNER, why->text);
	return 1;
}

static int write_line(const struct sdbox *st, int dir, struct cv_str line, struct cv_err *err)
{
	int fd, ret = cv_file_open(dir, SDBOX_OWNER, O_WRONLY | O_CREAT | O_TRUNC, st->args->file_mode, &fd, err);

	if (ret < 0)
		return -1;
	ret = cv_file_pwrite(fd, line, 0, err);
	if (ret > 0 && st->args->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(fd, false, err);
	cv_file_close(&fd);
	return ret;
}

int sdbox_owner_write(const struct sdbox *st, int dir, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	struct cv_err write_err = { 0 };
	struct cv_buf line;
	int ret;

	cv_buf_init(&line, LINE_MAX_LEN);
	cv_buf_append_c(&line, SDBOX_OWNER " 1 ");
	cv_buf_append_hex(&line, cv_str_mem(mailbox->guid, sizeof(mailbox->guid)));
	cv_buf_printf(&line, " %u\n", mailbox->uidvalidity);
	ret = write_line(st, dir, cv_buf_str(&line), &write_err);
	if (ret < 0) {
		ret = keep_odd(dir, &write_err, err);
		if (ret > 0)
			ret = write_line(st, dir, cv_buf_str(&line), err);
		else if (ret == 0) {
			*err = write_err;
			ret = -1;
		}
	}
	cv_buf_deinit(&line);
	return ret;
}

static bool parse(struct cv_str text, struct cv_mailbox_ref *mailbox_r)
{
	struct cv_reader reader = cv_reader_init(text);
	struct cv_str guid;
	struct cv_buf octets;
	uint32_t uidvalidity;
	bool ok;

	if (!cv_take_lit(&reader, CV_STR(SDBOX_OWNER " 1 ")) || !cv_take_until(&reader, ' ', &guid) ||
		!cv_parse_u32(&reader, UINT32_MAX, &uidvalidity) || !cv_take_char(&reader, '\n') || !cv_reader_end(&reader))
		return false;
	cv_buf_init(&octets, sizeof(mailbox_r->guid));
	ok = cv_hex_decode(&octets, guid) && octets.len == sizeof(mailbox_r->guid);
	if (ok) {
		memcpy(mailbox_r->guid, octets.data, sizeof(mailbox_r->guid));
		mailbox_r->uidvalidity = uidvalidity;
	}
	cv_buf_deinit(&octets);
	return ok;
}

int sdbox_owner_read(const struct sdbox *st, const char *path, struct cv_mailbox_ref *mailbox_r, struct cv_err *err)
{
	char name[PATH_MAX], text[LINE_MAX_LEN];
	struct cv_err read_err = { 0 };
	size_t len = 0;
	int fd, dir, ret;

	if (snprintf(name, sizeof(name), "%s/" SDBOX_OWNER, path) >= (int)sizeof(name))
		return 0;
	ret = cv_file_open(st->mailboxes, name, O_RDONLY, 0, &fd, &read_err);
	if (ret > 0) {
		ret = cv_file_pread(fd, text, sizeof(text), 0, &len, &read_err);
		cv_file_close(&fd);
	}
	if (ret > 0)
		return parse(cv_str_mem(text, len), mailbox_r) ? 1 : 0;
	if (read_err.code == CV_ERR_NOTFOUND)
		return 0;
	if (cv_file_open(st->mailboxes, path, O_RDONLY | O_DIRECTORY, 0, &dir, err) < 0)
		return -1;
	ret = keep_odd(dir, &read_err, err);
	cv_file_close(&dir);
	if (ret == 0)
		*err = read_err;
	return ret > 0 ? 0 : -1;
}

int sdbox_owner_check(const struct sdbox *st, const char *path, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	static const uint8_t none[sizeof(mailbox->guid)];
	struct cv_mailbox_ref there;
	int ret;

	if (memcmp(mailbox->guid, none, sizeof(none)) == 0)
		return 1;
	ret = sdbox_owner_read(st, path, &there, err);
	if (ret <= 0 || memcmp(there.guid, mailbox->guid, sizeof(none)) == 0)
		return ret < 0 ? -1 : 1;
	return cv_err_set(err, CV_ERR_NOTFOUND, "mailbox folder %s is another mailbox's", path);
}
