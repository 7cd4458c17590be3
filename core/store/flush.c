/* SPDX-License-Identifier: MIT
   From the queue of commits to what is durable and seen. The order is what is promised: octets with the storage module are synced before the record that names them
   is written (make_durable), the record is on disk before anything is shown (publish_memory), and shown before who waits is told. What could not be made
   durable is refused to all who wait, and memory, which has it already, is read anew from the journal before anything else is done. */
#include <config.h>

#include "core/store/commit.h"

#define SYNC_DELAY_MS 1000
#define USABLE_RETRY_MS 1000
#define FLUSHES_MAX 100

/* ---- memory that is ahead of the journal --------------------------------------------------------------------- */

int cv_user_usable(struct cv_user *user, struct cv_err *err)
{
	struct cv_err reread_err = { 0 };
	int ret;

	if ((user->lost || user->broken) && cv_user_is_there(user, err) < 0)
		return -1;
	if (!user->broken || user->rereading)
		return 1;
	user->rereading = true;
	ret = cv_user_reread(user, &reread_err);
	user->rereading = false;
	if (ret < 0) {
		if (reread_err.code == CV_ERR_CORRUPT) {
			(void)cv_err_context(&reread_err, "journal");
			cv_user_lose(user, &reread_err);
		} else if (user->loop != NULL) {
			cv_timer_set(user->usable_timer, USABLE_RETRY_MS);
		}
		return cv_err_set(err, CV_ERR_UNAVAILABLE, "after a failed write the mail can't be read anew: %s", reread_err.text);
	}
	user->broken = false;
	for (size_t i = 0; i < user->views.count; i++)
		cv_view_mark(user->views.data[i]->mailbox);
	cv_info(&user->log_ctx, "the mail was read anew after a failed write");
	return 1;
}

void cv_user_memory_ahead(struct cv_user *user)
{
	struct cv_err err = { 0 };

	user->broken = true;
	user->numbers_kept = false;
	if (!user->lost && cv_user_usable(user, &err) < 0)
		cv_error(&user->log_ctx, "%s; it is out of reach until that works", err.text);
}

/* ---- making it durable --------------------------------------------------------------------------------------- */

bool cv_user_unpublished(const struct cv_user *user)
{
	return !cv_list_empty(&user->queue);
}

bool cv_mailbox_is_ahead(const struct cv_mailbox *mailbox)
{
	return mailbox->applied_seq > mailbox->user->published_seq && cv_user_unpublished(mailbox->user);
}

bool cv_mailbox_catch_up(struct cv_mailbox *mailbox)
{
	for (unsigned i = 0; cv_mailbox_is_ahead(mailbox); i++) {
		if (i == FLUSHES_MAX)
			return false;
		cv_user_flush(mailbox->user);
	}
	return true;
}

int cv_user_storage_sync(struct cv_user *user, struct cv_err *err)
{
	if (user->storage->sync(user->st, err) >= 0)
		return 1;
	user->storage_losses++;
	return -1;
}

static int sync_octets(struct cv_user *user, struct cv_err *err)
{
	if (user->queue_losses != user->storage_losses)
		return cv_err_set(err, CV_ERR_TEMP, "they could not be synced before");
	return cv_user_storage_sync(user, err);
}

static int make_durable(struct cv_user *user, struct cv_err *err)
{
	/* Numbers have jumped at the opening. What is shown before a record has one of the new numbers durably would have the same as what comes after a power
	   cut, which makes the same jump. */
	bool sync = user->queue_needs_sync || !user->numbers_kept;

	/* Where a lease says whose it is: before anything is written, and again before it is acknowledged. */
	if (cv_user_owned(user, err) < 0) {
		cv_buf_clear(&user->journal.pending);
		return -1;
	}
	if (user->queue_needs_storage_sync && sync_octets(user, err) < 0) {
		/* The records name octets that may be lost: they must not be written. */
		cv_buf_clear(&user->journal.pending);
		return cv_err_context(err, "message octets");
	}
	user->journal.frees = user->queue_frees;
	if (cv_journal_write(&user->journal, sync, err) < 0)
		return -1;
	user->numbers_kept = user->numbers_kept || user->journal.written_seq > user->published_seq;
	return cv_user_owned(user, err);
}

