/* SPDX-License-Identifier: MIT
   The harness of front, auth and spawner: control channel, settings, log, modules. */
#include "core/proc/role.h"

#include "core/proc/messages.h"
#include <culver/admin.h>
#include <culver/log.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CONF_MAX (64u * 1024 * 1024)
/* A process that died is missed by its peers before master has reaped it and started another, which brings channels of its own. */
#define RELINK_MS 500

/* States of the control channel: what may come when. */
enum {
	STATE_NEW = 1,      /* MODULES, then CONF */
	STATE_SET_UP = 2,   /* listeners, peers, TLS; then START */
	STATE_RUNNING = 4
};

/* ---- Settings in force ----------------------------------------------------------------------------------- */

struct cv_gen *cv_gen_ref(struct cv_gen *gen)
{
	gen->refs++;
	return gen;
}

void cv_gen_unref(struct cv_gen **gen_p)
{
	struct cv_gen *gen = *gen_p;

	*gen_p = NULL;
	if (gen == NULL || --gen->refs > 0)
		return;
	if (gen->memfd >= 0)
		(void)close(gen->memfd);
	cv_arena_free(&gen->arena);
	cv_free(gen);
}

static struct cv_gen *gen_new(int memfd, struct cv_err *err)
{
	struct cv_gen *gen = cv_new0(struct cv_gen);
	struct cv_str data;
	const void *set = NULL;

	gen->refs = 1;
	gen->memfd = fcntl(memfd, F_DUPFD_CLOEXEC, 0);
	gen->arena = cv_arena_new("settings", NULL, CV_ARENA_WIPE);
	if (cv_memfd_map(memfd, CONF_MAX, &data, err) < 0) {
		cv_gen_unref(&gen);
		return NULL;
	}
	int result = cv_conf_deserialize(data, gen->arena, &gen->conf, err);
	cv_memfd_unmap(data);
	if (result == 0)
		result = cv_conf_get(gen->conf, &cv_core_settings_table, NULL, gen->arena, &set, err);
	if (result < 0) {
		cv_gen_unref(&gen);
		return NULL;
	}
	cv_assert(set != NULL);
	gen->core = set;
	return gen;
}

/* ---- The log ---------------------------------------------------------------------------------------------- */

/* What a value of log_path, info_log_path and debug_log_path means; false: nothing. */
static bool log_place(const char *path, struct cv_log_place *place)
{
	*place = (struct cv_log_place){ .target = CV_LOG_FILE, .path = path };
	if (strcmp(path, "syslog") == 0)
		*place = (struct cv_log_place){ .target = CV_LOG_SYSLOG };
	else if (strcmp(path, "journal") == 0)
		*place = (struct cv_log_place){ .target = CV_LOG_JOURNAL };
	else if (strcmp(path, "stderr") == 0 || strcmp(path, "/dev/stderr") == 0)
		*place = (struct cv_log_place){ .target = CV_LOG_STDERR };
	else
		return path[0] == '/';
	return true;
}

static const char *debug_words(const struct cv_core_settings *core, struct cv_buf *out)
{
	for (size_t i = 0; core->log_debug != NULL && core->log_debug[i] != NULL; i++) {
		cv_buf_append_c(out, core->log_debug[i]);
		cv_buf_append_char(out, ' ');
	}
	return out->len > 0 ? out->data : NULL;
}

int cv_role_log_open(const struct cv_core_settings *core, const char *role, struct cv_err *err)
{
	struct cv_log_config config = { .role = role, .timestamps = true, .facility = core->syslog_facility };
	const char *keys[] = { "log_path", "info_log_path", "debug_log_path" }, *paths[] = { core->log_path, core->info_log_path, core->debug_log_path };
	struct cv_log_place places[3];
	struct cv_buf debug;

	if (paths[0] == NULL || paths[0][0] == '\0')
		paths[0] = "syslog";
	for (size_t i = 0; i < CV_COUNT_OF(places); i++) {
		if (paths[i] != NULL && paths[i][0] != '\0' && !log_place(paths[i], &places[i]))
			return cv_err_set(err, CV_ERR_INVALID, "%s: \"%s\" is neither syslog, journal, /dev/stderr nor an absolute path", keys[i], paths[i]);
	}
	config.target = places[0].target;
	config.path = places[0].path;
	config.info = paths[1] != NULL && paths[1][0] != '\0' ? &places[1] : NULL;
	config.debug_place = paths[2] != NULL && paths[2][0] != '\0' ? &places[2] : NULL;
	cv_buf_init(&debug, 4096);
	config.debug = debug_words(core, &debug);
	int result = cv_log_open(&config, err);
	cv_buf_deinit(&debug);
	return result;
}

