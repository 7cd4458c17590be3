/* SPDX-License-Identifier: MIT
   Files of the index directory that are lost, cut, changed or old: what comes back when the user is opened. And a disk that fails at every step of
   folding the journal. */
#include <config.h>

#include "t/store/store-disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MAIL "From: a@example.org\r\nSubject: one\r\n\r\nHello\r\n"
#define ALL (DUMP_NUMBERS | DUMP_OCTETS | DUMP_MODSEQS)
#define SEGMENT 8192
#define SNAPSHOT_MIN 2048
#define BOXES 4

static const char *const boxes[BOXES] = { "INBOX", "Sent", "lists/a", "lists/b" };
static const char *const words[] = { NULL, "$Work", "$Junk", "todo" };

static void open_small(struct store *s)
{
	store_open(s);
	store_set_sizes(s, SEGMENT, SNAPSHOT_MIN);
}

static void changes(struct store *s, uint64_t *seed, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const char *name = boxes[next_random(seed, BOXES)], *word = words[next_random(seed, CV_COUNT_OF(words))];
		struct cv_mailbox *mailbox = store_get(s, name);
		uint32_t first = 1 + next_random(seed, mailbox->uidnext);
		char mail[200];

		cv_mailbox_unref(&mailbox);
		switch (next_random(seed, 7)) {
		case 0:
		case 1:
			(void)snprintf(mail, sizeof(mail), MAIL "%u\r\n", next_random(seed, 1000000));
			store_save_keyword(s, name, mail, (uint16_t)next_random(seed, 32), word);
			break;
		case 2:
			store_expunge(s, name, first, first);
			break;
		case 3:
			change_annotation(s, seed, name);
			break;
		case 4:
			change_notes(s, seed, name, first);
			break;
		default:
			store_flags(s, name, first, first + next_random(seed, 3), (enum cv_flags_op)next_random(seed, 3),
				(uint16_t)next_random(seed, 32), word);
			break;
		}
	}
}

/* What was on disk at some times, and what the mail was then. */
struct history {
	struct disk old, before, now; /* now: the user was closed */
	struct disk killed;           /* the same without closing: the last changes are in the journal alone */
	const char *all, *mail;       /* dumps of now, with and without the numbers that may go on after damage */
	const char *uids;             /* of each mailbox, with UIDVALIDITY */
	uint32_t uidnext[BOXES];
	uint64_t modseq[BOXES];
};

static const char *uid_sets(struct store *s)
{
	struct cv_buf out;
	const char *text;

	cv_buf_init(&out, 1 << 20);
	for (size_t i = 0; i < BOXES; i++) {
		struct cv_mailbox *mailbox = store_get(s, boxes[i]);
		struct cv_mailbox_status status;
		struct cv_view *view;
		struct cv_err err = { 0 };

		assert_ok(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err));
		assert_ok(cv_mailbox_get_status(mailbox, &status, &err));
		cv_buf_printf(&out, "%s %u %u:", boxes[i], status.uidvalidity, status.messages);
		for (uint32_t seq = 1; seq <= cv_view_count(view); seq++)
			cv_buf_printf(&out, " %u", cv_view_uid(view, seq));
		cv_buf_append_char(&out, '\n');
		cv_view_close(&view);
		cv_mailbox_unref(&mailbox);
	}
	text = cv_arena_str(*s->state, cv_buf_str(&out)).ptr;
	cv_buf_deinit(&out);
	return text;
}

static void make_history(struct store *s, struct history *h, unsigned count)
{
	struct cv_err err = { 0 };
	uint64_t seed = 3;

	open_small(s);
	for (size_t i = 2; i < BOXES; i++)
		assert_ok(cv_mailbox_create(s->user, cv_str_c(boxes[i]), 0, &err));
	assert_ok(cv_mailbox_subscribe(s->user, cv_str_c(boxes[2]), true, &err));
	changes(s, &seed, count);
	store_close(s);
	disk_read(s, &h->old);
	open_small(s);
	changes(s, &seed, count);
	store_close(s);
	disk_read(s, &h->before);
	open_small(s);
	changes(s, &seed, count);
	store_set_sizes(s, SEGMENT, 1 << 20); /* small enough for each mailbox to be folded when the user is closed */
	disk_read(s, &h->killed);
	h->all = store_dump_all(s, ALL);
	h->mail = store_dump_all(s, DUMP_OCTETS);
	h->uids = uid_sets(s);
	for (size_t i = 0; i < BOXES; i++) {
		struct cv_mailbox *mailbox = store_get(s, boxes[i]);

		h->uidnext[i] = mailbox->uidnext;
		h->modseq[i] = mailbox->highest_modseq;
		cv_mailbox_unref(&mailbox);
	}
	store_close(s);
	disk_read(s, &h->now);
}

