/* SPDX-License-Identifier: MIT
   Encoded words of header fields (RFC 2047): decoding as mail in the wild needs it, and encoding. */
#include <config.h>

#include <culver/charset.h>
#include <culver/header.h>

#include "core/message/header-private.h"

#include <string.h>

struct encoded_word {
	struct cv_str charset;
	bool base64;
	struct cv_str text;
	size_t len; /* of the whole word in the value */
};

/* encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?=" */
static bool parse_word(struct cv_str s, size_t pos, size_t *next_end, struct encoded_word *word_r)
{
	struct cv_reader r = cv_reader_init(s);
	struct cv_str charset, encoding;

	r.pos = pos;
	if (!cv_take_lit(&r, CV_STR("=?")) || !cv_take_until(&r, '?', &charset) || charset.len == 0 ||
		charset.len > 64 || !cv_take_until(&r, '?', &encoding) || encoding.len != 1)
		return false;
	for (size_t i = 0; i < charset.len; i++) {
		if (cv_is_space(charset.ptr[i]) || charset.ptr[i] == '=')
			return false;
	}
	if (cv_lower(encoding.ptr[0]) != 'b' && cv_lower(encoding.ptr[0]) != 'q')
		return false;
	if (*next_end < r.pos) {
		size_t found = cv_str_find_str(cv_reader_rest(&r), CV_STR("?="));

		*next_end = found == SIZE_MAX ? SIZE_MAX : r.pos + found;
	}
	if (*next_end == SIZE_MAX)
		return false;
	word_r->base64 = cv_lower(encoding.ptr[0]) == 'b';
	word_r->text = cv_str_sub(s, r.pos, *next_end - r.pos);
	word_r->len = *next_end + 2 - pos;
	if (!cv_str_split(charset, '*', &word_r->charset, &encoding)) /* RFC 2231 section 5 */
		word_r->charset = charset;
	return true;
}

size_t cv_encoded_word_length(struct cv_str s, size_t pos, size_t *next_end)
{
	struct encoded_word word;

	return parse_word(s, pos, next_end, &word) ? word.len : 0;
}

static void decode_q(struct cv_buf *out, struct cv_str text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '_') {
			c = ' ';
		} else if (c == '=' && i + 2 < text.len && cv_hex_digit(text.ptr[i + 1]) >= 0 &&
			cv_hex_digit(text.ptr[i + 2]) >= 0) {
			c = (char)(cv_hex_digit(text.ptr[i + 1]) * 16 + cv_hex_digit(text.ptr[i + 2]));
			i += 2;
		} else if (cv_is_space(c) && c != ' ') {
			continue; /* a fold within the word */
		}
		cv_buf_append_char(out, c);
	}
}

void cv_append_clean(struct cv_buf *out, struct cv_str s)
{
	size_t start = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c >= 32 && c != 127)
			continue;
		cv_buf_append(out, cv_str_sub(s, start, i - start));
		cv_buf_append_char(out, ' ');
		start = i + 1;
	}
	cv_buf_append(out, cv_str_sub(s, start, SIZE_MAX));
}

/* Decoding in progress: the converter of the word before, kept while words of its charset follow each other. */
struct decoding {
	struct cv_buf *out;
	struct cv_charset *charset;
	struct cv_str charset_name;
	struct cv_buf octets, text;
	struct cv_buf *raw; /* what is before conversion; NULL: not wanted */
	bool unknown;       /* a charset is; when raw is wanted */
};

static void flush_text(struct decoding *d)
{
	cv_append_clean(d->out, cv_buf_str(&d->text));
	cv_buf_clear(&d->text);
}

static void end_charset(struct decoding *d)
{
	if (d->charset == NULL)
		return;
	cv_charset_finish(d->charset, &d->text);
	cv_charset_close(&d->charset);
	flush_text(d);
}

static void plain(struct decoding *d, struct cv_str s)
{
	if (s.len == 0)
		return;
	end_charset(d);
	if (d->raw != NULL)
		cv_buf_append(d->raw, s);
	if (cv_str_is_utf8(s)) {
		cv_append_clean(d->out, s);
	} else {
		cv_charset_to_utf8(CV_STR(""), s, &d->text);
		flush_text(d);
	}
}

static void encoded(struct decoding *d, const struct encoded_word *word)
{
	if (d->charset != NULL && !cv_str_caseeq(d->charset_name, word->charset))
		end_charset(d);
	if (d->charset == NULL) {
		d->charset = cv_charset_open(word->charset);
		d->charset_name = word->charset;
	}
	cv_buf_clear(&d->octets);
	if (word->base64) {
		struct cv_transfer_decoder base64;

		cv_transfer_decoder_init(&base64, CV_TRANSFER_BASE64);
		cv_transfer_decode(&base64, word->text, &d->octets);
		cv_transfer_decode_finish(&base64, &d->octets);
	} else {
		decode_q(&d->octets, word->text);
	}
	if (d->raw != NULL) {
		cv_buf_append(d->raw, cv_buf_str(&d->octets));
		d->unknown = d->unknown || !cv_charset_known(word->charset);
	}
	cv_charset_feed(d->charset, cv_buf_str(&d->octets), &d->text);
	flush_text(d);
}

