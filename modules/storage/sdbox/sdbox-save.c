/* SPDX-License-Identifier: MIT
   sdbox: saving and copying messages. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"
#include <culver/time.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PENDING_FILES_MAX 200 /* descriptors that are kept until sync; beyond them each file is synced at once */
#define TEMP_NAME_MAX 160

struct sdbox_save {
	struct sdbox *st;
	char *mailbox;           /* directory, owned */
	char temp[TEMP_NAME_MAX];
	struct cv_file_writer out;
	uint64_t size;           /* octets of the message */
	size_t head_len;
};

int sdbox_save_begin(void *st_p, const struct cv_mailbox_ref *mailbox, uint64_t size_hint, void **save_r, struct cv_err *err)
{
	struct sdbox *st = st_p;
	struct sdbox_save *save;
	char *path;
	int dir, fd;

	(void)size_hint;
	if (sdbox_path(st, mailbox->name, &path, err) < 0)
		return -1;
	if (sdbox_dir_now(st, path, &dir, err) < 0) {
		cv_free(path);
		return -1;
	}
	save = cv_new0(struct sdbox_save);
	save->st = st;
	save->mailbox = path;
	(void)snprintf(save->temp, sizeof(save->temp), ".temp.%lld.P%ldQ%u.%s", (long long)cv_time_now_us(), (long)getpid(),
		++st->temp_count, st->hostname);
	if (cv_file_open(dir, save->temp, O_RDWR | O_CREAT | O_EXCL, st->args->file_mode, &fd, err) < 0) {
		cv_free(save->mailbox);
		cv_free(save);
		return -1;
	}
	cv_file_writer_init(&save->out, fd);
	sdbox_put_head(&save->out.buf, cv_time_now_sec(), 0);
	save->head_len = save->out.buf.len;
	*save_r = save;
	return 1;
}

int sdbox_save_write(void *save_p, struct cv_str data, struct cv_err *err)
{
	struct sdbox_save *save = save_p;

	save->size += data.len;
	return cv_file_writer_put(&save->out, data, err);
}

int sdbox_save_read(void *save_p, struct cv_storage_blob *blob_r, struct cv_err *err)
{
	struct sdbox_save *save = save_p;

	*blob_r = (struct cv_storage_blob){ .offset = save->head_len, .len = save->size };
	return cv_file_writer_read(&save->out, &blob_r->fd, err);
}

static void free_save(struct sdbox_save *save)
{
	cv_file_writer_deinit(&save->out);
	cv_free(save->mailbox);
	cv_free(save);
}

void sdbox_save_abort(void *save_p)
{
	struct sdbox_save *save = save_p;
	struct cv_err ignored = { 0 };
	int dir;

	/* What cannot be removed now is swept later. */
	if (sdbox_dir(save->st, save->mailbox, &dir, &ignored) > 0 && cv_file_unlink(dir, save->temp, &ignored) < 0)
		ignored.code = CV_ERR_NONE;
	free_save(save);
}

/* The size goes into the header: in the buffer while it is there, else into the file. */
static int put_size(struct sdbox_save *save, struct cv_err *err)
{
	size_t at = save->head_len - 17;
	char digits[16];

	sdbox_put_size(digits, save->size);
	if (save->out.written == 0) {
		memcpy(save->out.buf.data + at, digits, sizeof(digits));
		return 1;
	}
	return cv_file_pwrite(save->out.fd, cv_str_mem(digits, sizeof(digits)), at, err);
}

static void add_pending(struct sdbox *st, int fd, const char *mailbox)
{
	struct sdbox_pending *pending = cv_vec_push(&st->pending);

	*pending = (struct sdbox_pending){ fd, cv_strdup(mailbox) };
}

void sdbox_set_ref(uint32_t uid, char *ref_r, size_t *ref_len_r)
{
	char name[SDBOX_NAME_MAX];

	sdbox_uid_name(name, "", uid);
	*ref_len_r = strlen(name);
	memcpy(ref_r, name, *ref_len_r);
}

