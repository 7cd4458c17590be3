/* SPDX-License-Identifier: MIT
   Folders of mailboxes that could not be made, could not be removed, or were copied by another program: none of them is a mailbox by mistake. */
#include <config.h>

#include "core/store/store-private.h"
#include "t/store/store-helper.h"
#include <culver/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

CV_EXPORT extern const struct cv_module maildir_LTX_cv_module;

#define CALLS_MAX 200

static const char *const layouts[] = { "", ":LAYOUT=fs", ":LAYOUT=fs:DIRNAME=box", ":CONTROL=~/control" };

static const char *path_of(const struct store *s, const char *rest)
{
	return cv_arena_printf(*s->state, "%s/mail/%s", s->dir, rest);
}

static void init(struct store *s, void **state, const char *layout)
{
	store_init(s, state);
	s->module = &maildir_LTX_cv_module;
	s->driver = "maildir";
	if (strcmp(layout, layouts[3]) == 0)
		s->location = cv_arena_printf(*state, "maildir:%s/mail:CONTROL=%s/control", s->dir, s->dir);
	else
		s->location = cv_arena_printf(*state, "maildir:%s/mail%s", s->dir, layout);
}

static bool is_there(struct store *s, const char *name)
{
	struct cv_mailbox_info info;

	return cv_mailbox_lookup(s->user, cv_str_c(name), &info) == 1 && info.exists;
}

/* ---- calls that fail ---------------------------------------------------------------------------------------------- */

struct trouble {
	unsigned after;   /* calls that still work */
	unsigned failing; /* and so many that do not */
	bool renames;     /* only of that kind */
	bool die;         /* the process ends there */
	bool fired;
};

static int fail_call(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct trouble *trouble = ctx;

	(void)name;
	if ((trouble->renames && op != CV_FILE_RENAME) || op == CV_FILE_READ || op == CV_FILE_STAT || op == CV_FILE_MAP || op == CV_FILE_LIST)
		return 0;
	if (trouble->after > 0) {
		trouble->after--;
		return 0;
	}
	if (trouble->failing == 0)
		return 0;
	trouble->failing--;
	trouble->fired = true;
	if (trouble->die)
		_exit(0);
	if (op == CV_FILE_WRITE)
		*len = 0;
	return EIO;
}

/* CREATE in another process that ends without closing anything. */
static void create_in_a_process(struct store *s, const char *name, struct trouble trouble)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct cv_err err = { 0 };

		if (store_try_open(s, &err) < 0)
			_exit(1);
		cv_file_set_fault(fail_call, &trouble);
		_exit(cv_mailbox_create(s->user, cv_str_c(name), 0, &err) < 0 ? 0 : trouble.fired ? 2 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), 1);
}

/* An empty directory may be left when it could neither be used nor removed. */
static void expect_no_folder(struct store *s, const char *name, bool nothing)
{
	static const char *const subs[] = { "", "/cur", "/new", "/tmp", "/box/cur", "/maildirfolder", "/culver-making", "/box/culver-making" };

	assert_false(is_there(s, name));
	for (size_t i = nothing ? 0 : 1; i < CV_COUNT_OF(subs); i++) {
		assert_int_equal(access(path_of(s, cv_arena_printf(*s->state, "%s%s", name, subs[i])), F_OK), -1);
		assert_int_equal(access(path_of(s, cv_arena_printf(*s->state, ".%s%s", name, subs[i])), F_OK), -1);
	}
}

static void create_and_use(struct store *s, const char *name)
{
	struct cv_err err = { 0 };

	if (!is_there(s, name))
		assert_ok(cv_mailbox_create(s->user, cv_str_c(name), 0, &err));
	assert_int_equal(store_save(s, name, "Subject: x\r\n\r\nx\r\n", 0), 1);
	assert_ok(cv_mailbox_delete(s->user, cv_str_c(name), &err));
	expect_no_folder(s, name, true);
}

