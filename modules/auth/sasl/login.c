/* SPDX-License-Identifier: MIT
   SASL LOGIN (draft-murchison-sasl-login-00): name and password, one after the other. For old clients, Outlook first of all. */
#include <config.h>

#include "modules/auth/sasl/sasl.h"

struct login {
	enum { LOGIN_START, LOGIN_USER, LOGIN_PASSWORD } state;
};

static void *start(struct cv_auth_request *request)
{
	return cv_new(request->arena, struct login, 1);
}

static enum cv_sasl_step fail(struct cv_err *err, const char *text)
{
	(void)cv_err_set(err, CV_ERR_INVALID, "%s", text);
	return CV_SASL_FAIL;
}

static enum cv_sasl_step step(void *ctx, struct cv_auth_request *request, struct cv_str response, struct cv_str *challenge_r,
	struct cv_str *password_r, struct cv_err *err)
{
	struct login *login = ctx;

	switch (login->state) {
	case LOGIN_START:
		login->state = LOGIN_USER;
		if (response.ptr == NULL) {
			*challenge_r = CV_STR("Username:");
			return CV_SASL_CONTINUE;
		}
		/* An initial response is the name. */
		CV_FALLTHROUGH;
	case LOGIN_USER:
		if (response.len == 0 || response.len > SASL_NAME_MAX || cv_str_has_nul(response))
			return fail(err, "malformed user name in LOGIN");
		if (sasl_prepare(request, &response, err) < 0)
			return fail(err, "the name can't be prepared by SASLprep");
		request->user = cv_arena_str(request->arena, response);
		login->state = LOGIN_PASSWORD;
		*challenge_r = CV_STR("Password:");
		return CV_SASL_CONTINUE;
	case LOGIN_PASSWORD:
		break;
	}
	if (response.len == 0 || response.len > SASL_PASSWORD_MAX || cv_str_has_nul(response))
		return fail(err, "malformed password in LOGIN");
	if (sasl_prepare(request, &response, err) < 0) {
		(void)cv_err_set(err, CV_ERR_AUTH, "the password can't be prepared by SASLprep");
		return CV_SASL_FAIL;
	}
	*password_r = cv_arena_str(request->arena, response);
	return CV_SASL_VERIFY;
}

const struct cv_sasl_mech sasl_login = { .name = "LOGIN", .opts = CV_SASL_PLAINTEXT, .start = start, .step = step };
