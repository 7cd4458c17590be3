/* SPDX-License-Identifier: MIT
   Administrators' commands in the server: requests, parameters, answers, and tools that go away. */
#include "t/lib/test.h"

#include <culver/admin.h>

#include <unistd.h>

/* ---- A command of every kind ------------------------------------------------------------------------------------ */

static const struct cv_admin_param params[] = {
	{ .name = "flag", .letter = 'f', .kind = CV_ADMIN_FLAG },
	{ .name = "count", .letter = 'c', .kind = CV_ADMIN_NUMBER },
	{ .name = "word", .positional = true, .kind = CV_ADMIN_TEXT, .opts = CV_ADMIN_REQUIRED | CV_ADMIN_REPEAT },
	{ .name = NULL },
};
static const struct cv_admin_column columns[] = {
	{ "word", "Word", CV_ADMIN_COL_TEXT }, { "count", "Count", CV_ADMIN_COL_NUMBER }, { "flag", "Flag", CV_ADMIN_COL_BOOL },
	{ "list", NULL, CV_ADMIN_COL_LIST }, { .key = NULL },
};
static const struct cv_admin_spec spec = { .name = "test echo", .role = CV_ROLE_WORKER, .params = params, .columns = columns, .summary = "test" };
static const struct cv_admin_spec front_spec = { .name = "test front", .role = CV_ROLE_FRONT, .summary = "test" };

/* What run does, and what came of it: tests of this program run one after the other. */
static struct {
	enum { ECHO, FAIL, FAIL_78, FAIL_SILENTLY, COMPLAIN, LATER, MANY, HUGE_ROW, DONE_INSIDE } mode;
	struct cv_admin *admin;
	unsigned finished, gone;
} plan;

static int run(struct cv_admin *admin, struct cv_err *err)
{
	static const struct cv_str list[] = { CV_STR_INIT("a \"b\""), CV_STR_INIT("\x01\xff") };
	const char *word;
	char huge[20000];
	struct cv_err part = { 0 };
	switch (plan.mode) {
	case FAIL:
		return cv_err_set(err, CV_ERR_NOTFOUND, "there is none");
	case FAIL_78:
		cv_admin_set_status(admin, 78);
		return cv_err_set(err, CV_ERR_INVALID, "settings");
	case FAIL_SILENTLY:
		return -1;
	case LATER:
		plan.admin = admin;
		return 0;
	case DONE_INSIDE:
		cv_admin_done(admin, NULL);
		return 0;
	case MANY:
		for (unsigned i = 0; i < 5000; i++) {
			cv_admin_row_begin(admin);
			cv_admin_put_str(admin, "word", CV_STR("some text that makes the row longer"));
			cv_admin_put_u64(admin, "count", i);
			cv_admin_row_end(admin);
		}
		return 1;
	case HUGE_ROW:
		memset(huge, 'x', sizeof(huge));
		cv_admin_row_begin(admin);
		cv_admin_put_str(admin, "word", cv_str_mem(huge, sizeof(huge)));
		cv_admin_row_end(admin);
		return 1;
	case COMPLAIN:
		(void)cv_err_set(&part, CV_ERR_EXISTS, "one is there");
		cv_admin_complain(admin, &part);
		(void)cv_err_set(&part, CV_ERR_PERM, "another is forbidden");
		cv_admin_complain(admin, &part);
		cv_admin_say(admin, "done %d", 7);
		return 1;
	case ECHO:
		break;
	}
	assert_string_equal(cv_admin_peer(admin), "uid 0");
	for (size_t pos = 0; (word = cv_admin_param_next(admin, "word", &pos)) != NULL;) {
		cv_admin_row_begin(admin);
		cv_admin_put_str(admin, "word", cv_str_c(word));
		cv_admin_put_u64(admin, "count", cv_admin_number(admin, "count", 99));
		cv_admin_put_bool(admin, "flag", cv_admin_flag(admin, "flag"));
		cv_admin_put_list(admin, "list", list, 2);
		cv_admin_row_end(admin);
	}
	assert_null(cv_admin_param(admin, "nothing"));
	return 1;
}

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	static const struct cv_admin_command command = { .spec = &spec, .run = run }, front = { .spec = &front_spec, .run = run };
	(void)role;
	if (cv_provide_admin(reg, &command, err) < 0)
		return -1;
	return cv_provide_admin(reg, &front, err);
}

