/* SPDX-License-Identifier: MIT
   A mailbox's messages as columns: one array per property, rows in ascending order of UID. */
#ifndef CV_STORE_COLUMNS_H
#define CV_STORE_COLUMNS_H

#include <culver/buf.h>
#include <culver/mailbox.h>
#include <culver/map.h>

struct cv_guid {
	uint8_t b[16];
};

/* Bits of the flags column beyond enum cv_flag. */
enum cv_row_bits {
	CV_ROW_VERIFIED = 0x4000, /* its octets were compared with the checksum in this process; never in a file */
	CV_ROW_EXPUNGED = 0x8000, /* gone; the row stays until the columns are read anew */
};

/* name, type. flags: enum cv_flag and cv_row_bits. ref: offset in the pool of the reference and saved UIDL. cache: where the parse
   record is (cache.h). sum: CRC-32C of the octets as the storage gives them back; 0: not known, they were there before us and nobody has read them. A
   message whose sum is 0 is therefore never checked: one in 2^32. New columns come last: older snapshots have the first ones only. */
#define CV_COLUMN_LIST(X)                                                                                     \
	X(uid, uint32_t)                                                                                      \
	X(flags, uint16_t)                                                                                    \
	X(zone, int16_t)                                                                                      \
	X(keyword_set, uint32_t)                                                                              \
	X(modseq, uint64_t)                                                                                   \
	X(date, int64_t)                                                                                      \
	X(saved, int64_t)                                                                                     \
	X(virtual_size, uint64_t)                                                                             \
	X(physical_size, uint64_t)                                                                            \
	X(guid, struct cv_guid)                                                                               \
	X(ref, uint64_t)                                                                                      \
	X(cache, uint64_t)                                                                                    \
	X(sum, uint32_t)

struct cv_column_arrays {
#define X(name, type) type *name;
	CV_COLUMN_LIST(X)
#undef X
};

enum cv_column {
#define X(name, type) CV_COLUMN_##name,
	CV_COLUMN_LIST(X)
#undef X
	CV_COLUMNS
};

struct cv_snapshot;
struct cv_notes;
struct cv_memos;
struct cv_uid_base;

/* Rows of a snapshot are read and checked when they are first touched, a column's chunk of 1 << CV_CHUNK_SHIFT rows at a time. */
#define CV_CHUNK_SHIFT 12
#define CV_CHUNK_ROWS (1u << CV_CHUNK_SHIFT)

/* What is known of a chunk of a column; 0: it was not read yet, or its memory was given back. */
enum cv_chunk_state { CV_CHUNK_CHECKED = 1, CV_CHUNK_WRITTEN = 2 };

/* Rows 0 .. base_count - 1 are in the snapshot's octets (changes stay in memory), the others in the tail.
   Rows are never removed, only marked. Offsets in the pool below base_pool_len are in the snapshot. */
struct cv_columns {
	struct cv_snapshot *base; /* owned; NULL: none */
	uint32_t base_count;
	uint32_t count;
	uint32_t dead;            /* rows marked CV_ROW_EXPUNGED */
	struct cv_column_arrays base_rows, tail;
	uint8_t *checked[CV_COLUMNS]; /* owned by base: one for each chunk, enum cv_chunk_state */
	size_t tail_cap;
	const char *base_pool;
	uint64_t base_pool_len;
	struct cv_buf pool;
	size_t pool_dead;         /* octets of pool that no row has any more */
	struct cv_notes *notes;   /* owned; NULL: no message has annotations (note.h) */
	struct cv_memos *memos;   /* owned; NULL: none (memo.h) */
	struct cv_uid_base *uid_base; /* what views share (view-uids.h); NULL: none yet */
	CV_VEC(uint32_t) dead_rows;   /* all rows marked CV_ROW_EXPUNGED, unless dead_unknown */
	bool dead_unknown, dead_mixed; /* they have to be looked for; they are not in order */
	struct cv_chunk *chunks;  /* owned; what is known of each chunk of rows */
	size_t chunk_count;       /* nothing is known of those beyond */
};

/* What is known of a chunk's rows, so that they need not be looked at. */
struct cv_chunk {
	uint64_t top_modseq;      /* none has a higher one; 0: not known */
	bool not_deleted;         /* none has CV_FLAG_DELETED */
};

/* A chunk of a column is touched for the first time: check it, have it mended when it does not check (snapshot.c). */
void cv_columns_check(const struct cv_columns *columns, enum cv_column column, uint32_t chunk);