void cv_role_log_kinds(const struct cv_core_settings *core, char kinds[4])
{
	const char *paths[] = { core->log_path, core->info_log_path, core->debug_log_path };

	for (size_t i = 0; i < CV_COUNT_OF(paths); i++) {
		struct cv_log_place place = { 0 };
		bool given = paths[i] != NULL && paths[i][0] != '\0';
		kinds[i] = given && log_place(paths[i], &place) ? (char)('a' + (int)place.target) : '-';
	}
	kinds[3] = '\0';
}

/* ---- Messages ---------------------------------------------------------------------------------------------- */

/* What the harness keeps beside the process for its role. */
struct harness {
	struct cv_role_proc proc;
	struct cv_arena *arena;
	int status; /* of exit */
};

static struct harness *harness_of(void *ctx)
{
	return cv_container(ctx, struct harness, proc);
}

static int take_fd(struct cv_ipc_msg *msg)
{
	int fd = msg->fds[0];

	msg->fds[0] = -1;
	return fd;
}

/* The process cannot go on: log why and end. */
static int give_up(struct cv_role_proc *proc, const struct cv_err *err)
{
	cv_error(NULL, "%s", err->text);
	harness_of(proc)->status = 1;
	/* What else master has sent is of no use to a process that is half set up. */
	cv_ipc_free(&proc->control);
	cv_loop_stop(proc->loop);
	return 0;
}

static int on_modules(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;
	struct cv_arena *arena = harness_of(proc)->arena;
	uint16_t count;

	(void)ipc;
	if ((proc->modules != NULL && proc->ops->role != CV_ROLE_SPAWNER) || !cv_take_u16(&msg->payload, &count))
		return -1;
	const char **names = cv_new(arena, const char *, (size_t)count + 1);
	for (size_t i = 0; i < count; i++) {
		struct cv_str name;
		if (!cv_take_str(&msg->payload, 255, &name))
			return -1;
		names[i] = cv_arena_cstr(arena, name);
		if (names[i] == NULL)
			return -1;
	}
	proc->modules = names;
	proc->new_modules = true;
	return cv_reader_end(&msg->payload) ? 0 : -1;
}

/* A registry with the modules that master named, for gen's settings; NULL with err. */
static struct cv_registry *load_modules(const struct cv_role_proc *proc, const struct cv_gen *gen, struct cv_err *err)
{
	struct cv_registry *reg = cv_registry_new();
	int result = 0;

	cv_registry_set_conf(reg, gen->conf);
	if (proc->ops->own_module != NULL)
		result = cv_module_add_static(reg, proc->ops->own_module, err);
	for (size_t i = 0; result == 0 && proc->modules[i] != NULL; i++)
		result = cv_module_open(reg, gen->core->mail_plugin_dir, proc->modules[i], err);
	if (result == 0)
		result = cv_modules_load(reg, (enum cv_role)proc->ops->module_role, err);
	if (result < 0)
		cv_registry_free(&reg);
	return reg;
}

static int first_conf(struct cv_role_proc *proc, struct cv_err *err)
{
	if (cv_role_log_open(proc->gen->core, proc->ops->name, err) < 0)
		return -1;
	proc->registry = load_modules(proc, proc->gen, err);
	if (proc->registry == NULL)
		return -1;
	proc->new_modules = false;
	return proc->ops->init != NULL ? proc->ops->init(proc, err) : 0;
}

static void answer_reload(struct cv_role_proc *proc, bool ok, const struct cv_err *err)
{
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_put_u8(&out, ok);
	cv_put_str(&out, ok ? CV_STR("") : cv_str_c(err->text));
	if (proc->control == NULL || cv_ipc_send(proc->control, CV_MSG_RELOADED, 0, cv_buf_str(&out), NULL, 0) < 0)
		cv_loop_stop(proc->loop);
	cv_buf_deinit(&out);
}

/* The log's file may be another after the reload: master sends it by REOPEN_LOG, since a process without rights cannot open it. Of another kind it can be for the
   spawner only, which opens it itself; others are replaced then. */
