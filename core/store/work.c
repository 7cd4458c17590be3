/* SPDX-License-Identifier: MIT
   What the storage module still has to do for records that are durable: remove octets and folders, rename folders, mirror flags.
   It is done again after a crash; each step is harmless when it was done before. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>
#include <sys/statvfs.h>

#define BATCH 64 /* messages whose octets the storage removes at once */
#define SLICE_MS 5
#define WHOLE_MS 2000 /* so long a user who is opened or closed waits for all that is left */
#define ROOM_MIN ((uint64_t)64 << 20) /* less on the file system is hardly any */

void cv_work_add(struct cv_user *user, uint64_t seq, struct cv_journal_pos pos)
{
	*cv_vec_push(&user->work) = (struct cv_work){ .seq = seq, .pos = pos };
	user->work_due++;
}

uint64_t cv_work_first(const struct cv_user *user)
{
	uint64_t owed = user->owed.count > 0 ? user->owed.data[0].seq : UINT64_MAX;

	return CV_MIN(owed, user->work.count > 0 ? user->work.data[0].seq : UINT64_MAX);
}

bool cv_work_is_due(const struct cv_user *user)
{
	return user->work_due > 0 || user->owed.count > 0;
}

int cv_work_each(struct cv_user *user, bool lost, cv_work_fn *fn, void *ctx, struct cv_err *err)
{
	struct cv_buf buf;
	int ret = 1;

	if (user->work_due == 0)
		return 1;
	cv_buf_init(&buf, CV_JOURNAL_READ_MAX);
	for (size_t i = 0; ret > 0 && i < user->work.count; i++) {
		struct cv_record_head head = { .seq = user->work.data[i].seq };
		struct cv_err read_err = { 0 };
		struct cv_str entries = { 0 };

		if (user->work.data[i].done)
			continue;
		if (cv_journal_read(&user->journal, user->work.data[i].pos, &buf, &head, &entries, &read_err) > 0) {
			ret = fn(ctx, &head, entries);
		} else if (read_err.code != CV_ERR_NOTFOUND && read_err.code != CV_ERR_CORRUPT) {
			*err = read_err;
			ret = -1;
		} else if (lost) {
			ret = fn(ctx, &head, (struct cv_str){ 0 });
		}
	}
	cv_buf_deinit(&buf);
	return ret;
}

/* Nothing of these is to be done again. */
static void forget_done(struct cv_user *user)
{
	size_t kept = 0;

	for (size_t i = 0; i < user->work.count; i++) {
		if (!user->work.data[i].done)
			user->work.data[kept++] = user->work.data[i];
	}
	user->state_dirty = user->state_dirty || kept < user->work.count;
	user->work.count = kept;
	user->work_seq = kept > 0 ? CV_MAX(user->work_seq, user->work.data[0].seq - 1) : user->published_seq;
}

static bool folder_is_free(const struct cv_user *user, struct cv_str name)
{
	const struct cv_name *there = cv_tree_find(user, name);

	return there == NULL || there->mailbox == NULL;
}

static bool is_tree_work(enum cv_entry_kind kind)
{
	return kind == CV_ENTRY_RENAME || kind == CV_ENTRY_DELETE;
}

struct at_name {
	struct cv_str name;
	bool found;
};

static int look_for_name(void *ctx, const struct cv_record_head *head, struct cv_str entries)
{
	struct at_name *at = ctx;
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;

	(void)head;
	at->found = at->found || entries.ptr == NULL;
	while (cv_entry_next(&reader, &entry) > 0) {
		if (!is_tree_work(entry.kind))
			continue;
		at->found = at->found || at->name.len == 0 || cv_str_eq(at->name, entry.name) ||
			(entry.kind == CV_ENTRY_RENAME && cv_str_starts(at->name, entry.name) && at->name.ptr[entry.name.len] == '/');
	}
	return 1;
}

