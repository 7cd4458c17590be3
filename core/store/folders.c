/* SPDX-License-Identifier: MIT
   Folders that the storage has and the journal does not, and the other way round: a tree that was there before, what other programs made, renamed
   and removed, and what is left after damage. */
#include <config.h>

#include "core/store/store-private.h"

#include <string.h>

struct folder {
	struct cv_mailbox_ref ref; /* name in the arena */
	struct cv_guid guid;       /* for the mailbox that is made; the storage's when it serves */
};
struct folders {
	struct cv_user *user;
	struct cv_arena *arena;
	struct cv_map *by_name;    /* all that are there */
	CV_VEC(struct folder) new; /* those without mailbox */
	CV_VEC(struct cv_str) subscribed;
	bool incomplete;           /* something could not be told: the folders must be looked through again */
};

static const struct cv_guid no_guid;

static int note_folder(void *ctx, const struct cv_mailbox_ref *ref)
{
	struct folders *f = ctx;
	struct cv_str name = cv_arena_str(f->arena, ref->name);
	const struct cv_name *there = cv_tree_find(f->user, name);
	struct folder *folder;

	cv_map_set(f->by_name, name, f);
	if ((there != NULL && there->mailbox != NULL) || ref->unreadable)
		return 1;
	folder = cv_vec_push(&f->new);
	folder->ref = *ref;
	folder->ref.name = name;
	return 1;
}

static int note_subscription(void *ctx, struct cv_str name)
{
	struct folders *f = ctx;

	*cv_vec_push(&f->subscribed) = cv_arena_str(f->arena, name);
	return 1;
}

static void folders_init(struct folders *f, struct cv_user *user)
{
	*f = (struct folders){ .user = user, .arena = cv_arena_new("folders", NULL, 0), .by_name = cv_map_new() };
}

static void folders_deinit(struct folders *f)
{
	cv_vec_free(&f->new);
	cv_vec_free(&f->subscribed);
	cv_map_free(&f->by_name);
	cv_arena_free(&f->arena);
}

/* Has another folder that is there this GUID too? A mailbox without its folder is not another: that one came to a new place. */
static bool is_copy(const struct folders *f, size_t i, const struct cv_guid *guid)
{
	const struct cv_mailbox *mailbox = cv_mailbox_by_guid(f->user, guid);

	if (mailbox != NULL && cv_map_get(f->by_name, cv_mailbox_name(mailbox)) != NULL)
		return true;
	for (size_t j = 0; j < i; j++) {
		if (memcmp(guid, &f->new.data[j].guid, sizeof(*guid)) == 0)
			return true;
	}
	return false;
}

/* GUID and UIDVALIDITY of the format, where they serve. A copy of a folder has those of the first one, and would give UIDs to other messages than that:
   under the first one's name and UIDVALIDITY, should it get that name. */
static void choose_identity(struct folders *f, size_t i)
{
	struct folder *folder = &f->new.data[i];
	bool none, copy;

	memcpy(folder->guid.b, folder->ref.guid, sizeof(folder->guid.b));
	none = memcmp(&folder->guid, &no_guid, sizeof(no_guid)) == 0;
	copy = !none && is_copy(f, i, &folder->guid);
	if (none || copy || cv_mailbox_by_guid(f->user, &folder->guid) != NULL)
		cv_random(folder->guid.b, sizeof(folder->guid.b));
	memcpy(folder->ref.guid, folder->guid.b, sizeof(folder->ref.guid));
	if (copy)
		folder->ref.uidnext = 0;
	if (copy || folder->ref.uidvalidity == 0)
		folder->ref.uidvalidity = cv_user_new_uidvalidity(f->user);
}

void cv_folder_kept(struct cv_user *user, const struct cv_mailbox_ref *ref)
{
	struct cv_err err = { 0 };

	if (user->storage->mailbox_keep != NULL && user->storage->mailbox_keep(user->st, ref, true, &err) < 0)
		cv_warn(&user->log_ctx, "folder %s still says that it is being made: %s", cv_log_clean(ref->name), err.text);
}

void cv_folder_refused(struct cv_user *user, const struct cv_mailbox_ref *ref)
{
	struct cv_err err = { 0 };

	if (user->storage->mailbox_keep == NULL || user->storage->mailbox_keep(user->st, ref, false, &err) >= 0)
		return;
	cv_warn(&user->log_ctx, "folder %s of a mailbox that could not be made is still there: %s; trying again later", cv_log_clean(ref->name),
		err.text);
	user->folders_known = false;
}

/* Without the folders of mailboxes that were refused, and of those that are about to be moved or removed: they are not new. Where there is no journal yet,
   nothing was refused. */
