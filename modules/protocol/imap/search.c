/* SPDX-License-Identifier: MIT
   The search program of a command and its evaluation in slices. */
#include <config.h>

#include "search.h"

#include "context.h"
#include "metadata.h"

#include "modules/lib/imap/imap-quote.h"

#include <culver/time.h>

/* Messages that are looked for from the mailbox's end at most: their ranges are collected backwards. */
#define FROM_END_MAX 1000u

static void free_evaluation(void *ctx)
{
	struct imap_search *search = ctx;

	cv_mailsearch_free(&search->evaluation);
	imap_context_free(&search->context);
}

/* RFC 5182 section 2.1: a NO with SAVE "sets the value of the search result variable to the empty sequence", a BAD does not. */
static void nothing_saved(struct cv_imap_cmd *cmd, unsigned opts)
{
	if ((opts & CV_IMAP_RETURN_SAVE) != 0)
		cv_ranges_free(&imap_cmd_session(cmd)->saved);
}

enum cv_imap_result imap_search_wrong(struct cv_imap_cmd *cmd, unsigned opts, const struct cv_imap_search *program, const struct cv_err *err)
{
	if (err->code != CV_ERR_INVALID)
		nothing_saved(cmd, opts);
	if (err->code == CV_ERR_UNSUPPORTED)
		return imap_no(cmd, "BADCHARSET (US-ASCII UTF-8)", cv_err_public(err));
	/* RFC 5466 section 3.1 */
	if (err->code == CV_ERR_NOTFOUND)
		return imap_no(cmd, imap_code_printf(cmd, "UNDEFINED-FILTER %.*s", CV_STR_ARG(program->undefined_filter)), cv_err_public(err));
	if (program->filter_charset)
		return imap_bad_code(cmd, "BADCHARSET (US-ASCII UTF-8)", cv_err_public(err));
	return imap_bad_err(cmd, err);
}

/* "the FILTER SEARCH criterion […] MUST use the value of the private filter; otherwise, it MUST use the value of the filter that exists". */
static bool find_filter(void *ctx, struct cv_str name, struct cv_str *program_r)
{
	static const char *const kinds[] = { METADATA_PRIVATE_FILTERS, METADATA_SHARED_FILTERS };
	const struct imap_session *s = ctx;
	struct cv_annotation annotation;
	bool found = false;

	for (size_t i = 0; i < CV_COUNT_OF(kinds) && !found; i++) {
		struct cv_buf entry;

		cv_buf_init(&entry, CV_ANNOTATION_NAME_MAX);
		cv_buf_append_c(&entry, kinds[i]);
		cv_buf_append(&entry, name);
		found = cv_annotation_get(s->user, NULL, cv_buf_str(&entry), &annotation) > 0;
		cv_buf_deinit(&entry);
	}
	if (found)
		*program_r = annotation.value;
	return found;
}

/* When a few messages at one end are all that is asked for, the rest need not be looked at. */
static void limit(struct imap_search *search)
{
	unsigned opts = search->ret.opts & ~(unsigned)(CV_IMAP_RETURN_SAVE | CV_IMAP_RETURN_CONTEXT);

	if (!search->ret.given || !search->mailbox_order)
		return;
	if (opts == CV_IMAP_RETURN_MIN)
		cv_mailsearch_limit(search->evaluation, 1, false);
	else if (opts == CV_IMAP_RETURN_MAX)
		cv_mailsearch_limit(search->evaluation, 1, true);
	else if (opts == CV_IMAP_RETURN_PARTIAL && (!search->ret.partial.from_end || search->ret.partial.last <= FROM_END_MAX))
		cv_mailsearch_limit(search->evaluation, search->ret.partial.last, search->ret.partial.from_end);
}

int imap_search_parse(struct imap_session *s, const struct cv_view *view, struct cv_arena *arena, const struct cv_imap_arg *arg, bool charset_given, struct cv_str charset,
	struct cv_imap_search *search_r, struct cv_err *err)
{
	uint32_t count = view != NULL ? cv_view_count(view) : 0;
	/* Numbers that no message has find nothing here, also "*" in an empty mailbox: clients ask that all the time. */
	const struct cv_imap_search_context context = {
		.seq_star = count > 0 ? count : UINT32_MAX,
		.uid_star = count > 0 ? cv_view_uid(view, count) : UINT32_MAX,
		.saved = view == s->view ? &s->saved : NULL,
		.now_sec = cv_time_now_sec(),
		.filter = s->set->imap_metadata ? find_filter : NULL,
		.filter_ctx = s,
		.annotate = s->set->imap_annotate,
	};

	/* RFC 6855 section 3: "it MUST NOT issue a "SEARCH" command that contains a charset specification"; "SHOULD reject the command with a "BAD" response".
	   SORT and THREAD always have one; there it must be what UTF-8 can be named. */
	if (s->utf8 && !charset_given && cv_imap_arg_is(arg, "CHARSET"))
		return cv_err_set_public(err, CV_ERR_INVALID, "Strings are UTF-8 once UTF8=ACCEPT is enabled: no CHARSET");
	return charset_given ? cv_imap_search_parse_charset(arena, charset, arg, &context, search_r, err) :
			       cv_imap_search_parse(arena, arg, &context, search_r, err);
}

