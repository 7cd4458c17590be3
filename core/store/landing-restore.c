/* SPDX-License-Identifier: MIT
   Messages whose files went or were damaged while the journal still has their octets: as long as its segment is there, such a message is read from there, and its
   file is made once more. The journal is looked through once, when the first of them is asked for, and then only what was added since. Messages are known by
   their GUID, so that a copy, whose file may be the same one under another name, comes back from the record of what it was copied from. */
#include <config.h>

#include "core/store/store-private.h"

#include <culver/time.h>

#include <string.h>

#define MIN_SLOTS 64u

/* GUIDs of messages that came here are random: of 8 of their octets a table is made, and the record tells whether it is the one. */
struct place {
	uint64_t key; /* 0: the slot is empty */
	struct cv_journal_pos pos;
};

struct cv_landed {
	struct cv_journal_pos next;  /* the journal was looked through up to here */
	struct place *places;        /* a power of two of slots, at least half of them empty */
	size_t slots, used;
	struct cv_buf record;        /* what was read last */
	struct cv_str entries;       /* of it */
	struct cv_journal_pos at;    /* where it is; segment 0: nothing was */
};

/* ---- what the journal has --------------------------------------------------------------------------------------------- */

static uint64_t key_of(const struct cv_guid *guid)
{
	uint64_t key;

	memcpy(&key, guid->b, sizeof(key));
	return key != 0 ? key : 1;
}

static struct place *find_slot(const struct cv_landed *landed, uint64_t key)
{
	size_t i = (size_t)key & (landed->slots - 1);

	while (landed->places[i].key != 0 && landed->places[i].key != key)
		i = (i + 1) & (landed->slots - 1);
	return &landed->places[i];
}

/* Twice the room; places in segments that were dropped are left out. */
static void grow(struct cv_landed *landed, const struct cv_journal *journal)
{
	struct place *old = landed->places;
	size_t slots = landed->slots;

	landed->slots = slots > 0 ? slots * 2 : MIN_SLOTS;
	landed->places = cv_calloc(landed->slots, sizeof(*landed->places));
	landed->used = 0;
	for (size_t i = 0; i < slots; i++) {
		if (old[i].key == 0 || !cv_journal_has_segment(journal, old[i].pos.segment))
			continue;
		*find_slot(landed, old[i].key) = old[i];
		landed->used++;
	}
	cv_free(old);
}

static void note_place(struct cv_landed *landed, const struct cv_journal *journal, const struct cv_guid *guid, struct cv_journal_pos pos)
{
	struct place *place;

	if (landed->used >= landed->slots / 2)
		grow(landed, journal);
	place = find_slot(landed, key_of(guid));
	landed->used += place->key == 0;
	*place = (struct place){ key_of(guid), pos };
}

/* The message of an OCTETS entry is that of the APPEND before it. */
static bool is_of(const struct cv_entry *octets, const struct cv_entry *append)
{
	return append->kind == CV_ENTRY_APPEND && append->message.uid == octets->uid && memcmp(&append->mailbox, &octets->mailbox, sizeof(octets->mailbox)) == 0;
}

static void note_record(struct cv_landed *landed, const struct cv_journal *journal)
{
	struct cv_reader reader = cv_reader_init(landed->entries);
	struct cv_entry entry, append = { 0 };

	while (cv_entry_next(&reader, &entry) > 0) {
		if (entry.kind == CV_ENTRY_APPEND)
			append = entry;
		else if (entry.kind == CV_ENTRY_OCTETS && is_of(&entry, &append))
			note_place(landed, journal, &append.message.guid, landed->at);
	}
}

/* What does not check, in the copy either, ends its segment. */
static void pass_over(struct cv_landed *landed, const struct cv_journal *journal)
{
	const struct cv_segment *segment = cv_journal_segment(journal, landed->next.segment);

	if (segment == NULL)
		landed->next = (struct cv_journal_pos){ landed->next.segment + 1, CV_SEGMENT_HEAD };
	else
		landed->next.offset = segment->len;
}

int cv_landed_look(struct cv_user *user, uint64_t deadline_ms, struct cv_err *err)
{
	struct cv_journal *journal = &user->journal;
	struct cv_landed *landed = user->landed;
	struct cv_record_head head;
	int ret;

	if (user->storage->renew == NULL)
		return 1;
	if (landed == NULL) {
		landed = user->landed = cv_new0(struct cv_landed);
		cv_buf_init(&landed->record, CV_JOURNAL_READ_MAX);
	}
	for (;;) {
		struct cv_err read_err = { 0 };

		landed->at.segment = 0;
		ret = cv_journal_next(journal, &landed->next, &landed->record, &head, &landed->entries, &read_err);
		if (ret == 0)
			return 1;
		if (ret > 0) {
			landed->at = landed->next;
			note_record(landed, journal);
			landed->next.offset += head.len;
		} else if (read_err.code == CV_ERR_CORRUPT || read_err.code == CV_ERR_NOTFOUND) {
			pass_over(landed, journal);
		} else {
			*err = read_err;
			return -1;
		}
		if (cv_time_mono_ms() >= deadline_ms)
			return 0;
	}
}

