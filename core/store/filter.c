/* SPDX-License-Identifier: MIT
   Filters of a delivery: asking them, and keeping what they decide until it is done. */
#include <config.h>

#include "core/store/filter.h"

#include <stdlib.h>
#include <string.h>

#define REJECT_TEXT_MAX ((size_t)400)

/* ---- asking ------------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	const struct cv_filter *x = *(const struct cv_filter *const *)a, *y = *(const struct cv_filter *const *)b;

	return x->stage != y->stage ? (x->stage > y->stage) - (x->stage < y->stage) : strcmp(x->name, y->name);
}

static void forget_actions(struct cv_filter_run *run)
{
	run->file_count = run->sent_count = 0;
	run->reject = NULL;
}

/* 1 decided, 0 not, -1. */
static int ask(struct cv_filter_run *run, const struct cv_filter *filter, struct cv_err *err)
{
	struct cv_err filter_err = { 0 };
	int ret = filter->run(run, &filter_err);

	if (ret > 0)
		return 1;
	forget_actions(run);
	if (ret == 0)
		return 0;
	if (filter_err.code == CV_ERR_TEMP || filter_err.code == CV_ERR_UNAVAILABLE) {
		*err = filter_err;
		return cv_err_context(err, "filter %s", filter->name);
	}
	cv_error(&run->user->log_ctx, "filter %s: %s; the message is kept", filter->name, filter_err.text);
	return 0;
}

int cv_filters_run(struct cv_user *user, struct cv_delivery *delivery, struct cv_filter_run **run_r, struct cv_err *err)
{
	CV_VEC(const struct cv_filter *) filters = { 0 };
	const struct cv_filter *filter;
	struct cv_filter_run *run;
	struct cv_arena *arena;
	const char *name;
	size_t pos = 0;
	int ret = 0;

	*run_r = NULL;
	while (user->registry != NULL && (filter = cv_provider_next(user->registry, CV_CAP_FILTER, &pos, &name)) != NULL)
		*cv_vec_push(&filters) = filter;
	if (filters.count == 0)
		return 0;
	qsort(filters.data, filters.count, sizeof(filters.data[0]), compare);
	arena = cv_arena_new("filter", NULL, 0);
	run = cv_new(arena, struct cv_filter_run, 1);
	*run = (struct cv_filter_run){ .arena = arena, .user = user, .delivery = delivery };
	for (size_t i = 0; ret == 0 && i < filters.count; i++)
		ret = ask(run, filters.data[i], err);
	cv_vec_free(&filters);
	if (ret > 0)
		*run_r = run;
	else
		cv_arena_free(&arena);
	return ret;
}

void cv_filter_run_free(struct cv_filter_run **run)
{
	struct cv_arena *arena;

	if (*run == NULL)
		return;
	cv_filter_cancel(*run);
	arena = (*run)->arena;
	cv_arena_free(&arena);
	*run = NULL;
}

/* ---- what a filter sees -------------------------------------------------------------------------------- */

struct cv_user *cv_filter_user(const struct cv_filter_run *run)
{
	return run->user;
}

const struct cv_delivery *cv_filter_delivery(const struct cv_filter_run *run)
{
	return run->delivery;
}

struct cv_arena *cv_filter_arena(const struct cv_filter_run *run)
{
	return run->arena;
}

const struct cv_message *cv_filter_message(struct cv_filter_run *run)
{
	if (run->message == NULL) {
		struct cv_mime_parser *parser = cv_mime_parser_new(run->arena, NULL);

		cv_mime_parser_feed(parser, run->delivery->octets);
		run->message = cv_mime_parser_finish(parser);
	}
	return run->message;
}

/* ---- actions ------------------------------------------------------------------------------------------- */

static int may_add(const struct cv_filter_run *run, struct cv_err *err)
{
	if (run->reject != NULL)
		return cv_err_set(err, CV_ERR_INVALID, "a message that is rejected is not filed or sent");
	if (run->file_count + run->sent_count >= CV_FILTER_ACTIONS_MAX)
		return cv_err_set(err, CV_ERR_LIMIT, "more than %u actions for one message", CV_FILTER_ACTIONS_MAX);
	return 1;
}

static struct cv_filter_file *file_to(struct cv_filter_run *run, struct cv_str mailbox)
{
	for (size_t i = 0; i < run->file_count; i++) {
		if (cv_str_eq(run->files[i].mailbox, mailbox))
			return &run->files[i];
	}
	run->files[run->file_count] = (struct cv_filter_file){ .mailbox = mailbox };
	return &run->files[run->file_count++];
}

