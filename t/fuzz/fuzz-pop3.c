/* SPDX-License-Identifier: MIT
   POP3: any octets before login give well-formed replies, the same ones however they are cut; any octets as a message are sent so that the client gets
   what LIST's size promised. */
#include <config.h>

#include "modules/protocol/pop3-login/pop3-login.h"
#include "modules/protocol/pop3/pop3-session.h"
#include "t/fuzz/fuzz.h"
#include "t/lib/fake-login.h"

#include <culver/message.h>

extern const struct cv_module pop3_login_LTX_cv_module;

static const struct cv_pop3_login_settings settings = { .pop3_implementation = "fuzz", .pop3_language = "de" };

/* Challenge once for LOGIN, refuse or accept by the length of what came. */
static void answer(struct cv_login *login)
{
	unsigned before;

	do {
		before = login->auth_begun + login->auth_continued;
		if (!login->auth_running || login->closed)
			return;
		if (cv_str_caseeq_c(login->auth_mech, "LOGIN") && login->auth_initial.ptr == NULL && login->auth_response.ptr == NULL)
			fake_login_auth_answer(login, CV_LOGIN_CHALLENGE, CV_ERR_NONE, "who");
		else if (login->auth_initial.len % 5 == 4)
			fake_login_auth_answer(login, CV_LOGIN_OK, CV_ERR_NONE, "user");
		else
			fake_login_auth_answer(login, CV_LOGIN_FAIL, CV_ERR_AUTH, NULL);
	} while (before != login->auth_begun + login->auth_continued);
}

static void run_login(struct cv_str input, size_t chunk, struct cv_buf *replies)
{
	struct cv_login *login = fake_login_new(fake_login_protocol(&pop3_login_LTX_cv_module));
	struct cv_pop3_resume resume;
	size_t before;

	login->tls_available = true;
	fake_login_set_conf(login, &cv_pop3_login_settings, &settings);
	fake_login_start(login);
	cv_buf_append(replies, fake_login_output(login));
	for (size_t pos = 0; pos < input.len && !login->closed && !login->finished; pos += chunk) {
		fake_login_push(login, cv_str_sub(input, pos, chunk));
		do {
			before = replies->len;
			answer(login);
			cv_buf_append(replies, fake_login_output(login));
		} while (replies->len != before);
		/* From here on the cuts decide what is thrown away as sent too early. */
		if (login->tls_started)
			break;
	}
	if (login->finished)
		fuzz_check(cv_pop3_resume_take(login->resume, &resume));
	fake_login_free(&login);
}

static void check_replies(struct cv_str replies)
{
	while (replies.len > 0) {
		size_t end = cv_str_find_str(replies, CV_STR("\r\n"));

		fuzz_check(end <= 510); /* SIZE_MAX: there is none */
		fuzz_check(cv_str_is_utf8(cv_str_sub(replies, 0, end)));
		for (size_t i = 0; i < end; i++)
			fuzz_check((uint8_t)replies.ptr[i] >= 0x20 && (uint8_t)replies.ptr[i] != 0x7f);
		replies = cv_str_sub(replies, end + 2, SIZE_MAX);
	}
}

/* Take out the dots of transparency; every line must have its CRLF and none be a dot alone. */
static uint64_t unstuffed_size(struct cv_str sent)
{
	uint64_t size = 0;

	while (sent.len > 0) {
		size_t end = cv_str_find_str(sent, CV_STR("\r\n"));

		fuzz_check(end != SIZE_MAX);
		fuzz_check(end != 1 || sent.ptr[0] != '.');
		size += end + 2 - (sent.ptr[0] == '.');
		sent = cv_str_sub(sent, end + 2, SIZE_MAX);
	}
	return size;
}

