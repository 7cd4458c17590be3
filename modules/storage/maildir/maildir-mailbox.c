/* SPDX-License-Identifier: MIT
   maildir: folders. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>
#include <culver/time.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define FOLDER_FILE "maildirfolder"
#define DEPTH_MAX 100
#define UNFINISHED_SEC 60

/* What belongs to a mailbox when its directory holds other mailboxes too (LAYOUT=fs). */
static const char *const own_names[] = { "cur", "new", "tmp", FOLDER_FILE, MAILDIR_KEYWORDS, MAILDIR_UIDLIST, MAILDIR_MAKING };

/* path without its last component, or "." */
static char *parent_of(const char *path)
{
	char *parent = cv_strdup(path), *slash = strrchr(parent, '/');

	if (slash != NULL) {
		*slash = '\0';
		return parent;
	}
	cv_free(parent);
	return cv_strdup(".");
}

static int sync_at(const struct maildir *st, int root, const char *path, struct cv_err *err)
{
	int fd, ret = cv_file_open(root, path, O_RDONLY | O_DIRECTORY, 0, &fd, err);

	if (ret > 0)
		ret = maildir_sync_dir(st, fd, err);
	cv_file_close(&fd);
	return ret;
}

/* Each directory on the way to path. One that is not there has nothing to be synced: the one above it says so. */
static int sync_parents_below(const struct maildir *st, int root, const char *path, struct cv_err *err)
{
	char *at = cv_strdup(path);
	int ret = 1;

	while (ret > 0 && strcmp(at, ".") != 0) {
		struct cv_err sync_err = { 0 };
		char *up = parent_of(at);

		cv_free(at);
		at = up;
		if (sync_at(st, root, at, &sync_err) < 0 && sync_err.code != CV_ERR_NOTFOUND) {
			*err = sync_err;
			ret = -1;
		}
	}
	cv_free(at);
	return ret;
}

static int sync_parents(const struct maildir *st, const char *path, struct cv_err *err)
{
	return sync_parents_below(st, st->root, path, err);
}

static int is_there(int dir, const char *name, struct cv_err *err)
{
	struct stat st;

	return cv_file_stat(dir, name, &st, err);
}

/* 1 it has a mailbox, 0 it has none. */
static int has_mailbox(int root, const char *path, struct cv_err *err)
{
	struct stat st;
	int dir, ret = cv_file_stat(root, path, &st, err);

	if (ret <= 0 || !S_ISDIR(st.st_mode)) /* a link, or no directory */
		return ret < 0 ? -1 : 0;
	/* What cannot be told now must not count as "not there": it would be taken for moved or removed. */
	if (cv_file_open(root, path, O_RDONLY | O_DIRECTORY, 0, &dir, err) < 0)
		return -1;
	ret = 0;
	for (size_t i = 0; ret == 0 && i < 4; i++) /* cur, new, tmp, maildirfolder */
		ret = is_there(dir, own_names[i], err);
	cv_file_close(&dir);
	return ret;
}

/* An empty file. */
static int make_file(const struct maildir *st, int dir, const char *name, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	int fd;

	if (cv_file_open(dir, name, O_WRONLY | O_CREAT | O_EXCL, st->args->file_mode, &fd, &open_err) > 0) {
		cv_file_close(&fd);
		return 1;
	}
	if (open_err.code == CV_ERR_EXISTS)
		return 1;
	*err = open_err;
	return -1;
}

/* Directories that only led to the mailbox go; one that holds something ends it. */
static int remove_empty(struct maildir *st, const char *path, struct cv_err *err)
{
	char *at = cv_strdup(path);
	int ret = 1;

	while (ret > 0 && strcmp(at, ".") != 0) {
		char *up;

		ret = cv_file_rmdir(st->root, at, err);
		up = parent_of(at);
		cv_free(at);
		at = up;
	}
	cv_free(at);
	return ret < 0 ? -1 : 1;
}

