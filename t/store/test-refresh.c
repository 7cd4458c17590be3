/* SPDX-License-Identifier: MIT
   What other programs do to a Maildir, folders that were there before, and messages found after the index was lost. */
#include <config.h>

#include "core/store/store-private.h"
#include "t/store/store-helper.h"
#include <culver/buf.h>
#include <culver/file.h>
#include <culver/loop.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

CV_EXPORT extern const struct cv_module maildir_LTX_cv_module;

#define PATH_LEN 1024

/* ---- the other program -------------------------------------------------------------------------------------------- */

static const char *path_of(const struct store *s, const char *rest)
{
	static char path[PATH_LEN];

	(void)snprintf(path, sizeof(path), "%s/mail/%s", s->dir, rest);
	return path;
}

static void put(const struct store *s, const char *rest, const char *text)
{
	int fd = open(path_of(s, rest), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void move(const struct store *s, const char *from, const char *to)
{
	char old[PATH_LEN];

	(void)snprintf(old, sizeof(old), "%s", path_of(s, from));
	assert_int_equal(rename(old, path_of(s, to)), 0);
}

static void make_folder(const struct store *s, const char *name)
{
	static const char *const subs[] = { "", "/cur", "/new", "/tmp" };
	char rest[256];

	for (size_t i = 0; i < CV_COUNT_OF(subs); i++) {
		(void)snprintf(rest, sizeof(rest), "%s%s", name, subs[i]);
		assert_true(mkdir(path_of(s, rest), 0700) == 0 || errno == EEXIST);
	}
}

static void run_rm(const struct store *s, const char *rest)
{
	const char *path = path_of(s, rest);
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execlp("rm", "rm", "-rf", path, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The file in cur/ or new/ whose name begins with base: "cur/<name>". */
static bool find_file(const struct store *s, const char *folder, const char *base, char rest_r[512])
{
	static const char *const subs[] = { "cur", "new" };

	for (size_t i = 0; i < CV_COUNT_OF(subs); i++) {
		char dir[256];
		struct dirent *entry;
		DIR *d;

		(void)snprintf(dir, sizeof(dir), "%s%s", folder, subs[i]);
		d = opendir(path_of(s, dir));
		assert_non_null(d);
		while ((entry = readdir(d)) != NULL) {
			if (strncmp(entry->d_name, base, strlen(base)) == 0) {
				(void)snprintf(rest_r, 512, "%s/%s", dir, entry->d_name);
				closedir(d);
				return true;
			}
		}
		closedir(d);
	}
	return false;
}

static void open_maildir(struct store *s, void **state)
{
	store_init(s, state);
	s->module = &maildir_LTX_cv_module;
	s->driver = "maildir";
	assert_int_equal(mkdir(path_of(s, ""), 0700), 0);
}

/* ---- one by one ----------------------------------------------------------------------------------------------------- */

static void what_others_do_becomes_events(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_err err = { 0 };

	open_maildir(&s, state);
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &view, &err));
	put(&s, "new/1.a", "Subject: a\n\nx\n");
	put(&s, "cur/2.b:2,FS", "Subject: b\n\ny\n");
	assert_ok(cv_mailbox_refresh(inbox, &err));
	assert_string_equal(store_sync(&s, view, true, 0), "exists 2");
	assert_ok(cv_mailbox_refresh(inbox, &err));
	assert_string_equal(store_sync(&s, view, true, 0), "");
	move(&s, "cur/2.b:2,FS", "cur/2.b:2,T");
	assert_ok(cv_mailbox_refresh(inbox, &err));
	assert_string_equal(store_sync(&s, view, true, 0), "flags 2 uid 2");
	store_octets(&s, "INBOX", 2, "Subject: b\n\ny\n");
	assert_int_equal(unlink(path_of(&s, "cur/2.b:2,T")), 0);
	assert_ok(cv_mailbox_refresh(inbox, &err));
	assert_string_equal(store_sync(&s, view, true, 0), "expunge 2 uid 2");
	/* The same file again is another message: clients know UID 2 as gone. */
	put(&s, "cur/2.b:2,", "Subject: b\n\ny\n");
	assert_ok(cv_mailbox_refresh(inbox, &err));
	assert_string_equal(store_sync(&s, view, true, 0), "exists 2");
	assert_int_equal(cv_view_uid(view, 2), 3);
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void a_change_of_ours_and_one_of_others_are_merged(void **state)
{
	struct store s;
	char rest[512];

	open_maildir(&s, state);
	store_open(&s);
	put(&s, "cur/1.a:2,F", "Subject: a\n\nx\n");
	store_expect(&s, "INBOX", "1 F");
	/* The file changes behind our back, then we add a flag without having looked. */
	move(&s, "cur/1.a:2,F", "cur/1.a:2,R");
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_SEEN, "label");
	store_expect(&s, "INBOX", "1 SA label");
	assert_true(find_file(&s, "", "1.a", rest));
	assert_string_equal(rest, "cur/1.a:2,RSa");
	store_deinit(&s);
}

static void an_expunged_message_does_not_come_back(void **state)
{
	struct store s;
	char rest[512];

	open_maildir(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", "Subject: a\r\n\r\nx\r\n", 0);
	store_save(&s, "INBOX", "Subject: b\r\n\r\nx\r\n", CV_FLAG_SEEN);
	store_expunge(&s, "INBOX", 1, 1);
	store_expect(&s, "INBOX", "2 S");
	put(&s, "new/9.c", "Subject: c\n\nx\n");
	store_expect(&s, "INBOX", "2 S|3 -");
	store_close(&s);
	store_open(&s);
	store_expect(&s, "INBOX", "2 S|3 -");
	assert_true(find_file(&s, "", "9.c", rest));
	store_deinit(&s);
}

static int no_room(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *failed = ctx;

	(void)name;
	if (op != CV_FILE_WRITE)
		return 0;
	*len = 0;
	(*failed)++;
	return ENOSPC;
}

/* What is new can't be recorded: the mailbox opens all the same, with what is known. */
static void a_full_disk_keeps_no_mailbox_closed(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	unsigned failed = 0, before;

	open_maildir(&s, state);
	store_open(&s);
	put(&s, "cur/1.a:2,F", "Subject: a\n\nx\n");
	store_expect(&s, "INBOX", "1 F");
	put(&s, "new/2.b", "Subject: b\n\nx\n");
	cv_file_set_fault(no_room, &failed);
	store_expect(&s, "INBOX", "1 F");
	assert_true(failed > 0);
	store_octets(&s, "INBOX", 1, "Subject: a\n\nx\n");
	before = failed;
	store_expect(&s, "INBOX", "1 F"); /* not at each command */
	assert_int_equal(failed, before);
	cv_file_set_fault(NULL, NULL);
	inbox = store_get(&s, "INBOX");
	assert_true(inbox->no_room_until_ms > 0);
	inbox->no_room_until_ms = 1; /* a second later */
	assert_ok(cv_mailbox_refresh(inbox, &err));
	assert_true(inbox->no_room_until_ms == 0);
	cv_mailbox_unref(&inbox);
	store_expect(&s, "INBOX", "1 F|2 -");
	store_close(&s);
	store_open(&s);
	store_expect(&s, "INBOX", "1 F|2 -");
	store_deinit(&s);
}

static int no_room_at_all(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *failed = ctx;

	if (op == CV_FILE_RENAME) {
		(*failed)++;
		return ENOSPC;
	}
	return no_room(ctx, op, name, len);
}

static int no_renaming(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *failed = ctx;

	(void)name;
	(void)len;
	if (op != CV_FILE_RENAME)
		return 0;
	(*failed)++;
	return ENOSPC;
}

/* Flags that were confirmed and are in no file name yet outlive what is refused meanwhile. */
static void flags_that_wait_for_room_are_kept(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_err err = { 0 };
	unsigned failed = 0;
	char rest[512];

	open_maildir(&s, state);
	store_open(&s);
	put(&s, "cur/1.a:2,F", "Subject: a\n\nx\n");
	put(&s, "cur/2.b:2,F", "Subject: b\n\nx\n");
	store_expect(&s, "INBOX", "1 F|2 F");
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &view, &err));
	cv_file_set_fault(no_renaming, &failed);
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_DELETED, NULL);
	assert_true(failed > 0);
	cv_file_set_fault(no_room_at_all, &failed);
	put(&s, "new/3.c", "Subject: c\n\nx\n");
	for (unsigned i = 0; i < 5; i++) {
		inbox->no_room_until_ms = i % 2; /* a second later */
		assert_ok(cv_mailbox_refresh(inbox, &err));
		assert_false(s.user->broken);
		(void)store_sync(&s, view, true, 0);
		assert_int_equal(cv_view_count(view), 2);
		store_expect(&s, "INBOX", "1 FD|2 F");
	}
	cv_file_set_fault(NULL, NULL);
	inbox->no_room_until_ms = 1;
	store_expect(&s, "INBOX", "1 FD|2 F|3 -");
	assert_true(find_file(&s, "", "1.a", rest));
	assert_string_equal(rest, "cur/1.a:2,FT");
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

/* So long ago that the directories need not be read again unless they change. */
static void let_rest(const struct store *s)
{
	const struct timespec times[2] = { { 1000000000, 0 }, { 1000000000, 0 } };

	assert_int_equal(utimensat(AT_FDCWD, path_of(s, "new"), times, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, path_of(s, "cur"), times, 0), 0);
}

/* Memory has a removal before it is durable: flags go to the file's name all the same, or they would be lost with the removal's refusal. */
static void flags_reach_a_message_whose_removal_is_refused(void **state)
{
	struct store s;
	struct cv_ranges one = { 0 };
	struct cv_mailbox *inbox;
	struct cv_txn *txn;
	struct cv_err err = { 0 };
	unsigned failed = 0;
	char rest[512];

	open_maildir(&s, state);
	s.loop = cv_loop_new(CV_LOOP_FAKE);
	store_open(&s);
	put(&s, "cur/1.a:2,F", "Subject: a\n\nx\n");
	let_rest(&s);
	store_expect(&s, "INBOX", "1 F");
	inbox = store_get(&s, "INBOX");
	cv_file_set_fault(no_renaming, &failed);
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_DELETED, NULL);
	assert_true(failed > 0);
	cv_file_set_fault(no_room, &failed);
	cv_loop_fake_advance(s.loop, 60000); /* it is tried again now, before the removal goes to disk */
	cv_ranges_add(&one, 1, 1);
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_expunge(txn, inbox, &one, &err));
	assert_int_equal(cv_txn_commit(&txn, NULL, NULL, &err), 0);
	store_turn(&s, 0);
	cv_file_set_fault(NULL, NULL);
	store_turn(&s, 60000);
	assert_true(find_file(&s, "", "1.a", rest));
	assert_string_equal(rest, "cur/1.a:2,FT");
	store_expect(&s, "INBOX", "1 FD");
	cv_ranges_free(&one);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

