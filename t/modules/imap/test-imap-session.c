/* SPDX-License-Identifier: MIT
   IMAP sessions over streams of memory and a real store in a directory: dialogues of one and of two clients. */
#include <config.h>

#include "modules/protocol/imap/imap-session.h"
#include "t/lib/fake-session.h"
#include "t/lib/test.h"

#include <glob.h>
#include <string.h>
#include <unistd.h>

extern const struct cv_module imap_LTX_cv_module, sdbox_LTX_cv_module;

/* All of them are told, in this order. */
#define CAPABILITIES                                                                                          \
	"IMAP4rev1 IMAP4rev2 SASL-IR ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS UNSELECT LITERAL+ COMPRESS=DEFLATE UNAUTHENTICATE UTF8=ACCEPT MOVE SPECIAL-USE" CAPABILITIES_MORE
/* clang-format off */
#define CAPABILITIES_MORE \
	" CREATE-SPECIAL-USE" \
	" LIST-EXTENDED" \
	" LIST-STATUS" \
	" STATUS=SIZE" \
	" CONDSTORE" \
	" QRESYNC" \
	" PREVIEW" \
	" OBJECTID" \
	" BINARY" \
	" MULTIAPPEND" \
	" CATENATE" \
	" URLAUTH" \
	" URLAUTH=BINARY" \
	" URL-PARTIAL" \
	" REPLACE" \
	" APPENDLIMIT=4294967295" \
	" ESEARCH" \
	" SEARCHRES" \
	" WITHIN" \
	" PARTIAL" \
	" UIDBATCHES" \
	" SAVEDATE" \
	" INPROGRESS" \
	" SORT" \
	" SORT=DISPLAY" \
	" ESORT" \
	" THREAD=ORDEREDSUBJECT" \
	" THREAD=REFERENCES" \
	" THREAD=REFS" \
	" CONTEXT=SEARCH" \
	" CONTEXT=SORT" \
	" MULTISEARCH" \
	" SEARCH=FUZZY" \
	" I18NLEVEL=2" \
	" LANGUAGE" \
	" NOTIFY ANNOTATE-EXPERIMENT-1 METADATA LIST-METADATA FILTERS"
/* clang-format on */

static struct fake_worker *worker(void **state)
{
	static const struct cv_module *const modules[] = { &imap_LTX_cv_module, &sdbox_LTX_cv_module, NULL };

	return fake_worker_new(modules, cv_arena_printf(*state, "sdbox:%s/mail", cv_test_dir(state)), true);
}

static struct cv_session *log_in(struct fake_worker *w)
{
	struct cv_session *session = fake_session_start_imap(w);

	assert_non_null(session->state);
	assert_str(fake_session_output(session), "L OK [CAPABILITY " CAPABILITIES "] Logged in\r\n");
	return session;
}

/* ? stands for a run of digits, ~ for anything up to what follows it. */
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

#define MESSAGE(n) "Subject: " n "\r\n\r\nbody " n "\r\n"

/* A session with INBOX selected and count messages in it. */
static struct cv_session *with_messages(struct fake_worker *w, int count)
{
	static const char *const messages[] = { MESSAGE("1"), MESSAGE("2"), MESSAGE("3"), MESSAGE("4"), MESSAGE("5") };
	struct cv_session *session = log_in(w);

	for (int i = 0; i < count; i++)
		append(session, "INBOX", "", messages[i]);
	EXPECT(session, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	return session;
}

/* ---- States and errors ------------------------------------------------------------------------------- */

static void selects_and_closes(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	EXPECT(a, "a1 SELECT INBOX\r\n",
		"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
		"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags permitted\r\n"
		"* 0 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY ?] UIDs valid\r\n* OK [UIDNEXT 1] Predicted next UID\r\n"
		"* OK [HIGHESTMODSEQ ?] Highest\r\n* OK [URLMECH INTERNAL] Mechanisms\r\n* OK [ANNOTATIONS 65536] Annotations of messages\r\n* OK [MAILBOXID (~)] Mailbox id\r\na1 OK [READ-WRITE] Select completed\r\n");
	EXPECT(a, "a2 FETCH 1 FLAGS\r\n", "a2 BAD There are no messages in the mailbox\r\n");
	EXPECT(a, "a2 FETCH * FLAGS\r\n", "a2 BAD There are no messages in the mailbox\r\n");
	EXPECT(a, "a2 UID FETCH 1:* FLAGS\r\n", "a2 OK Fetch completed\r\n");
	EXPECT(a, "a2 SEARCH 1:*\r\n", "* SEARCH\r\na2 OK Search completed\r\n");
	EXPECT(a, "a3 CLOSE\r\n", "a3 OK Close completed\r\n");
	EXPECT(a, "a4 UNSELECT\r\n", "a4 BAD No mailbox is selected\r\n");
	EXPECT(a, "a5 SELECT INBOX\r\n", "~a5 OK [READ-WRITE] Select completed\r\n");
	/* RFC 3501 section 6.3.1: "if the SELECT command fails … no mailbox is selected". */
	EXPECT(a, "a6 SELECT nowhere\r\n", "* OK [CLOSED] Previous mailbox closed\r\na6 NO [NONEXISTENT] ~\r\n");
	EXPECT(a, "a7 CHECK\r\n", "a7 BAD No mailbox is selected\r\n");
	EXPECT(a, "a8 LOGOUT\r\na9 NOOP\r\n", "* BYE Logging out\r\na8 OK Logout completed\r\n");
	assert_true(a->closed);
	assert_str(a->close_reason,
		"Logged out deleted=0 expunged=0 appended=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0");
	fake_worker_free(&w);
}

static void invalid_commands_are_bad_and_many_end_the_session(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	EXPECT(a, "a1 NOSUCH\r\n", "a1 BAD Unknown command\r\n");
	EXPECT(a, "a2 UID\r\n", "a2 BAD UID needs a command\r\n");
	EXPECT(a, "a3 UID NOOP\r\n", "a3 BAD Unknown command\r\n");
	EXPECT(a, "a4 NOOP x\r\n", "a4 BAD Unexpected arguments\r\n");
	EXPECT(a, "\r\n", "* BAD Empty command line\r\n");
	EXPECT(a, "a5 LOGIN x y\r\n", "a5 BAD Unknown command\r\n");
	EXPECT(a, "a6 SELECT (INBOX)\r\n", "a6 BAD Missing or invalid mailbox name\r\n");
	EXPECT(a, "a7 NOSUCH {100}\r\n", "a7 BAD Unknown command\r\n");
	EXPECT(a, "a8 NOSUCH {3+}\r\nabc\r\na9 NOOP\r\n", "a8 BAD Unknown command\r\na9 OK NOOP completed\r\n");
	EXPECT(a, "b1 SELECT {5}\r\n", "+ OK\r\n");
	EXPECT(a, "inbox\r\n", "~b1 OK [READ-WRITE] Select completed\r\n");
	for (int i = 0; i < 19; i++)
		EXPECT(a, "x X\r\n", "x BAD Unknown command\r\n");
	EXPECT(a, "x X\r\n", "x BAD Unknown command\r\n* BYE [CLIENTBUG] Too many invalid commands\r\n");
	assert_true(a->closed);
	fake_worker_free(&w);
}

static void commands_may_be_pipelined_and_cut_anywhere(void **state)
{
	static const char *const want =
		"~p1 OK [READ-WRITE] Select completed\r\np2 OK NOOP completed\r\n* SEARCH 1\r\np3 OK Search completed\r\n"
		"* 1 FETCH (FLAGS (\\Seen~))\r\np4 OK Store completed\r\np5 OK [COPYUID ? 1 ?] Copy completed\r\n"
		"* STATUS Sent (MESSAGES ?)\r\np6 OK Status completed\r\n";
	struct cv_str commands = CV_STR("p1 SELECT INBOX\r\np2 NOOP\r\np3 SEARCH ALL\r\np4 STORE 1 +FLAGS (\\Seen)\r\np5 COPY 1 Sent\r\n"
					"p6 STATUS Sent (MESSAGES)\r\n");
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 1);

	expect_at(a, commands, want, __FILE__, __LINE__);
	fake_session_push_split(a, commands);
	expect_at(a, CV_STR(""), want, __FILE__, __LINE__);
	fake_worker_free(&w);
}

static void a_client_may_vanish_at_any_octet(void **state)
{
	struct cv_str text = CV_STR("v1 APPEND INBOX (\\Seen) {10+}\r\nA: b\r\n\r\nxy\r\nv2 FETCH 1 BODY[]\r\nv3 SEARCH TEXT body\r\nv4 IDLE\r\nDO");
	struct fake_worker *w = worker(state);

	for (size_t i = 0; i < text.len; i++) {
		struct cv_session *a = with_messages(w, i == 0 ? 1 : 0);

		fake_session_push(a, cv_str_sub(text, 0, i));
		fake_session_eof(a);
		(void)fake_session_output(a);
		assert_true(a->closed);
		fake_session_end(&a);
	}
	fake_worker_free(&w);
}

static void eof_still_lets_commands_finish(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 1);

	cv_stream_mem_push(a->stream, CV_STR("a1 STORE 1 +FLAGS.SILENT \\Seen\r\na2 FETCH 1 FLAGS\r\n"), true);
	fake_worker_run(w);
	EXPECT(a, "", "a1 OK Store completed\r\n* 1 FETCH (FLAGS (\\Seen~))\r\na2 OK Fetch completed\r\n");
	assert_true(a->closed);
	fake_worker_free(&w);
}

static void goodbye_and_timeout_say_bye(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w), *b = log_in(w);

	assert_int_equal(a->timeout_ms, 30 * 60 * 1000);
	w->protocol->timeout(a->state);
	EXPECT(a, "", "* BYE Disconnected for inactivity\r\n");
	assert_true(a->closed);
	w->protocol->goodbye(b->state, "shutdown");
	EXPECT(b, "", "* BYE [UNAVAILABLE] Server is shutting down\r\n");
	fake_worker_free(&w);
}

