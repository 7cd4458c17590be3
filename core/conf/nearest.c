/* SPDX-License-Identifier: MIT
   The nearest known word to one that is not known, for "did you mean". */
#include "core/conf/conf-private.h"

#define NEAREST_MAX 63 /* octets: longer words are not compared */

/* Insertions, deletions, replacements and swaps of neighbours that make a from b, without ASCII case; "-" and "_" are the same. */
static unsigned distance(struct cv_str a, struct cv_str b)
{
	unsigned rows[3][NEAREST_MAX + 1];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b.len; j++)
		above[j] = (unsigned)j;
	for (size_t i = 1; i <= a.len; i++) {
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b.len; j++) {
			char x = cv_lower(a.ptr[i - 1]), y = cv_lower(b.ptr[j - 1]);
			bool same = x == y || ((x == '-' || x == '_') && (y == '-' || y == '_'));
			unsigned best = above[j - 1] + (same ? 0 : 1);
			best = CV_MIN(best, above[j] + 1);
			best = CV_MIN(best, row[j - 1] + 1);
			if (i > 1 && j > 1 && x == cv_lower(b.ptr[j - 2]) && y == cv_lower(a.ptr[i - 2]))
				best = CV_MIN(best, before[j - 2] + 1);
			row[j] = best;
		}
		unsigned *oldest = before;
		before = above;
		above = row;
		row = oldest;
	}
	return above[b.len];
}

void cv_nearest_try(struct conf_nearest *best, const char *word, const char *candidate)
{
	struct cv_str a = cv_str_c(word), b = cv_str_c(candidate);
	if (a.len > NEAREST_MAX || b.len > NEAREST_MAX || b.len == 0)
		return;
	unsigned limit = (unsigned)CV_MAX(a.len, b.len) / 3 + 1, d = distance(a, b);
	/* Words that one begins with: "ssl_min" for "ssl_min_protocol". */
	if (d > limit && a.len >= 4 && cv_str_casestarts(b, a))
		d = limit;
	if (d > limit || (best->word != NULL && d >= best->distance))
		return;
	best->word = candidate;
	best->distance = d;
}

const char *cv_nearest(const char *word, const char *const *words)
{
	struct conf_nearest best = { 0 };
	for (size_t i = 0; words[i] != NULL; i++)
		cv_nearest_try(&best, word, words[i]);
	return best.word;
}
