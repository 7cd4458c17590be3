/* SPDX-License-Identifier: MIT
   The MIME parser: trees of good and hostile messages, the same for every split of the octets. */
#include <config.h>

#include "t/lib/message-dump.h"
#include "t/lib/test.h"

#include <string.h>

static struct cv_message *parse(struct cv_arena *arena, const struct cv_mime_limits *limits, struct cv_str octets, size_t step)
{
	struct cv_mime_parser *parser = cv_mime_parser_new(arena, limits);
	struct cv_message *message;
	const char *bad;

	for (size_t pos = 0; pos < octets.len; pos += CV_MIN(step, octets.len - pos))
		cv_mime_parser_feed(parser, cv_str_sub(octets, pos, step));
	message = cv_mime_parser_finish(parser);
	bad = cv_check_tree(message);
	if (bad != NULL)
		fail_msg("not so: %s", bad);
	return message;
}

/* Parse in one piece, cut once at each octet, and octet by octet: always the same. The tree's lines must be want. */
static struct cv_message *check_limits(struct cv_arena *arena, const struct cv_mime_limits *limits, struct cv_str octets,
	const char *want)
{
	struct cv_message *message = parse(arena, limits, octets, SIZE_MAX);
	struct cv_buf whole, pieces, tree;

	cv_buf_init(&whole, SIZE_MAX);
	cv_buf_init(&pieces, SIZE_MAX);
	cv_buf_init(&tree, SIZE_MAX);
	for (const struct cv_mime_part *part = message->root; part != NULL; part = cv_mime_part_next(part))
		cv_dump_part(&tree, part);
	assert_str_eq(cv_buf_str(&tree), cv_str_c(want));
	cv_dump_message(&whole, message);
	for (size_t cut = 0; cut <= octets.len; cut++) {
		struct cv_arena *own = cv_arena_new("split", NULL, 0);
		struct cv_mime_parser *parser = cv_mime_parser_new(own, limits);

		cv_mime_parser_feed(parser, cv_str_sub(octets, 0, cut));
		cv_mime_parser_feed(parser, cv_str_sub(octets, cut, SIZE_MAX));
		cv_buf_clear(&pieces);
		cv_dump_message(&pieces, cv_mime_parser_finish(parser));
		assert_str_eq(cv_buf_str(&pieces), cv_buf_str(&whole));
		cv_arena_free(&own);
	}
	for (size_t step = 1; step < 4; step++) {
		struct cv_arena *own = cv_arena_new("split", NULL, 0);

		cv_buf_clear(&pieces);
		cv_dump_message(&pieces, parse(own, limits, octets, step));
		assert_str_eq(cv_buf_str(&pieces), cv_buf_str(&whole));
		cv_arena_free(&own);
	}
	cv_buf_deinit(&whole);
	cv_buf_deinit(&pieces);
	cv_buf_deinit(&tree);
	return message;
}

static struct cv_message *check(struct cv_arena *arena, const char *octets, const char *want)
{
	return check_limits(arena, NULL, cv_str_c(octets), want);
}

static void a_plain_message_is_one_part(void **state)
{
	struct cv_message *m = check(*state, "Subject: x\r\nTo: a@b\r\n\r\nline\r\nlast",
		"0 leaf text/plain h=0+23/23/3 b=23+10/10/1 flags=1\n");

	assert_int_equal(m->size, 33);
	assert_int_equal(m->wire_size, 33);
	assert_str(m->root->envelope->subject, "x");
	m = check(*state, "Subject: x\nTo: a@b\n\nline\nlast\n",
		"0 leaf text/plain h=0+20/23/3 b=20+10/12/2 flags=1\n");
	assert_int_equal(m->wire_size, 35);
}