/* ---- Messages ----------------------------------------------------------------------------------------- */

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
	EXPECT(a,
		"a4 FETCH 1 (BODY.PEEK[] BODY.PEEK[HEADER] BODY[TEXT]<2.3> RFC822.TEXT BODY.PEEK[2] BODY[HEADER.FIELDS (\"X y\" SUBJECT)])\r\n",
		"* 1 FETCH (BODY[] {20}\r\nSubject: x\r\n\r\nbody\r\n BODY[HEADER] {14}\r\nSubject: x\r\n\r\n BODY[TEXT]<2> {3}\r\ndy\r "
		"RFC822.TEXT {6}\r\nbody\r\n BODY[2] NIL BODY[HEADER.FIELDS (\"X y\" SUBJECT)] {14}\r\nSubject: x\r\n\r\n)\r\n"
		"a4 OK Fetch completed\r\n");
	fake_worker_free(&w);
}

static void append_refuses_before_the_literal_where_it_can(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	EXPECT(a, "a1 APPEND nowhere {5}\r\n", "a1 NO [TRYCREATE] ~\r\n");
	EXPECT(a, "a2 APPEND nowhere {5+}\r\nabcde\r\n", "a2 NO [TRYCREATE] ~\r\n");
	EXPECT(a, "a3 APPEND INBOX (\\Foo) {5}\r\n", "a3 BAD Unknown system flag\r\n");
	EXPECT(a, "a4 APPEND INBOX \"yesterday\" {5}\r\n", "a4 BAD Invalid date-time\r\n");
	EXPECT(a, "a5 APPEND INBOX {0}\r\n", "a5 NO A message can't be empty\r\n");
	EXPECT(a, "a6 APPEND INBOX {0+}\r\n\r\n", "a6 NO A message can't be empty\r\n");
	EXPECT(a, "a7 APPEND INBOX {99999999999}\r\n", "a7 NO [TOOBIG] Message is too long\r\n");
	EXPECT(a, "a8 APPEND INBOX {3+}\r\na\0b\r\n", "a8 NO [CANNOT] Message contains NUL\r\n");
	EXPECT(a, "a9 APPEND INBOX {3+}\r\nabc {3+}\r\nabc\r\n", "a9 OK [APPENDUID ? ?:?] Append completed\r\n");
	EXPECT(a, "b1 APPEND INBOX {3+}\r\nabc x\r\n", "b1 BAD Unexpected arguments behind the message\r\n");
	EXPECT(a, "b2 APPEND INBOX {3+}\r\nabc )\r\n", "b2 BAD Unexpected )\r\n");
	EXPECT(a, "b3 APPEND INBOX\r\n", "b3 BAD Command needs a mailbox and a literal\r\n");
	EXPECT(a, "b4 APPEND\r\n", "b4 BAD Command needs a mailbox and a literal\r\n");
	EXPECT(a, "b5 APPEND INBOX \"text\"\r\n", "b5 BAD Invalid date-time\r\n");
	EXPECT(a, "b6 STATUS INBOX (MESSAGES UIDNEXT)\r\n", "* STATUS INBOX (MESSAGES 2 UIDNEXT ?)\r\nb6 OK Status completed\r\n");
	EXPECT(a, "b7 APPEND {5+}\r\nINBOX (\\Seen) {3+}\r\nabc\r\n", "b7 OK [APPENDUID ? ?] Append completed\r\n");
	fake_worker_free(&w);
}

static void fetch_of_a_body_sets_seen_and_tells_it(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 3), *b = log_in(w);

	EXPECT(b, "b0 SELECT INBOX\r\n", "~b0 OK [READ-WRITE] Select completed\r\n");
	EXPECT(a, "a1 FETCH 1:3 BODY[TEXT]\r\n",
		"* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {8}\r\nbody 1\r\n)\r\n"
		"* 2 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {8}\r\nbody 2\r\n)\r\n"
		"* 3 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {8}\r\nbody 3\r\n)\r\na1 OK Fetch completed\r\n");
	EXPECT(a, "a2 UID FETCH 2 BODY[TEXT]\r\n", "* 2 FETCH (UID 2 BODY[TEXT] {8}\r\nbody 2\r\n)\r\na2 OK Fetch completed\r\n");
	EXPECT(b, "b1 NOOP\r\n",
		"* 1 FETCH (FLAGS (\\Seen))\r\n* 2 FETCH (FLAGS (\\Seen))\r\n* 3 FETCH (FLAGS (\\Seen))\r\nb1 OK NOOP completed\r\n");
	fake_worker_free(&w);
}

static void fetch_parses_sections_exactly(void **state)
{
	static const struct {
		struct cv_str items;
		const char *want;
	} rows[] = {
		{ CV_STR_INIT("BODY["), "x BAD Missing ] behind a body section\r\n" },
		{ CV_STR_INIT("BODY[]x"), "x BAD Invalid text behind a body section\r\n" },
		{ CV_STR_INIT("BODY[0]"), "x BAD Invalid part number in a body section\r\n" },
		{ CV_STR_INIT("BODY[1.]"), "x BAD Invalid body section\r\n" },
		{ CV_STR_INIT("BODY[1.FOO]"), "x BAD Invalid body section\r\n" },
		{ CV_STR_INIT("BODY[MIME]"), "x BAD MIME needs a part number\r\n" },
		{ CV_STR_INIT("BODY[HEADER.FIELDS]"), "x BAD HEADER.FIELDS needs a list of field names\r\n" },
		{ CV_STR_INIT("BODY[HEADER.FIELDS ()]"), "x BAD HEADER.FIELDS needs a list of field names\r\n" },
		{ CV_STR_INIT("BODY[HEADER.FIELDS (a)"), "x BAD Missing ] behind a body section\r\n" },
		{ CV_STR_INIT("BODY[]<1>"), "x BAD Invalid partial range\r\n" },
		{ CV_STR_INIT("BODY[]<1.0>"), "x BAD Invalid partial range\r\n" },
		{ CV_STR_INIT("BODY[]<-1.5>"), "x BAD Invalid partial range\r\n" },
		{ CV_STR_INIT("BODY.PEEK"), "x BAD Unknown FETCH item\r\n" },
		{ CV_STR_INIT("(UID ALL)"), "x BAD Unknown FETCH item\r\n" },
		{ CV_STR_INIT("()"), "x BAD Empty list of FETCH items\r\n" },
		{ CV_STR_INIT("(UID) x"), "x BAD Unexpected arguments\r\n" },
		{ CV_STR_INIT("UID (CHANGEDSINCE x)"), "x BAD Invalid FETCH modifier\r\n" },
		{ CV_STR_INIT("BODY.PEEK[1.MIME]"), "* 1 FETCH (BODY[1.MIME] {14}\r\nSubject: 1\r\n\r\n)\r\nx OK Fetch completed\r\n" },
		{ CV_STR_INIT("BODY.PEEK[1]"), "* 1 FETCH (BODY[1] {8}\r\nbody 1\r\n)\r\nx OK Fetch completed\r\n" },
		{ CV_STR_INIT("BODY.PEEK[1.1]"), "* 1 FETCH (BODY[1.1] NIL)\r\nx OK Fetch completed\r\n" },
		{ CV_STR_INIT("BODY.PEEK[1.HEADER]"), "* 1 FETCH (BODY[1.HEADER] NIL)\r\nx OK Fetch completed\r\n" },
		{ CV_STR_INIT("BODY.PEEK[TEXT]<100.5>"), "* 1 FETCH (BODY[TEXT]<100> {0}\r\n)\r\nx OK Fetch completed\r\n" },
		{ CV_STR_INIT("BODY.PEEK[header.fields.not (subject)]"),
			"* 1 FETCH (BODY[HEADER.FIELDS.NOT (subject)] {2}\r\n\r\n)\r\nx OK Fetch completed\r\n" },
		{ CV_STR_INIT("BODYSTRUCTURE"),
			"* 1 FETCH (BODYSTRUCTURE (\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 8 1 NIL NIL NIL NIL))\r\n"
			"x OK Fetch completed\r\n" },
		{ CV_STR_INIT("ENVELOPE"),
			"* 1 FETCH (ENVELOPE (NIL \"1\" NIL NIL NIL NIL NIL NIL NIL NIL))\r\nx OK Fetch completed\r\n" },
	};
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 1);

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_buf command;

		cv_buf_init(&command, 1000);
		cv_buf_printf(&command, "y NOOP\r\nx FETCH 1 %.*s\r\n", CV_STR_ARG(rows[i].items));
		fake_session_push(a, CV_STR(""));
		expect_at(a, cv_str_sub(cv_buf_str(&command), 0, 8), "y OK NOOP completed\r\n", __FILE__, __LINE__);
		expect_at(a, cv_str_sub(cv_buf_str(&command), 8, SIZE_MAX), rows[i].want, __FILE__, __LINE__);
		cv_buf_deinit(&command);
	}
	fake_worker_free(&w);
}

/* Texts that were told once are kept: whatever else is asked for with them, whichever messages went meanwhile, and in other sessions. */
static void what_was_told_of_a_message_is_told_again(void **state)
{
#define ENVELOPE(n) "ENVELOPE (NIL \"" n "\" NIL NIL NIL NIL NIL NIL NIL NIL)"
#define PARTS "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 8 1"
#define STRUCTURE "BODYSTRUCTURE " PARTS " NIL NIL NIL NIL)"
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 3), *b;

	EXPECT(a, "a1 FETCH 2 ENVELOPE\r\n", "* 2 FETCH (" ENVELOPE("2") ")\r\na1 OK Fetch completed\r\n");
	for (int i = 0; i < 3; i++)
		EXPECT(a, "a2 FETCH 1:3 (ENVELOPE BODYSTRUCTURE)\r\n", "* 1 FETCH (" ENVELOPE("1") " " STRUCTURE ")\r\n* 2 FETCH (" ENVELOPE("2") " " STRUCTURE
			")\r\n* 3 FETCH (" ENVELOPE("3") " " STRUCTURE ")\r\na2 OK Fetch completed\r\n");
	EXPECT(a, "a3 FETCH 3 (ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (subject)])\r\n",
		"* 3 FETCH (" ENVELOPE("3") " BODY " PARTS ") " STRUCTURE " BODY[HEADER.FIELDS (subject)] {14}\r\nSubject: 3\r\n\r\n)\r\na3 OK Fetch completed\r\n");
	EXPECT(a, "a4 STORE 1 +FLAGS.SILENT (\\Deleted)\r\na5 EXPUNGE\r\n", "a4 OK Store completed\r\n* 1 EXPUNGE\r\n* 2 RECENT\r\na5 OK Expunge completed\r\n");
	append(a, "INBOX", "", "Subject: 4\r\n\r\nbody 4\r\n");
	EXPECT(a, "a6 FETCH 1:3 ENVELOPE\r\n", "* 1 FETCH (" ENVELOPE("2") ")\r\n* 2 FETCH (" ENVELOPE("3") ")\r\n* 3 FETCH (" ENVELOPE("4")
		")\r\na6 OK Fetch completed\r\n");
	b = log_in(w);
	EXPECT(b, "b0 EXAMINE INBOX\r\n", "~b0 OK [READ-ONLY] Examine completed\r\n");
	EXPECT(b, "b1 FETCH 2:3 (BODYSTRUCTURE ENVELOPE)\r\n", "* 2 FETCH (" ENVELOPE("3") " " STRUCTURE ")\r\n* 3 FETCH (" ENVELOPE("4") " " STRUCTURE
		")\r\nb1 OK Fetch completed\r\n");
	fake_worker_free(&w);
