/* SPDX-License-Identifier: MIT
   What the commands ask: showing and changing the list of a mailbox. */
#include <config.h>

#include "acl.h"

struct target {
	struct acl_user *acl;
	struct cv_mailbox *mailbox;
	struct acl_box *box;
};

static void end(struct target *target)
{
	cv_mailbox_unref(&target->mailbox);
}

static int begin(struct cv_user *user, struct cv_str name, struct target *target, struct cv_err *err)
{
	*target = (struct target){ 0 };
	if (acl_user_get(user, &target->acl, err) < 0 || cv_mailbox_get(user, name, &target->mailbox, err) < 0)
		return -1;
	if (acl_box_get(target->acl, cv_mailbox_guid(target->mailbox), &target->box, err) > 0)
		return 1;
	end(target);
	return -1;
}

/* Is it the user whose mailbox it is, under its own name or as "owner"? */
static bool is_owner(const struct acl_user *acl, const struct acl_entry *entry)
{
	return entry->kind == ACL_OWNER || (entry->kind == ACL_USER && cv_str_eq(entry->name, acl->who.name));
}

static struct cv_str identifier_of(struct cv_arena *arena, const struct acl_entry *entry)
{
	struct cv_buf id;
	struct cv_str copy;

	cv_buf_init(&id, ACL_TEXT_MAX);
	acl_identifier_append(&id, entry);
	copy = cv_arena_str(arena, cv_buf_str(&id));
	cv_buf_deinit(&id);
	return copy;
}

static int get(struct cv_user *user, struct cv_str mailbox, struct cv_arena *arena, const struct cv_acl_entry **entries_r, size_t *count_r,
	struct cv_err *err)
{
	struct cv_acl_entry *entries;
	struct target target;
	bool owner_told = false;
	size_t count = 0;

	if (begin(user, mailbox, &target, err) < 0)
		return -1;
	entries = cv_new(arena, struct cv_acl_entry, target.box->list.entries.count + 1);
	for (size_t i = 0; i < target.box->list.entries.count; i++) {
		const struct acl_entry *entry = &target.box->list.entries.data[i];

		owner_told |= !entry->negative && is_owner(target.acl, entry);
		entries[count++] = (struct cv_acl_entry){ identifier_of(arena, entry), entry->rights };
	}
	/* The owner has all rights without an entry. */
	if (!owner_told)
		entries[count++] = (struct cv_acl_entry){ cv_arena_str(arena, target.acl->who.name), CV_RIGHT_ALL };
	*entries_r = entries;
	*count_r = count;
	end(&target);
	return 1;
}

static int save(struct target *target, const struct acl_list *list, struct cv_err *err)
{
	struct cv_buf text;
	int ret;

	cv_buf_init(&text, ACL_TEXT_MAX);
	acl_list_write(list, &text);
	if (cv_buf_ok(&text))
		ret = acl_save(target->mailbox, cv_buf_str(&text), err);
	else
		ret = cv_err_set_public(err, CV_ERR_LIMIT, "Access control list is too long");
	cv_buf_deinit(&text);
	target->acl->stale = true;
	return ret;
}

static void copy_list(struct acl_list *to, const struct acl_list *from)
{
	for (size_t i = 0; i < from->entries.count; i++)
		acl_list_add(to, &from->entries.data[i])->rights = from->entries.data[i].rights;
}

/* What the identifier would have after the change; false: nothing changes. */
static bool apply(const struct acl_user *acl, struct acl_list *list, const struct acl_entry *like, enum cv_acl_change how, unsigned rights)
{
	struct acl_entry *entry = acl_list_find(list, like);
	bool owner = is_owner(acl, like);
	unsigned has = entry != NULL ? entry->rights : owner && !like->negative ? CV_RIGHT_ALL : 0;

	if (how == CV_ACL_REMOVE && entry == NULL && has == 0)
		return false;
	if (how == CV_ACL_ADD)
		rights |= has;
	else if (how == CV_ACL_REMOVE)
		rights = has & ~rights;
	/* An owner could not undo the loss of this one. */
	if (owner)
		rights = like->negative ? rights & ~(unsigned)CV_RIGHT_ADMIN : rights | CV_RIGHT_ADMIN;
	acl_list_add(list, like)->rights = rights;
	return true;
}