bool cv_work_has_folder(struct cv_user *user, struct cv_str name)
{
	struct at_name at = { .name = name };
	struct cv_err err = { 0 };

	return cv_work_each(user, true, look_for_name, &at, &err) < 0 || at.found;
}

/* Mailboxes that have another name now, with the names that their folders had. */
struct moved {
	struct cv_arena *arena;
	CV_VEC(struct cv_mailbox *) mailboxes;
	CV_VEC(struct cv_mailbox_ref) old;
};

static void moved_add(struct moved *moved, const struct cv_name *name, struct cv_str from, struct cv_str to)
{
	struct cv_mailbox_ref *ref;
	struct cv_str below;

	if (name->mailbox == NULL)
		return;
	below = cv_str_sub(cv_name_str(name), to.len, SIZE_MAX);
	*cv_vec_push(&moved->mailboxes) = name->mailbox;
	ref = cv_vec_push(&moved->old);
	*ref = cv_mailbox_storage_ref(name->mailbox);
	ref->name = cv_str_c(cv_arena_printf(moved->arena, "%.*s%.*s", CV_STR_ARG(from), CV_STR_ARG(below)));
}

static void moved_find(struct cv_user *user, struct cv_str from, struct cv_str to, struct moved *moved)
{
	const struct cv_name *name = cv_tree_find(user, to);
	size_t first, end;

	*moved = (struct moved){ .arena = cv_arena_new("moved", NULL, 0) };
	if (name != NULL)
		moved_add(moved, name, from, to);
	cv_tree_below(user, to, &first, &end);
	for (; first < end; first++)
		moved_add(moved, user->names.data[first], from, to);
}

static void moved_free(struct moved *moved)
{
	cv_vec_free(&moved->mailboxes);
	cv_vec_free(&moved->old);
	cv_arena_free(&moved->arena);
}

static int count_tree_work(void *ctx, const struct cv_record_head *head, struct cv_str entries)
{
	struct cv_reader reader = cv_reader_init(entries);
	size_t *count = ctx;
	struct cv_entry entry;

	(void)head;
	*count += entries.ptr == NULL;
	while (cv_entry_next(&reader, &entry) > 0)
		*count += is_tree_work(entry.kind);
	return 1;
}

/* Nothing but this rename is to be done to folders at the old name: no mailbox is there again, and no other record waits, which may want to remove or move a part. */
static bool is_alone(struct cv_user *user, struct cv_str from)
{
	struct cv_err err = { 0 };
	size_t waiting = 0, first, end;

	if (!folder_is_free(user, from))
		return false;
	cv_tree_below(user, from, &first, &end);
	for (; first < end; first++) {
		if (user->names.data[first]->mailbox != NULL)
			return false;
	}
	return cv_work_each(user, true, count_tree_work, &waiting, &err) > 0 && waiting <= 1;
}

/* One after the other. */
static int rename_each(struct cv_user *user, const struct moved *moved, struct cv_str from, struct cv_str to, struct cv_err *err)
{
	for (size_t i = 0; i < moved->old.count; i++) {
		const struct cv_mailbox_ref *old = &moved->old.data[i];
		const char *below = old->name.ptr + from.len;
		struct cv_err rename_err = { 0 };

		if (folder_is_free(user, old->name) &&
			user->storage->mailbox_rename(user->st, old, cv_str_c(cv_arena_printf(moved->arena, "%.*s%s", CV_STR_ARG(to), below)), &rename_err) < 0 &&
			rename_err.code != CV_ERR_NOTFOUND) { /* not there: it was moved before */
			if (err != NULL)
				*err = rename_err;
			return -1;
		}
		cv_watch_moved(moved->mailboxes.data[i]);
	}
	return 1;
}

