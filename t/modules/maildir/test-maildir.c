/* SPDX-License-Identifier: MIT
   maildir through its interface: files as other programs see and make them. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/file.h>
#include <culver/log.h>
#include <culver/loop.h>
#include <culver/mailbox.h>
#include <culver/map.h>
#include <culver/storage.h>
#include <culver/time.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

CV_EXPORT extern const struct cv_module maildir_LTX_cv_module;

#define UIDVALIDITY 1700000000u

struct box {
	void **state;
	struct cv_arena *arena;
	const char *dir;
	struct cv_registry *registry;
	struct cv_storage_args args;
	const struct cv_storage *storage;
	void *st;
	struct cv_mailbox_ref inbox;
};

#define ok(call) assert_ok_at((call), &err, #call, __FILE__, __LINE__)
static void assert_ok_at(int result, const struct cv_err *err, const char *call, const char *file, int line)
{
	if (result >= 0)
		return;
	print_error("%s: %s\n", call, err->text);
	_fail(file, line);
}

static void close_st(struct box *b)
{
	if (b->st != NULL)
		b->storage->close(b->st);
	b->st = NULL;
}

static void open_st(struct box *b)
{
	struct cv_err err = { 0 };

	close_st(b);
	ok(b->storage->open(&b->args, true, &b->st, &err));
}

static void init(struct box *b, void **state)
{
	struct cv_err err = { 0 };

	*b = (struct box){ .state = state, .arena = *state };
	b->dir = cv_test_dir(state);
	b->registry = cv_registry_new();
	ok(cv_module_add_static(b->registry, &maildir_LTX_cv_module, &err));
	ok(cv_modules_load(b->registry, CV_ROLE_WORKER, &err));
	b->storage = cv_provider_get(b->registry, CV_CAP_STORAGE, "maildir");
	b->args = (struct cv_storage_args){
		.root = cv_arena_printf(b->arena, "%s/Maildir", b->dir),
		.fsync = CV_FSYNC_OPTIMIZED,
		.dir_mode = 0700,
		.file_mode = 0600,
		.hostname = "host/x:y",
	};
	b->args.index_root = b->args.control_root = b->args.root;
	b->inbox = (struct cv_mailbox_ref){ .name = CV_STR("INBOX"), .uidvalidity = UIDVALIDITY };
	memset(b->inbox.guid, 0xab, sizeof(b->inbox.guid));
	open_st(b);
}

static void init_inbox(struct box *b, void **state)
{
	struct cv_err err = { 0 };

	init(b, state);
	assert_int_equal(b->storage->mailbox_create(b->st, &b->inbox, &err), 0);
}

static void deinit(struct box *b)
{
	close_st(b);
	cv_registry_free(&b->registry);
}

static void set_conf(struct box *b, const char *override)
{
	const char *path = cv_arena_printf(b->arena, "%s/culver.ini", b->dir);
	const char *const overrides[] = { override, NULL };
	const struct cv_settings_table *const *tables = maildir_LTX_cv_module.settings;
	const struct cv_conf_problem *problems;
	struct cv_conf *conf;
	size_t count;
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fclose(f);
	assert_int_equal(cv_conf_load(path, overrides, tables, 1, b->arena, &conf, &problems, &count), 0);
	b->args.conf = conf;
	open_st(b);
}

/* ---- files as another program handles them */

static const char *path_of(struct box *b, const char *name)
{
	return cv_arena_printf(b->arena, "%s/%s", b->args.root, name);
}

