/* SPDX-License-Identifier: MIT
   Messages whose files are missing or damaged while the journal has their octets, over sdbox: who reads one gets it, and its file is made anew. */
#include <config.h>

#include "t/store/store-disk.h"

#include <culver/fsck.h>
#include <culver/time.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAIL "Subject: x\r\n\r\nHello, this is a message\r\n"
#define OTHER "Subject: y\r\n\r\nHello, this is another\r\n"
#define SEGMENT "journal.0000000000000001"
#define COPY "copy.0000000000000001"

static void put(const char *path, const char *octets, size_t len, int flags)
{
	int fd = open(path, O_WRONLY | flags, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, octets, len), (ssize_t)len);
	(void)close(fd);
}

static size_t get(const char *path, char *octets, size_t max)
{
	int fd = open(path, O_RDONLY);
	ssize_t len;

	assert_true(fd >= 0);
	len = read(fd, octets, max);
	assert_true(len >= 0);
	(void)close(fd);
	return (size_t)len;
}

/* What becomes of a message's file. */
struct harm {
	const char *name;
	void (*fn)(struct store *s, const char *path);
	bool gone;    /* nothing is there that could be kept */
	bool one_end; /* other links to the file stay as they are */
};

static void flip(struct store *s, const char *path)
{
	char octets[4096];
	size_t len = get(path, octets, sizeof(octets));
	char *at = memmem(octets, len, "Hello", 5);

	(void)s;
	assert_non_null(at);
	*at ^= 1;
	put(path, octets, len, 0);
}

static void flip_head(struct store *s, const char *path)
{
	(void)s;
	put(path, "X", 1, 0);
}

static void cut(struct store *s, const char *path)
{
	(void)s;
	assert_int_equal(truncate(path, 80), 0);
}

static void make_empty(struct store *s, const char *path)
{
	(void)s;
	assert_int_equal(truncate(path, 0), 0);
}

static void make_garbage(struct store *s, const char *path)
{
	(void)s;
	put(path, "\0\1\2garbage", 10, O_TRUNC);
}

static void replace_by_older(struct store *s, const char *path)
{
	char octets[4096];
	size_t len = get(store_file(s, "INBOX", "u.1"), octets, sizeof(octets));

	assert_int_equal(unlink(path), 0);
	put(path, octets, len, O_CREAT);
}

static void remove_it(struct store *s, const char *path)
{
	(void)s;
	assert_int_equal(unlink(path), 0);
}

static void make_directory(struct store *s, const char *path)
{
	remove_it(s, path);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void make_pipe(struct store *s, const char *path)
{
	remove_it(s, path);
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void make_link(struct store *s, const char *path)
{
	remove_it(s, path);
	assert_int_equal(symlink("u.1", path), 0);
}

static const struct harm harms[] = {
	{ "flipped", flip, false, false },
	{ "flipped in its head", flip_head, false, false },
	{ "cut", cut, false, false },
	{ "emptied", make_empty, false, false },
	{ "garbage", make_garbage, false, false },
	{ "another message", replace_by_older, false, true },
	{ "removed", remove_it, true, true },
	{ "a directory", make_directory, false, true },
	{ "a pipe", make_pipe, false, true },
	{ "a link", make_link, false, true },
};

static int count_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	unsigned *count = ctx;

	(void)type;
	(void)err;
	*count += strstr(name, ".damaged-") != NULL;
	return 1;
}

/* Files of messages that were set aside. */
static unsigned kept(struct store *s, const char *mailbox)
{
	unsigned count = 0;
	struct cv_err err = { 0 };
	int fd = open(store_file(s, mailbox, "."), O_RDONLY | O_DIRECTORY);

	assert_true(fd >= 0);
	assert_ok(cv_file_list(fd, ".", count_one, &count, &err));
	(void)close(fd);
	return count;
}

static void begin(struct store *s, void **state)
{
	store_init(s, state);
	store_open(s);
	store_save(s, "INBOX", OTHER, 0);
	store_save(s, "INBOX", MAIL, CV_FLAG_FLAGGED);
	store_save(s, "INBOX", OTHER, 0);
	store_close(s); /* their files are made */
	store_open(s);
}

/* Whatever happened to it, whether it was read before or not, it is read as it was, and what was there is kept. */
static void it_comes_back_when_it_is_read(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(harms); i++) {
		for (unsigned read_before = 0; read_before < 2; read_before++) {
			struct store s;

			begin(&s, state);
			if (read_before > 0)
				store_octets(&s, "INBOX", 2, MAIL);
			harms[i].fn(&s, store_file(&s, "INBOX", "u.2"));
			store_octets(&s, "INBOX", 2, MAIL);
			assert_int_equal(kept(&s, "INBOX"), harms[i].gone ? 0 : 1);
			store_octets(&s, "INBOX", 2, MAIL);
			assert_int_equal(kept(&s, "INBOX"), harms[i].gone ? 0 : 1);
			store_close(&s);
			store_open(&s);
			/* It is a file that needs no journal. */
			disk_remove_file(&s, SEGMENT);
			disk_remove_file(&s, COPY);
			store_octets(&s, "INBOX", 2, MAIL);
			store_expect(&s, "INBOX", "1 -|2 F|3 -");
			store_deinit(&s);
		}
	}
}

