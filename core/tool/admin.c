/* SPDX-License-Identifier: MIT
   Administrators' commands in the server: reading a request, running it, and writing the answer to the tool. */
#include <culver/admin.h>
#include <culver/log.h>

#include <sys/socket.h>
#include <unistd.h>

#define ROWS_PORTION 32768          /* octets of rows that are sent at once */
#define ROW_MAX 16384               /* octets of one row */
#define LINGER_MS 60000             /* for the tool to take the answer */

struct value {
	const struct cv_admin_param *param;
	const char *text;
	uint64_t number;
};

struct cv_admin {
	struct cv_arena *arena;
	struct cv_admin_serve_config config;
	const struct cv_admin_spec *spec; /* NULL: no such command */
	const char *peer;
	struct value *values;
	size_t value_count;
	struct cv_ipc *ipc;       /* NULL: the tool is gone */
	struct cv_timer *linger;  /* after done */
	struct cv_buf rows, row;
	bool in_row, first_value;
	bool lost;                /* something did not fit: the end says so */
	bool running;             /* run has not returned: nothing is freed */
	bool done;
	enum cv_err_code complaint;
	int fail_status;          /* 0: that of the error code */
	int verdict;              /* exit status of success */
	void (*gone)(void *ctx);
	void *gone_ctx;
};

int cv_admin_exit_status(enum cv_err_code code)
{
	switch (code) {
	case CV_ERR_NONE:
		return 0;
	case CV_ERR_INVALID:
	case CV_ERR_CORRUPT:
		return 65;
	case CV_ERR_NOTFOUND:
	case CV_ERR_EXPUNGED:
		return 68;
	case CV_ERR_UNAVAILABLE:
		return 69;
	case CV_ERR_INTERNAL:
		return 70;
	case CV_ERR_EXISTS:
	case CV_ERR_NOQUOTA:
		return 73;
	case CV_ERR_TEMP:
	case CV_ERR_LIMIT:
	case CV_ERR_INUSE:
		return 75;
	case CV_ERR_PERM:
	case CV_ERR_AUTH:
	case CV_ERR_EXPIRED:
	case CV_ERR_AUTHZ:
		return 77;
	case CV_ERR_UNSUPPORTED:
		return 64;
	}
	return 70;
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

/* Octets of the well-formed UTF-8 sequence at the start of s, 0 when there is none. */
static size_t utf8_len(struct cv_str s)
{
	for (size_t len = 1; len <= 4 && len <= s.len; len++)
		if (cv_str_is_utf8(cv_str_sub(s, 0, len)))
			return len;
	return 0;
}

/* RFC 8259 section 7. */
static void json_string(struct cv_buf *out, struct cv_str s)
{
	cv_buf_append_char(out, '"');
	while (s.len > 0) {
		size_t len = utf8_len(s);
		unsigned char c = (unsigned char)s.ptr[0];
		if (len == 0)
			cv_buf_append_utf8(out, 0xfffd);
		else if (c == '"' || c == '\\')
			cv_buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			cv_buf_printf(out, "\\u%04x", c);
		else
			cv_buf_append(out, cv_str_sub(s, 0, len));
		s = cv_str_sub(s, len == 0 ? 1 : len, SIZE_MAX);
	}
	cv_buf_append_char(out, '"');
}

/* ---- Requests --------------------------------------------------------------------------------------------- */

static bool known_role(uint8_t role)
{
	return role == CV_ROLE_MASTER || role == CV_ROLE_AUTH || role == CV_ROLE_SPAWNER || role == CV_ROLE_WORKER || role == CV_ROLE_FRONT;
}

int cv_admin_request_parse(struct cv_reader *payload, struct cv_arena *arena, struct cv_admin_request *request_r, struct cv_err *err)
{
	uint32_t version;
	uint8_t role;
	uint16_t count;
	struct cv_str user, command;

	if (!cv_take_u32(payload, &version))
		return cv_err_set(err, CV_ERR_INVALID, "the request is damaged");
	if (version != CV_ADMIN_VERSION)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "this culver command and the running server are of different versions: restart the server");
	if (!cv_take_u8(payload, &role) || !known_role(role) || !cv_take_str(payload, CV_IPC_MAX_PAYLOAD, &user) ||
		!cv_take_str(payload, CV_IPC_MAX_PAYLOAD, &command) || !cv_take_u16(payload, &count) || count > CV_ADMIN_MAX_ARGS)
		return cv_err_set(err, CV_ERR_INVALID, "the request is damaged");
	if ((role == CV_ROLE_WORKER) != (user.len > 0))
		return cv_err_set(err, CV_ERR_INVALID, "the command needs a user");
	struct cv_str *args = cv_new(arena, struct cv_str, (size_t)count + 1);
	for (size_t i = 0; i < count; i++) {
		if (!cv_take_str(payload, CV_IPC_MAX_PAYLOAD, &args[i]))
			return cv_err_set(err, CV_ERR_INVALID, "the request is damaged");
		args[i] = cv_arena_str(arena, args[i]);
	}
	if (!cv_reader_end(payload))
		return cv_err_set(err, CV_ERR_INVALID, "the request is damaged");
	*request_r = (struct cv_admin_request){
		.role = (enum cv_role)role,
		.user = user.len > 0 ? cv_arena_str(arena, user) : (struct cv_str){ 0 },
		.command = cv_arena_str(arena, command),
		.args = args,
		.arg_count = count,
	};
	return 0;
}

