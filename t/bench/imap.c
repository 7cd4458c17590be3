/* SPDX-License-Identifier: MIT
   IMAP for the load generator, and its IMAP workloads. */
#include <config.h>

#include "t/bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* IMAP: read up to the tagged reply; number of untagged FETCH lines. */
uint64_t imap_wait(struct conn *c, const char *tag)
{
	uint64_t fetches = 0;
	size_t len, tag_len = strlen(tag);

	for (;;) {
		const char *line = conn_line(c, &len);
		if (len > tag_len && memcmp(line, tag, tag_len) == 0 && line[tag_len] == ' ') {
			if (!starts(line + tag_len + 1, len - tag_len - 1, "OK")) {
				fprintf(stderr, "bench: %.*s\n", (int)len, line);
				errno = EPROTO;
				die("refused");
			}
			return fetches;
		}
		if (starts(line, len, "* ") && memmem(line, len < 40 ? len : 40, " FETCH ", 7) != NULL)
			fetches++;
		while (len > 2 && line[len - 1] == '}') {
			const char *open = memrchr(line, '{', len);
			if (open == NULL)
				break;
			conn_skip(c, strtoull(open + 1, NULL, 10));
			line = conn_line(c, &len);
		}
	}
}

static void imap_greeting(struct conn *c)
{
	size_t len;
	const char *line = conn_line(c, &len);
	if (!starts(line, len, "* OK"))
		die("greeting");
}

void imap_login(struct conn *c, unsigned i)
{
	char user[128];
	conn_open(c, opt.port);
	imap_greeting(c);
	sendf(c, "l LOGIN %s %s\r\n", user_of(i, user, sizeof(user)), opt.password);
	imap_wait(c, "l");
}

void imap_select(struct conn *c)
{
	sendf(c, "s SELECT %s\r\n", opt.mailbox);
	imap_wait(c, "s");
}

void imap_logout(struct conn *c)
{
	sendf(c, "z LOGOUT\r\n");
	imap_wait(c, "z");
	conn_close(c);
}

/* ---- workloads ---- */

static void w_login(unsigned i)
{
	struct conn *c = conn_new();
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		imap_login(c, i);
		imap_logout(c);
		sample(t);
		done(1);
		i += opt.connections;
	}
}

/* A command repeated on one selected connection; every untagged FETCH counts, or the command itself when it has none. */
static void repeat(unsigned i, const char *command, bool per_message)
{
	struct conn *c = conn_new();
	imap_login(c, i);
	imap_select(c);
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		sendf(c, "r %s\r\n", command);
		uint64_t n = imap_wait(c, "r");
		sample(t);
		done(per_message ? n : 1);
	}
	imap_logout(c);
}

static void w_select(unsigned i)
{
	struct conn *c = conn_new();
	imap_login(c, i);
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		imap_select(c);
		sample(t);
		sendf(c, "u CLOSE\r\n");
		imap_wait(c, "u");
		done(1);
	}
	imap_logout(c);
}

static void w_status(unsigned i)
{
	char cmd[256];
	snprintf(cmd, sizeof(cmd), "STATUS %s (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)", opt.mailbox);
	struct conn *c = conn_new();
	imap_login(c, i);
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		sendf(c, "r %s\r\n", cmd);
		imap_wait(c, "r");
		sample(t);
		done(1);
	}
	imap_logout(c);
}

static void w_noop(unsigned i)
{
	repeat(i, "NOOP", false);
}
static void w_fetch_flags(unsigned i)
{
	repeat(i, "FETCH 1:* (UID FLAGS)", true);
}
static void w_fetch_list(unsigned i)
{
	repeat(i, "FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)", true);
}
static void w_fetch_header(unsigned i)
{
	repeat(i, "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (X-BENCH LIST-UNSUBSCRIBE)])", true);
}
static void w_fetch_body(unsigned i)
{
	repeat(i, "FETCH 1:* (BODY.PEEK[])", true);
}
static void w_search_subject(unsigned i)
{
	repeat(i, "SEARCH SUBJECT " CORPUS_WORD, false);
}
static void w_search_body(unsigned i)
{
	repeat(i, "SEARCH BODY " CORPUS_WORD, false);
}
static void w_search_text(unsigned i)
{
	repeat(i, "SEARCH TEXT " CORPUS_WORD, false);
}
static void w_sort(unsigned i)
{
	repeat(i, "SORT (SUBJECT DATE) UTF-8 ALL", false);
}
static void w_thread(unsigned i)
{
	repeat(i, "THREAD REFERENCES UTF-8 ALL", false);
}
static void w_command(unsigned i)
{
	repeat(i, opt.command, false);
}

