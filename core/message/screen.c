/* SPDX-License-Identifier: MIT
   What screen-private.h promises.

   A key has an anchor: two neighbours of ASCII where it has such, else one character. Where the key is in a text, the anchor comes from two octets of ASCII that
   are neighbours there too, in either case, or from a character outside ASCII whose mapping lies over it. So only such places are candidates. Octets are
   looked at in blocks by vector operations; what characters lie over the anchor is found out for 64 of them at once, when the first of these is met. */
#include <config.h>

#include "core/message/charset-private.h"
#include "core/message/screen-private.h"
#include "core/message/screen-scan-private.h"

#include <culver/search.h>

#include <string.h>

#define TABLES 4u            /* charsets of single octets whose characters are remembered */
#define WORK_MAX ((size_t)4096) /* octets compared at candidates, besides twice those of the text: more is left to who maps all */
#define NO_CHARACTER 0xFFFDu
#define BLOCKS ((size_t)0x20000 / 64) /* of characters that are remembered: those of the first two planes */

/* What octets from 0x80 on of one charset can have to do with the anchor. */
struct map {
	const uint16_t *high;  /* characters of a charset of single octets; NULL: UTF-8, and octets that begin a character count */
	bool counts[256];
	struct cv_scan_ranges ranges;  /* that have all of them */
};

struct cv_screen {
	struct cv_buf needle;
	size_t anchor, anchor_len; /* octets of it */
	bool pair;                 /* two of ASCII */
	bool ascii;                /* one or two of ASCII */
	bool word;                 /* all of it is letters and digits of ASCII */
	struct cv_scan_either first, second;
	struct cv_casemap_cache *casemap; /* borrowed */
	struct map utf8, tables[TABLES];
	unsigned table_count, oldest;
	uint64_t *covers;          /* a bit for each character; by block, known after it was asked */
	bool *known;
	struct cv_buf utf8_text, mapped;
	size_t work; /* octets that were compared at candidates */
};

/* ---- what the anchor can come from ----------------------------------------------------------------- */

/* Can a character whose mapping this is be the one, or one of those, that the anchor comes from? */
static bool lies_over(const struct cv_screen *s, struct cv_str mapping)
{
	struct cv_str needle = cv_buf_str(&s->needle);

	/* The needle begins within the mapping, ... */
	for (size_t skip = 1; skip < mapping.len; skip++) {
		size_t common = CV_MIN(needle.len, mapping.len - skip);

		if (common > s->anchor && memcmp(needle.ptr, mapping.ptr + skip, common) == 0)
			return true;
	}
	/* ... or the mapping within the needle. */
	for (size_t at = 0; at < s->anchor + s->anchor_len; at++) {
		size_t common = CV_MIN(mapping.len, needle.len - at);

		if (at + common > s->anchor && memcmp(needle.ptr + at, mapping.ptr, common) == 0)
			return true;
	}
	return false;
}

static bool character_lies_over(struct cv_screen *s, uint32_t code_point)
{
	cv_buf_clear(&s->utf8_text);
	cv_buf_clear(&s->mapped);
	cv_buf_append_utf8(&s->utf8_text, code_point);
	/* Ideographs have neither case nor decomposition. */
	if (code_point >= 0x3400 && code_point < 0xA000)
		return lies_over(s, cv_buf_str(&s->utf8_text));
	cv_casemap_valid(&s->mapped, cv_buf_str(&s->utf8_text), NULL);
	return lies_over(s, cv_buf_str(&s->mapped));
}

/* Two ranges that have the octets from from on which count, with the widest gap between them. */
static struct cv_scan_ranges find_ranges(const bool *counts, unsigned from)
{
	unsigned first = 0, last = 0, gap = 0, behind_gap = 0;

	for (unsigned i = from; i < 0x100; i++) {
		if (!counts[i])
			continue;
		if (first == 0) {
			first = behind_gap = i;
		} else if (i - last > gap) {
			gap = i - last;
			behind_gap = i;
		}
		last = i;
	}
	if (first == 0)
		first = last = behind_gap = gap = 0xFF; /* none: this is looked at for nothing */
	return (struct cv_scan_ranges){ { (uint8_t)first, (uint8_t)behind_gap },
		{ (uint8_t)(CV_MAX(behind_gap - gap, first) - first), (uint8_t)(last - behind_gap) } };
}

