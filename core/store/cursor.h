/* SPDX-License-Identifier: MIT
   A journal subscriber's cursor: up to where it has been told, in a file that survives crashes. */
#ifndef CV_STORE_CURSOR_H
#define CV_STORE_CURSOR_H

#include "core/store/journal.h"

/* File "cursor.<name>" in the index directory: two slots of CV_CURSOR_SLOT octets, written in turn, so that one is whole whenever the power fails:
     u64 magic  u32 format version  u32 segment and u64 offset of the last record that was told (segment 0: none)
     u64 its sequence number  u64 its hybrid logical clock  u64 number of this writing  u32 CRC-32C of what came before, and zeros.
   The slot with the higher number counts. */
#define CV_CURSOR_SLOT 512
#define CV_CURSOR_VERSION 1

struct cv_cursor {
	int fd;            /* -1: no file yet */
	uint64_t writings;
	bool unsynced;
	struct cv_journal_pos at;
	uint64_t seq, hlc;
};

/* 1 read, 0 there is none, -1 with err: CORRUPT when nothing in the file checks (it can be written again), else it can't be read. */
CV_MUST_CHECK int cv_cursor_open(struct cv_cursor *cursor, int dir, const char *name, struct cv_err *err);
/* The file is made when there is none. In the system's hands on return, on disk after cv_cursor_sync. */
CV_MUST_CHECK int cv_cursor_write(struct cv_cursor *cursor, int dir, const char *name, unsigned file_mode, struct cv_err *err);
CV_MUST_CHECK int cv_cursor_sync(struct cv_cursor *cursor, int dir, struct cv_err *err);
void cv_cursor_close(struct cv_cursor *cursor);

#endif
