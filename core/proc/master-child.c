/* SPDX-License-Identifier: MIT
   The master's children: started by fork and exec of the server itself, given all they need, started again when they die. */
#include "core/proc/master.h"

#include "core/proc/messages.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 30000
#define START_RETRY_MS 1000 /* no descriptors, or no process: they may come back at any time */
/* One that lived this long starts again at once. */
#define STEADY_MS 60000
/* One whose channel is closed has this long to end. */
#define CHANNEL_GONE_MS 10000

/* Pairs of roles that speak to each other. */
static const struct {
	enum cv_role a, b;
} links[] = {
	{ CV_ROLE_FRONT, CV_ROLE_AUTH },
	{ CV_ROLE_FRONT, CV_ROLE_SPAWNER },
	{ CV_ROLE_SPAWNER, CV_ROLE_AUTH },
};

static bool linked(enum cv_role a, enum cv_role b)
{
	for (size_t i = 0; i < CV_COUNT_OF(links); i++) {
		if ((links[i].a == a && links[i].b == b) || (links[i].a == b && links[i].b == a))
			return true;
	}
	return false;
}

const char *master_child_name(const struct child *child)
{
	return child->ops->name;
}

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

void master_send(struct child *child, uint16_t type, uint64_t id, struct cv_str payload, int fd)
{
	if (child->gone)
		return;
	if (cv_ipc_send(child->control, type, id, payload, fd >= 0 ? &fd : NULL, fd >= 0 ? 1 : 0) < 0 && child->state != CHILD_STOPPING)
		cv_warn(NULL, "%s (pid %ld): message %u could not be sent", child->ops->name, (long)child->pid, type);
}

void master_send_listener(struct child *child, const struct listener *l)
{
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_put_str(&out, cv_str_c(l->name));
	cv_put_str(&out, cv_str_c(l->protocol));
	cv_put_u8(&out, l->tls);
	cv_put_u8(&out, l->is_unix);
	master_send(child, CV_MSG_LISTENER, l->token, cv_buf_str(&out), l->fd);
	cv_buf_deinit(&out);
}

/* Every role that is given some, since a listener that is gone may have been another's. */
bool master_child_listens(const struct child *child)
{
	return child->ops->listener_gone != NULL;
}

bool master_listener_for(const struct child *child, const struct listener *l)
{
	bool for_auth = strcmp(l->protocol, "auth-client") == 0;

	return child->ops->role == (for_auth ? CV_ROLE_AUTH : CV_ROLE_FRONT);
}

void master_send_stop(struct child *child, bool graceful)
{
	uint8_t octet = graceful;

	master_send(child, CV_MSG_STOP, 0, cv_str_mem(&octet, 1), -1);
}

static void send_peer(struct child *to, const struct child *peer, int fd)
{
	struct cv_buf out;

	cv_buf_init(&out, 16);
	cv_put_u8(&out, (uint8_t)peer->ops->role);
	cv_put_u32(&out, peer->index);
	master_send(to, CV_MSG_PEER, 0, cv_buf_str(&out), fd);
	cv_buf_deinit(&out);
}

static bool can_link(const struct child *a, const struct child *b)
{
	return b != a && !b->gone && b->state != CHILD_DRAINING && b->state != CHILD_STOPPING && linked(a->ops->role, b->ops->role);
}

static int link_up(struct child *a, struct child *b, struct cv_err *err)
{
	int pair[2];

	if (cv_ipc_pair_try(pair, err) < 0)
		return cv_err_context(err, "%s and %s cannot be connected", a->ops->name, b->ops->name);
	send_peer(a, b, pair[0]);
	send_peer(b, a, pair[1]);
	(void)close(pair[0]);
	(void)close(pair[1]);
	return 0;
}

static int connect_peers(struct child *child, struct cv_err *err)
{
	struct cv_node *node, *next;

	cv_list_foreach(&child->m->children, node, next) {
		struct child *other = cv_container(node, struct child, node);
		if (can_link(child, other) && link_up(child, other, err) < 0)
			return -1;
	}
	return 0;
}

static const char *const *modules_of(const struct master_conf *mc, enum cv_role role)
{
	return role == CV_ROLE_FRONT ? mc->front_modules : role == CV_ROLE_AUTH ? mc->auth_modules : mc->worker_modules;
}

void master_send_modules(struct child *child, const struct master_conf *mc)
{
	const char *const *names = modules_of(mc, child->ops->role);
	struct cv_buf out;
	uint16_t count = 0;

	while (names[count] != NULL)
		count++;
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_u16(&out, count);
	for (size_t i = 0; i < count; i++)
		cv_put_str(&out, cv_str_c(names[i]));
	master_send(child, CV_MSG_MODULES, 0, cv_buf_str(&out), -1);
	cv_buf_deinit(&out);
}

int master_send_conf(struct child *child, const struct master_conf *mc, struct cv_err *err)
{
	int fd = master_conf_memfd(mc, child->ops->role, err);

	if (fd < 0)
		return -1;
	master_send(child, CV_MSG_CONF, 0, CV_STR(""), fd);
	(void)close(fd);
	return 0;
}