#undef ENVELOPE
#undef PARTS
#undef STRUCTURE
}

/* Replies that nobody reads, until no more than room octets are left for others. */
static void fill_but(struct cv_session *session, size_t room)
{
	while (cv_stream_room(session->stream) > room)
		fake_session_push(session, CV_STR("n NOOP\r\n"));
	assert_true(cv_stream_room(session->stream) > 0);
}

static void batches_go_out_while_there_is_room(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 1);
	struct cv_str begin = CV_STR("* UIDBATCHES (TAG \"t\")"), all = CV_STR("* UIDBATCHES (TAG \"t\") 1:1\r\nt OK Uidbatches completed\r\n"), got;
	struct cv_buf *out = cv_stream_out(a->stream);

	/* The room that is left ends within the beginning of the response. */
	fill_but(a, begin.len);
	fake_session_push(a, CV_STR("t UIDBATCHES 500\r\n"));
	assert_true(cv_str_eq(cv_str_sub(cv_buf_str(out), out->len - begin.len, SIZE_MAX), begin));
	got = fake_session_output(a);
	assert_true(cv_str_eq(cv_str_sub(got, got.len - all.len, SIZE_MAX), all));
	/* In the middle of the line nothing else may be said. */
	EXPECT(a, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	fill_but(a, begin.len);
	fake_session_push(a, CV_STR("t UIDBATCHES 500\r\n"));
	cv_buf_clear(out);
	w->protocol->goodbye(a->state, "shutdown");
	assert_int_equal(out->len, 0);
	assert_true(a->closed);
	fake_worker_free(&w);
}

static void a_large_message_goes_out_while_there_is_room(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);
	struct cv_buf message, command;
	struct cv_str got;

	cv_buf_init(&message, SIZE_MAX / 2);
	cv_buf_init(&command, SIZE_MAX / 2);
	cv_buf_append_c(&message, "Subject: large\r\n\r\n");
	for (int i = 0; i < 100000; i++)
		cv_buf_printf(&message, "line %d\r\n", i);
	append(a, "INBOX", "", message.data);
	EXPECT(a, "a1 SELECT INBOX\r\n", "~a1 OK [READ-WRITE] Select completed\r\n");
	fake_session_push(a, CV_STR("a2 FETCH 1 BODY.PEEK[]\r\na3 NOOP\r\n"));
	/* Nobody reads: the output stops at its bound. */
	assert_in_range(cv_stream_out(a->stream)->len, 1, 256 * 1024);
	got = fake_session_output(a);
	cv_buf_printf(&command, "* 1 FETCH (BODY[] {%zu}\r\n", message.len);
	cv_buf_append(&command, cv_buf_str(&message));
	cv_buf_append_c(&command, ")\r\na2 OK Fetch completed\r\na3 OK NOOP completed\r\n");
	assert_true(cv_str_eq(got, cv_buf_str(&command)));
	/* In the middle of a literal nothing else may be said. */
	fake_session_push(a, CV_STR("a4 FETCH 1 BODY.PEEK[]\r\n"));
	cv_buf_clear(cv_stream_out(a->stream));
	w->protocol->goodbye(a->state, "shutdown");
	assert_int_equal(cv_stream_out(a->stream)->len, 0);
	assert_true(a->closed);
	cv_buf_deinit(&message);
	cv_buf_deinit(&command);
	fake_worker_free(&w);
}

static void store_answers_with_the_new_flags(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 3);

	EXPECT(a, "a1 STORE 1:2 FLAGS (\\Seen $One)\r\n",
		"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $One)\r\n"
		"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $One \\*)] Flags permitted\r\n"
		"* 1 FETCH (FLAGS (\\Seen \\Recent $One))\r\n* 2 FETCH (FLAGS (\\Seen \\Recent $One))\r\na1 OK Store completed\r\n");
	EXPECT(a, "a2 STORE 1 +FLAGS \\Flagged \\Draft\r\n",
		"* 1 FETCH (FLAGS (\\Flagged \\Seen \\Draft \\Recent $One))\r\na2 OK Store completed\r\n");
	EXPECT(a, "a3 STORE 1 -FLAGS ($one \\Seen)\r\n", "* 1 FETCH (FLAGS (\\Flagged \\Draft \\Recent))\r\na3 OK Store completed\r\n");
	EXPECT(a, "a4 STORE 1:3 FLAGS.SILENT ()\r\n", "a4 OK Store completed\r\n");
	EXPECT(a, "a5 UID STORE 2,9 +FLAGS ()\r\n", "* 2 FETCH (UID 2 FLAGS (\\Recent))\r\na5 OK Store completed\r\n");
	EXPECT(a, "a6 UID STORE 9 +FLAGS (\\Seen)\r\n", "a6 OK Store completed\r\n");
	EXPECT(a, "a7 STORE 4 +FLAGS (\\Seen)\r\n", "a7 BAD Sequence number is higher than the number of messages\r\n");
	EXPECT(a, "a8 STORE 1 FLAGS\r\n", "a8 BAD STORE needs FLAGS, +FLAGS or -FLAGS and flags\r\n");
	EXPECT(a, "a9 STORE 1 XFLAGS ()\r\n", "a9 BAD STORE needs FLAGS, +FLAGS or -FLAGS and flags\r\n");
	EXPECT(a, "b1 STORE 1 FLAGS (\\Recent)\r\n", "b1 BAD \\Recent can't be changed by clients\r\n");
	EXPECT(a, "b2 STORE 1 FLAGS () x\r\n", "b2 BAD Unexpected arguments\r\n");
	fake_worker_free(&w);
}

static void expunge_renumbers(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 5);

	EXPECT(a, "a1 STORE 1,3:4 +FLAGS.SILENT (\\Deleted)\r\n", "a1 OK Store completed\r\n");
	EXPECT(a, "a2 UID EXPUNGE 4:5\r\n", "* 4 EXPUNGE\r\n* 4 RECENT\r\na2 OK Expunge completed\r\n");
	EXPECT(a, "a3 EXPUNGE\r\n", "* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n* 2 RECENT\r\na3 OK Expunge completed\r\n");
	EXPECT(a, "a4 UID SEARCH ALL\r\n", "* SEARCH 2 5\r\na4 OK Search completed\r\n");
	EXPECT(a, "a5 STORE 1 +FLAGS.SILENT (\\Deleted)\r\na6 CLOSE\r\n", "a5 OK Store completed\r\na6 OK Close completed\r\n");
	EXPECT(a, "a7 STATUS INBOX (MESSAGES UNSEEN UIDNEXT RECENT)\r\n",
		"* STATUS INBOX (MESSAGES 1 UNSEEN 1 UIDNEXT 6 RECENT 0)\r\na7 OK Status completed\r\n");
	EXPECT(a, "a8 EXAMINE INBOX\r\n", "~a8 OK [READ-ONLY] Examine completed\r\n");
	EXPECT(a, "a9 EXPUNGE\r\n", "a9 NO [READ-ONLY] Mailbox is read-only\r\n");
	EXPECT(a, "b1 STORE 1 FLAGS ()\r\n", "b1 NO [READ-ONLY] Mailbox is read-only\r\n");
	EXPECT(a, "b2 MOVE 1 Sent\r\n", "b2 NO [READ-ONLY] Mailbox is read-only\r\n");
	EXPECT(a, "b3 COPY 1 Sent\r\n", "b3 OK [COPYUID ? 5 1] Copy completed\r\n");
	fake_worker_free(&w);
}

static void copies_and_moves(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 4);

	EXPECT(a, "a1 COPY 1 nowhere\r\n", "a1 NO [TRYCREATE] ~\r\n");
	EXPECT(a, "a2 COPY 1,3 Sent\r\n", "a2 OK [COPYUID ? 1,3 1:2] Copy completed\r\n");
	EXPECT(a, "a3 UID COPY 2:9 Sent\r\n", "a3 OK [COPYUID ? 2:4 3:5] Copy completed\r\n");
	EXPECT(a, "a4 UID COPY 9 Sent\r\n", "a4 OK No messages to copy\r\n");
	EXPECT(a, "a5 MOVE 2:3 Trash\r\n", "* OK [COPYUID ? 2:3 1:2] Moved\r\n* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n* 2 RECENT\r\na5 OK Move completed\r\n");
	/* To the mailbox itself: "allowed when copying the message to the currently selected mailbox is allowed". */
	EXPECT(a, "a6 UID MOVE 1 INBOX\r\n",
		"* OK [COPYUID ? 1 5] Moved\r\n* 1 EXPUNGE\r\n* 2 EXISTS\r\n* ? RECENT\r\na6 OK Move completed\r\n");
	EXPECT(a, "a7 UID MOVE 77 Trash\r\n", "a7 OK No messages to move\r\n");
	EXPECT(a, "a8 STATUS Sent (MESSAGES UIDNEXT)\r\n", "* STATUS Sent (MESSAGES 5 UIDNEXT 6)\r\na8 OK Status completed\r\n");
	EXPECT(a, "a9 COPY 1\r\n", "a9 BAD Missing or invalid mailbox name\r\n");
	fake_worker_free(&w);
}

/* ---- CONDSTORE ---------------------------------------------------------------------------------------- */

