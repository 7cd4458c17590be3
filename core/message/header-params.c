/* SPDX-License-Identifier: MIT
   Parameters of MIME fields (RFC 2045 section 5.1, RFC 2183) and their decoding (RFC 2231). */
#include <config.h>

#include <culver/arena.h>
#include <culver/charset.h>
#include <culver/header.h>
#include <culver/map.h>

#include "core/message/header-private.h"

#include <string.h>

/* A cursor that knows what it has looked ahead at, so that hostile values take linear time. */
struct scan {
	struct cv_reader r;
	bool no_comments;    /* a "(" was never closed: it and those behind it are text */
	size_t no_end_until; /* blanks before this do not end an unquoted value */
};

/* Skip white space and comments (RFC 5322 CFWS). */
static void skip_cfws(struct scan *s)
{
	struct cv_reader *r = &s->r;
	size_t depth = 0, back = 0;

	while (cv_peek(r) >= 0) {
		char c = (char)cv_peek(r);

		if (c == '(' && !s->no_comments) {
			if (depth++ == 0)
				back = r->pos;
		} else if (depth > 0 && c == ')') {
			depth--;
		} else if (depth > 0 && c == '\\' && cv_reader_left(r) > 1) {
			r->pos++;
		} else if (depth == 0 && !cv_is_space(c)) {
			return;
		}
		r->pos++;
	}
	if (depth > 0) {
		r->pos = back;
		s->no_comments = true;
	}
}

/* token: any but SPACE, CTLs or tspecials; 8-bit octets are let through */
static bool is_token(char c)
{
	unsigned char u = (unsigned char)c;

	return u > 32 && u != 127 && memchr("()<>@,;:\\\"/[]?=", c, 15) == NULL;
}

static bool is_attribute_end(char c)
{
	return c == '=' || c == ';' || c == '"' || cv_is_space(c);
}

static bool is_attribute(char c)
{
	return !is_attribute_end(c) && c != '(';
}

static void take_quoted(struct cv_reader *r, struct cv_buf *out)
{
	char c;

	while (cv_take_any(r, &c)) {
		if (c == '"')
			return;
		if (c == '\\' && cv_reader_left(r) > 0 && !cv_take_any(r, &c))
			return;
		cv_buf_append_char(out, c);
	}
}

/* True when what follows looks like another parameter whose ";" was forgotten: 1*attribute-char "=". */
static bool parameter_follows(const struct scan *s)
{
	struct scan ahead = *s;

	skip_cfws(&ahead);
	if (cv_take_while(&ahead.r, is_attribute).len == 0)
		return false;
	skip_cfws(&ahead);
	return cv_peek(&ahead.r) == '=';
}

/* A value without quotes may have spaces and specials in it in the wild: "name=my file (2).pdf". It ends at ";", at white
   space and comments that reach up to ";" or the end, or where another parameter begins. */
static void take_unquoted(struct scan *s, struct cv_buf *out)
{
	struct cv_reader *r = &s->r;

	while (cv_peek(r) >= 0 && cv_peek(r) != ';') {
		char c = (char)cv_peek(r);

		if (cv_is_space(c) && r->pos >= s->no_end_until) {
			struct scan behind = *s;

			skip_cfws(&behind);
			s->no_comments = behind.no_comments;
			if (cv_peek(&behind.r) < 0 || cv_peek(&behind.r) == ';' || parameter_follows(s)) {
				s->r = behind.r;
				return;
			}
			s->no_end_until = behind.r.pos;
		}
		if (cv_is_space(c)) {
			(void)cv_take_while(r, cv_is_space);
			cv_buf_append_char(out, ' ');
		} else {
			cv_buf_append_char(out, c);
			r->pos++;
		}
	}
}

static void parse_params(struct cv_arena *arena, struct scan *s, size_t max, struct cv_params *params_r)
{
	CV_VEC(struct cv_param) vec = { 0 };
	struct cv_reader *r = &s->r;
	struct cv_buf value;

	cv_buf_init(&value, SIZE_MAX);
	while (cv_reader_left(r) > 0 && vec.count < max) {
		struct cv_str name;
		size_t start = r->pos;

		skip_cfws(s);
		name = cv_take_while(r, is_attribute);
		skip_cfws(s);
		if (name.len > 0 && cv_take_char(r, '=')) {
			struct cv_param *param = cv_vec_push(&vec);

			skip_cfws(s);
			cv_buf_clear(&value);
			if (cv_take_char(r, '"'))
				take_quoted(r, &value);
			else
				take_unquoted(s, &value);
			param->name = cv_arena_str(arena, name);
			/* A continuation may be cut at a blank. */
			param->value = cv_arena_str(arena, cv_str_find(name, '*') != SIZE_MAX ? cv_buf_str(&value) :
				cv_str_trim(cv_buf_str(&value)));
		} else if (r->pos == start && cv_reader_left(r) > 0) {
			r->pos++; /* ";", or an octet that fits nowhere */
		}
	}
	params_r->count = vec.count;
	params_r->items = cv_new(arena, struct cv_param, vec.count);
	if (vec.count > 0)
		memcpy(params_r->items, vec.data, vec.count * sizeof(*vec.data));
	cv_vec_free(&vec);
	cv_buf_deinit(&value);
}

