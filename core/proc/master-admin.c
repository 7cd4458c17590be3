/* SPDX-License-Identifier: MIT
   The admin socket: takes administrators' requests, checks who asks, and passes the connection to the role that answers; and the master's own commands. */
#include "core/proc/master.h"

#include "core/proc/messages.h"
#include <culver/admin.h>

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_LIMIT_MS 10000
#define STATUS_LIMIT_MS 2000
#define CONNECTIONS_MAX 64
#define HELD_MS 5000
#define HELD_AGAIN_MS 20
#define ACCEPT_PAUSE_MS 500 /* when no descriptors are left */

/* A connection whose request is yet to come. */
struct conn {
	struct cv_node node;
	struct master_admin *ma;
	struct cv_ipc *ipc;
	struct cv_timer *limit;
	char peer[64];
};

/* A request for a process that is not ready yet: the server was started just now, or the process was. */
struct held {
	struct cv_node node;
	struct master_admin *ma;
	const struct slot *slot;
	struct cv_timer *again;
	uint64_t until_ms;
	struct cv_buf message; /* as the process gets it */
	int fd;
};

/* `culver status` waiting for the figures of children. */
struct status_query {
	struct cv_node node;
	struct master_admin *ma;
	struct cv_admin *admin;
	uint64_t id;
	CV_VEC(struct child *) waiting;
	struct cv_timer *limit;
};

struct master_admin {
	struct master *m;
	struct cv_registry *registry;
	char *path;
	int fd;
	struct cv_io *io;
	struct cv_timer *pause;
	struct cv_node conns, held, queries;
	size_t conn_count; /* these and those held */
	uint64_t next_id;
	struct cv_admin *reload; /* waits for the reload's end */
};

/* ---- status ---------------------------------------------------------------------------------------------------------------- */

static void query_free(struct status_query *q)
{
	cv_list_remove(&q->node);
	cv_timer_remove(&q->limit);
	cv_vec_free(&q->waiting);
	cv_free(q);
}

static void put_child(struct cv_admin *admin, const struct child *child, const struct cv_str *figures, size_t count)
{
	char name[64];
	uint64_t now = cv_loop_now_ms(child->m->loop);

	if (child->ops->role == CV_ROLE_FRONT)
		(void)snprintf(name, sizeof(name), "%s %u%s", child->ops->name, child->index, child->state == CHILD_DRAINING ? " (old)" : "");
	else
		(void)snprintf(name, sizeof(name), "%s%s", child->ops->name, child->state == CHILD_DRAINING ? " (old)" : "");
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "process", cv_str_c(name));
	cv_admin_put_u64(admin, "pid", (uint64_t)child->pid);
	cv_admin_put_u64(admin, "uptime", (now - child->started_ms) / 1000);
	cv_admin_put_list(admin, "figures", figures, count);
	cv_admin_row_end(admin);
}

static void query_forget(struct status_query *q, const struct child *child)
{
	for (size_t i = 0; i < q->waiting.count; i++) {
		if (q->waiting.data[i] == child) {
			q->waiting.data[i] = q->waiting.data[--q->waiting.count];
			break;
		}
	}
	if (q->waiting.count == 0) {
		struct cv_admin *admin = q->admin;
		query_free(q);
		cv_admin_done(admin, NULL);
	}
}

static struct status_query *query_find(struct master_admin *ma, uint64_t id)
{
	struct cv_node *node, *next;

	cv_list_foreach(&ma->queries, node, next) {
		struct status_query *q = cv_container(node, struct status_query, node);
		if (q->id == id)
			return q;
	}
	return NULL;
}

