/* SPDX-License-Identifier: MIT
   What NOTIFY asked for is told as it happens (RFC 5465). The mail library says which mailbox changed; a note of that is kept until it can be written, one for
   each mailbox, so that a client that does not read costs no more than its mailboxes. */
#include <config.h>

#include "notify.h"

#include "metadata.h"
#include "status.h"

#include <culver/time.h>

/* ---- notes ------------------------------------------------------------------------------------------- */

static char *copy_name(struct cv_str name)
{
	char *copy = cv_malloc(name.len + 1);

	memcpy(copy, name.ptr, name.len);
	copy[name.len] = '\0';
	return copy;
}

static void free_note(struct imap_note *note)
{
	cv_free(note->name);
	cv_free(note->old_name);
	*note = (struct imap_note){ 0 };
}

static void free_notes(struct imap_notify *n)
{
	for (size_t i = 0; i < n->notes.count; i++)
		free_note(&n->notes.data[i]);
	cv_vec_free(&n->notes);
	n->notes_done = 0;
	cv_map_free(&n->note_by_name);
	n->note_by_name = cv_map_new();
}

static void wake(struct imap_notify *n)
{
	struct imap_session *s = n->s;

	n->due = true;
	if (s->cmd == NULL || s->cmd->phase == IMAP_PHASE_LITERAL)
		cv_session_want_step(s->session);
	else if (s->cmd->pub.command == &imap_cmd_idle)
		imap_resume(&s->cmd->pub);
	/* Else when the command is done. */
}

static struct imap_note *push_note(struct imap_notify *n, struct cv_str name)
{
	struct imap_note *note;

	if (n->notes.count - n->notes_done >= IMAP_NOTES_MAX) {
		n->overflow = true;
		wake(n);
		return NULL;
	}
	note = cv_vec_push(&n->notes);
	note->name = copy_name(name);
	wake(n);
	return note;
}

/* The note of a name that is not written yet, a new one if there is none. NULL: there are too many. */
static struct imap_note *note_of(struct imap_notify *n, struct cv_str name)
{
	size_t at = (size_t)(uintptr_t)cv_map_get(n->note_by_name, name);
	struct imap_note *note;

	if (at > 0)
		return &n->notes.data[at - 1];
	note = push_note(n, name);
	if (note != NULL)
		cv_map_set(n->note_by_name, name, (void *)(uintptr_t)n->notes.count);
	return note;
}

static void note_list(struct imap_notify *n, struct cv_str name)
{
	struct imap_note *note = note_of(n, name);

	if (note != NULL)
		note->list = true;
}

static void note_status(struct imap_notify *n, struct cv_str name, unsigned messages)
{
	struct imap_note *note = note_of(n, name);

	if (note != NULL)
		note->messages |= messages;
}

/* ---- what is wanted ---------------------------------------------------------------------------------- */

static bool is_in_subtree(const struct imap_notify_group *group, struct cv_str name)
{
	for (size_t i = 1; i <= name.len; i++) {
		if ((i == name.len || name.ptr[i] == '/') && cv_map_get(group->names, cv_str_sub(name, 0, i)) != NULL)
			return true;
	}
	return false;
}

unsigned imap_notify_events(const struct imap_notify *notify, struct cv_str name, bool subscribed)
{
	unsigned events = 0;

	for (size_t i = 0; i < notify->groups.count; i++) {
		const struct imap_notify_group *group = &notify->groups.data[i];

		switch (group->filter) {
		case IMAP_NOTIFY_PERSONAL:
			events |= group->events;
			break;
		case IMAP_NOTIFY_SUBSCRIBED:
			events |= subscribed ? group->events : 0;
			break;
		case IMAP_NOTIFY_SUBTREE:
			events |= is_in_subtree(group, name) ? group->events : 0;
			break;
		case IMAP_NOTIFY_MAILBOXES:
			events |= cv_map_get(group->names, name) != NULL ? group->events : 0;
			break;
		}
	}
	return events;
}

static bool is_selected(const struct imap_session *s, struct cv_str name)
{
	return s->view != NULL && cv_str_eq(cv_mailbox_name(cv_view_mailbox(s->view)), name);
}

/* RFC 5465 section 5.4: "If a mailbox is created or deleted, the mailbox itself and its direct parent … are considered to be affected." */
static void note_tree_change(struct imap_notify *n, const struct cv_mail_event *event)
{
	size_t end = event->name.len;

	if ((imap_notify_events(n, event->name, event->subscribed) & IMAP_NOTIFY_NAME) != 0)
		note_list(n, event->name);
	while (end > 0 && event->name.ptr[end - 1] != '/')
		end--;
	if (end > 1) {
		struct cv_str parent = cv_str_sub(event->name, 0, end - 1);

		if ((imap_notify_events(n, parent, event->parent_subscribed) & IMAP_NOTIFY_NAME) != 0)
			note_list(n, parent);
	}
}

