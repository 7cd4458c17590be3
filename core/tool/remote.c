/* SPDX-License-Identifier: MIT
   The culver command: asking the running server. */
#include "core/tool/tool.h"

#include <culver/ipc.h>
#include <culver/reader.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* One request and its answer. */
struct exchange {
	struct tool *tool;
	struct output *out;
	struct cv_err err;    /* of the whole */
	int status;           /* -1: no END yet */
	const char *user;     /* whose mail it is about; NULL: nobody's */
	bool complained;
	bool quiet;           /* rows are for us: no text */
};

/* ---- What the server says ----------------------------------------------------------------------------------------- */

static int on_columns(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct exchange *x = ctx;
	struct cv_arena *arena = x->tool->arena;
	uint16_t count;
	uint8_t kind, opts;
	(void)ipc;

	if (!cv_take_u16(&msg->payload, &count))
		return -1;
	struct cv_admin_column *columns = cv_new(arena, struct cv_admin_column, (size_t)count + 1);
	for (size_t i = 0; i < count; i++) {
		struct cv_str key, title;
		if (!cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &key) || !cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &title) ||
			!cv_take_u8(&msg->payload, &kind) || kind < CV_ADMIN_COL_TEXT || kind > CV_ADMIN_COL_LIST)
			return -1;
		columns[i].key = cv_arena_cstr(arena, key);
		columns[i].title = title.ptr == NULL ? NULL : cv_arena_cstr(arena, title);
		columns[i].kind = (enum cv_admin_column_kind)kind;
		if (columns[i].key == NULL || (title.ptr != NULL && columns[i].title == NULL))
			return -1;
	}
	if (!cv_take_u8(&msg->payload, &opts) || !cv_reader_end(&msg->payload))
		return -1;
	output_columns(x->out, columns, (opts & CV_ADMIN_SINGLE) != 0);
	return 0;
}

static int on_rows(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct exchange *x = ctx;
	struct cv_str line;
	(void)ipc;

	while (cv_take_line(&msg->payload, &line)) {
		json_t *row = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(row)) {
			json_decref(row);
			return -1;
		}
		output_row(x->out, row);
	}
	return cv_reader_end(&msg->payload) ? 0 : -1;
}

static int on_said(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct exchange *x = ctx;
	struct cv_str text;
	(void)ipc;

	if (!cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &text) || !cv_reader_end(&msg->payload))
		return -1;
	const char *s = cv_arena_cstr(x->tool->arena, text);
	if (s != NULL && !x->tool->json && !x->quiet) {
		output_text(stdout, s);
		(void)putchar('\n');
	}
	return 0;
}

static int on_problem(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct exchange *x = ctx;
	uint8_t code;
	struct cv_str text;
	(void)ipc;

	if (!cv_take_u8(&msg->payload, &code) || code > CV_ERR_LAST || !cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &text) ||
		!cv_reader_end(&msg->payload))
		return -1;
	if (x->user != NULL && x->out->show_user)
		tool_complain("%s: %.*s", x->user, CV_STR_ARG(text));
	else
		tool_complain("%.*s", CV_STR_ARG(text));
	struct cv_err err = { 0 };
	(void)cv_err_set(&err, (enum cv_err_code)code, "%.*s", CV_STR_ARG(text));
	output_error(x->out, x->user, &err);
	if (x->err.code == CV_ERR_NONE)
		x->err = err;
	x->complained = true;
	return 0;
}

static int on_end(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct exchange *x = ctx;
	uint8_t status, code;
	struct cv_str text;
	(void)ipc;

	if (!cv_take_u8(&msg->payload, &status) || !cv_take_u8(&msg->payload, &code) || code > CV_ERR_LAST ||
		!cv_take_str(&msg->payload, CV_IPC_MAX_PAYLOAD, &text) || !cv_reader_end(&msg->payload))
		return -1;
	x->status = status;
	if (text.ptr != NULL) {
		(void)cv_err_set(&x->err, (enum cv_err_code)code, "%.*s", CV_STR_ARG(text));
		output_error(x->out, x->user, &x->err);
		if (x->user != NULL)
			(void)cv_err_context(&x->err, "%s", x->user);
		tool_complain("%s", x->err.text);
	}
	return 0;
}

static const struct cv_ipc_type answers[] = {
	{ .type = CV_ADMIN_COLUMNS, .name = "columns", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_columns },
	{ .type = CV_ADMIN_ROWS, .name = "rows", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_rows },
	{ .type = CV_ADMIN_SAID, .name = "said", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_said },
	{ .type = CV_ADMIN_PROBLEM, .name = "problem", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_problem },
	{ .type = CV_ADMIN_END, .name = "end", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_end },
};

/* ---- The connection ----------------------------------------------------------------------------------------------- */

static const char *socket_path(struct tool *tool)
{
	const char *dir = cv_conf_peek(tool->conf_path, tool->overrides.data, "base_dir", tool->arena);
	return cv_arena_printf(tool->arena, "%s/" CV_ADMIN_SOCKET, dir != NULL ? dir : CV_RUN_DIR);
}

