/* SPDX-License-Identifier: MIT
   What a journal record does to memory: the one code for a change that is made and for one that is replayed. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

#include <string.h>

static int makes_no_sense(struct cv_err *err, const struct cv_record_head *head)
{
	return cv_err_set(err, CV_ERR_CORRUPT, "journal record %llu checks but makes no sense", (unsigned long long)head->seq);
}

/* ---- counts ---------------------------------------------------------------------------------------------- */

static void unseen_gone(struct cv_mailbox *mailbox, uint32_t first, uint32_t last)
{
	struct cv_counts *counts = &mailbox->counts;

	if (counts->first_unseen >= first && counts->first_unseen <= last)
		counts->first_unseen = CV_UNKNOWN_UID;
}

static void unseen_new(struct cv_mailbox *mailbox, uint32_t uid)
{
	struct cv_counts *counts = &mailbox->counts;

	if (counts->unseen == 0 || (counts->first_unseen != CV_UNKNOWN_UID && uid < counts->first_unseen))
		counts->first_unseen = uid;
}

static void count_append(struct cv_mailbox *mailbox, const struct cv_entry_message *m)
{
	struct cv_counts *counts = &mailbox->counts;

	if ((m->flags & CV_FLAG_SEEN) == 0) {
		unseen_new(mailbox, m->uid);
		counts->unseen++;
	}
	counts->messages++;
	mailbox->user->usage.messages++;
	mailbox->user->usage.size += m->virtual_size;
	counts->deleted += (m->flags & CV_FLAG_DELETED) != 0;
	counts->recent += m->uid >= mailbox->first_recent;
	counts->size += m->virtual_size;
	if (m->uid >= mailbox->uidnext)
		mailbox->uidnext = m->uid + 1;
	if (mailbox->uid_reserved < mailbox->uidnext)
		mailbox->uid_reserved = mailbox->uidnext;
}

/* One group of a FLAGS or EXPUNGE. */
static int count_group(struct cv_mailbox *mailbox, enum cv_entry_kind kind, struct cv_group group)
{
	struct cv_counts *counts = &mailbox->counts;
	bool gone = kind == CV_ENTRY_EXPUNGE;
	bool was_unseen = (group.flags_before & CV_FLAG_SEEN) == 0, was_deleted = (group.flags_before & CV_FLAG_DELETED) != 0;
	bool unseen = !gone && (group.flags_after & CV_FLAG_SEEN) == 0, deleted = !gone && (group.flags_after & CV_FLAG_DELETED) != 0;
	struct cv_range range = { 0 };
	uint64_t octets = gone ? CV_MIN(group.size, counts->size) : 0;
	uint32_t messages = counts->messages;
	int more;

	while ((more = cv_range_next(&group, &range)) > 0) {
		uint32_t n = range.last - range.first + 1;

		if (was_unseen && !unseen) {
			unseen_gone(mailbox, range.first, range.last);
			counts->unseen -= CV_MIN(n, counts->unseen);
		} else if (!was_unseen && unseen) {
			unseen_new(mailbox, range.first);
			counts->unseen += n;
		}
		if (was_deleted && !deleted)
			counts->deleted -= CV_MIN(n, counts->deleted);
		else if (!was_deleted && deleted)
			counts->deleted += n;
		if (gone) {
			counts->messages -= CV_MIN(n, counts->messages);
			if (range.last >= mailbox->first_recent)
				counts->recent -= CV_MIN(range.last - CV_MAX(range.first, mailbox->first_recent) + 1, counts->recent);
		}
	}
	counts->size -= octets;
	mailbox->user->usage.size -= octets;
	mailbox->user->usage.messages -= messages - counts->messages;
	if (counts->unseen == 0)
		counts->first_unseen = 0;
	return more;
}

static int count_groups(struct cv_mailbox *mailbox, const struct cv_entry *entry)
{
	struct cv_reader reader = cv_reader_init(entry->groups);
	struct cv_group group;
	int more;

	while ((more = cv_group_next(&reader, entry->kind, &group)) > 0) {
		if (count_group(mailbox, entry->kind, group) < 0)
			return -1;
	}
	return more;
}

