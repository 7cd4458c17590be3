/* SPDX-License-Identifier: MIT
   The LMTP dialogue in front: over a stream of memory, each transaction also cut at every octet. */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"
#include "t/lib/fake-login.h"
#include "t/lib/test.h"

#include <culver/time.h>

#include <string.h>

extern const struct cv_module lmtp_login_LTX_cv_module;

static const struct cv_lmtp_settings defaults = {
	.hostname = "mx.example",
	.recipient_delimiter = "+-",
	.lmtp_max_recipients = 3,
	.message_size_limit = 1000,
	.lmtp_add_received_header = true,
	.lmtp_hdr_delivery_address = CV_LMTP_ADDRESS_FINAL,
};

static void expect(struct cv_login *login, struct cv_str octets, struct cv_str want, bool split)
{
	if (split)
		fake_login_push_split(login, octets);
	else
		fake_login_push(login, octets);
	assert_str_eq(fake_login_output(login), want);
}

/* A delivery's message, wherever it is. */
static struct cv_str octets_of(const struct fake_job *given)
{
	struct cv_lmtp_job job;

	assert_true(cv_lmtp_job_take(given->payload, &job));
	assert_true((job.octets.ptr != NULL) != (given->octets.ptr != NULL));
	return job.octets.ptr != NULL ? job.octets : given->octets;
}

#define EXPECT(login, octets, want) expect((login), CV_STR(octets), CV_STR(want), false)
#define EXPECT_OUT(login, want) assert_str(fake_login_output(login), want)

static struct cv_login *connect_with(const struct cv_lmtp_settings *set)
{
	struct cv_login *login = fake_login_new(fake_login_protocol(&lmtp_login_LTX_cv_module));

	fake_login_set_conf(login, &cv_lmtp_settings_table, set);
	fake_login_start(login);
	EXPECT_OUT(login, "220 mx.example Culver ready.\r\n");
	return login;
}

static struct cv_login *connect_(void)
{
	struct cv_login *login = connect_with(&defaults);

	fake_login_push(login, CV_STR("LHLO client.example\r\n"));
	fake_login_output(login);
	return login;
}

/* One recipient more, known. */
static void add_rcpt(struct cv_login *login, struct cv_str line)
{
	fake_login_push(login, line);
	fake_login_lookup_answer(login, login->lookups.count - 1, CV_AUTH_OK);
	EXPECT_OUT(login, "250 2.1.5 OK\r\n");
}

static void lhlo_lists_extensions(void **state)
{
	struct cv_login *login = connect_with(&defaults);

	(void)state;
	EXPECT(login, "MAIL FROM:<a@b>\r\n", "503 5.5.1 Say LHLO first\r\n");
	EXPECT(login, "lhlo client.example\r\n",
		"250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n");
	EXPECT(login, "LHLO\r\n", "501 5.5.4 Syntax: LHLO name\r\n");
	EXPECT(login, "LHLO a b\r\n", "501 5.5.4 Syntax: LHLO name\r\n");
	fake_login_free(&login);
}

/* RFC 2033 section 4.1: "The LMTP server MUST NOT return a Positive Completion reply code (250) to HELO or EHLO." */
static void helo_and_ehlo_are_refused(void **state)
{
	struct cv_login *login = connect_with(&defaults);

	(void)state;
	EXPECT(login, "HELO x\r\nEHLO x\r\n", "500 5.5.1 This is LMTP: say LHLO\r\n500 5.5.1 This is LMTP: say LHLO\r\n");
	fake_login_free(&login);
}

