/* SPDX-License-Identifier: MIT
   Streaming conversion to UTF-8: UTF-8 itself, UTF-7, windows-1252 and guessing by our own code, charsets of single octets
   by tables (charset-tables.c), all else by iconv. */
#include <config.h>

#include <culver/charset.h>

#include "core/message/charset-private.h"
#include "core/message/words-private.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#define PENDING_MAX 16
#define CACHE_SLOTS 64

struct cv_charset {
	struct cv_charset_name name;
	iconv_t cd; /* ICONV only */
	const uint16_t *high; /* TABLE only: characters of the octets from 0x80 on */
	uint8_t pending_len;
	uint8_t pending[PENDING_MAX]; /* start of a character whose rest has not come yet */
	struct {
		bool shifted;    /* behind "+" */
		bool empty;      /* and nothing else */
		uint32_t bits;
		uint8_t count;   /* of bits that are no whole unit yet */
		uint16_t high;   /* surrogate whose other half has not come yet */
	} utf7;
};

/* Descriptors that nobody uses now. One thread per process, so no lock; a worker inherits it filled. */
static struct {
	char iconv_name[24]; /* empty: free slot */
	iconv_t cd;
} cache[CACHE_SLOTS];

static bool descriptor_get(const char *iconv_name, iconv_t *cd_r)
{
	for (size_t i = 0; i < CACHE_SLOTS; i++) {
		if (strcmp(cache[i].iconv_name, iconv_name) == 0) {
			*cd_r = cache[i].cd;
			cache[i].iconv_name[0] = '\0';
			return true;
		}
	}
	*cd_r = iconv_open("UTF-8", iconv_name);
	return *cd_r != (iconv_t)-1;
}

static void descriptor_put(const char *iconv_name, iconv_t cd)
{
	for (size_t i = 0; i < CACHE_SLOTS; i++) {
		if (cache[i].iconv_name[0] == '\0') {
			(void)iconv(cd, NULL, NULL, NULL, NULL);
			memcpy(cache[i].iconv_name, iconv_name, sizeof(cache[i].iconv_name));
			cache[i].cd = cd;
			return;
		}
	}
	(void)iconv_close(cd);
}

void cv_charset_cache_clear(void)
{
	for (size_t i = 0; i < CACHE_SLOTS; i++) {
		if (cache[i].iconv_name[0] != '\0') {
			cache[i].iconv_name[0] = '\0';
			(void)iconv_close(cache[i].cd);
		}
	}
}

/* NULL: iconv has to convert it. */
static const uint16_t *table_of(const char *iconv_name)
{
	for (size_t i = 0; i < cv_charset_table_count; i++) {
		if (strcmp(cv_charset_tables[i].iconv_name, iconv_name) == 0)
			return cv_charset_tables[i].high;
	}
	return NULL;
}

struct cv_charset *cv_charset_open(struct cv_str name)
{
	struct cv_charset *charset = cv_new0(struct cv_charset);

	cv_charset_resolve(name, &charset->name);
	if (charset->name.kind == CV_CHARSET_ICONV) {
		charset->high = table_of(charset->name.iconv_name);
		if (charset->high != NULL)
			charset->name.kind = CV_CHARSET_TABLE;
	}
	if (charset->name.kind == CV_CHARSET_ICONV && !descriptor_get(charset->name.iconv_name, &charset->cd)) {
		charset->name.kind = CV_CHARSET_GUESS;
		charset->name.known = false;
	}
	return charset;
}

void cv_charset_close(struct cv_charset **charset)
{
	if (*charset == NULL)
		return;
	if ((*charset)->name.kind == CV_CHARSET_ICONV)
		descriptor_put((*charset)->name.iconv_name, (*charset)->cd);
	cv_free(*charset);
	*charset = NULL;
}

bool cv_charset_known(struct cv_str name)
{
	struct cv_charset *charset = cv_charset_open(name);
	bool known = charset->name.known;

	cv_charset_close(&charset);
	return known;
}

