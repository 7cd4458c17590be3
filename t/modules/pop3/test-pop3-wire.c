/* SPDX-License-Identifier: MIT
   POP3: stored messages in the form that RETR and TOP send. */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"
#include "t/lib/test.h"

#include <string.h>

#define ALL UINT64_MAX

static const struct {
	const char *stored;
	uint64_t top; /* ALL: RETR */
	unsigned workarounds;
	const char *want;
} rows[] = {
	{ "A: b\n\nc\n", ALL, 0, "A: b\r\n\r\nc\r\n" },
	{ "A: b\r\n\r\nc\r\n", ALL, 0, "A: b\r\n\r\nc\r\n" },
	{ "A: b\r\n\nc\n\r\n", ALL, 0, "A: b\r\n\r\nc\r\n\r\n" },
	{ "", ALL, 0, "" },
	{ "\n", ALL, 0, "\r\n" },
	/* RFC 1939 section 3: the last line is ended before the one with the dot. */
	{ "A: b\n\nc", ALL, 0, "A: b\r\n\r\nc\r\n" },
	{ "A: b\n\nc\r", ALL, 0, "A: b\r\n\r\nc\r\r\n" },
	{ "a\rb\n", ALL, 0, "a\rb\r\n" },
	/* "If any line of the multi-line response begins with the termination octet, the line is byte-stuffed". */
	{ ".\n..\n.a\na.\n\n.", ALL, 0, "..\r\n...\r\n..a\r\na.\r\n\r\n..\r\n" },
	/* Runs of lines that need nothing, and what ends them. */
	{ "A: b\r\n\r\nx\r\nyy\r\n.z\r\n\r\n..\r\nu\nv\r\n\nw\r\r\n.\r\nlast\r\n", ALL, 0,
		"A: b\r\n\r\nx\r\nyy\r\n..z\r\n\r\n...\r\nu\r\nv\r\n\r\nw\r\r\n..\r\nlast\r\n" },
	{ ".A: b\r\n.\r\n\r\nx.\r\n.y\r\n..\r\nz.z\r\n\r\n.\r\n..\r\n.last", ALL, 0,
		"..A: b\r\n..\r\n\r\nx.\r\n..y\r\n...\r\nz.z\r\n\r\n..\r\n...\r\n..last\r\n" },
	{ "A: b\r\n\r\n\r\n.", ALL, 0, "A: b\r\n\r\n\r\n..\r\n" },
	{ "\r.\n", ALL, 0, "\r.\r\n" },
	/* TOP: "the headers of the message, the blank line separating the headers from the body, and then the number of lines of the indicated message's body". */
	{ "A: b\nC: d\n\n1\n2\n3\n", 0, 0, "A: b\r\nC: d\r\n\r\n" },
	{ "A: b\nC: d\n\n1\n2\n3\n", 1, 0, "A: b\r\nC: d\r\n\r\n1\r\n" },
	{ "A: b\r\n\r\n.1\r\n2", 2, 0, "A: b\r\n\r\n..1\r\n2\r\n" },
	{ "A: b\n\n1\n", 1000, 0, "A: b\r\n\r\n1\r\n" },
	{ "A: b\n\n\n\n", 1, 0, "A: b\r\n\r\n\r\n" },
	{ "A: b\nC: d\n", 0, 0, "A: b\r\nC: d\r\n" },
	{ "\n1\n2\n", 1, 0, "\r\n1\r\n" },
	{ "A: b\nC: d", 3, CV_POP3_NS_EOH, "A: b\r\nC: d\r\n\r\n" },
	{ "A: b\n", ALL, CV_POP3_NS_EOH, "A: b\r\n\r\n" },
	{ "A: b\n\n", ALL, CV_POP3_NS_EOH, "A: b\r\n\r\n" },
};

/* All lines end in CRLF, but perhaps the last one, which has no end. */
static bool is_crlf(struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '\n' && (i == 0 || s.ptr[i - 1] != '\r'))
			return false;
	return true;
}

