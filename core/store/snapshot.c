/* SPDX-License-Identifier: MIT
   Snapshots: reading and checking them. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/snapshot.h"
#include "core/store/store-private.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECKED CV_CHUNK_CHECKED
#define HUGE_PAGE ((uintptr_t)2 << 20)
#define CHUNKS_AT_ONCE 16u /* of UIDs, 256 KiB */
#define READ_WHOLE_MAX ((off_t)256 << 10) /* of longer ones only what is touched is read */
/* Memory of columns is given back when one command has read so much, as those do that go over a large mailbox, or when so much came together: commands that look at a few
   messages find again what those before have read. */
#define REST_COMMAND_MAX ((uint64_t)1 << 20)
#define REST_MAX ((uint64_t)32 << 20)

void cv_snapshot_ref(struct cv_snapshot *snapshot)
{
	snapshot->refs++;
}

void cv_snapshot_free(struct cv_snapshot **snapshot_p)
{
	struct cv_snapshot *snapshot = *snapshot_p;

	*snapshot_p = NULL;
	if (snapshot == NULL || --snapshot->refs > 0)
		return;
	for (unsigned i = 0; i < CV_COLUMNS; i++) {
		cv_free(snapshot->checked[i]);
		cv_free(snapshot->absent[i]);
	}
	cv_free(snapshot->pool_checked);
	cv_free(snapshot->notes_read);
	cv_file_close(&snapshot->fd);
	cv_free(snapshot->octets);
	cv_free(snapshot);
}

uint32_t cv_snapshot_chunks(const struct cv_snapshot *snapshot)
{
	return snapshot->head.rows / CV_CHUNK_ROWS + (snapshot->head.rows % CV_CHUNK_ROWS != 0);
}

uint32_t cv_snapshot_pool_blocks(const struct cv_snapshot *snapshot)
{
	return (uint32_t)(snapshot->head.pool_len / CV_POOL_BLOCK + (snapshot->head.pool_len % CV_POOL_BLOCK != 0));
}

static struct cv_str octets_at(const struct cv_snapshot *snapshot, uint64_t offset, uint64_t len)
{
	return cv_str_sub(cv_str_mem(snapshot->octets, (size_t)snapshot->head.file_len), (size_t)offset, (size_t)len);
}

/* A piece of the file to its place in memory. What can't be read does not check. */
static bool fetch(const struct cv_snapshot *snapshot, uint64_t offset, uint64_t len)
{
	struct cv_err ignored = { 0 };
	size_t got;

	return snapshot->fd < 0 || len == 0 ||
		(cv_file_pread(snapshot->fd, snapshot->octets + offset, (size_t)len, offset, &got, &ignored) > 0 && got == len);
}

static bool checksum_is(const struct cv_snapshot *snapshot, uint64_t number, struct cv_str octets)
{
	struct cv_reader reader = cv_reader_init(octets_at(snapshot, snapshot->head.checks_offset + 4 * number, 4));
	uint32_t crc;

	return cv_take_u32(&reader, &crc) && crc == cv_crc32c(0, octets.ptr, octets.len);
}

/* Chunks from this one on, at most count of them, to their place in memory. */
static bool fetch_chunks(const struct cv_snapshot *snapshot, enum cv_column column, uint32_t chunk, uint32_t count)
{
	uint32_t first = chunk * CV_CHUNK_ROWS, rows = CV_MIN(count * CV_CHUNK_ROWS, snapshot->head.rows - first);

	return fetch(snapshot, snapshot->head.column_offset[column] + (uint64_t)first * cv_column_width[column], (uint64_t)rows * cv_column_width[column]);
}

/* Of a chunk that was fetched. */
static bool chunk_checks(const struct cv_snapshot *snapshot, enum cv_column column, uint32_t chunk)
{
	uint32_t first = chunk * CV_CHUNK_ROWS, rows = CV_MIN(CV_CHUNK_ROWS, snapshot->head.rows - first);
	uint64_t number = (uint64_t)column * cv_snapshot_chunks(snapshot) + chunk;

	return checksum_is(snapshot, number,
		octets_at(snapshot, snapshot->head.column_offset[column] + (uint64_t)first * cv_column_width[column], (uint64_t)rows * cv_column_width[column]));
}