/* Directories that were made in vain, as far as they got. They are no folders, wherever they stay. */
static void remove_vain(struct maildir *st, const char *path)
{
	char *at = cv_strdup(path);

	while (strcmp(at, ".") != 0) {
		struct cv_err ignored = { 0 };
		char *up = parent_of(at);

		(void)!remove_empty(st, at, &ignored);
		cv_free(at);
		at = up;
	}
	cv_free(at);
}

/* tmp/, new/ and cur/, whose names are synced with the folder. */
static int make_subs(const struct maildir *st, int dir, struct cv_err *err)
{
	for (size_t i = 0; i < 3; i++) {
		if (cv_file_mkdir(dir, own_names[i], st->args->dir_mode, err) < 0)
			return -1;
	}
	return 1;
}

/* A directory that will be a folder of ours. It says so, and on disk, before anything in it makes it look like one, and until its mailbox is recorded
   (maildir_mailbox_keep): after a crash it is known for what it is. */
static int make_folder(struct maildir *st, const char *path, struct cv_err *err)
{
	int dir = -1, ret = cv_file_mkdirs(st->root, path, st->args->dir_mode, err);

	if (ret >= 0)
		ret = cv_file_open(st->root, path, O_RDONLY | O_DIRECTORY, 0, &dir, err);
	if (ret > 0)
		ret = make_file(st, dir, MAILDIR_MAKING, err);
	if (ret < 0)
		remove_vain(st, path);
	if (ret > 0)
		ret = maildir_sync_dir(st, dir, err);
	if (ret > 0 && !st->fs)
		ret = make_file(st, dir, FOLDER_FILE, err);
	if (ret > 0)
		ret = make_subs(st, dir, err);
	cv_file_close(&dir);
	return ret;
}

int maildir_mailbox_create(void *st_p, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *box;
	int ret, there, top;
	bool inbox;
	char *path;

	if (maildir_path(st, mailbox->name, &path, err) < 0)
		return -1;
	inbox = strcmp(path, ".") == 0;
	top = inbox && st->inbox >= 0 ? st->inbox : st->root;
	there = has_mailbox(top, path, err);
	ret = there;
	if (there == 0 && !inbox)
		ret = make_folder(st, path, err);
	if (ret >= 0)
		ret = maildir_box(st, mailbox, &box, err); /* of a folder that was there it makes what is missing */
	if (ret > 0)
		ret = maildir_uidlist_create(box, err);
	if (ret > 0)
		ret = maildir_sync_dir(st, box->base, err);
	if (ret > 0 && !inbox) /* also one that was there: who made it may have failed to sync it */
		ret = sync_parents(st, path, err);
	cv_free(path);
	return ret < 0 ? -1 : there;
}

/* Move what belongs to the mailbox from one directory into another. What is there already was moved before: then an empty directory that has come to the old
   place since just goes. */
static int move_own(int from, int to, struct cv_err *err)
{
	for (size_t i = 0; i < CV_COUNT_OF(own_names); i++) {
		struct cv_err move_err = { 0 };

		if (cv_file_rename(from, own_names[i], to, own_names[i], true, &move_err) >= 0 || move_err.code == CV_ERR_NOTFOUND)
			continue;
		if (i >= 3 || cv_file_rmdir(from, own_names[i], err) < 0 || is_there(from, own_names[i], err) != 0) {
			*err = move_err;
			return -1;
		}
	}
	return 1;
}

/* Does the directory of a mailbox hold nothing but that mailbox? */
static bool is_alone(const struct maildir *st)
{
	return !st->fs || *st->dirname != '\0';
}

