/* SPDX-License-Identifier: MIT
   Inside the master: settings as read, listeners, children. Private to master-*.c and main.c. */
#ifndef CV_PROC_MASTER_H
#define CV_PROC_MASTER_H

#include "core/proc/role.h"
#include <culver/ipc.h>
#include <culver/log.h>
#include <culver/tls.h>

#include <sys/types.h>

struct master;

/* Command line. */
struct master_opts {
	const char *conf_path;
	const char *const *overrides; /* "key=value", NULL-terminated */
	bool foreground;
	int ready_fd;                 /* pipe to the starting process when it waits; -1 */
};

/* ---- Settings (master-conf.c) ------------------------------------------------------------------------- */

/* A listener that settings ask for. Strings in the settings' arena. */
struct listener_want {
	const char *name, *protocol;
	bool tls;
	const char *path;    /* Unix socket, absolute; NULL: TCP */
	const char *address; /* numeric, or "*" and "::" */
	bool address_given;  /* by [listener], not from `listen` */
	unsigned port;
	unsigned mode;
	const char *user, *group;
	int backlog;
};

/* All that was read at one time. */
struct master_conf {
	struct cv_arena *arena;
	struct cv_registry *registry; /* every module is open, none is loaded */
	struct cv_conf *conf;
	const struct cv_core_settings *core;
	const char *const *front_modules, *const *auth_modules, *const *worker_modules;
	CV_VEC(struct listener_want) listeners;
	unsigned front_count;
	struct cv_buf tls; /* wiping: what tls_conf_build made of the files as they were read with the settings */
};

/* file is NULL when the problem is of no one place. */
typedef void master_problem_fn(void *ctx, const struct cv_conf_problem *problem);
/* "FILE:LINE: what is wrong", as far as these are known, in buf, which is returned. */
const char *master_problem_text(const struct cv_conf_problem *problem, char *buf, size_t size);
#define MASTER_PROBLEM_MAX 4096u
/* Read and check everything: files, modules' own checks, that modules load in each role, databases and mechanisms, storage, certificates, users, listeners. All
   problems are told through fn, one call each. NULL when there was any. "culver conf check" is this. */
struct master_conf *master_conf_load(const struct master_opts *opts, master_problem_fn *fn, void *ctx);
void master_conf_free(struct master_conf **mc);
/* culverd -M: modules and hooks of every role on standard output. */
void master_conf_print_modules(const struct master_conf *mc);
/* Sealed memfd of the settings for a role; -1 with err. */
int master_conf_memfd(const struct master_conf *mc, enum cv_role role, struct cv_err *err);

/* ---- TLS (tls-conf.c) ---------------------------------------------------------------------------------- */

/* The certificates and parameters that settings name, as front gets them. fresh: read the files anew instead of taking what was read with the
   settings. Everything is checked with the TLS library. Empty when no listener needs TLS. */
#define TLS_CONF_MAX ((size_t)64 << 20)
CV_MUST_CHECK int tls_conf_build(const struct master_conf *mc, bool fresh, struct cv_buf *out, struct cv_err *err);
/* Paths behind them, for the watch: NULL-terminated, in arena. */
const char *const *tls_conf_files(const struct master_conf *mc, struct cv_arena *arena);

/* What fronts may get from now on (master-tls.c). */
struct master_tls {
	struct cv_buf data;
	int memfd; /* -1: the same as before */
};
/* fresh: of the files as they are now; else as they were read with mc. */
CV_MUST_CHECK int master_tls_make(const struct master *m, const struct master_conf *mc, bool fresh, struct master_tls *tls, struct cv_err *err);
/* Takes it over. True: it differs from before. */
bool master_tls_use(struct master *m, struct master_tls *tls);
void master_tls_drop(struct master_tls *tls);
/* Both. 1: it differs from before, 0: it is the same. */
CV_MUST_CHECK int master_tls_take(struct master *m, const struct master_conf *mc, bool fresh, struct cv_err *err);
/* What is in use, to all fronts. */
void master_tls_send(struct master *m);
/* Look out for changes of the files that settings name now. */
void master_tls_watch(struct master *m);

/* ---- Listeners (master-listen.c) ------------------------------------------------------------------------- */

struct listener {
	struct cv_node node;
	uint64_t token;      /* 0: no child knows of it yet */
	char *key;           /* "tcp 127.0.0.1 143", "unix /run/…": what is bound */
	char *name, *protocol;
	bool tls, is_unix;
	int fd;
	bool inherited;      /* from systemd: never unlinked */
	bool wanted;         /* during a reload */
	const struct listener_want *change; /* during a reload: what it becomes */
	uint64_t old_token;  /* not 0: known to fronts under this one, which is gone */
};

/* Take over LISTEN_FDS; once, at start. */
void master_inherit(struct master *m);
/* Open what mc wants and is not open, keep what is. Nothing is closed: what is no longer wanted has wanted false. -1: an error (all that was newly opened is
   closed again). */
CV_MUST_CHECK int master_listen(struct master *m, const struct master_conf *mc, struct cv_err *err);
void master_listener_free(struct master *m, struct listener *l);

/* ---- Children (master-child.c) ------------------------------------------------------------------------------ */

enum child_state {
	CHILD_STARTING = 1,
	CHILD_READY,
	CHILD_DRAINING, /* replaced; ends by itself */
	CHILD_STOPPING
};

