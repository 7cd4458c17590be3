/* SPDX-License-Identifier: MIT
   What the files of the journal share:
     journal.c          which segments there are, and what is known of each
     journal-octets.c   heads of segments and records: made, and checked
     journal-write.c    records are made, appended, synced; a write that failed is cut off
     journal-ahead.c    zeros ahead of what is written, so that a sync has nothing else to write
     journal-scan.c     opening: which records count, where a torn tail begins, what is damage
     journal-unbegun.c  opening: segments that a crash left before anything was confirmed in them
     journal-read.c     one record again, from where it is known to be; segments as they are on disk now
     journal-copy.c     the copies of segments, and mending from them
     journal-drop.c     segments are removed or set aside */
#ifndef CV_STORE_JOURNAL_PRIVATE_H
#define CV_STORE_JOURNAL_PRIVATE_H

#include "core/store/journal.h"

#define CV_JOURNAL_PENDING_MAX ((size_t)2 << 30) /* octets that wait to be written, or to be synced */

/* ---- Octets (journal-octets.c) ---- */

/* A segment's head, CV_SEGMENT_HEAD octets: its number, before_seq and lost_seq. */
void cv_segment_put_head(struct cv_buf *out, const struct cv_segment *segment, uint32_t node);
/* segment has its number: 1 with the other two set, 0 when the head does not check, -1 for a newer format. */
CV_MUST_CHECK int cv_segment_parse_head(struct cv_str octets, struct cv_segment *segment, struct cv_err *err);
/* Fill in the head of a record of head->len octets, whose last padding ones (at most 7) are no entries. */
void cv_record_seal(char *record, const struct cv_record_head *head, uint32_t padding);
/* A record at the start of octets: its length, or 0 when it does not check. */
uint32_t cv_record_check(struct cv_str octets, struct cv_record_head *head_r, struct cv_str *entries_r);
/* Offset of the next record that checks, of those from offset `from` on, or octets.len. Records are aligned to 8, and so is from. */
uint64_t cv_record_find(struct cv_str octets, uint64_t from, struct cv_record_head *head_r);
bool cv_octets_are_zero(struct cv_str s);

/* ---- Files (journal.c, journal-read.c) ---- */

/* The number in a name, of which 16 hexadecimal digits must be all that is left. */
bool cv_journal_parse_number(const char *digits, uint32_t *number_r);
/* The octets of the file from its begin on, as far as the segment is long, which is not 0; those before offset from need not be right. cv_free is the caller's. */
CV_MUST_CHECK int cv_segment_load(const struct cv_journal *journal, const struct cv_segment *segment, uint64_t from, char **octets_r, struct cv_err *err);
/* Is it such that the segment's copy may have what could not be read: damaged, missing, without rights, or the device fails there? */
bool cv_journal_may_be_in_copy(const struct cv_err *err);
/* What memory has of the octets of a segment from offset on, over what the file says: after a failed sync the system may have dropped them. */
void cv_journal_overlay(const struct cv_journal *journal, uint32_t number, uint64_t offset, char *octets, size_t len);
/* Nothing that was read counts any more: segments were cut, dropped, set aside or mended. */
void cv_journal_forget_reads(struct cv_journal *journal);

/* ---- The end of the last segment (journal-write.c) ---- */

/* Cut the file of the last segment to the length that checks; what memory has of it is on disk then. */
CV_MUST_CHECK int cv_segment_cut(struct cv_journal *journal, struct cv_segment *segment, struct cv_err *err);
/* What was written is on disk, or is no part of the journal any more. */
void cv_journal_forget_tail(struct cv_journal *journal);

/* ---- Zeros ahead (journal-ahead.c) ---- */

/* Before octets are written to the last segment from offset first on that end at offset last: how many zeros are to be written behind them, less than a page. */
size_t cv_journal_ahead_room(struct cv_journal *journal, uint64_t first, uint64_t last);
/* So many octets were written to it and synced: zeros may be written ahead from now on. */
void cv_journal_ahead_wrote(struct cv_journal *journal, size_t octets);
/* Before the file is cut or left: none are written any more, and what is known of them is forgotten. */
void cv_journal_ahead_end(struct cv_journal *journal);
/* The same; the file ends behind the last record then, once it is synced. */
CV_MUST_CHECK int cv_journal_ahead_cut(struct cv_journal *journal, struct cv_err *err);

/* ---- Segments that go (journal-unbegun.c, journal-drop.c) ---- */

/* Remove segments at the end that could not be begun, before anything is read; start as for cv_journal_scan. */
CV_MUST_CHECK int cv_journal_leave_unbegun(struct cv_journal *journal, struct cv_journal_pos start, struct cv_journal_damage *damage, struct cv_err *err);
CV_MUST_CHECK int cv_segment_remove(struct cv_journal *journal, uint32_t number, struct cv_err *err);

/* ---- Copies (journal-copy.c) ---- */

/* Octets were written to the last segment at offset: 1. -1: they could not be written to its copy (NOQUOTA: there is no room), nor to another file with its name; the copy
   is as it was, and they must not be acknowledged. */
CV_MUST_CHECK int cv_journal_copy(struct cv_journal *journal, struct cv_str octets, uint64_t offset, struct cv_err *err);
/* 1: the segment, which may be missing, has records now that it had not; 0: the copy has none that it lacks. from: the segment is known to check up to there, and
   segment->last_seq is of the last record before it (0: nothing is known). */
CV_MUST_CHECK int cv_journal_mend(struct cv_journal *journal, struct cv_segment *segment, uint64_t from, struct cv_err *err);
CV_MUST_CHECK int cv_journal_drop_copy(struct cv_journal *journal, uint32_t number, struct cv_err *err);
CV_MUST_CHECK int cv_journal_copy_aside(struct cv_journal *journal, const struct cv_segment *segment, struct cv_err *err);

#endif
