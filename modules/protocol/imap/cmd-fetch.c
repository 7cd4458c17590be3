/* SPDX-License-Identifier: MIT
   FETCH (RFC 3501 section 6.4.5, RFC 7162 section 3.1.4, RFC 9394 section 3.3): an iterator over messages, and within one over what was asked of it. */
#include <config.h>

#include "annotate.h"
#include "fetch.h"

#include <culver/file.h>

/* \Seen is set for messages that are sent soon after: the first alone, then more at once, bounded by count and octets. A client that goes away has
   at most these marked unread no longer. */
#define SEEN_BATCH_MAX 32u
#define SEEN_BATCH_OCTETS ((uint64_t)1024 * 1024)
/* Messages that are begun to be read while the one at hand is sent, when the disk has to be waited for. */
#define AHEAD_MAX 8u
/* Of messages whose texts are at hand, which take a microsecond, so many are told between two looks at the clock. */
#define AT_HAND_BATCH 16u

static bool parse_changed_since(struct fetch *fetch, const struct cv_imap_arg **arg)
{
	struct cv_str number;

	*arg = (*arg)->next;
	if (fetch->changed_since_set || !cv_imap_arg_atom(*arg, &number) || !cv_str_to_u64(number, INT64_MAX, &fetch->changed_since))
		return false;
	fetch->what.items |= CV_IMAP_FETCH_MODSEQ;
	fetch->changed_since_set = true;
	return true;
}

/* RFC 9394 section 3.3: only in UID FETCH. */
static bool parse_partial(struct fetch *fetch, const struct cv_imap_arg **arg)
{
	*arg = (*arg)->next;
	if (!fetch->cmd->uid || fetch->partial_set || *arg == NULL || (*arg)->type != CV_IMAP_ARG_ATOM ||
		!cv_imap_partial_parse((*arg)->str, &fetch->partial))
		return false;
	fetch->partial_set = true;
	return true;
}

/* RFC 7162 section 3.2.6: only in UID FETCH, only when QRESYNC was enabled. */
static bool parse_vanished(struct fetch *fetch, const struct cv_imap_arg **arg)
{
	(void)arg;
	fetch->vanished = imap_ranges(fetch->cmd);
	return fetch->cmd->uid && fetch->s->qresync;
}

static const struct {
	const char *name;
	bool (*parse)(struct fetch *fetch, const struct cv_imap_arg **arg); /* *arg: the last one that belongs to it */
} modifiers[] = {
	{ "CHANGEDSINCE", parse_changed_since },
	{ "PARTIAL", parse_partial },
	{ "VANISHED", parse_vanished },
};

static bool parse_modifier(struct fetch *fetch, const struct cv_imap_arg **arg)
{
	for (size_t i = 0; i < CV_COUNT_OF(modifiers); i++)
		if (cv_imap_arg_is(*arg, modifiers[i].name))
			return modifiers[i].parse(fetch, arg);
	return false;
}

/* fetch-modifiers: "(" fetch-modifier *(SP fetch-modifier) ")" (RFC 4466 section 2.4). False: the reply was made. */
static bool parse_modifiers(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct fetch *fetch)
{
	const struct cv_imap_arg *modifier;

	if (arg == NULL)
		return true;
	if (!cv_imap_arg_list(arg, &modifier) || modifier == NULL || arg->next != NULL) {
		imap_bad(cmd, "Unexpected arguments");
		return false;
	}
	for (; modifier != NULL; modifier = modifier->next) {
		if (!parse_modifier(fetch, &modifier)) {
			imap_bad(cmd, "Invalid FETCH modifier");
			return false;
		}
	}
	if (fetch->vanished != NULL && !fetch->changed_since_set) {
		imap_bad(cmd, "VANISHED needs CHANGEDSINCE");
		return false;
	}
	return true;
}

/* UIDs of the command's set that were expunged since. "*" is no end to them: of "1:*" a client must learn that the last messages are gone (Horde and
   others ask so). False: the reply was made. */
static bool find_vanished(struct cv_imap_cmd *cmd, struct fetch *fetch)
{
	struct cv_ranges *asked = imap_ranges(cmd), *all = imap_ranges(cmd);
	struct cv_err err = { 0 };

	if (fetch->vanished == NULL)
		return true;
	if (imap_uid_set(cmd, cmd->args, UINT32_MAX, asked, &err) < 0) {
		imap_bad_err(cmd, &err);
		return false;
	}
	(void)cv_view_vanished(fetch->s->view, fetch->changed_since, all);
	imap_ranges_common(asked, all, fetch->vanished);
	return true;
}

