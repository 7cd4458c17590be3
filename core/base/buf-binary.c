/* SPDX-License-Identifier: MIT
   Binary forms in buffers: little-endian integers, LEB128, length-prefixed octets. */
#include <config.h>

#include <culver/buf.h>

#include <string.h>

static void put_le(struct cv_buf *buf, uint64_t n, size_t len)
{
	unsigned char octets[8];

	for (size_t i = 0; i < len; i++)
		octets[i] = (unsigned char)(n >> (8 * i));
	cv_buf_append_mem(buf, octets, len);
}

void cv_put_u8(struct cv_buf *buf, uint8_t n)
{
	put_le(buf, n, 1);
}

void cv_put_u16(struct cv_buf *buf, uint16_t n)
{
	put_le(buf, n, 2);
}

void cv_put_u32(struct cv_buf *buf, uint32_t n)
{
	put_le(buf, n, 4);
}

void cv_put_u64(struct cv_buf *buf, uint64_t n)
{
	put_le(buf, n, 8);
}

void cv_put_varint(struct cv_buf *buf, uint64_t n)
{
	unsigned char octets[10];
	size_t len = 0;

	while (n >= 0x80) {
		octets[len++] = (unsigned char)(n | 0x80);
		n >>= 7;
	}
	octets[len++] = (unsigned char)n;
	cv_buf_append_mem(buf, octets, len);
}

void cv_put_str(struct cv_buf *buf, struct cv_str s)
{
	char *to;

	if (s.ptr == NULL) {
		cv_put_u32(buf, UINT32_MAX);
		return;
	}
	if (s.len >= UINT32_MAX) {
		buf->failed = true;
		return;
	}
	/* Both or nothing, so that a failed buffer does not end in a lone length. */
	to = cv_buf_reserve(buf, 4 + s.len);
	if (to == NULL)
		return;
	for (size_t i = 0; i < 4; i++)
		to[i] = (char)(unsigned char)(s.len >> (8 * i));
	memcpy(to + 4, s.ptr, s.len);
	cv_buf_commit(buf, 4 + s.len);
}
