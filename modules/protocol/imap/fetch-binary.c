/* SPDX-License-Identifier: MIT
   BINARY and BINARY.SIZE (RFC 3516 section 4.2): a section's octets without their content transfer encoding. Its size stands before it, so that an
   encoded section is decoded twice: to count, and to send. Both a piece at a time. */
#include <config.h>

#include "fetch.h"

#include "modules/lib/imap/imap-quote.h"

/* Encoded octets that are decoded at once. */
#define PIECE ((size_t)64 * 1024)

/* The part in whose transfer encoding a section's octets are: the one that it names, or with TEXT the whole body of a message. NULL: they are as they
   are; what holds other parts has no encoding of its own (RFC 2045 section 6.4). */
const struct cv_mime_part *fetch_binary_part(const struct fetch *fetch, const struct cv_imap_section *section)
{
	const struct cv_mime_part *part = NULL;

	if (section->path_len > 0)
		part = cv_mime_part_find(fetch->tree, section->path, section->path_len);
	if (section->text == CV_IMAP_SECTION_TEXT && section->path_len == 0)
		part = fetch->tree;
	else if (section->text == CV_IMAP_SECTION_TEXT)
		part = part != NULL && part->kind == CV_MIME_MESSAGE ? part->children : NULL;
	else if (section->text != CV_IMAP_SECTION_ALL)
		part = NULL;
	return part != NULL && part->kind == CV_MIME_LEAF ? part : NULL;
}

bool fetch_binary_possible(const struct fetch *fetch, const struct cv_imap_section *section)
{
	const struct cv_mime_part *part = fetch_binary_part(fetch, section);

	return part == NULL || part->encoding != CV_TRANSFER_UNKNOWN;
}

static void begin_pass(struct fetch *fetch)
{
	struct fetch_binary *binary = &fetch->binary;

	cv_wire_stream_free(&binary->wire);
	binary->wire = cv_wire_stream_new(fetch->reader, binary->offset, binary->size, binary->wire_size);
	cv_transfer_decoder_init(&binary->decoder, binary->encoding);
	binary->ended = false;
	cv_buf_clear(&binary->piece);
}

/* The next piece of decoded octets; it may be empty. */
static int read_piece(struct fetch *fetch, struct cv_err *err)
{
	struct fetch_binary *binary = &fetch->binary;
	struct cv_str view;
	int result = cv_wire_stream_read(binary->wire, PIECE, &view, err);

	cv_buf_clear(&binary->piece);
	if (result < 0)
		return -1;
	if (result == 0) {
		cv_transfer_decode_finish(&binary->decoder, &binary->piece);
		binary->ended = true;
	} else {
		cv_transfer_decode(&binary->decoder, view, &binary->piece);
	}
	return 0;
}

/* "BINARY" section-binary SP (nstring / literal8): "If the domain of the decoded data is "8bit" and the data does not contain the NUL octet, the
   server SHOULD return the data in a <string>". */
static void write_head(struct fetch *fetch)
{
	struct fetch_binary *binary = &fetch->binary;
	const struct cv_imap_section *section = binary->section;
	uint64_t offset = section->partial ? CV_MIN(section->offset, binary->total) : 0;
	uint64_t length = section->partial ? CV_MIN(section->length, binary->total - offset) : binary->total;

	if (section->kind == CV_IMAP_SECTION_BINARY_SIZE) {
		cv_buf_append_u64(&fetch->text, binary->total);
		fetch_binary_end(fetch);
		return;
	}
	cv_imap_append_literal_head(&fetch->text, binary->nul, length);
	fetch->s->stats.body_count++;
	fetch->s->stats.body_size += length;
	binary->counting = false;
	binary->skip = offset;
	binary->left = length;
	if (length == 0)
		fetch_binary_end(fetch);
	else
		begin_pass(fetch);
}

