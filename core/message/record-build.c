/* SPDX-License-Identifier: MIT
   Writing parse records: see record-private.h for the layout. */
#include <config.h>

#include "core/message/record-private.h"

#define FIELD_MAX ((size_t)4096)   /* a longer field is left out */
#define FIELDS_MAX ((size_t)32768) /* and so are fields beyond this in all */
/* The same of fields whose names are not in the table: what programs put there for themselves and others is short, signatures and traces are not. */
#define OTHER_MAX ((size_t)256)
#define OTHERS_MAX ((size_t)1024)
/* Where a string is looked for in the pool: near the last one found, since strings come in the order of the header, and at the
   start. Only so many times at the start: the time for a hostile message is bounded. */
#define NEAR_WINDOW 512
#define START_WINDOW 4096
#define START_SEARCHES 2000

struct builder {
	struct cv_buf pool;
	size_t near;
	unsigned searches;
	uint64_t omitted, others_omitted;
};

static void build_fields(struct builder *b, const struct cv_message *message)
{
	struct cv_header_iter iter;
	struct cv_header_field field;
	bool received = false;
	size_t others = 0, room;

	if (message->root->flags & CV_MIME_HEADER_CUT)
		b->omitted = b->others_omitted = UINT64_MAX; /* nothing is known about what was cut */
	cv_header_iter_init(&iter, message->header);
	while (cv_header_iter_next(&iter, &field)) {
		int index = cv_record_kept_name(field.name);

		if (index == CV_RECORD_RECEIVED && received)
			continue;
		if (index == CV_RECORD_RECEIVED)
			received = true;
		room = CV_MIN(FIELDS_MAX - b->pool.len, index < 0 ? CV_MIN(OTHER_MAX, OTHERS_MAX - others) : FIELD_MAX);
		if (field.raw.len <= room) {
			cv_buf_append(&b->pool, field.raw);
			others += index < 0 ? field.raw.len : 0;
		} else if (index < 0) {
			b->others_omitted |= cv_record_name_bit(field.name);
		} else {
			b->omitted |= UINT64_C(1) << index;
		}
	}
}

static size_t find_in(const struct builder *b, size_t from, size_t window, struct cv_str s)
{
	size_t found = cv_str_find_str(cv_str_sub(cv_buf_str(&b->pool), from, window), s);

	return found == SIZE_MAX ? SIZE_MAX : from + found;
}

static void put_string(struct builder *b, struct cv_buf *out, struct cv_str s)
{
	size_t at;

	if (s.len == 0) {
		cv_put_varint(out, s.ptr == NULL ? 0 : 1);
		return;
	}
	at = find_in(b, b->near, s.len + NEAR_WINDOW, s);
	if (at == SIZE_MAX && b->searches < START_SEARCHES) {
		b->searches++;
		at = find_in(b, 0, START_WINDOW, s);
	}
	if (at == SIZE_MAX) {
		at = b->pool.len;
		cv_buf_append(&b->pool, s);
	}
	b->near = at + s.len;
	cv_put_varint(out, (uint64_t)s.len + 1);
	cv_put_varint(out, at);
}

static void put_addresses(struct builder *b, struct cv_buf *out, const struct cv_address_list *list)
{
	if (list->items == NULL) {
		cv_put_varint(out, 0);
		return;
	}
	cv_put_varint(out, (uint64_t)list->count + 1);
	for (size_t i = 0; i < list->count && cv_buf_ok(out) && cv_buf_ok(&b->pool); i++) {
		const struct cv_address *a = &list->items[i];

		cv_put_u8(out, (uint8_t)((unsigned)a->kind | (a->name.ptr != NULL ? 4U : 0) |
			(a->route.ptr != NULL ? 8U : 0)));
		if (a->name.ptr != NULL)
			put_string(b, out, a->name);
		if (a->route.ptr != NULL)
			put_string(b, out, a->route);
		if (a->kind != CV_ADDRESS_GROUP_END)
			put_string(b, out, a->mailbox);
		if (a->kind == CV_ADDRESS_MAILBOX)
			put_string(b, out, a->host);
	}
}

