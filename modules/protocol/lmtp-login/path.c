/* SPDX-License-Identifier: MIT
   LMTP: paths and parameters of MAIL and RCPT (RFC 5321 section 4.1.2). */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"


#include <arpa/inet.h>

/* Real local parts (VERP, SRS) are longer than the 64 octets of RFC 5321 section 4.5.3.1.1. */
#define LOCAL_MAX 256
#define DOMAIN_MAX 255

static bool is_atext(char c)
{
	return cv_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_label(char c)
{
	return cv_is_alnum(c) || c == '-' || c == '_';
}

/* Dot-string = Atom *("." Atom) */
static bool take_dot_string(struct cv_reader *r, struct cv_str *s_r)
{
	struct cv_str rest = cv_reader_rest(r);
	size_t start = r->pos;

	do {
		if (cv_take_while(r, is_atext).len == 0) {
			r->pos = start;
			return false;
		}
	} while (cv_take_char(r, '.'));
	*s_r = cv_str_sub(rest, 0, r->pos - start);
	return true;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE; the value goes into out. */
static bool take_quoted(struct cv_reader *r, struct cv_buf *out)
{
	size_t start = r->pos;
	char c = '\0';

	if (!cv_take_char(r, '"'))
		return false;
	while (cv_take_any(r, &c) && c != '"') {
		if (c == '\\' && !cv_take_any(r, &c))
			break;
		if (c < ' ' || c > '~')
			break;
		cv_buf_append_char(out, c);
		c = '\0';
	}
	if (c != '"' || !cv_buf_ok(out) || out->len == 0) {
		r->pos = start;
		return false;
	}
	return true;
}

static bool take_local(struct cv_reader *r, struct cv_arena *arena, struct cv_str *local_r)
{
	struct cv_buf value;
	bool ok;

	if (cv_peek(r) != '"')
		return take_dot_string(r, local_r) && local_r->len <= LOCAL_MAX;
	cv_buf_init(&value, LOCAL_MAX);
	ok = take_quoted(r, &value);
	if (ok)
		*local_r = cv_arena_str(arena, cv_buf_str(&value));
	cv_buf_deinit(&value);
	return ok;
}

/* address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"; of the general ones, none but
   IPv6 is registered. */
static bool is_literal(struct cv_str s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;
	bool v6 = cv_str_casestarts(s, CV_STR("IPv6:"));

	if (v6)
		s = cv_str_sub(s, strlen("IPv6:"), SIZE_MAX);
	if (s.len >= sizeof(text) || cv_str_has_nul(s))
		return false;
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	return inet_pton(v6 ? AF_INET6 : AF_INET, text, &addr) == 1;
}

/* Domain = sub-domain *("." sub-domain), or address-literal */
static bool take_domain(struct cv_reader *r, struct cv_str *domain_r)
{
	struct cv_str rest = cv_reader_rest(r), inner;
	size_t start = r->pos;

	if (cv_take_char(r, '[')) {
		if (!cv_take_until(r, ']', &inner) || !is_literal(inner))
			goto fail;
	} else {
		do {
			if (cv_take_while(r, is_label).len == 0)
				goto fail;
		} while (cv_take_char(r, '.'));
	}
	*domain_r = cv_str_sub(rest, 0, r->pos - start);
	if (domain_r->len <= DOMAIN_MAX)
		return true;
fail:
	r->pos = start;
	return false;
}

bool cv_lmtp_is_domain(struct cv_str s)
{
	struct cv_reader r = cv_reader_init(s);
	struct cv_str domain;

	return take_domain(&r, &domain) && cv_reader_end(&r);
}

/* A-d-l = At-domain *( "," At-domain ), and the colon behind it: taken and forgotten (RFC 5321 appendix C). */
static bool take_route(struct cv_reader *r)
{
	struct cv_str domain;

	do {
		if (!cv_take_char(r, '@') || !take_domain(r, &domain))
			return false;
	} while (cv_take_char(r, ','));
	return cv_take_char(r, ':');
}

bool cv_lmtp_take_path(struct cv_reader *r, bool empty_allowed, struct cv_arena *arena, struct cv_lmtp_path *path_r)
{
	struct cv_lmtp_path path = { 0 };
	size_t start = r->pos, mailbox;
	struct cv_str rest;

	if (!cv_take_char(r, '<'))
		goto fail;
	if (empty_allowed && cv_take_char(r, '>')) {
		path.text = path.local = CV_STR("");
		*path_r = path;
		return true;
	}
	if (cv_peek(r) == '@' && !take_route(r))
		goto fail;
	mailbox = r->pos;
	rest = cv_reader_rest(r);
	if (!take_local(r, arena, &path.local) || (cv_take_char(r, '@') && !take_domain(r, &path.domain)))
		goto fail;
	path.text = cv_str_sub(rest, 0, r->pos - mailbox);
	if (!cv_take_char(r, '>'))
		goto fail;
	*path_r = path;
	return true;
fail:
	r->pos = start;
	return false;
}

static bool is_keyword(char c)
{
	return cv_is_alnum(c) || c == '-';
}

/* esmtp-value = 1*(%d33-60 / %d62-126) */
static bool is_value(char c)
{
	return c > ' ' && c <= '~' && c != '=';
}

bool cv_lmtp_take_param(struct cv_reader *r, struct cv_str *keyword_r, struct cv_str *value_r)
{
	struct cv_str keyword, value = { NULL, 0 };
	size_t start = r->pos;

	keyword = cv_take_while(r, is_keyword);
	if (keyword.len == 0 || keyword.ptr[0] == '-')
		goto fail;
	if (cv_take_char(r, '=')) {
		value = cv_take_while(r, is_value);
		if (value.len == 0)
			goto fail;
	}
	*keyword_r = keyword;
	*value_r = value;
	return true;
fail:
	r->pos = start;
	return false;
}
