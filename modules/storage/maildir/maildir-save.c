/* SPDX-License-Identifier: MIT
   maildir: saving and copying messages. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define PENDING_FILES_MAX 200 /* descriptors that are kept until sync; beyond them each file is synced at once */

struct maildir_save {
	struct maildir *st;
	char *path;          /* of the mailbox, owned */
	char *tmp;           /* name in tmp/, owned */
	struct cv_file_writer out;
};

int maildir_save_begin(void *st_p, const struct cv_mailbox_ref *mailbox, uint64_t size_hint, void **save_r, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *box;
	struct maildir_save *save;
	struct cv_buf name;
	int fd, ret;

	(void)size_hint;
	if (maildir_box(st, mailbox, &box, err) < 0)
		return -1;
	cv_buf_init(&name, MAILDIR_NAME_MAX);
	cv_buf_append_c(&name, MAILDIR_TMP);
	maildir_unique(st, &name);
	ret = cv_file_open(box->tmp, name.data, O_RDWR | O_CREAT | O_EXCL, st->args->file_mode, &fd, err);
	if (ret > 0) {
		save = cv_new0(struct maildir_save);
		save->st = st;
		save->path = cv_strdup(box->path);
		save->tmp = cv_strdup(name.data);
		cv_file_writer_init(&save->out, fd);
		*save_r = save;
	}
	cv_buf_deinit(&name);
	return ret;
}

int maildir_save_write(void *save_p, struct cv_str data, struct cv_err *err)
{
	struct maildir_save *save = save_p;

	return cv_file_writer_put(&save->out, data, err);
}

int maildir_save_read(void *save_p, struct cv_storage_blob *blob_r, struct cv_err *err)
{
	struct maildir_save *save = save_p;
	int ret;

	*blob_r = (struct cv_storage_blob){ 0 };
	ret = cv_file_writer_read(&save->out, &blob_r->fd, err);
	blob_r->len = save->out.written;
	return ret;
}

static void free_save(struct maildir_save *save)
{
	cv_file_writer_deinit(&save->out);
	cv_free(save->path);
	cv_free(save->tmp);
	cv_free(save);
}

static void remove_tmp(struct maildir *st, const char *path, const char *tmp)
{
	struct cv_err ignored = { 0 };
	struct maildir_box *box;

	/* What cannot be removed now is swept later. */
	if (maildir_box_at(st, path, &box, &ignored) > 0)
		(void)!cv_file_unlink(box->tmp, tmp, &ignored);
}

void maildir_save_abort(void *save_p)
{
	struct maildir_save *save = save_p;

	remove_tmp(save->st, save->path, save->tmp);
	free_save(save);
}

/* ---- messages on their way ------------------------------------------------------------------------------------------ */

void maildir_pending_free(struct maildir *st, struct maildir_pending *pending)
{
	if (pending->node.next != NULL) {
		cv_list_remove(&pending->node);
		st->unsynced_count--;
	}
	(void)cv_map_remove(st->pending, cv_str_mem(pending->name, pending->base_len));
	cv_file_close(&pending->fd);
	cv_free(pending->path);
	cv_free(pending->name);
	cv_free(pending->tmp);
	cv_free(pending->ext);
	cv_free(pending);
}

void maildir_pending_moved(struct maildir *st, const char *from, const char *to)
{
	size_t pos = 0;
	struct cv_str key;
	void *value;

	while (cv_map_next(st->pending, &pos, &key, &value)) {
		struct maildir_pending *pending = value;

		if (strcmp(pending->path, from) != 0)
			continue;
		if (to != NULL) {
			cv_free(pending->path);
			pending->path = cv_strdup(to);
		} else {
			maildir_pending_free(st, pending);
		}
	}
}

static void add_pending(struct maildir *st, const struct maildir_box *box, struct cv_str name, char *tmp, int fd, const struct cv_storage_meta *meta)
{
	struct maildir_pending *pending = cv_new0(struct maildir_pending);

	pending->path = cv_strdup(box->path);
	pending->name = cv_calloc(1, name.len + 1);
	memcpy(pending->name, name.ptr, name.len);
	pending->base_len = maildir_base_len(name);
	pending->tmp = tmp;
	pending->fd = fd;
	maildir_line_make(&pending->line, &pending->ext, meta);
	cv_map_set(st->pending, cv_str_mem(pending->name, pending->base_len), pending);
	cv_list_append(&st->unsynced, &pending->node);
	st->unsynced_count++;
}

