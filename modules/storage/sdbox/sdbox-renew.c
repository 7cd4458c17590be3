/* SPDX-License-Identifier: MIT
   sdbox: the file of a message that is missing or damaged is made anew. It is whole and on disk before it takes the name, and what has the name gets another one
   before: whenever this ends, the one or the other can be read. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"
#include <culver/log.h>

#include <fcntl.h>
#include <stdio.h>

static int write_new(struct sdbox *st, int dir, const char *temp, struct cv_err *err)
{
	int fd, ret;

	if (cv_file_unlink(dir, temp, err) < 0 || cv_file_open(dir, temp, O_RDWR | O_CREAT | O_EXCL, st->args->file_mode, &fd, err) < 0)
		return -1;
	ret = cv_file_pwrite(fd, cv_buf_str(&st->image), 0, err);
	if (ret > 0 && st->args->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(fd, false, err);
	cv_file_close(&fd);
	return ret;
}

/* A second name for what is there, as long as the first is needed; where that can't be (a directory, no links, a file of another owner) it loses the first. */
static int keep_old(int dir, const char *name, struct cv_err *err)
{
	char aside[CV_FILE_ASIDE_MAX];
	struct cv_err link_err = { 0 };

	cv_file_aside_name(name, aside);
	if (cv_file_link(dir, name, dir, aside, &link_err) > 0 || link_err.code == CV_ERR_NOTFOUND)
		return 1;
	return cv_file_aside(dir, name, err);
}

static int replace(struct sdbox *st, int dir, uint32_t uid, struct cv_err *err)
{
	char name[SDBOX_NAME_MAX], temp[SDBOX_NAME_MAX];
	int ret;

	sdbox_uid_name(name, "u.", uid);
	(void)snprintf(temp, sizeof(temp), ".temp.renew.%u", uid);
	ret = write_new(st, dir, temp, err);
	if (ret > 0)
		ret = keep_old(dir, name, err);
	if (ret > 0)
		ret = cv_file_rename(dir, temp, dir, name, true, err);
	if (ret < 0) {
		if (cv_file_unlink(dir, temp, NULL) < 0)
			cv_warn(NULL, "%s stays until leftovers are looked for", temp);
		return -1;
	}
	return st->args->fsync != CV_FSYNC_NEVER ? cv_file_sync(dir, true, err) : 1;
}

int sdbox_renew(void *st_p, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref, struct cv_str octets,
	struct cv_err *err)
{
	struct sdbox *st = st_p;
	uint32_t uid;
	int dir, ret;

	if (!sdbox_ref_uid(ref, &uid))
		return cv_err_set(err, CV_ERR_INVALID, "reference is no UID");
	ret = sdbox_begin_file(st, mailbox, meta, octets, &dir, err);
	return ret > 0 ? replace(st, dir, uid, err) : ret;
}