/* Move the folders of all mailboxes whose name is `to` or below it from where they were. */
int cv_work_rename(struct cv_user *user, struct cv_str from, struct cv_str to, struct cv_err *err)
{
	struct moved moved;
	int ret = 0;

	moved_find(user, from, to, &moved);
	if (user->storage->mailbox_rename_tree != NULL && is_alone(user, from))
		ret = user->storage->mailbox_rename_tree(user->st, moved.old.data, moved.old.count, from, to, err);
	if (ret == 0)
		ret = rename_each(user, &moved, from, to, err);
	else if (ret > 0)
		for (size_t i = 0; i < moved.mailboxes.count; i++)
			cv_watch_moved(moved.mailboxes.data[i]);
	moved_free(&moved);
	user->folders_behind = user->folders_behind || ret < 0;
	return ret;
}

static int delete_folder(struct cv_user *user, const struct cv_entry *entry, struct cv_err *err)
{
	struct cv_mailbox_ref ref = { .name = entry->name };
	struct cv_err delete_err = { 0 };

	if (cv_mailbox_by_guid(user, &entry->mailbox) != NULL)
		return 1;
	cv_checkpoint_forget(user, &entry->mailbox);
	if (entry->on || !folder_is_free(user, entry->name)) /* on: what may be there by now is not ours */
		return 1;
	memcpy(ref.guid, entry->mailbox.b, sizeof(ref.guid));
	if (user->storage->mailbox_delete(user->st, &ref, &delete_err) >= 0 || delete_err.code == CV_ERR_NOTFOUND)
		return 1;
	*err = delete_err;
	return cv_err_context(err, "removing the folder of a deleted mailbox");
}

/* Octets of expunged messages: 1 all of the entry, 2 time is over, -1. */
static int remove_octets(struct cv_user *user, struct cv_mailbox *mailbox, uint64_t deadline_ms, struct cv_err *err)
{
	struct cv_mailbox_ref ref = cv_mailbox_storage_ref(mailbox);
	struct cv_work_at *at = &user->work_at;
	struct cv_str refs[BATCH];
	size_t count;

	do {
		for (count = 0; count < BATCH;) {
			if (cv_take_ref(&at->refs, &refs[count])) {
				count++;
			} else {
				struct cv_group group;

				if (cv_group_next(&at->groups, at->entry.kind, &group) <= 0)
					break;
				at->refs = group.refs;
			}
		}
		if (count > 0 && user->storage->remove(user->st, &ref, refs, count, err) < 0)
			return cv_err_context(err, "removing octets of expunged messages");
		if (count == BATCH && cv_time_mono_ms() >= deadline_ms)
			return 2;
	} while (count == BATCH);
	return 1;
}

static int mirror_groups(struct cv_mailbox *mailbox, const struct cv_entry *entry, struct cv_err *err)
{
	struct cv_reader reader = cv_reader_init(entry->groups);
	struct cv_range range;
	struct cv_group group;

	/* What others did to the files since we looked last is not to be overwritten. */
	if (cv_mailbox_refresh(mailbox, err) < 0)
		return -1;
	/* What may be refused still is not for others to see, and a message whose removal may be is to have its flags. */
	if (!cv_mailbox_catch_up(mailbox))
		return 0;
	if (mailbox->gone)
		return 1;
	if (cv_mailbox_load(mailbox, err) < 0)
		return -1;
	while (cv_group_next(&reader, entry->kind, &group) > 0) {
		range = (struct cv_range){ 0 };
		while (cv_range_next(&group, &range) > 0) {
			if (cv_mirror_range(mailbox, range, err) < 0)
				return cv_err_context(err, "mirroring flags");
		}
	}
	return 1;
}

static int mirror_flags(struct cv_user *user, struct cv_mailbox *mailbox, const struct cv_entry *entry, struct cv_err *err)
{
	int ret;

	if (user->storage->set_flags == NULL)
		return 1;
	cv_mailbox_ref(mailbox);
	ret = mirror_groups(mailbox, entry, err);
	cv_mailbox_unref(&mailbox);
	return ret;
}

