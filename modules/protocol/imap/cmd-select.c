/* SPDX-License-Identifier: MIT
   SELECT and EXAMINE (RFC 3501 sections 6.3.1 and 6.3.2, RFC 7162 section 3.1.8). */
#include <config.h>

#include "imap-session.h"

/* select-params: CONDSTORE is the only one. */
static bool parse_params(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, bool *condstore_r)
{
	const struct cv_imap_arg *param;

	*condstore_r = false;
	if (arg == NULL)
		return true;
	if (!cv_imap_arg_list(arg, &param) || param == NULL || arg->next != NULL) {
		imap_bad(cmd, "Unexpected arguments");
		return false;
	}
	for (; param != NULL; param = param->next) {
		if (!cv_imap_arg_is(param, "CONDSTORE")) {
			imap_bad(cmd, "Unknown SELECT parameter");
			return false;
		}
		*condstore_r = true;
	}
	return true;
}

static void write_mailbox(struct imap_session *s, struct cv_buf *out, const struct cv_mailbox_status *status)
{
	uint32_t unseen = status->first_unseen_uid != 0 ? cv_view_seq(s->view, status->first_unseen_uid) : 0;

	imap_write_mailbox_flags(s, out);
	imap_write_counts(s, out, cv_view_count(s->view));
	if (unseen != 0)
		cv_buf_printf(out, "* OK [UNSEEN %u] First unseen\r\n", unseen);
	cv_buf_printf(out, "* OK [UIDVALIDITY %u] UIDs valid\r\n* OK [UIDNEXT %u] Predicted next UID\r\n", status->uidvalidity,
		status->uidnext);
	cv_buf_printf(out, "* OK [HIGHESTMODSEQ %llu] Highest\r\n",
		(unsigned long long)CV_MAX(cv_view_highest_modseq(s->view), (uint64_t)1));
}

static int open_view(struct cv_imap_cmd *cmd, struct cv_str name, bool readonly, struct cv_mailbox_status *status_r, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_view *view;

	if (cv_mailbox_get(cmd->user, name, &mailbox, err) < 0)
		return -1;
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
	return 0;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd, bool examine)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_mailbox_status status;
	struct cv_err err = { 0 };
	struct cv_str name;
	bool condstore;

	if (!imap_mailbox_arg(cmd, cmd->args, 0, &name) || !parse_params(cmd, cmd->args->next, &condstore))
		return CV_IMAP_DONE;
	/* "The SELECT command automatically deselects any currently selected mailbox before attempting the new selection." */
	imap_unselect(s);
	if (condstore)
		s->condstore = true; /* HIGHESTMODSEQ is told in any case */
	if (open_view(cmd, name, examine, &status, &err) < 0)
		return imap_fail(cmd, &err);
	write_mailbox(s, imap_out(cmd), &status);
	if (cv_view_readonly(s->view))
		return imap_ok(cmd, "READ-ONLY", examine ? "Examine completed" : "Select completed");
	return imap_ok(cmd, "READ-WRITE", "Select completed");
}

static enum cv_imap_result run_select(struct cv_imap_cmd *cmd)
{
	return run(cmd, false);
}

static enum cv_imap_result run_examine(struct cv_imap_cmd *cmd)
{
	return run(cmd, true);
}

const struct cv_imap_command imap_cmd_select = { .verb = "SELECT", .opts = CV_IMAP_LOGGED_IN | CV_IMAP_NO_SYNC, .run = run_select };
const struct cv_imap_command imap_cmd_examine = { .verb = "EXAMINE", .opts = CV_IMAP_LOGGED_IN | CV_IMAP_NO_SYNC, .run = run_examine };
