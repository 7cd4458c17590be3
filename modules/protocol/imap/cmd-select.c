/* SPDX-License-Identifier: MIT
   SELECT and EXAMINE (RFC 3501 sections 6.3.1 and 6.3.2, RFC 7162 sections 3.1.8 and 3.2.5, RFC 8474 section 4.2,
   RFC 9051 sections 6.3.2 and 6.3.3, RFC 5257 section 4.2). */
#include <config.h>

#include "annotate.h"

#include "modules/lib/imap/imap-sequence.h"

#include <culver/time.h>

/* RFC 7162 section 3.2.5: what the client knows of the mailbox. */
struct qresync {
	bool set, known_set;
	uint32_t uidvalidity;
	uint64_t modseq;
	struct cv_ranges *known;                /* UIDs */
	struct cv_ranges *match_seqs, *match_uids; /* numbers that belong to each other, in order */
};

/* Changes since then, on their way. */
struct select {
	struct qresync qresync;
	bool condstore, annotate;
	bool examine;
	struct cv_ranges *vanished;
	size_t vanished_done;
	struct cv_ranges *seqs; /* of known messages */
	struct imap_iter iter;
};

/* known-uids, known-sequence-set and known-uid-set are sequence sets where "*" is not allowed. */
static bool parse_known(const struct cv_imap_arg *arg, struct cv_ranges *set)
{
	return arg != NULL && arg->type == CV_IMAP_ARG_ATOM && cv_str_find(arg->str, '*') == SIZE_MAX &&
		cv_imap_sequence_parse(arg->str, 0, set);
}

/* "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP "(" known-sequence-set SP known-uid-set ")"] ")" */
static bool parse_qresync(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct qresync *qresync)
{
	const struct cv_imap_arg *item, *match;
	struct cv_str number;

	qresync->set = true;
	qresync->known = imap_ranges(cmd);
	qresync->match_seqs = imap_ranges(cmd);
	qresync->match_uids = imap_ranges(cmd);
	if (!cv_imap_arg_list(arg, &item) || !cv_imap_arg_atom(item, &number) ||
		!cv_str_to_u32(number, UINT32_MAX, &qresync->uidvalidity) || qresync->uidvalidity == 0)
		return false;
	item = item->next;
	if (!cv_imap_arg_atom(item, &number) || !cv_str_to_u64(number, INT64_MAX, &qresync->modseq) || qresync->modseq == 0)
		return false;
	item = item->next;
	if (item != NULL && item->type == CV_IMAP_ARG_ATOM) {
		qresync->known_set = true;
		if (!parse_known(item, qresync->known))
			return false;
		item = item->next;
	}
	if (item == NULL)
		return true;
	/* RFC 9586 section 3.7: "once UIDONLY is enabled, the fourth SELECT QRESYNC parameter … MUST NOT be used." */
	if (imap_cmd_session(cmd)->uidonly)
		return false;
	return cv_imap_arg_list(item, &match) && parse_known(match, qresync->match_seqs) && parse_known(match->next, qresync->match_uids) &&
		match->next->next == NULL && item->next == NULL &&
		cv_ranges_numbers(qresync->match_seqs) == cv_ranges_numbers(qresync->match_uids);
}

/* select-params. False: the reply was made. */
static bool parse_params(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, struct select *select)
{
	const struct cv_imap_arg *param;

	if (arg == NULL)
		return true;
	if (!cv_imap_arg_list(arg, &param) || param == NULL || arg->next != NULL) {
		imap_bad(cmd, "Unexpected arguments");
		return false;
	}
	for (; param != NULL; param = param->next) {
		if (cv_imap_arg_is(param, "CONDSTORE")) {
			select->condstore = true;
		} else if (cv_imap_arg_is(param, "ANNOTATE") && imap_cmd_session(cmd)->set->imap_annotate) {
			select->annotate = true;
		} else if (cv_imap_arg_is(param, "QRESYNC") && !select->qresync.set) {
			/* "A server MUST respond with a tagged BAD response if … the client hasn't issued "ENABLE QRESYNC"". */
			if (!imap_cmd_session(cmd)->qresync) {
				imap_bad(cmd, "QRESYNC is not enabled");
				return false;
			}
			param = param->next;
			if (!parse_qresync(cmd, param, &select->qresync)) {
				imap_bad(cmd, "Invalid QRESYNC parameter");
				return false;
			}
		} else {
			imap_bad(cmd, "Unknown SELECT parameter");
			return false;
		}
	}
	return true;
}

