/* SPDX-License-Identifier: MIT
   cv_reader: a cursor over a view. Each take succeeds and advances, or fails and stays where it was. */
#ifndef CV_READER_H
#define CV_READER_H

#include <culver/str.h>

/* pos <= s.len always. */
struct cv_reader {
	struct cv_str s;
	size_t pos;
};

static inline struct cv_reader cv_reader_init(struct cv_str s)
{
	struct cv_reader r = { s, 0 };

	return r;
}
/* Octets that are left, and a view of them. */
static inline size_t cv_reader_left(const struct cv_reader *r)
{
	return r->s.len - r->pos;
}
static inline struct cv_str cv_reader_rest(const struct cv_reader *r)
{
	return cv_str_sub(r->s, r->pos, SIZE_MAX);
}
/* True when nothing is left. The last call of every parser. */
CV_MUST_CHECK static inline bool cv_reader_end(const struct cv_reader *r)
{
	return r->pos == r->s.len;
}
/* Next octet without taking it; -1 at the end. */
static inline int cv_peek(const struct cv_reader *r)
{
	return cv_reader_end(r) ? -1 : (unsigned char)r->s.ptr[r->pos];
}
CV_MUST_CHECK static inline bool cv_take_char(struct cv_reader *r, char c)
{
	if (cv_reader_end(r) || r->s.ptr[r->pos] != c)
		return false;
	r->pos++;
	return true;
}
CV_MUST_CHECK static inline bool cv_take_any(struct cv_reader *r, char *c_r)
{
	if (cv_reader_end(r))
		return false;
	*c_r = r->s.ptr[r->pos++];
	return true;
}
/* The literal, exactly or without ASCII case. */
CV_EXPORT CV_MUST_CHECK bool cv_take_lit(struct cv_reader *r, struct cv_str lit);
CV_EXPORT CV_MUST_CHECK bool cv_take_caselit(struct cv_reader *r, struct cv_str lit);
/* Exactly len octets. */
CV_MUST_CHECK static inline bool cv_take_len(struct cv_reader *r, size_t len, struct cv_str *s_r)
{
	if (len > cv_reader_left(r))
		return false;
	*s_r = r->s.ptr == NULL ? CV_STR("") : cv_str_sub(r->s, r->pos, len);
	r->pos += len;
	return true;
}
/* As many octets as pred holds for; may be none, so it cannot fail. */
CV_EXPORT struct cv_str cv_take_while(struct cv_reader *r, bool (*pred)(char c));
/* Up to the octet c, which is taken but not in *s_r; false when there is no c. */
CV_EXPORT CV_MUST_CHECK bool cv_take_until(struct cv_reader *r, char c, struct cv_str *s_r);
/* One line without its CRLF or LF; false when no line end is left. */
CV_EXPORT CV_MUST_CHECK bool cv_take_line(struct cv_reader *r, struct cv_str *s_r);
/* Decimal digits (at least one), value at most max. */
CV_EXPORT CV_MUST_CHECK bool cv_parse_u32(struct cv_reader *r, uint32_t max, uint32_t *n_r);
CV_EXPORT CV_MUST_CHECK bool cv_parse_u64(struct cv_reader *r, uint64_t max, uint64_t *n_r);

/* Binary little-endian, the counterparts of cv_put_* in buf.h. */
CV_EXPORT CV_MUST_CHECK bool cv_take_u8(struct cv_reader *r, uint8_t *n_r);
CV_EXPORT CV_MUST_CHECK bool cv_take_u16(struct cv_reader *r, uint16_t *n_r);
CV_EXPORT CV_MUST_CHECK bool cv_take_u32(struct cv_reader *r, uint32_t *n_r);
CV_EXPORT CV_MUST_CHECK bool cv_take_u64(struct cv_reader *r, uint64_t *n_r);
CV_EXPORT CV_MUST_CHECK bool cv_take_varint(struct cv_reader *r, uint64_t *n_r);
/* At most max octets; the view points into the reader's octets. */
CV_EXPORT CV_MUST_CHECK bool cv_take_str(struct cv_reader *r, size_t max, struct cv_str *s_r);

#endif
