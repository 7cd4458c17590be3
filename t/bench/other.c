/* SPDX-License-Identifier: MIT
   LMTP and POP3 workloads, and what the machine itself allows: TLS handshakes alone, octets over loopback. */
#include <config.h>

#include "t/bench/bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- LMTP ---- */

void lmtp_open(struct conn *c)
{
	conn_open(c, opt.lmtp_port != 0 ? opt.lmtp_port : opt.port);
	expect(c, "220");
	sendf(c, "LHLO bench.example\r\n");
	expect(c, "250");
}

void lmtp_deliver(struct conn *c, const char *user, const struct corpus_message *message)
{
	sendf(c, "MAIL FROM:<sender@bench.example>\r\nRCPT TO:<%s>\r\nDATA\r\n", user);
	expect(c, "250");
	expect(c, "250");
	expect(c, "354");
	conn_send(c, message->octets, message->len);
	conn_send(c, "\r\n.\r\n", 5);
	expect(c, "250");
}

static void w_lmtp(unsigned i)
{
	struct conn *c = conn_new();
	char user[128];
	uint64_t n = i * 37u;

	lmtp_open(c);
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		lmtp_deliver(c, user_of(i, user, sizeof(user)), message_of(n++));
		sample(t);
		done(1);
		i += opt.connections;
	}
	sendf(c, "QUIT\r\n");
	expect(c, "221");
	conn_close(c);
}

/* ---- POP3 ---- */

static void pop3_login(struct conn *c, unsigned i)
{
	char user[128];
	conn_open(c, opt.port);
	expect(c, "+OK");
	sendf(c, "USER %s\r\n", user_of(i, user, sizeof(user)));
	expect(c, "+OK");
	sendf(c, "PASS %s\r\n", opt.password);
	expect(c, "+OK");
}

static void w_pop3_login(unsigned i)
{
	struct conn *c = conn_new();
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		pop3_login(c, i);
		sendf(c, "QUIT\r\n");
		expect(c, "+OK");
		conn_close(c);
		sample(t);
		done(1);
		i += opt.connections;
	}
}

static void pop3_multiline(struct conn *c)
{
	size_t len;
	const char *line;
	expect(c, "+OK");
	do
		line = conn_line(c, &len);
	while (len != 1 || line[0] != '.');
}

static void pop3_retr(unsigned i, unsigned pipeline)
{
	struct conn *c = conn_new();
	unsigned n = 1;
	pop3_login(c, i);
	barrier();
	while (claim(pipeline)) {
		uint64_t t = now_us();
		for (unsigned k = 0; k < pipeline; k++) {
			sendf(c, "RETR %u\r\n", n);
			n = n % opt.messages + 1;
		}
		for (unsigned k = 0; k < pipeline; k++)
			pop3_multiline(c);
		sample(t);
		done(pipeline);
	}
	sendf(c, "QUIT\r\n");
	expect(c, "+OK");
	conn_close(c);
}
static void w_pop3_retr(unsigned i)
{
	pop3_retr(i, 1);
}
static void w_pop3_pipe(unsigned i)
{
	pop3_retr(i, 16);
}

/* ---- The machine ---- */

/* Connect, TLS handshake, close: against openssl s_server. */
static void w_handshake(unsigned i)
{
	struct conn *c = conn_new();

	(void)i;
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		conn_open(c, opt.port);
		conn_close(c);
		sample(t);
		done(1);
	}
}

/* A process that writes what this one reads, in pieces as large as our buffer: count pieces of 64 KiB. */
static void w_loopback(unsigned i)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	struct conn *c = conn_new();
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)i;
	if (listener < 0 || bind(listener, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(listener, 1) < 0 ||
		getsockname(listener, (struct sockaddr *)&sin, &len) < 0)
		die("loopback");
	conn_open(c, ntohs(sin.sin_port));
	if (fork() == 0) {
		int fd = accept(listener, NULL, NULL);

		close(c->fd); /* else the reader's end never closes for us */

		memset(c->buf, 'x', sizeof(c->buf));
		while (fd >= 0 && send(fd, c->buf, sizeof(c->buf), MSG_NOSIGNAL) > 0)
			;
		_exit(0);
	}
	barrier();
	uint64_t t = now_us();
	while (claim(1)) {
		conn_skip(c, sizeof(c->buf));
		done(sizeof(c->buf));
	}
	sample(t);
	conn_close(c);
	(void)wait(NULL);
}

const struct workload other_workloads[] = {
	{ "lmtp", w_lmtp, "deliveries" },
	{ "pop3-login", w_pop3_login, "logins" },
	{ "pop3-retr", w_pop3_retr, "messages" },
	{ "pop3-pipe", w_pop3_pipe, "messages" },
	{ "handshake", w_handshake, "handshakes" },
	{ "loopback", w_loopback, "octets" },
	{ NULL, NULL, NULL },
};
