/* SPDX-License-Identifier: MIT
   Sets of UIDs or sequence numbers as sorted ranges. */
#include <config.h>

#include <culver/buf.h>
#include <culver/mailbox.h>
#include <culver/map.h>

#include <string.h>

/* Index of the first range whose last number is >= n. */
static size_t find(const struct cv_ranges *set, uint32_t n)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (set->data[mid].last < n)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void insert(struct cv_ranges *set, size_t at, struct cv_range range)
{
	set->data = cv_vec_grow(set->data, &set->cap, set->count + 1, sizeof(*set->data));
	memmove(&set->data[at + 1], &set->data[at], (set->count - at) * sizeof(*set->data));
	set->data[at] = range;
	set->count++;
}

static void cut_out(struct cv_ranges *set, size_t from, size_t to)
{
	if (to > from) {
		memmove(&set->data[from], &set->data[to], (set->count - to) * sizeof(*set->data));
		set->count -= to - from;
	}
}

void cv_ranges_add(struct cv_ranges *set, uint32_t first, uint32_t last)
{
	struct cv_range *end = set->count > 0 ? &set->data[set->count - 1] : NULL;
	size_t at, to;

	cv_assert(first <= last);
	if (end == NULL || first > end->last) {
		if (end != NULL && first - 1 == end->last)
			end->last = last;
		else
			insert(set, set->count, (struct cv_range){ first, last });
		return;
	}
	at = find(set, first > 0 ? first - 1 : 0); /* a range that touches counts too */
	if (at == set->count || (last < UINT32_MAX && set->data[at].first > last + 1)) {
		insert(set, at, (struct cv_range){ first, last });
		return;
	}
	to = at;
	while (to < set->count && (last == UINT32_MAX || set->data[to].first <= last + 1))
		to++;
	set->data[at].first = CV_MIN(set->data[at].first, first);
	set->data[at].last = CV_MAX(set->data[to - 1].last, last);
	cut_out(set, at + 1, to);
}

void cv_ranges_remove(struct cv_ranges *set, uint32_t first, uint32_t last)
{
	size_t at = find(set, first), to;

	cv_assert(first <= last);
	if (at == set->count || set->data[at].first > last)
		return;
	if (set->data[at].first < first) {
		uint32_t old_last = set->data[at].last;

		set->data[at].last = first - 1;
		if (old_last > last) {
			insert(set, at + 1, (struct cv_range){ last + 1, old_last });
			return;
		}
		at++;
	}
	to = at;
	while (to < set->count && set->data[to].last <= last)
		to++;
	cut_out(set, at, to);
	if (at < set->count && set->data[at].first <= last)
		set->data[at].first = last + 1;
}

bool cv_ranges_has(const struct cv_ranges *set, uint32_t n)
{
	size_t at = find(set, n);

	return at < set->count && set->data[at].first <= n;
}

uint64_t cv_ranges_numbers(const struct cv_ranges *set)
{
	uint64_t n = 0;

	for (size_t i = 0; i < set->count; i++)
		n += (uint64_t)set->data[i].last - set->data[i].first + 1;
	return n;
}

void cv_ranges_free(struct cv_ranges *set)
{
	cv_vec_free(set);
}

void cv_ranges_append(const struct cv_ranges *set, struct cv_buf *out)
{
	for (size_t i = 0; i < set->count; i++) {
		if (i > 0)
			cv_buf_append_char(out, ',');
		cv_buf_append_u64(out, set->data[i].first);
		if (set->data[i].last != set->data[i].first) {
			cv_buf_append_char(out, ':');
			cv_buf_append_u64(out, set->data[i].last);
		}
	}
}