/* The names of notes that wait follow. */
static void move_notes(struct imap_notify *n, const struct cv_mail_event *event)
{
	cv_map_free(&n->note_by_name);
	n->note_by_name = cv_map_new();
	for (size_t i = n->notes_done; i < n->notes.count; i++) {
		struct imap_note *note = &n->notes.data[i];
		struct cv_str name = cv_str_c(note->name), rest = cv_str_sub(name, event->name.len, SIZE_MAX);
		char *moved;

		if (note->messages == 0 || !cv_str_starts(name, event->name) || (rest.len > 0 && rest.ptr[0] != '/'))
			continue;
		moved = cv_malloc(event->new_name.len + rest.len + 1);
		memcpy(moved, event->new_name.ptr, event->new_name.len);
		memcpy(moved + event->new_name.len, rest.ptr, rest.len);
		moved[event->new_name.len + rest.len] = '\0';
		if (note->list) { /* that is told by the old name */
			unsigned messages = note->messages;

			note->messages = 0;
			note_status(n, cv_str_c(moved), messages);
			cv_free(moved);
			continue;
		}
		cv_free(note->name);
		note->name = moved;
	}
}

static void note_rename(struct imap_notify *n, const struct cv_mail_event *event)
{
	size_t at = (size_t)(uintptr_t)cv_map_get(n->note_by_name, event->new_name);
	bool inbox = cv_str_eq_c(event->name, "INBOX");
	struct imap_note *note;
	unsigned wanted = imap_notify_events(n, event->name, event->subscribed) | imap_notify_events(n, event->new_name, event->subscribed);

	/* INBOX stays, and its messages go to a mailbox that was made just now: that is told as the rename that it is. */
	if (inbox && at > 0)
		n->notes.data[at - 1].list = false;
	if (!inbox)
		move_notes(n, event);
	if ((wanted & IMAP_NOTIFY_NAME) == 0 || (n->s->acting && n->s->cmd != NULL))
		return;
	/* On its own, in the order of renames; what comes later to these names is told later. */
	note = push_note(n, event->new_name);
	if (note == NULL)
		return;
	note->list = true;
	note->old_name = copy_name(event->name);
	cv_map_remove(n->note_by_name, event->name);
	cv_map_remove(n->note_by_name, event->new_name);
}

static void note_messages(struct imap_notify *n, const struct cv_mail_event *event)
{
	unsigned wanted = imap_notify_events(n, event->name, event->subscribed), messages = 0;

	/* "The server SHOULD omit notifying the client if the event is caused by this client." */
	if (n->s->cmd != NULL && event->txn != 0 && event->txn == n->s->cmd->commit_id)
		return;
	if (n->s->acting && n->s->cmd != NULL && n->s->cmd->pub.command == &imap_cmd_rename)
		return;
	/* Section 6: "Only 'SELECTED' and 'SELECTED-DELAYED' match the currently selected mailbox." */
	if (is_selected(n->s, event->name))
		return;
	messages |= (event->kinds & CV_MAIL_NEW) != 0 ? wanted & IMAP_NOTIFY_NEW : 0;
	messages |= (event->kinds & CV_MAIL_EXPUNGED) != 0 ? wanted & IMAP_NOTIFY_EXPUNGE : 0;
	messages |= (event->kinds & CV_MAIL_FLAGS) != 0 ? wanted & IMAP_NOTIFY_FLAGS : 0;
	/* Section 5.1: without CONDSTORE there is nothing in a STATUS response that would tell of it. */
	if (n->s->condstore)
		messages |= (event->kinds & CV_MAIL_NOTES) != 0 ? wanted & IMAP_NOTIFY_ANNOTATIONS : 0;
	/* With new messages and without some, the number of unseen ones changes. */
	if (messages != 0)
		note_status(n, event->name, messages | (wanted & IMAP_NOTIFY_FLAGS));
}

/* RFC 5465 section 5.4: "granting or revocation of the 'l' right to the current user on the affected mailbox MUST be considered mailbox creation or deletion". Who
   keeps lists of rights keeps them in annotations that no client sees. */
static void on_rights(void *ctx, const struct cv_annotation_change *change)
{
	struct imap_notify *n = ctx;
	struct imap_note *note;
	struct cv_str name;

	if (n->overflow || change->mailbox == NULL || cv_annotation_is_public(change->name))
		return;
	name = cv_mailbox_name(change->mailbox);
	if (imap_notify_events(n, name, true) == 0)
		return;
	note = note_of(n, name);
	if (note == NULL)
		return;
	note->rights = true;
	note->tell_rights |= !n->s->acting;
}