/* One call fails, or all from one on. */
static void refused_mailbox_leaves_no_folder(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(layouts); i++) {
		for (unsigned failing = 1; failing != 0; failing = failing == 1 ? CALLS_MAX : 0) {
			struct trouble trouble = { .fired = true };
			struct store s;

			init(&s, state, layouts[i]);
			store_open(&s);
			for (unsigned after = 0; trouble.fired && after < CALLS_MAX; after++) {
				struct cv_err err = { 0 };
				int ret;

				trouble = (struct trouble){ .after = after, .failing = failing };
				cv_file_set_fault(fail_call, &trouble);
				ret = cv_mailbox_create(s.user, CV_STR("Work"), 0, &err);
				cv_file_set_fault(NULL, NULL);
				(void)store_save(&s, "INBOX", "Subject: y\r\n\r\ny\r\n", 0); /* what was refused is forgotten */
				if (ret < 0)
					expect_no_folder(&s, "Work", failing == 1);
				else
					assert_true(is_there(&s, "Work"));
				store_close(&s);
				store_open(&s);
				if (ret < 0)
					expect_no_folder(&s, "Work", failing == 1);
				create_and_use(&s, "Work");
			}
			assert_false(trouble.fired);
			store_deinit(&s);
		}
	}
}

/* The process ends in the middle: the folder of a mailbox that was not recorded goes, and one that was is whole. */
static void unfinished_folder_goes_at_the_next_opening(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(layouts); i++) {
		struct store s;

		init(&s, state, layouts[i]);
		store_open(&s);
		for (unsigned after = 0; after < 40; after++) {
			store_close(&s);
			create_in_a_process(&s, "Work", (struct trouble){ .after = after, .failing = CALLS_MAX, .die = after % 2 == 0 });
			store_open(&s);
			if (!is_there(&s, "Work") && i == 0)
				assert_int_equal(access(path_of(&s, ".Work/cur"), F_OK), -1);
			create_and_use(&s, "Work");
		}
		store_deinit(&s);
	}
}

/* As the journal has it, before folders are looked through. */
static bool has_record(const struct store *s, const char *name)
{
	for (size_t i = 0; i < s->user->names.count; i++) {
		if (strcmp(s->user->names.data[i]->text, name) == 0)
			return s->user->names.data[i]->mailbox != NULL;
	}
	return false;
}

/* Somebody has delivered into it by then. The mark goes, unless the record was written and its removal failed: it says nothing of a mailbox that the
   journal has. */
static void unfinished_folder_with_mail_is_a_mailbox(void **state)
{
	unsigned found = 0;
	struct store s;

	init(&s, state, "");
	store_open(&s);
	for (unsigned after = 0; after < 50; after++) {
		struct cv_err err = { 0 };
		int fd;

		store_close(&s);
		create_in_a_process(&s, "Work", (struct trouble){ .after = after, .failing = CALLS_MAX });
		fd = open(path_of(&s, ".Work/new/1.a"), O_WRONLY | O_CREAT, 0600);
		if (fd >= 0) {
			assert_int_equal(write(fd, "Subject: a\n\nx\n", 14), 14);
			(void)close(fd);
			found++;
		}
		store_open(&s);
		if (fd >= 0) {
			const bool recorded = has_record(&s, "Work");
			store_expect(&s, "Work", "1 -");
			if (!recorded)
				assert_int_equal(access(path_of(&s, ".Work/culver-making"), F_OK), -1);
			assert_ok(cv_mailbox_delete(s.user, CV_STR("Work"), &err));
		}
		if (is_there(&s, "Work")) /* it was whole before calls failed */
			assert_ok(cv_mailbox_delete(s.user, CV_STR("Work"), &err));
	}
	assert_true(found > 5);
	store_deinit(&s);
}

/* ---- folders that stay ------------------------------------------------------------------------------------------------ */

