/* SPDX-License-Identifier: MIT
   Segments of the journal: writing, reading, scanning, dropping. */
#include <config.h>

#include "core/store/journal.h"
#include <culver/log.h>
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SEGMENT_MAGIC 0x314c4e524a535643ULL /* "CVSJRNL1" */
#define NAME_LEN (sizeof("journal.") - 1 + 16)
#define PENDING_MAX ((size_t)2 << 30)
#define PENDING_KEPT ((size_t)128 << 10) /* memory that stays for the next records */
#define NEVER_SYNCED_MAX ((uint64_t)16 << 20) /* octets of a segment that may never have been synced: TAIL_MAX, and records that were written at once, with messages */
#define TAIL_MAX ((size_t)1 << 20) /* so much is kept for a sync that fails; with more the next write is synced */

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

void cv_journal_init(struct cv_journal *journal, int dir, enum cv_fsync fsync, uint32_t node, unsigned file_mode)
{
	*journal = (struct cv_journal){
		.dir = dir, .fsync = fsync, .node = node, .next_number = 1, .fd = -1, .read_fd = -1, .copy_fd = -1, .file_mode = file_mode };
	cv_buf_init(&journal->pending, PENDING_MAX);
	cv_buf_init(&journal->tail, PENDING_MAX);
}

void cv_journal_deinit(struct cv_journal *journal)
{
	cv_file_close(&journal->fd);
	cv_file_close(&journal->read_fd);
	cv_file_close(&journal->copy_fd);
	cv_window_deinit(&journal->window);
	cv_buf_deinit(&journal->pending);
	cv_buf_deinit(&journal->tail);
	cv_vec_free(&journal->segments);
}

void cv_journal_name(uint32_t number, char *name_r, size_t size)
{
	(void)snprintf(name_r, size, "journal.%016x", number);
}

static void segment_name(char name[NAME_LEN + 1], uint32_t number)
{
	cv_journal_name(number, name, NAME_LEN + 1);
}

bool cv_journal_parse_name(const char *name, uint32_t *number_r)
{
	uint64_t n = 0;

	if (strncmp(name, "journal.", 8) != 0 || strlen(name) != NAME_LEN)
		return false;
	for (const char *p = name + 8; *p != '\0'; p++) {
		if (cv_is_digit(*p))
			n = n << 4 | (uint64_t)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			n = n << 4 | (uint64_t)(*p - 'a' + 10);
		else
			return false;
	}
	if (n == 0 || n > UINT32_MAX)
		return false;
	*number_r = (uint32_t)n;
	return true;
}

void cv_index_aside_name(const char *name, char aside_r[CV_ASIDE_MAX])
{
	(void)snprintf(aside_r, CV_ASIDE_MAX, "%s.damaged-%lld", name, (long long)cv_time_now_us());
}

int cv_index_aside(int dir, const char *name, struct cv_err *err)
{
	char aside[CV_ASIDE_MAX];
	struct cv_err rename_err = { 0 };

	cv_index_aside_name(name, aside);
	if (cv_file_rename(dir, name, dir, aside, false, &rename_err) > 0 || rename_err.code == CV_ERR_NOTFOUND)
		return 1;
	*err = rename_err;
	return -1;
}

struct cv_segment *cv_journal_segment(const struct cv_journal *journal, uint32_t number)
{
	for (size_t i = journal->segments.count; i > 0; i--) {
		if (journal->segments.data[i - 1].number == number)
			return &journal->segments.data[i - 1];
	}
	return NULL;
}

