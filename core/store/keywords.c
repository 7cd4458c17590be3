/* SPDX-License-Identifier: MIT
   A mailbox's keywords: a table of names, and interned sets of them. */
#include <config.h>

#include "core/store/store-private.h"

#include <stdlib.h>
#include <string.h>

void cv_keywords_init(struct cv_keywords *keywords)
{
	struct cv_keyword_set *empty;

	*keywords = (struct cv_keywords){ .by_name = cv_map_new(), .by_ids = cv_map_new() };
	empty = cv_vec_push(&keywords->sets);
	empty->names = cv_calloc(1, sizeof(*empty->names));
}

void cv_keywords_deinit(struct cv_keywords *keywords)
{
	for (size_t i = 0; i < keywords->names.count; i++)
		cv_free((void *)(uintptr_t)keywords->names.data[i].ptr); /* owned, const for readers */
	for (size_t i = 0; i < keywords->sets.count; i++) {
		cv_free(keywords->sets.data[i].ids);
		cv_free(keywords->sets.data[i].names);
	}
	cv_vec_free(&keywords->names);
	cv_vec_free(&keywords->sets);
	cv_map_free(&keywords->by_name);
	cv_map_free(&keywords->by_ids);
}

bool cv_keyword_id(struct cv_keywords *keywords, struct cv_str name, bool make, uint32_t *id_r)
{
	char lower[256], *copy;
	uintptr_t index;

	if (name.len == 0 || name.len >= sizeof(lower))
		return false;
	for (size_t i = 0; i < name.len; i++)
		lower[i] = cv_lower(name.ptr[i]);
	index = (uintptr_t)cv_map_get(keywords->by_name, cv_str_mem(lower, name.len));
	if (index == 0) {
		if (!make)
			return false;
		copy = cv_malloc(name.len);
		memcpy(copy, name.ptr, name.len);
		*cv_vec_push(&keywords->names) = cv_str_mem(copy, name.len);
		index = keywords->names.count;
		cv_map_set(keywords->by_name, cv_str_mem(lower, name.len), (void *)index);
	}
	*id_r = (uint32_t)(index - 1);
	return true;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

uint32_t cv_keyword_set_of(struct cv_keywords *keywords, const uint32_t *ids, size_t count)
{
	struct cv_keyword_set *set;
	uint32_t *sorted;
	uintptr_t index;
	size_t kept = 0;

	if (count == 0)
		return 0;
	sorted = cv_calloc(count, sizeof(*sorted));
	memcpy(sorted, ids, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_ids);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || sorted[i] != sorted[kept - 1])
			sorted[kept++] = sorted[i];
	}
	index = (uintptr_t)cv_map_get(keywords->by_ids, cv_str_mem(sorted, kept * sizeof(*sorted)));
	if (index != 0) {
		cv_free(sorted);
		return (uint32_t)(index - 1);
	}
	set = cv_vec_push(&keywords->sets);
	set->ids = sorted;
	set->count = kept;
	set->names = cv_calloc(kept + 1, sizeof(*set->names));
	for (size_t i = 0; i < kept; i++)
		set->names[i] = keywords->names.data[sorted[i]];
	cv_map_set(keywords->by_ids, cv_str_mem(sorted, kept * sizeof(*sorted)), (void *)(uintptr_t)keywords->sets.count);
	return (uint32_t)(keywords->sets.count - 1);
}

uint32_t cv_keyword_set_names(struct cv_keywords *keywords, const struct cv_str *names, size_t count)
{
	CV_VEC(uint32_t) ids = { 0 };
	uint32_t set, id;

	for (size_t i = 0; i < count; i++) {
		if (cv_keyword_id(keywords, names[i], true, &id))
			*cv_vec_push(&ids) = id;
	}
	set = cv_keyword_set_of(keywords, ids.data, ids.count);
	cv_vec_free(&ids);
	return set;
}

uint32_t cv_keyword_set_decode(struct cv_keywords *keywords, struct cv_str list)
{
	CV_VEC(uint32_t) ids = { 0 };
	struct cv_str name;
	size_t pos = 0;
	uint32_t set, id;

	if (list.len == 0)
		return 0;
	while (cv_keywords_next(list, &pos, &name)) {
		if (cv_keyword_id(keywords, name, true, &id))
			*cv_vec_push(&ids) = id;
	}
	set = cv_keyword_set_of(keywords, ids.data, ids.count);
	cv_vec_free(&ids);
	return set;
}

void cv_keyword_set_encode(const struct cv_keywords *keywords, uint32_t set, struct cv_buf *out)
{
	const struct cv_keyword_set *s = &keywords->sets.data[set < keywords->sets.count ? set : 0];

	cv_keywords_put(out, s->names, s->count);
}

uint32_t cv_keywords_adopt(struct cv_keywords *keywords, const struct cv_snapshot_head *head, uint32_t **map_r)
{
	uint32_t *map = cv_calloc((size_t)head->set_count + 1, sizeof(*map));
	uint32_t *ids = cv_calloc((size_t)head->keyword_count + 1, sizeof(*ids));
	uint32_t *set = cv_calloc((size_t)head->keyword_count + 1, sizeof(*set));
	struct cv_reader names = cv_reader_init(head->keywords), sets = cv_reader_init(head->sets);
	bool same = true;

	*map_r = NULL;
	for (uint32_t i = 0; i < head->keyword_count; i++) {
		struct cv_str name;

		if (!cv_take_str(&names, 255, &name) || !cv_keyword_id(keywords, name, true, &ids[i]))
			cv_fatal("keywords of a snapshot changed after they were checked");
	}
	for (uint32_t i = 1; i <= head->set_count; i++) {
		uint32_t count = 0;

		if (!cv_take_u32(&sets, &count) || count > head->keyword_count)
			cv_fatal("keywords of a snapshot changed after they were checked");
		for (uint32_t j = 0; j < count; j++) {
			if (!cv_take_u32(&sets, &set[j]) || set[j] >= head->keyword_count)
				cv_fatal("keywords of a snapshot changed after they were checked");
			set[j] = ids[set[j]];
		}
		map[i] = cv_keyword_set_of(keywords, set, count);
		same = same && map[i] == i;
	}
	cv_free(ids);
	cv_free(set);
	if (!same) {
		*map_r = map;
		return 0;
	}
	cv_free(map);
	return head->set_count + 1;
}

uint32_t cv_keyword_set_change(struct cv_keywords *keywords, uint32_t set, enum cv_flags_op op, const uint32_t *ids, size_t count)
{
	CV_VEC(uint32_t) new_ids = { 0 };
	uint32_t result;

	if (set >= keywords->sets.count)
		set = 0;
	if (op == CV_FLAGS_REPLACE)
		return cv_keyword_set_of(keywords, ids, count);
	if (count == 0)
		return set;
	for (size_t i = 0; i < keywords->sets.data[set].count; i++) {
		uint32_t id = keywords->sets.data[set].ids[i];
		bool removed = false;

		for (size_t j = 0; op == CV_FLAGS_REMOVE && j < count; j++)
			removed = removed || ids[j] == id;
		if (!removed)
			*cv_vec_push(&new_ids) = id;
	}
	for (size_t j = 0; op == CV_FLAGS_ADD && j < count; j++)
		*cv_vec_push(&new_ids) = ids[j];
	result = cv_keyword_set_of(keywords, new_ids.data, new_ids.count);
	cv_vec_free(&new_ids);
	return result;
}
