/* SPDX-License-Identifier: MIT
   What FETCH asks for: data items and body sections (RFC 3501 section 6.4.5, RFC 7162 section 3.1.4). */
#ifndef CV_IMAP_FETCH_H
#define CV_IMAP_FETCH_H

#include "imap-annotate.h"

#include <culver/imap.h>
#include <culver/message.h>

enum cv_imap_fetch_item {
	CV_IMAP_FETCH_UID = 1,
	CV_IMAP_FETCH_FLAGS = 2,
	CV_IMAP_FETCH_INTERNALDATE = 4,
	CV_IMAP_FETCH_SIZE = 8,
	CV_IMAP_FETCH_ENVELOPE = 16,
	CV_IMAP_FETCH_BODY = 32,          /* BODYSTRUCTURE without extension data */
	CV_IMAP_FETCH_BODYSTRUCTURE = 64,
	CV_IMAP_FETCH_MODSEQ = 128,
	CV_IMAP_FETCH_SAVEDATE = 1 << 16, /* RFC 8514 */
	CV_IMAP_FETCH_EMAILID = 1 << 17,  /* RFC 8474 */
	CV_IMAP_FETCH_THREADID = 1 << 18,
	CV_IMAP_FETCH_PREVIEW = 1 << 19   /* RFC 8970 */
};

enum cv_imap_section_text {
	CV_IMAP_SECTION_ALL = 0, /* the message, or the part's body */
	CV_IMAP_SECTION_HEADER,
	CV_IMAP_SECTION_FIELDS,
	CV_IMAP_SECTION_FIELDS_NOT,
	CV_IMAP_SECTION_TEXT,
	CV_IMAP_SECTION_MIME
};

#define CV_IMAP_SECTION_DEPTH_MAX 100u /* part numbers of a section */
#define CV_IMAP_SECTIONS_MAX 1000u     /* sections of a command */
#define CV_IMAP_NOTE_FETCHES_MAX 100u  /* ANNOTATION items of a command */

enum cv_imap_section_kind {
	CV_IMAP_SECTION_BODY = 0,
	CV_IMAP_SECTION_BINARY,     /* without content transfer encoding (RFC 3516): path only */
	CV_IMAP_SECTION_BINARY_SIZE /* its size: path only, never partial */
};

/* BODY[section]<offset.length> and those like it */
struct cv_imap_section {
	enum cv_imap_section_kind kind;
	const uint32_t *path;
	size_t path_len;
	enum cv_imap_section_text text;
	const struct cv_str *fields;
	size_t field_count;
	struct cv_record_names names; /* the fields' */
	bool peek;               /* does not set \Seen */
	bool partial;
	uint64_t offset, length;
	struct cv_str label;     /* what the answer calls it: "BODY[1.MIME]<0>", "RFC822.TEXT" */
};

struct cv_imap_fetch {
	unsigned items;          /* enum cv_imap_fetch_item */
	struct cv_imap_section *sections;
	size_t section_count;
	bool sets_seen;          /* one of the sections does */
	struct cv_imap_note_fetch *notes; /* ANNOTATION (RFC 5257) */
	size_t note_count;
};

/* fetch-att, a macro, or a list of fetch-att, from *arg on, which goes behind it. Memory in arena; strings point into the arguments. -1 with a public
   err. */
CV_MUST_CHECK int cv_imap_fetch_parse(struct cv_arena *arena, const struct cv_imap_arg **arg, struct cv_imap_fetch *fetch_r, struct cv_err *err);

#endif
