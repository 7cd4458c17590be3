/* SPDX-License-Identifier: MIT
   sdbox: the file that says whose folder it is. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"
#include <culver/reader.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_LEN 128

int sdbox_owner_write(const struct sdbox *st, int dir, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	struct cv_buf line;
	int fd, ret;

	cv_buf_init(&line, LINE_MAX_LEN);
	cv_buf_append_c(&line, SDBOX_OWNER " 1 ");
	cv_buf_append_hex(&line, cv_str_mem(mailbox->guid, sizeof(mailbox->guid)));
	cv_buf_printf(&line, " %u\n", mailbox->uidvalidity);
	ret = cv_file_open(dir, SDBOX_OWNER, O_WRONLY | O_CREAT | O_TRUNC, st->args->file_mode, &fd, err);
	if (ret > 0) {
		ret = cv_file_pwrite(fd, cv_buf_str(&line), 0, err);
		if (ret > 0 && st->args->fsync != CV_FSYNC_NEVER)
			ret = cv_file_sync(fd, false, err);
		cv_file_close(&fd);
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
	struct cv_err open_err = { 0 };
	size_t len;
	int fd, ret;

	if (snprintf(name, sizeof(name), "%s/" SDBOX_OWNER, path) >= (int)sizeof(name))
		return 0;
	if (cv_file_open(st->mailboxes, name, O_RDONLY, 0, &fd, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		*err = open_err;
		return -1;
	}
	ret = cv_file_pread(fd, text, sizeof(text), 0, &len, err);
	cv_file_close(&fd);
	if (ret < 0)
		return -1;
	return parse(cv_str_mem(text, len), mailbox_r) ? 1 : 0;
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
