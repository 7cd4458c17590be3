/* SPDX-License-Identifier: MIT
   Logging: one line an event, key=value fields, session id on each; never a password, token, SASL data or message content. */
#ifndef CV_LOG_H
#define CV_LOG_H

#include <culver/err.h>

enum cv_log_level { CV_LOG_ERROR, CV_LOG_WARN, CV_LOG_INFO, CV_LOG_DEBUG };

/* What a line is about; the line starts with these fields and the text must not repeat them. Contexts chain: a mailbox's
   to its session's to the process's. All views are borrowed; NULL/absent fields are left out. */
struct cv_log_ctx {
	const struct cv_log_ctx *parent;
	const char *category;   /* for debug lines: "auth", "imap", "store", … */
	struct cv_str session;  /* session id */
	struct cv_str user;
	struct cv_str mailbox;
	struct cv_str remote;   /* remote address */
};

enum cv_log_target { CV_LOG_STDERR, CV_LOG_SYSLOG, CV_LOG_JOURNAL, CV_LOG_FILE, CV_LOG_CALLBACK };

/* A place of its own for some of the lines. */
struct cv_log_place {
	enum cv_log_target target; /* not CV_LOG_CALLBACK */
	const char *path;          /* as in cv_log_config */
};

struct cv_log_config {
	enum cv_log_target target;
	const char *path;          /* CV_LOG_FILE: opened append, mode 0600. CV_LOG_JOURNAL: its socket, NULL: the system's */
	const char *facility;      /* syslog: "mail" when NULL */
	const char *role;          /* process role, on each line */
	const char *debug;         /* space-separated categories, "all", or NULL */
	bool timestamps;           /* stderr and files: RFC 3339 UTC with milliseconds */
	void (*callback)(void *ctx, enum cv_log_level level, struct cv_str line); /* tests */
	void *callback_ctx;
	const struct cv_log_place *info;        /* informational lines; NULL: where target says */
	const struct cv_log_place *debug_place; /* debug lines; NULL: where informational ones go */
};

/* May be called again (reload, log rotation). Strings are copied. -1 when the target can't be opened; the old one stays. */
CV_EXPORT int cv_log_open(const struct cv_log_config *config, struct cv_err *err);
/* Change the role alone, with the target kept as it is: after a fork, when the target can't be opened any more. */
CV_EXPORT void cv_log_set_role(const char *role);
/* Other debug categories, everything else kept. */
CV_EXPORT void cv_log_set_debug(const char *debug);
/* The descriptor behind the log's errors and warnings, or -1. */
CV_EXPORT int cv_log_fd(void);
/* Descriptors behind all of the log, those of errors and warnings, informational and debug lines in this order, without those that have none or share another's;
   how many. */
#define CV_LOG_OUTPUTS 3
CV_EXPORT unsigned cv_log_fds(int fds_r[CV_LOG_OUTPUTS]);
/* Write to these files from now on, which another process has opened: they take the numbers of those of cv_log_fds, in its order; fds stay the caller's. Nothing is
   done unless there are as many: the log is of another kind here. */
CV_EXPORT void cv_log_replace_fds(const int *fds, unsigned count);

/* Text from outside is passed with %s through cv_log_clean, never as fmt. ctx may be NULL. Lines are cut at 2,000 octets,
   control characters and invalid UTF-8 become \xNN. errno is kept. */
CV_EXPORT void cv_log(const struct cv_log_ctx *ctx, enum cv_log_level level, const char *fmt, ...) CV_PRINTF(3, 4);
/* For who writes many lines in a row: from here to cv_log_gather_end those below a warning are kept and written to their file at once, 4 KiB at a time. Not nested. */
CV_EXPORT void cv_log_gather(void);
CV_EXPORT void cv_log_gather_end(void);
CV_EXPORT bool cv_log_debug_on(const char *category);
#define cv_error(ctx, ...) cv_log((ctx), CV_LOG_ERROR, __VA_ARGS__)
#define cv_warn(ctx, ...) cv_log((ctx), CV_LOG_WARN, __VA_ARGS__)
#define cv_info(ctx, ...) cv_log((ctx), CV_LOG_INFO, __VA_ARGS__)
#define cv_debug(ctx, ...) cv_log((ctx), CV_LOG_DEBUG, __VA_ARGS__)

/* A view for a log line: C string in one of 8 rotating buffers of the calling process, cut at 128 octets, control characters
   escaped, quoted when it holds a space or quote. Valid until eight more calls. */
CV_EXPORT const char *cv_log_clean(struct cv_str s);

#endif