/* Whoever is told of a change may make the next one, which is in memory and in no file's name when the mailbox is looked through. */
static void change_more(void *ctx, int result, const struct cv_err *why)
{
	const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_DELETED };
	struct cv_mailbox *mailbox = ctx;
	struct cv_txn *txn = cv_txn_begin(mailbox->user);
	struct cv_ranges one = { 0 }, two = { 0 };
	struct cv_err err = { 0 };

	(void)why;
	assert_int_equal(result, 0);
	cv_ranges_add(&one, 1, 1);
	cv_ranges_add(&two, 2, 2);
	assert_ok(cv_txn_flags(txn, mailbox, &one, &change, NULL, NULL, &err));
	assert_ok(cv_txn_expunge(txn, mailbox, &two, &err));
	assert_int_equal(cv_txn_commit(&txn, NULL, NULL, &err), 0);
	cv_ranges_free(&one);
	cv_ranges_free(&two);
}

static void changes_on_their_way_are_not_taken_back(void **state)
{
	const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_SEEN };
	struct cv_mailbox_status status;
	struct cv_ranges three = { 0 };
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;
	char rest[512];

	open_maildir(&s, state);
	s.loop = cv_loop_new(CV_LOOP_FAKE);
	store_open(&s);
	put(&s, "cur/1.a:2,F", "Subject: a\n\nx\n");
	put(&s, "cur/2.b:2,F", "Subject: b\n\nx\n");
	put(&s, "cur/3.c:2,F", "Subject: c\n\nx\n");
	store_expect(&s, "INBOX", "1 F|2 F|3 F");
	inbox = store_get(&s, "INBOX");
	cv_ranges_add(&three, 3, 3);
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_flags(txn, inbox, &three, &change, NULL, NULL, &err));
	assert_int_equal(cv_txn_commit(&txn, change_more, inbox, &err), 0);
	put(&s, "new/4.d", "Subject: d\n\nx\n");
	assert_ok(cv_mailbox_refresh(inbox, &err));
	store_turn(&s, 1000);
	store_expect(&s, "INBOX", "1 FD|3 SF|4 -");
	assert_true(find_file(&s, "", "1.a", rest));
	assert_string_equal(rest, "cur/1.a:2,FT");
	assert_false(find_file(&s, "", "2.b", rest));
	assert_ok(cv_mailbox_get_status(inbox, &status, &err));
	assert_int_equal(status.uidnext, 5); /* what was removed was not found anew meanwhile */
	cv_ranges_free(&three);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

