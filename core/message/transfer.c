/* SPDX-License-Identifier: MIT
   Content transfer decodings (RFC 2045 section 6), streaming and as lenient as mail programs are. */
#include <config.h>

#include "core/message/words-private.h"

#include <culver/charset.h>

#include <limits.h>
#include <string.h>

enum qp_state { QP_TEXT, QP_BLANKS, QP_EQUALS, QP_HEX, QP_SOFT };
enum uu_state { UU_BEFORE, UU_DATA, UU_AFTER };

enum cv_transfer cv_transfer_parse(struct cv_str value)
{
	static const struct {
		const char *name;
		enum cv_transfer transfer;
	} names[] = { { "7bit", CV_TRANSFER_IDENTITY }, { "8bit", CV_TRANSFER_IDENTITY }, { "binary", CV_TRANSFER_IDENTITY },
		{ "base64", CV_TRANSFER_BASE64 }, { "quoted-printable", CV_TRANSFER_QP }, { "x-uuencode", CV_TRANSFER_UUENCODE },
		{ "x-uue", CV_TRANSFER_UUENCODE }, { "uuencode", CV_TRANSFER_UUENCODE }, { "7-bit", CV_TRANSFER_IDENTITY },
		{ "8-bit", CV_TRANSFER_IDENTITY }, { "7bits", CV_TRANSFER_IDENTITY }, { "8bits", CV_TRANSFER_IDENTITY } };
	char word[24];
	size_t len = 0, depth = 0;

	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];

		if (c == '(')
			depth++;
		else if (c == ')' && depth > 0)
			depth--;
		else if (depth == 0 && !cv_is_space(c) && c != '"' && c != ';' && len < sizeof(word))
			word[len++] = c;
	}
	if (len == 0)
		return CV_TRANSFER_IDENTITY;
	for (size_t i = 0; i < CV_COUNT_OF(names); i++) {
		if (cv_str_caseeq_c(cv_str_mem(word, len), names[i].name))
			return names[i].transfer;
	}
	return CV_TRANSFER_UNKNOWN;
}

void cv_transfer_decoder_init(struct cv_transfer_decoder *decoder, enum cv_transfer transfer)
{
	*decoder = (struct cv_transfer_decoder){ .transfer = transfer };
}

/* ---- base64 ---- */

#define B64_SKIP 0x40 /* line ends and white space */
#define B64_PAD 0x41
#define B64_BAD 0x42

#define S B64_SKIP
#define P B64_PAD
#define X B64_BAD
static const uint8_t base64_table[256] = {
	X, X, X, X, X, X, X, X, X, S, S, X, X, S, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	S, X, X, X, X, X, X, X, X, X, X, 62, X, X, X, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, X, X, X, P, X, X,
	X, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, X, X, X, X, X,
	X, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
};
#undef S
#undef P
#undef X

static void decode_base64(struct cv_transfer_decoder *d, struct cv_str in, struct cv_buf *out)
{
	const uint8_t *table = base64_table;
	const uint8_t *p = (const uint8_t *)in.ptr;
	uint8_t octets[3072];
	size_t n = 0, i = 0;

	while (i < in.len) {
		uint8_t v;

		if (n > sizeof(octets) - 3) {
			cv_buf_append_mem(out, octets, n);
			n = 0;
		}
		/* whole groups */
		if (d->bit_count == 0 && in.len - i >= 4) {
			uint8_t a = table[p[i]], b = table[p[i + 1]], c = table[p[i + 2]], e = table[p[i + 3]];

			if ((a | b | c | e) < 64) {
				octets[n++] = (uint8_t)(a << 2 | b >> 4);
				octets[n++] = (uint8_t)(b << 4 | c >> 2);
				octets[n++] = (uint8_t)(c << 6 | e);
				i += 4;
				continue;
			}
		}
		v = table[p[i++]];
		if (v < 64) {
			d->bits = d->bits << 6 | v;
			d->bit_count = (uint8_t)(d->bit_count + 6);
			if (d->bit_count >= 8) {
				d->bit_count = (uint8_t)(d->bit_count - 8);
				octets[n++] = (uint8_t)(d->bits >> d->bit_count);
			}
			if (d->bit_count == 0)
				d->bits = 0;
		} else if (v == B64_PAD) {
			if (d->bit_count == 6)
				d->invalid = true;
			d->bits = 0;
			d->bit_count = 0;
		} else if (v == B64_BAD) {
			d->invalid = true;
		}
	}
	cv_buf_append_mem(out, octets, n);
}

/* ---- quoted-printable ---- */

static void qp_hold(struct cv_transfer_decoder *d, char c)
{
	d->pending[d->pending_len++] = c;
}

