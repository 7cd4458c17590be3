/* SPDX-License-Identifier: MIT
   The master: opens listeners, starts the other processes, watches over them, reloads and stops in order. */
#include "core/proc/master.h"

#include "core/proc/messages.h"
#include <culver/time.h>

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* After SIGTERM: how long children may take to say goodbye, and then to end. */
#define STOP_GRACE_MS 10000
#define STOP_KILL_MS 5000
/* For all to be ready at the start, and for all to answer a reload. */
#define START_LIMIT_MS 60000

/* ---- Directories and the pid file ---------------------------------------------------------------------------------- */

/* path and what is missing above it, mode 0755. */
static int make_directories(const char *path, struct cv_err *err)
{
	struct cv_buf part;
	int result = 0;

	cv_buf_init(&part, 4096);
	for (const char *p = path; result == 0;) {
		const char *slash = strchr(p + 1, '/');
		cv_buf_clear(&part);
		cv_buf_append(&part, cv_str_mem(path, slash != NULL ? (size_t)(slash - path) : strlen(path)));
		if (part.data == NULL || !cv_buf_ok(&part))
			result = cv_err_set(err, CV_ERR_INVALID, "the path is too long");
		else if (mkdir(part.data, 0755) < 0 && errno != EEXIST)
			result = cv_err_sys(err, errno, "making %s", part.data);
		if (slash == NULL)
			break;
		p = slash;
	}
	cv_buf_deinit(&part);
	return result;
}

/* base_dir: sockets and the pid file lie there; who may write to it could put others in their place. */
static int prepare_base_dir(const struct master *m, struct cv_err *err)
{
	const char *dir = m->mc->core->base_dir;
	struct stat st;
	mode_t before = umask(022);
	int result = make_directories(dir, err);

	if (result == 0 && stat(dir, &st) < 0)
		result = cv_err_sys(err, errno, "%s", dir);
	if (result == 0 && !S_ISDIR(st.st_mode))
		result = cv_err_set(err, CV_ERR_INVALID, "%s is no directory", dir);
	if (result == 0 && st.st_uid != geteuid() && st.st_uid != 0)
		result = cv_err_set(err, CV_ERR_PERM, "%s belongs to user %u: it must belong to root or to who runs the server", dir, (unsigned)st.st_uid);
	if (result == 0 && (st.st_mode & 022) != 0 && (st.st_mode & S_ISVTX) == 0)
		result = cv_err_set(err, CV_ERR_PERM, "%s can be written by others (mode %04o): chmod go-w %s", dir, (unsigned)(st.st_mode & 07777), dir);
	if (result == 0 && m->privileged) {
		char *empty = cv_arena_printf(m->mc->arena, "%s/empty", dir);
		if (mkdir(empty, 0555) < 0 && errno != EEXIST)
			result = cv_err_sys(err, errno, "making %s", empty);
		else if (lstat(empty, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) != 0)
			result = cv_err_set(err, CV_ERR_PERM, "%s must be a directory of root's that nobody else can write to", empty);
	}
	(void)umask(before);
	return result == 0 ? 0 : cv_err_context(err, "base_dir");
}

static int take_pid_file(struct master *m, struct cv_err *err)
{
	char *path = cv_arena_printf(m->mc->arena, "%s/master.pid", m->mc->core->base_dir);
	char text[32];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return cv_err_sys(err, errno, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		ssize_t n = read(fd, text, sizeof(text) - 1);
		text[n > 0 ? n : 0] = '\0';
		(void)close(fd);
		return cv_err_set(err, CV_ERR_INUSE, "the server runs already as process %s (%s)",
			cv_log_clean(cv_str_trim(cv_str_c(text))), path);
	}
	(void)snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, strlen(text), 0) < 0) {
		(void)close(fd);
		return cv_err_sys(err, errno, "%s", path);
	}
	m->pid_fd = fd;
	return 0;
}

/* ---- Progress --------------------------------------------------------------------------------------------------------- */

static struct slot *slot_at(struct master *m, size_t i)
{
	return i == 0 ? &m->auth : i == 1 ? &m->spawner : i - 2 < m->fronts.count ? m->fronts.data[i - 2] : NULL;
}

