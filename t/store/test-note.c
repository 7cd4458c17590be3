/* SPDX-License-Identifier: MIT
   Annotations of messages, over sdbox. */
#include <config.h>

#include "t/store/store-disk.h"

#include "core/store/note.h"

#include <stdio.h>
#include <stdlib.h>

#define ALL (DUMP_NUMBERS | DUMP_OCTETS | DUMP_MODSEQS)
#define MAIL "Subject: x\r\n\r\ny\r\n"

static void reopen(struct store *s)
{
	store_close(s);
	store_open(s);
}

/* A change to UIDs first..last of INBOX; the result of asking for it, or of its commit. */
static int change(struct store *s, uint32_t first, uint32_t last, const struct cv_note *notes, size_t count, struct cv_err *err)
{
	const struct cv_notes_change all = { .notes = notes, .count = count };
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_ranges uids = { 0 };
	int ret;

	cv_ranges_add(&uids, first, last);
	ret = cv_txn_notes(txn, inbox, &uids, &all, NULL, NULL, err);
	if (ret < 0)
		cv_txn_rollback(&txn);
	else
		ret = cv_txn_commit_wait(&txn, err);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
	return ret;
}

static uint64_t modseq_of(struct store *s, uint32_t uid)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_err err = { 0 };
	struct cv_row row;

	assert_ok(cv_mailbox_row(inbox, uid, &row, &err));
	cv_mailbox_unref(&inbox);
	return row.modseq;
}

static void entries_keep_their_order_and_private_ones_come_first(void **state)
{
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_note(&s, "INBOX", 1, 1, "/comment", "all");
	store_note(&s, "INBOX", 1, 1, "/altsubject priv", "mine");
	store_note(&s, "INBOX", 1, 1, "/comment priv", "mine too");
	store_note(&s, "INBOX", 1, 1, "/Comment", "another");
	for (int i = 0; i < 3; i++) {
		assert_string_equal(store_notes(&s, "INBOX", 1), "/Comment=another|/altsubject priv=mine|/comment priv=mine too|/comment=all");
		reopen(&s);
	}
	store_note(&s, "INBOX", 1, 1, "/comment", NULL);
	store_note(&s, "INBOX", 1, 1, "/Comment", "changed");
	for (int i = 0; i < 3; i++) {
		assert_string_equal(store_notes(&s, "INBOX", 1), "/Comment=changed|/altsubject priv=mine|/comment priv=mine too");
		reopen(&s);
	}
	store_deinit(&s);
}

static void a_value_is_any_octets_and_empty_is_not_absent(void **state)
{
	static const char octets[] = "a\0b\r\n\xff";
	const struct cv_note notes[] = { { CV_STR("/comment"), false, cv_str_mem(octets, sizeof(octets)) }, { CV_STR("/empty"), true, CV_STR("") } };
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_ok(change(&s, 1, 1, notes, 2, &err));
	for (int i = 0; i < 3; i++) {
		struct cv_mailbox *inbox = store_get(&s, "INBOX");
		struct cv_note_list list;
		struct cv_note note;

		assert_int_equal(cv_notes_get(inbox, 1, &list, &err), 1);
		assert_true(cv_note_next(&list, &note));
		assert_int_equal(note.value.len, sizeof(octets));
		assert_memory_equal(note.value.ptr, octets, sizeof(octets));
		assert_true(cv_note_next(&list, &note));
		assert_true(note.priv);
		assert_non_null(note.value.ptr);
		assert_int_equal(note.value.len, 0);
		assert_false(cv_note_next(&list, &note));
		cv_mailbox_unref(&inbox);
		reopen(&s);
	}
	store_deinit(&s);
}

