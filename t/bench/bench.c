/* SPDX-License-Identifier: MIT
   Load generator: speaks IMAP, POP3 and LMTP to any server and prints one JSON line a run. */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define MAX_SAMPLES 200000u

/* What all connection processes share. */
struct shared {
	atomic_uint_least64_t ops;     /* units of work: logins, messages, deliveries */
	atomic_uint_least64_t octets;  /* received */
	atomic_uint_least64_t errors;
	atomic_uint_least64_t claimed; /* operations handed out */
	atomic_uint ready;             /* processes at the barrier */
	atomic_uint go;
	atomic_uint_least64_t timed_us; /* summed over what sample() timed */
	atomic_uint samples;
	uint32_t sample_us[MAX_SAMPLES];
};

struct options {
	const char *host;
	unsigned port;
	bool tls;
	const char *user; /* %d becomes the number of the connection, modulo users */
	const char *password;
	const char *workload;
	const char *mailbox;
	unsigned connections, users;
	uint64_t count;   /* operations in all */
	unsigned messages; /* of the mailbox, for those that touch all */
	size_t size;        /* of generated messages */
};

struct conn {
	int fd;
	SSL *ssl;
	char buf[65536];
	size_t pos, len;
	uint64_t octets;
};

static struct shared *sh;
static struct options opt;
static SSL_CTX *tls_ctx;
static char *message; /* what is appended and delivered, CRLF line ends */
static size_t message_len;

static void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	atomic_fetch_add(&sh->errors, 1);
	_exit(1);
}

static uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void sample(uint64_t since)
{
	unsigned i = atomic_fetch_add(&sh->samples, 1);
	uint64_t us = now_us() - since;
	atomic_fetch_add(&sh->timed_us, us);
	if (i < MAX_SAMPLES)
		sh->sample_us[i] = (uint32_t)us;
}

/* ---- connection ---- */

static void conn_open(struct conn *c)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port) };
	int one = 1;

	c->pos = c->len = 0;
	c->ssl = NULL;
	if (inet_pton(AF_INET, opt.host, &sin.sin_addr) != 1)
		die("host must be an IPv4 address");
	for (unsigned tries = 0;; tries++) {
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0)
			die("socket");
		if (connect(c->fd, (const struct sockaddr *)&sin, sizeof(sin)) == 0)
			break;
		close(c->fd);
		if (tries == 50)
			die("connect");
		usleep(10000);
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (opt.tls) {
		c->ssl = SSL_new(tls_ctx);
		SSL_set_fd(c->ssl, c->fd);
		if (SSL_connect(c->ssl) != 1) {
			ERR_print_errors_fp(stderr);
			die("TLS handshake");
		}
	}
}

static void conn_close(struct conn *c)
{
	if (c->ssl != NULL) {
		SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	close(c->fd);
	atomic_fetch_add(&sh->octets, c->octets);
	c->octets = 0;
}

static void conn_send(struct conn *c, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, data, len > 1 << 20 ? 1 << 20 : (int)len)
					   : send(c->fd, data, len, MSG_NOSIGNAL);
		if (n <= 0) {
			if (c->ssl == NULL && errno == EINTR)
				continue;
			die("send");
		}
		data += n;
		len -= (size_t)n;
	}
}

__attribute__((format(printf, 2, 3))) static void sendf(struct conn *c, const char *fmt, ...)
{
	char line[4096];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	conn_send(c, line, (size_t)n);
}

static void conn_fill(struct conn *c)
{
	if (c->pos == c->len)
		c->pos = c->len = 0;
	else if (c->len == sizeof(c->buf)) {
		memmove(c->buf, c->buf + c->pos, c->len - c->pos);
		c->len -= c->pos;
		c->pos = 0;
	}
	for (;;) {
		ssize_t n = c->ssl != NULL ? SSL_read(c->ssl, c->buf + c->len, (int)(sizeof(c->buf) - c->len))
					   : recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
		if (n > 0) {
			c->len += (size_t)n;
			c->octets += (uint64_t)n;
			return;
		}
		if (n < 0 && c->ssl == NULL && errno == EINTR)
			continue;
		if (n == 0)
			errno = ECONNRESET;
		die("receive: the server closed the connection");
	}
}

/* Next line without its end; long ones are cut at the buffer's size (their rest is passed over). */
static const char *conn_line(struct conn *c, size_t *len_r)
{
	for (;;) {
		char *nl = memchr(c->buf + c->pos, '\n', c->len - c->pos);
		if (nl != NULL) {
			const char *line = c->buf + c->pos;
			size_t n = (size_t)(nl - line);
			c->pos += n + 1;
			if (n > 0 && line[n - 1] == '\r')
				n--;
			*len_r = n;
			return line;
		}
		if (c->pos == 0 && c->len == sizeof(c->buf)) {
			/* An over-long line: its end is enough for what is asked of it. */
			memmove(c->buf, c->buf + c->len - 256, 256);
			c->len = 256;
		}
		conn_fill(c);
	}
}

