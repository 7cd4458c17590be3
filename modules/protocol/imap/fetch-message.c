/* SPDX-License-Identifier: MIT
   The FETCH response for one message: its items composed at once, its literals streamed. */
#include <config.h>

#include "annotate.h"
#include "fetch.h"

#include "modules/lib/imap/imap-date.h"
#include "modules/lib/imap/imap-quote.h"
#include "modules/lib/imap/imap-search.h"
#include "modules/lib/imap/imap-structure.h"

/* Octets of a literal that are converted at once. */
#define CHUNK ((size_t)64 * 1024)

/* ---- What is needed ----------------------------------------------------------------------------------- */

/* Items that are made of what was parsed, other than texts that are at hand. */
static unsigned parsed_items(const struct fetch *fetch)
{
	unsigned items = fetch->what.items & (CV_IMAP_FETCH_ENVELOPE | CV_IMAP_FETCH_BODY | CV_IMAP_FETCH_BODYSTRUCTURE | CV_IMAP_FETCH_PREVIEW |
		CV_IMAP_FETCH_THREADID);

	if (fetch->envelope_text.ptr != NULL)
		items &= ~(unsigned)CV_IMAP_FETCH_ENVELOPE;
	if (fetch->structure_text.ptr != NULL)
		items &= ~(unsigned)CV_IMAP_FETCH_BODYSTRUCTURE;
	return items;
}

static bool needs_tree(const struct fetch *fetch)
{
	if ((parsed_items(fetch) & (CV_IMAP_FETCH_BODY | CV_IMAP_FETCH_BODYSTRUCTURE)) != 0 || fetch->note_parts)
		return true;
	for (size_t i = 0; i < fetch->what.section_count; i++) {
		const struct cv_imap_section *section = &fetch->what.sections[i];

		if (section->path_len > 0 || (section->kind != CV_IMAP_SECTION_BODY && section->text == CV_IMAP_SECTION_TEXT))
			return true;
	}
	return false;
}

static bool needs_octets(const struct fetch *fetch)
{
	for (size_t i = 0; i < fetch->what.section_count; i++)
		if (!fetch_section_in_record(&fetch->record, &fetch->what.sections[i]))
			return true;
	return false;
}

static int get_octets(struct fetch *fetch, struct cv_err *err)
{
	if (fetch->reader != NULL)
		return 0;
	if (cv_mail_reader(fetch->mail, &fetch->reader, err) < 0)
		return -1;
	/* Sizes are promised to the client before the octets: a file that another program changed is not sent. */
	if (fetch->reader->size == fetch->record.size)
		return 0;
	cv_err_set(err, CV_ERR_CORRUPT, "message %u has %llu octets, %llu were recorded", fetch->row.uid, (unsigned long long)fetch->reader->size,
		(unsigned long long)fetch->record.size);
	fetch->reader = NULL;
	return -1;
}

/* What did not fit into the record is parsed from the message. */
static int parse_again(struct fetch *fetch, struct cv_err *err)
{
	struct cv_message *message;

	if (get_octets(fetch, err) < 0 || cv_message_parse(fetch->arena, NULL, fetch->reader, &message, err) < 0)
		return -1;
	fetch->tree = message->root;
	fetch->envelope = message->root->envelope;
	fetch->preview = message->preview;
	return 0;
}

static int get_tree(struct fetch *fetch, struct cv_err *err)
{
	int result = cv_parse_record_tree(&fetch->record, fetch->arena, &fetch->tree, err);

	if (result == 0)
		return parse_again(fetch, err);
	return result < 0 ? -1 : 0;
}

static int get_envelope(struct fetch *fetch, struct cv_err *err)
{
	int result;

	if (fetch->envelope != NULL)
		return 0;
	fetch->envelope = cv_new(fetch->arena, struct cv_envelope, 1);
	result = cv_parse_record_envelope(&fetch->record, fetch->arena, fetch->envelope, err);
	if (result == 0)
		return parse_again(fetch, err);
	return result < 0 ? -1 : 0;
}

static int get_preview(struct fetch *fetch, struct cv_err *err)
{
	if (fetch->preview.ptr != NULL || cv_parse_record_preview(&fetch->record, &fetch->preview) > 0)
		return 0;
	return parse_again(fetch, err);
}

static int get_threadid(struct fetch *fetch, struct cv_err *err)
{
	struct cv_mailsearch_message message = { .row = fetch->row, .record = fetch->record };
	int result = cv_imap_threadid_get(&message, &fetch->threadid, err);

	if (result == 0) {
		if (get_octets(fetch, err) < 0)
			return -1;
		message.reader = fetch->reader;
		result = cv_imap_threadid_get(&message, &fetch->threadid, err);
	}
	fetch->has_thread = result > 0;
	return result < 0 ? -1 : 0;
}

