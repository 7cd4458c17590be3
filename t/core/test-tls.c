/* SPDX-License-Identifier: MIT
   TLS contexts and TLS under streams, against OpenSSL's client over a socket that the tests hold in their hand. */
#include <config.h>

#include "t/lib/certs.h"
#include "t/lib/test.h"
#include <culver/reader.h>
#include <culver/stream.h>
#include <culver/time.h>
#include <culver/tls.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One server side: collects lines, and answers each with "got <line>". */
struct server {
	struct cv_loop *loop;
	struct cv_stream *s;
	struct cv_tls_ctx *starttls; /* for the command STARTTLS */
	struct cv_buf lines;
	int inputs, secured;
	bool quiet; /* no answers, nothing consumed */
};

/* The client: its octets go through memory, so that a test decides how many of them pass at a time. */
struct client {
	SSL *ssl;
	int fd;
	size_t chunk; /* octets a step, 0: all */
	int reads;    /* that brought any */
	struct cv_buf plain; /* decrypted */
	bool failed, closed;
};

static struct cv_test_ca *ca;
static struct cv_test_cert ec, rsa, other, wild;
static struct cv_arena *certs_arena;

static void server_input(void *ctx)
{
	struct server *srv = ctx;

	srv->inputs++;
	while (!srv->quiet) {
		struct cv_reader r = cv_reader_init(cv_stream_input(srv->s));
		struct cv_str line;
		bool starttls;

		if (!cv_take_line(&r, &line))
			break;
		cv_buf_append(&srv->lines, line);
		cv_buf_append_char(&srv->lines, '|');
		starttls = cv_str_eq_c(line, "STARTTLS") && cv_stream_tls(srv->s) == NULL;
		cv_buf_printf(cv_stream_out(srv->s), "got %.*s\r\n", CV_STR_ARG(line));
		cv_stream_consume(srv->s, r.pos);
		if (starttls) {
			cv_stream_start_tls(srv->s, srv->starttls);
			break;
		}
	}
}

static void server_secured(void *ctx)
{
	struct server *srv = ctx;

	srv->secured++;
	assert_non_null(cv_stream_tls(srv->s));
}

static const struct cv_stream_ops server_ops = { .input = server_input, .secured = server_secured };

static void server_open(struct server *srv, struct cv_loop *loop, int fd, size_t max_in, size_t max_out)
{
	*srv = (struct server){ .loop = loop };
	cv_buf_init(&srv->lines, 100000);
	srv->s = cv_stream_new(loop, fd, max_in, max_out);
	cv_stream_set_ops(srv->s, &server_ops, srv);
}

static void server_end(struct server *srv)
{
	cv_stream_free(&srv->s);
	cv_buf_deinit(&srv->lines);
}

static SSL_CTX *client_ctx(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	X509 *root = NULL;
	BIO *bio = BIO_new_mem_buf(ca->pem.ptr, (int)ca->pem.len);

	assert_non_null(ctx);
	root = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), root), 1);
	X509_free(root);
	BIO_free(bio);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return ctx;
}

/* ctx is taken over; NULL gives the usual one. */
static void client_open(struct client *c, int fd, SSL_CTX *ctx)
{
	*c = (struct client){ .fd = fd };
	cv_buf_init(&c->plain, 10000000);
	if (ctx == NULL)
		ctx = client_ctx();
	c->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_connect_state(c->ssl);
	SSL_set_bio(c->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
}

static void client_end(struct client *c)
{
	SSL_free(c->ssl);
	cv_buf_deinit(&c->plain);
	if (c->fd >= 0)
		(void)close(c->fd);
	ERR_clear_error();
}

static void client_note(struct client *c, int result)
{
	int error = SSL_get_error(c->ssl, result);

	if (error == SSL_ERROR_ZERO_RETURN)
		c->closed = true;
	else if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
		c->failed = true;
	ERR_clear_error();
}

/* Let octets pass in both directions, one chunk each. True when any did. */
static bool client_move(struct client *c)
{
	char octets[16384];
	size_t most = c->chunk > 0 ? c->chunk : sizeof(octets);
	bool moved = false;
	char *waiting = NULL;
	long len = BIO_get_mem_data(SSL_get_wbio(c->ssl), &waiting);
	ssize_t n;

	if (len > 0) {
		n = send(c->fd, waiting, CV_MIN(most, (size_t)len), MSG_NOSIGNAL);
		if (n > 0) {
			assert_int_equal(BIO_read(SSL_get_wbio(c->ssl), octets, (int)CV_MIN((size_t)n, sizeof(octets))), n);
			moved = true;
		}
	}
	n = read(c->fd, octets, most);
	if (n > 0) {
		c->reads++;
		assert_int_equal(BIO_write(SSL_get_rbio(c->ssl), octets, (int)n), n);
		moved = true;
	} else if (n == 0) {
		(void)BIO_set_mem_eof_return(SSL_get_rbio(c->ssl), 0);
	}
	return moved;
}

/* Handshake and reading, as far as it goes now. */
static bool client_step(struct client *c)
{
	char octets[16384];
	bool moved = client_move(c);
	int n;

	if (c->failed || c->closed)
		return moved;
	if (!SSL_is_init_finished(c->ssl)) {
		client_note(c, SSL_do_handshake(c->ssl));
		return moved;
	}
	while ((n = SSL_read(c->ssl, octets, sizeof(octets))) > 0) {
		cv_buf_append_mem(&c->plain, octets, (size_t)n);
		moved = true;
	}
	client_note(c, n);
	return moved;
}

/* Both sides go on until nothing happens any more. */
static void run(struct cv_loop *loop, struct client *c)
{
	for (int idle = 0; idle < 4;) {
		bool moved = client_step(c);

		moved = cv_loop_once(loop, 0) > 0 || moved;
		idle = moved ? 0 : idle + 1;
	}
}

static void client_write(struct client *c, struct cv_str data)
{
	assert_int_equal(SSL_write(c->ssl, data.ptr, (int)data.len), data.len);
}

static int pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
}