/* ---- showing it ---------------------------------------------------------------------------------------------- */

static void tell(struct cv_txn *txn, int result, const struct cv_err *err)
{
	if (txn->result_r != NULL)
		*txn->result_r = result;
	if (result < 0 && txn->err_r != NULL && err != NULL)
		*txn->err_r = *err;
	if (txn->done != NULL)
		txn->done(txn->done_ctx, result, err);
}

static void apply_tree(struct cv_txn *txn)
{
	const struct cv_record_head head = { .seq = txn->seq };
	struct cv_err err = { 0 };

	for (size_t i = 0; i < txn->ops.count; i++) {
		const struct cv_op *op = &txn->ops.data[i];

		if (op->kind == CV_OP_TXN_ENTRY && cv_entry_is_tree(op->entry.kind) &&
			cv_apply_entry(txn->user, &head, txn->pos, &op->entry, 0, CV_APPLY_TREE, &err) < 0)
			cv_fatal("a change that was just made does not apply: %s", err.text);
	}
}

static void publish_memory(struct cv_txn *txn)
{
	apply_tree(txn);
	cv_annotations_tell(txn);
	for (size_t i = 0; i < txn->events.count; i++)
		cv_view_publish(txn->events.data[i].mailbox, &txn->events.data[i].event);
	for (size_t i = 0; i < txn->touched.count; i++) {
		struct cv_mailbox *mailbox = txn->touched.data[i];

		mailbox->published_uidnext = mailbox->uidnext;
		mailbox->published_modseq = mailbox->highest_modseq;
		mailbox->published_keywords = mailbox->keywords.names.count;
		cv_view_mark(mailbox);
	}
	if (txn->seq > txn->user->published_seq) {
		txn->user->published_seq = txn->seq;
		txn->user->behind_records++;
	}
	if (txn->owes)
		cv_owed_add(txn->user, &(struct cv_owed){ .seq = txn->seq, .pos = txn->pos, .octets = txn->octets, .copies = txn->copies });
	if (txn->has_storage_work)
		cv_work_add(txn->user, txn->seq, txn->pos);
	cv_mail_watch_published(txn);
}

/* The storage module may give messages their final names. */
static void tell_storage(struct cv_txn *txn)
{
	struct cv_user *user = txn->user;
	struct cv_err err = { 0 };

	for (size_t i = 0; user->storage->recorded != NULL && i < txn->ops.count; i++) {
		struct cv_op *op = &txn->ops.data[i];
		struct cv_mailbox_ref mailbox;
		CV_VEC(struct cv_str) refs = { 0 };

		if (op->save != NULL && !op->save->held)
			*cv_vec_push(&refs) = op->save->message.ref;
		for (size_t j = 0; !op->later && j < op->copied.count; j++)
			*cv_vec_push(&refs) = op->copied.data[j].ref;
		if (refs.count > 0 && !op->mailbox->gone) {
			mailbox = cv_mailbox_storage_ref(op->mailbox);
			if (user->storage->recorded(user->st, &mailbox, refs.data, refs.count, &err) < 0)
				cv_warn(&op->mailbox->log_ctx, "%s (done again when the message is read)", err.text);
		}
		cv_vec_free(&refs);
	}
}

/* ---- the queue ----------------------------------------------------------------------------------------------- */

static void free_all(struct cv_node *list)
{
	struct cv_node *node, *tmp;

	cv_list_foreach(list, node, tmp) {
		cv_list_remove(node);
		cv_txn_free(cv_container(node, struct cv_txn, node));
	}
}

