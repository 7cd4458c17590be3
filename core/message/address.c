/* SPDX-License-Identifier: MIT
   Address lists (RFC 5322 sections 3.4 and 4.4): strict where mail is right, a defined answer where it is not. */
#include <config.h>

#include <culver/address.h>
#include <culver/header.h>
#include <culver/map.h>

#include "core/message/header-private.h"

#include <string.h>

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,    /* atom, with its dots: "john.doe" */
	TOKEN_QUOTED,  /* text without quotes */
	TOKEN_LITERAL, /* domain literal, with brackets */
	TOKEN_SPECIAL  /* one of ( ) < > @ , ; : " [ ] \ */
};

struct token {
	enum token_kind kind;
	char special;
	bool space_before; /* white space or a comment before it */
	struct cv_str text; /* valid until the next token */
};

struct parser {
	struct cv_arena *arena;
	struct cv_reader r;
	size_t next_end;         /* see cv_encoded_word_length */
	bool no_comment, no_quote, no_literal; /* an opening one was never closed: from there on it is text */
	struct cv_buf comment;   /* text of the last comment */
	struct cv_buf unquoted;  /* token text that is not as in the value */
	struct token t;          /* the token looked at */
	size_t max;
	bool in_group;
	CV_VEC(struct cv_address) items;

	/* The address so far. phrase: all words; local and host: when an "@" was seen outside of "<>". */
	struct cv_buf phrase, local, host;
	bool at;
};

static bool is_special(char c)
{
	return memchr("()<>@,;:\\\"[]", c, 12) != NULL;
}

/* Take a comment whose "(" is next; its text without the outer parentheses goes to comment. False, nothing taken, when it is not
   closed. */
static bool take_comment(struct parser *p)
{
	struct cv_reader r = p->r;
	size_t depth = 0;
	char c;

	cv_buf_clear(&p->comment);
	while (cv_take_any(&r, &c)) {
		if (c == '(' && depth++ == 0)
			continue;
		if (c == ')' && --depth == 0) {
			p->r = r;
			return true;
		}
		if (c == '\\' && cv_reader_left(&r) > 0 && !cv_take_any(&r, &c))
			break;
		cv_buf_append_char(&p->comment, c);
	}
	cv_buf_clear(&p->comment);
	return false;
}

/* quoted-string and domain-literal without their first octet; close is their last. False when it never comes. */
static bool take_delimited(struct parser *p, char close)
{
	struct cv_reader r = p->r;
	char c;

	cv_buf_clear(&p->unquoted);
	while (cv_take_any(&r, &c)) {
		if (c == close) {
			p->r = r;
			return true;
		}
		if (c == '\\' && cv_reader_left(&r) > 0 && !cv_take_any(&r, &c))
			break;
		cv_buf_append_char(&p->unquoted, c);
	}
	return false;
}

static void next_token(struct parser *p)
{
	struct cv_reader *r = &p->r;
	struct token *t = &p->t;
	size_t start, word;
	char c;

	*t = (struct token){ 0 };
	for (;;) {
		if (cv_take_while(r, cv_is_space).len > 0)
			t->space_before = true;
		if (cv_peek(r) != '(' || p->no_comment)
			break;
		if (!take_comment(p)) {
			p->no_comment = true;
			break;
		}
		t->space_before = true;
	}
	start = r->pos;
	if (!cv_take_any(r, &c))
		return;
	if (c == '"' && !p->no_quote) {
		if (take_delimited(p, '"')) {
			t->kind = TOKEN_QUOTED;
			t->text = cv_buf_str(&p->unquoted);
			return;
		}
		p->no_quote = true;
		next_token(p); /* once only: the quote is dropped */
		t->space_before = true;
		return;
	}
	if (c == '[' && !p->no_literal) {
		if (take_delimited(p, ']')) {
			t->kind = TOKEN_LITERAL;
			t->text = cv_str_sub(r->s, start, r->pos - start);
			return;
		}
		p->no_literal = true;
	}
	if (is_special(c)) {
		t->kind = TOKEN_SPECIAL;
		t->special = c;
		t->text = cv_str_sub(r->s, start, 1);
		return;
	}
	t->kind = TOKEN_WORD;
	r->pos = start;
	/* "=?utf-8?q?Doe,_John?=" without quotes is against RFC 2047 section 5 and common */
	word = cv_encoded_word_length(r->s, start, &p->next_end);
	t->text = cv_str_sub(r->s, start, word);
	if (word > 0 && cv_str_find(t->text, ' ') == SIZE_MAX && cv_str_find(t->text, '<') == SIZE_MAX &&
		cv_str_find(t->text, '"') == SIZE_MAX) {
		r->pos += word;
		return;
	}
	while (cv_peek(r) >= 0 && !is_special((char)cv_peek(r)) && !cv_is_space((char)cv_peek(r)))
		r->pos++;
	t->text = cv_str_sub(r->s, start, r->pos - start);
}