bool cv_snapshot_chunk_ok(const struct cv_snapshot *snapshot, enum cv_column column, uint32_t chunk)
{
	if ((uint32_t)column >= snapshot->head.columns)
		return true;
	if (column == CV_COLUMN_uid && snapshot->runs != NULL) {
		cv_snapshot_make_uids(snapshot, chunk);
		return true;
	}
	return (snapshot->checked[column][chunk] != 0 || fetch_chunks(snapshot, column, chunk, 1)) && chunk_checks(snapshot, column, chunk);
}

bool cv_snapshot_block_ok(const struct cv_snapshot *snapshot, uint32_t block)
{
	uint64_t first = (uint64_t)block * CV_POOL_BLOCK, len = CV_MIN((uint64_t)CV_POOL_BLOCK, snapshot->head.pool_len - first);
	uint64_t number = (uint64_t)snapshot->head.columns * cv_snapshot_chunks(snapshot) + block;

	return (snapshot->pool_checked[block] != 0 || fetch(snapshot, snapshot->head.pool_offset + first, len)) &&
		checksum_is(snapshot, number, octets_at(snapshot, snapshot->head.pool_offset + first, len));
}

bool cv_snapshot_all_ok(const struct cv_snapshot *snapshot)
{
	for (unsigned i = 0; i < CV_COLUMNS; i++) {
		for (uint32_t chunk = 0; chunk < cv_snapshot_chunks(snapshot); chunk++) {
			if (!cv_snapshot_chunk_ok(snapshot, (enum cv_column)i, chunk))
				return false;
		}
	}
	for (uint32_t block = 0; block < cv_snapshot_pool_blocks(snapshot); block++) {
		if (!cv_snapshot_block_ok(snapshot, block))
			return false;
	}
	for (uint32_t i = 0; i < snapshot->head.notes_count; i++) {
		struct cv_str packed;

		if (!cv_snapshot_note(snapshot, i, &packed))
			return false;
	}
	return true;
}

void cv_snapshot_trust(struct cv_snapshot *snapshot)
{
	for (unsigned i = 0; i < CV_COLUMNS; i++) {
		if (i != CV_COLUMN_uid || snapshot->runs == NULL)
			memset(snapshot->checked[i], CHECKED, cv_snapshot_chunks(snapshot));
	}
	memset(snapshot->pool_checked, CHECKED, cv_snapshot_pool_blocks(snapshot));
	snapshot->trusted = true;
}

/* ---- runs of UIDs ---------------------------------------------------------------------------------------------- */

