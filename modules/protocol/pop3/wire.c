/* SPDX-License-Identifier: MIT
   POP3: a stored message in the form that RETR and TOP send. */
#include <config.h>

#include "modules/protocol/pop3/pop3-session.h"

void cv_pop3_wire_init(struct cv_pop3_wire *wire, struct cv_str octets, unsigned workarounds)
{
	*wire = (struct cv_pop3_wire){ .octets = octets, .workarounds = workarounds };
}

/* A line has ended in front of pos: what does that mean for TOP? False: nothing more is wanted. */
static bool line_ended(struct cv_pop3_wire *wire)
{
	struct cv_str line = cv_str_sub(wire->octets, wire->line, wire->pos - wire->line);

	wire->line = wire->pos;
	if (wire->in_body) {
		if (wire->top)
			wire->lines_left--;
	} else {
		wire->in_body = cv_str_eq(line, CV_STR("\n")) || cv_str_eq(line, CV_STR("\r\n"));
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

static void append_text(const struct cv_pop3_wire *wire, struct cv_buf *out, struct cv_str text)
{
	size_t start = out->len;

	cv_buf_append(out, text);
	if ((wire->workarounds & CV_POP3_NO_NULS) != 0)
		replace_nuls(out, start);
}

/* The octets are used up: end the last line, and the header where a client needs that. */
static void finish(struct cv_pop3_wire *wire, struct cv_buf *out)
{
	wire->done = true;
	if (wire->line < wire->pos)
		cv_buf_append_c(out, "\r\n");
	/* Outlook Express waits for the end of the header for ever. */
	if (!wire->in_body && (wire->workarounds & CV_POP3_NS_EOH) != 0)
		cv_buf_append_c(out, "\r\n");
}

bool cv_pop3_wire_append(struct cv_pop3_wire *wire, struct cv_buf *out, size_t max)
{
	size_t begin = out->len;

	while (!wire->done && out->len - begin < max) {
		struct cv_str rest = cv_str_sub(wire->octets, wire->pos, max - (out->len - begin));
		size_t end = cv_str_find(rest, '\n');

		if (rest.len == 0) {
			finish(wire, out);
			break;
		}
		if (wire->pos == wire->line && rest.ptr[0] == '.')
			cv_buf_append_char(out, '.');
		if (end == SIZE_MAX) {
			append_text(wire, out, rest);
			wire->pos += rest.len;
			continue;
		}
		append_text(wire, out, cv_str_sub(rest, 0, end));
		/* The CR may have been in the slice before. */
		wire->pos += end;
		cv_buf_append_c(out, wire->pos > 0 && wire->octets.ptr[wire->pos - 1] == '\r' ? "\n" : "\r\n");
		wire->pos++;
		if (!line_ended(wire))
			wire->done = true;
	}
	return wire->done;
}