int master_on_status(struct child *child, struct cv_ipc_msg *msg)
{
	struct cv_str figures[64];
	char text[64][96];
	uint16_t count;
	size_t n = 0;

	if (!cv_take_u16(&msg->payload, &count))
		return -1;
	for (uint16_t i = 0; i < count; i++) {
		struct cv_str key, value;
		if (!cv_take_str(&msg->payload, 255, &key) || !cv_take_str(&msg->payload, 255, &value))
			return -1;
		if (n == CV_COUNT_OF(figures))
			continue;
		(void)snprintf(text[n], sizeof(text[n]), "%.*s=%.*s", CV_STR_ARG(key), CV_STR_ARG(value));
		figures[n] = cv_str_c(text[n]);
		n++;
	}
	if (!cv_reader_end(&msg->payload))
		return -1;
	struct status_query *q = child->m->admin != NULL ? query_find(child->m->admin, msg->id) : NULL;
	bool asked = false;
	for (size_t i = 0; q != NULL && i < q->waiting.count; i++)
		asked |= q->waiting.data[i] == child;
	if (asked) {
		put_child(q->admin, child, figures, n);
		query_forget(q, child);
	}
	return 0;
}

/* child is about to be freed. */
void master_admin_forget(struct master *m, const struct child *child)
{
	struct cv_node *node, *next;

	if (m->admin == NULL)
		return;
	for (node = m->admin->queries.next; node != &m->admin->queries; node = next) {
		next = node->next;
		query_forget(cv_container(node, struct status_query, node), child);
	}
}

static void on_status_limit(void *ctx)
{
	struct status_query *q = ctx;
	struct cv_str late = CV_STR("does not answer");
	struct cv_admin *admin = q->admin;

	for (size_t i = 0; i < q->waiting.count; i++)
		put_child(admin, q->waiting.data[i], &late, 1);
	query_free(q);
	cv_admin_done(admin, NULL);
}

static int run_status(struct cv_admin *admin, struct cv_err *err)
{
	struct master *m = cv_admin_process(admin);
	struct status_query *q;
	struct cv_node *node, *next;
	struct cv_str version = CV_STR("version=" PACKAGE_VERSION);

	(void)err;
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "process", CV_STR("master"));
	cv_admin_put_u64(admin, "pid", (uint64_t)getpid());
	cv_admin_put_u64(admin, "uptime", (cv_loop_now_ms(m->loop) - m->started_ms) / 1000);
	cv_admin_put_list(admin, "figures", &version, 1);
	cv_admin_row_end(admin);
	q = cv_new0(struct status_query);
	q->ma = m->admin;
	q->admin = admin;
	q->id = ++m->admin->next_id;
	cv_list_append(&m->admin->queries, &q->node);
	q->limit = cv_timer_add(m->loop, STATUS_LIMIT_MS, on_status_limit, q);
	cv_list_foreach(&m->children, node, next) {
		struct child *child = cv_container(node, struct child, node);
		if (child->state == CHILD_STARTING || child->gone)
			continue;
		*cv_vec_push(&q->waiting) = child;
		master_send(child, CV_MSG_ASK_STATUS, q->id, CV_STR(""), -1);
	}
	if (q->waiting.count == 0) {
		query_free(q);
		return 1;
	}
	return 0;
}

/* ---- reload, stop -------------------------------------------------------------------------------------------------------------- */

struct complaints {
	struct cv_admin *admin;
};

static void complain(void *ctx, const struct cv_conf_problem *problem)
{
	struct complaints *c = ctx;
	char text[MASTER_PROBLEM_MAX];
	struct cv_err err = { 0 };

	(void)cv_err_set_public(&err, CV_ERR_INVALID, "%s", master_problem_text(problem, text, sizeof(text)));
	cv_admin_complain(c->admin, &err);
}

static int run_reload(struct cv_admin *admin, struct cv_err *err)
{
	struct master *m = cv_admin_process(admin);
	struct complaints c = { .admin = admin };

	if (m->admin->reload != NULL)
		return cv_err_set_public(err, CV_ERR_INUSE, "a reload is under way");
	cv_info(NULL, "reloading settings on the word of %s", cv_admin_peer(admin));
	cv_admin_set_status(admin, 78); /* EX_CONFIG */
	if (master_reload(m, complain, &c) < 0)
		return cv_err_set_public(err, CV_ERR_INVALID, "the new settings are not taken, the old ones stay in force");
	if (!m->reloading)
		return 1;
	m->admin->reload = admin;
	return 0;
}

