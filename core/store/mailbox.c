/* SPDX-License-Identifier: MIT
   A mailbox: its life, its columns, its status. */
#include <config.h>

#include "core/store/store-private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static struct cv_str guid_str(const struct cv_guid *guid)
{
	return cv_str_mem(guid->b, sizeof(guid->b));
}

struct cv_mailbox *cv_mailbox_new(struct cv_user *user, const struct cv_guid *guid)
{
	struct cv_mailbox *mailbox = cv_new0(struct cv_mailbox);

	mailbox->user = user;
	mailbox->guid = *guid;
	mailbox->uidnext = mailbox->uid_reserved = 1;
	mailbox->published_uidnext = 1;
	mailbox->first_recent = 1;
	mailbox->annotations.total = &user->annotation_octets;
	mailbox->base.uidnext = mailbox->base.first_recent = 1;
	mailbox->log_ctx = (struct cv_log_ctx){ .parent = &user->log_ctx };
	cv_keywords_init(&mailbox->keywords);
	cv_list_init(&mailbox->views);
	cv_map_set(user->mailboxes, guid_str(guid), mailbox);
	return mailbox;
}

static void free_events(struct cv_event_log *log)
{
	for (size_t i = 0; i < log->events.count; i++) {
		cv_ranges_free(&log->events.data[i].uids);
		cv_free(log->events.data[i].names);
	}
	cv_vec_free(&log->events);
}

void cv_mailbox_free(struct cv_mailbox *mailbox)
{
	struct cv_user *user = mailbox->user;

	cv_assert(cv_list_empty(&mailbox->views));
	user->usage_known = false;
	if (cv_map_get(user->mailboxes, guid_str(&mailbox->guid)) == mailbox)
		cv_map_remove(user->mailboxes, guid_str(&mailbox->guid));
	cv_watch_stop(mailbox);
	cv_mailbox_unload(mailbox);
	cv_cache_close(mailbox);
	cv_keywords_deinit(&mailbox->keywords);
	cv_annotations_clear(&mailbox->annotations);
	free_events(&mailbox->log);
	cv_vec_free(&mailbox->behind);
	cv_vec_free(&mailbox->vanished);
	cv_free(mailbox->last_name);
	cv_free(mailbox);
}

struct cv_mailbox *cv_mailbox_by_guid(const struct cv_user *user, const struct cv_guid *guid)
{
	return cv_map_get(user->mailboxes, guid_str(guid));
}

void cv_mailbox_ref(struct cv_mailbox *mailbox)
{
	mailbox->refs++;
}

void cv_mailbox_detach(struct cv_mailbox *mailbox)
{
	struct cv_user *user = mailbox->user;
	struct cv_name *name = mailbox->name;

	cv_map_remove(user->mailboxes, guid_str(&mailbox->guid));
	user->usage_known = false;
	mailbox->gone = true;
	if (name != NULL) {
		mailbox->last_name = cv_strdup(name->text);
		mailbox->log_ctx.mailbox = cv_str_c(mailbox->last_name);
		mailbox->name = NULL;
		name->mailbox = NULL;
		cv_tree_prune(user, name);
	}
	/* Who waits for changes of it hears of this one. */
	cv_view_mark(mailbox);
	if (mailbox->refs == 0)
		cv_mailbox_free(mailbox);
}

int cv_mailbox_get(struct cv_user *user, struct cv_str text, struct cv_mailbox **mailbox_r, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("mailbox name", NULL, 0);
	struct cv_name *name;

	cv_user_sync_folders(user);
	name = cv_tree_find(user, cv_tree_canonical(arena, text));
	cv_arena_free(&arena);
	*mailbox_r = NULL;
	if (name == NULL || name->mailbox == NULL)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox doesn't exist");
	cv_mailbox_ref(name->mailbox);
	*mailbox_r = name->mailbox;
	return 1;
}

int cv_mailbox_get_guid(struct cv_user *user, const uint8_t *octets, struct cv_mailbox **mailbox_r, struct cv_err *err)
{
	struct cv_guid guid;

	memcpy(guid.b, octets, sizeof(guid.b));
	*mailbox_r = cv_mailbox_by_guid(user, &guid);
	if (*mailbox_r == NULL)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox doesn't exist");
	cv_mailbox_ref(*mailbox_r);
	return 1;
}

static int read_whole(int fd, struct cv_buf *out, struct cv_err *err)
{
	char chunk[8192];
	uint64_t offset = 0;
	size_t got;

	do {
		if (cv_file_pread(fd, chunk, sizeof(chunk), offset, &got, err) < 0)
			return -1;
		cv_buf_append_mem(out, chunk, got);
		offset += got;
		if (!cv_buf_ok(out))
			return cv_err_set(err, CV_ERR_LIMIT, "the file is too long");
	} while (got > 0);
	return 1;
}

int cv_mailbox_read_file(struct cv_mailbox *mailbox, const char *name, struct cv_buf *out, struct cv_err *err)
{
	struct cv_user *user = mailbox->user;
	struct cv_mailbox_ref ref;
	struct cv_err open_err = { 0 };
	struct stat st;
	int dir, fd, ret;

	if (user->storage->mailbox_dir == NULL || mailbox->gone)
		return 0;
	ref = cv_mailbox_storage_ref(mailbox);
	if (user->storage->mailbox_dir(user->st, &ref, &dir, &open_err) < 0 ||
		cv_file_open(dir, name, O_RDONLY, 0, &fd, &open_err) < 0) {
		if (open_err.code == CV_ERR_NOTFOUND)
			return 0;
		if (err != NULL)
			*err = open_err;
		return -1;
	}
	ret = cv_file_fstat(fd, &st, err);
	if (ret > 0)
		ret = S_ISREG(st.st_mode) ? read_whole(fd, out, err) : cv_err_set(err, CV_ERR_CORRUPT, "%s is no plain file", name);
	cv_file_close(&fd);
	return ret;
}

