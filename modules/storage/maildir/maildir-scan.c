/* SPDX-License-Identifier: MIT
   maildir: what is there, and whether that may have changed. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>
#include <culver/time.h>

#include <stdio.h>
#include <string.h>

#define LINES_SPARE 500  /* lines of messages that are gone, beyond twice as many as there are others */
#define STATS_SPARE 100  /* messages that had to be examined for want of a field in the UID list */

int maildir_empty_new(struct maildir_box *box, struct cv_err *err)
{
	struct stat before[2];
	struct cv_buf name;

	cv_buf_init(&name, MAILDIR_NAME_MAX * 2);
	maildir_own_begin(box, MAILDIR_NEW, &before[MAILDIR_NEW]);
	maildir_own_begin(box, MAILDIR_CUR, &before[MAILDIR_CUR]);
	for (size_t i = 0; i < box->index.entries.count; i++) {
		struct maildir_entry *entry = &box->index.entries.data[i];
		struct maildir_info info;
		struct cv_err move_err = { 0 };

		if (entry->where != MAILDIR_NEW || entry->staged)
			continue;
		maildir_info_parse(maildir_entry_name(entry), &info);
		(void)maildir_name_make(&name, maildir_entry_name(entry), &info, false);
		if (maildir_move(box->dirs[MAILDIR_NEW].fd, entry->name, box->dirs[MAILDIR_CUR].fd, name.data, &move_err) > 0) {
			maildir_moved(box, cv_buf_str(&name), MAILDIR_CUR, false);
			box->unsettled[MAILDIR_NEW] = box->unsettled[MAILDIR_CUR] = true; /* a removal must not leave it behind in new/ */
		} else if (move_err.code != CV_ERR_NOTFOUND && move_err.code != CV_ERR_EXISTS) {
			/* Read-only or full: it is as good in new/. */
			cv_warn(NULL, "messages of %s stay in new/: %s", cv_log_clean(cv_str_c(box->path)), move_err.text);
			break;
		}
	}
	maildir_own_end(box, MAILDIR_NEW, &before[MAILDIR_NEW]);
	maildir_own_end(box, MAILDIR_CUR, &before[MAILDIR_CUR]);
	cv_buf_deinit(&name);
	(void)err;
	return 1;
}

/* Sizes and date, from the UID list, the name or the file. What only reading could tell stays 0. 0: the file is gone. */
static int measure(struct maildir_box *box, struct maildir_entry *entry, bool *asked, struct cv_err *err)
{
	struct maildir_line *line = &entry->line;
	char path[MAILDIR_NAME_MAX + 16];
	uint64_t size, virtual_size;
	struct stat st;
	int ret;

	if (line->have_sizes && line->have_date)
		return 1;
	*asked = true;
	(void)snprintf(path, sizeof(path), "%s%s", entry->staged ? MAILDIR_STAGED : "", entry->name);
	ret = cv_file_stat(box->dirs[entry->where].fd, path, &st, err);
	if (ret <= 0)
		return ret;
	if (!line->have_date) {
		line->date = (int64_t)st.st_mtime;
		line->have_date = true;
	}
	/* A name that lies about one size is not believed about the other. */
	if (!line->have_sizes && !box->st->set->maildir_broken_filename_sizes && maildir_name_size(maildir_entry_base(entry), 'S', &size) &&
		maildir_name_size(maildir_entry_base(entry), 'W', &virtual_size) && size == (uint64_t)st.st_size && virtual_size >= size) {
		line->size = size;
		line->virtual_size = virtual_size;
		line->have_sizes = true;
	}
	return 1;
}

