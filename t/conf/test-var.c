/* SPDX-License-Identifier: MIT
   Settings variables. The expected values of the first table are what Dovecot 2.3.19's library gives for the same variables. */
#include "t/lib/test.h"

#include <culver/settings.h>

static const struct cv_var vars[] = {
	{ 'u', "user", CV_STR_INIT("Alice.Smith@Sub.Example.COM") },
	{ 'n', "username", CV_STR_INIT("Alice.Smith") },
	{ 'd', "domain", CV_STR_INIT("Sub.Example.COM") },
	{ 'i', "uid", CV_STR_INIT("1234") },
	{ 's', "service", CV_STR_INIT("imap") },
	{ 'q', "quoted", CV_STR_INIT("a\"b'c\\d") },
	{ 't', "padded", CV_STR_INIT("pad  \t ") },
	{ 'e', "empty", { NULL, 0 } },
	{ 0, "seven", CV_STR_INIT("7") },
	{ 0, "odd", CV_STR_INIT("a;b:c") },
	{ 0, "userdb:quota", CV_STR_INIT("10M") },
	{ 0, "nul", CV_STR_INIT("a\0b") },
};

static int expand(const char *text, struct cv_buf *out, struct cv_err *err)
{
	return cv_var_expand(out, text, vars, CV_COUNT_OF(vars), err);
}