static struct cv_tls_ctx *ctx_of(const struct cv_tls_config *config)
{
	struct cv_tls_ctx *ctx = NULL;
	struct cv_err err = { 0 };

	if (cv_tls_ctx_new(config, &ctx, &err) != 1)
		fail_msg("%s", err.text);
	return ctx;
}

static struct cv_tls_ctx *plain_ctx(const struct cv_test_cert *cert)
{
	struct cv_tls_pair one = { .cert = cert->cert, .key = cert->key };

	return ctx_of(&(struct cv_tls_config){ .pairs = &one, .pair_count = 1 });
}

/* A connection over implicit TLS, up to the end of the handshake or its failure. */
struct connection {
	struct cv_loop *loop;
	struct server srv;
	struct client c;
};

static void connect_tls(struct connection *con, enum cv_loop_backend backend, struct cv_tls_ctx *ctx, SSL_CTX *client)
{
	int fds[2];

	assert_int_equal(pair(fds), 0);
	con->loop = cv_loop_new(backend);
	server_open(&con->srv, con->loop, fds[0], 8192, 8192);
	client_open(&con->c, fds[1], client);
	cv_stream_start_tls(con->srv.s, ctx);
}

static void disconnect(struct connection *con)
{
	server_end(&con->srv);
	client_end(&con->c);
	cv_loop_free(&con->loop);
}

static void common_name(struct client *c, char *name, size_t size)
{
	X509 *cert = SSL_get1_peer_certificate(c->ssl);

	name[0] = '\0';
	if (cert != NULL)
		(void)X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, (int)size);
	X509_free(cert);
}

static void each_version_on_each_back_end(void **state CV_UNUSED)
{
	static const struct {
		int version;
		const char *name;
	} versions[] = { { TLS1_2_VERSION, "TLSv1.2" }, { TLS1_3_VERSION, "TLSv1.3" } };
	static const enum cv_loop_backend backends[] = { CV_LOOP_EPOLL, CV_LOOP_POLL };

	for (size_t i = 0; i < 4; i++) {
		struct cv_tls_ctx *ctx = plain_ctx(&ec);
		SSL_CTX *client = client_ctx();
		struct connection con;

		assert_int_equal(SSL_CTX_set_max_proto_version(client, versions[i / 2].version), 1);
		connect_tls(&con, backends[i % 2], ctx, client);
		cv_tls_ctx_unref(&ctx);
		assert_null(cv_stream_tls(con.srv.s));
		/* Asked for before the handshake: comes out under TLS. */
		cv_stream_write(con.srv.s, CV_STR("* OK ready\r\n"));
		run(con.loop, &con.c);
		assert_int_equal(con.srv.secured, 1);
		assert_string_equal(cv_stream_tls(con.srv.s)->protocol, versions[i / 2].name);
		assert_true(cv_stream_tls(con.srv.s)->bits >= 128);
		assert_true(strlen(cv_stream_tls(con.srv.s)->cipher) > 0);
		assert_null(cv_stream_tls(con.srv.s)->sni.ptr);
		assert_false(cv_stream_tls(con.srv.s)->client_cert_valid);
		client_write(&con.c, CV_STR("hello\r\nwo"));
		client_write(&con.c, CV_STR("rld\r\n"));
		run(con.loop, &con.c);
		assert_str(cv_buf_str(&con.srv.lines), "hello|world|");
		assert_str(cv_buf_str(&con.c.plain), "* OK ready\r\ngot hello\r\ngot world\r\n");
		assert_int_equal(cv_stream_bytes_in(con.srv.s), 14);
		assert_int_equal(cv_stream_detach(con.srv.s), -1);
		/* Both farewells are heard. */
		cv_stream_free(&con.srv.s);
		run(con.loop, &con.c);
		assert_true(con.c.closed);
		disconnect(&con);
	}
}

static void old_versions_are_refused(void **state CV_UNUSED)
{
	static const struct {
		const char *min;
		int client_max;
	} rows[] = { { NULL, TLS1_1_VERSION }, { "TLSv1.2", TLS1_1_VERSION }, { "TLSv1.3", TLS1_2_VERSION } };

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_tls_pair one = { .cert = ec.cert, .key = ec.key };
		struct cv_tls_ctx *ctx =
			ctx_of(&(struct cv_tls_config){ .pairs = &one, .pair_count = 1, .min_protocol = rows[i].min });
		SSL_CTX *client = client_ctx();
		struct connection con;

		SSL_CTX_set_security_level(client, 0);
		assert_int_equal(SSL_CTX_set_min_proto_version(client, TLS1_VERSION), 1);
		assert_int_equal(SSL_CTX_set_max_proto_version(client, rows[i].client_max), 1);
		connect_tls(&con, CV_LOOP_EPOLL, ctx, client);
		cv_tls_ctx_unref(&ctx);
		run(con.loop, &con.c);
		assert_true(con.c.failed);
		assert_int_equal(con.srv.secured, 0);
		assert_string_equal(cv_stream_error(con.srv.s), "TLS: unsupported protocol");
		assert_true(con.srv.inputs > 0);
		disconnect(&con);
	}
}

static void name_chooses_the_certificate(void **state CV_UNUSED)
{
	static const struct {
		const char *sni, *cn;
	} rows[] = { { NULL, "mail.example.org" }, { "imap.example.com", "imap.example.com" },
		{ "IMAP.Example.COM", "imap.example.com" }, { "imap.example.com.", "imap.example.com" },
		{ "a.example.net", "*.example.net" }, { "a.b.example.net", "mail.example.org" },
		{ "example.net", "mail.example.org" }, { "unknown.test", "mail.example.org" } };
	struct cv_tls_pair pairs[] = {
		{ .name = CV_STR("*.example.net"), .cert = wild.cert, .key = wild.key },
		{ .name = CV_STR("imap.example.com"), .cert = other.cert, .key = other.key },
		{ .cert = ec.cert, .key = ec.key },
	};
	struct cv_tls_ctx *ctx = ctx_of(&(struct cv_tls_config){ .pairs = pairs, .pair_count = CV_COUNT_OF(pairs) });

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct connection con;
		char cn[100];

		connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
		if (rows[i].sni != NULL)
			assert_int_equal(SSL_set_tlsext_host_name(con.c.ssl, cv_arena_strdup(*state, rows[i].sni)), 1);
		run(con.loop, &con.c);
		assert_int_equal(con.srv.secured, 1);
		common_name(&con.c, cn, sizeof(cn));
		assert_string_equal(cn, rows[i].cn);
		assert_true(cv_str_eq(cv_stream_tls(con.srv.s)->sni, cv_str_c(rows[i].sni)));
		disconnect(&con);
	}
	cv_tls_ctx_unref(&ctx);
}

