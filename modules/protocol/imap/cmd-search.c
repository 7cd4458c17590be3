/* SPDX-License-Identifier: MIT
   SEARCH (RFC 3501 section 6.4.4, RFC 7162 section 3.1.5). */
#include <config.h>

#include "imap-session.h"

#include "modules/lib/imap/imap-search.h"

struct search {
	struct cv_imap_search program;
	struct cv_mailsearch *evaluation;
	bool found;  /* all messages were looked at: the results go out */
	struct imap_iter iter;
};

static void free_search(void *ctx)
{
	struct search *search = ctx;

	cv_mailsearch_free(&search->evaluation);
}

static enum cv_imap_result wrong(struct cv_imap_cmd *cmd, const struct cv_err *err)
{
	if (err->code == CV_ERR_UNSUPPORTED)
		return imap_no(cmd, "BADCHARSET (US-ASCII UTF-8)", cv_err_public(err));
	return imap_bad_err(cmd, err);
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct search *search = cv_new(cmd->arena, struct search, 1);
	uint32_t count = cv_view_count(s->view);
	struct cv_err err = { 0 };

	/* Numbers that no message has find nothing here, also "*" in an empty mailbox: clients ask that all the time. */
	if (cv_imap_search_parse(cmd->arena, cmd->args, count > 0 ? count : UINT32_MAX,
		    count > 0 ? cv_view_uid(s->view, count) : UINT32_MAX, &search->program, &err) < 0)
		return wrong(cmd, &err);
	if (search->program.modseq)
		imap_enable_condstore(s, imap_out(cmd));
	if (cv_mailsearch_new(s->view, search->program.root, &search->evaluation, &err) < 0)
		return imap_fail(cmd, &err);
	cv_arena_cleanup(cmd->arena, free_search, search);
	cmd->data = search;
	return CV_IMAP_STEP;
}

/* mailbox-data = "SEARCH" [1*(SP nz-number) SP search-sort-mod-seq] */
static bool write_results(struct cv_imap_cmd *cmd, struct search *search)
{
	struct imap_session *s = imap_cmd_session(cmd);
	const struct cv_ranges *found = cv_mailsearch_found(search->evaluation);
	struct cv_buf *out = imap_out(cmd);
	uint32_t seq;

	while (imap_room(cmd) > 0) {
		if (imap_iter_next(found, &search->iter, &seq)) {
			cv_buf_append_char(out, ' ');
			cv_buf_append_u64(out, cmd->uid ? cv_view_uid(s->view, seq) : seq);
			continue;
		}
		if (search->program.modseq && found->count > 0)
			cv_buf_printf(out, " (MODSEQ %llu)", (unsigned long long)cv_mailsearch_modseq(search->evaluation));
		cv_buf_append_c(out, "\r\n");
		s->in_line = false;
		return true;
	}
	return false;
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct search *search = cmd->data;
	struct cv_err err = { 0 };
	size_t failed;

	if (!search->found) {
		if (!cv_mailsearch_step(search->evaluation, IMAP_SLICE_US))
			return CV_IMAP_STEP;
		search->found = true;
		cv_buf_append_c(imap_out(cmd), "* SEARCH");
		s->in_line = true; /* the line is not complete */
	}
	if (!write_results(cmd, search))
		return CV_IMAP_STEP;
	failed = cv_mailsearch_failed(search->evaluation, &err);
	if (failed > 0) {
		cv_err_context(&err, "%zu messages could not be searched, the first", failed);
		return imap_fail(cmd, &err);
	}
	if (cv_mailsearch_expunged(search->evaluation))
		return imap_ok(cmd, "EXPUNGEISSUED", "Search completed");
	return imap_ok(cmd, NULL, "Search completed");
}

const struct cv_imap_command imap_cmd_search = {
	.verb = "SEARCH",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_VARIANT | CV_IMAP_KEEPS_SEQ,
	.run = run,
	.step = step,
};