void imap_notify_hide(struct imap_notify *notify, struct cv_str name, bool hidden)
{
	if (hidden)
		cv_map_set(notify->hidden, name, notify);
	else
		cv_map_remove(notify->hidden, name);
}

static void on_event(void *ctx, const struct cv_mail_event *event)
{
	struct imap_notify *n = ctx;
	bool own = n->s->acting;

	if (n->overflow)
		return;
	if ((event->kinds & (CV_MAIL_NEW | CV_MAIL_EXPUNGED | CV_MAIL_FLAGS | CV_MAIL_NOTES)) != 0)
		note_messages(n, event);
	if ((event->kinds & CV_MAIL_RENAMED) != 0)
		note_rename(n, event);
	if ((event->kinds & (CV_MAIL_CREATED | CV_MAIL_DELETED)) != 0 && !own)
		note_tree_change(n, event);
	/* Section 5.1: "the server MUST notify the client about mailbox UIDVALIDITY changes": a mailbox that has this name again has another one. */
	if ((event->kinds & CV_MAIL_CREATED) != 0 && !own && (imap_notify_events(n, event->name, event->subscribed) & (IMAP_NOTIFY_FLAGS | IMAP_NOTIFY_ANNOTATIONS)) != 0)
		note_status(n, event->name, IMAP_NOTIFY_MESSAGES);
	/* Who asks for changes of what is subscribed hears also that something is so no longer. */
	if ((event->kinds & CV_MAIL_SUBSCRIPTION) != 0 && !own &&
		(imap_notify_events(n, event->name, true) & IMAP_NOTIFY_SUBSCRIPTION) != 0)
		note_list(n, event->name);
}

/* ---- settings ---------------------------------------------------------------------------------------- */

struct imap_notify *imap_notify_new(struct imap_session *s)
{
	struct imap_notify *n = cv_new0(struct imap_notify);

	n->s = s;
	n->arena = cv_arena_new("notify", NULL, 0);
	n->note_by_name = cv_map_new();
	n->hidden = cv_map_new();
	n->watch.fn = on_event;
	n->watch.ctx = n;
	return n;
}

static void free_groups(struct imap_notify *n)
{
	cv_mail_watch_stop(&n->watch);
	cv_annotations_unwatch(&n->rights_watch);
	for (size_t i = 0; i < n->groups.count; i++)
		cv_map_free(&n->groups.data[i].names);
	cv_vec_free(&n->groups);
}

void imap_notify_free(struct imap_notify **notify)
{
	struct imap_notify *n = *notify;

	*notify = NULL;
	if (n == NULL)
		return;
	free_groups(n);
	free_notes(n);
	cv_map_free(&n->note_by_name);
	cv_map_free(&n->hidden);
	cv_arena_free(&n->arena);
	cv_free(n);
}

void imap_notify_start(struct imap_session *s, struct imap_notify **notify)
{
	imap_notify_free(&s->notify);
	s->notify = *notify;
	*notify = NULL;
	if (s->notify->groups.count > 0) {
		cv_mail_watch_start(s->user, &s->notify->watch);
		s->notify->rights_watch = cv_annotations_watch(s->user, on_rights, s->notify);
	}
	for (size_t i = 0; i < s->notify->groups.count; i++)
		s->notify->metadata |= s->notify->groups.data[i].events & IMAP_NOTIFY_METADATA;
	if (s->notify->metadata != 0)
		metadata_watch(s);
	imap_notify_attach(s);
}

static void on_view_change(void *ctx)
{
	struct imap_session *s = ctx;

	wake(s->notify);
}

void imap_notify_attach(struct imap_session *s)
{
	if (s->view == NULL)
		return;
	if (s->notify != NULL && s->notify->selected != IMAP_NOTIFY_NOTHING)
		cv_view_set_notify(s->view, on_view_change, s);
	else
		cv_view_set_notify(s->view, NULL, NULL);
}

void imap_notify_left(struct imap_session *s, struct cv_str name)
{
	struct cv_mailbox_info info = { 0 };
	unsigned wanted;

	if (s->notify == NULL || s->notify->groups.count == 0 || cv_mailbox_lookup(s->user, name, &info) == 0)
		return;
	wanted = imap_notify_events(s->notify, name, info.subscribed) & IMAP_NOTIFY_MESSAGES;
	if (wanted != 0)
		note_status(s->notify, name, wanted);
}

/* ---- telling ----------------------------------------------------------------------------------------- */

static void write_status(struct imap_session *s, const struct imap_note *note)
{
	struct status_items items = { 0 };
	struct cv_str name = cv_str_c(note->name);
	struct cv_err err = { 0 };
	struct cv_buf line;

	if (is_selected(s, name))
		return;
	imap_notify_items(s, note->messages, false, &items);
	cv_buf_init(&line, (size_t)64 * 1024);
	/* One that is gone meanwhile, or may no longer be read, has no status. */
	if (status_write(s, &line, name, &items, &err) >= 0)
		cv_buf_append(cv_stream_out(s->stream), cv_buf_str(&line));
	else if (err.code != CV_ERR_NOTFOUND && err.code != CV_ERR_PERM)
		cv_error(s->log, "status of mailbox %s: %s", cv_log_clean(name), err.text);
	cv_buf_deinit(&line);
}

