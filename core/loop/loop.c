/* SPDX-License-Identifier: MIT
   Rounds of the event loop: wait, descriptors, timers, tasks. */
#include <config.h>

#include "core/loop/loop-private.h"
#include <culver/time.h>

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define FAKE_START_MS 1000

static uint64_t clock_ms(const struct cv_loop *loop)
{
	return loop->fake ? loop->fake_ms : cv_time_mono_ms();
}

struct cv_loop *cv_loop_new(enum cv_loop_backend backend)
{
	struct cv_loop *loop = cv_new0(struct cv_loop);
	struct sigaction pipe_action;

	/* A peer that went away is seen as EPIPE by whoever writes, never as a signal. */
	if (sigaction(SIGPIPE, NULL, &pipe_action) == 0 && pipe_action.sa_handler == SIG_DFL)
		(void)signal(SIGPIPE, SIG_IGN);
	loop->ops = backend == CV_LOOP_EPOLL ? &cv_loop_epoll_ops : &cv_loop_poll_ops;
	loop->fake = backend == CV_LOOP_FAKE;
	loop->fake_ms = FAKE_START_MS;
	loop->epoll_fd = loop->signal_fd = -1;
	cv_list_init(&loop->ios);
	cv_list_init(&loop->dead_ios);
	cv_list_init(&loop->due);
	cv_list_init(&loop->next_round);
	cv_list_init(&loop->round_end);
	cv_list_init(&loop->orphans);
	(void)sigemptyset(&loop->signals);
	loop->ops->open(loop);
	loop->now_ms = clock_ms(loop);
	return loop;
}

static void free_ios(struct cv_node *head)
{
	while (!cv_list_empty(head)) {
		struct cv_io *io = cv_container(head->next, struct cv_io, node);

		cv_list_remove(&io->node);
		cv_free(io);
	}
}

static void free_memory(struct cv_loop *loop)
{
	free_ios(&loop->ios);
	free_ios(&loop->dead_ios);
	cv_timers_free(loop);
	cv_vec_free(&loop->ready);
	cv_vec_free(&loop->heap);
	/* Tasks belong to their owners: leave them as not scheduled. */
	while (!cv_list_empty(&loop->next_round))
		cv_list_remove(loop->next_round.next);
	while (!cv_list_empty(&loop->round_end))
		cv_list_remove(loop->round_end.next);
	cv_free(loop->scratch);
	cv_free(loop->message);
	cv_free(loop);
}

static void free_orphans(struct cv_loop *loop)
{
	while (!cv_list_empty(&loop->orphans)) {
		struct cv_loop_orphan *orphan = cv_container(loop->orphans.next, struct cv_loop_orphan, node);

		cv_list_remove(&orphan->node);
		orphan->free(orphan);
	}
}

void cv_loop_free(struct cv_loop **loop_p)
{
	struct cv_loop *loop = *loop_p;

	*loop_p = NULL;
	if (loop == NULL)
		return;
	free_orphans(loop);
	cv_signals_close(loop);
	loop->ops->close(loop);
	free_memory(loop);
}

void cv_loop_abandon(struct cv_loop **loop_p)
{
	struct cv_loop *loop = *loop_p;

	*loop_p = NULL;
	if (loop == NULL)
		return;
	/* Before anything is removed: a removal would reach through the shared epoll instance into the parent's. */
	loop->abandoned = true;
	loop->alive++; /* for the time of this call */
	free_orphans(loop);
	cv_signals_close(loop);
	loop->ops->close(loop);
	loop->alive--;
	if (loop->alive == 0)
		free_memory(loop);
}

void cv_loop_released(struct cv_loop *loop)
{
	cv_assert(loop->alive > 0);
	loop->alive--;
	if (loop->abandoned && loop->alive == 0)
		free_memory(loop);
}

uint64_t cv_loop_now_ms(const struct cv_loop *loop)
{
	return loop->now_ms;
}

uint64_t cv_loop_rounds(const struct cv_loop *loop)
{
	return loop->rounds;
}

void cv_loop_fake_advance(struct cv_loop *loop, uint64_t ms)
{
	cv_assert(loop->fake);
	loop->fake_ms += ms;
	loop->now_ms = loop->fake_ms;
}

void cv_loop_stop(struct cv_loop *loop)
{
	loop->stopped = true;
}

void cv_loop_on_quiet(struct cv_loop *loop, uint64_t after_ms, void (*fn)(void *ctx), void *ctx)
{
	loop->quiet.fn = fn;
	loop->quiet.ctx = ctx;
	loop->quiet.after_ms = after_ms;
	loop->quiet.since_ms = clock_ms(loop);
	loop->quiet.told = false;
}

static void look_quiet(struct cv_loop *loop, int count)
{
	if (count > 0) {
		loop->quiet.since_ms = loop->now_ms;
		loop->quiet.told = false;
	} else if (loop->quiet.fn != NULL && !loop->quiet.told && loop->now_ms - loop->quiet.since_ms >= loop->quiet.after_ms) {
		loop->quiet.told = true;
		loop->quiet.fn(loop->quiet.ctx);
	}
}

