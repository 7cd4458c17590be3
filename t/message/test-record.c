/* SPDX-License-Identifier: MIT
   Parse records: what goes in comes out, they are small, and damaged ones are refused without harm. */
#include <config.h>

#include "t/lib/message-dump.h"
#include "t/lib/test.h"

#include <string.h>

static struct cv_message *parse(struct cv_arena *arena, struct cv_str octets)
{
	struct cv_mime_parser *parser = cv_mime_parser_new(arena, NULL);

	cv_mime_parser_feed(parser, octets);
	return cv_mime_parser_finish(parser);
}

static struct cv_str build(struct cv_arena *arena, const struct cv_message *message)
{
	struct cv_buf out;
	struct cv_str octets;

	cv_buf_init(&out, SIZE_MAX);
	cv_parse_record_build(message, &out);
	assert_true(cv_buf_ok(&out));
	assert_true(out.len <= CV_PARSE_RECORD_MAX);
	octets = cv_arena_str(arena, cv_buf_str(&out));
	cv_buf_deinit(&out);
	return octets;
}

/* A list mail with an attachment, as large a header as such mails have. */
static const char list_mail[] =
	"Return-Path: <users-bounces+bob=example.net@lists.example.org>\r\n"
	"Delivered-To: bob@example.net\r\n"
	"Received: from lists.example.org (lists.example.org [192.0.2.7])\r\n"
	"\tby mx.example.net (Postfix) with ESMTPS id 4WxYz12345\r\n"
	"\tfor <bob@example.net>; Mon,  2 Jan 2023 12:00:05 +0100 (CET)\r\n"
	"Received: from localhost (localhost [127.0.0.1])\r\n"
	"\tby lists.example.org (Postfix) with ESMTP id 4WxYz00001; Mon,  2 Jan 2023 12:00:03 +0100 (CET)\r\n"
	"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=mail;\r\n"
	"\th=From:To:Subject:Date; bh=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=;\r\n"
	"\tb=QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n"
	"From: =?utf-8?Q?J=C3=B6rg_M=C3=BCller?= <joerg.mueller@example.org>\r\n"
	"To: \"Users of the thing\" <users@lists.example.org>\r\n"
	"Cc: Ann Other <ann@example.com>, bob@example.net\r\n"
	"Subject: Re: [users] A question of some length about the configuration\r\n"
	"Date: Mon, 02 Jan 2023 12:00:00 +0100\r\n"
	"Message-ID: <20230102120000.1234@mail.example.org>\r\n"
	"In-Reply-To: <20230101110000.9876@mail.example.com>\r\n"
	"References: <20221231100000.5555@mail.example.net>\r\n"
	" <20230101110000.9876@mail.example.com>\r\n"
	"List-Id: Users of the thing <users.lists.example.org>\r\n"
	"List-Post: <mailto:users@lists.example.org>\r\n"
	"List-Unsubscribe: <mailto:users-leave@lists.example.org>\r\n"
	"MIME-Version: 1.0\r\n"
	"Content-Type: multipart/mixed; boundary=\"=_0123456789\"\r\n"
	"User-Agent: Example/1.0\r\n"
	"\r\n"
	"--=_0123456789\r\n"
	"Content-Type: text/plain; charset=utf-8\r\n"
	"Content-Transfer-Encoding: quoted-printable\r\n"
	"\r\n"
	"Dear all,\r\n\r\nhow do I configure the thing so that it does what I want? I have read\r\n"
	"the manual, and the chapter on configuration leaves me puzzled. Gr=C3=BC=C3=9Fe\r\n"
	"--=_0123456789\r\n"
	"Content-Type: application/pdf; name=\"thing.pdf\"\r\n"
	"Content-Disposition: attachment; filename=\"thing.pdf\"\r\n"
	"Content-Transfer-Encoding: base64\r\n"
	"\r\n"
	"JVBERi0xLjQK\r\n"
	"--=_0123456789--\r\n";

