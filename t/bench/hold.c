/* SPDX-License-Identifier: MIT
   Many connections in IDLE in one process: for memory, and for how soon new mail is told. */
#include <config.h>

#include "t/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct conn **held;

static void open_held(void)
{
	held = calloc(opt.connections, sizeof(struct conn *));
	if (held == NULL)
		die("memory");
	for (unsigned i = 0; i < opt.connections; i++) {
		struct conn *c = held[i] = conn_new();
		const char *line;
		size_t len;

		imap_login(c, i);
		imap_select(c);
		sendf(c, "i IDLE\r\n");
		do
			line = conn_line(c, &len);
		while (!starts(line, len, "+"));
	}
}

int hold_idle(void)
{
	char b;

	open_held();
	printf("holding\n");
	fflush(stdout);
	while (read(0, &b, 1) > 0)
		;
	return 0;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

int hold_exists(void)
{
	unsigned count = (unsigned)opt.count;
	uint32_t *total = calloc(count, sizeof(*total)), *after = calloc(count, sizeof(*after));
	struct conn *lmtp = conn_new();

	if (total == NULL || after == NULL || count == 0)
		die("memory");
	open_held();
	lmtp_open(lmtp);
	sleep(opt.wait_sec);
	for (unsigned n = 0; n < count; n++) {
		unsigned i = (unsigned)((uint64_t)n * 7919u % opt.connections);
		char user[128];
		const char *line;
		size_t len;
		uint64_t start = now_us(), accepted;

		lmtp_deliver(lmtp, user_of(i, user, sizeof(user)), message_of(n));
		accepted = now_us();
		do
			line = conn_line(held[i], &len);
		while (len < 6 || memcmp(line + len - 6, "EXISTS", 6) != 0);
		total[n] = (uint32_t)(now_us() - start);
		after[n] = (uint32_t)(now_us() - accepted);
	}
	qsort(total, count, sizeof(*total), compare_u32);
	qsort(after, count, sizeof(*after), compare_u32);
	printf("{\"connections\": %u, \"p50_us\": %u, \"p99_us\": %u, \"after_reply_p50_us\": %u, \"after_reply_p99_us\": %u}\n",
		opt.connections, total[count / 2], total[count - 1 - count / 100], after[count / 2], after[count - 1 - count / 100]);
	return 0;
}
