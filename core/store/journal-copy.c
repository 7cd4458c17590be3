/* SPDX-License-Identifier: MIT
   The copies of the journal's segments: written behind them, and what a segment has lost taken from them. */
#include <config.h>

#include "core/store/journal-private.h"
#include <culver/log.h>
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OLDER_AGAIN_MS 1000
#define LOOK_MS 1000

void cv_journal_copy_name(uint32_t number, char name_r[CV_JOURNAL_NAME_MAX])
{
	(void)snprintf(name_r, CV_JOURNAL_NAME_MAX, "copy.%016x", number);
}

bool cv_journal_parse_copy_name(const char *name, uint32_t *number_r)
{
	return strncmp(name, "copy.", 5) == 0 && cv_journal_parse_number(name + 5, number_r);
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

/* The copy of the last segment, as long as that was: one that is not, since it is new or a crash came between the two, is written once more, over what is there,
   which a full disk still has room for. */
static int open_copy(struct cv_journal *journal, uint64_t len, struct cv_err *err)
{
	struct cv_segment *last = cv_journal_last(journal);
	char name[CV_JOURNAL_NAME_MAX];
	struct stat st;

	cv_file_close(&journal->copy_fd);
	cv_journal_copy_name(last->number, name);
	last->copied = true;
	if (cv_file_open(journal->dir, name, O_RDWR | O_CREAT, (unsigned)journal->file_mode, &journal->copy_fd, err) < 0 ||
		cv_file_fstat(journal->copy_fd, &st, err) < 0)
		return -1;
	journal->copy_number = last->number;
	if ((uint64_t)st.st_size == len)
		return 1;
	if ((uint64_t)st.st_size > len && cv_file_truncate(journal->copy_fd, len, err) < 0)
		return -1;
	return cv_file_copy(journal->fd, 0, len, journal->copy_fd, err);
}

static int write_copy(struct cv_journal *journal, struct cv_str octets, uint64_t offset, struct cv_err *err)
{
	if ((journal->copy_fd < 0 || journal->copy_number != cv_journal_last(journal)->number) && open_copy(journal, offset, err) < 0) {
		cv_file_close(&journal->copy_fd);
		return -1;
	}
	if (cv_file_pwrite(journal->copy_fd, octets, offset, err) > 0)
		return 1;
	/* A part of it must not stand for what is written there next. */
	if (cv_file_truncate(journal->copy_fd, offset, NULL) < 0)
		cv_file_close(&journal->copy_fd);
	return -1;
}

/* Something that can't be written has its name, or the device fails there: another file takes it, once that is whole. */
static int write_another(struct cv_journal *journal, struct cv_err *err)
{
	uint32_t number = cv_journal_last(journal)->number;
	char name[CV_JOURNAL_NAME_MAX];

	cv_file_close(&journal->copy_fd);
	cv_journal_copy_name(number, name);
	if (cv_file_make_way(journal->dir, name, err) < 0)
		return -1;
	return cv_journal_renew_copy(journal, number, err);
}

static bool is_long_enough(const struct cv_journal *journal, const char *name, uint64_t len)
{
	struct cv_err ignored = { 0 };
	struct stat st;

	return cv_file_stat(journal->dir, name, &st, &ignored) > 0 && (uint64_t)st.st_size >= len;
}

/* Segments that are not written to any more get whole copies too, where a process was killed before it could write them, or had no room for them. */
static void complete_older(struct cv_journal *journal)
{
	struct cv_err err = { 0 };
	struct cv_buf buf;
	int ret = 1;

	cv_buf_init(&buf, CV_JOURNAL_READ_MAX);
	for (size_t i = 0; ret > 0 && i + 1 < journal->segments.count; i++) {
		const struct cv_segment *segment = &journal->segments.data[i];
		struct cv_err ignored = { 0 };
		char name[CV_JOURNAL_NAME_MAX];
		uint64_t offset = 0;

		cv_journal_copy_name(segment->number, name);
		/* What does not check is mended from what there is of the copy when it is read. */
		if (!segment->damaged && !is_long_enough(journal, name, segment->len) &&
			cv_journal_check(journal, segment->number, &offset, UINT64_MAX, &buf, &ignored) > 0)
			ret = cv_journal_renew_copy(journal, segment->number, &err);
	}
	cv_buf_deinit(&buf);
	if (ret < 0 && journal->older_again_ms == 0)
		cv_warn(journal->log_ctx, "a segment of the journal has no whole copy until it can be written: %s", err.text);
	journal->older_again_ms = ret < 0 ? cv_time_mono_ms() + OLDER_AGAIN_MS : UINT64_MAX;
}

int cv_journal_copy(struct cv_journal *journal, struct cv_str octets, uint64_t offset, struct cv_err *err)
{
	struct cv_err write_err = { 0 };

	if (!journal->copying)
		return 1;
	if (write_copy(journal, octets, offset, &write_err) < 0) {
		*err = write_err;
		if (write_err.code == CV_ERR_NOQUOTA || write_another(journal, err) < 0)
			return cv_err_context(err, "its copy");
		cv_warn(journal->log_ctx, "another file is the journal's copy now: %s", write_err.text);
	}
	if (journal->older_again_ms == 0 || cv_time_mono_ms() >= journal->older_again_ms)
		complete_older(journal);
	return 1;
}

/* May the file be opened (again)? */
static bool is_refused(int fd)
{
	return faccessat(fd, "", R_OK | W_OK, AT_EMPTY_PATH | AT_EACCESS) < 0 && errno == EACCES;
}

/* Has the file its name still, its rights, and as many octets as were written to it? */
static bool is_whole(int fd, uint64_t len)
{
	struct cv_err ignored = { 0 };
	struct stat st;

	return (cv_file_fstat(fd, &st, &ignored) < 0 || (st.st_nlink > 0 && (uint64_t)st.st_size >= len)) && !is_refused(fd);
}

void cv_journal_look(struct cv_journal *journal, bool now)
{
	uint64_t now_ms = cv_time_mono_ms();
	struct cv_segment *last = cv_journal_last(journal);
	struct cv_err err = { 0 };

	if (!journal->copying || journal->fd < 0 || (!now && now_ms < journal->looked_ms + LOOK_MS))
		return;
	journal->looked_ms = now_ms;
	if (!last->damaged && !is_whole(journal->fd, last->len)) {
		int ret;

		last->refused = is_refused(journal->fd);
		ret = cv_journal_mend(journal, last, 0, &err);

		if (ret == 0) {
			cv_warn(journal->log_ctx, "segment %u of the journal was cut, and its copy has not all of it", last->number);
			journal->harmed = last->damaged = true;
		} else if (ret < 0) {
			cv_warn(journal->log_ctx, "segment %u of the journal was removed or cut; trying again: %s", last->number, err.text);
		}
	}
	if (journal->copy_fd >= 0 && journal->copy_number == last->number && !is_whole(journal->copy_fd, last->len))
		cv_file_close(&journal->copy_fd); /* the next write opens what is there now */
}

int cv_journal_drop_copy(struct cv_journal *journal, uint32_t number, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];

	cv_journal_copy_name(number, name);
	return cv_file_unlink(journal->dir, name, err) < 0 ? -1 : 1;
}

