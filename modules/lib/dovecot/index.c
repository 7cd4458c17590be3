/* SPDX-License-Identifier: MIT
   Dovecot's index: a table of messages as of some place in a transaction log, and the log. All numbers are in the byte order of the machine that wrote it
   (taken: little endian), but sizes of log records, which are seven bits an octet. */
#include <config.h>

#include "modules/lib/dovecot/index.h"
#include <culver/file.h>
#include <culver/log.h>
#include <culver/map.h>
#include <culver/reader.h>

#include <fcntl.h>

#define INDEX_MAX ((uint64_t)512 << 20)
#define LOG_MAX ((uint64_t)64 << 20)
#define KEYWORD_MAX 255u
/* Ranges that may be moved in memory while changes are done: a log made to be slow is given up. */
#define WORK_MAX ((uint64_t)1 << 31)

/* struct mail_index_header of Dovecot: what is used of it. */
#define INDEX_MAJOR 7
#define INDEX_HEADER_MIN 120u
#define AT_BASE_SIZE 2u
#define AT_HEADER_SIZE 4u
#define AT_RECORD_SIZE 8u
#define AT_COMPAT 12u
#define AT_UIDVALIDITY 24u
#define AT_UIDNEXT 28u
#define AT_MESSAGES 32u
#define AT_LOG_SEQ 60u
#define AT_LOG_HEAD 68u
#define COMPAT_LITTLE_ENDIAN 1

/* struct mail_transaction_log_header. */
#define LOG_MAJOR 1
#define LOG_HEADER_MIN 24u
#define AT_LOG_HEADER_SIZE 2u
#define AT_LOG_FILE_SEQ 8u
#define AT_LOG_PREV_SEQ 12u
#define AT_LOG_COMPAT 32u

enum log_type {
	LOG_EXPUNGE = 0x1 | 0xcd90,
	LOG_APPEND = 0x2,
	LOG_FLAGS = 0x4,
	LOG_HEADER = 0x20,
	LOG_KEYWORD = 0x400,
	LOG_KEYWORD_RESET = 0x800,
	LOG_EXPUNGE_GUID = 0x2000 | 0xcd90,
	LOG_TYPE_MASK = 0x0fffffff
};

static const uint8_t flag_bits[5] = { [0] = 0x08 /* \Seen */, [1] = 0x01 /* \Answered */, [2] = 0x02 /* \Flagged */, [3] = 0x04 /* \Deleted */,
	[4] = 0x10 /* \Draft */ };

struct change {
	struct cv_dovecot_index *index;
	uint64_t work;
};

static int corrupt(struct cv_err *err, const char *what)
{
	return cv_err_set(err, CV_ERR_CORRUPT, "%s", what);
}

struct cv_dovecot_index *cv_dovecot_index_new(void)
{
	return cv_new0(struct cv_dovecot_index);
}

void cv_dovecot_index_free(struct cv_dovecot_index **index)
{
	if (*index == NULL)
		return;
	for (size_t i = 0; i < CV_COUNT_OF((*index)->flags); i++)
		cv_ranges_free(&(*index)->flags[i]);
	cv_ranges_free(&(*index)->expunged);
	for (size_t i = 0; i < (*index)->keyword_count; i++) {
		cv_free((*index)->keywords[i].name);
		cv_ranges_free(&(*index)->keywords[i].uids);
	}
	cv_free(*index);
	*index = NULL;
}

uint16_t cv_dovecot_index_flags(const struct cv_dovecot_index *index, uint32_t uid)
{
	unsigned flags = 0;

	for (size_t i = 0; i < CV_COUNT_OF(index->flags); i++)
		if (cv_ranges_has(&index->flags[i], uid))
			flags |= 1u << i;
	return (uint16_t)flags;
}

void cv_dovecot_index_keywords(const struct cv_dovecot_index *index, uint32_t uid, const char **names)
{
	size_t count = 0;

	for (size_t i = 0; i < index->keyword_count; i++)
		if (cv_ranges_has(&index->keywords[i].uids, uid))
			names[count++] = index->keywords[i].name;
	names[count] = NULL;
}

