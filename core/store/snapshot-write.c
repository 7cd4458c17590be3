/* SPDX-License-Identifier: MIT
   Snapshots: writing them, a slice at a time. */
#include <config.h>

#include "core/store/cache.h"
#include "core/store/snapshot.h"
#include "core/store/store-private.h"

#include <fcntl.h>
#include <stdio.h>

#define COLUMN_ALIGN 64u
#define WORDS_MAX ((size_t)1 << 30)
#define SETTLE_AT_ONCE 64u

static const uint8_t widths[CV_COLUMNS] = {
#define X(name, type) [CV_COLUMN_##name] = sizeof(type),
	CV_COLUMN_LIST(X)
#undef X
};

/* A parse record that has another place in the cache file written anew. */
struct moved {
	uint32_t uid;
	uint64_t from, to;
};

struct checks {
	CV_VEC(uint32_t) crcs;
};

struct cv_snapshot_writer {
	struct cv_mailbox *mailbox;  /* counted */
	char name[CV_BOX_NAME_MAX], temp[CV_BOX_NAME_MAX];
	int fd;                      /* -1: none */
	uint64_t generation;         /* the user's; another one: memory was read anew, this is not what it says */
	struct cv_snapshot_head head;
	uint32_t room, uid_end;      /* rows that there is place for; UIDs of this one and above came later */
	uint32_t settle_uid, next_uid;
	bool settled, compact, gathered, done, finished;
	struct cv_cache *new_cache;  /* NULL: it is not written anew */
	struct cv_cache_batch batch; /* records that go to one cache file or the other */
	CV_VEC(struct moved) moved;  /* the last ones are those in the batch: they have no place yet */
	uint32_t compact_uid;
	struct cv_column_arrays chunk;
	CV_VEC(struct cv_uid_run) runs; /* of the UIDs that were written; more than are worth it: not all of them */
	struct checks column_checks[CV_COLUMNS], pool_checks;
	struct cv_buf pool;          /* not written yet */
	struct cv_note_writer *notes; /* NULL: not begun, or no message has any */
	uint32_t notes_crc;
	uint64_t notes_end;          /* 0: there are none */
	bool noted;
	struct cv_buf record;
};

void cv_box_name(const struct cv_mailbox *mailbox, const char *kind, const char *suffix, char name_r[CV_BOX_NAME_MAX])
{
	struct cv_buf hex;

	cv_buf_init(&hex, 33);
	cv_buf_append_hex(&hex, cv_str_mem(mailbox->guid.b, sizeof(mailbox->guid.b)));
	(void)snprintf(name_r, CV_BOX_NAME_MAX, "%s.%.*s%s", kind, CV_STR_ARG(cv_buf_str(&hex)), suffix);
	cv_buf_deinit(&hex);
}

static void lay_out(struct cv_snapshot_writer *w)
{
	uint64_t at = CV_SNAPSHOT_HEAD;

	for (unsigned i = 0; i < CV_COLUMNS; i++) {
		w->head.column_offset[i] = at;
		at += (uint64_t)w->room * widths[i];
		at = (at + COLUMN_ALIGN - 1) / COLUMN_ALIGN * COLUMN_ALIGN;
	}
	w->head.pool_offset = at;
}