static bool all_ready(struct master *m)
{
	struct slot *slot;

	for (size_t i = 0; (slot = slot_at(m, i)) != NULL; i++) {
		if (slot->child == NULL || slot->child->state != CHILD_READY)
			return false;
	}
	return true;
}

/* In the background nothing is read, and nothing is written but by the log. Before any child is there: it would keep them open. */
static void leave_terminal(const struct master *m)
{
	const char *log = m->mc->core->log_path;
	bool log_there = log != NULL && (strcmp(log, "stderr") == 0 || strcmp(log, "/dev/stderr") == 0);
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)dup2(fd, STDIN_FILENO);
	(void)dup2(fd, STDOUT_FILENO);
	if (!log_there)
		(void)dup2(fd, STDERR_FILENO);
	(void)close(fd);
}

/* The process that started this one in the background waits for a word: an octet, 'R' or 'F', and why it failed. */
static void tell_starter(struct master *m, char octet, const char *text)
{
	char word[CV_ERR_TEXT_MAX + 1];

	if (m->opts.ready_fd < 0)
		return;
	(void)snprintf(word, sizeof(word), "%c%s", octet, text);
	if (write(m->opts.ready_fd, word, strlen(word)) < 0)
		cv_debug(NULL, "nobody waits for the start any more");
	(void)close(m->opts.ready_fd);
	m->opts.ready_fd = -1;
}

static bool reload_answered(const struct master *m)
{
	struct cv_node *node, *next;

	cv_list_foreach(&m->children, node, next) {
		if (cv_container(node, struct child, node)->reload_due > 0)
			return false;
	}
	return true;
}

static void stop_auth(struct master *m);

/* All have answered, or never will. */
static void reload_ends(struct master *m)
{
	bool good = m->reload_problem[0] == '\0', settings = m->reloading, certificates = m->renewing;

	m->reloading = m->renewing = false;
	cv_timer_stop(m->stop_timer);
	if (certificates && good)
		cv_info(NULL, "certificates are renewed");
	else if (certificates && !settings)
		cv_error(NULL, "the new certificates are not in use everywhere: %s", m->reload_problem);
	if (settings) {
		if (good)
			cv_info(NULL, "settings are reloaded");
		else
			cv_error(NULL, "not all parts took the new settings: %s", m->reload_problem);
		master_admin_reloaded(m, good ? NULL : m->reload_problem);
		master_notify(good ? "READY=1\nSTATUS=Serving" : "READY=1\nSTATUS=Serving, some processes with old settings: see the log");
	}
	m->reload_problem[0] = '\0';
}

void master_progress(struct master *m)
{
	if (m->stopping) {
		if (cv_list_empty(&m->children))
			cv_loop_stop(m->loop);
		else if (m->stop_step == 0)
			stop_auth(m);
		return;
	}
	if (!m->ready && all_ready(m)) {
		m->ready = true;
		cv_timer_stop(m->stop_timer);
		cv_info(NULL, "culverd " PACKAGE_VERSION " is ready: %zu front%s%s", m->fronts.count, m->fronts.count == 1 ? "" : "s",
			m->privileged ? "" : ", without root's rights");
		master_notify("READY=1\nSTATUS=Serving");
		tell_starter(m, 'R', "");
	}
	if (m->ready && (m->reloading || m->renewing) && all_ready(m) && reload_answered(m))
		reload_ends(m);
}

void master_reload_problem(struct master *m, const char *part, const char *text)
{
	cv_error(NULL, "%s keeps what it had: %s", part, text);
	if (m->reload_problem[0] == '\0')
		(void)snprintf(m->reload_problem, sizeof(m->reload_problem), "%s: %s", part, text);
}

/* ---- Stop ---------------------------------------------------------------------------------------------------------------- */

static bool any_alive(const struct master *m, enum cv_role role)
{
	struct cv_node *node, *next;

	cv_list_foreach(&m->children, node, next) {
		if (cv_container(node, struct child, node)->ops->role == role)
			return true;
	}
	return false;
}

