/* SPDX-License-Identifier: MIT
   Dovecot's index and transaction log, which another program wrote: whatever they hold, there is an answer, and sets of UIDs are as they must be. The first
   octet says which of the two the rest is. */
#include <config.h>

#include "modules/lib/dovecot/index.h"
#include "t/fuzz/fuzz.h"

static void check_set(const struct cv_ranges *set)
{
	for (size_t i = 0; i < set->count; i++) {
		fuzz_check(set->data[i].first > 0 && set->data[i].first <= set->data[i].last);
		fuzz_check(i == 0 || set->data[i - 1].last < set->data[i].first - 1);
	}
}

static void check_index(const struct cv_dovecot_index *index)
{
	const char *names[CV_DOVECOT_KEYWORDS_MAX + 1];
	size_t count = 0;

	for (size_t i = 0; i < 5; i++)
		check_set(&index->flags[i]);
	check_set(&index->expunged);
	fuzz_check(index->keyword_count <= CV_DOVECOT_KEYWORDS_MAX);
	for (size_t i = 0; i < index->keyword_count; i++) {
		fuzz_check(index->keywords[i].name[0] != '\0');
		check_set(&index->keywords[i].uids);
	}
	cv_dovecot_index_keywords(index, 1, names);
	while (names[count] != NULL)
		count++;
	fuzz_check(count <= index->keyword_count);
	fuzz_check(cv_dovecot_index_flags(index, 1) <= CV_FLAG_ALL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_dovecot_index *index = cv_dovecot_index_new();
	struct cv_err err = { 0 };
	uint32_t seq, at;
	int result = 0;

	if (size > 0) {
		struct cv_str octets = cv_str_mem(data + 1, size - 1);

		if (data[0] == 'i')
			result = cv_dovecot_index_parse(index, octets, &seq, &at, &err);
		else
			result = cv_dovecot_log_parse(index, octets, UINT32_MAX, &seq, &at, &err);
	}
	fuzz_check(result == 0 || err.code == CV_ERR_CORRUPT);
	check_index(index);
	cv_dovecot_index_free(&index);
	return 0;
}