/* It is derived, and written anew. */
static void something_else_has_the_name_of_the_uidlist(void **state)
{
	struct store s;
	struct stat st;

	open_maildir(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", "Subject: a\r\n\r\nx\r\n", 0);
	store_save(&s, "INBOX", "Subject: b\r\n\r\nx\r\n", CV_FLAG_SEEN);
	for (unsigned i = 0; i < 3; i++) {
		store_close(&s);
		assert_int_equal(unlink(path_of(&s, "dovecot-uidlist")), 0);
		assert_int_equal(i == 0 ? symlink("nowhere", path_of(&s, "dovecot-uidlist")) : i == 1 ? mkfifo(path_of(&s, "dovecot-uidlist"), 0600) :
			mkdir(path_of(&s, "dovecot-uidlist"), 0700), 0);
		store_open(&s);
		store_save(&s, "INBOX", "Subject: c\r\n\r\nx\r\n", 0);
		store_expect(&s, "INBOX", i == 0 ? "1 -|2 S|3 -" : i == 1 ? "1 -|2 S|3 -|4 -" : "1 -|2 S|3 -|4 -|5 -");
		store_close(&s);
		assert_int_equal(lstat(path_of(&s, "dovecot-uidlist"), &st), 0);
		assert_true(S_ISREG(st.st_mode));
		store_open(&s);
	}
	store_deinit(&s);
}

static void folders_come_move_and_go(void **state)
{
	struct store s;
	struct cv_mailbox_info info;
	struct cv_mailbox *work;
	struct cv_view *view;
	struct cv_err err = { 0 };
	uint32_t uidvalidity;

	open_maildir(&s, state);
	store_open(&s);
	make_folder(&s, ".Work");
	put(&s, ".Work/cur/1.a:2,S", "Subject: a\n\nx\n");
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Work"), &info), 1);
	assert_true(info.exists);
	uidvalidity = info.uidvalidity;
	store_expect(&s, "Work", "1 S");
	work = store_get(&s, "Work");
	assert_ok(cv_view_open(work, 0, &view, &err));
	move(&s, ".Work", ".Done");
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Done"), &info), 1);
	assert_int_equal(info.uidvalidity, uidvalidity);
	assert_string_equal(store_sync(&s, view, true, 0), "");
	store_expect(&s, "Done", "1 S");
	run_rm(&s, ".Done");
	assert_ok(cv_mailbox_refresh(work, &err));
	assert_string_equal(store_sync(&s, view, true, 0), "gone");
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Done"), &info), 0);
	cv_view_close(&view);
	cv_mailbox_unref(&work);
	store_deinit(&s);
}

static void what_is_read_next_is_opened_ahead(void **state)
{
	struct store s;

	open_maildir(&s, state);
	store_open(&s);
	store_check_ahead(&s);
	store_deinit(&s);
}

static void a_maildir_of_dovecot_is_taken_over(void **state)
{
	struct store s;
	struct cv_mailbox_info info;

	open_maildir(&s, state);
	make_folder(&s, ".");
	make_folder(&s, ".Lists.culver");
	put(&s, "dovecot-uidlist", "3 V1234567890 N20 G0102030405060708090a0b0c0d0e0f10\n5 :1.a\n9 W16 S13 :2.b\n");
	put(&s, "dovecot-keywords", "0 $Junk\n1 later\n");
	put(&s, "subscriptions", "V\t2\n\nINBOX\nLists\tculver\nEntw&APw-rfe\n");
	put(&s, "cur/1.a:2,Sb", "Subject: a\n\nx\n");
	put(&s, "cur/2.b:2,", "Subject: b\n\n\n");
	put(&s, "new/3.c", "Subject: c\n\nx\n");
	store_open(&s);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("INBOX"), &info), 1);
	assert_int_equal(info.uidvalidity, 1234567890);
	assert_true(info.subscribed);
	store_expect(&s, "INBOX", "5 S later|9 -|20 -");
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Lists/culver"), &info), 1);
	assert_true(info.exists && info.subscribed);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Entw\xc3\xbcrfe"), &info), 1);
	assert_true(!info.exists && info.subscribed);
	store_deinit(&s);
}