static void key_type_follows_the_client(void **state CV_UNUSED)
{
	static const struct {
		const char *ciphers;
		int type;
	} rows[] = { { "aRSA", EVP_PKEY_RSA }, { "aECDSA", EVP_PKEY_EC } };
	struct cv_tls_pair one = { .cert = rsa.cert, .key = rsa.key, .alt_cert = ec.cert, .alt_key = ec.key };
	struct cv_tls_ctx *ctx = ctx_of(&(struct cv_tls_config){ .pairs = &one, .pair_count = 1 });

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		SSL_CTX *client = client_ctx();
		struct connection con;
		X509 *cert;

		assert_int_equal(SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION), 1);
		assert_int_equal(SSL_CTX_set_cipher_list(client, rows[i].ciphers), 1);
		connect_tls(&con, CV_LOOP_EPOLL, ctx, client);
		run(con.loop, &con.c);
		assert_int_equal(con.srv.secured, 1);
		cert = SSL_get1_peer_certificate(con.c.ssl);
		assert_int_equal(EVP_PKEY_base_id(X509_get0_pubkey(cert)), rows[i].type);
		X509_free(cert);
		disconnect(&con);
	}
	cv_tls_ctx_unref(&ctx);
}

static void alpn_of_another_protocol_is_refused(void **state CV_UNUSED)
{
	static const struct {
		struct cv_str offer;
		bool ok;
		const char *chosen;
	} rows[] = {
		{ { 0 }, true, NULL },
		{ CV_STR_INIT("\4imap"), true, "imap" },
		{ CV_STR_INIT("\2h2\4imap\4pop3"), true, "imap" },
		{ CV_STR_INIT("\4pop3"), false, NULL },
		{ CV_STR_INIT("\10http/1.1"), false, NULL },
		{ CV_STR_INIT("\5imaps\3ima"), false, NULL },
	};
	struct cv_tls_pair one = { .cert = ec.cert, .key = ec.key };
	struct cv_tls_ctx *ctx = ctx_of(&(struct cv_tls_config){ .pairs = &one, .pair_count = 1, .alpn = "imap" });

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct connection con;

		connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
		if (rows[i].offer.len > 0)
			assert_int_equal(SSL_set_alpn_protos(con.c.ssl, (const unsigned char *)rows[i].offer.ptr,
						 (unsigned)rows[i].offer.len),
				0);
		run(con.loop, &con.c);
		assert_int_equal(con.srv.secured, rows[i].ok);
		assert_int_equal(con.c.failed, !rows[i].ok);
		if (rows[i].ok)
			assert_true(cv_str_eq(cv_stream_tls(con.srv.s)->alpn, cv_str_c(rows[i].chosen)));
		else
			assert_non_null(cv_stream_error(con.srv.s));
		disconnect(&con);
	}
	cv_tls_ctx_unref(&ctx);
}

/* RFC 3501 section 6.2.1: "the client MUST discard cached server capabilities"; what a man in the middle put behind STARTTLS in
   plain text must not be taken as said under TLS either (CVE-2011-0411 and its kin). */
static void plain_text_behind_starttls_is_discarded(void **state CV_UNUSED)
{
	struct cv_tls_ctx *ctx = plain_ctx(&ec);
	struct connection con;
	char octets[100];
	ssize_t n;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	con.loop = cv_loop_new(CV_LOOP_EPOLL);
	server_open(&con.srv, con.loop, fds[0], 8192, 8192);
	client_open(&con.c, fds[1], NULL);
	con.srv.starttls = ctx;
	assert_int_equal(write(fds[1], "NOOP\r\nSTARTTLS\r\nEVIL\r\nEVIL", 26), 26);
	(void)cv_loop_once(con.loop, 1000);
	(void)cv_loop_once(con.loop, 0);
	n = read(fds[1], octets, sizeof(octets));
	assert_true(n > 0);
	assert_str(cv_str_mem(octets, (size_t)n), "got NOOP\r\ngot STARTTLS\r\n");
	run(con.loop, &con.c);
	assert_int_equal(con.srv.secured, 1);
	client_write(&con.c, CV_STR("GOOD\r\n"));
	run(con.loop, &con.c);
	assert_str(cv_buf_str(&con.srv.lines), "NOOP|STARTTLS|GOOD|");
	assert_str(cv_buf_str(&con.c.plain), "got GOOD\r\n");
	disconnect(&con);

	/* The same, when the injected octets were not read yet: they are no TLS. */
	assert_int_equal(pair(fds), 0);
	con.loop = cv_loop_new(CV_LOOP_EPOLL);
	server_open(&con.srv, con.loop, fds[0], 10, 8192);
	client_open(&con.c, fds[1], NULL);
	con.srv.starttls = ctx;
	assert_int_equal(write(fds[1], "STARTTLS\r\nEVIL\r\nEVIL\r\n", 22), 22);
	for (int i = 0; i < 5; i++)
		(void)cv_loop_once(con.loop, 0);
	assert_int_equal(con.srv.secured, 0);
	assert_non_null(cv_stream_error(con.srv.s));
	assert_str(cv_buf_str(&con.srv.lines), "STARTTLS|");
	disconnect(&con);
	cv_tls_ctx_unref(&ctx);
}

