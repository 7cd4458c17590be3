/* SPDX-License-Identifier: MIT
   Errors as values. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/err.h>

#include <errno.h>
#include <string.h>

static void set_fills_and_returns_minus_one(void **state CV_UNUSED)
{
	struct cv_err err = { 0 };

	assert_int_equal(cv_err_set(&err, CV_ERR_NOTFOUND, "no %s", "box"), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	assert_false(err.public_text);
	assert_string_equal(err.text, "no box");
	assert_int_equal(cv_err_set(NULL, CV_ERR_TEMP, "x"), -1);
	assert_int_equal(cv_err_set_public(NULL, CV_ERR_TEMP, "x"), -1);
	assert_int_equal(cv_err_sys(NULL, EIO, "x"), -1);
	assert_int_equal(cv_err_context(NULL, "x"), -1);
}

static void clients_see_only_public_text(void **state CV_UNUSED)
{
	struct cv_err err = { 0 };

	(void)cv_err_set(&err, CV_ERR_PERM, "/var/mail/joe is not yours");
	assert_string_equal(cv_err_public(&err), "Permission denied");
	(void)cv_err_set_public(&err, CV_ERR_PERM, "Not your mailbox");
	assert_string_equal(cv_err_public(&err), "Not your mailbox");
	(void)cv_err_sys(&err, ENOENT, "open /secret");
	assert_string_equal(cv_err_public(&err), "Not found");
}

static void system_errors_get_code_and_text(void **state CV_UNUSED)
{
	static const struct {
		int errnum;
		enum cv_err_code code;
		bool temp;
	} rows[] = { { ENOSPC, CV_ERR_NOQUOTA, true }, { EDQUOT, CV_ERR_NOQUOTA, true }, { EACCES, CV_ERR_PERM, false },
		{ EPERM, CV_ERR_PERM, false }, { ENOENT, CV_ERR_NOTFOUND, false }, { EEXIST, CV_ERR_EXISTS, false },
		{ EIO, CV_ERR_TEMP, true } };
	struct cv_err err = { 0 };

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		assert_int_equal(cv_err_sys(&err, rows[i].errnum, "open %d", 7), -1);
		assert_int_equal(err.code, rows[i].code);
		assert_int_equal(cv_err_is_temp(&err), rows[i].temp);
	}
	assert_string_equal(err.text, "open 7: Input/output error");
}

static void context_goes_before_and_keeps_the_code(void **state CV_UNUSED)
{
	struct cv_err err = { 0 };

	(void)cv_err_set_public(&err, CV_ERR_LIMIT, "too long");
	assert_int_equal(cv_err_context(&err, "while reading %s", "x"), -1);
	assert_string_equal(err.text, "while reading x: too long");
	assert_int_equal(err.code, CV_ERR_LIMIT);
	assert_true(err.public_text);
}

static void own_text_may_be_an_argument(void **state CV_UNUSED)
{
	struct cv_err err = { 0 };

	(void)cv_err_set(&err, CV_ERR_TEMP, "inner");
	(void)cv_err_set(&err, CV_ERR_INTERNAL, "outer (%s)", err.text);
	assert_string_equal(err.text, "outer (inner)");
}

static void long_text_is_cut_before_a_character(void **state)
{
	struct cv_err err = { 0 };
	struct cv_str text;

	for (int lead = 0; lead < 6; lead++) {
		struct cv_buf buf;

		cv_buf_init(&buf, 5000);
		for (int i = 0; i < lead; i++)
			cv_buf_append_char(&buf, 'x');
		for (int i = 0; i < 800; i++)
			cv_buf_append_utf8(&buf, 0x20ac);
		(void)cv_err_set(&err, CV_ERR_TEMP, "%s", buf.data);
		text = cv_str_c(err.text);
		assert_true(text.len < CV_ERR_TEXT_MAX && text.len > CV_ERR_TEXT_MAX - 8);
		assert_true(cv_str_is_utf8(text));
		assert_true(cv_str_ends(text, CV_STR("\xe2\x80\xa6")));
		cv_buf_deinit(&buf);
	}
	(void)cv_err_set(&err, CV_ERR_TEMP, "%s", cv_arena_printf(*state, "%0511d", 1));
	assert_int_equal(strlen(err.text), 511);
	assert_int_equal(err.text[510], '1');
}

static void every_code_has_a_name_and_a_phrase(void **state CV_UNUSED)
{
	for (int code = CV_ERR_NONE; code <= CV_ERR_LAST; code++) {
		struct cv_err err = { .code = (enum cv_err_code)code };

		assert_true(strlen(cv_err_code_name(err.code)) > 0);
		assert_true(strlen(cv_err_public(&err)) > 0);
	}
	expect_assert_failure(cv_err_code_name((enum cv_err_code)99));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(set_fills_and_returns_minus_one),
		cv_test(clients_see_only_public_text),
		cv_test(system_errors_get_code_and_text),
		cv_test(context_goes_before_and_keeps_the_code),
		cv_test(own_text_may_be_an_argument),
		cv_test(long_text_is_cut_before_a_character),
		cv_test(every_code_has_a_name_and_a_phrase),
	};

	return cv_test_run(tests);
}