static void expands_as_dovecot_does(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "%u", "Alice.Smith@Sub.Example.COM" },
		{ "%Lu", "alice.smith@sub.example.com" },
		{ "%2u", "Al" },
		{ "%2.3u", "ice" },
		{ "%-3.2u", "CO" },
		{ "%-99.2u", "Al" },
		{ "%99.2u", "" },
		{ "%0.-2u", "Alice.Smith@Sub.Example.C" },
		{ "%0.-27u", "" },
		{ "%0.-99u", "Alice.Smith@Sub.Example.COM" },
		{ "%04i", "1234" },
		{ "%06i", "001234" },
		{ "%1.06i", "000234" },
		{ "%-2.2i", "34" },
		{ "%-0.2i", "12" },
		{ "%-2i", "12" },
		{ "%Hu", "b40f8ed" },
		{ "%Nu", "e1f7b13" },
		{ "%256Nu", "13" },
		{ "%2.256Nu", "13" },
		{ "%2.256LNu", "08" },
		{ "%3Hu", "2" },
		{ "%3RHu", "2" },
		{ "%1Mn", "c" },
		{ "%Mn", "ca08617ea6b7c27c3296ccff0b6d2547" },
		{ "%Dd", "Sub,dc=Example,dc=COM" },
		{ "%Tt|", "pad|" },
		{ "%Eq", "a\\\"b\\'c\\\\d" },
		{ "%Xi", "4d2" },
		{ "%Xu", "0" },
		{ "%Rn", "htimS.ecilA" },
		{ "%LRn", "htims.ecila" },
		{ "%LUn", "ALICE.SMITH" },
		{ "%ULn", "alice.smith" },
		{ "%{user}", "Alice.Smith@Sub.Example.COM" },
		{ "%{user}}", "Alice.Smith@Sub.Example.COM}" },
		{ "%L{user}", "alice.smith@sub.example.com" },
		{ "%2.5L{user}", "ice.s" },
		{ "%{odd}", "a;b:c" },
		{ "%e", "" },
		{ "%%", "%" },
		{ "%%u", "%u" },
		{ "%5%", "%" },
		{ "%5.user", ".Smith@Sub.Example.COMser" },
		{ "%U%{service}", "%{service}" },
		{ "%{sha256:user}", "1dc1f5e2be031d06b06387e933add3f50e7b35683bcdc80776deb6c85c29095b" },
		{ "%{md5;truncate=32:user}", "6e6dad9c" },
		{ "%{md5;truncate=33:user}", "00dcdb5b38" },
		{ "%{md5;truncate=7:user}", "37" },
		{ "%{sha1:user}", "64aecd240efd2ba8410d57f8323d5876e572e2f7" },
		{ "%{sha1;truncate=999:user}", "64aecd240efd2ba8410d57f8323d5876e572e2f7" },
		{ "%{sha1;salt=:user}", "64aecd240efd2ba8410d57f8323d5876e572e2f7" },
		{ "%{sha1;salt=a b:user}", "ff8a3fc35d5820206a4badeedd48e431b0da92ac" },
		{ "%{sha1;rounds=2:user}", "9f9b29514e5e9afc91396f904d0a5f53133b214c" },
		{ "%{sha1;rounds=2,salt=abc:user}", "255221ff1291a995245dc4e1e6e478e2446aa98e" },
		{ "%{sha1;rounds=2,truncate=32:user}", "9f9b2951" },
		{ "%{sha256;format=base64:user}", "HcH14r4DHQawY4fpM63T9Q57NWg7zcgHdt62yFwpCVs=" },
		{ "%{sha256;format=hexuc:user}", "1dc1f5e2be031d06b06387e933add3f50e7b35683bcdc80776deb6c85c29095b" },
		{ "%{sha512;truncate=0:user}",
			"fd1193d8dc99d08f167f0d3e3366577a6fb30e89ea64ad411e3cee483ebdd4348bd5d05fbc676fb77a4f9f66eba5e5b0079cf06b2df7387426d3d55c351bcc5c" },
		{ "%{sha256:if;1;==;1;a;b}", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" },
		{ "%{if;%n;eq;Alice.Smith;yes;no}", "yes" },
		{ "%{if;%{seven};==;07;yes;no}", "yes" },
		{ "%{if;-1;<;1;yes;no}", "yes" },
		{ "%{if;%n;*;A*S?ith;yes;no}", "yes" },
		{ "%{if;%n;~;^A.*h$;yes;no}", "yes" },
		{ "%{if;a;eq;b;yes}", "" },
		{ "%{if;a;eq;b;yes;}", "" },
		{ "%{if;a;eq;a;;no}", "" },
		{ "%{if;a;eq;b;yes;x\\;y\\:z}", "x;y:z" },
		{ "%{if;a;eq;a;\\%n;no}", "Alice.Smith" },
		{ "%{if;%{if;1;==;1;a;b};eq;a;in;out}", "in" },
		{ "%{if;%{odd};eq;a\\;b\\:c;y;n}", "y" },
		{ "%{if;%2n;eq;Al;y;n}", "y" },
		{ "%U{if;a;eq;a;b;c}", "B" },
		/* by their documentation */
		{ "%{userdb:quota}", "10M" },
		{ "%{userdb:quota:5M}", "10M" },
		{ "%{userdb:other:5M}", "5M" },
		{ "%{userdb:other}", "" },
		{ "%{passdb:x:y:z}", "y:z" },
		{ "/var/mail/%d/%n/", "/var/mail/Sub.Example.COM/Alice.Smith/" },
	};
	struct cv_buf out;
	(void)state;
	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		cv_buf_clear(&out);
		int ret = expand(rows[i].text, &out, &err);
		if (ret != 0 || !cv_str_eq_c(cv_buf_str(&out), rows[i].want))
			print_message("%s: %s\n", rows[i].text, err.text);
		assert_int_equal(ret, 0);
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
		assert_int_equal(cv_var_check(rows[i].text, &err), 0);
	}
	cv_buf_deinit(&out);
}

static void operators_of_if(void **state)
{
	static const struct {
		const char *text;
		bool yes;
	} rows[] = {
		{ "2;==;2", true }, { "2;==;3", false }, { "2;!=;3", true }, { "2;!=;2", false }, { "2;<;10", true }, { "10;<;2", false },
		{ "2;<=;2", true }, { "3;<=;2", false }, { "10;>;9", true }, { "9;>;10", false }, { "9;>=;9", true }, { "8;>=;9", false },
		{ "-5;<;-4", true }, { "a;eq;a", true }, { "a;eq;b", false }, { "a;ne;b", true }, { "a;ne;a", false }, { "10;lt;9", true },
		{ "b;lt;a", false }, { "a;le;a", true }, { "b;gt;a", true }, { "a;ge;b", false }, { "abc;*;a*", true }, { "abc;*;?b", false },
		{ "abc;!*;x*", true }, { ";eq;", true }, { "abc;~;^a[bc]+$", true }, { "abc;~;^b", false }, { "abc;!~;^b", true },
		{ "aXbXc;*;*X*", true }, { "aaab;*;*ab", true }, { "abc;*;", false }, { ";*;*", true },
	};
	struct cv_buf out;
	char text[100];
	(void)state;
	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		assert_true(snprintf(text, sizeof(text), "%%{if;%s;yes;no}", rows[i].text) < (int)sizeof(text));
		cv_buf_clear(&out);
		assert_int_equal(expand(text, &out, &err), 0);
		assert_str_eq(cv_buf_str(&out), rows[i].yes ? CV_STR("yes") : CV_STR("no"));
	}
	cv_buf_deinit(&out);
}

