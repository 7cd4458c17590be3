/* SPDX-License-Identifier: MIT
   The event loop: both back ends pass the same tests; deadlines under the fake clock. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/loop.h>
#include <culver/time.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A test that is run on each back end. */
#define on_both(name)                                                                                         \
	static void name##_with(struct cv_loop *loop);                                                        \
	static void name(void **state CV_UNUSED)                                                              \
	{                                                                                                     \
		static const enum cv_loop_backend backends[] = { CV_LOOP_EPOLL, CV_LOOP_POLL };               \
                                                                                                              \
		for (size_t backend_ = 0; backend_ < CV_COUNT_OF(backends); backend_++) {                     \
			struct cv_loop *loop_ = cv_loop_new(backends[backend_]);                              \
                                                                                                              \
			name##_with(loop_);                                                                   \
			cv_loop_free(&loop_);                                                                 \
		}                                                                                             \
	}                                                                                                     \
	static void name##_with(struct cv_loop *loop)

struct end {
	struct cv_loop *loop;
	struct cv_io *io;
	int fd;
	int calls;
	unsigned events;
	struct end *victim; /* removed by the callback */
};

static void note(void *ctx, unsigned events)
{
	struct end *end = ctx;

	end->calls++;
	end->events = events;
	if (end->victim != NULL)
		cv_io_remove(&end->victim->io);
}

static void drain(void *ctx, unsigned events)
{
	struct end *end = ctx;
	char octets[64];

	end->calls++;
	end->events = events;
	if (read(end->fd, octets, sizeof(octets)) == 0)
		cv_io_remove(&end->io);
}

static void pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
}

