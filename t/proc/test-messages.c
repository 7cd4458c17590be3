/* SPDX-License-Identifier: MIT
   What messages between processes have in common, also when the peer sends garbage. */
#include "t/lib/test.h"

#include "core/proc/messages.h"

#include <culver/buf.h>

static void an_error_arrives_as_it_was(void **state CV_UNUSED)
{
	struct cv_err err = { 0 }, got;
	struct cv_buf out;

	cv_buf_init(&out, 4096);
	(void)cv_err_set_public(&err, CV_ERR_LIMIT, "too many");
	cv_msg_put_err(&out, &err);
	cv_msg_put_err(&out, NULL);
	struct cv_reader reader = cv_reader_init(cv_buf_str(&out));
	assert_true(cv_msg_take_err(&reader, &got));
	assert_int_equal(got.code, CV_ERR_LIMIT);
	assert_true(got.public_text);
	assert_string_equal(got.text, "too many");
	assert_true(cv_msg_take_err(&reader, &got));
	assert_int_equal(got.code, CV_ERR_NONE);
	assert_false(got.public_text);
	assert_true(cv_reader_end(&reader));
	cv_buf_deinit(&out);
}

/* A worker may have been taken over by its user: no code that is none gets further, nor does a message that is cut anywhere. */
static void a_wrong_error_is_refused(void **state CV_UNUSED)
{
	struct cv_err err;
	struct cv_buf out;

	for (unsigned code = 0; code < 256; code++) {
		cv_buf_init(&out, 4096);
		cv_put_u8(&out, (uint8_t)code);
		cv_put_u8(&out, 0);
		cv_put_str(&out, CV_STR("text"));
		struct cv_str whole = cv_buf_str(&out);
		for (size_t len = 0; len <= whole.len; len++) {
			struct cv_reader reader = cv_reader_init(cv_str_sub(whole, 0, len));
			assert_int_equal(cv_msg_take_err(&reader, &err), len == whole.len && code <= CV_ERR_LAST);
		}
		cv_buf_deinit(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(an_error_arrives_as_it_was),
		cv_test(a_wrong_error_is_refused),
	};

	return cv_test_run(tests);
}
