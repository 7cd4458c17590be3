/* SPDX-License-Identifier: MIT
   Names: listing, creating, deleting, renaming, subscribing. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

char cv_user_separator(const struct cv_user *user)
{
	return user->set->namespace_separator == 0 ? '/' : '.';
}

/* ---- listing -------------------------------------------------------------------------------------------------- */

static void add_info(struct cv_user *user, struct cv_str name, const struct cv_name *real)
{
	struct cv_mailbox_info *info = cv_vec_push(&user->list);

	info->name = name;
	if (real == NULL)
		return;
	info->subscribed = real->subscribed;
	if (real->mailbox != NULL) {
		info->exists = true;
		info->special_use = real->mailbox->special_use;
		info->uidvalidity = real->mailbox->uidvalidity;
		memcpy(info->guid, real->mailbox->guid.b, sizeof(info->guid));
	}
}

static bool is_parent_of(struct cv_str parent, struct cv_str name)
{
	return name.len > parent.len && name.ptr[parent.len] == '/' && cv_str_starts(name, parent);
}

/* Names in order, with parents that exist only because of their children put in before them. */
static void build_list(struct cv_user *user)
{
	struct cv_str before = { 0 };

	user->list.count = 0;
	for (size_t i = 0; i < user->names.count; i++) {
		struct cv_str name = cv_name_str(user->names.data[i]);

		for (size_t at = 0; at < name.len; at++) {
			struct cv_str parent = cv_str_sub(name, 0, at);

			if (name.ptr[at] != '/' || cv_str_eq(parent, before) || is_parent_of(parent, before))
				continue;
			add_info(user, parent, NULL);
		}
		add_info(user, name, user->names.data[i]);
		before = name;
	}
	for (size_t i = 0; i + 1 < user->list.count; i++)
		user->list.data[i].has_children = is_parent_of(user->list.data[i].name, user->list.data[i + 1].name);
	user->list_valid = true;
}

static void ready(struct cv_user *user)
{
	cv_user_sync_folders(user);
	if (!user->list_valid)
		build_list(user);
}

