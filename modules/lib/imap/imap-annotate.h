/* SPDX-License-Identifier: MIT
   Annotations of messages in commands and responses (RFC 5257): entries and attributes as FETCH asks for them, as STORE and APPEND set them. */
#ifndef CV_IMAP_ANNOTATE_H
#define CV_IMAP_ANNOTATE_H

#include <culver/imap.h>
#include <culver/note.h>

/* The attributes there are (section 3.2.2), in both their forms. */
enum cv_imap_note_attrib { CV_IMAP_NOTE_VALUE_PRIV = 0, CV_IMAP_NOTE_VALUE_SHARED, CV_IMAP_NOTE_SIZE_PRIV, CV_IMAP_NOTE_SIZE_SHARED, CV_IMAP_NOTE_ATTRIBS };

/* entry-match */
struct cv_imap_note_entry {
	struct cv_str name;
	bool wild;                  /* "*" or "%" is in it */
};
/* "ANNOTATION" SP "(" entries SP attribs ")" */
struct cv_imap_note_fetch {
	struct cv_imap_note_entry *entries; /* each once */
	size_t entry_count;
	enum cv_imap_note_attrib attribs[CV_IMAP_NOTE_ATTRIBS]; /* each once, in the order asked for */
	size_t attrib_count;
};

#define CV_IMAP_NOTE_PART_MAX 100u /* numbers of a section-part */

/* The section-part that the entry begins with ("/1.2/comment"); of *len_r numbers, 0 when it is of the message as a whole. False: it begins like one and is
   none (section 3.2.1: "all entries that start with a numeric character"). */
CV_MUST_CHECK bool cv_imap_note_part(struct cv_str entry, uint32_t path_r[CV_IMAP_NOTE_PART_MAX], size_t *len_r);
/* Can the entry be asked for; set: can it have a value? INVALID with a public text (BAD). */
CV_MUST_CHECK int cv_imap_note_entry_ok(struct cv_str entry, bool set, struct cv_err *err);
/* entry-match = list-mailbox. *wild_r: there are wildcards in it. INVALID (BAD). */
CV_MUST_CHECK int cv_imap_note_match_ok(struct cv_str match, bool *wild_r, struct cv_err *err);

/* The list behind ANNOTATION of FETCH. In arena; names point into the arguments. INVALID (BAD). */
CV_MUST_CHECK int cv_imap_note_fetch_parse(struct cv_arena *arena, const struct cv_imap_arg *list, struct cv_imap_note_fetch *fetch_r, struct cv_err *err);
/* Append "ANNOTATION (…)" with what is asked for of a message with these notes. False: it has none of it, and nothing was appended. */
bool cv_imap_note_append(struct cv_buf *out, const struct cv_imap_note_fetch *fetch, const struct cv_note_list *notes);
/* value = nstring / literal8 */
void cv_imap_note_append_value(struct cv_buf *out, struct cv_str value);

/* The list behind ANNOTATION of STORE and APPEND: entry-att *(SP entry-att). In arena; names and values point into the arguments. INVALID (BAD); PERM for
   an attribute that clients can't set (NO); LIMIT for too many (NO). */
CV_MUST_CHECK int cv_imap_notes_parse(struct cv_arena *arena, const struct cv_imap_arg *list, const struct cv_note **notes_r, size_t *count_r,
	struct cv_err *err);

#endif
