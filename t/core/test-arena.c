/* SPDX-License-Identifier: MIT
   Arenas: alignment, zeroing, cleanups, nesting, wiping. */
#include <config.h>

#include "t/lib/test.h"

#include <string.h>

static void memory_is_zeroed_and_aligned(void **state)
{
	for (size_t size = 0; size < 5000; size = size * 2 + 1) {
		unsigned char *p = cv_arena_alloc(*state, size);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xee, size);
	}
}

static void allocations_do_not_overlap(void **state)
{
	static unsigned char *parts[2000];

	for (size_t i = 0; i < CV_COUNT_OF(parts); i++) {
		parts[i] = cv_arena_alloc(*state, 1 + i % 97 * 41);
		memset(parts[i], (int)(i & 0xff), 1 + i % 97 * 41);
	}
	for (size_t i = 0; i < CV_COUNT_OF(parts); i++) {
		for (size_t j = 0; j < 1 + i % 97 * 41; j++)
			assert_int_equal(parts[i][j], i & 0xff);
	}
}

static void reset_gives_zeroed_memory_again(void **state)
{
	for (int round = 0; round < 5; round++) {
		unsigned char *p = cv_arena_alloc(*state, 500);

		for (size_t i = 0; i < 500; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, 500);
		(void)cv_arena_alloc(*state, 100000);
		assert_int_equal(cv_arena_used(*state), 100500);
		cv_arena_reset(*state);
		assert_int_equal(cv_arena_used(*state), 0);
	}
}

static void product_overflow_is_fatal(void **state)
{
	volatile size_t much = SIZE_MAX / 2 + 1;

	expect_assert_failure(cv_arena_calloc(*state, much, 2));
	expect_assert_failure(cv_arena_alloc(*state, SIZE_MAX));
	expect_assert_failure(cv_arena_alloc(*state, SIZE_MAX - 8));
}

static char trail[16];
static size_t trail_len;

static void leave_trail(void *ctx)
{
	trail[trail_len++] = *(const char *)ctx;
	trail[trail_len] = '\0';
}

static void cleanups_and_children_end_in_reverse_order(void **state)
{
	struct cv_arena *arena = cv_arena_new("parent", *state, 0), *child;

	trail_len = 0;
	cv_arena_cleanup(arena, leave_trail, cv_arena_strdup(arena, "a"));
	child = cv_arena_new("child", arena, 0);
	cv_arena_cleanup(child, leave_trail, cv_arena_strdup(child, "b"));
	cv_arena_cleanup(child, leave_trail, cv_arena_strdup(child, "c"));
	cv_arena_cleanup(arena, leave_trail, cv_arena_strdup(arena, "d"));
	cv_arena_free(&arena);
	assert_null(arena);
	assert_string_equal(trail, "dcba");
	cv_arena_free(&arena);
	assert_string_equal(trail, "dcba");
}

static void freed_child_is_not_freed_again(void **state)
{
	struct cv_arena *arena = cv_arena_new("parent", *state, 0);
	struct cv_arena *child = cv_arena_new("child", arena, 0);

	trail_len = 0;
	cv_arena_cleanup(child, leave_trail, cv_arena_strdup(child, "x"));
	cv_arena_free(&child);
	cv_arena_free(&arena);
	assert_string_equal(trail, "x");
}

static struct cv_arena *owned_child;

static void free_owned_child(void *ctx CV_UNUSED)
{
	cv_arena_free(&owned_child);
}

static void cleanup_may_free_a_child(void **state)
{
	struct cv_arena *arena = cv_arena_new("parent", *state, 0);

	trail_len = 0;
	owned_child = cv_arena_new("child", arena, 0);
	cv_arena_cleanup(owned_child, leave_trail, cv_arena_strdup(owned_child, "y"));
	cv_arena_cleanup(arena, free_owned_child, NULL);
	cv_arena_free(&arena);
	assert_string_equal(trail, "y");
}

static void reset_runs_cleanups_and_frees_children(void **state)
{
	struct cv_arena *arena = cv_arena_new("parent", *state, 0);
	struct cv_arena *child = cv_arena_new("child", arena, 0);

	trail_len = 0;
	cv_arena_cleanup(child, leave_trail, cv_arena_strdup(child, "1"));
	cv_arena_cleanup(arena, leave_trail, cv_arena_strdup(arena, "2"));
	cv_arena_reset(arena);
	assert_string_equal(trail, "21");
	cv_arena_free(&arena);
	assert_string_equal(trail, "21");
}


static void wiping_arena_overwrites_at_reset(void **state)
{
	struct cv_arena *arena = cv_arena_new("secret", *state, CV_ARENA_WIPE);
	char *p = cv_arena_strdup(arena, "password");

	cv_arena_reset(arena);
#ifndef CV_SANITIZE /* there the block is gone, so looking would be the error */
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(p[i], 0);
#else
	(void)p;
#endif
	cv_arena_free(&arena);
}

static void copies_end_in_nul_and_refuse_inner_nul(void **state)
{
	struct cv_str copy = cv_arena_str(*state, CV_STR("a\0b"));

	assert_str(copy, "a\0b");
	assert_int_equal(copy.ptr[3], '\0');
	assert_null(cv_arena_str(*state, (struct cv_str){ 0 }).ptr);
	assert_non_null(cv_arena_str(*state, CV_STR("")).ptr);
	assert_null(cv_arena_cstr(*state, CV_STR("a\0b")));
	assert_string_equal(cv_arena_cstr(*state, CV_STR("ab")), "ab");
	assert_string_equal(cv_arena_cstr(*state, (struct cv_str){ 0 }), "");
	assert_string_equal(cv_arena_printf(*state, "%d-%s", 5, "x"), "5-x");
	assert_int_equal(strlen(cv_arena_printf(*state, "%5000d", 1)), 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(memory_is_zeroed_and_aligned),
		cv_test(allocations_do_not_overlap),
		cv_test(reset_gives_zeroed_memory_again),
		cv_test(product_overflow_is_fatal),
		cv_test(cleanups_and_children_end_in_reverse_order),
		cv_test(freed_child_is_not_freed_again),
		cv_test(cleanup_may_free_a_child),
		cv_test(reset_runs_cleanups_and_frees_children),
		cv_test(wiping_arena_overwrites_at_reset),
		cv_test(copies_end_in_nul_and_refuse_inner_nul),
	};

	return cv_test_run(tests);
}