/* The mailbox's directory to another place, as a whole or what is its own. Nothing is replaced. list_moved: a UID list at the old place is not the mailbox's. */
static int move_mailbox(struct maildir *st, const char *from, const char *to, bool list_moved, struct cv_err *err)
{
	int from_fd, to_fd = -1, ret;

	if (is_alone(st))
		return cv_file_rename(st->root, from, st->root, to, false, err);
	if (cv_file_open(st->root, from, O_RDONLY | O_DIRECTORY, 0, &from_fd, err) < 0)
		return -1;
	ret = cv_file_mkdirs(st->root, to, st->args->dir_mode, err);
	if (ret >= 0)
		ret = cv_file_open(st->root, to, O_RDONLY | O_DIRECTORY, 0, &to_fd, err);
	if (ret > 0) /* before anything moves there */
		ret = sync_parents(st, to, err);
	if (ret > 0 && list_moved)
		ret = cv_file_unlink(from_fd, MAILDIR_UIDLIST, err) < 0 ? -1 : 1;
	if (ret > 0)
		ret = move_own(from_fd, to_fd, err);
	if (ret > 0)
		ret = maildir_sync_dir(st, to_fd, err);
	if (ret > 0)
		ret = maildir_sync_dir(st, from_fd, err);
	cv_file_close(&from_fd);
	cv_file_close(&to_fd);
	return ret;
}

/* The dovecot- files from one directory below CONTROL= into another, durably: the UID list last, since it says whose they are. */
static int move_control_files(struct maildir *st, int root, int from, const char *to, struct cv_err *err)
{
	int to_dir = -1, ret = cv_file_mkdirs(root, to, st->args->dir_mode, err);

	if (ret >= 0)
		ret = cv_file_open(root, to, O_RDONLY | O_DIRECTORY, 0, &to_dir, err);
	if (ret > 0)
		ret = move_own(from, to_dir, err);
	if (ret > 0)
		ret = maildir_sync_dir(st, to_dir, err);
	if (ret > 0)
		ret = maildir_sync_dir(st, from, err);
	if (ret > 0)
		ret = sync_parents_below(st, root, to, err);
	cv_file_close(&to_dir);
	return ret;
}

/* Those of a mailbox whose folder has moved. to NULL: remove them. */
static int move_control(struct maildir *st, const char *from, const char *to, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	int root = -1, dir = -1, ret;

	if (!st->own_control)
		return 1;
	ret = cv_file_root(st->args->control_root, &root, &open_err);
	if (ret > 0)
		ret = cv_file_open(root, from, O_RDONLY | O_DIRECTORY, 0, &dir, &open_err);
	if (ret < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			ret = 1; /* it has none, or they were moved before */
		else
			*err = open_err;
	} else if (to != NULL) {
		ret = move_control_files(st, root, dir, to, err);
	} else if (cv_file_unlink(dir, MAILDIR_UIDLIST, err) < 0 || cv_file_unlink(dir, MAILDIR_KEYWORDS, err) < 0) {
		ret = -1;
	}
	if (ret > 0 && dir >= 0 && cv_file_rmdir(root, from, err) < 0)
		ret = -1;
	cv_file_close(&dir);
	cv_file_close(&root);
	return ret;
}

/* A folder whose mailbox was never recorded goes. 1: there are messages in it, by another program, so it stays. */
static int unmake(struct maildir *st, const char *path, int dir, struct cv_err *err)
{
	static const char *const files[] = { FOLDER_FILE, MAILDIR_UIDLIST, MAILDIR_UIDLIST ".lock", MAILDIR_KEYWORDS };
	int ret = 0;

	maildir_box_drop(st, path);
	for (size_t i = 0; ret == 0 && i < 3; i++) { /* cur, new, tmp */
		if (cv_file_rmdir(dir, own_names[i], err) < 0)
			return -1;
		ret = is_there(dir, own_names[i], err);
	}
	for (size_t i = 0; ret == 0 && i < CV_COUNT_OF(files); i++)
		ret = cv_file_unlink(dir, files[i], err) < 0 ? -1 : 0;
	if (ret == 0)
		ret = move_control(st, path, NULL, err) < 0 ? -1 : 0;
	/* Last: whatever of it is left after a crash says that it is to go. */
	if (ret >= 0 && maildir_sync_dir(st, dir, err) < 0)
		ret = -1;
	if (ret >= 0 && cv_file_unlink(dir, MAILDIR_MAKING, err) < 0)
		ret = -1;
	return ret != 0 ? ret : remove_empty(st, path, err) < 0 ? -1 : 0;
}

