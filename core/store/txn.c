/* SPDX-License-Identifier: MIT
   Transactions: collecting changes. What they do is worked out in commit-record.c. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

struct cv_txn *cv_txn_begin(struct cv_user *user)
{
	struct cv_arena *arena = cv_arena_new("transaction", NULL, 0);
	struct cv_txn *txn = cv_new(arena, struct cv_txn, 1);

	txn->arena = arena;
	txn->user = user;
	txn->id = ++user->next_txn;
	cv_list_init(&txn->saves);
	return txn;
}

uint64_t cv_txn_id(const struct cv_txn *txn)
{
	return txn->id;
}

struct cv_op *cv_txn_add(struct cv_txn *txn, enum cv_op_kind kind, struct cv_mailbox *mailbox)
{
	struct cv_op *op = cv_vec_push(&txn->ops);

	op->kind = kind;
	op->mailbox = mailbox;
	op->losses = txn->user->storage_losses;
	if (mailbox != NULL)
		cv_mailbox_ref(mailbox);
	if (kind == CV_OP_TXN_SAVE || kind == CV_OP_TXN_COPY)
		mailbox->uids_held++;
	return op;
}

void cv_txn_add_entry(struct cv_txn *txn, const struct cv_entry *entry)
{
	cv_txn_add(txn, CV_OP_TXN_ENTRY, NULL)->entry = *entry;
}

void cv_txn_free(struct cv_txn *txn)
{
	struct cv_node *node, *tmp;

	cv_list_foreach(&txn->saves, node, tmp)
		cv_save_free(cv_container(node, struct cv_save, node));
	for (size_t i = 0; i < txn->ops.count; i++) {
		struct cv_op *op = &txn->ops.data[i];

		if (op->kind == CV_OP_TXN_SAVE || op->kind == CV_OP_TXN_COPY)
			op->mailbox->uids_held--;
		cv_mailbox_unref(&op->mailbox);
		cv_mailbox_unref(&op->from);
		cv_ranges_free(&op->uids);
		cv_vec_free(&op->copied);
		if (op->save != NULL)
			cv_save_free(op->save);
	}
	cv_vec_free(&txn->ops);
	for (size_t i = 0; i < txn->events.count; i++) {
		cv_mailbox_unref(&txn->events.data[i].mailbox);
		cv_ranges_free(&txn->events.data[i].event.uids);
		cv_free(txn->events.data[i].event.names);
	}
	cv_vec_free(&txn->events);
	for (size_t i = 0; i < txn->touched.count; i++)
		cv_mailbox_unref(&txn->touched.data[i]);
	cv_vec_free(&txn->touched);
	cv_vec_free(&txn->touched_kinds);
	cv_arena_free(&txn->arena);
}

/* Octets that the transaction has put into storage and that no record will name. */
static void remove_octets(struct cv_txn *txn)
{
	struct cv_user *user = txn->user;

	for (size_t i = 0; i < txn->ops.count; i++) {
		struct cv_op *op = &txn->ops.data[i];
		CV_VEC(struct cv_str) refs = { 0 };
		struct cv_mailbox_ref mailbox;
		struct cv_err err = { 0 };

		for (size_t j = 0; !op->later && j < op->copied.count; j++)
			*cv_vec_push(&refs) = op->copied.data[j].ref;
		if (op->save != NULL && !op->save->held)
			*cv_vec_push(&refs) = op->save->message.ref;
		if (refs.count > 0 && !op->mailbox->gone) {
			mailbox = cv_mailbox_storage_ref(op->mailbox);
			if (user->storage->remove(user->st, &mailbox, refs.data, refs.count, &err) < 0)
				cv_warn(&op->mailbox->log_ctx, "octets of a transaction that was given up stay: %s", err.text);
		}
		cv_vec_free(&refs);
	}
}

