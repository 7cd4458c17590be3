/* SPDX-License-Identifier: MIT
   The journal: one user's append-only segments of records. Knows the records' heads, not what they mean. Which file has what: journal-private.h. */
#ifndef CV_STORE_JOURNAL_H
#define CV_STORE_JOURNAL_H

#include "core/store/record.h"
#include "core/store/window.h"
#include <culver/file.h>
#include <culver/loop.h>
#include <culver/map.h>
#include <culver/storage.h>

/* Segments are files "journal.<16 hexadecimal digits>", numbered upwards. A segment begins with a head of
   CV_SEGMENT_HEAD octets:
     u64 magic  u32 format version  u32 length of the head  u64 number  u64 sequence number before its first record
     u64 sequence number up to which records may be missing, because they were damaged and set aside
     u32 node  u32 CRC-32C of what came before, and zeros. */
#define CV_SEGMENT_HEAD 64
#define CV_SEGMENT_VERSION 1

/* Where a record is. */
struct cv_journal_pos {
	uint32_t segment;
	uint64_t offset;
};

struct cv_segment {
	uint32_t number;
	uint64_t before_seq; /* all its records have a higher sequence number */
	uint64_t lost_seq;   /* up to this one records may be missing before it: that is known, and healed */
	uint64_t last_seq;   /* of its last record; known after it was scanned or left */
	uint64_t len;
	int64_t mtime;       /* seconds since 1970 */
	bool damaged;        /* head or records do not check: set aside at the next chance */
	bool scanned;
	bool copied;         /* it has a copy, or may have one */
	bool refused;        /* its file may not be read, or not be written: it is made anew from the copy */
	uint64_t durable;    /* octets that were on disk when some record of it was written, as far as was read */
};

/* Zeros behind the last record of the segment that is written to (journal-ahead.c). */
struct cv_ahead {
	struct cv_beside *beside; /* that writes them; NULL: none does */
	int fd;                   /* and the following are the thread's meanwhile */
	uint64_t from, to;
	bool failed;
	struct cv_err err;
	uint64_t len;             /* the file's, as far as it was made longer than the last record; 0: not */
	uint64_t since_ms, octets; /* what was written and synced since then */
	uint32_t writes;
	bool refused;             /* it does not work here */
};

struct cv_journal {
	int dir;                 /* borrowed */
	enum cv_fsync fsync;
	uint32_t node;
	uint64_t seq;            /* highest given out */
	uint64_t written_seq;    /* highest of a record that was written */
	uint64_t hlc;
	uint64_t epoch;
	CV_VEC(struct cv_segment) segments; /* ascending; the last one is written to */
	uint32_t next_number;    /* of the next new segment */
	uint64_t lost_seq;       /* for the heads of new segments */
	int fd;                  /* of the last one; -1 until the first write */
	uint64_t synced;         /* octets of the last one that are durable */
	uint64_t light;          /* octets of the last one that do not count when it is asked whether it is full (cv_record_weight) */
	struct cv_buf pending;   /* records not yet written */
	size_t record_start;     /* within pending, of the record being made */
	uint16_t record_version; /* that it needs (cv_entry_version) */
	bool record_open;
	bool unsynced;           /* something was written and not synced */
	bool names_due;          /* nor is the name of the first segment of all */
	/* Directories above dir that are to be synced with it. */
	CV_VEC(struct cv_journal_above {
		int dir;         /* owned */
		bool *synced;    /* is set then; NULL: nobody asks */
	}) above;
	struct cv_buf tail;      /* what was written to the last segment since it was synced: a sync that fails may have lost it */
	uint64_t tail_at;        /* where it begins */
	bool rewrite;            /* the file may not have the tail: it is written once more before it is synced */
	bool uncut;              /* the last segment has octets behind its len that were refused */
	uint32_t leftover;       /* a segment that could neither be begun nor removed; 0: none */
	uint64_t file_mode;
	struct cv_loop *loop;    /* borrowed; NULL as init sets it: no zeros are written ahead */
	uint32_t ahead_writes;   /* so many synced writes within a second begin it */
	struct cv_ahead ahead;
	bool shortened;          /* zeros or records were cut off the last one, which an fdatasync need not make durable */
	bool end_synced;         /* no power cut makes the last one longer than it is now, or was in between */
	const struct cv_log_ctx *log_ctx; /* borrowed; NULL as init sets it */
	bool copying;            /* segments get a copy; false as init sets it */
	int copy_fd;             /* of the last segment's; -1: none yet */
	uint32_t copy_number;    /* its number */
	uint64_t older_again_ms; /* when it is looked whether the segments before the last one have whole copies; 0: with the next write; UINT64_MAX: it was */
	bool frees;              /* what is pending gives room back: where there is none for it, make_room is asked, once */
	bool (*make_room)(void *ctx); /* did something go that is not needed? NULL: nothing can */
	void *room_ctx;
	bool harmed;             /* some file does not have what was written any more: cv_user_write_anew is due */
	uint64_t looked_ms;      /* when it was looked last whether the files that are written to have their names */
	int read_fd;             /* of the segment other than the last one that was read last; -1: none */
	uint32_t read_number;    /* its number */
	uint32_t window_number;  /* segment that the window shows */
	struct cv_window window;
};

