/* SPDX-License-Identifier: MIT
   What was made of messages' headers. A message never changes, so it is right as long as the row is the message's. */
#include <config.h>

#include "core/store/memo.h"

#include "core/store/order.h"
#include "core/store/store-private.h"

#include <string.h>

/* Octets for all mailboxes of a user: the subjects of half a million messages, or what 100,000 are threaded by. More is made again each time. */
#define MEMOS_MAX ((size_t)32 << 20)
/* The same of texts of replies, which are longer and cheaper to make: those of some 10,000 messages. */
#define TEXTS_MAX ((size_t)8 << 20)
#define ENTRY_HEAD 2
#define PAGE_ROWS 512u
#define ASKED 1u /* instead of a place, which is ENTRY_HEAD or more: it was asked for, and told from elsewhere */

/* Of one kind: by row the place behind its entry's length in the pool, 0 or ASKED where there is none, in pages of PAGE_ROWS rows, NULL where nothing is kept: of
   a large mailbox often only the end is asked for. An entry: u16 length, octets. */
struct kind {
	uint32_t **pages;
	size_t page_count;
	struct cv_buf pool;
};

struct cv_memos {
	struct kind kinds[CV_MEMOS];
	struct cv_orders orders;
	size_t octets[CV_MEMO_SORTS]; /* that it counts in *totals; orders count theirs themselves */
	size_t *totals; /* the user's, by enum cv_memo_sort */
};

static enum cv_memo_sort sort_of(enum cv_memo memo)
{
	return memo >= CV_MEMO_ENVELOPE ? CV_MEMO_TEXTS : CV_MEMO_KEYS;
}

static size_t max_of(enum cv_memo memo)
{
	return sort_of(memo) == CV_MEMO_TEXTS ? TEXTS_MAX : MEMOS_MAX;
}

static struct cv_memos *new_memos(struct cv_user *user)
{
	struct cv_memos *memos = cv_new0(struct cv_memos);

	memos->totals = user->memo_octets;
	memos->orders.total = &user->memo_octets[CV_MEMO_ORDERS];
	for (size_t i = 0; i < CV_MEMOS; i++)
		cv_buf_init(&memos->kinds[i].pool, max_of((enum cv_memo)i));
	return memos;
}

void cv_memos_free(struct cv_memos **memos_p)
{
	struct cv_memos *memos = *memos_p;

	*memos_p = NULL;
	if (memos == NULL)
		return;
	cv_orders_clear(&memos->orders);
	for (size_t i = 0; i < CV_MEMO_SORTS; i++)
		memos->totals[i] -= memos->octets[i];
	for (size_t i = 0; i < CV_MEMOS; i++) {
		struct kind *kind = &memos->kinds[i];

		for (size_t j = 0; j < kind->page_count; j++)
			cv_free(kind->pages[j]);
		cv_free(kind->pages);
		cv_buf_deinit(&kind->pool);
	}
	cv_free(memos);
}

struct cv_orders *cv_memos_orders(struct cv_mailbox *mailbox, bool make)
{
	struct cv_columns *columns = mailbox->columns;

	if (columns == NULL || (columns->memos == NULL && !make))
		return NULL;
	if (columns->memos == NULL)
		columns->memos = new_memos(mailbox->user);
	return &columns->memos->orders;
}

bool cv_memo_of_row(const struct cv_mailbox *mailbox, uint32_t row, enum cv_memo memo, struct cv_str *octets_r)
{
	const struct kind *kind;
	const uint32_t *page;
	const uint8_t *head;

	if (mailbox->columns->memos == NULL)
		return false;
	kind = &mailbox->columns->memos->kinds[memo];
	page = row / PAGE_ROWS < kind->page_count ? kind->pages[row / PAGE_ROWS] : NULL;
	if (page == NULL || page[row % PAGE_ROWS] < ENTRY_HEAD)
		return false;
	/* UNSAFE: an entry is whole, and pages have the places of entries only. */
	head = (const uint8_t *)kind->pool.data + (page[row % PAGE_ROWS] - ENTRY_HEAD);
	*octets_r = cv_str_mem(head + ENTRY_HEAD, (size_t)head[0] | (size_t)head[1] << 8);
	return true;
}

bool cv_view_memo(const struct cv_view *view, uint32_t seq, enum cv_memo memo, struct cv_str *octets_r)
{
	uint32_t row;

	return cv_view_find_row(view, seq, &row) && cv_memo_of_row(view->mailbox, row, memo, octets_r);
}

/* Take so many octets more, if that is within the bound. */
static bool take(struct cv_memos *memos, enum cv_memo memo, size_t octets)
{
	enum cv_memo_sort sort = sort_of(memo);

	if (octets > max_of(memo) - memos->totals[sort])
		return false;
	memos->octets[sort] += octets;
	memos->totals[sort] += octets;
	return true;
}

/* Where a row's place is noted, or NULL: there is no room. count: rows there are. */
static uint32_t *slot_of(struct cv_memos *memos, enum cv_memo memo, uint32_t row, size_t count)
{
	struct kind *kind = &memos->kinds[memo];
	size_t page = row / PAGE_ROWS;

	if (page >= kind->page_count) {
		size_t want = CV_MAX((count + PAGE_ROWS - 1) / PAGE_ROWS, kind->page_count + kind->page_count / 8 + 1);

		if (!take(memos, memo, (want - kind->page_count) * sizeof(*kind->pages)))
			return NULL;
		kind->pages = cv_reallocarray(kind->pages, want, sizeof(*kind->pages));
		memset(kind->pages + kind->page_count, 0, (want - kind->page_count) * sizeof(*kind->pages));
		kind->page_count = want;
	}
	if (kind->pages[page] == NULL) {
		if (!take(memos, memo, PAGE_ROWS * sizeof(**kind->pages)))
			return NULL;
		kind->pages[page] = cv_calloc(PAGE_ROWS, sizeof(**kind->pages));
	}
	return &kind->pages[page][row % PAGE_ROWS];
}

static uint32_t *slot_of_row(struct cv_mailbox *mailbox, enum cv_memo memo, uint32_t row)
{
	struct cv_columns *columns = mailbox->columns;

	if (columns->memos == NULL)
		columns->memos = new_memos(mailbox->user);
	return slot_of(columns->memos, memo, row, columns->count);
}

bool cv_memo_asked(struct cv_mailbox *mailbox, uint32_t row, enum cv_memo memo)
{
	uint32_t *slot = slot_of_row(mailbox, memo, row);

	if (slot == NULL || *slot != 0)
		return slot != NULL;
	*slot = ASKED;
	return false;
}

void cv_view_memo_keep(struct cv_view *view, uint32_t seq, enum cv_memo memo, struct cv_str octets)
{
	struct cv_columns *columns = view->mailbox->columns;
	uint32_t row, *slot;
	struct kind *kind;

	if (octets.len > CV_MEMO_MAX || !cv_view_find_row(view, seq, &row))
		return;
	slot = slot_of_row(view->mailbox, memo, row);
	if (slot == NULL || *slot >= ENTRY_HEAD || !take(columns->memos, memo, octets.len + ENTRY_HEAD))
		return;
	kind = &columns->memos->kinds[memo];
	*slot = (uint32_t)(kind->pool.len + ENTRY_HEAD);
	cv_put_u16(&kind->pool, (uint16_t)octets.len);
	cv_buf_append(&kind->pool, octets);
}