void cv_admin_request_put(struct cv_buf *out, const struct cv_admin_request *request)
{
	cv_put_u32(out, CV_ADMIN_VERSION);
	cv_put_u8(out, (uint8_t)request->role);
	cv_put_str(out, request->user);
	cv_put_str(out, request->command);
	cv_put_u16(out, (uint16_t)request->arg_count);
	for (size_t i = 0; i < request->arg_count; i++)
		cv_put_str(out, request->args[i]);
}

/* fail_status 0: the code's. */
static void put_end(struct cv_buf *out, enum cv_err_code complaint, const struct cv_err *err, int fail_status, int verdict)
{
	bool failed = err != NULL && err->code != CV_ERR_NONE;
	enum cv_err_code code = failed ? err->code : complaint;
	if (code == CV_ERR_NONE)
		cv_put_u8(out, (uint8_t)verdict);
	else
		cv_put_u8(out, (uint8_t)(fail_status != 0 ? fail_status : cv_admin_exit_status(code)));
	cv_put_u8(out, (uint8_t)code);
	cv_put_str(out, failed ? cv_str_c(err->text) : (struct cv_str){ 0 });
}

void cv_admin_refuse(int fd, const struct cv_err *err)
{
	cv_admin_refuse_with(fd, err, 0);
}

void cv_admin_refuse_with(int fd, const struct cv_err *err, int status)
{
	struct cv_buf out;
	struct cv_ipc *ipc = cv_ipc_new(NULL, fd, "culver tool", NULL, 0, NULL, NULL);
	cv_buf_init(&out, 4096);
	put_end(&out, CV_ERR_NONE, err, status, 0);
	/* A tool that does not take even this gets nothing. */
	(void)!cv_ipc_send(ipc, CV_ADMIN_END, 0, cv_buf_str(&out), NULL, 0);
	cv_buf_deinit(&out);
	cv_ipc_free(&ipc);
}

/* ---- The answer ------------------------------------------------------------------------------------------- */

static void admin_free(struct cv_admin *admin)
{
	struct cv_arena *arena = admin->arena;
	cv_timer_remove(&admin->linger);
	cv_ipc_free(&admin->ipc);
	cv_buf_deinit(&admin->rows);
	cv_buf_deinit(&admin->row);
	cv_arena_free(&arena);
}

/* A closed channel is told from the loop, never from within. */
static void send_record(struct cv_admin *admin, enum cv_admin_record type, struct cv_str payload)
{
	if (admin->ipc != NULL && cv_ipc_send(admin->ipc, (uint16_t)type, 0, payload, NULL, 0) < 0)
		admin->lost = true;
}

static void flush_rows(struct cv_admin *admin)
{
	if (admin->rows.len > 0)
		send_record(admin, CV_ADMIN_ROWS, cv_buf_str(&admin->rows));
	cv_buf_clear(&admin->rows);
}