static void odd_messages_are_one_part_too(void **state)
{
	check(*state, "", "0 leaf text/plain h=0+0/0/0 b=0+0/0/0 flags=201\n");
	check(*state, "\n", "0 leaf text/plain h=0+1/2/1 b=1+0/0/0 flags=1\n");
	check(*state, "\r\n", "0 leaf text/plain h=0+2/2/1 b=2+0/0/0 flags=1\n");
	check(*state, "no header end", "0 leaf text/plain h=0+13/13/0 b=13+0/0/0 flags=201\n");
	check(*state, "\n\n\n", "0 leaf text/plain h=0+1/2/1 b=1+2/4/2 flags=1\n");
	/* a bare CR is no line end, and "\r\r\n" no empty line */
	check(*state, "A: b\r\r\r\n\n\r", "0 leaf text/plain h=0+9/10/2 b=9+1/1/0 flags=1\n");
	check_limits(*state, NULL, CV_STR("A\0: b\n\nx\xFF\0"), "0 leaf text/plain h=0+7/9/2 b=7+3/3/0 flags=17\n");
	check_limits(*state, NULL, CV_STR("A: \xFF\n\nx"), "0 leaf text/plain h=0+6/8/2 b=6+1/1/0 flags=9\n");
}

static void a_multipart_has_its_parts_and_what_is_around_them(void **state)
{
	struct cv_message *m = check(*state,
		"Content-Type: multipart/mixed; boundary=\"a b\"\r\n"
		"\r\n"
		"preamble\r\n"
		"\r\n"
		"--a b\r\n"
		"\r\n"
		"implicitly typed\r\n"
		"--a b  \t\r\n"
		"Content-Type: text/plain; charset=us-ascii\r\n"
		"\r\n"
		"explicitly typed, ends with a line end\r\n"
		"\r\n"
		"--a b--\r\n"
		"epilogue\r\n",
		"0 multi multipart/mixed;boundary=a b h=0+49/49/2 b=49+156/156/12 preamble=10 epilogue=10\n"
		" 1 leaf text/plain h=68+2/2/1 b=70+16/16/0 flags=1\n"
		" 2 leaf text/plain;charset=us-ascii h=98+46/46/2 b=144+40/40/1\n");

	assert_str(m->preview, "implicitly typed");
	assert_int_equal(m->attachments, 0);
}

static void bare_line_ends_give_the_same_wire_sizes(void **state)
{
	check(*state,
		"Content-Type: multipart/mixed; boundary=b\n\npre\n--b\nContent-Type: text/x\n\nhello\n\n--b--\nepi",
		"0 multi multipart/mixed;boundary=b h=0+43/45/2 b=43+46/53/7 preamble=3 epilogue=3\n"
		" 1 leaf text/x h=51+22/24/2 b=73+6/7/1\n");
}

/* Bodies of all lengths around those that are counted at once, with each octet that is told of at each place. */
static void octets_of_bodies_are_counted(void **state)
{
	static const char some[] = { '\r', '\n', 'x', '\n', 'y', '\r', '\n' };
	struct cv_arena *arena = *state;
	char octets[9000] = "A: b\n\n";
	const size_t head = 6;
	unsigned random = 1;

	for (size_t i = head; i < sizeof(octets); i++) {
		random = random * 1103515245u + 12345u;
		octets[i] = some[(random >> 16) % sizeof(some)];
	}
	for (size_t len = 0; len < sizeof(octets) - head; len += len < 100 ? 1 : 97) {
		struct cv_message_reader *reader = cv_message_reader_new_mem(cv_str_mem(octets, head + len));
		uint64_t lf = 0, bare = 0;
		struct cv_message *message;

		for (size_t i = head; i < head + len; i++) {
			lf += octets[i] == '\n';
			bare += octets[i] == '\n' && octets[i - 1] != '\r';
		}
		assert_true(cv_message_parse(arena, NULL, reader, &message, NULL) >= 0);
		assert_int_equal(message->root->body_size, len);
		assert_int_equal(message->root->body_lines, lf);
		assert_int_equal(message->root->body_wire_size, len + bare);
		assert_int_equal(message->root->flags & (CV_MIME_BODY_NUL | CV_MIME_BODY_8BIT), 0);
		cv_message_reader_free(&reader);
	}
	for (size_t at = head; at < head + 70; at++) {
		const char kept = octets[at];
		struct cv_message_reader *reader = cv_message_reader_new_mem(cv_str_mem(octets, head + 70));
		struct cv_message *message;

		octets[at] = at % 2 == 0 ? '\0' : (char)0x80;
		assert_true(cv_message_parse(arena, NULL, reader, &message, NULL) >= 0);
		assert_int_equal(message->root->flags & (CV_MIME_BODY_NUL | CV_MIME_BODY_8BIT), at % 2 == 0 ? CV_MIME_BODY_NUL : CV_MIME_BODY_8BIT);
		cv_message_reader_free(&reader);
		octets[at] = kept;
	}
}

