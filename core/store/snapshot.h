/* SPDX-License-Identifier: MIT
   Snapshots: a mailbox's columns in a file as they lie in memory.

   The file "box.<guid>" (the one before it: "box.<guid>.old"), numbers little-endian unless said otherwise:

     head, CV_SNAPSHOT_HEAD octets: u64 magic  u32 format version  u32 byte order mark, as the machine writes it  u64 length of the file
       guid  u64 sequence number: all records up to it are in here  u32 rows  u32 rows of a chunk
       u32 UIDVALIDITY, special use, UIDNEXT, first recent UID, messages, unseen, deleted, recent, first unseen UID
       u64 size of all messages, highest MODSEQ, MODSEQ above which the list of expunged UIDs is complete  u8 subscribed
       u32 number of columns, then for each u32 octets of a value, u64 offset
       u64 offset and u64 length of the pool (references and UIDLs), then of the words, each of the latter with u32 CRC-32C,
       u64 offset, u64 length, u32 CRC-32C of the checksums; from version 4 on: u64 offset and u64 length of the annotations of messages, u32 count,
       u32 CRC-32C of their table, below version 4 zeros; u64 offset of the runs of UIDs, u32 count (0: they are not told), u32 CRC-32C;
       zeros; u32 CRC-32C of all of the head before it
     columns, in the order of CV_COLUMN_LIST, values as they lie in memory (in the machine's byte order), aligned to 64
     pool: u8 length, reference, u16 length, UIDL
     words: str name of the mailbox, u32 count and that many str keywords, u32 count and that many sets (u32 count, u32 number of a
       keyword each; set 0, the empty one, is not written), u32 count and that many expunges (u64 modseq, u32 first, u32 last); from version 2
       on: u32 count and that many annotations (str name, str value). Below version 3 there is no column of checksums
     annotations of messages: those of each message that has some, packed (note.h); then, aligned to 8, the table: u32 UID, u32 length, u64 offset in them,
       u32 CRC-32C of the octets, u32 0, in the order of UIDs
     runs of UIDs, aligned to 8, as they lie in memory: of each run of UIDs without a gap u32 first UID, u32 number of its row. Written where they are
       short beside the column (CV_SNAPSHOT_RUN_ROWS), which is there too: a server that does not know them reads that
     checksums: u32 CRC-32C of each chunk of each column (the last one shorter), then of each CV_POOL_BLOCK octets of the pool.

   A snapshot has the lowest version that tells what is in it: 4 only where messages have annotations.

   Opening reads head, words, checksums, the table of annotations and the UIDs: of a file that is not read as a whole the runs of UIDs where it has them, from which
   a chunk of UIDs is made when it is touched first, else the column. All else is read and checked when it is touched first, so the time to open does not depend on
   what else there is. It is read rather than mapped: a mapping changes when somebody writes to the file, and ends the process when somebody cuts it. */
#ifndef CV_STORE_SNAPSHOT_H
#define CV_STORE_SNAPSHOT_H

#include "core/store/columns.h"
#include <culver/err.h>
#include <culver/map.h>

#define CV_SNAPSHOT_HEAD 4096
#define CV_SNAPSHOT_VERSION 4
#define CV_SNAPSHOT_VERSION_NO_NOTES 3
#define CV_SNAPSHOT_NOTE 24 /* octets of a row of the table */
#define CV_SNAPSHOT_RUN_ROWS 8 /* rows to a run on the average, and more: runs are written */
#define CV_SNAPSHOT_COLUMNS_OLD 12 /* columns below version 3: all but the last one, which is all zero then */
#define CV_SNAPSHOT_MAGIC 0x3150414e53565643ULL /* "CVVSNAP1" */
#define CV_SNAPSHOT_ORDER 0x01020304u
#define CV_POOL_BLOCK ((size_t)64 << 10)

struct cv_mailbox;
struct cv_note_writer;

/* What stands in the head and among the words. Views point into the map. */
struct cv_snapshot_head {
	uint32_t version, columns;
	uint64_t file_len, seq;
	struct cv_guid guid;
	uint32_t rows;
	uint32_t uidvalidity, special_use, uidnext, first_recent, messages, unseen, deleted, recent, first_unseen;
	uint64_t size, highest_modseq, vanished_from;
	bool subscribed;
	uint64_t column_offset[CV_COLUMNS];
	uint64_t pool_offset, pool_len, words_offset, words_len, checks_offset, checks_len;
	uint64_t notes_offset, notes_len;
	uint32_t notes_count; /* messages */
	uint64_t runs_offset;
	uint32_t runs_count;
	struct cv_str name;
	uint32_t keyword_count, set_count, vanished_count;
	struct cv_str keywords, sets, vanished, annotations; /* as they are in the words, checked; annotations absent: it has none */
};

/* Checksums that the head has of other parts. */
struct cv_snapshot_crcs {
	uint32_t words, checks, notes, runs;
};

/* The head and the words (snapshot-head.c). */
extern const uint8_t cv_column_width[CV_COLUMNS]; /* octets of a value */
/* CORRUPT, "NAME: its WHAT"; -1. */
int cv_snapshot_bad(struct cv_err *err, const char *name, const char *what);
/* Where the table of annotations is. */
uint64_t cv_snapshot_notes_table(const struct cv_snapshot_head *head);
/* octets: CV_SNAPSHOT_HEAD of them, of a file of head->file_len. The CRC says that they are what was written; every place lies within the file. 1, -1. */
CV_MUST_CHECK int cv_snapshot_head_take(struct cv_str octets, const char *name, struct cv_snapshot_head *head, struct cv_snapshot_crcs *crcs_r, struct cv_err *err);
/* The part of the head that the words are. */
CV_MUST_CHECK bool cv_snapshot_words_take(struct cv_str words, struct cv_snapshot_head *head);