static void peer_that_gives_one_octet_at_a_time_is_served(void **state CV_UNUSED)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct cv_tls_ctx *ctx = plain_ctx(&ec);
		SSL_CTX *client = client_ctx();
		struct connection con;

		assert_int_equal(SSL_CTX_set_max_proto_version(client, version), 1);
		connect_tls(&con, CV_LOOP_EPOLL, ctx, client);
		con.c.chunk = 1;
		run(con.loop, &con.c);
		assert_int_equal(con.srv.secured, 1);
		client_write(&con.c, CV_STR("slow\r\npeer\r\n"));
		run(con.loop, &con.c);
		assert_str(cv_buf_str(&con.srv.lines), "slow|peer|");
		assert_str(cv_buf_str(&con.c.plain), "got slow\r\ngot peer\r\n");
		disconnect(&con);
		cv_tls_ctx_unref(&ctx);
	}
}

static void peer_that_vanishes_at_any_octet_of_the_handshake(void **state CV_UNUSED)
{
	struct cv_tls_ctx *ctx = plain_ctx(&ec);
	bool complete = false;

	for (size_t octets = 0; !complete; octets += octets < 20 ? 1 : 17) {
		struct connection con;
		size_t left = octets;

		connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
		con.c.chunk = 1;
		for (int idle = 0; idle < 4 && !complete;) {
			char *waiting;
			long before = BIO_get_mem_data(SSL_get_wbio(con.c.ssl), &waiting);
			bool moved;

			if (left == 0 && before > 0)
				break;
			moved = client_step(&con.c);
			left -= before > 0 ? 1 : 0;
			moved = cv_loop_once(con.loop, 0) > 0 || moved;
			idle = moved ? 0 : idle + 1;
			complete = con.srv.secured > 0;
		}
		(void)close(con.c.fd);
		con.c.fd = -1;
		for (int i = 0; i < 4; i++)
			(void)cv_loop_once(con.loop, 0);
		if (!complete) {
			assert_non_null(cv_stream_error(con.srv.s));
			assert_true(con.srv.inputs > 0);
		}
		disconnect(&con);
	}
	cv_tls_ctx_unref(&ctx);
}

static void what_is_not_tls_is_refused(void **state CV_UNUSED)
{
	static const struct cv_str rows[] = { CV_STR_INIT("GET / HTTP/1.0\r\n\r\n"), CV_STR_INIT("a1 LOGIN joe secret\r\n"),
		CV_STR_INIT("\x16\x03\x01\xff\xff\x01"), CV_STR_INIT("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\x00"),
		CV_STR_INIT("\x15\x03\x01\x00\x02\x02\x28"), CV_STR_INIT("\x17\x03\x03\x00\x01x"),
		CV_STR_INIT("\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10") };
	struct cv_tls_ctx *ctx = plain_ctx(&ec);

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct connection con;

		connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
		assert_int_equal(write(con.c.fd, rows[i].ptr, rows[i].len), rows[i].len);
		assert_int_equal(shutdown(con.c.fd, SHUT_WR), 0);
		for (int j = 0; j < 5; j++)
			(void)cv_loop_once(con.loop, 0);
		assert_non_null(cv_stream_error(con.srv.s));
		assert_int_equal(con.srv.secured, 0);
		assert_str(cv_buf_str(&con.srv.lines), "");
		disconnect(&con);
	}
	cv_tls_ctx_unref(&ctx);
}

/* A record of 16 KiB behind an input buffer of 100 octets: OpenSSL holds what no event of the descriptor will announce. */
static void octets_that_openssl_holds_are_served(void **state CV_UNUSED)
{
	struct cv_tls_ctx *ctx = plain_ctx(&ec);
	struct connection con;
	size_t taken = 0;
	int fds[2];
	char *octets = cv_arena_alloc(*state, 40000);

	for (size_t i = 0; i < 40000; i++)
		octets[i] = (char)(unsigned char)(i % 251);
	assert_int_equal(pair(fds), 0);
	con.loop = cv_loop_new(CV_LOOP_EPOLL);
	server_open(&con.srv, con.loop, fds[0], 100, 8192);
	con.srv.quiet = true;
	client_open(&con.c, fds[1], NULL);
	cv_stream_start_tls(con.srv.s, ctx);
	run(con.loop, &con.c);
	client_write(&con.c, cv_str_mem(octets, 40000));
	for (int idle = 0; idle < 20 && taken < 40000; idle++) {
		struct cv_str in = cv_stream_input(con.srv.s);

		assert_true(in.len <= 100);
		if (in.len > 0) {
			assert_memory_equal(in.ptr, &octets[taken], in.len);
			taken += in.len;
			cv_stream_consume(con.srv.s, in.len);
			idle = 0;
		}
		(void)client_step(&con.c);
		(void)cv_loop_once(con.loop, 0);
	}
	assert_int_equal(taken, 40000);
	/* And a paused stream gets its own when it goes on. */
	cv_stream_pause(con.srv.s);
	client_write(&con.c, CV_STR("more"));
	run(con.loop, &con.c);
	assert_int_equal(cv_stream_input(con.srv.s).len, 0);
	cv_stream_resume(con.srv.s);
	run(con.loop, &con.c);
	assert_str(cv_stream_input(con.srv.s), "more");
	disconnect(&con);
	cv_tls_ctx_unref(&ctx);
}

static size_t produced;

static void produce(void *ctx)
{
	struct server *srv = ctx;

	while (produced < 2000000 && cv_stream_room(srv->s) > 0) {
		char octets[1000];

		for (size_t i = 0; i < sizeof(octets); i++)
			octets[i] = (char)(unsigned char)((produced + i) % 253);
		cv_stream_write(srv->s, cv_str_mem(octets, sizeof(octets)));
		produced += sizeof(octets);
	}
}

