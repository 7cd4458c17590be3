/* SPDX-License-Identifier: MIT
   Views: a session's sequence numbers, and what it has to be told. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

static struct cv_view *view_of(struct cv_node *node)
{
	return cv_container(node, struct cv_view, node);
}

/* ---- the mailbox's log of events ---------------------------------------------------------------------------- */

static uint64_t log_end(const struct cv_event_log *log)
{
	return log->first + log->events.count;
}

/* Events that every view has taken go. */
static void trim_log(struct cv_mailbox *mailbox)
{
	struct cv_event_log *log = &mailbox->log;
	uint64_t keep = log_end(log);
	struct cv_node *node, *tmp;
	size_t n;

	cv_list_foreach(&mailbox->views, node, tmp)
		keep = CV_MIN(keep, view_of(node)->cursor);
	n = (size_t)(keep - log->first);
	/* In batches, so that many small events do not move the rest each time. */
	if (n == 0 || (n < log->events.count && n < log->events.count / 2))
		return;
	for (size_t i = 0; i < n; i++) {
		cv_ranges_free(&log->events.data[i].uids);
		cv_free(log->events.data[i].names);
	}
	log->events.count -= n;
	if (log->events.count > 0)
		memmove(log->events.data, log->events.data + n, log->events.count * sizeof(*log->events.data));
	log->first = keep;
}

void cv_view_mark(struct cv_mailbox *mailbox)
{
	struct cv_node *node, *tmp;

	cv_list_foreach(&mailbox->views, node, tmp) {
		struct cv_view *view = view_of(node);

		if (view->notify == NULL || view->notified || !cv_view_pending(view))
			continue;
		view->notify_due = true;
		mailbox->user->notify_pending = true;
	}
}

void cv_view_publish(struct cv_mailbox *mailbox, struct cv_store_event *event)
{
	if (cv_list_empty(&mailbox->views))
		return;
	*cv_vec_push(&mailbox->log.events) = *event;
	event->uids = (struct cv_ranges){ 0 };
	event->names = NULL;
}

/* The functions may open and close views and change mailboxes: after each one the search starts anew. */
static struct cv_view *next_due(struct cv_user *user)
{
	for (size_t i = 0; i < user->views.count; i++) {
		if (user->views.data[i]->notify_due)
			return user->views.data[i];
	}
	return NULL;
}

