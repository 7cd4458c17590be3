/* SPDX-License-Identifier: MIT
   What front, auth and spawner have in common: the control channel to master, settings in force, modules, dropping of rights.

   A role starts with its control channel as descriptor 3. The harness (role.c) handles the channel: it takes MODULES and CONF, opens the log, loads the
   modules, hands LISTENER, TLS, PEER and later ones to the role's functions, and on START calls start, which drops rights and begins to serve. It answers READY,
   RELOADED and STATUS itself. */
#ifndef CV_PROC_ROLE_H
#define CV_PROC_ROLE_H

#include "core/proc/settings.h"
#include <culver/ipc.h>
#include <culver/loop.h>
#include <culver/map.h>

#define CV_CONTROL_FD 3

/* Settings in force from one reload to the next. Counted: connections and sessions finish on those they began with. */
struct cv_gen {
	unsigned refs;
	struct cv_arena *arena; /* conf and all that was read from it; freed with the last reference */
	struct cv_conf *conf;
	const struct cv_core_settings *core;
	int memfd;              /* the settings as they came from master, sealed, for helpers; -1: none */
};
struct cv_gen *cv_gen_ref(struct cv_gen *gen);
void cv_gen_unref(struct cv_gen **gen);

struct cv_role_ops;

/* The process, given to all functions below. */
struct cv_role_proc {
	const struct cv_role_ops *ops;
	uint32_t index;             /* front: which of several */
	bool privileged;            /* run by root: start must drop rights */
	struct cv_loop *loop;
	struct cv_ipc *control;
	struct cv_gen *gen;         /* now in force */
	struct cv_registry *registry; /* modules are loaded; its conf is gen's */
	const char *const *modules; /* names of modules that were asked for */
	bool new_modules;           /* they are for the next settings */
	void *state;                /* the role's own */
	bool started;
	bool stopping;
	/* Roles whose channel is lost, and when to ask master for another. */
	unsigned lost_peers;
	struct cv_timer *relink;
};

struct cv_role_ops {
	const char *name;           /* "front": in titles, logs and --role= */
	enum cv_role role;
	unsigned module_role;       /* for cv_modules_load */
	/* Once, after the first CONF: the registry and gen are there. Make proc->state. */
	int (*init)(struct cv_role_proc *proc, struct cv_err *err);
	/* All was given. Drop rights (cv_restrict, cv_sandbox_*) and begin. 0: it serves, 1: it waits for something and calls cv_role_ready later,
	   -1: the process ends with err logged. */
	int (*start)(struct cv_role_proc *proc, struct cv_err *err);
	/* New settings: proc->gen is the new one already, old still holds a reference for the call. -1: err goes to master's log; the
	   old generation is put back. May be NULL. */
	int (*reload)(struct cv_role_proc *proc, struct cv_gen *old, struct cv_err *err);
	/* fd is the function's, in these three. token names the listener later. NULL: the role takes none (a protocol error). */
	int (*peer)(struct cv_role_proc *proc, enum cv_role role, uint32_t index, int fd);
	int (*listener)(struct cv_role_proc *proc, uint64_t token, struct cv_str name, struct cv_str protocol, bool tls, bool is_unix, int fd);
	int (*tls)(struct cv_role_proc *proc, int memfd, struct cv_err *err);
	void (*listener_gone)(struct cv_role_proc *proc, uint64_t token);
	/* Stop accepting, say goodbye, and call cv_loop_stop(proc->loop) when done; graceful false: at once. */
	void (*stop)(struct cv_role_proc *proc, bool graceful);
	/* The log's files were replaced: for processes of the role's own. May be NULL. */
	void (*log_reopened)(struct cv_role_proc *proc);
	/* Figures for `culver status`: cv_role_figure for each. May be NULL. */
	void (*status)(struct cv_role_proc *proc, struct cv_buf *kv);
	/* Administrators' commands of this role are run by the harness: their run halves are providers of own_module (loaded with the others; NULL: none), and
	   cv_admin_process gives proc->state. Those for a user's worker go to admin_user (spawner): payload is that of CV_MSG_ADMIN; fd is the function's. */
	const struct cv_module *own_module;
	int (*admin_user)(struct cv_role_proc *proc, struct cv_str user, struct cv_str payload, int fd);
	/* Free proc->state, after the loop has ended. */
	void (*deinit)(struct cv_role_proc *proc);
};

extern const struct cv_role_ops cv_front_role;
extern const struct cv_role_ops cv_auth_role;
extern const struct cv_role_ops cv_spawner_role;

/* main of a role; the exit status. */
int cv_role_main(const struct cv_role_ops *ops, uint32_t index);