static void write_mailboxid(struct imap_session *s, struct cv_buf *out)
{
	cv_buf_append_c(out, "* OK [MAILBOXID (");
	imap_append_mailboxid(out, cv_mailbox_guid(cv_view_mailbox(s->view)));
	cv_buf_append_c(out, ")] ");
	imap_end_line(s, out, "Mailbox id");
}

static void write_mailbox(struct imap_session *s, struct cv_buf *out, const struct cv_mailbox_status *status)
{
	uint32_t unseen = status->first_unseen_uid != 0 ? cv_view_seq(s->view, status->first_unseen_uid) : 0;

	imap_write_mailbox_flags(s, out);
	imap_write_counts(s, out, cv_view_count(s->view));
	if (unseen != 0 && !s->rev2 && !s->uidonly) /* not in IMAP4rev2 */
		imap_tell_number(s, "UNSEEN", unseen, "First unseen");
	imap_tell_number(s, "UIDVALIDITY", status->uidvalidity, "UIDs valid");
	imap_tell_number(s, "UIDNEXT", status->uidnext, "Predicted next UID");
	imap_tell_number(s, "HIGHESTMODSEQ", CV_MAX(cv_view_highest_modseq(s->view), (uint64_t)1), "Highest");
	if (s->set->imap_urlauth)
		imap_write_urlmech(s);
}

/* RFC 4314 section 5.2: READ-ONLY "if none of the following rights is granted to the current user: "i", "e", and "shared flag rights"". */
#define READ_WRITE (CV_RIGHT_INSERT | CV_RIGHT_EXPUNGE | CV_RIGHT_SEEN | CV_RIGHT_WRITE | CV_RIGHT_DELETED | CV_RIGHT_NOTE)

static int open_view(struct cv_imap_cmd *cmd, struct cv_str name, bool readonly, struct cv_mailbox_status *status_r, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_view *view;
	unsigned rights;

	if (cv_mailbox_open(cmd->user, name, CV_RIGHT_READ, &mailbox, err) < 0)
		return -1;
	if (cv_mailbox_rights(cmd->user, name, &rights, err) < 0) {
		cv_mailbox_unref(&mailbox);
		return -1;
	}
	readonly |= (rights & READ_WRITE) == 0;
	if (cv_mailbox_refresh(mailbox, err) < 0 || cv_view_open(mailbox, readonly ? CV_VIEW_READONLY : 0, &view, err) < 0) {
		cv_mailbox_unref(&mailbox);
		return -1;
	}
	if (cv_mailbox_get_status(mailbox, status_r, err) < 0) {
		cv_view_close(&view);
		cv_mailbox_unref(&mailbox);
		return -1;
	}
	imap_select(imap_cmd_session(cmd), view);
	imap_cmd_session(cmd)->rights = rights;
	return 0;
}

/* RFC 7162 section 3.2.5.2: up to the last pair that is still true the client knows of all expunges. Returns that UID, 0: none. */
static uint32_t last_match(const struct imap_session *s, const struct qresync *qresync)
{
	struct imap_iter seqs = { 0 }, uids = { 0 };
	uint32_t seq, uid, match = 0;

	while (imap_iter_next(qresync->match_seqs, &seqs, &seq) && imap_iter_next(qresync->match_uids, &uids, &uid) &&
		seq <= cv_view_count(s->view))
		if (cv_view_uid(s->view, seq) == uid)
			match = uid;
	return match;
}

