/* SPDX-License-Identifier: MIT
   SASLprep: map, normalise, check. */
#include <config.h>

#include "saslprep.h"

#include <culver/buf.h>

#include <stdlib.h>
#include <utf8proc.h>

#define NAME_MAX_OCTETS 1024u
#define PASSWORD_MAX_OCTETS 4096u

/* RFC 3454 appendix B.1: commonly mapped to nothing. */
static bool is_nothing(utf8proc_int32_t c)
{
	return c == 0xad || c == 0x34f || c == 0x1806 || (c >= 0x180b && c <= 0x180d) || (c >= 0x200b && c <= 0x200d) || c == 0x2060 ||
		(c >= 0xfe00 && c <= 0xfe0f) || c == 0xfeff;
}

/* Appendix C.1.2 without U+200B, which is mapped to nothing. */
static bool is_space(utf8proc_int32_t c)
{
	return c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Appendix C.4. */
static bool is_noncharacter(utf8proc_int32_t c)
{
	return (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
}

/* Appendixes C.1.2 and C.2.1 to C.9, and, unless it is a query, A.1. What the tables list by themselves are the characters that no category tells of. */
static bool is_prohibited(utf8proc_int32_t c, bool query)
{
	switch ((int)utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		return true;
	case UTF8PROC_CATEGORY_CN:
		if (!query || is_noncharacter(c))
			return true;
		break;
	default:
		break;
	}
	return is_space(c) || c == 0x6dd || c == 0x70f || c == 0x180e || (c >= 0x200c && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
		(c >= 0x2060 && c <= 0x2063) || (c >= 0x206a && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffd) ||
		(c >= 0x2ff0 && c <= 0x2ffb) || c == 0x340 || c == 0x341 || (c >= 0x1d173 && c <= 0x1d17a) || c == 0xe0001 ||
		(c >= 0xe0020 && c <= 0xe007f);
}

static int refused(struct cv_err *err)
{
	return cv_err_set_public(err, CV_ERR_INVALID, "Name holds a character that names can't have");
}

/* Map each code point. */
static int map(struct cv_str in, struct cv_buf *out, struct cv_err *err)
{
	utf8proc_int32_t c;

	for (size_t i = 0; i < in.len;) {
		utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)in.ptr + i, (utf8proc_ssize_t)(in.len - i), &c);

		if (n <= 0)
			return refused(err);
		if (is_space(c))
			cv_buf_append_char(out, ' ');
		else if (!is_nothing(c))
			cv_buf_append(out, cv_str_sub(in, i, (size_t)n));
		i += (size_t)n;
	}
	return 0;
}

/* Prohibited output, and section 6: with a character that is written from right to left, none from left to right, and one of the former at both
   ends. */
static int check(struct cv_str s, bool query, struct cv_err *err)
{
	bool right_first = false, right_last = false, right_any = false, left = false;
	utf8proc_int32_t c;

	for (size_t i = 0; i < s.len;) {
		utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.ptr + i, (utf8proc_ssize_t)(s.len - i), &c);
		int class;

		if (n <= 0 || is_prohibited(c, query))
			return refused(err);
		class = utf8proc_get_property(c)->bidi_class;
		right_last = class == UTF8PROC_BIDI_CLASS_R || class == UTF8PROC_BIDI_CLASS_AL;
		right_any |= right_last;
		right_first |= i == 0 && right_last;
		left |= class == UTF8PROC_BIDI_CLASS_L;
		i += (size_t)n;
	}
	return right_any && (left || !right_first || !right_last) ? refused(err) : 0;
}

static bool is_plain(struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
			return false;
	return cv_str_is_ascii(s);
}

static int prepare(struct cv_arena *arena, struct cv_str in, bool query, struct cv_str *out_r, struct cv_err *err)
{
	utf8proc_uint8_t *normal = NULL;
	utf8proc_ssize_t len;
	struct cv_buf mapped;
	int result;

	*out_r = in;
	if (in.len == 0 || in.len > (query ? PASSWORD_MAX_OCTETS : NAME_MAX_OCTETS))
		return cv_err_set_public(err, CV_ERR_INVALID, "Name is empty or too long");
	if (is_plain(in))
		return 0;
	if (!cv_str_is_utf8(in))
		return cv_err_set_public(err, CV_ERR_INVALID, "Name is not valid UTF-8");
	cv_buf_init_wipe(&mapped, in.len);
	result = map(in, &mapped, err);
	if (result == 0 && mapped.len == 0)
		result = cv_err_set_public(err, CV_ERR_INVALID, "Nothing is left of the name");
	if (result == 0) {
		len = utf8proc_map((const utf8proc_uint8_t *)mapped.data, (utf8proc_ssize_t)mapped.len, &normal,
			UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE);
		if (len < 0) {
			result = refused(err);
		} else {
			*out_r = cv_arena_str(arena, cv_str_mem(normal, (size_t)len));
			result = check(*out_r, query, err);
			cv_wipe(normal, (size_t)len);
		}
	}
	free(normal);
	cv_buf_deinit(&mapped);
	return result;
}

int cv_saslprep(struct cv_arena *arena, struct cv_str in, struct cv_str *out_r, struct cv_err *err)
{
	return prepare(arena, in, false, out_r, err);
}

int cv_saslprep_query(struct cv_arena *arena, struct cv_str in, struct cv_str *out_r, struct cv_err *err)
{
	return prepare(arena, in, true, out_r, err);
}