static void slow_reader_stops_the_producer(void **state CV_UNUSED)
{
	static const struct cv_stream_ops ops = { .input = server_input, .secured = server_secured, .output = produce };
	struct cv_tls_ctx *ctx = plain_ctx(&ec);
	struct connection con;

	connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
	run(con.loop, &con.c);
	cv_stream_set_ops(con.srv.s, &ops, &con.srv);
	produced = 0;
	produce(&con.srv);
	for (int i = 0; i < 50; i++)
		(void)cv_loop_once(con.loop, 0);
	assert_true(produced < 1000000);
	assert_true(cv_stream_unsent(con.srv.s) <= 8192 + 1000);
	run(con.loop, &con.c);
	assert_int_equal(con.c.plain.len, 2000000);
	for (size_t i = 0; i < con.c.plain.len; i++) {
		if ((unsigned char)con.c.plain.data[i] != i % 253)
			fail_msg("octet %zu is wrong", i);
	}
	disconnect(&con);
	cv_tls_ctx_unref(&ctx);
}

static void relay_over_tls_passes_the_farewell_on(void **state CV_UNUSED)
{
	struct cv_tls_ctx *ctx = plain_ctx(&ec);
	struct connection con;
	struct cv_relay *relay;
	char octets[100];
	int fds[2];
	ssize_t n;

	connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
	run(con.loop, &con.c);
	assert_int_equal(pair(fds), 0);
	relay = cv_relay_new(con.srv.s, cv_stream_new(con.loop, fds[0], 1000, 1000), NULL, NULL);
	con.srv.s = NULL;
	client_write(&con.c, CV_STR("a LOGOUT\r\n"));
	run(con.loop, &con.c);
	n = read(fds[1], octets, sizeof(octets));
	assert_int_equal(n, 10);
	assert_int_equal(write(fds[1], "* BYE\r\n", 7), 7);
	(void)close(fds[1]);
	run(con.loop, &con.c);
	assert_str(cv_buf_str(&con.c.plain), "* BYE\r\n");
	assert_true(con.c.closed);
	(void)relay;
	disconnect(&con);
	cv_tls_ctx_unref(&ctx);
}

static struct cv_str read_file(struct cv_arena *arena, const char *path)
{
	char *text = cv_arena_alloc(arena, 20000);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, 20000);

	assert_true(n >= 0);
	(void)close(fd);
	return cv_str_mem(text, (size_t)n);
}

static void write_file(const char *path, struct cv_str text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text.ptr, text.len), text.len);
	(void)close(fd);
}

/* What whoever watches the files does: read, make a context, and put it in the place of the old one only when it is whole. */
static int renew(struct cv_arena *arena, struct cv_tls_ctx **ctx, const char *cert, const char *key, struct cv_err *err)
{
	struct cv_tls_pair one = { .cert = read_file(arena, cert), .key = read_file(arena, key) };
	struct cv_tls_config config = { .pairs = &one, .pair_count = 1 };
	struct cv_tls_ctx *renewed;

	if (cv_tls_ctx_new(&config, &renewed, err) < 0)
		return -1;
	cv_tls_ctx_unref(ctx);
	*ctx = renewed;
	return 1;
}

static void renewed_certificate_is_served_and_a_broken_one_refused(void **state)
{
	char *cert = cv_arena_printf(*state, "%s/cert.pem", cv_test_dir(state));
	char *key = cv_arena_printf(*state, "%s/key.pem", cv_test_dir(state));
	struct cv_tls_ctx *ctx = NULL;
	struct cv_err err = { 0 };
	struct connection old, con;
	char cn[100];

	write_file(cert, ec.cert);
	write_file(key, ec.key);
	assert_int_equal(renew(*state, &ctx, cert, key, &err), 1);
	connect_tls(&old, CV_LOOP_EPOLL, ctx, NULL);
	run(old.loop, &old.c);

	/* Half renewed: the certificate is new, the key is not yet. */
	write_file(cert, other.cert);
	assert_int_equal(renew(*state, &ctx, cert, key, &err), -1);
	assert_string_equal(err.text, "TLS: key does not belong to the certificate");
	write_file(cert, cv_str_sub(ec.cert, 0, ec.cert.len / 2));
	assert_int_equal(renew(*state, &ctx, cert, key, &err), -1);
	write_file(cert, CV_STR(""));
	assert_int_equal(renew(*state, &ctx, cert, key, &err), -1);
	connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
	run(con.loop, &con.c);
	common_name(&con.c, cn, sizeof(cn));
	assert_string_equal(cn, "mail.example.org");
	disconnect(&con);

	write_file(cert, other.cert);
	write_file(key, other.key);
	assert_int_equal(renew(*state, &ctx, cert, key, &err), 1);
	connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
	run(con.loop, &con.c);
	common_name(&con.c, cn, sizeof(cn));
	assert_string_equal(cn, "imap.example.com");
	disconnect(&con);

	/* The session from before goes on with what it has. */
	client_write(&old.c, CV_STR("still here\r\n"));
	run(old.loop, &old.c);
	assert_str(cv_buf_str(&old.c.plain), "got still here\r\n");
	disconnect(&old);
	cv_tls_ctx_unref(&ctx);
}