int cv_snapshot_begin(struct cv_mailbox *mailbox, struct cv_snapshot_writer **writer_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_snapshot_writer *w = cv_new0(struct cv_snapshot_writer);
	const struct cv_counts *counts = &mailbox->counts;

	cv_assert(mailbox->columns != NULL && !cv_user_unpublished(user));
	*writer_r = NULL;
	w->mailbox = mailbox;
	cv_mailbox_ref(mailbox);
	w->generation = user->generation;
	w->room = mailbox->columns->count - mailbox->columns->dead;
	w->uid_end = mailbox->uidnext;
	w->settle_uid = w->compact_uid = w->next_uid = 1;
	w->head = (struct cv_snapshot_head){
		.seq = user->published_seq,
		.guid = mailbox->guid,
		.uidvalidity = mailbox->uidvalidity,
		.special_use = mailbox->special_use,
		.uidnext = mailbox->uidnext,
		.first_recent = mailbox->first_recent,
		.messages = counts->messages,
		.unseen = counts->unseen,
		.deleted = counts->deleted,
		.recent = counts->recent,
		.first_unseen = counts->first_unseen,
		.size = counts->size,
		.highest_modseq = mailbox->highest_modseq,
		.subscribed = mailbox->name != NULL && mailbox->name->subscribed,
	};
	lay_out(w);
#define X(column, type) w->chunk.column = cv_calloc(CV_CHUNK_ROWS, sizeof(type));
	CV_COLUMN_LIST(X)
#undef X
	cv_buf_init(&w->pool, WORDS_MAX);
	cv_buf_init(&w->record, CV_PARSE_RECORD_MAX);
	cv_cache_batch_init(&w->batch);
	cv_box_name(mailbox, "box", "", w->name);
	cv_box_name(mailbox, "box", ".new", w->temp);
	if (cv_file_open(user->index_dir, w->temp, O_RDWR | O_CREAT | O_TRUNC, user->storage_args.file_mode, &w->fd, err) < 0) {
		cv_snapshot_end(&w);
		return -1;
	}
	*writer_r = w;
	return 1;
}

/* ---- parse records ------------------------------------------------------------------------------------------- */

/* From the row on, those that lie in the journal are gathered and go to the cache file. 1 done, 0 time is over. */
static int settle_from(struct cv_snapshot_writer *w, uint32_t row, uint64_t deadline_ms, struct cv_err *err)
{
	struct cv_mailbox *mailbox = w->mailbox;
	struct cv_columns *columns = mailbox->columns;

	for (uint32_t n = 0; row < columns->count; row++, n++) {
		uint64_t cache = *cv_col_cache(columns, row);
		uint32_t uid = *cv_col_uid(columns, row);

		if (n >= SETTLE_AT_ONCE && cv_time_mono_ms() >= deadline_ms)
			return 0;
		w->settle_uid = uid + 1;
		if (!cv_cache_is_in_journal(cache) || !cv_row_live(columns, row))
			continue;
		switch (cv_cache_read(mailbox, cache, uid, &w->record, err)) {
		case 1:
			cv_cache_batch_add(&w->batch, mailbox->user, uid, cv_buf_str(&w->record));
			break;
		case 0: /* parsed again when it is asked for */
			cv_set_cache(columns, row, 0);
			break;
		default:
			return -1;
		}
		if (cv_cache_batch_full(&w->batch) && cv_cache_batch_write(&w->batch, mailbox, err) < 0)
			return -1;
	}
	return 1;
}

/* Those that lie in the journal go to the cache file, since the journal will be dropped. 1 done, 0 time is over. */
static int settle(struct cv_snapshot_writer *w, uint64_t deadline_ms, struct cv_err *err)
{
	int ret = settle_from(w, cv_columns_from(w->mailbox->columns, w->settle_uid), deadline_ms, err);

	if (ret >= 0 && cv_cache_batch_write(&w->batch, w->mailbox, err) < 0)
		return -1;
	return ret;
}

/* Rows learn their places in the new file, which becomes the mailbox's. Those that were parsed again meanwhile are parsed once more. */
static int take_new_cache(struct cv_snapshot_writer *w, struct cv_err *err)
{
	struct cv_columns *columns = w->mailbox->columns;
	size_t i = 0;

	if (cv_cache_rewrite_end(w->mailbox, &w->new_cache, err) < 0)
		return -1;
	for (uint32_t row = 0; row < columns->count; row++) {
		uint64_t cache = *cv_col_cache(columns, row);
		uint32_t uid = *cv_col_uid(columns, row);

		while (i < w->moved.count && w->moved.data[i].uid < uid)
			i++;
		if (cache == 0 || cv_cache_is_in_journal(cache))
			continue;
		cv_set_cache(columns, row, i < w->moved.count && w->moved.data[i].uid == uid && w->moved.data[i].from == cache ? w->moved.data[i].to : 0);
	}
	return 1;
}

