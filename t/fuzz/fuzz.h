/* SPDX-License-Identifier: MIT
   Fuzz targets: each file has LLVMFuzzerTestOneInput and calls fuzz_check for the properties it looks at. */
#ifndef CV_FUZZ_H
#define CV_FUZZ_H

#include <culver/buf.h>

/* The entry point of libFuzzer and of t/fuzz/fuzz-main.c. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process (abort) with a line that says what does not hold. */
#define fuzz_check(expr) ((expr) ? (void)0 : fuzz_failed(#expr, __FILE__, __LINE__))
static inline void fuzz_failed(const char *expr, const char *file, int line)
{
	(void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, expr);
	abort();
}

#endif
