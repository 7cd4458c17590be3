/* SPDX-License-Identifier: MIT
   Copies of the journal's segments: what happens to them and to what they stand in for while the user is open. That any one file may be lost is
   in test-damage.c. */
#include <config.h>

#include "t/store/store-disk.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define MAIL "Subject: x\r\n\r\nx\r\n"
#define SEGMENT "journal.0000000000000001"
#define COPY "copy.0000000000000001"

static const struct disk_file *file_of(const struct disk *disk, const char *name)
{
	const struct disk_file *file = disk_find(disk, name);

	assert_non_null(file);
	return file;
}

static void assert_copied(struct store *s)
{
	struct disk disk = { 0 };
	const struct disk_file *segment, *copy;

	disk_read(s, &disk);
	segment = file_of(&disk, SEGMENT);
	copy = file_of(&disk, COPY);
	assert_int_equal(copy->octets.len, segment->octets.len);
	assert_memory_equal(copy->octets.ptr, segment->octets.ptr, segment->octets.len);
	disk_free(&disk);
}

static void begin_with(struct store *s, void **state, bool files_first)
{
	store_init(s, state);
	store_open(s);
	if (files_first)
		store_set_files_first(s);
	store_save(s, "INBOX", MAIL, 0);
	store_save(s, "Drafts", MAIL, CV_FLAG_SEEN);
	store_flags(s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_FLAGGED, "Word");
	assert_copied(s);
}

static void begin(struct store *s, void **state)
{
	begin_with(s, state, false);
}

/* As after kill -9: what is on disk now is there when it is opened again. */
static void reopen_killed(struct store *s)
{
	struct disk disk = { 0 };

	disk_read(s, &disk);
	store_close(s);
	disk_write(s, &disk);
	disk_free(&disk);
	store_open(s);
}

