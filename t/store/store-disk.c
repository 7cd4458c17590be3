/* SPDX-License-Identifier: MIT
   What store-disk.h promises. */
#include <config.h>

#include "t/store/store-disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDEX "mail/" CV_INDEX_DIR

static int open_index(struct store *s)
{
	char path[600];
	struct cv_err err = { 0 };
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" INDEX, s->dir);
	assert_ok(cv_file_root(path, &fd, &err));
	return fd;
}

struct reading {
	struct store *s;
	struct disk *disk;
	int dir;
};

static int read_one(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	struct reading *reading = ctx;
	struct cv_arena *arena = *reading->s->state;
	struct disk_file *file;
	struct stat st;
	size_t len;
	char *octets;
	int fd;

	if (strcmp(name, "lock") == 0 || type != DT_REG)
		return 1;
	if (cv_file_open(reading->dir, name, O_RDONLY, 0, &fd, err) < 0 || cv_file_fstat(fd, &st, err) < 0)
		return -1;
	octets = cv_arena_alloc(arena, (size_t)st.st_size + 1);
	if (cv_file_pread(fd, octets, (size_t)st.st_size, 0, &len, err) < 0)
		return -1;
	cv_file_close(&fd);
	file = cv_vec_push(&reading->disk->files);
	file->name = cv_arena_strdup(arena, name);
	file->octets = cv_str_mem(octets, len);
	return 1;
}

static int compare_files(const void *a, const void *b)
{
	const struct disk_file *x = a, *y = b;

	return strcmp(x->name, y->name);
}

void disk_read(struct store *s, struct disk *disk)
{
	struct reading reading = { s, disk, open_index(s) };
	struct cv_err err = { 0 };

	*disk = (struct disk){ 0 };
	assert_ok(cv_file_list(reading.dir, ".", read_one, &reading, &err));
	cv_file_close(&reading.dir);
	if (disk->files.count > 1)
		qsort(disk->files.data, disk->files.count, sizeof(*disk->files.data), compare_files);
}

void disk_free(struct disk *disk)
{
	cv_vec_free(&disk->files);
}

const struct disk_file *disk_find(const struct disk *disk, const char *name)
{
	for (size_t i = 0; i < disk->files.count; i++) {
		if (strcmp(disk->files.data[i].name, name) == 0)
			return &disk->files.data[i];
	}
	return NULL;
}

void disk_put_file(struct store *s, const char *name, struct cv_str octets)
{
	struct cv_err err = { 0 };
	int dir = open_index(s), fd;

	assert_ok(cv_file_open(dir, name, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd, &err));
	assert_ok(cv_file_write(fd, octets, &err));
	cv_file_close(&fd);
	cv_file_close(&dir);
}

void disk_remove_file(struct store *s, const char *name)
{
	struct cv_err err = { 0 };
	int dir = open_index(s);

	assert_ok(cv_file_unlink(dir, name, &err));
	cv_file_close(&dir);
}

void disk_put_other(struct store *s, const char *name, char what)
{
	int dir = open_index(s), ret = -1;

	disk_remove_file(s, name);
	if (what == 'l')
		ret = symlinkat("nowhere", dir, name);
	else if (what == 'p')
		ret = mkfifoat(dir, name, 0600);
	else
		ret = mkdirat(dir, name, 0700);
	assert_int_equal(ret, 0);
	cv_file_close(&dir);
}

static int remove_other(void *ctx, const char *name, unsigned char type, struct cv_err *err)
{
	const int *dir = ctx;

	(void)err;
	return type == DT_REG || unlinkat(*dir, name, type == DT_DIR ? AT_REMOVEDIR : 0) == 0 ? 1 : -1;
}

void disk_write(struct store *s, const struct disk *disk)
{
	struct disk now;
	struct cv_err err = { 0 };
	int dir = open_index(s);

	assert_ok(cv_file_list(dir, ".", remove_other, &dir, &err));
	cv_file_close(&dir);
	disk_read(s, &now);
	for (size_t i = 0; i < now.files.count; i++) {
		if (disk_find(disk, now.files.data[i].name) == NULL)
			disk_remove_file(s, now.files.data[i].name);
	}
	disk_free(&now);
	for (size_t i = 0; i < disk->files.count; i++)
		disk_put_file(s, disk->files.data[i].name, disk->files.data[i].octets);
}