static void put_envelope(struct builder *b, struct cv_buf *out, const struct cv_envelope *e)
{
	put_string(b, out, e->date);
	put_string(b, out, e->subject);
	put_string(b, out, e->in_reply_to);
	put_string(b, out, e->message_id);
	put_addresses(b, out, &e->from);
	put_addresses(b, out, &e->sender);
	put_addresses(b, out, &e->reply_to);
	put_addresses(b, out, &e->to);
	put_addresses(b, out, &e->cc);
	put_addresses(b, out, &e->bcc);
}

static void put_params(struct builder *b, struct cv_buf *out, const struct cv_params *params)
{
	cv_put_varint(out, params->count);
	for (size_t i = 0; i < params->count; i++) {
		put_string(b, out, params->items[i].name);
		put_string(b, out, params->items[i].value);
	}
}

static unsigned part_bits(const struct cv_mime_part *part)
{
	return (part->disposition.ptr != NULL ? (unsigned)CV_RECORD_DISPOSITION : 0) |
		(part->id.ptr != NULL ? (unsigned)CV_RECORD_ID : 0) |
		(part->description.ptr != NULL ? (unsigned)CV_RECORD_DESCRIPTION : 0) |
		(part->md5.ptr != NULL ? (unsigned)CV_RECORD_MD5 : 0) |
		(part->location.ptr != NULL ? (unsigned)CV_RECORD_LOCATION : 0) |
		(part->language_count > 0 ? (unsigned)CV_RECORD_LANGUAGES : 0) |
		(part->encoding_name.ptr != NULL ? (unsigned)CV_RECORD_ENCODING : 0);
}

static void put_part(struct builder *b, struct cv_buf *out, const struct cv_mime_part *part, uint64_t offset_before)
{
	unsigned bits = part_bits(part);

	cv_put_varint(out, (uint64_t)part->flags * 4 + (unsigned)part->kind);
	cv_put_varint(out, part->child_count);
	put_string(b, out, part->type);
	put_string(b, out, part->subtype);
	put_params(b, out, &part->params);
	cv_put_varint(out, bits);
	if (bits & CV_RECORD_DISPOSITION) {
		put_string(b, out, part->disposition);
		put_params(b, out, &part->disposition_params);
	}
	if (bits & CV_RECORD_ID)
		put_string(b, out, part->id);
	if (bits & CV_RECORD_DESCRIPTION)
		put_string(b, out, part->description);
	if (bits & CV_RECORD_MD5)
		put_string(b, out, part->md5);
	if (bits & CV_RECORD_LOCATION)
		put_string(b, out, part->location);
	if (bits & CV_RECORD_LANGUAGES) {
		cv_put_varint(out, part->language_count);
		for (size_t i = 0; i < part->language_count; i++)
			put_string(b, out, part->languages[i]);
	}
	if (bits & CV_RECORD_ENCODING)
		put_string(b, out, part->encoding_name);
	cv_put_varint(out, part->header_offset - offset_before);
	cv_put_varint(out, part->header_size);
	cv_put_varint(out, part->header_wire_size - part->header_size);
	cv_put_varint(out, part->header_lines);
	cv_put_varint(out, part->body_size);
	cv_put_varint(out, part->body_wire_size - part->body_size);
	cv_put_varint(out, part->body_lines);
	if (part->kind == CV_MIME_MULTIPART) {
		cv_put_varint(out, part->preamble_size);
		cv_put_varint(out, part->epilogue_size);
	}
	if (part->parent != NULL && part->envelope != NULL)
		put_envelope(b, out, part->envelope);
}

