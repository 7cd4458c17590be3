/* SPDX-License-Identifier: MIT
   Administrators' commands on a user's mailboxes (culver mailbox …), in the user's worker. */
#include <config.h>

#include "modules/storage/mailbox-admin/fsck.h"
#include <culver/admin.h>
#include <culver/mailbox.h>
#include <culver/map.h>

static const struct {
	enum cv_special_use use;
	const char *name;
} uses[] = {
	{ CV_USE_ALL, "\\All" }, { CV_USE_ARCHIVE, "\\Archive" }, { CV_USE_DRAFTS, "\\Drafts" }, { CV_USE_FLAGGED, "\\Flagged" },
	{ CV_USE_JUNK, "\\Junk" }, { CV_USE_SENT, "\\Sent" }, { CV_USE_TRASH, "\\Trash" }, { CV_USE_IMPORTANT, "\\Important" },
};

static struct cv_str user_of(const struct cv_admin *admin)
{
	return cv_str_c(cv_user_name(cv_admin_user(admin)));
}

static void put_mailbox(struct cv_admin *admin, struct cv_str name)
{
	cv_admin_put_str(admin, "user", user_of(admin));
	cv_admin_put_str(admin, "mailbox", name);
}

/* Is the name among the masks? true without any. */
static bool wanted(const struct cv_admin *admin, struct cv_str name)
{
	const char *mask;
	bool any = false;
	for (size_t pos = 0; (mask = cv_admin_param_next(admin, "mailbox", &pos)) != NULL;) {
		any = true;
		if (cv_str_like(name, cv_str_c(mask)) || (cv_str_eq_c(name, "INBOX") && cv_str_caseeq_c(name, mask)))
			return true;
	}
	return !any;
}

/* A mask that met nothing is a mistake worth telling. */
static void complain_of_idle_masks(struct cv_admin *admin)
{
	const char *mask;
	for (size_t pos = 0; (mask = cv_admin_param_next(admin, "mailbox", &pos)) != NULL;) {
		struct cv_mailbox_info info;
		bool met = false;
		for (size_t at = 0; !met && cv_mailbox_next(cv_admin_user(admin), &at, &info);)
			met = (cv_str_like(info.name, cv_str_c(mask)) ||
				(cv_str_eq_c(info.name, "INBOX") && cv_str_caseeq_c(info.name, mask))) &&
				(!info.exists || info.subscribed || cv_mailbox_visible(cv_admin_user(admin), &info));
		if (met)
			continue;
		struct cv_err err = { 0 };
		(void)cv_err_set(&err, CV_ERR_NOTFOUND, "%s has no mailbox %s", cv_user_name(cv_admin_user(admin)), mask);
		cv_admin_complain(admin, &err);
	}
}

static int run_list(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_mailbox_info info;
	struct cv_buf use;
	bool subscribed = cv_admin_flag(admin, "subscribed");
	(void)err;

	cv_buf_init(&use, 256);
	for (size_t pos = 0; cv_mailbox_next(cv_admin_user(admin), &pos, &info);) {
		info.exists = cv_mailbox_visible(cv_admin_user(admin), &info);
		info.special_use = info.exists ? info.special_use : 0;
		if (!(subscribed ? info.subscribed : info.exists) || !wanted(admin, info.name))
			continue;
		cv_buf_clear(&use);
		for (size_t i = 0; i < CV_COUNT_OF(uses); i++)
			if ((info.special_use & (unsigned)uses[i].use) != 0)
				cv_buf_printf(&use, "%s%s", use.len > 0 ? " " : "", uses[i].name);
		cv_admin_row_begin(admin);
		put_mailbox(admin, info.name);
		cv_admin_put_bool(admin, "subscribed", info.subscribed);
		cv_admin_put_bool(admin, "exists", info.exists);
		cv_admin_put_str(admin, "special_use", cv_buf_str(&use));
		cv_admin_row_end(admin);
	}
	cv_buf_deinit(&use);
	complain_of_idle_masks(admin);
	return 1;
}