/* ---- From children -------------------------------------------------------------------------------------------------- */

static int on_ready(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct child *child = ctx;

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	if (child->state == CHILD_STARTING)
		child->state = CHILD_READY;
	cv_debug(NULL, "%s (pid %ld) is ready after %llu ms", child->ops->name, (long)child->pid,
		(unsigned long long)(cv_loop_now_ms(child->m->loop) - child->started_ms));
	master_progress(child->m);
	return 0;
}

static int on_reloaded(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct child *child = ctx;
	uint8_t ok;
	struct cv_str text;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &ok) || !cv_take_str(&msg->payload, CV_ERR_TEXT_MAX, &text) || !cv_reader_end(&msg->payload))
		return -1;
	if (!ok)
		master_reload_problem(child->m, child->ops->name, cv_log_clean(text));
	if (child->reload_due > 0)
		child->reload_due--;
	master_progress(child->m);
	return 0;
}

static int on_status(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	(void)ipc;
	return master_on_status(ctx, msg);
}

/* Without its channels it is of no use: it is started again, and gets them then. */
static void give_up(struct child *child, const struct cv_err *err)
{
	cv_error(NULL, "%s (pid %ld) is started again: %s", child->ops->name, (long)child->pid, err->text);
	(void)kill(child->pid, SIGKILL);
}

static void relink(void *ctx)
{
	struct child *child = ctx;
	struct cv_node *node, *next;
	struct cv_err err = { 0 };
	unsigned roles = child->lost_roles;

	cv_timer_remove(&child->relink);
	child->lost_roles = 0;
	cv_list_foreach(&child->m->children, node, next) {
		struct child *other = cv_container(node, struct child, node);
		if ((roles & 1u << other->ops->role) == 0 || !can_link(child, other))
			continue;
		if (link_up(child, other, &err) < 0) { /* the master itself has no descriptors left */
			child->lost_roles |= 1u << other->ops->role;
			continue;
		}
		cv_warn(NULL, "%s (pid %ld) lost its channel to %s (pid %ld): they get another", child->ops->name, (long)child->pid,
			other->ops->name, (long)other->pid);
	}
	if (child->lost_roles == 0)
		return;
	cv_error(NULL, "%s; trying again", err.text);
	child->relink = cv_timer_add(child->m->loop, START_RETRY_MS, relink, child);
}

/* The channel between two that are well was cut, by one that had no descriptors left or did not like what it read. */
static int on_peer_lost(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct child *child = ctx;
	uint8_t role;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &role) || !cv_reader_end(&msg->payload))
		return -1;
	if (role < 8 * sizeof(child->lost_roles))
		child->lost_roles |= 1u << role;
	if (child->relink == NULL)
		relink(child);
	return 0;
}

static const struct cv_ipc_type child_table[] = {
	{ CV_MSG_READY, "READY", 0, 0, 0, 0, on_ready },
	{ CV_MSG_RELOADED, "RELOADED", 4096, 0, 0, 0, on_reloaded },
	{ CV_MSG_PEER_LOST, "PEER_LOST", 1, 0, 0, 0, on_peer_lost },
	{ CV_MSG_STATUS, "STATUS", CV_IPC_MAX_PAYLOAD, 0, 0, 0, on_status },
};

static void on_kill(void *ctx)
{
	struct child *child = ctx;

	cv_error(NULL, "%s (pid %ld) does not end: killed", child->ops->name, (long)child->pid);
	(void)kill(child->pid, SIGKILL);
}

/* It closed its channel, because it ends, and SIGCHLD tells more; or it broke the rules, and ends when it sees the channel closed, or else by force. */
static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct child *child = ctx;

	(void)ipc;
	child->gone = true;
	cv_ipc_free(&child->control);
	child->kill = cv_timer_add(child->m->loop, CHANNEL_GONE_MS, on_kill, child);
}

/* ---- Start -------------------------------------------------------------------------------------------------------------- */

/* In the child, between fork and exec: only async-signal-safe calls, and what they need was made before. */
CV_NORETURN static void exec_role(int fd, char *const *argv)
{
	cv_signal_unblock_all();
	if (fd == CV_CONTROL_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, CV_CONTROL_FD) < 0)
		_exit(71);
	cv_close_from(CV_CONTROL_FD + 1, NULL, 0);
	(void)execv("/proc/self/exe", argv);
	_exit(71);
}

static void hand_over(struct child *child)
{
	struct master *m = child->m;
	struct cv_node *node, *next;
	struct cv_err err = { 0 };

	master_send_modules(child, m->mc);
	if (master_send_conf(child, m->mc, &err) < 0) {
		give_up(child, &err);
		return;
	}
	cv_list_foreach(&m->listeners, node, next) {
		const struct listener *l = cv_container(node, struct listener, node);
		if (master_listener_for(child, l))
			master_send_listener(child, l);
	}
	if (child->ops->role == CV_ROLE_FRONT && m->tls_memfd >= 0)
		master_send(child, CV_MSG_TLS, 0, CV_STR(""), m->tls_memfd);
	if (connect_peers(child, &err) < 0) {
		give_up(child, &err);
		return;
	}
	master_send(child, CV_MSG_START, 0, CV_STR(""), -1);
}

