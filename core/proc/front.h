/* SPDX-License-Identifier: MIT
   Inside front: its connections and what it knows of others. Private to front*.c. */
#ifndef CV_PROC_FRONT_H
#define CV_PROC_FRONT_H

#include "core/proc/login-private.h"
#include "core/proc/role.h"
#include "core/proc/tls-conf.h"

#define RELAY_BUFFER (32 * 1024)

/* A SASL mechanism that auth offers. */
struct mech {
	char name[32];
	unsigned opts;
};

struct front {
	struct cv_role_proc *proc;
	struct cv_loop *loop;
	struct cv_ipc *auth, *spawner;
	struct cv_node listeners;
	struct cv_node logins;       /* before login, oldest first */
	struct cv_node peers;        /* of protocols without login (LMTP) */
	struct cv_node relays;
	struct cv_node sleepers;     /* front-sleep.c */
	size_t login_count, peer_count, relay_count, pair_count, sleeper_count;
	struct cv_map *pending;      /* message id -> struct pending */
	struct cv_map *addresses;    /* remote network -> struct address */
	struct cv_map *relayed;      /* session id -> struct relay */
	struct cv_map *sleeping;     /* the spawner's number -> struct sleeper */
	struct cv_map *direct;       /* user and protocol -> struct direct */
	struct cv_node directs;
	size_t direct_count;
#define FRONT_DIRECT_SEEN 4096u
	uint32_t direct_seen[FRONT_DIRECT_SEEN]; /* of users who were given jobs lately, by their hash */
	uint64_t next_id;
	CV_VEC(struct mech) mechs;
	bool has_mechs;              /* auth has told them: until then no client is answered */
	CV_VEC(char *) hooks;        /* that have handlers in workers; spawner has told them */
	struct tls_set *tls;
	struct cv_login_host host;
	uint64_t fd_limit, client_limit;
	struct cv_timer *full;       /* listeners rest until then */
	struct cv_timer *drain;
	bool draining, graceful_end;
	uint64_t said_full_ms, said_address_ms;
	uint64_t accepted, logged_in, refused; /* since start */
};

/* A channel to a user's worker, for jobs of one protocol (front-worker.c). */
struct direct {
	struct cv_node node; /* front.directs */
	struct front *front;
	struct cv_ipc *ipc;
	struct cv_buf key;   /* in front.direct, unless ended */
	size_t unanswered;   /* jobs, those that nobody waits for any more included */
	bool ended;          /* it gets no more of them */
};

struct relay {
	struct cv_node node;
	struct front *front;
	struct cv_relay *relay;
	/* For a worker that gives it back. */
	char session[CV_SESSION_ID_LEN + 1]; /* key in front.relayed */
	const struct cv_login_protocol *protocol;
	struct cv_login_peer peer;
};

/* What front knows of a login beside the login itself. */
struct front_login {
	struct front *front;
	struct cv_gen *gen;
	struct cv_node pending; /* questions that are out */
	char address[20];
	size_t address_len; /* 0: not counted */
};

/* ---- What logins ask, and the answers (front-ask.c) ------------------------------------------------------------------ */

/* Set front's host: what logins ask goes to the functions here, their end to front_ended. */
void front_ask_init(struct front *front);
/* No answer is wanted any more. */
void front_forget_questions(struct front_login *fl);
void front_forget_hooks(struct front *front);
/* peer of struct cv_role_ops: a channel to auth or spawner. */
int front_peer(struct cv_role_proc *proc, enum cv_role role, uint32_t index, int fd);

/* The answer of a job, from the worker itself or (NULL) by way of the spawner. As handlers of messages; it may run modules' code. */
int front_on_job_answer(struct front *front, struct cv_ipc_msg *msg, const struct direct *from);
/* The worker is gone: jobs that it has not answered fail. */
void front_fail_direct(const struct direct *d);

/* ---- Channels to workers (front-worker.c) ----------------------------------------------------------------------------- */

/* NULL: there is none. */
struct direct *front_direct_find(struct front *front, struct cv_str user, struct cv_str protocol);
/* A channel is worth asking for: it is not the first job for the user, and there is room. Remembers that there was one. */
bool front_direct_wanted(struct front *front, struct cv_str user);
/* fd is the channel's from now on. There must be none for these two. */
void front_direct_add(struct front *front, struct cv_str user, struct cv_str protocol, int fd);
/* payload as DIRECT_JOB has it. -1: not this way. */
CV_MUST_CHECK int front_direct_send(struct direct *d, uint64_t id, struct cv_str payload, int memfd);
void front_free_directs(struct front *front);

/* ---- Connections (front-connection.c) ------------------------------------------------------------------------------------- */

/* listener and listener_gone of struct cv_role_ops. */
int front_listener(struct cv_role_proc *proc, uint64_t token, struct cv_str name, struct cv_str protocol, bool tls, bool is_unix, int fd);
void front_listener_gone(struct cv_role_proc *proc, uint64_t token);
/* Take connections from all that do not yet, where front may. */
void front_listen_all(struct front *front);
void front_free_listeners(struct front *front);
/* Timer: listeners that rest for want of room go on, if there is some. */
void front_on_rested(void *front);
/* ended of struct cv_login_host. */
void front_ended(struct cv_login *login);
/* SESSION_BACK of the spawner. */
int front_on_session_back(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);
void front_free_relays(struct front *front);
bool front_fds_left(const struct front *front);
void front_say_full(struct front *front, const char *what);
/* A few connections more would be too many, of this address or of all: what front has, it should have no longer than need be. */
bool front_is_crowded(const struct front *front, const struct cv_login *login);
/* A relay without its streams: session and peer; it is counted and can be given back from now on. */
struct relay *front_relay_new(struct front *front, const struct cv_login_protocol *protocol, const char *session, const struct cv_login_peer *peer);
/* Our end of the pair between which and the client octets are moved; fd becomes the stream's. */
struct cv_stream *front_pair_stream(struct front *front, int fd);
/* Begin to move octets. */
void front_relay_begin(struct relay *relay, struct cv_stream *client, struct cv_stream *worker);
void front_relay_done(void *ctx);
/* Where fd's connection comes from; false: it is not from remote, or no socket. */
CV_MUST_CHECK bool front_check_peer(int fd, struct cv_str remote, struct cv_login_peer *peer_r);

/* ---- The end (front.c) --------------------------------------------------------------------------------------------- */

/* A connection is over: perhaps it was the last that the end waits for. */
void front_look_drained(struct front *front);

/* ---- Sleeping sessions (front-sleep.c) ----------------------------------------------------------------------------- */

/* SLEEP, ROUSE, WOKEN, WAKE_FAIL of the spawner. */
int front_on_sleep(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);
int front_on_rouse(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);
int front_on_woken(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);
int front_on_wake_fail(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);
/* Goodbye to all: nobody is there who could wake them, or the server ends. */
void front_end_sleepers(struct front *front, const char *why);

#endif