/* 1 done, 2 there is more of it, 0 not yet (a message is open, changes go on), -1 to be tried again. An EXPUNGE is that of user->work_at. */
static int do_entry(struct cv_user *user, const struct cv_entry *entry, uint64_t deadline_ms, struct cv_err *err)
{
	struct cv_mailbox *mailbox = cv_mailbox_by_guid(user, &entry->mailbox);

	switch (entry->kind) {
	case CV_ENTRY_RENAME:
		return cv_work_rename(user, entry->name, entry->new_name, err);
	case CV_ENTRY_DELETE:
		return delete_folder(user, entry, err);
	case CV_ENTRY_EXPUNGE:
		if (mailbox == NULL)
			return 1; /* the folder goes or went as a whole */
		return mailbox->open_mails > 0 ? 0 : remove_octets(user, mailbox, deadline_ms, err);
	case CV_ENTRY_FLAGS:
		return user->external && mailbox != NULL ? mirror_flags(user, mailbox, entry, err) : 1;
	case CV_ENTRY_CREATE:
	case CV_ENTRY_SUBSCRIBE:
	case CV_ENTRY_ANNOTATE:
	case CV_ENTRY_APPEND:
	case CV_ENTRY_COPY:
	case CV_ENTRY_RECENT:
	case CV_ENTRY_UIDNEXT:
	case CV_ENTRY_REF:
	case CV_ENTRY_UIDL:
	case CV_ENTRY_NOTE:
	case CV_ENTRY_OCTETS:
	case CV_ENTRY_SETTLED:
		return 1;
	}
	return 1;
}

/* When the octets of what the record expunged may go; 0: at once. */
static int64_t undelete_until_ms(const struct cv_user *user, const struct cv_record_head *head)
{
	uint64_t keep = user->external ? 0 : user->set->mail_undelete_time; /* others see what lies there */

	return keep == 0 ? 0 : cv_hlc_ms(head->hlc) + (int64_t)keep;
}

static bool is_early(const struct cv_work *work)
{
	return work->not_before_ms > 0 && work->not_before_ms > cv_time_now_us() / 1000;
}

/* Only octets wait for the undelete time; a record with nothing else waits as a whole. */
static bool has_expunge(struct cv_str entries)
{
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;

	while (cv_entry_next(&reader, &entry) > 0) {
		if (entry.kind == CV_ENTRY_EXPUNGE)
			return true;
	}
	return false;
}

static void close_record(struct cv_user *user)
{
	if (user->work_at.seq != 0)
		cv_buf_deinit(&user->work_at.buf);
	user->work_at = (struct cv_work_at){ 0 };
}

/* The record goes on where it was left: 1, 0 not yet, -1. One that is lost has no entries: what it named is left to a scan. */
static int open_record(struct cv_user *user, struct cv_work *work, struct cv_err *err)
{
	struct cv_work_at *at = &user->work_at;
	struct cv_record_head head;
	struct cv_str entries = { 0 };

	if (at->seq == work->seq)
		return 1;
	close_record(user);
	at->seq = work->seq;
	cv_buf_init(&at->buf, CV_JOURNAL_READ_MAX);
	if (cv_journal_read(&user->journal, work->pos, &at->buf, &head, &entries, err) < 0) {
		if (err->code != CV_ERR_NOTFOUND && err->code != CV_ERR_CORRUPT)
			return -1;
		cv_error(&user->log_ctx, "what record %llu of the journal asked of the files of messages is not known any more: %s", (unsigned long long)work->seq,
			err->text);
		return 1;
	}
	work->not_before_ms = has_expunge(entries) ? undelete_until_ms(user, &head) : 0;
	at->entries = cv_reader_init(entries);
	return !is_early(work);
}