void cv_mailbox_unref(struct cv_mailbox **mailbox_p)
{
	struct cv_mailbox *mailbox = *mailbox_p;

	*mailbox_p = NULL;
	if (mailbox == NULL)
		return;
	cv_assert(mailbox->refs > 0);
	if (--mailbox->refs == 0 && mailbox->gone)
		cv_mailbox_free(mailbox);
}

struct cv_user *cv_mailbox_user(const struct cv_mailbox *mailbox)
{
	return mailbox->user;
}

struct cv_str cv_mailbox_name(const struct cv_mailbox *mailbox)
{
	return mailbox->name != NULL ? cv_name_str(mailbox->name) : cv_str_c(mailbox->last_name);
}

const uint8_t *cv_mailbox_guid(const struct cv_mailbox *mailbox)
{
	return mailbox->guid.b;
}

struct cv_str cv_mailbox_keyword(const struct cv_mailbox *mailbox, size_t i)
{
	return i < mailbox->keywords.names.count ? mailbox->keywords.names.data[i] : (struct cv_str){ 0 };
}

bool cv_mailbox_keywords_full(const struct cv_mailbox *mailbox)
{
	return mailbox->keywords.names.count >= mailbox->user->set->mail_max_keywords;
}

const struct cv_str *cv_row_keywords(const struct cv_mailbox *mailbox, uint32_t keyword_set, size_t *count_r)
{
	const struct cv_keyword_set *set =
		&mailbox->keywords.sets.data[keyword_set < mailbox->keywords.sets.count ? keyword_set : 0];

	*count_r = set->count;
	return set->names;
}

struct cv_mailbox_ref cv_mailbox_storage_ref(const struct cv_mailbox *mailbox)
{
	struct cv_mailbox_ref ref = { .name = cv_mailbox_name(mailbox), .uidvalidity = mailbox->uidvalidity };

	memcpy(ref.guid, mailbox->guid.b, sizeof(ref.guid));
	return ref;
}

int cv_mailbox_take_uid(struct cv_mailbox *mailbox, uint32_t *uid_r, struct cv_err *err)
{
	uint32_t uid = CV_MAX(mailbox->uid_reserved, mailbox->uidnext);

	if (uid >= UINT32_MAX - 1)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Mailbox has no more UIDs: move its messages to a new one");
	mailbox->uid_reserved = uid + 1;
	*uid_r = uid;
	return 1;
}

int cv_mailbox_load(struct cv_mailbox *mailbox, struct cv_err *err)
{
	if (mailbox->columns != NULL)
		return 1;
	cv_assert(!mailbox->gone);
	if (cv_user_usable(mailbox->user, err) < 0)
		return -1;
	if (mailbox->columns != NULL) /* a view wanted them */
		return 1;
	if (cv_mailbox_load_columns(mailbox, err) < 0) {
		cv_mailbox_unload(mailbox);
		return cv_err_context(err, "reading the mailbox");
	}
	mailbox->published_uidnext = mailbox->uidnext;
	mailbox->published_modseq = mailbox->highest_modseq;
	mailbox->published_keywords = mailbox->keywords.names.count;
	return 1;
}

void cv_mailbox_unload(struct cv_mailbox *mailbox)
{
	cv_columns_free(&mailbox->columns);
	mailbox->vanished.count = 0;
}

int cv_mailbox_first_unseen(struct cv_mailbox *mailbox, uint32_t *uid_r, struct cv_err *err)
{
	struct cv_counts *counts = &mailbox->counts;

	if (counts->first_unseen == CV_UNKNOWN_UID) {
		uint32_t row = 0;

		if (cv_mailbox_load(mailbox, err) < 0)
			return -1;
		while (row < mailbox->columns->count &&
			(*cv_col_flags(mailbox->columns, row) & (CV_FLAG_SEEN | CV_ROW_EXPUNGED)) != 0)
			row++;
		counts->first_unseen = row < mailbox->columns->count ? *cv_col_uid(mailbox->columns, row) : 0;
	}
	*uid_r = counts->first_unseen;
	return 1;
}

int cv_mailbox_get_status(struct cv_mailbox *mailbox, struct cv_mailbox_status *status_r, struct cv_err *err)
{
	const struct cv_counts *counts = &mailbox->counts;

	*status_r = (struct cv_mailbox_status){ 0 };
	if (cv_user_unpublished(mailbox->user))
		cv_user_flush(mailbox->user);
	if (mailbox->gone)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	if (cv_user_usable(mailbox->user, err) < 0 || cv_mailbox_refresh(mailbox, err) < 0)
		return -1;
	if (mailbox->gone)
		return cv_err_set_public(err, CV_ERR_NOTFOUND, "Mailbox was deleted");
	if (cv_mailbox_first_unseen(mailbox, &status_r->first_unseen_uid, err) < 0)
		return -1;
	status_r->messages = counts->messages;
	status_r->recent = counts->recent;
	status_r->unseen = counts->unseen;
	status_r->deleted = counts->deleted;
	status_r->size = counts->size;
	status_r->uidnext = mailbox->uidnext;
	status_r->uidvalidity = mailbox->uidvalidity;
	status_r->highest_modseq = mailbox->highest_modseq;
	return 1;
}
