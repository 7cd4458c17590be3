/* SPDX-License-Identifier: MIT
   Snapshots of mailboxes: any file is refused or can be used without harm. Checksums are made to fit first, so that what they guard is tried too. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/snapshot.h"
#include "core/store/store-private.h"
#include "t/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Places in the head (snapshot.h). */
#define AT_FILE_LEN 16
#define AT_COLUMNS (24 + 16 + 8 + 4 + 4 + 9 * 4 + 3 * 8 + 1)

static uint64_t get(const char *p, unsigned octets)
{
	uint64_t n = 0;

	for (unsigned i = octets; i > 0; i--)
		n = n << 8 | (uint8_t)p[i - 1];
	return n;
}

static void put(char *p, uint64_t n, unsigned octets)
{
	for (unsigned i = 0; i < octets; i++)
		p[i] = (char)(uint8_t)(n >> (8 * i));
}

/* The CRC at `at` of the piece whose offset and length stand before it. */
static void fit_piece(char *octets, size_t len, size_t at)
{
	uint64_t offset = get(octets + at - 16, 8), piece = get(octets + at - 8, 8);

	if (offset <= len && piece <= len - offset)
		put(octets + at, cv_crc32c(0, octets + offset, (size_t)piece), 4);
}

/* The table of annotations, whose place is at `at`: where its octets lie, the CRC of each message's is made to fit too. */
static void fit_notes(char *octets, size_t len, size_t at)
{
	uint64_t offset = get(octets + at, 8), size = get(octets + at + 8, 8), count = get(octets + at + 16, 4), table = (offset + size + 7) / 8 * 8;

	if (get(octets + 8, 4) < 4 || offset > len || size > len - offset || table > len || count > (len - table) / CV_SNAPSHOT_NOTE)
		return;
	for (uint64_t i = 0; i < count; i++) {
		char *row = octets + table + i * CV_SNAPSHOT_NOTE;
		uint64_t from = get(row + 8, 8), note = get(row + 4, 4);

		if (from <= size && note <= size - from)
			put(row + 16, cv_crc32c(0, octets + offset + from, (size_t)note), 4);
	}
	put(octets + at + 20, cv_crc32c(0, octets + table, (size_t)(count * CV_SNAPSHOT_NOTE)), 4);
}

/* The runs of UIDs, whose place is at `at`. */
static void fit_runs(char *octets, size_t len, size_t at)
{
	uint64_t offset = get(octets + at, 8), size = get(octets + at + 8, 4) * sizeof(struct cv_uid_run);

	if (offset <= len && size <= len - offset)
		put(octets + at + 12, cv_crc32c(0, octets + offset, (size_t)size), 4);
}

static void fit(char *octets, size_t len)
{
	size_t at;

	if (len < CV_SNAPSHOT_HEAD)
		return;
	put(octets + AT_FILE_LEN, len, 8);
	at = AT_COLUMNS + 4 + 12 * (size_t)CV_MIN(get(octets + AT_COLUMNS, 4), CV_COLUMNS) + 16;
	fit_piece(octets, len, at + 16);
	fit_piece(octets, len, at + 16 + 4 + 16);
	fit_notes(octets, len, at + 16 + 4 + 16 + 4);
	fit_runs(octets, len, at + 16 + 4 + 16 + 4 + 24);
	put(octets + CV_SNAPSHOT_HEAD - 4, cv_crc32c(0, octets, CV_SNAPSHOT_HEAD - 4), 4);
}

static void use_annotations(struct cv_str octets)
{
	uint64_t total = 0;
	struct cv_annotations annotations = { .total = &total };
	struct cv_reader reader = cv_reader_init(octets);

	if (cv_annotations_take(&reader, &annotations))
		fuzz_check(total <= octets.len && cv_reader_left(&reader) == 0);
	cv_annotations_clear(&annotations);
	fuzz_check(total == 0);
}