static void put(struct box *b, const char *name, const char *text)
{
	FILE *f = fopen(path_of(b, name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static const char *get(struct box *b, const char *name)
{
	char *text = cv_arena_calloc(b->arena, 1, 65536);
	FILE *f = fopen(path_of(b, name), "r");

	if (f == NULL)
		return NULL;
	(void)!fread(text, 1, 65535, f);
	fclose(f);
	return text;
}

static void move(struct box *b, const char *from, const char *to)
{
	assert_int_equal(rename(path_of(b, from), path_of(b, to)), 0);
}

static bool exists(struct box *b, const char *name)
{
	struct stat st;

	return lstat(path_of(b, name), &st) == 0;
}

/* How many names are in a directory; hidden ones only when asked. *name_r is the last one. */
static unsigned count_in(struct box *b, const char *name, bool hidden, const char **name_r)
{
	DIR *d = opendir(path_of(b, name));
	const struct dirent *entry;
	unsigned count = 0;

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || (entry->d_name[0] == '.') != hidden)
			continue;
		count++;
		if (name_r != NULL)
			*name_r = cv_arena_strdup(b->arena, entry->d_name);
	}
	closedir(d);
	return count;
}

static void later(void)
{
	const struct timespec tick = { .tv_nsec = 130000000 };

	nanosleep(&tick, NULL);
}

/* ---- short forms */

static const char *finish(struct box *b, const struct cv_mailbox_ref *mailbox, uint32_t uid, const char *octets, uint16_t flags, const char *keyword)
{
	const char *const keywords[] = { keyword, NULL };
	struct cv_storage_meta meta = { .uid = uid, .internal_date = 1600000000, .size = strlen(octets), .virtual_size = strlen(octets) + 2,
		.flags = flags, .keywords = keywords };
	char ref[CV_STORAGE_REF_MAX];
	size_t len = 0;
	struct cv_err err = { 0 };
	void *save;

	memset(meta.guid, (int)uid, sizeof(meta.guid));
	ok(b->storage->save_begin(b->st, mailbox, 0, &save, &err));
	ok(b->storage->save_write(save, cv_str_c(octets), &err));
	ok(b->storage->save_finish(save, &meta, ref, &len, &err));
	return cv_arena_str(b->arena, cv_str_mem(ref, len)).ptr;
}

static void recorded(struct box *b, const struct cv_mailbox_ref *mailbox, const char *ref)
{
	const struct cv_str refs[] = { cv_str_c(ref) };
	struct cv_err err = { 0 };

	ok(b->storage->recorded(b->st, mailbox, refs, 1, &err));
}

static const char *save_in(struct box *b, const struct cv_mailbox_ref *mailbox, uint32_t uid, const char *octets, uint16_t flags, const char *keyword)
{
	const char *ref = finish(b, mailbox, uid, octets, flags, keyword);
	struct cv_err err = { 0 };

	ok(b->storage->sync(b->st, &err));
	recorded(b, mailbox, ref);
	return ref;
}

static const char *save(struct box *b, uint32_t uid, const char *octets, uint16_t flags, const char *keyword)
{
	return save_in(b, &b->inbox, uid, octets, flags, keyword);
}

static const char *read_ref(struct box *b, const char *ref, const char **new_ref_r)
{
	struct cv_storage_blob blob = { .fd = -1 };
	char new_ref[CV_STORAGE_REF_MAX], *text;
	struct cv_err err = { 0 };
	size_t len, got;

	if (b->storage->open_ref(b->st, &b->inbox, cv_str_c(ref), &blob, new_ref, &len, &err) < 0) {
		assert_int_equal(err.code, CV_ERR_EXPUNGED);
		return NULL;
	}
	if (new_ref_r != NULL)
		*new_ref_r = len > 0 ? cv_arena_str(b->arena, cv_str_mem(new_ref, len)).ptr : NULL;
	text = cv_arena_calloc(b->arena, 1, (size_t)blob.len + 1);
	ok(cv_file_pread(blob.fd, text, (size_t)blob.len, blob.offset, &got, &err));
	assert_int_equal(got, blob.len);
	cv_file_close(&blob.fd);
	return text;
}

static const char *set_flags(struct box *b, const char *ref, uint32_t uid, uint16_t flags, const char *const *keywords)
{
	const struct cv_storage_meta meta = { .uid = uid, .flags = flags, .keywords = keywords };
	char new_ref[CV_STORAGE_REF_MAX];
	struct cv_err err = { 0 };
	size_t len;

	ok(b->storage->set_flags(b->st, &b->inbox, cv_str_c(ref), &meta, new_ref, &len, &err));
	return cv_arena_str(b->arena, cv_str_mem(new_ref, len)).ptr;
}

struct dump {
	CV_VEC(const char *) lines;
	struct cv_arena *arena;
	CV_VEC(struct cv_storage_found) found;
};

static int dump_one(void *ctx, const struct cv_storage_found *found)
{
	static const char letters[] = "SAFDT";
	struct dump *dump = ctx;
	struct cv_str base = cv_str_sub(found->ref, 0, cv_str_find(found->ref, ':'));
	struct cv_buf out;
	struct cv_storage_found *copy = cv_vec_push(&dump->found);

	cv_buf_init(&out, 10000);
	if (found->uid_known)
		cv_buf_printf(&out, "%u ", found->meta.uid);
	cv_buf_printf(&out, "%.*s ", CV_STR_ARG(base));
	for (unsigned i = 0; i < 5; i++) {
		if ((found->meta.flags & (1u << i)) != 0)
			cv_buf_append_char(&out, letters[i]);
	}
	for (size_t i = 0; found->meta.keywords[i] != NULL; i++)
		cv_buf_printf(&out, " %s", found->meta.keywords[i]);
	if (found->unconfirmed)
		cv_buf_append_c(&out, " unconfirmed");
	*cv_vec_push(&dump->lines) = cv_arena_str(dump->arena, cv_buf_str(&out)).ptr;
	cv_buf_deinit(&out);
	*copy = *found;
	copy->ref = cv_arena_str(dump->arena, found->ref);
	copy->meta.keywords = NULL;
	copy->meta.pop3_uidl = cv_arena_str(dump->arena, found->meta.pop3_uidl);
	return 1;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "<uid> <base> <flags> <keywords>|…" in the order of the text. */
static const char *scan_all(struct box *b, const struct cv_mailbox_ref *mailbox, struct dump *dump)
{
	struct cv_err err = { 0 };
	struct cv_buf out;
	const char *text;

	dump->arena = b->arena;
	ok(b->storage->scan(b->st, mailbox, dump_one, dump, &err));
	if (dump->lines.count > 0)
		qsort(dump->lines.data, dump->lines.count, sizeof(*dump->lines.data), compare_lines);
	cv_buf_init(&out, 1 << 20);
	for (size_t i = 0; i < dump->lines.count; i++)
		cv_buf_printf(&out, "%s%s", i > 0 ? "|" : "", dump->lines.data[i]);
	text = cv_arena_strdup(b->arena, out.data != NULL ? out.data : "");
	cv_buf_deinit(&out);
	return text;
}

static const char *scan(struct box *b)
{
	struct dump dump = { 0 };
	const char *text = scan_all(b, &b->inbox, &dump);

	cv_vec_free(&dump.lines);
	cv_vec_free(&dump.found);
	return text;
}

/* ---- saving --------------------------------------------------------------------------------------------------------- */

static void saved_message_is_visible_to_others_when_recorded_only(void **state)
{
	struct box b;
	struct cv_err err = { 0 };
	const char *ref, *name;
	struct stat st;

	init_inbox(&b, state);
	ref = finish(&b, &b.inbox, 1, "a\n\nb\n", 0, NULL);
	assert_int_equal(count_in(&b, "tmp", false, NULL), 1);
	assert_int_equal(count_in(&b, "new", true, NULL), 0);
	assert_string_equal(read_ref(&b, ref, NULL), "a\n\nb\n");
	ok(b.storage->sync(b.st, &err));
	assert_int_equal(count_in(&b, "tmp", false, NULL), 0);
	assert_int_equal(count_in(&b, "new", false, NULL), 0);
	assert_int_equal(count_in(&b, "new", true, NULL), 1);
	assert_string_equal(read_ref(&b, ref, NULL), "a\n\nb\n");
	assert_string_equal(scan(&b), ""); /* the saver knows of it */
	recorded(&b, &b.inbox, ref);
	assert_int_equal(count_in(&b, "new", false, &name), 1);
	assert_string_equal(name, ref);
	assert_non_null(strstr(ref, ".host-x-y,S=5,W=7"));
	assert_int_equal(stat(path_of(&b, cv_arena_printf(b.arena, "new/%s", ref)), &st), 0);
	assert_int_equal(st.st_mtime, 1600000000);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_string_equal(read_ref(&b, ref, NULL), "a\n\nb\n");
	deinit(&b);
}

static void saved_flags_and_keywords_are_in_the_name(void **state)
{
	struct box b;
	const char *ref;

	init_inbox(&b, state);
	ref = save(&b, 1, "x\n", CV_FLAG_SEEN | CV_FLAG_DRAFT | CV_FLAG_DELETED, "$Junk");
	assert_non_null(strstr(ref, ":2,DSTa"));
	assert_true(exists(&b, cv_arena_printf(b.arena, "cur/%s", ref)));
	assert_string_equal(get(&b, "dovecot-keywords"), "0 $Junk\n");
	deinit(&b);
}

static void crash_before_recorded_leaves_an_unconfirmed_message_that_reading_confirms(void **state)
{
	struct box b;
	struct cv_err err = { 0 };
	const char *ref;

	init_inbox(&b, state);
	ref = finish(&b, &b.inbox, 1, "x\n", CV_FLAG_SEEN, NULL);
	ok(b.storage->sync(b.st, &err));
	open_st(&b);
	assert_non_null(strstr(scan(&b), "S unconfirmed"));
	assert_int_equal(count_in(&b, "cur", false, NULL), 0);
	assert_string_equal(read_ref(&b, ref, NULL), "x\n");
	assert_int_equal(count_in(&b, "cur", false, NULL), 1);
	assert_null(strstr(scan(&b), "unconfirmed"));
	deinit(&b);
}

static void recorded_after_a_crash_gives_the_name(void **state)
{
	struct box b;
	struct cv_err err = { 0 };
	const char *ref;

	init_inbox(&b, state);
	ref = finish(&b, &b.inbox, 1, "x\n", 0, NULL);
	ok(b.storage->sync(b.st, &err));
	open_st(&b);
	recorded(&b, &b.inbox, ref);
	recorded(&b, &b.inbox, ref);
	assert_int_equal(count_in(&b, "new", false, NULL), 1);
	deinit(&b);
}

static void given_up_message_leaves_nothing(void **state)
{
	struct box b;
	struct cv_err err = { 0 };
	struct cv_str ref;
	void *s;

	init_inbox(&b, state);
	ref = cv_str_c(finish(&b, &b.inbox, 1, "x\n", 0, NULL));
	ok(b.storage->remove(b.st, &b.inbox, &ref, 1, &err)); /* before sync */
	ok(b.storage->sync(b.st, &err));
	ref = cv_str_c(finish(&b, &b.inbox, 2, "x\n", 0, NULL));
	ok(b.storage->sync(b.st, &err));
	ok(b.storage->remove(b.st, &b.inbox, &ref, 1, &err)); /* after it */
	ok(b.storage->save_begin(b.st, &b.inbox, 0, &s, &err));
	b.storage->save_abort(s);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(count_in(&b, "tmp", i == 1, NULL), 0);
		assert_int_equal(count_in(&b, "new", i == 1, NULL), 0);
		assert_int_equal(count_in(&b, "cur", i == 1, NULL), 0);
	}
	deinit(&b);
}

static int fail_sync(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	unsigned *left = ctx;

	(void)name;
	(void)len;
	return op == CV_FILE_SYNC && (*left)-- == 0 ? EIO : 0;
}

/* First the files are synced, then the directory: whichever fails, the caller is told and nothing stays. */
static void failed_sync_leaves_nothing(void **state)
{
	for (unsigned fail_at = 0; fail_at < 4; fail_at++) {
		struct box b;
		struct cv_err err = { 0 };
		unsigned left = fail_at;

		init_inbox(&b, state);
		finish(&b, &b.inbox, 1, "x\n", 0, NULL);
		finish(&b, &b.inbox, 2, "y\n", CV_FLAG_SEEN, NULL);
		cv_file_set_fault(fail_sync, &left);
		assert_int_equal(b.storage->sync(b.st, &err), -1);
		cv_file_set_fault(NULL, NULL);
		ok(b.storage->sync(b.st, &err));
		assert_int_equal(count_in(&b, "tmp", false, NULL) + count_in(&b, "new", true, NULL) + count_in(&b, "cur", true, NULL), 0);
		deinit(&b);
	}
}

/* Directories of INBOX that are synced: bit 0 new/, bit 1 cur/. */
struct synced_dirs {
	struct box *b;
	unsigned seen;
};

static void note_sync(void *ctx, const struct cv_file_event *event)
{
	struct synced_dirs *dirs = ctx;
	static const char *const names[] = { "new", "cur" };
	struct stat st, dir;

	if (event->op != CV_FILE_SYNC || event->failed || fstat(event->fd, &st) < 0)
		return;
	for (unsigned i = 0; i < CV_COUNT_OF(names); i++) {
		if (stat(path_of(dirs->b, names[i]), &dir) == 0 && dir.st_ino == st.st_ino && dir.st_dev == st.st_dev)
			dirs->seen |= 1u << i;
	}
}

/* The process ends before anything of its directories is synced, and another one goes on. */
static void killed(struct box *b)
{
	unsigned left = 0;

	cv_file_set_fault(fail_sync, &left);
	close_st(b);
	cv_file_set_fault(NULL, NULL);
	open_st(b);
}

static unsigned settled(struct box *b)
{
	struct synced_dirs dirs = { b, 0 };
	struct cv_err err = { 0 };

	cv_file_set_watch(note_sync, &dirs);
	ok(b->storage->settle(b->st, &err));
	cv_file_set_watch(NULL, NULL);
	return dirs.seen;
}

static void link_again(struct box *b, const char *source, const char *ref)
{
	const struct cv_storage_copy copy = { .source = cv_str_c(source), .ref = cv_str_c(ref), .meta = { .uid = 3 }, .again = true };
	struct cv_err err = { 0 };
	size_t done;

	ok(b->storage->copy_make(b->st, &b->inbox, &b->inbox, &copy, 1, &done, &err));
	assert_int_equal(done, 1);
}

/* A process that was killed has done it, and nothing has synced that: whoever does it again and finds nothing to do makes sure, or a power cut takes it back after
   the journal has forgotten it. */
static void what_was_done_before_is_synced_when_it_is_done_again(void **state)
{
	struct cv_err err = { 0 };
	struct cv_str ref;
	const char *seen;
	struct box b;

	init_inbox(&b, state);
	put(&b, "new/1.a", "x\n");
	put(&b, "new/2.b", "y\n");
	ref = CV_STR("1.a");
	ok(b.storage->remove(b.st, &b.inbox, &ref, 1, &err));
	killed(&b);
	ok(b.storage->remove(b.st, &b.inbox, &ref, 1, &err));
	assert_int_equal(settled(&b), 3); /* it may have been in cur/ */
	ok(b.storage->remove(b.st, &b.inbox, &ref, 1, &err));
	assert_int_equal(settled(&b), 0); /* once is enough */

	seen = set_flags(&b, "2.b", 2, CV_FLAG_SEEN, NULL);
	killed(&b);
	assert_string_equal(set_flags(&b, seen, 2, CV_FLAG_SEEN, NULL), seen);
	assert_int_equal(settled(&b), 3);
	(void)set_flags(&b, seen, 2, CV_FLAG_SEEN, NULL);
	assert_int_equal(settled(&b), 0);

	link_again(&b, seen, "3.c");
	(void)set_flags(&b, "3.c", 3, CV_FLAG_SEEN, NULL); /* in cur/ from now on */
	killed(&b);
	link_again(&b, seen, "3.c");
	assert_int_equal(settled(&b), 3);
	deinit(&b);
}

static int set_keyword(struct box *b, const char *ref, const char *keyword, unsigned *syncs)
{
	const char *const keywords[] = { keyword, NULL };
	struct cv_storage_meta meta = { .uid = 1, .keywords = keywords };
	char new_ref[CV_STORAGE_REF_MAX];
	struct cv_err err = { 0 };
	unsigned left = *syncs;
	size_t len;
	int ret;

	cv_file_set_fault(fail_sync, &left);
	ret = b->storage->set_flags(b->st, &b->inbox, cv_str_c(ref), &meta, new_ref, &len, &err);
	cv_file_set_fault(NULL, NULL);
	*syncs -= left;
	return ret;
}

/* The letter of a keyword can be read from a file whose directory was not synced, or could not be. A power cut takes it, and with it what file names say: it is
   synced, or written again, once, before one uses the letter. */
static void letter_that_may_be_lost_is_written_again(void **state)
{
	const unsigned none_fails = 1000;
	struct box b;
	const char *ref;
	unsigned syncs = 1; /* that of the directory fails */

	init_inbox(&b, state);
	ref = save_in(&b, &b.inbox, 1, "x\n", CV_FLAG_SEEN, NULL);
	assert_int_equal(set_keyword(&b, ref, "red", &syncs), -1);
	syncs = none_fails;
	assert_int_equal(set_keyword(&b, ref, "red", &syncs), 1);
	assert_int_equal(syncs, 2);
	syncs = none_fails;
	assert_int_equal(set_keyword(&b, ref, "red", &syncs), 1);
	assert_int_equal(syncs, 0);
	open_st(&b); /* the process that wrote it may have been killed before it was synced */
	syncs = none_fails;
	assert_int_equal(set_keyword(&b, ref, "red", &syncs), 1);
	assert_int_equal(syncs, 1);
	syncs = none_fails;
	assert_int_equal(set_keyword(&b, ref, "red", &syncs), 1);
	assert_int_equal(syncs, 0);
	deinit(&b);
}

static void count_syncs_of(struct box *b, enum cv_fsync mode, uint32_t uid, unsigned want)
{
	struct cv_err err = { 0 };
	unsigned left = 1000;

	b->args.fsync = mode;
	open_st(b);
	finish(b, &b->inbox, uid, "x\n", 0, NULL);
	finish(b, &b->inbox, uid + 1, "x\n", 0, NULL);
	cv_file_set_fault(fail_sync, &left);
	ok(b->storage->sync(b->st, &err));
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(1000 - left, want);
}

/* Each file and the directory once; the UID list costs none. */
static void delivery_costs_no_more_syncs_than_it_must(void **state)
{
	struct box b;
	struct cv_err err = { 0 };
	unsigned left = 1000;
	const char *ref;

	init_inbox(&b, state);
	ref = finish(&b, &b.inbox, 1, "x\n", 0, NULL);
	cv_file_set_fault(fail_sync, &left);
	ok(b.storage->sync(b.st, &err));
	recorded(&b, &b.inbox, ref);
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(1000 - left, 2);
	count_syncs_of(&b, CV_FSYNC_ALWAYS, 2, 3);
	count_syncs_of(&b, CV_FSYNC_NEVER, 2, 0);
	deinit(&b);
}

static int fail_one_stat(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	int *before = ctx;

	(void)name;
	(void)len;
	return op == CV_FILE_STAT && (*before)-- == 0 ? EIO : 0;
}

/* Whichever look at a file fails: the mailbox is not taken for another one, what was not written to its UID list yet stays, and what was opened
   before is still there. */
static void copy_within_a_mailbox_outlives_a_failed_look(void **state)
{
	struct cv_storage_meta meta = { .uid = 2, .size = 2, .virtual_size = 3 };
	char ref[CV_STORAGE_REF_MAX];
	const char *from;
	struct box b;
	size_t len;

	init_inbox(&b, state);
	from = save(&b, 1, "x\n", 0, NULL);
	for (int before = 0; before < 20; before++) {
		struct cv_err err = { 0 };
		int left = before;

		meta.uid++;
		cv_file_set_fault(fail_one_stat, &left);
		if (b.storage->copy(b.st, &b.inbox, cv_str_c(from), &b.inbox, &meta, ref, &len, &err) < 0)
			assert_int_not_equal(err.code, CV_ERR_NONE);
		cv_file_set_fault(NULL, NULL);
	}
	deinit(&b);
}

static void copy_is_a_hard_link_with_its_own_flags(void **state)
{
	struct cv_mailbox_ref target = { .name = CV_STR("A/B"), .uidvalidity = 5 };
	struct cv_storage_meta meta = { .uid = 7, .flags = CV_FLAG_FLAGGED, .size = 2, .virtual_size = 3 };
	struct box b;
	char ref[CV_STORAGE_REF_MAX];
	struct cv_err err = { 0 };
	const char *from, *name;
	struct stat st;
	size_t len;

	init_inbox(&b, state);
	assert_int_equal(b.storage->mailbox_create(b.st, &target, &err), 0);
	from = save(&b, 1, "x\n", 0, NULL);
	ok(b.storage->copy(b.st, &b.inbox, cv_str_c(from), &target, &meta, ref, &len, &err));
	ok(b.storage->sync(b.st, &err));
	assert_int_equal(count_in(&b, ".A.B/cur", false, NULL), 0);
	recorded(&b, &target, cv_arena_str(b.arena, cv_str_mem(ref, len)).ptr);
	assert_int_equal(count_in(&b, ".A.B/cur", false, &name), 1);
	assert_non_null(strstr(name, ":2,F"));
	assert_int_equal(stat(path_of(&b, cv_arena_printf(b.arena, ".A.B/cur/%s", name)), &st), 0);
	assert_int_equal(st.st_nlink, 2);
	/* A message that is not synced yet can be copied too. */
	assert_int_equal(b.storage->copy(b.st, &b.inbox, cv_str_c(from), &target, &meta, ref, &len, &err), -1);
	assert_int_equal(err.code, CV_ERR_EXISTS);
	meta.uid = 8;
	from = finish(&b, &b.inbox, 2, "y\n", 0, NULL);
	ok(b.storage->copy(b.st, &b.inbox, cv_str_c(from), &target, &meta, ref, &len, &err));
	ok(b.storage->sync(b.st, &err));
	assert_int_equal(b.storage->copy(b.st, &b.inbox, CV_STR("1.2.gone"), &target, &meta, ref, &len, &err), -1);
	assert_int_equal(err.code, CV_ERR_EXPUNGED);
	set_conf(&b, "maildir_copy_with_hardlinks=no");
	assert_int_equal(b.storage->copy(b.st, &b.inbox, cv_str_c(from), &target, &meta, ref, &len, &err), -1);
	assert_int_equal(err.code, CV_ERR_UNSUPPORTED);
	deinit(&b);
}

/* ---- other programs ------------------------------------------------------------------------------------------------- */

static void message_that_another_program_renamed_is_found(void **state)
{
	struct box b;
	struct cv_err err = { 0 };
	const char *ref, *now = NULL;
	struct cv_str gone;

	init_inbox(&b, state);
	ref = save(&b, 1, "x\n", 0, NULL);
	move(&b, cv_arena_printf(b.arena, "new/%s", ref), cv_arena_printf(b.arena, "cur/%s:2,RS", ref));
	assert_string_equal(read_ref(&b, ref, &now), "x\n");
	assert_string_equal(now, cv_arena_printf(b.arena, "%s:2,RS", ref));
	move(&b, cv_arena_printf(b.arena, "cur/%s:2,RS", ref), cv_arena_printf(b.arena, "cur/%s:2,F", ref));
	now = set_flags(&b, now, 1, CV_FLAG_SEEN, NULL);
	assert_string_equal(now, cv_arena_printf(b.arena, "%s:2,S", ref));
	move(&b, cv_arena_printf(b.arena, "cur/%s:2,S", ref), cv_arena_printf(b.arena, "cur/%s:2,", ref));
	gone = cv_str_c(now);
	ok(b.storage->remove(b.st, &b.inbox, &gone, 1, &err));
	assert_int_equal(count_in(&b, "cur", false, NULL), 0);
	assert_null(read_ref(&b, ref, NULL));
	ok(b.storage->remove(b.st, &b.inbox, &gone, 1, &err));
	deinit(&b);
}

static void key_of_a_reference_is_the_base(void **state)
{
	struct box b;

	init(&b, state);
	assert_str(b.storage->ref_key(CV_STR("1.M2.host,S=3:2,FS")), "1.M2.host,S=3");
	assert_str(b.storage->ref_key(CV_STR("1.M2.host")), "1.M2.host");
	deinit(&b);
}

static void scan_sees_what_others_deliver_flag_and_delete(void **state)
{
	struct box b;

	init_inbox(&b, state);
	put(&b, "new/1.a.host", "x\n");
	put(&b, "cur/2.b.host:2,FS", "x\n");
	put(&b, "cur/3.c.host", "x\n");
	put(&b, "tmp/4.d.host", "x\n");
	assert_string_equal(scan(&b), "1.a.host |2.b.host SF|3.c.host ");
	move(&b, "cur/2.b.host:2,FS", "cur/2.b.host:2,T");
	assert_int_equal(unlink(path_of(&b, "cur/3.c.host")), 0);
	assert_string_equal(scan(&b), "1.a.host |2.b.host D");
	deinit(&b);
}

static void sizes_come_from_names_that_tell_the_truth(void **state)
{
	static const struct {
		const char *name;
		uint64_t size, virtual_size; /* 0: the core has to read it */
	} rows[] = {
		{ "new/1.a,S=5,W=7", 5, 7 },
		{ "new/1.b,S=6,W=7", 0, 0 },  /* the file has 5 */
		{ "new/1.c,S=5", 0, 0 },
		{ "new/1.d,S=5,W=4", 0, 0 },
		{ "new/1.e,S=-5,W=7", 0, 0 },
		{ "new/1.f,S=99999999999999999999999,W=7", 0, 0 },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct dump dump = { 0 };
		struct box b;

		init_inbox(&b, state);
		put(&b, rows[i].name, "ab\nc\n");
		(void)scan_all(&b, &b.inbox, &dump);
		assert_int_equal(dump.found.count, 1);
		assert_int_equal(dump.found.data[0].meta.size, rows[i].size);
		assert_int_equal(dump.found.data[0].meta.virtual_size, rows[i].virtual_size);
		assert_true(dump.found.data[0].date_known);
		cv_vec_free(&dump.lines);
		cv_vec_free(&dump.found);
		deinit(&b);
	}
}

static void stray_things_are_no_messages(void **state)
{
	struct box b;

	init_inbox(&b, state);
	assert_int_equal(mkdir(path_of(&b, "cur/1.dir.host:2,S"), 0700), 0);
	assert_int_equal(symlink("/etc/passwd", path_of(&b, "cur/2.link.host:2,S")), 0);
	assert_int_equal(mkfifo(path_of(&b, "new/3.fifo.host"), 0600), 0);
	put(&b, "cur/.hidden", "x\n");
	assert_string_equal(scan(&b), "");
	assert_null(read_ref(&b, "4.none.host", NULL));
	deinit(&b);
}

static void a_link_is_never_read(void **state)
{
	struct box b;
	struct cv_storage_blob blob = { .fd = -1 };
	char new_ref[CV_STORAGE_REF_MAX];
	struct cv_err err = { 0 };
	size_t len;

	init_inbox(&b, state);
	assert_int_equal(symlink("/etc/passwd", path_of(&b, "cur/2.link.host:2,S")), 0);
	assert_int_equal(mkfifo(path_of(&b, "new/3.fifo.host"), 0600), 0);
	assert_int_equal(b.storage->open_ref(b.st, &b.inbox, CV_STR("2.link.host:2,S"), &blob, new_ref, &len, &err), -1);
	assert_int_equal(b.storage->open_ref(b.st, &b.inbox, CV_STR("3.fifo.host"), &blob, new_ref, &len, &err), -1);
	assert_int_equal(b.storage->open_ref(b.st, &b.inbox, CV_STR("../../x"), &blob, new_ref, &len, &err), -1);
	assert_int_equal(b.storage->open_ref(b.st, &b.inbox, CV_STR("a\0b"), &blob, new_ref, &len, &err), -1);
	assert_int_equal(b.storage->open_ref(b.st, &b.inbox, CV_STR(""), &blob, new_ref, &len, &err), -1);
	deinit(&b);
}

/* Mail under a name that cannot stand in the UID list is not lost to the user. */
static void message_with_an_unsafe_name_gets_another(void **state)
{
	static const char *const names[] = { "cur/1.a b.host:2,S", "cur/1.a\nb.host:2,S", "cur/:2,S", "cur/1\t:2,S", "cur/1\x7f:2,S" };

	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		struct box b;
		const char *name;

		init_inbox(&b, state);
		put(&b, names[i], "x\n");
		assert_non_null(strstr(scan(&b), ".host-x-y S"));
		assert_int_equal(count_in(&b, "cur", false, &name), 1);
		assert_string_equal(read_ref(&b, name, NULL), "x\n");
		assert_string_equal(scan(&b), cv_arena_printf(b.arena, "%.*s S", (int)(strlen(name) - 4), name));
		deinit(&b);
	}
}

