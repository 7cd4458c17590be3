/* SPDX-License-Identifier: MIT
   Tests of modules/lib/imap/imap-parser.c: each input once whole and once split at every octet. */
#include <config.h>

#include "modules/lib/imap/imap-parser.h"
#include "t/lib/test.h"

/* What came out of a piece of input, as text: "tag verb arg arg", ! for BAD, one line for each command. Literals are kept but for
   those of APPEND, which are streamed; "+" stands where the client waits for a continuation. */
struct run {
	struct cv_buf out;
	struct cv_imap_parser *parser;
};

static void show_args(struct cv_buf *out, const struct cv_imap_arg *arg)
{
	static const char marks[] = { [CV_IMAP_ARG_ATOM] = 'a', [CV_IMAP_ARG_QUOTED] = 'q', [CV_IMAP_ARG_LITERAL] = 'l',
		[CV_IMAP_ARG_STREAMED] = 's', [CV_IMAP_ARG_LITERAL8] = 'b' };

	for (; arg != NULL; arg = arg->next) {
		cv_buf_append_char(out, arg->glued ? '~' : ' ');
		if (arg->type == CV_IMAP_ARG_LIST) {
			cv_buf_append_char(out, '(');
			show_args(out, arg->child);
			cv_buf_append_c(out, " )");
			continue;
		}
		cv_buf_append_char(out, marks[arg->type]);
		cv_buf_append_char(out, ':');
		cv_buf_append(out, arg->str);
	}
}

static void show_command(struct run *run)
{
	cv_buf_append(&run->out, cv_imap_parser_tag(run->parser));
	cv_buf_append_char(&run->out, ' ');
	cv_buf_append(&run->out, cv_imap_parser_verb(run->parser));
	show_args(&run->out, cv_imap_parser_args(run->parser));
	cv_buf_append_c(&run->out, ";");
	cv_imap_parser_next(run->parser);
}

static void literal_due(struct run *run)
{
	struct cv_err err = { 0 };
	struct cv_imap_literal literal = cv_imap_parser_literal(run->parser);

	if (literal.sync)
		cv_buf_append_c(&run->out, "+");
	if (cv_str_caseeq_c(cv_imap_parser_verb(run->parser), "NOSUCH"))
		cv_imap_parser_skip(run->parser);
	else if (cv_str_caseeq_c(cv_imap_parser_verb(run->parser), "APPEND"))
		cv_imap_parser_begin_stream(run->parser);
	else {
		if (cv_str_caseeq_c(cv_imap_parser_verb(run->parser), "L"))
			cv_imap_parser_allow(run->parser, 40);
		if (cv_imap_parser_keep(run->parser, &err) < 0)
			cv_buf_printf(&run->out, "!%s;", err.text);
	}
}

static void feed(struct run *run, struct cv_str input)
{
	size_t used;
	struct cv_str chunk;
	struct cv_err err = { 0 };

	for (;;) {
		enum cv_imap_parsed parsed = cv_imap_parser_feed(run->parser, input, &used, &err);

		assert_true(used <= input.len);
		input = cv_str_sub(input, used, SIZE_MAX);
		switch (parsed) {
		case CV_IMAP_MORE:
			assert_int_equal(input.len, 0);
			return;
		case CV_IMAP_COMMAND:
			show_command(run);
			break;
		case CV_IMAP_LITERAL_DUE:
			literal_due(run);
			break;
		case CV_IMAP_STREAMING:
			if (input.len == 0)
				return;
			cv_imap_parser_stream(run->parser, input, &used, &chunk);
			cv_buf_append_c(&run->out, "<");
			cv_buf_append(&run->out, chunk);
			cv_buf_append_c(&run->out, ">");
			input = cv_str_sub(input, used, SIZE_MAX);
			break;
		case CV_IMAP_BAD:
			cv_buf_printf(&run->out, "%.*s!%s;", CV_STR_ARG(cv_imap_parser_tag(run->parser)), err.text);
			break;
		case CV_IMAP_SKIPPED:
			cv_buf_append_c(&run->out, "skipped;");
			cv_imap_parser_next(run->parser);
			break;
		}
	}
}