int cv_journal_copy_aside(struct cv_journal *journal, const struct cv_segment *segment, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];

	if (!segment->copied)
		return 1;
	cv_journal_copy_name(segment->number, name);
	if (cv_file_aside(journal->dir, name, err) < 0)
		return -1;
	if (journal->copy_number == segment->number)
		cv_file_close(&journal->copy_fd);
	return 1;
}

/* ---- mending -------------------------------------------------------------------------------------------------------- */

/* All octets of a file: 1; 0 when it is empty; free_octets is the caller's. */
static int load_all(int fd, struct cv_str *octets_r, struct cv_err *err)
{
	struct stat st;
	char *octets = NULL;
	int ret = cv_file_fstat(fd, &st, err);

	*octets_r = (struct cv_str){ 0 };
	if (ret > 0 && st.st_size == 0)
		ret = 0;
	if (ret > 0)
		ret = cv_file_load(fd, 0, (size_t)st.st_size, &octets, err);
	if (ret > 0)
		*octets_r = cv_str_mem(octets, (size_t)st.st_size);
	return ret;
}

/* The same by its name; 0 also when there is no such file. */
static int load_file(int dir, const char *name, struct cv_str *octets_r, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	int fd, ret;

	*octets_r = (struct cv_str){ 0 };
	if (cv_file_open(dir, name, O_RDONLY, 0, &fd, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		*err = open_err;
		return -1;
	}
	ret = load_all(fd, octets_r, err);
	cv_file_close(&fd);
	return ret;
}

/* The same; 0 also when it can't be read: there is the other one. */
static int load_if_readable(int dir, const char *name, struct cv_str *octets_r, struct cv_err *err)
{
	struct cv_err load_err = { 0 };
	int ret = load_file(dir, name, octets_r, &load_err);

	if (ret >= 0 || cv_journal_may_be_in_copy(&load_err))
		return CV_MAX(ret, 0);
	*err = load_err;
	return -1;
}

/* A file that is open and lost its name has all that was written to it: what has the name now, if anything, is another one. */
static bool lost_its_name(int fd)
{
	struct cv_err ignored = { 0 };
	struct stat st;

	return fd >= 0 && cv_file_fstat(fd, &st, &ignored) > 0 && st.st_nlink == 0;
}

static void free_octets(struct cv_str octets)
{
	cv_free((void *)(uintptr_t)octets.ptr);
}

struct merge {
	struct cv_segment *segment;
	struct cv_str own, copy;
	struct cv_buf out;
	uint64_t at;   /* up to here it is known what the segment has */
	uint64_t bad;  /* where it did not check first */
	size_t taken;  /* records */
	bool unnamed;  /* own is of the file that is open and has no name any more, or is refused by it */
};

/* What the segment's own file has, and its copy's; of the one that is written to, that of open files rather than of others that took their names. */
static int load_both(struct cv_journal *journal, struct merge *m, const char *name, const char *copy, struct cv_err *err)
{
	bool last = journal->fd >= 0 && m->segment == cv_journal_last(journal);
	bool open_copy = last && journal->copy_number == m->segment->number && lost_its_name(journal->copy_fd);
	int ret = open_copy ? load_all(journal->copy_fd, &m->copy, err) : load_if_readable(journal->dir, copy, &m->copy, err);

	m->unnamed = last && (lost_its_name(journal->fd) || m->segment->refused);
	if (ret < 0 || (ret == 0 && !m->unnamed))
		return ret;
	return (m->unnamed ? load_all(journal->fd, &m->own, err) : load_if_readable(journal->dir, name, &m->own, err)) < 0 ? -1 : 1;
}

/* Head and the first octets that are known. */
static int merge_head(struct merge *m, uint64_t from, struct cv_err *err)
{
	struct cv_str head = cv_str_sub(m->own, 0, CV_SEGMENT_HEAD);
	int ret = cv_segment_parse_head(head, m->segment, err);

	m->at = CV_SEGMENT_HEAD;
	if (ret < 0)
		return -1;
	if (ret == 0) {
		head = cv_str_sub(m->copy, 0, CV_SEGMENT_HEAD);
		ret = cv_segment_parse_head(head, m->segment, err);
		if (ret <= 0)
			return ret;
		m->taken = 1;
		m->bad = 0;
	} else if (from > CV_SEGMENT_HEAD && from <= m->own.len) {
		head = cv_str_sub(m->own, 0, from);
		m->at = from;
	}
	cv_buf_append(&m->out, head);
	return 1;
}

/* Record by record: the segment's own when it checks, else the copy's, which must go on with the sequence numbers. */
static void merge_records(struct merge *m)
{
	uint64_t seq = m->at > CV_SEGMENT_HEAD ? CV_MAX(m->segment->last_seq, m->segment->before_seq) : m->segment->before_seq;
	struct cv_record_head head;
	struct cv_str entries;

	for (;;) {
		uint32_t len = m->at < m->own.len ? cv_record_check(cv_str_sub(m->own, m->at, SIZE_MAX), &head, &entries) : 0;
		struct cv_str from = m->own;

		if (len == 0) {
			from = m->copy;
			len = m->at < m->copy.len ? cv_record_check(cv_str_sub(m->copy, m->at, SIZE_MAX), &head, &entries) : 0;
			if (len == 0 || head.seq <= seq)
				break;
			if (m->taken++ == 0)
				m->bad = m->at;
		}
		cv_buf_append(&m->out, cv_str_sub(from, m->at, len));
		seq = head.seq;
		m->at += len;
	}
	/* What neither has is for who looks for damage. */
	if (m->at < m->own.len)
		cv_buf_append(&m->out, cv_str_sub(m->own, m->at, SIZE_MAX));
}

/* A second name for it, as long as it has the first; of a file that is not ours that may be refused: then the first goes, and a crash finds the copy. */
static int keep_old(int dir, const char *name, const char *aside, struct cv_err *err)
{
	struct cv_err link_err = { 0 };

	if (cv_file_link(dir, name, dir, aside, &link_err) > 0 || link_err.code == CV_ERR_NOTFOUND)
		return 1;
	if (link_err.code == CV_ERR_PERM)
		return cv_file_rename(dir, name, dir, aside, false, err);
	*err = link_err;
	return -1;
}

/* The new octets take the segment's name; what had it keeps another one. */
static int replace(struct cv_journal *journal, struct cv_segment *segment, struct cv_str octets, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX], temp[CV_JOURNAL_NAME_MAX + 8], aside[CV_FILE_ASIDE_MAX];
	struct stat st = { 0 };
	int fd, ret;

	cv_journal_name(segment->number, name);
	(void)snprintf(temp, sizeof(temp), "%s.new", name);
	cv_file_aside_name(name, aside);
	if (cv_file_open(journal->dir, temp, O_RDWR | O_CREAT | O_TRUNC, (unsigned)journal->file_mode, &fd, err) < 0)
		return -1;
	ret = cv_file_pwrite(fd, octets, 0, err);
	if (ret > 0)
		ret = cv_file_sync(fd, true, err);
	if (ret > 0)
		ret = cv_file_fstat(fd, &st, err);
	if (ret > 0)
		ret = keep_old(journal->dir, name, aside, err);
	if (ret > 0)
		ret = cv_file_rename(journal->dir, temp, journal->dir, name, true, err);
	if (ret > 0)
		ret = cv_file_sync(journal->dir, true, err);
	if (ret > 0 && journal->fd >= 0 && segment == cv_journal_last(journal)) {
		cv_file_close(&journal->fd);
		journal->fd = fd;
		fd = -1;
	}
	cv_file_close(&fd);
	if (ret < 0)
		return cv_err_context(err, "%s", temp);
	segment->mtime = (int64_t)st.st_mtime;
	segment->len = octets.len;
	segment->damaged = segment->refused = false;
	return 1;
}

