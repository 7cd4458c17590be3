/* SPDX-License-Identifier: MIT
   Sequence sets. */
#include <config.h>

#include "imap-sequence.h"

#include <culver/map.h>
#include <culver/reader.h>

bool cv_imap_is_sequence(struct cv_str s)
{
	return s.len > 0 && (cv_is_digit(s.ptr[0]) || s.ptr[0] == '*' || s.ptr[0] == '$');
}

bool cv_imap_sequence_cut_saved(struct cv_str *s)
{
	if (!cv_str_ends(*s, CV_STR("$")) || (s->len > 1 && (s->len == 2 || s->ptr[s->len - 2] != ',')))
		return false;
	s->len -= CV_MIN(s->len, (size_t)2);
	return true;
}

/* seq-number = nz-number / "*" */
static bool take_seq_number(struct cv_reader *in, uint32_t star, uint32_t *n_r)
{
	if (cv_take_char(in, '*')) {
		*n_r = star;
		return true;
	}
	/* nz-number = digit-nz *DIGIT */
	return cv_peek(in) != '0' && cv_parse_u32(in, UINT32_MAX, n_r);
}

static int by_first(const void *a, const void *b)
{
	const struct cv_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

bool cv_imap_sequence_parse(struct cv_str s, uint32_t star, struct cv_ranges *set)
{
	CV_VEC(struct cv_range) ranges = { 0 };
	struct cv_reader in = cv_reader_init(s);
	bool sorted = true, good = false;

	do {
		struct cv_range *range = cv_vec_push(&ranges);

		if (!take_seq_number(&in, star, &range->first))
			goto out;
		range->last = range->first;
		if (cv_take_char(&in, ':') && !take_seq_number(&in, star, &range->last))
			goto out;
		if (range->first > range->last)
			*range = (struct cv_range){ .first = range->last, .last = range->first };
		if (ranges.count > 1 && range->first < ranges.data[ranges.count - 2].first)
			sorted = false;
	} while (cv_take_char(&in, ','));
	if (!cv_reader_end(&in))
		goto out;
	/* Ranges are cheap to add in order only. */
	if (!sorted)
		qsort(ranges.data, ranges.count, sizeof(*ranges.data), by_first);
	for (size_t i = 0; i < ranges.count; i++)
		cv_ranges_add(set, ranges.data[i].first, ranges.data[i].last);
	good = true;
out:
	cv_vec_free(&ranges);
	return good;
}