static void short_commands_answer(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "NOOP\r\nNOOP x\r\n", "250 2.0.0 OK\r\n250 2.0.0 OK\r\n");
	EXPECT(login, "VRFY x\r\n", "252 2.3.3 Try RCPT\r\n");
	EXPECT(login, "RSET\r\n", "250 2.0.0 OK\r\n");
	EXPECT(login, "RSET x\r\n", "501 5.5.4 RSET takes no argument\r\n");
	EXPECT(login, "FOO\r\n", "500 5.5.1 Unknown command\r\n");
	EXPECT(login, "\r\n", "500 5.5.1 Unknown command\r\n");
	EXPECT(login, "QUIT\r\n", "221 2.0.0 Bye\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

static void mail_checks_its_arguments(void **state)
{
	static const struct {
		const char *args, *want;
	} rows[] = {
		{ "FROM:<>", "250 2.1.0 OK\r\n" },
		{ "from:<a@b>", "250 2.1.0 OK\r\n" },
		{ "FROM:<a@b> SIZE=1000 BODY=8BITMIME", "250 2.1.0 OK\r\n" },
		{ "FROM:<a@b> body=7bit size=0", "250 2.1.0 OK\r\n" },
		{ "FROM:<a@b> ", "250 2.1.0 OK\r\n" },
		{ "FROM:<a@b> SIZE=1001", "552 5.3.4 Message is larger than 1000 octets\r\n" },
		{ "FROM:<a@b> SIZE=x", "501 5.5.4 Invalid parameter\r\n" },
		{ "FROM:<a@b> SIZE", "501 5.5.4 Invalid parameter\r\n" },
		{ "FROM:<a@b> SIZE=99999999999999999999", "552 5.3.4 Message is larger than 1000 octets\r\n" },
		{ "FROM:<a@b> SIZE=999999999999999999999", "501 5.5.4 Invalid parameter\r\n" },
		{ "FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4 Invalid parameter\r\n" },
		{ "FROM:<a@b> BODY=BINARYMIME", "501 5.5.4 Invalid parameter\r\n" },
		{ "FROM:<a@b>SIZE=1", "501 5.5.4 Invalid parameter\r\n" },
		{ "FROM:<a@b> SMTPUTF8", "555 5.5.4 Unknown parameter\r\n" },
		{ "FROM:<a@b> RET=FULL", "555 5.5.4 Unknown parameter\r\n" },
		{ "FROM:<\xc3\xa9@b>", "553 5.6.7 SMTPUTF8 is not offered: addresses must be ASCII\r\n" },
		{ "FROM: <a@b>", "501 5.1.7 Invalid address\r\n" },
		{ "FROM:a@b", "501 5.1.7 Invalid address\r\n" },
		{ "FROM:<a@b", "501 5.1.7 Invalid address\r\n" },
		{ "<a@b>", "501 5.5.4 Syntax: MAIL FROM:<address>\r\n" },
		{ "", "501 5.5.4 Syntax: MAIL FROM:<address>\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_login *login = connect_();
		char line[200];

		snprintf(line, sizeof(line), "MAIL %s\r\n", rows[i].args);
		expect(login, cv_str_c(line), cv_str_c(rows[i].want), i % 2 == 1);
		fake_login_free(&login);
	}
}

static void order_of_commands_is_checked(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "RCPT TO:<a>\r\n", "503 5.5.1 MAIL is needed first\r\n");
	EXPECT(login, "DATA\r\n", "503 5.5.1 MAIL is needed first\r\n");
	EXPECT(login, "MAIL FROM:<>\r\nMAIL FROM:<>\r\n", "250 2.1.0 OK\r\n503 5.5.1 MAIL was given already\r\n");
	/* RFC 2033 section 4.2: "If there were no previously successful RCPT commands ... the DATA command MUST fail with a 503". */
	EXPECT(login, "DATA\r\n", "503 5.5.1 No valid recipients\r\n");
	fake_login_push(login, CV_STR("RCPT TO:<a>\r\n"));
	fake_login_lookup_answer(login, 0, CV_AUTH_NOUSER);
	EXPECT_OUT(login, "550 5.1.1 <a> There is no such user\r\n");
	EXPECT(login, "DATA\r\n", "503 5.5.1 No valid recipients\r\n");
	EXPECT(login, "RSET\r\nMAIL FROM:<>\r\n", "250 2.0.0 OK\r\n250 2.1.0 OK\r\n");
	fake_login_free(&login);
}

static void rcpt_checks_its_arguments(void **state)
{
	static const struct {
		const char *args, *want;
	} rows[] = {
		{ "TO:<>", "501 5.1.3 Invalid address\r\n" },
		{ "TO:<a@b> NOTIFY=NEVER", "555 5.5.4 Unknown parameter\r\n" },
		{ "TO:<a@b>x", "501 5.5.4 Invalid parameter\r\n" },
		{ "TO:<a@b> =", "501 5.5.4 Invalid parameter\r\n" },
		{ "TO:<\xc3\xa9@b>", "553 5.6.7 SMTPUTF8 is not offered: addresses must be ASCII\r\n" },
		{ "FROM:<a@b>", "501 5.5.4 Syntax: RCPT TO:<address>\r\n" },
		{ "TO: <a@b>", "501 5.1.3 Invalid address\r\n" },
	};
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "MAIL FROM:<>\r\n", "250 2.1.0 OK\r\n");
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		char line[200];

		snprintf(line, sizeof(line), "RCPT %s\r\n", rows[i].args);
		expect(login, cv_str_c(line), cv_str_c(rows[i].want), i % 2 == 1);
	}
	assert_int_equal(login->lookups.count, 0);
	fake_login_free(&login);
}

