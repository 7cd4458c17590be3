/* SPDX-License-Identifier: MIT
   Body sections of a message (RFC 3501 section 6.4.5): where their octets are. */
#include <config.h>

#include "fetch.h"

/* Longest header subset that is sent: it is composed in memory. */
#define SUBSET_MAX (FETCH_TEXT_MAX / 2)
/* Octets of a header that are put together in memory, where the message is not there in one piece. */
#define HEADER_MAX ((size_t)64 * 1024 * 1024)

bool fetch_section_in_record(const struct cv_parse_record *record, const struct cv_imap_section *section)
{
	/* Without a body it must be seen whether there is an empty line. */
	return section->kind == CV_IMAP_SECTION_BODY && section->path_len == 0 && section->text == CV_IMAP_SECTION_FIELDS &&
		record->header_size != record->size && cv_parse_record_keeps_all(record, &section->names);
}

static void range(struct fetch_found *found, uint64_t offset, uint64_t size, uint64_t wire_size)
{
	*found = (struct fetch_found){ .kind = FETCH_RANGE, .offset = offset, .size = size, .wire_size = wire_size };
}

/* The header stops with the message's last line, before an empty one. */
static bool is_open(struct cv_str header)
{
	return !cv_str_eq_c(header, "\n") && !cv_str_eq_c(header, "\r\n") && !cv_str_ends(header, CV_STR("\n\n")) &&
		!cv_str_ends(header, CV_STR("\n\r\n"));
}

/* RFC 3501 section 6.4.5: "the blank line is included in all header fetches, except in the case of a message which has no body and no blank
   line". */
static int subset(struct fetch_found *found, struct cv_str header, const struct cv_imap_section *section, bool open, struct cv_err *err)
{
	unsigned opts = CV_HEADER_CRLF | (section->text == CV_IMAP_SECTION_FIELDS_NOT ? CV_HEADER_NOT : 0) | (open ? CV_HEADER_OPEN : 0);

	*found = (struct fetch_found){ .kind = FETCH_TEXT };
	cv_buf_init(&found->text, SUBSET_MAX);
	cv_header_subset(&found->text, header, section->fields, section->field_count, opts);
	if (cv_buf_ok(&found->text))
		return 0;
	fetch_found_free(found);
	return cv_err_set_public(err, CV_ERR_LIMIT, "Header is too long");
}

/* Some header fields of the message or of one within it, from its octets. */
static int header_subset(const struct fetch *fetch, uint64_t offset, uint64_t size, const struct cv_imap_section *section, struct fetch_found *found,
	struct cv_err *err)
{
	struct cv_str header;
	struct cv_buf buf;
	int ret;

	cv_buf_init(&buf, HEADER_MAX);
	ret = cv_message_reader_view(fetch->reader, offset, size, &buf, &header, err);
	if (ret > 0)
		ret = subset(found, header, section, is_open(header), err);
	cv_buf_deinit(&buf);
	return ret < 0 ? -1 : 0;
}

/* Without part numbers: about the whole message. The tree is not needed. */
static int find_in_message(const struct fetch *fetch, const struct cv_imap_section *section, struct fetch_found *found, struct cv_err *err)
{
	const struct cv_parse_record *record = &fetch->record;

	switch (section->text) {
	case CV_IMAP_SECTION_ALL:
		range(found, 0, record->size, record->wire_size);
		return 0;
	case CV_IMAP_SECTION_HEADER:
		range(found, 0, record->header_size, record->header_wire_size);
		return 0;
	case CV_IMAP_SECTION_TEXT:
		range(found, record->header_size, record->size - record->header_size, record->wire_size - record->header_wire_size);
		return 0;
	case CV_IMAP_SECTION_FIELDS:
	case CV_IMAP_SECTION_FIELDS_NOT:
		if (fetch_section_in_record(record, section))
			return subset(found, cv_parse_record_fields(record), section, false, err);
		return header_subset(fetch, 0, record->header_size, section, found, err);
	case CV_IMAP_SECTION_MIME:
		break;
	}
	return 0;
}

/* HEADER, HEADER.FIELDS and TEXT "can be … prefixed by one or more numeric part specifiers, provided that the numeric part specifier refers to a
   part of type MESSAGE/RFC822": of any other part they are NIL. */
static int find_in_part(const struct fetch *fetch, const struct cv_mime_part *part, const struct cv_imap_section *section,
	struct fetch_found *found, struct cv_err *err)
{
	const struct cv_mime_part *inner = part->kind == CV_MIME_MESSAGE ? part->children : NULL;

	if (section->text == CV_IMAP_SECTION_ALL) {
		range(found, part->body_offset, part->body_size, part->body_wire_size);
		return 0;
	}
	if (section->text == CV_IMAP_SECTION_MIME) {
		range(found, part->header_offset, part->header_size, part->header_wire_size);
		return 0;
	}
	if (inner == NULL)
		return 0;
	if (section->text == CV_IMAP_SECTION_HEADER) {
		range(found, inner->header_offset, inner->header_size, inner->header_wire_size);
		return 0;
	}
	if (section->text == CV_IMAP_SECTION_TEXT) {
		range(found, inner->body_offset, inner->body_size, inner->body_wire_size);
		return 0;
	}
	return header_subset(fetch, inner->header_offset, inner->header_size, section, found, err);
}

int fetch_section_find(const struct fetch *fetch, const struct cv_imap_section *section, struct fetch_found *found_r, struct cv_err *err)
{
	const struct cv_mime_part *part;

	*found_r = (struct fetch_found){ .kind = FETCH_NIL };
	if (section->path_len == 0)
		return find_in_message(fetch, section, found_r, err);
	part = cv_mime_part_find(fetch->tree, section->path, section->path_len);
	return part != NULL ? find_in_part(fetch, part, section, found_r, err) : 0;
}

void fetch_found_free(struct fetch_found *found)
{
	if (found->kind == FETCH_TEXT)
		cv_buf_deinit(&found->text);
	found->kind = FETCH_NIL;
}
