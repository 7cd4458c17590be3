/* SPDX-License-Identifier: MIT
   Inside the spawner: workers, requests and sessions. Private to spawner*.c. */
#ifndef CV_PROC_SPAWNER_H
#define CV_PROC_SPAWNER_H

#include "core/proc/messages.h"
#include "core/proc/role.h"
#include "core/proc/worker.h"
#include <culver/admin.h>
#include <culver/log.h>
#include <culver/time.h>

#include <sys/types.h>

struct spawner;
struct auth_opener;

struct front_peer {
	struct cv_node node;
	struct spawner *sp;
	uint32_t index;
	struct cv_ipc *ipc;
	struct cv_buf begun;      /* sessions that workers have and it was not told of yet: the payload of SESSION_OK */
	struct cv_timer *tell_begun;
};

/* Something a user's worker is to take. Strings live in its arena. */
struct request {
	struct cv_node node; /* spawner.waiting (asked of auth), worker.waiting, worker.running */
	struct cv_arena *arena;
	struct spawner *sp;
	enum request_kind { REQUEST_SESSION = 1, REQUEST_JOB, REQUEST_ADMIN, REQUEST_WAKE } kind;
	struct front_peer *front; /* NULL: it is gone, or it was not front that asked */
	uint64_t front_id, id;   /* front_id: as who asked counts, asker too */
	struct worker *asker;    /* another user's worker; NULL: it is gone, or it was not a worker that asked */
	bool asked_by_worker;
	int fd;              /* owned; -1: none */
	bool ok_wanted;      /* SESSION: front waits to be told that a worker has it */
	bool ends_asked;     /* SESSION: of what the worker has, no session ended unheard of */
	bool channel_wanted; /* JOB of a front: to the worker */
	int channel;         /* owned; front's end of that, to go with the answer; -1: none */
	struct cv_str payload; /* of the message to the worker */
	size_t head_len;       /* sessions: so much of it tells of the connection */
	struct cv_str protocol, session, remote;
	struct cv_str ticket;  /* sealed: it waits for the key */
	bool secured, relayed;
	int64_t since_sec;     /* WAKE: of the login */
	bool kick;             /* WAKE: for its goodbye only */
	/* What auth said. */
	bool no_user;
	const char *user, *home, *mail;
	const char **fields; /* "key=value" */
	size_t field_count;
	uint32_t sysuid, sysgid; /* UINT32_MAX: not given */
};

/* A session as `culver who` shows it. */
struct session {
	char protocol[16];
	char remote[46];
	char state[32];
	int64_t since_sec;
	bool secured;
	struct front_peer *front; /* from which it came; NULL: that is gone */
	bool relayed;             /* by that front */
	char *head;               /* owned; what a worker is told of the connection */
	size_t head_len;
};
void session_free(struct session *s);
/* Octets of which the caller is the owner. */
char *spawner_copy(struct cv_str s);

/* A user who has sleeping sessions, and what a worker for them needs to know. Is there as long as there are any. */
struct household {
	struct spawner *sp;
	struct cv_arena *arena;
	const char *user, *home, *mail;
	const char *const *fields;
	uint32_t sysuid, sysgid;
	struct cv_node sleepers;
	size_t count;
};

/* A sleeping session: its front has the connection. */
struct sleeper {
	struct cv_node node; /* household.sleepers */
	struct household *of;
	struct session *session; /* owned; session->front has it */
	uint64_t id;             /* by which front knows it */
	uint64_t cookie;         /* of its socket; 0: front relays it */
	bool roused;             /* front was asked for it */
	bool kick;               /* to be ended as soon as it is awake */
	char *saved;             /* owned; what the worker wrote */
	size_t saved_len;
	char name[65];           /* the session's id */
};

/* One user's process: at most one of a user at a time. */
struct worker {
	struct cv_node node;
	struct spawner *sp;
	struct cv_arena *arena;
	struct cv_gen *gen;
	const char *user, *home, *mail;
	const char *const *fields;
	uint32_t sysuid, sysgid;
	pid_t pid;
	struct cv_ipc *ipc;     /* NULL: closed */
	enum worker_state {
		WORKER_STARTING = 1, /* requests wait for READY */
		WORKER_READY,
		WORKER_EXITING       /* requests wait for its end and then for the next */
	} state;
	bool failed;            /* it said so itself */
	struct cv_err *failure; /* and why; in arena */
	bool was_ready;
	bool ends_asked;        /* TELL was sent */
	uint32_t sent;          /* messages to it */
	struct cv_node waiting; /* requests; of one that is READY: those above a limit, until it has told which sessions ended */
	struct cv_node running; /* jobs it has */
	struct cv_node idle;    /* spawner.idle, when it has nothing to do */
	struct cv_map *jobs;    /* id -> the same */
	size_t asking;          /* jobs that it asked of other users' workers and that are not answered */
	struct cv_map *sessions; /* session id -> struct session */
	struct cv_timer *limit;
	struct cv_log_ctx log;
	int64_t since_sec;
};

struct spawner {
	struct cv_role_proc *proc;
	struct cv_loop *loop;
	struct cv_ipc *auth;
	struct auth_opener *opener; /* of tickets; NULL before auth told the key */
	struct cv_node fronts, workers;
	struct cv_node waiting; /* requests asked of auth */
	struct cv_map *asked;   /* id -> the same */
	struct cv_map *by_user, *by_pid;
	struct cv_map *households; /* user -> struct household */
	struct cv_map *sleepers;   /* id -> struct sleeper */
	struct cv_node crowded;    /* sessions that wake and wait for the end of some worker */
	struct cv_node idle;       /* workers with nothing to do that were not asked to go, those that are so longest first */
	size_t worker_count, idle_count, idle_limit;
	size_t held_fds;        /* of requests */
	uint64_t fd_limit;
	uint64_t said_full_ms;
	uint64_t next_id, worker_limit, session_limit, idle_ms, vsz_limit;
	uint32_t mail_uid, mail_gid; /* UINT32_MAX: not set */
	CV_VEC(uint32_t) groups;
	const struct cv_worker_entry *entry;
	uint64_t prepared_ms; /* what confines workers; 0: not for these settings */
	uint64_t looked_ms;   /* for it, at all paths anew */
	bool stopping;
	uint64_t started, jobs_done;
};