/* RFC 5465 section 5.8: "an untagged "OK [NOTIFICATIONOVERFLOW]" response and behave as if a NOTIFY NONE command had just been received." */
static void give_up(struct imap_session *s)
{
	struct imap_notify *n = s->notify;

	imap_tell(s, "OK", "NOTIFICATIONOVERFLOW", "Too many changes: notifications end");
	free_groups(n);
	free_notes(n);
	n->selected = IMAP_NOTIFY_NOTHING;
	n->fetch = false;
	n->metadata = 0;
	n->overflow = false;
	imap_notify_attach(s);
}

/* Can the client see it now, and could it before? */
static void write_rights(struct imap_session *s, const struct imap_note *note)
{
	struct imap_notify *n = s->notify;
	struct cv_str name = cv_str_c(note->name);
	bool was = cv_map_get(n->hidden, name) != NULL, is;
	struct cv_mailbox_info info;

	if (cv_mailbox_lookup(s->user, name, &info) == 0 || !info.exists)
		return;
	is = !cv_mailbox_visible(s->user, &info);
	imap_notify_hide(n, name, is);
	if (is == was || !note->tell_rights)
		return;
	if (is)
		imap_write_no_access(s, cv_stream_out(s->stream), name, true);
	else
		imap_write_list_event(s, cv_stream_out(s->stream), name, (struct cv_str){ 0 });
}

static void write_note(struct imap_session *s, const struct imap_note *note)
{
	struct cv_str name = cv_str_c(note->name);
	struct cv_mailbox_info info;

	if (note->list) {
		imap_write_list_event(s, cv_stream_out(s->stream), name, cv_str_c(note->old_name));
		imap_notify_hide(s->notify, name, cv_mailbox_lookup(s->user, name, &info) > 0 && info.exists && !cv_mailbox_visible(s->user, &info));
	} else if (note->rights) {
		write_rights(s, note);
	}
	if (note->messages != 0)
		write_status(s, note);
}

bool imap_notify_write(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	uint64_t start = cv_time_mono_us();

	if (n == NULL)
		return true;
	if (n->overflow)
		give_up(s);
	while (n->notes_done < n->notes.count) {
		struct imap_note note;

		if (cv_stream_room(s->stream) == 0)
			return false;
		if (cv_time_mono_us() - start > IMAP_SLICE_US) {
			cv_session_want_step(s->session);
			return false;
		}
		/* Nothing comes to a note any more that is being written; to look at a mailbox may bring new ones. */
		note = n->notes.data[n->notes_done];
		n->notes.data[n->notes_done++] = (struct imap_note){ 0 };
		if ((size_t)(uintptr_t)cv_map_get(n->note_by_name, cv_str_c(note.name)) == n->notes_done)
			cv_map_remove(n->note_by_name, cv_str_c(note.name));
		write_note(s, &note);
		free_note(&note);
		if (n->overflow)
			give_up(s);
	}
	if (n->notes.count > 0)
		free_notes(n);
	if (!metadata_write_changes(s))
		return false;
	n->due = false;
	return true;
}

void imap_notify_metadata(struct imap_session *s, bool many)
{
	s->notify->overflow |= many;
	wake(s->notify);
}

bool imap_notify_due(const struct imap_session *s)
{
	return s->notify != NULL && s->notify->due;
}

/* RFC 7162 section 3.2: "if the server sends MODSEQ FETCH data items while EXPUNGE (or VANISHED) replies with lower mod-sequences being delayed, the server MUST
   send the HIGHESTMODSEQ response code with a lower value than the EXPUNGE's mod-sequence". No tagged reply is near that could have it. */
static void tell_modseq(struct imap_session *s)
{
	if (s->view == NULL || !s->condstore || !cv_view_expunges_pending(s->view))
		return;
	s->modseq_held = true;
	imap_tell_number(s, "HIGHESTMODSEQ", imap_highest_modseq(s), "Highest");
}

bool imap_notify_push(struct imap_session *s)
{
	struct imap_notify *n = s->notify;

	if (n->selected != IMAP_NOTIFY_NOTHING && s->events.count == 0 && !s->in_line)
		imap_sync(s, n->selected == IMAP_NOTIFY_AT_ONCE, 0);
	n->pushed |= s->events.count > 0;
	if (!imap_write_events(s))
		return false;
	if (n->pushed)
		tell_modseq(s);
	n->pushed = false;
	return imap_notify_write(s);
}