static void users_are_looked_up_without_detail_and_quotes(void **state)
{
	static const struct {
		const char *path, *user;
	} rows[] = {
		{ "<tim>", "tim" },
		{ "<tim@b.example>", "tim@b.example" },
		{ "<tim+box@b.example>", "tim@b.example" },
		{ "<tim-a+b@b.example>", "tim@b.example" },
		{ "<+box@b.example>", "+box@b.example" },
		{ "<tim+@b>", "tim@b" },
		{ "<\"t m+b c\"@b>", "t m@b" },
	};

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_login *login = connect_();
		char line[200];

		snprintf(line, sizeof(line), "MAIL FROM:<>\r\nRCPT TO:%s\r\n", rows[i].path);
		expect(login, cv_str_c(line), CV_STR(""), false);
		assert_int_equal(login->lookups.count, 1);
		assert_str_eq(login->lookups.data[0].user, cv_str_c(rows[i].user));
		fake_login_free(&login);
	}
}

static void lookups_answer_with_their_own_codes(void **state)
{
	static const struct {
		enum cv_auth_result result;
		const char *want;
	} rows[] = {
		{ CV_AUTH_OK, "250 2.1.5 OK\r\n" },
		{ CV_AUTH_NOUSER, "550 5.1.1 <a@b> There is no such user\r\n" },
		{ CV_AUTH_DISABLED, "550 5.2.1 <a@b> This user takes no mail\r\n" },
		{ CV_AUTH_TEMP, "451 4.3.0 <a@b> The user cannot be looked up now\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_login *login = connect_();
		char want[200];

		EXPECT(login, "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n", "");
		fake_login_lookup_answer(login, 0, rows[i].result);
		/* RFC 2920 section 3.2: what came together is answered together. */
		snprintf(want, sizeof(want), "250 2.1.0 OK\r\n%s", rows[i].want);
		assert_str_eq(fake_login_output(login), cv_str_c(want));
		fake_login_free(&login);
	}
}

/* RFC 2920: replies come in the order of the commands, however the look-ups end. */
static void pipelined_recipients_are_looked_up_together(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "MAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<b>\r\nRCPT TO:b@\r\nNOOP\r\nRCPT TO:<c>\r\nDATA\r\n", "");
	assert_int_equal(login->lookups.count, 2);
	fake_login_lookup_answer(login, 1, CV_AUTH_NOUSER);
	EXPECT_OUT(login, "");
	fake_login_lookup_answer(login, 0, CV_AUTH_OK);
	EXPECT_OUT(login,
		"250 2.1.0 OK\r\n250 2.1.5 OK\r\n550 5.1.1 <b> There is no such user\r\n501 5.1.3 Invalid address\r\n250 2.0.0 OK\r\n");
	assert_int_equal(login->lookups.count, 3);
	fake_login_lookup_answer(login, 2, CV_AUTH_OK);
	EXPECT_OUT(login, "250 2.1.5 OK\r\n354 Send the message, then a line with one dot\r\n");
	fake_login_free(&login);
}

/* RFC 5321 section 4.5.3.1.10 */
static void recipients_are_bounded(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "MAIL FROM:<>\r\n", "250 2.1.0 OK\r\n");
	EXPECT(login, "RCPT TO:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nRCPT TO:<d>\r\n", "");
	for (size_t i = 0; i < 3; i++)
		fake_login_lookup_answer(login, i, CV_AUTH_OK);
	EXPECT_OUT(login, "250 2.1.5 OK\r\n250 2.1.5 OK\r\n250 2.1.5 OK\r\n452 4.5.3 Too many recipients\r\n");
	assert_int_equal(login->lookups.count, 3);
	fake_login_free(&login);
}

static void mail_for_the_postmaster_finds_somebody(void **state)
{
	struct cv_lmtp_settings set = defaults;
	struct cv_login *login;

	(void)state;
	set.postmaster_address = "root@example.org";
	login = connect_with(&set);
	fake_login_push(login, CV_STR("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<PostMaster>\r\n"));
	fake_login_output(login);
	assert_str(login->lookups.data[0].user, "PostMaster");
	fake_login_lookup_answer(login, 0, CV_AUTH_NOUSER);
	EXPECT_OUT(login, "");
	assert_str(login->lookups.data[1].user, "root@example.org");
	fake_login_lookup_answer(login, 1, CV_AUTH_OK);
	EXPECT_OUT(login, "250 2.1.0 OK\r\n250 2.1.5 OK\r\n");
	/* Elsewhere's postmaster is a user like others. */
	fake_login_push(login, CV_STR("RCPT TO:<postmaster@other.example>\r\n"));
	fake_login_lookup_answer(login, 2, CV_AUTH_NOUSER);
	EXPECT_OUT(login, "550 5.1.1 <postmaster@other.example> There is no such user\r\n");
	fake_login_free(&login);
}

