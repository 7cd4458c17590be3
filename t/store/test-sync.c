/* SPDX-License-Identifier: MIT
   A sync that fails and has lost what was written: the next one says that all is well, and it must be. And a file system that has fewer calls. */
#include <config.h>

#include "t/store/store-disk.h"
#include <culver/loop.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAIL "From: a@example.org\r\nSubject: one\r\n\r\nHello\r\n"

struct loss {
	struct store *s;
	unsigned failing; /* syncs that still fail */
	unsigned failed;
	uint64_t from;    /* octets of the journal from here on were never synced */
};

/* What the system does: the pages count as clean, their octets are not on disk, and are read from there when they are needed again. */
static int lose(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct loss *loss = ctx;
	const struct cv_journal *journal;
	char path[800], zeros[4096] = { 0 };
	struct stat st;
	int fd;

	(void)name;
	(void)len;
	if (op != CV_FILE_SYNC || loss->failing == 0)
		return 0;
	journal = &loss->s->user->journal;
	loss->failing--;
	loss->failed++;
	(void)snprintf(path, sizeof(path), "%s/mail/culver-index/journal.%016x", loss->s->dir,
		journal->segments.data[journal->segments.count - 1].number);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	for (uint64_t at = loss->from; at < (uint64_t)st.st_size; at += sizeof(zeros))
		assert_true(pwrite(fd, zeros, (size_t)CV_MIN((uint64_t)sizeof(zeros), (uint64_t)st.st_size - at), (off_t)at) > 0);
	(void)close(fd);
	return EIO;
}

/* Some syncs work, then some fail. */
struct faults {
	uint32_t good, failing, seen;
};

static int fail_later(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct faults *faults = ctx;

	(void)name;
	(void)len;
	if (op != CV_FILE_SYNC)
		return 0;
	faults->seen++;
	if (faults->good > 0) {
		faults->good--;
		return 0;
	}
	return faults->failing > 0 ? faults->failing--, EIO : 0;
}

/* Flags that wait to be synced, as mail_fsync = optimized has them. */
static void set_lazily(struct store *s, uint32_t uid, uint16_t flags)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_txn *txn = cv_txn_begin(s->user);
	const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = flags };
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, uid, uid);
	assert_ok(cv_txn_flags(txn, inbox, &uids, &change, NULL, NULL, &err));
	assert_ok(cv_txn_commit(&txn, NULL, NULL, &err));
	cv_user_flush(s->user);
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
}

/* What is on disk when the process ends now, without closing anything. */
static void killed(struct store *s)
{
	struct disk disk;

	disk_read(s, &disk);
	store_close(s);
	disk_write(s, &disk);
	disk_free(&disk);
	store_open(s);
}

static void begin(struct store *s, struct loss *loss, void **state)
{
	struct cv_err err = { 0 };

	store_init(s, state);
	store_open(s);
	store_save(s, "INBOX", MAIL, 0);
	store_save(s, "INBOX", MAIL, 0);
	assert_ok(cv_journal_sync(&s->user->journal, &err));
	*loss = (struct loss){ .s = s, .from = s->user->journal.synced };
	assert_true(loss->from > CV_SEGMENT_HEAD);
	set_lazily(s, 1, CV_FLAG_SEEN);
	assert_true(s->user->journal.unsynced);
	cv_file_set_fault(lose, loss);
}

static void flags_outlive_a_sync_that_fails_once(void **state)
{
	struct cv_err err = { 0 };
	struct loss loss;
	struct store s;

	begin(&s, &loss, state);
	loss.failing = 1;
	assert_int_equal(cv_journal_sync(&s.user->journal, &err), -1);
	set_lazily(&s, 2, CV_FLAG_FLAGGED);
	assert_ok(cv_journal_sync(&s.user->journal, &err));
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(loss.failed, 1);
	assert_false(s.user->journal.unsynced);
	store_expect(&s, "INBOX", "1 S|2 F");
	killed(&s);
	store_expect(&s, "INBOX", "1 S|2 F");
	store_deinit(&s);
}

/* The segment's number in a name of its file or copy, in the test's arena. */
static const char *file_name(struct store *s, const char *kind, uint32_t number)
{
	return cv_arena_printf(*s->state, "%s.%016x", kind, number);
}

/* Message 2 is not expunged, since the syncs fail. */
static void refuse_an_expunge(struct store *s)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_txn *txn = cv_txn_begin(s->user);
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };

	cv_ranges_add(&uids, 2, 2);
	assert_ok(cv_txn_expunge(txn, inbox, &uids, &err));
	assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
	cv_mailbox_unref(&inbox);
	cv_ranges_free(&uids);
}

/* The sync of a change that is refused has lost the flags before it, too. */
static void flags_outlive_a_change_that_is_refused(void **state)
{
	struct cv_err err = { 0 };
	struct loss loss;
	struct store s;

	begin(&s, &loss, state);
	for (unsigned failing = 1; failing <= 2; failing++) { /* with 2 the cut of the segment fails as well */
		loss.failing = failing;
		refuse_an_expunge(&s);
		assert_int_equal(loss.failing, 0);
		store_expect(&s, "INBOX", failing == 1 ? "1 S|2 -" : "1 SA|2 -");
		if (failing == 2) /* it is cut and written again before the next change */
			store_save(&s, "INBOX", MAIL, 0);
		killed(&s);
		store_expect(&s, "INBOX", failing == 1 ? "1 S|2 -" : "1 SA|2 -|3 -");
		assert_ok(cv_journal_sync(&s.user->journal, &err));
		loss.from = cv_journal_end_pos(&s.user->journal).offset;
		set_lazily(&s, 1, CV_FLAG_ANSWERED);
	}
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(loss.failed, 3);
	store_deinit(&s);
}