static void free_history(struct history *h)
{
	disk_free(&h->old);
	disk_free(&h->before);
	disk_free(&h->now);
	disk_free(&h->killed);
}

/* Numbers that clients may have seen are not lower than they were. */
static void numbers_go_on(struct store *s, const struct history *h)
{
	for (size_t i = 0; i < BOXES; i++) {
		struct cv_mailbox *mailbox = store_get(s, boxes[i]);

		assert_true(mailbox->uidnext >= h->uidnext[i]);
		assert_true(mailbox->highest_modseq >= h->modseq[i]);
		cv_mailbox_unref(&mailbox);
	}
}

/* No UID and no MODSEQ that a client may have seen is given to something else. What is saved stays in the storage: later scans find it. */
static void nothing_goes_back(struct store *s, const struct history *h)
{
	for (size_t i = 0; i < BOXES; i++) {
		struct cv_mailbox *mailbox = store_get(s, boxes[i]);
		struct cv_mailbox_status status;
		struct cv_err err = { 0 };

		assert_ok(cv_mailbox_get_status(mailbox, &status, &err));
		assert_true(status.uidnext >= h->uidnext[i]);
		assert_true(status.highest_modseq >= h->modseq[i]);
		assert_true(store_save(s, boxes[i], MAIL, 0) >= h->uidnext[i]);
		assert_ok(cv_mailbox_get_status(mailbox, &status, &err));
		assert_true(status.highest_modseq > h->modseq[i]);
		cv_mailbox_unref(&mailbox);
	}
}

/* Once is enough: what was healed stays, and nothing more is set aside. */
static void healed_for_good(struct store *s)
{
	const char *before = store_dump_all(s, ALL & ~(unsigned)DUMP_OCTETS);
	size_t aside;

	store_close(s);
	aside = disk_count(s, ".damaged-");
	open_small(s);
	assert_same_dump(store_dump_all(s, ALL & ~(unsigned)DUMP_OCTETS), before);
	store_close(s);
	assert_int_equal(disk_count(s, ".damaged-"), aside);
}

/* ---- one file ------------------------------------------------------------------------------------------------- */

enum harm { HARM_DELETE, HARM_CUT, HARM_EMPTY, HARM_FLIP, HARM_MANY_FLIPS, HARM_GARBAGE, HARM_OLD, HARM_BEFORE, HARM_LINK, HARM_PIPE, HARM_DIRECTORY, HARMS };

static struct cv_str changed_copy(struct store *s, struct cv_str octets, uint64_t *seed, unsigned flips)
{
	char *copy = cv_arena_alloc(*s->state, octets.len + 1);

	memcpy(copy, octets.ptr, octets.len);
	for (; flips > 0 && octets.len > 0; flips--) {
		uint32_t at = next_random(seed, (uint32_t)octets.len);

		copy[at] = (char)(copy[at] ^ (char)(1u << next_random(seed, 8)));
	}
	return cv_str_mem(copy, octets.len);
}

/* False when this cannot be done to the file. */
static bool do_harm(struct store *s, const struct history *h, const struct disk_file *file, enum harm harm, uint64_t *seed)
{
	const struct disk_file *other = disk_find(harm == HARM_OLD ? &h->old : &h->before, file->name);
	struct cv_str octets = file->octets;

	switch (harm) {
	case HARM_DELETE:
		disk_remove_file(s, file->name);
		return true;
	case HARM_CUT:
		disk_put_file(s, file->name, cv_str_sub(octets, 0, next_random(seed, (uint32_t)octets.len)));
		return true;
	case HARM_EMPTY:
		disk_put_file(s, file->name, CV_STR(""));
		return true;
	case HARM_FLIP:
		disk_put_file(s, file->name, changed_copy(s, octets, seed, 1));
		return true;
	case HARM_MANY_FLIPS:
		disk_put_file(s, file->name, changed_copy(s, octets, seed, 200));
		return true;
	case HARM_GARBAGE:
		disk_put_file(s, file->name, changed_copy(s, octets, seed, (unsigned)octets.len * 8));
		return true;
	case HARM_OLD:
	case HARM_BEFORE:
		if (other == NULL)
			return false;
		disk_put_file(s, file->name, other->octets);
		return true;
	case HARM_LINK:
	case HARM_PIPE:
	case HARM_DIRECTORY:
		disk_put_other(s, file->name, harm == HARM_LINK ? 'l' : harm == HARM_PIPE ? 'p' : 'd');
		return true;
	case HARMS:
		break;
	}
	return false;
}