static void bad_settings_say_what_is_wrong(void **state)
{
	struct cv_str cut = cv_str_c(cv_arena_printf(*state, "%.*s%.*s", CV_STR_ARG(ec.cert),
		CV_STR_ARG(cv_str_sub(ca->pem, 0, ca->pem.len - 60))));
	struct cv_tls_pair good = { .cert = ec.cert, .key = ec.key };
	const struct {
		struct cv_tls_config config;
		struct cv_tls_pair pair;
		const char *text;
	} rows[] = {
		{ .pair = { .name = CV_STR("a.test"), .cert = ec.cert, .key = other.key },
			.text = "TLS for a.test: key does not belong to the certificate" },
		{ .pair = { .cert = cut, .key = ec.key }, .text = "TLS: certificate 2 in the chain cannot be read" },
		{ .pair = { .cert = CV_STR("no PEM"), .key = ec.key }, .text = "TLS: certificate cannot be read" },
		{ .pair = { .cert = ec.key, .key = ec.key }, .text = "TLS: certificate cannot be read" },
		{ .pair = { .cert = ec.cert, .key = CV_STR("no PEM") }, .text = "TLS: key cannot be read" },
		{ .pair = { .cert = ec.cert }, .text = "TLS: key is empty" },
		{ .pair = { .cert = ec.cert, .key = ec.key, .alt_cert = rsa.cert, .alt_key = ec.key },
			.text = "TLS: alternative: key does not belong" },
		{ .pair = { .cert = ec.cert, .key = ec.key, .alt_cert = other.cert, .alt_key = other.key },
			.text = "TLS: the alternative certificate has the same type of key" },
		{ .config = { .min_protocol = "SSLv3" }, .text = "TLS: there is no protocol version SSLv3" },
		{ .config = { .cipher_list = "NOSUCH" }, .text = "TLS: cipher list NOSUCH: no cipher match" },
		{ .config = { .cipher_suites = "NOSUCH" }, .text = "TLS: cipher suites NOSUCH: no cipher match" },
		{ .config = { .curve_list = "NOSUCH" }, .text = "TLS: curve list NOSUCH: " },
		{ .config = { .dh = CV_STR("no PEM") }, .text = "TLS: no DH parameters in PEM form" },
		{ .config = { .dh = ec.key }, .text = "TLS: no DH parameters in PEM form" },
		{ .config = { .ca = CV_STR("no PEM") }, .text = "TLS: no CA certificate in PEM form" },
		{ .config = { .ca = CV_STR("") }, .text = "TLS: CA certificates cannot be read" },
		{ .config = { .ca = ca->pem, .require_crl = true }, .text = "TLS: a CRL is required" },
		{ .config = { .verify_client_cert = true }, .text = "client certificates are to be verified, but no CA" },
		{ .config = { .cert_username_field = "nonsense" }, .text = "there is no certificate field nonsense" },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_tls_config config = rows[i].config;
		struct cv_tls_ctx *ctx = NULL;
		struct cv_err err = { 0 };

		config.pairs = rows[i].pair.cert.ptr != NULL ? &rows[i].pair : &good;
		config.pair_count = 1;
		assert_int_equal(cv_tls_ctx_new(&config, &ctx, &err), -1);
		assert_null(ctx);
		if (!cv_str_starts(cv_str_c(err.text), cv_str_c(rows[i].text)))
			fail_msg("%s, not %s", err.text, rows[i].text);
		assert_int_equal(ERR_peek_error(), 0);
	}
	assert_int_equal(cv_tls_ctx_new(&(struct cv_tls_config){ 0 }, &(struct cv_tls_ctx *){ NULL }, NULL), -1);
}

static void key_with_a_password(void **state CV_UNUSED)
{
	struct cv_test_cert cert = cv_test_cert_new(ca, "p.test", CV_TEST_KEY_EC, 0, "open sesame");
	struct cv_tls_pair one = { .cert = cert.cert, .key = cert.key };
	struct cv_tls_config config = { .pairs = &one, .pair_count = 1 };
	struct cv_tls_ctx *ctx = NULL;
	struct cv_err err = { 0 };

	/* Nobody is asked at a terminal. */
	assert_int_equal(cv_tls_ctx_new(&config, &ctx, &err), -1);
	one.key_password = CV_STR("wrong");
	assert_int_equal(cv_tls_ctx_new(&config, &ctx, &err), -1);
	assert_null(strstr(err.text, "wrong"));
	assert_non_null(strstr(err.text, "with the given password"));
	one.key_password = CV_STR("open sesame");
	assert_int_equal(cv_tls_ctx_new(&config, &ctx, &err), 1);
	cv_tls_ctx_unref(&ctx);
}

static void end_of_validity_is_told(void **state CV_UNUSED)
{
	struct cv_test_cert past = cv_test_cert_new(ca, "past.test", CV_TEST_KEY_EC, 1000000000, NULL);
	struct cv_test_cert future = cv_test_cert_new(ca, "future.test", CV_TEST_KEY_EC, 4000000000, NULL);
	struct cv_tls_pair pairs[] = { { .name = CV_STR("past.test"), .cert = past.cert, .key = past.key },
		{ .cert = future.cert, .key = future.key } };
	struct cv_tls_ctx *ctx = ctx_of(&(struct cv_tls_config){ .pairs = pairs, .pair_count = 2 });

	assert_true(cv_tls_ctx_expires(ctx) == 4000000000);
	cv_tls_ctx_unref(&ctx);
	/* An expired one is served all the same: refusing it would help nobody. */
	ctx = ctx_of(&(struct cv_tls_config){ .pairs = pairs, .pair_count = 1 });
	assert_true(cv_tls_ctx_expires(ctx) == 1000000000);
	cv_tls_ctx_unref(&ctx);
}

static void given_dh_parameters_are_used(void **state)
{
	struct cv_str dh = cv_test_dh_new(*state);

	for (int given = 0; given < 2; given++) {
		struct cv_tls_pair one = { .cert = rsa.cert, .key = rsa.key };
		struct cv_tls_config config = { .pairs = &one, .pair_count = 1, .prefer_server_ciphers = true };
		SSL_CTX *client = client_ctx();
		struct cv_tls_ctx *ctx;
		struct connection con;

		if (given == 1)
			config.dh = dh;
		ctx = ctx_of(&config);
		assert_int_equal(SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION), 1);
		assert_int_equal(SSL_CTX_set_cipher_list(client, "kDHE"), 1);
		connect_tls(&con, CV_LOOP_EPOLL, ctx, client);
		run(con.loop, &con.c);
		assert_int_equal(con.srv.secured, 1);
		assert_true(strncmp(cv_stream_tls(con.srv.s)->cipher, "DHE-RSA-", 8) == 0);
		disconnect(&con);
		cv_tls_ctx_unref(&ctx);
	}
}

static SSL_CTX *client_with(const struct cv_test_cert *cert)
{
	SSL_CTX *ctx = client_ctx();
	BIO *cert_bio = BIO_new_mem_buf(cert->cert.ptr, (int)cert->cert.len);
	BIO *key_bio = BIO_new_mem_buf(cert->key.ptr, (int)cert->key.len);
	X509 *x509 = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);

	assert_int_equal(SSL_CTX_use_cert_and_key(ctx, x509, key, NULL, 1), 1);
	X509_free(x509);
	EVP_PKEY_free(key);
	BIO_free(cert_bio);
	BIO_free(key_bio);
	return ctx;
}