static int put_status(struct cv_admin *admin, struct cv_str name, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_mailbox_status status;

	if (cv_mailbox_open(cv_admin_user(admin), name, CV_RIGHT_READ, &mailbox, err) < 0)
		return -1;
	int ret = cv_mailbox_refresh(mailbox, err);
	if (ret >= 0)
		ret = cv_mailbox_get_status(mailbox, &status, err);
	cv_mailbox_unref(&mailbox);
	if (ret < 0)
		return -1;
	cv_admin_row_begin(admin);
	put_mailbox(admin, name);
	cv_admin_put_u64(admin, "messages", status.messages);
	cv_admin_put_u64(admin, "unseen", status.unseen);
	cv_admin_put_u64(admin, "size", status.size);
	cv_admin_put_u64(admin, "uidnext", status.uidnext);
	cv_admin_put_u64(admin, "uidvalidity", status.uidvalidity);
	cv_admin_put_u64(admin, "highest_modseq", status.highest_modseq);
	cv_admin_row_end(admin);
	return 0;
}

static int run_status(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_mailbox_info info;
	CV_VEC(struct cv_str) names = { 0 };
	(void)err;

	/* Opening a mailbox may change the list. */
	for (size_t pos = 0; cv_mailbox_next(cv_admin_user(admin), &pos, &info);)
		if (wanted(admin, info.name) && cv_mailbox_visible(cv_admin_user(admin), &info))
			*cv_vec_push(&names) = cv_arena_str(cv_admin_arena(admin), info.name);
	for (size_t i = 0; i < names.count; i++) {
		struct cv_err one = { 0 };
		if (put_status(admin, names.data[i], &one) < 0) {
			(void)cv_err_context(&one, "%.*s", CV_STR_ARG(names.data[i]));
			cv_admin_complain(admin, &one);
		}
	}
	cv_vec_free(&names);
	complain_of_idle_masks(admin);
	return 1;
}

/* Each mailbox by itself: what fails is told, and the rest is done. */
static int for_each(struct cv_admin *admin, int (*fn)(struct cv_admin *admin, struct cv_str name, struct cv_err *err))
{
	const char *name;
	for (size_t pos = 0; (name = cv_admin_param_next(admin, "mailbox", &pos)) != NULL;) {
		struct cv_err err = { 0 };
		if (fn(admin, cv_str_c(name), &err) < 0) {
			(void)cv_err_context(&err, "%s", name);
			cv_admin_complain(admin, &err);
			continue;
		}
		cv_admin_row_begin(admin);
		put_mailbox(admin, cv_str_c(name));
		cv_admin_row_end(admin);
	}
	return 1;
}

static int create_one(struct cv_admin *admin, struct cv_str name, struct cv_err *err)
{
	if (cv_mailbox_create(cv_admin_user(admin), name, 0, err) < 0)
		return -1;
	return cv_admin_flag(admin, "subscribe") ? cv_mailbox_subscribe(cv_admin_user(admin), name, true, err) : 0;
}

static int run_create(struct cv_admin *admin, struct cv_err *err)
{
	(void)err;
	return for_each(admin, create_one);
}

static int delete_one(struct cv_admin *admin, struct cv_str name, struct cv_err *err)
{
	return cv_mailbox_delete(cv_admin_user(admin), name, err);
}

static int run_delete(struct cv_admin *admin, struct cv_err *err)
{
	(void)err;
	return for_each(admin, delete_one);
}

static int run_rename(struct cv_admin *admin, struct cv_err *err)
{
	const char *from = cv_admin_param(admin, "mailbox"), *to = cv_admin_param(admin, "new");
	if (cv_mailbox_rename(cv_admin_user(admin), cv_str_c(from), cv_str_c(to), err) < 0)
		return -1;
	cv_admin_row_begin(admin);
	put_mailbox(admin, cv_str_c(to));
	cv_admin_row_end(admin);
	return 1;
}

static int provide(struct cv_registry *reg, const char *name, int (*run)(struct cv_admin *admin, struct cv_err *err), struct cv_err *err)
{
	struct cv_admin_command *command = cv_registry_alloc(reg, sizeof(*command));
	command->spec = cv_admin_core_spec(name);
	command->run = run;
	return cv_provide_admin(reg, command, err);
}

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	if (provide(reg, "mailbox list", run_list, err) < 0 || provide(reg, "mailbox status", run_status, err) < 0 ||
		provide(reg, "mailbox create", run_create, err) < 0 || provide(reg, "mailbox delete", run_delete, err) < 0)
		return -1;
	return provide(reg, "mailbox rename", run_rename, err) < 0 ? -1 : provide(reg, "fsck", fsck_run, err);
}

CV_MODULE(mailbox_admin) = {
	CV_MODULE_ABI,
	.name = "mailbox-admin",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_STORAGE,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