/* What is to be told: as "UID FETCH known-uids (FLAGS) (CHANGEDSINCE mod-sequence-value VANISHED)" would. */
static void find_changes(struct cv_imap_cmd *cmd, struct select *select, const struct cv_mailbox_status *status)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct qresync *qresync = &select->qresync;
	struct cv_ranges *all = imap_ranges(cmd), *known = imap_ranges(cmd);
	uint32_t match;

	/* "If the provided UIDVALIDITY doesn't match … the server MUST ignore the remaining parameters". */
	if (!qresync->set || qresync->uidvalidity != status->uidvalidity)
		return;
	if (!qresync->known_set && status->uidnext > 1)
		cv_ranges_add(qresync->known, 1, status->uidnext - 1);
	(void)cv_view_vanished(s->view, qresync->modseq, all);
	match = last_match(s, qresync);
	if (match > 0)
		cv_ranges_remove(all, 1, match);
	imap_ranges_common(all, qresync->known, select->vanished);
	imap_uids_to_seqs(s, qresync->known, known);
	cv_view_changed(s->view, known, qresync->modseq, select->seqs);
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct select *select = cmd->data;
	uint64_t start = cv_time_mono_us();
	uint32_t seq;

	if (!imap_write_vanished(s, select->vanished, &select->vanished_done, true))
		return CV_IMAP_STEP;
	while (imap_room(cmd) > 0 && cv_time_mono_us() - start < IMAP_SLICE_US) {
		struct cv_row row;

		if (!imap_iter_next(select->seqs, &select->iter, &seq))
			return imap_ok(cmd, cv_view_readonly(s->view) ? "READ-ONLY" : "READ-WRITE",
				select->examine ? "Examine completed" : "Select completed");
		if (cv_view_flags(s->view, seq, &row))
			imap_write_flags(s, imap_out(cmd), seq, &row, true, true);
	}
	return CV_IMAP_STEP;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd, bool examine)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct select *select = cv_new(cmd->arena, struct select, 1);
	struct cv_mailbox_status status;
	struct cv_err err = { 0 };
	struct cv_str name;

	cmd->data = select;
	select->examine = examine;
	select->vanished = imap_ranges(cmd);
	select->seqs = imap_ranges(cmd);
	if (!imap_mailbox_arg(cmd, cmd->args, 0, &name) || !parse_params(cmd, cmd->args->next, select))
		return CV_IMAP_DONE;
	/* "The SELECT command automatically deselects any currently selected mailbox before attempting the new selection." RFC 7162 section 3.2.11:
	   the CLOSED response code stands between what is told of the one and of the other. */
	if (s->view != NULL)
		imap_tell(s, "OK", "CLOSED", "Previous mailbox closed");
	imap_unselect(s);
	if (select->condstore)
		s->condstore = true; /* HIGHESTMODSEQ is told in any case */
	if (open_view(cmd, name, examine, &status, &err) < 0)
		return imap_fail(cmd, &err);
	s->annotate = select->annotate;
	s->examined = examine;
	write_mailbox(s, imap_out(cmd), &status);
	if (s->set->imap_annotate)
		annotate_write_level(s);
	write_mailboxid(s, imap_out(cmd));
	/* RFC 9051 section 6.3.2: "The server MUST return a LIST response with the mailbox name." */
	if (s->rev2)
		imap_write_list(cmd, imap_out(cmd), name, imap_old_name(cmd, cmd->args, name));
	find_changes(cmd, select, &status);
	return step(cmd);
}

static enum cv_imap_result run_select(struct cv_imap_cmd *cmd)
{
	return run(cmd, false);
}

static enum cv_imap_result run_examine(struct cv_imap_cmd *cmd)
{
	return run(cmd, true);
}

const struct cv_imap_command imap_cmd_select = { .verb = "SELECT", .opts = CV_IMAP_LOGGED_IN | CV_IMAP_NO_SYNC, .run = run_select, .step = step };
const struct cv_imap_command imap_cmd_examine = { .verb = "EXAMINE", .opts = CV_IMAP_LOGGED_IN | CV_IMAP_NO_SYNC, .run = run_examine, .step = step };
