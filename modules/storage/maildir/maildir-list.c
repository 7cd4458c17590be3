/* SPDX-License-Identifier: MIT
   maildir: what lies in new/ and cur/, and finding a file that another program has renamed. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define ATTEMPTS 5
#define DEAD_MIN 1000

/* A name that was seen beside another one with the same base, or that cannot stay. */
struct odd_name {
	enum maildir_where where;
	bool staged, bad;
	char *name; /* owned, without MAILDIR_STAGED */
};

struct listing {
	struct maildir_box *box;
	enum maildir_where where;
	bool other_listed; /* the other directory is in step and not read again */
	CV_VEC(struct odd_name) odd;
};

static const char *place_name(char path[MAILDIR_NAME_MAX + 16], const char *name, bool staged)
{
	(void)snprintf(path, MAILDIR_NAME_MAX + 16, "%s%s", staged ? MAILDIR_STAGED : "", name);
	return path;
}

static void add_odd(struct listing *listing, const char *name, bool staged, bool bad)
{
	struct odd_name *odd = cv_vec_push(&listing->odd);

	*odd = (struct odd_name){ listing->where, staged, bad, cv_strdup(name) };
}

static void set_place(struct maildir_box *box, struct maildir_entry *entry, struct cv_str name, enum maildir_where where, bool staged)
{
	maildir_index_rename(&box->index, entry, name);
	entry->where = (uint8_t)where;
	entry->staged = staged;
	entry->seen = box->listing;
}

static int list_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct listing *listing = ctx;
	struct maildir_box *box = listing->box;
	struct maildir_entry *entry;
	struct cv_err ignored = { 0 };
	struct stat st;
	struct cv_str text;
	bool staged = strncmp(name, MAILDIR_STAGED, sizeof(MAILDIR_STAGED) - 1) == 0;

	(void)err;
	if (staged)
		name += sizeof(MAILDIR_STAGED) - 1;
	text = cv_str_c(name);
	if (text.len == 0 || name[0] == '.')
		return 1;
	if (type == DT_UNKNOWN && cv_file_stat(box->dirs[listing->where].fd, name, &st, &ignored) > 0 && S_ISREG(st.st_mode))
		type = DT_REG;
	if (type != DT_REG)
		return 1; /* directories, links and devices are no messages */
	if (!maildir_file_ok(text)) {
		if (!staged)
			add_odd(listing, name, false, true);
		return 1;
	}
	entry = maildir_index_find(&box->index, cv_str_sub(text, 0, maildir_base_len(text)));
	if (entry == NULL)
		entry = maildir_index_add(&box->index, text);
	else if (entry->where != MAILDIR_GONE && !(entry->where == listing->where && entry->staged == staged && cv_str_eq(maildir_entry_name(entry), text)) &&
		(entry->seen == box->listing || (entry->where != listing->where && listing->other_listed))) {
		add_odd(listing, name, staged, false);
		return 1;
	}
	set_place(box, entry, text, listing->where, staged);
	return 1;
}

/* A file whose name is taken or bad gets a new one: the mail stays visible. */
static int rename_odd(struct listing *listing, const struct odd_name *odd, struct cv_err *err)
{
	struct maildir_box *box = listing->box;
	char from[MAILDIR_NAME_MAX + 16];
	struct maildir_info info;
	struct cv_buf base, name;
	int ret;

	cv_buf_init(&base, MAILDIR_NAME_MAX);
	cv_buf_init(&name, MAILDIR_NAME_MAX * 2);
	maildir_unique(box->st, &base);
	maildir_info_parse(cv_str_c(odd->name), &info);
	(void)maildir_name_make(&name, cv_buf_str(&base), &info, odd->where == MAILDIR_NEW);
	ret = maildir_move(box->dirs[odd->where].fd, place_name(from, odd->name, odd->staged), box->dirs[odd->where].fd, name.data, err);
	if (ret > 0) {
		cv_warn(NULL, "message file %s in %s %s and is called %s from now on", cv_log_clean(cv_str_c(odd->name)), cv_log_clean(cv_str_c(box->path)),
			odd->bad ? "has a name that is not safe" : "has the same name as another", name.data);
		set_place(box, maildir_index_add(&box->index, cv_buf_str(&name)), cv_buf_str(&name), odd->where, false);
	} else if (err->code == CV_ERR_NOTFOUND) {
		ret = 1;
	} else {
		cv_warn(NULL, "message file %s in %s is passed over: %s", cv_log_clean(cv_str_c(odd->name)), cv_log_clean(cv_str_c(box->path)), err->text);
		ret = 1;
	}
	cv_buf_deinit(&base);
	cv_buf_deinit(&name);
	return ret;
}

