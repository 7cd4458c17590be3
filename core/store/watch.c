/* SPDX-License-Identifier: MIT
   Who watches all of a user's mailboxes is told which of them changed, and of names that come and go. */
#include <config.h>

#include "core/store/store-private.h"

void cv_mail_watch_start(struct cv_user *user, struct cv_mail_watch *watch)
{
	cv_list_append(&user->watches, &watch->node);
}

void cv_mail_watch_stop(struct cv_mail_watch *watch)
{
	cv_list_remove(&watch->node);
}

void cv_mail_watch_tell(struct cv_user *user, const struct cv_mail_event *event)
{
	struct cv_node *node, *tmp;

	cv_list_foreach(&user->watches, node, tmp) {
		struct cv_mail_watch *watch = cv_container(node, struct cv_mail_watch, node);

		watch->fn(watch->ctx, event);
	}
}

/* The name above name; absent: there is none. */
static struct cv_str parent_of(struct cv_str name)
{
	size_t end = name.len;

	while (end > 0 && name.ptr[end - 1] != '/')
		end--;
	return end > 1 ? cv_str_sub(name, 0, end - 1) : (struct cv_str){ 0 };
}

static bool is_subscribed(const struct cv_user *user, struct cv_str name)
{
	const struct cv_name *there = name.len > 0 ? cv_tree_find(user, name) : NULL;

	return there != NULL && there->subscribed;
}

unsigned cv_mail_watch_kind(enum cv_entry_kind kind)
{
	switch (kind) {
	case CV_ENTRY_CREATE:
		return CV_MAIL_CREATED;
	case CV_ENTRY_RENAME:
		return CV_MAIL_RENAMED;
	case CV_ENTRY_DELETE:
		return CV_MAIL_DELETED;
	case CV_ENTRY_SUBSCRIBE:
		return CV_MAIL_SUBSCRIPTION;
	case CV_ENTRY_APPEND:
	case CV_ENTRY_COPY:
		return CV_MAIL_NEW;
	case CV_ENTRY_FLAGS:
		return CV_MAIL_FLAGS;
	case CV_ENTRY_EXPUNGE:
		return CV_MAIL_EXPUNGED;
	case CV_ENTRY_NOTE:
		return CV_MAIL_NOTES;
	case CV_ENTRY_ANNOTATE:
	case CV_ENTRY_RECENT:
	case CV_ENTRY_UIDNEXT:
	case CV_ENTRY_REF:
	case CV_ENTRY_UIDL:
	case CV_ENTRY_OCTETS:
	case CV_ENTRY_SETTLED:
		break; /* nothing that a client sees */
	}
	return 0;
}

void cv_mail_watch_published(const struct cv_txn *txn)
{
	struct cv_user *user = txn->user;

	if (cv_list_empty(&user->watches))
		return;
	for (size_t i = 0; i < txn->ops.count; i++) {
		const struct cv_op *op = &txn->ops.data[i];
		struct cv_mail_event event = { .txn = txn->id };

		if (op->kind != CV_OP_TXN_ENTRY || !cv_entry_is_tree(op->entry.kind))
			continue;
		event.kinds = cv_mail_watch_kind(op->entry.kind);
		event.name = op->entry.name;
		event.new_name = op->entry.new_name;
		event.subscribed = is_subscribed(user, event.kinds == CV_MAIL_RENAMED ? event.new_name : event.name);
		event.parent_subscribed = is_subscribed(user, parent_of(event.name));
		if (event.kinds != 0)
			cv_mail_watch_tell(user, &event);
	}
	for (size_t i = 0; i < txn->touched.count; i++) {
		const struct cv_mailbox *mailbox = txn->touched.data[i];
		struct cv_mail_event event = { .kinds = txn->touched_kinds.data[i], .txn = txn->id };

		if (event.kinds == 0 || mailbox->gone)
			continue;
		event.name = cv_mailbox_name(mailbox);
		event.subscribed = mailbox->name->subscribed;
		cv_mail_watch_tell(user, &event);
	}
}
