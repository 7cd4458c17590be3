/* SPDX-License-Identifier: MIT
   Reading parse records, which come from files and are believed nothing: see record-private.h for the layout. */
#include <config.h>

#include "core/message/mime-private.h"
#include "core/message/record-private.h"

#define DEPTH_MAX (CV_MIME_DEPTH_MAX + 1)

/* A section being read. Takes fail by setting bad and giving something harmless, so that it is asked once at the end of each
   part and before anything is allocated by a count. */
struct section {
	struct cv_reader r;
	struct cv_str pool;
	struct cv_arena *arena;
	bool bad;
};

static int corrupt(struct cv_err *err, const char *what)
{
	return cv_err_set(err, CV_ERR_CORRUPT, "parse record: %s", what);
}

static uint64_t take_number(struct section *s, uint64_t max)
{
	uint64_t n = 0;

	if (!cv_take_varint(&s->r, &n) || n > max) {
		s->bad = true;
		return 0;
	}
	return n;
}

/* A count of things that take at least min octets each. */
static size_t take_count(struct section *s, size_t min)
{
	return (size_t)take_number(s, cv_reader_left(&s->r) / min);
}

static struct cv_str take_string(struct section *s)
{
	uint64_t len = take_number(s, (uint64_t)s->pool.len + 1), offset;

	if (len == 0)
		return (struct cv_str){ 0 };
	if (--len == 0)
		return CV_STR("");
	offset = take_number(s, s->pool.len - len);
	return cv_str_sub(s->pool, (size_t)offset, (size_t)len);
}

static struct cv_str take_present(struct section *s)
{
	struct cv_str string = take_string(s);

	if (string.ptr == NULL) {
		s->bad = true;
		return CV_STR("");
	}
	return string;
}

static void take_addresses(struct section *s, struct cv_address_list *list_r)
{
	size_t count = take_count(s, 1);

	*list_r = (struct cv_address_list){ 0 };
	if (count == 0 || s->bad)
		return;
	list_r->count = count - 1;
	list_r->items = cv_new(s->arena, struct cv_address, list_r->count);
	for (size_t i = 0; i < list_r->count && !s->bad; i++) {
		struct cv_address *a = &list_r->items[i];
		uint8_t bits = 0;

		if (!cv_take_u8(&s->r, &bits) || (bits & 3) > CV_ADDRESS_GROUP_END || bits > 15) {
			s->bad = true;
			return;
		}
		a->kind = (enum cv_address_kind)(bits & 3);
		if (bits & 4)
			a->name = take_present(s);
		if (bits & 8)
			a->route = take_present(s);
		if (a->kind != CV_ADDRESS_GROUP_END)
			a->mailbox = take_present(s);
		if (a->kind == CV_ADDRESS_MAILBOX)
			a->host = take_present(s);
	}
}

static void take_envelope(struct section *s, struct cv_envelope *e)
{
	e->date = take_string(s);
	e->subject = take_string(s);
	e->in_reply_to = take_string(s);
	e->message_id = take_string(s);
	take_addresses(s, &e->from);
	take_addresses(s, &e->sender);
	take_addresses(s, &e->reply_to);
	take_addresses(s, &e->to);
	take_addresses(s, &e->cc);
	take_addresses(s, &e->bcc);
}

static void take_params(struct section *s, struct cv_params *params_r)
{
	size_t count = take_count(s, 2);

	if (s->bad || count == 0)
		return;
	params_r->count = count;
	params_r->items = cv_new(s->arena, struct cv_param, count);
	for (size_t i = 0; i < count; i++) {
		params_r->items[i].name = take_present(s);
		params_r->items[i].value = take_present(s);
	}
}