int imap_update_parse(struct cv_imap_cmd *cmd, const struct cv_imap_return *ret, struct cv_err *err)
{
	const struct cv_imap_arg *atts = ret->update;
	struct cv_imap_fetch what;

	if (atts == NULL)
		return 0;
	if (atts->child == NULL)
		return cv_err_set_public(err, CV_ERR_INVALID, "FETCH attributes are missing");
	atts = cv_imap_args_copy(cmd->arena, atts, true);
	if (cv_imap_fetch_parse(cmd->arena, &atts, &what, err) < 0)
		return -1;
	if (what.note_count > 0 && !imap_cmd_session(cmd)->set->imap_annotate)
		return cv_err_set_public(err, CV_ERR_INVALID, "Unknown FETCH item");
	if ((what.items & CV_IMAP_FETCH_MODSEQ) != 0)
		imap_enable_condstore(imap_cmd_session(cmd));
	return 0;
}

const char *imap_relevancy_wrong(const struct cv_imap_search *program, unsigned opts)
{
	return (opts & CV_IMAP_RETURN_RELEVANCY) != 0 && !program->fuzzy ? "RELEVANCY needs a FUZZY key" : NULL;
}

bool imap_search_begin(struct cv_imap_cmd *cmd, struct imap_search *search, const struct cv_imap_arg *arg, bool charset_given,
	struct cv_str charset)
{
	struct imap_session *s = imap_cmd_session(cmd);
	bool update = (search->ret.opts & CV_IMAP_RETURN_UPDATE) != 0;
	struct cv_err err = { 0 };
	uint32_t first;

	/* RFC 5267 section 4.3: a tag that an updated search has "SHALL result in the server rejecting the searching command with a BAD response". */
	if (update && imap_context_is(s, cmd->tag)) {
		imap_bad(cmd, "Tag reuse");
		return false;
	}
	if (imap_update_parse(cmd, &search->ret, &err) < 0) {
		imap_bad_err(cmd, &err);
		return false;
	}
	if (imap_search_parse(s, s->view, cmd->arena, arg, charset_given, charset, &search->program, &err) < 0) {
		imap_search_wrong(cmd, search->ret.opts, &search->program, &err);
		return false;
	}
	/* RFC 9586 section 3.5 */
	if (s->uidonly && search->program.seqs) {
		imap_bad_code(cmd, "UIDREQUIRED", "Message numbers are not allowed once UIDONLY is enabled");
		return false;
	}
	if (imap_relevancy_wrong(&search->program, search->ret.opts) != NULL) {
		imap_bad(cmd, imap_relevancy_wrong(&search->program, search->ret.opts));
		return false;
	}
	if (search->program.modseq)
		imap_enable_condstore(s);
	if (cv_mailsearch_new(s->view, search->program.root, &search->evaluation, &err) < 0) {
		nothing_saved(cmd, search->ret.opts);
		imap_fail(cmd, &err);
		return false;
	}
	/* RFC 9738 section 3.1: "The total number of searched messages (note, NOT the number of matched messages)". What is not searched cannot be kept up
	   to date either. SORT and THREAD have no limit. */
	if (search->mailbox_order && imap_message_limit(s) != 0 && cv_mailsearch_cut(search->evaluation, imap_message_limit(s), &first)) {
		imap_limited(cmd, imap_message_limit(s), cv_view_uid(s->view, first));
		search->refused = update;
		update = false;
	}
	if (update) {
		search->context = imap_context_new(cmd, &search->ret, arg, charset_given, charset);
		search->refused = search->context == NULL;
	}
	cv_arena_cleanup(cmd->arena, free_evaluation, search);
	return true;
}

bool imap_search_step(struct cv_imap_cmd *cmd, struct imap_search *search)
{
	if (cv_mailsearch_done(search->evaluation) == 0)
		limit(search);
	if (cv_mailsearch_step(search->evaluation, IMAP_SLICE_US))
		return true;
	imap_progress(cmd, cv_mailsearch_done(search->evaluation), cv_mailsearch_goal(search->evaluation));
	return false;
}

/* RFC 5267 section 4.3.1: "Other return options specified SHALL still be honoured." */
void imap_context_refused(struct cv_imap_cmd *cmd)
{
	cv_buf_append_c(imap_out(cmd), "* NO [NOUPDATE ");
	cv_imap_append_string(imap_out(cmd), cmd->tag);
	cv_buf_append_c(imap_out(cmd), "] ");
	imap_end_line(imap_cmd_session(cmd), imap_out(cmd), "This search is not kept up to date");
}

bool imap_search_left_out(struct cv_imap_cmd *cmd, size_t count, const struct cv_err *err)
{
	if (err->code != CV_ERR_CORRUPT)
		return false;
	imap_tell(imap_cmd_session(cmd), "NO", "CORRUPTION",
		cv_arena_printf(cmd->arena, "%zu damaged or missing messages could not be looked at", count));
	return true;
}

enum cv_imap_result imap_search_failed(struct cv_imap_cmd *cmd, const struct imap_search *search, size_t count, struct cv_err *err)
{
	nothing_saved(cmd, search->ret.opts);
	cv_err_context(err, "%zu messages could not be searched, the first", count);
	return imap_fail(cmd, err);
}

enum cv_imap_result imap_search_done(struct cv_imap_cmd *cmd, struct imap_search *search, const struct cv_ranges *saved)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_err err = { 0 };
	size_t failed = cv_mailsearch_failed(search->evaluation, &err);

	if (failed > 0 && !imap_search_left_out(cmd, failed, &err))
		return imap_search_failed(cmd, search, failed, &err);
	if ((search->ret.opts & CV_IMAP_RETURN_SAVE) != 0) {
		cv_ranges_free(&s->saved);
		imap_uids_of(s, saved, false, &s->saved);
	}
	if (search->context != NULL)
		imap_context_start(s, &search->context, cv_mailsearch_found(search->evaluation));
	if (search->refused)
		imap_context_refused(cmd);
	return imap_ok(cmd, cv_mailsearch_expunged(search->evaluation) ? "EXPUNGEISSUED" : NULL, search->completed);
}
