/* SPDX-License-Identifier: MIT
   Search for texts in decoded messages: one pass, bounded memory, in slices. */
#include <config.h>

#include "core/message/casemap-private.h"
#include "core/message/charset-private.h"
#include "core/message/fuzzy-private.h"
#include "core/message/screen-private.h"
#include "core/message/text-private.h"

#include <culver/map.h>
#include <culver/search.h>

#include <string.h>

#define HEADER_MAX (1024 * 1024) /* of one header; what is beyond is not searched */
#define SLICE 8192
#define SCREEN_SLICE ((size_t)256 * 1024)
#define SCREENS_MAX 32 /* keys that are looked for in texts as they are; with more, texts are mapped once for all */
#define ADDRESSES_MAX 10000

struct key {
	enum cv_search_where where;
	struct cv_buf name;
	struct cv_buf needle; /* mapped */
	struct cv_buf octets; /* as it is */
	struct cv_fuzzy *fuzzy; /* NULL: only what is the same is found */
	struct cv_screen *screen; /* NULL: only mapped text tells */
	bool word;              /* letters and digits of ASCII alone */
	bool found;             /* and not to be found any better */
};

/* Text of one part as it streams by, mapped; the end of what was searched stays for matches across slices. */
struct window {
	struct cv_buf mapped;
	bool begun; /* a tap was told of it */
};

/* Text of one part as it streams by, before it is mapped; what lies around the place where the next question begins stays. */
struct unmapped {
	struct cv_buf octets;
	size_t asked; /* octets that keys were looked for in */
};

enum search_phase { SEARCH_HEADER, SEARCH_BODY, SEARCH_NEXT, SEARCH_DONE };

struct cv_search {
	CV_VEC(struct key) keys;
	size_t open;        /* keys not found yet */
	size_t longest;     /* octets of the longest needle */
	bool initials[256]; /* small letters with which names of header keys begin */
	bool needs_body;
	uint64_t fuzzy_words; /* of all keys: each costs about as much as all else */

	struct cv_message_reader *reader;
	const struct cv_mime_part *root; /* whose header is the message's */
	bool alone;                      /* no other part is looked into */
	const struct cv_mime_part *part;
	enum search_phase phase;
	uint64_t pos, end;  /* of the body that is searched */
	bool decoding, html;
	struct cv_text_decoder decoder;
	struct cv_html_text markup;
	struct window raw, text;
	struct cv_buf header, utf8, stripped;
	struct cv_buf octets; /* of a field whose charset is unknown or does not fit; empty for others */
	struct cv_casemap_cache *casemap;
	size_t margin;      /* of all screens */
	bool screening;     /* the part is looked at unmapped */
	struct unmapped plain, visible; /* visible: HTML without its markup, in UTF-8 */
	struct cv_charset *utf8_charset;
	struct cv_arena *arena;
	cv_search_tap_fn *tap; /* NULL: keys are looked for */
	void *tap_ctx;
};

struct cv_search *cv_search_new(void)
{
	struct cv_search *s = cv_new0(struct cv_search);

