/* SPDX-License-Identifier: MIT
   Delivery: hooks, the target mailbox, save, commit. */
#include <config.h>

#include "core/store/filter.h"

struct delivering {
	struct cv_user *user;
	struct cv_delivery *delivery;
	struct cv_filter_run *run; /* NULL: no filter has decided */
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
	struct cv_err release_err = { 0 };

	cv_free(ctx);
	if (result >= 0 && delivering.run != NULL && cv_filter_release(delivering.run, &release_err) < 0) {
		result = -1;
		release_err.code = CV_ERR_TEMP;
		err = &release_err;
	}
	if (result < 0)
		delivering.delivery->uid = 0;
	else
		run_delivered(delivering.user, delivering.delivery);
	if (delivering.done != NULL)
		delivering.done(delivering.ctx, result, err);
	cv_filter_run_free(&delivering.run);
}

static int make_target(struct cv_user *user, struct cv_str name, bool create, struct cv_err *err)
{
	if (!create && !user->set->lda_mailbox_autocreate)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox doesn't exist");
	if (cv_mailbox_create(user, name, 0, err) < 0)
		return -1;
	return user->set->lda_mailbox_autosubscribe ? cv_mailbox_subscribe(user, name, true, err) : 1;
}

/* The mailbox asked for, made when create or settings allow it; else INBOX, and *name says so. */
static int open_target(struct cv_user *user, struct cv_str *name, bool create, struct cv_mailbox **mailbox_r, struct cv_err *err)
{
	struct cv_err target_err = { 0 };

	if (name->len > 0) {
		if (cv_mailbox_open(user, *name, CV_RIGHT_POST, mailbox_r, &target_err) > 0)
			return 1;
		if (target_err.code == CV_ERR_NOTFOUND && make_target(user, *name, create, &target_err) > 0 &&
			cv_mailbox_open(user, *name, CV_RIGHT_POST, mailbox_r, &target_err) > 0)
			return 1;
		cv_info(&user->log_ctx, "delivery goes to INBOX, not to %s: %s", cv_log_clean(*name), target_err.text);
		*name = CV_STR("INBOX");
	}
	if (cv_mailbox_get(user, CV_STR("INBOX"), mailbox_r, err) < 0)
		return -1;
	if (cv_mailbox_may(*mailbox_r, CV_RIGHT_POST, err) > 0)
		return 1;
	cv_mailbox_unref(mailbox_r);
	/* A sender has no use for the difference. */
	return err->code == CV_ERR_NOTFOUND ? cv_err_set_public(err, CV_ERR_PERM, "Permission denied") : -1;
}

static int save_to(struct cv_txn *txn, struct cv_mailbox *mailbox, const struct cv_delivery *delivery, const struct cv_filter_file *file,
	uint32_t *uid_r, struct cv_err *err)
{
	const struct cv_save_config config = {
		.flags = file->flags,
		.keywords = file->keywords,
		.keyword_count = file->keyword_count,
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
	*uid_r = cv_save_uid(save);
	return 1;
}

/* One copy. The first one is what the delivery tells of. */
static int file_one(struct cv_txn *txn, struct cv_delivery *delivery, const struct cv_filter_file *file, struct cv_err *err)
{
	struct cv_str name = file->mailbox;
	struct cv_mailbox *mailbox;
	uint32_t uid = 0;
	int ret = open_target(txn->user, &name, file->create, &mailbox, err);

	if (ret < 0)
		return -1;
	ret = save_to(txn, mailbox, delivery, file, &uid, err);
	cv_mailbox_unref(&mailbox);
	if (ret > 0 && delivery->uid == 0) {
		delivery->uid = uid;
		delivery->mailbox = name;
	}
	return ret;
}

/* All that is to be filed, in one transaction. It may be empty: then what a hook has committed is waited for. run becomes the delivery's. */
static int finish(struct cv_user *user, struct cv_delivery *delivery, const struct cv_filter_file *files, size_t count, struct cv_filter_run *run,
	cv_commit_fn *done, void *ctx, struct cv_err *err)
{
	struct delivering *delivering;
	struct cv_txn *txn = cv_txn_begin(user);
	int ret = 1;

	for (size_t i = 0; ret > 0 && i < count; i++)
		ret = file_one(txn, delivery, &files[i], err);
	if (ret > 0 && run != NULL)
		ret = cv_filter_hold(run, err);
	if (ret < 0) {
		delivery->uid = 0;
		cv_txn_rollback(&txn);
		cv_filter_run_free(&run);
		return -1;
	}
	delivering = cv_new0(struct delivering);
	*delivering = (struct delivering){ user, delivery, run, done, ctx };
	if (cv_txn_commit(&txn, on_durable, delivering, err) < 0) {
		delivery->uid = 0;
		cv_free(delivering);
		cv_filter_run_free(&run);
		return -1;
	}
	return 0;
}

/* What a filter has decided. */
static int do_actions(struct cv_user *user, struct cv_delivery *delivery, struct cv_filter_run *run, cv_commit_fn *done, void *ctx,
	struct cv_err *err)
{
	if (run->reject != NULL) {
		cv_err_set_public(err, CV_ERR_PERM, "%s", run->reject);
		cv_filter_run_free(&run);
		return -1;
	}
	return finish(user, delivery, run->files, run->file_count, run, done, ctx, err);
}

int cv_deliver(struct cv_user *user, struct cv_delivery *delivery, cv_commit_fn *done, void *ctx, struct cv_err *err)
{
	struct cv_hook_delivery args = { .user = user, .delivery = delivery };
	enum cv_hook_result result = CV_HOOK_PASS;
	struct cv_err own_err = { 0 };
	struct cv_filter_file keep;
	struct cv_filter_run *run;
	int ret;

	if (err == NULL)
		err = &own_err;
	delivery->uid = 0;
	if (user->registry != NULL)
		result = cv_hook_run_delivery(user->registry, &args, err);
	if (result == CV_HOOK_DENY || result == CV_HOOK_ERROR)
		return -1;
	if (result == CV_HOOK_DONE)
		return finish(user, delivery, NULL, 0, NULL, done, ctx, err);
	ret = cv_filters_run(user, delivery, &run, err);
	if (ret < 0)
		return -1;
	if (ret > 0)
		return do_actions(user, delivery, run, done, ctx, err);
	keep = (struct cv_filter_file){ .mailbox = delivery->mailbox, .flags = delivery->flags };
	return finish(user, delivery, &keep, 1, NULL, done, ctx, err);
}