static bool is_journal(const char *name)
{
	return strncmp(name, "journal.", 8) == 0;
}

static bool is_copy(const char *name)
{
	return strncmp(name, "copy.", 5) == 0;
}

/* The segments of the journal have no copies: they are lost as well. */
static void drop_copies(struct disk *disk)
{
	size_t kept = 0;

	for (size_t i = 0; i < disk->files.count; i++) {
		if (!is_copy(disk->files.data[i].name))
			disk->files.data[kept++] = disk->files.data[i];
	}
	disk->files.count = kept;
}

/* Each file in turn. all: any one can be lost, and nothing is; else the journal's segments without their copies. */
static void harm_each(struct store *s, const struct history *h, const struct disk *disk, bool all, unsigned times)
{
	uint64_t seed = 11;

	for (size_t i = 0; i < disk->files.count; i++) {
		const struct disk_file *file = &disk->files.data[i];

		if (!all && !is_journal(file->name))
			continue;
		for (unsigned harm = 0; harm < HARMS * times; harm++) {
			if (harm >= HARMS && harm % HARMS >= HARM_LINK)
				continue; /* they are the same each time */
			disk_write(s, disk);
			if (!do_harm(s, h, file, (enum harm)(harm % HARMS), &seed))
				continue;
			if (getenv("STORE_TEST_LOG") != NULL)
				print_message("%s, harm %u\n", file->name, harm);
			open_small(s);
			if (all)
				assert_same_dump(store_dump_all(s, ALL), h->all);
			else if (disk == &h->now)
				assert_same_dump(store_dump_all(s, DUMP_OCTETS), h->mail);
			if (all || disk == &h->now)
				numbers_go_on(s, h);
			healed_for_good(s);
		}
	}
}

static void any_derived_file_may_be_lost(void **state)
{
	struct history h;
	struct store s;

	store_init(&s, state);
	make_history(&s, &h, 150);
	harm_each(&s, &h, &h.now, true, 3);
	free_history(&h);
	store_deinit(&s);
}

static void any_derived_file_may_be_lost_after_a_crash(void **state)
{
	struct history h;
	struct store s;

	store_init(&s, state);
	make_history(&s, &h, 90);
	harm_each(&s, &h, &h.killed, true, 3);
	free_history(&h);
	store_deinit(&s);
}

static void a_lost_journal_loses_nothing_that_was_folded(void **state)
{
	struct history h;
	struct store s;

	store_init(&s, state);
	make_history(&s, &h, 150);
	drop_copies(&h.now);
	harm_each(&s, &h, &h.now, false, 3);
	free_history(&h);
	store_deinit(&s);
}

static void a_damaged_journal_after_a_crash_does_not_stop_anything(void **state)
{
	struct history h;
	struct store s;

	store_init(&s, state);
	make_history(&s, &h, 60);
	drop_copies(&h.killed);
	harm_each(&s, &h, &h.killed, false, 3);
	free_history(&h);
	store_deinit(&s);
}

/* Each part of a snapshot is mended when it is touched, whatever it holds. */
static void change_octets(struct store *s, const struct history *h, const struct disk *disk)
{
	size_t tried = 0;

	for (size_t i = 0; i < disk->files.count; i++) {
		const struct disk_file *file = &disk->files.data[i];

		if (strncmp(file->name, "box.", 4) != 0)
			continue;
		for (size_t at = CV_SNAPSHOT_HEAD + i; at < file->octets.len; at += 29) {
			char *octets = cv_arena_alloc(*s->state, file->octets.len + 1);

			memcpy(octets, file->octets.ptr, file->octets.len);
			octets[at] = (char)(octets[at] ^ 0x55);
			disk_write(s, disk);
			disk_put_file(s, file->name, cv_str_mem(octets, file->octets.len));
			open_small(s);
			assert_same_dump(store_dump_all(s, ALL), h->all);
			store_close(s);
			open_small(s);
			assert_same_dump(store_dump_all(s, ALL), h->all);
			store_close(s);
			tried++;
		}
	}
	assert_true(tried > 100);
}

