/* SPDX-License-Identifier: MIT
   The selected mailbox: what changed in it becomes untagged responses, in an order the client can follow. */
#include <config.h>

#include "annotate.h"
#include "metadata.h"
#include "notify.h"
#include "push.h"
#include "urlauth.h"

#include "modules/lib/imap/imap-flags.h"

/* New messages whose attributes NOTIFY asked for. RFC 5465 section 5.2: not for one "created by the client on this particular connection". */
static void note_new(struct imap_session *s, const struct cv_view_event *event)
{
	uint32_t seq = cv_view_seq_from(s->view, s->newest_uid + 1);

	for (; s->notify != NULL && s->notify->fetch && seq <= event->seq; seq++) {
		uint32_t uid = cv_view_uid(s->view, seq);

		if (!cv_ranges_has(&s->own, uid))
			cv_ranges_add(&s->fetch_new, uid, uid);
	}
	s->newest_uid = event->uid;
}

static void queue_event(void *ctx, const struct cv_view_event *event)
{
	struct imap_session *s = ctx;

	if (event->kind == CV_EVENT_NOTES) {
		annotate_queue(s, event);
		return;
	}
	if (event->kind == CV_EVENT_EXISTS)
		note_new(s, event);
	if (event->kind == CV_EVENT_FLAGS && s->notify != NULL && !s->notify->flags)
		cv_ranges_add(&s->untold, event->uid, event->uid);
	else
		*cv_vec_push(&s->events) = *event;
}

uint64_t imap_highest_modseq(const struct imap_session *s)
{
	uint64_t highest = cv_view_highest_modseq(s->view);

	return s->untold.count > 0 ? CV_MIN(highest, s->untold_modseq) : highest;
}

void imap_note_own(struct imap_session *s, const struct cv_mailbox *mailbox, const struct cv_ranges *uids)
{
	/* Only who is told of new messages in any other way than EXISTS has use for it. */
	if (s->view == NULL || cv_view_mailbox(s->view) != mailbox || (s->notify == NULL && s->contexts == NULL))
		return;
	for (size_t i = 0; i < uids->count; i++)
		cv_ranges_add(&s->own, uids->data[i].first, uids->data[i].last);
}

static void sync_now(struct imap_session *s, bool expunges, uint64_t own);

/* RFC 5465 section 3.1: without SELECTED "the client doesn't want to receive any <message-event>s for the currently selected mailbox". What happens is kept
   as sets, whose size the mailbox bounds. */
static bool is_silent(const struct imap_session *s)
{
	return s->notify != NULL && s->notify->selected == IMAP_NOTIFY_NOTHING;
}

void imap_refresh_rights(struct imap_session *s)
{
	struct cv_err err = { 0 };
	unsigned rights;

	if (s->view == NULL)
		return;
	if (cv_mailbox_rights(s->user, cv_mailbox_name(cv_view_mailbox(s->view)), &rights, &err) < 0) {
		cv_error(s->log, "%s", err.text);
		return;
	}
	/* RFC 4314 section 5.1.1: "it SHOULD send FLAGS and PERMANENTFLAGS responses if they have changed". */
	s->rights_changed |= cv_rights_flags(rights) != cv_rights_flags(s->rights);
	s->rights = rights;
}

void imap_sync(struct imap_session *s, bool expunges, uint64_t own)
{
	uint64_t before;
	bool none;

	if (s->view == NULL)
		return;
	before = cv_view_highest_modseq(s->view);
	none = s->untold.count == 0;
	/* That there is no mailbox any more has to be told. */
	if (!is_silent(s) || !cv_view_hold(s->view, &s->untold))
		sync_now(s, expunges, own);
	if (none && s->untold.count > 0)
		s->untold_modseq = before;
}

void imap_sync_expunged(struct imap_session *s)
{
	uint64_t before = cv_view_highest_modseq(s->view);
	bool none = s->untold.count == 0;

	sync_now(s, true, 0);
	if (none && s->untold.count > 0)
		s->untold_modseq = before;
}

