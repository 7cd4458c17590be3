/* SPDX-License-Identifier: MIT
   Journal entries to octets and back. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/record.h"

#include <string.h>

#define NAME_MAX_LEN 4096u
#define PARSE_MAX ((size_t)1 << 20)
#define RANGES_MAX 200000000u

static void put_guid(struct cv_buf *out, const struct cv_guid *guid)
{
	cv_buf_append_mem(out, guid->b, sizeof(guid->b));
}

static bool take_guid(struct cv_reader *reader, struct cv_guid *guid_r)
{
	struct cv_str octets;

	if (!cv_take_len(reader, sizeof(guid_r->b), &octets))
		return false;
	memcpy(guid_r->b, octets.ptr, sizeof(guid_r->b));
	return true;
}

void cv_ref_put(struct cv_buf *out, struct cv_str ref)
{
	cv_assert(ref.len <= CV_STORAGE_REF_MAX);
	cv_put_u8(out, (uint8_t)ref.len);
	cv_buf_append(out, ref);
}

bool cv_take_ref(struct cv_reader *reader, struct cv_str *ref_r)
{
	struct cv_reader r = *reader;
	uint8_t len;

	if (!cv_take_u8(&r, &len) || !cv_take_len(&r, len, ref_r))
		return false;
	*reader = r;
	return true;
}

void cv_keywords_put(struct cv_buf *out, const struct cv_str *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		cv_ref_put(out, names[i]); /* one octet of length too */
}

bool cv_keywords_next(struct cv_str list, size_t *pos, struct cv_str *name_r)
{
	struct cv_reader reader = { .s = list, .pos = *pos };

	if (!cv_take_ref(&reader, name_r))
		return false;
	*pos = reader.pos;
	return true;
}

void cv_ranges_put(struct cv_buf *out, const struct cv_ranges *ranges)
{
	uint32_t next = 0;

	cv_put_u32(out, (uint32_t)ranges->count);
	for (size_t i = 0; i < ranges->count; i++) {
		cv_put_varint(out, ranges->data[i].first - next);
		cv_put_varint(out, ranges->data[i].last - ranges->data[i].first);
		next = ranges->data[i].last; /* the next first is at least two higher; keeping it simple costs nothing */
	}
}

void cv_group_put_flags(struct cv_buf *out, uint16_t before, uint16_t after, struct cv_str keywords, const struct cv_ranges *uids)
{
	cv_put_u16(out, before);
	cv_put_u16(out, after);
	cv_put_str(out, keywords);
	cv_ranges_put(out, uids);
}

void cv_group_put_expunge(struct cv_buf *out, uint16_t before, uint64_t size, const struct cv_ranges *uids, struct cv_str refs)
{
	cv_put_u16(out, before);
	cv_put_u64(out, size);
	cv_put_str(out, refs);
	cv_ranges_put(out, uids);
}

void cv_group_put_notes(struct cv_buf *out, struct cv_str changes, const struct cv_ranges *uids)
{
	cv_put_str(out, changes);
	cv_ranges_put(out, uids);
}

/* The ranges are stepped over to find the end; group keeps a reader at their start. */
static bool take_ranges(struct cv_reader *reader, struct cv_group *group_r)
{
	uint64_t n;

	if (!cv_take_u32(reader, &group_r->range_count) || group_r->range_count > RANGES_MAX)
		return false;
	group_r->ranges = *reader;
	for (uint64_t i = 0; i < 2 * (uint64_t)group_r->range_count; i++) {
		if (!cv_take_varint(reader, &n))
			return false;
	}
	/* From here on the position is the last number. */
	group_r->ranges.s = cv_str_sub(reader->s, group_r->ranges.pos, reader->pos - group_r->ranges.pos);
	group_r->ranges.pos = 0;
	return true;
}

