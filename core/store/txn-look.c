/* SPDX-License-Identifier: MIT
   What a transaction is about to do, for commit hooks. */
#include <config.h>

#include "core/store/store-private.h"

bool cv_txn_next(const struct cv_txn *txn, size_t *pos, struct cv_txn_op *op_r)
{
	while (*pos < txn->ops.count) {
		const struct cv_op *op = &txn->ops.data[(*pos)++];

		*op_r = (struct cv_txn_op){ .mailbox = op->mailbox };
		switch (op->kind) {
		case CV_OP_TXN_FLAGS:
			op_r->kind = CV_TXN_FLAGS;
			op_r->uids = &op->uids;
			return true;
		case CV_OP_TXN_EXPUNGE:
			op_r->kind = CV_TXN_EXPUNGE;
			op_r->uids = &op->uids;
			return true;
		case CV_OP_TXN_COPY:
			op_r->kind = CV_TXN_COPY;
			op_r->from = op->from;
			op_r->move = op->move;
			return true;
		case CV_OP_TXN_SAVE:
			op_r->kind = CV_TXN_SAVE;
			op_r->save = op->save;
			return true;
		case CV_OP_TXN_ENTRY:
			break; /* of mailboxes: mailbox_op tells */
		}
	}
	return false;
}
