/* SPDX-License-Identifier: MIT
   sdbox: copies that were recorded and are made afterwards. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define UNSETTLED_MAX 16 /* directories; beyond them they are synced at once */

static int open_both(struct sdbox *st, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, int dirs_r[2], struct cv_err *err)
{
	char *from_path = NULL, *to_path = NULL;
	int ret = -1;

	if (sdbox_path(st, from->name, &from_path, err) > 0 && sdbox_path(st, to->name, &to_path, err) > 0 &&
		sdbox_dir_now(st, from_path, &dirs_r[0], err) > 0 && sdbox_dir_now(st, to_path, &dirs_r[1], err) > 0)
		ret = 1;
	cv_free(from_path);
	cv_free(to_path);
	return ret;
}

int sdbox_copy_later(void *st_p, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, struct cv_err *err)
{
	struct stat here, there;
	int dirs[2];

	if (open_both(st_p, from, to, dirs, err) < 0 || cv_file_fstat(dirs[0], &here, err) < 0 || cv_file_fstat(dirs[1], &there, err) < 0)
		return -1;
	if (here.st_dev != there.st_dev)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "mailboxes are on different file systems");
	if (faccessat(dirs[1], ".", W_OK | X_OK, AT_EACCESS) < 0)
		return cv_err_sys(err, errno, "folder can't be written to");
	return 1;
}

int sdbox_copy_ref(void *st_p, const struct cv_mailbox_ref *to, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err)
{
	char text[SDBOX_NAME_MAX];

	(void)st_p;
	(void)to;
	(void)err;
	sdbox_uid_name(text, "", meta->uid); /* copy_make finds out whether it is free */
	*ref_len_r = strlen(text);
	memcpy(ref_r, text, *ref_len_r);
	return 1;
}

/* Something has the name: this copy, made before, or another program's message? */
static int look_at_taken(int from_dir, const char *from, int to_dir, const char *to, const struct cv_storage_meta *meta, struct cv_err *err)
{
	struct stat source, there;
	uint8_t guid[sizeof(meta->guid)];

	if (cv_file_stat(from_dir, from, &source, err) < 0 || cv_file_stat(to_dir, to, &there, err) < 0)
		return -1;
	if ((source.st_ino == there.st_ino && source.st_dev == there.st_dev) ||
		(sdbox_file_guid(to_dir, to, guid) && memcmp(guid, meta->guid, sizeof(guid)) == 0)) /* where octets were copied */
		return 1;
	return cv_err_set(err, CV_ERR_EXISTS, "message %s was saved by another program", to);
}

static int make_one(const int dirs[2], const struct cv_storage_copy *copy, struct cv_err *err)
{
	char from[SDBOX_NAME_MAX], to[SDBOX_NAME_MAX], unconfirmed[SDBOX_NAME_MAX];
	struct cv_err link_err = { 0 };
	uint32_t from_uid, to_uid;
	struct stat st;
	int ret;

	if (!sdbox_ref_uid(copy->source, &from_uid) || !sdbox_ref_uid(copy->ref, &to_uid))
		return cv_err_set(err, CV_ERR_INVALID, "reference is no UID");
	sdbox_uid_name(to, "u.", to_uid);
	sdbox_uid_name(unconfirmed, ".culver.", to_uid);
	/* One of that name was never confirmed: it must not be taken for this one. */
	if (cv_file_unlink(dirs[1], unconfirmed, err) < 0)
		return -1;
	sdbox_uid_name(from, "u.", from_uid);
	ret = cv_file_link(dirs[0], from, dirs[1], to, &link_err);
	if (ret < 0 && link_err.code == CV_ERR_NOTFOUND) {
		sdbox_uid_name(from, ".culver.", from_uid); /* its confirmation was cut short */
		ret = cv_file_link(dirs[0], from, dirs[1], to, &link_err);
	}
	if (ret > 0)
		return 1;
	if (link_err.code == CV_ERR_EXISTS)
		return look_at_taken(dirs[0], from, dirs[1], to, &copy->meta, err);
	if (link_err.code == CV_ERR_NOTFOUND) {
		ret = cv_file_stat(dirs[1], to, &st, err);
		return ret != 0 ? ret : cv_err_set_public(err, CV_ERR_EXPUNGED, "Message no longer exists");
	}
	if (link_err.code != CV_ERR_NOQUOTA)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "%s", link_err.text); /* too many links, or a file system without them */
	*err = link_err;
	return -1;
}

int sdbox_note_unsettled(struct sdbox *st, int dir, struct cv_err *err)
{
	struct sdbox_unsettled *added;
	struct stat info;
	int fd;

	if (st->args->fsync == CV_FSYNC_NEVER)
		return 1;
	if (cv_file_fstat(dir, &info, err) < 0)
		return -1;
	for (size_t i = 0; i < st->unsettled.count; i++) {
		if (st->unsettled.data[i].ino == info.st_ino && st->unsettled.data[i].dev == info.st_dev)
			return 1;
	}
	if (st->unsettled.count >= UNSETTLED_MAX && sdbox_settle_early(st, err) < 0)
		return -1;
	fd = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return cv_err_sys(err, errno, "directory can't be kept open");
	added = cv_vec_push(&st->unsettled);
	*added = (struct sdbox_unsettled){ fd, info.st_dev, info.st_ino };
	return 1;
}

int sdbox_copy_make(void *st_p, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, const struct cv_storage_copy *copies, size_t count,
	size_t *done_r, struct cv_err *err)
{
	struct sdbox *st = st_p;
	int dirs[2];

	*done_r = 0;
	if (open_both(st, from, to, dirs, err) < 0 || sdbox_note_unsettled(st, dirs[1], err) < 0)
		return -1;
	for (; *done_r < count; ++*done_r) {
		if (make_one(dirs, &copies[*done_r], err) < 0)
			return -1;
	}
	return 1;
}

/* Files, then their names. Octets whose sync failed are lost; names are not, so these directories are kept for the next time. */
static int settle(struct sdbox *st, struct cv_err *err)
{
	if (sdbox_landed_sync(st, err) < 0)
		return -1;
	for (size_t i = 0; i < st->unsettled.count; i++) {
		if (cv_file_sync(st->unsettled.data[i].fd, true, err) < 0)
			return -1;
	}
	sdbox_unsettled_free(st);
	return 1;
}

int sdbox_settle_early(struct sdbox *st, struct cv_err *err)
{
	if (settle(st, err) > 0)
		return 1;
	st->settle_failed = true;
	return -1;
}

int sdbox_settle(void *st_p, struct cv_err *err)
{
	struct sdbox *st = st_p;
	int ret = settle(st, err);

	if (ret > 0 && st->settle_failed)
		ret = cv_err_set(err, CV_ERR_TEMP, "new messages could not be synced");
	st->settle_failed = false;
	return ret;
}

void sdbox_unsettled_free(struct sdbox *st)
{
	for (size_t i = 0; i < st->unsettled.count; i++)
		cv_file_close(&st->unsettled.data[i].fd);
	cv_vec_free(&st->unsettled);
}
