/* SPDX-License-Identifier: MIT
   sdbox: mailboxes on disk. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"
#include <culver/log.h>
#include <culver/time.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define DEPTH_MAX 100
#define TEMP_AGE_SEC 3600

void sdbox_dirs_close(struct sdbox *st)
{
	for (size_t i = 0; i < CV_COUNT_OF(st->dirs); i++) {
		if (st->dirs[i].path == NULL)
			continue;
		cv_file_close(&st->dirs[i].fd);
		cv_free(st->dirs[i].path);
		st->dirs[i].path = NULL;
	}
}

int sdbox_dir(struct sdbox *st, const char *path, int *fd_r, struct cv_err *err)
{
	struct sdbox_dir *slot = &st->dirs[0];
	int fd;

	for (size_t i = 0; i < CV_COUNT_OF(st->dirs); i++) {
		struct sdbox_dir *dir = &st->dirs[i];

		if (dir->path != NULL && strcmp(dir->path, path) == 0) {
			dir->used = ++st->clock;
			*fd_r = dir->fd;
			return 1;
		}
		if (dir->path == NULL || (slot->path != NULL && dir->used < slot->used))
			slot = dir;
	}
	if (cv_file_open(st->mailboxes, path, O_RDONLY | O_DIRECTORY, 0, &fd, err) < 0)
		return -1;
	if (slot->path != NULL) {
		cv_file_close(&slot->fd);
		cv_free(slot->path);
	}
	*slot = (struct sdbox_dir){ cv_strdup(path), fd, ++st->clock };
	*fd_r = fd;
	return 1;
}

int sdbox_dir_now(struct sdbox *st, const char *path, int *fd_r, struct cv_err *err)
{
	struct stat named, held;
	int ret = cv_file_stat(st->mailboxes, path, &named, err);

	if (ret < 0)
		return -1;
	for (size_t i = 0; i < CV_COUNT_OF(st->dirs); i++) {
		struct sdbox_dir *dir = &st->dirs[i];

		if (dir->path == NULL || strcmp(dir->path, path) != 0)
			continue;
		if (cv_file_fstat(dir->fd, &held, err) < 0)
			return -1;
		if (ret > 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev)
			break;
		cv_file_close(&dir->fd);
		cv_free(dir->path);
		dir->path = NULL;
	}
	return sdbox_dir(st, path, fd_r, err);
}

int sdbox_mailbox_dir(void *st_p, const struct cv_mailbox_ref *mailbox, int *dir_r, struct cv_err *err)
{
	struct sdbox *st = st_p;
	char *path;
	int ret;

	if (sdbox_path(st, mailbox->name, &path, err) < 0)
		return -1;
	ret = sdbox_owner_check(st, path, mailbox, err) < 0 ? -1 : sdbox_dir(st, path, dir_r, err);
	cv_free(path);
	return ret;
}

/* The name "mailboxes": who made it may have ended before anything had to be durable. */
static int sync_root(struct sdbox *st, struct cv_err *err)
{
	int root, ret;

	if (cv_file_root(st->args->root, &root, err) < 0)
		return -1;
	ret = cv_file_sync(root, true, err);
	cv_file_close(&root);
	st->root_synced = ret > 0;
	return ret;
}

int sdbox_sync_root_once(struct sdbox *st, struct cv_err *err)
{
	return st->args->fsync == CV_FSYNC_NEVER || st->root_synced || st->args->root_synced ? 1 : sync_root(st, err);
}

int sdbox_sync_path(struct sdbox *st, const char *path, struct cv_err *err)
{
	char *part = cv_strdup(path), *slash;
	int ret = 1, fd;

	if (st->args->fsync != CV_FSYNC_NEVER) {
		while (ret > 0 && (slash = strrchr(part, '/')) != NULL) {
			struct cv_err open_err = { 0 };

			*slash = '\0';
			if (cv_file_open(st->mailboxes, part, O_RDONLY | O_DIRECTORY, 0, &fd, &open_err) > 0) {
				ret = cv_file_sync(fd, true, err);
				cv_file_close(&fd);
			} else if (open_err.code != CV_ERR_NOTFOUND) {
				*err = open_err;
				ret = -1;
			}
		}
		if (ret > 0)
			ret = cv_file_sync(st->mailboxes, true, err);
		if (ret > 0)
			ret = sdbox_sync_root_once(st, err);
	}
	cv_free(part);
	return ret;
}

struct look {
	bool has_messages;
};

static int look_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct look *look = ctx;

	(void)err;
	if (type != DT_DIR && strncmp(name, "u.", 2) == 0)
		look->has_messages = true;
	return 1;
}

int sdbox_has_messages(struct sdbox *st, const char *path, bool *has_r, struct cv_err *err)
{
	struct look look = { false };
	int ret = cv_file_list(st->mailboxes, path, look_one, &look, err);

	*has_r = look.has_messages;
	return ret;
}