static void what_goes_in_comes_out(void **state)
{
	struct cv_message *m = parse(*state, cv_str_c(list_mail));
	struct cv_str octets = build(*state, m);
	struct cv_parse_record record;
	struct cv_mime_part *root;
	struct cv_envelope envelope;
	struct cv_buf want, got;
	struct cv_str preview;
	struct cv_err err = { 0 };

	assert_true(octets.len < 2000);
	assert_int_equal(cv_parse_record_open(octets, &record, &err), 1);
	assert_int_equal(record.size, m->size);
	assert_int_equal(record.wire_size, m->wire_size);
	assert_int_equal(record.header_size, m->root->header_size);
	assert_int_equal(record.header_wire_size, m->root->header_wire_size);
	assert_int_equal(record.part_count, 3);
	assert_int_equal(record.attachments, 1);
	assert_int_equal(record.flags, m->flags);
	assert_true(record.date_valid);
	assert_int_equal(record.date.sec, 1672657200);
	assert_int_equal(record.date.zone_min, 60);
	assert_int_equal(cv_parse_record_preview(&record, &preview), 1);
	assert_str_eq(preview, m->preview);
	cv_buf_init(&want, SIZE_MAX);
	cv_buf_init(&got, SIZE_MAX);
	cv_dump_envelope(&want, m->root->envelope);
	assert_int_equal(cv_parse_record_envelope(&record, *state, &envelope, &err), 1);
	cv_dump_envelope(&got, &envelope);
	assert_str_eq(cv_buf_str(&got), cv_buf_str(&want));
	cv_dump_tree(&want, m->root);
	assert_int_equal(cv_parse_record_tree(&record, *state, &root, &err), 1);
	cv_buf_clear(&got);
	cv_dump_envelope(&got, &envelope);
	cv_dump_tree(&got, root);
	assert_str_eq(cv_buf_str(&got), cv_buf_str(&want));
	cv_buf_deinit(&want);
	cv_buf_deinit(&got);
}

static void strings_of_the_envelope_cost_no_octets_of_their_own(void **state)
{
	struct cv_message *m = parse(*state,
		CV_STR("From: Ann Other <ann@example.com>\r\nTo: bob@example.net\r\nSubject: Lunch on Friday\r\nMessage-ID: <1@example.com>\r\n\r\nText"));
	struct cv_str octets = build(*state, m);
	struct cv_parse_record record;

	assert_int_equal(cv_parse_record_open(octets, &record, NULL), 1);
	/* the fields, and "text" and "plain" */
	assert_true(record.pool.len <= record.fields.len + 9);
	assert_true(octets.len < 300);
}

static bool keeps_all(const struct cv_parse_record *record, struct cv_str a, struct cv_str b)
{
	struct cv_record_names names = { 0 };

	cv_record_names_add(&names, a);
	cv_record_names_add(&names, b);
	return cv_parse_record_keeps_all(record, &names);
}

static void kept_fields_are_known_to_be_complete(void **state)
{
	struct cv_parse_record record;
	struct cv_buf out;

	assert_int_equal(cv_parse_record_open(build(*state, parse(*state, cv_str_c(list_mail))), &record, NULL), 1);
	cv_buf_init(&out, 10000);
	assert_true(cv_parse_record_keeps(&record, CV_STR("SUBJECT")));
	assert_true(cv_parse_record_keeps(&record, CV_STR("List-Help")));
	assert_true(cv_parse_record_keeps(&record, CV_STR("X-Priority")));
	assert_true(cv_parse_record_keeps(&record, CV_STR("User-Agent")));
	assert_true(keeps_all(&record, CV_STR("subject"), CV_STR("USER-AGENT")));
	assert_false(keeps_all(&record, CV_STR("Subject"), CV_STR("Received")));
	/* of Received only the first is there */
	assert_false(cv_parse_record_keeps(&record, CV_STR("Received")));
	assert_int_equal(cv_parse_record_field(&record, CV_STR("received"), &out), 1);
	assert_true(cv_str_starts(cv_buf_str(&out), CV_STR("from lists.example.org (lists")));
	cv_buf_clear(&out);
	assert_int_equal(cv_parse_record_field(&record, CV_STR("references"), &out), 1);
	assert_str(cv_buf_str(&out), "<20221231100000.5555@mail.example.net> <20230101110000.9876@mail.example.com>");
	assert_int_equal(cv_parse_record_field(&record, CV_STR("x-priority"), &out), 0);
	assert_int_equal(cv_parse_record_field(&record, CV_STR("user-agent"), &out), 1);
	cv_buf_deinit(&out);
}

