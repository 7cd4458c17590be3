/* SPDX-License-Identifier: MIT
   Annotations of messages in memory: which messages have some, and their octets. */
#ifndef CV_STORE_NOTE_H
#define CV_STORE_NOTE_H

#include "core/store/columns.h"
#include <culver/note.h>

/* The notes of one message are packed: for each str entry, str owner (absent: shared; empty: private to the user whose mail it is; else to the user of this
   name), str value; by entry, then owner, the shared one last. Changes have the same form, with values that may be absent. */
struct cv_note_item {
	struct cv_str entry, owner, value;
};
/* False at the end, or when the octets make no sense. */
bool cv_note_item_next(struct cv_reader *packed, struct cv_note_item *item_r);
void cv_note_item_put(struct cv_buf *out, const struct cv_note_item *item);
/* Do they make sense? */
CV_MUST_CHECK bool cv_note_items_ok(struct cv_str packed, bool changes);
/* What the packed notes are after the changes, appended to out. */
void cv_note_items_change(struct cv_str packed, struct cv_str changes, struct cv_buf *out);
/* Changes as modules give them: in order, each once. INVALID, LIMIT. */
CV_MUST_CHECK int cv_note_items_encode(const struct cv_user *user, const struct cv_note *notes, size_t count, struct cv_buf *out, struct cv_err *err);
/* Different entries. */
size_t cv_note_entries(struct cv_str packed);
/* Octets of packed notes, at most. */
#define CV_NOTES_PACKED_MAX ((size_t)64 << 20)

struct cv_snapshot;
/* Messages that records name and that are not there: of more of them nothing is kept. */
#define CV_NOTES_ROWLESS_MAX 200000u

/* Those of a mailbox: what its snapshot has, and what was changed since. Hangs on the columns, NULL as long as no message has any. By UID, whether there is a
   row of it or not: while a mailbox is being put together again from what is left, rows may come later. */
struct cv_notes {
	const struct cv_snapshot *base; /* NULL: none */
	struct cv_map *changed;         /* by UID (u32 as in memory): struct cv_note_blob */
	uint64_t octets;                /* packed, of all messages */
	size_t rowless;                 /* how many were set without a row */
};
struct cv_note_blob {
	uint32_t len; /* 0: removed */
	char octets[];
};

/* The packed notes of a message, absent when it has none. What does not check is mended. Valid until the next change. */
struct cv_str cv_notes_find(const struct cv_columns *columns, uint32_t uid);
/* Set them, whatever there was; len 0: none. */
void cv_notes_put(struct cv_columns *columns, uint32_t uid, struct cv_str packed);
/* A change, as a record tells it; of a message without a row only as long as there are few of them. */
void cv_notes_apply(struct cv_columns *columns, uint32_t uid, bool has_row, struct cv_str changes);
/* Those of the columns begin with what the snapshot has. */
void cv_notes_on(struct cv_columns *columns);
void cv_notes_free(struct cv_notes **notes);
/* UIDs below end that have some, ascending; *uids_r is the caller's to free. */
size_t cv_notes_uids(const struct cv_columns *columns, uint32_t end, uint32_t **uids_r);
/* Octets of all annotations in the columns. */
uint64_t cv_notes_octets(const struct cv_columns *columns);
/* The mailbox's count becomes what the columns, which must be loaded, have: in constant time. */
void cv_notes_count(struct cv_mailbox *mailbox);
/* The same, and what no message has is dropped before: looks at each. */
void cv_notes_recount(struct cv_mailbox *mailbox);
/* Octets of those that messages have: looks at each. */
uint64_t cv_notes_sum(const struct cv_columns *columns);
/* The columns' snapshot is damaged: what it should have of notes that do not check comes from the other columns, whose messages have the same UIDs. How many
   messages have lost theirs. */
size_t cv_notes_mend(struct cv_columns *columns, const struct cv_columns *second);

#endif
