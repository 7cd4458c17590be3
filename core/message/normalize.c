/* SPDX-License-Identifier: MIT
   Normalisation form C of UTF-8. */
#include <config.h>

#include <culver/charset.h>

#include <stdlib.h>
#include <utf8proc.h>

bool cv_utf8_nfc(struct cv_buf *out, struct cv_str utf8)
{
	utf8proc_uint8_t *result = NULL;
	utf8proc_ssize_t len;

	if (cv_str_is_ascii(utf8)) {
		cv_buf_append(out, utf8);
		return true;
	}
	if (!cv_str_is_utf8(utf8))
		return false;
	len = utf8proc_map((const utf8proc_uint8_t *)utf8.ptr, (utf8proc_ssize_t)utf8.len, &result, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	if (len >= 0)
		cv_buf_append_mem(out, result, (size_t)len);
	free(result); /* utf8proc's own allocation */
	if (len == UTF8PROC_ERROR_NOMEM)
		cv_fatal("out of memory while text of %zu octets was normalised", utf8.len);
	return len >= 0;
}
