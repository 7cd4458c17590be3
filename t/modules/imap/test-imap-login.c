/* SPDX-License-Identifier: MIT
   IMAP before login: dialogues over a stream of memory, each also cut at every octet. */
#include <config.h>

#include "modules/protocol/imap-login/imap-login.h"
#include "t/lib/fake-login.h"
#include "t/lib/test.h"

#include <culver/reader.h>

#include <string.h>

extern const struct cv_module imap_login_LTX_cv_module;

#define CAPABILITIES "IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE IDLE LANGUAGE LOGIN-REFERRALS"

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
	struct cv_login *login = fake_login_new(fake_login_protocol(&imap_login_LTX_cv_module));

	fake_login_start(login);
	assert_str(fake_login_output(login), "* OK [CAPABILITY " CAPABILITIES " AUTH=PLAIN] Culver ready.\r\n");
	return login;
}

/* RFC 3501 section 6.1.3: "The server MUST send a BYE untagged response before the (tagged) OK response". */
static void greets_and_logs_out(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "a NOOP\r\nb LOGOUT\r\nc NOOP\r\n", "a OK NOOP completed\r\n* BYE Logging out\r\nb OK Logout completed\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

static void capabilities_follow_the_connection(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	login->plaintext_allowed = false;
	login->tls_available = true;
	login->mechs[0] = NULL;
	EXPECT(login, "a CAPABILITY\r\n", "* CAPABILITY " CAPABILITIES " STARTTLS LOGINDISABLED\r\na OK Capability completed\r\n");
	login->plaintext_allowed = true;
	login->mechs[0] = "SCRAM-SHA-256";
	EXPECT(login, "a capability\r\n",
		"* CAPABILITY " CAPABILITIES " STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256\r\na OK Capability completed\r\n");
	fake_login_free(&login);
}

static void login_command(bool split)
{
	struct cv_login *login = connect_();
	struct cv_reader resume;
	struct cv_str tag = { 0 };
	uint8_t version = 0, language = 99;

	expect(login, CV_STR("a1 LOGIN tim {6+}\r\nse cre\r\nb SELECT INBOX\r\n"), CV_STR(""), split);
	assert_str(login->auth_mech, "PLAIN");
	assert_str_eq(login->auth_initial, CV_STR("\0tim\0se cre"));
	fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "tim");
	assert_true(login->finished);
	resume = cv_reader_init(login->resume);
	assert_true(cv_take_u8(&resume, &version) && cv_take_str(&resume, 100, &tag) && cv_take_u8(&resume, &language) && cv_reader_end(&resume));
	assert_int_equal(version, 2);
	assert_int_equal(language, CV_IMAP_I_DEFAULT);
	assert_str(tag, "a1");
	assert_str(login->unread, "b SELECT INBOX\r\n");
	assert_str(fake_login_output(login), "");
	fake_login_free(&login);
}

static void login_goes_to_the_worker_with_its_tag_and_what_is_unread(void **state)
{
	(void)state;
	login_command(false);
	login_command(true);
}

static void literals_are_asked_for(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "a LOGIN {3}\r\n", "+ OK\r\n");
	EXPECT(login, "tim {2}\r\n", "+ OK\r\n");
	EXPECT(login, "pw\r\n", "");
	assert_str_eq(login->auth_initial, CV_STR("\0tim\0pw"));
	fake_login_free(&login);
}

static void large_literals_are_refused_before_they_come(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "a LOGIN {4097}\r\n", "a BAD Literal is too long\r\n");
	EXPECT(login, "a SELECT {10}\r\n", "a BAD Unknown command, or not allowed before login\r\n");
	EXPECT(login, "a NOOP\r\n", "a OK NOOP completed\r\n");
	fake_login_free(&login);
}