static void take_content(struct section *s, struct cv_mime_part *part)
{
	unsigned bits;

	part->type = take_present(s);
	part->subtype = take_present(s);
	take_params(s, &part->params);
	bits = (unsigned)take_number(s, 127);
	if (bits & CV_RECORD_DISPOSITION) {
		part->disposition = take_present(s);
		take_params(s, &part->disposition_params);
	}
	if (bits & CV_RECORD_ID)
		part->id = take_present(s);
	if (bits & CV_RECORD_DESCRIPTION)
		part->description = take_present(s);
	if (bits & CV_RECORD_MD5)
		part->md5 = take_present(s);
	if (bits & CV_RECORD_LOCATION)
		part->location = take_present(s);
	if (bits & CV_RECORD_LANGUAGES) {
		size_t count = take_count(s, 1);

		if (!s->bad) {
			part->languages = cv_new(s->arena, struct cv_str, count);
			part->language_count = count;
		}
		for (size_t i = 0; i < part->language_count; i++)
			part->languages[i] = take_present(s);
	}
	if (bits & CV_RECORD_ENCODING) {
		part->encoding_name = take_present(s);
		part->encoding = cv_transfer_parse(part->encoding_name);
	}
}

/* size octets with so many bare LFs among so many lines. Line counts stop at UINT32_MAX. */
static void take_extent(struct section *s, uint64_t size, uint64_t *wire_size_r, uint32_t *lines_r)
{
	uint64_t bare = take_number(s, size);

	*wire_size_r = size + bare;
	*lines_r = (uint32_t)take_number(s, CV_MIN(size, (uint64_t)UINT32_MAX));
	if (bare > *lines_r && *lines_r != UINT32_MAX)
		s->bad = true;
}

/* Offsets and sizes: each part lies within its parent's body, behind the part before. */
static void take_place(struct section *s, struct cv_mime_part *part, uint64_t offset_before, uint64_t end)
{
	uint64_t floor = part->parent != NULL ? part->parent->body_offset : 0;

	part->header_offset = offset_before + take_number(s, end - CV_MIN(end, offset_before));
	if (part->header_offset < floor || part->header_offset > end) {
		s->bad = true;
		return;
	}
	part->header_size = take_number(s, end - part->header_offset);
	take_extent(s, part->header_size, &part->header_wire_size, &part->header_lines);
	part->body_offset = part->header_offset + part->header_size;
	part->body_size = take_number(s, end - part->body_offset);
	take_extent(s, part->body_size, &part->body_wire_size, &part->body_lines);
	if (part->kind == CV_MIME_MULTIPART) {
		part->preamble_size = take_number(s, part->body_size);
		part->epilogue_size = take_number(s, part->body_size);
	}
}

static uint64_t body_end(const struct cv_mime_part *part)
{
	return part->body_offset + part->body_size;
}

static void take_part(struct section *s, struct cv_mime_part *part, uint64_t offset_before, uint64_t end)
{
	uint64_t head = take_number(s, UINT32_MAX);
	uint32_t children = (uint32_t)take_number(s, UINT32_MAX);

	part->flags = (unsigned)(head >> 2);
	part->kind = (enum cv_mime_kind)(head & 3);
	part->child_count = children;
	switch (part->kind) {
	case CV_MIME_LEAF:
		s->bad = s->bad || children != 0;
		break;
	case CV_MIME_MULTIPART:
		s->bad = s->bad || children == 0;
		break;
	case CV_MIME_MESSAGE:
		s->bad = s->bad || children != 1;
		break;
	default: /* a kind that only a damaged record has */
		s->bad = true;
		break;
	}
	if (s->bad)
		return;
	take_content(s, part);
	take_place(s, part, offset_before, end);
	if (part->parent == NULL || part->parent->kind == CV_MIME_MESSAGE)
		part->envelope = cv_new(s->arena, struct cv_envelope, 1);
	if (part->parent != NULL && part->envelope != NULL)
		take_envelope(s, part->envelope);
}

