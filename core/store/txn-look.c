/* SPDX-License-Identifier: MIT
   What a transaction is about to do, for commit hooks. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

static const struct cv_ranges *copied_uids(const struct cv_txn *txn, const struct cv_op *op)
{
	struct cv_ranges uids = { 0 };
	struct cv_ranges *kept = cv_new(txn->arena, struct cv_ranges, 1);

	for (size_t i = 0; i < op->copied.count; i++)
		cv_ranges_add(&uids, op->copied.data[i].from_uid, op->copied.data[i].from_uid);
	kept->count = kept->cap = uids.count;
	kept->data = cv_new(txn->arena, struct cv_range, uids.count + 1);
	if (uids.count > 0)
		memcpy(kept->data, uids.data, uids.count * sizeof(*uids.data));
	cv_ranges_free(&uids);
	return kept;
}

/* The transaction's operations move when a hook adds some: what is told stays. */
static const struct cv_ranges *same_uids(const struct cv_txn *txn, const struct cv_op *op)
{
	struct cv_ranges *kept = cv_new(txn->arena, struct cv_ranges, 1);

	*kept = op->uids;
	return kept;
}

static const struct cv_flags_change *same_change(const struct cv_txn *txn, const struct cv_op *op)
{
	struct cv_flags_change *kept = cv_new(txn->arena, struct cv_flags_change, 1);

	*kept = op->change;
	return kept;
}

static const struct cv_notes_change *same_notes(const struct cv_txn *txn, const struct cv_op *op)
{
	struct cv_notes_change *kept = cv_new(txn->arena, struct cv_notes_change, 1);

	*kept = op->notes_change;
	return kept;
}

bool cv_txn_next(const struct cv_txn *txn, size_t *pos, struct cv_txn_op *op_r)
{
	while (*pos < txn->ops.count) {
		const struct cv_op *op = &txn->ops.data[*pos];

		*op_r = (struct cv_txn_op){ .mailbox = op->mailbox, .number = (*pos)++ };
		switch (op->kind) {
		case CV_OP_TXN_FLAGS:
			op_r->kind = CV_TXN_FLAGS;
			op_r->uids = same_uids(txn, op);
			op_r->change = same_change(txn, op);
			return true;
		case CV_OP_TXN_NOTES:
			op_r->kind = CV_TXN_NOTES;
			op_r->uids = same_uids(txn, op);
			op_r->notes = same_notes(txn, op);
			return true;
		case CV_OP_TXN_EXPUNGE:
			op_r->kind = CV_TXN_EXPUNGE;
			op_r->uids = same_uids(txn, op);
			return true;
		case CV_OP_TXN_COPY:
			op_r->kind = CV_TXN_COPY;
			op_r->from = op->from;
			op_r->move = op->move;
			op_r->uids = copied_uids(txn, op);
			return true;
		case CV_OP_TXN_SAVE:
			op_r->kind = CV_TXN_SAVE;
			op_r->save = op->save;
			return true;
		case CV_OP_TXN_ENTRY:
			if (op->entry.kind != CV_ENTRY_ANNOTATE)
				break; /* of mailboxes: mailbox_op tells */
			op_r->kind = CV_TXN_ANNOTATE;
			op_r->name = op->entry.name;
			op_r->value = op->entry.new_name;
			return true;
		}
	}
	return false;
}
