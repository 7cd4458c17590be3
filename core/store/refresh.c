/* SPDX-License-Identifier: MIT
   Reconciling a mailbox with what the storage module really has: storage that other programs change too, folders that were there before, and
   mailboxes whose journal or snapshots were damaged.

   A row and a file are the same message when the UID that the format knows and the lasting part of the reference agree, or the latter alone. What the
   storage still has to be told (flags to be mirrored, octets to be removed) is done first; what could not be done is left out of the comparison, so that
   a change of ours that is still on its way is not undone. */
#include <config.h>

#include "core/store/note.h"
#include "core/store/store-private.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 500            /* new messages in one record */
#define SLICE_MS 500         /* new messages are taken for so long at a time when others wait */
#define AGAIN_MS 50          /* somebody is saving, and has a UID already */
#define NO_ROOM_MS 1000      /* the disk is full */
#define PARSE_MAX 100        /* so many new messages are parsed at once; of more only what is asked for */
#define NO_BASE 0xffffu

/* A file that no row knows. */
struct found {
	struct cv_str ref, uidl;   /* in the arena */
	uint32_t uid;              /* 0: it gets the next one */
	uint16_t flags;
	uint32_t set;
	int64_t date;
	uint64_t size, virtual_size;
	struct cv_guid guid;
	uint32_t sum;
	bool unconfirmed;
};

struct refresh {
	struct cv_mailbox *mailbox;
	struct cv_arena *arena;
	bool lossy;                /* the columns may lack messages that were in them */
	bool fresh;                /* nothing is known of the mailbox yet */
	uint32_t rows;             /* when the scan began */
	uint8_t *seen;             /* by row */
	uint16_t *base;            /* by row: flags before ours that are not mirrored; NO_BASE: none. NULL: none at all */
	uint32_t *ours;            /* by row: a bit for each value that ours had since then: the file may have any of them */
	uint16_t *new_flags;       /* by row, with new_set; NULL: no row changed */
	uint32_t *new_set;
	uint8_t *changed;
	bool *kept;                /* by keyword: does the format keep it? */
	size_t kept_count;
	struct cv_map *by_key;     /* row + 1; NULL until it is needed */
	struct cv_map *going;      /* keys of expunged messages whose octets are still to go; NULL: none */
	CV_VEC(struct found) found;
	CV_VEC(struct cv_str) confirm; /* references that are recorded and do not know it */
};

static struct cv_str key_of(const struct cv_user *user, struct cv_str ref)
{
	return user->storage->ref_key != NULL ? user->storage->ref_key(ref) : ref;
}

/* ---- what the storage has not been told yet ------------------------------------------------------------------------ */

static void note_going(struct refresh *r, const struct cv_entry *entry)
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

static void note_unmirrored(struct refresh *r, const struct cv_entry *entry)
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
	struct refresh *r = ctx;
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

static int note_work(struct refresh *r, struct cv_err *err)
{
	return cv_work_each(r->mailbox->user, false, note_record, r, err);
}

/* Keywords that the format has no place for stay as they are. */
static int note_keywords(struct refresh *r, struct cv_err *err)
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

static bool key_is(const struct refresh *r, uint32_t row, struct cv_str key)
{
	return cv_str_eq(key_of(r->mailbox->user, cv_columns_ref(r->mailbox->columns, row)), key);
}

static void index_rows(struct refresh *r)
{
	r->by_key = cv_map_new();
	for (uint32_t row = 0; row < r->rows; row++) {
		if (cv_row_live(r->mailbox->columns, row))
			cv_map_set(r->by_key, key_of(r->mailbox->user, cv_columns_ref(r->mailbox->columns, row)), (void *)((uintptr_t)row + 1));
	}
}

static bool find_row(struct refresh *r, const struct cv_storage_found *found, struct cv_str key, uint32_t *row_r)
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
static uint32_t set_of(struct refresh *r, const char *const *keywords)
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
static uint32_t merged_set(struct refresh *r, uint32_t ours, uint32_t theirs)
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

static void compare_flags(struct refresh *r, uint32_t row, const struct cv_storage_found *found)
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

