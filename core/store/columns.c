/* SPDX-License-Identifier: MIT
   The columns in memory: finding rows, adding rows. */
#include <config.h>

#include "core/store/columns.h"
#include "core/base/grow.h"
#include "core/store/memo.h"
#include "core/store/note.h"
#include "core/store/snapshot.h"
#include "core/store/view-uids.h"
#include <culver/reader.h>

#include <stdlib.h>
#include <string.h>

#define POOL_MAX ((size_t)4 << 30)
#define TAIL_MIN 64
#define POOL_DEAD_MIN ((size_t)64 << 10)
#define POOL_ENTRY_HEADS (1 + 2)
#define CV_POOL_ENTRY_MAX (POOL_ENTRY_HEADS + CV_STORAGE_REF_MAX + UINT16_MAX)

struct cv_columns *cv_columns_new(void)
{
	struct cv_columns *columns = cv_new0(struct cv_columns);

	cv_buf_init(&columns->pool, POOL_MAX);
	return columns;
}

void cv_columns_free(struct cv_columns **columns_p)
{
	struct cv_columns *columns = *columns_p;

	*columns_p = NULL;
	if (columns == NULL)
		return;
	cv_notes_free(&columns->notes);
	cv_memos_free(&columns->memos);
	cv_uid_base_unref(&columns->uid_base);
	cv_vec_free(&columns->dead_rows);
	cv_free(columns->chunks);
	cv_snapshot_free(&columns->base);
#define X(name, type) cv_free(columns->tail.name);
	CV_COLUMN_LIST(X)
#undef X
	cv_buf_deinit(&columns->pool);
	cv_free(columns);
}

