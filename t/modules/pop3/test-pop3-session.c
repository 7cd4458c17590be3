/* SPDX-License-Identifier: MIT
   POP3 sessions over streams of memory and a real store in a directory: dialogues, and what is left of them in the mailbox. */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"
#include "t/lib/fake-session.h"
#include "t/lib/test.h"

#include <culver/file.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const struct cv_module pop3_LTX_cv_module, sdbox_LTX_cv_module;

static const char *const no_words[] = { NULL };

static const struct cv_pop3_settings defaults = {
	.pop3_uidl_format = "%08Xu.%v",
	.pop3_client_workarounds = no_words,
	.pop3_logout_format = "top=%t/%p, retr=%r/%b, del=%d/%m, size=%s",
};

static struct fake_worker *worker_with(void **state, const struct cv_pop3_settings *set)
{
	static const struct cv_module *const modules[] = { &pop3_LTX_cv_module, &sdbox_LTX_cv_module, NULL };
	struct fake_worker *w = fake_worker_new(modules, cv_arena_printf(*state, "sdbox:%s/mail", cv_test_dir(state)), true);

	fake_worker_set_conf(w, &cv_pop3_settings_table, set);
	return w;
}

static struct fake_worker *worker(void **state)
{
	return worker_with(state, &defaults);
}

static uint32_t save(struct fake_worker *w, struct cv_str octets, uint16_t flags, struct cv_str uidl)
{
	const struct cv_save_config config = { .flags = flags, .pop3_uidl = uidl };
	struct cv_txn *txn = cv_txn_begin(w->user);
	struct cv_mailbox *inbox;
	struct cv_save *s;
	struct cv_err err = { 0 };
	uint32_t uid;

	if (cv_mailbox_get(w->user, CV_STR("INBOX"), &inbox, &err) < 0 || cv_save_begin(txn, inbox, &config, &s, &err) < 0 ||
		cv_save_write(s, octets, &err) < 0 || cv_save_finish(s, &err) < 0)
		fail_msg("%s", err.text);
	uid = cv_save_uid(s);
	if (cv_txn_commit_wait(&txn, &err) < 0)
		fail_msg("%s", err.text);
	cv_mailbox_unref(&inbox);
	return uid;
}
#define SAVE(w, octets) save((w), CV_STR(octets), 0, (struct cv_str){ NULL, 0 })

/* "1:S 2: 4:SD": UIDs and flags (S seen, D deleted) that INBOX has now; keywords behind. */
static const char *contents(void **state, struct fake_worker *w)
{
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_err err = { 0 };
	struct cv_buf text;
	const char *copy;

	if (cv_mailbox_get(w->user, CV_STR("INBOX"), &inbox, &err) < 0 || cv_view_open(inbox, CV_VIEW_READONLY, &view, &err) < 0)
		fail_msg("%s", err.text);
	cv_buf_init(&text, 10000);
	for (uint32_t seq = 1; seq <= cv_view_count(view); seq++) {
		const struct cv_str *keywords;
		struct cv_row row;
		size_t count;

		assert_true(cv_view_row(view, seq, &row));
		cv_buf_printf(&text, "%s%u:%s%s", seq > 1 ? " " : "", row.uid, row.flags & CV_FLAG_SEEN ? "S" : "",
			row.flags & CV_FLAG_DELETED ? "D" : "");
		keywords = cv_row_keywords(inbox, row.keyword_set, &count);
		for (size_t i = 0; i < count; i++)
			cv_buf_append(&text, keywords[i]);
	}
	copy = cv_arena_str(*state, cv_buf_str(&text)).ptr;
	cv_buf_deinit(&text);
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	return copy;
}

static struct cv_session *start_with(struct fake_worker *w, const struct cv_pop3_resume *resume)
{
	struct cv_session *session;
	struct cv_buf data;

	cv_buf_init(&data, 1000);
	cv_pop3_resume_put(resume, &data);
	session = fake_session_start(w, cv_buf_str(&data));
	cv_buf_deinit(&data);
	return session;
}

static struct cv_session *start_session(struct fake_worker *w)
{
	const struct cv_pop3_resume resume = { .lines = { CV_STR("USER"), CV_STR("SASL PLAIN") }, .count = 2 };

	return start_with(w, &resume);
}

static struct cv_session *log_in(struct fake_worker *w)
{
	struct cv_session *session = start_session(w);

	assert_non_null(session->state);
	assert_str(fake_session_output(session), "+OK Logged in.\r\n");
	assert_true(session->timeout_ms >= 10 * 60 * 1000);
	return session;
}

static void expect(struct cv_session *session, struct cv_str octets, struct cv_str want, bool split)
{
	if (split)
		fake_session_push_split(session, octets);
	else
		fake_session_push(session, octets);
	assert_str_eq(fake_session_output(session), want);
}
#define EXPECT(session, octets, want) expect((session), CV_STR(octets), CV_STR(want), false)

#define ONE "Subject: one\n\n.dot\nlast\n"       /* 28 octets as sent */
#define TWO "Subject: two\r\n\r\ntwo\r\n"        /* 21 */
#define THREE "Subject: three\n\nno end of line" /* 32 */

