/* SPDX-License-Identifier: MIT
   Heap memory, fatal errors and secrets. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/log.h>

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void memory_comes_zeroed(void **state CV_UNUSED)
{
	for (size_t round = 0; round < 8; round++) {
		unsigned char *p = cv_malloc(300);

		for (size_t i = 0; i < 300; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, 300);
		cv_free(p);
	}
}

static void nothing_asked_gives_a_pointer(void **state CV_UNUSED)
{
	void *a = cv_malloc(0), *b = cv_calloc(0, 8), *c = cv_reallocarray(NULL, 0, 8);

	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	cv_free(a);
	cv_free(b);
	cv_free(c);
	cv_free(NULL);
}

static void product_overflow_is_fatal(void **state CV_UNUSED)
{
	volatile size_t much = SIZE_MAX / 2;

	expect_assert_failure(cv_free(cv_reallocarray(NULL, much, 3)));
	assert_non_null(strstr(cv_test_fatal_text(), "overflow"));
#ifndef CV_SANITIZE /* the sanitizer reports the product itself */
	expect_assert_failure(cv_free(cv_calloc(much, 3)));
	assert_non_null(strstr(cv_test_fatal_text(), "out of memory"));
#endif
}

static void failed_assertion_names_expression_and_place(void **state CV_UNUSED)
{
	volatile int two = 2;

	cv_assert(two == 2);
	expect_assert_failure(cv_assert(two == 3));
	assert_non_null(strstr(cv_test_fatal_text(), "two == 3"));
	assert_non_null(strstr(cv_test_fatal_text(), "test-alloc.c"));
}

static void fatal_ends_the_process_with_70(void **state CV_UNUSED)
{
	int status = 0, out[2];
	char text[512] = "";
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(out[1], STDERR_FILENO);
		cv_fatal_set_hook(NULL);
		cv_fatal("cannot go on: %d", 7);
	}
	(void)close(out[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	(void)close(out[0]);
	assert_non_null(strstr(text, "fatal: cannot go on: 7\n"));
#ifdef CV_SANITIZE
	assert_true(WIFSIGNALED(status));
#else
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 70);
#endif
}

static void wipe_clears_and_random_fills(void **state CV_UNUSED)
{
	unsigned char a[64] = { 0 }, b[64] = { 0 }, zero[64] = { 0 };

	cv_random(a, sizeof(a));
	cv_random(b, sizeof(b));
	assert_memory_not_equal(a, zero, sizeof(a));
	assert_memory_not_equal(a, b, sizeof(a));
	cv_wipe(a, sizeof(a));
	assert_memory_equal(a, zero, sizeof(a));
	cv_wipe(NULL, 0);
}

static void secrets_compare_by_octets(void **state CV_UNUSED)
{
	assert_true(cv_equal_secret("abc", "abc", 3));
	assert_false(cv_equal_secret("abc", "abd", 3));
	assert_false(cv_equal_secret("xbc", "abc", 3));
	assert_true(cv_equal_secret("xbc", "abc", 0));
	assert_false(cv_equal_secret("\0\0", "\0\x80", 2));
}

static void leak_check_sees_an_allocation(void **state CV_UNUSED)
{
	long before = cv_test_allocations();
	char *p = cv_strdup("left");

	assert_string_equal(p, "left");
	/* The sanitizers and valgrind count for themselves. */
	if (cv_test_counts_allocations())
		assert_int_equal(cv_test_allocations(), before + 1);
	cv_free(p);
	assert_int_equal(cv_test_allocations(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(memory_comes_zeroed),
		cv_test(nothing_asked_gives_a_pointer),
		cv_test(product_overflow_is_fatal),
		cv_test(failed_assertion_names_expression_and_place),
		cv_test(fatal_ends_the_process_with_70),
		cv_test(wipe_clears_and_random_fills),
		cv_test(secrets_compare_by_octets),
		cv_test(leak_check_sees_an_allocation),
	};

	return cv_test_run(tests);
}