/* Of the messages that the set names, those at the places that PARTIAL names. */
static void take_partial(struct fetch *fetch)
{
	struct cv_ranges *some = imap_ranges(fetch->cmd);
	struct imap_iter iter = { 0 };
	uint32_t first, last, place = 0, seq;

	if (cv_imap_partial_places(&fetch->partial, (uint32_t)cv_ranges_numbers(fetch->seqs), &first, &last)) {
		while (place < last && imap_iter_next(fetch->seqs, &iter, &seq))
			if (++place >= first)
				cv_ranges_add(some, seq, seq);
	}
	fetch->seqs = some;
}

/* RFC 9738 section 3.1: "the server is REQUIRED to process messages from highest to lowest UID". */
static bool iterate(const struct fetch *fetch, struct imap_iter *iter, uint32_t *seq_r)
{
	return fetch->backwards ? imap_iter_prev(fetch->seqs, iter, seq_r) : imap_iter_next(fetch->seqs, iter, seq_r);
}

/* What did not change since is not worked on. */
static void take_changed(struct fetch *fetch)
{
	struct cv_ranges *some = imap_ranges(fetch->cmd);

	cv_view_changed(fetch->s->view, fetch->seqs, fetch->changed_since, some);
	fetch->seqs = some;
}

/* What is left of the messages asked for. False: the reply was made. */
static bool apply_limit(struct cv_imap_cmd *cmd, struct fetch *fetch)
{
	uint32_t limit = imap_message_limit(fetch->s);

	/* "The total message count (as specified by the PARTIAL range) exceeds the server's published 1000-message limit, so the server refuses to do any
	   work in this case." */
	if (limit != 0 && fetch->partial_set && cv_ranges_numbers(fetch->seqs) > limit) {
		imap_over_limit(cmd, limit, 0);
		return false;
	}
	if (fetch->changed_since_set)
		take_changed(fetch);
	fetch->backwards = imap_limit_cut(fetch->seqs, limit);
	if (fetch->backwards)
		imap_limited(cmd, limit, cv_view_uid(fetch->s->view, fetch->seqs->data[0].first));
	return true;
}

/* Of one message there is nothing that comes next. */
static bool may_read_ahead(const struct fetch *fetch)
{
	return fetch->goal > 1 && fetch->what.section_count > 0;
}

static void free_fetch(void *ctx)
{
	struct fetch *fetch = ctx;

	fetch_message_close(fetch);
	cv_buf_deinit(&fetch->text);
	cv_arena_free(&fetch->arena);
}

/* RFC 5257 section 3.4: "If a client attempts to store or fetch an annotation to which they do not have the appropriate rights, the server MUST respond with a NO
   response." False: the reply was made. */
static bool may_annotations(struct cv_imap_cmd *cmd, const struct fetch *fetch)
{
	struct imap_session *s = imap_cmd_session(cmd);

	if (fetch->what.note_count == 0)
		return true;
	if (!s->set->imap_annotate) {
		imap_bad(cmd, "Unknown FETCH item");
		return false;
	}
	imap_refresh_rights(s);
	if ((s->rights & CV_RIGHT_READ) == 0) {
		imap_no(cmd, "NOPERM", "Permission denied");
		return false;
	}
	return true;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct fetch *fetch = cv_new(cmd->arena, struct fetch, 1);
	const struct cv_imap_arg *arg;
	struct cv_err err = { 0 };

	fetch->cmd = cmd;
	fetch->s = s;
	fetch->view = s->view;
	fetch->seqs = imap_ranges(cmd);
	fetch->newly_seen = imap_ranges(cmd);
	if (!imap_sequence_arg(cmd, cmd->args, fetch->seqs))
		return CV_IMAP_DONE;
	arg = cmd->args->next;
	if (cv_imap_fetch_parse(cmd->arena, &arg, &fetch->what, &err) < 0)
		return imap_bad_err(cmd, &err);
	if (!parse_modifiers(cmd, arg, fetch) || !find_vanished(cmd, fetch) || !may_annotations(cmd, fetch))
		return CV_IMAP_DONE;
	fetch->note_parts = annotate_fetches_parts(fetch->what.notes, fetch->what.note_count);
	if (fetch->partial_set)
		take_partial(fetch);
	if (!apply_limit(cmd, fetch))
		return CV_IMAP_DONE;
	if (cmd->uid && !s->uidonly)
		fetch->what.items |= CV_IMAP_FETCH_UID;
	if ((fetch->what.items & CV_IMAP_FETCH_MODSEQ) != 0)
		imap_enable_condstore(s);
	if (fetch->what.sets_seen)
		imap_refresh_rights(s);
	/* RFC 4314 section 4: a FETCH "that implies setting \Seen flag MUST NOT set it, if the current user doesn't have "s" right". */
	fetch->set_seen = fetch->what.sets_seen && !cv_view_readonly(s->view) && (s->rights & CV_RIGHT_SEEN) != 0;
	fetch->batch = 1;
	fetch->goal = (uint32_t)cv_ranges_numbers(fetch->seqs);
	fetch->arena = cv_arena_new("message being fetched", NULL, 0);
	cv_buf_init(&fetch->text, FETCH_TEXT_MAX);
	if (may_read_ahead(fetch))
		(void)cv_file_disk_read(&fetch->disk_blocks);
	cv_arena_cleanup(cmd->arena, free_fetch, fetch);
	cmd->data = fetch;
	return CV_IMAP_STEP;
}