static void it_goes_on_where_it_was(void **state)
{
	struct store s;

	begin(&s, state);
	reopen_killed(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	store_close(&s);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	store_deinit(&s);
}

/* A copy that a crash left shorter, that was removed, that is something else: the next write makes it anew. */
static void one_that_is_not_as_long_is_made_anew(void **state)
{
	const struct cv_str others[] = { CV_STR(""), CV_STR("CVSJRNL1"), cv_str_mem(NULL, 0) };
	struct store s;

	begin(&s, state);
	for (size_t i = 0; i < CV_COUNT_OF(others); i++) {
		if (others[i].ptr != NULL)
			disk_put_file(&s, COPY, others[i]);
		else
			disk_remove_file(&s, COPY);
		reopen_killed(&s);
		store_save(&s, "INBOX", MAIL, 0);
		assert_copied(&s);
	}
	store_expect(&s, "INBOX", "1 F Word|2 -|3 -|4 -");
	store_deinit(&s);
}

/* The file is removed or changed under a session that is open, and the server is killed later. */
static void what_happens_to_the_segment_of_an_open_user_loses_nothing(void **state)
{
	for (unsigned harm = 0; harm < 3; harm++) {
		struct disk disk = { 0 };
		struct store s;

		begin(&s, state);
		disk_read(&s, &disk);
		if (harm == 0)
			disk_remove_file(&s, SEGMENT);
		else
			disk_put_file(&s, SEGMENT, harm == 1 ? CV_STR("") : cv_str_sub(file_of(&disk, SEGMENT)->octets, 0, 200));
		disk_free(&disk);
		store_save(&s, "INBOX", MAIL, CV_FLAG_ANSWERED);
		store_flags(&s, "Drafts", 1, 1, CV_FLAGS_ADD, CV_FLAG_DRAFT, NULL);
		reopen_killed(&s);
		store_expect(&s, "INBOX", "1 F Word|2 A");
		store_expect(&s, "Drafts", "1 ST");
		assert_int_equal(disk_count(&s, ".damaged-"), harm == 0 ? 0 : 1);
		store_save(&s, "INBOX", MAIL, 0);
		assert_copied(&s);
		store_deinit(&s);
	}
}

/* A mailbox that is not loaded yet is read from the records: they come from the copy. (With messages' octets in them it is loaded when the user is opened, to make
   their files.) */
static void records_that_are_read_later_come_from_it(void **state)
{
	struct disk disk = { 0 };
	struct store s;
	char *octets;
	size_t len;

	begin_with(&s, state, true);
	store_set_sizes(&s, 1 << 20, 1 << 20);
	reopen_killed(&s);
	disk_read(&s, &disk);
	len = file_of(&disk, SEGMENT)->octets.len;
	octets = cv_arena_alloc(*state, len);
	memcpy(octets, file_of(&disk, SEGMENT)->octets.ptr, len);
	for (size_t at = CV_SEGMENT_HEAD; at < len; at += 40)
		octets[at] = (char)(octets[at] ^ 1);
	disk_put_file(&s, SEGMENT, cv_str_mem(octets, len));
	disk_free(&disk);
	store_expect(&s, "INBOX", "1 F Word");
	store_expect(&s, "Drafts", "1 S");
	/* The file is whole again, and goes on to be written. */
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 F Word|2 -");
	store_deinit(&s);
}

/* Writing goes on where it was: what can't be made as long as it was is left for the repair from memory, and nothing behind it is taken along. */
static void the_segment_that_is_written_to_keeps_its_length(void **state)
{
	struct disk disk = { 0 };
	struct cv_err err = { 0 };
	uint64_t end;
	struct store s;
	char *octets;
	size_t len;

	begin(&s, state);
	end = cv_journal_end_pos(&s.user->journal).offset;
	disk_read(&s, &disk);
	len = file_of(&disk, SEGMENT)->octets.len;
	assert_int_equal(len, end);
	/* Both end too soon, the segment before the copy. */
	disk_put_file(&s, SEGMENT, cv_str_sub(file_of(&disk, SEGMENT)->octets, 0, CV_SEGMENT_HEAD));
	disk_put_file(&s, COPY, cv_str_sub(file_of(&disk, COPY)->octets, 0, len - 8));
	assert_int_equal(cv_journal_restore(&s.user->journal, 1, &err), 0);
	assert_int_equal(cv_journal_end_pos(&s.user->journal).offset, end);
	/* The segment is damaged, and there are octets behind it. */
	octets = cv_arena_alloc(*state, len + 64);
	memcpy(octets, file_of(&disk, SEGMENT)->octets.ptr, len);
	memset(octets + CV_SEGMENT_HEAD, 'x', 8);
	memset(octets + len, 'y', 64);
	disk_put_file(&s, SEGMENT, cv_str_mem(octets, len + 64));
	disk_put_file(&s, COPY, file_of(&disk, COPY)->octets);
	disk_free(&disk);
	assert_int_equal(cv_journal_restore(&s.user->journal, 1, &err), 1);
	assert_int_equal(cv_journal_end_pos(&s.user->journal).offset, end);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 F Word|2 -");
	store_deinit(&s);
}

struct failing {
	const char *name; /* what files that can't be opened are called, or begin with */
	unsigned failed;
};

static int fail_opening(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct failing *failing = ctx;

	(void)len;
	if (op != CV_FILE_OPEN || name == NULL || strncmp(name, failing->name, strlen(failing->name)) != 0 ||
		(strcmp(failing->name, COPY) == 0 && strcmp(name, COPY) != 0))
		return 0;
	failing->failed++;
	return EIO;
}

/* The device fails there: another file is the copy from then on. */
static void another_file_takes_its_name(void **state)
{
	struct failing failing = { .name = COPY };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	cv_file_set_fault(fail_opening, &failing);
	for (unsigned i = 0; i < 3; i++) {
		cv_file_close(&s.user->journal.copy_fd);
		store_save(&s, "INBOX", MAIL, 0);
	}
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(failing.failed, 3);
	assert_copied(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 -|2 -|3 -|4 -");
	store_deinit(&s);
}

struct full {
	unsigned writes; /* that still go through */
	size_t part;     /* octets of the one behind them that do too */
	bool begun;      /* no file can be opened for a copy */
	unsigned failed;
};

static int no_room(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct full *full = ctx;
	bool copy = op == CV_FILE_OPEN && name != NULL && strncmp(name, "copy.", 5) == 0;

	if (op == CV_FILE_WRITE && !full->begun && full->writes > 0) {
		full->writes--;
		return 0;
	}
	if (op != CV_FILE_WRITE ? !copy || !full->begun : full->begun)
		return 0;
	if (op == CV_FILE_WRITE)
		*len = CV_MIN(*len, full->part);
	full->failed++;
	return ENOSPC;
}

static int try_flags(struct store *s, uint32_t uid, uint16_t flags, struct cv_err *err)
{
	struct cv_mailbox *mailbox = store_get(s, "INBOX");
	const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = flags };
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_ranges uids = { 0 };
	struct cv_err err2 = { 0 };
	int ret;

	cv_ranges_add(&uids, uid, uid);
	assert_true(cv_txn_flags(txn, mailbox, &uids, &change, NULL, NULL, &err2) > 0);
	ret = cv_txn_commit_wait(&txn, err);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&mailbox);
	return ret;
}