static void a_change_gives_a_modseq_and_the_same_again_does_not(void **state)
{
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_err err = { 0 };
	struct store s;
	uint64_t before, after;

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 3; i++)
		store_save(&s, "INBOX", MAIL, 0);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &view, &err));
	store_sync(&s, view, true, 0);
	before = modseq_of(&s, 3);
	store_note(&s, "INBOX", 1, 2, "/comment priv", "x");
	after = modseq_of(&s, 1);
	assert_true(after > before);
	assert_int_equal(modseq_of(&s, 2), after);
	assert_int_equal(modseq_of(&s, 3), before);
	assert_string_equal(store_sync(&s, view, true, 0), "notes 1 uid 1 /comment; notes 2 uid 2 /comment");
	store_note(&s, "INBOX", 1, 2, "/comment priv", "x");
	store_note(&s, "INBOX", 3, 3, "/comment", NULL);
	assert_int_equal(modseq_of(&s, 1), after);
	assert_int_equal(modseq_of(&s, 3), before);
	assert_string_equal(store_sync(&s, view, true, 0), "");
	/* Of one that has it already, and one that has not. */
	store_note(&s, "INBOX", 2, 3, "/comment priv", "x");
	assert_int_equal(modseq_of(&s, 2), after);
	assert_string_equal(store_sync(&s, view, true, 0), "notes 3 uid 3 /comment");
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void unchangedsince_leaves_changed_messages_alone(void **state)
{
	const struct cv_note note = { CV_STR("/comment"), false, CV_STR("new") };
	struct cv_notes_change all = { .notes = &note, .count = 1, .unchanged_since_set = true };
	struct cv_ranges uids = { 0 }, failed = { 0 }, gone = { 0 };
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 4; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_expunge(&s, "INBOX", 3, 3);
	all.unchanged_since = modseq_of(&s, 4);
	store_note(&s, "INBOX", 2, 2, "/comment", "first");
	inbox = store_get(&s, "INBOX");
	txn = cv_txn_begin(s.user);
	cv_ranges_add(&uids, 1, 4);
	assert_ok(cv_txn_notes(txn, inbox, &uids, &all, &failed, &gone, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	assert_int_equal(failed.count, 1);
	assert_int_equal(failed.data[0].first, 2);
	assert_int_equal(gone.count, 1);
	assert_int_equal(gone.data[0].first, 3);
	assert_string_equal(store_notes(&s, "INBOX", 1), "/comment=new");
	assert_string_equal(store_notes(&s, "INBOX", 2), "/comment=first");
	assert_string_equal(store_notes(&s, "INBOX", 4), "/comment=new");
	cv_ranges_free(&uids);
	cv_ranges_free(&failed);
	cv_ranges_free(&gone);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void expunge_drops_them_and_copies_keep_them(void **state)
{
	struct cv_ranges uids = { 0 };
	struct cv_mailbox *inbox, *sent;
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 3; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_note(&s, "INBOX", 1, 3, "/comment", "x");
	store_note(&s, "INBOX", 2, 2, "/comment priv", "y");
	inbox = store_get(&s, "INBOX");
	sent = store_get(&s, "Sent");
	cv_ranges_add(&uids, 1, 2);
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_copy(txn, inbox, &uids, sent, false, NULL, NULL, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_copy(txn, inbox, &uids, sent, true, NULL, NULL, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&sent);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(store_notes(&s, "Sent", 1), "/comment=x");
		assert_string_equal(store_notes(&s, "Sent", 2), "/comment priv=y|/comment=x");
		assert_string_equal(store_notes(&s, "Sent", 4), "/comment priv=y|/comment=x");
		assert_string_equal(store_notes(&s, "INBOX", 2), "");
		assert_string_equal(store_notes(&s, "INBOX", 3), "/comment=x");
		reopen(&s);
	}
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_mailbox_load(inbox, &err));
	assert_true(inbox->columns->notes->octets > 0);
	store_expunge(&s, "INBOX", 3, 3);
	assert_int_equal(inbox->columns->notes->octets, 0);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

static void a_message_is_saved_with_them(void **state)
{
	const struct cv_note notes[] = { { CV_STR("/comment"), true, CV_STR("a") }, { CV_STR("/altsubject"), false, CV_STR("b") },
		{ CV_STR("/comment"), true, CV_STR("c") }, { CV_STR("/none"), true, { 0 } } };
	struct cv_save_config config = { .notes = notes, .note_count = 4 };
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct cv_save *save;
	struct cv_txn *txn;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	txn = cv_txn_begin(s.user);
	assert_ok(cv_save_begin(txn, inbox, &config, &save, &err));
	assert_ok(cv_save_write(save, CV_STR(MAIL), &err));
	assert_ok(cv_save_finish(save, &err));
	assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_mailbox_unref(&inbox);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(store_notes(&s, "INBOX", 1), "/altsubject=b|/comment priv=c");
		reopen(&s);
	}
	store_deinit(&s);
}

static void limits_refuse_and_leave_all_as_it_was(void **state)
{
	struct cv_store_settings *set;
	struct cv_note note = { CV_STR("/comment"), false, { 0 } };
	struct cv_err err = { 0 };
	struct store s;
	char *large, name[32];

	store_init(&s, state);
	store_open(&s);
	set = cv_new(s.user->arena, struct cv_store_settings, 1);
	*set = *s.user->set;
	set->mail_max_annotations = 10;
	set->mail_max_annotations_size = 300000;
	s.user->set = set;
	for (int i = 0; i < 5; i++)
		store_save(&s, "INBOX", MAIL, 0);
	large = cv_arena_alloc(*state, 65537);
	memset(large, 'x', 65537);
	note.value = cv_str_mem(large, 65537);
	assert_int_equal(change(&s, 1, 1, &note, 1, &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	note.value.len = 65536;
	assert_ok(change(&s, 1, 1, &note, 1, &err));
	/* All together: four of them fit, five do not, and then none of them is set. */
	assert_int_equal(change(&s, 1, 5, &note, 1, &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	assert_string_equal(store_notes(&s, "INBOX", 2), "");
	assert_ok(change(&s, 1, 4, &note, 1, &err));
	/* Entries of one message: the private and the shared value are one. */
	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "/vendor/x/%d", i);
		store_note(&s, "INBOX", 5, 5, name, "v");
	}
	store_note(&s, "INBOX", 5, 5, "/vendor/x/1 priv", "v");
	note.value = CV_STR("v");
	assert_int_equal(change(&s, 5, 5, &note, 1, &err), -1);
	assert_int_equal(err.code, CV_ERR_LIMIT);
	store_note(&s, "INBOX", 5, 5, "/vendor/x/3", NULL);
	assert_ok(change(&s, 5, 5, &note, 1, &err));
	store_deinit(&s);
}

static void names_that_cannot_be_are_refused(void **state)
{
	static const char *const bad[] = { "", "/", "comment", "/comment/", "//comment", "/a//b", "/a*", "/%", "/\xc3\xa4" };
	char longest[CV_NOTE_ENTRY_MAX + 2];
	struct cv_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
		assert_int_equal(cv_note_entry_ok(cv_str_c(bad[i]), &err), -1);
		assert_int_equal(err.code, CV_ERR_INVALID);
	}
	assert_int_equal(cv_note_entry_ok(cv_str_mem("/a\0b", 4), &err), -1);
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	assert_int_equal(cv_note_entry_ok(cv_str_mem(longest, CV_NOTE_ENTRY_MAX), &err), 1);
	assert_int_equal(cv_note_entry_ok(cv_str_mem(longest, CV_NOTE_ENTRY_MAX + 1), &err), -1);
	assert_int_equal(cv_note_entry_ok(CV_STR("/1.2/Flags/a b"), &err), 1);
}

static uint32_t snapshot_version(struct store *s)
{
	struct disk disk;
	uint32_t version = 0;

	disk_read(s, &disk);
	for (size_t i = 0; i < disk.files.count; i++) {
		struct cv_reader reader = cv_reader_init(disk.files.data[i].octets);
		uint64_t magic;
		uint32_t n;

		if (strncmp(disk.files.data[i].name, "box.", 4) == 0 && cv_take_u64(&reader, &magic) && cv_take_u32(&reader, &n))
			version = CV_MAX(version, n);
	}
	disk_free(&disk);
	return version;
}

/* A server of before reads what has none. */
static void formats_are_raised_only_where_there_are_any(void **state)
{
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	reopen(&s);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_mailbox_load(inbox, &err));
	assert_null(inbox->columns->notes);
	assert_int_equal(snapshot_version(&s), 3);
	cv_mailbox_unref(&inbox);
	store_note(&s, "INBOX", 1, 1, "/comment", "x");
	store_close(&s);
	assert_int_equal(snapshot_version(&s), 4);
	store_open(&s);
	store_note(&s, "INBOX", 1, 1, "/comment", NULL);
	store_close(&s);
	store_open(&s);
	store_note(&s, "INBOX", 1, 1, "/none", NULL);
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	store_close(&s);
	store_open(&s);
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_REMOVE, CV_FLAG_SEEN, NULL);
	store_close(&s);
	assert_int_equal(snapshot_version(&s), 3);
	store_open(&s);
	store_deinit(&s);
}

/* ---- how much there is ------------------------------------------------------------------------------------------ */

/* Each is its name, its value and 12 octets. */
static uint64_t octets_of(const char *entry, const char *value)
{
	return strlen(entry) + strlen(value) + 12;
}

static void expect_octets(struct store *s, const char *mailbox, uint64_t octets, uint64_t of_user)
{
	struct cv_mailbox *m = store_get(s, mailbox);
	struct cv_usage usage;
	struct cv_err err = { 0 };

	assert_ok(cv_user_count_notes(s->user, &err));
	cv_mailbox_usage(m, &usage);
	assert_int_equal(usage.notes, octets);
	cv_user_usage(s->user, &usage);
	assert_int_equal(usage.notes, of_user);
	cv_mailbox_unref(&m);
}

/* A power cut after what is on disk now, and the next opening. */
static void crash(struct store *s)
{
	struct disk disk;

	disk_read(s, &disk);
	store_close(s);
	disk_write(s, &disk);
	disk_free(&disk);
	store_open(s);
}

static void octets_follow_every_change(void **state)
{
	const uint64_t one = octets_of("/comment", "abc"), two = octets_of("/vendor/x", "");
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 3; i++)
		store_save(&s, "INBOX", MAIL, 0);
	expect_octets(&s, "INBOX", 0, 0);
	store_note(&s, "INBOX", 1, 2, "/comment", "abc");
	store_note(&s, "INBOX", 2, 2, "/vendor/x priv", "");
	for (int i = 0; i < 3; i++) {
		expect_octets(&s, "INBOX", 2 * one + two, 2 * one + two);
		(i == 1 ? crash : reopen)(&s);
	}
	store_copy(&s, "INBOX", 1, 3, "Sent", false);
	expect_octets(&s, "Sent", 2 * one + two, 4 * one + 2 * two);
	store_copy(&s, "INBOX", 1, 1, "Trash", true);
	expect_octets(&s, "INBOX", one + two, 4 * one + 2 * two);
	store_expunge(&s, "Sent", 1, 1);
	expect_octets(&s, "Trash", one, 3 * one + 2 * two);
	for (int i = 0; i < 3; i++) {
		(i == 1 ? reopen : crash)(&s);
		expect_octets(&s, "INBOX", one + two, 3 * one + 2 * two);
		expect_octets(&s, "Sent", one + two, 3 * one + 2 * two);
	}
	store_note(&s, "INBOX", 2, 2, "/comment", NULL);
	store_note(&s, "Sent", 1, 9, "/comment", "abcd");
	expect_octets(&s, "Sent", one + two + 1 + octets_of("/comment", "abcd"), 3 * one + 2 * two + 1 - one + octets_of("/comment", "abcd"));
	assert_ok(cv_mailbox_rename(s.user, CV_STR("Sent"), CV_STR("other"), &err));
	crash(&s);
	expect_octets(&s, "INBOX", two, 2 * one + 2 * two + 1 + octets_of("/comment", "abcd"));
	assert_ok(cv_mailbox_delete(s.user, CV_STR("other"), &err));
	expect_octets(&s, "INBOX", two, one + two);
	reopen(&s);
	expect_octets(&s, "INBOX", two, one + two);
	assert_int_equal(store_log_errors(), 0);
	store_deinit(&s);
}