/* As long as the cut after a refused change fails, the flags before it are not on disk: no state may be written that takes them for it. */
static void nothing_is_synced_before_the_cut(void **state)
{
	struct cv_err err = { 0 };
	struct loss loss;
	struct store s;

	begin(&s, &loss, state);
	loss.failing = 2;
	refuse_an_expunge(&s);
	assert_true(s.user->journal.uncut);
	loss.failing = 1;
	assert_int_equal(cv_journal_sync(&s.user->journal, &err), -1);
	assert_true(s.user->journal.uncut);
	assert_ok(cv_journal_sync(&s.user->journal, &err));
	assert_false(s.user->journal.uncut);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(loss.failed, 3);
	killed(&s);
	store_expect(&s, "INBOX", "1 S|2 -");
	store_deinit(&s);
}

static int fail_start(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *left = ctx;

	(void)name;
	(void)len;
	if (*left == 0 || (op != CV_FILE_SYNC && op != CV_FILE_UNLINK && op != CV_FILE_TRUNCATE))
		return 0;
	(*left)--;
	return EIO;
}

/* A segment that could not be begun, nor removed then, is not in the way when the disk works again. */
static void new_segment_outlives_a_failed_start(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (unsigned failing = 1; failing < 6; failing++) {
		unsigned left = failing;

		assert_ok(cv_journal_rotate(&s.user->journal, &err));
		cv_file_set_fault(fail_start, &left);
		while (left > 0)
			assert_int_equal(cv_mailbox_create(s.user, CV_STR("Work"), 0, &err), -1);
		cv_file_set_fault(NULL, NULL);
		assert_int_equal(store_save(&s, "INBOX", MAIL, 0), failing);
	}
	store_close(&s);
	store_open(&s);
	store_expect(&s, "INBOX", "1 -|2 -|3 -|4 -|5 -");
	store_deinit(&s);
}

/* Nor is one that was removed and is back after a power cut: what was confirmed in the segment before it meanwhile is not too late for it. */
static void removed_segment_may_come_back(void **state)
{
	struct cv_err err = { 0 };
	struct disk before, started, later;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	disk_read(&s, &before);
	const uint32_t number = cv_journal_end_pos(&s.user->journal).segment + 1;
	assert_ok(cv_journal_rotate(&s.user->journal, &err));
	store_flags(&s, "INBOX", 1, 1, CV_FLAGS_ADD, CV_FLAG_FLAGGED, NULL);
	disk_read(&s, &started);
	store_close(&s);
	disk_write(&s, &before);
	store_open(&s);
	assert_int_equal(store_save(&s, "INBOX", MAIL, 0), 2);
	assert_int_equal(cv_journal_end_pos(&s.user->journal).segment, number - 1);
	disk_read(&s, &later);
	store_close(&s);
	disk_write(&s, &later);
	disk_put_file(&s, file_name(&s, "journal", number), cv_str_sub(disk_find(&started, file_name(&s, "journal", number))->octets, 0, CV_SEGMENT_HEAD));
	store_open(&s);
	store_expect(&s, "INBOX", "1 -|2 -");
	assert_false(cv_journal_has_segment(&s.user->journal, number));
	assert_int_equal(disk_count(&s, ".damaged-"), 0);
	assert_ok(cv_journal_rotate(&s.user->journal, &err));
	assert_int_equal(store_save(&s, "INBOX", MAIL, 0), 3);
	assert_true(cv_journal_has_segment(&s.user->journal, number));
	killed(&s);
	assert_int_equal(store_save(&s, "INBOX", MAIL, 0), 4);
	store_expect(&s, "INBOX", "1 -|2 -|3 -|4 -");
	disk_free(&before);
	disk_free(&started);
	disk_free(&later);
	store_deinit(&s);
}

static bool is_folder(const char *path, int fd)
{
	struct stat st, folder;

	return fstat(fd, &st) == 0 && stat(path, &folder) == 0 && st.st_ino == folder.st_ino && st.st_dev == folder.st_dev;
}

/* The number of the journal's segment that a descriptor is of, 0 of anything else. */
static uint32_t segment_of(int fd)
{
	char link[64], path[PATH_MAX];
	uint32_t number;
	const char *name;
	ssize_t len;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	assert_true(len > 0);
	path[len] = '\0';
	name = strrchr(path, '/');
	return name != NULL && cv_journal_parse_name(name + 1, &number) ? number : 0;
}

/* Segments that were removed, and those of them that a power cut may bring back: the index was not synced since. And those that it may bring back with
   more octets than they had: their length was not synced before. */
struct gone {
	const char *index;
	unsigned removed, unsynced, longer;
	uint32_t cut; /* the last one that was synced with its length */
};