void imap_sync_all(struct imap_session *s)
{
	struct imap_notify *notify = s->notify;
	struct imap_iter iter = { 0 };
	uint32_t uid;

	if (s->view == NULL)
		return;
	s->notify = NULL;
	/* What was kept back and what is new, each message once. */
	if (!s->annotate) /* the names of annotations would be lost */
		(void)cv_view_hold(s->view, &s->untold);
	sync_now(s, true, 0);
	while (imap_iter_next(&s->untold, &iter, &uid)) {
		struct cv_view_event event = { .kind = CV_EVENT_FLAGS, .seq = cv_view_seq(s->view, uid), .uid = uid };

		if (event.seq != 0)
			queue_event(s, &event);
	}
	cv_ranges_free(&s->untold);
	s->notify = notify;
}

static void sync_now(struct imap_session *s, bool expunges, uint64_t own)
{
	struct cv_err err = { 0 };

	/* Formats that other programs write too. What cannot be read now is told when it can be. */
	if (cv_mailbox_refresh(cv_view_mailbox(s->view), &err) < 0)
		cv_error(s->log, "refresh of mailbox %s: %s", cv_log_clean(cv_mailbox_name(cv_view_mailbox(s->view))), err.text);
	if (expunges)
		imap_contexts_interrupt(s);
	cv_view_sync(s->view, expunges, own, queue_event, s);
	imap_refresh_rights(s);
}

void imap_append_row_flags(const struct imap_session *s, struct cv_buf *out, const struct cv_row *row)
{
	size_t count;
	const struct cv_str *keywords = cv_row_keywords(cv_view_mailbox(s->view), row->keyword_set, &count);

	cv_imap_append_flags(out, row->flags, row->recent && !s->rev2, keywords, count);
}

void imap_write_new_keywords(struct imap_session *s, struct cv_buf *out)
{
	if (cv_mailbox_keyword(cv_view_mailbox(s->view), s->keywords_told).ptr != NULL)
		imap_write_mailbox_flags(s, out);
}

void imap_begin_fetch(const struct imap_session *s, struct cv_buf *out, uint32_t seq, uint32_t uid)
{
	/* RFC 9586 section 3.3: "all FETCH responses that would be returned by UID FETCH / UID STORE are replaced by UIDFETCH responses". */
	cv_buf_append_c(out, "* ");
	cv_buf_append_u64(out, s->uidonly ? uid : seq);
	cv_buf_append_c(out, s->uidonly ? " UIDFETCH (" : " FETCH (");
}

void imap_write_flags(struct imap_session *s, struct cv_buf *out, uint32_t seq, const struct cv_row *row, bool uid, bool flags)
{
	const char *space = "";

	if (flags)
		imap_write_new_keywords(s, out);
	imap_begin_fetch(s, out, seq, row->uid);
	if (s->uidonly) {
		/* It stands before UIDFETCH already. */
	} else if (uid || s->condstore || s->rev2) { /* RFC 9051 appendix E: "All unsolicited FETCH updates are required to include UID." */
		cv_buf_printf(out, "UID %u", row->uid);
		space = " ";
	}
	if (flags) {
		cv_buf_printf(out, "%sFLAGS (", space);
		imap_append_row_flags(s, out, row);
		cv_buf_append_char(out, ')');
		space = " ";
	}
	if (s->condstore)
		cv_buf_printf(out, "%sMODSEQ (%llu)", space, (unsigned long long)row->modseq);
	cv_buf_append_c(out, ")\r\n");
}

void imap_write_mailbox_flags(struct imap_session *s, struct cv_buf *out)
{
	struct cv_mailbox *mailbox = cv_view_mailbox(s->view);
	CV_VEC(struct cv_str) keywords = { 0 };
	bool write = (s->rights & CV_RIGHT_WRITE) != 0;
	struct cv_str name;

	s->rights_changed = false;
	for (size_t i = 0; (name = cv_mailbox_keyword(mailbox, i)).ptr != NULL; i++)
		*cv_vec_push(&keywords) = name;
	s->keywords_told = keywords.count;
	cv_buf_append_c(out, "* FLAGS (");
	cv_imap_append_flags(out, CV_FLAG_ALL, false, keywords.data, keywords.count);
	cv_buf_append_c(out, ")\r\n* OK [PERMANENTFLAGS (");
	if (!cv_view_readonly(s->view)) {
		cv_imap_append_flags(out, cv_rights_flags(s->rights), false, keywords.data, write ? keywords.count : 0);
		/* RFC 3501 section 7.1: "\*, which indicates that it is possible to create new keywords". */
		if (write && !cv_mailbox_keywords_full(mailbox))
			cv_buf_append_c(out, " \\*");
	}
	cv_buf_append_c(out, ")] ");
	imap_end_line(s, out, cv_view_readonly(s->view) ? "Read-only mailbox" : "Flags permitted");
	cv_vec_free(&keywords);
}