static void tell_mended(const struct cv_journal *journal, const struct merge *m, const char *name, bool refused)
{
	const char *what = refused ? "may not be opened, or can't be read" : m->own.ptr == NULL ? "was missing" : "was damaged";

	if (m->taken > 0)
		cv_warn(journal->log_ctx, "%s %s: %zu pieces that it lacks from octet %llu on came from its copy; nothing is lost", name, what, m->taken,
			(unsigned long long)m->bad);
	else
		cv_warn(journal->log_ctx, "%s %s: it is as it was; nothing is lost", name, refused ? what : "was removed or replaced while it was open");
}

int cv_journal_mend(struct cv_journal *journal, struct cv_segment *segment, uint64_t from, struct cv_err *err)
{
	struct merge m = { .segment = segment };
	bool refused = segment->refused;
	char name[CV_JOURNAL_NAME_MAX], copy[CV_JOURNAL_NAME_MAX];
	int ret;

	cv_journal_copy_name(segment->number, copy);
	/* All that checks is there; behind it the file may have zeros. */
	if (from > 0 && from <= segment->len && !segment->damaged && !segment->refused && !is_long_enough(journal, copy, from + 1))
		return 0;
	cv_journal_name(segment->number, name);
	cv_journal_forget_reads(journal);
	if (journal->fd >= 0 && segment == cv_journal_last(journal) && cv_journal_ahead_cut(journal, err) < 0)
		return -1;
	ret = load_both(journal, &m, name, copy, err);
	cv_buf_init(&m.out, m.own.len + m.copy.len);
	if (ret > 0)
		ret = merge_head(&m, from, err);
	if (ret > 0) {
		merge_records(&m);
		ret = m.taken == 0 && !m.unnamed && !segment->refused ? 0 : 1;
	}
	/* The one that is written to keeps its length: all of it, and nothing behind it. */
	if (ret > 0 && journal->fd >= 0 && segment == cv_journal_last(journal)) {
		ret = m.at < segment->len ? 0 : 1;
		cv_buf_truncate(&m.out, CV_MIN(m.out.len, segment->len));
	}
	if (ret > 0 && !cv_buf_ok(&m.out))
		ret = cv_err_set(err, CV_ERR_LIMIT, "no memory for %zu octets", m.own.len);
	if (ret > 0)
		ret = replace(journal, segment, cv_buf_str(&m.out), err);
	if (ret > 0)
		tell_mended(journal, &m, name, refused);
	cv_buf_deinit(&m.out);
	free_octets(m.own);
	free_octets(m.copy);
	return ret < 0 ? cv_err_context(err, "mending %s", name) : ret;
}

