/* SPDX-License-Identifier: MIT
   What a search knows of the message at hand: of each key from the columns, from what indexes and earlier searches have said, from the parse record and the header; and
   of the whole tree, from its keys. */
#include <config.h>

#include "core/store/search-private.h"

#include <culver/note.h>

#include <string.h>

/* Days since 1970 of a moment as it is written with its zone. */
static int64_t day_of(int64_t sec, int zone_min)
{
	int64_t local = sec + (int64_t)zone_min * 60;

	return local >= 0 ? local / 86400 : -((-local + 86399) / 86400);
}

static bool has_keyword(const struct cv_mailsearch *search, struct cv_str name)
{
	size_t count;
	const struct cv_str *keywords = cv_row_keywords(cv_view_mailbox(search->view), search->row.keyword_set, &count);

	for (size_t i = 0; i < count; i++)
		if (cv_str_caseeq(keywords[i], name))
			return true;
	return false;
}

/* Values are compared as texts of messages are; what is no text, as its octets. */
static bool has_note(struct cv_mailsearch *search, const struct cv_mailsearch_key *key)
{
	struct cv_str wanted = cv_buf_str(&search->note_texts.data[key->index]);
	struct cv_err err = { 0 };
	struct cv_note_list list;
	struct cv_note note;

	if (!cv_notes_any(cv_view_mailbox(search->view)) || cv_notes_get(cv_view_mailbox(search->view), search->row.uid, &list, &err) <= 0)
		return false;
	while (cv_note_next(&list, &note)) {
		if ((key->number & (note.priv ? 1u : 2u)) == 0 || !cv_note_match(key->name, note.entry))
			continue;
		cv_buf_clear(&search->mapped);
		cv_casemap(&search->mapped, note.value);
		if (key->text.len == 0 || cv_str_find_str(cv_buf_str(&search->mapped), wanted) != SIZE_MAX)
			return true;
	}
	return false;
}

const struct cv_row *cv_answer_row(struct cv_mailsearch *search)
{
	if (!search->row_whole)
		(void)cv_view_row(search->view, search->seq, &search->row);
	search->row_whole = true;
	return &search->row;
}

static int64_t arrival_day(struct cv_mailsearch *search)
{
	const struct cv_row *row = cv_answer_row(search);

	return day_of(row->internal_date, row->internal_zone);
}

static enum cv_answer answer_from_row(struct cv_mailsearch *search, const struct cv_mailsearch_key *key)
{
	const struct cv_row *row = &search->row;

	switch (key->kind) {
	case CV_MAILSEARCH_SEQ:
		return cv_answer_is(cv_ranges_has(&key->set, search->seq));
	case CV_MAILSEARCH_UID:
		return cv_answer_is(cv_ranges_has(&key->set, row->uid));
	case CV_MAILSEARCH_FLAGS:
		return cv_answer_is((row->flags & key->flags) == key->flags);
	case CV_MAILSEARCH_RECENT:
		return cv_answer_is(row->recent);
	case CV_MAILSEARCH_KEYWORD:
		return cv_answer_is(has_keyword(search, key->text));
	case CV_MAILSEARCH_BEFORE:
		return cv_answer_is(arrival_day(search) < key->day);
	case CV_MAILSEARCH_ON:
		return cv_answer_is(arrival_day(search) == key->day);
	case CV_MAILSEARCH_SINCE:
		return cv_answer_is(arrival_day(search) >= key->day);
	case CV_MAILSEARCH_LARGER:
		return cv_answer_is(cv_answer_row(search)->virtual_size > key->number);
	case CV_MAILSEARCH_SMALLER:
		return cv_answer_is(cv_answer_row(search)->virtual_size < key->number);
	case CV_MAILSEARCH_MODSEQ:
		return cv_answer_is(row->modseq >= key->number);
	case CV_MAILSEARCH_SAVEDBEFORE:
		return cv_answer_is(day_of(cv_answer_row(search)->save_date, 0) < key->day);
	case CV_MAILSEARCH_SAVEDON:
		return cv_answer_is(day_of(cv_answer_row(search)->save_date, 0) == key->day);
	case CV_MAILSEARCH_SAVEDSINCE:
		return cv_answer_is(day_of(cv_answer_row(search)->save_date, 0) >= key->day);
	case CV_MAILSEARCH_OLDER:
		return cv_answer_is(cv_answer_row(search)->internal_date <= key->sec);
	case CV_MAILSEARCH_YOUNGER:
		return cv_answer_is(cv_answer_row(search)->internal_date >= key->sec);
	case CV_MAILSEARCH_GUID:
		return cv_answer_is(memcmp(cv_answer_row(search)->guid, key->guid, sizeof(key->guid)) == 0);
	case CV_MAILSEARCH_NOTE:
		return cv_answer_is(has_note(search, key) != (key->text.ptr == NULL));
	case CV_MAILSEARCH_AND:
	case CV_MAILSEARCH_OR:
	case CV_MAILSEARCH_SENTBEFORE:
	case CV_MAILSEARCH_SENTON:
	case CV_MAILSEARCH_SENTSINCE:
	case CV_MAILSEARCH_HEADER:
	case CV_MAILSEARCH_BODY:
	case CV_MAILSEARCH_TEXT:
	case CV_MAILSEARCH_ASK:
		break;
	}
	return (enum cv_answer)key->answer;
}