static void two_messages_with_one_name_are_two_messages(void **state)
{
	struct box b;
	struct dump dump = { 0 };

	init_inbox(&b, state);
	put(&b, "new/1.a.host", "one\n");
	put(&b, "cur/1.a.host:2,S", "two\n");
	(void)scan_all(&b, &b.inbox, &dump);
	assert_int_equal(dump.found.count, 2);
	assert_int_equal(count_in(&b, "cur", false, NULL) + count_in(&b, "new", false, NULL), 2);
	cv_vec_free(&dump.lines);
	cv_vec_free(&dump.found);
	deinit(&b);
}

static void one_message_with_two_names_is_one_message(void **state)
{
	struct box b;

	init_inbox(&b, state);
	put(&b, "new/1.a.host", "one\n");
	assert_int_equal(link(path_of(&b, "new/1.a.host"), path_of(&b, "cur/1.a.host:2,S")), 0);
	assert_string_equal(scan(&b), "1.a.host S");
	assert_int_equal(count_in(&b, "new", false, NULL), 0);
	deinit(&b);
}

/* A power cut left both names, and an expunge that was recorded before it is carried out. */
static void removed_message_has_no_other_name(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct cv_err err = { 0 };
		struct cv_str ref;
		struct box b;

		init_inbox(&b, state);
		put(&b, "cur/1.a:2,", "x\n");
		assert_int_equal(link(path_of(&b, "cur/1.a:2,"), path_of(&b, "new/1.a")), 0);
		open_st(&b);
		ref = cv_str_c(i == 0 ? "1.a:2," : "1.a");
		ok(b.storage->remove(b.st, &b.inbox, &ref, 1, &err));
		assert_int_equal(count_in(&b, "new", true, NULL) + count_in(&b, "cur", true, NULL), 0);
		deinit(&b);
	}
}

