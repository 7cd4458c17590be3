/* SPDX-License-Identifier: MIT
   maildir: reading and removing messages, and their flags. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>

#include <fcntl.h>
#include <string.h>

int maildir_open_file(int dir, const char *path, int *fd_r, struct stat *stat_r, struct cv_err *err)
{
	int ret = cv_file_open(dir, path, O_RDONLY, 0, fd_r, err);

	if (ret > 0)
		ret = cv_file_fstat(*fd_r, stat_r, err);
	if (ret > 0 && !S_ISREG(stat_r->st_mode))
		ret = cv_err_set(err, CV_ERR_CORRUPT, "message file is no plain file");
	if (ret < 0)
		cv_file_close(fd_r);
	return ret;
}

struct opening {
	struct maildir_box *box;
	struct cv_storage_blob *blob;
	char *ref;
	size_t *ref_len;
};

static int open_found(void *ctx, int dir, const struct maildir_file *file, struct cv_err *err)
{
	struct opening *opening = ctx;
	struct cv_err move_err = { 0 };
	struct stat st;
	int fd;

	if (maildir_open_file(dir, file->path, &fd, &st, err) < 0)
		return -1;
	*opening->blob = (struct cv_storage_blob){ .fd = fd, .len = (uint64_t)st.st_size };
	*opening->ref_len = strlen(file->name);
	memcpy(opening->ref, file->name, *opening->ref_len);
	if (file->staged) {
		/* The journal names it, so it is confirmed: a crash has come before that was told. */
		if (maildir_move(dir, file->path, dir, file->name, &move_err) > 0)
			maildir_moved(opening->box, cv_str_c(file->name), file->where, false);
		else if (move_err.code != CV_ERR_NOTFOUND)
			cv_warn(NULL, "%s", move_err.text);
	}
	return 1;
}

/* A message that was finished in this process and is not in the journal yet. 0: it is none. */
static int open_pending(struct maildir *st, struct cv_str ref, struct cv_storage_blob *blob_r, struct cv_err *err)
{
	const struct maildir_pending *pending = cv_map_get(st->pending, cv_str_sub(ref, 0, maildir_base_len(ref)));
	struct maildir_box *box;
	struct cv_buf staged;
	struct stat info;
	int dir, fd, ret;

	if (pending == NULL)
		return 0;
	if (maildir_box_at(st, pending->path, &box, err) < 0)
		return -1;
	cv_buf_init(&staged, MAILDIR_NAME_MAX * 2);
	cv_buf_printf(&staged, "%s%s", MAILDIR_STAGED, pending->name);
	dir = pending->tmp != NULL ? box->tmp : box->dirs[strchr(pending->name, ':') != NULL ? MAILDIR_CUR : MAILDIR_NEW].fd;
	ret = maildir_open_file(dir, pending->tmp != NULL ? pending->tmp : staged.data, &fd, &info, err);
	cv_buf_deinit(&staged);
	if (ret > 0)
		*blob_r = (struct cv_storage_blob){ .fd = fd, .len = (uint64_t)info.st_size };
	return ret;
}

int maildir_open_ref(void *st_p, const struct cv_mailbox_ref *mailbox, struct cv_str ref, struct cv_storage_blob *blob_r, char *new_ref_r,
	size_t *new_ref_len_r, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct opening opening = { .blob = blob_r, .ref = new_ref_r, .ref_len = new_ref_len_r };
	int ret;

	*new_ref_len_r = 0;
	ret = open_pending(st, ref, blob_r, err);
	if (ret != 0)
		return ret;
	if (maildir_box(st, mailbox, &opening.box, err) < 0)
		return -1;
	if (maildir_find(opening.box, ref, open_found, &opening, err) < 0)
		return err->code == CV_ERR_NOTFOUND ? cv_err_set_public(err, CV_ERR_EXPUNGED, "Message no longer exists") : -1;
	if (cv_str_eq(cv_str_mem(new_ref_r, *new_ref_len_r), ref))
		*new_ref_len_r = 0;
	return 1;
}

static int ahead_found(void *ctx, int dir, const struct maildir_file *file, struct cv_err *err)
{
	return cv_file_ahead(dir, file->path, *(const uint64_t *)ctx, err);
}

void maildir_ahead(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, uint64_t max)
{
	struct cv_err ignored = { 0 };
	struct maildir_box *box;

	if (maildir_box(st, mailbox, &box, &ignored) > 0 && maildir_find(box, ref, ahead_found, &max, &ignored) < 0)
		return; /* whoever reads it is told */
}

/* ---- removing ------------------------------------------------------------------------------------------------------- */

static int remove_found(void *ctx, int dir, const struct maildir_file *file, struct cv_err *err)
{
	struct maildir_box *box = ctx;
	struct stat before;
	int ret;

	maildir_own_begin(box, file->where, &before);
	ret = cv_file_unlink(dir, file->path, err);
	maildir_own_end(box, file->where, &before);
	if (ret == 0)
		return cv_err_set(err, CV_ERR_NOTFOUND, "no such file");
	if (ret > 0)
		maildir_removed(box, cv_str_c(file->name));
	box->unsettled[file->where] = true;
	/* A process before may have moved it to cur/, and have ended before that was on disk. */
	box->unsettled[MAILDIR_NEW] = box->unsettled[MAILDIR_NEW] || !box->synced[MAILDIR_NEW];
	return ret;
}

