/* SPDX-License-Identifier: MIT
   ESEARCH: a search of several mailboxes, one after another (RFC 7377). */
#include <config.h>

#include "context.h"
#include "search.h"

struct esearch {
	struct cv_imap_return ret;
	const struct cv_imap_arg *program;
	/* Names to search, each once; and which of them is the selected mailbox. */
	CV_VEC(struct cv_str) names;
	size_t next;
	struct cv_str selected;         /* absent: none is */
	/* The mailbox in progress. */
	struct cv_arena *arena;
	struct cv_view *view;           /* NULL: none; the session's when it is the selected one */
	struct cv_imap_search search;
	struct cv_mailsearch *evaluation;
	struct imap_result_writer writer;
	bool writing;
	struct cv_ranges *saved;
	struct imap_context *context;   /* of UPDATE */
	bool refused;
	size_t failed;
	struct cv_err first_error;
};

static void end_mailbox(struct esearch *esearch, struct imap_session *s)
{
	cv_mailsearch_free(&esearch->evaluation);
	imap_result_deinit(&esearch->writer);
	if (esearch->view != NULL && esearch->view != s->view)
		cv_view_close(&esearch->view);
	esearch->view = NULL;
	esearch->writing = false;
	cv_arena_reset(esearch->arena);
}

static void cancel(struct cv_imap_cmd *cmd)
{
	struct esearch *esearch = cmd->data;

	if (esearch == NULL)
		return;
	cmd->data = NULL;
	end_mailbox(esearch, imap_cmd_session(cmd));
	imap_context_free(&esearch->context);
	cv_vec_free(&esearch->names);
	cv_arena_free(&esearch->arena);
}

/* ---- which mailboxes --------------------------------------------------------------------------------- */

/* "A server can, of course, remove the duplicates before processing". */
static void add_name(struct cv_imap_cmd *cmd, struct esearch *esearch, struct cv_str name)
{
	for (size_t i = 0; i < esearch->names.count; i++)
		if (cv_str_eq(esearch->names.data[i], name))
			return;
	*cv_vec_push(&esearch->names) = cv_arena_str(cmd->arena, name);
}

enum source { SOURCE_PERSONAL, SOURCE_SUBSCRIBED, SOURCE_SUBTREE, SOURCE_SUBTREE_ONE, SOURCE_MAILBOXES };

/* Is name in the tree below top, one level deep or any? */
static bool is_below(struct cv_str name, struct cv_str top, bool one_level)
{
	struct cv_str rest;

	if (cv_str_eq(name, top))
		return true;
	if (name.len <= top.len || !cv_str_starts(name, top) || name.ptr[top.len] != '/')
		return false;
	rest = cv_str_sub(name, top.len + 1, SIZE_MAX);
	return !one_level || cv_str_find(rest, '/') == SIZE_MAX;
}

static bool is_meant(const struct cv_mailbox_info *info, enum source source, struct cv_str name)
{
	switch (source) {
	case SOURCE_PERSONAL:
		return true;
	case SOURCE_SUBSCRIBED:
		return info->subscribed;
	case SOURCE_SUBTREE:
	case SOURCE_SUBTREE_ONE:
		return is_below(info->name, name, source == SOURCE_SUBTREE_ONE);
	case SOURCE_MAILBOXES:
		return cv_str_eq(info->name, name);
	}
	return false;
}

/* Names of mailboxes that are there, but those that are meant by no name of their own only when they may be seen (section 2.2). One that is not there is
   passed over. */
static void add_source(struct cv_imap_cmd *cmd, struct esearch *esearch, enum source source, struct cv_str name)
{
	struct cv_mailbox_info info;
	size_t pos = 0;

	while (cv_mailbox_next(cmd->user, &pos, &info))
		if (info.exists && is_meant(&info, source, name) && (source == SOURCE_MAILBOXES || cv_mailbox_visible(cmd->user, &info)))
			add_name(cmd, esearch, info.name);
}