	s->phase = SEARCH_DONE;
	cv_buf_init(&s->raw.mapped, SIZE_MAX);
	cv_buf_init(&s->text.mapped, SIZE_MAX);
	cv_buf_init(&s->header, HEADER_MAX);
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

static void stop_decoding(struct cv_search *s)
{
	if (s->decoding)
		cv_text_decoder_deinit(&s->decoder);
	s->decoding = false;
}

void cv_search_free(struct cv_search **search)
{
	struct cv_search *s = *search;

	if (s == NULL)
		return;
	stop_decoding(s);
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

static void add_screen(struct cv_search *s, struct key *key)
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
	struct key *key;

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
	struct key *key;

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
	const struct key *key;

	cv_assert(index < search->keys.count);
	key = &search->keys.data[index];
	return key->fuzzy != NULL ? cv_fuzzy_score(key->fuzzy) : key->found ? CV_FUZZY_BEST : 0;
}

static void set_found(struct cv_search *s, struct key *key)
{
	key->found = true;
	s->open--;
}

static bool holds(const struct cv_buf *mapped, const struct key *key)
{
	return cv_str_find_str(cv_buf_str(mapped), cv_buf_str(&key->needle)) != SIZE_MAX;
}

/* The key was found as it is. Of a fuzzy one whole words count for more than a part of one, so it may still be found better. */
static void note_match(struct cv_search *s, struct key *key, unsigned place)
{
	if (key->fuzzy != NULL) {
		cv_fuzzy_phrase(key->fuzzy, place);
		if (cv_fuzzy_score(key->fuzzy) < CV_FUZZY_BEST)
			return;
	}
	set_found(s, key);
}

/* ---- header fields ---- */

/* Asked of every field of every header: most differ in length already. */
static bool is_address_field(struct cv_str name)
{
	static const struct cv_str names[] = { CV_STR_INIT("from"), CV_STR_INIT("to"), CV_STR_INIT("cc"), CV_STR_INIT("bcc"), CV_STR_INIT("sender"),
		CV_STR_INIT("reply-to"), CV_STR_INIT("resent-from"), CV_STR_INIT("resent-to"), CV_STR_INIT("resent-cc"), CV_STR_INIT("resent-bcc"),
		CV_STR_INIT("resent-sender") };

	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		if (name.len == names[i].len && cv_str_caseeq(name, names[i]))
			return true;
	}
	return false;
}

/* Addresses as people write them, so that "user@example.org" is found in "<user (at work) @ example . org>". */
static void append_addresses(struct cv_search *s, struct cv_str value, struct cv_buf *out)
{
	struct cv_address_list list;

	cv_arena_reset(s->arena);
	cv_address_parse(s->arena, value, ADDRESSES_MAX, &list);
	for (size_t i = 0; i < list.count; i++) {
		const struct cv_address *a = &list.items[i];

		if (a->kind == CV_ADDRESS_GROUP_END)
			continue;
		cv_buf_append_char(out, '\n');
		if (a->name.len > 0) {
			cv_header_decode(out, a->name);
			cv_buf_append(out, CV_STR(" <"));
		}
		cv_header_decode(out, a->mailbox);
		if (a->host.len > 0) {
			cv_buf_append_char(out, '@');
			cv_header_decode(out, a->host);
		}
		if (a->name.len > 0)
			cv_buf_append_char(out, '>');
	}
}

static bool field_matters(const struct key *key, const struct cv_header_field *field, bool message, bool header_only)
{
	switch (key->where) {
	case CV_SEARCH_BODY:
		return !message && !header_only;
	case CV_SEARCH_TEXT:
		return !header_only;
	case CV_SEARCH_HEADER:
		return message && field->name.len > 0 && cv_str_caseeq(cv_buf_str(&key->name), field->name);
	}
	return false;
}

/* The field's text as keys are compared with it, in text.mapped, and in octets what does not convert. */
static void map_field(struct cv_search *s, const struct cv_header_field *field)
{
	cv_buf_clear(&s->utf8);
	cv_buf_clear(&s->octets);
	if (cv_header_decode_strict(&s->utf8, &s->octets, field->value))
		cv_buf_clear(&s->octets);
	if (is_address_field(field->name))
		append_addresses(s, field->value, &s->utf8);
	cv_buf_clear(&s->text.mapped);
	cv_casemap_valid(&s->text.mapped, cv_buf_str(&s->utf8), s->casemap);
}

static void tap_field(struct cv_search *s, const struct cv_header_field *field, bool message)
{
	struct cv_search_piece piece = { .where = message ? CV_SEARCH_HEADER : CV_SEARCH_BODY, .name = field->name, .first = true };

	map_field(s, field);
	if (field->name.len == 0)
		piece.name = CV_STR(""); /* a line that is no field: not text of a part */
	piece.text = cv_buf_str(&s->text.mapped);
	piece.octets = cv_buf_str(&s->octets);
	s->tap(s->tap_ctx, &piece);
}