int maildir_mailbox_keep(void *st_p, const struct cv_mailbox_ref *mailbox, bool keep, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct cv_err open_err = { 0 };
	char *path;
	int dir, ret;

	if (maildir_path(st, mailbox->name, &path, err) < 0)
		return -1;
	if (strcmp(path, ".") == 0 || cv_file_open(st->root, path, O_RDONLY | O_DIRECTORY, 0, &dir, &open_err) < 0) {
		cv_free(path);
		if (open_err.code == CV_ERR_NONE)
			return 1; /* INBOX */
		*err = open_err;
		return open_err.code == CV_ERR_NOTFOUND ? 0 : -1;
	}
	if (keep)
		ret = cv_file_unlink(dir, MAILDIR_MAKING, err) < 0 ? -1 : 1;
	else if ((ret = is_there(dir, MAILDIR_MAKING, err)) > 0)
		ret = unmake(st, path, dir, err);
	else if (ret == 0)
		ret = 1;
	cv_file_close(&dir);
	cv_free(path);
	return ret;
}

/* UIDVALIDITY and GUID as the UID list has them. A list that makes no sense says nothing; -1: what it says can't be told now. */
static int take_header(struct maildir *st, const char *path, struct cv_mailbox_ref *ref, struct cv_err *err)
{
	struct cv_err read_err = { 0 };
	struct maildir_uidlist list;
	int root = -1, dir = -1, ret = 1, top = strcmp(path, ".") == 0 && st->inbox >= 0 ? st->inbox : st->root;

	if (st->own_control) {
		ret = cv_file_root(st->args->control_root, &root, &read_err);
		top = root;
	}
	if (ret > 0)
		ret = cv_file_open(top, path, O_RDONLY | O_DIRECTORY, 0, &dir, &read_err);
	if (ret > 0 && (ret = maildir_uidlist_header(dir, &list, &read_err)) > 0) {
		ref->uidvalidity = list.uidvalidity;
		ref->uidnext = list.next_uid;
		memcpy(ref->guid, list.guid, sizeof(ref->guid));
	}
	cv_file_close(&dir);
	cv_file_close(&root);
	if (ret >= 0 || read_err.code == CV_ERR_NOTFOUND || read_err.code == CV_ERR_CORRUPT)
		return 1;
	*err = read_err;
	return -1;
}

static const uint8_t no_guid[16];

/* The folder is that of this mailbox, not of another one that got the name later or had it before: what is done again after a crash must not touch
   those. One whose UID list names no mailbox is anyone's: *named_r is false. */
static int is_of(struct maildir *st, const char *path, const struct cv_mailbox_ref *mailbox, bool *named_r, struct cv_err *err)
{
	struct cv_mailbox_ref there = { .uidvalidity = 0 };

	*named_r = false;
	if (memcmp(mailbox->guid, no_guid, sizeof(no_guid)) == 0)
		return 1;
	if (take_header(st, path, &there, err) < 0)
		return -1;
	*named_r = memcmp(there.guid, mailbox->guid, sizeof(no_guid)) == 0;
	if (*named_r || memcmp(there.guid, no_guid, sizeof(no_guid)) == 0)
		return 1;
	return cv_err_set(err, CV_ERR_NOTFOUND, "mailbox folder %s is another mailbox's", path);
}

/* It is not there: what has moved or removed it before is not undone by a power cut. */
static int is_gone(const struct maildir *st, const char *path, struct cv_err *err)
{
	return sync_parents(st, path, err) < 0 ? -1 : cv_err_set(err, CV_ERR_NOTFOUND, "mailbox folder %s is not there", path);
}

