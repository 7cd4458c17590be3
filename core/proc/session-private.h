/* SPDX-License-Identifier: MIT
   Sessions and jobs between the protocol modules that run them and the worker that owns them. Private to core/proc and tests. */
#ifndef CV_PROC_SESSION_PRIVATE_H
#define CV_PROC_SESSION_PRIVATE_H

#include "core/proc/login-private.h"
#include "core/proc/messages.h"
#include <culver/mailbox.h>
#include <culver/protocol.h>

/* What sessions and jobs of one process have in common. */
struct cv_session_host {
	struct cv_loop *loop;
	const struct cv_registry *registry;
	const struct cv_conf *conf;
	struct cv_user *user;
	const char *user_name;
	struct cv_node sessions, jobs;
	size_t session_count, job_count;
	struct cv_node asks;         /* questions that are not answered */
	uint64_t last_ask;
	struct cv_node stepping;     /* sessions that want a step */
	struct cv_timer *step_timer;
	/* A session's state for `culver who`; ended: it is over. */
	void (*state)(struct cv_session_host *host, const struct cv_session *session, const char *state, bool ended);
	/* A job's answer. */
	void (*job_reply)(struct cv_session_host *host, uint64_t id, const struct cv_err *err, struct cv_str data, int memfd);
	/* A question to another user's worker; its answer goes to cv_session_answer. NULL: there is nobody to ask. */
	int (*ask)(struct cv_session_host *host, uint64_t id, struct cv_str user, const char *protocol, struct cv_str session, struct cv_str payload,
		struct cv_err *err);
	/* A session's connection goes back to front: fd is the callee's. Of one that is relayed that is our end of the pair, and octets were written to it for the client. */
	void (*give_back)(struct cv_session_host *host, const struct cv_session *session, int fd, uint64_t octets, struct cv_str unread);
	/* Sessions may sleep now: no job, no administrator's command. NULL: they never do. */
	bool (*may_sleep)(struct cv_session_host *host);
	/* A session goes to sleep; fd and octets as in give_back. False: it could not be told. */
	bool (*sleep)(struct cv_session_host *host, const struct cv_session *session, int fd, uint64_t octets, const struct cv_session_sleep *sleep,
		uint64_t timeout_ms);
	struct cv_timer *sleepy;     /* when all may have waited long enough */
	uint64_t sleepy_due, sleep_pause_ms;
	/* A session or job ended: perhaps nothing is left to do. */
	void (*ended)(struct cv_session_host *host);
	void *ctx;
};
CV_EXPORT void cv_session_host_init(struct cv_session_host *host);
CV_EXPORT void cv_session_host_deinit(struct cv_session_host *host);

enum cv_session_life {
	CV_SESSION_OPEN = 1,
	CV_SESSION_GIVING,  /* the connection goes back to front: its last output is on its way */
	CV_SESSION_CLOSING
};

struct cv_session {
	struct cv_node node;      /* host's sessions */
	struct cv_node step_node; /* host's stepping; zeroed when not in it */
	struct cv_session_host *host;
	const struct cv_session_protocol *protocol;
	struct cv_arena *arena;
	struct cv_stream *stream;
	enum cv_session_life life;
	void *state;              /* NULL: start did not succeed */
	struct cv_str id, remote, local, local_name, tls;
	uint32_t remote_port, local_port;
	bool secured, in_step, relayed;
	struct cv_log_ctx log;
	void **data;              /* slots */
	const char *shown;        /* for who */
	const char *told;         /* what was told last */
	struct cv_timer *tell;
	uint64_t timeout_ms, input_ms, started_ms;
	struct cv_timer *timeout, *later;
	const char *reason;
	bool hooked;              /* session_start passed: session_end is due */
	uint64_t sleep_ms;        /* cv_session_set_sleep */
	uint64_t awake_ms, awake_out; /* it was seen to do something then, and had written so much */
	uint64_t base_in, base_out; /* octets before it slept */
	struct cv_buf blob;       /* while all are asked whether they can sleep */
	struct cv_session_sleep asleep; /* the same */
	struct {
		const struct cv_settings_table *table;
		const void *set;
	} cached[16];
	unsigned cached_count;
};

struct cv_session_config {
	const struct cv_session_protocol *protocol;
	int fd;                   /* becomes the session's */
	struct cv_str id, remote, local, local_name, tls;
	uint32_t remote_port, local_port;
	bool secured;
	struct cv_str resume, unread;
	/* Of one that wakes: what sleep wrote, and how long until its next keepalive; absent: it is a new one. */
	struct cv_str saved;
	uint64_t keepalive_in_ms;
};
/* Most octets of what a sleeping session leaves: the host's part and the protocol's. */
#define CV_SLEEP_SAVED_MAX (CV_SLEEP_BLOB_MAX + 64)
/* Begin a session: hooks, then the protocol's start. All failures end it by itself. */
CV_EXPORT void cv_session_begin(struct cv_session_host *host, const struct cv_session_config *config);
/* Goodbye by the protocol, then close. */
CV_EXPORT void cv_session_goodbye(struct cv_session *session, const char *reason);
/* Look whether all sessions can sleep, and send them; in so many milliseconds or earlier (session-sleep.c). */
void cv_session_look_sleepy(struct cv_session_host *host);
void cv_session_look_in(struct cv_session_host *host, uint64_t ms);
/* Its time and octets from before; *wake_r gets what is the protocol's. */
CV_MUST_CHECK bool cv_session_take_saved(struct cv_session *session, struct cv_str saved, struct cv_session_wake *wake_r);
/* No longer the host's. quiet: it goes on elsewhere, nobody is told of an end. */
void cv_session_remove(struct cv_session *session, bool quiet);
CV_EXPORT struct cv_session *cv_session_find(const struct cv_session_host *host, struct cv_str id);

struct cv_job {
	struct cv_node node;
	struct cv_session_host *host;
	const struct cv_session_protocol *protocol;
	struct cv_arena *arena;
	uint64_t id;
	struct cv_str session, remote, payload, octets, asker;
	struct cv_log_ctx log;
};
/* Begin a job; memfd (-1: none) stays the caller's. asker: cv_job_asker. The answer comes through host->job_reply, now or later. */
CV_EXPORT void cv_job_begin(struct cv_session_host *host, uint64_t id, const struct cv_session_protocol *protocol, struct cv_str session,
	struct cv_str remote, struct cv_str payload, struct cv_str asker, int memfd);

struct cv_ask {
	struct cv_node node;
	struct cv_session *session;
	uint64_t id;
	cv_ask_fn *fn;
	void *ctx;
};
/* The answer to a question; memfd stays the caller's unless it is -1 afterwards. One that nobody waits for is dropped. */
CV_EXPORT void cv_session_answer(struct cv_session_host *host, uint64_t id, struct cv_ask_reply *reply);

#endif
