/* SPDX-License-Identifier: MIT
   Searches and sorts with UPDATE (RFC 5267 section 4.3): their results are kept up to date with ADDTO and REMOVEFROM.

   A context knows the mod-sequence up to which its members are right. When the view has a higher one, the messages that changed since are searched again,
   in slices; that finds new messages, and flags that others or this session changed, also silently. Nothing else is renumbered meanwhile: the changes go out
   when the events of the mailbox did, and before the next command. A sorted result knows its order too; where a message comes into it, a binary search
   finds that compares a few messages by their records. */
#include <config.h>

#include "context.h"

#include "push.h"

#include "modules/lib/imap/imap-quote.h"

#include <culver/time.h>

/* "Servers MUST provide at least one updating context per client, and SHOULD provide more." */
#define CONTEXTS_MAX 10u
/* Ranges in one response. */
#define RANGES_PER_LINE 500u

struct imap_context {
	struct imap_context *next;
	struct cv_arena *arena;
	struct cv_str tag;
	bool uid;
	uint32_t uidvalidity;              /* of ESEARCH, whose responses name the mailbox; else 0 */
	struct cv_mailsearch_key *root;    /* AND of UIDs that changed, and the program */
	struct cv_ranges *changed;         /* those UIDs: a set of root */
	struct cv_ranges members;          /* UIDs */
	uint64_t modseq;                   /* members are right up to here */
	uint64_t next_modseq;              /* when the evaluation is done */
	struct cv_mailsearch *evaluation;  /* in progress, or NULL */
	struct cv_ranges added, removed;   /* UIDs to be told */
	/* RFC 5465 section 7: UPDATE with attributes to fetch of messages that are new in the mailbox and in the result. */
	bool fetch;
	struct cv_imap_fetch what;
	uint32_t newest_uid, next_newest_uid; /* of the mailbox, when members and next_modseq were right */
	struct cv_ranges to_fetch;
	/* Of SORT: the members' UIDs in order. */
	bool sorted;
	struct cv_imap_sort_program sort;
	CV_VEC(uint32_t) order;
};

void imap_context_free(struct imap_context **context_p)
{
	struct imap_context *context = *context_p;

	*context_p = NULL;
	if (context == NULL)
		return;
	cv_mailsearch_free(&context->evaluation);
	cv_ranges_free(&context->members);
	cv_ranges_free(&context->added);
	cv_ranges_free(&context->removed);
	cv_ranges_free(&context->to_fetch);
	cv_vec_free(&context->order);
	cv_arena_free(&context->arena);
	cv_free(context);
}

void imap_contexts_free(struct imap_session *s)
{
	while (s->contexts != NULL) {
		struct imap_context *next = s->contexts->next;

		imap_context_free(&s->contexts);
		s->contexts = next;
	}
}

static struct imap_context **find(struct imap_session *s, struct cv_str tag)
{
	struct imap_context **at = &s->contexts;

	while (*at != NULL && !cv_str_eq((*at)->tag, tag))
		at = &(*at)->next;
	return at;
}

bool imap_context_is(struct imap_session *s, struct cv_str tag)
{
	return *find(s, tag) != NULL;
}

bool imap_context_cancel(struct imap_session *s, struct cv_str tag)
{
	struct imap_context **at = find(s, tag), *context = *at;

	if (context == NULL)
		return false;
	*at = context->next;
	imap_context_free(&context);
	return true;
}

/* ---- making one -------------------------------------------------------------------------------------- */

/* "any message sequence numbers used in the search program are evaluated at the time the command is received": they become UIDs. False: the program's
   answers change with time alone, which is not watched. Depth is what the program's parser allowed. */
