/* SPDX-License-Identifier: MIT
   The starter: keeps the rights auth gives up, and uses them for one thing, to start and kill helpers. */
#include <config.h>

#include "core/proc/auth-helper.h"

#include "core/proc/role.h"
#include <culver/log.h>
#include <culver/map.h>
#include <culver/reader.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STARTER_FD 3
#define HELPER_FD 3
#define CONF_MAX (64u * 1024 * 1024)

enum { STATE_NEW = 1, STATE_RUNNING = 2 };

struct child {
	struct cv_node node;
	pid_t pid;
};

struct starter {
	struct cv_loop *loop;
	struct cv_ipc *ipc;
	struct cv_buf modules; /* u16 count, str each */
	int conf_fd;           /* -1: none yet */
	struct cv_node children;
	size_t child_count;
};

/* What is sent back; auth that can't be told is gone, and then so are we. */
static void tell(struct starter *starter, enum cv_helper_msg type, uint64_t id, struct cv_buf *out, int fd)
{
	if (!cv_buf_ok(out) || cv_ipc_send(starter->ipc, (uint16_t)type, id, cv_buf_str(out), fd < 0 ? NULL : &fd, fd < 0 ? 0 : 1) < 0)
		cv_loop_stop(starter->loop);
	cv_buf_deinit(out);
}

static int on_modules(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct starter *starter = ctx;
	struct cv_str all = cv_reader_rest(&msg->payload), name;
	uint16_t count;

	if (!cv_take_u16(&msg->payload, &count))
		return -1;
	for (; count > 0; count--)
		if (!cv_take_str(&msg->payload, 255, &name) || name.len == 0 || cv_str_has_nul(name))
			return -1;
	if (!cv_reader_end(&msg->payload))
		return -1;
	/* Helpers open them in the directory that the settings name, and only what root (or the invoking user) put there. */
	cv_buf_clear(&starter->modules);
	cv_buf_append(&starter->modules, all);
	cv_ipc_set_state(ipc, STATE_RUNNING);
	return 0;
}

/* Settings that master made: sealed, and of a process with our uid. The network-facing auth has another one by now, and cannot make such a file. (In a run without
   root's rights all are one uid, and there is nothing to protect.) */
static int on_conf(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct starter *starter = ctx;
	struct cv_err err = { 0 };
	struct cv_str data;
	struct stat st;

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	if (fstat(msg->fds[0], &st) < 0 || st.st_uid != geteuid()) {
		cv_error(NULL, "settings for helpers refused: they were not made by the server's master");
		return -1;
	}
	if (cv_memfd_map(msg->fds[0], CONF_MAX, &data, &err) < 0) {
		cv_error(NULL, "settings for helpers refused: %s", err.text);
		return -1;
	}
	cv_memfd_unmap(data);
	if (starter->conf_fd >= 0)
		(void)close(starter->conf_fd);
	starter->conf_fd = msg->fds[0];
	msg->fds[0] = -1;
	return 0;
}

/* In the child: become culverd's helper with the channel as descriptor 3. */
static CV_NORETURN void become_helper(int fd)
{
	static char name[] = "culverd", role[] = "--role=auth-helper";
	char *argv[] = { name, role, NULL };
	const int keep[] = { HELPER_FD };

	if (fd == HELPER_FD)
		(void)fcntl(fd, F_SETFD, 0);
	else if (dup2(fd, HELPER_FD) < 0)
		_exit(71);
	cv_close_from(HELPER_FD, keep, CV_COUNT_OF(keep));
	cv_signal_unblock_all();
	/* A helper ends with its starter, also when that was killed. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)execv("/proc/self/exe", argv);
	_exit(71);
}

/* The first message on the helper's channel: auth gets its end afterwards, so that it can't send another one first. */
static int send_setup(struct starter *starter, int fd, enum cv_helper_kind kind)
{
	struct cv_ipc *ipc = cv_ipc_new(NULL, fd, "helper", NULL, 0, NULL, NULL);
	struct cv_buf out;
	int ret;

	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_u8(&out, (uint8_t)kind);
	cv_buf_append(&out, cv_buf_str(&starter->modules));
	ret = cv_buf_ok(&out) ? cv_ipc_send(ipc, CV_HELPER_SETUP, 0, cv_buf_str(&out), &starter->conf_fd, 1) : -1;
	cv_buf_deinit(&out);
	cv_ipc_free(&ipc);
	return ret < 0 ? -1 : 0;
}

static int start_helper(struct starter *starter, enum cv_helper_kind kind, pid_t *pid_r, int *fd_r, struct cv_err *err)
{
	struct child *child;
	int ends[2], copy;
	pid_t pid;

	if (starter->conf_fd < 0)
		return cv_err_set(err, CV_ERR_INTERNAL, "no settings yet");
	if (starter->child_count >= CV_HELPERS_MAX)
		return cv_err_set(err, CV_ERR_LIMIT, "there are %zu helpers already", starter->child_count);
	if (cv_ipc_pair_try(ends, err) < 0)
		return -1;
	copy = fcntl(ends[0], F_DUPFD_CLOEXEC, HELPER_FD + 1);
	if (copy < 0 || send_setup(starter, copy, kind) < 0) {
		(void)close(ends[0]);
		(void)close(ends[1]);
		return cv_err_set(err, CV_ERR_TEMP, "the helper's channel does not work");
	}
	pid = fork();
	if (pid == 0)
		become_helper(ends[1]);
	(void)close(ends[1]);
	if (pid < 0) {
		(void)close(ends[0]);
		return cv_err_sys(err, errno, "fork");
	}
	child = cv_new0(struct child);
	child->pid = pid;
	cv_list_append(&starter->children, &child->node);
	starter->child_count++;
	*pid_r = pid;
	*fd_r = ends[0];
	return 0;
}

static int on_start(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct starter *starter = ctx;
	struct cv_err err = { 0 };
	struct cv_buf out;
	uint8_t kind;
	int fd = -1;
	pid_t pid = 0;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &kind) || (kind != CV_HELPER_PLAIN && kind != CV_HELPER_ROOT) || !cv_reader_end(&msg->payload))
		return -1;
	cv_buf_init(&out, 1024);
	if (start_helper(starter, (enum cv_helper_kind)kind, &pid, &fd, &err) < 0) {
		cv_put_str(&out, cv_str_c(err.text));
		tell(starter, CV_HELPER_FAILED, msg->id, &out, -1);
		return 0;
	}
	cv_put_u32(&out, (uint32_t)pid);
	tell(starter, CV_HELPER_STARTED, msg->id, &out, fd);
	(void)close(fd);
	return 0;
}