static void write_recent(struct imap_session *s, struct cv_buf *out)
{
	s->recent_told = cv_view_recent(s->view);
	if (s->rev2) /* RFC 9051 appendix E: there is no \Recent any more */
		return;
	cv_buf_printf(out, "* %u RECENT\r\n", s->recent_told);
}

void imap_write_counts(struct imap_session *s, struct cv_buf *out, uint32_t exists)
{
	cv_buf_printf(out, "* %u EXISTS\r\n", exists);
	write_recent(s, out);
}

static void write_event(struct imap_session *s, struct cv_buf *out, const struct cv_view_event *event)
{
	struct cv_row row;
	uint32_t seq;

	switch (event->kind) {
	case CV_EVENT_EXPUNGE:
		imap_contexts_expunge(s, event->seq, event->uid);
		cv_buf_printf(out, "* %u EXPUNGE\r\n", event->seq);
		break;
	case CV_EVENT_EXISTS:
		imap_write_counts(s, out, event->seq);
		break;
	case CV_EVENT_FLAGS:
		/* By its UID: the number in the event is that of its moment. One that was expunged meanwhile needs no flags. */
		seq = cv_view_seq(s->view, event->uid);
		if (seq != 0) {
			(void)cv_view_flags(s->view, seq, &row);
			imap_write_flags(s, out, event->seq, &row, s->notify != NULL || (s->cmd != NULL && s->cmd->pub.uid), true);
		}
		break;
	case CV_EVENT_KEYWORDS:
		imap_write_new_keywords(s, out);
		break;
	case CV_EVENT_NOTES:
		annotate_write_event(s, out, event);
		break;
	case CV_EVENT_GONE:
		break;
	}
}

/* Ranges of one VANISHED response. */
#define VANISHED_RANGES_MAX 1000u

bool imap_write_vanished(struct imap_session *s, const struct cv_ranges *uids, size_t *done, bool earlier)
{
	struct cv_buf *out = cv_stream_out(s->stream);

	while (*done < uids->count) {
		size_t count = CV_MIN(uids->count - *done, (size_t)VANISHED_RANGES_MAX);
		const struct cv_ranges part = { .data = uids->data + *done, .count = count };

		if (cv_stream_room(s->stream) == 0)
			return false;
		cv_buf_append_c(out, earlier ? "* VANISHED (EARLIER) " : "* VANISHED ");
		cv_ranges_append(&part, out);
		cv_buf_append_c(out, "\r\n");
		*done += count;
	}
	return true;
}

/* RFC 7162 section 3.2.10: "the server MUST use the VANISHED response without the EARLIER tag instead of the EXPUNGE response". Those that follow each
   other in the queue become one response. */
static void write_vanished_events(struct imap_session *s)
{
	struct cv_ranges uids = { 0 };
	size_t done = 0;

	while (s->events_done < s->events.count && s->events.data[s->events_done].kind == CV_EVENT_EXPUNGE &&
		uids.count < VANISHED_RANGES_MAX) {
		const struct cv_view_event *event = &s->events.data[s->events_done++];
		uint32_t uid = event->uid, lower = 0;

		/* Its number before all of this response: searches that are kept up to date are told ahead of it. */
		for (size_t i = 0; i < uids.count && uids.data[i].first < uid; i++)
			lower += CV_MIN(uids.data[i].last, uid - 1) - uids.data[i].first + 1;
		imap_contexts_expunge(s, event->seq + lower, uid);
		cv_ranges_add(&uids, uid, uid);
	}
	(void)imap_write_vanished(s, &uids, &done, false);
	cv_ranges_free(&uids);
}

