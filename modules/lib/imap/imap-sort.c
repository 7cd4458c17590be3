/* SPDX-License-Identifier: MIT
   Sorting messages: keys are read once for each message, then merged. What is kept of that: imap-sort-order.c. */
#include <config.h>

#include "imap-sort-private.h"

#include "imap-annotate.h"
#include <culver/search.h>
#include <culver/time.h>

/* Octets of a text that are kept in memory. */
#define TEXT_KEPT 256u
/* Comparisons of kept keys between two looks at the clock. */
#define COMPARISONS_PER_LOOK 512u

/* ---- the program ------------------------------------------------------------------------------------- */

static const struct {
	const char *word;
	enum cv_imap_sort_key key;
} words[] = {
	{ "ARRIVAL", CV_IMAP_SORT_ARRIVAL },
	{ "CC", CV_IMAP_SORT_CC },
	{ "DATE", CV_IMAP_SORT_DATE },
	{ "DISPLAYFROM", CV_IMAP_SORT_DISPLAYFROM },
	{ "DISPLAYTO", CV_IMAP_SORT_DISPLAYTO },
	{ "FROM", CV_IMAP_SORT_FROM },
	{ "RELEVANCY", CV_IMAP_SORT_RELEVANCY },
	{ "SIZE", CV_IMAP_SORT_SIZE },
	{ "SUBJECT", CV_IMAP_SORT_SUBJECT },
	{ "TO", CV_IMAP_SORT_TO },
};

static bool find_key(const struct cv_imap_arg *arg, enum cv_imap_sort_key *key_r)
{
	for (size_t i = 0; i < CV_COUNT_OF(words); i++) {
		if (cv_imap_arg_is(arg, words[i].word)) {
			*key_r = words[i].key;
			return true;
		}
	}
	return false;
}

/* "ANNOTATION" SP entry SP att-sort. *arg is at the name, and goes to the attribute. */
static int add_annotation(struct cv_imap_sort_program *program, const struct cv_imap_arg **arg, bool reverse, struct cv_err *err)
{
	struct cv_str entry;
	bool priv;

	*arg = (*arg)->next;
	/* "Note that the ANNOTATION sort key must include a fully specified entry -- wild cards are not allowed." */
	if (!cv_imap_arg_astring(*arg, &entry))
		return cv_err_set_public(err, CV_ERR_INVALID, "Missing or invalid entry name in sort");
	if (cv_imap_note_entry_ok(entry, false, err) < 0)
		return -1;
	*arg = (*arg)->next;
	priv = cv_imap_arg_is(*arg, "value.priv");
	if (!priv && !cv_imap_arg_is(*arg, "value.shared"))
		return cv_err_set_public(err, CV_ERR_INVALID, "Attributes that can be sorted are value.priv and value.shared");
	for (size_t i = 0; i < program->count; i++)
		if (program->criteria[i].key == CV_IMAP_SORT_ANNOTATION && program->criteria[i].priv == priv && cv_str_eq(program->criteria[i].entry, entry))
			return 0;
	if (program->annotations == CV_IMAP_SORT_ANNOTATIONS_MAX)
		return cv_err_set_public(err, CV_ERR_INVALID, "Too many annotations in sort");
	program->annotations++;
	program->criteria[program->count].key = CV_IMAP_SORT_ANNOTATION;
	program->criteria[program->count].reverse = reverse;
	program->criteria[program->count].entry = entry;
	program->criteria[program->count].priv = priv;
	program->count++;
	return 0;
}

struct cv_imap_sort_program cv_imap_sort_copy(struct cv_arena *arena, const struct cv_imap_sort_program *program)
{
	struct cv_imap_sort_program copy = *program;

	for (size_t i = 0; i < copy.count; i++)
		if (copy.criteria[i].key == CV_IMAP_SORT_ANNOTATION)
			copy.criteria[i].entry = cv_arena_str(arena, copy.criteria[i].entry);
	return copy;
}

