/* SPDX-License-Identifier: MIT
   maildir: leftovers. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>
#include <culver/time.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define OWN_AGE_SEC 3600
#define OTHERS_AGE_SEC (36 * 3600) /* "a file in tmp that was not touched for 36 hours may be deleted": maildir(5) */
#define DEPTH_MAX 16
#define ROUNDS 3

/* ---- directories ---------------------------------------------------------------------------------------------------- */

struct removal {
	int dir;
	unsigned depth;
};

static int remove_dir(int dir, const char *name, unsigned depth, struct cv_err *err);

static int remove_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	const struct removal *removal = ctx;
	struct stat st;

	if (type == DT_UNKNOWN && cv_file_stat(removal->dir, name, &st, err) > 0 && S_ISDIR(st.st_mode))
		type = DT_DIR;
	if (type == DT_DIR)
		return remove_dir(removal->dir, name, removal->depth + 1, err);
	return cv_file_unlink(removal->dir, name, err) < 0 ? -1 : 1;
}

static int remove_dir(int dir, const char *name, unsigned depth, struct cv_err *err)
{
	struct removal removal = { .depth = depth };
	int ret = 0;

	if (depth > DEPTH_MAX)
		return cv_err_set(err, CV_ERR_LIMIT, "directories in a mailbox are too deep");
	if (cv_file_open(dir, name, O_RDONLY | O_DIRECTORY, 0, &removal.dir, err) < 0)
		return err->code == CV_ERR_NOTFOUND ? 1 : -1;
	/* Another program may put something into it still; then it is swept another time. */
	for (unsigned i = 0; ret == 0 && i < ROUNDS; i++) {
		ret = cv_file_list(removal.dir, ".", remove_one, &removal, err);
		if (ret > 0)
			ret = cv_file_rmdir(dir, name, err);
	}
	cv_file_close(&removal.dir);
	return ret < 0 ? -1 : 1;
}

int maildir_remove_tree(int dir, const char *name, struct cv_err *err)
{
	return remove_dir(dir, name, 0, err);
}

/* ---- sweep ---------------------------------------------------------------------------------------------------------- */

struct sweep {
	struct maildir *st;
	struct cv_err *err;
	int dir;
};

static int sweep_file(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct sweep *sweep = ctx;
	int64_t age = strncmp(name, MAILDIR_TMP, sizeof(MAILDIR_TMP) - 1) == 0 ? OWN_AGE_SEC : OTHERS_AGE_SEC;
	struct stat st;

	if (type == DT_DIR || cv_file_stat(sweep->dir, name, &st, err) <= 0 || !S_ISREG(st.st_mode))
		return 1;
	/* The time of modification is the message's date, perhaps; that of the last change is not. */
	if ((int64_t)st.st_ctime + age > cv_time_now_sec())
		return 1;
	return cv_file_unlink(sweep->dir, name, err) < 0 ? -1 : 1;
}

static int sweep_mailbox(void *ctx, const struct cv_mailbox_ref *mailbox)
{
	struct sweep *sweep = ctx;
	struct maildir_box *box;
	struct cv_err err = { 0 };

	if (maildir_box(sweep->st, mailbox, &box, &err) > 0) {
		sweep->dir = box->tmp;
		if (cv_file_list(box->tmp, ".", sweep_file, sweep, &err) > 0)
			return 1;
	}
	cv_warn(NULL, "temporary files of mailbox %s stay: %s", cv_log_clean(mailbox->name), err.text);
	return 1;
}

static int sweep_trash(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct sweep *sweep = ctx;

	(void)type;
	if (strncmp(name, MAILDIR_TRASH, sizeof(MAILDIR_TRASH) - 1) != 0)
		return 1;
	return maildir_remove_tree(sweep->st->root, name, err);
}

int maildir_sweep(void *st_p, struct cv_err *err)
{
	struct sweep sweep = { .st = st_p, .err = err };

	if (maildir_mailbox_list(st_p, sweep_mailbox, &sweep, err) < 0)
		return -1;
	return cv_file_list(sweep.st->root, ".", sweep_trash, &sweep, err);
}
