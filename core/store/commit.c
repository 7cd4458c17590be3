/* SPDX-License-Identifier: MIT
   From a transaction to its place in the queue: everything that can make it impossible is found first (check), then its record is made (commit-record.c). What
   is in the queue is made durable, shown and told together (flush.c). */
#include <config.h>

#include "core/store/commit.h"

#include <string.h>

/* ---- checking ------------------------------------------------------------------------------------------------ */

static int overtaken(struct cv_err *err)
{
	return cv_err_set_public(err, CV_ERR_TEMP, "Another change came first, please try again");
}

static int check_copy(const struct cv_op *op, struct cv_err *err)
{
	uint32_t row;

	cv_assert(op->from != NULL && op->mailbox != NULL);
	for (size_t i = 0; i < op->copied.count; i++) {
		const struct cv_copied *copied = &op->copied.data[i];

		if (!cv_columns_find(op->from->columns, copied->from_uid, UINT32_MAX, &row) || !cv_row_live(op->from->columns, row))
			return op->move ? overtaken(err) : cv_err_set_public(err, CV_ERR_EXPUNGED, "Some of the messages no longer exist");
		if (copied->to_uid < op->mailbox->uidnext)
			return overtaken(err);
	}
	return 1;
}

static int check_flags(const struct cv_op *op, struct cv_err *err)
{
	struct cv_columns *columns = op->mailbox->columns;

	for (size_t i = 0; op->unchanged_since_set && i < op->uids.count; i++) {
		uint32_t row = cv_columns_from(columns, op->uids.data[i].first);

		for (; row < columns->count && *cv_col_uid(columns, row) <= op->uids.data[i].last; row++) {
			if (cv_row_live(columns, row) && *cv_col_modseq(columns, row) > op->unchanged_since)
				return overtaken(err);
		}
	}
	return 1;
}

/* Its octets lie with the storage module, and are on disk before the record is. */
static bool needs_storage_sync(const struct cv_op *op)
{
	return (op->kind == CV_OP_TXN_SAVE && !op->save->held) || (op->kind == CV_OP_TXN_COPY && !op->later);
}

/* Everything that can make a commit impossible is found here, before anything is done. */
static int check_op(struct cv_op *op, struct cv_err *err)
{
	cv_assert(op->mailbox != NULL || op->kind == CV_OP_TXN_ENTRY);
	if ((op->mailbox != NULL && op->mailbox->gone) || (op->from != NULL && op->from->gone))
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	if (op->kind != CV_OP_TXN_ENTRY && cv_mailbox_load(op->mailbox, err) < 0)
		return -1;
	if (op->from != NULL && cv_mailbox_load(op->from, err) < 0)
		return -1;
	/* The system takes octets whose sync has failed for clean: another sync would say that all is well. */
	if (needs_storage_sync(op) && op->losses != op->mailbox->user->storage_losses)
		return cv_err_set(err, CV_ERR_TEMP, "the message may not be on disk: a sync failed after it was saved");
	switch (op->kind) {
	case CV_OP_TXN_FLAGS:
		return check_flags(op, err);
	case CV_OP_TXN_NOTES:
		return check_flags(op, err) < 0 ? -1 : cv_notes_check(op, err);
	case CV_OP_TXN_COPY:
		return check_copy(op, err) < 0 ? -1 : cv_notes_check(op, err);
	case CV_OP_TXN_SAVE:
		if (!op->save->finished || op->save->failed)
			return cv_err_set(err, CV_ERR_INTERNAL, "a message of the transaction was not saved completely");
		return op->save->message.uid < op->mailbox->uidnext ? overtaken(err) : cv_notes_check(op, err);
	case CV_OP_TXN_EXPUNGE:
	case CV_OP_TXN_ENTRY:
		return 1;
	}
	return 1;
}

/* What hooks have put behind the first `asked` operations is checked too, and goes before them: a copy is made before its source is expunged. */
static int take_additions(struct cv_txn *txn, size_t asked, struct cv_err *err)
{
	size_t added = txn->ops.count - asked;
	struct cv_op *moved;

	if (txn->failed) {
		if (err != NULL)
			*err = txn->failure;
		return -1;
	}
	if (!cv_list_empty(&txn->saves))
		return cv_err_set(err, CV_ERR_INTERNAL, "a hook has left a message unfinished");
	for (size_t i = asked; i < txn->ops.count; i++) {
		if (check_op(&txn->ops.data[i], err) < 0)
			return -1;
	}
	if (added == 0)
		return 1;
	moved = cv_calloc(added, sizeof(*moved));
	memcpy(moved, &txn->ops.data[asked], added * sizeof(*moved));
	memmove(&txn->ops.data[added], &txn->ops.data[0], asked * sizeof(*moved));
	memcpy(&txn->ops.data[0], moved, added * sizeof(*moved));
	cv_free(moved);
	return 1;
}