/* Last run that begins at this row or before it. */
static uint32_t run_at(const struct cv_snapshot *snapshot, uint32_t row)
{
	uint32_t low = 0, high = snapshot->head.runs_count;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (snapshot->runs[mid].row <= row)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static uint32_t run_end(const struct cv_snapshot *snapshot, const struct cv_uid_run *runs, uint32_t at)
{
	return at + 1 < snapshot->head.runs_count ? runs[at + 1].row : snapshot->head.rows;
}

void cv_snapshot_make_uids(const struct cv_snapshot *snapshot, uint32_t chunk)
{
	uint32_t *uids = (uint32_t *)(void *)(snapshot->octets + snapshot->head.column_offset[CV_COLUMN_uid]);
	uint32_t row = chunk * CV_CHUNK_ROWS, end = row + CV_MIN(CV_CHUNK_ROWS, snapshot->head.rows - row);

	if (snapshot->runs == NULL || snapshot->checked[CV_COLUMN_uid][chunk] != 0)
		return;
	for (uint32_t at = run_at(snapshot, row); row < end; at++) {
		const struct cv_uid_run *run = &snapshot->runs[at];
		uint32_t stop = CV_MIN(end, run_end(snapshot, snapshot->runs, at));

		for (; row < stop; row++)
			uids[row] = run->uid + (row - run->row);
	}
	snapshot->checked[CV_COLUMN_uid][chunk] = CHECKED;
}

uint32_t cv_snapshot_row_from(const struct cv_snapshot *snapshot, uint32_t uid)
{
	const struct cv_uid_run *runs = snapshot->runs;
	uint32_t low = 0, high = snapshot->head.runs_count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (runs[mid].uid <= uid)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return 0;
	return runs[low - 1].row + CV_MIN(uid - runs[low - 1].uid, run_end(snapshot, runs, low - 1) - runs[low - 1].row);
}

/* They tell a UID for each row, ascending. */
static bool runs_make_sense(const struct cv_snapshot *snapshot, const struct cv_uid_run *runs)
{
	uint64_t before = 0; /* the last UID of the run before */

	for (uint32_t i = 0; i < snapshot->head.runs_count; i++) {
		uint32_t end = run_end(snapshot, runs, i);

		if ((i == 0 && runs[i].row != 0) || runs[i].row >= end || runs[i].uid <= before)
			return false;
		before = (uint64_t)runs[i].uid + (end - runs[i].row - 1);
		if (before >= UINT32_MAX)
			return false;
	}
	return true;
}

/* Those of a short file need not be used: its column is at hand. */
static bool read_runs(struct cv_snapshot *snapshot, uint32_t crc)
{
	const struct cv_snapshot_head *head = &snapshot->head;
	uint64_t len = (uint64_t)head->runs_count * sizeof(struct cv_uid_run);
	const struct cv_uid_run *runs = (const struct cv_uid_run *)(const void *)(snapshot->octets + head->runs_offset);
	struct cv_str octets;

	if (head->runs_count == 0)
		return true;
	if (!fetch(snapshot, head->runs_offset, len))
		return false;
	octets = octets_at(snapshot, head->runs_offset, len);
	if (cv_crc32c(0, octets.ptr, octets.len) != crc || !runs_make_sense(snapshot, runs))
		return false;
	snapshot->runs = snapshot->fd >= 0 ? runs : NULL;
	return true;
}

bool cv_snapshot_uids_ok(const struct cv_snapshot *snapshot)
{
	uint64_t len = (uint64_t)CV_CHUNK_ROWS * cv_column_width[CV_COLUMN_uid], left = (uint64_t)snapshot->head.rows * cv_column_width[CV_COLUMN_uid], offset = 0;
	char *octets;
	bool ok = true;

	if (snapshot->runs == NULL)
		return true; /* all were checked when it was opened */
	octets = cv_malloc((size_t)len);
	for (uint32_t chunk = 0; ok && left > 0; chunk++) {
		struct cv_err ignored = { 0 };
		size_t want = (size_t)CV_MIN(len, left), got;

		ok = cv_file_pread(snapshot->fd, octets, want, snapshot->head.column_offset[CV_COLUMN_uid] + offset, &got, &ignored) > 0 && got == want &&
			checksum_is(snapshot, chunk, cv_str_mem(octets, want));
		offset += want;
		left -= want;
	}
	cv_free(octets);
	return ok;
}

/* ---- annotations of messages --------------------------------------------------------------------------------- */

struct note_row {
	uint32_t uid, len, crc;
	uint64_t offset;
};

/* Rows were checked when the snapshot was opened. */
static struct note_row note_row(const struct cv_snapshot *snapshot, uint32_t at)
{
	struct cv_reader reader =
		cv_reader_init(octets_at(snapshot, cv_snapshot_notes_table(&snapshot->head) + (uint64_t)at * CV_SNAPSHOT_NOTE, CV_SNAPSHOT_NOTE));
	struct note_row row = { 0 };

	if (!cv_take_u32(&reader, &row.uid) || !cv_take_u32(&reader, &row.len) || !cv_take_u64(&reader, &row.offset) || !cv_take_u32(&reader, &row.crc))
		row = (struct note_row){ 0 };
	return row;
}

uint32_t cv_snapshot_note_uid(const struct cv_snapshot *snapshot, uint32_t at)
{
	return note_row(snapshot, at).uid;
}

uint32_t cv_snapshot_note_len(const struct cv_snapshot *snapshot, uint32_t at)
{
	return note_row(snapshot, at).len;
}

bool cv_snapshot_note_find(const struct cv_snapshot *snapshot, uint32_t uid, uint32_t *at_r)
{
	uint32_t low = 0, high = snapshot->head.notes_count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (cv_snapshot_note_uid(snapshot, mid) < uid)
			low = mid + 1;
		else
			high = mid;
	}
	*at_r = low;
	return low < snapshot->head.notes_count && cv_snapshot_note_uid(snapshot, low) == uid;
}

