/* SPDX-License-Identifier: MIT
   Relays: octets moved between two streams until both directions have ended. */
#include <config.h>

#include "core/loop/stream-private.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLOSE_MS 10000      /* for what is still to be written when the relay ends */
#define GIVE_MS 60000       /* for a to take its last octets */
#define GIVE_MAX ((size_t)1024 * 1024) /* octets that come back: all that can be on its way in a pair of sockets, and more */
#define HALF_IDLE_MS 1800000 /* silence after one direction ended */

/* One direction. */
struct way {
	struct cv_relay *relay;
	struct cv_stream **from, **to;
	bool ended;
	uint64_t moved; /* octets */
};

struct cv_relay {
	struct cv_stream *a, *b; /* owned */
	struct way ways[2];
	struct cv_timer *idle; /* once one direction ended */
	void (*done)(void *ctx);
	void *ctx;
	/* b gives a back. */
	bool giving;
	struct cv_buf rest; /* giving: a's input that b's user had not taken */
	uint64_t due; /* octets that b's user had for a, counted from the beginning */
	cv_relay_back_fn *back;
	void *back_ctx;
};

/* a is the caller's again, with what b's user had not taken of its input; or both are lost. */
static void end_giving(struct cv_relay *relay, bool good)
{
	cv_relay_back_fn *back = relay->back;
	void *ctx = relay->back_ctx;
	struct cv_stream *a = relay->a, *b = relay->b;
	struct cv_buf rest = relay->rest;

	cv_timer_remove(&relay->idle);
	cv_free(relay);
	if (!good)
		cv_stream_close_after_flush(&a, CLOSE_MS);
	cv_stream_free(&b);
	back(ctx, a, cv_buf_str(&rest));
	cv_buf_deinit(&rest);
}

static void finish(struct cv_relay *relay)
{
	void (*done)(void *ctx) = relay->done;
	void *ctx = relay->ctx;

	cv_stream_close_after_flush(&relay->a, CLOSE_MS);
	cv_stream_close_after_flush(&relay->b, CLOSE_MS);
	cv_timer_remove(&relay->idle);
	cv_free(relay);
	if (done != NULL)
		done(ctx);
}

static void on_idle(void *ctx)
{
	struct cv_relay *relay = ctx;

	if (relay->giving)
		end_giving(relay, false);
	else
		finish(relay);
}

/* b's last octets for a. */
static void move_giving(struct cv_relay *relay)
{
	struct way *way = &relay->ways[1];
	size_t len = (size_t)CV_MIN((uint64_t)CV_MIN(cv_stream_input(relay->b).len, cv_stream_room(relay->a)), relay->due - way->moved);

	if (len > 0) {
		cv_stream_write(relay->a, cv_str_sub(cv_stream_input(relay->b), 0, len));
		cv_stream_consume(relay->b, len);
		way->moved += len;
	}
	bool all = way->moved == relay->due;
	if (cv_stream_error(relay->a) != NULL || !cv_buf_ok(&relay->rest) || (!all && (cv_stream_error(relay->b) != NULL || cv_stream_eof(relay->b))))
		end_giving(relay, false);
	else if (all)
		end_giving(relay, cv_stream_input(relay->b).len == 0);
}

/* As much as there is room for. */
static size_t move_octets(struct way *way)
{
	struct cv_str in = cv_stream_input(*way->from);
	size_t len = CV_MIN(in.len, cv_stream_room(*way->to));

	if (len > 0) {
		cv_stream_write(*way->to, cv_str_sub(in, 0, len));
		cv_stream_consume(*way->from, len);
		way->moved += len;
	}
	return len;
}

/* False when the relay is finished, and gone. */
static bool move(struct way *way)
{
	struct cv_relay *relay = way->relay;
	struct cv_stream *from = *way->from, *to = *way->to;

	if (relay->giving) {
		move_giving(relay);
		return false;
	}
	if (move_octets(way) > 0 && relay->idle != NULL)
		cv_timer_set(relay->idle, HALF_IDLE_MS);
	if (cv_stream_error(to) != NULL || (cv_stream_error(from) != NULL && cv_stream_input(from).len == 0)) {
		finish(relay);
		return false;
	}
	if (!way->ended && cv_stream_eof(from)) {
		way->ended = true;
		cv_stream_half_close(to);
		if (relay->idle == NULL)
			relay->idle = cv_timer_add(from->loop, HALF_IDLE_MS, on_idle, relay);
		/* Nobody is left to read what the other direction would bring. */
		if (cv_stream_gone(from) || (relay->ways[0].ended && relay->ways[1].ended)) {
			finish(relay);
			return false;
		}
	}
	return true;
}

