/* SPDX-License-Identifier: MIT
   The epoll back end. */
#include <config.h>

#include "core/loop/loop-private.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_A_ROUND 256

static bool wanted(unsigned events)
{
	return (events & (CV_IO_READ | CV_IO_WRITE)) != 0;
}

/* Tell the kernel what is wanted. */
static void control(const struct cv_loop *loop, int op, struct cv_io *io)
{
	struct epoll_event event = { .data.ptr = io };

	io->watched = op == EPOLL_CTL_DEL ? 0 : io->events;

	if ((io->events & CV_IO_READ) != 0)
		event.events |= EPOLLIN;
	if ((io->events & CV_IO_WRITE) != 0)
		event.events |= EPOLLOUT;
	if ((io->events & CV_IO_EXCLUSIVE) != 0 && op == EPOLL_CTL_ADD)
		event.events |= EPOLLEXCLUSIVE;
	if (epoll_ctl(loop->epoll_fd, op, io->fd, &event) == 0)
		return;
	if (op == EPOLL_CTL_ADD && errno == ENOSPC)
		cv_fatal("too many descriptors watched (fs.epoll.max_user_watches)");
	/* A second cv_io of the descriptor, or one that was closed under us: our bug. */
	if (op != EPOLL_CTL_DEL)
		cv_fatal("epoll_ctl(%d) of descriptor %d failed (errno %d)", op, io->fd, errno);
}

static void epoll_open(struct cv_loop *loop)
{
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		cv_fatal("epoll_create1 failed (errno %d)", errno);
}

static void epoll_close(struct cv_loop *loop)
{
	(void)close(loop->epoll_fd);
	loop->epoll_fd = -1;
}

/* epoll reports hang-ups even when nothing is asked for: who wants nothing is not in it. */
static void epoll_add(struct cv_loop *loop, struct cv_io *io)
{
	if (wanted(io->events))
		control(loop, EPOLL_CTL_ADD, io);
}

static void epoll_remove(struct cv_loop *loop, struct cv_io *io)
{
	if (wanted(io->watched))
		control(loop, EPOLL_CTL_DEL, io);
}

/* An exclusive one can't be modified. */
static void tell(struct cv_loop *loop, struct cv_io *io)
{
	if (wanted(io->watched) && wanted(io->events) && (io->watched & CV_IO_EXCLUSIVE) == 0) {
		control(loop, EPOLL_CTL_MOD, io);
		return;
	}
	if (wanted(io->watched))
		control(loop, EPOLL_CTL_DEL, io);
	if (wanted(io->events))
		control(loop, EPOLL_CTL_ADD, io);
}

/* Who stops reading mostly reads on, or goes, before anything comes: the kernel is told only when something does. Writing is not put off like
   that, since a socket can mostly be written to. */
static void epoll_change(struct cv_loop *loop, struct cv_io *io, unsigned before CV_UNUSED)
{
	unsigned surplus = io->watched & ~io->events;

	if ((io->events & ~io->watched) == 0 && (surplus & CV_IO_WRITE) == 0 && (io->watched & CV_IO_EXCLUSIVE) == 0)
		return;
	tell(loop, io);
}

static void epoll_wait_round(struct cv_loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS_A_ROUND];
	int count = epoll_wait(loop->epoll_fd, events, EVENTS_A_ROUND, timeout_ms);

	if (count < 0 && errno != EINTR)
		cv_fatal("epoll_wait failed (errno %d)", errno);
	for (int i = 0; i < count; i++) {
		struct cv_io *io = events[i].data.ptr;

		io->ready = ((events[i].events & EPOLLIN) != 0 ? CV_IO_READ : 0u) |
			((events[i].events & EPOLLOUT) != 0 ? CV_IO_WRITE : 0u);
		/* Whoever waits learns of an error by trying. */
		if ((events[i].events & (EPOLLERR | EPOLLHUP)) != 0)
			io->ready |= CV_IO_HUP | CV_IO_READ | CV_IO_WRITE;
		if (io->watched != io->events && (io->ready & (io->watched & ~io->events)) != 0)
			tell(loop, io);
		if (wanted(io->events))
			*cv_vec_push(&loop->ready) = io;
	}
}

const struct cv_loop_ops cv_loop_epoll_ops = {
	.open = epoll_open,
	.close = epoll_close,
	.add = epoll_add,
	.change = epoll_change,
	.remove = epoll_remove,
	.forgets = true,
	.wait = epoll_wait_round,
};
