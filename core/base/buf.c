/* SPDX-License-Identifier: MIT
   Growing buffers with a maximum and sticky failure. */
#include <config.h>

#include "core/base/grow.h"
#include <culver/buf.h>

#include <stdio.h>
#include <string.h>

#define MIN_CAP 64

/* What data points to while nothing is allocated (cap 0), so that it is a C string from the start. Never written. */
static char nothing[1];

void cv_buf_init(struct cv_buf *buf, size_t max)
{
	*buf = (struct cv_buf){ .data = nothing, .max = max };
}

void cv_buf_init_wipe(struct cv_buf *buf, size_t max)
{
	cv_buf_init(buf, max);
	buf->wipe = true;
}

void cv_buf_deinit(struct cv_buf *buf)
{
	if (buf->cap > 0) {
		if (buf->wipe)
			cv_wipe(buf->data, buf->cap);
		cv_free(buf->data);
	}
	*buf = (struct cv_buf){ .data = nothing, .max = buf->max, .wipe = buf->wipe };
}

void cv_buf_clear(struct cv_buf *buf)
{
	if (buf->cap > 0) {
		if (buf->wipe)
			cv_wipe(buf->data, buf->cap);
		buf->data[0] = '\0';
	}
	buf->len = 0;
	buf->failed = false;
}

struct cv_str cv_buf_str(const struct cv_buf *buf)
{
	return (struct cv_str){ .ptr = buf->data != NULL ? buf->data : nothing, .len = buf->len };
}

static void set_cap(struct cv_buf *buf, size_t cap)
{
	if (buf->cap == 0) {
		buf->data = cv_reallocarray(NULL, cap, 1);
		buf->data[0] = '\0';
	} else if (buf->wipe) {
		/* realloc would leave a copy behind. */
		char *data = cv_reallocarray(NULL, cap, 1);

		memcpy(data, buf->data, buf->len + 1);
		cv_wipe(buf->data, buf->cap);
		cv_free(buf->data);
		buf->data = data;
	} else {
		buf->data = cv_reallocarray(buf->data, cap, 1);
	}
	buf->cap = cap;
}

void *cv_buf_reserve(struct cv_buf *buf, size_t len)
{
	size_t need;

	if (buf->failed)
		return NULL;
	if (len > buf->max - buf->len || buf->len + len == SIZE_MAX) {
		buf->failed = true;
		return NULL;
	}
	need = buf->len + len + 1;
	if (need > buf->cap) {
		size_t cap = CV_MAX(buf->cap, MIN_CAP);

		while (cap < need)
			cap = cap > SIZE_MAX / 2 ? need : cap * 2;
		/* The maximum and its NUL: need is within it, as was just checked. */
		if (buf->max < SIZE_MAX)
			cap = CV_MIN(cap, buf->max + 1);
		set_cap(buf, cv_grow_cap(cap, need));
	}
	return buf->data + buf->len;
}

void cv_buf_commit(struct cv_buf *buf, size_t len)
{
	if (buf->failed)
		return;
	/* UNSAFE: written by the caller into what cv_buf_reserve gave; a longer commit is a bug that is caught here. */
	cv_assert(buf->cap > 0 && len <= buf->cap - buf->len - 1);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void cv_buf_append_mem(struct cv_buf *buf, const void *p, size_t len)
{
	void *to;

	if (len == 0)
		return;
	/* UNSAFE: len + 1 octets are free; cap is never more than max and one. */
	if (!buf->failed && len < buf->cap - buf->len) {
		memcpy(buf->data + buf->len, p, len);
		buf->len += len;
		buf->data[buf->len] = '\0';
		return;
	}
	to = cv_buf_reserve(buf, len);
	if (to == NULL)
		return;
	memcpy(to, p, len);
	cv_buf_commit(buf, len);
}

void cv_buf_append(struct cv_buf *buf, struct cv_str s)
{
	cv_buf_append_mem(buf, s.ptr, s.len);
}

void cv_buf_append_u64(struct cv_buf *buf, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	cv_buf_append_mem(buf, digits + at, sizeof(digits) - at);
}

void cv_buf_vprintf(struct cv_buf *buf, const char *fmt, va_list ap)
{
	char *to = cv_buf_reserve(buf, 0);
	va_list again;
	size_t room;
	int len;

	if (to == NULL)
		return;
	room = buf->cap - buf->len;
	va_copy(again, ap);
	len = vsnprintf(to, room, fmt, ap);
	if (len < 0) {
		buf->failed = true;
		*to = '\0';
	} else if ((size_t)len < room) {
		buf->len += (size_t)len;
	} else {
		*to = '\0';
		to = cv_buf_reserve(buf, (size_t)len);
		if (to != NULL) {
			(void)vsnprintf(to, (size_t)len + 1, fmt, again);
			cv_buf_commit(buf, (size_t)len);
		}
	}
	va_end(again);
}

void cv_buf_printf(struct cv_buf *buf, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cv_buf_vprintf(buf, fmt, ap);
	va_end(ap);
}

void cv_buf_consume(struct cv_buf *buf, size_t len)
{
	if (len == 0 || buf->len == 0)
		return;
	len = CV_MIN(len, buf->len);
	memmove(buf->data, buf->data + len, buf->len - len + 1);
	buf->len -= len;
	if (buf->wipe)
		cv_wipe(buf->data + buf->len, len);
}

void cv_buf_truncate(struct cv_buf *buf, size_t len)
{
	if (len >= buf->len)
		return;
	if (buf->wipe)
		cv_wipe(buf->data + len, buf->len - len);
	buf->len = len;
	buf->data[len] = '\0';
}