int maildir_message_name(struct maildir_box *box, const struct cv_storage_meta *meta, struct cv_buf *name, struct cv_err *err)
{
	struct maildir_info info = { .flags = meta->flags };
	struct cv_buf base;

	if (maildir_keywords_letters(box, meta->keywords, &info, err) < 0)
		return -1;
	cv_buf_init(&base, MAILDIR_NAME_MAX);
	maildir_unique(box->st, &base);
	cv_buf_printf(&base, ",S=%llu,W=%llu", (unsigned long long)meta->size, (unsigned long long)meta->virtual_size);
	(void)maildir_name_make(name, cv_buf_str(&base), &info, true);
	cv_buf_deinit(&base);
	return 1;
}

enum maildir_where maildir_place_of(struct cv_str name)
{
	return cv_str_find(name, ':') != SIZE_MAX ? MAILDIR_CUR : MAILDIR_NEW;
}

static enum maildir_where place_of(const char *name)
{
	return maildir_place_of(cv_str_c(name));
}

static void staged_name(struct cv_buf *out, const char *name)
{
	cv_buf_append_c(out, MAILDIR_STAGED);
	cv_buf_append_c(out, name);
}

static void set_ref(const struct cv_buf *name, char *ref_r, size_t *ref_len_r)
{
	memcpy(ref_r, name->data, name->len);
	*ref_len_r = name->len;
}

static int set_date(int fd, int64_t date, struct cv_err *err)
{
	const struct timespec times[] = { { .tv_nsec = UTIME_NOW }, { .tv_sec = (time_t)date } };

	return futimens(fd, times) == 0 ? 1 : cv_err_sys(err, errno, "time of a message file can't be set");
}

int maildir_uid_free(struct maildir_box *box, const struct cv_storage_meta *meta, struct cv_err *err)
{
	if (!maildir_uidlist_taken(box, meta->uid))
		return 1;
	return cv_err_set(err, CV_ERR_EXISTS, "UID %u was given by another program", meta->uid);
}

int maildir_save_finish(void *save_p, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err)
{
	struct maildir_save *save = save_p;
	struct maildir *st = save->st;
	struct maildir_box *box;
	struct cv_buf name;
	int ret = maildir_box_at(st, save->path, &box, err);

	if (ret > 0 && maildir_uid_free(box, meta, err) < 0)
		return -1;
	cv_buf_init(&name, MAILDIR_NAME_MAX * 2);
	if (ret > 0)
		ret = cv_file_writer_flush(&save->out, err);
	if (ret > 0)
		ret = maildir_message_name(box, meta, &name, err);
	if (ret > 0)
		ret = set_date(save->out.fd, meta->internal_date, err);
	if (ret > 0 && st->unsynced_count >= PENDING_FILES_MAX && st->args->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(save->out.fd, false, err);
	if (ret > 0) {
		if (st->args->fsync == CV_FSYNC_NEVER || st->unsynced_count >= PENDING_FILES_MAX)
			cv_file_close(&save->out.fd);
		add_pending(st, box, cv_buf_str(&name), save->tmp, save->out.fd, meta);
		save->tmp = NULL; /* pending's now, as is the descriptor */
		save->out.fd = -1;
		set_ref(&name, ref_r, ref_len_r);
		free_save(save);
	} else {
		maildir_save_abort(save);
	}
	cv_buf_deinit(&name);
	return ret;
}

/* ---- copying -------------------------------------------------------------------------------------------------------- */

int maildir_link_file(void *ctx, int dir, const struct maildir_file *file, struct cv_err *err)
{
	const struct maildir_link *to = ctx;
	struct stat st;
	int ret = cv_file_stat(dir, file->path, &st, err);

	if (ret == 0)
		return cv_err_set(err, CV_ERR_NOTFOUND, "no such file");
	if (ret > 0 && !S_ISREG(st.st_mode))
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "message file is no plain file");
	return ret < 0 ? -1 : cv_file_link(dir, file->path, to->dir, to->name, err);
}