/* Whatever stands there can be read, changed and taken away. */
static void use_notes(struct cv_columns *columns)
{
	uint32_t *uids;
	size_t count = cv_notes_uids(columns, UINT32_MAX, &uids);
	struct cv_note_item item = { CV_STR("/comment"), CV_STR(""), CV_STR("value") };
	struct cv_buf change;

	cv_buf_init(&change, 1000);
	cv_note_item_put(&change, &item);
	for (size_t i = 0; i < count; i++) {
		struct cv_reader packed = cv_reader_init(cv_notes_find(columns, uids[i]));

		fuzz_check(i == 0 || uids[i] > uids[i - 1]);
		while (cv_note_item_next(&packed, &item))
			fuzz_check(item.entry.len > 0 && item.entry.len <= CV_NOTE_ENTRY_MAX);
		cv_notes_apply(columns, uids[i], true, cv_buf_str(&change));
		fuzz_check(cv_notes_find(columns, uids[i]).len > 0);
		cv_notes_put(columns, uids[i], (struct cv_str){ 0 });
		fuzz_check(cv_notes_find(columns, uids[i]).len == 0);
	}
	cv_free(uids);
	cv_buf_deinit(&change);
	fuzz_check(cv_notes_uids(columns, UINT32_MAX, &uids) == 0);
	cv_free(uids);
}

static void use(struct cv_snapshot *snapshot)
{
	struct cv_keywords keywords;
	struct cv_columns *columns;
	uint32_t before = 0, *map;

	(void)cv_snapshot_all_ok(snapshot);
	cv_snapshot_trust(snapshot);
	cv_keywords_init(&keywords);
	if (snapshot->head.annotations.ptr != NULL)
		use_annotations(snapshot->head.annotations);
	(void)cv_keywords_adopt(&keywords, &snapshot->head, &map);
	cv_free(map);
	columns = cv_columns_on(snapshot);
	for (uint32_t row = 0; row < columns->count; row++) {
		struct cv_str ref = cv_columns_ref(columns, row), uidl = cv_columns_uidl(columns, row);
		uint32_t found;

		fuzz_check(*cv_col_uid(columns, row) > before);
		before = *cv_col_uid(columns, row);
		fuzz_check(cv_columns_find(columns, before, UINT32_MAX, &found) && found == row);
		fuzz_check(ref.len <= CV_STORAGE_REF_MAX && uidl.len <= UINT16_MAX);
		(void)cv_crc32c(cv_crc32c(0, ref.ptr, ref.len), uidl.ptr, uidl.len);
		(void)cv_keyword_set_change(&keywords, *cv_col_keyword_set(columns, row), CV_FLAGS_ADD, NULL, 0);
	}
	use_notes(columns);
	cv_keywords_deinit(&keywords);
	cv_columns_free(&columns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[] = "/tmp/fuzz-snapshot-XXXXXX";
	struct cv_snapshot *snapshot;
	struct cv_err err = { 0 };
	char *octets = cv_malloc(size + 1);
	int dir = -1, fd, ret;

	memcpy(octets, data, size);
	fit(octets, size);
	fuzz_check(mkdtemp(path) != NULL);
	fuzz_check(cv_file_root(path, &dir, &err) > 0);
	fuzz_check(cv_file_open(dir, "box", O_RDWR | O_CREAT | O_TRUNC, 0600, &fd, &err) > 0);
	fuzz_check(cv_file_write(fd, cv_str_mem(octets, size), &err) > 0);
	cv_file_close(&fd);
	cv_free(octets);
	ret = cv_snapshot_open(dir, "box", &snapshot, &err);
	fuzz_check(cv_file_unlink(dir, "box", &err) > 0);
	fuzz_check(rmdir(path) == 0);
	cv_file_close(&dir);
	if (ret > 0)
		use(snapshot);
	else
		fuzz_check(err.code == CV_ERR_CORRUPT || err.code == CV_ERR_UNSUPPORTED);
	return 0;
}
