/* SPDX-License-Identifier: MIT
   POP3 before login: dialogues over a stream of memory, each also cut at every octet. */
#include <config.h>

#include "modules/protocol/pop3-login/pop3-login.h"
#include "t/lib/fake-login.h"
#include "t/lib/test.h"

#include <string.h>

extern const struct cv_module pop3_login_LTX_cv_module;

/* Sends octets at once, or cut, and compares all that comes back. */
static void expect(struct cv_login *login, struct cv_str octets, struct cv_str want, bool split)
{
	if (split)
		fake_login_push_split(login, octets);
	else
		fake_login_push(login, octets);
	assert_str_eq(fake_login_output(login), want);
}
#define EXPECT(login, octets, want) expect((login), CV_STR(octets), CV_STR(want), false)

static struct cv_login *connect_(void)
{
	struct cv_login *login = fake_login_new(fake_login_protocol(&pop3_login_LTX_cv_module));

	fake_login_start(login);
	assert_str(fake_login_output(login), "+OK Culver ready.\r\n");
	return login;
}

static void greets_and_quits(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "QUIT\r\n", "+OK Bye.\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

/* RFC 2449 section 5: "Capabilities available in the AUTHORIZATION state"; STLS only where TLS is not active (RFC 2595 section 4). */
static void capabilities_follow_the_connection(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "CAPA\r\n",
		"+OK Capability list follows.\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n"
		"USER\r\nSASL PLAIN\r\n.\r\n");
	login->plaintext_allowed = false;
	login->tls_available = true;
	EXPECT(login, "capa\r\n",
		"+OK Capability list follows.\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n"
		"STLS\r\n.\r\n");
	login->tls_active = true;
	login->mechs[0] = "SCRAM-SHA-256";
	EXPECT(login, "CAPA\n",
		"+OK Capability list follows.\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n"
		"SASL SCRAM-SHA-256\r\n.\r\n");
	fake_login_free(&login);
}

static void implementation_is_announced_when_set(void **state)
{
	struct cv_login *login = fake_login_new(fake_login_protocol(&pop3_login_LTX_cv_module));
	struct cv_pop3_login_settings set = { .pop3_implementation = "Example 1" };

	(void)state;
	fake_login_set_conf(login, &cv_pop3_login_settings, &set);
	fake_login_start(login);
	fake_login_output(login);
	EXPECT(login, "CAPA\r\n",
		"+OK Capability list follows.\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n"
		"USER\r\nSASL PLAIN\r\nIMPLEMENTATION Example 1\r\n.\r\n");
	fake_login_free(&login);
}

static void login_with_user_and_pass(bool split)
{
	struct cv_login *login = connect_();
	struct cv_pop3_resume resume;

	expect(login, CV_STR("USER tim\r\n"), CV_STR("+OK Send the password.\r\n"), split);
	expect(login, CV_STR("PASS se cret \r\n"), CV_STR(""), split);
	assert_str(login->auth_mech, "PLAIN");
	/* RFC 1939 section 7: "spaces in the argument ... as part of the password" */
	assert_str_eq(login->auth_initial, CV_STR("\0tim\0se cret "));
	fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "tim");
	assert_true(login->finished);
	assert_true(cv_pop3_resume_take(login->resume, &resume));
	assert_int_equal(resume.count, 2);
	assert_str(resume.lines[0], "USER");
	assert_str(resume.lines[1], "SASL PLAIN");
	assert_str(fake_login_output(login), "");
	fake_login_free(&login);
}

static void user_and_pass_log_in(void **state)
{
	(void)state;
	login_with_user_and_pass(false);
	login_with_user_and_pass(true);
}

static void pipelined_commands_go_to_the_session(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "USER tim\r\nPASS x\r\nSTAT\r\nQUIT\r\n", "+OK Send the password.\r\n");
	fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "tim");
	assert_true(login->finished);
	assert_str(login->unread, "STAT\r\nQUIT\r\n");
	fake_login_free(&login);
}