/* ---- for fsck ------------------------------------------------------------------------------------------------------- */

int cv_journal_restore(struct cv_journal *journal, uint32_t number, struct cv_err *err)
{
	struct cv_segment *segment = cv_journal_segment(journal, number);

	return segment == NULL || !segment->copied ? 0 : cv_journal_mend(journal, segment, 0, err);
}

int cv_journal_check_copy(struct cv_journal *journal, uint32_t number, struct cv_err *err)
{
	struct cv_segment *segment = cv_journal_segment(journal, number);
	char name[CV_JOURNAL_NAME_MAX], copy[CV_JOURNAL_NAME_MAX];
	struct cv_str own, other;
	int ret;

	if (segment == NULL || !segment->copied || segment->len == 0)
		return 1;
	cv_journal_copy_name(number, copy);
	cv_journal_name(number, name);
	ret = load_if_readable(journal->dir, copy, &other, err);
	if (ret >= 0 && other.len < segment->len)
		ret = cv_err_set(err, CV_ERR_CORRUPT, "it has %zu octets of %llu", other.len, (unsigned long long)segment->len);
	else if (ret > 0 && load_file(journal->dir, name, &own, err) > 0) {
		if (own.len >= segment->len && memcmp(own.ptr, other.ptr, segment->len) != 0)
			ret = cv_err_set(err, CV_ERR_CORRUPT, "it is not what the segment is");
		free_octets(own);
	}
	free_octets(other);
	return ret;
}