/* No file can be opened for a copy, of a process without descriptors: changes are refused, and none is there later. */
static void without_any_copy_nothing_is_acknowledged(void **state)
{
	struct failing failing = { .name = "copy." };
	struct cv_err err = { 0 };
	struct store s;

	begin(&s, state);
	cv_file_close(&s.user->journal.copy_fd);
	cv_file_set_fault(fail_opening, &failing);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(try_flags(&s, 1, CV_FLAG_ANSWERED, &err), -1);
		assert_int_equal(err.code, CV_ERR_TEMP);
	}
	cv_file_set_fault(NULL, NULL);
	assert_copied(&s);
	store_expect(&s, "INBOX", "1 F Word");
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_DRAFT, NULL);
	assert_copied(&s);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 FT Word");
	store_deinit(&s);
}

/* Of no change that is acknowledged the segment is the only place: where there is room for that and not for the copy, it is refused, and comes back by neither. */
static void without_room_for_it_nothing_is_acknowledged(void **state)
{
	for (unsigned how = 0; how < 4; how++) {
		struct full full = { .writes = 1, .part = how < 2 ? 0 : 40, .begun = how % 2 == 1 };
		struct cv_err err = { 0 };
		struct disk disk = { 0 };
		struct store s;

		begin(&s, state);
		if (full.begun)
			cv_file_close(&s.user->journal.copy_fd);
		cv_file_set_fault(no_room, &full);
		assert_int_equal(try_flags(&s, 1, CV_FLAG_ANSWERED, &err), -1);
		assert_int_equal(err.code, CV_ERR_NOQUOTA);
		assert_int_equal(full.failed, 1);
		cv_file_set_fault(NULL, NULL);
		store_expect(&s, "INBOX", "1 F Word");
		if (!full.begun)
			assert_copied(&s);
		if (how < 2) { /* room again */
			store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_DRAFT, NULL);
			assert_copied(&s);
		}
		/* Without the segment, and without the copy. */
		disk_read(&s, &disk);
		store_close(&s);
		for (unsigned lost = 0; lost < 2; lost++) {
			disk_write(&s, &disk);
			disk_remove_file(&s, lost == 0 ? SEGMENT : COPY);
			store_open(&s);
			store_expect(&s, "INBOX", how < 2 ? "1 FT Word" : "1 F Word");
			store_close(&s);
		}
		disk_free(&disk);
		store_open(&s);
		store_deinit(&s);
	}
}