static void note_gone(void *ctx, const struct cv_file_event *event)
{
	struct gone *gone = ctx;
	uint32_t number;

	if (event->op == CV_FILE_UNLINK && cv_journal_parse_name(event->name, &number)) {
		gone->longer += number != gone->cut;
		gone->removed++;
		gone->unsynced++;
	} else if (event->op == CV_FILE_SYNC && !event->failed && is_folder(gone->index, event->fd)) {
		gone->unsynced = 0;
	} else if (event->op == CV_FILE_SYNC && !event->failed && !event->data_only) {
		gone->cut = segment_of(event->fd);
	}
}

/* The process begins segments and is killed: of each the first record is refused, and then the name of one more can't be synced, which is removed. */
static void kill_with_begun(struct store *s, uint32_t count, bool one_more, struct gone *gone, struct disk *begun)
{
	cv_file_set_watch(note_gone, gone);
	for (uint32_t i = 0; i < count + one_more; i++) {
		/* The end of the segment before is synced first, where nobody did since it was opened. */
		struct faults faults = { .good = (i < count ? 1u : 0u) + (s->user->journal.end_synced ? 0u : 1u), .failing = 1 };
		struct cv_err err = { 0 };

		assert_ok(cv_journal_rotate(&s->user->journal, &err));
		cv_file_set_fault(fail_later, &faults);
		refuse_an_expunge(s);
		cv_file_set_fault(NULL, NULL);
	}
	cv_file_set_watch(NULL, NULL);
	disk_read(s, begun);
	store_close(s);
	disk_write(s, begun);
}

/* On disk each of them may have the record that was refused, since the cut of it was not synced. If one came back behind records that were confirmed in the
   segment before, or without another one, it would say that these came too late or that some are missing. */
static void removed_segments_are_gone_before_anything_is_confirmed(void **state)
{
	struct disk before, begun;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	disk_read(&s, &before);
	const uint32_t number = cv_journal_end_pos(&s.user->journal).segment + 1;
	for (unsigned round = 0; round < 2; round++) {
		struct gone gone = { .index = cv_arena_printf(*state, "%s/mail/culver-index", s.dir) };
		const uint32_t count = round == 0 ? 3 : 1;
		unsigned longer;

		kill_with_begun(&s, count, round > 0, &gone, &begun);
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(disk_find(&begun, file_name(&s, "journal", number + i))->octets.len, CV_SEGMENT_HEAD);
		assert_null(disk_find(&begun, file_name(&s, "journal", number + count)));
		longer = gone.longer;
		cv_file_set_watch(note_gone, &gone);
		store_open(&s);
		cv_file_set_watch(NULL, NULL);
		assert_int_equal(gone.removed, round == 0 ? count : count + 1);
		assert_int_equal(gone.unsynced, 0);
		assert_int_equal(gone.longer, longer);
		assert_int_equal(store_save(&s, "INBOX", MAIL, 0), 3);
		assert_int_equal(cv_journal_end_pos(&s.user->journal).segment, number - 1);
		disk_free(&begun);
		store_close(&s);
		disk_write(&s, &before);
		store_open(&s);
	}
	disk_free(&before);
	store_deinit(&s);
}

/* A power cut before the first sync of a new segment may leave its length and no octets: nothing in it was confirmed, so nothing is lost. */
static void a_segment_that_never_was_on_disk_is_no_damage(void **state)
{
	static const char zeros[4096];
	static const size_t lens[] = { 1, 63, 64, 65, 200, sizeof(zeros) };
	struct cv_err err = { 0 };
	uint32_t number;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	for (uint32_t i = 0; i < CV_COUNT_OF(lens); i++) {
		struct disk disk;

		assert_int_equal(store_save(&s, "INBOX", MAIL, 0), i + 1); /* the UIDs go on without a gap */
		number = cv_journal_end_pos(&s.user->journal).segment + 1;
		disk_read(&s, &disk);
		store_close(&s);
		disk_write(&s, &disk);
		disk_put_file(&s, file_name(&s, "journal", number), cv_str_mem(zeros, lens[i]));
		disk_put_file(&s, file_name(&s, "copy", number), cv_str_mem(zeros, lens[i] / 2));
		disk_free(&disk);
		store_open(&s);
		assert_false(cv_journal_has_segment(&s.user->journal, number));
		assert_int_equal(disk_count(&s, file_name(&s, "", number)), 0);
		assert_int_equal(disk_count(&s, ".damaged-"), 0);
		assert_int_equal(s.user->journal.lost_seq, 0);
	}
	/* Octets of records that were never synced are kept aside. */
	assert_ok(cv_journal_rotate(&s.user->journal, &err));
	set_lazily(&s, 1, CV_FLAG_SEEN);
	number = cv_journal_end_pos(&s.user->journal).segment;
	{
		const struct disk_file *file;
		struct disk disk;
		char *octets;

		disk_read(&s, &disk);
		file = disk_find(&disk, file_name(&s, "journal", number));
		assert_non_null(file);
		octets = cv_arena_alloc(*state, file->octets.len);
		memcpy(octets, file->octets.ptr, file->octets.len);
		memset(octets, 0, CV_SEGMENT_HEAD);
		store_close(&s);
		disk_write(&s, &disk);
		disk_put_file(&s, file->name, cv_str_mem(octets, file->octets.len));
		disk_remove_file(&s, file_name(&s, "copy", number));
		disk_free(&disk);
	}
	store_open(&s);
	assert_int_equal(disk_count(&s, ".damaged-"), 1);
	assert_int_equal(s.user->journal.lost_seq, 0);
	store_expect(&s, "INBOX", "1 -|2 -|3 -|4 -|5 -|6 -");
	/* Records that were confirmed after the segment's first sync say so: that is damage, and what was in it is looked for. */
	assert_ok(cv_journal_rotate(&s.user->journal, &err));
	store_save(&s, "INBOX", MAIL, 0);
	number = cv_journal_end_pos(&s.user->journal).segment;
	for (unsigned i = 0; i < 6; i++)
		store_flags(&s, "INBOX", 1, 1, i % 2 == 0 ? CV_FLAGS_ADD : CV_FLAGS_REMOVE, CV_FLAG_SEEN, NULL);
	store_save(&s, "INBOX", MAIL, 0);
	{
		const struct disk_file *file;
		struct disk disk;
		char *octets;

		disk_read(&s, &disk);
		file = disk_find(&disk, file_name(&s, "journal", number));
		assert_non_null(file);
		octets = cv_arena_alloc(*state, file->octets.len);
		memcpy(octets, file->octets.ptr, file->octets.len);
		memset(octets, 0, 512);
		store_close(&s);
		disk_write(&s, &disk);
		disk_put_file(&s, file->name, cv_str_mem(octets, file->octets.len));
		disk_remove_file(&s, file_name(&s, "copy", number));
		disk_free(&disk);
	}
	store_open(&s);
	assert_true(disk_count(&s, ".damaged-") > 1);
	store_expect(&s, "INBOX", "1 -|2 -|3 -|4 -|5 -|6 -|7 -|8 -");
	store_deinit(&s);
}

