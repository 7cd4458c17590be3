/* SPDX-License-Identifier: MIT
   Parse records from outside: refused, or read without harm and with a sound tree. */
#include <config.h>

#include "t/fuzz/fuzz.h"
#include "t/lib/message-dump.h"

static void check(struct cv_arena *arena, struct cv_str octets)
{
	static const struct cv_str names[] = { CV_STR_INIT("Subject"), CV_STR_INIT("received"), CV_STR_INIT("List-Id"),
		CV_STR_INIT("X-Unknown") };
	struct cv_parse_record record;
	struct cv_envelope envelope;
	struct cv_mime_part *root;
	struct cv_buf out;
	struct cv_str preview;
	struct cv_err err = { 0 };

	if (cv_parse_record_open(octets, &record, &err) < 0) {
		fuzz_check(err.code == CV_ERR_CORRUPT || err.code == CV_ERR_UNSUPPORTED);
		return;
	}
	cv_buf_init(&out, SIZE_MAX);
	if (cv_parse_record_envelope(&record, arena, &envelope, &err) > 0)
		cv_dump_envelope(&out, &envelope);
	if (cv_parse_record_preview(&record, &preview) > 0)
		fuzz_check(cv_str_is_utf8(preview));
	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		(void)cv_parse_record_keeps(&record, names[i]);
		fuzz_check(cv_parse_record_field(&record, names[i], &out) <= 1);
	}
	if (cv_parse_record_tree(&record, arena, &root, &err) > 0) {
		/* what the parser promises of its trees holds for these too: the writers of BODYSTRUCTURE count on it */
		for (struct cv_mime_part *part = root; part != NULL; part = cv_mime_part_next(part)) {
			fuzz_check(part->type.ptr != NULL && part->subtype.ptr != NULL && part->depth <= 101);
			fuzz_check(part->body_offset + part->body_size <= record.size);
			fuzz_check(part->kind != CV_MIME_MESSAGE || part->children->envelope != NULL);
			fuzz_check(part->kind != CV_MIME_MULTIPART || part->children != NULL);
		}
		cv_dump_tree(&out, root);
	}
	cv_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_str octets = cv_str_mem(data, size);
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct cv_mime_parser *parser = cv_mime_parser_new(arena, NULL);
	struct cv_buf built;

	check(arena, octets);
	/* The input as a message gives a good record; damage to it comes from the input's own octets. */
	cv_buf_init(&built, SIZE_MAX);
	cv_mime_parser_feed(parser, octets);
	cv_parse_record_build(cv_mime_parser_finish(parser), &built);
	check(arena, cv_buf_str(&built));
	for (size_t i = 0; i + 4 <= size && i < 64; i += 4) {
		size_t at = ((size_t)data[i] << 8 | data[i + 1]) % built.len;

		built.data[at] = (char)(built.data[at] ^ data[i + 2]);
		check(arena, cv_buf_str(&built));
		check(arena, cv_str_sub(cv_buf_str(&built), 0, at));
		if ((data[i + 3] & 1) != 0)
			built.data[at] = (char)(built.data[at] ^ data[i + 2]);
	}
	cv_buf_deinit(&built);
	cv_arena_free(&arena);
	return 0;
}