static int connect_server(struct tool *tool, int *fd_r, struct cv_err *err)
{
	const char *path = socket_path(tool);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(path);

	if (len >= sizeof(addr.sun_path))
		return cv_err_set(err, CV_ERR_INVALID, "the socket's path is too long: %s", path);
	memcpy(addr.sun_path, path, len + 1);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cv_err_sys(err, errno, "cannot make a socket");
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0) {
		*fd_r = fd;
		return 0;
	}
	int why = errno;
	(void)close(fd);
	if (why == ENOENT || why == ECONNREFUSED || why == ENOTDIR)
		return cv_err_set(err, CV_ERR_UNAVAILABLE, "the server does not run: nobody listens on %s", path);
	if (why == EACCES || why == EPERM)
		return cv_err_set(err, CV_ERR_PERM, "no rights to ask the server (%s): be root or the user who runs it", path);
	return cv_err_sys(err, why, "cannot reach the server on %s", path);
}

static int wait_for_answer(struct exchange *x, struct cv_ipc *ipc)
{
	while (x->status < 0) {
		int n = cv_ipc_recv_wait(ipc, (int)x->tool->timeout_ms);
		if (n > 0)
			continue;
		if (n == 0)
			return cv_err_set(&x->err, CV_ERR_UNAVAILABLE, "the server ended the connection before it had answered");
		return cv_err_set(&x->err, CV_ERR_TEMP, "the server did not answer in time, or not as it should");
	}
	return 0;
}

static int no_answer(struct exchange *x)
{
	tool_complain("%s", x->err.text);
	output_error(x->out, x->user, &x->err);
	return cv_admin_exit_status(x->err.code);
}

/* Ask, and take the answer into out. Problems were told; the exit status. */
static int ask(struct exchange *x, const struct cv_admin_request *request)
{
	struct cv_buf payload;
	int fd;

	x->status = -1;
	if (connect_server(x->tool, &fd, &x->err) < 0)
		return no_answer(x);
	struct cv_ipc *ipc = cv_ipc_new(NULL, fd, "the server", answers, CV_COUNT_OF(answers), NULL, x);
	cv_buf_init_wipe(&payload, CV_IPC_MAX_PAYLOAD);
	cv_admin_request_put(&payload, request);
	int ret;
	if (!cv_buf_ok(&payload))
		ret = cv_err_set(&x->err, CV_ERR_INVALID, "too many or too long arguments");
	else if (cv_ipc_send(ipc, CV_ADMIN_REQUEST, 0, cv_buf_str(&payload), NULL, 0) >= 0)
		ret = wait_for_answer(x, ipc);
	else if (wait_for_answer(x, ipc) == 0) /* it had said why before it had heard anything */
		ret = 0;
	else
		ret = cv_err_set(&x->err, CV_ERR_UNAVAILABLE, "the server does not listen");
	cv_buf_deinit(&payload);
	cv_ipc_free(&ipc);
	return ret < 0 ? no_answer(x) : x->status;
}

/* ---- Requests ----------------------------------------------------------------------------------------------------- */

static void make_request(struct tool *tool, const struct cv_admin_spec *spec, struct cv_admin_request *request_r)
{
	struct cv_str *args = cv_new(tool->arena, struct cv_str, tool->args.count + 1);
	for (size_t i = 0; i < tool->args.count; i++)
		args[i] = cv_str_c(cv_arena_printf(tool->arena, "%s=%s", tool->args.data[i].param->name, tool->args.data[i].value));
	*request_r = (struct cv_admin_request){
		.role = spec->role,
		.command = cv_str_c(spec->name),
		.args = args,
		.arg_count = tool->args.count,
	};
}

/* -A: the names that the user databases list. */
static int list_users(struct tool *tool)
{
	struct output rows;
	output_init(&rows, tool);
	struct exchange x = { .tool = tool, .out = &rows, .quiet = true };
	const struct cv_admin_request request = { .role = CV_ROLE_AUTH, .command = CV_STR("user") };
	int status = ask(&x, &request);
	for (size_t i = 0; i < json_array_size(rows.rows); i++) {
		const char *name = json_string_value(json_object_get(json_array_get(rows.rows, i), "user"));
		if (name != NULL)
			*cv_vec_push(&tool->users) = cv_arena_strdup(tool->arena, name);
	}
	output_deinit(&rows);
	return status;
}

int tool_remote(struct tool *tool)
{
	struct output out;
	struct cv_admin_request request;
	struct cv_err first = { 0 };
	int status = 0;

	output_init(&out, tool);
	if (tool->args.count > CV_ADMIN_MAX_ARGS) {
		(void)cv_err_set(&first, CV_ERR_INVALID, "more than %d arguments", CV_ADMIN_MAX_ARGS);
		tool_complain("%s", first.text);
		status = EXIT_USAGE;
	} else if (tool->spec->role != CV_ROLE_WORKER) {
		make_request(tool, tool->spec, &request);
		struct exchange x = { .tool = tool, .out = &out };
		status = ask(&x, &request);
		first = x.err;
	} else {
		if (tool->all_users)
			status = list_users(tool);
		out.show_user = tool->all_users || tool->users.count > 1;
		make_request(tool, tool->spec, &request);
		for (size_t i = 0; i < tool->users.count; i++) {
			struct exchange x = { .tool = tool, .out = &out, .user = tool->users.data[i] };
			request.user = cv_str_c(tool->users.data[i]);
			int one = ask(&x, &request);
			/* The first error; of verdicts the worst. */
			if (status == 0 || (status < EXIT_USAGE && one > status))
				status = one;
			if (first.code == CV_ERR_NONE)
				first = x.err;
		}
		if (tool->all_users && status != 0 && first.code == CV_ERR_NONE)
			(void)cv_err_set(&first, CV_ERR_UNAVAILABLE, "the users could not be listed");
	}
	output_finish(&out, &first);
	output_deinit(&out);
	return status;
}
