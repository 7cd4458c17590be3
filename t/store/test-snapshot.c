/* SPDX-License-Identifier: MIT
   Snapshots, state and the folding of the journal, over sdbox, without an event loop. */
#include <config.h>

#include "t/store/store-disk.h"

#include <stdio.h>

#define MAIL "From: a@example.org\r\nSubject: one\r\n\r\nHello\r\n"
#define ALL (DUMP_NUMBERS | DUMP_OCTETS | DUMP_MODSEQS)

static const char *const words[] = { NULL, "$Work", "$Junk", "todo", "later" };
static const char *const boxes[] = { "INBOX", "Sent", "lists/a", "lists/b" };

static uint32_t uidnext(struct store *s, const char *name)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	uint32_t uid = mailbox->uidnext;

	cv_mailbox_unref(&mailbox);
	return uid;
}

static void copy(struct store *s, const char *from, uint32_t uid, const char *to, bool move)
{
	struct cv_mailbox *source = store_get(s, from), *target = store_get(s, to);
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, uid, uid);
	if (cv_txn_copy(txn, source, &uids, target, move, NULL, NULL, &err) < 0)
		cv_txn_rollback(&txn);
	else
		assert_ok(cv_txn_commit_wait(&txn, &err));
	cv_ranges_free(&uids);
	cv_mailbox_unref(&source);
	cv_mailbox_unref(&target);
}

static void one_change(struct store *s, uint64_t *seed)
{
	const char *name = boxes[next_random(seed, CV_COUNT_OF(boxes))], *other = boxes[next_random(seed, CV_COUNT_OF(boxes))];
	const char *word = words[next_random(seed, CV_COUNT_OF(words))];
	uint32_t end = uidnext(s, name), first = 1 + next_random(seed, end), last = first + next_random(seed, 4);
	struct cv_err err = { 0 };
	char mail[200];

	switch (next_random(seed, 10)) {
	case 0:
	case 1:
	case 2:
		(void)snprintf(mail, sizeof(mail), MAIL "%u\r\n", next_random(seed, 1000000));
		store_save_keyword(s, name, mail, (uint16_t)next_random(seed, 32), word);
		break;
	case 3:
		store_expunge(s, name, first, first);
		break;
	case 4:
		copy(s, name, first, other, next_random(seed, 2) == 0);
		break;
	case 5:
		assert_ok(cv_mailbox_subscribe(s->user, cv_str_c(other), next_random(seed, 2) == 0, &err));
		break;
	case 6:
		change_annotation(s, seed, name);
		break;
	case 7:
		change_notes(s, seed, name, first);
		break;
	default:
		store_flags(s, name, first, last, (enum cv_flags_op)next_random(seed, 3), (uint16_t)next_random(seed, 32), word);
		break;
	}
}

static void make_boxes(struct store *s)
{
	struct cv_err err = { 0 };

	for (size_t i = 2; i < CV_COUNT_OF(boxes); i++)
		assert_ok(cv_mailbox_create(s->user, cv_str_c(boxes[i]), 0, &err));
}

static void changes(struct store *s, uint64_t *seed, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		one_change(s, seed);
}

/* What was there before the user was closed is there when it is opened: with any sizes, so that all of it comes from snapshots, all of it from the
   journal, or some from each. */
static void whatever_was_done_is_there_after_reopen(void **state)
{
	const struct {
		uint64_t segment, snapshot_min;
	} sizes[] = { { 4 << 20, 64 << 10 }, { 8192, 1 }, { 8192, 1 << 20 }, { 65536, 2000 }, { 4 << 20, 1 } };
	const char *before;

	for (size_t row = 0; row < CV_COUNT_OF(sizes); row++) {
		uint64_t seed = 7 + row;
		struct store s;

		store_init(&s, state);
		s.dir = cv_arena_printf(*state, "%s/%zu", s.dir, row);
		store_open(&s);
		store_set_sizes(&s, sizes[row].segment, sizes[row].snapshot_min);
		make_boxes(&s);
		for (unsigned round = 0; round < 12; round++) {
			changes(&s, &seed, 1 + next_random(&seed, 60));
			before = store_dump_all(&s, ALL);
			store_close(&s);
			store_open(&s);
			store_set_sizes(&s, sizes[row].segment, sizes[row].snapshot_min);
			assert_same_dump(store_dump_all(&s, ALL), before);
		}
		store_deinit(&s);
	}
}