void cv_txn_rollback(struct cv_txn **txn_p)
{
	struct cv_txn *txn = *txn_p;

	*txn_p = NULL;
	if (txn == NULL)
		return;
	remove_octets(txn);
	cv_txn_free(txn);
}

int cv_txn_fail(struct cv_txn *txn, const struct cv_err *err)
{
	if (!txn->failed && err != NULL)
		txn->failure = *err;
	txn->failed = true;
	return -1;
}

int cv_txn_usable(struct cv_txn *txn, struct cv_mailbox *mailbox, struct cv_err *err)
{
	cv_assert(mailbox->user == txn->user);
	if (mailbox->gone)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	return cv_mailbox_load(mailbox, err);
}

static int check_keywords(struct cv_mailbox *mailbox, const struct cv_str *keywords, size_t count, bool make, struct cv_err *err)
{
	const struct cv_store_settings *set = mailbox->user->set;
	size_t new = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t id;

		if (keywords[i].len == 0 || keywords[i].len > set->mail_max_keyword_length)
			return cv_err_set_public(err, CV_ERR_LIMIT, "Keyword is too long");
		if (make && !cv_keyword_id(&mailbox->keywords, keywords[i], false, &id))
			new++;
	}
	if (new > 0 && mailbox->keywords.names.count + new > set->mail_max_keywords)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Too many different keywords in this mailbox");
	return 1;
}

/* RFC 4314 section 4: a change fails only when none of it is allowed; else what is not allowed is left out of it. */
static int allow_flags(struct cv_txn *txn, struct cv_mailbox *mailbox, struct cv_flags_change *change, struct cv_err *err)
{
	bool none = (change->flags & CV_FLAG_ALL) == 0 && change->keyword_count == 0;
	unsigned rights;
	uint16_t flags;

	if (cv_txn_rights(txn, mailbox, &rights, err) < 0)
		return -1;
	if (rights == CV_RIGHT_ALL)
		return 1;
	flags = cv_rights_flags(rights);
	change->flags &= flags;
	if ((rights & CV_RIGHT_WRITE) == 0) {
		change->keyword_count = 0;
		change->keep_keywords = true;
	}
	change->keep_flags |= (uint16_t)(CV_FLAG_ALL & ~flags);
	if (change->op == CV_FLAGS_REPLACE ? flags != 0 : none || change->flags != 0 || change->keyword_count > 0)
		return 1;
	return cv_err_set_public(err, CV_ERR_PERM, "Permission denied");
}

void cv_txn_take_uids(struct cv_op *op, const struct cv_ranges *uids, struct cv_ranges *failed, struct cv_ranges *gone)
{
	struct cv_columns *columns = op->mailbox->columns;

	for (size_t i = 0; i < uids->count; i++) {
		uint32_t row = cv_columns_from(columns, uids->data[i].first), next = uids->data[i].first;

		for (; row < columns->count && *cv_col_uid(columns, row) <= uids->data[i].last; row++) {
			uint32_t uid = *cv_col_uid(columns, row);

			if (!cv_row_live(columns, row))
				continue;
			if (gone != NULL && uid > next)
				cv_ranges_add(gone, next, uid - 1);
			next = uid + 1;
			if (op->unchanged_since_set && *cv_col_modseq(columns, row) > op->unchanged_since) {
				if (failed != NULL)
					cv_ranges_add(failed, uid, uid);
				continue;
			}
			cv_ranges_add(&op->uids, uid, uid);
		}
		if (gone != NULL && next <= uids->data[i].last && next != 0)
			cv_ranges_add(gone, next, uids->data[i].last);
	}
}

int cv_txn_flags(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_ranges *uids, const struct cv_flags_change *change,
	struct cv_ranges *failed, struct cv_ranges *gone, struct cv_err *err)
{
	struct cv_flags_change allowed = *change;
	struct cv_op *op;

