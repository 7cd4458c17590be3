/* SPDX-License-Identifier: MIT
   A helper process of auth: one request at a time, with a database that may block. */
#include <config.h>

#include "core/proc/auth-helper.h"

#include "core/proc/auth-dbs.h"
#include "core/proc/role.h"
#include <culver/log.h>
#include <culver/reader.h>

#include <signal.h>
#include <unistd.h>

#define HELPER_FD 3
#define CONF_MAX (64u * 1024 * 1024)
#define SETUP_TIMEOUT_MS 10000

enum { STATE_NEW = 1, STATE_READY = 2 };

struct helper {
	struct cv_ipc *ipc;
	struct cv_registry *registry;
	struct cv_arena *arena; /* as long as the process */
	struct cv_conf *conf;
	const char *const *modules;
	enum cv_helper_kind kind;
	struct auth_dbs *dbs;
	bool retire;
	bool failed;
};

/* ---- Log: lines go to auth, which has the log open and reopens it ------------------------------------------ */

static void send_log(void *ctx, enum cv_log_level level, struct cv_str line)
{
	struct helper *helper = ctx;
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	cv_put_u8(&out, (uint8_t)level);
	cv_put_str(&out, cv_str_sub(line, 0, 4000));
	if (helper->ipc != NULL && cv_ipc_send(helper->ipc, CV_HELPER_LOG, 0, cv_buf_str(&out), NULL, 0) < 0)
		helper->failed = true;
	cv_buf_deinit(&out);
}

static int open_log(struct helper *helper, const struct cv_core_settings *core, struct cv_err *err)
{
	struct cv_log_config config = { .target = CV_LOG_CALLBACK, .role = "auth-helper", .callback = send_log, .callback_ctx = helper };
	struct cv_buf debug;
	int ret;

	cv_buf_init(&debug, 4096);
	for (size_t i = 0; core->log_debug != NULL && core->log_debug[i] != NULL; i++)
		cv_buf_printf(&debug, "%s ", core->log_debug[i]);
	config.debug = debug.len > 0 ? debug.data : NULL;
	ret = cv_log_open(&config, err);
	cv_buf_deinit(&debug);
	return ret;
}

/* ---- Set-up ------------------------------------------------------------------------------------------------- */

/* Plain helpers have nothing to do but read: files of databases, and sockets of name services. */
static int confine(const struct cv_core_settings *core, struct cv_err *err)
{
	static const struct cv_sandbox_path read_all = { .path = "/", .write = false };
	struct cv_restrict to = { 0 };

	if (cv_restrict_user(core->default_internal_user, &to.sysuid, &to.sysgid, err) < 0)
		return -1;
	if (cv_restrict(&to, err) < 0)
		return -1;
	if (core->landlock && cv_sandbox_landlock(&read_all, 1, err) < 0)
		return -1;
	return cv_sandbox_seccomp(CV_SANDBOX_AUTH, (enum cv_seccomp_mode)core->seccomp, err);
}

static int set_up(struct helper *helper, int conf_fd, struct cv_err *err)
{
	const struct cv_core_settings *core;
	const void *set;
	struct cv_str data;
	int ret;

	if (cv_memfd_map(conf_fd, CONF_MAX, &data, err) < 0)
		return -1;
	ret = cv_conf_deserialize(data, helper->arena, &helper->conf, err);
	cv_memfd_unmap(data);
	if (ret < 0 || cv_conf_get(helper->conf, &cv_core_settings_table, NULL, helper->arena, &set, err) < 0)
		return -1;
	core = set;
	if (open_log(helper, core, err) < 0)
		return -1;
	cv_title_set("%s %s", core->instance_name, helper->kind == CV_HELPER_ROOT ? "auth-helper (root)" : "auth-helper");
	cv_registry_set_conf(helper->registry, helper->conf);
	for (size_t i = 0; helper->modules[i] != NULL; i++)
		if (cv_module_open(helper->registry, core->mail_plugin_dir, helper->modules[i], err) < 0)
			return -1;
	if (cv_modules_load(helper->registry, CV_ROLE_AUTH_HELPER, err) < 0)
		return -1;
	if (helper->kind == CV_HELPER_PLAIN && geteuid() == 0 && confine(core, err) < 0)
		return -1;
	helper->dbs = auth_dbs_new(helper->registry, helper->conf, err);
	return helper->dbs == NULL ? -1 : 0;
}