uint64_t disk_journal_size(struct store *s)
{
	struct disk disk;
	uint64_t size = 0;

	disk_read(s, &disk);
	for (size_t i = 0; i < disk.files.count; i++) {
		if (strncmp(disk.files.data[i].name, "journal.", 8) == 0)
			size += disk.files.data[i].octets.len;
	}
	disk_free(&disk);
	return size;
}

size_t disk_count(struct store *s, const char *part)
{
	struct disk disk;
	size_t count = 0;

	disk_read(s, &disk);
	for (size_t i = 0; i < disk.files.count; i++)
		count += strstr(disk.files.data[i].name, part) != NULL;
	disk_free(&disk);
	return count;
}

uint32_t next_random(uint64_t *seed, uint32_t below)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33) % below;
}

void change_annotation(struct store *s, uint64_t *seed, const char *mailbox)
{
	static const char *const entries[] = { "/private/comment", "/shared/Comment", "/private/a/b", "acl" };
	char value[100];

	(void)snprintf(value, sizeof(value), "value %u", next_random(seed, 1000000));
	store_annotate(s, next_random(seed, 4) == 0 ? NULL : mailbox, entries[next_random(seed, CV_COUNT_OF(entries))],
		next_random(seed, 4) == 0 ? NULL : value);
}

void change_notes(struct store *s, uint64_t *seed, const char *mailbox, uint32_t first)
{
	static const char *const entries[] = { "/comment", "/comment priv", "/1/flags/seen priv", "/vendor/x/y" };
	char value[3000];
	size_t len = next_random(seed, 8) == 0 ? sizeof(value) - 1 : next_random(seed, 30);

	memset(value, 'a' + (char)next_random(seed, 26), len);
	value[len] = '\0';
	store_note(s, mailbox, first, first + next_random(seed, 3), entries[next_random(seed, CV_COUNT_OF(entries))],
		next_random(seed, 4) == 0 ? NULL : value);
}

void store_set_sizes(struct store *s, uint64_t segment, uint64_t snapshot_min)
{
	struct cv_store_settings *set = cv_new(s->user->arena, struct cv_store_settings, 1);

	*set = *s->user->set;
	set->mail_journal_segment_size = segment;
	set->mail_snapshot_min_size = snapshot_min;
	s->user->set = set;
}

void store_set_files_first(struct store *s)
{
	struct cv_store_settings *set = cv_new(s->user->arena, struct cv_store_settings, 1);

	*set = *s->user->set;
	set->mail_journal_message_size = 0;
	s->user->set = set;
}

static void dump_message(struct cv_buf *out, struct cv_view *view, struct cv_mailbox *mailbox, uint32_t seq, unsigned opts)
{
	const struct cv_str *names;
	struct cv_note_list notes;
	struct cv_note note;
	struct cv_mail *mail;
	struct cv_str octets;
	struct cv_err err = { 0 };
	struct cv_row row;
	size_t count;

	assert_true(cv_view_row(view, seq, &row));
	names = cv_row_keywords(mailbox, row.keyword_set, &count);
	cv_buf_printf(out, "  %u flags %x", row.uid, row.flags);
	for (size_t i = 0; i < count; i++)
		cv_buf_printf(out, " %.*s", CV_STR_ARG(names[i]));
	cv_buf_printf(out, " date %lld %d saved %lld size %llu %llu guid ", (long long)row.internal_date, row.internal_zone,
		(long long)row.save_date, (unsigned long long)row.virtual_size, (unsigned long long)row.physical_size);
	cv_buf_append_hex(out, cv_str_mem(row.guid, sizeof(row.guid)));
	if ((opts & DUMP_MODSEQS) != 0)
		cv_buf_printf(out, " modseq %llu", (unsigned long long)row.modseq);
	if ((opts & DUMP_OCTETS) != 0) {
		assert_ok(cv_mail_open(view, seq, &mail, &err));
		assert_ok(cv_mail_octets(mail, &octets, &err));
		cv_buf_printf(out, " octets %08x", cv_crc32c(0, octets.ptr, octets.len));
		assert_ok(cv_mail_record(mail, &octets, &err));
		cv_mail_close(&mail);
	}
	assert_true(cv_notes_get(mailbox, row.uid, &notes, &err) >= 0);
	while (cv_note_next(&notes, &note))
		cv_buf_printf(out, " %.*s%s=%.*s", CV_STR_ARG(note.entry), note.priv ? " priv" : "", CV_STR_ARG(note.value));
	cv_buf_append_char(out, '\n');
}

