/* SPDX-License-Identifier: MIT
   maildir: the messages of a mailbox by the base of their names. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"

#define SLOTS_MIN 64
#define DEAD_MIN ((size_t)64 << 10)

void maildir_index_init(struct maildir_index *index)
{
	*index = (struct maildir_index){ .arena = cv_arena_new("maildir index", NULL, 0) };
}

void maildir_index_deinit(struct maildir_index *index)
{
	cv_arena_free(&index->arena);
	cv_vec_free(&index->entries);
	cv_free(index->slots);
	index->slots = NULL;
	index->slot_count = 0;
}

/* The slot of the base, or the free one where it belongs. */
static uint32_t *slot_of(const struct maildir_index *index, struct cv_str base)
{
	size_t mask = index->slot_count - 1;

	for (size_t i = (size_t)cv_hash(base.ptr, base.len) & mask;; i = (i + 1) & mask) {
		uint32_t *slot = &index->slots[i];

		if (*slot == 0 || cv_str_eq(maildir_entry_base(&index->entries.data[*slot - 1]), base))
			return slot;
	}
}

struct maildir_entry *maildir_index_find(const struct maildir_index *index, struct cv_str base)
{
	uint32_t *slot;

	if (index->slot_count == 0)
		return NULL;
	slot = slot_of(index, base);
	return *slot == 0 ? NULL : &index->entries.data[*slot - 1];
}

static void grow(struct maildir_index *index)
{
	cv_free(index->slots);
	index->slot_count = index->slot_count == 0 ? SLOTS_MIN : index->slot_count * 2;
	index->slots = cv_calloc(index->slot_count, sizeof(*index->slots));
	for (size_t i = 0; i < index->entries.count; i++)
		*slot_of(index, maildir_entry_base(&index->entries.data[i])) = (uint32_t)i + 1;
}

static void set_name(struct maildir_index *index, struct maildir_entry *entry, struct cv_str name)
{
	entry->name = cv_arena_str(index->arena, name).ptr;
	entry->name_len = (uint16_t)name.len;
	entry->base_len = (uint16_t)maildir_base_len(name);
}

struct maildir_entry *maildir_index_add(struct maildir_index *index, struct cv_str name)
{
	struct maildir_entry *entry;

	cv_assert(name.len > 0 && name.len <= MAILDIR_NAME_MAX);
	if ((index->entries.count + 1) * 4 > index->slot_count * 3)
		grow(index);
	entry = cv_vec_push(&index->entries);
	set_name(index, entry, name);
	entry->where = MAILDIR_GONE;
	entry->line.ext = "";
	*slot_of(index, maildir_entry_base(entry)) = (uint32_t)index->entries.count;
	return entry;
}

void maildir_index_rename(struct maildir_index *index, struct maildir_entry *entry, struct cv_str name)
{
	if (cv_str_eq(maildir_entry_name(entry), name))
		return;
	index->dead += entry->name_len;
	set_name(index, entry, name);
}

void maildir_index_tidy(struct maildir_index *index)
{
	struct cv_arena *old = index->arena;

	if (index->dead < DEAD_MIN || index->dead < cv_arena_used(old) / 2)
		return;
	index->arena = cv_arena_new("maildir index", NULL, 0);
	for (size_t i = 0; i < index->entries.count; i++) {
		struct maildir_entry *entry = &index->entries.data[i];

		set_name(index, entry, maildir_entry_name(entry));
		if (*entry->line.ext != '\0')
			entry->line.ext = cv_arena_strdup(index->arena, entry->line.ext);
	}
	cv_arena_free(&old);
	index->dead = 0;
}

void maildir_index_compact(struct maildir_index *index)
{
	struct maildir_index fresh;

	maildir_index_init(&fresh);
	for (size_t i = 0; i < index->entries.count; i++) {
		const struct maildir_entry *old = &index->entries.data[i];
		struct maildir_entry *entry;

		if (old->where == MAILDIR_GONE)
			continue;
		entry = maildir_index_add(&fresh, maildir_entry_name(old));
		entry->where = old->where;
		entry->staged = old->staged;
		entry->seen = old->seen;
		entry->line = old->line;
		entry->line.ext = *old->line.ext != '\0' ? cv_arena_strdup(fresh.arena, old->line.ext) : "";
	}
	maildir_index_deinit(index);
	*index = fresh;
}