/* What was gathered gets its places in the new file. */
static int move_some(struct cv_snapshot_writer *w, struct cv_err *err)
{
	size_t count = w->batch.added.count;

	if (cv_cache_rewrite_some(w->new_cache, &w->batch, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		w->moved.data[w->moved.count - count + i].to = w->batch.added.data[i].where;
	cv_cache_batch_clear(&w->batch);
	return 1;
}

static int compact_some(struct cv_snapshot_writer *w, uint64_t deadline_ms, struct cv_err *err)
{
	struct cv_mailbox *mailbox = w->mailbox;
	struct cv_columns *columns = mailbox->columns;
	uint32_t row = cv_columns_from(columns, w->compact_uid);

	for (uint32_t n = 0; row < columns->count; row++, n++) {
		uint64_t from = *cv_col_cache(columns, row);
		uint32_t uid = *cv_col_uid(columns, row);
		int ret;

		if (n >= SETTLE_AT_ONCE && cv_time_mono_ms() >= deadline_ms)
			return 0;
		w->compact_uid = uid + 1;
		if (from == 0 || cv_cache_is_in_journal(from) || !cv_row_live(columns, row))
			continue;
		ret = cv_cache_batch_copy(&w->batch, mailbox, from, uid, &w->record, err);
		if (ret > 0)
			*cv_vec_push(&w->moved) = (struct moved){ uid, from, 0 };
		if (ret < 0 || (cv_cache_batch_full(&w->batch) && move_some(w, err) < 0))
			return -1;
	}
	return move_some(w, err) < 0 ? -1 : take_new_cache(w, err);
}

/* The cache file without what is gone, when that is much. 1 done, 0 time is over. That it can't be written does not stop the snapshot. */
static int compact(struct cv_snapshot_writer *w, uint64_t deadline_ms)
{
	struct cv_err err = { 0 };
	int ret = 1;

	if (w->new_cache == NULL) {
		if (!cv_cache_wants_rewrite(w->mailbox))
			return 1;
		ret = cv_cache_rewrite_begin(w->mailbox, &w->new_cache, &err);
	}
	if (ret > 0)
		ret = compact_some(w, deadline_ms, &err);
	if (ret < 0) {
		cv_warn(&w->mailbox->log_ctx, "cache can't be written anew: %s", err.text);
		cv_cache_rewrite_cancel(w->mailbox, &w->new_cache);
		cv_cache_batch_clear(&w->batch);
	}
	return ret != 0;
}

/* ---- columns and pool ------------------------------------------------------------------------------------------ */

static void gather_row(struct cv_snapshot_writer *w, uint32_t row, uint32_t to)
{
	const struct cv_columns *columns = w->mailbox->columns;
	struct cv_str ref = cv_columns_ref(columns, row), uidl = cv_columns_uidl(columns, row);

#define X(name, type) w->chunk.name[to] = *cv_col_##name(columns, row);
	CV_COLUMN_LIST(X)
#undef X
	w->chunk.flags[to] &= (uint16_t)~CV_ROW_VERIFIED;
	w->chunk.ref[to] = w->head.pool_len + w->pool.len;
	cv_ref_put(&w->pool, ref);
	cv_put_u16(&w->pool, (uint16_t)uidl.len);
	cv_buf_append(&w->pool, uidl);
}

static int write_pool(struct cv_snapshot_writer *w, bool all, struct cv_err *err)
{
	size_t done = 0;
	int ret = 1;

	if (!cv_buf_ok(&w->pool))
		return cv_err_set(err, CV_ERR_LIMIT, "too many octets of references");
	while (w->pool.len - done >= CV_POOL_BLOCK || (all && done < w->pool.len)) {
		struct cv_str block = cv_str_sub(cv_buf_str(&w->pool), done, CV_POOL_BLOCK);

		*cv_vec_push(&w->pool_checks.crcs) = cv_crc32c(0, block.ptr, block.len);
		done += block.len;
	}
	if (done > 0)
		ret = cv_file_pwrite(w->fd, cv_str_sub(cv_buf_str(&w->pool), 0, done), w->head.pool_offset + w->head.pool_len, err);
	w->head.pool_len += done;
	cv_buf_consume(&w->pool, done);
	return ret;
}

static int write_column(struct cv_snapshot_writer *w, enum cv_column column, const void *values, uint32_t count, struct cv_err *err)
{
	struct cv_str octets = cv_str_mem(values, (size_t)count * widths[column]);

	*cv_vec_push(&w->column_checks[column].crcs) = cv_crc32c(0, octets.ptr, octets.len);
	return cv_file_pwrite(w->fd, octets, w->head.column_offset[column] + (uint64_t)w->head.rows * widths[column], err);
}

static bool runs_are_few(const struct cv_snapshot_writer *w, uint32_t rows)
{
	return w->runs.count <= rows / CV_SNAPSHOT_RUN_ROWS;
}

/* Those of the chunk that comes next. */
static void add_runs(struct cv_snapshot_writer *w, uint32_t count)
{
	const uint32_t *uids = w->chunk.uid;

	for (uint32_t i = 0; i < count && runs_are_few(w, w->room); i++) {
		const struct cv_uid_run *run = w->runs.count > 0 ? &w->runs.data[w->runs.count - 1] : NULL;
		uint32_t row = w->head.rows + i;

		if (run == NULL || uids[i] - run->uid != row - run->row)
			*cv_vec_push(&w->runs) = (struct cv_uid_run){ uids[i], row };
	}
}

/* The next chunk. 1 when there is none, 0 when there may be more. */
static int gather(struct cv_snapshot_writer *w, struct cv_err *err)
{
	const struct cv_columns *columns = w->mailbox->columns;
	uint32_t count = 0;

	for (uint32_t row = cv_columns_from(columns, w->next_uid); row < columns->count && count < CV_CHUNK_ROWS; row++) {
		uint32_t uid = *cv_col_uid(columns, row);

		if (uid >= w->uid_end)
			break;
		if (!cv_row_live(columns, row))
			continue;
		w->next_uid = uid + 1;
		gather_row(w, row, count++);
	}
	if (count == 0)
		return 1;
	if (count > w->room - w->head.rows) /* rows were put between others meanwhile */
		return cv_err_set(err, CV_ERR_TEMP, "mailbox changed while its snapshot was written");
#define X(name, type)                                                                                         \
	if (write_column(w, CV_COLUMN_##name, w->chunk.name, count, err) < 0)                                 \
		return -1;
	CV_COLUMN_LIST(X)
#undef X
	add_runs(w, count);
	w->head.rows += count;
	return write_pool(w, false, err) < 0 ? -1 : count < CV_CHUNK_ROWS;
}

/* ---- the rest --------------------------------------------------------------------------------------------------- */

static void put_words(struct cv_snapshot_writer *w, struct cv_buf *out)
{
	const struct cv_mailbox *mailbox = w->mailbox;
	const struct cv_keywords *keywords = &mailbox->keywords;
	uint32_t vanished = 0;

	cv_put_str(out, cv_mailbox_name(mailbox));
	cv_put_u32(out, (uint32_t)keywords->names.count);
	for (size_t i = 0; i < keywords->names.count; i++)
		cv_put_str(out, keywords->names.data[i]);
	cv_put_u32(out, (uint32_t)keywords->sets.count - 1);
	for (size_t i = 1; i < keywords->sets.count; i++) {
		const struct cv_keyword_set *set = &keywords->sets.data[i];

		cv_put_u32(out, (uint32_t)set->count);
		for (size_t j = 0; j < set->count; j++)
			cv_put_u32(out, set->ids[j]);
	}
	/* Later ones are told again by the records above the snapshot. */
	while (vanished < mailbox->vanished.count && mailbox->vanished.data[vanished].modseq <= w->head.seq)
		vanished++;
	cv_put_u32(out, vanished);
	for (uint32_t i = 0; i < vanished; i++) {
		cv_put_u64(out, mailbox->vanished.data[i].modseq);
		cv_put_u32(out, mailbox->vanished.data[i].first);
		cv_put_u32(out, mailbox->vanished.data[i].last);
	}
	w->head.vanished_from = mailbox->vanished_from;
	cv_annotations_put(out, &mailbox->annotations);
}

static void put_checks(const struct cv_snapshot_writer *w, struct cv_buf *out)
{
	for (unsigned i = 0; i < CV_COLUMNS; i++) {
		for (size_t j = 0; j < w->column_checks[i].crcs.count; j++)
			cv_put_u32(out, w->column_checks[i].crcs.data[j]);
	}
	for (size_t j = 0; j < w->pool_checks.crcs.count; j++)
		cv_put_u32(out, w->pool_checks.crcs.data[j]);
}

static void put_head(const struct cv_snapshot_writer *w, uint32_t words_crc, uint32_t checks_crc, uint32_t runs_crc, struct cv_buf *out)
{
	const struct cv_snapshot_head *head = &w->head;
	uint32_t order = CV_SNAPSHOT_ORDER;

	cv_put_u64(out, CV_SNAPSHOT_MAGIC);
	cv_put_u32(out, w->notes_end > 0 ? CV_SNAPSHOT_VERSION : CV_SNAPSHOT_VERSION_NO_NOTES);
	cv_buf_append_mem(out, &order, sizeof(order));
	cv_put_u64(out, head->file_len);
	cv_buf_append_mem(out, head->guid.b, sizeof(head->guid.b));
	cv_put_u64(out, head->seq);
	cv_put_u32(out, head->rows);
	cv_put_u32(out, CV_CHUNK_ROWS);
	cv_put_u32(out, head->uidvalidity);
	cv_put_u32(out, head->special_use);
	cv_put_u32(out, head->uidnext);
	cv_put_u32(out, head->first_recent);
	cv_put_u32(out, head->messages);
	cv_put_u32(out, head->unseen);
	cv_put_u32(out, head->deleted);
	cv_put_u32(out, head->recent);
	cv_put_u32(out, head->first_unseen);
	cv_put_u64(out, head->size);
	cv_put_u64(out, head->highest_modseq);
	cv_put_u64(out, head->vanished_from);
	cv_put_u8(out, head->subscribed ? 1 : 0);
	cv_put_u32(out, CV_COLUMNS);
	for (unsigned i = 0; i < CV_COLUMNS; i++) {
		cv_put_u32(out, widths[i]);
		cv_put_u64(out, head->column_offset[i]);
	}
	cv_put_u64(out, head->pool_offset);
	cv_put_u64(out, head->pool_len);
	cv_put_u64(out, head->words_offset);
	cv_put_u64(out, head->words_len);
	cv_put_u32(out, words_crc);
	cv_put_u64(out, head->checks_offset);
	cv_put_u64(out, head->checks_len);
	cv_put_u32(out, checks_crc);
	cv_put_u64(out, head->notes_offset);
	cv_put_u64(out, head->notes_len);
	cv_put_u32(out, head->notes_count);
	cv_put_u32(out, w->notes_crc);
	cv_put_u64(out, head->runs_offset);
	cv_put_u32(out, head->runs_count);
	cv_put_u32(out, runs_crc);
	while (out->len < CV_SNAPSHOT_HEAD - 4)
		cv_put_u8(out, 0);
	cv_put_u32(out, cv_crc32c(0, out->data, CV_SNAPSHOT_HEAD - 4));
}

/* What is left of the pool, then the annotations of messages behind it. 1 done, 0 time is over. */
static int write_notes(struct cv_snapshot_writer *w, uint64_t deadline_ms, struct cv_err *err)
{
	int ret;

	if (w->notes == NULL) {
		if (write_pool(w, true, err) < 0)
			return -1;
		if (w->mailbox->columns->notes == NULL)
			return 1;
		w->notes = cv_note_writer_new(w->mailbox, w->fd, w->head.pool_offset + w->head.pool_len, w->uid_end);
	}
	ret = cv_note_writer_step(w->notes, deadline_ms, err);
	if (ret > 0)
		w->notes_end = cv_note_writer_end(w->notes, &w->head, &w->notes_crc);
	return ret;
}

/* Where they are worth it: from *end on, which moves behind them. */
static int write_runs(struct cv_snapshot_writer *w, uint64_t *end, uint32_t *crc_r, struct cv_err *err)
{
	struct cv_str octets = cv_str_mem((const char *)w->runs.data, w->runs.count * sizeof(*w->runs.data));

	*crc_r = 0;
	if (w->runs.count == 0 || !runs_are_few(w, w->head.rows))
		return 1;
	w->head.runs_offset = (*end + 7) / 8 * 8;
	w->head.runs_count = (uint32_t)w->runs.count;
	*end = w->head.runs_offset + octets.len;
	*crc_r = cv_crc32c(0, octets.ptr, octets.len);
	return cv_file_pwrite(w->fd, octets, w->head.runs_offset, err);
}

/* Runs, words, checksums, and the head last. */
static int write_rest(struct cv_snapshot_writer *w, struct cv_err *err)
{
	uint64_t end = w->notes_end > 0 ? w->notes_end : w->head.pool_offset + w->head.pool_len;
	struct cv_buf words, checks, head;
	uint32_t runs_crc;
	int ret = write_runs(w, &end, &runs_crc, err);

	cv_buf_init(&words, WORDS_MAX);
	cv_buf_init(&checks, WORDS_MAX);
	cv_buf_init(&head, CV_SNAPSHOT_HEAD);
	put_words(w, &words);
	put_checks(w, &checks);
	if (ret > 0 && (!cv_buf_ok(&words) || !cv_buf_ok(&checks)))
		ret = cv_err_set(err, CV_ERR_LIMIT, "too many keywords");
	w->head.words_offset = end;
	w->head.words_len = words.len;
	w->head.checks_offset = w->head.words_offset + words.len;
	w->head.checks_len = checks.len;
	w->head.file_len = w->head.checks_offset + checks.len;
	put_head(w, cv_crc32c(0, words.data, words.len), cv_crc32c(0, checks.data, checks.len), runs_crc, &head);
	if (ret > 0)
		ret = cv_file_pwrite(w->fd, cv_buf_str(&words), w->head.words_offset, err);
	if (ret > 0)
		ret = cv_file_pwrite(w->fd, cv_buf_str(&checks), w->head.checks_offset, err);
	if (ret > 0)
		ret = cv_file_pwrite(w->fd, cv_buf_str(&head), 0, err);
	if (ret > 0 && w->mailbox->user->storage_args.fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(w->fd, true, err);
	cv_buf_deinit(&words);
	cv_buf_deinit(&checks);
	cv_buf_deinit(&head);
	return ret;
}

int cv_snapshot_step(struct cv_snapshot_writer *w, uint64_t deadline_ms, struct cv_err *err)
{
	int ret = 0;

	if (w->mailbox->gone || w->mailbox->columns == NULL || w->generation != w->mailbox->user->generation)
		return cv_err_set(err, CV_ERR_TEMP, "mailbox was deleted or read anew while its snapshot was written");
	while (!w->settled) {
		ret = settle(w, deadline_ms, err);
		if (ret <= 0)
			return ret;
		w->settled = true;
	}
	while (!w->compact) {
		if (compact(w, deadline_ms) == 0)
			return 0;
		w->compact = true;
	}
	while (!w->gathered) {
		ret = gather(w, err);
		if (ret < 0)
			return -1;
		w->gathered = ret > 0;
		if (cv_time_mono_ms() >= deadline_ms)
			return 0;
	}
	while (!w->noted) {
		ret = write_notes(w, deadline_ms, err);
		if (ret <= 0)
			return ret;
		w->noted = true;
	}
	if (!w->done && write_rest(w, err) < 0)
		return -1;
	w->done = true;
	return 1;
}

int cv_snapshot_finish(struct cv_snapshot_writer *w, struct cv_err *err)
{
	struct cv_mailbox *mailbox = w->mailbox;
	struct cv_user *user = mailbox->user;
	char old[CV_BOX_NAME_MAX];
	size_t kept = 0;

	cv_assert(w->done);
	if (cv_user_owned(user, err) < 0)
		return -1;
	/* Rows may have what is committed but not durable yet. */
	cv_user_flush(user);
	if (cv_journal_sync(&user->journal, err) < 0)
		return -1;
	if (mailbox->gone || w->generation != user->generation)
		return cv_err_set(err, CV_ERR_TEMP, "mailbox was deleted or read anew while its snapshot was written");
	cv_box_name(mailbox, "box", ".old", old);
	if (mailbox->snapshot_seq > 0) {
		struct cv_err rename_err = { 0 };

		if (cv_file_rename(user->index_dir, w->name, user->index_dir, old, true, &rename_err) > 0) {
			mailbox->older_seq = mailbox->snapshot_seq;
			mailbox->older_need = 0;
			for (size_t i = 0; i < mailbox->behind.count && mailbox->older_need == 0; i++) {
				if (mailbox->behind.data[i].seq > mailbox->snapshot_seq)
					mailbox->older_need = mailbox->behind.data[i].seq;
			}
		} else if (rename_err.code != CV_ERR_NOTFOUND) {
			if (err != NULL)
				*err = rename_err;
			return -1;
		}
	}
	if (cv_file_rename(user->index_dir, w->temp, user->index_dir, w->name, true, err) < 0)
		return -1;
	w->finished = true;
	mailbox->snapshot_seq = w->head.seq;
	mailbox->snapshot_size = w->head.file_len;
	mailbox->dirty = 0;
	mailbox->rewrite = false;
	mailbox->behind_octets = 0;
	for (size_t i = 0; i < mailbox->behind.count; i++) {
		if (mailbox->behind.data[i].seq <= w->head.seq)
			continue;
		mailbox->behind_octets += mailbox->behind.data[i].len;
		mailbox->behind.data[kept++] = mailbox->behind.data[i];
	}
	mailbox->behind.count = kept;
	return 1;
}

void cv_snapshot_end(struct cv_snapshot_writer **writer_p)
{
	struct cv_snapshot_writer *w = *writer_p;

	*writer_p = NULL;
	if (w == NULL)
		return;
	if (w->fd >= 0 && !w->finished && cv_file_unlink(w->mailbox->user->index_dir, w->temp, NULL) < 0)
		cv_warn(&w->mailbox->log_ctx, "%s could not be removed; it is written over by the next snapshot", w->temp);
	cv_file_close(&w->fd);
	cv_cache_rewrite_cancel(w->mailbox, &w->new_cache);
	cv_cache_batch_deinit(&w->batch);
	cv_vec_free(&w->moved);
	cv_vec_free(&w->runs);
#define X(name, type) cv_free(w->chunk.name);
	CV_COLUMN_LIST(X)
#undef X
	for (unsigned i = 0; i < CV_COLUMNS; i++)
		cv_vec_free(&w->column_checks[i].crcs);
	cv_vec_free(&w->pool_checks.crcs);
	cv_note_writer_free(&w->notes);
	cv_buf_deinit(&w->pool);
	cv_buf_deinit(&w->record);
	cv_mailbox_unref(&w->mailbox);
	cv_free(w);
}
