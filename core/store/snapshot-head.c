/* SPDX-License-Identifier: MIT
   Snapshots: what the head says, and the words. */
#include <config.h>

#include "core/store/snapshot.h"
#include "core/store/store-private.h"

const uint8_t cv_column_width[CV_COLUMNS] = {
#define X(name, type) [CV_COLUMN_##name] = sizeof(type),
	CV_COLUMN_LIST(X)
#undef X
};

int cv_snapshot_bad(struct cv_err *err, const char *name, const char *what)
{
	return cv_err_set(err, CV_ERR_CORRUPT, "%s: its %s", name, what);
}

uint64_t cv_snapshot_notes_table(const struct cv_snapshot_head *head)
{
	return (head->notes_offset + head->notes_len + 7) / 8 * 8;
}

/* A piece of the file behind the head. */
static bool inside(const struct cv_snapshot_head *head, uint64_t offset, uint64_t len)
{
	return offset >= CV_SNAPSHOT_HEAD && offset <= head->file_len && len <= head->file_len - offset;
}

static bool take_numbers(struct cv_reader *reader, struct cv_snapshot_head *head)
{
	struct cv_str guid;
	uint32_t chunk_rows;
	uint8_t subscribed;

	if (!cv_take_len(reader, sizeof(head->guid.b), &guid) || !cv_take_u64(reader, &head->seq) || !cv_take_u32(reader, &head->rows) ||
		!cv_take_u32(reader, &chunk_rows) || chunk_rows != CV_CHUNK_ROWS || !cv_take_u32(reader, &head->uidvalidity) ||
		!cv_take_u32(reader, &head->special_use) || !cv_take_u32(reader, &head->uidnext) ||
		!cv_take_u32(reader, &head->first_recent) || !cv_take_u32(reader, &head->messages) ||
		!cv_take_u32(reader, &head->unseen) || !cv_take_u32(reader, &head->deleted) || !cv_take_u32(reader, &head->recent) ||
		!cv_take_u32(reader, &head->first_unseen) || !cv_take_u64(reader, &head->size) ||
		!cv_take_u64(reader, &head->highest_modseq) || !cv_take_u64(reader, &head->vanished_from) ||
		!cv_take_u8(reader, &subscribed))
		return false;
	memcpy(head->guid.b, guid.ptr, sizeof(head->guid.b));
	head->subscribed = subscribed != 0;
	return head->seq <= INT64_MAX && head->highest_modseq <= INT64_MAX && head->uidnext > 0;
}

static bool take_notes_place(struct cv_reader *reader, struct cv_snapshot_head *head, uint32_t *crc)
{
	struct cv_str none;

	if (head->version < 4)
		return cv_take_len(reader, 8 + 8 + 4 + 4, &none);
	return cv_take_u64(reader, &head->notes_offset) && cv_take_u64(reader, &head->notes_len) && cv_take_u32(reader, &head->notes_count) &&
		cv_take_u32(reader, crc) && inside(head, head->notes_offset, head->notes_len) &&
		inside(head, cv_snapshot_notes_table(head), (uint64_t)head->notes_count * CV_SNAPSHOT_NOTE);
}

static bool take_runs_place(struct cv_reader *reader, struct cv_snapshot_head *head, uint32_t *crc)
{
	return cv_take_u64(reader, &head->runs_offset) && cv_take_u32(reader, &head->runs_count) && cv_take_u32(reader, crc) &&
		(head->runs_count == 0 || (head->runs_count <= head->rows && head->runs_offset % 8 == 0 &&
			inside(head, head->runs_offset, (uint64_t)head->runs_count * sizeof(struct cv_uid_run))));
}

