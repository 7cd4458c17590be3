/* SPDX-License-Identifier: MIT
   Text search: the first line of the input is the needle, the rest the message. The answer does not depend on how the message is
   cut, a part of a needle that was found is found too, and what is found in the header is found in the text,
   what is found is found fuzzily, and what is found in texts as they are is what is found in mapped ones. */
#include <config.h>

#include "t/fuzz/fuzz.h"
#include "t/lib/mapped-search.h"
#include <culver/search.h>

/* A source that gives one octet more at each call, to cut the message everywhere. */
struct drip {
	struct cv_message_reader base;
	struct cv_str octets;
	size_t step;
};

static int drip_get(struct cv_message_reader *reader, uint64_t pos, size_t max, struct cv_str *view_r,
	struct cv_err *err CV_UNUSED)
{
	struct drip *d = (struct drip *)(void *)reader;

	if (pos >= d->octets.len)
		return 0;
	d->step = d->step % 7 + 1;
	*view_r = cv_str_sub(d->octets, (size_t)pos, CV_MIN(max, d->step));
	return 1;
}

static const struct cv_message_reader_ops drip_ops = { .get = drip_get };

static void finish(struct cv_search *search, uint64_t budget)
{
	int result;

	while ((result = cv_search_step(search, budget, NULL)) == 0)
		;
	fuzz_check(result == 1);
}

static void run(struct cv_search *search, struct cv_message_reader *reader, const struct cv_mime_part *root, uint64_t budget)
{
	cv_search_begin(search, reader, root);
	finish(search, budget);
}

/* A key alone, which is looked for in texts before they are mapped; fuzzy ones beside it prevent that. */
static void check_alone(struct cv_message_reader *reader, const struct cv_mime_part *root, enum cv_search_where where, struct cv_str needle)
{
	struct cv_search *search = cv_search_new();
	size_t index;

	fuzz_check(cv_search_add(search, where, CV_STR(""), needle, &index, NULL) == 1);
	run(search, reader, root, 100);
	fuzz_check(cv_search_found(search, index) == mapped_search(reader, root, where, needle));
	cv_search_free(&search);
}

/* What is in a part alone is in the message. */
static void check_parts(struct cv_search *search, struct cv_message_reader *reader, const struct cv_mime_part *root, unsigned text)
{
	for (const struct cv_mime_part *part = root; part != NULL; part = cv_mime_part_next(part)) {
		cv_search_begin_part(search, reader, part);
		finish(search, 50);
		fuzz_check(!cv_search_found(search, 0) || cv_search_found(search, 1));
		fuzz_check(!cv_search_found(search, 1) || text > 0);
	}
}

/* False when the needle has more words than a search may have of them. */
static bool add_fuzzy(struct cv_search *search, struct cv_str needle)
{
	static const struct {
		enum cv_search_where where;
		const char *field;
	} keys[] = { { CV_SEARCH_BODY, "" }, { CV_SEARCH_TEXT, "" }, { CV_SEARCH_HEADER, "Subject" } };
	struct cv_err err = { 0 };
	size_t index;

	for (size_t i = 0; i < CV_COUNT_OF(keys); i++) {
		if (cv_search_add_fuzzy(search, keys[i].where, cv_str_c(keys[i].field), needle, &index, &err) == 1)
			continue;
		fuzz_check(err.code == CV_ERR_LIMIT);
		return false;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cv_reader input = cv_reader_init(cv_str_mem(data, size));
	struct cv_arena *arena = cv_arena_new("fuzz", NULL, 0);
	struct cv_search *search = cv_search_new();
	struct cv_mime_parser *parser = cv_mime_parser_new(arena, NULL);
	struct cv_message_reader *reader;
	struct cv_message *message;
	struct cv_str needle, octets;
	unsigned whole[8];
	size_t index;

	if (!cv_take_line(&input, &needle))
		needle = CV_STR("a");
	needle = cv_str_sub(needle, 0, CV_SEARCH_NEEDLE_MAX);
	octets = cv_reader_rest(&input);
	cv_mime_parser_feed(parser, octets);
	message = cv_mime_parser_finish(parser);
	fuzz_check(cv_search_add(search, CV_SEARCH_BODY, CV_STR(""), needle, &index, NULL) == 1);
	fuzz_check(cv_search_add(search, CV_SEARCH_TEXT, CV_STR(""), needle, &index, NULL) == 1);
	fuzz_check(cv_search_add(search, CV_SEARCH_HEADER, CV_STR("Subject"), needle, &index, NULL) == 1);
	fuzz_check(cv_search_add(search, CV_SEARCH_HEADER, CV_STR("To"), needle, &index, NULL) == 1);
	/* half a needle, cut between characters */
	size_t half = needle.len / 2;

	while (half > 0 && ((uint8_t)needle.ptr[half] & 0xC0) == 0x80)
		half--;
	fuzz_check(cv_search_add(search, CV_SEARCH_TEXT, CV_STR(""), cv_str_sub(needle, 0, half), &index, NULL) == 1);
	if (!add_fuzzy(search, needle)) {
		cv_search_free(&search);
		cv_arena_free(&arena);
		return 0;
	}
	reader = cv_message_reader_new_mem(octets);
	run(search, reader, message->root, UINT64_MAX);
	check_alone(reader, message->root, CV_SEARCH_BODY, needle);
	check_alone(reader, message->root, CV_SEARCH_TEXT, needle);
	cv_message_reader_free(&reader);
	for (size_t i = 0; i < CV_COUNT_OF(whole); i++)
		whole[i] = cv_search_score(search, i);
	fuzz_check(!whole[0] || whole[1]);
	fuzz_check(!(whole[2] || whole[3]) || whole[1]);
	fuzz_check(!whole[1] || whole[4] || !cv_str_is_utf8(needle));
	for (size_t i = 0; i < 3; i++)
		fuzz_check(whole[5 + i] <= 100 && (!whole[i] || whole[5 + i]));
	struct drip drip = { .base = { .ops = &drip_ops, .size = octets.len }, .octets = octets };

	run(search, &drip.base, message->root, 1);
	for (size_t i = 0; i < CV_COUNT_OF(whole); i++)
		fuzz_check(cv_search_score(search, i) == whole[i]);
	check_parts(search, &drip.base, message->root, whole[1]);
	cv_search_header(search, message->header);
	fuzz_check(cv_search_score(search, 2) == whole[2] && cv_search_score(search, 3) == whole[3] && cv_search_score(search, 7) == whole[7]);
	cv_search_free(&search);
	cv_arena_free(&arena);
	return 0;
}
