/* SPDX-License-Identifier: MIT
   Text from outside made safe for a log line. */
#include <config.h>

#include "core/log/log-private.h"

#include <string.h>

static const char ellipsis[] = "\xe2\x80\xa6";

void cv_log_add(struct cv_log_text *t, const char *s, size_t len)
{
	if (t->cut)
		return;
	if (len > t->size - t->len) {
		t->cut = true;
		return;
	}
	memcpy(t->data + t->len, s, len);
	t->len += len;
}

/* Length of the printable UTF-8 character at i, or 0: controls (C0, DEL, C1) are not printable. */
static size_t printable(struct cv_str s, size_t i)
{
	unsigned char c = (unsigned char)s.ptr[i];
	size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	if (c < 0x20 || c == 0x7f)
		return 0;
	if (len > s.len - i || !cv_str_is_utf8(cv_str_sub(s, i, len)))
		return 0;
	if (c == 0xc2 && (unsigned char)s.ptr[i + 1] < 0xa0)
		return 0;
	return len;
}

void cv_log_add_escaped(struct cv_log_text *t, struct cv_str s, bool quoted)
{
	static const char hex[] = "0123456789abcdef";
	size_t i = 0;

	while (i < s.len && !t->cut) {
		unsigned char c = (unsigned char)s.ptr[i];
		size_t len = printable(s, i);

		if (len == 0) {
			const char escape[] = { '\\', 'x', hex[c >> 4], hex[c & 15] };

			cv_log_add(t, escape, sizeof(escape));
			i++;
		} else if (quoted && (c == '\\' || c == '"')) {
			const char escape[] = { '\\', (char)c };

			cv_log_add(t, escape, sizeof(escape));
			i++;
		} else {
			cv_log_add(t, s.ptr + i, len);
			i += len;
		}
	}
}

void cv_log_add_value(struct cv_log_text *t, struct cv_str s)
{
	bool quote = s.len == 0, cut = s.len > CV_LOG_VALUE_MAX;

	if (cut) {
		s.len = CV_LOG_VALUE_MAX;
		while (s.len > 0 && ((unsigned char)s.ptr[s.len] & 0xc0) == 0x80 &&
			s.len > CV_LOG_VALUE_MAX - 3)
			s.len--;
	}
	for (size_t i = 0; i < s.len; i++)
		quote = quote || s.ptr[i] == ' ' || s.ptr[i] == '"' || s.ptr[i] == '\\';
	if (quote)
		cv_log_add(t, "\"", 1);
	cv_log_add_escaped(t, s, true);
	if (cut)
		cv_log_add(t, ellipsis, sizeof(ellipsis) - 1);
	if (quote)
		cv_log_add(t, "\"", 1);
}

const char *cv_log_clean(struct cv_str s)
{
	static char rings[8][CV_LOG_VALUE_MAX * 4 + 8];
	static unsigned next;
	char *data = rings[next++ % CV_COUNT_OF(rings)];
	struct cv_log_text t = { .data = data, .size = sizeof(rings[0]) - 1 };

	cv_log_add_value(&t, s);
	data[t.len] = '\0';
	return data;
}
