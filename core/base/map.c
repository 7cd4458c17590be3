/* SPDX-License-Identifier: MIT
   Hash map from octet strings to pointers, in order of insertion; and the growing of arrays. */
#include <config.h>

#include "core/base/grow.h"
#include <culver/map.h>

#include <string.h>

#define MIN_SLOTS 8
#define SLOT_EMPTY 0u
#define SLOT_REMOVED 1u
#define SLOT_FIRST 2u /* slot value of entry 0 */

struct entry {
	uint64_t hash;
	char *key; /* owned; NULL when the entry was removed */
	size_t key_len;
	void *value;
};

/* entries in order of insertion, with holes; slots (a power of two, at least a third of them empty) find them by hash. */
struct cv_map {
	CV_VEC(struct entry) entries;
	uint32_t *slots;
	size_t slot_count;
	size_t slots_used; /* not empty */
	size_t count;
};

struct cv_map *cv_map_new(void)
{
	return cv_new0(struct cv_map);
}

void cv_map_free(struct cv_map **map_p)
{
	struct cv_map *map = *map_p;

	*map_p = NULL;
	if (map == NULL)
		return;
	for (size_t i = 0; i < map->entries.count; i++)
		cv_free(map->entries.data[i].key);
	cv_vec_free(&map->entries);
	cv_free(map->slots);
	cv_free(map);
}

size_t cv_map_count(const struct cv_map *map)
{
	return map->count;
}

/* The slot of key, or NULL when there is none. */
static uint32_t *find_slot(const struct cv_map *map, struct cv_str key, uint64_t hash)
{
	size_t mask = map->slot_count - 1;

	if (map->slot_count == 0)
		return NULL;
	for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
		const struct entry *entry;

		if (map->slots[i] == SLOT_EMPTY)
			return NULL;
		if (map->slots[i] == SLOT_REMOVED)
			continue;
		entry = &map->entries.data[map->slots[i] - SLOT_FIRST];
		if (entry->hash == hash && cv_str_eq(cv_str_mem(entry->key, entry->key_len), key))
			return &map->slots[i];
	}
}

static void place(struct cv_map *map, size_t index)
{
	size_t mask = map->slot_count - 1;
	size_t i = (size_t)map->entries.data[index].hash & mask;

	while (map->slots[i] != SLOT_EMPTY)
		i = (i + 1) & mask;
	map->slots[i] = (uint32_t)index + SLOT_FIRST;
	map->slots_used++;
}

/* Closes the holes and gives the table twice the slots that the entries need. */
static void rebuild(struct cv_map *map)
{
	size_t kept = 0, slot_count = MIN_SLOTS;

	for (size_t i = 0; i < map->entries.count; i++) {
		if (map->entries.data[i].key != NULL)
			map->entries.data[kept++] = map->entries.data[i];
	}
	map->entries.count = kept;
	cv_assert(kept < UINT32_MAX / 4);
	while (slot_count < (kept + 1) * 2)
		slot_count *= 2;
	cv_free(map->slots);
	map->slots = cv_calloc(slot_count, sizeof(*map->slots));
	map->slot_count = slot_count;
	map->slots_used = 0;
	for (size_t i = 0; i < kept; i++)
		place(map, i);
}

void *cv_map_get(const struct cv_map *map, struct cv_str key)
{
	const uint32_t *slot;

	if (map->count == 0)
		return NULL;
	slot = find_slot(map, key, cv_hash(key.ptr, key.len));
	return slot != NULL ? map->entries.data[*slot - SLOT_FIRST].value : NULL;
}

void *cv_map_set(struct cv_map *map, struct cv_str key, void *value)
{
	uint64_t hash = cv_hash(key.ptr, key.len);
	uint32_t *slot = find_slot(map, key, hash);
	struct entry *entry;

	cv_assert(value != NULL);
	if (slot != NULL) {
		void *before;

		entry = &map->entries.data[*slot - SLOT_FIRST];
		before = entry->value;
		entry->value = value;
		return before;
	}
	if (map->slots_used >= map->slot_count / 3 * 2 || map->entries.count > map->count * 2 + MIN_SLOTS)
		rebuild(map);
	entry = cv_vec_push(&map->entries);
	entry->hash = hash;
	entry->key = cv_malloc(key.len);
	entry->key_len = key.len;
	entry->value = value;
	if (key.len > 0)
		memcpy(entry->key, key.ptr, key.len);
	place(map, map->entries.count - 1);
	map->count++;
	return NULL;
}

void *cv_map_remove(struct cv_map *map, struct cv_str key)
{
	uint32_t *slot = find_slot(map, key, cv_hash(key.ptr, key.len));
	struct entry *entry;
	void *value;

	if (slot == NULL)
		return NULL;
	entry = &map->entries.data[*slot - SLOT_FIRST];
	value = entry->value;
	cv_free(entry->key);
	*entry = (struct entry){ 0 };
	*slot = SLOT_REMOVED;
	map->count--;
	return value;
}

bool cv_map_next(const struct cv_map *map, size_t *pos, struct cv_str *key_r, void **value_r)
{
	while (*pos < map->entries.count) {
		const struct entry *entry = &map->entries.data[(*pos)++];

		if (entry->key != NULL) {
			*key_r = cv_str_mem(entry->key, entry->key_len);
			*value_r = entry->value;
			return true;
		}
	}
	return false;
}

void *cv_vec_grow(void *data, size_t *cap, size_t need, size_t size)
{
	size_t want = *cap;

	if (need <= want)
		return data;
	while (want < need)
		want = want == 0 ? 8 : want > SIZE_MAX / 2 ? need : want * 2;
	want = cv_grow_cap(want, need);
	data = cv_reallocarray(data, want, size);
	*cap = want;
	return data;
}