static void a_lost_index_costs_no_message_and_no_uid(void **state)
{
	static const char *const drivers[] = { "sdbox", "maildir" };

	for (size_t i = 0; i < CV_COUNT_OF(drivers); i++) {
		struct store s;
		struct cv_mailbox_info before, after;

		store_init(&s, state);
		s.module = &maildir_LTX_cv_module;
		s.driver = drivers[i];
		store_open(&s);
		for (unsigned n = 0; n < 5; n++)
			store_save(&s, "INBOX", "Subject: a\r\n\r\nx\r\n", n == 3 ? CV_FLAG_SEEN : 0);
		store_expunge(&s, "INBOX", 2, 2);
		assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("INBOX"), &before), 1);
		store_close(&s);
		run_rm(&s, "culver-index");
		store_open(&s);
		store_expect(&s, "INBOX", i == 0 ? "1 -|3 -|4 -|5 -" : "1 -|3 -|4 S|5 -");
		assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("INBOX"), &after), 1);
		assert_int_equal(after.uidvalidity, before.uidvalidity);
		assert_memory_equal(after.guid, before.guid, sizeof(after.guid));
		assert_int_equal(store_save(&s, "INBOX", "Subject: n\r\n\r\nx\r\n", 0), 6);
		store_octets(&s, "INBOX", 4, "Subject: a\r\n\r\nx\r\n");
		run_rm(&s, "");
		store_deinit(&s);
	}
}

