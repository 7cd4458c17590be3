/* SPDX-License-Identifier: MIT
   Copies are recorded first and made afterwards: the record says what the file of the copied message is to be made of, and until it is made the message is read
   there. So are new messages whose octets the record has (landing.c). All that is owed is made, and on disk, before anything that was expunged is removed, so
   that it never goes before what is made of it. After a crash the journal says what is owed; making it once more changes nothing. What was made and synced is
   said in a later record or in the state, and left as it is then. */
#include <config.h>

#include "core/store/owed.h"

#include <string.h>

bool cv_entry_owes(const struct cv_entry *entry)
{
	return entry->kind == CV_ENTRY_OCTETS || (entry->kind == CV_ENTRY_COPY && entry->ref.len > 0);
}

bool cv_record_owes(struct cv_str entries)
{
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;

	while (cv_entry_next(&reader, &entry) > 0) {
		if (cv_entry_owes(&entry))
			return true;
	}
	return false;
}

void cv_owed_add(struct cv_user *user, const struct cv_owed *owed)
{
	*cv_vec_push(&user->owed) = *owed;
	user->owed_octets += owed->octets;
}

void cv_owed_drop(struct cv_user *user, size_t count)
{
	for (size_t i = 0; i < count; i++)
		user->owed_octets -= user->owed.data[i].octets;
	user->owed.count -= count;
	if (count > 0)
		memmove(user->owed.data, user->owed.data + count, user->owed.count * sizeof(*user->owed.data));
}

void cv_owed_forget(struct cv_user *user, uint64_t seq)
{
	size_t count = 0;

	while (count < user->owed.count && user->owed.data[count].seq <= seq)
		count++;
	cv_owed_drop(user, count);
}

bool cv_owed_any(const struct cv_user *user)
{
	return user->owed_made < user->owed.count;
}

bool cv_owed_is(const struct cv_mailbox *mailbox, uint32_t uid)
{
	return cv_owed_any(mailbox->user) && mailbox->owed_from != 0 && uid >= mailbox->owed_from;
}

void cv_owed_note(struct cv_mailbox *mailbox, uint32_t uid)
{
	if (mailbox->owed_from == 0 || uid < mailbox->owed_from)
		mailbox->owed_from = uid;
}

/* ---- looking for it ------------------------------------------------------------------------------------------------ */

int cv_owed_read(struct cv_user *user, size_t i, struct cv_buf *buf, struct cv_str *entries_r, struct cv_err *err)
{
	struct cv_owed *owed = &user->owed.data[i];
	struct cv_err read_err = { 0 };
	struct cv_record_head head;

	if (cv_journal_read(&user->journal, owed->pos, buf, &head, entries_r, &read_err) > 0)
		return 1;
	if (read_err.code != CV_ERR_NOTFOUND && read_err.code != CV_ERR_CORRUPT) {
		*err = read_err;
		return -1;
	}
	if (!owed->lost) {
		cv_error(&user->log_ctx, "journal record %llu is lost: what it tells of messages whose files were not made yet, or of copies, is not to be had: %s",
			(unsigned long long)owed->seq, read_err.text);
		cv_journal_mark_damaged(&user->journal, owed->pos.segment);
		user->journal.harmed = true;
	}
	owed->lost = true;
	return 0;
}

/* fn for each copy that the records from number `first` on owe: 1 go on, 0 enough. */
static int each_owed(struct cv_user *user, size_t first, bool (*fn)(void *ctx, const struct cv_entry *entry), void *ctx, struct cv_err *err)
{
	struct cv_buf buf;
	bool more = true;
	int ret = 1;

	cv_buf_init(&buf, CV_JOURNAL_READ_MAX);
	for (size_t i = first; ret > 0 && more && i < user->owed.count; i++) {
		struct cv_reader reader;
		struct cv_entry entry;
		struct cv_str entries;

		ret = cv_owed_read(user, i, &buf, &entries, err);
		if (ret <= 0) {
			ret = ret < 0 ? -1 : 1;
			continue;
		}
		reader = cv_reader_init(entries);
		while (more && cv_entry_next(&reader, &entry) > 0) {
			if (cv_entry_owes(&entry))
				more = fn(ctx, &entry);
		}
	}
	cv_buf_deinit(&buf);
	return ret;
}

void cv_origin_set(struct cv_origin *origin, const struct cv_entry *entry)
{
	origin->mailbox = entry->origin;
	origin->uid = entry->origin_uid;
	origin->ref_len = entry->ref.len;
	memcpy(origin->ref, entry->ref.ptr, entry->ref.len);
	origin->source = entry->from;
	origin->source_uid = entry->uid;
}

int cv_origin_find_source(struct cv_user *user, const struct cv_guid *mailbox, uint32_t uid, struct cv_origin *origin_r, struct cv_err *err)
{
	struct cv_mailbox *source = cv_mailbox_by_guid(user, mailbox);
	struct cv_str ref;
	uint32_t row;

	if (source == NULL)
		return 0;
	if (cv_mailbox_load(source, err) < 0)
		return -1;
	if (!cv_columns_find(source->columns, uid, UINT32_MAX, &row))
		return 0;
	ref = cv_columns_ref(source->columns, row);
	*origin_r = (struct cv_origin){ .mailbox = *mailbox, .uid = uid, .ref_len = ref.len };
	memcpy(origin_r->ref, ref.ptr, ref.len);
	return 1;
}

