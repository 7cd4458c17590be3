/* SPDX-License-Identifier: MIT
   How a worker becomes its user, and is confined to the user's files. Private to worker*.c. */
#ifndef CV_PROC_WORKER_USER_H
#define CV_PROC_WORKER_USER_H

#include "core/proc/worker.h"

#include <culver/mailbox.h>

struct cv_arena;

/* Whose mail it is, as far as args say. Views are args'. */
struct cv_user_config worker_user_config(const struct cv_worker_args *args);
/* Make the home directory where it is missing and mail_create_home wants it, look at mounts, drop root's rights, limit memory, go home. arena: for what is
   needed meanwhile. */
CV_MUST_CHECK int worker_become_user(const struct cv_worker_args *args, struct cv_arena *arena, struct cv_err *err);

/* Allow this process the user's paths and what programs read everywhere, nothing else, for good. 1 confined, 0 the kernel cannot, -1. *exact_r: every path was there,
   so that nothing wider had to be allowed. */
CV_MUST_CHECK int worker_confine(const struct cv_worker_args *args, struct cv_arena *arena, const struct cv_user_config *config, bool *exact_r,
	struct cv_err *err);
/* In the spawner: the filter that workers have from it, and the paths that are the same for all. anew: as cv_worker_entry.prepare. */
CV_MUST_CHECK int worker_confine_prepare(const struct cv_core_settings *core, bool anew, struct cv_err *err);

#endif
