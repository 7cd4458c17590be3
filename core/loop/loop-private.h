/* SPDX-License-Identifier: MIT
   Inside the event loop: its back ends, its timers, and the tasks that streams and channels hang into a round. */
#ifndef CV_LOOP_PRIVATE_H
#define CV_LOOP_PRIVATE_H

#include <culver/loop.h>
#include <culver/map.h>

#include <signal.h>

#define CV_LOOP_SCRATCH 65536 /* octets */

struct cv_io {
	struct cv_node node; /* in loop->ios, or loop->dead_ios once removed */
	struct cv_loop *loop;
	int fd;
	unsigned events; /* wanted */
	unsigned watched; /* epoll: what the kernel was told; may be more than is wanted */
	unsigned ready;  /* of this round */
	bool dead;
	cv_io_fn *fn;
	void *ctx;
};

struct cv_timer {
	struct cv_loop *loop;
	uint64_t deadline_ms;
	uint64_t order;     /* equal deadlines run in the order of setting */
	size_t at;          /* index in the heap, SIZE_MAX when not in it */
	struct cv_node due; /* in loop->due while its round runs it */
	cv_timer_fn *fn;
	void *ctx;
};

/* A call that is run once, at one of two places of a round. Embedded in its owner; zeroed is "not scheduled". */
struct cv_task {
	struct cv_node node;
	void (*fn)(void *ctx);
	void *ctx;
};

/* What no one owns any more but the loop, such as a stream that is closed once its output is written. */
struct cv_loop_orphan {
	struct cv_node node;
	void (*free)(struct cv_loop_orphan *orphan);
};

/* What differs between epoll and poll. Interest without READ and WRITE means that nothing is reported at all. */
struct cv_loop_ops {
	void (*open)(struct cv_loop *loop);
	void (*close)(struct cv_loop *loop);
	void (*add)(struct cv_loop *loop, struct cv_io *io);
	void (*change)(struct cv_loop *loop, struct cv_io *io, unsigned events_before);
	void (*remove)(struct cv_loop *loop, struct cv_io *io);
	bool forgets; /* of a descriptor that is closed nothing is reported any more, whether it was removed or not */
	/* Pushes what is ready to loop->ready with io->ready set. */
	void (*wait)(struct cv_loop *loop, int timeout_ms);
};

struct cv_loop {
	const struct cv_loop_ops *ops;
	bool fake;
	bool stopped;
	bool abandoned; /* in a child: lives on until what was registered is removed */
	size_t alive;   /* ios and timers */
	int epoll_fd;
	struct cv_node ios, dead_ios;
	CV_VEC(struct cv_io *) ready;
	CV_VEC(struct cv_timer *) heap;
	uint64_t timer_order;
	struct cv_node due;
	struct cv_node next_round, round_end; /* struct cv_task */
	uint64_t rounds; /* so far */
	struct cv_node orphans;               /* struct cv_loop_orphan */
	uint64_t now_ms, fake_ms;
	int signal_fd;
	struct cv_io *signal_io;
	sigset_t signals;
	struct {
		cv_signal_fn *fn;
		void *ctx;
	} handlers[NSIG];
	char *scratch;
	char *message; /* of core/ipc: one buffer to receive in, kept between messages; NULL while it is in use, or until it was needed */
	struct {
		void (*fn)(void *ctx); /* NULL: none */
		void *ctx;
		uint64_t after_ms;
		uint64_t since_ms;     /* the last call of anything */
		bool told;
	} quiet;
};

extern const struct cv_loop_ops cv_loop_epoll_ops, cv_loop_poll_ops;

/* Run the task at the beginning of the next round (which then does not sleep), or at the end of this one, after all
   callbacks. Nothing happens when it is scheduled already. A task scheduled at the end of a round runs at the end of the next. */
void cv_loop_next_round(struct cv_loop *loop, struct cv_task *task);
void cv_loop_round_end(struct cv_loop *loop, struct cv_task *task);
void cv_task_cancel(struct cv_task *task);
bool cv_task_scheduled(const struct cv_task *task);
/* CV_LOOP_SCRATCH octets for one read within one function. */
char *cv_loop_scratch(struct cv_loop *loop);

/* As cv_io_remove, for a descriptor that is closed right behind it and that nobody else has: the kernel then forgets it by itself. */
void cv_io_forget(struct cv_io **io);

/* loop-timer.c */
uint64_t cv_timers_next(const struct cv_loop *loop); /* deadline, UINT64_MAX when there is none */
int cv_timers_run(struct cv_loop *loop);
void cv_timers_free(struct cv_loop *loop);
/* loop-signal.c */
void cv_signals_close(struct cv_loop *loop);
/* loop.c: an io or a timer is gone. */
void cv_loop_released(struct cv_loop *loop);

#endif
