/* SPDX-License-Identifier: MIT
   Protocol modules: the login part (in front, before anyone is known) and the session part (in the user's worker). */
#ifndef CV_PROTOCOL_H
#define CV_PROTOCOL_H

#include <culver/auth.h>
#include <culver/log.h>
#include <culver/module.h>
#include <culver/stream.h>
#include <culver/tls.h>

/* ==== In front ====================================================================================== */

/* One connection before login. Freed by front after end(). */
struct cv_login;

/* Outcome of an authentication step. */
struct cv_login_auth_reply {
	enum cv_login_auth_kind {
		CV_LOGIN_CHALLENGE = 1, /* data: the server challenge (raw octets, not base64) */
		CV_LOGIN_OK,            /* user is known; call cv_login_finish */
		CV_LOGIN_FAIL           /* code and text say why; may have been delayed (auth_failure_delay) */
	} kind;
	struct cv_str data;
	struct cv_str user;
	enum cv_err_code code;          /* CV_ERR_AUTH, CV_ERR_TEMP, CV_ERR_PERM (disabled), CV_ERR_EXPIRED, CV_ERR_AUTHZ, CV_ERR_LIMIT … */
	struct cv_str text;             /* for the client; absent: the protocol's own words */
	/* With FAIL and PERM: the server on which the user (user) is to log in instead, with ":" and a port where it is a special one; absent: none. */
	struct cv_str host;
};

/* Answer to cv_login_user_lookup. */
#define CV_LOGIN_TICKET_MAX 2048
struct cv_login_user_reply {
	uint64_t id;
	enum cv_auth_result result;     /* OK, NOUSER, DISABLED, TEMP */
	struct cv_str ticket;           /* at most CV_LOGIN_TICKET_MAX octets, for cv_login_job; good for ten minutes and this service */
	struct cv_str user;             /* as the userdb names it */
	struct cv_str text;
};

/* Answer to cv_login_job. */
struct cv_login_job_reply {
	uint64_t id;
	struct cv_err err;              /* code NONE: done and durable */
	struct cv_str data;             /* the handler's */
};

struct cv_login_listener {
	const char *name;   /* "imap", "imaps": section [listener NAME] overrides */
	unsigned port;      /* 0: none */
	bool tls;           /* implicit */
	const char *path;   /* Unix socket in base_dir instead, or NULL */
};

/* Settings of the time before login, common to all protocols: cv_login_conf(login, &cv_login_settings_table). */
struct cv_login_settings {
	const char *login_greeting;
	bool disable_plaintext_auth;
	const char *const *login_trusted_networks;
	uint64_t login_timeout;      /* ms, from connection to login */
	uint64_t login_idle_timeout; /* ms without an octet before login */
	uint64_t login_max_connections_per_ip; /* 0: no limit */
};
CV_EXPORT_DATA const struct cv_settings_table cv_login_settings_table;

struct cv_login_protocol {
	const char *name;                       /* "imap": must be named in `protocols` */
	const struct cv_login_listener *listeners; /* default ones, ended by name NULL */
	size_t max_input, max_output;           /* stream bounds in octets before login */
	const char *alpn;                       /* NULL: none */
	unsigned opts;
#define CV_LOGIN_NO_AUTH 1u                     /* LMTP: no login; unix listener and TCP; limits of trusted peers apply */
	/* The connection is there (TLS is up when implicit). Write the greeting, return the state (in cv_login_arena). */
	void *(*start)(struct cv_login *login);
	void (*input)(void *state);             /* new input, EOF or failure of the stream */
	void (*output)(void *state);            /* room again; may be NULL */
	void (*secured)(void *state);           /* STARTTLS is done */
	void (*auth_reply)(void *state, const struct cv_login_auth_reply *reply);
	void (*user_reply)(void *state, const struct cv_login_user_reply *reply); /* NULL unless it looks up users */
	void (*job_reply)(void *state, const struct cv_login_job_reply *reply);   /* NULL unless it gives jobs */
	/* The worker could not be reached (limit, spawner trouble): say so; the connection may go on. */
	void (*finish_failed)(void *state, const struct cv_err *err);
	/* Say goodbye; front closes after it. reason: "timeout", "shutdown", "overloaded". */
	void (*goodbye)(void *state, const char *reason);
	void (*end)(void *state);               /* free what the arena does not; may be NULL */
	/* A worker gave the connection back (cv_session_give_back): as start, but the client waits for no greeting. NULL: the protocol has no such thing. */
	void *(*back)(struct cv_login *login);
};