/* Is nothing asked for but BODY[]? */
static bool only_whole(const struct fetch *fetch)
{
	if (parsed_items(fetch) != 0 || fetch->note_parts)
		return false;
	for (size_t i = 0; i < fetch->what.section_count; i++) {
		const struct cv_imap_section *section = &fetch->what.sections[i];

		if (section->kind != CV_IMAP_SECTION_BODY || section->path_len > 0 || section->text != CV_IMAP_SECTION_ALL)
			return false;
	}
	return true;
}

/* What was parsed. Of a message that is sent whole and as it is the sizes are enough, which need not be read. */
static int get_record(struct fetch *fetch, struct cv_err *err)
{
	struct cv_str record;
	uint64_t size;

	if (only_whole(fetch) && cv_mail_crlf_size(fetch->mail, &size)) {
		fetch->record = (struct cv_parse_record){ .size = size, .wire_size = size };
		return 0;
	}
	return cv_mail_record(fetch->mail, &record, err) < 0 || cv_parse_record_open(record, &fetch->record, err) < 0 ? -1 : 0;
}

int fetch_message_get(struct fetch *fetch, struct cv_err *err)
{
	if (cv_mail_open(fetch->view, fetch->seq, &fetch->mail, err) < 0 || get_record(fetch, err) < 0)
		return -1;
	if (needs_octets(fetch) && get_octets(fetch, err) < 0)
		return -1;
	if (needs_tree(fetch) && get_tree(fetch, err) < 0)
		return -1;
	if ((parsed_items(fetch) & CV_IMAP_FETCH_ENVELOPE) != 0 && get_envelope(fetch, err) < 0)
		return -1;
	if ((fetch->what.items & CV_IMAP_FETCH_PREVIEW) != 0 && get_preview(fetch, err) < 0)
		return -1;
	if ((fetch->what.items & CV_IMAP_FETCH_THREADID) != 0 && get_threadid(fetch, err) < 0)
		return -1;
	return 0;
}

/* ---- Items -------------------------------------------------------------------------------------------- */

static void begin_item(struct cv_buf *out, const char *name, bool *first)
{
	if (!*first)
		cv_buf_append_char(out, ' ');
	*first = false;
	cv_buf_append_c(out, name);
}

/* ANNOTATION of each request, of which a message may have nothing. */
static int compose_notes(struct fetch *fetch, bool *first, struct cv_err *err)
{
	struct cv_note_list notes;

	if (fetch->what.note_count == 0)
		return 0;
	if (cv_notes_get(cv_view_mailbox(fetch->view), fetch->row.uid, &notes, err) < 0)
		return -1;
	for (size_t i = 0; i < fetch->what.note_count; i++) {
		size_t before = fetch->text.len;

		if (!*first)
			cv_buf_append_char(&fetch->text, ' ');
		if (cv_imap_note_append(&fetch->text, &fetch->what.notes[i], &notes))
			*first = false;
		else
			cv_buf_truncate(&fetch->text, before);
	}
	return 0;
}

/* What was appended since begin is told again so. */
static void keep_text(struct fetch *fetch, enum cv_memo memo, size_t begin)
{
	if (cv_buf_ok(&fetch->text))
		cv_view_memo_keep(fetch->view, fetch->seq, memo, cv_str_sub(cv_buf_str(&fetch->text), begin, SIZE_MAX));
}

static void compose_envelope(struct fetch *fetch)
{
	size_t begin = fetch->text.len;

	if (fetch->envelope_text.ptr != NULL) {
		cv_buf_append(&fetch->text, fetch->envelope_text);
		return;
	}
	cv_imap_append_envelope(&fetch->text, fetch->envelope);
	keep_text(fetch, CV_MEMO_ENVELOPE, begin);
}

static void compose_structure(struct fetch *fetch)
{
	size_t begin = fetch->text.len;

	if (fetch->structure_text.ptr != NULL) {
		cv_buf_append(&fetch->text, fetch->structure_text);
		return;
	}
	cv_imap_append_body(&fetch->text, fetch->tree, true);
	keep_text(fetch, CV_MEMO_BODYSTRUCTURE, begin);
}