static void drop_refused(struct folders *f, bool fresh)
{
	struct cv_user *user = f->user;
	size_t kept = 0;

	for (size_t i = 0; i < f->new.count; i++) {
		struct folder *folder = &f->new.data[i];
		struct cv_err err = { 0 };
		int there = 1;

		if (cv_work_has_folder(user, folder->ref.name))
			continue;
		if (!fresh && user->storage->mailbox_keep != NULL)
			there = user->storage->mailbox_keep(user->st, &folder->ref, false, &err);
		if (there > 0)
			f->new.data[kept++] = *folder;
		else if (there < 0) {
			cv_warn(&user->log_ctx, "folder %s has no mailbox yet: %s", cv_log_clean(folder->ref.name), err.text);
			f->incomplete = true;
		}
	}
	f->new.count = kept;
}

/* Those that can be mailboxes; false when there are none. */
static bool choose(struct folders *f)
{
	struct cv_user *user = f->user;
	size_t kept = 0;

	for (size_t i = 0; i < f->new.count; i++) {
		struct cv_str name = f->new.data[i].ref.name;
		struct cv_err err = { 0 };

		if (user->names.count + kept >= user->set->mail_max_mailboxes) {
			cv_warn(&user->log_ctx, "%zu folders have no mailbox: there would be more than mail_max_mailboxes", f->new.count - i);
			break;
		}
		if (cv_mailbox_name_ok(user, name, &err) < 0) {
			if (!user->folders_known)
				cv_warn(&user->log_ctx, "folder %s has no mailbox: %s", cv_log_clean(name), err.text);
			continue;
		}
		f->new.data[kept++] = f->new.data[i];
	}
	f->new.count = kept;
	for (size_t i = 0; i < kept; i++)
		choose_identity(f, i);
	return kept > 0;
}

/* UIDs that the format says were given out. */
static int keep_uids(struct folders *f, struct cv_err *err)
{
	struct cv_txn *txn = cv_txn_begin(f->user);

	txn->internal = true;
	for (size_t i = 0; i < f->new.count; i++) {
		const struct folder *folder = &f->new.data[i];
		const struct cv_entry entry = { .kind = CV_ENTRY_UIDNEXT, .mailbox = folder->guid, .uid = folder->ref.uidnext,
			.number = f->user->journal.seq };

		if (folder->ref.uidnext > 1 && folder->ref.uidnext < UINT32_MAX / 2)
			cv_txn_add_entry(txn, &entry);
	}
	return cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
}

/* Mailboxes for the new folders, by the transaction of the caller. */
static int add_new(struct folders *f, struct cv_txn *txn, struct cv_err *err)
{
	for (size_t i = 0; i < f->new.count; i++) {
		const struct folder *folder = &f->new.data[i];
		const struct cv_entry entry = { .kind = CV_ENTRY_CREATE, .name = folder->ref.name, .mailbox = folder->guid,
			.uidvalidity = folder->ref.uidvalidity };

		if (f->user->storage->mailbox_create(f->user->st, &folder->ref, err) < 0)
			return cv_err_context(err, "folder %s", cv_log_clean(folder->ref.name));
		cv_txn_add_entry(txn, &entry);
	}
	return 1;
}

/* They are mailboxes now: what lies in them is theirs. */
static int made_new(struct folders *f, bool lossy, struct cv_err *err)
{
	if (f->new.count == 0)
		return 1;
	for (size_t i = 0; i < f->new.count; i++) {
		struct cv_mailbox *mailbox = cv_mailbox_by_guid(f->user, &f->new.data[i].guid);

		if (mailbox == NULL)
			continue;
		cv_folder_kept(f->user, &f->new.data[i].ref);
		mailbox->take_over = true;
		mailbox->needs_scan = mailbox->needs_scan || lossy;
	}
	f->user->state_dirty = true;
	return keep_uids(f, err);
}

/* ---- when the user is opened ---------------------------------------------------------------------------------------- */

int cv_user_adopt_folders(struct cv_user *user, bool fresh, struct cv_err *err)
{
	struct folders f;
	struct cv_txn *txn;
	int ret;

	folders_init(&f, user);
	ret = user->storage->mailbox_list(user->st, note_folder, &f, err);
	if (ret >= 0 && fresh && user->storage->subscriptions != NULL)
		ret = user->storage->subscriptions(user->st, note_subscription, &f, err);
	if (ret >= 0)
		drop_refused(&f, fresh);
	if (ret >= 0 && (choose(&f) || f.subscribed.count > 0)) {
		txn = cv_txn_begin(user);
		txn->internal = true;
		ret = add_new(&f, txn, err);
		for (size_t i = 0; ret > 0 && i < f.subscribed.count; i++) {
			const struct cv_entry entry = { .kind = CV_ENTRY_SUBSCRIBE, .name = f.subscribed.data[i], .on = true };
			struct cv_err name_err = { 0 };

			if (i < user->set->mail_max_mailboxes && cv_mailbox_name_ok(user, f.subscribed.data[i], &name_err) >= 0)
				cv_txn_add_entry(txn, &entry);
		}
		if (ret > 0)
			ret = cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
		else
			cv_txn_rollback(&txn);
		/* Unconfirmed messages may be confirmed ones whose record is lost. */
		if (ret > 0)
			ret = made_new(&f, true, err);
		if (ret > 0)
			cv_info(&user->log_ctx, "%zu folders that were there are mailboxes now", f.new.count);
		if (ret > 0 && !user->external)
			ret = cv_state_write(user, err); /* that they are still to be looked through */
	}
	folders_deinit(&f);
	return ret < 0 ? cv_err_context(err, "taking over folders") : 1;
}