/* Three-valued: what is not known stays so unless another key decides. Recursion is as deep as prepare allowed. */
enum cv_answer cv_answer_tree(struct cv_mailsearch *search, const struct cv_mailsearch_key *key)
{
	enum cv_answer result;

	if (key->kind == CV_MAILSEARCH_AND || key->kind == CV_MAILSEARCH_OR) {
		enum cv_answer deciding = key->kind == CV_MAILSEARCH_AND ? CV_ANSWER_NO : CV_ANSWER_YES;

		result = (enum cv_answer)(-(int)deciding);
		for (const struct cv_mailsearch_key *child = key->child; child != NULL; child = child->next) {
			enum cv_answer answer = cv_answer_tree(search, child);

			if (answer == deciding) {
				result = deciding;
				break;
			}
			if (answer == CV_ANSWER_UNKNOWN)
				result = CV_ANSWER_UNKNOWN;
		}
	} else {
		result = answer_from_row(search, key);
	}
	return key->negated ? (enum cv_answer)(-(int)result) : result;
}

/* What indexes have said of the message; the rest is not known yet. */
void cv_answer_begin(struct cv_mailsearch *search)
{
	for (size_t i = 0; i < search->text_count; i++) {
		const struct cv_index_answer *known = search->known != NULL ? &search->known[i] : NULL;

		search->texts[i]->score = 0;
		if (known == NULL || search->row.uid > known->upto)
			search->texts[i]->answer = CV_ANSWER_UNKNOWN;
		else if (cv_ranges_has(&known->yes, search->row.uid))
			search->texts[i]->answer = CV_ANSWER_YES;
		else
			search->texts[i]->answer = cv_ranges_has(&known->maybe, search->row.uid) ? CV_ANSWER_UNKNOWN : CV_ANSWER_NO;
	}
}

bool cv_answer_is_sent(const struct cv_mailsearch_key *key)
{
	return key->kind == CV_MAILSEARCH_SENTBEFORE || key->kind == CV_MAILSEARCH_SENTON || key->kind == CV_MAILSEARCH_SENTSINCE;
}

static void answer_sent_day(struct cv_mailsearch_key *key, bool valid, int64_t day)
{
	if (key->kind == CV_MAILSEARCH_SENTBEFORE)
		key->answer = cv_answer_is(valid && day < key->day);
	else if (key->kind == CV_MAILSEARCH_SENTON)
		key->answer = cv_answer_is(valid && day == key->day);
	else if (key->kind == CV_MAILSEARCH_SENTSINCE)
		key->answer = cv_answer_is(valid && day >= key->day);
}

/* What is kept between searches: of a field nothing where there is none, or a mark and its text; of the sent date nothing where there is none, or its day. */
#define IS_THERE "+"

static void answer_from_memo(const struct cv_mailsearch *search, size_t i, struct cv_str kept)
{
	struct cv_mailsearch_key *key = search->texts[i];

	if (search->memos[i] == CV_MEMO_FIND_SENT) {
		struct cv_reader reader = cv_reader_init(kept);
		uint64_t day = 0;
		bool valid = cv_take_u64(&reader, &day);

		answer_sent_day(key, valid, (int64_t)day);
		return;
	}
	key->answer = cv_answer_is(kept.len > 0 && cv_search_text_has(search->header_search, key->index, cv_str_sub(kept, 1, SIZE_MAX)));
	if (key->fuzzy && key->answer == CV_ANSWER_YES)
		key->score = cv_search_score(search->header_search, key->index);
}

