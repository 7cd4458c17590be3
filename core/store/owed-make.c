/* SPDX-License-Identifier: MIT
   Files of messages that are owed (owed.c) are made: in the order of their records, those of one record and two mailboxes together, and synced together. */
#include <config.h>

#include "core/store/owed.h"
#include <culver/loop.h>

#include <string.h>

#define BATCH 64          /* messages that the storage is asked for at once */
#define READ_MS 20        /* somebody waits for one of them: so long all are made in their order */
#define SETTLE_DELAY_MS 100 /* copies of so long are synced together */
#define LANDING_DELAY_MS 1000 /* files of new messages of so long are made and synced together, when nothing else waits for them */
#define LANDING_MS 1000   /* until it is looked whether those beside the loop are made, should nobody have told */
#define TOGETHER 64u      /* messages whose octets the journal has: so many do not wait longer, nor do those of so many octets: */
#define TOGETHER_OCTETS ((size_t)4 << 20)
#define CHAIN_MAX 100     /* copies of copies of … within what is owed */

/* Copies of one record that lie in the same two mailboxes. */
struct batch {
	struct cv_mailbox *origin, *to;
	struct cv_storage_copy copies[BATCH];
	struct cv_entry entries[BATCH];
	size_t places[BATCH];    /* in the record */
	char refs[BATCH][CV_STORAGE_REF_MAX];
	size_t count;
};
static void close_record(struct cv_user *user)
{
	if (user->owed_open)
		cv_buf_deinit(&user->owed_buf);
	user->owed_open = false;
}

/* The record at hand. 0: it is lost; what it named counts as made, for nothing can be made of it. */
static int open_record(struct cv_user *user, struct cv_err *err)
{
	struct cv_str entries;
	int ret;

	if (user->owed_open)
		return 1;
	cv_buf_init(&user->owed_buf, CV_JOURNAL_READ_MAX);
	ret = cv_owed_read(user, user->owed_made, &user->owed_buf, &entries, err);
	if (ret <= 0) {
		cv_buf_deinit(&user->owed_buf);
		return ret;
	}
	user->owed_open = true;
	user->owed_reader = cv_reader_init(entries);
	return 1;
}

/* What was parsed of the source is known of the copy too: it goes from one cache to the other. */
static void copy_parse_record(struct cv_user *user, struct cv_mailbox *to, const struct cv_entry *entry)
{
	struct cv_mailbox *from = cv_mailbox_by_guid(user, &entry->from);
	struct cv_err err = { 0 };
	uint32_t to_row, from_row;
	uint64_t where;
	struct cv_buf parse;

	if (to->columns == NULL || !cv_columns_find(to->columns, entry->message.uid, to->columns->count, &to_row) || *cv_col_cache(to->columns, to_row) != 0 ||
		from == NULL || from->columns == NULL || !cv_columns_find(from->columns, entry->uid, UINT32_MAX, &from_row))
		return;
	cv_buf_init(&parse, CV_PARSE_RECORD_MAX);
	if (cv_cache_copy(from, *cv_col_cache(from->columns, from_row), entry->uid, to, entry->message.uid, &parse, &where, &err) > 0) {
		cv_set_cache(to->columns, to_row, where);
		to->dirty++;
	}
	cv_buf_deinit(&parse); /* whatever failed: it is parsed again when asked for */
}

/* As a rule they come in the order of their UIDs. */
void cv_owed_no_more(struct cv_mailbox *mailbox, uint32_t uid)
{
	if (mailbox->owed_from == uid)
		mailbox->owed_from = uid + 1;
}

static void is_made(struct cv_user *user, struct cv_mailbox *to, const struct cv_entry *entry)
{
	copy_parse_record(user, to, entry);
	cv_owed_no_more(to, entry->message.uid);
}

