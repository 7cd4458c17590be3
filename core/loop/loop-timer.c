/* SPDX-License-Identifier: MIT
   Timers: a binary heap by deadline. */
#include <config.h>

#include "core/loop/loop-private.h"

#define NOT_IN_HEAP SIZE_MAX

static bool before(const struct cv_timer *a, const struct cv_timer *b)
{
	if (a->deadline_ms != b->deadline_ms)
		return a->deadline_ms < b->deadline_ms;
	return a->order < b->order;
}

static void put(struct cv_loop *loop, size_t at, struct cv_timer *timer)
{
	loop->heap.data[at] = timer;
	timer->at = at;
}

static void sift_up(struct cv_loop *loop, size_t at)
{
	struct cv_timer *timer = loop->heap.data[at];

	while (at > 0 && before(timer, loop->heap.data[(at - 1) / 2])) {
		put(loop, at, loop->heap.data[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put(loop, at, timer);
}

static void sift_down(struct cv_loop *loop, size_t at)
{
	struct cv_timer *timer = loop->heap.data[at];

	for (;;) {
		size_t child = at * 2 + 1;

		if (child >= loop->heap.count)
			break;
		if (child + 1 < loop->heap.count && before(loop->heap.data[child + 1], loop->heap.data[child]))
			child++;
		if (!before(loop->heap.data[child], timer))
			break;
		put(loop, at, loop->heap.data[child]);
		at = child;
	}
	put(loop, at, timer);
}

static void heap_remove(struct cv_loop *loop, struct cv_timer *timer)
{
	size_t at = timer->at;
	struct cv_timer *last;

	if (at == NOT_IN_HEAP)
		return;
	timer->at = NOT_IN_HEAP;
	last = loop->heap.data[--loop->heap.count];
	if (last == timer)
		return;
	put(loop, at, last);
	sift_up(loop, at);
	sift_down(loop, last->at);
}

struct cv_timer *cv_timer_add(struct cv_loop *loop, uint64_t after_ms, cv_timer_fn *fn, void *ctx)
{
	struct cv_timer *timer = cv_new0(struct cv_timer);

	timer->loop = loop;
	timer->fn = fn;
	timer->ctx = ctx;
	timer->at = NOT_IN_HEAP;
	loop->alive++;
	cv_timer_set(timer, after_ms);
	return timer;
}

void cv_timer_set(struct cv_timer *timer, uint64_t after_ms)
{
	struct cv_loop *loop = timer->loop;

	cv_timer_stop(timer);
	timer->deadline_ms = after_ms < UINT64_MAX - 1 - loop->now_ms ? loop->now_ms + after_ms : UINT64_MAX - 1;
	timer->order = loop->timer_order++;
	*cv_vec_push(&loop->heap) = timer;
	sift_up(loop, loop->heap.count - 1);
}

void cv_timer_stop(struct cv_timer *timer)
{
	heap_remove(timer->loop, timer);
	cv_list_remove(&timer->due);
}

void cv_timer_remove(struct cv_timer **timer_p)
{
	struct cv_timer *timer = *timer_p;
	struct cv_loop *loop;

	*timer_p = NULL;
	if (timer == NULL)
		return;
	loop = timer->loop;
	cv_timer_stop(timer);
	cv_free(timer);
	cv_loop_released(loop);
}

uint64_t cv_timers_next(const struct cv_loop *loop)
{
	return loop->heap.count > 0 ? loop->heap.data[0]->deadline_ms : UINT64_MAX;
}

int cv_timers_run(struct cv_loop *loop)
{
	int count = 0;

	/* First all that are due: one that is set to now by a callback waits for the next round. */
	while (cv_timers_next(loop) <= loop->now_ms) {
		struct cv_timer *timer = loop->heap.data[0];

		heap_remove(loop, timer);
		cv_list_append(&loop->due, &timer->due);
	}
	while (!cv_list_empty(&loop->due)) {
		struct cv_timer *timer = cv_container(loop->due.next, struct cv_timer, due);

		cv_list_remove(&timer->due);
		timer->fn(timer->ctx);
		count++;
	}
	return count;
}

void cv_timers_free(struct cv_loop *loop)
{
	while (!cv_list_empty(&loop->due)) {
		struct cv_timer *timer = cv_container(loop->due.next, struct cv_timer, due);

		cv_list_remove(&timer->due);
		cv_free(timer);
	}
	while (loop->heap.count > 0) {
		struct cv_timer *timer = loop->heap.data[0];

		heap_remove(loop, timer);
		cv_free(timer);
	}
}