static void add_flags(struct cv_filter_run *run, struct cv_filter_file *file, const struct cv_filter_flags *flags)
{
	struct cv_str *keywords;

	if (flags == NULL)
		return;
	file->flags |= flags->flags;
	keywords = cv_new(run->arena, struct cv_str, file->keyword_count + flags->keyword_count + 1);
	for (size_t i = 0; i < file->keyword_count; i++)
		keywords[i] = file->keywords[i];
	for (size_t i = 0; i < flags->keyword_count; i++)
		keywords[file->keyword_count + i] = cv_arena_str(run->arena, flags->keywords[i]);
	file->keywords = keywords;
	file->keyword_count += flags->keyword_count;
}

int cv_filter_keep(struct cv_filter_run *run, const struct cv_filter_flags *flags, struct cv_err *err)
{
	struct cv_filter_file *file;

	if (may_add(run, err) < 0)
		return -1;
	file = file_to(run, cv_tree_canonical(run->arena, cv_arena_str(run->arena, run->delivery->mailbox)));
	file->flags |= run->delivery->flags;
	add_flags(run, file, flags);
	return 1;
}

int cv_filter_fileinto(struct cv_filter_run *run, struct cv_str mailbox, bool create, const struct cv_filter_flags *flags, struct cv_err *err)
{
	struct cv_filter_file *file;

	if (may_add(run, err) < 0)
		return -1;
	if (mailbox.len == 0)
		return cv_err_set(err, CV_ERR_INVALID, "no mailbox is named");
	file = file_to(run, cv_tree_canonical(run->arena, cv_arena_str(run->arena, mailbox)));
	file->create = file->create || create;
	add_flags(run, file, flags);
	return 1;
}

int cv_filter_reject(struct cv_filter_run *run, struct cv_str text, struct cv_err *err)
{
	char *reason;

	if (run->file_count + run->sent_count > 0 || run->reject != NULL)
		return cv_err_set(err, CV_ERR_INVALID, "a message that is filed or sent is not rejected");
	text = cv_str_sub(text, 0, REJECT_TEXT_MAX);
	run->reject = reason = cv_arena_calloc(run->arena, text.len + 1, 1);
	for (size_t i = 0; i < text.len; i++) {
		uint8_t octet = (uint8_t)text.ptr[i];

		reason[i] = octet < ' ' || octet == 0x7f ? ' ' : octet > 0x7f ? '?' : (char)octet;
	}
	return 1;
}

int cv_filter_send(struct cv_filter_run *run, struct cv_str from, struct cv_str to, struct cv_str octets, struct cv_err *err)
{
	struct cv_filter_sent *sent;

	if (may_add(run, err) < 0)
		return -1;
	if (cv_service_get(run->user->registry, CV_SUBMISSION_SERVICE, CV_SUBMISSION_VERSION) == NULL)
		return cv_err_set(err, CV_ERR_UNSUPPORTED, "no module that sends messages is loaded");
	if (to.len == 0)
		return cv_err_set(err, CV_ERR_INVALID, "no recipient is named");
	sent = &run->sent[run->sent_count++];
	*sent = (struct cv_filter_sent){ .from = cv_arena_str(run->arena, from), .to = cv_arena_str(run->arena, to) };
	sent->octets = octets.ptr != NULL ? cv_arena_str(run->arena, octets) : run->delivery->octets;
	return 1;
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static const struct cv_submission *service(const struct cv_filter_run *run)
{
	return cv_service_get(run->user->registry, CV_SUBMISSION_SERVICE, CV_SUBMISSION_VERSION);
}

int cv_filter_hold(struct cv_filter_run *run, struct cv_err *err)
{
	for (; run->held_count < run->sent_count; run->held_count++) {
		struct cv_filter_sent *sent = &run->sent[run->held_count];

		if (service(run)->hold(run->user, sent->from, sent->to, sent->octets, &sent->held, err) < 0) {
			cv_filter_cancel(run);
			return cv_err_context(err, "a message to %s can't be queued", cv_log_clean(sent->to));
		}
	}
	return 1;
}

int cv_filter_release(struct cv_filter_run *run, struct cv_err *err)
{
	for (; run->released_count < run->held_count; run->released_count++) {
		void *held = run->sent[run->released_count].held;

		run->sent[run->released_count].held = NULL;
		if (service(run)->release(held, err) < 0) {
			run->released_count++;
			cv_filter_cancel(run);
			return cv_err_context(err, "a message can't be sent");
		}
	}
	return 1;
}

void cv_filter_cancel(struct cv_filter_run *run)
{
	for (; run->released_count < run->held_count; run->released_count++)
		service(run)->cancel(run->sent[run->released_count].held);
}