struct cv_segment *cv_journal_last(const struct cv_journal *journal)
{
	return journal->segments.count > 0 ? &journal->segments.data[journal->segments.count - 1] : NULL;
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

struct listing {
	struct cv_journal *journal;
	CV_VEC(uint32_t) copies;
};

static int note_segment(struct cv_journal *journal, const char *name, uint32_t number, struct cv_err *err)
{
	struct cv_segment *segment;
	char head[CV_SEGMENT_HEAD];
	struct stat st;
	size_t len;
	int fd, ok;

	if (cv_file_open(journal->dir, name, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	if (cv_file_fstat(fd, &st, err) < 0 || cv_file_pread(fd, head, sizeof(head), 0, &len, err) < 0) {
		cv_file_close(&fd);
		return -1;
	}
	cv_file_close(&fd);
	segment = cv_vec_push(&journal->segments);
	segment->number = number;
	if (number >= journal->next_number)
		journal->next_number = number + 1;
	segment->len = (uint64_t)st.st_size;
	segment->mtime = (int64_t)st.st_mtime;
	ok = cv_segment_parse_head(cv_str_mem(head, len), segment, err);
	if (ok < 0)
		return -1;
	segment->damaged = ok == 0;
	return 1;
}

static int list_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct listing *listing = ctx;
	uint32_t number;

	(void)type;
	if (cv_journal_parse_copy_name(name, &number))
		*cv_vec_push(&listing->copies) = number;
	return cv_journal_parse_name(name, &number) ? note_segment(listing->journal, name, number, err) : 1;
}

static int compare_segments(const void *a, const void *b)
{
	const struct cv_segment *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static void sort_segments(struct cv_journal *journal)
{
	if (journal->segments.count > 1)
		qsort(journal->segments.data, journal->segments.count, sizeof(*journal->segments.data), compare_segments);
}

/* A segment of which only the copy is there, or whose head does not check. */
static int take_copy(struct cv_journal *journal, uint32_t number, struct cv_err *err)
{
	struct cv_segment *segment = cv_journal_segment(journal, number);
	struct cv_segment missing = { .number = number };
	int ret;

	if (segment != NULL) {
		segment->copied = true;
		return segment->damaged ? cv_journal_mend(journal, segment, 0, err) : 0;
	}
	missing.copied = true;
	ret = cv_journal_mend(journal, &missing, 0, err);
	if (ret > 0)
		*cv_vec_push(&journal->segments) = missing;
	journal->next_number = CV_MAX(journal->next_number, number + 1);
	return ret;
}

int cv_journal_list(struct cv_journal *journal, struct cv_err *err)
{
	struct listing listing = { .journal = journal };
	int ret;

	journal->segments.count = 0;
	ret = cv_file_list(journal->dir, ".", list_one, &listing, err);
	for (size_t i = 0; ret >= 0 && i < listing.copies.count; i++)
		ret = take_copy(journal, listing.copies.data[i], err);
	cv_vec_free(&listing.copies);
	sort_segments(journal);
	if (ret < 0)
		return -1;
	for (size_t i = 0; i < journal->segments.count; i++)
		journal->lost_seq = CV_MAX(journal->lost_seq, journal->segments.data[i].damaged ? 0 : journal->segments.data[i].lost_seq);
	return 1;
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

static void note_damage(struct cv_journal_damage *damage, struct cv_segment *segment, uint64_t lost, const char *what,
	uint64_t offset)
{
	segment->damaged = true;
	damage->damaged = true;
	damage->lost = damage->lost > UINT64_MAX - lost ? UINT64_MAX : damage->lost + lost;
	if (damage->what[0] == '\0')
		(void)snprintf(damage->what, sizeof(damage->what), "segment %u: %s at octet %llu", segment->number, what,
			(unsigned long long)offset);
}

struct scan {
	struct cv_journal *journal;
	uint64_t from_seq;
	struct cv_journal_pos start;
	bool repair;
	bool mended; /* what the copy has of this segment is in it */
	cv_journal_fn *fn;
	void *ctx;
	struct cv_journal_damage *damage;
};

/* What memory has of the octets of a segment from offset on, over what the file says: after a failed sync the system may have dropped them. */
static void overlay(const struct cv_journal *journal, uint32_t number, uint64_t offset, char *octets, size_t len)
{
	size_t count = journal->segments.count;
	uint64_t first = CV_MAX(offset, journal->tail_at), end = CV_MIN(offset + len, journal->tail_at + journal->tail.len);

	if (journal->tail.len > 0 && count > 0 && journal->segments.data[count - 1].number == number && first < end)
		memcpy(octets + (first - offset), journal->tail.data + (first - journal->tail_at), (size_t)(end - first));
}

/* Offset of the next record that checks from `from` on, or octets.len. Records are aligned to 8. */
static uint64_t find_record(struct cv_str octets, uint64_t from, struct cv_record_head *head_r)
{
	struct cv_str entries;

	for (uint64_t at = from; at + CV_RECORD_HEAD <= octets.len; at += 8) {
		if (memcmp(octets.ptr + at, "CVr1", 4) == 0 && cv_record_check(cv_str_sub(octets, at, SIZE_MAX), head_r, &entries) > 0)
			return at;
	}
	return octets.len;
}

static bool all_zero(struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] != '\0')
			return false;
	}
	return true;
}

/* What does not check at offset `at` of a segment: 1 when it was stepped over (*at_r: where to go on), 0 when the segment ends there. */
static int bad_octets(struct scan *scan, struct cv_segment *segment, bool last, struct cv_str octets, uint64_t at, uint64_t *at_r)
{
	struct cv_record_head head = { 0 };
	uint64_t next = find_record(octets, (at + 8) & ~(uint64_t)7, &head);

	/* Records of one write may reach the disk in any order: valid ones behind a bad one are still a torn tail when none of them was
	   written after the bad one had been synced. */
	if (next < octets.len) {
		uint64_t look = next;
		bool was_durable = false;

		while (look < octets.len && !was_durable) {
			was_durable = head.synced > at;
			look = find_record(octets, look + 8, &head);
		}
		if (was_durable || !last) {
			note_damage(scan->damage, segment, next - at, "a record does not check, valid ones follow", at);
			*at_r = next;
			return 1;
		}
	} else if (!last) {
		note_damage(scan->damage, segment, octets.len - at, "the segment ends in a record that does not check", at);
		return 0;
	}
	if (!all_zero(cv_str_sub(octets, at, SIZE_MAX)))
		scan->damage->torn = true;
	segment->len = at;
	return 0;
}

/* Where it does not check, and at the end of the last one, the copy is asked, once. */
static bool may_be_mended(struct scan *scan, const struct cv_segment *segment, uint64_t at)
{
	if (scan->mended || !scan->repair || !segment->copied)
		return false;
	scan->start = (struct cv_journal_pos){ segment->number, at };
	return true;
}

/* 0: the segment may be mended from its copy; then it goes on at scan->start. */
static int scan_octets(struct scan *scan, struct cv_segment *segment, bool last, struct cv_str octets, struct cv_err *err)
{
	struct cv_journal *journal = scan->journal;
	uint64_t at = scan->start.segment == segment->number ? scan->start.offset : CV_SEGMENT_HEAD;
	const struct cv_segment *next = segment < cv_journal_last(journal) ? segment + 1 : NULL;
	struct cv_record_head head;
	struct cv_str entries;

	if (!scan->mended && at > CV_SEGMENT_HEAD) /* before the first record nothing tells, of the head either */
		segment->durable = CV_MAX(segment->durable, at);
	if (at > octets.len) {
		if (may_be_mended(scan, segment, at))
			return 0;
		note_damage(scan->damage, segment, UINT64_MAX, "it was longer, and ends", octets.len);
		return 1;
	}
	while (at < octets.len) {
		uint32_t len = cv_record_check(cv_str_sub(octets, at, SIZE_MAX), &head, &entries);

		if (len == 0) {
			if (may_be_mended(scan, segment, at))
				return 0;
			if (bad_octets(scan, segment, last, octets, at, &at) == 0)
				break;
			continue;
		}
		if (head.version > CV_RECORD_VERSION)
			return cv_err_set(err, CV_ERR_UNSUPPORTED,
				"a journal record has format %u, this server knows up to %u: use the newer server again", head.version,
				CV_RECORD_VERSION);
		if (next != NULL && !next->damaged && head.seq > next->before_seq) {
			at += len; /* written late by an owner who had lost the mail: never acknowledged */
			continue;
		}
		if (head.seq > journal->seq)
			journal->seq = head.seq;
		if (head.hlc > journal->hlc)
			journal->hlc = head.hlc;
		if (head.epoch > journal->epoch)
			journal->epoch = head.epoch;
		if (head.seq > journal->written_seq)
			journal->written_seq = head.seq;
		segment->last_seq = head.seq;
		if (head.synced > segment->durable && head.synced <= at)
			segment->durable = head.synced;
		if (head.seq > scan->from_seq &&
			scan->fn(scan->ctx, &head, (struct cv_journal_pos){ segment->number, at }, entries, err) < 0)
			return -1;
		at += len;
	}
	return last && at >= octets.len && may_be_mended(scan, segment, at) ? 0 : 1;
}

static void forget_tail(struct cv_journal *journal)
{
	cv_buf_clear(&journal->tail);
	journal->rewrite = false;
}

/* Cut the file of the last segment to the length that checks. */
static int cut_tail(struct cv_journal *journal, struct cv_segment *segment, struct cv_err *err)
{
	char name[NAME_LEN + 1];
	int fd, ret;

	cv_window_drop(&journal->window);
	segment_name(name, segment->number);
	if (cv_file_open(journal->dir, name, O_RDWR, 0, &fd, err) < 0)
		return -1;
	ret = cv_file_truncate(fd, segment->len, err);
	if (ret > 0 && journal->tail.len > 0)
		ret = cv_file_pwrite(fd, cv_buf_str(&journal->tail), journal->tail_at, err);
	if (ret > 0 && journal->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(fd, false, err);
	if (ret > 0)
		forget_tail(journal);
	cv_file_close(&fd);
	return ret;
}

/* The octets of the file from its begin on, as far as the segment is long, which is not 0: unmapped by the caller. */
static int map_segment(const struct cv_journal *journal, const struct cv_segment *segment, void **map_r, struct cv_err *err)
{
	char name[NAME_LEN + 1];
	int fd, ret;

	segment_name(name, segment->number);
	if (cv_file_open(journal->dir, name, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	ret = cv_file_map(fd, 0, segment->len, false, map_r, err);
	cv_file_close(&fd);
	return ret;
}

static int scan_file(struct scan *scan, struct cv_segment *segment, bool last, struct cv_err *err)
{
	uint64_t len = segment->len;
	void *map = NULL;
	int ret;

	if (len <= CV_SEGMENT_HEAD) {
		if (scan->start.segment == segment->number && scan->start.offset > len) {
			if (may_be_mended(scan, segment, scan->start.offset))
				return 0;
			note_damage(scan->damage, segment, UINT64_MAX, "it was longer, and ends", len);
		}
		return last && may_be_mended(scan, segment, CV_SEGMENT_HEAD) ? 0 : 1;
	}
	if (map_segment(scan->journal, segment, &map, err) < 0)
		return -1;
	if (scan->journal->tail.len > 0) {
		char *copy = cv_malloc(len);

		memcpy(copy, map, len);
		overlay(scan->journal, segment->number, 0, copy, len);
		ret = scan_octets(scan, segment, last, cv_str_mem(copy, len), err);
		cv_free(copy);
	} else {
		ret = scan_octets(scan, segment, last, cv_str_mem(map, len), err);
	}
	cv_file_unmap(map, len);
	if (ret > 0 && segment->len < len && scan->repair && !segment->damaged)
		ret = cut_tail(scan->journal, segment, err);
	return ret;
}

static int scan_segment(struct scan *scan, struct cv_segment *segment, bool last, struct cv_err *err)
{
	struct cv_journal_pos start = scan->start;
	int ret;

	scan->mended = false;
	while ((ret = scan_file(scan, segment, last, err)) == 0) {
		scan->mended = true;
		if (cv_journal_mend(scan->journal, segment, scan->start.offset, err) < 0)
			return -1;
	}
	scan->start = start;
	if (ret > 0)
		segment->scanned = true;
	return ret;
}

static int remove_segment(struct cv_journal *journal, uint32_t number, struct cv_err *err)
{
	char name[NAME_LEN + 1];

	segment_name(name, number);
	return cv_file_unlink(journal->dir, name, err) < 0 ? -1 : 1;
}

/* Was nothing of a segment whose head does not check ever on disk? The head goes there with the first records: a crash before that leaves a length at most, with
   zeros for the head, and no record that says that something was synced before it. More than waits for a sync was not lost so. 1: there is
   nothing in it, 2: there are octets that somebody may want to look at, 0, -1. */
static int was_never_synced(struct cv_journal *journal, const struct cv_segment *segment, struct cv_err *err)
{
	struct cv_record_head head;
	struct cv_str octets;
	void *map;
	int ret;

	if (segment->len < CV_SEGMENT_HEAD)
		return 1;
	if (segment->len > NEVER_SYNCED_MAX)
		return 0;
	if (map_segment(journal, segment, &map, err) < 0)
		return -1;
	octets = cv_str_mem(map, segment->len);
	ret = all_zero(cv_str_sub(octets, 0, CV_SEGMENT_HEAD));
	if (ret > 0 && !all_zero(octets))
		ret = 2;
	for (uint64_t at = find_record(octets, CV_SEGMENT_HEAD, &head); ret > 0 && at < octets.len; at = find_record(octets, at + 8, &head))
		ret = head.synced == 0 ? ret : 0;
	cv_file_unmap(map, segment->len);
	return ret;
}

/* The copy first: the segment would come back from it. */
static int leave_never_synced(struct cv_journal *journal, struct cv_segment *segment, bool keep, struct cv_err *err)
{
	char name[NAME_LEN + 1];

	if (!keep)
		return cv_journal_drop_copy(journal, segment->number, err) < 0 ? -1 : remove_segment(journal, segment->number, err);
	segment_name(name, segment->number);
	return cv_journal_copy_aside(journal, segment, err) < 0 ? -1 : cv_index_aside(journal->dir, name, err);
}

/* Are there records up to this one? */
static int reaches(struct cv_journal *journal, const struct cv_segment *segment, uint64_t seq, struct cv_err *err)
{
	struct cv_record_head head;
	struct cv_str octets;
	void *map;
	int ret;

	if (segment->len <= CV_SEGMENT_HEAD)
		return segment->before_seq >= seq;
	if (map_segment(journal, segment, &map, err) < 0)
		return -1;
	octets = cv_str_mem(map, segment->len);
	ret = segment->before_seq >= seq;
	for (uint64_t at = find_record(octets, CV_SEGMENT_HEAD, &head); ret == 0 && at < octets.len; at = find_record(octets, at + 8, &head))
		ret = head.seq >= seq;
	cv_file_unmap(map, segment->len);
	return ret;
}

/* Is the last one a segment that could not be begun? Its name or its removal could not be synced, and who came next went on in the one before; a power cut
   may bring it back. Nothing was confirmed in it, but it would say of what was confirmed in the one before that it came too late, and of a torn record there
   that it was whole. 1: there is nothing in it, 2: octets that somebody may want to look at, 0, -1. */
static int was_not_begun(struct cv_journal *journal, struct cv_journal_pos start, struct cv_err *err)
{
	struct cv_segment *last = cv_journal_last(journal);

	if (last == NULL || start.segment == last->number)
		return 0;
	/* A crash while the first octets were written. */
	if (last->damaged)
		return last->last_seq == 0 && last->before_seq == 0 ? was_never_synced(journal, last, err) : 0;
	if (journal->segments.count < 2 || last->len != CV_SEGMENT_HEAD || last->copied || last[-1].damaged || last[-1].number + 1 != last->number ||
		last[-1].lost_seq != last->lost_seq)
		return 0;
	return reaches(journal, &last[-1], last->before_seq, err);
}

static int sync_names(struct cv_journal *journal, struct cv_err *err)
{
	return journal->fsync != CV_FSYNC_NEVER ? cv_file_sync(journal->dir, true, err) : 1;
}

static int leave_not_begun(struct cv_journal *journal, struct cv_journal_pos start, struct cv_journal_damage *damage, struct cv_err *err)
{
	int what;

	while ((what = was_not_begun(journal, start, err)) > 0) {
		struct cv_segment *last = cv_journal_last(journal);

		/* Those behind it, which were removed by an earlier process, are gone for good before it goes: one that came back without it would say that what
		   is missing between was lost. */
		if (sync_names(journal, err) < 0)
			return -1;
		damage->torn = damage->torn || last->damaged;
		if (leave_never_synced(journal, last, what > 1, err) < 0)
			return -1;
		/* The next one has its number, since a number that is missing is damage. */
		if (journal->next_number == last->number + 1)
			journal->next_number = last->number;
		journal->segments.count--;
		/* On disk it may still have records that were refused and cut off in vain: it would say of what is confirmed in the one before that it came
		   too late. */
		if (sync_names(journal, err) < 0)
			return -1;
	}
	return what;
}

int cv_journal_scan(struct cv_journal *journal, uint64_t from_seq, struct cv_journal_pos start, bool repair, cv_journal_fn *fn, void *ctx,
	struct cv_journal_damage *damage, struct cv_err *err)
{
	struct scan scan = { .journal = journal, .from_seq = from_seq, .start = start, .repair = repair, .fn = fn, .ctx = ctx, .damage = damage };

	*damage = (struct cv_journal_damage){ 0 };
	if (repair && leave_not_begun(journal, start, damage, err) < 0)
		return -1;
	for (size_t i = 0; i < journal->segments.count; i++) {
		struct cv_segment *segment = &journal->segments.data[i], *before = i > 0 ? segment - 1 : NULL;
		bool last = i + 1 == journal->segments.count;

		if (segment->damaged && segment->last_seq == 0 && segment->before_seq == 0)
			note_damage(damage, segment, segment->len, "its head does not check", 0);
		if (before != NULL && before->number + 1 != segment->number && segment->before_seq > CV_MAX(from_seq, segment->lost_seq)) {
			note_damage(damage, segment, 0, "the segment before it is missing", 0);
			damage->lost = UINT64_MAX;
		}
		if (!last && !segment[1].damaged && segment[1].before_seq <= from_seq)
			continue;
		if (scan_segment(&scan, segment, last && repair, err) < 0)
			return -1;
	}
	return 1;
}

uint64_t cv_journal_complete_from(const struct cv_journal *journal)
{
	uint64_t from = 0;

	for (size_t i = 0; i < journal->segments.count; i++) {
		const struct cv_segment *segment = &journal->segments.data[i];

		if (i == 0 || segment[-1].number + 1 != segment->number)
			from = CV_MAX(from, segment->before_seq);
		from = CV_MAX(from, segment->lost_seq);
		if (segment->damaged)
			from = UINT64_MAX;
	}
	return journal->segments.count == 0 ? journal->written_seq : from;
}

void cv_journal_mark_damaged(struct cv_journal *journal, uint32_t number)
{
	struct cv_segment *segment = cv_journal_segment(journal, number);

	if (segment != NULL)
		segment->damaged = true;
}

bool cv_journal_is_damaged(const struct cv_journal *journal)
{
	for (size_t i = 0; i < journal->segments.count; i++) {
		if (journal->segments.data[i].damaged)
			return true;
	}
	return false;
}

struct cv_journal_pos cv_journal_end_pos(const struct cv_journal *journal)
{
	size_t count = journal->segments.count;

	if (count == 0)
		return (struct cv_journal_pos){ journal->next_number, CV_SEGMENT_HEAD };
	return (struct cv_journal_pos){ journal->segments.data[count - 1].number, journal->segments.data[count - 1].len };
}

bool cv_journal_has_segment(const struct cv_journal *journal, uint32_t number)
{
	return cv_journal_segment(journal, number) != NULL;
}

void cv_journal_forget_reads(struct cv_journal *journal)
{
	cv_window_drop(&journal->window);
	cv_file_close(&journal->read_fd);
}

/* A descriptor of the segment, the journal's own. */
static int segment_fd(struct cv_journal *journal, uint32_t number, int *fd_r, struct cv_err *err)
{
	char name[NAME_LEN + 1];

	if (journal->fd >= 0 && number == cv_journal_last(journal)->number) {
		*fd_r = journal->fd;
		return 1;
	}
	if (journal->read_fd < 0 || journal->read_number != number) {
		cv_file_close(&journal->read_fd);
		segment_name(name, number);
		if (cv_file_open(journal->dir, name, O_RDONLY, 0, &journal->read_fd, err) < 0)
			return -1;
		journal->read_number = number;
	}
	*fd_r = journal->read_fd;
	return 1;
}

int cv_journal_read_at(struct cv_journal *journal, struct cv_journal_pos pos, struct cv_buf *buf, size_t len, struct cv_err *err)
{
	size_t got;
	void *p;
	int fd;

	cv_buf_clear(buf);
	if (!cv_journal_has_segment(journal, pos.segment))
		return cv_err_set(err, CV_ERR_NOTFOUND, "journal segment %u is not there any more", pos.segment);
	p = cv_buf_reserve(buf, len);
	if (p == NULL)
		return cv_err_set(err, CV_ERR_LIMIT, "journal record of %zu octets is too long", len);
	if (segment_fd(journal, pos.segment, &fd, err) < 0)
		return -1;
	if (journal->window_number != pos.segment) {
		cv_window_drop(&journal->window);
		journal->window_number = pos.segment;
	}
	if (cv_window_read(&journal->window, fd, pos.offset, p, len, &got, err) < 0)
		return -1;
	if (got < len)
		return cv_err_set(err, CV_ERR_CORRUPT, "journal segment %u is shorter than known", pos.segment);
	overlay(journal, pos.segment, pos.offset, p, len);
	cv_buf_commit(buf, len);
	return 1;
}

static int read_record(struct cv_journal *journal, struct cv_journal_pos pos, struct cv_buf *buf, struct cv_record_head *head_r,
	struct cv_str *entries_r, struct cv_err *err)
{
	struct cv_reader reader;
	uint32_t magic, len;

	if (cv_journal_read_at(journal, pos, buf, CV_RECORD_HEAD, err) < 0)
		return -1;
	reader = cv_reader_init(cv_buf_str(buf));
	if (!cv_take_u32(&reader, &magic) || magic != CV_RECORD_MAGIC || !cv_take_u32(&reader, &len) || len > CV_RECORD_MAX)
		return cv_err_set(err, CV_ERR_CORRUPT, "journal segment %u has no record at octet %llu", pos.segment,
			(unsigned long long)pos.offset);
	if (cv_journal_read_at(journal, pos, buf, len, err) < 0)
		return -1;
	if (cv_record_check(cv_buf_str(buf), head_r, entries_r) == 0)
		return cv_err_set(err, CV_ERR_CORRUPT, "journal segment %u has a record that does not check at octet %llu", pos.segment,
			(unsigned long long)pos.offset);
	return 1;
}

int cv_journal_read(struct cv_journal *journal, struct cv_journal_pos pos, struct cv_buf *buf, struct cv_record_head *head_r,
	struct cv_str *entries_r, struct cv_err *err)
{
	struct cv_err read_err = { 0 }, mend_err = { 0 };
	struct cv_segment *segment;

	if (read_record(journal, pos, buf, head_r, entries_r, &read_err) > 0)
		return 1;
	segment = cv_journal_segment(journal, pos.segment);
	if (segment != NULL && segment->copied && (read_err.code == CV_ERR_CORRUPT || read_err.code == CV_ERR_NOTFOUND)) {
		if (cv_journal_mend(journal, segment, 0, &mend_err) > 0)
			return read_record(journal, pos, buf, head_r, entries_r, err);
		if (mend_err.code != CV_ERR_NONE)
			cv_warn(journal->log_ctx, "%s", mend_err.text);
	}
	*err = read_err;
	return -1;
}

int cv_journal_open_segment(struct cv_journal *journal, uint32_t number, int *fd_r, struct cv_err *err)
{
	int fd;

	if (!cv_journal_has_segment(journal, number))
		return cv_err_set(err, CV_ERR_NOTFOUND, "journal segment %u is not there any more", number);
	if (segment_fd(journal, number, &fd, err) < 0)
		return -1;
	*fd_r = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return *fd_r >= 0 ? 1 : cv_err_sys(err, errno, "journal segment");
}

int cv_journal_next(struct cv_journal *journal, struct cv_journal_pos *pos, struct cv_buf *buf, struct cv_record_head *head_r,
	struct cv_str *entries_r, struct cv_err *err)
{
	for (size_t i = 0; i < journal->segments.count; i++) {
		const struct cv_segment *segment = &journal->segments.data[i];

		if (segment->number < pos->segment)
			continue;
		if (segment->number != pos->segment)
			*pos = (struct cv_journal_pos){ segment->number, CV_SEGMENT_HEAD };
		if (pos->offset < segment->len)
			return cv_journal_read(journal, *pos, buf, head_r, entries_r, err);
	}
	return 0;
}

/* ---- as it is on disk ------------------------------------------------------------------------------------------- */

/* The file that has the segment's name: is it the one that is written to, and long enough? */
static int check_file(struct cv_journal *journal, const struct cv_segment *segment, int fd, struct cv_err *err)
{
	struct stat st, own;

	if (segment->damaged)
		return cv_err_set(err, CV_ERR_CORRUPT, "some of it did not check when it was read");
	if (cv_file_fstat(fd, &st, err) < 0)
		return -1;
	if (journal->fd >= 0 && segment == cv_journal_last(journal)) {
		if (cv_file_fstat(journal->fd, &own, err) < 0)
			return -1;
		if (own.st_ino != st.st_ino || own.st_dev != st.st_dev)
			return cv_err_set(err, CV_ERR_CORRUPT, "another file was put in its place: what is written to the journal has no name");
	}
	if ((uint64_t)st.st_size < segment->len)
		return cv_err_set(err, CV_ERR_CORRUPT, "it has %llu octets, there were %llu", (unsigned long long)st.st_size,
			(unsigned long long)segment->len);
	return 1;
}

static int check_at(int fd, uint64_t at, uint32_t *len_r, struct cv_buf *buf, struct cv_err *err)
{
	struct cv_record_head head;
	struct cv_reader reader;
	struct cv_str entries;
	uint32_t magic;
	size_t got;
	void *p;

	cv_buf_clear(buf);
	p = cv_buf_reserve(buf, CV_RECORD_HEAD);
	if (cv_file_pread(fd, p, CV_RECORD_HEAD, at, &got, err) < 0)
		return -1;
	cv_buf_commit(buf, got);
	reader = cv_reader_init(cv_buf_str(buf));
	if (cv_take_u32(&reader, &magic) && magic == CV_RECORD_MAGIC && cv_take_u32(&reader, len_r) && *len_r >= CV_RECORD_HEAD &&
		*len_r <= CV_RECORD_MAX) {
		cv_buf_clear(buf);
		p = cv_buf_reserve(buf, *len_r);
		if (p == NULL)
			return cv_err_set(err, CV_ERR_LIMIT, "record of %u octets is too long", *len_r);
		if (cv_file_pread(fd, p, *len_r, at, &got, err) < 0)
			return -1;
		cv_buf_commit(buf, got);
		if (cv_record_check(cv_buf_str(buf), &head, &entries) == *len_r)
			return 1;
	}
	return cv_err_set(err, CV_ERR_CORRUPT, "the record at octet %llu does not check", (unsigned long long)at);
}

static int check_segment_head(int fd, const struct cv_segment *segment, struct cv_err *err)
{
	struct cv_segment copy = *segment;
	char head[CV_SEGMENT_HEAD];
	size_t got;
	int ret;

	if (cv_file_pread(fd, head, sizeof(head), 0, &got, err) < 0)
		return -1;
	ret = cv_segment_parse_head(cv_str_mem(head, got), &copy, err);
	return ret != 0 ? ret : cv_err_set(err, CV_ERR_CORRUPT, "its head does not check");
}

int cv_journal_check(struct cv_journal *journal, uint32_t number, uint64_t *offset, uint64_t deadline_ms, struct cv_buf *buf, struct cv_err *err)
{
	const struct cv_segment *segment = cv_journal_segment(journal, number);
	char name[NAME_LEN + 1];
	uint32_t len = 0;
	int fd, ret;

	if (segment == NULL)
		return 1;
	segment_name(name, number);
	if (cv_file_open(journal->dir, name, O_RDONLY, 0, &fd, err) < 0)
		return err->code == CV_ERR_NOTFOUND ? cv_err_set(err, CV_ERR_CORRUPT, "it is missing") : -1;
	ret = check_file(journal, segment, fd, err);
	if (ret > 0 && *offset == 0) {
		ret = check_segment_head(fd, segment, err);
		*offset = CV_SEGMENT_HEAD;
	}
	while (ret > 0 && *offset < segment->len) {
		if (cv_time_mono_ms() >= deadline_ms) {
			ret = 0;
			break;
		}
		ret = check_at(fd, *offset, &len, buf, err);
		*offset += len;
	}
	cv_file_close(&fd);
	return ret;
}

uint64_t cv_journal_tick(struct cv_journal *journal)
{
	uint64_t now = (uint64_t)(cv_time_now_us() / 1000) << 16;

	journal->hlc = now > journal->hlc ? now : journal->hlc + 1;
	return journal->hlc;
}

/* The segment that the next write goes to: the last one when it is whole. */
static uint32_t target_number(struct cv_journal *journal)
{
	return journal->fd >= 0 ? cv_journal_last(journal)->number : journal->next_number;
}

uint64_t cv_journal_offset(const struct cv_journal *journal, size_t offset)
{
	uint64_t len = journal->fd >= 0 ? journal->segments.data[journal->segments.count - 1].len : CV_SEGMENT_HEAD;

	return len + offset;
}

struct cv_buf *cv_journal_begin(struct cv_journal *journal, struct cv_journal_pos *pos_r)
{
	cv_assert(!journal->record_open);
	journal->record_open = true;
	journal->record_start = journal->pending.len;
	journal->record_version = 1;
	*pos_r = (struct cv_journal_pos){ target_number(journal), cv_journal_offset(journal, journal->record_start) };
	/* magic, length, crc; then the head proper, filled in at the end */
	for (size_t i = 0; i < CV_RECORD_HEAD / 8; i++)
		cv_put_u64(&journal->pending, 0);
	return &journal->pending;
}

void cv_journal_cancel(struct cv_journal *journal)
{
	cv_assert(journal->record_open);
	if (!cv_buf_ok(&journal->pending)) /* what was whole before stays: a failed buffer keeps its octets */
		journal->pending.failed = false;
	cv_buf_truncate(&journal->pending, journal->record_start);
	journal->record_open = false;
}

int cv_journal_end(struct cv_journal *journal, struct cv_record_head *head_r, struct cv_err *err)
{
	struct cv_buf *buf = &journal->pending;
	size_t padding = (8 - (buf->len - journal->record_start) % 8) % 8, len;
	char *p;

	for (size_t i = 0; i < padding; i++)
		cv_put_u8(buf, 0);
	len = buf->len - journal->record_start;
	if (!cv_buf_ok(buf) || len > CV_RECORD_MAX) {
		cv_journal_cancel(journal);
		return cv_err_set(err, CV_ERR_LIMIT, "transaction of %zu octets is too large for the journal", len);
	}
	journal->record_open = false;
	*head_r = (struct cv_record_head){
		.seq = ++journal->seq,
		.hlc = cv_journal_tick(journal),
		.epoch = journal->epoch,
		.synced = journal->fd >= 0 ? journal->synced : 0,
		.node = journal->node,
		.len = (uint32_t)len,
		.version = journal->record_version,
	};
	p = buf->data + journal->record_start;
	put_u32_at(p, CV_RECORD_MAGIC);
	put_u32_at(p + 4, head_r->len);
	put_u16_at(p + 12, head_r->version);
	put_u16_at(p + 14, 0);
	put_u32_at(p + 16, head_r->node);
	put_u32_at(p + 20, (uint32_t)padding);
	put_u64_at(p + 24, head_r->seq);
	put_u64_at(p + 32, head_r->hlc);
	put_u64_at(p + 40, head_r->epoch);
	put_u64_at(p + 48, head_r->synced);
	put_u32_at(p + 8, cv_crc32c(0, p + 12, len - 12));
	return 1;
}

static int new_segment(struct cv_journal *journal, struct cv_err *err)
{
	uint32_t number = target_number(journal);
	uint64_t before = journal->written_seq;
	char name[NAME_LEN + 1];
	struct cv_segment *segment;
	struct cv_buf head;
	int fd, ret;

	cv_buf_init(&head, CV_SEGMENT_HEAD);
	cv_put_u64(&head, SEGMENT_MAGIC);
	cv_put_u32(&head, CV_SEGMENT_VERSION);
	cv_put_u32(&head, CV_SEGMENT_HEAD);
	cv_put_u64(&head, number);
	cv_put_u64(&head, before);
	cv_put_u64(&head, journal->lost_seq);
	cv_put_u32(&head, journal->node);
	cv_put_u32(&head, cv_crc32c(0, head.data, head.len));
	while (head.len < CV_SEGMENT_HEAD)
		cv_put_u8(&head, 0);
	segment_name(name, number);
	/* One that could not be begun before must not be in the way for ever. */
	if ((journal->leftover != 0 && remove_segment(journal, journal->leftover, err) < 0) ||
		cv_file_open(journal->dir, name, O_RDWR | O_CREAT | O_EXCL, (unsigned)journal->file_mode, &fd, err) < 0) {
		cv_buf_deinit(&head);
		return -1;
	}
	journal->leftover = 0;
	ret = cv_file_pwrite(fd, cv_buf_str(&head), 0, err);
	forget_tail(journal);
	if (journal->fsync != CV_FSYNC_NEVER)
		cv_buf_append(&journal->tail, cv_buf_str(&head));
	journal->tail_at = 0;
	cv_buf_deinit(&head);
	/* The name must be durable before a record in it is. */
	if (ret > 0 && journal->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(journal->dir, true, err);
	if (ret < 0) {
		forget_tail(journal);
		cv_file_close(&fd);
		if (cv_file_unlink(journal->dir, name, NULL) < 0)
			journal->leftover = number;
		return -1;
	}
	segment = cv_vec_push(&journal->segments);
	*segment = (struct cv_segment){ .number = number, .before_seq = before, .last_seq = before, .len = CV_SEGMENT_HEAD,
		.mtime = cv_time_now_sec(), .scanned = true };
	journal->next_number = number + 1;
	journal->fd = fd;
	journal->synced = journal->light = 0;
	return 1;
}

/* What was read and may not be on disk, perhaps since another process's sync failed: it is written once more. */
static int take_tail(struct cv_journal *journal, const struct cv_segment *segment, struct cv_err *err)
{
	uint64_t from = segment->durable;
	size_t len = segment->len > from ? (size_t)(segment->len - from) : 0, got;
	void *p;
	int ret;

	forget_tail(journal);
	if (len == 0 || journal->fsync == CV_FSYNC_NEVER)
		return 1;
	p = cv_buf_reserve(&journal->tail, len);
	if (p == NULL)
		return cv_err_set(err, CV_ERR_LIMIT, "journal segment is too long");
	ret = cv_file_pread(journal->fd, p, len, from, &got, err);
	if (ret > 0 && got < len)
		ret = cv_err_set(err, CV_ERR_CORRUPT, "journal segment became shorter");
	if (ret < 0) {
		cv_file_close(&journal->fd);
		return -1;
	}
	cv_buf_commit(&journal->tail, len);
	journal->tail_at = from;
	journal->rewrite = true;
	return 1;
}

int cv_journal_resume(struct cv_journal *journal, uint64_t max_len, struct cv_err *err)
{
	struct cv_segment *last = cv_journal_last(journal);
	char name[NAME_LEN + 1];

	cv_assert(journal->fd < 0);
	if (last == NULL || last->damaged || !last->scanned || last->len < CV_SEGMENT_HEAD || (last->len >= max_len && last->durable >= last->len))
		return 1;
	segment_name(name, last->number);
	if (cv_file_open(journal->dir, name, O_RDWR, 0, &journal->fd, err) < 0)
		return -1;
	/* Nothing is behind what the state counts, or what was read may never have been synced. */
	journal->light = 0;
	journal->unsynced = last->durable < last->len;
	journal->synced = journal->unsynced ? 0 : last->len;
	if (take_tail(journal, last, err) < 0)
		return -1;
	/* Records in the next segment say that all before them is on disk. */
	return last->len >= max_len ? cv_journal_rotate(journal, err) : 1;
}

int cv_journal_sync(struct cv_journal *journal, struct cv_err *err)
{
	/* What was written before the write that failed goes to disk with the cut. */
	if (cv_journal_cut(journal, err) < 0)
		return -1;
	if (!journal->unsynced || journal->fd < 0)
		return 1;
	/* After a failed sync the system holds what was lost for clean, and the next sync says that all is well. */
	if (journal->rewrite && cv_file_pwrite(journal->fd, cv_buf_str(&journal->tail), journal->tail_at, err) < 0)
		return cv_err_context(err, "journal");
	if (journal->fsync != CV_FSYNC_NEVER && cv_file_sync(journal->fd, false, err) < 0) {
		journal->rewrite = journal->tail.len > 0;
		return cv_err_context(err, "journal");
	}
	forget_tail(journal);
	journal->synced = cv_journal_last(journal)->len;
	journal->unsynced = false;
	return 1;
}

int cv_journal_write(struct cv_journal *journal, bool sync, struct cv_err *err)
{
	struct cv_err cut_err = { 0 };
	size_t tail;
	uint64_t before;

	cv_assert(!journal->record_open);
	if (journal->pending.len == 0)
		return sync ? cv_journal_sync(journal, err) : 1;
	if (journal->fd < 0 && (cv_journal_cut(journal, err) < 0 || new_segment(journal, err) < 0)) {
		cv_buf_clear(&journal->pending);
		return cv_err_context(err, "new journal segment");
	}
	tail = journal->tail.len;
	before = cv_journal_last(journal)->len;
	if (cv_file_pwrite(journal->fd, cv_buf_str(&journal->pending), before, err) < 0)
		goto failed;
	if (journal->window.offset + journal->window.len > before && journal->window_number == cv_journal_last(journal)->number)
		cv_window_drop(&journal->window); /* a torn tail that was there before */
	cv_journal_last(journal)->len += journal->pending.len;
	journal->unsynced = true;
	if (journal->fsync != CV_FSYNC_NEVER) {
		sync = sync || tail + journal->pending.len > TAIL_MAX;
		if (tail == 0)
			journal->tail_at = before;
		if (!sync)
			cv_buf_append(&journal->tail, cv_buf_str(&journal->pending));
	}
	if (sync && cv_journal_sync(journal, err) < 0)
		goto failed;
	cv_journal_last(journal)->last_seq = journal->written_seq = journal->seq;
	cv_journal_last(journal)->mtime = cv_time_now_sec();
	cv_journal_copy(journal, cv_buf_str(&journal->pending), before);
	if (journal->pending.cap > PENDING_KEPT) {
		cv_buf_deinit(&journal->pending);
		cv_buf_init(&journal->pending, PENDING_MAX);
	}
	cv_buf_clear(&journal->pending);
	return 1;
failed:
	cv_buf_clear(&journal->pending);
	cv_buf_truncate(&journal->tail, tail);
	cv_journal_forget_reads(journal);
	cv_journal_last(journal)->len = before;
	/* After a failed sync no one knows what is on disk: what was written must not come back, so the segment is cut and left. */
	cv_file_close(&journal->fd);
	journal->unsynced = false;
	journal->uncut = true;
	if (cv_journal_cut(journal, &cut_err) < 0)
		cv_error(NULL, "%s; nothing is written before that works, and what was refused comes back when the server dies before", cut_err.text);
	return cv_err_context(err, "journal");
}

int cv_journal_cut(struct cv_journal *journal, struct cv_err *err)
{
	if (!journal->uncut)
		return 1;
	cv_assert(journal->fd < 0);
	if (cut_tail(journal, cv_journal_last(journal), err) < 0)
		return cv_err_context(err, "cutting journal segment %u after a failed write", cv_journal_last(journal)->number);
	journal->uncut = false;
	return 1;
}

int cv_journal_rotate(struct cv_journal *journal, struct cv_err *err)
{
	cv_assert(journal->pending.len == 0);
	if (journal->fd < 0)
		return 1;
	if (cv_journal_sync(journal, err) < 0)
		return -1;
	cv_file_close(&journal->fd);
	return 1;
}

uint64_t cv_journal_size(const struct cv_journal *journal)
{
	uint64_t size = 0;

	for (size_t i = 0; i < journal->segments.count; i++)
		size += journal->segments.data[i].len;
	return size;
}

uint64_t cv_journal_tail_size(const struct cv_journal *journal)
{
	uint64_t len = journal->fd >= 0 ? journal->segments.data[journal->segments.count - 1].len : 0;

	return len - CV_MIN(len, journal->light);
}

int cv_journal_drop(struct cv_journal *journal, uint64_t seq, int64_t before, struct cv_err *err)
{
	cv_journal_forget_reads(journal);
	while (journal->segments.count > 1) {
		struct cv_segment *segment = &journal->segments.data[0];

		/* The next one's head tells where this one ends. */
		if (segment[1].damaged || segment[1].before_seq > seq || segment->mtime >= before || segment->damaged)
			return 1;
		/* The copy first: the segment would come back from it. */
		if ((segment->copied && cv_journal_drop_copy(journal, segment->number, err) < 0) || remove_segment(journal, segment->number, err) < 0)
			return -1;
		journal->segments.count--;
		memmove(&journal->segments.data[0], &journal->segments.data[1],
			journal->segments.count * sizeof(*journal->segments.data));
	}
	return 1;
}

int cv_journal_set_aside(struct cv_journal *journal, struct cv_err *err)
{
	char name[NAME_LEN + 1];
	size_t kept = 0;
	int ret = 1;

	cv_journal_forget_reads(journal);
	for (size_t i = 0; i < journal->segments.count; i++) {
		struct cv_segment *segment = &journal->segments.data[i];

		if (!segment->damaged || ret < 0) {
			journal->segments.data[kept++] = *segment;
			continue;
		}
		/* The copy first: the segment would come back from it. One that has gone by itself is fine. */
		segment_name(name, segment->number);
		if (cv_journal_copy_aside(journal, segment, err) < 0 || cv_index_aside(journal->dir, name, err) < 0) {
			journal->segments.data[kept++] = *segment;
			ret = -1;
		}
	}
	journal->segments.count = kept;
	cv_file_close(&journal->fd);
	forget_tail(journal);
	return ret;
}
