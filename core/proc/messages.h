/* SPDX-License-Identifier: MIT
   Messages between the server's processes: types and payloads. Private to core/proc.

   Payload fields are written with cv_put_* and read with cv_take_* in the order given; str is u32 length and octets, absent allowed;
   kv is a u16 count and that many pairs of str. Each process has a table (struct cv_ipc_type) of what it accepts from each peer.

   Channels (each a cv_ipc_pair made by master, or by spawner for its workers):
     master <-> front, auth, spawner    control
     front  <-> auth                    AUTH_*, USER_*
     front  <-> spawner                 SESSION, JOB and their answers
     spawner <-> auth                   TICKET, USERDB
     spawner <-> worker                 WORKER_*
     front  <-> worker                  DIRECT_*
     auth   <-> helper                  HELPER_*  (private to auth)

   Trust: front may lie. It never names a user to spawner: it presents a ticket that auth made, good for one user, one service ("imap" sessions, "lmtp"
   jobs …), one use and one minute for sessions, ten minutes for jobs. A ticket for a look-up, which needs no password, starts no session, whatever service front says it is for.
   A ticket is the user's record itself, sealed with a key that auth and the spawner have (auth-seal.h), so that auth need not be asked for it again; one that
   would be longer than CV_TICKET_MAX, or of a look-up CV_TICKET_MANY_MAX, is a number by which auth finds the record.

   Of a user to whom jobs went before, front may ask the spawner for a channel to the worker itself, with a job; one end goes to the worker (WORKER_FRONT), the other comes
   with the answer. It is good for jobs of that one protocol, for ten minutes, as a ticket is; the worker gives it up when it wants to end.

   A sleeping session is the spawner's to keep, with what its worker wrote of it, which the spawner does not read: front knows it by a number, good for the
   front that got it, and must bring the very socket back that it was given (SO_COOKIE), or a new socketpair for one that it relays.

   A worker may have been taken over by its user. It can ask for jobs of those protocols only that say they are for other users (CV_SESSION_FOR_USERS); the
   spawner says whose worker asks, and the job's module decides what that user may have. */
#ifndef CV_PROC_MESSAGES_H
#define CV_PROC_MESSAGES_H

#include <culver/err.h>
#include <culver/reader.h>

struct cv_buf;

/* Jobs of one user at a time, those by way of the spawner and those of fronts' channels each: their descriptors would pile up behind a worker that hangs in its storage. */
#define CV_WORKER_JOBS_MAX 256u
#define CV_WORKER_ENDED_LEN 8192u /* octets of WORKER_ENDED */

#define CV_SESSION_OK_MAX 16u /* sessions of one SESSION_OK: so many connections at most has a front that it need not have */

#define CV_TICKET_LEN 16   /* of one that stands for a record that auth keeps */
#define CV_TICKET_MAX 2048 /* of one that has the record in it, sealed */
#define CV_TICKET_MANY_MAX 512 /* the same of a look-up: a front keeps one for each recipient of a message */

enum cv_msg {
	/* -- control: master -> role -- */
	CV_MSG_PEER = 1,        /* u8 role (enum cv_role), u32 index; 1 fd: a channel to that process (front: auth, spawner; auth: front, spawner; …) */
	CV_MSG_LISTENER,        /* str name, str protocol, u8 tls, u8 unix; 1 fd: a listening socket (front; auth: the auth-client socket; id: token) */
	CV_MSG_CONF,            /* 1 fd: sealed memfd of cv_conf_serialize; first message and again on reload */
	CV_MSG_TLS,             /* 1 fd: sealed memfd with the certificate pairs (front); again when files changed */
	CV_MSG_START,           /* (empty) all given: drop rights, begin */
	CV_MSG_STOP,            /* u8 graceful: stop accepting, say goodbye, exit */
	CV_MSG_ADMIN,           /* str peer, then the payload of CV_ADMIN_REQUEST (admin.h); 1 fd: the tool's connection */
	CV_MSG_REOPEN_LOG,      /* fds: the new log files, in the order of cv_log_fds */
	CV_MSG_MODULES,         /* u16 count, str each: names of the modules to load; before the first CONF */
	CV_MSG_LISTENER_GONE,   /* id: token of a listener to close */
	CV_MSG_ASK_STATUS,      /* id: answered by STATUS */
	/* -- control: role -> master -- */
	CV_MSG_READY = 32,      /* (empty) after START: serving */
	CV_MSG_STATUS,          /* id; kv: figures for `culver status` */
	CV_MSG_RELOADED,        /* u8 ok, str text: after a CONF or TLS that came later than START */
	CV_MSG_PEER_LOST,       /* u8 role: the channel to that process is gone and no other came: a new one is wanted, if the process is there */

