/* SPDX-License-Identifier: MIT
   maildir: the storage module for Maildir++. */
#include <config.h>

#include "modules/lib/dovecot/subscriptions.h"
#include "modules/storage/maildir/maildir-private.h"
#include <culver/loop.h>

#include <fcntl.h>
#include <string.h>

static const struct cv_setting rows[] = {
	CV_SETTING_BOOL(maildir_settings, maildir_copy_with_hardlinks, "yes", "Copy messages within a user as hard links."),
	CV_SETTING_BOOL(maildir_settings, maildir_very_dirty_syncs, "no",
		"Changes of ours to new/ and cur/ are no reason to read them again: faster with large mailboxes, while a change that another program makes in the "
		"same instant is seen with the next one only."),
	CV_SETTING_BOOL(maildir_settings, maildir_broken_filename_sizes, "no",
		"Do not believe the sizes in file names (S= and W=): messages of others are measured."),
	CV_SETTING_BOOL(maildir_settings, maildir_empty_new, "no",
		"Move messages from new/ to cur/ whenever a mailbox is looked at, not only when it is selected."),
	CV_SETTING_BOOL(maildir_settings, maildir_stat_dirs, "no",
		"Examine each entry that could be a folder, where the file system does not tell what is a directory; otherwise all that begin with a dot are taken for "
		"folders there."),
};
static const struct cv_settings_table table = CV_SETTINGS_TABLE_TOP("Maildir", maildir_settings, rows, NULL);
static const struct cv_settings_table *const tables[] = { &table, NULL };
static const struct maildir_settings defaults = { .maildir_copy_with_hardlinks = true };

static void maildir_close(void *st_p)
{
	struct maildir *st = st_p;
	struct cv_str key;
	size_t pos = 0;
	void *value;

	maildir_watch_deinit(st);
	maildir_box_drop(st, NULL);
	while (cv_map_next(st->pending, &pos, &key, &value))
		maildir_pending_free(st, value);
	cv_map_free(&st->pending);
	if (st->flush_timer != NULL)
		cv_timer_remove(&st->flush_timer);
	cv_file_close(&st->root);
	cv_file_close(&st->inbox);
	cv_arena_free(&st->arena);
	cv_free(st);
}

static int check_args(const struct cv_storage_args *args, struct cv_err *err)
{
	bool fs = args->layout != NULL && strcmp(args->layout, "fs") == 0;

	if (args->layout != NULL && !fs && strcmp(args->layout, "maildir++") != 0)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "maildir: LAYOUT must be maildir++ or fs");
	if (args->dirname != NULL && !fs)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "maildir: DIRNAME= is possible with LAYOUT=fs only");
	return 1;
}

static void on_flush(void *ctx)
{
	struct maildir *st = ctx;

	for (size_t i = 0; i < CV_COUNT_OF(st->boxes); i++) {
		if (st->boxes[i] != NULL)
			maildir_uidlist_flush(st->boxes[i]);
	}
}

static int open_dirs(struct maildir *st, bool may_create, struct cv_err *err)
{
	const struct cv_storage_args *args = st->args;

	if (may_create && (cv_file_make_root(args->root, args->dir_mode, err) < 0 ||
			(args->inbox != NULL && cv_file_make_root(args->inbox, args->dir_mode, err) < 0)))
		return -1;
	if (cv_file_root(args->root, &st->root, err) < 0)
		return -1;
	return args->inbox != NULL ? cv_file_root(args->inbox, &st->inbox, err) : 1;
}

static int maildir_open(const struct cv_storage_args *args, bool may_create, void **st_r, struct cv_err *err)
{
	struct maildir *st;
	const void *set = &defaults;

	if (check_args(args, err) < 0)
		return -1;
	st = cv_new0(struct maildir);
	st->args = args;
	st->arena = cv_arena_new("maildir", NULL, 0);
	st->root = st->inbox = st->inotify = -1;
	st->fs = args->layout != NULL && strcmp(args->layout, "fs") == 0;
	st->own_control = args->control_root != NULL && strcmp(args->control_root, args->root) != 0;
	st->dirname = args->dirname != NULL ? args->dirname : "";
	for (size_t i = 0; args->hostname[i] != '\0' && i + 1 < sizeof(st->hostname); i++)
		st->hostname[i] = cv_is_alnum(args->hostname[i]) || args->hostname[i] == '.' ? args->hostname[i] : '-';
	cv_random(&st->random, sizeof(st->random));
	st->pending = cv_map_new();
	cv_list_init(&st->unsynced);
	cv_list_init(&st->watches);
	if (args->loop != NULL) {
		st->flush_timer = cv_timer_add_stopped(args->loop, on_flush, st);
	}
	if ((args->conf != NULL && cv_conf_get(args->conf, &table, &(struct cv_conf_filter){ 0 }, st->arena, &set, err) < 0) ||
		open_dirs(st, may_create, err) < 0) {
		maildir_close(st);
		return -1;
	}
	st->set = set;
	*st_r = st;
	return 1;
}

static int maildir_subscriptions(void *st_p, int (*fn)(void *ctx, struct cv_str name), void *ctx, struct cv_err *err)
{
	const struct maildir *st = st_p;

	return cv_dovecot_subscriptions(st->args->control_root, st->fs ? '/' : '.', fn, ctx, err);
}

static int maildir_mailbox_dir(void *st, const struct cv_mailbox_ref *mailbox, int *dir_r, struct cv_err *err)
{
	struct maildir_box *box;

	if (maildir_box(st, mailbox, &box, err) < 0)
		return -1;
	*dir_r = box->base;
	return 1;
}

static const struct cv_storage maildir_storage = {
	.name = "maildir",
	.opts = CV_STORAGE_EXTERNAL | CV_STORAGE_OWN_UIDS,
	.open = maildir_open,
	.close = maildir_close,
	.mailbox_create = maildir_mailbox_create,
	.mailbox_delete = maildir_mailbox_delete,
	.mailbox_rename = maildir_mailbox_rename,
	.mailbox_list = maildir_mailbox_list,
	.mailbox_name_check = maildir_name_check,
	.save_begin = maildir_save_begin,
	.save_write = maildir_save_write,
	.save_finish = maildir_save_finish,
	.save_abort = maildir_save_abort,
	.save_read = maildir_save_read,
	.sync = maildir_sync,
	.recorded = maildir_recorded,
	.open_ref = maildir_open_ref,
	.remove = maildir_remove,
	.copy = maildir_copy,
	.copy_later = maildir_copy_later,
	.copy_ref = maildir_copy_ref,
	.copy_make = maildir_copy_make,
	.set_flags = maildir_set_flags,
	.scan = maildir_scan,
	.stamp = maildir_stamp,
	.watch = maildir_watch,
	.unwatch = maildir_unwatch,
	.sweep = maildir_sweep,
	.mailbox_dir = maildir_mailbox_dir,
	.ahead = maildir_ahead,
	.ref_key = maildir_ref_key,
	.assigned = maildir_assigned,
	.settle = maildir_settle,
	.folders_stamp = maildir_folders_stamp,
	.keeps_keyword = maildir_keeps_keyword,
	.subscriptions = maildir_subscriptions,
	.mailbox_keep = maildir_mailbox_keep,
};

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	return cv_provide_storage(reg, &maildir_storage, err);
}

CV_MODULE(maildir) = {
	CV_MODULE_ABI,
	.name = "maildir",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_STORAGE,
	.roles = CV_ROLE_WORKER | CV_ROLE_TOOL,
	.settings = tables,
	.load = load,
};
