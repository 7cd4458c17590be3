/* SPDX-License-Identifier: MIT
   IMAP sessions over a real store: any octets give well-formed replies, the same outcomes however they are cut; a second session sees a sound mailbox, and
   after a restart there is as much mail as before. */
#include <config.h>

#include "t/fuzz/imap-user.h"

/* The line "* STATUS INBOX (…)" without what a restart may change. */
static void get_status(struct fake_worker *worker, struct cv_buf *out)
{
	struct cv_session *session = fuzz_imap_log_in(worker);
	struct cv_str got;

	fake_session_push(session, CV_STR("t STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)\r\n"));
	got = fake_session_output(session);
	fuzz_check(cv_str_find_str(got, CV_STR("t OK")) != SIZE_MAX);
	cv_buf_append(out, got);
	fake_session_end(&session);
}

static void check_restart(struct fake_worker *worker)
{
	struct cv_buf before, after;

	cv_buf_init(&before, SIZE_MAX / 2);
	cv_buf_init(&after, SIZE_MAX / 2);
	get_status(worker, &before);
	fake_worker_reopen(worker);
	get_status(worker, &after);
	fuzz_check(cv_str_eq(cv_buf_str(&before), cv_buf_str(&after)));
	cv_buf_deinit(&before);
	cv_buf_deinit(&after);
}

static void run(struct cv_str input, size_t chunk, bool restart, struct cv_buf *outcomes)
{
	struct fake_worker *worker = fuzz_imap_user();
	struct cv_session *client = fuzz_imap_log_in(worker), *other;
	struct cv_buf replies, ignored;

	cv_buf_init(&replies, SIZE_MAX / 2);
	cv_buf_init(&ignored, SIZE_MAX / 2);
	/* One message more, of which nothing is in a snapshot. */
	fake_session_push(client, CV_STR("p APPEND INBOX {88+}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
		"Content-Type: text/html\r\n\r\n--b--\r\n\r\n"));
	(void)fake_session_output(client);
	other = fuzz_imap_log_in(worker);
	fake_session_push(other, CV_STR("o SELECT INBOX\r\n"));
	for (size_t pos = 0; pos < input.len && !client->closed; pos += chunk) {
		fake_session_push(client, cv_str_sub(input, pos, chunk));
		cv_buf_append(&replies, fake_session_output(client));
	}
	fuzz_imap_check(cv_buf_str(&replies), outcomes);
	fake_session_push(other, CV_STR("o NOOP\r\no UID FETCH 1:* (UID FLAGS RFC822.SIZE BODYSTRUCTURE ENVELOPE BODY.PEEK[])\r\no LOGOUT\r\n"));
	fuzz_imap_check(fake_session_output(other), &ignored);
	fake_session_eof(client);
	if (restart)
		check_restart(worker);
	cv_buf_deinit(&replies);
	cv_buf_deinit(&ignored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str input = cv_str_mem(data, size);
	struct cv_buf whole, cut;

	if (size > 4000)
		return 0;
	cv_buf_init(&whole, SIZE_MAX / 2);
	cv_buf_init(&cut, SIZE_MAX / 2);
	run(input, SIZE_MAX / 2, true, &whole);
	run(input, 1 + size / 40, false, &cut);
	fuzz_check(cv_str_eq(cv_buf_str(&whole), cv_buf_str(&cut)));
	cv_buf_deinit(&whole);
	cv_buf_deinit(&cut);
	return 0;
}