/* The octets of the journal are those of its copy where it has been damaged itself. */
static void the_copy_of_the_journal_has_it_too(void **state)
{
	struct store s;
	struct disk disk;
	const struct disk_file *segment;
	char *octets;

	begin(&s, state);
	disk_read(&s, &disk);
	segment = disk_find(&disk, SEGMENT);
	octets = cv_arena_alloc(*state, segment->octets.len);
	memcpy(octets, segment->octets.ptr, segment->octets.len);
	((char *)memmem(octets, segment->octets.len, MAIL, strlen(MAIL)))[20] ^= 1;
	disk_put_file(&s, SEGMENT, cv_str_mem(octets, segment->octets.len));
	disk_free(&disk);
	make_garbage(&s, store_file(&s, "INBOX", "u.2"));
	store_octets(&s, "INBOX", 2, MAIL);
	assert_int_equal(kept(&s, "INBOX"), 1);
	store_deinit(&s);
}

/* A copy is the same file under another name: it is harmed too, and comes back as well. */
static void copies_come_back_too(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(harms); i++) {
		struct cv_err err = { 0 };
		struct store s;

		begin(&s, state);
		assert_ok(cv_mailbox_create(s.user, CV_STR("Old"), 0, &err));
		store_copy(&s, "INBOX", 2, 2, "Old", false);
		store_close(&s);
		store_open(&s);
		harms[i].fn(&s, store_file(&s, "INBOX", "u.2"));
		store_expunge(&s, "INBOX", 2, 2);
		store_octets(&s, "Old", 1, MAIL);
		assert_int_equal(kept(&s, "Old"), harms[i].one_end ? 0 : 1);
		store_deinit(&s);
	}
}

static int refuse_new(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *refused = ctx;

	(void)name;
	if (op != CV_FILE_WRITE)
		return 0;
	*len = 0;
	(*refused)++;
	return EDQUOT; /* of a user, as ENOSPC is of all */
}

/* Where the file can't be made, the message is read from the journal, and not every reader tries again. */
static void a_full_disk_keeps_it_from_nobody(void **state)
{
	unsigned refused = 0;
	struct store s;

	begin(&s, state);
	for (unsigned uid = 1; uid <= 3; uid++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "u.%u", uid);
		make_empty(&s, store_file(&s, "INBOX", name));
	}
	cv_file_set_fault(refuse_new, &refused);
	store_octets(&s, "INBOX", 1, OTHER);
	store_octets(&s, "INBOX", 2, MAIL);
	store_octets(&s, "INBOX", 3, OTHER);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(refused, 1);
	assert_int_equal(kept(&s, "INBOX"), 0);
	s.user->renew_retry_ms = 0; /* a second later */
	store_octets(&s, "INBOX", 2, MAIL);
	assert_int_equal(kept(&s, "INBOX"), 1);
	store_deinit(&s);
}

/* What is gone for good stays so, and is told as before. */
static void what_the_journal_has_not_is_refused(void **state)
{
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };
	struct cv_str octets;
	struct cv_view *view;
	struct cv_mail *mail;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_set_files_first(&s);
	store_save(&s, "INBOX", MAIL, 0);
	flip(&s, store_file(&s, "INBOX", "u.1"));
	mailbox = store_get(&s, "INBOX");
	assert_true(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err) >= 0);
	assert_ok(cv_mail_open(view, 1, &mail, &err));
	assert_int_equal(cv_mail_octets(mail, &octets, &err), -1);
	assert_int_equal(err.code, CV_ERR_CORRUPT);
	cv_mail_close(&mail);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	assert_int_equal(kept(&s, "INBOX"), 0);
	store_deinit(&s);
}

struct reads {
	unsigned long long count;
};

static int count_read(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct reads *reads = ctx;

	(void)name;
	(void)len;
	reads->count += op == CV_FILE_READ;
	return 0;
}