/* All but the sections. 0: there is nothing. */
static int compose_items(struct fetch *fetch, struct cv_err *err)
{
	unsigned items = fetch->what.items;
	const struct cv_row *row = &fetch->row;
	struct cv_buf *out = &fetch->text;
	bool first = true;

	/* \Seen was set by this command: "they SHOULD be included as part of the FETCH responses". */
	if (cv_ranges_has(fetch->newly_seen, row->uid))
		items |= CV_IMAP_FETCH_FLAGS;
	if ((items & CV_IMAP_FETCH_FLAGS) != 0 && fetch->s->condstore)
		items |= CV_IMAP_FETCH_MODSEQ;
	/* RFC 7162 section 3.2.4: "whether they were caused by … a FETCH/UID FETCH that implicitly set the \Seen flag". */
	if (fetch->s->condstore && !fetch->s->uidonly && cv_ranges_has(fetch->newly_seen, row->uid))
		items |= CV_IMAP_FETCH_UID;
	if ((items & CV_IMAP_FETCH_FLAGS) != 0)
		imap_write_new_keywords(fetch->s, out);
	imap_begin_fetch(fetch->s, out, fetch->seq, row->uid);
	if ((items & CV_IMAP_FETCH_UID) != 0) {
		begin_item(out, "UID ", &first);
		cv_buf_append_u64(out, row->uid);
	}
	if ((items & CV_IMAP_FETCH_FLAGS) != 0) {
		begin_item(out, "FLAGS (", &first);
		imap_append_row_flags(fetch->s, out, row);
		cv_buf_append_char(out, ')');
	}
	if ((items & CV_IMAP_FETCH_MODSEQ) != 0) {
		begin_item(out, "MODSEQ (", &first);
		cv_buf_append_u64(out, row->modseq);
		cv_buf_append_char(out, ')');
	}
	if ((items & CV_IMAP_FETCH_INTERNALDATE) != 0) {
		begin_item(out, "INTERNALDATE ", &first);
		cv_imap_append_datetime(out, row->internal_date, row->internal_zone);
	}
	if ((items & CV_IMAP_FETCH_SAVEDATE) != 0) {
		begin_item(out, "SAVEDATE ", &first);
		cv_imap_append_datetime(out, row->save_date, 0);
	}
	if ((items & CV_IMAP_FETCH_EMAILID) != 0) {
		begin_item(out, "EMAILID (", &first);
		cv_imap_append_emailid(out, row->guid);
		cv_buf_append_char(out, ')');
	}
	if ((items & CV_IMAP_FETCH_THREADID) != 0 && fetch->has_thread) {
		begin_item(out, "THREADID (", &first);
		cv_imap_append_threadid(out, &fetch->threadid);
		cv_buf_append_char(out, ')');
	} else if ((items & CV_IMAP_FETCH_THREADID) != 0) {
		begin_item(out, "THREADID NIL", &first);
	}
	if ((items & CV_IMAP_FETCH_SIZE) != 0) {
		begin_item(out, "RFC822.SIZE ", &first);
		cv_buf_append_u64(out, row->virtual_size);
	}
	if ((items & CV_IMAP_FETCH_ENVELOPE) != 0) {
		begin_item(out, "ENVELOPE ", &first);
		compose_envelope(fetch);
	}
	if ((items & CV_IMAP_FETCH_BODY) != 0) {
		begin_item(out, "BODY ", &first);
		cv_imap_append_body(out, fetch->tree, false);
	}
	if ((items & CV_IMAP_FETCH_BODYSTRUCTURE) != 0) {
		begin_item(out, "BODYSTRUCTURE ", &first);
		compose_structure(fetch);
	}
	if ((items & CV_IMAP_FETCH_PREVIEW) != 0) {
		begin_item(out, "PREVIEW ", &first);
		cv_imap_append_string(out, fetch->preview);
	}
	if (compose_notes(fetch, &first, err) < 0)
		return -1;
	if (fetch->what.section_count > 0 && !first)
		cv_buf_append_char(out, ' ');
	return fetch->what.section_count > 0 || !first;
}

/* RFC 8474 section 5.2: NIL where the server "is unable to calculate relationships between messages", as of one whose file is gone and of which nothing is known. */
static bool only_thread_unknown(const struct fetch *fetch, const struct cv_err *err)
{
	return err->code == CV_ERR_CORRUPT && parsed_items(fetch) == CV_IMAP_FETCH_THREADID && fetch->what.section_count == 0 && !fetch->note_parts;
}

