/* SPDX-License-Identifier: MIT
   sdbox: folders say whose they are, so that what is done again after a crash touches no other mailbox. */
#include <config.h>

#include "t/store/store-helper.h"
#include <culver/file.h>

#include <fcntl.h>
#include <string.h>

#define MAIL "Subject: x\r\n\r\nx\r\n"

CV_EXPORT extern const struct cv_module sdbox_LTX_cv_module;

struct folders {
	struct cv_registry *registry;
	const struct cv_storage *storage;
	struct cv_storage_args args;
	char root[600];
	void *st;
};

static void folders_open(struct folders *f, void **state)
{
	struct cv_err err = { 0 };
	size_t len;

	*f = (struct folders){ .args = { .fsync = CV_FSYNC_OPTIMIZED, .dir_mode = 0700, .file_mode = 0600, .hostname = "test" } };
	len = strlen(cv_test_dir(state));
	assert_true(len < sizeof(f->root));
	memcpy(f->root, cv_test_dir(state), len + 1);
	f->args.root = f->args.index_root = f->args.control_root = f->root;
	f->registry = cv_registry_new();
	assert_ok(cv_module_add_static(f->registry, &sdbox_LTX_cv_module, &err));
	assert_ok(cv_modules_load(f->registry, CV_ROLE_WORKER, &err));
	f->storage = cv_provider_get(f->registry, CV_CAP_STORAGE, "sdbox");
	assert_non_null(f->storage);
	assert_ok(f->storage->open(&f->args, true, &f->st, &err));
}

static void folders_close(struct folders *f)
{
	f->storage->close(f->st);
	cv_registry_free(&f->registry);
}

static struct cv_mailbox_ref mailbox(const char *name, uint8_t guid)
{
	struct cv_mailbox_ref ref = { .name = cv_str_c(name), .uidvalidity = 1000u + guid };

	memset(ref.guid, guid, sizeof(ref.guid));
	return ref;
}

static void save(struct folders *f, const struct cv_mailbox_ref *ref, uint32_t uid)
{
	const struct cv_storage_meta meta = { .uid = uid };
	char text[CV_STORAGE_REF_MAX];
	struct cv_err err = { 0 };
	struct cv_str reference;
	size_t len;
	void *saving;

	assert_ok(f->storage->save_begin(f->st, ref, 0, &saving, &err));
	assert_ok(f->storage->save_write(saving, CV_STR(MAIL), &err));
	assert_ok(f->storage->save_finish(saving, &meta, text, &len, &err));
	assert_ok(f->storage->sync(f->st, &err));
	reference = cv_str_mem(text, len);
	assert_ok(f->storage->recorded(f->st, ref, &reference, 1, &err));
}

static void expect_message(struct folders *f, const struct cv_mailbox_ref *ref, const char *uid, bool there)
{
	struct cv_storage_blob blob = { .fd = -1 };
	char new_ref[CV_STORAGE_REF_MAX];
	struct cv_err err = { 0 };
	size_t len;
	int ret = f->storage->open_ref(f->st, ref, cv_str_c(uid), &blob, new_ref, &len, &err);

	assert_int_equal(ret, there ? 1 : -1);
	if (there)
		cv_file_close(&blob.fd);
}

/* A message's octets, as the store reads them; *at_once_r: they came with the look at the file's head. */
static struct cv_str read_message(struct folders *f, const struct cv_mailbox_ref *ref, uint64_t expected, struct cv_buf *buf, bool *at_once_r)
{
	struct cv_storage_blob blob = { .fd = -1, .expected = expected, .start = buf };
	char new_ref[CV_STORAGE_REF_MAX];
	struct cv_err err = { 0 };
	size_t len;

	cv_buf_clear(buf);
	assert_ok(f->storage->open_ref(f->st, ref, CV_STR("1"), &blob, new_ref, &len, &err));
	*at_once_r = buf->len > 0;
	if (*at_once_r) {
		assert_true(blob.offset <= buf->len && buf->len - blob.offset >= blob.len);
	} else {
		assert_non_null(cv_buf_reserve(buf, blob.offset + blob.len));
		assert_ok(cv_file_pread(blob.fd, buf->data, blob.offset + blob.len, 0, &len, &err));
		cv_buf_commit(buf, len);
	}
	cv_file_close(&blob.fd);
	return cv_str_sub(cv_buf_str(buf), blob.offset, blob.len);
}