static void follow_log(struct cv_role_proc *proc, const struct cv_core_settings *before)
{
	const struct cv_core_settings *now = proc->gen->core;
	char kinds_before[4], kinds_now[4];
	struct cv_err err = { 0 };
	struct cv_buf debug;

	cv_role_log_kinds(before, kinds_before);
	cv_role_log_kinds(now, kinds_now);
	if (strcmp(kinds_before, kinds_now) != 0 || strcmp(before->syslog_facility, now->syslog_facility) != 0) {
		if (cv_role_log_open(now, proc->ops->name, &err) < 0)
			cv_error(NULL, "%s", err.text);
		return;
	}
	cv_buf_init(&debug, 4096);
	cv_log_set_debug(debug_words(now, &debug));
	cv_buf_deinit(&debug);
}

static int later_conf(struct cv_role_proc *proc, struct cv_gen *gen, struct cv_err *err)
{
	struct cv_gen *old = proc->gen;
	struct cv_registry *old_registry = NULL;
	int result = 0;

	if (proc->new_modules) {
		/* Other modules than before (spawner only; confined roles are replaced instead). */
		struct cv_registry *reg = load_modules(proc, gen, err);
		if (reg == NULL) {
			cv_gen_unref(&gen);
			return -1;
		}
		old_registry = proc->registry;
		proc->registry = reg;
		proc->new_modules = false;
	} else {
		cv_registry_set_conf(proc->registry, gen->conf);
	}
	proc->gen = gen;
	if (proc->ops->reload != NULL)
		result = proc->ops->reload(proc, old, err);
	if (result < 0) {
		proc->gen = old;
		if (old_registry != NULL) {
			cv_registry_free(&proc->registry);
			proc->registry = old_registry;
		}
		cv_registry_set_conf(proc->registry, old->conf);
		cv_gen_unref(&gen);
		return -1;
	}
	follow_log(proc, old->core);
	cv_registry_free(&old_registry);
	cv_gen_unref(&old);
	return 0;
}

static int on_conf(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;
	struct cv_err err = { 0 };

	if (proc->modules == NULL || !cv_reader_end(&msg->payload))
		return -1;
	struct cv_gen *gen = gen_new(msg->fds[0], &err);
	if (proc->gen != NULL) {
		bool ok = gen != NULL && later_conf(proc, gen, &err) == 0;
		answer_reload(proc, ok, &err);
		return 0;
	}
	if (gen == NULL)
		return give_up(proc, &err);
	proc->gen = gen;
	if (first_conf(proc, &err) < 0)
		return give_up(proc, &err);
	cv_ipc_set_state(ipc, STATE_SET_UP);
	return 0;
}

static int on_peer(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;
	uint8_t role;
	uint32_t index;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &role) || !cv_take_u32(&msg->payload, &index) || !cv_reader_end(&msg->payload) || proc->ops->peer == NULL)
		return -1;
	proc->lost_peers &= ~(unsigned)role;
	return proc->ops->peer(proc, (enum cv_role)role, index, take_fd(msg));
}

static void on_relink(void *ctx)
{
	static const enum cv_role roles[] = { CV_ROLE_AUTH, CV_ROLE_SPAWNER };
	struct cv_role_proc *proc = ctx;

	for (size_t i = 0; i < CV_COUNT_OF(roles) && !proc->stopping; i++) {
		uint8_t role = (uint8_t)roles[i];
		if (proc->control != NULL && (proc->lost_peers & (unsigned)roles[i]) != 0 && cv_ipc_send(proc->control, CV_MSG_PEER_LOST, 0, cv_str_mem(&role, 1), NULL, 0) < 0)
			cv_loop_stop(proc->loop);
	}
	/* Until it is there: it may have no descriptors left, now and for a while. */
	if (proc->lost_peers != 0)
		cv_timer_set(proc->relink, RELINK_MS);
}

void cv_role_peer_lost(struct cv_role_proc *proc, enum cv_role role)
{
	proc->lost_peers |= (unsigned)role;
	if (proc->relink == NULL)
		proc->relink = cv_timer_add(proc->loop, RELINK_MS, on_relink, proc);
	else
		cv_timer_set(proc->relink, RELINK_MS);
}

static int on_listener(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;
	struct cv_str name, protocol;
	uint8_t tls, is_unix;

	(void)ipc;
	if (!cv_take_str(&msg->payload, 255, &name) || !cv_take_str(&msg->payload, 255, &protocol) || !cv_take_u8(&msg->payload, &tls) ||
		!cv_take_u8(&msg->payload, &is_unix) || !cv_reader_end(&msg->payload) || proc->ops->listener == NULL)
		return -1;
	return proc->ops->listener(proc, msg->id, name, protocol, tls != 0, is_unix != 0, take_fd(msg));
}