/* Annotations of messages, behind an entry that may have changed them. Records do not say how many octets there were: the columns do. */
static void count_notes(struct cv_mailbox *mailbox, enum cv_entry_kind kind, bool has_rows)
{
	struct cv_counts *counts = &mailbox->counts;

	if (has_rows) {
		cv_notes_count(mailbox);
	} else if (kind == CV_ENTRY_NOTE || counts->notes > 0) {
		counts->notes_unknown = true;
		mailbox->user->notes_known = false;
	}
}

/* ---- rows ------------------------------------------------------------------------------------------------ */

/* A message that was taken for gone is there again. */
static void revive(struct cv_columns *columns, uint32_t row, const struct cv_new_row *new)
{
	cv_set_flags(columns, row, new->flags);
	cv_set_zone(columns, row, new->zone);
	cv_set_keyword_set(columns, row, new->keyword_set);
	cv_columns_set_modseq(columns, row, new->modseq);
	cv_set_date(columns, row, new->date);
	cv_set_saved(columns, row, new->saved);
	cv_set_virtual_size(columns, row, new->virtual_size);
	cv_set_physical_size(columns, row, new->physical_size);
	cv_set_guid(columns, row, new->guid);
	cv_set_cache(columns, row, new->cache);
	cv_set_sum(columns, row, new->sum);
	cv_columns_set_names(columns, row, new->ref, new->uidl);
	cv_memos_free(&columns->memos); /* whatever it was before */
	columns->dead--;
	cv_columns_unknown(columns);
}

static void add_row(struct cv_mailbox *mailbox, const struct cv_record_head *head, struct cv_journal_pos pos,
	const struct cv_entry_message *m, uint64_t parse_at)
{
	struct cv_new_row row = {
		.uid = m->uid,
		.flags = m->flags & CV_FLAG_ALL,
		.zone = m->zone,
		.keyword_set = cv_keyword_set_decode(&mailbox->keywords, m->keywords),
		.modseq = head->seq,
		.date = m->date,
		.saved = m->saved,
		.virtual_size = m->virtual_size,
		.physical_size = m->physical_size,
		.guid = m->guid,
		.ref = m->ref,
		.uidl = m->uidl,
		.sum = m->sum,
		.cache = m->parse.len > 0 ? cv_cache_in_journal((struct cv_journal_pos){ pos.segment, parse_at }) : 0,
	};
	uint32_t there;

	if (!cv_columns_find(mailbox->columns, m->uid, mailbox->columns->count, &there))
		cv_columns_add(mailbox->columns, &row);
	else if (!cv_row_live(mailbox->columns, there))
		revive(mailbox->columns, there, &row);
}

static void note_vanished(struct cv_mailbox *mailbox, uint64_t modseq, struct cv_range range)
{
	struct cv_vanished *v;

	if (mailbox->mending)
		return;
	/* The oldest half goes when there are too many; clients that know less get all UIDs that are not there. */
	if (mailbox->vanished.count >= CV_VANISHED_MAX) {
		size_t half = CV_VANISHED_MAX / 2;

		mailbox->vanished_from = mailbox->vanished.data[half - 1].modseq;
		mailbox->vanished.count -= half;
		memmove(mailbox->vanished.data, mailbox->vanished.data + half,
			mailbox->vanished.count * sizeof(*mailbox->vanished.data));
	}
	v = cv_vec_push(&mailbox->vanished);
	*v = (struct cv_vanished){ modseq, range.first, range.last };
}

static int row_group(struct cv_mailbox *mailbox, const struct cv_record_head *head, enum cv_entry_kind kind, struct cv_group group)
{
	struct cv_columns *columns = mailbox->columns;
	uint32_t set = kind == CV_ENTRY_FLAGS ? cv_keyword_set_decode(&mailbox->keywords, group.keywords) : 0;
	struct cv_range range = { 0 };
	int more;

	while ((more = cv_range_next(&group, &range)) > 0) {
		uint32_t row = cv_columns_from(columns, range.first);

		for (; row < columns->count && *cv_col_uid(columns, row) <= range.last; row++) {
			uint16_t flags = *cv_col_flags(columns, row);

			if ((flags & CV_ROW_EXPUNGED) != 0)
				continue;
			if (kind == CV_ENTRY_EXPUNGE) {
				cv_columns_kill(columns, row);
				cv_notes_put(columns, *cv_col_uid(columns, row), (struct cv_str){ 0 });
				continue;
			}
			cv_set_flags(columns, row, (uint16_t)((flags & CV_ROW_VERIFIED) | (group.flags_after & CV_FLAG_ALL)));
			if ((group.flags_after & CV_FLAG_DELETED) != 0)
				cv_columns_note_deleted(columns, row);
			cv_set_keyword_set(columns, row, set);
			cv_columns_set_modseq(columns, row, head->seq);
		}
		if (kind == CV_ENTRY_EXPUNGE)
			note_vanished(mailbox, head->seq, range);
	}
	return more;
}