static int check(struct cv_txn *txn, struct cv_err *err)
{
	struct cv_user *user = txn->user;
	struct cv_hook_commit args = { .user = user, .txn = txn };
	size_t asked = txn->ops.count;
	enum cv_hook_result result;

	if (cv_txn_annotates(txn))
		cv_user_flush(user);
	if (cv_user_usable(user, err) < 0)
		return -1;
	if (txn->failed) {
		if (err != NULL)
			*err = txn->failure;
		return -1;
	}
	if (!cv_list_empty(&txn->saves))
		return cv_err_set(err, CV_ERR_INTERNAL, "a message of the transaction was not saved completely");
	for (size_t i = 0; i < asked; i++) {
		if (check_op(&txn->ops.data[i], err) < 0)
			return -1;
	}
	if (!txn->internal && user->registry != NULL) {
		txn->trusted = true; /* what handlers put into it is theirs */
		result = cv_hook_run_commit(user->registry, &args, err);
		if ((result != CV_HOOK_PASS && result != CV_HOOK_DONE) || take_additions(txn, asked, err) < 0)
			return -1;
	}
	return cv_annotations_check(txn, err);
}

/* ---- commit -------------------------------------------------------------------------------------------------- */

/* A power cut may take it: flags, or what is found out again. */
static bool op_may_wait(const struct cv_op *op)
{
	return op->kind == CV_OP_TXN_FLAGS ||
		(op->kind == CV_OP_TXN_ENTRY && (op->entry.kind == CV_ENTRY_RECENT || op->entry.kind == CV_ENTRY_SETTLED));
}

static bool may_wait(const struct cv_txn *txn)
{
	for (size_t i = 0; i < txn->ops.count; i++) {
		if (!op_may_wait(&txn->ops.data[i]))
			return false;
	}
	return true;
}

/* Who frees room, or begins to, may have what there is. */
static bool op_frees(const struct cv_op *op)
{
	return op->kind == CV_OP_TXN_EXPUNGE || (op->kind == CV_OP_TXN_COPY && op->move) || (op->kind == CV_OP_TXN_ENTRY && op->entry.kind == CV_ENTRY_DELETE) ||
		(op->kind == CV_OP_TXN_FLAGS && (op->flags & CV_FLAG_DELETED) != 0 && op->flags_op != CV_FLAGS_REMOVE);
}

int cv_txn_commit(struct cv_txn **txn_p, cv_commit_fn *done, void *ctx, struct cv_err *err)
{
	struct cv_txn *txn = *txn_p;
	struct cv_user *user = txn->user;

	*txn_p = NULL;
	if (check(txn, err) < 0 || cv_commit_record(txn, err) < 0) {
		cv_txn_rollback(&txn);
		return -1;
	}
	txn->done = done;
	txn->done_ctx = ctx;
	for (size_t i = 0; i < txn->ops.count; i++) {
		const struct cv_op *op = &txn->ops.data[i];

		user->queue_frees = user->queue_frees || op_frees(op);
		if (!needs_storage_sync(op))
			continue;
		if (!user->queue_needs_storage_sync)
			user->queue_losses = user->storage_losses;
		user->queue_needs_storage_sync = true;
	}
	user->owed_queued = user->owed_queued || txn->owes;
	if (!may_wait(txn) || user->storage_args.fsync == CV_FSYNC_ALWAYS)
		user->queue_needs_sync = true;
	cv_list_append(&user->queue, &txn->node);
	if (user->loop == NULL)
		cv_user_flush(user);
	else
		cv_timer_set(user->flush_timer, 0);
	return 0;
}

int cv_txn_commit_wait(struct cv_txn **txn_p, struct cv_err *err)
{
	struct cv_txn *txn = *txn_p;
	struct cv_user *user = txn->user;
	int result = -1;

	txn->result_r = &result;
	txn->err_r = err;
	user->queue_needs_sync = true; /* before: without a loop the commit flushes by itself */
	if (cv_txn_commit(txn_p, NULL, NULL, err) < 0)
		return -1;
	if (!cv_list_empty(&user->queue))
		cv_user_flush(user);
	return result;
}

int cv_commit_lazy(struct cv_user *user, const struct cv_entry *entry, struct cv_err *err)
{
	struct cv_txn *txn = cv_txn_begin(user);

	txn->internal = true;
	cv_txn_add_entry(txn, entry);
	return cv_txn_commit(&txn, NULL, NULL, err);
}
