/* SPDX-License-Identifier: MIT
   Between the spawner (in culverd) and the worker (in libculver-mail, which only the spawner maps). */
#ifndef CV_PROC_WORKER_H
#define CV_PROC_WORKER_H

#include "core/proc/settings.h"

#define CV_MAIL_LIBRARY "libculver-mail.so.0"
#define CV_WORKER_ENTRY_VERSION 3

/* What a worker is born with. All is borrowed from the spawner's image and stays as it is. */
struct cv_worker_args {
	struct cv_registry *registry; /* modules are loaded */
	const struct cv_conf *conf;
	const struct cv_core_settings *core;
	bool privileged;              /* root's rights are to be dropped */
	int control_fd;               /* to the spawner */
	const char *user;
	const char *home, *mail;      /* NULL: none given */
	const char *const *fields;    /* "key=value", NULL-terminated */
	uint32_t sysuid, sysgid;
	const uint32_t *groups;       /* mail_access_groups */
	size_t group_count;
	uint64_t idle_ms, vsz_limit;
};

struct cv_worker_entry {
	unsigned version;
	/* Once in the spawner: load what workers would load each for itself. */
	void (*prewarm)(void);
	/* Before workers are forked, and again when they may be out of date: make what confines each of them alike. anew: whatever was made before, as with other
	   settings. */
	int (*prepare)(const struct cv_core_settings *core, bool anew, struct cv_err *err);
	/* The worker's life; its exit status. */
	int (*run)(const struct cv_worker_args *args);
};
CV_EXPORT_DATA const struct cv_worker_entry cv_worker_entry;

/* culverd --role=worker: a worker that was not forked from the spawner's image (worker_exec). Descriptors 3 to 5 are its channel, what the spawner knows of the user,
   and the settings. The exit status. */
int cv_worker_exec_main(void);

#endif