static struct fake_worker *worker_with_three(void **state, const struct cv_pop3_settings *set)
{
	struct fake_worker *w = worker_with(state, set);

	SAVE(w, ONE);
	SAVE(w, TWO);
	SAVE(w, THREE);
	return w;
}

static void numbers_and_sizes_are_listed(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);

	for (int split = 0; split < 2; split++) {
		expect(s, CV_STR("STAT\r\n"), CV_STR("+OK 3 81\r\n"), split != 0);
		expect(s, CV_STR("LIST\r\n"), CV_STR("+OK 3 messages (81 octets)\r\n1 28\r\n2 21\r\n3 32\r\n.\r\n"), split != 0);
		expect(s, CV_STR("list 3\r\n"), CV_STR("+OK 3 32\r\n"), split != 0);
	}
	EXPECT(s, "LIST 4\r\nLIST 0\r\nLIST x\r\nLIST -1\r\nLIST 99999999999\r\n",
		"-ERR There is no message 4.\r\n-ERR There is no message 0.\r\n-ERR Invalid message number.\r\n"
		"-ERR Invalid message number.\r\n-ERR Invalid message number.\r\n");
	fake_worker_free(&w);
}

static void an_empty_maildrop_is_listed(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *s = log_in(w);

	EXPECT(s, "STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nQUIT\r\n",
		"+OK 0 0\r\n+OK 0 messages (0 octets)\r\n.\r\n+OK Unique-ids follow.\r\n.\r\n-ERR There is no message 1.\r\n+OK Logging out.\r\n");
	assert_true(s->closed);
	assert_str(s->close_reason, "Logged out top=0/0, retr=0/0, del=0/0, size=0");
	fake_worker_free(&w);
}

static void messages_are_retrieved(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);

	EXPECT(s, "RETR 1\r\n", "+OK 28 octets\r\nSubject: one\r\n\r\n..dot\r\nlast\r\n.\r\n");
	EXPECT(s, "RETR 2\r\n", "+OK 21 octets\r\nSubject: two\r\n\r\ntwo\r\n.\r\n");
	EXPECT(s, "RETR 3\r\n", "+OK 32 octets\r\nSubject: three\r\n\r\nno end of line\r\n.\r\n");
	EXPECT(s, "TOP 1 1\r\n", "+OK Top of message follows.\r\nSubject: one\r\n\r\n..dot\r\n.\r\n");
	EXPECT(s, "TOP 1 0\r\n", "+OK Top of message follows.\r\nSubject: one\r\n\r\n.\r\n");
	EXPECT(s, "TOP 1\r\nTOP\r\nTOP 1 x\r\nTOP 9 1\r\nRETR\r\n",
		"-ERR Syntax: TOP message lines\r\n-ERR This command needs an argument.\r\n-ERR Syntax: TOP message lines\r\n"
		"-ERR There is no message 9.\r\n-ERR This command needs an argument.\r\n");
	EXPECT(s, "QUIT\r\n", "+OK Logging out.\r\n");
	assert_str(s->close_reason, "Logged out top=2/45, retr=3/93, del=0/3, size=81");
	fake_worker_free(&w);
}

static void pipelined_commands_are_answered_in_order(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);

	EXPECT(s, "RETR 1\r\nDELE 1\r\nNOOP\r\nSTAT\r\nRETR 2\r\nFOO\r\nQUIT\r\nSTAT\r\n",
		"+OK 28 octets\r\nSubject: one\r\n\r\n..dot\r\nlast\r\n.\r\n+OK Marked to be deleted.\r\n+OK\r\n+OK 2 53\r\n"
		"+OK 21 octets\r\nSubject: two\r\n\r\ntwo\r\n.\r\n-ERR Unknown command.\r\n+OK Logging out, messages deleted.\r\n");
	assert_string_equal(contents(state, w), "2:S 3:");
	fake_worker_free(&w);
}

/* RFC 1939 sections 5 and 6 */
static void deletions_happen_at_quit(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);

	EXPECT(s, "DELE 2\r\nDELE 2\r\nRETR 2\r\nLIST 2\r\nUIDL 2\r\nTOP 2 0\r\nSTAT\r\nLIST\r\n",
		"+OK Marked to be deleted.\r\n-ERR Message 2 is deleted.\r\n-ERR Message 2 is deleted.\r\n-ERR Message 2 is deleted.\r\n"
		"-ERR Message 2 is deleted.\r\n-ERR Message 2 is deleted.\r\n+OK 2 60\r\n+OK 2 messages (60 octets)\r\n1 28\r\n3 32\r\n.\r\n");
	EXPECT(s, "RSET\r\nSTAT\r\n", "+OK 3 messages (81 octets)\r\n+OK 3 81\r\n");
	EXPECT(s, "DELE 1\r\nDELE 3\r\n", "+OK Marked to be deleted.\r\n+OK Marked to be deleted.\r\n");
	assert_string_equal(contents(state, w), "1: 2: 3:");
	EXPECT(s, "QUIT\r\n", "+OK Logging out, messages deleted.\r\n");
	assert_str(s->close_reason, "Logged out top=0/0, retr=0/0, del=2/3, size=81");
	assert_string_equal(contents(state, w), "2:");
	fake_worker_reopen(w);
	assert_string_equal(contents(state, w), "2:");
	fake_worker_free(&w);
}

