/* SPDX-License-Identifier: MIT
   LMTP: paths and parameters of MAIL and RCPT. */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"
#include "t/lib/test.h"

static const struct {
	const char *text, *local, *domain;
} good[] = {
	{ "<a@b>", "a", "b" },
	{ "<tim>", "tim", NULL },
	{ "<tim.o-t+x=y@sub.example.org>", "tim.o-t+x=y", "sub.example.org" },
	{ "<\"a b\"@c>", "a b", "c" },
	{ "<\"a\\\"\\\\b\"@c>", "a\"\\b", "c" },
	{ "<\"a@b\"@c>", "a@b", "c" },
	{ "<\"\\ \">", " ", NULL },
	{ "<a@[192.0.2.1]>", "a", "[192.0.2.1]" },
	{ "<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]" },
	{ "<@x.example,@y.example:a@b>", "a", "b" },
	{ "<!#$%&'*+-/=?^_`{|}~@b>", "!#$%&'*+-/=?^_`{|}~", "b" },
	{ "<a@under_score.example>", "a", "under_score.example" },
	{ "<Postmaster>", "Postmaster", NULL },
};

static const char *const bad[] = {
	"", "<", "<>", "<a", "a@b", "<a@>", "<@b>", "<@b:>", "<.a@b>", "<a.@b>", "<a..b@c>", "<a b@c>", "<a@b c>", "<a@b.>", "<a@.b>", "<a@b..c>",
	"<\"a@b>", "<\"\"@b>", "<\"a\"b@c>", "<\"a\\", "<\"a\\\x01\"@b>", "<\"a\tb\"@c>", "<a@[]>", "<a@[192.0.2.1>", "<a@[192.0.2]>", "<a@[IPv6:x]>",
	"<a@[tag:content]>", "<a@[192.0.2.1]x>", "<<a@b>>", "< a@b>", "<a@b >", "<a@b\xc3\xa9>", "<\xc3\xa9@b>", "<a,b@c>", "<a@b,c>", "<a(c)@b>",
	"<@x,a@b>", "<@x:@y:a@b>",
};

static void takes_what_the_grammar_allows(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(good); i++) {
		struct cv_reader r = cv_reader_init(cv_str_c(good[i].text));
		struct cv_lmtp_path path;

		assert_true(cv_lmtp_take_path(&r, false, *state, &path));
		assert_true(cv_reader_end(&r));
		assert_str_eq(path.local, cv_str_c(good[i].local));
		assert_str_eq(path.domain, cv_str_c(good[i].domain));
	}
}

static void refuses_all_else_and_stays(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
		struct cv_reader r = cv_reader_init(cv_str_c(bad[i]));
		struct cv_lmtp_path path;

		if (cv_lmtp_take_path(&r, false, *state, &path))
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(r.pos, 0);
	}
}

static void every_beginning_is_refused(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(good); i++) {
		struct cv_str text = cv_str_c(good[i].text);

		for (size_t len = 0; len < text.len; len++) {
			struct cv_reader r = cv_reader_init(cv_str_sub(text, 0, len));
			struct cv_lmtp_path path;

			assert_false(cv_lmtp_take_path(&r, true, *state, &path));
			assert_int_equal(r.pos, 0);
		}
	}
}

static void the_null_path_is_for_senders(void **state)
{
	struct cv_reader r = cv_reader_init(CV_STR("<> x"));
	struct cv_lmtp_path path;

	assert_false(cv_lmtp_take_path(&r, false, *state, &path));
	assert_true(cv_lmtp_take_path(&r, true, *state, &path));
	assert_str(path.text, "");
	assert_int_equal(r.pos, 2);
}

static void source_routes_are_dropped(void **state)
{
	struct cv_reader r = cv_reader_init(CV_STR("<@x.example,@[192.0.2.9]:\"q q\"@b>"));
	struct cv_lmtp_path path;

	assert_true(cv_lmtp_take_path(&r, false, *state, &path));
	assert_str(path.text, "\"q q\"@b");
}

static void lengths_are_bounded(void **state)
{
	struct cv_lmtp_path path;
	struct cv_reader r;
	struct cv_buf text;

	cv_buf_init(&text, 4096);
	for (int pass = 0; pass < 3; pass++) {
		cv_buf_clear(&text);
		cv_buf_append_c(&text, pass == 2 ? "<\"" : "<");
		for (int i = 0; i < (pass == 1 ? 1 : 257); i++)
			cv_buf_append_char(&text, 'a');
		cv_buf_append_c(&text, pass == 2 ? "\"@" : "@");
		for (int i = 0; i < (pass == 1 ? 256 : 1); i++)
			cv_buf_append_char(&text, 'b');
		cv_buf_append_char(&text, '>');
		r = cv_reader_init(cv_buf_str(&text));
		assert_false(cv_lmtp_take_path(&r, false, *state, &path));
	}
	cv_buf_deinit(&text);
}

static void parameters_have_keyword_and_value(void **state)
{
	struct cv_reader r = cv_reader_init(CV_STR("SIZE=1000 BODY=8BITMIME X-Y"));
	struct cv_str keyword, value;

	(void)state;
	assert_true(cv_lmtp_take_param(&r, &keyword, &value));
	assert_str(keyword, "SIZE");
	assert_str(value, "1000");
	assert_true(cv_take_char(&r, ' '));
	assert_true(cv_lmtp_take_param(&r, &keyword, &value));
	assert_true(cv_take_char(&r, ' '));
	assert_true(cv_lmtp_take_param(&r, &keyword, &value));
	assert_str(keyword, "X-Y");
	assert_null(value.ptr);
	assert_true(cv_reader_end(&r));
	r = cv_reader_init(CV_STR("A="));
	assert_false(cv_lmtp_take_param(&r, &keyword, &value));
	r = cv_reader_init(CV_STR("-A=b"));
	assert_false(cv_lmtp_take_param(&r, &keyword, &value));
	r = cv_reader_init(CV_STR("=b"));
	assert_false(cv_lmtp_take_param(&r, &keyword, &value));
	r = cv_reader_init(CV_STR("A=b=c"));
	assert_true(cv_lmtp_take_param(&r, &keyword, &value));
	assert_false(cv_reader_end(&r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(takes_what_the_grammar_allows),
		cv_test(refuses_all_else_and_stays),
		cv_test(every_beginning_is_refused),
		cv_test(the_null_path_is_for_senders),
		cv_test(source_routes_are_dropped),
		cv_test(lengths_are_bounded),
		cv_test(parameters_have_keyword_and_value),
	};

	return cv_test_run(tests);
}
