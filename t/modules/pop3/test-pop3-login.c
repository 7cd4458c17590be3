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
		"+OK Capability list follows.\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUTF8\r\nLANG\r\n"
		"USER\r\nSASL PLAIN\r\nEXPIRE NEVER\r\n.\r\n");
	login->plaintext_allowed = false;
	login->tls_available = true;
	EXPECT(login, "capa\r\n",
		"+OK Capability list follows.\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUTF8\r\nLANG\r\n"
		"STLS\r\nEXPIRE NEVER\r\n.\r\n");
	login->tls_active = true;
	login->mechs[0] = "SCRAM-SHA-256";
	EXPECT(login, "CAPA\n",
		"+OK Capability list follows.\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUTF8\r\nLANG\r\n"
		"SASL SCRAM-SHA-256\r\nEXPIRE NEVER\r\n.\r\n");
	fake_login_free(&login);
}

static void settings_are_announced(void **state)
{
	struct cv_login *login = fake_login_new(fake_login_protocol(&pop3_login_LTX_cv_module));
	struct cv_pop3_login_settings set = { .pop3_implementation = "Example 1", .pop3_expire = "30", .pop3_login_delay = 900000,
		.pop3_language = "de" };

	(void)state;
	fake_login_set_conf(login, &cv_pop3_login_settings, &set);
	fake_login_start(login);
	fake_login_output(login);
	EXPECT(login, "CAPA\r\n",
		"+OK Capability list follows.\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUTF8\r\nLANG\r\n"
		"USER\r\nSASL PLAIN\r\nIMPLEMENTATION Example 1\r\nEXPIRE 30\r\nLOGIN-DELAY 900\r\n.\r\n");
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
	assert_int_equal(resume.count, 3);
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
	EXPECT(login, "AUTH FOO\r\n", "-ERR Unsupported mechanism\r\n");
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
	assert_str(fake_login_output(login), "");
	fake_login_free(&login);
	login = connect_();
	login->protocol->goodbye(login->state, "shutdown");
	assert_str(fake_login_output(login), "-ERR [SYS/TEMP] The server is shutting down.\r\n");
	fake_login_free(&login);
}

/* RFC 1939 section 7: "A POP3 server which implements the APOP command will include a timestamp in its banner greeting"; it "MUST be different each time". */
static void apop_goes_with_the_timestamp(void **state)
{
	struct cv_login *login;
	struct cv_str greeting, timestamps[2];
	struct cv_buf want;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		login = fake_login_new(fake_login_protocol(&pop3_login_LTX_cv_module));
		login->own = "APOP";
		fake_login_start(login);
		greeting = fake_login_output(login);
		assert_true(cv_str_starts(greeting, CV_STR("+OK Culver ready. <")) && cv_str_ends(greeting, CV_STR(">\r\n")));
		timestamps[i] = cv_arena_str(*state, cv_str_sub(greeting, cv_str_find(greeting, '<'), greeting.len - 2 - cv_str_find(greeting, '<')));
		if (i == 0)
			fake_login_free(&login);
	}
	assert_false(cv_str_eq(timestamps[0], timestamps[1]));
	EXPECT(login, "APOP\r\n", "-ERR Syntax: APOP name digest\r\n");
	EXPECT(login, "APOP tim 00112233445566778899aabbccddeeff00\r\n", "-ERR Syntax: APOP name digest\r\n");
	EXPECT(login, "QUITE\r\nNOTHING\r\n", "-ERR Unknown command.\r\n-ERR Too many invalid commands.\r\n");
	fake_login_free(&login);

	login = fake_login_new(fake_login_protocol(&pop3_login_LTX_cv_module));
	login->own = "APOP";
	fake_login_start(login);
	greeting = fake_login_output(login);
	EXPECT(login, "APOP t im 00112233445566778899aabbccddeeff\r\n", "");
	assert_str(login->auth_mech, "APOP");
	cv_buf_init(&want, 1000);
	cv_buf_append(&want, cv_str_sub(greeting, cv_str_find(greeting, '<'), greeting.len - 2 - cv_str_find(greeting, '<')));
	cv_buf_append(&want, CV_STR("\0t im\0\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"));
	assert_str_eq(login->auth_initial, cv_buf_str(&want));
	cv_buf_deinit(&want);
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_AUTH, NULL);
	assert_str(fake_login_output(login), "-ERR [AUTH] Authentication failed.\r\n");
	fake_login_free(&login);
}

static void apop_is_refused_without_a_timestamp(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	/* Allowed later, behind TLS for example: there is no second greeting. */
	login->own = "APOP";
	EXPECT(login, "APOP tim 00112233445566778899aabbccddeeff\r\n", "-ERR APOP is not available here.\r\n");
	assert_int_equal(login->auth_begun, 0);
	fake_login_free(&login);
}