/* ---- while it is open: storage that others change ------------------------------------------------------------------ */

static bool has_children(const struct cv_user *user, struct cv_str name)
{
	size_t first, end;

	cv_tree_below(user, name, &first, &end);
	return end > first;
}

/* The new folder that this mailbox's folder became, by the GUID that moved with it; SIZE_MAX: none. */
static size_t moved_to(const struct folders *f, const struct cv_mailbox *mailbox)
{
	if (has_children(f->user, cv_mailbox_name(mailbox)))
		return SIZE_MAX;
	for (size_t i = 0; i < f->new.count; i++) {
		struct cv_err err = { 0 };

		if (memcmp(f->new.data[i].ref.guid, mailbox->guid.b, sizeof(mailbox->guid.b)) == 0 &&
			f->new.data[i].ref.uidvalidity == mailbox->uidvalidity && !has_children(f->user, f->new.data[i].ref.name) &&
			cv_mailbox_name_ok(f->user, f->new.data[i].ref.name, &err) >= 0)
			return i;
	}
	return SIZE_MAX;
}

/* Mailboxes whose folders are not there. Their names are the tree's. */
static void add_gone(struct folders *f, struct cv_txn *txn)
{
	struct cv_user *user = f->user;

	for (size_t i = 0; i < user->names.count; i++) {
		const struct cv_mailbox *mailbox = user->names.data[i]->mailbox;
		struct cv_entry entry = { .kind = CV_ENTRY_DELETE, .on = true };
		size_t to;

		if (mailbox == NULL || cv_str_eq_c(cv_name_str(user->names.data[i]), "INBOX") ||
			cv_map_get(f->by_name, cv_name_str(user->names.data[i])) != NULL)
			continue;
		entry.name = cv_arena_str(txn->arena, cv_name_str(user->names.data[i]));
		entry.mailbox = mailbox->guid;
		to = moved_to(f, mailbox);
		if (to != SIZE_MAX) {
			entry = (struct cv_entry){ .kind = CV_ENTRY_RENAME, .name = entry.name,
				.new_name = cv_arena_str(txn->arena, f->new.data[to].ref.name) };
			f->new.data[to] = f->new.data[--f->new.count];
		}
		cv_txn_add_entry(txn, &entry);
		cv_info(&mailbox->log_ctx, to != SIZE_MAX ? "its folder was renamed" : "its folder was removed");
	}
}

static int sync_folders(struct cv_user *user, bool *complete_r, struct cv_err *err)
{
	struct folders f;
	struct cv_txn *txn;
	int ret;

	folders_init(&f, user);
	ret = user->storage->mailbox_list(user->st, note_folder, &f, err);
	if (ret >= 0) {
		drop_refused(&f, false);
		*complete_r = !f.incomplete;
		txn = cv_txn_begin(user);
		txn->internal = true;
		add_gone(&f, txn);
		ret = choose(&f) ? add_new(&f, txn, err) : 1;
		if (ret > 0 && txn->ops.count > 0)
			ret = cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
		else
			cv_txn_rollback(&txn);
		if (ret > 0)
			ret = made_new(&f, false, err);
	}
	folders_deinit(&f);
	return ret;
}

void cv_user_sync_folders(struct cv_user *user)
{
	uint64_t stamp[4] = { 0 };
	struct cv_err err = { 0 };
	bool complete = true;
	int has_stamp = 0;

	if (!user->external || user->syncing_folders || user->work_running || user->broken || user->recovering || user->closing)
		return;
	if (user->storage->folders_stamp != NULL)
		has_stamp = user->storage->folders_stamp(user->st, stamp, &err);
	if (has_stamp > 0 && user->folders_known && memcmp(stamp, user->folders_stamp, sizeof(stamp)) == 0)
		return;
	user->syncing_folders = true;
	if (cv_user_unpublished(user))
		cv_user_flush(user);
	cv_work_run(user, true);
	if (!cv_work_has_folder(user, (struct cv_str){ 0 })) { /* what is there says nothing before that is done */
		if (user->storage->folders_stamp != NULL)
			has_stamp = user->storage->folders_stamp(user->st, stamp, &err);
		if (has_stamp < 0 || sync_folders(user, &complete, &err) < 0) {
			cv_error(&user->log_ctx, "folders can't be looked through: %s", err.text);
			user->folders_known = false;
		} else {
			user->folders_known = has_stamp > 0 && complete;
			memcpy(user->folders_stamp, stamp, sizeof(stamp));
		}
	}
	user->syncing_folders = false;
}
