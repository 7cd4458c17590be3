/* SPDX-License-Identifier: MIT
   Annotations of mailboxes and of the user, over sdbox. */
#include <config.h>

#include "t/store/store-disk.h"

#include <stdio.h>

#define ALL (DUMP_NUMBERS | DUMP_OCTETS | DUMP_MODSEQS)

/* "name=value|…" of all; "mailbox" NULL: of the user. */
static const char *list(struct store *s, const char *name)
{
	struct cv_mailbox *mailbox = name != NULL ? store_get(s, name) : NULL;
	struct cv_annotation a;
	struct cv_buf out;
	const char *text;

	cv_buf_init(&out, 1 << 20);
	for (size_t pos = 0; cv_annotation_next(s->user, mailbox, &pos, &a);)
		cv_buf_printf(&out, "%s%.*s=%.*s", out.len > 0 ? "|" : "", CV_STR_ARG(a.name), CV_STR_ARG(a.value));
	text = cv_arena_str(*s->state, cv_buf_str(&out)).ptr;
	cv_buf_deinit(&out);
	cv_mailbox_unref(&mailbox);
	return text != NULL ? text : "";
}

static int annotate(struct store *s, const char *name, const char *entry, struct cv_str value, struct cv_err *err)
{
	struct cv_mailbox *mailbox = name != NULL ? store_get(s, name) : NULL;
	struct cv_txn *txn = cv_txn_begin(s->user);
	int ret = cv_txn_annotate(txn, mailbox, cv_str_c(entry), value, err);

	cv_mailbox_unref(&mailbox);
	if (ret < 0) {
		cv_txn_rollback(&txn);
		return -1;
	}
	return cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
}

static void reopen(struct store *s)
{
	store_close(s);
	store_open(s);
}

static void names_are_matched_without_case_and_keep_their_order(void **state)
{
	struct cv_annotation a;
	struct cv_mailbox *inbox;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_annotate(&s, "INBOX", "/private/b", "1");
	store_annotate(&s, "INBOX", "/private/Comment", "2");
	store_annotate(&s, "INBOX", "/private/a-c", "3");
	store_annotate(&s, "INBOX", "/private/a/z", "4");
	store_annotate(&s, "INBOX", "/private/a", "5");
	assert_string_equal(list(&s, "INBOX"), "/private/a=5|/private/a/z=4|/private/a-c=3|/private/b=1|/private/Comment=2");
	store_annotate(&s, "INBOX", "/PRIVATE/comment", "6");
	store_annotate(&s, "INBOX", "/private/A/Z", NULL);
	assert_string_equal(list(&s, "INBOX"), "/private/a=5|/private/a-c=3|/private/b=1|/PRIVATE/comment=6");
	inbox = store_get(&s, "INBOX");
	assert_int_equal(cv_annotation_get(s.user, inbox, CV_STR("/private/COMMENT"), &a), 1);
	assert_str(a.value, "6");
	assert_int_equal(cv_annotation_get(s.user, inbox, CV_STR("/private"), &a), 0);
	assert_int_equal(cv_annotation_get(s.user, NULL, CV_STR("/private/a"), &a), 0);
	assert_int_equal(cv_annotation_from(s.user, inbox, CV_STR("/private/a/")), 1);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void values_are_any_octets_and_empty_is_not_absent(void **state)
{
	static const char octets[] = "a\0b\r\n\xff";
	struct cv_annotation a;
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	assert_ok(annotate(&s, NULL, "/private/x", cv_str_mem(octets, sizeof(octets)), &err));
	assert_ok(annotate(&s, NULL, "/private/empty", CV_STR(""), &err));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(cv_annotation_get(s.user, NULL, CV_STR("/private/x"), &a), 1);
		assert_int_equal(a.value.len, sizeof(octets));
		assert_memory_equal(a.value.ptr, octets, sizeof(octets));
		assert_int_equal(cv_annotation_get(s.user, NULL, CV_STR("/private/empty"), &a), 1);
		assert_int_equal(a.value.len, 0);
		assert_non_null(a.value.ptr);
		reopen(&s);
	}
	store_deinit(&s);
}

