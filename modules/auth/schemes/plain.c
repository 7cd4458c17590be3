/* SPDX-License-Identifier: MIT
   Passwords stored as they are. */
#include <config.h>

#include "modules/auth/schemes/schemes.h"

static int plain_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	(void)user;
	(void)err;
	return scheme_equal(password, data);
}

static int plain_generate(struct cv_str password, struct cv_str user, unsigned rounds, struct cv_buf *out, struct cv_err *err)
{
	(void)user;
	(void)rounds;
	(void)err;
	cv_buf_append(out, password);
	return 1;
}

/* "<len>-<first len octets>", or all of a short password without a number. */
static int trunc_verify(struct cv_str password, struct cv_str user, struct cv_str data, struct cv_err *err)
{
	struct cv_str head, tail;
	uint32_t len;

	(void)user;
	(void)err;
	if (cv_str_split(data, '-', &head, &tail) && cv_str_to_u32(head, UINT32_MAX, &len))
		return scheme_equal(cv_str_sub(password, 0, len), tail);
	return scheme_equal(password, data);
}

static const struct cv_pass_scheme schemes[] = {
	{ .name = "PLAIN", .opts = CV_SCHEME_PLAINTEXT_STORED | CV_SCHEME_FAST, .verify = plain_verify, .generate = plain_generate },
	{ .name = "CLEAR", .opts = CV_SCHEME_PLAINTEXT_STORED | CV_SCHEME_FAST, .verify = plain_verify, .generate = plain_generate },
	{ .name = "CLEARTEXT",
		.opts = CV_SCHEME_PLAINTEXT_STORED | CV_SCHEME_FAST,
		.verify = plain_verify,
		.generate = plain_generate },
	{ .name = "PLAIN-TRUNC", .opts = CV_SCHEME_FAST, .verify = trunc_verify },
};
const struct scheme_table schemes_plain = { schemes, CV_COUNT_OF(schemes) };
