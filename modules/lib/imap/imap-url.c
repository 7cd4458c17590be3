/* SPDX-License-Identifier: MIT
   IMAP URLs: a reference is resolved against its base as RFC 3986 says, then its path is taken apart. */
#include <config.h>

#include "imap-url.h"

#include "imap-parser.h"

#include <culver/reader.h>
#include <culver/time.h>

static int invalid(struct cv_err *err, const char *what)
{
	return cv_err_set_public(err, CV_ERR_INVALID, "%s", what);
}

/* ---- Percent-encoding --------------------------------------------------------------------------------- */

bool cv_imap_url_decode(struct cv_arena *arena, struct cv_str s, struct cv_str *decoded_r)
{
	char *out = cv_arena_alloc(arena, s.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < s.len; i++) {
		int high, low;

		if (s.ptr[i] != '%') {
			out[len++] = s.ptr[i];
			continue;
		}
		if (s.len - i < 3 || (high = cv_hex_digit(s.ptr[i + 1])) < 0 || (low = cv_hex_digit(s.ptr[i + 2])) < 0 || (high == 0 && low == 0))
			return false;
		out[len++] = (char)(high << 4 | low);
		i += 2;
	}
	*decoded_r = cv_str_mem(out, len);
	return true;
}

/* unreserved / sub-delims-sh / "&" / "=" (RFC 5092 section 11) */
static bool is_achar(char c)
{
	return cv_is_alnum(c) || (c != '\0' && strchr("-._~!$'()*+,&=", c) != NULL);
}

/* bchar = achar / ":" / "@" / "/"; and the "%" of pct-encoded. */
static bool is_bchar(char c)
{
	return is_achar(c) || c == ':' || c == '@' || c == '/' || c == '%';
}

static bool is_user_char(char c)
{
	return is_achar(c) || c == '%';
}

void cv_imap_url_append_mailbox(struct cv_buf *out, struct cv_str mailbox)
{
	for (size_t i = 0; i < mailbox.len; i++) {
		if (is_achar(mailbox.ptr[i]) || mailbox.ptr[i] == '/')
			cv_buf_append_char(out, mailbox.ptr[i]);
		else
			cv_buf_printf(out, "%%%02X", (unsigned)(unsigned char)mailbox.ptr[i]);
	}
}

/* ---- References --------------------------------------------------------------------------------------- */

/* RFC 3986 section 5.2.4, on a path that begins with "/". */
static struct cv_str remove_dot_segments(struct cv_arena *arena, struct cv_str path)
{
	char *out = cv_arena_alloc(arena, path.len + 1);
	size_t len = 0;

	while (path.len > 0) {
		size_t end = cv_str_find(cv_str_sub(path, 1, SIZE_MAX), '/');
		struct cv_str segment = end == SIZE_MAX ? path : cv_str_sub(path, 0, end + 1);

		path = cv_str_sub(path, segment.len, SIZE_MAX);
		if (cv_str_eq_c(segment, "/.") || cv_str_eq_c(segment, "/..")) {
			if (segment.len == 3)
				while (len > 0 && out[--len] != '/')
					;
			if (path.len == 0)
				out[len++] = '/';
			continue;
		}
		memcpy(out + len, segment.ptr, segment.len);
		len += segment.len;
	}
	return cv_str_mem(out, len);
}

/* iserver = [iuserinfo "@"] host [":" port] */
static int parse_server(struct cv_arena *arena, struct cv_str server, struct cv_imap_url *url, struct cv_err *err)
{
	size_t at = cv_str_rfind(server, '@');
	struct cv_reader in;
	struct cv_str user;

	url->has_server = true;
	if (at != SIZE_MAX) {
		in = cv_reader_init(cv_str_sub(server, 0, at));
		user = cv_take_while(&in, is_user_char);
		if (!cv_reader_end(&in) && !cv_take_caselit(&in, CV_STR(";AUTH=")))
			return invalid(err, "Invalid user name in the URL");
		if (user.len > 0 && !cv_imap_url_decode(arena, user, &url->user))
			return invalid(err, "Invalid percent-encoding in the URL");
		server = cv_str_sub(server, at + 1, SIZE_MAX);
	}
	if (server.len == 0)
		return invalid(err, "The URL names no server");
	url->server = server;
	return 0;
}