static void longest_names_are_kept_whole(void **state)
{
	const char *const keywords[] = { "one", "two", NULL };
	struct box b;
	char name[300];

	init_inbox(&b, state);
	memset(name, 'x', sizeof(name));
	memcpy(name, "new/", 4);
	name[4 + 254] = '\0';
	put(&b, name, "x\n");
	assert_string_equal(scan(&b), cv_arena_printf(b.arena, "%s ", name + 4));
	/* No room for a flag: the name stays, the journal knows. */
	assert_string_equal(set_flags(&b, name + 4, 1, CV_FLAG_SEEN, keywords), name + 4);
	assert_string_equal(read_ref(&b, name + 4, NULL), "x\n");
	deinit(&b);
}

static void missing_directories_are_made(void **state)
{
	struct box b;

	init_inbox(&b, state);
	assert_int_equal(rmdir(path_of(&b, "new")), 0);
	assert_int_equal(rmdir(path_of(&b, "tmp")), 0);
	save(&b, 1, "x\n", 0, NULL);
	assert_int_equal(count_in(&b, "new", false, NULL), 1);
	deinit(&b);
}

/* ---- flags and keywords --------------------------------------------------------------------------------------------- */

static void letters_for_flags(void **state)
{
	static const struct {
		uint16_t flags;
		const char *keywords[4];
		const char *want;
	} rows[] = {
		{ 0, { NULL }, ":2," },
		{ CV_FLAG_ALL, { NULL }, ":2,DFRST" },
		{ CV_FLAG_ANSWERED, { "a1", "b1", NULL }, ":2,Rab" },
		{ 0, { "$Forwarded", NULL }, ":2,Pc" },
		{ 0, { "A1", NULL }, ":2,a" }, /* without case */
		{ 0, { "with blank", NULL }, ":2," },
	};
	struct box b;
	const char *ref;

	init_inbox(&b, state);
	put(&b, "cur/1.a:2,S", "x\n");
	ref = "1.a:2,S";
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		ref = set_flags(&b, ref, 1, rows[i].flags, rows[i].keywords);
		assert_string_equal(ref, cv_arena_printf(b.arena, "1.a%s", rows[i].want));
		assert_true(exists(&b, cv_arena_printf(b.arena, "cur/%s", ref)));
	}
	assert_string_equal(get(&b, "dovecot-keywords"), "0 a1\n1 b1\n2 $Forwarded\n");
	deinit(&b);
}