/* What was asked for and is not on disk does not count after the cut; nothing that was counted is counted twice. */
static void octets_are_those_of_the_journal_after_a_crash(void **state)
{
	struct cv_usage usage;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 5; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_note(&s, "INBOX", 1, 5, "/comment", "kept");
	reopen(&s);
	for (uint32_t uid = 1; uid <= 5; uid++) {
		store_note(&s, "INBOX", uid, uid, "/comment", "longer than it was");
		if (uid == 3)
			store_expunge(&s, "INBOX", 2, 2);
		crash(&s);
		/* As long as nobody asked, none of it is in memory. */
		cv_user_usage(s.user, &usage);
		assert_true(usage.notes <= 5 * octets_of("/comment", "longer than it was"));
	}
	expect_octets(&s, "INBOX", 4 * octets_of("/comment", "longer than it was"), 4 * octets_of("/comment", "longer than it was"));
	assert_int_equal(store_log_errors(), 0);
	store_deinit(&s);
}

static void put_le(char *to, uint64_t n, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (char)(uint8_t)(n >> (8 * i));
}

/* The state as a server wrote it that knew of no sums: format 3, without the bit, and without the number of each of the 5 mailboxes at the end. */
static void make_old_state(struct store *s, const uint8_t guid[16])
{
	const size_t numbers = 5 * 8, bits_behind_guid = 16 + 9 * 4 + 3 * 8;
	struct disk disk;

	disk_read(s, &disk);
	for (size_t i = 0; i < disk.files.count; i++) {
		const struct disk_file *file = &disk.files.data[i];
		size_t at = cv_str_find_str(file->octets, cv_str_mem(guid, 16)), len = file->octets.len - numbers;
		char *copy;

		if (strcmp(file->name, "state.old") == 0)
			disk_remove_file(s, file->name);
		if (strcmp(file->name, "state") != 0)
			continue;
		copy = cv_arena_alloc(*s->state, file->octets.len);
		memcpy(copy, file->octets.ptr, file->octets.len);
		assert_int_equal(copy[8], 4);
		assert_true(at != SIZE_MAX && (copy[at + bits_behind_guid] & 8) != 0);
		copy[at + bits_behind_guid] = (char)(copy[at + bits_behind_guid] & ~8);
		put_le(copy + 8, 3, 4);
		put_le(copy + 16, len - 24, 8);
		put_le(copy + 12, cv_crc32c(cv_crc32c(0, copy + 8, 4), copy + 24, len - 24), 4);
		disk_put_file(s, file->name, cv_str_mem(copy, len));
	}
	disk_free(&disk);
}

