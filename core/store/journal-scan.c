/* SPDX-License-Identifier: MIT
   Reading the segments when a user is opened: which records count, where a torn tail begins, and what is damage.
   A record counts when it checks (journal-octets.c) and its sequence number is not above what the next segment's head says was before it. What does not check is
   asked of the copy first. Then it is a torn tail, and cut off, only in the last segment and when no record behind it says that these octets had been synced: a
   record has how much of its segment was on disk when it was made. All else is damage: it is stepped over, told, and never cut. */
#include <config.h>

#include "core/store/journal-private.h"
#include <culver/log.h>

#include <stdio.h>
#include <string.h>

struct scan {
	struct cv_journal *journal;
	uint64_t from_seq;
	struct cv_journal_pos start;
	bool repair;
	bool mended; /* what the copy has of this segment is in it */
	unsigned late; /* records of this segment that were left out */
	cv_journal_fn *fn;
	void *ctx;
	struct cv_journal_damage *damage;
};

static void note_damage(struct cv_journal_damage *damage, struct cv_segment *segment, uint64_t lost, const char *what,
	uint64_t offset)
{
	segment->damaged = true;
	damage->damaged = true;
	damage->lost = damage->lost > UINT64_MAX - lost ? UINT64_MAX : damage->lost + lost;
	if (damage->what[0] == '\0')
		(void)snprintf(damage->what, sizeof(damage->what), "segment %u: %s at octet %llu", segment->number, what,
			(unsigned long long)offset);
}

/* What does not check at offset `at` of a segment: 1 when it was stepped over (*at_r: where to go on), 0 when the segment ends there. */
static int bad_octets(struct scan *scan, struct cv_segment *segment, bool last, struct cv_str octets, uint64_t at, uint64_t *at_r)
{
	struct cv_record_head head = { 0 };
	uint64_t next = cv_record_find(octets, (at + 8) & ~(uint64_t)7, &head);

	/* Records of one write may reach the disk in any order: valid ones behind a bad one are still a torn tail when none of them was
	   written after the bad one had been synced. */
	if (next < octets.len) {
		uint64_t look = next;
		bool was_durable = false;

		while (look < octets.len && !was_durable) {
			was_durable = head.synced > at;
			look = cv_record_find(octets, look + 8, &head);
		}
		if (was_durable || !last) {
			note_damage(scan->damage, segment, next - at, "a record does not check, valid ones follow", at);
			*at_r = next;
			return 1;
		}
	} else if (!last) {
		note_damage(scan->damage, segment, octets.len - at, "the segment ends in a record that does not check", at);
		return 0;
	}
	if (!cv_octets_are_zero(cv_str_sub(octets, at, SIZE_MAX)))
		scan->damage->torn = true;
	segment->len = at;
	return 0;
}

/* Where it does not check, and at the end of the last one, the copy is asked, once. */
static bool may_be_mended(struct scan *scan, const struct cv_segment *segment, uint64_t at)
{
	if (scan->mended || !segment->copied)
		return false;
	scan->start = (struct cv_journal_pos){ segment->number, at };
	return true;
}

/* 0: the segment may be mended from its copy; then it goes on at scan->start. */
static int scan_octets(struct scan *scan, struct cv_segment *segment, bool last, struct cv_str octets, struct cv_err *err)
{
	struct cv_journal *journal = scan->journal;
	uint64_t at = scan->start.segment == segment->number ? scan->start.offset : CV_SEGMENT_HEAD;
	const struct cv_segment *next = segment < cv_journal_last(journal) ? segment + 1 : NULL;
	struct cv_record_head head;
	struct cv_str entries;

	if (!scan->mended && at > CV_SEGMENT_HEAD) /* before the first record nothing tells, of the head either */
		segment->durable = CV_MAX(segment->durable, at);
	if (at > octets.len) {
		if (may_be_mended(scan, segment, at))
			return 0;
		note_damage(scan->damage, segment, UINT64_MAX, "it was longer, and ends", octets.len);
		return 1;
	}
	while (at < octets.len) {
		uint32_t len = cv_record_check(cv_str_sub(octets, at, SIZE_MAX), &head, &entries);

		if (len == 0) {
			if (may_be_mended(scan, segment, at))
				return 0;
			if (bad_octets(scan, segment, last, octets, at, &at) == 0)
				break;
			continue;
		}
		if (head.version > CV_RECORD_VERSION)
			return cv_err_set(err, CV_ERR_UNSUPPORTED,
				"a journal record has format %u, this server knows up to %u: use the newer server again", head.version,
				CV_RECORD_VERSION);
		if (next != NULL && !next->damaged && head.seq > next->before_seq) {
			at += len; /* written late by an owner who had lost the mail: never acknowledged */
			scan->late++;
			continue;
		}
		if (head.seq > journal->seq)
			journal->seq = head.seq;
		if (head.hlc > journal->hlc)
			journal->hlc = head.hlc;
		if (head.epoch > journal->epoch)
			journal->epoch = head.epoch;
		if (head.seq > journal->written_seq)
			journal->written_seq = head.seq;
		segment->last_seq = head.seq;
		if (head.synced > segment->durable && head.synced <= at)
			segment->durable = head.synced;
		if (head.seq > scan->from_seq &&
			scan->fn(scan->ctx, &head, (struct cv_journal_pos){ segment->number, at }, entries, err) < 0)
			return -1;
		at += len;
	}
	return last && at >= octets.len && may_be_mended(scan, segment, at) ? 0 : 1;
}

