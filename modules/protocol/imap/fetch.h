/* SPDX-License-Identifier: MIT
   FETCH in progress: the command's iterator (cmd-fetch.c) and the response for one message (fetch-message.c, fetch-section.c). */
#ifndef CV_IMAP_FETCH_MESSAGE_H
#define CV_IMAP_FETCH_MESSAGE_H

#include "imap-session.h"

#include "modules/lib/imap/imap-fetch.h"
#include "modules/lib/imap/imap-return.h"
#include "modules/lib/imap/imap-threadid.h"

#include <culver/charset.h>
#include <culver/time.h>

/* Largest text of a response outside of its literals: ENVELOPE and BODYSTRUCTURE of a message with every limit reached. */
#define FETCH_TEXT_MAX ((size_t)64 * 1024 * 1024)

/* A body section found in the message: NIL, text of its own, or a range of octets in wire form. */
struct fetch_found {
	enum { FETCH_NIL = 0, FETCH_TEXT, FETCH_RANGE } kind;
	struct cv_buf text;
	uint64_t offset, size, wire_size;
};

/* The BINARY section in progress. */
struct fetch_binary {
	bool active;
	bool counting;               /* first pass: how many octets it has */
	bool ended;                  /* of this pass */
	bool nul;                    /* there is a NUL in it */
	const struct cv_imap_section *section;
	uint64_t offset, size, wire_size;
	enum cv_transfer encoding;
	struct cv_transfer_decoder decoder;
	struct cv_wire_stream *wire;
	struct cv_buf piece;
	uint64_t total;              /* decoded octets */
	uint64_t skip, left;         /* of the second pass */
};

struct fetch {
	struct cv_imap_cmd *cmd;
	struct imap_session *s;
	struct cv_view *view;        /* where the messages are */
	struct cv_imap_fetch what;
	bool changed_since_set;
	uint64_t changed_since;
	bool partial_set;            /* RFC 9394 section 3.3 */
	struct cv_imap_partial partial;
	struct cv_ranges *vanished;  /* UIDs to tell; NULL: not asked for */
	size_t vanished_done;
	struct cv_ranges *seqs;
	struct imap_iter iter;
	uint32_t done, goal;         /* messages, for the client's information */
	bool backwards;              /* RFC 9738: the message limit cut them short */
	bool from_disk;              /* something was read from a disk since the step before: messages that come next are read ahead */
	uint64_t disk_blocks;
	struct imap_iter ahead;      /* where reading ahead is, ahead_count messages before iter */
	unsigned ahead_count;

	/* \Seen */
	bool set_seen;
	bool seen_pending;           /* its commit is on its way */
	unsigned batch;
	unsigned seen_left;          /* messages that come next for which it is set */
	struct cv_ranges *newly_seen; /* UIDs whose flags go into their responses */

	bool gone;                   /* a message was expunged and could not be read any more */
	struct cv_err first_error;

	/* The message at hand. */
	bool open;
	bool at_hand;                /* nothing of it had to be read or made */
	uint32_t seq;
	struct cv_row row;
	struct cv_arena *arena;
	struct cv_mail *mail;
	struct cv_parse_record record;
	struct cv_message_reader *reader; /* the mail's; NULL: not needed */
	struct cv_mime_part *tree;   /* NULL: not needed */
	struct cv_envelope *envelope; /* NULL: not needed */
	struct cv_str envelope_text, structure_text; /* ENVELOPE and BODYSTRUCTURE as they were told before; ptr NULL: to be made */
	struct cv_str preview;
	bool has_thread;             /* threadid is set */
	struct cv_imap_threadid threadid;
	struct cv_buf text;          /* composed and not yet written: text_done octets are */
	size_t text_done;
	size_t section;              /* next one to write */
	struct cv_wire_stream *wire; /* the literal in progress */
	uint64_t wire_left;
	struct fetch_binary binary;
	bool unknown_encoding;       /* a section that was asked for cannot be decoded */
	bool note_parts;             /* annotations of body parts are asked for that a message may lack */
	bool no_part;                /* one did */
};

/* Open the message at fetch->seq as far as what is asked needs, and compose what stands before its sections. there: it is not expunged. 1; 0: it has nothing of
   what is asked for, so there is no response; -1 with err. */
CV_MUST_CHECK int fetch_message_open(struct fetch *fetch, bool there, struct cv_err *err);
/* Write as much as there is room for. 1 when the response is complete, 0 to be called again, -1 when the session was ended. */
CV_MUST_CHECK int fetch_message_write(struct fetch *fetch);
void fetch_message_close(struct fetch *fetch);
/* Open the message at fetch->seq of fetch->view as far as fetch->what needs it, for fetch_section_find; fetch_message_close frees it, also after -1. */
CV_MUST_CHECK int fetch_message_get(struct fetch *fetch, struct cv_err *err);

/* fetch-section.c */
/* The section can be answered from the parse record alone. */
bool fetch_section_in_record(const struct cv_parse_record *record, const struct cv_imap_section *section);
/* Find a section. *found_r is to be given to fetch_found_free. -1 with err. */
CV_MUST_CHECK int fetch_section_find(const struct fetch *fetch, const struct cv_imap_section *section, struct fetch_found *found_r,
	struct cv_err *err);
void fetch_found_free(struct fetch_found *found);
/* What a partial fetch leaves of size octets: *offset_r and the length. "If the starting octet is beyond the end of the text, an empty string is
   returned." */
uint64_t fetch_section_clip(const struct cv_imap_section *section, uint64_t size, uint64_t *offset_r);

/* fetch-binary.c */
/* The part in whose transfer encoding a section's octets are. NULL: they are as they are. */
const struct cv_mime_part *fetch_binary_part(const struct fetch *fetch, const struct cv_imap_section *section);
/* The encoding of a BINARY section is known. */
bool fetch_binary_possible(const struct fetch *fetch, const struct cv_imap_section *section);
/* The label of the section is in fetch->text: append NIL or what is there, or set fetch->binary.active. -1 with err. */
CV_MUST_CHECK int fetch_binary_begin(struct fetch *fetch, const struct cv_imap_section *section, struct cv_err *err);
/* One more piece of it. -1 with err. */
CV_MUST_CHECK int fetch_binary_go_on(struct fetch *fetch, struct cv_err *err);
void fetch_binary_end(struct fetch *fetch);

#endif
