/* SPDX-License-Identifier: MIT
   Text encodings in buffers: base64 and hexadecimal (RFC 4648), UTF-8. */
#include <config.h>

#include <culver/buf.h>

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void cv_buf_append_base64(struct cv_buf *buf, struct cv_str s)
{
	size_t groups = s.len / 3 + (s.len % 3 > 0);
	char *to;

	if (groups > SIZE_MAX / 4) {
		buf->failed = true;
		return;
	}
	to = cv_buf_reserve(buf, groups * 4);
	if (to == NULL)
		return;
	for (size_t i = 0; i < s.len; i += 3) {
		size_t have = CV_MIN(s.len - i, 3);
		uint32_t n = 0;

		for (size_t j = 0; j < 3; j++)
			n = n << 8 | (j < have ? (unsigned char)s.ptr[i + j] : 0u);
		*to++ = base64_digits[n >> 18];
		*to++ = base64_digits[n >> 12 & 63];
		*to++ = have > 1 ? base64_digits[n >> 6 & 63] : '=';
		*to++ = have > 2 ? base64_digits[n & 63] : '=';
	}
	cv_buf_commit(buf, groups * 4);
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Room for len octets, without marking the buffer failed when there is none. */
static char *decode_room(struct cv_buf *out, size_t len)
{
	if (!cv_buf_ok(out) || len > out->max - out->len)
		return NULL;
	return cv_buf_reserve(out, len);
}

bool cv_base64_decode(struct cv_buf *out, struct cv_str s)
{
	size_t padding = 0, len, at = 0;
	char *to;

	if (s.len % 4 != 0)
		return false;
	if (s.len > 0 && s.ptr[s.len - 1] == '=')
		padding = s.ptr[s.len - 2] == '=' ? 2 : 1;
	len = s.len / 4 * 3 - padding;
	to = decode_room(out, len);
	if (to == NULL)
		return false;
	for (size_t i = 0; i < s.len; i += 4) {
		size_t digits = i + 4 == s.len ? 4 - padding : 4;
		uint32_t n = 0;

		for (size_t j = 0; j < 4; j++) {
			int value = j < digits ? base64_value(s.ptr[i + j]) : 0;

			if (value < 0)
				goto bad;
			n = n << 6 | (uint32_t)value;
		}
		/* One form for each value: the bits that padding leaves unused are zero (RFC 4648 section 3.5). */
		if ((digits == 2 && (n & 0xffff) != 0) || (digits == 3 && (n & 0xff) != 0))
			goto bad;
		for (size_t j = 0; j + 1 < digits; j++)
			to[at++] = (char)(unsigned char)(n >> (16 - 8 * j));
	}
	cv_buf_commit(out, len);
	return true;
bad:
	if (out->wipe)
		cv_wipe(to, at);
	*to = '\0';
	return false;
}

void cv_buf_append_hex(struct cv_buf *buf, struct cv_str s)
{
	static const char hex_digits[] = "0123456789abcdef";
	char *to;

	if (s.len > SIZE_MAX / 2) {
		buf->failed = true;
		return;
	}
	to = cv_buf_reserve(buf, s.len * 2);
	if (to == NULL)
		return;
	for (size_t i = 0; i < s.len; i++) {
		*to++ = hex_digits[(unsigned char)s.ptr[i] >> 4];
		*to++ = hex_digits[(unsigned char)s.ptr[i] & 15];
	}
	cv_buf_commit(buf, s.len * 2);
}

bool cv_hex_decode(struct cv_buf *out, struct cv_str s)
{
	char *to;

	if (s.len % 2 != 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (cv_hex_digit(s.ptr[i]) < 0)
			return false;
	}
	to = decode_room(out, s.len / 2);
	if (to == NULL)
		return false;
	for (size_t i = 0; i < s.len; i += 2)
		*to++ = (char)(unsigned char)(cv_hex_digit(s.ptr[i]) << 4 | cv_hex_digit(s.ptr[i + 1]));
	cv_buf_commit(out, s.len / 2);
	return true;
}

void cv_buf_append_utf8(struct cv_buf *buf, uint32_t code_point)
{
	unsigned char octets[4];
	size_t len;

	if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point <= 0xdfff))
		code_point = 0xfffd;
	if (code_point < 0x80) {
		octets[0] = (unsigned char)code_point;
		len = 1;
	} else if (code_point < 0x800) {
		octets[0] = (unsigned char)(0xc0 | code_point >> 6);
		octets[1] = (unsigned char)(0x80 | (code_point & 63));
		len = 2;
	} else if (code_point < 0x10000) {
		octets[0] = (unsigned char)(0xe0 | code_point >> 12);
		octets[1] = (unsigned char)(0x80 | (code_point >> 6 & 63));
		octets[2] = (unsigned char)(0x80 | (code_point & 63));
		len = 3;
	} else {
		octets[0] = (unsigned char)(0xf0 | code_point >> 18);
		octets[1] = (unsigned char)(0x80 | (code_point >> 12 & 63));
		octets[2] = (unsigned char)(0x80 | (code_point >> 6 & 63));
		octets[3] = (unsigned char)(0x80 | (code_point & 63));
		len = 4;
	}
	cv_buf_append_mem(buf, octets, len);
}