static void add_found(struct refresh *r, const struct cv_storage_found *f)
{
	struct found *found = cv_vec_push(&r->found);

	*found = (struct found){
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
	struct refresh *r = ctx;
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

/* ---- taking over ---------------------------------------------------------------------------------------------------- */

/* All rows that got these flags and keywords, as one operation. */
struct alike {
	uint16_t flags;
	uint32_t set;
	struct cv_ranges uids;
};

static int add_flags(struct refresh *r, struct cv_txn *txn, struct cv_err *err)
{
	struct cv_mailbox *mailbox = r->mailbox;
	struct cv_map *by_value = cv_map_new();
	CV_VEC(struct alike) groups = { 0 };
	int ret = 1;

	for (uint32_t row = 0; row < r->rows; row++) {
		const uint32_t value[2] = { r->new_flags[row], r->new_set[row] };
		uint32_t uid = *cv_col_uid(mailbox->columns, row);
		uintptr_t index;

		if (r->changed[row] == 0)
			continue;
		index = (uintptr_t)cv_map_get(by_value, cv_str_mem(value, sizeof(value)));
		if (index == 0) {
			*cv_vec_push(&groups) = (struct alike){ .flags = r->new_flags[row], .set = r->new_set[row] };
			index = groups.count;
			cv_map_set(by_value, cv_str_mem(value, sizeof(value)), (void *)index);
		}
		cv_ranges_add(&groups.data[index - 1].uids, uid, uid);
	}
	for (size_t i = 0; i < groups.count; i++) {
		struct cv_flags_change change = { .op = CV_FLAGS_REPLACE, .flags = groups.data[i].flags };

		change.keywords = cv_row_keywords(mailbox, groups.data[i].set, &change.keyword_count);
		if (ret > 0)
			ret = cv_txn_flags(txn, mailbox, &groups.data[i].uids, &change, NULL, NULL, err);
		cv_ranges_free(&groups.data[i].uids);
	}
	cv_vec_free(&groups);
	cv_map_free(&by_value);
	return ret;
}

/* Is the message of a row that the scan did not see really gone? Where others do not write, a file that can't be read stays a message. */
static int is_gone(struct refresh *r, uint32_t row, struct cv_err *err)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(r->mailbox);
	struct cv_storage_blob blob = { .fd = -1 };
	struct cv_err open_err = { 0 };
	char new_ref[CV_STORAGE_REF_MAX];
	size_t new_len = 0;

	(void)err;
	if (cv_owed_is(r->mailbox, *cv_col_uid(r->mailbox->columns, row)))
		return 0; /* it could not be made yet */
	if (user->external)
		return 1;
	if (user->storage->open_ref(user->st, &ref, cv_columns_ref(r->mailbox->columns, row), &blob, new_ref, &new_len, &open_err) < 0)
		return open_err.code == CV_ERR_EXPUNGED || open_err.code == CV_ERR_NOTFOUND;
	cv_file_close(&blob.fd);
	return 0;
}

static int take_changes(struct refresh *r, struct cv_err *err)
{
	struct cv_mailbox *mailbox = r->mailbox;
	struct cv_ranges gone = { 0 };
	struct cv_txn *txn = NULL;
	int ret = 1;

	for (uint32_t row = 0; ret > 0 && row < r->rows; row++) {
		uint32_t uid = *cv_col_uid(mailbox->columns, row);

		if (r->seen[row] == 0 && cv_row_live(mailbox->columns, row) && is_gone(r, row, err) > 0)
			cv_ranges_add(&gone, uid, uid);
	}
	if (gone.count == 0 && r->changed == NULL)
		return 1;
	txn = cv_txn_begin(mailbox->user);
	txn->internal = txn->from_storage = true;
	if (r->changed != NULL)
		ret = add_flags(r, txn, err);
	if (ret > 0 && gone.count > 0) {
		if (r->lossy)
			cv_error(&mailbox->log_ctx, "%llu messages have no octets any more", (unsigned long long)cv_ranges_numbers(&gone));
		ret = cv_txn_expunge(txn, mailbox, &gone, err);
	}
	cv_ranges_free(&gone);
	if (ret > 0)
		return cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
	cv_txn_rollback(&txn);
	return -1;
}

/* Does the UID that the format knows serve? */
static bool uid_fits(const struct refresh *r, uint32_t uid)
{
	const struct cv_mailbox *mailbox = r->mailbox;
	uint32_t row;

	if (uid == 0 || uid >= UINT32_MAX / 2)
		return false;
	if (uid >= CV_MAX(mailbox->uid_reserved, mailbox->uidnext))
		return true;
	return (r->lossy || r->fresh) && !cv_columns_find(mailbox->columns, uid, UINT32_MAX, &row);
}

/* Those with UIDs first, in their order; then as they came. */
static int compare_found(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	size_t len = CV_MIN(x->ref.len, y->ref.len);
	int by_ref;

	if (x->uid != y->uid)
		return x->uid - 1 < y->uid - 1 ? -1 : 1; /* 0 is last */
	if (x->date != y->date)
		return x->date < y->date ? -1 : 1;
	by_ref = memcmp(x->ref.ptr, y->ref.ptr, len);
	return by_ref != 0 ? by_ref : (x->ref.len > y->ref.len) - (x->ref.len < y->ref.len);
}

/* Sizes without more: every LF that has no CR before it is sent as two octets. */
static int count_wire(struct found *found, struct cv_message_reader *reader, struct cv_err *err)
{
	uint64_t extra = 0, pos = 0;
	struct cv_str view;
	char last = '\0';
	int ret;

	while ((ret = cv_message_reader_get(reader, pos, SIZE_MAX, &view, err)) > 0) {
		const char *end = view.ptr + view.len, *p = view.ptr;

		while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
			if ((p > view.ptr ? p[-1] : last) != '\r')
				extra++;
			p++;
		}
		last = end[-1];
		pos += view.len;
	}
	if (ret < 0)
		return -1;
	found->size = pos;
	found->virtual_size = pos + extra;
	return 1;
}

