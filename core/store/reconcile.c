/* SPDX-License-Identifier: MIT
   Reconciling a mailbox with what the storage module really has: storage that other programs change too, folders that were there before, and
   mailboxes whose journal or snapshots were damaged.

   A row and a file are the same message when the UID that the format knows and the lasting part of the reference agree, or the latter alone. What the
   storage still has to be told (flags to be mirrored, octets to be removed) is done first; what could not be done is left out of the comparison, so that
   a change of ours that is still on its way is not undone. */
#include <config.h>

#include "core/store/reconcile.h"

#include <string.h>

#define NO_BASE 0xffffu

static struct cv_str key_of(const struct cv_user *user, struct cv_str ref)
{
	return user->storage->ref_key != NULL ? user->storage->ref_key(ref) : ref;
}

/* ---- what the storage has not been told yet ------------------------------------------------------------------------ */

static void note_going(struct cv_reconcile *r, const struct cv_entry *entry)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_reader reader = cv_reader_init(entry->groups);
	struct cv_group group;
	struct cv_str ref;

	while (cv_group_next(&reader, entry->kind, &group) > 0) {
		while (cv_take_ref(&group.refs, &ref)) {
			if (ref.len == 0)
				continue;
			if (r->going == NULL)
				r->going = cv_map_new();
			cv_map_set(r->going, key_of(user, ref), r);
		}
	}
}

static void note_unmirrored(struct cv_reconcile *r, const struct cv_entry *entry)
{
	struct cv_columns *columns = r->mailbox->columns;
	struct cv_reader reader = cv_reader_init(entry->groups);
	struct cv_group group;
	struct cv_range range;

	while (cv_group_next(&reader, entry->kind, &group) > 0) {
		range = (struct cv_range){ 0 };
		while (cv_range_next(&group, &range) > 0) {
			uint32_t row = cv_columns_from(columns, range.first);

			for (; row < r->rows && *cv_col_uid(columns, row) <= range.last; row++) {
				if (r->base == NULL) {
					r->base = cv_calloc((size_t)r->rows + 1, sizeof(*r->base));
					r->ours = cv_calloc((size_t)r->rows + 1, sizeof(*r->ours));
					memset(r->base, 0xff, r->rows * sizeof(*r->base));
				}
				if (r->base[row] == NO_BASE)
					r->base[row] = group.flags_before;
				r->ours[row] |= 1u << (group.flags_before & CV_FLAG_ALL) | 1u << (group.flags_after & CV_FLAG_ALL);
			}
		}
	}
}

static int note_record(void *ctx, const struct cv_record_head *head, struct cv_str entries)
{
	struct cv_reconcile *r = ctx;
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;

	(void)head;
	while (cv_entry_next(&reader, &entry) > 0) {
		if (memcmp(&entry.mailbox, &r->mailbox->guid, sizeof(entry.mailbox)) != 0)
			continue;
		if (entry.kind == CV_ENTRY_EXPUNGE)
			note_going(r, &entry);
		else if (entry.kind == CV_ENTRY_FLAGS && r->mailbox->user->external)
			note_unmirrored(r, &entry);
	}
	return 1;
}

static int note_work(struct cv_reconcile *r, struct cv_err *err)
{
	return cv_work_each(r->mailbox->user, false, note_record, r, err);
}

/* Keywords that the format has no place for stay as they are. */
static int note_keywords(struct cv_reconcile *r, struct cv_err *err)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(r->mailbox);

	r->kept_count = r->mailbox->keywords.names.count;
	r->kept = cv_calloc(r->kept_count + 1, sizeof(*r->kept));
	for (size_t i = 0; i < r->kept_count; i++) {
		int ret = user->storage->keeps_keyword == NULL ? 1 :
			user->storage->keeps_keyword(user->st, &ref, r->mailbox->keywords.names.data[i], err);

		if (ret < 0)
			return -1;
		r->kept[i] = ret > 0;
	}
	return 1;
}

/* ---- comparing ------------------------------------------------------------------------------------------------------ */

static bool key_is(const struct cv_reconcile *r, uint32_t row, struct cv_str key)
{
	return cv_str_eq(key_of(r->mailbox->user, cv_columns_ref(r->mailbox->columns, row)), key);
}

static void index_rows(struct cv_reconcile *r)
{
	r->by_key = cv_map_new();
	for (uint32_t row = 0; row < r->rows; row++) {
		if (cv_row_live(r->mailbox->columns, row))
			cv_map_set(r->by_key, key_of(r->mailbox->user, cv_columns_ref(r->mailbox->columns, row)), (void *)((uintptr_t)row + 1));
	}
}

