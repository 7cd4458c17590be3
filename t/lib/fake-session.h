/* SPDX-License-Identifier: MIT
   For unit tests of what runs after login: cv_session_* over streams of memory, any number of sessions of one user in one loop. */
#ifndef CV_FAKE_SESSION_H
#define CV_FAKE_SESSION_H

#include <culver/mailbox.h>
#include <culver/map.h>
#include <culver/protocol.h>

struct fake_worker;

/* One session. Members are for the test to look at. */
struct cv_session {
	struct fake_worker *worker;
	struct cv_arena *arena;
	struct cv_stream *stream;
	struct cv_log_ctx log;
	struct cv_str id, remote;
	bool secured;
	void *data[8];
	void *state;            /* the protocol's; NULL when start refused */
	bool want_step;
	uint64_t timeout_ms;
	uint64_t sleep_ms;      /* cv_session_set_sleep */
	const char *state_text; /* cv_session_set_state */
	bool closed;
	struct cv_str close_reason;
};

/* A user's worker: fake loop, user, registry with modules. */
struct fake_worker {
	struct cv_arena *arena;
	struct cv_loop *loop;
	struct cv_registry *registry;
	struct cv_user *user;
	const char *mail_location;
	bool in_loop;
	const struct cv_session_protocol *protocol;
	CV_VEC(struct cv_session *) sessions;
	CV_VEC(struct fake_session_conf {
		const struct cv_settings_table *table;
		const void *set;
	}) confs;
};

/* modules: ended by NULL; their storage and the first session protocol are used. The user "tim" is opened with mail_location, in the loop when
   in_loop (commits come back from it), else all is synchronous. */
struct fake_worker *fake_worker_new(const struct cv_module *const *modules, const char *mail_location, bool in_loop);
/* Close all sessions and the user, and open the user again: as after a restart. The two halves of it, for who changes files in between. */
void fake_worker_reopen(struct fake_worker *worker);
void fake_worker_close_user(struct fake_worker *worker);
void fake_worker_open_user(struct fake_worker *worker);
void fake_worker_free(struct fake_worker **worker);
/* Settings of a table for the sessions that come: a filled struct of the test instead of the defaults. */
void fake_worker_set_conf(struct fake_worker *worker, const struct cv_settings_table *table, const void *set);
/* Run the loop and steps until nothing more happens. */
void fake_worker_run(struct fake_worker *worker);

/* A session is there: the protocol's start is called, or its wake. */
struct cv_session *fake_session_start(struct fake_worker *worker, struct cv_str resume);
/* The same of IMAP, behind the login with the tag L: its reply is in the output. */
struct cv_session *fake_session_start_imap(struct fake_worker *worker);
struct cv_session *fake_session_wake(struct fake_worker *worker, const struct cv_session_wake *wake);
/* Input comes, at once or one octet a loop round, then all runs. */
void fake_session_push(struct cv_session *session, struct cv_str octets);
void fake_session_push_split(struct cv_session *session, struct cv_str octets);
void fake_session_eof(struct cv_session *session);
/* All output since the last call, a copy in the session's arena; more is made while there is (the client reads it all). */
struct cv_str fake_session_output(struct cv_session *session);
/* End it as the worker does when the client is gone. */
void fake_session_end(struct cv_session **session);

#endif