static int parse_found(struct found *found, struct cv_message_reader *reader, struct cv_arena *arena, struct cv_str *parse_r, struct cv_err *err)
{
	struct cv_arena *parsing = cv_arena_new("parse", NULL, 0);
	struct cv_message *message;
	struct cv_buf record;
	int ret = cv_message_parse(parsing, NULL, reader, &message, err);

	if (ret > 0) {
		found->size = message->size;
		found->virtual_size = message->wire_size;
		cv_buf_init(&record, CV_PARSE_RECORD_MAX);
		cv_parse_record_build(message, &record);
		if (cv_buf_ok(&record))
			*parse_r = cv_arena_str(arena, cv_buf_str(&record));
		cv_buf_deinit(&record);
	}
	cv_arena_free(&parsing);
	return ret;
}

/* It can't be read: the rest of the mailbox can. */
static int unreadable(const struct refresh *r, struct found *found, const struct cv_err *why, struct cv_err *err)
{
	if (why->code == CV_ERR_TEMP || why->code == CV_ERR_UNAVAILABLE) {
		*err = *why;
		return -1;
	}
	cv_warn(&r->mailbox->log_ctx, "new message %s can't be looked at: %s", cv_log_clean(found->ref), why->text);
	found->virtual_size = CV_MAX(found->virtual_size, found->size);
	return 1;
}

/* Size and what is parsed of it, from its octets. 0: it is gone again. */
static int look_at(struct refresh *r, struct found *found, bool want_parse, struct cv_arena *arena, struct cv_str *parse_r, struct cv_err *err)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref mailbox = cv_mailbox_storage_ref(r->mailbox);
	struct cv_storage_blob blob = { .fd = -1 };
	struct cv_err open_err = { 0 };
	struct cv_octets octets = { 0 };
	char new_ref[CV_STORAGE_REF_MAX];
	size_t new_len = 0;
	int ret;

	*parse_r = (struct cv_str){ 0 };
	if (!want_parse && found->virtual_size > 0)
		return 1;
	if (user->storage->open_ref(user->st, &mailbox, found->ref, &blob, new_ref, &new_len, &open_err) < 0) {
		if (open_err.code == CV_ERR_EXPUNGED || open_err.code == CV_ERR_NOTFOUND)
			return 0;
		return unreadable(r, found, &open_err, err);
	}
	cv_buf_init(&octets.buf, SIZE_MAX / 2);
	ret = cv_octets_open(user, &octets, &blob, UINT64_MAX, &open_err);
	cv_file_close(&blob.fd);
	if (ret > 0 && new_len > 0)
		found->ref = cv_arena_str(r->arena, cv_str_mem(new_ref, new_len));
	if (ret > 0 && want_parse)
		ret = parse_found(found, cv_octets_reader(&octets), arena, parse_r, &open_err);
	else if (ret > 0)
		ret = count_wire(found, cv_octets_reader(&octets), &open_err);
	if (ret > 0 && !octets.transformed)
		ret = cv_octets_sum(&octets, &found->sum, &open_err);
	cv_octets_free(&octets);
	return ret > 0 ? 1 : unreadable(r, found, &open_err, err);
}