static int remove_one(struct maildir *st, struct maildir_box *box, struct cv_str ref, struct cv_err *err)
{
	struct maildir_pending *pending = cv_map_get(st->pending, cv_str_sub(ref, 0, maildir_base_len(ref)));
	struct cv_err find_err = { 0 };
	int ret;

	if (pending != NULL && pending->tmp != NULL) {
		ret = cv_file_unlink(box->tmp, pending->tmp, err);
		maildir_pending_free(st, pending);
		return ret < 0 ? -1 : 1;
	}
	ret = maildir_find(box, ref, remove_found, box, &find_err);
	if (ret < 0 && find_err.code != CV_ERR_NOTFOUND && find_err.code != CV_ERR_INVALID) {
		*err = find_err;
		return -1;
	}
	if (ret < 0)
		maildir_done_before(box);
	if (pending != NULL)
		maildir_pending_free(st, pending);
	return 1;
}

int maildir_remove(void *st_p, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *box;

	if (maildir_box(st, mailbox, &box, err) < 0)
		return err->code == CV_ERR_NOTFOUND ? 1 : -1;
	/* A power cut may have left both names of a file that was on its way from new/ to cur/: looking at them leaves one. */
	if (!box->dirs[MAILDIR_NEW].listed && maildir_list(box, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (remove_one(st, box, refs[i], err) < 0)
			return -1;
	}
	return 1;
}

/* ---- flags ---------------------------------------------------------------------------------------------------------- */

struct renaming {
	struct maildir_box *box;
	struct maildir_info info;
	struct cv_buf *name;
};

static int rename_found(void *ctx, int dir, const struct maildir_file *file, struct cv_err *err)
{
	struct renaming *renaming = ctx;
	struct maildir_box *box = renaming->box;
	struct maildir_info old, info = renaming->info;
	struct cv_str old_name = cv_str_c(file->name);
	enum maildir_where to;
	struct stat before[2], there;
	int ret;

	maildir_info_parse(old_name, &old);
	for (unsigned i = 0; i < MAILDIR_LETTERS; i++) {
		if (box->keywords.names[i] == NULL)
			info.letters |= old.letters & 1u << i; /* of a keyword that we cannot name: not ours to take away */
	}
	(void)maildir_name_make(renaming->name, old_name, &info, file->where == MAILDIR_NEW);
	to = file->where == MAILDIR_CUR || cv_str_find(cv_buf_str(renaming->name), ':') != SIZE_MAX ? MAILDIR_CUR : MAILDIR_NEW;
	if (to == file->where && !file->staged && cv_str_eq(cv_buf_str(renaming->name), old_name)) {
		ret = cv_file_stat(dir, file->path, &there, err);
		if (ret > 0)
			maildir_done_before(box);
		return ret == 0 ? cv_err_set(err, CV_ERR_NOTFOUND, "no such file") : ret;
	}
	maildir_own_begin(box, MAILDIR_NEW, &before[MAILDIR_NEW]);
	maildir_own_begin(box, MAILDIR_CUR, &before[MAILDIR_CUR]);
	ret = maildir_move(dir, file->path, box->dirs[to].fd, renaming->name->data, err);
	maildir_own_end(box, MAILDIR_NEW, &before[MAILDIR_NEW]);
	maildir_own_end(box, MAILDIR_CUR, &before[MAILDIR_CUR]);
	if (ret > 0)
		maildir_moved(box, cv_buf_str(renaming->name), to, false);
	box->unsettled[file->where] = box->unsettled[to] = true;
	return ret;
}

/* The UID list gets what it does not have. */
static void note_uid(struct maildir_box *box, struct cv_str base, const struct cv_storage_meta *meta)
{
	const struct maildir_entry *entry = maildir_index_find(&box->index, base);
	struct maildir_line line;
	char *ext;

	if (meta->uid == 0 || !box->list.loaded || (entry != NULL && entry->line.uid == meta->uid))
		return;
	maildir_line_make(&line, &ext, meta);
	maildir_uidlist_add(box, base, &line);
	cv_free(ext);
}

int maildir_set_flags(void *st_p, const struct cv_mailbox_ref *mailbox, struct cv_str ref, const struct cv_storage_meta *meta, char *ref_r,
	size_t *ref_len_r, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct renaming renaming = { .info = { .flags = meta->flags } };
	struct maildir_box *box;
	struct cv_buf name;
	int ret;

	*ref_len_r = 0;
	if (maildir_box(st, mailbox, &box, err) < 0 || maildir_keywords_load(box, err) < 0 ||
		maildir_keywords_letters(box, meta->keywords, &renaming.info, err) < 0)
		return -1;
	cv_buf_init(&name, MAILDIR_NAME_MAX * 2);
	renaming.box = box;
	renaming.name = &name;
	ret = maildir_find(box, ref, rename_found, &renaming, err);
	if (ret > 0) {
		memcpy(ref_r, name.data, name.len);
		*ref_len_r = name.len;
		note_uid(box, cv_str_sub(cv_buf_str(&name), 0, maildir_base_len(cv_buf_str(&name))), meta);
		maildir_index_tidy(&box->index);
	} else if (err->code == CV_ERR_NOTFOUND) {
		(void)cv_err_set_public(err, CV_ERR_EXPUNGED, "Message no longer exists");
	}
	cv_buf_deinit(&name);
	return ret;
}

struct cv_str maildir_ref_key(struct cv_str ref)
{
	return cv_str_sub(ref, 0, maildir_base_len(ref));
}

int maildir_assigned(void *st_p, const struct cv_mailbox_ref *mailbox, const struct cv_storage_found *found, size_t count, struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *box;

	if (maildir_box(st, mailbox, &box, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct maildir_line line;
		char *ext;

		if (found[i].meta.uid == 0 || !maildir_file_ok(found[i].ref))
			continue;
		maildir_line_make(&line, &ext, &found[i].meta);
		maildir_uidlist_add(box, maildir_ref_key(found[i].ref), &line);
		cv_free(ext);
	}
	maildir_uidlist_flush(box);
	return 1;
}