/* What it is worth to be found in a field. */
static unsigned field_place(const struct key *key, const struct cv_header_field *field, bool message)
{
	static const char *const looked_at_first[] = { "subject", "from", "to", "cc" };

	if (key->where == CV_SEARCH_HEADER)
		return CV_FUZZY_BEST;
	for (size_t i = 0; message && i < CV_COUNT_OF(looked_at_first); i++)
		if (cv_str_caseeq_c(field->name, looked_at_first[i]))
			return CV_FUZZY_BEST;
	return 60;
}

static unsigned body_place(const struct key *key)
{
	return key->where == CV_SEARCH_BODY ? CV_FUZZY_BEST : 80;
}

/* The words of a field. */
static void match_words(struct cv_search *s, struct key *key, unsigned place)
{
	cv_fuzzy_feed(key->fuzzy, cv_buf_str(&s->text.mapped), place);
	cv_fuzzy_end(key->fuzzy, place);
}

/* message: the header of the message itself, not one of its parts. header_only: only header keys are asked. */
static void search_field(struct cv_search *s, const struct cv_header_field *field, bool message, bool header_only)
{
	bool mapped = false, with_name = false;

	for (size_t i = 0; i < s->keys.count && s->open > 0; i++) {
		struct key *key = &s->keys.data[i];

		if (key->found || !field_matters(key, field, message, header_only))
			continue;
		if (key->needle.len == 0) {
			set_found(s, key);
			continue;
		}
		if (!mapped) {
			map_field(s, field);
			mapped = true;
		}
		if (key->fuzzy != NULL)
			match_words(s, key, field_place(key, field, message));
		/* RFC 5255 section 4.6 (c): text that does not convert is compared by octets; that our guess at it matches counts too. */
		if (holds(&s->text.mapped, key) ||
			cv_str_find_str(cv_buf_str(&s->octets), cv_buf_str(&key->octets)) != SIZE_MAX) {
			note_match(s, key, field_place(key, field, message));
			continue;
		}
		if (key->where == CV_SEARCH_HEADER || field->name.len == 0)
			continue;
		if (!with_name) { /* "Subject: hello" is text of the header too */
			cv_buf_clear(&s->raw.mapped);
			cv_casemap(&s->raw.mapped, field->name);
			cv_buf_append(&s->raw.mapped, CV_STR(": "));
			cv_buf_append(&s->raw.mapped, cv_buf_str(&s->text.mapped));
			with_name = true;
		}
		if (holds(&s->raw.mapped, key))
			note_match(s, key, field_place(key, field, message));
	}
}

/* For header keys alone: pass over fields that begin otherwise than all names that are asked for. */
static void skip_fields(const struct cv_search *s, struct cv_header_iter *iter)
{
	struct cv_str header = iter->header;

	while (iter->pos < header.len) {
		char first = header.ptr[iter->pos];

		if (first == '\r' || first == '\n' || s->initials[(uint8_t)cv_lower(first)])
			break; /* perhaps the end of the header: the iterator sees */
		do {
			size_t end = cv_str_find(cv_str_sub(header, iter->pos, SIZE_MAX), '\n');

			iter->pos = end == SIZE_MAX ? header.len : iter->pos + end + 1;
		} while (iter->pos < header.len && (header.ptr[iter->pos] == ' ' || header.ptr[iter->pos] == '\t'));
	}
}

/* In an address field without quotes and comments: does nothing come together that stands apart there? Not so in "<a<b@c d>". */
static bool joins_nothing(struct cv_str value)
{
	bool in_angle = false, at = false, blank_after_at = false;

	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];

		if (c == ',') {
			in_angle = at = blank_after_at = false;
		} else if (c == '>') {
			at = blank_after_at = false;
		} else if (cv_is_space(c)) {
			blank_after_at = at;
		} else if (c == '<' || c == '@') {
			if (at || (c == '<' && in_angle))
				return false;
			in_angle = in_angle || c == '<';
			at = c == '@';
		} else if (blank_after_at || memchr("()\\\"[]:;", c, 8) != NULL) {
			return false;
		}
	}
	return true;
}

