/* SPDX-License-Identifier: MIT
   Header fields: iteration over raw octets, unfolding, subsets, message ids. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/header.h>

static void check_field(struct cv_header_iter *iter, const char *name, const char *value, const char *raw)
{
	struct cv_header_field field;

	assert_true(cv_header_iter_next(iter, &field));
	assert_str_eq(field.name, cv_str_c(name));
	assert_str_eq(field.value, cv_str_c(value));
	assert_str_eq(field.raw, cv_str_c(raw));
}

static void fields_are_views_with_folds_and_line_ends(void **state CV_UNUSED)
{
	struct cv_header_iter iter;
	struct cv_header_field field;

	cv_header_iter_init(&iter, CV_STR("A: 1\r\nB:2\n\tmore\r\n  \nC : x:y\r\n\r\nD: body"));
	check_field(&iter, "A", " 1", "A: 1\r\n");
	check_field(&iter, "B", "2\n\tmore\r\n  ", "B:2\n\tmore\r\n  \n");
	check_field(&iter, "C", " x:y", "C : x:y\r\n");
	assert_false(cv_header_iter_next(&iter, &field));
	assert_int_equal(iter.pos, 31);
	assert_false(cv_header_iter_next(&iter, &field));
}

static void lines_that_are_no_fields_keep_their_octets(void **state CV_UNUSED)
{
	struct cv_header_iter iter;
	struct cv_header_field field;

	cv_header_iter_init(&iter, CV_STR(" lead\nFrom x y\n: empty\n\xC3\xA4: b\nA b: c\n\rX: y\nLast:"));
	check_field(&iter, "", " lead", " lead\n");
	check_field(&iter, "", "From x y", "From x y\n");
	check_field(&iter, "", ": empty", ": empty\n");
	check_field(&iter, "", "\xC3\xA4: b", "\xC3\xA4: b\n");
	check_field(&iter, "", "A b: c", "A b: c\n");
	check_field(&iter, "", "\rX: y", "\rX: y\n");
	check_field(&iter, "Last", "", "Last:");
	assert_false(cv_header_iter_next(&iter, &field));
}

static void header_ends_at_the_first_empty_line(void **state CV_UNUSED)
{
	assert_int_equal(cv_header_size(CV_STR("A: b\r\n\r\nbody")), 8);
	assert_int_equal(cv_header_size(CV_STR("A: b\n\nbody")), 6);
	assert_int_equal(cv_header_size(CV_STR("\nbody")), 1);
	assert_int_equal(cv_header_size(CV_STR("A: b\r\n \r\nC: d")), 13);
	assert_int_equal(cv_header_size(CV_STR("A: b\r\r\n\n")), 8);
	assert_int_equal(cv_header_size(CV_STR("")), 0);
}

static void find_gives_the_nth_field_whatever_the_case(void **state CV_UNUSED)
{
	struct cv_str header = CV_STR("Received: a\nSubject: s\nRECEIVED: b\n\nReceived: c\n");
	struct cv_header_field field;

	assert_true(cv_header_find(header, CV_STR("received"), 1, &field));
	assert_str(field.value, " b");
	assert_false(cv_header_find(header, CV_STR("received"), 2, &field));
	assert_false(cv_header_find(header, CV_STR("receive"), 0, &field));
	assert_false(cv_header_find(header, CV_STR(""), 0, &field));
}

static void unfolding_removes_line_ends_only(void **state CV_UNUSED)
{
	static const struct {
		struct cv_str value, want;
	} rows[] = { { CV_STR_INIT(" a\r\n b\n\tc "), CV_STR_INIT("a b c") },
		{ CV_STR_INIT("a  b\tc"), CV_STR_INIT("a  b\tc") },
		{ CV_STR_INIT("a\0b\rc"), CV_STR_INIT("a b c") },
		{ CV_STR_INIT("\r\n \r\n"), CV_STR_INIT("") },
		{ CV_STR_INIT("a\r\n\r\n b"), CV_STR_INIT("a b") } };
	struct cv_buf out;

	cv_buf_init(&out, 100);
	for (size_t i = 0; i < CV_COUNT_OF(rows); i++) {
		cv_buf_clear(&out);
		cv_header_unfold(&out, rows[i].value);
		assert_str_eq(cv_buf_str(&out), rows[i].want);
	}
	cv_buf_deinit(&out);
}

static void subset_keeps_raw_octets_and_ends_with_an_empty_line(void **state CV_UNUSED)
{
	static const struct cv_str names[] = { CV_STR_INIT("SUBJECT"), CV_STR_INIT("x-b") };
	struct cv_str header = CV_STR("junk\nSubject: a\n\tb\nTo: c\nsubject: d\nX-B: e\nX-BC: f\n\nbody");
	struct cv_buf out;

	cv_buf_init(&out, 1000);
	cv_header_subset(&out, header, names, 2, 0);
	assert_str(cv_buf_str(&out), "Subject: a\n\tb\nsubject: d\nX-B: e\n\n");
	cv_buf_clear(&out);
	cv_header_subset(&out, header, names, 2, CV_HEADER_NOT);
	assert_str(cv_buf_str(&out), "junk\nTo: c\nX-BC: f\n\n");
	cv_buf_clear(&out);
	cv_header_subset(&out, header, names, 1, CV_HEADER_CRLF);
	assert_str(cv_buf_str(&out), "Subject: a\r\n\tb\r\nsubject: d\r\n\r\n");
	cv_buf_clear(&out);
	cv_header_subset(&out, CV_STR("Subject: last"), names, 1, CV_HEADER_CRLF);
	assert_str(cv_buf_str(&out), "Subject: last\r\n\r\n");
	cv_buf_clear(&out);
	cv_header_subset(&out, CV_STR(""), names, 1, CV_HEADER_CRLF);
	assert_str(cv_buf_str(&out), "\r\n");
	cv_buf_deinit(&out);
}

static void message_ids_are_taken_from_between_words(void **state CV_UNUSED)
{
	struct cv_reader r = cv_reader_init(CV_STR("Re: <a@b> and\r\n\t<c@d><<e@f> <> <\"q q\"@h> <open"));
	struct cv_str id;

	assert_true(cv_message_id_next(&r, &id));
	assert_str(id, "a@b");
	assert_true(cv_message_id_next(&r, &id));
	assert_str(id, "c@d");
	assert_true(cv_message_id_next(&r, &id));
	assert_str(id, "e@f");
	assert_true(cv_message_id_next(&r, &id));
	assert_str(id, "\"q q\"@h");
	assert_false(cv_message_id_next(&r, &id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(fields_are_views_with_folds_and_line_ends),
		cv_test(lines_that_are_no_fields_keep_their_octets),
		cv_test(header_ends_at_the_first_empty_line),
		cv_test(find_gives_the_nth_field_whatever_the_case),
		cv_test(unfolding_removes_line_ends_only),
		cv_test(subset_keeps_raw_octets_and_ends_with_an_empty_line),
		cv_test(message_ids_are_taken_from_between_words),
	};

	return cv_test_run(tests);
}