on_both(reports_readable_until_it_is_read)
{
	struct end end = { 0 };
	int fds[2];

	pair(fds);
	end.io = cv_io_add(loop, fds[0], CV_IO_READ, note, &end);
	assert_int_equal(cv_loop_once(loop, 0), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	/* Level-triggered. */
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(end.calls, 2);
	assert_int_equal(end.events, CV_IO_READ);
	cv_io_remove(&end.io);
	assert_null(end.io);
	assert_int_equal(cv_loop_once(loop, 0), 0);
	cv_io_remove(&end.io);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

on_both(reports_only_what_is_asked_for)
{
	struct end end = { 0 };
	int fds[2];

	pair(fds);
	assert_int_equal(write(fds[1], "x", 1), 1);
	end.io = cv_io_add(loop, fds[0], CV_IO_WRITE, note, &end);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(end.events, CV_IO_WRITE);
	cv_io_set(end.io, CV_IO_READ | CV_IO_WRITE);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(end.events, CV_IO_READ | CV_IO_WRITE);
	cv_io_set(end.io, 0);
	(void)close(fds[1]);
	/* Not even the hang-up: whoever wants nothing must not be called for ever. */
	assert_int_equal(cv_loop_once(loop, 0), 0);
	cv_io_set(end.io, CV_IO_WRITE);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(end.events, CV_IO_WRITE | CV_IO_HUP);
	cv_io_remove(&end.io);
	(void)close(fds[0]);
}

/* Who stops reading is taken off only when something comes: nothing of that may be seen. */
on_both(who_stopped_reading_is_not_called_and_may_read_again)
{
	struct end end = { 0 }, other = { 0 };
	int fds[2];

	pair(fds);
	end.io = cv_io_add(loop, fds[0], CV_IO_READ, note, &end);
	cv_io_set(end.io, 0);
	cv_io_set(end.io, CV_IO_READ);
	cv_io_set(end.io, 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(cv_loop_once(loop, 0), 0);
	cv_io_set(end.io, CV_IO_READ);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	/* Writing goes on without reading. */
	cv_io_set(end.io, CV_IO_READ | CV_IO_WRITE);
	cv_io_set(end.io, CV_IO_WRITE);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(cv_loop_once(loop, 1000), 1);
		assert_int_equal(end.events, CV_IO_WRITE);
	}
	cv_io_set(end.io, CV_IO_READ);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(end.events, CV_IO_READ);
	/* Removed while it wanted nothing: the descriptor may be added anew. */
	cv_io_set(end.io, 0);
	cv_io_remove(&end.io);
	other.io = cv_io_add(loop, fds[0], CV_IO_READ, note, &other);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(other.calls, 1);
	/* Nor is a hang-up told, nor does it keep the loop awake. */
	cv_io_set(other.io, 0);
	(void)close(fds[1]);
	uint64_t before = cv_time_mono_ms();
	while (cv_time_mono_ms() - before < 20)
		assert_int_equal(cv_loop_once(loop, 20), 0);
	assert_int_equal(other.calls, 1);
	cv_io_remove(&other.io);
	(void)close(fds[0]);
}

struct own_work {
	struct cv_loop *loop;
	struct cv_timer *timer;
	int runs, runs_at_call;
};

static void work_again(void *ctx)
{
	struct own_work *own = ctx;

	own->runs++;
	cv_timer_set(own->timer, 0);
}

static void stop_on_read(void *ctx, unsigned events CV_UNUSED)
{
	struct own_work *own = ctx;

	own->runs_at_call = own->runs;
	cv_loop_stop(own->loop);
}

on_both(endless_work_of_its_own_does_not_keep_others_waiting)
{
	struct own_work own = { .loop = loop };
	int fds[2];

	pair(fds);
	assert_int_equal(write(fds[1], "x", 1), 1);
	own.timer = cv_timer_add(loop, 0, work_again, &own);
	struct cv_io *io = cv_io_add(loop, fds[0], CV_IO_READ, stop_on_read, &own);
	cv_loop_run(loop);
	assert_true(own.runs_at_call <= 2);
	cv_io_remove(&io);
	cv_timer_remove(&own.timer);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

on_both(callback_may_remove_itself_at_the_end)
{
	struct end end = { 0 };
	int fds[2];

	pair(fds);
	end.fd = fds[0];
	end.io = cv_io_add(loop, fds[0], CV_IO_READ, drain, &end);
	assert_int_equal(write(fds[1], "abc", 3), 3);
	(void)close(fds[1]);
	while (end.io != NULL)
		assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(end.calls, 2);
	(void)close(fds[0]);
}

on_both(removed_by_another_callback_is_not_called)
{
	struct end a = { 0 }, b = { 0 };
	int fds[4];

	pair(fds);
	pair(fds + 2);
	a.victim = &b;
	b.victim = &a;
	a.io = cv_io_add(loop, fds[0], CV_IO_READ, note, &a);
	b.io = cv_io_add(loop, fds[2], CV_IO_READ, note, &b);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(write(fds[3], "x", 1), 1);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(a.calls + b.calls, 1);
	cv_io_remove(&a.io);
	cv_io_remove(&b.io);
	for (int i = 0; i < 4; i++)
		(void)close(fds[i]);
}

on_both(second_io_of_a_descriptor_is_refused)
{
	struct end end = { 0 };
	int fds[2];

	pair(fds);
	end.io = cv_io_add(loop, fds[0], CV_IO_READ, note, &end);
	expect_assert_failure(cv_io_add(loop, fds[0], CV_IO_READ, note, &end));
	(void)close(fds[0]);
	(void)close(fds[1]);
}

on_both(exclusive_listener_can_be_turned_off_and_on)
{
	struct end end = { 0 };
	int fds[2];

	pair(fds);
	end.io = cv_io_add(loop, fds[0], CV_IO_READ | CV_IO_EXCLUSIVE, note, &end);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	cv_io_set(end.io, 0);
	assert_int_equal(cv_loop_once(loop, 0), 0);
	cv_io_set(end.io, CV_IO_READ);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

struct tick {
	struct cv_loop *loop;
	struct cv_timer *timer;
	int calls, again;
	uint64_t every_ms;
	struct tick *victim;
	char *trail;
	char name;
};

static void tick(void *ctx)
{
	struct tick *t = ctx;

	t->calls++;
	if (t->trail != NULL) {
		size_t len = strlen(t->trail);

		t->trail[len] = t->name;
		t->trail[len + 1] = '\0';
	}
	if (t->victim != NULL)
		cv_timer_remove(&t->victim->timer);
	if (t->again > 0) {
		t->again--;
		cv_timer_set(t->timer, t->every_ms);
	}
}

static void stop_loop(void *ctx)
{
	cv_loop_stop(ctx);
}

on_both(timer_fires_not_before_its_time)
{
	uint64_t start = cv_time_mono_ms();
	struct tick t = { 0 };
	struct cv_timer *stopper;

	t.timer = cv_timer_add(loop, 20, tick, &t);
	stopper = cv_timer_add(loop, 30, stop_loop, loop);
	cv_loop_run(loop);
	assert_int_equal(t.calls, 1);
	assert_true(cv_time_mono_ms() - start >= 29);
	/* Runs again after a stop. */
	cv_timer_set(stopper, 0);
	cv_loop_run(loop);
	assert_int_equal(t.calls, 1);
	cv_timer_remove(&t.timer);
	cv_timer_remove(&stopper);
}

on_both(timer_set_to_now_in_its_callback_waits_a_round)
{
	struct tick t = { .again = 3, .every_ms = 0 };

	t.timer = cv_timer_add(loop, 0, tick, &t);
	for (int i = 1; i <= 4; i++) {
		assert_int_equal(cv_loop_once(loop, 1000), 1);
		assert_int_equal(t.calls, i);
	}
	assert_int_equal(cv_loop_once(loop, 0), 0);
	cv_timer_remove(&t.timer);
}

static int got_signal;

static void on_signal(void *ctx, int signo, int pid, int uid)
{
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, (int)getuid());
	got_signal = signo;
	*(int *)ctx += 1;
}

on_both(signals_come_through_the_loop)
{
	int calls = 0;

	got_signal = 0;
	cv_signal_add(loop, SIGUSR1, on_signal, &calls);
	cv_signal_add(loop, SIGUSR2, on_signal, &calls);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_int_equal(calls, 0);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(got_signal, SIGUSR1);
	assert_int_equal(kill(getpid(), SIGUSR2), 0);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(got_signal, SIGUSR2);
	assert_int_equal(calls, 2);
	cv_signal_add(loop, SIGUSR2, NULL, NULL);
	(void)signal(SIGUSR2, SIG_IGN);
	assert_int_equal(kill(getpid(), SIGUSR2), 0);
	assert_int_equal(cv_loop_once(loop, 0), 0);
	(void)signal(SIGUSR2, SIG_DFL);
}

on_both(child_that_abandons_leaves_the_parents_loop_alone)
{
	struct end end = { 0 };
	struct tick t = { 0 };
	int fds[2], status = 0, calls = 0;
	pid_t pid;

	pair(fds);
	end.io = cv_io_add(loop, fds[0], CV_IO_READ, note, &end);
	t.timer = cv_timer_add(loop, 1000000, tick, &t);
	cv_signal_add(loop, SIGUSR1, on_signal, &calls);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct end mine = { 0 };
		struct cv_loop *own;

		cv_fatal_set_hook(NULL);
		cv_loop_abandon(&loop);
		cv_io_set(end.io, CV_IO_WRITE);
		cv_io_remove(&end.io);
		cv_timer_set(t.timer, 5);
		cv_timer_remove(&t.timer);
		own = cv_loop_new(CV_LOOP_EPOLL);
		mine.io = cv_io_add(own, fds[1], CV_IO_WRITE, note, &mine);
		if (cv_loop_once(own, 1000) != 1)
			_exit(3);
		cv_loop_free(&own);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(cv_loop_once(loop, 1000), 1);
	assert_int_equal(end.calls, 1);
	cv_io_remove(&end.io);
	cv_timer_remove(&t.timer);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

on_both(free_takes_off_what_is_registered)
{
	struct end end = { 0 };
	struct tick t = { 0 };
	int fds[2];

	pair(fds);
	(void)cv_io_add(loop, fds[0], CV_IO_READ, note, &end);
	(void)cv_timer_add(loop, 10, tick, &t);
	/* The descriptor stays open: closing it here works. */
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(close(fds[1]), 0);
}

static void deadlines_run_in_order_under_the_fake_clock(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	char trail[16] = "";
	struct tick a = { .trail = trail, .name = 'a' }, b = { .trail = trail, .name = 'b' },
		    c = { .trail = trail, .name = 'c' }, d = { .trail = trail, .name = 'd' };
	uint64_t start = cv_loop_now_ms(loop);

	c.timer = cv_timer_add(loop, 3600000, tick, &c);
	a.timer = cv_timer_add(loop, 1000, tick, &a);
	b.timer = cv_timer_add(loop, 1000, tick, &b);
	d.timer = cv_timer_add(loop, UINT64_MAX, tick, &d);
	assert_int_equal(cv_loop_once(loop, -1), 0);
	cv_loop_fake_advance(loop, 999);
	assert_int_equal(cv_loop_once(loop, -1), 0);
	cv_loop_fake_advance(loop, 1);
	assert_int_equal(cv_loop_now_ms(loop), start + 1000);
	assert_int_equal(cv_loop_once(loop, -1), 2);
	assert_string_equal(trail, "ab");
	cv_timer_set(a.timer, 3598999);
	cv_timer_stop(b.timer);
	cv_loop_fake_advance(loop, 10000000);
	assert_int_equal(cv_loop_once(loop, -1), 2);
	assert_string_equal(trail, "abac");
	cv_timer_remove(&a.timer);
	cv_timer_remove(&b.timer);
	cv_timer_remove(&c.timer);
	cv_timer_remove(&d.timer);
	cv_loop_free(&loop);
}

static void due_timer_removed_by_another_does_not_run(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct tick a = { 0 }, b = { 0 };

	a.timer = cv_timer_add(loop, 10, tick, &a);
	b.timer = cv_timer_add(loop, 20, tick, &b);
	a.victim = &b;
	cv_loop_fake_advance(loop, 30);
	assert_int_equal(cv_loop_once(loop, -1), 1);
	assert_int_equal(b.calls, 0);
	cv_timer_remove(&a.timer);
	cv_loop_free(&loop);
}

static void heap_of_many_timers_stays_in_order(void **state)
{
	enum { COUNT = 2000 };
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct tick *ticks = cv_new(*state, struct tick, COUNT);
	int ran = 0;

	for (unsigned i = 0; i < COUNT; i++)
		ticks[i].timer = cv_timer_add(loop, 1 + i * 7919 % COUNT, tick, &ticks[i]);
	/* Take some out of the middle and set others anew. */
	for (unsigned i = 0; i < COUNT; i += 3)
		cv_timer_stop(ticks[i].timer);
	for (unsigned i = 0; i < COUNT; i += 6)
		cv_timer_set(ticks[i].timer, 1 + i % 1000);
	for (unsigned ms = 1; ms <= COUNT; ms++) {
		cv_loop_fake_advance(loop, 1);
		ran += cv_loop_once(loop, 0);
		for (unsigned i = 0; i < COUNT; i++) {
			uint64_t due = i % 6 == 0 ? 1 + i % 1000 : i % 3 == 0 ? UINT64_MAX : 1 + i * 7919 % COUNT;

			if (ticks[i].calls != (due <= ms ? 1 : 0))
				fail_msg("timer %u at %u ms", i, ms);
		}
	}
	assert_int_equal(ran, COUNT - COUNT / 3 - 1 + COUNT / 6 + 1);
	for (unsigned i = 0; i < COUNT; i++)
		cv_timer_remove(&ticks[i].timer);
	cv_loop_free(&loop);
}

static void count_call(void *ctx)
{
	++*(int *)ctx;
}

static void quiet_is_told_once_after_each_busy_time(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct tick busy = { 0 };
	int quiet = 0;

	busy.timer = cv_timer_add(loop, 500, tick, &busy);
	cv_loop_on_quiet(loop, 1000, count_call, &quiet);
	cv_loop_fake_advance(loop, 500);
	assert_int_equal(cv_loop_once(loop, 0), 1);
	cv_loop_fake_advance(loop, 999);
	assert_int_equal(cv_loop_once(loop, 0), 0);
	assert_int_equal(quiet, 0);
	cv_loop_fake_advance(loop, 1);
	assert_int_equal(cv_loop_once(loop, 0), 0);
	assert_int_equal(quiet, 1);
	cv_loop_fake_advance(loop, 5000);
	assert_int_equal(cv_loop_once(loop, 0), 0);
	assert_int_equal(quiet, 1);
	cv_timer_set(busy.timer, 1);
	cv_loop_fake_advance(loop, 1);
	assert_int_equal(cv_loop_once(loop, 0), 1);
	cv_loop_fake_advance(loop, 1000);
	assert_int_equal(cv_loop_once(loop, 0), 0);
	assert_int_equal(quiet, 2);
	cv_timer_remove(&busy.timer);
	cv_loop_free(&loop);
}

/* With a real clock and nothing else to wait for. */
static void quiet_ends_a_wait(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	int quiet = 0;

	cv_loop_on_quiet(loop, 5, count_call, &quiet);
	while (quiet == 0)
		(void)cv_loop_once(loop, 10000);
	assert_int_equal(cv_loop_once(loop, 10), 0);
	assert_int_equal(quiet, 1);
	cv_loop_free(&loop);
}

struct beside_work {
	struct cv_loop *loop;
	struct cv_beside *beside;
	int gate[2]; /* run waits for an octet from it; -1: it does not */
	unsigned ran, done;
};

static void beside_run(void *ctx)
{
	struct beside_work *work = ctx;
	char octet;

	if (work->gate[0] < 0 || read(work->gate[0], &octet, 1) == 1)
		work->ran++;
}

static void beside_done(void *ctx)
{
	struct beside_work *work = ctx;

	work->done++;
	cv_beside_end(&work->beside);
	cv_loop_stop(work->loop);
}

static void beside_begin(struct beside_work *work, enum cv_loop_backend backend)
{
	*work = (struct beside_work){ .loop = cv_loop_new(backend), .gate = { -1, -1 } };
}

static void work_beside_does_not_hold_up_the_loop(void **state)
{
	struct beside_work work;

	(void)state;
	beside_begin(&work, CV_LOOP_EPOLL);
	assert_int_equal(pipe(work.gate), 0);
	work.beside = cv_beside_begin(work.loop, beside_run, beside_done, &work);
	assert_non_null(work.beside);
	for (unsigned i = 0; i < 3; i++)
		(void)cv_loop_once(work.loop, 1);
	assert_int_equal(work.done, 0);
	assert_int_equal(write(work.gate[1], "x", 1), 1);
	cv_loop_run(work.loop);
	assert_int_equal(work.ran, 1);
	assert_int_equal(work.done, 1);
	assert_null(work.beside);
	(void)close(work.gate[0]);
	(void)close(work.gate[1]);
	cv_loop_free(&work.loop);
}

static void who_ends_work_beside_has_it_done(void **state)
{
	const enum cv_loop_backend backends[] = { CV_LOOP_EPOLL, CV_LOOP_FAKE };

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(backends); i++) {
		struct beside_work work;

		beside_begin(&work, backends[i]);
		work.beside = cv_beside_begin(work.loop, beside_run, beside_done, &work);
		cv_beside_end(&work.beside);
		assert_null(work.beside);
		(void)cv_loop_once(work.loop, 0);
		assert_int_equal(work.ran, 1);
		assert_int_equal(work.done, 0);
		cv_loop_free(&work.loop);
	}
}

static void a_tests_loop_runs_work_beside_in_later_rounds(void **state)
{
	struct beside_work work;

	(void)state;
	beside_begin(&work, CV_LOOP_FAKE);
	work.beside = cv_beside_begin(work.loop, beside_run, beside_done, &work);
	assert_int_equal(work.ran, 0);
	(void)cv_loop_once(work.loop, 0);
	assert_int_equal(work.ran, 1);
	assert_int_equal(work.done, 0);
	(void)cv_loop_once(work.loop, 0);
	assert_int_equal(work.done, 1);
	cv_loop_free(&work.loop);
}

/* The C library keeps memory of a thread that has ended for the next one. */
static void nothing(CV_UNUSED void *ctx)
{
}

static void have_a_thread_before(void)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_EPOLL);
	struct cv_beside *beside = cv_beside_begin(loop, nothing, nothing, NULL);

	cv_beside_end(&beside);
	cv_loop_free(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(reports_readable_until_it_is_read),
		cv_test(reports_only_what_is_asked_for),
		cv_test(who_stopped_reading_is_not_called_and_may_read_again),
		cv_test(endless_work_of_its_own_does_not_keep_others_waiting),
		cv_test(callback_may_remove_itself_at_the_end),
		cv_test(removed_by_another_callback_is_not_called),
		cv_test(second_io_of_a_descriptor_is_refused),
		cv_test(exclusive_listener_can_be_turned_off_and_on),
		cv_test(timer_fires_not_before_its_time),
		cv_test(timer_set_to_now_in_its_callback_waits_a_round),
		cv_test(signals_come_through_the_loop),
		cv_test(child_that_abandons_leaves_the_parents_loop_alone),
		cv_test(free_takes_off_what_is_registered),
		cv_test(deadlines_run_in_order_under_the_fake_clock),
		cv_test(due_timer_removed_by_another_does_not_run),
		cv_test(heap_of_many_timers_stays_in_order),
		cv_test(quiet_is_told_once_after_each_busy_time),
		cv_test(quiet_ends_a_wait),
		cv_test(work_beside_does_not_hold_up_the_loop),
		cv_test(who_ends_work_beside_has_it_done),
		cv_test(a_tests_loop_runs_work_beside_in_later_rounds),
	};

	have_a_thread_before();
	return cv_test_run(tests);
}
