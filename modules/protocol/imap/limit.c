/* SPDX-License-Identifier: MIT
   MESSAGELIMIT and SAVELIMIT (RFC 9738): how many messages one command may touch. */
#include <config.h>

#include "imap-session.h"

uint32_t imap_message_limit(const struct imap_session *s)
{
	return (uint32_t)s->set->imap_message_limit;
}

uint32_t imap_save_limit(const struct imap_session *s)
{
	return (uint32_t)(s->set->imap_message_limit != 0 ? s->set->imap_message_limit : s->set->imap_save_limit);
}

/* The lowest of the count highest numbers in set, which has more. */
static uint32_t lowest_of(const struct cv_ranges *set, uint64_t count)
{
	for (size_t i = set->count; i-- > 0;) {
		uint64_t here = (uint64_t)set->data[i].last - set->data[i].first + 1;

		if (here >= count)
			return (uint32_t)(set->data[i].last - (count - 1));
		count -= here;
	}
	return 0;
}

bool imap_limit_cut(struct cv_ranges *set, uint32_t limit)
{
	uint32_t lowest;

	if (limit == 0 || cv_ranges_numbers(set) <= limit)
		return false;
	lowest = lowest_of(set, limit);
	if (lowest > 1)
		cv_ranges_remove(set, 1, lowest - 1);
	return true;
}

void imap_limited(struct cv_imap_cmd *cmd, uint32_t limit, uint32_t uid)
{
	imap_cmd(cmd)->limit_code = imap_code_printf(cmd, "MESSAGELIMIT %u %u", limit, uid);
}

enum cv_imap_result imap_over_limit(struct cv_imap_cmd *cmd, uint32_t limit, uint32_t uid)
{
	return imap_no(cmd, uid != 0 ? imap_code_printf(cmd, "MESSAGELIMIT %u %u", limit, uid) : imap_code_printf(cmd, "MESSAGELIMIT %u", limit),
		"Too many messages for one command");
}

bool imap_iter_prev(const struct cv_ranges *ranges, struct imap_iter *iter, uint32_t *n_r)
{
	const struct cv_range *range;

	if (iter->range >= ranges->count)
		return false;
	range = &ranges->data[ranges->count - 1 - iter->range];
	*n_r = iter->next != 0 ? iter->next : range->last;
	if (*n_r == range->first) {
		iter->range++;
		iter->next = 0;
	} else {
		iter->next = *n_r - 1;
	}
	return true;
}