static void endless_literals_end_the_connection(void **state)
{
	struct cv_login *login = connect_();
	char octets[1000];

	(void)state;
	memset(octets, 'x', sizeof(octets));
	EXPECT(login, "a LOGIN {4294967296+}\r\n", "a BAD Literal is too long\r\n");
	for (int i = 0; i < 100 && !login->closed; i++)
		fake_login_push(login, cv_str_mem(octets, sizeof(octets)));
	assert_str(fake_login_output(login), "* BYE [TOOBIG] Command is too long\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

/* RFC 3501 section 6.2.2, RFC 4959 section 3. */
static void authenticate(bool split)
{
	struct cv_login *login = connect_();

	expect(login, CV_STR("a AUTHENTICATE PLAIN AHRpbQBwdw==\r\n"), CV_STR(""), split);
	assert_str_eq(login->auth_initial, CV_STR("\0tim\0pw"));
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_AUTH, NULL);
	assert_str(fake_login_output(login), "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n");
	expect(login, CV_STR("b AUTHENTICATE PLAIN\r\n"), CV_STR(""), split);
	assert_null(login->auth_initial.ptr);
	fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "");
	assert_str(fake_login_output(login), "+ \r\n");
	expect(login, CV_STR("AHRpbQBwdw==\r\nc NOOP\r\n"), CV_STR(""), split);
	assert_str_eq(login->auth_response, CV_STR("\0tim\0pw"));
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_UNAVAILABLE, NULL);
	assert_str(fake_login_output(login),
		"b NO [UNAVAILABLE] Authentication is not possible now, try again later\r\nc OK NOOP completed\r\n");
	expect(login, CV_STR("d AUTHENTICATE EXTERNAL =\r\n"), CV_STR(""), split);
	assert_non_null(login->auth_initial.ptr);
	assert_int_equal(login->auth_initial.len, 0);
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_PERM, "Password expired, see https://example.org/");
	assert_str(fake_login_output(login), "d NO [CONTACTADMIN] Password expired, see https://example.org/\r\n");
	fake_login_free(&login);
}

static void authenticate_runs_the_exchange(void **state)
{
	(void)state;
	authenticate(false);
	authenticate(true);
}

static void authenticate_can_be_cancelled_and_broken(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "a AUTHENTICATE PLAIN\r\n", "");
	fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "");
	fake_login_output(login);
	EXPECT(login, "*\r\n", "a BAD Authentication was cancelled\r\n");
	assert_int_equal(login->auth_aborted, 1);
	EXPECT(login, "x NOOP\r\n", "x OK NOOP completed\r\n");
	EXPECT(login, "b AUTHENTICATE PLAIN\r\n", "");
	fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "what?");
	assert_str(fake_login_output(login), "+ d2hhdD8=\r\n");
	EXPECT(login, "!!!!\r\n", "b BAD Invalid base64 in the response\r\n");
	assert_int_equal(login->auth_aborted, 2);
	EXPECT(login, "c AUTHENTICATE PLAIN =x\r\n", "c BAD Invalid base64 in the initial response\r\n");
	EXPECT(login, "d NOOP\r\n", "d OK NOOP completed\r\n");
	fake_login_free(&login);
}

/* RFC 3501 section 11.2: LOGIN "returns an error even if the password is correct". */
static void passwords_are_refused_in_plain_text(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	login->plaintext_allowed = false;
	EXPECT(login, "a LOGIN tim pw\r\n", "a NO [PRIVACYREQUIRED] LOGIN is not allowed without TLS\r\n");
	assert_int_equal(login->auth_begun, 0);
	fake_login_free(&login);
}

static void starttls_begins_with_a_new_parser(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "a STARTTLS\r\n", "a BAD TLS is not available\r\n");
	login->tls_available = true;
	EXPECT(login, "a STARTTLS\r\n", "a OK Begin TLS negotiation now\r\n");
	assert_true(login->tls_started);
	fake_login_secured(login);
	EXPECT(login, "b NOOP\r\n", "b OK NOOP completed\r\n");
	EXPECT(login, "c STARTTLS\r\n", "c BAD TLS is active already\r\n");
	fake_login_free(&login);
}

static void three_invalid_commands_in_a_row_end_it(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "a FOO\r\nb BAR\r\nc NOOP\r\n",
		"a BAD Unknown command, or not allowed before login\r\nb BAD Unknown command, or not allowed before login\r\n"
		"c OK NOOP completed\r\n");
	EXPECT(login, "\r\nb NOOP x\r\nc LOGIN x\r\nd NOOP\r\n",
		"* BAD Empty command line\r\nb BAD Unexpected arguments\r\nc BAD LOGIN needs a user and a password\r\n"
		"* BYE [CLIENTBUG] Too many invalid commands\r\n");
	assert_true(login->closed);
	fake_login_free(&login);
}

static void id_is_answered_in_any_state(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "a ID (\"name\" \"x\" \"version\" NIL)\r\n", "* ID (\"name\" \"Culver\")\r\na OK ID completed\r\n");
	EXPECT(login, "b ID NIL\r\n", "* ID (\"name\" \"Culver\")\r\nb OK ID completed\r\n");
	EXPECT(login, "c ID (\"name\")\r\n", "c BAD ID needs pairs of strings\r\n");
	fake_login_free(&login);
}