/* One that is not synced yet lies in tmp/ still. */
static int link_pending(struct maildir_box *from, struct cv_str ref, struct maildir_link *to, struct cv_err *err)
{
	const struct maildir_pending *pending = cv_map_get(from->st->pending, cv_str_sub(ref, 0, maildir_base_len(ref)));

	if (pending == NULL || pending->tmp == NULL)
		return 0;
	return cv_file_link(from->tmp, pending->tmp, to->dir, to->name, err);
}

int maildir_copy(void *st_p, const struct cv_mailbox_ref *from, struct cv_str ref, const struct cv_mailbox_ref *to,
	const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *from_box, *to_box;
	struct cv_err link_err = { 0 };
	struct cv_buf name, staged;
	struct maildir_link target;
	int ret;

	if (!st->set->maildir_copy_with_hardlinks)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "maildir_copy_with_hardlinks is off");
	if (maildir_box(st, from, &from_box, err) < 0)
		return -1;
	/* Asked for once more, a box may be another one, and the first is gone then. */
	if (cv_str_eq(from->name, to->name))
		to_box = from_box;
	else if (maildir_box(st, to, &to_box, err) < 0)
		return -1;
	if (maildir_uid_free(to_box, meta, err) < 0)
		return -1;
	cv_buf_init(&name, MAILDIR_NAME_MAX * 2);
	cv_buf_init(&staged, MAILDIR_NAME_MAX * 2);
	ret = maildir_message_name(to_box, meta, &name, err);
	if (ret > 0) {
		staged_name(&staged, name.data);
		target = (struct maildir_link){ to_box->dirs[place_of(name.data)].fd, staged.data };
		ret = link_pending(from_box, ref, &target, &link_err);
		if (ret == 0)
			ret = maildir_find(from_box, ref, maildir_link_file, &target, &link_err);
		if (ret > 0) {
			add_pending(st, to_box, cv_buf_str(&name), NULL, -1, meta);
			set_ref(&name, ref_r, ref_len_r);
		} else if (link_err.code == CV_ERR_NOTFOUND) {
			(void)cv_err_set_public(err, CV_ERR_EXPUNGED, "Message no longer exists");
		} else {
			/* Too many links, another file system, or one without links. */
			(void)cv_err_set(err, CV_ERR_UNSUPPORTED, "%s", link_err.text);
		}
	}
	cv_buf_deinit(&name);
	cv_buf_deinit(&staged);
	return ret;
}

/* ---- sync and recorded ---------------------------------------------------------------------------------------------- */

