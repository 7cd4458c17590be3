/* SPDX-License-Identifier: MIT
   How fast the message library is: generates a corpus of mails of several kinds and prints MB and messages per second of processor time of parsing, record building and
   reading, and searching. Not a test: run t/message/bench-message by hand. */
#include <config.h>

#include <culver/search.h>

#include <stdio.h>
#include <time.h>

#define ROUND_US 700000

/* Processor time: the machine may have other things to do. */
static uint64_t cpu_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

struct kind {
	const char *name;
	void (*make)(struct cv_buf *out, unsigned i);
};

static void header(struct cv_buf *out, unsigned i, const char *type)
{
	cv_buf_printf(out,
		"Return-Path: <user%u@example.org>\r\nDelivered-To: me@example.net\r\n"
		"Received: from mail.example.org (mail.example.org [192.0.2.1])\r\n\tby mx.example.net (Postfix) with ESMTPS id 4Wx%u\r\n"
		"\tfor <me@example.net>; Mon,  2 Jan 2023 12:00:05 +0100 (CET)\r\n"
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=mail;\r\n"
		"\th=From:To:Subject:Date; bh=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=;\r\n\tb=QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n"
		"From: =?utf-8?Q?J=C3=B6rg?= Number %u <user%u@example.org>\r\nTo: Me Myself <me@example.net>, list@example.org\r\n"
		"Subject: Re: [list] Message number %u about something\r\nDate: Mon, 02 Jan 2023 12:00:00 +0100\r\n"
		"Message-ID: <%u.1234@mail.example.org>\r\nIn-Reply-To: <%u.9876@mail.example.com>\r\n"
		"References: <1.5555@mail.example.net> <%u.9876@mail.example.com>\r\nMIME-Version: 1.0\r\nContent-Type: %s\r\n",
		i, i, i, i, i, i, i, i, type);
}

static void text_lines(struct cv_buf *out, unsigned lines)
{
	for (unsigned i = 0; i < lines; i++)
		cv_buf_printf(out, "This is line %u of a text that people write - or programs do, at times.\r\n", i);
}