/* Index of the first name that is not before name. */
static size_t position(const struct cv_user *user, struct cv_str name)
{
	size_t low = 0, high = user->list.count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (cv_tree_compare(user->list.data[mid].name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void cv_mailbox_seek(struct cv_user *user, struct cv_str name, size_t *pos_r)
{
	ready(user);
	*pos_r = position(user, name);
}

bool cv_mailbox_next(struct cv_user *user, size_t *pos, struct cv_mailbox_info *info_r)
{
	if (*pos == 0)
		cv_user_sync_folders(user);
	if (!user->list_valid)
		build_list(user);
	if (*pos >= user->list.count)
		return false;
	*info_r = user->list.data[(*pos)++];
	return true;
}

int cv_mailbox_lookup(struct cv_user *user, struct cv_str name, struct cv_mailbox_info *info_r)
{
	struct cv_arena *arena = cv_arena_new("mailbox name", NULL, 0);
	struct cv_str canonical = cv_tree_canonical(arena, name);
	int found = 0;
	size_t at;

	*info_r = (struct cv_mailbox_info){ 0 };
	ready(user);
	at = position(user, canonical);
	if (at < user->list.count && cv_str_eq(user->list.data[at].name, canonical)) {
		*info_r = user->list.data[at];
		found = 1;
	}
	cv_arena_free(&arena);
	return found;
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

/* RFC 6855 section 3: names "MUST NOT contain control characters (U+0000-U+001F and U+0080-U+009F), a delete character (U+007F), a line separator
   (U+2028), or a paragraph separator (U+2029)". */
static bool holds_control(struct cv_str name)
{
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = (uint8_t)name.ptr[i], next = i + 1 < name.len ? (uint8_t)name.ptr[i + 1] : 0;

		if (c < ' ' || c == 0x7f || (c == 0xc2 && next < 0xa0))
			return true;
	}
	return cv_str_find_str(name, CV_STR("\xe2\x80\xa8")) != SIZE_MAX || cv_str_find_str(name, CV_STR("\xe2\x80\xa9")) != SIZE_MAX;
}

int cv_mailbox_name_ok(struct cv_user *user, struct cv_str name, struct cv_err *err)
{
	if (name.len == 0 || name.len > user->set->mail_max_mailbox_name_length)
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is empty or too long");
	if (!cv_str_is_utf8(name))
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name is not valid UTF-8");
	if (holds_control(name))
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name holds a control character");
	if (name.ptr[0] == '/' || name.ptr[name.len - 1] == '/' || cv_str_find_str(name, CV_STR("//")) != SIZE_MAX)
		return cv_err_set_public(err, CV_ERR_INVALID, "Mailbox name has an empty level");
	return user->storage->mailbox_name_check(user->st, name, err) < 0 ? -1 : 1;
}

static int run_hook(struct cv_user *user, enum cv_mailbox_op op, struct cv_str name, struct cv_str new_name, struct cv_err *err)
{
	struct cv_hook_mailbox_op args = { .user = user, .op = op, .name = name, .new_name = new_name };
	enum cv_hook_result result;

	if (user->registry == NULL)
		return 1;
	result = cv_hook_run_mailbox_op(user->registry, &args, err);
	return result == CV_HOOK_PASS || result == CV_HOOK_DONE ? 1 : -1;
}

static void run_hook_done(struct cv_user *user, enum cv_mailbox_op op, struct cv_str name, struct cv_str new_name)
{
	struct cv_hook_mailbox_op args = { .user = user, .op = op, .name = name, .new_name = new_name };
	struct cv_err ignored = { 0 };

	if (user->registry != NULL)
		(void)cv_hook_run_mailbox_op_done(user->registry, &args, &ignored);
}

static int record(struct cv_user *user, const struct cv_entry *entry, struct cv_err *err)
{
	struct cv_txn *txn = cv_txn_begin(user);

	txn->internal = true;
	cv_txn_add_entry(txn, entry);
	return cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
}

uint32_t cv_user_new_uidvalidity(struct cv_user *user)
{
	int64_t now = cv_time_now_sec();
	uint32_t next = now > 0 && now <= UINT32_MAX ? (uint32_t)now : 1;

	if (next <= user->last_uidvalidity)
		next = user->last_uidvalidity + 1;
	user->last_uidvalidity = next;
	return next;
}

/* A mailbox that had this name, and was deleted or renamed, may still have its folder there. */
static int clear_way(struct cv_user *user, struct cv_str name, struct cv_err *err)
{
	cv_work_run(user, true);
	return cv_work_has_folder(user, name) ? cv_work_folders(user, err) : 1;
}

/* A mailbox that is being made. */
struct making {
	struct cv_mailbox_ref ref;
	struct cv_entry entry;
	bool subscribe;
	int made; /* what the storage said */
};

static void making_init(struct cv_user *user, struct making *making, struct cv_str name, unsigned special_use)
{
	*making = (struct making){ .ref.name = name, .entry = { .kind = CV_ENTRY_CREATE, .name = name, .special_use = special_use } };
	cv_random(making->entry.mailbox.b, sizeof(making->entry.mailbox.b));
	making->entry.uidvalidity = making->ref.uidvalidity = cv_user_new_uidvalidity(user);
	memcpy(making->ref.guid, making->entry.mailbox.b, sizeof(making->ref.guid));
}

/* In storage one after the other, and all in the journal, or none. *done_r: how many the storage was asked for. */
static int make_in(struct cv_txn *txn, struct making *all, size_t count, size_t *done_r, struct cv_err *err)
{
	struct cv_user *user = txn->user;

	txn->internal = true;
	for (*done_r = 0; *done_r < count;) {
		struct making *making = &all[(*done_r)++];
		const struct cv_entry subscribe = { .kind = CV_ENTRY_SUBSCRIBE, .name = making->entry.name, .on = true };

		making->made = user->storage->mailbox_create(user->st, &making->ref, err);
		if (making->made < 0)
			return -1;
		cv_txn_add_entry(txn, &making->entry);
		if (making->subscribe)
			cv_txn_add_entry(txn, &subscribe);
	}
	return 1;
}

static void was_made(struct cv_user *user, const struct making *making)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &making->entry.mailbox);

	cv_folder_kept(user, &making->ref);
	if (mailbox == NULL)
		return;
	mailbox->take_over = making->made == CV_FOLDER_WAS_THERE; /* what lies in it belongs to the mailbox now */
	mailbox->has_folder = making->made != CV_FOLDER_LATER;
}

/* In storage and journal, without hooks. */
static int make(struct cv_user *user, struct making *all, size_t count, struct cv_err *err)
{
	struct cv_txn *txn;
	size_t done;
	int ret;

	for (size_t i = 0; i < count; i++) {
		if (clear_way(user, all[i].ref.name, err) < 0)
			return -1;
	}
	txn = cv_txn_begin(user);
	ret = make_in(txn, all, count, &done, err);
	if (ret < 0)
		cv_txn_rollback(&txn);
	else
		ret = cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
	for (size_t i = 0; i < done; i++) {
		if (ret > 0)
			was_made(user, &all[i]);
		else if (all[i].made <= CV_FOLDER_MADE)
			cv_folder_refused(user, &all[i].ref);
	}
	return ret;
}

static int create(struct cv_user *user, struct cv_str name, unsigned special_use, struct cv_err *err)
{
	struct making making;

	making_init(user, &making, name, special_use);
	return make(user, &making, 1, err);
}

int cv_mailbox_create(struct cv_user *user, struct cv_str name, unsigned special_use, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("create", NULL, 0);
	struct cv_name *there;
	int ret = -1;

	cv_user_sync_folders(user);
	name = cv_arena_str(arena, cv_tree_canonical(arena, name));
	there = cv_tree_find(user, name);
	if (there != NULL && there->mailbox != NULL)
		(void)cv_access_taken(user, name, "Mailbox already exists", err);
	else if (user->names.count >= user->set->mail_max_mailboxes)
		(void)cv_err_set_public(err, CV_ERR_LIMIT, "Too many mailboxes");
	else if (cv_mailbox_name_ok(user, name, err) > 0 && cv_access_create(user, name, err) > 0 &&
		run_hook(user, CV_OP_CREATE, name, (struct cv_str){ 0 }, err) > 0)
		ret = create(user, name, special_use, err);
	if (ret > 0)
		run_hook_done(user, CV_OP_CREATE, name, (struct cv_str){ 0 });
	cv_arena_free(&arena);
	return ret;
}

int cv_mailbox_delete(struct cv_user *user, struct cv_str name, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("delete", NULL, 0);
	struct cv_entry entry = { .kind = CV_ENTRY_DELETE };
	struct cv_name *there;
	int ret = -1;

	cv_user_sync_folders(user);
	name = cv_arena_str(arena, cv_tree_canonical(arena, name));
	there = cv_tree_find(user, name);
	if (cv_str_eq_c(name, "INBOX")) {
		(void)cv_err_set_public(err, CV_ERR_PERM, "INBOX can't be deleted");
	} else if (there == NULL || there->mailbox == NULL) {
		if (there != NULL || cv_access_sees_below(user, name))
			(void)cv_err_set_public(err, CV_ERR_PERM, "Name has no mailbox, only others below it");
		else
			(void)cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox doesn't exist");
	} else if (cv_access_check(user, name, CV_RIGHT_DELETE, err) > 0 && run_hook(user, CV_OP_DELETE, name, (struct cv_str){ 0 }, err) > 0) {
		entry.name = name;
		entry.mailbox = there->mailbox->guid;
		ret = cv_owed_all(user, err) < 0 ? -1 : record(user, &entry, err); /* copies may be made of what is in it */
	}
	if (ret > 0) {
		cv_work_run(user, true);
		run_hook_done(user, CV_OP_DELETE, name, (struct cv_str){ 0 });
	}
	cv_arena_free(&arena);
	return ret;
}

/* The mailbox that was made for a change which then failed. */
static void take_back(struct cv_user *user, struct cv_mailbox *mailbox)
{
	struct cv_entry entry = { .kind = CV_ENTRY_DELETE, .name = cv_mailbox_name(mailbox), .mailbox = mailbox->guid };
	struct cv_err err = { 0 };

	if (cv_owed_all(user, &err) < 0 || record(user, &entry, &err) < 0)
		cv_error(&user->log_ctx, "rename failed and its new mailbox could not be taken back: %s", err.text);
	else
		cv_work_run(user, true);
}

/* RFC 5464 section 4.1: "mailbox annotations are preserved on the INBOX when it is renamed", and copied to the new mailbox. */
static int copy_annotations(struct cv_txn *txn, struct cv_mailbox *from, struct cv_mailbox *to, struct cv_err *err)
{
	struct cv_annotation annotation;

	for (size_t pos = 0; cv_annotation_next(txn->user, from, &pos, &annotation);) {
		if (cv_annotation_is_public(annotation.name) && cv_txn_annotate(txn, to, annotation.name, annotation.value, err) < 0)
			return -1;
	}
	return 1;
}

/* INBOX stays; what is in it goes to the new mailbox (RFC 3501 section 6.3.5). */
static int rename_inbox(struct cv_user *user, struct cv_str to, struct cv_err *err)
{
	struct cv_ranges all = { 0 }, old_uids = { 0 }, new_uids = { 0 };
	struct cv_mailbox *inbox = NULL, *target = NULL;
	struct cv_txn *txn;
	int ret = -1;

	if (create(user, to, 0, err) < 0)
		return -1;
	if (cv_mailbox_get(user, CV_STR("INBOX"), &inbox, err) > 0 && cv_mailbox_get(user, to, &target, err) > 0 &&
		cv_mailbox_refresh(inbox, err) >= 0 && cv_mailbox_load(inbox, err) > 0) {
		for (uint32_t row = 0; row < inbox->columns->count; row++) {
			if (cv_row_live(inbox->columns, row))
				cv_ranges_add(&all, *cv_col_uid(inbox->columns, row), *cv_col_uid(inbox->columns, row));
		}
		txn = cv_txn_begin(user);
		cv_txn_trust(txn); /* the rights are those of RENAME */
		ret = cv_txn_copy(txn, inbox, &all, target, true, &old_uids, &new_uids, err);
		if (ret >= 0)
			ret = copy_annotations(txn, inbox, target, err);
		if (ret < 0)
			cv_txn_rollback(&txn);
		else
			ret = cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
	}
	if (ret < 0 && target != NULL)
		take_back(user, target);
	if (ret > 0) {
		const struct cv_mail_event event = { .kinds = CV_MAIL_RENAMED, .name = CV_STR("INBOX"), .new_name = to };

		cv_mail_watch_tell(user, &event);
	}
	cv_ranges_free(&all);
	cv_ranges_free(&old_uids);
	cv_ranges_free(&new_uids);
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&target);
	return ret;
}