static bool find_row(struct cv_reconcile *r, const struct cv_storage_found *found, struct cv_str key, uint32_t *row_r)
{
	uintptr_t index;

	if (found->uid_known && cv_columns_find(r->mailbox->columns, found->meta.uid, UINT32_MAX, row_r) && *row_r < r->rows &&
		cv_row_live(r->mailbox->columns, *row_r) && key_is(r, *row_r, key))
		return true;
	if (r->by_key == NULL)
		index_rows(r);
	index = (uintptr_t)cv_map_get(r->by_key, key);
	*row_r = (uint32_t)(index - 1);
	return index != 0;
}

/* The set of the names that the file has. */
static uint32_t set_of(struct cv_reconcile *r, const char *const *keywords)
{
	CV_VEC(uint32_t) ids = { 0 };
	uint32_t id, set;

	for (size_t i = 0; keywords != NULL && keywords[i] != NULL; i++) {
		if (cv_keyword_id(&r->mailbox->keywords, cv_str_c(keywords[i]), true, &id))
			*cv_vec_push(&ids) = id;
	}
	set = cv_keyword_set_of(&r->mailbox->keywords, ids.data, ids.count);
	cv_vec_free(&ids);
	return set;
}

/* What the file says, and of the row's keywords those that the file can't say. */
static uint32_t merged_set(struct cv_reconcile *r, uint32_t ours, uint32_t theirs)
{
	struct cv_keywords *keywords = &r->mailbox->keywords;
	const struct cv_keyword_set *set = &keywords->sets.data[ours];
	CV_VEC(uint32_t) ids = { 0 };
	uint32_t result = theirs;

	for (size_t i = 0; i < set->count; i++) {
		if (set->ids[i] < r->kept_count && !r->kept[set->ids[i]])
			*cv_vec_push(&ids) = set->ids[i];
	}
	if (ids.count > 0)
		result = cv_keyword_set_change(keywords, theirs, CV_FLAGS_ADD, ids.data, ids.count);
	cv_vec_free(&ids);
	return result;
}

static void compare_flags(struct cv_reconcile *r, uint32_t row, const struct cv_storage_found *found)
{
	struct cv_columns *columns = r->mailbox->columns;
	uint16_t ours = *cv_col_flags(columns, row) & CV_FLAG_ALL, theirs = found->meta.flags & CV_FLAG_ALL;
	uint32_t our_set = *cv_col_keyword_set(columns, row), set = our_set;

	if (r->base != NULL && r->base[row] != NO_BASE) {
		/* A change of ours is on its way to the file: only what others changed since counts. */
		uint16_t others = (r->ours[row] & 1u << theirs) != 0 ? 0 : r->base[row] ^ theirs;

		theirs = (uint16_t)((ours & ~others) | (theirs & others)) & CV_FLAG_ALL;
	} else {
		set = set_of(r, found->meta.keywords);
		if (set != our_set)
			set = merged_set(r, our_set, set);
	}
	if (ours == theirs && set == our_set)
		return;
	if (r->changed == NULL) {
		r->changed = cv_calloc((size_t)r->rows + 1, sizeof(*r->changed));
		r->new_flags = cv_calloc((size_t)r->rows + 1, sizeof(*r->new_flags));
		r->new_set = cv_calloc((size_t)r->rows + 1, sizeof(*r->new_set));
	}
	r->changed[row] = 1;
	r->new_flags[row] = theirs;
	r->new_set[row] = set;
}

static void add_found(struct cv_reconcile *r, const struct cv_storage_found *f)
{
	struct cv_found_file *found = cv_vec_push(&r->found);

	*found = (struct cv_found_file){
		.ref = cv_arena_str(r->arena, f->ref),
		.uidl = f->meta.pop3_uidl.len > 0 ? cv_arena_str(r->arena, cv_str_sub(f->meta.pop3_uidl, 0, 1000)) : (struct cv_str){ 0 },
		.uid = f->uid_known ? f->meta.uid : 0,
		.flags = f->flags_known ? f->meta.flags & CV_FLAG_ALL : 0,
		.set = f->flags_known ? set_of(r, f->meta.keywords) : 0,
		.date = f->date_known ? f->meta.internal_date : cv_time_now_sec(),
		.size = f->meta.size,
		.virtual_size = f->meta.virtual_size,
		.unconfirmed = f->unconfirmed,
	};
	if (f->guid_known)
		memcpy(found->guid.b, f->meta.guid, sizeof(found->guid.b));
	else
		cv_random(found->guid.b, sizeof(found->guid.b));
}