static void any_octet_of_a_snapshot_may_change(void **state)
{
	struct history h;
	struct store s;

	store_init(&s, state);
	make_history(&s, &h, 60);
	change_octets(&s, &h, &h.now);
	free_history(&h);
	store_deinit(&s);
}

/* Some of what is read first is touched while the records behind it are applied, which have changed flags and expunged messages since. */
static void any_octet_of_a_snapshot_may_change_after_a_crash(void **state)
{
	struct history h;
	struct store s;

	store_init(&s, state);
	make_history(&s, &h, 90);
	change_octets(&s, &h, &h.killed);
	free_history(&h);
	store_deinit(&s);
}

static void remove_matching(struct store *s, const struct disk *disk, const char *start, const char *start2)
{
	for (size_t i = 0; i < disk->files.count; i++) {
		const char *name = disk->files.data[i].name;

		if (strncmp(name, start, strlen(start)) == 0 || (start2 != NULL && strncmp(name, start2, strlen(start2)) == 0))
			disk_remove_file(s, name);
	}
}

/* Changes of the last session are in the journal alone, and a part of it is lost: every message that is there is found with the UID it had, and none that
   is not there. */
static void messages_whose_records_are_lost_are_found(void **state)
{
	struct history h;
	struct store s;
	size_t healed = 0;

	store_init(&s, state);
	make_history(&s, &h, 60);
	drop_copies(&h.killed);
	for (size_t i = 0; i < h.killed.files.count; i++) {
		const struct disk_file *file = &h.killed.files.data[i];

		if (!is_journal(file->name))
			continue;
		for (size_t at = 0; at + 1 < file->octets.len; at += file->octets.len / 24 + 1) {
			char *octets = cv_arena_alloc(*state, file->octets.len + 1);

			memcpy(octets, file->octets.ptr, file->octets.len);
			octets[at] = (char)(octets[at] ^ 0x55);
			disk_write(&s, &h.killed);
			disk_put_file(&s, file->name, cv_str_mem(octets, file->octets.len));
			open_small(&s);
			if (s.user->journal.lost_seq > 0) { /* else it lay where nothing was read, or looked like a torn end */
				healed++;
				assert_same_dump(uid_sets(&s), h.uids);
				assert_non_null(store_dump_all(&s, DUMP_OCTETS));
				for (size_t box = 0; box < BOXES; box++) {
					struct cv_mailbox *mailbox = store_get(&s, boxes[box]);

					assert_true(mailbox->uidnext >= h.uidnext[box]);
					assert_true(mailbox->highest_modseq >= h.modseq[box]);
					cv_mailbox_unref(&mailbox);
				}
			}
			healed_for_good(&s);
		}
	}
	assert_true(healed > 5);
	free_history(&h);
	store_deinit(&s);
}

/* Nothing is left in the index directory: messages come back with their UIDs. */
static void without_any_index_the_storage_tells(void **state)
{
	struct history h;
	struct store s;
	const char *got, *want;

	store_init(&s, state);
	make_history(&s, &h, 60);
	remove_matching(&s, &h.now, "", NULL);
	open_small(&s);
	got = uid_sets(&s);
	want = h.uids;
	/* UIDVALIDITY stands nowhere else, so clients are told that UIDs are new ones. */
	for (size_t i = 0; i < BOXES; i++) {
		assert_string_equal(cv_arena_str(*state, cv_str_sub(cv_str_mem(strchr(got, ':'), strcspn(strchr(got, ':'), "\n")), 0, SIZE_MAX)).ptr,
			cv_arena_str(*state, cv_str_sub(cv_str_mem(strchr(want, ':'), strcspn(strchr(want, ':'), "\n")), 0, SIZE_MAX)).ptr);
		got = strchr(got, '\n') + 1;
		want = strchr(want, '\n') + 1;
	}
	healed_for_good(&s);
	free_history(&h);
	store_deinit(&s);
}

/* ---- several files ---------------------------------------------------------------------------------------------- */

static void without_states_the_snapshots_tell(void **state)
{
	struct history h;
	struct store s;

	store_init(&s, state);
	make_history(&s, &h, 150);
	remove_matching(&s, &h.now, "state", NULL);
	open_small(&s);
	assert_same_dump(store_dump_all(&s, DUMP_OCTETS), h.mail);
	nothing_goes_back(&s, &h);
	healed_for_good(&s);
	free_history(&h);
	store_deinit(&s);
}

