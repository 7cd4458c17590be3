/* SPDX-License-Identifier: MIT
   Writing the annotations of messages to a snapshot (snapshot.h has their form), a slice at a time. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

#define BUFFER ((size_t)256 << 10)
#define AT_ONCE 64u

struct cv_note_writer {
	struct cv_mailbox *mailbox; /* borrowed */
	int fd;
	uint64_t offset, len;       /* where the part begins, octets of notes so far */
	uint32_t *uids;             /* owned */
	size_t count, next;
	uint32_t rows;
	struct cv_buf octets;       /* not written yet: the last of len */
	struct cv_buf table;
};

struct cv_note_writer *cv_note_writer_new(struct cv_mailbox *mailbox, int fd, uint64_t offset, uint32_t uid_end)
{
	struct cv_note_writer *w = cv_new0(struct cv_note_writer);

	w->mailbox = mailbox;
	w->fd = fd;
	w->offset = offset;
	w->count = cv_notes_uids(mailbox->columns, uid_end, &w->uids);
	cv_buf_init(&w->octets, 2 * CV_NOTES_PACKED_MAX);
	cv_buf_init(&w->table, SIZE_MAX / 2);
	return w;
}

void cv_note_writer_free(struct cv_note_writer **writer)
{
	struct cv_note_writer *w = *writer;

	*writer = NULL;
	if (w == NULL)
		return;
	cv_buf_deinit(&w->octets);
	cv_buf_deinit(&w->table);
	cv_free(w->uids);
	cv_free(w);
}

static int write_out(struct cv_note_writer *w, struct cv_err *err)
{
	int ret = cv_file_pwrite(w->fd, cv_buf_str(&w->octets), w->offset + w->len - w->octets.len, err);

	cv_buf_clear(&w->octets);
	return ret;
}

/* A message that is gone keeps none; one that has no row yet does, as long as the mailbox is not compared with its storage. */
static bool is_wanted(const struct cv_mailbox *mailbox, uint32_t uid)
{
	uint32_t row;

	return mailbox->needs_scan || mailbox->take_over ||
		(cv_columns_find(mailbox->columns, uid, UINT32_MAX, &row) && cv_row_live(mailbox->columns, row));
}

static int add(struct cv_note_writer *w, uint32_t uid, struct cv_err *err)
{
	struct cv_str packed = cv_notes_find(w->mailbox->columns, uid);

	if (packed.len == 0 || !is_wanted(w->mailbox, uid))
		return 1;
	cv_put_u32(&w->table, uid);
	cv_put_u32(&w->table, (uint32_t)packed.len);
	cv_put_u64(&w->table, w->len);
	cv_put_u32(&w->table, cv_crc32c(0, packed.ptr, packed.len));
	cv_put_u32(&w->table, 0);
	cv_buf_append(&w->octets, packed);
	w->len += packed.len;
	w->rows++;
	return w->octets.len >= BUFFER ? write_out(w, err) : 1;
}

static uint64_t table_at(const struct cv_note_writer *w)
{
	return (w->offset + w->len + 7) / 8 * 8;
}

int cv_note_writer_step(struct cv_note_writer *w, uint64_t deadline_ms, struct cv_err *err)
{
	for (size_t n = 1; w->next < w->count; n++) {
		if (add(w, w->uids[w->next], err) < 0)
			return -1;
		w->next++;
		if (n % AT_ONCE == 0 && cv_time_mono_ms() >= deadline_ms)
			return 0;
	}
	if (!cv_buf_ok(&w->octets) || !cv_buf_ok(&w->table))
		return cv_err_set(err, CV_ERR_LIMIT, "too many octets of annotations");
	return write_out(w, err) < 0 || cv_file_pwrite(w->fd, cv_buf_str(&w->table), table_at(w), err) < 0 ? -1 : 1;
}

uint64_t cv_note_writer_end(const struct cv_note_writer *w, struct cv_snapshot_head *head, uint32_t *crc_r)
{
	*crc_r = cv_crc32c(0, w->table.data, w->table.len);
	head->notes_offset = w->offset;
	head->notes_len = w->len;
	head->notes_count = w->rows;
	return w->rows > 0 ? table_at(w) + w->table.len : 0;
}