static void deliver_once(bool split)
{
	struct cv_login *login = connect_();
	struct cv_lmtp_job job;

	cv_time_set_for_tests(1795500000);
	expect(login, CV_STR("MAIL FROM:<from@a.example>\r\n"), CV_STR("250 2.1.0 OK\r\n"), split);
	add_rcpt(login, CV_STR("RCPT TO:<tim+Box.1@b.example>\r\n"));
	expect(login, CV_STR("DATA\r\n"), CV_STR("354 Send the message, then a line with one dot\r\n"), split);
	expect(login, CV_STR("Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n"), CV_STR(""), split);
	assert_int_equal(login->jobs.count, 1);
	assert_str(login->jobs.data[0].ticket, "0123456789abcdef");
	assert_str(octets_of(&login->jobs.data[0]), "Subject: x\n\n.dot\n");
	assert_true(cv_lmtp_job_take(login->jobs.data[0].payload, &job));
	assert_str(job.reverse_path, "from@a.example");
	assert_str(job.recipient, "tim+Box.1@b.example");
	assert_str(job.detail, "Box.1");
	assert_str(job.header,
		"Return-Path: <from@a.example>\nDelivered-To: tim+Box.1@b.example\n"
		"Received: from client.example ([192.0.2.7])\n\tby mx.example with LMTP\n\tid SESSION-1\n"
		"\t(envelope-from <from@a.example>)\n\tfor <tim+Box.1@b.example>; Tue, 24 Nov 2026 06:00:00 +0000\n");
	/* Nothing is said before it is durable. */
	EXPECT_OUT(login, "");
	fake_login_job_answer(login, 0, CV_ERR_NONE, NULL);
	EXPECT_OUT(login, "250 2.0.0 <tim+Box.1@b.example> SESSION-1 Saved\r\n221 2.0.0 Bye\r\n");
	cv_time_set_for_tests(0);
	fake_login_free(&login);
}

static void a_message_is_delivered(void **state)
{
	(void)state;
	deliver_once(false);
	deliver_once(true);
}

static void trace_fields_follow_settings(void **state)
{
	struct cv_lmtp_settings set = defaults;
	struct cv_login *login;
	struct cv_lmtp_job job;

	(void)state;
	set.lmtp_add_received_header = false;
	set.lmtp_hdr_delivery_address = CV_LMTP_ADDRESS_NONE;
	login = connect_with(&set);
	fake_login_push(login, CV_STR("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\n"));
	fake_login_lookup_answer(login, 0, CV_AUTH_OK);
	fake_login_push(login, CV_STR("DATA\r\n.\r\n"));
	assert_true(cv_lmtp_job_take(login->jobs.data[0].payload, &job));
	assert_str(job.header, "Return-Path: <>\n");
	assert_null(job.detail.ptr);
	assert_str(octets_of(&login->jobs.data[0]), "");
	fake_login_free(&login);
}

/* RFC 2033 section 4.2: one reply for each recipient that was accepted, in order. */
static void each_recipient_gets_its_reply_in_order(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "MAIL FROM:<>\r\n", "250 2.1.0 OK\r\n");
	add_rcpt(login, CV_STR("RCPT TO:<a>\r\n"));
	fake_login_push(login, CV_STR("RCPT TO:<b>\r\n"));
	fake_login_lookup_answer(login, 1, CV_AUTH_NOUSER);
	fake_login_output(login);
	add_rcpt(login, CV_STR("RCPT TO:<c>\r\n"));
	EXPECT(login, "DATA\r\nx\r\n.\r\nMAIL FROM:<next>\r\n", "354 Send the message, then a line with one dot\r\n");
	assert_int_equal(login->jobs.count, 2);
	fake_login_job_answer(login, 1, CV_ERR_NONE, NULL);
	EXPECT_OUT(login, "");
	fake_login_job_answer(login, 0, CV_ERR_NOQUOTA, NULL);
	EXPECT_OUT(login, "452 4.2.2 <a> Not enough storage space\r\n250 2.0.0 <c> SESSION-1 Saved\r\n250 2.1.0 OK\r\n");
	fake_login_free(&login);
}

