/* SPDX-License-Identifier: MIT
   The load generator's own parts: connections, and what its processes share. */
#ifndef CV_BENCH_H
#define CV_BENCH_H

#include "t/bench/corpus.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
	const char *host;
	unsigned port;
	unsigned lmtp_port; /* for exists: where the mail is delivered */
	bool tls;
	const char *user; /* %d becomes the number of the connection, modulo users */
	const char *password;
	const char *workload;
	const char *mailbox;
	const char *command; /* for the workload command */
	unsigned connections, users;
	uint64_t count;    /* operations in all */
	unsigned messages; /* of the mailbox, for those that touch all */
	size_t size;       /* of generated messages; 0: of all sizes */
	unsigned wait_sec; /* for exists: until sessions sleep */
};

extern struct options opt;

struct workload {
	const char *name;
	void (*fn)(unsigned i); /* in a process of its own, with the connection's number */
	const char *unit;
};
extern const struct workload imap_workloads[], other_workloads[]; /* ended by an empty one */

/* Each process waits until all are ready; then each takes operations until none is left. */
void barrier(void);
bool claim(uint64_t n);
void done(uint64_t n);
/* One operation's time, since now_us() of its beginning. What is not timed (preparing an EXPUNGE) does not count in the rate. */
uint64_t now_us(void);
void sample(uint64_t since);
/* Message n of the corpus, made before the processes were forked. */
const struct corpus_message *message_of(uint64_t n);
/* Octets received. */
void count_octets(uint64_t n);
_Noreturn void die(const char *what);

/* ---- connections ---- */

struct ssl_st;
struct conn {
	int fd;
	struct ssl_st *ssl;
	size_t pos, len;
	uint64_t octets;
	char buf[65536];
};

struct conn *conn_new(void);
void conn_open(struct conn *c, unsigned port);
void conn_close(struct conn *c);
void conn_send(struct conn *c, const char *data, size_t len);
__attribute__((format(printf, 2, 3))) void sendf(struct conn *c, const char *fmt, ...);
/* The next line without its end; of one that is longer than the buffer only the end is left. */
const char *conn_line(struct conn *c, size_t *len_r);
void conn_skip(struct conn *c, uint64_t n);
bool starts(const char *line, size_t len, const char *prefix);
/* A reply line must begin so; of LMTP the last line of a reply. */
void expect(struct conn *c, const char *prefix);
const char *user_of(unsigned i, char *out, size_t size);
void tls_init(void);

/* ---- protocols ---- */

/* Read up to the tagged reply, which must be OK; the number of untagged FETCH responses. */
uint64_t imap_wait(struct conn *c, const char *tag);
void imap_login(struct conn *c, unsigned i);
void imap_select(struct conn *c);
void imap_logout(struct conn *c);
void lmtp_open(struct conn *c);
void lmtp_deliver(struct conn *c, const char *user, const struct corpus_message *message);

/* Hold connections in IDLE: print "holding" and wait for standard input to end. */
int hold_idle(void);
/* Hold connections in IDLE, deliver to one of them at a time, and print how long its untagged EXISTS took. */
int hold_exists(void);

#endif
