/* SPDX-License-Identifier: MIT
   Parse records: in the journal when they are new, in a file per mailbox later. All of it can be lost: then messages are parsed again. */
#include <config.h>

#include "core/store/cache.h"
#include "core/store/store-private.h"

#include <fcntl.h>
#include <string.h>

#define IN_JOURNAL (1ULL << 63)
#define OFFSET_BITS 40
#define FILE_MAGIC 0x3148434143565643ULL /* "CVVCACH1" */
#define FILE_VERSION 1

#define REWRITE_MIN (1u << 20)

uint64_t cv_cache_in_journal(struct cv_journal_pos pos)
{
	if (pos.segment >= 1u << 23 || pos.offset >= 1ULL << OFFSET_BITS)
		return 0; /* parsed again when asked for */
	return IN_JOURNAL | (uint64_t)pos.segment << OFFSET_BITS | pos.offset;
}

bool cv_cache_is_in_journal(uint64_t where)
{
	return (where & IN_JOURNAL) != 0;
}

static int read_journal(struct cv_mailbox *mailbox, uint64_t where, struct cv_buf *buf, struct cv_err *err)
{
	struct cv_journal_pos pos = { (uint32_t)((where & ~IN_JOURNAL) >> OFFSET_BITS), where & ((1ULL << OFFSET_BITS) - 1) };
	struct cv_err ignored = { 0 };
	struct cv_reader reader;
	uint32_t crc, len;

	(void)err;
	if (cv_journal_read_at(&mailbox->user->journal, pos, buf, 8, &ignored) < 0)
		return 0; /* dropped or damaged: the journal's own checks report damage */
	reader = cv_reader_init(cv_buf_str(buf));
	if (!cv_take_u32(&reader, &crc) || !cv_take_u32(&reader, &len) || len == 0 || len > CV_PARSE_RECORD_MAX)
		return 0; /* zeros are what a hole in the file has: they would check */
	pos.offset += 8;
	if (cv_journal_read_at(&mailbox->user->journal, pos, buf, len, &ignored) < 0)
		return 0;
	return cv_crc32c(0, buf->data, len) == crc ? 1 : 0;
}

static void put_head(struct cv_buf *out, uint64_t base)
{
	cv_buf_clear(out);
	cv_put_u64(out, FILE_MAGIC);
	cv_put_u32(out, FILE_VERSION);
	cv_put_u32(out, (uint32_t)CV_MIN(base / 1024, (uint64_t)UINT32_MAX));
}

/* False when nothing in the file can be used. */
static bool take_head(struct cv_str octets, struct cv_cache *cache)
{
	struct cv_reader reader = cv_reader_init(octets);
	uint32_t version, base;
	uint64_t magic;

	if (!cv_take_u64(&reader, &magic) || magic != FILE_MAGIC || !cv_take_u32(&reader, &version) || version != FILE_VERSION ||
		!cv_take_u32(&reader, &base))
		return false;
	cache->base = (uint64_t)base * 1024;
	return true;
}

/* Nothing in it can be used. It is kept under another name; a new one can have all of it made again. */
static int make_anew(struct cv_mailbox *mailbox, const char *name, const char *why, int *fd_r, struct stat *st_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;

	cv_file_close(fd_r);
	if (cv_file_aside(user->index_dir, name, err) < 0)
		return -1;
	cv_warn(&mailbox->log_ctx, "%s can't be used, it is kept under another name and made anew: %s", name, why);
	if (cv_file_open(user->index_dir, name, O_RDWR | O_CREAT | O_EXCL, user->storage_args.file_mode, fd_r, err) < 0)
		return -1;
	return cv_file_fstat(*fd_r, st_r, err);
}

