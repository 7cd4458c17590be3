/* SPDX-License-Identifier: MIT
   Records are made, appended to the last segment and synced. What is refused never comes back: a write or sync that fails leaves the segment, which is cut to
   what was confirmed before anything else is written. What is confirmed is on disk: what was written since the last sync stays in memory (tail) until a sync
   has worked, and is written once more after one that failed, since the system may hold it for clean by then. A segment's name is synced before its first record;
   that of the first segment of all behind the first record that is synced, with the names above it: a file system with a journal of its own writes all at once then.
   What can't be copied (journal-copy.c) is refused too. */
#include <config.h>

#include "core/store/journal-private.h"
#include <culver/log.h>
#include <culver/time.h>

#include <fcntl.h>
#include <string.h>

#define PENDING_KEPT ((size_t)128 << 10) /* memory that stays for the next records */
#define TAIL_MAX ((size_t)1 << 20) /* so much is kept for a sync that fails; with more the next write is synced */

/* ---- records ------------------------------------------------------------------------------------------------------ */

uint64_t cv_journal_tick(struct cv_journal *journal)
{
	uint64_t now = (uint64_t)(cv_time_now_us() / 1000) << 16;

	journal->hlc = now > journal->hlc ? now : journal->hlc + 1;
	return journal->hlc;
}

/* The segment that the next write goes to: the last one when it is whole. */
static uint32_t target_number(struct cv_journal *journal)
{
	return journal->fd >= 0 ? cv_journal_last(journal)->number : journal->next_number;
}

uint64_t cv_journal_offset(const struct cv_journal *journal, size_t offset)
{
	uint64_t len = journal->fd >= 0 ? journal->segments.data[journal->segments.count - 1].len : CV_SEGMENT_HEAD;

	return len + offset;
}

struct cv_buf *cv_journal_begin(struct cv_journal *journal, struct cv_journal_pos *pos_r)
{
	cv_assert(!journal->record_open);
	journal->record_open = true;
	journal->record_start = journal->pending.len;
	journal->record_version = 1;
	*pos_r = (struct cv_journal_pos){ target_number(journal), cv_journal_offset(journal, journal->record_start) };
	/* magic, length, crc; then the head proper, filled in at the end */
	for (size_t i = 0; i < CV_RECORD_HEAD / 8; i++)
		cv_put_u64(&journal->pending, 0);
	return &journal->pending;
}

void cv_journal_cancel(struct cv_journal *journal)
{
	cv_assert(journal->record_open);
	if (!cv_buf_ok(&journal->pending)) /* what was whole before stays: a failed buffer keeps its octets */
		journal->pending.failed = false;
	cv_buf_truncate(&journal->pending, journal->record_start);
	journal->record_open = false;
}

int cv_journal_end(struct cv_journal *journal, struct cv_record_head *head_r, struct cv_err *err)
{
	struct cv_buf *buf = &journal->pending;
	size_t padding = (8 - (buf->len - journal->record_start) % 8) % 8, len;

	for (size_t i = 0; i < padding; i++)
		cv_put_u8(buf, 0);
	len = buf->len - journal->record_start;
	if (!cv_buf_ok(buf) || len > CV_RECORD_MAX) {
		cv_journal_cancel(journal);
		return cv_err_set(err, CV_ERR_LIMIT, "transaction of %zu octets is too large for the journal", len);
	}
	journal->record_open = false;
	*head_r = (struct cv_record_head){
		.seq = ++journal->seq,
		.hlc = cv_journal_tick(journal),
		.epoch = journal->epoch,
		.synced = journal->fd >= 0 ? journal->synced : 0,
		.node = journal->node,
		.len = (uint32_t)len,
		.version = journal->record_version,
	};
	cv_record_seal(buf->data + journal->record_start, head_r, (uint32_t)padding);
	return 1;
}

/* ---- the file ----------------------------------------------------------------------------------------------------- */

void cv_journal_forget_tail(struct cv_journal *journal)
{
	cv_buf_clear(&journal->tail);
	journal->rewrite = false;
}

/* Where its file ends, of a segment that another one is to follow: zeros that were cut off and come back with a power cut are a torn tail in the last one, and
   damage in any other. */