static void parse(struct cv_str input, size_t split, const struct cv_imap_limits *limits, struct cv_buf *out)
{
	struct run run = { .parser = cv_imap_parser_new(limits) };

	cv_buf_init(&run.out, 1 << 20);
	feed(&run, cv_str_sub(input, 0, split));
	feed(&run, cv_str_sub(input, split, SIZE_MAX));
	cv_imap_parser_free(&run.parser);
	*out = run.out;
}

/* Streamed chunks depend on the split; joined they don't. */
static void join_chunks(struct cv_buf *out)
{
	size_t at;

	while ((at = cv_str_find_str(cv_buf_str(out), CV_STR("><"))) != SIZE_MAX) {
		memmove(out->data + at, out->data + at + 2, out->len - at - 2);
		cv_buf_truncate(out, out->len - 2);
	}
}

static void check(struct cv_str input, const char *want)
{
	for (size_t split = 0; split <= input.len; split++) {
		struct cv_buf out;

		parse(input, split, NULL, &out);
		join_chunks(&out);
		if (!cv_str_eq_c(cv_buf_str(&out), want))
			print_message("split at %zu of %.*s\n", split, CV_STR_ARG(input));
		assert_str_eq(cv_buf_str(&out), cv_str_c(want));
		cv_buf_deinit(&out);
	}
}

static void commands_become_tag_verb_and_arguments(void **state)
{
	(void)state;
	check(CV_STR("a1 NOOP\r\n"), "a1 NOOP;");
	check(CV_STR("a1 noop\n"), "a1 noop;");
	check(CV_STR("a1 NOOP \r\n"), "a1 NOOP;");
	check(CV_STR("a LOGIN joe \"pass \\\"word\\\\\"\r\n"), "a LOGIN a:joe q:pass \"word\\;");
	check(CV_STR("a LOGIN \"\" x\r\n"), "a LOGIN q: a:x;");
	check(CV_STR("a1 NOOP\r\na2 CHECK\r\n"), "a1 NOOP;a2 CHECK;");
	check(CV_STR("[tag] LIST \"\" %*\r\n"), "[tag] LIST q: a:%*;");
	check(CV_STR("a STORE 1:* +FLAGS (\\Seen $x)\r\n"), "a STORE a:1:* a:+FLAGS ( a:\\Seen a:$x );");
	check(CV_STR("a STATUS x ()\r\n"), "a STATUS a:x ( );");
	check(CV_STR("a SEARCH (OR (1) (2 3))\r\n"), "a SEARCH ( a:OR ( a:1 ) ( a:2 a:3 ) );");
}

static void text_behind_a_list_is_glued(void **state)
{
	(void)state;
	check(CV_STR("a FETCH 1 BODY[HEADER.FIELDS (To \"X y\")]<0.5>\r\n"),
		"a FETCH a:1 a:BODY[HEADER.FIELDS ( a:To q:X y )~a:]<0.5>;");
	check(CV_STR("a FETCH 1 (UID BODY[HEADER.FIELDS (To)] FLAGS)\r\n"),
		"a FETCH a:1 ( a:UID a:BODY[HEADER.FIELDS ( a:To )~a:] a:FLAGS );");
}

/* RFC 3501 section 4.3: "a literal is a sequence of zero or more octets (including CR and LF), prefix-quoted with an octet count". */
static void literals_are_arguments(void **state)
{
	(void)state;
	check(CV_STR("a LOGIN {3}\r\njoe {4+}\r\npa\r\n\r\n"), "+a LOGIN l:joe l:pa\r\n;");
	check(CV_STR("a LOGIN {0}\r\n x\r\n"), "+a LOGIN l: a:x;");
	check(CV_STR("a SEARCH (TEXT {3+}\r\na(b)\r\n"), "a SEARCH ( a:TEXT l:a(b );");
	check(CV_STR("a LIST {1+}\nx y\n"), "a LIST l:x a:y;");
}