/* ---- Numbers ------------------------------------------------------------------------------------------ */

static uint32_t get_u16(struct cv_str s, size_t at)
{
	const unsigned char *p = (const unsigned char *)s.ptr + at;

	return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t get_u32(struct cv_str s, size_t at)
{
	return get_u16(s, at) | get_u16(s, at + 2) << 16;
}

static uint64_t align(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* ---- Changes ------------------------------------------------------------------------------------------ */

static int spend(struct change *change, const struct cv_ranges *set, struct cv_err *err)
{
	change->work += set->count + 1;
	return change->work > WORK_MAX ? corrupt(err, "it is too scattered to be read") : 0;
}

static int set_range(struct change *change, struct cv_ranges *set, uint32_t first, uint32_t last, bool add, struct cv_err *err)
{
	if (first == 0 || first > last)
		return corrupt(err, "a range of UIDs makes no sense");
	/* At the end, as they mostly are, nothing is moved. */
	if (set->count > 0 && first <= set->data[set->count - 1].last && spend(change, set, err) < 0)
		return -1;
	if (add)
		cv_ranges_add(set, first, last);
	else
		cv_ranges_remove(set, first, last);
	return 0;
}

static int change_flags(struct change *change, uint32_t first, uint32_t last, uint8_t add, uint8_t remove, struct cv_err *err)
{
	for (size_t i = 0; i < CV_COUNT_OF(flag_bits); i++) {
		struct cv_ranges *set = &change->index->flags[i];

		if ((add & flag_bits[i]) != 0) {
			if (set_range(change, set, first, last, true, err) < 0)
				return -1;
		} else if ((remove & flag_bits[i]) != 0 && set_range(change, set, first, last, false, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static bool is_keyword(struct cv_str name)
{
	if (name.len == 0 || name.len > KEYWORD_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] <= ' ' || (unsigned char)name.ptr[i] == 0x7f)
			return false;
	return true;
}

/* *set_r NULL: there are too many keywords, or it is a name that no keyword has. */
static void find_keyword(struct cv_dovecot_index *index, struct cv_str name, struct cv_ranges **set_r)
{
	struct cv_dovecot_keyword *keyword;

	*set_r = NULL;
	for (size_t i = 0; i < index->keyword_count; i++) {
		if (cv_str_caseeq_c(name, index->keywords[i].name)) {
			*set_r = &index->keywords[i].uids;
			return;
		}
	}
	if (!is_keyword(name) || index->keyword_count == CV_DOVECOT_KEYWORDS_MAX) {
		index->passed_over++;
		return;
	}
	keyword = &index->keywords[index->keyword_count++];
	keyword->name = cv_malloc(name.len + 1);
	memcpy(keyword->name, name.ptr, name.len);
	keyword->name[name.len] = '\0';
	*set_r = &keyword->uids;
}

/* ---- dovecot.index ------------------------------------------------------------------------------------ */

/* The extension "keywords": names in the header, one bit each in the records. */
struct keyword_bits {
	struct cv_ranges **sets; /* for each bit; NULL members are passed over */
	uint32_t count;
	uint32_t offset, size;   /* of the bits in a record */
};

/* u32 count, count times (u32 unused, u32 offset of the name behind all these), names ending with NUL */
static int parse_keyword_header(struct cv_dovecot_index *index, struct cv_str data, struct keyword_bits *bits, struct cv_err *err)
{
	struct cv_str names, name;

	if (data.len < 4)
		return data.len == 0 ? 0 : corrupt(err, "its list of keywords is cut short");
	bits->count = get_u32(data, 0);
	if (bits->count > (data.len - 4) / 8 || bits->count > CV_DOVECOT_KEYWORDS_MAX)
		return corrupt(err, "its list of keywords makes no sense");
	names = cv_str_sub(data, 4 + (size_t)bits->count * 8, SIZE_MAX);
	bits->sets = cv_calloc((size_t)bits->count + 1, sizeof(struct cv_ranges *));
	for (uint32_t i = 0; i < bits->count; i++) {
		uint32_t at = get_u32(data, 4 + (size_t)i * 8 + 4);

		if (at >= names.len || cv_str_find(cv_str_sub(names, at, SIZE_MAX), '\0') == SIZE_MAX)
			return corrupt(err, "its list of keywords makes no sense");
		name = cv_str_sub(names, at, cv_str_find(cv_str_sub(names, at, SIZE_MAX), '\0'));
		find_keyword(index, name, &bits->sets[i]);
	}
	return 0;
}

/* Extensions stand between the base header and the header's end: struct, name, data, each padded to eight octets. */
static int find_extensions(struct cv_dovecot_index *index, struct cv_str header, size_t at, struct keyword_bits *bits, struct cv_err *err)
{
	while (at + 16 <= header.len) {
		uint32_t data_size = get_u32(header, at), name_size = get_u16(header, at + 14);
		uint64_t data = at + align((uint64_t)16 + name_size, 8);
		struct cv_str name = cv_str_sub(header, at + 16, name_size);

		if (name_size == 0 || name.len < name_size || data + data_size > header.len)
			return corrupt(err, "an extension in its header makes no sense");
		if (cv_str_eq_c(name, "keywords") && bits->sets == NULL) {
			bits->offset = get_u16(header, at + 8);
			bits->size = get_u16(header, at + 10);
			if (parse_keyword_header(index, cv_str_sub(header, (size_t)data, data_size), bits, err) < 0)
				return -1;
		}
		at = (size_t)(data + align(data_size, 8));
	}
	return 0;
}

static int take_record(struct change *change, struct cv_str record, const struct keyword_bits *bits, struct cv_err *err)
{
	uint32_t uid = get_u32(record, 0);

	if (change_flags(change, uid, uid, (uint8_t)record.ptr[4], 0, err) < 0)
		return -1;
	for (uint32_t i = 0; i < bits->count && i / 8 < bits->size; i++) {
		if (((unsigned char)record.ptr[bits->offset + i / 8] & 1u << i % 8) == 0 || bits->sets[i] == NULL)
			continue;
		if (set_range(change, bits->sets[i], uid, uid, true, err) < 0)
			return -1;
	}
	return 0;
}

static int take_records(struct change *change, struct cv_str records, uint32_t count, size_t record_size, const struct keyword_bits *bits,
	struct cv_err *err)
{
	uint32_t last = 0;

	if (records.len / record_size < count)
		return corrupt(err, "it is cut short");
	for (uint32_t i = 0; i < count; i++) {
		struct cv_str record = cv_str_sub(records, (size_t)i * record_size, record_size);

		if (get_u32(record, 0) <= last)
			return corrupt(err, "its UIDs do not rise");
		last = get_u32(record, 0);
		if (take_record(change, record, bits, err) < 0)
			return -1;
	}
	return 0;
}

int cv_dovecot_index_parse(struct cv_dovecot_index *index, struct cv_str octets, uint32_t *log_seq_r, uint32_t *log_offset_r, struct cv_err *err)
{
	struct change change = { .index = index };
	struct keyword_bits bits = { 0 };
	uint32_t base_size, header_size, record_size;
	int result;

	if (octets.len < INDEX_HEADER_MIN)
		return corrupt(err, "it is cut short");
	if (octets.ptr[0] != INDEX_MAJOR || (octets.ptr[AT_COMPAT] & COMPAT_LITTLE_ENDIAN) == 0)
		return corrupt(err, "its format or byte order is not known");
	base_size = get_u16(octets, AT_BASE_SIZE);
	header_size = get_u32(octets, AT_HEADER_SIZE);
	record_size = get_u32(octets, AT_RECORD_SIZE);
	if (base_size < INDEX_HEADER_MIN || base_size > header_size || header_size > octets.len || record_size < 5)
		return corrupt(err, "its header makes no sense");
	index->uidvalidity = get_u32(octets, AT_UIDVALIDITY);
	index->uidnext = get_u32(octets, AT_UIDNEXT);
	*log_seq_r = get_u32(octets, AT_LOG_SEQ);
	*log_offset_r = get_u32(octets, AT_LOG_HEAD);
	result = find_extensions(index, cv_str_sub(octets, 0, header_size), (size_t)align(base_size, 8), &bits, err);
	if (result == 0 && (uint64_t)bits.offset + bits.size > record_size)
		result = corrupt(err, "keywords in its records make no sense");
	if (result == 0)
		result = take_records(&change, cv_str_sub(octets, header_size, SIZE_MAX), get_u32(octets, AT_MESSAGES), record_size, &bits, err);
	cv_free(bits.sets);
	return result;
}

/* ---- dovecot.index.log -------------------------------------------------------------------------------- */

/* Seven bits an octet, the eighth is set; in units of four. 0: it was not written to the end. */
static uint32_t log_size(struct cv_str octets, size_t at)
{
	uint32_t size = 0;

	for (size_t i = 0; i < 4; i++) {
		unsigned char c = (unsigned char)octets.ptr[at + i];

		if ((c & 0x80) == 0)
			return 0;
		size = size << 7 | (c & 0x7f);
	}
	return size << 2;
}

/* Pairs of UIDs, first and last. */
static int each_range(struct change *change, struct cv_str body, struct cv_ranges *set, bool add, struct cv_err *err)
{
	for (size_t at = 0; at + 8 <= body.len; at += 8)
		if (set_range(change, set, get_u32(body, at), get_u32(body, at + 4), add, err) < 0)
			return -1;
	return 0;
}

static int do_flags(struct change *change, struct cv_str body, struct cv_err *err)
{
	for (size_t at = 0; at + 12 <= body.len; at += 12)
		if (change_flags(change, get_u32(body, at), get_u32(body, at + 4), (uint8_t)body.ptr[at + 8], (uint8_t)body.ptr[at + 9], err) < 0)
			return -1;
	return 0;
}

static int do_append(struct change *change, struct cv_str body, struct cv_err *err)
{
	for (size_t at = 0; at + 8 <= body.len; at += 8) {
		uint32_t uid = get_u32(body, at);

		if (change_flags(change, uid, uid, (uint8_t)body.ptr[at + 4], 0, err) < 0)
			return -1;
		if (change->index->uidnext <= uid && uid < UINT32_MAX)
			change->index->uidnext = uid + 1;
	}
	return 0;
}

static int do_expunge_guid(struct change *change, struct cv_str body, struct cv_err *err)
{
	for (size_t at = 0; at + 20 <= body.len; at += 20)
		if (set_range(change, &change->index->expunged, get_u32(body, at), get_u32(body, at), true, err) < 0)
			return -1;
	return 0;
}

/* u8 what, u8 unused, u16 name size, name padded to four octets, pairs of UIDs */
static int do_keyword(struct change *change, struct cv_str body, struct cv_err *err)
{
	enum { ADD = 0, REMOVE, REPLACE };
	struct cv_dovecot_index *index = change->index;
	struct cv_ranges *set;
	struct cv_str name, ranges;
	unsigned what;

	if (body.len < 4)
		return corrupt(err, "a change of keywords is cut short");
	what = (unsigned char)body.ptr[0];
	name = cv_str_sub(body, 4, get_u16(body, 2));
	if (name.len < get_u16(body, 2) || what > REPLACE)
		return corrupt(err, "a change of keywords makes no sense");
	ranges = cv_str_sub(body, (size_t)align(4 + (uint64_t)name.len, 4), SIZE_MAX);
	if (what == REPLACE)
		for (size_t i = 0; i < index->keyword_count; i++)
			if (each_range(change, ranges, &index->keywords[i].uids, false, err) < 0)
				return -1;
	find_keyword(index, name, &set);
	return set == NULL ? 0 : each_range(change, ranges, set, what != REMOVE, err);
}

static int do_keyword_reset(struct change *change, struct cv_str body, struct cv_err *err)
{
	for (size_t i = 0; i < change->index->keyword_count; i++)
		if (each_range(change, body, &change->index->keywords[i].uids, false, err) < 0)
			return -1;
	return 0;
}

/* u16 offset in the index's header, u16 size, octets padded to four; several. */
static int do_header(struct change *change, struct cv_str body, struct cv_err *err)
{
	size_t at = 0;

	while (at + 4 <= body.len) {
		uint32_t offset = get_u16(body, at), size = get_u16(body, at + 2);
		struct cv_str data = cv_str_sub(body, at + 4, size);

		if (data.len < size)
			return corrupt(err, "a change of the header is cut short");
		if (offset <= AT_UIDVALIDITY && offset + size >= AT_UIDVALIDITY + 4)
			change->index->uidvalidity = get_u32(data, AT_UIDVALIDITY - offset);
		if (offset <= AT_UIDNEXT && offset + size >= AT_UIDNEXT + 4)
			change->index->uidnext = get_u32(data, AT_UIDNEXT - offset);
		at = (size_t)align(at + 4 + size, 4);
	}
	return 0;
}

static int do_record(struct change *change, uint32_t type, struct cv_str body, struct cv_err *err)
{
	switch (type & LOG_TYPE_MASK) {
	case LOG_EXPUNGE:
		return each_range(change, body, &change->index->expunged, true, err);
	case LOG_EXPUNGE_GUID:
		return do_expunge_guid(change, body, err);
	case LOG_APPEND:
		return do_append(change, body, err);
	case LOG_FLAGS:
		return do_flags(change, body, err);
	case LOG_KEYWORD:
		return do_keyword(change, body, err);
	case LOG_KEYWORD_RESET:
		return do_keyword_reset(change, body, err);
	case LOG_HEADER:
		return do_header(change, body, err);
	default:
		return 0; /* extensions: caches, modseqs */
	}
}

int cv_dovecot_log_parse(struct cv_dovecot_index *index, struct cv_str octets, uint32_t from, uint32_t *seq_r, uint32_t *prev_seq_r,
	struct cv_err *err)
{
	struct change change = { .index = index };
	uint32_t header_size;
	size_t at;

	if (octets.len < LOG_HEADER_MIN)
		return corrupt(err, "it is cut short");
	header_size = get_u16(octets, AT_LOG_HEADER_SIZE);
	if (octets.ptr[0] != LOG_MAJOR || header_size < LOG_HEADER_MIN || header_size > octets.len)
		return corrupt(err, "its header makes no sense");
	if (header_size > AT_LOG_COMPAT && (octets.ptr[AT_LOG_COMPAT] & COMPAT_LITTLE_ENDIAN) == 0)
		return corrupt(err, "its byte order is not known");
	*seq_r = get_u32(octets, AT_LOG_FILE_SEQ);
	*prev_seq_r = get_u32(octets, AT_LOG_PREV_SEQ);
	at = from == UINT32_MAX ? header_size : from;
	while (from != 0 && at + 8 <= octets.len) {
		uint32_t size = log_size(octets, at);

		/* A size that is not there, or leads beyond the end, is a record that was being written. */
		if (size < 8 || size > octets.len - at)
			break;
		if (do_record(&change, get_u32(octets, at + 4), cv_str_sub(octets, at + 8, size - 8), err) < 0)
			return -1;
		at += size;
	}
	return 0;
}

/* ---- Files -------------------------------------------------------------------------------------------- */

/* 1, 0 when there is no such file, -1. */
static int read_file(int dir, const char *name, uint64_t max, struct cv_buf *out, struct cv_err *err)
{
	struct cv_err open_err = { 0 };
	struct stat st;
	size_t len;
	void *p;
	int fd, result;

	if (cv_file_open(dir, name, O_RDONLY, 0, &fd, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		*err = open_err;
		return -1;
	}
	result = cv_file_fstat(fd, &st, err);
	if (result >= 0 && (uint64_t)st.st_size > max)
		result = cv_err_set(err, CV_ERR_LIMIT, "%s is longer than %llu octets", name, (unsigned long long)max);
	if (result >= 0 && st.st_size > 0) {
		p = cv_buf_reserve(out, (size_t)st.st_size);
		cv_assert(p != NULL);
		result = cv_file_pread(fd, p, (size_t)st.st_size, 0, &len, err);
		if (result >= 0)
			cv_buf_commit(out, len);
	}
	cv_file_close(&fd);
	return result < 0 ? -1 : 1;
}

static int name_error(const char *name, struct cv_err *err)
{
	struct cv_err why = *err;

	return cv_err_set(err, why.code, "%s: %s", name, why.text);
}

struct log_file {
	const char *name;
	struct cv_buf octets;
	uint32_t seq, prev_seq;
	bool there;
};

static int open_log(int dir, struct log_file *log, struct cv_dovecot_index *index, struct cv_err *err)
{
	int result = read_file(dir, log->name, LOG_MAX, &log->octets, err);

	log->there = result > 0 && log->octets.len > 0;
	if (result > 0 && log->there)
		result = cv_dovecot_log_parse(index, cv_buf_str(&log->octets), 0, &log->seq, &log->prev_seq, err);
	return result < 0 ? name_error(log->name, err) : 0;
}

static int do_log(struct log_file *log, uint32_t from, struct cv_dovecot_index *index, struct cv_err *err)
{
	if (cv_dovecot_log_parse(index, cv_buf_str(&log->octets), from, &log->seq, &log->prev_seq, err) < 0)
		return name_error(log->name, err);
	return 0;
}

/* What the logs say behind the index; without an index, all from the first log on. */
static int do_logs(struct log_file *older, struct log_file *log, bool has_index, uint32_t seq, uint32_t offset, struct cv_dovecot_index *index,
	struct cv_err *err)
{
	bool follows = older->there && log->there && log->prev_seq == older->seq;

	if (!log->there)
		return 0;
	if (has_index && log->seq == seq)
		return do_log(log, offset, index, err);
	if (has_index && !(follows && older->seq == seq)) {
		cv_warn(NULL, "Dovecot's transaction logs do not go on where dovecot.index ends: flags may be older than they were");
		return log->seq > seq ? do_log(log, UINT32_MAX, index, err) : 0;
	}
	if (!has_index && log->prev_seq != 0 && !follows)
		cv_warn(NULL, "Dovecot's first transaction log and dovecot.index are not there: flags may be missing");
	if (follows && do_log(older, has_index ? offset : UINT32_MAX, index, err) < 0)
		return -1;
	return do_log(log, UINT32_MAX, index, err);
}

int cv_dovecot_index_read(int dir, struct cv_dovecot_index **index_r, struct cv_err *err)
{
	struct cv_dovecot_index *index = cv_dovecot_index_new();
	struct log_file older = { .name = "dovecot.index.log.2" }, log = { .name = "dovecot.index.log" };
	struct cv_buf octets;
	uint32_t seq = 0, offset = 0;
	int has_index, result = 0;

	cv_buf_init(&octets, (size_t)INDEX_MAX);
	cv_buf_init(&older.octets, (size_t)LOG_MAX);
	cv_buf_init(&log.octets, (size_t)LOG_MAX);
	has_index = read_file(dir, "dovecot.index", INDEX_MAX, &octets, err);
	if (has_index > 0 && cv_dovecot_index_parse(index, cv_buf_str(&octets), &seq, &offset, err) < 0)
		has_index = name_error("dovecot.index", err);
	if (has_index < 0 || open_log(dir, &older, index, err) < 0 || open_log(dir, &log, index, err) < 0 ||
		do_logs(&older, &log, has_index > 0, seq, offset, index, err) < 0)
		result = -1;
	else if (has_index > 0 || log.there)
		result = 1;
	if (result > 0 && index->passed_over > 0)
		cv_warn(NULL, "Dovecot's index has more than %u keywords, or names that can be none: they are passed over", CV_DOVECOT_KEYWORDS_MAX);
	cv_buf_deinit(&octets);
	cv_buf_deinit(&older.octets);
	cv_buf_deinit(&log.octets);
	if (result <= 0)
		cv_dovecot_index_free(&index);
	*index_r = index;
	return result;
}
