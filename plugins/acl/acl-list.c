/* SPDX-License-Identifier: MIT
   Access control lists: what they say. */
#include <config.h>

#include "acl-list.h"

#include <string.h>

const char *acl_kind_word(enum acl_kind kind)
{
	static const char *const words[] = { [ACL_ANYONE] = "anyone", [ACL_AUTHENTICATED] = "authenticated", [ACL_GROUP] = "group=",
		[ACL_OWNER] = "owner", [ACL_USER] = "user=", [ACL_GROUP_OVERRIDE] = "group-override=" };

	return words[kind];
}

void acl_list_init(struct acl_list *list, struct cv_arena *arena)
{
	*list = (struct acl_list){ .arena = arena };
}

void acl_list_free(struct acl_list *list)
{
	cv_vec_free(&list->entries);
}

/* ---- entries ---------------------------------------------------------------------------------------------------- */

static bool is_same(const struct acl_entry *a, const struct acl_entry *b)
{
	return a->kind == b->kind && a->negative == b->negative && cv_str_eq(a->name, b->name) && cv_str_eq(a->pattern, b->pattern);
}

struct acl_entry *acl_list_find(struct acl_list *list, const struct acl_entry *like)
{
	for (size_t i = 0; i < list->entries.count; i++)
		if (is_same(&list->entries.data[i], like))
			return &list->entries.data[i];
	return NULL;
}

struct acl_entry *acl_list_add(struct acl_list *list, const struct acl_entry *like)
{
	struct acl_entry *entry = acl_list_find(list, like);
	size_t at;

	if (entry != NULL)
		return entry;
	(void)cv_vec_push(&list->entries);
	for (at = list->entries.count - 1; at > 0 && list->entries.data[at - 1].kind > like->kind; at--)
		list->entries.data[at] = list->entries.data[at - 1];
	entry = &list->entries.data[at];
	*entry = *like;
	entry->rights = 0;
	entry->name = cv_arena_str(list->arena, like->name);
	entry->pattern = cv_arena_str(list->arena, like->pattern);
	return entry;
}

void acl_list_remove(struct acl_list *list, const struct acl_entry *like)
{
	struct acl_entry *entry = acl_list_find(list, like);
	size_t at;

	if (entry == NULL)
		return;
	at = (size_t)(entry - list->entries.data);
	memmove(entry, entry + 1, (list->entries.count - at - 1) * sizeof(*entry));
	list->entries.count--;
}

/* ---- identifiers ------------------------------------------------------------------------------------------------ */

int acl_identifier_parse(struct cv_str id, struct acl_entry *entry_r, struct cv_err *err)
{
	*entry_r = (struct acl_entry){ 0 };
	if (id.len > 0 && id.ptr[0] == '-') {
		entry_r->negative = true;
		id = cv_str_sub(id, 1, SIZE_MAX);
	}
	entry_r->kind = ACL_USER;
	for (enum acl_kind kind = ACL_ANYONE; kind <= ACL_GROUP_OVERRIDE; kind++) {
		if (!acl_kind_is_named(kind) && cv_str_eq_c(id, acl_kind_word(kind))) {
			entry_r->kind = kind;
			return 0;
		}
	}
	if (cv_str_starts(id, CV_STR("!$"))) {
		entry_r->kind = ACL_GROUP_OVERRIDE;
		id = cv_str_sub(id, 2, SIZE_MAX);
	} else if (cv_str_starts(id, CV_STR("$"))) {
		entry_r->kind = ACL_GROUP;
		id = cv_str_sub(id, 1, SIZE_MAX);
	}
	entry_r->name = id;
	if (id.len == 0)
		return cv_err_set_public(err, CV_ERR_INVALID, "Identifier is empty");
	if (id.ptr[0] == '-')
		return cv_err_set_public(err, CV_ERR_INVALID, "Identifiers don't begin with a dash");
	return 0;
}

void acl_identifier_append(struct cv_buf *out, const struct acl_entry *entry)
{
	if (entry->negative)
		cv_buf_append_char(out, '-');
	switch (entry->kind) {
	case ACL_ANYONE:
	case ACL_AUTHENTICATED:
	case ACL_OWNER:
		cv_buf_append_c(out, acl_kind_word(entry->kind));
		return;
	case ACL_GROUP:
		cv_buf_append_char(out, '$');
		break;
	case ACL_GROUP_OVERRIDE:
		cv_buf_append_c(out, "!$");
		break;
	case ACL_USER:
		break;
	}
	cv_buf_append(out, entry->name);
}

/* ---- rights ----------------------------------------------------------------------------------------------------- */

bool acl_matches(const struct acl_entry *entry, const struct acl_who *who)
{
	switch (entry->kind) {
	case ACL_ANYONE:
	case ACL_AUTHENTICATED:
		return true;
	case ACL_OWNER:
		return who->owner;
	case ACL_USER:
		return cv_str_eq(entry->name, who->name);
	case ACL_GROUP:
	case ACL_GROUP_OVERRIDE:
		for (size_t i = 0; i < who->group_count; i++)
			if (cv_str_eq(entry->name, who->groups[i]))
				return true;
		return false;
	}
	return false;
}

struct found {
	unsigned rights, taken;
	enum acl_kind kind; /* of the entries that rights are of */
};

/* An entry that is for who asks; entries come in the order of their kinds. */
static void take(struct found *found, const struct acl_entry *entry)
{
	if (entry->negative) {
		found->taken |= entry->rights;
		return;
	}
	if (found->kind != entry->kind)
		found->rights = 0;
	found->rights |= entry->rights;
	found->kind = entry->kind;
}

static void take_local(struct found *found, const struct acl_list *local, const struct acl_who *who)
{
	const struct acl_entry all = { .kind = ACL_OWNER, .rights = CV_RIGHT_ALL };
	bool owner_due = who->owner;

	for (size_t i = 0; local != NULL && i < local->entries.count; i++)
		if (local->entries.data[i].kind == ACL_OWNER && !local->entries.data[i].negative)
			owner_due = false;
	for (size_t i = 0; local != NULL && i < local->entries.count; i++) {
		const struct acl_entry *entry = &local->entries.data[i];

		if (owner_due && entry->kind >= ACL_OWNER) {
			take(found, &all);
			owner_due = false;
		}
		if (acl_matches(entry, who))
			take(found, entry);
	}
	if (owner_due)
		take(found, &all);
	if (who->owner) {
		found->rights |= CV_RIGHT_ADMIN;
		found->taken &= ~(unsigned)CV_RIGHT_ADMIN;
	}
}

unsigned acl_rights(const struct acl_list *local, const struct acl_list *global, struct cv_str mailbox, const struct acl_who *who)
{
	struct found found = { 0 };

	take_local(&found, local, who);
	found.kind = 0; /* what the administrator says replaces it */
	for (size_t i = 0; global != NULL && i < global->entries.count; i++) {
		const struct acl_entry *entry = &global->entries.data[i];

		if (acl_matches(entry, who) && cv_str_like(mailbox, entry->pattern))
			take(&found, entry);
	}
	return found.rights & ~found.taken;
}