/* UIDs without a gap, from this row on up to the row of the next run. */
struct cv_uid_run {
	uint32_t uid, row;
};

struct cv_snapshot {
	int refs;                 /* columns and views (view-uids.h) */
	struct cv_snapshot_head head;
	char *octets;             /* owned; of the length of the file, zeros where nothing was read yet */
	int fd;                   /* -1: all was read */
	struct cv_mailbox *owner; /* whose columns lie on it; NULL while it is read by itself */
	uint8_t *checked[CV_COLUMNS], *pool_checked; /* owned, one for each chunk (enum cv_chunk_state) or block */
	uint8_t *notes_read;      /* owned, one for each CV_POOL_BLOCK octets of the annotations; NULL: there are none */
	const struct cv_uid_run *runs; /* in the octets, checked: UIDs are made of them, chunk by chunk (checked); NULL: all UIDs were read */
	bool trusted;             /* all counts as checked: what does not check is not mended */
	uint64_t read_octets, read_before; /* of columns, since memory was given back; at the last cv_columns_rest */
	void *absent[CV_COLUMNS]; /* owned; values of columns that the file does not have: zeros */
};

/* Open a file and check what every use of it needs. 1; 0 when there is none; -1: CORRUPT when it does not check, UNSUPPORTED for a newer format,
   others when it can't be read. */
CV_MUST_CHECK int cv_snapshot_open(int dir, const char *name, struct cv_snapshot **snapshot_r, struct cv_err *err);
void cv_snapshot_ref(struct cv_snapshot *snapshot);
/* The last reference frees it. */
void cv_snapshot_free(struct cv_snapshot **snapshot);
uint32_t cv_snapshot_chunks(const struct cv_snapshot *snapshot);
/* Does it check? Nothing is remembered. */
bool cv_snapshot_chunk_ok(const struct cv_snapshot *snapshot, enum cv_column column, uint32_t chunk);
/* UIDs of a chunk are about to be looked at: make them of the runs, when there are runs. */
void cv_snapshot_make_uids(const struct cv_snapshot *snapshot, uint32_t chunk);
/* A chunk of a column came into memory. */
void cv_snapshot_note_read(struct cv_snapshot *snapshot, enum cv_column column);
/* First row with a UID >= uid, found in the runs, which must be there; the number of rows when there is none. */
uint32_t cv_snapshot_row_from(const struct cv_snapshot *snapshot, uint32_t uid);
/* Does the column of UIDs check in the file, also where nothing reads it because there are runs? */
bool cv_snapshot_uids_ok(const struct cv_snapshot *snapshot);
uint32_t cv_snapshot_pool_blocks(const struct cv_snapshot *snapshot);
bool cv_snapshot_block_ok(const struct cv_snapshot *snapshot, uint32_t block);
/* Annotations of messages: the table's row of a UID, its UID and octets, and the packed notes: false when they do not check. */
bool cv_snapshot_note_find(const struct cv_snapshot *snapshot, uint32_t uid, uint32_t *at_r);
uint32_t cv_snapshot_note_uid(const struct cv_snapshot *snapshot, uint32_t at);
uint32_t cv_snapshot_note_len(const struct cv_snapshot *snapshot, uint32_t at);
CV_MUST_CHECK bool cv_snapshot_note(const struct cv_snapshot *snapshot, uint32_t at, struct cv_str *packed_r);
/* Every chunk, block and annotation. */
bool cv_snapshot_all_ok(const struct cv_snapshot *snapshot);
/* Everything counts as checked from now on. */
void cv_snapshot_trust(struct cv_snapshot *snapshot);
/* Octets of the pool, from offset (below base_pool_len) on, are touched; they are mended when they do not check. */
void cv_snapshot_check_pool(const struct cv_columns *columns, uint64_t offset, size_t len);
/* New columns on the snapshot, which they take over. */
struct cv_columns *cv_columns_on(struct cv_snapshot *snapshot);

/* Writing. A slice at a time: what changes meanwhile may be in the file or not, records above its sequence number give the same when they are
   applied again. */
struct cv_snapshot_writer;
/* All of the mailbox's changes must be durable, its columns loaded. */
CV_MUST_CHECK int cv_snapshot_begin(struct cv_mailbox *mailbox, struct cv_snapshot_writer **writer_r, struct cv_err *err);
/* 1 all is written and durable under its temporary name, 0 there is more to do. */
CV_MUST_CHECK int cv_snapshot_step(struct cv_snapshot_writer *writer, uint64_t deadline_ms, struct cv_err *err);
/* Take its place; the one that was there becomes the older one. The mailbox's fields follow. The directory is not synced yet. */
CV_MUST_CHECK int cv_snapshot_finish(struct cv_snapshot_writer *writer, struct cv_err *err);
/* In any case; the temporary file goes when it was not finished. */
void cv_snapshot_end(struct cv_snapshot_writer **writer);

/* The part with the annotations of messages (note-snapshot.c): those with UIDs below uid_end, to fd from offset on. Not needed when no message has any. */
struct cv_note_writer *cv_note_writer_new(struct cv_mailbox *mailbox, int fd, uint64_t offset, uint32_t uid_end);
/* 1 all is written, 0 there is more to do. */
CV_MUST_CHECK int cv_note_writer_step(struct cv_note_writer *writer, uint64_t deadline_ms, struct cv_err *err);
/* Fields of the head, the CRC of the table; where the part ends. */
uint64_t cv_note_writer_end(const struct cv_note_writer *writer, struct cv_snapshot_head *head, uint32_t *crc_r);
void cv_note_writer_free(struct cv_note_writer **writer);

#endif