/* RFC 1939 section 6: without QUIT "the POP3 session does NOT enter the UPDATE state and MUST not remove any messages". */
static void a_dropped_connection_deletes_nothing(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);

	EXPECT(s, "RETR 1\r\nDELE 1\r\nDELE 2\r\nQUI",
		"+OK 28 octets\r\nSubject: one\r\n\r\n..dot\r\nlast\r\n.\r\n+OK Marked to be deleted.\r\n+OK Marked to be deleted.\r\n");
	fake_session_eof(s);
	assert_true(s->closed);
	assert_str(s->close_reason, "Disconnected: connection closed without QUIT top=0/0, retr=1/32, del=0/3, size=81");
	fake_session_end(&s);
	fake_worker_run(w);
	/* What was read stays read. */
	assert_string_equal(contents(state, w), "1:S 2: 3:");
	fake_worker_free(&w);
}

static void timeouts_and_goodbyes_delete_nothing(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);

	EXPECT(s, "DELE 1\r\n", "+OK Marked to be deleted.\r\n");
	w->protocol->timeout(s->state);
	assert_str(fake_session_output(s), "");
	assert_true(s->closed);
	fake_session_end(&s);
	s = log_in(w);
	EXPECT(s, "DELE 1\r\n", "+OK Marked to be deleted.\r\n");
	w->protocol->goodbye(s->state, "shutdown");
	assert_str(fake_session_output(s), "-ERR [SYS/TEMP] Disconnected: shutdown.\r\n");
	fake_session_end(&s);
	assert_string_equal(contents(state, w), "1: 2: 3:");
	fake_worker_free(&w);
}

static void sessions_keep_their_numbers(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *a = log_in(w), *b = log_in(w);

	EXPECT(a, "DELE 1\r\nQUIT\r\n", "+OK Marked to be deleted.\r\n+OK Logging out, messages deleted.\r\n");
	SAVE(w, ONE);
	EXPECT(b, "STAT\r\nLIST 1\r\n", "+OK 3 81\r\n+OK 1 28\r\n");
	EXPECT(b, "RETR 3\r\n", "+OK 32 octets\r\nSubject: three\r\n\r\nno end of line\r\n.\r\n");
	/* Both delete the same one: that is no error. */
	EXPECT(b, "DELE 1\r\nDELE 2\r\nQUIT\r\n",
		"+OK Marked to be deleted.\r\n+OK Marked to be deleted.\r\n+OK Logging out, messages deleted.\r\n");
	assert_string_equal(contents(state, w), "3:S 4:");
	fake_worker_free(&w);
}

static int count_opens(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *opens = ctx;

	(void)len;
	*opens += op == CV_FILE_OPEN && name != NULL && strcmp(name, "u.2") == 0;
	return 0;
}

/* What RETR will ask for next is read while the client has nothing to say. */
static void the_next_message_is_read_ahead(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);
	unsigned opens = 0;

	EXPECT(s, "TOP 1 0\r\n", "+OK Top of message follows.\r\nSubject: one\r\n\r\n.\r\n"); /* all files are made for it */
	cv_file_set_fault(count_opens, &opens);
	EXPECT(s, "RETR 1\r\nNOOP\r\n", "+OK 28 octets\r\nSubject: one\r\n\r\n..dot\r\nlast\r\n.\r\n+OK\r\n");
	assert_int_equal(opens, 0); /* the client was ahead itself */
	EXPECT(s, "RETR 1\r\n", "+OK 28 octets\r\nSubject: one\r\n\r\n..dot\r\nlast\r\n.\r\n");
	assert_int_equal(opens, 1);
	EXPECT(s, "NOOP\r\nRETR 2\r\n", "+OK\r\n+OK 21 octets\r\nSubject: two\r\n\r\ntwo\r\n.\r\n");
	assert_int_equal(opens, 1);
	cv_file_set_fault(NULL, NULL);
	fake_worker_free(&w);
}

/* In any order, and with nothing behind it, or nothing that will be asked for. */
static void what_was_read_ahead_may_not_be_asked_for(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);

	for (unsigned i = 0; i < 2; i++) {
		EXPECT(s, "RETR 1\r\n", "+OK 28 octets\r\nSubject: one\r\n\r\n..dot\r\nlast\r\n.\r\n");
		EXPECT(s, "RETR 3\r\n", "+OK 32 octets\r\nSubject: three\r\n\r\nno end of line\r\n.\r\n");
		EXPECT(s, "DELE 3\r\nRETR 2\r\n", "+OK Marked to be deleted.\r\n+OK 21 octets\r\nSubject: two\r\n\r\ntwo\r\n.\r\n");
		EXPECT(s, "RSET\r\n", "+OK 3 messages (81 octets)\r\n");
	}
	EXPECT(s, "RETR 1\r\n", "+OK 28 octets\r\nSubject: one\r\n\r\n..dot\r\nlast\r\n.\r\n");
	EXPECT(s, "DELE 2\r\nRETR 2\r\n", "+OK Marked to be deleted.\r\n-ERR Message 2 is deleted.\r\n");
	EXPECT(s, "QUIT\r\n", "+OK Logging out, messages deleted.\r\n");
	assert_string_equal(contents(state, w), "1:S 3:S");
	fake_worker_free(&w);
}