static void qp_release(struct cv_transfer_decoder *d, struct cv_buf *out)
{
	cv_buf_append_mem(out, d->pending, d->pending_len);
	d->pending_len = 0;
	d->state = QP_TEXT;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

#define IS_DIGIT 0x100u
#define NO_OCTET UINT_MAX

/* The octet that "=XX" at p stands for, or NO_OCTET. UNSAFE: p has three octets. */
static inline unsigned qp_octet(const char *p)
{
#define DIGITS(by, x)                                                                                                              \
	['0'] = (x), ['1'] = (x) + (by), ['2'] = (x) + 2 * (by), ['3'] = (x) + 3 * (by), ['4'] = (x) + 4 * (by), ['5'] = (x) + 5 * (by), \
	['6'] = (x) + 6 * (by), ['7'] = (x) + 7 * (by), ['8'] = (x) + 8 * (by), ['9'] = (x) + 9 * (by), ['A'] = (x) + 10 * (by),         \
	['B'] = (x) + 11 * (by), ['C'] = (x) + 12 * (by), ['D'] = (x) + 13 * (by), ['E'] = (x) + 14 * (by), ['F'] = (x) + 15 * (by),     \
	['a'] = (x) + 10 * (by), ['b'] = (x) + 11 * (by), ['c'] = (x) + 12 * (by), ['d'] = (x) + 13 * (by), ['e'] = (x) + 14 * (by),     \
	['f'] = (x) + 15 * (by)
	static const uint16_t high[256] = { DIGITS(16, IS_DIGIT) }, low[256] = { DIGITS(1, IS_DIGIT) };
#undef DIGITS
	unsigned a = high[(uint8_t)p[1]], b = low[(uint8_t)p[2]];

	return (a & b & IS_DIGIT) != 0 ? (a | b) & 0xFF : NO_OCTET;
}

/* Decode of the line from p to its end, which is a line end or blanks that come before one, what is plain: octets for themselves and "=XX". Returns where it
   stopped, at the end or at another "=". UNSAFE: *to has as many octets as there are from p to end, and seven more; seven may be read behind end. */
static const char *qp_plain(const char *p, const char *end, char **to)
{
	char *out = *to;

	while (p < end) {
		uint64_t word = cv_word_load(p), marks = cv_word_has(word, '=');
		size_t run = marks == 0 ? CV_WORD : cv_word_before(marks);

		cv_word_store(out, word);
		run = CV_MIN(run, (size_t)(end - p));
		out += run;
		p += run;
		while (p < end && *p == '=') {
			unsigned octet = end - p >= 3 ? qp_octet(p) : NO_OCTET;

			if (octet == NO_OCTET)
				goto done;
			*out++ = (char)octet;
			p += 3;
		}
	}
done:
	*to = out;
	return p;
}

/* Whole lines from i on, of text that is as most is: what is odd, and what comes close to the end of the input, is left to be looked at one by one.
   *next is where the line after i begins, as found by the last call. Returns how much was taken. */
static size_t qp_lines(struct cv_str in, size_t i, size_t *next, struct cv_buf *out)
{
	size_t start = i, room = in.len - i + CV_WORD;
	char *to = NULL;

	while (i < in.len) {
		const char *end, *stop;

		if (*next <= i) {
			size_t lf = cv_str_find(cv_str_sub(in, i, SIZE_MAX), '\n');

			*next = lf == SIZE_MAX ? SIZE_MAX : i + lf + 1;
		}
		if (*next > in.len || in.len - *next < CV_WORD || room > out->max - out->len)
			break;
		if (to == NULL)
			to = cv_buf_reserve(out, room);
		if (to == NULL)
			break;
		end = in.ptr + *next - 1;
		if (end > in.ptr + i && end[-1] == '\r')
			end--;
		if (end > in.ptr + i && is_blank(end[-1]))
			break;
		stop = qp_plain(in.ptr + i, end, &to);
		i = (size_t)(stop - in.ptr);
		if (stop == end) {
			memcpy(to, stop, *next - i);
			to += *next - i;
		} else if (stop + 1 != end) {
			break; /* neither "=XX" nor a soft line break */
		}
		i = *next;
	}
	if (to != NULL)
		cv_buf_commit(out, (size_t)(to - (out->data + out->len)));
	return i - start;
}

/* The octets held are blanks (perhaps with a CR behind), "=", "=" and a digit, or "=" and blanks. Each step either takes c or,
   having released what was held, looks at it again as text. */
static void decode_qp(struct cv_transfer_decoder *d, struct cv_str in, struct cv_buf *out)
{
	size_t i = 0, next = 0;

	while (i < in.len) {
		char c;

		if (d->state == QP_TEXT)
			i += qp_lines(in, i, &next, out);
		if (i == in.len)
			break;
		c = in.ptr[i];
		if (d->pending_len == sizeof(d->pending)) {
			d->invalid = true;
			qp_release(d, out);
		}
		switch ((enum qp_state)d->state) {
		case QP_TEXT:
			if (c == '=' || is_blank(c) || c == '\r') {
				qp_hold(d, c);
				d->state = c == '=' ? QP_EQUALS : QP_BLANKS;
			} else {
				cv_buf_append_char(out, c);
			}
			i++;
			break;
		case QP_BLANKS:
			if (c == '\n') {
				bool cr = d->pending[d->pending_len - 1] == '\r';

				d->pending_len = 0;
				d->state = QP_TEXT;
				cv_buf_append(out, cr ? CV_STR("\r\n") : CV_STR("\n"));
				i++;
			} else if ((c == ' ' || c == '\t' || c == '\r') && d->pending[d->pending_len - 1] != '\r') {
				qp_hold(d, c);
				i++;
			} else {
				qp_release(d, out);
			}
			break;
		case QP_EQUALS:
			if (cv_hex_digit(c) >= 0) {
				qp_hold(d, c);
				d->state = QP_HEX;
				i++;
			} else if (cv_is_space(c)) {
				d->state = QP_SOFT;
			} else {
				d->invalid = true;
				qp_release(d, out);
			}
			break;
		case QP_HEX:
			if (cv_hex_digit(c) >= 0) {
				int octet = cv_hex_digit(d->pending[1]) * 16 + cv_hex_digit(c);

				d->pending_len = 0;
				d->state = QP_TEXT;
				cv_buf_append_char(out, (char)octet);
				i++;
			} else {
				d->invalid = true;
				qp_release(d, out);
			}
			break;
		case QP_SOFT:
			if (c == '\n') {
				d->pending_len = 0;
				d->state = QP_TEXT;
				i++;
			} else if ((c == ' ' || c == '\t' || c == '\r') && d->pending[d->pending_len - 1] != '\r') {
				qp_hold(d, c);
				i++;
			} else {
				d->invalid = true;
				qp_release(d, out);
			}
			break;
		}
	}
}

static void finish_qp(struct cv_transfer_decoder *d, struct cv_buf *out)
{
	/* white space at the end of the last line goes, and so does a soft line break there */
	if (d->state == QP_HEX) {
		d->invalid = true;
		qp_release(d, out);
	}
	d->pending_len = 0;
	d->state = QP_TEXT;
}

/* ---- uuencode ---- */

static uint8_t uu_value(char c)
{
	return (uint8_t)((c - ' ') & 0x3F);
}

/* pending holds one line, cut at its size: longer than any that uuencode writes. */
static void uu_line(struct cv_transfer_decoder *d, struct cv_buf *out)
{
	struct cv_str line = cv_str_trim(cv_str_mem(d->pending, d->pending_len));
	size_t left, i = 1;

	d->pending_len = 0;
	switch ((enum uu_state)d->state) {
	case UU_BEFORE:
		/* "begin" SP mode SP name */
		if (cv_str_starts(line, CV_STR("begin ")) && line.len > 9 && cv_is_digit(line.ptr[6]))
			d->state = UU_DATA;
		return;
	case UU_DATA:
		if (cv_str_eq(line, CV_STR("end"))) {
			d->state = UU_AFTER;
			return;
		}
		break;
	case UU_AFTER:
		return;
	}
	if (line.len == 0)
		return;
	left = uu_value(line.ptr[0]);
	for (; left > 0; i += 4) {
		uint8_t v[4] = { 0 }, octets[3];

		/* spaces at the end of a line get lost on the way: they are zeros */
		for (size_t k = 0; k < 4; k++)
			v[k] = i + k < line.len ? uu_value(line.ptr[i + k]) : 0;
		octets[0] = (uint8_t)(v[0] << 2 | v[1] >> 4);
		octets[1] = (uint8_t)(v[1] << 4 | v[2] >> 2);
		octets[2] = (uint8_t)(v[2] << 6 | v[3]);
		cv_buf_append_mem(out, octets, CV_MIN(left, (size_t)3));
		left -= CV_MIN(left, (size_t)3);
	}
}

static void decode_uu(struct cv_transfer_decoder *d, struct cv_str in, struct cv_buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '\n')
			uu_line(d, out);
		else if (d->pending_len < sizeof(d->pending))
			d->pending[d->pending_len++] = in.ptr[i];
	}
}