/* The path that the reference stands for, which begins with "/" or is empty. */
static int resolve(struct cv_arena *arena, struct cv_str s, struct cv_str base, struct cv_imap_url *url, struct cv_str *path_r, struct cv_err *err)
{
	struct cv_str scheme = CV_STR("imap:");
	size_t end;

	if (cv_str_casestarts(s, scheme)) {
		s = cv_str_sub(s, scheme.len, SIZE_MAX);
		if (!cv_str_starts(s, CV_STR("//")))
			return invalid(err, "The URL names no server");
	}
	if (cv_str_starts(s, CV_STR("//"))) {
		s = cv_str_sub(s, 2, SIZE_MAX);
		end = cv_str_find(s, '/');
		if (parse_server(arena, cv_str_sub(s, 0, end), url, err) < 0)
			return -1;
		s = end == SIZE_MAX ? CV_STR("") : cv_str_sub(s, end, SIZE_MAX);
	} else if (s.len == 0 || s.ptr[0] != '/') {
		/* A scheme of another kind has its ":" before any "/". */
		if (cv_str_find(s, ':') < cv_str_find(s, ';') && cv_str_find(s, ':') < cv_str_find(s, '/'))
			return invalid(err, "Only imap: URLs are known");
		/* RFC 5092 section 9.1: "<;UID=20> references a message with UID in the mailbox specified by the Base URI". Names of mailboxes are not
		   taken from there (section 7.2). */
		if (base.ptr == NULL || !cv_str_casestarts(s, CV_STR(";UID=")))
			return invalid(err, "The URL must begin with / or name a message of the selected mailbox");
		s = cv_str_c(cv_arena_printf(arena, "/%.*s/%.*s", (int)base.len, base.ptr, (int)s.len, s.ptr));
	}
	*path_r = remove_dot_segments(arena, s);
	return 0;
}

/* ---- Message and part --------------------------------------------------------------------------------- */

/* imailbox-ref = enc-mailbox [";UIDVALIDITY=" nz-number], the reader behind the path's first "/". Leaves the reader at what follows: "/;UID=" or the end. */
static int take_mailbox(struct cv_arena *arena, struct cv_reader *in, struct cv_imap_url *url, struct cv_err *err)
{
	struct cv_str mailbox = cv_take_while(in, is_bchar);

	/* The "/" before ";UID=" is no part of the name. */
	if (mailbox.len > 0 && mailbox.ptr[mailbox.len - 1] == '/' && cv_peek(in) == ';') {
		mailbox.len--;
		in->pos--;
	}
	if (mailbox.len == 0)
		return invalid(err, "The URL names no mailbox");
	if (!cv_imap_url_decode(arena, mailbox, &url->mailbox))
		return invalid(err, "Invalid percent-encoding in the URL");
	if (cv_take_caselit(in, CV_STR(";UIDVALIDITY=")) && (!cv_parse_u32(in, UINT32_MAX, &url->uidvalidity) || url->uidvalidity == 0))
		return invalid(err, "Invalid UIDVALIDITY in the URL");
	return 0;
}

/* [isection] [ipartial] */
static int take_part(struct cv_arena *arena, struct cv_reader *in, struct cv_imap_url *url, struct cv_err *err)
{
	struct cv_str section;

	if (cv_take_caselit(in, CV_STR("/;SECTION="))) {
		section = cv_take_while(in, is_bchar);
		if (section.len > 0 && section.ptr[section.len - 1] == '/' && cv_peek(in) == ';') {
			section.len--;
			in->pos--;
		}
		if (section.len == 0 || !cv_imap_url_decode(arena, section, &url->section))
			return invalid(err, "Invalid section in the URL");
	}
	if (cv_take_caselit(in, CV_STR("/;PARTIAL="))) {
		url->partial = true;
		if (!cv_parse_u64(in, INT64_MAX, &url->offset) ||
			(cv_take_char(in, '.') && (!cv_parse_u64(in, INT64_MAX, &url->length) || url->length == 0)))
			return invalid(err, "Invalid partial range in the URL");
	}
	return 0;
}

