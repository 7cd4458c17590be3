/* SPDX-License-Identifier: MIT
   The event loop: descriptors, timers, signals and deferred calls of one process, level-triggered, one thread; and what it leaves to another. */
#ifndef CV_LOOP_H
#define CV_LOOP_H

#include <culver/err.h>

struct cv_loop;
struct cv_io;
struct cv_timer;

enum cv_loop_backend {
	CV_LOOP_EPOLL,
	CV_LOOP_POLL,
	CV_LOOP_FAKE /* poll without sleeping, clock moved by cv_loop_fake_advance: for tests of deadlines */
};

enum cv_io_events {
	CV_IO_READ = 1,
	CV_IO_WRITE = 2,
	CV_IO_HUP = 4,        /* only reported: error or hang-up */
	CV_IO_EXCLUSIVE = 8,  /* at add: one of several processes is woken (EPOLLEXCLUSIVE), for listeners */
};

typedef void cv_io_fn(void *ctx, unsigned events);
typedef void cv_timer_fn(void *ctx);
typedef void cv_signal_fn(void *ctx, int signo, int pid, int uid);

/* Made after fork, never shared. Ends the process when the kernel refuses. SIGPIPE is ignored from then on. */
CV_EXPORT struct cv_loop *cv_loop_new(enum cv_loop_backend backend);
/* Everything still registered is removed; descriptors stay open. Sets *loop to NULL. */
CV_EXPORT void cv_loop_free(struct cv_loop **loop);
/* In a forked child: close the parent's loop without touching what it had registered in the shared epoll instance. What had been
   registered may still be removed, set or freed (streams, channels), without an effect; do that after this call, not before. */
CV_EXPORT void cv_loop_abandon(struct cv_loop **loop);
/* Until cv_loop_stop, which may be called from any callback. */
CV_EXPORT void cv_loop_run(struct cv_loop *loop);
CV_EXPORT void cv_loop_stop(struct cv_loop *loop);
/* One round: waits at most timeout_ms (-1: until something happens). Number of callbacks run. */
CV_EXPORT int cv_loop_once(struct cv_loop *loop, int timeout_ms);
/* fn is called once when nothing was called for that long, and again only after something was: to give back what only busy times need. fn NULL: none. */
CV_EXPORT void cv_loop_on_quiet(struct cv_loop *loop, uint64_t after_ms, void (*fn)(void *ctx), void *ctx);
/* Monotonic milliseconds, taken once a round. */
CV_EXPORT uint64_t cv_loop_now_ms(const struct cv_loop *loop);
/* Rounds so far, that which runs included: who was called in the one before too is busy. */
CV_EXPORT uint64_t cv_loop_rounds(const struct cv_loop *loop);
CV_EXPORT void cv_loop_fake_advance(struct cv_loop *loop, uint64_t ms);

/* fd is borrowed. At most one cv_io a descriptor. fn may remove any cv_io, also its own. */
CV_EXPORT struct cv_io *cv_io_add(struct cv_loop *loop, int fd, unsigned events, cv_io_fn *fn, void *ctx);
CV_EXPORT void cv_io_set(struct cv_io *io, unsigned events);
CV_EXPORT void cv_io_remove(struct cv_io **io);

/* One-shot; cv_timer_set starts it anew, from inside fn too. after_ms 0: next round. Exact to a millisecond, O(log n). */
CV_EXPORT struct cv_timer *cv_timer_add(struct cv_loop *loop, uint64_t after_ms, cv_timer_fn *fn, void *ctx);
CV_EXPORT void cv_timer_set(struct cv_timer *timer, uint64_t after_ms);
/* Stop without removing. */
CV_EXPORT void cv_timer_stop(struct cv_timer *timer);
/* One that waits to be set. */
static inline struct cv_timer *cv_timer_add_stopped(struct cv_loop *loop, cv_timer_fn *fn, void *ctx)
{
	struct cv_timer *timer = cv_timer_add(loop, 0, fn, ctx);

	cv_timer_stop(timer);
	return timer;
}
CV_EXPORT void cv_timer_remove(struct cv_timer **timer);

/* Work that may wait for the disk, beside the loop: run is called in a thread of its own and touches nothing that anybody else uses meanwhile; done is called from the
   loop when run has returned, and ends it. With CV_LOOP_FAKE there is no thread: run comes in a later round, or from cv_beside_end. NULL: no thread can be made. */
struct cv_beside;
CV_EXPORT struct cv_beside *cv_beside_begin(struct cv_loop *loop, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx);
/* Waits until run has returned; done is not called any more. Sets *beside to NULL; NULL in is fine. */
CV_EXPORT void cv_beside_end(struct cv_beside **beside);

/* Signals are blocked and read through signalfd; handlers run in the loop. fn NULL: ignored signal is taken off. */
CV_EXPORT void cv_signal_add(struct cv_loop *loop, int signo, cv_signal_fn *fn, void *ctx);
/* Unblock all signals again and let SIGPIPE strike: in a child before exec. */
CV_EXPORT void cv_signal_unblock_all(void);

#endif
