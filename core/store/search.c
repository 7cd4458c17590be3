/* SPDX-License-Identifier: MIT
   Evaluation of a search tree over a view: for each message the columns, then the parse record, then the header, then the whole message, each only
   as long as the answer is not known yet. */
#include <config.h>

#include "core/store/search-private.h"

#include <culver/time.h>

/* Octets of a message that are searched before the clock is looked at again. */
#define BODY_SLICE ((uint64_t)256 * 1024)
/* Octets of a header that are put together in memory, where they are not there in one piece. */
#define HEADER_MAX ((size_t)64 * 1024 * 1024)
/* Messages answered from columns alone between two looks at the clock. */
#define ROWS_PER_LOOK 256u
/* So few messages are read sooner than an index is brought up to date. */
#define READ_SOONER 16u

/* ---- keys ------------------------------------------------------------------------------------------ */

static void free_set(void *ctx)
{
	cv_ranges_free(ctx);
}

struct cv_mailsearch_key *cv_mailsearch_key_new(struct cv_arena *arena, enum cv_mailsearch_kind kind)
{
	struct cv_mailsearch_key *key = cv_new(arena, struct cv_mailsearch_key, 1);

	key->kind = kind;
	if (kind == CV_MAILSEARCH_SEQ || kind == CV_MAILSEARCH_UID)
		cv_arena_cleanup(arena, free_set, &key->set);
	return key;
}

static void add_text_key(struct cv_mailsearch *search, struct cv_mailsearch_key *key)
{
	search->texts = cv_vec_grow(search->texts, &search->text_cap, search->text_count + 1, sizeof(struct cv_mailsearch_key *));
	search->texts[search->text_count++] = key;
}

static int prepare_text(struct cv_mailsearch *search, struct cv_mailsearch_key *key, struct cv_err *err)
{
	enum cv_search_where where = key->kind == CV_MAILSEARCH_HEADER ? CV_SEARCH_HEADER :
		key->kind == CV_MAILSEARCH_BODY			       ? CV_SEARCH_BODY :
									 CV_SEARCH_TEXT;
	struct cv_search **to = where == CV_SEARCH_HEADER ? &search->header_search : &search->body_search;

	add_text_key(search, key);
	if (*to == NULL)
		*to = cv_search_new();
	if (!key->fuzzy)
		return cv_search_add(*to, where, key->name, key->text, &key->index, err);
	if (search->relevancy == NULL)
		search->relevancy = cv_calloc((size_t)cv_view_count(search->view) + 1, 1);
	return cv_search_add_fuzzy(*to, where, key->name, key->text, &key->index, err);
}

static int prepare_note(struct cv_mailsearch *search, struct cv_mailsearch_key *key, struct cv_err *err)
{
	struct cv_buf *text;

	if (key->text.len > CV_SEARCH_NEEDLE_MAX)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Annotation is too large");
	if (search->note_texts.count == CV_SEARCH_KEYS_MAX)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Too many annotations at once");
	key->index = search->note_texts.count;
	text = cv_vec_push(&search->note_texts);
	cv_buf_init(text, SIZE_MAX / 2);
	cv_casemap(text, key->text);
	return 0;
}