static void add_criterion(struct cv_imap_sort_program *program, enum cv_imap_sort_key key, bool reverse)
{
	for (size_t i = 0; i < program->count; i++)
		if (program->criteria[i].key == key)
			return;
	program->criteria[program->count].key = key;
	program->criteria[program->count].reverse = reverse;
	program->relevancy = program->relevancy || key == CV_IMAP_SORT_RELEVANCY;
	program->count++;
}

int cv_imap_sort_parse(const struct cv_imap_arg *arg, struct cv_imap_sort_program *program_r, struct cv_err *err)
{
	enum cv_imap_sort_key key;

	*program_r = (struct cv_imap_sort_program){ 0 };
	if (!cv_imap_arg_list(arg, &arg) || arg == NULL)
		return cv_err_set_public(err, CV_ERR_INVALID, "Sort criteria are missing");
	for (; arg != NULL; arg = arg->next) {
		/* sort-criterion = ["REVERSE" SP] sort-key */
		bool reverse = cv_imap_arg_is(arg, "REVERSE");

		if (reverse)
			arg = arg->next;
		if (cv_imap_arg_is(arg, "ANNOTATION")) {
			if (add_annotation(program_r, &arg, reverse, err) < 0)
				return -1;
			continue;
		}
		if (!find_key(arg, &key))
			return cv_err_set_public(err, CV_ERR_INVALID, arg == NULL ? "Sort key is missing" : "Unknown sort key");
		add_criterion(program_r, key, reverse);
	}
	return 0;
}

/* ---- keys -------------------------------------------------------------------------------------------- */

void cv_imap_sort_address(struct cv_buf *out, const struct cv_address_list *list, bool display)
{
	const struct cv_address *address = list->count > 0 ? &list->items[0] : NULL;
	size_t before = out->len;
	struct cv_buf whole;

	if (address == NULL || address->kind == CV_ADDRESS_GROUP_END)
		return;
	/* RFC 5957 section 3: the decoded name, unless "the resulting octet string" is empty; then addr-mailbox@addr-host, of which a group's start has
	   the mailbox only. */
	if (display && address->name.ptr != NULL)
		cv_header_key(out, address->name);
	if (out->len > before)
		return;
	if (!display || address->host.ptr == NULL) {
		cv_text_key(out, address->mailbox);
		return;
	}
	cv_buf_init(&whole, SIZE_MAX);
	cv_buf_append(&whole, address->mailbox);
	cv_buf_append_char(&whole, '@');
	cv_buf_append(&whole, address->host);
	cv_text_key(out, cv_buf_str(&whole));
	cv_buf_deinit(&whole);
}

static bool is_text(enum cv_imap_sort_key key)
{
	return key != CV_IMAP_SORT_ARRIVAL && key != CV_IMAP_SORT_DATE && key != CV_IMAP_SORT_SIZE && key != CV_IMAP_SORT_RELEVANCY;
}

/* Append the text of a key as it is compared: by i;unicode-casemap (RFC 5256 section 7). */
static int text_key(struct cv_imap_message *message, enum cv_imap_sort_key key, struct cv_buf *scratch, struct cv_buf *out, struct cv_err *err)
{
	bool display = key == CV_IMAP_SORT_DISPLAYFROM || key == CV_IMAP_SORT_DISPLAYTO;
	const struct cv_envelope *envelope;
	int result;

	if (key == CV_IMAP_SORT_SUBJECT) {
		cv_buf_clear(scratch);
		result = cv_imap_message_field(message, "Subject", scratch, err);
		if (result > 0)
			(void)cv_subject_key(out, cv_buf_str(scratch));
		return result < 0 ? -1 : 0;
	}
	if (cv_imap_message_envelope(message, &envelope, err) < 0)
		return -1;
	if (key == CV_IMAP_SORT_FROM || key == CV_IMAP_SORT_DISPLAYFROM)
		cv_imap_sort_address(out, &envelope->from, display);
	else
		cv_imap_sort_address(out, key == CV_IMAP_SORT_CC ? &envelope->cc : &envelope->to, display);
	return 0;
}

