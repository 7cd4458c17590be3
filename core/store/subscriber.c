/* SPDX-License-Identifier: MIT
   What a record changed, as modules see it; the committed hook. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

#include <culver/hooks.h>
#include <culver/reader.h>

/* Changes that are told in one call; a longer transaction is told in several. */
#define CHANGES_AT_ONCE 1024u

struct telling {
	struct cv_user *user;
	struct cv_change *changes, scratch;
	size_t count;
	uint64_t skip; /* changes that were told already */
	cv_changes_fn *fn;
	void *ctx;
	int result;    /* of fn: 1 while it takes more */
};

static void tell_now(struct telling *t)
{
	if (t->count > 0 && t->result > 0)
		t->result = t->fn(t->ctx, t->changes, t->count);
	t->count = 0;
}

/* The next one to be filled in. */
static struct cv_change *next_change(struct telling *t)
{
	if (t->skip > 0) {
		t->skip--;
		t->scratch = (struct cv_change){ 0 };
		return &t->scratch;
	}
	if (t->count == CHANGES_AT_ONCE)
		tell_now(t);
	t->changes[t->count] = (struct cv_change){ 0 };
	return &t->changes[t->count++];
}

static struct cv_str name_of(const struct cv_user *user, const struct cv_guid *guid)
{
	const struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, guid);

	return mailbox != NULL ? cv_mailbox_name(mailbox) : (struct cv_str){ 0 };
}

static enum cv_change_kind kind_of(enum cv_entry_kind kind)
{
	switch (kind) {
	case CV_ENTRY_CREATE:
		return CV_CHANGE_CREATE;
	case CV_ENTRY_RENAME:
		return CV_CHANGE_RENAME;
	case CV_ENTRY_DELETE:
		return CV_CHANGE_DELETE;
	case CV_ENTRY_SUBSCRIBE:
		return CV_CHANGE_SUBSCRIBE;
	case CV_ENTRY_ANNOTATE:
		return CV_CHANGE_ANNOTATE;
	case CV_ENTRY_APPEND:
		return CV_CHANGE_APPEND;
	case CV_ENTRY_FLAGS:
		return CV_CHANGE_FLAGS;
	case CV_ENTRY_EXPUNGE:
		return CV_CHANGE_EXPUNGE;
	case CV_ENTRY_COPY:
		return CV_CHANGE_COPY;
	case CV_ENTRY_NOTE:
		return CV_CHANGE_NOTE;
	case CV_ENTRY_RECENT:
	case CV_ENTRY_UIDNEXT:
	case CV_ENTRY_REF:
	case CV_ENTRY_UIDL:
	case CV_ENTRY_OCTETS:
	case CV_ENTRY_SETTLED:
		break; /* of no interest outside the store */
	}
	return (enum cv_change_kind)0;
}

/* One change for each message and annotation. */
static void tell_notes(struct telling *t, const struct cv_entry *entry, const struct cv_group *group, uint32_t uid, struct cv_str name, uint64_t modseq)
{
	struct cv_reader reader = cv_reader_init(group->changes);
	struct cv_note_item item;

	while (t->result > 0 && cv_note_item_next(&reader, &item)) {
		struct cv_change *change = next_change(t);

		change->kind = CV_CHANGE_NOTE;
		change->modseq = modseq;
		memcpy(change->mailbox_guid, entry->mailbox.b, sizeof(change->mailbox_guid));
		change->name = name;
		change->uid = uid;
		change->note = item.entry;
		change->note_value = item.value;
		change->note_private = item.owner.ptr != NULL;
	}
}