static void nested_messages_have_envelopes(void **state)
{
	struct cv_message *m = check(*state,
		"Content-Type: message/rfc822\n\nSubject: inner\nFrom: a@b\nContent-Type: multipart/mixed; boundary=x\n\n"
		"--x\nContent-Type: message/global\n\nSubject: innermost\n\ndeep\n--x--\n",
		"0 message message/rfc822 h=0+30/32/2 b=30+133/144/11\n"
		" 1 multi multipart/mixed;boundary=x h=30+68/72/4 b=98+65/72/7 preamble=0 epilogue=0\n"
		"  2 message message/global h=102+30/32/2 b=132+24/26/2\n"
		"   3 leaf text/plain h=132+20/22/2 b=152+4/4/0 flags=1\n");

	assert_null(m->root->envelope->subject.ptr);
	assert_str(m->root->children->envelope->subject, "inner");
	assert_null(m->root->children->children->envelope);
	assert_str(m->root->children->children->children->envelope->subject, "innermost");
}

static void parts_of_a_digest_are_messages(void **state)
{
	check(*state,
		"Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: 1\n\none\n--d\nContent-Type: text/plain\n\ntwo\n--d\n"
		"Content-Type: rubbish\n\nthree\n--d--\n",
		"0 multi multipart/digest;boundary=d h=0+44/46/2 b=44+94/108/14 preamble=0 epilogue=0\n"
		" 1 message message/rfc822 h=48+1/2/1 b=49+15/17/2 flags=401\n"
		"  2 leaf text/plain h=49+12/14/2 b=61+3/3/0 flags=1\n"
		" 3 leaf text/plain h=69+26/28/2 b=95+3/3/0\n"
		" 4 leaf text/plain h=103+23/25/2 b=126+5/5/0 flags=1\n");
}

static void content_fields_are_kept(void **state)
{
	struct cv_message *m = check(*state,
		"Content-Type: Image/PNG; name=\"a.png\"\n"
		"content-transfer-encoding: BASE64\n"
		"Content-Disposition: inline; filename*=utf-8''%C3%A4.png; size=3\n"
		"Content-ID: <1@x>\n"
		"Content-Description: two\n\tlines\n"
		"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\n"
		"Content-Language: de, en (English) ,, fr\n"
		"Content-Location: http://x.test/a.png\n"
		"Content-Type: text/html\n"
		"Content-Transfer-Encoding: 7bit\n"
		"Content-Disposition: attachment\n"
		"Content-Foo: bar\n\nYQ==",
		"0 leaf Image/PNG;name=a.png disposition=inline;filename*=utf-8''%C3%A4.png;size=3 id=<1@x> description=two lines"
		" md5=Q2hlY2sgSW50ZWdyaXR5IQ== location=http://x.test/a.png language=de language=en language=fr encoding=BASE64"
		" h=0+410/424/14 b=410+4/4/0 flags=400\n");
	struct cv_buf name;

	assert_int_equal(m->root->encoding, CV_TRANSFER_BASE64);
	cv_buf_init(&name, 100);
	assert_true(cv_mime_part_filename(m->root, &name));
	assert_str(cv_buf_str(&name), "\u00E4.png");
	cv_buf_deinit(&name);
}

static void envelopes_join_addresses_and_take_the_first_text(void **state)
{
	struct cv_message *m = parse(*state, NULL,
		CV_STR("Date: today\nSubject: first\n =?utf-8?q?raw?=\nSubject: second\nTo: a@b\nTO: c@d, e@f\nCc:\nMessage-ID: <1@x>\n"
		       "In-Reply-To: <0@x>\nFrom: F <f@x>\n\n"),
		SIZE_MAX);
	struct cv_buf out;

	cv_buf_init(&out, 1000);
	cv_dump_envelope(&out, m->root->envelope);
	assert_str(cv_buf_str(&out), "today|first =?utf-8?q?raw?=|<0@x>|<1@x> [F|-|f|x] [-] [-] [-|-|a|b, -|-|c|d, -|-|e|f] [] [-]");
	assert_false(m->date_valid);
	cv_buf_deinit(&out);
}