static void twenty_seventh_keyword_has_no_letter(void **state)
{
	struct box b;
	const char *ref = "1.a:2,";

	init_inbox(&b, state);
	put(&b, "cur/1.a:2,", "x\n");
	for (unsigned i = 0; i < 30; i++) {
		const char *const keywords[] = { cv_arena_printf(b.arena, "k%u", i), NULL };

		ref = set_flags(&b, ref, 1, 0, keywords);
		assert_string_equal(ref, i < 26 ? cv_arena_printf(b.arena, "1.a:2,%c", 'a' + (int)i) : "1.a:2,");
	}
	deinit(&b);
}

static void what_is_not_ours_in_a_name_is_kept(void **state)
{
	struct box b;

	init_inbox(&b, state);
	put(&b, "cur/1.a:2,QSz", "x\n");
	assert_string_equal(set_flags(&b, "1.a:2,QSz", 1, CV_FLAG_FLAGGED, NULL), "1.a:2,FQz");
	deinit(&b);
}

static void flags_of_a_new_message_move_it_to_cur(void **state)
{
	struct box b;

	init_inbox(&b, state);
	put(&b, "new/1.a", "x\n");
	assert_string_equal(set_flags(&b, "1.a", 1, 0, NULL), "1.a");
	assert_true(exists(&b, "new/1.a"));
	assert_string_equal(set_flags(&b, "1.a", 1, CV_FLAG_SEEN, NULL), "1.a:2,S");
	assert_true(exists(&b, "cur/1.a:2,S"));
	deinit(&b);
}

static void watched_mailbox_has_its_new_messages_in_cur(void **state)
{
	struct box b;
	struct cv_err err = { 0 };
	void *watch;

	init_inbox(&b, state);
	put(&b, "new/1.a", "x\n");
	assert_string_equal(scan(&b), "1.a ");
	assert_true(exists(&b, "new/1.a"));
	ok(b.storage->watch(b.st, &b.inbox, NULL, NULL, &watch, &err));
	assert_true(exists(&b, "cur/1.a:2,"));
	put(&b, "new/2.b", "x\n");
	assert_string_equal(scan(&b), "1.a |2.b ");
	assert_true(exists(&b, "cur/2.b:2,"));
	b.storage->unwatch(b.st, watch);
	put(&b, "new/3.c", "x\n");
	assert_string_equal(scan(&b), "1.a |2.b |3.c ");
	assert_true(exists(&b, "new/3.c"));
	set_conf(&b, "maildir_empty_new=yes");
	assert_string_equal(scan(&b), "1.a |2.b |3.c ");
	assert_true(exists(&b, "cur/3.c:2,"));
	deinit(&b);
}

/* ---- dovecot-uidlist ------------------------------------------------------------------------------------------------ */

static const char dovecot_list[] =
	"3 V1234567 N12 G0102030405060708090a0b0c0d0e0f10\n"
	"3 W7 S5 :1.a.host,S=5,W=7\n"
	"7 W9 S8 Pold-uidl G11111111111111111111111111111111 O4 :2.b.host\n"
	"11 :3.c.host\n";

static void put_dovecot(struct box *b)
{
	put(b, "dovecot-uidlist", dovecot_list);
	put(b, "dovecot-keywords", "0 $Label1\n2 NonJunk\n");
	put(b, "cur/1.a.host,S=5,W=7:2,Sac", "ab\nc\n");
	put(b, "cur/2.b.host:2,", "ab\nc\n");
	put(b, "new/3.c.host", "ab\nc\n");
}

static int take_list(void *ctx, const struct cv_mailbox_ref *mailbox)
{
	if (cv_str_eq_c(mailbox->name, "INBOX"))
		*(struct cv_mailbox_ref *)ctx = *mailbox;
	return 1;
}

static void uids_keywords_and_uidl_of_dovecot_are_taken_over(void **state)
{
	struct cv_mailbox_ref listed = { 0 };
	struct dump dump = { 0 };
	struct cv_err err = { 0 };
	struct box b;

	init(&b, state);
	assert_int_equal(mkdir(path_of(&b, "cur"), 0700), 0);
	assert_int_equal(mkdir(path_of(&b, "new"), 0700), 0);
	put_dovecot(&b);
	ok(b.storage->mailbox_list(b.st, take_list, &listed, &err));
	assert_int_equal(listed.uidvalidity, 1234567);
	assert_memory_equal(listed.guid, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", 16);
	memcpy(b.inbox.guid, listed.guid, 16);
	b.inbox.uidvalidity = listed.uidvalidity;
	assert_int_equal(b.storage->mailbox_create(b.st, &b.inbox, &err), 1);
	assert_string_equal(get(&b, "dovecot-uidlist"), dovecot_list);
	assert_string_equal(scan_all(&b, &b.inbox, &dump), "11 3.c.host |3 1.a.host,S=5,W=7 S $Label1 NonJunk|7 2.b.host ");
	for (size_t i = 0; i < dump.found.count; i++) {
		const struct cv_storage_found *found = &dump.found.data[i];

		assert_true(found->guid_known);
		if (found->meta.uid == 3)
			assert_int_equal(found->meta.virtual_size, 7);
		if (found->meta.uid == 7) {
			assert_int_equal(found->meta.size, 8);
			assert_str(found->meta.pop3_uidl, "old-uidl");
			assert_memory_equal(found->meta.guid, "\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11", 16);
		}
	}
	/* What is saved from now on stands behind, and nothing before it changes. */
	save(&b, 12, "x\n", 0, NULL);
	assert_memory_equal(get(&b, "dovecot-uidlist"), dovecot_list, sizeof(dovecot_list) - 1);
	assert_non_null(strstr(get(&b, "dovecot-uidlist"), "\n12 W4 S2 T1600000000 G0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c :"));
	cv_vec_free(&dump.lines);
	cv_vec_free(&dump.found);
	deinit(&b);
}

static void uid_that_dovecot_gave_is_not_given_again(void **state)
{
	const struct cv_storage_meta meta = { .uid = 11 };
	struct cv_storage_meta next = { .uid = 12 };
	char ref[CV_STORAGE_REF_MAX];
	struct cv_err err = { 0 };
	struct box b;
	size_t len;
	void *s;

	init_inbox(&b, state);
	put_dovecot(&b);
	b.inbox.uidvalidity = 1234567;
	ok(b.storage->save_begin(b.st, &b.inbox, 0, &s, &err));
	assert_int_equal(b.storage->save_finish(s, &meta, ref, &len, &err), -1);
	assert_int_equal(err.code, CV_ERR_EXISTS);
	ok(b.storage->save_finish(s, &next, ref, &len, &err));
	ok(b.storage->sync(b.st, &err));
	deinit(&b);
}

static void tell_assigned(struct box *b, uint32_t first_uid)
{
	struct dump dump = { 0 };
	struct cv_err err = { 0 };

	(void)scan_all(b, &b->inbox, &dump);
	for (size_t i = 0; i < dump.found.count; i++) {
		dump.found.data[i].meta.uid = first_uid + (uint32_t)i;
		dump.found.data[i].meta.size = dump.found.data[i].meta.virtual_size = 2;
	}
	ok(b->storage->assigned(b->st, &b->inbox, dump.found.data, dump.found.count, &err));
	cv_vec_free(&dump.lines);
	cv_vec_free(&dump.found);
}

static void uids_outlive_everything_but_the_files(void **state)
{
	struct box b;
	const char *want;

	init_inbox(&b, state);
	put(&b, "new/1.a", "x\n");
	put(&b, "cur/2.b:2,S", "x\n");
	tell_assigned(&b, 1);
	save(&b, 3, "x\n", 0, NULL);
	want = scan(&b);
	open_st(&b);
	assert_string_equal(scan(&b), want);
	assert_int_equal(strncmp(want, "1 ", 2), 0);
	deinit(&b);
}

static void torn_and_broken_lists_are_read_as_far_as_they_go_and_mended(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "", "1.a |2.b " },
		{ "3", "1.a |2.b " },
		{ "rubbish\n1 :1.a\n", "1.a |2.b " },
		{ "3 V0 N5\n1 :1.a\n", "1.a |2.b " },
		{ "3 V9 N5\n1 :1.a\n2 :2.", "1 1.a |2.b " },               /* torn */
		{ "3 V9 N5\n1 :1.a\n2 :2.b", "1 1.a |2.b " },              /* torn by one octet: the name may go on */
		{ "3 V9 N5\n0 :1.a\n2 :2.b\n", "1.a |2 2.b " },
		{ "3 V9 N5\n1 W99999999999999999999 S :1.a\n2 :2.b\n", "1 1.a |2 2.b " },
		{ "3 V9 N5\n99999999999 :1.a\n2 :2.b\n", "1.a |2 2.b " },
		{ "3 V9 N5\n5 :1.a\n2 :2.b\n", "2 2.b |5 1.a " },          /* not ascending */
		{ "3 V9 N5\n1 :1.a\n2 :../../x\n", "1 1.a |2.b " },
		{ "1 9 5\n1 1.a\n2 2.b:2,S\n", "1 1.a |2 2.b " },          /* version 1 */
		{ "4 V9 N5\n1 :1.a\n", "1.a |2.b " },
	};

	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct box b;

		init_inbox(&b, state);
		put(&b, "dovecot-uidlist", rows[i].text);
		put(&b, "new/1.a", "x\n");
		put(&b, "new/2.b", "x\n");
		assert_string_equal(scan(&b), rows[i].want);
		tell_assigned(&b, 10);
		open_st(&b);
		assert_non_null(strstr(scan(&b), "|11 "));
		assert_int_equal(strncmp(get(&b, "dovecot-uidlist"), "3 V1700000000 N", 15), 0);
		assert_non_null(strstr(get(&b, "dovecot-uidlist"), " Gabababababababababababababababab\n10 W2 S2 T"));
		assert_null(strstr(get(&b, "dovecot-uidlist"), ".."));
		deinit(&b);
	}
}