static int on_setup(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct helper *helper = ctx;
	struct cv_err err = { 0 };
	const char **names;
	uint16_t count;
	uint8_t kind;

	if (!cv_take_u8(&msg->payload, &kind) || (kind != CV_HELPER_PLAIN && kind != CV_HELPER_ROOT) ||
		!cv_take_u16(&msg->payload, &count))
		return -1;
	helper->kind = (enum cv_helper_kind)kind;
	names = cv_new(helper->arena, const char *, (size_t)count + 1);
	for (size_t i = 0; i < count; i++) {
		struct cv_str name;

		if (!cv_take_str(&msg->payload, 255, &name) || (names[i] = cv_arena_cstr(helper->arena, name)) == NULL)
			return -1;
	}
	if (!cv_reader_end(&msg->payload))
		return -1;
	helper->modules = names;
	if (set_up(helper, msg->fds[0], &err) < 0) {
		cv_error(NULL, "cannot start: %s", err.text);
		helper->failed = true;
		return 0;
	}
	cv_ipc_set_state(ipc, STATE_READY);
	return cv_ipc_send(ipc, CV_HELPER_READY, 0, CV_STR(""), NULL, 0) < 0 ? -1 : 0;
}

/* ---- Requests ----------------------------------------------------------------------------------------------- */

struct rows {
	struct helper *helper;
	uint64_t id;
};

static int send_row(void *ctx, struct cv_str user)
{
	struct rows *rows = ctx;
	struct cv_buf out;
	int ret;

	cv_buf_init(&out, 4096);
	cv_put_str(&out, user);
	ret = cv_buf_ok(&out) ? cv_ipc_send(rows->helper->ipc, CV_HELPER_ROW, rows->id, cv_buf_str(&out), NULL, 0) : 0;
	cv_buf_deinit(&out);
	return ret;
}

struct work {
	enum cv_helper_op op;
	const char *database;
	struct cv_str secret, stored;
	const char *default_scheme;
};

static enum cv_auth_result no_database(const struct work *work, struct cv_err *err)
{
	(void)cv_err_set(err, CV_ERR_INTERNAL, "the helper has no database %s that can do this", work->database);
	return CV_AUTH_TEMP;
}

static void count_request(struct helper *helper, uint64_t *requests, uint64_t max)
{
	(*requests)++;
	if (max != 0 && *requests >= max)
		helper->retire = true;
}

static enum cv_auth_result do_passdb(struct helper *helper, const struct work *work, struct cv_auth_request *request, struct cv_str *stored_r,
	struct cv_err *err)
{
	struct auth_passdb *db = auth_dbs_passdb(helper->dbs, work->database);

	if (db == NULL || auth_passdb_open(helper->dbs, db, err) < 0)
		return db == NULL ? no_database(work, err) : CV_AUTH_TEMP;
	count_request(helper, &db->requests, db->max_requests);
	if (work->op == CV_HELPER_PASSDB_VERIFY)
		return db->impl->verify == NULL ? no_database(work, err) : db->impl->verify(db->db, request, work->secret, err);
	return db->impl->lookup == NULL ? no_database(work, err) : db->impl->lookup(db->db, request, stored_r, err);
}

static enum cv_auth_result do_userdb(struct helper *helper, const struct work *work, struct cv_auth_request *request, uint64_t id,
	struct cv_err *err)
{
	struct auth_userdb *db = auth_dbs_userdb(helper->dbs, work->database);
	struct rows rows = { .helper = helper, .id = id };

	if (db == NULL || auth_userdb_open(helper->dbs, db, err) < 0)
		return db == NULL ? no_database(work, err) : CV_AUTH_TEMP;
	count_request(helper, &db->requests, db->max_requests);
	if (work->op == CV_HELPER_USERDB_LOOKUP)
		return db->impl->lookup(db->db, request, err);
	if (db->impl->iterate == NULL)
		return no_database(work, err);
	return db->impl->iterate(db->db, send_row, &rows, err) < 0 ? CV_AUTH_TEMP : CV_AUTH_OK;
}

static enum cv_auth_result do_hash(struct helper *helper, const struct work *work, const struct cv_auth_request *request, struct cv_err *err)
{
	int ret = cv_password_verify(helper->registry, work->secret, request->user, work->stored, work->default_scheme, err);

	return ret == 1 ? CV_AUTH_OK : ret == 0 ? CV_AUTH_MISMATCH : CV_AUTH_TEMP;
}

static enum cv_auth_result do_work(struct helper *helper, const struct work *work, struct cv_auth_request *request, uint64_t id,
	struct cv_str *stored_r, struct cv_err *err)
{
	switch (work->op) {
	case CV_HELPER_PASSDB_VERIFY:
	case CV_HELPER_PASSDB_LOOKUP:
		return do_passdb(helper, work, request, stored_r, err);
	case CV_HELPER_USERDB_LOOKUP:
	case CV_HELPER_ITERATE:
		return do_userdb(helper, work, request, id, err);
	case CV_HELPER_HASH:
		return do_hash(helper, work, request, err);
	case CV_HELPER_IDS:
		return cv_auth_resolve_ids(request, err) < 0 ? CV_AUTH_TEMP : CV_AUTH_OK;
	}
	return no_database(work, err);
}

