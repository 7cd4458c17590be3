/* SPDX-License-Identifier: MIT
   The helpers as auth sees them: jobs go in, answers come out, helpers are started, replaced and let go. */
#ifndef CV_PROC_AUTH_POOL_H
#define CV_PROC_AUTH_POOL_H

#include "core/proc/auth-helper.h"

#include <culver/loop.h>

struct auth_pool;
struct auth_job;

/* The answer to a job; pointers are valid during the call. results: what the database set (its arena is the job's; take over what is needed). */
struct auth_job_answer {
	enum cv_auth_result result;
	struct cv_str stored;
	const struct cv_err *err;
	struct cv_auth_request *results; /* NULL when the helper failed */
};
/* Called once, never from within auth_pool_submit. */
typedef void auth_job_fn(void *ctx, const struct auth_job_answer *answer);
typedef void auth_job_row_fn(void *ctx, struct cv_str user);

struct auth_job_spec {
	enum cv_helper_kind kind;
	enum cv_helper_op op;
	const char *database;      /* section's name; "" for HASH */
	struct cv_str secret, stored;
	const char *default_scheme;
	const struct cv_auth_request *request;
	auth_job_fn *done;
	auth_job_row_fn *row;      /* ITERATE */
	void *ctx;
};

struct auth_pool_limits {
	uint64_t max_helpers;  /* of each kind */
	uint64_t job_ms;       /* a helper that takes longer is killed */
	uint64_t wait_ms;      /* a job that waits longer for a helper fails */
	uint64_t idle_ms;      /* a helper without work ends, but the last of its kind */
	size_t max_waiting;
};

/* fd: channel to the starter; the pool's. lost(ctx): the starter is gone, no job can be done any more. */
struct auth_pool *auth_pool_new(struct cv_loop *loop, int fd, const struct auth_pool_limits *limits, void (*lost)(void *ctx), void *ctx);
/* Waiting and running jobs are dropped without an answer. */
void auth_pool_free(struct auth_pool **pool);
/* Modules (NULL-terminated) and settings (memfd, borrowed) for helpers from now on; those that run now end after their job. Jobs wait until this was called. */
void auth_pool_set_conf(struct auth_pool *pool, const char *const *modules, int memfd, uint64_t max_helpers, uint64_t job_ms);
/* The request is copied. The job is borrowed until done was called or it is cancelled; never NULL: when it can't be done, done says so soon. */
struct auth_job *auth_pool_submit(struct auth_pool *pool, const struct auth_job_spec *spec);
/* No answer is wanted any more. */
void auth_job_cancel(struct auth_job **job);
/* Jobs waiting and helpers alive, for status. */
size_t auth_pool_waiting(const struct auth_pool *pool);
size_t auth_pool_helpers(const struct auth_pool *pool);

#endif
