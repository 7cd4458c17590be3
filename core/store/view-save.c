/* SPDX-License-Identifier: MIT
   Views that outlive their process: what a session knows of its mailbox in a few octets, and what happened since when it is taken up again. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

#define SAVE_VERSION 1u

/* ---- Writing ---------------------------------------------------------------------------------------------- */

/* Each range as the distance from the end of the one before and its length; a distance of 0 ends them. */
static void put_range(struct cv_buf *out, uint32_t *end, uint32_t first, uint32_t last)
{
	cv_put_varint(out, first - *end);
	cv_put_varint(out, last - first);
	*end = last;
}

static void put_uids(struct cv_buf *out, const struct cv_view *view)
{
	uint32_t end = 0;

	for (uint32_t seq = 1; seq <= view->uids.count && cv_buf_ok(out);) {
		uint32_t first = cv_view_uid(view, seq), last = first;

		for (seq++; seq <= view->uids.count && cv_view_uid(view, seq) == last + 1; seq++)
			last++;
		put_range(out, &end, first, last);
	}
	cv_put_varint(out, 0);
}

void cv_view_save(const struct cv_view *view, struct cv_buf *out)
{
	uint32_t end = 0;

	cv_put_u8(out, SAVE_VERSION);
	cv_buf_append_mem(out, view->mailbox->guid.b, sizeof(view->mailbox->guid.b));
	cv_put_u32(out, view->mailbox->uidvalidity);
	cv_put_u8(out, (uint8_t)view->opts);
	cv_put_u32(out, view->last_uid);
	cv_put_u64(out, view->highest_modseq);
	cv_put_u64(out, view->pending_expunges.count > 0 ? view->pending_modseq : 0);
	cv_put_varint(out, view->seen_keywords);
	put_uids(out, view);
	for (size_t i = 0; i < view->recent.count; i++)
		put_range(out, &end, view->recent.data[i].first, view->recent.data[i].last);
	cv_put_varint(out, 0);
}

/* ---- Reading ---------------------------------------------------------------------------------------------- */

/* 1 a range above *end and up to max, 0 the end of them, -1 it is none. */
static int take_range(struct cv_reader *in, uint32_t *end, uint32_t max, struct cv_range *range_r)
{
	uint64_t distance, length;

	if (!cv_take_varint(in, &distance))
		return -1;
	if (distance == 0)
		return 0;
	if (distance > max - *end)
		return -1;
	range_r->first = *end + (uint32_t)distance;
	if (!cv_take_varint(in, &length) || length > max - range_r->first)
		return -1;
	*end = range_r->last = range_r->first + (uint32_t)length;
	return 1;
}

static bool take_uids(struct cv_reader *in, struct cv_view *view)
{
	struct cv_reader again = *in;
	struct cv_range range;
	uint32_t end = 0;
	size_t count = 0;
	int more;

	/* All is checked before anything is allocated. */
	while ((more = take_range(&again, &end, view->last_uid, &range)) > 0)
		count += (size_t)range.last - range.first + 1;
	if (more < 0 || count > UINT32_MAX)
		return false;
	end = 0;
	while (take_range(in, &end, view->last_uid, &range) > 0) {
		for (uint64_t uid = range.first; uid <= range.last; uid++)
			cv_uids_push(&view->uids, (uint32_t)uid);
	}
	return true;
}

static bool take_recent(struct cv_reader *in, struct cv_view *view)
{
	struct cv_range range;
	uint32_t end = 0;
	int more;

	while ((more = take_range(in, &end, view->last_uid, &range)) > 0)
		cv_ranges_add(&view->recent, range.first, range.last);
	return more == 0;
}

/* ---- What happened meanwhile ---------------------------------------------------------------------------------- */