/* RFC 3463; permanent only where a rule refused. */
static void errors_have_enhanced_codes(void **state)
{
	static const struct {
		enum cv_err_code code;
		const char *text;
		const char *want;
	} rows[] = {
		{ CV_ERR_TEMP, NULL, "451 4.3.0 <a> Temporary failure, try again later\r\n" },
		{ CV_ERR_UNAVAILABLE, NULL, "451 4.3.2 <a> Service is not available now, try again later\r\n" },
		{ CV_ERR_PERM, NULL, "451 4.3.0 <a> Temporary failure, try again later\r\n" },
		{ CV_ERR_PERM, "No mail from there", "550 5.7.1 <a> No mail from there\r\n" },
		{ CV_ERR_NOTFOUND, NULL, "451 4.2.0 <a> Temporary failure, try again later\r\n" },
		{ CV_ERR_NOQUOTA, "Quota exceeded", "552 5.2.2 <a> Quota exceeded\r\n" },
		{ CV_ERR_LIMIT, "Too large for you", "552 5.2.3 <a> Too large for you\r\n" },
		{ CV_ERR_LIMIT, NULL, "452 4.3.1 <a> Temporary failure, try again later\r\n" },
		{ CV_ERR_INVALID, "Broken\r\n250 message", "554 5.6.0 <a> Broken??250 message\r\n" },
		{ CV_ERR_INTERNAL, NULL, "451 4.3.0 <a> Internal error, please tell the administrator\r\n" },
	};
	struct cv_login *login = connect_();

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		EXPECT(login, "MAIL FROM:<>\r\n", "250 2.1.0 OK\r\n");
		add_rcpt(login, CV_STR("RCPT TO:<a>\r\n"));
		fake_login_push(login, CV_STR("DATA\r\nx\r\n.\r\n"));
		fake_login_output(login);
		fake_login_job_answer(login, i, rows[i].code, rows[i].text);
		assert_str_eq(fake_login_output(login), cv_str_c(rows[i].want));
	}
	fake_login_free(&login);
}

static void too_large_a_message_is_refused_for_each(void **state)
{
	struct cv_login *login = connect_();
	char line[101];

	(void)state;
	memset(line, 'x', sizeof(line));
	EXPECT(login, "MAIL FROM:<>\r\n", "250 2.1.0 OK\r\n");
	add_rcpt(login, CV_STR("RCPT TO:<a>\r\n"));
	add_rcpt(login, CV_STR("RCPT TO:<b>\r\n"));
	EXPECT(login, "DATA\r\n", "354 Send the message, then a line with one dot\r\n");
	for (int i = 0; i < 10; i++)
		fake_login_push(login, cv_str_mem(line, sizeof(line)));
	EXPECT(login, "\r\n.\r\nNOOP\r\n",
		"552 5.2.3 <a> Message is larger than 1000 octets\r\n552 5.2.3 <b> Message is larger than 1000 octets\r\n250 2.0.0 OK\r\n");
	assert_int_equal(login->jobs.count, 0);
	fake_login_free(&login);
}

static void a_client_that_vanishes_delivers_nothing(void **state)
{
	static const char text[] = "Subject: x\r\n\r\ny\r\n.\r";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		struct cv_login *login = connect_();

		EXPECT(login, "MAIL FROM:<>\r\n", "250 2.1.0 OK\r\n");
		add_rcpt(login, CV_STR("RCPT TO:<a>\r\n"));
		fake_login_push(login, CV_STR("DATA\r\n"));
		fake_login_push(login, cv_str_mem(text, len));
		fake_login_eof(login);
		assert_true(login->closed);
		assert_int_equal(login->jobs.count, 0);
		fake_login_free(&login);
	}
}

/* RFC 3030 section 2 */
static void chunks_deliver(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	for (int split = 0; split < 2; split++) {
		size_t job = login->jobs.count;

		EXPECT(login, "MAIL FROM:<>\r\n", "250 2.1.0 OK\r\n");
		add_rcpt(login, CV_STR("RCPT TO:<a>\r\n"));
		expect(login, CV_STR("BDAT 7\r\nA: b\r\n\r"), CV_STR("250 2.0.0 7 octets received\r\n"), split != 0);
		expect(login, CV_STR("BDAT 0\r\n"), CV_STR("250 2.0.0 0 octets received\r\n"), split != 0);
		EXPECT(login, "DATA\r\n", "503 5.5.1 DATA is not possible behind BDAT\r\n");
		EXPECT(login, "RCPT TO:<late>\r\n", "503 5.5.1 The message has begun already\r\n");
		expect(login, CV_STR("bdat 6 last\r\n\n.\r\n.\nNOOP\r\n"), CV_STR(""), split != 0);
		assert_int_equal(login->jobs.count, job + 1);
		assert_str(octets_of(&login->jobs.data[job]), "A: b\n\n.\n.\n");
		fake_login_job_answer(login, job, CV_ERR_NONE, NULL);
		EXPECT_OUT(login, "250 2.0.0 <a> SESSION-1 Saved\r\n250 2.0.0 OK\r\n");
	}
	fake_login_free(&login);
}