static void pipelined_commands_go_on_after_a_failure(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "USER tim\r\nPASS x\r\nQUIT\r\n", "+OK Send the password.\r\n");
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_AUTH, NULL);
	assert_str(fake_login_output(login), "-ERR [AUTH] Authentication failed.\r\n+OK Bye.\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

/* RFC 3206 section 4 and RFC 2449 section 8.1.2 */
static void failures_carry_response_codes(void **state)
{
	static const struct {
		enum cv_err_code code;
		const char *text;
		const char *want;
	} rows[] = {
		{ CV_ERR_AUTH, NULL, "-ERR [AUTH] Authentication failed.\r\n" },
		{ CV_ERR_PERM, NULL, "-ERR [AUTH] This account may not log in.\r\n" },
		{ CV_ERR_TEMP, NULL, "-ERR [SYS/TEMP] Authentication is not possible now, try again later.\r\n" },
		{ CV_ERR_UNAVAILABLE, NULL, "-ERR [SYS/TEMP] Authentication is not possible now, try again later.\r\n" },
		{ CV_ERR_LIMIT, NULL, "-ERR [SYS/TEMP] Too many logins, try again later.\r\n" },
		{ CV_ERR_PERM, "Your account expired", "-ERR [AUTH] Your account expired\r\n" },
		{ CV_ERR_PERM, "two\r\n+OK lines", "-ERR [AUTH] two??+OK lines\r\n" },
	};
	struct cv_login *login = connect_();

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		EXPECT(login, "USER tim\r\nPASS x\r\n", "+OK Send the password.\r\n");
		fake_login_auth_answer(login, CV_LOGIN_FAIL, rows[i].code, rows[i].text);
		assert_str_eq(fake_login_output(login), cv_str_c(rows[i].want));
	}
	fake_login_free(&login);
}

static void a_worker_that_is_not_reached_is_told(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "USER tim\r\nPASS x\r\n", "+OK Send the password.\r\n");
	fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "tim");
	fake_login_finish_failed(login, CV_ERR_LIMIT, "Too many connections");
	assert_str(fake_login_output(login), "-ERR [IN-USE] Too many connections\r\n");
	EXPECT(login, "USER tim\r\nPASS x\r\n", "+OK Send the password.\r\n");
	fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "tim");
	fake_login_finish_failed(login, CV_ERR_INTERNAL, NULL);
	assert_str(fake_login_output(login), "-ERR [SYS/PERM] Internal error, please tell the administrator\r\n");
	EXPECT(login, "QUIT\r\n", "+OK Bye.\r\n");
	fake_login_free(&login);
}

static void passwords_are_refused_without_tls(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	login->plaintext_allowed = false;
	login->tls_available = true;
	EXPECT(login, "USER tim\r\n", "-ERR [AUTH] Passwords are taken over TLS only: use STLS before.\r\n");
	EXPECT(login, "PASS x\r\n", "-ERR [AUTH] Passwords are taken over TLS only: use STLS before.\r\n");
	assert_int_equal(login->auth_begun, 0);
	EXPECT(login, "STLS\r\nUSER injected\r\n", "+OK Begin TLS negotiation now.\r\n");
	assert_true(login->tls_started);
	fake_login_secured(login);
	EXPECT(login, "STLS\r\n", "-ERR TLS is active already.\r\n");
	EXPECT(login, "PASS x\r\n", "-ERR Send USER before.\r\n");
	EXPECT(login, "USER tim\r\n", "+OK Send the password.\r\n");
	fake_login_free(&login);
}

static void user_is_forgotten_after_pass(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "PASS x\r\n", "-ERR Send USER before.\r\n");
	EXPECT(login, "USER\r\n", "-ERR USER needs a name.\r\n");
	EXPECT(login, "USER tim\r\nPASS x\r\n", "+OK Send the password.\r\n");
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_AUTH, NULL);
	fake_login_output(login);
	EXPECT(login, "PASS y\r\n", "-ERR Send USER before.\r\n");
	fake_login_free(&login);
}

/* RFC 5034 section 4 */
static void auth_takes_an_initial_response(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	fake_login_push_split(login, CV_STR("AUTH PLAIN AHRpbQBwdw==\r\n"));
	assert_str(fake_login_output(login), "");
	assert_str(login->auth_mech, "PLAIN");
	assert_str_eq(login->auth_initial, CV_STR("\0tim\0pw"));
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_AUTH, NULL);
	assert_str(fake_login_output(login), "-ERR [AUTH] Authentication failed.\r\n");
	/* "=" is a response that is there and empty; none at all is something else. */
	EXPECT(login, "AUTH EXTERNAL =\r\n", "");
	assert_non_null(login->auth_initial.ptr);
	assert_int_equal(login->auth_initial.len, 0);
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_AUTH, NULL);
	fake_login_output(login);
	EXPECT(login, "AUTH EXTERNAL\r\n", "");
	assert_null(login->auth_initial.ptr);
	fake_login_free(&login);
}