static void delimiters_are_compared_as_whole_lines(void **state)
{
	check(*state,
		"Content-Type: multipart/mixed; boundary=foo\n\n--foo\n\n--foobar\n--foo--x\n --foo\n-- foo\n--fo\n--foo-\n--foo--\n--foo\n",
		"0 multi multipart/mixed;boundary=foo h=0+45/47/2 b=45+65/75/10 preamble=0 epilogue=6\n"
		" 1 leaf text/plain h=51+1/2/1 b=52+43/48/5 flags=1\n");
	/* the inner one begins like the outer one */
	check(*state,
		"Content-Type: multipart/mixed; boundary=f\n\n--f\nContent-Type: multipart/mixed; boundary=fo\n\n--fo\n\na\n--fo--\n--f\n\nb\n--f--",
		"0 multi multipart/mixed;boundary=f h=0+43/45/2 b=43+75/85/10 preamble=0 epilogue=0\n"
		" 1 multi multipart/mixed;boundary=fo h=47+44/46/2 b=91+14/17/3 preamble=0 epilogue=0\n"
		"  2 leaf text/plain h=96+1/2/1 b=97+1/1/0 flags=1\n"
		" 3 leaf text/plain h=110+1/2/1 b=111+1/1/0 flags=1\n");
}

static void an_outer_delimiter_ends_all_inside(void **state)
{
	check(*state,
		"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=i\n\n"
		"--i\n\nx\n--o\n\ny",
		"0 multi multipart/mixed;boundary=o h=0+43/45/2 b=43+90/100/10 preamble=0 epilogue=0 flags=40\n"
		" 1 message message/rfc822 h=47+30/32/2 b=77+49/53/4 flags=400\n"
		"  2 multi multipart/mixed;boundary=i h=77+43/45/2 b=120+6/8/2 preamble=0 epilogue=0 flags=40\n"
		"   3 leaf text/plain h=124+1/2/1 b=125+1/1/0 flags=1\n"
		" 4 leaf text/plain h=131+1/2/1 b=132+1/1/0 flags=1\n");
}

static void a_delimiter_ends_a_header_too(void **state)
{
	check(*state,
		"Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\nContent-Type: text/x\n--b\nContent-Type: message/rfc822\n--b\n"
		"Content-Type: message/rfc822\n\n--b--",
		"0 multi multipart/mixed;boundary=b h=0+43/45/2 b=43+101/109/8 preamble=0 epilogue=0\n"
		" 1 leaf text/plain h=47+0/0/0 b=47+0/0/0 flags=201\n"
		" 2 leaf text/x h=51+20/20/0 b=71+0/0/0 flags=200\n"
		" 3 message message/rfc822 h=76+28/28/0 b=104+0/0/0 flags=600\n"
		"  4 leaf text/plain h=104+0/0/0 b=104+0/0/0 flags=201\n"
		" 5 message message/rfc822 h=109+30/32/2 b=139+0/0/0 flags=400\n"
		"  6 leaf text/plain h=139+0/0/0 b=139+0/0/0 flags=201\n");
}

static void a_multipart_without_parts_shows_its_text(void **state)
{
	struct cv_message *m = check(*state, "Content-Type: multipart/mixed\n\nsome text\n",
		"0 multi multipart/mixed h=0+31/33/2 b=31+10/11/1 preamble=0 epilogue=0 flags=c0\n"
		" 1 leaf text/plain h=31+0/0/0 b=31+10/11/1 flags=1\n");

	assert_str(m->preview, "some text");
	check(*state, "Content-Type: multipart/mixed; boundary=x\n\nnone here\n",
		"0 multi multipart/mixed;boundary=x h=0+43/45/2 b=43+10/11/1 preamble=0 epilogue=0 flags=c0\n"
		" 1 leaf text/plain h=43+0/0/0 b=43+10/11/1 flags=1\n");
	check(*state, "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n--\n",
		"0 multi multipart/mixed;boundary= h=0+44/46/2 b=44+6/8/2 preamble=0 epilogue=0 flags=c0\n"
		" 1 leaf text/plain h=44+0/0/0 b=44+6/8/2 flags=1\n");
	check(*state, "Content-Type: multipart/mixed; boundary=x\n\n--x--\nepi",
		"0 multi multipart/mixed;boundary=x h=0+43/45/2 b=43+9/10/1 preamble=0 epilogue=3 flags=80\n"
		" 1 leaf text/plain h=43+0/0/0 b=43+9/10/1 flags=1\n");
}