CV_EXPORT struct cv_stream *cv_login_stream(struct cv_login *login);
CV_EXPORT struct cv_arena *cv_login_arena(struct cv_login *login);
CV_EXPORT const struct cv_log_ctx *cv_login_log(struct cv_login *login);
CV_EXPORT struct cv_str cv_login_session_id(const struct cv_login *login);
CV_EXPORT struct cv_str cv_login_remote(const struct cv_login *login); /* address; absent on a unix socket */
CV_EXPORT struct cv_str cv_login_local(const struct cv_login *login);
/* Settings of table for this connection (protocol, local name and address, remote filters). Never fails: they were checked. */
CV_EXPORT const void *cv_login_conf(struct cv_login *login, const struct cv_settings_table *table);
CV_EXPORT const struct cv_registry *cv_login_registry(const struct cv_login *login);
CV_EXPORT bool cv_login_tls_active(const struct cv_login *login);
/* STARTTLS/STLS can be offered (ssl != no, not yet TLS, not a unix socket). */
CV_EXPORT bool cv_login_tls_available(const struct cv_login *login);
/* Passwords may be sent now: TLS, or loopback, own address or a trusted network, or disable_plaintext_auth = no without ssl = required. */
CV_EXPORT bool cv_login_plaintext_allowed(const struct cv_login *login);
/* Mechanisms to offer now, in order: false at the end. */
CV_EXPORT bool cv_login_mech_next(const struct cv_login *login, size_t *pos, const char **name_r);
/* Begin TLS after what is in the output buffer ("OK begin"). */
CV_EXPORT void cv_login_start_tls(struct cv_login *login);
/* The protocol's own way to log in (CV_SASL_OWN) is among the mechanisms of the settings and may be used now. */
CV_EXPORT bool cv_login_own_allowed(const struct cv_login *login, const char *mech);
/* Start an exchange; the answer comes to auth_reply (never from inside this call). initial absent: none given. The client's octets are decoded already.
   Only one at a time. -1: mechanism unknown or not allowed now (err public). */
CV_EXPORT CV_MUST_CHECK int cv_login_auth(struct cv_login *login, struct cv_str mech, struct cv_str initial, struct cv_err *err);
/* The same for what cv_login_own_allowed allows. */
CV_EXPORT CV_MUST_CHECK int cv_login_auth_own(struct cv_login *login, const char *mech, struct cv_str initial, struct cv_err *err);
CV_EXPORT void cv_login_auth_continue(struct cv_login *login, struct cv_str response);
CV_EXPORT void cv_login_auth_abort(struct cv_login *login);
/* After CV_LOGIN_OK: hand the connection to the user's worker. resume is the session part's start (at most 4096 octets), unread input goes along. Then
   end() is called and front only moves octets, or finish_failed(). */
CV_EXPORT void cv_login_finish(struct cv_login *login, struct cv_str resume);
/* Close after the output is written. reason for the log. */
CV_EXPORT void cv_login_close(struct cv_login *login, const char *reason);
/* What the client said of itself (ID, XCLIENT), for the session and log. At most 30 pairs. */
CV_EXPORT void cv_login_set_client_id(struct cv_login *login, struct cv_str key, struct cv_str value);
/* Look a user up without a password (only NO_AUTH protocols). id comes back in the reply. */
CV_EXPORT void cv_login_user_lookup(struct cv_login *login, uint64_t id, struct cv_str user);
/* Run a job in a user's worker: payload at most 32 KiB, and a sealed memfd (-1: none; stays the caller's). Answer in job_reply. */
CV_EXPORT void cv_login_job(struct cv_login *login, uint64_t id, struct cv_str ticket, struct cv_str payload, int memfd);

/* The same with a bound: when no answer came within_ms after the call, job_reply says CV_ERR_TEMP, and one that comes later is dropped (the job itself
   goes on). */
CV_EXPORT void cv_login_job_within(struct cv_login *login, uint64_t id, struct cv_str ticket, struct cv_str payload, int memfd, uint64_t within_ms);
/* Some module has a handler for this hook in workers: so says the spawner. False while there is none. */
CV_EXPORT bool cv_login_worker_hook(const struct cv_login *login, const char *hook);

