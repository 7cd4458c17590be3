/* SPDX-License-Identifier: MIT
   sdbox: folders that get another name. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"

#include <fcntl.h>
#include <string.h>

/* path without its last component. */
static void cut_last(char *path)
{
	char *slash = strrchr(path, '/');

	cv_assert(slash != NULL);
	*slash = '\0';
}

/* A folder in the way that has no messages makes room. */
static int make_room(struct sdbox *st, const char *path, struct cv_err *err)
{
	struct cv_err look_err = { 0 };
	bool has;
	int dir, ret;

	if (sdbox_has_messages(st, path, &has, &look_err) < 0) {
		if (look_err.code == CV_ERR_NOTFOUND)
			return 1;
		*err = look_err;
		return -1;
	}
	if (has)
		return cv_err_set(err, CV_ERR_EXISTS, "mailbox folder %s is there and has messages", path);
	if (cv_file_open(st->mailboxes, path, O_RDONLY | O_DIRECTORY, 0, &dir, err) < 0)
		return -1;
	ret = cv_file_unlink(dir, SDBOX_OWNER, err) < 0 ? -1 : 1;
	cv_file_close(&dir);
	return ret;
}

/* The folder at the new place says that it is this mailbox's, and that at the old one nothing: it came there later, for a mailbox whose making a crash has cut
   short. */
static int was_moved(const struct sdbox *st, const char *from, const char *to, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	static const uint8_t none[sizeof(mailbox->guid)];
	struct cv_mailbox_ref there;
	int ret = memcmp(mailbox->guid, none, sizeof(none)) != 0 ? sdbox_owner_read(st, from, &there, err) : 1;

	if (ret != 0)
		return ret < 0 ? -1 : 0;
	ret = sdbox_owner_read(st, to, &there, err);
	return ret > 0 ? memcmp(there.guid, mailbox->guid, sizeof(none)) == 0 : ret;
}

int sdbox_mailbox_rename(void *st_p, const struct cv_mailbox_ref *mailbox, struct cv_str new_name, struct cv_err *err)
{
	struct sdbox *st = st_p;
	char *from = NULL, *to = NULL, *to_parent;
	struct stat stat;
	int ret = -1;

	if (sdbox_path(st, mailbox->name, &from, err) > 0 && sdbox_path(st, new_name, &to, err) > 0) {
		sdbox_dirs_close(st);
		ret = cv_file_stat(st->mailboxes, from, &stat, err);
		if (ret > 0 && (ret = was_moved(st, from, to, mailbox, err)) >= 0)
			ret = !ret;
		if (ret == 0) /* what has moved it before is not undone by a power cut */
			ret = sdbox_sync_path(st, to, err) < 0 || sdbox_sync_path(st, from, err) < 0 ? -1 :
				cv_err_set(err, CV_ERR_NOTFOUND, "mailbox folder %s is not there", from);
	}
	if (ret > 0)
		ret = sdbox_owner_check(st, from, mailbox, err);
	if (ret > 0)
		ret = make_room(st, to, err);
	if (ret > 0) {
		to_parent = cv_strdup(to);
		cut_last(to_parent);
		ret = cv_file_mkdirs(st->mailboxes, to_parent, st->args->dir_mode, err);
		/* Before the messages move there: their new name must not be durable in a directory that is not, though it was there: its sync may have failed before. */
		if (ret >= 0 && sdbox_sync_path(st, to, err) < 0)
			ret = -1;
		cv_free(to_parent);
	}
	/* An empty folder in the way is replaced; one with messages makes it fail. */
	if (ret >= 0)
		ret = cv_file_rename(st->mailboxes, from, st->mailboxes, to, true, err);
	if (ret > 0)
		sdbox_pending_moved(st, from, to);
	if (ret > 0)
		ret = sdbox_sync_path(st, to, err);
	if (ret > 0)
		ret = sdbox_sync_path(st, from, err);
	if (ret > 0) {
		cut_last(from);
		ret = sdbox_remove_empty(st, from, err);
	}
	cv_free(from);
	cv_free(to);
	return ret < 0 ? -1 : 0;
}

/* ---- a name and all below it ------------------------------------------------------------------------------------------ */

