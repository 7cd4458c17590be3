/* SPDX-License-Identifier: MIT
   Header fields on raw octets: iteration, unfolding, lookup and subsets. */
#include <config.h>

#include <culver/header.h>

#include <string.h>

/* Length of the line that starts at from, its line end included; up to the end when there is none. */
static size_t line_length(struct cv_str s, size_t from)
{
	size_t lf = cv_str_find(cv_str_sub(s, from, SIZE_MAX), '\n');

	return lf == SIZE_MAX ? s.len - from : lf + 1;
}

static bool line_is_empty(struct cv_str line)
{
	return cv_str_eq(line, CV_STR("\r\n")) || cv_str_eq(line, CV_STR("\n"));
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct cv_str strip_line_end(struct cv_str s)
{
	if (s.len > 0 && s.ptr[s.len - 1] == '\n') {
		s.len--;
		if (s.len > 0 && s.ptr[s.len - 1] == '\r')
			s.len--;
	}
	return s;
}

/* field-name = 1*ftext, ftext = %d33-57 / %d59-126; obs-optional = field-name *WSP ":" */
static bool split_name(struct cv_str raw, struct cv_str *name_r, struct cv_str *value_r)
{
	size_t len = 0, colon;

	while (len < raw.len && raw.ptr[len] > 32 && raw.ptr[len] < 127 && raw.ptr[len] != ':')
		len++;
	colon = len;
	while (colon < raw.len && is_blank(raw.ptr[colon]))
		colon++;
	if (len == 0 || colon == raw.len || raw.ptr[colon] != ':')
		return false;
	*name_r = cv_str_sub(raw, 0, len);
	*value_r = strip_line_end(cv_str_sub(raw, colon + 1, SIZE_MAX));
	return true;
}

void cv_header_iter_init(struct cv_header_iter *iter, struct cv_str header)
{
	*iter = (struct cv_header_iter){ .header = header };
}

bool cv_header_iter_next(struct cv_header_iter *iter, struct cv_header_field *field_r)
{
	struct cv_str header = iter->header;
	size_t start = iter->pos, len;

	if (start >= header.len)
		return false;
	len = line_length(header, start);
	if (line_is_empty(cv_str_sub(header, start, len))) {
		iter->pos = start + len;
		iter->header.len = iter->pos;
		return false;
	}
	while (start + len < header.len && is_blank(header.ptr[start + len]))
		len += line_length(header, start + len);
	iter->pos = start + len;
	field_r->raw = cv_str_sub(header, start, len);
	if (!split_name(field_r->raw, &field_r->name, &field_r->value)) {
		field_r->name = CV_STR("");
		field_r->value = strip_line_end(field_r->raw);
	}
	return true;
}

size_t cv_header_size(struct cv_str message)
{
	size_t pos = 0;

	while (pos < message.len) {
		size_t len = line_length(message, pos);

		pos += len;
		if (line_is_empty(cv_str_sub(message, pos - len, len)))
			break;
	}
	return pos;
}

bool cv_header_find(struct cv_str header, struct cv_str name, size_t nth, struct cv_header_field *field_r)
{
	struct cv_header_iter iter;

	cv_header_iter_init(&iter, header);
	while (cv_header_iter_next(&iter, field_r)) {
		if (field_r->name.len == name.len && cv_str_caseeq(field_r->name, name) && nth-- == 0)
			return true;
	}
	return false;
}

static bool name_is_listed(struct cv_str name, const struct cv_str *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (names[i].len == name.len && cv_str_caseeq(names[i], name))
			return true;
	}
	return false;
}

static void append_crlf_lines(struct cv_buf *out, struct cv_str raw)
{
	while (raw.len > 0) {
		size_t len = line_length(raw, 0);
		struct cv_str line = cv_str_sub(raw, 0, len);

		raw = cv_str_sub(raw, len, SIZE_MAX);
		if (cv_str_ends(line, CV_STR("\r\n")) || !cv_str_ends(line, CV_STR("\n"))) {
			cv_buf_append(out, line);
		} else {
			cv_buf_append(out, cv_str_sub(line, 0, len - 1));
			cv_buf_append(out, CV_STR("\r\n"));
		}
	}
}

void cv_header_subset(
	struct cv_buf *out, struct cv_str header, const struct cv_str *names, size_t count, unsigned opts)
{
	bool crlf = (opts & CV_HEADER_CRLF) != 0 || cv_str_find_str(header, CV_STR("\r\n")) != SIZE_MAX;
	struct cv_header_iter iter;
	struct cv_header_field field;

	cv_header_iter_init(&iter, header);
	while (cv_header_iter_next(&iter, &field)) {
		bool listed = field.name.len > 0 && name_is_listed(field.name, names, count);

		if (listed == ((opts & CV_HEADER_NOT) != 0))
			continue;
		if ((opts & CV_HEADER_CRLF) != 0)
			append_crlf_lines(out, field.raw);
		else
			cv_buf_append(out, field.raw);
		/* The last line of a header that stops without a line end must not run into what we add. */
		if (!cv_str_ends(field.raw, CV_STR("\n")))
			cv_buf_append(out, crlf ? CV_STR("\r\n") : CV_STR("\n"));
	}
	if ((opts & CV_HEADER_OPEN) == 0)
		cv_buf_append(out, crlf ? CV_STR("\r\n") : CV_STR("\n"));
}

void cv_header_unfold(struct cv_buf *out, struct cv_str value)
{
	bool fold = false;
	size_t from = 0;

	value = cv_str_trim(value);
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];
		struct cv_str with = CV_STR(" ");

		if (c == '\n' || (c == '\r' && i + 1 < value.len && value.ptr[i + 1] == '\n'))
			with.len = 0;
		else if (!(c == '\0' || c == '\r' || (c == '\t' && fold))) {
			fold = false;
			continue;
		}
		cv_buf_append(out, cv_str_sub(value, from, i - from));
		cv_buf_append(out, with);
		from = i + 1;
		fold = c == '\n';
	}
	cv_buf_append(out, cv_str_sub(value, from, SIZE_MAX));
}

bool cv_message_id_next(struct cv_reader *value, struct cv_str *id_r)
{
	struct cv_reader r = *value;
	struct cv_str skipped;

	while (cv_take_until(&r, '<', &skipped)) {
		struct cv_str rest = cv_reader_rest(&r);
		size_t end = cv_str_find(rest, '>'), again = cv_str_find(rest, '<');

		if (end == SIZE_MAX)
			break;
		if (again < end) /* "<<id>" and an id cut in half: begin at the later bracket */
			continue;
		if (end == 0) {
			r.pos++;
			continue;
		}
		*id_r = cv_str_sub(rest, 0, end);
		r.pos += end + 1;
		*value = r;
		return true;
	}
	return false;
}