/* 1 done, 2 there is more of it, 0 not yet, -1; *tree_r: it was a folder that failed. */
static int do_record(struct cv_user *user, struct cv_work *work, uint64_t deadline_ms, bool *tree_r, struct cv_err *err)
{
	struct cv_work_at *at = &user->work_at;
	int ret = open_record(user, work, err);

	while (ret == 1) {
		if (!at->in_entry) {
			if (cv_entry_next(&at->entries, &at->entry) <= 0)
				break;
			at->in_entry = true;
			at->groups = cv_reader_init(at->entry.groups);
			at->refs = cv_reader_init((struct cv_str){ 0 });
		}
		ret = do_entry(user, &at->entry, deadline_ms, err);
		*tree_r = ret < 0 && is_tree_work(at->entry.kind);
		if (ret == 1)
			at->in_entry = false;
	}
	if (ret != 2)
		close_record(user);
	return ret;
}

/* What is done to the storage must not outlive the record that asks for it. 0: later. */
static int records_are_durable(struct cv_user *user, bool all, struct cv_err *err)
{
	/* What was written before a write that failed is on disk when the cut behind it is. */
	bool uncut = user->journal.uncut;

	if ((!user->journal.unsynced && !uncut) || user->storage_args.fsync == CV_FSYNC_NEVER)
		return 1;
	return all || user->loop == NULL || uncut ? cv_journal_sync(&user->journal, err) : 0;
}

/* Messages are looked for where their mailbox is by now: after a crash the folders go there first, or nothing before the rename would ever be
   done. */
struct moving {
	struct cv_user *user;
	struct cv_err *err;
};

static int move_folder(void *ctx, const struct cv_record_head *head, struct cv_str entries)
{
	struct moving *moving = ctx;
	struct cv_reader reader = cv_reader_init(entries);
	struct cv_entry entry;
	int ret = 1;

	(void)head;
	while (ret > 0 && cv_entry_next(&reader, &entry) > 0) {
		if (is_tree_work(entry.kind))
			ret = do_entry(moving->user, &entry, UINT64_MAX, moving->err);
	}
	return ret;
}

static int move_folders(struct cv_user *user, struct cv_err *err)
{
	struct moving moving = { user, err };

	return cv_work_each(user, false, move_folder, &moving, err);
}

int cv_work_folders(struct cv_user *user, struct cv_err *err)
{
	return user->work_due > 0 && (records_are_durable(user, true, err) < 0 || move_folders(user, err) < 0) ? -1 : 1;
}

static void run_until(struct cv_user *user, bool all, uint64_t deadline);

void cv_work_begin(struct cv_user *user)
{
	struct cv_err err = { 0 };

	cv_owed_begin(user);
	user->folders_behind = cv_work_folders(user, &err) < 0;
	if (user->folders_behind)
		cv_error(&user->log_ctx, "%s; trying again later", err.text);
	run_until(user, true, user->loop != NULL ? cv_time_mono_ms() + WHOLE_MS : UINT64_MAX);
}

void cv_work_end(struct cv_user *user)
{
	run_until(user, true, cv_time_mono_ms() + WHOLE_MS);
	if (cv_work_is_due(user) && !user->work_failed && !user->lost)
		cv_info(&user->log_ctx, "not all files of copied messages are made, or those of expunged ones removed: the next opening goes on with it");
}

int cv_work_settle(struct cv_user *user, struct cv_err *err)
{
	return !user->external && cv_owed_settle(user, err) < 0 ? cv_err_context(err, "folders with removed messages") : 1;
}

/* What was done since the last time needs no record any more. Where others write it is on disk first: they would show again what was removed. Else that is time
   enough when a state is written that does not name the records (cv_work_settle): until then they are found again after a crash. */
static int settle(struct cv_user *user, struct cv_err *err)
{
	if (user->external && cv_owed_settle(user, err) < 0) {
		for (size_t i = 0; i < user->work.count; i++) { /* again */
			user->work_due += user->work.data[i].done;
			user->work.data[i].done = false;
		}
		return -1;
	}
	forget_done(user);
	return 1;
}