/* What memory becomes after a write that failed: all that was acknowledged, whatever happened to the segment. */
static void after_a_failed_write_a_harmed_segment_is_mended(void **state)
{
	for (unsigned harm = 0; harm < 4; harm++) {
		struct full full = { .begun = false };
		struct cv_err err = { 0 };
		struct disk disk = { 0 };
		struct store s;
		char *octets;
		size_t len;

		begin(&s, state);
		if (harm == 3) { /* one that is not written to any more */
			assert_ok(cv_journal_rotate(&s.user->journal, &err));
			store_flags(&s, "Drafts", 1, 1, CV_FLAGS_ADD, CV_FLAG_DRAFT, NULL);
		}
		disk_read(&s, &disk);
		len = file_of(&disk, SEGMENT)->octets.len;
		octets = cv_arena_alloc(*state, len);
		memcpy(octets, file_of(&disk, SEGMENT)->octets.ptr, len);
		octets[len - 20] = (char)(octets[len - 20] ^ 1);
		if (harm == 0)
			disk_put_file(&s, SEGMENT, cv_str_mem(octets, len));
		else if (harm == 1)
			disk_put_file(&s, SEGMENT, cv_str_mem(octets, 100));
		else
			disk_remove_file(&s, SEGMENT);
		disk_free(&disk);
		cv_file_set_fault(no_room, &full);
		assert_int_equal(try_flags(&s, 1, CV_FLAG_ANSWERED, &err), -1);
		/* There is no room for the new file of the segment either: it is not lost because of that. */
		err = (struct cv_err){ 0 };
		assert_int_equal(cv_user_usable(s.user, &err), -1);
		assert_int_equal(err.code, CV_ERR_UNAVAILABLE);
		assert_false(s.user->lost);
		cv_file_set_fault(NULL, NULL);
		err = (struct cv_err){ 0 };
		assert_ok(cv_user_usable(s.user, &err));
		store_expect(&s, "INBOX", "1 F Word");
		store_expect(&s, "Drafts", harm == 3 ? "1 ST" : "1 S");
		store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_DRAFT, NULL);
		reopen_killed(&s);
		store_expect(&s, "INBOX", "1 FT Word");
		store_expect(&s, "Drafts", harm == 3 ? "1 ST" : "1 S");
		store_deinit(&s);
	}
}

/* Neither has it: memory that lacks what was acknowledged does not go on. */
static void without_either_the_user_is_opened_anew(void **state)
{
	struct full full = { .begun = false };
	struct cv_err err = { 0 };
	struct disk disk = { 0 };
	struct store s;

	begin(&s, state);
	disk_read(&s, &disk);
	disk_put_file(&s, SEGMENT, cv_str_sub(file_of(&disk, SEGMENT)->octets, 0, 100));
	disk_put_file(&s, COPY, cv_str_sub(file_of(&disk, COPY)->octets, 0, 100));
	disk_free(&disk);
	cv_file_set_fault(no_room, &full);
	assert_int_equal(try_flags(&s, 1, CV_FLAG_ANSWERED, &err), -1);
	cv_file_set_fault(NULL, NULL);
	assert_true(s.user->lost);
	reopen_killed(&s);
	assert_false(s.user->lost);
	store_expect(&s, "INBOX", "1 -");
	store_deinit(&s);
}

struct tight {
	unsigned removed; /* caches */
	unsigned writes;  /* that each of them had room for; and those that are left: */
	unsigned left;
};

static int tight_room(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct tight *tight = ctx;

	if (op == CV_FILE_UNLINK && name != NULL && strncmp(name, "cache.", 6) == 0) {
		tight->removed++;
		tight->left = tight->writes;
	}
	if (op != CV_FILE_WRITE)
		return 0;
	if (tight->left > 0) {
		tight->left--;
		return 0;
	}
	*len = 0;
	return ENOSPC;
}

/* What frees room may have what can be made again, where there is none for its record, or for the copy of that; other changes may not. */
static void what_frees_room_has_some(void **state)
{
	static const bool closed[] = { false, true }; /* whether a segment is to be begun too */

	for (size_t i = 0; i < CV_COUNT_OF(closed); i++) {
		struct tight tight = { .writes = 6 };
		struct cv_err err = { 0 };
		struct store s;

		begin(&s, state);
		store_save(&s, "INBOX", MAIL, 0);
		assert_ok(cv_checkpoint_all(s.user, &err)); /* there are caches from here on */
		if (closed[i])
			assert_ok(cv_journal_rotate(&s.user->journal, &err));
		assert_int_equal(disk_count(&s, "cache."), 2);
		cv_file_set_fault(tight_room, &tight);
		assert_int_equal(try_flags(&s, 2, CV_FLAG_ANSWERED, &err), -1);
		assert_int_equal(tight.removed, 0);
		assert_true(try_flags(&s, 1, CV_FLAG_DELETED, &err) >= 0);
		assert_int_equal(tight.removed, 1);
		tight.left = 0;
		store_expunge(&s, "INBOX", 1, 1);
		assert_int_equal(tight.removed, 2);
		cv_file_set_fault(NULL, NULL);
		reopen_killed(&s);
		store_expect(&s, "INBOX", "2 -");
		store_octets(&s, "INBOX", 2, MAIL);
		store_deinit(&s);
	}
}