static int answer(struct helper *helper, uint64_t id, enum cv_auth_result result, struct cv_str stored, const struct cv_auth_request *request,
	const struct cv_err *err)
{
	struct cv_buf out;
	int ret;

	cv_buf_init_wipe(&out, CV_IPC_MAX_PAYLOAD);
	cv_put_u8(&out, (uint8_t)result);
	cv_put_u8(&out, helper->retire);
	cv_put_str(&out, stored);
	cv_put_u8(&out, (uint8_t)err->code);
	cv_put_u8(&out, err->public_text);
	cv_put_str(&out, cv_str_c(err->text));
	cv_helper_put_results(&out, request);
	if (!cv_buf_ok(&out) && request->fields != NULL) {
		/* More fields than a message holds: say so, without them. */
		struct cv_auth_request empty = { .arena = request->arena };
		struct cv_err too_much = { 0 };

		(void)cv_err_set(&too_much, CV_ERR_LIMIT, "the database gave more fields than fit into %d octets", CV_IPC_MAX_PAYLOAD);
		cv_buf_deinit(&out);
		return answer(helper, id, CV_AUTH_TEMP, (struct cv_str){ 0 }, &empty, &too_much);
	}
	ret = cv_buf_ok(&out) ? cv_ipc_send(helper->ipc, CV_HELPER_RESULT, id, cv_buf_str(&out), NULL, 0) : -1;
	cv_buf_deinit(&out);
	return ret < 0 ? -1 : 0;
}

static int on_request(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct helper *helper = ctx;
	struct cv_arena *arena = cv_arena_new("helper request", NULL, CV_ARENA_WIPE);
	struct cv_auth_request request = { .arena = arena, .conf = helper->conf };
	struct cv_str database, scheme, stored = { 0 };
	struct work work = { 0 };
	struct cv_err err = { 0 };
	enum cv_auth_result result;
	int ret = -1;
	uint8_t op;

	(void)ipc;
	if (cv_take_u8(&msg->payload, &op) && op >= CV_HELPER_PASSDB_VERIFY && op <= CV_HELPER_IDS && cv_take_str(&msg->payload, 255, &database) &&
		cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &work.secret) && cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &work.stored) &&
		cv_take_str(&msg->payload, 64, &scheme) && cv_helper_take_request(&msg->payload, &request) && cv_reader_end(&msg->payload)) {
		work.op = (enum cv_helper_op)op;
		work.database = cv_arena_cstr(arena, database);
		work.default_scheme = cv_arena_cstr(arena, scheme);
		if (work.database != NULL && work.default_scheme != NULL) {
			result = do_work(helper, &work, &request, msg->id, &stored, &err);
			ret = answer(helper, msg->id, result, stored, &request, &err);
		}
	}
	cv_arena_free(&arena);
	return ret;
}

static const struct cv_ipc_type table[] = {
	{ CV_HELPER_SETUP, "SETUP", CV_IPC_MAX_PAYLOAD, 1, 1, STATE_NEW, on_setup },
	{ CV_HELPER_REQUEST, "REQUEST", CV_IPC_MAX_PAYLOAD, 0, 0, STATE_READY, on_request },
};

int cv_auth_helper_main(void)
{
	struct helper helper = { .arena = cv_arena_new("helper", NULL, CV_ARENA_WIPE), .registry = cv_registry_new() };
	int ret = 1;

	/* Modules of PAM start children and wait for them; a closed channel is noticed as an error. */
	(void)signal(SIGCHLD, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	cv_signal_unblock_all();
	(void)signal(SIGPIPE, SIG_IGN);
	helper.ipc = cv_ipc_new(NULL, HELPER_FD, "auth", table, CV_COUNT_OF(table), NULL, &helper);
	cv_ipc_set_state(helper.ipc, STATE_NEW);
	if (cv_ipc_recv_wait(helper.ipc, SETUP_TIMEOUT_MS) != 1 || helper.dbs == NULL)
		helper.failed = true;
	while (!helper.failed && !helper.retire && ret == 1)
		ret = cv_ipc_recv_wait(helper.ipc, -1);
	ret = helper.failed || ret < 0;
	auth_dbs_free(&helper.dbs);
	cv_registry_free(&helper.registry);
	(void)cv_log_open(&(struct cv_log_config){ .target = CV_LOG_STDERR, .role = "auth-helper" }, NULL);
	cv_ipc_free(&helper.ipc);
	cv_arena_free(&helper.arena);
	return ret;
}