/* ---- the sorter -------------------------------------------------------------------------------------- */

struct cv_imap_sorter *cv_imap_sorter_new(struct cv_view *view, const struct cv_ranges *seqs, const struct cv_imap_sort_program *program)
{
	struct cv_imap_sorter *sorter = cv_new0(struct cv_imap_sorter);

	sorter->view = view;
	sorter->program = *program;
	for (size_t i = 0; i < seqs->count; i++)
		cv_ranges_add(&sorter->seqs, seqs->data[i].first, seqs->data[i].last);
	sorter->goal = (uint32_t)cv_ranges_numbers(seqs);
	if (sorter->goal > 0) {
		sorter->seq = cv_calloc(sorter->goal, sizeof(*sorter->seq));
		sorter->values = cv_calloc((size_t)sorter->goal * program->count, sizeof(*sorter->values));
	}
	cv_buf_init(&sorter->pool, SIZE_MAX);
	cv_buf_init(&sorter->scratch, SIZE_MAX);
	cv_buf_init(&sorter->first, SIZE_MAX);
	cv_buf_init(&sorter->second, SIZE_MAX);
	sorter->from = &sorter->seqs;
	cv_imap_sort_begin_places(sorter);
	return sorter;
}

void cv_imap_sorter_relevancies(struct cv_imap_sorter *sorter, const struct cv_mailsearch *search)
{
	sorter->search = search;
}

void cv_imap_sorter_free(struct cv_imap_sorter **sorter_p)
{
	struct cv_imap_sorter *sorter = *sorter_p;

	*sorter_p = NULL;
	if (sorter == NULL)
		return;
	cv_imap_message_deinit(&sorter->message);
	cv_imap_merge_deinit(&sorter->merge);
	cv_order_unref(&sorter->order);
	cv_free(sorter->slots);
	cv_free(sorter->late.placed);
	cv_free(sorter->late.result);
	cv_ranges_free(&sorter->seqs);
	cv_ranges_free(&sorter->late.seqs);
	cv_free(sorter->seq);
	cv_free(sorter->items);
	cv_free(sorter->values);
	cv_buf_deinit(&sorter->pool);
	cv_buf_deinit(&sorter->scratch);
	cv_buf_deinit(&sorter->first);
	cv_buf_deinit(&sorter->second);
	cv_free(sorter);
}

/* Append a message's annotation as it is compared: as texts of messages are. A message without it comes first. */
static int note_key(struct cv_imap_sorter *sorter, uint32_t uid, size_t criterion, struct cv_buf *out, struct cv_err *err)
{
	struct cv_note_list list;
	struct cv_note note;
	int result = cv_notes_get(cv_view_mailbox(sorter->view), uid, &list, err);

	while (result > 0 && cv_note_next(&list, &note)) {
		if (note.priv == sorter->program.criteria[criterion].priv && cv_str_eq(note.entry, sorter->program.criteria[criterion].entry))
			cv_text_key(out, note.value);
	}
	return result < 0 ? -1 : 0;
}

/* What a text criterion compares of a message, which is opened where that needs it. */
static int any_key(struct cv_imap_sorter *sorter, uint32_t seq, size_t criterion, struct cv_buf *out, struct cv_err *err)
{
	enum cv_imap_sort_key key = sorter->program.criteria[criterion].key;

	cv_buf_clear(out);
	if (key == CV_IMAP_SORT_ANNOTATION)
		return note_key(sorter, cv_view_uid(sorter->view, seq), criterion, out, err);
	if (cv_imap_message_need(&sorter->message, sorter->view, seq, err) < 0)
		return -1;
	return text_key(&sorter->message, key, &sorter->scratch, out, err);
}