/* A file that can be read and written: 1, 0 there is none. What has its name and is no plain file, or has no rights, is none either; who makes one keeps that under another name. */
static int open_plain(struct cv_mailbox *mailbox, const char *name, bool make, int *fd_r, struct stat *st_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_err open_err = { 0 };
	struct stat st = { 0 };

	if (cv_file_open(user->index_dir, name, O_RDWR | (make ? O_CREAT : 0), user->storage_args.file_mode, fd_r, &open_err) > 0) {
		if (cv_file_fstat(*fd_r, st_r, err) < 0) {
			cv_file_close(fd_r);
			return -1;
		}
		if (S_ISREG(st_r->st_mode))
			return 1;
		(void)cv_err_set(&open_err, CV_ERR_CORRUPT, "it is no plain file");
	} else if (open_err.code == CV_ERR_NOTFOUND) {
		return 0;
	} else if (open_err.code != CV_ERR_PERM && (cv_file_stat(user->index_dir, name, &st, err) <= 0 || S_ISREG(st.st_mode))) {
		*err = open_err;
		return -1;
	}
	return make ? make_anew(mailbox, name, open_err.text, fd_r, st_r, err) : 0;
}

int cv_cache_open(struct cv_mailbox *mailbox, bool make, struct cv_err *err)
{
	struct cv_buf head;
	struct cv_cache cache = { .fd = -1 };
	struct stat st;
	char name[CV_BOX_NAME_MAX], old[CV_CACHE_FILE_HEAD];
	size_t got = 0;
	int ret;

	if (mailbox->cache != NULL)
		return 1;
	cv_box_name(mailbox, "cache", "", name);
	ret = open_plain(mailbox, name, make, &cache.fd, &st, err);
	if (ret <= 0) {
		cv_file_close(&cache.fd);
		return ret;
	}
	cv_buf_init(&head, CV_CACHE_FILE_HEAD);
	put_head(&head, 0);
	if (cv_file_pread(cache.fd, old, sizeof(old), 0, &got, err) < 0)
		ret = -1;
	else if (take_head(cv_str_mem(old, got), &cache))
		cache.len = (uint64_t)st.st_size;
	else if (!make)
		ret = 0;
	else if ((st.st_size > 0 && make_anew(mailbox, name, "its head does not check", &cache.fd, &st, err) < 0) ||
		cv_file_pwrite(cache.fd, cv_buf_str(&head), 0, err) < 0)
		ret = -1;
	else
		cache.len = CV_CACHE_FILE_HEAD;
	cv_buf_deinit(&head);
	if (ret <= 0) {
		cv_file_close(&cache.fd);
		return ret;
	}
	mailbox->cache = cv_new0(struct cv_cache);
	*mailbox->cache = cache;
	return 1;
}

bool cv_cache_take_head(struct cv_str head, uint32_t magic, size_t max, uint32_t *len_r, uint32_t *crc_r, uint32_t *uid_r)
{
	struct cv_reader reader = cv_reader_init(head);
	uint32_t entry_magic;

	return cv_take_u32(&reader, &entry_magic) && entry_magic == magic && cv_take_u32(&reader, len_r) && cv_take_u32(&reader, crc_r) &&
		cv_take_u32(&reader, uid_r) && *len_r > 0 && *len_r <= max;
}

bool cv_cache_take_entry(struct cv_str head, uint32_t magic, uint32_t uid, size_t max, uint32_t *len_r, uint32_t *crc_r)
{
	uint32_t entry_uid;

	return cv_cache_take_head(head, magic, max, len_r, crc_r, &entry_uid) && entry_uid == uid;
}

int cv_cache_read(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_buf *buf, struct cv_err *err)
{
	struct cv_cache *cache;
	char head[CV_CACHE_ENTRY_HEAD];
	uint32_t len, crc;
	size_t got;
	void *p;
	int ret;

	cv_buf_clear(buf);
	if (where == 0)
		return 0;
	if ((where & IN_JOURNAL) != 0)
		return read_journal(mailbox, where, buf, err);
	ret = cv_cache_open(mailbox, false, err);
	if (ret <= 0)
		return ret;
	cache = mailbox->cache;
	if (cv_window_read(&cache->records, cache->fd, where, head, sizeof(head), &got, err) < 0)
		return -1;
	if (!cv_cache_take_entry(cv_str_mem(head, got), CV_CACHE_RECORD, uid, CV_PARSE_RECORD_MAX, &len, &crc))
		return 0;
	p = cv_buf_reserve(buf, len);
	if (p == NULL)
		return 0;
	if (cv_window_read(&cache->records, cache->fd, where + CV_CACHE_ENTRY_HEAD, p, len, &got, err) < 0)
		return -1;
	if (got < len || cv_crc32c(0, p, len) != crc)
		return 0;
	cv_buf_commit(buf, len);
	return 1;
}

