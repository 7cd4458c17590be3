/* SPDX-License-Identifier: MIT
   For unit tests of what runs before login: cv_login_* over a stream of memory, with auth, look-ups and jobs answered by the test. */
#ifndef CV_FAKE_LOGIN_H
#define CV_FAKE_LOGIN_H

#include <culver/map.h>
#include <culver/protocol.h>

/* What the module asked for, in order; the test answers. Strings in the login's arena. */
struct fake_lookup {
	uint64_t id;
	struct cv_str user;
	bool answered;
};
struct fake_job {
	uint64_t id;
	struct cv_str ticket, payload;
	struct cv_str octets; /* of the memfd, which must have been sealed */
	uint64_t within_ms;   /* 0: no bound */
	bool answered;
};

/* The connection. A test sets the members of the first group before fake_login_start and may change them later. */
struct cv_login {
	bool tls_active, tls_available, plaintext_allowed;
	bool worker_hooks;      /* every hook has handlers in workers */
	const char *mechs[8];   /* offered ones, ended by NULL */
	const char *own;        /* a way to log in that is the protocol's own and allowed, or NULL */
	struct cv_str session, remote;
	size_t max_in, max_out; /* 0: the protocol's */

	struct cv_arena *arena;
	struct cv_loop *loop;
	struct cv_stream *stream;
	struct cv_log_ctx log;
	const struct cv_login_protocol *protocol;
	void *state;
	CV_VEC(struct fake_conf {
		const struct cv_settings_table *table;
		const void *set;
	}) confs;

	/* What was asked for. */
	unsigned auth_begun, auth_aborted, auth_continued;
	struct cv_str auth_mech, auth_initial, auth_response; /* absent: none */
	bool auth_refuse;       /* the next cv_login_auth fails */
	bool auth_running;
	bool tls_started;
	bool finished;
	struct cv_str resume, unread;
	bool closed;
	struct cv_str close_reason;
	CV_VEC(struct fake_lookup) lookups;
	CV_VEC(struct fake_job) jobs;
	bool ended;
};

/* With plaintext allowed, no TLS available and mechanism PLAIN. */
struct cv_login *fake_login_new(const struct cv_login_protocol *protocol);
/* The provider that a module registers in load(). NULL: it did not. */
const struct cv_login_protocol *fake_login_protocol(const struct cv_module *module);
/* Settings of a table: a filled struct of the test, else the table's defaults. */
void fake_login_set_conf(struct cv_login *login, const struct cv_settings_table *table, const void *set);
void fake_login_start(struct cv_login *login);
/* Input comes, at once or one octet a loop round; then the loop runs until nothing more happens. */
void fake_login_push(struct cv_login *login, struct cv_str octets);
void fake_login_push_split(struct cv_login *login, struct cv_str octets);
void fake_login_eof(struct cv_login *login);
void fake_login_run(struct cv_login *login);
/* All output since the last call; a copy in the login's arena. */
struct cv_str fake_login_output(struct cv_login *login);
void fake_login_auth_answer(struct cv_login *login, enum cv_login_auth_kind kind, enum cv_err_code code, const char *data);
void fake_login_secured(struct cv_login *login);
void fake_login_finish_failed(struct cv_login *login, enum cv_err_code code, const char *public_text);
void fake_login_lookup_answer(struct cv_login *login, size_t index, enum cv_auth_result result);
/* code NONE: delivered. */
void fake_login_job_answer(struct cv_login *login, size_t index, enum cv_err_code code, const char *public_text);
/* Done, with data. */
void fake_login_job_answer_data(struct cv_login *login, size_t index, struct cv_str data);
void fake_login_free(struct cv_login **login);

#endif
