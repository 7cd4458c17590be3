/* SPDX-License-Identifier: MIT
   The texts that are kept in files. When one of these is another one, CV_IMAP_TEXTS_FORMAT must become another number too. */
#include <config.h>

#include "modules/lib/imap/imap-structure.h"
#include "modules/lib/imap/imap-texts.h"
#include "t/lib/test.h"

#include <culver/message.h>

#define FORMAT 0x494d0001u /* of the texts below */

#define HEAD "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: \"Fred \\\"F\\\" Foobar\" <foobar@blurdybloop.example>\r\n"

static const struct {
	const char *message, *envelope, *structure;
} rows[] = {
	{ HEAD "Subject: afternoon meeting\r\nTo: mooch@owatagu.example, team: a@b, c@d;\r\nMessage-Id: <B27397-0100000@x>\r\n"
	       "MIME-Version: 1.0\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\nHello Joe\r\n",
	  "(\"Mon, 7 Feb 1994 21:52:25 -0800\" \"afternoon meeting\" ((\"Fred \\\"F\\\" Foobar\" NIL \"foobar\" \"blurdybloop.example\")) "
	  "((\"Fred \\\"F\\\" Foobar\" NIL \"foobar\" \"blurdybloop.example\")) ((\"Fred \\\"F\\\" Foobar\" NIL \"foobar\" \"blurdybloop.example\")) "
	  "((NIL NIL \"mooch\" \"owatagu.example\")(NIL NIL \"team\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")(NIL NIL NIL NIL)) NIL NIL NIL "
	  "\"<B27397-0100000@x>\")",
	  "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 11 1 NIL NIL NIL NIL)" },
	{ "Subject: \xc3\xa4\r\nSender: s@t\r\nReply-To: r@t\r\nIn-Reply-To: <1@x>\r\n\r\n",
	  "(NIL {2}\r\n\xc3\xa4 NIL ((NIL NIL \"s\" \"t\")) ((NIL NIL \"r\" \"t\")) NIL NIL NIL \"<1@x>\" NIL)",
	  "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)" },
	{ "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Language: de, en\r\n\r\n--b\r\n"
	  "Content-Type: text/html; charset=utf-8; x*0=one; x*1=two\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Id: <i@x>\r\n"
	  "Content-Description: d\r\nContent-Location: l\r\nContent-Disposition: inline; filename=f.html\r\n\r\n<p>\r\n--b\r\n"
	  "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n--b\r\nContent-Type: application/zip\r\n"
	  "Content-Disposition: attachment\r\nContent-MD5: m\r\n\r\nz\r\n--b--\r\n",
	  "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
	  "((\"text\" \"html\" (\"charset\" \"utf-8\" \"x\" \"onetwo\") \"<i@x>\" \"d\" \"quoted-printable\" 3 0 NIL (\"inline\" (\"filename\" \"f.html\")) NIL \"l\")"
	  "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 19 (NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) "
	  "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL)"
	  "(\"application\" \"zip\" NIL NIL NIL \"7BIT\" 1 \"m\" (\"attachment\" NIL) NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL (\"de\" \"en\") NIL)" },
};

static void record_of(struct cv_arena *arena, struct cv_str message, struct cv_buf *record)
{
	struct cv_mime_parser *parser = cv_mime_parser_new(arena, NULL);

	cv_buf_clear(record);
	cv_mime_parser_feed(parser, message);
	cv_parse_record_build(cv_mime_parser_finish(parser), record);
}

static void init(struct cv_buf *record, struct cv_buf texts[2])
{
	cv_buf_init(record, CV_PARSE_RECORD_MAX);
	cv_buf_init(&texts[0], CV_TEXT_MAX);
	cv_buf_init(&texts[1], CV_TEXT_MAX);
}

static void deinit(struct cv_buf *record, struct cv_buf texts[2])
{
	cv_buf_deinit(record);
	cv_buf_deinit(&texts[0]);
	cv_buf_deinit(&texts[1]);
}

static void their_octets_are_those_of_the_format(void **state)
{
	struct cv_buf record, texts[2];

	assert_int_equal(CV_IMAP_TEXTS_FORMAT, FORMAT);
	assert_int_equal(cv_imap_texts.format, FORMAT);
	assert_int_equal(cv_imap_texts.count, 2);
	init(&record, texts);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		record_of(*state, cv_str_c(rows[i].message), &record);
		cv_buf_clear(&texts[0]);
		cv_buf_clear(&texts[1]);
		assert_true(cv_imap_texts.make(cv_buf_str(&record), *state, texts));
		assert_string_equal(texts[0].data, rows[i].envelope);
		assert_string_equal(texts[1].data, rows[i].structure);
	}
	deinit(&record, texts);
}

static void of_a_damaged_record_there_are_none(void **state)
{
	struct cv_buf record, texts[2];

	init(&record, texts);
	record_of(*state, cv_str_c(rows[2].message), &record);
	for (size_t len = 0; len < record.len; len++)
		assert_false(cv_imap_texts.make(cv_str_sub(cv_buf_str(&record), 0, len), *state, texts));
	assert_int_equal(texts[0].len + texts[1].len, 0);
	deinit(&record, texts);
}

/* More than is kept: the buffer says so. */
static void long_ones_do_not_fit(void **state)
{
	struct cv_buf record, message, texts[2];

	init(&record, texts);
	cv_buf_init(&message, 1 << 20);
	cv_buf_append_c(&message, "Subject: s\r\nTo: a@b");
	for (unsigned i = 0; i < 1000; i++)
		cv_buf_append_c(&message, ",\r\n someone@example.org");
	cv_buf_append_c(&message, "\r\n\r\nx\r\n");
	record_of(*state, cv_buf_str(&message), &record);
	assert_true(cv_imap_texts.make(cv_buf_str(&record), *state, texts));
	assert_false(cv_buf_ok(&texts[0]));
	assert_true(cv_buf_ok(&texts[1]) && texts[1].len > 0);
	cv_buf_deinit(&message);
	deinit(&record, texts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(their_octets_are_those_of_the_format),
		cv_test(of_a_damaged_record_there_are_none),
		cv_test(long_ones_do_not_fit),
	};

	return cv_test_run(tests);
}