static void fill(struct maildir_box *box, const struct maildir_entry *entry, struct cv_storage_found *found, const char *names[MAILDIR_LETTERS + 2])
{
	struct maildir_info info;

	maildir_info_parse(maildir_entry_name(entry), &info);
	maildir_keywords_names(box, &info, names);
	*found = (struct cv_storage_found){
		.ref = maildir_entry_name(entry),
		.uid_known = entry->line.uid > 0,
		.guid_known = true,
		.flags_known = true,
		.date_known = entry->line.have_date,
		.unconfirmed = entry->staged,
		.meta = {
			.uid = entry->line.uid,
			.internal_date = entry->line.date,
			.size = entry->line.have_sizes ? entry->line.size : 0,
			.virtual_size = entry->line.have_sizes ? entry->line.virtual_size : 0,
			.flags = info.flags,
			.keywords = names,
			.pop3_uidl = maildir_ext_uidl(entry->line.ext),
		},
	};
	if (!maildir_ext_guid(entry->line.ext, found->meta.guid))
		maildir_hash_guid(maildir_entry_base(entry), found->meta.guid); /* Dovecot takes the name itself */
}

/* Messages that are finished but not in the journal are the saver's. */
static bool is_own_pending(const struct maildir *st, const struct maildir_entry *entry)
{
	return entry->staged && cv_map_get(st->pending, maildir_entry_base(entry)) != NULL;
}

int maildir_scan(void *st_p, const struct cv_mailbox_ref *mailbox, int (*fn)(void *ctx, const struct cv_storage_found *found), void *ctx,
	struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *box;
	size_t live = 0, examined = 0;
	int ret = 1;

	if (maildir_box(st, mailbox, &box, err) < 0)
		return -1;
	maildir_uidlist_flush(box);
	if (maildir_uidlist_load(box, err) < 0 || maildir_keywords_load(box, err) < 0 || maildir_list(box, err) < 0)
		return -1;
	if ((st->set->maildir_empty_new || maildir_watched(st, box->path)) && maildir_empty_new(box, err) < 0)
		return -1;
	for (size_t i = 0; ret > 0 && i < box->index.entries.count; i++) {
		struct maildir_entry *entry = &box->index.entries.data[i];
		const char *names[MAILDIR_LETTERS + 2];
		struct cv_storage_found found;
		bool asked = false;

		if (entry->where == MAILDIR_GONE || is_own_pending(st, entry))
			continue;
		/* Renamed or removed since it was listed: the next scan, which that change brings about, says what it is. */
		if (measure(box, entry, &asked, err) < 0)
			return -1;
		live++;
		examined += asked && entry->line.uid > 0;
		fill(box, entry, &found, names);
		ret = fn(ctx, &found) < 0 ? -1 : 1;
	}
	if (box->list.lines > live * 2 + LINES_SPARE || examined > STATS_SPARE)
		maildir_uidlist_renew(box);
	return ret;
}

/* Time and place of a directory as core compares them. */
static int look(struct maildir_box *box, enum maildir_where where, uint64_t *time_r, uint64_t *inode_r, bool *recent, struct cv_err *err)
{
	struct maildir_dir *dir = &box->dirs[where];
	struct maildir_stamp now;
	struct stat st;

	if (cv_file_fstat(dir->fd, &st, err) < 0)
		return -1;
	now = maildir_stamp_of(&st);
	if (!box->st->set->maildir_very_dirty_syncs || !dir->looked || !maildir_stamp_eq(&dir->last, &now)) {
		dir->foreign_ns = now.mtime_ns;
		*recent = *recent || maildir_stamp_recent(&now);
	}
	dir->looked = true;
	dir->last = now;
	*time_r = (uint64_t)dir->foreign_ns;
	*inode_r = now.inode;
	return 1;
}

int maildir_stamp(void *st_p, const struct cv_mailbox_ref *mailbox, uint64_t stamp_r[4], struct cv_err *err)
{
	struct maildir *st = st_p;
	struct maildir_box *box;
	uint64_t inode[2];
	bool recent = false;

	if (maildir_box(st, mailbox, &box, err) < 0 || look(box, MAILDIR_NEW, &stamp_r[0], &inode[0], &recent, err) < 0 ||
		look(box, MAILDIR_CUR, &stamp_r[1], &inode[1], &recent, err) < 0)
		return -1;
	stamp_r[2] = inode[0] << 32 ^ inode[0] >> 32 ^ inode[1];
	/* Within the clock's tick a further change would leave no trace: then no two stamps are the same. */
	stamp_r[3] = recent ? (uint64_t)cv_time_now_us() << 10 | (++st->unique_count & 1023) : 0;
	return 1;
}
