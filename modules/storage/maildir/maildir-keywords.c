/* SPDX-License-Identifier: MIT
   maildir: dovecot-keywords, lines of a number (0 for the letter a) and a name. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/log.h>
#include <culver/reader.h>

#include <fcntl.h>
#include <string.h>

#define FILE_MAX ((size_t)64 << 10)
#define FORWARDED "$Forwarded"

void maildir_keywords_free(struct maildir_keywords *keywords)
{
	for (size_t i = 0; i < MAILDIR_LETTERS; i++)
		cv_free(keywords->names[i]);
	*keywords = (struct maildir_keywords){ 0 };
}

/* Can the name stand in the file? */
static bool name_ok(struct cv_str name)
{
	if (name.len == 0 || name.len > 255)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if ((uint8_t)name.ptr[i] <= ' ' || name.ptr[i] == 0x7f)
			return false;
	}
	return true;
}

/* The letter's number, -1 when it has none. */
static int letter_of(const struct maildir_keywords *keywords, const char *name)
{
	for (int i = 0; i < MAILDIR_LETTERS; i++) {
		if (keywords->names[i] != NULL && cv_str_caseeq_c(cv_str_c(name), keywords->names[i]))
			return i;
	}
	return -1;
}

static void parse(struct maildir_box *box, struct cv_str text)
{
	struct cv_reader reader = cv_reader_init(text);
	struct cv_str line, number, name;
	uint32_t i;

	while (cv_take_line(&reader, &line)) {
		char copy[256];

		if (!cv_str_split(line, ' ', &number, &name) || !cv_str_to_u32(number, MAILDIR_LETTERS - 1, &i) || !name_ok(name) ||
			box->keywords.names[i] != NULL)
			continue; /* Dovecot numbers more than there are letters */
		(void)snprintf(copy, sizeof(copy), "%.*s", CV_STR_ARG(name));
		if (letter_of(&box->keywords, copy) < 0)
			box->keywords.names[i] = cv_strdup(copy);
	}
}

static bool same_file(const struct maildir_keywords *keywords, const struct stat *st)
{
	struct maildir_stamp stamp = maildir_stamp_of(st);

	return keywords->known && keywords->inode == (uint64_t)st->st_ino && keywords->size == (uint64_t)st->st_size && keywords->mtime_ns == stamp.mtime_ns;
}

static void set_file(struct maildir_keywords *keywords, const struct stat *st)
{
	keywords->known = true;
	keywords->inode = (uint64_t)st->st_ino;
	keywords->size = (uint64_t)st->st_size;
	keywords->mtime_ns = maildir_stamp_of(st).mtime_ns;
}

/* What has the name and can't be read (a link, a pipe, a directory, a file without rights) gets another one: it is as if it had been removed. why becomes why not. */
static int keep_odd(struct maildir_box *box, int dir, struct cv_err *why)
{
	struct cv_err err = { 0 };

	if (cv_file_aside(dir, MAILDIR_KEYWORDS, &err) < 0) {
		*why = err;
		return -1;
	}
	cv_warn(NULL, MAILDIR_KEYWORDS " can't be used; it is kept under another name: %s", why->text);
	maildir_keywords_free(&box->keywords);
	*why = (struct cv_err){ 0 };
	return 1;
}

static int read_file(struct maildir_box *box, int dir, struct cv_err *err)
{
	struct cv_buf text;
	struct stat st;
	size_t got = 0;
	void *p;
	int fd, ret;

	ret = cv_file_open(dir, MAILDIR_KEYWORDS, O_RDONLY, 0, &fd, err);
	if (ret < 0)
		return err->code == CV_ERR_NOTFOUND ? 1 : err->code == CV_ERR_PERM ? keep_odd(box, dir, err) : -1;
	cv_buf_init(&text, FILE_MAX);
	p = cv_buf_reserve(&text, FILE_MAX);
	cv_assert(p != NULL);
	ret = cv_file_fstat(fd, &st, err);
	if (ret > 0)
		ret = cv_file_pread(fd, p, FILE_MAX, 0, &got, err);
	if (ret > 0) {
		cv_buf_commit(&text, got);
		maildir_keywords_free(&box->keywords);
		set_file(&box->keywords, &st);
		parse(box, cv_buf_str(&text));
	}
	cv_buf_deinit(&text);
	cv_file_close(&fd);
	return ret;
}

int maildir_keywords_load(struct maildir_box *box, struct cv_err *err)
{
	struct stat st;
	int dir, ret = maildir_control(box, false, &dir, err);

	if (ret > 0)
		ret = cv_file_stat(dir, MAILDIR_KEYWORDS, &st, err);
	if (ret > 0 && !S_ISREG(st.st_mode)) {
		struct cv_err why = { 0 };

		(void)cv_err_set(&why, CV_ERR_CORRUPT, "it is no plain file");
		ret = keep_odd(box, dir, &why);
		if (ret < 0)
			*err = why;
		return ret;
	}
	if (ret > 0)
		return same_file(&box->keywords, &st) ? 1 : read_file(box, dir, err);
	if (ret == 0 && box->keywords.known)
		maildir_keywords_free(&box->keywords); /* it was removed */
	return ret < 0 ? -1 : 1;
}