static void uidls_are_listed(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);
	struct cv_str out, line;
	struct cv_reader r;

	fake_session_push(s, CV_STR("DELE 2\r\nUIDL\r\nUIDL 3\r\n"));
	out = fake_session_output(s);
	r = cv_reader_init(out);
	assert_true(cv_take_lit(&r, CV_STR("+OK Marked to be deleted.\r\n+OK Unique-ids follow.\r\n1 00000001.")));
	assert_true(cv_take_line(&r, &line) && cv_take_lit(&r, CV_STR("3 00000003.")));
	assert_true(cv_take_line(&r, &line) && cv_take_lit(&r, CV_STR(".\r\n+OK 3 00000003.")));
	assert_true(cv_take_line(&r, &line) && cv_reader_end(&r));
	fake_worker_free(&w);
}

static void old_uidls_are_kept(void **state)
{
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w;
	struct cv_session *s;

	set.pop3_uidl_format = "new-%u";
	set.pop3_reuse_xuidl = true;
	w = worker_with(state, &set);
	save(w, CV_STR("Subject: a\n\nx\n"), 0, CV_STR("old-1"));
	SAVE(w, "X-UIDL: from-header \nSubject: b\n\nx\n");
	SAVE(w, "X-UIDL: with space\nSubject: c\n\nx\n");
	SAVE(w, "Subject: d\n\nX-UIDL: body\n");
	s = log_in(w);
	EXPECT(s, "UIDL\r\n", "+OK Unique-ids follow.\r\n1 old-1\r\n2 from-header\r\n3 new-3\r\n4 new-4\r\n.\r\n");
	fake_session_end(&s);
	fake_worker_reopen(w);
	s = log_in(w);
	EXPECT(s, "UIDL 1\r\n", "+OK 1 old-1\r\n");
	fake_worker_free(&w);
}

static void duplicate_uidls_are_renamed_when_asked(void **state)
{
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w;
	struct cv_session *s;

	set.pop3_uidl_format = "same";
	set.pop3_uidl_duplicates = CV_POP3_UIDL_RENAME;
	w = worker_with_three(state, &set);
	save(w, CV_STR("Subject: a\n\nx\n"), 0, CV_STR("same-2"));
	s = log_in(w);
	EXPECT(s, "UIDL 3\r\nUIDL\r\n",
		"+OK 3 same-3\r\n+OK Unique-ids follow.\r\n1 same\r\n2 same-2\r\n3 same-3\r\n4 same-2-2\r\n.\r\n");
	fake_session_end(&s);
	s = log_in(w);
	EXPECT(s, "DELE 1\r\nUIDL\r\n",
		"+OK Marked to be deleted.\r\n+OK Unique-ids follow.\r\n2 same-2\r\n3 same-3\r\n4 same-2-2\r\n.\r\n");
	fake_worker_free(&w);
}

static void invalid_uidls_become_guids(void **state)
{
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w;
	struct cv_session *s;
	struct cv_str out;

	set.pop3_uidl_format = "%u %v"; /* refused at start; whatever happens, no invalid one is sent */
	w = worker_with_three(state, &set);
	s = log_in(w);
	fake_session_push(s, CV_STR("UIDL 1\r\n"));
	out = fake_session_output(s);
	assert_int_equal(out.len, strlen("+OK 1 \r\n") + 32);
	fake_worker_free(&w);
}

static void seen_is_left_alone_when_asked(void **state)
{
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w;
	struct cv_session *s;

	set.pop3_no_flag_updates = true;
	w = worker_with_three(state, &set);
	s = log_in(w);
	fake_session_push(s, CV_STR("RETR 1\r\nQUIT\r\n"));
	fake_session_output(s);
	assert_true(s->closed);
	fake_session_end(&s);
	assert_string_equal(contents(state, w), "1: 2: 3:");
	fake_worker_free(&w);
}

static void top_does_not_mark_as_seen(void **state)
{
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);

	fake_session_push(s, CV_STR("TOP 1 100\r\nQUIT\r\n"));
	fake_session_output(s);
	assert_string_equal(contents(state, w), "1: 2: 3:");
	fake_worker_free(&w);
}

static void one_session_at_a_time_when_asked(void **state)
{
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w;
	struct cv_session *a, *b;

	set.pop3_lock_session = true;
	w = worker_with_three(state, &set);
	a = log_in(w);
	b = start_session(w);
	assert_null(b->state);
	assert_str(cv_buf_str(cv_stream_out(b->stream)), "-ERR [IN-USE] The maildrop is open in another POP3 session\r\n");
	fake_session_end(&b);
	fake_session_end(&a);
	a = log_in(w);
	fake_worker_free(&w);
}