/* Where everything is; the CRC says that it is what was written, this says that it can be used. */
static bool take_places(struct cv_reader *reader, struct cv_snapshot_head *head, struct cv_snapshot_crcs *crcs)
{
	uint64_t chunks = (uint64_t)head->rows / CV_CHUNK_ROWS + (head->rows % CV_CHUNK_ROWS != 0), blocks;
	uint32_t width;

	if (!cv_take_u32(reader, &head->columns) || head->columns != (head->version < 3 ? CV_SNAPSHOT_COLUMNS_OLD : CV_COLUMNS))
		return false;
	for (unsigned i = 0; i < head->columns; i++) {
		if (!cv_take_u32(reader, &width) || width != cv_column_width[i] || !cv_take_u64(reader, &head->column_offset[i]) ||
			head->column_offset[i] % 64 != 0 || !inside(head, head->column_offset[i], (uint64_t)head->rows * width))
			return false;
	}
	if (!cv_take_u64(reader, &head->pool_offset) || !cv_take_u64(reader, &head->pool_len) ||
		!inside(head, head->pool_offset, head->pool_len) || !cv_take_u64(reader, &head->words_offset) ||
		!cv_take_u64(reader, &head->words_len) || !cv_take_u32(reader, &crcs->words) ||
		!inside(head, head->words_offset, head->words_len) || !cv_take_u64(reader, &head->checks_offset) ||
		!cv_take_u64(reader, &head->checks_len) || !cv_take_u32(reader, &crcs->checks) ||
		!inside(head, head->checks_offset, head->checks_len))
		return false;
	if (!take_notes_place(reader, head, &crcs->notes) || !take_runs_place(reader, head, &crcs->runs))
		return false;
	blocks = head->pool_len / CV_POOL_BLOCK + (head->pool_len % CV_POOL_BLOCK != 0);
	return head->checks_len == 4 * (head->columns * chunks + blocks);
}

int cv_snapshot_head_take(struct cv_str octets, const char *name, struct cv_snapshot_head *head, struct cv_snapshot_crcs *crcs_r, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(octets), last = cv_reader_init(cv_str_sub(octets, CV_SNAPSHOT_HEAD - 4, 4));
	uint32_t order, crc;
	uint64_t magic, len;

	if (!cv_take_u64(&reader, &magic) || magic != CV_SNAPSHOT_MAGIC || !cv_take_u32(&last, &crc) ||
		crc != cv_crc32c(0, octets.ptr, CV_SNAPSHOT_HEAD - 4) || !cv_take_u32(&reader, &head->version) || head->version == 0)
		return cv_snapshot_bad(err, name, "head does not check");
	if (head->version > CV_SNAPSHOT_VERSION)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "%s has format %u, this server knows up to %u: use the newer server again", name,
			head->version, CV_SNAPSHOT_VERSION);
	memcpy(&order, octets.ptr + reader.pos, sizeof(order));
	if (order != CV_SNAPSHOT_ORDER)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "%s was written by a machine of another byte order", name);
	reader.pos += sizeof(order);
	if (!cv_take_u64(&reader, &len) || len != head->file_len || !take_numbers(&reader, head) || !take_places(&reader, head, crcs_r))
		return cv_snapshot_bad(err, name, "head makes no sense");
	return 1;
}

/* ---- words ------------------------------------------------------------------------------------------------------------------- */

static bool take_names(struct cv_reader *reader, uint32_t count, struct cv_str *octets_r)
{
	size_t start = reader->pos;
	struct cv_str name;

	for (uint32_t i = 0; i < count; i++) {
		if (!cv_take_str(reader, 255, &name) || name.len == 0)
			return false;
	}
	*octets_r = cv_str_sub(reader->s, start, reader->pos - start);
	return true;
}

static bool take_sets(struct cv_reader *reader, uint32_t count, uint32_t keywords, struct cv_str *octets_r)
{
	size_t start = reader->pos;
	uint32_t n, id;

	for (uint32_t i = 0; i < count; i++) {
		if (!cv_take_u32(reader, &n) || n > keywords)
			return false;
		for (; n > 0; n--) {
			if (!cv_take_u32(reader, &id) || id >= keywords)
				return false;
		}
	}
	*octets_r = cv_str_sub(reader->s, start, reader->pos - start);
	return true;
}

bool cv_snapshot_words_take(struct cv_str words, struct cv_snapshot_head *head)
{
	struct cv_reader reader = cv_reader_init(words);

	return cv_take_str(&reader, 4096, &head->name) && cv_take_u32(&reader, &head->keyword_count) &&
		take_names(&reader, head->keyword_count, &head->keywords) && cv_take_u32(&reader, &head->set_count) &&
		take_sets(&reader, head->set_count, head->keyword_count, &head->sets) && cv_take_u32(&reader, &head->vanished_count) &&
		cv_take_len(&reader, (size_t)head->vanished_count * 16, &head->vanished) &&
		(head->version < 2 || cv_annotations_skip(&reader, &head->annotations)) && cv_reader_end(&reader);
}