/* A disk that is full for long: none is left behind by an attempt, with a head that no copy has. */
static void without_room_no_segments_heap_up(void **state)
{
	struct full full = { .begun = true };
	struct cv_err err = { 0 };
	struct store s;
	size_t segments;

	begin(&s, state);
	assert_ok(cv_journal_rotate(&s.user->journal, &err));
	segments = disk_count(&s, "journal.");
	cv_file_set_fault(no_room, &full);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(try_flags(&s, 1, CV_FLAG_ANSWERED, &err), -1);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(full.failed, 5);
	assert_int_equal(disk_count(&s, "journal."), segments);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 F Word");
	store_save(&s, "INBOX", MAIL, 0);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 F Word|2 -");
	store_deinit(&s);
}

/* Files that were removed or cut while they were open are there again with the next write, before something happens to the other one. */
static void what_happens_to_either_is_noticed(void **state)
{
	for (unsigned harm = 0; harm < 4; harm++) {
		const char *name = harm % 2 == 0 ? SEGMENT : COPY;
		struct disk disk = { 0 };
		struct store s;

		begin(&s, state);
		disk_read(&s, &disk);
		if (harm < 2)
			disk_remove_file(&s, name);
		else
			disk_put_file(&s, name, cv_str_sub(file_of(&disk, name)->octets, 0, 200));
		disk_free(&disk);
		s.user->journal.looked_ms = 0; /* a second ago */
		store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_DRAFT, NULL);
		assert_copied(&s);
		disk_remove_file(&s, harm % 2 == 0 ? COPY : SEGMENT);
		reopen_killed(&s);
		store_expect(&s, "INBOX", "1 FT Word");
		store_deinit(&s);
	}
}

enum harm { HARM_CUT, HARM_OLDER, HARM_REMOVE, HARM_REPLACE, HARMS };

static void harm_file(struct store *s, const struct disk *disk, const char *name, enum harm harm)
{
	struct cv_str octets = file_of(disk, name)->octets;

	if (harm == HARM_REMOVE || harm == HARM_REPLACE)
		disk_remove_file(s, name);
	if (harm != HARM_REMOVE)
		disk_put_file(s, name, cv_str_sub(octets, 0, harm == HARM_CUT ? 100 : octets.len / 2 & ~(size_t)7));
}

/* Both are removed, cut or replaced by older ones before the same look: what is open, or else memory, has all of it, and says so before anything is acknowledged. */
static void what_happens_to_both_is_made_good(void **state)
{
	for (unsigned i = 0; i < 2 * HARMS; i++) {
		enum harm harm = (enum harm)(i / 2);
		bool closed = i % 2 != 0;
		struct disk disk = { 0 };
		struct store s;

		begin(&s, state);
		disk_read(&s, &disk);
		harm_file(&s, &disk, SEGMENT, harm);
		harm_file(&s, &disk, COPY, harm);
		disk_free(&disk);
		s.user->journal.looked_ms = 0; /* a second ago */
		if (!closed) {
			store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_DRAFT, NULL);
			assert_false(s.user->journal.harmed);
			reopen_killed(&s);
		} else {
			s.leave_records = true;
			store_close(&s);
			store_open(&s);
		}
		store_expect(&s, "INBOX", closed ? "1 F Word" : "1 FT Word");
		store_expect(&s, "Drafts", "1 S");
		store_octets(&s, "INBOX", 1, MAIL);
		store_save(&s, "INBOX", MAIL, 0);
		store_expect(&s, "INBOX", closed ? "1 F Word|2 -" : "1 FT Word|2 -");
		store_deinit(&s);
	}
}

