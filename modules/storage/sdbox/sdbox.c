/* SPDX-License-Identifier: MIT
   sdbox: the storage module for Dovecot's single-dbox files. */
#include <config.h>

#include "modules/lib/dovecot/subscriptions.h"
#include "modules/storage/sdbox/sdbox-private.h"

#include <fcntl.h>
#include <string.h>

static void sdbox_close(void *st_p)
{
	struct sdbox *st = st_p;

	sdbox_pending_free(st);
	cv_vec_free(&st->pending);
	sdbox_dirs_close(st);
	for (size_t i = 0; i < st->landed.count; i++)
		cv_file_close(&st->landed.data[i]);
	cv_vec_free(&st->landed);
	cv_buf_deinit(&st->image);
	sdbox_unsettled_free(st);
	cv_file_close(&st->mailboxes);
	cv_free(st->dirname);
	cv_buf_deinit(&st->read_name);
	cv_free(st->read_path);
	cv_free(st);
}

static int check_args(const struct cv_storage_args *args, struct cv_err *err)
{
	if (args->layout != NULL && strcmp(args->layout, "fs") != 0)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "sdbox: only LAYOUT=fs is possible");
	if (args->inbox != NULL)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "sdbox: INBOX= is not possible, the inbox lies with the other mailboxes");
	return 1;
}

static int sdbox_open(const struct cv_storage_args *args, bool may_create, void **st_r, struct cv_err *err)
{
	struct sdbox *st;
	int root, ret = 1;

	if (check_args(args, err) < 0 || cv_file_root(args->root, &root, err) < 0)
		return -1;
	st = cv_new0(struct sdbox);
	st->args = args;
	st->mailboxes = -1;
	cv_buf_init(&st->image, SDBOX_IMAGE_MAX);
	cv_buf_init(&st->read_name, SIZE_MAX);
	st->dirname = cv_strdup(args->dirname != NULL ? args->dirname : "dbox-Mails");
	for (size_t i = 0; args->hostname[i] != '\0' && i + 1 < sizeof(st->hostname); i++)
		st->hostname[i] = cv_is_alnum(args->hostname[i]) ? args->hostname[i] : '-';
	if (may_create)
		ret = cv_file_mkdir(root, "mailboxes", args->dir_mode, err);
	if (ret >= 0)
		ret = cv_file_open(root, "mailboxes", O_RDONLY | O_DIRECTORY, 0, &st->mailboxes, err);
	cv_file_close(&root);
	if (ret < 0) {
		sdbox_close(st);
		return -1;
	}
	*st_r = st;
	return 1;
}

static int sdbox_subscriptions(void *st_p, int (*fn)(void *ctx, struct cv_str name), void *ctx, struct cv_err *err)
{
	const struct sdbox *st = st_p;

	return cv_dovecot_subscriptions(st->args->control_root, '/', fn, ctx, err);
}

static const struct cv_storage sdbox_storage = {
	.name = "sdbox",
	.opts = CV_STORAGE_OWN_UIDS,
	.open = sdbox_open,
	.close = sdbox_close,
	.mailbox_create = sdbox_mailbox_create,
	.mailbox_delete = sdbox_mailbox_delete,
	.mailbox_rename = sdbox_mailbox_rename,
	.mailbox_rename_tree = sdbox_mailbox_rename_tree,
	.mailbox_list = sdbox_mailbox_list,
	.mailbox_name_check = sdbox_name_check,
	.save_begin = sdbox_save_begin,
	.save_write = sdbox_save_write,
	.save_finish = sdbox_save_finish,
	.save_abort = sdbox_save_abort,
	.save_read = sdbox_save_read,
	.sync = sdbox_sync,
	.recorded = sdbox_recorded,
	.open_ref = sdbox_open_ref,
	.ahead = sdbox_ahead,
	.remove = sdbox_remove,
	.copy = sdbox_copy,
	.scan = sdbox_scan,
	.names = sdbox_names,
	.copy_later = sdbox_copy_later,
	.copy_ref = sdbox_copy_ref,
	.copy_make = sdbox_copy_make,
	.settle = sdbox_settle,
	.place = sdbox_place,
	.land = sdbox_land,
	.batch_add = sdbox_batch_add,
	.batch_run = sdbox_batch_run,
	.batch_end = sdbox_batch_end,
	.renew = sdbox_renew,
	.sweep = sdbox_sweep,
	.mailbox_dir = sdbox_mailbox_dir,
	.subscriptions = sdbox_subscriptions,
};

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_storage(reg, &sdbox_storage, err);
}

CV_MODULE(sdbox) = {
	CV_MODULE_ABI,
	.name = "sdbox",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_STORAGE,
	.roles = CV_ROLE_WORKER | CV_ROLE_TOOL,
	.load = load,
};