static void parts_beyond_the_limit_are_body_of_the_last(void **state)
{
	struct cv_mime_limits limits = { .parts = 3 };
	struct cv_message *m = check_limits(*state, &limits,
		CV_STR("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b\n\n2\n--b\n\n3\n--b--\n"),
		"0 multi multipart/mixed;boundary=b h=0+43/45/2 b=43+27/37/10 preamble=0 epilogue=0 flags=840\n"
		" 1 leaf text/plain h=47+1/2/1 b=48+1/1/0 flags=1\n"
		" 2 leaf text/plain h=54+1/2/1 b=55+15/20/5 flags=1\n");

	assert_int_equal(m->part_count, 3);
}

static void containers_beyond_the_depth_are_opaque(void **state)
{
	struct cv_mime_limits limits = { .depth = 1 };

	check_limits(*state, &limits,
		CV_STR("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\ny\n--b--\n"),
		"0 multi multipart/mixed;boundary=b h=0+43/45/2 b=43+54/61/7 preamble=0 epilogue=0\n"
		" 1 leaf application/octet-stream h=47+30/32/2 b=77+13/15/2 flags=420\n");
}

/* 10,000 parts in each other, and 10,000 beside each other: no recursion, and no more memory than for the limits. */
static void ten_thousand_parts_are_bounded(void **state CV_UNUSED)
{
	for (int nested = 0; nested < 2; nested++) {
		struct cv_arena *arena = cv_arena_new("many", NULL, 0);
		struct cv_mime_parser *parser = cv_mime_parser_new(arena, NULL);
		struct cv_message *m;
		struct cv_buf out;

		cv_buf_init(&out, SIZE_MAX);
		cv_buf_append_c(&out, "Content-Type: multipart/mixed; boundary=b\n\n");
		for (int i = 0; i < 10000; i++) {
			if (nested)
				cv_buf_printf(&out, "--b%s\nContent-Type: multipart/mixed; boundary=b%d\n\n", i == 0 ? "" : "x", i);
			else
				cv_buf_append_c(&out, "--b\nContent-Type: message/rfc822\n\nSubject: s\n\nt\n");
		}
		if (nested) { /* each boundary is the one that was just begun */
			cv_buf_clear(&out);
			cv_buf_append_c(&out, "Content-Type: multipart/mixed; boundary=b0\n\n");
			for (int i = 0; i < 10000; i++)
				cv_buf_printf(&out, "--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n", i, i + 1);
		}
		cv_mime_parser_feed(parser, cv_buf_str(&out));
		m = cv_mime_parser_finish(parser);
		assert_null(cv_check_tree(m));
		assert_int_equal(m->size, out.len);
		assert_int_equal(m->part_count, nested ? 101 : 1000);
		assert_true(cv_arena_used(arena) < 2 * 1024 * 1024);
		cv_buf_deinit(&out);
		cv_arena_free(&arena);
	}
}

static void a_huge_header_is_bounded(void **state CV_UNUSED)
{
	struct cv_arena *arena = cv_arena_new("huge", NULL, 0);
	struct cv_mime_parser *parser = cv_mime_parser_new(arena, NULL);
	struct cv_message *m;
	char chunk[1000];

	memset(chunk, 'x', sizeof(chunk));
	cv_mime_parser_feed(parser, CV_STR("Subject: "));
	for (int i = 0; i < 20000; i++)
		cv_mime_parser_feed(parser, cv_str_mem(chunk, sizeof(chunk)));
	cv_mime_parser_feed(parser, CV_STR("\nTo: a@b\n\nbody"));
	m = cv_mime_parser_finish(parser);
	assert_int_equal(m->root->header_size, 9 + 20000000 + 1 + 8 + 1);
	assert_int_equal(m->root->body_size, 4);
	assert_true(m->root->flags & CV_MIME_HEADER_CUT);
	assert_int_equal(m->root->envelope->subject.len, 256 * 1024 - 1);
	assert_true(cv_arena_used(arena) < 4 * 1024 * 1024);
	cv_arena_free(&arena);
}