/* Its folder can't be removed yet: it is not found again, and a mailbox that gets its name gets none of its mail. */
static void deleted_mailbox_stays_deleted(void **state)
{
	for (size_t i = 0; i < CV_COUNT_OF(layouts); i++) {
		struct trouble trouble = { .failing = CALLS_MAX, .renames = true };
		struct cv_err err = { 0 };
		struct store s;

		init(&s, state, layouts[i]);
		store_open(&s);
		assert_ok(cv_mailbox_create(s.user, CV_STR("Work"), 0, &err));
		assert_int_equal(store_save(&s, "Work", "Subject: x\r\n\r\nx\r\n", 0), 1);
		cv_file_set_fault(fail_call, &trouble);
		assert_ok(cv_mailbox_delete(s.user, CV_STR("Work"), &err));
		assert_true(trouble.fired);
		assert_false(is_there(&s, "Work"));
		assert_int_equal(cv_mailbox_create(s.user, CV_STR("Work"), 0, &err), -1);
		assert_false(is_there(&s, "Work"));
		cv_file_set_fault(NULL, NULL);
		if (i % 2 == 0)
			assert_false(is_there(&s, "Work"));
		assert_ok(cv_mailbox_create(s.user, CV_STR("Work"), 0, &err));
		store_expect(&s, "Work", "");
		store_deinit(&s);
	}
}

/* In another process, which ends without closing anything: mail is moved to a mailbox that was renamed, and removed where it was. */
static void rename_and_move_in_a_process(struct store *s)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct cv_ranges uids = { 0 };
		struct cv_mailbox *from, *to;
		struct cv_err err = { 0 };
		struct cv_txn *txn;

		store_open(s);
		assert_ok(cv_mailbox_create(s->user, CV_STR("Work"), 0, &err));
		assert_ok(cv_mailbox_rename(s->user, CV_STR("Work"), CV_STR("Kept"), &err));
		(void)store_save(s, "INBOX", "Subject: x\r\n\r\nx\r\n", 0);
		(void)store_save(s, "INBOX", "Subject: y\r\n\r\ny\r\n", 0);
		from = store_get(s, "INBOX");
		to = store_get(s, "Kept");
		txn = cv_txn_begin(s->user);
		cv_ranges_add(&uids, 1, 2);
		assert_ok(cv_txn_copy(txn, from, &uids, to, true, NULL, NULL, &err));
		assert_ok(cv_txn_commit_wait(&txn, &err));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* What CREATE had made when the power failed. */
static void leave_half_made(const struct store *s, const char *folder, bool list)
{
	static const char *const subs[] = { "", "/tmp", "/new", "/cur" };
	static const char *const files[] = { "/culver-making", "/maildirfolder", "/dovecot-uidlist" };

	for (size_t i = 0; i < CV_COUNT_OF(subs); i++)
		assert_int_equal(mkdir(path_of(s, cv_arena_printf(*s->state, "%s%s", folder, subs[i])), 0700), 0);
	for (size_t i = 0; i < CV_COUNT_OF(files) - !list; i++) {
		FILE *file = fopen(path_of(s, cv_arena_printf(*s->state, "%s%s", folder, files[i])), "w");

		assert_non_null(file);
		assert_int_equal(fclose(file), 0);
	}
}

/* The rename is done again, and finds a folder at the old name that has come there since: of a mailbox that was never made. */
static void half_made_folder_is_not_what_was_renamed_before(void **state)
{
	for (size_t i = 0; i < 2 * CV_COUNT_OF(layouts); i++) {
		const char *layout = layouts[i / 2];
		struct cv_mailbox_info info;
		struct cv_err err = { 0 };
		struct store s;

		init(&s, state, layout);
		rename_and_move_in_a_process(&s);
		if (strstr(layout, "DIRNAME") != NULL)
			assert_int_equal(mkdir(path_of(&s, "Work"), 0700), 0);
		leave_half_made(&s, strstr(layout, "DIRNAME") != NULL ? "Work/box" : strstr(layout, "fs") != NULL ? "Work" : ".Work", i % 2 == 0);
		store_open(&s);
		store_expect(&s, "Kept", "1 -|2 -");
		store_octets(&s, "Kept", 2, "Subject: y\r\n\r\ny\r\n");
		assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Kept"), &info), 1);
		expect_no_folder(&s, "Work", false);
		create_and_use(&s, "Work");
		store_close(&s);
		store_open(&s);
		store_expect(&s, "Kept", "1 -|2 -");
		assert_ok(cv_mailbox_delete(s.user, CV_STR("Kept"), &err));
		store_deinit(&s);
	}
}

