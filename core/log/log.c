/* SPDX-License-Identifier: MIT
   The log of a process: builds the line, and writes it to the target that is open for its level. No memory is allocated per line. */
#include <config.h>

#include "core/log/log-private.h"
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define ROLE_MAX 64 /* octets of a role that a line has */

/* Where lines of a level go. */
struct output {
	enum cv_log_target target;
	int fd;   /* owned unless the target is stderr; -1 for syslog and callback */
	int same; /* as this output; -1: it has a place of its own */
};

enum { OUTPUT_MAIN, OUTPUT_INFO, OUTPUT_DEBUG };

static struct {
	struct cv_log_config config; /* strings owned */
	struct output outputs[CV_LOG_OUTPUTS];
	bool open;
} the_log = { .config = { .target = CV_LOG_STDERR, .timestamps = true },
	.outputs = { { .target = CV_LOG_STDERR, .fd = STDERR_FILENO, .same = -1 }, { .fd = -1, .same = OUTPUT_MAIN }, { .fd = -1, .same = OUTPUT_MAIN } } };

/* Lines that wait for cv_log_gather_end: as many as a pipe takes at once. */
static struct {
	bool on;
	int fd;
	size_t len;
	char lines[PIPE_BUF];
} gathered;

static long the_pid; /* 0: not asked for since the last fork */

static const struct {
	const char *name;
	int code;
} facilities[] = {
	{ "auth", LOG_AUTH }, { "authpriv", LOG_AUTHPRIV }, { "daemon", LOG_DAEMON }, { "mail", LOG_MAIL },
	{ "user", LOG_USER }, { "local0", LOG_LOCAL0 }, { "local1", LOG_LOCAL1 }, { "local2", LOG_LOCAL2 },
	{ "local3", LOG_LOCAL3 }, { "local4", LOG_LOCAL4 }, { "local5", LOG_LOCAL5 }, { "local6", LOG_LOCAL6 },
	{ "local7", LOG_LOCAL7 },
};

static const char *const level_names[] = {
	[CV_LOG_ERROR] = "error", [CV_LOG_WARN] = "warning", [CV_LOG_INFO] = "info", [CV_LOG_DEBUG] = "debug" };
static const int level_priorities[] = {
	[CV_LOG_ERROR] = LOG_ERR, [CV_LOG_WARN] = LOG_WARNING, [CV_LOG_INFO] = LOG_INFO, [CV_LOG_DEBUG] = LOG_DEBUG };

static int facility_code(const char *name)
{
	for (size_t i = 0; i < CV_COUNT_OF(facilities); i++) {
		if (name != NULL && strcmp(facilities[i].name, name) == 0)
			return facilities[i].code;
	}
	return -1;
}

static char *copy(const char *s)
{
	return s != NULL ? cv_strdup(s) : NULL;
}

/* Free a string that struct cv_log_config holds as const for its callers, but that this file owns. */
static void drop(const char *s)
{
	cv_free((void *)(uintptr_t)s);
}

/* Open one target; *fd_r is -1 for those without a descriptor of ours. */
static int open_target(const struct cv_log_config *config, enum cv_log_target target, const char *path, int *fd_r, struct cv_err *err)
{
	*fd_r = -1;
	switch (target) {
	case CV_LOG_FILE:
		if (path == NULL)
			return cv_err_set(err, CV_ERR_INVALID, "log file: no path given");
		*fd_r = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
		return *fd_r < 0 ? cv_err_sys(err, errno, "log file %s", path) : 0;
	case CV_LOG_JOURNAL:
		*fd_r = cv_log_journal_open(path, err);
		return *fd_r < 0 ? -1 : 0;
	case CV_LOG_SYSLOG:
		if (facility_code(config->facility != NULL ? config->facility : "mail") < 0)
			return cv_err_set(err, CV_ERR_INVALID, "log: no syslog facility is named %s", config->facility);
		return 0;
	case CV_LOG_CALLBACK:
		return config->callback == NULL ? cv_err_set(err, CV_ERR_INVALID, "log: no callback given") : 0;
	case CV_LOG_STDERR:
		*fd_r = STDERR_FILENO;
		return 0;
	}
	return cv_err_set(err, CV_ERR_INVALID, "log: unknown target");
}

