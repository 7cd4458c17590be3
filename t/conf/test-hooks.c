/* SPDX-License-Identifier: MIT
   Hooks: order, policies, points of modules, and the table that cannot be changed. */
#include "t/lib/test.h"

#include <culver/hooks.h>
#include <culver/log.h>


/* One module adds what the test's plan says. */
struct planned {
	struct cv_hook_opts opts;
	enum cv_hook_result answer;
	enum cv_err_code code; /* of err, when the answer is an error */
	const char *point;     /* NULL: the hook of the test */
};

enum which { GUARD, NOTIFY, DECIDE };

/* The loader gives no context to load: the tests of this program run one after the other. */
static struct {
	struct planned *list;
	size_t count;
	enum which which;
	const char *declare; /* a point to declare */
	enum cv_hook_policy policy;
	struct cv_hook_point *point;
	char trace[200];
} plan;

static enum cv_hook_result answer(void *ctx, struct cv_err *err)
{
	const struct planned *p = ctx;
	size_t len = strlen(plan.trace);
	assert_true(snprintf(plan.trace + len, sizeof(plan.trace) - len, "%s ", p->opts.name) < (int)(sizeof(plan.trace) - len));
	if (p->code != CV_ERR_NONE)
		cv_err_set_public(err, p->code, "%s says no", p->opts.name);
	return p->answer;
}

static enum cv_hook_result on_guard(void *ctx, struct cv_hook_auth_begin *args, struct cv_err *err)
{
	(void)args;
	return answer(ctx, err);
}

static enum cv_hook_result on_notify(void *ctx, struct cv_hook_delivered *args, struct cv_err *err)
{
	(void)args;
	return answer(ctx, err);
}

static enum cv_hook_result on_decide(void *ctx, struct cv_hook_delivery *args, struct cv_err *err)
{
	(void)args;
	return answer(ctx, err);
}

static enum cv_hook_result on_point(void *ctx, void *args, struct cv_err *err)
{
	assert_string_equal(args, "argument");
	return answer(ctx, err);
}

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	int ret = 0;
	for (size_t i = 0; i < plan.count && ret == 0; i++) {
		struct planned *p = &plan.list[i];
		p->opts.ctx = p;
		if (p->point != NULL)
			ret = cv_hook_point_add(reg, p->point, on_point, &p->opts, err);
		else if (plan.which == GUARD)
			ret = cv_hook_add_auth_begin(reg, on_guard, &p->opts, err);
		else if (plan.which == NOTIFY)
			ret = cv_hook_add_delivered(reg, on_notify, &p->opts, err);
		else
			ret = cv_hook_add_delivery(reg, on_decide, &p->opts, err);
	}
	/* After the handlers: a point may be declared later than it is used. */
	if (ret == 0 && plan.declare != NULL)
		ret = cv_hook_point_declare(reg, plan.declare, plan.policy, &plan.point, err);
	return ret;
}

static const struct cv_module module = {
	CV_MODULE_ABI,
	.name = "planner",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.load = load,
};

static struct cv_registry *load_plan(enum which which, struct planned *list, size_t count, struct cv_err *err)
{
	struct cv_registry *reg = cv_registry_new();
	plan.list = list;
	plan.count = count;
	plan.which = which;
	plan.trace[0] = '\0';
	assert_int_equal(cv_module_add_static(reg, &module, err), 0);
	if (cv_modules_load(reg, CV_ROLE_WORKER, err) < 0)
		cv_registry_free(&reg);
	plan.declare = NULL;
	return reg;
}

static enum cv_hook_result run(const struct cv_registry *reg, struct cv_err *err)
{
	struct cv_hook_auth_begin begin = { 0 };
	struct cv_hook_delivered delivered = { 0 };
	struct cv_hook_delivery delivery = { 0 };
	plan.trace[0] = '\0';
	switch (plan.which) {
	case GUARD:
		return cv_hook_run_auth_begin(reg, &begin, err);
	case NOTIFY:
		return cv_hook_run_delivered(reg, &delivered, err);
	case DECIDE:
		return cv_hook_run_delivery(reg, &delivery, err);
	}
	return CV_HOOK_ERROR;
}

/* ---- Order ----------------------------------------------------------------------------------------------------- */

static void assert_order(struct planned *list, size_t count, const char *want)
{
	struct cv_err err = { 0 };
	struct cv_registry *reg = load_plan(GUARD, list, count, &err);
	assert_string_equal(err.text, "");
	assert_non_null(reg);
	assert_int_equal(run(reg, &err), CV_HOOK_PASS);
	assert_string_equal(plan.trace, want);
	cv_registry_free(&reg);
}