/* Printable ASCII on one line without anything that could be an encoded word: most fields. */
static bool stands_for_itself(struct cv_str value)
{
	bool other = false;

	for (size_t i = 0; i < value.len; i++)
		other |= (unsigned char)(value.ptr[i] - ' ') > '~' - ' ';
	return !other && cv_str_find_str(value, CV_STR("=?")) == SIZE_MAX;
}

/* raw may be NULL. False: a charset is unknown. */
static bool decode(struct cv_buf *out, struct cv_buf *raw, struct cv_str value)
{
	struct decoding d = { .out = out, .raw = raw };
	struct cv_buf unfolded;
	struct cv_str s;
	size_t start = 0, pos = 0, next_end = 0;
	bool after_word = false;

	s = cv_str_trim(value);
	if (stands_for_itself(s)) {
		cv_buf_append(out, s);
		if (raw != NULL)
			cv_buf_append(raw, s);
		return true;
	}
	cv_buf_init(&unfolded, SIZE_MAX);
	cv_header_unfold(&unfolded, value);
	s = cv_buf_str(&unfolded);
	cv_buf_init(&d.octets, SIZE_MAX);
	cv_buf_init(&d.text, SIZE_MAX);
	while (pos < s.len) {
		size_t equals = cv_str_find(cv_str_sub(s, pos, SIZE_MAX), '=');
		struct encoded_word word;

		if (equals == SIZE_MAX)
			break;
		pos += equals;
		if (!parse_word(s, pos, &next_end, &word)) {
			pos++;
			continue;
		}
		struct cv_str between = cv_str_sub(s, start, pos - start);

		/* RFC 2047 section 6.2: white space between adjacent encoded words is not shown */
		if (!after_word || cv_str_trim(between).len > 0)
			plain(&d, between);
		encoded(&d, &word);
		after_word = true;
		pos += word.len;
		start = pos;
	}
	plain(&d, cv_str_sub(s, start, SIZE_MAX));
	end_charset(&d);
	cv_buf_deinit(&d.octets);
	cv_buf_deinit(&d.text);
	cv_buf_deinit(&unfolded);
	return !d.unknown;
}

void cv_header_decode(struct cv_buf *out, struct cv_str value)
{
	(void)decode(out, NULL, value);
}

bool cv_header_decode_strict(struct cv_buf *out, struct cv_buf *octets, struct cv_str value)
{
	static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD, which stands for what is not valid */
	size_t before = out->len;
	bool known = decode(out, octets, value);

	return known && cv_str_find_str(cv_str_sub(cv_buf_str(out), before, SIZE_MAX), cv_str_c(replacement)) == SIZE_MAX;
}

/* ---- encoding ---- */

#define WORD_MAX 75 /* RFC 2047 section 2 */
#define WORD_FRAME (sizeof("=?UTF-8?Q?" "?=") - 1)

/* Octets that stand for themselves in a Q word anywhere in a header (RFC 2047 section 5 rule 3). */
static bool is_q_plain(char c)
{
	return cv_is_alnum(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/';
}

static size_t q_length(struct cv_str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += is_q_plain(s.ptr[i]) || s.ptr[i] == ' ' ? 1 : 3;
	return n;
}

static size_t character_length(struct cv_str s)
{
	size_t n = 1;

	while (n < s.len && ((unsigned char)s.ptr[n] & 0xC0) == 0x80)
		n++;
	return n;
}

static void append_q(struct cv_buf *out, struct cv_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (is_q_plain(s.ptr[i]))
			cv_buf_append_char(out, s.ptr[i]);
		else if (s.ptr[i] == ' ')
			cv_buf_append_char(out, '_');
		else
			cv_buf_printf(out, "=%02X", (unsigned)(unsigned char)s.ptr[i]);
	}
}

void cv_header_encode(struct cv_buf *out, struct cv_str utf8)
{
	bool plain_text = cv_str_find_str(utf8, CV_STR("=?")) == SIZE_MAX, base64, first = true;
	struct cv_buf valid;
	struct cv_str s;

	for (size_t i = 0; i < utf8.len && plain_text; i++)
		plain_text = utf8.ptr[i] >= 32 && utf8.ptr[i] < 127;
	if (plain_text) {
		cv_buf_append(out, utf8);
		return;
	}
	cv_buf_init(&valid, SIZE_MAX);
	cv_charset_to_utf8(CV_STR("utf-8"), utf8, &valid);
	s = cv_buf_str(&valid);
	base64 = q_length(s) > (s.len + 2) / 3 * 4;
	while (s.len > 0) {
		size_t len = 0;

		while (len < s.len) {
			struct cv_str more =
				cv_str_sub(s, 0, len + character_length(cv_str_sub(s, len, SIZE_MAX)));
			size_t coded = base64 ? (more.len + 2) / 3 * 4 : q_length(more);

			if (coded > WORD_MAX - WORD_FRAME)
				break;
			len = more.len;
		}
		cv_buf_append_c(out, first ? "=?UTF-8?" : " =?UTF-8?");
		cv_buf_append_c(out, base64 ? "B?" : "Q?");
		if (base64)
			cv_buf_append_base64(out, cv_str_sub(s, 0, len));
		else
			append_q(out, cv_str_sub(s, 0, len));
		cv_buf_append(out, CV_STR("?="));
		s = cv_str_sub(s, len, SIZE_MAX);
		first = false;
	}
	cv_buf_deinit(&valid);
}