/* The blocks that the octets lie in are read once. */
static bool fetch_note(const struct cv_snapshot *snapshot, const struct note_row *row)
{
	const struct cv_snapshot_head *head = &snapshot->head;
	uint64_t first = row->offset / CV_POOL_BLOCK, last = (row->offset + row->len - 1) / CV_POOL_BLOCK;

	for (uint64_t block = first; block <= last; block++) {
		uint64_t start = block * CV_POOL_BLOCK;

		if (snapshot->notes_read[block] != 0)
			continue;
		if (!fetch(snapshot, head->notes_offset + start, CV_MIN((uint64_t)CV_POOL_BLOCK, head->notes_len - start)))
			return false;
		snapshot->notes_read[block] = 1;
	}
	return true;
}

bool cv_snapshot_note(const struct cv_snapshot *snapshot, uint32_t at, struct cv_str *packed_r)
{
	struct note_row row = note_row(snapshot, at);

	*packed_r = (struct cv_str){ 0 };
	if (!fetch_note(snapshot, &row))
		return false;
	*packed_r = octets_at(snapshot, snapshot->head.notes_offset + row.offset, row.len);
	if (cv_crc32c(0, packed_r->ptr, packed_r->len) == row.crc)
		return true;
	*packed_r = (struct cv_str){ 0 };
	return false;
}

/* The table says where in the octets everything is. */
static bool notes_make_sense(const struct cv_snapshot *snapshot)
{
	uint32_t before = 0;

	for (uint32_t i = 0; i < snapshot->head.notes_count; i++) {
		struct note_row row = note_row(snapshot, i);

		if (row.uid <= before || row.len == 0 || row.offset > snapshot->head.notes_len || row.len > snapshot->head.notes_len - row.offset)
			return false;
		before = row.uid;
	}
	return true;
}

static bool read_notes(struct cv_snapshot *snapshot, uint32_t crc)
{
	const struct cv_snapshot_head *head = &snapshot->head;
	uint64_t len = (uint64_t)head->notes_count * CV_SNAPSHOT_NOTE;
	struct cv_str table;

	if (head->notes_count == 0)
		return true;
	if (!fetch(snapshot, cv_snapshot_notes_table(head), len))
		return false;
	table = octets_at(snapshot, cv_snapshot_notes_table(head), len);
	if (cv_crc32c(0, table.ptr, table.len) != crc || !notes_make_sense(snapshot))
		return false;
	snapshot->notes_read = cv_calloc((size_t)(head->notes_len / CV_POOL_BLOCK) + 1, 1);
	return true;
}

void cv_columns_check(const struct cv_columns *columns, enum cv_column column, uint32_t chunk)
{
	struct cv_snapshot *snapshot = columns->base;

	if (!cv_snapshot_chunk_ok(snapshot, column, chunk)) {
		cv_mailbox_mend(snapshot->owner);
		return;
	}
	snapshot->checked[column][chunk] = CHECKED;
	cv_snapshot_note_read(snapshot, column);
}

void cv_snapshot_note_read(struct cv_snapshot *snapshot, enum cv_column column)
{
	snapshot->read_octets += (uint64_t)CV_CHUNK_ROWS * cv_column_width[column];
}

