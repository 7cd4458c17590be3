/* SPDX-License-Identifier: MIT
   Test plugin: a submission service whose queue is the log. It refuses recipients called "noqueue" when they are held and "nosend" when they are released. */
#include <culver/filter.h>
#include <culver/log.h>
#include <culver/map.h>

static const struct cv_log_ctx log_ctx = { .category = "submission" };

struct held {
	char *to;
};

static int hold(struct cv_user *user, struct cv_str from, struct cv_str to, struct cv_str octets, void **held_r, struct cv_err *err)
{
	struct cv_arena *arena;
	struct held *held;

	cv_info(&log_ctx, "submission hold user=%s from=%.*s to=%.*s octets=%zu", cv_user_name(user), CV_STR_ARG(from), CV_STR_ARG(to), octets.len);
	if (cv_str_starts(to, CV_STR("noqueue")))
		return cv_err_set(err, CV_ERR_UNAVAILABLE, "secret: the queue's disk is away");
	arena = cv_arena_new("held", NULL, 0);
	held = cv_new0(struct held);
	held->to = cv_strdup(cv_arena_cstr(arena, to));
	cv_arena_free(&arena);
	*held_r = held;
	return 1;
}

static int end(struct held *held, const char *how)
{
	int ret = cv_str_starts(cv_str_c(held->to), CV_STR("nosend")) ? -1 : 1;

	cv_info(&log_ctx, "submission %s to=%s", how, held->to);
	cv_free(held->to);
	cv_free(held);
	return ret;
}

static int release(void *held, struct cv_err *err)
{
	return end(held, "release") < 0 ? cv_err_set(err, CV_ERR_TEMP, "secret: no rename") : 1;
}

static void cancel(void *held)
{
	(void)end(held, "cancel");
}

static const struct cv_submission service = { .hold = hold, .release = release, .cancel = cancel };

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_service_register(reg, CV_SUBMISSION_SERVICE, CV_SUBMISSION_VERSION, &service, err);
}

CV_MODULE(submission) = {
	CV_MODULE_ABI,
	.name = "submission",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