static bool is_everyone(const struct acl_entry *entry)
{
	return (entry->kind == ACL_ANYONE || entry->kind == ACL_AUTHENTICATED) && !entry->negative;
}

/* gives: it is not only taken away, which is always allowed. */
static int check(const struct acl_user *acl, const struct acl_entry *entry, bool gives, struct cv_err *err)
{
	if (acl->set->acl_globals_only)
		return cv_err_set_public(err, CV_ERR_PERM, "Access control lists are set by the administrator");
	if (gives && is_everyone(entry) && acl->set->acl_anyone == ACL_ANYONE_DENY)
		return cv_err_set_public(err, CV_ERR_PERM, "Rights can't be given to everyone");
	return 1;
}

int acl_change(struct cv_user *user, struct cv_str mailbox, const struct acl_entry *entry, enum cv_acl_change how, unsigned rights, bool administrator,
	struct cv_err *err)
{
	struct target target;
	struct acl_list list;
	struct cv_arena *arena;
	int ret = 1;

	if (begin(user, mailbox, &target, err) < 0)
		return -1;
	arena = cv_arena_new("acl change", NULL, 0);
	acl_list_init(&list, arena);
	copy_list(&list, &target.box->list);
	if (!administrator)
		ret = check(target.acl, entry, how != CV_ACL_REMOVE && rights != 0, err);
	if (ret > 0 && apply(target.acl, &list, entry, how, rights))
		ret = save(&target, &list, err);
	acl_list_free(&list);
	cv_arena_free(&arena);
	end(&target);
	return ret;
}

int acl_delete(struct cv_user *user, struct cv_str mailbox, const struct acl_entry *entry, bool administrator, struct cv_err *err)
{
	struct target target;
	struct acl_list list;
	struct cv_arena *arena;
	int ret = 1;

	if (begin(user, mailbox, &target, err) < 0)
		return -1;
	if (!administrator)
		ret = check(target.acl, entry, false, err);
	if (ret > 0 && acl_list_find(&target.box->list, entry) == NULL)
		ret = 0;
	if (ret > 0) {
		arena = cv_arena_new("acl change", NULL, 0);
		acl_list_init(&list, arena);
		copy_list(&list, &target.box->list);
		acl_list_remove(&list, entry);
		ret = save(&target, &list, err);
		acl_list_free(&list);
		cv_arena_free(&arena);
	}
	end(&target);
	return ret;
}

static int set(struct cv_user *user, struct cv_str mailbox, struct cv_str identifier, enum cv_acl_change how, unsigned rights,
	struct cv_err *err)
{
	struct acl_entry entry;

	if (acl_identifier_parse(identifier, &entry, err) < 0)
		return -1;
	return acl_change(user, mailbox, &entry, how, rights, false, err);
}

static int remove_entry(struct cv_user *user, struct cv_str mailbox, struct cv_str identifier, struct cv_err *err)
{
	struct acl_entry entry;

	if (acl_identifier_parse(identifier, &entry, err) < 0)
		return -1;
	return acl_delete(user, mailbox, &entry, false, err) < 0 ? -1 : 1;
}

static int possible(struct cv_user *user, struct cv_str mailbox, struct cv_str identifier, unsigned *always_r, unsigned *possible_r,
	struct cv_err *err)
{
	struct acl_entry entry;
	struct target target;
	struct cv_err ignored = { 0 };

	if (acl_identifier_parse(identifier, &entry, err) < 0 || begin(user, mailbox, &target, err) < 0)
		return -1;
	*always_r = 0;
	*possible_r = check(target.acl, &entry, true, &ignored) < 0 ? 0 : CV_RIGHT_ALL;
	if (is_owner(target.acl, &entry)) {
		if (entry.negative)
			*possible_r &= ~(unsigned)CV_RIGHT_ADMIN;
		else
			*always_r = CV_RIGHT_ADMIN;
	}
	end(&target);
	return 1;
}

const struct cv_acl_service acl_service_functions = {
	.get = get,
	.set = set,
	.remove = remove_entry,
	.possible = possible,
};