/* ---- \Seen ------------------------------------------------------------------------------------------ */

/* The messages can still be read: the client gets them, unread as they stay. */
static void seen_failed(struct fetch *fetch, const struct cv_err *err)
{
	/* A mailbox that another session deletes meanwhile is no error; the client is told of it next. */
	if (err->code != CV_ERR_NOTFOUND)
		cv_error(fetch->s->log, "FETCH could not set \\Seen: %s", err->text);
	fetch->set_seen = false;
	cv_ranges_free(fetch->newly_seen);
}

/* Begin to set \Seen on the messages from here on that are sent next. CV_IMAP_DONE: there is nothing to set. */
static enum cv_imap_result set_seen(struct fetch *fetch)
{
	struct cv_flags_change change = { .op = CV_FLAGS_ADD, .flags = CV_FLAG_SEEN };
	struct imap_iter iter = fetch->iter;
	struct cv_ranges uids = { 0 };
	struct cv_err err = { 0 };
	uint64_t octets = 0;
	struct cv_txn *txn;
	enum cv_imap_result result = CV_IMAP_DONE;
	uint32_t seq;

	for (unsigned i = 0; i < fetch->batch && octets < SEEN_BATCH_OCTETS && iterate(fetch, &iter, &seq); i++) {
		struct cv_row row;

		fetch->seen_left = i + 1;
		if (!cv_view_row(fetch->s->view, seq, &row))
			continue;
		octets += row.virtual_size;
		if ((row.flags & CV_FLAG_SEEN) == 0)
			cv_ranges_add(&uids, row.uid, row.uid);
	}
	fetch->batch = CV_MIN(fetch->batch * 2, SEEN_BATCH_MAX);
	if (uids.count == 0)
		return CV_IMAP_DONE;
	txn = cv_txn_begin(fetch->cmd->user);
	if (cv_txn_flags(txn, cv_view_mailbox(fetch->s->view), &uids, &change, NULL, NULL, &err) < 0) {
		cv_txn_rollback(&txn);
		seen_failed(fetch, &err);
	} else if (imap_begin_commit(fetch->cmd, &txn) == CV_IMAP_WAIT) {
		result = CV_IMAP_WAIT;
		for (size_t i = 0; i < uids.count; i++)
			cv_ranges_add(fetch->newly_seen, uids.data[i].first, uids.data[i].last);
	} else {
		seen_failed(fetch, &imap_cmd(fetch->cmd)->commit_err);
	}
	cv_ranges_free(&uids);
	return result;
}

/* ---- Steps ------------------------------------------------------------------------------------------ */

static enum cv_imap_result done(struct fetch *fetch)
{
	struct cv_imap_cmd *cmd = fetch->cmd;

	if (fetch->no_part)
		return imap_bad(cmd, "There is no such body part");
	if (fetch->unknown_encoding)
		return imap_no(cmd, "UNKNOWN-CTE", "Content transfer encoding is not known");
	if (fetch->first_error.code != CV_ERR_NONE)
		return imap_fail(cmd, &fetch->first_error);
	/* RFC 2180 section 4.1.2; by UID, what is not there was never meant. */
	if (fetch->gone && !cmd->uid)
		return imap_no(cmd, "EXPUNGEISSUED", "Some of the messages no longer exist");
	return imap_ok(cmd, NULL, "Fetch completed");
}

static void note_error(struct fetch *fetch, const struct cv_err *err)
{
	if (err->code == CV_ERR_EXPUNGED) {
		fetch->gone = true;
		return;
	}
	if (fetch->first_error.code == CV_ERR_NONE)
		fetch->first_error = *err;
	else if (!err->public_text)
		cv_error(fetch->s->log, "FETCH of message %u: %s", fetch->row.uid, err->text);
}

enum next { NEXT_END, NEXT_BEGUN, NEXT_SKIPPED, NEXT_SEEN_FIRST };

/* Of the row nothing is asked for but what cv_view_flags tells: the other columns need not be read from the snapshot. What was parsed of the message is not in
   the row. */
static bool flags_only(const struct fetch *fetch)
{
	const unsigned known = CV_IMAP_FETCH_UID | CV_IMAP_FETCH_FLAGS | CV_IMAP_FETCH_MODSEQ | CV_IMAP_FETCH_ENVELOPE | CV_IMAP_FETCH_BODY |
		CV_IMAP_FETCH_BODYSTRUCTURE | CV_IMAP_FETCH_PREVIEW;

	return (fetch->what.items & ~known) == 0 && fetch->what.section_count == 0 && fetch->what.note_count == 0;
}