static void endless_delimiter_lines_are_text(void **state CV_UNUSED)
{
	struct cv_arena *arena = cv_arena_new("endless", NULL, 0);
	struct cv_mime_parser *parser = cv_mime_parser_new(arena, NULL);
	struct cv_message *m;
	char chunk[1000];

	memset(chunk, ' ', sizeof(chunk));
	cv_mime_parser_feed(parser, CV_STR("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b"));
	for (int i = 0; i < 5000; i++)
		cv_mime_parser_feed(parser, cv_str_mem(chunk, sizeof(chunk)));
	cv_mime_parser_feed(parser, CV_STR("\n--b--\n"));
	m = cv_mime_parser_finish(parser);
	assert_int_equal(m->part_count, 2);
	assert_int_equal(m->root->children->body_size, 2 + 3 + 5000000);
	assert_true(cv_arena_used(arena) < 64 * 1024);
	cv_arena_free(&arena);
}

static void overlong_boundaries_are_none(void **state)
{
	struct cv_buf in;
	struct cv_message *m;

	cv_buf_init(&in, SIZE_MAX);
	for (int len = 999; len <= 1001; len++) {
		cv_buf_clear(&in);
		cv_buf_printf(&in, "Content-Type: multipart/mixed; boundary=%0*d\n\n--%0*d\n\nx\n--%0*d--\n", len, 0, len, 0, len, 0);
		m = parse(*state, NULL, cv_buf_str(&in), 7);
		assert_int_equal((m->root->flags & CV_MIME_NO_BOUNDARY) != 0, len > 1000);
	}
	cv_buf_deinit(&in);
}

static void section_numbers_are_those_of_imap(void **state)
{
	/* the tree of RFC 3501 section 6.4.5: text, octets, a message of two parts, a multipart with such a message in it */
	struct cv_message *m = parse(*state, NULL,
		CV_STR("Content-Type: multipart/mixed; boundary=a\n\n"
		       "--a\nContent-Type: text/plain\n\n1\n"
		       "--a\nContent-Type: application/octet-stream\n\n2\n"
		       "--a\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=b\n\n"
		       "--b\nContent-Type: text/plain\n\n3.1\n--b\nContent-Type: application/octet-stream\n\n3.2\n--b--\n"
		       "--a\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: image/gif\n\n4.1\n"
		       "--c\nContent-Type: message/rfc822\n\nContent-Type: text/plain; x=inner\n\n4.2.1\n--c--\n--a--\n"),
		SIZE_MAX);
	static const struct {
		uint32_t path[4];
		size_t count;
		uint32_t index;
	} rows[] = { { { 0 }, 0, 0 }, { { 1 }, 1, 1 }, { { 2 }, 1, 2 }, { { 3 }, 1, 3 }, { { 3, 1 }, 2, 5 }, { { 3, 2 }, 2, 6 },
		{ { 4 }, 1, 7 }, { { 4, 1 }, 2, 8 }, { { 4, 2 }, 2, 9 }, { { 4, 2, 1 }, 3, 10 } };
	static const struct {
		uint32_t path[4];
		size_t count;
	} none[] = { { { 5 }, 1 }, { { 1, 1 }, 2 }, { { 3, 3 }, 2 }, { { 4, 2, 2 }, 3 }, { { 4, 2, 1, 1 }, 4 }, { { 3, 1, 1 }, 3 },
		{ { UINT32_MAX }, 1 }, { { 4, 2, 0 }, 3 } };
	const struct cv_mime_part *part;

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		part = cv_mime_part_find(m->root, rows[i].path, rows[i].count);
		assert_non_null(part);
		assert_int_equal(part->index, rows[i].index);
	}
	for (size_t i = 0; i < CV_COUNT_OF(none); i++)
		assert_null(cv_mime_part_find(m->root, none[i].path, none[i].count));
	assert_ptr_equal(cv_mime_part_message(cv_mime_part_find(m->root, rows[3].path, 1)),
		cv_mime_part_find(m->root, rows[3].path, 1)->children);
	assert_null(cv_mime_part_message(m->root));
}