static void other_fields_are_kept_while_they_are_short(void **state)
{
	struct cv_parse_record record;
	struct cv_header_field field;
	struct cv_buf in, out;

	cv_buf_init(&in, SIZE_MAX);
	cv_buf_init(&out, SIZE_MAX);
	cv_buf_append_c(&in, "X-Mailer: Pigeon 1.0\nDKIM-Signature: v=1;");
	for (int i = 0; i < 20; i++)
		cv_buf_append_c(&in, "\n b=bm9uZSBvZiBpdA");
	cv_buf_append_c(&in, "\nx-mailer: \n again\nSubject: s\n\nbody");
	assert_int_equal(cv_parse_record_open(build(*state, parse(*state, cv_buf_str(&in))), &record, NULL), 1);
	assert_true(cv_parse_record_keeps(&record, CV_STR("X-MAILER")));
	assert_int_equal(cv_parse_record_field(&record, CV_STR("x-mailer"), &out), 1);
	assert_str(cv_buf_str(&out), "Pigeon 1.0");
	assert_true(cv_header_find(cv_parse_record_fields(&record), CV_STR("X-Mailer"), 1, &field));
	/* too long, and said to be */
	assert_false(cv_parse_record_keeps(&record, CV_STR("DKIM-Signature")));
	assert_false(keeps_all(&record, CV_STR("Subject"), CV_STR("DKIM-Signature")));
	assert_true(keeps_all(&record, CV_STR("Subject"), CV_STR("X-None")));
	assert_int_equal(cv_parse_record_field(&record, CV_STR("dkim-signature"), &out), -1);
	/* none in the message, and that is known */
	assert_true(cv_parse_record_keeps(&record, CV_STR("X-None")));
	assert_int_equal(cv_parse_record_field(&record, CV_STR("X-None"), &out), 0);
	/* too many: those behind the bound are left out, those of the table are not */
	cv_buf_clear(&in);
	for (int i = 0; i < 40; i++)
		cv_buf_printf(&in, "X-Number-%d: %030d\n", i, i);
	cv_buf_append_c(&in, "Subject: s\n\nbody");
	assert_int_equal(cv_parse_record_open(build(*state, parse(*state, cv_buf_str(&in))), &record, NULL), 1);
	assert_int_equal(cv_parse_record_field(&record, CV_STR("X-Number-39"), &out), -1);
	assert_true(cv_header_find(cv_parse_record_fields(&record), CV_STR("X-Number-0"), 0, &field));
	assert_true(cv_parse_record_keeps(&record, CV_STR("Subject")));
	assert_true(cv_parse_record_fields(&record).len < 1024 + 20);
	cv_buf_deinit(&in);
	cv_buf_deinit(&out);
}

/* The fixed part had 96 octets once. */
static void records_of_before_know_nothing_of_other_names(void **state)
{
	struct cv_str octets = build(*state, parse(*state, CV_STR("Subject: s\nX-Mailer: m\n\nbody")));
	struct cv_parse_record record;
	struct cv_str preview;
	struct cv_buf old, out;

	cv_buf_init(&old, SIZE_MAX);
	cv_buf_init(&out, SIZE_MAX);
	cv_buf_append(&old, cv_str_sub(octets, 0, 6));
	cv_put_u16(&old, 96);
	cv_put_u32(&old, (uint32_t)octets.len - 8);
	cv_buf_append(&old, cv_str_sub(octets, 12, 96 - 12));
	cv_buf_append(&old, cv_str_sub(octets, 104, SIZE_MAX));
	assert_int_equal(cv_parse_record_open(cv_buf_str(&old), &record, NULL), 1);
	assert_false(cv_parse_record_keeps(&record, CV_STR("X-Mailer")));
	assert_false(cv_parse_record_keeps(&record, CV_STR("X-None")));
	assert_int_equal(cv_parse_record_field(&record, CV_STR("X-None"), &out), -1);
	assert_int_equal(cv_parse_record_field(&record, CV_STR("subject"), &out), 1);
	assert_int_equal(cv_parse_record_preview(&record, &preview), 1);
	assert_str(preview, "body");
	cv_buf_deinit(&old);
	cv_buf_deinit(&out);
}