/* The modseq of the first expunge that the view does not know of, or one below it where nobody remembers that any more. */
static uint64_t first_expunge(const struct cv_view *view, uint64_t since)
{
	const struct cv_mailbox *mailbox = view->mailbox;

	if (since < mailbox->vanished_from)
		return since + 1;
	for (size_t i = 0; i < mailbox->vanished.count; i++) {
		const struct cv_vanished *v = &mailbox->vanished.data[i];
		uint32_t seq = cv_view_seq_from(view, v->first);

		if (v->modseq > since && seq <= view->uids.count && cv_view_uid(view, seq) <= v->last)
			return v->modseq;
	}
	return since + 1;
}

/* Messages of the view that are gone, and those that were changed; neither makes an event in the mailbox's log. */
static void catch_up(struct cv_view *view, uint64_t pending_modseq)
{
	const struct cv_columns *columns = view->mailbox->columns;
	uint32_t row = 0;

	if (view->highest_modseq == view->mailbox->published_modseq && pending_modseq == 0)
		return;
	for (uint32_t seq = 1; seq <= view->uids.count; seq++) {
		uint32_t uid = cv_view_uid(view, seq);

		while (row < columns->count && *cv_col_uid(columns, row) < uid)
			row++;
		if (row >= columns->count || *cv_col_uid(columns, row) != uid || !cv_row_live(columns, row))
			cv_ranges_add(&view->pending_expunges, uid, uid);
		else if (*cv_col_modseq(columns, row) > view->highest_modseq)
			cv_ranges_add(&view->changed, uid, uid);
	}
	if (view->pending_expunges.count > 0)
		view->pending_modseq = pending_modseq != 0 ? pending_modseq : first_expunge(view, view->highest_modseq);
}

static int find_mailbox(struct cv_user *user, const uint8_t *guid, uint32_t uidvalidity, struct cv_mailbox **mailbox_r, struct cv_err *err)
{
	if (cv_user_unpublished(user))
		cv_user_flush(user);
	if (cv_mailbox_get_guid(user, guid, mailbox_r, err) < 0)
		return err->code == CV_ERR_NOTFOUND ? 0 : -1;
	if (cv_mailbox_load(*mailbox_r, err) < 0)
		return -1;
	if (cv_user_unpublished(user))
		cv_user_flush(user);
	return (*mailbox_r)->gone || (*mailbox_r)->uidvalidity != uidvalidity ? 0 : 1;
}

int cv_view_restore(struct cv_user *user, struct cv_reader *in, struct cv_view **view_r, struct cv_err *err)
{
	struct cv_view saved = { 0 }, *view;
	struct cv_mailbox *mailbox = NULL;
	struct cv_str guid;
	uint8_t version, opts;
	uint32_t uidvalidity;
	uint64_t pending_modseq, keywords;
	int result = 1;

	*view_r = NULL;
	bool good = cv_take_u8(in, &version) && version == SAVE_VERSION && cv_take_len(in, sizeof(saved.mailbox->guid.b), &guid) &&
		cv_take_u32(in, &uidvalidity) && cv_take_u8(in, &opts) && opts <= CV_VIEW_READONLY && cv_take_u32(in, &saved.last_uid) &&
		cv_take_u64(in, &saved.highest_modseq) && cv_take_u64(in, &pending_modseq) && cv_take_varint(in, &keywords);
	if (good)
		result = find_mailbox(user, (const uint8_t *)guid.ptr, uidvalidity, &mailbox, err);
	if (result > 0 && (!good || saved.last_uid >= mailbox->published_uidnext || saved.highest_modseq > mailbox->published_modseq ||
		!take_uids(in, &saved) || !take_recent(in, &saved)))
		result = cv_err_set(err, CV_ERR_INTERNAL, "what was kept of a session's mailbox does not fit");
	if (result <= 0) {
		cv_uids_free(&saved.uids);
		cv_ranges_free(&saved.recent);
		cv_mailbox_unref(&mailbox);
		return result;
	}
	view = cv_new0(struct cv_view);
	*view = saved;
	view->mailbox = mailbox; /* the reference that was just taken */
	view->opts = opts;
	view->seen_keywords = (size_t)CV_MIN(keywords, (uint64_t)mailbox->published_keywords);
	catch_up(view, pending_modseq);
	cv_view_attach(view);
	*view_r = view;
	return 1;
}