static struct child *find_child(struct starter *starter, pid_t pid)
{
	struct cv_node *node, *next;

	cv_list_foreach(&starter->children, node, next) {
		struct child *child = cv_container(node, struct child, node);

		if (child->pid == pid)
			return child;
	}
	return NULL;
}

/* Only of helpers that have not been waited for, so the number is still theirs. */
static int on_kill(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct starter *starter = ctx;
	struct child *child;
	uint32_t pid;

	(void)ipc;
	if (!cv_take_u32(&msg->payload, &pid) || !cv_reader_end(&msg->payload))
		return -1;
	child = find_child(starter, (pid_t)pid);
	if (child != NULL)
		(void)kill(child->pid, SIGKILL);
	return 0;
}

static void on_child(void *ctx, int signo, int sender, int uid)
{
	struct starter *starter = ctx;
	int status;
	pid_t pid;

	(void)signo;
	(void)sender;
	(void)uid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *child = find_child(starter, pid);
		struct cv_buf out;

		if (child == NULL)
			continue;
		cv_list_remove(&child->node);
		cv_free(child);
		starter->child_count--;
		cv_buf_init(&out, 64);
		cv_put_u32(&out, (uint32_t)pid);
		cv_put_u32(&out, (uint32_t)status);
		tell(starter, CV_HELPER_EXITED, 0, &out, -1);
	}
}

static void send_log(void *ctx, enum cv_log_level level, struct cv_str line)
{
	struct starter *starter = ctx;
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_put_u8(&out, (uint8_t)level);
	cv_put_str(&out, cv_str_sub(line, 0, 4000));
	if (starter->ipc != NULL)
		(void)!cv_ipc_send(starter->ipc, CV_HELPER_LOG, 0, cv_buf_str(&out), NULL, 0);
	cv_buf_deinit(&out);
}

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct starter *starter = ctx;

	(void)ipc;
	cv_loop_stop(starter->loop);
}

/* Ended by the end of auth, not by signals to the process group. */
static void on_term(void *ctx, int signo, int pid, int uid)
{
	(void)ctx;
	(void)signo;
	(void)pid;
	(void)uid;
}

static const struct cv_ipc_type table[] = {
	{ CV_HELPER_MODULES, "MODULES", 32768, 0, 0, STATE_NEW | STATE_RUNNING, on_modules },
	{ CV_HELPER_CONF, "CONF", 0, 1, 1, STATE_RUNNING, on_conf },
	{ CV_HELPER_START, "START", 1, 0, 0, STATE_RUNNING, on_start },
	{ CV_HELPER_KILL, "KILL", 4, 0, 0, STATE_RUNNING, on_kill },
};

int cv_auth_starter_main(void)
{
	struct starter starter = { .conf_fd = -1 };
	struct cv_node *node, *next;

	(void)cv_log_open(&(struct cv_log_config){ .target = CV_LOG_CALLBACK, .role = "auth-starter", .callback = send_log, .callback_ctx = &starter },
		NULL);
	cv_title_set("culver auth-starter");
	cv_list_init(&starter.children);
	cv_buf_init(&starter.modules, 32768);
	starter.loop = cv_loop_new(CV_LOOP_EPOLL);
	cv_signal_add(starter.loop, SIGCHLD, on_child, &starter);
	cv_signal_add(starter.loop, SIGTERM, on_term, &starter);
	cv_signal_add(starter.loop, SIGINT, on_term, &starter);
	starter.ipc = cv_ipc_new(starter.loop, STARTER_FD, "auth", table, CV_COUNT_OF(table), on_closed, &starter);
	cv_ipc_set_state(starter.ipc, STATE_NEW);
	cv_loop_run(starter.loop);
	cv_list_foreach(&starter.children, node, next) {
		struct child *child = cv_container(node, struct child, node);

		(void)kill(child->pid, SIGKILL);
		cv_list_remove(&child->node);
		cv_free(child);
	}
	(void)cv_log_open(&(struct cv_log_config){ .target = CV_LOG_STDERR, .role = "auth-starter" }, NULL);
	cv_ipc_free(&starter.ipc);
	cv_buf_deinit(&starter.modules);
	if (starter.conf_fd >= 0)
		(void)close(starter.conf_fd);
	cv_loop_free(&starter.loop);
	return 0;
}