/* Names below that are only subscribed to are no mailboxes. */
static bool has_mailbox_below(struct cv_user *user, struct cv_str name)
{
	size_t first, end;

	cv_tree_below(user, name, &first, &end);
	for (; first < end; first++) {
		if (user->names.data[first]->mailbox != NULL)
			return true;
	}
	return false;
}

static int check_rename(struct cv_user *user, struct cv_str from, struct cv_str to, struct cv_err *err)
{
	size_t first, end;

	if (cv_tree_find(user, from) == NULL && !cv_access_sees_below(user, from))
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox doesn't exist");
	if (cv_access_check(user, from, CV_RIGHT_DELETE, err) < 0)
		return -1;
	if (cv_str_eq(from, to) || cv_tree_has(user, to)) {
		struct cv_name *name = cv_tree_find(user, to);

		if ((name != NULL && name->mailbox != NULL) || has_mailbox_below(user, to))
			return cv_access_taken(user, to, "Target mailbox already exists", err);
	}
	if (is_parent_of(from, to) && !cv_str_eq_c(from, "INBOX"))
		return cv_err_set_public(err, CV_ERR_INVALID, "A mailbox can't be moved below itself");
	if (cv_mailbox_name_ok(user, to, err) < 0 || cv_access_create(user, to, err) < 0)
		return -1;
	/* Children's names grow with the new one. */
	cv_tree_below(user, from, &first, &end);
	for (; first < end; first++) {
		if (user->names.data[first]->len - from.len + to.len > user->set->mail_max_mailbox_name_length)
			return cv_err_set_public(err, CV_ERR_INVALID, "Name of a mailbox below it would be too long");
	}
	return 1;
}

