/* SPDX-License-Identifier: MIT
   Delivery: hooks, the target mailbox, save, commit. */
#include <config.h>

#include "core/store/store-private.h"

struct delivering {
	struct cv_user *user;
	struct cv_delivery *delivery;
	cv_commit_fn *done;
	void *ctx;
};

static void run_delivered(struct cv_user *user, struct cv_delivery *delivery)
{
	struct cv_hook_delivered args = { .user = user, .delivery = delivery };
	struct cv_err ignored = { 0 };

	if (user->registry != NULL)
		(void)cv_hook_run_delivered(user->registry, &args, &ignored);
}

static void on_durable(void *ctx, int result, const struct cv_err *err)
{
	struct delivering delivering = *(struct delivering *)ctx;

	cv_free(ctx);
	if (result < 0)
		delivering.delivery->uid = 0;
	else
		run_delivered(delivering.user, delivering.delivery);
	if (delivering.done != NULL)
		delivering.done(delivering.ctx, result, err);
}

static int make_target(struct cv_user *user, struct cv_str name, struct cv_err *err)
{
	if (!user->set->lda_mailbox_autocreate)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox doesn't exist");
	if (cv_mailbox_create(user, name, 0, err) < 0)
		return -1;
	return user->set->lda_mailbox_autosubscribe ? cv_mailbox_subscribe(user, name, true, err) : 1;
}

/* The mailbox asked for, made where settings allow it; else INBOX. */
static int open_target(struct cv_user *user, struct cv_delivery *delivery, struct cv_mailbox **mailbox_r, struct cv_err *err)
{
	struct cv_err target_err = { 0 };

	if (delivery->mailbox.len > 0) {
		if (cv_mailbox_open(user, delivery->mailbox, CV_RIGHT_POST, mailbox_r, &target_err) > 0)
			return 1;
		if (target_err.code == CV_ERR_NOTFOUND && make_target(user, delivery->mailbox, &target_err) > 0 &&
			cv_mailbox_open(user, delivery->mailbox, CV_RIGHT_POST, mailbox_r, &target_err) > 0)
			return 1;
		cv_info(&user->log_ctx, "delivery goes to INBOX, not to %s: %s", cv_log_clean(delivery->mailbox), target_err.text);
		delivery->mailbox = CV_STR("INBOX");
	}
	if (cv_mailbox_get(user, CV_STR("INBOX"), mailbox_r, err) < 0)
		return -1;
	if (cv_mailbox_may(*mailbox_r, CV_RIGHT_POST, err) > 0)
		return 1;
	cv_mailbox_unref(mailbox_r);
	/* A sender has no use for the difference. */
	return err->code == CV_ERR_NOTFOUND ? cv_err_set_public(err, CV_ERR_PERM, "Permission denied") : -1;
}

static int save(struct cv_txn *txn, struct cv_mailbox *mailbox, struct cv_delivery *delivery, struct cv_err *err)
{
	const struct cv_save_config config = {
		.flags = delivery->flags,
		.size_hint = delivery->header.len + delivery->octets.len,
		.delivery = true,
	};
	struct cv_save *save;

	if (cv_save_begin(txn, mailbox, &config, &save, err) < 0)
		return -1;
	if (delivery->header.len > 0 && cv_save_write(save, delivery->header, err) < 0)
		return -1;
	if (cv_save_write(save, delivery->octets, err) < 0 || cv_save_finish(save, err) < 0)
		return -1;
	delivery->uid = cv_save_uid(save);
	return 1;
}

/* txn may be empty: then what a hook has committed is waited for. */
static int finish(struct cv_user *user, struct cv_delivery *delivery, struct cv_txn *txn, cv_commit_fn *done, void *ctx, struct cv_err *err)
{
	struct delivering *delivering = cv_new0(struct delivering);

	*delivering = (struct delivering){ user, delivery, done, ctx };
	if (cv_txn_commit(&txn, on_durable, delivering, err) < 0) {
		delivery->uid = 0;
		cv_free(delivering);
		return -1;
	}
	return 0;
}

int cv_deliver(struct cv_user *user, struct cv_delivery *delivery, cv_commit_fn *done, void *ctx, struct cv_err *err)
{
	struct cv_hook_delivery args = { .user = user, .delivery = delivery };
	enum cv_hook_result result = CV_HOOK_PASS;
	struct cv_mailbox *mailbox;
	struct cv_txn *txn;

	delivery->uid = 0;
	if (user->registry != NULL)
		result = cv_hook_run_delivery(user->registry, &args, err);
	if (result == CV_HOOK_DENY || result == CV_HOOK_ERROR)
		return -1;
	if (result == CV_HOOK_DONE)
		return finish(user, delivery, cv_txn_begin(user), done, ctx, err);
	if (open_target(user, delivery, &mailbox, err) < 0)
		return -1;
	txn = cv_txn_begin(user);
	if (save(txn, mailbox, delivery, err) < 0) {
		delivery->uid = 0;
		cv_txn_rollback(&txn);
		cv_mailbox_unref(&mailbox);
		return -1;
	}
	cv_mailbox_unref(&mailbox);
	return finish(user, delivery, txn, done, ctx, err);
}