static void they_follow_a_rename_and_go_with_the_mailbox(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_mailbox_create(s.user, CV_STR("a/b"), 0, &err));
	store_annotate(&s, "a/b", "/private/comment", "mine");
	store_annotate(&s, "a/b", "acl", "theirs");
	assert_ok(cv_mailbox_rename(s.user, CV_STR("a"), CV_STR("c"), &err));
	assert_string_equal(list(&s, "c/b"), "/private/comment=mine|acl=theirs");
	reopen(&s);
	assert_string_equal(list(&s, "c/b"), "/private/comment=mine|acl=theirs");
	assert_ok(cv_mailbox_delete(s.user, CV_STR("c/b"), &err));
	assert_int_equal(s.user->annotation_octets, 0);
	assert_ok(cv_mailbox_create(s.user, CV_STR("c/b"), 0, &err));
	assert_string_equal(list(&s, "c/b"), "");
	reopen(&s);
	assert_string_equal(list(&s, "c/b"), "");
	store_deinit(&s);
}

static void those_of_inbox_stay_and_are_copied(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_annotate(&s, "INBOX", "/private/comment", "mine");
	store_annotate(&s, "INBOX", "acl", "theirs");
	assert_ok(cv_mailbox_rename(s.user, CV_STR("INBOX"), CV_STR("old"), &err));
	assert_string_equal(list(&s, "INBOX"), "/private/comment=mine|acl=theirs");
	assert_string_equal(list(&s, "old"), "/private/comment=mine");
	store_deinit(&s);
}

static void names_that_cannot_be_are_refused(void **state)
{
	static const char *const bad[] = { "", "/private/", "/private//a", "/private/a*", "/private/%", "/private/\xc3\xa4", "/private/a\n", "/a\x7f" };
	char longest[CV_ANNOTATION_NAME_MAX + 2];
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
		struct cv_err err = { 0 };

		assert_int_equal(annotate(&s, "INBOX", bad[i], CV_STR("x"), &err), -1);
		assert_int_equal(err.code, CV_ERR_INVALID);
	}
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "/private/", 9);
	longest[CV_ANNOTATION_NAME_MAX + 1] = '\0';
	assert_int_equal(annotate(&s, "INBOX", longest, CV_STR("x"), NULL), -1);
	longest[CV_ANNOTATION_NAME_MAX] = '\0';
	assert_int_equal(annotate(&s, "INBOX", longest, CV_STR("x"), NULL), 1);
	store_deinit(&s);
}

