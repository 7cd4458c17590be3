/* SPDX-License-Identifier: MIT
   STATUS (RFC 3501 section 6.3.10, RFC 7162 section 3.1.7). */
#include <config.h>

#include "imap-session.h"

enum { ITEMS_MAX = 6 };

static const char *const item_names[ITEMS_MAX] = { "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ" };

static uint64_t value_of(const struct cv_mailbox_status *status, size_t item)
{
	const uint64_t values[ITEMS_MAX] = { status->messages, status->recent, status->uidnext, status->uidvalidity, status->unseen,
		CV_MAX(status->highest_modseq, (uint64_t)1) };

	return values[item];
}

/* "(" status-att *(SP status-att) ")"; each once, in the client's order. */
static bool parse_items(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, size_t *items, size_t *count_r, bool *modseq_r)
{
	const struct cv_imap_arg *word;
	unsigned seen = 0;
	size_t i;

	if (!cv_imap_arg_list(arg, &word) || word == NULL || arg->next != NULL) {
		imap_bad(cmd, "STATUS needs a list of items");
		return false;
	}
	for (*count_r = 0; word != NULL; word = word->next) {
		for (i = 0; i < ITEMS_MAX && !cv_imap_arg_is(word, item_names[i]); i++)
			;
		if (i == ITEMS_MAX) {
			imap_bad(cmd, "Unknown STATUS item");
			return false;
		}
		if ((seen & 1u << i) == 0)
			items[(*count_r)++] = i;
		seen |= 1u << i;
	}
	*modseq_r = (seen & 1u << (ITEMS_MAX - 1)) != 0;
	return true;
}

static int get_status(struct cv_imap_cmd *cmd, struct cv_str name, struct cv_mailbox_status *status_r, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	int result;

	if (cv_mailbox_get(cmd->user, name, &mailbox, err) < 0)
		return -1;
	result = cv_mailbox_refresh(mailbox, err) < 0 ? -1 : cv_mailbox_get_status(mailbox, status_r, err);
	cv_mailbox_unref(&mailbox);
	return result;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_buf *out = imap_out(cmd);
	struct cv_mailbox_status status;
	struct cv_err err = { 0 };
	size_t items[ITEMS_MAX], count;
	struct cv_str name;
	bool modseq;

	if (!imap_mailbox_arg(cmd, cmd->args, 0, &name) || !parse_items(cmd, cmd->args->next, items, &count, &modseq))
		return CV_IMAP_DONE;
	if (get_status(cmd, name, &status, &err) < 0)
		return imap_fail(cmd, &err);
	/* What this session took as recent is so for it. */
	if (s->view != NULL && cv_str_eq(cv_mailbox_name(cv_view_mailbox(s->view)), name))
		status.recent += cv_view_recent(s->view);
	if (modseq)
		imap_enable_condstore(s, out);
	cv_buf_append_c(out, "* STATUS ");
	imap_append_mailbox(s, out, name);
	for (size_t i = 0; i < count; i++)
		cv_buf_printf(out, "%s%s %llu", i == 0 ? " (" : " ", item_names[items[i]],
			(unsigned long long)value_of(&status, items[i]));
	cv_buf_append_c(out, ")\r\n");
	return imap_ok(cmd, NULL, "Status completed");
}

const struct cv_imap_command imap_cmd_status = { .verb = "STATUS", .opts = CV_IMAP_LOGGED_IN, .run = run };