void cv_journal_init(struct cv_journal *journal, int dir, enum cv_fsync fsync, uint32_t node, unsigned file_mode);
void cv_journal_deinit(struct cv_journal *journal);
/* When the name of the first segment is synced, names in this directory, above the journal's, are too, and *synced (may be NULL) says so. It takes the descriptor. */
void cv_journal_owe_names(struct cv_journal *journal, int dir, bool *synced);
/* Look at what segments are there. Ones whose head does not check are marked damaged. */
CV_MUST_CHECK int cv_journal_list(struct cv_journal *journal, struct cv_err *err);

/* What scanning found besides records. */
struct cv_journal_damage {
	bool torn;          /* the last segment had a torn tail; it was cut off */
	bool damaged;       /* records were lost that had been acknowledged, or may have been */
	uint64_t lost;      /* octets that do not check; UINT64_MAX when a segment is missing */
	char what[200];
};
typedef int cv_journal_fn(void *ctx, const struct cv_record_head *head, struct cv_journal_pos pos, struct cv_str entries,
	struct cv_err *err);
/* fn for each record with a sequence number above from_seq, in order. A torn tail is cut off, damage is stepped over and told in *damage
   (the segment is marked). journal->seq, hlc and epoch become at least those of what was read. start: where the first such record is, when that is
   known (segment 0: not); the octets before it are not read, and that there are fewer is damage. repair: the journal has just been listed, and a torn tail may be there; else
   everything that does not check is damage. -1 when fn said so, a file could not be read, or a record has a newer format than this server knows. */
CV_MUST_CHECK int cv_journal_scan(struct cv_journal *journal, uint64_t from_seq, struct cv_journal_pos start, bool repair, cv_journal_fn *fn, void *ctx,
	struct cv_journal_damage *damage, struct cv_err *err);
/* All records with a sequence number above this are there, as far as is known. */
uint64_t cv_journal_complete_from(const struct cv_journal *journal);
/* Something in this segment turned out not to check. */
void cv_journal_mark_damaged(struct cv_journal *journal, uint32_t segment);
bool cv_journal_is_damaged(const struct cv_journal *journal);
/* Where the next record goes; what is pending is not counted. */
struct cv_journal_pos cv_journal_end_pos(const struct cv_journal *journal);
/* The maximum of a buffer for cv_journal_read, which every record fits. */
#define CV_JOURNAL_READ_MAX ((size_t)CV_RECORD_MAX + 64)
/* The name of a segment's file, and back. */
#define CV_JOURNAL_NAME_MAX 32
void cv_journal_name(uint32_t number, char name_r[CV_JOURNAL_NAME_MAX]);
bool cv_journal_parse_name(const char *name, uint32_t *number_r);
/* Is the segment's file, as it is on disk now, what memory takes it for, and do its records check? From octet *offset (0: from its head) on, until the deadline of
   the monotonic clock: 1 to its end, 0 there is more, -1: CORRUPT with what and where, others when it can't be read. */
CV_MUST_CHECK int cv_journal_check(struct cv_journal *journal, uint32_t number, uint64_t *offset, uint64_t deadline_ms, struct cv_buf *buf,
	struct cv_err *err);
/* NULL: it is not there (any more). Valid until segments come or go. */
struct cv_segment *cv_journal_segment(const struct cv_journal *journal, uint32_t number);
/* The one that is written to, or was. */
struct cv_segment *cv_journal_last(const struct cv_journal *journal);
CV_MUST_CHECK bool cv_journal_has_segment(const struct cv_journal *journal, uint32_t number);
/* Read one record again. entries_r points into buf. */
CV_MUST_CHECK int cv_journal_read(struct cv_journal *journal, struct cv_journal_pos pos, struct cv_buf *buf,
	struct cv_record_head *head_r, struct cv_str *entries_r, struct cv_err *err);
/* The record at *pos, or the first one behind it when a segment ends there (*pos is moved to it; segment 0: the first of all). 0: there is none yet. */
CV_MUST_CHECK int cv_journal_next(struct cv_journal *journal, struct cv_journal_pos *pos, struct cv_buf *buf, struct cv_record_head *head_r,
	struct cv_str *entries_r, struct cv_err *err);