/* Another process's sync failed, and it was killed: what this one reads from the system's memory need not be on disk. */
static void what_was_read_is_written_again(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	store_open(&s);
	set_lazily(&s, 1, CV_FLAG_SEEN);
	killed(&s);
	assert_true(s.user->journal.tail.len > 0);
	assert_true(s.user->journal.rewrite);
	set_lazily(&s, 1, CV_FLAG_ANSWERED);
	assert_ok(cv_journal_sync(&s.user->journal, &err));
	assert_int_equal(s.user->journal.tail.len, 0);
	killed(&s);
	store_expect(&s, "INBOX", "1 SA");
	store_deinit(&s);
}

static uint64_t highest_modseq(struct store *s)
{
	struct cv_mailbox *inbox = store_get(s, "INBOX");
	struct cv_mailbox_status status;
	struct cv_err err = { 0 };

	assert_ok(cv_mailbox_get_status(inbox, &status, &err));
	cv_mailbox_unref(&inbox);
	return status.highest_modseq;
}

/* A power cut takes what was not synced; what is within the first octets of the segment was there before. */
static void lose_unsynced(struct store *s, uint64_t octets)
{
	struct cv_journal_pos end = cv_journal_end_pos(&s->user->journal);
	size_t kept = (size_t)CV_MAX(s->user->journal.synced, octets);
	const struct disk_file *file;
	struct disk disk;
	char *copy;

	disk_read(s, &disk);
	store_close(s);
	disk_write(s, &disk);
	file = disk_find(&disk, file_name(s, "journal", end.segment));
	assert_true(file != NULL && file->octets.len > kept);
	copy = cv_arena_alloc(*s->state, kept);
	memcpy(copy, file->octets.ptr, kept);
	disk_put_file(s, file->name, cv_str_mem(copy, kept));
	disk_put_file(s, file_name(s, "copy", end.segment), cv_str_mem(copy, kept));
	disk_free(&disk);
	store_open(s);
}

/* A client has seen it: what is changed after the power cut must be above. Also when nothing was changed since the power cut before. */
static void the_modseq_of_flags_that_were_lost_is_not_given_again(void **state)
{
	struct cv_err err = { 0 };
	static const uint16_t flags[] = { CV_FLAG_ANSWERED, CV_FLAG_FLAGGED, CV_FLAG_DRAFT, CV_FLAG_DELETED };
	uint64_t shown, octets;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	assert_ok(cv_journal_sync(&s.user->journal, &err));
	for (unsigned i = 0; i < 100; i++)
		set_lazily(&s, 1, i % 2 == 0 ? CV_FLAG_SEEN : CV_FLAG_FLAGGED);
	shown = highest_modseq(&s);
	lose_unsynced(&s, 0);
	store_expect(&s, "INBOX", "1 -");
	for (size_t cut = 0; cut + 1 < CV_COUNT_OF(flags); cut++) {
		octets = cv_journal_end_pos(&s.user->journal).offset;
		set_lazily(&s, 1, flags[cut]);
		assert_true(highest_modseq(&s) > shown);
		set_lazily(&s, 1, flags[cut + 1]);
		shown = highest_modseq(&s);
		lose_unsynced(&s, octets);
	}
	store_deinit(&s);
}

/* SETMETADATA has raised it (RFC 7162 section 3.2), and what is read anew after a failed write are only the messages. */
static void the_highest_modseq_outlives_a_failed_write(void **state)
{
	struct faults faults = { .failing = 1 };
	uint64_t shown;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	store_annotate(&s, "INBOX", "/private/comment", "one");
	shown = highest_modseq(&s);
	cv_file_set_fault(fail_later, &faults);
	refuse_an_expunge(&s);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(faults.failing, 0);
	assert_int_equal(highest_modseq(&s), shown);
	store_close(&s);
	store_open(&s);
	assert_int_equal(highest_modseq(&s), shown);
	store_deinit(&s);
}