static void send_columns(struct cv_admin *admin)
{
	struct cv_buf out;
	uint16_t count = 0;
	const struct cv_admin_column *columns = admin->spec->columns;

	cv_buf_init(&out, CV_IPC_MAX_PAYLOAD);
	while (columns != NULL && columns[count].key != NULL)
		count++;
	cv_put_u16(&out, count);
	for (uint16_t i = 0; i < count; i++) {
		cv_put_str(&out, cv_str_c(columns[i].key));
		cv_put_str(&out, cv_str_c(columns[i].title));
		cv_put_u8(&out, (uint8_t)columns[i].kind);
	}
	cv_put_u8(&out, (uint8_t)admin->spec->opts);
	send_record(admin, CV_ADMIN_COLUMNS, cv_buf_str(&out));
	cv_buf_deinit(&out);
}

void cv_admin_row_begin(struct cv_admin *admin)
{
	cv_assert(!admin->in_row && !admin->done);
	cv_buf_clear(&admin->row);
	cv_buf_append_char(&admin->row, '{');
	admin->in_row = admin->first_value = true;
}

static void put_key(struct cv_admin *admin, const char *key)
{
	const struct cv_admin_column *column = admin->spec->columns;
	cv_assert(admin->in_row);
	while (column->key != NULL && strcmp(column->key, key) != 0)
		column++;
	cv_assert(column->key != NULL);
	if (!admin->first_value)
		cv_buf_append_char(&admin->row, ',');
	admin->first_value = false;
	json_string(&admin->row, cv_str_c(key));
	cv_buf_append_char(&admin->row, ':');
}

void cv_admin_put_str(struct cv_admin *admin, const char *key, struct cv_str value)
{
	put_key(admin, key);
	json_string(&admin->row, value);
}

void cv_admin_put_u64(struct cv_admin *admin, const char *key, uint64_t value)
{
	put_key(admin, key);
	cv_buf_append_u64(&admin->row, value);
}

void cv_admin_put_bool(struct cv_admin *admin, const char *key, bool value)
{
	put_key(admin, key);
	cv_buf_append_c(&admin->row, value ? "true" : "false");
}

void cv_admin_put_list(struct cv_admin *admin, const char *key, const struct cv_str *values, size_t count)
{
	put_key(admin, key);
	cv_buf_append_char(&admin->row, '[');
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			cv_buf_append_char(&admin->row, ',');
		json_string(&admin->row, values[i]);
	}
	cv_buf_append_char(&admin->row, ']');
}

void cv_admin_row_end(struct cv_admin *admin)
{
	cv_assert(admin->in_row);
	admin->in_row = false;
	cv_buf_append_c(&admin->row, "}\n");
	if (!cv_buf_ok(&admin->row)) {
		admin->lost = true;
		return;
	}
	cv_buf_append(&admin->rows, cv_buf_str(&admin->row));
	if (admin->rows.len >= ROWS_PORTION)
		flush_rows(admin);
}

void cv_admin_alive(struct cv_admin *admin)
{
	if (admin->rows.len > 0)
		flush_rows(admin);
	else
		send_record(admin, CV_ADMIN_ROWS, CV_STR(""));
}

void cv_admin_say(struct cv_admin *admin, const char *fmt, ...)
{
	struct cv_buf text, out;
	va_list ap;
	cv_buf_init(&text, 8192);
	cv_buf_init(&out, 16384);
	va_start(ap, fmt);
	cv_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	cv_put_str(&out, cv_buf_str(&text));
	flush_rows(admin);
	send_record(admin, CV_ADMIN_SAID, cv_buf_str(&out));
	cv_buf_deinit(&text);
	cv_buf_deinit(&out);
}

void cv_admin_complain(struct cv_admin *admin, const struct cv_err *err)
{
	struct cv_buf out;
	cv_buf_init(&out, 4096);
	cv_put_u8(&out, (uint8_t)err->code);
	cv_put_str(&out, cv_str_c(err->text));
	flush_rows(admin);
	send_record(admin, CV_ADMIN_PROBLEM, cv_buf_str(&out));
	cv_buf_deinit(&out);
	if (admin->complaint == CV_ERR_NONE)
		admin->complaint = err->code;
}