static int wait_ms(const struct cv_loop *loop, int timeout_ms)
{
	uint64_t next = cv_timers_next(loop), left;

	if (loop->fake || !cv_list_empty(&loop->next_round) || !cv_list_empty(&loop->round_end))
		return 0;
	if (loop->quiet.fn != NULL && !loop->quiet.told)
		next = CV_MIN(next, loop->quiet.since_ms + loop->quiet.after_ms);
	if (next == UINT64_MAX)
		return timeout_ms;
	left = next > loop->now_ms ? next - loop->now_ms : 0;
	if (timeout_ms >= 0 && left > (uint64_t)timeout_ms)
		return timeout_ms;
	return left > INT32_MAX ? INT32_MAX : (int)left;
}

/* Those that are scheduled now; what they schedule waits. */
static int run_tasks(struct cv_node *head)
{
	struct cv_node now;
	int count = 0;

	if (cv_list_empty(head))
		return 0;
	/* Put our head in the place of the list's, which is then empty. */
	now = *head;
	now.next->prev = now.prev->next = &now;
	cv_list_init(head);
	while (!cv_list_empty(&now)) {
		struct cv_task *task = cv_container(now.next, struct cv_task, node);

		cv_list_remove(&task->node);
		task->fn(task->ctx);
		count++;
	}
	return count;
}

static int run_ios(struct cv_loop *loop)
{
	int count = 0;

	for (size_t i = 0; i < loop->ready.count; i++) {
		struct cv_io *io = loop->ready.data[i];
		unsigned events;

		/* A callback before this one may have removed it or changed what it waits for. */
		if (io->dead || (io->events & (CV_IO_READ | CV_IO_WRITE)) == 0)
			continue;
		events = io->ready & (io->events | CV_IO_HUP);
		if (events == 0)
			continue;
		io->fn(io->ctx, events);
		count++;
	}
	loop->ready.count = 0;
	return count;
}

static bool has_own_work(const struct cv_loop *loop)
{
	return !cv_list_empty(&loop->next_round) || !cv_list_empty(&loop->round_end) || cv_timers_next(loop) <= loop->now_ms;
}

static int run_round(struct cv_loop *loop, bool ask_kernel, int timeout_ms)
{
	int count;

	loop->rounds++;
	loop->now_ms = clock_ms(loop);
	if (ask_kernel) {
		loop->ops->wait(loop, wait_ms(loop, timeout_ms));
		loop->now_ms = clock_ms(loop);
	}
	count = run_tasks(&loop->next_round);
	count += run_ios(loop);
	count += cv_timers_run(loop);
	count += run_tasks(&loop->round_end);
	free_ios(&loop->dead_ios);
	look_quiet(loop, count);
	return count;
}

int cv_loop_once(struct cv_loop *loop, int timeout_ms)
{
	return run_round(loop, true, timeout_ms);
}

void cv_loop_run(struct cv_loop *loop)
{
	bool asked = true;

	while (!loop->stopped) {
		/* What is left for the next round need not wait for the kernel's word that nothing came; what comes waits for one such round at most. */
		asked = !asked || !has_own_work(loop);
		(void)run_round(loop, asked, -1);
	}
	loop->stopped = false;
}

struct cv_io *cv_io_add(struct cv_loop *loop, int fd, unsigned events, cv_io_fn *fn, void *ctx)
{
	struct cv_io *io = cv_new0(struct cv_io);

	cv_assert(fd >= 0 && fn != NULL);
	io->loop = loop;
	io->fd = fd;
	io->events = events;
	io->fn = fn;
	io->ctx = ctx;
	cv_list_append(&loop->ios, &io->node);
	loop->alive++;
	loop->ops->add(loop, io);
	return io;
}

void cv_io_set(struct cv_io *io, unsigned events)
{
	unsigned before = io->events;

	cv_assert(!io->dead);
	events |= before & CV_IO_EXCLUSIVE;
	if (events == before)
		return;
	io->events = events;
	if (!io->loop->abandoned)
		io->loop->ops->change(io->loop, io, before);
}

static void take_off(struct cv_io **io_p, bool forget)
{
	struct cv_io *io = *io_p;
	struct cv_loop *loop;

	*io_p = NULL;
	if (io == NULL)
		return;
	loop = io->loop;
	cv_list_remove(&io->node);
	if (loop->abandoned) {
		cv_free(io);
	} else {
		if (!forget || !loop->ops->forgets)
			loop->ops->remove(loop, io);
		/* This round's ready list may still hold it. */
		io->dead = true;
		cv_list_append(&loop->dead_ios, &io->node);
	}
	cv_loop_released(loop);
}

void cv_io_remove(struct cv_io **io)
{
	take_off(io, false);
}

void cv_io_forget(struct cv_io **io)
{
	take_off(io, true);
}

void cv_loop_next_round(struct cv_loop *loop, struct cv_task *task)
{
	if (!cv_task_scheduled(task) && !loop->abandoned)
		cv_list_append(&loop->next_round, &task->node);
}

void cv_loop_round_end(struct cv_loop *loop, struct cv_task *task)
{
	if (!cv_task_scheduled(task) && !loop->abandoned)
		cv_list_append(&loop->round_end, &task->node);
}

void cv_task_cancel(struct cv_task *task)
{
	cv_list_remove(&task->node);
}

bool cv_task_scheduled(const struct cv_task *task)
{
	return task->node.next != NULL;
}

char *cv_loop_scratch(struct cv_loop *loop)
{
	if (loop->scratch == NULL)
		loop->scratch = cv_reallocarray(NULL, CV_LOOP_SCRATCH, 1); /* not cleared: most reads fill little of it */
	return loop->scratch;
}
