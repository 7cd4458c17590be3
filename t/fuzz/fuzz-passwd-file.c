/* SPDX-License-Identifier: MIT
   Password files: any octets are read; each user is there once, is found by name, and is a line of the file. */
#include <config.h>

#include "modules/auth/passwd-file/passwd-file.h"
#include "t/fuzz/fuzz.h"

static void count_warning(void *ctx, unsigned line, const char *why)
{
	fuzz_check(line > 0 && why[0] != '\0');
	++*(unsigned *)ctx;
}

static void check_entry(const struct passwd_file *file, const struct passwd_entry *entry)
{
	const struct cv_str fields[] = { entry->user, entry->password, entry->uid, entry->gid, entry->home, entry->extra };
	struct cv_buf stored;

	fuzz_check(entry->user.len > 0);
	fuzz_check(passwd_file_find(file, entry->user) == entry);
	for (size_t i = 0; i < CV_COUNT_OF(fields); i++) {
		fuzz_check(cv_str_find(fields[i], '\n') == SIZE_MAX);
		fuzz_check(i == CV_COUNT_OF(fields) - 1 || cv_str_find(fields[i], ':') == SIZE_MAX || fields[i].len > 1);
	}
	cv_buf_init_wipe(&stored, 2 * PASSWD_LINE_MAX);
	if (passwd_file_stored(entry->password, "PLAIN", &stored)) {
		fuzz_check(stored.len >= 2 && stored.data[0] == '{');
		fuzz_check(cv_str_find(cv_buf_str(&stored), '}') != SIZE_MAX);
	}
	cv_buf_deinit(&stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct passwd_entry *entry;
	struct passwd_file *file;
	unsigned warnings = 0;
	size_t pos = 0, seen = 0;
	struct cv_buf text;

	cv_buf_init_wipe(&text, PASSWD_FILE_MAX);
	cv_buf_append_mem(&text, data, size);
	file = passwd_file_parse(&text, count_warning, &warnings);
	fuzz_check(text.len == 0);
	while (passwd_file_next(file, &pos, &entry)) {
		check_entry(file, entry);
		seen++;
	}
	fuzz_check(seen == passwd_file_count(file));
	passwd_file_free(&file);
	cv_buf_deinit(&text);
	return 0;
}