/* Tell the storage: UIDs that it did not know, and that these are recorded. */
static void tell_storage(struct refresh *r, size_t first, size_t end, const bool *told)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref mailbox = cv_mailbox_storage_ref(r->mailbox);
	CV_VEC(struct cv_storage_found) assigned = { 0 };
	CV_VEC(struct cv_str) confirmed = { 0 };
	struct cv_err err = { 0 };

	for (size_t i = first; i < end; i++) {
		const struct found *found = &r->found.data[i];
		struct cv_storage_found *a;

		if (found->uid == 0)
			continue;
		if (found->unconfirmed)
			*cv_vec_push(&confirmed) = found->ref;
		if (told[i - first])
			continue;
		a = cv_vec_push(&assigned);
		a->ref = found->ref;
		a->meta = (struct cv_storage_meta){ .uid = found->uid, .internal_date = found->date, .size = found->size,
			.virtual_size = found->virtual_size, .flags = found->flags, .pop3_uidl = found->uidl };
		memcpy(a->meta.guid, found->guid.b, sizeof(a->meta.guid));
	}
	if (assigned.count > 0 && user->storage->assigned != NULL &&
		user->storage->assigned(user->st, &mailbox, assigned.data, assigned.count, &err) < 0)
		cv_warn(&r->mailbox->log_ctx, "the storage does not keep the UIDs of new messages: %s", err.text);
	if (confirmed.count > 0 && user->storage->recorded != NULL &&
		user->storage->recorded(user->st, &mailbox, confirmed.data, confirmed.count, &err) < 0)
		cv_warn(&r->mailbox->log_ctx, "%s (done again when the message is read)", err.text);
	cv_vec_free(&assigned);
	cv_vec_free(&confirmed);
}

/* One record of new messages. */
static int take_batch(struct refresh *r, size_t first, size_t end, struct cv_err *err)
{
	struct cv_mailbox *mailbox = r->mailbox;
	struct cv_txn *txn = cv_txn_begin(mailbox->user);
	bool told[BATCH] = { false };
	bool parse = r->found.count <= PARSE_MAX;
	int64_t now = cv_time_now_sec();
	int ret = 1;

	txn->internal = txn->from_storage = true;
	for (size_t i = first; ret >= 0 && i < end; i++) {
		struct found *found = &r->found.data[i];
		bool own = found->uid != 0 && uid_fits(r, found->uid) && (i == 0 || found->uid != r->found.data[i - 1].uid);
		struct cv_entry entry = { .kind = CV_ENTRY_APPEND, .mailbox = mailbox->guid };
		struct cv_buf keywords;

		if (!own)
			found->uid = 0;
		ret = look_at(r, found, parse, txn->arena, &entry.message.parse, err);
		if (ret <= 0) {
			found->uid = 0;
			continue;
		}
		if (own)
			mailbox->uid_reserved = CV_MAX(mailbox->uid_reserved, found->uid + 1);
		else
			ret = cv_mailbox_take_uid(mailbox, &found->uid, err);
		if (ret < 0)
			break;
		told[i - first] = own;
		cv_buf_init(&keywords, 1 << 20);
		cv_keyword_set_encode(&mailbox->keywords, found->set, &keywords);
		entry.message.keywords = cv_arena_str(txn->arena, cv_buf_str(&keywords));
		cv_buf_deinit(&keywords);
		entry.message.uid = found->uid;
		entry.message.flags = found->flags;
		entry.message.zone = (int16_t)cv_time_local_offset_min(found->date);
		entry.message.date = found->date;
		entry.message.saved = now;
		entry.message.physical_size = found->size;
		entry.message.virtual_size = found->virtual_size;
		entry.message.guid = found->guid;
		entry.message.ref = found->ref;
		entry.message.uidl = found->uidl;
		entry.message.sum = found->sum;
		cv_txn_add_entry(txn, &entry);
	}
	if (ret < 0) {
		cv_txn_rollback(&txn);
		return -1;
	}
	if (cv_txn_commit_wait(&txn, err) < 0)
		return -1;
	tell_storage(r, first, end, told);
	return 1;
}