static void stop_role(struct master *m, enum cv_role role, bool graceful)
{
	struct cv_node *node, *next;

	cv_list_foreach(&m->children, node, next) {
		struct child *child = cv_container(node, struct child, node);
		if (child->ops->role != role)
			continue;
		child->state = CHILD_STOPPING;
		master_send_stop(child, graceful);
	}
}

/* Fronts and the spawner with its workers first, side by side: workers' goodbyes go out through fronts. Auth last, since both ask it. */
static void stop_auth(struct master *m)
{
	if (any_alive(m, CV_ROLE_FRONT) || any_alive(m, CV_ROLE_SPAWNER))
		return;
	m->stop_step = 1;
	stop_role(m, CV_ROLE_AUTH, true);
	cv_timer_set(m->stop_timer, STOP_KILL_MS);
}

static void stop_late(void *ctx)
{
	struct master *m = ctx;
	struct cv_node *node, *next;

	if (!m->stopping) {
		if (!m->ready) {
			master_fail(m, "some process did not become ready in time");
		} else if (m->reloading || m->renewing) {
			cv_list_foreach(&m->children, node, next)
				cv_container(node, struct child, node)->reload_due = 0;
			master_reload_problem(m, "a process", "it did not answer in time");
			reload_ends(m);
		}
		return;
	}
	if (m->stop_step < 2) {
		m->stop_step = 2;
		stop_role(m, CV_ROLE_FRONT, false);
		stop_role(m, CV_ROLE_SPAWNER, false);
		stop_role(m, CV_ROLE_AUTH, false);
	} else {
		cv_list_foreach(&m->children, node, next) {
			struct child *child = cv_container(node, struct child, node);
			cv_warn(NULL, "%s (pid %ld) does not end: killed", child->ops->name, (long)child->pid);
			(void)kill(child->pid, SIGKILL);
		}
	}
	cv_timer_set(m->stop_timer, STOP_KILL_MS);
}

void master_stop(struct master *m, bool now)
{
	struct slot *slot;

	if (m->stopping) {
		if (now)
			cv_timer_set(m->stop_timer, 0);
		return;
	}
	m->stopping = true;
	m->stop_step = 0;
	master_notify("STOPPING=1\nSTATUS=Stopping");
	for (size_t i = 0; (slot = slot_at(m, i)) != NULL; i++)
		cv_timer_remove(&slot->restart);
	stop_role(m, CV_ROLE_FRONT, true);
	stop_role(m, CV_ROLE_SPAWNER, true);
	cv_timer_set(m->stop_timer, now ? 0 : STOP_GRACE_MS);
	master_progress(m);
}

void master_fail(struct master *m, const char *text)
{
	if (m->stopping)
		return;
	cv_error(NULL, "the server could not be started: %s", text);
	tell_starter(m, 'F', text);
	m->status = 1;
	master_stop(m, false);
}

/* ---- TLS ------------------------------------------------------------------------------------------------------------------- */

/* What fronts may get from now on. */
struct new_tls {
	struct cv_buf data;
	int memfd; /* -1: the same as before */
};

static int make_tls(const struct master *m, const struct master_conf *mc, bool fresh, struct new_tls *tls, struct cv_err *err)
{
	tls->memfd = -1;
	cv_buf_init_wipe(&tls->data, 64 * 1024 * 1024);
	if (tls_conf_build(mc, fresh, &tls->data, err) < 0) {
		cv_buf_deinit(&tls->data);
		return -1;
	}
	if (m->tls_memfd >= 0 && cv_str_eq(cv_buf_str(&tls->data), cv_buf_str(&m->tls_data)))
		return 0;
	tls->memfd = cv_memfd_from("culver-tls", cv_buf_str(&tls->data), err);
	if (tls->memfd < 0) {
		cv_buf_deinit(&tls->data);
		return -1;
	}
	return 0;
}

/* True: it differs from before. */
static bool use_tls(struct master *m, struct new_tls *tls)
{
	if (tls->memfd < 0) {
		cv_buf_deinit(&tls->data);
		return false;
	}
	if (m->tls_memfd >= 0)
		(void)close(m->tls_memfd);
	m->tls_memfd = tls->memfd;
	cv_buf_deinit(&m->tls_data);
	m->tls_data = tls->data;
	return true;
}