/* depth is counted, so the caller's input cannot choose it. */
static int prepare(struct cv_mailsearch *search, struct cv_mailsearch_key *key, unsigned depth, struct cv_err *err)
{
	if (depth > CV_MAILSEARCH_DEPTH_MAX)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Search keys are nested too deeply");
	switch (key->kind) {
	case CV_MAILSEARCH_AND:
	case CV_MAILSEARCH_OR:
		for (struct cv_mailsearch_key *child = key->child; child != NULL; child = child->next)
			if (prepare(search, child, depth + 1, err) < 0)
				return -1;
		return 0;
	case CV_MAILSEARCH_SENTBEFORE:
	case CV_MAILSEARCH_SENTON:
	case CV_MAILSEARCH_SENTSINCE:
		add_text_key(search, key);
		return 0;
	case CV_MAILSEARCH_ASK:
		add_text_key(search, key);
		search->ask_count++;
		return 0;
	case CV_MAILSEARCH_HEADER:
	case CV_MAILSEARCH_BODY:
	case CV_MAILSEARCH_TEXT:
		return prepare_text(search, key, err) < 0 ? -1 : 0;
	case CV_MAILSEARCH_NOTE:
		return prepare_note(search, key, err);
	case CV_MAILSEARCH_SEQ:
	case CV_MAILSEARCH_UID:
	case CV_MAILSEARCH_FLAGS:
	case CV_MAILSEARCH_RECENT:
	case CV_MAILSEARCH_KEYWORD:
	case CV_MAILSEARCH_BEFORE:
	case CV_MAILSEARCH_ON:
	case CV_MAILSEARCH_SINCE:
	case CV_MAILSEARCH_LARGER:
	case CV_MAILSEARCH_SMALLER:
	case CV_MAILSEARCH_MODSEQ:
	case CV_MAILSEARCH_SAVEDBEFORE:
	case CV_MAILSEARCH_SAVEDON:
	case CV_MAILSEARCH_SAVEDSINCE:
	case CV_MAILSEARCH_OLDER:
	case CV_MAILSEARCH_YOUNGER:
	case CV_MAILSEARCH_GUID:
		return 0;
	}
	return cv_err_set(err, CV_ERR_INTERNAL, "unknown search key %d", (int)key->kind);
}

/* What is searched most. */
static enum cv_memo memo_of(const struct cv_mailsearch_key *key)
{
	static const struct {
		const char *name;
		enum cv_memo memo;
	} kept[] = { { "subject", CV_MEMO_FIND_SUBJECT }, { "from", CV_MEMO_FIND_FROM }, { "to", CV_MEMO_FIND_TO }, { "cc", CV_MEMO_FIND_CC },
		{ "message-id", CV_MEMO_FIND_MESSAGE_ID } };

	if (cv_answer_is_sent(key))
		return CV_MEMO_FIND_SENT;
	for (size_t i = 0; key->kind == CV_MAILSEARCH_HEADER && i < CV_COUNT_OF(kept); i++)
		if (cv_str_caseeq_c(key->name, kept[i].name))
			return kept[i].memo;
	return CV_MEMOS;
}

static void find_memos(struct cv_mailsearch *search)
{
	search->memos = cv_calloc(search->text_count + 1, sizeof(*search->memos));
	for (size_t i = 0; i < search->text_count; i++)
		search->memos[i] = memo_of(search->texts[i]);
}

/* Sequence numbers that a set names. */
static void set_numbers(const struct cv_view *view, const struct cv_mailsearch_key *set, struct cv_ranges *numbers)
{
	uint32_t count = cv_view_count(view);

	for (size_t i = 0; i < set->set.count; i++) {
		struct cv_range range = set->set.data[i];
		uint32_t first = range.first, last = range.last;

		if (set->kind == CV_MAILSEARCH_UID) {
			first = cv_view_seq_from(view, range.first);
			last = range.last == UINT32_MAX ? count : cv_view_seq_from(view, range.last + 1) - 1;
		}
		last = CV_MIN(last, count);
		if (first <= last)
			cv_ranges_add(numbers, first, last);
	}
}

/* What is in both; goes to a. */
static void keep_common(struct cv_ranges *a, const struct cv_ranges *b)
{
	struct cv_ranges both = { 0 };

	for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
		uint32_t first = CV_MAX(a->data[i].first, b->data[j].first), last = CV_MIN(a->data[i].last, b->data[j].last);

		if (first <= last)
			cv_ranges_add(&both, first, last);
		if (a->data[i].last < b->data[j].last)
			i++;
		else
			j++;
	}
	cv_ranges_free(a);
	*a = both;
}

/* The messages that a key leaves of the candidates, told by what costs less than looking at each. False: it tells nothing. */
static bool narrows(const struct cv_mailsearch *search, const struct cv_mailsearch_key *key, struct cv_ranges *numbers)
{
	if (key->negated)
		return false;
	if (key->kind == CV_MAILSEARCH_SEQ || key->kind == CV_MAILSEARCH_UID)
		set_numbers(search->view, key, numbers);
	else if (key->kind == CV_MAILSEARCH_MODSEQ && key->number > 0)
		cv_view_changed(search->view, &search->candidates, key->number - 1, numbers);
	else
		return false;
	return true;
}