static void condstore(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 3), *b = log_in(w);

	/* RFC 7162 section 3.1: the first enabling command gets HIGHESTMODSEQ. */
	EXPECT(a, "a1 FETCH 1 MODSEQ\r\n", "* OK [HIGHESTMODSEQ ?] Highest\r\n* 1 FETCH (MODSEQ (?))\r\na1 OK Fetch completed\r\n");
	EXPECT(a, "a2 STORE 1 +FLAGS.SILENT (\\Seen)\r\n", "* 1 FETCH (UID 1 MODSEQ (?))\r\na2 OK Store completed\r\n");
	EXPECT(a, "a3 STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\\Flagged)\r\n",
		"* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent) MODSEQ (?))\r\na3 OK [MODIFIED 1] Conditional store failed for some messages\r\n");
	EXPECT(a, "a4 UID STORE 1:3 (UNCHANGEDSINCE 99999) +FLAGS (\\Flagged)\r\n",
		"* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen \\Recent) MODSEQ (?))\r\n* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent) MODSEQ (?))\r\n"
		"* 3 FETCH (UID 3 FLAGS (\\Flagged \\Recent) MODSEQ (?))\r\na4 OK Store completed\r\n");
	EXPECT(a, "a5 STORE 1 (UNCHANGEDSINCE x) FLAGS ()\r\n", "a5 BAD Invalid STORE modifier\r\n");
	EXPECT(a, "a6 STATUS INBOX (HIGHESTMODSEQ)\r\n", "* STATUS INBOX (HIGHESTMODSEQ ?)\r\na6 OK [CLIENTBUG] Status completed\r\n");
	EXPECT(a, "a7 SEARCH MODSEQ \"/flags/\\\\seen\" all 1 1:2\r\n", "* SEARCH 1 2 (MODSEQ ?)\r\na7 OK Search completed\r\n");
	EXPECT(a, "a8 SEARCH MODSEQ 999999\r\n", "* SEARCH\r\na8 OK Search completed\r\n");
	EXPECT(b, "b1 SELECT INBOX (CONDSTORE)\r\n", "~b1 OK [READ-WRITE] Select completed\r\n");
	EXPECT(b, "b2 ENABLE CONDSTORE X\r\n", "* ENABLED CONDSTORE\r\nb2 OK Enabled\r\n");
	EXPECT(b, "b3 SELECT INBOX (FOO)\r\n", "b3 BAD Unknown SELECT parameter\r\n");
	EXPECT(b, "b4 STORE 2 -FLAGS.SILENT (\\Flagged)\r\n", "* 2 FETCH (UID 2 MODSEQ (?))\r\nb4 OK Store completed\r\n");
	EXPECT(a, "a9 NOOP\r\n", "* 2 FETCH (UID 2 FLAGS (\\Recent) MODSEQ (?))\r\na9 OK NOOP completed\r\n");
	EXPECT(b, "b5 FETCH 1:* (FLAGS) (CHANGEDSINCE 999999)\r\n", "b5 OK Fetch completed\r\n");
	fake_worker_free(&w);
}

static void modified_lists_what_others_changed(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 2), *b = log_in(w);
	struct cv_str got;
	struct cv_buf command;
	size_t at;

	EXPECT(b, "b0 SELECT INBOX\r\n", "~b0 OK [READ-WRITE] Select completed\r\n");
	fake_session_push(a, CV_STR("a1 FETCH 2 MODSEQ\r\n"));
	got = fake_session_output(a);
	at = cv_str_find_str(got, CV_STR("MODSEQ ("));
	assert_int_not_equal(at, SIZE_MAX);
	got = cv_str_sub(got, at + 8, SIZE_MAX);
	EXPECT(b, "b1 STORE 2 +FLAGS.SILENT (\\Flagged)\r\n", "b1 OK Store completed\r\n");
	cv_buf_init(&command, 1000);
	cv_buf_printf(&command, "a2 STORE 1:2 (UNCHANGEDSINCE %.*s) +FLAGS.SILENT (\\Answered)\r\n",
		CV_STR_ARG(cv_str_sub(got, 0, cv_str_find(got, ')'))));
	/* Each message is told once: the change of the other session and the failed test in one answer. */
	expect_at(a, cv_buf_str(&command),
		"* 1 FETCH (UID 1 MODSEQ (?))\r\n* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent) MODSEQ (?))\r\n"
		"a2 OK [MODIFIED 2] Conditional store failed for some messages\r\n", __FILE__, __LINE__);
	cv_buf_deinit(&command);
	fake_worker_free(&w);
}

/* ---- Two sessions ------------------------------------------------------------------------------------- */

/* RFC 3501 section 7.4.1: "An EXPUNGE response MUST NOT be sent … while responding to a FETCH, STORE, or SEARCH command." */
static void numbers_stay_until_an_expunge_may_be_told(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 4), *b = log_in(w);

	EXPECT(b, "b0 SELECT INBOX\r\n", "~b0 OK [READ-WRITE] Select completed\r\n");
	EXPECT(a, "a1 STORE 2 +FLAGS.SILENT (\\Deleted)\r\na2 EXPUNGE\r\n", "a1 OK Store completed\r\n* 2 EXPUNGE\r\n* 3 RECENT\r\na2 OK Expunge completed\r\n");
	EXPECT(b, "b1 FETCH 2:3 UID\r\n", "* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\nb1 OK Fetch completed\r\n");
	EXPECT(b, "b2 SEARCH ALL\r\n", "* SEARCH 1 3 4\r\nb2 OK [EXPUNGEISSUED] Search completed\r\n");
	EXPECT(b, "b3 STORE 3 +FLAGS (\\Flagged)\r\n", "* 3 FETCH (FLAGS (\\Flagged))\r\nb3 OK Store completed\r\n");
	EXPECT(b, "b4 STORE 2:3 +FLAGS (\\Flagged)\r\n",
		"* 3 FETCH (FLAGS (\\Flagged))\r\nb4 NO [EXPUNGEISSUED] Some of the messages no longer exist\r\n");
	EXPECT(b, "b5 COPY 2 Sent\r\n", "* 2 EXPUNGE\r\nb5 NO [EXPUNGEISSUED] ~\r\n");
	EXPECT(a, "a3 NOOP\r\n", "* 2 FETCH (FLAGS (\\Flagged \\Recent))\r\na3 OK NOOP completed\r\n");
	EXPECT(b, "b6 STORE 3 +FLAGS.SILENT (\\Deleted)\r\nb7 EXPUNGE\r\n", "b6 OK Store completed\r\n* 3 EXPUNGE\r\nb7 OK Expunge completed\r\n");
	/* By UID they may be told: behind the answers, whose numbers are the old ones. */
	EXPECT(a, "a4 UID FETCH 3 FLAGS\r\n",
		"* 2 FETCH (UID 3 FLAGS (\\Flagged \\Recent))\r\n* 3 EXPUNGE\r\n* 2 RECENT\r\na4 OK Fetch completed\r\n");
	fake_worker_free(&w);
}

static void bodies_of_expunged_messages_are_sent_or_refused(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 2), *b = log_in(w);

	EXPECT(b, "b0 EXAMINE INBOX\r\n", "~b0 OK [READ-ONLY] Examine completed\r\n");
	EXPECT(a, "a1 STORE 1 +FLAGS.SILENT (\\Deleted)\r\na2 EXPUNGE\r\n", "a1 OK Store completed\r\n* 1 EXPUNGE\r\n* 1 RECENT\r\na2 OK Expunge completed\r\n");
	fake_session_push(b, CV_STR("b1 FETCH 1:2 BODY.PEEK[TEXT]\r\n"));
	{
		struct cv_str got = fake_session_output(b);

		if (!matches(got.ptr, "* 1 FETCH (BODY[TEXT] {8}\r\nbody 1\r\n)\r\n* 2 FETCH (BODY[TEXT] {8}\r\nbody 2\r\n)\r\nb1 OK Fetch completed\r\n") &&
			!matches(got.ptr, "* 2 FETCH (BODY[TEXT] {8}\r\nbody 2\r\n)\r\nb1 NO [EXPUNGEISSUED] Some of the messages no longer exist\r\n"))
			fail_msg("%s", got.ptr);
	}
	EXPECT(b, "b2 NOOP\r\n", "* 1 EXPUNGE\r\nb2 OK NOOP completed\r\n");
	fake_worker_free(&w);
}

static void new_messages_are_told_to_every_session(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 1), *b = log_in(w);

	EXPECT(b, "b0 SELECT INBOX\r\n", "~b0 OK [READ-WRITE] Select completed\r\n");
	append(a, "INBOX", "", MESSAGE("2"));
	EXPECT(b, "b1 FETCH 1 UID\r\n", "* 1 FETCH (UID 1)\r\n* 2 EXISTS\r\n* ? RECENT\r\nb1 OK Fetch completed\r\n");
	EXPECT(b, "b2 FETCH 2 UID\r\n", "* 2 FETCH (UID 2)\r\nb2 OK Fetch completed\r\n");
	fake_worker_free(&w);
}

static void idle_tells_changes_as_they_happen(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 1), *b = log_in(w);

	EXPECT(b, "b1 SELECT INBOX\r\nb2 IDLE\r\n", "~b1 OK [READ-WRITE] Select completed\r\n+ idling\r\n");
	assert_string_equal(b->state_text, "IDLE");
	append(a, "INBOX", "", MESSAGE("2"));
	EXPECT(b, "", "* 2 EXISTS\r\n* ? RECENT\r\n");
	EXPECT(a, "a1 STORE 1 +FLAGS.SILENT (\\Deleted)\r\n", "a1 OK Store completed\r\n");
	EXPECT(b, "", "* 1 FETCH (FLAGS (\\Deleted))\r\n");
	EXPECT(a, "a2 EXPUNGE\r\n", "* 1 EXPUNGE\r\n* 1 RECENT\r\na2 OK Expunge completed\r\n");
	EXPECT(b, "", "* 1 EXPUNGE\r\n");
	assert_int_equal(b->timeout_ms, 0);
	cv_loop_fake_advance(w->loop, 120 * 1000);
	fake_worker_run(w);
	EXPECT(b, "", "* OK Still here\r\n");
	EXPECT(b, "done\r\nb3 NOOP\r\n", "b2 OK Idle completed\r\nb3 OK NOOP completed\r\n");
	assert_int_equal(b->timeout_ms, 30 * 60 * 1000);
	EXPECT(b, "b4 IDLE\r\n", "+ idling\r\n");
	EXPECT(b, "b5 NOOP\r\n", "b4 BAD DONE was expected\r\n");
	EXPECT(b, "b6 UNSELECT\r\nb7 IDLE\r\nDONE\r\n", "b6 OK Unselect completed\r\n+ idling\r\nb7 OK Idle completed\r\n");
	fake_worker_free(&w);
}

