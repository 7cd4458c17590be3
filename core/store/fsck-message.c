/* SPDX-License-Identifier: MIT
   Checking a mailbox's messages: parse records, sizes and checksums. What is missing or damaged comes back from the journal, where that has it still. */
#include <config.h>

#include "core/store/fsck-private.h"

#include <string.h>

/* How something ends that repairing does not make whole again. */
static enum cv_fsck_result hopeless(const struct cv_fsck *f)
{
	return f->config.repair ? CV_FSCK_LOST : CV_FSCK_FOUND;
}

/* The message is what its octets are now. */
static void accept(struct cv_fsck *f, uint32_t row, uint64_t size, uint64_t virtual_size, uint32_t sum)
{
	struct cv_columns *columns = f->mailbox->columns;

	cv_set_sum(columns, row, sum);
	cv_set_physical_size(columns, row, size);
	cv_set_virtual_size(columns, row, virtual_size);
	cv_memos_free(&columns->memos); /* orders by size */
	cv_set_cache(columns, row, 0);
	cv_mailbox_recount(f->mailbox);
	f->mailbox->rewrite = f->fold = true;
}

/* What all octets of a message are together. */
struct measure {
	uint64_t size, wire_size;
	uint32_t sum;
};

static int measure(struct cv_message_reader *reader, struct measure *m, struct cv_err *err)
{
	struct cv_str view;
	char last = '\0';
	int ret;

	while ((ret = cv_message_reader_get(reader, m->size, SIZE_MAX, &view, err)) > 0) {
		const char *end = view.ptr + view.len, *p = view.ptr;

		for (; p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++) {
			if ((p > view.ptr ? p[-1] : last) != '\r')
				m->wire_size++;
		}
		last = end[-1];
		m->size += view.len;
		m->sum = cv_crc32c(m->sum, view.ptr, view.len);
	}
	m->wire_size += m->size;
	return ret < 0 ? -1 : 1;
}

/* What is wrong with the message: false, nothing is. */
static bool differs(const struct cv_columns *columns, uint32_t row, const struct measure *m, struct cv_err *why)
{
	uint32_t known = *cv_col_sum(columns, row);
	uint64_t size = *cv_col_physical_size(columns, row);

	if (m->size != size && !(size == 0 && known == 0))
		return cv_err_set(why, CV_ERR_CORRUPT, "it has %llu octets, %llu were saved", (unsigned long long)m->size, (unsigned long long)size) < 0;
	return known != 0 && known != m->sum && cv_err_set(why, CV_ERR_CORRUPT, "its octets are not those that were saved") < 0;
}

/* Texts that are told in replies (texts.h) are those that are made of the record. There need not be any. */
static bool texts_check(struct cv_fsck *f, uint64_t where, uint32_t uid)
{
	struct cv_str octets, texts[CV_TEXTS_MAX];
	struct cv_err ignored = { 0 }; /* what can't be read does not check */
	int ret = cv_cache_is_in_journal(where) ? 0 : cv_cache_texts_of_record(f->mailbox, where, uid, &octets, &ignored);

	if (ret <= 0)
		return ret == 0;
	return !cv_texts_take(f->user, octets, texts) || cv_str_eq(octets, cv_texts_make(f->user, cv_buf_str(&f->record)));
}

static void check_parse_record(struct cv_fsck *f, uint32_t row)
{
	struct cv_columns *columns = f->mailbox->columns;
	uint64_t where = *cv_col_cache(columns, row);
	uint32_t uid = *cv_col_uid(columns, row);
	struct cv_err ignored = { 0 }; /* what can't be read does not check */

	if (where == 0 || (cv_cache_read(f->mailbox, where, uid, &f->record, &ignored) > 0 && texts_check(f, where, uid)))
		return;
	f->bad_records++;
	if (f->config.repair) {
		cv_set_cache(columns, row, 0);
		f->mailbox->rewrite = f->fold = true;
	}
}

/* A message whose file is gone or damaged: 1 the journal has its octets, and the file is made anew where that is wanted; 0 it has them not; -1. */
static int bring_back(struct cv_fsck *f, uint32_t row, const char *problem, struct cv_err *err)
{
	struct cv_columns *columns = f->mailbox->columns;
	uint32_t uid = *cv_col_uid(columns, row);
	int ret = f->config.repair ? cv_landed_restore(f->mailbox, row, err) : cv_landed_has(f->mailbox, row);

	if (ret > 0)
		cv_fsck_tell(f, uid, cv_columns_ref(columns, row), f->config.repair ? CV_FSCK_REPAIRED : CV_FSCK_FOUND, "%s; %s", problem,
			f->config.repair ? "it is made anew from the journal" : "the journal has its octets");
	return ret;
}

/* Made anew from the journal, or taken out of the mailbox. -1: it can't be made just now, and must not be taken out. */
static int file_is_gone(struct cv_fsck *f, uint32_t row, struct cv_err *err)
{
	struct cv_columns *columns = f->mailbox->columns;
	uint32_t uid = *cv_col_uid(columns, row);
	int ret = bring_back(f, row, "its file is gone", err);

	if (ret < 0)
		return cv_err_context(err, "message %u, whose file is gone and whose octets the journal may have", uid);
	if (ret == 0) {
		cv_fsck_tell(f, uid, cv_columns_ref(columns, row), hopeless(f), "its file is gone%s", f->config.repair ? "; it is taken out of the mailbox" : "");
		f->compare = true;
	}
	return 1;
}