void cv_user_flush(struct cv_user *user)
{
	struct cv_node batch, *node, *tmp;
	struct cv_err err = { 0 };
	int result;

	if (cv_list_empty(&user->queue))
		return;
	result = make_durable(user, &err);
	user->queue_needs_sync = user->queue_needs_storage_sync = user->queue_frees = user->owed_queued = false;
	cv_list_move(&batch, &user->queue);
	if (result < 0) {
		if (!user->lost) /* that was told */
			cv_error(&user->log_ctx, "changes could not be made durable and are refused: %s", err.text);
		cv_user_memory_ahead(user);
		cv_list_foreach(&batch, node, tmp)
			tell(cv_container(node, struct cv_txn, node), -1, &err);
		free_all(&batch);
		return;
	}
	cv_list_foreach(&batch, node, tmp)
		tell_storage(cv_container(node, struct cv_txn, node));
	cv_list_foreach(&batch, node, tmp)
		publish_memory(cv_container(node, struct cv_txn, node));
	if (user->external && cv_owed_make(user, UINT64_MAX, &err) < 0) /* other programs look there; and what they remove must not take a copy along */
		cv_warn(&user->log_ctx, "%s; trying again later", err.text);
	cv_checkpoint_quiet(user);
	cv_user_mend_journal(user);
	if (user->journal.unsynced && user->loop != NULL && user->storage_args.fsync != CV_FSYNC_NEVER)
		cv_timer_set(user->sync_timer, SYNC_DELAY_MS);
	cv_list_foreach(&batch, node, tmp) {
		struct cv_txn *txn = cv_container(node, struct cv_txn, node);

		if (txn->seq > 0)
			cv_subscribers_committed(user, txn);
		tell(txn, 0, NULL);
	}
	free_all(&batch);
	if (user->loop == NULL || user->external)
		cv_work_run(user, false);
	else
		cv_work_soon(user);
	if (user->loop == NULL)
		cv_view_run_notify(user);
	else
		cv_timer_set(user->notify_timer, 0);
	cv_subscribers_kick(user);
	cv_checkpoint_consider(user);
}

/* ---- timers -------------------------------------------------------------------------------------------------- */

static void on_flush(void *ctx)
{
	cv_user_flush(ctx);
}

static void on_sync(void *ctx)
{
	struct cv_user *user = ctx;
	struct cv_err err = { 0 };

	if (cv_user_owned(user, &err) < 0 || cv_journal_sync(&user->journal, &err) < 0) {
		if (user->lost)
			return;
		cv_error(&user->log_ctx, "%s; trying again", err.text);
		cv_timer_set(user->sync_timer, SYNC_DELAY_MS);
		return;
	}
	cv_work_run(user, false); /* what waited for it */
}

static void on_usable(void *ctx)
{
	struct cv_err err = { 0 };

	if (cv_user_usable(ctx, &err) < 0)
		cv_debug(&((struct cv_user *)ctx)->log_ctx, "%s", err.text); /* it was told once */
}

static void on_notify(void *ctx)
{
	cv_view_run_notify(ctx);
}

void cv_commit_init(struct cv_user *user)
{
	cv_list_init(&user->queue);
	cv_list_init(&user->watches);
	if (user->loop == NULL)
		return;
	user->flush_timer = cv_timer_add_stopped(user->loop, on_flush, user);
	user->sync_timer = cv_timer_add_stopped(user->loop, on_sync, user);
	user->notify_timer = cv_timer_add_stopped(user->loop, on_notify, user);
	user->usable_timer = cv_timer_add_stopped(user->loop, on_usable, user);
}

void cv_commit_deinit(struct cv_user *user)
{
	cv_timer_remove(&user->flush_timer);
	cv_timer_remove(&user->sync_timer);
	cv_timer_remove(&user->notify_timer);
	cv_timer_remove(&user->usable_timer);
}