static int not_inbox(const char *path, struct cv_err *err)
{
	return strcmp(path, ".") != 0 ? 1 : cv_err_set_public(err, CV_ERR_PERM, "INBOX can't be deleted or moved");
}

int maildir_mailbox_delete(void *st_p, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct cv_buf trash;
	char *path, *up;
	bool named;
	int ret;

	if (maildir_path(st, mailbox->name, &path, err) < 0)
		return -1;
	ret = not_inbox(path, err);
	if (ret > 0 && (ret = has_mailbox(st->root, path, err)) == 0)
		ret = is_gone(st, path, err);
	if (ret > 0)
		ret = is_of(st, path, mailbox, &named, err);
	cv_buf_init(&trash, MAILDIR_NAME_MAX);
	if (ret > 0) {
		/* Out of the way first: who delivers meanwhile then finds no folder, rather than one that empties under its hands. */
		maildir_box_drop(st, path);
		cv_buf_append_c(&trash, MAILDIR_TRASH);
		maildir_unique(st, &trash);
		ret = move_mailbox(st, path, trash.data, false, err);
	}
	if (ret > 0)
		maildir_pending_moved(st, path, NULL);
	if (ret > 0)
		ret = sync_parents(st, path, err);
	if (ret > 0)
		ret = move_control(st, path, NULL, err);
	if (ret > 0)
		ret = maildir_remove_tree(st->root, trash.data, err);
	if (ret > 0 && st->fs) {
		up = is_alone(st) ? parent_of(path) : cv_strdup(path);
		ret = remove_empty(st, up, err);
		cv_free(up);
	}
	cv_buf_deinit(&trash);
	cv_free(path);
	return ret;
}

/* There is a folder at the old place of a mailbox, and one at the new: 1 move what is there, 0 it was moved before, -1. */
static int half_moved(struct maildir *st, const struct cv_mailbox_ref *mailbox, const char *to, bool from_named, bool *list_moved_r, struct cv_err *err)
{
	struct cv_err other = { 0 };

	/* What is one directory moves as a whole: then a nameless one came to the old place later, of a mailbox whose making a crash has cut short. */
	if (!from_named && is_of(st, to, mailbox, list_moved_r, &other) < 0 && other.code != CV_ERR_NOTFOUND) {
		*err = other;
		return -1;
	}
	if (!is_alone(st))
		return 1;
	return *list_moved_r ? 0 : cv_err_set(err, CV_ERR_EXISTS, "mailbox folder %s is there", to);
}

/* A crash came between the moves of folder and dovecot- files. Without the latter, keywords would be read by other letters than they were written with. */
static int late_control(struct maildir *st, const struct cv_mailbox_ref *mailbox, const char *from, const char *to, struct cv_err *err)
{
	struct cv_err other = { 0 };
	bool named = false;

	if (!st->own_control)
		return 1;
	if (is_of(st, from, mailbox, &named, &other) < 0 && other.code != CV_ERR_NOTFOUND) {
		*err = other;
		return -1;
	}
	return named ? move_control(st, from, to, err) : 1;
}