/* The pages that lie wholly in chunks of a column from first to before end, which are the file's, give up their memory. */
static void give_back(struct cv_snapshot *snapshot, enum cv_column column, uint32_t first, uint32_t end)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), base = (uintptr_t)snapshot->octets;
	uint64_t offset = snapshot->head.column_offset[column], rows = CV_MIN((uint64_t)end * CV_CHUNK_ROWS, (uint64_t)snapshot->head.rows);
	uintptr_t from = (base + offset + (uint64_t)first * CV_CHUNK_ROWS * cv_column_width[column] + page - 1) / page * page;
	uintptr_t to = (base + offset + rows * cv_column_width[column]) / page * page;

	memset(snapshot->checked[column] + first, 0, end - first);
	if (from < to)
		(void)madvise(snapshot->octets + (from - base), to - from, MADV_DONTNEED); /* what remains is right as well */
}

static void give_back_column(struct cv_snapshot *snapshot, enum cv_column column)
{
	const uint8_t *checked = snapshot->checked[column];
	uint32_t chunks = cv_snapshot_chunks(snapshot), first = 0, end;

	/* UIDs without runs are all there always */
	if ((uint32_t)column >= snapshot->head.columns || (column == CV_COLUMN_uid && snapshot->runs == NULL))
		return;
	for (; first < chunks; first = end + 1) {
		for (end = first; end < chunks && checked[end] == CV_CHUNK_CHECKED; end++) {
		}
		if (end > first)
			give_back(snapshot, column, first, end);
	}
}

void cv_columns_rest(struct cv_columns *columns)
{
	struct cv_snapshot *snapshot = columns->base;
	uint64_t before;

	if (snapshot == NULL || snapshot->fd < 0 || snapshot->trusted)
		return;
	before = snapshot->read_before;
	snapshot->read_before = snapshot->read_octets;
	if (snapshot->read_octets - before < REST_COMMAND_MAX && snapshot->read_octets < REST_MAX)
		return;
	for (unsigned i = 0; i < CV_COLUMNS; i++)
		give_back_column(snapshot, (enum cv_column)i);
	snapshot->read_octets = snapshot->read_before = 0;
}

