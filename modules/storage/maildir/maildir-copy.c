/* SPDX-License-Identifier: MIT
   maildir: copies that were recorded and are made afterwards. They get their names at once, without a staged one: the journal has them. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Asked for once more, a box may be another one, and the first is gone then. */
static int open_both(struct maildir *st, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, struct maildir_box **from_r,
	struct maildir_box **to_r, struct cv_err *err)
{
	if (maildir_box(st, from, from_r, err) < 0)
		return -1;
	*to_r = *from_r;
	return cv_str_eq(from->name, to->name) ? 1 : maildir_box(st, to, to_r, err);
}

int maildir_copy_later(void *st_p, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *from_box, *to_box;
	struct stat here, there;

	if (!st->set->maildir_copy_with_hardlinks)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "maildir_copy_with_hardlinks is off");
	if (open_both(st, from, to, &from_box, &to_box, err) < 0 || cv_file_fstat(from_box->base, &here, err) < 0 ||
		cv_file_fstat(to_box->base, &there, err) < 0)
		return -1;
	if (here.st_dev != there.st_dev)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "mailboxes are on different file systems");
	for (unsigned i = 0; i < 2; i++) {
		if (faccessat(to_box->dirs[i].fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
			return cv_err_sys(err, errno, "folder can't be written to");
	}
	return 1;
}

int maildir_copy_ref(void *st_p, const struct cv_mailbox_ref *to, const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err)
{
	struct maildir_box *box;
	struct cv_buf name;
	int ret;

	if (maildir_box(st_p, to, &box, err) < 0 || maildir_uid_free(box, meta, err) < 0)
		return -1;
	cv_buf_init(&name, MAILDIR_NAME_MAX * 2);
	ret = maildir_message_name(box, meta, &name, err);
	if (ret > 0) {
		memcpy(ref_r, name.data, name.len);
		*ref_len_r = name.len;
	}
	cv_buf_deinit(&name);
	return ret;
}

/* No other message has the name: what is there was made before. */
static int link_file(void *ctx, int dir, const struct maildir_file *file, struct cv_err *err)
{
	struct cv_err link_err = { 0 };

	if (maildir_link_file(ctx, dir, file, &link_err) > 0 || link_err.code == CV_ERR_EXISTS)
		return 1;
	*err = link_err;
	return -1;
}

static int is_there(void *ctx, int dir, const struct maildir_file *file, struct cv_err *err)
{
	struct stat st;
	int ret = cv_file_stat(dir, file->path, &st, err);

	(void)ctx;
	return ret == 0 ? cv_err_set(err, CV_ERR_NOTFOUND, "no such file") : ret;
}

/* After a crash it may be there under a name with other flags: 1, 0. The folder is listed once for that; what comes after is known. */
static int made_before(struct maildir_box *box, struct cv_str ref, struct cv_err *err)
{
	const struct maildir_entry *entry;
	struct cv_err find_err = { 0 };
	int ret;

	if (!box->looked_for_copies && maildir_list(box, err) < 0)
		return -1;
	box->looked_for_copies = true;
	entry = maildir_index_find(&box->index, cv_str_sub(ref, 0, maildir_base_len(ref)));
	if (entry == NULL || entry->where == MAILDIR_GONE)
		return 0;
	ret = maildir_find(box, ref, is_there, NULL, &find_err);
	if (ret > 0)
		maildir_done_before(box);
	if (ret > 0 || find_err.code == CV_ERR_NOTFOUND)
		return ret > 0;
	*err = find_err;
	return -1;
}

static void note_uid(struct maildir_box *box, const struct cv_storage_copy *copy)
{
	struct maildir_line line;
	char *ext;

	maildir_line_make(&line, &ext, &copy->meta);
	maildir_uidlist_add(box, cv_str_sub(copy->ref, 0, maildir_base_len(copy->ref)), &line);
	cv_free(ext);
}

static int make_one(struct maildir_box *from, struct maildir_box *to, const struct cv_storage_copy *copy, struct cv_err *err)
{
	enum maildir_where where = maildir_place_of(copy->ref);
	struct cv_err link_err = { 0 };
	struct maildir_link target;
	struct cv_buf name;
	struct stat before;
	int ret = 0;

	if (!maildir_file_ok(copy->ref))
		return cv_err_set(err, CV_ERR_INVALID, "reference is no file name");
	if (copy->again && (ret = made_before(to, copy->ref, err)) != 0)
		return ret;
	cv_buf_init(&name, MAILDIR_NAME_MAX);
	cv_buf_append(&name, copy->ref);
	target = (struct maildir_link){ to->dirs[where].fd, name.data };
	maildir_own_begin(to, where, &before);
	ret = maildir_find(from, copy->source, link_file, &target, &link_err);
	maildir_own_end(to, where, &before);
	if (ret > 0) {
		maildir_moved(to, copy->ref, where, false);
		note_uid(to, copy);
	} else if (link_err.code == CV_ERR_NOTFOUND || link_err.code == CV_ERR_INVALID) {
		(void)cv_err_set_public(err, CV_ERR_EXPUNGED, "Message no longer exists");
	} else if (link_err.code == CV_ERR_NOQUOTA) {
		*err = link_err;
	} else {
		(void)cv_err_set(err, CV_ERR_UNSUPPORTED, "%s", link_err.text); /* too many links, or a file system without them */
	}
	cv_buf_deinit(&name);
	return ret;
}

int maildir_copy_make(void *st_p, const struct cv_mailbox_ref *from, const struct cv_mailbox_ref *to, const struct cv_storage_copy *copies, size_t count,
	size_t *done_r, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *from_box, *to_box;
	int ret = 1;

	*done_r = 0;
	if (open_both(st, from, to, &from_box, &to_box, err) < 0)
		return -1;
	for (; ret > 0 && *done_r < count; *done_r += ret > 0) {
		to_box->unsettled[maildir_place_of(copies[*done_r].ref)] = true;
		ret = make_one(from_box, to_box, &copies[*done_r], err);
	}
	maildir_uidlist_flush(to_box);
	return ret;
}