static void a_deleted_mailbox_ends_other_sessions(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w), *b = log_in(w);

	EXPECT(a, "a1 CREATE doomed\r\na2 SELECT doomed\r\n", "a1 OK [MAILBOXID (~)] Create completed\r\n~a2 OK [READ-WRITE] Select completed\r\n");
	EXPECT(b, "b1 SELECT doomed\r\n", "~b1 OK [READ-WRITE] Select completed\r\n");
	EXPECT(a, "a3 DELETE doomed\r\na4 FETCH 1 UID\r\n", "a3 OK Delete completed\r\na4 BAD No mailbox is selected\r\n");
	EXPECT(b, "b2 NOOP\r\n", "* BYE Selected mailbox was deleted\r\n");
	assert_true(b->closed);
	fake_worker_free(&w);
}

/* ---- Mailboxes ---------------------------------------------------------------------------------------- */

static void lists_mailboxes(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	EXPECT(a, "a1 LIST \"\" *\r\n",
		"* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\HasNoChildren \\Drafts) \"/\" Drafts\r\n"
		"* LIST (\\HasNoChildren \\Junk) \"/\" Junk\r\n* LIST (\\HasNoChildren \\Sent) \"/\" Sent\r\n"
		"* LIST (\\HasNoChildren \\Trash) \"/\" Trash\r\na1 OK List completed\r\n");
	EXPECT(a, "a2 LIST \"\" \"\"\r\n", "* LIST (\\Noselect) \"/\" \"\"\r\na2 OK List completed\r\n");
	EXPECT(a, "a3 CREATE Entw&APw-rfe/a/b/\r\n", "a3 OK [MAILBOXID (~)] Create completed\r\n");
	EXPECT(a, "a4 LIST \"\" En*\r\n",
		"* LIST (\\Noselect \\HasChildren) \"/\" Entw&APw-rfe\r\n* LIST (\\Noselect \\HasChildren) \"/\" Entw&APw-rfe/a\r\n"
		"* LIST (\\HasNoChildren) \"/\" Entw&APw-rfe/a/b\r\na4 OK List completed\r\n");
	EXPECT(a, "a5 LIST Entw&APw-rfe/ %\r\n", "* LIST (\\Noselect \\HasChildren) \"/\" Entw&APw-rfe/a\r\na5 OK List completed\r\n");
	EXPECT(a, "a6 LIST \"\" inbox\r\n", "* LIST (\\HasNoChildren) \"/\" INBOX\r\na6 OK List completed\r\n");
	EXPECT(a, "a7 LIST (SPECIAL-USE) \"\" (S* T*) RETURN (SPECIAL-USE)\r\n",
		"* LIST (\\HasNoChildren \\Sent) \"/\" Sent\r\n* LIST (\\HasNoChildren \\Trash) \"/\" Trash\r\na7 OK List completed\r\n");
	EXPECT(a, "a8 LIST (SPARKLING) \"\" *\r\n", "a8 BAD Unknown LIST option\r\n");
	EXPECT(a, "a9 LIST \"\"\r\n", "a9 BAD Missing or invalid mailbox pattern\r\n");
	EXPECT(a, "b1 CREATE bad&AGE-\r\n", "b1 NO [CANNOT] Mailbox name is not valid modified UTF-7\r\n");
	EXPECT(a, "b2 CREATE inbox\r\n", "b2 NO ~\r\n");
	EXPECT(a, "b3 NAMESPACE\r\n", "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\nb3 OK Namespace completed\r\n");
	fake_worker_free(&w);
}

static void subscribes(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	EXPECT(a, "a1 CREATE x/y/z\r\na2 SUBSCRIBE x/y/z\r\n", "a1 OK [MAILBOXID (~)] Create completed\r\na2 OK Subscribe completed\r\n");
	EXPECT(a, "a3 LSUB \"\" x*\r\n", "* LSUB () \"/\" x/y/z\r\na3 OK Lsub completed\r\n");
	EXPECT(a, "a4 LSUB \"\" x/%\r\n", "* LSUB (\\Noselect) \"/\" x/y\r\na4 OK Lsub completed\r\n");
	EXPECT(a, "a5 LSUB x/ %\r\n", "* LSUB (\\Noselect) \"/\" x/y\r\na5 OK Lsub completed\r\n");
	EXPECT(a, "a6 DELETE x/y/z\r\na7 LSUB \"\" x/y/z\r\n", "a6 OK Delete completed\r\n* LSUB () \"/\" x/y/z\r\na7 OK Lsub completed\r\n");
	EXPECT(a, "a8 LIST \"\" x*\r\n", "a8 OK List completed\r\n");
	EXPECT(a, "a9 UNSUBSCRIBE x/y/z\r\nb1 LSUB \"\" x*\r\n", "a9 OK Unsubscribe completed\r\nb1 OK Lsub completed\r\n");
	fake_worker_free(&w);
}

static void renames_and_deletes(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 2);

	EXPECT(a, "a1 CREATE foo/bar\r\na2 RENAME foo zap\r\na3 LIST \"\" *ap*\r\n",
		"a1 OK [MAILBOXID (~)] Create completed\r\na2 OK Rename completed\r\n* LIST (\\Noselect \\HasChildren) \"/\" zap\r\n"
		"* LIST (\\HasNoChildren) \"/\" zap/bar\r\na3 OK List completed\r\n");
	EXPECT(a, "a4 RENAME zap/bar Sent\r\n", "a4 NO [ALREADYEXISTS] ~\r\n");
	EXPECT(a, "a5 DELETE nothing\r\n", "a5 NO [NONEXISTENT] ~\r\n");
	EXPECT(a, "a6 DELETE INBOX\r\n", "a6 NO ~\r\n");
	EXPECT(a, "a7 RENAME INBOX old\r\n", "* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n* 0 RECENT\r\na7 OK Rename completed\r\n");
	EXPECT(a, "a8 STATUS old (MESSAGES)\r\n", "* STATUS old (MESSAGES 2)\r\na8 OK Status completed\r\n");
	EXPECT(a, "a9 CREATE old\r\n", "a9 NO [ALREADYEXISTS] ~\r\n");
	fake_worker_free(&w);
}

static void status_checks_its_items(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	EXPECT(a, "a1 STATUS INBOX ()\r\n", "a1 BAD STATUS needs a list of items\r\n");
	EXPECT(a, "a2 STATUS INBOX (FOO)\r\n", "a2 BAD Unknown STATUS item\r\n");
	EXPECT(a, "a3 STATUS INBOX MESSAGES\r\n", "a3 BAD STATUS needs a list of items\r\n");
	EXPECT(a, "a4 STATUS nowhere (MESSAGES)\r\n", "a4 NO [NONEXISTENT] ~\r\n");
	EXPECT(a, "a5 STATUS inbox (UIDNEXT messages)\r\n", "* STATUS INBOX (UIDNEXT 1 MESSAGES 0)\r\na5 OK Status completed\r\n");
	fake_worker_free(&w);
}

static struct imap_settings settings = {
	.imap_metadata = true,
	.imap_idle_notify_interval = 120000,
	.imap_max_line_length = 65536,
	.imap_logout_format = "out=%o %{appended}",
	.imap_id_send = "name Post version * os *",
	.imap_capability = "",
	.imap_unauthenticate = true,
	.imap_urlauth = true,
	.imap_urlauth_host = "*",
	.imap_annotate = true,
	.imap_utf8_accept = true,
};

/* ---- SEARCH ------------------------------------------------------------------------------------------- */