void cv_admin_set_status(struct cv_admin *admin, int status)
{
	admin->fail_status = status;
}

void cv_admin_set_verdict(struct cv_admin *admin, int status)
{
	cv_assert(status >= 0 && status < 64);
	admin->verdict = status;
}

static void on_linger(void *ctx)
{
	admin_free(ctx);
}

static void linger(struct cv_admin *admin)
{
	if (admin->ipc == NULL) {
		admin_free(admin);
		return;
	}
	admin->linger = cv_timer_add(admin->config.loop, LINGER_MS, on_linger, admin);
}

void cv_admin_done(struct cv_admin *admin, const struct cv_err *err)
{
	struct cv_buf out;
	struct cv_err lost = { 0 };

	cv_assert(!admin->done && !admin->in_row);
	flush_rows(admin);
	if (admin->lost && (err == NULL || err->code == CV_ERR_NONE)) {
		(void)cv_err_set(&lost, CV_ERR_LIMIT, "a part of the answer was lost: it was too long, or not read in time");
		err = &lost;
	}
	cv_buf_init(&out, 4096);
	put_end(&out, admin->complaint, err, admin->fail_status, admin->verdict);
	send_record(admin, CV_ADMIN_END, cv_buf_str(&out));
	cv_buf_deinit(&out);
	admin->done = true;
	admin->gone = NULL;
	if (admin->config.finished != NULL)
		admin->config.finished(admin->config.ctx);
	if (!admin->running) /* else cv_admin_serve sees to it */
		linger(admin);
}

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct cv_admin *admin = ctx;
	(void)ipc;
	if (admin->done && !admin->running) {
		admin_free(admin);
		return;
	}
	cv_ipc_free(&admin->ipc);
	void (*gone)(void *) = admin->gone;
	admin->gone = NULL;
	if (gone != NULL)
		gone(admin->gone_ctx);
}

/* ---- Parameters -------------------------------------------------------------------------------------------- */

static const struct cv_admin_param *find_param(const struct cv_admin_spec *spec, struct cv_str name)
{
	for (const struct cv_admin_param *p = spec->params; p != NULL && p->name != NULL; p++)
		if (cv_str_eq_c(name, p->name))
			return p;
	return NULL;
}

static size_t count_given(const struct cv_admin *admin, const struct cv_admin_param *param)
{
	size_t count = 0;
	for (size_t i = 0; i < admin->value_count; i++)
		count += admin->values[i].param == param;
	return count;
}

static int take_arg(struct cv_admin *admin, struct cv_str arg, struct cv_err *err)
{
	struct cv_str name, text;
	if (!cv_str_split(arg, '=', &name, &text))
		return cv_err_set(err, CV_ERR_INVALID, "the request is damaged");
	const struct cv_admin_param *param = find_param(admin->spec, name);
	if (param == NULL)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "%s has no parameter %.*s", admin->spec->name, CV_STR_ARG(cv_str_sub(name, 0, 60)));
	if ((param->opts & CV_ADMIN_REPEAT) == 0 && count_given(admin, param) > 0)
		return cv_err_set(err, CV_ERR_INVALID, "%s is given twice", param->name);
	struct value *value = &admin->values[admin->value_count];
	value->param = param;
	value->text = cv_arena_cstr(admin->arena, text);
	if (value->text == NULL)
		return cv_err_set(err, CV_ERR_INVALID, "%s holds a NUL octet", param->name);
	if (param->kind == CV_ADMIN_NUMBER && !cv_str_to_u64(text, UINT64_MAX, &value->number))
		return cv_err_set(err, CV_ERR_INVALID, "%s must be a number", param->name);
	admin->value_count++;
	return 0;
}

