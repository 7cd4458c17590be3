/* SPDX-License-Identifier: MIT
   Annotations of messages: packed octets, and the messages that have some. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

#include <stdlib.h>
#include <string.h>

static const struct cv_note_blob removed = { 0 };

/* ---- packed notes ------------------------------------------------------------------------------------------- */

void cv_note_item_put(struct cv_buf *out, const struct cv_note_item *item)
{
	cv_put_str(out, item->entry);
	cv_put_str(out, item->owner);
	cv_put_str(out, item->value);
}

bool cv_note_item_next(struct cv_reader *packed, struct cv_note_item *item_r)
{
	return cv_take_str(packed, CV_NOTE_ENTRY_MAX, &item_r->entry) && item_r->entry.len > 0 && cv_take_str(packed, UINT16_MAX, &item_r->owner) &&
		cv_take_str(packed, CV_NOTES_PACKED_MAX, &item_r->value);
}

static int compare(const struct cv_note_item *a, const struct cv_note_item *b)
{
	int order = cv_str_cmp(a->entry, b->entry);

	if (order != 0)
		return order;
	if (a->owner.ptr == NULL || b->owner.ptr == NULL)
		return (a->owner.ptr == NULL) - (b->owner.ptr == NULL);
	return cv_str_cmp(a->owner, b->owner);
}

bool cv_note_items_ok(struct cv_str packed, bool changes)
{
	struct cv_reader reader = cv_reader_init(packed);
	struct cv_note_item item, before = { 0 };

	while (cv_reader_left(&reader) > 0) {
		if (!cv_note_item_next(&reader, &item) || (!changes && item.value.ptr == NULL) ||
			(before.entry.ptr != NULL && compare(&before, &item) >= 0))
			return false;
		before = item;
	}
	return true;
}

void cv_note_items_change(struct cv_str packed, struct cv_str changes, struct cv_buf *out)
{
	struct cv_reader old = cv_reader_init(packed), new = cv_reader_init(changes);
	struct cv_note_item a, b;
	bool has_a = cv_note_item_next(&old, &a), has_b = cv_note_item_next(&new, &b);

	while (has_a || has_b) {
		int order = !has_a ? 1 : !has_b ? -1 : compare(&a, &b);

		if (order < 0)
			cv_note_item_put(out, &a);
		else if (b.value.ptr != NULL)
			cv_note_item_put(out, &b);
		if (order <= 0)
			has_a = cv_note_item_next(&old, &a);
		if (order >= 0)
			has_b = cv_note_item_next(&new, &b);
	}
}

size_t cv_note_entries(struct cv_str packed)
{
	struct cv_reader reader = cv_reader_init(packed);
	struct cv_note_item item, before = { 0 };
	size_t count = 0;

	while (cv_note_item_next(&reader, &item)) {
		count += before.entry.ptr == NULL || !cv_str_eq(before.entry, item.entry);
		before = item;
	}
	return count;
}

int cv_note_entry_ok(struct cv_str entry, struct cv_err *err)
{
	if (entry.len == 0 || entry.len > CV_NOTE_ENTRY_MAX)
		return cv_err_set_public(err, CV_ERR_INVALID, "Entry name is empty or too long");
	for (size_t i = 0; i < entry.len; i++) {
		if (entry.ptr[i] <= 0 || entry.ptr[i] == '*' || entry.ptr[i] == '%')
			return cv_err_set_public(err, CV_ERR_INVALID, "Entry name holds a character that it can't have");
	}
	if (entry.ptr[0] != '/' || entry.ptr[entry.len - 1] == '/' || cv_str_find_str(entry, CV_STR("//")) != SIZE_MAX)
		return cv_err_set_public(err, CV_ERR_INVALID, "Entry name has an empty level");
	return 1;
}

bool cv_note_match(struct cv_str pattern, struct cv_str entry)
{
	/* Places of the pattern that can be reached: all are followed at once. */
	bool places[2][CV_NOTE_ENTRY_MAX + 2] = { { true } }, *here = places[0], *next = places[1];

	if (pattern.len > CV_NOTE_ENTRY_MAX)
		return false;
	for (size_t n = 0; n < entry.len; n++) {
		char c = entry.ptr[n];
		bool *swap = here, any = false;

		memset(next, 0, (pattern.len + 1) * sizeof(*next));
		for (size_t i = 0; i < pattern.len; i++) {
			char p = pattern.ptr[i];
			bool wild = p == '*' || (p == '%' && c != '/');

			if (!here[i] || (!wild && (p != c || p == '%')))
				continue;
			next[i] = next[i] || wild;
			next[i + 1] = any = true;
		}
		if (!any)
			return false;
		here = next;
		next = swap;
	}
	return here[pattern.len];
}

/* Place of the first that is not before the item. */
static size_t place_of(const struct cv_note_item *items, size_t count, const struct cv_note_item *item)
{
	size_t low = 0;

	while (low < count) {
		size_t mid = low + (count - low) / 2;

		if (compare(&items[mid], item) < 0)
			low = mid + 1;
		else
			count = mid;
	}
	return low;
}

