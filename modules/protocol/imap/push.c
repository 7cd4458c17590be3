/* SPDX-License-Identifier: MIT
   FETCH responses for new messages that nobody asked for at that moment: the attributes that NOTIFY (RFC 5465 section 5.2) and UPDATE (section 7) named. */
#include <config.h>

#include "push.h"

#include "context.h"
#include "notify.h"

struct imap_push {
	struct fetch fetch;
	struct cv_ranges none; /* messages whose \Seen was set: it never is */
};

void imap_push_free(struct imap_session *s)
{
	struct imap_push *push = s->push;

	s->push = NULL;
	if (push == NULL)
		return;
	fetch_message_close(&push->fetch);
	cv_buf_deinit(&push->fetch.text);
	cv_arena_free(&push->fetch.arena);
	cv_free(push);
}

static struct imap_push *push_of(struct imap_session *s)
{
	struct imap_push *push = s->push;

	if (push != NULL)
		return push;
	push = cv_new0(struct imap_push);
	push->fetch.s = s;
	push->fetch.arena = cv_arena_new("new message being told", NULL, 0);
	push->fetch.newly_seen = &push->none;
	cv_buf_init(&push->fetch.text, FETCH_TEXT_MAX);
	s->push = push;
	return push;
}

static bool is_same(const struct cv_imap_section *a, const struct cv_imap_section *b)
{
	return a->kind == b->kind && cv_str_caseeq(a->label, b->label) && a->partial == b->partial && a->offset == b->offset && a->length == b->length;
}

void imap_fetch_merge(struct cv_arena *arena, struct cv_imap_fetch *all, const struct cv_imap_fetch *more)
{
	struct cv_imap_section *sections = cv_new(arena, struct cv_imap_section, all->section_count + more->section_count + 1);
	size_t count = all->section_count;

	if (count > 0)
		memcpy(sections, all->sections, count * sizeof(*sections));
	for (size_t i = 0; i < more->section_count; i++) {
		size_t j = 0;

		while (j < all->section_count && !is_same(&sections[j], &more->sections[i]))
			j++;
		if (j == all->section_count)
			sections[count++] = more->sections[i];
	}
	if (more->note_count > 0) {
		struct cv_imap_note_fetch *notes = cv_new(arena, struct cv_imap_note_fetch, all->note_count + more->note_count);

		if (all->note_count > 0)
			memcpy(notes, all->notes, all->note_count * sizeof(*notes));
		memcpy(notes + all->note_count, more->notes, more->note_count * sizeof(*notes));
		all->notes = notes;
		all->note_count += more->note_count;
	}
	all->items |= more->items;
	all->sections = sections;
	all->section_count = count;
}

/* "These attributes SHOULD be combined into a single FETCH response. The server SHOULD avoid sending duplicate data." */
static void gather(struct imap_session *s, struct fetch *fetch, uint32_t uid, bool notify)
{
	fetch->what = (struct cv_imap_fetch){ 0 };
	if (notify && s->notify != NULL && s->notify->fetch)
		imap_fetch_merge(fetch->arena, &fetch->what, &s->notify->what);
	imap_contexts_take_fetch(s, fetch->arena, uid, &fetch->what);
	/* RFC 9051 appendix E: "All unsolicited FETCH updates are required to include UID." */
	if (!s->uidonly && (s->rev2 || s->condstore))
		fetch->what.items |= CV_IMAP_FETCH_UID;
}

/* Begin the response for a message. False: there is none. */
static bool begin(struct imap_session *s, struct fetch *fetch, uint32_t uid, bool notify)
{
	struct cv_err err = { 0 };
	int result;

	gather(s, fetch, uid, notify);
	fetch->view = s->view;
	fetch->seq = cv_view_seq(s->view, uid);
	if ((fetch->what.items == 0 && fetch->what.section_count == 0 && fetch->what.note_count == 0) || fetch->seq == 0 || !cv_view_row(s->view, fetch->seq, &fetch->row))
		return false;
	result = fetch_message_open(fetch, true, &err);
	if (result > 0)
		return true;
	if (result < 0 && err.code != CV_ERR_EXPUNGED && !err.public_text)
		cv_error(s->log, "new message %u: %s", uid, err.text);
	return false;
}

bool imap_push_fetches(struct imap_session *s, struct cv_ranges *uids, bool notify)
{
	struct fetch *fetch;
	int written;

	if (uids->count == 0 && (s->push == NULL || !s->push->fetch.open))
		return true;
	fetch = &push_of(s)->fetch;
	while (fetch->open || uids->count > 0) {
		if (cv_stream_room(s->stream) == 0)
			return false;
		if (!fetch->open) {
			uint32_t uid = uids->data[0].first;

			cv_ranges_remove(uids, uid, uid);
			if (!begin(s, fetch, uid, notify)) {
				fetch_message_close(fetch);
				continue;
			}
		}
		written = fetch_message_write(fetch);
		if (written < 0 || s->state == IMAP_STATE_LOGOUT)
			return false;
		if (written > 0)
			fetch_message_close(fetch);
		else if (cv_stream_room(s->stream) > 0) {
			cv_session_want_step(s->session);
			return false;
		}
	}
	imap_push_free(s);
	return true;
}
