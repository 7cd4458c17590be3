/* SPDX-License-Identifier: MIT
   Text by eight octets at once: what of them comes before an octet that ends a run. */
#ifndef CV_WORDS_PRIVATE_H
#define CV_WORDS_PRIVATE_H

#include <culver/base.h>

#include <endian.h>
#include <string.h>

#define CV_WORD sizeof(uint64_t)
#define CV_WORD_EACH 0x0101010101010101ULL /* times an octet: that octet in each place */
#define CV_WORD_HIGH (CV_WORD_EACH * 0x80)

/* UNSAFE, both: p has eight octets. The first of them is the lowest of the number. */
static inline uint64_t cv_word_load(const void *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return le64toh(word);
}

static inline void cv_word_store(void *p, uint64_t word)
{
	word = htole64(word);
	memcpy(p, &word, sizeof(word));
}

/* Bit 7 of the first place that has the octet is set, of places before it is not; nothing is said of those behind it. 0: none has it. */
static inline uint64_t cv_word_has(uint64_t word, uint8_t octet)
{
	uint64_t differs = word ^ (CV_WORD_EACH * octet);

	return (differs - CV_WORD_EACH) & ~differs & CV_WORD_HIGH;
}

/* How many places come before the first whose bit 7 is set in marks, which is not 0. */
static inline size_t cv_word_before(uint64_t marks)
{
	return (size_t)__builtin_ctzll(marks) / 8;
}

#endif