/* one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")". False: the reply was made. */
static bool add_mailboxes(struct cv_imap_cmd *cmd, struct esearch *esearch, enum source source, const struct cv_imap_arg *arg)
{
	const struct cv_imap_arg *many;
	struct cv_str name;

	if (!cv_imap_arg_list(arg, &many)) {
		if (!imap_mailbox_arg(cmd, arg, 0, &name))
			return false;
		add_source(cmd, esearch, source, name);
		return true;
	}
	if (many == NULL) {
		imap_bad(cmd, "Mailbox names are missing");
		return false;
	}
	for (; many != NULL; many = many->next) {
		if (!imap_mailbox_arg(cmd, many, 0, &name))
			return false;
		add_source(cmd, esearch, source, name);
	}
	return true;
}

/* filter-mailboxes (RFC 5465 section 6, RFC 7377 section 4); *arg goes behind it. */
static bool parse_source(struct cv_imap_cmd *cmd, struct esearch *esearch, const struct cv_imap_arg **arg, bool *only_selected)
{
	static const struct {
		const char *word;
		enum source source;
		bool names;
	} words[] = {
		{ "personal", SOURCE_PERSONAL, false },
		/* RFC 5465 section 6.3: a server that cannot easily say where messages are delivered "MUST treat "inboxes" as equivalent to
		   "personal"". */
		{ "inboxes", SOURCE_PERSONAL, false },
		{ "subscribed", SOURCE_SUBSCRIBED, false },
		{ "subtree", SOURCE_SUBTREE, true },
		{ "subtree-one", SOURCE_SUBTREE_ONE, true },
		{ "mailboxes", SOURCE_MAILBOXES, true },
	};

	if (cv_imap_arg_is(*arg, "selected")) {
		if (esearch->selected.ptr == NULL) {
			imap_bad(cmd, "No mailbox is selected");
			return false;
		}
		add_name(cmd, esearch, esearch->selected);
		*arg = (*arg)->next;
		return true;
	}
	*only_selected = false;
	for (size_t i = 0; i < CV_COUNT_OF(words); i++) {
		if (!cv_imap_arg_is(*arg, words[i].word))
			continue;
		*arg = (*arg)->next;
		if (!words[i].names) {
			add_source(cmd, esearch, words[i].source, (struct cv_str){ NULL, 0 });
			return true;
		}
		if (!add_mailboxes(cmd, esearch, words[i].source, *arg) || *arg == NULL)
			return false; /* a missing one was refused */
		*arg = (*arg)->next;
		return true;
	}
	imap_bad(cmd, "Unknown source of mailboxes");
	return false;
}

/* ["IN" SP "(" source-mbox [SP "(" scope-options ")"] ")"]; no scope options are defined. */
static bool parse_sources(struct cv_imap_cmd *cmd, struct esearch *esearch, const struct cv_imap_arg **arg, bool *only_selected)
{
	const struct cv_imap_arg *source;

	*only_selected = true;
	if (!cv_imap_arg_is(*arg, "IN")) {
		if (esearch->selected.ptr == NULL) {
			imap_bad(cmd, "No mailbox is selected");
			return false;
		}
		add_name(cmd, esearch, esearch->selected);
		return true;
	}
	if (!cv_imap_arg_list((*arg)->next, &source) || source == NULL) {
		imap_bad(cmd, "Missing or invalid sources of mailboxes");
		return false;
	}
	*arg = (*arg)->next->next;
	while (source != NULL)
		if (!parse_source(cmd, esearch, &source, only_selected))
			return false;
	return true;
}

/* ---- the command ------------------------------------------------------------------------------------- */