static bool is_date_char(char c)
{
	return cv_is_alnum(c) || c == ':' || c == '.' || c == '+' || c == '-';
}

static bool is_mechanism_char(char c)
{
	return cv_is_alnum(c) || c == '-' || c == '.';
}

static bool is_hex_char(char c)
{
	return cv_hex_digit(c) >= 0;
}

/* Exactly so many digits. */
static bool take_digits(struct cv_reader *in, size_t count, int *n_r)
{
	struct cv_str digits;

	*n_r = 0;
	if (!cv_take_len(in, count, &digits))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!cv_is_digit(digits.ptr[i]))
			return false;
		*n_r = *n_r * 10 + (digits.ptr[i] - '0');
	}
	return true;
}

static bool is_digit(char c)
{
	return cv_is_digit(c);
}

bool cv_imap_url_expire(const struct cv_imap_url *url, int64_t *sec_r)
{
	struct cv_reader in = cv_reader_init(url->expire);
	int year, month, day, hour, minute, second, zone_hour = 0, zone_minute = 0, sign = 1;
	char c;

	if (!take_digits(&in, 4, &year) || !cv_take_char(&in, '-') || !take_digits(&in, 2, &month) || !cv_take_char(&in, '-') ||
		!take_digits(&in, 2, &day) || !cv_take_caselit(&in, CV_STR("T")) || !take_digits(&in, 2, &hour) || !cv_take_char(&in, ':') ||
		!take_digits(&in, 2, &minute) || !cv_take_char(&in, ':') || !take_digits(&in, 2, &second))
		return false;
	if (cv_take_char(&in, '.') && cv_take_while(&in, is_digit).len == 0)
		return false;
	if (!cv_take_any(&in, &c))
		return false;
	if (c == '+' || c == '-') {
		sign = c == '-' ? -1 : 1;
		if (!take_digits(&in, 2, &zone_hour) || !cv_take_char(&in, ':') || !take_digits(&in, 2, &zone_minute))
			return false;
	} else if (c != 'Z' && c != 'z') {
		return false;
	}
	if (!cv_reader_end(&in) || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 || zone_hour > 23 ||
		zone_minute > 59)
		return false;
	*sec_r = cv_time_from_civil(year, month, day, hour, minute, second) - (int64_t)sign * (zone_hour * 3600 + zone_minute * 60);
	return true;
}

/* [";EXPIRE=" date-time] ";URLAUTH=" access [":" mechanism ":" token] */
static int take_urlauth(struct cv_reader *in, struct cv_imap_url *url, struct cv_err *err)
{
	struct cv_str rump;

	if (cv_take_caselit(in, CV_STR(";EXPIRE="))) {
		url->expire = cv_take_while(in, is_date_char);
		if (url->expire.len == 0)
			return invalid(err, "Invalid EXPIRE in the URL");
	}
	if (!cv_take_caselit(in, CV_STR(";URLAUTH=")))
		return url->expire.ptr == NULL ? 0 : invalid(err, "EXPIRE needs URLAUTH behind it in the URL");
	url->access = cv_take_while(in, is_user_char);
	if (url->access.len == 0)
		return invalid(err, "Invalid access identifier in the URL");
	rump = cv_str_sub(in->s, 0, in->pos);
	if (!cv_take_char(in, ':'))
		return 0;
	url->rump = rump;
	url->mechanism = cv_take_while(in, is_mechanism_char);
	if (url->mechanism.len == 0 || !cv_take_char(in, ':'))
		return invalid(err, "Invalid mechanism in the URL");
	url->token = cv_take_while(in, is_hex_char);
	if (url->token.len < 32)
		return invalid(err, "Invalid token in the URL");
	return 0;
}