/* Two names with one base: mostly it was renamed while the directory was read. */
static int settle_odd(struct listing *listing, const struct odd_name *odd, struct cv_err *err)
{
	struct maildir_box *box = listing->box;
	struct cv_str text = cv_str_c(odd->name);
	struct maildir_entry *entry;
	char a[MAILDIR_NAME_MAX + 16], b[MAILDIR_NAME_MAX + 16];
	struct stat st_a, st_b;
	int has_a, has_b;

	if (odd->bad)
		return rename_odd(listing, odd, err);
	entry = maildir_index_find(&box->index, cv_str_sub(text, 0, maildir_base_len(text)));
	if (entry == NULL || entry->where == MAILDIR_GONE)
		return 1;
	has_a = cv_file_stat(box->dirs[entry->where].fd, place_name(a, entry->name, entry->staged), &st_a, err);
	has_b = cv_file_stat(box->dirs[odd->where].fd, place_name(b, odd->name, odd->staged), &st_b, err);
	if (has_a < 0 || has_b < 0)
		return -1;
	if (has_b == 0)
		return 1;
	if (has_a == 0) {
		set_place(box, entry, text, odd->where, odd->staged);
		return 1;
	}
	if (st_a.st_ino != st_b.st_ino || st_a.st_dev != st_b.st_dev)
		return odd->staged ? 1 : rename_odd(listing, odd, err);
	/* One file with two names: a move by link and unlink that was cut short. The one in cur/ stays. */
	if (entry->staged || (odd->where == MAILDIR_CUR && entry->where == MAILDIR_NEW)) {
		if (cv_file_unlink(box->dirs[entry->where].fd, a, err) < 0)
			return -1;
		set_place(box, entry, text, odd->where, odd->staged);
		return 1;
	}
	entry->seen = box->listing;
	return cv_file_unlink(box->dirs[odd->where].fd, b, err) < 0 ? -1 : 1;
}

static int stat_dirs(const struct maildir_box *box, struct stat st[2], struct cv_err *err)
{
	return cv_file_fstat(box->dirs[MAILDIR_NEW].fd, &st[MAILDIR_NEW], err) < 0 ||
			cv_file_fstat(box->dirs[MAILDIR_CUR].fd, &st[MAILDIR_CUR], err) < 0 ? -1 : 1;
}

static bool in_step(const struct maildir_dir *dir, const struct stat *st)
{
	struct maildir_stamp now = maildir_stamp_of(st);

	return dir->listed && dir->settled && maildir_stamp_eq(&dir->stamp, &now);
}

/* Read what changed. new/ comes first: a message on its way to cur/ is then seen at least once. */
static int list_dirs(struct maildir_box *box, const struct stat before[2], struct cv_err *err)
{
	struct listing listing = { .box = box };
	bool fresh[2];
	int ret = 1;

	box->listing++;
	for (unsigned i = 0; i < 2; i++)
		fresh[i] = in_step(&box->dirs[i], &before[i]);
	for (unsigned i = 0; ret > 0 && i < 2; i++) {
		struct maildir_dir *dir = &box->dirs[i];

		if (fresh[i])
			continue;
		dir->listed = false;
		dir->stamp = maildir_stamp_of(&before[i]);
		dir->settled = !maildir_stamp_recent(&dir->stamp);
		listing.where = (enum maildir_where)i;
		listing.other_listed = fresh[1 - i];
		ret = cv_file_list(dir->fd, ".", list_one, &listing, err);
		dir->listing = box->listing;
		dir->listed = ret > 0;
	}
	for (size_t i = 0; i < listing.odd.count; i++) {
		if (ret > 0)
			ret = settle_odd(&listing, &listing.odd.data[i], err);
		cv_free(listing.odd.data[i].name);
	}
	cv_vec_free(&listing.odd);
	return ret;
}

/* What the last listing of its directory did not see is gone. While others go on changing things a name may escape a reading: then a message counts as there when
   any of the readings since `first` saw it. */
static void drop_unseen(struct maildir_box *box, bool stable, uint32_t first)
{
	size_t gone = 0;

	for (size_t i = 0; i < box->index.entries.count; i++) {
		struct maildir_entry *entry = &box->index.entries.data[i];
		uint32_t oldest;

		if (entry->where != MAILDIR_GONE) {
			oldest = box->dirs[entry->where].listing;
			if (entry->seen < (stable ? oldest : CV_MIN(oldest, first)))
				entry->where = MAILDIR_GONE;
		}
		gone += entry->where == MAILDIR_GONE;
	}
	/* Start afresh next time rather than to carry the dead. */
	if (gone > DEAD_MIN && gone > box->index.entries.count / 2 && box->list.loaded)
		maildir_uidlist_renew(box);
}

