/* SPDX-License-Identifier: MIT
   Work beside the loop: a thread for one call, whose end the loop hears of through a descriptor. */
#include <config.h>

#include "core/loop/loop-private.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_SIZE ((size_t)256 << 10)

struct cv_beside {
	void (*run)(void *ctx);
	void (*done)(void *ctx);
	void *ctx;
	pthread_t thread;       /* unless the loop is a test's */
	int event;              /* the thread's word that run has returned */
	struct cv_io *io;
	struct cv_timer *timer; /* of a test's loop, for run and then for done; else NULL */
	bool has_run;
};

static void *thread_main(void *ctx)
{
	struct cv_beside *beside = ctx;

	beside->run(beside->ctx);
	/* The counter is 0: there is room. */
	if (eventfd_write(beside->event, 1) < 0)
		cv_fatal("the end of work beside the loop can't be told");
	return NULL;
}

static void on_event(void *ctx, CV_UNUSED unsigned events)
{
	struct cv_beside *beside = ctx;

	beside->done(beside->ctx);
}

static void on_fake(void *ctx)
{
	struct cv_beside *beside = ctx;

	if (beside->has_run) {
		beside->done(beside->ctx);
		return;
	}
	beside->has_run = true;
	beside->run(beside->ctx);
	cv_timer_set(beside->timer, 0);
}

/* All signals are the loop's. */
static bool start(struct cv_beside *beside)
{
	pthread_attr_t attr;
	sigset_t all, before;
	bool started;

	if (pthread_attr_init(&attr) != 0)
		return false;
	(void)sigfillset(&all);
	started = pthread_attr_setstacksize(&attr, STACK_SIZE) == 0 && pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
	if (started) {
		started = pthread_create(&beside->thread, &attr, thread_main, beside) == 0;
		(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	(void)pthread_attr_destroy(&attr);
	return started;
}

struct cv_beside *cv_beside_begin(struct cv_loop *loop, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx)
{
	struct cv_beside *beside = cv_new0(struct cv_beside);

	*beside = (struct cv_beside){ .run = run, .done = done, .ctx = ctx, .event = -1 };
	if (loop->fake) {
		beside->timer = cv_timer_add(loop, 0, on_fake, beside);
		return beside;
	}
	beside->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (beside->event >= 0 && start(beside)) {
		beside->io = cv_io_add(loop, beside->event, CV_IO_READ, on_event, beside);
		return beside;
	}
	if (beside->event >= 0)
		(void)close(beside->event);
	cv_free(beside);
	return NULL;
}

void cv_beside_end(struct cv_beside **beside_p)
{
	struct cv_beside *beside = *beside_p;

	*beside_p = NULL;
	if (beside == NULL)
		return;
	if (beside->event >= 0) {
		(void)pthread_join(beside->thread, NULL);
		cv_io_remove(&beside->io);
		(void)close(beside->event);
	} else if (!beside->has_run) {
		beside->run(beside->ctx);
	}
	cv_timer_remove(&beside->timer);
	cv_free(beside);
}
