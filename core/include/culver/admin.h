/* SPDX-License-Identifier: MIT
   Administrators' commands: what `culver NAME …` asks of the running server, and how a module adds a command of its own.

   `culver` connects to the admin socket (<run dir>/admin.sock, SOCK_SEQPACKET) and sends one REQUEST. Master checks who it is, and passes the connection to the role that
   runs the command (for CV_ROLE_WORKER: to the user's worker). There cv_admin_serve finds the command among the CV_CAP_ADMIN providers, runs
   it, and writes the answers straight to the tool: COLUMNS, ROWS, TEXT, at last END.

   A command has two halves: its specification, which the tool needs (parameters, help, columns), and run. A module that offers one is loaded in the command's role and in
   CV_ROLE_TOOL, and registers it in both. The core's own specifications are in cv_admin_core_specs, their run in the role's own code. */
#ifndef CV_ADMIN_H
#define CV_ADMIN_H

#include <culver/ipc.h>
#include <culver/module.h>

/* ---- Specification ------------------------------------------------------------------------------------ */

enum cv_admin_param_kind {
	CV_ADMIN_FLAG = 1, /* no value: given or not */
	CV_ADMIN_TEXT,
	CV_ADMIN_NUMBER,   /* decimal, unsigned */
	CV_ADMIN_SECRET    /* text that the tool asks for without echo when it is not given; never in a log */
};
enum cv_admin_param_opts {
	CV_ADMIN_REQUIRED = 1,
	CV_ADMIN_REPEAT = 2 /* may be given several times; a positional one takes all that is left and must be the last */
};
/* name: on the command line "--name" and, unless letter is 0, "-l"; positional ones have neither and are filled in order. meta: how help calls the
   value ("USER"). */
struct cv_admin_param {
	const char *name;
	char letter;
	bool positional;
	enum cv_admin_param_kind kind;
	unsigned opts;
	const char *meta;
	const char *help;
};

enum cv_admin_column_kind {
	CV_ADMIN_COL_TEXT = 1,
	CV_ADMIN_COL_NUMBER, /* right-aligned */
	CV_ADMIN_COL_SIZE,   /* octets: shown as 1.2M, a number in JSON */
	CV_ADMIN_COL_TIME,   /* seconds since 1970: shown as local time, a number in JSON */
	CV_ADMIN_COL_SPAN,   /* seconds: shown as 2d3h */
	CV_ADMIN_COL_BOOL,   /* yes, no */
	CV_ADMIN_COL_LIST    /* texts, an array in JSON */
};
/* key: name in JSON. title: head of the table's column; NULL: in JSON only. */
struct cv_admin_column {
	const char *key;
	const char *title;
	enum cv_admin_column_kind kind;
};

enum cv_admin_spec_opts {
	CV_ADMIN_SINGLE = 1, /* answers with one row: shown as "title: value" lines, one object in JSON */
	CV_ADMIN_USERS = 2   /* CV_ROLE_WORKER, without positional parameters: words on the command line are users, as with -u */
};

/* name: words with one space between, as typed ("mailbox list"). role: the one that runs it; CV_ROLE_WORKER commands get -u USER and -A (all users)
   by themselves. params and columns end with a zeroed row. summary: one line; help: paragraphs of text, may be NULL. */
struct cv_admin_spec {
	const char *name;
	enum cv_role role;
	unsigned opts;
	const struct cv_admin_param *params;
	const struct cv_admin_column *columns;
	const char *summary;
	const char *help;
};

/* The core's: user, auth test, who, kick, fsck, mailbox list|status|create|delete|rename, mailbox metadata get|list|set|unset, reload, stop, status. Ended by NULL. */
CV_EXPORT_DATA const struct cv_admin_spec *const cv_admin_core_specs[];
/* One of them by name; ends the process when there is none. */
CV_EXPORT const struct cv_admin_spec *cv_admin_core_spec(const char *name);

/* ---- Running a command ---------------------------------------------------------------------------------- */

/* A command that runs: its parameters and its way to the tool. */
struct cv_admin;

/* The provider. run: 1 done, 0 goes on and ends by cv_admin_done later, -1 failed with err (reported to the tool). It must not block. */
struct cv_admin_command {
	const struct cv_admin_spec *spec;
	int (*run)(struct cv_admin *admin, struct cv_err *err);
};
static inline int cv_provide_admin(struct cv_registry *reg, const struct cv_admin_command *c, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_ADMIN, c->spec->name, c, sizeof(*c), err);
}

struct cv_user;

/* The value of a parameter, NULL when it was not given. Repeated ones: *pos starts at 0, NULL at the end. Valid until the command is done. */
CV_EXPORT const char *cv_admin_param(const struct cv_admin *admin, const char *name);
CV_EXPORT const char *cv_admin_param_next(const struct cv_admin *admin, const char *name, size_t *pos);
/* NUMBER; def when not given. */
CV_EXPORT uint64_t cv_admin_number(const struct cv_admin *admin, const char *name, uint64_t def);
CV_EXPORT bool cv_admin_flag(const struct cv_admin *admin, const char *name);
/* The user's mail (CV_ROLE_WORKER), and what the role gave to cv_admin_serve for its own commands. */
CV_EXPORT struct cv_user *cv_admin_user(const struct cv_admin *admin);
CV_EXPORT void *cv_admin_process(const struct cv_admin *admin);
CV_EXPORT const struct cv_registry *cv_admin_registry(const struct cv_admin *admin);
CV_EXPORT struct cv_loop *cv_admin_loop(const struct cv_admin *admin);
/* Lives until the command is done. */
CV_EXPORT struct cv_arena *cv_admin_arena(const struct cv_admin *admin);
/* Who asks: "uid 0 (root)". */
CV_EXPORT const char *cv_admin_peer(const struct cv_admin *admin);
/* The tool went away before the command was done: fn(ctx) is called once; cv_admin_done must still be called. */
CV_EXPORT void cv_admin_on_gone(struct cv_admin *admin, void (*fn)(void *ctx), void *ctx);

