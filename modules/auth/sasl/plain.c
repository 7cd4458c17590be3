/* SPDX-License-Identifier: MIT
   SASL PLAIN (RFC 4616). */
#include <config.h>

#include "modules/auth/sasl/sasl.h"

struct plain {
	bool asked;
};

static void *start(struct cv_auth_request *request)
{
	return cv_new(request->arena, struct plain, 1);
}

/* message = [authzid] UTF8NUL authcid UTF8NUL passwd */
static enum cv_sasl_step step(void *ctx, struct cv_auth_request *request, struct cv_str response, struct cv_str *challenge_r,
	struct cv_str *password_r, struct cv_err *err)
{
	struct cv_str authzid, authcid, password, rest;
	struct plain *plain = ctx;

	if (response.ptr == NULL && !plain->asked) {
		plain->asked = true;
		*challenge_r = CV_STR("");
		return CV_SASL_CONTINUE;
	}
	if (!cv_str_split(response, '\0', &authzid, &rest) || !cv_str_split(rest, '\0', &authcid, &password) ||
		cv_str_has_nul(password) || authcid.len == 0 || authcid.len > SASL_NAME_MAX || authzid.len > SASL_NAME_MAX ||
		password.len == 0 || password.len > SASL_PASSWORD_MAX) {
		(void)cv_err_set(err, CV_ERR_INVALID, "malformed PLAIN response");
		return CV_SASL_FAIL;
	}
	/* "If preparation fails or results in an empty string, verification SHALL fail." */
	if (sasl_prepare(request, &authcid, err) < 0 || sasl_prepare(request, &password, err) < 0 || (authzid.len > 0 && sasl_prepare(request, &authzid, err) < 0)) {
		(void)cv_err_set(err, CV_ERR_AUTH, "a name or the password can't be prepared by SASLprep");
		return CV_SASL_FAIL;
	}
	request->user = cv_arena_str(request->arena, authcid);
	/* Another identity to act as: then the one that has the password must be a master user. */
	if (authzid.len > 0 && !cv_str_eq(authzid, authcid)) {
		request->master_user = request->user;
		request->user = cv_arena_str(request->arena, authzid);
	}
	*password_r = cv_arena_str(request->arena, password);
	return CV_SASL_VERIFY;
}

const struct cv_sasl_mech sasl_plain = { .name = "PLAIN", .opts = CV_SASL_PLAINTEXT, .start = start, .step = step };