static void order_is_stage_then_name_whatever_was_added_first(void **state)
{
	(void)state;
	struct planned list[] = {
		{ .opts = { .name = "e", .stage = CV_STAGE_LAST } },
		{ .opts = { .name = "z", .stage = CV_STAGE_FIRST } },
		{ .opts = { .name = "c", .stage = CV_STAGE_NORMAL } },
		{ .opts = { .name = "b", .stage = CV_STAGE_NORMAL } },
		{ .opts = { .name = "a", .stage = CV_STAGE_LATE } },
		{ .opts = { .name = "y", .stage = CV_STAGE_EARLY } },
	};
	assert_order(list, CV_COUNT_OF(list), "z y b c a e ");
	struct planned turned[CV_COUNT_OF(list)];
	for (size_t i = 0; i < CV_COUNT_OF(list); i++)
		turned[i] = list[CV_COUNT_OF(list) - 1 - i];
	assert_order(turned, CV_COUNT_OF(turned), "z y b c a e ");
}

static void before_and_after_come_before_names(void **state)
{
	(void)state;
	struct planned list[] = {
		{ .opts = { .name = "a", .stage = CV_STAGE_NORMAL, .after = "c" } },
		{ .opts = { .name = "b", .stage = CV_STAGE_NORMAL } },
		{ .opts = { .name = "c", .stage = CV_STAGE_NORMAL, .after = "nobody" } },
		{ .opts = { .name = "d", .stage = CV_STAGE_NORMAL, .before = "b" } },
	};
	assert_order(list, CV_COUNT_OF(list), "c a d b ");
}

static void constraints_across_stages_must_agree_with_them(void **state)
{
	(void)state;
	struct cv_err err = { 0 };
	struct planned fine[] = {
		{ .opts = { .name = "late", .stage = CV_STAGE_LATE, .after = "early" } },
		{ .opts = { .name = "early", .stage = CV_STAGE_EARLY, .before = "late" } },
	};
	assert_order(fine, CV_COUNT_OF(fine), "early late ");
	struct planned wrong[] = {
		{ .opts = { .name = "late", .stage = CV_STAGE_LATE, .before = "early" } },
		{ .opts = { .name = "early", .stage = CV_STAGE_EARLY } },
	};
	assert_null(load_plan(GUARD, wrong, CV_COUNT_OF(wrong), &err));
	assert_string_equal(err.text, "hook auth_begin: late (stage late) cannot run before early (stage early)");
}

static void a_circle_is_named(void **state)
{
	(void)state;
	struct cv_err err = { 0 };
	struct planned list[] = {
		{ .opts = { .name = "outside", .stage = CV_STAGE_NORMAL, .after = "a" } },
		{ .opts = { .name = "a", .stage = CV_STAGE_NORMAL, .after = "b" } },
		{ .opts = { .name = "b", .stage = CV_STAGE_NORMAL, .after = "c" } },
		{ .opts = { .name = "c", .stage = CV_STAGE_NORMAL, .after = "a" } },
	};
	assert_null(load_plan(GUARD, list, CV_COUNT_OF(list), &err));
	assert_non_null(strstr(err.text, "hook auth_begin: its handlers are ordered in a circle: "));
	assert_non_null(strstr(err.text, "a waits for b"));
	assert_non_null(strstr(err.text, "b waits for c"));
	assert_non_null(strstr(err.text, "c waits for a"));
	assert_null(strstr(err.text, "outside"));
}

static void two_handlers_of_one_name_are_refused(void **state)
{
	(void)state;
	struct cv_err err = { 0 };
	struct planned list[] = {
		{ .opts = { .name = "a", .stage = CV_STAGE_NORMAL } },
		{ .opts = { .name = "a", .stage = CV_STAGE_LATE } },
	};
	assert_null(load_plan(GUARD, list, CV_COUNT_OF(list), &err));
	assert_string_equal(err.text, "module planner: hook auth_begin has two handlers called a");
}

