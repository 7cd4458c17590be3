/* SPDX-License-Identifier: MIT
   The UIDs of a view: a shared array, the places in it that do not count, and a tail. */
#include <config.h>

#include "core/store/view-uids.h"

#include "core/store/snapshot.h"

#include <string.h>

/* So many rows behind the base, and an eighth of it, are looked at each time; with more the base is made anew. */
#define TAIL_MAX 1024u

struct cv_uid_base {
	int refs;                     /* columns and views */
	struct cv_snapshot *snapshot; /* whose octets uids are; NULL: they are own */
	uint32_t *own;
	const uint32_t *uids;
	uint32_t count;
};

void cv_uid_base_unref(struct cv_uid_base **base_p)
{
	struct cv_uid_base *base = *base_p;

	*base_p = NULL;
	if (base == NULL || --base->refs > 0)
		return;
	cv_snapshot_free(&base->snapshot);
	cv_free(base->own);
	cv_free(base);
}

static struct cv_uid_base *base_on_snapshot(const struct cv_columns *columns)
{
	struct cv_uid_base *base = cv_new0(struct cv_uid_base);

	base->refs = 1;
	if (columns->base_count > 0) {
		cv_snapshot_ref(columns->base);
		base->snapshot = columns->base;
		base->uids = columns->base_rows.uid; /* as they were checked when the snapshot was opened, or made when they are looked at */
		base->count = columns->base_count;
	}
	return base;
}

static struct cv_uid_base *base_of_all(const struct cv_columns *columns)
{
	struct cv_uid_base *base = cv_new0(struct cv_uid_base);
	uint32_t tail = columns->count - columns->base_count;

	base->refs = 1;
	for (uint32_t row = 0; row < columns->base_count; row += CV_CHUNK_ROWS)
		cv_snapshot_make_uids(columns->base, row >> CV_CHUNK_SHIFT);
	base->own = cv_reallocarray(NULL, columns->count, sizeof(*base->own));
	if (columns->base_count > 0)
		memcpy(base->own, columns->base_rows.uid, columns->base_count * sizeof(*base->own));
	if (tail > 0)
		memcpy(base->own + columns->base_count, columns->tail.uid, tail * sizeof(*base->own));
	base->uids = base->own;
	base->count = columns->count;
	return base;
}

static bool tail_is_long(const struct cv_columns *columns)
{
	uint32_t count = columns->uid_base->count;

	return columns->count - count > TAIL_MAX + count / 8;
}

void cv_uids_open(struct cv_view_uids *uids, struct cv_columns *columns)
{
	size_t dead_count, holes = 0;
	const uint32_t *dead = cv_columns_dead(columns, &dead_count);
	struct cv_uid_base *base;

	if (columns->uid_base == NULL)
		columns->uid_base = base_on_snapshot(columns);
	if (tail_is_long(columns)) {
		cv_uid_base_unref(&columns->uid_base);
		columns->uid_base = base_of_all(columns);
	}
	base = columns->uid_base;
	base->refs++;
	uids->base = base;
	uids->base_uids = base->uids;
	uids->base_made = base->snapshot != NULL && base->snapshot->runs != NULL ? base->snapshot->checked[CV_COLUMN_uid] : NULL;
	uids->base_count = base->count;
	while (holes < dead_count && dead[holes] < base->count)
		holes++;
	for (size_t i = 0; i < holes; i++)
		*cv_vec_push(&uids->holes) = dead[i];
	uids->base_live = uids->count = base->count - (uint32_t)holes;
	for (uint32_t row = base->count; row < columns->count; row++) {
		if (cv_row_live(columns, row))
			cv_uids_push(uids, *cv_col_uid(columns, row));
	}
}

void cv_uids_free(struct cv_view_uids *uids)
{
	cv_uid_base_unref(&uids->base);
	cv_vec_free(&uids->holes);
	cv_vec_free(&uids->tail);
	*uids = (struct cv_view_uids){ 0 };
}