static void append_replacement(struct cv_buf *out)
{
	cv_buf_append(out, CV_STR("\xEF\xBF\xBD"));
}

/* windows-1252's characters for the octets from 0x80 on. */
static const uint16_t windows_1252[128] = { 0x20AC, 0xFFFD, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0xFFFD,
	0x017D, 0xFFFD, 0xFFFD, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0xFFFD, 0x017E, 0x0178,
	0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF,
	0xB0, 0xB1, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xBB, 0xBC, 0xBD, 0xBE, 0xBF,
	0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF,
	0xD0, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF,
	0xE0, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xEB, 0xEC, 0xED, 0xEE, 0xEF,
	0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF };

const uint16_t *cv_charset_high(const struct cv_charset *charset)
{
	return charset->name.kind == CV_CHARSET_WINDOWS_1252 ? windows_1252 : charset->name.kind == CV_CHARSET_TABLE ? charset->high : NULL;
}

bool cv_charset_is_utf8(const struct cv_charset *charset)
{
	return charset->name.kind == CV_CHARSET_UTF8;
}

bool cv_charset_is_guessed(const struct cv_charset *charset)
{
	return charset->name.kind == CV_CHARSET_GUESS;
}

static void append_windows_1252(struct cv_buf *out, uint8_t octet)
{
	cv_buf_append_utf8(out, octet >= 0x80 ? windows_1252[octet - 0x80] : octet);
}

static size_t ascii_run(const uint8_t *p, size_t len)
{
	size_t n = 0;

	for (; len - n >= CV_WORD; n += CV_WORD) {
		uint64_t marks = cv_word_load(p + n) & CV_WORD_HIGH;

		if (marks != 0)
			return n + cv_word_before(marks);
	}
	while (n < len && p[n] < 0x80)
		n++;
	return n;
}

/* One UTF-8 sequence (RFC 3629) at p, len > 0: its length when it is whole; 0 when all octets are there so far but some are
   missing; -n when the first n octets can be no part of any. */
static int utf8_sequence(const uint8_t *p, size_t len)
{
	uint8_t first = p[0], low = 0x80, high = 0xBF;
	size_t need = 0;

	if (first < 0x80)
		return 1;
	if (first >= 0xC2 && first <= 0xDF)
		need = 2;
	else if (first >= 0xE0 && first <= 0xEF)
		need = 3;
	else if (first >= 0xF0 && first <= 0xF4)
		need = 4;
	if (need == 0)
		return -1;
	if (first == 0xE0)
		low = 0xA0; /* overlong */
	else if (first == 0xED)
		high = 0x9F; /* surrogates */
	else if (first == 0xF0)
		low = 0x90;
	else if (first == 0xF4)
		high = 0x8F;
	for (size_t i = 1; i < need; i++) {
		if (i == len)
			return 0;
		if (p[i] < low || p[i] > high)
			return -(int)i;
		low = 0x80;
		high = 0xBF;
	}
	return (int)need;
}

static bool continues(uint8_t octet)
{
	return (octet & 0xC0) == 0x80;
}

/* Octets of the sequences at p that are seen to be well-formed at first glance: those of two octets, and those of three that begin from E1 to EC. */
static size_t common_run(const uint8_t *p, size_t len)
{
	size_t n = 0;

	while (len - n >= 3) {
		if (p[n] >= 0xC2 && p[n] <= 0xDF && continues(p[n + 1]))
			n += 2;
		else if (p[n] >= 0xE1 && p[n] <= 0xEC && continues(p[n + 1]) && continues(p[n + 2]))
			n += 3;
		else if (p[n] < 0x80 && p[n + 1] >= 0x80) /* a blank between words */
			n++;
		else
			break;
	}
	return n;
}

static void append_invalid(const struct cv_charset *charset, struct cv_buf *out, const uint8_t *p, size_t len)
{
	if (charset->name.kind == CV_CHARSET_UTF8) {
		append_replacement(out);
		return;
	}
	for (size_t i = 0; i < len; i++)
		append_windows_1252(out, p[i]);
}