static void way_input(void *ctx)
{
	(void)move(ctx);
}

/* The stream that this way reads from has room again for what the other one brings. */
static void way_output(void *ctx)
{
	struct way *way = ctx;
	struct cv_relay *relay = way->relay;

	(void)move(way == &relay->ways[0] ? &relay->ways[1] : &relay->ways[0]);
}

struct cv_relay *cv_relay_new(struct cv_stream *a, struct cv_stream *b, void (*done)(void *ctx), void *ctx)
{
	static const struct cv_stream_ops ops = { .input = way_input, .output = way_output };
	struct cv_relay *relay = cv_new0(struct cv_relay);

	relay->a = a;
	relay->b = b;
	relay->ways[0] = (struct way){ .relay = relay, .from = &relay->a, .to = &relay->b };
	relay->ways[1] = (struct way){ .relay = relay, .from = &relay->b, .to = &relay->a };
	relay->done = done;
	relay->ctx = ctx;
	cv_stream_set_ops(a, &ops, &relay->ways[0]);
	/* What b has brought already need not wait for the next round. */
	(void)move_octets(&relay->ways[1]);
	cv_stream_set_ops(b, &ops, &relay->ways[1]);
	cv_stream_resume(a);
	cv_stream_resume(b);
	return relay;
}

/* What is on its way to b's user: in the kernel, then here. */
static void take_back(struct cv_relay *relay, int end_fd)
{
	struct cv_stream *b = relay->b;
	char *scratch = cv_loop_scratch(b->loop);
	ssize_t n = 0;

	while (cv_buf_ok(&relay->rest)) {
		n = recv(end_fd, scratch, CV_LOOP_SCRATCH, MSG_DONTWAIT);
		if (n > 0) {
			cv_buf_append_mem(&relay->rest, scratch, (size_t)n);
			cv_wipe(scratch, (size_t)n);
		} else if (n == 0 || (n < 0 && errno != EINTR)) {
			break;
		}
	}
	/* Whatever that was, it is no end of a pair. */
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
		relay->rest.failed = true;
	cv_buf_append(&relay->rest, cv_str_sub(cv_buf_str(&b->sending), b->sent, SIZE_MAX));
	cv_buf_append(&relay->rest, cv_buf_str(&b->out));
	cv_buf_clear(&b->sending);
	cv_buf_clear(&b->out);
	b->sent = 0;
	b->blocked = false;
}

void cv_relay_give_back(struct cv_relay *relay, uint64_t octets, struct cv_str unread, int end_fd, cv_relay_back_fn *back, void *ctx)
{
	cv_assert(!relay->giving && back != NULL);
	relay->giving = true;
	relay->due = octets;
	relay->back = back;
	relay->back_ctx = ctx;
	/* What a sends from now on stays there. */
	cv_stream_pause(relay->a);
	cv_buf_init_wipe(&relay->rest, GIVE_MAX);
	cv_buf_append(&relay->rest, unread);
	take_back(relay, end_fd);
	/* Behind the user's last octets b ends. */
	(void)close(end_fd);
	if (relay->idle == NULL)
		relay->idle = cv_timer_add_stopped(relay->a->loop, on_idle, relay);
	/* More came than there was: nothing is right then. */
	cv_timer_set(relay->idle, relay->ways[1].moved > octets ? 0 : GIVE_MS);
	if (relay->ways[1].moved > octets)
		relay->due = UINT64_MAX;
	cv_stream_want_input(relay->b);
}

void cv_relay_free(struct cv_relay **relay_p)
{
	struct cv_relay *relay = *relay_p;

	*relay_p = NULL;
	if (relay == NULL)
		return;
	cv_stream_free(&relay->a);
	cv_stream_free(&relay->b);
	if (relay->giving)
		cv_buf_deinit(&relay->rest);
	cv_timer_remove(&relay->idle);
	cv_free(relay);
}