bool cv_header_parse_token_params(struct cv_arena *arena, struct cv_str value, size_t max,
	struct cv_str *token_r, struct cv_params *params_r)
{
	struct cv_buf unfolded;
	struct scan s = { 0 };
	struct cv_str token;

	*token_r = (struct cv_str){ 0 };
	*params_r = (struct cv_params){ 0 };
	cv_buf_init(&unfolded, SIZE_MAX);
	cv_header_unfold(&unfolded, value);
	s.r = cv_reader_init(cv_buf_str(&unfolded));
	skip_cfws(&s);
	if (cv_take_char(&s.r, '"')) { /* "attachment" in quotes is seen */
		token = cv_take_while(&s.r, is_token);
		if (cv_peek(&s.r) == '"')
			s.r.pos++;
	} else {
		token = cv_take_while(&s.r, is_token);
	}
	if (token.len > 0) {
		*token_r = cv_arena_str(arena, token);
		parse_params(arena, &s, max, params_r);
	}
	cv_buf_deinit(&unfolded);
	return token.len > 0;
}

bool cv_header_parse_content_type(struct cv_arena *arena, struct cv_str value, size_t max,
	struct cv_str *type_r, struct cv_str *subtype_r, struct cv_params *params_r)
{
	struct cv_buf unfolded;
	struct scan s = { 0 };
	struct cv_str type, subtype;
	bool ok = false;

	*type_r = *subtype_r = (struct cv_str){ 0 };
	*params_r = (struct cv_params){ 0 };
	cv_buf_init(&unfolded, SIZE_MAX);
	cv_header_unfold(&unfolded, value);
	s.r = cv_reader_init(cv_buf_str(&unfolded));
	skip_cfws(&s);
	type = cv_take_while(&s.r, is_token);
	skip_cfws(&s);
	if (type.len > 0 && cv_take_char(&s.r, '/')) {
		skip_cfws(&s);
		subtype = cv_take_while(&s.r, is_token);
		ok = subtype.len > 0;
	}
	if (ok) {
		*type_r = cv_arena_str(arena, type);
		*subtype_r = cv_arena_str(arena, subtype);
		parse_params(arena, &s, max, params_r);
	}
	cv_buf_deinit(&unfolded);
	return ok;
}

struct cv_str cv_params_raw(const struct cv_params *params, struct cv_str name)
{
	for (size_t i = 0; i < params->count; i++) {
		if (cv_str_caseeq(params->items[i].name, name))
			return params->items[i].value;
	}
	return (struct cv_str){ 0 };
}

/* "name*section" or "name*section*". False: the name is no part of a continuation. */
static bool split_section(struct cv_str whole, struct cv_str *base_r, uint32_t *section_r, bool *extended_r)
{
	struct cv_str rest;

	if (!cv_str_split(whole, '*', base_r, &rest) || base_r->len == 0)
		return false;
	*extended_r = cv_str_ends(rest, CV_STR("*"));
	if (*extended_r)
		rest.len--;
	return cv_str_to_u32(rest, UINT32_MAX, section_r);
}

/* The value of "name*section" or "name*section*" (section SIZE_MAX: "name*"). RFC 2231 sections 3 and 4. */
static bool find_section(const struct cv_params *params, struct cv_str name, size_t section, struct cv_str *value_r,
	bool *extended_r)
{
	for (size_t i = 0; i < params->count; i++) {
		struct cv_str rest = params->items[i].name;
		uint32_t n;

		if (!cv_str_casestarts(rest, name) || rest.len == name.len || rest.ptr[name.len] != '*')
			continue;
		rest = cv_str_sub(rest, name.len + 1, SIZE_MAX);
		*value_r = params->items[i].value;
		*extended_r = true;
		if (rest.len == 0) {
			if (section == SIZE_MAX)
				return true;
			continue;
		}
		*extended_r = cv_str_ends(rest, CV_STR("*"));
		if (*extended_r)
			rest.len--;
		if (section != SIZE_MAX && cv_str_to_u32(rest, UINT32_MAX, &n) && n == section)
			return true;
	}
	return false;
}

static void decode_percent(struct cv_buf *out, struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '%' && i + 2 < s.len && cv_hex_digit(s.ptr[i + 1]) >= 0 && cv_hex_digit(s.ptr[i + 2]) >= 0) {
			cv_buf_append_char(out, (char)(cv_hex_digit(s.ptr[i + 1]) * 16 + cv_hex_digit(s.ptr[i + 2])));
			i += 2;
		} else {
			cv_buf_append_char(out, s.ptr[i]);
		}
	}
}

/* extended-initial-value = [charset] "'" [language] "'" extended-other-values */
static struct cv_str split_charset(struct cv_str value, struct cv_str *charset_r)
{
	struct cv_str rest, language, text;

	if (cv_str_split(value, '\'', charset_r, &rest) && cv_str_split(rest, '\'', &language, &text))
		return text;
	*charset_r = CV_STR("");
	return value;
}