static void run(const char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The copy has the GUID of the first one in it. */
static void copied_folder_is_a_mailbox_of_its_own(void **state)
{
	struct cv_mailbox_info work, copy, again;
	struct cv_err err = { 0 };
	struct store s;

	init(&s, state, "");
	store_open(&s);
	assert_ok(cv_mailbox_create(s.user, CV_STR("Work"), 0, &err));
	assert_int_equal(store_save(&s, "Work", "Subject: x\r\n\r\nx\r\n", 0), 1);
	run((const char *const[]){ "cp", "-r", path_of(&s, ".Work"), path_of(&s, ".Copy"), NULL });
	store_expect(&s, "Copy", "1 -");
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Work"), &work), 1);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Copy"), &copy), 1);
	assert_memory_not_equal(work.guid, copy.guid, sizeof(work.guid));
	/* From here on they give the same UIDs to different messages. */
	assert_true(copy.uidvalidity > work.uidvalidity);
	assert_int_equal(store_save(&s, "Work", "Subject: y\r\n\r\ny\r\n", 0), 2);
	assert_int_equal(store_save(&s, "Copy", "Subject: z\r\n\r\nz\r\n", 0), 2);
	store_close(&s);
	store_open(&s);
	store_expect(&s, "Copy", "1 -|2 -");
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Work"), &again), 1);
	assert_int_equal(again.uidvalidity, work.uidvalidity);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Copy"), &again), 1);
	assert_int_equal(again.uidvalidity, copy.uidvalidity);
	assert_ok(cv_mailbox_delete(s.user, CV_STR("Copy"), &err));
	assert_false(is_there(&s, "Copy"));
	assert_int_equal(access(path_of(&s, ".Copy"), F_OK), -1);
	store_expect(&s, "Work", "1 -|2 -");
	store_deinit(&s);
}

/* RENAME in another process that ends in the middle, at each call. */
static void rename_in_a_process(struct store *s, const char *from, const char *to, struct trouble trouble)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct cv_err err = { 0 };

		store_open(s);
		cv_file_set_fault(fail_call, &trouble);
		_exit(cv_mailbox_rename(s->user, cv_str_c(from), cv_str_c(to), &err) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
}

/* Without dovecot-keywords of its own the letters in the file names would mean other keywords. */
static void files_below_control_follow_a_rename(void **state)
{
	struct store s;

	init(&s, state, layouts[3]);
	store_open(&s);
	store_save_keyword(&s, "INBOX", "Subject: x\r\n\r\nx\r\n", 0, "Other");
	for (unsigned after = 0; after < 24; after++) {
		struct cv_err err = { 0 };
		const char *name;

		assert_ok(cv_mailbox_create(s.user, CV_STR("Work"), 0, &err));
		(void)store_save_keyword(&s, "Work", "Subject: x\r\n\r\nx\r\n", CV_FLAG_SEEN, "First");
		(void)store_save_keyword(&s, "Work", "Subject: y\r\n\r\ny\r\n", CV_FLAG_SEEN, "Second");
		store_close(&s);
		rename_in_a_process(&s, "Work", "Kept", (struct trouble){ .after = after, .die = true, .failing = 1 });
		store_open(&s);
		name = is_there(&s, "Kept") ? "Kept" : "Work";
		store_expect(&s, name, "1 S First|2 S Second");
		for (unsigned i = 0; i < 2; i++) {
			const char *place = i == 0 ? "Kept" : "Work";
			int want = strcmp(place, name) == 0 ? 0 : -1;

			assert_int_equal(access(cv_arena_printf(*state, "%s/control/.%s/dovecot-keywords", s.dir, place), F_OK), want);
			assert_int_equal(access(cv_arena_printf(*state, "%s/control/.%s/dovecot-uidlist", s.dir, place), F_OK), want);
		}
		assert_ok(cv_mailbox_delete(s.user, cv_str_c(name), &err));
	}
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(refused_mailbox_leaves_no_folder),
		cv_test(unfinished_folder_goes_at_the_next_opening),
		cv_test(unfinished_folder_with_mail_is_a_mailbox),
		cv_test(deleted_mailbox_stays_deleted),
		cv_test(half_made_folder_is_not_what_was_renamed_before),
		cv_test(copied_folder_is_a_mailbox_of_its_own),
		cv_test(files_below_control_follow_a_rename),
	};

	return store_tests_run(tests);
}
