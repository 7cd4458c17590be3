/* SPDX-License-Identifier: MIT
   Segments go: those that no one needs are removed, oldest first and never the last; damaged ones are renamed, never removed. A copy goes before its
   segment, which would come back from it. */
#include <config.h>

#include "core/store/journal-private.h"

#include <string.h>

int cv_segment_remove(struct cv_journal *journal, uint32_t number, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];

	cv_journal_name(number, name);
	return cv_file_unlink(journal->dir, name, err) < 0 ? -1 : 1;
}

int cv_journal_drop(struct cv_journal *journal, uint64_t seq, int64_t before, struct cv_err *err)
{
	cv_journal_forget_reads(journal);
	while (journal->segments.count > 1) {
		struct cv_segment *segment = &journal->segments.data[0];

		/* The next one's head tells where this one ends. */
		if (segment[1].damaged || segment[1].before_seq > seq || segment->mtime >= before || segment->damaged)
			return 1;
		/* The copy first: the segment would come back from it. */
		if ((segment->copied && cv_journal_drop_copy(journal, segment->number, err) < 0) || cv_segment_remove(journal, segment->number, err) < 0)
			return -1;
		journal->segments.count--;
		memmove(&journal->segments.data[0], &journal->segments.data[1],
			journal->segments.count * sizeof(*journal->segments.data));
	}
	return 1;
}

int cv_journal_set_aside(struct cv_journal *journal, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];
	size_t kept = 0;
	int ret = 1;

	cv_journal_forget_reads(journal);
	cv_journal_leave(journal);
	for (size_t i = 0; i < journal->segments.count; i++) {
		struct cv_segment *segment = &journal->segments.data[i];

		if (!segment->damaged || ret < 0) {
			journal->segments.data[kept++] = *segment;
			continue;
		}
		/* The copy first: the segment would come back from it. One that has gone by itself is fine. */
		cv_journal_name(segment->number, name);
		if (cv_journal_copy_aside(journal, segment, err) < 0 || cv_file_aside(journal->dir, name, err) < 0) {
			journal->segments.data[kept++] = *segment;
			ret = -1;
		}
	}
	journal->segments.count = kept;
	journal->end_synced = false;
	cv_file_close(&journal->fd);
	cv_journal_forget_tail(journal);
	return ret;
}