/* ---- Limits (spawner-limits.c) ------------------------------------------------------------------------------ */

/* w: the user's worker; NULL: there is none. -1: r is above a limit. */
CV_MUST_CHECK int spawner_check_limits(const struct spawner *sp, const struct worker *w, const struct request *r, struct cv_err *err);
/* r is above a limit, but sessions may have ended that w did not tell of yet: r waits for it to do so. False: r is above it. */
bool spawner_ask_ends(struct worker *w, struct request *r);
/* w has: what waited for that is placed or failed. */
void spawner_ends_told(struct worker *w);

/* who, kick (spawner-admin.c). */
extern const struct cv_module spawner_admin_module;
/* ---- Workers that are programs of their own (worker-exec.c) ----------------------------------------------- */

/* libculver-mail, mapped from now on; NULL with err. */
const struct cv_worker_entry *worker_library(struct cv_err *err);
/* Sealed memory file of what the worker is born with; -1 with err. */
CV_MUST_CHECK int worker_exec_pack(const struct worker *w, struct cv_err *err);
/* In the child of a fork: become the worker. conf_fd: the settings as they came from master. */
CV_NORETURN void worker_exec(int control_fd, int args_fd, int conf_fd);

/* ---- Sleeping sessions (spawner-sleep.c) --------------------------------------------------------------------- */

/* WORKER_SLEEP, of a worker; WAKE and SLEEPER_GONE, of a front. */
int spawner_on_sleep(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);
int spawner_on_wake(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);
int spawner_on_sleeper_gone(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg);
/* The user's worker has something to do: all that sleep come back to it. */
void spawner_rouse(struct spawner *sp, const char *user);
/* Their front is gone, and the connections with it. NULL: all fronts. */
void spawner_forget_sleepers(struct spawner *sp, const struct front_peer *front);
/* Sleeping sessions of a user from this address with this protocol; remote absent: from anywhere, with any. */
size_t spawner_sleeping(const struct spawner *sp, const char *user, struct cv_str remote, struct cv_str protocol);
/* Wake one for its goodbye, which only its protocol knows. */
void spawner_kick_sleeper(struct sleeper *sleeper);

/* ---- Requests, and what auth knows of their users (spawner-request.c) ----------------------------------------- */

struct request *request_new(struct spawner *sp, enum request_kind kind, struct front_peer *front, uint64_t front_id, int fd);
void request_free(struct request **request);
void request_close_fd(struct request *r);
/* Answer with an error and forget. */
void request_fail(struct request *r, const struct cv_err *err);
void spawner_fail_list(struct cv_node *requests, const struct cv_err *err);
/* Ask auth who r's user is (type: TICKET or USERDB); r is placed or failed when the answer comes, or failed now. */
void spawner_ask(struct spawner *sp, struct request *r, uint16_t type, struct cv_str what, struct cv_str service);
/* The same for a session or job whose ticket is sealed: nobody need be asked. */
void spawner_open_ticket(struct spawner *sp, struct request *r, struct cv_str ticket);
void spawner_auth_connect(struct spawner *sp, int fd);
bool spawner_fds_left(struct spawner *sp);
/* A message to front, behind what it has to hear of before. -1: it is gone, or cannot take more. */
CV_MUST_CHECK int spawner_front_send(struct front_peer *front, uint16_t type, uint64_t id, struct cv_str payload, const int *fds, unsigned nfds);
/* The same, logged when it cannot be sent. front may be NULL. fd -1: none. */
void spawner_send_front(struct front_peer *front, uint16_t type, uint64_t id, const struct cv_buf *out, int fd);
/* SESSION_OK: with others' where front does not wait for it. */
void spawner_tell_begun(const struct request *r);
/* A job's answer, to who asked. */
void spawner_send_reply(const struct request *r, const struct cv_buf *out, int fd);

/* ---- Workers (spawner-worker.c) ----------------------------------------------------------------------------------- */

/* r's user is known: to the user's worker, or a new one. r is placed or failed. */
void spawner_place(struct spawner *sp, struct request *r);
/* All requests that somebody waits for. */
void spawner_each_request(struct spawner *sp, void (*fn)(struct request *r, const void *who), const void *who);
void spawner_worker_send(struct worker *w, uint16_t type, uint64_t id, struct cv_str payload, int fd);
void spawner_worker_stop(struct worker *w, uint16_t type, struct cv_str payload);
void spawner_worker_free(struct worker *w);
/* End a session, or all of the worker's (session absent). */
void spawner_kick(struct worker *w, struct cv_str session, struct cv_str reason);
/* SIGCHLD. */
void spawner_on_child(void *ctx, int signo, int pid, int uid);

/* ---- Fronts (spawner-front.c) -------------------------------------------------------------------------------------- */

void spawner_front_connect(struct spawner *sp, uint32_t index, int fd);
void spawner_front_free(struct front_peer *front);
/* Which hooks have handlers: front need not ask workers for the others. */
void spawner_tell_hooks(struct spawner *sp, struct front_peer *front);
/* The first descriptor of a message, which is the caller's from now on; -1: it has none. */
int spawner_take_fd(struct cv_ipc_msg *msg);

#endif
