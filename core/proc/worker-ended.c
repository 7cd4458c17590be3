/* SPDX-License-Identifier: MIT
   What a worker tells of sessions that ended. */
#include "core/proc/worker-ended.h"

#include "core/proc/login-private.h"

#define TELL_MS 20
#define AT_ONCE_MAX 64u /* as many fit into CV_WORKER_ENDED_LEN */

static void on_timer(void *ctx)
{
	worker_ended_tell(ctx, false);
}

void worker_ended_init(struct worker_ended *ended, struct cv_loop *loop)
{
	cv_buf_init(&ended->ids, CV_WORKER_ENDED_LEN);
	ended->timer = cv_timer_add_stopped(loop, on_timer, ended);
}

void worker_ended_deinit(struct worker_ended *ended)
{
	cv_timer_remove(&ended->timer);
	cv_buf_deinit(&ended->ids);
}

void worker_ended_add(struct worker_ended *ended, struct cv_str session)
{
	if (ended->count == 0)
		cv_timer_set(ended->timer, TELL_MS);
	cv_put_str(&ended->ids, session);
	if (++ended->count >= AT_ONCE_MAX)
		worker_ended_tell(ended, false);
}

void worker_ended_tell(struct worker_ended *ended, bool asked)
{
	struct cv_buf out;

	if (ended->count == 0 && !asked)
		return;
	cv_timer_stop(ended->timer);
	cv_buf_init(&out, CV_WORKER_ENDED_LEN);
	cv_put_u8(&out, asked);
	cv_buf_append(&out, cv_buf_str(&ended->ids));
	ended->tell(ended->ctx, &out);
	cv_buf_deinit(&out);
	cv_buf_deinit(&ended->ids);
	ended->count = 0;
}