int maildir_mailbox_rename(void *st_p, const struct cv_mailbox_ref *mailbox, struct cv_str new_name, struct cv_err *err)
{
	struct maildir *st = st_p;
	char *from = NULL, *to = NULL, *up = NULL;
	bool named = false, list_moved = false;
	int ret = -1;

	if (maildir_path(st, mailbox->name, &from, err) > 0 && maildir_path(st, new_name, &to, err) > 0 && not_inbox(from, err) > 0 &&
		not_inbox(to, err) > 0)
		ret = has_mailbox(st->root, from, err);
	if (ret > 0)
		ret = is_of(st, from, mailbox, &named, err);
	if (ret > 0) {
		maildir_box_drop(st, from);
		maildir_box_drop(st, to);
		ret = has_mailbox(st->root, to, err);
		if (ret >= 0)
			ret = ret > 0 ? half_moved(st, mailbox, to, named, &list_moved, err) : 1;
	}
	if (ret == 0 && (sync_parents(st, to, err) < 0 || late_control(st, mailbox, from, to, err) < 0))
		ret = -1;
	if (ret == 0)
		ret = is_gone(st, from, err);
	if (ret > 0 && st->fs) {
		up = parent_of(to);
		/* Before the messages move there: their new name must not be durable in a directory that is not, though it was there: its sync may have failed before. */
		ret = strcmp(up, ".") == 0 || (cv_file_mkdirs(st->root, up, st->args->dir_mode, err) >= 0 && sync_parents(st, to, err) >= 0) ? 1 : -1;
		cv_free(up);
	}
	if (ret > 0)
		ret = move_mailbox(st, from, to, list_moved, err);
	if (ret > 0)
		maildir_pending_moved(st, from, to);
	if (ret > 0)
		ret = sync_parents(st, to, err);
	if (ret > 0 && st->fs) /* else it is the same one */
		ret = sync_parents(st, from, err);
	if (ret > 0)
		ret = move_control(st, from, to, err);
	if (ret > 0 && st->fs) {
		up = is_alone(st) ? parent_of(from) : cv_strdup(from);
		ret = remove_empty(st, up, err);
		cv_free(up);
	}
	cv_free(from);
	cv_free(to);
	return ret < 0 ? -1 : 0;
}

/* ---- what is there -------------------------------------------------------------------------------------------------- */

/* Directories still to be looked at, as paths below the root. */
struct walk {
	struct maildir *st;
	const char *at; /* where we are, NULL: the root */
	unsigned depth;
	CV_VEC(struct walk_dir { char *path; unsigned depth; }) todo;
};

static bool may_be_folder(const struct walk *walk, const char *name)
{
	if (!walk->st->fs)
		return name[0] == '.';
	for (size_t i = 0; i < 3; i++) { /* cur, new, tmp */
		if (strcmp(name, own_names[i]) == 0)
			return false;
	}
	return (*walk->st->dirname == '\0' || strcmp(name, walk->st->dirname) != 0) &&
		(walk->at != NULL || strncmp(name, "culver-", 7) != 0);
}

static int walk_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct walk *walk = ctx;
	struct walk_dir *dir;
	struct cv_buf path;
	struct stat st;

	if (!may_be_folder(walk, name) || walk->depth >= DEPTH_MAX)
		return 1;
	cv_buf_init(&path, 65536);
	if (walk->at != NULL)
		cv_buf_printf(&path, "%s/", walk->at);
	cv_buf_append_c(&path, name);
	if (type == DT_UNKNOWN && !walk->st->fs && !walk->st->set->maildir_stat_dirs)
		type = DT_DIR;
	if (type == DT_UNKNOWN && cv_file_stat(walk->st->root, path.data, &st, err) > 0 && S_ISDIR(st.st_mode))
		type = DT_DIR;
	if (type == DT_DIR) {
		dir = cv_vec_push(&walk->todo);
		*dir = (struct walk_dir){ cv_strdup(path.data), walk->depth + 1 };
	}
	cv_buf_deinit(&path);
	return 1;
}

/* A folder that has no cur, new or tmp yet gets them soon, which leaves no trace in the directory above. */
static void note_unfinished(struct maildir *st, const char *path)
{
	struct cv_err ignored = { 0 };
	struct stat there;

	if (cv_file_stat(st->root, path, &there, &ignored) > 0 && (int64_t)there.st_mtime + UNFINISHED_SEC > cv_time_now_sec())
		st->unfinished_until = CV_MAX(st->unfinished_until, (int64_t)there.st_mtime + UNFINISHED_SEC);
}

/* A folder of which only that is left: after a power cut more of it may be there again, so it is told of until it is gone for good. */
static int is_being_made(const struct maildir *st, const char *path, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	int dir, ret;

	if (cv_file_open(st->root, path, O_RDONLY | O_DIRECTORY, 0, &dir, &open_err) < 0)
		return 0;
	ret = is_there(dir, MAILDIR_MAKING, err);
	cv_file_close(&dir);
	return ret;
}

