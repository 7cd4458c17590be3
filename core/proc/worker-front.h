/* SPDX-License-Identifier: MIT
   A worker's channels to fronts, by which jobs come without passing the spawner. Private to worker*.c. */
#ifndef CV_PROC_WORKER_FRONT_H
#define CV_PROC_WORKER_FRONT_H

#include "core/proc/session-private.h"

/* Numbers of jobs that came this way; those of the spawner's have it not. */
#define WORKER_FRONT_JOB ((uint64_t)1 << 63)

/* Callbacks are for the owner of the struct. Zeroed, then worker_fronts_init. */
struct worker_fronts {
	struct cv_session_host *host;
	struct cv_node channels;
	size_t count;
	struct cv_map *jobs; /* number -> struct front_job */
	uint64_t next_job;
	uint32_t done;       /* jobs that the spawner was not told of yet */
	/* A job comes: there is something to do. */
	void (*begins)(void *ctx);
	/* The last channel is gone. */
	void (*all_gone)(void *ctx);
	void *ctx;
};

void worker_fronts_init(struct worker_fronts *fronts, struct cv_session_host *host);
void worker_fronts_deinit(struct worker_fronts *fronts);
/* A channel of a front for jobs of protocol; fd is the channel's from now on. */
void worker_fronts_add(struct worker_fronts *fronts, const struct cv_session_protocol *protocol, int fd);
/* Ask the fronts for no more jobs: each closes its channel when all are answered. False: there is none, or all have had WORKER_FRONTS_END_MS since they were asked. */
#define WORKER_FRONTS_END_MS 1000u
bool worker_fronts_ask_end(struct worker_fronts *fronts);
/* Close all; what was not answered is lost to the front. */
void worker_fronts_drop(struct worker_fronts *fronts);
/* The answer of a job whose number has WORKER_FRONT_JOB. */
void worker_fronts_reply(struct worker_fronts *fronts, uint64_t id, const struct cv_err *err, struct cv_str data);

#endif
