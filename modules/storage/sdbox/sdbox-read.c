/* SPDX-License-Identifier: MIT
   sdbox: reading, removing and finding messages. */
#include <config.h>

#include "modules/storage/sdbox/sdbox-private.h"
#include <culver/log.h>

#include <fcntl.h>
#include <string.h>

bool sdbox_ref_uid(struct cv_str ref, uint32_t *uid_r)
{
	return cv_str_to_u32(ref, UINT32_MAX, uid_r) && *uid_r > 0;
}

/* Octets that lie before a message nearly always; there are more behind it. */
#define HEAD_USUAL 64

/* "u.<uid>", or ".culver.<uid>" of a message whose confirmation was cut short. */
static int open_message(int dir, uint32_t uid, int *fd_r, struct cv_err *err)
{
	char name[SDBOX_NAME_MAX], unconfirmed[SDBOX_NAME_MAX];

	sdbox_uid_name(name, "u.", uid);
	if (cv_file_open(dir, name, O_RDONLY, 0, fd_r, err) > 0)
		return 1;
	if (err->code != CV_ERR_NOTFOUND)
		return -1;
	sdbox_uid_name(unconfirmed, ".culver.", uid);
	if (cv_file_open(dir, unconfirmed, O_RDONLY, 0, fd_r, err) < 0)
		return -1;
	if (cv_file_rename(dir, unconfirmed, dir, name, false, err) < 0)
		cv_warn(NULL, "%s", err->text);
	return 1;
}

static int read_head(int fd, struct sdbox_head *head_r, uint64_t *file_size_r, struct cv_err *err)
{
	char start[SDBOX_FILE_HEAD_MAX + 64];
	struct stat st;
	size_t got;

	if (cv_file_fstat(fd, &st, err) < 0)
		return -1;
	if (!S_ISREG(st.st_mode))
		return cv_err_set(err, CV_ERR_CORRUPT, "message file is no plain file");
	if (cv_file_pread(fd, start, sizeof(start), 0, &got, err) < 0)
		return -1;
	*file_size_r = (uint64_t)st.st_size;
	return sdbox_parse_head(cv_str_mem(start, got), *file_size_r, head_r, err);
}

/* A message of the size that is expected, with one read: true when all of it is there. */
static bool read_start(int fd, const struct cv_storage_blob *asked, struct sdbox_head *head_r)
{
	struct cv_err ignored = { 0 };
	size_t got, want;
	void *p;

	if (asked->start == NULL || asked->expected == 0 || asked->expected > asked->start->max - CV_MIN(asked->start->max, (size_t)HEAD_USUAL))
		return false;
	/* Not beyond the file's end: that would be looked for with another read. */
	want = (size_t)asked->expected + HEAD_USUAL;
	cv_buf_clear(asked->start); /* perhaps the second file that is tried */
	p = cv_buf_reserve(asked->start, want);
	cv_assert(p != NULL);
	if (cv_file_pread(fd, p, want, 0, &got, &ignored) > 0) {
		cv_buf_commit(asked->start, got);
		if (sdbox_parse_head(cv_buf_str(asked->start), got, head_r, &ignored) > 0)
			return true;
	}
	cv_buf_clear(asked->start);
	return false;
}

/* As sdbox_path, borrowed until the next call: messages of one mailbox are read one after the other. */
static int find_path(struct sdbox *st, struct cv_str name, const char **path_r, struct cv_err *err)
{
	char *path;

	if (st->read_path == NULL || !cv_str_eq(name, cv_buf_str(&st->read_name))) {
		if (sdbox_path(st, name, &path, err) < 0)
			return -1;
		cv_free(st->read_path);
		st->read_path = path;
		cv_buf_clear(&st->read_name);
		cv_buf_append(&st->read_name, name);
	}
	*path_r = st->read_path;
	return 1;
}

static int find_dir(struct sdbox *st, const struct cv_mailbox_ref *mailbox, bool now, int *dir_r, struct cv_err *err)
{
	const char *path;

	if (find_path(st, mailbox->name, &path, err) < 0)
		return -1;
	return now ? sdbox_dir_now(st, path, dir_r, err) : sdbox_dir(st, path, dir_r, err);
}