/* As RETR does it: runs of lines as they are where there are some, or all of it piece by piece. */
static int append_next(struct cv_pop3_wire *wire, struct cv_buf *out, size_t max, bool runs)
{
	struct cv_str run;
	int ret = runs ? cv_pop3_wire_run(wire, 3, max, &run, NULL) : 0;

	if (ret == 0)
		return cv_pop3_wire_append(wire, out, max, NULL);
	assert_int_equal(ret, 1);
	assert_true(run.len >= 3 && run.len <= max);
	cv_buf_append(out, run);
	return 0;
}

static void message_is_sent_as_the_protocol_wants_it(void **state)
{
	struct cv_buf out;

	(void)state;
	cv_buf_init(&out, 10000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		for (size_t slice = 2; slice < 80; slice++) {
			struct cv_message_reader *reader = cv_message_reader_new_mem(cv_str_c(rows[i].stored));
			struct cv_pop3_wire wire;

			cv_buf_clear(&out);
			cv_pop3_wire_init(&wire, reader, rows[i].workarounds);
			wire.top = rows[i].top != ALL;
			wire.lines_left = rows[i].top;
			wire.crlf = slice % 2 == 0 && is_crlf(cv_str_c(rows[i].stored)); /* known, or not */
			while (append_next(&wire, &out, slice / 2, slice % 3 == 0) == 0)
				;
			assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].want));
			assert_int_equal(cv_pop3_wire_append(&wire, &out, slice / 2, NULL), 1);
			cv_message_reader_free(&reader);
		}
	}
	cv_buf_deinit(&out);
}

static void nuls_are_replaced_for_outlook(void **state)
{
	struct cv_message_reader *reader = cv_message_reader_new_mem(CV_STR("a\0b\n"));
	struct cv_pop3_wire wire;
	struct cv_buf out;

	(void)state;
	cv_buf_init(&out, 100);
	cv_pop3_wire_init(&wire, reader, CV_POP3_NO_NULS);
	assert_int_equal(cv_pop3_wire_append(&wire, &out, 1000, NULL), 1);
	assert_str(cv_buf_str(&out), "a\x80" "b\r\n");
	cv_buf_clear(&out);
	cv_pop3_wire_init(&wire, reader, 0);
	assert_int_equal(cv_pop3_wire_append(&wire, &out, 1000, NULL), 1);
	assert_str(cv_buf_str(&out), "a\0b\r\n");
	cv_message_reader_free(&reader);
	cv_buf_deinit(&out);
}

static void slices_are_bounded(void **state)
{
	struct cv_message_reader *reader;
	struct cv_pop3_wire wire;
	struct cv_buf stored, out;

	(void)state;
	cv_buf_init(&stored, 1 << 20);
	for (int i = 0; i < 10000; i++)
		cv_buf_append_c(&stored, ".\n");
	cv_buf_init(&out, 1 << 20);
	reader = cv_message_reader_new_mem(cv_buf_str(&stored));
	cv_pop3_wire_init(&wire, reader, 0);
	while (cv_pop3_wire_append(&wire, &out, 100, NULL) == 0) {
		assert_true(out.len <= 100 + 3);
		cv_buf_clear(&out);
	}
	cv_message_reader_free(&reader);
	cv_buf_deinit(&out);
	cv_buf_deinit(&stored);
}