static void searches(void **state)
{
	static const struct {
		const char *program, *want;
	} rows[] = {
		{ "ALL", "1 2 3" }, { "SEEN", "1" }, { "UNSEEN UNDELETED", "2" }, { "OR FLAGGED DRAFT", "1 3" },
		{ "KEYWORD later", "2" }, { "UNKEYWORD Later NOT 3", "1" }, { "FROM ANNA", "1" }, { "CC anna", "2" }, { "BCC hidden", "3" },
		{ "TO team@example", "1" }, { "SUBJECT \"weekly PLAN\"", "1 3" }, { "HEADER X-Kind \"\"", "1" }, { "HEADER X-Kind gol", "1" },
		{ "HEADER X-None \"\"", "" }, { "BODY cafeteria", "2" }, { "BODY \"number is 42\"", "3" }, { "TEXT carl@example", "3" },
		{ "BODY carl@example", "" }, { "CHARSET UTF-8 SUBJECT {5+}\r\nCaf\xc3\xa9", "2" },
		{ "CHARSET ISO-8859-1 BODY {4+}\r\ngr\xfc\xdf", "2" }, { "BODY {7+}\r\ngr\xc3\xbc\xc3\x9f" "e", "2" },
		{ "ON 11-Oct-2026", "2" }, { "BEFORE 11-Oct-2026", "1" }, { "SINCE 11-Oct-2026", "2 3" }, { "SENTON \"9-Oct-2026\"", "1" },
		{ "SENTSINCE 10-Oct-2026 SENTBEFORE 11-Oct-2026", "2" }, { "NOT SENTON 9-Oct-2026", "2 3" }, { "LARGER 100000", "" },
		{ "SMALLER 100000", "1 2 3" }, { "(OR 1 (2 SEEN)) 1:*", "1" }, { "UID 2:*", "2 3" }, { "*", "3" }, { "NOT NOT SEEN", "1" },
		{ "NOT (OR 1 2)", "3" }, { "7:9", "" }, { "2:9", "2 3" }, { "UID 100:200", "" }, { "NEW", "2 3" }, { "OLD", "" }, { "RECENT SEEN", "1" },
		{ "OR BODY cafeteria FROM anna", "1 2" }, { "NOT BODY cafeteria", "1 3" }, { "3 OR TEXT zzz SUBJECT weekly", "3" },
	};
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	append(a, "INBOX", "(\\Seen \\Flagged) \"10-Oct-2026 12:00:00 +0000\" ",
		"From: Anna <anna@example.org>\r\nTo: team@example.org\r\nSubject: Weekly plan\r\nDate: Fri, 9 Oct 2026 12:00:00 +0000\r\n"
		"X-Kind: gold\r\n\r\nThe committee will meet on Thursday.\r\n");
	append(a, "INBOX", "(Later) \"11-Oct-2026 12:00:00 +0000\" ",
		"From: Bert <bert@example.org>\r\nCc: anna@example.org\r\nSubject: =?iso-8859-1?q?Caf=E9?= =?utf-8?q?_und_Stra=C3=9Fe?=\r\n"
		"Date: Sat, 10 Oct 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe aus der Caf=\r\neteria.\r\n");
	append(a, "INBOX", "(\\Deleted \\Draft) \"12-Oct-2026 12:00:00 +0000\" ",
		"From: Carl <carl@example.net>\r\nBcc: hidden@example.org\r\nSubject: Re: Weekly plan\r\nDate: Sun, 11 Oct 2026 12:00:00 +0000\r\n"
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nVGhlIG51bWJlciBpcyA0Mi4K\r\n");
	EXPECT(a, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_buf command, want;

		cv_buf_init(&command, 1000);
		cv_buf_init(&want, 1000);
		cv_buf_printf(&command, "x SEARCH %s\r\n", rows[i].program);
		cv_buf_printf(&want, "* SEARCH%s%s\r\nx OK Search completed\r\n", *rows[i].want != '\0' ? " " : "", rows[i].want);
		print_message("SEARCH %s\n", rows[i].program);
		expect_at(a, cv_buf_str(&command), want.data, __FILE__, __LINE__);
		cv_buf_deinit(&command);
		cv_buf_deinit(&want);
	}
	EXPECT(a, "b1 SEARCH CHARSET x-none BODY x\r\n", "b1 NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset\r\n");
	EXPECT(a, "b2 SEARCH\r\n", "b2 BAD Search keys are missing\r\n");
	EXPECT(a, "b3 SEARCH NOSUCH\r\n", "b3 BAD Unknown search key\r\n");
	EXPECT(a, "b4 SEARCH ON 99-Foo-2026\r\n", "b4 BAD Missing or invalid date in search\r\n");
	EXPECT(a, "b5 SEARCH NOT\r\n", "b5 BAD Search key is missing\r\n");
	EXPECT(a, "b6 SEARCH 0\r\n", "b6 BAD Invalid sequence set in search\r\n");
	EXPECT(a, "b7 SEARCH ()\r\n", "b7 BAD Search keys are missing\r\n");
	EXPECT(a, "b9 SEARCH OLDER 0\r\n", "b9 BAD Missing or invalid interval in search\r\n");
	EXPECT(a, "c1 SEARCH EMAILID a.b\r\n", "c1 BAD Missing or invalid object identifier in search\r\n");
	EXPECT(a, "c2 SEARCH OR EMAILID M0123 THREADID T1\r\n", "* SEARCH\r\nc2 OK Search completed\r\n");
	EXPECT(a, "c3 SEARCH RETURN (MAX) RETURN (MIN) ALL\r\n", "c3 BAD Unknown search key\r\n");
	EXPECT(a, "b8 SEARCH MODSEQ x\r\n", "b8 BAD Missing or invalid number in search\r\n");
	fake_worker_free(&w);
}

/* The file and what was parsed of it are lost; the journal still knows the message, but not its octets. */
static void lose_message(void **state, struct fake_worker *w)
{
	const char *lost[] = { "culver-index/cache.*", "mailboxes/INBOX/dbox-Mails/u.1" };

	fake_worker_close_user(w);
	for (size_t i = 0; i < CV_COUNT_OF(lost); i++) {
		glob_t files = { 0 };

		assert_int_equal(glob(cv_arena_printf(*state, "%s/%s", w->mail_location + strlen("sdbox:"), lost[i]), 0, NULL, &files), 0);
		for (size_t k = 0; k < files.gl_pathc; k++)
			assert_int_equal(unlink(files.gl_pathv[k]), 0);
		globfree(&files);
	}
	fake_worker_open_user(w);
}

static void a_thread_that_cannot_be_told_is_nil(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	/* Of one that is too long for the journal; and so much that it goes to a snapshot, and what was parsed to its cache. */
	append(a, "INBOX", "", cv_arena_printf(*state, "Subject: long\r\n\r\n%0300000d\r\n", 1));
	for (int i = 0; i < 300; i++)
		append(a, "INBOX", "", MESSAGE("1"));
	fake_session_end(&a);
	lose_message(state, w);
	a = log_in(w);
	fake_session_push(a, CV_STR("s1 SELECT INBOX\r\n"));
	(void)fake_session_output(a);
	EXPECT(a, "f1 FETCH 1 (UID THREADID)\r\n", "* 1 FETCH (UID 1 THREADID NIL)\r\nf1 OK Fetch completed\r\n");
	EXPECT(a, "f2 FETCH 1 (THREADID ENVELOPE)\r\n", "f2 NO [CORRUPTION] ~\r\n");
	fake_session_end(&a);
	fake_worker_free(&w);
}

/* Of long texts the beginning is kept; where that does not decide, all of it does. */
static void long_subjects_are_sorted_to_their_end(void **state)
{
	static const char ends[] = { 'c', 'a', 'b', 'a' };
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);

	for (size_t i = 0; i < CV_COUNT_OF(ends); i++) {
		struct cv_buf message;

		cv_buf_init(&message, SIZE_MAX);
		cv_buf_append_c(&message, "Subject: ");
		for (int n = 0; n < 20; n++)
			cv_buf_append_c(&message, "forty octets of a subject, and some more\r\n ");
		cv_buf_append_char(&message, ends[i]);
		cv_buf_append_c(&message, "\r\n\r\n");
		append(a, "INBOX", "", message.data);
		cv_buf_deinit(&message);
	}
	EXPECT(a, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	EXPECT(a, "s1 SORT (SUBJECT) UTF-8 ALL\r\n", "* SORT 2 4 3 1\r\ns1 OK Sort completed\r\n");
	EXPECT(a, "s2 SORT (REVERSE SUBJECT) UTF-8 ALL\r\n", "* SORT 1 3 2 4\r\ns2 OK Sort completed\r\n");
	fake_worker_free(&w);
}

/* Orders are kept: each answer is what sorting anew would give, whatever came, went or was asked before. */
static void sorting_again_is_right_after_any_change(void **state)
{
	static const char *const subjects[] = { "d", "b", "c", "b" };
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w), *b = log_in(w);

	for (size_t i = 0; i < CV_COUNT_OF(subjects); i++) {
		char message[60];

		(void)snprintf(message, sizeof(message), "Subject: %s\r\n\r\n%.*s\r\n", subjects[i], (int)(4 - i), "xxxx");
		append(a, "INBOX", "", message);
	}
	EXPECT(a, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	EXPECT(b, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	for (int i = 0; i < 2; i++) {
		EXPECT(a, "s1 SORT (SUBJECT) UTF-8 ALL\r\n", "* SORT 2 4 3 1\r\ns1 OK Sort completed\r\n");
		EXPECT(b, "s2 SORT (REVERSE SUBJECT) UTF-8 ALL\r\n", "* SORT 1 3 2 4\r\ns2 OK Sort completed\r\n");
		EXPECT(a, "s3 SORT (SUBJECT SIZE) UTF-8 ALL\r\n", "* SORT 4 2 3 1\r\ns3 OK Sort completed\r\n");
		EXPECT(a, "s4 SORT (SUBJECT) UTF-8 NOT SUBJECT c\r\n", "* SORT 2 4 1\r\ns4 OK Sort completed\r\n");
		EXPECT(b, "s5 SORT (SUBJECT) UTF-8 SEEN\r\n", "* SORT\r\ns5 OK Sort completed\r\n");
	}
	/* one more, and then one less: the other session still has its number */
	append(a, "INBOX", "", "Subject: a\r\n\r\nx\r\n");
	EXPECT(a, "n NOOP\r\n", "n OK NOOP completed\r\n");
	EXPECT(a, "s6 SORT (SUBJECT) UTF-8 2:4\r\n", "* SORT 2 4 3\r\ns6 OK Sort completed\r\n");
	EXPECT(a, "s7 SORT (SUBJECT) UTF-8 ALL\r\n", "* SORT 5 2 4 3 1\r\ns7 OK Sort completed\r\n");
	EXPECT(a, "x STORE 2 +FLAGS.SILENT (\\Deleted)\r\n", "~x OK Store completed\r\n");
	EXPECT(a, "x EXPUNGE\r\n", "* 2 EXPUNGE\r\n~x OK Expunge completed\r\n");
	EXPECT(a, "s8 SORT (SUBJECT) UTF-8 ALL\r\n", "* SORT 4 3 2 1\r\ns8 OK Sort completed\r\n");
	EXPECT(a, "s9 UID SORT (SUBJECT) UTF-8 ALL\r\n", "* SORT 5 4 3 1\r\ns9 OK Sort completed\r\n");
	EXPECT(b, "s10 SORT (SUBJECT) UTF-8 ALL\r\n", "* SORT 4 3 1\r\n~s10 OK [EXPUNGEISSUED] Sort completed\r\n");
	fake_worker_free(&w);
}

/* A message whose subject, often one of few and as often equal to them in more octets than are kept, says its place, with what else is to be compared. */
static void append_numbered(struct cv_session *session, unsigned n)
{
	struct cv_buf message;

	cv_buf_init(&message, SIZE_MAX);
	cv_buf_append_c(&message, "Subject: ");
	for (unsigned i = 0; n % 2 == 0 && i < 10; i++)
		cv_buf_append_c(&message, "forty octets of a subject, and some more\r\n ");
	cv_buf_printf(&message, "%u\r\nFrom: u%u@x\r\n\r\n%.*s\r\n", n * 7 % 11, n % 3, (int)(n % 5), "xxxxx");
	append(session, "INBOX", "", message.data);
	cv_buf_deinit(&message);
}

/* The numbers that a SORT answers; what annotations are sorted by changes, so that with them nothing is kept. */
static struct cv_str sort_by(struct cv_session *session, struct cv_arena *arena, const char *criteria, const char *more, const char *key)
{
	struct cv_str got;

	fake_session_push(session, cv_str_c(cv_arena_printf(arena, "s SORT (%s%s) UTF-8 %s\r\n", criteria, more, key)));
	got = fake_session_output(session);
	assert_true(cv_str_starts(got, CV_STR("* SORT")) && cv_str_find_str(got, CV_STR("s OK Sort completed")) != SIZE_MAX);
	return cv_arena_str(arena, got);
}

/* New messages come to their places in a kept order: as if all were sorted anew. */
static void new_messages_are_sorted_in(void **state)
{
	static const char *const criteria[] = { "SUBJECT", "REVERSE SUBJECT SIZE", "SIZE REVERSE FROM", "REVERSE FROM SUBJECT" };
	static const char *const keys[] = { "ALL", "1:20", "NOT 5:60" };
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);
	unsigned n = 0;

	for (; n < 40; n++)
		append_numbered(a, n);
	EXPECT(a, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	for (unsigned round = 0; round < 12; round++) {
		for (unsigned i = 0; i < round % 5; i++, n++)
			append_numbered(a, n);
		if (round % 4 == 3) {
			EXPECT(a, "x STORE 7,12 +FLAGS.SILENT (\\Deleted)\r\n", "~x OK Store completed\r\n");
			EXPECT(a, "x EXPUNGE\r\n", "~x OK Expunge completed\r\n");
		}
		EXPECT(a, "n NOOP\r\n", "~n OK NOOP completed\r\n");
		for (size_t i = 0; i < CV_COUNT_OF(criteria); i++) {
			const char *key = keys[(round + i) % 4 == 0 ? 1 + round % 2 : 0];
			struct cv_str want = sort_by(a, *state, criteria[i], " ANNOTATION /comment value.priv", key);

			assert_str_eq(sort_by(a, *state, criteria[i], "", key), want);
		}
	}
	fake_worker_free(&w);
}

/* What THREAD found is kept for these very messages: of fewer, others or more it is found anew. */
static void threading_again_is_right_after_any_change(void **state)
{
	static const char *const heads[] = { "Message-ID: <1@x>\r\nSubject: a", "Message-ID: <2@x>\r\nSubject: b",
		"Message-ID: <3@x>\r\nReferences: <1@x>\r\nSubject: c", "Message-ID: <4@x>\r\nReferences: <1@x> <3@x>\r\nSubject: re: b" };
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w), *b = log_in(w);

	for (size_t i = 0; i < CV_COUNT_OF(heads); i++) {
		char message[120];

		(void)snprintf(message, sizeof(message), "%s\r\n\r\nx\r\n", heads[i]);
		append(a, "INBOX", i == 1 ? "(\\Seen) " : "", message);
	}
	EXPECT(a, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	EXPECT(b, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	for (int i = 0; i < 2; i++) {
		EXPECT(a, "t1 THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD (1 3 4)(2)\r\nt1 OK Thread completed\r\n");
		EXPECT(b, "t2 UID THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD (1 3 4)(2)\r\nt2 OK Thread completed\r\n");
		EXPECT(a, "t3 THREAD ORDEREDSUBJECT UTF-8 ALL\r\n", "* THREAD (1)(2 4)(3)\r\nt3 OK Thread completed\r\n");
		EXPECT(b, "t4 THREAD REFS UTF-8 ALL\r\n", "* THREAD (2)(1 3 4)\r\nt4 OK Thread completed\r\n");
		EXPECT(a, "t5 THREAD REFERENCES UTF-8 NOT SEEN\r\n", "* THREAD (1 3 4)\r\nt5 OK Thread completed\r\n");
		EXPECT(a, "t6 THREAD REFERENCES UTF-8 4\r\n", "* THREAD (4)\r\nt6 OK Thread completed\r\n");
		EXPECT(a, "t7 THREAD REFERENCES UTF-8 SUBJECT none\r\n", "* THREAD\r\nt7 OK Thread completed\r\n");
	}
	/* as many as there were, but others */
	EXPECT(a, "t8 THREAD REFERENCES UTF-8 1:3\r\n", "* THREAD (1 3)(2)\r\nt8 OK Thread completed\r\n");
	EXPECT(a, "t9 THREAD REFERENCES UTF-8 2:4\r\n", "* THREAD (2)(3 4)\r\nt9 OK Thread completed\r\n");
	/* one more, and then one less: the other session still has its number */
	append(a, "INBOX", "", "Message-ID: <5@x>\r\nReferences: <2@x>\r\nSubject: e\r\n\r\nx\r\n");
	EXPECT(a, "n NOOP\r\n", "n OK NOOP completed\r\n");
	EXPECT(a, "t10 THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD (1 3 4)(2 5)\r\nt10 OK Thread completed\r\n");
	EXPECT(a, "x STORE 1 +FLAGS.SILENT (\\Deleted)\r\n", "~x OK Store completed\r\n");
	EXPECT(a, "x EXPUNGE\r\n", "* 1 EXPUNGE\r\n~x OK Expunge completed\r\n");
	for (int i = 0; i < 2; i++) {
		EXPECT(a, "t11 THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD (1 4)(2 3)\r\nt11 OK Thread completed\r\n");
		EXPECT(a, "t12 UID THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD (2 5)(3 4)\r\nt12 OK Thread completed\r\n");
	}
	EXPECT(b, "t13 THREAD REFERENCES UTF-8 1:4\r\n", "* THREAD (2)(3 4)\r\n~t13 OK [EXPUNGEISSUED] Thread completed\r\n");
	fake_worker_free(&w);
}

/* RFC 9585 section 4: PROGRESS and GOAL while the command works; "if it contains the "]" character, it MUST be set to NIL". */
static void long_searches_tell_their_progress(void **state)
{
	struct fake_worker *w = worker(state);
	struct imap_settings set = settings;
	struct cv_session *a;
	struct cv_buf message;
	struct cv_str got;
	size_t at;

	set.imap_progress_interval = 1;
	fake_worker_set_conf(w, &imap_settings_table, &set);
	a = fake_session_start(w, CV_STR("\2\1\0\0\0L\0"));
	EXPECT(a, "", "~");
	cv_buf_init(&message, SIZE_MAX);
	cv_buf_append_c(&message, "Subject: long\r\n\r\n");
	for (int i = 0; i < 1500000; i++)
		cv_buf_append_c(&message, "f\xc3\xbcr immer und ewig\r\n");
	append(a, "INBOX", "", message.data);
	append(a, "INBOX", "", "Subject: short\r\n\r\nx\r\n");
	cv_buf_deinit(&message);
	EXPECT(a, "s SELECT INBOX\r\n", "~s OK [READ-WRITE] Select completed\r\n");
	EXPECT(a, "p1 SEARCH BODY nothing\r\n", "* OK [INPROGRESS (\"p1\" 1 2)] Still working on it\r\n~* SEARCH\r\np1 OK Search completed\r\n");
	EXPECT(a, "p]2 SEARCH BODY nothing\r\n", "* OK [INPROGRESS (NIL 1 2)] Still working on it\r\n~* SEARCH\r\np]2 OK Search completed\r\n");
	/* "The notifications MAY be sent for any IMAP command": FETCH between two responses. */
	fake_session_push(a, CV_STR("p3 FETCH 1:2 BODY.PEEK[TEXT]\r\n"));
	got = fake_session_output(a);
	at = cv_str_find_str(got, CV_STR("* OK [INPROGRESS (\"p3\" 1 2)] Still working on it\r\n* 2 FETCH ("));
	assert_true(at != SIZE_MAX && at > 0);
	fake_worker_free(&w);
}

/* A command that waits until the test lets it go on. */
static struct cv_imap_cmd *waiting;

static enum cv_imap_result run_wait(struct cv_imap_cmd *cmd)
{
	waiting = cmd;
	return CV_IMAP_WAIT;
}

static enum cv_imap_result step_wait(struct cv_imap_cmd *cmd)
{
	return cmd->api->ok(cmd, NULL, "NOOP completed");
}

static const struct cv_imap_command wait_command = { .verb = "XWAIT", .opts = CV_IMAP_LOGGED_IN, .run = run_wait, .step = step_wait };

static int load_wait(struct cv_registry *reg, CV_UNUSED enum cv_role role, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_IMAP_COMMAND, wait_command.verb, &wait_command, sizeof(wait_command), err);
}

CV_MODULE(test_wait) = {
	CV_MODULE_ABI,
	.name = "test-wait",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.load = load_wait,
};

/* RFC 9585 section 4: "or simply to prevent the client from timing out"; "If the PROGRESS is not available, both PROGRESS and GOAL MUST be set to NIL." */
static void commands_that_wait_keep_the_connection_alive(void **state)
{
	static const struct cv_module *const modules[] = { &imap_LTX_cv_module, &sdbox_LTX_cv_module, &test_wait_LTX_cv_module, NULL };
	struct fake_worker *w = fake_worker_new(modules, cv_arena_printf(*state, "sdbox:%s/mail", cv_test_dir(state)), true);
	struct imap_settings set = settings;
	struct cv_session *a;

	set.imap_progress_interval = 2;
	fake_worker_set_conf(w, &imap_settings_table, &set);
	a = fake_session_start(w, CV_STR("\2\1\0\0\0L\0"));
	EXPECT(a, "", "~");
	EXPECT(a, "w1 XWAIT\r\n", "");
	for (int i = 0; i < 3; i++) {
		/* The loop's clock and the real one. */
		usleep(3000);
		cv_loop_fake_advance(w->loop, 2);
		fake_worker_run(w);
		EXPECT(a, "", "* OK [INPROGRESS (\"w1\" NIL NIL)] Still working on it\r\n");
	}
	waiting->api->resume(waiting);
	fake_worker_run(w);
	EXPECT(a, "", "w1 OK NOOP completed\r\n");
	/* IDLE waits for the client, and is told of by itself. */
	EXPECT(a, "w2 IDLE\r\n", "+ idling\r\n");
	usleep(3000);
	cv_loop_fake_advance(w->loop, 5);
	fake_worker_run(w);
	EXPECT(a, "DONE\r\n", "w2 OK Idle completed\r\n");
	fake_worker_free(&w);
}

/* RFC 5530: CLIENTBUG. */
static void status_of_the_selected_mailbox_is_a_clients_bug(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 1);

	EXPECT(a, "c1 CREATE other\r\n", "~");
	EXPECT(a, "c2 STATUS INBOX (MESSAGES)\r\n", "* STATUS INBOX (MESSAGES 1)\r\nc2 OK [CLIENTBUG] Status completed\r\n");
	EXPECT(a, "c3 STATUS other (MESSAGES)\r\n", "* STATUS other (MESSAGES 0)\r\nc3 OK Status completed\r\n");
	EXPECT(a, "c4 UNSELECT\r\nc5 STATUS INBOX (MESSAGES)\r\n", "c4 OK Unselect completed\r\n* STATUS INBOX (MESSAGES 1)\r\nc5 OK Status completed\r\n");
	fake_worker_free(&w);
}

static void deep_search_programs_are_refused(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = with_messages(w, 1);
	struct cv_buf command;

	cv_buf_init(&command, 100000);
	cv_buf_append_c(&command, "x SEARCH");
	for (int i = 0; i < 99; i++)
		cv_buf_append_c(&command, " NOT");
	cv_buf_append_c(&command, " ALL\r\n");
	expect_at(a, cv_buf_str(&command), "* SEARCH\r\nx OK Search completed\r\n", __FILE__, __LINE__);
	cv_buf_clear(&command);
	cv_buf_append_c(&command, "x SEARCH");
	for (int i = 0; i < 15000; i++)
		cv_buf_append_c(&command, " NOT");
	cv_buf_append_c(&command, " ALL\r\n");
	expect_at(a, cv_buf_str(&command), "x NO [LIMIT] Search keys are nested too deeply\r\n", __FILE__, __LINE__);
	cv_buf_deinit(&command);
	fake_worker_free(&w);
}

/* ---- NOTIFY ------------------------------------------------------------------------------------------- */

#define LONG_NAME                                                                                             \
	"a-name-that-is-so-long-that-the-client's-buffer-is-full-soon-with-responses-about-it-because-each-of-them-has-it-twice-and-" \
	"nobody-reads-them-as-they-come"

/* Notes of a client that does not read are one for each mailbox, renames one each; then it is too much. */
static void notifications_end_when_too_many_wait(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w), *b = log_in(w);

	EXPECT(b, "b1 CREATE " LONG_NAME "\r\nb2 CREATE box\r\n", "~b2 OK ~");
	EXPECT(a, "a1 NOTIFY SET (personal (MailboxName MessageNew MessageExpunge))\r\n", "a1 OK Notify completed\r\n");
	append(b, "box", "", MESSAGE("1"));
	for (int i = 0; i < 1400; i++) {
		if (i % 100 == 99) /* one STATUS response, however often it changes */
			append(b, "box", "", MESSAGE("1"));
		fake_session_push(b, CV_STR("r RENAME " LONG_NAME " " LONG_NAME "-2\r\nr RENAME " LONG_NAME "-2 " LONG_NAME "\r\n"));
		assert_str(fake_session_output(b), "r OK Rename completed\r\nr OK Rename completed\r\n");
	}
	EXPECT(a, "", "* STATUS box (~* OK [NOTIFICATIONOVERFLOW] Too many changes: notifications end\r\n");
	EXPECT(b, "b3 CREATE more\r\n", "~b3 OK ~");
	EXPECT(a, "a2 NOOP\r\n", "a2 OK NOOP completed\r\n");
	fake_worker_free(&w);
}