int cv_owed_set_ref(struct cv_user *user, struct cv_mailbox *to, uint32_t uid, struct cv_str ref, struct cv_err *err)
{
	const struct cv_entry entry = { .kind = CV_ENTRY_REF, .mailbox = to->guid, .uid = uid, .ref = ref };
	struct cv_txn *txn = cv_txn_begin(user);
	struct cv_entry copy = entry;

	txn->internal = true;
	copy.ref = cv_arena_str(txn->arena, ref);
	cv_txn_add_entry(txn, &copy);
	return cv_txn_commit(&txn, NULL, NULL, err) < 0 ? -1 : 1;
}

/* Is a file there for it? After a crash what was made counts as owed again. */
static bool is_there(struct cv_user *user, const struct cv_mailbox_ref *to, struct cv_str ref)
{
	struct cv_storage_blob blob = { .fd = -1 };
	struct cv_err err = { 0 };
	char new_ref[CV_STORAGE_REF_MAX];
	size_t len = 0;

	if (user->storage->open_ref(user->st, to, ref, &blob, new_ref, &len, &err) <= 0)
		return false;
	cv_file_close(&blob.fd);
	return true;
}

/* No links, or too many of them: the octets themselves. */
static int copy_octets(struct cv_user *user, struct cv_mailbox *from, struct cv_mailbox *mailbox, const struct cv_storage_copy *copy, struct cv_err *err)
{
	struct cv_mailbox_ref origin = cv_mailbox_storage_ref(from), to = cv_mailbox_storage_ref(mailbox);
	struct cv_columns *columns = mailbox->columns;
	struct cv_storage_meta meta = copy->meta;
	struct cv_arena *arena;
	char ref[CV_STORAGE_REF_MAX];
	size_t len = 0;
	uint32_t row;
	int ret;

	if (copy->again && is_there(user, &to, copy->ref))
		return 1;
	if (!cv_columns_find(columns, meta.uid, columns->count, &row))
		return 1;
	arena = cv_arena_new("copy", NULL, 0);
	meta.flags = *cv_col_flags(columns, row) & CV_FLAG_ALL;
	meta.keywords = cv_row_keyword_list(arena, mailbox, *cv_col_keyword_set(columns, row));
	do
		ret = cv_storage_copy_octets(user, &origin, copy->source, &to, &meta, ref, &len, err);
	while (ret < 0 && err->code == CV_ERR_EXISTS && cv_mailbox_take_uid(mailbox, &meta.uid, err) > 0);
	if (ret > 0)
		ret = cv_user_storage_sync(user, err);
	if (ret > 0 && !cv_str_eq(cv_str_mem(ref, len), copy->ref))
		ret = cv_owed_set_ref(user, mailbox, copy->meta.uid, cv_str_mem(ref, len), err);
	if (ret > 0 && user->storage->recorded != NULL) {
		const struct cv_str refs[] = { cv_str_mem(ref, len) };

		ret = user->storage->recorded(user->st, &to, refs, 1, err);
	}
	cv_arena_free(&arena);
	return ret;
}

/* Another program's message has the file name: it gets another one. */
static int with_other_ref(struct cv_user *user, struct cv_mailbox *from, struct cv_mailbox *mailbox, const struct cv_storage_copy *wanted, struct cv_err *err)
{
	struct cv_mailbox_ref origin = cv_mailbox_storage_ref(from), to = cv_mailbox_storage_ref(mailbox);
	struct cv_storage_copy copy = *wanted;
	char ref[CV_STORAGE_REF_MAX];
	size_t len = 0, done;
	int ret;

	do {
		if (cv_mailbox_take_uid(mailbox, &copy.meta.uid, err) < 0)
			return -1;
		ret = user->storage->copy_ref(user->st, &to, &copy.meta, ref, &len, err);
		copy.ref = cv_str_mem(ref, len);
		if (ret > 0)
			ret = user->storage->copy_make(user->st, &origin, &to, &copy, 1, &done, err);
	} while (ret < 0 && err->code == CV_ERR_EXISTS);
	return ret < 0 ? -1 : cv_owed_set_ref(user, mailbox, wanted->meta.uid, copy.ref, err);
}