static void close_outputs(struct output *outputs)
{
	for (size_t i = 0; i < CV_LOG_OUTPUTS; i++) {
		if (outputs[i].same < 0 && outputs[i].fd >= 0 && outputs[i].target != CV_LOG_STDERR)
			(void)close(outputs[i].fd);
	}
}

static bool uses_syslog(const struct output *outputs)
{
	for (size_t i = 0; i < CV_LOG_OUTPUTS; i++) {
		if (outputs[i].same < 0 && outputs[i].target == CV_LOG_SYSLOG)
			return true;
	}
	return false;
}

static int open_outputs(const struct cv_log_config *config, struct output outputs[CV_LOG_OUTPUTS], struct cv_err *err)
{
	const struct cv_log_place *places[CV_LOG_OUTPUTS] = { NULL, config->info, config->debug_place };

	for (size_t i = 0; i < CV_LOG_OUTPUTS; i++)
		outputs[i] = (struct output){ .fd = -1, .same = OUTPUT_MAIN };
	outputs[OUTPUT_MAIN] = (struct output){ .target = config->target, .fd = -1, .same = -1 };
	if (open_target(config, config->target, config->path, &outputs[OUTPUT_MAIN].fd, err) < 0)
		return -1;
	for (int i = OUTPUT_INFO; i <= OUTPUT_DEBUG; i++) {
		/* Debug lines go with the informational ones unless they have a place. */
		if (places[i] == NULL) {
			outputs[i].same = i == OUTPUT_DEBUG && outputs[OUTPUT_INFO].same < 0 ? OUTPUT_INFO : OUTPUT_MAIN;
			continue;
		}
		outputs[i].same = -1;
		outputs[i].target = places[i]->target;
		if (open_target(config, places[i]->target, places[i]->path, &outputs[i].fd, err) < 0) {
			close_outputs(outputs);
			return -1;
		}
	}
	return 0;
}

int cv_log_open(const struct cv_log_config *config, struct cv_err *err)
{
	const char *facility = config->facility != NULL ? config->facility : "mail";
	struct cv_log_config before = the_log.config;
	struct output outputs[CV_LOG_OUTPUTS], outputs_before[CV_LOG_OUTPUTS];
	bool open_before = the_log.open;

	if (open_outputs(config, outputs, err) < 0)
		return -1;
	memcpy(outputs_before, the_log.outputs, sizeof(outputs_before));
	/* The new strings first: config may point to what cv_log_open was given before. */
	the_log.config = *config;
	the_log.config.path = copy(config->path);
	the_log.config.facility = copy(facility);
	the_log.config.role = copy(config->role);
	the_log.config.debug = copy(config->debug);
	the_log.config.info = the_log.config.debug_place = NULL;
	memcpy(the_log.outputs, outputs, sizeof(outputs));
	the_log.open = true;
	if (uses_syslog(outputs)) {
		/* LOG_NDELAY: the socket is connected now, before a chroot takes /dev/log away. */
		openlog(the_log.config.role != NULL ? the_log.config.role : "culver", LOG_PID | LOG_NDELAY,
			facility_code(facility));
	}
	if (open_before) {
		if (uses_syslog(outputs_before) && !uses_syslog(outputs))
			closelog();
		close_outputs(outputs_before);
		drop(before.path);
		drop(before.facility);
		drop(before.role);
		drop(before.debug);
	}
	return 0;
}

void cv_log_set_debug(const char *debug)
{
	const char *before = the_log.config.debug;
	char *now = copy(debug);

	if (the_log.open)
		drop(before);
	else
		cv_log_set_role(the_log.config.role);
	the_log.config.debug = now;
}

void cv_log_set_role(const char *role)
{
	char *role_before = NULL;

	if (the_log.open)
		role_before = (char *)(uintptr_t)the_log.config.role;
	else
		the_log.open = true;
	the_log.config.role = copy(role);
	if (uses_syslog(the_log.outputs))
		openlog(the_log.config.role != NULL ? the_log.config.role : "culver", LOG_PID | LOG_NDELAY,
			facility_code(the_log.config.facility));
	cv_free(role_before);
}

int cv_log_fd(void)
{
	return the_log.outputs[OUTPUT_MAIN].fd;
}

unsigned cv_log_fds(int fds_r[CV_LOG_OUTPUTS])
{
	unsigned count = 0;

	for (size_t i = 0; i < CV_LOG_OUTPUTS; i++) {
		if (the_log.outputs[i].same < 0 && the_log.outputs[i].fd >= 0)
			fds_r[count++] = the_log.outputs[i].fd;
	}
	return count;
}