static void a_message_of_the_size_that_is_expected_takes_one_read(void **state)
{
	struct cv_mailbox_ref a = mailbox("A", 1);
	struct cv_err err = { 0 };
	struct cv_buf buf;
	struct folders f;
	bool at_once;

	folders_open(&f, state);
	assert_ok(f.storage->mailbox_create(f.st, &a, &err));
	save(&f, &a, 1);
	cv_buf_init(&buf, 1000);
	assert_str(read_message(&f, &a, strlen(MAIL), &buf, &at_once), MAIL);
	assert_true(at_once);
	/* What is known may be wrong, or nothing. */
	for (uint64_t expected = 0; expected < 1100; expected++)
		assert_str(read_message(&f, &a, expected, &buf, &at_once), MAIL);
	assert_str(read_message(&f, &a, UINT64_MAX, &buf, &at_once), MAIL);
	assert_false(at_once);
	cv_buf_deinit(&buf);
	folders_close(&f);
}

static void a_longer_head_than_usual_is_read_as_well(void **state)
{
	struct cv_mailbox_ref a = mailbox("A", 1);
	struct cv_err err = { 0 };
	struct cv_buf buf, file;
	struct folders f;
	bool at_once;
	int dir, fd;

	folders_open(&f, state);
	assert_ok(f.storage->mailbox_create(f.st, &a, &err));
	cv_buf_init(&file, 10000);
	cv_buf_printf(&file, "2 M1e C1 X%0100d\n\001\002N          %016X\n%s\n\001\003\nR1\nGabc\n\n", 0, (unsigned)strlen(MAIL), MAIL);
	assert_ok(f.storage->mailbox_dir(f.st, &a, &dir, &err));
	assert_ok(cv_file_open(dir, "u.1", O_WRONLY | O_CREAT, 0600, &fd, &err));
	assert_ok(cv_file_pwrite(fd, cv_buf_str(&file), 0, &err));
	cv_file_close(&fd);
	cv_buf_init(&buf, 1000);
	assert_str(read_message(&f, &a, strlen(MAIL), &buf, &at_once), MAIL);
	assert_false(at_once);
	cv_buf_deinit(&file);
	cv_buf_deinit(&buf);
	folders_close(&f);
}

static int find_ref(void *ctx, const struct cv_mailbox_ref *ref)
{
	struct cv_mailbox_ref *want = ctx;

	if (cv_str_eq(ref->name, want->name)) {
		memcpy(want->guid, ref->guid, sizeof(want->guid));
		want->uidvalidity = ref->uidvalidity;
	}
	return 1;
}

static void the_list_tells_whose_folders_are(void **state)
{
	struct cv_mailbox_ref a = mailbox("A/B", 7), found = { .name = CV_STR("A/B") };
	struct cv_err err = { 0 };
	struct folders f;

	folders_open(&f, state);
	assert_ok(f.storage->mailbox_create(f.st, &a, &err));
	assert_ok(f.storage->mailbox_list(f.st, find_ref, &found, &err));
	assert_memory_equal(found.guid, a.guid, sizeof(a.guid));
	assert_int_equal(found.uidvalidity, 1007);
	folders_close(&f);
}

