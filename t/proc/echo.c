/* SPDX-License-Identifier: MIT
   Test protocol, session part: echoes lines, and says or does what tests want to know of a worker. */
#include <culver/mailbox.h>
#include <culver/protocol.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Compiled twice: with DROP it is the protocol "drop", which has jobs only. */
#ifndef DROP

struct state {
	struct cv_session *session;
	unsigned steps;
};

static struct cv_buf *out(struct state *st)
{
	return cv_stream_out(cv_session_stream(st->session));
}

static void *start(struct cv_session *session, struct cv_str resume, struct cv_err *err)
{
	struct state *st = cv_new(cv_session_arena(session), struct state, 1);

	(void)err;
	st->session = session;
	cv_buf_printf(out(st), "OK logged in %.*s\r\n", CV_STR_ARG(resume));
	cv_session_set_timeout(session, 1800000);
	cv_session_set_state(session, "IDLE");
	return st;
}

static void try_open(struct state *st, struct cv_str path, int flags)
{
	char *name = cv_arena_cstr(cv_session_arena(st->session), path);
	int fd = name != NULL ? open(name, flags | O_CLOEXEC, 0600) : -1;

	cv_buf_printf(out(st), "OK %s\r\n", fd >= 0 ? "open" : strerror(errno));
	if (fd >= 0)
		(void)close(fd);
}

static void who_am_i(struct state *st)
{
	uid_t r, e, s;

	if (getresuid(&r, &e, &s) < 0)
		return;
	cv_buf_printf(out(st), "OK pid=%ld uid=%u,%u,%u gid=%u groups=%d nnp=%d back=%d\r\n", (long)getpid(), (unsigned)r, (unsigned)e, (unsigned)s,
		(unsigned)getegid(), getgroups(0, NULL), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), setuid(0));
}

static void spin(void)
{
	struct timespec begin, now;

	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	do
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < 10);
}

static void step(void *state)
{
	struct state *st = state;

	spin();
	if (--st->steps > 0)
		cv_session_want_step(st->session);
	else
		cv_buf_append_c(out(st), "OK stepped\r\n");
}

static void command(struct state *st, struct cv_str line)
{
	uint32_t n;

	if (cv_str_eq_c(line, "WHOAMI")) {
		who_am_i(st);
	} else if (cv_str_starts(line, CV_STR("READ "))) {
		try_open(st, cv_str_sub(line, 5, SIZE_MAX), O_RDONLY);
	} else if (cv_str_starts(line, CV_STR("WRITE "))) {
		try_open(st, cv_str_sub(line, 6, SIZE_MAX), O_WRONLY | O_CREAT);
	} else if (cv_str_eq_c(line, "UNSHARE")) {
		cv_buf_printf(out(st), "OK %s\r\n", umount2("/nowhere", 0) < 0 ? strerror(errno) : "done");
	} else if (cv_str_eq_c(line, "CRASH")) {
		(void)raise(SIGSEGV);
	} else if (cv_str_starts(line, CV_STR("STEP ")) && cv_str_to_u32(cv_str_sub(line, 5, SIZE_MAX), 100000, &n)) {
		st->steps = n + 1;
		cv_session_want_step(st->session);
	} else if (cv_str_starts(line, CV_STR("ALLOC ")) && cv_str_to_u32(cv_str_sub(line, 6, SIZE_MAX), 100000, &n)) {
		cv_free(cv_malloc((size_t)n * 1024 * 1024));
		cv_buf_append_c(out(st), "OK allocated\r\n");
	} else if (cv_str_eq_c(line, "QUIT")) {
		cv_buf_append_c(out(st), "OK bye\r\n");
		cv_session_close(st->session, "quit");
	} else {
		cv_buf_printf(out(st), "ECHO %.*s\r\n", CV_STR_ARG(line));
	}
}

static void input(void *state)
{
	struct state *st = state;
	struct cv_stream *s = cv_session_stream(st->session);

	for (;;) {
		struct cv_reader r = cv_reader_init(cv_stream_input(s));
		struct cv_str line;
		if (!cv_take_line(&r, &line))
			break;
		line = cv_arena_str(cv_session_arena(st->session), line);
		cv_stream_consume(s, r.pos);
		command(st, line);
	}
	if (cv_stream_eof(s))
		cv_session_close(st->session, "client left");
}

static void timeout(void *state)
{
	struct state *st = state;

	cv_session_close(st->session, "idle");
}

static void goodbye(void *state, const char *reason)
{
	struct state *st = state;

	cv_buf_printf(out(st), "BYE %s\r\n", reason);
}

static void refuse(struct cv_session *session, struct cv_str resume, const struct cv_err *err)
{
	(void)resume;
	cv_buf_printf(cv_stream_out(cv_session_stream(session)), "NO %s\r\n", cv_err_public(err));
}

static const struct cv_session_protocol protocol = {
	.name = "echo",
	.max_input = 8192,
	.max_output = 65536,
	.start = start,
	.input = input,
	.step = step,
	.timeout = timeout,
	.goodbye = goodbye,
	.refuse = refuse,
};

#else

/* A delivery: the text "crash" kills the worker, "refuse" is refused, others are told back with their length. */
static int job(struct cv_job *job, struct cv_err *err)
{
	struct cv_str octets = cv_job_octets(job);
	char text[128];

	if (cv_str_eq_c(octets, "crash"))
		(void)raise(SIGSEGV);
	if (cv_str_eq_c(octets, "refuse"))
		return cv_err_set(err, CV_ERR_PERM, "refused as asked");
	(void)snprintf(text, sizeof(text), "%zu octets for %s", octets.len, cv_log_clean(cv_job_payload(job)));
	cv_job_reply(job, NULL, cv_str_c(text));
	return 0;
}

static const struct cv_session_protocol protocol = { .name = "drop", .job = job };

#endif

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_session(reg, &protocol, err);
}

#ifdef DROP
CV_MODULE(drop) = {
	.name = "drop",
#else
CV_MODULE(echo) = {
	.name = "echo",
#endif
	CV_MODULE_ABI,
	.version = "1",
	.kind = CV_KIND_PROTOCOL,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