static void put_parts(struct builder *b, struct cv_buf *out, const struct cv_mime_part *root)
{
	uint64_t offset = 0;

	for (const struct cv_mime_part *part = root; part != NULL && cv_buf_ok(out) && cv_buf_ok(&b->pool);
		part = cv_mime_part_next(part)) {
		put_part(b, out, part, offset);
		offset = part->header_offset;
	}
}

/* Keep a section only when it and its strings fit in what is left. */
static bool settle(struct builder *b, struct cv_buf *section, size_t pool_before, size_t *left)
{
	size_t strings = b->pool.len - pool_before;

	if (cv_buf_ok(section) && cv_buf_ok(&b->pool) && section->len <= *left && strings <= *left - section->len) {
		*left -= section->len + strings;
		return true;
	}
	cv_buf_truncate(&b->pool, pool_before);
	b->pool.failed = false; /* what did not fit is gone again */
	cv_buf_clear(section);
	b->near = 0;
	return false;
}

void cv_parse_record_build(const struct cv_message *message, struct cv_buf *out)
{
	struct builder b = { 0 };
	struct cv_buf envelope, parts;
	struct cv_str preview = message->preview;
	size_t left, fields, before;
	unsigned sections = 0;

	cv_buf_init(&b.pool, CV_PARSE_RECORD_MAX);
	cv_buf_init(&envelope, CV_PARSE_RECORD_MAX);
	cv_buf_init(&parts, CV_PARSE_RECORD_MAX);
	build_fields(&b, message);
	fields = b.pool.len;
	left = CV_PARSE_RECORD_MAX - CV_RECORD_FIXED - fields;
	if (preview.len <= left) {
		left -= preview.len;
		sections |= CV_RECORD_PREVIEW;
	} else {
		preview = CV_STR("");
	}
	before = b.pool.len;
	put_envelope(&b, &envelope, message->root->envelope);
	if (settle(&b, &envelope, before, &left)) {
		sections |= CV_RECORD_ENVELOPE;
		before = b.pool.len;
		put_parts(&b, &parts, message->root);
		if (settle(&b, &parts, before, &left))
			sections |= CV_RECORD_PARTS;
	}
	cv_buf_append_c(out, CV_RECORD_MAGIC);
	cv_put_u8(out, CV_PARSE_RECORD_VERSION);
	cv_put_u8(out, (uint8_t)sections);
	cv_put_u16(out, CV_RECORD_FIXED);
	cv_put_u32(out, (uint32_t)(CV_RECORD_FIXED + b.pool.len + envelope.len + parts.len + preview.len));
	cv_put_u32(out, message->flags);
	cv_put_u64(out, message->size);
	cv_put_u64(out, message->wire_size);
	cv_put_u64(out, message->root->header_size);
	cv_put_u64(out, message->root->header_wire_size);
	cv_put_u64(out, (uint64_t)message->date.sec);
	cv_put_u16(out, (uint16_t)message->date.zone_min);
	cv_put_u16(out, (uint16_t)((message->date_valid ? CV_RECORD_DATE_VALID : 0) |
		(message->date.zone_unknown ? CV_RECORD_ZONE_UNKNOWN : 0)));
	cv_put_u32(out, message->part_count);
	cv_put_u32(out, message->attachments);
	cv_put_u64(out, b.omitted);
	cv_put_u32(out, (uint32_t)fields);
	cv_put_u32(out, (uint32_t)b.pool.len);
	cv_put_u32(out, (uint32_t)envelope.len);
	cv_put_u32(out, (uint32_t)parts.len);
	cv_put_u32(out, (uint32_t)preview.len);
	cv_put_u64(out, b.others_omitted);
	cv_buf_append(out, cv_buf_str(&b.pool));
	cv_buf_append(out, cv_buf_str(&envelope));
	cv_buf_append(out, cv_buf_str(&parts));
	cv_buf_append(out, preview);
	cv_buf_deinit(&parts);
	cv_buf_deinit(&envelope);
	cv_buf_deinit(&b.pool);
}