static void drop_tls(struct new_tls *tls)
{
	if (tls->memfd >= 0)
		(void)close(tls->memfd);
	cv_buf_deinit(&tls->data);
}

/* 1: it differs from before, 0: it is the same. */
static int take_tls(struct master *m, const struct master_conf *mc, bool fresh, struct cv_err *err)
{
	struct new_tls tls;

	if (make_tls(m, mc, fresh, &tls, err) < 0)
		return -1;
	return use_tls(m, &tls) ? 1 : 0;
}

static void send_tls(struct master *m)
{
	struct cv_node *node, *next;

	cv_list_foreach(&m->children, node, next) {
		struct child *child = cv_container(node, struct child, node);
		if (child->ops->role != CV_ROLE_FRONT || child->state == CHILD_DRAINING || child->state == CHILD_STOPPING)
			continue;
		master_send(child, CV_MSG_TLS, 0, CV_STR(""), m->tls_memfd);
		/* One that is not ready yet takes it as a part of its start. */
		child->reload_due += child->state == CHILD_READY;
	}
}

static void on_files_changed(void *ctx)
{
	struct master *m = ctx;
	struct cv_err err = { 0 };
	int result = take_tls(m, m->mc, true, &err);

	if (result < 0) {
		cv_error(NULL, "a certificate file changed and cannot be used, the old certificate stays in use: %s", err.text);
	} else if (result > 0) {
		m->renewing = true;
		cv_timer_set(m->stop_timer, START_LIMIT_MS);
		send_tls(m);
		master_progress(m);
	}
}

static void watch_files(struct master *m)
{
	struct cv_arena *arena = cv_arena_new("watch", NULL, 0);

	master_watch_free(&m->watch);
	m->watch = master_watch_new(m->loop, tls_conf_files(m->mc, arena), on_files_changed, m);
	cv_arena_free(&arena);
}

/* ---- Reload ------------------------------------------------------------------------------------------------------------------ */

/* Problems go to the log, and to who asked for the reload. */
struct problems {
	master_problem_fn *fn;
	void *ctx;
};

static void log_problem(void *ctx, const struct cv_conf_problem *problem)
{
	struct problems *p = ctx;
	char text[MASTER_PROBLEM_MAX];

	cv_error(NULL, "settings: %s", master_problem_text(problem, text, sizeof(text)));
	if (p->fn != NULL)
		p->fn(p->ctx, problem);
}

/* The log is opened anew here; its descriptor goes to all, since most cannot open files any more. */
static void reopen_log(struct master *m)
{
	struct cv_node *node, *next;
	struct cv_err err = { 0 };

	if (cv_role_log_open(m->mc->core, "master", &err) < 0) {
		cv_error(NULL, "%s", err.text);
		return;
	}
	cv_list_foreach(&m->children, node, next) {
		struct child *child = cv_container(node, struct child, node);
		int fds[CV_LOG_OUTPUTS];
		unsigned count = cv_log_fds(fds);
		if (count > 0 && !child->gone && cv_ipc_send(child->control, CV_MSG_REOPEN_LOG, 0, CV_STR(""), fds, count) < 0)
			cv_warn(NULL, "%s (pid %ld): the log could not be handed over", child->ops->name, (long)child->pid);
	}
}

static void give_tokens(struct master *m)
{
	struct cv_node *node, *next;

	cv_list_foreach(&m->listeners, node, next) {
		struct listener *l = cv_container(node, struct listener, node);
		if (l->token == 0)
			l->token = ++m->next_token;
	}
}

/* Tell a child which listeners are new, changed or gone. */
static void send_listener_changes(struct master *m, struct child *child, uint64_t known)
{
	struct cv_node *node, *next;

	if (!master_child_listens(child))
		return;
	cv_list_foreach(&m->listeners, node, next) {
		const struct listener *l = cv_container(node, struct listener, node);
		if (l->old_token != 0)
			master_send(child, CV_MSG_LISTENER_GONE, l->old_token, CV_STR(""), -1);
		if (!l->wanted)
			master_send(child, CV_MSG_LISTENER_GONE, l->token, CV_STR(""), -1);
		else if (l->token > known && master_listener_for(child, l))
			master_send_listener(child, l);
	}
}

