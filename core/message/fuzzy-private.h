/* SPDX-License-Identifier: MIT
   Fuzzy matching of words: how well a text has the words of another one. */
#ifndef CV_FUZZY_PRIVATE_H
#define CV_FUZZY_PRIVATE_H

#include <culver/str.h>

/* Places are worth at most this. */
#define CV_FUZZY_BEST 100u
/* Words of a needle that are looked at. */
#define CV_FUZZY_WORDS_MAX 32u

/* The words of a needle, and how well what was fed since the last reset has them. A word is a run of letters, digits and other characters that are neither space nor
   punctuation; accents and vowel points (combining marks) are left out of it, and what is behind its 64th character. */
struct cv_fuzzy;
/* mapped: text as cv_casemap makes it; of more words than CV_FUZZY_WORDS_MAX the rest is not looked at. */
struct cv_fuzzy *cv_fuzzy_new(struct cv_str mapped);
void cv_fuzzy_free(struct cv_fuzzy **fuzzy);
size_t cv_fuzzy_words(const struct cv_fuzzy *fuzzy);
/* Nothing was found yet. */
void cv_fuzzy_reset(struct cv_fuzzy *fuzzy);
/* A piece of a text, as cv_casemap makes it; a word at its end goes on in the next piece. place: what it is worth to be found there. */
void cv_fuzzy_feed(struct cv_fuzzy *fuzzy, struct cv_str mapped, unsigned place);
/* The end of a text: the word at its end is whole. */
void cv_fuzzy_end(struct cv_fuzzy *fuzzy, unsigned place);
/* The needle as it is was found in such a place, perhaps within a word. */
void cv_fuzzy_phrase(struct cv_fuzzy *fuzzy, unsigned place);
/* 0: a word of the needle was not found; else 1 to 100, as header search.h has it. */
unsigned cv_fuzzy_score(const struct cv_fuzzy *fuzzy);

#endif