static void a_state_of_before_the_sums_is_read(void **state)
{
	const uint64_t all = 2 * octets_of("/comment", "x");
	struct cv_mailbox *inbox;
	uint8_t guid[16];
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	store_note(&s, "INBOX", 1, 2, "/comment", "x");
	inbox = store_get(&s, "INBOX");
	memcpy(guid, cv_mailbox_guid(inbox), sizeof(guid));
	cv_mailbox_unref(&inbox);
	store_close(&s);
	make_old_state(&s, guid);
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	assert_true(inbox->counts.notes_unknown);
	cv_mailbox_unref(&inbox);
	expect_octets(&s, "INBOX", all, all);
	reopen(&s);
	inbox = store_get(&s, "INBOX");
	assert_false(inbox->counts.notes_unknown);
	assert_int_equal(inbox->counts.notes, all);
	assert_null(inbox->columns);
	cv_mailbox_unref(&inbox);
	assert_int_equal(store_log_errors(), 0);
	store_deinit(&s);
}

/* A count that is wrong is found by who counts one by one. */
static void a_wrong_sum_is_counted_anew(void **state)
{
	const uint64_t all = octets_of("/comment", "x");
	struct cv_mailbox *inbox;
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_note(&s, "INBOX", 1, 1, "/comment", "x");
	inbox = store_get(&s, "INBOX");
	inbox->counts.notes++;
	assert_int_equal(cv_mailbox_verify(inbox, &err), 0);
	assert_int_equal(cv_mailbox_verify(inbox, &err), 1);
	cv_mailbox_unref(&inbox);
	expect_octets(&s, "INBOX", all, all);
	store_deinit(&s);
}