static bool fix_program(const struct imap_session *s, struct cv_arena *arena, struct cv_mailsearch_key *key)
{
	struct cv_mailsearch_key *uids;
	struct cv_ranges seqs = { 0 };
	uint32_t count = cv_view_count(s->view);

	if (key->kind == CV_MAILSEARCH_OLDER || key->kind == CV_MAILSEARCH_YOUNGER)
		return false;
	if (key->kind == CV_MAILSEARCH_SEQ) {
		for (size_t i = 0; i < key->set.count && key->set.data[i].first <= count; i++)
			cv_ranges_add(&seqs, key->set.data[i].first, CV_MIN(key->set.data[i].last, count));
		uids = cv_mailsearch_key_new(arena, CV_MAILSEARCH_UID);
		imap_uids_of(s, &seqs, false, &uids->set);
		cv_ranges_free(&seqs);
		key->kind = CV_MAILSEARCH_AND;
		key->child = uids;
		return true;
	}
	for (struct cv_mailsearch_key *child = key->child; child != NULL; child = child->next)
		if (!fix_program(s, arena, child))
			return false;
	return true;
}

struct imap_context *imap_context_new(struct cv_imap_cmd *cmd, const struct cv_imap_return *ret, const struct cv_imap_arg *program, bool charset_given,
	struct cv_str charset)
{
	struct imap_session *s = imap_cmd_session(cmd);
	struct imap_context *context;
	struct cv_imap_search search;
	struct cv_mailsearch_key *changed;
	struct cv_err err = { 0 };
	unsigned count = 0;

	for (context = s->contexts; context != NULL; context = context->next)
		count++;
	if (count >= CONTEXTS_MAX)
		return NULL;
	context = cv_new0(struct imap_context);
	context->arena = cv_arena_new("search context", NULL, 0);
	context->tag = cv_arena_str(context->arena, cmd->tag);
	context->uid = cmd->uid;
	context->modseq = cv_view_highest_modseq(s->view);
	if (charset.ptr != NULL)
		charset = cv_arena_str(context->arena, charset);
	/* It was read once already. */
	if (imap_search_parse(s, s->view, context->arena, cv_imap_args_copy(context->arena, program, false), charset_given, charset, &search, &err) < 0 ||
		!fix_program(s, context->arena, search.root)) {
		imap_context_free(&context);
		return NULL;
	}
	if (ret->update != NULL) {
		const struct cv_imap_arg *atts = cv_imap_args_copy(context->arena, ret->update, true);

		context->fetch = cv_imap_fetch_parse(context->arena, &atts, &context->what, &err) == 0; /* it was read once already */
	}
	context->newest_uid = s->newest_uid;
	changed = cv_mailsearch_key_new(context->arena, CV_MAILSEARCH_UID);
	changed->next = search.root;
	context->changed = &changed->set;
	context->root = cv_mailsearch_key_new(context->arena, CV_MAILSEARCH_AND);
	context->root->child = changed;
	return context;
}

void imap_context_name_mailbox(struct imap_context *context, uint32_t uidvalidity)
{
	context->uid = true;
	context->uidvalidity = uidvalidity;
}

