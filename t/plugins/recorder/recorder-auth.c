/* SPDX-License-Identifier: MIT
   Test plugin: writes a log line from every hook of auth, and refuses users whose name asks for it. */
#include <culver/auth.h>
#include <culver/hooks.h>
#include <culver/log.h>

static const struct cv_log_ctx log_ctx = { .category = "recorder" };

static bool says(struct cv_str name, const char *word)
{
	return cv_str_find_str(name, cv_str_c(word)) != SIZE_MAX;
}

static enum cv_hook_result on_auth_begin(void *ctx, struct cv_hook_auth_begin *args, struct cv_err *err)
{
	(void)ctx;
	cv_info(&log_ctx, "hook auth_begin user=%.*s service=%.*s", CV_STR_ARG(args->request->user), CV_STR_ARG(args->request->service));
	if (!says(args->request->user, "nobegin"))
		return CV_HOOK_PASS;
	cv_err_set_public(err, CV_ERR_PERM, "Closed on Sundays");
	return CV_HOOK_DENY;
}

static enum cv_hook_result on_auth_success(void *ctx, struct cv_hook_auth_success *args, struct cv_err *err)
{
	(void)ctx;
	cv_info(&log_ctx, "hook auth_success user=%.*s", CV_STR_ARG(args->request->user));
	if (says(args->request->user, "broken")) {
		cv_err_set(err, CV_ERR_TEMP, "cannot tell");
		return CV_HOOK_ERROR;
	}
	if (!says(args->request->user, "nosuccess"))
		return CV_HOOK_PASS;
	cv_err_set_public(err, CV_ERR_PERM, "Account is locked");
	return CV_HOOK_DENY;
}

static enum cv_hook_result on_auth_result(void *ctx, struct cv_hook_auth_result *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	cv_info(&log_ctx, "hook auth_result user=%.*s success=%d temporary=%d", CV_STR_ARG(args->request->user), args->success, args->temporary);
	return CV_HOOK_PASS;
}

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_hook_add_auth_begin(reg, on_auth_begin, NULL, err) < 0 || cv_hook_add_auth_success(reg, on_auth_success, NULL, err) < 0 ||
			cv_hook_add_auth_result(reg, on_auth_result, NULL, err) < 0 ? -1 : 0;
}

CV_MODULE(recorder_auth) = {
	CV_MODULE_ABI,
	.name = "recorder-auth",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_AUTH,
	.load = load,
};