/* Of a message that is not there too: while a mailbox is put together again, its row may come later. */
static int note_group(struct cv_mailbox *mailbox, const struct cv_record_head *head, struct cv_group group)
{
	struct cv_columns *columns = mailbox->columns;
	struct cv_range range = { 0 };
	uint32_t absent = 0;
	int more;

	while ((more = cv_range_next(&group, &range)) > 0) {
		uint32_t row = cv_columns_from(columns, range.first), uid = range.first;

		for (; uid <= range.last && uid < mailbox->uidnext; uid++) {
			bool has_row = row < columns->count && *cv_col_uid(columns, row) == uid;

			if (!has_row || cv_row_live(columns, row))
				cv_notes_apply(columns, uid, has_row, group.changes);
			if (has_row && cv_row_live(columns, row))
				cv_columns_set_modseq(columns, row, head->seq);
			if (!has_row && ++absent >= CV_NOTES_ROWLESS_MAX) {
				/* No more of these: on to the next row. */
				if (row >= columns->count)
					break;
				uid = *cv_col_uid(columns, row) - 1;
			}
			row += has_row;
		}
	}
	return more;
}

static int row_groups(struct cv_mailbox *mailbox, const struct cv_record_head *head, const struct cv_entry *entry)
{
	struct cv_reader reader = cv_reader_init(entry->groups);
	struct cv_group group;
	int more;

	while ((more = cv_group_next(&reader, entry->kind, &group)) > 0) {
		if ((entry->kind == CV_ENTRY_NOTE ? note_group(mailbox, head, group) : row_group(mailbox, head, entry->kind, group)) < 0)
			return -1;
	}
	return more;
}

static int rows(struct cv_mailbox *mailbox, const struct cv_record_head *head, struct cv_journal_pos pos, const struct cv_entry *entry,
	uint64_t parse_at)
{
	uint32_t row;

	switch (entry->kind) {
	case CV_ENTRY_APPEND:
	case CV_ENTRY_COPY:
		add_row(mailbox, head, pos, &entry->message, parse_at);
		return 1;
	case CV_ENTRY_FLAGS:
	case CV_ENTRY_EXPUNGE:
	case CV_ENTRY_NOTE:
		return row_groups(mailbox, head, entry);
	case CV_ENTRY_REF:
		if (cv_columns_find(mailbox->columns, entry->uid, UINT32_MAX, &row))
			cv_columns_set_ref(mailbox->columns, row, entry->ref);
		return 1;
	case CV_ENTRY_UIDL:
		if (cv_columns_find(mailbox->columns, entry->uid, UINT32_MAX, &row))
			cv_columns_set_uidl(mailbox->columns, row, entry->name);
		return 1;
	case CV_ENTRY_CREATE:
	case CV_ENTRY_RENAME:
	case CV_ENTRY_DELETE:
	case CV_ENTRY_SUBSCRIBE:
	case CV_ENTRY_ANNOTATE:
	case CV_ENTRY_RECENT:
	case CV_ENTRY_UIDNEXT:
	case CV_ENTRY_OCTETS:
	case CV_ENTRY_SETTLED:
		return 1;
	}
	return 1;
}

/* ---- tree ------------------------------------------------------------------------------------------------- */

/* Name and subscription stand in the snapshots too, for when both states are lost: a snapshot that has them as they were needs the record. */
static void needs_record(struct cv_name *name, const struct cv_record_head *head)
{
	struct cv_mailbox *mailbox = name != NULL ? name->mailbox : NULL;

	if (mailbox != NULL && mailbox->older_need == 0 && head->seq > mailbox->older_seq)
		mailbox->older_need = head->seq;
}