static int scan_file(struct scan *scan, struct cv_segment *segment, bool last, struct cv_err *err)
{
	uint64_t len = segment->len;
	uint64_t from = scan->start.segment == segment->number ? scan->start.offset : 0;
	struct cv_err load_err = { 0 };
	char *octets = NULL;
	int ret;

	if (len <= CV_SEGMENT_HEAD) {
		if (scan->start.segment == segment->number && scan->start.offset > len) {
			if (may_be_mended(scan, segment, scan->start.offset))
				return 0;
			note_damage(scan->damage, segment, UINT64_MAX, "it was longer, and ends", len);
		}
		return last && may_be_mended(scan, segment, CV_SEGMENT_HEAD) ? 0 : 1;
	}
	if (cv_segment_load(scan->journal, segment, from, &octets, &load_err) < 0) {
		if (cv_journal_may_be_in_copy(&load_err) && may_be_mended(scan, segment, CV_MAX(from, (uint64_t)CV_SEGMENT_HEAD)))
			return 0;
		*err = load_err;
		return -1;
	}
	cv_journal_overlay(scan->journal, segment->number, 0, octets, len);
	ret = scan_octets(scan, segment, last, cv_str_mem(octets, len), err);
	cv_free(octets);
	if (ret > 0 && segment->len < len && scan->repair && !segment->damaged)
		ret = cv_segment_cut(scan->journal, segment, err);
	return ret;
}

/* A file that was removed or cut since it was listed is made anew from its copy. 1: what is known of it can be read; 0: neither has it. */
static int reach_file(struct scan *scan, struct cv_segment *segment, struct cv_err *err)
{
	char name[CV_JOURNAL_NAME_MAX];
	struct cv_err stat_err = { 0 };
	struct stat st = { 0 };
	int ret;

	cv_journal_name(segment->number, name);
	if (cv_file_stat(scan->journal->dir, name, &st, &stat_err) < 0 && stat_err.code != CV_ERR_NOTFOUND) {
		*err = stat_err;
		return -1;
	}
	if ((uint64_t)st.st_size >= segment->len)
		return 1;
	scan->mended = true;
	ret = segment->copied ? cv_journal_mend(scan->journal, segment, 0, err) : 0;
	if (ret == 0)
		note_damage(scan->damage, segment, UINT64_MAX, "it was longer, and ends", (uint64_t)st.st_size);
	return ret;
}

static int scan_segment(struct scan *scan, struct cv_segment *segment, bool last, struct cv_err *err)
{
	struct cv_journal_pos start = scan->start;
	int ret;

	scan->mended = false;
	scan->late = 0;
	if (!scan->repair && (ret = reach_file(scan, segment, err)) <= 0) /* else they have just been listed */
		return ret;
	while ((ret = scan_file(scan, segment, last, err)) == 0) {
		scan->mended = true;
		scan->late = 0;
		if (cv_journal_mend(scan->journal, segment, scan->start.offset, err) < 0)
			return -1;
	}
	scan->start = start;
	if (scan->late > 0)
		cv_warn(scan->journal->log_ctx, "segment %u of the journal: %u records were written when the next one had been begun, by a server that did not "
			"own the mail any more; they were never confirmed and are left out", segment->number, scan->late);
	if (ret > 0)
		segment->scanned = true;
	return ret;
}

int cv_journal_scan(struct cv_journal *journal, uint64_t from_seq, struct cv_journal_pos start, bool repair, cv_journal_fn *fn, void *ctx,
	struct cv_journal_damage *damage, struct cv_err *err)
{
	struct scan scan = { .journal = journal, .from_seq = from_seq, .start = start, .repair = repair, .fn = fn, .ctx = ctx, .damage = damage };

	*damage = (struct cv_journal_damage){ 0 };
	if (repair && cv_journal_leave_unbegun(journal, start, damage, err) < 0)
		return -1;
	for (size_t i = 0; i < journal->segments.count; i++) {
		struct cv_segment *segment = &journal->segments.data[i], *before = i > 0 ? segment - 1 : NULL;
		bool last = i + 1 == journal->segments.count;

		if (segment->damaged && segment->last_seq == 0 && segment->before_seq == 0)
			note_damage(damage, segment, segment->len, "its head does not check", 0);
		if (before != NULL && before->number + 1 != segment->number && segment->before_seq > CV_MAX(from_seq, segment->lost_seq)) {
			note_damage(damage, segment, 0, "the segment before it is missing", 0);
			damage->lost = UINT64_MAX;
		}
		if (!last && !segment[1].damaged && segment[1].before_seq <= from_seq)
			continue;
		if (scan_segment(&scan, segment, last && repair, err) < 0)
			return -1;
	}
	return 1;
}