/* The whole file anew, durable before a file name uses its letters. */
static int write_file(struct maildir_box *box, struct cv_err *err)
{
	const char *temp = MAILDIR_KEYWORDS ".culver";
	const struct cv_storage_args *args = box->st->args;
	struct cv_buf text;
	struct stat st;
	int dir, fd, ret;

	if (maildir_control(box, true, &dir, err) < 0)
		return -1;
	if (cv_file_unlink(dir, temp, err) < 0 || cv_file_open(dir, temp, O_WRONLY | O_CREAT | O_EXCL, args->file_mode, &fd, err) < 0)
		return -1;
	cv_buf_init(&text, FILE_MAX);
	for (unsigned i = 0; i < MAILDIR_LETTERS; i++) {
		if (box->keywords.names[i] != NULL)
			cv_buf_printf(&text, "%u %s\n", i, box->keywords.names[i]);
	}
	ret = cv_file_write(fd, cv_buf_str(&text), err);
	if (ret > 0 && args->fsync != CV_FSYNC_NEVER)
		ret = cv_file_sync(fd, false, err);
	if (ret > 0)
		ret = cv_file_rename(dir, temp, dir, MAILDIR_KEYWORDS, true, err);
	if (ret > 0)
		ret = maildir_sync_dir(box->st, dir, err);
	if (ret > 0 && cv_file_fstat(fd, &st, err) > 0)
		set_file(&box->keywords, &st);
	box->keywords.settled = ret > 0;
	box->st->keywords_failed = box->st->keywords_failed || ret < 0;
	cv_file_close(&fd);
	cv_buf_deinit(&text);
	return ret;
}

/* Letters that were read may be used in file names once the file that has them outlives a power cut. A sync that succeeds after one that failed says nothing
   of what that one left: then the file is written again. */
static int settle(struct maildir_box *box, struct cv_err *err)
{
	int dir, ret;

	if (box->st->keywords_failed)
		ret = write_file(box, err);
	else if ((ret = maildir_control(box, true, &dir, err)) >= 0)
		ret = maildir_sync_dir(box->st, dir, err);
	box->keywords.settled = ret > 0;
	return ret > 0 ? 1 : cv_err_context(err, MAILDIR_KEYWORDS);
}

int maildir_keywords_letters(struct maildir_box *box, const char *const *keywords, struct maildir_info *info, struct cv_err *err)
{
	uint32_t added = 0;

	info->letters = 0;
	info->passed = false;
	if (keywords == NULL || *keywords == NULL)
		return 1;
	if (maildir_keywords_load(box, err) < 0)
		return -1;
	for (; *keywords != NULL; keywords++) {
		int letter = letter_of(&box->keywords, *keywords);

		info->passed = info->passed || cv_str_caseeq_c(cv_str_c(*keywords), FORWARDED);
		for (int i = 0; letter < 0 && i < MAILDIR_LETTERS && name_ok(cv_str_c(*keywords)); i++) {
			if (box->keywords.names[i] != NULL)
				continue;
			box->keywords.names[i] = cv_strdup(*keywords);
			added |= 1u << i;
			letter = i;
		}
		if (letter >= 0)
			info->letters |= 1u << letter;
	}
	if (added == 0)
		return info->letters == 0 || box->keywords.settled ? 1 : settle(box, err);
	if (write_file(box, err) > 0)
		return 1;
	for (unsigned i = 0; i < MAILDIR_LETTERS; i++) {
		if ((added & 1u << i) != 0) {
			cv_free(box->keywords.names[i]);
			box->keywords.names[i] = NULL;
		}
	}
	return cv_err_context(err, MAILDIR_KEYWORDS);
}

void maildir_keywords_names(const struct maildir_box *box, const struct maildir_info *info, const char *names[MAILDIR_LETTERS + 2])
{
	bool forwarded = false;
	size_t count = 0;

	for (unsigned i = 0; i < MAILDIR_LETTERS; i++) {
		if ((info->letters & 1u << i) == 0 || box->keywords.names[i] == NULL)
			continue;
		names[count++] = box->keywords.names[i];
		forwarded = forwarded || cv_str_caseeq_c(cv_str_c(box->keywords.names[i]), FORWARDED);
	}
	if (info->passed && !forwarded)
		names[count++] = FORWARDED;
	names[count] = NULL;
}

int maildir_keeps_keyword(void *st, const struct cv_mailbox_ref *mailbox, struct cv_str keyword, struct cv_err *err)
{
	struct maildir_box *box;
	char name[256];

	if (!name_ok(keyword))
		return 0;
	if (maildir_box(st, mailbox, &box, err) < 0 || maildir_keywords_load(box, err) < 0)
		return -1;
	(void)snprintf(name, sizeof(name), "%.*s", CV_STR_ARG(keyword));
	return letter_of(&box->keywords, name) >= 0 || cv_str_caseeq_c(keyword, FORWARDED);
}