/* What an operation brings and takes away, as a hook of the commit is told. */
static void octets_of_a_transaction_are_told(void **state)
{
	const struct cv_note note = { CV_STR("/comment"), false, CV_STR("12345") };
	const struct cv_notes_change change = { .notes = &note, .count = 1 };
	const uint64_t before = octets_of("/comment", "x"), after = octets_of("/comment", "12345");
	struct cv_mailbox *inbox, *sent;
	struct cv_ranges uids = { 0 };
	struct cv_txn_op op;
	struct cv_txn *txn;
	struct cv_err err = { 0 };
	uint64_t in, out;
	size_t pos = 0;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 3; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_note(&s, "INBOX", 1, 2, "/comment", "x");
	inbox = store_get(&s, "INBOX");
	sent = store_get(&s, "Sent");
	cv_ranges_add(&uids, 2, 3);
	txn = cv_txn_begin(s.user);
	assert_ok(cv_txn_notes(txn, inbox, &uids, &change, NULL, NULL, &err));
	assert_ok(cv_txn_copy(txn, inbox, &uids, sent, false, NULL, NULL, &err));
	assert_ok(cv_txn_expunge(txn, inbox, &uids, &err));
	assert_true(cv_txn_next(txn, &pos, &op));
	assert_ok(cv_txn_notes_octets(txn, &op, &in, &out, &err));
	assert_int_equal(in, 2 * after);
	assert_int_equal(out, before);
	assert_true(cv_txn_next(txn, &pos, &op));
	assert_ok(cv_txn_notes_octets(txn, &op, &in, &out, &err));
	assert_int_equal(in, before);
	assert_int_equal(out, 0);
	assert_true(cv_txn_next(txn, &pos, &op));
	assert_ok(cv_txn_notes_octets(txn, &op, &in, &out, &err));
	assert_int_equal(in, 0);
	assert_int_equal(out, before);
	cv_txn_rollback(&txn);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
	cv_mailbox_unref(&sent);
	store_deinit(&s);
}