static int on_listener_gone(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;

	(void)ipc;
	if (!cv_reader_end(&msg->payload) || proc->ops->listener_gone == NULL)
		return -1;
	proc->ops->listener_gone(proc, msg->id);
	return 0;
}

static int on_tls(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;
	struct cv_err err = { 0 };

	(void)ipc;
	if (!cv_reader_end(&msg->payload) || proc->ops->tls == NULL)
		return -1;
	int result = proc->ops->tls(proc, take_fd(msg), &err);
	if (proc->started)
		answer_reload(proc, result == 0, &err);
	else if (result < 0)
		return give_up(proc, &err);
	return 0;
}

void cv_role_ready(struct cv_role_proc *proc)
{
	if (proc->control == NULL || cv_ipc_send(proc->control, CV_MSG_READY, 0, CV_STR(""), NULL, 0) < 0)
		cv_loop_stop(proc->loop);
}

static int on_start(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;
	struct cv_err err = { 0 };

	if (!cv_reader_end(&msg->payload))
		return -1;
	int result = proc->ops->start(proc, &err);
	if (result < 0)
		return give_up(proc, &err);
	proc->started = true;
	cv_ipc_set_state(ipc, STATE_RUNNING);
	if (result == 0)
		cv_role_ready(proc);
	return 0;
}

static void stop(struct cv_role_proc *proc, bool graceful)
{
	if (proc->stopping && graceful)
		return;
	proc->stopping = true;
	if (proc->started && proc->ops->stop != NULL)
		proc->ops->stop(proc, graceful);
	else
		cv_loop_stop(proc->loop);
}

static int on_stop(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	uint8_t graceful;

	(void)ipc;
	if (!cv_take_u8(&msg->payload, &graceful) || !cv_reader_end(&msg->payload))
		return -1;
	stop(ctx, graceful != 0);
	return 0;
}

static int on_admin(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;
	struct cv_str payload = cv_reader_rest(&msg->payload), peer;
	struct cv_arena *arena;
	struct cv_admin_request request;
	struct cv_err err = { 0 };

	(void)ipc;
	if (!cv_take_str(&msg->payload, 255, &peer))
		return -1;
	arena = cv_arena_new("admin request", NULL, CV_ARENA_WIPE);
	int fd = take_fd(msg);
	if (cv_admin_request_parse(&msg->payload, arena, &request, &err) < 0) {
		cv_admin_refuse(fd, &err);
	} else if (request.role == CV_ROLE_WORKER && proc->ops->admin_user != NULL) {
		(void)proc->ops->admin_user(proc, request.user, payload, fd);
	} else if (request.role == proc->ops->role) {
		struct cv_admin_serve_config config = { .registry = proc->registry, .loop = proc->loop, .fd = fd,
			.peer = cv_arena_cstr(arena, peer), .role = proc->ops->role, .process = proc->state };
		cv_admin_serve(&config, request.command, request.args, request.arg_count);
	} else {
		(void)cv_err_set_public(&err, CV_ERR_INTERNAL, "the command came to the wrong process");
		cv_admin_refuse(fd, &err);
	}
	cv_arena_free(&arena);
	return 0;
}

static int on_reopen_log(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;

	(void)ipc;
	if (!cv_reader_end(&msg->payload))
		return -1;
	/* This works behind a chroot and a sandbox too. */
	cv_log_replace_fds(msg->fds, msg->nfds);
	if (proc->started && proc->ops->log_reopened != NULL)
		proc->ops->log_reopened(proc);
	return 0;
}

void cv_role_figure(struct cv_buf *kv, const char *name, uint64_t value)
{
	char text[24];

	cv_put_str(kv, cv_str_c(name));
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	cv_put_str(kv, cv_str_c(text));
}

static int on_ask_status(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct cv_role_proc *proc = ctx;
	struct cv_buf kv, out;
	uint16_t count = 0;

	if (!cv_reader_end(&msg->payload))
		return -1;
	cv_buf_init(&kv, CV_IPC_MAX_PAYLOAD - 8);
	if (proc->ops->status != NULL)
		proc->ops->status(proc, &kv);
	for (struct cv_reader r = cv_reader_init(cv_buf_str(&kv)); cv_reader_left(&r) > 0; count++) {
		struct cv_str key, value;
		if (!cv_take_str(&r, CV_IPC_MAX_PAYLOAD, &key) || !cv_take_str(&r, CV_IPC_MAX_PAYLOAD, &value))
			break;
	}
	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_u16(&out, count);
	cv_buf_append(&out, cv_buf_str(&kv));
	if (!cv_buf_ok(&kv) || !cv_buf_ok(&out) || cv_ipc_send(ipc, CV_MSG_STATUS, msg->id, cv_buf_str(&out), NULL, 0) < 0)
		cv_warn(NULL, "figures for the status could not be sent");
	cv_buf_deinit(&kv);
	cv_buf_deinit(&out);
	return 0;
}