static inline int cv_provide_login(struct cv_registry *reg, const struct cv_login_protocol *p, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_LOGIN, p->name, p, sizeof(*p), err);
}

/* ==== In the worker ================================================================================= */

struct cv_session; /* a logged-in connection */
struct cv_job;     /* work without a connection: a delivery */
struct cv_user;

/* What a session leaves behind that sleeps: its connection goes to a front, which waits for the client; its process may end. Strings are taken before sleep's
   caller goes on; all but blob are short (CV_SLEEP_TEXT_MAX octets). */
#define CV_SLEEP_BLOB_MAX ((size_t)48 * 1024)
#define CV_SLEEP_TEXT_MAX ((size_t)256)
struct cv_session_sleep {
	struct cv_buf *blob;      /* append all that wake needs. Begin with a version. Kept where the user and front cannot reach it */
	struct cv_str keepalive;  /* octets that front writes to the client every keepalive_ms; absent: none */
	uint64_t keepalive_ms;
	uint64_t keepalive_in_ms; /* until the first of them */
	uint64_t wake_in_ms;      /* wake it after that time if nothing else did; 0: never. cv_session_set_timeout does so by itself */
	struct cv_str goodbye;    /* octets to write when the connection has to be closed while it sleeps */
	bool deflated;            /* the stream is compressed, and blob has what cv_stream_save_deflate wrote: wake restores it. Texts above are compressed then */
};
struct cv_session_wake {
	struct cv_str blob;
	uint64_t keepalive_in_ms; /* until the next keepalive is due */
};

struct cv_session_protocol {
	const char *name;
	size_t max_input, max_output;
	/* Begin: write the reply to the login (resume says which), return the state. NULL with err set: front's client is told by this function too (write
	   it to the stream before), then the session is closed. Either may be absent (NULL) when the protocol has only jobs or only sessions. */
	void *(*start)(struct cv_session *session, struct cv_str resume, struct cv_err *err);
	void (*input)(void *state);
	void (*output)(void *state);
	/* A bounded slice (about 10 ms) of a long command; called once a loop round while cv_session_want_step was asked for since the last call. */
	void (*step)(void *state);
	/* No input for the protocol's time (cv_session_set_timeout). */
	void (*timeout)(void *state);
	/* Say goodbye (kicked, shutdown, user disabled); the session is closed after it. */
	void (*goodbye)(void *state, const char *reason);
	void (*end)(void *state);
	/* One job; answers through cv_job_reply now or later. -1: refused, err goes back. */
	int (*job)(struct cv_job *job, struct cv_err *err);
	/* A session_start hook denied: write the refusal of the login (err's public text) to the stream; it is closed after. start is not called. May be
	   NULL: closed without a word. */
	void (*refuse)(struct cv_session *session, struct cv_str resume, const struct cv_err *err);
	unsigned opts;
#define CV_SESSION_FOR_USERS 1u                 /* other users' sessions may ask for jobs of this protocol (cv_session_ask): job decides what they may have */
	/* The session waited for its client for the time of cv_session_set_sleep: append its state to sleep->blob. False: it has something to do, or state that
	   cannot be written; nothing may have been changed by then. After a true, end may be called as the next thing, and wake in another process, or nothing at
	   all happens and the session goes on. NULL: sessions of this protocol never sleep. */
	bool (*sleep)(void *state, struct cv_session_sleep *sleep);
	/* Begin again where sleep left off; to the client nothing may differ from a session that never slept. The client may have spoken, or another session or a
	   delivery is about to begin in this worker, or the session's time is over. NULL with err set: what the client is to hear (goodbye) was written to the stream,
	   which is closed then. blob is of this user's workers, but perhaps of another version of the module. */
	void *(*wake)(struct cv_session *session, const struct cv_session_wake *wake, struct cv_err *err);
};

