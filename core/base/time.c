/* SPDX-License-Identifier: MIT
   Clocks, and civil dates without a locale or a time zone database. */
#include <config.h>

#include <culver/time.h>

#include <time.h>

#define DAY_SEC 86400
#define ERA_DAYS 146097 /* days in 400 years */

static int64_t test_sec;

static int64_t clock_us(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) != 0)
		cv_fatal("the clock cannot be read");
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

uint64_t cv_time_mono_us(void)
{
	return (uint64_t)clock_us(CLOCK_MONOTONIC);
}

uint64_t cv_time_mono_ms(void)
{
	return cv_time_mono_us() / 1000;
}

int64_t cv_time_now_us(void)
{
	return test_sec != 0 ? test_sec * 1000000 : clock_us(CLOCK_REALTIME);
}

int64_t cv_time_now_sec(void)
{
	return test_sec != 0 ? test_sec : clock_us(CLOCK_REALTIME) / 1000000;
}

void cv_time_set_for_tests(int64_t sec)
{
	test_sec = sec;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days from 1 March to the first of month m, where m counts from March = 0. */
static int64_t days_before_month(int64_t m)
{
	return (153 * m + 2) / 5;
}

int64_t cv_time_from_civil(int year, int month, int day, int hour, int minute, int second)
{
	/* Years begin in March, so that the leap day is the last of its year. */
	int64_t y = month <= 2 ? (int64_t)year - 1 : year;
	int64_t era = floor_div(y, 400), year_of_era = y - era * 400;
	int64_t m = month <= 2 ? month + 9 : month - 3;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + days_before_month(m) + day - 1;
	int64_t days = era * ERA_DAYS + day_of_era - 719468; /* 0000-03-01 to 1970-01-01 */

	return days * DAY_SEC + (int64_t)hour * 3600 + (int64_t)minute * 60 + second;
}

struct cv_civil cv_time_to_civil(int64_t sec)
{
	int64_t days = floor_div(sec, DAY_SEC), rest = sec - days * DAY_SEC;
	int64_t shifted = days + 719468;
	int64_t era = floor_div(shifted, ERA_DAYS), day_of_era = shifted - era * ERA_DAYS;
	int64_t year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (ERA_DAYS - 1)) / 365;
	int64_t day_of_year = day_of_era - (year_of_era * 365 + year_of_era / 4 - year_of_era / 100);
	int64_t m = (5 * day_of_year + 2) / 153;
	int64_t year = era * 400 + year_of_era + (m >= 10);
	int64_t weekday = (days + 4) % 7; /* 1970-01-01 was a Thursday */

	return (struct cv_civil){
		.year = (int)year,
		.month = (int)(m < 10 ? m + 3 : m - 9),
		.day = (int)(day_of_year - days_before_month(m) + 1),
		.hour = (int)(rest / 3600),
		.minute = (int)(rest / 60 % 60),
		.second = (int)(rest % 60),
		.weekday = (int)(weekday < 0 ? weekday + 7 : weekday),
	};
}

int cv_time_local_offset_min(int64_t sec)
{
	time_t t = (time_t)sec;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL)
		return 0;
	return (int)(tm.tm_gmtoff / 60);
}