static void fields_beyond_their_bound_are_left_out_and_said_to_be(void **state)
{
	struct cv_parse_record record;
	struct cv_envelope envelope;
	struct cv_buf in;
	struct cv_header_field field;

	cv_buf_init(&in, SIZE_MAX);
	cv_buf_append_c(&in, "Subject: x\nTo: a@b");
	for (int i = 0; i < 500; i++)
		cv_buf_printf(&in, ",\n recipient%d@example.org", i);
	cv_buf_append_c(&in, "\n\nbody");
	assert_int_equal(cv_parse_record_open(build(*state, parse(*state, cv_buf_str(&in))), &record, NULL), 1);
	assert_false(cv_parse_record_keeps(&record, CV_STR("To")));
	assert_true(cv_parse_record_keeps(&record, CV_STR("Cc")));
	assert_false(keeps_all(&record, CV_STR("Cc"), CV_STR("To")));
	assert_false(cv_header_find(cv_parse_record_fields(&record), CV_STR("to"), 0, &field));
	assert_int_equal(cv_parse_record_field(&record, CV_STR("to"), &in), -1);
	/* the envelope has them all the same */
	assert_int_equal(cv_parse_record_envelope(&record, *state, &envelope, NULL), 1);
	assert_int_equal(envelope.to.count, 501);
	assert_str(envelope.to.items[500].mailbox, "recipient499");
	cv_buf_deinit(&in);
}

static void what_does_not_fit_is_left_out_as_a_section(void **state)
{
	struct cv_parse_record record;
	struct cv_envelope envelope;
	struct cv_mime_part *root;
	struct cv_str preview;
	struct cv_buf in;

	cv_buf_init(&in, SIZE_MAX);
	cv_buf_append_c(&in, "Subject: many\nTo: a@b");
	for (int i = 0; i < 15000; i++)
		cv_buf_printf(&in, ",\n r%d@host%d.example", i, i);
	cv_buf_append_c(&in, "\n\nbody");
	assert_int_equal(cv_parse_record_open(build(*state, parse(*state, cv_buf_str(&in))), &record, NULL), 1);
	assert_int_equal(cv_parse_record_envelope(&record, *state, &envelope, NULL), 0);
	assert_int_equal(cv_parse_record_tree(&record, *state, &root, NULL), 0);
	assert_int_equal(cv_parse_record_preview(&record, &preview), 1);
	assert_str(preview, "body");
	assert_true(cv_parse_record_keeps(&record, CV_STR("Subject")));
	/* and parts alone */
	cv_buf_clear(&in);
	cv_buf_append_c(&in, "Subject: parts\nContent-Type: multipart/mixed; boundary=b\n\n");
	for (int i = 0; i < 999; i++)
		cv_buf_printf(&in, "--b\nContent-Type: text/x; name=\"%0200d\"\n\n", i);
	assert_int_equal(cv_parse_record_open(build(*state, parse(*state, cv_buf_str(&in))), &record, NULL), 1);
	assert_int_equal(cv_parse_record_envelope(&record, *state, &envelope, NULL), 1);
	assert_str(envelope.subject, "parts");
	assert_int_equal(cv_parse_record_tree(&record, *state, &root, NULL), 0);
	assert_int_equal(record.part_count, 1000);
	cv_buf_deinit(&in);
}

static void a_cut_header_makes_nothing_certain(void **state)
{
	struct cv_parse_record record;
	struct cv_mime_limits limits = { .header = 30 };
	struct cv_mime_parser *parser = cv_mime_parser_new(*state, &limits);

	cv_mime_parser_feed(parser, CV_STR("Subject: x\nX-Long: xxxxxxxxxxxxxxxxxxxxxxxx\nTo: a@b\n\n"));
	assert_int_equal(cv_parse_record_open(build(*state, cv_mime_parser_finish(parser)), &record, NULL), 1);
	assert_false(cv_parse_record_keeps(&record, CV_STR("To")));
	assert_false(cv_parse_record_keeps(&record, CV_STR("Subject")));
	assert_false(cv_parse_record_keeps(&record, CV_STR("X-Long")));
}