int cv_parse_record_open(struct cv_str octets, struct cv_parse_record *record_r, struct cv_err *err)
{
	struct cv_reader r = cv_reader_init(octets);
	struct cv_parse_record record = { .octets = octets };
	uint8_t version, sections;
	uint16_t fixed, zone, date_bits;
	uint32_t total, fields, pool, envelope, parts, preview;
	uint64_t date;
	struct cv_str rest;

	record.others_omitted = UINT64_MAX;
	if (!cv_take_lit(&r, CV_STR(CV_RECORD_MAGIC)) || !cv_take_u8(&r, &version))
		return corrupt(err, "no parse record");
	if (version != CV_PARSE_RECORD_VERSION)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "parse record has version %u, this program knows %u",
			(unsigned)version, CV_PARSE_RECORD_VERSION);
	if (!cv_take_u8(&r, &sections) || !cv_take_u16(&r, &fixed) || !cv_take_u32(&r, &total) ||
		!cv_take_u32(&r, &record.flags) || !cv_take_u64(&r, &record.size) || !cv_take_u64(&r, &record.wire_size) ||
		!cv_take_u64(&r, &record.header_size) || !cv_take_u64(&r, &record.header_wire_size) ||
		!cv_take_u64(&r, &date) || !cv_take_u16(&r, &zone) || !cv_take_u16(&r, &date_bits) ||
		!cv_take_u32(&r, &record.part_count) || !cv_take_u32(&r, &record.attachments) ||
		!cv_take_u64(&r, &record.omitted) || !cv_take_u32(&r, &fields) || !cv_take_u32(&r, &pool) ||
		!cv_take_u32(&r, &envelope) || !cv_take_u32(&r, &parts) || !cv_take_u32(&r, &preview))
		return corrupt(err, "it is too short");
	if (total != octets.len || total > CV_PARSE_RECORD_MAX || fixed < CV_RECORD_FIXED_MIN || fixed > total ||
		(fixed >= CV_RECORD_FIXED && !cv_take_u64(&r, &record.others_omitted)))
		return corrupt(err, "its length is wrong");
	if (record.size > INT64_MAX || record.wire_size < record.size || record.wire_size - record.size > record.size ||
		record.header_size > record.size || record.header_wire_size < record.header_size ||
		record.header_wire_size - record.header_size > record.header_size || record.part_count == 0 ||
		record.attachments > record.part_count)
		return corrupt(err, "its sizes contradict each other");
	rest = cv_str_sub(octets, fixed, SIZE_MAX);
	r = cv_reader_init(rest);
	if (!cv_take_len(&r, pool, &record.pool) || !cv_take_len(&r, envelope, &record.envelope) ||
		!cv_take_len(&r, parts, &record.parts) || !cv_take_len(&r, preview, &record.preview) ||
		!cv_reader_end(&r) || fields > pool)
		return corrupt(err, "its sections do not fit");
	record.fields = cv_str_sub(record.pool, 0, fields);
	if ((sections & CV_RECORD_ENVELOPE) == 0)
		record.envelope = (struct cv_str){ 0 };
	if ((sections & CV_RECORD_PARTS) == 0)
		record.parts = (struct cv_str){ 0 };
	if ((sections & CV_RECORD_PREVIEW) == 0)
		record.preview = (struct cv_str){ 0 };
	record.date_valid = (date_bits & CV_RECORD_DATE_VALID) != 0;
	record.date.sec = (int64_t)date;
	record.date.zone_min = (int16_t)zone;
	record.date.zone_unknown = (date_bits & CV_RECORD_ZONE_UNKNOWN) != 0;
	if (record.date.zone_min <= -24 * 60 || record.date.zone_min >= 24 * 60)
		return corrupt(err, "its date has no possible zone");
	*record_r = record;
	return 1;
}

int cv_parse_record_envelope(const struct cv_parse_record *record, struct cv_arena *arena,
	struct cv_envelope *envelope_r, struct cv_err *err)
{
	struct section s = { .r = cv_reader_init(record->envelope), .pool = record->pool, .arena = arena };

	*envelope_r = (struct cv_envelope){ 0 };
	if (record->envelope.ptr == NULL)
		return 0;
	take_envelope(&s, envelope_r);
	if (s.bad || !cv_reader_end(&s.r))
		return corrupt(err, "its envelope is damaged");
	return 1;
}

