/* SPDX-License-Identifier: MIT
   Sort programs, address keys, and the merge sort that stops and goes on. */
#include <config.h>

#include "modules/lib/imap/imap-merge.h"
#include "modules/lib/imap/imap-parser.h"
#include "modules/lib/imap/imap-sort.h"
#include "t/lib/test.h"

/* ---- programs ---------------------------------------------------------------------------------------- */

static const struct cv_imap_arg *parse(struct cv_imap_parser *parser, const char *criteria)
{
	struct cv_buf line;
	size_t used;

	cv_buf_init(&line, 1000);
	cv_buf_printf(&line, "a SORT %s\r\n", criteria);
	cv_imap_parser_next(parser);
	assert_int_equal(cv_imap_parser_feed(parser, cv_buf_str(&line), &used, NULL), CV_IMAP_COMMAND);
	cv_buf_deinit(&line);
	return cv_imap_parser_args(parser);
}

static void sort_programs_are_read(void **state)
{
	static const char *const wrong[] = { "SUBJECT", "()", "(SUBJECT REVERSE)", "(REVERSE REVERSE DATE)", "(\"SUBJECT\")", "((SUBJECT))", "(SUBJEC)" };
	struct cv_imap_parser *parser = cv_imap_parser_new(NULL);
	struct cv_imap_sort_program program;
	struct cv_err err = { 0 };

	(void)state;
	assert_int_equal(cv_imap_sort_parse(parse(parser, "(reverse SUBJECT Date subject REVERSE DATE size)"), &program, &err), 0);
	assert_int_equal(program.count, 3);
	assert_int_equal(program.criteria[0].key, CV_IMAP_SORT_SUBJECT);
	assert_true(program.criteria[0].reverse);
	assert_int_equal(program.criteria[1].key, CV_IMAP_SORT_DATE);
	assert_false(program.criteria[1].reverse);
	assert_int_equal(program.criteria[2].key, CV_IMAP_SORT_SIZE);
	assert_int_equal(cv_imap_sort_parse(parse(parser, "(CC TO FROM ARRIVAL DISPLAYTO DISPLAYFROM SIZE DATE SUBJECT RELEVANCY)"), &program, &err), 0);
	assert_int_equal(program.count, CV_IMAP_SORT_KEYS - CV_IMAP_SORT_ANNOTATIONS_MAX);
	for (size_t i = 0; i < CV_COUNT_OF(wrong); i++) {
		assert_int_equal(cv_imap_sort_parse(parse(parser, wrong[i]), &program, &err), -1);
		assert_int_equal(err.code, CV_ERR_INVALID);
	}
	cv_imap_parser_free(&parser);
}

/* RFC 5256 section 3 (FROM, TO, CC) and RFC 5957 section 3, line by line. */
static void addresses_have_sort_values(void **state)
{
	static const struct {
		const char *field, *mailbox, *display;
	} rows[] = {
		{ "Anna <a@x>", "A", "ANNA" },
		{ "=?utf-8?q?=C3=84nne?= <a@x>", "A", "A\xCC\x88NNE" },
		{ "=?x-none?q?=C3=84nne?= <a@x>", "A", "\xFF\xC3\x84nne" },
		{ "a@x", "A", "A@X" },
		{ "\"\" <a@x>", "A", "A@X" },
		{ "b@y (Bert), a@x", "B", "BERT" },
		{ "friends: a@x, b@y;", "FRIENDS", "FRIENDS" },
		{ "", "", "" },
	};
	struct cv_address_list none = { 0 };
	struct cv_buf out;

	cv_buf_init(&out, 1000);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		struct cv_address_list list;

		cv_address_parse(*state, cv_str_c(rows[i].field), 10, &list);
		cv_buf_clear(&out);
		cv_imap_sort_address(&out, &list, false);
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].mailbox));
		cv_buf_clear(&out);
		cv_imap_sort_address(&out, &list, true);
		assert_str_eq(cv_buf_str(&out), cv_str_c(rows[i].display));
	}
	cv_buf_clear(&out);
	cv_imap_sort_address(&out, &none, true);
	assert_int_equal(out.len, 0);
	cv_buf_deinit(&out);
}

/* ---- merge sort -------------------------------------------------------------------------------------- */

#define COUNT_MAX 300u

struct counted {
	const uint32_t *keys;
	size_t comparisons;
};

static int by_key(void *ctx, uint32_t a, uint32_t b)
{
	struct counted *counted = ctx;

	counted->comparisons++;
	return (counted->keys[a] > counted->keys[b]) - (counted->keys[a] < counted->keys[b]);
}

static bool in_order(const uint32_t *keys, const struct cv_imap_merge_item *before, const struct cv_imap_merge_item *item)
{
	uint32_t a = keys[before->number], b = keys[item->number];

	return a < b || (a == b && before->number < item->number);
}

/* All of the order, a part of it or none is in the items' own keys, compare has what is left. */
static void every_length_is_sorted_and_stable_in_every_slice(void **state)
{
	static const size_t slices[] = { 1, 3, 1000000 };
	static const uint32_t own_parts[] = { 1, 4, 17 };
	struct cv_imap_merge_item data[COUNT_MAX];
	uint32_t keys[COUNT_MAX], seed = 1;

	(void)state;
	for (size_t count = 0; count < COUNT_MAX; count += count < 20 ? 1 : 31) {
		for (size_t run = 0; run < CV_COUNT_OF(slices) * CV_COUNT_OF(own_parts); run++) {
			uint32_t part = own_parts[run / CV_COUNT_OF(slices)];
			struct counted counted = { .keys = keys };
			struct cv_imap_merge merge = { 0 };

			for (uint32_t i = 0; i < count; i++) {
				seed = seed * 1103515245u + 12345u;
				keys[i] = (seed >> 16) % 17;
				data[i] = (struct cv_imap_merge_item){ .key = keys[i] / part / 2, .more = keys[i] / part, .number = i };
			}
			cv_imap_merge_init(&merge, data, count, part > 1 ? by_key : NULL, &counted);
			while (!cv_imap_merge_step(&merge, slices[run % CV_COUNT_OF(slices)]))
				;
			cv_imap_merge_deinit(&merge);
			for (size_t i = 1; i < count; i++)
				assert_true(in_order(keys, &data[i - 1], &data[i]));
			assert_true(counted.comparisons <= count * 9);
		}
	}
}

static void a_slice_is_bounded(void **state)
{
	struct cv_imap_merge_item data[COUNT_MAX] = { 0 };
	uint32_t keys[COUNT_MAX];
	struct counted counted = { .keys = keys };
	struct cv_imap_merge merge = { 0 };
	bool done = false;

	(void)state;
	for (uint32_t i = 0; i < COUNT_MAX; i++) {
		keys[i] = COUNT_MAX - i;
		data[i].number = i;
	}
	cv_imap_merge_init(&merge, data, COUNT_MAX, by_key, &counted);
	while (!done) {
		size_t before = counted.comparisons;

		done = cv_imap_merge_step(&merge, 10);
		assert_true(counted.comparisons - before <= 11);
	}
	cv_imap_merge_deinit(&merge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(sort_programs_are_read),
		cv_test(addresses_have_sort_values),
		cv_test(every_length_is_sorted_and_stable_in_every_slice),
		cv_test(a_slice_is_bounded),
	};

	return cv_test_run(tests);
}
