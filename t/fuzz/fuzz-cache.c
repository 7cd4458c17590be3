/* SPDX-License-Identifier: MIT
   A mailbox's cache file with anything in it: records and texts that check are given, nothing else, wherever a column points. Checksums are made to fit first. */
#include <config.h>

#include "core/store/store-private.h"
#include "t/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_HEAD 16
#define ENTRY_HEAD 16
#define UID 5u

static bool make(struct cv_str record, struct cv_arena *arena, struct cv_buf *texts)
{
	(void)record;
	(void)arena;
	(void)texts;
	return false;
}

static const struct cv_text_maker maker = {
	.name = "fuzz", .format = 1, .count = 2, .memos = { CV_MEMO_ENVELOPE, CV_MEMO_BODYSTRUCTURE }, .make = make
};

static uint32_t get(const char *p)
{
	uint32_t n = 0;

	for (unsigned i = 4; i > 0; i--)
		n = n << 8 | (uint8_t)p[i - 1];
	return n;
}

static void put(char *p, uint32_t n)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (char)(uint8_t)(n >> (8 * i));
}

/* Entries one behind the other, as far as they are. */
static void fit(char *octets, size_t len)
{
	size_t at = FILE_HEAD;

	while (at < len && len - at > ENTRY_HEAD) {
		size_t entry = get(octets + at + 4), left = len - at - ENTRY_HEAD;

		if (entry > left)
			return;
		put(octets + at + 8, cv_crc32c(0, octets + at + ENTRY_HEAD, entry));
		put(octets + at + 12, UID);
		at += ENTRY_HEAD + entry;
	}
}

static void use(struct cv_mailbox *mailbox, uint64_t where)
{
	struct cv_str octets, texts[CV_TEXTS_MAX];
	struct cv_err err = { 0 };
	struct cv_buf record;
	uint32_t sum = 0;

	cv_buf_init(&record, CV_PARSE_RECORD_MAX);
	if (cv_cache_read(mailbox, where, UID, &record, &err) > 0)
		fuzz_check(record.len > 0 && record.len <= CV_PARSE_RECORD_MAX);
	fuzz_check(cv_cache_texts(mailbox, where, UID + 1, &octets, &err) <= 0);
	(void)!cv_cache_texts_of_record(mailbox, where, UID, &octets, &err);
	if (cv_cache_texts(mailbox, where, UID, &octets, &err) > 0) {
		sum = cv_crc32c(sum, octets.ptr, octets.len);
		if (cv_texts_take(mailbox->user, octets, texts)) {
			for (unsigned i = 0; i < maker.count; i++) {
				fuzz_check(texts[i].ptr == NULL || (texts[i].len > 0 && texts[i].len <= CV_TEXT_MAX));
				sum = cv_crc32c(sum, texts[i].ptr, texts[i].len);
			}
		}
	}
	cv_buf_deinit(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[] = "/tmp/fuzz-cache-XXXXXX", name[CV_BOX_NAME_MAX];
	struct cv_user *user = cv_new0(struct cv_user);
	struct cv_mailbox *mailbox = cv_new0(struct cv_mailbox);
	struct cv_err err = { 0 };
	char *octets = cv_malloc(size + 1);
	int fd;

	memcpy(octets, data, size);
	if (size > 0 && (data[size - 1] & 1) == 0)
		fit(octets, size);
	mailbox->user = user;
	user->texts.maker = &maker;
	fuzz_check(mkdtemp(path) != NULL);
	fuzz_check(cv_file_root(path, &user->index_dir, &err) > 0);
	cv_box_name(mailbox, "cache", "", name);
	fuzz_check(cv_file_open(user->index_dir, name, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd, &err) > 0);
	fuzz_check(cv_file_write(fd, cv_str_mem(octets, size), &err) > 0);
	cv_file_close(&fd);
	cv_free(octets);
	for (uint64_t where = 1; where < 64; where++)
		use(mailbox, where);
	use(mailbox, size / 2);
	use(mailbox, size + 1);
	cv_cache_close(mailbox);
	fuzz_check(cv_file_unlink(user->index_dir, name, &err) > 0);
	fuzz_check(rmdir(path) == 0);
	cv_file_close(&user->index_dir);
	cv_free(mailbox);
	cv_free(user);
	return 0;
}
