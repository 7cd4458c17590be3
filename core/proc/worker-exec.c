/* SPDX-License-Identifier: MIT
   Workers that are programs of their own (worker_exec): what the spawner would have in memory for them goes along in two sealed memory files. */
#include "core/proc/spawner.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define ARGS_FD 4 /* beside CV_CONTROL_FD */
#define CONF_FD 5
#define FIRST_FREE_FD 6
#define ARGS_MAX (4u * 1024 * 1024)
#define CONF_MAX (64u * 1024 * 1024)
#define FIELDS_MAX 4096u
#define GROUPS_MAX 65536u

const struct cv_worker_entry *worker_library(struct cv_err *err)
{
	void *library = dlopen(CV_MAIL_LIBRARY, RTLD_NOW | RTLD_GLOBAL);

	if (library == NULL) {
		(void)cv_err_set(err, CV_ERR_INTERNAL, "the mail library: %s", dlerror());
		return NULL;
	}
	const struct cv_worker_entry *entry = dlsym(library, "cv_worker_entry");
	if (entry == NULL || entry->version != CV_WORKER_ENTRY_VERSION) {
		(void)cv_err_set(err, CV_ERR_INTERNAL, "the mail library %s does not belong to this server", CV_MAIL_LIBRARY);
		return NULL;
	}
	return entry;
}

/* ---- The spawner's side ------------------------------------------------------------------------------------------------ */

static void put_list(struct cv_buf *out, const char *const *list)
{
	uint32_t count = 0;

	while (list != NULL && list[count] != NULL)
		count++;
	cv_put_u32(out, count);
	for (uint32_t i = 0; i < count; i++)
		cv_put_str(out, cv_str_c(list[i]));
}

int worker_exec_pack(const struct worker *w, struct cv_err *err)
{
	const struct spawner *sp = w->sp;
	struct cv_buf out;

	cv_buf_init_wipe(&out, ARGS_MAX);
	cv_put_str(&out, cv_str_c(w->user));
	cv_put_str(&out, cv_str_c(w->home));
	cv_put_str(&out, cv_str_c(w->mail));
	put_list(&out, w->fields);
	put_list(&out, sp->proc->modules);
	cv_put_u32(&out, w->sysuid);
	cv_put_u32(&out, w->sysgid);
	cv_put_u32(&out, (uint32_t)sp->groups.count);
	for (size_t i = 0; i < sp->groups.count; i++)
		cv_put_u32(&out, sp->groups.data[i]);
	cv_put_u64(&out, sp->idle_ms);
	cv_put_u64(&out, sp->vsz_limit);
	int fd = cv_buf_ok(&out) ? cv_memfd_from("culver-worker", cv_buf_str(&out), err) :
				   cv_err_set(err, CV_ERR_LIMIT, "what the user databases say of the user is longer than %u octets", ARGS_MAX);
	cv_buf_deinit(&out);
	return fd;
}

void worker_exec(int control_fd, int args_fd, int conf_fd)
{
	static char name[] = "culverd", role[] = "--role=worker";
	/* Space for the title, as for the master's children. */
	static char room[] = "                                                                                                                                ";
	char *argv[] = { name, role, room, NULL };
	int from[] = { control_fd, args_fd, conf_fd };

	/* Out of the way first: each may have a number that another is to get. */
	for (size_t i = 0; i < CV_COUNT_OF(from); i++) {
		from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
		if (from[i] < 0)
			_exit(71);
	}
	for (size_t i = 0; i < CV_COUNT_OF(from); i++) {
		if (dup2(from[i], CV_CONTROL_FD + (int)i) < 0)
			_exit(71);
	}
	cv_close_from(FIRST_FREE_FD, NULL, 0);
	(void)execv("/proc/self/exe", argv);
	_exit(71);
}

/* ---- The worker's side ---------------------------------------------------------------------------------------------------- */

struct unpacked {
	struct cv_arena *arena;
	struct cv_worker_args args;
	const char *const *modules;
};

static bool take_text(struct cv_reader *r, struct cv_arena *arena, const char **out)
{
	struct cv_str s;

	if (!cv_take_str(r, ARGS_MAX, &s))
		return false;
	*out = s.ptr != NULL ? cv_arena_cstr(arena, s) : NULL;
	return s.ptr == NULL || *out != NULL;
}