/* Fields of a header, which are there already. */
static void write_text(struct fetch *fetch, const struct cv_imap_section *section, const struct cv_buf *text)
{
	uint64_t offset, length = fetch_section_clip(section, text->len, &offset);

	if (section->kind == CV_IMAP_SECTION_BINARY_SIZE) {
		cv_buf_append_u64(&fetch->text, text->len);
		return;
	}
	cv_imap_append_literal_head(&fetch->text, cv_str_has_nul(cv_buf_str(text)), length);
	cv_buf_append(&fetch->text, cv_str_sub(cv_buf_str(text), (size_t)offset, (size_t)length));
	fetch->s->stats.header_count++;
	fetch->s->stats.header_size += length;
}

static void begin_range(struct fetch *fetch, const struct cv_imap_section *section, const struct fetch_found *found)
{
	struct fetch_binary *binary = &fetch->binary;
	const struct cv_mime_part *part = fetch_binary_part(fetch, section), *named = part;
	unsigned flags;

	if (section->path_len > 0 && section->text == CV_IMAP_SECTION_ALL)
		named = cv_mime_part_find(fetch->tree, section->path, section->path_len);
	flags = named != NULL ? named->flags & CV_MIME_BODY_NUL : fetch->record.flags & (CV_MIME_HEADER_NUL | CV_MIME_BODY_NUL);
	*binary = (struct fetch_binary){
		.section = section,
		.active = true,
		.counting = true,
		.offset = found->offset,
		.size = found->size,
		.wire_size = found->wire_size,
		.encoding = part != NULL ? part->encoding : CV_TRANSFER_IDENTITY,
		.nul = flags != 0,
	};
	cv_buf_init(&binary->piece, SIZE_MAX / 2);
	if (binary->encoding == CV_TRANSFER_IDENTITY) {
		binary->total = binary->wire_size;
		write_head(fetch);
	} else {
		binary->nul = false;
		begin_pass(fetch);
	}
}

int fetch_binary_begin(struct fetch *fetch, const struct cv_imap_section *section, struct cv_err *err)
{
	struct fetch_found found;

	if (fetch_section_find(fetch, section, &found, err) < 0)
		return -1;
	switch (found.kind) {
	case FETCH_NIL:
		cv_buf_append_c(&fetch->text, section->kind == CV_IMAP_SECTION_BINARY_SIZE ? "0" : "NIL");
		break;
	case FETCH_TEXT:
		write_text(fetch, section, &found.text);
		break;
	case FETCH_RANGE:
		begin_range(fetch, section, &found);
		break;
	}
	fetch_found_free(&found);
	return 0;
}

int fetch_binary_go_on(struct fetch *fetch, struct cv_err *err)
{
	struct fetch_binary *binary = &fetch->binary;
	struct cv_str piece;

	if (binary->counting) {
		if (binary->ended) {
			write_head(fetch);
			return 0;
		}
		if (read_piece(fetch, err) < 0)
			return -1;
		binary->total += binary->piece.len;
		binary->nul |= cv_str_has_nul(cv_buf_str(&binary->piece));
		return 0;
	}
	if (binary->ended)
		return cv_err_set(err, CV_ERR_CORRUPT, "message %u ended in the middle of a section", fetch->row.uid);
	if (read_piece(fetch, err) < 0)
		return -1;
	piece = cv_buf_str(&binary->piece);
	if (binary->skip > 0) {
		size_t skipped = (size_t)CV_MIN(binary->skip, (uint64_t)piece.len);

		piece = cv_str_sub(piece, skipped, SIZE_MAX);
		binary->skip -= skipped;
	}
	piece = cv_str_sub(piece, 0, (size_t)CV_MIN(binary->left, (uint64_t)piece.len));
	cv_stream_write(fetch->s->stream, piece);
	binary->left -= piece.len;
	if (binary->left == 0)
		fetch_binary_end(fetch);
	return 0;
}

void fetch_binary_end(struct fetch *fetch)
{
	struct fetch_binary *binary = &fetch->binary;

	if (!binary->active)
		return;
	cv_wire_stream_free(&binary->wire);
	cv_buf_deinit(&binary->piece);
	*binary = (struct fetch_binary){ 0 };
}
