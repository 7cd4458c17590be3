/* SPDX-License-Identifier: MIT
   Signals: blocked, and read from a signalfd like any other input. */
#include <config.h>

#include "core/loop/loop-private.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void on_signals(void *ctx, unsigned events CV_UNUSED)
{
	struct cv_loop *loop = ctx;
	struct signalfd_siginfo info;

	/* One a call: the handler may free whatever it likes, and the descriptor stays readable. */
	if (read(loop->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo < NSIG && loop->handlers[info.ssi_signo].fn != NULL)
		loop->handlers[info.ssi_signo].fn(loop->handlers[info.ssi_signo].ctx, (int)info.ssi_signo,
			(int)info.ssi_pid, (int)info.ssi_uid);
}

void cv_signal_add(struct cv_loop *loop, int signo, cv_signal_fn *fn, void *ctx)
{
	sigset_t one;

	cv_assert(signo > 0 && signo < NSIG);
	(void)sigemptyset(&one);
	(void)sigaddset(&one, signo);
	loop->handlers[signo].fn = fn;
	loop->handlers[signo].ctx = ctx;
	if (fn != NULL)
		(void)sigaddset(&loop->signals, signo);
	else
		(void)sigdelset(&loop->signals, signo);
	/* Block before it is in the set, unblock after it has left it: never a moment in which it would strike. */
	if (fn != NULL && sigprocmask(SIG_BLOCK, &one, NULL) != 0)
		cv_fatal("signal %d cannot be blocked (errno %d)", signo, errno);
	if (loop->signal_fd < 0) {
		loop->signal_fd = signalfd(-1, &loop->signals, SFD_CLOEXEC | SFD_NONBLOCK);
		if (loop->signal_fd < 0)
			cv_fatal("signalfd failed (errno %d)", errno);
		loop->signal_io = cv_io_add(loop, loop->signal_fd, CV_IO_READ, on_signals, loop);
	} else if (signalfd(loop->signal_fd, &loop->signals, SFD_CLOEXEC | SFD_NONBLOCK) < 0) {
		cv_fatal("signalfd failed (errno %d)", errno);
	}
	if (fn == NULL)
		(void)sigprocmask(SIG_UNBLOCK, &one, NULL);
}

void cv_signal_unblock_all(void)
{
	sigset_t none;
	struct sigaction action;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* cv_loop_new has it ignored, and exec would pass that on. */
	if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
		(void)signal(SIGPIPE, SIG_DFL);
}

void cv_signals_close(struct cv_loop *loop)
{
	struct cv_io *io = loop->signal_io;

	loop->signal_io = NULL;
	if (io != NULL) {
		cv_list_remove(&io->node);
		if (!loop->abandoned)
			loop->ops->remove(loop, io);
		cv_free(io);
		loop->alive--;
	}
	if (loop->signal_fd >= 0)
		(void)close(loop->signal_fd);
	loop->signal_fd = -1;
}
