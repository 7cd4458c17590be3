/* SPDX-License-Identifier: MIT
   Zeros ahead of what is written, while many changes follow each other: where blocks and length are there already, a sync of the journal has the record alone to
   write, and no inode. A thread beside the loop writes them past the system's cache, so that no sync of the journal has to. They begin well behind the last
   record, at a page that no record has octets in, and nothing is written there before the thread is through. A record never begins with zeros: the next opening
   takes them for the end, and cuts them off; so does who goes on in another segment, is quiet, or closes the journal. There are none where the mail may change
   hands while it is open (lease.h), for they might come late, and none where what is there is never written over. */
#include <config.h>

#include "core/store/journal-private.h"
#include <culver/log.h>
#include <culver/loop.h>
#include <culver/time.h>

#include <fcntl.h>
#include <sys/vfs.h>

#define PAGE ((uint64_t)4096)          /* memory, offset and length of what goes past the cache */
#define PIECE ((size_t)256 << 10)      /* of one call, for which other writers of the file wait */
#define LEAD_MIN ((uint64_t)16 << 10)  /* octets that may be written while the first zeros are made: as many as came within this second, within these */
#define LEAD_MAX ((uint64_t)256 << 10)
#define LEADS 4                        /* four times as many zeros, as many as the segment is long at most, and within these */
#define AHEAD_MIN ((uint64_t)32 << 10)
#define AHEAD_MAX ((uint64_t)2 << 20)
#define BURST_MS 1000                  /* changes within it follow each other */
#define BURST_OCTETS ((uint64_t)64 << 10) /* that they are long on average, at most: zeros for 1 MiB cost what ten syncs save */

_Alignas(4096) static char zeros[PIECE];

static uint64_t page_up(uint64_t offset)
{
	return (offset + PAGE - 1) & ~(PAGE - 1);
}

/* In the thread: nothing but these fields is touched. */
static void run(void *ctx)
{
	struct cv_ahead *ahead = ctx;

	for (uint64_t at = ahead->from; at < ahead->to && !ahead->failed; at += PIECE)
		ahead->failed = cv_file_pwrite(ahead->fd, cv_str_mem(zeros, (size_t)CV_MIN(PIECE, ahead->to - at)), at, &ahead->err) < 0;
}

/* The thread is through, or is waited for. */
static void end(struct cv_journal *journal)
{
	struct cv_ahead *ahead = &journal->ahead;

	if (ahead->beside == NULL)
		return;
	cv_beside_end(&ahead->beside);
	cv_file_close(&ahead->fd);
	ahead->len = ahead->to; /* of one that failed too: the file may be that long */
	if (!ahead->failed)
		return;
	/* A full disk has better use for the room. */
	cv_debug(journal->log_ctx, "the journal has no zeros ahead: %s", ahead->err.text);
	ahead->refused = true;
	if (cv_file_truncate(journal->fd, cv_journal_last(journal)->len, NULL) > 0) {
		ahead->len = 0;
		journal->unsynced = journal->shortened = true;
	}
}

static void on_done(void *ctx)
{
	end(cv_container((struct cv_ahead *)ctx, struct cv_journal, ahead));
}

size_t cv_journal_ahead_room(struct cv_journal *journal, uint64_t first, uint64_t last)
{
	struct cv_ahead *ahead = &journal->ahead;
	uint64_t padded = page_up(last);

	if (ahead->beside != NULL && padded > ahead->from)
		end(journal);
	/* A page that is not in the cache would be read first, were it not written whole. The first one is there since the record before. */
	return padded > page_up(first) && (padded <= ahead->len || ahead->beside != NULL) ? (size_t)(padded - last) : 0;
}

/* Does the file system put new octets where the old ones are? The others need new blocks for each write, zeros or not. */
static bool writes_over(int fd)
{
	static const unsigned long others[] = { 0x9123683e /* btrfs */, 0x2fc12fc1 /* ZFS */, 0xca451a4e /* bcachefs */, 0xf2f52010 /* F2FS */, 0x3434 /* NILFS */ };
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < CV_COUNT_OF(others); i++) {
		if (((unsigned long)fs.f_type & 0xffffffffUL) == others[i])
			return false;
	}
	return true;
}

/* The file that has the segment's name, when it is the one that is written to. */
static int open_direct(struct cv_journal *journal, int *fd_r, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];
	struct stat st, own;

	cv_journal_name(cv_journal_last(journal)->number, name);
	if (cv_file_open(journal->dir, name, O_WRONLY | O_DIRECT, 0, fd_r, err) < 0)
		return -1;
	if (cv_file_fstat(*fd_r, &st, err) > 0 && cv_file_fstat(journal->fd, &own, err) > 0 && st.st_ino == own.st_ino && st.st_dev == own.st_dev)
		return 1;
	cv_file_close(fd_r);
	return -1;
}

static uint64_t between(uint64_t low, uint64_t n, uint64_t high)
{
	return CV_MAX(low, CV_MIN(n, high));
}

static void begin(struct cv_journal *journal, uint64_t len, uint64_t lead)
{
	struct cv_ahead *ahead = &journal->ahead;

	ahead->from = CV_MAX(ahead->len, page_up(len + lead));
	ahead->to = ahead->from + between(AHEAD_MIN, page_up(CV_MIN(LEADS * ahead->octets, len)), AHEAD_MAX);
	ahead->failed = false;
	ahead->err = (struct cv_err){ 0 };
	if (open_direct(journal, &ahead->fd, &ahead->err) > 0 && writes_over(ahead->fd))
		ahead->beside = cv_beside_begin(journal->loop, run, on_done, ahead);
	if (ahead->beside == NULL) {
		cv_file_close(&ahead->fd);
		ahead->refused = true;
		return;
	}
	journal->end_synced = false;
}

void cv_journal_ahead_wrote(struct cv_journal *journal, size_t octets)
{
	struct cv_ahead *ahead = &journal->ahead;
	uint64_t now = cv_time_mono_ms(), len = cv_journal_last(journal)->len, lead;

	if (journal->loop == NULL || journal->ahead_writes == 0 || journal->fsync == CV_FSYNC_NEVER || ahead->refused || ahead->beside != NULL)
		return;
	if (now >= ahead->since_ms + BURST_MS) {
		ahead->since_ms = now;
		ahead->octets = ahead->writes = 0;
	}
	ahead->writes++;
	ahead->octets += octets;
	lead = between(LEAD_MIN, ahead->octets, LEAD_MAX);
	if (ahead->writes >= journal->ahead_writes && ahead->octets <= ahead->writes * BURST_OCTETS && ahead->len < len + 2 * lead)
		begin(journal, len, lead);
}

void cv_journal_ahead_end(struct cv_journal *journal)
{
	end(journal);
	journal->ahead = (struct cv_ahead){ .fd = -1 };
}

int cv_journal_ahead_cut(struct cv_journal *journal, struct cv_err *err)
{
	uint64_t len = cv_journal_last(journal)->len;

	end(journal);
	if (journal->ahead.len > len) {
		if (cv_file_truncate(journal->fd, len, err) < 0)
			return -1;
		journal->unsynced = journal->shortened = true;
	}
	cv_journal_ahead_end(journal);
	return 1;
}

void cv_journal_leave(struct cv_journal *journal)
{
	struct cv_err err = { 0 };

	/* What can't be cut the next opening cuts. */
	if (journal->fd >= 0 && cv_journal_ahead_cut(journal, &err) < 0)
		cv_debug(journal->log_ctx, "zeros stay at the end of the journal: %s", err.text);
	cv_journal_ahead_end(journal);
}