/* ---- at random ------------------------------------------------------------------------------------------------------ */

#define STEPS 400
#define MODEL_MAX 600

/* A message of the model: theirs has a base of its own, ours is known by its UID only. */
struct model_message {
	char base[32];
	char subject[32];
	uint16_t flags;
	uint16_t known; /* as of our last look: a change of ours that changes nothing of it is none */
	uint32_t uid;   /* 0: not seen by us yet */
	bool gone;
};

static uint64_t the_random;

static uint32_t below(uint32_t n)
{
	uint64_t z = the_random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (uint32_t)((z ^ (z >> 31)) % n);
}

static void put_letters(char *out, uint16_t flags)
{
	static const struct {
		char letter;
		uint16_t flag;
	} letters[] = { { 'D', CV_FLAG_DRAFT }, { 'F', CV_FLAG_FLAGGED }, { 'R', CV_FLAG_ANSWERED }, { 'S', CV_FLAG_SEEN },
		{ 'T', CV_FLAG_DELETED } };

	for (size_t i = 0; i < CV_COUNT_OF(letters); i++) {
		if ((flags & letters[i].flag) != 0)
			*out++ = letters[i].letter;
	}
	*out = '\0';
}

static struct model_message *any_live(struct model_message *model, size_t count, bool seen)
{
	for (unsigned i = 0; count > 0 && i < 50; i++) {
		struct model_message *m = &model[below((uint32_t)count)];

		if (!m->gone && (!seen || m->uid != 0))
			return m;
	}
	return NULL;
}

static struct model_message *by_subject(struct model_message *model, size_t count, struct cv_str octets)
{
	for (size_t i = 0; i < count; i++) {
		if (cv_str_find_str(octets, cv_str_c(model[i].subject)) != SIZE_MAX)
			return &model[i];
	}
	return NULL;
}

/* Each message of the view is one of the model's, with its flags; none is there twice, missing, or under another UID than before. */
static void compare(struct store *s, struct cv_view *view, struct model_message *model, size_t count)
{
	struct cv_err err = { 0 };
	uint32_t live = 0;

	for (size_t i = 0; i < count; i++)
		live += !model[i].gone;
	assert_int_equal(cv_view_count(view), live);
	for (uint32_t seq = 1; seq <= cv_view_count(view); seq++) {
		struct model_message *m;
		struct cv_mail *mail;
		struct cv_str octets;
		struct cv_row row;

		assert_true(cv_view_row(view, seq, &row));
		assert_ok(cv_mail_open(view, seq, &mail, &err));
		assert_ok(cv_mail_octets(mail, &octets, &err));
		m = by_subject(model, count, octets);
		assert_non_null(m);
		assert_false(m->gone);
		if (m->uid != 0)
			assert_int_equal(row.uid, m->uid);
		m->uid = row.uid;
		assert_int_equal(row.flags, m->flags);
		m->known = m->flags;
		cv_mail_close(&mail);
	}
	(void)s;
}

static void their_flags(const struct store *s, struct model_message *m)
{
	char rest[512], to[600], letters[8];
	uint16_t flags = (uint16_t)below(CV_FLAG_ALL + 1);

	if (!find_file(s, "", m->base, rest))
		return;
	put_letters(letters, flags);
	(void)snprintf(to, sizeof(to), "cur/%s:2,%s", m->base, letters);
	move(s, rest, to);
	m->flags = flags;
}

