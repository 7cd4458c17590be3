/* SPDX-License-Identifier: MIT
   sdbox: messages whose octets the journal has. Their files are made when the record is durable, under their last names at once, and synced together by settle. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int sdbox_place(void *st_p, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r,
	struct cv_err *err)
{
	struct sdbox *st = st_p;
	char *path;
	int dir, ret;

	if (sdbox_path(st, mailbox->name, &path, err) < 0)
		return -1;
	ret = sdbox_dir_now(st, path, &dir, err);
	cv_free(path);
	if (ret < 0)
		return -1;
	if (faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return cv_err_sys(err, errno, "folder can't be written to");
	sdbox_set_ref(meta->uid, ref_r, ref_len_r);
	return 1;
}

int sdbox_put_image(struct cv_buf *image, const struct cv_storage_meta *meta, struct cv_str octets, struct cv_err *err)
{
	sdbox_put_head(image, meta->saved != 0 ? meta->saved : cv_time_now_sec(), octets.len);
	cv_buf_append(image, octets);
	sdbox_put_trailer(image, meta, octets.len);
	return cv_buf_ok(image) ? 1 : cv_err_set(err, CV_ERR_LIMIT, "message file is too long to be made in memory");
}

/* What is there is this message, whole or not, or no message at all: it is written over, so that a link to it is what it should be too. */
static int open_there(int dir, const char *name, const struct cv_storage_meta *meta, int *fd_r, struct cv_err *err)
{
	uint8_t guid[sizeof(meta->guid)];

	if (sdbox_file_guid(dir, name, guid) && memcmp(guid, meta->guid, sizeof(guid)) != 0)
		return cv_err_set(err, CV_ERR_EXISTS, "message %s was saved by another program", name);
	return cv_file_open(dir, name, O_RDWR, 0, fd_r, err);
}

static int open_image(struct sdbox *st, int dir, const char *name, const struct cv_storage_meta *meta, bool again, int *fd_r, struct cv_err *err)
{
	struct cv_err open_err = { 0 };

	if (cv_file_open(dir, name, O_RDWR | O_CREAT | O_EXCL, st->args->file_mode, fd_r, &open_err) > 0)
		return 1;
	if (open_err.code != CV_ERR_EXISTS || !again) {
		*err = open_err;
		return -1;
	}
	return open_there(dir, name, meta, fd_r, err);
}

static int write_image(struct sdbox *st, int fd, bool again, struct cv_err *err)
{
	struct cv_str image = cv_buf_str(&st->image);
	struct stat there;

	if (cv_file_pwrite(fd, image, 0, err) < 0)
		return -1;
	if (!again)
		return 1;
	if (cv_file_fstat(fd, &there, err) < 0)
		return -1;
	return (uint64_t)there.st_size <= image.len || cv_file_truncate(fd, image.len, err) >= 0 ? 1 : -1;
}

static int make_file(struct sdbox *st, int dir, uint32_t uid, const struct cv_storage_meta *meta, bool again, struct cv_err *err)
{
	char name[SDBOX_NAME_MAX], unconfirmed[SDBOX_NAME_MAX];
	int fd;

	sdbox_uid_name(name, "u.", uid);
	sdbox_uid_name(unconfirmed, ".culver.", uid);
	/* One of that name was never confirmed: it must not be taken for this one. */
	if (cv_file_unlink(dir, unconfirmed, err) < 0 || sdbox_note_unsettled(st, dir, err) < 0 ||
		open_image(st, dir, name, meta, again, &fd, err) < 0)
		return -1;
	if (write_image(st, fd, again, err) < 0) {
		cv_file_close(&fd);
		return -1;
	}
	*cv_vec_push(&st->landed) = fd;
	return 1;
}

int sdbox_begin_file(struct sdbox *st, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str octets, int *dir_r,
	struct cv_err *err)
{
	char *path;
	int ret;

	if (sdbox_path(st, mailbox->name, &path, err) < 0)
		return -1;
	ret = sdbox_dir_now(st, path, dir_r, err);
	cv_free(path);
	cv_buf_clear(&st->image);
	return ret > 0 ? sdbox_put_image(&st->image, meta, octets, err) : ret;
}

int sdbox_land(void *st_p, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref, struct cv_str octets, bool again,
	struct cv_err *err)
{
	struct sdbox *st = st_p;
	uint32_t uid;
	int dir, ret;

	if (!sdbox_ref_uid(ref, &uid))
		return cv_err_set(err, CV_ERR_INVALID, "reference is no UID");
	if (st->landed.count >= SDBOX_LANDED_MAX && sdbox_settle_early(st, err) < 0)
		return -1;
	ret = sdbox_begin_file(st, mailbox, meta, octets, &dir, err);
	return ret > 0 ? make_file(st, dir, uid, meta, again, err) : ret;
}

int sdbox_landed_sync(struct sdbox *st, struct cv_err *err)
{
	int ret = 1;

	/* All of them are written out before the first is waited for. */
	for (size_t i = 0; i < st->landed.count; i++)
		(void)sync_file_range(st->landed.data[i], 0, 0, SYNC_FILE_RANGE_WRITE);
	for (size_t i = 0; ret > 0 && i < st->landed.count; i++)
		ret = cv_file_sync(st->landed.data[i], false, err);
	for (size_t i = 0; i < st->landed.count; i++)
		cv_file_close(&st->landed.data[i]);
	st->landed.count = 0;
	return ret;
}