static const char *refusal(struct imap_session *s, const struct cv_imap_cmd *cmd, const struct esearch *esearch, bool only_selected)
{
	/* Section 2.2: "the "SAVE" result option is valid only if "selected" is specified or defaulted to as the sole mailbox to be searched." */
	if ((esearch->ret.opts & CV_IMAP_RETURN_SAVE) != 0 && !only_selected)
		return "SAVE is for the selected mailbox alone";
	/* "If UPDATE is used and there is no mailbox currently selected, the ESEARCH command MUST return a "BAD" result." */
	if ((esearch->ret.opts & CV_IMAP_RETURN_UPDATE) != 0 && s->view == NULL)
		return "No mailbox is selected";
	if ((esearch->ret.opts & CV_IMAP_RETURN_UPDATE) != 0 && imap_context_is(s, cmd->tag))
		return "Tag reuse";
	return NULL;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct esearch *esearch = cv_new(cmd->arena, struct esearch, 1);
	const struct cv_imap_arg *arg = cmd->args;
	struct cv_imap_search program;
	struct cv_err err = { 0 };
	bool only_selected;
	const char *why;

	esearch->arena = cv_arena_new("mailbox being searched", NULL, 0);
	esearch->saved = imap_ranges(cmd);
	cmd->data = esearch;
	if (s->view != NULL)
		esearch->selected = cv_arena_str(cmd->arena, cv_mailbox_name(cv_view_mailbox(s->view)));
	if (!parse_sources(cmd, esearch, &arg, &only_selected)) {
		cancel(cmd);
		return CV_IMAP_DONE;
	}
	if (cv_imap_return_parse(&arg, IMAP_SEARCH_RETURN, &esearch->ret, &err) < 0 || imap_update_parse(cmd, &esearch->ret, &err) < 0) {
		cancel(cmd);
		return imap_bad_err(cmd, &err);
	}
	/* "Presence of a source option in the absence of a result option implies the "ALL" result option". */
	if (!esearch->ret.given)
		esearch->ret = (struct cv_imap_return){ .given = true, .opts = CV_IMAP_RETURN_ALL };
	why = refusal(s, cmd, esearch, only_selected);
	if (why == NULL && imap_search_parse(s, s->view, cmd->arena, arg, false, (struct cv_str){ NULL, 0 }, &program, &err) < 0) {
		unsigned opts = esearch->ret.opts;

		cancel(cmd);
		return imap_search_wrong(cmd, opts, &program, &err);
	}
	if (why == NULL)
		why = imap_relevancy_wrong(&program, esearch->ret.opts);
	if (why != NULL) {
		cancel(cmd);
		return imap_bad(cmd, why);
	}
	/* RFC 9586 section 3: no message numbers, in no mailbox. */
	if (s->uidonly && program.seqs) {
		cancel(cmd);
		imap_bad_code(cmd, "UIDREQUIRED", "Message numbers are not allowed once UIDONLY is enabled");
		return CV_IMAP_DONE;
	}
	if (program.modseq)
		imap_enable_condstore(s);
	esearch->program = arg;
	return CV_IMAP_STEP;
}

static void note_failed(struct esearch *esearch, size_t count, const struct cv_err *err)
{
	if (count > 0 && esearch->failed == 0)
		esearch->first_error = *err;
	esearch->failed += count;
}

/* Open the next mailbox and begin to search it. One that was deleted meanwhile is passed over. */
static void begin_mailbox(struct cv_imap_cmd *cmd, struct esearch *esearch)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct cv_str name = esearch->names.data[esearch->next++];
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };
	int result;

	if (esearch->selected.ptr != NULL && cv_str_eq(name, esearch->selected)) {
		esearch->view = s->view;
		if ((esearch->ret.opts & CV_IMAP_RETURN_UPDATE) != 0)
			esearch->context = imap_context_new(cmd, &esearch->ret, esearch->program, false, (struct cv_str){ NULL, 0 });
	} else {
		/* "Mailboxes matching the source options for which the logged-in user lacks sufficient rights MUST be ignored". */
		if (cv_mailbox_open(cmd->user, name, CV_RIGHT_READ, &mailbox, &err) < 0) {
			note_failed(esearch, err.code != CV_ERR_NOTFOUND && err.code != CV_ERR_PERM, &err);
			return;
		}
		result = cv_view_open(mailbox, CV_VIEW_READONLY, &esearch->view, &err);
		cv_mailbox_unref(&mailbox);
		if (result < 0) {
			note_failed(esearch, err.code != CV_ERR_NOTFOUND, &err);
			return;
		}
	}
	if (imap_search_parse(s, esearch->view, esearch->arena, esearch->program, false, (struct cv_str){ NULL, 0 }, &esearch->search, &err) < 0 ||
		cv_mailsearch_new(esearch->view, esearch->search.root, &esearch->evaluation, &err) < 0) {
		note_failed(esearch, 1, &err);
		end_mailbox(esearch, s);
	}
}

