/* SPDX-License-Identifier: MIT
   Search in headers: of each field its decoded text, as it stands and with addresses written out. */
#include <config.h>

#include "core/message/search-private.h"

#include <string.h>

#define ADDRESSES_MAX 10000

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

static bool field_matters(const struct cv_search_key *key, const struct cv_header_field *field, bool message, bool header_only)
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
static unsigned field_place(const struct cv_search_key *key, const struct cv_header_field *field, bool message)
{
	static const char *const looked_at_first[] = { "subject", "from", "to", "cc" };

	if (key->where == CV_SEARCH_HEADER)
		return CV_FUZZY_BEST;
	for (size_t i = 0; message && i < CV_COUNT_OF(looked_at_first); i++)
		if (cv_str_caseeq_c(field->name, looked_at_first[i]))
			return CV_FUZZY_BEST;
	return 60;
}

/* The words of a field. */
static void match_words(struct cv_search *s, struct cv_search_key *key, unsigned place)
{
	cv_fuzzy_feed(key->fuzzy, cv_buf_str(&s->text.mapped), place);
	cv_fuzzy_end(key->fuzzy, place);
}

/* message: the header of the message itself, not one of its parts. header_only: only header keys are asked. */
static void search_field(struct cv_search *s, const struct cv_header_field *field, bool message, bool header_only)
{
	bool mapped = false, with_name = false;

	for (size_t i = 0; i < s->keys.count && s->open > 0; i++) {
		struct cv_search_key *key = &s->keys.data[i];

		if (key->found || !field_matters(key, field, message, header_only))
			continue;
		if (key->needle.len == 0) {
			cv_search_set_found(s, key);
			continue;
		}
		if (!mapped) {
			map_field(s, field);
			mapped = true;
		}
		if (key->fuzzy != NULL)
			match_words(s, key, field_place(key, field, message));
		/* RFC 5255 section 4.6 (c): text that does not convert is compared by octets; that our guess at it matches counts too. */
		if (cv_search_holds(&s->text.mapped, key) ||
			cv_str_find_str(cv_buf_str(&s->octets), cv_buf_str(&key->octets)) != SIZE_MAX) {
			cv_search_note_match(s, key, field_place(key, field, message));
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
		if (cv_search_holds(&s->raw.mapped, key))
			cv_search_note_match(s, key, field_place(key, field, message));
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
		const struct cv_search_key *key = &s->keys.data[i];

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
bool cv_search_header_matters(const struct cv_search *s, bool message)
{
	for (size_t i = 0; i < s->keys.count; i++) {
		const struct cv_search_key *key = &s->keys.data[i];

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

void cv_search_part_header(struct cv_search *s, struct cv_str header, bool message)
{
	if (words_are_not_in(s, header, message))
		search_odd_fields(s, header, message);
	else
		search_fields(s, header, message, false);
}

void cv_search_header(struct cv_search *search, struct cv_str header)
{
	cv_search_reset(search);
	search->phase = CV_SEARCHING_DONE;
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