/* EXISTS when another program has a message with this UID. */
static int check_free(int dir, uint32_t uid, struct cv_err *err)
{
	char name[SDBOX_NAME_MAX];
	struct stat st;
	int ret;

	sdbox_uid_name(name, "u.", uid);
	ret = cv_file_stat(dir, name, &st, err);
	if (ret > 0)
		return cv_err_set(err, CV_ERR_EXISTS, "message %s was saved by another program", name);
	return ret < 0 ? -1 : 1;
}

int sdbox_save_finish(void *save_p, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err)
{
	struct sdbox_save *save = save_p;
	struct sdbox *st = save->st;
	char name[SDBOX_NAME_MAX];
	int dir, ret;

	ret = sdbox_dir(st, save->mailbox, &dir, err);
	if (ret > 0)
		ret = check_free(dir, meta->uid, err);
	if (ret < 0 && err->code == CV_ERR_EXISTS)
		return -1;
	if (ret > 0)
		ret = put_size(save, err);
	if (ret > 0) {
		sdbox_put_trailer(&save->out.buf, meta, save->size);
		ret = cv_file_writer_flush(&save->out, err);
		if (ret > 0 && st->args->fsync != CV_FSYNC_NEVER && st->pending.count >= PENDING_FILES_MAX)
			ret = cv_file_sync(save->out.fd, false, err);
	}
	sdbox_uid_name(name, ".culver.", meta->uid);
	/* One that is there already was never confirmed. */
	if (ret > 0)
		ret = cv_file_rename(dir, save->temp, dir, name, true, err);
	if (ret < 0) {
		sdbox_save_abort(save);
		return -1;
	}
	sdbox_set_ref(meta->uid, ref_r, ref_len_r);
	if (st->args->fsync == CV_FSYNC_NEVER || st->pending.count >= PENDING_FILES_MAX)
		cv_file_close(&save->out.fd);
	add_pending(st, save->out.fd, save->mailbox);
	save->out.fd = -1; /* it is pending's now */
	free_save(save);
	return 1;
}

int sdbox_copy(void *st_p, const struct cv_mailbox_ref *from, struct cv_str ref, const struct cv_mailbox_ref *to,
	const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err)
{
	struct sdbox *st = st_p;
	char from_name[SDBOX_NAME_MAX], to_name[SDBOX_NAME_MAX], *from_path = NULL, *to_path = NULL;
	struct cv_err link_err = { 0 };
	int from_dir, to_dir, ret = -1;
	uint32_t from_uid;

	if (!sdbox_ref_uid(ref, &from_uid))
		return cv_err_set(err, CV_ERR_INVALID, "reference is no UID");
	if (sdbox_path(st, from->name, &from_path, err) < 0 || sdbox_path(st, to->name, &to_path, err) < 0 ||
		sdbox_dir(st, from_path, &from_dir, err) < 0 || sdbox_dir(st, to_path, &to_dir, err) < 0 ||
		check_free(to_dir, meta->uid, err) < 0)
		goto out;
	sdbox_uid_name(from_name, "u.", from_uid);
	sdbox_uid_name(to_name, ".culver.", meta->uid);
	for (int attempt = 0; attempt < 2; attempt++) {
		ret = cv_file_link(from_dir, from_name, to_dir, to_name, &link_err);
		if (ret > 0)
			break;
		if (link_err.code == CV_ERR_EXISTS && cv_file_unlink(to_dir, to_name, err) >= 0) {
			attempt--; /* never confirmed: in the way only once */
			link_err = (struct cv_err){ 0 };
		} else {
			sdbox_uid_name(from_name, ".culver.", from_uid);
		}
	}
	if (ret > 0) {
		sdbox_set_ref(meta->uid, ref_r, ref_len_r);
		add_pending(st, -1, to_path);
	} else if (link_err.code == CV_ERR_NOTFOUND) {
		ret = cv_err_set_public(err, CV_ERR_EXPUNGED, "Message no longer exists");
	} else {
		/* Too many links, or a file system without them. */
		ret = cv_err_set(err, CV_ERR_UNSUPPORTED, "%s", link_err.text);
	}
out:
	cv_free(from_path);
	cv_free(to_path);
	return ret;
}

