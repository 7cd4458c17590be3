/* SPDX-License-Identifier: MIT
   Fuzzy matching of words: equal, beginning so, or a few slips apart. Costs are bounded by the lengths that are looked at. */
#include <config.h>

#include "core/message/fuzzy-private.h"

#include <culver/base.h>

#include <string.h>

#define WORD_MAX 64u    /* characters of a word that are compared */
#define PREFIX_MIN 3u   /* so long are words that find longer ones */
#define ONE_SLIP_MIN 4u /* so long are words in which one slip is taken for one */
#define TWO_SLIPS_MIN 8u
#define SLIPS_MAX 2u

/* What a word is worth by how it was found, in hundredths; of a needle that was found within a word; of words that do not stand together as in the needle. */
enum { EQUAL = 100, BEGINS = 80, ONE_SLIP = 50, TWO_SLIPS = 30, WITHIN = 60, APART = 90 };
/* The least that a needle can be worth: its words two slips apart, apart from each other, where the place counts least. */
#define LEAST 16u

struct word {
	uint32_t chars[WORD_MAX];
	uint32_t letters; /* which of them are there, by their last five bits */
	unsigned len;
};

struct cv_fuzzy {
	struct word words[CV_FUZZY_WORDS_MAX];
	unsigned worth[CV_FUZZY_WORDS_MAX]; /* hundredths of a place's worth, at best so far */
	size_t count;
	unsigned phrase;     /* the best place of it; 0: none */
	struct word open;    /* the word that has not ended yet */
};

/* ---- words ------------------------------------------------------------------------------------------ */

/* A character of well-formed UTF-8; an octet that is none stands for itself, above all characters. Never beyond the end. */
static size_t take_char(struct cv_str s, size_t pos, uint32_t *c_r)
{
	uint8_t first = (uint8_t)s.ptr[pos];
	size_t len = first < 0x80 ? 1 : (first & 0xE0) == 0xC0 ? 2 : (first & 0xF0) == 0xE0 ? 3 : (first & 0xF8) == 0xF0 ? 4 : 0;
	uint32_t c = len == 1 ? first : first & (0x7Fu >> len);

	if (len == 0 || len > s.len - pos)
		goto octet;
	for (size_t i = 1; i < len; i++) {
		uint8_t next = (uint8_t)s.ptr[pos + i];

		if ((next & 0xC0) != 0x80)
			goto octet;
		c = c << 6 | (next & 0x3Fu);
	}
	*c_r = c;
	return len;
octet:
	*c_r = 0x110000u + first;
	return 1;
}

struct block {
	uint32_t first, last;
};

static bool is_in(const struct block *blocks, size_t count, uint32_t c)
{
	for (size_t i = 0; i < count; i++)
		if (c >= blocks[i].first && c <= blocks[i].last)
			return true;
	return false;
}

/* Marks that a word may have or not: accents (which i;unicode-casemap has split off), points of Hebrew and Arabic, variation selectors, and what is not seen. */
static bool is_mark(uint32_t c)
{
	static const struct block marks[] = { { 0xAD, 0xAD }, { 0x300, 0x36F }, { 0x591, 0x5BD }, { 0x5BF, 0x5BF }, { 0x5C1, 0x5C2 }, { 0x5C4, 0x5C5 },
		{ 0x610, 0x61A }, { 0x640, 0x640 }, { 0x64B, 0x65F }, { 0x670, 0x670 }, { 0x1AB0, 0x1AFF }, { 0x1DC0, 0x1DFF }, { 0x200B, 0x200F },
		{ 0x2060, 0x2064 }, { 0x20D0, 0x20FF }, { 0xFE00, 0xFE0F }, { 0xFE20, 0xFE2F }, { 0xFEFF, 0xFEFF } };

	return c >= 0xAD && is_in(marks, CV_COUNT_OF(marks), c);
}

static bool is_separator(uint32_t c)
{
	static const struct block blocks[] = { { 0x80, 0xA9 }, { 0xAB, 0xB4 }, { 0xB6, 0xB9 }, { 0xBB, 0xBF }, { 0x55A, 0x55F }, { 0x589, 0x58A }, { 0x5BE, 0x5BE },
		{ 0x5C0, 0x5C0 }, { 0x5C3, 0x5C3 }, { 0x5F3, 0x5F4 }, { 0x60C, 0x60D }, { 0x61B, 0x61F }, { 0x66A, 0x66D }, { 0x6D4, 0x6D4 }, { 0x964, 0x965 }, { 0x1680, 0x1680 }, { 0x2000, 0x206F }, { 0x3000, 0x3004 },
		{ 0x3008, 0x3020 }, { 0x3030, 0x3030 }, { 0xFE30, 0xFE6F } };

	if (c < 0x80)
		return !cv_is_alnum((char)c);
	return is_in(blocks, CV_COUNT_OF(blocks), c);
}

static void add_char(struct word *word, uint32_t c)
{
	if (word->len == WORD_MAX)
		return;
	word->chars[word->len++] = c;
	word->letters |= 1u << (c & 31u);
}

/* Read s into word up to the end of that; false: it may go on. */
static bool take_word(struct cv_str s, size_t *pos, struct word *word)
{
	while (*pos < s.len) {
		uint32_t c;

		*pos += take_char(s, *pos, &c);
		if (is_mark(c))
			continue;
		if (!is_separator(c))
			add_char(word, c);
		else if (word->len > 0)
			return true;
	}
	return false;
}

/* ---- comparison ------------------------------------------------------------------------------------- */

static unsigned bits(uint32_t n)
{
	return (unsigned)__builtin_popcount(n);
}

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	return CV_MIN(a, CV_MIN(b, c));
}