/* Each octet of the part that holds them. */
static void damage_in_a_snapshot_is_mended_from_the_older_one(void **state)
{
	const char *before;
	struct disk disk;
	uint64_t seed = 5;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 20; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_note(&s, "INBOX", 1, 20, "/comment", "shared by all");
	store_close(&s);
	store_open(&s);
	store_note(&s, "INBOX", 3, 7, "/comment priv", "mine");
	store_note(&s, "INBOX", 9, 9, "/comment", NULL);
	before = store_dump_all(&s, ALL);
	store_close(&s);
	disk_read(&s, &disk);
	for (size_t i = 0; i < disk.files.count; i++) {
		const struct disk_file *file = &disk.files.data[i];
		size_t at = cv_str_find_str(file->octets, CV_STR("shared by all"));

		if (strncmp(file->name, "box.", 4) != 0 || strstr(file->name, ".old") != NULL || at == SIZE_MAX)
			continue;
		for (unsigned n = 0; n < 200; n++) {
			size_t where = at + next_random(&seed, (uint32_t)(file->octets.len - at));
			char *copy = cv_arena_alloc(*state, file->octets.len);

			disk_write(&s, &disk);
			memcpy(copy, file->octets.ptr, file->octets.len);
			copy[where] = (char)(copy[where] ^ 0x20);
			disk_put_file(&s, file->name, cv_str_mem(copy, file->octets.len));
			store_open(&s);
			assert_same_dump(store_dump_all(&s, ALL), before);
			store_close(&s);
		}
	}
	disk_free(&disk);
	store_open(&s);
	store_deinit(&s);
}