static bool take_list(struct cv_reader *r, struct cv_arena *arena, const char *const **out)
{
	uint32_t count;

	if (!cv_take_u32(r, &count) || count > FIELDS_MAX)
		return false;
	const char **list = cv_new(arena, const char *, (size_t)count + 1);
	for (uint32_t i = 0; i < count; i++) {
		if (!take_text(r, arena, &list[i]) || list[i] == NULL)
			return false;
	}
	*out = list;
	return true;
}

static bool unpack(struct cv_reader *r, struct unpacked *u)
{
	struct cv_worker_args *args = &u->args;
	uint32_t count;

	if (!take_text(r, u->arena, &args->user) || args->user == NULL || !take_text(r, u->arena, &args->home) || !take_text(r, u->arena, &args->mail) ||
		!take_list(r, u->arena, &args->fields) || !take_list(r, u->arena, &u->modules) || !cv_take_u32(r, &args->sysuid) ||
		!cv_take_u32(r, &args->sysgid) || !cv_take_u32(r, &count) || count > GROUPS_MAX)
		return false;
	uint32_t *groups = cv_new(u->arena, uint32_t, (size_t)count + 1);
	for (uint32_t i = 0; i < count; i++) {
		if (!cv_take_u32(r, &groups[i]))
			return false;
	}
	args->groups = groups;
	args->group_count = count;
	return cv_take_u64(r, &args->idle_ms) && cv_take_u64(r, &args->vsz_limit) && cv_reader_end(r);
}

static int read_args(struct unpacked *u, struct cv_err *err)
{
	struct cv_str data;

	if (cv_memfd_map(ARGS_FD, ARGS_MAX, &data, err) < 0)
		return -1;
	struct cv_reader r = cv_reader_init(data);
	bool good = unpack(&r, u);
	cv_memfd_unmap(data);
	(void)close(ARGS_FD);
	return good ? 0 : cv_err_set(err, CV_ERR_INTERNAL, "what the spawner handed over is not understood");
}

static int read_conf(struct unpacked *u, struct cv_err *err)
{
	struct cv_conf *conf;
	const void *set;
	struct cv_str data;

	if (cv_memfd_map(CONF_FD, CONF_MAX, &data, err) < 0)
		return -1;
	int result = cv_conf_deserialize(data, u->arena, &conf, err);
	cv_memfd_unmap(data);
	(void)close(CONF_FD);
	if (result < 0 || cv_conf_get(conf, &cv_core_settings_table, NULL, u->arena, &set, err) < 0)
		return -1;
	u->args.conf = conf;
	u->args.core = set;
	return 0;
}

static int load(struct unpacked *u, struct cv_err *err)
{
	struct cv_registry *reg = cv_registry_new();
	int result = 0;

	cv_registry_set_conf(reg, u->args.conf);
	for (size_t i = 0; result == 0 && u->modules[i] != NULL; i++)
		result = cv_module_open(reg, u->args.core->mail_plugin_dir, u->modules[i], err);
	if (result == 0)
		result = cv_modules_load(reg, CV_ROLE_WORKER, err);
	u->args.registry = reg;
	return result;
}

int cv_worker_exec_main(void)
{
	struct unpacked u = { .args = { .control_fd = CV_CONTROL_FD, .privileged = geteuid() == 0 } };
	const struct cv_worker_entry *entry = NULL;
	struct cv_err err = { 0 };
	int status = 1;

	/* None of the three may reach a program that a module starts. */
	for (int fd = CV_CONTROL_FD; fd < FIRST_FREE_FD; fd++) {
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
			(void)fprintf(stderr, "culverd: --role is for the server's own use\n");
			return 64;
		}
	}
	u.arena = cv_arena_new("worker's settings", NULL, CV_ARENA_WIPE);
	cv_log_set_role("worker");
	(void)signal(SIGPIPE, SIG_IGN);
	if (read_args(&u, &err) == 0 && read_conf(&u, &err) == 0 && cv_role_log_open(u.args.core, "worker", &err) == 0)
		entry = worker_library(&err);
	if (entry != NULL && load(&u, &err) == 0)
		status = entry->run(&u.args);
	else
		cv_error(NULL, "cannot start: %s", err.text);
	cv_registry_free(&u.args.registry);
	cv_arena_free(&u.arena);
	return status;
}
