/* SPDX-License-Identifier: MIT
   Clocks and civil dates. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/time.h>

#include <stdlib.h>
#include <time.h>

static void known_dates(void **state CV_UNUSED)
{
	assert_int_equal(cv_time_from_civil(1970, 1, 1, 0, 0, 0), 0);
	assert_int_equal(cv_time_from_civil(2000, 2, 29, 12, 34, 56), 951827696);
	assert_true(cv_time_from_civil(2038, 1, 19, 3, 14, 8) == (int64_t)1 << 31);
	assert_int_equal(cv_time_from_civil(1969, 12, 31, 23, 59, 59), -1);
	assert_true(cv_time_from_civil(1, 1, 1, 0, 0, 0) == -62135596800);
}

static void agrees_with_the_c_library_both_ways(void **state CV_UNUSED)
{
	/* An odd step through four centuries and more on both sides of 1970. */
	for (int64_t sec = -20000000000; sec < 20000000000; sec += 86399 * 13) {
		struct cv_civil c = cv_time_to_civil(sec);
		time_t t = (time_t)sec;
		struct tm tm;

		assert_non_null(gmtime_r(&t, &tm));
		assert_int_equal(c.year, tm.tm_year + 1900);
		assert_int_equal(c.month, tm.tm_mon + 1);
		assert_int_equal(c.day, tm.tm_mday);
		assert_int_equal(c.hour, tm.tm_hour);
		assert_int_equal(c.minute, tm.tm_min);
		assert_int_equal(c.second, tm.tm_sec);
		assert_int_equal(c.weekday, tm.tm_wday);
		assert_true(cv_time_from_civil(c.year, c.month, c.day, c.hour, c.minute, c.second) == sec);
	}
}

static void clocks_go_forward_and_tests_can_set_the_wall_clock(void **state CV_UNUSED)
{
	uint64_t us = cv_time_mono_us();

	assert_true(cv_time_mono_us() >= us);
	assert_true(cv_time_mono_ms() >= us / 1000);
	cv_time_set_for_tests(1234567890);
	assert_int_equal(cv_time_now_sec(), 1234567890);
	assert_true(cv_time_now_us() == 1234567890000000);
	cv_time_set_for_tests(0);
	assert_true(cv_time_now_sec() > 1600000000);
	assert_true(cv_time_now_us() / 1000000 >= cv_time_now_sec() - 1);
}

static void local_offset_follows_the_zone(void **state CV_UNUSED)
{
	assert_int_equal(setenv("TZ", "XYZ-5:30", 1), 0);
	tzset();
	assert_int_equal(cv_time_local_offset_min(0), 330);
	assert_int_equal(setenv("TZ", "ABC3", 1), 0);
	tzset();
	assert_int_equal(cv_time_local_offset_min(0), -180);
	assert_int_equal(unsetenv("TZ"), 0);
	tzset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(known_dates),
		cv_test(agrees_with_the_c_library_both_ways),
		cv_test(clocks_go_forward_and_tests_can_set_the_wall_clock),
		cv_test_fds_only(local_offset_follows_the_zone),
	};

	return cv_test_run(tests);
}