/* RFC 3516 section 7: literal8 = "~{" number "}" CRLF *OCTET */
static void binary_literals_are_no_strings(void **state)
{
	(void)state;
	check(CV_STR("a X ~{2}\r\nab ~{2+}\r\ncd\r\n"), "+a X b:ab b:cd;");
	check(CV_STR("a X ~ ~a a~ (~{0+}\r\n)\r\n"), "a X a:~ a:~a a:a~ ( b: );");
	check(CV_STR("a X a~{2+}\r\nab\r\nb NOOP\r\n"), "a!Missing space between arguments;skipped;b NOOP;");
	check(CV_STR("a NOSUCH ~{9+}\r\nx NOOP\r\n\n\r\nb NOOP\r\n"), "skipped;b NOOP;");
}

static void literals_can_be_streamed(void **state)
{
	(void)state;
	check(CV_STR("a APPEND x (\\Seen) {6+}\r\nab\r\ncd\r\nb NOOP\r\n"), "<ab\r\ncd>a APPEND a:x ( a:\\Seen ) s:;b NOOP;");
	check(CV_STR("a APPEND x {0+}\r\n\r\nb NOOP\r\n"), "a APPEND a:x s:;b NOOP;");
	check(CV_STR("a APPEND x {1+}\r\ny {1}\r\nz\r\nb NOOP\r\n"), "<y>+<z>a APPEND a:x s: s:;b NOOP;");
}

/* RFC 3501 section 7.5: after a tagged BAD the client does not send the literal. RFC 7888 section 4: one that comes unasked is passed over. */
static void refused_commands_are_skipped_with_their_literals(void **state)
{
	(void)state;
	check(CV_STR("a NOSUCH {100}\r\nb NOOP\r\n"), "+skipped;b NOOP;");
	check(CV_STR("a NOSUCH {9+}\r\nx NOOP\r\n\n rest {3+}\r\n\r\n\r x\r\nb NOOP\r\n"), "skipped;b NOOP;");
	check(CV_STR("a LIST ) {9+}\r\nx NOOP\r\n\n\r\nb NOOP\r\n"), "a!Unexpected );skipped;b NOOP;");
	check(CV_STR("a LIST ) {9}\r\nb NOOP\r\n"), "a!Unexpected );skipped;b NOOP;");
	check(CV_STR("a LIST ) {0+}\r\n {1+}\r\nx\r\nb NOOP\r\n"), "a!Unexpected );skipped;b NOOP;");
	check(CV_STR("a LIST {99999999999999999999}\r\nb NOOP\r\n"), "+!Literal is too long;skipped;b NOOP;");
	check(CV_STR("a LIST {4+}\r\na\0bc x {2+}\r\n\r\n\r\nb NOOP\r\n"), "a!NUL in literal;skipped;b NOOP;");
}

static void what_is_no_command_is_bad_and_the_next_one_goes_on(void **state)
{
	static const struct {
		struct cv_str input;
		const char *want;
	} rows[] = {
		{ CV_STR_INIT("\r\n"), "!Empty command line;" },
		{ CV_STR_INIT("a\r\n"), "a!Missing command;" },
		{ CV_STR_INIT("a \r\n"), "a!Missing command;" },
		{ CV_STR_INIT("a  NOOP\r\n"), "a!More than one space behind the tag;" },
		{ CV_STR_INIT(" NOOP\r\n"), "!Invalid tag;" },
		{ CV_STR_INIT("a+ NOOP\r\n"), "!Invalid tag;" },
		{ CV_STR_INIT("a(b NOOP\r\n"), "!Invalid tag;" },
		{ CV_STR_INIT("a\xC3\xA9 NOOP\r\n"), "!Invalid tag;" },
		{ CV_STR_INIT("a NO\"OP\r\n"), "a!Invalid command;" },
		{ CV_STR_INIT("a LIST  x\r\n"), "a!More than one space between arguments;" },
		{ CV_STR_INIT("a LIST \"x\r\n"), "a!Missing \" at the end of a quoted string;" },
		{ CV_STR_INIT("a LIST \"x\\y\"\r\n"), "a!Only \" and \\ may follow \\ in a quoted string;" },
		{ CV_STR_INIT("a LIST \"x\"y\r\n"), "a!Missing space between arguments;" },
		{ CV_STR_INIT("a LIST x\"y\"\r\n"), "a!Missing space between arguments;" },
		{ CV_STR_INIT("a LIST (x\r\n"), "a!Missing );" },
		{ CV_STR_INIT("a LIST (x \r\n"), "a!Missing );" },
		{ CV_STR_INIT("a LIST (x )\r\n"), "a!Unexpected );" },
		{ CV_STR_INIT("a LIST x)\r\n"), "a!Unexpected );" },
		{ CV_STR_INIT("a LIST (x)y\r\n"), "a!Missing space between arguments;" },
		{ CV_STR_INIT("a LIST {}\r\n"), "a!Invalid literal size;" },
		{ CV_STR_INIT("a LIST {-1}\r\n"), "a!Invalid literal size;" },
		{ CV_STR_INIT("a LIST {1++}\r\n"), "a!Invalid literal size;" },
		{ CV_STR_INIT("a LIST {1} x\r\n"), "a!Missing line end behind a literal's size;" },
		{ CV_STR_INIT("a LIST x\0y\r\n"), "a!NUL in command;" },
		{ CV_STR_INIT("a LIST x\ty\r\n"), "a!Control character in command;" },
		{ CV_STR_INIT("a NOOP\rx\r\n"), "a!CR without LF;" },
	};

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_buf input, want;

		cv_buf_init(&input, 1000);
		cv_buf_init(&want, 1000);
		cv_buf_append(&input, rows[i].input);
		cv_buf_append_c(&input, "b NOOP\r\n");
		cv_buf_printf(&want, "%sskipped;b NOOP;", rows[i].want);
		check(cv_buf_str(&input), want.data);
		cv_buf_deinit(&input);
		cv_buf_deinit(&want);
	}
}

