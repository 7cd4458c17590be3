/* SPDX-License-Identifier: MIT
   What several messages between processes have in them. */
#include "core/proc/messages.h"

#include "core/proc/login-private.h"

#include <culver/buf.h>

void cv_msg_put_err(struct cv_buf *out, const struct cv_err *err)
{
	cv_put_u8(out, err != NULL ? (uint8_t)err->code : CV_ERR_NONE);
	cv_put_u8(out, err != NULL && err->public_text);
	cv_put_str(out, err != NULL ? cv_str_c(err->text) : CV_STR(""));
}

bool cv_msg_take_err(struct cv_reader *reader, struct cv_err *err_r)
{
	struct cv_str text;
	uint8_t code, is_public;

	*err_r = (struct cv_err){ 0 };
	if (!cv_take_u8(reader, &code) || code > CV_ERR_LAST || !cv_take_u8(reader, &is_public) || !cv_take_str(reader, CV_ERR_TEXT_MAX, &text))
		return false;
	(void)cv_err_set(err_r, (enum cv_err_code)code, "%.*s", CV_STR_ARG(text));
	err_r->public_text = is_public != 0;
	return true;
}

bool cv_msg_skip_kv(struct cv_reader *reader)
{
	uint16_t count;
	struct cv_str s;

	if (!cv_take_u16(reader, &count) || count > CV_LOGIN_CLIENT_ID_MAX)
		return false;
	for (unsigned i = 0; i < 2u * count; i++) {
		if (!cv_take_str(reader, 1024, &s))
			return false;
	}
	return true;
}
