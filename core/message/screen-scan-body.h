/* SPDX-License-Identifier: MIT
   The body of screen-scan.c, once for each kind of processor: OCTETS in a vector, NAME(x) of what is defined here, TARGET of functions. No vector is an argument or
   result: how these are passed depends on the processor. */

typedef uint8_t NAME(octets) __attribute__((vector_size(OCTETS)));

/* UNSAFE: p has as many octets. */
INLINE void NAME(load)(NAME(octets) *v, const uint8_t *p)
{
	memcpy(v, p, sizeof(*v));
}

struct NAME(each_either) {
	NAME(octets) both, value;
};

struct NAME(each_ranges) {
	NAME(octets) low[2], span[2];
};

/* Has one of the octets its highest bit set? */
INLINE bool NAME(any_high)(const NAME(octets) *v)
{
	uint64_t parts[sizeof(*v) / sizeof(uint64_t)];

	memcpy(parts, v, sizeof(parts));
	for (size_t i = 1; i < CV_COUNT_OF(parts); i++)
		parts[0] |= parts[i];
	return (parts[0] & 0x8080808080808080) != 0;
}

static TARGET size_t NAME(skip)(const struct cv_scan *scan, const uint8_t *p, size_t len)
{
	const struct NAME(each_either) first = EACH_EITHER(scan->first), second = EACH_EITHER(scan->second);
	const struct NAME(each_ranges) counts = EACH_RANGES(scan->counts);
	size_t at;

	for (at = 0; len - at > CV_SCAN_BLOCK; at += CV_SCAN_BLOCK) {
		NAME(octets) any = { 0 };

		for (size_t i = at; i < at + CV_SCAN_BLOCK; i += sizeof(NAME(octets))) {
			NAME(octets) v, next;

			NAME(load)(&v, p + i);
			NAME(load)(&next, p + i + 1);
			any |= (IS_EITHER(v, first) & IS_EITHER(next, second)) | IN_RANGES(v, counts);
		}
		if (NAME(any_high)(&any))
			break;
	}
	return at;
}

INLINE size_t NAME(skip_raw)(const struct cv_scan_raw *scan, bool quoted_printable, const uint8_t *p, size_t len)
{
	const struct NAME(each_either) first = EACH_EITHER(scan->plain.first), second = EACH_EITHER(scan->plain.second);
	const struct NAME(each_ranges) counts = EACH_RANGES(scan->plain.counts), quoted_counts = EACH_RANGES(scan->quoted_counts);
	const NAME(octets) ampersand = EACH(scan->ampersand), quoted = EACH(scan->quoted), quoted_ampersand = EACH(scan->quoted_ampersand);
	size_t at;

	for (at = 0; len - at > CV_SCAN_BLOCK; at += CV_SCAN_BLOCK) {
		NAME(octets) any = { 0 }, high = { 0 };

		for (size_t i = at; i < at + CV_SCAN_BLOCK; i += sizeof(NAME(octets))) {
			NAME(octets) v, next, follows;

			NAME(load)(&v, p + i);
			NAME(load)(&next, p + i + 1);
			/* Of all these the highest bit alone counts: next is an octet outside ASCII. "<" and "=" differ in the last one. */
			follows = IS_EITHER(next, second) | (NAME(octets))((next | 1) == '=') | (NAME(octets))(next == ampersand) | next;

			any |= (IS_EITHER(v, first) & follows) | (NAME(octets))(v == ampersand);
			if (quoted_printable)
				any |= (NAME(octets))(v == '=') & ((NAME(octets))((next | 2) == quoted) | (NAME(octets))(next == quoted_ampersand) |
					IN_RANGES(next | 0x20, quoted_counts));
			high |= v;
		}
		/* Most texts that are encoded have none of these. */
		for (size_t i = at; NAME(any_high)(&high) && i < at + CV_SCAN_BLOCK; i += sizeof(NAME(octets))) {
			NAME(octets) v;

			NAME(load)(&v, p + i);
			any |= IN_RANGES(v, counts);
		}
		if (NAME(any_high)(&any))
			break;
	}
	return at;
}

static TARGET size_t NAME(skip_any_raw)(const struct cv_scan_raw *scan, const uint8_t *p, size_t len)
{
	return scan->quoted_printable ? NAME(skip_raw)(scan, true, p, len) : NAME(skip_raw)(scan, false, p, len);
}