struct no_memory {
	bool syncs, maps; /* which calls fail */
};

static int fail_some(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	const struct no_memory *fails = ctx;

	(void)name;
	(void)len;
	if (op == CV_FILE_MAP && fails->maps)
		return ENOMEM;
	return op == CV_FILE_SYNC && fails->syncs ? EIO : 0;
}

/* A client that asks for them is refused, and not told that there are none. */
static void messages_that_can_not_be_read_are_not_gone(void **state)
{
	struct no_memory fails = { true, true };
	struct cv_mailbox *inbox;
	struct cv_view *view;
	struct cv_err err = { 0 };
	struct cv_row row;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	inbox = store_get(&s, "INBOX");
	assert_ok(cv_view_open(inbox, 0, &view, &err));
	assert_ok(cv_view_usable(view, &err));
	cv_file_set_fault(fail_some, &fails);
	refuse_an_expunge(&s);
	assert_int_equal(cv_view_usable(view, &err), -1);
	assert_int_equal(err.code, CV_ERR_UNAVAILABLE);
	assert_false(cv_view_row(view, 1, &row));
	fails = (struct no_memory){ false, false };
	assert_ok(cv_view_usable(view, &err));
	assert_true(cv_view_row(view, 1, &row));
	cv_file_set_fault(NULL, NULL);
	cv_view_close(&view);
	cv_mailbox_unref(&inbox);
	store_deinit(&s);
}

/* A new segment of which only the head was read may not be on disk: it is left. One with a record is written again from its head on. */
static void a_head_that_was_read_is_written_again(void **state)
{
	struct cv_err err = { 0 };
	struct faults faults = { .good = 1, .failing = UINT32_MAX }; /* the directory's sync works */
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_set_files_first(&s); /* else their files are made when it is opened, and the journal is synced before */
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	const uint32_t number = cv_journal_end_pos(&s.user->journal).segment;
	assert_ok(cv_journal_rotate(&s.user->journal, &err));
	cv_file_set_fault(fail_later, &faults);
	refuse_an_expunge(&s);
	cv_file_set_fault(NULL, NULL);
	killed(&s);
	assert_int_equal(cv_journal_end_pos(&s.user->journal).segment, number);
	assert_ok(cv_journal_rotate(&s.user->journal, &err));
	set_lazily(&s, 1, CV_FLAG_SEEN);
	killed(&s);
	assert_int_equal(cv_journal_end_pos(&s.user->journal).segment, number + 1);
	assert_int_equal(s.user->journal.tail.len, cv_journal_end_pos(&s.user->journal).offset);
	assert_int_equal(s.user->journal.tail_at, 0);
	assert_true(s.user->journal.rewrite);
	store_save(&s, "INBOX", MAIL, 0);
	assert_false(s.user->journal.rewrite);
	killed(&s);
	store_expect(&s, "INBOX", "1 S|2 -|3 -");
	store_deinit(&s);
}

/* What a process that was killed has not synced is on disk before another segment begins, which says that it is. */
static void a_segment_that_is_left_is_synced(void **state)
{
	struct faults faults = { .good = UINT32_MAX };
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	set_lazily(&s, 1, CV_FLAG_SEEN);
	killed(&s);
	cv_file_close(&s.user->journal.fd);
	faults.seen = 0;
	cv_file_set_fault(fail_later, &faults);
	assert_ok(cv_journal_resume(&s.user->journal, 0, &err)); /* no segment is so short that it would be gone on with */
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(faults.seen, 1);
	assert_int_equal(s.user->journal.fd, -1);
	assert_int_equal(s.user->journal.tail.len, 0);
	set_lazily(&s, 1, CV_FLAG_ANSWERED);
	killed(&s);
	store_expect(&s, "INBOX", "1 SA");
	store_deinit(&s);
}