/* What the storage could not make: in another way. 1; 0 when what it is to be made of is not there; -1. */
static int make_otherwise(struct cv_user *user, struct cv_mailbox *from, struct cv_mailbox *to, const struct cv_storage_copy *copy, const struct cv_err *why,
	struct cv_err *err)
{
	if (why->code == CV_ERR_EXISTS)
		return with_other_ref(user, from, to, copy, err);
	if (why->code == CV_ERR_UNSUPPORTED) {
		int ret = copy_octets(user, from, to, copy, err);

		/* A directory in its place, or what is no message: trying again would keep all that is owed behind it waiting for good. */
		return ret < 0 && err->code == CV_ERR_CORRUPT ? 0 : ret;
	}
	if (why->code == CV_ERR_EXPUNGED || why->code == CV_ERR_NOTFOUND || why->code == CV_ERR_INVALID)
		return 0;
	*err = *why;
	return -1;
}

/* 1, 0 when it is not there, -1. */
static int make_of(struct cv_user *user, struct cv_mailbox *to, const struct cv_storage_copy *wanted, const struct cv_origin *origin, struct cv_err *err)
{
	struct cv_mailbox *from = cv_mailbox_by_guid(user, &origin->mailbox);
	struct cv_storage_copy copy = *wanted;
	struct cv_mailbox_ref from_ref, to_ref;
	struct cv_err make_err = { 0 };
	size_t done;

	if (from == NULL)
		return 0;
	from_ref = cv_mailbox_storage_ref(from);
	to_ref = cv_mailbox_storage_ref(to);
	copy.source = cv_str_mem(origin->ref, origin->ref_len);
	if (user->storage->copy_make(user->st, &from_ref, &to_ref, &copy, 1, &done, &make_err) > 0)
		return 1;
	return make_otherwise(user, from, to, &copy, &make_err, err);
}

/* Of the message that was copied itself. 1, 0 when it is not there, -1. */
static int make_of_source(struct cv_user *user, struct cv_mailbox *to, const struct cv_storage_copy *copy, const struct cv_entry *entry, struct cv_err *err)
{
	struct cv_origin source;
	int ret = cv_origin_find_source(user, &entry->from, entry->uid, &source, err);

	return ret > 0 ? make_of(user, to, copy, &source, err) : ret;
}

/* What it was to be made of is a copy that was owed itself, and has gone since. */
static int from_earlier(struct cv_user *user, struct batch *b, size_t i, struct cv_err *err)
{
	struct cv_guid mailbox = b->entries[i].origin;
	uint32_t uid = b->entries[i].origin_uid;
	struct cv_origin origin;
	int ret = 1;

	for (unsigned depth = 0; depth < CHAIN_MAX && (ret = cv_origin_find(user, 0, &mailbox, uid, &origin, err)) > 0; depth++) {
		ret = make_of(user, b->to, &b->copies[i], &origin, err);
		if (ret != 0)
			return ret;
		mailbox = origin.mailbox;
		uid = origin.uid;
	}
	return ret < 0 ? -1 : 0;
}

/* The first of the batch that the storage could not make. 1 it is made, or there is nothing that could be; -1 to be tried again. */
static int make_failed(struct cv_user *user, struct batch *b, size_t i, const struct cv_err *why, struct cv_err *err)
{
	int ret = make_otherwise(user, b->origin, b->to, &b->copies[i], why, err);

	if (ret == 0)
		ret = make_of_source(user, b->to, &b->copies[i], &b->entries[i], err);
	if (ret == 0)
		ret = from_earlier(user, b, i, err);
	if (ret == 0)
		cv_error(&b->to->log_ctx, "message %u has no octets: what it was copied from, %s, is gone or can't be read", b->copies[i].meta.uid,
			cv_log_clean(b->copies[i].source));
	return ret < 0 ? -1 : 1;
}

/* A folder of ours that is gone is made again; what others removed is not. */
static int make_in_new_folder(struct cv_user *user, const struct cv_mailbox_ref *origin, const struct cv_mailbox_ref *to, const struct cv_storage_copy *copy,
	struct cv_err *err)
{
	size_t done;

