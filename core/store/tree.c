/* SPDX-License-Identifier: MIT
   The tree of a user's names in memory. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

static bool is_inbox(struct cv_str name)
{
	return cv_str_starts(name, CV_STR("INBOX")) && (name.len == 5 || name.ptr[5] == '/');
}

struct cv_str cv_tree_canonical(struct cv_arena *arena, struct cv_str name)
{
	if (cv_str_casestarts(name, CV_STR("INBOX")) && (name.len == 5 || name.ptr[5] == '/') && !is_inbox(name))
		return cv_str_c(cv_arena_printf(arena, "INBOX%.*s", CV_STR_ARG(cv_str_sub(name, 5, SIZE_MAX))));
	return name;
}

/* INBOX and what is below it first; else octet by octet, the separator lowest, so that parents come before their children and these before
   other names. */
int cv_tree_compare(struct cv_str a, struct cv_str b)
{
	bool a_inbox = is_inbox(a), b_inbox = is_inbox(b);
	size_t len = CV_MIN(a.len, b.len);

	if (a_inbox != b_inbox)
		return a_inbox ? -1 : 1;
	for (size_t i = 0; i < len; i++) {
		uint8_t x = (uint8_t)a.ptr[i], y = (uint8_t)b.ptr[i];

		if (x == y)
			continue;
		if (x == '/' || y == '/')
			return x == '/' ? -1 : 1;
		return x < y ? -1 : 1;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

/* Index of the first name that is not before name. */
static size_t position(const struct cv_user *user, struct cv_str name)
{
	size_t low = 0, high = user->names.count;

	/* The state has names in their order. */
	if (high > 0 && cv_tree_compare(cv_name_str(user->names.data[high - 1]), name) < 0)
		return high;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (cv_tree_compare(cv_name_str(user->names.data[mid]), name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct cv_name *cv_tree_find(const struct cv_user *user, struct cv_str name)
{
	return cv_map_get(user->names_by_text, name);
}

static void insert(struct cv_user *user, struct cv_name *name)
{
	size_t at = position(user, cv_name_str(name));

	(void)cv_vec_push(&user->names);
	memmove(&user->names.data[at + 1], &user->names.data[at], (user->names.count - 1 - at) * sizeof(struct cv_name *));
	user->names.data[at] = name;
	cv_map_set(user->names_by_text, cv_name_str(name), name);
	user->list_valid = false;
}

static void take_out(struct cv_user *user, struct cv_name *name)
{
	size_t at = position(user, cv_name_str(name));

	cv_assert(at < user->names.count && user->names.data[at] == name);
	memmove(&user->names.data[at], &user->names.data[at + 1], (user->names.count - 1 - at) * sizeof(struct cv_name *));
	user->names.count--;
	cv_map_remove(user->names_by_text, cv_name_str(name));
	user->list_valid = false;
}

static void set_text(struct cv_name *name, struct cv_str text)
{
	cv_free(name->text);
	name->text = cv_malloc(text.len + 1);
	memcpy(name->text, text.ptr, text.len);
	name->text[text.len] = '\0';
	name->len = text.len;
	if (name->mailbox != NULL)
		name->mailbox->log_ctx.mailbox = cv_name_str(name);
}

struct cv_name *cv_tree_add(struct cv_user *user, struct cv_str text)
{
	struct cv_name *name = cv_tree_find(user, text);

	if (name != NULL)
		return name;
	name = cv_new0(struct cv_name);
	set_text(name, text);
	insert(user, name);
	return name;
}

static void free_name(struct cv_name *name)
{
	cv_free(name->text);
	cv_free(name);
}

void cv_tree_prune(struct cv_user *user, struct cv_name *name)
{
	user->list_valid = false;
	if (name->mailbox != NULL || name->subscribed)
		return;
	take_out(user, name);
	free_name(name);
}

void cv_tree_below(const struct cv_user *user, struct cv_str prefix, size_t *first_r, size_t *end_r)
{
	size_t at = position(user, prefix);

	if (at < user->names.count && cv_str_eq(cv_name_str(user->names.data[at]), prefix))
		at++;
	*first_r = at;
	while (at < user->names.count) {
		struct cv_str name = cv_name_str(user->names.data[at]);

		if (!cv_str_starts(name, prefix) || name.len <= prefix.len || name.ptr[prefix.len] != '/')
			break;
		at++;
	}
	*end_r = at;
}

bool cv_tree_has(const struct cv_user *user, struct cv_str name)
{
	size_t first, end;

	if (cv_tree_find(user, name) != NULL)
		return true;
	cv_tree_below(user, name, &first, &end);
	return end > first;
}

static void move_mailbox(struct cv_user *user, struct cv_name *name, struct cv_str to)
{
	struct cv_mailbox *mailbox = name->mailbox;
	struct cv_name *target;

	if (mailbox == NULL)
		return;
	name->mailbox = NULL;
	target = cv_tree_add(user, to);
	cv_assert(target->mailbox == NULL);
	target->mailbox = mailbox;
	mailbox->name = target;
	mailbox->log_ctx.mailbox = cv_name_str(target);
}

void cv_tree_rename(struct cv_user *user, struct cv_str from, struct cv_str to)
{
	CV_VEC(struct cv_name *) moved = { 0 };
	struct cv_name *name = cv_tree_find(user, from);
	size_t first, end;

	if (name != NULL)
		*cv_vec_push(&moved) = name;
	cv_tree_below(user, from, &first, &end);
	for (; first < end; first++)
		*cv_vec_push(&moved) = user->names.data[first];
	for (size_t i = 0; i < moved.count; i++) {
		struct cv_str old = cv_name_str(moved.data[i]);
		struct cv_buf text;

		cv_buf_init(&text, old.len + to.len + 1);
		cv_buf_append(&text, to);
		cv_buf_append(&text, cv_str_sub(old, from.len, SIZE_MAX));
		move_mailbox(user, moved.data[i], cv_buf_str(&text));
		cv_buf_deinit(&text);
		cv_tree_prune(user, moved.data[i]);
	}
	cv_vec_free(&moved);
	user->list_valid = false;
}

void cv_tree_free(struct cv_user *user)
{
	for (size_t i = 0; i < user->names.count; i++) {
		struct cv_name *name = user->names.data[i];

		if (name->mailbox != NULL)
			cv_mailbox_free(name->mailbox);
		free_name(name);
	}
	cv_vec_free(&user->names);
	cv_map_free(&user->names_by_text);
}