bool cv_params_decode(const struct cv_params *params, struct cv_str name, struct cv_buf *out)
{
	struct cv_str value, charset = CV_STR("");
	struct cv_buf octets, utf8;
	size_t section = SIZE_MAX;
	bool extended, any_extended = false;

	if (!find_section(params, name, SIZE_MAX, &value, &extended)) {
		section = 0;
		if (!find_section(params, name, 0, &value, &extended)) {
			value = cv_params_raw(params, name);
			if (value.ptr == NULL)
				return false;
			cv_header_decode(out, value);
			return true;
		}
	}
	cv_buf_init(&octets, SIZE_MAX);
	cv_buf_init(&utf8, SIZE_MAX);
	if (extended)
		value = split_charset(value, &charset);
	do {
		any_extended = any_extended || extended;
		if (extended)
			decode_percent(&octets, value);
		else
			cv_buf_append(&octets, value);
		section++;
	} while (section != 0 && find_section(params, name, section, &value, &extended));
	if (any_extended) {
		cv_charset_to_utf8(charset, cv_buf_str(&octets), &utf8);
		cv_append_clean(out, cv_buf_str(&utf8));
	} else {
		cv_header_decode(out, cv_buf_str(&octets));
	}
	cv_buf_deinit(&utf8);
	cv_buf_deinit(&octets);
	return true;
}

/* Value octets of a section without percent encoding, as extended-other-values: all but attribute-char is encoded. */
static void append_percent(struct cv_buf *out, struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char u = (unsigned char)s.ptr[i];

		if (u >= 0x80 || !is_token(s.ptr[i]) || u == '*' || u == '\'' || u == '%')
			cv_buf_printf(out, "%%%02X", u);
		else
			cv_buf_append_char(out, s.ptr[i]);
	}
}

/* The index of the first parameter that is this section of base; SIZE_MAX when there is none. */
static size_t find_part(const struct cv_params *params, struct cv_str base, uint32_t section, bool *extended_r)
{
	for (size_t i = 0; i < params->count; i++) {
		struct cv_str own;
		uint32_t n;

		if (split_section(params->items[i].name, &own, &n, extended_r) && n == section && cv_str_caseeq(own, base))
			return i;
	}
	return SIZE_MAX;
}

/* What a parameter is to continuations. */
enum role { ALONE = 0, HEAD, TAIL };

/* Give the parts of the continuation that items[first] begins their roles. True when one of them is in percent encoding. */
static bool mark(const struct cv_params *params, struct cv_str base, size_t first, enum role *roles)
{
	bool extended, any = false;
	size_t i;

	for (uint32_t n = 0; (i = find_part(params, base, n, &extended)) != SIZE_MAX; n++) {
		roles[i] = i == first ? HEAD : TAIL;
		any |= extended;
	}
	return any;
}

static void join(const struct cv_params *params, struct cv_str base, bool encode, struct cv_buf *value)
{
	bool extended;
	size_t i;

	for (uint32_t n = 0; (i = find_part(params, base, n, &extended)) != SIZE_MAX; n++) {
		if (encode && !extended) {
			/* Charset and language stand in section 0, which has none here. */
			if (n == 0)
				cv_buf_append_c(value, "''");
			append_percent(value, params->items[i].value);
		} else {
			cv_buf_append(value, params->items[i].value);
		}
	}
}

static void tell_joined(const struct cv_params *params, struct cv_str base, bool encode,
	void (*fn)(void *ctx, struct cv_str name, struct cv_str value), void *ctx)
{
	struct cv_buf name, value;

	cv_buf_init(&name, SIZE_MAX / 2);
	cv_buf_init(&value, SIZE_MAX / 2);
	cv_buf_append(&name, base);
	if (encode)
		cv_buf_append_char(&name, '*');
	join(params, base, encode, &value);
	fn(ctx, cv_buf_str(&name), value.len > 0 ? cv_buf_str(&value) : CV_STR(""));
	cv_buf_deinit(&value);
	cv_buf_deinit(&name);
}

void cv_params_each_joined(const struct cv_params *params, void (*fn)(void *ctx, struct cv_str name, struct cv_str value), void *ctx)
{
	enum role *roles = cv_calloc(CV_MAX(params->count, (size_t)1), sizeof(*roles));
	bool *encode = cv_calloc(CV_MAX(params->count, (size_t)1), sizeof(*encode));
	struct cv_str base;
	uint32_t section;
	bool extended;

	/* All roles first: a part may stand before its section 0. */
	for (size_t i = 0; i < params->count; i++)
		if (split_section(params->items[i].name, &base, &section, &extended) && section == 0 &&
			find_part(params, base, 0, &extended) == i)
			encode[i] = mark(params, base, i, roles);
	for (size_t i = 0; i < params->count; i++) {
		switch (roles[i]) {
		case ALONE:
			fn(ctx, params->items[i].name, params->items[i].value);
			break;
		case HEAD:
			(void)split_section(params->items[i].name, &base, &section, &extended);
			tell_joined(params, base, encode[i], fn, ctx);
			break;
		case TAIL:
			break;
		}
	}
	cv_free(encode);
	cv_free(roles);
}