/* Characters that are wrong, missing, too many, or swapped with their neighbour: how many slips lead from a to b, or max + 1 when there are more. */
static unsigned slips(const struct word *a, const struct word *b, unsigned max)
{
	unsigned rows[3][WORD_MAX + 1], *two_before = rows[0], *before = rows[1], *now = rows[2];

	for (unsigned j = 0; j <= b->len; j++)
		before[j] = two_before[j] = j;
	for (unsigned i = 1; i <= a->len; i++) {
		/* Only what is at most max places off the diagonal can be in reach. */
		unsigned from = i > max ? i - max : 1, to = CV_MIN(b->len, i + max), best, *oldest = two_before;

		now[from - 1] = from == 1 ? i : max + 1;
		best = now[from - 1];
		for (unsigned j = from; j <= to; j++) {
			bool same = a->chars[i - 1] == b->chars[j - 1];
			unsigned above = j < i + max ? before[j] : max + 1;

			now[j] = least(before[j - 1] + (same ? 0u : 1u), now[j - 1] + 1, above + 1);
			if (i > 1 && j > 1 && a->chars[i - 1] == b->chars[j - 2] && a->chars[i - 2] == b->chars[j - 1])
				now[j] = CV_MIN(now[j], two_before[j - 2] + 1);
			best = CV_MIN(best, now[j]);
		}
		if (best > max)
			return max + 1;
		two_before = before;
		before = now;
		now = oldest;
	}
	return CV_MIN(before[b->len], max + 1);
}

/* How well a word of a text is one of the needle's, in hundredths; 0: not at all. */
static unsigned likeness(const struct word *wanted, const struct word *word)
{
	unsigned max = wanted->len >= TWO_SLIPS_MIN ? SLIPS_MAX : wanted->len >= ONE_SLIP_MIN ? 1 : 0, n;

	if (word->len >= wanted->len && memcmp(word->chars, wanted->chars, wanted->len * sizeof(wanted->chars[0])) == 0) {
		if (word->len == wanted->len)
			return EQUAL;
		if (wanted->len >= PREFIX_MIN)
			return BEGINS;
	}
	/* Most words end here: they are too short or too long, or have too many other letters. */
	if (max == 0 || word->len + max < wanted->len || wanted->len + max < word->len || bits(wanted->letters & ~word->letters) > max ||
		bits(word->letters & ~wanted->letters) > max)
		return 0;
	n = slips(wanted, word, max);
	return n > max ? 0 : n > 1 ? TWO_SLIPS : ONE_SLIP;
}

static void look_at(struct cv_fuzzy *fuzzy, const struct word *word, unsigned place)
{
	for (size_t i = 0; i < fuzzy->count; i++)
		if (fuzzy->worth[i] < EQUAL * place)
			fuzzy->worth[i] = CV_MAX(fuzzy->worth[i], likeness(&fuzzy->words[i], word) * place);
}

/* ---- needles ---------------------------------------------------------------------------------------- */

struct cv_fuzzy *cv_fuzzy_new(struct cv_str mapped)
{
	struct cv_fuzzy *fuzzy = cv_new0(struct cv_fuzzy);
	size_t pos = 0;

	while (pos < mapped.len && fuzzy->count < CV_FUZZY_WORDS_MAX) {
		(void)take_word(mapped, &pos, &fuzzy->words[fuzzy->count]);
		fuzzy->count += fuzzy->words[fuzzy->count].len > 0;
	}
	return fuzzy;
}

void cv_fuzzy_free(struct cv_fuzzy **fuzzy)
{
	cv_free(*fuzzy);
	*fuzzy = NULL;
}

size_t cv_fuzzy_words(const struct cv_fuzzy *fuzzy)
{
	return fuzzy->count;
}

void cv_fuzzy_reset(struct cv_fuzzy *fuzzy)
{
	memset(fuzzy->worth, 0, sizeof(fuzzy->worth));
	fuzzy->phrase = 0;
	fuzzy->open.len = fuzzy->open.letters = 0;
}

void cv_fuzzy_feed(struct cv_fuzzy *fuzzy, struct cv_str mapped, unsigned place)
{
	struct word *word = &fuzzy->open;
	size_t pos = 0;

	while (take_word(mapped, &pos, word))
		cv_fuzzy_end(fuzzy, place);
}

void cv_fuzzy_end(struct cv_fuzzy *fuzzy, unsigned place)
{
	struct word *word = &fuzzy->open;

	if (word->len > 0)
		look_at(fuzzy, word, place);
	word->len = word->letters = 0;
}

void cv_fuzzy_phrase(struct cv_fuzzy *fuzzy, unsigned place)
{
	fuzzy->phrase = CV_MAX(fuzzy->phrase, place);
}

/* From the scale of what words can be worth to all of 1 to 100. */
static unsigned spread(unsigned worth)
{
	return worth <= LEAST ? 1 : 1 + ((worth - LEAST) * 99 + (CV_FUZZY_BEST - LEAST) / 2) / (CV_FUZZY_BEST - LEAST);
}

unsigned cv_fuzzy_score(const struct cv_fuzzy *fuzzy)
{
	unsigned sum = 0, phrase = fuzzy->phrase * WITHIN / 100, worth;
	bool all = fuzzy->count > 0;

	for (size_t i = 0; i < fuzzy->count; i++) {
		all = all && fuzzy->worth[i] > 0;
		sum += fuzzy->worth[i];
	}
	if (fuzzy->count == 0)
		return fuzzy->phrase > 0 ? spread(fuzzy->phrase) : 0; /* punctuation only: found or not */
	if (!all)
		return phrase > 0 ? spread(phrase) : 0;
	worth = sum / (unsigned)fuzzy->count / 100;
	if (fuzzy->count > 1 && fuzzy->phrase == 0)
		worth = worth * APART / 100;
	return spread(CV_MAX(worth, phrase));
}