static void a_message_without_parts_is_its_part_1(void **state)
{
	static const uint32_t path[] = { 1, 1, 1 };
	struct cv_message *m = parse(*state, NULL, CV_STR("Subject: x\n\ny"), SIZE_MAX);

	assert_ptr_equal(cv_mime_part_find(m->root, path, 1), m->root);
	assert_null(cv_mime_part_find(m->root, path, 2));
	/* a message that is a message: 1 is it, 1.1 is the inner one's text */
	m = parse(*state, NULL, CV_STR("Content-Type: message/rfc822\n\nSubject: x\n\ny"), SIZE_MAX);
	assert_ptr_equal(cv_mime_part_find(m->root, path, 1), m->root);
	assert_ptr_equal(cv_mime_part_find(m->root, path, 2), m->root->children);
	assert_null(cv_mime_part_find(m->root, path, 3));
}

static void check_preview(struct cv_arena *arena, const char *octets, const char *want)
{
	assert_str_eq(parse(arena, NULL, cv_str_c(octets), SIZE_MAX)->preview, cv_str_c(want));
	assert_str_eq(parse(arena, NULL, cv_str_c(octets), 1)->preview, cv_str_c(want));
}

static void previews_are_one_line_of_decoded_text(void **state)
{
	check_preview(*state, "\n  Hello\r\n\r\n\tworld  \n", "Hello world");
	check_preview(*state, "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe=\n!\n",
		"Gr\u00FC\u00DFe!");
	check_preview(*state, "Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\n4oKs\n", "\u20AC");
	/* quoted lines only when there is nothing else */
	check_preview(*state, "\n> old\n>> older\nnew\n", "new");
	check_preview(*state, "\n> old\n> > older\n", "old older");
	/* what marketing mail hides its first line with */
	check_preview(*state, "\n\u200C\u00A0\u034F\u00AD\uFEFFSale\u202E!\n", "Sale!");
	check_preview(*state, "Content-Type: application/pdf\n\n%PDF", "");
	check_preview(*state, "Content-Type: text/plain\nContent-Disposition: attachment\n\nfile\n", "");
	/* an empty text part, then HTML */
	check_preview(*state,
		"Content-Type: multipart/alternative; boundary=b\n\n--b\n\n \n--b\nContent-Type: text/html\n\n"
		"<html><head><title>no</title><style>p { x: 'y' }</style></head><body><!-- no --><p>Ein <b>Te</b>xt &amp; "
		"&#252;ber&#x20AC;&euro;&nosuch; 1 < 2<br>neue Zeile<script>if (a<b) {}</script></p></body>\n--b--\n",
		"Ein Text & \u00FCber\u20AC\u20AC&nosuch; 1 < 2 neue Zeile");
	check_preview(*state, "Content-Type: text/html\n\n<a title=\"a > b\" href='x>y'>link</a> &", "link &");
}

static void previews_stop_at_their_length(void **state)
{
	struct cv_mime_limits limits = { .preview_chars = 5 };
	struct cv_mime_limits input = { .preview_input = 6 };
	struct cv_message *m = parse(*state, &limits, CV_STR("Content-Type: text/plain; charset=utf-8\n\n\xC3\xA4\xC3\xA4 \xC3\xA4\xC3\xA4 \xC3\xA4"), SIZE_MAX);

	assert_str(m->preview, "\u00E4\u00E4 \u00E4\u00E4");
	m = parse(*state, &limits, CV_STR("\n1234 6"), SIZE_MAX);
	assert_str(m->preview, "1234");
	m = parse(*state, &input, CV_STR("Content-Type: text/plain; charset=utf-8\n\nabcde\xC3\xA4"), SIZE_MAX);
	assert_str(m->preview, "abcde");
}