void master_admin_reloaded(struct master *m, const char *problem)
{
	struct cv_err err = { 0 };

	if (m->admin == NULL || m->admin->reload == NULL)
		return;
	struct cv_admin *admin = m->admin->reload;
	m->admin->reload = NULL;
	if (problem != NULL)
		(void)cv_err_set_public(&err, CV_ERR_INVALID, "not all parts took the new settings: %s", problem);
	cv_admin_done(admin, problem != NULL ? &err : NULL);
}

static int run_stop(struct cv_admin *admin, struct cv_err *err)
{
	struct master *m = cv_admin_process(admin);

	(void)err;
	cv_info(NULL, "stopping on the word of %s", cv_admin_peer(admin));
	master_stop(m, cv_admin_flag(admin, "now"));
	return 1;
}

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	static struct cv_admin_command status = { .run = run_status }, reload = { .run = run_reload }, stop = { .run = run_stop };

	(void)role;
	status.spec = cv_admin_core_spec("status");
	reload.spec = cv_admin_core_spec("reload");
	stop.spec = cv_admin_core_spec("stop");
	if (cv_provide_admin(reg, &status, err) < 0 || cv_provide_admin(reg, &reload, err) < 0 || cv_provide_admin(reg, &stop, err) < 0)
		return -1;
	return 0;
}

static const struct cv_module own_module = {
	CV_MODULE_ABI,
	.name = "master-admin",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_MASTER,
	.load = load,
};

/* ---- Requests ----------------------------------------------------------------------------------------------------------------------- */

static void conn_free(struct conn *conn)
{
	conn->ma->conn_count--;
	cv_list_remove(&conn->node);
	cv_ipc_free(&conn->ipc);
	cv_timer_remove(&conn->limit);
	cv_free(conn);
}

static bool is_ready(const struct slot *slot)
{
	return slot->child != NULL && slot->child->state == CHILD_READY && !slot->child->gone;
}

static void held_free(struct held *held)
{
	held->ma->conn_count--;
	cv_list_remove(&held->node);
	cv_timer_remove(&held->again);
	cv_buf_deinit(&held->message);
	if (held->fd >= 0)
		(void)close(held->fd);
	cv_free(held);
}

static void held_refuse(struct held *held)
{
	struct cv_err err = { 0 };
	int fd = held->fd;

	if (held->ma->m->stopping)
		(void)cv_err_set_public(&err, CV_ERR_UNAVAILABLE, "the server is shutting down");
	else
		(void)cv_err_set_public(&err, CV_ERR_UNAVAILABLE, "the %s process is not there now", held->slot->ops->name);
	held->fd = -1;
	held_free(held);
	cv_admin_refuse(fd, &err);
}

static void on_again(void *ctx)
{
	struct held *held = ctx;
	struct master *m = held->ma->m;

	if (is_ready(held->slot) && !m->stopping) {
		master_send(held->slot->child, CV_MSG_ADMIN, 0, cv_buf_str(&held->message), held->fd);
		held_free(held);
	} else if (m->stopping || cv_loop_now_ms(m->loop) >= held->until_ms) {
		held_refuse(held);
	} else {
		cv_timer_set(held->again, HELD_AGAIN_MS);
	}
}

/* A command right after the start finds the processes a moment later. */
static void pass_on(struct master *m, const struct slot *slot, const char *peer, struct cv_str request, int fd)
{
	struct held *held = cv_new0(struct held);
	struct cv_err err = { 0 };

	held->ma = m->admin;
	held->ma->conn_count++;
	cv_list_append(&held->ma->held, &held->node);
	held->slot = slot;
	held->fd = fd;
	held->until_ms = cv_loop_now_ms(m->loop) + HELD_MS;
	held->again = cv_timer_add_stopped(m->loop, on_again, held);
	cv_buf_init_wipe(&held->message, CV_IPC_MAX_PAYLOAD);
	cv_put_str(&held->message, cv_str_c(peer));
	cv_buf_append(&held->message, request);
	if (cv_buf_ok(&held->message)) {
		on_again(held);
		return;
	}
	(void)cv_err_set_public(&err, CV_ERR_LIMIT, "the request is too long");
	held->fd = -1;
	held_free(held);
	cv_admin_refuse(fd, &err);
}