/* 1 all are taken, 0 there are more. */
static int take_new(struct refresh *r, struct cv_err *err)
{
	struct cv_mailbox *mailbox = r->mailbox;
	uint64_t start = cv_time_mono_ms();

	if (r->found.count == 0)
		return 1;
	if (mailbox->uids_held > 0)
		return 0; /* a UID that was given to a message on its way would be overtaken */
	for (size_t i = 0; i < r->found.count; i++) {
		if (!uid_fits(r, r->found.data[i].uid))
			r->found.data[i].uid = 0;
	}
	qsort(r->found.data, r->found.count, sizeof(*r->found.data), compare_found);
	for (size_t i = 0; i < r->found.count; i += BATCH) {
		if (i > 0 && mailbox->user->loop != NULL && cv_time_mono_ms() - start > SLICE_MS)
			return 0;
		if (take_batch(r, i, CV_MIN(i + BATCH, r->found.count), err) < 0)
			return -1;
		if (mailbox->gone)
			return 1;
	}
	if (r->lossy)
		cv_warn(&mailbox->log_ctx, "%zu messages were found and taken in", r->found.count);
	else
		cv_debug(&mailbox->log_ctx, "%zu new messages were found", r->found.count);
	return 1;
}

static void confirm(struct refresh *r)
{
	struct cv_user *user = r->mailbox->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(r->mailbox);
	struct cv_err err = { 0 };

	if (r->confirm.count > 0 && user->storage->recorded != NULL &&
		user->storage->recorded(user->st, &ref, r->confirm.data, r->confirm.count, &err) < 0)
		cv_warn(&r->mailbox->log_ctx, "%s (done again when the message is read)", err.text);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

/* The folder of a mailbox that lost what was known of it may be lost too. */
static int scan(struct refresh *r, struct cv_err *err)
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

static int reconcile(struct cv_mailbox *mailbox, struct cv_err *err)
{
	struct refresh r = { .mailbox = mailbox, .lossy = mailbox->needs_scan, .fresh = mailbox->take_over, .rows = mailbox->columns->count };
	int ret;

	r.arena = cv_arena_new("refresh", NULL, 0);
	r.seen = cv_calloc((size_t)r.rows + 1, sizeof(*r.seen));
	ret = note_work(&r, err);
	if (ret > 0)
		ret = note_keywords(&r, err);
	if (ret > 0)
		ret = scan(&r, err);
	if (ret > 0) {
		confirm(&r);
		ret = take_changes(&r, err);
	}
	if (ret > 0 && !mailbox->gone)
		ret = take_new(&r, err);
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
	struct refresh r;
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

int cv_refresh_extra(struct cv_mailbox *mailbox, void (*fn)(void *ctx, struct cv_str ref), void *ctx, struct cv_err *err)
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

/* ---- refreshing ----------------------------------------------------------------------------------------------------- */

static void again(struct cv_mailbox *mailbox)
{
	struct cv_user *user = mailbox->user;

	mailbox->refresh_again = true;
	if (user->loop != NULL)
		cv_timer_set(user->refresh_timer, mailbox->uids_held > 0 ? AGAIN_MS : 0);
}

/* What other programs did can't be recorded on a full disk: until it can, the mailbox is what it was. */
static int wait_for_room(struct cv_mailbox *mailbox, const struct cv_err *why)
{
	struct cv_user *user = mailbox->user;

	if (mailbox->no_room_until_ms == 0)
		cv_warn(&mailbox->log_ctx, "what is new in the mailbox is not seen before there is room on the disk: %s", why->text);
	mailbox->no_room_until_ms = cv_time_mono_ms() + NO_ROOM_MS;
	if (mailbox->uids_held == 0)
		mailbox->uid_reserved = mailbox->uidnext; /* those that were taken now were told to nobody */
	mailbox->refresh_again = true;
	if (user->loop != NULL)
		cv_timer_set(user->refresh_timer, NO_ROOM_MS);
	return 1;
}

/* The folder is not there: did somebody remove the mailbox? */
static int folder_is_gone(struct cv_mailbox *mailbox, const struct cv_err *why, struct cv_err *err)
{
	mailbox->user->folders_known = false;
	cv_user_sync_folders(mailbox->user);
	if (mailbox->gone)
		return 1;
	*err = *why;
	return -1;
}

static int refresh(struct cv_mailbox *mailbox, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(mailbox);
	bool forced = mailbox->needs_scan || mailbox->take_over || mailbox->refresh_again, looked_for;
	struct cv_err scan_err = { 0 };
	uint64_t stamp[4] = { 0 };
	int ret;

	if (user->external) {
		int told = user->storage->stamp(user->st, &ref, stamp, &scan_err);

		if (told < 0 && scan_err.code != CV_ERR_NOTFOUND) { /* a folder that is not there may be one that work left over brings */
			*err = scan_err;
			return -1;
		}
		if (told >= 0 && !forced && mailbox->stamp_known && memcmp(stamp, mailbox->stamp, sizeof(stamp)) == 0)
			return 1;
	}
	if (cv_user_unpublished(user))
		cv_user_flush(user);
	cv_work_run(user, true);
	/* What is on its way to the journal is in no file's name, and in no record that says so. */
	if (!cv_mailbox_catch_up(mailbox)) {
		again(mailbox);
		return 1;
	}
	if (mailbox->gone || user->broken)
		return 1;
	ref = cv_mailbox_storage_ref(mailbox);
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	mailbox->stamp_known = false;
	if (user->external && user->storage->stamp(user->st, &ref, stamp, &scan_err) < 0)
		return scan_err.code == CV_ERR_NOTFOUND ? folder_is_gone(mailbox, &scan_err, err) : (*err = scan_err, -1);
	ret = reconcile(mailbox, &scan_err);
	if (ret < 0 && scan_err.code == CV_ERR_NOQUOTA && user->external && !mailbox->needs_scan && !mailbox->take_over && !mailbox->gone)
		return wait_for_room(mailbox, &scan_err);
	if (ret < 0)
		return scan_err.code == CV_ERR_NOTFOUND && user->external ? folder_is_gone(mailbox, &scan_err, err) : (*err = scan_err, -1);
	mailbox->no_room_until_ms = 0;
	if (mailbox->gone)
		return 1;
	if (ret == 0) {
		again(mailbox);
		return 1;
	}
	looked_for = mailbox->needs_scan || mailbox->take_over;
	mailbox->needs_scan = mailbox->take_over = mailbox->refresh_again = false;
	if (looked_for) {
		user->state_dirty = true;
		if (mailbox->columns != NULL)
			cv_notes_recount(mailbox); /* of messages that were not found */
	}
	mailbox->stamp_known = user->external;
	memcpy(mailbox->stamp, stamp, sizeof(stamp));
	return 1;
}

static bool waits_for_room(const struct cv_mailbox *mailbox)
{
	return mailbox->no_room_until_ms != 0 && cv_time_mono_ms() < mailbox->no_room_until_ms;
}

int cv_mailbox_refresh(struct cv_mailbox *mailbox, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox *held = mailbox;
	int ret;

	if (mailbox->gone || mailbox->refreshing || user->broken || user->recovering ||
		(!user->external && !mailbox->needs_scan && !mailbox->take_over) || waits_for_room(mailbox))
		return 1;
	cv_mailbox_ref(mailbox);
	mailbox->refreshing = true;
	ret = refresh(mailbox, err);
	mailbox->refreshing = false;
	cv_mailbox_unref(&held);
	return ret < 0 ? cv_err_context(err, "looking through the storage") : 1;
}

static void refresh_and_log(struct cv_mailbox *mailbox)
{
	struct cv_err err = { 0 };

	if (cv_mailbox_refresh(mailbox, &err) < 0)
		cv_error(&mailbox->log_ctx, "%s", err.text);
}

/* ---- mirroring ------------------------------------------------------------------------------------------------------ */

static int mirror_row(struct cv_mailbox *mailbox, uint32_t row, const char **names, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_columns *columns = mailbox->columns;
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(mailbox);
	struct cv_storage_meta meta = {
		.uid = *cv_col_uid(columns, row),
		.internal_date = *cv_col_date(columns, row),
		.size = *cv_col_physical_size(columns, row),
		.virtual_size = *cv_col_virtual_size(columns, row),
		.flags = *cv_col_flags(columns, row) & CV_FLAG_ALL,
		.keywords = names,
		.pop3_uidl = cv_columns_uidl(columns, row),
	};
	struct cv_err set_err = { 0 };
	char new_ref[CV_STORAGE_REF_MAX];
	size_t new_len = 0;

	memcpy(meta.guid, cv_col_guid(columns, row), sizeof(meta.guid));
	if (user->storage->set_flags(user->st, &ref, cv_columns_ref(columns, row), &meta, new_ref, &new_len, &set_err) < 0) {
		if (set_err.code == CV_ERR_EXPUNGED || set_err.code == CV_ERR_NOTFOUND) {
			mailbox->stamp_known = false; /* gone: the next refresh tells */
			return 1;
		}
		*err = set_err;
		return -1;
	}
	if (new_len > 0 && !cv_str_eq(cv_columns_ref(columns, row), cv_str_mem(new_ref, new_len))) {
		cv_columns_set_ref(columns, row, cv_str_mem(new_ref, new_len));
		mailbox->dirty++;
	}
	return 1;
}

int cv_mirror_range(struct cv_mailbox *mailbox, struct cv_range range, struct cv_err *err)
{
	struct cv_columns *columns = mailbox->columns;
	struct cv_arena *arena = cv_arena_new("mirror", NULL, 0);
	uint32_t row = cv_columns_from(columns, range.first), last_set = UINT32_MAX;
	const char **names = NULL;
	int ret = 1;

	for (; ret > 0 && row < columns->count && *cv_col_uid(columns, row) <= range.last; row++) {
		uint32_t set = *cv_col_keyword_set(columns, row);

		if (!cv_row_live(columns, row))
			continue;
		if (set != last_set) {
			size_t count;
			const struct cv_str *words = cv_row_keywords(mailbox, set, &count);

			cv_arena_free(&arena);
			arena = cv_arena_new("mirror", NULL, 0);
			names = cv_new(arena, const char *, count + 1);
			for (size_t i = 0; i < count; i++)
				names[i] = cv_arena_cstr(arena, words[i]);
			last_set = set;
		}
		ret = mirror_row(mailbox, row, names, err);
	}
	cv_arena_free(&arena);
	return ret;
}

/* ---- watching ------------------------------------------------------------------------------------------------------- */

static void on_change(void *ctx)
{
	struct cv_mailbox *mailbox = ctx;

	mailbox->refresh_again = true; /* the storage knows more than a stamp */
	refresh_and_log(mailbox);
}

bool cv_mailbox_changes_outside(const struct cv_mailbox *mailbox)
{
	return mailbox->user->external;
}

void cv_watch_start(struct cv_mailbox *mailbox)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref ref;
	struct cv_err err = { 0 };

	if (!user->external || user->storage->watch == NULL || mailbox->watch != NULL || mailbox->gone)
		return;
	ref = cv_mailbox_storage_ref(mailbox);
	if (user->storage->watch(user->st, &ref, on_change, mailbox, &mailbox->watch, &err) < 0) {
		mailbox->watch = NULL;
		cv_warn(&mailbox->log_ctx, "changes of other programs are seen at the next command only: %s", err.text);
	}
}

void cv_watch_stop(struct cv_mailbox *mailbox)
{
	void *watch = mailbox->watch;

	mailbox->watch = NULL;
	if (watch != NULL)
		mailbox->user->storage->unwatch(mailbox->user->st, watch);
}

void cv_watch_moved(struct cv_mailbox *mailbox)
{
	mailbox->stamp_known = false;
	if (mailbox->watch == NULL)
		return;
	cv_watch_stop(mailbox);
	cv_watch_start(mailbox);
}

/* *waits_r: there are others, which wait for room. */
static struct cv_mailbox *next_again(struct cv_user *user, bool *waits_r)
{
	struct cv_str key;
	size_t pos = 0;
	void *value;

	*waits_r = false;
	while (cv_map_next(user->mailboxes, &pos, &key, &value)) {
		struct cv_mailbox *mailbox = value;

		if (!mailbox->refresh_again || mailbox->refreshing)
			continue;
		if (!waits_for_room(mailbox))
			return mailbox;
		*waits_r = true;
	}
	return NULL;
}

/* One mailbox a round; what is not done asks for the next one. */
static void on_refresh(void *ctx)
{
	struct cv_user *user = ctx;
	bool waits;
	struct cv_mailbox *mailbox = next_again(user, &waits);

	if (mailbox != NULL) {
		mailbox->refresh_again = false;
		mailbox->stamp_known = false;
		refresh_and_log(mailbox);
		mailbox = next_again(user, &waits);
	}
	if (mailbox != NULL || waits)
		cv_timer_set(user->refresh_timer, mailbox != NULL ? AGAIN_MS : NO_ROOM_MS);
}

void cv_refresh_init(struct cv_user *user)
{
	if (user->loop == NULL)
		return;
	user->refresh_timer = cv_timer_add_stopped(user->loop, on_refresh, user);
}

void cv_refresh_deinit(struct cv_user *user)
{
	cv_timer_remove(&user->refresh_timer);
}
