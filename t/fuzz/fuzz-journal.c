/* SPDX-License-Identifier: MIT
   Entries of journal records: any octets are refused or read without harm; what was read is written as something that reads the same. */
#include <config.h>

#include "core/store/record.h"
#include "t/fuzz/fuzz.h"

#include <culver/map.h>

/* All that a group or a keyword list promises to whoever applies it. */
static void check_keywords(struct cv_str list)
{
	struct cv_str name;
	size_t pos = 0, before = 0;

	while (cv_keywords_next(list, &pos, &name)) {
		fuzz_check(pos > before && pos <= list.len && name.len <= 255);
		before = pos;
	}
}

/* Its sound groups are appended to again. */
static void check_groups(const struct cv_entry *entry, struct cv_buf *again)
{
	struct cv_reader reader = cv_reader_init(entry->groups);
	struct cv_group group;

	while (cv_group_next(&reader, entry->kind, &group) > 0) {
		CV_VEC(struct cv_range) list = { 0 };
		struct cv_range range = { 0 };
		struct cv_ranges ranges;
		struct cv_str ref, refs = cv_reader_rest(&group.refs);
		uint32_t last = 0;
		int result;

		check_keywords(group.keywords);
		while ((result = cv_range_next(&group, &range)) > 0) {
			fuzz_check(range.first > 0 && range.first <= range.last && range.first >= last);
			last = range.last;
			*cv_vec_push(&list) = range;
			if (list.count > 10000)
				break;
		}
		while (cv_take_ref(&group.refs, &ref))
			fuzz_check(ref.len <= 255);
		if (result == 0) {
			ranges = (struct cv_ranges){ .data = list.data, .count = list.count };
			if (entry->kind == CV_ENTRY_FLAGS)
				cv_group_put_flags(again, group.flags_before, group.flags_after, group.keywords, &ranges);
			else
				cv_group_put_expunge(again, group.flags_before, group.size, &ranges, refs);
		}
		cv_vec_free(&list);
	}
}

static void check_message(const struct cv_entry_message *message)
{
	fuzz_check(message->uid > 0 && message->ref.len <= 255);
	check_keywords(message->keywords);
}

static void check_entry(const struct cv_entry *entry)
{
	struct cv_buf out, out2, groups, groups2;
	struct cv_reader reader;
	struct cv_entry again;

	cv_buf_init(&out, SIZE_MAX / 2);
	cv_buf_init(&out2, SIZE_MAX / 2);
	cv_buf_init(&groups, SIZE_MAX / 2);
	cv_buf_init(&groups2, SIZE_MAX / 2);
	cv_entry_put(&out, entry);
	reader = cv_reader_init(cv_buf_str(&out));
	fuzz_check(cv_entry_next(&reader, &again) == 1 && cv_reader_left(&reader) == 0 && again.kind == entry->kind);
	cv_entry_put(&out2, &again);
	fuzz_check(cv_str_eq(cv_buf_str(&out), cv_buf_str(&out2)));
	if (entry->kind == CV_ENTRY_APPEND || entry->kind == CV_ENTRY_COPY)
		check_message(&entry->message);
	if (entry->kind == CV_ENTRY_FLAGS || entry->kind == CV_ENTRY_EXPUNGE) {
		check_groups(entry, &groups);
		again.groups = cv_buf_str(&groups);
		check_groups(&again, &groups2);
		fuzz_check(cv_str_eq(cv_buf_str(&groups), cv_buf_str(&groups2)));
	}
	cv_buf_deinit(&out);
	cv_buf_deinit(&out2);
	cv_buf_deinit(&groups);
	cv_buf_deinit(&groups2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_reader reader = cv_reader_init(cv_str_mem(data, size));
	struct cv_entry entry;
	int result;

	while ((result = cv_entry_next(&reader, &entry)) > 0)
		check_entry(&entry);
	fuzz_check(result < 0 || cv_reader_left(&reader) == 0);
	return 0;
}
