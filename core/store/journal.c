/* SPDX-License-Identifier: MIT
   Which segments there are, and what is known of each. The list is made of the names in the directory and the heads of the files, with copies where a file is
   missing or its head does not check; nothing is trusted of a segment before it was read (journal-scan.c), but for what the head of the next one says. */
#include <config.h>

#include "core/store/journal-private.h"
#include <culver/log.h>
#include <culver/time.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

void cv_journal_init(struct cv_journal *journal, int dir, enum cv_fsync fsync, uint32_t node, unsigned file_mode)
{
	*journal = (struct cv_journal){
		.dir = dir, .fsync = fsync, .node = node, .next_number = 1, .fd = -1, .read_fd = -1, .copy_fd = -1, .looked_ms = cv_time_mono_ms(),
		.ahead.fd = -1, .file_mode = file_mode };
	cv_buf_init(&journal->pending, CV_JOURNAL_PENDING_MAX);
	cv_buf_init(&journal->tail, CV_JOURNAL_PENDING_MAX);
}

void cv_journal_deinit(struct cv_journal *journal)
{
	cv_journal_ahead_end(journal);
	cv_file_close(&journal->fd);
	cv_file_close(&journal->read_fd);
	cv_file_close(&journal->copy_fd);
	cv_window_deinit(&journal->window);
	cv_buf_deinit(&journal->pending);
	cv_buf_deinit(&journal->tail);
	cv_vec_free(&journal->segments);
	for (size_t i = 0; i < journal->above.count; i++)
		cv_file_close(&journal->above.data[i].dir);
	cv_vec_free(&journal->above);
}

void cv_journal_name(uint32_t number, char name_r[CV_JOURNAL_NAME_MAX])
{
	(void)snprintf(name_r, CV_JOURNAL_NAME_MAX, "journal.%016x", number);
}

bool cv_journal_parse_number(const char *digits, uint32_t *number_r)
{
	uint64_t n = 0;

	if (strlen(digits) != 16)
		return false;
	for (const char *p = digits; *p != '\0'; p++) {
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

bool cv_journal_parse_name(const char *name, uint32_t *number_r)
{
	return strncmp(name, "journal.", 8) == 0 && cv_journal_parse_number(name + 8, number_r);
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

bool cv_journal_has_segment(const struct cv_journal *journal, uint32_t number)
{
	return cv_journal_segment(journal, number) != NULL;
}

struct listing {
	struct cv_journal *journal;
	CV_VEC(uint32_t) copies;
	struct cv_err refused; /* why a segment could not be read: an error as long as its copy does not have it */
};

/* The head of a segment that may be written to, too. 1; 0: there is nothing to be had from it, but the copy may have it; -1. */
static int read_head(struct cv_journal *journal, const char *name, char head[CV_SEGMENT_HEAD], size_t *len_r, struct stat *st_r, bool *refused_r, struct cv_err *err)
{
	struct cv_err read_err = { 0 };
	int fd, ret;

	*len_r = 0;
	*st_r = (struct stat){ 0 };
	ret = cv_file_open(journal->dir, name, O_RDWR, 0, &fd, &read_err);
	*refused_r = ret < 0;
	if (ret < 0 && read_err.code == CV_ERR_PERM)
		ret = cv_file_open(journal->dir, name, O_RDONLY, 0, &fd, &read_err);
	if (ret > 0)
		ret = cv_file_fstat(fd, st_r, &read_err);
	if (ret > 0)
		ret = cv_file_pread(fd, head, CV_SEGMENT_HEAD, 0, len_r, &read_err);
	cv_file_close(&fd);
	if (ret > 0)
		return 1;
	*refused_r = true;
	*err = read_err;
	return read_err.code == CV_ERR_PERM || read_err.code == CV_ERR_TEMP ? 0 : -1;
}

static int note_segment(struct listing *listing, const char *name, uint32_t number, struct cv_err *err)
{
	struct cv_journal *journal = listing->journal;
	struct cv_segment *segment;
	char head[CV_SEGMENT_HEAD];
	struct stat st;
	bool refused;
	size_t len;
	int ok = read_head(journal, name, head, &len, &st, &refused, err);

	if (ok < 0)
		return -1;
	if (ok == 0)
		listing->refused = *err;
	segment = cv_vec_push(&journal->segments);
	segment->number = number;
	if (number >= journal->next_number)
		journal->next_number = number + 1;
	segment->len = (uint64_t)st.st_size;
	segment->mtime = (int64_t)st.st_mtime;
	segment->refused = refused;
	ok = cv_segment_parse_head(cv_str_mem(head, len), segment, err);
	if (ok < 0)
		return -1;
	segment->damaged = ok == 0;
	return 1;
}

/* What is no plain file makes room: with another name it is as if there were none. 1: it is one, 0, -1. */
static int is_plain(const struct cv_journal *journal, const char *name, unsigned char type, struct cv_err *err)
{
	int ret = type == DT_REG ? 1 : cv_file_make_way(journal->dir, name, err);

	if (ret == 0)
		cv_warn(journal->log_ctx, "%s was no plain file; it is kept under another name", name);
	return ret;
}

static int list_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct listing *listing = ctx;
	uint32_t number;
	bool copy = cv_journal_parse_copy_name(name, &number);
	int ret;

	if (!copy && !cv_journal_parse_name(name, &number))
		return 1;
	ret = is_plain(listing->journal, name, type, err);
	if (ret <= 0)
		return ret < 0 ? -1 : 1;
	if (!copy)
		return note_segment(listing, name, number, err);
	*cv_vec_push(&listing->copies) = number;
	return 1;
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
		return segment->damaged || segment->refused ? cv_journal_mend(journal, segment, 0, err) : 0;
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
	for (size_t i = 0; i < journal->segments.count; i++) {
		if (journal->segments.data[i].refused && journal->segments.data[i].damaged) {
			*err = listing.refused;
			return -1;
		}
	}
	for (size_t i = 0; i < journal->segments.count; i++)
		journal->lost_seq = CV_MAX(journal->lost_seq, journal->segments.data[i].damaged ? 0 : journal->segments.data[i].lost_seq);
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
