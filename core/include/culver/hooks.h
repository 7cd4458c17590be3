/* SPDX-License-Identifier: MIT
   Hooks: the closed list of points where modules may act, with the argument structure and policy of each. */
#ifndef CV_HOOKS_H
#define CV_HOOKS_H

#include <culver/module.h>

struct cv_user;
struct cv_mailbox;
struct cv_session;
struct cv_auth_request;
struct cv_save;
struct cv_delivery;
struct cv_recipient;
struct cv_txn;
struct cv_change;

/* A handler's answer. PASS: go on with the next. DONE: answered instead, the others are not asked (only where the list says DECIDE). DENY: refused;
   err must be set, its public text reaches the client. ERROR: could not tell (as DENY with a temporary code in a GUARD; logged and
   passed over in NOTIFY). */
enum cv_hook_result { CV_HOOK_PASS = 0, CV_HOOK_DONE, CV_HOOK_DENY, CV_HOOK_ERROR };

/* NOTIFY: all run, answers other than ERROR are ignored. DECIDE: the first other than PASS ends it. GUARD: stops at the first DENY or ERROR. */
enum cv_hook_policy { CV_HOOK_NOTIFY, CV_HOOK_DECIDE, CV_HOOK_GUARD };

/* Order: stage, then before/after by name, then name. Never load order. */
enum cv_hook_stage { CV_STAGE_FIRST = 0, CV_STAGE_EARLY, CV_STAGE_NORMAL, CV_STAGE_LATE, CV_STAGE_LAST };

/* name: the handler's own (default: must be given, usually the module's). before/after: one other handler's name or NULL. ctx: passed back. */
struct cv_hook_opts {
	const char *name;
	enum cv_hook_stage stage;
	const char *before;
	const char *after;
	void *ctx;
};

/* ---- Arguments. Borrowed for the call; "may change" says what a handler may set. ------------------ */

/* Before credentials are checked (auth): who wants to log in is known, and no database was asked yet. DENY refuses the login. */
struct cv_hook_auth_begin {
	const struct cv_auth_request *request;
};
/* After they were checked and the user was found (auth): last veto before the login counts. */
struct cv_hook_auth_success {
	const struct cv_auth_request *request;
};
/* Every outcome (auth), for defence and audit. */
struct cv_hook_auth_result {
	const struct cv_auth_request *request;
	bool success;
	bool temporary;
};
/* A worker has opened a user's mail and takes sessions and jobs. */
struct cv_hook_user_open {
	struct cv_user *user;
};
struct cv_hook_user_close {
	struct cv_user *user;
};
/* Before the first reply of a session in the worker. DENY ends it. */
struct cv_hook_session_start {
	struct cv_session *session;
};
struct cv_hook_session_end {
	struct cv_session *session;
};
/* Before a mailbox is created, renamed, deleted, subscribed. name and new_name are full names in UTF-8 with '/' as they are stored. */
struct cv_hook_mailbox_op {
	struct cv_user *user;
	enum cv_mailbox_op { CV_OP_CREATE = 1, CV_OP_DELETE, CV_OP_RENAME, CV_OP_SUBSCRIBE, CV_OP_UNSUBSCRIBE } op;
	struct cv_str name;
	struct cv_str new_name; /* RENAME */
};
/* What who acts (the user, in its sessions, deliveries and administrators' commands) may do with a mailbox: before it is shown in a list, counted, opened,
   changed, before one is made below it. A handler takes rights away (rights &= …), never adds any; DENY takes them all. A mailbox without
   CV_RIGHT_LOOKUP looks as if it did not exist. ERROR: could not tell; what was asked for fails, lists leave the mailbox out. Asked for each name of a
   list and once for each command, not for each message: what takes long to work out should be kept. Not asked for what the server does by itself:
   mailboxes of the settings, what hooks put into a transaction (cv_txn_trust). */
struct cv_hook_mailbox_access {
	struct cv_user *user;
	struct cv_str name;  /* full name in UTF-8 with '/'; empty: the level above all names, where only CV_RIGHT_CREATE counts */
	const uint8_t *guid; /* of the mailbox; NULL: the name has none */
	unsigned rights;     /* enum cv_right of mailbox.h; may change */
};
/* Before a message is saved (APPEND, delivery) or copied or moved into mailbox, once for each message: quota, size limits, virus checks. The message
   can be read through save (cv_save_octets, cv_save_record); cv_save_source says where it is copied from. May change: flags and keywords
   (cv_save_set_flags, cv_save_add_keyword). DENY: nothing of the transaction is done. */
struct cv_hook_message_save {
	struct cv_user *user;
	struct cv_mailbox *mailbox;
	struct cv_save *save;
};
/* LMTP's RCPT TO, in the user's worker, before the message comes: an early no, for what is known without it (a user over quota). DENY: this recipient is
   refused with err's public text, for good unless the code is temporary; ERROR: refused for now. It is no substitute for message_save: front asks only when some
   module has a handler, and takes the recipient when the worker does not answer within 5 seconds or cannot be reached, so that what is wrong with
   a worker never bounces mail; a message may also come by other ways than LMTP, or be larger than MAIL said. */
