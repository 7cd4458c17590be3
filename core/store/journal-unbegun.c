/* SPDX-License-Identifier: MIT
   Opening: segments at the end of the journal that a crash left before anything was confirmed in them. Their heads would say of the records before them what is
   not true, so they go before anything is read. What may have been confirmed is never removed: a segment goes when it has nothing but its head, or when no
   octet of it was ever synced; where it has octets at all it is only renamed. */
#include <config.h>

#include "core/store/journal-private.h"

#define NEVER_SYNCED_MAX ((uint64_t)16 << 20) /* octets of a segment that may never have been synced: TAIL_MAX, and records that were written at once, with messages */

/* Was nothing of a segment whose head does not check ever on disk? The head goes there with the first records: a crash before that leaves a length at most, with
   zeros for the head, and no record that says that something was synced before it. More than waits for a sync was not lost so. 1: there is
   nothing in it, 2: there are octets that somebody may want to look at, 0, -1. */
static int was_never_synced(struct cv_journal *journal, const struct cv_segment *segment, struct cv_err *err)
{
	struct cv_record_head head;
	struct cv_str octets;
	char *map;
	int ret;

	if (segment->len < CV_SEGMENT_HEAD)
		return 1;
	if (segment->len > NEVER_SYNCED_MAX)
		return 0;
	if (cv_segment_load(journal, segment, 0, &map, err) < 0)
		return -1;
	octets = cv_str_mem(map, segment->len);
	ret = cv_octets_are_zero(cv_str_sub(octets, 0, CV_SEGMENT_HEAD));
	if (ret > 0 && !cv_octets_are_zero(octets))
		ret = 2;
	for (uint64_t at = cv_record_find(octets, CV_SEGMENT_HEAD, &head); ret > 0 && at < octets.len; at = cv_record_find(octets, at + 8, &head))
		ret = head.synced == 0 ? ret : 0;
	cv_free(map);
	return ret;
}

/* The copy first: the segment would come back from it. */
static int leave_never_synced(struct cv_journal *journal, struct cv_segment *segment, bool keep, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];

	if (!keep)
		return cv_journal_drop_copy(journal, segment->number, err) < 0 ? -1 : cv_segment_remove(journal, segment->number, err);
	cv_journal_name(segment->number, name);
	return cv_journal_copy_aside(journal, segment, err) < 0 ? -1 : cv_file_aside(journal->dir, name, err);
}

/* Are there records up to this one? */
static int reaches(struct cv_journal *journal, const struct cv_segment *segment, uint64_t seq, struct cv_err *err)
{
	struct cv_record_head head;
	struct cv_str octets;
	char *map;
	int ret;

	if (segment->len <= CV_SEGMENT_HEAD)
		return segment->before_seq >= seq;
	if (cv_segment_load(journal, segment, 0, &map, err) < 0)
		return -1;
	octets = cv_str_mem(map, segment->len);
	ret = segment->before_seq >= seq;
	for (uint64_t at = cv_record_find(octets, CV_SEGMENT_HEAD, &head); ret == 0 && at < octets.len; at = cv_record_find(octets, at + 8, &head))
		ret = head.seq >= seq;
	cv_free(map);
	return ret;
}

/* Is the last one a segment that could not be begun? Its name or its removal could not be synced, and who came next went on in the one before; a power cut
   may bring it back. Nothing was confirmed in it, but it would say of what was confirmed in the one before that it came too late, and of a torn record there
   that it was whole. 1: there is nothing in it, 2: octets that somebody may want to look at, 0, -1. */
static int was_not_begun(struct cv_journal *journal, struct cv_journal_pos start, struct cv_err *err)
{
	struct cv_segment *last = cv_journal_last(journal);

	if (last == NULL || start.segment == last->number)
		return 0;
	/* A crash while the first octets were written. */
	if (last->damaged)
		return last->last_seq == 0 && last->before_seq == 0 ? was_never_synced(journal, last, err) : 0;
	if (journal->segments.count < 2 || last->len != CV_SEGMENT_HEAD || last->copied || last[-1].damaged || last[-1].number + 1 != last->number ||
		last[-1].lost_seq != last->lost_seq)
		return 0;
	return reaches(journal, &last[-1], last->before_seq, err);
}

static int sync_index(struct cv_journal *journal, struct cv_err *err)
{
	return journal->fsync != CV_FSYNC_NEVER ? cv_file_sync(journal->dir, true, err) : 1;
}

int cv_journal_leave_unbegun(struct cv_journal *journal, struct cv_journal_pos start, struct cv_journal_damage *damage, struct cv_err *err)
{
	int what;

	while ((what = was_not_begun(journal, start, err)) > 0) {
		struct cv_segment *last = cv_journal_last(journal);

		/* Those behind it, which were removed by an earlier process, are gone for good before it goes: one that came back without it would say that what
		   is missing between was lost. */
		if (sync_index(journal, err) < 0)
			return -1;
		/* One that comes back is known again by having nothing but its head: on disk it may have records that were refused, and whose cut was not synced. */
		if (!last->damaged && cv_segment_cut(journal, last, err) < 0)
			return -1;
		journal->end_synced = false; /* that of the one before */
		damage->torn = damage->torn || last->damaged;
		if (leave_never_synced(journal, last, what > 1, err) < 0)
			return -1;
		/* The next one has its number, since a number that is missing is damage. */
		if (journal->next_number == last->number + 1)
			journal->next_number = last->number;
		journal->segments.count--;
		if (sync_index(journal, err) < 0)
			return -1;
	}
	return what;
}