static void refused_chunks_are_no_commands(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "BDAT 6\r\nQUIT\r\nNOOP\r\n", "503 5.5.1 No valid recipients\r\n250 2.0.0 OK\r\n");
	EXPECT(login, "MAIL FROM:<>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
		"250 2.1.0 OK\r\n503 5.5.1 No valid recipients\r\n250 2.0.0 OK\r\n");
	assert_false(login->closed);
	/* How long the chunk is cannot be known. */
	EXPECT(login, "BDAT x\r\nQUIT\r\n", "501 5.5.4 Syntax: BDAT size [LAST]\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

static void too_large_chunks_are_refused(void **state)
{
	struct cv_login *login = connect_();
	char chunk[600];

	(void)state;
	memset(chunk, 'x', sizeof(chunk));
	EXPECT(login, "MAIL FROM:<>\r\n", "250 2.1.0 OK\r\n");
	add_rcpt(login, CV_STR("RCPT TO:<a>\r\n"));
	fake_login_push(login, CV_STR("BDAT 600\r\n"));
	expect(login, cv_str_mem(chunk, 600), CV_STR("250 2.0.0 600 octets received\r\n"), false);
	fake_login_push(login, CV_STR("BDAT 600\r\n"));
	expect(login, cv_str_mem(chunk, 600), CV_STR("552 5.2.3 Message is larger than 1000 octets\r\n"), false);
	EXPECT(login, "BDAT 0 LAST\r\n", "552 5.2.3 <a> Message is larger than 1000 octets\r\n");
	assert_int_equal(login->jobs.count, 0);
	EXPECT(login, "BDAT 99999999999999999999\r\n", "501 5.5.4 Syntax: BDAT size [LAST]\r\n");
	fake_login_free(&login);
}

static void rset_ends_chunks(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "MAIL FROM:<>\r\n", "250 2.1.0 OK\r\n");
	add_rcpt(login, CV_STR("RCPT TO:<a>\r\n"));
	EXPECT(login, "BDAT 2\r\nxyRSET\r\n", "250 2.0.0 2 octets received\r\n250 2.0.0 OK\r\n");
	EXPECT(login, "BDAT 0 LAST\r\n", "503 5.5.1 No valid recipients\r\n");
	fake_login_free(&login);
}

static void jobs_are_given_a_few_at_a_time(void **state)
{
	struct cv_lmtp_settings set = defaults;
	struct cv_login *login;

	(void)state;
	set.lmtp_max_recipients = 1000;
	login = connect_with(&set);
	fake_login_push(login, CV_STR("LHLO x\r\nMAIL FROM:<>\r\n"));
	fake_login_output(login);
	for (int i = 0; i < 30; i++)
		add_rcpt(login, CV_STR("RCPT TO:<a>\r\n"));
	fake_login_push(login, CV_STR("DATA\r\nx\r\n.\r\n"));
	fake_login_output(login);
	assert_int_equal(login->jobs.count, CV_LMTP_JOBS_MAX);
	for (size_t i = 0; i < 30; i++) {
		assert_true(login->jobs.count <= i + CV_LMTP_JOBS_MAX);
		fake_login_job_answer(login, i, CV_ERR_NONE, NULL);
		EXPECT_OUT(login, "250 2.0.0 <a> SESSION-1 Saved\r\n");
	}
	EXPECT(login, "NOOP\r\n", "250 2.0.0 OK\r\n");
	fake_login_free(&login);
}

static void lines_are_bounded(void **state)
{
	struct cv_login *login = connect_();
	char junk[3000];

	(void)state;
	memset(junk, 'j', sizeof(junk));
	for (int i = 0; i < 50; i++) {
		fake_login_push(login, cv_str_mem(junk, sizeof(junk)));
		assert_true(cv_stream_input(login->stream).len <= sizeof(junk));
	}
	EXPECT(login, "\r\nNOOP\r\nNO\0OP\r\n",
		"500 5.5.2 Line too long or with a NUL\r\n250 2.0.0 OK\r\n500 5.5.2 Line too long or with a NUL\r\n");
	fake_login_free(&login);
}