/* The two texts that clients ask for again and again depend on nothing but the message, which never changes. True when nothing else is needed of it. */
static bool find_texts(struct fetch *fetch)
{
	static const enum cv_memo memos[] = { CV_MEMO_ENVELOPE, CV_MEMO_BODYSTRUCTURE };
	bool envelope = (fetch->what.items & CV_IMAP_FETCH_ENVELOPE) != 0, structure = (fetch->what.items & CV_IMAP_FETCH_BODYSTRUCTURE) != 0;
	struct cv_str texts[2] = { 0 };

	/* Of the two memos those that are asked for. */
	if (envelope || structure)
		cv_view_texts(fetch->view, fetch->seq, envelope ? memos : memos + 1, envelope && structure ? 2 : 1, envelope ? texts : texts + 1);
	fetch->envelope_text = texts[0];
	fetch->structure_text = texts[1];
	if (parsed_items(fetch) == 0 && fetch->what.section_count == 0 && !fetch->note_parts)
		return true;
	/* What is kept may go when the message is read. */
	if (fetch->envelope_text.ptr != NULL)
		fetch->envelope_text = cv_arena_str(fetch->arena, fetch->envelope_text);
	if (fetch->structure_text.ptr != NULL)
		fetch->structure_text = cv_arena_str(fetch->arena, fetch->structure_text);
	return false;
}

int fetch_message_open(struct fetch *fetch, bool there, struct cv_err *err)
{
	int composed;

	cv_buf_clear(&fetch->text);
	fetch->text_done = 0;
	fetch->section = 0;
	fetch->has_thread = false;
	if (fetch->what.note_count > 0 && !there)
		return cv_err_set_public(err, CV_ERR_EXPUNGED, "Message was expunged");
	fetch->at_hand = find_texts(fetch);
	if (!fetch->at_hand && fetch_message_get(fetch, err) < 0 && !(there && only_thread_unknown(fetch, err))) {
		if (!there)
			err->code = CV_ERR_EXPUNGED;
		return -1;
	}
	for (size_t i = 0; i < fetch->what.section_count; i++) {
		if (fetch->what.sections[i].kind == CV_IMAP_SECTION_BODY || fetch_binary_possible(fetch, &fetch->what.sections[i]))
			continue;
		/* "If the server does not know how to decode the section's CTE, it MUST fail the request". */
		fetch->unknown_encoding = true;
		return cv_err_set_public(err, CV_ERR_UNSUPPORTED, "Content transfer encoding is not known");
	}
	/* RFC 5257 section 3.2.1: "The server MUST return a BAD response if the client uses an incorrect part specifier". */
	if (fetch->note_parts && !annotate_fetched_parts_exist(fetch->tree, fetch->what.notes, fetch->what.note_count)) {
		fetch->no_part = true;
		return cv_err_set_public(err, CV_ERR_INVALID, "There is no such body part");
	}
	composed = compose_items(fetch, err);
	if (composed < 0)
		return -1;
	if (!cv_buf_ok(&fetch->text))
		return cv_err_set_public(err, CV_ERR_LIMIT, "Message structure is too large");
	if (composed == 0) {
		cv_buf_clear(&fetch->text);
		return 0;
	}
	fetch->open = true;
	return 1;
}

void fetch_message_close(struct fetch *fetch)
{
	fetch->open = false;
	cv_wire_stream_free(&fetch->wire);
	fetch_binary_end(fetch);
	fetch->reader = NULL;
	if (fetch->mail != NULL)
		cv_mail_close(&fetch->mail);
	fetch->tree = NULL;
	fetch->envelope = NULL;
	fetch->preview = (struct cv_str){ NULL, 0 };
	if (fetch->arena != NULL)
		cv_arena_reset(fetch->arena);
	/* One large structure is no reason to keep its memory for all that follow. */
	if (fetch->text.cap > (size_t)1024 * 1024) {
		cv_buf_deinit(&fetch->text);
		cv_buf_init(&fetch->text, FETCH_TEXT_MAX);
	}
}

/* ---- Sections ----------------------------------------------------------------------------------------- */

static void count(struct fetch *fetch, const struct cv_imap_section *section, uint64_t size)
{
	struct imap_stats *stats = &fetch->s->stats;
	bool header = section->text == CV_IMAP_SECTION_HEADER || section->text == CV_IMAP_SECTION_FIELDS ||
		section->text == CV_IMAP_SECTION_FIELDS_NOT || section->text == CV_IMAP_SECTION_MIME;

	*(header ? &stats->header_count : &stats->body_count) += 1;
	*(header ? &stats->header_size : &stats->body_size) += size;
}