/* From here on renameat2 answers as it does on NFS. */
static bool without_renameat2(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = CV_COUNT_OF(code), .filter = code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int make(int dir, const char *name)
{
	struct cv_err err = { 0 };
	int fd, ret = cv_file_open(dir, name, O_RDWR | O_CREAT | O_EXCL, 0600, &fd, &err);

	cv_file_close(&fd);
	return ret;
}

/* 0, or the number of what went wrong. */
static int try_renames(int dir)
{
	struct cv_err err = { 0 };
	struct stat st;

	if (!without_renameat2())
		return 1;
	if (make(dir, "a") < 0 || make(dir, "b") < 0 || cv_file_mkdir(dir, "d", 0700, &err) < 0 || cv_file_mkdir(dir, "e", 0700, &err) < 0)
		return 2;
	if (cv_file_rename(dir, "a", dir, "b", false, &err) >= 0 || err.code != CV_ERR_EXISTS || cv_file_stat(dir, "a", &st, &err) != 1)
		return 3;
	if (cv_file_rename(dir, "a", dir, "c", false, &err) < 0 || cv_file_stat(dir, "a", &st, &err) != 0 || cv_file_stat(dir, "c", &st, &err) != 1 ||
		st.st_nlink != 1)
		return 4;
	if (cv_file_rename(dir, "d", dir, "e", false, &err) >= 0 || err.code != CV_ERR_EXISTS || cv_file_stat(dir, "d", &st, &err) != 1)
		return 5;
	if (cv_file_rename(dir, "d", dir, "f", false, &err) < 0 || cv_file_stat(dir, "d", &st, &err) != 0 || cv_file_stat(dir, "f", &st, &err) != 1)
		return 6;
	return cv_file_rename(dir, "nothing", dir, "g", false, &err) < 0 && err.code == CV_ERR_NOTFOUND ? 0 : 7;
}

static void renaming_works_without_the_kernels_help(void **state)
{
	struct cv_err err = { 0 };
	int dir, status;
	pid_t pid;

	assert_ok(cv_file_root(cv_test_dir(state), &dir, &err));
	pid = fork();
	if (pid == 0)
		_exit(try_renames(dir));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	cv_file_close(&dir);
}

/* Files of messages in INBOX that a power cut may bring back: removed, and their folder not synced since. */
struct removed {
	const char *folder, *kept; /* paths; kept has them under the same names */
	unsigned unlinked;
};

static void note_removed(void *ctx, const struct cv_file_event *event)
{
	struct removed *removed = ctx;

	if (event->op == CV_FILE_UNLINK && strncmp(event->name, "u.", 2) == 0)
		removed->unlinked++;
	else if (event->op == CV_FILE_SYNC && !event->failed && is_folder(removed->folder, event->fd))
		removed->unlinked = 0;
}

static void link_all(const char *from, const char *to, unsigned count)
{
	for (unsigned uid = 1; uid <= count; uid++) {
		char old[800], new[800];

		(void)snprintf(old, sizeof(old), "%s/u.%u", from, uid);
		(void)snprintf(new, sizeof(new), "%s/u.%u", to, uid);
		assert_int_equal(link(old, new), 0);
	}
}

/* A mailbox whose folder is still to be looked through takes what it finds there: nothing may be in it that was expunged, and the state has forgotten. */
static void what_was_expunged_stays_away(void **state)
{
	struct removed removed = { 0 };
	struct cv_err err = { 0 };
	unsigned failing = 1;
	struct store s;

	store_init(&s, state);
	removed.folder = cv_arena_printf(*state, "%s/mail/mailboxes/INBOX/dbox-Mails", s.dir);
	removed.kept = cv_arena_printf(*state, "%s/kept", s.dir);
	assert_int_equal(mkdir(removed.kept, 0700), 0);
	store_open(&s);
	store_close(&s);
	store_open(&s); /* it is empty: a crash may have come before what lies in its folder was recorded */
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	store_save(&s, "INBOX", MAIL, 0);
	link_all(removed.folder, removed.kept, 2);
	cv_file_set_watch(note_removed, &removed);
	store_expunge(&s, "INBOX", 1, 2);
	assert_int_equal(removed.unlinked, 2);
	cv_file_set_fault(fail_start, &failing);
	assert_int_equal(cv_state_write(s.user, &err), -1); /* the state before knows the records */
	assert_non_null(strstr(err.text, "removed messages"));
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(removed.unlinked, 2);
	store_close(&s);
	cv_file_set_watch(NULL, NULL);
	link_all(removed.kept, removed.folder, removed.unlinked);
	store_open(&s);
	store_expect(&s, "INBOX", "3 -");
	store_deinit(&s);
}

struct refusal {
	enum cv_file_op op;
	unsigned tried; /* calls on files of the test */
};

/* A file system that can't do one thing. */
static int refuse(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct refusal *refusal = ctx;

	(void)len;
	if (name == NULL || strncmp(name, "culver-fs-test", 14) != 0)
		return 0;
	refusal->tried++;
	return op == refusal->op ? EOPNOTSUPP : 0;
}

static void the_file_system_is_tried_once(void **state)
{
	struct refusal refusal = { .op = CV_FILE_RENAME };
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	cv_file_set_fault(refuse, &refusal);
	assert_int_equal(store_try_open(&s, &err), -1);
	assert_int_equal(err.code, CV_ERR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "can't be renamed over another one"));
	refusal.op = CV_FILE_LINK; /* that can be lived with */
	refusal.tried = 0;
	store_open(&s);
	assert_true(refusal.tried > 0);
	store_save(&s, "INBOX", MAIL, 0);
	store_close(&s);
	assert_int_equal(disk_count(&s, "culver-fs-test"), 0);
	refusal.op = CV_FILE_RENAME;
	refusal.tried = 0;
	store_open(&s);
	assert_int_equal(refusal.tried, 0);
	store_close(&s);
	disk_put_file(&s, "fs-test", CV_STR("culver-fs 1 another-boot 1 1\n"));
	assert_int_equal(store_try_open(&s, &err), -1);
	cv_file_set_fault(NULL, NULL);
	store_open(&s);
	store_expect(&s, "INBOX", "1 -");
	store_deinit(&s);
}

static int note_hlc(void *ctx, const struct cv_record_head *head, struct cv_journal_pos pos, struct cv_str entries, struct cv_err *err)
{
	uint64_t *last = ctx;

	(void)pos;
	(void)entries;
	(void)err;
	assert_true(head->hlc > *last);
	*last = head->hlc;
	return 1;
}