static const struct cv_ipc_type control_table[] = {
	{ CV_MSG_PEER, "PEER", 16, 1, 1, STATE_SET_UP | STATE_RUNNING, on_peer },
	{ CV_MSG_LISTENER, "LISTENER", 1024, 1, 1, STATE_SET_UP | STATE_RUNNING, on_listener },
	{ CV_MSG_CONF, "CONF", 0, 1, 1, STATE_NEW | STATE_RUNNING, on_conf },
	{ CV_MSG_TLS, "TLS", 0, 1, 1, STATE_SET_UP | STATE_RUNNING, on_tls },
	{ CV_MSG_START, "START", 0, 0, 0, STATE_SET_UP, on_start },
	{ CV_MSG_STOP, "STOP", 1, 0, 0, 0, on_stop },
	{ CV_MSG_ADMIN, "ADMIN", CV_IPC_MAX_PAYLOAD, 1, 1, STATE_RUNNING, on_admin },
	{ CV_MSG_REOPEN_LOG, "REOPEN_LOG", 0, 0, CV_LOG_OUTPUTS, STATE_SET_UP | STATE_RUNNING, on_reopen_log },
	{ CV_MSG_MODULES, "MODULES", CV_IPC_MAX_PAYLOAD, 0, 0, STATE_NEW | STATE_RUNNING, on_modules },
	{ CV_MSG_LISTENER_GONE, "LISTENER_GONE", 0, 0, 0, STATE_SET_UP | STATE_RUNNING, on_listener_gone },
	{ CV_MSG_ASK_STATUS, "ASK_STATUS", 0, 0, 0, STATE_RUNNING, on_ask_status },
};

/* Without master nobody starts what is missing, and its successor will start new ones: end. */
static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct cv_role_proc *proc = ctx;

	(void)ipc;
	if (!proc->stopping)
		cv_warn(NULL, "master is gone: ending");
	stop(proc, false);
}

static void on_term(void *ctx, int signo, int pid, int uid)
{
	(void)signo;
	(void)pid;
	(void)uid;
	stop(ctx, true);
}

static void no_signal(void *ctx, int signo, int pid, int uid)
{
	(void)ctx;
	(void)signo;
	(void)pid;
	(void)uid;
}

int cv_role_main(const struct cv_role_ops *ops, uint32_t index)
{
	static struct harness h;
	struct cv_role_proc *proc = &h.proc;

	if (fcntl(CV_CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0) {
		(void)fprintf(stderr, "culverd: --role is for the server's own use\n");
		return 64;
	}
	cv_log_set_role(ops->name);
	cv_title_set("culver %s", ops->name);
	cv_close_from(CV_CONTROL_FD + 1, NULL, 0);
	(void)cv_limit_nofile();
	proc->ops = ops;
	proc->index = index;
	proc->privileged = geteuid() == 0;
	h.arena = cv_arena_new("role", NULL, 0);
	proc->loop = cv_loop_new(CV_LOOP_EPOLL);
	/* The terminal's signals are master's to handle: it stops all in order. */
	cv_signal_add(proc->loop, SIGINT, no_signal, NULL);
	cv_signal_add(proc->loop, SIGHUP, no_signal, NULL);
	cv_signal_add(proc->loop, SIGUSR1, no_signal, NULL);
	cv_signal_add(proc->loop, SIGTERM, on_term, proc);
	(void)signal(SIGPIPE, SIG_IGN);
	proc->control = cv_ipc_new(proc->loop, CV_CONTROL_FD, "master", control_table, CV_COUNT_OF(control_table), on_closed, proc);
	cv_ipc_set_state(proc->control, STATE_NEW);
	cv_loop_run(proc->loop);
	if (ops->deinit != NULL && proc->state != NULL)
		ops->deinit(proc);
	cv_timer_remove(&proc->relink);
	cv_ipc_free(&proc->control);
	cv_registry_free(&proc->registry);
	cv_gen_unref(&proc->gen);
	cv_loop_free(&proc->loop);
	cv_arena_free(&h.arena);
	return h.status;
}