static const struct cv_module module = {
	CV_MODULE_ABI, .name = "echo", .version = "1", .kind = CV_KIND_PLUGIN, .roles = CV_ROLE_WORKER, .load = load,
};

/* ---- Server and tool in one process ------------------------------------------------------------------------------ */

struct fixture {
	struct cv_arena *arena;
	struct cv_loop *loop;
	struct cv_registry *reg;
	struct cv_ipc *tool;
	struct cv_buf rows, said, problems;
	unsigned columns, records;
	int status, code; /* of END; -1: none yet */
	char text[600];
	bool closed;
};

static int on_record(void *ctx, struct cv_ipc *ipc, struct cv_ipc_msg *msg)
{
	struct fixture *f = ctx;
	struct cv_str text = { 0 };
	uint8_t status = 0, code = 0;
	(void)ipc;
	f->records++;
	switch (msg->type) {
	case CV_ADMIN_COLUMNS:
		f->columns++;
		return 0;
	case CV_ADMIN_ROWS:
		cv_buf_append(&f->rows, cv_reader_rest(&msg->payload));
		return 0;
	case CV_ADMIN_SAID:
		assert_true(cv_take_str(&msg->payload, 1000, &text));
		cv_buf_append(&f->said, text);
		return 0;
	case CV_ADMIN_PROBLEM:
		assert_true(cv_take_u8(&msg->payload, &code) && cv_take_str(&msg->payload, 1000, &text));
		cv_buf_printf(&f->problems, "%s: ", cv_err_code_name((enum cv_err_code)code));
		cv_buf_append(&f->problems, text);
		cv_buf_append_char(&f->problems, '\n');
		return 0;
	default:
		assert_int_equal(f->status, -1);
		assert_true(cv_take_u8(&msg->payload, &status) && cv_take_u8(&msg->payload, &code) && cv_take_str(&msg->payload, 1000, &text));
		f->status = status;
		f->code = code;
		if (text.ptr != NULL)
			memcpy(f->text, text.ptr, text.len);
		return cv_reader_end(&msg->payload) ? 0 : -1;
	}
}

static void on_closed(void *ctx, struct cv_ipc *ipc)
{
	struct fixture *f = ctx;
	(void)ipc;
	f->closed = true;
}

static void on_finished(void *ctx)
{
	(void)ctx;
	plan.finished++;
}

static int setup(void **state)
{
	if (cv_test_setup(state) != 0)
		return -1;
	struct cv_arena *arena = *state;
	struct fixture *f = cv_new(arena, struct fixture, 1);
	struct cv_err err = { 0 };
	f->arena = arena;
	f->loop = cv_loop_new(CV_LOOP_FAKE);
	f->reg = cv_registry_new();
	f->status = f->code = -1;
	cv_buf_init(&f->rows, 1 << 20);
	cv_buf_init(&f->said, 10000);
	cv_buf_init(&f->problems, 10000);
	memset(&plan, 0, sizeof(plan));
	*state = f;
	if (cv_module_add_static(f->reg, &module, &err) < 0)
		return -1;
	return cv_modules_load(f->reg, CV_ROLE_WORKER, &err);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	cv_ipc_free(&f->tool);
	/* The server's side sees it. */
	for (unsigned i = 0; i < 5; i++)
		(void)cv_loop_once(f->loop, 0);
	cv_loop_free(&f->loop);
	cv_registry_free(&f->reg);
	cv_buf_deinit(&f->rows);
	cv_buf_deinit(&f->said);
	cv_buf_deinit(&f->problems);
	*state = f->arena;
	return cv_test_teardown(state);
}

static const struct cv_ipc_type table[] = {
	{ .type = CV_ADMIN_COLUMNS, .name = "columns", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_record },
	{ .type = CV_ADMIN_ROWS, .name = "rows", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_record },
	{ .type = CV_ADMIN_SAID, .name = "said", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_record },
	{ .type = CV_ADMIN_PROBLEM, .name = "problem", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_record },
	{ .type = CV_ADMIN_END, .name = "end", .max_len = CV_IPC_MAX_PAYLOAD, .handler = on_record },
};

static void settle(struct fixture *f)
{
	for (unsigned i = 0; i < 50; i++)
		(void)cv_loop_once(f->loop, 0);
}

