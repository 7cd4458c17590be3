/* SPDX-License-Identifier: MIT
   Heads of segments and of records: made, and checked. Nothing here touches a file or keeps anything, and what is written and what is accepted lie side by
   side: a head counts when its CRC-32C, its format and its own number do, a record when its length fits and its CRC-32C is that of all behind it. */
#include <config.h>

#include "core/store/journal-private.h"

#define SEGMENT_MAGIC 0x314c4e524a535643ULL /* "CVSJRNL1" */

static void put_u16_at(char *p, uint16_t n)
{
	p[0] = (char)(uint8_t)n;
	p[1] = (char)(uint8_t)(n >> 8);
}

static void put_u32_at(char *p, uint32_t n)
{
	put_u16_at(p, (uint16_t)n);
	put_u16_at(p + 2, (uint16_t)(n >> 16));
}

static void put_u64_at(char *p, uint64_t n)
{
	put_u32_at(p, (uint32_t)n);
	put_u32_at(p + 4, (uint32_t)(n >> 32));
}

void cv_segment_put_head(struct cv_buf *out, const struct cv_segment *segment, uint32_t node)
{
	size_t begin = out->len;

	cv_put_u64(out, SEGMENT_MAGIC);
	cv_put_u32(out, CV_SEGMENT_VERSION);
	cv_put_u32(out, CV_SEGMENT_HEAD);
	cv_put_u64(out, segment->number);
	cv_put_u64(out, segment->before_seq);
	cv_put_u64(out, segment->lost_seq);
	cv_put_u32(out, node);
	cv_put_u32(out, cv_crc32c(0, out->data + begin, out->len - begin));
	while (out->len - begin < CV_SEGMENT_HEAD)
		cv_put_u8(out, 0);
}

int cv_segment_parse_head(struct cv_str octets, struct cv_segment *segment, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(octets);
	uint64_t magic, number, before_seq, lost_seq;
	uint32_t version, len, node, crc;

	if (octets.len < CV_SEGMENT_HEAD || !cv_take_u64(&reader, &magic) || !cv_take_u32(&reader, &version) ||
		!cv_take_u32(&reader, &len) || !cv_take_u64(&reader, &number) || !cv_take_u64(&reader, &before_seq) ||
		!cv_take_u64(&reader, &lost_seq) || !cv_take_u32(&reader, &node))
		return 0;
	if (magic != SEGMENT_MAGIC || !cv_take_u32(&reader, &crc) || crc != cv_crc32c(0, octets.ptr, reader.pos - 4))
		return 0;
	if (version > CV_SEGMENT_VERSION)
		return cv_err_set(err, CV_ERR_UNSUPPORTED,
			"journal segment %u has format %u, this server knows up to %u: use the newer server again", segment->number,
			version, CV_SEGMENT_VERSION);
	if (number != segment->number || len != CV_SEGMENT_HEAD)
		return 0;
	segment->before_seq = before_seq;
	segment->lost_seq = lost_seq;
	return 1;
}

void cv_record_seal(char *record, const struct cv_record_head *head, uint32_t padding)
{
	put_u32_at(record, CV_RECORD_MAGIC);
	put_u32_at(record + 4, head->len);
	put_u16_at(record + 12, head->version);
	put_u16_at(record + 14, 0);
	put_u32_at(record + 16, head->node);
	put_u32_at(record + 20, padding);
	put_u64_at(record + 24, head->seq);
	put_u64_at(record + 32, head->hlc);
	put_u64_at(record + 40, head->epoch);
	put_u64_at(record + 48, head->synced);
	put_u32_at(record + 8, cv_crc32c(0, record + 12, head->len - 12));
}

uint32_t cv_record_check(struct cv_str octets, struct cv_record_head *head_r, struct cv_str *entries_r)
{
	struct cv_reader reader = cv_reader_init(octets);
	uint32_t magic, len, crc, padding;
	uint16_t flags;

	if (!cv_take_u32(&reader, &magic) || magic != CV_RECORD_MAGIC || !cv_take_u32(&reader, &len) || len < CV_RECORD_HEAD ||
		len > octets.len || len > CV_RECORD_MAX || len % 8 != 0 || !cv_take_u32(&reader, &crc))
		return 0;
	if (crc != cv_crc32c(0, octets.ptr + reader.pos, len - reader.pos))
		return 0;
	*head_r = (struct cv_record_head){ .len = len };
	if (!cv_take_u16(&reader, &head_r->version) || !cv_take_u16(&reader, &flags) || !cv_take_u32(&reader, &head_r->node) ||
		!cv_take_u32(&reader, &padding) || !cv_take_u64(&reader, &head_r->seq) || !cv_take_u64(&reader, &head_r->hlc) ||
		!cv_take_u64(&reader, &head_r->epoch) || !cv_take_u64(&reader, &head_r->synced) || padding > 7 ||
		padding > len - CV_RECORD_HEAD)
		return 0;
	*entries_r = cv_str_sub(octets, CV_RECORD_HEAD, len - CV_RECORD_HEAD - padding);
	return len;
}

uint64_t cv_record_find(struct cv_str octets, uint64_t from, struct cv_record_head *head_r)
{
	struct cv_str entries;

	for (uint64_t at = from; at + CV_RECORD_HEAD <= octets.len; at += 8) {
		if (memcmp(octets.ptr + at, "CVr1", 4) == 0 && cv_record_check(cv_str_sub(octets, at, SIZE_MAX), head_r, &entries) > 0)
			return at;
	}
	return octets.len;
}

bool cv_octets_are_zero(struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] != '\0')
			return false;
	}
	return true;
}