static int rename_entry(struct cv_user *user, struct cv_str from, struct cv_str to, struct cv_err *err)
{
	const struct cv_entry entry = { .kind = CV_ENTRY_RENAME, .name = from, .new_name = to };
	const struct cv_entry back = { .kind = CV_ENTRY_RENAME, .name = to, .new_name = from };
	struct cv_err back_err = { 0 };

	if (clear_way(user, to, err) < 0 || record(user, &entry, err) < 0)
		return -1;
	if (!cv_work_has_folder(user, from))
		return 1; /* the folders have followed already */
	/* They follow now. When they cannot, the record is taken back by another one. */
	if (cv_work_rename(user, from, to, err) >= 0)
		return 1;
	if (record(user, &back, &back_err) < 0 || cv_work_rename(user, to, from, &back_err) < 0)
		cv_error(&user->log_ctx, "rename failed and could not be taken back: %s", back_err.text);
	return -1;
}

int cv_mailbox_rename(struct cv_user *user, struct cv_str from, struct cv_str to, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("rename", NULL, 0);
	int ret = -1;

	cv_user_sync_folders(user);
	from = cv_arena_str(arena, cv_tree_canonical(arena, from));
	to = cv_arena_str(arena, cv_tree_canonical(arena, to));
	if (check_rename(user, from, to, err) > 0 && run_hook(user, CV_OP_RENAME, from, to, err) > 0)
		ret = cv_str_eq_c(from, "INBOX") ? rename_inbox(user, to, err) : rename_entry(user, from, to, err);
	if (ret > 0)
		run_hook_done(user, CV_OP_RENAME, from, to);
	cv_arena_free(&arena);
	return ret;
}