/* RFC 2449 section 3: gchar, what a greeting consists of, excludes "<". */
static void a_greeting_has_no_timestamp_by_accident(void **state)
{
	struct cv_login *login = fake_login_new(fake_login_protocol(&pop3_login_LTX_cv_module));
	struct cv_login_settings set = { .login_greeting = "<a@b> ready", .disable_plaintext_auth = true };

	(void)state;
	fake_login_set_conf(login, &cv_login_settings_table, &set);
	fake_login_start(login);
	assert_str(fake_login_output(login), "+OK (a@b> ready\r\n");
	fake_login_free(&login);
}

/* RFC 1939 section 7: PASS "may only be given […] immediately after a successful USER command" */
static void pass_must_follow_user(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "USER tim\r\nLANG en\r\nPASS x\r\n",
		"+OK Send the password.\r\n+OK en The language was changed.\r\n-ERR Send USER before.\r\n");
	EXPECT(login, "USER tim\r\nX\r\nPASS x\r\n", "+OK Send the password.\r\n-ERR Unknown command.\r\n-ERR Send USER before.\r\n");
	assert_int_equal(login->auth_begun, 0);
	fake_login_free(&login);
}

/* RFC 6856 sections 2.1 and 3.2; and RFC 2595: nothing that was said before TLS counts behind it. */
static void language_and_utf8_go_to_the_session(void **state)
{
	struct cv_login *login = connect_();
	struct cv_pop3_resume resume;

	(void)state;
	EXPECT(login, "LANG\r\n", "+OK Language listing follows.\r\nen English\r\nde Deutsch\r\nfr Fran\xc3\xa7" "ais\r\n.\r\n");
	EXPECT(login, "LANG mul\r\n", "-ERR There is no language for mul.\r\n");
	EXPECT(login, "LANG De-at-x-y\r\nUTF8\r\n", "+OK de Die Sprache wurde gewechselt.\r\n+OK UTF-8 ist eingeschaltet.\r\n");
	EXPECT(login, "LANG mul\r\n", "-ERR Es gibt keine Sprache f\xc3\xbcr mul.\r\n");
	EXPECT(login, "LANG \xff\r\n", "-ERR Es gibt keine Sprache f??r ?.\r\n");
	EXPECT(login, "UTF8 x\r\n", "-ERR Dieser Befehl hat kein Argument.\r\n");
	login->tls_available = true;
	EXPECT(login, "STLS\r\n", "+OK TLS kann jetzt ausgehandelt werden.\r\n");
	login->tls_active = true;
	fake_login_secured(login);
	EXPECT(login, "LANG *\r\n", "+OK en The language was changed.\r\n");
	EXPECT(login, "LANG fr\r\nUTF8\r\nUSER tim\r\nPASS x\r\n",
		"+OK fr La langue a \xc3\xa9t\xc3\xa9 chang\xc3\xa9" "e.\r\n+OK Le mode UTF-8 est actif.\r\n+OK Envoyez le mot de passe.\r\n");
	fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "tim");
	assert_true(cv_pop3_resume_take(login->resume, &resume));
	assert_true(resume.utf8);
	assert_int_equal(resume.language, 2);
	assert_int_equal(resume.star, CV_ENGLISH);
	fake_login_free(&login);
}

/* What conversions a format has, in order. */
static void conversions(const char *text, char *out)
{
	for (; *text != '\0'; text++) {
		if (*text != '%')
			continue;
		do {
			*out++ = *++text;
		} while (strchr("sudx%", *text) == NULL);
	}
	*out = '\0';
}

static void translations_fit(void **state)
{
	const char *texts[CV_LANGUAGES], *other[CV_LANGUAGES];

	(void)state;
	for (size_t row = 0; cv_pop3_text_row(row, texts); row++) {
		char want[50], got[50];
		size_t status = strncmp(texts[0], "+OK", 3) == 0 ? 3 : strncmp(texts[0], "-ERR", 4) == 0 ? 4 : 0;
		const char *code_end = strchr(texts[0], ']');
		size_t prefix = status > 0 && texts[0][status + 1] == '[' && code_end != NULL ? (size_t)(code_end - texts[0]) : status;

		assert_true(cv_str_is_ascii(cv_str_c(texts[0])));
		conversions(texts[0], want);
		for (unsigned i = 1; i < CV_LANGUAGES; i++) {
			assert_non_null(texts[i]);
			assert_true(cv_str_is_utf8(cv_str_c(texts[i])));
			assert_true(strncmp(texts[0], texts[i], prefix) == 0);
			conversions(texts[i], got);
			assert_string_equal(got, want);
			assert_ptr_equal(cv_pop3_text(i, texts[0]), texts[i]);
		}
		for (size_t before = 0; before < row; before++) {
			assert_true(cv_pop3_text_row(before, other));
			assert_true(strcmp(other[0], texts[0]) != 0);
		}
	}
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
		cv_test(settings_are_announced),
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
		cv_test(apop_goes_with_the_timestamp),
		cv_test(apop_is_refused_without_a_timestamp),
		cv_test(a_greeting_has_no_timestamp_by_accident),
		cv_test(pass_must_follow_user),
		cv_test(language_and_utf8_go_to_the_session),
		cv_test(translations_fit),
		cv_test(resume_is_checked),
	};

	return cv_test_run(tests);
}