static void w_append(unsigned i)
{
	struct conn *c = conn_new();
	size_t len;
	uint64_t n = i * 37u;
	imap_login(c, i);
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		const struct corpus_message *message = message_of(n++);
		sendf(c, "a APPEND %s {%zu}\r\n", opt.mailbox, message->len);
		const char *line = conn_line(c, &len);
		if (!starts(line, len, "+"))
			die("no continuation");
		conn_send(c, message->octets, message->len);
		conn_send(c, "\r\n", 2);
		imap_wait(c, "a");
		sample(t);
		done(1);
	}
	imap_logout(c);
}

/* Fill with the corpus, each message another one; non-synchronising literals pipelined, so LITERAL+ is needed. */
static void w_fill(unsigned i)
{
	struct conn *c = conn_new();
	char tag[24];
	unsigned n = 0;

	imap_login(c, i);
	barrier();
	while (claim(1)) {
		struct corpus_message message = corpus_make(i * 1000003u + n, opt.size);

		snprintf(tag, sizeof(tag), "f%u", n);
		sendf(c, "%s APPEND %s {%zu+}\r\n", tag, opt.mailbox, message.len);
		conn_send(c, message.octets, message.len);
		conn_send(c, "\r\n", 2);
		corpus_free(&message);
		if (++n % 16 == 0)
			imap_wait(c, tag);
		done(1);
	}
	sendf(c, "e NOOP\r\n");
	imap_wait(c, "e");
	imap_logout(c);
}

static void w_store(unsigned i)
{
	struct conn *c = conn_new();
	bool on = true;
	imap_login(c, i);
	imap_select(c);
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		sendf(c, "r STORE 1:* %cFLAGS (\\Flagged)\r\n", on ? '+' : '-');
		uint64_t n = imap_wait(c, "r");
		sample(t);
		on = !on;
		done(n);
	}
	imap_logout(c);
}

/* Copy all, move all back, expunge: counts messages. */
static void copy_like(unsigned i, const char *verb)
{
	struct conn *c = conn_new();
	char box[64];
	imap_login(c, i);
	snprintf(box, sizeof(box), "bench-%s-%u", verb, i);
	sendf(c, "c CREATE %s\r\n", box);
	imap_wait(c, "c");
	imap_select(c);
	barrier();
	while (claim(1)) {
		if (strcmp(verb, "COPY") == 0) {
			uint64_t t = now_us();
			sendf(c, "r COPY 1:* %s\r\n", box);
			imap_wait(c, "r");
			sample(t);
			done(opt.messages);
		} else if (strcmp(verb, "MOVE") == 0) {
			uint64_t t = now_us();
			sendf(c, "r MOVE 1:* %s\r\n", box);
			imap_wait(c, "r");
			sendf(c, "s SELECT %s\r\n", box);
			imap_wait(c, "s");
			sendf(c, "r MOVE 1:* %s\r\n", opt.mailbox);
			imap_wait(c, "r");
			sample(t);
			imap_select(c);
			done(2 * (uint64_t)opt.messages);
		} else {
			sendf(c, "r COPY 1:* %s\r\n", box);
			imap_wait(c, "r");
			sendf(c, "s SELECT %s\r\n", box);
			imap_wait(c, "s");
			sendf(c, "d STORE 1:* +FLAGS.SILENT (\\Deleted)\r\n");
			imap_wait(c, "d");
			uint64_t t = now_us();
			sendf(c, "r EXPUNGE\r\n");
			imap_wait(c, "r");
			sample(t);
			imap_select(c);
			done(opt.messages);
		}
	}
	sendf(c, "d DELETE %s\r\n", box);
	imap_wait(c, "d");
	imap_logout(c);
}
static void w_copy(unsigned i)
{
	copy_like(i, "COPY");
}
static void w_move(unsigned i)
{
	copy_like(i, "MOVE");
}
static void w_expunge(unsigned i)
{
	copy_like(i, "EXPUNGE");
}

const struct workload imap_workloads[] = {
	{ "login", w_login, "logins" },
	{ "select", w_select, "selects" },
	{ "status", w_status, "commands" },
	{ "noop", w_noop, "commands" },
	{ "command", w_command, "commands" },
	{ "fetch-flags", w_fetch_flags, "messages" },
	{ "fetch-list", w_fetch_list, "messages" },
	{ "fetch-header", w_fetch_header, "messages" },
	{ "fetch-body", w_fetch_body, "messages" },
	{ "search-subject", w_search_subject, "searches" },
	{ "search-body", w_search_body, "searches" },
	{ "search-text", w_search_text, "searches" },
	{ "sort", w_sort, "sorts" },
	{ "thread", w_thread, "threads" },
	{ "append", w_append, "messages" },
	{ "fill", w_fill, "messages" },
	{ "store", w_store, "messages" },
	{ "copy", w_copy, "messages" },
	{ "move", w_move, "messages" },
	{ "expunge", w_expunge, "messages" },
	{ NULL, NULL, NULL },
};
