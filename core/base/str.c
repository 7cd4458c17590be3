/* SPDX-License-Identifier: MIT
   Views of octets: comparing, searching, cutting, checking. */
#include <config.h>

#include <culver/str.h>

#include <string.h>

bool cv_str_eq(struct cv_str a, struct cv_str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool cv_str_eq_c(struct cv_str a, const char *b)
{
	return cv_str_eq(a, cv_str_c(b));
}

bool cv_str_caseeq(struct cv_str a, struct cv_str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (cv_lower(a.ptr[i]) != cv_lower(b.ptr[i]))
			return false;
	}
	return true;
}

bool cv_str_caseeq_c(struct cv_str a, const char *b)
{
	return cv_str_caseeq(a, cv_str_c(b));
}

bool cv_str_starts(struct cv_str s, struct cv_str prefix)
{
	return s.len >= prefix.len && cv_str_eq(cv_str_sub(s, 0, prefix.len), prefix);
}

bool cv_str_casestarts(struct cv_str s, struct cv_str prefix)
{
	return s.len >= prefix.len && cv_str_caseeq(cv_str_sub(s, 0, prefix.len), prefix);
}

bool cv_str_ends(struct cv_str s, struct cv_str suffix)
{
	return s.len >= suffix.len && cv_str_eq(cv_str_sub(s, s.len - suffix.len, suffix.len), suffix);
}

int cv_str_cmp(struct cv_str a, struct cv_str b)
{
	size_t common = CV_MIN(a.len, b.len);
	int order = common > 0 ? memcmp(a.ptr, b.ptr, common) : 0;

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len ? 1 : 0;
}

size_t cv_str_find(struct cv_str s, char c)
{
	const char *at = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;

	return at != NULL ? (size_t)(at - s.ptr) : SIZE_MAX;
}

size_t cv_str_rfind(struct cv_str s, char c)
{
	const char *at = s.len > 0 ? memrchr(s.ptr, c, s.len) : NULL;

	return at != NULL ? (size_t)(at - s.ptr) : SIZE_MAX;
}

size_t cv_str_find_str(struct cv_str s, struct cv_str needle)
{
	const char *at;

	if (needle.len == 0)
		return 0;
	if (s.len < needle.len)
		return SIZE_MAX;
	at = memmem(s.ptr, s.len, needle.ptr, needle.len);
	return at != NULL ? (size_t)(at - s.ptr) : SIZE_MAX;
}

struct cv_str cv_str_trim(struct cv_str s)
{
	while (s.len > 0 && cv_is_space(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && cv_is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

bool cv_str_like(struct cv_str s, struct cv_str mask)
{
	size_t i = 0, m = 0, star = SIZE_MAX, mark = 0;

	while (i < s.len) {
		if (m < mask.len && mask.ptr[m] == '*') {
			star = m++;
			mark = i;
		} else if (m < mask.len && (mask.ptr[m] == '?' || mask.ptr[m] == s.ptr[i])) {
			m++;
			i++;
		} else if (star != SIZE_MAX) {
			/* The last "*" takes one octet more; an earlier one never needs to. */
			m = star + 1;
			i = ++mark;
		} else {
			return false;
		}
	}
	while (m < mask.len && mask.ptr[m] == '*')
		m++;
	return m == mask.len;
}

bool cv_str_split(struct cv_str s, char c, struct cv_str *head_r, struct cv_str *tail_r)
{
	size_t at = cv_str_find(s, c);

	if (at == SIZE_MAX) {
		*head_r = s;
		*tail_r = (struct cv_str){ 0 };
		return false;
	}
	*head_r = cv_str_sub(s, 0, at);
	*tail_r = cv_str_sub(s, at + 1, SIZE_MAX);
	return true;
}

bool cv_str_has_nul(struct cv_str s)
{
	return cv_str_find(s, '\0') != SIZE_MAX;
}

/* Two words, in one register where the machine has such. */
typedef uint64_t words __attribute__((vector_size(16)));

/* Octets from i on that are ASCII. */
static size_t ascii_run(struct cv_str s, size_t i)
{
	size_t start = i;

	while (s.len - i >= 4 * sizeof(words)) {
		words octets[4], all;

		memcpy(octets, s.ptr + i, sizeof(octets));
		all = octets[0] | octets[1] | octets[2] | octets[3];
		if (((all[0] | all[1]) & 0x8080808080808080u) != 0)
			break;
		i += sizeof(octets);
	}
	while (s.len - i >= sizeof(uint64_t)) {
		uint64_t octets;

		memcpy(&octets, s.ptr + i, sizeof(octets));
		if ((octets & 0x8080808080808080u) != 0)
			break;
		i += sizeof(octets);
	}
	while (i < s.len && (unsigned char)s.ptr[i] < 0x80)
		i++;
	return i - start;
}

bool cv_str_is_ascii(struct cv_str s)
{
	return ascii_run(s, 0) == s.len;
}

/* Length of the well-formed sequence (RFC 3629 section 4) that begins at p with a non-ASCII octet, or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len;

	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		len = 3;
		if (p[0] == 0xe0)
			lo = 0xa0; /* overlong below */
		else if (p[0] == 0xed)
			hi = 0x9f; /* surrogates above */
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		if (p[0] == 0xf0)
			lo = 0x90;
		else if (p[0] == 0xf4)
			hi = 0x8f; /* beyond U+10FFFF */
	} else {
		return 0;
	}
	if (left < len || p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	}
	return len;
}

bool cv_str_is_utf8(struct cv_str s)
{
	size_t i = 0;

	for (;;) {
		size_t len;

		i += ascii_run(s, i);
		if (i == s.len)
			return true;
		len = utf8_sequence((const unsigned char *)s.ptr + i, s.len - i);
		if (len == 0)
			return false;
		i += len;
	}
}

bool cv_str_to_u64(struct cv_str s, uint64_t max, uint64_t *n_r)
{
	uint64_t n = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		uint64_t digit;

		if (!cv_is_digit(s.ptr[i]))
			return false;
		digit = (uint64_t)(s.ptr[i] - '0');
		if (n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
		if (n > max)
			return false;
	}
	*n_r = n;
	return true;
}

bool cv_str_to_u32(struct cv_str s, uint32_t max, uint32_t *n_r)
{
	uint64_t n;

	if (!cv_str_to_u64(s, max, &n))
		return false;
	*n_r = (uint32_t)n;
	return true;
}