#define MANY 600u

/* The journal is looked through once for all of them, and messages that came since are found too. */
static void many_are_found_at_once(void **state)
{
	struct reads reads = { 0 };
	struct store s;

	begin(&s, state);
	for (uint32_t i = 3; i < MANY; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	store_open(&s);
	for (uint32_t uid = 1; uid <= MANY; uid++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "u.%u", uid);
		make_empty(&s, store_file(&s, "INBOX", name));
	}
	cv_file_set_fault(count_read, &reads);
	for (uint32_t uid = 1; uid <= MANY; uid++)
		store_octets(&s, "INBOX", uid, uid == 1 || uid == 3 ? OTHER : MAIL);
	cv_file_set_fault(NULL, NULL);
	assert_true(reads.count < 30ull * MANY);
	assert_int_equal(kept(&s, "INBOX"), MANY);
	store_save(&s, "INBOX", OTHER, 0);
	store_octets(&s, "INBOX", MANY + 1, OTHER);
	make_empty(&s, store_file(&s, "INBOX", "u.601"));
	store_octets(&s, "INBOX", MANY + 1, OTHER);
	assert_int_equal(kept(&s, "INBOX"), MANY + 1);
	store_deinit(&s);
}

struct ends {
	unsigned found, repaired, lost;
};

static void count_end(void *ctx, const struct cv_fsck_finding *finding)
{
	struct ends *ends = ctx;

	ends->found += finding->result == CV_FSCK_FOUND;
	ends->repaired += finding->result == CV_FSCK_REPAIRED;
	ends->lost += finding->result == CV_FSCK_LOST;
}

static int run_fsck(struct store *s, bool repair, bool slices, struct ends *ends)
{
	const struct cv_fsck_config config = { .repair = repair, .found = count_end, .ctx = ends };
	struct cv_err err = { 0 };
	struct cv_fsck *fsck;
	int ret;

	*ends = (struct ends){ 0 };
	assert_ok(cv_fsck_begin(s->user, &config, &fsck, &err));
	do
		ret = cv_fsck_step(fsck, slices ? cv_time_mono_ms() + 1 : UINT64_MAX, &err);
	while (ret == 0);
	cv_fsck_end(&fsck);
	return ret;
}

static void fsck_makes_it_anew(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(harms); i++) {
		struct ends ends;
		struct store s;

		begin(&s, state);
		harms[i].fn(&s, store_file(&s, "INBOX", "u.2"));
		assert_int_equal(run_fsck(&s, false, false, &ends), 1);
		assert_true(ends.found == 1 && ends.repaired == 0 && ends.lost == 0);
		assert_int_equal(run_fsck(&s, true, true, &ends), 1);
		assert_true(ends.found == 0 && ends.repaired == 1 && ends.lost == 0);
		assert_int_equal(run_fsck(&s, false, false, &ends), 1);
		assert_true(ends.found == 0 && ends.repaired == 0 && ends.lost == 0);
		assert_int_equal(kept(&s, "INBOX"), harms[i].gone ? 0 : 1);
		store_octets(&s, "INBOX", 2, MAIL);
		store_expect(&s, "INBOX", "1 -|2 F|3 -");
		store_deinit(&s);
	}
}

/* "Repaired" is said when it is on disk: with no room for new index files it is said that it could not be. */
static void fsck_says_what_was_not_repaired(void **state)
{
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };
	unsigned refused = 0;
	struct ends ends;
	struct store s;
	uint32_t row;

	begin(&s, state);
	mailbox = store_get(&s, "INBOX");
	assert_ok(cv_mailbox_load(mailbox, &err));
	assert_true(cv_columns_find(mailbox->columns, 2, UINT32_MAX, &row));
	cv_set_cache(mailbox->columns, row, 77); /* no parse record is there */
	cv_mailbox_unref(&mailbox);
	cv_file_set_fault(refuse_new, &refused);
	assert_int_equal(run_fsck(&s, true, false, &ends), -1);
	cv_file_set_fault(NULL, NULL);
	assert_true(ends.found == 1 && ends.repaired == 0 && ends.lost == 0);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(it_comes_back_when_it_is_read),
		cv_test(the_copy_of_the_journal_has_it_too),
		cv_test(copies_come_back_too),
		cv_test(a_full_disk_keeps_it_from_nobody),
		cv_test(what_the_journal_has_not_is_refused),
		cv_test(many_are_found_at_once),
		cv_test(fsck_makes_it_anew),
		cv_test(fsck_says_what_was_not_repaired),
	};

	return store_tests_run(tests);
}
