/* SPDX-License-Identifier: MIT
   Counts the allocations of a test program by taking the place of the C library's functions (glibc keeps their real names). */
#include <config.h>

#include "t/lib/test.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

/* Work beside the loop (cv_beside_begin) allocates as well. */
static _Atomic long alive;

long cv_test_allocations(void)
{
	return alive;
}

bool cv_test_counts_allocations(void)
{
	return alive > 0;
}

/* gcc and clang tell that the thread sanitizer is there in different ways. */
#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif

/* The sanitizers have their own allocator and their own leak check; the thread sanitizer's can't even start with another one. */
#if !defined(CV_SANITIZE) && !defined(CV_FUZZ) && !defined(THREAD_SANITIZER) && defined(__GLIBC__)

/* Their names are the C library's to choose. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *p);

static void *counted(void *p)
{
	if (p != NULL)
		alive++;
	return p;
}

CV_EXPORT void *malloc(size_t size)
{
	return counted(__libc_malloc(size));
}

CV_EXPORT void *calloc(size_t count, size_t size)
{
	return counted(__libc_calloc(count, size));
}

CV_EXPORT void *realloc(void *p, size_t size)
{
	if (p == NULL)
		return malloc(size);
	if (size == 0)
		alive--;
	return __libc_realloc(p, size);
}

CV_EXPORT void free(void *p)
{
	if (p != NULL)
		alive--;
	__libc_free(p);
}

CV_EXPORT void *memalign(size_t alignment, size_t size)
{
	return counted(__libc_memalign(alignment, size));
}

CV_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

CV_EXPORT int posix_memalign(void **p_r, size_t alignment, size_t size)
{
	void *p = memalign(alignment, size);

	if (p == NULL)
		return ENOMEM;
	*p_r = p;
	return 0;
}

#endif