static void client_certificates_are_valid_or_not_but_never_fatal(void **state)
{
	struct cv_test_ca *foreign = cv_test_ca_new(*state, "Another CA");
	struct cv_test_cert joe = cv_test_cert_new(ca, "joe", CV_TEST_KEY_EC, 0, NULL);
	struct cv_test_cert revoked = cv_test_cert_new(ca, "revoked", CV_TEST_KEY_EC, 0, NULL);
	struct cv_test_cert expired = cv_test_cert_new(ca, "expired", CV_TEST_KEY_EC, 1000000000, NULL);
	struct cv_test_cert stranger = cv_test_cert_new(foreign, "joe", CV_TEST_KEY_EC, 0, NULL);
	struct cv_str crl = cv_test_crl_new(ca, revoked.serial);
	const struct {
		const struct cv_test_cert *cert;
		bool crl, valid;
		const char *user;
	} rows[] = { { NULL, false, false, NULL }, { &joe, false, true, "joe" }, { &stranger, false, false, NULL },
		{ &expired, false, false, NULL }, { &revoked, false, true, "revoked" }, { &revoked, true, false, NULL },
		{ &joe, true, true, "joe" }, { &stranger, true, false, NULL } };

	for (size_t i = 0; i < CV_COUNT_OF(rows) * 2; i++) {
		size_t row = i / 2;
		struct cv_tls_pair one = { .cert = ec.cert, .key = ec.key };
		struct cv_tls_config config = { .pairs = &one, .pair_count = 1, .verify_client_cert = true,
			.require_crl = rows[row].crl, .cert_username_field = "commonName" };
		SSL_CTX *client = rows[row].cert != NULL ? client_with(rows[row].cert) : client_ctx();
		struct cv_tls_ctx *ctx;
		struct connection con;

		config.ca = rows[row].crl ?
			cv_str_c(cv_arena_printf(*state, "%.*s%.*s", CV_STR_ARG(ca->pem), CV_STR_ARG(crl))) :
			ca->pem;
		ctx = ctx_of(&config);
		assert_int_equal(SSL_CTX_set_max_proto_version(client, i % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION), 1);
		connect_tls(&con, CV_LOOP_EPOLL, ctx, client);
		run(con.loop, &con.c);
		assert_int_equal(con.srv.secured, 1);
		assert_int_equal(cv_stream_tls(con.srv.s)->client_cert_valid, rows[row].valid);
		assert_true(cv_str_eq(cv_stream_tls(con.srv.s)->client_cert_user, cv_str_c(rows[row].user)));
		assert_int_equal(SSL_SESSION_has_ticket(SSL_get_session(con.c.ssl)), 0);
		disconnect(&con);
		cv_tls_ctx_unref(&ctx);
	}
}