/* A process that runs. */
struct child {
	struct cv_node node;
	struct master *m;
	const struct cv_role_ops *ops;
	uint32_t index;
	pid_t pid;
	struct cv_ipc *control;
	enum child_state state;
	uint64_t started_ms;
	bool gone;           /* its channel is closed */
	struct cv_timer *kill;
	unsigned lost_roles; /* a bit for each role that it has no channel to and is to get one: they wait for relink, when that is not NULL */
	struct cv_timer *relink;
	unsigned reload_due; /* RELOADED answers that are due */
};

/* A place that must be filled. */
struct slot {
	struct master *m;
	const struct cv_role_ops *ops;
	uint32_t index;
	struct child *child;      /* NULL while waiting to start again */
	uint64_t backoff_ms;
	struct cv_timer *restart;
};

CV_MUST_CHECK int master_child_start(struct slot *slot, struct cv_err *err);
/* Send to a child; a failure shows as its end. */
void master_send(struct child *child, uint16_t type, uint64_t id, struct cv_str payload, int fd);
void master_send_modules(struct child *child, const struct master_conf *mc);
CV_MUST_CHECK int master_send_conf(struct child *child, const struct master_conf *mc, struct cv_err *err);
void master_send_listener(struct child *child, const struct listener *l);
bool master_listener_for(const struct child *child, const struct listener *l);
bool master_child_listens(const struct child *child);
void master_send_stop(struct child *child, bool graceful);
/* SIGCHLD. */
void master_reap(struct master *m);
const char *master_child_name(const struct child *child);

/* ---- The whole (master.c) ------------------------------------------------------------------------------------ */

struct master {
	struct master_opts opts;
	struct cv_loop *loop;
	struct master_conf *mc;
	bool privileged;
	bool ready, stopping, failed;
	int status;                   /* of exit */
	struct cv_node listeners;
	uint64_t next_token;
	CV_VEC(int) inherited_fds;
	CV_VEC(char *) inherited_names;
	struct slot auth, spawner;
	CV_VEC(struct slot *) fronts;
	struct cv_node children;      /* all that run, draining ones too */
	int tls_memfd;                /* what fronts were given last; -1: none */
	struct cv_buf tls_data;       /* the same, to see whether it changed */
	struct cv_timer *stop_timer;
	unsigned stop_step;
	struct watch *watch;
	struct master_admin *admin;
	uint64_t started_ms;
	struct cv_timer *watchdog;
	uint64_t watchdog_ms;
	int pid_fd;
	bool reloading, renewing;     /* settings, certificates: answers of children are due */
	char reload_problem[CV_ERR_TEXT_MAX]; /* the first part that did not take them; empty: none */
};

/* For all to be ready at the start, and for all to answer a reload. */
#define MASTER_START_LIMIT_MS 60000

int master_run(const struct master_opts *opts, struct master_conf *mc);
/* A child became ready or ended for good: look whether all is done. */
void master_progress(struct master *m);
/* A part could not be started at first: everything ends with status 1. */
void master_fail(struct master *m, const char *text);
void master_stop(struct master *m, bool now);

/* ---- Reload (master-reload.c) ------------------------------------------------------------------------------------------ */

/* Settings anew: 0 taken (master_admin_reloaded tells when all processes have answered), -1 refused, with each problem given to fn. */
int master_reload(struct master *m, master_problem_fn *fn, void *ctx);
/* A part did not take new settings or certificates: logged, and told when the reload ends. */
void master_reload_problem(struct master *m, const char *part, const char *text);
/* All processes are ready: the end of a reload when all have answered. */
void master_reload_progress(struct master *m);
/* Who has not answered now will not. */
void master_reload_late(struct master *m);
/* The log is opened anew here; its descriptor goes to all, since most cannot open files any more. */
void master_reopen_log(struct master *m);
/* Listeners that have no token yet get one. */
void master_give_tokens(struct master *m);
struct slot *master_new_slot(struct master *m, const struct cv_role_ops *ops, uint32_t index);

/* ---- The admin socket (master-admin.c) ---------------------------------------------------------------------------- */

CV_MUST_CHECK int master_admin_start(struct master *m, struct cv_err *err);
void master_admin_stop(struct master *m);
void master_admin_settings(struct master *m);  /* after a reload */
/* The end of a reload. problem: what did not take the settings; NULL: all did. */
void master_admin_reloaded(struct master *m, const char *problem);
void master_admin_forget(struct master *m, const struct child *child);
/* A child's figures. */
int master_on_status(struct child *child, struct cv_ipc_msg *msg);

/* ---- Watch of certificate files (master-watch.c) --------------------------------------------------------------- */

/* fn(ctx) a moment after one of paths (NULL-terminated) was changed, replaced or made. */
struct watch *master_watch_new(struct cv_loop *loop, const char *const *paths, void (*fn)(void *ctx), void *ctx);
void master_watch_free(struct watch **watch);

/* ---- systemd (notify.c) ------------------------------------------------------------------------------------------ */

/* sd_notify(3): does nothing when nobody listens. */
void master_notify(const char *state);
/* Interval in which WATCHDOG=1 is due, in milliseconds; 0: none. */
uint64_t master_notify_watchdog_ms(void);

#endif