static void begin_utf8(struct cv_screen *s)
{
	for (unsigned lead = 0xC2; lead <= 0xF4; lead++) {
		/* U+4000 to U+9FFF are ideographs and the like. */
		bool themselves = lead >= 0xE4 && lead <= 0xE9;

		s->utf8.counts[lead] = !themselves || (!s->ascii && (uint8_t)s->needle.data[s->anchor] == lead);
	}
	s->utf8.ranges = find_ranges(s->utf8.counts, 0x80);
}

/* The block of the character that begins at p, of two octets at least; BLOCKS: none that is whole, or one of those that are not remembered. */
static size_t block_of(const uint8_t *p, size_t len, unsigned *bit_r)
{
	size_t need = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;

	if (len < need || p[0] > 0xF0 || (p[0] == 0xF0 && (p[1] & 0x3F) >= 0x20))
		return BLOCKS;
	*bit_r = p[need - 1] & 0x3F;
	if (need == 2)
		return p[0] & 0x1F;
	if (need == 3)
		return (size_t)(p[0] & 0x0F) << 6 | (p[1] & 0x3F);
	return (size_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
}

/* Of 64 characters. */
static void learn_block(struct cv_screen *s, size_t block)
{
	s->known[block] = true;
	for (uint32_t i = 0; i < 64; i++)
		if (character_lies_over(s, (uint32_t)block << 6 | i))
			s->covers[block] |= UINT64_C(1) << i;
}

/* Of the characters of two octets all are learned when one is met: the ranges then pass over the alphabets that have nothing to do with the key. */
static void learn_alphabets(struct cv_screen *s)
{
	for (size_t lead = 0xC2; lead < 0xE0; lead++) {
		learn_block(s, lead & 0x1F);
		s->utf8.counts[lead] = s->covers[lead & 0x1F] != 0;
	}
	s->utf8.ranges = find_ranges(s->utf8.counts, 0x80);
}

/* The character that begins at p, of two octets at least, may lie over the anchor. */
static bool utf8_lies_over(struct cv_screen *s, const uint8_t *p, size_t len)
{
	unsigned bit = 0;
	size_t block = block_of(p, len, &bit);

	if (block == BLOCKS)
		return true;
	if (!s->known[block] && p[0] < 0xE0)
		learn_alphabets(s);
	else if (!s->known[block])
		learn_block(s, block);
	return (s->covers[block] >> bit & 1) != 0;
}

static const struct map *map_of(struct cv_screen *s, const struct cv_charset *charset)
{
	const uint16_t *high = cv_charset_high(charset);
	struct map *map;

	if (high == NULL)
		return &s->utf8;
	for (unsigned i = 0; i < s->table_count; i++)
		if (s->tables[i].high == high)
			return &s->tables[i];
	map = &s->tables[s->table_count < TABLES ? s->table_count++ : s->oldest++ % TABLES];
	*map = (struct map){ .high = high };
	for (unsigned i = 0; i < 128; i++)
		map->counts[0x80 + i] = high[i] != NO_CHARACTER && character_lies_over(s, high[i]);
	map->ranges = find_ranges(map->counts, 0x80);
	return map;
}

/* ---- the key ----------------------------------------------------------------------------------------- */

static bool can_be_screened(struct cv_str needle)
{
	if (needle.len == 0 || !cv_str_is_utf8(needle) || cv_str_find_str(needle, CV_STR("\xEF\xBF\xBD")) != SIZE_MAX)
		return false;
	for (size_t i = 0; i < needle.len; i++)
		if (needle.ptr[i] >= 'a' && needle.ptr[i] <= 'z')
			return false;
	return true;
}

/* How often an octet of ASCII is in texts, roughly: of a thousand. */
static unsigned frequency(char c)
{
	static const uint8_t letters[26] = { 82, 15, 28, 43, 127, 22, 20, 61, 70, 2, 8, 40, 24, 67, 75, 19, 1, 60, 63, 91, 28, 10, 24, 2, 20, 1 };

	if (c >= 'A' && c <= 'Z')
		return letters[c - 'A'];
	return c == ' ' || c == '\n' || c == '\r' || c == '=' ? 180 : c == '.' || c == ',' || c == '-' || c == '<' || c == '>' || c == '/' ? 30 : 5;
}

static struct cv_scan_either either_case(char c)
{
	bool letter = c >= 'A' && c <= 'Z';

	return letter ? (struct cv_scan_either){ 0x20, (uint8_t)(c | 0x20) } : (struct cv_scan_either){ 0, (uint8_t)c };
}

/* The two neighbours of ASCII that are the rarest; a character outside ASCII, where there are none; else the only octet. */
static void choose_anchor(struct cv_screen *s)
{
	const char *needle = s->needle.data;
	unsigned best = UINT32_MAX;
	size_t len = s->needle.len;

	for (size_t i = 0; i + 1 < len; i++) {
		unsigned often = frequency(needle[i]) * frequency(needle[i + 1]);

		if ((uint8_t)needle[i] >= 0x80 || (uint8_t)needle[i + 1] >= 0x80 || often >= best)
			continue;
		best = often;
		s->anchor = i;
		s->pair = true;
	}
	if (!s->pair)
		while (s->anchor + 1 < len && (uint8_t)needle[s->anchor] < 0x80)
			s->anchor++;
	s->ascii = (uint8_t)needle[s->anchor] < 0x80;
	s->anchor_len = s->pair ? 2 : 1;
	/* Without one of ASCII: no octet below 0x80 is this. */
	s->first = s->ascii ? either_case(needle[s->anchor]) : (struct cv_scan_either){ 0, 0xFF };
	if (s->pair)
		s->second = either_case(needle[s->anchor + 1]);
	else
		s->second = (struct cv_scan_either){ 0xFF, 0xFF }; /* any */
	if (s->ascii)
		return;
	while (s->anchor + s->anchor_len < len && ((uint8_t)needle[s->anchor + s->anchor_len] & 0xC0) == 0x80)
		s->anchor_len++;
}

struct cv_screen *cv_screen_new(struct cv_str needle, struct cv_casemap_cache *casemap)
{
	struct cv_screen *s;

	if (!can_be_screened(needle))
		return NULL;
	s = cv_new0(struct cv_screen);
	cv_buf_init(&s->needle, SIZE_MAX);
	cv_buf_append(&s->needle, needle);
	cv_buf_init(&s->utf8_text, SIZE_MAX);
	cv_buf_init(&s->mapped, SIZE_MAX);
	s->casemap = casemap;
	s->covers = cv_calloc(BLOCKS, sizeof(*s->covers));
	s->known = cv_calloc(BLOCKS, sizeof(*s->known));
	choose_anchor(s);
	s->word = true;
	for (size_t i = 0; i < needle.len; i++)
		s->word = s->word && cv_is_alnum(needle.ptr[i]);
	begin_utf8(s);
	return s;
}

void cv_screen_free(struct cv_screen **screen)
{
	struct cv_screen *s = *screen;

	if (s == NULL)
		return;
	cv_buf_deinit(&s->needle);
	cv_buf_deinit(&s->utf8_text);
	cv_buf_deinit(&s->mapped);
	cv_free(s->covers);
	cv_free(s->known);
	cv_free(s);
	*screen = NULL;
}

bool cv_screen_takes(const struct cv_charset *charset)
{
	return cv_charset_high(charset) != NULL || cv_charset_is_utf8(charset) || cv_charset_is_guessed(charset);
}

size_t cv_screen_margin(const struct cv_screen *screen)
{
	return 4 * screen->needle.len + 8;
}

/* ---- the text ---------------------------------------------------------------------------------------- */

/* PERHAPS: what is not ASCII has to be mapped first. */
enum answer { NO, YES, PERHAPS };

/* As long as there is only ASCII around the anchor at pos, the octets tell. */
static enum answer compare_ascii(struct cv_screen *s, struct cv_str text, size_t pos)
{
	struct cv_str needle = cv_buf_str(&s->needle);
	size_t i;

	for (i = s->anchor; i < needle.len; i++) {
		size_t at = pos + (i - s->anchor);

		if (at >= text.len)
			return NO;
		if ((uint8_t)text.ptr[at] >= 0x80)
			return PERHAPS;
		if (cv_upper(text.ptr[at]) != needle.ptr[i])
			break;
	}
	s->work += i - s->anchor;
	if (i < needle.len)
		return NO;
	for (i = 0; i < s->anchor; i++) {
		if (i == pos)
			return NO;
		if ((uint8_t)text.ptr[pos - 1 - i] >= 0x80)
			return PERHAPS;
		if (cv_upper(text.ptr[pos - 1 - i]) != needle.ptr[s->anchor - 1 - i])
			break;
	}
	s->work += i;
	return i < s->anchor ? NO : YES;
}

/* Convert and map what is around pos, where a character lies over the anchor, perhaps over its end: each gives an octet at least, and takes four at most. */
static bool compare_mapped(struct cv_screen *s, const struct map *map, struct cv_charset *charset, struct cv_str text, size_t pos)
{
	size_t start = pos, end = CV_MIN(text.len - pos, 4 * (s->needle.len - s->anchor) + 4) + pos;

	for (size_t back = 0; back < s->anchor + s->anchor_len - 1 && start > 0; back++) {
		start--;
		for (int more = 0; more < 3 && map->high == NULL && start > 0 && ((uint8_t)text.ptr[start] & 0xC0) == 0x80; more++)
			start--;
	}
	s->work += end - start;
	cv_buf_clear(&s->utf8_text);
	cv_charset_feed(charset, cv_str_sub(text, start, end - start), &s->utf8_text);
	cv_charset_finish(charset, &s->utf8_text);
	cv_buf_clear(&s->mapped);
	cv_casemap_valid(&s->mapped, cv_buf_str(&s->utf8_text), s->casemap);
	return cv_str_find_str(cv_buf_str(&s->mapped), cv_buf_str(&s->needle)) != SIZE_MAX;
}

static inline bool is_either(uint8_t octet, struct cv_scan_either either)
{
	return (octet | either.both) == either.value;
}

static bool holds_at(struct cv_screen *s, const struct map *map, struct cv_charset *charset, struct cv_str text, size_t pos)
{
	const uint8_t *p = (const uint8_t *)text.ptr + pos;

	if (p[0] < 0x80) {
		enum answer answer;

		/* The second comes from what stands there, or from a character that is a candidate itself. */
		if (!is_either(p[0], s->first) || (s->pair && (pos + 1 == text.len || !is_either(p[1], s->second))))
			return false;
		answer = compare_ascii(s, text, pos);
		return answer == YES || (answer == PERHAPS && compare_mapped(s, map, charset, text, pos));
	}
	if (!map->counts[p[0]] || (map->high == NULL && !utf8_lies_over(s, p, text.len - pos)))
		return false;
	return compare_mapped(s, map, charset, text, pos);
}

/* Ranges may become smaller meanwhile: then more places are candidates than need be. */
static struct cv_scan scan_for(const struct cv_screen *s, const struct map *map)
{
	return (struct cv_scan){ .first = s->first, .second = s->second, .counts = map->ranges };
}

enum cv_screen_answer cv_screen_ask(struct cv_screen *screen, struct cv_charset *charset, struct cv_str text, size_t from, size_t to)
{
	const struct map *map = map_of(screen, charset);
	const struct cv_scan scan = scan_for(screen, map);
	const uint8_t *p = (const uint8_t *)text.ptr;
	size_t work_max;

	to = CV_MIN(to, text.len);
	work_max = to > from ? WORK_MAX + 2 * (to - from) : 0;
	screen->work = 0;
	while (from < to) {
		size_t end;

		from += cv_scan_skip(&scan, p + from, text.len - from);
		for (end = CV_MIN(from + CV_SCAN_BLOCK, to); from < end; from++)
			if (holds_at(screen, map, charset, text, from))
				return CV_SCREEN_YES;
		if (screen->work > work_max)
			return CV_SCREEN_UNKNOWN;
	}
	return CV_SCREEN_NO;
}

/* ---- the text as a message has it -------------------------------------------------------------------- */

/* The first octet of the anchor stands for itself, is written "=XX", comes from an entity, or from a character outside ASCII. Where it stands for itself, the rest
   of the key follows up to something that is decoded ("="), or left out or decoded in HTML ("<", "&"). So nothing has to be decoded to see that there is no such
   place. White space, which quoted-printable drops at the end of lines, is in no word. */

/* 0xFF, which is no text, is for what has no meaning. */
static struct cv_scan_raw scan_raw_for(const struct cv_screen *s, const struct map *map, bool guessed, const struct cv_screen_raw *raw)
{
	static const char digits[] = "0123456789abcdef";
	struct cv_scan_raw scan = { .plain = scan_for(s, map), .quoted_printable = raw->quoted_printable, .ampersand = raw->html ? '&' : 0xFF,
		.quoted_ampersand = raw->html ? '2' : 0xFF };
	bool counts[256] = { false };

	/* 4 and 6, 5 and 7: letters in both cases; 3, of digits, has this bit. */
	scan.quoted = (uint8_t)(digits[s->first.value >> 4] | 2);
	if (guessed)
		scan.plain.counts = (struct cv_scan_ranges){ { 0x80, 0x80 }, { 0x7F, 0x7F } };
	for (unsigned i = 0x80; i < 0x100; i++)
		counts[(uint8_t)digits[i >> 4]] |= guessed || map->counts[i];
	scan.quoted_counts = find_ranges(counts, '8');
	return scan;
}

/* From the anchor's first octet at pos on. */
static bool may_go_on(struct cv_screen *s, const struct cv_screen_raw *raw, size_t pos)
{
	struct cv_str needle = cv_buf_str(&s->needle);

	for (size_t i = s->anchor + 1; i < needle.len; i++) {
		size_t at = pos + (i - s->anchor);
		char c = at < raw->text.len ? raw->text.ptr[at] : '=';

		if ((uint8_t)c >= 0x80 || (c == '=' && raw->quoted_printable) || ((c == '<' || c == '&') && raw->html))
			return true;
		if (cv_upper(c) != needle.ptr[i])
			return false;
		s->work++;
	}
	return true;
}

/* What "=XX" stands for; -1: it is none. */
static int quoted_octet(struct cv_str text, size_t pos)
{
	int high, low;

	if (text.len - pos < 3 || text.ptr[pos] != '=')
		return -1;
	high = cv_hex_digit(text.ptr[pos + 1]);
	low = cv_hex_digit(text.ptr[pos + 2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A character of UTF-8 that begins with "=XX" at pos, all of whose octets are written so; others may count. */
static bool quoted_lies_over(struct cv_screen *s, struct cv_str text, size_t pos)
{
	uint8_t octets[4] = { 0 };
	size_t len = 0;

	for (; len < sizeof(octets) && pos < text.len; pos += 3) {
		int octet = quoted_octet(text, pos);

		if (octet < 0)
			break;
		octets[len++] = (uint8_t)octet;
	}
	return len < 2 || (octets[0] >= 0xE0 && len < 3) || (octets[0] >= 0xF0 && len < 4) || utf8_lies_over(s, octets, len);
}

static bool may_begin_at(struct cv_screen *s, const struct map *map, bool guessed, const struct cv_screen_raw *raw, size_t pos)
{
	uint8_t c = (uint8_t)raw->text.ptr[pos];
	int octet;

	if (c >= 0x80)
		return guessed || map->counts[c];
	if (is_either(c, s->first))
		return may_go_on(s, raw, pos);
	if (c == '&')
		return raw->html;
	if (c != '=' || !raw->quoted_printable)
		return false;
	octet = quoted_octet(raw->text, pos);
	if (octet < 0)
		return false; /* a line that goes on, or an "=" */
	if (octet < 0x80)
		return is_either((uint8_t)octet, s->first) || (octet == '&' && raw->html);
	return guessed || (map->counts[octet] && (map->high != NULL || quoted_lies_over(s, raw->text, pos)));
}

bool cv_screen_may_hold(struct cv_screen *screen, const struct cv_charset *charset, const struct cv_screen_raw *raw)
{
	const struct map *map = map_of(screen, charset);
	bool guessed = cv_charset_is_guessed(charset);
	const uint8_t *p = (const uint8_t *)raw->text.ptr;
	struct cv_scan_raw scan;
	size_t pos = 0;

	if (!screen->word || !screen->pair)
		return true;
	if (map == &screen->utf8 && !screen->known[2])
		learn_alphabets(screen);
	scan = scan_raw_for(screen, map, guessed, raw);
	screen->work = 0;
	while (pos < raw->text.len) {
		size_t end;

		pos += cv_scan_skip_raw(&scan, p + pos, raw->text.len - pos);
		for (end = CV_MIN(pos + CV_SCAN_BLOCK, raw->text.len); pos < end; pos++)
			if (may_begin_at(screen, map, guessed, raw, pos))
				return true;
		if (screen->work > WORK_MAX + raw->text.len)
			return true;
	}
	return false;
}