int cv_group_next(struct cv_reader *reader, enum cv_entry_kind kind, struct cv_group *group_r)
{
	struct cv_str refs;

	*group_r = (struct cv_group){ 0 };
	if (cv_reader_left(reader) == 0)
		return 0;
	if (kind == CV_ENTRY_NOTE) {
		if (!cv_take_str(reader, SIZE_MAX, &group_r->changes) || !cv_note_items_ok(group_r->changes, true))
			return -1;
		return take_ranges(reader, group_r) ? 1 : -1;
	}
	if (!cv_take_u16(reader, &group_r->flags_before))
		return -1;
	if (kind == CV_ENTRY_FLAGS) {
		if (!cv_take_u16(reader, &group_r->flags_after) || !cv_take_str(reader, SIZE_MAX, &group_r->keywords))
			return -1;
	} else {
		if (!cv_take_u64(reader, &group_r->size) || !cv_take_str(reader, SIZE_MAX, &refs))
			return -1;
		group_r->refs = cv_reader_init(refs);
	}
	return take_ranges(reader, group_r) ? 1 : -1;
}

int cv_range_next(struct cv_group *group, struct cv_range *range_r)
{
	uint64_t gap, more, first;

	if (group->range_count == 0)
		return 0;
	if (!cv_take_varint(&group->ranges, &gap) || !cv_take_varint(&group->ranges, &more))
		return -1;
	if (gap > UINT32_MAX || more > UINT32_MAX)
		return -1;
	first = group->last + gap;
	if (first + more > UINT32_MAX || first == 0)
		return -1;
	range_r->first = (uint32_t)first;
	range_r->last = group->last = (uint32_t)(first + more);
	group->range_count--;
	return 1;
}

static void put_message(struct cv_buf *out, const struct cv_entry_message *m)
{
	cv_put_u32(out, m->uid);
	put_guid(out, &m->guid);
	cv_put_u16(out, m->flags);
	cv_put_u16(out, (uint16_t)m->zone);
	cv_put_u64(out, (uint64_t)m->date);
	cv_put_u64(out, (uint64_t)m->saved);
	cv_put_u64(out, m->physical_size);
	cv_put_u64(out, m->virtual_size);
	cv_ref_put(out, m->ref);
	cv_put_str(out, m->uidl);
	cv_put_str(out, m->keywords);
	cv_put_u32(out, cv_crc32c(0, m->parse.ptr, m->parse.len));
	cv_put_str(out, m->parse);
	cv_put_u32(out, m->sum);
}

static bool take_message(struct cv_reader *reader, struct cv_entry_message *m)
{
	uint16_t zone;
	uint64_t date, saved;
	uint32_t crc;

	if (!cv_take_u32(reader, &m->uid) || m->uid == 0 || !take_guid(reader, &m->guid) || !cv_take_u16(reader, &m->flags) ||
		!cv_take_u16(reader, &zone) || !cv_take_u64(reader, &date) || !cv_take_u64(reader, &saved) ||
		!cv_take_u64(reader, &m->physical_size) || !cv_take_u64(reader, &m->virtual_size) ||
		!cv_take_ref(reader, &m->ref) || !cv_take_str(reader, UINT16_MAX, &m->uidl) ||
		!cv_take_str(reader, SIZE_MAX, &m->keywords) || !cv_take_u32(reader, &crc) ||
		!cv_take_str(reader, PARSE_MAX, &m->parse) || (cv_reader_left(reader) > 0 && !cv_take_u32(reader, &m->sum)))
		return false;
	m->zone = (int16_t)zone;
	m->date = (int64_t)date;
	m->saved = (int64_t)saved;
	return true;
}

static bool is_made_of_source(const struct cv_entry *e)
{
	return e->origin_uid == e->uid && memcmp(&e->origin, &e->from, sizeof(e->origin)) == 0;
}

size_t cv_entry_behind_parse(const struct cv_entry *e)
{
	size_t len = sizeof(e->message.sum);

	if (e->kind == CV_ENTRY_COPY && e->ref.len > 0)
		len += 1 + e->ref.len + (is_made_of_source(e) ? 0 : sizeof(e->origin.b) + sizeof(e->origin_uid));
	return len;
}