void cv_log_replace_fds(const int *fds, unsigned count)
{
	int mine[CV_LOG_OUTPUTS];

	if (cv_log_fds(mine) != count)
		return;
	for (unsigned i = 0; i < count; i++) {
		if (fds[i] != mine[i] && dup3(fds[i], mine[i], mine[i] == STDERR_FILENO ? 0 : O_CLOEXEC) < 0)
			cv_error(NULL, "the log could not be reopened: %s", strerror(errno));
	}
}

static const struct output *output_of(enum cv_log_level level)
{
	const struct output *output = &the_log.outputs[level == CV_LOG_DEBUG ? OUTPUT_DEBUG : level == CV_LOG_INFO ? OUTPUT_INFO : OUTPUT_MAIN];

	return output->same < 0 ? output : &the_log.outputs[output->same];
}

bool cv_log_debug_on(const char *category)
{
	struct cv_str rest = cv_str_c(the_log.config.debug), word;

	while (rest.len > 0) {
		(void)cv_str_split(rest, ' ', &word, &rest);
		if (cv_str_eq_c(word, "all") || (category != NULL && word.len > 0 && cv_str_eq_c(word, category)))
			return true;
	}
	return false;
}

static void add_c(struct cv_log_text *t, const char *s)
{
	cv_log_add(t, s, strlen(s));
}

static void add_field(struct cv_log_text *t, const char *name, struct cv_str value)
{
	if (value.len == 0)
		return;
	add_c(t, name);
	cv_log_add_value(t, value);
	cv_log_add(t, " ", 1);
}

/* The nearest context that has the field wins. */
static void gather(const struct cv_log_ctx *ctx, struct cv_log_entry *entry)
{
	for (; ctx != NULL; ctx = ctx->parent) {
		if (entry->category == NULL)
			entry->category = ctx->category;
		if (entry->session.len == 0)
			entry->session = ctx->session;
		if (entry->user.len == 0)
			entry->user = ctx->user;
		if (entry->mailbox.len == 0)
			entry->mailbox = ctx->mailbox;
		if (entry->remote.len == 0)
			entry->remote = ctx->remote;
	}
}

/* So many digits of n, with zeros before it. */
static void add_digits(struct cv_log_text *t, unsigned long long n, int digits)
{
	char text[20];

	for (int i = digits; i > 0; n /= 10)
		text[--i] = (char)('0' + n % 10);
	cv_log_add(t, text, (size_t)digits);
}

/* RFC 3339, UTC, milliseconds. What there is of it for one second is made once. */
static void add_timestamp(struct cv_log_text *t)
{
	static int64_t second = INT64_MIN;
	static char until[64];
	int64_t us = cv_time_now_us();

	if (us / 1000000 != second) {
		struct cv_civil c = cv_time_to_civil(us / 1000000);

		second = us / 1000000;
		(void)snprintf(until, sizeof(until), "%04d-%02d-%02dT%02d:%02d:%02d.", c.year, c.month, c.day, c.hour, c.minute, c.second);
	}
	add_c(t, until);
	add_digits(t, (unsigned long long)(us / 1000 % 1000), 3);
	add_c(t, "Z ");
}

static void forget_pid(void)
{
	the_pid = 0;
}

/* A system call for each line is one too many. */
static long own_pid(void)
{
	static bool watches_forks;

	if (the_pid == 0) {
		if (!watches_forks && pthread_atfork(NULL, NULL, forget_pid) != 0)
			return (long)getpid();
		watches_forks = true;
		the_pid = (long)getpid();
	}
	return the_pid;
}

/* "<level> <role>[pid] ": what syslog and the journal keep in fields of their own. */
static void add_origin(struct cv_log_text *t, const struct cv_log_entry *entry)
{
	long pid = own_pid();
	int digits = 1;

	for (long n = pid; n >= 10; n /= 10)
		digits++;
	add_c(t, level_names[entry->level]);
	add_c(t, " ");
	cv_log_add(t, entry->role, strnlen(entry->role, ROLE_MAX));
	add_c(t, "[");
	add_digits(t, (unsigned long long)pid, digits);
	add_c(t, "] ");
}