static int take_args(struct cv_admin *admin, const struct cv_str *args, size_t count, struct cv_err *err)
{
	admin->values = cv_new(admin->arena, struct value, count + 1);
	for (size_t i = 0; i < count; i++)
		if (take_arg(admin, args[i], err) < 0)
			return -1;
	for (const struct cv_admin_param *p = admin->spec->params; p != NULL && p->name != NULL; p++)
		if ((p->opts & CV_ADMIN_REQUIRED) != 0 && count_given(admin, p) == 0)
			return cv_err_set(err, CV_ERR_INVALID, "%s needs %s", admin->spec->name, p->name);
	return 0;
}

const char *cv_admin_param_next(const struct cv_admin *admin, const char *name, size_t *pos)
{
	while (*pos < admin->value_count) {
		const struct value *value = &admin->values[(*pos)++];
		if (strcmp(value->param->name, name) == 0)
			return value->text;
	}
	return NULL;
}

const char *cv_admin_param(const struct cv_admin *admin, const char *name)
{
	size_t pos = 0;
	return cv_admin_param_next(admin, name, &pos);
}

uint64_t cv_admin_number(const struct cv_admin *admin, const char *name, uint64_t def)
{
	for (size_t i = 0; i < admin->value_count; i++)
		if (strcmp(admin->values[i].param->name, name) == 0)
			return admin->values[i].number;
	return def;
}

bool cv_admin_flag(const struct cv_admin *admin, const char *name)
{
	return cv_admin_param(admin, name) != NULL;
}

struct cv_user *cv_admin_user(const struct cv_admin *admin)
{
	return admin->config.user;
}

void *cv_admin_process(const struct cv_admin *admin)
{
	return admin->config.process;
}

const struct cv_registry *cv_admin_registry(const struct cv_admin *admin)
{
	return admin->config.registry;
}

struct cv_loop *cv_admin_loop(const struct cv_admin *admin)
{
	return admin->config.loop;
}

struct cv_arena *cv_admin_arena(const struct cv_admin *admin)
{
	return admin->arena;
}

const char *cv_admin_peer(const struct cv_admin *admin)
{
	return admin->peer;
}

void cv_admin_on_gone(struct cv_admin *admin, void (*fn)(void *ctx), void *ctx)
{
	admin->gone = fn;
	admin->gone_ctx = ctx;
}

/* ---- Running ------------------------------------------------------------------------------------------------ */

static int start(struct cv_admin *admin, struct cv_str command, const struct cv_str *args, size_t count, struct cv_err *err)
{
	const char *name = cv_arena_cstr(admin->arena, command);
	const struct cv_admin_command *found =
		name == NULL ? NULL : cv_provider_get(admin->config.registry, CV_CAP_ADMIN, name);
	if (found == NULL || found->spec->role != admin->config.role)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "the running server does not know the command \"%.*s\"",
			CV_STR_ARG(cv_str_sub(command, 0, 60)));
	admin->spec = found->spec;
	if (take_args(admin, args, count, err) < 0)
		return -1;
	send_columns(admin);
	return found->run(admin, err);
}

void cv_admin_serve(const struct cv_admin_serve_config *config, struct cv_str command, const struct cv_str *args, size_t arg_count)
{
	struct cv_arena *arena = cv_arena_new("admin command", NULL, CV_ARENA_WIPE);
	struct cv_admin *admin = cv_new(arena, struct cv_admin, 1);
	struct cv_err err = { 0 };

	admin->arena = arena;
	admin->config = *config;
	admin->peer = cv_arena_strdup(arena, config->peer != NULL ? config->peer : "unknown");
	cv_buf_init(&admin->rows, ROWS_PORTION + ROW_MAX);
	cv_buf_init(&admin->row, ROW_MAX);
	/* The tool sends nothing more: a message from it ends the channel. */
	admin->ipc = cv_ipc_new(config->loop, config->fd, "culver tool", NULL, 0, on_closed, admin);
	admin->running = true;
	int ret = start(admin, command, args, arg_count, &err);
	if (ret < 0 && err.code == CV_ERR_NONE)
		(void)cv_err_set(&err, CV_ERR_INTERNAL, "the command failed and gave no reason");
	if (ret != 0 && !admin->done) {
		admin->in_row = false;
		cv_admin_done(admin, ret < 0 ? &err : NULL);
	}
	admin->running = false;
	if (admin->done)
		linger(admin);
}