static void user_name_with_a_nul_is_none(void **state CV_UNUSED)
{
	/* "\0" can't be written in our CA's text form: build the name by hand. */
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	struct cv_tls_pair one = { .cert = ec.cert, .key = ec.key };
	struct cv_tls_ctx *ctx = ctx_of(&(struct cv_tls_config){ .pairs = &one, .pair_count = 1, .ca = ca->pem,
		.verify_client_cert = true, .cert_username_field = "commonName" });
	SSL_CTX *client = client_ctx();
	struct connection con;

	(void)X509_set_version(cert, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 4711);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	(void)X509_set_pubkey(cert, key);
	assert_int_equal(X509_NAME_add_entry_by_NID(X509_get_subject_name(cert), NID_commonName, V_ASN1_UTF8STRING,
				 (const unsigned char *)"root\0.example.org", 17, -1, 0),
		1);
	(void)X509_set_issuer_name(cert, X509_get_subject_name(ca->cert));
	assert_true(X509_sign(cert, ca->key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_cert_and_key(client, cert, key, NULL, 1), 1);
	connect_tls(&con, CV_LOOP_EPOLL, ctx, client);
	run(con.loop, &con.c);
	assert_int_equal(con.srv.secured, 1);
	assert_true(cv_stream_tls(con.srv.s)->client_cert_valid);
	assert_null(cv_stream_tls(con.srv.s)->client_cert_user.ptr);
	disconnect(&con);
	cv_tls_ctx_unref(&ctx);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void sessions_resume_by_ticket_unless_turned_off(void **state CV_UNUSED)
{
	for (int off = 0; off < 2; off++) {
		struct cv_tls_pair one = { .cert = ec.cert, .key = ec.key };
		struct cv_tls_ctx *ctx =
			ctx_of(&(struct cv_tls_config){ .pairs = &one, .pair_count = 1, .tickets_off = off == 1 });
		struct connection con;
		SSL_SESSION *session;

		connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
		run(con.loop, &con.c);
		session = SSL_get1_session(con.c.ssl);
		(void)SSL_shutdown(con.c.ssl);
		disconnect(&con);
		connect_tls(&con, CV_LOOP_EPOLL, ctx, NULL);
		if (SSL_SESSION_is_resumable(session) == 1)
			assert_int_equal(SSL_set_session(con.c.ssl, session), 1);
		SSL_SESSION_free(session);
		run(con.loop, &con.c);
		assert_int_equal(con.srv.secured, 1);
		assert_int_equal(SSL_session_reused(con.c.ssl), off == 0);
		disconnect(&con);
		cv_tls_ctx_unref(&ctx);
	}
}

static int on_session(SSL *ssl, SSL_SESSION *session CV_UNUSED)
{
	(*(int *)SSL_get_app_data(ssl))++;
	return 0;
}

/* Over a socket that keeps the bounds of writes. */
static void ticket_and_first_words_are_one_write_and_last_words_and_farewell(void **state CV_UNUSED)
{
	struct cv_tls_ctx *ctx = plain_ctx(&ec);
	SSL_CTX *client = client_ctx();
	struct connection con;
	int fds[2], tickets = 0;

	(void)SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(client, on_session);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	con.loop = cv_loop_new(CV_LOOP_EPOLL);
	con.srv = (struct server){ .loop = con.loop };
	cv_buf_init(&con.srv.lines, 100);
	con.srv.s = cv_stream_new_socket(con.loop, fds[0], true, 8192, 8192);
	cv_stream_set_ops(con.srv.s, &server_ops, &con.srv);
	client_open(&con.c, fds[1], client);
	assert_int_equal(SSL_set_app_data(con.c.ssl, &tickets), 1);
	cv_stream_start_tls(con.srv.s, ctx);
	cv_stream_write(con.srv.s, CV_STR("* OK\r\n"));
	run(con.loop, &con.c);
	assert_int_equal(con.srv.secured, 1);
	assert_str(cv_buf_str(&con.c.plain), "* OK\r\n");
	assert_int_equal(tickets, 1);
	/* Its part of the handshake, and all the rest. */
	assert_int_equal(con.c.reads, 2);
	cv_stream_write(con.srv.s, CV_STR("* BYE\r\n"));
	cv_stream_close_after_flush(&con.srv.s, 1000);
	run(con.loop, &con.c);
	assert_str(cv_buf_str(&con.c.plain), "* OK\r\n* BYE\r\n");
	assert_true(con.c.closed);
	assert_int_equal(con.c.reads, 3);
	disconnect(&con);
	cv_tls_ctx_unref(&ctx);
}

static void a_client_that_has_spoken_is_not_waited_for(void **state CV_UNUSED)
{
	struct cv_tls_ctx *ctx = plain_ctx(&ec);
	struct connection con;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	con.loop = cv_loop_new(CV_LOOP_EPOLL);
	server_open(&con.srv, con.loop, fds[0], 8192, 8192);
	client_open(&con.c, fds[1], NULL);
	(void)client_step(&con.c);
	assert_true(client_step(&con.c));
	cv_stream_start_tls(con.srv.s, ctx);
	(void)cv_loop_once(con.loop, 0);
	/* Our part of the handshake left in the round that began with TLS. */
	assert_true(recv(fds[1], &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
	run(con.loop, &con.c);
	assert_int_equal(con.srv.secured, 1);
	disconnect(&con);
	cv_tls_ctx_unref(&ctx);
}

static void closed_while_the_handshake_hangs(void **state CV_UNUSED)
{
	struct cv_loop *loop = cv_loop_new(CV_LOOP_FAKE);
	struct cv_tls_ctx *ctx = plain_ctx(&ec);
	struct server srv;
	int fds[2];

	assert_int_equal(pair(fds), 0);
	server_open(&srv, loop, fds[0], 1000, 1000);
	cv_stream_start_tls(srv.s, ctx);
	cv_stream_write(srv.s, CV_STR("* BYE\r\n"));
	for (int i = 0; i < 3; i++)
		(void)cv_loop_once(loop, 0);
	cv_stream_close_after_flush(&srv.s, 1000);
	for (int i = 0; i < 3; i++)
		(void)cv_loop_once(loop, 0);
	assert_int_equal(send(fds[1], "\x16", 1, MSG_NOSIGNAL), 1);
	cv_loop_fake_advance(loop, 1000);
	for (int i = 0; i < 3; i++)
		(void)cv_loop_once(loop, 0);
	assert_int_equal(send(fds[1], "\x03", 1, MSG_NOSIGNAL), -1);
	server_end(&srv);
	(void)close(fds[1]);
	cv_tls_ctx_unref(&ctx);
	cv_loop_free(&loop);
}

static int make_certs(void **state CV_UNUSED)
{
	certs_arena = cv_arena_new("certificates", NULL, 0);
	ca = cv_test_ca_new(certs_arena, "Test CA");
	ec = cv_test_cert_new(ca, "mail.example.org", CV_TEST_KEY_EC, 0, NULL);
	rsa = cv_test_cert_new(ca, "mail.example.org", CV_TEST_KEY_RSA, 0, NULL);
	other = cv_test_cert_new(ca, "imap.example.com", CV_TEST_KEY_EC, 0, NULL);
	wild = cv_test_cert_new(ca, "*.example.net", CV_TEST_KEY_EC, 0, NULL);
	return 0;
}

static int free_certs(void **state CV_UNUSED)
{
	cv_arena_free(&certs_arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test_fds_only(each_version_on_each_back_end),
		cv_test_fds_only(old_versions_are_refused),
		cv_test_fds_only(name_chooses_the_certificate),
		cv_test_fds_only(key_type_follows_the_client),
		cv_test_fds_only(alpn_of_another_protocol_is_refused),
		cv_test_fds_only(plain_text_behind_starttls_is_discarded),
		cv_test_fds_only(peer_that_gives_one_octet_at_a_time_is_served),
		cv_test_fds_only(peer_that_vanishes_at_any_octet_of_the_handshake),
		cv_test_fds_only(what_is_not_tls_is_refused),
		cv_test_fds_only(octets_that_openssl_holds_are_served),
		cv_test_fds_only(slow_reader_stops_the_producer),
		cv_test_fds_only(relay_over_tls_passes_the_farewell_on),
		cv_test_fds_only(renewed_certificate_is_served_and_a_broken_one_refused),
		cv_test_fds_only(bad_settings_say_what_is_wrong),
		cv_test_fds_only(key_with_a_password),
		cv_test_fds_only(end_of_validity_is_told),
		cv_test_fds_only(given_dh_parameters_are_used),
		cv_test_fds_only(client_certificates_are_valid_or_not_but_never_fatal),
		cv_test_fds_only(user_name_with_a_nul_is_none),
		cv_test_fds_only(sessions_resume_by_ticket_unless_turned_off),
		cv_test_fds_only(ticket_and_first_words_are_one_write_and_last_words_and_farewell),
		cv_test_fds_only(a_client_that_has_spoken_is_not_waited_for),
		cv_test_fds_only(closed_while_the_handshake_hangs),
	};

	cv_test_init();
	return cmocka_run_group_tests(tests, make_certs, free_certs);
}
