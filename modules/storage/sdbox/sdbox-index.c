/* SPDX-License-Identifier: MIT
   sdbox: the index that Dovecot left beside the messages of a mailbox. It is read when the mailbox is taken over, or looked for once more because the journal is
   lost; it is never written, and goes when the mailbox is deleted. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"
#include <culver/log.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Below the root it lies with the messages. Below INDEX= there is no directory of their own ("dbox-Mails") for it. */
static int open_dir(const struct sdbox *st, const char *path, int *dir_r, struct cv_err *err)
{
	bool apart = strcmp(st->args->index_root, st->args->root) != 0;
	size_t len = apart ? strlen(path) - strlen(st->dirname) - 1 : strlen(path);
	char name[PATH_MAX];
	int root, ret;

	if (snprintf(name, sizeof(name), "mailboxes/%.*s", (int)len, path) >= (int)sizeof(name))
		return cv_err_set(err, CV_ERR_NOTFOUND, "path of the index is too long");
	if (cv_file_root(st->args->index_root, &root, err) < 0)
		return -1;
	ret = cv_file_open(root, name, O_RDONLY | O_DIRECTORY, 0, dir_r, err);
	cv_file_close(&root);
	return ret;
}

int sdbox_index_read(const struct sdbox *st, const char *path, struct cv_dovecot_index **index_r, struct cv_err *err)
{
	struct cv_err index_err = { 0 };
	int dir, ret;

	*index_r = NULL;
	if (open_dir(st, path, &dir, &index_err) < 0) {
		if (index_err.code == CV_ERR_NOTFOUND)
			return 0;
		*err = index_err;
		return -1;
	}
	ret = cv_dovecot_index_read(dir, index_r, &index_err);
	cv_file_close(&dir);
	if (ret >= 0)
		return ret;
	if (index_err.code != CV_ERR_CORRUPT && index_err.code != CV_ERR_LIMIT) {
		*err = index_err;
		return -1;
	}
	/* The messages are worth more than their flags. */
	cv_error(NULL, "Dovecot's index of folder %s can't be used, its flags, keywords and UIDVALIDITY are lost: %s", cv_log_clean(cv_str_c(path)), index_err.text);
	return 0;
}
