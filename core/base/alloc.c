/* SPDX-License-Identifier: MIT
   Heap memory that is never NULL, wiping, and random octets. */
#include <config.h>

#include <culver/base.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

/* What glibc's malloc takes first from the blocks of that size that were freed last. Its calloc never looks there, so that those would fill up and others be searched. */
#define AT_HAND_MAX 1032

CV_NORETURN static void out_of_memory(size_t count, size_t size)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		cv_fatal("out of memory (%zu times %zu octets): this process may have %llu octets of address space (vsz_limit, default_vsz_limit)", count, size,
			(unsigned long long)limit.rlim_cur);
	cv_fatal("out of memory (%zu times %zu octets)", count, size);
}

void *cv_calloc(size_t count, size_t size)
{
	size_t total;
	void *p;

	if (__builtin_mul_overflow(count, size, &total))
		out_of_memory(count, size);
	/* At least one octet, so that NULL can only mean that there is no memory. */
	total = CV_MAX(total, (size_t)1);
	if (total > AT_HAND_MAX) {
		p = calloc(1, total);
	} else {
		p = malloc(total);
		if (p != NULL)
			memset(p, 0, total);
	}
	if (p == NULL)
		out_of_memory(count, size);
	return p;
}

void *cv_malloc(size_t size)
{
	return cv_calloc(1, size);
}

void *cv_reallocarray(void *p, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		cv_fatal("size overflow (%zu times %zu octets)", count, size);
	p = realloc(p, total > 0 ? total : 1);
	if (p == NULL)
		out_of_memory(1, total);
	return p;
}

char *cv_strdup(const char *s)
{
	size_t len = strlen(s);
	char *copy = cv_malloc(len + 1);

	memcpy(copy, s, len);
	return copy;
}

void cv_free(void *p)
{
	free(p);
}

void cv_wipe(void *p, size_t len)
{
	if (len == 0)
		return;
#ifdef HAVE_EXPLICIT_BZERO
	explicit_bzero(p, len);
#else
	memset(p, 0, len);
	__asm__ __volatile__("" : : "r"(p) : "memory");
#endif
}

void cv_random(void *p, size_t len)
{
	unsigned char *to = p;

	while (len > 0) {
		ssize_t n = getrandom(to, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			cv_fatal("the kernel gives no random octets (errno %d)", errno);
		to += n;
		len -= (size_t)n;
	}
}

bool cv_equal_secret(const void *a, const void *b, size_t len)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned diff = 0;

	for (size_t i = 0; i < len; i++)
		diff |= (unsigned)(x[i] ^ y[i]);
	return diff == 0;
}