static bool at_special(const struct parser *p, char c)
{
	return p->t.kind == TOKEN_SPECIAL && p->t.special == c;
}

static void start_address(struct parser *p)
{
	cv_buf_clear(&p->phrase);
	cv_buf_clear(&p->local);
	cv_buf_clear(&p->host);
	cv_buf_clear(&p->comment);
	p->at = false;
}

/* NULL when the bound is met: then the rest of the list is not kept. */
static struct cv_address *add_item(struct parser *p)
{
	/* room for the group's end */
	if (p->items.count >= p->max - (p->in_group ? 1 : 0))
		return NULL;
	return cv_vec_push(&p->items);
}

static struct cv_str keep(struct parser *p, struct cv_str s)
{
	return cv_arena_str(p->arena, cv_str_trim(s));
}

static void add_mailbox(struct parser *p, struct cv_str name, struct cv_str route, struct cv_str mailbox, struct cv_str host)
{
	struct cv_address *item = add_item(p);

	if (item == NULL)
		return;
	name = cv_str_trim(name);
	if (name.len == 0)
		name = cv_str_trim(cv_buf_str(&p->comment));
	if (name.len > 0)
		item->name = keep(p, name);
	if (route.len > 0)
		item->route = keep(p, route);
	item->mailbox = keep(p, mailbox);
	item->host = keep(p, host);
}

static void end_address(struct parser *p)
{
	struct cv_str phrase = cv_str_trim(cv_buf_str(&p->phrase));

	if (p->at)
		add_mailbox(p, CV_STR(""), CV_STR(""), cv_buf_str(&p->local), cv_buf_str(&p->host));
	else if (phrase.len > 0)
		add_mailbox(p, CV_STR(""), CV_STR(""), phrase, CV_STR(""));
	start_address(p);
}

static void end_group(struct parser *p)
{
	p->in_group = false;
	struct cv_address *item = add_item(p);

	if (item != NULL)
		item->kind = CV_ADDRESS_GROUP_END;
}

static void begin_group(struct parser *p)
{
	struct cv_address *item;

	if (p->items.count + 2 > p->max)
		return;
	item = add_item(p);
	item->kind = CV_ADDRESS_GROUP_START;
	item->mailbox = keep(p, cv_buf_str(&p->phrase));
	p->in_group = true;
	start_address(p);
}