static void create(struct cv_user *user, const struct cv_record_head *head, const struct cv_entry *entry)
{
	struct cv_name *name = cv_tree_add(user, entry->name);
	struct cv_mailbox *mailbox;

	if (name->mailbox != NULL) /* cannot be: records are in order */
		return;
	mailbox = cv_mailbox_new(user, &entry->mailbox);
	mailbox->uidvalidity = entry->uidvalidity;
	mailbox->special_use = entry->special_use;
	mailbox->name = name;
	mailbox->log_ctx.mailbox = cv_name_str(name);
	name->mailbox = mailbox;
	if (entry->uidvalidity > user->last_uidvalidity)
		user->last_uidvalidity = entry->uidvalidity;
	user->list_valid = false;
	needs_record(name, head);
}

static void delete(struct cv_user *user, const struct cv_entry *entry)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &entry->mailbox);

	if (mailbox != NULL)
		cv_mailbox_detach(mailbox);
}

static void subscribe(struct cv_user *user, const struct cv_record_head *head, const struct cv_entry *entry)
{
	struct cv_name *name = cv_tree_add(user, entry->name);

	name->subscribed = entry->on;
	needs_record(name, head);
	cv_tree_prune(user, name);
}

static void rename_all(struct cv_user *user, const struct cv_record_head *head, const struct cv_entry *entry)
{
	size_t first, end;

	cv_tree_rename(user, entry->name, entry->new_name);
	needs_record(cv_tree_find(user, entry->new_name), head);
	cv_tree_below(user, entry->new_name, &first, &end);
	for (; first < end; first++)
		needs_record(user->names.data[first], head);
}

static bool rename_is_possible(const struct cv_user *user, const struct cv_entry *entry)
{
	struct cv_name *to = cv_tree_find(user, entry->new_name);

	return to == NULL || to->mailbox == NULL;
}

static int tree_or_counts(struct cv_user *user, const struct cv_record_head *head, const struct cv_entry *entry)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &entry->mailbox);

	switch (entry->kind) {
	case CV_ENTRY_CREATE:
		create(user, head, entry);
		return 1;
	case CV_ENTRY_RENAME:
		if (rename_is_possible(user, entry))
			rename_all(user, head, entry);
		return 1;
	case CV_ENTRY_DELETE:
		delete(user, entry);
		return 1;
	case CV_ENTRY_SUBSCRIBE:
		subscribe(user, head, entry);
		return 1;
	case CV_ENTRY_ANNOTATE:
		cv_annotations_apply(user, head->seq, entry);
		if (mailbox != NULL)
			needs_record(mailbox->name, head);
		return 1;
	case CV_ENTRY_APPEND:
	case CV_ENTRY_COPY:
		if (mailbox != NULL) {
			count_append(mailbox, &entry->message);
			mailbox->highest_modseq = head->seq;
		}
		return 1;
	case CV_ENTRY_FLAGS:
	case CV_ENTRY_EXPUNGE:
		if (mailbox == NULL)
			return 1;
		mailbox->highest_modseq = head->seq;
		return count_groups(mailbox, entry);
	case CV_ENTRY_RECENT:
		if (mailbox != NULL) {
			mailbox->first_recent = entry->uid;
			mailbox->counts.recent = (uint32_t)entry->number;
		}
		return 1;
	case CV_ENTRY_UIDNEXT:
		if (mailbox != NULL) {
			mailbox->uidnext = CV_MAX(mailbox->uidnext, entry->uid);
			mailbox->uid_reserved = CV_MAX(mailbox->uid_reserved, mailbox->uidnext);
			mailbox->highest_modseq = head->seq;
			mailbox->vanished_from = head->seq;
		}
		return 1;
	case CV_ENTRY_NOTE:
		if (mailbox != NULL)
			mailbox->highest_modseq = head->seq;
		return 1;
	case CV_ENTRY_REF:
	case CV_ENTRY_UIDL:
	case CV_ENTRY_OCTETS:
	case CV_ENTRY_SETTLED:
		return 1;
	}
	return 1;
}

static bool concerns_rows(enum cv_entry_kind kind)
{
	return kind >= CV_ENTRY_APPEND && kind != CV_ENTRY_RECENT && kind != CV_ENTRY_UIDNEXT && kind < CV_ENTRY_OCTETS;
}

