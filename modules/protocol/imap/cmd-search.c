/* SPDX-License-Identifier: MIT
   SEARCH (RFC 3501 section 6.4.4, RFC 7162 section 3.1.5), with result options (RFC 4731, RFC 5182, RFC 6203, RFC 9394). */
#include <config.h>

#include "search.h"

struct search {
	struct imap_search search;
	bool found; /* all messages were looked at: the results go out */
	struct imap_result_writer writer;
	struct cv_ranges *saved;
};

static void free_search(void *ctx)
{
	struct search *search = ctx;

	imap_result_deinit(&search->writer);
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct search *search = cv_new(cmd->arena, struct search, 1);
	const struct cv_imap_arg *arg = cmd->args;
	struct cv_err err = { 0 };

	if (cv_imap_return_parse(&arg, IMAP_SEARCH_RETURN, &search->search.ret, &err) < 0)
		return imap_bad_err(cmd, &err);
	/* RFC 9051 section 6.4.4: without result options the answer is that to RETURN (ALL). */
	if (imap_cmd_session(cmd)->rev2 && !search->search.ret.given)
		search->search.ret = (struct cv_imap_return){ .given = true, .opts = CV_IMAP_RETURN_ALL };
	search->search.completed = "Search completed";
	search->search.mailbox_order = true;
	if (!imap_search_begin(cmd, &search->search, arg, false, (struct cv_str){ NULL, 0 }))
		return CV_IMAP_DONE;
	search->saved = imap_ranges(cmd);
	cv_arena_cleanup(cmd->arena, free_search, search);
	cmd->data = search;
	return CV_IMAP_STEP;
}

/* mailbox-data = "SEARCH" [1*(SP nz-number) SP search-sort-mod-seq], or esearch-response */
static void begin_results(struct cv_imap_cmd *cmd, struct search *search)
{
	const struct imap_result result = { .ranges = cv_mailsearch_found(search->search.evaluation) };
	bool modseq = search->search.program.modseq;

	search->found = true;
	if (search->search.ret.given)
		imap_result_begin_esearch(&search->writer, cmd, cmd->view, NULL, &search->search.ret, &result, modseq,
			search->search.evaluation, search->saved);
	else
		imap_result_begin_plain(&search->writer, cmd, "SEARCH", &result, modseq ? cv_mailsearch_modseq(search->search.evaluation) : 0);
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct search *search = cmd->data;

	if (!search->found) {
		if (!imap_search_step(cmd, &search->search))
			return CV_IMAP_STEP;
		begin_results(cmd, search);
	}
	if (!imap_result_write(&search->writer, cmd))
		return CV_IMAP_STEP;
	return imap_search_done(cmd, &search->search, search->saved);
}

const struct cv_imap_command imap_cmd_search = {
	.verb = "SEARCH",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_VARIANT | CV_IMAP_KEEPS_SEQ,
	.run = run,
	.step = step,
};