static uint32_t make_again(struct store *s, const char *name)
{
	struct cv_mailbox_status status;
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };

	if (cv_mailbox_delete(s->user, cv_str_c(name), &err) < 0)
		assert_int_equal(err.code, CV_ERR_NOTFOUND);
	assert_ok(cv_mailbox_create(s->user, cv_str_c(name), 0, &err));
	mailbox = store_get(s, name);
	assert_ok(cv_mailbox_get_status(mailbox, &status, &err));
	cv_mailbox_unref(&mailbox);
	return status.uidvalidity;
}

/* Set back by an hour, forward by a year, and back again: numbers go on, nothing is lost, records stay in order. */
static void the_clock_may_jump(void **state)
{
	static const int64_t jumps[] = { 0, -3600, 365 * 86400, -3600, 0 };
	struct cv_journal_damage damage;
	int64_t now = cv_time_now_sec();
	struct cv_err err = { 0 };
	uint32_t uidvalidity = 0;
	uint64_t hlc = 0;
	struct store s;
	char want[200] = "";

	store_init(&s, state);
	store_open(&s);
	for (size_t i = 0; i < CV_COUNT_OF(jumps); i++) {
		uint32_t next;

		cv_time_set_for_tests(now + jumps[i]);
		assert_int_equal(store_save(&s, "INBOX", MAIL, 0), i + 1);
		store_flags(&s, "INBOX", (uint32_t)i + 1, (uint32_t)i + 1, CV_FLAGS_ADD, CV_FLAG_SEEN, NULL);
		next = make_again(&s, "again");
		assert_true(next > uidvalidity);
		uidvalidity = next;
		(void)snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s%zu S", i > 0 ? "|" : "", i + 1);
		store_expect(&s, "INBOX", want);
		if (i % 2 == 1) {
			killed(&s);
			store_expect(&s, "INBOX", want);
		}
	}
	assert_ok(cv_journal_scan(&s.user->journal, 0, (struct cv_journal_pos){ 0 }, false, note_hlc, &hlc, &damage, &err));
	assert_false(damage.damaged);
	assert_true(hlc > 0);
	store_close(&s);
	store_open(&s);
	store_expect(&s, "INBOX", want);
	store_octets(&s, "INBOX", 3, MAIL);
	cv_time_set_for_tests(0);
	assert_int_equal(disk_count(&s, ".damaged-"), 0);
	store_deinit(&s);
}

/* The folder can't be moved, and then the record that takes the rename back can't be synced. */
static int fail_move_and_sync(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *step = ctx;

	(void)len;
	if (op == CV_FILE_RENAME && strcmp(name, "Old") == 0 && *step < 2) {
		*step = 1;
		return EIO;
	}
	if (op != CV_FILE_SYNC || *step != 1)
		return 0;
	*step = 2;
	return EIO;
}

static void expect_no_save(struct store *s, const char *name)
{
	struct cv_mailbox *mailbox = store_get(s, name);
	struct cv_txn *txn = cv_txn_begin(s->user);
	const struct cv_save_config config = { 0 };
	struct cv_err err = { 0 };
	struct cv_save *save;
	unsigned step = 0;

	cv_file_set_fault(fail_move_and_sync, &step);
	assert_int_equal(cv_save_begin(txn, mailbox, &config, &save, &err), -1);
	cv_file_set_fault(NULL, NULL);
	cv_txn_rollback(&txn);
	cv_mailbox_unref(&mailbox);
}

/* The mailbox has its new name then, and its folder follows when somebody wants what is in it: no other folder may take its place. */
static void a_rename_that_can_not_be_taken_back_is_made_up_for(void **state)
{
	for (unsigned save = 0; save < 2; save++) {
		struct cv_err err = { 0 };
		unsigned step = 0;
		struct store s;

		store_init(&s, state);
		s.loop = cv_loop_new(CV_LOOP_FAKE);
		store_open(&s);
		assert_ok(cv_mailbox_create(s.user, CV_STR("Old"), 0, &err));
		assert_int_equal(store_save(&s, "Old", MAIL, 0), 1);
		cv_file_set_fault(fail_move_and_sync, &step);
		assert_int_equal(cv_mailbox_rename(s.user, CV_STR("Old"), CV_STR("New"), &err), -1);
		cv_file_set_fault(NULL, NULL);
		assert_int_equal(step, 2);
		if (save) {
			expect_no_save(&s, "New");
			assert_int_equal(store_save(&s, "New", MAIL, 0), 2);
		}
		store_octets(&s, "New", 1, MAIL);
		store_close(&s);
		store_open(&s);
		store_octets(&s, "New", 1, MAIL);
		store_deinit(&s);
	}
}

struct moved {
	bool made, failed, synced; /* of the directory that the new name is in */
	unsigned early, moves;
};

/* The first sync after the directory was made, which is that of the one above it, fails. */
static int fail_above(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct moved *moved = ctx;

	(void)len;
	if (op == CV_FILE_MKDIR && strcmp(name, "Up") == 0)
		moved->made = true;
	if (op != CV_FILE_SYNC || !moved->made || moved->failed)
		return 0;
	moved->failed = true;
	moved->synced = false;
	return EIO;
}

static void note_move(void *ctx, const struct cv_file_event *event)
{
	struct moved *moved = ctx;
	char link[64], path[800];
	ssize_t len;

	if (event->op == CV_FILE_SYNC && !event->failed) {
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", event->fd);
		len = readlink(link, path, sizeof(path));
		moved->synced = moved->synced || (len > 10 && memcmp(path + len - 10, "/mailboxes", 10) == 0);
	} else if (event->op == CV_FILE_RENAME && strcmp(event->name, "Old") == 0) {
		moved->moves++;
		moved->early += !moved->synced;
	}
}

