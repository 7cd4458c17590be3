/* SPDX-License-Identifier: MIT
   IMAP sessions over a real store: any octets give well-formed replies, the same outcomes however they are cut; a second session sees a sound mailbox, and
   after a restart there is as much mail as before. */
#include <config.h>

#include "modules/lib/imap/imap-text.h"
#include "t/fuzz/fuzz.h"
#include "t/lib/fake-session.h"

#include <culver/log.h>
#include <culver/reader.h>

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

extern const struct cv_module imap_LTX_cv_module, sdbox_LTX_cv_module;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static struct cv_session *log_in(struct fake_worker *worker)
{
	struct cv_session *session;
	struct cv_buf resume;

	cv_buf_init(&resume, 100);
	cv_put_u8(&resume, 2);
	cv_put_str(&resume, CV_STR("L"));
	cv_put_u8(&resume, CV_IMAP_I_DEFAULT);
	session = fake_session_start(worker, cv_buf_str(&resume));
	cv_buf_deinit(&resume);
	fuzz_check(session->state != NULL);
	(void)fake_session_output(session);
	return session;
}

/* One line with its literals; the view is of the octets. */
static bool take_response(struct cv_reader *r, struct cv_str *response_r)
{
	size_t start = r->pos;
	struct cv_str line, literal;

	for (;;) {
		size_t open;
		uint64_t size;

		if (!cv_take_until(r, '\n', &line))
			return false;
		fuzz_check(line.len > 0 && line.ptr[line.len - 1] == '\r');
		line.len--;
		for (size_t i = 0; i < line.len; i++)
			fuzz_check(line.ptr[i] != '\0' && line.ptr[i] != '\r');
		open = cv_str_rfind(line, '{');
		if (open == SIZE_MAX || line.ptr[line.len - 1] != '}' || !cv_str_to_u64(cv_str_sub(line, open + 1, line.len - open - 2), SIZE_MAX, &size))
			break;
		fuzz_check(cv_take_len(r, (size_t)size, &literal));
	}
	*response_r = cv_str_sub(r->s, start, r->pos - start - 2);
	return true;
}

/* Well-formed; "tag STATUS" of each tagged reply is appended to outcomes. */
static void check_replies(struct cv_str replies, struct cv_buf *outcomes)
{
	struct cv_reader r = cv_reader_init(replies);
	struct cv_str response, tag, rest, status;

	while (take_response(&r, &response)) {
		fuzz_check(cv_str_split(response, ' ', &tag, &rest) && tag.len > 0);
		if (cv_str_eq_c(tag, "*") || cv_str_eq_c(tag, "+"))
			continue;
		fuzz_check(cv_str_split(rest, ' ', &status, &rest));
		fuzz_check(cv_str_eq_c(status, "OK") || cv_str_eq_c(status, "NO") || cv_str_eq_c(status, "BAD"));
		cv_buf_append(outcomes, tag);
		cv_buf_append_char(outcomes, ' ');
		cv_buf_append(outcomes, status);
		cv_buf_append_char(outcomes, '\n');
	}
	fuzz_check(cv_reader_end(&r));
}

/* The line "* STATUS INBOX (…)" without what a restart may change. */
static struct cv_str status_of(struct fake_worker *worker)
{
	struct cv_session *session = log_in(worker);
	struct cv_str out;

	fake_session_push(session, CV_STR("t STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)\r\n"));
	out = fake_session_output(session);
	fuzz_check(cv_str_find_str(out, CV_STR("t OK")) != SIZE_MAX);
	out = cv_arena_str(worker->arena, out);
	fake_session_end(&session);
	return out;
}

static void run(struct cv_str input, size_t chunk, struct cv_buf *outcomes)
{
	static const struct cv_module *const modules[] = { &imap_LTX_cv_module, &sdbox_LTX_cv_module, NULL };
	char dir[] = "/dev/shm/culver-fuzz-XXXXXX", tmp[] = "/tmp/culver-fuzz-XXXXXX", location[100], *at = mkdtemp(dir);
	struct cv_session *client, *other;
	struct fake_worker *worker;
	struct cv_buf replies, ignored;
	struct cv_str before;

	if (at == NULL)
		at = mkdtemp(tmp);
	fuzz_check(at != NULL && snprintf(location, sizeof(location), "sdbox:%s/mail", at) < (int)sizeof(location));
	cv_buf_init(&replies, SIZE_MAX / 2);
	cv_buf_init(&ignored, SIZE_MAX / 2);
	worker = fake_worker_new(modules, location, true);
	client = log_in(worker);
	fake_session_push(client, CV_STR("p APPEND INBOX (\\Seen kw) {29+}\r\nSubject: one\r\n\r\nbody one \xe4\r\n\r\n"
		"p APPEND INBOX {88+}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
		"Content-Type: text/html\r\n\r\n--b--\r\n\r\n"));
	(void)fake_session_output(client);
	other = log_in(worker);
	fake_session_push(other, CV_STR("o SELECT INBOX\r\n"));
	for (size_t pos = 0; pos < input.len && !client->closed; pos += chunk) {
		fake_session_push(client, cv_str_sub(input, pos, chunk));
		cv_buf_append(&replies, fake_session_output(client));
	}
	check_replies(cv_buf_str(&replies), outcomes);
	fake_session_push(other, CV_STR("o NOOP\r\no UID FETCH 1:* (UID FLAGS RFC822.SIZE BODYSTRUCTURE ENVELOPE BODY.PEEK[])\r\no LOGOUT\r\n"));
	check_replies(fake_session_output(other), &ignored);
	fake_session_eof(client);
	before = status_of(worker);
	fake_worker_reopen(worker);
	fuzz_check(cv_str_eq(status_of(worker), before));
	fake_worker_free(&worker);
	cv_buf_deinit(&replies);
	cv_buf_deinit(&ignored);
	(void)nftw(at, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cv_log_config quiet = { .target = CV_LOG_FILE, .path = "/dev/null" };
	struct cv_str input = cv_str_mem(data, size);
	struct cv_buf whole, cut;

	if (size > 4000)
		return 0;
	(void)cv_log_open(&quiet, NULL);
	cv_buf_init(&whole, SIZE_MAX / 2);
	cv_buf_init(&cut, SIZE_MAX / 2);
	run(input, SIZE_MAX / 2, &whole);
	run(input, 1 + size / 40, &cut);
	fuzz_check(cv_str_eq(cv_buf_str(&whole), cv_buf_str(&cut)));
	cv_buf_deinit(&whole);
	cv_buf_deinit(&cut);
	return 0;
}