static void list_of_others_is_written_anew_only_when_they_do_not_write_it(void **state)
{
	struct box b;

	init_inbox(&b, state);
	put(&b, "new/1.a", "x\n");
	put(&b, "dovecot-uidlist", "1 9 5\n");
	put(&b, "dovecot-uidlist.lock", "");
	tell_assigned(&b, 10);
	assert_string_equal(get(&b, "dovecot-uidlist"), "1 9 5\n");
	assert_int_equal(unlink(path_of(&b, "dovecot-uidlist.lock")), 0);
	tell_assigned(&b, 10);
	assert_non_null(strstr(get(&b, "dovecot-uidlist"), "\n10 W2 S2 T"));
	deinit(&b);
}

static void list_forgets_messages_that_are_gone_when_they_are_many(void **state)
{
	struct cv_buf text;
	struct box b;

	init_inbox(&b, state);
	cv_buf_init(&text, 1 << 20);
	cv_buf_append_c(&text, "3 V1700000000 N2000\n");
	for (unsigned i = 1; i < 2000; i++)
		cv_buf_printf(&text, "%u :%u.x\n", i, i);
	put(&b, "dovecot-uidlist", text.data);
	cv_buf_deinit(&text);
	put(&b, "new/1999.x", "x\n");
	assert_string_equal(scan(&b), "1999 1999.x ");
	open_st(&b);
	assert_true(strlen(get(&b, "dovecot-uidlist")) < 200);
	assert_non_null(strstr(get(&b, "dovecot-uidlist"), "N2000"));
	assert_string_equal(scan(&b), "1999 1999.x ");
	deinit(&b);
}

static void control_directory_has_the_lists(void **state)
{
	struct cv_mailbox_ref sub = { .name = CV_STR("A"), .uidvalidity = 5 };
	struct box b;
	struct cv_err err = { 0 };

	init(&b, state);
	b.args.control_root = cv_arena_printf(b.arena, "%s/control", b.dir);
	open_st(&b);
	assert_int_equal(b.storage->mailbox_create(b.st, &sub, &err), 0);
	save_in(&b, &sub, 1, "x\n", 0, "key");
	assert_non_null(get(&b, "../control/.A/dovecot-uidlist"));
	assert_non_null(get(&b, "../control/.A/dovecot-keywords"));
	assert_null(get(&b, ".A/dovecot-uidlist"));
	ok(b.storage->mailbox_rename(b.st, &sub, CV_STR("B"), &err));
	assert_non_null(get(&b, "../control/.B/dovecot-uidlist"));
	sub.name = CV_STR("B");
	ok(b.storage->mailbox_delete(b.st, &sub, &err));
	assert_false(exists(&b, "../control/.B"));
	deinit(&b);
}

/* ---- stamps and watches --------------------------------------------------------------------------------------------- */

static bool stamp_changed(struct box *b, uint64_t last[4])
{
	uint64_t now[4];
	struct cv_err err = { 0 };
	bool changed;

	ok(b->storage->stamp(b->st, &b->inbox, now, &err));
	changed = memcmp(now, last, sizeof(now)) != 0;
	memcpy(last, now, sizeof(now));
	return changed;
}

static void stamp_differs_when_something_changed_and_rests_else(void **state)
{
	uint64_t stamp[4] = { 0 };
	struct box b;

	init_inbox(&b, state);
	put(&b, "cur/1.a:2,", "x\n");
	assert_true(stamp_changed(&b, stamp));
	assert_true(stamp_changed(&b, stamp)); /* within the clock's tick */
	later();
	assert_true(stamp_changed(&b, stamp));
	assert_false(stamp_changed(&b, stamp));
	open_st(&b); /* also in the next process */
	assert_false(stamp_changed(&b, stamp));
	move(&b, "cur/1.a:2,", "cur/1.a:2,S");
	assert_true(stamp_changed(&b, stamp));
	later();
	(void)stamp_changed(&b, stamp);
	put(&b, "new/2.b", "x\n");
	assert_true(stamp_changed(&b, stamp));
	deinit(&b);
}

static void very_dirty_syncs_overlook_own_changes_only(void **state)
{
	uint64_t stamp[4] = { 0 };
	struct box b;

	init_inbox(&b, state);
	set_conf(&b, "maildir_very_dirty_syncs=yes");
	put(&b, "cur/1.a:2,", "x\n");
	(void)scan(&b);
	later();
	(void)stamp_changed(&b, stamp);
	later();
	(void)scan(&b);
	assert_false(stamp_changed(&b, stamp));
	set_flags(&b, "1.a:2,", 1, CV_FLAG_SEEN, NULL);
	assert_false(stamp_changed(&b, stamp));
	assert_string_equal(scan(&b), "1 1.a S");
	move(&b, "cur/1.a:2,S", "cur/1.a:2,F");
	assert_true(stamp_changed(&b, stamp));
	assert_string_equal(scan(&b), "1 1.a F");
	deinit(&b);
}

static void on_change(void *ctx)
{
	(*(unsigned *)ctx)++;
}

static void turn(struct cv_loop *loop, int ms)
{
	for (int i = 0; i < ms / 10; i++)
		cv_loop_once(loop, 10);
}

static void watch_tells_of_changes_once_for_many(void **state)
{
	struct cv_mailbox_ref other = { .name = CV_STR("Other"), .uidvalidity = 5 };
	struct cv_err err = { 0 };
	unsigned calls = 0, other_calls = 0;
	void *watch, *other_watch;
	struct cv_loop *loop;
	struct box b;

	init(&b, state);
	loop = cv_loop_new(CV_LOOP_EPOLL);
	b.args.loop = loop;
	open_st(&b);
	assert_int_equal(b.storage->mailbox_create(b.st, &b.inbox, &err), 0);
	assert_int_equal(b.storage->mailbox_create(b.st, &other, &err), 0);
	ok(b.storage->watch(b.st, &b.inbox, on_change, &calls, &watch, &err));
	ok(b.storage->watch(b.st, &other, on_change, &other_calls, &other_watch, &err));
	turn(loop, 100);
	calls = other_calls = 0;
	put(&b, "new/1.a", "x\n");
	put(&b, "new/2.b", "x\n");
	turn(loop, 200);
	assert_int_equal(calls, 1);
	move(&b, "new/1.a", "cur/1.a:2,S");
	turn(loop, 200);
	assert_int_equal(calls, 2);
	assert_int_equal(unlink(path_of(&b, "cur/1.a:2,S")), 0);
	turn(loop, 200);
	assert_int_equal(calls, 3);
	assert_int_equal(other_calls, 0);
	b.storage->unwatch(b.st, watch);
	put(&b, "new/3.c", "x\n");
	put(&b, ".Other/new/3.c", "x\n");
	turn(loop, 200);
	assert_int_equal(calls, 3);
	assert_int_equal(other_calls, 1);
	b.storage->unwatch(b.st, other_watch);
	close_st(&b);
	cv_loop_free(&loop);
	deinit(&b);
}

/* ---- folders -------------------------------------------------------------------------------------------------------- */