int cv_note_items_encode(const struct cv_user *user, const struct cv_note *notes, size_t count, struct cv_buf *out, struct cv_err *err)
{
	CV_VEC(struct cv_note_item) items = { 0 };
	struct cv_note_limits limits;
	int ret = 1;

	cv_note_limits(user, &limits);
	if (count > CV_NOTES_AT_ONCE)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Too many annotations at once");
	for (size_t i = 0; ret > 0 && i < count; i++) {
		const struct cv_note_item item = { notes[i].entry, notes[i].priv ? CV_STR("") : (struct cv_str){ 0 }, notes[i].value };
		size_t at = place_of(items.data, items.count, &item);

		ret = cv_note_entry_ok(item.entry, err);
		if (ret > 0 && item.value.len > limits.value)
			ret = cv_err_set_public(err, CV_ERR_LIMIT, "Annotation is too large");
		if (ret < 0)
			break;
		if (at == items.count || compare(&items.data[at], &item) != 0) {
			(void)cv_vec_push(&items);
			memmove(&items.data[at + 1], &items.data[at], (items.count - 1 - at) * sizeof(item));
		}
		items.data[at] = item;
	}
	for (size_t i = 0; ret > 0 && i < items.count; i++)
		cv_note_item_put(out, &items.data[i]);
	cv_vec_free(&items);
	if (ret > 0 && !cv_buf_ok(out))
		return cv_err_set_public(err, CV_ERR_LIMIT, "Annotations are too large");
	return ret;
}

void cv_note_limits(const struct cv_user *user, struct cv_note_limits *limits_r)
{
	*limits_r = (struct cv_note_limits){ (size_t)user->set->mail_max_annotation_value, user->set->mail_max_annotations,
		user->set->mail_max_annotations_size };
}

/* ---- those of a mailbox ------------------------------------------------------------------------------------- */

static struct cv_str key_of(const uint32_t *uid)
{
	return cv_str_mem(uid, sizeof(*uid));
}

void cv_notes_on(struct cv_columns *columns)
{
	if (columns->base == NULL || columns->base->head.notes_count == 0)
		return;
	columns->notes = cv_new0(struct cv_notes);
	columns->notes->changed = cv_map_new();
	columns->notes->base = columns->base;
	columns->notes->octets = columns->base->head.notes_len;
}

static void free_blob(struct cv_note_blob *blob)
{
	if (blob != NULL && blob != &removed)
		cv_free(blob);
}

void cv_notes_free(struct cv_notes **notes_p)
{
	struct cv_notes *notes = *notes_p;
	struct cv_str key;
	size_t pos = 0;
	void *value;

	*notes_p = NULL;
	if (notes == NULL)
		return;
	while (cv_map_next(notes->changed, &pos, &key, &value))
		free_blob(value);
	cv_map_free(&notes->changed);
	cv_free(notes);
}

/* True when it was changed since the snapshot: the packed notes, absent when they were removed. */
static bool find_changed(const struct cv_notes *notes, uint32_t uid, struct cv_str *packed_r)
{
	const struct cv_note_blob *blob = cv_map_get(notes->changed, key_of(&uid));

	*packed_r = (struct cv_str){ 0 };
	if (blob != NULL && blob->len > 0)
		*packed_r = cv_str_mem(blob->octets, blob->len);
	return blob != NULL;
}

struct cv_str cv_notes_find(const struct cv_columns *columns, uint32_t uid)
{
	const struct cv_notes *notes = columns->notes;
	struct cv_str packed;
	uint32_t at;

	if (notes == NULL)
		return (struct cv_str){ 0 };
	if (find_changed(notes, uid, &packed) || notes->base == NULL || !cv_snapshot_note_find(notes->base, uid, &at))
		return packed;
	if (cv_snapshot_note(notes->base, at, &packed))
		return packed;
	if (!notes->base->trusted)
		cv_mailbox_mend(notes->base->owner);
	(void)find_changed(notes, uid, &packed);
	return packed;
}

/* Octets of what there is, whether it checks or not. */
static uint64_t len_of(const struct cv_notes *notes, uint32_t uid)
{
	struct cv_str packed;
	uint32_t at;

	if (find_changed(notes, uid, &packed))
		return packed.len;
	return notes->base != NULL && cv_snapshot_note_find(notes->base, uid, &at) ? cv_snapshot_note_len(notes->base, at) : 0;
}