int cv_parse_record_tree(const struct cv_parse_record *record, struct cv_arena *arena,
	struct cv_mime_part **root_r, struct cv_err *err)
{
	struct section s = { .r = cv_reader_init(record->parts), .pool = record->pool, .arena = arena };
	struct cv_mime_part *parent = NULL, *before = NULL, *root = NULL;
	uint32_t have[DEPTH_MAX + 1] = { 0 }; /* children so far of the part at each depth */
	uint64_t offset = 0;
	uint32_t index = 0;
	int result;

	*root_r = NULL;
	if (record->parts.ptr == NULL)
		return 0;
	do {
		struct cv_mime_part *part = cv_new(arena, struct cv_mime_part, 1);
		uint64_t offset_floor = 0;

		part->index = index++;
		part->parent = parent;
		part->depth = parent != NULL ? parent->depth + 1 : 0;
		if (part->depth > DEPTH_MAX || index > record->part_count)
			return corrupt(err, "its part tree is too large");
		have[part->depth] = 0;
		if (parent == NULL)
			root = part;
		else if (before == NULL)
			parent->children = part;
		else
			before->next = part;
		if (parent != NULL)
			have[parent->depth]++;
		if (before != NULL)
			offset_floor = body_end(before);
		take_part(&s, part, offset, parent != NULL ? body_end(parent) : record->size);
		if (s.bad || part->header_offset < offset_floor)
			return corrupt(err, "its part tree is damaged");
		offset = part->header_offset;
		before = part;
		if (part->child_count > 0) {
			parent = part;
			before = NULL;
			continue;
		}
		/* up to the next ancestor that still lacks children */
		while (parent != NULL && have[parent->depth] == parent->child_count) {
			before = parent;
			parent = parent->parent;
		}
	} while (parent != NULL);
	if (!cv_reader_end(&s.r) || index != record->part_count || root->header_offset != 0 ||
		root->header_size != record->header_size || root->header_wire_size != record->header_wire_size)
		return corrupt(err, "its part tree does not fit the message");
	result = cv_parse_record_envelope(record, arena, root->envelope, err);
	if (result > 0)
		*root_r = root;
	return result;
}

int cv_parse_record_preview(const struct cv_parse_record *record, struct cv_str *preview_r)
{
	*preview_r = record->preview;
	return record->preview.ptr != NULL && cv_str_is_utf8(record->preview) ? 1 : 0;
}

struct cv_str cv_parse_record_fields(const struct cv_parse_record *record)
{
	return record->fields;
}

static bool all_kept(const struct cv_parse_record *record, struct cv_str name, int index)
{
	return index >= 0 ? (record->omitted >> index & 1) == 0 : (record->others_omitted & cv_record_name_bit(name)) == 0;
}

bool cv_parse_record_keeps(const struct cv_parse_record *record, struct cv_str name)
{
	int index = cv_record_kept_name(name);

	return index != CV_RECORD_RECEIVED && all_kept(record, name, index);
}

void cv_record_names_add(struct cv_record_names *names, struct cv_str name)
{
	int index = cv_record_kept_name(name);

	if (index == CV_RECORD_RECEIVED)
		names->never = true;
	else if (index >= 0)
		names->kept |= UINT64_C(1) << index;
	else
		names->others |= cv_record_name_bit(name);
}

bool cv_parse_record_keeps_all(const struct cv_parse_record *record, const struct cv_record_names *names)
{
	return !names->never && (record->omitted & names->kept) == 0 && (record->others_omitted & names->others) == 0;
}

int cv_parse_record_field(const struct cv_parse_record *record, struct cv_str name, struct cv_buf *out)
{
	int index = cv_record_kept_name(name);
	struct cv_header_field field;

	if (!all_kept(record, name, index))
		return -1;
	if (!cv_header_find(record->fields, name, 0, &field))
		return 0;
	cv_header_unfold(out, field.value);
	return 1;
}