void imap_context_start(struct imap_session *s, struct imap_context **context, const struct cv_ranges *found)
{
	imap_uids_of(s, found, false, &(*context)->members);
	(*context)->next = s->contexts;
	s->contexts = *context;
	*context = NULL;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void imap_context_start_sorted(struct imap_session *s, struct imap_context **context_p, const struct cv_imap_sort_program *sort,
	const uint32_t *seqs, size_t count)
{
	struct imap_context *context = *context_p;
	uint32_t *ascending = cv_calloc(count + 1, sizeof(*ascending));

	*context_p = NULL;
	context->sorted = true;
	context->sort = cv_imap_sort_copy(context->arena, sort);
	for (size_t i = 0; i < count; i++)
		*cv_vec_push(&context->order) = ascending[i] = cv_view_uid(s->view, seqs[i]);
	/* Ranges are cheap to add in order only. */
	qsort(ascending, count, sizeof(*ascending), by_number);
	for (size_t i = 0; i < count; i++)
		cv_ranges_add(&context->members, ascending[i], ascending[i]);
	cv_free(ascending);
	context->next = s->contexts;
	s->contexts = context;
}

/* ---- changes ----------------------------------------------------------------------------------------- */

/* Messages that changed since. */
static void find_changed(struct imap_session *s, struct imap_context *context)
{
	uint32_t count = cv_view_count(s->view);
	struct cv_row row;

	cv_ranges_free(context->changed);
	for (uint32_t seq = 1; seq <= count; seq++) {
		bool live = cv_view_flags(s->view, seq, &row);

		/* Expunged ones leave a sorted result before their EXPUNGE: nothing can be compared with them any more. */
		if (row.modseq > context->modseq || (!live && context->sorted && cv_ranges_has(&context->members, row.uid)))
			cv_ranges_add(context->changed, row.uid, row.uid);
	}
}

/* members without changed, and with found. */
static void replace_members(struct imap_context *context, const struct cv_ranges *found)
{
	struct cv_ranges members = { 0 };
	struct imap_iter old = { 0 }, new = { 0 };
	uint32_t a = 0, b = 0;
	bool have_a = imap_iter_next(&context->members, &old, &a), have_b = imap_iter_next(found, &new, &b);

	while (have_a || have_b) {
		if (have_a && (!have_b || a < b)) {
			if (!cv_ranges_has(context->changed, a))
				cv_ranges_add(&members, a, a);
			have_a = imap_iter_next(&context->members, &old, &a);
		} else {
			cv_ranges_add(&members, b, b);
			if (have_a && a == b)
				have_a = imap_iter_next(&context->members, &old, &a);
			have_b = imap_iter_next(found, &new, &b);
		}
	}
	cv_ranges_free(&context->members);
	context->members = members;
}

/* uid goes into set; unless the opposite was not told yet, which takes both back. */
static void note_change(struct cv_ranges *set, struct cv_ranges *opposite, uint32_t uid)
{
	if (cv_ranges_has(opposite, uid))
		cv_ranges_remove(opposite, uid, uid);
	else
		cv_ranges_add(set, uid, uid);
}

/* "the EXISTS response MUST precede any FETCH responses, and together they MUST precede the ESEARCH response"; but what NOTIFY has fetched too, in one
   response with this, goes behind it (section 5.2). */
static void note_fetch(struct imap_session *s, struct imap_context *context, uint32_t uid)
{
	cv_ranges_add(&context->to_fetch, uid, uid);
	if (!cv_ranges_has(&s->fetch_new, uid))
		cv_ranges_add(&s->fetch_first, uid, uid);
}

void imap_contexts_take_fetch(struct imap_session *s, struct cv_arena *arena, uint32_t uid, struct cv_imap_fetch *all)
{
	for (struct imap_context *context = s->contexts; context != NULL; context = context->next) {
		if (!cv_ranges_has(&context->to_fetch, uid))
			continue;
		cv_ranges_remove(&context->to_fetch, uid, uid);
		imap_fetch_merge(arena, all, &context->what);
	}
}

static void note_changes(struct imap_session *s, struct imap_context *context)
{
	struct cv_ranges found = { 0 };
	struct imap_iter iter = { 0 };
	struct cv_err err = { 0 };
	uint32_t uid;

	if (cv_mailsearch_failed(context->evaluation, &err) > 0 && !err.public_text)
		cv_error(s->log, "search context: %s", err.text);
	imap_uids_of(s, cv_mailsearch_found(context->evaluation), false, &found);
	cv_mailsearch_free(&context->evaluation);
	while (imap_iter_next(context->changed, &iter, &uid)) {
		bool is = cv_ranges_has(&found, uid), was = cv_ranges_has(&context->members, uid);

		if (is && !was && context->fetch && uid > context->newest_uid && !cv_ranges_has(&s->own, uid))
			note_fetch(s, context, uid);
		if (is && !was)
			note_change(&context->added, &context->removed, uid);
		else if (was && !is)
			note_change(&context->removed, &context->added, uid);
		else if (is && context->sorted && context->sort.annotations > 0 && !cv_ranges_has(&context->added, uid)) {
			/* It may have another place now. */
			cv_ranges_add(&context->removed, uid, uid);
			cv_ranges_add(&context->added, uid, uid);
		}
	}
	replace_members(context, &found);
	cv_ranges_free(&found);
	context->modseq = context->next_modseq;
	context->newest_uid = context->next_newest_uid;
}

/* False: the budget is used up. */
static bool evaluate(struct imap_session *s, struct imap_context *context)
{
	struct cv_err err = { 0 };

	if (context->evaluation == NULL) {
		if (context->modseq >= cv_view_highest_modseq(s->view))
			return true;
		find_changed(s, context);
		context->next_modseq = cv_view_highest_modseq(s->view);
		context->next_newest_uid = s->newest_uid;
		if (context->changed->count == 0) {
			context->modseq = context->next_modseq;
			return true;
		}
		if (cv_mailsearch_new(s->view, context->root, &context->evaluation, &err) < 0) {
			cv_error(s->log, "search context: %s", err.text); /* its limits were met once */
			context->modseq = context->next_modseq;
			return true;
		}
	}
	if (!cv_mailsearch_step(context->evaluation, IMAP_SLICE_US))
		return false;
	note_changes(s, context);
	return true;
}

/* ---- responses --------------------------------------------------------------------------------------- */

static void append_head(struct imap_session *s, struct cv_buf *out, const struct imap_context *context)
{
	cv_buf_append_c(out, "* ESEARCH (TAG ");
	cv_imap_append_string(out, context->tag);
	if (context->uidvalidity != 0) {
		cv_buf_append_c(out, " MAILBOX ");
		imap_append_mailbox(s, out, cv_mailbox_name(cv_view_mailbox(s->view)));
		cv_buf_printf(out, " UIDVALIDITY %u", context->uidvalidity);
	}
	cv_buf_append_c(out, context->uid ? ") UID" : ")");
}

/* ret-data-addto = "ADDTO" SP "(" context-position SP sequence-set ")", and the same for REMOVEFROM; position 0: "the client MAY insert the message numbers
   or UIDs in the result list such that the result list is maintained in mailbox order". What was told leaves uids. */
static void tell(struct imap_session *s, const struct imap_context *context, const char *what, struct cv_ranges *uids)
{
	struct cv_buf *out = cv_stream_out(s->stream);
	struct cv_ranges some = { 0 };
	struct imap_iter iter = { 0 };
	uint32_t uid, last = 0;

	while (some.count < RANGES_PER_LINE && imap_iter_next(uids, &iter, &uid)) {
		uint32_t n = context->uid ? uid : cv_view_seq(s->view, uid);

		if (n != 0)
			cv_ranges_add(&some, n, n);
		last = uid;
	}
	cv_ranges_remove(uids, 1, last);
	if (some.count > 0) {
		append_head(s, out, context);
		cv_buf_printf(out, " %s (0 ", what);
		cv_ranges_append(&some, out);
		cv_buf_append_c(out, ")\r\n");
	}
	cv_ranges_free(&some);
}

/* ---- sorted results ---------------------------------------------------------------------------------- */

/* Does the message a come before b? One of them may be gone: then by number. */
static bool is_before(struct imap_session *s, const struct imap_context *context, uint32_t a, uint32_t b)
{
	struct cv_ranges both = { 0 };
	struct cv_imap_sorter *sorter;
	const uint32_t *order;
	size_t count;
	bool before;

	cv_ranges_add(&both, a, a);
	cv_ranges_add(&both, b, b);
	sorter = cv_imap_sorter_new(s->view, &both, &context->sort);
	while (!cv_imap_sorter_step(sorter, UINT64_MAX))
		;
	order = cv_imap_sorter_order(sorter, &count);
	before = count == 2 ? order[0] == a : a < b;
	cv_imap_sorter_free(&sorter);
	cv_ranges_free(&both);
	return before;
}

/* Where the message seq belongs in the order. */
static size_t place_of(struct imap_session *s, const struct imap_context *context, uint32_t seq)
{
	size_t low = 0, high = context->order.count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		uint32_t other = cv_view_seq(s->view, context->order.data[mid]);

		if (other != 0 && is_before(s, context, other, seq))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static size_t index_of(const struct imap_context *context, uint32_t uid)
{
	size_t i = 0;

	while (i < context->order.count && context->order.data[i] != uid)
		i++;
	cv_assert(i < context->order.count);
	return i;
}

static void append_place(struct imap_session *s, const struct imap_context *context, const char *what, size_t place, uint32_t n)
{
	struct cv_buf *out = cv_stream_out(s->stream);

	append_head(s, out, context);
	cv_buf_printf(out, " %s (%zu %u)\r\n", what, place + 1, n);
}

static void remove_sorted(struct imap_session *s, struct imap_context *context, uint32_t uid, uint32_t n)
{
	size_t place = index_of(context, uid);

	append_place(s, context, "REMOVEFROM", place, n);
	context->order.count--;
	memmove(&context->order.data[place], &context->order.data[place + 1], (context->order.count - place) * sizeof(*context->order.data));
}

static void add_sorted(struct imap_session *s, struct imap_context *context, uint32_t uid, uint32_t seq)
{
	size_t place = place_of(s, context, seq);

	(void)cv_vec_push(&context->order);
	memmove(&context->order.data[place + 1], &context->order.data[place],
		(context->order.count - 1 - place) * sizeof(*context->order.data));
	context->order.data[place] = uid;
	append_place(s, context, "ADDTO", place, context->uid ? uid : seq);
}

/* One change of a sorted result. */
static void tell_sorted(struct imap_session *s, struct imap_context *context)
{
	bool removes = context->removed.count > 0;
	struct cv_ranges *uids = removes ? &context->removed : &context->added;
	uint32_t uid = uids->data[0].first, seq = cv_view_seq(s->view, uid);

	cv_ranges_remove(uids, uid, uid);
	if (removes)
		remove_sorted(s, context, uid, context->uid ? uid : seq);
	else if (seq != 0)
		add_sorted(s, context, uid, seq);
}

/* ---- when they go out -------------------------------------------------------------------------------- */

bool imap_contexts_update(struct imap_session *s)
{
	uint64_t start = cv_time_mono_us();

	for (struct imap_context *context = s->contexts; context != NULL; context = context->next) {
		if (!evaluate(s, context)) {
			cv_session_want_step(s->session);
			return false;
		}
	}
	if (!imap_push_fetches(s, &s->fetch_first, false))
		return false;
	for (struct imap_context *context = s->contexts; context != NULL; context = context->next) {
		while (context->removed.count > 0 || context->added.count > 0) {
			if (cv_stream_room(s->stream) == 0)
				return false;
			if (context->sorted)
				tell_sorted(s, context);
			else if (context->removed.count > 0)
				tell(s, context, "REMOVEFROM", &context->removed);
			else
				tell(s, context, "ADDTO", &context->added);
			if (cv_time_mono_us() - start > IMAP_SLICE_US) {
				cv_session_want_step(s->session);
				return false;
			}
		}
	}
	return true;
}

/* "a REMOVEFROM containing message sequence numbers removed as a result of those messages being expunged MUST be sent prior to the expunge". */
void imap_contexts_expunge(struct imap_session *s, uint32_t seq, uint32_t uid)
{
	struct cv_buf *out = cv_stream_out(s->stream);

	for (struct imap_context *context = s->contexts; context != NULL; context = context->next) {
		bool known = (cv_ranges_has(&context->members, uid) && !cv_ranges_has(&context->added, uid)) ||
			cv_ranges_has(&context->removed, uid);

		cv_ranges_remove(&context->members, uid, uid);
		cv_ranges_remove(&context->added, uid, uid);
		cv_ranges_remove(&context->removed, uid, uid);
		if (!known)
			continue;
		if (context->sorted) {
			remove_sorted(s, context, uid, context->uid ? uid : seq);
			continue;
		}
		append_head(s, out, context);
		cv_buf_printf(out, " REMOVEFROM (0 %u)\r\n", context->uid ? uid : seq);
	}
}

void imap_contexts_interrupt(struct imap_session *s)
{
	for (struct imap_context *context = s->contexts; context != NULL; context = context->next)
		cv_mailsearch_free(&context->evaluation);
}