uint64_t fetch_section_clip(const struct cv_imap_section *section, uint64_t size, uint64_t *offset_r)
{
	*offset_r = 0;
	if (!section->partial)
		return size;
	*offset_r = CV_MIN(section->offset, size);
	return CV_MIN(section->length, size - *offset_r);
}

/* Compose the next section's label and literal head; begin its literal. */
static int begin_section(struct fetch *fetch, struct cv_err *err)
{
	const struct cv_imap_section *section = &fetch->what.sections[fetch->section];
	struct cv_buf *out = &fetch->text;
	struct fetch_found found;
	uint64_t offset, length;
	int result = 0;

	if (section->kind == CV_IMAP_SECTION_BODY && fetch_section_find(fetch, section, &found, err) < 0)
		return -1;
	if (fetch->section > 0)
		cv_buf_append_char(out, ' ');
	cv_buf_append(out, section->label);
	cv_buf_append_char(out, ' ');
	if (section->kind != CV_IMAP_SECTION_BODY) {
		fetch->section++;
		return fetch_binary_begin(fetch, section, err);
	}
	switch (found.kind) {
	case FETCH_NIL:
		cv_buf_append_c(out, "NIL");
		break;
	case FETCH_TEXT:
		length = fetch_section_clip(section, found.text.len, &offset);
		cv_imap_append_literal_head(out, false, length);
		cv_imap_append_octets(out, cv_str_sub(cv_buf_str(&found.text), (size_t)offset, (size_t)length));
		count(fetch, section, length);
		break;
	case FETCH_RANGE:
		length = fetch_section_clip(section, found.wire_size, &offset);
		cv_imap_append_literal_head(out, false, length);
		count(fetch, section, length);
		if (length == 0)
			break;
		fetch->wire = cv_wire_stream_new(fetch->reader, found.offset, found.size, found.wire_size);
		fetch->wire_left = length;
		result = cv_wire_stream_seek(fetch->wire, offset, err);
		break;
	}
	fetch_found_free(&found);
	fetch->section++;
	return result < 0 ? -1 : 0;
}

static void flush_text(struct fetch *fetch)
{
	struct cv_str rest = cv_str_sub(cv_buf_str(&fetch->text), fetch->text_done, SIZE_MAX);
	size_t len = CV_MIN(rest.len, cv_stream_room(fetch->s->stream));

	cv_stream_write(fetch->s->stream, cv_str_sub(rest, 0, len));
	fetch->text_done += len;
	fetch->s->in_line = true;
	if (fetch->text_done == fetch->text.len) {
		cv_buf_clear(&fetch->text);
		fetch->text_done = 0;
	}
}

static int write_literal(struct fetch *fetch, struct cv_err *err)
{
	size_t room = CV_MIN(cv_stream_room(fetch->s->stream), CHUNK);
	struct cv_str view;
	int result = cv_wire_stream_read(fetch->wire, (size_t)CV_MIN((uint64_t)room, fetch->wire_left), &view, err);

	if (result == 0)
		return cv_err_set(err, CV_ERR_CORRUPT, "message %u ended in the middle of a section", fetch->row.uid);
	if (result < 0)
		return -1;
	imap_write_octets(fetch->s, view);
	fetch->wire_left -= view.len;
	if (fetch->wire_left == 0)
		cv_wire_stream_free(&fetch->wire);
	return 0;
}

int fetch_message_write(struct fetch *fetch)
{
	uint64_t start = 0; /* 0: nothing took time yet */
	struct cv_err err = { 0 };

	while (cv_stream_room(fetch->s->stream) > 0) {
		if (fetch->text.len > 0) {
			flush_text(fetch);
		} else if (fetch->wire != NULL) {
			if (write_literal(fetch, &err) < 0)
				goto broken;
		} else if (fetch->binary.active) {
			start = start != 0 ? start : cv_time_mono_us();
			if (fetch_binary_go_on(fetch, &err) < 0)
				goto broken;
			if (cv_time_mono_us() - start > IMAP_SLICE_US)
				return 0;
		} else if (fetch->section < fetch->what.section_count) {
			if (begin_section(fetch, &err) < 0)
				goto broken;
		} else {
			cv_buf_append_c(cv_stream_out(fetch->s->stream), ")\r\n");
			fetch->s->in_line = false;
			return 1;
		}
	}
	return 0;
broken:
	/* The client was promised octets that do not come: only the end of the connection tells it. */
	cv_error(fetch->s->log, "FETCH of message %u: %s", fetch->row.uid, err.text);
	imap_close(fetch->s, "Message could not be sent whole");
	return -1;
}
