/* SPDX-License-Identifier: MIT
   Rights: what who acts may do with a mailbox, as the hook mailbox_access leaves it. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

/* name is as the tree has it. Without a handler of the hook nothing is looked up. */
static int ask(struct cv_user *user, struct cv_str name, unsigned *rights_r, struct cv_err *err)
{
	struct cv_hook_mailbox_access args = { .user = user, .name = name, .rights = CV_RIGHT_ALL };
	const struct cv_name *there;
	struct cv_err hook_err = { 0 };
	enum cv_hook_result result;

	*rights_r = CV_RIGHT_ALL;
	if (!user->access_hook)
		return 1;
	there = cv_tree_find(user, name);
	if (there != NULL && there->mailbox != NULL)
		args.guid = there->mailbox->guid.b;
	result = cv_hook_run_mailbox_access(user->registry, &args, &hook_err);
	if (result == CV_HOOK_ERROR) {
		if (err != NULL)
			*err = hook_err;
		return cv_err_context(err, "rights on mailbox %.*s", CV_STR_ARG(name));
	}
	*rights_r = result == CV_HOOK_DENY ? 0 : args.rights & CV_RIGHT_ALL;
	return 1;
}

int cv_mailbox_rights(struct cv_user *user, struct cv_str name, unsigned *rights_r, struct cv_err *err)
{
	struct cv_arena *arena;
	int ret;

	*rights_r = CV_RIGHT_ALL;
	if (!user->access_hook)
		return 1;
	arena = cv_arena_new("rights", NULL, 0);
	ret = ask(user, cv_tree_canonical(arena, name), rights_r, err);
	cv_arena_free(&arena);
	return ret;
}

bool cv_mailbox_visible(struct cv_user *user, const struct cv_mailbox_info *info)
{
	struct cv_err err = { 0 };
	unsigned rights;

	if (!info->exists)
		return false;
	if (ask(user, info->name, &rights, &err) < 0) {
		cv_error(&user->log_ctx, "%s; it is not shown", err.text);
		return false;
	}
	return (rights & CV_RIGHT_LOOKUP) != 0;
}

int cv_access_missing(unsigned has, struct cv_err *err)
{
	if ((has & CV_RIGHT_LOOKUP) == 0)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox doesn't exist");
	return cv_err_set_public(err, CV_ERR_PERM, "Permission denied");
}

int cv_access_check(struct cv_user *user, struct cv_str name, unsigned needed, struct cv_err *err)
{
	unsigned has;

	if (ask(user, name, &has, err) < 0)
		return -1;
	return (has & needed) == needed ? 1 : cv_access_missing(has, err);
}

int cv_access_taken(struct cv_user *user, struct cv_str name, const char *text, struct cv_err *err)
{
	const struct cv_name *there = cv_tree_find(user, name);
	unsigned has;

	if (ask(user, name, &has, err) < 0)
		return -1;
	if (there != NULL && there->mailbox != NULL ? (has & CV_RIGHT_LOOKUP) != 0 : cv_access_sees_below(user, name))
		return cv_err_set_public(err, CV_ERR_EXISTS, "%s", text);
	return cv_err_set_public(err, CV_ERR_PERM, "Permission denied");
}

int cv_access_create(struct cv_user *user, struct cv_str name, struct cv_err *err)
{
	struct cv_str above = name;
	unsigned has;

	do {
		const struct cv_name *there;
		size_t end = above.len;

		while (end > 0 && above.ptr[end - 1] != '/')
			end--;
		above = cv_str_sub(above, 0, end > 0 ? end - 1 : 0);
		there = cv_tree_find(user, above);
		if (there != NULL && there->mailbox != NULL)
			break;
	} while (above.len > 0);
	if (ask(user, above, &has, err) < 0)
		return -1;
	return (has & CV_RIGHT_CREATE) != 0 ? 1 : cv_err_set_public(err, CV_ERR_PERM, "Permission denied");
}

bool cv_access_sees_below(struct cv_user *user, struct cv_str name)
{
	size_t first, end;

	cv_tree_below(user, name, &first, &end);
	for (; first < end; first++) {
		const struct cv_name *below = user->names.data[first];
		struct cv_mailbox_info info = { .name = cv_name_str(below), .exists = below->mailbox != NULL };

		if (below->subscribed || cv_mailbox_visible(user, &info))
			return true;
	}
	return false;
}

int cv_mailbox_open(struct cv_user *user, struct cv_str name, unsigned rights, struct cv_mailbox **mailbox_r, struct cv_err *err)
{
	if (cv_mailbox_get(user, name, mailbox_r, err) < 0)
		return -1;
	if (cv_mailbox_may(*mailbox_r, rights, err) > 0)
		return 1;
	cv_mailbox_unref(mailbox_r);
	return -1;
}

int cv_mailbox_may(struct cv_mailbox *mailbox, unsigned rights, struct cv_err *err)
{
	return mailbox->gone ? cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted") :
			       cv_access_check(mailbox->user, cv_mailbox_name(mailbox), rights, err);
}

/* ---- transactions ---------------------------------------------------------------------------------------------- */

void cv_txn_trust(struct cv_txn *txn)
{
	txn->trusted = true;
}

int cv_txn_rights(struct cv_txn *txn, struct cv_mailbox *mailbox, unsigned *rights_r, struct cv_err *err)
{
	*rights_r = CV_RIGHT_ALL;
	if (txn->internal || txn->trusted || !txn->user->access_hook)
		return 1;
	/* Many messages of one command go to one mailbox. */
	if (!txn->asked || memcmp(&txn->asked_of, &mailbox->guid, sizeof(txn->asked_of)) != 0) {
		txn->asked = false;
		if (ask(txn->user, cv_mailbox_name(mailbox), &txn->rights, err) < 0)
			return -1;
		txn->asked = true;
		txn->asked_of = mailbox->guid;
	}
	*rights_r = txn->rights;
	return 1;
}

int cv_txn_may(struct cv_txn *txn, struct cv_mailbox *mailbox, unsigned needed, unsigned *rights_r, struct cv_err *err)
{
	if (cv_txn_rights(txn, mailbox, rights_r, err) < 0)
		return -1;
	return (*rights_r & needed) == needed ? 1 : cv_access_missing(*rights_r, err);
}

uint16_t cv_rights_flags(unsigned rights)
{
	uint16_t flags = 0;

	if ((rights & CV_RIGHT_SEEN) != 0)
		flags |= CV_FLAG_SEEN;
	if ((rights & CV_RIGHT_DELETED) != 0)
		flags |= CV_FLAG_DELETED;
	if ((rights & CV_RIGHT_WRITE) != 0)
		flags |= CV_FLAG_ALL & ~(CV_FLAG_SEEN | CV_FLAG_DELETED);
	return flags;
}