/* angle-addr = "<" [obs-route] addr-spec ">"; the "<" was taken. Ends at ">", or before "," ";" or the end where that is missing. */
static void take_angle(struct parser *p)
{
	struct cv_buf *local = &p->local, *host = &p->host;
	struct cv_buf route;
	bool at = false, in_route = false;

	cv_buf_init(&route, SIZE_MAX);
	cv_buf_clear(local);
	cv_buf_clear(host);
	for (;;) {
		next_token(p);
		if (p->t.kind == TOKEN_END || at_special(p, '>') || at_special(p, ';'))
			break;
		if (at_special(p, ',')) {
			if (!in_route)
				break;
			cv_buf_append_char(&route, ',');
		} else if (at_special(p, '@') && local->len == 0 && !at && p->t.kind == TOKEN_SPECIAL) {
			/* obs-route = "@" domain *("," "@" domain) ":" */
			in_route = true;
			cv_buf_append_char(&route, '@');
		} else if (at_special(p, ':') && in_route) {
			in_route = false;
		} else if (in_route) {
			cv_buf_append(&route, p->t.text);
		} else if (at_special(p, '@')) {
			if (at) { /* all but the last "@" are part of the local part */
				cv_buf_append_char(local, '@');
				cv_buf_append(local, cv_buf_str(host));
				cv_buf_clear(host);
			}
			at = true;
		} else if (!at_special(p, '<')) {
			struct cv_buf *to = at ? host : local;

			if (p->t.space_before && to->len > 0 && p->t.kind == TOKEN_WORD && !at &&
				p->t.text.ptr[0] != '.' && to->data[to->len - 1] != '.')
				cv_buf_append_char(to, ' ');
			cv_buf_append(to, p->t.text);
		}
	}
	if (in_route) { /* "<@host>": no route at all, but a host without a mailbox */
		cv_buf_clear(host);
		cv_buf_append(host, cv_str_sub(cv_buf_str(&route), 1, SIZE_MAX));
		cv_buf_clear(&route);
	}
	/* only a comment behind the address can name it */
	bool closed = at_special(p, '>');

	cv_buf_clear(&p->comment);
	while (closed) {
		next_token(p);
		if (p->t.kind == TOKEN_END || at_special(p, ',') || at_special(p, ';') || at_special(p, '<'))
			break;
	}
	add_mailbox(p, cv_buf_str(&p->phrase), cv_buf_str(&route), cv_buf_str(local), cv_buf_str(host));
	start_address(p);
	cv_buf_deinit(&route);
}

static void append_word(struct parser *p)
{
	struct cv_str text = p->t.text;

	if (p->t.space_before && p->phrase.len > 0)
		cv_buf_append_char(&p->phrase, ' ');
	cv_buf_append(&p->phrase, text);
	if (!p->at) {
		/* obs-local-part = word *("." word): no blanks at the dots */
		if (p->t.space_before && p->local.len > 0 && !cv_str_starts(text, CV_STR(".")) &&
			p->local.data[p->local.len - 1] != '.')
			cv_buf_append_char(&p->local, ' ');
		cv_buf_append(&p->local, text);
	} else if (!p->t.space_before || p->host.len == 0 || cv_str_starts(text, CV_STR(".")) ||
		p->host.data[p->host.len - 1] == '.') {
		/* what follows a domain without a dot is no part of it */
		cv_buf_append(&p->host, text);
	}
}

static void take_at(struct parser *p)
{
	if (p->at) {
		cv_buf_append_char(&p->local, '@');
		cv_buf_append(&p->local, cv_buf_str(&p->host));
		cv_buf_clear(&p->host);
	}
	p->at = true;
	if (p->t.space_before && p->phrase.len > 0)
		cv_buf_append_char(&p->phrase, ' ');
	cv_buf_append_char(&p->phrase, '@');
}

/* take_angle stops at a token that the loop still has to look at; all else is taken by next_token at its end. */
static void parse_list(struct parser *p)
{
	next_token(p);
	while (p->t.kind != TOKEN_END) {
		if (p->t.kind != TOKEN_SPECIAL) {
			append_word(p);
		} else {
			switch (p->t.special) {
			case '<':
				take_angle(p);
				continue;
			case '@':
				take_at(p);
				break;
			case ',':
				end_address(p);
				break;
			case ';':
				end_address(p);
				if (p->in_group)
					end_group(p);
				break;
			case ':':
				/* "Smith: sales" within a group, or behind an address, begins no group */
				if (!p->in_group && !p->at && cv_str_trim(cv_buf_str(&p->phrase)).len > 0)
					begin_group(p);
				else
					append_word(p);
				break;
			case '>':
				break;
			default:
				append_word(p);
				break;
			}
		}
		next_token(p);
	}
	end_address(p);
	if (p->in_group)
		end_group(p);
}