void cv_cache_put_entry(struct cv_buf *out, uint32_t magic, uint32_t uid, struct cv_str octets)
{
	cv_put_u32(out, magic);
	cv_put_u32(out, (uint32_t)octets.len);
	cv_put_u32(out, cv_crc32c(0, octets.ptr, octets.len));
	cv_put_u32(out, uid);
	cv_buf_append(out, octets);
}

/* What was read ahead may have octets of a write that failed. */
static void drop_behind(struct cv_window *window, uint64_t offset)
{
	if (window->offset + window->len > offset)
		cv_window_drop(window);
}

int cv_cache_write(struct cv_cache *cache, struct cv_str octets, uint64_t offset, struct cv_err *err)
{
	drop_behind(&cache->records, offset);
	drop_behind(&cache->texts, offset);
	return cv_file_pwrite(cache->fd, octets, offset, err);
}

int cv_cache_put(struct cv_cache *cache, uint32_t uid, struct cv_str record, struct cv_str texts, uint64_t *where_r, struct cv_err *err)
{
	struct cv_buf entry;
	int ret;

	cv_buf_init(&entry, record.len + texts.len + 2 * CV_CACHE_ENTRY_HEAD);
	cv_cache_put_entry(&entry, CV_CACHE_RECORD, uid, record);
	if (texts.len > 0)
		cv_cache_put_entry(&entry, CV_CACHE_TEXTS, uid, texts);
	ret = cv_cache_write(cache, cv_buf_str(&entry), cache->len, err);
	if (ret > 0) {
		*where_r = cache->len;
		cache->len += entry.len;
	}
	cv_buf_deinit(&entry);
	return ret;
}

int cv_cache_append(struct cv_mailbox *mailbox, uint32_t uid, struct cv_str record, uint64_t *where_r, struct cv_err *err)
{
	int ret = cv_cache_open(mailbox, true, err);

	return ret > 0 ? cv_cache_put(mailbox->cache, uid, record, cv_texts_make(mailbox->user, record), where_r, err) : ret;
}

struct cv_str cv_cache_texts_for(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_str record)
{
	struct cv_str octets, texts[CV_TEXTS_MAX];
	struct cv_err ignored = { 0 };

	if (!cv_cache_is_in_journal(where) && cv_cache_texts_of_record(mailbox, where, uid, &octets, &ignored) > 0 && cv_texts_take(mailbox->user, octets, texts))
		return octets;
	return cv_texts_make(mailbox->user, record);
}

int cv_cache_copy(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_mailbox *to, uint32_t to_uid, struct cv_buf *buf, uint64_t *where_r,
	struct cv_err *err)
{
	int ret = cv_cache_open(to, true, err);

	if (ret > 0)
		ret = cv_cache_read(mailbox, where, uid, buf, err);
	if (ret <= 0)
		return ret;
	return cv_cache_put(to->cache, to_uid, cv_buf_str(buf), cv_cache_texts_for(mailbox, where, uid, cv_buf_str(buf)), where_r, err);
}

void cv_cache_forget(struct cv_cache *cache)
{
	cv_window_deinit(&cache->records);
	cv_window_deinit(&cache->texts);
	cache->run_next = cache->run_end = 0;
}

static void free_cache(struct cv_cache **cache_p)
{
	struct cv_cache *cache = *cache_p;

	*cache_p = NULL;
	if (cache == NULL)
		return;
	cv_file_close(&cache->fd);
	cv_cache_forget(cache);
	cv_free(cache);
}

void cv_cache_close(struct cv_mailbox *mailbox)
{
	free_cache(&mailbox->cache);
}

void cv_cache_quiet(struct cv_mailbox *mailbox)
{
	if (mailbox->cache != NULL)
		cv_cache_forget(mailbox->cache);
}

/* ---- making room ---------------------------------------------------------------------------------------------------- */

/* Nothing that is read later looks for what went. */
static void forget_places(struct cv_mailbox *mailbox)
{
	struct cv_columns *columns = mailbox->columns;

	for (uint32_t row = 0; columns != NULL && row < columns->count; row++) {
		if (*cv_col_cache(columns, row) != 0 && !cv_cache_is_in_journal(*cv_col_cache(columns, row)))
			cv_set_cache(columns, row, 0);
	}
	mailbox->rewrite = true;
}