CV_EXPORT struct cv_stream *cv_session_stream(struct cv_session *session);
CV_EXPORT struct cv_user *cv_session_user(struct cv_session *session);
CV_EXPORT struct cv_arena *cv_session_arena(struct cv_session *session);
CV_EXPORT const struct cv_log_ctx *cv_session_log(struct cv_session *session);
CV_EXPORT struct cv_loop *cv_session_loop(struct cv_session *session);
CV_EXPORT struct cv_str cv_session_id(const struct cv_session *session);
CV_EXPORT struct cv_str cv_session_remote(const struct cv_session *session);
CV_EXPORT bool cv_session_secured(const struct cv_session *session);
CV_EXPORT const void *cv_session_conf(struct cv_session *session, const struct cv_settings_table *table);
CV_EXPORT const struct cv_registry *cv_session_registry(const struct cv_session *session);
CV_EXPORT void **cv_session_data(struct cv_session *session, unsigned slot);
CV_EXPORT void cv_session_want_step(struct cv_session *session);
CV_EXPORT void cv_session_set_timeout(struct cv_session *session, uint64_t ms); /* since the last input; 0: none */
/* The session may sleep when so many milliseconds passed without an octet of the client's or for it, and all other sessions of the user wait as well; 0 (so it
   begins): not. Sessions in whose data slots modules keep something never sleep. */
CV_EXPORT void cv_session_set_sleep(struct cv_session *session, uint64_t after_ms);
/* Octets of the client's and for it, since the login. */
CV_EXPORT uint64_t cv_session_bytes_in(const struct cv_session *session);
CV_EXPORT uint64_t cv_session_bytes_out(const struct cv_session *session);
/* What is shown by `culver who`: the command in progress or "IDLE". Borrowed literal. */
CV_EXPORT void cv_session_set_state(struct cv_session *session, const char *state);
/* Close after the output is written; reason for the session's one log line, stats ("in=… out=…") are added. */
CV_EXPORT void cv_session_close(struct cv_session *session, const char *reason);

/* Give the connection back to front, where the protocol's login part goes on with it as if nobody had logged in (cv_login_protocol.back). The state ends at
   once (end is called from the loop); output that waits goes to the client first; input that waits, at most CV_SESSION_BACK_MAX octets, goes to the login.
   The connection must not be compressed any more. When it cannot be given back it is closed. reason is for the session's log line. */
#define CV_SESSION_BACK_MAX ((size_t)16 * 1024)
CV_EXPORT void cv_session_give_back(struct cv_session *session, const char *reason);
/* Ask the worker of another user (or of the same): a job of a protocol with CV_SESSION_FOR_USERS, payload at most 16 KiB. fn is called once, from the loop,
   unless the question is cancelled; at the session's end it is. A user who is not there gives CV_ERR_AUTH. */
struct cv_ask;
struct cv_ask_reply {
	struct cv_err err;   /* code NONE: done */
	struct cv_str data;
	int memfd;           /* -1: none. Closed after fn unless fn takes it and sets -1; for cv_memfd_map */
};
typedef void cv_ask_fn(void *ctx, struct cv_ask_reply *reply);
CV_EXPORT CV_MUST_CHECK int cv_session_ask(struct cv_session *session, struct cv_str user, const char *protocol, struct cv_str payload, cv_ask_fn *fn,
	void *ctx, struct cv_ask **ask_r, struct cv_err *err);
/* The answer is not wanted any more. *ask may be NULL. */
CV_EXPORT void cv_ask_cancel(struct cv_ask **ask);

CV_EXPORT struct cv_user *cv_job_user(struct cv_job *job);
CV_EXPORT struct cv_str cv_job_payload(const struct cv_job *job);
CV_EXPORT struct cv_str cv_job_octets(const struct cv_job *job); /* the memfd mapped; valid until the reply */
/* The user whose session asked for the job, as the spawner says; absent: it came from front. */
CV_EXPORT struct cv_str cv_job_asker(const struct cv_job *job);
CV_EXPORT const struct cv_log_ctx *cv_job_log(struct cv_job *job);
CV_EXPORT struct cv_arena *cv_job_arena(struct cv_job *job);
CV_EXPORT const void *cv_job_conf(struct cv_job *job, const struct cv_settings_table *table);
/* Ends the job. err NULL or code NONE: success. data at most 32 KiB. */
CV_EXPORT void cv_job_reply(struct cv_job *job, const struct cv_err *err, struct cv_str data);
/* The same with a sealed memfd for who asked, which stays the caller's. */
CV_EXPORT void cv_job_reply_memfd(struct cv_job *job, struct cv_str data, int memfd);

static inline int cv_provide_session(struct cv_registry *reg, const struct cv_session_protocol *p, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_SESSION, p->name, p, sizeof(*p), err);
}

#endif