/* The text of a header's key is kept for the next time. CV_MEMOS: this one is no header's. */
static enum cv_memo memo_of(enum cv_imap_sort_key key)
{
	switch (key) {
	case CV_IMAP_SORT_SUBJECT:
		return CV_MEMO_SORT_SUBJECT;
	case CV_IMAP_SORT_FROM:
		return CV_MEMO_SORT_FROM;
	case CV_IMAP_SORT_TO:
		return CV_MEMO_SORT_TO;
	case CV_IMAP_SORT_CC:
		return CV_MEMO_SORT_CC;
	case CV_IMAP_SORT_DISPLAYFROM:
		return CV_MEMO_SORT_DISPLAYFROM;
	case CV_IMAP_SORT_DISPLAYTO:
		return CV_MEMO_SORT_DISPLAYTO;
	case CV_IMAP_SORT_ARRIVAL:
	case CV_IMAP_SORT_DATE:
	case CV_IMAP_SORT_SIZE:
	case CV_IMAP_SORT_RELEVANCY:
	case CV_IMAP_SORT_ANNOTATION:
		break;
	}
	return CV_MEMOS;
}

/* Up to eight octets, the first one the highest; zeros for what is not there. */
static uint64_t beginning_of(struct cv_str text)
{
	uint64_t n = 0;

	for (size_t i = 0; i < sizeof(n); i++)
		n = n << 8 | (i < text.len ? (uint8_t)text.ptr[i] : 0);
	return n;
}

static int keep_text(struct cv_imap_sorter *sorter, uint32_t seq, size_t criterion, struct cv_imap_sort_text *text, struct cv_err *err)
{
	enum cv_memo memo = memo_of(sorter->program.criteria[criterion].key);
	struct cv_str kept;

	*text = (struct cv_imap_sort_text){ .offset = sorter->pool.len };
	if (memo == CV_MEMOS || !cv_view_memo(sorter->view, seq, memo, &kept)) {
		if (any_key(sorter, seq, criterion, &sorter->first, err) < 0)
			return -1;
		kept = cv_str_sub(cv_buf_str(&sorter->first), 0, TEXT_KEPT);
		text->cut = sorter->first.len > kept.len;
		if (memo != CV_MEMOS && !text->cut)
			cv_view_memo_keep(sorter->view, seq, memo, kept);
	}
	text->len = (uint32_t)kept.len;
	text->beginning = beginning_of(kept);
	cv_buf_append(&sorter->pool, kept);
	return 0;
}

static int64_t row_key(const struct cv_imap_sorter *sorter, uint32_t seq, enum cv_imap_sort_key key)
{
	struct cv_row row;

	(void)cv_view_row(sorter->view, seq, &row);
	return key == CV_IMAP_SORT_SIZE ? (int64_t)row.virtual_size : row.internal_date;
}