/* Rows that are lost with their snapshots come back from the storage: what the journal says of their annotations is still theirs. */
static void messages_that_are_found_again_have_what_the_journal_says(void **state)
{
	struct disk disk;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < 3; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	store_open(&s);
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	store_close(&s);
	store_open(&s);
	store_set_sizes(&s, 1 << 20, 1 << 20);
	store_note(&s, "INBOX", 2, 3, "/comment", "kept");
	store_note(&s, "INBOX", 3, 3, "/comment", NULL);
	disk_read(&s, &disk);
	store_close(&s);
	disk_write(&s, &disk);
	for (size_t i = 0; i < disk.files.count; i++) {
		if (strncmp(disk.files.data[i].name, "box.", 4) == 0)
			disk_remove_file(&s, disk.files.data[i].name);
	}
	disk_free(&disk);
	for (int i = 0; i < 3; i++) {
		store_open(&s);
		assert_string_equal(store_notes(&s, "INBOX", 2), "/comment=kept");
		assert_string_equal(store_notes(&s, "INBOX", 3), "");
		store_close(&s);
	}
	store_open(&s);
	store_deinit(&s);
}

/* Many messages: memory and octets in the journal are in proportion to what is said of them. */
static void many_annotated_messages_cost_what_they_hold(void **state)
{
	enum { MESSAGES = 3000 };
	uint64_t journal;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (int i = 0; i < MESSAGES; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	store_open(&s);
	journal = disk_journal_size(&s);
	store_note(&s, "INBOX", 1, MESSAGES, "/comment", "the same for all");
	assert_true(disk_journal_size(&s) < journal + 400); /* said once */
	reopen(&s);
	assert_string_equal(store_notes(&s, "INBOX", MESSAGES), "/comment=the same for all");
	assert_int_equal(s.user->names.data[0]->mailbox->columns->notes->octets, MESSAGES * (4 + 8 + 4 + 4 + 16));
	store_expunge(&s, "INBOX", 1, MESSAGES);
	assert_int_equal(s.user->names.data[0]->mailbox->columns->notes->octets, 0);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(entries_keep_their_order_and_private_ones_come_first),
		cv_test(a_value_is_any_octets_and_empty_is_not_absent),
		cv_test(a_change_gives_a_modseq_and_the_same_again_does_not),
		cv_test(unchangedsince_leaves_changed_messages_alone),
		cv_test(expunge_drops_them_and_copies_keep_them),
		cv_test(a_message_is_saved_with_them),
		cv_test(limits_refuse_and_leave_all_as_it_was),
		cv_test(names_that_cannot_be_are_refused),
		cv_test(formats_are_raised_only_where_there_are_any),
		cv_test(octets_follow_every_change),
		cv_test(octets_are_those_of_the_journal_after_a_crash),
		cv_test(a_state_of_before_the_sums_is_read),
		cv_test(a_wrong_sum_is_counted_anew),
		cv_test(octets_of_a_transaction_are_told),
		cv_test(damage_in_a_snapshot_is_mended_from_the_older_one),
		cv_test(messages_that_are_found_again_have_what_the_journal_says),
		cv_test(many_annotated_messages_cost_what_they_hold),
	};

	return store_tests_run(tests);
}