/* Those that are due, oldest first. 1 all are done, 0 some have to wait, 2 time is over, -1 some failed. */
static int run(struct cv_user *user, uint64_t deadline_ms, bool *any_r, struct cv_err *err)
{
	int result = 1;

	for (size_t i = 0; i < user->work.count; i++) { /* more may come meanwhile */
		struct cv_work work = user->work.data[i];
		struct cv_err work_err = { 0 };
		bool tree = false;
		int ret;

		if (work.done)
			continue;
		if (cv_time_mono_ms() >= deadline_ms) {
			result = result < 0 ? result : 2;
			break;
		}
		ret = is_early(&work) ? 0 : do_record(user, &work, deadline_ms, &tree, &work_err);
		user->work.data[i].not_before_ms = work.not_before_ms;
		if (ret == 1) {
			user->work.data[i].done = *any_r = true;
			user->work_due--;
		} else if (ret == 2) {
			result = result < 0 ? result : 2;
			break;
		} else if (ret == 0) {
			result = result < 0 ? result : 0;
		} else {
			if (result >= 0)
				*err = work_err;
			result = -1;
			if (tree)
				break;
		}
	}
	return result;
}

static void run_until(struct cv_user *user, bool all, uint64_t deadline)
{
	struct cv_err err = { 0 };
	unsigned wait_ms = 1000;
	bool any = false;
	int ret;

	if (user->work_running || !cv_work_is_due(user) || cv_user_is_there(user, &err) < 0)
		return;
	user->work_running = true;
	ret = records_are_durable(user, all, &err);
	if (ret > 0 && user->folders_behind) {
		ret = cv_work_folders(user, &err);
		user->folders_behind = ret < 0;
	}
	/* What is expunged goes after all that is made of it. */
	if (ret > 0)
		ret = cv_owed_run(user, all, deadline, &wait_ms, &err);
	if (ret > 0 && user->owed_queued)
		ret = 2;
	else if (ret > 0)
		ret = run(user, deadline, &any, &err);
	else if (ret == 0 && wait_ms == 0)
		ret = 2;
	if (any && settle(user, &err) < 0)
		ret = -1;
	user->work_running = false;
	user->work_failed = ret < 0;
	if (ret < 0)
		cv_error(&user->log_ctx, "%s; trying again later", err.text);
	if (user->loop == NULL || !cv_work_is_due(user))
		return;
	if (ret > 0)
		cv_work_soon(user);
	else
		cv_timer_set(user->work_timer, ret < 0 ? 60000 : wait_ms);
}

void cv_work_run(struct cv_user *user, bool all)
{
	run_until(user, all, all || user->loop == NULL ? UINT64_MAX : cv_time_mono_ms() + SLICE_MS);
}

void cv_work_soon(struct cv_user *user)
{
	if (user->loop == NULL || user->work_timed || !cv_work_is_due(user) || (user->work_due == 0 && cv_owed_waits(user)))
		return;
	/* Set again in each round, it would never strike. */
	cv_timer_set(user->work_timer, 0);
	user->work_timed = true;
}

void cv_work_make_room(struct cv_user *user, uint64_t octets)
{
	struct statvfs fs;

	if (user->loop == NULL || !cv_work_is_due(user) || fstatvfs(user->index_dir, &fs) < 0)
		return;
	if ((uint64_t)fs.f_bavail * fs.f_frsize < octets + ROOM_MIN)
		cv_work_run(user, true);
}

bool cv_work_retry(struct cv_user *user)
{
	if (!user->work_failed && !user->folders_behind)
		return false;
	cv_work_run(user, true);
	return !user->work_failed && !user->folders_behind;
}

static void on_work(void *ctx)
{
	((struct cv_user *)ctx)->work_timed = false;
	cv_work_run(ctx, false);
}

void cv_work_init(struct cv_user *user)
{
	if (user->loop == NULL)
		return;
	user->work_timer = cv_timer_add_stopped(user->loop, on_work, user);
}

void cv_work_deinit(struct cv_user *user)
{
	close_record(user);
	cv_timer_remove(&user->work_timer);
}