int maildir_list(struct maildir_box *box, struct cv_err *err)
{
	uint32_t first = box->listing + 1;
	struct stat before[2], after[2];
	bool stable = false, read_any = false;

	for (unsigned attempt = 0; !stable && attempt < ATTEMPTS; attempt++) {
		if (stat_dirs(box, before, err) < 0)
			return -1;
		if (in_step(&box->dirs[MAILDIR_NEW], &before[MAILDIR_NEW]) && in_step(&box->dirs[MAILDIR_CUR], &before[MAILDIR_CUR])) {
			stable = true;
			break;
		}
		read_any = true;
		if (list_dirs(box, before, err) < 0 || stat_dirs(box, after, err) < 0)
			return -1;
		stable = true;
		for (unsigned i = 0; i < 2; i++) {
			struct maildir_stamp then = maildir_stamp_of(&before[i]), now = maildir_stamp_of(&after[i]);

			if (!maildir_stamp_eq(&then, &now))
				stable = box->dirs[i].settled = false;
		}
	}
	if (read_any)
		drop_unseen(box, stable, first);
	return 1;
}

/* ---- finding ------------------------------------------------------------------------------------------------------------ */

static void set_file(struct maildir_file *file, enum maildir_where where, struct cv_str name, bool staged)
{
	file->where = where;
	file->staged = staged;
	(void)snprintf(file->name, sizeof(file->name), "%.*s", CV_STR_ARG(name));
	(void)place_name(file->path, file->name, staged);
}

static int try_file(struct maildir_box *box, maildir_op_fn *op, void *ctx, const struct maildir_file *file, struct cv_err *err)
{
	int ret = op(ctx, box->dirs[file->where].fd, file, err);

	return ret < 0 && err->code == CV_ERR_NOTFOUND ? 0 : ret;
}

/* The names that cost no reading: as it is known, and as we staged it. */
static int try_known(struct maildir_box *box, struct cv_str ref, maildir_op_fn *op, void *ctx, struct cv_err *err)
{
	const enum maildir_where likely = cv_str_find(ref, ':') == SIZE_MAX ? MAILDIR_NEW : MAILDIR_CUR;
	const struct {
		enum maildir_where where;
		bool staged;
	} places[] = { { likely, false }, { likely, true }, { likely == MAILDIR_NEW ? MAILDIR_CUR : MAILDIR_NEW, false } };
	struct maildir_file file;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < CV_COUNT_OF(places); i++) {
		set_file(&file, places[i].where, ref, places[i].staged);
		ret = try_file(box, op, ctx, &file, err);
	}
	return ret;
}

static const struct maildir_entry *present(const struct maildir_box *box, struct cv_str ref)
{
	const struct maildir_entry *entry = maildir_index_find(&box->index, cv_str_sub(ref, 0, maildir_base_len(ref)));

	return entry != NULL && entry->where != MAILDIR_GONE ? entry : NULL;
}

static int try_index(struct maildir_box *box, struct cv_str ref, maildir_op_fn *op, void *ctx, struct cv_err *err)
{
	const struct maildir_entry *entry = present(box, ref);
	struct maildir_file file;

	if (entry == NULL)
		return 0;
	set_file(&file, (enum maildir_where)entry->where, maildir_entry_name(entry), entry->staged);
	return try_file(box, op, ctx, &file, err);
}

int maildir_find(struct maildir_box *box, struct cv_str ref, maildir_op_fn *op, void *ctx, struct cv_err *err)
{
	int ret;

	if (!maildir_file_ok(ref))
		return cv_err_set(err, CV_ERR_INVALID, "reference is no file name");
	ret = try_known(box, ref, op, ctx, err);
	if (ret == 0)
		ret = try_index(box, ref, op, ctx, err);
	/* It may be renamed again while it is looked for. */
	for (unsigned attempt = 0; ret == 0 && attempt < ATTEMPTS; attempt++) {
		if (maildir_list(box, err) < 0)
			return -1;
		if (present(box, ref) == NULL)
			break;
		ret = try_index(box, ref, op, ctx, err);
	}
	return ret != 0 ? ret : cv_err_set(err, CV_ERR_NOTFOUND, "message file %s is gone", cv_log_clean(ref));
}

void maildir_moved(struct maildir_box *box, struct cv_str name, enum maildir_where where, bool staged)
{
	struct maildir_entry *entry = maildir_index_find(&box->index, cv_str_sub(name, 0, maildir_base_len(name)));

	if (entry == NULL && !box->dirs[MAILDIR_NEW].listed)
		return; /* no index yet */
	if (entry == NULL)
		entry = maildir_index_add(&box->index, name);
	set_place(box, entry, name, where, staged);
}

void maildir_removed(struct maildir_box *box, struct cv_str name)
{
	struct maildir_entry *entry = maildir_index_find(&box->index, cv_str_sub(name, 0, maildir_base_len(name)));

	if (entry != NULL)
		entry->where = MAILDIR_GONE;
}