static void feed_utf8(struct cv_charset *charset, const uint8_t *p, size_t len, struct cv_buf *out)
{
	size_t start = 0, pos = 0;

	while (charset->pending_len > 0 && len > 0) {
		int n;

		charset->pending[charset->pending_len] = p[0];
		n = utf8_sequence(charset->pending, charset->pending_len + 1U);
		if (n < 0) { /* p[0] is not of it and is looked at again below */
			append_invalid(charset, out, charset->pending, charset->pending_len);
			charset->pending_len = 0;
			break;
		}
		p++;
		len--;
		charset->pending_len++;
		if (n > 0) {
			cv_buf_append_mem(out, charset->pending, charset->pending_len);
			charset->pending_len = 0;
		}
	}
	while (pos < len) {
		int n;

		pos += ascii_run(p + pos, len - pos);
		if (pos < len)
			pos += common_run(p + pos, len - pos);
		if (pos == len)
			break;
		n = utf8_sequence(p + pos, len - pos);
		if (n > 0) {
			pos += (size_t)n;
			continue;
		}
		cv_buf_append_mem(out, p + start, pos - start);
		if (n == 0) {
			charset->pending_len = (uint8_t)(len - pos);
			memcpy(charset->pending, p + pos, len - pos);
			return;
		}
		append_invalid(charset, out, p + pos, (size_t)-n);
		pos += (size_t)-n;
		start = pos;
	}
	if (pos > start)
		cv_buf_append_mem(out, p + start, pos - start);
}

/* UTF-8 of a character below U+10000 that is none of ASCII; returns its end. UNSAFE: to has room for three octets. */
static char *put_utf8(char *to, uint16_t c)
{
	if (c < 0x800) {
		*to++ = (char)(0xC0 | c >> 6);
	} else {
		*to++ = (char)(0xE0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 63));
	}
	*to++ = (char)(0x80 | (c & 63));
	return to;
}

#define PIECE ((size_t)2048) /* octets for whose characters room is made at once */

/* Each octet is a character: ASCII, or what the table has for those from 0x80 on, which is below U+10000 and none of ASCII. */
static void feed_octets(const uint16_t high[128], const uint8_t *p, size_t len, struct cv_buf *out)
{
	while (len > 0) {
		size_t take = CV_MIN(len, PIECE), pos = 0;
		char *start, *to;

		if (take * 3 + CV_WORD > out->max - out->len) { /* no room for the worst: it may fit all the same */
			cv_buf_append_utf8(out, *p < 0x80 ? *p : high[*p - 0x80]);
			p++;
			len--;
			continue;
		}
		start = to = cv_buf_reserve(out, take * 3 + CV_WORD);
		if (start == NULL)
			return;
		/* UNSAFE: at most three octets for each. ASCII is written a word at a time; what is none of it is then written over. */
		while (pos < take) {
			if (take - pos >= CV_WORD) {
				uint64_t word = cv_word_load(p + pos), marks = word & CV_WORD_HIGH;
				size_t run = marks == 0 ? CV_WORD : cv_word_before(marks);

				cv_word_store(to, word);
				to += run;
				pos += run;
				if (marks == 0)
					continue;
			}
			if (p[pos] < 0x80)
				*to++ = (char)p[pos++];
			while (pos < take && p[pos] >= 0x80)
				to = put_utf8(to, high[p[pos++] - 0x80]);
		}
		cv_buf_commit(out, (size_t)(to - start));
		p += take;
		len -= take;
	}
}

/* ---- UTF-7 (RFC 2152). glibc's decoder gives other results for broken text when it is cut in other places. ---- */