struct names {
	struct cv_arena *arena;
	CV_VEC(const char *) names;
};

static int take_name(void *ctx, const struct cv_mailbox_ref *mailbox)
{
	struct names *names = ctx;

	*cv_vec_push(&names->names) = cv_arena_str(names->arena, mailbox->name).ptr;
	return 1;
}

static const char *list_all(struct box *b)
{
	struct names names = { .arena = b->arena };
	struct cv_err err = { 0 };
	const char *text = "";

	ok(b->storage->mailbox_list(b->st, take_name, &names, &err));
	if (names.names.count > 0)
		qsort(names.names.data, names.names.count, sizeof(*names.names.data), compare_lines);
	for (size_t i = 0; i < names.names.count; i++)
		text = cv_arena_printf(b->arena, "%s%s%s", text, i > 0 ? "|" : "", names.names.data[i]);
	cv_vec_free(&names.names);
	return text;
}

static void names_on_disk_and_back(void **state)
{
	static const struct {
		const char *name, *maildirpp, *fs;
	} rows[] = {
		{ "Sent", ".Sent", "Sent" },
		{ "A/B/C", ".A.B.C", "A/B/C" },
		{ "a.b", ".a\\2eb", "a.b" },
		{ ".", ".\\2e", "\\2e" },
		{ "..", ".\\2e\\2e", "\\2e." },
		{ "../x", ".\\2e\\2e.x", "\\2e./x" },
		{ ".ssh", ".\\2essh", "\\2essh" },
		{ "a.", ".a\\2e", "a." },
		{ " a ", ". a ", " a " },
		{ "~root", ".~root", "~root" },
		{ "cur", ".cur", "\\63ur" },
		{ "A/new", ".A.new", "A/\\6eew" },
		{ "tmp/x", ".tmp.x", "\\74mp/x" },
		{ "culver-index", ".culver-index", "\\63ulver-index" },
		{ "x\\2ey", ".x\\5c2ey", "x\\5c2ey" },
		{ "x\\y", ".x\\y", "x\\y" },
		{ "Entw\xc3\xbcrfe", ".Entw&APw-rfe", "Entw&APw-rfe" },
		{ "R&D", ".R&-D", "R&-D" },
		{ "INBOX/Sub", ".INBOX.Sub", "INBOX/Sub" },
		{ "INBOXES", ".INBOXES", "INBOXES" },
	};

	for (unsigned fs = 0; fs < 2; fs++) {
		for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
			struct cv_mailbox_ref mailbox = { .name = cv_str_c(rows[i].name), .uidvalidity = 3 };
			const char *path = fs ? rows[i].fs : rows[i].maildirpp;
			struct cv_err err = { 0 };
			struct box b;

			init(&b, state);
			b.args.layout = fs ? "fs" : "maildir++";
			open_st(&b);
			assert_int_equal(b.storage->mailbox_create(b.st, &b.inbox, &err), 0);
			assert_int_equal(b.storage->mailbox_name_check(b.st, mailbox.name, &err), 0);
			assert_int_equal(b.storage->mailbox_create(b.st, &mailbox, &err), 0);
			assert_true(exists(&b, cv_arena_printf(b.arena, "%s/cur", path)));
			assert_int_equal(exists(&b, cv_arena_printf(b.arena, "%s/maildirfolder", path)), !fs);
			assert_int_equal(b.storage->mailbox_create(b.st, &mailbox, &err), 1);
			assert_non_null(strstr(list_all(&b), rows[i].name));
			assert_int_equal(strlen(list_all(&b)), strlen(rows[i].name) + strlen("INBOX|"));
			ok(b.storage->mailbox_rename(b.st, &mailbox, CV_STR("x/moved"), &err));
			mailbox.name = CV_STR("x/moved");
			assert_string_equal(list_all(&b), "INBOX|x/moved");
			ok(b.storage->mailbox_delete(b.st, &mailbox, &err));
			assert_string_equal(list_all(&b), "INBOX");
			assert_false(exists(&b, fs ? "x" : ".x.moved"));
			deinit(&b);
		}
	}
}

static void names_that_cannot_be(void **state)
{
	char level[400], deep[3000];
	struct cv_err err = { 0 };
	struct box b;

	init(&b, state);
	memset(level, 'x', sizeof(level));
	for (size_t i = 0; i < sizeof(deep); i++)
		deep[i] = i % 2 == 0 ? 'x' : '/';
	for (unsigned fs = 0; fs < 2; fs++) {
		b.args.layout = fs ? "fs" : NULL;
		open_st(&b);
		assert_int_equal(b.storage->mailbox_name_check(b.st, cv_str_mem(level, 256), &err), -1);
		assert_true(err.public_text);
		assert_int_equal(b.storage->mailbox_name_check(b.st, cv_str_mem(level, 254), &err), 0);
		assert_int_equal(b.storage->mailbox_name_check(b.st, cv_str_mem(deep, 2999), &err), -1);
		assert_int_equal(b.storage->mailbox_name_check(b.st, CV_STR("a//b"), &err), -1);
		assert_int_equal(b.storage->mailbox_name_check(b.st, CV_STR(""), &err), -1);
		assert_int_equal(b.storage->mailbox_name_check(b.st, CV_STR("a\0b"), &err), -1);
	}
	deinit(&b);
}

static void folders_without_a_proper_name_are_passed_over(void **state)
{
	static const char *const names[] = { ".a..b", "..a", ".&", ".&AGE-", ".inbox", ".INBOX", ".x\\5cy", ".\xff" };
	struct box b;

	init_inbox(&b, state);
	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		assert_int_equal(mkdir(path_of(&b, names[i]), 0700), 0);
		assert_int_equal(mkdir(path_of(&b, cv_arena_printf(b.arena, "%s/cur", names[i])), 0700), 0);
	}
	assert_int_equal(mkdir(path_of(&b, ".cache"), 0700), 0); /* no mailbox in it */
	put(&b, ".file", "");
	assert_string_equal(list_all(&b), "INBOX");
	deinit(&b);
}

static void inbox_and_dirname_of_the_location(void **state)
{
	struct cv_mailbox_ref sub = { .name = CV_STR("A/B"), .uidvalidity = 3 };
	struct cv_err err = { 0 };
	struct box b;

	init(&b, state);
	b.args.inbox = cv_arena_printf(b.arena, "%s/in", b.dir);
	open_st(&b);
	assert_int_equal(b.storage->mailbox_create(b.st, &b.inbox, &err), 0);
	assert_true(exists(&b, "../in/cur"));
	assert_string_equal(list_all(&b), "INBOX");
	b.args.inbox = NULL;
	b.args.dirname = "m";
	assert_int_equal(b.storage->open(&b.args, true, &(void *){ NULL }, &err), -1);
	b.args.layout = "fs";
	open_st(&b);
	assert_int_equal(b.storage->mailbox_create(b.st, &b.inbox, &err), 0);
	assert_int_equal(b.storage->mailbox_create(b.st, &sub, &err), 0);
	assert_true(exists(&b, "INBOX/m/cur"));
	assert_true(exists(&b, "A/B/m/cur"));
	assert_string_equal(list_all(&b), "A/B|INBOX");
	ok(b.storage->mailbox_rename(b.st, &sub, CV_STR("C"), &err));
	assert_true(exists(&b, "C/m/cur"));
	assert_false(exists(&b, "A"));
	deinit(&b);
}

static void folder_below_stays_when_the_upper_one_goes(void **state)
{
	struct cv_mailbox_ref upper = { .name = CV_STR("A"), .uidvalidity = 3 }, lower = { .name = CV_STR("A/B"), .uidvalidity = 4 };

	for (unsigned fs = 0; fs < 2; fs++) {
		struct cv_err err = { 0 };
		struct box b;

		init_inbox(&b, state);
		b.args.layout = fs ? "fs" : NULL;
		open_st(&b);
		assert_int_equal(b.storage->mailbox_create(b.st, &upper, &err), 0);
		assert_int_equal(b.storage->mailbox_create(b.st, &lower, &err), 0);
		save_in(&b, &lower, 1, "x\n", 0, NULL);
		save_in(&b, &upper, 1, "x\n", 0, NULL);
		ok(b.storage->mailbox_delete(b.st, &upper, &err));
		assert_string_equal(list_all(&b), "A/B|INBOX");
		assert_int_equal(count_in(&b, fs ? "A/B/new" : ".A.B/new", false, NULL), 1);
		assert_int_equal(b.storage->mailbox_delete(b.st, &upper, &err), -1);
		assert_int_equal(err.code, CV_ERR_NOTFOUND);
		deinit(&b);
	}
}