static bool has_encoded_words(struct cv_str value)
{
	for (size_t pos = 0, found; (found = cv_str_find(cv_str_sub(value, pos, SIZE_MAX), '=')) != SIZE_MAX;) {
		pos += found + 1;
		if (pos < value.len && value.ptr[pos] == '?')
			return true;
	}
	return false;
}

/* Keys are words, and none is in the octets of the header: then they are in no field whose text is its octets. */
static bool words_are_not_in(struct cv_search *s, struct cv_str header, bool message)
{
	if (s->tap != NULL)
		return false;
	for (size_t i = 0; i < s->keys.count; i++) {
		const struct key *key = &s->keys.data[i];

		if (key->found || key->where == (message ? CV_SEARCH_BODY : CV_SEARCH_HEADER))
			continue;
		if (!key->word || cv_screen_ask(key->screen, s->utf8_charset, header, 0, header.len) != CV_SCREEN_NO)
			return false;
	}
	return true;
}

/* The other fields. */
static void search_odd_fields(struct cv_search *s, struct cv_str header, bool message)
{
	bool plain = cv_str_is_ascii(header) && !has_encoded_words(header);
	struct cv_header_iter iter;
	struct cv_header_field field;

	cv_header_iter_init(&iter, header);
	while (s->open > 0 && cv_header_iter_next(&iter, &field))
		if ((!plain && (!cv_str_is_ascii(field.value) || has_encoded_words(field.value))) ||
			(is_address_field(field.name) && !joins_nothing(field.value)))
			search_field(s, &field, message, false);
}

/* Does a key that is still open look in this header? */
static bool header_matters(const struct cv_search *s, bool message)
{
	for (size_t i = 0; i < s->keys.count; i++) {
		const struct key *key = &s->keys.data[i];

		if (!key->found && key->where != (message ? CV_SEARCH_BODY : CV_SEARCH_HEADER))
			return true;
	}
	return s->tap != NULL;
}

static void search_fields(struct cv_search *s, struct cv_str header, bool message, bool header_only)
{
	struct cv_header_iter iter;
	struct cv_header_field field;

	cv_header_iter_init(&iter, header);
	while (s->open > 0) {
		if (header_only && s->tap == NULL)
			skip_fields(s, &iter);
		if (!cv_header_iter_next(&iter, &field))
			break;
		if (s->tap != NULL)
			tap_field(s, &field, message);
		else
			search_field(s, &field, message, header_only);
	}
}

static void reset(struct cv_search *s)
{
	stop_decoding(s);
	s->open = s->tap != NULL ? 1 : s->keys.count;
	for (size_t i = 0; i < s->keys.count; i++) {
		s->keys.data[i].found = false;
		if (s->keys.data[i].fuzzy != NULL)
			cv_fuzzy_reset(s->keys.data[i].fuzzy);
	}
}

void cv_search_header(struct cv_search *search, struct cv_str header)
{
	reset(search);
	search->phase = SEARCH_DONE;
	search_fields(search, header, true, true);
}

int cv_search_field(struct cv_search *search, struct cv_str header, struct cv_str name, struct cv_buf *out)
{
	struct cv_header_iter iter;
	struct cv_header_field field;
	int result = 0;

	cv_header_iter_init(&iter, header);
	for (;;) {
		skip_fields(search, &iter);
		if (!cv_header_iter_next(&iter, &field))
			break;
		if (field.name.len != name.len || !cv_str_caseeq(field.name, name))
			continue;
		if (result != 0)
			return -1;
		map_field(search, &field);
		if (search->octets.len > 0)
			return -1;
		result = 1;
	}
	if (result > 0)
		cv_buf_append(out, cv_buf_str(&search->text.mapped));
	return result;
}