	if (cv_txn_usable(txn, mailbox, err) < 0 || allow_flags(txn, mailbox, &allowed, err) < 0)
		return cv_txn_fail(txn, err);
	change = &allowed;
	if (check_keywords(mailbox, change->keywords, change->keyword_count, change->op != CV_FLAGS_REMOVE, err) < 0)
		return cv_txn_fail(txn, err);
	op = cv_txn_add(txn, CV_OP_TXN_FLAGS, mailbox);
	op->flags_op = change->op;
	op->flags = change->flags & CV_FLAG_ALL;
	op->keywords = cv_new(txn->arena, struct cv_str, change->keyword_count + 1);
	op->keyword_count = change->keyword_count;
	for (size_t i = 0; i < change->keyword_count; i++)
		op->keywords[i] = cv_arena_str(txn->arena, change->keywords[i]);
	op->change = *change;
	op->change.keywords = op->keywords;
	op->unchanged_since_set = change->unchanged_since_set;
	op->unchanged_since = change->unchanged_since;
	cv_txn_take_uids(op, uids, failed, gone);
	return 1;
}

/* What lies in its folder is looked through before something of it goes: later a file that a power cut brings back would be taken for a new message. */
static int look_through(struct cv_mailbox *mailbox, struct cv_err *err)
{
	return mailbox->take_over ? cv_mailbox_refresh(mailbox, err) : 1;
}

int cv_txn_expunge(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_ranges *uids, struct cv_err *err)
{
	struct cv_op *op;
	unsigned rights;

	if (cv_txn_usable(txn, mailbox, err) < 0 || cv_txn_may(txn, mailbox, CV_RIGHT_EXPUNGE, &rights, err) < 0 || look_through(mailbox, err) < 0)
		return cv_txn_fail(txn, err);
	op = cv_txn_add(txn, CV_OP_TXN_EXPUNGE, mailbox);
	for (size_t i = 0; i < uids->count; i++)
		cv_ranges_add(&op->uids, uids->data[i].first, uids->data[i].last);
	return 1;
}

int cv_txn_set_pop3_uidl(struct cv_txn *txn, struct cv_mailbox *mailbox, uint32_t uid, struct cv_str uidl, struct cv_err *err)
{
	struct cv_entry entry = { .kind = CV_ENTRY_UIDL, .mailbox = mailbox->guid, .uid = uid };
	uint32_t row;

	if (cv_txn_usable(txn, mailbox, err) < 0)
		return cv_txn_fail(txn, err);
	cv_assert(uidl.len > 0 && uidl.len <= 1000);
	if (!cv_columns_find(mailbox->columns, uid, UINT32_MAX, &row) || !cv_row_live(mailbox->columns, row))
		return 1;
	entry.name = cv_arena_str(txn->arena, uidl);
	cv_txn_add_entry(txn, &entry);
	return 1;
}

/* Octets of one message into the target, by the storage module or by hand. */
static int copy_octets(struct cv_user *user, const struct cv_mailbox_ref *from, struct cv_str ref, const struct cv_mailbox_ref *to,
	const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err)
{
	struct cv_err copy_err = { 0 };

	if (user->storage->copy != NULL) {
		if (user->storage->copy(user->st, from, ref, to, meta, ref_r, ref_len_r, &copy_err) >= 0)
			return 1;
		if (copy_err.code != CV_ERR_UNSUPPORTED) {
			*err = copy_err;
			return -1;
		}
	}
	return cv_storage_copy_octets(user, from, ref, to, meta, ref_r, ref_len_r, err);
}