static int modified_base64(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static void utf7_unit(struct cv_charset *charset, uint16_t unit, struct cv_buf *out)
{
	uint16_t high = charset->utf7.high;

	charset->utf7.high = 0;
	if (unit >= 0xDC00 && unit <= 0xDFFF && high != 0) {
		cv_buf_append_utf8(out, 0x10000 + ((uint32_t)(high - 0xD800) << 10) + (uint32_t)(unit - 0xDC00));
		return;
	}
	if (high != 0)
		append_replacement(out);
	if (unit >= 0xD800 && unit <= 0xDBFF)
		charset->utf7.high = unit;
	else
		cv_buf_append_utf8(out, unit); /* a lone low surrogate becomes U+FFFD */
}

/* The shifted part ends: only less than 6 zero bits may be left. */
static void utf7_unshift(struct cv_charset *charset, struct cv_buf *out)
{
	uint32_t left = charset->utf7.bits & ((UINT32_C(1) << charset->utf7.count) - 1);

	if (charset->utf7.high != 0 || charset->utf7.count >= 6 || left != 0)
		append_replacement(out);
	memset(&charset->utf7, 0, sizeof(charset->utf7));
}

static void feed_utf7(struct cv_charset *charset, const uint8_t *p, size_t len, struct cv_buf *out)
{
	for (size_t i = 0; i < len; i++) {
		int value = modified_base64(p[i]);

		if (charset->utf7.shifted && value >= 0) {
			charset->utf7.empty = false;
			charset->utf7.bits = charset->utf7.bits << 6 | (uint32_t)value;
			charset->utf7.count = (uint8_t)(charset->utf7.count + 6);
			if (charset->utf7.count >= 16) {
				charset->utf7.count = (uint8_t)(charset->utf7.count - 16);
				utf7_unit(charset, (uint16_t)(charset->utf7.bits >> charset->utf7.count), out);
			}
			continue;
		}
		if (charset->utf7.shifted) {
			bool empty = charset->utf7.empty;

			utf7_unshift(charset, out);
			if (p[i] == '-') {
				if (empty)
					cv_buf_append_char(out, '+');
				continue;
			}
			if (empty)
				append_replacement(out);
		}
		if (p[i] == '+')
			charset->utf7.shifted = charset->utf7.empty = true;
		else if (p[i] >= 0x80)
			append_replacement(out);
		else
			cv_buf_append_char(out, (char)p[i]);
	}
}

static void finish_utf7(struct cv_charset *charset, struct cv_buf *out)
{
	if (charset->utf7.empty)
		append_replacement(out);
	utf7_unshift(charset, out);
}

/* ---- iconv ---- */

/* Convert len octets at p; the unfinished rest goes to pending. */
static void convert(struct cv_charset *charset, char *p, size_t len, struct cv_buf *out)
{
	char octets[4096];

	charset->pending_len = 0;
	while (len > 0) {
		char *to = octets;
		size_t left = sizeof(octets), before = len, skip;
		size_t result = iconv(charset->cd, &p, &len, &to, &left);
		int error = result == (size_t)-1 ? errno : 0;

		cv_buf_append_mem(out, octets, sizeof(octets) - left);
		if (error == E2BIG && (len < before || left < sizeof(octets)))
			continue;
		if (error == EINVAL && len < PENDING_MAX) {
			memcpy(charset->pending, p, len);
			charset->pending_len = (uint8_t)len;
			return;
		}
		if (len == 0)
			return;
		/* EILSEQ, or a converter that does not get on: skip one unit */
		append_replacement(out);
		skip = CV_MIN(len, charset->name.unit);
		p += skip;
		len -= skip;
	}
}

static void feed_iconv(struct cv_charset *charset, struct cv_str in, struct cv_buf *out)
{
	char octets[4096 + PENDING_MAX];

	while (in.len > 0 && cv_buf_ok(out)) {
		size_t kept = charset->pending_len, take = CV_MIN(in.len, (size_t)4096);

		memcpy(octets, charset->pending, kept);
		memcpy(octets + kept, in.ptr, take);
		in = cv_str_sub(in, take, SIZE_MAX);
		convert(charset, octets, kept + take, out);
	}
}

void cv_charset_feed(struct cv_charset *charset, struct cv_str in, struct cv_buf *out)
{
	if (in.len == 0)
		return;
	switch (charset->name.kind) {
	case CV_CHARSET_GUESS:
	case CV_CHARSET_UTF8:
		feed_utf8(charset, (const uint8_t *)in.ptr, in.len, out);
		break;
	case CV_CHARSET_WINDOWS_1252:
		feed_octets(windows_1252, (const uint8_t *)in.ptr, in.len, out);
		break;
	case CV_CHARSET_UTF7:
		feed_utf7(charset, (const uint8_t *)in.ptr, in.len, out);
		break;
	case CV_CHARSET_TABLE:
		feed_octets(charset->high, (const uint8_t *)in.ptr, in.len, out);
		break;
	case CV_CHARSET_ICONV:
		feed_iconv(charset, in, out);
		break;
	}
}

void cv_charset_finish(struct cv_charset *charset, struct cv_buf *out)
{
	if (charset->pending_len > 0) {
		if (charset->name.kind == CV_CHARSET_ICONV)
			append_replacement(out);
		else
			append_invalid(charset, out, charset->pending, charset->pending_len);
		charset->pending_len = 0;
	}
	if (charset->name.kind == CV_CHARSET_UTF7)
		finish_utf7(charset, out);
	if (charset->name.kind == CV_CHARSET_ICONV) {
		char octets[64], *to = octets;
		size_t left = sizeof(octets);

		/* some converters hold a letter back until they know that no accent follows */
		(void)iconv(charset->cd, NULL, NULL, &to, &left);
		cv_buf_append_mem(out, octets, sizeof(octets) - left);
		(void)iconv(charset->cd, NULL, NULL, NULL, NULL);
	}
}

void cv_charset_to_utf8(struct cv_str name, struct cv_str in, struct cv_buf *out)
{
	struct cv_charset *charset = cv_charset_open(name);

	cv_charset_feed(charset, in, out);
	cv_charset_finish(charset, out);
	cv_charset_close(&charset);
}

bool cv_charset_from_utf8(struct cv_str name, struct cv_str utf8, struct cv_buf *out)
{
	struct cv_charset_name resolved;
	char octets[1024], *in, *copy;
	const char *to_name;
	size_t left = utf8.len;
	iconv_t cd;
	bool ok = cv_str_is_utf8(utf8);

	cv_charset_resolve(name, &resolved);
	if (!ok || !resolved.known)
		return false;
	to_name = resolved.kind == CV_CHARSET_ICONV ? resolved.iconv_name :
		resolved.kind == CV_CHARSET_UTF8    ? "UTF-8" :
		resolved.kind == CV_CHARSET_UTF7    ? "UTF-7" :
		resolved.kind == CV_CHARSET_GUESS   ? "US-ASCII" :
						      "CP1252";
	cd = iconv_open(to_name, "UTF-8");
	if (cd == (iconv_t)-1)
		return false;
	in = copy = cv_malloc(utf8.len + 1); /* iconv's argument is not const */
	if (utf8.len > 0)
		memcpy(copy, utf8.ptr, utf8.len);
	while (ok && left > 0) {
		char *to = octets;
		size_t room = sizeof(octets), before = left;
		size_t result = iconv(cd, &in, &left, &to, &room);

		/* a positive result counts characters that were replaced by others */
		ok = result == 0 || (result == (size_t)-1 && errno == E2BIG && left < before);
		cv_buf_append_mem(out, octets, sizeof(octets) - room);
	}
	if (ok) {
		char *to = octets;
		size_t room = sizeof(octets);

		ok = iconv(cd, NULL, NULL, &to, &room) != (size_t)-1;
		cv_buf_append_mem(out, octets, sizeof(octets) - room);
	}
	cv_free(copy);
	(void)iconv_close(cd);
	return ok && cv_buf_ok(out);
}