static void check_limited(const struct cv_imap_limits *limits, struct cv_str input, const char *want)
{
	struct cv_buf out;

	parse(input, input.len, limits, &out);
	assert_str_eq(cv_buf_str(&out), cv_str_c(want));
	cv_buf_deinit(&out);
}

static void limits_end_a_command_and_not_the_next(void **state)
{
	struct cv_imap_limits limits = { .line = 20, .literal = 10, .depth = 3, .wipe = true };

	(void)state;
	check_limited(&limits, CV_STR("a LIST 3456789012345\r\nb NOOP\r\n"), "a!Command line is too long;skipped;b NOOP;");
	check_limited(&limits, CV_STR("a LIST 345678901234\r\n"), "a!Command line is too long;skipped;");
	check_limited(&limits, CV_STR("a LIST 34567890123\r\n"), "a LIST a:34567890123;");
	check_limited(&limits, CV_STR("a LIST {10}\r\n0123456789\r\n"), "+a LIST l:0123456789;");
	check_limited(&limits, CV_STR("a LIST {11}\r\nb NOOP\r\n"), "+!Literal is too long;skipped;b NOOP;");
	check_limited(&limits, CV_STR("a X {9+}\r\n012345678 {2+}\r\nxy\r\nb NOOP\r\n"), "!Literal is too long;skipped;b NOOP;");
	/* More for one command, and not for the next. */
	check_limited(&limits, CV_STR("a L {20+}\r\n01234567890123456789\r\nb LIST {11+}\r\n01234567890\r\nc NOOP\r\n"),
		"a L l:01234567890123456789;!Literal is too long;skipped;c NOOP;");
	check_limited(&limits, CV_STR("a L {41}\r\nb NOOP\r\n"), "+!Literal is too long;skipped;b NOOP;");
	check_limited(&limits, CV_STR("a LIST (((x)))\r\n"), "a LIST ( ( ( a:x ) ) );");
	check_limited(&limits, CV_STR("a LIST ((((x))))\r\nb NOOP\r\n"), "a!Too many nested parentheses;skipped;b NOOP;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(commands_become_tag_verb_and_arguments),
		cv_test(text_behind_a_list_is_glued),
		cv_test(literals_are_arguments),
		cv_test(binary_literals_are_no_strings),
		cv_test(literals_can_be_streamed),
		cv_test(refused_commands_are_skipped_with_their_literals),
		cv_test(what_is_no_command_is_bad_and_the_next_one_goes_on),
		cv_test(limits_end_a_command_and_not_the_next),
	};

	return cv_test_run(tests);
}