/* A folder that is another mailbox's, which is gone or was never recorded: its messages are not ours to show, and not ours to remove either. */
static int put_aside(struct sdbox *st, const char *path, const struct cv_mailbox_ref *owner, struct cv_err *err)
{
	struct cv_buf aside;
	bool has;
	int ret = sdbox_has_messages(st, path, &has, err);

	if (ret < 0 || !has)
		return ret;
	cv_buf_init(&aside, PATH_MAX);
	cv_buf_printf(&aside, "%s.of-", path);
	cv_buf_append_hex(&aside, cv_str_mem(owner->guid, sizeof(owner->guid)));
	ret = cv_buf_ok(&aside) ? cv_file_rename(st->mailboxes, path, st->mailboxes, aside.data, false, err) :
				  cv_err_set(err, CV_ERR_LIMIT, "path of the folder is too long");
	if (ret > 0)
		cv_warn(NULL, "folder %s has messages of a mailbox that is not known any more; they are kept as %s",
			cv_log_clean(cv_str_c(path)), cv_log_clean(cv_buf_str(&aside)));
	cv_buf_deinit(&aside);
	return ret;
}

/* The folder says whose it is now; one that was there before and says nothing (another program's) is taken. */
static int own(struct sdbox *st, const char *path, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	int dir, ret;

	if (cv_file_open(st->mailboxes, path, O_RDONLY | O_DIRECTORY, 0, &dir, err) < 0)
		return -1;
	ret = sdbox_owner_write(st, dir, mailbox, err);
	if (ret > 0 && st->args->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(dir, true, err);
	cv_file_close(&dir);
	return ret;
}

static int create(struct sdbox *st, const char *path, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	struct cv_mailbox_ref there;
	int made, ret;

	sdbox_dirs_close(st);
	ret = sdbox_owner_read(st, path, &there, err);
	if (ret > 0 && memcmp(there.guid, mailbox->guid, sizeof(there.guid)) != 0 && put_aside(st, path, &there, err) < 0)
		ret = -1;
	made = ret < 0 ? -1 : cv_file_mkdirs(st->mailboxes, path, st->args->dir_mode, err);
	/* Also one that was there: who made it may have failed to sync it. */
	if (made >= 0 && (own(st, path, mailbox, err) < 0 || sdbox_sync_path(st, path, err) < 0))
		made = -1;
	return made < 0 ? -1 : made > 0 ? CV_FOLDER_MADE : CV_FOLDER_WAS_THERE;
}

int sdbox_mailbox_create(void *st_p, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	struct sdbox *st = st_p;
	struct stat there;
	char *path;
	int ret = 1;

	if (sdbox_path(st, mailbox->name, &path, err) < 0)
		return -1;
	if (mailbox->later)
		ret = cv_file_stat(st->mailboxes, path, &there, err);
	if (ret == 0)
		ret = CV_FOLDER_LATER;
	else if (ret > 0)
		ret = create(st, path, mailbox, err);
	cv_free(path);
	return ret;
}

int sdbox_remove_empty(struct sdbox *st, char *path, struct cv_err *err)
{
	char *slash;
	int ret;

	do {
		ret = cv_file_rmdir(st->mailboxes, path, err);
		slash = strrchr(path, '/');
		if (slash != NULL)
			*slash = '\0';
	} while (ret > 0 && slash != NULL);
	return ret < 0 ? -1 : 1;
}

struct removing {
	int dir;
};

static int remove_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct removing *removing = ctx;

	return type == DT_DIR || strcmp(name, SDBOX_OWNER) == 0 ? 1 : cv_file_unlink(removing->dir, name, err);
}