static void without_states_and_journal_the_snapshots_tell(void **state)
{
	struct history h;
	struct store s;

	store_init(&s, state);
	make_history(&s, &h, 150);
	remove_matching(&s, &h.now, "copy.", NULL);
	remove_matching(&s, &h.now, "state", "journal.");
	open_small(&s);
	assert_same_dump(store_dump_all(&s, DUMP_OCTETS), h.mail);
	nothing_goes_back(&s, &h);
	healed_for_good(&s);
	free_history(&h);
	store_deinit(&s);
}

/* The journal was never dropped: it has everything. */
static void the_journal_alone_tells(void **state)
{
	struct history h;
	struct store s;

	store_init(&s, state);
	make_history(&s, &h, 10);
	remove_matching(&s, &h.now, "state", "box.");
	open_small(&s);
	assert_same_dump(store_dump_all(&s, ALL), h.all);
	nothing_goes_back(&s, &h);
	healed_for_good(&s);
	free_history(&h);
	store_deinit(&s);
}

/* ---- a disk that fails ------------------------------------------------------------------------------------------- */

struct failing {
	unsigned left;
	bool cut; /* the write at hand is half done */
};

/* After so many calls nothing works any more: what is on disk is what a crash at that point leaves. */
static int fail_after(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct failing *failing = ctx;

	(void)name;
	if (failing->left > 0) {
		failing->left--;
		return 0;
	}
	if (op == CV_FILE_WRITE && !failing->cut) {
		failing->cut = true;
		*len /= 2;
	} else {
		*len = 0;
	}
	return EIO;
}

static void folding_may_stop_anywhere(void **state)
{
	struct failing failing;
	struct history h;
	struct store s;
	unsigned calls = 0;

	store_init(&s, state);
	make_history(&s, &h, 90);
	do {
		disk_write(&s, &h.killed);
		open_small(&s);
		assert_same_dump(store_dump_all(&s, ALL), h.all);
		failing = (struct failing){ .left = calls++ };
		cv_file_set_fault(fail_after, &failing);
		store_close(&s);
		cv_file_set_fault(NULL, NULL);
		open_small(&s);
		assert_same_dump(store_dump_all(&s, ALL), h.all);
		store_close(&s);
		assert_int_equal(disk_count(&s, ".damaged-"), 0);
	} while (failing.left == 0);
	assert_true(calls > 30);
	free_history(&h);
	store_deinit(&s);
}

static int refuse_second(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *refused = ctx;

	(void)len;
	if (op != CV_FILE_OPEN || name == NULL || strcmp(name, "u.2") != 0)
		return 0;
	(*refused)++;
	return EACCES;
}

/* What may not be read stays a message, and keeps no other from anybody. */
static void a_message_that_may_not_be_read_does_not_stop_healing(void **state)
{
	struct store s;
	unsigned refused = 0;

	store_init(&s, state);
	open_small(&s);
	for (unsigned i = 0; i < 3; i++)
		store_save(&s, "INBOX", MAIL, i == 1 ? CV_FLAG_SEEN : 0);
	store_close(&s);
	disk_remove_file(&s, "journal.0000000000000001");
	disk_remove_file(&s, "copy.0000000000000001");
	cv_file_set_fault(refuse_second, &refused);
	open_small(&s);
	store_expect(&s, "INBOX", "1 -|2 S|3 -");
	store_octets(&s, "INBOX", 3, MAIL);
	cv_file_set_fault(NULL, NULL);
	assert_true(refused > 0);
	store_octets(&s, "INBOX", 2, MAIL);
	store_deinit(&s);
}

/* The lock with its octets, in another file: it came with a copy of the directory. */
static void copy_lock(struct store *s)
{
	char path[600], copy[620], octets[512];
	FILE *from, *to;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/mail/culver-index/lock", s->dir);
	(void)snprintf(copy, sizeof(copy), "%s.copy", path);
	from = fopen(path, "re");
	to = fopen(copy, "we");
	assert_non_null(from);
	assert_non_null(to);
	len = fread(octets, 1, sizeof(octets), from);
	assert_true(len > 0);
	assert_int_equal(fwrite(octets, 1, len, to), len);
	assert_int_equal(fclose(from), 0);
	assert_int_equal(fclose(to), 0);
	assert_int_equal(rename(copy, path), 0);
}