int cv_journal_renew_copy(struct cv_journal *journal, uint32_t number, struct cv_err *err)
{
	struct cv_segment *segment = cv_journal_segment(journal, number);
	bool last = journal->fd >= 0 && segment == cv_journal_last(journal);
	char name[CV_JOURNAL_NAME_MAX], copy[CV_JOURNAL_NAME_MAX], temp[CV_JOURNAL_NAME_MAX + 8];
	int from = -1, to, ret;

	if (segment == NULL)
		return 1;
	segment->copied = true;
	cv_journal_name(number, name);
	cv_journal_copy_name(number, copy);
	(void)snprintf(temp, sizeof(temp), "%s.new", copy);
	if (!last && cv_file_open(journal->dir, name, O_RDONLY, 0, &from, err) < 0)
		return -1;
	ret = cv_file_open(journal->dir, temp, O_RDWR | O_CREAT | O_TRUNC, (unsigned)journal->file_mode, &to, err);
	if (ret > 0) {
		ret = cv_file_copy(last ? journal->fd : from, 0, segment->len, to, err);
		cv_file_close(&to);
	}
	cv_file_close(&from);
	if (ret > 0 && cv_file_make_way(journal->dir, copy, err) < 0)
		ret = -1;
	if (ret > 0)
		ret = cv_file_rename(journal->dir, temp, journal->dir, copy, true, err);
	if (ret > 0 && journal->copy_number == number)
		cv_file_close(&journal->copy_fd); /* the next write opens what is there now */
	return ret;
}