static void add_text(struct cv_log_text *t, const struct cv_log_entry *entry)
{
	static const char ellipsis[] = "\xe2\x80\xa6";

	t->size -= sizeof(ellipsis) - 1;
	if (entry->level == CV_LOG_DEBUG && entry->category != NULL)
		add_field(t, "category=", cv_str_c(entry->category));
	add_field(t, "session=", entry->session);
	add_field(t, "user=", entry->user);
	add_field(t, "mailbox=", entry->mailbox);
	add_field(t, "remote=", entry->remote);
	cv_log_add_escaped(t, entry->message, false);
	t->size += sizeof(ellipsis) - 1;
	if (t->cut) {
		t->cut = false;
		cv_log_add(t, ellipsis, sizeof(ellipsis) - 1);
	}
}

/* One write, so that lines of several processes do not mix. Nothing can be done when it fails. */
static void write_octets(int fd, const char *data, size_t len)
{
	ssize_t n;

	do
		n = write(fd, data, len);
	while (n < 0 && errno == EINTR);
}

static void write_gathered(void)
{
	if (gathered.len > 0)
		write_octets(gathered.fd, gathered.lines, gathered.len);
	gathered.len = 0;
}

void cv_log_gather(void)
{
	gathered.on = true;
}

void cv_log_gather_end(void)
{
	int errno_before = errno;

	gathered.on = false;
	write_gathered();
	errno = errno_before;
}

static void write_line(int fd, enum cv_log_level level, struct cv_log_text *t)
{
	cv_log_add(t, "\n", 1);
	if (gathered.len > 0 && (gathered.fd != fd || gathered.len + t->len > sizeof(gathered.lines) || level <= CV_LOG_WARN))
		write_gathered();
	if (!gathered.on || level <= CV_LOG_WARN) {
		write_octets(fd, t->data, t->len);
		return;
	}
	memcpy(gathered.lines + gathered.len, t->data, t->len);
	gathered.len += t->len;
	gathered.fd = fd;
}

/* A line whose level and category are wanted. */
static __attribute__((format(printf, 3, 0))) void write_entry(enum cv_log_level level, struct cv_log_entry entry, const char *fmt, va_list ap)
{
	/* The text, the octets of a timestamp and origin, and the NUL that syslog wants. */
	char message[CV_LOG_TEXT_MAX + 1], line[CV_LOG_TEXT_MAX + 1];
	struct cv_log_text t = { .data = line, .size = CV_LOG_TEXT_MAX - 1 };
	int len;

	if (entry.role == NULL)
		entry.role = "culver";
	len = vsnprintf(message, sizeof(message), fmt, ap);
	if (len < 0)
		len = snprintf(message, sizeof(message), "unprintable log text, format %.200s", fmt);
	entry.message = cv_str_mem(message, CV_MIN((size_t)len, sizeof(message) - 1));

	const struct output *output = output_of(level);
	switch (output->target) {
	case CV_LOG_STDERR:
	case CV_LOG_FILE:
		if (the_log.config.timestamps)
			add_timestamp(&t);
		add_origin(&t, &entry);
		add_text(&t, &entry);
		t.size++;
		write_line(output->fd, level, &t);
		break;
	case CV_LOG_SYSLOG:
		add_c(&t, level_names[level]);
		add_c(&t, " ");
		add_text(&t, &entry);
		line[t.len] = '\0';
		syslog(level_priorities[level], "%s", line);
		break;
	case CV_LOG_JOURNAL:
		add_text(&t, &entry);
		entry.message = cv_str_mem(line, t.len);
		(void)cv_log_journal_send(output->fd, &entry);
		break;
	case CV_LOG_CALLBACK:
		add_origin(&t, &entry);
		add_text(&t, &entry);
		the_log.config.callback(the_log.config.callback_ctx, level, cv_str_mem(line, t.len));
		break;
	}
}

void cv_log(const struct cv_log_ctx *ctx, enum cv_log_level level, const char *fmt, ...)
{
	struct cv_log_entry entry = { .level = level, .role = the_log.config.role };
	int errno_before = errno;
	va_list ap;

	gather(ctx, &entry);
	if (level == CV_LOG_DEBUG && !cv_log_debug_on(entry.category))
		return;
	va_start(ap, fmt);
	write_entry(level, entry, fmt, ap);
	va_end(ap);
	errno = errno_before;
}