	if (user->external || user->storage->mailbox_create(user->st, to, err) < 0)
		return -1;
	return user->storage->copy_make(user->st, origin, to, copy, 1, &done, err);
}

/* Nothing of it counts as made. */
static void begin_again(struct cv_user *user)
{
	close_record(user);
	user->owed_made = user->owed_landed = 0;
	user->owed_unsettled = false;
	for (size_t i = 0; i < user->owed.count; i++)
		user->owed.data[i].again = true;
	cv_owed_begin(user);
}

int cv_owed_settle(struct cv_user *user, struct cv_err *err)
{
	const struct cv_storage *storage = user->storage;

	cv_landing_end(user);
	if (user->storage_args.fsync == CV_FSYNC_NEVER || storage->settle == NULL || storage->settle(user->st, err) >= 0)
		return 1;
	user->owed_unsettled = true;
	if (!user->owed_running) /* else when it ends: it reads a record */
		begin_again(user);
	return -1;
}

/* What was made is on disk; or nothing of it counts as made. */
static int sync_made(struct cv_user *user, struct cv_err *err)
{
	if (cv_owed_settle(user, err) < 0 ||
		(user->storage_args.fsync != CV_FSYNC_NEVER && user->journal.unsynced && cv_journal_sync(&user->journal, err) < 0))
		return cv_err_context(err, "files of messages");
	user->owed_landed = 0;
	return 1;
}

/* Nothing of it is to be made again. */
static int settle(struct cv_user *user, struct cv_err *err)
{
	if (sync_made(user, err) < 0)
		return -1;
	if (user->owed_made > 0)
		user->owed_settled = user->owed.data[user->owed_made - 1].seq;
	cv_owed_drop(user, user->owed_made);
	user->owed_made = 0;
	return 1;
}

static int make_batch(struct cv_user *user, struct batch *b, struct cv_err *err)
{
	size_t first = 0;

	/* After a crash a link that is there is left as it is. */
	if (user->owed_landed > 0 && sync_made(user, err) < 0)
		return -1;
	while (first < b->count) {
		struct cv_mailbox_ref origin = cv_mailbox_storage_ref(b->origin), to = cv_mailbox_storage_ref(b->to);
		struct cv_err make_err = { 0 };
		size_t done = 0;
		int ret = user->storage->copy_make(user->st, &origin, &to, &b->copies[first], b->count - first, &done, &make_err);

		for (; done > 0; done--)
			is_made(user, b->to, &b->entries[first++]);
		if (ret < 0 && make_err.code == CV_ERR_NOTFOUND && make_in_new_folder(user, &origin, &to, &b->copies[first], &make_err) > 0) {
			is_made(user, b->to, &b->entries[first++]);
			continue;
		}
		if (ret > 0)
			continue;
		if (make_failed(user, b, first, &make_err, err) < 0) {
			user->owed_reader.pos = b->places[first];
			user->owed.data[user->owed_made].again = true;
			return cv_err_context(err, "making copied messages");
		}
		is_made(user, b->to, &b->entries[first++]);
	}
	return 1;
}

