/* SPDX-License-Identifier: MIT
   SASL EXTERNAL (RFC 4422 appendix A): the name in the client's verified certificate. */
#include <config.h>

#include "modules/auth/sasl/sasl.h"

struct external {
	bool asked;
};

static void *start(struct cv_auth_request *request)
{
	return cv_new(request->arena, struct external, 1);
}

/* response = [authzid]; empty: the identity of the certificate. */
static enum cv_sasl_step step(void *ctx, struct cv_auth_request *request, struct cv_str response, struct cv_str *challenge_r,
	struct cv_str *password_r, struct cv_err *err)
{
	struct external *external = ctx;

	(void)password_r;
	if (response.ptr == NULL && !external->asked) {
		external->asked = true;
		*challenge_r = CV_STR("");
		return CV_SASL_CONTINUE;
	}
	if (response.len > SASL_NAME_MAX || cv_str_has_nul(response)) {
		(void)cv_err_set(err, CV_ERR_INVALID, "malformed EXTERNAL response");
		return CV_SASL_FAIL;
	}
	if (!request->cert_valid || request->cert_user.len == 0) {
		(void)cv_err_set(err, CV_ERR_AUTH, "EXTERNAL without a valid client certificate that names a user");
		return CV_SASL_FAIL;
	}
	request->user = cv_arena_str(request->arena, request->cert_user);
	if (response.len > 0 && !cv_str_eq(response, request->cert_user)) {
		request->master_user = request->user;
		request->user = cv_arena_str(request->arena, response);
	}
	return CV_SASL_SUCCESS;
}

const struct cv_sasl_mech sasl_external = { .name = "EXTERNAL", .opts = CV_SASL_CERT, .start = start, .step = step };