static void another_mailboxs_folder_is_not_deleted(void **state)
{
	struct cv_mailbox_ref old = mailbox("A", 1), new = mailbox("A", 2);
	struct cv_err err = { 0 };
	struct folders f;

	folders_open(&f, state);
	assert_ok(f.storage->mailbox_create(f.st, &new, &err));
	save(&f, &new, 1);
	assert_int_equal(f.storage->mailbox_delete(f.st, &old, &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	expect_message(&f, &new, "1", true);
	assert_ok(f.storage->mailbox_delete(f.st, &new, &err));
	expect_message(&f, &new, "1", false);
	folders_close(&f);
}

static void another_mailboxs_folder_is_not_renamed(void **state)
{
	struct cv_mailbox_ref old = mailbox("A", 1), new = mailbox("A", 2), moved = mailbox("B", 2);
	struct cv_err err = { 0 };
	struct folders f;

	folders_open(&f, state);
	assert_ok(f.storage->mailbox_create(f.st, &new, &err));
	save(&f, &new, 1);
	assert_int_equal(f.storage->mailbox_rename(f.st, &old, CV_STR("B"), &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	assert_ok(f.storage->mailbox_rename(f.st, &new, CV_STR("B"), &err));
	expect_message(&f, &moved, "1", true);
	folders_close(&f);
}

static void an_empty_folder_makes_room_for_a_rename_and_one_with_messages_does_not(void **state)
{
	struct cv_mailbox_ref a = mailbox("A", 1), b = mailbox("B", 2), c = mailbox("C", 3), moved = mailbox("B", 1);
	struct cv_err err = { 0 };
	struct folders f;

	folders_open(&f, state);
	assert_ok(f.storage->mailbox_create(f.st, &a, &err));
	assert_ok(f.storage->mailbox_create(f.st, &b, &err));
	assert_ok(f.storage->mailbox_create(f.st, &c, &err));
	save(&f, &a, 1);
	save(&f, &c, 9);
	assert_int_equal(f.storage->mailbox_rename(f.st, &a, CV_STR("C"), &err), -1);
	assert_int_equal(err.code, CV_ERR_EXISTS);
	assert_ok(f.storage->mailbox_rename(f.st, &a, CV_STR("B"), &err));
	expect_message(&f, &moved, "1", true);
	expect_message(&f, &c, "9", true);
	folders_close(&f);
}

/* The rename is done again after a crash, which has left a folder at the old name of which nothing says whose it is. */
static void a_nameless_folder_is_not_what_was_renamed_before(void **state)
{
	struct cv_mailbox_ref a = mailbox("A", 1), b = mailbox("B", 1), other = mailbox("C", 3);
	struct cv_err err = { 0 };
	struct folders f;
	int root;

	folders_open(&f, state);
	assert_ok(f.storage->mailbox_create(f.st, &b, &err));
	assert_ok(f.storage->mailbox_create(f.st, &other, &err));
	save(&f, &b, 1);
	save(&f, &other, 1);
	assert_ok(cv_file_root(f.root, &root, &err));
	assert_ok(cv_file_mkdirs(root, "mailboxes/A/dbox-Mails", 0700, &err));
	assert_int_equal(f.storage->mailbox_rename(f.st, &a, CV_STR("C"), &err), -1);
	assert_int_equal(err.code, CV_ERR_EXISTS);
	assert_int_equal(f.storage->mailbox_rename(f.st, &a, CV_STR("B"), &err), -1);
	assert_int_equal(err.code, CV_ERR_NOTFOUND);
	expect_message(&f, &b, "1", true);
	cv_file_close(&root);
	folders_close(&f);
}

static void a_name_moves_with_all_below_it_in_one_step(void **state)
{
	struct cv_mailbox_ref all[] = { mailbox("A", 1), mailbox("A/x", 2), mailbox("A/x/y", 3), mailbox("A/later", 4) };
	struct cv_mailbox_ref moved[] = { mailbox("B/C", 1), mailbox("B/C/x", 2), mailbox("B/C/x/y", 3) };
	struct cv_err err = { 0 };
	struct folders f;
	struct stat st;
	int root;

	folders_open(&f, state);
	for (size_t i = 0; i < CV_COUNT_OF(moved); i++) { /* the last one has no folder yet */
		assert_ok(f.storage->mailbox_create(f.st, &all[i], &err));
		save(&f, &all[i], 1);
	}
	/* Once more when it was done before, as after a crash. */
	for (unsigned times = 0; times < 2; times++) {
		assert_int_equal(f.storage->mailbox_rename_tree(f.st, all, CV_COUNT_OF(all), CV_STR("A"), CV_STR("B/C"), &err), 1);
		for (size_t i = 0; i < CV_COUNT_OF(moved); i++) {
			expect_message(&f, &moved[i], "1", true);
			expect_message(&f, &all[i], "1", false);
		}
	}
	/* Nothing is left of a level that has no mailbox. */
	assert_int_equal(f.storage->mailbox_rename_tree(f.st, moved, CV_COUNT_OF(moved), CV_STR("B/C"), CV_STR("D"), &err), 1);
	assert_ok(cv_file_root(f.root, &root, &err));
	assert_int_equal(cv_file_stat(root, "mailboxes/B", &st, &err), 0);
	cv_file_close(&root);
	folders_close(&f);
}

/* A message that was finished and is not synced yet goes along. */
static void what_waits_for_its_sync_moves_with_the_tree(void **state)
{
	const struct cv_storage_meta meta = { .uid = 1 };
	struct cv_mailbox_ref all[] = { mailbox("A", 1), mailbox("A/x", 2) }, moved = mailbox("B/x", 2);
	char text[CV_STORAGE_REF_MAX];
	struct cv_err err = { 0 };
	struct cv_str reference;
	struct folders f;
	void *saving;
	size_t len;

	folders_open(&f, state);
	for (size_t i = 0; i < CV_COUNT_OF(all); i++)
		assert_ok(f.storage->mailbox_create(f.st, &all[i], &err));
	assert_ok(f.storage->save_begin(f.st, &all[1], 0, &saving, &err));
	assert_ok(f.storage->save_write(saving, CV_STR(MAIL), &err));
	assert_ok(f.storage->save_finish(saving, &meta, text, &len, &err));
	assert_int_equal(f.storage->mailbox_rename_tree(f.st, all, CV_COUNT_OF(all), CV_STR("A"), CV_STR("B"), &err), 1);
	assert_ok(f.storage->sync(f.st, &err));
	reference = cv_str_mem(text, len);
	assert_ok(f.storage->recorded(f.st, &moved, &reference, 1, &err));
	expect_message(&f, &moved, "1", true);
	folders_close(&f);
}

static void a_tree_with_something_in_its_way_moves_one_by_one(void **state)
{
	struct cv_mailbox_ref all[] = { mailbox("A", 1), mailbox("A/x", 2) }, other = mailbox("A/x", 3), in_the_way = mailbox("B/z", 4);
	struct cv_err err = { 0 };
	struct folders f;

	folders_open(&f, state);
	assert_ok(f.storage->mailbox_create(f.st, &all[0], &err));
	assert_ok(f.storage->mailbox_create(f.st, &other, &err));
	assert_ok(f.storage->mailbox_create(f.st, &in_the_way, &err));
	save(&f, &all[0], 1);
	save(&f, &other, 1);
	assert_int_equal(f.storage->mailbox_rename_tree(f.st, all, 1, CV_STR("A"), CV_STR("B"), &err), 0);
	assert_int_equal(f.storage->mailbox_rename_tree(f.st, all, 2, CV_STR("A"), CV_STR("D"), &err), 0); /* A/x is another one's */
	expect_message(&f, &all[0], "1", true);
	expect_message(&f, &other, "1", true);
	folders_close(&f);
}

static void messages_of_an_unknown_mailbox_are_put_aside_when_the_name_is_taken(void **state)
{
	struct cv_mailbox_ref old = mailbox("A", 1), new = mailbox("A", 2);
	struct cv_err err = { 0 };
	struct folders f;
	struct stat st;
	int root;

	folders_open(&f, state);
	assert_ok(f.storage->mailbox_create(f.st, &old, &err));
	save(&f, &old, 1);
	assert_ok(f.storage->mailbox_create(f.st, &new, &err));
	expect_message(&f, &new, "1", false);
	assert_ok(cv_file_root(f.root, &root, &err));
	assert_int_equal(
		cv_file_stat(root, "mailboxes/A/dbox-Mails.of-01010101010101010101010101010101/u.1", &st, &err), 1);
	cv_file_close(&root);
	folders_close(&f);
}

static void a_folder_may_be_made_later_where_nothing_is_in_the_way(void **state)
{
	struct cv_mailbox_ref old = mailbox("A", 1), new = mailbox("A", 2), other = mailbox("B", 3);
	struct cv_err err = { 0 };
	struct folders f;

	new.later = other.later = true;
	folders_open(&f, state);
	assert_int_equal(f.storage->mailbox_create(f.st, &old, &err), CV_FOLDER_MADE);
	save(&f, &old, 1);
	assert_int_equal(f.storage->mailbox_create(f.st, &new, &err), CV_FOLDER_MADE); /* what was there is put aside */
	expect_message(&f, &new, "1", false);
	assert_int_equal(f.storage->mailbox_create(f.st, &new, &err), CV_FOLDER_WAS_THERE);
	assert_int_equal(f.storage->mailbox_create(f.st, &other, &err), CV_FOLDER_LATER);
	other.later = false;
	assert_int_equal(f.storage->mailbox_create(f.st, &other, &err), CV_FOLDER_MADE);
	save(&f, &other, 1);
	expect_message(&f, &other, "1", true);
	folders_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(a_message_of_the_size_that_is_expected_takes_one_read),
		cv_test(a_longer_head_than_usual_is_read_as_well),
		cv_test(the_list_tells_whose_folders_are),
		cv_test(another_mailboxs_folder_is_not_deleted),
		cv_test(another_mailboxs_folder_is_not_renamed),
		cv_test(an_empty_folder_makes_room_for_a_rename_and_one_with_messages_does_not),
		cv_test(a_nameless_folder_is_not_what_was_renamed_before),
		cv_test(a_name_moves_with_all_below_it_in_one_step),
		cv_test(what_waits_for_its_sync_moves_with_the_tree),
		cv_test(a_tree_with_something_in_its_way_moves_one_by_one),
		cv_test(messages_of_an_unknown_mailbox_are_put_aside_when_the_name_is_taken),
		cv_test(a_folder_may_be_made_later_where_nothing_is_in_the_way),
	};

	return store_tests_run(tests);
}