int cv_storage_copy_octets(struct cv_user *user, const struct cv_mailbox_ref *from, struct cv_str ref, const struct cv_mailbox_ref *to,
	const struct cv_storage_meta *meta, char *ref_r, size_t *ref_len_r, struct cv_err *err)
{
	struct cv_storage_blob blob = { .fd = -1 };
	char moved[CV_STORAGE_REF_MAX], chunk[65536];
	size_t moved_len = 0, n;
	uint64_t done = 0;
	void *save;

	if (user->storage->open_ref(user->st, from, ref, &blob, moved, &moved_len, err) < 0)
		return -1;
	if (user->storage->save_begin(user->st, to, blob.len, &save, err) < 0) {
		cv_file_close(&blob.fd);
		return -1;
	}
	while (done < blob.len) {
		size_t want = blob.len - done > sizeof(chunk) ? sizeof(chunk) : (size_t)(blob.len - done);

		if (cv_file_pread(blob.fd, chunk, want, blob.offset + done, &n, err) < 0)
			break;
		if (n == 0) {
			cv_err_set(err, CV_ERR_CORRUPT, "message is shorter than known");
			break;
		}
		if (user->storage->save_write(save, cv_str_mem(chunk, n), err) < 0)
			break;
		done += n;
	}
	cv_file_close(&blob.fd);
	if (done < blob.len) {
		user->storage->save_abort(save);
		return -1;
	}
	if (user->storage->save_finish(save, meta, ref_r, ref_len_r, err) < 0) {
		if (err->code == CV_ERR_EXISTS)
			user->storage->save_abort(save);
		return -1;
	}
	return 1;
}

const char **cv_row_keyword_list(struct cv_arena *arena, const struct cv_mailbox *mailbox, uint32_t set)
{
	size_t count;
	const struct cv_str *names = cv_row_keywords(mailbox, set, &count);
	const char **list = cv_new(arena, const char *, count + 1);

	for (size_t i = 0; i < count; i++)
		list[i] = cv_arena_cstr(arena, names[i]);
	return list;
}

static int gone_error(struct cv_err *err)
{
	return cv_err_set_public(err, CV_ERR_EXPUNGED, "Some of the messages no longer exist");
}

static int copy_one(struct cv_txn *txn, struct cv_op *op, uint32_t row, struct cv_err *err)
{
	struct cv_mailbox *from = op->from, *to = op->mailbox;
	struct cv_columns *columns = from->columns;
	struct cv_mailbox_ref from_ref = cv_mailbox_storage_ref(from), to_ref = cv_mailbox_storage_ref(to);
	struct cv_storage_meta meta = {
		.internal_date = *cv_col_date(columns, row),
		.size = *cv_col_physical_size(columns, row),
		.virtual_size = *cv_col_virtual_size(columns, row),
		.flags = *cv_col_flags(columns, row) & CV_FLAG_ALL,
		.keywords = cv_row_keyword_list(txn->arena, from, *cv_col_keyword_set(columns, row)),
		.pop3_uidl = cv_arena_str(txn->arena, cv_columns_uidl(columns, row)),
		.orig_mailbox = cv_arena_str(txn->arena, cv_mailbox_name(from)),
	};
	struct cv_copied *copied, made = { .from_uid = *cv_col_uid(columns, row), .guid = *cv_col_guid(columns, row) };
	char ref[CV_STORAGE_REF_MAX];
	size_t ref_len = 0;
	int ret;

	memcpy(meta.guid, made.guid.b, sizeof(meta.guid));
	if (cv_save_copy_hooks(txn, op, row, &meta, &made, err) < 0)
		return -1;
	/* A hook may have made room, just here. */
	columns = from->columns;
	if (from->gone || to->gone || columns == NULL || !cv_columns_find(columns, made.from_uid, row, &row) || !cv_row_live(columns, row))
		return gone_error(err);
	do {
		if (cv_mailbox_take_uid(to, &meta.uid, err) < 0)
			return -1;
		ret = op->later ? txn->user->storage->copy_ref(txn->user->st, &to_ref, &meta, ref, &ref_len, err) :
			copy_octets(txn->user, &from_ref, cv_columns_ref(columns, row), &to_ref, &meta, ref, &ref_len, err);
	} while (ret < 0 && err->code == CV_ERR_EXISTS);
	if (ret < 0)
		return -1;
	copied = cv_vec_push(&op->copied);
	*copied = made;
	copied->to_uid = meta.uid;
	copied->ref = cv_arena_str(txn->arena, cv_str_mem(ref, ref_len));
	return 1;
}

