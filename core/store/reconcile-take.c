/* SPDX-License-Identifier: MIT
   What a comparison of a mailbox with its storage has found becomes records of the journal. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/reconcile.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 500            /* new messages in one record */
#define SLICE_MS 500         /* new messages are taken for so long at a time when others wait */
#define PARSE_MAX 100        /* so many new messages are parsed at once; of more only what is asked for */

/* All rows that got these flags and keywords, as one operation. */
struct alike {
	uint16_t flags;
	uint32_t set;
	struct cv_ranges uids;
};

static int add_flags(struct cv_reconcile *r, struct cv_txn *txn, struct cv_err *err)
{
	struct cv_mailbox *mailbox = r->mailbox;
	struct cv_map *by_value = cv_map_new();
	CV_VEC(struct alike) groups = { 0 };
	int ret = 1;

	for (uint32_t row = 0; row < r->rows; row++) {
		const uint32_t value[2] = { r->new_flags[row], r->new_set[row] };
		uint32_t uid = *cv_col_uid(mailbox->columns, row);
		uintptr_t index;

		if (r->changed[row] == 0)
			continue;
		index = (uintptr_t)cv_map_get(by_value, cv_str_mem(value, sizeof(value)));
		if (index == 0) {
			*cv_vec_push(&groups) = (struct alike){ .flags = r->new_flags[row], .set = r->new_set[row] };
			index = groups.count;
			cv_map_set(by_value, cv_str_mem(value, sizeof(value)), (void *)index);
		}
		cv_ranges_add(&groups.data[index - 1].uids, uid, uid);
	}
	for (size_t i = 0; i < groups.count; i++) {
		struct cv_flags_change change = { .op = CV_FLAGS_REPLACE, .flags = groups.data[i].flags };

		change.keywords = cv_row_keywords(mailbox, groups.data[i].set, &change.keyword_count);
		if (ret > 0)
			ret = cv_txn_flags(txn, mailbox, &groups.data[i].uids, &change, NULL, NULL, err);
		cv_ranges_free(&groups.data[i].uids);
	}
	cv_vec_free(&groups);
	cv_map_free(&by_value);
	return ret;
}

/* Is the message of a row that the scan did not see really gone? Where others do not write, a file that can't be read stays a message. */
static int is_gone(struct cv_reconcile *r, uint32_t row, struct cv_err *err)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(r->mailbox);
	struct cv_storage_blob blob = { .fd = -1 };
	struct cv_err open_err = { 0 };
	char new_ref[CV_STORAGE_REF_MAX];
	size_t new_len = 0;

	(void)err;
	if (cv_owed_is(r->mailbox, *cv_col_uid(r->mailbox->columns, row)))
		return 0; /* it could not be made yet */
	if (user->external)
		return 1;
	if (user->storage->open_ref(user->st, &ref, cv_columns_ref(r->mailbox->columns, row), &blob, new_ref, &new_len, &open_err) < 0)
		return open_err.code == CV_ERR_EXPUNGED || open_err.code == CV_ERR_NOTFOUND;
	cv_file_close(&blob.fd);
	return 0;
}

int cv_reconcile_changes(struct cv_reconcile *r, struct cv_err *err)
{
	struct cv_mailbox *mailbox = r->mailbox;
	struct cv_ranges gone = { 0 };
	struct cv_txn *txn = NULL;
	int ret = 1;

	for (uint32_t row = 0; ret > 0 && row < r->rows; row++) {
		uint32_t uid = *cv_col_uid(mailbox->columns, row);

		if (r->seen[row] == 0 && cv_row_live(mailbox->columns, row) && is_gone(r, row, err) > 0)
			cv_ranges_add(&gone, uid, uid);
	}
	if (gone.count == 0 && r->changed == NULL)
		return 1;
	txn = cv_txn_begin(mailbox->user);
	txn->internal = txn->from_storage = true;
	if (r->changed != NULL)
		ret = add_flags(r, txn, err);
	if (ret > 0 && gone.count > 0) {
		if (r->lossy)
			cv_error(&mailbox->log_ctx, "%llu messages have no octets any more", (unsigned long long)cv_ranges_numbers(&gone));
		ret = cv_txn_expunge(txn, mailbox, &gone, err);
	}
	cv_ranges_free(&gone);
	if (ret > 0)
		return cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
	cv_txn_rollback(&txn);
	return -1;
}

/* Does the UID that the format knows serve? */
static bool uid_fits(const struct cv_reconcile *r, uint32_t uid)
{
	const struct cv_mailbox *mailbox = r->mailbox;
	uint32_t row;

	if (uid == 0 || uid >= UINT32_MAX / 2)
		return false;
	if (uid >= CV_MAX(mailbox->uid_reserved, mailbox->uidnext))
		return true;
	return (r->lossy || r->fresh) && !cv_columns_find(mailbox->columns, uid, UINT32_MAX, &row);
}