static void last_is_offered_when_asked(void **state)
{
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = log_in(w);

	EXPECT(s, "LAST\r\n", "-ERR Unknown command.\r\n");
	fake_worker_free(&w);
	set.pop3_enable_last = true;
	w = worker_with(state, &set);
	save(w, CV_STR(ONE), CV_FLAG_SEEN, (struct cv_str){ NULL, 0 });
	SAVE(w, "\n");
	SAVE(w, "\n");
	s = log_in(w);
	EXPECT(s, "LAST\r\nRETR 3\r\nLAST\r\nRETR 2\r\nLAST\r\n",
		"+OK 1\r\n+OK 2 octets\r\n\r\n.\r\n+OK 3\r\n+OK 2 octets\r\n\r\n.\r\n+OK 3\r\n");
	/* RFC 1460: "RSET ... the highest message number accessed is reset to the value it had at the start". */
	EXPECT(s, "RSET\r\nLAST\r\nQUIT\r\n", "+OK 3 messages (32 octets)\r\n+OK 1\r\n+OK Logging out.\r\n");
	assert_string_equal(contents(state, w), "1:S 2: 3:");
	fake_worker_free(&w);
}

static void deletions_may_be_flags(void **state)
{
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w;
	struct cv_session *s;

	set.pop3_deleted_flag = "$POP3Deleted";
	w = worker_with_three(state, &set);
	s = log_in(w);
	fake_session_push(s, CV_STR("RETR 2\r\nDELE 1\r\nQUIT\r\n"));
	fake_session_output(s);
	assert_string_equal(contents(state, w), "1:$POP3Deleted 2:S 3:");
	s = log_in(w);
	/* It is there for others; here it is not. */
	EXPECT(s, "LIST\r\n", "+OK 2 messages (53 octets)\r\n1 21\r\n2 32\r\n.\r\n");
	EXPECT(s, "RETR 1\r\n", "+OK 21 octets\r\nSubject: two\r\n\r\ntwo\r\n.\r\n");
	fake_worker_free(&w);
	set.pop3_deleted_flag = "\\Deleted";
	set.pop3_delete_type = CV_POP3_DELETE_EXPUNGE;
	w = worker_with(state, &set);
	save(w, CV_STR(ONE), CV_FLAG_DELETED, (struct cv_str){ NULL, 0 });
	SAVE(w, TWO);
	SAVE(w, TWO);
	s = log_in(w);
	EXPECT(s, "STAT\r\nDELE 1\r\nQUIT\r\n", "+OK 2 42\r\n+OK Marked to be deleted.\r\n+OK Logging out, messages deleted.\r\n");
	assert_string_equal(contents(state, w), "1:D 3:");
	fake_worker_free(&w);
}

static void workarounds_are_applied(void **state)
{
	static const char *const words[] = { "outlook-no-nuls", "oe-ns-eoh", NULL };
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w;
	struct cv_session *s;

	set.pop3_client_workarounds = words;
	w = worker_with(state, &set);
	SAVE(w, "Subject: a\0b\n");
	s = log_in(w);
	EXPECT(s, "RETR 1\r\n", "+OK 14 octets\r\nSubject: a\x80" "b\r\n\r\n.\r\n");
	fake_worker_free(&w);
}

static void capabilities_are_those_of_before_login(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *s = log_in(w);

	/* But STLS (RFC 2595 section 4: AUTHORIZATION state only). */
	EXPECT(s, "CAPA\r\n",
		"+OK Capability list follows.\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUTF8\r\nLANG\r\nUSER\r\nSASL PLAIN\r\n.\r\n");
	EXPECT(s, "STLS\r\nUSER x\r\n", "-ERR Unknown command.\r\n-ERR Unknown command.\r\n");
	fake_worker_free(&w);
}

static void lines_and_bad_commands_are_bounded(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *s = log_in(w);
	char junk[2000];

	memset(junk, 'j', sizeof(junk));
	for (int i = 0; i < 100; i++)
		fake_session_push(s, cv_str_mem(junk, sizeof(junk)));
	EXPECT(s, "\r\nNOOP\r\nNO\0OP\r\n", "-ERR Line too long or with a NUL.\r\n+OK\r\n-ERR Line too long or with a NUL.\r\n");
	for (int i = 0; i < CV_POP3_BAD_MAX - 2; i++)
		EXPECT(s, "FOO\r\n", "-ERR Unknown command.\r\n");
	EXPECT(s, "FOO\r\nNOOP\r\n", "-ERR Too many invalid commands.\r\n");
	assert_true(s->closed);
	fake_worker_free(&w);
}

static void a_start_that_does_not_check_is_refused(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_session *s = fake_session_start(w, CV_STR("garbage"));

	assert_null(s->state);
	assert_str(cv_buf_str(cv_stream_out(s->stream)), "-ERR [SYS/PERM] Internal error, please tell the administrator\r\n");
	fake_worker_free(&w);
}

