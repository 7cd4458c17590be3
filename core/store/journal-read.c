/* SPDX-License-Identifier: MIT
   Reading one record again, from where it is known to be, and segments as they are on disk now. A record that is read is checked again each time, and one that
   does not check, or whose file is gone, is asked of the copy. What was written and is not synced is taken from memory, since the system may have dropped it. */
#include <config.h>

#include "core/store/journal-private.h"
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

void cv_journal_forget_reads(struct cv_journal *journal)
{
	cv_window_drop(&journal->window);
	cv_file_close(&journal->read_fd);
}

void cv_journal_overlay(const struct cv_journal *journal, uint32_t number, uint64_t offset, char *octets, size_t len)
{
	size_t count = journal->segments.count;
	uint64_t first = CV_MAX(offset, journal->tail_at), end = CV_MIN(offset + len, journal->tail_at + journal->tail.len);

	if (journal->tail.len > 0 && count > 0 && journal->segments.data[count - 1].number == number && first < end)
		memcpy(octets + (first - offset), journal->tail.data + (first - journal->tail_at), (size_t)(end - first));
}

bool cv_journal_may_be_in_copy(const struct cv_err *err)
{
	return err->code == CV_ERR_CORRUPT || err->code == CV_ERR_NOTFOUND || err->code == CV_ERR_PERM || err->code == CV_ERR_TEMP;
}

int cv_segment_load(const struct cv_journal *journal, const struct cv_segment *segment, uint64_t from, char **octets_r, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];
	int fd, ret;

	cv_journal_name(segment->number, name);
	if (cv_file_open(journal->dir, name, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	ret = cv_file_load(fd, from, segment->len, octets_r, err);
	cv_file_close(&fd);
	return ret;
}

/* A descriptor of the segment, the journal's own. */
static int segment_fd(struct cv_journal *journal, uint32_t number, int *fd_r, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];

	if (journal->fd >= 0 && number == cv_journal_last(journal)->number) {
		*fd_r = journal->fd;
		return 1;
	}
	if (journal->read_fd < 0 || journal->read_number != number) {
		cv_file_close(&journal->read_fd);
		cv_journal_name(number, name);
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
	cv_journal_overlay(journal, pos.segment, pos.offset, p, len);
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
	if (segment != NULL && segment->copied && cv_journal_may_be_in_copy(&read_err)) {
		if (cv_journal_mend(journal, segment, 0, &mend_err) > 0)
			return read_record(journal, pos, buf, head_r, entries_r, err);
		/* The copy may have it: it is not lost because there is no room for the new file. */
		if (mend_err.code != CV_ERR_NONE)
			read_err = mend_err;
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
	char name[CV_JOURNAL_NAME_MAX];
	uint32_t len = 0;
	int fd, ret;

	if (segment == NULL)
		return 1;
	cv_journal_name(number, name);
	if (cv_file_open(journal->dir, name, O_RDONLY, 0, &fd, err) < 0) {
		if (err->code == CV_ERR_NOTFOUND)
			return cv_err_set(err, CV_ERR_CORRUPT, "it is missing");
		if (cv_journal_may_be_in_copy(err))
			err->code = CV_ERR_CORRUPT;
		return -1;
	}
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
	if (ret < 0 && cv_journal_may_be_in_copy(err))
		err->code = CV_ERR_CORRUPT;
	return ret;
}
