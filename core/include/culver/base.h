/* SPDX-License-Identifier: MIT
   What every file needs: attributes, assertions, checked arithmetic. */
#ifndef CV_BASE_H
#define CV_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CV_EXPORT stands before a function that is exported, CV_EXPORT_DATA before an object. A module in C++ sees them as C does. */
#ifdef __cplusplus
#define CV_EXPORT extern "C" __attribute__((visibility("default")))
#define CV_EXPORT_DATA CV_EXPORT
#else
#define CV_EXPORT __attribute__((visibility("default")))
#define CV_EXPORT_DATA CV_EXPORT extern
#endif
#define CV_MUST_CHECK __attribute__((warn_unused_result))
#define CV_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define CV_NORETURN __attribute__((noreturn))
#define CV_UNUSED __attribute__((unused))
/* Where a case goes on into the next one: a comment does not convince clang. */
#define CV_FALLTHROUGH __attribute__((fallthrough))

#define CV_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CV_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CV_MAX(a, b) ((a) > (b) ? (a) : (b))

/* End the process: logs "fatal: <text>" and exits with status 70 (abort when built with sanitizers). Unit tests replace
   it through cv_fatal_set_hook. A failed cv_assert ends with abort always. */
CV_EXPORT CV_NORETURN void cv_fatal(const char *fmt, ...) CV_PRINTF(1, 2);

/* Called by cv_fatal and a failed cv_assert before they end the process; NULL by default. A test may longjmp from it. */
typedef void cv_fatal_fn(const char *text);
CV_EXPORT void cv_fatal_set_hook(cv_fatal_fn *fn);

CV_EXPORT CV_NORETURN void cv_assert_failed(const char *expr, const char *file, int line);

/* For our own bugs, never for input. Stays in release builds. */
#define cv_assert(expr) ((expr) ? (void)0 : cv_assert_failed(#expr, __FILE__, __LINE__))

/* Memory with an owner of its own (new/free pairs); zeroed, never NULL: out of memory ends the process. */
CV_EXPORT void *cv_malloc(size_t size);
CV_EXPORT void *cv_calloc(size_t count, size_t size);
/* As reallocarray(3) but never NULL; octets beyond the old size are not zeroed. */
CV_EXPORT void *cv_reallocarray(void *p, size_t count, size_t size);
CV_EXPORT char *cv_strdup(const char *s);
/* free(3); NULL is fine. */
CV_EXPORT void cv_free(void *p);
/* Overwrites len octets so that the compiler cannot leave it out. */
CV_EXPORT void cv_wipe(void *p, size_t len);
#define cv_new0(type) ((type *)cv_calloc(1, sizeof(type)))

/* len random octets from the kernel; ends the process when there are none. */
CV_EXPORT void cv_random(void *p, size_t len);

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4) of len octets, going on from crc (0 at first). */
CV_EXPORT uint32_t cv_crc32c(uint32_t crc, const void *data, size_t len);

/* 64-bit hash for hash tables, keyed by a random per-process seed (SipHash-1-3); never stored. */
CV_EXPORT uint64_t cv_hash(const void *data, size_t len);

/* True when both have the same octets; time depends on len only. For secrets. */
CV_EXPORT bool cv_equal_secret(const void *a, const void *b, size_t len);

#endif
