/* SPDX-License-Identifier: MIT
   Search for texts in decoded messages: one pass, bounded memory, in slices. */
#include <config.h>

#include "core/message/search-private.h"

#define SCREENS_MAX 32 /* keys that are looked for in texts as they are; with more, texts are mapped once for all */

struct cv_search *cv_search_new(void)
{
	struct cv_search *s = cv_new0(struct cv_search);

	s->phase = CV_SEARCHING_DONE;
	cv_buf_init(&s->raw.mapped, SIZE_MAX);
	cv_buf_init(&s->text.mapped, SIZE_MAX);
	cv_buf_init(&s->header, CV_SEARCH_HEADER_OCTETS_MAX);
	cv_buf_init(&s->utf8, SIZE_MAX);
	cv_buf_init(&s->stripped, SIZE_MAX);
	cv_buf_init(&s->octets, SIZE_MAX);
	cv_buf_init(&s->plain.octets, SIZE_MAX);
	cv_buf_init(&s->visible.octets, SIZE_MAX);
	s->utf8_charset = cv_charset_open(CV_STR("utf-8"));
	s->casemap = cv_casemap_cache_new();
	s->arena = cv_arena_new("search", NULL, 0);
	return s;
}

struct cv_search *cv_search_new_tap(cv_search_tap_fn *fn, void *ctx)
{
	struct cv_search *s = cv_search_new();

	s->tap = fn;
	s->tap_ctx = ctx;
	s->needs_body = true;
	return s;
}

void cv_search_free(struct cv_search **search)
{
	struct cv_search *s = *search;

	if (s == NULL)
		return;
	cv_search_body_stop(s);
	for (size_t i = 0; i < s->keys.count; i++) {
		cv_buf_deinit(&s->keys.data[i].name);
		cv_buf_deinit(&s->keys.data[i].needle);
		cv_buf_deinit(&s->keys.data[i].octets);
		cv_fuzzy_free(&s->keys.data[i].fuzzy);
		cv_screen_free(&s->keys.data[i].screen);
	}
	cv_vec_free(&s->keys);
	cv_buf_deinit(&s->raw.mapped);
	cv_buf_deinit(&s->text.mapped);
	cv_buf_deinit(&s->header);
	cv_buf_deinit(&s->utf8);
	cv_buf_deinit(&s->stripped);
	cv_buf_deinit(&s->octets);
	cv_buf_deinit(&s->plain.octets);
	cv_buf_deinit(&s->visible.octets);
	cv_charset_close(&s->utf8_charset);
	cv_casemap_cache_free(&s->casemap);
	cv_arena_free(&s->arena);
	cv_free(s);
	*search = NULL;
}

/* No blank, nothing that header fields are written with: then it stands in a field's text as in the field, but for what is decoded, and joined in addresses. */
static bool is_word(struct cv_str needle)
{
	for (size_t i = 0; i < needle.len; i++)
		if (!cv_is_alnum(needle.ptr[i]))
			return false;
	return true;
}

static void add_screen(struct cv_search *s, struct cv_search_key *key)
{
	if (s->keys.count > SCREENS_MAX)
		return;
	key->screen = cv_screen_new(cv_buf_str(&key->needle), s->casemap);
	key->word = key->screen != NULL && is_word(cv_buf_str(&key->needle));
	if (key->screen != NULL)
		s->margin = CV_MAX(s->margin, cv_screen_margin(key->screen));
}

int cv_search_add(struct cv_search *search, enum cv_search_where where, struct cv_str name, struct cv_str needle,
	size_t *index_r, struct cv_err *err)
{
	struct cv_search_key *key;

	cv_assert(search->tap == NULL);
	if (search->keys.count >= CV_SEARCH_KEYS_MAX)
		return cv_err_set_public(err, CV_ERR_LIMIT, "more than %d text keys in one search", CV_SEARCH_KEYS_MAX);
	if (needle.len > CV_SEARCH_NEEDLE_MAX || name.len > CV_SEARCH_NEEDLE_MAX)
		return cv_err_set_public(
			err, CV_ERR_LIMIT, "a search text is longer than %d octets", CV_SEARCH_NEEDLE_MAX);
	key = cv_vec_push(&search->keys);
	key->where = where;
	cv_buf_init(&key->name, SIZE_MAX);
	cv_buf_append(&key->name, name);
	cv_buf_init(&key->needle, SIZE_MAX);
	cv_casemap(&key->needle, needle);
	cv_buf_init(&key->octets, SIZE_MAX);
	cv_buf_append(&key->octets, needle);
	search->longest = CV_MAX(search->longest, key->needle.len);
	if (where != CV_SEARCH_HEADER) {
		add_screen(search, key);
		search->needs_body = true;
	} else if (name.len > 0) {
		search->initials[(uint8_t)cv_lower(name.ptr[0])] = true;
	}
	*index_r = search->keys.count - 1;
	return 1;
}