static void nothing_outside_the_root_is_touched(void **state)
{
	struct cv_mailbox_ref link_ref = { .name = CV_STR("link"), .uidvalidity = 3 }, real = { .name = CV_STR("real"), .uidvalidity = 4 };
	struct cv_err err = { 0 };
	struct box b;
	void *s;

	init_inbox(&b, state);
	assert_int_equal(mkdir(path_of(&b, "../outside"), 0700), 0);
	assert_int_equal(mkdir(path_of(&b, "../outside/cur"), 0700), 0);
	put(&b, "../outside/cur/1.a:2,", "x\n");
	assert_int_equal(symlink("../outside", path_of(&b, ".link")), 0);
	assert_string_equal(list_all(&b), "INBOX");
	assert_int_equal(b.storage->save_begin(b.st, &link_ref, 0, &s, &err), -1);
	assert_int_equal(b.storage->mailbox_delete(b.st, &link_ref, &err), -1);
	/* A link within a folder that is deleted goes, what it points to stays. */
	assert_int_equal(b.storage->mailbox_create(b.st, &real, &err), 0);
	assert_int_equal(symlink("../../../outside", path_of(&b, ".real/cur/l")), 0);
	ok(b.storage->mailbox_delete(b.st, &real, &err));
	assert_false(exists(&b, ".real"));
	assert_true(exists(&b, "../outside/cur/1.a:2,"));
	deinit(&b);
}

static void inbox_and_folders_that_are_there_are_not_replaced(void **state)
{
	struct cv_mailbox_ref a = { .name = CV_STR("A"), .uidvalidity = 3 }, c = { .name = CV_STR("C"), .uidvalidity = 4 };
	struct cv_err err = { 0 };
	struct box b;

	init_inbox(&b, state);
	assert_int_equal(b.storage->mailbox_create(b.st, &a, &err), 0);
	assert_int_equal(b.storage->mailbox_create(b.st, &c, &err), 0);
	save_in(&b, &c, 1, "x\n", 0, NULL);
	assert_int_equal(b.storage->mailbox_rename(b.st, &a, c.name, &err), -1);
	assert_int_equal(err.code, CV_ERR_EXISTS);
	assert_int_equal(b.storage->mailbox_delete(b.st, &b.inbox, &err), -1);
	assert_int_equal(count_in(&b, ".C/new", false, NULL), 1);
	deinit(&b);
}

static void folder_that_another_program_replaced_is_used(void **state)
{
	struct cv_mailbox_ref a = { .name = CV_STR("A"), .uidvalidity = 3 };
	struct cv_err err = { 0 };
	struct box b;

	init_inbox(&b, state);
	assert_int_equal(b.storage->mailbox_create(b.st, &a, &err), 0);
	save_in(&b, &a, 1, "x\n", 0, NULL);
	move(&b, ".A", ".B");
	assert_int_equal(b.storage->mailbox_create(b.st, &a, &err), 0);
	save_in(&b, &a, 1, "y\n", 0, NULL);
	assert_int_equal(count_in(&b, ".A/new", false, NULL), 1);
	assert_int_equal(count_in(&b, ".B/new", false, NULL), 1);
	deinit(&b);
}

static void sweep_removes_what_is_old_only(void **state)
{
	struct cv_err err = { 0 };
	struct box b;

	init_inbox(&b, state);
	put(&b, "tmp/culver.1.M1.host", "x");
	put(&b, "tmp/1.other.host", "x");
	assert_int_equal(mkdir(path_of(&b, "culver-trash.1"), 0700), 0);
	put(&b, "culver-trash.1/x", "x");
	ok(b.storage->sweep(b.st, &err));
	assert_false(exists(&b, "culver-trash.1"));
	assert_int_equal(count_in(&b, "tmp", false, NULL), 2);
	cv_time_set_for_tests(time(NULL) + 2 * 3600);
	ok(b.storage->sweep(b.st, &err));
	assert_false(exists(&b, "tmp/culver.1.M1.host"));
	assert_true(exists(&b, "tmp/1.other.host"));
	cv_time_set_for_tests(time(NULL) + 37 * 3600);
	ok(b.storage->sweep(b.st, &err));
	assert_false(exists(&b, "tmp/1.other.host"));
	cv_time_set_for_tests(0);
	deinit(&b);
}

/* ---- many messages -------------------------------------------------------------------------------------------------- */

/* Others rename all of them, then each is read by its old name: two listings would already be one too many for each. */
static int count_lists(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	(void)name;
	(void)len;
	*(unsigned *)ctx += op == CV_FILE_LIST;
	return 0;
}

static void finding_many_renamed_messages_reads_the_directory_once(void **state)
{
	unsigned lists = 0;
	struct box b;

	init_inbox(&b, state);
	for (unsigned i = 0; i < 500; i++)
		put(&b, cv_arena_printf(b.arena, "cur/%u.x:2,S", i), "x\n");
	later();
	cv_file_set_fault(count_lists, &lists);
	for (unsigned i = 0; i < 500; i++)
		assert_non_null(read_ref(&b, cv_arena_printf(b.arena, "%u.x", i), NULL));
	cv_file_set_fault(NULL, NULL);
	assert_int_equal(lists, 2); /* new and cur */
	deinit(&b);
}

/* Known messages cost a scan no stat each. */
static int count_stats(void *ctx, enum cv_file_op op, const char *name, size_t *len)
{
	(void)len;
	*(unsigned *)ctx += op == CV_FILE_STAT && name != NULL;
	return 0;
}

static void scan_of_known_messages_examines_none(void **state)
{
	unsigned stats = 0;
	struct box b;

	init_inbox(&b, state);
	for (unsigned i = 0; i < 300; i++)
		save(&b, i + 1, "x\n", 0, NULL);
	open_st(&b);
	cv_file_set_fault(count_stats, &stats);
	(void)scan(&b);
	cv_file_set_fault(NULL, NULL);
	assert_true(stats < 20);
	deinit(&b);
}

static void quiet(void *ctx, enum cv_log_level level, struct cv_str line)
{
	(void)ctx;
	if (getenv("STORE_TEST_LOG") != NULL)
		fprintf(stderr, "%d %.*s\n", (int)level, CV_STR_ARG(line));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(saved_message_is_visible_to_others_when_recorded_only),
		cv_test(saved_flags_and_keywords_are_in_the_name),
		cv_test(crash_before_recorded_leaves_an_unconfirmed_message_that_reading_confirms),
		cv_test(recorded_after_a_crash_gives_the_name),
		cv_test(given_up_message_leaves_nothing),
		cv_test(failed_sync_leaves_nothing),
		cv_test(letter_that_may_be_lost_is_written_again),
		cv_test(what_was_done_before_is_synced_when_it_is_done_again),
		cv_test(delivery_costs_no_more_syncs_than_it_must),
		cv_test(copy_within_a_mailbox_outlives_a_failed_look),
		cv_test(copy_is_a_hard_link_with_its_own_flags),
		cv_test(message_that_another_program_renamed_is_found),
		cv_test(key_of_a_reference_is_the_base),
		cv_test(scan_sees_what_others_deliver_flag_and_delete),
		cv_test(sizes_come_from_names_that_tell_the_truth),
		cv_test(stray_things_are_no_messages),
		cv_test(a_link_is_never_read),
		cv_test(message_with_an_unsafe_name_gets_another),
		cv_test(two_messages_with_one_name_are_two_messages),
		cv_test(one_message_with_two_names_is_one_message),
		cv_test(removed_message_has_no_other_name),
		cv_test(longest_names_are_kept_whole),
		cv_test(missing_directories_are_made),
		cv_test(letters_for_flags),
		cv_test(twenty_seventh_keyword_has_no_letter),
		cv_test(what_is_not_ours_in_a_name_is_kept),
		cv_test(flags_of_a_new_message_move_it_to_cur),
		cv_test(watched_mailbox_has_its_new_messages_in_cur),
		cv_test(uids_keywords_and_uidl_of_dovecot_are_taken_over),
		cv_test(uid_that_dovecot_gave_is_not_given_again),
		cv_test(uids_outlive_everything_but_the_files),
		cv_test(torn_and_broken_lists_are_read_as_far_as_they_go_and_mended),
		cv_test(list_of_others_is_written_anew_only_when_they_do_not_write_it),
		cv_test(list_forgets_messages_that_are_gone_when_they_are_many),
		cv_test(control_directory_has_the_lists),
		cv_test(stamp_differs_when_something_changed_and_rests_else),
		cv_test(very_dirty_syncs_overlook_own_changes_only),
		cv_test(watch_tells_of_changes_once_for_many),
		cv_test(names_on_disk_and_back),
		cv_test(names_that_cannot_be),
		cv_test(folders_without_a_proper_name_are_passed_over),
		cv_test(inbox_and_dirname_of_the_location),
		cv_test(folder_below_stays_when_the_upper_one_goes),
		cv_test(nothing_outside_the_root_is_touched),
		cv_test(inbox_and_folders_that_are_there_are_not_replaced),
		cv_test(folder_that_another_program_replaced_is_used),
		cv_test(sweep_removes_what_is_old_only),
		cv_test(finding_many_renamed_messages_reads_the_directory_once),
		cv_test(scan_of_known_messages_examines_none),
	};
	const struct cv_log_config log = { .target = CV_LOG_CALLBACK, .callback = quiet, .role = "test" };
	struct cv_err err = { 0 };

	cv_test_init();
	(void)cv_log_open(&log, &err);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