/* What the file of a copy is still to be made of. */
static void put_origin(struct cv_buf *out, const struct cv_entry *e)
{
	if (e->ref.len == 0)
		return;
	cv_ref_put(out, e->ref);
	if (!is_made_of_source(e)) {
		put_guid(out, &e->origin);
		cv_put_u32(out, e->origin_uid);
	}
}

static bool take_origin(struct cv_reader *r, struct cv_entry *e)
{
	if (cv_reader_left(r) == 0)
		return true;
	e->origin = e->from;
	e->origin_uid = e->uid;
	return cv_take_ref(r, &e->ref) && e->ref.len > 0 &&
		(cv_reader_left(r) == 0 || (take_guid(r, &e->origin) && cv_take_u32(r, &e->origin_uid)));
}

static void put_body(struct cv_buf *out, const struct cv_entry *e)
{
	switch (e->kind) {
	case CV_ENTRY_CREATE:
		put_guid(out, &e->mailbox);
		cv_put_u32(out, e->uidvalidity);
		cv_put_u32(out, e->special_use);
		cv_put_str(out, e->name);
		break;
	case CV_ENTRY_RENAME:
		cv_put_str(out, e->name);
		cv_put_str(out, e->new_name);
		break;
	case CV_ENTRY_DELETE:
		put_guid(out, &e->mailbox);
		cv_put_str(out, e->name);
		if (e->on)
			cv_put_u8(out, 1);
		break;
	case CV_ENTRY_SUBSCRIBE:
		cv_put_u8(out, e->on ? 1 : 0);
		cv_put_str(out, e->name);
		break;
	case CV_ENTRY_ANNOTATE:
		put_guid(out, &e->mailbox);
		cv_put_str(out, e->name);
		cv_put_str(out, e->new_name);
		break;
	case CV_ENTRY_APPEND:
		put_guid(out, &e->mailbox);
		put_message(out, &e->message);
		break;
	case CV_ENTRY_FLAGS:
	case CV_ENTRY_EXPUNGE:
	case CV_ENTRY_NOTE:
		put_guid(out, &e->mailbox);
		cv_buf_append(out, e->groups);
		break;
	case CV_ENTRY_COPY:
		put_guid(out, &e->mailbox);
		put_guid(out, &e->from);
		cv_put_u32(out, e->uid);
		cv_put_u8(out, e->on ? 1 : 0);
		put_message(out, &e->message);
		put_origin(out, e);
		break;
	case CV_ENTRY_RECENT:
	case CV_ENTRY_UIDNEXT:
		put_guid(out, &e->mailbox);
		cv_put_u32(out, e->uid);
		cv_put_u64(out, e->number);
		break;
	case CV_ENTRY_REF:
		put_guid(out, &e->mailbox);
		cv_put_u32(out, e->uid);
		cv_ref_put(out, e->ref);
		break;
	case CV_ENTRY_UIDL:
		put_guid(out, &e->mailbox);
		cv_put_u32(out, e->uid);
		cv_put_str(out, e->name);
		break;
	case CV_ENTRY_OCTETS:
		put_guid(out, &e->mailbox);
		cv_put_u32(out, e->uid);
		cv_put_str(out, e->octets);
		break;
	case CV_ENTRY_SETTLED:
		cv_put_u64(out, e->number);
		break;
	}
}

void cv_entry_put(struct cv_buf *out, const struct cv_entry *entry)
{
	size_t start;
	uint32_t len;

	cv_put_u8(out, (uint8_t)entry->kind);
	start = out->len;
	cv_put_u32(out, 0);
	put_body(out, entry);
	if (!cv_buf_ok(out))
		return;
	len = (uint32_t)(out->len - start - 4);
	for (size_t i = 0; i < 4; i++)
		out->data[start + i] = (char)(uint8_t)(len >> (8 * i));
}