static void auth_goes_through_challenges(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "AUTH LOGIN\r\n", "");
	fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "Username:");
	assert_str(fake_login_output(login), "+ VXNlcm5hbWU6\r\n");
	fake_login_push_split(login, CV_STR("dGlt\r\n"));
	assert_str(login->auth_response, "tim");
	fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "");
	/* An empty challenge is "+ " with its space. */
	assert_str(fake_login_output(login), "+ \r\n");
	EXPECT(login, "\r\n", "");
	assert_int_equal(login->auth_continued, 2);
	assert_int_equal(login->auth_response.len, 0);
	fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "tim");
	assert_true(login->finished);
	fake_login_free(&login);
}

static void auth_is_cancelled(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "AUTH LOGIN\r\n", "");
	fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "x");
	fake_login_output(login);
	EXPECT(login, "*\r\n", "-ERR Authentication was cancelled.\r\n");
	assert_int_equal(login->auth_aborted, 1);
	EXPECT(login, "QUIT\r\n", "+OK Bye.\r\n");
	fake_login_free(&login);
}

/* "If the server is unable to BASE64 decode any client response, it MUST reject the AUTH command." */
static void broken_base64_is_rejected(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "AUTH PLAIN !!!\r\n", "-ERR Invalid base64 in the initial response.\r\n");
	assert_int_equal(login->auth_begun, 0);
	EXPECT(login, "AUTH LOGIN\r\n", "");
	fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "x");
	fake_login_output(login);
	EXPECT(login, "a\r\n", "-ERR Invalid base64 in the response.\r\n");
	assert_int_equal(login->auth_aborted, 1);
	fake_login_free(&login);
}

static void unknown_mechanisms_are_refused(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	login->auth_refuse = true;
	EXPECT(login, "AUTH FOO\r\n", "-ERR [SYS/PERM] Unsupported mechanism\r\n");
	EXPECT(login, "AUTH\r\n", "+OK Mechanisms follow.\r\nPLAIN\r\n.\r\n");
	fake_login_free(&login);
}

static void too_many_invalid_commands_close(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "FOO\r\nCAPA x\r\n", "-ERR Unknown command.\r\n-ERR This command takes no argument.\r\n");
	EXPECT(login, "AUTH\r\n", "+OK Mechanisms follow.\r\nPLAIN\r\n.\r\n");
	EXPECT(login, "\r\nSTAT\r\nRETR 1\r\nQUIT\r\n",
		"-ERR Unknown command.\r\n-ERR Unknown command.\r\n-ERR Too many invalid commands.\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

/* RFC 2449 section 4: 255 octets with CRLF. */
static void lines_are_bounded(void **state)
{
	struct cv_login *login = connect_();
	struct cv_buf line;

	(void)state;
	cv_buf_init(&line, 100000);
	cv_buf_append_c(&line, "USER ");
	while (line.len < 253)
		cv_buf_append_char(&line, 'x');
	cv_buf_append_c(&line, "\r\n");
	expect(login, cv_buf_str(&line), CV_STR("+OK Send the password.\r\n"), false);
	cv_buf_truncate(&line, 253);
	cv_buf_append_c(&line, "x\r\n");
	expect(login, cv_buf_str(&line), CV_STR("-ERR Line too long or with a NUL.\r\n"), false);
	expect(login, cv_buf_str(&line), CV_STR("-ERR Line too long or with a NUL.\r\n"), true);
	EXPECT(login, "NOPE\r\n", "-ERR Too many invalid commands.\r\n");
	cv_buf_deinit(&line);
	fake_login_free(&login);
}

static void an_endless_line_takes_no_memory(void **state)
{
	struct cv_login *login = connect_();
	char junk[4096];

	(void)state;
	memset(junk, 'a', sizeof(junk));
	for (int i = 0; i < 100; i++) {
		fake_login_push(login, cv_str_mem(junk, sizeof(junk)));
		assert_true(cv_stream_input(login->stream).len < 256);
	}
	EXPECT(login, "\r\nQUIT\r\n", "-ERR Line too long or with a NUL.\r\n+OK Bye.\r\n");
	fake_login_free(&login);
}

static void long_auth_responses_are_taken(void **state)
{
	struct cv_login *login = connect_();
	struct cv_buf line, token;

	(void)state;
	cv_buf_init(&token, 12000);
	while (token.len < 9000)
		cv_buf_append_char(&token, 't');
	cv_buf_init(&line, 100000);
	cv_buf_append_c(&line, "AUTH PLAIN ");
	cv_buf_append_base64(&line, cv_buf_str(&token));
	cv_buf_append_c(&line, "\r\n");
	expect(login, cv_buf_str(&line), CV_STR(""), false);
	assert_int_equal(login->auth_initial.len, 9000);
	cv_buf_deinit(&line);
	cv_buf_deinit(&token);
	fake_login_free(&login);
}

static void nuls_are_refused(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "USER a\0b\r\n", "-ERR Line too long or with a NUL.\r\n");
	fake_login_free(&login);
}