void imap_write_urlmech(struct imap_session *s)
{
	s->urlauth_changed = false;
	imap_tell(s, "OK", "URLMECH " IMAP_URLAUTH_MECHANISM, "Mechanisms");
}

bool imap_write_events(struct imap_session *s)
{
	struct cv_buf *out = cv_stream_out(s->stream);

	/* A FETCH response that was begun has to end first. */
	if (s->in_line && s->push != NULL && !imap_push_fetches(s, &s->fetch_first, false))
		return false;
	while (s->events_done < s->events.count) {
		const struct cv_view_event *event = &s->events.data[s->events_done];

		if (event->kind == CV_EVENT_GONE) {
			/* RFC 2180 section 3.3: a client that has the mailbox selected can't be told otherwise. */
			imap_bye(s, NULL, "Selected mailbox was deleted", "Selected mailbox was deleted");
			return false;
		}
		if (cv_stream_room(s->stream) == 0)
			return false;
		if (event->kind == CV_EVENT_EXPUNGE && (s->qresync || s->uidonly)) {
			write_vanished_events(s);
			continue;
		}
		write_event(s, out, event);
		s->events_done++;
	}
	if (s->urlauth_changed && s->view != NULL) {
		if (cv_stream_room(s->stream) == 0)
			return false;
		imap_write_urlmech(s);
	}
	if (s->rights_changed && s->view != NULL) {
		if (cv_stream_room(s->stream) == 0)
			return false;
		imap_write_mailbox_flags(s, out);
	}
	/* Expunged messages may have been recent ones. */
	if (s->events_done > 0 && cv_view_recent(s->view) != s->recent_told)
		write_recent(s, out);
	/* The events stay until then: IDLE looks for new ones when there are none. */
	if (!imap_contexts_update(s) || !imap_push_fetches(s, &s->fetch_new, true) || !metadata_write_changes(s))
		return false;
	cv_vec_free(&s->events);
	annotate_forget(s);
	s->events_done = 0;
	return true;
}

void imap_enable_condstore(struct imap_session *s)
{
	if (s->condstore)
		return;
	s->condstore = true;
	/* RFC 7162 section 3.1: "A first CONDSTORE enabling command executed in the session with a mailbox selected MUST cause the server to return
	   HIGHESTMODSEQ". */
	if (s->view != NULL)
		imap_tell_number(s, "HIGHESTMODSEQ", CV_MAX(cv_view_highest_modseq(s->view), (uint64_t)1), "Highest");
}

void imap_select(struct imap_session *s, struct cv_view *view)
{
	s->view = view;
	s->rights_changed = false;
	s->urlauth_changed = false;
	s->state = IMAP_STATE_SELECTED;
	if (s->cmd != NULL)
		s->cmd->pub.view = view;
	s->newest_uid = cv_view_count(view) > 0 ? cv_view_uid(view, cv_view_count(view)) : 0;
	imap_notify_attach(s);
}

void imap_unselect(struct imap_session *s)
{
	struct cv_mailbox *mailbox;
	bool behind;

	if (s->view == NULL)
		return;
	imap_contexts_free(s);
	imap_push_free(s);
	cv_ranges_free(&s->untold);
	cv_ranges_free(&s->own);
	cv_ranges_free(&s->fetch_first);
	cv_ranges_free(&s->fetch_new);
	mailbox = cv_view_mailbox(s->view);
	behind = cv_view_pending(s->view) && s->state == IMAP_STATE_SELECTED;
	cv_view_set_notify(s->view, NULL, NULL);
	cv_view_close(&s->view);
	if (behind)
		imap_notify_left(s, cv_mailbox_name(mailbox));
	cv_mailbox_unref(&mailbox);
	cv_vec_free(&s->events);
	annotate_forget(s);
	s->annotate = s->examined = false;
	s->events_done = 0;
	cv_ranges_free(&s->saved);
	imap_batches_forget(s);
	s->modseq_held = false;
	if (s->state == IMAP_STATE_SELECTED)
		s->state = IMAP_STATE_AUTHENTICATED;
	if (s->cmd != NULL)
		s->cmd->pub.view = NULL;
}