static void dump_annotations(struct cv_buf *out, struct store *s, const struct cv_mailbox *mailbox)
{
	struct cv_annotation annotation;

	for (size_t pos = 0; cv_annotation_next(s->user, mailbox, &pos, &annotation);) {
		cv_buf_printf(out, "  %.*s ", CV_STR_ARG(annotation.name));
		cv_buf_append_hex(out, annotation.value);
		cv_buf_append_char(out, '\n');
	}
}

static void dump_mailbox(struct cv_buf *out, struct store *s, struct cv_str name, unsigned opts)
{
	struct cv_mailbox_status status;
	struct cv_mailbox *mailbox;
	struct cv_view *view;
	struct cv_err err = { 0 };

	assert_ok(cv_mailbox_get(s->user, name, &mailbox, &err));
	assert_ok(cv_view_open(mailbox, CV_VIEW_READONLY, &view, &err));
	assert_ok(cv_mailbox_get_status(mailbox, &status, &err));
	cv_buf_printf(out, " uidvalidity %u messages %u unseen %u deleted %u size %llu first unseen %u", status.uidvalidity, status.messages,
		status.unseen, status.deleted, (unsigned long long)status.size, status.first_unseen_uid);
	if ((opts & DUMP_NUMBERS) != 0)
		cv_buf_printf(out, " uidnext %u recent %u modseq %llu", status.uidnext, status.recent, (unsigned long long)status.highest_modseq);
	cv_buf_append_char(out, '\n');
	dump_annotations(out, s, mailbox);
	assert_int_equal(status.messages, cv_view_count(view));
	for (uint32_t seq = 1; seq <= cv_view_count(view); seq++)
		dump_message(out, view, mailbox, seq, opts);
	cv_view_close(&view);
	cv_mailbox_unref(&mailbox);
}

const char *store_dump_all(struct store *s, unsigned opts)
{
	struct cv_mailbox_info info;
	struct cv_buf out;
	const char *text;

	cv_buf_init(&out, 1 << 28);
	if ((opts & DUMP_NUMBERS) != 0)
		dump_annotations(&out, s, NULL);
	for (size_t pos = 0; cv_mailbox_next(s->user, &pos, &info);) {
		cv_buf_printf(&out, "%.*s%s", CV_STR_ARG(info.name), info.subscribed ? " subscribed" : "");
		if (info.exists)
			dump_mailbox(&out, s, info.name, opts);
		else
			cv_buf_append_char(&out, '\n');
	}
	text = cv_arena_str(*s->state, cv_buf_str(&out)).ptr;
	cv_buf_deinit(&out);
	return text;
}

static struct cv_str line_of(const char *text)
{
	return cv_str_mem(text, strcspn(text, "\n"));
}

void store_assert_same_dump(const char *got, const char *want, const char *file, int line)
{
	if (strcmp(got, want) == 0)
		return;
	while (cv_str_eq(line_of(got), line_of(want))) {
		got += line_of(got).len + 1;
		want += line_of(want).len + 1;
	}
	print_error("got:  %.*s\nwant: %.*s\n", CV_STR_ARG(line_of(got)), CV_STR_ARG(line_of(want)));
	_fail(file, line);
}