void cv_address_parse(struct cv_arena *arena, struct cv_str value, size_t max, struct cv_address_list *list_r)
{
	struct parser p = { .arena = arena, .max = max };
	struct cv_buf unfolded;

	cv_buf_init(&unfolded, SIZE_MAX);
	cv_buf_init(&p.comment, SIZE_MAX);
	cv_buf_init(&p.unquoted, SIZE_MAX);
	cv_buf_init(&p.phrase, SIZE_MAX);
	cv_buf_init(&p.local, SIZE_MAX);
	cv_buf_init(&p.host, SIZE_MAX);
	cv_header_unfold(&unfolded, value);
	p.r = cv_reader_init(cv_buf_str(&unfolded));
	if (max > 0)
		parse_list(&p);
	list_r->count = p.items.count;
	list_r->items = cv_new(arena, struct cv_address, p.items.count);
	if (p.items.count > 0)
		memcpy(list_r->items, p.items.data, p.items.count * sizeof(*p.items.data));
	cv_vec_free(&p.items);
	cv_buf_deinit(&p.host);
	cv_buf_deinit(&p.local);
	cv_buf_deinit(&p.phrase);
	cv_buf_deinit(&p.unquoted);
	cv_buf_deinit(&p.comment);
	cv_buf_deinit(&unfolded);
}

/* Quote s unless it is a dot-atom; blanks are fine in a phrase. An encoded word must not be quoted. */
static void append_quoted(struct cv_buf *out, struct cv_str s, bool phrase)
{
	bool quote = s.len == 0 || s.ptr[0] == '.' || s.ptr[s.len - 1] == '.' || s.ptr[0] == ' ' ||
		s.ptr[s.len - 1] == ' ';

	if (phrase && cv_str_starts(s, CV_STR("=?"))) {
		cv_buf_append(out, s);
		return;
	}
	for (size_t i = 0; i < s.len && !quote; i++) {
		quote = is_special(s.ptr[i]) || (unsigned char)s.ptr[i] < 32 || s.ptr[i] == 127 ||
			(s.ptr[i] == ' ' && (!phrase || s.ptr[i + 1] == ' ')) ||
			(s.ptr[i] == '.' && (phrase || s.ptr[i + 1] == '.')); /* the last octet is neither */
	}
	if (!quote) {
		cv_buf_append(out, s);
		return;
	}
	cv_buf_append_char(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			cv_buf_append_char(out, '\\');
		cv_buf_append_char(out, s.ptr[i]);
	}
	cv_buf_append_char(out, '"');
}

void cv_address_append(struct cv_buf *out, const struct cv_address *address)
{
	bool angle = address->name.len > 0 || address->route.len > 0;

	switch (address->kind) {
	case CV_ADDRESS_GROUP_START:
		append_quoted(out, address->mailbox, true);
		cv_buf_append_char(out, ':');
		return;
	case CV_ADDRESS_GROUP_END:
		cv_buf_append_char(out, ';');
		return;
	case CV_ADDRESS_MAILBOX:
		break;
	}
	if (address->name.len > 0) {
		append_quoted(out, address->name, true);
		cv_buf_append_char(out, ' ');
	}
	if (angle)
		cv_buf_append_char(out, '<');
	if (address->route.len > 0) {
		cv_buf_append(out, address->route);
		cv_buf_append_char(out, ':');
	}
	if (address->mailbox.len > 0 || address->host.len > 0)
		append_quoted(out, address->mailbox, false);
	if (address->host.len > 0) {
		cv_buf_append_char(out, '@');
		cv_buf_append(out, address->host);
	}
	if (angle)
		cv_buf_append_char(out, '>');
}
