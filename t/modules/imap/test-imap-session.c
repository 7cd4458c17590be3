/* SPDX-License-Identifier: MIT
   IMAP sessions over streams of memory and a real store in a directory: dialogues of one and of two clients. */
#include <config.h>

#include "modules/protocol/imap/imap-session.h"
#include "t/lib/fake-session.h"
#include "t/lib/test.h"

#include <string.h>

extern const struct cv_module imap_LTX_cv_module, sdbox_LTX_cv_module;

#define CAPABILITIES                                                                                          \
	"IMAP4rev1 SASL-IR ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS UNSELECT LITERAL+ MOVE SPECIAL-USE CONDSTORE"

static struct fake_worker *worker(void **state)
{
	static const struct cv_module *const modules[] = { &imap_LTX_cv_module, &sdbox_LTX_cv_module, NULL };

	return fake_worker_new(modules, cv_arena_printf(*state, "sdbox:%s/mail", cv_test_dir(state)), true);
}

static struct cv_session *log_in(struct fake_worker *w)
{
	struct cv_session *session;
	struct cv_buf resume;

	cv_buf_init(&resume, 100);
	cv_put_u8(&resume, 1);
	cv_put_str(&resume, CV_STR("L"));
	session = fake_session_start(w, cv_buf_str(&resume));
	cv_buf_deinit(&resume);
	assert_non_null(session->state);
	assert_str(fake_session_output(session), "L OK [CAPABILITY " CAPABILITIES "] Logged in\r\n");
	return session;
}

/* ? stands for a run of digits, * for anything up to what follows it. */
static bool matches(const char *got, const char *want)
{
	for (; *want != '\0'; want++) {
		if (*want == '?') {
			if (!cv_is_digit(*got))
				return false;
			while (cv_is_digit(*got))
				got++;
		} else if (*want == '~') {
			size_t len = strcspn(want + 1, "?~");
			const char *at = got;

			while (*at != '\0' && strncmp(at, want + 1, len) != 0)
				at++;
			if (len == 0)
				at += strlen(at);
			got = at;
		} else if (*want == *got) {
			got++;
		} else {
			return false;
		}
	}
	return *got == '\0';
}

static void expect_at(struct cv_session *session, struct cv_str octets, const char *want, const char *file, int line)
{
	struct cv_str got;

	if (octets.len > 0)
		fake_session_push(session, octets);
	got = fake_session_output(session);
	if (matches(got.ptr, want))
		return;
	print_error("--- got:\n%.*s--- want:\n%s---\n", CV_STR_ARG(got), want);
	_fail(file, line);
}
#define EXPECT(session, octets, want) expect_at((session), CV_STR(octets), want, __FILE__, __LINE__)

static void append(struct cv_session *session, const char *mailbox, const char *options, const char *message)
{
	struct cv_buf text;

	cv_buf_init(&text, SIZE_MAX / 2);
	cv_buf_printf(&text, "APP APPEND %s %s{%zu+}\r\n", mailbox, options, strlen(message));
	cv_buf_append_c(&text, message);
	cv_buf_append_c(&text, "\r\n");
	expect_at(session, cv_buf_str(&text), "~APP OK [APPENDUID ? ?] Append completed\r\n", __FILE__, __LINE__);
	cv_buf_deinit(&text);
}

static void selects_and_closes(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	EXPECT(a, "a1 SELECT INBOX\r\n",
		"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
		"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags permitted\r\n"
		"* 0 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY ?] UIDs valid\r\n* OK [UIDNEXT 1] Predicted next UID\r\n"
		"* OK [HIGHESTMODSEQ ?] Highest\r\na1 OK [READ-WRITE] Select completed\r\n");
	EXPECT(a, "a2 FETCH 1 FLAGS\r\n", "a2 BAD There are no messages in the mailbox\r\n");
	EXPECT(a, "a3 CLOSE\r\n", "a3 OK Close completed\r\n");
	EXPECT(a, "a4 UNSELECT\r\n", "a4 BAD No mailbox is selected\r\n");
	EXPECT(a, "a5 SELECT nowhere\r\n", "a5 NO [NONEXISTENT] ~\r\n");
	EXPECT(a, "a6 LOGOUT\r\na7 NOOP\r\n", "* BYE Logging out\r\na6 OK Logout completed\r\n");
	assert_true(a->closed);
	fake_worker_free(&w);
}

static void appends_and_fetches(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	EXPECT(a, "a1 APPEND INBOX (\\Flagged $Kw) \" 1-Nov-2026 10:11:12 +0100\" {19}\r\n", "+ OK\r\n");
	EXPECT(a, "Subject: x\r\n\r\nbody\n\r\n", "a1 OK [APPENDUID ? 1] Append completed\r\n");
	EXPECT(a, "a2 EXAMINE INBOX\r\n", "~a2 OK [READ-ONLY] Examine completed\r\n");
	EXPECT(a, "a3 FETCH 1 (FLAGS UID INTERNALDATE RFC822.SIZE)\r\n",
		"* 1 FETCH (UID 1 FLAGS (\\Flagged \\Recent $Kw) INTERNALDATE \" 1-Nov-2026 10:11:12 +0100\" RFC822.SIZE 20)\r\n"
		"a3 OK Fetch completed\r\n");
	EXPECT(a, "a4 FETCH 1 (BODY.PEEK[] BODY.PEEK[HEADER] BODY[TEXT]<2.3> RFC822.TEXT BODY.PEEK[2] BODY[HEADER.FIELDS (\"X y\" SUBJECT)])\r\n",
		"* 1 FETCH (BODY[] {20}\r\nSubject: x\r\n\r\nbody\r\n BODY[HEADER] {14}\r\nSubject: x\r\n\r\n BODY[TEXT]<2> {3}\r\ndy\r "
		"RFC822.TEXT {6}\r\nbody\r\n BODY[2] NIL BODY[HEADER.FIELDS (\"X y\" SUBJECT)] {14}\r\nSubject: x\r\n\r\n)\r\n"
		"a4 OK Fetch completed\r\n");
	fake_worker_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(selects_and_closes),
		cv_test(appends_and_fetches),
	};

	return cv_test_run(tests);
}