/* FLAGS, EXPUNGE and NOTE: one change for each message. */
static int tell_groups(struct telling *t, const struct cv_entry *entry, uint64_t modseq)
{
	struct cv_reader groups = cv_reader_init(entry->groups);
	struct cv_str name = name_of(t->user, &entry->mailbox);
	struct cv_group group;
	struct cv_range range;
	int more;

	while ((more = cv_group_next(&groups, entry->kind, &group)) > 0) {
		while ((more = cv_range_next(&group, &range)) > 0) {
			for (uint64_t uid = range.first; uid <= range.last && t->result > 0; uid++) {
				struct cv_change *change;

				if (entry->kind == CV_ENTRY_NOTE) {
					tell_notes(t, entry, &group, (uint32_t)uid, name, modseq);
					continue;
				}
				change = next_change(t);
				change->kind = kind_of(entry->kind);
				change->modseq = modseq;
				memcpy(change->mailbox_guid, entry->mailbox.b, sizeof(change->mailbox_guid));
				change->name = name;
				change->uid = (uint32_t)uid;
				change->old_flags = group.flags_before;
				change->flags = entry->kind == CV_ENTRY_FLAGS ? group.flags_after : group.flags_before;
			}
		}
		if (more < 0)
			return -1;
	}
	return more;
}

static int tell_entry(struct telling *t, const struct cv_entry *entry, uint64_t modseq)
{
	struct cv_change *change;

	if (entry->kind == CV_ENTRY_FLAGS || entry->kind == CV_ENTRY_EXPUNGE || entry->kind == CV_ENTRY_NOTE)
		return tell_groups(t, entry, modseq);
	if (kind_of(entry->kind) == 0)
		return 0;
	change = next_change(t);
	change->kind = kind_of(entry->kind);
	change->modseq = modseq;
	memcpy(change->mailbox_guid, entry->mailbox.b, sizeof(change->mailbox_guid));
	if (cv_entry_is_tree(entry->kind)) {
		change->name = entry->name;
		change->new_name = entry->kind == CV_ENTRY_SUBSCRIBE ? cv_str_c(entry->on ? "1" : "0") : entry->new_name;
		return 0;
	}
	change->name = name_of(t->user, &entry->mailbox);
	change->uid = entry->message.uid;
	change->flags = entry->message.flags;
	change->size = entry->message.virtual_size;
	memcpy(change->guid, entry->message.guid.b, sizeof(change->guid));
	return 0;
}

bool cv_hook_wanted(const struct cv_registry *reg, const char *wanted)
{
	const char *hook, *handler;
	enum cv_hook_stage stage;

	for (size_t pos = 0; reg != NULL && cv_hook_next(reg, &pos, &hook, &handler, &stage);) {
		if (strcmp(hook, wanted) == 0)
			return true;
	}
	return false;
}

int cv_changes_tell(struct cv_user *user, const struct cv_record_head *head, struct cv_str entries, uint64_t skip, cv_changes_fn *fn, void *ctx)
{
	struct telling t = { .user = user, .skip = skip, .fn = fn, .ctx = ctx, .result = 1 };
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;

	t.changes = cv_calloc(CHANGES_AT_ONCE, sizeof(*t.changes));
	while (t.result > 0 && cv_entry_next(&reader, &entry) > 0 && tell_entry(&t, &entry, head->seq) == 0)
		;
	tell_now(&t);
	cv_free(t.changes);
	return t.result;
}

static int tell_committed(void *ctx, const struct cv_change *changes, size_t count)
{
	struct cv_user *user = ctx;
	struct cv_hook_committed args = { .user = user, .changes = changes, .count = count };
	struct cv_err err = { 0 };

	/* NOTIFY: a handler's failure is logged by the dispatcher and stops nobody. */
	(void)cv_hook_run_committed(user->registry, &args, &err);
	return 1;
}

void cv_subscribers_committed(struct cv_user *user, const struct cv_txn *txn)
{
	struct cv_record_head head;
	struct cv_str entries;
	struct cv_err err = { 0 };
	struct cv_buf buf;

	if (!user->committed_hook)
		return;
	cv_buf_init(&buf, CV_RECORD_MAX);
	if (cv_journal_read(&user->journal, txn->pos, &buf, &head, &entries, &err) < 0 ||
		cv_changes_tell(user, &head, entries, 0, tell_committed, user) < 0)
		cv_error(&user->log_ctx, "modules are not told of a change: %s", err.text);
	cv_buf_deinit(&buf);
}