static void base64_lines(struct cv_buf *out, unsigned lines)
{
	for (unsigned i = 0; i < lines; i++)
		cv_buf_append_c(out, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\r\n");
}

static void make_text(struct cv_buf *out, unsigned i)
{
	header(out, i, "text/plain; charset=utf-8");
	cv_buf_append_c(out, "\r\n");
	text_lines(out, 20 + i % 50);
}

static void make_alternative(struct cv_buf *out, unsigned i)
{
	header(out, i, "multipart/alternative; boundary=\"=_alt\"");
	cv_buf_append_c(out, "\r\n--=_alt\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n");
	text_lines(out, 30);
	cv_buf_append_c(out, "\r\n--=_alt\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<html><body>");
	for (unsigned k = 0; k < 200; k++)
		cv_buf_append_c(out, "<p style=3D\"margin: 0\">A paragraph with <b>bold</b> text and gr=C3=BC=C3=9Fe</p>\r\n");
	cv_buf_append_c(out, "</body></html>\r\n--=_alt--\r\n");
}

static void make_attachment(struct cv_buf *out, unsigned i)
{
	header(out, i, "multipart/mixed; boundary=\"=_mix\"");
	cv_buf_append_c(out, "\r\n--=_mix\r\nContent-Type: text/plain\r\n\r\n");
	text_lines(out, 10);
	cv_buf_append_c(out, "\r\n--=_mix\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Disposition: attachment; filename=x.pdf\r\n"
			     "Content-Transfer-Encoding: base64\r\n\r\n");
	base64_lines(out, 13000);
	cv_buf_append_c(out, "--=_mix--\r\n");
}

static struct cv_message *parse(struct cv_arena *arena, struct cv_str octets)
{
	struct cv_mime_parser *parser = cv_mime_parser_new(arena, NULL);

	cv_mime_parser_feed(parser, octets);
	return cv_mime_parser_finish(parser);
}

static void print_rate(const char *what, uint64_t octets, uint64_t count, uint64_t us)
{
	(void)printf("  %-34s %8.1f MB/s  %9.0f messages/s\n", what, (double)octets / (double)us, (double)count * 1e6 / (double)us);
}

static void bench_parse(struct cv_str octets, bool record)
{
	struct cv_arena *arena = cv_arena_new("bench", NULL, 0);
	uint64_t start = cpu_us(), count = 0;
	struct cv_buf out;

	cv_buf_init(&out, SIZE_MAX);
	while (cpu_us() - start < ROUND_US) {
		struct cv_message *message = parse(arena, octets);

		if (record) {
			cv_buf_clear(&out);
			cv_parse_record_build(message, &out);
		}
		cv_arena_reset(arena);
		count++;
	}
	print_rate(record ? "parse and build the record" : "parse", octets.len * count, count, cpu_us() - start);
	if (record)
		(void)printf("  %-34s %8zu octets\n", "record", out.len);
	cv_buf_deinit(&out);
	cv_arena_free(&arena);
}

static void bench_read(struct cv_str octets, bool tree)
{
	struct cv_arena *arena = cv_arena_new("bench", NULL, 0);
	struct cv_buf out;
	uint64_t start, count = 0;

	cv_buf_init(&out, SIZE_MAX);
	cv_parse_record_build(parse(arena, octets), &out);
	start = cpu_us();
	while (cpu_us() - start < ROUND_US) {
		for (int i = 0; i < 100; i++) {
			struct cv_parse_record record;
			struct cv_envelope envelope;
			struct cv_mime_part *root;
			int result;

			cv_arena_reset(arena);
			cv_assert(cv_parse_record_open(cv_buf_str(&out), &record, NULL) == 1);
			result = tree ? cv_parse_record_tree(&record, arena, &root, NULL) :
					cv_parse_record_envelope(&record, arena, &envelope, NULL);
			cv_assert(result == 1);
			count++;
		}
	}
	print_rate(tree ? "part tree from a record" : "envelope from a record", out.len * count, count, cpu_us() - start);
	cv_buf_deinit(&out);
	cv_arena_free(&arena);
}

static void bench_search(struct cv_str octets, const char *needle)
{
	struct cv_arena *arena = cv_arena_new("bench", NULL, 0);
	struct cv_search *search = cv_search_new();
	struct cv_message_reader *reader = cv_message_reader_new_mem(octets);
	struct cv_message *message = parse(arena, octets);
	uint64_t start, count = 0;
	char what[64];
	size_t index;

	cv_assert(cv_search_add(search, CV_SEARCH_TEXT, CV_STR(""), cv_str_c(needle), &index, NULL) == 1);
	start = cpu_us();
	while (cpu_us() - start < ROUND_US) {
		cv_search_begin(search, reader, message->root);
		cv_assert(cv_search_step(search, UINT64_MAX, NULL) == 1);
		cv_assert(!cv_search_found(search, index));
		count++;
	}
	(void)snprintf(what, sizeof(what), "search TEXT %s (not there)", needle);
	print_rate(what, octets.len * count, count, cpu_us() - start);
	cv_message_reader_free(&reader);
	cv_search_free(&search);
	cv_arena_free(&arena);
}

int main(void)
{
	static const struct kind kinds[] = { { "plain text", make_text }, { "text and HTML, quoted-printable", make_alternative },
		{ "1 MB attachment", make_attachment } };

	for (size_t i = 0; i < CV_COUNT_OF(kinds); i++) {
		struct cv_buf octets;

		cv_buf_init(&octets, SIZE_MAX);
		kinds[i].make(&octets, 7);
		(void)printf("%s, %zu octets\n", kinds[i].name, octets.len);
		bench_parse(cv_buf_str(&octets), false);
		bench_parse(cv_buf_str(&octets), true);
		bench_read(cv_buf_str(&octets), false);
		bench_read(cv_buf_str(&octets), true);
		bench_search(cv_buf_str(&octets), "zebra");
		bench_search(cv_buf_str(&octets), "z\u00E9bra");
		cv_buf_deinit(&octets);
	}
	cv_charset_cache_clear();
	return 0;
}