/* The messages that sets and modseqs among the keys that must all hold leave: often all that a client asks about. */
static void find_candidates(struct cv_mailsearch *search)
{
	uint32_t count = cv_view_count(search->view);

	if (count == 0)
		return;
	cv_ranges_add(&search->candidates, 1, count);
	if (search->root->kind != CV_MAILSEARCH_AND || search->root->negated)
		return;
	for (const struct cv_mailsearch_key *key = search->root->child; key != NULL; key = key->next) {
		struct cv_ranges numbers = { 0 };

		if (narrows(search, key, &numbers))
			keep_common(&search->candidates, &numbers);
		cv_ranges_free(&numbers);
	}
}

int cv_mailsearch_new(struct cv_view *view, struct cv_mailsearch_key *root, struct cv_mailsearch **search_r, struct cv_err *err)
{
	struct cv_mailsearch *search = cv_new0(struct cv_mailsearch);

	cv_buf_init(&search->header, HEADER_MAX);
	cv_buf_init(&search->mapped, SIZE_MAX / 2);
	search->view = view;
	search->root = root;
	if (prepare(search, root, 0, err) < 0) {
		cv_mailsearch_free(&search);
		return -1;
	}
	search->arena = cv_arena_new("message being searched", NULL, 0);
	search->message.arena = search->arena;
	find_memos(search);
	find_candidates(search);
	search->goal = (uint32_t)cv_ranges_numbers(&search->candidates);
	search->max = UINT32_MAX;
	*search_r = search;
	return 0;
}

bool cv_mailsearch_cut(struct cv_mailsearch *search, uint32_t max, uint32_t *first_r)
{
	uint64_t drop = cv_ranges_numbers(&search->candidates);

	cv_assert(search->done == 0 && max > 0);
	if (drop <= max)
		return false;
	for (drop -= max; drop > 0;) {
		struct cv_range range = search->candidates.data[0];
		uint64_t here = CV_MIN(drop, (uint64_t)range.last - range.first + 1);

		cv_ranges_remove(&search->candidates, range.first, (uint32_t)(range.first + here - 1));
		drop -= here;
	}
	search->goal = max;
	*first_r = search->candidates.data[0].first;
	return true;
}

void cv_mailsearch_limit(struct cv_mailsearch *search, uint32_t max, bool from_end)
{
	cv_assert(search->done == 0);
	search->max = max;
	search->from_end = from_end;
}

static void close_message(struct cv_mailsearch *search)
{
	search->message.reader = NULL;
	search->message.tree = NULL;
	cv_mail_close(&search->mail);
	cv_arena_reset(search->arena);
	search->stage = AT_ROW;
}

void cv_mailsearch_free(struct cv_mailsearch **search)
{
	if (*search == NULL)
		return;
	if ((*search)->arena != NULL)
		close_message(*search);
	cv_arena_free(&(*search)->arena);
	cv_search_free(&(*search)->header_search);
	cv_search_free(&(*search)->body_search);
	cv_buf_deinit(&(*search)->header);
	cv_buf_deinit(&(*search)->mapped);
	for (size_t i = 0; i < (*search)->note_texts.count; i++)
		cv_buf_deinit(&(*search)->note_texts.data[i]);
	cv_vec_free(&(*search)->note_texts);
	for (size_t i = 0; (*search)->known != NULL && i < (*search)->text_count; i++) {
		cv_ranges_free(&(*search)->known[i].yes);
		cv_ranges_free(&(*search)->known[i].maybe);
	}
	cv_free((*search)->known);
	cv_free((*search)->memos);
	cv_free((*search)->relevancy);
	cv_free((*search)->texts);
	cv_ranges_free(&(*search)->candidates);
	cv_ranges_free(&(*search)->found);
	cv_free(*search);
	*search = NULL;
}

