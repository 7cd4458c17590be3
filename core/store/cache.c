/* SPDX-License-Identifier: MIT
   Parse records: in the journal when they are new, in a file per mailbox later. All of it can be lost: then messages are parsed again. */
#include <config.h>

#include "core/store/store-private.h"

#include <fcntl.h>
#include <string.h>

#define IN_JOURNAL (1ULL << 63)
#define OFFSET_BITS 40
#define FILE_MAGIC 0x3148434143565643ULL /* "CVVCACH1" */
#define FILE_HEAD 16
#define ENTRY_MAGIC 0x65635643u /* "CVce" */
#define ENTRY_HEAD 16

/* The cache file "cache.<guid>": u64 magic, u32 format version, u32 0; then entries: u32 magic, u32 length, u32 CRC-32C, u32 UID, octets. */
struct cv_cache {
	int fd;
	uint64_t len;
	struct cv_window window;
};

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
	if (!cv_take_u32(&reader, &crc) || !cv_take_u32(&reader, &len) || len > CV_PARSE_RECORD_MAX)
		return 0;
	pos.offset += 8;
	if (cv_journal_read_at(&mailbox->user->journal, pos, buf, len, &ignored) < 0)
		return 0;
	return cv_crc32c(0, buf->data, len) == crc ? 1 : 0;
}

/* The file, made anew (make) when it is missing or not ours. 0: none. */
static int open_file(struct cv_mailbox *mailbox, bool make, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_err open_err = { 0 };
	struct cv_buf head;
	struct cv_cache cache = { .fd = -1 };
	struct stat st;
	char name[CV_BOX_NAME_MAX], old[FILE_HEAD];
	size_t got = 0;
	int ret = 1;

	if (mailbox->cache != NULL)
		return 1;
	cv_box_name(mailbox, "cache", "", name);
	if (cv_file_open(user->index_dir, name, O_RDWR | (make ? O_CREAT : 0), user->storage_args.file_mode, &cache.fd, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		*err = open_err;
		return -1;
	}
	cv_buf_init(&head, FILE_HEAD);
	cv_put_u64(&head, FILE_MAGIC);
	cv_put_u32(&head, 1);
	cv_put_u32(&head, 0);
	if (cv_file_fstat(cache.fd, &st, err) < 0 || cv_file_pread(cache.fd, old, sizeof(old), 0, &got, err) < 0)
		ret = -1;
	else if (got < FILE_HEAD || memcmp(old, head.data, FILE_HEAD) != 0) {
		/* Nothing in it can be used: it is begun anew, since everything in it can be made again. */
		if (!make)
			ret = 0;
		else if (cv_file_truncate(cache.fd, 0, err) < 0 || cv_file_pwrite(cache.fd, cv_buf_str(&head), 0, err) < 0)
			ret = -1;
		cache.len = FILE_HEAD;
	} else {
		cache.len = (uint64_t)st.st_size;
	}
	cv_buf_deinit(&head);
	if (ret <= 0) {
		cv_file_close(&cache.fd);
		return ret;
	}
	mailbox->cache = cv_new0(struct cv_cache);
	*mailbox->cache = cache;
	return 1;
}

int cv_cache_read(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_buf *buf, struct cv_err *err)
{
	struct cv_cache *cache;
	char head[ENTRY_HEAD];
	struct cv_reader reader;
	uint32_t magic, len, crc, entry_uid;
	size_t got;
	void *p;
	int ret;

	cv_buf_clear(buf);
	if (where == 0)
		return 0;
	if ((where & IN_JOURNAL) != 0)
		return read_journal(mailbox, where, buf, err);
	ret = open_file(mailbox, false, err);
	if (ret <= 0)
		return ret;
	cache = mailbox->cache;
	if (cv_window_read(&cache->window, cache->fd, where, head, sizeof(head), &got, err) < 0)
		return -1;
	reader = cv_reader_init(cv_str_mem(head, got));
	if (!cv_take_u32(&reader, &magic) || magic != ENTRY_MAGIC || !cv_take_u32(&reader, &len) || !cv_take_u32(&reader, &crc) ||
		!cv_take_u32(&reader, &entry_uid) || entry_uid != uid || len > CV_PARSE_RECORD_MAX)
		return 0;
	p = cv_buf_reserve(buf, len);
	if (p == NULL)
		return 0;
	if (cv_window_read(&cache->window, cache->fd, where + ENTRY_HEAD, p, len, &got, err) < 0)
		return -1;
	if (got < len || cv_crc32c(0, p, len) != crc)
		return 0;
	cv_buf_commit(buf, len);
	return 1;
}

int cv_cache_append(struct cv_mailbox *mailbox, uint32_t uid, struct cv_str record, uint64_t *where_r, struct cv_err *err)
{
	struct cv_buf entry;
	int ret = open_file(mailbox, true, err);

	if (ret <= 0)
		return ret;
	cv_buf_init(&entry, record.len + ENTRY_HEAD);
	cv_put_u32(&entry, ENTRY_MAGIC);
	cv_put_u32(&entry, (uint32_t)record.len);
	cv_put_u32(&entry, cv_crc32c(0, record.ptr, record.len));
	cv_put_u32(&entry, uid);
	cv_buf_append(&entry, record);
	ret = cv_file_pwrite(mailbox->cache->fd, cv_buf_str(&entry), mailbox->cache->len, err);
	if (ret > 0) {
		*where_r = mailbox->cache->len;
		mailbox->cache->len += entry.len;
	}
	cv_buf_deinit(&entry);
	return ret;
}

void cv_cache_close(struct cv_mailbox *mailbox)
{
	if (mailbox->cache == NULL)
		return;
	cv_file_close(&mailbox->cache->fd);
	cv_window_deinit(&mailbox->cache->window);
	cv_free(mailbox->cache);
	mailbox->cache = NULL;
}

void cv_cache_quiet(struct cv_mailbox *mailbox)
{
	if (mailbox->cache != NULL)
		cv_window_deinit(&mailbox->cache->window);
}