uint32_t cv_columns_from(const struct cv_columns *columns, uint32_t uid)
{
	uint32_t low = 0, high = columns->count;

	if (columns->base_count > 0 && columns->base->runs != NULL) {
		low = CV_MIN(cv_snapshot_row_from(columns->base, uid), columns->base_count);
		if (low < columns->base_count)
			return low;
	}
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (*cv_col_uid(columns, mid) < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool cv_columns_find_from(const struct cv_columns *columns, uint32_t uid, uint32_t *row_r)
{
	uint32_t row = cv_columns_from(columns, uid);

	*row_r = row;
	return row < columns->count && *cv_col_uid(columns, row) == uid;
}

static void reserve_tail(struct cv_columns *columns, size_t need)
{
	size_t cap = columns->tail_cap;

	if (need <= cap)
		return;
	cap = cap == 0 ? TAIL_MIN : cap + cap / 2;
	cap = cv_grow_cap(CV_MAX(cap, need), need);
#define X(name, type) columns->tail.name = cv_reallocarray(columns->tail.name, cap, sizeof(type));
	CV_COLUMN_LIST(X)
#undef X
	columns->tail_cap = cap;
}

/* Rows from row on go to the tail, so that one can be put before them. */
static void move_to_tail(struct cv_columns *columns, uint32_t row)
{
	size_t moved = columns->base_count - row, tail = columns->count - columns->base_count;

	for (uint32_t chunk = row >> CV_CHUNK_SHIFT; chunk <= (columns->base_count - 1) >> CV_CHUNK_SHIFT; chunk++) {
		for (unsigned i = 0; i < CV_COLUMNS; i++) {
			if (columns->checked[i][chunk] == 0)
				cv_columns_check(columns, (enum cv_column)i, chunk);
		}
	}
	reserve_tail(columns, moved + tail + 1);
#define X(name, type)                                                                                         \
	memmove(&columns->tail.name[moved], columns->tail.name, tail * sizeof(type));                         \
	memcpy(columns->tail.name, &columns->base_rows.name[row], moved * sizeof(type));
	CV_COLUMN_LIST(X)
#undef X
	columns->base_count = row;
}

/* Octets of a pool that moved while it grew: where they are now; others as they are. */
static struct cv_str follow(struct cv_str s, uintptr_t was, const struct cv_buf *pool)
{
	uintptr_t at = (uintptr_t)s.ptr;

	return s.len > 0 && at >= was && at - was < pool->len ? cv_str_mem(pool->data + (at - was), s.len) : s;
}

/* ref and uidl may be views of the pool itself: a copy within a mailbox has its source's UIDL. */
static uint64_t add_to_pool(struct cv_columns *columns, struct cv_str ref, struct cv_str uidl)
{
	struct cv_buf *pool = &columns->pool;
	uint64_t offset = columns->base_pool_len + pool->len;
	uintptr_t was = (uintptr_t)pool->data;

	cv_assert(ref.len <= CV_STORAGE_REF_MAX);
	uidl = cv_str_sub(uidl, 0, UINT16_MAX);
	if (cv_buf_reserve(pool, 1 + ref.len + 2 + uidl.len) == NULL)
		cv_fatal("mailbox has too many message references for this process");
	ref = follow(ref, was, pool);
	uidl = follow(uidl, was, pool);
	cv_put_u8(pool, (uint8_t)ref.len);
	cv_buf_append(pool, ref);
	cv_put_u16(pool, (uint16_t)uidl.len);
	cv_buf_append(pool, uidl);
	return offset;
}

void cv_columns_add(struct cv_columns *columns, const struct cv_new_row *row)
{
	uint32_t at = columns->count;
	size_t i;

	if (at > 0 && *cv_col_uid(columns, at - 1) >= row->uid) {
		at = cv_columns_from(columns, row->uid);
		cv_assert(at < columns->count && *cv_col_uid(columns, at) != row->uid);
		cv_memos_free(&columns->memos); /* rows are not where they were */
		cv_columns_unknown(columns);
	}
	if (at < columns->base_count)
		move_to_tail(columns, at);
	i = at - columns->base_count;
	reserve_tail(columns, (size_t)(columns->count - columns->base_count) + 1);
#define X(name, type)                                                                                         \
	memmove(&columns->tail.name[i + 1], &columns->tail.name[i], (columns->count - at) * sizeof(type));
	CV_COLUMN_LIST(X)
#undef X
	columns->tail.uid[i] = row->uid;
	columns->tail.flags[i] = row->flags;
	columns->tail.zone[i] = row->zone;
	columns->tail.keyword_set[i] = row->keyword_set;
	columns->tail.modseq[i] = row->modseq;
	columns->tail.date[i] = row->date;
	columns->tail.saved[i] = row->saved;
	columns->tail.virtual_size[i] = row->virtual_size;
	columns->tail.physical_size[i] = row->physical_size;
	columns->tail.guid[i] = row->guid;
	columns->tail.ref[i] = add_to_pool(columns, row->ref, row->uidl);
	columns->tail.cache[i] = row->cache;
	columns->tail.sum[i] = row->sum;
	columns->count++;
	if ((row->flags & CV_FLAG_DELETED) != 0)
		cv_columns_note_deleted(columns, at);
	cv_columns_note_modseq(columns, at, row->modseq);
}

/* ---- rows that are gone or will be ------------------------------------------------------------------------------ */

void cv_columns_kill(struct cv_columns *columns, uint32_t row)
{
	cv_set_flags(columns, row, (uint16_t)(*cv_col_flags(columns, row) | CV_ROW_EXPUNGED));
	columns->dead++;
	if (columns->dead_unknown)
		return;
	columns->dead_mixed = columns->dead_mixed || (columns->dead_rows.count > 0 && columns->dead_rows.data[columns->dead_rows.count - 1] > row);
	*cv_vec_push(&columns->dead_rows) = row;
}

void cv_columns_unknown(struct cv_columns *columns)
{
	cv_uid_base_unref(&columns->uid_base);
	columns->dead_rows.count = 0;
	columns->dead_unknown = true;
	columns->dead_mixed = false;
	columns->chunk_count = 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

const uint32_t *cv_columns_dead(struct cv_columns *columns, size_t *count_r)
{
	/* Flags that are touched first may have to be mended: then once more. */
	while (columns->dead_unknown) {
		columns->dead_unknown = false;
		columns->dead_rows.count = 0;
		for (uint32_t row = 0; row < columns->count; row++) {
			if (!cv_row_live(columns, row))
				*cv_vec_push(&columns->dead_rows) = row;
		}
	}
	if (columns->dead_mixed)
		qsort(columns->dead_rows.data, columns->dead_rows.count, sizeof(*columns->dead_rows.data), by_number);
	columns->dead_mixed = false;
	*count_r = columns->dead_rows.count;
	return columns->dead_rows.data;
}

/* Room to say of every chunk what is in it. */
static void reserve_chunks(struct cv_columns *columns)
{
	size_t want = (columns->count >> CV_CHUNK_SHIFT) + 1, count = columns->chunk_count;

	if (want <= count)
		return;
	columns->chunks = cv_reallocarray(columns->chunks, want, sizeof(*columns->chunks));
	memset(columns->chunks + count, 0, (want - count) * sizeof(*columns->chunks));
	columns->chunk_count = want;
}

uint32_t cv_columns_next_deleted(struct cv_columns *columns, uint32_t row, uint32_t end)
{
	reserve_chunks(columns);
	while (row < end) {
		uint32_t chunk = row >> CV_CHUNK_SHIFT, first = chunk << CV_CHUNK_SHIFT, start = row;
		uint32_t stop = CV_MIN(end, CV_MIN(first + CV_CHUNK_ROWS, columns->count));

		if (columns->chunks[chunk].not_deleted) {
			row = stop;
			continue;
		}
		for (; row < stop; row++) {
			if ((*cv_col_flags(columns, row) & (CV_FLAG_DELETED | CV_ROW_EXPUNGED)) == CV_FLAG_DELETED)
				return row;
		}
		if (start == first && stop == CV_MIN(first + CV_CHUNK_ROWS, columns->count))
			columns->chunks[chunk].not_deleted = true;
	}
	return end;
}

static uint64_t top_modseq(const struct cv_columns *columns, uint32_t row, uint32_t end)
{
	uint64_t top = 1;

	for (; row < end; row++)
		top = CV_MAX(top, *cv_col_modseq(columns, row));
	return top;
}

uint32_t cv_columns_next_changed(struct cv_columns *columns, uint32_t row, uint32_t end, uint64_t since)
{
	while (row < end) {
		uint32_t chunk = row >> CV_CHUNK_SHIFT, stop = CV_MIN(columns->count, (chunk + 1) << CV_CHUNK_SHIFT);
		uint64_t top;

		reserve_chunks(columns);
		if (columns->chunks[chunk].top_modseq == 0) {
			/* Modseqs that are touched first may have to be mended, and then nothing is known. */
			top = top_modseq(columns, chunk << CV_CHUNK_SHIFT, stop);
			reserve_chunks(columns);
			columns->chunks[chunk].top_modseq = top;
		}
		stop = CV_MIN(stop, end);
		for (; columns->chunks[chunk].top_modseq > since && row < stop; row++) {
			if (*cv_col_modseq(columns, row) > since)
				return row;
		}
		row = stop;
	}
	return end;
}

static bool take_entry(struct cv_str pool, uint64_t offset, struct cv_str *ref_r, struct cv_str *uidl_r)
{
	struct cv_reader reader = cv_reader_init(cv_str_sub(pool, offset, CV_POOL_ENTRY_MAX));
	uint8_t ref_len;
	uint16_t uidl_len;

	return cv_take_u8(&reader, &ref_len) && cv_take_len(&reader, ref_len, ref_r) && cv_take_u16(&reader, &uidl_len) &&
		cv_take_len(&reader, uidl_len, uidl_r);
}

/* Reference and UIDL of a row; both absent when they do not check. */
static bool pool_entry(const struct cv_columns *columns, uint32_t row, struct cv_str *ref_r, struct cv_str *uidl_r)
{
	uint64_t offset = *cv_col_ref(columns, row);
	struct cv_str pool = cv_str_mem(columns->base_pool, columns->base_pool_len);

	if (offset < columns->base_pool_len) {
		cv_snapshot_check_pool(columns, offset, CV_POOL_ENTRY_MAX);
		offset = *cv_col_ref(columns, row); /* mending gives rows new places */
	}
	if (offset >= columns->base_pool_len) {
		pool = cv_buf_str(&columns->pool);
		offset -= columns->base_pool_len;
	}
	return take_entry(pool, offset, ref_r, uidl_r);
}

struct cv_str cv_columns_ref(const struct cv_columns *columns, uint32_t row)
{
	struct cv_str ref, uidl;

	return pool_entry(columns, row, &ref, &uidl) ? ref : (struct cv_str){ 0 };
}

struct cv_str cv_columns_uidl(const struct cv_columns *columns, uint32_t row)
{
	struct cv_str ref, uidl;

	return pool_entry(columns, row, &ref, &uidl) && uidl.len > 0 ? uidl : (struct cv_str){ 0 };
}

void cv_columns_set_ref(struct cv_columns *columns, uint32_t row, struct cv_str ref)
{
	cv_columns_set_names(columns, row, ref, cv_columns_uidl(columns, row));
}

void cv_columns_set_uidl(struct cv_columns *columns, uint32_t row, struct cv_str uidl)
{
	cv_columns_set_names(columns, row, cv_columns_ref(columns, row), uidl);
}

/* Without what no row has any more. */
static void compact_pool(struct cv_columns *columns)
{
	struct cv_buf old;

	/* Rows that are mended when they are touched get places in the pool as it is. */
	for (uint32_t row = 0; row < columns->count; row += CV_CHUNK_ROWS)
		(void)*cv_col_ref(columns, row);
	old = columns->pool;
	cv_buf_init(&columns->pool, POOL_MAX);
	for (uint32_t row = 0; row < columns->count; row++) {
		uint64_t offset = *cv_col_ref(columns, row);
		struct cv_str ref, uidl;

		if (offset < columns->base_pool_len)
			continue;
		if (take_entry(cv_buf_str(&old), offset - columns->base_pool_len, &ref, &uidl))
			cv_set_ref(columns, row, add_to_pool(columns, ref, uidl));
		else
			cv_set_ref(columns, row, UINT64_MAX); /* nor was it anywhere before */
	}
	cv_buf_deinit(&old);
	columns->pool_dead = 0;
}

/* All rows are looked at for it: not for little. */
static bool pool_wants_compacting(const struct cv_columns *columns)
{
	return columns->pool_dead >= POOL_DEAD_MIN + columns->count * sizeof(uint64_t) && columns->pool_dead > columns->pool.len / 2;
}

void cv_columns_set_names(struct cv_columns *columns, uint32_t row, struct cv_str ref, struct cv_str uidl)
{
	bool was_in_pool = *cv_col_ref(columns, row) >= columns->base_pool_len;
	struct cv_str old_ref, old_uidl;

	if (was_in_pool && pool_entry(columns, row, &old_ref, &old_uidl))
		columns->pool_dead += POOL_ENTRY_HEADS + old_ref.len + old_uidl.len;
	cv_set_ref(columns, row, add_to_pool(columns, ref, uidl));
	/* Each flag of a Maildir gives its file another name. */
	if (pool_wants_compacting(columns))
		compact_pool(columns);
}
