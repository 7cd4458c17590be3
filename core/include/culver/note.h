/* SPDX-License-Identifier: MIT
   Annotations of messages (RFC 5257), called notes here: "annotation" alone is one of a mailbox (mailbox.h). */
#ifndef CV_NOTE_H
#define CV_NOTE_H

#include <culver/mailbox.h>
#include <culver/reader.h>

/* A note has an entry name: ASCII in levels that '/' separates, from "/" on, without '*' and '%', with case; it is shared by all who may read the
   mailbox, or private to one user, and its value is any octets. A message keeps its notes as long as it lives, copies of it get those that who copies
   may see. Messages without notes cost nothing. */
#define CV_NOTE_ENTRY_MAX 1024

struct cv_note {
	struct cv_str entry;
	bool priv;           /* of who acts alone; else shared */
	struct cv_str value; /* of a change: absent: the note is removed */
};

struct cv_note_limits {
	size_t value;   /* octets of one value */
	uint64_t count; /* entries of one message */
	uint64_t size;  /* octets of names and values in one mailbox, with some more for each */
};
CV_EXPORT void cv_note_limits(const struct cv_user *user, struct cv_note_limits *limits_r);
/* Can there be such an entry? INVALID with a public text when not. What may stand where is the protocol's to know. */
CV_EXPORT CV_MUST_CHECK int cv_note_entry_ok(struct cv_str entry, struct cv_err *err);

/* Does an entry match? "*" in the pattern stands for one or more characters, "%" for one or more but "/" (RFC 5257 section 4.3). Time is at most pattern
   length times entry length; a pattern longer than CV_NOTE_ENTRY_MAX matches nothing. */
CV_EXPORT bool cv_note_match(struct cv_str pattern, struct cv_str entry);

/* Has any message of the mailbox notes? In constant time; false also while the mailbox is not in memory. */
CV_EXPORT bool cv_notes_any(const struct cv_mailbox *mailbox);
/* Those of one message that who acts sees. 1; 0 when there are none, or no such message. Rights are the caller's to ask (CV_RIGHT_READ). */
struct cv_note_list {
	struct cv_reader packed;
};
CV_EXPORT CV_MUST_CHECK int cv_notes_get(struct cv_mailbox *mailbox, uint32_t uid, struct cv_note_list *list_r, struct cv_err *err);
/* By entry, the private one of an entry before the shared one; false at the end. Views are valid until something is committed or the loop comes round. */
CV_EXPORT bool cv_note_next(struct cv_note_list *list, struct cv_note *note_r);

/* A change to messages: each of notes is set or removed, the last one when one is named twice. */
struct cv_notes_change {
	const struct cv_note *notes;
	size_t count;
	bool unchanged_since_set;
	uint64_t unchanged_since; /* CONDSTORE: as in struct cv_flags_change */
};
/* At most this many of them at once. */
#define CV_NOTES_AT_ONCE 1000u
/* Shared notes take CV_RIGHT_NOTE, private ones CV_RIGHT_READ: PERM without. UIDs that are gone are passed over (added to gone when not NULL). failed may
   be NULL. Messages that have the notes already get no new modseq. INVALID: no such entry can be. LIMIT: a value is too large, or, of the commit, a message
   would have too many entries, the mailbox too many octets. */
CV_EXPORT CV_MUST_CHECK int cv_txn_notes(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_ranges *uids,
	const struct cv_notes_change *change, struct cv_ranges *failed, struct cv_ranges *gone, struct cv_err *err);

/* For commit hooks: what an operation of a transaction (cv_txn_next) brings of annotations, and takes away, in octets as cv_usage has them: each as if it came alone. -1:
   a mailbox could not be read. */
CV_EXPORT CV_MUST_CHECK int cv_txn_notes_octets(const struct cv_txn *txn, const struct cv_txn_op *op, uint64_t *in_r, uint64_t *out_r, struct cv_err *err);

#endif
