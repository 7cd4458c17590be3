/* SPDX-License-Identifier: MIT
   cv_str: a view of octets, passed by value, owning nothing. */
#ifndef CV_STR_H
#define CV_STR_H

#include <culver/base.h>

#include <string.h>

/* len octets at ptr; not NUL-terminated, may hold any octet. ptr may be NULL only when len is 0: then the view is "absent"
   where a function distinguishes absent from empty. */
struct cv_str {
	const char *ptr;
	size_t len;
};

/* A view of a string literal. */
#define CV_STR_INIT(literal) { "" literal "", sizeof(literal) - 1 }
#ifdef __cplusplus
#define CV_STR(literal) (cv_str CV_STR_INIT(literal))
#else
#define CV_STR(literal) ((struct cv_str)CV_STR_INIT(literal))
#endif
/* For printf("%.*s"): only for text known to be clean; for log lines see cv_log. */
#define CV_STR_ARG(s) ((int)((s).len > INT32_MAX ? INT32_MAX : (s).len)), ((s).ptr ? (s).ptr : "")

/* View of a C string; NULL gives the absent view. */
static inline struct cv_str cv_str_c(const char *s)
{
	struct cv_str view = { s, s != NULL ? strlen(s) : 0 };

	return view;
}
static inline struct cv_str cv_str_mem(const void *ptr, size_t len)
{
	struct cv_str view = { (const char *)ptr, len };

	return view;
}
/* The part from octet `from`, at most len octets; out-of-range gives what there is. */
static inline struct cv_str cv_str_sub(struct cv_str s, size_t from, size_t len)
{
	if (s.ptr == NULL)
		return s;
	if (from > s.len)
		from = s.len;
	s.ptr += from;
	s.len -= from;
	if (len < s.len)
		s.len = len;
	return s;
}
CV_EXPORT bool cv_str_eq(struct cv_str a, struct cv_str b);
CV_EXPORT bool cv_str_eq_c(struct cv_str a, const char *b);
/* ASCII letters compare without case (RFC 4790 i;ascii-casemap). */
CV_EXPORT bool cv_str_caseeq(struct cv_str a, struct cv_str b);
CV_EXPORT bool cv_str_caseeq_c(struct cv_str a, const char *b);
CV_EXPORT bool cv_str_starts(struct cv_str s, struct cv_str prefix);
CV_EXPORT bool cv_str_casestarts(struct cv_str s, struct cv_str prefix);
CV_EXPORT bool cv_str_ends(struct cv_str s, struct cv_str suffix);
/* memcmp order, shorter first. */
CV_EXPORT int cv_str_cmp(struct cv_str a, struct cv_str b);
/* Offset of the first c, or of the first needle; SIZE_MAX when there is none. */
CV_EXPORT size_t cv_str_find(struct cv_str s, char c);
CV_EXPORT size_t cv_str_rfind(struct cv_str s, char c);
CV_EXPORT size_t cv_str_find_str(struct cv_str s, struct cv_str needle);
/* Without ASCII white space (space, tab, CR, LF) at both ends. */
CV_EXPORT struct cv_str cv_str_trim(struct cv_str s);
/* Masks of administrators: "*" is any run of octets, "?" any one; letters compare exactly. At most quadratic in time. */
CV_EXPORT bool cv_str_like(struct cv_str s, struct cv_str mask);
/* Split at the first c: *head_r before it, *tail_r behind it. False when there is no c: *head_r is all, *tail_r absent. */
CV_EXPORT bool cv_str_split(struct cv_str s, char c, struct cv_str *head_r, struct cv_str *tail_r);
CV_EXPORT bool cv_str_has_nul(struct cv_str s);
/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, up to U+10FFFF). */
CV_EXPORT bool cv_str_is_utf8(struct cv_str s);
CV_EXPORT bool cv_str_is_ascii(struct cv_str s);

/* ASCII only, no locale. */
static inline char cv_lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}
static inline char cv_upper(char c)
{
	return (char)(c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c);
}
static inline bool cv_is_digit(char c)
{
	return c >= '0' && c <= '9';
}
static inline bool cv_is_alpha(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}
static inline bool cv_is_alnum(char c)
{
	return cv_is_digit(c) || cv_is_alpha(c);
}
/* What a hexadecimal digit of either case counts; -1: it is none. */
static inline int cv_hex_digit(char c)
{
	if (cv_is_digit(c))
		return c - '0';
	c = cv_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
static inline bool cv_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The whole of s as a decimal number: digits only, no sign, no space, at most max. False (and *n_r untouched) otherwise. */
CV_EXPORT CV_MUST_CHECK bool cv_str_to_u32(struct cv_str s, uint32_t max, uint32_t *n_r);
CV_EXPORT CV_MUST_CHECK bool cv_str_to_u64(struct cv_str s, uint64_t max, uint64_t *n_r);

#endif