bool cv_cache_make_room(struct cv_user *user)
{
	struct cv_mailbox *largest = NULL;
	struct cv_err err = { 0 };
	char name[CV_BOX_NAME_MAX];
	blkcnt_t blocks = 0;
	struct cv_str key;
	size_t pos = 0;
	void *value;

	while (cv_map_next(user->mailboxes, &pos, &key, &value)) {
		struct stat st = { 0 };

		cv_box_name(value, "cache", "", name);
		if (cv_file_stat(user->index_dir, name, &st, &err) > 0 && S_ISREG(st.st_mode) && st.st_blocks > blocks) {
			largest = value;
			blocks = st.st_blocks;
		}
	}
	if (largest == NULL)
		return false;
	cv_cache_close(largest);
	cv_box_name(largest, "cache", "", name);
	if (cv_file_unlink(user->index_dir, name, &err) < 0) {
		cv_warn(&largest->log_ctx, "no room is made for what frees some: %s", err.text);
		return false;
	}
	forget_places(largest);
	cv_info(&largest->log_ctx, "the disk is full: parse records were removed, to make room for the record of what frees some");
	return true;
}

/* ---- writing the file anew ------------------------------------------------------------------------------------------ */

bool cv_cache_wants_rewrite(struct cv_mailbox *mailbox)
{
	struct cv_err err = { 0 };

	if (cv_cache_open(mailbox, false, &err) <= 0) /* trouble is told by who reads it */
		return false;
	return mailbox->cache->len >= REWRITE_MIN && mailbox->cache->len / 2 > mailbox->cache->base;
}

int cv_cache_rewrite_begin(struct cv_mailbox *mailbox, struct cv_cache **new_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	char name[CV_BOX_NAME_MAX];
	struct cv_buf head;
	int fd, ret;

	*new_r = NULL;
	cv_box_name(mailbox, "cache", ".new", name);
	if (cv_file_open(user->index_dir, name, O_RDWR | O_CREAT | O_TRUNC, user->storage_args.file_mode, &fd, err) < 0)
		return -1;
	cv_buf_init(&head, CV_CACHE_FILE_HEAD);
	put_head(&head, 0);
	ret = cv_file_pwrite(fd, cv_buf_str(&head), 0, err);
	cv_buf_deinit(&head);
	*new_r = cv_new0(struct cv_cache);
	(*new_r)->fd = fd;
	(*new_r)->len = CV_CACHE_FILE_HEAD;
	return ret;
}

int cv_cache_rewrite_some(struct cv_cache *new, struct cv_cache_batch *batch, struct cv_err *err)
{
	return cv_cache_put_batch(new, batch, err);
}

int cv_cache_rewrite_end(struct cv_mailbox *mailbox, struct cv_cache **new, struct cv_err *err)
{
	int dir = mailbox->user->index_dir, ret;
	char from[CV_BOX_NAME_MAX], to[CV_BOX_NAME_MAX];
	struct cv_buf head;

	cv_box_name(mailbox, "cache", ".new", from);
	cv_box_name(mailbox, "cache", "", to);
	(*new)->base = (*new)->len;
	cv_buf_init(&head, CV_CACHE_FILE_HEAD);
	put_head(&head, (*new)->base);
	ret = cv_file_pwrite((*new)->fd, cv_buf_str(&head), 0, err);
	cv_buf_deinit(&head);
	if (ret < 0 || cv_file_rename(dir, from, dir, to, true, err) < 0)
		return -1;
	cv_cache_close(mailbox);
	mailbox->cache = *new;
	*new = NULL;
	return 1;
}

void cv_cache_rewrite_cancel(struct cv_mailbox *mailbox, struct cv_cache **new)
{
	char name[CV_BOX_NAME_MAX];

	if (*new == NULL)
		return;
	free_cache(new);
	cv_box_name(mailbox, "cache", ".new", name);
	if (cv_file_unlink(mailbox->user->index_dir, name, NULL) < 0)
		cv_warn(&mailbox->log_ctx, "%s could not be removed; it is written over the next time", name);
}