/* A client that does not read stops its session, and the output stays small. */
static void a_large_message_waits_for_the_client(void **state)
{
	struct fake_worker *w = worker(state);
	struct cv_buf message;
	struct cv_session *s;
	struct cv_str got;

	cv_buf_init(&message, 4 << 20);
	cv_buf_append_c(&message, "Subject: large\n\n");
	while (message.len < 2 << 20)
		cv_buf_append_c(&message, ".a line of text that is long enough to make this test end soon\n");
	save(w, cv_buf_str(&message), 0, (struct cv_str){ NULL, 0 });
	s = log_in(w);
	fake_session_push(s, CV_STR("RETR 1\r\nSTAT\r\n"));
	assert_true(cv_stream_out(s->stream)->len <= w->protocol->max_output + 65536);
	fake_worker_run(w);
	assert_true(cv_stream_out(s->stream)->len <= w->protocol->max_output + 65536);
	got = fake_session_output(s);
	assert_true(got.len > message.len);
	assert_true(cv_str_starts(got, CV_STR("+OK ")) && cv_str_find_str(got, CV_STR("\r\n.\r\n+OK 1 ")) != SIZE_MAX);
	cv_buf_deinit(&message);
	fake_worker_free(&w);
}

/* RFC 6856 section 2.1: "When UTF-8 mode has not been enabled, character strings outside the ASCII repertoire MUST NOT be sent to the client as is."; the
   size in LIST "SHOULD match the actual number of octets sent in a RETR response". */
#define RAW_PART "From: J\xc3\xb6rg <a@b.example>\r\nSubject: gr\xc3\xbc\xc3\x9f\r\nMessage-ID: <\xc3\xbc@b>\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" \
	"--x\r\nContent-Disposition: attachment; filename=\"\xc3\xa4.txt\"\r\n\r\n\xc3\xa4\r\n--x--\r\n"
#define AS_SURROGATE "From: =?UTF-8?B?SsO2cmc=?= <a@b.example>\r\nSubject: =?UTF-8?B?Z3LDvMOf?=\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" \
	"--x\r\nContent-Disposition: attachment; filename*=utf-8''%C3%A4.txt\r\n\r\n\xc3\xa4\r\n--x--\r\n"

static void clients_without_utf8_get_surrogates(void **state)
{
	struct cv_pop3_resume resume = { .utf8 = true };
	struct fake_worker *w = worker(state);
	struct cv_session *s;
	const char *size = cv_arena_printf(*state, "+OK %zu octets\r\n", strlen(AS_SURROGATE));

	SAVE(w, RAW_PART);
	SAVE(w, ONE);
	s = log_in(w);
	for (int split = 0; split < 2; split++) {
		expect(s, CV_STR("RETR 1\r\n"), cv_str_c(cv_arena_printf(*state, "%s%s.\r\n", size, AS_SURROGATE)), split != 0);
		expect(s, CV_STR("LIST\r\n"),
			cv_str_c(cv_arena_printf(*state, "+OK 2 messages (%zu octets)\r\n1 %zu\r\n2 28\r\n.\r\n", strlen(RAW_PART) + 28,
				strlen(AS_SURROGATE))),
			split != 0);
	}
	EXPECT(s, "TOP 1 0\r\n",
		"+OK Top of message follows.\r\nFrom: =?UTF-8?B?SsO2cmc=?= <a@b.example>\r\nSubject: =?UTF-8?B?Z3LDvMOf?=\r\nContent-Type: multipart/mixed; "
		"boundary=x\r\n\r\n.\r\n");
	EXPECT(s, "UTF8\r\n", "-ERR Unknown command.\r\n");
	fake_session_end(&s);

	s = start_with(w, &resume);
	assert_str(fake_session_output(s), "+OK Logged in.\r\n");
	EXPECT(s, "RETR 1\r\n", "+OK 179 octets\r\n" RAW_PART ".\r\n");
	assert_int_equal(strlen(RAW_PART), 179);
	EXPECT(s, "LIST 1\r\n", "+OK 1 179\r\n");
	fake_worker_free(&w);
}

static void surrogates_of_fields(void **state)
{
	static const struct {
		const char *field, *want;
	} rows[] = {
		{ "Subject: \xc3\xa4\n", "Subject: =?UTF-8?B?w6Q=?=\r\n" },
		/* No UTF-8: read as windows-1252. */
		{ "Subject: \xe4\r\n", "Subject: =?UTF-8?B?w6Q=?=\r\n" },
		{ "Subject: \xc3\xa4\n x\r\n", "Subject: =?UTF-8?Q?=C3=A4_x?=\r\n" },
		{ "To: a@b, \xc3\xa4 <c@d>, \"e, f\" <g@h>\r\n", "To: a@b, =?UTF-8?B?w6Q=?= <c@d>, \"e, f\" <g@h>\r\n" },
		{ "Cc: \xc3\xa4@b\r\n", "Cc: =?UTF-8?B?w6RAYg==?= <invalid@internationalized-address.invalid>\r\n" },
		{ "Cc: N <a@\xc3\xa4.example>\r\n", "Cc: =?UTF-8?B?TiBhQMOkLmV4YW1wbGU=?=\r\n <invalid@internationalized-address.invalid>\r\n" },
		{ "To: \xc3\xa4: a@b, c@d;, e@f\r\n", "To: =?UTF-8?B?w6Q=?=: a@b, c@d;, e@f\r\n" },
		{ "X-Thing: \xc3\xa4\r\n", "X-Thing: =?UTF-8?B?w6Q=?=\r\n" },
		{ "Message-ID: <\xc3\xa4@b>\r\n", "" },
		{ "Received: from \xc3\xa4\r\n", "" },
		{ "no field \xc3\xa4\r\n", "" },
		{ "Content-Type: text/plain; name=\"\xc3\xa4 (1).txt\"; x=\"a\\\"b\"\r\n",
			"Content-Type: text/plain; name*=utf-8''%C3%A4%20%281%29.txt; x=\"a\\\"b\"\r\n" },
		{ "Content-Type: text/\xc3\xa4\r\n", "" },
		{ "Content-Disposition: attachment; filename=\"\xc3\xa4" "aaaaaaaaaaaaaaaaaaaa\"\r\n",
			"Content-Disposition: attachment; filename*0*=utf-8''%C3%A4aaaaaaaaaaaaa;\r\n filename*1*=aaaaaaa\r\n" },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_header_field field;
		struct cv_header_iter iter;
		struct cv_buf out;

		cv_header_iter_init(&iter, cv_str_c(rows[i].field));
		assert_true(cv_header_iter_next(&iter, &field));
		cv_buf_init(&out, 10000);
		cv_pop3_surrogate_field(&out, *state, &field);
		assert_true(cv_buf_ok(&out));
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
		cv_buf_deinit(&out);
	}
}