int sdbox_open_ref(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, struct cv_storage_blob *blob_r, char *new_ref_r,
	size_t *new_ref_len_r, struct cv_err *err)
{
	const struct cv_storage_blob asked = *blob_r;
	struct sdbox_head head;
	uint64_t file_size;
	uint32_t uid;
	int dir, fd;

	(void)new_ref_r;
	*new_ref_len_r = 0;
	if (!sdbox_ref_uid(ref, &uid))
		return cv_err_set(err, CV_ERR_INVALID, "reference is no UID");
	if (find_dir(st, mailbox, false, &dir, err) < 0)
		return -1;
	if (open_message(dir, uid, &fd, err) < 0)
		return err->code == CV_ERR_NOTFOUND ? cv_err_set_public(err, CV_ERR_EXPUNGED, "Message no longer exists") : -1;
	/* What is odd about it is told by the slower way. */
	if (!read_start(fd, &asked, &head) && read_head(fd, &head, &file_size, err) < 0) {
		cv_file_close(&fd);
		return -1;
	}
	*blob_r = (struct cv_storage_blob){ fd, head.body_offset, head.body_len, asked.expected, asked.start };
	return 1;
}

void sdbox_ahead(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str ref, uint64_t max)
{
	char name[SDBOX_NAME_MAX];
	struct cv_err ignored = { 0 };
	uint32_t uid;
	int dir;

	if (!sdbox_ref_uid(ref, &uid) || find_dir(st, mailbox, false, &dir, &ignored) < 0)
		return;
	sdbox_uid_name(name, "u.", uid);
	(void)cv_file_ahead(dir, name, max, &ignored);
}

/* 1, 0 there is none. A directory that has the name is no file of ours: it gets another one, so that nothing waits for its removal. */
static int remove_file(int dir, const char *name, struct cv_err *err)
{
	struct cv_err ignored = { 0 };
	int ret = cv_file_unlink(dir, name, err);

	return ret >= 0 || cv_file_make_way(dir, name, &ignored) != 0 ? ret : 1;
}

int sdbox_remove(void *st, const struct cv_mailbox_ref *mailbox, const struct cv_str *refs, size_t count, struct cv_err *err)
{
	char name[SDBOX_NAME_MAX];
	uint32_t uid;
	int dir, ret;

	if (find_dir(st, mailbox, false, &dir, err) < 0)
		return err->code == CV_ERR_NOTFOUND ? 1 : -1;
	if (sdbox_note_unsettled(st, dir, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (!sdbox_ref_uid(refs[i], &uid))
			continue;
		sdbox_uid_name(name, "u.", uid);
		ret = remove_file(dir, name, err);
		if (ret == 0) {
			sdbox_uid_name(name, ".culver.", uid);
			ret = remove_file(dir, name, err);
		}
		if (ret < 0)
			return -1;
	}
	return 1;
}

/* ---- scan ------------------------------------------------------------------------------------------------------- */

struct scan {
	int dir;
	int (*fn)(void *ctx, const struct cv_storage_found *found);
	void *ctx;
	struct cv_buf trailer;
	struct cv_dovecot_index *index; /* NULL: there is none, or it is of another mailbox */
	const char *keywords[CV_DOVECOT_KEYWORDS_MAX + 1];
};

static int read_trailer(struct scan *scan, int fd, struct cv_storage_found *found, struct cv_err *err)
{
	struct sdbox_head head;
	uint64_t file_size, left;
	size_t got, want;
	void *p;

	if (read_head(fd, &head, &file_size, err) < 0)
		return -1;
	found->meta.size = head.body_len;
	left = file_size - head.body_offset - head.body_len;
	want = left > SDBOX_TRAILER_MAX ? SDBOX_TRAILER_MAX : (size_t)left;
	cv_buf_clear(&scan->trailer);
	p = cv_buf_reserve(&scan->trailer, want);
	cv_assert(p != NULL);
	if (cv_file_pread(fd, p, want, head.body_offset + head.body_len, &got, err) < 0)
		return -1;
	cv_buf_commit(&scan->trailer, got);
	return sdbox_parse_trailer(cv_buf_str(&scan->trailer), found, err);
}

bool sdbox_file_guid(int dir, const char *name, uint8_t guid_r[16])
{
	struct cv_storage_found found = { 0 };
	struct cv_err ignored = { 0 };
	struct scan scan = { .dir = dir };
	int fd, ret;

	if (cv_file_open(dir, name, O_RDONLY, 0, &fd, &ignored) < 0)
		return false;
	cv_buf_init(&scan.trailer, SDBOX_TRAILER_MAX);
	ret = read_trailer(&scan, fd, &found, &ignored);
	cv_buf_deinit(&scan.trailer);
	cv_file_close(&fd);
	memcpy(guid_r, found.meta.guid, sizeof(found.meta.guid));
	return ret > 0 && found.guid_known;
}

/* False: Dovecot's users had this message expunged, only its file is still there. */
static bool add_from_index(struct scan *scan, struct cv_storage_found *found)
{
	if (scan->index == NULL)
		return true;
	if (cv_ranges_has(&scan->index->expunged, found->meta.uid))
		return false;
	found->flags_known = true;
	found->meta.flags = cv_dovecot_index_flags(scan->index, found->meta.uid);
	cv_dovecot_index_keywords(scan->index, found->meta.uid, scan->keywords);
	found->meta.keywords = scan->keywords;
	return true;
}

/* Is it a message's file? */
static bool take_name(struct cv_str name, struct cv_str *ref_r, uint32_t *uid_r, bool *unconfirmed_r)
{
	*unconfirmed_r = cv_str_starts(name, CV_STR(".culver."));
	if (!*unconfirmed_r && !cv_str_starts(name, CV_STR("u.")))
		return false;
	*ref_r = cv_str_sub(name, *unconfirmed_r ? 8 : 2, SIZE_MAX);
	return sdbox_ref_uid(*ref_r, uid_r);
}

/* It stays where it is for the administrator to look at; a message that is known stays one, and the others are not kept from anybody. */
static int pass_over(struct cv_str name, const struct cv_err *why)
{
	cv_error(NULL, "message file %s is passed over: %s", cv_log_clean(name), why->text);
	return 1;
}

static int scan_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct scan *scan = ctx;
	struct cv_storage_found found = { 0 };
	struct cv_err file_err = { 0 };
	struct cv_str text = cv_str_c(name);
	struct stat st;
	uint32_t uid;
	int fd, ret;

	(void)type;
	if (!take_name(text, &found.ref, &uid, &found.unconfirmed))
		return 1;
	found.meta.uid = uid;
	found.uid_known = true;
	if (cv_file_open(scan->dir, name, O_RDONLY, 0, &fd, &file_err) < 0) {
		if (file_err.code == CV_ERR_NOTFOUND)
			return 1; /* removed meanwhile */
		if (file_err.code == CV_ERR_PERM || file_err.code == CV_ERR_CORRUPT)
			return pass_over(text, &file_err);
		*err = file_err;
		return -1;
	}
	ret = read_trailer(scan, fd, &found, &file_err);
	if (!found.date_known && cv_file_fstat(fd, &st, err) > 0) {
		found.meta.internal_date = (int64_t)st.st_mtime;
		found.date_known = true;
	}
	cv_file_close(&fd);
	if (ret < 0)
		return pass_over(text, &file_err);
	return add_from_index(scan, &found) && scan->fn(scan->ctx, &found) < 0 ? -1 : 1;
}