void cv_view_run_notify(struct cv_user *user)
{
	struct cv_view *view;

	while (user->notify_pending) {
		user->notify_pending = false;
		while ((view = next_due(user)) != NULL) {
			view->notify_due = false;
			view->notified = true;
			if (view->notify != NULL)
				view->notify(view->notify_ctx);
		}
	}
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

/* Messages that are recent go to the first session that can take them (RFC 3501 section 2.3.2). */
static void take_recent(struct cv_view *view, uint32_t from)
{
	struct cv_mailbox *mailbox = view->mailbox;
	uint32_t end = mailbox->published_uidnext, first = CV_MAX(from, mailbox->first_recent);
	struct cv_entry entry = { .kind = CV_ENTRY_RECENT, .mailbox = mailbox->guid, .uid = end };
	struct cv_err err = { 0 };
	uint32_t i;

	if (first >= end)
		return;
	for (i = cv_view_seq_from(view, first); i <= view->uids.count; i++)
		cv_ranges_add(&view->recent, cv_view_uid(view, i), cv_view_uid(view, i));
	if ((view->opts & CV_VIEW_READONLY) != 0 || mailbox->gone)
		return;
	/* Messages committed but not published yet are counted by nobody else: views come first to what is published. */
	entry.number = 0;
	for (i = cv_columns_from(mailbox->columns, end); i < mailbox->columns->count; i++)
		entry.number += cv_row_live(mailbox->columns, i);
	if (cv_commit_lazy(mailbox->user, &entry, &err) < 0)
		cv_warn(&mailbox->log_ctx, "messages stay recent: %s", err.text);
}

/* Published rows from row on that live go to the end of the view. */
static void add_rows(struct cv_view *view, uint32_t row)
{
	struct cv_columns *columns = view->mailbox->columns;
	uint32_t end = view->mailbox->published_uidnext;

	for (; row < columns->count && *cv_col_uid(columns, row) < end; row++) {
		if (cv_row_live(columns, row))
			cv_uids_push(&view->uids, *cv_col_uid(columns, row));
	}
	view->last_uid = end - 1;
}

void cv_view_attach(struct cv_view *view)
{
	struct cv_mailbox *mailbox = view->mailbox;

	view->cursor = log_end(&mailbox->log);
	cv_list_append(&mailbox->views, &view->node);
	*cv_vec_push(&mailbox->user->views) = view;
	cv_watch_start(mailbox);
}

int cv_view_open(struct cv_mailbox *mailbox, unsigned opts, struct cv_view **view_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_view *view;

	*view_r = NULL;
	if (mailbox->gone)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	if (cv_user_unpublished(user))
		cv_user_flush(user);
	/* Loading may find that the storage has to be looked through. */
	if (cv_mailbox_load(mailbox, err) < 0 || cv_mailbox_refresh(mailbox, err) < 0)
		return -1;
	if (mailbox->gone)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	if (cv_user_unpublished(user))
		cv_user_flush(user);
	view = cv_new0(struct cv_view);
	view->mailbox = mailbox;
	cv_mailbox_ref(mailbox);
	view->opts = opts;
	cv_uids_open(&view->uids, mailbox->columns); /* all that is there is published */
	view->last_uid = mailbox->published_uidnext - 1;
	take_recent(view, 1);
	view->seen_keywords = mailbox->published_keywords;
	view->highest_modseq = mailbox->published_modseq;
	cv_view_attach(view);
	*view_r = view;
	return 1;
}

void cv_view_close(struct cv_view **view_p)
{
	struct cv_view *view = *view_p;
	struct cv_user *user;
	struct cv_mailbox *mailbox;

	*view_p = NULL;
	if (view == NULL)
		return;
	mailbox = view->mailbox;
	user = mailbox->user;
	cv_list_remove(&view->node);
	for (size_t i = 0; i < user->views.count; i++) {
		if (user->views.data[i] == view) {
			user->views.data[i] = user->views.data[--user->views.count];
			break;
		}
	}
	trim_log(mailbox);
	if (cv_list_empty(&mailbox->views))
		cv_watch_stop(mailbox);
	cv_uids_free(&view->uids);
	cv_ranges_free(&view->recent);
	cv_ranges_free(&view->pending_expunges);
	cv_ranges_free(&view->changed);
	cv_free(view);
	cv_mailbox_unref(&mailbox);
}

/* ---- asking --------------------------------------------------------------------------------------------------- */

struct cv_mailbox *cv_view_mailbox(const struct cv_view *view)
{
	return view->mailbox;
}

int cv_view_usable(struct cv_view *view, struct cv_err *err)
{
	struct cv_mailbox *mailbox = view->mailbox;

	return mailbox->gone ? 1 : cv_user_usable(mailbox->user, err) < 0 ? -1 : cv_mailbox_load(mailbox, err);
}

bool cv_view_readonly(const struct cv_view *view)
{
	return (view->opts & CV_VIEW_READONLY) != 0;
}

uint32_t cv_view_count(const struct cv_view *view)
{
	return view->uids.count;
}

uint32_t cv_view_recent(const struct cv_view *view)
{
	return (uint32_t)cv_ranges_numbers(&view->recent);
}

/* *row_r: where its row may be. */
static uint32_t uid_at(const struct cv_view *view, uint32_t seq, uint32_t *row_r)
{
	cv_assert(seq >= 1 && seq <= view->uids.count);
	return cv_uids_at(&view->uids, seq - 1, row_r);
}

uint32_t cv_view_uid(const struct cv_view *view, uint32_t seq)
{
	uint32_t row;

	return uid_at(view, seq, &row);
}

bool cv_view_find_row(const struct cv_view *view, uint32_t seq, uint32_t *row_r)
{
	const struct cv_columns *columns = view->mailbox->columns;
	uint32_t hint, uid = uid_at(view, seq, &hint);

	return columns != NULL && cv_columns_find(columns, uid, hint, row_r);
}

uint32_t cv_view_seq_from(const struct cv_view *view, uint32_t uid)
{
	return cv_uids_from(&view->uids, uid) + 1;
}

uint32_t cv_view_seq(const struct cv_view *view, uint32_t uid)
{
	uint32_t seq = cv_view_seq_from(view, uid);

	return seq <= view->uids.count && cv_view_uid(view, seq) == uid ? seq : 0;
}

uint64_t cv_view_highest_modseq(const struct cv_view *view)
{
	if (view->pending_expunges.count > 0)
		return CV_MIN(view->highest_modseq, view->pending_modseq - 1);
	return view->highest_modseq;
}

bool cv_view_expunges_pending(const struct cv_view *view)
{
	return view->pending_expunges.count > 0;
}

bool cv_view_expunged(const struct cv_view *view)
{
	const struct cv_event_log *log = &view->mailbox->log;

	if (view->pending_expunges.count > 0)
		return true;
	for (uint64_t at = view->cursor; at < log_end(log); at++) {
		if (log->events.data[at - log->first].kind == CV_EVENT_EXPUNGE)
			return true;
	}
	return false;
}

void cv_view_set_notify(struct cv_view *view, void (*fn)(void *ctx), void *ctx)
{
	view->notify = fn;
	view->notify_ctx = ctx;
	view->notify_due = view->notified = false;
	if (fn == NULL || !cv_view_pending(view))
		return;
	view->notify_due = true;
	view->mailbox->user->notify_pending = true;
	if (view->mailbox->user->loop != NULL)
		cv_timer_set(view->mailbox->user->notify_timer, 0);
}

bool cv_view_pending(const struct cv_view *view)
{
	const struct cv_mailbox *mailbox = view->mailbox;

	return view->cursor < log_end(&mailbox->log) || view->pending_expunges.count > 0 || view->changed.count > 0 ||
		view->last_uid + 1 < mailbox->published_uidnext || view->seen_keywords < mailbox->published_keywords ||
		(mailbox->gone && !view->gone_told);
}

static void fill_flags(const struct cv_columns *columns, uint32_t row, struct cv_row *row_r)
{
	row_r->flags = *cv_col_flags(columns, row) & CV_FLAG_ALL;
	row_r->keyword_set = *cv_col_keyword_set(columns, row);
	row_r->modseq = *cv_col_modseq(columns, row);
}

static void fill_rest(const struct cv_columns *columns, uint32_t row, struct cv_row *row_r)
{
	row_r->internal_date = *cv_col_date(columns, row);
	row_r->internal_zone = *cv_col_zone(columns, row);
	row_r->save_date = *cv_col_saved(columns, row);
	row_r->virtual_size = *cv_col_virtual_size(columns, row);
	row_r->physical_size = *cv_col_physical_size(columns, row);
	memcpy(row_r->guid, cv_col_guid(columns, row), sizeof(row_r->guid));
}

int cv_mailbox_row(struct cv_mailbox *mailbox, uint32_t uid, struct cv_row *row_r, struct cv_err *err)
{
	uint32_t row;

	*row_r = (struct cv_row){ .uid = uid };
	if (mailbox->gone)
		return 0;
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	if (!cv_columns_find(mailbox->columns, uid, UINT32_MAX, &row) || !cv_row_live(mailbox->columns, row))
		return 0;
	fill_flags(mailbox->columns, row, row_r);
	fill_rest(mailbox->columns, row, row_r);
	return 1;
}

int cv_view_find_durable(const struct cv_view *view, uint32_t seq, uint32_t *uid_r, uint32_t *row)
{
	struct cv_mailbox *mailbox = view->mailbox;
	struct cv_columns *columns = mailbox->columns;
	uint32_t hint, uid = uid_at(view, seq, &hint);

	*uid_r = uid;
	if (cv_mailbox_is_ahead(mailbox) &&
		(mailbox->user->storage_args.fsync == CV_FSYNC_ALWAYS || columns == NULL ||
			!cv_columns_find(columns, uid, hint, row) || !cv_row_live(columns, *row))) {
		cv_user_flush(mailbox->user); /* nothing is shown that is not durable */
		columns = mailbox->columns;
	}
	if (columns == NULL || !cv_columns_find(columns, uid, hint, row))
		return -1;
	return cv_row_live(columns, *row);
}

static int find_shown(const struct cv_view *view, uint32_t seq, struct cv_row *row_r, uint32_t *row)
{
	uint32_t uid;
	int live = cv_view_find_durable(view, seq, &uid, row);

	*row_r = (struct cv_row){ .uid = uid };
	if (live < 0)
		return -1;
	row_r->recent = view->recent.count > 0 && cv_ranges_has(&view->recent, uid);
	fill_flags(view->mailbox->columns, *row, row_r);
	return live;
}

bool cv_view_has(const struct cv_view *view, uint32_t seq)
{
	uint32_t uid, row;

	return cv_view_find_durable(view, seq, &uid, &row) > 0;
}

bool cv_view_flags(const struct cv_view *view, uint32_t seq, struct cv_row *row_r)
{
	uint32_t row;

	return find_shown(view, seq, row_r, &row) > 0;
}

bool cv_view_row(const struct cv_view *view, uint32_t seq, struct cv_row *row_r)
{
	uint32_t row;
	int live = find_shown(view, seq, row_r, &row);

	if (live >= 0)
		fill_rest(view->mailbox->columns, row, row_r);
	return live > 0;
}

void cv_view_rest(struct cv_view *view)
{
	if (view->mailbox->columns != NULL)
		cv_columns_rest(view->mailbox->columns);
}

void cv_view_deleted(const struct cv_view *view, const struct cv_ranges *seqs, struct cv_ranges *uids_r)
{
	struct cv_mailbox *mailbox = view->mailbox;

	if (cv_mailbox_is_ahead(mailbox))
		cv_user_flush(mailbox->user);
	if (mailbox->columns == NULL || mailbox->counts.deleted == 0)
		return;
	for (size_t i = 0; i < seqs->count; i++) {
		uint32_t row = cv_columns_from(mailbox->columns, cv_view_uid(view, seqs->data[i].first));
		uint32_t end = cv_columns_from(mailbox->columns, cv_view_uid(view, seqs->data[i].last) + 1);

		for (; (row = cv_columns_next_deleted(mailbox->columns, row, end)) < end; row++) {
			uint32_t uid = *cv_col_uid(mailbox->columns, row);

			if (cv_view_seq(view, uid) != 0)
				cv_ranges_add(uids_r, uid, uid);
		}
	}
}

/* Of a message with this UID, near being what it might be; 0: it is not in the view. */
static uint32_t seq_near(const struct cv_view *view, uint32_t uid, uint32_t near)
{
	return near >= 1 && near <= view->uids.count && cv_view_uid(view, near) == uid ? near : cv_view_seq(view, uid);
}

void cv_view_changed(const struct cv_view *view, const struct cv_ranges *seqs, uint64_t since, struct cv_ranges *seqs_r)
{
	struct cv_columns *columns = view->mailbox->columns;

	if (columns == NULL || since >= view->mailbox->highest_modseq)
		return;
	for (size_t i = 0; i < seqs->count; i++) {
		uint32_t row = cv_columns_from(columns, cv_view_uid(view, seqs->data[i].first));
		uint32_t last = cv_view_uid(view, seqs->data[i].last), seq = 0;
		uint32_t end = cv_columns_from(columns, last) + 1;

		for (; (row = cv_columns_next_changed(columns, row, CV_MIN(end, columns->count), since)) < CV_MIN(end, columns->count); row++) {
			uint32_t uid = *cv_col_uid(columns, row), found = uid <= last ? seq_near(view, uid, seq + 1) : 0;

			if (found == 0)
				continue;
			seq = found;
			cv_ranges_add(seqs_r, seq, seq);
		}
	}
}

struct cv_str cv_view_ref(const struct cv_view *view, uint32_t seq)
{
	uint32_t row;

	return cv_view_find_row(view, seq, &row) ? cv_columns_ref(view->mailbox->columns, row) : (struct cv_str){ 0 };
}

bool cv_view_vanished(const struct cv_view *view, uint64_t modseq, struct cv_ranges *uids_r)
{
	const struct cv_mailbox *mailbox = view->mailbox;
	uint32_t next = 1;

	if (modseq >= mailbox->vanished_from) {
		for (size_t i = mailbox->vanished.count; i > 0 && mailbox->vanished.data[i - 1].modseq > modseq; i--) {
			const struct cv_vanished *v = &mailbox->vanished.data[i - 1];

			cv_ranges_add(uids_r, v->first, v->last);
		}
		return true;
	}
	for (uint32_t seq = 1; seq <= view->uids.count; seq++) {
		uint32_t uid = cv_view_uid(view, seq);

		if (uid > next)
			cv_ranges_add(uids_r, next, uid - 1);
		next = uid + 1;
	}
	if (next <= view->last_uid)
		cv_ranges_add(uids_r, next, view->last_uid);
	return false;
}

/* ---- synchronising ---------------------------------------------------------------------------------------------- */

struct sync {
	struct cv_view *view;
	void (*fn)(void *ctx, const struct cv_view_event *event);
	void *ctx;
};

static void give(struct sync *sync, enum cv_view_event_kind kind, uint32_t seq, uint32_t uid, uint64_t modseq)
{
	const struct cv_view_event event = { .kind = kind, .seq = seq, .uid = uid, .modseq = modseq };

	if (sync->fn != NULL)
		sync->fn(sync->ctx, &event);
}

/* Numbers of events in the log. */
struct event_list {
	CV_VEC(uint64_t) numbers;
};

/* What the log has for this view: expunges are kept until they may be given; *changed_r gets messages with new flags. *notes_r gets the events that tell of
   annotations; NULL: their messages go to *changed_r. */
static void take_events(struct cv_view *view, uint64_t own, struct cv_ranges *changed_r, struct event_list *notes_r)
{
	const struct cv_event_log *log = &view->mailbox->log;

	for (size_t i = 0; i < view->changed.count; i++)
		cv_ranges_add(changed_r, view->changed.data[i].first, view->changed.data[i].last);
	cv_ranges_free(&view->changed);
	for (; view->cursor < log_end(log); view->cursor++) {
		const struct cv_store_event *event = &log->events.data[view->cursor - log->first];
		struct cv_ranges *set = event->kind == CV_EVENT_EXPUNGE ? &view->pending_expunges : changed_r;

		if (event->kind != CV_EVENT_EXPUNGE && event->txn == own && own != 0)
			continue;
		if (event->kind == CV_EVENT_NOTES && notes_r != NULL) {
			*cv_vec_push(&notes_r->numbers) = view->cursor;
			continue;
		}
		if (event->kind == CV_EVENT_EXPUNGE && view->pending_expunges.count == 0)
			view->pending_modseq = event->modseq;
		for (size_t i = 0; i < event->uids.count; i++) {
			if (event->uids.data[i].first <= view->last_uid)
				cv_ranges_add(set, event->uids.data[i].first, CV_MIN(event->uids.data[i].last, view->last_uid));
		}
	}
}

/* Each with the sequence number it has after the ones before it are gone (RFC 3501 section 7.4.1). */
static void give_expunges(struct sync *sync)
{
	struct cv_view *view = sync->view;
	struct cv_ranges *gone = &view->pending_expunges;
	uint32_t removed = 0, uid;

	for (size_t i = 0; i < gone->count; i++) {
		uint32_t seq = cv_view_seq_from(view, gone->data[i].first);

		for (; seq <= view->uids.count && (uid = cv_view_uid(view, seq)) <= gone->data[i].last; seq++)
			give(sync, CV_EVENT_EXPUNGE, seq - removed++, uid, 0);
	}
	if (removed > 0)
		cv_uids_remove(&view->uids, gone);
	for (size_t i = 0; i < gone->count; i++)
		cv_ranges_remove(&view->recent, gone->data[i].first, gone->data[i].last);
	gone->count = 0;
}

static void give_flags(struct sync *sync, const struct cv_ranges *changed)
{
	struct cv_view *view = sync->view;
	struct cv_columns *columns = view->mailbox->columns;
	uint32_t row;

	for (size_t i = 0; i < changed->count; i++) {
		uint32_t seq = cv_view_seq_from(view, changed->data[i].first), uid;

		for (; seq <= view->uids.count && (uid = cv_view_uid(view, seq)) <= changed->data[i].last; seq++) {
			if (cv_view_find_row(view, seq, &row) && cv_row_live(columns, row))
				give(sync, CV_EVENT_FLAGS, seq, uid, *cv_col_modseq(columns, row));
		}
	}
}

static void give_notes(struct sync *sync, const struct event_list *notes)
{
	struct cv_view *view = sync->view;
	struct cv_columns *columns = view->mailbox->columns;
	const struct cv_event_log *log = &view->mailbox->log;
	uint32_t row;

	for (size_t i = 0; i < notes->numbers.count; i++) {
		const struct cv_store_event *event = &log->events.data[notes->numbers.data[i] - log->first];
		struct cv_view_event told = { .kind = CV_EVENT_NOTES, .names = cv_str_mem(event->names, event->names_len) };

		for (size_t j = 0; j < event->uids.count; j++) {
			uint32_t seq = cv_view_seq_from(view, event->uids.data[j].first), uid;

			for (; seq <= view->uids.count && (uid = cv_view_uid(view, seq)) <= event->uids.data[j].last; seq++) {
				if (!cv_view_find_row(view, seq, &row) || !cv_row_live(columns, row) || sync->fn == NULL)
					continue;
				told.seq = seq;
				told.uid = uid;
				told.modseq = *cv_col_modseq(columns, row);
				sync->fn(sync->ctx, &told);
			}
		}
	}
}

static void give_new(struct sync *sync)
{
	struct cv_view *view = sync->view;
	uint32_t before = view->uids.count, last = view->last_uid;

	if (last + 1 >= view->mailbox->published_uidnext)
		return;
	add_rows(view, cv_columns_from(view->mailbox->columns, last + 1));
	if (view->uids.count == before)
		return;
	take_recent(view, last + 1);
	give(sync, CV_EVENT_EXISTS, view->uids.count, cv_view_uid(view, view->uids.count), 0);
}

bool cv_view_hold(struct cv_view *view, struct cv_ranges *flagged)
{
	view->notified = view->notify_due = false;
	if (view->mailbox->gone)
		return false;
	if (view->mailbox->columns == NULL)
		return true; /* it is as it was known */
	take_events(view, 0, flagged, NULL);
	trim_log(view->mailbox);
	return true;
}

void cv_view_sync(struct cv_view *view, bool expunges, uint64_t own, void (*fn)(void *ctx, const struct cv_view_event *event), void *ctx)
{
	struct cv_mailbox *mailbox = view->mailbox;
	struct sync sync = { view, fn, ctx };
	struct cv_ranges changed = { 0 };
	struct event_list notes = { 0 };

	view->notified = view->notify_due = false;
	if (mailbox->gone) {
		if (!view->gone_told)
			give(&sync, CV_EVENT_GONE, 0, 0, 0);
		view->gone_told = true;
		return;
	}
	if (mailbox->columns == NULL)
		return; /* could not be read anew after a failure: the mailbox stays as it was known */
	take_events(view, own, &changed, &notes);
	if (expunges && view->pending_expunges.count > 0)
		give_expunges(&sync);
	give_new(&sync);
	if (view->seen_keywords < mailbox->published_keywords) {
		view->seen_keywords = mailbox->published_keywords;
		give(&sync, CV_EVENT_KEYWORDS, 0, 0, 0);
	}
	give_flags(&sync, &changed);
	give_notes(&sync, &notes);
	view->highest_modseq = mailbox->published_modseq;
	cv_ranges_free(&changed);
	cv_vec_free(&notes.numbers);
	trim_log(mailbox);
}