/* Those with UIDs first, in their order; then as they came. */
static int compare_found(const void *a, const void *b)
{
	const struct cv_found_file *x = a, *y = b;
	size_t len = CV_MIN(x->ref.len, y->ref.len);
	int by_ref;

	if (x->uid != y->uid)
		return x->uid - 1 < y->uid - 1 ? -1 : 1; /* 0 is last */
	if (x->date != y->date)
		return x->date < y->date ? -1 : 1;
	by_ref = memcmp(x->ref.ptr, y->ref.ptr, len);
	return by_ref != 0 ? by_ref : (x->ref.len > y->ref.len) - (x->ref.len < y->ref.len);
}

/* Sizes without more: every LF that has no CR before it is sent as two octets. */
static int count_wire(struct cv_found_file *found, struct cv_message_reader *reader, struct cv_err *err)
{
	uint64_t extra = 0, pos = 0;
	struct cv_str view;
	char last = '\0';
	int ret;

	while ((ret = cv_message_reader_get(reader, pos, SIZE_MAX, &view, err)) > 0) {
		const char *end = view.ptr + view.len, *p = view.ptr;

		while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
			if ((p > view.ptr ? p[-1] : last) != '\r')
				extra++;
			p++;
		}
		last = end[-1];
		pos += view.len;
	}
	if (ret < 0)
		return -1;
	found->size = pos;
	found->virtual_size = pos + extra;
	return 1;
}

static int parse_found(struct cv_found_file *found, struct cv_message_reader *reader, struct cv_arena *arena, struct cv_str *parse_r, struct cv_err *err)
{
	struct cv_arena *parsing = cv_arena_new("parse", NULL, 0);
	struct cv_message *message;
	struct cv_buf record;
	int ret = cv_message_parse(parsing, NULL, reader, &message, err);

	if (ret > 0) {
		found->size = message->size;
		found->virtual_size = message->wire_size;
		cv_buf_init(&record, CV_PARSE_RECORD_MAX);
		cv_parse_record_build(message, &record);
		if (cv_buf_ok(&record))
			*parse_r = cv_arena_str(arena, cv_buf_str(&record));
		cv_buf_deinit(&record);
	}
	cv_arena_free(&parsing);
	return ret;
}

/* It can't be read: the rest of the mailbox can. */
static int unreadable(const struct cv_reconcile *r, struct cv_found_file *found, const struct cv_err *why, struct cv_err *err)
{
	if (why->code == CV_ERR_TEMP || why->code == CV_ERR_UNAVAILABLE) {
		*err = *why;
		return -1;
	}
	cv_warn(&r->mailbox->log_ctx, "new message %s can't be looked at: %s", cv_log_clean(found->ref), why->text);
	found->virtual_size = CV_MAX(found->virtual_size, found->size);
	return 1;
}

/* Size and what is parsed of it, from its octets. 0: it is gone again. */
static int look_at(struct cv_reconcile *r, struct cv_found_file *found, bool want_parse, struct cv_arena *arena, struct cv_str *parse_r, struct cv_err *err)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref mailbox = cv_mailbox_storage_ref(r->mailbox);
	struct cv_storage_blob blob = { .fd = -1 };
	struct cv_err open_err = { 0 };
	struct cv_octets octets = { 0 };
	char new_ref[CV_STORAGE_REF_MAX];
	size_t new_len = 0;
	int ret;

	*parse_r = (struct cv_str){ 0 };
	if (!want_parse && found->virtual_size > 0)
		return 1;
	if (user->storage->open_ref(user->st, &mailbox, found->ref, &blob, new_ref, &new_len, &open_err) < 0) {
		if (open_err.code == CV_ERR_EXPUNGED || open_err.code == CV_ERR_NOTFOUND)
			return 0;
		return unreadable(r, found, &open_err, err);
	}
	cv_buf_init(&octets.buf, SIZE_MAX / 2);
	ret = cv_octets_open(user, &octets, &blob, UINT64_MAX, &open_err);
	cv_file_close(&blob.fd);
	if (ret > 0 && new_len > 0)
		found->ref = cv_arena_str(r->arena, cv_str_mem(new_ref, new_len));
	if (ret > 0 && want_parse)
		ret = parse_found(found, cv_octets_reader(&octets), arena, parse_r, &open_err);
	else if (ret > 0)
		ret = count_wire(found, cv_octets_reader(&octets), &open_err);
	if (ret > 0 && !octets.transformed)
		ret = cv_octets_sum(&octets, &found->sum, &open_err);
	cv_octets_free(&octets);
	return ret > 0 ? 1 : unreadable(r, found, &open_err, err);
}

