/* SPDX-License-Identifier: MIT
   Parse records that go to a cache file together: their texts are written as a run before them (cache.h). */
#include <config.h>

#include "core/store/cache.h"
#include "core/store/store-private.h"

/* So much of texts makes a run, so much of records is kept in memory for it. */
#define TEXTS_MAX ((size_t)256 << 10)
#define RECORDS_MAX ((size_t)1 << 20)
#define PIECE ((size_t)64 << 10) /* is written at once, of records */

void cv_cache_batch_init(struct cv_cache_batch *batch)
{
	*batch = (struct cv_cache_batch){ .octets = 0 };
	cv_buf_init(&batch->texts, TEXTS_MAX + CV_CACHE_ENTRY_HEAD + CV_CACHE_RUN_TEXTS_MAX);
	cv_buf_init(&batch->records, RECORDS_MAX + CV_PARSE_RECORD_MAX);
}

void cv_cache_batch_deinit(struct cv_cache_batch *batch)
{
	cv_vec_free(&batch->added);
	cv_buf_deinit(&batch->texts);
	cv_buf_deinit(&batch->records);
}

void cv_cache_batch_clear(struct cv_cache_batch *batch)
{
	batch->added.count = 0;
	batch->octets = 0;
	cv_buf_clear(&batch->texts);
	cv_buf_clear(&batch->records);
}

bool cv_cache_batch_full(const struct cv_cache_batch *batch)
{
	return batch->texts.len >= TEXTS_MAX || batch->records.len >= RECORDS_MAX;
}

static void add(struct cv_cache_batch *batch, uint32_t uid, struct cv_str record, struct cv_str texts)
{
	struct cv_cache_added added = {
		.uid = uid, .len = (uint32_t)record.len, .texts = (uint32_t)batch->texts.len, .texts_len = (uint32_t)texts.len, .behind = (uint32_t)batch->octets
	};
	struct cv_buf octets;

	cv_assert(!cv_cache_batch_full(batch) && record.len <= CV_PARSE_RECORD_MAX);
	cv_buf_append(&batch->records, record);
	batch->octets += CV_CACHE_ENTRY_HEAD + record.len;
	if (texts.len > 0) {
		cv_buf_init(&octets, CV_CACHE_RUN_TEXTS_MAX);
		cv_put_u32(&octets, added.behind);
		cv_buf_append(&octets, texts);
		cv_cache_put_entry(&batch->texts, CV_CACHE_RUN_TEXTS, uid, cv_buf_str(&octets));
		cv_buf_deinit(&octets);
		batch->octets += CV_CACHE_ENTRY_HEAD + CV_CACHE_POINTER;
	}
	*cv_vec_push(&batch->added) = added;
}

void cv_cache_batch_add(struct cv_cache_batch *batch, struct cv_user *user, uint32_t uid, struct cv_str record)
{
	add(batch, uid, record, cv_texts_make(user, record));
}

int cv_cache_batch_copy(struct cv_cache_batch *batch, struct cv_mailbox *mailbox, uint64_t where, uint32_t uid, struct cv_buf *buf, struct cv_err *err)
{
	int ret = cv_cache_read(mailbox, where, uid, buf, err);

	if (ret > 0)
		add(batch, uid, cv_buf_str(buf), cv_cache_texts_for(mailbox, where, uid, cv_buf_str(buf)));
	return ret;
}

/* Each with its texts behind it. */
static int put_few(struct cv_cache *cache, struct cv_cache_batch *batch, struct cv_err *err)
{
	size_t at = 0;

	for (size_t i = 0; i < batch->added.count; i++) {
		struct cv_cache_added *added = &batch->added.data[i];
		struct cv_str texts = cv_str_sub(cv_buf_str(&batch->texts), added->texts + CV_CACHE_ENTRY_HEAD + sizeof(added->behind), added->texts_len);

		if (cv_cache_put(cache, added->uid, cv_str_sub(cv_buf_str(&batch->records), at, added->len), texts, &added->where, err) < 0)
			return -1;
		at += added->len;
	}
	return 1;
}

/* The entry of a record, and the pointer to its texts. texts_before: how far before the first record's entry the run begins. */
static void put_record(struct cv_buf *out, const struct cv_cache_added *added, struct cv_str record, size_t texts_before)
{
	struct cv_buf pointer;

	cv_cache_put_entry(out, CV_CACHE_RECORD, added->uid, record);
	if (added->texts_len == 0)
		return;
	cv_buf_init(&pointer, CV_CACHE_POINTER);
	cv_put_u32(&pointer, (uint32_t)(texts_before - added->texts) + added->behind);
	cv_put_u32(&pointer, added->behind);
	cv_cache_put_entry(out, CV_CACHE_RUN_POINTER, added->uid, cv_buf_str(&pointer));
	cv_buf_deinit(&pointer);
}

/* From offset on, some at a time. */
static int put_records(struct cv_cache *cache, struct cv_cache_batch *batch, uint64_t offset, struct cv_err *err)
{
	size_t at = 0;
	struct cv_buf out;
	int ret = 1;

	cv_buf_init(&out, PIECE + CV_PARSE_RECORD_MAX + 2 * CV_CACHE_ENTRY_HEAD + CV_CACHE_POINTER);
	for (size_t i = 0; ret > 0 && i < batch->added.count; i++) {
		struct cv_cache_added *added = &batch->added.data[i];

		added->where = offset + out.len;
		put_record(&out, added, cv_str_sub(cv_buf_str(&batch->records), at, added->len), batch->texts.len);
		at += added->len;
		if (out.len >= PIECE || i + 1 == batch->added.count) {
			ret = cv_cache_write(cache, cv_buf_str(&out), offset, err);
			offset += out.len;
			cv_buf_clear(&out);
		}
	}
	cv_buf_deinit(&out);
	if (ret > 0)
		cache->len = offset;
	return ret;
}

int cv_cache_put_batch(struct cv_cache *cache, struct cv_cache_batch *batch, struct cv_err *err)
{
	if (batch->added.count < CV_CACHE_RUN_MIN)
		return put_few(cache, batch, err);
	if (batch->texts.len > 0 && cv_cache_write(cache, cv_buf_str(&batch->texts), cache->len, err) < 0)
		return -1;
	return put_records(cache, batch, cache->len + batch->texts.len, err);
}

static void take_places(struct cv_mailbox *mailbox, const struct cv_cache_batch *batch)
{
	struct cv_columns *columns = mailbox->columns;
	uint32_t row = 0;

	for (size_t i = 0; i < batch->added.count; i++) {
		const struct cv_cache_added *added = &batch->added.data[i];

		if (!cv_columns_find(columns, added->uid, row, &row))
			continue;
		if (cv_cache_is_in_journal(*cv_col_cache(columns, row)))
			cv_set_cache(columns, row, added->where);
		row++;
	}
}

int cv_cache_batch_write(struct cv_cache_batch *batch, struct cv_mailbox *mailbox, struct cv_err *err)
{
	int ret = batch->added.count > 0 ? cv_cache_open(mailbox, true, err) : 0;

	if (ret > 0)
		ret = cv_cache_put_batch(mailbox->cache, batch, err);
	if (ret > 0)
		take_places(mailbox, batch);
	cv_cache_batch_clear(batch);
	return ret < 0 ? -1 : 1;
}
