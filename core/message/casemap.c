/* SPDX-License-Identifier: MIT
   i;unicode-casemap (RFC 5051): titlecase, then compatibility decomposition, character by character. */
#include <config.h>

#include "core/message/casemap-private.h"
#include "core/message/words-private.h"

#include <culver/search.h>

#include <string.h>
#include <utf8proc.h>

#define DECOMPOSED_MAX 32 /* U+FDFA becomes 18, the most of all */

/* Mappings of characters outside ASCII that came before: a text uses few of them, many times, and the library takes long for each. */
#define KNOWN 1024 /* a power of two; those with equal low bits take each other's place */
struct known {
	uint32_t code_point; /* 0: none yet */
	uint8_t len;
	char utf8[11];
};

struct cv_casemap_cache {
	struct known known[KNOWN];
};

struct cv_casemap_cache *cv_casemap_cache_new(void)
{
	return cv_new0(struct cv_casemap_cache);
}

void cv_casemap_cache_free(struct cv_casemap_cache **cache)
{
	if (*cache != NULL)
		cv_free(*cache);
	*cache = NULL;
}

static void append_mapped(struct cv_buf *out, utf8proc_int32_t code_point)
{
	utf8proc_int32_t mapped[DECOMPOSED_MAX];
	int boundary = 0;
	/* UnicodeData.txt has no titlecase for U+00DF; utf8proc knows it a capital since its version 2.3 */
	utf8proc_int32_t title = code_point == 0xDF ? code_point : utf8proc_totitle(code_point);
	utf8proc_ssize_t n = utf8proc_decompose_char(title, mapped, DECOMPOSED_MAX,
		(utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT), &boundary);

	if (n < 0 || n > DECOMPOSED_MAX) {
		cv_buf_append_utf8(out, (uint32_t)code_point);
		return;
	}
	for (utf8proc_ssize_t i = 0; i < n; i++)
		cv_buf_append_utf8(out, (uint32_t)mapped[i]);
}

/* A character outside ASCII of well-formed UTF-8; returns its length. UNSAFE: its first octet tells how many follow. */
static inline size_t code_point_at(const char *p, uint32_t *code_point_r)
{
	const uint8_t *u = (const uint8_t *)p;

	if (u[0] < 0xE0) {
		*code_point_r = (uint32_t)(u[0] & 0x1F) << 6 | (u[1] & 0x3F);
		return 2;
	}
	if (u[0] < 0xF0) {
		*code_point_r = (uint32_t)(u[0] & 0x0F) << 12 | (uint32_t)(u[1] & 0x3F) << 6 | (u[2] & 0x3F);
		return 3;
	}
	*code_point_r = (uint32_t)(u[0] & 0x07) << 18 | (uint32_t)(u[1] & 0x3F) << 12 | (uint32_t)(u[2] & 0x3F) << 6 | (u[3] & 0x3F);
	return 4;
}

/* Upper case for ASCII, eight octets at once, up to the first that is none: bit 7 of each place says whether it is from 'a' to 'z', and no place of ASCII
   carries into the next. */
static uint64_t upper_word(uint64_t word)
{
	uint64_t from_a = word + CV_WORD_EACH * (0x80 - 'a'), above_z = word + CV_WORD_EACH * (0x7F - 'z');

	return word - ((from_a & ~above_z & CV_WORD_HIGH) >> 2);
}

/* Map one character by the library, and remember it; what is longer than an entry stays outside. */
static void append_and_remember(struct cv_buf *out, uint32_t code_point, struct cv_casemap_cache *cache)
{
	struct known *known = &cache->known[code_point & (KNOWN - 1)];
	size_t before = out->len, len;

	append_mapped(out, (utf8proc_int32_t)code_point);
	len = out->len - before;
	if (!cv_buf_ok(out) || len > sizeof(known->utf8))
		return;
	known->code_point = code_point;
	known->len = (uint8_t)len;
	memcpy(known->utf8, out->data + before, len);
}

#define PIECE ((size_t)4096) /* octets for whose mappings room is made at once */
#define LONGEST (sizeof(((struct known *)0)->utf8)) /* what an entry has for a character, which takes two octets at least */

