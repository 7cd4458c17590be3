/* SPDX-License-Identifier: MIT
   COPY and MOVE (RFC 3501 section 6.4.7, RFC 6851, RFC 4315 section 3). */
#include <config.h>

#include "imap-session.h"

struct copy {
	bool move;
	struct cv_mailbox *target;
	bool over_quota;    /* it was above a limit before */
	struct cv_txn *txn; /* NULL once the commit has it */
	struct cv_ranges *old_uids, *new_uids;
	bool incomplete;    /* some messages were gone already */
};

static void give_up(struct cv_imap_cmd *cmd)
{
	struct copy *copy = cmd->data;

	if (copy == NULL)
		return;
	if (copy->txn != NULL)
		cv_txn_rollback(&copy->txn);
	if (copy->target != NULL)
		cv_mailbox_unref(&copy->target);
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd, bool move)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_ranges *seqs = imap_ranges(cmd), *uids = imap_ranges(cmd);
	struct copy *copy = cv_new(cmd->arena, struct copy, 1);
	struct cv_err err = { 0 };
	enum cv_imap_result result;
	struct cv_str name;
	const char *ignored;

	if (!imap_sequence_arg(cmd, cmd->args, seqs) || !imap_mailbox_arg(cmd, cmd->args->next, 0, &name))
		return CV_IMAP_DONE;
	if (cmd->args->next->next != NULL)
		return imap_bad(cmd, "Unexpected arguments");
	if (move && cv_view_readonly(s->view))
		return imap_no(cmd, "READ-ONLY", "Mailbox is read-only");
	if (!move && imap_limit_cut(seqs, imap_save_limit(s)))
		return imap_over_limit(cmd, imap_save_limit(s), cv_view_uid(s->view, seqs->data[0].first));
	if (move && imap_limit_cut(seqs, imap_message_limit(s)))
		imap_limited(cmd, imap_message_limit(s), cv_view_uid(s->view, seqs->data[0].first));
	cmd->data = copy;
	copy->move = move;
	if (cv_mailbox_open(cmd->user, name, CV_RIGHT_INSERT, &copy->target, &err) < 0)
		return imap_fail_target(cmd, &err);
	if (move && cv_mailbox_may(cv_view_mailbox(s->view), CV_RIGHT_DELETED | CV_RIGHT_EXPUNGE, &err) < 0) {
		give_up(cmd);
		return imap_fail(cmd, &err);
	}
	/* By UID, and for MOVE, what is gone is passed over; else nothing is copied then (RFC 2180 section 4.4.1). */
	imap_uids_of(s, seqs, cmd->uid || move, uids);
	copy->incomplete = cv_ranges_numbers(uids) < cv_ranges_numbers(seqs);
	if (uids->count == 0) {
		give_up(cmd);
		if (copy->incomplete && !cmd->uid)
			return imap_no(cmd, "EXPUNGEISSUED", "The messages no longer exist");
		return imap_ok(cmd, NULL, move ? "No messages to move" : "No messages to copy");
	}
	copy->old_uids = imap_ranges(cmd);
	copy->new_uids = imap_ranges(cmd);
	copy->txn = cv_txn_begin(cmd->user);
	if (cv_txn_copy(copy->txn, cv_view_mailbox(s->view), uids, copy->target, move, copy->old_uids, copy->new_uids, &err) < 0) {
		give_up(cmd);
		return imap_fail(cmd, &err);
	}
	copy->over_quota = imap_over_quota(cmd, copy->target, &ignored);
	result = imap_commit(cmd, &copy->txn);
	if (result != CV_IMAP_WAIT)
		give_up(cmd);
	return result;
}

/* "COPYUID" SP uidvalidity SP uid-set SP uid-set; NULL when nothing was copied. */
static const char *copyuid(struct cv_imap_cmd *cmd, const struct copy *copy, const struct cv_mailbox_status *status)
{
	struct cv_buf code;
	const char *copied;

	if (copy->old_uids->count == 0)
		return NULL;
	cv_buf_init(&code, SIZE_MAX / 2);
	cv_buf_printf(&code, "COPYUID %u ", status->uidvalidity);
	cv_ranges_append(copy->old_uids, &code);
	cv_buf_append_char(&code, ' ');
	cv_ranges_append(copy->new_uids, &code);
	copied = cv_arena_strdup(cmd->arena, code.data);
	cv_buf_deinit(&code);
	return copied;
}

static enum cv_imap_result moved(struct cv_imap_cmd *cmd, const struct copy *copy, const char *code)
{
	struct imap_session *s = imap_cmd_session(cmd);

	/* RFC 6851 section 4.3: COPYUID in an untagged OK, before the EXPUNGE responses. */
	if (code != NULL)
		imap_tell(s, "OK", code, "Moved");
	imap_sync_expunged(s);
	imap_cmd(cmd)->synced = true;
	s->stats.expunged += cv_ranges_numbers(copy->old_uids);
	if (copy->incomplete && !cmd->uid)
		return imap_no(cmd, "EXPUNGEISSUED", "Some of the messages no longer exist");
	/* RFC 6851 section 4.4 */
	if (code != NULL && s->condstore)
		return imap_ok(cmd, imap_code_printf(cmd, "HIGHESTMODSEQ %llu", (unsigned long long)imap_highest_modseq(s)),
			"Move completed");
	return imap_ok(cmd, NULL, "Move completed");
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct copy *copy = cmd->data;
	struct cv_mailbox_status status;
	struct cv_err err = { 0 };
	const char *code = NULL;

	if (imap_cmd(cmd)->commit_result < 0) {
		give_up(cmd);
		return imap_fail(cmd, &imap_cmd(cmd)->commit_err);
	}
	imap_note_own(imap_cmd_session(cmd), copy->target, copy->new_uids);
	imap_warn_quota(cmd, copy->target, copy->over_quota);
	if (cv_mailbox_get_status(copy->target, &status, &err) >= 0)
		code = copyuid(cmd, copy, &status);
	give_up(cmd);
	return copy->move ? moved(cmd, copy, code) : imap_ok(cmd, code, "Copy completed");
}

static enum cv_imap_result run_copy(struct cv_imap_cmd *cmd)
{
	return run(cmd, false);
}

static enum cv_imap_result run_move(struct cv_imap_cmd *cmd)
{
	return run(cmd, true);
}

const struct cv_imap_command imap_cmd_copy = {
	.verb = "COPY",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_VARIANT,
	.run = run_copy,
	.step = step,
	.cancel = give_up,
};
const struct cv_imap_command imap_cmd_move = {
	.verb = "MOVE",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_VARIANT | CV_IMAP_SHOWS_NEW,
	.run = run_move,
	.step = step,
	.cancel = give_up,
};
