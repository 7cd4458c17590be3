/* SPDX-License-Identifier: MIT
   IMAP before login: any octets give well-formed replies, the same ones however they are cut, and each login goes to the worker with its tag. */
#include <config.h>

#include "modules/lib/imap/imap-text.h"
#include "t/fuzz/fuzz.h"
#include "t/lib/fake-login.h"

#include <culver/reader.h>

extern const struct cv_module imap_login_LTX_cv_module;

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
			fake_login_auth_answer(login, CV_LOGIN_FAIL, login->auth_initial.len % 2 == 0 ? CV_ERR_AUTH : CV_ERR_TEMP, NULL);
	} while (before != login->auth_begun + login->auth_continued);
}

static void check_resume(struct cv_str resume)
{
	struct cv_reader r = cv_reader_init(resume);
	struct cv_str tag;
	uint8_t version, language;

	fuzz_check(cv_take_u8(&r, &version) && version == 2 && cv_take_str(&r, 4096, &tag) && cv_take_u8(&r, &language) &&
		language < CV_IMAP_LANGUAGES && cv_reader_end(&r));
	fuzz_check(tag.len > 0);
	for (size_t i = 0; i < tag.len; i++)
		fuzz_check((unsigned char)tag.ptr[i] > ' ' && tag.ptr[i] != 0x7f && tag.ptr[i] != '+' && tag.ptr[i] != '"' && tag.ptr[i] != '{');
}

static void run(struct cv_str input, size_t chunk, struct cv_buf *replies)
{
	struct cv_login *login = fake_login_new(fake_login_protocol(&imap_login_LTX_cv_module));
	size_t before;

	login->tls_available = true;
	login->mechs[1] = "LOGIN";
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
		check_resume(login->resume);
	fake_login_free(&login);
}

/* Lines without control characters, each a continuation, untagged, or with a tag and a status. */
static void check_replies(struct cv_str replies)
{
	while (replies.len > 0) {
		size_t end = cv_str_find_str(replies, CV_STR("\r\n"));
		struct cv_str line, tag, rest;

		fuzz_check(end != SIZE_MAX);
		line = cv_str_sub(replies, 0, end);
		for (size_t i = 0; i < end; i++)
			fuzz_check((unsigned char)line.ptr[i] >= ' ' && line.ptr[i] != 0x7f);
		fuzz_check(cv_str_split(line, ' ', &tag, &rest) && tag.len > 0 && rest.ptr != NULL);
		if (!cv_str_eq_c(tag, "+") && !cv_str_eq_c(tag, "*"))
			fuzz_check(cv_str_starts(rest, CV_STR("OK ")) || cv_str_starts(rest, CV_STR("NO ")) || cv_str_starts(rest, CV_STR("BAD ")));
		replies = cv_str_sub(replies, end + 2, SIZE_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cv_log_config quiet = { .target = CV_LOG_FILE, .path = "/dev/null" };
	struct cv_str input = cv_str_mem(data, size);
	struct cv_buf whole, cut;

	if (size > 20000)
		return 0;
	(void)cv_log_open(&quiet, NULL);
	cv_buf_init(&whole, 1 << 24);
	cv_buf_init(&cut, 1 << 24);
	run(input, SIZE_MAX / 2, &whole);
	run(input, 1, &cut);
	fuzz_check(cv_str_eq(cv_buf_str(&whole), cv_buf_str(&cut)));
	check_replies(cv_buf_str(&whole));
	cv_buf_deinit(&whole);
	cv_buf_deinit(&cut);
	return 0;
}