void cv_landed_free(struct cv_user *user)
{
	struct cv_landed *landed = user->landed;

	if (landed == NULL)
		return;
	user->landed = NULL;
	cv_buf_deinit(&landed->record);
	cv_free(landed->places);
	cv_free(landed);
}

/* The record at pos, unless it is the one that was read last: messages of one record are asked for one after the other. */
static int read_record(struct cv_landed *landed, struct cv_journal *journal, struct cv_journal_pos pos, struct cv_err *err)
{
	struct cv_err read_err = { 0 };
	struct cv_record_head head;

	if (landed->at.segment == pos.segment && landed->at.offset == pos.offset)
		return 1;
	landed->at.segment = 0;
	if (cv_journal_read(journal, pos, &landed->record, &head, &landed->entries, &read_err) > 0) {
		landed->at = pos;
		return 1;
	}
	if (read_err.code == CV_ERR_CORRUPT || read_err.code == CV_ERR_NOTFOUND)
		return 0;
	*err = read_err;
	return -1;
}

/* The octets of the row's message, as they were to be stored: 1, 0 the journal has them not (any more), -1. Borrowed until the next look. */
static int find(struct cv_mailbox *mailbox, uint32_t row, struct cv_str *octets_r, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_guid guid = *cv_col_guid(mailbox->columns, row);
	uint32_t sum = *cv_col_sum(mailbox->columns, row);
	struct cv_entry entry, append = { 0 };
	struct cv_reader reader;
	struct place place;
	int ret;

	if (user->storage->renew == NULL)
		return 0;
	if (cv_landed_look(user, UINT64_MAX, err) < 0)
		return -1;
	if (user->landed->slots == 0)
		return 0;
	place = *find_slot(user->landed, key_of(&guid));
	if (place.key == 0)
		return 0;
	ret = read_record(user->landed, &user->journal, place.pos, err);
	if (ret <= 0)
		return ret;
	reader = cv_reader_init(user->landed->entries);
	while (cv_entry_next(&reader, &entry) > 0) {
		if (entry.kind == CV_ENTRY_APPEND) {
			append = entry;
		} else if (entry.kind == CV_ENTRY_OCTETS && is_of(&entry, &append) && (sum == 0 || append.message.sum == sum) &&
			memcmp(&append.message.guid, &guid, sizeof(guid)) == 0) {
			*octets_r = entry.octets;
			return 1;
		}
	}
	return 0;
}

/* ---- reading it, and making its file anew ----------------------------------------------------------------------------------- */

int cv_landed_read(struct cv_mailbox *mailbox, uint32_t row, struct cv_buf *buf, struct cv_err *err)
{
	struct cv_str octets;
	int ret = find(mailbox, row, &octets, err);

	if (ret > 0)
		cv_buf_append(buf, octets);
	return ret;
}

bool cv_landed_has(struct cv_mailbox *mailbox, uint32_t row)
{
	struct cv_err ignored = { 0 }; /* who reads it tells */
	struct cv_str octets;

	return find(mailbox, row, &octets, &ignored) > 0;
}

static void describe(const struct cv_mailbox *mailbox, uint32_t row, struct cv_storage_meta *meta_r)
{
	const struct cv_columns *columns = mailbox->columns;

	*meta_r = (struct cv_storage_meta){
		.uid = *cv_col_uid(columns, row),
		.internal_date = *cv_col_date(columns, row),
		.size = *cv_col_physical_size(columns, row),
		.virtual_size = *cv_col_virtual_size(columns, row),
		.flags = *cv_col_flags(columns, row) & CV_FLAG_ALL,
		.pop3_uidl = cv_columns_uidl(columns, row),
		.orig_mailbox = cv_mailbox_name(mailbox),
		.saved = *cv_col_saved(columns, row),
	};
	memcpy(meta_r->guid, cv_col_guid(columns, row)->b, sizeof(meta_r->guid));
}

int cv_landed_restore(struct cv_mailbox *mailbox, uint32_t row, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref box = cv_mailbox_storage_ref(mailbox);
	struct cv_storage_meta meta;
	struct cv_str octets, ref;
	int ret = find(mailbox, row, &octets, err);

	if (ret <= 0)
		return ret;
	if (cv_owed_is(mailbox, *cv_col_uid(mailbox->columns, row)))
		cv_landing_end(user); /* a thread may be at it */
	describe(mailbox, row, &meta);
	ref = cv_columns_ref(mailbox->columns, row);
	ret = user->storage->renew(user->st, &box, &meta, ref, octets, err);
	if (ret < 0 && err->code == CV_ERR_NOTFOUND && cv_mailbox_make_folder(mailbox, &box, err) >= 0)
		ret = user->storage->renew(user->st, &box, &meta, ref, octets, err);
	return ret;
}
