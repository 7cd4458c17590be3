/* SPDX-License-Identifier: MIT
   i;unicode-casemap (RFC 5051): titlecase, then compatibility decomposition, character by character. */
#include <config.h>

#include "core/message/casemap-private.h"

#include <culver/search.h>

#include <string.h>
#include <utf8proc.h>

#define DECOMPOSED_MAX 32 /* U+FDFA becomes 18, the most of all */

static void append_mapped(struct cv_buf *out, utf8proc_int32_t code_point)
{
	utf8proc_int32_t mapped[DECOMPOSED_MAX];
	int boundary = 0;
	/* UnicodeData.txt has no titlecase for U+00DF; utf8proc knows it a capital since its version 2.3 */
	utf8proc_int32_t title = code_point == 0xDF ? code_point : utf8proc_totitle(code_point);
	utf8proc_ssize_t n = utf8proc_decompose_char(title, mapped, DECOMPOSED_MAX,
		(utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT), &boundary);

	if (n < 0 || n > DECOMPOSED_MAX) {
		cv_buf_append_utf8(out, (uint32_t)code_point);
		return;
	}
	for (utf8proc_ssize_t i = 0; i < n; i++)
		cv_buf_append_utf8(out, (uint32_t)mapped[i]);
}

#define BLOCK 32

/* BLOCK octets in upper case; false when not all are ASCII. Local arrays, of which compilers make vector code. */
static bool map_block(char *to, const char *from)
{
	uint8_t in[BLOCK], out[BLOCK], any = 0;

	memcpy(in, from, BLOCK);
	for (size_t i = 0; i < BLOCK; i++) {
		any |= in[i];
		out[i] = (uint8_t)(in[i] - ((uint8_t)(in[i] - 'a') < 26 ? 32 : 0));
	}
	memcpy(to, out, BLOCK);
	return (any & 0x80) == 0;
}

/* Append the ASCII that s starts with, in upper case; returns its length. */
static size_t append_ascii(struct cv_buf *out, struct cv_str s)
{
	size_t done = 0;

	while (done < s.len) {
		size_t n = 0, take = CV_MIN(s.len - done, (size_t)4096);
		char *to = cv_buf_reserve(out, take);

		if (to == NULL)
			return s.len;
		/* UNSAFE: n + BLOCK <= take, which both sides have. */
		while (take - n >= BLOCK && map_block(to + n, s.ptr + done + n))
			n += BLOCK;
		while (n < take && (uint8_t)s.ptr[done + n] < 0x80) {
			to[n] = cv_upper(s.ptr[done + n]);
			n++;
		}
		cv_buf_commit(out, n);
		done += n;
		if (n < take)
			break;
	}
	return done;
}

void cv_casemap_valid(struct cv_buf *out, struct cv_str utf8)
{
	size_t pos = 0;

	while (pos < utf8.len && cv_buf_ok(out)) {
		utf8proc_int32_t code_point;
		utf8proc_ssize_t len;

		pos += append_ascii(out, cv_str_sub(utf8, pos, SIZE_MAX));
		while (pos < utf8.len && (uint8_t)utf8.ptr[pos] >= 0x80) {
			struct cv_str rest = cv_str_sub(utf8, pos, 4);

			len = utf8proc_iterate((const utf8proc_uint8_t *)rest.ptr, (utf8proc_ssize_t)rest.len, &code_point);
			cv_assert(len > 0); /* the caller gives well-formed UTF-8 */
			append_mapped(out, code_point);
			pos += (size_t)len;
		}
	}
}

void cv_casemap(struct cv_buf *out, struct cv_str utf8)
{
	if (cv_str_is_utf8(utf8))
		cv_casemap_valid(out, utf8);
	else
		cv_buf_append(out, utf8);
}

static bool compare(struct cv_str a, struct cv_str b, bool substring)
{
	struct cv_buf mapped_a, mapped_b;
	bool result;

	cv_buf_init(&mapped_a, SIZE_MAX);
	cv_buf_init(&mapped_b, SIZE_MAX);
	cv_casemap(&mapped_a, a);
	cv_casemap(&mapped_b, b);
	result = substring ? cv_str_find_str(cv_buf_str(&mapped_a), cv_buf_str(&mapped_b)) != SIZE_MAX :
			     cv_str_eq(cv_buf_str(&mapped_a), cv_buf_str(&mapped_b));
	cv_buf_deinit(&mapped_a);
	cv_buf_deinit(&mapped_b);
	return result;
}

bool cv_casemap_eq(struct cv_str a, struct cv_str b)
{
	return compare(a, b, false);
}

bool cv_casemap_contains(struct cv_str text, struct cv_str needle)
{
	return compare(text, needle, true);
}