/* Read all of a record. Crashes, reads out of bounds and endless loops are what this must not do. */
static void read_all(struct cv_arena *arena, struct cv_str octets)
{
	struct cv_parse_record record;
	struct cv_envelope envelope;
	struct cv_mime_part *root;
	struct cv_str preview;
	struct cv_buf out;
	struct cv_err err = { 0 };

	if (cv_parse_record_open(octets, &record, &err) < 0) {
		assert_true(err.code == CV_ERR_CORRUPT || err.code == CV_ERR_UNSUPPORTED);
		return;
	}
	cv_buf_init(&out, SIZE_MAX);
	if (cv_parse_record_envelope(&record, arena, &envelope, &err) > 0)
		cv_dump_envelope(&out, &envelope);
	if (cv_parse_record_tree(&record, arena, &root, &err) > 0) {
		for (const struct cv_mime_part *part = root; part != NULL; part = cv_mime_part_next(part))
			assert_true(part->body_offset + part->body_size <= record.size);
		cv_dump_tree(&out, root);
	}
	assert_true(cv_parse_record_preview(&record, &preview) >= 0);
	assert_true(cv_parse_record_field(&record, CV_STR("subject"), &out) <= 1);
	cv_buf_deinit(&out);
}

static void damaged_records_do_no_harm(void **state)
{
	struct cv_str good = build(*state, parse(*state, cv_str_c(list_mail)));

	for (size_t at = 0; at < good.len; at++) {
		/* each octet with one bit changed, and set to what breaks numbers; a copy of its exact size shows reads beyond it */
		for (int change = 0; change < 11; change++) {
			struct cv_arena *arena = cv_arena_new("damage", NULL, 0);
			char *copy = cv_malloc(good.len);

			memcpy(copy, good.ptr, good.len);
			copy[at] = (char)(change < 8 ? copy[at] ^ (1 << change) : change == 8 ? 0 : change == 9 ? 0x7F : 0xFF);
			read_all(arena, cv_str_mem(copy, good.len));
			cv_free(copy);
			cv_arena_free(&arena);
		}
	}
	for (size_t len = 0; len < good.len; len++) {
		char *copy = cv_malloc(len);
		struct cv_parse_record record;

		memcpy(copy, good.ptr, len);
		assert_int_equal(cv_parse_record_open(cv_str_mem(copy, len), &record, NULL), -1);
		cv_free(copy);
	}
}

/* What is asked for from a list costs no look at the preview; who asks for that gets text or nothing. */
static void a_preview_that_is_no_text_is_none(void **state)
{
	struct cv_str good = build(*state, parse(*state, CV_STR("Subject: x\n\nsome text")));
	char *copy = cv_arena_alloc(*state, good.len);
	struct cv_parse_record record;
	struct cv_envelope envelope;
	struct cv_str preview;

	memcpy(copy, good.ptr, good.len);
	copy[good.len - 1] = (char)0xC3;
	assert_int_equal(cv_parse_record_open(cv_str_mem(copy, good.len), &record, NULL), 1);
	assert_int_equal(cv_parse_record_preview(&record, &preview), 0);
	assert_int_equal(cv_parse_record_envelope(&record, *state, &envelope, NULL), 1);
	assert_str(envelope.subject, "x");
}

static void other_versions_are_told_from_damage(void **state)
{
	struct cv_str good = build(*state, parse(*state, CV_STR("Subject: x\n\ny")));
	char *copy = cv_arena_alloc(*state, good.len);
	struct cv_parse_record record;
	struct cv_err err = { 0 };

	memcpy(copy, good.ptr, good.len);
	copy[4] = CV_PARSE_RECORD_VERSION + 1;
	assert_int_equal(cv_parse_record_open(cv_str_mem(copy, good.len), &record, &err), -1);
	assert_int_equal(err.code, CV_ERR_UNSUPPORTED);
	copy[0] = 'X';
	assert_int_equal(cv_parse_record_open(cv_str_mem(copy, good.len), &record, &err), -1);
	assert_int_equal(err.code, CV_ERR_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(what_goes_in_comes_out),
		cv_test(strings_of_the_envelope_cost_no_octets_of_their_own),
		cv_test(kept_fields_are_known_to_be_complete),
		cv_test(fields_beyond_their_bound_are_left_out_and_said_to_be),
		cv_test(other_fields_are_kept_while_they_are_short),
		cv_test(records_of_before_know_nothing_of_other_names),
		cv_test(what_does_not_fit_is_left_out_as_a_section),
		cv_test(a_cut_header_makes_nothing_certain),
		cv_test(damaged_records_do_no_harm),
		cv_test(a_preview_that_is_no_text_is_none),
		cv_test(other_versions_are_told_from_damage),
	};

	return cv_test_run(tests);
}