/* Open the log that settings ask for. */
CV_MUST_CHECK int cv_role_log_open(const struct cv_core_settings *core, const char *role, struct cv_err *err);
/* What kind of places log_path, info_log_path and debug_log_path are, a letter each, to be compared. */
void cv_role_log_kinds(const struct cv_core_settings *core, char kinds[4]);

/* The channel to the (one) process of that role was closed. When no new one has come after a moment, master is asked for it: the process may be well, and only
   the channel broken. */
void cv_role_peer_lost(struct cv_role_proc *proc, enum cv_role role);

/* Tell master that the role serves, after a start that returned 1. */
void cv_role_ready(struct cv_role_proc *proc);

/* Add a figure to a status answer. */
void cv_role_figure(struct cv_buf *kv, const char *name, uint64_t value);

/* ---- Dropping rights (restrict.c, in libculver) ------------------------------------------------------- */

struct cv_restrict {
	uint32_t sysuid, sysgid;
	const uint32_t *groups;  /* supplementary ones */
	size_t group_count;
	const char *chroot;      /* NULL: none */
};
/* All at once and for good: setgroups, chroot, setresgid, setresuid, no_new_privs, no capabilities; then it is verified that none of it can be undone.
   Without root's rights only checks that the ids are the process's own. -1: the process must end. */
CV_EXPORT CV_MUST_CHECK int cv_restrict(const struct cv_restrict *restrict_to, struct cv_err *err);
/* User (or, with group, group) by name or number from the system's databases. */
CV_EXPORT CV_MUST_CHECK int cv_restrict_user(const char *name, uint32_t *sysuid_r, uint32_t *sysgid_r, struct cv_err *err);
CV_EXPORT CV_MUST_CHECK int cv_restrict_group(const char *name, uint32_t *sysgid_r, struct cv_err *err);
/* Close the descriptors first to last. */
CV_EXPORT void cv_close_range(int first, int last);
/* Close every descriptor from first on but those in keep (sorted or not). */
CV_EXPORT void cv_close_from(int first, const int *keep, size_t keep_count);
/* RLIMIT_NOFILE up to its hard limit; returns it. */
CV_EXPORT uint64_t cv_limit_nofile(void);
/* RLIMIT_AS; 0: unlimited. Does nothing in builds with sanitizers. */
CV_EXPORT void cv_limit_vsz(uint64_t octets);
/* What /proc and ps show: "culver/<instance> <text>". cv_title_init once in main. */
CV_EXPORT void cv_title_init(int argc, char **argv);
CV_EXPORT void cv_title_set(const char *fmt, ...) CV_PRINTF(1, 2);

/* ---- Sandboxes (sandbox.c, in libculver) --------------------------------------------------------------- */

enum cv_sandbox_profile {
	CV_SANDBOX_FRONT,  /* allow list: sockets that are there, memory, time; opens nothing, starts nothing */
	CV_SANDBOX_AUTH,   /* as worker: deny list of what changes the system, other processes or who one is */
	CV_SANDBOX_SPAWNER, /* the same but for who one is, which its forks change before the kernel lets them do so no more */
	CV_SANDBOX_WORKER
};
/* System call filter; threads and children inherit it. A worker takes none where it has the spawner's (cv_sandbox_prepare). */
CV_EXPORT CV_MUST_CHECK int cv_sandbox_seccomp(enum cv_sandbox_profile profile, enum cv_seccomp_mode mode, struct cv_err *err);

/* Take the spawner's filter on, for this process and those that are forked from it: for good, so that a mode which is less strict than one before changes
   nothing. */
CV_EXPORT CV_MUST_CHECK int cv_sandbox_prepare(enum cv_seccomp_mode mode, struct cv_err *err);
/* The mode of that filter. */
CV_EXPORT enum cv_seccomp_mode cv_sandbox_passed_on(void);

/* Landlock: only what is below these paths can be reached from now on. Paths that do not exist are passed over. */
struct cv_sandbox_path {
	const char *path;
	bool write; /* else read only */
};
/* 1: confined, 0: the kernel has no Landlock (logged by the caller, once), -1 failed. count 0: no file at all. */
CV_EXPORT CV_MUST_CHECK int cv_sandbox_landlock(const struct cv_sandbox_path *paths, size_t count, struct cv_err *err);
/* Look up paths (borrowed) that many processes forked from this one will be allowed to read: for them cv_sandbox_landlock looks no more, nor does it ask
   for what is below another one. What was held before stays where the same paths lead to the same files still, which costs one look at each, and is let go
   otherwise, or with anew. Files may be replaced meanwhile: hold them again from time to time. */
CV_EXPORT void cv_sandbox_hold(const char *const *paths, size_t count, bool anew);
CV_EXPORT void cv_sandbox_let_go(void);
/* The descriptors of what is held: how many. */
CV_EXPORT size_t cv_sandbox_held(int *fds, size_t max);

#endif