/* Made anew from the journal, or taken as it is, or lost. m: NULL, it can't be read. */
static void file_is_bad(struct cv_fsck *f, uint32_t row, const char *problem, const struct measure *m)
{
	struct cv_columns *columns = f->mailbox->columns;
	uint32_t uid = *cv_col_uid(columns, row);
	struct cv_err err = { 0 };
	int ret = bring_back(f, row, problem, &err);

	if (ret < 0) {
		cv_fsck_tell(f, uid, cv_columns_ref(columns, row), CV_FSCK_FOUND, "%s; it could not be made anew: %s", problem, err.text);
	} else if (ret == 0 && m != NULL && f->config.repair && f->config.accept) {
		cv_fsck_tell_later(f, uid, cv_columns_ref(columns, row), "; taken as it is", "%s", problem);
		accept(f, row, m->size, m->wire_size, m->sum);
	} else if (ret == 0) {
		cv_fsck_tell(f, uid, cv_columns_ref(columns, row), hopeless(f), "%s", problem);
	}
}

static void check_octets(struct cv_fsck *f, uint32_t row, const struct measure *m)
{
	struct cv_columns *columns = f->mailbox->columns;
	struct cv_err why = { 0 };

	f->counts.messages++;
	f->counts.octets += m->size;
	if (differs(columns, row, m, &why)) {
		file_is_bad(f, row, why.text, m);
		return;
	}
	if (*cv_col_sum(columns, row) == 0 && m->sum != 0) {
		cv_set_sum(columns, row, m->sum);
		f->mailbox->dirty++;
	}
	cv_set_flags(columns, row, (uint16_t)(*cv_col_flags(columns, row) | CV_ROW_VERIFIED));
}

/* All octets of the message, from its file or from the journal: 1 with *m_r. */
static int read_message(struct cv_fsck *f, uint32_t row, struct measure *m_r, struct cv_err *err)
{
	struct cv_user *user = f->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(f->mailbox);
	struct cv_columns *columns = f->mailbox->columns;
	struct cv_storage_blob blob = { .fd = -1 };
	struct cv_octets octets = { 0 };
	char new_ref[CV_STORAGE_REF_MAX];
	size_t new_len = 0;
	int ret;

	cv_buf_init(&octets.buf, SIZE_MAX / 2);
	ret = cv_owed_open(f->mailbox, *cv_col_uid(columns, row), &blob, err);
	if (ret == 0)
		ret = user->storage->open_ref(user->st, &ref, cv_columns_ref(columns, row), &blob, new_ref, &new_len, err);
	if (ret > 0) {
		if (new_len > 0)
			cv_columns_set_ref(columns, row, cv_str_mem(new_ref, new_len));
		ret = cv_octets_open(user, &octets, &blob, UINT64_MAX, err);
		cv_file_close(&blob.fd);
	}
	if (ret > 0)
		ret = measure(cv_octets_reader(&octets), m_r, err);
	cv_octets_free(&octets);
	return ret;
}

/* 1; 0 time is over before it is known what the journal has of it; -1: it could not be looked at for want of descriptors or memory, which says nothing of it, or not be
   made whole yet. */
static int check_message(struct cv_fsck *f, uint32_t row, uint64_t deadline_ms, struct cv_err *failed)
{
	struct cv_err err = { 0 }, why = { 0 };
	struct measure m = { 0 };
	bool read = read_message(f, row, &m, &err) > 0, gone = err.code == CV_ERR_EXPUNGED || err.code == CV_ERR_NOTFOUND;

	if (!read && err.code == CV_ERR_UNAVAILABLE) {
		*failed = err;
		return -1;
	}
	/* Where others write, it was removed just now: the next look at the folder tells. */
	if (!read && gone && f->user->external) {
		f->mailbox->stamp_known = false;
		check_parse_record(f, row);
		return 1;
	}
	if (!read || differs(f->mailbox->columns, row, &m, &why)) {
		int ret = cv_landed_look(f->user, deadline_ms, failed);

		if (ret <= 0)
			return ret;
	}
	check_parse_record(f, row);
	if (read)
		check_octets(f, row, &m);
	else if (gone)
		return file_is_gone(f, row, failed);
	else {
		(void)cv_err_context(&err, "it can't be read");
		file_is_bad(f, row, err.text, NULL);
	}
	return 1;
}

int cv_fsck_messages(struct cv_fsck *f, uint64_t deadline_ms, struct cv_err *err)
{
	struct cv_columns *columns = f->mailbox->columns;
	uint32_t row = cv_columns_from(columns, f->next_uid);

	for (; row < columns->count; row++) {
		int ret = cv_row_live(columns, row) ? check_message(f, row, deadline_ms, err) : 1;

		if (ret <= 0)
			return ret;
		f->next_uid = *cv_col_uid(columns, row) + 1;
		if (cv_time_mono_ms() >= deadline_ms)
			return 0;
	}
	return 1;
}