/* 1 it is in the batch, 0 it is not needed (any more), 2 it is of other mailboxes: the batch is made first. */
static int add_to_batch(struct cv_user *user, struct batch *b, const struct cv_entry *entry, size_t place, struct cv_err *err)
{
	struct cv_mailbox *to = cv_mailbox_by_guid(user, &entry->mailbox), *origin = cv_mailbox_by_guid(user, &entry->origin);
	struct cv_storage_copy *copy = &b->copies[b->count];
	struct cv_str ref;
	uint32_t row;

	if (to == NULL)
		return 0; /* it went, as a whole */
	if (b->count > 0 && (b->to != to || b->origin != origin))
		return 2;
	if (cv_mailbox_load(to, err) < 0)
		return -1;
	if (!cv_columns_find(to->columns, entry->message.uid, to->columns->count, &row) ||
		(!cv_row_live(to->columns, row) && !cv_user_unpublished(user))) {
		cv_owed_no_more(to, entry->message.uid);
		return 0; /* expunged since */
	}
	/* All that is owed is made before a mailbox is deleted. */
	if (origin == NULL) {
		struct cv_mailbox_ref to_ref = cv_mailbox_storage_ref(to);

		if (!is_there(user, &to_ref, cv_columns_ref(to->columns, row)))
			cv_error(&to->log_ctx, "message %u has no octets: the mailbox that it was copied from is gone", entry->message.uid);
		cv_owed_no_more(to, entry->message.uid);
		return 0;
	}
	b->to = to;
	b->origin = origin;
	ref = cv_columns_ref(to->columns, row);
	memcpy(b->refs[b->count], ref.ptr, ref.len);
	*copy = (struct cv_storage_copy){
		.source = entry->ref,
		.ref = cv_str_mem(b->refs[b->count], ref.len),
		.again = user->owed.data[user->owed_made].again,
		.meta = {
			.uid = entry->message.uid,
			.internal_date = entry->message.date,
			.size = entry->message.physical_size,
			.virtual_size = entry->message.virtual_size,
			.pop3_uidl = entry->message.uidl,
		},
	};
	memcpy(copy->meta.guid, entry->message.guid.b, sizeof(copy->meta.guid));
	b->entries[b->count] = *entry;
	b->places[b->count] = place;
	b->count++;
	return 1;
}

/* A message whose octets the record has. */
static int land(struct cv_user *user, const struct cv_entry *append, const struct cv_entry *octets, struct cv_err *err)
{
	struct cv_owed *owed = &user->owed.data[user->owed_made];

	if (cv_landing_make(user, append, octets, owed->again, err) < 0) {
		user->owed.data[user->owed_made].again = true;
		return -1;
	}
	user->owed_landed++;
	return 0;
}

/* Some more of the record at hand: 1 it has no more, 0 it has, -1. */
static int make_some(struct cv_user *user, struct batch *b, struct cv_err *err)
{
	struct cv_entry entry, append = { 0 };
	size_t append_place = user->owed_reader.pos;
	bool end = false;

	b->count = 0;
	while (!end && b->count < BATCH) {
		size_t place = user->owed_reader.pos;
		int ret;

		if (cv_entry_next(&user->owed_reader, &entry) <= 0) {
			end = true;
			break;
		}
		if (entry.kind == CV_ENTRY_APPEND) {
			append = entry;
			append_place = place;
		}
		if (!cv_entry_owes(&entry))
			continue;
		if (entry.kind == CV_ENTRY_OCTETS) {
			ret = b->count == 0 ? land(user, &append, &entry, err) : 2;
			if (ret != 0)
				user->owed_reader.pos = append_place;
			if (ret != 2)
				return ret;
			break;
		}
		ret = add_to_batch(user, b, &entry, place, err);
		if (ret < 0 || ret == 2)
			user->owed_reader.pos = place;
		if (ret < 0)
			return -1;
		if (ret == 2)
			break;
	}
	return b->count > 0 && make_batch(user, b, err) < 0 ? -1 : end;
}

int cv_owed_make(struct cv_user *user, uint64_t deadline_ms, struct cv_err *err)
{
	struct batch *b;
	int ret = 1;

	if (!user->owed_running)
		cv_landing_end(user);
	if (user->owed_running || !cv_owed_any(user))
		return !cv_owed_any(user);
	if (user->folders_behind)
		return cv_err_set(err, CV_ERR_TEMP, "copied messages wait for folders to be moved");
	user->owed_running = true;
	b = cv_new0(struct batch);
	while (ret >= 0 && cv_owed_any(user)) {
		ret = open_record(user, err);
		if (ret > 0)
			ret = make_some(user, b, err);
		else if (ret == 0)
			ret = 1;
		if (ret > 0) {
			close_record(user);
			user->owed_made++;
		}
		if (ret >= 0 && cv_owed_any(user) && cv_time_mono_ms() >= deadline_ms)
			break;
	}
	cv_free(b);
	user->owed_running = false;
	if (user->owed_unsettled) {
		begin_again(user);
		return ret < 0 ? -1 : cv_err_set(err, CV_ERR_TEMP, "files of messages could not be synced");
	}
	return ret < 0 ? -1 : !cv_owed_any(user);
}