int master_child_start(struct slot *slot, struct cv_err *err)
{
	struct master *m = slot->m;
	int pair[2];
	char role[64], index[32], exe[] = "culverd";

	(void)snprintf(role, sizeof(role), "--role=%s", slot->ops->name);
	(void)snprintf(index, sizeof(index), "--index=%u", slot->index);
	/* Space for the title: the kernel shows what stands in argv's memory. */
	char room[] = "                                                                                ";
	char *argv[] = { exe, role, index, room, NULL };

	if (cv_ipc_pair_try(pair, err) < 0)
		return cv_err_context(err, "starting %s", slot->ops->name);
	(void)fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		exec_role(pair[1], argv);
	(void)close(pair[1]);
	if (pid < 0) {
		int errnum = errno;
		(void)close(pair[0]);
		return cv_err_sys(err, errnum, "starting %s", slot->ops->name);
	}
	struct child *child = cv_new0(struct child);
	child->m = m;
	child->ops = slot->ops;
	child->index = slot->index;
	child->pid = pid;
	child->state = CHILD_STARTING;
	child->started_ms = cv_loop_now_ms(m->loop);
	child->control = cv_ipc_new(m->loop, pair[0], slot->ops->name, child_table, CV_COUNT_OF(child_table), on_closed, child);
	cv_list_append(&m->children, &child->node);
	slot->child = child;
	hand_over(child);
	return 0;
}

static void start_again(void *ctx)
{
	struct slot *slot = ctx;
	struct cv_err err = { 0 };

	cv_timer_remove(&slot->restart);
	if (slot->m->stopping || slot->child != NULL)
		return;
	if (master_child_start(slot, &err) < 0) {
		cv_error(NULL, "%s; trying again", err.text);
		slot->restart = cv_timer_add(slot->m->loop, START_RETRY_MS, start_again, slot);
	}
}

/* ---- End ------------------------------------------------------------------------------------------------------------------ */

static struct slot *slot_of(struct master *m, const struct child *child)
{
	if (m->auth.child == child)
		return &m->auth;
	if (m->spawner.child == child)
		return &m->spawner;
	for (size_t i = 0; i < m->fronts.count; i++) {
		if (m->fronts.data[i]->child == child)
			return m->fronts.data[i];
	}
	return NULL;
}

static void say_how(const struct child *child, int status, bool expected)
{
	if (WIFSIGNALED(status)) {
		cv_error(NULL, "%s (pid %ld) was killed by signal %d (%s)%s", child->ops->name, (long)child->pid, WTERMSIG(status),
			strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
	} else if (WEXITSTATUS(status) == 71) {
		cv_error(NULL, "%s (pid %ld) could not be started: exec of the server's own program failed", child->ops->name, (long)child->pid);
	} else if (WEXITSTATUS(status) != 0) {
		cv_error(NULL, "%s (pid %ld) ended with status %d", child->ops->name, (long)child->pid, WEXITSTATUS(status));
	} else if (!expected) {
		cv_error(NULL, "%s (pid %ld) ended without being asked to", child->ops->name, (long)child->pid);
	}
}

static void child_ended(struct child *child, int status)
{
	struct master *m = child->m;
	struct slot *slot = slot_of(m, child);
	bool expected = m->stopping || child->state == CHILD_STOPPING || child->state == CHILD_DRAINING;
	uint64_t lived = cv_loop_now_ms(m->loop) - child->started_ms;
	bool was_ready = child->state == CHILD_READY;

	say_how(child, status, expected);
	cv_list_remove(&child->node);
	master_admin_forget(m, child);
	cv_timer_remove(&child->kill);
	cv_timer_remove(&child->relink);
	cv_ipc_free(&child->control);
	cv_free(child);
	if (slot == NULL || m->stopping)
		return;
	slot->child = NULL;
	if (!m->ready) {
		char text[128];
		(void)snprintf(text, sizeof(text), "%s ended before it was ready", slot->ops->name);
		master_fail(m, text);
		return;
	}
	/* One death of a process that ran well costs nothing; those in a row wait longer each time. */
	if (was_ready && lived >= STEADY_MS)
		slot->backoff_ms = 0;
	uint64_t wait = slot->backoff_ms;
	slot->backoff_ms = wait == 0 ? BACKOFF_FIRST_MS : CV_MIN(wait * 2, (uint64_t)BACKOFF_MAX_MS);
	if (wait >= 1000)
		cv_warn(NULL, "%s is started again in %llu s", slot->ops->name, (unsigned long long)wait / 1000);
	cv_timer_remove(&slot->restart);
	slot->restart = cv_timer_add(m->loop, wait, start_again, slot);
}

void master_reap(struct master *m)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid <= 0)
			break;
		struct cv_node *node, *next;
		cv_list_foreach(&m->children, node, next) {
			struct child *child = cv_container(node, struct child, node);
			if (child->pid == pid) {
				child_ended(child, status);
				break;
			}
		}
	}
	master_progress(m);
}