static void random_changes_of_both_sides_agree_with_a_model(void **state)
{
	static struct model_message model[MODEL_MAX];
	const char *seed = getenv("REFRESH_SEED");
	struct store s;
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_err err = { 0 };
	size_t count = 0;
	uint64_t start = seed != NULL ? strtoull(seed, NULL, 10) : 4711;

	the_random = start;
	memset(model, 0, sizeof(model));
	open_maildir(&s, state);
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &view, &err));
	for (unsigned step = 0; step < STEPS; step++) {
		struct model_message *m = any_live(model, count, true);
		char text[100], rest[512];

		switch (below(8)) {
		case 0: /* they deliver; subjects end in a letter, so that none is the beginning of another */
		case 1:
			m = &model[count];
			(void)snprintf(m->base, sizeof(m->base), "%zu.theirs", count);
			(void)snprintf(m->subject, sizeof(m->subject), "Subject: m%zux", count);
			(void)snprintf(text, sizeof(text), "%s\n\nbody\n", m->subject);
			(void)snprintf(rest, sizeof(rest), "new/%s", m->base);
			put(&s, rest, text);
			count++;
			break;
		case 2: /* we save */
			m = &model[count];
			(void)snprintf(m->subject, sizeof(m->subject), "Subject: m%zux", count);
			(void)snprintf(text, sizeof(text), "%s\r\n\r\nbody\r\n", m->subject);
			m->flags = (uint16_t)below(CV_FLAG_ALL + 1);
			m->known = m->flags;
			m->uid = store_save(&s, "INBOX", text, m->flags);
			count++;
			break;
		case 3: /* they flag */
			if (m != NULL && m->base[0] != '\0')
				their_flags(&s, m);
			break;
		case 4: /* we flag: one bit, whatever they did meanwhile */
			if (m != NULL) {
				uint16_t flag = (uint16_t)(1u << below(5));
				bool add = below(2) == 0;

				store_flags(&s, "INBOX", m->uid, m->uid, add ? CV_FLAGS_ADD : CV_FLAGS_REMOVE, flag, NULL);
				if (((m->known & flag) != 0) == add)
					break;
				m->flags = (uint16_t)(add ? m->flags | flag : m->flags & ~flag);
				/* Before it goes to the file we look at all of them. */
				for (size_t i = 0; i < count; i++)
					model[i].known = model[i].flags;
			}
			break;
		case 5: /* they remove */
			if (m != NULL && m->base[0] != '\0' && find_file(&s, "", m->base, rest)) {
				assert_int_equal(unlink(path_of(&s, rest)), 0);
				m->gone = true;
			}
			break;
		case 6: /* we expunge */
			if (m != NULL) {
				store_expunge(&s, "INBOX", m->uid, m->uid);
				m->gone = true;
			}
			break;
		default:
			if (below(8) == 0) {
				cv_view_close(&view);
				cv_mailbox_unref(&inbox);
				store_close(&s);
				store_open(&s);
				inbox = store_get(&s, "INBOX");
				assert_ok(cv_view_open(inbox, 0, &view, &err));
			}
			assert_ok(cv_mailbox_refresh(inbox, &err));
			(void)store_sync(&s, view, true, 0);
			compare(&s, view, model, count);
			break;
		}
	}
	assert_ok(cv_mailbox_refresh(inbox, &err));
	(void)store_sync(&s, view, true, 0);
	compare(&s, view, model, count);
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(what_others_do_becomes_events),
		cv_test(a_change_of_ours_and_one_of_others_are_merged),
		cv_test(an_expunged_message_does_not_come_back),
		cv_test(folders_come_move_and_go),
		cv_test(what_is_read_next_is_opened_ahead),
		cv_test(a_maildir_of_dovecot_is_taken_over),
		cv_test(a_lost_index_costs_no_message_and_no_uid),
		cv_test(random_changes_of_both_sides_agree_with_a_model),
		cv_test(a_full_disk_keeps_no_mailbox_closed),
		cv_test(flags_that_wait_for_room_are_kept),
		cv_test(flags_reach_a_message_whose_removal_is_refused),
		cv_test(changes_on_their_way_are_not_taken_back),
		cv_test(something_else_has_the_name_of_the_uidlist),
	};

	return store_tests_run(tests);
}
