/* SPDX-License-Identifier: MIT
   Reading the texts that stand in a mailbox's cache file (cache.h). */
#include <config.h>

#include "core/store/cache.h"
#include "core/store/store-private.h"

/* A message whose UID is so much above the last one's, or less, is looked for in the run where that stood. */
#define NEAR 16u

static int damaged(uint32_t uid, struct cv_err *err)
{
	return cv_err_set(err, CV_ERR_CORRUPT, "texts of message %u are damaged", uid);
}

/* What an entry of that length has. CORRUPT when it does not check. */
static int view_octets(struct cv_window *window, int fd, uint64_t offset, size_t ahead, uint32_t uid, uint32_t len, uint32_t crc, struct cv_str *octets_r,
	struct cv_err *err)
{
	if (cv_window_view(window, fd, offset + CV_CACHE_ENTRY_HEAD, len, ahead, octets_r, err) < 0)
		return -1;
	return octets_r->len == len && cv_crc32c(0, octets_r->ptr, len) == crc ? 1 : damaged(uid, err);
}

/* No octets behind the run are read along. */
static size_t ahead_in_run(const struct cv_cache *cache)
{
	return (size_t)CV_MIN(cache->run_end - cache->run_next, (uint64_t)CV_WINDOW_AHEAD);
}

/* The entry that comes next in the run is that message's: its texts, when they are of the record at where; 0 when they are of another. The one behind it comes next then. */
static int take_next(struct cv_cache *cache, uint64_t where, uint32_t uid, uint32_t len, uint32_t crc, struct cv_str *octets_r, struct cv_err *err)
{
	uint64_t offset = cache->run_next;
	size_t ahead = ahead_in_run(cache);
	struct cv_reader reader;
	uint32_t behind;
	struct cv_str octets;

	cache->run_next = offset + CV_CACHE_ENTRY_HEAD + len;
	cache->run_uid = uid;
	if (view_octets(&cache->texts, cache->fd, offset, ahead, uid, len, crc, &octets, err) < 0)
		return -1;
	reader = cv_reader_init(octets);
	if (!cv_take_u32(&reader, &behind) || cache->run_end + behind != where)
		return 0;
	*octets_r = cv_reader_rest(&reader);
	return 1;
}

/* In the run that was read last, behind what was read there. */
static int texts_in_run(struct cv_cache *cache, uint64_t where, uint32_t uid, struct cv_str *octets_r, struct cv_err *err)
{
	if (uid <= cache->run_uid || uid - cache->run_uid > NEAR)
		return 0;
	while (cache->run_next < cache->run_end) {
		uint32_t len, crc, entry_uid;
		struct cv_str head;

		if (cv_window_view(&cache->texts, cache->fd, cache->run_next, CV_CACHE_ENTRY_HEAD, ahead_in_run(cache), &head, err) < 0)
			return -1;
		if (!cv_cache_take_head(head, CV_CACHE_RUN_TEXTS, CV_CACHE_RUN_TEXTS_MAX, &len, &crc, &entry_uid) || entry_uid > uid)
			return 0;
		if (entry_uid == uid)
			return take_next(cache, where, uid, len, crc, octets_r, err);
		cache->run_next += CV_CACHE_ENTRY_HEAD + len;
	}
	return 0;
}

/* By the pointer behind the record at where. */
static int texts_by_pointer(struct cv_cache *cache, uint64_t where, uint32_t uid, struct cv_str pointer, struct cv_str *octets_r, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(pointer);
	uint32_t before, behind;
	int ret;

	if (!cv_take_u32(&reader, &before) || !cv_take_u32(&reader, &behind) || !cv_reader_end(&reader) || behind >= before || before > where)
		return damaged(uid, err);
	/* One run read to its end, then the next. */
	if (cache->run_end != 0 && cache->run_next == cache->run_end)
		cache->texts.next = where - before;
	cache->run_next = where - before;
	cache->run_end = where - behind;
	cache->run_uid = uid - 1;
	ret = texts_in_run(cache, where, uid, octets_r, err);
	return ret == 0 ? damaged(uid, err) : ret;
}

static int texts_by_record(struct cv_cache *cache, uint64_t where, uint32_t uid, struct cv_str *octets_r, struct cv_err *err)
{
	/* Who reads texts only has no use for more records. */
	size_t ahead = cache->apart ? 0 : CV_WINDOW_AHEAD;
	struct cv_str head, pointer;
	uint32_t len, crc;
	uint64_t behind;

	if (cv_window_view(&cache->records, cache->fd, where, CV_CACHE_ENTRY_HEAD, ahead, &head, err) < 0)
		return -1;
	if (!cv_cache_take_entry(head, CV_CACHE_RECORD, uid, CV_PARSE_RECORD_MAX, &len, &crc))
		return 0;
	behind = where + CV_CACHE_ENTRY_HEAD + len;
	if (cv_window_view(&cache->records, cache->fd, behind, CV_CACHE_ENTRY_HEAD, ahead, &head, err) < 0)
		return -1;
	if (cv_cache_take_entry(head, CV_CACHE_TEXTS, uid, CV_TEXTS_OCTETS_MAX, &len, &crc)) {
		cache->apart = false;
		return view_octets(&cache->records, cache->fd, behind, ahead, uid, len, crc, octets_r, err);
	}
	if (!cv_cache_take_entry(head, CV_CACHE_RUN_POINTER, uid, CV_CACHE_POINTER, &len, &crc))
		return 0;
	cache->apart = true;
	if (view_octets(&cache->records, cache->fd, behind, ahead, uid, len, crc, &pointer, err) < 0)
		return -1;
	return texts_by_pointer(cache, where, uid, pointer, octets_r, err);
}

int cv_cache_texts_of_record(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_str *octets_r, struct cv_err *err)
{
	int ret = cv_cache_open(mailbox, false, err);

	return ret > 0 ? texts_by_record(mailbox->cache, where, uid, octets_r, err) : ret;
}

int cv_cache_texts(struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_str *octets_r, struct cv_err *err)
{
	int ret = cv_cache_open(mailbox, false, err);

	if (ret <= 0)
		return ret;
	ret = texts_in_run(mailbox->cache, where, uid, octets_r, err);
	return ret == 0 ? texts_by_record(mailbox->cache, where, uid, octets_r, err) : ret;
}