/* The folders at the old names are those of the mailboxes, and their new names can be. 1, 0 not all of them. */
static int all_may_move(struct sdbox *st, const struct cv_mailbox_ref *mailboxes, size_t count, struct cv_str from, struct cv_str to, struct cv_err *err)
{
	struct cv_buf new_name;
	int ret = 1;

	cv_buf_init(&new_name, SIZE_MAX);
	for (size_t i = 0; ret > 0 && i < count; i++) {
		struct cv_err name_err = { 0 }, owner_err = { 0 };
		char *path;

		cv_buf_clear(&new_name);
		cv_buf_append(&new_name, to);
		cv_buf_append(&new_name, cv_str_sub(mailboxes[i].name, from.len, SIZE_MAX));
		if (sdbox_name_check(st, cv_buf_str(&new_name), &name_err) < 0 || sdbox_path(st, mailboxes[i].name, &path, &name_err) < 0) {
			ret = 0;
			break;
		}
		ret = sdbox_owner_check(st, path, &mailboxes[i], &owner_err);
		if (ret < 0 && owner_err.code == CV_ERR_NOTFOUND)
			ret = 0;
		else if (ret < 0)
			*err = owner_err;
		cv_free(path);
	}
	cv_buf_deinit(&new_name);
	return ret;
}

/* The directory that path is to be in is there, and its own name is durable before anything moves there. */
static int make_parent(struct sdbox *st, const char *path, struct cv_err *err)
{
	char *parent;
	int ret;

	if (strchr(path, '/') == NULL)
		return sdbox_sync_root_once(st, err);
	parent = cv_strdup(path);
	cut_last(parent);
	ret = cv_file_mkdirs(st->mailboxes, parent, st->args->dir_mode, err) < 0 ? -1 : sdbox_sync_path(st, parent, err);
	cv_free(parent);
	return ret;
}

static bool same_parent(const char *a, const char *b)
{
	const char *a_end = strrchr(a, '/'), *b_end = strrchr(b, '/');

	if (a_end == NULL || b_end == NULL)
		return a_end == b_end;
	return a_end - a == b_end - b && strncmp(a, b, (size_t)(a_end - a)) == 0;
}

static int sync_both(struct sdbox *st, const char *from, const char *to, struct cv_err *err)
{
	if (sdbox_sync_path(st, to, err) < 0)
		return -1;
	return same_parent(from, to) ? 1 : sdbox_sync_path(st, from, err);
}

/* 1, 0 something is in the way. */
static int move_tree(struct sdbox *st, const char *from, const char *to, struct cv_err *err)
{
	struct cv_err rename_err = { 0 };

	if (make_parent(st, to, err) < 0)
		return -1;
	if (cv_file_rename(st->mailboxes, from, st->mailboxes, to, false, &rename_err) < 0) {
		if (rename_err.code == CV_ERR_EXISTS)
			return 0;
		*err = rename_err;
		return -1;
	}
	return 1;
}

int sdbox_mailbox_rename_tree(void *st_p, const struct cv_mailbox_ref *mailboxes, size_t count, struct cv_str from_name, struct cv_str to_name,
	struct cv_err *err)
{
	struct sdbox *st = st_p;
	char *from = NULL, *to = NULL;
	struct stat stat;
	int ret = -1;

	if (sdbox_path(st, from_name, &from, err) < 0 || sdbox_path(st, to_name, &to, err) < 0)
		goto out;
	cut_last(from);
	cut_last(to);
	sdbox_dirs_close(st);
	ret = cv_file_stat(st->mailboxes, from, &stat, err);
	if (ret == 0) { /* what has moved it before is not undone by a power cut */
		ret = sync_both(st, from, to, err);
		goto out;
	}
	if (ret > 0)
		ret = all_may_move(st, mailboxes, count, from_name, to_name, err);
	if (ret > 0)
		ret = move_tree(st, from, to, err);
	if (ret > 0) {
		sdbox_pending_moved(st, from, to);
		ret = sync_both(st, from, to, err);
	}
	if (ret > 0 && strchr(from, '/') != NULL) {
		cut_last(from);
		ret = sdbox_remove_empty(st, from, err);
	}
out:
	cv_free(from);
	cv_free(to);
	return ret;
}