/* ---- one message ----------------------------------------------------------------------------------- */

static void note_found(struct cv_mailsearch *search)
{
	if (search->relevancy != NULL)
		search->relevancy[search->seq] = (uint8_t)cv_answer_relevancy(search, search->root);
	cv_ranges_add(&search->found, search->seq, search->seq);
	search->found_count++;
	search->modseq = CV_MAX(search->modseq, search->row.modseq);
}

static void note_failed(struct cv_mailsearch *search, const struct cv_err *err)
{
	if (err->code == CV_ERR_EXPUNGED) {
		search->expunged = true;
		return;
	}
	/* One that may go away says more than damage. */
	if (search->failed++ == 0 || (search->first_error.code == CV_ERR_CORRUPT && err->code != CV_ERR_CORRUPT))
		search->first_error = *err;
}

/* The tree of parts, from the record or, when it was too large for that, from the octets. */
int cv_mailsearch_tree(struct cv_mailsearch_message *message, struct cv_err *err)
{
	struct cv_message *parsed;
	int result = 1;

	if (message->tree == NULL)
		result = cv_parse_record_tree(&message->record, message->arena, &message->tree, err);
	if (result != 0 || message->reader == NULL)
		return result;
	if (cv_message_parse(message->arena, NULL, message->reader, &parsed, err) < 0)
		return -1;
	message->tree = parsed->root;
	return 1;
}

int cv_mail_search_begin(struct cv_mail *mail, struct cv_arena *arena, struct cv_search *search, struct cv_err *err)
{
	struct cv_mailsearch_message message = { .arena = arena };
	struct cv_str octets;

	if (cv_mail_record(mail, &octets, err) < 0 || cv_parse_record_open(octets, &message.record, err) < 0 ||
		cv_mail_reader(mail, &message.reader, err) < 0 || cv_mailsearch_tree(&message, err) < 0)
		return -1;
	cv_search_begin(search, message.reader, message.tree);
	return 1;
}

/* Ask key about the message, and keep what it says. Results as those of ask. */
static int ask(struct cv_mailsearch *search, struct cv_mailsearch_key *key, bool first, struct cv_err *err)
{
	bool yes = false;
	int result = key->ask(key->ask_ctx, &search->message, first, BODY_SLICE, &yes, err);

	if (result > 0)
		key->answer = cv_answer_is(yes);
	return result;
}

/* What ASK keys say of the record alone. */
static int ask_of_record(struct cv_mailsearch *search, struct cv_err *err)
{
	if (search->ask_count == 0)
		return 1;
	search->message.row = *cv_answer_row(search);
	for (size_t i = 0; i < search->text_count; i++)
		if (search->texts[i]->kind == CV_MAILSEARCH_ASK && ask(search, search->texts[i], true, err) < 0)
			return -1;
	return 1;
}

/* The next ASK key that has not answered yet, for a slice. 1 when there is none. */
static int ask_of_octets(struct cv_mailsearch *search, struct cv_err *err)
{
	for (; search->ask < search->text_count; search->ask++) {
		struct cv_mailsearch_key *key = search->texts[search->ask];

		if (key->kind == CV_MAILSEARCH_ASK && key->answer == CV_ANSWER_UNKNOWN)
			return ask(search, key, false, err) < 0 ? -1 : 0;
	}
	return 1;
}

