/* SPDX-License-Identifier: MIT
   Relays: octets moved between two streams until both directions have ended. */
#include <config.h>

#include "core/loop/stream-private.h"

#define CLOSE_MS 10000      /* for what is still to be written when the relay ends */
#define HALF_IDLE_MS 1800000 /* silence after one direction ended */

/* One direction. */
struct way {
	struct cv_relay *relay;
	struct cv_stream **from, **to;
	bool ended;
};

struct cv_relay {
	struct cv_stream *a, *b; /* owned */
	struct way ways[2];
	struct cv_timer *idle; /* once one direction ended */
	void (*done)(void *ctx);
	void *ctx;
};

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
	finish(ctx);
}

/* False when the relay is finished, and gone. */
static bool move(struct way *way)
{
	struct cv_relay *relay = way->relay;
	struct cv_stream *from = *way->from, *to = *way->to;
	struct cv_str in = cv_stream_input(from);
	size_t len = CV_MIN(in.len, cv_stream_room(to));

	if (len > 0) {
		cv_stream_write(to, cv_str_sub(in, 0, len));
		cv_stream_consume(from, len);
		if (relay->idle != NULL)
			cv_timer_set(relay->idle, HALF_IDLE_MS);
	}
	if (cv_stream_error(to) != NULL || (cv_stream_error(from) != NULL && in.len == len)) {
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
	cv_stream_set_ops(b, &ops, &relay->ways[1]);
	cv_stream_resume(a);
	cv_stream_resume(b);
	return relay;
}

void cv_relay_free(struct cv_relay **relay_p)
{
	struct cv_relay *relay = *relay_p;

	*relay_p = NULL;
	if (relay == NULL)
		return;
	cv_stream_free(&relay->a);
	cv_stream_free(&relay->b);
	cv_timer_remove(&relay->idle);
	cv_free(relay);
}