int sdbox_mailbox_delete(void *st_p, const struct cv_mailbox_ref *mailbox, struct cv_err *err)
{
	struct sdbox *st = st_p;
	struct removing removing = { -1 };
	char *path;
	int ret;

	if (sdbox_path(st, mailbox->name, &path, err) < 0)
		return -1;
	sdbox_dirs_close(st);
	ret = sdbox_owner_check(st, path, mailbox, err);
	if (ret > 0)
		ret = sdbox_dir(st, path, &removing.dir, err);
	if (ret > 0)
		ret = cv_file_list(removing.dir, ".", remove_one, &removing, err);
	if (ret > 0)
		sdbox_pending_moved(st, path, NULL);
	/* Last: as long as a message is there the folder says whose it is, after a power cut too. */
	if (ret > 0 && st->args->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(removing.dir, true, err);
	if (ret > 0 && cv_file_unlink(removing.dir, SDBOX_OWNER, err) < 0)
		ret = -1;
	sdbox_dirs_close(st);
	if (ret > 0)
		ret = sdbox_remove_empty(st, path, err);
	cv_free(path);
	return ret;
}

/* ---- what is there ------------------------------------------------------------------------------------------------ */

/* Directories still to be looked at, as paths below mailboxes, with their names in UTF-8. */
struct walk {
	struct sdbox *st;
	struct walk_dir {
		char *path, *name;
		unsigned depth;
	} current;
	CV_VEC(struct walk_dir) todo;
	bool has_messages;
};

static int walk_one(void *ctx, const char *entry, unsigned char type, struct cv_err *err)
{
	struct walk *walk = ctx;
	struct cv_buf name, path;
	struct walk_dir *dir;
	struct stat st;

	if (strcmp(entry, walk->st->dirname) == 0) {
		walk->has_messages = true;
		return 1;
	}
	cv_buf_init(&name, 65536);
	cv_buf_init(&path, 65536);
	if (walk->current.path != NULL) {
		cv_buf_printf(&name, "%s/", walk->current.name);
		cv_buf_printf(&path, "%s/", walk->current.path);
	}
	cv_buf_append_c(&path, entry);
	if (type == DT_UNKNOWN && cv_file_stat(walk->st->mailboxes, path.data, &st, err) > 0 && S_ISDIR(st.st_mode))
		type = DT_DIR;
	if (type == DT_DIR && walk->current.depth < DEPTH_MAX) {
		if (sdbox_level_decode(&name, entry) && cv_buf_ok(&name) && cv_buf_ok(&path)) {
			dir = cv_vec_push(&walk->todo);
			*dir = (struct walk_dir){ cv_strdup(path.data), cv_strdup(name.data), walk->current.depth + 1 };
		} else {
			cv_warn(NULL, "folder %s is no mailbox name and is passed over", cv_log_clean(cv_buf_str(&path)));
		}
	}
	cv_buf_deinit(&name);
	cv_buf_deinit(&path);
	return 1;
}

/* A folder that Dovecot made. */
static int ask_dovecot(const struct sdbox *st, const char *path, struct cv_mailbox_ref *ref, struct cv_err *err)
{
	struct cv_dovecot_index *index;
	int ret = sdbox_index_read(st, path, &index, err);

	if (ret > 0) {
		ref->uidvalidity = index->uidvalidity;
		ref->uidnext = index->uidnext;
	}
	cv_dovecot_index_free(&index);
	return ret;
}

static int tell_mailbox(struct walk *walk, int (*fn)(void *ctx, const struct cv_mailbox_ref *mailbox), void *ctx, struct cv_err *err)
{
	struct cv_mailbox_ref ref = { .uidvalidity = 0 };
	char *path;
	int ret;

	if (sdbox_path(walk->st, cv_str_c(walk->current.name), &path, err) < 0)
		return -1;
	ret = sdbox_owner_read(walk->st, path, &ref, err);
	if (ret == 0)
		ret = ask_dovecot(walk->st, path, &ref, err);
	cv_free(path);
	ref.name = cv_str_c(walk->current.name);
	return ret < 0 || fn(ctx, &ref) < 0 ? -1 : 1;
}

int sdbox_mailbox_list(void *st_p, int (*fn)(void *ctx, const struct cv_mailbox_ref *mailbox), void *ctx, struct cv_err *err)
{
	struct walk walk = { .st = st_p };
	int ret = cv_file_list(walk.st->mailboxes, ".", walk_one, &walk, err);

	while (ret > 0 && walk.todo.count > 0) {
		walk.current = walk.todo.data[--walk.todo.count];
		walk.has_messages = false;
		ret = cv_file_list(walk.st->mailboxes, walk.current.path, walk_one, &walk, err);
		if (ret > 0 && walk.has_messages) {
			ret = tell_mailbox(&walk, fn, ctx, err);
		}
		cv_free(walk.current.path);
		cv_free(walk.current.name);
	}
	for (size_t i = 0; i < walk.todo.count; i++) {
		cv_free(walk.todo.data[i].path);
		cv_free(walk.todo.data[i].name);
	}
	cv_vec_free(&walk.todo);
	return ret;
}

/* ---- leftovers -------------------------------------------------------------------------------------------------------- */

struct sweep {
	struct sdbox *st;
	struct cv_err *err;
	int dir;
	int result;
};

static int sweep_file(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct sweep *sweep = ctx;
	struct stat st;

	if (type == DT_DIR || strncmp(name, ".temp.", 6) != 0)
		return 1;
	if (cv_file_stat(sweep->dir, name, &st, err) <= 0)
		return 1;
	if ((int64_t)st.st_mtime + TEMP_AGE_SEC > cv_time_now_sec())
		return 1;
	return cv_file_unlink(sweep->dir, name, err) < 0 ? -1 : 1;
}

static int sweep_mailbox(void *ctx, const struct cv_mailbox_ref *mailbox)
{
	struct sweep *sweep = ctx;
	char *path;
	int ret;

	if (sdbox_path(sweep->st, mailbox->name, &path, sweep->err) < 0)
		return 1;
	ret = sdbox_dir(sweep->st, path, &sweep->dir, sweep->err);
	if (ret > 0)
		ret = cv_file_list(sweep->dir, ".", sweep_file, sweep, sweep->err);
	cv_free(path);
	return ret;
}

int sdbox_sweep(void *st, struct cv_err *err)
{
	struct sweep sweep = { .st = st, .err = err };

	return sdbox_mailbox_list(st, sweep_mailbox, &sweep, err);
}