static void serve(struct master *m, const struct cv_admin_request *request, const char *peer, int fd)
{
	struct cv_admin_serve_config config = { .registry = m->admin->registry, .loop = m->loop, .fd = fd, .peer = peer,
		.role = CV_ROLE_MASTER, .process = m };

	cv_admin_serve(&config, request->command, request->args, request->arg_count);
}

static int on_request(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct conn *conn = ctx;
	struct master *m = conn->ma->m;
	struct cv_str octets = cv_reader_rest(&msg->payload);
	struct cv_arena *arena = cv_arena_new("admin request", NULL, CV_ARENA_WIPE);
	struct cv_admin_request request;
	struct cv_err err = { 0 };
	char peer[sizeof(conn->peer)];

	/* The connection goes on, as a descriptor, to who answers. */
	int fd = fcntl(cv_ipc_fd(ipc), F_DUPFD_CLOEXEC, 0);
	memcpy(peer, conn->peer, sizeof(peer));
	conn_free(conn);
	if (fd < 0) {
		cv_arena_free(&arena);
		return 0;
	}
	if (cv_admin_request_parse(&msg->payload, arena, &request, &err) < 0) {
		cv_admin_refuse(fd, &err);
	} else if (m->stopping) {
		(void)cv_err_set_public(&err, CV_ERR_UNAVAILABLE, "the server is shutting down");
		cv_admin_refuse(fd, &err);
	} else if (request.role == CV_ROLE_MASTER) {
		serve(m, &request, peer, fd);
	} else if (request.role == CV_ROLE_AUTH) {
		pass_on(m, &m->auth, peer, octets, fd);
	} else if (request.role == CV_ROLE_SPAWNER || request.role == CV_ROLE_WORKER) {
		pass_on(m, &m->spawner, peer, octets, fd);
	} else {
		(void)cv_err_set_public(&err, CV_ERR_UNSUPPORTED, "no process of that kind takes commands");
		cv_admin_refuse(fd, &err);
	}
	cv_arena_free(&arena);
	return 0;
}

static const struct cv_ipc_type request_table[] = {
	{ CV_ADMIN_REQUEST, "REQUEST", CV_IPC_MAX_PAYLOAD - 512, 0, 0, 0, on_request },
};

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	(void)ipc;
	conn_free(ctx);
}

static void on_late(void *ctx)
{
	conn_free(ctx);
}

static void on_accept(void *ctx, unsigned events);

static void on_paused(void *ctx)
{
	struct master_admin *ma = ctx;

	ma->io = cv_io_add(ma->m->loop, ma->fd, CV_IO_READ, on_accept, ma);
}

static void on_accept(void *ctx, unsigned events)
{
	struct master_admin *ma = ctx;
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	struct cv_err err = { 0 };

	(void)events;
	int fd = accept4(ma->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* The connection stays there to be taken: asking again at once would be a spin. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			cv_io_remove(&ma->io);
			cv_timer_set(ma->pause, ACCEPT_PAUSE_MS);
		}
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || (cred.uid != 0 && cred.uid != geteuid())) {
		(void)cv_err_set_public(&err, CV_ERR_PERM, "only root and the user who runs the server may do this");
		cv_admin_refuse(fd, &err);
		return;
	}
	if (ma->conn_count >= CONNECTIONS_MAX) {
		(void)cv_err_set_public(&err, CV_ERR_LIMIT, "too many administrators' connections at a time");
		cv_admin_refuse(fd, &err);
		return;
	}
	struct conn *conn = cv_new0(struct conn);
	conn->ma = ma;
	ma->conn_count++;
	(void)snprintf(conn->peer, sizeof(conn->peer), "uid %u (pid %ld)", (unsigned)cred.uid, (long)cred.pid);
	cv_list_append(&ma->conns, &conn->node);
	conn->limit = cv_timer_add(ma->m->loop, REQUEST_LIMIT_MS, on_late, conn);
	conn->ipc = cv_ipc_new(ma->m->loop, fd, "administrator", request_table, CV_COUNT_OF(request_table), on_closed, conn);
}

