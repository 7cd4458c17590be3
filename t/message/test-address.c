/* SPDX-License-Identifier: MIT
   Address lists: RFC 5322's forms, obsolete ones, and garbage. */
#include <config.h>

#include "t/lib/message-dump.h"
#include "t/lib/test.h"

struct row {
	const char *in, *want;
};

static void check(struct cv_arena *arena, const struct row *rows, size_t count)
{
	struct cv_address_list list;
	struct cv_buf out;

	cv_buf_init(&out, 10000);
	for (size_t i = 0; i < count; i++) {
		cv_buf_clear(&out);
		cv_address_parse(arena, cv_str_c(rows[i].in), 1000, &list);
		cv_dump_addresses(&out, &list);
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
	}
	cv_buf_deinit(&out);
}

static void addresses_of_rfc5322_are_read(void **state)
{
	static const struct row rows[] = {
		{ "jdoe@one.example", "-|-|jdoe|one.example" },
		{ "John Doe <jdoe@machine.example>", "John Doe|-|jdoe|machine.example" },
		{ "\"Joe Q. Public\" <john.q.public@example.com>", "Joe Q. Public|-|john.q.public|example.com" },
		{ "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
			"Mary Smith|-|mary|x.test, -|-|jdoe|example.org, Who?|-|one|y.test" },
		{ "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
			"-|-|boss|nil.test, Giant; \"Big\" Box|-|sysservices|example.net" },
		{ "A Group:Ed Jones <joe@where.test>,john@one.test;", "{A Group, Ed Jones|-|joe|where.test, -|-|john|one.test, }" },
		{ "Undisclosed recipients:;", "{Undisclosed recipients, }" },
		{ "g1: a@b;, g2: c@d;", "{g1, -|-|a|b, }, {g2, -|-|c|d, }" },
		{ "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|-|pete|silly.test" },
		{ "user@domain (Real Name)", "Real Name|-|user|domain" },
		{ "<user@domain> (Real Name)", "Real Name|-|user|domain" },
		{ "user@[192.168.0.1]", "-|-|user|[192.168.0.1]" },
		{ "\"john doe\"@example.org", "-|-|john doe|example.org" },
		{ "=?utf-8?Q?J=C3=B6rg?= <j@x.test>", "=?utf-8?Q?J=C3=B6rg?=|-|j|x.test" },
		{ "J\xC3\xB6rg <j\xC3\xB6rg@x.test>", "J\xC3\xB6rg|-|j\xC3\xB6rg|x.test" },
	};

	check(*state, rows, CV_COUNT_OF(rows));
}

static void obsolete_forms_are_read(void **state)
{
	static const struct row rows[] = {
		{ "Joe Q. Public <john.q.public@example.com>", "Joe Q. Public|-|john.q.public|example.com" },
		{ "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
			"Mary Smith|@node.test|mary|example.net, -|-|jdoe|test.example" },
		{ "<@a.test,@b.test:c@d.test>", "-|@a.test,@b.test|c|d.test" },
		{ "john . doe @ one . example", "-|-|john.doe|one.example" },
		{ "\"a\".b.\"c d\"@x", "-|-|a.b.c d|x" },
		{ "A Group(Some people)\r\n  :Chris Jones <c@(Chris's host.)public.example>,\r\n      joe@example.org,\r\n"
		  "  John <jdoe@one.test> (my dear friend); (the end of the group)",
			"{A Group, Chris Jones|-|c|public.example, -|-|joe|example.org, John|-|jdoe|one.test, }" },
	};

	check(*state, rows, CV_COUNT_OF(rows));
}