int cv_mailbox_subscribe(struct cv_user *user, struct cv_str name, bool on, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("subscribe", NULL, 0);
	struct cv_entry entry = { .kind = CV_ENTRY_SUBSCRIBE, .on = on };
	enum cv_mailbox_op op = on ? CV_OP_SUBSCRIBE : CV_OP_UNSUBSCRIBE;
	struct cv_name *there;
	int ret = -1;

	entry.name = cv_arena_str(arena, cv_tree_canonical(arena, name));
	there = cv_tree_find(user, entry.name);
	if (on && cv_mailbox_name_ok(user, entry.name, err) < 0)
		ret = -1;
	else if ((there != NULL && there->subscribed) == on)
		ret = on || cv_tree_has(user, entry.name) ? 1 : cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox isn't subscribed");
	else if (on && there == NULL && user->names.count >= user->set->mail_max_mailboxes * 2)
		ret = cv_err_set_public(err, CV_ERR_LIMIT, "Too many subscriptions");
	else if (run_hook(user, op, entry.name, (struct cv_str){ 0 }, err) > 0) {
		ret = record(user, &entry, err);
		if (ret > 0)
			run_hook_done(user, op, entry.name, (struct cv_str){ 0 });
	}
	cv_arena_free(&arena);
	return ret < 0 ? -1 : 1;
}

/* ---- mailboxes that settings ask for -------------------------------------------------------------------------------- */

struct wanted {
	CV_VEC(struct making) all;
	struct cv_arena *arena;
};

static bool is_wanted(const struct wanted *wanted, struct cv_str name)
{
	for (size_t i = 0; i < wanted->all.count; i++) {
		if (cv_str_eq(wanted->all.data[i].ref.name, name))
			return true;
	}
	return false;
}