static void only_what_is_behind_is_read(void **state)
{
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (unsigned i = 0; i < 300; i++)
		store_save(&s, "INBOX", MAIL, 0);
	for (unsigned i = 0; i < 300; i++)
		store_flags(&s, "INBOX", 1 + i, 1 + i, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	store_close(&s);
	store_open(&s);
	assert_int_equal(s.user->replayed, 0);
	assert_non_null(store_dump(&s, "INBOX"));
	assert_int_equal(s.user->replayed, 0);
	store_deinit(&s);
}

/* A process that was killed wrote no state: what it did is read again, what came before is not. */
static void after_a_crash_only_the_last_records_are_read(void **state)
{
	struct store s;
	struct disk disk;
	const char *before;

	store_init(&s, state);
	store_open(&s);
	for (unsigned i = 0; i < 200; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	store_open(&s);
	for (unsigned i = 0; i < 7; i++)
		store_flags(&s, "INBOX", 1 + i, 1 + i, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	before = store_dump_all(&s, ALL);
	disk_read(&s, &disk);
	store_close(&s);
	disk_write(&s, &disk);
	store_open(&s);
	assert_int_equal(s.user->replayed, 7);
	assert_same_dump(store_dump_all(&s, ALL), before);
	assert_int_equal(s.user->replayed, 14); /* once for the counts, once for the rows */
	disk_free(&disk);
	store_deinit(&s);
}

static void the_journal_stays_short_under_changes(void **state)
{
	struct store s;
	const char *before;
	uint64_t most = 0;

	store_init(&s, state);
	store_open(&s);
	store_set_sizes(&s, 8192, 2048);
	for (unsigned i = 0; i < 20; i++)
		store_save(&s, i % 2 == 0 ? "INBOX" : "Sent", MAIL, 0);
	store_save(&s, "Drafts", MAIL, 0); /* one record that must not keep the journal alive */
	for (unsigned i = 0; i < 4000; i++) {
		store_flags(&s, i / 2 % 3 == 0 ? "Sent" : "INBOX", 1 + i / 2 % 10, 1 + i / 2 % 10,
			i % 2 == 0 ? CV_FLAGS_ADD : CV_FLAGS_REMOVE, CV_FLAG_FLAGGED, NULL);
		if (i % 100 == 0)
			most = CV_MAX(most, disk_journal_size(&s));
	}
	assert_true(s.user->journal.seq > 4000);
	assert_true(most <= 6 * 8192);
	before = store_dump_all(&s, ALL);
	store_close(&s);
	store_open(&s);
	assert_same_dump(store_dump_all(&s, ALL), before);
	store_deinit(&s);
}

/* Parse records lie in the journal at first: they move before it is dropped. */
static void parse_records_outlive_the_journal(void **state)
{
	struct cv_mailbox *inbox;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_set_sizes(&s, 4096, 1);
	for (unsigned i = 0; i < 200; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	store_open(&s);
	inbox = store_get(&s, "INBOX");
	assert_non_null(store_dump_all(&s, DUMP_OCTETS));
	assert_int_equal(inbox->dirty, 0); /* nothing was parsed again */
	assert_int_equal(disk_count(&s, "cache."), 1);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

/* Parse records of messages that are gone do not stay for ever. */
static void the_cache_file_stays_small_under_churn(void **state)
{
	char mail[8000] = "Subject: long\r\nTo: a@example.org";
	struct disk disk;
	struct store s;
	uint64_t size = 0;

	store_init(&s, state);
	store_open(&s);
	store_set_sizes(&s, 65536, 1);
	while (strlen(mail) < sizeof(mail) - 200)
		(void)snprintf(mail + strlen(mail), sizeof(mail) - strlen(mail), ",\r\n abcdefgh%zu@example.org", strlen(mail));
	(void)snprintf(mail + strlen(mail), sizeof(mail) - strlen(mail), "\r\n\r\nbody\r\n");
	for (unsigned i = 0; i < 600; i++) {
		uint32_t uid = store_save(&s, "INBOX", mail, 0);

		if (uid > 10)
			store_expunge(&s, "INBOX", uid - 10, uid - 10);
	}
	disk_read(&s, &disk);
	for (size_t i = 0; i < disk.files.count; i++) {
		if (strncmp(disk.files.data[i].name, "cache.", 6) == 0)
			size += disk.files.data[i].octets.len;
	}
	disk_free(&disk);
	assert_in_range(size, 65536, 2 << 20);
	store_close(&s);
	store_open(&s);
	assert_non_null(store_dump_all(&s, DUMP_OCTETS));
	{
		struct cv_mailbox *inbox = store_get(&s, "INBOX");

		assert_int_equal(inbox->dirty, 0); /* nothing was parsed again */
		cv_mailbox_unref(&inbox);
	}
	store_deinit(&s);
}

static void a_deleted_mailbox_leaves_no_files(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_mailbox_create(s.user, CV_STR("gone"), 0, &err));
	store_save(&s, "gone", MAIL, 0);
	store_close(&s);
	store_open(&s);
	assert_int_equal(disk_count(&s, "box."), 1);
	assert_ok(cv_mailbox_delete(s.user, CV_STR("gone"), &err));
	assert_int_equal(disk_count(&s, "box."), 0);
	assert_int_equal(disk_count(&s, "cache."), 0);
	store_deinit(&s);
}

/* A mailbox whose snapshot is not read as a whole: 12,000 messages with gaps in their UIDs. */
static const char *make_long(struct store *s)
{
	struct cv_err err = { 0 };
	struct cv_mailbox *source, *target;
	struct cv_ranges uids = { 0 };
	struct cv_view *view;

	assert_ok(cv_mailbox_create(s->user, CV_STR("lists/a"), 0, &err));
	for (unsigned i = 0; i < 200; i++)
		store_save(s, "INBOX", MAIL, 0);
	source = store_get(s, "INBOX");
	target = store_get(s, "lists/a");
	cv_ranges_add(&uids, 1, 200);
	for (unsigned i = 0; i < 60; i++) {
		struct cv_txn *txn = cv_txn_begin(s->user);

		assert_ok(cv_txn_copy(txn, source, &uids, target, false, NULL, NULL, &err));
		assert_ok(cv_txn_commit_wait(&txn, &err));
	}
	cv_ranges_free(&uids);
	cv_mailbox_unref(&source);
	cv_mailbox_unref(&target);
	store_expunge(s, "lists/a", 1, 1);
	store_expunge(s, "lists/a", 4000, 4300);
	store_expunge(s, "lists/a", 5000, 5000);
	store_flags(s, "lists/a", 4400, 4500, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
	target = store_get(s, "lists/a");
	assert_ok(cv_view_open(target, 0, &view, &err)); /* they are recent no more */
	cv_view_close(&view);
	cv_mailbox_unref(&target);
	return store_dump_all(s, DUMP_NUMBERS | DUMP_MODSEQS);
}

static uint32_t chunks_of(const struct cv_snapshot *snapshot)
{
	return (snapshot->head.rows + CV_CHUNK_ROWS - 1) / CV_CHUNK_ROWS;
}

static uint32_t made_chunks(const struct cv_snapshot *snapshot)
{
	uint32_t made = 0;

	for (uint32_t chunk = 0; chunk < chunks_of(snapshot); chunk++)
		made += snapshot->checked[CV_COLUMN_uid][chunk] != 0;
	return made;
}

static void uids_of_a_long_snapshot_are_made_of_its_runs(void **state)
{
	struct cv_err err = { 0 };
	struct cv_mailbox *mailbox;
	const struct cv_snapshot *snapshot;
	struct cv_view *view;
	const char *before;
	uint32_t made;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	before = make_long(&s);
	store_close(&s);
	store_open(&s);
	mailbox = store_get(&s, "lists/a");
	assert_ok(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err));
	snapshot = mailbox->columns->base;
	assert_non_null(snapshot->runs);
	assert_int_equal(snapshot->head.runs_count, 3);
	made = made_chunks(snapshot);
	assert_true(made < chunks_of(snapshot));
	assert_int_equal(cv_view_count(view), 11697);
	assert_int_equal(cv_view_seq_from(view, 1), 1);
	assert_int_equal(cv_view_seq_from(view, 3999), 3998);
	assert_int_equal(cv_view_seq_from(view, 4000), 3999);
	assert_int_equal(cv_view_seq_from(view, 4301), 3999);
	assert_int_equal(cv_view_seq_from(view, 12000), 11697);
	assert_int_equal(cv_view_seq_from(view, 12001), 11698);
	assert_int_equal(made_chunks(snapshot), made);
	assert_int_equal(cv_view_uid(view, 3998), 3999);
	assert_int_equal(cv_view_uid(view, 3999), 4301);
	assert_int_equal(cv_view_seq(view, 5000), 0);
	assert_int_equal(cv_view_seq(view, 5001), 4698);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	assert_same_dump(store_dump_all(&s, DUMP_NUMBERS | DUMP_MODSEQS), before);
	store_deinit(&s);
}

static unsigned chunks_in_state(const struct cv_snapshot *snapshot, enum cv_column column, uint8_t chunk_state)
{
	unsigned count = 0;

	for (uint32_t chunk = 0; chunk < chunks_of(snapshot); chunk++)
		count += snapshot->checked[column][chunk] == chunk_state;
	return count;
}

/* All that a command over the whole mailbox could read. */
static void touch_all(const struct cv_columns *columns)
{
	for (uint32_t row = 0; row < columns->count; row += CV_CHUNK_ROWS) {
#define X(name, type) (void)cv_col_##name(columns, row);
		CV_COLUMN_LIST(X)
#undef X
	}
}

static void memory_of_a_long_snapshot_is_given_back(void **state)
{
	struct cv_err err = { 0 };
	struct cv_mailbox *mailbox;
	const struct cv_snapshot *snapshot;
	struct cv_view *view;
	const char *before;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	(void)make_long(&s);
	store_close(&s);
	store_open(&s);
	mailbox = store_get(&s, "lists/a");
	assert_ok(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err));
	store_flags(&s, "lists/a", 6000, 6001, CV_FLAGS_ADD, CV_FLAG_FLAGGED, NULL);
	snapshot = mailbox->columns->base;
	touch_all(mailbox->columns);
	cv_view_rest(view);
	for (unsigned i = 0; i < CV_COLUMNS; i++)
		assert_int_equal(chunks_in_state(snapshot, (enum cv_column)i, CV_CHUNK_CHECKED), 0);
	/* What was written since is in no file yet. */
	assert_int_equal(chunks_in_state(snapshot, CV_COLUMN_flags, CV_CHUNK_WRITTEN), 1);
	assert_int_equal(chunks_in_state(snapshot, CV_COLUMN_modseq, CV_CHUNK_WRITTEN), 1);
	/* What a command that looks at a few messages has read stays. */
	(void)cv_col_date(mailbox->columns, 0);
	cv_view_rest(view);
	assert_int_equal(snapshot->checked[CV_COLUMN_date][0], CV_CHUNK_CHECKED);
	before = store_dump_all(&s, DUMP_NUMBERS | DUMP_MODSEQS);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
	store_close(&s);
	store_open(&s);
	assert_same_dump(store_dump_all(&s, DUMP_NUMBERS | DUMP_MODSEQS), before);
	store_deinit(&s);
}

/* Where the head says where the runs are: behind the places of all else. */
#define AT_RUNS (24 + 16 + 8 + 4 * 2 + 4 * 9 + 8 * 3 + 1 + 4 + 12 * CV_COLUMNS + 16 + 20 + 20 + 24)

static uint64_t number_at(struct cv_str octets, size_t at)
{
	uint64_t n = 0;

	for (unsigned i = 8; i > 0; i--)
		n = n << 8 | (uint8_t)octets.ptr[at + i - 1];
	return n;
}

static const struct disk_file *longest_snapshot(const struct disk *disk)
{
	const struct disk_file *longest = NULL;

	for (size_t i = 0; i < disk->files.count; i++) {
		const struct disk_file *file = &disk->files.data[i];

		if (strncmp(file->name, "box.", 4) == 0 && (longest == NULL || file->octets.len > longest->octets.len))
			longest = file;
	}
	assert_non_null(longest);
	return longest;
}

/* The snapshot of the mailbox, changed by fn, is what the next opening finds. */
static void with_snapshot(struct store *s, const char *before, void (*fn)(char *octets, struct cv_str file), bool is_read)
{
	struct cv_mailbox *mailbox;
	const struct disk_file *file;
	struct disk disk;
	char *octets;

	store_close(s);
	disk_read(s, &disk);
	file = longest_snapshot(&disk);
	octets = cv_malloc(file->octets.len);
	memcpy(octets, file->octets.ptr, file->octets.len);
	fn(octets, file->octets);
	disk_put_file(s, file->name, cv_str_mem(octets, file->octets.len));
	cv_free(octets);
	disk_free(&disk);
	store_open(s);
	assert_same_dump(store_dump_all(s, DUMP_NUMBERS | DUMP_MODSEQS), before);
	mailbox = store_get(s, "lists/a");
	assert_int_equal(mailbox->rewrite, !is_read);
	if (is_read)
		assert_null(mailbox->columns->base->runs);
	cv_mailbox_unref(&mailbox);
	store_deinit(s);
}

static void without_runs(char *octets, struct cv_str file)
{
	uint32_t crc;

	assert_int_equal(number_at(file, AT_RUNS) % 8, 0);
	memset(octets + AT_RUNS, 0, 16);
	crc = cv_crc32c(0, octets, CV_SNAPSHOT_HEAD - 4);
	for (unsigned i = 0; i < 4; i++)
		octets[CV_SNAPSHOT_HEAD - 4 + i] = (char)(uint8_t)(crc >> (8 * i));
}

static void harm_runs(char *octets, struct cv_str file)
{
	octets[number_at(file, AT_RUNS)] ^= 1;
}

static void a_snapshot_from_before_runs_is_read(void **state)
{
	const char *before;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	before = make_long(&s);
	with_snapshot(&s, before, without_runs, true);
}

static void harmed_runs_are_found_and_mended(void **state)
{
	const char *before;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	before = make_long(&s);
	with_snapshot(&s, before, harm_runs, false);
}

static void expunged_uids_are_told_after_reopen(void **state)
{
	struct cv_ranges uids = { 0 };
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_err err = { 0 };
	struct store s;
	uint64_t modseq;

	store_init(&s, state);
	store_open(&s);
	for (unsigned i = 0; i < 10; i++)
		store_save(&s, "INBOX", MAIL, 0);
	store_expunge(&s, "INBOX", 2, 2);
	modseq = s.user->published_seq;
	store_expunge(&s, "INBOX", 5, 6);
	for (unsigned i = 0; i < 2; i++) {
		store_close(&s);
		store_open(&s);
		inbox = store_get(&s, "INBOX");
		assert_ok(cv_view_open(inbox, CV_VIEW_READONLY, &view, &err));
		assert_true(cv_view_vanished(view, modseq, &uids));
		assert_int_equal(uids.count, 1);
		assert_int_equal(uids.data[0].first, 5);
		assert_int_equal(uids.data[0].last, 6);
		cv_ranges_free(&uids);
		cv_view_close(&view);
		cv_mailbox_unref(&inbox);
		store_flags(&s, "INBOX", 1, 1, i == 0 ? CV_FLAGS_ADD : CV_FLAGS_REMOVE, CV_FLAG_SEEN, NULL);
	}
	store_deinit(&s);
}

/* Was the state written when the user was closed? */
static bool close_writes(struct store *s)
{
	struct disk before, after;

	disk_read(s, &before);
	store_close(s);
	disk_read(s, &after);
	bool same = cv_str_eq(disk_find(&before, "state")->octets, disk_find(&after, "state")->octets);
	disk_free(&before);
	disk_free(&after);
	return !same;
}

static void few_changes_stay_in_the_journal_at_close(void **state)
{
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	s.leave_records = true;
	store_open(&s);
	const uint64_t limit = s.user->set->mail_journal_close_records;
	assert_false(s.user->journal.unsynced); /* nothing is behind a state that was written after a sync */
	assert_false(close_writes(&s));
	uint32_t saves = 0;
	bool wrote = false;
	for (uint64_t records = 1; !wrote; records += 2) { /* each close says in a record that the message's file is made */
		store_open(&s);
		assert_int_equal(uidnext(&s, "INBOX"), ++saves + 1);
		store_save(&s, "INBOX", MAIL, 0);
		wrote = close_writes(&s);
		assert_true(wrote == (records >= limit));
	}
	/* What memory must have on disk is written however little it is. */
	store_open(&s);
	s.user->state_dirty = true;
	store_save(&s, "INBOX", MAIL, 0);
	assert_true(close_writes(&s));
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_false(close_writes(&s));
	store_open(&s);
	assert_true(s.user->journal.unsynced);
	assert_int_equal(uidnext(&s, "INBOX"), saves + 4);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(whatever_was_done_is_there_after_reopen),
		cv_test(only_what_is_behind_is_read),
		cv_test(after_a_crash_only_the_last_records_are_read),
		cv_test(the_journal_stays_short_under_changes),
		cv_test(parse_records_outlive_the_journal),
		cv_test(the_cache_file_stays_small_under_churn),
		cv_test(a_deleted_mailbox_leaves_no_files),
		cv_test(expunged_uids_are_told_after_reopen),
		cv_test(uids_of_a_long_snapshot_are_made_of_its_runs),
		cv_test(memory_of_a_long_snapshot_is_given_back),
		cv_test(a_snapshot_from_before_runs_is_read),
		cv_test(harmed_runs_are_found_and_mended),
		cv_test(few_changes_stay_in_the_journal_at_close),
	};

	return store_tests_run(tests);
}