void cv_uids_make(const struct cv_view_uids *uids, uint32_t at)
{
	cv_snapshot_make_uids(uids->base->snapshot, at >> CV_CHUNK_SHIFT);
	cv_snapshot_note_read(uids->base->snapshot, CV_COLUMN_uid);
}

void cv_uids_push(struct cv_view_uids *uids, uint32_t uid)
{
	*cv_vec_push(&uids->tail) = uid;
	uids->count++;
}

/* Holes before the message of this index. */
static size_t holes_before(const struct cv_view_uids *uids, uint32_t index)
{
	size_t low = 0, high = uids->holes.count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (uids->holes.data[mid] - (uint32_t)mid <= index)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t cv_uids_at_holes(const struct cv_view_uids *uids, uint32_t index, uint32_t *row_r)
{
	*row_r = index + (uint32_t)holes_before(uids, index);
	return cv_uids_of_base(uids, *row_r);
}

/* First of ascending numbers that is not below n. */
static size_t first_from(const uint32_t *numbers, size_t count, uint32_t n)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (numbers[mid] < n)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static uint32_t base_from(const struct cv_view_uids *uids, uint32_t uid)
{
	if (uids->base_made != NULL)
		return CV_MIN(cv_snapshot_row_from(uids->base->snapshot, uid), uids->base_count);
	return (uint32_t)first_from(uids->base_uids, uids->base_count, uid);
}

uint32_t cv_uids_from(const struct cv_view_uids *uids, uint32_t uid)
{
	uint32_t at = base_from(uids, uid);

	if (at == uids->base_count)
		return uids->base_live + (uint32_t)first_from(uids->tail.data, uids->tail.count, uid);
	return at - (uint32_t)first_from(uids->holes.data, uids->holes.count, at);
}

/* Places that become holes go among those that are there, from the end on. */
static void add_holes(struct cv_view_uids *uids, const uint32_t *places, size_t more)
{
	size_t old = uids->holes.count, to = old + more;
	uint32_t *holes;

	for (size_t i = 0; i < more; i++)
		(void)cv_vec_push(&uids->holes);
	holes = uids->holes.data;
	while (more > 0) {
		if (old > 0 && holes[old - 1] > places[more - 1])
			holes[--to] = holes[--old];
		else
			holes[--to] = places[--more];
	}
}

static void remove_from_base(struct cv_view_uids *uids, const struct cv_ranges *gone)
{
	CV_VEC(uint32_t) places = { 0 };

	for (size_t i = 0; i < gone->count; i++) {
		uint32_t at = base_from(uids, gone->data[i].first);
		size_t hole = first_from(uids->holes.data, uids->holes.count, at);

		for (; at < uids->base_count && cv_uids_of_base(uids, at) <= gone->data[i].last; at++) {
			if (hole < uids->holes.count && uids->holes.data[hole] == at)
				hole++;
			else
				*cv_vec_push(&places) = at;
		}
	}
	add_holes(uids, places.data, places.count);
	uids->base_live -= (uint32_t)places.count;
	cv_vec_free(&places);
}

static void remove_from_tail(struct cv_view_uids *uids, const struct cv_ranges *gone)
{
	uint32_t *tail = uids->tail.data;
	size_t at, kept, range = 0;

	if (gone->count == 0)
		return;
	at = kept = first_from(tail, uids->tail.count, gone->data[0].first);
	for (; at < uids->tail.count; at++) {
		while (range < gone->count && gone->data[range].last < tail[at])
			range++;
		if (range == gone->count || tail[at] < gone->data[range].first)
			tail[kept++] = tail[at];
	}
	uids->tail.count = kept;
}

void cv_uids_remove(struct cv_view_uids *uids, const struct cv_ranges *gone)
{
	if (uids->base_count > 0)
		remove_from_base(uids, gone);
	remove_from_tail(uids, gone);
	uids->count = uids->base_live + (uint32_t)uids->tail.count;
}