static int on_found(void *ctx, const struct cv_storage_found *found)
{
	struct cv_reconcile *r = ctx;
	struct cv_mailbox *mailbox = r->mailbox;
	struct cv_str key = key_of(mailbox->user, found->ref);
	uint32_t row;

	if (find_row(r, found, key, &row)) {
		if (r->seen[row] != 0)
			return 1;
		r->seen[row] = 1;
		if (found->unconfirmed)
			*cv_vec_push(&r->confirm) = cv_arena_str(r->arena, found->ref);
		if (!cv_str_eq(cv_columns_ref(mailbox->columns, row), found->ref)) {
			cv_columns_set_ref(mailbox->columns, row, found->ref);
			mailbox->dirty++;
		}
		if (found->flags_known && mailbox->user->external)
			compare_flags(r, row, found);
		return 1;
	}
	if ((r->going != NULL && cv_map_get(r->going, key) != NULL) || (found->unconfirmed && !r->lossy))
		return 1;
	add_found(r, found);
	return 1;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

/* The folder of a mailbox that lost what was known of it may be lost too. */
static int scan(struct cv_reconcile *r, struct cv_err *err)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(r->mailbox);
	struct cv_err scan_err = { 0 };

	if (user->storage->scan(user->st, &ref, on_found, r, &scan_err) >= 0)
		return 1;
	if (scan_err.code == CV_ERR_NOTFOUND && !r->lossy && cv_mailbox_may_lack_folder(r->mailbox))
		return 1;
	if (!user->external && scan_err.code == CV_ERR_NOTFOUND)
		return user->storage->mailbox_create(user->st, &ref, err) < 0 ? -1 : 1;
	*err = scan_err;
	return -1;
}

int cv_mailbox_reconcile(struct cv_mailbox *mailbox, struct cv_err *err)
{
	struct cv_reconcile r = { .mailbox = mailbox, .lossy = mailbox->needs_scan, .fresh = mailbox->take_over, .rows = mailbox->columns->count };
	int ret;

	r.arena = cv_arena_new("refresh", NULL, 0);
	r.seen = cv_calloc((size_t)r.rows + 1, sizeof(*r.seen));
	ret = note_work(&r, err);
	if (ret > 0)
		ret = note_keywords(&r, err);
	if (ret > 0)
		ret = scan(&r, err);
	if (ret > 0) {
		cv_reconcile_confirm(&r);
		ret = cv_reconcile_changes(&r, err);
	}
	if (ret > 0 && !mailbox->gone)
		ret = cv_reconcile_new(&r, err);
	cv_free(r.seen);
	cv_free(r.base);
	cv_free(r.ours);
	cv_free(r.new_flags);
	cv_free(r.new_set);
	cv_free(r.changed);
	cv_free(r.kept);
	if (r.by_key != NULL)
		cv_map_free(&r.by_key);
	if (r.going != NULL)
		cv_map_free(&r.going);
	cv_vec_free(&r.found);
	cv_vec_free(&r.confirm);
	cv_arena_free(&r.arena);
	return ret;
}

/* ---- only looking --------------------------------------------------------------------------------------------------- */

struct extra {
	struct cv_reconcile r;
	void (*fn)(void *ctx, struct cv_str ref);
	void *ctx;
};

static int on_name(void *ctx, struct cv_str ref, bool unconfirmed)
{
	struct extra *extra = ctx;
	struct cv_str key = key_of(extra->r.mailbox->user, ref);

	if (!unconfirmed && cv_map_get(extra->r.by_key, key) == NULL &&
		(extra->r.going == NULL || cv_map_get(extra->r.going, key) == NULL))
		extra->fn(extra->ctx, ref);
	return 1;
}

static int on_found_name(void *ctx, const struct cv_storage_found *found)
{
	return on_name(ctx, found->ref, found->unconfirmed);
}

int cv_reconcile_extra(struct cv_mailbox *mailbox, void (*fn)(void *ctx, struct cv_str ref), void *ctx, struct cv_err *err)
{
	struct extra extra = { .r = { .mailbox = mailbox }, .fn = fn, .ctx = ctx };
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref ref;
	int ret;

	/* Messages whose removal is on its way are none that nobody knows. */
	if (!cv_mailbox_catch_up(mailbox))
		return cv_err_set(err, CV_ERR_TEMP, "changes do not end");
	if (mailbox->gone)
		return 1;
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	ref = cv_mailbox_storage_ref(mailbox);
	extra.r.rows = mailbox->columns->count;
	ret = note_work(&extra.r, err);
	index_rows(&extra.r);
	if (ret > 0 && user->storage->names != NULL)
		ret = user->storage->names(user->st, &ref, on_name, &extra, err);
	else if (ret > 0)
		ret = user->storage->scan(user->st, &ref, on_found_name, &extra, err);
	cv_free(extra.r.base);
	cv_free(extra.r.ours);
	cv_map_free(&extra.r.by_key);
	if (extra.r.going != NULL)
		cv_map_free(&extra.r.going);
	return ret < 0 ? -1 : 1;
}