struct cv_hook_recipient {
	struct cv_user *user;
	const struct cv_recipient *recipient;
};
/* Before a delivered message is filed. DONE: the handler filed (or discarded) it itself (Sieve); what it committed is durable before the reply leaves,
   and fails the delivery when it can't be made so. May change: delivery->mailbox (the target), flags, header. */
struct cv_hook_delivery {
	struct cv_user *user;
	struct cv_delivery *delivery;
};
/* After the delivery is durable, before its reply leaves. */
struct cv_hook_delivered {
	struct cv_user *user;
	struct cv_delivery *delivery;
};
/* Before a transaction's record goes to the journal: all its changes are known (cv_txn_next), none is made. Not for changes of mailboxes, which
   mailbox_op tells. May change: more can be put into the transaction (cv_txn_copy, cv_txn_flags, cv_txn_expunge, a save): it is done before what is
   there, in the same record (a copy of what is expunged). Handlers that have run already are not asked again for that. */
struct cv_hook_commit {
	struct cv_user *user;
	struct cv_txn *txn;
};
/* After it is durable (or, for flags under mail_fsync = optimized, in the journal). */
struct cv_hook_committed {
	struct cv_user *user;
	const struct cv_change *changes;
	size_t count;
};

/* X(name, policy): argument struct cv_hook_<name>. The closed list. */
#define CV_HOOK_LIST(X)                                                                                       \
	X(auth_begin, CV_HOOK_GUARD)                                                                          \
	X(auth_success, CV_HOOK_GUARD)                                                                        \
	X(auth_result, CV_HOOK_NOTIFY)                                                                        \
	X(user_open, CV_HOOK_GUARD)                                                                           \
	X(user_close, CV_HOOK_NOTIFY)                                                                         \
	X(session_start, CV_HOOK_GUARD)                                                                       \
	X(session_end, CV_HOOK_NOTIFY)                                                                        \
	X(mailbox_access, CV_HOOK_GUARD)                                                                      \
	X(mailbox_op, CV_HOOK_GUARD)                                                                          \
	X(mailbox_op_done, CV_HOOK_NOTIFY)                                                                    \
	X(message_save, CV_HOOK_GUARD)                                                                        \
	X(recipient, CV_HOOK_GUARD)                                                                           \
	X(delivery, CV_HOOK_DECIDE)                                                                           \
	X(delivered, CV_HOOK_NOTIFY)                                                                          \
	X(commit, CV_HOOK_GUARD)                                                                              \
	X(committed, CV_HOOK_NOTIFY)
/* mailbox_op_done has mailbox_op's arguments. */
#define cv_hook_mailbox_op_done cv_hook_mailbox_op

/* For each: the handler's type, cv_hook_add_<name> (only within load) and cv_hook_run_<name>. run returns PASS when all passed; DENY and ERROR with
   err set. */
#define CV_HOOK_DECLARE(hook, policy)                                                                         \
	typedef enum cv_hook_result cv_hook_##hook##_fn(void *ctx, struct cv_hook_##hook *args, struct cv_err *err); \
	CV_EXPORT CV_MUST_CHECK int cv_hook_add_##hook(struct cv_registry *reg, cv_hook_##hook##_fn *fn,      \
		const struct cv_hook_opts *opts, struct cv_err *err);                                         \
	CV_EXPORT enum cv_hook_result cv_hook_run_##hook(const struct cv_registry *reg, struct cv_hook_##hook *args, \
		struct cv_err *err);
CV_HOOK_LIST(CV_HOOK_DECLARE)

/* Points that a module declares for others: found by name at load time, a handle at run time. */
struct cv_hook_point;
typedef enum cv_hook_result cv_hook_fn(void *ctx, void *args, struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_hook_point_declare(struct cv_registry *reg, const char *name, enum cv_hook_policy policy,
	struct cv_hook_point **point_r, struct cv_err *err);
/* The point may be declared later in the same load phase; a point that no one declared is an error at the end of loading. */
CV_EXPORT CV_MUST_CHECK int cv_hook_point_add(struct cv_registry *reg, const char *name, cv_hook_fn *fn, const struct cv_hook_opts *opts,
	struct cv_err *err);
CV_EXPORT enum cv_hook_result cv_hook_point_run(const struct cv_hook_point *point, void *args, struct cv_err *err);

/* "first", "early" … */
CV_EXPORT const char *cv_hook_stage_name(enum cv_hook_stage stage);
/* Handlers in resolved order, for `culver modules`: false at the end. *pos starts at 0. */
CV_EXPORT bool cv_hook_next(const struct cv_registry *reg, size_t *pos, const char **hook_r, const char **handler_r,
	enum cv_hook_stage *stage_r);

#endif