void cv_snapshot_check_pool(const struct cv_columns *columns, uint64_t offset, size_t len)
{
	struct cv_snapshot *snapshot = columns->base;
	uint64_t end = CV_MIN(offset + len, columns->base_pool_len);

	for (uint64_t block = offset / CV_POOL_BLOCK; block * CV_POOL_BLOCK < end; block++) {
		if (snapshot->pool_checked[block] != 0)
			continue;
		if (!cv_snapshot_block_ok(snapshot, (uint32_t)block)) {
			cv_mailbox_mend(snapshot->owner);
			return;
		}
		snapshot->pool_checked[block] = CHECKED;
	}
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

static int read_head(struct cv_snapshot *snapshot, const char *name, struct cv_err *err)
{
	struct cv_snapshot_head *head = &snapshot->head;
	struct cv_snapshot_crcs crcs = { 0 };
	struct cv_str words, checks;

	if (cv_snapshot_head_take(octets_at(snapshot, 0, CV_SNAPSHOT_HEAD), name, head, &crcs, err) < 0)
		return -1;
	if (!fetch(snapshot, head->words_offset, head->words_len) || !fetch(snapshot, head->checks_offset, head->checks_len))
		return cv_snapshot_bad(err, name, "words or checksums can't be read");
	words = octets_at(snapshot, head->words_offset, head->words_len);
	checks = octets_at(snapshot, head->checks_offset, head->checks_len);
	if (cv_crc32c(0, words.ptr, words.len) != crcs.words || cv_crc32c(0, checks.ptr, checks.len) != crcs.checks)
		return cv_snapshot_bad(err, name, "words or checksums do not check");
	if (!read_notes(snapshot, crcs.notes))
		return cv_snapshot_bad(err, name, "table of annotations does not check");
	if (!read_runs(snapshot, crcs.runs))
		return cv_snapshot_bad(err, name, "runs of UIDs do not check");
	return cv_snapshot_words_take(words, head) ? 1 : cv_snapshot_bad(err, name, "words make no sense");
}

/* All of a large piece is about to be filled: in pages of this size that is a few faults instead of thousands. Without them it is as right. */
static void fill_soon(const struct cv_snapshot *snapshot, uint64_t offset, uint64_t len)
{
	uintptr_t base = (uintptr_t)snapshot->octets, page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = (base + offset) / HUGE_PAGE * HUGE_PAGE, last = (base + offset + len + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;

	if (len < HUGE_PAGE)
		return;
	first = CV_MAX(first, (base + page - 1) / page * page);
	last = CV_MIN(last, (base + snapshot->head.file_len) / page * page);
	if (first < last)
		(void)madvise(snapshot->octets + (first - base), last - first, MADV_HUGEPAGE);
}

typedef uint32_t four_uids __attribute__((vector_size(16)));

/* Is each row from first to before end, but not the very first one, above the one before? Four at a time. */
static bool ascend(const uint32_t *uids, uint32_t first, uint32_t end)
{
	uint32_t row = CV_MAX(first, 1u), bad = 0;
	four_uids fours_bad = { 0 }, these, before;

	for (; row < end && end - row >= 4; row += 4) {
		memcpy(&these, &uids[row], sizeof(these));
		memcpy(&before, &uids[row - 1], sizeof(before));
		fours_bad |= (four_uids)(these <= before);
	}
	for (; row < end; row++)
		bad |= uids[row] <= uids[row - 1];
	return (bad | fours_bad[0] | fours_bad[1] | fours_bad[2] | fours_bad[3]) == 0;
}

/* UIDs are what everything is found by: they ascend, and they are checked at once, so many at a time as the processor has at hand; runs were. */
static int check_uids(struct cv_snapshot *snapshot, const char *name, struct cv_err *err)
{
	const struct cv_snapshot_head *head = &snapshot->head;
	const uint32_t *uids = (const uint32_t *)(const void *)(snapshot->octets + head->column_offset[CV_COLUMN_uid]);
	uint32_t chunks = cv_snapshot_chunks(snapshot);

	if (snapshot->runs != NULL)
		return 1;
	fill_soon(snapshot, head->column_offset[CV_COLUMN_uid], (uint64_t)head->rows * sizeof(*uids));
	for (uint32_t chunk = 0; chunk < chunks; chunk++) {
		if (chunk % CHUNKS_AT_ONCE == 0 && !fetch_chunks(snapshot, CV_COLUMN_uid, chunk, CHUNKS_AT_ONCE))
			return cv_snapshot_bad(err, name, "UIDs can't be read");
		if (!chunk_checks(snapshot, CV_COLUMN_uid, chunk))
			return cv_snapshot_bad(err, name, "UIDs do not check");
		if (!ascend(uids, chunk * CV_CHUNK_ROWS, chunk * CV_CHUNK_ROWS + CV_MIN(CV_CHUNK_ROWS, head->rows - chunk * CV_CHUNK_ROWS)))
			return cv_snapshot_bad(err, name, "UIDs make no sense");
		snapshot->checked[CV_COLUMN_uid][chunk] = CHECKED;
	}
	if (head->rows > 0 && (uids[0] == 0 || uids[head->rows - 1] == UINT32_MAX))
		return cv_snapshot_bad(err, name, "UIDs make no sense");
	return 1;
}

/* Before memory for the whole of it is taken: is the head one, and of a file of this length? */
static int check_first(int fd, const char *name, uint64_t file_len, struct cv_err *err)
{
	char octets[CV_SNAPSHOT_HEAD];
	struct cv_reader reader, last;
	uint64_t magic, order, len;
	uint32_t crc;
	size_t got;

	if (cv_file_pread(fd, octets, sizeof(octets), 0, &got, err) < 0)
		return -1;
	reader = cv_reader_init(cv_str_mem(octets, got));
	last = cv_reader_init(cv_str_sub(cv_str_mem(octets, got), CV_SNAPSHOT_HEAD - 4, 4));
	if (!cv_take_u64(&reader, &magic) || magic != CV_SNAPSHOT_MAGIC || !cv_take_u32(&last, &crc) ||
		crc != cv_crc32c(0, octets, CV_SNAPSHOT_HEAD - 4))
		return cv_snapshot_bad(err, name, "head does not check");
	if (!cv_take_u64(&reader, &order) || !cv_take_u64(&reader, &len) || len != file_len)
		return cv_snapshot_bad(err, name, "length is not what its head says");
	return 1;
}

/* The whole of a short file, of a longer one the head: the rest stays with the descriptor. */
static int open_file(int dir, const char *name, struct cv_snapshot *snapshot, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	struct stat st;
	size_t want, got;
	int ret;

	if (cv_file_open(dir, name, O_RDONLY, 0, &snapshot->fd, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		if (open_err.code == CV_ERR_PERM) /* others have what it says */
			open_err.code = CV_ERR_CORRUPT;
		if (err != NULL)
			*err = open_err;
		return -1;
	}
	ret = cv_file_fstat(snapshot->fd, &st, err);
	if (ret > 0 && (!S_ISREG(st.st_mode) || st.st_size < CV_SNAPSHOT_HEAD))
		ret = cv_snapshot_bad(err, name, "length is too short");
	if (ret > 0)
		ret = check_first(snapshot->fd, name, (uint64_t)st.st_size, err);
	if (ret < 0)
		return -1;
	snapshot->head.file_len = (uint64_t)st.st_size;
	snapshot->octets = cv_calloc((size_t)st.st_size, 1);
	want = st.st_size <= READ_WHOLE_MAX ? (size_t)st.st_size : CV_SNAPSHOT_HEAD;
	ret = cv_file_pread(snapshot->fd, snapshot->octets, want, 0, &got, err);
	if (ret > 0 && got < want)
		ret = cv_snapshot_bad(err, name, "length is shorter than it was");
	if (want == (size_t)st.st_size)
		cv_file_close(&snapshot->fd);
	return ret;
}

int cv_snapshot_open(int dir, const char *name, struct cv_snapshot **snapshot_r, struct cv_err *err)
{
	struct cv_snapshot *snapshot = cv_new0(struct cv_snapshot);
	int ret;

	*snapshot_r = NULL;
	snapshot->refs = 1;
	snapshot->fd = -1;
	ret = open_file(dir, name, snapshot, err);
	if (ret > 0)
		ret = read_head(snapshot, name, err);
	if (ret > 0) {
		for (unsigned i = 0; i < CV_COLUMNS; i++)
			snapshot->checked[i] = cv_calloc((size_t)cv_snapshot_chunks(snapshot) + 1, 1);
		snapshot->pool_checked = cv_calloc((size_t)cv_snapshot_pool_blocks(snapshot) + 1, 1);
		ret = check_uids(snapshot, name, err);
	}
	if (ret <= 0) {
		cv_snapshot_free(&snapshot);
		return ret;
	}
	*snapshot_r = snapshot;
	return 1;
}

static void *column_values(struct cv_snapshot *snapshot, enum cv_column column)
{
	if ((uint32_t)column < snapshot->head.columns)
		return snapshot->octets + snapshot->head.column_offset[column];
	if (snapshot->absent[column] == NULL)
		snapshot->absent[column] = cv_calloc((size_t)snapshot->head.rows + 1, cv_column_width[column]);
	return snapshot->absent[column];
}

struct cv_columns *cv_columns_on(struct cv_snapshot *snapshot)
{
	struct cv_columns *columns = cv_columns_new();
	const struct cv_snapshot_head *head = &snapshot->head;

	columns->base = snapshot;
	columns->base_count = columns->count = head->rows;
#define X(name, type)                                                                                         \
	columns->base_rows.name = column_values(snapshot, CV_COLUMN_##name);                                  \
	columns->checked[CV_COLUMN_##name] = snapshot->checked[CV_COLUMN_##name];
	CV_COLUMN_LIST(X)
#undef X
	columns->base_pool = snapshot->octets + head->pool_offset;
	columns->base_pool_len = head->pool_len;
	cv_notes_on(columns);
	return columns;
}
