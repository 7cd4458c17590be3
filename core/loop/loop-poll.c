/* SPDX-License-Identifier: MIT
   The poll back end, also under the fake clock of tests. */
#include <config.h>

#include "core/loop/loop-private.h"

#include <errno.h>
#include <poll.h>

static void nothing(struct cv_loop *loop CV_UNUSED)
{
}

static void poll_add(struct cv_loop *loop, struct cv_io *io)
{
	struct cv_node *node, *tmp;

	/* The rule that epoll enforces by itself. */
	cv_list_foreach (&loop->ios, node, tmp) {
		const struct cv_io *other = cv_container(node, struct cv_io, node);

		if (other != io && other->fd == io->fd)
			cv_fatal("descriptor %d has two cv_io", io->fd);
	}
}

static void poll_change(struct cv_loop *loop CV_UNUSED, struct cv_io *io CV_UNUSED, unsigned before CV_UNUSED)
{
}

static void poll_remove(struct cv_loop *loop CV_UNUSED, struct cv_io *io CV_UNUSED)
{
}

static void poll_wait(struct cv_loop *loop, int timeout_ms)
{
	CV_VEC(struct pollfd) fds = { 0 };
	CV_VEC(struct cv_io *) ios = { 0 };
	struct cv_node *node, *tmp;
	int count;

	cv_list_foreach (&loop->ios, node, tmp) {
		struct cv_io *io = cv_container(node, struct cv_io, node);
		struct pollfd *fd;

		if ((io->events & (CV_IO_READ | CV_IO_WRITE)) == 0)
			continue;
		fd = cv_vec_push(&fds);
		fd->fd = io->fd;
		fd->events = (short)(((io->events & CV_IO_READ) != 0 ? POLLIN : 0) |
			((io->events & CV_IO_WRITE) != 0 ? POLLOUT : 0));
		*cv_vec_push(&ios) = io;
	}
	count = poll(fds.data, fds.count, timeout_ms);
	if (count < 0 && errno != EINTR)
		cv_fatal("poll failed (errno %d)", errno);
	for (size_t i = 0; count > 0 && i < fds.count; i++) {
		short got = fds.data[i].revents;
		struct cv_io *io = ios.data[i];

		if (got == 0)
			continue;
		if ((got & POLLNVAL) != 0)
			cv_fatal("descriptor %d was closed while it was watched", io->fd);
		io->ready = ((got & POLLIN) != 0 ? CV_IO_READ : 0u) | ((got & POLLOUT) != 0 ? CV_IO_WRITE : 0u);
		if ((got & (POLLERR | POLLHUP)) != 0)
			io->ready |= CV_IO_HUP | CV_IO_READ | CV_IO_WRITE;
		*cv_vec_push(&loop->ready) = io;
	}
	cv_vec_free(&fds);
	cv_vec_free(&ios);
}

const struct cv_loop_ops cv_loop_poll_ops = {
	.open = nothing,
	.close = nothing,
	.add = poll_add,
	.change = poll_change,
	.remove = poll_remove,
	.wait = poll_wait,
};