/* RFC 5464 section 4.3: values up to the limit go in and out, also beside others; what is larger is refused without being kept. */
static void large_values_of_annotations(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = log_in(w);
	struct cv_buf value, command, want, got;

	cv_buf_init(&value, SIZE_MAX);
	cv_buf_init(&command, SIZE_MAX);
	cv_buf_init(&want, SIZE_MAX);
	cv_buf_init(&got, SIZE_MAX);
	for (unsigned i = 0; i < 65536; i++)
		cv_buf_append_char(&value, (char)('a' + i % 26));
	for (unsigned i = 0; i < 5; i++) {
		cv_buf_clear(&command);
		cv_buf_printf(&command, "a1 SETMETADATA INBOX (/private/n%u {65536+}\r\n", i);
		cv_buf_append(&command, cv_buf_str(&value));
		cv_buf_append_c(&command, ")\r\n");
		fake_session_push(a, cv_buf_str(&command));
		assert_str(fake_session_output(a), "a1 OK Setmetadata completed\r\n");
		cv_buf_printf(&want, "%s/private/n%u {65536}\r\n", i == 0 ? "* METADATA INBOX (" : " ", i);
		cv_buf_append(&want, cv_buf_str(&value));
	}
	cv_buf_append_c(&want, ")\r\na2 OK Getmetadata completed\r\n");
	/* More than the output takes at once. */
	fake_session_push(a, CV_STR("a2 GETMETADATA (DEPTH 1) INBOX /private\r\n"));
	for (unsigned i = 0; i < 100 && got.len < want.len; i++)
		cv_buf_append(&got, fake_session_output(a));
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.data, want.data, want.len);
	/* One octet more, and one that is not waited for. */
	cv_buf_clear(&command);
	cv_buf_append_c(&command, "a3 SETMETADATA INBOX (/private/n1 {65537+}\r\n");
	cv_buf_append(&command, cv_buf_str(&value));
	cv_buf_append_c(&command, "x)\r\na4 SETMETADATA INBOX (/private/n1 {65537}\r\n");
	fake_session_push(a, cv_buf_str(&command));
	assert_str(fake_session_output(a), "a3 NO [METADATA MAXSIZE 65536] Value is too large\r\na4 NO [METADATA MAXSIZE 65536] Value is too large\r\n");
	/* Two that are good by themselves are more than a command may hold. */
	cv_buf_clear(&command);
	for (unsigned i = 0; i < 3; i++) {
		cv_buf_append_c(&command, i == 0 ? "a5 SETMETADATA INBOX (/private/n0 {65536+}\r\n" : " /private/n1 {65536+}\r\n");
		cv_buf_append(&command, cv_buf_str(&value));
	}
	cv_buf_append_c(&command, ")\r\n");
	fake_session_push(a, cv_buf_str(&command));
	assert_str(fake_session_output(a), "a5 BAD Literal is too long\r\n");
	EXPECT(a, "a6 NOOP\r\n", "a6 OK NOOP completed\r\n");
	cv_buf_deinit(&value);
	cv_buf_deinit(&command);
	cv_buf_deinit(&want);
	cv_buf_deinit(&got);
	fake_worker_free(&w);
}