/* Begin writing all of them out before waiting for the first. */
static void start_writing(struct maildir *st)
{
	struct cv_node *node, *tmp;

	if (st->unsynced_count < 2)
		return;
	cv_list_foreach(&st->unsynced, node, tmp) {
		const struct maildir_pending *pending = cv_container(node, struct maildir_pending, node);

		if (pending->fd >= 0)
			(void)sync_file_range(pending->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
}

/* From tmp/ to its place, under a name that does not exist for others. */
static int stage(struct maildir_box *box, struct maildir_pending *pending, struct cv_err *err)
{
	enum maildir_where where = place_of(pending->name);
	struct cv_buf staged;
	struct stat before;
	int ret = 1;

	if (pending->fd >= 0)
		ret = cv_file_sync(pending->fd, false, err);
	cv_file_close(&pending->fd);
	if (ret < 0 || pending->tmp == NULL)
		return ret;
	cv_buf_init(&staged, MAILDIR_NAME_MAX * 2);
	staged_name(&staged, pending->name);
	maildir_own_begin(box, where, &before);
	ret = maildir_move(box->tmp, pending->tmp, box->dirs[where].fd, staged.data, err);
	maildir_own_end(box, where, &before);
	cv_buf_deinit(&staged);
	if (ret > 0) {
		cv_free(pending->tmp);
		pending->tmp = NULL;
	}
	return ret;
}

/* All of one mailbox, then its directories. */
static int sync_mailbox(struct maildir *st, const char *path, struct cv_err *err)
{
	struct cv_node *node, *tmp;
	struct maildir_box *box;
	bool used[2] = { false, false };

	if (maildir_box_at(st, path, &box, err) < 0)
		return -1;
	cv_list_foreach(&st->unsynced, node, tmp) {
		struct maildir_pending *pending = cv_container(node, struct maildir_pending, node);

		if (strcmp(pending->path, path) != 0)
			continue;
		if (stage(box, pending, err) < 0)
			return -1;
		used[place_of(pending->name)] = true;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (used[i] && maildir_sync_dir(st, box->dirs[i].fd, err) < 0)
			return -1;
		box->synced[i] = box->synced[i] || used[i];
	}
	cv_list_foreach(&st->unsynced, node, tmp) {
		if (strcmp(cv_container(node, struct maildir_pending, node)->path, path) == 0) {
			cv_list_remove(node);
			st->unsynced_count--;
		}
	}
	return 1;
}

/* They will not be recorded: away with them. */
static void give_up(struct maildir *st)
{
	struct cv_err ignored = { 0 };

	while (!cv_list_empty(&st->unsynced)) {
		struct maildir_pending *pending = cv_container(st->unsynced.next, struct maildir_pending, node);
		struct maildir_box *box;
		struct cv_buf staged;

		cv_buf_init(&staged, MAILDIR_NAME_MAX * 2);
		staged_name(&staged, pending->name);
		if (pending->tmp != NULL)
			remove_tmp(st, pending->path, pending->tmp);
		else if (maildir_box_at(st, pending->path, &box, &ignored) > 0)
			(void)!cv_file_unlink(box->dirs[place_of(pending->name)].fd, staged.data, &ignored);
		cv_buf_deinit(&staged);
		maildir_pending_free(st, pending);
	}
}

int maildir_sync(void *st_p, struct cv_err *err)
{
	struct maildir *st = st_p;

	if (st->args->fsync != CV_FSYNC_NEVER)
		start_writing(st);
	while (!cv_list_empty(&st->unsynced)) {
		char *path = cv_strdup(cv_container(st->unsynced.next, struct maildir_pending, node)->path);
		int ret = sync_mailbox(st, path, err);

		cv_free(path);
		if (ret < 0) {
			give_up(st);
			return -1;
		}
	}
	return 1;
}

static int publish(struct maildir_box *box, struct cv_str ref, struct cv_err *err)
{
	struct cv_err move_err = { 0 };
	struct cv_buf name, staged;
	enum maildir_where where;
	struct stat before;
	int ret;

	cv_buf_init(&name, MAILDIR_NAME_MAX);
	cv_buf_init(&staged, MAILDIR_NAME_MAX * 2);
	cv_buf_append(&name, ref);
	staged_name(&staged, name.data);
	where = place_of(name.data);
	maildir_own_begin(box, where, &before);
	ret = maildir_move(box->dirs[where].fd, staged.data, box->dirs[where].fd, name.data, &move_err);
	maildir_own_end(box, where, &before);
	if (ret > 0)
		maildir_moved(box, ref, where, false);
	else if (move_err.code == CV_ERR_NOTFOUND)
		ret = 1; /* it has its name, or another program was quick */
	else
		*err = move_err;
	cv_buf_deinit(&name);
	cv_buf_deinit(&staged);
	return ret;
}

int maildir_recorded(void *st_p, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *box;
	int ret = 1;

	if (maildir_box(st, mailbox, &box, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct cv_str base = cv_str_sub(refs[i], 0, maildir_base_len(refs[i]));
		struct maildir_pending *pending = cv_map_get(st->pending, base);

		if (!maildir_file_ok(refs[i]))
			continue;
		if (publish(box, refs[i], err) < 0)
			ret = -1;
		if (pending != NULL) {
			maildir_uidlist_add(box, base, &pending->line);
			maildir_pending_free(st, pending);
		}
	}
	maildir_uidlist_flush(box);
	return ret;
}