static void runs_end_before_a_line_that_is_changed(void **state)
{
	struct cv_message_reader *reader = cv_message_reader_new_mem(CV_STR("one\r\ntwo.\r\n.three\r\nfour\r\nfive"));
	struct cv_pop3_wire wire;
	struct cv_str run;
	struct cv_buf out;

	(void)state;
	cv_buf_init(&out, 100);
	cv_pop3_wire_init(&wire, reader, 0);
	wire.crlf = true;
	assert_int_equal(cv_pop3_wire_run(&wire, 12, 100, &run, NULL), 0); /* too short: nothing is taken */
	assert_int_equal(cv_pop3_wire_run(&wire, 11, 100, &run, NULL), 1);
	assert_str(run, "one\r\ntwo.\r\n");
	assert_int_equal(cv_pop3_wire_run(&wire, 1, 100, &run, NULL), 0);
	assert_int_equal(cv_pop3_wire_append(&wire, &out, 8, NULL), 0);
	assert_str(cv_buf_str(&out), "..three\r\n");
	assert_int_equal(cv_pop3_wire_run(&wire, 1, 100, &run, NULL), 1);
	assert_str(run, "four\r\n");
	assert_int_equal(cv_pop3_wire_run(&wire, 1, 100, &run, NULL), 0);
	assert_int_equal(cv_pop3_wire_append(&wire, &out, 100, NULL), 1);
	assert_str(cv_buf_str(&out), "..three\r\nfive\r\n");
	assert_int_equal(cv_pop3_wire_run(&wire, 1, 100, &run, NULL), 0);
	cv_message_reader_free(&reader);
	cv_buf_deinit(&out);
}

static void uidl_formats_are_checked(void **state)
{
	static const char *const good[] = { "%08Xu%08Xv", "%v.%u", "%g", "UID%u-%v", "%{uid}.%{uidvalidity}", "%f" };
	static const char *const bad[] = { "", "%g%g%g", "%u %v", "%m", "%", "%{nonsense}", "\xc3\xa9%u" };
	struct cv_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(good); i++)
		assert_true(cv_pop3_uidl_format_check(good[i], &err) >= 0);
	for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
		if (cv_pop3_uidl_format_check(bad[i], &err) >= 0)
			fail_msg("%s was allowed", bad[i]);
	}
}

static void uidls_are_made_of_parts(void **state)
{
	const struct cv_pop3_uidl_parts parts = { .uid = 26, .uidvalidity = 0x6b051f1d, .guid = { 0xab, 1 },
		.ref = CV_STR("cur/17.M1P2.host:2,FS") };
	static const struct {
		const char *format, *want;
	} formats[] = { { "%08Xu%08Xv", "0000001a6b051f1d" }, { "%g", "ab010000000000000000000000000000" }, { "%f", "17.M1P2.host" },
		{ "UID%u-%v", "UID26-1795497757" } };
	struct cv_err err = { 0 };
	struct cv_buf out;

	(void)state;
	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(formats); i++) {
		cv_buf_clear(&out);
		assert_true(cv_pop3_uidl_expand(formats[i].format, &parts, &out, &err) >= 0);
		assert_str_eq(cv_buf_str(&out), cv_str_c(formats[i].want));
	}
	cv_buf_deinit(&out);
}

static void deleted_flags_are_flags_or_keywords(void **state)
{
	struct cv_str keyword;
	uint16_t flag;

	(void)state;
	assert_true(cv_pop3_flag_parse("\\deleted", &flag, &keyword));
	assert_int_equal(flag, CV_FLAG_DELETED);
	assert_true(cv_pop3_flag_parse("$POP3Deleted", &flag, &keyword));
	assert_int_equal(flag, 0);
	assert_str(keyword, "$POP3Deleted");
	assert_false(cv_pop3_flag_parse("\\Recent", &flag, &keyword));
	assert_false(cv_pop3_flag_parse("two words", &flag, &keyword));
	assert_false(cv_pop3_flag_parse("", &flag, &keyword));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(message_is_sent_as_the_protocol_wants_it),
		cv_test(nuls_are_replaced_for_outlook),
		cv_test(slices_are_bounded),
		cv_test(runs_end_before_a_line_that_is_changed),
		cv_test(uidl_formats_are_checked),
		cv_test(uidls_are_made_of_parts),
		cv_test(deleted_flags_are_flags_or_keywords),
	};

	return cv_test_run(tests);
}
