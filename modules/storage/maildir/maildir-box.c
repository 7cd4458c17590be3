/* SPDX-License-Identifier: MIT
   maildir: mailboxes that are in use, and their directories. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>
#include <culver/time.h>

#include <fcntl.h>
#include <string.h>

/* The clock that stamps files ticks every 1 to 10 ms; file systems without fractions of a second store even or whole seconds. */
#define FINE_TICK_NS 100000000LL
#define COARSE_TICK_NS 2100000000LL

static const char *const dir_names[] = { "new", "cur" };

struct maildir_stamp maildir_stamp_of(const struct stat *st)
{
	return (struct maildir_stamp){ (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec, (uint64_t)st->st_ino };
}

bool maildir_stamp_eq(const struct maildir_stamp *a, const struct maildir_stamp *b)
{
	return a->mtime_ns == b->mtime_ns && a->inode == b->inode;
}

bool maildir_stamp_recent(const struct maildir_stamp *stamp)
{
	int64_t tick = stamp->mtime_ns % 1000000000 == 0 ? COARSE_TICK_NS : FINE_TICK_NS;
	int64_t age = cv_time_now_us() * 1000 - stamp->mtime_ns;

	return age < tick && age > -tick; /* a time in the future is another clock's: it says nothing */
}

int maildir_box_settle(struct maildir_box *box, struct cv_err *err)
{
	for (unsigned i = 0; i < 2; i++) {
		if (box->unsettled[i] && maildir_sync_dir(box->st, box->dirs[i].fd, err) < 0)
			return -1;
		box->synced[i] = box->synced[i] || box->unsettled[i];
		box->unsettled[i] = false;
	}
	return 1;
}

void maildir_done_before(struct maildir_box *box)
{
	for (unsigned i = 0; i < 2; i++)
		box->unsettled[i] = box->unsettled[i] || !box->synced[i];
}

int maildir_settle(void *st_p, struct cv_err *err)
{
	struct maildir *st = st_p;

	if (st->settle_failed) {
		st->settle_failed = false; /* all of it is asked for once more */
		return cv_err_set(err, CV_ERR_TEMP, "a directory could not be synced to disk");
	}
	for (size_t i = 0; i < CV_COUNT_OF(st->boxes); i++) {
		if (st->boxes[i] != NULL && maildir_box_settle(st->boxes[i], err) < 0)
			return -1;
	}
	return 1;
}

static void free_box(struct maildir_box *box)
{
	struct cv_err err = { 0 };

	if (maildir_box_settle(box, &err) < 0)
		box->st->settle_failed = true;
	maildir_uidlist_flush(box);
	maildir_todo_free(box);
	cv_vec_free(&box->todo);
	maildir_keywords_free(&box->keywords);
	maildir_index_deinit(&box->index);
	for (size_t i = 0; i < CV_COUNT_OF(box->dirs); i++)
		cv_file_close(&box->dirs[i].fd);
	cv_file_close(&box->tmp);
	if (box->control != box->base)
		cv_file_close(&box->control);
	cv_file_close(&box->base);
	cv_free(box->path);
	cv_free(box);
}

void maildir_box_drop(struct maildir *st, const char *path)
{
	for (size_t i = 0; i < CV_COUNT_OF(st->boxes); i++) {
		struct maildir_box *box = st->boxes[i];

		if (box == NULL || (path != NULL && strcmp(box->path, path) != 0))
			continue;
		free_box(box);
		st->boxes[i] = NULL;
	}
}

/* A directory of the mailbox, made when it is missing. */
static int open_sub(struct maildir *st, int base, const char *name, int *fd_r, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	int made;

	if (cv_file_open(base, name, O_RDONLY | O_DIRECTORY, 0, fd_r, &open_err) > 0)
		return 1;
	if (open_err.code != CV_ERR_NOTFOUND) {
		*err = open_err;
		return -1;
	}
	made = cv_file_mkdir(base, name, st->args->dir_mode, err);
	if (made > 0 && maildir_sync_dir(st, base, err) < 0)
		made = -1;
	return made < 0 ? -1 : cv_file_open(base, name, O_RDONLY | O_DIRECTORY, 0, fd_r, err);
}

static int open_box(struct maildir *st, const char *path, struct maildir_box **box_r, struct cv_err *err)
{
	struct maildir_box *box = cv_new0(struct maildir_box);
	int ret, top;

	box->st = st;
	box->path = cv_strdup(path);
	box->inbox = strcmp(path, ".") == 0;
	box->base = box->control = box->tmp = box->dirs[0].fd = box->dirs[1].fd = -1;
	maildir_index_init(&box->index);
	top = box->inbox && st->inbox >= 0 ? st->inbox : st->root;
	ret = cv_file_open(top, path, O_RDONLY | O_DIRECTORY, 0, &box->base, err);
	if (ret > 0)
		ret = open_sub(st, box->base, "tmp", &box->tmp, err);
	for (size_t i = 0; ret > 0 && i < CV_COUNT_OF(box->dirs); i++)
		ret = open_sub(st, box->base, dir_names[i], &box->dirs[i].fd, err);
	if (ret < 0) {
		free_box(box);
		return -1;
	}
	*box_r = box;
	return 1;
}

/* Is what we have open still what the path names, with new/, cur/ and tmp/ in it? Another program may have removed or replaced the folder: 0. What
   cannot be told is no such answer: -1. */
static int is_current(const struct maildir *st, const struct maildir_box *box, struct cv_err *err)
{
	const int dirs[] = { box->base, box->dirs[MAILDIR_NEW].fd, box->dirs[MAILDIR_CUR].fd, box->tmp };
	struct stat there, here[CV_COUNT_OF(dirs)];
	int ret;

	for (size_t i = 0; i < CV_COUNT_OF(dirs); i++) {
		if (cv_file_fstat(dirs[i], &here[i], err) < 0)
			return -1;
		if (here[i].st_nlink == 0)
			return 0;
	}
	if (box->inbox)
		return 1;
	ret = cv_file_stat(st->root, box->path, &there, err);
	return ret <= 0 ? ret : there.st_ino == here[0].st_ino && there.st_dev == here[0].st_dev;
}

int maildir_box_at(struct maildir *st, const char *path, struct maildir_box **box_r, struct cv_err *err)
{
	struct maildir_box **slot = &st->boxes[0];

	for (size_t i = 0; i < CV_COUNT_OF(st->boxes); i++) {
		struct maildir_box *box = st->boxes[i];

		if (box != NULL && strcmp(box->path, path) == 0) {
			int current = is_current(st, box, err);

			if (current < 0)
				return -1;
			if (current > 0) {
				box->used = ++st->clock;
				*box_r = box;
				return 1;
			}
			maildir_todo_free(box); /* of a folder that is not there any more */
			box->list.loaded = false;
			free_box(box);
			st->boxes[i] = NULL;
			slot = &st->boxes[i];
			break;
		}
		if (box == NULL || (*slot != NULL && box->used < (*slot)->used))
			slot = &st->boxes[i];
	}
	if (*slot != NULL)
		free_box(*slot);
	*slot = NULL;
	if (open_box(st, path, box_r, err) < 0)
		return -1;
	(*box_r)->used = ++st->clock;
	*slot = *box_r;
	return 1;
}

int maildir_box(struct maildir *st, const struct cv_mailbox_ref *mailbox, struct maildir_box **box_r, struct cv_err *err)
{
	static const uint8_t no_guid[16];
	char *path;
	int ret;

	if (maildir_path(st, mailbox->name, &path, err) < 0)
		return -1;
	ret = maildir_box_at(st, path, box_r, err);
	cv_free(path);
	if (ret < 0)
		return -1;
	if (mailbox->uidvalidity != 0)
		(*box_r)->uidvalidity = mailbox->uidvalidity;
	if (memcmp(mailbox->guid, no_guid, sizeof(no_guid)) != 0)
		memcpy((*box_r)->guid, mailbox->guid, sizeof((*box_r)->guid));
	return 1;
}

int maildir_control(struct maildir_box *box, bool may_create, int *fd_r, struct cv_err *err)
{
	const struct maildir *st = box->st;
	struct cv_err open_err = { 0 };
	int root, ret;

	if (box->control < 0 && !st->own_control)
		box->control = box->base;
	if (box->control < 0) {
		if (may_create && cv_file_make_root(st->args->control_root, st->args->dir_mode, err) < 0)
			return -1;
		ret = cv_file_root(st->args->control_root, &root, &open_err);
		if (ret > 0) {
			if (may_create && !box->inbox)
				ret = cv_file_mkdirs(root, box->path, st->args->dir_mode, &open_err);
			if (ret >= 0)
				ret = cv_file_open(root, box->path, O_RDONLY | O_DIRECTORY, 0, &box->control, &open_err);
			cv_file_close(&root);
		}
		if (ret <= 0) {
			*fd_r = -1;
			if (open_err.code == CV_ERR_NOTFOUND && !may_create)
				return 0;
			*err = open_err;
			return -1;
		}
	}
	*fd_r = box->control;
	return 1;
}

int maildir_sync_dir(const struct maildir *st, int fd, struct cv_err *err)
{
	return st->args->fsync == CV_FSYNC_NEVER ? 1 : cv_file_sync(fd, true, err);
}

int maildir_move(int from_dir, const char *from, int to_dir, const char *to, struct cv_err *err)
{
	struct cv_err move_err = { 0 };

	if (cv_file_rename(from_dir, from, to_dir, to, false, &move_err) > 0)
		return 1;
	/* NFS and some others do not know RENAME_NOREPLACE. */
	if (move_err.code == CV_ERR_TEMP && cv_file_link(from_dir, from, to_dir, to, &move_err) > 0)
		return cv_file_unlink(from_dir, from, err) < 0 ? -1 : 1;
	*err = move_err;
	return -1;
}

void maildir_own_begin(const struct maildir_box *box, enum maildir_where where, struct stat *before)
{
	struct cv_err ignored = { 0 };

	before->st_ino = 0;
	if (box->st->set->maildir_very_dirty_syncs && cv_file_fstat(box->dirs[where].fd, before, &ignored) < 0)
		before->st_ino = 0;
}

void maildir_own_end(struct maildir_box *box, enum maildir_where where, const struct stat *before)
{
	struct maildir_dir *dir = &box->dirs[where];
	struct maildir_stamp then, now;
	struct cv_err ignored = { 0 };
	struct stat after;

	if (before->st_ino == 0 || cv_file_fstat(dir->fd, &after, &ignored) < 0)
		return;
	then = maildir_stamp_of(before);
	now = maildir_stamp_of(&after);
	if (dir->listed && maildir_stamp_eq(&dir->stamp, &then))
		dir->stamp = now;
	if (dir->looked && maildir_stamp_eq(&dir->last, &then))
		dir->last = now;
}