static void serve(struct fixture *f, const char *command, const struct cv_str *args, size_t count)
{
	int fds[2];
	cv_ipc_pair(fds);
	f->tool = cv_ipc_new(f->loop, fds[0], "server", table, CV_COUNT_OF(table), on_closed, f);
	const struct cv_admin_serve_config config = {
		.registry = f->reg, .loop = f->loop, .fd = fds[1], .peer = "uid 0", .role = CV_ROLE_WORKER, .finished = on_finished,
	};
	cv_admin_serve(&config, cv_str_c(command), args, count);
	settle(f);
}

static void serve_word(struct fixture *f)
{
	static const struct cv_str args[] = { CV_STR_INIT("word=x") };
	serve(f, "test echo", args, 1);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void rows_are_json_and_the_end_is_success(void **state)
{
	struct fixture *f = *state;
	static const struct cv_str args[] = { CV_STR_INIT("word=a=\"b\"\\"), CV_STR_INIT("flag="), CV_STR_INIT("count=18446744073709551615"),
		CV_STR_INIT("word=\xc3\xa9\n") };
	serve(f, "test echo", args, CV_COUNT_OF(args));
	assert_int_equal(f->columns, 1);
	assert_str(cv_buf_str(&f->rows),
		"{\"word\":\"a=\\\"b\\\"\\\\\",\"count\":18446744073709551615,\"flag\":true,\"list\":[\"a \\\"b\\\"\",\"\\u0001\xef\xbf\xbd\"]}\n"
		"{\"word\":\"\xc3\xa9\\u000a\",\"count\":18446744073709551615,\"flag\":true,\"list\":[\"a \\\"b\\\"\",\"\\u0001\xef\xbf\xbd\"]}\n");
	assert_int_equal(f->status, 0);
	assert_int_equal(f->code, CV_ERR_NONE);
	assert_int_equal(plan.finished, 1);
}

static void wrong_requests_are_answered_and_not_run(void **state)
{
	static const struct {
		const char *command;
		struct cv_str args[3];
		size_t count;
		int status;
		const char *text;
	} rows[] = {
		{ "test nothing", { { NULL, 0 } }, 0, 64, "the running server does not know the command \"test nothing\"" },
		{ "test front", { { NULL, 0 } }, 0, 64, "the running server does not know the command \"test front\"" },
		{ "test echo", { { NULL, 0 } }, 0, 65, "test echo needs word" },
		{ "test echo", { CV_STR_INIT("word") }, 1, 65, "the request is damaged" },
		{ "test echo", { CV_STR_INIT("other=x") }, 1, 64, "test echo has no parameter other" },
		{ "test echo", { CV_STR_INIT("count=x") }, 1, 65, "count must be a number" },
		{ "test echo", { CV_STR_INIT("count=1"), CV_STR_INIT("count=1") }, 2, 65, "count is given twice" },
		{ "test echo", { CV_STR_INIT("word=a\0b") }, 1, 65, "word holds a NUL octet" },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		f->status = f->code = -1;
		memset(f->text, 0, sizeof(f->text));
		serve(f, rows[i].command, rows[i].args, rows[i].count);
		assert_string_equal(f->text, rows[i].text);
		assert_int_equal(f->status, rows[i].status);
		assert_int_equal(plan.finished, i + 1);
		assert_int_equal(f->rows.len, 0);
		cv_ipc_free(&f->tool);
		settle(f);
	}
}

static void a_failure_ends_with_its_status_and_text(void **state)
{
	struct fixture *f = *state;
	plan.mode = FAIL;
	serve_word(f);
	assert_int_equal(f->status, 68);
	assert_int_equal(f->code, CV_ERR_NOTFOUND);
	assert_string_equal(f->text, "there is none");
}

static void a_command_may_choose_the_status_of_its_failure(void **state)
{
	struct fixture *f = *state;
	plan.mode = FAIL_78;
	serve_word(f);
	assert_int_equal(f->status, 78);
	assert_int_equal(f->code, CV_ERR_INVALID);
}

static void a_failure_without_a_reason_is_an_internal_error(void **state)
{
	struct fixture *f = *state;
	plan.mode = FAIL_SILENTLY;
	serve_word(f);
	assert_int_equal(f->status, 70);
	assert_string_equal(f->text, "the command failed and gave no reason");
}

static void complaints_set_the_status_but_do_not_end_the_command(void **state)
{
	struct fixture *f = *state;
	plan.mode = COMPLAIN;
	serve_word(f);
	assert_str(cv_buf_str(&f->problems), "exists: one is there\nperm: another is forbidden\n");
	assert_str(cv_buf_str(&f->said), "done 7");
	assert_int_equal(f->status, 73);
	assert_int_equal(f->code, CV_ERR_EXISTS);
	assert_string_equal(f->text, "");
}

static void many_rows_come_in_portions_and_all_of_them(void **state)
{
	struct fixture *f = *state;
	plan.mode = MANY;
	serve_word(f);
	size_t lines = 0;
	for (size_t i = 0; i < f->rows.len; i++)
		lines += f->rows.data[i] == '\n';
	assert_int_equal(lines, 5000);
	assert_true(f->records > 3 && f->records < 100);
	assert_int_equal(f->status, 0);
}

static void a_row_that_is_too_long_is_not_lost_in_silence(void **state)
{
	struct fixture *f = *state;
	plan.mode = HUGE_ROW;
	serve_word(f);
	assert_int_equal(f->rows.len, 0);
	assert_int_equal(f->status, 75);
	assert_string_equal(f->text, "a part of the answer was lost: it was too long, or not read in time");
}

static void a_command_may_end_later(void **state)
{
	struct fixture *f = *state;
	plan.mode = LATER;
	serve_word(f);
	assert_int_equal(f->status, -1);
	assert_int_equal(plan.finished, 0);
	cv_admin_say(plan.admin, "late");
	cv_admin_done(plan.admin, NULL);
	settle(f);
	assert_str(cv_buf_str(&f->said), "late");
	assert_int_equal(f->status, 0);
	assert_int_equal(plan.finished, 1);
}

static void a_command_may_end_within_run(void **state)
{
	struct fixture *f = *state;
	plan.mode = DONE_INSIDE;
	serve_word(f);
	assert_int_equal(f->status, 0);
	assert_int_equal(plan.finished, 1);
}

static void on_gone(void *ctx)
{
	assert_ptr_equal(ctx, &plan);
	plan.gone++;
}

static void a_command_learns_that_its_tool_is_gone(void **state)
{
	struct fixture *f = *state;
	plan.mode = LATER;
	serve_word(f);
	cv_admin_on_gone(plan.admin, on_gone, &plan);
	cv_ipc_free(&f->tool);
	settle(f);
	assert_int_equal(plan.gone, 1);
	assert_int_equal(plan.finished, 0);
	/* It may still speak; nobody hears it. */
	cv_admin_row_begin(plan.admin);
	cv_admin_put_str(plan.admin, "word", CV_STR("x"));
	cv_admin_row_end(plan.admin);
	cv_admin_done(plan.admin, NULL);
	assert_int_equal(plan.finished, 1);
}

static void a_tool_that_takes_no_answer_is_let_go(void **state)
{
	struct fixture *f = *state;
	serve_word(f);
	assert_int_equal(f->status, 0);
	assert_false(f->closed);
	cv_loop_fake_advance(f->loop, 61000);
	settle(f);
	assert_true(f->closed);
}

static void a_tool_that_goes_on_talking_is_cut_off(void **state)
{
	struct fixture *f = *state;
	plan.mode = LATER;
	serve_word(f);
	cv_admin_on_gone(plan.admin, on_gone, &plan);
	assert_int_equal(cv_ipc_send(f->tool, CV_ADMIN_REQUEST, 0, CV_STR("more"), NULL, 0), 1);
	settle(f);
	assert_true(f->closed);
	assert_int_equal(plan.gone, 1);
	cv_admin_done(plan.admin, NULL);
}

static void requests_come_back_as_they_were_put(void **state)
{
	struct fixture *f = *state;
	static const struct cv_str args[] = { CV_STR_INIT("a=b"), CV_STR_INIT("c=") };
	const struct cv_admin_request request = {
		.role = CV_ROLE_WORKER, .user = CV_STR("alice"), .command = CV_STR("mailbox list"), .args = args, .arg_count = 2,
	};
	struct cv_admin_request back;
	struct cv_err err = { 0 };
	struct cv_buf out;
	cv_buf_init(&out, 1000);
	cv_admin_request_put(&out, &request);
	struct cv_reader r = cv_reader_init(cv_buf_str(&out));
	assert_int_equal(cv_admin_request_parse(&r, f->arena, &back, &err), 0);
	assert_int_equal(back.role, CV_ROLE_WORKER);
	assert_str(back.user, "alice");
	assert_str(back.command, "mailbox list");
	assert_int_equal(back.arg_count, 2);
	assert_str(back.args[0], "a=b");
	assert_str(back.args[1], "c=");
	for (size_t len = 0; len < out.len; len++) {
		r = cv_reader_init(cv_str_mem(out.data, len));
		assert_int_equal(cv_admin_request_parse(&r, f->arena, &back, &err), -1);
	}
	cv_buf_append_char(&out, 'x');
	r = cv_reader_init(cv_buf_str(&out));
	assert_int_equal(cv_admin_request_parse(&r, f->arena, &back, &err), -1);
	out.data[0] = 2;
	r = cv_reader_init(cv_buf_str(&out));
	assert_int_equal(cv_admin_request_parse(&r, f->arena, &back, &err), -1);
	assert_int_equal(err.code, CV_ERR_UNSUPPORTED);
	cv_buf_deinit(&out);
}

static void a_user_belongs_to_workers_commands_only(void **state)
{
	struct fixture *f = *state;
	static const struct {
		enum cv_role role;
		struct cv_str user;
	} rows[] = { { CV_ROLE_WORKER, { NULL, 0 } }, { CV_ROLE_MASTER, CV_STR_INIT("alice") }, { CV_ROLE_TOOL, { NULL, 0 } } };
	struct cv_admin_request back;
	struct cv_err err = { 0 };
	struct cv_buf out;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		const struct cv_admin_request request = { .role = rows[i].role, .user = rows[i].user, .command = CV_STR("x") };
		cv_buf_init(&out, 1000);
		cv_admin_request_put(&out, &request);
		struct cv_reader r = cv_reader_init(cv_buf_str(&out));
		assert_int_equal(cv_admin_request_parse(&r, f->arena, &back, &err), -1);
		cv_buf_deinit(&out);
	}
}