/* len octets of a segment. CORRUPT when there are fewer, NOTFOUND when the segment was dropped. */
CV_MUST_CHECK int cv_journal_read_at(struct cv_journal *journal, struct cv_journal_pos pos, struct cv_buf *buf, size_t len,
	struct cv_err *err);

/* Begin a record: entries are appended to the buffer returned. Its sequence number is journal->seq + 1 until cv_journal_end. */
struct cv_buf *cv_journal_begin(struct cv_journal *journal, struct cv_journal_pos *pos_r);
/* Where octet offset of the pending buffer will be in the segment. */
uint64_t cv_journal_offset(const struct cv_journal *journal, size_t offset);
/* Finish the record; -1 (LIMIT) when it is too long: then it is as if it had not been begun. */
CV_MUST_CHECK int cv_journal_end(struct cv_journal *journal, struct cv_record_head *head_r, struct cv_err *err);
void cv_journal_cancel(struct cv_journal *journal);
/* Write what is pending, and sync when asked. On failure nothing of it is in the journal; sequence numbers are not given out again. */
CV_MUST_CHECK int cv_journal_write(struct cv_journal *journal, bool sync, struct cv_err *err);
CV_MUST_CHECK int cv_journal_sync(struct cv_journal *journal, struct cv_err *err);
/* Cut off what a failed write left, when that has not worked yet. Every write does it first; to be called when the journal is closed. */
CV_MUST_CHECK int cv_journal_cut(struct cv_journal *journal, struct cv_err *err);
/* Before others may open it: nothing is written any more, and what was written ahead is cut off. */
void cv_journal_leave(struct cv_journal *journal);
/* Go on in the last segment, when it is whole and shorter than max_len. A longer one is on disk from here on. */
CV_MUST_CHECK int cv_journal_resume(struct cv_journal *journal, uint64_t max_len, struct cv_err *err);
/* Start a new segment with the next write. Nothing may be pending. */
CV_MUST_CHECK int cv_journal_rotate(struct cv_journal *journal, struct cv_err *err);
/* A descriptor of a segment for reading, the caller's to close. */
CV_MUST_CHECK int cv_journal_open_segment(struct cv_journal *journal, uint32_t number, int *fd_r, struct cv_err *err);
/* Octets of all segments, and of the last without those that do not count. */
uint64_t cv_journal_size(const struct cv_journal *journal);
uint64_t cv_journal_tail_size(const struct cv_journal *journal);
/* Remove segments all of whose records have sequence numbers <= seq and that were last written before the time (seconds since 1970); never the
   last one. */
CV_MUST_CHECK int cv_journal_drop(struct cv_journal *journal, uint64_t seq, int64_t before, struct cv_err *err);
/* Rename damaged segments, and their copies, to "<name>.damaged-<time>"; the next write starts a new one. */
CV_MUST_CHECK int cv_journal_set_aside(struct cv_journal *journal, struct cv_err *err);

/* ---- Copies (journal-copy.c)
   A segment "journal.N" has beside it "copy.N", the same octets, so that no file is the only one that has a change. What is written to the segment is
   written to the copy afterwards; it is never synced, since it stands in for a file that was lost or changed, and not for what a power cut takes from both. A
   segment that is missing, ends too soon or does not check is made anew from itself and its copy; what was there is kept as "journal.N.damaged-<time>". */

void cv_journal_copy_name(uint32_t number, char name_r[CV_JOURNAL_NAME_MAX]);
bool cv_journal_parse_copy_name(const char *name, uint32_t *number_r);
/* For fsck. Make what a segment lacks anew from its copy: 1, 0 when the copy has none of it, or there is none. */
CV_MUST_CHECK int cv_journal_restore(struct cv_journal *journal, uint32_t number, struct cv_err *err);
/* Does the copy have what the segment has? 1, or there is none; CORRUPT with what it lacks. */
CV_MUST_CHECK int cv_journal_check_copy(struct cv_journal *journal, uint32_t number, struct cv_err *err);
/* Make the copy anew from the segment. */
CV_MUST_CHECK int cv_journal_renew_copy(struct cv_journal *journal, uint32_t number, struct cv_err *err);

/* Have the files that are written to their names and lengths still? One that was removed, replaced or cut is made anew from the open file or from the other one; where
   neither has all of it, the segment is marked damaged and the journal harmed. Each write looks when a second has passed since the last look. */
void cv_journal_look(struct cv_journal *journal, bool now);

/* The clock never stands still or goes back. */
uint64_t cv_journal_tick(struct cv_journal *journal);
static inline int64_t cv_hlc_ms(uint64_t hlc)
{
	return (int64_t)(hlc >> 16);
}

#endif