/* Section 2.1: "An ESEARCH response MUST NOT be returned for mailboxes that contain no matching messages." False: there is no response. */
static bool begin_results(struct cv_imap_cmd *cmd, struct esearch *esearch)
{
	struct imap_session *s = imap_cmd_session(cmd);
	const struct imap_result result = { .ranges = cv_mailsearch_found(esearch->evaluation) };
	struct imap_result_source source = { .name = esearch->names.data[esearch->next - 1] };
	struct cv_mailbox_status status;
	struct cv_err err = { 0 };
	size_t failed = cv_mailsearch_failed(esearch->evaluation, &err);

	if (failed > 0 && !imap_search_left_out(cmd, failed, &err))
		note_failed(esearch, failed, &err);
	if (cv_mailbox_get_status(cv_view_mailbox(esearch->view), &status, &err) < 0) {
		note_failed(esearch, 1, &err);
		return false;
	}
	source.uidvalidity = status.uidvalidity;
	if (esearch->context != NULL && esearch->view == s->view) {
		imap_context_name_mailbox(esearch->context, status.uidvalidity);
		imap_context_start(s, &esearch->context, result.ranges);
	}
	if (result.ranges->count == 0)
		return false;
	imap_result_begin_esearch(&esearch->writer, cmd, esearch->view, &source, &esearch->ret, &result, esearch->search.modseq,
		esearch->evaluation, esearch->saved);
	esearch->writing = true;
	return true;
}

static enum cv_imap_result done(struct cv_imap_cmd *cmd, struct esearch *esearch)
{
	struct imap_session *s = imap_cmd_session(cmd);
	bool save = (esearch->ret.opts & CV_IMAP_RETURN_SAVE) != 0;
	bool updated = imap_context_is(s, cmd->tag);
	struct cv_err err = esearch->first_error;
	size_t failed = esearch->failed;
	unsigned opts = esearch->ret.opts;

	if (save) {
		cv_ranges_free(&s->saved);
		if (failed == 0)
			imap_uids_of(s, esearch->saved, false, &s->saved);
	}
	cancel(cmd);
	if ((opts & CV_IMAP_RETURN_UPDATE) != 0 && !updated)
		imap_context_refused(cmd);
	if (failed > 0) {
		cv_err_context(&err, "%zu mailboxes or messages could not be searched, the first", failed);
		return imap_fail(cmd, &err);
	}
	return imap_ok(cmd, NULL, "Search completed");
}

static enum cv_imap_result step(struct cv_imap_cmd *cmd)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct esearch *esearch = cmd->data;

	if (esearch->view == NULL) {
		if (esearch->next == esearch->names.count)
			return done(cmd, esearch);
		imap_progress(cmd, (uint32_t)esearch->next, (uint32_t)esearch->names.count);
		begin_mailbox(cmd, esearch);
	} else if (!esearch->writing) {
		if (cv_mailsearch_step(esearch->evaluation, IMAP_SLICE_US)) {
			if (!begin_results(cmd, esearch))
				end_mailbox(esearch, s);
		} else {
			imap_progress(cmd, (uint32_t)esearch->next - 1, (uint32_t)esearch->names.count);
		}
	} else if (imap_result_write(&esearch->writer, cmd)) {
		end_mailbox(esearch, s);
	}
	return CV_IMAP_STEP;
}

const struct cv_imap_command imap_cmd_esearch = {
	.verb = "ESEARCH",
	.opts = CV_IMAP_LOGGED_IN,
	.run = run,
	.step = step,
	.cancel = cancel,
};