static int sync_end(struct cv_journal *journal, struct cv_err *err)
{
	const struct cv_segment *last = cv_journal_last(journal);
	struct cv_err open_err = { 0 };
	char name[CV_JOURNAL_NAME_MAX];
	int fd, ret;

	if (last == NULL || last->damaged || journal->end_synced || journal->fsync == CV_FSYNC_NEVER)
		return 1;
	cv_journal_name(last->number, name);
	if (cv_file_open(journal->dir, name, O_RDWR, 0, &fd, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 1;
		*err = open_err;
		return -1;
	}
	ret = cv_file_sync(fd, true, err);
	cv_file_close(&fd);
	journal->end_synced = ret > 0;
	return ret;
}

static int new_segment(struct cv_journal *journal, struct cv_err *err)
{
	uint32_t number = target_number(journal);
	uint64_t before = journal->written_seq;
	bool before_all = journal->segments.count == 0;
	char name[CV_JOURNAL_NAME_MAX];
	struct cv_segment *segment;
	struct cv_buf head;
	int fd, ret;

	if (sync_end(journal, err) < 0)
		return -1;
	cv_buf_init(&head, CV_SEGMENT_HEAD);
	cv_segment_put_head(&head, &(struct cv_segment){ .number = number, .before_seq = before, .lost_seq = journal->lost_seq }, journal->node);
	cv_journal_name(number, name);
	/* One that could not be begun before must not be in the way for ever. */
	if ((journal->leftover != 0 && cv_segment_remove(journal, journal->leftover, err) < 0) ||
		cv_file_open(journal->dir, name, O_RDWR | O_CREAT | O_EXCL, (unsigned)journal->file_mode, &fd, err) < 0) {
		cv_buf_deinit(&head);
		return -1;
	}
	journal->leftover = 0;
	ret = cv_file_pwrite(fd, cv_buf_str(&head), 0, err);
	cv_journal_forget_tail(journal);
	if (journal->fsync != CV_FSYNC_NEVER)
		cv_buf_append(&journal->tail, cv_buf_str(&head));
	journal->tail_at = 0;
	cv_buf_deinit(&head);
	/* The name must be durable before a record in it is. */
	if (ret > 0 && !before_all && journal->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(journal->dir, true, err);
	if (ret < 0) {
		cv_journal_forget_tail(journal);
		cv_file_close(&fd);
		if (cv_file_unlink(journal->dir, name, NULL) < 0)
			journal->leftover = number;
		return -1;
	}
	segment = cv_vec_push(&journal->segments);
	*segment = (struct cv_segment){ .number = number, .before_seq = before, .last_seq = before, .len = CV_SEGMENT_HEAD,
		.mtime = cv_time_now_sec(), .scanned = true };
	journal->next_number = number + 1;
	journal->names_due = journal->names_due || before_all;
	journal->fd = fd;
	journal->synced = journal->light = 0;
	journal->end_synced = true; /* it never was longer */
	journal->shortened = false;
	return 1;
}

/* What was read and may not be on disk, perhaps since another process's sync failed: it is written once more. */
static int take_tail(struct cv_journal *journal, const struct cv_segment *segment, struct cv_err *err)
{
	uint64_t from = segment->durable;
	size_t len = segment->len > from ? (size_t)(segment->len - from) : 0, got;
	void *p;
	int ret;

	cv_journal_forget_tail(journal);
	if (len == 0 || journal->fsync == CV_FSYNC_NEVER)
		return 1;
	p = cv_buf_reserve(&journal->tail, len);
	if (p == NULL)
		return cv_err_set(err, CV_ERR_LIMIT, "journal segment is too long");
	ret = cv_file_pread(journal->fd, p, len, from, &got, err);
	if (ret > 0 && got < len)
		ret = cv_err_set(err, CV_ERR_CORRUPT, "journal segment became shorter");
	if (ret < 0) {
		cv_file_close(&journal->fd);
		return -1;
	}
	cv_buf_commit(&journal->tail, len);
	journal->tail_at = from;
	journal->rewrite = true;
	return 1;
}

int cv_journal_resume(struct cv_journal *journal, uint64_t max_len, struct cv_err *err)
{
	struct cv_segment *last = cv_journal_last(journal);
	char name[CV_JOURNAL_NAME_MAX];

	cv_assert(journal->fd < 0);
	if (last == NULL || last->damaged || !last->scanned || last->len < CV_SEGMENT_HEAD || (last->len >= max_len && last->durable >= last->len))
		return 1;
	cv_journal_name(last->number, name);
	if (cv_file_open(journal->dir, name, O_RDWR, 0, &journal->fd, err) < 0)
		return -1;
	/* Nothing is behind what the state counts, or what was read may never have been synced. */
	journal->light = 0;
	journal->shortened = false;
	journal->unsynced = last->durable < last->len;
	journal->synced = journal->unsynced ? 0 : last->len;
	/* No record of the first one says that anything was synced: its name may not have been. */
	journal->names_due = journal->segments.count == 1 && last->durable == 0;
	if (take_tail(journal, last, err) < 0)
		return -1;
	/* Records in the next segment say that all before them is on disk. */
	return last->len >= max_len ? cv_journal_rotate(journal, err) : 1;
}

void cv_journal_owe_names(struct cv_journal *journal, int dir, bool *synced)
{
	*cv_vec_push(&journal->above) = (struct cv_journal_above){ dir, synced };
}

/* From the segment upwards. */
static int sync_names(struct cv_journal *journal, struct cv_err *err)
{
	if (!journal->names_due || journal->fsync == CV_FSYNC_NEVER)
		return 1;
	if (cv_file_sync(journal->dir, true, err) < 0)
		return -1;
	for (size_t i = 0; i < journal->above.count; i++) {
		if (cv_file_sync(journal->above.data[i].dir, true, err) < 0)
			return -1;
		if (journal->above.data[i].synced != NULL)
			*journal->above.data[i].synced = true;
	}
	for (size_t i = 0; i < journal->above.count; i++)
		cv_file_close(&journal->above.data[i].dir);
	cv_vec_free(&journal->above);
	journal->names_due = false;
	return 1;
}

int cv_journal_sync(struct cv_journal *journal, struct cv_err *err)
{
	/* What was written before the write that failed goes to disk with the cut. */
	if (cv_journal_cut(journal, err) < 0)
		return -1;
	if (!journal->unsynced || journal->fd < 0)
		return sync_names(journal, err);
	/* After a failed sync the system holds what was lost for clean, and the next sync says that all is well. */
	if (journal->rewrite && cv_file_pwrite(journal->fd, cv_buf_str(&journal->tail), journal->tail_at, err) < 0)
		return cv_err_context(err, "journal");
	if (journal->fsync != CV_FSYNC_NEVER && (cv_file_sync(journal->fd, journal->shortened, err) < 0 || sync_names(journal, err) < 0)) {
		journal->rewrite = journal->tail.len > 0;
		return cv_err_context(err, "journal");
	}
	cv_journal_forget_tail(journal);
	journal->synced = cv_journal_last(journal)->len;
	journal->end_synced = journal->end_synced || journal->shortened;
	journal->unsynced = journal->shortened = false;
	return 1;
}

/* A segment without a record, and without room for a copy, goes again: nobody could mend its head. */
static void leave_empty(struct cv_journal *journal)
{
	uint32_t number = cv_journal_last(journal)->number;

	cv_file_close(&journal->fd);
	cv_file_close(&journal->copy_fd);
	cv_journal_forget_tail(journal);
	if (cv_journal_drop_copy(journal, number, NULL) < 0 || cv_segment_remove(journal, number, NULL) < 0)
		return; /* the next one has another number */
	journal->segments.count--;
	journal->next_number = number;
}

/* What was just written could not be copied: it goes from the end of the segment again, and is on disk no more when the error is told. */
static int take_back(struct cv_journal *journal, uint64_t before, size_t tail, struct cv_err *err)
{
	cv_journal_ahead_end(journal);
	cv_buf_truncate(&journal->tail, tail);
	cv_journal_forget_reads(journal);
	cv_journal_last(journal)->len = before;
	journal->synced = CV_MIN(journal->synced, before);
	if (cv_file_truncate(journal->fd, before, err) < 0)
		return -1;
	journal->unsynced = journal->shortened = true;
	if (cv_journal_sync(journal, err) < 0)
		return -1;
	if (before == CV_SEGMENT_HEAD)
		leave_empty(journal);
	return 1;
}

/* The disk is full, for what would give room back too: with what can be made again gone it is tried once more. */
static bool made_room(struct cv_journal *journal, struct cv_err *err)
{
	if (err->code != CV_ERR_NOQUOTA || !journal->frees || journal->make_room == NULL)
		return false;
	journal->frees = false;
	if (!journal->make_room(journal->room_ctx))
		return false;
	*err = (struct cv_err){ 0 };
	return true;
}

static int begin_segment(struct cv_journal *journal, struct cv_err *err)
{
	if (cv_journal_cut(journal, err) < 0)
		return -1;
	return new_segment(journal, err) > 0 || (made_room(journal, err) && new_segment(journal, err) > 0) ? 1 : -1;
}

static int copy_pending(struct cv_journal *journal, uint64_t at, struct cv_err *err)
{
	struct cv_str octets = cv_buf_str(&journal->pending);

	return cv_journal_copy(journal, octets, at, err) > 0 || (made_room(journal, err) && cv_journal_copy(journal, octets, at, err) > 0) ? 1 : -1;
}

/* The records, and where zeros are ahead also the rest of a page that they begin, which would be read from disk first. */
static int write_pending(struct cv_journal *journal, uint64_t at, struct cv_err *err)
{
	size_t len = journal->pending.len, zeros = cv_journal_ahead_room(journal, at, at + len);
	void *p = zeros > 0 ? cv_buf_reserve(&journal->pending, zeros) : NULL;
	int ret;

	if (p != NULL) {
		memset(p, 0, zeros);
		cv_buf_commit(&journal->pending, zeros);
	}
	journal->pending.failed = false; /* without the rest then */
	ret = cv_file_pwrite(journal->fd, cv_buf_str(&journal->pending), at, err);
	cv_buf_truncate(&journal->pending, len);
	if (ret < 0 && made_room(journal, err))
		ret = cv_file_pwrite(journal->fd, cv_buf_str(&journal->pending), at, err);
	return ret;
}

int cv_journal_write(struct cv_journal *journal, bool sync, struct cv_err *err)
{
	struct cv_err cut_err = { 0 };
	size_t tail;
	uint64_t before;

	cv_assert(!journal->record_open);
	if (journal->pending.len == 0)
		return sync ? cv_journal_sync(journal, err) : 1;
	if (journal->fd < 0 && begin_segment(journal, err) < 0) {
		cv_buf_clear(&journal->pending);
		return cv_err_context(err, "new journal segment");
	}
	cv_journal_look(journal, false);
	tail = journal->tail.len;
	before = cv_journal_last(journal)->len;
	if (write_pending(journal, before, err) < 0) {
		/* Where there is no room for a long record, there may be for a short one: in the blocks that the file has. */
		if (err->code != CV_ERR_NOQUOTA || take_back(journal, before, tail, &cut_err) < 0)
			goto failed;
		cv_buf_clear(&journal->pending);
		return cv_err_context(err, "journal");
	}
	if (journal->window.offset + journal->window.len > before && journal->window_number == cv_journal_last(journal)->number)
		cv_window_drop(&journal->window); /* a torn tail that was there before */
	cv_journal_last(journal)->len += journal->pending.len;
	journal->unsynced = true;
	if (journal->fsync != CV_FSYNC_NEVER) {
		sync = sync || tail + journal->pending.len > TAIL_MAX;
		if (tail == 0)
			journal->tail_at = before;
		if (!sync)
			cv_buf_append(&journal->tail, cv_buf_str(&journal->pending));
	}
	if (sync && cv_journal_sync(journal, err) < 0)
		goto failed;
	if (copy_pending(journal, before, err) < 0) {
		if (take_back(journal, before, journal->unsynced ? tail : 0, &cut_err) < 0)
			goto failed;
		cv_buf_clear(&journal->pending);
		return cv_err_context(err, "journal");
	}
	cv_journal_last(journal)->last_seq = journal->written_seq = journal->seq;
	cv_journal_last(journal)->mtime = cv_time_now_sec();
	if (sync)
		cv_journal_ahead_wrote(journal, journal->pending.len);
	if (journal->pending.cap > PENDING_KEPT) {
		cv_buf_deinit(&journal->pending);
		cv_buf_init(&journal->pending, CV_JOURNAL_PENDING_MAX);
	}
	cv_buf_clear(&journal->pending);
	return 1;
failed:
	cv_journal_ahead_end(journal);
	cv_buf_clear(&journal->pending);
	cv_buf_truncate(&journal->tail, tail);
	cv_journal_forget_reads(journal);
	cv_journal_last(journal)->len = before;
	/* After a failed sync no one knows what is on disk: what was written must not come back, so the segment is cut and left. */
	cv_file_close(&journal->fd);
	journal->unsynced = false;
	journal->uncut = true;
	if (cv_journal_cut(journal, &cut_err) < 0)
		cv_error(NULL, "%s; nothing is written before that works, and what was refused comes back when the server dies before", cut_err.text);
	return cv_err_context(err, "journal");
}

int cv_segment_cut(struct cv_journal *journal, struct cv_segment *segment, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];
	int fd, ret;

	cv_window_drop(&journal->window);
	cv_journal_name(segment->number, name);
	if (cv_file_open(journal->dir, name, O_RDWR, 0, &fd, err) < 0)
		return -1;
	ret = cv_file_truncate(fd, segment->len, err);
	if (ret > 0 && journal->tail.len > 0)
		ret = cv_file_pwrite(fd, cv_buf_str(&journal->tail), journal->tail_at, err);
	if (ret > 0 && journal->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(fd, true, err);
	if (ret > 0)
		cv_journal_forget_tail(journal);
	if (ret > 0 && segment == cv_journal_last(journal))
		journal->end_synced = true;
	cv_file_close(&fd);
	return ret;
}

int cv_journal_cut(struct cv_journal *journal, struct cv_err *err)
{
	if (!journal->uncut)
		return 1;
	cv_assert(journal->fd < 0);
	if (cv_segment_cut(journal, cv_journal_last(journal), err) < 0)
		return cv_err_context(err, "cutting journal segment %u after a failed write", cv_journal_last(journal)->number);
	journal->uncut = false;
	return 1;
}

int cv_journal_rotate(struct cv_journal *journal, struct cv_err *err)
{
	cv_assert(journal->pending.len == 0);
	if (journal->fd < 0)
		return 1;
	if (cv_journal_ahead_cut(journal, err) < 0 || cv_journal_sync(journal, err) < 0)
		return -1;
	cv_file_close(&journal->fd);
	return 1;
}