static void garbage_has_an_answer(void **state)
{
	static const struct row rows[] = {
		{ "", "" },
		{ " , ,", "" },
		{ "(nobody)", "" },
		{ "undisclosed recipients", "-|-|undisclosed recipients|" },
		{ "<>", "-|-||" },
		{ "a@", "-|-|a|" },
		{ "@b", "-|-||b" },
		{ "<@b>", "-|-||b" },
		{ "a@b@c", "-|-|a@b|c" },
		{ "<a@b@c>", "-|-|a@b|c" },
		{ "user@example.com <user@example.com>", "user@example.com|-|user|example.com" },
		{ "\"open <a@b>, c@d", "open|-|a|b, -|-|c|d" },
		{ "(open <a@b>", "(open|-|a|b" },
		{ "<a@b, c@d", "-|-|a|b, -|-|c|d" },
		{ "a@b; c@d", "-|-|a|b, -|-|c|d" },
		{ "<a@b> <c@d>", "-|-|a|b, -|-|c|d" },
		{ "<<a@b>>", "-|-|a|b" },
		{ "g: a@b", "{g, -|-|a|b, }" },
		{ "g: a: b@c;", "{g, -|-|a: b|c, }" },
		{ ": a@b", "-|-|: a|b" },
		{ "x@[1.2", "-|-|x|[1.2" },
		{ "=?utf-8?Q?Doe,_John?= <j@d>", "=?utf-8?Q?Doe,_John?=|-|j|d" },
		{ "=?utf-8?Q?a <j@d>, k@d", "=?utf-8?Q?a|-|j|d, -|-|k|d" },
		{ "a b c <d e@f>", "a b c|-|d e|f" },
		{ ">", "" },
		{ ")", "-|-|)|" },
		{ "\\", "-|-|\\|" },
	};

	check(*state, rows, CV_COUNT_OF(rows));
}

static void groups_are_closed_at_the_bound_too(void **state)
{
	struct cv_address_list list;

	for (size_t max = 0; max < 6; max++) {
		int open = 0;

		cv_address_parse(*state, CV_STR("a@b, g: c@d, e@f; h@i"), max, &list);
		assert_true(list.count <= max);
		for (size_t i = 0; i < list.count; i++)
			open += list.items[i].kind == CV_ADDRESS_GROUP_START ? 1 :
				list.items[i].kind == CV_ADDRESS_GROUP_END   ? -1 :
									       0;
		assert_int_equal(open, 0);
	}
}

static void an_empty_list_is_not_absent(void **state)
{
	struct cv_address_list list;

	cv_address_parse(*state, CV_STR(" "), 10, &list);
	assert_non_null(list.items);
	assert_int_equal(list.count, 0);
}

static void hostile_lists_take_linear_time(void **state)
{
	static const char *const pieces[] = { "(", "\"", "<", ",", "a@", "(a)", "=?a?q?", ":", ";", "\\", "[" };
	struct cv_address_list list;
	struct cv_buf value;

	cv_buf_init(&value, SIZE_MAX);
	for (size_t i = 0; i < CV_COUNT_OF(pieces); i++) {
		cv_buf_clear(&value);
		while (value.len < 1000000)
			cv_buf_append_c(&value, pieces[i]);
		cv_address_parse(*state, cv_buf_str(&value), 1000, &list);
		assert_true(list.count <= 1000);
		cv_arena_reset(*state);
	}
	cv_buf_deinit(&value);
}

static void written_addresses_have_the_quotes_they_need(void **state)
{
	static const struct row rows[] = {
		{ "jdoe@one.example", "jdoe@one.example" },
		{ "John Doe <jdoe@x>", "John Doe <jdoe@x>" },
		{ "\"Doe, John\" <jdoe@x>", "\"Doe, John\" <jdoe@x>" },
		{ "\"J. \\\"D\\\" \\\\\" <jdoe@x>", "\"J. \\\"D\\\" \\\\\" <jdoe@x>" },
		{ "\"john doe\"@x", "\"john doe\"@x" },
		{ "\"\"@x", "\"\"@x" },
		{ "<@a,@b:c@d>", "<@a,@b:c@d>" },
		{ "=?utf-8?q?x?= <a@b>", "=?utf-8?q?x?= <a@b>" },
		{ "g:", "g:" },
	};
	struct cv_address_list list;
	struct cv_buf out;

	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		cv_buf_clear(&out);
		cv_address_parse(*state, cv_str_c(rows[i].in), 10, &list);
		cv_address_append(&out, &list.items[0]);
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
	}
	cv_buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(addresses_of_rfc5322_are_read),
		cv_test(obsolete_forms_are_read),
		cv_test(garbage_has_an_answer),
		cv_test(groups_are_closed_at_the_bound_too),
		cv_test(an_empty_list_is_not_absent),
		cv_test(hostile_lists_take_linear_time),
		cv_test(written_addresses_have_the_quotes_they_need),
	};

	return cv_test_run(tests);
}