static void errors_of_syntax_are_found_without_values(void **state)
{
	static const char *const rows[] = {
		"%",
		"a%",
		"%L",
		"%{user",
		"x%{if;a;eq;b;c",
		"%{}",
		"%LLLLLLLLLLLn",
		"%100000u",
		"%1.100000u",
		"%0.-2Hu",
		"%{if;x;foo;y;a;b}",
		"%{if;x;==;1;a;b}",
		"%{if;1;==;y;a;b}",
		"%{if;a;eq;b}",
		"%{if;a;eq;b;}",
		"%{if;a;eq;b;c;d;e}",
		"%{if;a;~;[;c;d}",
		"%{if;a;eq;b;c:d;e}",
		"%{if;%;eq;b;c;e}",
		"%{sha256}",
		"%{sha256:}",
		"%{sha1;rounds=0:user}",
		"%{sha1;rounds=x:user}",
		"%{sha1;rounds=1000000:user}",
		"%{sha1;truncate=x:user}",
		"%{sha1;format=octal:user}",
		"%{sha1;foo=1:user}",
		"% u",
		"%{if;%{if;%{if;%{if;%{if;%{if;%{if;%{if;%{if;1;==;1;a;b};eq;a;a;b};eq;a;a;b};eq;a;a;b};eq;a;a;b};eq;a;a;b};eq;a;a;b};eq;a;a;b};eq;a;a;b}",
	};
	struct cv_buf out;
	(void)state;
	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		if (cv_var_check(rows[i], &err) == 0)
			print_message("%s\n", rows[i]);
		assert_int_equal(cv_var_check(rows[i], &err), -1);
		assert_int_not_equal(err.code, CV_ERR_NONE);
		assert_int_equal(expand(rows[i], &out, &err), -1);
	}
	cv_buf_deinit(&out);
}

static void unknown_variables_are_errors_when_expanded(void **state)
{
	static const char *const rows[] = { "%y", "%{nope}", "%{sha256:nope}", "%{if;%y;eq;a;b;c}", "%{env:HOME}", "%{pkcs5:user}" };
	struct cv_buf out;
	(void)state;
	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_err err = { 0 };
		assert_int_equal(expand(rows[i], &out, &err), -1);
		assert_int_equal(err.code, CV_ERR_INVALID);
		assert_int_equal(cv_var_check(rows[i], &err), 0);
	}
	cv_buf_deinit(&out);
}

static void too_long_results_are_refused(void **state)
{
	struct cv_buf out;
	struct cv_err err = { 0 };
	(void)state;
	cv_buf_init(&out, 10);
	assert_int_equal(expand("%u", &out, &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	cv_buf_deinit(&out);
	cv_buf_init(&out, 1 << 20);
	assert_int_equal(expand("%99999.1Nu", &out, &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	cv_buf_deinit(&out);
}

static void values_may_hold_any_octet(void **state)
{
	struct cv_buf out;
	struct cv_err err = { 0 };
	(void)state;
	cv_buf_init(&out, 100);
	assert_int_equal(expand("%U{nul}", &out, &err), 0);
	assert_str_eq(cv_buf_str(&out), CV_STR("A\0B"));
	assert_int_equal(expand("%{if;%{nul};~;a;y;n}", &out, &err), -1);
	cv_buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test_fds_only(expands_as_dovecot_does),
		cv_test(operators_of_if),
		cv_test(errors_of_syntax_are_found_without_values),
		cv_test(unknown_variables_are_errors_when_expanded),
		cv_test(too_long_results_are_refused),
		cv_test(values_may_hold_any_octet),
	};
	return cv_test_run(tests);
}