/* One row: begin, values in any order, end. Keys are the specification's columns; a column that is not put is empty. Invalid UTF-8 is replaced. Rows are collected
   and sent in portions. */
CV_EXPORT void cv_admin_row_begin(struct cv_admin *admin);
CV_EXPORT void cv_admin_put_str(struct cv_admin *admin, const char *key, struct cv_str value);
CV_EXPORT void cv_admin_put_u64(struct cv_admin *admin, const char *key, uint64_t value);
CV_EXPORT void cv_admin_put_bool(struct cv_admin *admin, const char *key, bool value);
CV_EXPORT void cv_admin_put_list(struct cv_admin *admin, const char *key, const struct cv_str *values, size_t count);
CV_EXPORT void cv_admin_row_end(struct cv_admin *admin);
/* The command goes on and has nothing to tell yet: the tool waits on. To be called every some ten seconds. */
CV_EXPORT void cv_admin_alive(struct cv_admin *admin);
/* A line of text for a person, beside the rows (not shown with --json). */
CV_EXPORT void cv_admin_say(struct cv_admin *admin, const char *fmt, ...) CV_PRINTF(2, 3);
/* An error about a part of what was asked: shown, and the exit status of the whole becomes this code's, but the command goes on. */
CV_EXPORT void cv_admin_complain(struct cv_admin *admin, const struct cv_err *err);
/* If the command fails, this is its exit status instead of the error code's (reload: 78). */
CV_EXPORT void cv_admin_set_status(struct cv_admin *admin, int status);
/* It does not fail, and its exit status is this one: a finding rather than an error (fsck: 1, 2). Below 64. */
CV_EXPORT void cv_admin_set_verdict(struct cv_admin *admin, int status);
/* The end of a command whose run returned 0. err NULL or code NONE: success. admin is gone after this. */
CV_EXPORT void cv_admin_done(struct cv_admin *admin, const struct cv_err *err);

/* ---- For the roles ---------------------------------------------------------------------------------------- */

#define CV_ADMIN_VERSION 1
#define CV_ADMIN_SOCKET "admin.sock" /* in the run directory */
#define CV_ADMIN_MAX_ARGS 1000

/* Types of the records, which are messages of ipc.h (id is always 0). */
enum cv_admin_record {
	CV_ADMIN_REQUEST = 1, /* tool -> master: u32 version, u8 role (enum cv_role), str user (absent but for WORKER), str command, u16
	                         count, str each "name=value" (flags "name=") */
	CV_ADMIN_COLUMNS,     /* u16 count; each: str key, str title (absent: JSON only), u8 kind; u8 opts of the specification */
	CV_ADMIN_ROWS,        /* JSON objects, one a line */
	CV_ADMIN_SAID,        /* str text */
	CV_ADMIN_PROBLEM,     /* u8 enum cv_err_code, str text */
	CV_ADMIN_END          /* u8 exit status, u8 enum cv_err_code, str text (absent: success) */
};

/* A request as master routes it. Strings live in the arena it was parsed in. args: for cv_admin_serve, in a message of master's own. */
struct cv_admin_request {
	enum cv_role role;
	struct cv_str user; /* absent unless role is CV_ROLE_WORKER */
	struct cv_str command;
	const struct cv_str *args;
	size_t arg_count;
};
/* Read the payload of a REQUEST; -1 with err (for the tool) when it is of another version or does not check. */
CV_EXPORT CV_MUST_CHECK int cv_admin_request_parse(struct cv_reader *payload, struct cv_arena *arena, struct cv_admin_request *request_r,
	struct cv_err *err);
/* Write one. */
CV_EXPORT void cv_admin_request_put(struct cv_buf *out, const struct cv_admin_request *request);
/* Answer a request that goes nowhere (no rights, no such user, role not there) with an END and close fd. May block for a moment only when the tool does not read. */
CV_EXPORT void cv_admin_refuse(int fd, const struct cv_err *err);
/* The same with an exit status instead of the error code's; 0: the code's. */
CV_EXPORT void cv_admin_refuse_with(int fd, const struct cv_err *err, int status);
#define CV_ADMIN_STATUS_NOUSER 67 /* EX_NOUSER of sysexits.h */

struct cv_admin_serve_config {
	const struct cv_registry *registry;
	struct cv_loop *loop;
	int fd;                     /* the tool's connection; becomes the command's */
	const char *peer;           /* who asks, from SO_PEERCRED by master */
	enum cv_role role;          /* this process's */
	struct cv_user *user;       /* CV_ROLE_WORKER */
	void *process;              /* for the role's own commands */
	/* The command is done (its answer may still be on its way); may be NULL. A worker counts these before it exits. */
	void (*finished)(void *ctx);
	void *ctx;
};
/* Run the command: find the provider, check args against its parameters, call run. All errors go to the tool. finished may be called from within. */
CV_EXPORT void cv_admin_serve(const struct cv_admin_serve_config *config, struct cv_str command, const struct cv_str *args, size_t arg_count);

/* Exit status for an error code, as of sysexits(3): 0 done, 64 usage, 65 invalid, 67 no such user, 68 not found, 69 server or part of it is away, 70 internal, 73 exists or no
   space, 75 try again later, 77 refused, 78 settings. */
CV_EXPORT int cv_admin_exit_status(enum cv_err_code code);

#endif