#define X(name, type)                                                                                         \
	static inline const type *cv_col_##name(const struct cv_columns *c, uint32_t row)                     \
	{                                                                                                     \
		if (row >= c->base_count)                                                                     \
			return &c->tail.name[row - c->base_count];                                            \
		if (c->checked[CV_COLUMN_##name][row >> CV_CHUNK_SHIFT] == 0)                                 \
			cv_columns_check(c, CV_COLUMN_##name, row >> CV_CHUNK_SHIFT);                         \
		return &c->base_rows.name[row];                                                               \
	}                                                                                                     \
	static inline void cv_set_##name(struct cv_columns *c, uint32_t row, type value)                      \
	{                                                                                                     \
		if (row >= c->base_count) {                                                                   \
			c->tail.name[row - c->base_count] = value;                                            \
			return;                                                                               \
		}                                                                                             \
		if (c->checked[CV_COLUMN_##name][row >> CV_CHUNK_SHIFT] == 0)                                 \
			cv_columns_check(c, CV_COLUMN_##name, row >> CV_CHUNK_SHIFT);                         \
		c->checked[CV_COLUMN_##name][row >> CV_CHUNK_SHIFT] = CV_CHUNK_WRITTEN;                       \
		c->base_rows.name[row] = value;                                                               \
	}
CV_COLUMN_LIST(X)
#undef X

/* What a new row holds. ref and uidl are copied, and may be views of these columns. */
struct cv_new_row {
	uint32_t uid;
	uint16_t flags;
	int16_t zone;
	uint32_t keyword_set;
	uint64_t modseq;
	int64_t date, saved;
	uint64_t virtual_size, physical_size;
	struct cv_guid guid;
	struct cv_str ref, uidl;
	uint64_t cache;
	uint32_t sum;
};

struct cv_columns *cv_columns_new(void);
void cv_columns_free(struct cv_columns **columns);
/* A command is done with them: where it read much of a large snapshot, or much was read since, memory that holds what the file has too is given back; it is read once more
   where it is needed. Nothing that the accessors gave may be kept over this. */
void cv_columns_rest(struct cv_columns *columns);
/* Add a row; its place follows from its UID, which must not be there yet. O(1) for the highest UID so far, O(n) else. */
void cv_columns_add(struct cv_columns *columns, const struct cv_new_row *row);
/* First row with a UID >= uid; count when there is none. */
uint32_t cv_columns_from(const struct cv_columns *columns, uint32_t uid);
/* True with *row_r when there is a row (also an expunged one) with this UID. */
bool cv_columns_find_from(const struct cv_columns *columns, uint32_t uid, uint32_t *row_r);
/* The same. hint: where it may be. */
static inline bool cv_columns_find(const struct cv_columns *columns, uint32_t uid, uint32_t hint, uint32_t *row_r)
{
	*row_r = hint;
	return (hint < columns->count && *cv_col_uid(columns, hint) == uid) || cv_columns_find_from(columns, uid, row_r);
}
/* Views are valid until the next cv_columns_add or set_ref. */
struct cv_str cv_columns_ref(const struct cv_columns *columns, uint32_t row);
struct cv_str cv_columns_uidl(const struct cv_columns *columns, uint32_t row);
void cv_columns_set_ref(struct cv_columns *columns, uint32_t row, struct cv_str ref);
/* Both anew, whatever was there. */
void cv_columns_set_uidl(struct cv_columns *columns, uint32_t row, struct cv_str uidl);
void cv_columns_set_names(struct cv_columns *columns, uint32_t row, struct cv_str ref, struct cv_str uidl);
/* Mark a row that lives CV_ROW_EXPUNGED. */
void cv_columns_kill(struct cv_columns *columns, uint32_t row);
/* Rows were marked or moved otherwise: what is known of dead rows and of flags is looked for anew. */
void cv_columns_unknown(struct cv_columns *columns);
/* The rows marked CV_ROW_EXPUNGED, ascending; valid until the next change. */
const uint32_t *cv_columns_dead(struct cv_columns *columns, size_t *count_r);
/* A row has CV_FLAG_DELETED now. */
static inline void cv_columns_note_deleted(struct cv_columns *columns, uint32_t row)
{
	if (row >> CV_CHUNK_SHIFT < columns->chunk_count)
		columns->chunks[row >> CV_CHUNK_SHIFT].not_deleted = false;
}
/* A row has this modseq now. */
static inline void cv_columns_note_modseq(struct cv_columns *columns, uint32_t row, uint64_t modseq)
{
	struct cv_chunk *chunk = row >> CV_CHUNK_SHIFT < columns->chunk_count ? &columns->chunks[row >> CV_CHUNK_SHIFT] : NULL;

	if (chunk != NULL && chunk->top_modseq != 0 && chunk->top_modseq < modseq)
		chunk->top_modseq = modseq;
}
static inline void cv_columns_set_modseq(struct cv_columns *columns, uint32_t row, uint64_t modseq)
{
	cv_set_modseq(columns, row, modseq);
	cv_columns_note_modseq(columns, row, modseq);
}
/* First row from row on, and before end, that lives and has CV_FLAG_DELETED; end when there is none. Chunks of which is known that there is none are passed over. */
uint32_t cv_columns_next_deleted(struct cv_columns *columns, uint32_t row, uint32_t end);
/* The same for rows, also expunged ones, with a modseq above since. */
uint32_t cv_columns_next_changed(struct cv_columns *columns, uint32_t row, uint32_t end, uint64_t since);
static inline bool cv_row_live(const struct cv_columns *c, uint32_t row)
{
	return (*cv_col_flags(c, row) & CV_ROW_EXPUNGED) == 0;
}

#endif
