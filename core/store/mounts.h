/* SPDX-License-Identifier: MIT
   Mount points that mail was seen on: remembered outside of them, so that one that is not mounted is not taken for a place where there was no mail yet. */
#ifndef CV_STORE_MOUNTS_H
#define CV_STORE_MOUNTS_H

#include <culver/err.h>
#include <culver/mailbox.h>

/* For each of these paths (NULL-terminated; a user's directories, there or not): UNAVAILABLE when it lies below a mount point that is remembered and is not mounted now,
   and is absent or an empty directory; else the mount point that it is on is remembered, when there is one. files: where that is kept, one path a
   line; all are read, the first that can be written to is written to. NULL-terminated. To be called before rights are dropped. */
CV_MUST_CHECK int cv_mounts_check(const char *const *files, const char *const *paths, struct cv_err *err);
/* The directories that a user's mail will be opened in, against /etc/fstab, mail_mount_points (cv_location_check_mounts) and what is remembered in these files. To be called
   before rights are dropped, and before any directory is made. */
CV_MUST_CHECK int cv_mounts_check_user(const struct cv_user_config *config, const char *const *files, struct cv_err *err);

#endif
