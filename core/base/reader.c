/* SPDX-License-Identifier: MIT
   A cursor over a view: each take succeeds and advances, or fails and stays. */
#include <config.h>

#include <culver/reader.h>

bool cv_take_lit(struct cv_reader *r, struct cv_str lit)
{
	if (!cv_str_starts(cv_reader_rest(r), lit))
		return false;
	r->pos += lit.len;
	return true;
}

bool cv_take_caselit(struct cv_reader *r, struct cv_str lit)
{
	if (!cv_str_casestarts(cv_reader_rest(r), lit))
		return false;
	r->pos += lit.len;
	return true;
}

struct cv_str cv_take_while(struct cv_reader *r, bool (*pred)(char c))
{
	size_t start = r->pos;

	while (r->pos < r->s.len && pred(r->s.ptr[r->pos]))
		r->pos++;
	return cv_str_sub(r->s, start, r->pos - start);
}

bool cv_take_until(struct cv_reader *r, char c, struct cv_str *s_r)
{
	struct cv_str rest = cv_reader_rest(r);
	size_t at = cv_str_find(rest, c);

	if (at == SIZE_MAX)
		return false;
	*s_r = cv_str_sub(rest, 0, at);
	r->pos += at + 1;
	return true;
}

bool cv_take_line(struct cv_reader *r, struct cv_str *s_r)
{
	if (!cv_take_until(r, '\n', s_r))
		return false;
	if (s_r->len > 0 && s_r->ptr[s_r->len - 1] == '\r')
		s_r->len--;
	return true;
}

bool cv_parse_u64(struct cv_reader *r, uint64_t max, uint64_t *n_r)
{
	size_t start = r->pos;

	if (!cv_str_to_u64(cv_take_while(r, cv_is_digit), max, n_r)) {
		r->pos = start;
		return false;
	}
	return true;
}

bool cv_parse_u32(struct cv_reader *r, uint32_t max, uint32_t *n_r)
{
	uint64_t n;

	if (!cv_parse_u64(r, max, &n))
		return false;
	*n_r = (uint32_t)n;
	return true;
}

static bool take_le(struct cv_reader *r, size_t len, uint64_t *n_r)
{
	struct cv_str s;
	uint64_t n = 0;

	if (!cv_take_len(r, len, &s))
		return false;
	for (size_t i = 0; i < len; i++)
		n |= (uint64_t)(unsigned char)s.ptr[i] << (8 * i);
	*n_r = n;
	return true;
}

bool cv_take_u8(struct cv_reader *r, uint8_t *n_r)
{
	uint64_t n;

	if (!take_le(r, 1, &n))
		return false;
	*n_r = (uint8_t)n;
	return true;
}

bool cv_take_u16(struct cv_reader *r, uint16_t *n_r)
{
	uint64_t n;

	if (!take_le(r, 2, &n))
		return false;
	*n_r = (uint16_t)n;
	return true;
}

bool cv_take_u32(struct cv_reader *r, uint32_t *n_r)
{
	const unsigned char *p;
	struct cv_str s;

	if (!cv_take_len(r, 4, &s))
		return false;
	/* Written out, for compilers make one load of this: heads of all that is kept are read so. */
	p = (const unsigned char *)s.ptr;
	*n_r = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
	return true;
}

bool cv_take_u64(struct cv_reader *r, uint64_t *n_r)
{
	return take_le(r, 8, n_r);
}

bool cv_take_varint(struct cv_reader *r, uint64_t *n_r)
{
	uint64_t n = 0;
	size_t pos = r->pos;

	/* Nearly all have one octet or two. */
	if (pos < r->s.len && (unsigned char)r->s.ptr[pos] < 0x80) {
		*n_r = (unsigned char)r->s.ptr[r->pos++];
		return true;
	}
	if (pos + 1 < r->s.len && (unsigned char)r->s.ptr[pos + 1] - 1u < 0x7f) {
		*n_r = ((unsigned)r->s.ptr[pos] & 0x7f) | (unsigned)(unsigned char)r->s.ptr[pos + 1] << 7;
		r->pos += 2;
		return true;
	}
	for (unsigned shift = 0; shift < 64 && pos < r->s.len; shift += 7) {
		unsigned char octet = (unsigned char)r->s.ptr[pos++];

		/* The tenth octet has one bit to give. */
		if (shift == 63 && octet > 1)
			return false;
		n |= (uint64_t)(octet & 0x7f) << shift;
		if ((octet & 0x80) == 0) {
			/* The shortest form only, as cv_put_varint writes it. */
			if (octet == 0 && shift > 0)
				return false;
			r->pos = pos;
			*n_r = n;
			return true;
		}
	}
	return false;
}

bool cv_take_str(struct cv_reader *r, size_t max, struct cv_str *s_r)
{
	struct cv_reader at = *r;
	uint32_t len;

	if (!cv_take_u32(&at, &len))
		return false;
	if (len == UINT32_MAX)
		*s_r = (struct cv_str){ 0 };
	else if (len > max || !cv_take_len(&at, len, s_r))
		return false;
	*r = at;
	return true;
}
