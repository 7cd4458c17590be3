/* SPDX-License-Identifier: MIT
   Passing over octets in which a key can't be, many at once: as the processor can, or by the compiler's vectors for any. */
#ifndef CV_SCREEN_SCAN_PRIVATE_H
#define CV_SCREEN_SCAN_PRIVATE_H

#include <culver/base.h>

/* An octet of ASCII, in either case where it is a letter: those which are value with the bits of both set. */
struct cv_scan_either {
	uint8_t both, value;
};

/* Those from low to low + span, twice. */
struct cv_scan_ranges {
	uint8_t low[2], span[2];
};

/* Candidates are an octet like first with one like second behind it, and octets in ranges. */
struct cv_scan {
	struct cv_scan_either first, second;
	struct cv_scan_ranges counts;
};

/* Of a text as a message has it. Candidates are also ampersand; an octet like first with "=", "<", ampersand or one outside ASCII behind it; in quoted-printable
   text "=" with quoted, in which a bit more may be set, quoted_ampersand or a hexadecimal digit (as small letters) in quoted_counts behind it. */
struct cv_scan_raw {
	struct cv_scan plain;
	bool quoted_printable;
	uint8_t ampersand, quoted, quoted_ampersand;
	struct cv_scan_ranges quoted_counts;
};

#define CV_SCAN_BLOCK ((size_t)64)
/* How many octets of p, whole blocks, are before the first block with a candidate. The last block, and what is less than one, is never passed over. */
size_t cv_scan_skip(const struct cv_scan *scan, const uint8_t *p, size_t len);
size_t cv_scan_skip_raw(const struct cv_scan_raw *scan, const uint8_t *p, size_t len);
/* The same for any processor; for tests. */
size_t cv_scan_skip_portable(const struct cv_scan *scan, const uint8_t *p, size_t len);
size_t cv_scan_skip_raw_portable(const struct cv_scan_raw *scan, const uint8_t *p, size_t len);

#endif
