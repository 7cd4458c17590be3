/* SPDX-License-Identifier: MIT
   A user's lists in memory. */
#include <config.h>

#include "acl.h"

unsigned acl_user_slot;

/* acl_groups of the userdb: names with commas between. */
static void take_groups(struct acl_user *acl, struct cv_str text)
{
	CV_VEC(struct cv_str) groups = { 0 };
	struct cv_str name, *copy;

	while (text.len > 0) {
		cv_str_split(text, ',', &name, &text);
		name = cv_str_trim(name);
		if (name.len > 0)
			*cv_vec_push(&groups) = cv_arena_str(acl->arena, name);
	}
	copy = cv_new(acl->arena, struct cv_str, groups.count + 1);
	for (size_t i = 0; i < groups.count; i++)
		copy[i] = groups.data[i];
	acl->who.groups = copy;
	acl->who.group_count = groups.count;
	cv_vec_free(&groups);
}

static void forget(struct acl_user *acl)
{
	struct cv_str key;
	void *value;
	size_t pos = 0;

	while (cv_map_next(acl->boxes, &pos, &key, &value))
		acl_list_free(&((struct acl_box *)value)->list);
	cv_map_free(&acl->boxes);
	acl->boxes = cv_map_new();
	cv_arena_reset(acl->cache);
	acl->stale = false;
}

static void on_annotation(void *ctx, const struct cv_annotation_change *change)
{
	struct acl_user *acl = ctx;

	acl->stale |= acl_is_entry(change->name);
}

int acl_user_get(struct cv_user *user, struct acl_user **acl_r, struct cv_err *err)
{
	void **slot = cv_user_data(user, acl_user_slot);
	struct acl_user *acl = *slot;
	struct cv_arena *arena;
	const void *set;

	*acl_r = acl;
	if (acl != NULL) {
		if (acl->stale)
			forget(acl);
		return 1;
	}
	arena = cv_arena_new("acl", NULL, 0);
	acl = cv_new(arena, struct acl_user, 1);
	acl->arena = arena;
	acl->user = user;
	if (cv_conf_get(cv_user_conf(user), &acl_settings_table, NULL, arena, &set, err) < 0 ||
		acl_global_parse(set, arena, &acl->global, err) < 0) {
		acl_list_free(&acl->global);
		cv_arena_free(&arena);
		return -1;
	}
	acl->set = set;
	acl->who = (struct acl_who){ .name = cv_str_c(cv_user_name(user)), .owner = true };
	take_groups(acl, cv_str_c(cv_user_field(user, "acl_groups")));
	acl->cache = cv_arena_new("acl mailboxes", arena, 0);
	acl->boxes = cv_map_new();
	acl->watch = cv_annotations_watch(user, on_annotation, acl);
	*slot = acl;
	*acl_r = acl;
	return 1;
}

void acl_user_forget(struct cv_user *user)
{
	struct acl_user *acl = *cv_user_data(user, acl_user_slot);

	if (acl != NULL)
		acl->stale = true;
}

void acl_user_free(struct cv_user *user)
{
	void **slot = cv_user_data(user, acl_user_slot);
	struct acl_user *acl = *slot;

	*slot = NULL;
	if (acl == NULL)
		return;
	forget(acl);
	cv_annotations_unwatch(&acl->watch);
	cv_map_free(&acl->boxes);
	acl_list_free(&acl->global);
	cv_arena_free(&acl->arena);
}

static int load(struct acl_user *acl, const uint8_t *guid, struct acl_box *box, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_buf text;
	int ret;

	if (acl->set->acl_globals_only)
		return 1;
	if (cv_mailbox_get_guid(acl->user, guid, &mailbox, err) < 0)
		return -1;
	cv_buf_init(&text, ACL_TEXT_MAX);
	ret = acl_load(mailbox, &text, err);
	box->listed = ret > 0;
	if (ret > 0)
		ret = acl_list_parse(&box->list, cv_buf_str(&text), false, err) < 0 ? -1 : 1;
	if (ret < 0)
		(void)cv_err_context(err, "access control list of mailbox %.*s", CV_STR_ARG(cv_mailbox_name(mailbox)));
	cv_buf_deinit(&text);
	cv_mailbox_unref(&mailbox);
	return ret < 0 ? -1 : 1;
}

int acl_box_get(struct acl_user *acl, const uint8_t *guid, struct acl_box **box_r, struct cv_err *err)
{
	struct cv_str key = cv_str_mem(guid, 16);
	struct acl_box *box = cv_map_get(acl->boxes, key);

	*box_r = box;
	if (box != NULL)
		return 1;
	box = cv_new(acl->cache, struct acl_box, 1);
	acl_list_init(&box->list, acl->cache);
	if (load(acl, guid, box, err) < 0) {
		acl_list_free(&box->list);
		return -1;
	}
	cv_map_set(acl->boxes, key, box);
	*box_r = box;
	return 1;
}
