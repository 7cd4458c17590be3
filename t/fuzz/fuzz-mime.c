/* SPDX-License-Identifier: MIT
   The MIME parser: any octets make a sound tree, the same for every split, their record gives the same tree back, and what
   is made of binary content is the same message. */
#include <config.h>

#include "t/fuzz/fuzz.h"
#include "t/lib/message-dump.h"

static void dump(struct cv_arena *arena, const struct cv_mime_limits *limits, struct cv_str octets, size_t step,
	struct cv_buf *out, struct cv_message **message_r)
{
	struct cv_mime_parser *parser = cv_mime_parser_new(arena, limits);

	for (size_t pos = 0; pos < octets.len; pos += step)
		cv_mime_parser_feed(parser, cv_str_sub(octets, pos, step));
	*message_r = cv_mime_parser_finish(parser);
	fuzz_check(cv_check_tree(*message_r) == NULL);
	cv_dump_message(out, *message_r);
}

static void check_record(struct cv_arena *arena, const struct cv_message *message)
{
	struct cv_buf octets, want, got;
	struct cv_parse_record record;
	struct cv_mime_part *root;
	int result;

	cv_buf_init(&octets, SIZE_MAX);
	cv_buf_init(&want, SIZE_MAX);
	cv_buf_init(&got, SIZE_MAX);
	cv_parse_record_build(message, &octets);
	fuzz_check(octets.len <= CV_PARSE_RECORD_MAX);
	fuzz_check(cv_parse_record_open(cv_buf_str(&octets), &record, NULL) == 1);
	result = cv_parse_record_tree(&record, arena, &root, NULL);
	fuzz_check(result >= 0);
	if (result > 0) {
		cv_dump_tree(&want, message->root);
		cv_dump_tree(&got, root);
		fuzz_check(cv_str_eq(cv_buf_str(&want), cv_buf_str(&got)));
	}
	cv_buf_deinit(&octets);
	cv_buf_deinit(&want);
	cv_buf_deinit(&got);
}

static void check_wire(const struct cv_message *message, struct cv_str octets)
{
	struct cv_message_reader *reader = cv_message_reader_new_mem(octets);

	for (struct cv_mime_part *part = message->root; part != NULL; part = cv_mime_part_next(part)) {
		struct cv_wire_stream *stream =
			cv_wire_stream_new(reader, part->body_offset, part->body_size, part->body_wire_size);
		struct cv_str view;
		int result;

		while ((result = cv_wire_stream_read(stream, 1000, &view, NULL)) > 0)
			;
		fuzz_check(result == 0 && cv_wire_stream_pos(stream) == part->body_wire_size);
		cv_wire_stream_free(&stream);
	}
	cv_message_reader_free(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* the first octet chooses how the rest is cut, and whether limits are narrow */
	size_t step = size > 0 ? 1 + data[0] % 31 : 1;
	struct cv_str octets = cv_str_mem(data, size);
	struct cv_mime_limits narrow = { .parts = 5, .depth = 3, .params = 2, .addresses = 3, .languages = 1, .header_field = 60,
		.header = 200, .header_total = 400, .preview_input = 50, .preview_chars = 20 };
	const struct cv_mime_limits *limits = size > 0 && data[0] >= 128 ? &narrow : NULL;
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct cv_message *whole, *pieces;
	struct cv_buf a, b;

	cv_buf_init(&a, SIZE_MAX);
	cv_buf_init(&b, SIZE_MAX);
	octets = cv_str_sub(octets, CV_MIN(size, (size_t)1), SIZE_MAX);
	dump(arena, limits, octets, SIZE_MAX, &a, &whole);
	dump(arena, limits, octets, step, &b, &pieces);
	fuzz_check(cv_str_eq(cv_buf_str(&a), cv_buf_str(&b)));
	check_record(arena, whole);
	check_wire(whole, octets);
	cv_buf_clear(&a);
	fuzz_check(cv_check_binary_encoder(octets, step, &a) == NULL);
	cv_buf_deinit(&a);
	cv_buf_deinit(&b);
	cv_arena_free(&arena);
	return 0;
}