/* The message at hand was read, and those that come next will be. */
static void read_ahead(struct fetch *fetch)
{
	uint32_t seq;

	if (!fetch->from_disk || fetch->reader == NULL)
		return;
	if (fetch->ahead_count == 0)
		fetch->ahead = fetch->iter;
	for (; fetch->ahead_count < AHEAD_MAX && iterate(fetch, &fetch->ahead, &seq); fetch->ahead_count++)
		cv_view_ahead(fetch->view, seq);
}

/* Begin the response of the next message, if it is wanted and there; or say that \Seen has to be set first. */
static enum next next_message(struct fetch *fetch)
{
	struct imap_iter before = fetch->iter;
	struct cv_err err = { 0 };
	bool there;
	int result;

	if (!iterate(fetch, &fetch->iter, &fetch->seq))
		return NEXT_END;
	if (fetch->set_seen && fetch->seen_left == 0) {
		fetch->iter = before;
		return NEXT_SEEN_FIRST;
	}
	fetch->seen_left -= fetch->set_seen ? 1 : 0;
	fetch->done++;
	fetch->ahead_count -= fetch->ahead_count > 0 ? 1 : 0;
	there = (flags_only(fetch) ? cv_view_flags : cv_view_row)(fetch->s->view, fetch->seq, &fetch->row);
	if (!there && fetch->row.modseq == 0) {
		/* It was expunged so long ago that nothing is known of it. */
		fetch->gone = true;
		return NEXT_SKIPPED;
	}
	/* Columns of an expunged message are still known; its octets may be. */
	result = fetch_message_open(fetch, there, &err);
	read_ahead(fetch);
	if (result > 0)
		return NEXT_BEGUN;
	fetch_message_close(fetch);
	if (result < 0)
		note_error(fetch, &err);
	return NEXT_SKIPPED;
}

static enum cv_imap_result seen_is_set(struct fetch *fetch)
{
	struct imap_cmd *cmd = imap_cmd(fetch->cmd);

	fetch->seen_pending = false;
	if (cmd->commit_result < 0)
		seen_failed(fetch, &cmd->commit_err);
	else if ((fetch->s->workarounds & IMAP_DELAY_NEWMAIL) == 0)
		imap_sync(fetch->s, false, cmd->commit_id); /* our own change is in the FETCH responses that follow */
	return CV_IMAP_STEP;
}

/* Time for a look at the clock. */
static bool may_be_late(const struct fetch *fetch)
{
	return !fetch->at_hand || fetch->done % AT_HAND_BATCH == 0;
}

static enum cv_imap_result begin_next(struct fetch *fetch)
{
	if (may_be_late(fetch))
		imap_progress(fetch->cmd, fetch->done, fetch->goal);
	switch (next_message(fetch)) {
	case NEXT_END:
		return done(fetch);
	case NEXT_BEGUN:
	case NEXT_SKIPPED:
		return CV_IMAP_STEP;
	case NEXT_SEEN_FIRST:
		break;
	}
	if (set_seen(fetch) != CV_IMAP_WAIT)
		return CV_IMAP_STEP;
	fetch->seen_pending = true;
	return CV_IMAP_WAIT;
}

static enum cv_imap_result go_on(struct fetch *fetch)
{
	if (fetch_message_write(fetch) > 0)
		fetch_message_close(fetch);
	return CV_IMAP_STEP;
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct fetch *fetch = cmd->data;
	uint64_t start = cv_time_mono_us();

	if (fetch->seen_pending)
		return seen_is_set(fetch);
	if (!imap_write_events(fetch->s))
		return CV_IMAP_STEP;
	/* "Any VANISHED (EARLIER) responses MUST be returned before any FETCH responses". */
	if (fetch->vanished != NULL && !imap_write_vanished(fetch->s, fetch->vanished, &fetch->vanished_done, true))
		return CV_IMAP_STEP;
	if (may_read_ahead(fetch))
		fetch->from_disk = cv_file_disk_read(&fetch->disk_blocks);
	while (imap_room(cmd) > 0) {
		enum cv_imap_result result = fetch->open ? go_on(fetch) : begin_next(fetch);

		if (result != CV_IMAP_STEP || imap_cmd_session(cmd)->state == IMAP_STATE_LOGOUT)
			return result;
		if (may_be_late(fetch) && cv_time_mono_us() - start > IMAP_SLICE_US)
			break;
	}
	return CV_IMAP_STEP;
}

const struct cv_imap_command imap_cmd_fetch = {
	.verb = "FETCH",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_VARIANT | CV_IMAP_KEEPS_SEQ,
	.run = run,
	.step = step,
};