void cv_notes_put(struct cv_columns *columns, uint32_t uid, struct cv_str packed)
{
	struct cv_notes *notes = columns->notes;
	struct cv_note_blob *blob;
	uint32_t at;

	if (notes == NULL) {
		if (packed.len == 0)
			return;
		notes = columns->notes = cv_new0(struct cv_notes);
		notes->changed = cv_map_new();
	}
	notes->octets -= CV_MIN(notes->octets, len_of(notes, uid));
	if (packed.len > 0) {
		blob = cv_malloc(sizeof(*blob) + packed.len);
		blob->len = (uint32_t)packed.len;
		memcpy(blob->octets, packed.ptr, packed.len);
		notes->octets += packed.len;
		free_blob(cv_map_set(notes->changed, key_of(&uid), blob));
	} else if (notes->base != NULL && cv_snapshot_note_find(notes->base, uid, &at)) {
		union {
			const struct cv_note_blob *in;
			void *out;
		} mark = { .in = &removed }; /* never written to */

		free_blob(cv_map_set(notes->changed, key_of(&uid), mark.out));
	} else {
		free_blob(cv_map_remove(notes->changed, key_of(&uid)));
	}
}

void cv_notes_apply(struct cv_columns *columns, uint32_t uid, bool has_row, struct cv_str changes)
{
	struct cv_str before = cv_notes_find(columns, uid);
	struct cv_buf packed;

	if (!has_row && columns->notes != NULL && columns->notes->rowless >= CV_NOTES_ROWLESS_MAX)
		return;
	cv_buf_init(&packed, 2 * CV_NOTES_PACKED_MAX);
	cv_note_items_change(before, changes, &packed);
	if (!cv_buf_ok(&packed))
		cv_fatal("a message has too many annotations for this process");
	cv_notes_put(columns, uid, cv_buf_str(&packed));
	cv_buf_deinit(&packed);
	if (!has_row && columns->notes != NULL)
		columns->notes->rowless++;
}

static int compare_uids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

size_t cv_notes_uids(const struct cv_columns *columns, uint32_t end, uint32_t **uids_r)
{
	const struct cv_notes *notes = columns->notes;
	CV_VEC(uint32_t) uids = { 0 };
	struct cv_str key, packed;
	size_t pos = 0;
	void *value;

	while (notes != NULL && cv_map_next(notes->changed, &pos, &key, &value)) {
		uint32_t uid;

		memcpy(&uid, key.ptr, sizeof(uid));
		if (((const struct cv_note_blob *)value)->len > 0 && uid < end)
			*cv_vec_push(&uids) = uid;
	}
	for (uint32_t i = 0; notes != NULL && notes->base != NULL && i < notes->base->head.notes_count; i++) {
		uint32_t uid = cv_snapshot_note_uid(notes->base, i);

		if (uid < end && !find_changed(notes, uid, &packed))
			*cv_vec_push(&uids) = uid;
	}
	if (uids.count > 1)
		qsort(uids.data, uids.count, sizeof(*uids.data), compare_uids);
	*uids_r = uids.data;
	return uids.count;
}

uint64_t cv_notes_octets(const struct cv_columns *columns)
{
	return columns->notes != NULL ? columns->notes->octets : 0;
}

void cv_notes_count(struct cv_mailbox *mailbox)
{
	struct cv_counts *counts = &mailbox->counts;
	uint64_t before = counts->notes;

	counts->notes = cv_notes_octets(mailbox->columns);
	counts->notes_unknown = false;
	mailbox->user->usage.notes += counts->notes - before;
}

static bool is_live(const struct cv_columns *columns, uint32_t uid)
{
	uint32_t row;

	return cv_columns_find(columns, uid, UINT32_MAX, &row) && cv_row_live(columns, row);
}

uint64_t cv_notes_sum(const struct cv_columns *columns)
{
	uint32_t *uids = NULL;
	size_t count = cv_notes_uids(columns, UINT32_MAX, &uids);
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += is_live(columns, uids[i]) ? len_of(columns->notes, uids[i]) : 0;
	cv_free(uids);
	return sum;
}

void cv_notes_recount(struct cv_mailbox *mailbox)
{
	struct cv_columns *columns = mailbox->columns;
	uint32_t *uids = NULL;
	size_t count = 0;

	/* As long as messages may still be found, theirs are kept. */
	if (columns->notes != NULL && !mailbox->needs_scan && !mailbox->take_over)
		count = cv_notes_uids(columns, UINT32_MAX, &uids);
	for (size_t i = 0; i < count; i++) {
		if (!is_live(columns, uids[i]))
			cv_notes_put(columns, uids[i], (struct cv_str){ 0 });
	}
	cv_free(uids);
	cv_notes_count(mailbox);
}

size_t cv_notes_mend(struct cv_columns *columns, const struct cv_columns *second)
{
	const struct cv_snapshot *base = columns->base;
	struct cv_str packed;
	size_t lost = 0;

	for (uint32_t i = 0; base != NULL && i < base->head.notes_count; i++) {
		uint32_t uid = cv_snapshot_note_uid(base, i);

		if (find_changed(columns->notes, uid, &packed) || cv_snapshot_note(base, i, &packed))
			continue;
		packed = cv_notes_find(second, uid);
		lost += packed.len == 0;
		cv_notes_put(columns, uid, packed);
	}
	return lost;
}
