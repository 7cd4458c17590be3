/* SPDX-License-Identifier: MIT
   Content transfer encodings: base64 in lines, and quoted-printable. */
#include <config.h>

#include <culver/charset.h>

#define LINE_MAX_OCTETS 76 /* RFC 2045 sections 6.7 and 6.8 */

void cv_encode_base64_lines(struct cv_buf *out, struct cv_str in)
{
	while (in.len > 0) {
		size_t take = CV_MIN(in.len, (size_t)(LINE_MAX_OCTETS / 4 * 3));

		cv_buf_append_base64(out, cv_str_sub(in, 0, take));
		cv_buf_append(out, CV_STR("\r\n"));
		in = cv_str_sub(in, take, SIZE_MAX);
	}
}

static bool is_line_end(struct cv_str in, size_t i)
{
	return i == in.len || in.ptr[i] == '\n' || (in.ptr[i] == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n');
}

void cv_encode_qp(struct cv_buf *out, struct cv_str in)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t column = 0, i = 0;

	while (i < in.len) {
		char c = in.ptr[i];
		char word[3] = { c, 0, 0 };
		size_t len = 1;

		if (is_line_end(in, i)) {
			cv_buf_append(out, CV_STR("\r\n"));
			i += c == '\r' ? 2 : 1;
			column = 0;
			continue;
		}
		if (c == '=' || c < 32 || c > 126 || (c == '.' && column == 0) ||
			(c == 'F' && column == 0 && cv_str_starts(cv_str_sub(in, i, SIZE_MAX), CV_STR("From "))))
			len = 3; /* "." and "From " at the start of a line get changed by what mail passes through */
		if ((c == ' ' || c == '\t') && !is_line_end(in, i + 1))
			len = 1;
		else if (c == ' ')
			len = 3;
		if (len == 3) {
			word[0] = '=';
			word[1] = hex[(uint8_t)c >> 4];
			word[2] = hex[(uint8_t)c & 15];
		}
		/* the last column stays free for the "=" of a soft line break, unless the line ends here */
		if (column + len > LINE_MAX_OCTETS - (is_line_end(in, i + 1) ? 0 : 1)) {
			cv_buf_append(out, CV_STR("=\r\n"));
			column = 0;
			continue;
		}
		cv_buf_append_mem(out, word, len);
		column += len;
		i++;
	}
}