struct look {
	const struct cv_guid *mailbox;
	uint32_t uid;
	struct cv_origin *origin;
	bool found;
};

static bool look_at(void *ctx, const struct cv_entry *entry)
{
	struct look *look = ctx;

	if (entry->kind == CV_ENTRY_COPY && entry->message.uid == look->uid && memcmp(&entry->mailbox, look->mailbox, sizeof(entry->mailbox)) == 0) {
		look->found = true;
		cv_origin_set(look->origin, entry);
	}
	return !look->found;
}

int cv_origin_find(struct cv_user *user, size_t first, const struct cv_guid *mailbox, uint32_t uid, struct cv_origin *origin_r, struct cv_err *err)
{
	struct look look = { .mailbox = mailbox, .uid = uid, .origin = origin_r };

	if (each_owed(user, first, look_at, &look, err) < 0)
		return -1;
	return look.found;
}

static bool note_entry(void *ctx, const struct cv_entry *entry)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(ctx, &entry->mailbox);

	if (mailbox != NULL)
		cv_owed_note(mailbox, entry->kind == CV_ENTRY_COPY ? entry->message.uid : entry->uid);
	return true;
}

void cv_owed_begin(struct cv_user *user)
{
	struct cv_err err = { 0 };

	if (each_owed(user, 0, note_entry, user, &err) < 0)
		cv_error(&user->log_ctx, "%s", err.text);
}

struct mapping {
	struct cv_mailbox *mailbox;
	struct cv_arena *arena;
	struct cv_map *map;
};

static bool map_entry(void *ctx, const struct cv_entry *entry)
{
	struct mapping *mapping = ctx;
	struct cv_owed_origin *origin;
	uint32_t uid = entry->message.uid;

	if (entry->kind != CV_ENTRY_COPY || uid < mapping->mailbox->owed_from || memcmp(&entry->mailbox, &mapping->mailbox->guid, sizeof(entry->mailbox)) != 0)
		return true;
	origin = cv_new(mapping->arena, struct cv_owed_origin, 1);
	*origin = (struct cv_owed_origin){ .mailbox = entry->origin, .uid = entry->origin_uid, .ref = cv_arena_str(mapping->arena, entry->ref) };
	cv_map_set(mapping->map, cv_str_mem(&uid, sizeof(uid)), origin);
	return true;
}

int cv_owed_map(struct cv_mailbox *mailbox, struct cv_arena *arena, struct cv_map **map_r, struct cv_err *err)
{
	struct mapping mapping = { .mailbox = mailbox, .arena = arena };

	*map_r = NULL;
	if (!cv_owed_any(mailbox->user) || mailbox->owed_from == 0)
		return 1;
	mapping.map = *map_r = cv_map_new();
	return each_owed(mailbox->user, mailbox->user->owed_made, map_entry, &mapping, err);
}
/* ---- reading before it is made ------------------------------------------------------------------------------------------ */

/* 1, 0 when it is not there, -1. */
static int open_at(struct cv_user *user, const struct cv_origin *origin, struct cv_storage_blob *blob_r, struct cv_err *err)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &origin->mailbox);
	struct cv_err open_err = { 0 };
	char new_ref[CV_STORAGE_REF_MAX];
	struct cv_mailbox_ref ref;
	size_t new_len = 0;

	if (mailbox == NULL)
		return 0;
	ref = cv_mailbox_storage_ref(mailbox);
	if (user->storage->open_ref(user->st, &ref, cv_str_mem(origin->ref, origin->ref_len), blob_r, new_ref, &new_len, &open_err) > 0)
		return 1;
	if (open_err.code == CV_ERR_EXPUNGED || open_err.code == CV_ERR_NOTFOUND)
		return 0;
	*err = open_err;
	return -1;
}

int cv_owed_open(struct cv_mailbox *mailbox, uint32_t uid, struct cv_storage_blob *blob_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox *from;
	struct cv_origin origin, source;
	int ret;

	cv_owed_hurry(mailbox, uid);
	if (!cv_owed_is(mailbox, uid))
		return 0;
	ret = cv_origin_find(user, user->owed_made, &mailbox->guid, uid, &origin, err);
	if (ret < 0)
		return -1;
	if (ret == 0)
		return cv_landing_open(mailbox, uid, blob_r, err);
	ret = open_at(user, &origin, blob_r, err);
	if (ret == 0) {
		ret = cv_origin_find_source(user, &origin.source, origin.source_uid, &source, err);
		ret = ret > 0 ? open_at(user, &source, blob_r, err) : ret;
	}
	if (ret != 0)
		return ret;
	/* What it is to be made of has no file either; or, after a crash, it is owed once more though it was made, and its source removed: then it lies where the
	   record says. */
	from = cv_mailbox_by_guid(user, &origin.mailbox);
	return from != NULL ? cv_landing_open(from, origin.uid, blob_r, err) : 0;
}