static void finish_uu(struct cv_transfer_decoder *d, struct cv_buf *out)
{
	uu_line(d, out);
	if (d->state != UU_AFTER)
		d->invalid = true;
	d->state = UU_BEFORE;
}

void cv_transfer_decode(struct cv_transfer_decoder *decoder, struct cv_str in, struct cv_buf *out)
{
	switch (decoder->transfer) {
	case CV_TRANSFER_IDENTITY:
	case CV_TRANSFER_UNKNOWN:
		cv_buf_append(out, in);
		break;
	case CV_TRANSFER_BASE64:
		decode_base64(decoder, in, out);
		break;
	case CV_TRANSFER_QP:
		decode_qp(decoder, in, out);
		break;
	case CV_TRANSFER_UUENCODE:
		decode_uu(decoder, in, out);
		break;
	}
}

void cv_transfer_decode_finish(struct cv_transfer_decoder *decoder, struct cv_buf *out)
{
	switch (decoder->transfer) {
	case CV_TRANSFER_IDENTITY:
	case CV_TRANSFER_UNKNOWN:
		break;
	case CV_TRANSFER_BASE64:
		if (decoder->bit_count == 6)
			decoder->invalid = true;
		decoder->bits = 0;
		decoder->bit_count = 0;
		break;
	case CV_TRANSFER_QP:
		finish_qp(decoder, out);
		break;
	case CV_TRANSFER_UUENCODE:
		finish_uu(decoder, out);
		break;
	}
}
