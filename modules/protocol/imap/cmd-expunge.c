/* SPDX-License-Identifier: MIT
   EXPUNGE and UID EXPUNGE (RFC 3501 section 6.4.3, RFC 4315 section 2.1). */
#include <config.h>

#include "imap-session.h"


/* limit: RFC 9738 section 3.1; "the server MUST NOT impose any message limit when processing EXPUNGE". */
static enum cv_imap_result run(struct cv_imap_cmd *cmd, const struct cv_ranges *seqs, uint32_t limit)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_ranges *uids = imap_ranges(cmd);
	struct cv_err err = { 0 };
	struct cv_txn *txn;

	if (cv_view_readonly(s->view))
		return imap_no(cmd, "READ-ONLY", "Mailbox is read-only");
	if (cv_mailbox_may(cv_view_mailbox(s->view), CV_RIGHT_EXPUNGE, &err) < 0)
		return imap_fail(cmd, &err);
	cv_view_deleted(s->view, seqs, uids);
	if (uids->count == 0)
		return imap_ok(cmd, NULL, "Expunge completed");
	if (imap_limit_cut(uids, limit))
		imap_limited(cmd, limit, uids->data[0].first);
	txn = cv_txn_begin(cmd->user);
	if (cv_txn_expunge(txn, cv_view_mailbox(s->view), uids, &err) < 0) {
		cv_txn_rollback(&txn);
		return imap_fail(cmd, &err);
	}
	cmd->data = uids;
	return imap_commit(cmd, &txn);
}

/* All is durable: the EXPUNGE responses are those of the sync before the reply. */
static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	const char *code = NULL;

	if (imap_cmd(cmd)->commit_result < 0)
		return imap_fail(cmd, &imap_cmd(cmd)->commit_err);
	s->stats.expunged += cv_ranges_numbers(cmd->data);
	imap_sync_expunged(s);
	imap_cmd(cmd)->synced = true;
	if (s->condstore)
		code = imap_code_printf(cmd, "HIGHESTMODSEQ %llu", (unsigned long long)imap_highest_modseq(s));
	return imap_ok(cmd, code, "Expunge completed");
}

static enum cv_imap_result run_expunge(struct cv_imap_cmd *cmd)
{
	struct cv_ranges *all = imap_ranges(cmd);
	uint32_t count = cv_view_count(cmd->view);

	if (!imap_no_args(cmd))
		return CV_IMAP_DONE;
	if (count > 0)
		cv_ranges_add(all, 1, count);
	return run(cmd, all, 0);
}

static enum cv_imap_result run_uid_expunge(struct cv_imap_cmd *cmd)
{
	struct cv_ranges *seqs = imap_ranges(cmd);

	if (!imap_sequence_arg(cmd, cmd->args, seqs))
		return CV_IMAP_DONE;
	if (cmd->args->next != NULL)
		return imap_bad(cmd, "Unexpected arguments");
	return run(cmd, seqs, imap_message_limit(imap_cmd_session(cmd)));
}

const struct cv_imap_command imap_cmd_expunge = {
	.verb = "EXPUNGE",
	.opts = CV_IMAP_SELECTED | CV_IMAP_SHOWS_NEW,
	.run = run_expunge,
	.step = step,
};
const struct cv_imap_command imap_cmd_uid_expunge = {
	.verb = "EXPUNGE",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_ONLY | CV_IMAP_SHOWS_NEW,
	.run = run_uid_expunge,
	.step = step,
};
