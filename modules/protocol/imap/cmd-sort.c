/* SPDX-License-Identifier: MIT
   SORT (RFC 5256 section 3, RFC 5957, RFC 6203), with result options (RFC 5267 section 3, RFC 9394). */
#include <config.h>

#include "context.h"
#include "search.h"

#include "modules/lib/imap/imap-sort.h"

struct sort {
	struct imap_search search;
	struct cv_imap_sort_program program;
	enum { SORT_SEARCHES = 0, SORT_SORTS, SORT_WRITES } phase;
	struct cv_imap_sorter *sorter;
	struct imap_result_writer writer;
	struct cv_ranges *saved;
};

static void free_sort(void *ctx)
{
	struct sort *sort = ctx;

	imap_result_deinit(&sort->writer);
	cv_imap_sorter_free(&sort->sorter);
}

/* sort = "SORT" SP ["RETURN" …] sort-criteria SP charset 1*(SP search-key) */
static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct sort *sort = cv_new(cmd->arena, struct sort, 1);
	const struct cv_imap_arg *arg = cmd->args, *keys;
	struct cv_err err = { 0 };
	struct cv_str charset;

	if (cv_imap_return_parse(&arg, IMAP_SEARCH_RETURN, &sort->search.ret, &err) < 0 || cv_imap_sort_parse(arg, &sort->program, &err) < 0)
		return imap_bad_err(cmd, &err);
	if (sort->program.annotations > 0 && !imap_cmd_session(cmd)->set->imap_annotate)
		return imap_bad(cmd, "Unknown sort key");
	if (!cv_imap_arg_astring(arg->next, &charset))
		return imap_bad(cmd, "Missing or invalid charset");
	/* RFC 5267 section 5 has the options before the criteria; imaptest sends them here, where no search key is called so. */
	keys = arg->next->next;
	if (!sort->search.ret.given && cv_imap_return_parse(&keys, IMAP_SEARCH_RETURN, &sort->search.ret, &err) < 0)
		return imap_bad_err(cmd, &err);
	sort->search.completed = "Sort completed";
	if (!imap_search_begin(cmd, &sort->search, keys, true, charset))
		return CV_IMAP_DONE;
	if (sort->program.relevancy && !sort->search.program.fuzzy)
		return imap_bad(cmd, "RELEVANCY needs a FUZZY key");
	/* Relevancies are of the moment: an order by them is not kept up to date. */
	if (sort->program.relevancy && sort->search.context != NULL) {
		imap_context_free(&sort->search.context);
		sort->search.refused = true;
	}
	sort->saved = imap_ranges(cmd);
	cv_arena_cleanup(cmd->arena, free_sort, sort);
	cmd->data = sort;
	return CV_IMAP_STEP;
}

/* sort-data = "SORT" *(SP nz-number) [SP search-sort-mod-seq] (RFC 7162 section 3.1.6), or esearch-response. */
static void begin_results(struct cv_imap_cmd *cmd, struct sort *sort)
{
	struct imap_result result = { 0 };
	bool modseq = sort->search.program.modseq;

	result.order = cv_imap_sorter_order(sort->sorter, &result.count);
	if (result.count == 0)
		result = (struct imap_result){ .ranges = sort->saved }; /* which is empty */
	if (sort->search.ret.given)
		imap_result_begin_esearch(&sort->writer, cmd, cmd->view, NULL, &sort->search.ret, &result, modseq,
			sort->search.evaluation, sort->saved);
	else
		imap_result_begin_plain(&sort->writer, cmd, "SORT", &result,
			modseq && result.count > 0 ? cv_mailsearch_modseq(sort->search.evaluation) : 0);
	sort->phase = SORT_WRITES;
}

static enum cv_imap_result done(struct cv_imap_cmd *cmd, struct sort *sort)
{
	struct cv_err err = { 0 };
	size_t failed = cv_imap_sorter_failed(sort->sorter, &err);

	if (failed > 0 && !imap_search_left_out(cmd, failed, &err))
		return imap_search_failed(cmd, &sort->search, failed, &err);
	if (sort->search.context != NULL) {
		size_t count;
		const uint32_t *order = cv_imap_sorter_order(sort->sorter, &count);

		imap_context_start_sorted(imap_cmd_session(cmd), &sort->search.context, &sort->program, order, count);
	}
	return imap_search_done(cmd, &sort->search, sort->saved);
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct sort *sort = cmd->data;

	switch (sort->phase) {
	case SORT_SEARCHES:
		if (!imap_search_step(cmd, &sort->search))
			return CV_IMAP_STEP;
		sort->sorter = cv_imap_sorter_new(cmd->view, cv_mailsearch_found(sort->search.evaluation), &sort->program);
		cv_imap_sorter_relevancies(sort->sorter, sort->search.evaluation);
		sort->phase = SORT_SORTS;
		return CV_IMAP_STEP;
	case SORT_SORTS:
		if (!cv_imap_sorter_step(sort->sorter, IMAP_SLICE_US)) {
			imap_progress(cmd, cv_imap_sorter_done(sort->sorter), cv_imap_sorter_goal(sort->sorter));
			return CV_IMAP_STEP;
		}
		begin_results(cmd, sort);
		return CV_IMAP_STEP;
	case SORT_WRITES:
		break;
	}
	return imap_result_write(&sort->writer, cmd) ? done(cmd, sort) : CV_IMAP_STEP;
}

const struct cv_imap_command imap_cmd_sort = {
	.verb = "SORT",
	.opts = CV_IMAP_SELECTED | CV_IMAP_UID_VARIANT | CV_IMAP_KEEPS_SEQ,
	.run = run,
	.step = step,
};
