/* SPDX-License-Identifier: MIT
   What was made of messages' headers. A message never changes, so it is right as long as the row is the message's. */
#include <config.h>

#include "core/store/memo.h"

#include "core/store/store-private.h"

#include <string.h>

/* Octets for all mailboxes of a user: the subjects of half a million messages, or what 100,000 are threaded by. More is made again each time. */
#define MEMOS_MAX ((size_t)32 << 20)
#define ENTRY_HEAD 2

/* Of one kind: by row the place behind its entry's length in the pool, 0 where there is none. An entry: u16 length, octets. */
struct kind {
	uint32_t *rows;
	size_t cap;
	struct cv_buf pool;
};

struct cv_memos {
	struct kind kinds[CV_MEMOS];
	size_t octets; /* that it counts in *total */
	size_t *total; /* the user's */
};

void cv_memos_free(struct cv_memos **memos_p)
{
	struct cv_memos *memos = *memos_p;

	*memos_p = NULL;
	if (memos == NULL)
		return;
	*memos->total -= memos->octets;
	for (size_t i = 0; i < CV_COUNT_OF(memos->kinds); i++) {
		cv_free(memos->kinds[i].rows);
		cv_buf_deinit(&memos->kinds[i].pool);
	}
	cv_free(memos);
}

bool cv_view_memo(const struct cv_view *view, uint32_t seq, enum cv_memo memo, struct cv_str *octets_r)
{
	const struct kind *kind;
	const uint8_t *head;
	uint32_t row;

	if (!cv_view_find_row(view, seq, &row) || view->mailbox->columns->memos == NULL)
		return false;
	kind = &view->mailbox->columns->memos->kinds[memo];
	if (row >= kind->cap || kind->rows[row] == 0)
		return false;
	/* UNSAFE: an entry is whole, and rows have the places of entries only. */
	head = (const uint8_t *)kind->pool.data + (kind->rows[row] - ENTRY_HEAD);
	*octets_r = cv_str_mem(head + ENTRY_HEAD, (size_t)head[0] | (size_t)head[1] << 8);
	return true;
}

/* Room for all rows there are, which is taken at once. */
static bool reserve_rows(struct cv_memos *memos, struct kind *kind, size_t count)
{
	size_t more = (count - kind->cap) * sizeof(*kind->rows);

	if (more > MEMOS_MAX - *memos->total)
		return false;
	kind->rows = cv_reallocarray(kind->rows, count, sizeof(*kind->rows));
	memset(kind->rows + kind->cap, 0, more);
	kind->cap = count;
	memos->octets += more;
	*memos->total += more;
	return true;
}

void cv_view_memo_keep(struct cv_view *view, uint32_t seq, enum cv_memo memo, struct cv_str octets)
{
	struct cv_mailbox *mailbox = view->mailbox;
	size_t need = octets.len + ENTRY_HEAD;
	struct cv_memos *memos;
	struct kind *kind;
	uint32_t row;

	if (octets.len > CV_MEMO_MAX || !cv_view_find_row(view, seq, &row))
		return;
	memos = mailbox->columns->memos;
	if (memos == NULL) {
		memos = mailbox->columns->memos = cv_new0(struct cv_memos);
		memos->total = &mailbox->user->memo_octets;
		for (size_t i = 0; i < CV_COUNT_OF(memos->kinds); i++)
			cv_buf_init(&memos->kinds[i].pool, MEMOS_MAX);
	}
	kind = &memos->kinds[memo];
	if (row >= kind->cap && !reserve_rows(memos, kind, CV_MAX((size_t)mailbox->columns->count, kind->cap + kind->cap / 8)))
		return;
	if (kind->rows[row] != 0 || need > MEMOS_MAX - *memos->total)
		return;
	kind->rows[row] = (uint32_t)(kind->pool.len + ENTRY_HEAD);
	cv_put_u16(&kind->pool, (uint16_t)octets.len);
	cv_buf_append(&kind->pool, octets);
	memos->octets += need;
	*memos->total += need;
}
