/* SPDX-License-Identifier: MIT
   maildir: names of message files. */
#include <config.h>

#include "modules/storage/maildir/maildir-private.h"
#include <culver/mailbox.h>
#include <culver/time.h>

#include <unistd.h>

static const struct {
	char letter;
	uint16_t flag; /* 0: P */
} system_letters[] = {
	{ 'D', CV_FLAG_DRAFT }, { 'F', CV_FLAG_FLAGGED }, { 'P', 0 }, { 'R', CV_FLAG_ANSWERED }, { 'S', CV_FLAG_SEEN },
	{ 'T', CV_FLAG_DELETED },
};

bool maildir_file_ok(struct cv_str name)
{
	if (name.len == 0 || name.len > MAILDIR_NAME_MAX || name.ptr[0] == '.' || name.ptr[0] == ':')
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if ((uint8_t)name.ptr[i] <= ' ' || name.ptr[i] == 0x7f || name.ptr[i] == '/')
			return false;
	}
	return true;
}

size_t maildir_base_len(struct cv_str name)
{
	size_t colon = cv_str_find(name, ':');

	return colon == SIZE_MAX ? name.len : colon;
}

/* What stands behind ":2,"; absent when there is no such thing. */
static struct cv_str letters_of(struct cv_str name)
{
	struct cv_str info = cv_str_sub(name, maildir_base_len(name), SIZE_MAX);

	return cv_str_starts(info, CV_STR(":2,")) ? cv_str_sub(info, 3, SIZE_MAX) : (struct cv_str){ 0 };
}

/* False when the letter has no meaning. */
static bool take_letter(struct maildir_info *info, char letter)
{
	for (size_t i = 0; i < CV_COUNT_OF(system_letters); i++) {
		if (system_letters[i].letter != letter)
			continue;
		info->flags |= system_letters[i].flag;
		info->passed = info->passed || system_letters[i].flag == 0;
		return true;
	}
	if (letter < 'a' || letter > 'z')
		return false;
	info->letters |= 1u << (letter - 'a');
	return true;
}

void maildir_info_parse(struct cv_str name, struct maildir_info *info_r)
{
	struct cv_str letters = letters_of(name);

	*info_r = (struct maildir_info){ 0 };
	for (size_t i = 0; i < letters.len; i++)
		(void)take_letter(info_r, letters.ptr[i]);
}

static bool has_letter(const struct maildir_info *info, struct cv_str unknown, char letter, bool keywords)
{
	if (letter >= 'a' && letter <= 'z')
		return keywords && (info->letters & 1u << (letter - 'a')) != 0;
	for (size_t i = 0; i < CV_COUNT_OF(system_letters); i++) {
		if (system_letters[i].letter == letter)
			return system_letters[i].flag == 0 ? info->passed : (info->flags & system_letters[i].flag) != 0;
	}
	return cv_str_find(unknown, letter) != SIZE_MAX;
}

static bool make(struct cv_buf *out, struct cv_str old, const struct maildir_info *info, bool bare, bool keywords)
{
	struct cv_str unknown = letters_of(old);
	size_t before;

	cv_buf_clear(out);
	cv_buf_append(out, cv_str_sub(old, 0, maildir_base_len(old)));
	before = out->len;
	cv_buf_append(out, CV_STR(":2,"));
	for (int c = '!'; c <= '~'; c++) {
		if (has_letter(info, unknown, (char)c, keywords))
			cv_buf_append_char(out, (char)c);
	}
	if (bare && out->len == before + 3)
		cv_buf_truncate(out, before);
	return cv_buf_ok(out) && out->len <= MAILDIR_NAME_MAX;
}

bool maildir_name_make(struct cv_buf *out, struct cv_str old, const struct maildir_info *info, bool bare)
{
	if (make(out, old, info, bare, true))
		return true;
	if (!make(out, old, info, bare, false)) {
		cv_buf_clear(out);
		cv_buf_append(out, old);
	}
	return false;
}

bool maildir_name_size(struct cv_str base, char key, uint64_t *size_r)
{
	const char text[] = { ',', key, '=' };
	size_t at = cv_str_find_str(base, cv_str_mem(text, sizeof(text)));
	struct cv_str number;

	if (at == SIZE_MAX)
		return false;
	number = cv_str_sub(base, at + sizeof(text), SIZE_MAX);
	for (size_t i = 0; i < number.len; i++) {
		if (!cv_is_digit(number.ptr[i]))
			number = cv_str_sub(number, 0, i);
	}
	return cv_str_to_u64(number, INT64_MAX, size_r);
}

void maildir_unique(struct maildir *st, struct cv_buf *out)
{
	int64_t now = cv_time_now_us();

	cv_buf_printf(out, "%lld.R%xM%lldP%ldQ%u.%s", (long long)(now / 1000000), st->random, (long long)(now % 1000000), (long)getpid(),
		++st->unique_count, st->hostname);
}