static bool take_body(struct cv_reader *r, struct cv_entry *e)
{
	uint8_t on = 0;
	bool ok = false;

	switch (e->kind) {
	case CV_ENTRY_CREATE:
		ok = take_guid(r, &e->mailbox) && cv_take_u32(r, &e->uidvalidity) && cv_take_u32(r, &e->special_use) &&
			cv_take_str(r, NAME_MAX_LEN, &e->name);
		break;
	case CV_ENTRY_RENAME:
		ok = cv_take_str(r, NAME_MAX_LEN, &e->name) && cv_take_str(r, NAME_MAX_LEN, &e->new_name);
		break;
	case CV_ENTRY_DELETE:
		ok = take_guid(r, &e->mailbox) && cv_take_str(r, NAME_MAX_LEN, &e->name) &&
			(cv_reader_left(r) == 0 || (cv_take_u8(r, &on) && on == 1));
		break;
	case CV_ENTRY_SUBSCRIBE:
		ok = cv_take_u8(r, &on) && cv_take_str(r, NAME_MAX_LEN, &e->name);
		break;
	case CV_ENTRY_ANNOTATE:
		ok = take_guid(r, &e->mailbox) && cv_take_str(r, NAME_MAX_LEN, &e->name) && e->name.len > 0 &&
			cv_take_str(r, SIZE_MAX, &e->new_name);
		break;
	case CV_ENTRY_APPEND:
		ok = take_guid(r, &e->mailbox) && take_message(r, &e->message);
		break;
	case CV_ENTRY_FLAGS:
	case CV_ENTRY_EXPUNGE:
	case CV_ENTRY_NOTE:
		ok = take_guid(r, &e->mailbox) && cv_take_len(r, cv_reader_left(r), &e->groups);
		break;
	case CV_ENTRY_COPY:
		ok = take_guid(r, &e->mailbox) && take_guid(r, &e->from) && cv_take_u32(r, &e->uid) && cv_take_u8(r, &on) &&
			take_message(r, &e->message) && take_origin(r, e);
		break;
	case CV_ENTRY_RECENT:
	case CV_ENTRY_UIDNEXT:
		ok = take_guid(r, &e->mailbox) && cv_take_u32(r, &e->uid) && cv_take_u64(r, &e->number);
		break;
	case CV_ENTRY_REF:
		ok = take_guid(r, &e->mailbox) && cv_take_u32(r, &e->uid) && cv_take_ref(r, &e->ref);
		break;
	case CV_ENTRY_UIDL:
		ok = take_guid(r, &e->mailbox) && cv_take_u32(r, &e->uid) && cv_take_str(r, UINT16_MAX, &e->name);
		break;
	case CV_ENTRY_OCTETS:
		ok = take_guid(r, &e->mailbox) && cv_take_u32(r, &e->uid) && cv_take_str(r, SIZE_MAX, &e->octets);
		break;
	case CV_ENTRY_SETTLED:
		ok = cv_take_u64(r, &e->number);
		break;
	}
	e->on = on != 0;
	return ok && cv_reader_end(r);
}

int cv_entry_next(struct cv_reader *reader, struct cv_entry *entry_r)
{
	struct cv_reader body_reader;
	struct cv_str body;
	uint8_t kind;

	*entry_r = (struct cv_entry){ 0 };
	if (cv_reader_left(reader) == 0)
		return 0;
	if (!cv_take_u8(reader, &kind) || kind < CV_ENTRY_CREATE || kind > CV_ENTRY_SETTLED || !cv_take_str(reader, SIZE_MAX, &body))
		return -1;
	entry_r->kind = (enum cv_entry_kind)kind;
	body_reader = cv_reader_init(body);
	return take_body(&body_reader, entry_r) ? 1 : -1;
}

uint32_t cv_entries_octets(struct cv_str entries)
{
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_str body;
	uint32_t octets = 0;
	uint8_t kind;

	while (cv_take_u8(&reader, &kind) && cv_take_str(&reader, SIZE_MAX, &body))
		octets += kind == CV_ENTRY_OCTETS ? (uint32_t)body.len : 0;
	return octets;
}