/* Tell the storage: UIDs that it did not know, and that these are recorded. */
static void tell_storage(struct cv_reconcile *r, size_t first, size_t end, const bool *told)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref mailbox = cv_mailbox_storage_ref(r->mailbox);
	CV_VEC(struct cv_storage_found) assigned = { 0 };
	CV_VEC(struct cv_str) confirmed = { 0 };
	struct cv_err err = { 0 };

	for (size_t i = first; i < end; i++) {
		const struct cv_found_file *found = &r->found.data[i];
		struct cv_storage_found *a;

		if (found->uid == 0)
			continue;
		if (found->unconfirmed)
			*cv_vec_push(&confirmed) = found->ref;
		if (told[i - first])
			continue;
		a = cv_vec_push(&assigned);
		a->ref = found->ref;
		a->meta = (struct cv_storage_meta){ .uid = found->uid, .internal_date = found->date, .size = found->size,
			.virtual_size = found->virtual_size, .flags = found->flags, .pop3_uidl = found->uidl };
		memcpy(a->meta.guid, found->guid.b, sizeof(a->meta.guid));
	}
	if (assigned.count > 0 && user->storage->assigned != NULL &&
		user->storage->assigned(user->st, &mailbox, assigned.data, assigned.count, &err) < 0)
		cv_warn(&r->mailbox->log_ctx, "the storage does not keep the UIDs of new messages: %s", err.text);
	if (confirmed.count > 0 && user->storage->recorded != NULL &&
		user->storage->recorded(user->st, &mailbox, confirmed.data, confirmed.count, &err) < 0)
		cv_warn(&r->mailbox->log_ctx, "%s (done again when the message is read)", err.text);
	cv_vec_free(&assigned);
	cv_vec_free(&confirmed);
}

/* One record of new messages. */
static int take_batch(struct cv_reconcile *r, size_t first, size_t end, struct cv_err *err)
{
	struct cv_mailbox *mailbox = r->mailbox;
	struct cv_txn *txn = cv_txn_begin(mailbox->user);
	bool told[BATCH] = { false };
	bool parse = r->found.count <= PARSE_MAX;
	int64_t now = cv_time_now_sec();
	int ret = 1;

	txn->internal = txn->from_storage = true;
	for (size_t i = first; ret >= 0 && i < end; i++) {
		struct cv_found_file *found = &r->found.data[i];
		bool own = found->uid != 0 && uid_fits(r, found->uid) && (i == 0 || found->uid != r->found.data[i - 1].uid);
		struct cv_entry entry = { .kind = CV_ENTRY_APPEND, .mailbox = mailbox->guid };
		struct cv_buf keywords;

		if (!own)
			found->uid = 0;
		ret = look_at(r, found, parse, txn->arena, &entry.message.parse, err);
		if (ret <= 0) {
			found->uid = 0;
			continue;
		}
		if (own)
			mailbox->uid_reserved = CV_MAX(mailbox->uid_reserved, found->uid + 1);
		else
			ret = cv_mailbox_take_uid(mailbox, &found->uid, err);
		if (ret < 0)
			break;
		told[i - first] = own;
		cv_buf_init(&keywords, 1 << 20);
		cv_keyword_set_encode(&mailbox->keywords, found->set, &keywords);
		entry.message.keywords = cv_arena_str(txn->arena, cv_buf_str(&keywords));
		cv_buf_deinit(&keywords);
		entry.message.uid = found->uid;
		entry.message.flags = found->flags;
		entry.message.zone = (int16_t)cv_time_local_offset_min(found->date);
		entry.message.date = found->date;
		entry.message.saved = now;
		entry.message.physical_size = found->size;
		entry.message.virtual_size = found->virtual_size;
		entry.message.guid = found->guid;
		entry.message.ref = found->ref;
		entry.message.uidl = found->uidl;
		entry.message.sum = found->sum;
		cv_txn_add_entry(txn, &entry);
	}
	if (ret < 0) {
		cv_txn_rollback(&txn);
		return -1;
	}
	if (cv_txn_commit_wait(&txn, err) < 0)
		return -1;
	tell_storage(r, first, end, told);
	return 1;
}

int cv_reconcile_new(struct cv_reconcile *r, struct cv_err *err)
{
	struct cv_mailbox *mailbox = r->mailbox;
	uint64_t start = cv_time_mono_ms();

	if (r->found.count == 0)
		return 1;
	if (mailbox->uids_held > 0)
		return 0; /* a UID that was given to a message on its way would be overtaken */
	for (size_t i = 0; i < r->found.count; i++) {
		if (!uid_fits(r, r->found.data[i].uid))
			r->found.data[i].uid = 0;
	}
	qsort(r->found.data, r->found.count, sizeof(*r->found.data), compare_found);
	for (size_t i = 0; i < r->found.count; i += BATCH) {
		if (i > 0 && mailbox->user->loop != NULL && cv_time_mono_ms() - start > SLICE_MS)
			return 0;
		if (take_batch(r, i, CV_MIN(i + BATCH, r->found.count), err) < 0)
			return -1;
		if (mailbox->gone)
			return 1;
	}
	if (r->lossy)
		cv_warn(&mailbox->log_ctx, "%zu messages were found and taken in", r->found.count);
	else
		cv_debug(&mailbox->log_ctx, "%zu new messages were found", r->found.count);
	return 1;
}

void cv_reconcile_confirm(struct cv_reconcile *r)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(r->mailbox);
	struct cv_err err = { 0 };

	if (r->confirm.count > 0 && user->storage->recorded != NULL &&
		user->storage->recorded(user->st, &ref, r->confirm.data, r->confirm.count, &err) < 0)
		cv_warn(&r->mailbox->log_ctx, "%s (done again when the message is read)", err.text);
}