static void limits_hold_and_a_refused_change_changes_nothing(void **state)
{
	struct cv_store_settings *set;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	char name[40], *value;
	const char *before;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	set = cv_new(s.user->arena, struct cv_store_settings, 1);
	*set = *s.user->set;
	set->mail_max_metadata_entries = 12;
	set->mail_max_metadata_value = 2000;
	set->mail_max_metadata_size = 12000;
	s.user->set = set;
	value = cv_arena_alloc(*state, 2001);
	memset(value, 'v', 2001);
	assert_int_equal(cv_annotation_value_max(s.user), 2000);
	assert_int_equal(annotate(&s, NULL, "/private/x", cv_str_mem(value, 2001), &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	for (int i = 0; i < 12; i++) {
		(void)snprintf(name, sizeof(name), "/private/n%d", i);
		store_annotate(&s, "INBOX", name, "x");
	}
	before = store_dump_all(&s, ALL);
	/* One more is too many, whichever else is with it; one that is there may change; a module's entry is not counted with them. */
	err = (struct cv_err){ 0 };
	assert_int_equal(annotate(&s, "INBOX", "/private/n12", CV_STR("x"), &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	txn = cv_txn_begin(s.user);
	{
		struct cv_mailbox *inbox = store_get(&s, "INBOX");

		assert_ok(cv_txn_annotate(txn, inbox, CV_STR("/private/n1"), CV_STR("changed"), &err));
		assert_ok(cv_txn_annotate(txn, inbox, CV_STR("/private/n13"), CV_STR("x"), &err));
		assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
		assert_same_dump(store_dump_all(&s, ALL), before);
		/* What goes makes room for what comes. */
		txn = cv_txn_begin(s.user);
		assert_ok(cv_txn_annotate(txn, inbox, CV_STR("/private/n1"), (struct cv_str){ 0 }, &err));
		assert_ok(cv_txn_annotate(txn, inbox, CV_STR("/private/n13"), CV_STR("x"), &err));
		assert_ok(cv_txn_commit_wait(&txn, &err));
		cv_mailbox_unref(&inbox);
	}
	store_annotate(&s, "INBOX", "/private/n13", "other");
	store_annotate(&s, "INBOX", "acl", "x");
	store_annotate(&s, "Sent", "/private/n12", "x");
	/* All octets of a user together. */
	for (int i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "/private/n%d", i);
		assert_ok(annotate(&s, i % 2 == 0 ? NULL : "Junk", name, cv_str_mem(value, 2000), &err));
	}
	err = (struct cv_err){ 0 };
	assert_int_equal(annotate(&s, "Trash", "/shared/x", cv_str_mem(value, 2000), &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	assert_ok(annotate(&s, "Junk", "/private/n1", CV_STR("short"), &err));
	assert_ok(annotate(&s, "Trash", "/shared/x", cv_str_mem(value, 2000), &err));
	/* A lower limit refuses nothing that makes it less. */
	set->mail_max_metadata_size = 100;
	assert_ok(annotate(&s, "Trash", "/shared/x", cv_str_mem(value, 1000), &err));
	assert_ok(annotate(&s, "Trash", "/shared/x", (struct cv_str){ 0 }, &err));
	reopen(&s);
	assert_string_equal(list(&s, "Sent"), "/private/n12=x");
	store_deinit(&s);
}

static void a_special_use_that_was_set_stays(void **state)
{
	struct cv_mailbox_info info;
	struct cv_mailbox *junk;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	junk = store_get(&s, "Junk");
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_special_use(txn, junk, CV_USE_ARCHIVE | CV_USE_IMPORTANT, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_mailbox_unref(&junk);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Junk"), &info), 1);
		assert_int_equal(info.special_use, CV_USE_ARCHIVE | CV_USE_IMPORTANT);
		reopen(&s);
	}
	junk = store_get(&s, "Junk");
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_special_use(txn, junk, 0, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_mailbox_unref(&junk);
	reopen(&s);
	assert_int_equal(cv_mailbox_lookup(s.user, CV_STR("Junk"), &info), 1);
	assert_int_equal(info.special_use, 0);
	store_deinit(&s);
}

/* Many changes, with sizes that fold all the time, and with a process that ends without closing. */
static void they_come_from_state_and_journal(void **state)
{
	static const uint64_t segments[] = { 4 << 20, 8192 };

	for (size_t row = 0; row < CV_COUNT_OF(segments); row++) {
		struct disk killed;
		const char *want;
		struct store s;

		store_init(&s, state);
		s.dir = cv_arena_printf(*state, "%s/%zu", s.dir, row);
		store_open(&s);
		store_set_sizes(&s, segments[row], 1);
		for (int i = 0; i < 400; i++) {
			char name[40], value[40];

			(void)snprintf(name, sizeof(name), "/shared/n%d", i * 7 % 40);
			(void)snprintf(value, sizeof(value), "%d", i);
			store_annotate(&s, i % 3 == 0 ? NULL : i % 3 == 1 ? "INBOX" : "Sent", name, i % 5 == 0 ? NULL : value);
		}
		want = store_dump_all(&s, ALL);
		disk_read(&s, &killed);
		reopen(&s);
		assert_same_dump(store_dump_all(&s, ALL), want);
		store_close(&s);
		disk_write(&s, &killed);
		store_open(&s);
		assert_same_dump(store_dump_all(&s, ALL), want);
		disk_free(&killed);
		store_deinit(&s);
	}
}

/* Files say the lowest format that tells what is in them, so that an older server reads what it can. */
static void formats_are_raised_only_when_needed(void **state)
{
	struct disk disk;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", "Subject: x\r\n\r\nx\r\n", 0);
	reopen(&s);
	store_close(&s);
	disk_read(&s, &disk);
	assert_int_equal(disk_find(&disk, "state")->octets.ptr[8], 1);
	disk_free(&disk);
	store_open(&s);
	store_annotate(&s, "INBOX", "/private/comment", "x");
	store_save(&s, "INBOX", "Subject: x\r\n\r\nx\r\n", 0);
	store_close(&s);
	disk_read(&s, &disk);
	assert_int_equal(disk_find(&disk, "state")->octets.ptr[8], 2);
	for (size_t i = 0; i < disk.files.count; i++) {
		if (strncmp(disk.files.data[i].name, "box.", 4) == 0 && disk.files.data[i].octets.len > 4096 + 100 &&
			strlen(disk.files.data[i].name) == 36)
			assert_int_equal(disk.files.data[i].octets.ptr[8], CV_SNAPSHOT_VERSION_NO_NOTES);
	}
	disk_free(&disk);
	store_open(&s);
	store_annotate(&s, "INBOX", "/private/comment", NULL);
	store_close(&s);
	disk_read(&s, &disk);
	assert_int_equal(disk_find(&disk, "state")->octets.ptr[8], 1);
	disk_free(&disk);
	store_deinit(&s);
}

struct told {
	struct cv_buf text;
	uint64_t txn;
};

static void on_change(void *ctx, const struct cv_annotation_change *change)
{
	struct told *told = ctx;

	cv_buf_printf(&told->text, "%.*s %.*s=%.*s;", CV_STR_ARG(change->mailbox != NULL ? cv_mailbox_name(change->mailbox) : CV_STR("")),
		CV_STR_ARG(change->name), CV_STR_ARG(change->value));
	told->txn = change->txn;
}

static void watches_are_told_of_what_is_durable(void **state)
{
	struct cv_annotation_watch *watch;
	struct told told = { 0 };
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	uint64_t id;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	cv_buf_init(&told.text, 1000);
	watch = cv_annotations_watch(s.user, on_change, &told);
	store_annotate(&s, "INBOX", "/private/comment", "x");
	store_annotate(&s, "INBOX", "/private/comment", NULL);
	txn = cv_txn_begin(s.user);
	id = cv_txn_id(txn);
	assert_ok(cv_txn_annotate(txn, NULL, CV_STR("/shared/a"), CV_STR("y"), &err));
	assert_ok(cv_txn_annotate(txn, NULL, CV_STR("/shared/b"), CV_STR("z"), &err));
	assert_int_equal(told.text.len, strlen("INBOX /private/comment=x;INBOX /private/comment=;"));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	assert_str(cv_buf_str(&told.text), "INBOX /private/comment=x;INBOX /private/comment=; /shared/a=y; /shared/b=z;");
	assert_int_equal(told.txn, id);
	cv_annotations_unwatch(&watch);
	store_annotate(&s, NULL, "/shared/a", NULL);
	assert_int_equal(told.txn, id);
	cv_buf_deinit(&told.text);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(names_are_matched_without_case_and_keep_their_order),
		cv_test(values_are_any_octets_and_empty_is_not_absent),
		cv_test(they_follow_a_rename_and_go_with_the_mailbox),
		cv_test(those_of_inbox_stay_and_are_copied),
		cv_test(names_that_cannot_be_are_refused),
		cv_test(limits_hold_and_a_refused_change_changes_nothing),
		cv_test(a_special_use_that_was_set_stays),
		cv_test(they_come_from_state_and_journal),
		cv_test(formats_are_raised_only_when_needed),
		cv_test(watches_are_told_of_what_is_durable),
	};

	return store_tests_run(tests);
}
