/* SPDX-License-Identifier: MIT
   POP3: a stored message in the form that RETR and TOP send. */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

#include <string.h>

void cv_pop3_wire_init(struct cv_pop3_wire *wire, struct cv_message_reader *reader, unsigned workarounds)
{
	*wire = (struct cv_pop3_wire){ .reader = reader, .workarounds = workarounds };
}

void cv_pop3_wire_replace(struct cv_pop3_wire *wire, const struct cv_pop3_piece *pieces, size_t count)
{
	wire->pieces = pieces;
	wire->piece_count = count;
}

/* The octets that come next, in the message or in what stands in their place: 1, 0 at the end, -1. */
static int at_hand(struct cv_pop3_wire *wire, size_t max, struct cv_str *rest_r, struct cv_err *err)
{
	while (wire->piece < wire->piece_count) {
		const struct cv_pop3_piece *piece = &wire->pieces[wire->piece];

		if (wire->pos < piece->begin)
			return cv_message_reader_get(wire->reader, wire->pos, CV_MIN(max, piece->begin - wire->pos), rest_r, err);
		if (wire->in_piece < piece->text.len) {
			*rest_r = cv_str_sub(piece->text, wire->in_piece, max);
			return 1;
		}
		wire->pos = piece->end;
		wire->in_piece = 0;
		wire->piece++;
	}
	return cv_message_reader_get(wire->reader, wire->pos, max, rest_r, err);
}

static void consume(struct cv_pop3_wire *wire, size_t len)
{
	if (wire->piece < wire->piece_count && wire->pos >= wire->pieces[wire->piece].begin)
		wire->in_piece += len;
	else
		wire->pos += len;
}

/* A line has ended: what does that mean for TOP? False: nothing more is wanted. */
static bool line_ended(struct cv_pop3_wire *wire)
{
	bool is_empty = wire->line_len == 0 || (wire->line_len == 1 && wire->last == '\r');

	wire->line_len = 0;
	wire->last = '\n';
	if (wire->in_body) {
		if (wire->top)
			wire->lines_left--;
	} else {
		wire->in_body = is_empty;
	}
	return !wire->top || !wire->in_body || wire->lines_left > 0;
}

/* Outlook takes a NUL for the end of the message. */
static void replace_nuls(struct cv_buf *out, size_t start)
{
	for (size_t i = start; i < out->len; i++) {
		if (out->data[i] == '\0')
			out->data[i] = (char)0x80;
	}
}

static void append_text(struct cv_pop3_wire *wire, struct cv_buf *out, struct cv_str text)
{
	size_t start = out->len;

	if (text.len == 0)
		return;
	cv_buf_append(out, text);
	if ((wire->workarounds & CV_POP3_NO_NULS) != 0)
		replace_nuls(out, start);
	wire->line_len += text.len;
	wire->last = text.ptr[text.len - 1];
}

/* The octets are used up: end the last line, and the header where a client needs that. */
static void finish(struct cv_pop3_wire *wire, struct cv_buf *out)
{
	wire->done = true;
	if (wire->line_len > 0)
		cv_buf_append_c(out, "\r\n");
	/* Outlook Express waits for the end of the header for ever. */
	if (!wire->in_body && (wire->workarounds & CV_POP3_NS_EOH) != 0)
		cv_buf_append_c(out, "\r\n");
}

/* Of what begins a line: how many octets go out as they are, whole lines that end in CRLF and do not begin with a dot. */
static size_t plain_lines(struct cv_str text)
{
	size_t len = 0;

	while (len < text.len && text.ptr[len] != '.') {
		const char *end = memchr(text.ptr + len, '\n', text.len - len);

		if (end == NULL || end == text.ptr || end[-1] != '\r')
			break;
		len = (size_t)(end - text.ptr) + 1;
	}
	return len;
}

/* The same where all lines are known to end in CRLF: only dots are looked for, of which encoded attachments have none. */
static size_t lines_without_dot(struct cv_str text)
{
	const char *end = memrchr(text.ptr, '\n', text.len), *dot = text.ptr;
	size_t len = end != NULL ? (size_t)(end - text.ptr) + 1 : 0;

	while ((dot = memchr(dot, '.', len - (size_t)(dot - text.ptr))) != NULL) {
		if (dot == text.ptr || dot[-1] == '\n')
			return (size_t)(dot - text.ptr);
		dot++;
	}
	return len;
}

/* Most messages need nothing done to them: many lines at once. Where the header ends must be known for TOP, and for a client that waits for it. 0: there are
   none, or that is not known yet. */
static size_t plain_run(const struct cv_pop3_wire *wire, struct cv_str rest)
{
	if (wire->top || wire->line_len > 0 || (wire->workarounds & CV_POP3_NO_NULS) != 0 ||
		(!wire->in_body && (wire->workarounds & CV_POP3_NS_EOH) != 0))
		return 0;
	return wire->crlf ? lines_without_dot(rest) : plain_lines(rest);
}

static void consume_run(struct cv_pop3_wire *wire, size_t len)
{
	wire->last = '\n';
	consume(wire, len);
}

int cv_pop3_wire_run(struct cv_pop3_wire *wire, size_t least, size_t max, struct cv_str *run_r, struct cv_err *err)
{
	struct cv_str rest;
	size_t len;
	int ret;

	cv_assert(least > 0);
	if (wire->done || wire->reader->size - wire->pos < least || max < least)
		return 0;
	ret = at_hand(wire, max, &rest, err);
	if (ret <= 0 || rest.len < least)
		return ret < 0 ? -1 : 0;
	len = plain_run(wire, rest);
	if (len < least)
		return 0;
	*run_r = cv_str_sub(rest, 0, len);
	consume_run(wire, len);
	return 1;
}

int cv_pop3_wire_append(struct cv_pop3_wire *wire, struct cv_buf *out, size_t max, struct cv_err *err)
{
	size_t begin = out->len;

	while (!wire->done && out->len - begin < max) {
		struct cv_str rest;
		int ret = at_hand(wire, max - (out->len - begin), &rest, err);
		size_t end, run;

		if (ret < 0)
			return -1;
		if (ret == 0) {
			finish(wire, out);
			break;
		}
		run = plain_run(wire, rest);
		if (run > 0) {
			cv_buf_append(out, cv_str_sub(rest, 0, run));
			consume_run(wire, run);
			continue;
		}
		end = cv_str_find(rest, '\n');
		if (wire->line_len == 0 && rest.ptr[0] == '.')
			cv_buf_append_char(out, '.');
		if (end == SIZE_MAX) {
			append_text(wire, out, rest);
			consume(wire, rest.len);
			continue;
		}
		append_text(wire, out, cv_str_sub(rest, 0, end));
		/* The CR may have been in the slice before. */
		cv_buf_append_c(out, wire->line_len > 0 && wire->last == '\r' ? "\n" : "\r\n");
		consume(wire, end + 1);
		if (!line_ended(wire))
			wire->done = true;
	}
	return wire->done;
}