	/* -- front -> auth -- */
	CV_MSG_AUTH_BEGIN = 64, /* id; str service, str mech, str initial, str session, str remote, u32 rport, str local, u32 lport, str local_name,
	                           u8 secured, u8 cert_valid, str cert_user, kv client id */
	CV_MSG_AUTH_CONTINUE,   /* id; str response */
	CV_MSG_AUTH_ABORT,      /* id */
	CV_MSG_USER_LOOKUP,     /* id; str service, str user, str session, str remote, str local */
	/* -- auth -> front -- */
	CV_MSG_AUTH_CHALLENGE = 80, /* id; str data */
	CV_MSG_AUTH_OK,         /* id; str user, str ticket */
	CV_MSG_AUTH_FAIL,       /* id; u8 enum cv_err_code, str text, str host, str host user: where to log in instead, or absent */
	CV_MSG_USER_REPLY,      /* id; u8 enum cv_auth_result, str user, str ticket, str text */
	CV_MSG_MECHS,           /* u16 count; each: str name, u8 opts (enum cv_sasl_opts); sent first and after reload */

	/* -- spawner -> auth -- */
	CV_MSG_TICKET = 96,     /* id; str ticket, str service, u8 session: consume and tell whose it is, where it is not sealed. A session needs a ticket of a login, a job one of a look-up */
	CV_MSG_USERDB,          /* id; str user, str service: administrators' jobs */
	CV_MSG_USER_LIST,       /* id; str mask: iterate users, replies USER_LIST_ROW… then USER_LIST_END */
	/* -- auth -> spawner -- */
	CV_MSG_USER_RECORD = 112, /* id; u8 enum cv_auth_result, str user, u32 sysuid, u32 sysgid (UINT32_MAX: not given), str home, str mail, kv fields, str text */
	CV_MSG_USER_LIST_ROW,   /* id; str user */
	CV_MSG_USER_LIST_END,   /* id; u8 ok */
	CV_MSG_SEAL_KEY,        /* what auth_sealer_tell says; sent first */

	/* -- front -> spawner -- */
	CV_MSG_SESSION = 128,   /* id; str ticket, u8 whether SESSION_OK is waited for, str protocol, str session, str remote, u32 rport, str local, u32 lport, str local_name, u8 secured,
	                           str tls description, str resume, str unread input, kv client id; 1 fd: the connection or socketpair end */
	CV_MSG_JOB,             /* id; str ticket, u8 a channel to the worker is wanted, str protocol, str session, str remote, str payload; 0 or 1 fd: sealed memfd */
	CV_MSG_WAKE,            /* id: of the sleeping session; u32 keepalive_in_ms, str unread input; 1 fd: the connection, or the socketpair end */
	CV_MSG_SLEEPER_GONE,    /* id; str reason: a sleeping session's connection ended. Not when session_end has handlers: then WAKE */
	/* -- spawner -> front -- */
	CV_MSG_SESSION_OK = 144,/* u64 each: ids of sessions that a worker has. One that is not waited for may be told 20 ms later, with others, but before any other message */
	CV_MSG_SESSION_FAIL,    /* id; u8 enum cv_err_code, u8 public, str text: the descriptor was closed on spawner's side; front still has its own */
	CV_MSG_JOB_REPLY,       /* id; u8 enum cv_err_code, u8 public, str text, str data; 0 or 1 fd: the channel that was wanted */
	CV_MSG_HOOKS,           /* u16 count, str each: hooks that have handlers in workers; sent first and after reload */
	CV_MSG_SESSION_BACK,    /* str session, str protocol, str remote, u8 relayed, u64 octets, str unread input: a worker gives a connection back. 1 fd: the connection, or
	                           the worker's end of the pair, to which it wrote so many octets (cv_relay_give_back) */
	CV_MSG_SLEEP,           /* id: the spawner's number of it; str session, str protocol, str remote, u8 relayed, u64 octets, u8 wake_at_end, then as in WORKER_SLEEP
	                           from timeout_ms to goodbye; 1 fd: as SESSION_BACK. Answered by WAKE or SLEEPER_GONE, sooner or later */
	CV_MSG_ROUSE,           /* id: WAKE, although the client said nothing */
	CV_MSG_WOKEN,           /* id: a worker has it */
	CV_MSG_WAKE_FAIL,       /* id; as SESSION_FAIL */