/* Of this mailbox: UIDs of one with another UIDVALIDITY mean other messages. */
static int find_index(const struct sdbox *st, const struct cv_mailbox_ref *mailbox, struct scan *scan, struct cv_err *err)
{
	char *path;
	int ret;

	if (sdbox_path(st, mailbox->name, &path, err) < 0)
		return -1;
	ret = sdbox_index_read(st, path, &scan->index, err);
	cv_free(path);
	if (ret > 0 && scan->index->uidvalidity != mailbox->uidvalidity)
		cv_dovecot_index_free(&scan->index);
	return ret < 0 ? -1 : 0;
}

int sdbox_scan(void *st, const struct cv_mailbox_ref *mailbox, int (*fn)(void *ctx, const struct cv_storage_found *found), void *ctx,
	struct cv_err *err)
{
	struct scan scan = { .fn = fn, .ctx = ctx };
	int ret;

	if (find_dir(st, mailbox, true, &scan.dir, err) < 0 || find_index(st, mailbox, &scan, err) < 0)
		return -1;
	cv_buf_init(&scan.trailer, SDBOX_TRAILER_MAX);
	ret = cv_file_list(scan.dir, ".", scan_one, &scan, err);
	cv_buf_deinit(&scan.trailer);
	cv_dovecot_index_free(&scan.index);
	return ret;
}

struct naming {
	struct scan scan;
	int (*fn)(void *ctx, struct cv_str ref, bool unconfirmed);
	void *ctx;
};

static int name_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	const struct naming *naming = ctx;
	bool unconfirmed;
	struct cv_str ref;
	uint32_t uid;

	(void)type;
	(void)err;
	return !take_name(cv_str_c(name), &ref, &uid, &unconfirmed) ||
		(naming->scan.index != NULL && cv_ranges_has(&naming->scan.index->expunged, uid)) || naming->fn(naming->ctx, ref, unconfirmed) >= 0 ? 1 : -1;
}

int sdbox_names(void *st, const struct cv_mailbox_ref *mailbox, int (*fn)(void *ctx, struct cv_str ref, bool unconfirmed), void *ctx,
	struct cv_err *err)
{
	struct naming naming = { .fn = fn, .ctx = ctx };
	int ret;

	if (find_dir(st, mailbox, true, &naming.scan.dir, err) < 0 || find_index(st, mailbox, &naming.scan, err) < 0)
		return -1;
	ret = cv_file_list(naming.scan.dir, ".", name_one, &naming, err);
	cv_dovecot_index_free(&naming.scan.index);
	return ret;
}