/* ---- Settings ----------------------------------------------------------------------------------------- */

static void settings_are_followed(void **state)
{
	static const char *const words[] = { "delay-newmail", "tb-extra-mailbox-sep", "tb-lsub-flags", NULL };
	struct fake_worker *w = worker(state);
	struct imap_settings set = settings;
	struct cv_session *a, *b = log_in(w);
	struct cv_str resume = CV_STR("\2\1\0\0\0L\0");

	set.imap_client_workarounds = words;
	set.imap_capability = "+XFOO -MOVE";
	fake_worker_set_conf(w, &imap_settings_table, &set);
	a = fake_session_start(w, resume);
	EXPECT(a, "",
		"L OK [CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS UNSELECT LITERAL+ COMPRESS=DEFLATE UNAUTHENTICATE UTF8=ACCEPT SPECIAL-USE" CAPABILITIES_MORE " XFOO] "
		"Logged in\r\n");
	EXPECT(a, "a1 ID NIL\r\n", "* ID (\"name\" \"Post\" \"version\" \"~\" \"os\" \"Linux\")\r\na1 OK ID completed\r\n");
	EXPECT(a, "a2 SELECT INBOX\r\n", "~a2 OK [READ-WRITE] Select completed\r\n");
	append(b, "INBOX", "", MESSAGE("1"));
	EXPECT(a, "a3 UID FETCH 1:* UID\r\n", "a3 OK Fetch completed\r\n");
	EXPECT(a, "a4 NOOP\r\n", "* 1 EXISTS\r\n* ? RECENT\r\na4 OK NOOP completed\r\n");
	EXPECT(a, "a5 SUBSCRIBE gone/\r\na6 LSUB \"\" gone\r\n", "a5 OK Subscribe completed\r\n* LSUB (\\Noselect) \"/\" gone\r\na6 OK Lsub completed\r\n");
	set.imap_capability = "IMAP4rev1 ONLY";
	EXPECT(a, "a7 CAPABILITY\r\n", "* CAPABILITY IMAP4rev1 ONLY\r\na7 OK Capability completed\r\n");
	EXPECT(a, "a8 LOGOUT\r\n", "* BYE Logging out\r\na8 OK Logout completed\r\n");
	assert_true(cv_str_starts(a->close_reason, CV_STR("Logged out out=")));
	fake_worker_free(&w);
}

static void a_session_without_a_tag_is_refused(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *a = fake_session_start(w, CV_STR("\1\0\0\0\0"));

	assert_null(a->state);
	a = fake_session_start(w, CV_STR("\1\3\0\0\0a\r\n"));
	assert_null(a->state);
	fake_worker_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(selects_and_closes),
		cv_test(invalid_commands_are_bad_and_many_end_the_session),
		cv_test(commands_may_be_pipelined_and_cut_anywhere),
		cv_test(a_client_may_vanish_at_any_octet),
		cv_test(eof_still_lets_commands_finish),
		cv_test(goodbye_and_timeout_say_bye),
		cv_test(appends_and_fetches),
		cv_test(append_refuses_before_the_literal_where_it_can),
		cv_test(fetch_of_a_body_sets_seen_and_tells_it),
		cv_test(fetch_parses_sections_exactly),
		cv_test(what_was_told_of_a_message_is_told_again),
		cv_test(batches_go_out_while_there_is_room),
		cv_test(a_large_message_goes_out_while_there_is_room),
		cv_test(store_answers_with_the_new_flags),
		cv_test(expunge_renumbers),
		cv_test(copies_and_moves),
		cv_test(condstore),
		cv_test(modified_lists_what_others_changed),
		cv_test(numbers_stay_until_an_expunge_may_be_told),
		cv_test(bodies_of_expunged_messages_are_sent_or_refused),
		cv_test(new_messages_are_told_to_every_session),
		cv_test(idle_tells_changes_as_they_happen),
		cv_test(a_deleted_mailbox_ends_other_sessions),
		cv_test(lists_mailboxes),
		cv_test(subscribes),
		cv_test(renames_and_deletes),
		cv_test(status_checks_its_items),
		cv_test(searches),
		cv_test(deep_search_programs_are_refused),
		cv_test(sorting_again_is_right_after_any_change),
		cv_test(new_messages_are_sorted_in),
		cv_test(threading_again_is_right_after_any_change),
		cv_test(long_searches_tell_their_progress),
		cv_test(commands_that_wait_keep_the_connection_alive),
		cv_test(status_of_the_selected_mailbox_is_a_clients_bug),
		cv_test(long_subjects_are_sorted_to_their_end),
		cv_test(notifications_end_when_too_many_wait),
		cv_test(large_values_of_annotations),
		cv_test(settings_are_followed),
		cv_test(a_session_without_a_tag_is_refused),
		cv_test(a_thread_that_cannot_be_told_is_nil),
	};

	return cv_test_run(tests);
}
