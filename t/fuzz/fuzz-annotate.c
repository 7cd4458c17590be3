/* SPDX-License-Identifier: MIT
   Annotations of messages in commands: the first octet says which, the rest are arguments. What is taken can be applied, is told again as it was set, and
   matches as a pattern what it is. */
#include <config.h>

#include "core/store/note.h"
#include "modules/lib/imap/imap-annotate.h"
#include "modules/lib/imap/imap-parser.h"
#include "modules/lib/imap/imap-sort.h"
#include "t/fuzz/fuzz.h"

static void check_err(const struct cv_err *err)
{
	fuzz_check(err->public_text && err->text[0] != '\0');
	fuzz_check(err->code == CV_ERR_INVALID || err->code == CV_ERR_PERM || err->code == CV_ERR_LIMIT);
}

/* As the store packs them: in order, each once, the last of equal ones. */
static void pack(const struct cv_note *notes, size_t count, struct cv_buf *packed)
{
	for (size_t i = 0; i < count; i++) {
		const struct cv_note_item item = { notes[i].entry, notes[i].priv ? CV_STR("") : (struct cv_str){ 0 }, notes[i].value };
		struct cv_buf one, next;

		cv_buf_init(&one, SIZE_MAX / 2);
		cv_buf_init(&next, SIZE_MAX / 2);
		cv_note_item_put(&one, &item);
		fuzz_check(cv_note_items_ok(cv_buf_str(&one), true));
		cv_note_items_change(cv_buf_str(packed), cv_buf_str(&one), &next);
		fuzz_check(cv_note_items_ok(cv_buf_str(&next), false));
		cv_buf_clear(packed);
		cv_buf_append(packed, cv_buf_str(&next));
		cv_buf_deinit(&one);
		cv_buf_deinit(&next);
	}
}

static void check_set(struct cv_arena *arena, const struct cv_imap_arg *args)
{
	const struct cv_note *notes;
	struct cv_buf packed, out;
	struct cv_err err = { 0 };
	size_t count;

	if (cv_imap_notes_parse(arena, args, &notes, &count, &err) < 0) {
		check_err(&err);
		return;
	}
	fuzz_check(count > 0 && count <= CV_NOTES_AT_ONCE);
	cv_buf_init(&packed, SIZE_MAX / 2);
	cv_buf_init(&out, SIZE_MAX / 2);
	pack(notes, count, &packed);
	for (size_t i = 0; i < count; i++) {
		struct cv_imap_note_entry entry = { notes[i].entry, false };
		const struct cv_imap_note_fetch fetch = { &entry, 1, { notes[i].priv ? CV_IMAP_NOTE_VALUE_PRIV : CV_IMAP_NOTE_VALUE_SHARED }, 1 };
		const struct cv_note_list list = { cv_reader_init(cv_buf_str(&packed)) };
		bool wild;

		fuzz_check(cv_imap_note_entry_ok(notes[i].entry, true, &err) == 1 && cv_imap_note_match_ok(notes[i].entry, &wild, &err) == 1 && !wild);
		fuzz_check(cv_note_match(notes[i].entry, notes[i].entry) && cv_note_match(CV_STR("/*"), notes[i].entry));
		cv_buf_clear(&out);
		fuzz_check(cv_imap_note_append(&out, &fetch, &list));
	}
	cv_buf_deinit(&packed);
	cv_buf_deinit(&out);
}

static void check_fetch(struct cv_arena *arena, const struct cv_imap_arg *args)
{
	const struct cv_note some[] = { { CV_STR("/1/comment"), true, CV_STR("a\0b") }, { CV_STR("/comment"), true, CV_STR("x") },
		{ CV_STR("/comment"), false, CV_STR("") }, { CV_STR("/vendor/a/b"), false, CV_STR("\xc3\xa4\r\n") } };
	struct cv_imap_note_fetch fetch;
	struct cv_note_list list;
	struct cv_buf packed, out;
	struct cv_err err = { 0 };
	bool by_name = false;

	if (cv_imap_note_fetch_parse(arena, args, &fetch, &err) < 0) {
		check_err(&err);
		return;
	}
	fuzz_check(fetch.entry_count > 0 && fetch.attrib_count > 0 && fetch.attrib_count <= CV_IMAP_NOTE_ATTRIBS);
	for (size_t i = 0; i < fetch.entry_count; i++)
		by_name = by_name || !fetch.entries[i].wild;
	cv_buf_init(&packed, SIZE_MAX / 2);
	cv_buf_init(&out, SIZE_MAX / 2);
	pack(some, CV_COUNT_OF(some), &packed);
	list.packed = cv_reader_init(cv_buf_str(&packed));
	fuzz_check(cv_imap_note_append(&out, &fetch, &list) == (out.len > 0));
	fuzz_check(!by_name || out.len > 0);
	cv_buf_deinit(&packed);
	cv_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct cv_imap_sort_program sort;
	const struct cv_imap_arg *args;
	struct cv_err err = { 0 };

	if (size > 1 && cv_imap_args_parse(arena, cv_str_mem(data + 1, size - 1), &args, &err) > 0 && args != NULL) {
		if (data[0] == 's')
			check_set(arena, args);
		else if (data[0] == 'o' && cv_imap_sort_parse(args, &sort, &err) < 0)
			check_err(&err);
		else
			check_fetch(arena, args);
	}
	cv_arena_free(&arena);
	return 0;
}