/* ---- Begin and end -------------------------------------------------------------------------------------------------------------------- */

static int load_registry(struct master_admin *ma, struct cv_err *err)
{
	struct master *m = ma->m;
	const char *const *names;
	struct cv_registry *reg = cv_registry_new();

	cv_registry_set_conf(reg, m->mc->conf);
	int result = cv_module_add_static(reg, &own_module, err);
	if (result == 0)
		result = cv_server_modules(m->mc->registry, m->mc->conf, CV_ROLE_MASTER, m->mc->arena, &names, err);
	for (size_t i = 0; result == 0 && names[i] != NULL; i++)
		result = cv_module_open(reg, m->mc->core->mail_plugin_dir, names[i], err);
	if (result == 0)
		result = cv_modules_load(reg, CV_ROLE_MASTER, err);
	if (result < 0) {
		cv_registry_free(&reg);
		return -1;
	}
	cv_registry_free(&ma->registry);
	ma->registry = reg;
	return 0;
}

void master_admin_settings(struct master *m)
{
	struct cv_err err = { 0 };

	/* A command that runs has the old one in its hands. */
	if (!cv_list_empty(&m->admin->queries) || m->admin->reload != NULL) {
		cv_registry_set_conf(m->admin->registry, m->mc->conf);
		return;
	}
	if (load_registry(m->admin, &err) < 0)
		cv_error(NULL, "administrators' commands: %s", err.text);
}

int master_admin_start(struct master *m, struct cv_err *err)
{
	struct master_admin *ma = cv_new0(struct master_admin);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	ma->m = m;
	ma->fd = -1;
	cv_list_init(&ma->conns);
	cv_list_init(&ma->held);
	cv_list_init(&ma->queries);
	m->admin = ma;
	char *path = cv_arena_printf(m->mc->arena, "%s/" CV_ADMIN_SOCKET, m->mc->core->base_dir);
	if (load_registry(ma, err) < 0)
		return -1;
	if (strlen(path) >= sizeof(addr.sun_path))
		return cv_err_set(err, CV_ERR_LIMIT, "base_dir: the path is too long for sockets in it (at most %zu octets)",
			sizeof(addr.sun_path) - sizeof(CV_ADMIN_SOCKET) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	/* The pid file says that no other server uses this directory. */
	(void)unlink(path);
	ma->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t before = umask(0177);
	int result = ma->fd < 0 ? -1 : bind(ma->fd, (const struct sockaddr *)(const void *)&addr, sizeof(addr));
	int errnum = errno;
	(void)umask(before);
	if (result < 0)
		return cv_err_sys(err, errnum, "%s", path);
	ma->path = cv_strdup(path);
	if (listen(ma->fd, 16) < 0)
		return cv_err_sys(err, errno, "%s", path);
	ma->pause = cv_timer_add_stopped(m->loop, on_paused, ma);
	ma->io = cv_io_add(m->loop, ma->fd, CV_IO_READ, on_accept, ma);
	return 0;
}

void master_admin_stop(struct master *m)
{
	struct master_admin *ma = m->admin;
	struct cv_node *node, *next;

	if (ma == NULL)
		return;
	master_admin_reloaded(m, m->reloading ? "the server stops" : NULL);
	for (node = ma->conns.next; node != &ma->conns; node = next) {
		next = node->next;
		conn_free(cv_container(node, struct conn, node));
	}
	for (node = ma->held.next; node != &ma->held; node = next) {
		next = node->next;
		held_refuse(cv_container(node, struct held, node));
	}
	for (node = ma->queries.next; node != &ma->queries; node = next) {
		struct status_query *q = cv_container(node, struct status_query, node);
		struct cv_admin *admin = q->admin;
		next = node->next;
		query_free(q);
		cv_admin_done(admin, NULL);
	}
	cv_io_remove(&ma->io);
	cv_timer_remove(&ma->pause);
	if (ma->fd >= 0)
		(void)close(ma->fd);
	if (ma->path != NULL)
		(void)unlink(ma->path);
	cv_free(ma->path);
	cv_registry_free(&ma->registry);
	cv_free(ma);
	m->admin = NULL;
}
