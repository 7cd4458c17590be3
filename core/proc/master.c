/* SPDX-License-Identifier: MIT
   The master: opens listeners, starts the other processes, watches over them and stops in order. */
#include "core/proc/master.h"

#include "core/proc/messages.h"

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* After SIGTERM: how long children may take to say goodbye, and then to end. */
#define STOP_GRACE_MS 10000
#define STOP_KILL_MS 5000

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

static void stop_auth(struct master *m);

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
	if (m->ready && all_ready(m))
		master_reload_progress(m);
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
		if (!m->ready)
			master_fail(m, "some process did not become ready in time");
		else
			master_reload_late(m);
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
	master_reopen_log(ctx);
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
		struct slot *slot = master_new_slot(m, &cv_front_role, i);
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
	if (master_listen(m, m->mc, err) < 0 || master_tls_take(m, m->mc, false, err) < 0)
		return -1;
	master_give_tokens(m);
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
	cv_buf_init_wipe(&m->tls_data, TLS_CONF_MAX);
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
	m->stop_timer = cv_timer_add(m->loop, MASTER_START_LIMIT_MS, stop_late, m);
	m->watchdog_ms = master_notify_watchdog_ms();
	if (m->watchdog_ms > 0)
		m->watchdog = cv_timer_add(m->loop, 0, on_watchdog, m);

	if (set_up(m, &err) < 0) {
		master_fail(m, err.text);
	} else {
		master_tls_watch(m);
	}
	if (!m->stopping || !cv_list_empty(&m->children))
		cv_loop_run(m->loop);
	if (m->status == 0)
		cv_info(NULL, "stopped");
	tell_starter(m, 'F', "it was stopped before it was ready");
	tear_down(m);
	return m->status;
}