/* What a search that has looked at the message says. */
void cv_answer_from(const struct cv_search *search, struct cv_mailsearch_key *key)
{
	key->score = cv_search_score(search, key->index);
	key->answer = cv_answer_is(key->score > 0);
}

/* What earlier searches have kept of the message. */
void cv_answer_from_memos(const struct cv_mailsearch *search)
{
	struct cv_str kept;

	for (size_t i = 0; i < search->text_count; i++)
		if (search->memos[i] != CV_MEMOS && search->texts[i]->answer == CV_ANSWER_UNKNOWN &&
			cv_view_memo(search->view, search->seq, search->memos[i], &kept))
			answer_from_memo(search, i, kept);
}

/* The same from its record, for later searches to have: the sent date, and a field. */
static void make_sent(struct cv_mailsearch *search, size_t i, const struct cv_parse_record *record)
{
	cv_buf_clear(&search->mapped);
	if (record->date_valid)
		cv_put_u64(&search->mapped, (uint64_t)day_of(record->date.sec, record->date.zone_min));
	cv_view_memo_keep(search->view, search->seq, search->memos[i], cv_buf_str(&search->mapped));
	answer_from_memo(search, i, cv_buf_str(&search->mapped));
}

static void make_memo(struct cv_mailsearch *search, size_t i, const struct cv_parse_record *record)
{
	int found;

	cv_buf_clear(&search->mapped);
	cv_buf_append_c(&search->mapped, IS_THERE);
	found = cv_search_field(search->header_search, cv_parse_record_fields(record), search->texts[i]->name, &search->mapped);
	if (found < 0)
		return;
	if (found == 0)
		cv_buf_clear(&search->mapped);
	cv_view_memo_keep(search->view, search->seq, search->memos[i], cv_buf_str(&search->mapped));
	answer_from_memo(search, i, cv_buf_str(&search->mapped));
}

/* Sent dates, and header fields that the record keeps. */
void cv_answer_from_record(struct cv_mailsearch *search, const struct cv_parse_record *record)
{
	bool looked = false;

	for (size_t i = 0; i < search->text_count; i++) {
		struct cv_mailsearch_key *key = search->texts[i];

		if (cv_answer_is_sent(key) && key->answer == CV_ANSWER_UNKNOWN)
			make_sent(search, i, record);
		if (key->kind != CV_MAILSEARCH_HEADER || key->answer != CV_ANSWER_UNKNOWN || !cv_parse_record_keeps(record, key->name))
			continue;
		if (search->memos[i] != CV_MEMOS)
			make_memo(search, i, record);
		if (key->answer != CV_ANSWER_UNKNOWN)
			continue;
		if (!looked)
			cv_search_header(search->header_search, cv_parse_record_fields(record));
		looked = true;
		cv_answer_from(search->header_search, key);
	}
}

int cv_answer_from_header(struct cv_mailsearch *search, uint64_t size, struct cv_err *err)
{
	struct cv_str header;

	if (search->header_search == NULL)
		return 1;
	if (cv_message_reader_view(search->message.reader, 0, size, &search->header, &header, err) < 0)
		return -1;
	cv_search_header(search->header_search, header);
	for (size_t i = 0; i < search->text_count; i++) {
		struct cv_mailsearch_key *key = search->texts[i];

		if (key->kind == CV_MAILSEARCH_HEADER && key->answer == CV_ANSWER_UNKNOWN)
			cv_answer_from(search->header_search, key);
	}
	return 1;
}

/* Of a key that the message matches; 0: nothing in it was matched fuzzily. Recursion is as deep as prepare allowed. */
unsigned cv_answer_relevancy(struct cv_mailsearch *search, const struct cv_mailsearch_key *key)
{
	unsigned sum = 0, count = 0, best = 0;

	if (key->negated)
		return 0;
	if (key->kind != CV_MAILSEARCH_AND && key->kind != CV_MAILSEARCH_OR)
		return key->fuzzy ? key->score : 0;
	for (const struct cv_mailsearch_key *child = key->child; child != NULL; child = child->next) {
		unsigned one = key->kind == CV_MAILSEARCH_OR && cv_answer_tree(search, child) != CV_ANSWER_YES ? 0 : cv_answer_relevancy(search, child);

		sum += one;
		count += one > 0;
		best = CV_MAX(best, one);
	}
	return key->kind == CV_MAILSEARCH_OR ? best : count > 0 ? (sum + count / 2) / count : 0;
}