bool cv_search_text_has(const struct cv_search *search, size_t index, struct cv_str text)
{
	const struct key *key = &search->keys.data[index];
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

/* ---- bodies ---- */

static void search_text(struct cv_search *s, struct window *w, struct cv_str utf8)
{
	size_t before = w->mapped.len;

	if (utf8.len == 0)
		return;
	cv_casemap_valid(&w->mapped, utf8, s->casemap);
	if (s->tap != NULL) {
		const struct cv_search_piece piece = { .where = CV_SEARCH_BODY, .text = cv_buf_str(&w->mapped), .stream = w == &s->text,
			.first = !w->begun };

		w->begun = true;
		s->tap(s->tap_ctx, &piece);
		cv_buf_clear(&w->mapped);
		return;
	}
	for (size_t i = 0; i < s->keys.count && s->open > 0; i++) {
		struct key *key = &s->keys.data[i];

		if (key->found || key->where == CV_SEARCH_HEADER)
			continue;
		/* The words of markup are none of the text's. */
		if (key->fuzzy != NULL && (w == &s->text) == s->html)
			cv_fuzzy_feed(key->fuzzy, cv_str_sub(cv_buf_str(&w->mapped), before, SIZE_MAX), body_place(key));
		if (holds(&w->mapped, key))
			note_match(s, key, body_place(key));
	}
	if (w->mapped.len >= s->longest)
		cv_buf_consume(&w->mapped, w->mapped.len - (s->longest > 0 ? s->longest - 1 : 0));
}

static void search_decoded(struct cv_search *s)
{
	search_text(s, &s->raw, cv_buf_str(&s->utf8));
	if (s->html) {
		cv_buf_clear(&s->stripped);
		cv_html_text_feed(&s->markup, cv_buf_str(&s->utf8), &s->stripped);
		search_text(s, &s->text, cv_buf_str(&s->stripped));
	}
	cv_buf_clear(&s->utf8);
}

static bool has_text(const struct cv_mime_part *part)
{
	return part->kind == CV_MIME_LEAF && (cv_mime_part_is(part, "text", NULL) || cv_mime_part_is(part, "message", NULL));
}

static bool all_have_screens(const struct cv_search *s)
{
	for (size_t i = 0; i < s->keys.count; i++)
		if (!s->keys.data[i].found && s->keys.data[i].where != CV_SEARCH_HEADER && s->keys.data[i].screen == NULL)
			return false;
	return s->tap == NULL;
}

static void begin_text(struct cv_search *s)
{
	const struct cv_mime_part *part = s->part;

	stop_decoding(s);
	s->pos = part->body_offset;
	s->end = part->body_offset + part->body_size;
	s->html = cv_mime_part_is(part, "text", "html");
	cv_text_decoder_init(&s->decoder, part->encoding, cv_params_raw(&part->params, CV_STR("charset")));
	s->decoding = true;
	cv_html_text_init(&s->markup);
	cv_buf_clear(&s->utf8);
	cv_buf_clear(&s->raw.mapped);
	cv_buf_clear(&s->text.mapped);
	s->raw.begun = s->text.begun = false;
	cv_buf_clear(&s->plain.octets);
	cv_buf_clear(&s->visible.octets);
	s->plain.asked = s->visible.asked = 0;
	s->phase = SEARCH_BODY;
}

static void begin_body(struct cv_search *s)
{
	if (!has_text(s->part)) {
		s->phase = SEARCH_NEXT;
		return;
	}
	begin_text(s);
	s->screening = all_have_screens(s) && cv_screen_takes(s->decoder.charset);
}

static void end_body(struct cv_search *s)
{
	cv_text_decoder_finish(&s->decoder, &s->utf8);
	search_decoded(s);
	if (s->html) {
		cv_buf_clear(&s->stripped);
		cv_html_text_finish(&s->markup, &s->stripped);
		search_text(s, &s->text, cv_buf_str(&s->stripped));
	}
	for (size_t i = 0; i < s->keys.count; i++)
		if (s->keys.data[i].fuzzy != NULL)
			cv_fuzzy_end(s->keys.data[i].fuzzy, body_place(&s->keys.data[i]));
	stop_decoding(s);
	s->phase = SEARCH_NEXT;
}

/* ---- bodies, before they are mapped ---- */

/* Look for keys in text from from on; last: nothing follows. Returns how far it was done; SIZE_MAX: only mapped text tells. sure: what is found is. */
static size_t ask_screens(struct cv_search *s, struct cv_charset *charset, struct cv_str text, size_t from, bool last, bool sure)
{
	size_t to = last ? text.len : CV_MAX(text.len - CV_MIN(text.len, s->margin), from);

	for (size_t i = 0; i < s->keys.count && s->open > 0; i++) {
		struct key *key = &s->keys.data[i];

		if (key->found || key->where == CV_SEARCH_HEADER)
			continue;
		switch (cv_screen_ask(key->screen, charset, text, from, to)) {
		case CV_SCREEN_NO:
			break;
		case CV_SCREEN_YES:
			if (!sure)
				return SIZE_MAX;
			set_found(s, key);
			break;
		case CV_SCREEN_UNKNOWN:
			return SIZE_MAX;
		}
	}
	return to;
}

static void drop_asked(struct cv_search *s, struct unmapped *u)
{
	size_t drop = u->asked - CV_MIN(u->asked, s->margin);

	cv_buf_consume(&u->octets, drop);
	u->asked -= drop;
}

/* The same of HTML without its markup; text: what follows what was given before. What is found is looked for in mapped text again: markup may have stood
   between octets that are no character without it. */
static bool screen_visible(struct cv_search *s, struct cv_str text, bool last)
{
	struct cv_buf *visible = &s->visible.octets;

	if (cv_charset_high(s->decoder.charset) != NULL) {
		cv_buf_clear(&s->utf8);
		cv_charset_feed(s->decoder.charset, text, &s->utf8);
		text = cv_buf_str(&s->utf8);
	}
	cv_html_text_feed(&s->markup, text, visible);
	if (last)
		cv_html_text_finish(&s->markup, visible);
	s->visible.asked = ask_screens(s, s->utf8_charset, cv_buf_str(visible), s->visible.asked, last, false);
	if (s->visible.asked == SIZE_MAX)
		return false;
	drop_asked(s, &s->visible);
	return true;
}

/* text: all of the part that is still needed, of which the octets from fresh on have come now. False: only mapped text tells. */
static bool screen_text(struct cv_search *s, struct cv_str text, size_t fresh, bool last)
{
	struct cv_str more = cv_str_sub(text, fresh, SIZE_MAX);

	if (cv_charset_is_guessed(s->decoder.charset) && !cv_str_is_ascii(more))
		return false;
	s->plain.asked = ask_screens(s, s->decoder.charset, text, s->plain.asked, last, true);
	if (s->plain.asked == SIZE_MAX)
		return false;
	return !s->html || s->open == 0 || screen_visible(s, more, last);
}

/* Before it is even decoded: may one of the keys be in a part? */
static bool may_hold(struct cv_search *s, struct cv_str text)
{
	enum cv_transfer transfer = s->decoder.transfer.transfer;
	struct cv_screen_raw raw = { .text = text, .quoted_printable = transfer == CV_TRANSFER_QP, .html = s->html };

	if (transfer == CV_TRANSFER_BASE64 || transfer == CV_TRANSFER_UUENCODE || (!raw.quoted_printable && !raw.html))
		return true;
	for (size_t i = 0; i < s->keys.count; i++) {
		const struct key *key = &s->keys.data[i];

		if (!key->found && key->where != CV_SEARCH_HEADER && cv_screen_may_hold(key->screen, s->decoder.charset, &raw))
			return true;
	}
	return false;
}

static int step_screening(struct cv_search *s, uint64_t *used, struct cv_err *err)
{
	struct cv_transfer_decoder *transfer = &s->decoder.transfer;
	bool decoded = transfer->transfer != CV_TRANSFER_IDENTITY && transfer->transfer != CV_TRANSFER_UNKNOWN;
	struct cv_buf *octets = &s->plain.octets;
	struct cv_str view = CV_STR("");
	size_t fresh = octets->len;
	bool first = s->pos == s->part->body_offset, last;
	int result = 0;

	if (s->pos < s->end)
		result = cv_message_reader_get(s->reader, s->pos, (size_t)CV_MIN(s->end - s->pos, (uint64_t)SCREEN_SLICE), &view, err);
	if (result < 0)
		return -1;
	s->pos += view.len;
	*used += view.len;
	last = result == 0 || s->pos == s->end;
	if (first && last && !may_hold(s, view)) {
		stop_decoding(s);
		s->phase = SEARCH_NEXT;
		return 1;
	}
	if (decoded || !first || !last) {
		cv_transfer_decode(transfer, view, octets);
		if (last)
			cv_transfer_decode_finish(transfer, octets);
		view = cv_buf_str(octets);
	}
	if (!screen_text(s, view, fresh, last)) {
		begin_text(s);
		s->screening = false;
	} else if (last) {
		stop_decoding(s);
		s->phase = SEARCH_NEXT;
	} else {
		drop_asked(s, &s->plain);
	}
	return 1;
}

static int step_body(struct cv_search *s, uint64_t *used, struct cv_err *err)
{
	struct cv_str view;
	int result = 0;

	if (s->screening)
		return step_screening(s, used, err);
	if (s->pos < s->end)
		result = cv_message_reader_get(
			s->reader, s->pos, (size_t)CV_MIN(s->end - s->pos, (uint64_t)SLICE), &view, err);
	if (result < 0)
		return -1;
	if (result == 0) {
		end_body(s);
		return 1;
	}
	s->pos += view.len;
	*used += view.len * (1 + s->fuzzy_words);
	cv_text_decoder_feed(&s->decoder, view, &s->utf8);
	search_decoded(s);
	return 1;
}

static int step_header(struct cv_search *s, uint64_t *used, struct cv_err *err)
{
	const struct cv_mime_part *part = s->part;
	uint64_t size = CV_MIN(part->header_size, (uint64_t)HEADER_MAX);
	bool message = part == s->root;
	struct cv_str header;

	if (header_matters(s, message)) {
		if (cv_message_reader_view(s->reader, part->header_offset, size, &s->header, &header, err) < 0)
			return -1;
		*used += size * (1 + s->fuzzy_words);
		if (words_are_not_in(s, header, message))
			search_odd_fields(s, header, message);
		else
			search_fields(s, header, message, false);
	}
	if (s->needs_body)
		begin_body(s);
	else
		s->phase = SEARCH_DONE;
	return 1;
}

void cv_search_begin(struct cv_search *search, struct cv_message_reader *reader, const struct cv_mime_part *root)
{
	reset(search);
	search->reader = reader;
	search->part = search->root = root;
	search->alone = false;
	search->phase = SEARCH_HEADER;
	for (size_t i = 0; i < search->keys.count; i++) {
		struct key *key = &search->keys.data[i];

		/* the empty text is in every message, but not every message has every field */
		if (key->needle.len == 0 && key->where != CV_SEARCH_HEADER)
			set_found(search, key);
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

	while (search->open > 0 && search->phase != SEARCH_DONE) {
		if (used >= budget)
			return 0;
		switch (search->phase) {
		case SEARCH_HEADER:
			result = step_header(search, &used, err);
			break;
		case SEARCH_BODY:
			result = step_body(search, &used, err);
			break;
		case SEARCH_NEXT:
			used += 64; /* parts without octets take time too */
			search->part = search->alone ? NULL : cv_mime_part_next(search->part);
			search->phase = search->part != NULL ? SEARCH_HEADER : SEARCH_DONE;
			break;
		case SEARCH_DONE:
			break;
		}
		if (result < 0) {
			stop_decoding(search);
			search->phase = SEARCH_DONE;
			return -1;
		}
	}
	stop_decoding(search);
	search->phase = SEARCH_DONE;
	return 1;
}
