/* SPDX-License-Identifier: MIT
   Load generator: speaks IMAP, POP3 and LMTP to any server on this machine and prints one JSON line a run. */
#include <config.h>

#include "t/bench/bench.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SAMPLES = 200000, POOL = 200 };

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

struct options opt;
static struct shared *sh;
static struct corpus_message pool[POOL];

_Noreturn void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	if (sh != NULL)
		atomic_fetch_add(&sh->errors, 1);
	_exit(1);
}

uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

void sample(uint64_t since)
{
	unsigned i = atomic_fetch_add(&sh->samples, 1);
	uint64_t us = now_us() - since;
	atomic_fetch_add(&sh->timed_us, us);
	if (i < MAX_SAMPLES)
		sh->sample_us[i] = (uint32_t)us;
}

const struct corpus_message *message_of(uint64_t n)
{
	return &pool[n % POOL];
}

void count_octets(uint64_t n)
{
	atomic_fetch_add(&sh->octets, n);
}

bool claim(uint64_t n)
{
	return atomic_fetch_add(&sh->claimed, n) < opt.count;
}

void done(uint64_t n)
{
	atomic_fetch_add(&sh->ops, n);
}

void barrier(void)
{
	atomic_fetch_add(&sh->ready, 1);
	while (atomic_load(&sh->go) == 0)
		usleep(500);
}

static const struct workload *find(const struct workload *list, const char *name)
{
	for (; list->name != NULL; list++)
		if (strcmp(list->name, name) == 0)
			return list;
	return NULL;
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
			"             [-n OPERATIONS] [-m MAILBOX] [-M MESSAGES] [-z SIZE] [-L LMTP-PORT] [-x COMMAND] [-W SECONDS]\n"
			"-s: implicit TLS. USER may hold %%d, which becomes 0..USERS-1. SIZE: of messages, else the corpus. Workloads: idle exists");
	for (const struct workload *w = imap_workloads; w->name != NULL; w++)
		fprintf(stderr, " %s", w->name);
	for (const struct workload *w = other_workloads; w->name != NULL; w++)
		fprintf(stderr, " %s", w->name);
	fprintf(stderr, "\n");
	exit(2);
}

int main(int argc, char **argv)
{
	const struct workload *w = NULL;
	int o, status, bad = 0;

	opt = (struct options){ .host = "127.0.0.1", .user = "u%d", .password = "pass", .workload = "", .mailbox = "INBOX",
		.connections = 1, .users = 1, .count = 100, .messages = 1, .command = "NOOP", .wait_sec = 1 };
	while ((o = getopt(argc, argv, "w:p:L:h:su:P:U:c:n:m:M:z:x:W:")) != -1) {
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
		case 'L': opt.lmtp_port = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'x': opt.command = optarg; break;
		case 'W': opt.wait_sec = (unsigned)strtoul(optarg, NULL, 10); break;
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
	if (opt.tls)
		tls_init();
	for (unsigned n = 0; n < POOL; n++)
		pool[n] = corpus_make(n, opt.size);
	if (strcmp(opt.workload, "idle") == 0)
		return hold_idle();
	if (strcmp(opt.workload, "exists") == 0)
		return hold_exists();
	w = find(imap_workloads, opt.workload);
	if (w == NULL)
		w = find(other_workloads, opt.workload);
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
