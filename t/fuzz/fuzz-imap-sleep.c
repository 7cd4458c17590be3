/* SPDX-License-Identifier: MIT
   What an IMAP session leaves behind to sleep. Input: commands of a session, NUL, those of another one while it sleeps, NUL, edits of what was kept (four octets
   each: how, where, where, what). Unedited, the session goes on as if nothing had been, and would leave the same again; edited, it goes on or says goodbye. */
#include <config.h>

#include "t/fuzz/imap-user.h"

#include <culver/reader.h>

static struct cv_str next_part(struct cv_str *input)
{
	struct cv_str part;

	if (!cv_str_split(*input, '\0', &part, input)) {
		part = *input;
		*input = CV_STR("");
	}
	return part;
}

static void insert(struct cv_buf *blob, size_t at, char octet)
{
	cv_buf_append_char(blob, '\0');
	for (size_t i = blob->len - 1; i > at; i--)
		blob->data[i] = blob->data[i - 1];
	blob->data[at] = octet;
}

static void edit(struct cv_buf *blob, struct cv_str edits)
{
	for (; edits.len >= 4; edits = cv_str_sub(edits, 4, SIZE_MAX)) {
		size_t at = ((size_t)(uint8_t)edits.ptr[1] << 8 | (uint8_t)edits.ptr[2]) % (blob->len + 1);

		switch ((uint8_t)edits.ptr[0] % 5) {
		case 0:
			if (at < blob->len)
				blob->data[at] = edits.ptr[3];
			break;
		case 1:
			if (at < blob->len)
				blob->data[at] ^= edits.ptr[3];
			break;
		case 2:
			insert(blob, at, edits.ptr[3]);
			break;
		case 3:
			if (at < blob->len) {
				for (size_t i = at; i + 1 < blob->len; i++)
					blob->data[i] = blob->data[i + 1];
				cv_buf_truncate(blob, blob->len - 1);
			}
			break;
		default:
			cv_buf_truncate(blob, at);
			break;
		}
	}
}

/* False: it has something to do, or cannot be written. */
static bool fall_asleep(struct cv_session *session, struct cv_buf *blob, bool *deflated_r)
{
	struct cv_session_sleep sleep = { .blob = blob };

	if (session->closed || cv_stream_input(session->stream).len > 0 || !session->worker->protocol->sleep(session->state, &sleep))
		return false;
	fuzz_check(cv_buf_ok(blob) && sleep.keepalive.len <= CV_SLEEP_TEXT_MAX && sleep.goodbye.len <= CV_SLEEP_TEXT_MAX && sleep.goodbye.len > 0);
	*deflated_r = sleep.deflated;
	return true;
}

/* What a session that woke up says from now on. */
static void talk(struct cv_session *session, bool deflated, bool same)
{
	struct cv_buf outcomes;

	cv_buf_init(&outcomes, SIZE_MAX / 2);
	fake_session_push(session, CV_STR("DONE\r\nw NOOP\r\nw UID FETCH 1:* (UID FLAGS)\r\nw SEARCH $\r\nw STATUS INBOX (MESSAGES)\r\nw LOGOUT\r\n"));
	if (!deflated) {
		fuzz_imap_check(fake_session_output(session), &outcomes);
		fuzz_check(!same || cv_str_find_str(cv_buf_str(&outcomes), CV_STR("w OK")) != SIZE_MAX);
	} else {
		(void)fake_session_output(session);
	}
	cv_buf_deinit(&outcomes);
}

static void wake(struct fake_worker *worker, const struct cv_buf *blob, bool deflated, bool edited, bool changed)
{
	struct cv_session_wake wake = { .blob = cv_buf_str(blob), .keepalive_in_ms = 1000 };
	struct cv_session *session = fake_session_wake(worker, &wake);
	struct cv_buf again;
	bool ignored;

	fuzz_check(session->state != NULL || edited);
	if (session->state == NULL) {
		fuzz_check(deflated || cv_str_find_str(fake_session_output(session), CV_STR("* BYE ")) == 0);
		return;
	}
	if (!edited && !changed) {
		cv_buf_init(&again, CV_SLEEP_BLOB_MAX);
		fake_worker_run(worker);
		fuzz_check(fall_asleep(session, &again, &ignored));
		fuzz_check(cv_str_eq(cv_buf_str(&again), cv_buf_str(blob)));
		cv_buf_deinit(&again);
	}
	talk(session, deflated, !edited && !changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str input = cv_str_mem(data, size), commands, others;
	struct fake_worker *worker;
	struct cv_session *session, *other;
	struct cv_buf blob;
	bool deflated;

	if (size > 4000)
		return 0;
	commands = next_part(&input);
	others = next_part(&input);
	worker = fuzz_imap_user();
	cv_buf_init(&blob, CV_SLEEP_BLOB_MAX);
	session = fuzz_imap_log_in(worker);
	fake_session_push(session, commands);
	(void)fake_session_output(session);
	if (fall_asleep(session, &blob, &deflated)) {
		fake_session_end(&session);
		if (others.len > 0) {
			other = fuzz_imap_log_in(worker);
			fake_session_push(other, others);
			(void)fake_session_output(other);
		}
		edit(&blob, input);
		wake(worker, &blob, deflated, input.len >= 4, others.len > 0);
	}
	cv_buf_deinit(&blob);
	return 0;
}