static bool any_copies(const struct cv_user *user)
{
	for (size_t i = 0; i < user->owed.count; i++) {
		if (user->owed.data[i].copies)
			return true;
	}
	return false;
}

/* Files of new messages are made many at a time: made one by one between syncs of the journal, each would make these dearer. */
static bool may_wait(const struct cv_user *user, uint64_t now_ms)
{
	return user->loop != NULL && !user->external && now_ms < user->owed_settle_ms && user->owed.count < TOGETHER && user->owed_made == 0 &&
		!user->owed_open && user->owed_octets < TOGETHER_OCTETS && !any_copies(user);
}

/* When what is owed is made and synced: new messages can be read from the journal so long, what is to be removed waits. Once set, it never becomes later. */
static void set_settle(struct cv_user *user, uint64_t now_ms)
{
	uint64_t at = now_ms + (user->work_due > 0 || user->owed_made > 0 || any_copies(user) ? SETTLE_DELAY_MS : LANDING_DELAY_MS);

	if (user->owed_settle_ms == 0 || at < user->owed_settle_ms)
		user->owed_settle_ms = at;
}

bool cv_owed_waits(const struct cv_user *user)
{
	return user->landing != NULL || (user->owed_settle_ms != 0 && may_wait(user, cv_loop_now_ms(user->loop)));
}

int cv_owed_run(struct cv_user *user, bool all, uint64_t deadline_ms, unsigned *wait_ms_r, struct cv_err *err)
{
	uint64_t now;
	int ret;

	*wait_ms_r = 0;
	if (all)
		cv_landing_end(user);
	if (user->owed.count == 0)
		return 1;
	if (user->landing != NULL) { /* its end is told */
		*wait_ms_r = LANDING_MS;
		return 0;
	}
	now = user->loop != NULL ? cv_loop_now_ms(user->loop) : 0;
	set_settle(user, now);
	if (!all && may_wait(user, now)) {
		*wait_ms_r = (unsigned)(user->owed_settle_ms - now);
		return 0;
	}
	if (!all && cv_landing_begin(user)) {
		*wait_ms_r = LANDING_MS;
		return 0;
	}
	ret = cv_owed_make(user, deadline_ms, err);
	if (ret <= 0)
		return ret;
	if (!all && user->loop != NULL && !user->external && now < user->owed_settle_ms && user->owed_landed < TOGETHER) {
		*wait_ms_r = (unsigned)(user->owed_settle_ms - now);
		return 0;
	}
	user->owed_settle_ms = 0;
	return settle(user, err);
}

int cv_owed_all(struct cv_user *user, struct cv_err *err)
{
	unsigned wait_ms;

	if (user->owed.count == 0)
		return 1;
	if (user->storage_args.fsync != CV_FSYNC_NEVER && user->journal.unsynced && cv_journal_sync(&user->journal, err) < 0)
		return -1;
	if (user->folders_behind && cv_work_folders(user, err) < 0)
		return -1;
	user->folders_behind = false;
	return cv_owed_run(user, true, UINT64_MAX, &wait_ms, err);
}

void cv_owed_hurry(struct cv_mailbox *mailbox, uint32_t uid)
{
	struct cv_user *user = mailbox->user;
	struct cv_err err = { 0 };

	if (!cv_owed_is(mailbox, uid) || user->folders_behind || user->lost)
		return;
	/* Flags that wait for a sync would make every reader look through the journal for that long. */
	if (user->journal.unsynced && (user->storage_args.fsync == CV_FSYNC_NEVER || cv_journal_sync(&user->journal, &err) < 0))
		return;
	if (cv_owed_make(user, cv_time_mono_ms() + READ_MS, &err) < 0)
		cv_warn(&user->log_ctx, "%s; trying again later", err.text);
	cv_work_soon(user); /* what is made now is synced sooner than what waits for others */
}

void cv_owed_deinit(struct cv_user *user)
{
	close_record(user);
	cv_vec_free(&user->owed);
}
