/* SPDX-License-Identifier: MIT
   Input of a compressed stream: any octets give the same text, and the same end, however they are cut; never more at once than is allowed. */
#include <config.h>

#include "t/fuzz/fuzz.h"

#include <culver/stream.h>

#define MAX_IN 512
/* A few octets can stand for many: enough of them. */
#define TEXT_MAX ((size_t)256 * 1024)

struct user {
	struct cv_stream *s;
	struct cv_buf text;
	int ended; /* of cv_stream_packed_end; INT32_MIN: not asked */
};

static void on_input(void *ctx)
{
	struct user *u = ctx;
	struct cv_str in = cv_stream_input(u->s);

	fuzz_check(in.len <= MAX_IN);
	if (u->ended == 0) {
		fuzz_check(in.len == 0);
		u->ended = cv_stream_packed_end(u->s);
	} else if (u->ended != -1) {
		bool first = u->ended == INT32_MIN;
		size_t end = first ? cv_str_find(in, '\n') : SIZE_MAX;

		in = cv_str_sub(in, 0, end == SIZE_MAX ? SIZE_MAX : end + 1);
		cv_buf_append(&u->text, in);
		cv_stream_consume(u->s, in.len);
		/* The first line ends it, as UNAUTHENTICATE does. */
		if (end != SIZE_MAX)
			u->ended = cv_stream_packed_end(u->s);
	}
	if (u->ended == 1 && cv_stream_deflated(u->s)) {
		cv_stream_end_deflate(u->s);
		cv_buf_append_char(&u->text, '\0');
	}
}

static const struct cv_stream_ops ops = { .input = on_input };

/* Text, then how it ended. */
static void run(struct cv_str input, size_t chunk, bool lines, struct cv_buf *result)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct user u = { .s = cv_stream_new_mem(loop, MAX_IN, MAX_IN), .ended = lines ? INT32_MIN : 2 };

	cv_buf_init(&u.text, TEXT_MAX);
	cv_stream_set_ops(u.s, &ops, &u);
	cv_stream_start_deflate(u.s, 6, 9);
	for (size_t pos = 0; pos < input.len; pos += chunk) {
		cv_stream_mem_push(u.s, cv_str_sub(input, pos, chunk), false);
		while (cv_loop_once(loop, 0) > 0 && cv_buf_ok(&u.text))
			;
	}
	cv_stream_mem_push(u.s, CV_STR(""), true);
	while (cv_loop_once(loop, 0) > 0 && cv_buf_ok(&u.text))
		;
	if (u.ended != -1 && cv_buf_ok(&u.text))
		fuzz_check(cv_stream_error(u.s) != NULL || cv_stream_ended(u.s));
	cv_buf_append(result, cv_buf_str(&u.text));
	cv_buf_printf(result, "|%d|%s", u.ended == 0 ? -1 : u.ended, cv_stream_error(u.s) != NULL ? cv_stream_error(u.s) : "");
	cv_stream_free(&u.s);
	cv_buf_deinit(&u.text);
	cv_loop_free(&loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str input = cv_str_mem(data, size);
	struct cv_buf whole, cut;

	if (size > 2000)
		return 0;
	cv_buf_init(&whole, SIZE_MAX / 2);
	cv_buf_init(&cut, SIZE_MAX / 2);
	run(input, SIZE_MAX / 2, false, &whole);
	run(input, 1 + size / 30, false, &cut);
	/* A text that was cut off is as long as its pieces happened to be. */
	if (whole.len < TEXT_MAX / 2)
		fuzz_check(cv_str_eq(cv_buf_str(&whole), cv_buf_str(&cut)));
	cv_buf_clear(&whole);
	cv_buf_clear(&cut);
	run(input, SIZE_MAX / 2, true, &whole);
	run(input, 1, true, &cut);
	cv_buf_deinit(&whole);
	cv_buf_deinit(&cut);
	return 0;
}