static void attachments_are_what_people_call_so(void **state)
{
	static const struct {
		const char *header;
		uint32_t count;
	} rows[] = {
		{ "Content-Type: text/plain", 0 },
		{ "Content-Type: text/plain; name=x.txt", 1 },
		{ "Content-Type: text/plain\nContent-Disposition: attachment", 1 },
		{ "Content-Type: text/plain\nContent-Disposition: inline; filename*0=x", 1 },
		{ "Content-Type: application/pdf", 1 },
		{ "Content-Type: image/png\nContent-Disposition: inline", 1 },
		{ "Content-Type: application/pgp-signature; name=signature.asc\nContent-Disposition: attachment", 0 },
		{ "Content-Type: message/rfc822\n\nContent-Type: application/pdf", 1 },
		{ "Content-Type: multipart/related; boundary=r\n\n--r\nContent-Type: text/html\n\n--r\nContent-Type: image/png; name=x\n"
		  "Content-ID: <1>\n\n--r--", 0 },
		{ "Content-Type: multipart/report; boundary=r\n\n--r\nContent-Type: text/plain\n\n--r\n"
		  "Content-Type: message/delivery-status\n\n--r\nContent-Type: message/rfc822\n\n--r--", 0 },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_buf in;
		struct cv_message *m;

		cv_buf_init(&in, 10000);
		cv_buf_printf(&in, "Content-Type: multipart/mixed; boundary=m\n\n--m\n\ntext\n--m\n%s\n\nx\n--m--\n", rows[i].header);
		m = parse(*state, NULL, cv_buf_str(&in), SIZE_MAX);
		if (m->attachments != rows[i].count)
			fail_msg("%u attachments in: %s", m->attachments, rows[i].header);
		cv_buf_deinit(&in);
	}
}

static void sent_date_is_read(void **state)
{
	struct cv_message *m = parse(*state, NULL, CV_STR("Date: Fri, 21 Nov 1997 09:55:06 -0600\nDate: junk\n\n"), SIZE_MAX);

	assert_true(m->date_valid);
	assert_int_equal(m->date.sec, 880127706);
	assert_int_equal(m->date.zone_min, -360);
}

static void addresses_are_bounded_for_the_whole_message(void **state)
{
	struct cv_mime_limits limits = { .addresses = 3 };
	struct cv_message *m = parse(*state, &limits,
		CV_STR("To: a@b, c@d\nCc: e@f, g@h\nFrom: i@j\nContent-Type: message/rfc822\n\nTo: k@l\n\n"), SIZE_MAX);

	assert_int_equal(m->root->envelope->to.count, 2);
	assert_int_equal(m->root->envelope->cc.count, 1);
	assert_int_equal(m->root->envelope->from.count, 0);
	assert_int_equal(m->root->children->envelope->to.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(a_plain_message_is_one_part),
		cv_test(odd_messages_are_one_part_too),
		cv_test(a_multipart_has_its_parts_and_what_is_around_them),
		cv_test(bare_line_ends_give_the_same_wire_sizes),
		cv_test(octets_of_bodies_are_counted),
		cv_test(nested_messages_have_envelopes),
		cv_test(parts_of_a_digest_are_messages),
		cv_test(content_fields_are_kept),
		cv_test(envelopes_join_addresses_and_take_the_first_text),
		cv_test(delimiters_are_compared_as_whole_lines),
		cv_test(an_outer_delimiter_ends_all_inside),
		cv_test(a_delimiter_ends_a_header_too),
		cv_test(a_multipart_without_parts_shows_its_text),
		cv_test(parts_beyond_the_limit_are_body_of_the_last),
		cv_test(containers_beyond_the_depth_are_opaque),
		cv_test(ten_thousand_parts_are_bounded),
		cv_test(a_huge_header_is_bounded),
		cv_test(endless_delimiter_lines_are_text),
		cv_test(overlong_boundaries_are_none),
		cv_test(section_numbers_are_those_of_imap),
		cv_test(a_message_without_parts_is_its_part_1),
		cv_test(previews_are_one_line_of_decoded_text),
		cv_test(previews_stop_at_their_length),
		cv_test(attachments_are_what_people_call_so),
		cv_test(sent_date_is_read),
		cv_test(addresses_are_bounded_for_the_whole_message),
	};

	return cv_test_run(tests);
}