/* icommand, without the path's first "/". */
static int take_command(struct cv_arena *arena, struct cv_reader *in, struct cv_imap_url *url, struct cv_err *err)
{
	if (take_mailbox(arena, in, url, err) < 0)
		return -1;
	if (cv_take_caselit(in, CV_STR("/;UID="))) {
		if (!cv_parse_u32(in, UINT32_MAX, &url->uid) || url->uid == 0)
			return invalid(err, "Invalid UID in the URL");
		if (take_part(arena, in, url, err) < 0 || take_urlauth(in, url, err) < 0)
			return -1;
	} else if (cv_take_char(in, '?')) {
		in->pos = in->s.len; /* a search: of no use here */
	}
	return cv_reader_end(in) ? 0 : invalid(err, "Invalid text in the URL");
}

int cv_imap_url_parse(struct cv_arena *arena, struct cv_str url, struct cv_str base, struct cv_imap_url *url_r, struct cv_err *err)
{
	struct cv_str path = CV_STR("");
	struct cv_reader in;

	*url_r = (struct cv_imap_url){ 0 };
	if (url.len > CV_IMAP_URL_MAX)
		return invalid(err, "The URL is too long");
	for (size_t i = 0; i < url.len; i++)
		if ((unsigned char)url.ptr[i] <= ' ' || (unsigned char)url.ptr[i] >= 0x7f)
			return invalid(err, "Invalid character in the URL");
	if (resolve(arena, url, base, url_r, &path, err) < 0)
		return -1;
	if (path.len <= 1)
		return 0;
	in = cv_reader_init(cv_str_sub(path, 1, SIZE_MAX));
	if (take_command(arena, &in, url_r, err) < 0)
		return -1;
	/* RFC 4467 section 6: what is taken off "MUST be the only operation applied to the URLAUTH-authorized URL to get the rump URL". */
	if (url_r->rump.ptr != NULL)
		url_r->rump = cv_str_sub(url, 0, url.len - url_r->token.len - url_r->mechanism.len - 2);
	return 0;
}

/* ---- Section ------------------------------------------------------------------------------------------ */

int cv_imap_url_section(struct cv_arena *arena, const struct cv_imap_url *url, struct cv_imap_section *section_r, struct cv_err *err)
{
	struct cv_imap_parser *parser = cv_imap_parser_new(NULL);
	struct cv_imap_fetch fetch = { 0 };
	const struct cv_imap_arg *arg;
	struct cv_str *fields;
	struct cv_err why = { 0 };
	struct cv_buf line;
	size_t used;
	bool ok = false;

	/* What FETCH would be given: its own parser takes it. A line end in the section leaves something behind the command. */
	cv_buf_init(&line, CV_IMAP_URL_MAX + 64);
	cv_buf_printf(&line, "a FETCH BODY.PEEK[%.*s]\r\n", (int)url->section.len, url->section.ptr != NULL ? url->section.ptr : "");
	if (cv_buf_ok(&line) && cv_imap_parser_feed(parser, cv_buf_str(&line), &used, &why) == CV_IMAP_COMMAND && used == line.len) {
		arg = cv_imap_parser_args(parser);
		ok = arg != NULL && cv_imap_fetch_parse(arena, &arg, &fetch, &why) == 0 && arg == NULL && fetch.section_count == 1 && fetch.items == 0 &&
			!fetch.sections[0].partial;
	}
	if (ok) {
		/* The names are in the parser's memory. */
		fields = cv_new(arena, struct cv_str, CV_MAX(fetch.sections[0].field_count, (size_t)1));
		for (size_t i = 0; i < fetch.sections[0].field_count; i++)
			fields[i] = cv_arena_str(arena, fetch.sections[0].fields[i]);
		*section_r = fetch.sections[0];
		section_r->fields = fields;
		section_r->partial = url->partial;
		section_r->offset = url->offset;
		section_r->length = url->length > 0 ? url->length : INT64_MAX;
	}
	cv_buf_deinit(&line);
	cv_imap_parser_free(&parser);
	return ok ? 0 : invalid(err, "Invalid section in the URL");
}
