/* SPDX-License-Identifier: MIT
   What t/lib/test.h promises. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/log.h>

#include <dirent.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long allocations_before;
static int fds_before;
static char fatal_text[2048];

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void on_fatal(const char *text)
{
	(void)snprintf(fatal_text, sizeof(fatal_text), "%s", text);
	mock_assert(0, fatal_text, "cv_fatal", 0);
}

const char *cv_test_fatal_text(void)
{
	return fatal_text;
}

static void *no_work(void *ctx)
{
	return ctx;
}

void cv_test_init(void)
{
	pthread_attr_t attr;
	pthread_t threads[2];
	size_t count = 0;

	cv_fatal_set_hook(on_fatal);
	/* What is allocated or opened once for the process. */
	(void)cv_hash("", 0);
	tzset();
	/* The C library keeps stacks and tables of threads that ended for the next ones of that size (core/loop/beside.c), of which there are two at a time at most. */
	if (pthread_attr_init(&attr) != 0)
		return;
	if (pthread_attr_setstacksize(&attr, (size_t)256 << 10) == 0) {
		while (count < CV_COUNT_OF(threads) && pthread_create(&threads[count], &attr, no_work, NULL) == 0)
			count++;
	}
	while (count > 0)
		(void)pthread_join(threads[--count], NULL);
	(void)pthread_attr_destroy(&attr);
}

int cv_test_setup(void **state)
{
	fatal_text[0] = '\0';
	fds_before = count_fds();
	allocations_before = cv_test_allocations();
	*state = cv_arena_new("test", NULL, 0);
	return 0;
}

static int teardown(void **state, bool check_memory)
{
	struct cv_arena *arena = *state;
	long left;
	int fds;

	cv_arena_free(&arena);
	*state = NULL;
	left = cv_test_allocations() - allocations_before;
	fds = count_fds() - fds_before;
	if (fds > 0) {
		print_error("%d descriptors are left open\n", fds);
		return -1;
	}
	if (check_memory && left > 0) {
		print_error("%ld allocations are left\n", left);
		return -1;
	}
	return 0;
}

int cv_test_teardown(void **state)
{
	return teardown(state, true);
}

int cv_test_teardown_fds_only(void **state)
{
	return teardown(state, false);
}

static int remove_one(const char *path, const struct stat *st CV_UNUSED, int type CV_UNUSED, struct FTW *ftw CV_UNUSED)
{
	return remove(path);
}

static void remove_dir(void *ctx)
{
	(void)nftw(ctx, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *cv_test_dir(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = cv_arena_printf(*state, "%s/culver-test-XXXXXX", tmp != NULL ? tmp : "/tmp");

	assert_non_null(mkdtemp(dir));
	cv_arena_cleanup(*state, remove_dir, dir);
	return dir;
}

void cv_test_assert_str(struct cv_str got, struct cv_str want, const char *file, int line)
{
	if (cv_str_eq(got, want))
		return;
	print_error("got  (%zu octets) %s\n", got.len, cv_log_clean(got));
	print_error("want (%zu octets) %s\n", want.len, cv_log_clean(want));
	_fail(file, line);
}
