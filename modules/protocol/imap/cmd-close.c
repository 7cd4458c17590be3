/* SPDX-License-Identifier: MIT
   CLOSE and UNSELECT (RFC 3501 section 6.4.2, RFC 3691). */
#include <config.h>

#include "imap-session.h"

/* UIDs of all messages with \Deleted. */
static void find_deleted(const struct imap_session *s, struct cv_ranges *uids)
{
	const struct cv_ranges all = { .data = &(struct cv_range){ 1, cv_view_count(s->view) }, .count = 1 };

	if (cv_view_count(s->view) > 0)
		cv_view_deleted(s->view, &all, uids);
}

static enum cv_imap_result closed(struct cv_imap_cmd *cmd)
{
	imap_unselect(imap_cmd_session(cmd));
	return imap_ok(cmd, NULL, "Close completed");
}

static enum cv_imap_result run_close(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_ranges *uids = imap_ranges(cmd);
	struct cv_err err = { 0 };
	struct cv_txn *txn;

	if (!imap_no_args(cmd))
		return CV_IMAP_DONE;
	imap_refresh_rights(s);
	/* RFC 4314 section 4: without the "e" right "the server MUST ignore the expunge request, close the mailbox, and return the tagged OK response". */
	if (!cv_view_readonly(s->view) && (s->rights & CV_RIGHT_EXPUNGE) != 0)
		find_deleted(s, uids);
	if (uids->count == 0)
		return closed(cmd);
	txn = cv_txn_begin(cmd->user);
	if (cv_txn_expunge(txn, cv_view_mailbox(s->view), uids, &err) < 0) {
		cv_txn_rollback(&txn);
		return imap_fail(cmd, &err);
	}
	cmd->data = uids;
	return imap_commit(cmd, &txn);
}

static enum cv_imap_result step_close(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);

	if (imap_cmd(cmd)->commit_result < 0)
		return imap_fail(cmd, &imap_cmd(cmd)->commit_err);
	s->stats.expunged += cv_ranges_numbers(cmd->data);
	return closed(cmd);
}

static enum cv_imap_result run_unselect(struct cv_imap_cmd *cmd)
{
	if (!imap_no_args(cmd))
		return CV_IMAP_DONE;
	imap_unselect(imap_cmd_session(cmd));
	return imap_ok(cmd, NULL, "Unselect completed");
}

const struct cv_imap_command imap_cmd_close = {
	.verb = "CLOSE",
	.opts = CV_IMAP_SELECTED | CV_IMAP_NO_SYNC,
	.run = run_close,
	.step = step_close,
};
const struct cv_imap_command imap_cmd_unselect = { .verb = "UNSELECT", .opts = CV_IMAP_SELECTED | CV_IMAP_NO_SYNC, .run = run_unselect };