/* Open the message as far as its answer needs. 1 with *answer_r, 0 when the body has to be searched (stage IN_BODY), -1. */
static int open_message(struct cv_mailsearch *search, enum cv_answer *answer_r, struct cv_err *err)
{
	struct cv_parse_record *record = &search->message.record;
	struct cv_str octets;

	if (cv_mail_open(search->view, search->seq, &search->mail, err) < 0 ||
		cv_mail_record(search->mail, &octets, err) < 0 || cv_parse_record_open(octets, record, err) < 0)
		return -1;
	cv_answer_from_record(search, record);
	*answer_r = cv_answer_tree(search, search->root);
	if (*answer_r != CV_ANSWER_UNKNOWN)
		return 1;
	if (ask_of_record(search, err) < 0)
		return -1;
	*answer_r = cv_answer_tree(search, search->root);
	if (*answer_r != CV_ANSWER_UNKNOWN)
		return 1;
	if (cv_mail_reader(search->mail, &search->message.reader, err) < 0 || cv_answer_from_header(search, record->header_size, err) < 0)
		return -1;
	*answer_r = cv_answer_tree(search, search->root);
	if (*answer_r != CV_ANSWER_UNKNOWN)
		return 1;
	if (cv_mailsearch_tree(&search->message, err) < 0)
		return -1;
	search->body_done = search->body_search == NULL;
	if (!search->body_done)
		cv_search_begin(search->body_search, search->message.reader, search->message.tree);
	search->ask = 0;
	search->stage = IN_BODY;
	return 0;
}

/* A slice of the message's octets: of the texts that are looked for together, then of what each ASK key wants. Results as above. */
static int search_body(struct cv_mailsearch *search, enum cv_answer *answer_r, struct cv_err *err)
{
	int result;

	if (search->body_done) {
		result = ask_of_octets(search, err);
		if (result < 0)
			return -1;
		*answer_r = cv_answer_tree(search, search->root);
		return *answer_r != CV_ANSWER_UNKNOWN || result > 0 ? 1 : 0;
	}
	result = cv_search_step(search->body_search, BODY_SLICE, err);
	if (result <= 0)
		return result;
	for (size_t i = 0; i < search->text_count; i++) {
		struct cv_mailsearch_key *key = search->texts[i];

		if (key->kind == CV_MAILSEARCH_BODY || key->kind == CV_MAILSEARCH_TEXT)
			cv_answer_from(search->body_search, key);
	}
	search->body_done = true;
	*answer_r = cv_answer_tree(search, search->root);
	return *answer_r != CV_ANSWER_UNKNOWN ? 1 : 0;
}

/* The next candidate's sequence number; false when there is none, or no more is wanted. */
static bool next_candidate(struct cv_mailsearch *search)
{
	if (search->found_count >= search->max)
		return false;
	while (search->range < search->candidates.count) {
		struct cv_range range = search->candidates.data[search->from_end ? search->candidates.count - 1 - search->range : search->range];

		if (search->next == 0)
			search->next = search->from_end ? range.last : range.first;
		if (search->next >= range.first && search->next <= range.last) {
			search->seq = search->from_end ? search->next-- : search->next++;
			search->done++;
			/* 0 would be its end again */
			if (search->next == 0)
				search->range++;
			return true;
		}
		search->range++;
		search->next = 0;
	}
	return false;
}

/* One step of work on the message at hand. True when it cost more than a look at the columns. */
static bool work(struct cv_mailsearch *search)
{
	struct cv_err err = { 0 };
	enum cv_answer answer = CV_ANSWER_UNKNOWN;
	int result;

	if (search->stage == AT_ROW) {
		search->row_whole = false;
		if (!cv_view_flags(search->view, search->seq, &search->row)) {
			search->expunged = true;
			return false;
		}
		cv_answer_begin(search);
		answer = cv_answer_tree(search, search->root);
		if (answer == CV_ANSWER_UNKNOWN && search->text_count > 0) {
			cv_answer_from_memos(search);
			answer = cv_answer_tree(search, search->root);
		}
		if (answer != CV_ANSWER_UNKNOWN) {
			if (answer == CV_ANSWER_YES)
				note_found(search);
			return search->note_texts.count > 0;
		}
		result = open_message(search, &answer, &err);
	} else {
		result = search_body(search, &answer, &err);
	}
	if (result == 0)
		return true;
	if (result < 0)
		note_failed(search, &err);
	else if (answer == CV_ANSWER_YES)
		note_found(search);
	close_message(search);
	return true;
}

/* ---- indexes --------------------------------------------------------------------------------------- */

static bool is_text(const struct cv_mailsearch_key *key)
{
	return key->kind == CV_MAILSEARCH_HEADER || key->kind == CV_MAILSEARCH_BODY || key->kind == CV_MAILSEARCH_TEXT;
}

