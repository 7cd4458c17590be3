/* SPDX-License-Identifier: MIT
   culver fsck, in the user's worker. */
#ifndef CV_MAILBOX_ADMIN_FSCK_H
#define CV_MAILBOX_ADMIN_FSCK_H

#include <culver/admin.h>

/* The command's run. */
int fsck_run(struct cv_admin *admin, struct cv_err *err);

#endif