/* Copy waits for nothing that is gone; move passes it over. */
static int copy_range(struct cv_txn *txn, struct cv_op *op, struct cv_range range, struct cv_ranges *old_r, struct cv_ranges *new_r,
	struct cv_err *err)
{
	uint32_t row = cv_columns_from(op->from->columns, range.first), next = range.first;
	uint32_t end = op->from->uidnext; /* what hooks add meanwhile is not meant */

	while (row < op->from->columns->count && *cv_col_uid(op->from->columns, row) <= range.last) {
		uint32_t uid = *cv_col_uid(op->from->columns, row);

		if (uid >= end)
			break;
		if (!cv_row_live(op->from->columns, row)) {
			row++;
			continue;
		}
		if (!op->move && uid != next)
			return gone_error(err);
		next = uid + 1;
		if (copy_one(txn, op, row, err) < 0)
			return -1;
		row = txn->user->save_hook ? cv_columns_from(op->from->columns, next) : row + 1;
		if (old_r != NULL)
			cv_ranges_add(old_r, uid, uid);
		if (new_r != NULL)
			cv_ranges_add(new_r, op->copied.data[op->copied.count - 1].to_uid, op->copied.data[op->copied.count - 1].to_uid);
	}
	return op->move || next > range.last ? 1 : gone_error(err);
}

/* Can the copies be made after they were recorded? What they are made of has files then, when not. */
static int choose_way(struct cv_op *op, struct cv_err *err)
{
	struct cv_user *user = op->from->user;
	struct cv_mailbox_ref from = cv_mailbox_storage_ref(op->from), to = cv_mailbox_storage_ref(op->mailbox);
	struct cv_err why = { 0 };

	if (cv_mailbox_may_lack_folder(op->from))
		return 1; /* there is nothing to be copied */
	if (cv_mailbox_make_first_folder(op->mailbox, err) < 0)
		return -1;
	if (user->storage->copy_later != NULL) {
		op->later = user->storage->copy_later(user->st, &from, &to, &why) > 0;
		if (!op->later && why.code != CV_ERR_UNSUPPORTED) {
			*err = why;
			return -1;
		}
	}
	return op->later ? 1 : cv_owed_all(user, err);
}

int cv_txn_copy(struct cv_txn *txn, struct cv_mailbox *from, const struct cv_ranges *uids, struct cv_mailbox *to, bool move,
	struct cv_ranges *old_uids_r, struct cv_ranges *new_uids_r, struct cv_err *err)
{
	struct cv_op *op;
	unsigned rights;

	/* RFC 6851 section 4.2: for MOVE "the union of the ACL rights required for UID STORE, UID COPY, and UID EXPUNGE". */
	if (cv_txn_usable(txn, from, err) < 0 || cv_txn_usable(txn, to, err) < 0 ||
		(move && (cv_txn_may(txn, from, CV_RIGHT_DELETED | CV_RIGHT_EXPUNGE, &rights, err) < 0 || look_through(from, err) < 0)) ||
		cv_txn_may(txn, to, CV_RIGHT_INSERT, &rights, err) < 0)
		return cv_txn_fail(txn, err);
	op = cv_txn_add(txn, CV_OP_TXN_COPY, to);
	op->rights = rights;
	op->from = from;
	cv_mailbox_ref(from);
	op->move = move;
	if (choose_way(op, err) < 0)
		return cv_txn_fail(txn, err);
	for (size_t i = 0; i < uids->count; i++) {
		if (copy_range(txn, op, uids->data[i], old_uids_r, new_uids_r, err) < 0)
			return cv_txn_fail(txn, err);
	}
	return 1;
}