/* About each key of which none has told anything yet. */
static int look_up(struct cv_mailsearch *search, const struct cv_user_index *index, struct cv_err *err)
{
	struct cv_buf mapped;
	int ret = 1;

	cv_buf_init(&mapped, SIZE_MAX);
	for (size_t i = 0; ret > 0 && i < search->text_count; i++) {
		const struct cv_mailsearch_key *key = search->texts[i];
		struct cv_index_query query = { .kind = key->kind, .name = key->name, .text = key->text };

		/* What indexes keep tells of texts that are the same. */
		if (!is_text(key) || key->fuzzy || search->known[i].upto > 0)
			continue;
		cv_buf_clear(&mapped);
		cv_casemap(&mapped, key->text);
		query.mapped = cv_buf_str(&mapped);
		ret = index->index->lookup(index->ctx, cv_view_mailbox(search->view), &query, &search->known[i], err);
		if (ret < 0)
			search->known[i].upto = 0;
	}
	cv_buf_deinit(&mapped);
	return ret;
}

/* False: to be gone on with. An index that fails leaves its keys to the next one, or to reading. */
static bool ask_indexes(struct cv_mailsearch *search, uint64_t budget_us)
{
	struct cv_mailbox *mailbox = cv_view_mailbox(search->view);
	const struct cv_user_index *indexes;
	bool any = false;
	size_t count;

	for (size_t i = 0; i < search->text_count; i++)
		any = any || (is_text(search->texts[i]) && !search->texts[i]->fuzzy);
	if (!any || search->goal == 0)
		return true;
	indexes = cv_indexes(mailbox->user, &count);
	if (search->known == NULL && count > 0)
		search->known = cv_calloc(search->text_count, sizeof(*search->known));
	for (; search->index < count; search->index++) {
		const struct cv_user_index *index = &indexes[search->index];
		struct cv_err err = { 0 };
		int ret = 1;

		if (index->index->update != NULL && search->goal > READ_SOONER)
			ret = index->index->update(index->ctx, mailbox, cv_view_uid(search->view, cv_view_count(search->view)), budget_us, &err);
		if (ret == 0)
			return false;
		if (ret > 0)
			ret = look_up(search, index, &err);
		if (ret < 0)
			cv_warn(&mailbox->log_ctx, "search index %s: %s; messages are read instead", index->index->name, err.text);
	}
	return true;
}

bool cv_mailsearch_step(struct cv_mailsearch *search, uint64_t budget_us)
{
	uint64_t start = cv_time_mono_us();
	unsigned rows = 0;

	if (!search->asked) {
		search->asked = ask_indexes(search, budget_us);
		if (!search->asked)
			return false;
	}

	for (;;) {
		bool costly;

		if (search->stage == AT_ROW && !next_candidate(search))
			return true;
		costly = work(search);
		if ((costly || ++rows % ROWS_PER_LOOK == 0) && cv_time_mono_us() - start >= budget_us)
			return false;
	}
}

uint32_t cv_mailsearch_goal(const struct cv_mailsearch *search)
{
	return search->goal;
}

uint32_t cv_mailsearch_done(const struct cv_mailsearch *search)
{
	return search->done;
}

const struct cv_ranges *cv_mailsearch_found(const struct cv_mailsearch *search)
{
	return &search->found;
}

unsigned cv_mailsearch_relevancy(const struct cv_mailsearch *search, uint32_t seq)
{
	unsigned relevancy = search->relevancy != NULL ? search->relevancy[seq] : 0;

	return relevancy > 0 ? relevancy : 100;
}

uint64_t cv_mailsearch_modseq(const struct cv_mailsearch *search)
{
	return search->modseq;
}

bool cv_mailsearch_expunged(const struct cv_mailsearch *search)
{
	return search->expunged;
}

size_t cv_mailsearch_failed(const struct cv_mailsearch *search, struct cv_err *err_r)
{
	if (search->failed > 0 && err_r != NULL)
		*err_r = search->first_error;
	return search->failed;
}
