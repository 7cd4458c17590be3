/* SPDX-License-Identifier: MIT
   cv_buf: a growing buffer with a maximum and sticky failure: append, append, append, then ask once. */
#ifndef CV_BUF_H
#define CV_BUF_H

#include <culver/str.h>

/* Owns data. len <= max always. After an append that would pass max, failed is set, len stays, and all further appends are
   ignored until cv_buf_clear. Always one NUL behind the data (not counted). */
struct cv_buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max;
	bool failed;
	bool wipe; /* overwrite memory when it is freed or moved */
};

/* max in octets. Nothing is allocated yet. */
CV_EXPORT void cv_buf_init(struct cv_buf *buf, size_t max);
/* As cv_buf_init, for secrets. */
CV_EXPORT void cv_buf_init_wipe(struct cv_buf *buf, size_t max);
CV_EXPORT void cv_buf_deinit(struct cv_buf *buf);
/* Empty and no longer failed; memory is kept. */
CV_EXPORT void cv_buf_clear(struct cv_buf *buf);
static inline bool cv_buf_ok(const struct cv_buf *buf)
{
	return !buf->failed;
}
/* Valid until the next append, consume, clear or deinit. */
CV_EXPORT struct cv_str cv_buf_str(const struct cv_buf *buf);
CV_EXPORT void cv_buf_append(struct cv_buf *buf, struct cv_str s);
CV_EXPORT void cv_buf_append_mem(struct cv_buf *buf, const void *p, size_t len);
static inline void cv_buf_append_c(struct cv_buf *buf, const char *s)
{
	cv_buf_append_mem(buf, s, strlen(s));
}
static inline void cv_buf_append_char(struct cv_buf *buf, char c)
{
	/* UNSAFE: there is room for the octet and its NUL; cap is never more than max and one. */
	if (!buf->failed && buf->len + 1 < buf->cap) {
		buf->data[buf->len++] = c;
		buf->data[buf->len] = '\0';
	} else {
		cv_buf_append_mem(buf, &c, 1);
	}
}
CV_EXPORT void cv_buf_append_u64(struct cv_buf *buf, uint64_t n); /* decimal */
CV_EXPORT void cv_buf_printf(struct cv_buf *buf, const char *fmt, ...) CV_PRINTF(2, 3);
CV_EXPORT void cv_buf_vprintf(struct cv_buf *buf, const char *fmt, va_list ap) CV_PRINTF(2, 0);
/* len octets to be written by the caller, or NULL when that would pass max (then failed). Not counted until
   cv_buf_commit. */
CV_EXPORT CV_MUST_CHECK void *cv_buf_reserve(struct cv_buf *buf, size_t len);
CV_EXPORT void cv_buf_commit(struct cv_buf *buf, size_t len);
/* Drop len octets from the front (at most all). */
CV_EXPORT void cv_buf_consume(struct cv_buf *buf, size_t len);
/* Drop from the end so that len octets are left. */
CV_EXPORT void cv_buf_truncate(struct cv_buf *buf, size_t len);

/* Binary little-endian and length-prefixed forms, read back with cv_take_* of reader.h. */
CV_EXPORT void cv_put_u8(struct cv_buf *buf, uint8_t n);
CV_EXPORT void cv_put_u16(struct cv_buf *buf, uint16_t n);
CV_EXPORT void cv_put_u32(struct cv_buf *buf, uint32_t n);
CV_EXPORT void cv_put_u64(struct cv_buf *buf, uint64_t n);
CV_EXPORT void cv_put_varint(struct cv_buf *buf, uint64_t n); /* LEB128, at most 10 octets */
/* u32 length and the octets. The absent view (ptr NULL) is length UINT32_MAX and reads back absent. */
CV_EXPORT void cv_put_str(struct cv_buf *buf, struct cv_str s);

/* Encodings (RFC 4648). Decoding takes the padded form only, no white space; false leaves out as it was. */
CV_EXPORT void cv_buf_append_base64(struct cv_buf *buf, struct cv_str s);
CV_EXPORT CV_MUST_CHECK bool cv_base64_decode(struct cv_buf *out, struct cv_str s);
CV_EXPORT void cv_buf_append_hex(struct cv_buf *buf, struct cv_str s); /* lower case */
CV_EXPORT CV_MUST_CHECK bool cv_hex_decode(struct cv_buf *out, struct cv_str s);
/* One code point as UTF-8; U+FFFD for what is not a scalar value. */
CV_EXPORT void cv_buf_append_utf8(struct cv_buf *buf, uint32_t code_point);

#endif