/* Hooks are asked. INBOX is not theirs to refuse. */
static int want(struct cv_user *user, struct wanted *wanted, const struct cv_mailbox_settings *set, struct cv_err *err)
{
	struct cv_str name = cv_arena_str(wanted->arena, cv_tree_canonical(wanted->arena, cv_str_c(set->name)));
	const struct cv_name *there = cv_tree_find(user, name);
	bool subscribe = set->auto_ == CV_AUTO_SUBSCRIBE && (there == NULL || !there->subscribed);
	struct making *making;
	uint32_t use;

	if (cv_special_use_parse(set->special_use, &use, err) < 0)
		return -1;
	if (set->auto_ == CV_AUTO_NO || (there != NULL && there->mailbox != NULL) || is_wanted(wanted, name))
		return 1;
	if (!cv_str_eq_c(name, "INBOX")) {
		if (user->names.count + wanted->all.count >= user->set->mail_max_mailboxes)
			return cv_err_set_public(err, CV_ERR_LIMIT, "Too many mailboxes");
		if (cv_mailbox_name_ok(user, name, err) < 0 || run_hook(user, CV_OP_CREATE, name, (struct cv_str){ 0 }, err) < 0)
			return -1;
	}
	if (subscribe && run_hook(user, CV_OP_SUBSCRIBE, name, (struct cv_str){ 0 }, err) < 0)
		return -1;
	making = cv_vec_push(&wanted->all);
	making_init(user, making, name, use);
	making->ref.later = true;
	making->subscribe = subscribe;
	return 1;
}

static void tell_made(struct cv_user *user, const struct making *making)
{
	if (!cv_str_eq_c(making->ref.name, "INBOX"))
		run_hook_done(user, CV_OP_CREATE, making->ref.name, (struct cv_str){ 0 });
	if (making->subscribe)
		run_hook_done(user, CV_OP_SUBSCRIBE, making->ref.name, (struct cv_str){ 0 });
}

/* Those that are missing, by one record. */
static int make_missing(struct cv_user *user, struct cv_err *err)
{
	const struct cv_mailbox_settings inbox = { .name = "INBOX", .auto_ = CV_AUTO_SUBSCRIBE };
	struct wanted wanted = { .arena = cv_arena_new("mailboxes of the settings", NULL, 0) };
	int ret = want(user, &wanted, &inbox, err);

	for (size_t i = 0; ret > 0 && user->mailbox_sets[i] != NULL; i++) {
		ret = want(user, &wanted, user->mailbox_sets[i], err);
		if (ret < 0)
			(void)cv_err_context(err, "mailbox %s of the settings", user->mailbox_sets[i]->name);
	}
	if (ret > 0 && wanted.all.count > 0) {
		ret = make(user, wanted.all.data, wanted.all.count, err);
		for (size_t i = 0; ret > 0 && i < wanted.all.count; i++)
			tell_made(user, &wanted.all.data[i]);
		if (ret < 0)
			(void)cv_err_context(err, "mailboxes of the settings");
	}
	cv_vec_free(&wanted.all);
	cv_arena_free(&wanted.arena);
	return ret;
}

/* Settings may have come later than the mailbox, and do not outdo what the user has set. */
static int set_uses(struct cv_user *user, struct cv_err *err)
{
	for (size_t i = 0; user->mailbox_sets[i] != NULL; i++) {
		const struct cv_name *there = cv_tree_find(user, cv_str_c(user->mailbox_sets[i]->name));
		struct cv_annotation set_by_user;
		uint32_t use;

		if (cv_special_use_parse(user->mailbox_sets[i]->special_use, &use, err) < 0)
			return -1;
		if (there != NULL && there->mailbox != NULL &&
			cv_annotation_get(user, there->mailbox, CV_STR(CV_ANNOTATION_SPECIAL_USE), &set_by_user) == 0)
			there->mailbox->special_use |= use;
	}
	return 1;
}

int cv_user_make_mailboxes(struct cv_user *user, struct cv_err *err)
{
	cv_user_sync_folders(user); /* a folder that is there may become a mailbox by this alone */
	return make_missing(user, err) < 0 ? -1 : set_uses(user, err);
}