static void handlers_are_listed_in_the_order_they_run(void **state)
{
	(void)state;
	struct cv_err err = { 0 };
	struct planned list[] = {
		{ .opts = { .name = "b", .stage = CV_STAGE_NORMAL } },
		{ .opts = { .name = "a", .stage = CV_STAGE_LAST } },
		{ .opts = { .name = "p", .stage = CV_STAGE_NORMAL }, .point = "mine" },
	};
	plan.declare = "mine";
	plan.policy = CV_HOOK_NOTIFY;
	struct cv_registry *reg = load_plan(DECIDE, list, CV_COUNT_OF(list), &err);
	assert_non_null(reg);
	static const char *const want[][3] = { { "delivery", "b", "normal" }, { "delivery", "a", "last" }, { "mine", "p", "normal" } };
	size_t pos = 0;
	const char *hook, *handler;
	enum cv_hook_stage stage;
	for (size_t i = 0; i < 3; i++) {
		assert_true(cv_hook_next(reg, &pos, &hook, &handler, &stage));
		assert_string_equal(hook, want[i][0]);
		assert_string_equal(handler, want[i][1]);
		assert_string_equal(cv_hook_stage_name(stage), want[i][2]);
	}
	assert_false(cv_hook_next(reg, &pos, &hook, &handler, &stage));
	cv_registry_free(&reg);
}

/* ---- Policies -------------------------------------------------------------------------------------------------- */

static void answers_count_as_the_policy_says(void **state)
{
	static const struct {
		enum which which;
		enum cv_hook_result first;
		enum cv_err_code code;
		enum cv_hook_result want;
		enum cv_err_code want_code;
		const char *trace;
	} rows[] = {
		{ GUARD, CV_HOOK_PASS, CV_ERR_NONE, CV_HOOK_PASS, CV_ERR_NONE, "a b " },
		{ GUARD, CV_HOOK_DONE, CV_ERR_NONE, CV_HOOK_PASS, CV_ERR_NONE, "a b " },
		{ GUARD, CV_HOOK_DENY, CV_ERR_NOQUOTA, CV_HOOK_DENY, CV_ERR_NOQUOTA, "a " },
		{ GUARD, CV_HOOK_DENY, CV_ERR_NONE, CV_HOOK_DENY, CV_ERR_PERM, "a " },
		{ GUARD, CV_HOOK_ERROR, CV_ERR_NONE, CV_HOOK_ERROR, CV_ERR_TEMP, "a " },
		{ GUARD, CV_HOOK_ERROR, CV_ERR_PERM, CV_HOOK_ERROR, CV_ERR_TEMP, "a " },
		{ DECIDE, CV_HOOK_PASS, CV_ERR_NONE, CV_HOOK_PASS, CV_ERR_NONE, "a b " },
		{ DECIDE, CV_HOOK_DONE, CV_ERR_NONE, CV_HOOK_DONE, CV_ERR_NONE, "a " },
		{ DECIDE, CV_HOOK_DENY, CV_ERR_PERM, CV_HOOK_DENY, CV_ERR_PERM, "a " },
		{ DECIDE, CV_HOOK_ERROR, CV_ERR_TEMP, CV_HOOK_ERROR, CV_ERR_TEMP, "a " },
		{ NOTIFY, CV_HOOK_PASS, CV_ERR_NONE, CV_HOOK_PASS, CV_ERR_NONE, "a b " },
		{ NOTIFY, CV_HOOK_DONE, CV_ERR_NONE, CV_HOOK_PASS, CV_ERR_NONE, "a b " },
		{ NOTIFY, CV_HOOK_DENY, CV_ERR_PERM, CV_HOOK_PASS, CV_ERR_NONE, "a b " },
		{ NOTIFY, CV_HOOK_ERROR, CV_ERR_PERM, CV_HOOK_PASS, CV_ERR_NONE, "a b " },
	};
	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		struct planned list[] = {
			{ .opts = { .name = "a", .stage = CV_STAGE_NORMAL }, .answer = rows[i].first, .code = rows[i].code },
			{ .opts = { .name = "b", .stage = CV_STAGE_NORMAL } },
		};
		struct cv_registry *reg = load_plan(rows[i].which, list, CV_COUNT_OF(list), &err);
		assert_non_null(reg);
		assert_int_equal(run(reg, &err), rows[i].want);
		assert_int_equal(err.code, rows[i].want_code);
		assert_string_equal(plan.trace, rows[i].trace);
		if (rows[i].want != CV_HOOK_PASS && rows[i].code != CV_ERR_NONE) {
			assert_string_equal(err.text, "a says no");
			assert_true(err.public_text);
		}
		assert_int_equal(run(reg, NULL), rows[i].want);
		cv_registry_free(&reg);
	}
}

static char logged[500];