static void too_many_invalid_commands_close(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	for (int i = 0; i < CV_LMTP_BAD_MAX - 1; i++)
		EXPECT(login, "FOO\r\n", "500 5.5.1 Unknown command\r\n");
	EXPECT(login, "FOO\r\nNOOP\r\n", "421 4.7.0 Too many invalid commands\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

static void a_client_that_does_not_read_is_not_served(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	for (int i = 0; i < 20000; i++)
		fake_login_push(login, CV_STR("NOOP\r\n"));
	assert_true(cv_stream_out(login->stream)->len <= login->protocol->max_output + 4096);
	fake_login_free(&login);
}

/* Half-closed connections (netcat) get what they asked for. */
static void replies_come_after_the_client_closed_its_side(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "MAIL FROM:<>\r\nRCPT TO:<a>\r\nQUIT\r\n", "");
	fake_login_eof(login);
	assert_false(login->closed);
	fake_login_lookup_answer(login, 0, CV_AUTH_OK);
	EXPECT_OUT(login, "250 2.1.0 OK\r\n250 2.1.5 OK\r\n221 2.0.0 Bye\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

static void jobs_are_checked_in_the_worker(void **state)
{
	struct cv_lmtp_job job = { CV_LMTP_JOB_DELIVER, CV_STR("a@b"), CV_STR("c@d"), { NULL, 0 }, CV_STR("X: y\n"), CV_STR("text\n"), 7 }, got;
	struct cv_buf data;

	(void)state;
	cv_buf_init(&data, 4096);
	cv_lmtp_job_put(&job, &data);
	assert_true(cv_lmtp_job_take(cv_buf_str(&data), &got));
	assert_str(got.header, "X: y\n");
	assert_str(got.octets, "text\n");
	assert_null(got.detail.ptr);
	assert_int_equal(got.kind, CV_LMTP_JOB_DELIVER);
	assert_int_equal(got.size, 7);
	for (size_t i = 0; i < data.len; i++)
		assert_false(cv_lmtp_job_take(cv_str_sub(cv_buf_str(&data), 0, i), &got));
	cv_buf_append_char(&data, 'x');
	assert_false(cv_lmtp_job_take(cv_buf_str(&data), &got));
	cv_buf_deinit(&data);
}

static void verdict(struct cv_login *login, size_t index, const struct cv_err *err)
{
	struct cv_buf data;

	cv_buf_init(&data, 4096);
	cv_lmtp_verdict_put(err, &data);
	fake_login_job_answer_data(login, index, cv_buf_str(&data));
	cv_buf_deinit(&data);
}

static void verdicts_are_checked_in_front(void **state)
{
	struct cv_err none = { 0 }, full = { 0 }, got;
	struct cv_buf data;

	(void)state;
	cv_buf_init(&data, 4096);
	cv_err_set_public(&full, CV_ERR_NOQUOTA, "Full");
	cv_lmtp_verdict_put(&full, &data);
	assert_true(cv_lmtp_verdict_take(cv_buf_str(&data), &got));
	assert_int_equal(got.code, CV_ERR_NOQUOTA);
	assert_true(got.public_text);
	assert_string_equal(got.text, "Full");
	for (size_t i = 0; i < data.len; i++)
		assert_false(cv_lmtp_verdict_take(cv_str_sub(cv_buf_str(&data), 0, i), &got));
	data.data[0] = 100;
	assert_false(cv_lmtp_verdict_take(cv_buf_str(&data), &got));
	cv_buf_clear(&data);
	cv_lmtp_verdict_put(&none, &data);
	assert_true(cv_lmtp_verdict_take(cv_buf_str(&data), &got));
	assert_int_equal(got.code, CV_ERR_NONE);
	cv_buf_deinit(&data);
}

/* Only when a module wants a say is the worker asked; what it says is the reply, in the order of the commands; silence is no refusal. */
static void workers_are_asked_at_rcpt(void **state)
{
	struct cv_err none = { 0 }, full = { 0 }, secret = { 0 };
	struct cv_login *login = connect_();
	struct cv_lmtp_job job;

	(void)state;
	cv_err_set_public(&full, CV_ERR_NOQUOTA, "Mailbox is full");
	cv_err_set(&secret, CV_ERR_PERM, "/etc/secret");
	login->worker_hooks = true;
	fake_login_push(login,
		CV_STR("MAIL FROM:<f@a> SIZE=99 FOO\r\nMAIL FROM:<f@a>\r\nRCPT TO:<tim+Box@b>\r\nRCPT TO:<u>\r\nRCPT TO:<v>\r\n"));
	EXPECT_OUT(login, "555 5.5.4 Unknown parameter\r\n");
	fake_login_lookup_answer(login, 1, CV_AUTH_NOUSER);
	fake_login_lookup_answer(login, 0, CV_AUTH_OK);
	fake_login_lookup_answer(login, 2, CV_AUTH_OK);
	EXPECT_OUT(login, "");
	assert_int_equal(login->jobs.count, 2);
	assert_true(cv_lmtp_job_take(login->jobs.data[0].payload, &job));
	assert_int_equal(job.kind, CV_LMTP_JOB_RECIPIENT);
	assert_str(job.reverse_path, "f@a");
	assert_str(job.recipient, "tim+Box@b");
	assert_str(job.detail, "Box");
	assert_int_equal(job.size, 0); /* that was in a MAIL that was refused */
	assert_int_equal(login->jobs.data[0].within_ms, CV_LMTP_ASK_MS);
	verdict(login, 1, &secret);
	EXPECT_OUT(login, "");
	verdict(login, 0, &full);
	EXPECT_OUT(login,
		"250 2.1.0 OK\r\n552 5.2.2 <tim+Box@b> Mailbox is full\r\n550 5.1.1 <u> There is no such user\r\n"
		"451 4.3.0 <v> Temporary failure, try again later\r\n");
	EXPECT(login, "DATA\r\n", "503 5.5.1 No valid recipients\r\n");
	EXPECT(login, "RSET\r\nMAIL FROM:<f@a> SIZE=99\r\n", "250 2.0.0 OK\r\n250 2.1.0 OK\r\n");
	fake_login_push(login, CV_STR("RCPT TO:<tim@b>\r\nRCPT TO:<u>\r\nRCPT TO:<v>\r\nDATA\r\n"));
	for (size_t i = 3; i < 6; i++)
		fake_login_lookup_answer(login, i, CV_AUTH_OK);
	assert_true(cv_lmtp_job_take(login->jobs.data[2].payload, &job));
	assert_int_equal(job.size, 99);
	fake_login_job_answer(login, 2, CV_ERR_PERM, "The worker could not be reached");
	EXPECT_OUT(login, "250 2.1.5 OK\r\n");
	fake_login_job_answer_data(login, 3, CV_STR("nonsense"));
	EXPECT_OUT(login, "250 2.1.5 OK\r\n");
	verdict(login, 4, &none);
	EXPECT_OUT(login, "250 2.1.5 OK\r\n354 Send the message, then a line with one dot\r\n");
	fake_login_push(login, CV_STR("x\r\n.\r\n"));
	assert_int_equal(login->jobs.count, 8);
	assert_true(cv_lmtp_job_take(login->jobs.data[5].payload, &job));
	assert_int_equal(job.kind, CV_LMTP_JOB_DELIVER);
	fake_login_job_answer(login, 5, CV_ERR_NOQUOTA, "Mailbox is full");
	fake_login_job_answer(login, 6, CV_ERR_NOQUOTA, NULL); /* the disk is */
	fake_login_job_answer(login, 7, CV_ERR_NONE, NULL);
	assert_true(cv_str_starts(fake_login_output(login), CV_STR("552 5.2.2 <tim@b> Mailbox is full\r\n452 4.2.2 <u> ")));
	fake_login_free(&login);
}

static void a_full_mailbox_can_be_temporary(void **state)
{
	struct cv_lmtp_settings set = defaults;
	struct cv_err full = { 0 };
	struct cv_login *login;

	(void)state;
	set.quota_full_tempfail = true;
	cv_err_set_public(&full, CV_ERR_NOQUOTA, "Mailbox is full");
	login = connect_with(&set);
	fake_login_push(login, CV_STR("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\n"));
	fake_login_lookup_answer(login, 0, CV_AUTH_OK);
	assert_int_equal(login->jobs.count, 0); /* nobody wants a say */
	fake_login_push(login, CV_STR("DATA\r\n.\r\n"));
	fake_login_output(login);
	fake_login_job_answer(login, 0, CV_ERR_NOQUOTA, "Mailbox is full");
	EXPECT_OUT(login, "452 4.2.2 <a> Mailbox is full\r\n");
	login->worker_hooks = true;
	EXPECT(login, "MAIL FROM:<>\r\nRCPT TO:<a>\r\n", "");
	fake_login_lookup_answer(login, 1, CV_AUTH_OK);
	verdict(login, 1, &full);
	EXPECT_OUT(login, "250 2.1.0 OK\r\n452 4.2.2 <a> Mailbox is full\r\n");
	fake_login_free(&login);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(lhlo_lists_extensions),
		cv_test(helo_and_ehlo_are_refused),
		cv_test(short_commands_answer),
		cv_test(mail_checks_its_arguments),
		cv_test(order_of_commands_is_checked),
		cv_test(rcpt_checks_its_arguments),
		cv_test(users_are_looked_up_without_detail_and_quotes),
		cv_test(lookups_answer_with_their_own_codes),
		cv_test(pipelined_recipients_are_looked_up_together),
		cv_test(recipients_are_bounded),
		cv_test(mail_for_the_postmaster_finds_somebody),
		cv_test(a_message_is_delivered),
		cv_test(trace_fields_follow_settings),
		cv_test(each_recipient_gets_its_reply_in_order),
		cv_test(errors_have_enhanced_codes),
		cv_test(too_large_a_message_is_refused_for_each),
		cv_test(a_client_that_vanishes_delivers_nothing),
		cv_test(chunks_deliver),
		cv_test(refused_chunks_are_no_commands),
		cv_test(too_large_chunks_are_refused),
		cv_test(rset_ends_chunks),
		cv_test(jobs_are_given_a_few_at_a_time),
		cv_test(lines_are_bounded),
		cv_test(too_many_invalid_commands_close),
		cv_test(a_client_that_does_not_read_is_not_served),
		cv_test(replies_come_after_the_client_closed_its_side),
		cv_test(jobs_are_checked_in_the_worker),
		cv_test(verdicts_are_checked_in_front),
		cv_test(workers_are_asked_at_rcpt),
		cv_test(a_full_mailbox_can_be_temporary),
	};

	setenv("TZ", "UTC", 1);
	cv_time_local_offset_min(0);
	return cv_test_run(tests);
}