static void note(struct cv_mailbox *mailbox, const struct cv_record_head *head, struct cv_journal_pos pos)
{
	struct cv_behind *last = mailbox->behind.count > 0 ? &mailbox->behind.data[mailbox->behind.count - 1] : NULL;

	if (mailbox->older_need == 0 && head->seq > mailbox->older_seq)
		mailbox->older_need = head->seq;
	if (head->seq <= mailbox->snapshot_seq || (last != NULL && last->seq >= head->seq))
		return;
	*cv_vec_push(&mailbox->behind) = (struct cv_behind){ head->seq, pos, head->len };
	mailbox->behind_octets += head->len;
}

int cv_apply_entry(struct cv_user *user, const struct cv_record_head *head, struct cv_journal_pos pos, const struct cv_entry *entry,
	uint64_t parse_at, unsigned what, struct cv_err *err)
{
	struct cv_mailbox *mailbox;

	if ((what & (cv_entry_is_tree(entry->kind) ? CV_APPLY_TREE : CV_APPLY_COUNTS)) != 0 && tree_or_counts(user, head, entry) < 0)
		return makes_no_sense(err, head);
	mailbox = cv_mailbox_by_guid(user, &entry->mailbox);
	if (mailbox == NULL || !concerns_rows(entry->kind))
		return 1;
	if ((what & CV_APPLY_NOTE) != 0)
		note(mailbox, head, pos);
	mailbox->applied_seq = CV_MAX(mailbox->applied_seq, head->seq);
	if ((what & CV_APPLY_ROWS) != 0) {
		if (mailbox->columns != NULL && rows(mailbox, head, pos, entry, parse_at) < 0)
			return makes_no_sense(err, head);
	}
	if ((what & CV_APPLY_COUNTS) != 0 && (entry->kind == CV_ENTRY_NOTE || entry->kind == CV_ENTRY_EXPUNGE))
		count_notes(mailbox, entry->kind, (what & CV_APPLY_ROWS) != 0 && mailbox->columns != NULL);
	return 1;
}

/* Where in the segment the checksum before the parse record is (record.c: u32 CRC, u32 length, octets, u32 checksum of the message). */
static uint64_t parse_place(struct cv_journal_pos pos, struct cv_str entries, const struct cv_entry *entry)
{
	if (entry->message.parse.len == 0)
		return 0;
	return pos.offset + CV_RECORD_HEAD + (uint64_t)(entry->message.parse.ptr - entries.ptr) - 8;
}

int cv_apply_record(struct cv_user *user, const struct cv_record_head *head, struct cv_journal_pos pos, struct cv_str entries,
	unsigned what, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;
	int more;

	while ((more = cv_entry_next(&reader, &entry)) > 0) {
		if (cv_apply_entry(user, head, pos, &entry, parse_place(pos, entries, &entry), what, err) < 0)
			return -1;
	}
	return more < 0 ? makes_no_sense(err, head) : 1;
}

int cv_apply_rows(struct cv_mailbox *mailbox, const struct cv_record_head *head, struct cv_journal_pos pos, struct cv_str entries,
	struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;
	int more;

	while ((more = cv_entry_next(&reader, &entry)) > 0) {
		if (!concerns_rows(entry.kind) || memcmp(&entry.mailbox, &mailbox->guid, sizeof(entry.mailbox)) != 0)
			continue;
		if (rows(mailbox, head, pos, &entry, parse_place(pos, entries, &entry)) < 0)
			return makes_no_sense(err, head);
	}
	return more < 0 ? makes_no_sense(err, head) : 1;
}

bool cv_record_concerns(struct cv_str entries, const struct cv_guid *guid)
{
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;

	while (cv_entry_next(&reader, &entry) > 0) {
		if (concerns_rows(entry.kind) && memcmp(&entry.mailbox, guid, sizeof(*guid)) == 0)
			return true;
	}
	return false;
}

bool cv_record_has_work(const struct cv_user *user, struct cv_str entries)
{
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;

	while (cv_entry_next(&reader, &entry) > 0) {
		if (entry.kind == CV_ENTRY_EXPUNGE || entry.kind == CV_ENTRY_DELETE || entry.kind == CV_ENTRY_RENAME ||
			(user->external && entry.kind == CV_ENTRY_FLAGS))
			return true;
	}
	return false;
}