static void on_log(void *ctx, enum cv_log_level level, struct cv_str line)
{
	(void)ctx;
	assert_int_equal(level, CV_LOG_WARN);
	assert_true(line.len < sizeof(logged));
	memcpy(logged, line.ptr, line.len);
	logged[line.len] = '\0';
}

static void a_failed_notification_is_logged(void **state)
{
	(void)state;
	struct cv_err err = { 0 };
	struct planned list[] = { { .opts = { .name = "a", .stage = CV_STAGE_NORMAL }, .answer = CV_HOOK_ERROR, .code = CV_ERR_PERM } };
	struct cv_registry *reg = load_plan(NOTIFY, list, 1, &err);
	const struct cv_log_config to_test = { .target = CV_LOG_CALLBACK, .callback = on_log };
	const struct cv_log_config to_stderr = { .target = CV_LOG_STDERR };
	assert_int_equal(cv_log_open(&to_test, &err), 0);
	assert_int_equal(run(reg, &err), CV_HOOK_PASS);
	assert_int_equal(cv_log_open(&to_stderr, &err), 0);
	assert_non_null(strstr(logged, "hook delivered: handler a failed: "));
	cv_registry_free(&reg);
}

/* ---- Points of modules ------------------------------------------------------------------------------------------- */

static void points_of_modules_work_as_hooks_do(void **state)
{
	(void)state;
	struct cv_err err = { 0 };
	char argument[] = "argument";
	struct planned list[] = {
		{ .opts = { .name = "b", .stage = CV_STAGE_NORMAL }, .answer = CV_HOOK_DENY, .code = CV_ERR_PERM, .point = "mine" },
		{ .opts = { .name = "a", .stage = CV_STAGE_NORMAL }, .point = "mine" },
		{ .opts = { .name = "c", .stage = CV_STAGE_NORMAL }, .point = "mine" },
	};
	plan.declare = "mine";
	plan.policy = CV_HOOK_GUARD;
	struct cv_registry *reg = load_plan(GUARD, list, CV_COUNT_OF(list), &err);
	assert_non_null(reg);
	assert_int_equal(cv_hook_point_run(plan.point, argument, &err), CV_HOOK_DENY);
	assert_string_equal(plan.trace, "a b ");
	assert_string_equal(err.text, "b says no");
	cv_registry_free(&reg);
}

static void a_point_that_nobody_declares_is_an_error(void **state)
{
	(void)state;
	struct cv_err err = { 0 };
	struct planned list[] = { { .opts = { .name = "a", .stage = CV_STAGE_NORMAL }, .point = "nowhere" } };
	assert_null(load_plan(GUARD, list, 1, &err));
	assert_string_equal(err.text, "handler a wants hook point nowhere, which no loaded module declares");
}

/* ---- Frozen ------------------------------------------------------------------------------------------------------ */

static void nothing_is_added_outside_of_load(void **state)
{
	(void)state;
	struct cv_err err = { 0 };
	struct cv_registry *reg = load_plan(GUARD, NULL, 0, &err);
	struct cv_hook_opts opts = { .name = "late" };
	struct cv_hook_point *point;
	assert_int_equal(cv_hook_add_auth_begin(reg, on_guard, &opts, &err), -1);
	assert_int_equal(cv_hook_point_add(reg, "x", on_point, &opts, &err), -1);
	assert_int_equal(cv_hook_point_declare(reg, "x", CV_HOOK_GUARD, &point, &err), -1);
	assert_int_equal(err.code, CV_ERR_INTERNAL);
	cv_registry_free(&reg);
}

static void a_registry_without_modules_passes(void **state)
{
	(void)state;
	struct cv_registry *reg = cv_registry_new();
	plan.which = GUARD;
	assert_int_equal(run(reg, NULL), CV_HOOK_PASS);
	cv_registry_free(&reg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(order_is_stage_then_name_whatever_was_added_first),
		cv_test(before_and_after_come_before_names),
		cv_test(constraints_across_stages_must_agree_with_them),
		cv_test(a_circle_is_named),
		cv_test(two_handlers_of_one_name_are_refused),
		cv_test(handlers_are_listed_in_the_order_they_run),
		cv_test(answers_count_as_the_policy_says),
		cv_test_fds_only(a_failed_notification_is_logged),
		cv_test(points_of_modules_work_as_hooks_do),
		cv_test(a_point_that_nobody_declares_is_an_error),
		cv_test(nothing_is_added_outside_of_load),
		cv_test(a_registry_without_modules_passes),
	};
	return cv_test_run(tests);
}
