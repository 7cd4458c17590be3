/* SPDX-License-Identifier: MIT
   What screen-scan-private.h promises: vectors of 16 octets, which compilers know for any processor, and of 32 where there is AVX2. */
#include <config.h>

#include "core/message/screen-scan-private.h"

#include <string.h>

/* In code that knows what NAME(octets) are. */
#define EACH(octet) ((NAME(octets)){ 0 } + (octet))
#define IS_EITHER(v, each) ((NAME(octets))(((v) | (each).both) == (each).value))
#define IN_RANGES(v, each) ((NAME(octets))((v) - (each).low[0] <= (each).span[0]) | (NAME(octets))((v) - (each).low[1] <= (each).span[1]))

#define EACH_EITHER(either) { EACH((either).both), EACH((either).value) }
#define EACH_RANGES(ranges) { { EACH((ranges).low[0]), EACH((ranges).low[1]) }, { EACH((ranges).span[0]), EACH((ranges).span[1]) } }

#define INLINE static inline __attribute__((always_inline)) TARGET

#define OCTETS 16
#define NAME(x) x##_portable
#define TARGET
#include "core/message/screen-scan-body.h"

size_t cv_scan_skip_portable(const struct cv_scan *scan, const uint8_t *p, size_t len)
{
	return skip_portable(scan, p, len);
}

size_t cv_scan_skip_raw_portable(const struct cv_scan_raw *scan, const uint8_t *p, size_t len)
{
	return skip_any_raw_portable(scan, p, len);
}

#if defined(__x86_64__)
#undef OCTETS
#undef NAME
#undef TARGET
#define OCTETS 32
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2")))
#include "core/message/screen-scan-body.h"
#endif

size_t cv_scan_skip(const struct cv_scan *scan, const uint8_t *p, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return skip_avx2(scan, p, len);
#endif
	return cv_scan_skip_portable(scan, p, len);
}

size_t cv_scan_skip_raw(const struct cv_scan_raw *scan, const uint8_t *p, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return skip_any_raw_avx2(scan, p, len);
#endif
	return cv_scan_skip_raw_portable(scan, p, len);
}