	/* -- spawner -> worker -- */
	CV_MSG_WORKER_SESSION = 160, /* as SESSION without ticket; 1 fd */
	CV_MSG_WORKER_JOB,      /* id; str protocol, str session, str remote, str payload, str asker (absent: none); 0 or 1 fd */
	CV_MSG_WORKER_ADMIN,    /* as ADMIN; 1 fd */
	CV_MSG_WORKER_KICK,     /* str session (absent: all), str reason */
	CV_MSG_WORKER_STOP,     /* (empty) say goodbye, finish jobs, exit */
	CV_MSG_WORKER_REOPEN_LOG, /* as REOPEN_LOG */
	CV_MSG_WORKER_MAYEXIT,  /* u32 number of messages spawner had sent before: exit if that is what was received */
	CV_MSG_WORKER_WAKE,     /* as SESSION from protocol to tls description, then str saved, u32 keepalive_in_ms, str unread input; 1 fd */
	CV_MSG_WORKER_REST,     /* (empty) ask at once to exit (IDLE) when there is nothing to do */
	CV_MSG_WORKER_FRONT,    /* str protocol; 1 fd: a channel to a front, for jobs of that protocol */
	CV_MSG_WORKER_ANSWER,   /* id; u8 enum cv_err_code, u8 public, str text, str data; 0 or 1 fd: to ASK */
	CV_MSG_WORKER_TELL,     /* (empty) say at once which sessions ended */
	/* -- worker -> spawner -- */
	CV_MSG_WORKER_READY = 176, /* (empty) user opened, confined */
	CV_MSG_WORKER_FAILED,   /* u8 enum cv_err_code, u8 public, str text: the user's mail could not be opened; exits */
	CV_MSG_WORKER_SESSION_STATE, /* str session, str state: for `culver who` */
	CV_MSG_WORKER_JOB_REPLY,/* id; u8 enum cv_err_code, u8 public, str text, str data; 0 or 1 fd: sealed memfd, for askers */
	CV_MSG_WORKER_SESSION_BACK, /* str session, u64 octets, str unread input; 1 fd: as SESSION_BACK */
	CV_MSG_WORKER_SLEEP,    /* str session, u32 number of messages received so far, u64 octets, u32 timeout_ms (0: none), u32 keepalive_ms, u32 keepalive_in_ms,
	                           str keepalive, str goodbye, str saved; 1 fd: as SESSION_BACK */
	CV_MSG_WORKER_IDLE,     /* u32 number of messages received so far, u32 jobs as in ACTIVE: nothing to do, may I exit? */
	CV_MSG_WORKER_ASK,      /* id; str user, str protocol, str session, str payload: a job for another user's worker */
	CV_MSG_WORKER_ACTIVE,   /* u32 jobs that fronts gave it since it said so before: it is not one of those idle longest, and its user's sessions must not sleep */
	CV_MSG_WORKER_LOST,     /* (empty) the mail it has open is not the user's any more: it ends, and what comes waits for the next one */
	CV_MSG_WORKER_ENDED,    /* u8 whether TELL asked for it, str session ...: they ended; a while ago, so that one message tells of many */

	/* -- front -> worker -- */
	CV_MSG_DIRECT_JOB = 192, /* id; str session, str remote, str payload; 0 or 1 fd: sealed memfd */
	/* -- worker -> front -- */
	CV_MSG_DIRECT_REPLY = 208, /* id; u8 enum cv_err_code, u8 public, str text, str data */
	CV_MSG_DIRECT_END       /* (empty) no more jobs: close when all are answered */
};

/* An error as messages have it: u8 enum cv_err_code, u8 public, str text. err NULL: none. */
CV_EXPORT void cv_msg_put_err(struct cv_buf *out, const struct cv_err *err);
/* False when it is malformed or its code is none: the peer may be one that was taken over. */
CV_EXPORT CV_MUST_CHECK bool cv_msg_take_err(struct cv_reader *reader, struct cv_err *err_r);
/* Pass over a kv; false when it is malformed or longer than a client's ID may be. */
CV_EXPORT CV_MUST_CHECK bool cv_msg_skip_kv(struct cv_reader *reader);

#endif
