/* SPDX-License-Identifier: MIT
   Sessions that ended and of which the spawner was not told yet: it hears of many at once, so that logins that follow each other do not each wake it for that. */
#ifndef CV_PROC_WORKER_ENDED_H
#define CV_PROC_WORKER_ENDED_H

#include <culver/buf.h>
#include <culver/loop.h>

struct worker_ended {
	/* ids: the payload of WORKER_ENDED. */
	void (*tell)(void *ctx, const struct cv_buf *ids);
	void *ctx;
	struct cv_buf ids; /* str session for each */
	size_t count;
	struct cv_timer *timer;
};

/* tell and ctx are set. */
void worker_ended_init(struct worker_ended *ended, struct cv_loop *loop);
void worker_ended_deinit(struct worker_ended *ended);
void worker_ended_add(struct worker_ended *ended, struct cv_str session);
/* Now, where there is anything to tell; asked: in any case. */
void worker_ended_tell(struct worker_ended *ended, bool asked);

#endif