static bool same_names(const char *const *a, const char *const *b)
{
	size_t i = 0;

	while (a[i] != NULL && b[i] != NULL && strcmp(a[i], b[i]) == 0)
		i++;
	return a[i] == NULL && b[i] == NULL;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Settings that a process takes once, before it gives its rights up. */
static bool needs_another(const struct slot *slot, const struct master_conf *before, const struct master_conf *now)
{
	const struct cv_core_settings *a = before->core, *b = now->core;
	char kinds_a[4], kinds_b[4];

	cv_role_log_kinds(a, kinds_a);
	cv_role_log_kinds(b, kinds_b);
	return strcmp(kinds_a, kinds_b) != 0 || !same_text(a->syslog_facility, b->syslog_facility) ||
		!same_text(a->default_login_user, b->default_login_user) || !same_text(a->default_internal_user, b->default_internal_user) ||
		!same_text(a->default_internal_group, b->default_internal_group) || !same_text(a->instance_name, b->instance_name) ||
		!same_text(a->mail_plugin_dir, b->mail_plugin_dir) || a->seccomp != b->seccomp || a->landlock != b->landlock ||
		cv_service_vsz_limit(before->conf, slot->ops->name, before->arena) != cv_service_vsz_limit(now->conf, slot->ops->name, now->arena);
}

/* A confined process cannot open modules that it was not started with: another takes its place and the old one serves its connections to their end. */
static void replace(struct slot *slot)
{
	struct child *old = slot->child;
	struct cv_err err = { 0 };

	if (old != NULL) {
		old->state = CHILD_DRAINING;
		slot->child = NULL;
	}
	if (master_child_start(slot, &err) < 0) {
		master_reload_problem(slot->m, slot->ops->name, err.text);
		if (old != NULL) {
			old->state = CHILD_READY;
			slot->child = old;
		}
		return;
	}
	if (old != NULL)
		master_send_stop(old, true);
}

static void reload_slot(struct slot *slot, const struct master_conf *before, const char *const *modules_before, const char *const *modules_now,
	uint64_t known)
{
	struct child *child = slot->child;
	struct master *m = slot->m;
	struct cv_err err = { 0 };

	if (child == NULL)
		return;
	/* One that still starts was given the old settings. */
	if (child->state != CHILD_READY ||
		(slot->ops->role != CV_ROLE_SPAWNER && (!same_names(modules_before, modules_now) || needs_another(slot, before, m->mc)))) {
		replace(slot);
		return;
	}
	if (!same_names(modules_before, modules_now) || !same_text(before->core->mail_plugin_dir, m->mc->core->mail_plugin_dir))
		master_send_modules(child, m->mc);
	if (master_send_conf(child, m->mc, &err) < 0) {
		master_reload_problem(m, slot->ops->name, err.text);
		return;
	}
	child->reload_due++;
	send_listener_changes(m, child, known);
}

static struct slot *new_slot(struct master *m, const struct cv_role_ops *ops, uint32_t index)
{
	struct slot *slot = cv_new0(struct slot);

	slot->m = m;
	slot->ops = ops;
	slot->index = index;
	return slot;
}

static void set_front_count(struct master *m, size_t count)
{
	struct cv_err err = { 0 };

	while (m->fronts.count > count) {
		struct slot *slot = m->fronts.data[--m->fronts.count];
		if (slot->child != NULL) {
			slot->child->state = CHILD_DRAINING;
			master_send_stop(slot->child, true);
		}
		cv_timer_remove(&slot->restart);
		cv_free(slot);
	}
	while (m->fronts.count < count) {
		struct slot *slot = new_slot(m, &cv_front_role, (uint32_t)m->fronts.count);
		*cv_vec_push(&m->fronts) = slot;
		if (master_child_start(slot, &err) < 0)
			cv_error(NULL, "%s", err.text);
	}
}

static void forget_listeners(struct master *m)
{
	struct cv_node *node, *next;

	for (node = m->listeners.next; node != &m->listeners; node = next) {
		struct listener *l = cv_container(node, struct listener, node);
		next = node->next;
		l->old_token = 0;
		if (!l->wanted)
			master_listener_free(m, l);
	}
}

int master_reload(struct master *m, master_problem_fn *fn, void *ctx)
{
	struct cv_err err = { 0 };
	struct problems problems = { .fn = fn, .ctx = ctx };

	if (m->stopping || !m->ready)
		return 0;
	char notify[64];
	(void)snprintf(notify, sizeof(notify), "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)cv_time_mono_us());
	master_notify(notify);
	struct master_conf *now = master_conf_load(&m->opts, log_problem, &problems), *before = m->mc;
	if (now != NULL && strcmp(now->core->base_dir, before->core->base_dir) != 0) {
		log_problem(&problems, &(const struct cv_conf_problem){ .text = "base_dir can be changed by a restart only" });
		master_conf_free(&now);
	}
	struct new_tls tls = { .memfd = -1 };
	if (now != NULL && make_tls(m, now, false, &tls, &err) < 0) {
		log_problem(&problems, &(const struct cv_conf_problem){ .text = err.text });
		master_conf_free(&now);
	} else if (now != NULL && master_listen(m, now, &err) < 0) {
		/* Last, since nobody may find a listener open that is not served. */
		log_problem(&problems, &(const struct cv_conf_problem){ .text = err.text });
		drop_tls(&tls);
		master_conf_free(&now);
	}
	if (now == NULL) {
		cv_error(NULL, "the new settings are not taken, the old ones stay in force");
		master_notify("READY=1\nSTATUS=Serving with old settings: the new ones have errors");
		return -1;
	}
	m->mc = now;
	bool tls_differs = use_tls(m, &tls);
	uint64_t known = m->next_token;
	give_tokens(m);
	m->reloading = true;
	m->reload_problem[0] = '\0';
	cv_timer_set(m->stop_timer, START_LIMIT_MS);
	reload_slot(&m->auth, before, before->auth_modules, now->auth_modules, known);
	reload_slot(&m->spawner, before, before->worker_modules, now->worker_modules, known);
	for (size_t i = 0; i < CV_MIN(m->fronts.count, (size_t)now->front_count); i++)
		reload_slot(m->fronts.data[i], before, before->front_modules, now->front_modules, known);
	set_front_count(m, now->front_count);
	if (tls_differs)
		send_tls(m);
	forget_listeners(m);
	master_conf_free(&before);
	watch_files(m);
	master_admin_settings(m);
	reopen_log(m);
	master_progress(m);
	return 0;
}

/* ---- Signals ------------------------------------------------------------------------------------------------------------------- */

static void on_child(void *ctx, int signo, int pid, int uid)
{
	(void)signo;
	(void)pid;
	(void)uid;
	master_reap(ctx);
}

static void on_term(void *ctx, int signo, int pid, int uid)
{
	struct master *m = ctx;

	if (!m->stopping)
		cv_info(NULL, "stopping: %s from process %d of user %d", strsignal(signo), pid, uid);
	master_stop(m, false);
}

static void on_hup(void *ctx, int signo, int pid, int uid)
{
	(void)signo;
	(void)pid;
	(void)uid;
	(void)master_reload(ctx, NULL, NULL);
}

static void on_usr1(void *ctx, int signo, int pid, int uid)
{
	(void)signo;
	(void)pid;
	(void)uid;
	reopen_log(ctx);
	cv_info(NULL, "the log is reopened");
}

static void on_watchdog(void *ctx)
{
	struct master *m = ctx;

	master_notify("WATCHDOG=1");
	cv_timer_set(m->watchdog, m->watchdog_ms);
}

/* ---- Start ----------------------------------------------------------------------------------------------------------------------- */

static int start_all(struct master *m, struct cv_err *err)
{
	if (master_child_start(&m->auth, err) < 0 || master_child_start(&m->spawner, err) < 0)
		return -1;
	for (uint32_t i = 0; i < m->mc->front_count; i++) {
		struct slot *slot = new_slot(m, &cv_front_role, i);
		*cv_vec_push(&m->fronts) = slot;
		if (master_child_start(slot, err) < 0)
			return -1;
	}
	return 0;
}

static int set_up(struct master *m, struct cv_err *err)
{
	if (prepare_base_dir(m, err) < 0 || take_pid_file(m, err) < 0)
		return -1;
	master_inherit(m);
	if (master_admin_start(m, err) < 0)
		return -1;
	if (master_listen(m, m->mc, err) < 0 || take_tls(m, m->mc, false, err) < 0)
		return -1;
	give_tokens(m);
	return start_all(m, err);
}

static void tear_down(struct master *m)
{
	struct cv_node *node, *next;

	for (node = m->listeners.next; node != &m->listeners; node = next) {
		next = node->next;
		master_listener_free(m, cv_container(node, struct listener, node));
	}
	for (size_t i = 0; i < m->fronts.count; i++) {
		cv_timer_remove(&m->fronts.data[i]->restart);
		cv_free(m->fronts.data[i]);
	}
	cv_vec_free(&m->fronts);
	for (size_t i = 0; i < m->inherited_names.count; i++)
		cv_free(m->inherited_names.data[i]);
	cv_vec_free(&m->inherited_names);
	cv_vec_free(&m->inherited_fds);
	master_watch_free(&m->watch);
	master_admin_stop(m);
	if (m->tls_memfd >= 0)
		(void)close(m->tls_memfd);
	cv_buf_deinit(&m->tls_data);
	cv_timer_remove(&m->stop_timer);
	cv_timer_remove(&m->watchdog);
	if (m->pid_fd >= 0) {
		(void)unlink(cv_arena_printf(m->mc->arena, "%s/master.pid", m->mc->core->base_dir));
		(void)close(m->pid_fd);
	}
	cv_loop_free(&m->loop);
	master_conf_free(&m->mc);
}

int master_run(const struct master_opts *opts, struct master_conf *mc)
{
	static struct master master;
	struct master *m = &master;
	struct cv_err err = { 0 };

	m->opts = *opts;
	m->mc = mc;
	m->privileged = geteuid() == 0;
	m->pid_fd = m->tls_memfd = -1;
	cv_buf_init_wipe(&m->tls_data, 64 * 1024 * 1024);
	cv_list_init(&m->listeners);
	cv_list_init(&m->children);
	m->auth = (struct slot){ .m = m, .ops = &cv_auth_role };
	m->spawner = (struct slot){ .m = m, .ops = &cv_spawner_role };
	if (cv_role_log_open(mc->core, "master", &err) < 0) {
		if (m->opts.ready_fd < 0)
			(void)fprintf(stderr, "culverd: %s\n", err.text);
		tell_starter(m, 'F', err.text);
		return 1;
	}
	if (m->opts.ready_fd >= 0)
		leave_terminal(m);
	cv_title_set("%s master", mc->core->instance_name);
	(void)umask(077);
	(void)cv_limit_nofile();
	(void)signal(SIGPIPE, SIG_IGN);
	m->loop = cv_loop_new(CV_LOOP_EPOLL);
	m->started_ms = cv_loop_now_ms(m->loop);
	cv_signal_add(m->loop, SIGCHLD, on_child, m);
	cv_signal_add(m->loop, SIGTERM, on_term, m);
	cv_signal_add(m->loop, SIGINT, on_term, m);
	cv_signal_add(m->loop, SIGHUP, on_hup, m);
	cv_signal_add(m->loop, SIGUSR1, on_usr1, m);
	m->stop_timer = cv_timer_add(m->loop, START_LIMIT_MS, stop_late, m);
	m->watchdog_ms = master_notify_watchdog_ms();
	if (m->watchdog_ms > 0)
		m->watchdog = cv_timer_add(m->loop, 0, on_watchdog, m);

	if (set_up(m, &err) < 0) {
		master_fail(m, err.text);
	} else {
		watch_files(m);
	}
	if (!m->stopping || !cv_list_empty(&m->children))
		cv_loop_run(m->loop);
	if (m->status == 0)
		cv_info(NULL, "stopped");
	tell_starter(m, 'F', "it was stopped before it was ready");
	tear_down(m);
	return m->status;
}