/* Begin writing all of them out before waiting for the first. */
static void start_writing(struct sdbox *st)
{
	if (st->pending.count < 2)
		return;
	for (size_t i = 0; i < st->pending.count; i++) {
		if (st->pending.data[i].fd >= 0)
			(void)sync_file_range(st->pending.data[i].fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
}

static int sync_all(struct sdbox *st, struct cv_err *err)
{
	int dir;

	if (st->args->fsync != CV_FSYNC_NEVER)
		start_writing(st);
	for (size_t i = 0; i < st->pending.count; i++) {
		struct sdbox_pending *pending = &st->pending.data[i];
		/* Each directory once; messages come in runs of one mailbox. */
		bool last_of_dir = i + 1 == st->pending.count || strcmp(pending[1].mailbox, pending->mailbox) != 0;

		if (pending->fd >= 0 && cv_file_sync(pending->fd, false, err) < 0)
			return -1;
		cv_file_close(&pending->fd);
		if (last_of_dir && st->args->fsync != CV_FSYNC_NEVER &&
			(sdbox_dir(st, pending->mailbox, &dir, err) < 0 || cv_file_sync(dir, true, err) < 0))
			return -1;
	}
	return 1;
}

/* What can't be synced is given up with all the rest: it must neither be recorded nor be in the way of what is saved later. */
int sdbox_sync(void *st_p, struct cv_err *err)
{
	struct sdbox *st = st_p;
	int ret = sync_all(st, err);

	sdbox_pending_free(st);
	return ret;
}

int sdbox_recorded(void *st_p, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err)
{
	struct sdbox *st = st_p;
	char from[SDBOX_NAME_MAX], to[SDBOX_NAME_MAX], *path;
	struct cv_err rename_err = { 0 };
	int dir, ret;
	uint32_t uid;

	if (sdbox_path(st, mailbox->name, &path, err) < 0)
		return -1;
	ret = sdbox_dir(st, path, &dir, err);
	cv_free(path);
	for (size_t i = 0; ret > 0 && i < count; i++) {
		if (!sdbox_ref_uid(refs[i], &uid))
			continue;
		sdbox_uid_name(from, ".culver.", uid);
		sdbox_uid_name(to, "u.", uid);
		if (cv_file_rename(dir, from, dir, to, false, &rename_err) < 0 && rename_err.code != CV_ERR_NOTFOUND) {
			*err = rename_err;
			ret = -1;
		}
	}
	return ret;
}

void sdbox_pending_free(struct sdbox *st)
{
	for (size_t i = 0; i < st->pending.count; i++) {
		cv_file_close(&st->pending.data[i].fd);
		cv_free(st->pending.data[i].mailbox);
	}
	st->pending.count = 0;
}

/* The path with its first len octets replaced; own memory. */
static char *moved_path(const char *path, size_t len, const char *to)
{
	struct cv_buf moved;
	char *out;

	cv_buf_init(&moved, SIZE_MAX);
	cv_buf_append_c(&moved, to);
	cv_buf_append_c(&moved, path + len);
	out = cv_strdup(moved.data);
	cv_buf_deinit(&moved);
	return out;
}

void sdbox_pending_moved(struct sdbox *st, const char *from, const char *to)
{
	size_t kept = 0, len = strlen(from);

	for (size_t i = 0; i < st->pending.count; i++) {
		struct sdbox_pending pending = st->pending.data[i];

		if (strncmp(pending.mailbox, from, len) == 0 && (pending.mailbox[len] == '\0' || pending.mailbox[len] == '/')) {
			char *old = pending.mailbox;

			pending.mailbox = to != NULL ? moved_path(old, len, to) : NULL;
			cv_free(old);
		}
		if (pending.mailbox != NULL)
			st->pending.data[kept++] = pending;
		else
			cv_file_close(&pending.fd);
	}
	st->pending.count = kept;
}