/* RFC 2449 section 6.5: "the number of seconds after an "+OK" response to a PASS, APOP, or AUTH command before another authentication will be accepted" */
static void logins_must_be_apart_when_asked(void **state)
{
	const struct cv_pop3_resume resume = { .login_delay = 600 };
	static const uint8_t old[8] = { 1 };
	struct fake_worker *w = worker(state);
	struct cv_session *s = start_with(w, &resume);
	struct cv_str reply;
	const char *path = cv_arena_printf(*state, "%s/culver-index/pop3-login", w->mail_location + strlen("sdbox:"));
	FILE *f;

	assert_str(fake_session_output(s), "+OK Logged in.\r\n");
	fake_session_end(&s);
	fake_worker_reopen(w);
	for (int i = 0; i < 2; i++) {
		s = start_with(w, &resume);
		reply = cv_buf_str(cv_stream_out(s->stream));
		assert_null(s->state);
		assert_true(cv_str_starts(reply, CV_STR("-ERR [LOGIN-DELAY] Wait ")));
		fake_session_end(&s);
	}
	f = fopen(path, "r+");
	assert_non_null(f);
	assert_int_equal(fwrite(old, 1, sizeof(old), f), sizeof(old));
	assert_int_equal(fclose(f), 0);
	s = start_with(w, &resume);
	assert_str(fake_session_output(s), "+OK Logged in.\r\n");
	fake_session_end(&s);
	s = start_with(w, &resume);
	assert_null(s->state);
	fake_session_end(&s);
	/* One that was cut short is none. */
	assert_int_equal(truncate(path, 3), 0);
	s = start_with(w, &resume);
	assert_str(fake_session_output(s), "+OK Logged in.\r\n");
	fake_worker_free(&w);
}

static void unique_ids_are_summed_up_when_asked(void **state)
{
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w;
	struct cv_session *s;
	uint32_t hashes[3];
	struct cv_str reply;

	set.pop3_uidl_format = "%u";
	set.pop3_logout_format = "u=%u.";
	w = worker_with_three(state, &set);
	for (size_t i = 0; i < 3; i++)
		hashes[i] = cv_crc32c(0, &"123"[i], 1);
	s = log_in(w);
	fake_session_push(s, CV_STR("QUIT\r\n"));
	assert_str(s->close_reason, "Logged out u=.");
	fake_session_end(&s);
	s = log_in(w);
	fake_session_push(s, CV_STR("UIDL\r\nQUIT\r\n"));
	reply = cv_str_c(cv_arena_printf(*state, "Logged out u=3/%08x.", hashes[0] ^ hashes[1] ^ hashes[2]));
	assert_str_eq(s->close_reason, reply);
	fake_session_end(&s);
	s = log_in(w);
	fake_session_push(s, CV_STR("UIDL\r\nRETR 3\r\nDELE 1\r\nQUIT\r\n"));
	reply = cv_str_c(cv_arena_printf(*state, "Logged out u=2/%08x -> 2/%08x.", hashes[0] ^ hashes[1], hashes[1] ^ hashes[2]));
	assert_str_eq(s->close_reason, reply);
	fake_worker_free(&w);
}