static int tell(struct walk *walk, struct cv_str name, int (*fn)(void *ctx, const struct cv_mailbox_ref *mailbox), void *ctx,
	struct cv_err *err)
{
	struct cv_mailbox_ref ref = { .name = name };
	char *full;
	int ret, top;

	if (maildir_path(walk->st, name, &full, err) < 0)
		return -1;
	top = strcmp(full, ".") == 0 && walk->st->inbox >= 0 ? walk->st->inbox : walk->st->root;
	ret = has_mailbox(top, full, err);
	if (ret > 0)
		ret = take_header(walk->st, full, &ref, err);
	if (ret < 0 && err->code == CV_ERR_PERM) {
		cv_warn(NULL, "folder %s is passed over: %s", cv_log_clean(cv_str_c(full)), err->text);
		*err = (struct cv_err){ 0 };
		ref.unreadable = true;
		ret = fn(ctx, &ref) < 0 ? -1 : 0;
	} else if (ret == 0 && strcmp(full, ".") != 0 && (ret = is_being_made(walk->st, full, err)) == 0) {
		note_unfinished(walk->st, full);
	}
	if (ret > 0)
		ret = fn(ctx, &ref) < 0 ? -1 : 1;
	cv_free(full);
	return ret < 0 ? -1 : 1;
}

static int walk_dir(struct walk *walk, int (*fn)(void *ctx, const struct cv_mailbox_ref *mailbox), void *ctx, struct cv_err *err)
{
	struct cv_buf name;
	int ret = 1;

	cv_buf_init(&name, 65536);
	if (maildir_name_decode(walk->st, walk->at, &name) && !cv_str_eq_c(cv_buf_str(&name), "INBOX"))
		ret = tell(walk, cv_buf_str(&name), fn, ctx, err);
	else if (has_mailbox(walk->st->root, walk->at, err) > 0)
		cv_warn(NULL, "folder %s has no name that a mailbox can have and is passed over", cv_log_clean(cv_str_c(walk->at)));
	if (ret > 0 && walk->st->fs)
		ret = cv_file_list(walk->st->root, walk->at, walk_one, walk, err);
	cv_buf_deinit(&name);
	return ret;
}

int maildir_mailbox_list(void *st_p, int (*fn)(void *ctx, const struct cv_mailbox_ref *mailbox), void *ctx, struct cv_err *err)
{
	struct walk walk = { .st = st_p };
	int ret = tell(&walk, CV_STR("INBOX"), fn, ctx, err);

	if (ret > 0)
		ret = cv_file_list(walk.st->root, ".", walk_one, &walk, err);
	while (ret > 0 && walk.todo.count > 0) {
		struct walk_dir dir = walk.todo.data[--walk.todo.count];

		walk.at = dir.path;
		walk.depth = dir.depth;
		ret = walk_dir(&walk, fn, ctx, err);
		cv_free(dir.path);
	}
	for (size_t i = 0; i < walk.todo.count; i++)
		cv_free(walk.todo.data[i].path);
	cv_vec_free(&walk.todo);
	return ret;
}

int maildir_folders_stamp(void *st_p, uint64_t stamp_r[4], struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_stamp stamp;
	struct stat root;

	if (st->fs)
		return 0; /* any directory of the tree may have changed */
	if (cv_file_fstat(st->root, &root, err) < 0)
		return -1;
	stamp = maildir_stamp_of(&root);
	stamp_r[0] = (uint64_t)stamp.mtime_ns;
	stamp_r[1] = stamp.inode;
	stamp_r[2] = 0;
	/* Within the clock's tick, and while a folder is being made, no two stamps are the same. */
	stamp_r[3] = maildir_stamp_recent(&stamp) || st->unfinished_until > cv_time_now_sec() ? ++st->unique_count | (uint64_t)1 << 63 : 0;
	return 1;
}
