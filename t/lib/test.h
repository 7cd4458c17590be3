/* SPDX-License-Identifier: MIT
   For every unit test: cmocka, an arena per test with a leak check, and forbidden calls that end in an expected failure. */
#ifndef CV_TEST_H
#define CV_TEST_H

#include <culver/arena.h>
#include <culver/buf.h>

/* clang-format off: cmocka wants these before it, in this order */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

/* setup gives *state a struct cv_arena *; teardown frees it, and fails the test when memory or descriptors are left that were not
   there at setup. (Built with sanitizers, memory is left to the leak sanitizer at exit.) */
int cv_test_setup(void **state);
int cv_test_teardown(void **state);
/* The same without the check of memory: libraries (OpenSSL, NSS) keep what they allocate at first use. */
int cv_test_teardown_fds_only(void **state);

/* cv_assert and cv_fatal go to cmocka: test them with expect_assert_failure(call). This is the text of the last one. */
const char *cv_test_fatal_text(void);

/* A directory of its own under $TMPDIR or /tmp for this test, removed with all in it at teardown. Lives as the arena. */
const char *cv_test_dir(void **state);

/* Runs a table of tests; the status for main. Each one gets cv_test_setup and cv_test_teardown. */
#define cv_test(fn) cmocka_unit_test_setup_teardown(fn, cv_test_setup, cv_test_teardown)
#define cv_test_fds_only(fn) cmocka_unit_test_setup_teardown(fn, cv_test_setup, cv_test_teardown_fds_only)
void cv_test_init(void);
#define cv_test_run(tests) (cv_test_init(), cmocka_run_group_tests((tests), NULL, NULL))

/* The view holds exactly these octets. */
#define assert_str(s, literal) cv_test_assert_str((s), CV_STR(literal), __FILE__, __LINE__)
#define assert_str_eq(a, b) cv_test_assert_str((a), (b), __FILE__, __LINE__)
void cv_test_assert_str(struct cv_str got, struct cv_str want, const char *file, int line);

/* Allocations that are alive in this process; 0 always where they are not counted: with sanitizers, under valgrind. */
long cv_test_allocations(void);
bool cv_test_counts_allocations(void);

#endif