static void conn_skip(struct conn *c, uint64_t n)
{
	while (n > 0) {
		if (c->pos == c->len)
			conn_fill(c);
		uint64_t have = c->len - c->pos;
		if (have > n)
			have = n;
		c->pos += (size_t)have;
		n -= have;
	}
}

static bool starts(const char *line, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);
	return len >= n && memcmp(line, prefix, n) == 0;
}

/* IMAP: read up to the tagged reply; number of untagged FETCH lines. */
static uint64_t imap_wait(struct conn *c, const char *tag)
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

static void expect(struct conn *c, const char *prefix)
{
	size_t len;
	const char *line;
	do
		line = conn_line(c, &len);
	while (len > 3 && line[3] == '-' && opt.workload[0] == 'l');
	if (!starts(line, len, prefix)) {
		fprintf(stderr, "bench: expected %s, got %.*s\n", prefix, (int)len, line);
		errno = EPROTO;
		die("unexpected reply");
	}
}

static const char *user_of(unsigned i, char *out, size_t size)
{
	const char *p = strstr(opt.user, "%d");
	if (p == NULL)
		snprintf(out, size, "%s", opt.user);
	else
		snprintf(out, size, "%.*s%u%s", (int)(p - opt.user), opt.user, i % opt.users, p + 2);
	return out;
}

static void imap_login(struct conn *c, unsigned i)
{
	char user[128];
	conn_open(c);
	imap_greeting(c);
	sendf(c, "l LOGIN %s %s\r\n", user_of(i, user, sizeof(user)), opt.password);
	imap_wait(c, "l");
}

static void imap_select(struct conn *c)
{
	sendf(c, "s SELECT %s\r\n", opt.mailbox);
	imap_wait(c, "s");
}

static void imap_logout(struct conn *c)
{
	sendf(c, "z LOGOUT\r\n");
	imap_wait(c, "z");
	conn_close(c);
}

/* Claim one operation; false when all are handed out. */
static bool claim(uint64_t n)
{
	return atomic_fetch_add(&sh->claimed, n) < opt.count;
}

static void done(uint64_t n)
{
	atomic_fetch_add(&sh->ops, n);
}

static void barrier(void)
{
	atomic_fetch_add(&sh->ready, 1);
	while (atomic_load(&sh->go) == 0)
		usleep(500);
}

/* ---- workloads: each runs in its own process with connection number i ---- */

static void w_login(unsigned i)
{
	struct conn *c = calloc(1, sizeof(*c));
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
	struct conn *c = calloc(1, sizeof(*c));
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
	struct conn *c = calloc(1, sizeof(*c));
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
	struct conn *c = calloc(1, sizeof(*c));
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
	repeat(i, "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE X-BENCH)])", true);
}
static void w_fetch_body(unsigned i)
{
	repeat(i, "FETCH 1:* (BODY.PEEK[])", true);
}
static void w_search_subject(unsigned i)
{
	repeat(i, "SEARCH SUBJECT quartz", false);
}
static void w_search_body(unsigned i)
{
	repeat(i, "SEARCH BODY quartz", false);
}
static void w_search_text(unsigned i)
{
	repeat(i, "SEARCH TEXT quartz", false);
}

static void w_append(unsigned i)
{
	struct conn *c = calloc(1, sizeof(*c));
	size_t len;
	imap_login(c, i);
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		sendf(c, "a APPEND %s {%zu}\r\n", opt.mailbox, message_len);
		const char *line = conn_line(c, &len);
		if (!starts(line, len, "+"))
			die("no continuation");
		conn_send(c, message, message_len);
		conn_send(c, "\r\n", 2);
		imap_wait(c, "a");
		sample(t);
		done(1);
	}
	imap_logout(c);
}