/* Without room for that it is tried again, and what is refused or acknowledged meanwhile is so. */
static void both_are_made_good_when_there_is_room(void **state)
{
	struct failing failing = { .name = "box." };
	struct cv_err err = { 0 };
	struct disk disk = { 0 };
	struct store s;

	begin(&s, state);
	disk_read(&s, &disk);
	harm_file(&s, &disk, SEGMENT, HARM_CUT);
	harm_file(&s, &disk, COPY, HARM_CUT);
	disk_free(&disk);
	s.user->journal.looked_ms = 0;
	cv_file_set_fault(fail_opening, &failing);
	assert_true(try_flags(&s, 1, CV_FLAG_ANSWERED, &err) >= 0);
	cv_file_set_fault(NULL, NULL);
	assert_true(s.user->journal.harmed);
	s.user->checkpoint_retry_ms = 0;
	assert_true(try_flags(&s, 1, CV_FLAG_DRAFT, &err) >= 0);
	assert_false(s.user->journal.harmed);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 AFT Word");
	store_deinit(&s);
}

/* A segment that is not the last one any more, and the copy of which a process that was killed has not written. */
static void older_segments_get_theirs(void **state)
{
	struct disk disk = { 0 };
	struct cv_err err = { 0 };
	struct store s;

	begin(&s, state);
	assert_ok(cv_journal_rotate(&s.user->journal, &err));
	store_save(&s, "INBOX", MAIL, 0);
	disk_read(&s, &disk);
	disk_put_file(&s, COPY, cv_str_sub(file_of(&disk, COPY)->octets, 0, 100));
	disk_free(&disk);
	reopen_killed(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_copied(&s);
	disk_remove_file(&s, SEGMENT);
	reopen_killed(&s);
	store_expect(&s, "INBOX", "1 F Word|2 -|3 -");
	store_expect(&s, "Drafts", "1 S");
	store_deinit(&s);
}

/* Something else has its name: another file takes that. */
static void what_is_in_its_place_is_set_aside(void **state)
{
	struct cv_err err = { 0 };
	struct store s;
	struct stat st;

	begin(&s, state);
	disk_remove_file(&s, COPY);
	cv_file_close(&s.user->journal.copy_fd);
	assert_int_equal(mkdirat(s.user->index_dir, COPY, 0700), 0);
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_DRAFT, NULL);
	assert_ok(cv_file_stat(s.user->index_dir, COPY, &st, &err));
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_size, cv_journal_end_pos(&s.user->journal).offset);
	/* So does fsck's repair. */
	disk_remove_file(&s, COPY);
	assert_int_equal(mkdirat(s.user->index_dir, COPY, 0700), 0);
	assert_ok(cv_journal_renew_copy(&s.user->journal, cv_journal_end_pos(&s.user->journal).segment, &err));
	assert_copied(&s);
	store_deinit(&s);
}

static void dropped_segments_take_theirs_along(void **state)
{
	struct store s;

	begin(&s, state);
	store_set_sizes(&s, 20000, 4096);
	for (unsigned i = 0; i < 600; i++)
		store_save(&s, "INBOX", MAIL, 0);
	assert_int_equal(disk_count(&s, SEGMENT), 0);
	assert_int_equal(disk_count(&s, COPY), 0);
	assert_int_equal(disk_count(&s, "copy."), disk_count(&s, "journal."));
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(it_goes_on_where_it_was),
		cv_test(one_that_is_not_as_long_is_made_anew),
		cv_test(what_happens_to_the_segment_of_an_open_user_loses_nothing),
		cv_test(records_that_are_read_later_come_from_it),
		cv_test(the_segment_that_is_written_to_keeps_its_length),
		cv_test(another_file_takes_its_name),
		cv_test(without_any_copy_nothing_is_acknowledged),
		cv_test(without_room_for_it_nothing_is_acknowledged),
		cv_test(after_a_failed_write_a_harmed_segment_is_mended),
		cv_test(without_either_the_user_is_opened_anew),
		cv_test(what_frees_room_has_some),
		cv_test(without_room_no_segments_heap_up),
		cv_test(what_happens_to_either_is_noticed),
		cv_test(what_happens_to_both_is_made_good),
		cv_test(both_are_made_good_when_there_is_room),
		cv_test(older_segments_get_theirs),
		cv_test(what_is_in_its_place_is_set_aside),
		cv_test(dropped_segments_take_theirs_along),
	};

	return store_tests_run(tests);
}