/* For clients without UTF8: nothing outside ASCII, whole lines, and the size that is promised. */
static void check_surrogate(struct cv_str stored, const struct cv_message *message, size_t slice)
{
	struct cv_pop3_surrogate surrogate = { .arena = cv_arena_new("fuzz", NULL, 0) };
	struct cv_message_reader *reader = cv_message_reader_new_mem(stored);
	struct cv_pop3_wire wire;
	struct cv_buf sent;
	uint64_t size;

	for (const struct cv_mime_part *part = message->root; part != NULL; part = cv_mime_part_next(part))
		fuzz_check(cv_pop3_surrogate_header(&surrogate, stored, part, NULL) >= 0);
	for (size_t i = 0; i < surrogate.pieces.count; i++) {
		struct cv_str rest = surrogate.pieces.data[i].text, line;

		fuzz_check(cv_str_is_ascii(rest) && (rest.len == 0 || cv_str_ends(rest, CV_STR("\r\n"))));
		while (rest.len > 0) {
			size_t end = cv_str_find_str(rest, CV_STR("\r\n"));

			line = cv_str_sub(rest, 0, end);
			fuzz_check(line.len > 0 && cv_str_find(line, '\n') == SIZE_MAX && cv_str_find(line, '\r') == SIZE_MAX);
			rest = cv_str_sub(rest, end + 2, SIZE_MAX);
		}
	}
	cv_buf_init(&sent, SIZE_MAX);
	cv_pop3_wire_init(&wire, reader, 0);
	cv_pop3_wire_replace(&wire, surrogate.pieces.data, surrogate.pieces.count);
	while (cv_pop3_wire_append(&wire, &sent, slice, NULL) == 0)
		;
	cv_message_reader_free(&reader);
	size = message->wire_size - surrogate.replaced + surrogate.text_size;
	fuzz_check(unstuffed_size(cv_buf_str(&sent)) - size <= 2);
	cv_buf_deinit(&sent);
	cv_pop3_surrogate_free(&surrogate);
}

/* As RETR does it. */
static int append_next(struct cv_pop3_wire *wire, struct cv_buf *out, size_t slice)
{
	struct cv_str run;

	if (cv_pop3_wire_run(wire, 1, slice, &run, NULL) == 0)
		return cv_pop3_wire_append(wire, out, slice, NULL);
	cv_buf_append(out, run);
	return 0;
}

static void check_message(struct cv_str stored, size_t slice)
{
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct cv_message_reader *reader = cv_message_reader_new_mem(stored);
	struct cv_buf whole, sliced;
	struct cv_pop3_wire wire;
	struct cv_message *message;
	uint64_t size;

	cv_buf_init(&whole, SIZE_MAX);
	cv_buf_init(&sliced, SIZE_MAX);
	cv_pop3_wire_init(&wire, reader, 0);
	fuzz_check(cv_pop3_wire_append(&wire, &whole, SIZE_MAX / 2, NULL) > 0);
	cv_pop3_wire_init(&wire, reader, 0);
	while (cv_pop3_wire_append(&wire, &sliced, slice, NULL) == 0)
		;
	fuzz_check(cv_str_eq(cv_buf_str(&whole), cv_buf_str(&sliced)));
	fuzz_check(cv_message_parse(arena, NULL, reader, &message, NULL) >= 0);
	if (message->wire_size == stored.len) {
		cv_buf_clear(&sliced);
		cv_pop3_wire_init(&wire, reader, 0);
		wire.crlf = true;
		while (append_next(&wire, &sliced, slice) == 0)
			;
		fuzz_check(cv_str_eq(cv_buf_str(&whole), cv_buf_str(&sliced)));
	}
	size = unstuffed_size(cv_buf_str(&whole));
	/* The CRLF that ends an unended last line is not the message's. */
	fuzz_check(size == message->wire_size || (size == message->wire_size + 2 && !cv_str_ends(stored, CV_STR("\n"))));
	check_surrogate(stored, message, slice);
	cv_buf_deinit(&whole);
	cv_buf_deinit(&sliced);
	cv_message_reader_free(&reader);
	cv_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cv_log_config quiet = { .target = CV_LOG_FILE, .path = "/dev/null" };
	struct cv_str input = cv_str_mem(data, size);
	struct cv_buf whole, cut;

	if (size == 0 || size > 20000)
		return 0;
	(void)cv_log_open(&quiet, NULL);
	cv_buf_init(&whole, 1 << 24);
	cv_buf_init(&cut, 1 << 24);
	run_login(input, SIZE_MAX / 2, &whole);
	run_login(input, 1, &cut);
	fuzz_check(cv_str_eq(cv_buf_str(&whole), cv_buf_str(&cut)));
	check_replies(cv_buf_str(&whole));
	check_message(input, 1 + data[0] % 50);
	cv_buf_deinit(&whole);
	cv_buf_deinit(&cut);
	return 0;
}