/* UIDs and sequence numbers that were given out behind it are not given again, once; what came behind it is taken in where it is. */
static void a_copy_of_the_index_is_known_for_one(void **state)
{
	struct store s;
	struct cv_mailbox *inbox;
	uint64_t seq;
	uint32_t uidnext;

	store_init(&s, state);
	store_open(&s);
	store_save(&s, "INBOX", "Subject: a\n\na\n", 0);
	store_save(&s, "INBOX", "Subject: b\n\nb\n", CV_FLAG_FLAGGED);
	store_close(&s);
	store_open(&s);
	seq = s.user->published_seq;
	store_close(&s);
	copy_lock(&s);
	store_open(&s);
	store_expect(&s, "INBOX", "1 -|2 F");
	inbox = store_get(&s, "INBOX");
	uidnext = inbox->uidnext;
	assert_true(uidnext > 1000000);
	assert_true(s.user->published_seq > seq + 1000000);
	cv_mailbox_unref(&inbox);
	store_close(&s);
	store_open(&s);
	assert_int_equal(store_save(&s, "INBOX", "Subject: c\n\nc\n", 0), uidnext);
	store_deinit(&s);
}

/* A file that may not be opened, until it has another name. */
struct refusal {
	const char *name;
	bool over;
};

static int refuse_by_name(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	struct refusal *refusal = ctx;

	(void)len;
	if (name == NULL || strcmp(name, refusal->name) != 0)
		return 0;
	refusal->over = refusal->over || op == CV_FILE_LINK || op == CV_FILE_RENAME;
	return op == CV_FILE_OPEN && !refusal->over ? EACCES : 0;
}

static void take_rights(struct store *s, const char *name)
{
	struct refusal refusal = { name, false };

	cv_file_set_fault(refuse_by_name, &refusal);
	store_open(s);
	cv_file_set_fault(NULL, NULL);
	assert_true(refusal.over);
	assert_true(disk_count(s, ".damaged-") > 0);
}

/* Whichever file of the index may not be opened any more, another one has what it says; the lock says nothing. */
static void a_file_without_rights_closes_no_user(void **state)
{
	static const char *const names[] = { "journal.0000000000000001", "state", "lock" };

	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		const char *before;
		struct store s;

		store_init(&s, state);
		store_open(&s);
		for (unsigned n = 0; n < 5; n++)
			store_save(&s, "INBOX", "Subject: x\r\n\r\nx\r\n", n % 2 == 0 ? CV_FLAG_SEEN : 0);
		before = store_dump_all(&s, DUMP_NUMBERS | DUMP_OCTETS);
		store_close(&s);
		take_rights(&s, names[i]);
		assert_same_dump(store_dump_all(&s, DUMP_NUMBERS | DUMP_OCTETS), before);
		store_save(&s, "INBOX", "Subject: y\r\n\r\ny\r\n", 0);
		store_close(&s);
		store_open(&s);
		store_expect(&s, "INBOX", "1 S|2 -|3 S|4 -|5 S|6 -");
		store_deinit(&s);
	}
}

/* What is no file is no lock of anybody's. */
static void the_lock_may_be_something_else(void **state)
{
	for (const char *what = "lpd"; *what != '\0'; what++) {
		struct store s;

		store_init(&s, state);
		store_open(&s);
		store_save(&s, "INBOX", "Subject: x\r\n\r\nx\r\n", CV_FLAG_SEEN);
		store_close(&s);
		disk_put_other(&s, "lock", *what);
		store_open(&s);
		store_expect(&s, "INBOX", "1 S");
		store_deinit(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(a_file_without_rights_closes_no_user),
		cv_test(the_lock_may_be_something_else),
		cv_test(any_derived_file_may_be_lost),
		cv_test(any_derived_file_may_be_lost_after_a_crash),
		cv_test(a_lost_journal_loses_nothing_that_was_folded),
		cv_test(a_damaged_journal_after_a_crash_does_not_stop_anything),
		cv_test(any_octet_of_a_snapshot_may_change),
		cv_test(any_octet_of_a_snapshot_may_change_after_a_crash),
		cv_test(messages_whose_records_are_lost_are_found),
		cv_test(without_any_index_the_storage_tells),
		cv_test(without_states_the_snapshots_tell),
		cv_test(without_states_and_journal_the_snapshots_tell),
		cv_test(the_journal_alone_tells),
		cv_test(folding_may_stop_anywhere),
		cv_test(a_message_that_may_not_be_read_does_not_stop_healing),
		cv_test(a_copy_of_the_index_is_known_for_one),
	};

	return store_tests_run(tests);
}