static void a_worker_that_is_not_there_leaves_the_connection(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "a LOGIN tim pw\r\n", "");
	fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "tim");
	fake_login_finish_failed(login, CV_ERR_LIMIT, "Too many processes");
	assert_str(fake_login_output(login), "a NO [LIMIT] Too many processes\r\n");
	EXPECT(login, "b NOOP\r\n", "b OK NOOP completed\r\n");
	fake_login_free(&login);
}

static void a_vanishing_client_aborts_the_exchange(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	EXPECT(login, "a AUTHENTICATE PLAIN\r\n", "");
	fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "");
	fake_login_push(login, CV_STR("AHRp"));
	fake_login_eof(login);
	assert_int_equal(login->auth_aborted, 1);
	assert_true(login->closed);
	fake_login_free(&login);
}

/* RFC 5255 section 3.1: "Clients SHOULD issue LANGUAGE before authentication". */
static void a_language_goes_along_to_the_worker(void **state)
{
	struct cv_login *login = connect_();
	struct cv_reader resume;
	struct cv_str tag = { 0 };
	uint8_t version = 0, language = 99;

	(void)state;
	expect(login, CV_STR("a LANGUAGE\r\nb LANGUAGE tlh\r\nc LANGUAGE d_e\r\n"),
		CV_STR("* LANGUAGE (en de fr i-default)\r\na OK Languages are listed\r\nb NO No language matches\r\nc BAD LANGUAGE takes language ranges\r\n"), true);
	expect(login, CV_STR("d LANGUAGE {4}\r\n"), CV_STR("+ OK\r\n"), true);
	expect(login, CV_STR("tlh? fr\r\n"), CV_STR("d BAD LANGUAGE takes language ranges\r\n"), true);
	expect(login, CV_STR("d LANGUAGE tlh fr-CA\r\n"), CV_STR("* LANGUAGE (fr)\r\nd OK La langue a \xc3\xa9t\xc3\xa9 chang\xc3\xa9" "e\r\n"), true);
	EXPECT(login, "e LOGIN tim secret\r\n", "");
	/* What auth says is translated where there is a translation. */
	fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_EXPIRED, "Your password has expired.");
	assert_str(fake_login_output(login), "e NO [EXPIRED] Votre mot de passe a expir\xc3\xa9.\r\n");
	EXPECT(login, "f LOGIN tim secret\r\n", "");
	fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "tim");
	resume = cv_reader_init(login->resume);
	assert_true(cv_take_u8(&resume, &version) && cv_take_str(&resume, 100, &tag) && cv_take_u8(&resume, &language) && cv_reader_end(&resume));
	assert_int_equal(language, 1 + CV_FRENCH);
	fake_login_free(&login);
}

/* RFC 5255 section 7: "A LANGUAGE command issued prior to activation of a security layer is subject to an active attack". */
static void starttls_forgets_the_language(void **state)
{
	struct cv_login *login = connect_();

	(void)state;
	login->tls_available = true;
	EXPECT(login, "a LANGUAGE de\r\nb STARTTLS\r\n", "* LANGUAGE (de)\r\na OK Die Sprache ist gewechselt\r\nb OK TLS kann jetzt ausgehandelt werden\r\n");
	fake_login_secured(login);
	EXPECT(login, "c NOOP\r\n", "c OK NOOP completed\r\n");
	fake_login_free(&login);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(greets_and_logs_out),
		cv_test(capabilities_follow_the_connection),
		cv_test(login_goes_to_the_worker_with_its_tag_and_what_is_unread),
		cv_test(literals_are_asked_for),
		cv_test(large_literals_are_refused_before_they_come),
		cv_test(endless_literals_end_the_connection),
		cv_test(authenticate_runs_the_exchange),
		cv_test(authenticate_can_be_cancelled_and_broken),
		cv_test(passwords_are_refused_in_plain_text),
		cv_test(starttls_begins_with_a_new_parser),
		cv_test(starttls_forgets_the_language),
		cv_test(a_language_goes_along_to_the_worker),
		cv_test(three_invalid_commands_in_a_row_end_it),
		cv_test(id_is_answered_in_any_state),
		cv_test(a_worker_that_is_not_there_leaves_the_connection),
		cv_test(a_vanishing_client_aborts_the_exchange),
	};

	return cv_test_run(tests);
}