/* Fill with the corpus, non-synchronising literals pipelined; LITERAL+ is needed. */
static void w_fill(unsigned i)
{
	struct conn *c = calloc(1, sizeof(*c));
	uint64_t n = 0;
	imap_login(c, i);
	barrier();
	while (claim(1)) {
		char tag[24];
		char extra[256];
		/* Each message gets a subject and an id of its own. */
		int extra_len = snprintf(extra, sizeof(extra),
			"Message-ID: <bench.%u.%llu@bench.example>\r\nSubject: report %llu%s\r\n", i, (unsigned long long)n,
			(unsigned long long)n, n % 50 == 7 ? " quartz" : "");
		snprintf(tag, sizeof(tag), "f%llu", (unsigned long long)n);
		sendf(c, "%s APPEND %s {%zu+}\r\n", tag, opt.mailbox, message_len + (size_t)extra_len);
		conn_send(c, extra, (size_t)extra_len);
		conn_send(c, message, message_len);
		conn_send(c, "\r\n", 2);
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
	struct conn *c = calloc(1, sizeof(*c));
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
	struct conn *c = calloc(1, sizeof(*c));
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

static void w_lmtp(unsigned i)
{
	struct conn *c = calloc(1, sizeof(*c));
	char user[128];
	conn_open(c);
	expect(c, "220");
	sendf(c, "LHLO bench.example\r\n");
	expect(c, "250");
	barrier();
	while (claim(1)) {
		uint64_t t = now_us();
		sendf(c, "MAIL FROM:<sender@bench.example>\r\nRCPT TO:<%s>\r\nDATA\r\n", user_of(i, user, sizeof(user)));
		expect(c, "250");
		expect(c, "250");
		expect(c, "354");
		conn_send(c, message, message_len);
		conn_send(c, "\r\n.\r\n", 5);
		expect(c, "250");
		sample(t);
		done(1);
		i += opt.connections;
	}
	sendf(c, "QUIT\r\n");
	expect(c, "221");
	conn_close(c);
}

static void pop3_login(struct conn *c, unsigned i)
{
	char user[128];
	conn_open(c);
	expect(c, "+OK");
	sendf(c, "USER %s\r\n", user_of(i, user, sizeof(user)));
	expect(c, "+OK");
	sendf(c, "PASS %s\r\n", opt.password);
	expect(c, "+OK");
}

static void w_pop3_login(unsigned i)
{
	struct conn *c = calloc(1, sizeof(*c));
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
	struct conn *c = calloc(1, sizeof(*c));
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

/* One process holds all connections in IDLE; prints "holding" and waits for its standard input to end. */
static int hold_idle(void)
{
	for (unsigned i = 0; i < opt.connections; i++) {
		struct conn *c = calloc(1, sizeof(*c));
		size_t len;
		imap_login(c, i);
		imap_select(c);
		sendf(c, "i IDLE\r\n");
		const char *line;
		do
			line = conn_line(c, &len);
		while (!starts(line, len, "+"));
	}
	printf("holding\n");
	fflush(stdout);
	char b;
	while (read(0, &b, 1) > 0)
		;
	return 0;
}

static const struct workload {
	const char *name;
	void (*fn)(unsigned i);
	const char *unit;
} workloads[] = {
	{ "login", w_login, "logins" },
	{ "select", w_select, "selects" },
	{ "status", w_status, "commands" },
	{ "noop", w_noop, "commands" },
	{ "fetch-flags", w_fetch_flags, "messages" },
	{ "fetch-list", w_fetch_list, "messages" },
	{ "fetch-header", w_fetch_header, "messages" },
	{ "fetch-body", w_fetch_body, "messages" },
	{ "search-subject", w_search_subject, "searches" },
	{ "search-body", w_search_body, "searches" },
	{ "search-text", w_search_text, "searches" },
	{ "append", w_append, "messages" },
	{ "fill", w_fill, "messages" },
	{ "store", w_store, "messages" },
	{ "copy", w_copy, "messages" },
	{ "move", w_move, "messages" },
	{ "expunge", w_expunge, "messages" },
	{ "lmtp", w_lmtp, "deliveries" },
	{ "pop3-login", w_pop3_login, "logins" },
	{ "pop3-retr", w_pop3_retr, "messages" },
	{ "pop3-pipe", w_pop3_pipe, "messages" },
};

static void make_message(void)
{
	static const char head[] =
		"From: \"Bench Writer\" <writer@bench.example>\r\nTo: reader@bench.example\r\n"
		"Cc: \"Third Party\" <third@bench.example>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n"
		"MIME-Version: 1.0\r\nX-Bench: 1\r\nContent-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n"
		"--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
	static const char line[] = "The harbour master wrote down each ship, its flag, its cargo and the hour.\r\n";
	static const char tail[] = "\r\n--b1\r\nContent-Type: application/octet-stream; name=\"a.bin\"\r\n"
				   "Content-Disposition: attachment; filename=\"a.bin\"\r\n"
				   "Content-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgcICQoLDA0ODw==\r\n--b1--\r\n";

	message = malloc(opt.size + sizeof(head) + sizeof(tail) + sizeof(line));
	if (message == NULL)
		die("memory");
	memcpy(message, head, sizeof(head) - 1);
	message_len = sizeof(head) - 1;
	while (message_len + sizeof(tail) < opt.size) {
		memcpy(message + message_len, line, sizeof(line) - 1);
		message_len += sizeof(line) - 1;
	}
	memcpy(message + message_len, tail, sizeof(tail) - 1);
	message_len += sizeof(tail) - 1;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x, y;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

static uint64_t cpu_us(int who)
{
	struct rusage ru;
	getrusage(who, &ru);
	return (uint64_t)ru.ru_utime.tv_sec * 1000000u + (uint64_t)ru.ru_utime.tv_usec +
		(uint64_t)ru.ru_stime.tv_sec * 1000000u + (uint64_t)ru.ru_stime.tv_usec;
}

static void usage(void)
{
	fprintf(stderr, "usage: bench -w WORKLOAD -p PORT [-h HOST] [-s] [-u USER] [-P PASSWORD] [-U USERS] [-c CONNECTIONS]\n"
			"             [-n OPERATIONS] [-m MAILBOX] [-M MESSAGES] [-z SIZE]\n"
			"-s: implicit TLS. USER may hold %%d, which becomes 0..USERS-1. Workloads: idle");
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		fprintf(stderr, " %s", workloads[i].name);
	fprintf(stderr, "\n");
	exit(2);
}

int main(int argc, char **argv)
{
	const struct workload *w = NULL;
	int o, status, bad = 0;

	opt = (struct options){ .host = "127.0.0.1", .user = "u%d", .password = "pass", .workload = "", .mailbox = "INBOX",
		.connections = 1, .users = 1, .count = 100, .messages = 1, .size = 4096 };
	while ((o = getopt(argc, argv, "w:p:h:su:P:U:c:n:m:M:z:")) != -1) {
		switch (o) {
		case 'w': opt.workload = optarg; break;
		case 'p': opt.port = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'h': opt.host = optarg; break;
		case 's': opt.tls = true; break;
		case 'u': opt.user = optarg; break;
		case 'P': opt.password = optarg; break;
		case 'U': opt.users = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'c': opt.connections = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'n': opt.count = strtoull(optarg, NULL, 10); break;
		case 'm': opt.mailbox = optarg; break;
		case 'M': opt.messages = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'z': opt.size = strtoul(optarg, NULL, 10); break;
		default: usage();
		}
	}
	if (opt.port == 0 || opt.users == 0 || opt.connections == 0 || opt.messages == 0 || strncmp(opt.host, "127.", 4) != 0)
		usage(); /* loopback only: this is no tool to load a stranger's server */
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED) {
		perror("bench: mmap");
		return 1;
	}
	if (opt.tls) {
		tls_ctx = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_session_cache_mode(tls_ctx, SSL_SESS_CACHE_OFF); /* full handshakes */
	}
	make_message();
	if (strcmp(opt.workload, "idle") == 0)
		return hold_idle();
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
		if (strcmp(workloads[i].name, opt.workload) == 0)
			w = &workloads[i];
	}
	if (w == NULL)
		usage();
	for (unsigned i = 0; i < opt.connections; i++) {
		pid_t pid = fork();
		if (pid < 0) {
			perror("bench: fork");
			return 1;
		}
		if (pid == 0) {
			w->fn(i);
			_exit(0);
		}
	}
	while (atomic_load(&sh->ready) < opt.connections && atomic_load(&sh->errors) == 0)
		usleep(500);
	uint64_t start = now_us();
	atomic_store(&sh->go, 1);
	while (wait(&status) > 0) {
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			bad = 1;
	}
	uint64_t us = now_us() - start;
	unsigned samples = atomic_load(&sh->samples);
	if (samples > MAX_SAMPLES)
		samples = MAX_SAMPLES;
	qsort(sh->sample_us, samples, sizeof(uint32_t), compare_u32);
	/* What is not timed (preparing an EXPUNGE) does not count. */
	uint64_t timed = atomic_load(&sh->timed_us) / opt.connections;
	if (timed == 0)
		timed = us;
	printf("{\"workload\": \"%s\", \"unit\": \"%s\", \"ops\": %llu, \"seconds\": %.6f, \"per_second\": %.2f, \"octets\": %llu, "
	       "\"p50_us\": %u, \"p99_us\": %u, \"client_cpu_share\": %.3f, \"errors\": %llu}\n",
		w->name, w->unit, (unsigned long long)atomic_load(&sh->ops), (double)us / 1e6,
		(double)atomic_load(&sh->ops) * 1e6 / (double)timed, (unsigned long long)atomic_load(&sh->octets),
		samples ? sh->sample_us[samples / 2] : 0, samples ? sh->sample_us[samples - 1 - samples / 100] : 0,
		(double)cpu_us(RUSAGE_CHILDREN) / (double)us, (unsigned long long)atomic_load(&sh->errors));
	return bad || atomic_load(&sh->errors) != 0;
}
