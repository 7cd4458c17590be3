/* SPDX-License-Identifier: MIT
   sdbox: files of messages that the journal has, many at a time, made and synced in another thread. All that it needs is in the batch. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct item {
	uint32_t uid;
	int dir;               /* one of the folders */
	size_t start, len;     /* of its file, in images */
	int fd;                /* made, and not synced yet; or -1 */
};

struct folder {
	char *path;            /* owned */
	int fd;                /* owned: it stays the directory's when that is renamed */
};

struct batch {
	CV_VEC(struct item) items;
	CV_VEC(struct folder) folders;
	struct cv_buf images;
	unsigned file_mode;
	size_t begun;          /* items of which there may be a file */
	int result;
	struct cv_err err;
};

static struct batch *new_batch(const struct sdbox *st)
{
	struct batch *batch = cv_new0(struct batch);

	batch->file_mode = st->args->file_mode;
	cv_buf_init(&batch->images, SDBOX_IMAGE_MAX);
	return batch;
}

static void free_batch(struct batch *batch)
{
	for (size_t i = 0; i < batch->folders.count; i++) {
		cv_file_close(&batch->folders.data[i].fd);
		cv_free(batch->folders.data[i].path);
	}
	cv_vec_free(&batch->folders);
	cv_vec_free(&batch->items);
	cv_buf_deinit(&batch->images);
	cv_free(batch);
}

/* All are added at one moment: a path is one directory. */
static int find_folder(struct sdbox *st, struct batch *batch, struct cv_str mailbox, int *fd_r, struct cv_err *err)
{
	struct folder *folder;
	char *path;
	int dir, fd;

	if (sdbox_path(st, mailbox, &path, err) < 0)
		return -1;
	for (size_t i = batch->folders.count; i > 0; i--) {
		if (strcmp(batch->folders.data[i - 1].path, path) == 0) {
			cv_free(path);
			*fd_r = batch->folders.data[i - 1].fd;
			return 1;
		}
	}
	if (sdbox_dir_now(st, path, &dir, err) < 0) {
		cv_free(path);
		return -1;
	}
	fd = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		cv_free(path);
		return cv_err_sys(err, errno, "directory can't be kept open");
	}
	folder = cv_vec_push(&batch->folders);
	*folder = (struct folder){ path, fd };
	*fd_r = fd;
	return 1;
}

static int add(struct sdbox *st, struct batch *batch, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref,
	struct cv_str octets, struct cv_err *err)
{
	struct item item = { .start = batch->images.len, .fd = -1 };

	if (!sdbox_ref_uid(ref, &item.uid))
		return cv_err_set(err, CV_ERR_INVALID, "reference is no UID");
	if (find_folder(st, batch, mailbox->name, &item.dir, err) < 0 || sdbox_put_image(&batch->images, meta, octets, err) < 0)
		return -1;
	item.len = batch->images.len - item.start;
	*cv_vec_push(&batch->items) = item;
	return 1;
}

int sdbox_batch_add(void *st_p, void **batch_p, const struct cv_mailbox_ref *mailbox, const struct cv_storage_meta *meta, struct cv_str ref,
	struct cv_str octets, struct cv_err *err)
{
	struct sdbox *st = st_p;
	struct batch *batch = *batch_p != NULL ? *batch_p : new_batch(st);
	size_t len = batch->images.len;

	if (add(st, batch, mailbox, meta, ref, octets, err) < 0) {
		if (*batch_p == NULL) {
			free_batch(batch);
		} else {
			batch->images.failed = false;
			cv_buf_truncate(&batch->images, len);
		}
		return -1;
	}
	*batch_p = batch;
	return 1;
}

static int make(struct batch *batch, struct item *item)
{
	char name[SDBOX_NAME_MAX], unconfirmed[SDBOX_NAME_MAX];

	sdbox_uid_name(name, "u.", item->uid);
	sdbox_uid_name(unconfirmed, ".culver.", item->uid);
	/* One of that name was never confirmed: it must not be taken for this one. */
	if (cv_file_unlink(item->dir, unconfirmed, &batch->err) < 0 ||
		cv_file_open(item->dir, name, O_RDWR | O_CREAT | O_EXCL, batch->file_mode, &item->fd, &batch->err) < 0)
		return -1;
	batch->begun = (size_t)(item - batch->items.data) + 1;
	if (cv_file_pwrite(item->fd, cv_str_sub(cv_buf_str(&batch->images), item->start, item->len), 0, &batch->err) < 0)
		return -1;
	/* All of them are written out before the first is waited for. */
	if (batch->items.count > 1)
		(void)sync_file_range(item->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return 1;
}

/* As many as may be open together. */
static int make_some(struct batch *batch, size_t first, size_t end)
{
	int ret = 1;

	for (size_t i = first; ret > 0 && i < end; i++)
		ret = make(batch, &batch->items.data[i]);
	for (size_t i = first; ret > 0 && i < end; i++)
		ret = cv_file_sync(batch->items.data[i].fd, false, &batch->err);
	for (size_t i = first; i < end; i++)
		cv_file_close(&batch->items.data[i].fd);
	return ret;
}

void sdbox_batch_run(void *batch_p)
{
	struct batch *batch = batch_p;
	int ret = 1;

	for (size_t i = 0; ret > 0 && i < batch->items.count; i += SDBOX_LANDED_MAX)
		ret = make_some(batch, i, CV_MIN(i + SDBOX_LANDED_MAX, batch->items.count));
	for (size_t i = 0; ret > 0 && i < batch->folders.count; i++)
		ret = cv_file_sync(batch->folders.data[i].fd, true, &batch->err);
	batch->result = ret;
}

int sdbox_batch_end(void **batch_p, size_t *begun_r, struct cv_err *err)
{
	struct batch *batch = *batch_p;
	int result = batch->result;

	*batch_p = NULL;
	*begun_r = batch->begun;
	if (result < 0)
		*err = batch->err;
	free_batch(batch);
	return result;
}
