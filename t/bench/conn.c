/* SPDX-License-Identifier: MIT
   Connections of the load generator: blocking, one buffer each. */
#include <config.h>

#include "t/bench/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *tls_ctx;

void tls_init(void)
{
	tls_ctx = SSL_CTX_new(TLS_client_method());
	if (tls_ctx == NULL)
		die("TLS");
	SSL_CTX_set_session_cache_mode(tls_ctx, SSL_SESS_CACHE_OFF); /* full handshakes */
}

struct conn *conn_new(void)
{
	struct conn *c = malloc(sizeof(*c));

	if (c == NULL)
		die("memory");
	memset(c, 0, offsetof(struct conn, buf));
	return c;
}

void conn_open(struct conn *c, unsigned port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
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
	if (opt.tls && port == opt.port) {
		c->ssl = SSL_new(tls_ctx);
		SSL_set_fd(c->ssl, c->fd);
		if (SSL_connect(c->ssl) != 1) {
			ERR_print_errors_fp(stderr);
			die("TLS handshake");
		}
	}
}

void conn_close(struct conn *c)
{
	if (c->ssl != NULL) {
		SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	close(c->fd);
	count_octets(c->octets);
	c->octets = 0;
}

void conn_send(struct conn *c, const char *data, size_t len)
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

__attribute__((format(printf, 2, 3))) void sendf(struct conn *c, const char *fmt, ...)
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
const char *conn_line(struct conn *c, size_t *len_r)
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

void conn_skip(struct conn *c, uint64_t n)
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

bool starts(const char *line, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);
	return len >= n && memcmp(line, prefix, n) == 0;
}

void expect(struct conn *c, const char *prefix)
{
	size_t len;
	const char *line;
	do
		line = conn_line(c, &len);
	while (len > 3 && line[3] == '-' && line[0] >= '2' && line[0] <= '5');
	if (!starts(line, len, prefix)) {
		fprintf(stderr, "bench: expected %s, got %.*s\n", prefix, (int)len, line);
		errno = EPROTO;
		die("unexpected reply");
	}
}

const char *user_of(unsigned i, char *out, size_t size)
{
	const char *p = strstr(opt.user, "%d");
	if (p == NULL)
		snprintf(out, size, "%s", opt.user);
	else
		snprintf(out, size, "%.*s%u%s", (int)(p - opt.user), opt.user, i % opt.users, p + 2);
	return out;
}