static void a_refusal_is_an_end(void **state)
{
	struct fixture *f = *state;
	struct cv_err err = { 0 };
	int fds[2];
	cv_ipc_pair(fds);
	f->tool = cv_ipc_new(f->loop, fds[0], "server", table, CV_COUNT_OF(table), on_closed, f);
	(void)cv_err_set(&err, CV_ERR_PERM, "you may not");
	cv_admin_refuse(fds[1], &err);
	settle(f);
	assert_int_equal(f->status, 77);
	assert_string_equal(f->text, "you may not");
	assert_true(f->closed);
}

static void core_specifications_are_sound(void **state)
{
	(void)state;
	for (size_t i = 0; cv_admin_core_specs[i] != NULL; i++) {
		const struct cv_admin_spec *s = cv_admin_core_specs[i];
		bool seen_repeat = false, seen_optional = false;
		assert_non_null(s->summary);
		assert_ptr_equal(cv_admin_core_spec(s->name), s);
		for (const struct cv_admin_param *p = s->params; p->name != NULL; p++) {
			assert_non_null(p->help);
			assert_true(p->kind == CV_ADMIN_FLAG || p->meta != NULL);
			/* Options that every command has. */
			assert_true(strchr("cohv", p->letter) == NULL || p->letter == '\0');
			if (!p->positional)
				continue;
			assert_false(seen_repeat);
			assert_false(seen_optional && (p->opts & CV_ADMIN_REQUIRED) != 0 && p->kind != CV_ADMIN_SECRET);
			seen_repeat = (p->opts & CV_ADMIN_REPEAT) != 0;
			seen_optional = (p->opts & CV_ADMIN_REQUIRED) == 0;
		}
	}
	expect_assert_failure((void)cv_admin_core_spec("nothing"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(rows_are_json_and_the_end_is_success),
		T(wrong_requests_are_answered_and_not_run),
		T(a_failure_ends_with_its_status_and_text),
		T(a_command_may_choose_the_status_of_its_failure),
		T(a_failure_without_a_reason_is_an_internal_error),
		T(complaints_set_the_status_but_do_not_end_the_command),
		T(many_rows_come_in_portions_and_all_of_them),
		T(a_row_that_is_too_long_is_not_lost_in_silence),
		T(a_command_may_end_later),
		T(a_command_may_end_within_run),
		T(a_command_learns_that_its_tool_is_gone),
		T(a_tool_that_takes_no_answer_is_let_go),
		T(a_tool_that_goes_on_talking_is_cut_off),
		T(requests_come_back_as_they_were_put),
		T(a_user_belongs_to_workers_commands_only),
		T(a_refusal_is_an_end),
		T(core_specifications_are_sound),
	};
	return cv_test_run(tests);
}