/* Append the mapping of what s starts with, up to a character that is not in the cache (NULL: up to the first outside ASCII); returns its length, 0 when out
   has no room for what a piece might become. */
static size_t append_known(struct cv_buf *out, struct cv_str s, const struct cv_casemap_cache *cache)
{
	size_t pos = 0, end = CV_MIN(s.len, PIECE);
	size_t room = (end / 2 + 1) * LONGEST + CV_WORD;
	char *start, *to;

	if (room > out->max - out->len)
		return 0;
	start = to = cv_buf_reserve(out, room);
	if (start == NULL)
		return 0;
	/* ASCII is written a word at a time; what is none of it is then written over. */
	/* UNSAFE: each octet taken gives one octet of ASCII, or half of at most LONGEST. */
	while (pos < end) {
		uint32_t code_point;
		const struct known *known;
		size_t len;

		if (s.len - pos >= CV_WORD) {
			uint64_t word = cv_word_load(s.ptr + pos), marks = word & CV_WORD_HIGH;
			size_t run = marks == 0 ? CV_WORD : cv_word_before(marks);

			cv_word_store(to, upper_word(word));
			to += run;
			pos += run;
			if (marks == 0)
				continue;
		} else if ((uint8_t)s.ptr[pos] < 0x80) {
			*to++ = cv_upper(s.ptr[pos++]);
			continue;
		}
		if (cache == NULL)
			break;
		do {
			len = code_point_at(s.ptr + pos, &code_point);
			cv_assert(len <= s.len - pos); /* the caller gives well-formed UTF-8 */
			known = &cache->known[code_point & (KNOWN - 1)];
			if (known->code_point != code_point)
				goto done;
			memcpy(to, known->utf8, LONGEST);
			to += known->len;
			pos += len;
		} while (pos < end && (uint8_t)s.ptr[pos] >= 0x80);
	}
done:
	cv_buf_commit(out, (size_t)(to - start));
	return pos;
}

void cv_casemap_valid(struct cv_buf *out, struct cv_str utf8, struct cv_casemap_cache *cache)
{
	size_t pos = 0;

	while (pos < utf8.len && cv_buf_ok(out)) {
		size_t done = append_known(out, cv_str_sub(utf8, pos, SIZE_MAX), cache);
		uint32_t code_point;

		pos += done;
		if (pos < utf8.len && (uint8_t)utf8.ptr[pos] < 0x80 && done == 0)
			cv_buf_append_char(out, cv_upper(utf8.ptr[pos++]));
		if (pos == utf8.len || (uint8_t)utf8.ptr[pos] < 0x80)
			continue;
		pos += code_point_at(utf8.ptr + pos, &code_point);
		if (cache != NULL)
			append_and_remember(out, code_point, cache);
		else
			append_mapped(out, (utf8proc_int32_t)code_point);
	}
}

void cv_casemap(struct cv_buf *out, struct cv_str utf8)
{
	if (cv_str_is_utf8(utf8))
		cv_casemap_valid(out, utf8, NULL);
	else
		cv_buf_append(out, utf8);
}

static bool compare(struct cv_str a, struct cv_str b, bool substring)
{
	struct cv_buf mapped_a, mapped_b;
	bool result;

	cv_buf_init(&mapped_a, SIZE_MAX);
	cv_buf_init(&mapped_b, SIZE_MAX);
	cv_casemap(&mapped_a, a);
	cv_casemap(&mapped_b, b);
	result = substring ? cv_str_find_str(cv_buf_str(&mapped_a), cv_buf_str(&mapped_b)) != SIZE_MAX :
			     cv_str_eq(cv_buf_str(&mapped_a), cv_buf_str(&mapped_b));
	cv_buf_deinit(&mapped_a);
	cv_buf_deinit(&mapped_b);
	return result;
}

bool cv_casemap_eq(struct cv_str a, struct cv_str b)
{
	return compare(a, b, false);
}

bool cv_casemap_contains(struct cv_str text, struct cv_str needle)
{
	return compare(text, needle, true);
}