static void a_lost_connection_ends_the_exchange(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "AUTH LOGIN\r\n", "");
	fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "x");
	fake_login_eof(login);
	assert_int_equal(login->auth_aborted, 1);
	assert_true(login->closed);
	fake_login_free(&login);
	login = connect_();
	fake_login_push(login, CV_STR("USER ti"));
	fake_login_eof(login);
	/* Half a line is no command, and no reason to wait. */
	assert_true(login->closed);
	fake_login_free(&login);
}

static void a_client_that_closed_its_side_gets_its_answers(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "USER tim\r\nPASS x\r\nQUIT\r\n", "+OK Send the password.\r\n");
	fake_login_eof(login);
	assert_false(login->closed);
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_AUTH, NULL);
	assert_str(fake_login_output(login), "-ERR [AUTH] Authentication failed.\r\n+OK Bye.\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

static void says_goodbye(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	login->protocol->goodbye(login->state, "timeout");
	assert_str(fake_login_output(login), "-ERR Disconnected: nothing was heard for too long.\r\n");
	fake_login_free(&login);
	login = connect_();
	login->protocol->goodbye(login->state, "shutdown");
	assert_str(fake_login_output(login), "-ERR [SYS/TEMP] The server is shutting down.\r\n");
	fake_login_free(&login);
}

/* What comes from front is checked. */
static void resume_is_checked(void **state)
{
	struct cv_pop3_resume resume = { .lines = { CV_STR("USER"), CV_STR("SASL X") }, .count = 2 }, got;
	struct cv_buf data;

	(void)state;
	cv_buf_init(&data, 4096);
	cv_pop3_resume_put(&resume, &data);
	assert_true(cv_pop3_resume_take(cv_buf_str(&data), &got));
	assert_str(got.lines[1], "SASL X");
	for (size_t i = 0; i < data.len; i++)
		assert_false(cv_pop3_resume_take(cv_str_sub(cv_buf_str(&data), 0, i), &got));
	cv_buf_append_char(&data, 'x');
	assert_false(cv_pop3_resume_take(cv_buf_str(&data), &got));
	cv_buf_clear(&data);
	resume.lines[0] = CV_STR("A\r\nB");
	cv_pop3_resume_put(&resume, &data);
	assert_false(cv_pop3_resume_take(cv_buf_str(&data), &got));
	cv_buf_deinit(&data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(greets_and_quits),
		cv_test(capabilities_follow_the_connection),
		cv_test(implementation_is_announced_when_set),
		cv_test(user_and_pass_log_in),
		cv_test(pipelined_commands_go_to_the_session),
		cv_test(pipelined_commands_go_on_after_a_failure),
		cv_test(failures_carry_response_codes),
		cv_test(a_worker_that_is_not_reached_is_told),
		cv_test(passwords_are_refused_without_tls),
		cv_test(user_is_forgotten_after_pass),
		cv_test(auth_takes_an_initial_response),
		cv_test(auth_goes_through_challenges),
		cv_test(auth_is_cancelled),
		cv_test(broken_base64_is_rejected),
		cv_test(unknown_mechanisms_are_refused),
		cv_test(too_many_invalid_commands_close),
		cv_test(lines_are_bounded),
		cv_test(an_endless_line_takes_no_memory),
		cv_test(long_auth_responses_are_taken),
		cv_test(nuls_are_refused),
		cv_test(a_lost_connection_ends_the_exchange),
		cv_test(a_client_that_closed_its_side_gets_its_answers),
		cv_test(says_goodbye),
		cv_test(resume_is_checked),
	};

	return cv_test_run(tests);
}