int cv_imap_sort_keys(struct cv_imap_sorter *sorter, uint32_t seq, union cv_imap_sort_value *values, struct cv_err *err)
{
	for (size_t i = 0; i < sorter->program.count; i++) {
		enum cv_imap_sort_key key = sorter->program.criteria[i].key;

		if (is_text(key)) {
			if (keep_text(sorter, seq, i, &values[i].text, err) < 0)
				return -1;
		} else if (key == CV_IMAP_SORT_SIZE || key == CV_IMAP_SORT_ARRIVAL) {
			values[i].number = row_key(sorter, seq, key);
		} else if (key == CV_IMAP_SORT_RELEVANCY) {
			values[i].number = sorter->search != NULL ? -(int64_t)cv_mailsearch_relevancy(sorter->search, seq) : 0;
		} else if (cv_imap_message_sent(&sorter->message, sorter->view, seq, &values[i].number, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static void add_message(struct cv_imap_sorter *sorter, uint32_t seq)
{
	struct cv_err err = { 0 };
	int result;

	if (!cv_view_has(sorter->view, seq))
		return;
	result = cv_imap_sort_keys(sorter, seq, &sorter->values[(size_t)sorter->rows * sorter->program.count], &err);
	cv_imap_message_close(&sorter->message);
	if (result == 0) {
		sorter->seq[sorter->rows++] = seq;
	} else if (err.code != CV_ERR_EXPUNGED && (sorter->failed++ == 0 || (sorter->first_error.code == CV_ERR_CORRUPT && err.code != CV_ERR_CORRUPT))) {
		sorter->first_error = err;
	}
}

bool cv_imap_sort_next(struct cv_imap_sorter *sorter, uint32_t *seq_r)
{
	while (sorter->range < sorter->from->count) {
		const struct cv_range *range = &sorter->from->data[sorter->range];

		if (sorter->next == 0)
			sorter->next = range->first;
		if (sorter->next <= range->last) {
			*seq_r = sorter->next++;
			return true;
		}
		sorter->range++;
		sorter->next = 0;
	}
	return false;
}

/* ---- comparison -------------------------------------------------------------------------------------- */

static struct cv_str kept_text(const struct cv_imap_sorter *sorter, const struct cv_imap_sort_text *text)
{
	return cv_str_sub(cv_buf_str(&sorter->pool), text->offset, text->len);
}

/* All of a text whose kept beginning did not decide. One that can't be read any more is as long as what was kept. */
static struct cv_str whole_text(struct cv_imap_sorter *sorter, uint32_t row, size_t criterion, const struct cv_imap_sort_text *text, struct cv_buf *to)
{
	struct cv_err err = { 0 };

	sorter->slow++;
	if (any_key(sorter, sorter->seq[row], criterion, to, &err) < 0) {
		cv_buf_clear(to);
		cv_buf_append(to, kept_text(sorter, text));
	}
	cv_imap_message_close(&sorter->message);
	return cv_buf_str(to);
}

static int compare_texts(struct cv_imap_sorter *sorter, uint32_t a, uint32_t b, size_t criterion)
{
	const struct cv_imap_sort_text *x = &sorter->values[(size_t)a * sorter->program.count + criterion].text;
	const struct cv_imap_sort_text *y = &sorter->values[(size_t)b * sorter->program.count + criterion].text;
	int result;

	if (x->beginning != y->beginning)
		return x->beginning < y->beginning ? -1 : 1;
	result = cv_str_cmp(kept_text(sorter, x), kept_text(sorter, y));
	if (result != 0 || (!x->cut && !y->cut))
		return result;
	return cv_str_cmp(whole_text(sorter, a, criterion, x, &sorter->first), whole_text(sorter, b, criterion, y, &sorter->second));
}

int cv_imap_sort_compare(void *ctx, uint32_t a, uint32_t b)
{
	struct cv_imap_sorter *sorter = ctx;

	for (size_t i = 0; i < sorter->program.count; i++) {
		int result;

		if (is_text(sorter->program.criteria[i].key)) {
			result = compare_texts(sorter, a, b, i);
		} else {
			int64_t x = sorter->values[(size_t)a * sorter->program.count + i].number;
			int64_t y = sorter->values[(size_t)b * sorter->program.count + i].number;

			result = (x > y) - (x < y);
		}
		if (result != 0)
			return sorter->program.criteria[i].reverse ? -result : result;
	}
	/* "an implicit sort criterion of "sequence number"": the sort is stable, and rows are in that order. */
	return 0;
}

/* What the first criterion says of a row, as far as a number tells. */
static uint64_t first_key(const struct cv_imap_sorter *sorter, uint32_t row)
{
	const union cv_imap_sort_value *value = &sorter->values[(size_t)row * sorter->program.count];
	uint64_t key = is_text(sorter->program.criteria[0].key) ? value->text.beginning : cv_imap_merge_key(value->number);

	return sorter->program.criteria[0].reverse ? ~key : key;
}

/* The octets of a text behind those of first_key. */
static uint32_t more_of_key(const struct cv_imap_sorter *sorter, uint32_t row)
{
	const struct cv_imap_sort_text *text = &sorter->values[(size_t)row * sorter->program.count].text;
	uint32_t more;

	if (!is_text(sorter->program.criteria[0].key))
		return 0;
	more = (uint32_t)(beginning_of(cv_str_sub(kept_text(sorter, text), sizeof(uint64_t), sizeof(more))) >> 32);
	return sorter->program.criteria[0].reverse ? ~more : more;
}

static void begin_merge(struct cv_imap_sorter *sorter)
{
	sorter->items = cv_calloc((size_t)sorter->rows + 1, sizeof(*sorter->items));
	for (uint32_t i = 0; i < sorter->rows; i++)
		sorter->items[i] = (struct cv_imap_merge_item){ first_key(sorter, i), more_of_key(sorter, i), i };
	cv_imap_merge_init(&sorter->merge, sorter->items, sorter->rows, cv_imap_sort_compare, sorter);
	sorter->merging = true;
}

/* The rows in order are the result. */
static void end_merge(struct cv_imap_sorter *sorter)
{
	uint32_t *order = cv_calloc((size_t)sorter->rows + 1, sizeof(*order));

	for (uint32_t i = 0; i < sorter->rows; i++)
		order[i] = sorter->seq[sorter->items[i].number];
	cv_free(sorter->seq);
	sorter->seq = order;
	cv_free(sorter->items);
	sorter->items = NULL;
	cv_imap_merge_deinit(&sorter->merge);
	sorter->sorted = true;
	cv_imap_sort_begin_keeping(sorter);
}

/* ---- the work ------------------------------------------------------------------------------------------ */

static bool read_some(struct cv_imap_sorter *sorter, uint64_t start, uint64_t budget_us)
{
	unsigned looks = 0;
	uint32_t seq;

	while (cv_imap_sort_next(sorter, &seq)) {
		add_message(sorter, seq);
		sorter->done++;
		if (++looks % 16 == 0 && cv_time_mono_us() - start >= budget_us)
			return false;
	}
	begin_merge(sorter);
	return true;
}

static bool merge_some(struct cv_imap_sorter *sorter, uint64_t start, uint64_t budget_us)
{
	while (!sorter->merged) {
		uint64_t slow = sorter->slow;
		size_t steps = COMPARISONS_PER_LOOK;

		while (steps > 0 && !sorter->merged && sorter->slow - slow < 16) {
			size_t some = CV_MIN(steps, (size_t)32);

			sorter->merged = cv_imap_merge_step(&sorter->merge, some);
			steps -= some;
		}
		if (!sorter->merged && cv_time_mono_us() - start >= budget_us)
			return false;
	}
	if (sorter->late.placed == NULL)
		end_merge(sorter);
	return true;
}

bool cv_imap_sorter_step(struct cv_imap_sorter *sorter, uint64_t budget_us)
{
	uint64_t start = cv_time_mono_us();

	while (!sorter->sorted) {
		bool ended;

		if (sorter->slots != NULL)
			ended = cv_imap_sort_place_some(sorter, start, budget_us);
		else if (!sorter->merging)
			ended = read_some(sorter, start, budget_us);
		else if (!sorter->merged)
			ended = merge_some(sorter, start, budget_us);
		else
			ended = cv_imap_sort_insert_some(sorter, start, budget_us);
		if (!ended)
			return false;
	}
	return cv_imap_sort_keep_some(sorter, start, budget_us);
}

const uint32_t *cv_imap_sorter_order(const struct cv_imap_sorter *sorter, size_t *count_r)
{
	cv_assert(sorter->sorted);
	*count_r = sorter->rows;
	return sorter->seq;
}

size_t cv_imap_sorter_failed(const struct cv_imap_sorter *sorter, struct cv_err *err_r)
{
	if (sorter->failed > 0)
		*err_r = sorter->first_error;
	return sorter->failed;
}

uint32_t cv_imap_sorter_done(const struct cv_imap_sorter *sorter)
{
	return sorter->done;
}

uint32_t cv_imap_sorter_goal(const struct cv_imap_sorter *sorter)
{
	return sorter->goal;
}
