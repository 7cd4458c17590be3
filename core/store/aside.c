/* SPDX-License-Identifier: MIT
   Files that are in the way: they get another name, and none is ever removed. */
#include <config.h>

#include <culver/file.h>
#include <culver/time.h>

#include <stdio.h>

void cv_file_aside_name(const char *name, char aside_r[CV_FILE_ASIDE_MAX])
{
	(void)snprintf(aside_r, CV_FILE_ASIDE_MAX, "%s.damaged-%lld", name, (long long)cv_time_now_us());
}

int cv_file_aside(int dir, const char *name, struct cv_err *err)
{
	char aside[CV_FILE_ASIDE_MAX];
	struct cv_err rename_err = { 0 };

	cv_file_aside_name(name, aside);
	if (cv_file_rename(dir, name, dir, aside, false, &rename_err) > 0 || rename_err.code == CV_ERR_NOTFOUND)
		return 1;
	*err = rename_err;
	return -1;
}

int cv_file_make_way(int dir, const char *name, struct cv_err *err)
{
	struct stat st;
	int ret = cv_file_stat(dir, name, &st, err);

	if (ret <= 0 || S_ISREG(st.st_mode))
		return ret;
	return cv_file_aside(dir, name, err) < 0 ? -1 : 0;
}