/* Else a power cut may take the directory, and all that has moved into it. */
static void messages_move_to_a_place_that_is_on_disk(void **state)
{
	struct moved moved = { 0 };
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	assert_ok(cv_mailbox_create(s.user, CV_STR("Old"), 0, &err));
	store_save(&s, "Old", MAIL, 0);
	cv_file_set_watch(note_move, &moved);
	cv_file_set_fault(fail_above, &moved);
	assert_ok(cv_mailbox_rename(s.user, CV_STR("Old"), CV_STR("Up/New"), &err)); /* it is tried again at once */
	cv_file_set_fault(NULL, NULL);
	cv_file_set_watch(NULL, NULL);
	assert_true(moved.failed && moved.moves > 0);
	assert_int_equal(moved.early, 0);
	store_octets(&s, "Up/New", 1, MAIL);
	store_deinit(&s);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void note_lost(void *ctx, const struct cv_err *err)
{
	unsigned *lost = ctx;

	++*lost;
	assert_int_equal(err->code, CV_ERR_UNAVAILABLE);
}

/* The open files take all that is written: none of it may be acknowledged, and nobody is to try again for long. */
static void a_directory_that_is_removed_is_told_once(void **state)
{
	const struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_SEEN };
	struct cv_mailbox *inbox;
	struct cv_ranges uids = { 0 };
	unsigned errors, lost = 0;
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	s.user->on_lost = note_lost;
	s.user->lost_ctx = &lost;
	inbox = store_get(&s, "INBOX");
	cv_ranges_add(&uids, 1, 1);
	errors = store_log_errors();
	assert_int_equal(nftw(cv_arena_printf(*state, "%s/mail", s.dir), remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	(void)usleep(1010000); /* it is looked for once a second */
	for (unsigned i = 0; i < 3; i++) {
		struct cv_txn *txn = cv_txn_begin(s.user);
		struct cv_err err = { 0 };

		if (cv_txn_flags(txn, inbox, &uids, &change, NULL, NULL, &err) < 0)
			cv_txn_rollback(&txn);
		else
			assert_int_equal(cv_txn_commit_wait(&txn, &err), -1);
		assert_int_equal(err.code, CV_ERR_UNAVAILABLE);
		assert_int_equal(lost, 1);
	}
	cv_ranges_free(&uids);
	cv_mailbox_unref(&inbox);
	store_close(&s);
	assert_int_equal(store_log_errors(), errors + 1);
	store_open(&s);
	store_expect(&s, "INBOX", "");
	store_save(&s, "INBOX", MAIL, 0);
	store_deinit(&s);
}

/* A full disk when the machine was started anew: mail can be read and removed, which makes room. A new user is refused. */
static int refuse_room(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	(void)ctx;
	(void)len;
	return op == CV_FILE_OPEN && name != NULL && strncmp(name, "culver-fs-test", 14) == 0 ? ENOSPC : 0;
}

static void a_file_system_that_is_full_is_what_it_was(void **state)
{
	struct cv_err err = { 0 };
	struct store s;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", MAIL, 0);
	disk_put_file(&s, "fs-test", CV_STR("culver-fs 1 another-boot 1 1\n"));
	store_close(&s);
	cv_file_set_fault(refuse_room, NULL);
	store_open(&s);
	store_expect(&s, "INBOX", "1 -");
	store_octets(&s, "INBOX", 1, MAIL);
	store_close(&s);
	cv_file_set_fault(NULL, NULL);
	store_open(&s);
	store_close(&s);
	disk_remove_file(&s, "fs-test");
	cv_file_set_fault(refuse_room, NULL);
	assert_int_equal(store_try_open(&s, &err), -1);
	assert_int_equal(err.code, CV_ERR_UNAVAILABLE);
	cv_file_set_fault(NULL, NULL);
	store_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(flags_outlive_a_sync_that_fails_once),
		cv_test(flags_outlive_a_change_that_is_refused),
		cv_test(nothing_is_synced_before_the_cut),
		cv_test(what_was_read_is_written_again),
		cv_test(the_modseq_of_flags_that_were_lost_is_not_given_again),
		cv_test(the_highest_modseq_outlives_a_failed_write),
		cv_test(messages_that_can_not_be_read_are_not_gone),
		cv_test(a_head_that_was_read_is_written_again),
		cv_test(a_segment_that_is_left_is_synced),
		cv_test(new_segment_outlives_a_failed_start),
		cv_test(removed_segment_may_come_back),
		cv_test(removed_segments_are_gone_before_anything_is_confirmed),
		cv_test(a_segment_that_never_was_on_disk_is_no_damage),
		cv_test(what_was_expunged_stays_away),
		cv_test(a_rename_that_can_not_be_taken_back_is_made_up_for),
		cv_test(messages_move_to_a_place_that_is_on_disk),
		cv_test(a_directory_that_is_removed_is_told_once),
		cv_test(renaming_works_without_the_kernels_help),
		cv_test(the_file_system_is_tried_once),
		cv_test(a_file_system_that_is_full_is_what_it_was),
		cv_test(the_clock_may_jump),
	};

	return store_tests_run(tests);
}