int cv_search_add_fuzzy(struct cv_search *search, enum cv_search_where where, struct cv_str name, struct cv_str needle, size_t *index_r, struct cv_err *err)
{
	struct cv_search_key *key;

	if (cv_search_add(search, where, name, needle, index_r, err) < 0)
		return -1;
	if (needle.len == 0)
		return 1; /* asks whether there is such a field */
	key = &search->keys.data[*index_r];
	key->fuzzy = cv_fuzzy_new(cv_buf_str(&key->needle));
	key->word = false;
	cv_screen_free(&key->screen); /* every word of a text counts */
	search->fuzzy_words += cv_fuzzy_words(key->fuzzy);
	if (search->fuzzy_words > CV_SEARCH_FUZZY_WORDS_MAX)
		return cv_err_set_public(err, CV_ERR_LIMIT, "Too many words to be matched fuzzily");
	return 1;
}

bool cv_search_needs_body(const struct cv_search *search)
{
	return search->needs_body;
}

bool cv_search_found(const struct cv_search *search, size_t index)
{
	return cv_search_score(search, index) > 0;
}

unsigned cv_search_score(const struct cv_search *search, size_t index)
{
	const struct cv_search_key *key;

	cv_assert(index < search->keys.count);
	key = &search->keys.data[index];
	return key->fuzzy != NULL ? cv_fuzzy_score(key->fuzzy) : key->found ? CV_FUZZY_BEST : 0;
}

bool cv_search_text_has(const struct cv_search *search, size_t index, struct cv_str text)
{
	const struct cv_search_key *key = &search->keys.data[index];
	bool has = key->needle.len == 0 || cv_str_find_str(text, cv_buf_str(&key->needle)) != SIZE_MAX;

	if (key->fuzzy == NULL)
		return has;
	cv_fuzzy_reset(key->fuzzy);
	cv_fuzzy_feed(key->fuzzy, text, CV_FUZZY_BEST);
	cv_fuzzy_end(key->fuzzy, CV_FUZZY_BEST);
	if (has)
		cv_fuzzy_phrase(key->fuzzy, CV_FUZZY_BEST);
	return cv_fuzzy_score(key->fuzzy) > 0;
}

void cv_search_reset(struct cv_search *s)
{
	cv_search_body_stop(s);
	s->open = s->tap != NULL ? 1 : s->keys.count;
	for (size_t i = 0; i < s->keys.count; i++) {
		s->keys.data[i].found = false;
		if (s->keys.data[i].fuzzy != NULL)
			cv_fuzzy_reset(s->keys.data[i].fuzzy);
	}
}

static int step_header(struct cv_search *s, uint64_t *used, struct cv_err *err)
{
	const struct cv_mime_part *part = s->part;
	uint64_t size = CV_MIN(part->header_size, (uint64_t)CV_SEARCH_HEADER_OCTETS_MAX);
	bool message = part == s->root;
	struct cv_str header;

	if (cv_search_header_matters(s, message)) {
		if (cv_message_reader_view(s->reader, part->header_offset, size, &s->header, &header, err) < 0)
			return -1;
		*used += size * (1 + s->fuzzy_words);
		cv_search_part_header(s, header, message);
	}
	if (s->needs_body)
		cv_search_body_begin(s);
	else
		s->phase = CV_SEARCHING_DONE;
	return 1;
}

void cv_search_begin(struct cv_search *search, struct cv_message_reader *reader, const struct cv_mime_part *root)
{
	cv_search_reset(search);
	search->reader = reader;
	search->part = search->root = root;
	search->alone = false;
	search->phase = CV_SEARCHING_HEADER;
	for (size_t i = 0; i < search->keys.count; i++) {
		struct cv_search_key *key = &search->keys.data[i];

		/* the empty text is in every message, but not every message has every field */
		if (key->needle.len == 0 && key->where != CV_SEARCH_HEADER)
			cv_search_set_found(search, key);
	}
}

void cv_search_begin_part(struct cv_search *search, struct cv_message_reader *reader, const struct cv_mime_part *part)
{
	cv_search_begin(search, reader, part);
	search->alone = true;
}

int cv_search_step(struct cv_search *search, uint64_t budget, struct cv_err *err)
{
	uint64_t used = 0;
	int result = 1;

	while (search->open > 0 && search->phase != CV_SEARCHING_DONE) {
		if (used >= budget)
			return 0;
		switch (search->phase) {
		case CV_SEARCHING_HEADER:
			result = step_header(search, &used, err);
			break;
		case CV_SEARCHING_BODY:
			result = cv_search_body_step(search, &used, err);
			break;
		case CV_SEARCHING_NEXT:
			used += 64; /* parts without octets take time too */
			search->part = search->alone ? NULL : cv_mime_part_next(search->part);
			search->phase = search->part != NULL ? CV_SEARCHING_HEADER : CV_SEARCHING_DONE;
			break;
		case CV_SEARCHING_DONE:
			break;
		}
		if (result < 0) {
			cv_search_body_stop(search);
			search->phase = CV_SEARCHING_DONE;
			return -1;
		}
	}
	cv_search_body_stop(search);
	search->phase = CV_SEARCHING_DONE;
	return 1;
}