static void unique_ids_are_kept_when_asked(void **state)
{
	struct cv_pop3_settings set = defaults;
	struct fake_worker *w;
	struct cv_session *s;

	set.pop3_uidl_format = "a%u";
	set.pop3_save_uidl = true;
	w = worker_with_three(state, &set);
	s = log_in(w);
	EXPECT(s, "UIDL 2\r\n", "+OK 2 a2\r\n");
	/* Kept without QUIT as well; a message that goes, and one that nobody asked for, are not. */
	fake_session_end(&s);
	fake_worker_run(w);
	for (int i = 0; i < 2; i++) {
		fake_worker_reopen(w);
		set.pop3_uidl_format = "b%u";
		set.pop3_save_uidl = false;
		s = log_in(w);
		EXPECT(s, "UIDL\r\n", "+OK Unique-ids follow.\r\n1 b1\r\n2 a2\r\n3 b3\r\n.\r\n");
		fake_session_end(&s);
	}
	set.pop3_uidl_format = "a%u";
	set.pop3_save_uidl = true;
	s = log_in(w);
	EXPECT(s, "UIDL\r\nDELE 3\r\n", "+OK Unique-ids follow.\r\n1 a1\r\n2 a2\r\n3 a3\r\n.\r\n+OK Marked to be deleted.\r\n");
	EXPECT(s, "QUIT\r\n", "+OK Logging out, messages deleted.\r\n");
	fake_session_end(&s);
	fake_worker_reopen(w);
	set.pop3_uidl_format = "b%u";
	s = log_in(w);
	EXPECT(s, "UIDL\r\n", "+OK Unique-ids follow.\r\n1 a1\r\n2 a2\r\n.\r\n");
	fake_worker_free(&w);
}

static void languages_are_chosen(void **state)
{
	const struct cv_pop3_resume resume = { .language = 1, .star = 2 };
	struct fake_worker *w = worker_with_three(state, &defaults);
	struct cv_session *s = start_with(w, &resume);

	assert_str(fake_session_output(s), "+OK Angemeldet.\r\n");
	EXPECT(s, "LANG *\r\n", "+OK fr La langue a \xc3\xa9t\xc3\xa9 chang\xc3\xa9" "e.\r\n");
	EXPECT(s, "RETR 9\r\n", "-ERR Il n'y a pas de message 9.\r\n");
	EXPECT(s, "LANG tlh\r\n", "-ERR Aucune langue ne convient \xc3\xa0 tlh.\r\n");
	EXPECT(s, "LANG de-CH\r\nDELE 1\r\n", "+OK de Die Sprache wurde gewechselt.\r\n+OK Zum L\xc3\xb6schen vorgemerkt.\r\n");
	EXPECT(s, "LIST 1\r\n", "-ERR Nachricht 1 ist gel\xc3\xb6scht.\r\n");
	EXPECT(s, "QUIT\r\n", "+OK Abgemeldet, die Nachrichten sind gel\xc3\xb6scht.\r\n");
	fake_worker_free(&w);
}

static void settings_are_checked(void **state)
{
	static const char *const unknown[] = { "nonsense", NULL };
	struct cv_pop3_settings set = defaults;
	struct cv_err err = { 0 };

	(void)state;
	assert_true(cv_pop3_settings_table.check(&set, &err) >= 0);
	set.pop3_client_workarounds = unknown;
	assert_true(cv_pop3_settings_table.check(&set, &err) < 0);
	assert_non_null(strstr(err.text, "nonsense"));
	set = defaults;
	set.pop3_uidl_format = "%u %v";
	assert_true(cv_pop3_settings_table.check(&set, &err) < 0);
	set = defaults;
	set.pop3_delete_type = CV_POP3_DELETE_FLAG;
	assert_true(cv_pop3_settings_table.check(&set, &err) < 0);
	set.pop3_deleted_flag = "two words";
	assert_true(cv_pop3_settings_table.check(&set, &err) < 0);
	set.pop3_deleted_flag = "\\Deleted";
	assert_true(cv_pop3_settings_table.check(&set, &err) >= 0);
	set.pop3_logout_format = "%{nonsense}";
	assert_true(cv_pop3_settings_table.check(&set, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(numbers_and_sizes_are_listed),
		cv_test(an_empty_maildrop_is_listed),
		cv_test(messages_are_retrieved),
		cv_test(pipelined_commands_are_answered_in_order),
		cv_test(deletions_happen_at_quit),
		cv_test(a_dropped_connection_deletes_nothing),
		cv_test(timeouts_and_goodbyes_delete_nothing),
		cv_test(sessions_keep_their_numbers),
		cv_test(the_next_message_is_read_ahead),
		cv_test(what_was_read_ahead_may_not_be_asked_for),
		cv_test(uidls_are_listed),
		cv_test(old_uidls_are_kept),
		cv_test(duplicate_uidls_are_renamed_when_asked),
		cv_test(invalid_uidls_become_guids),
		cv_test(seen_is_left_alone_when_asked),
		cv_test(top_does_not_mark_as_seen),
		cv_test(one_session_at_a_time_when_asked),
		cv_test(last_is_offered_when_asked),
		cv_test(deletions_may_be_flags),
		cv_test(workarounds_are_applied),
		cv_test(capabilities_are_those_of_before_login),
		cv_test(lines_and_bad_commands_are_bounded),
		cv_test(a_start_that_does_not_check_is_refused),
		cv_test(a_large_message_waits_for_the_client),
		cv_test(clients_without_utf8_get_surrogates),
		cv_test(surrogates_of_fields),
		cv_test(logins_must_be_apart_when_asked),
		cv_test(unique_ids_are_summed_up_when_asked),
		cv_test(unique_ids_are_kept_when_asked),
		cv_test(languages_are_chosen),
		cv_test(settings_are_checked),
	};

	return cv_test_run(tests);
}
