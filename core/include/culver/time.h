/* SPDX-License-Identifier: MIT
   Clocks. */
#ifndef CV_TIME_H
#define CV_TIME_H

#include <culver/str.h>

/* CLOCK_MONOTONIC in milliseconds. */
CV_EXPORT uint64_t cv_time_mono_ms(void);
CV_EXPORT uint64_t cv_time_mono_us(void);
/* Wall clock: seconds and microseconds since 1970. Tests can set it (0 gives it back to the system). */
CV_EXPORT int64_t cv_time_now_sec(void);
CV_EXPORT int64_t cv_time_now_us(void);
CV_EXPORT void cv_time_set_for_tests(int64_t sec);

/* Days-from-civil arithmetic, no locale, no time zone database. month 1..12, day 1..31. */
CV_EXPORT int64_t cv_time_from_civil(int year, int month, int day, int hour, int minute, int second);
struct cv_civil {
	int year, month, day, hour, minute, second, weekday; /* weekday 0 = Sunday */
};
CV_EXPORT struct cv_civil cv_time_to_civil(int64_t sec);
/* Offset of local time from UTC at sec, in minutes (uses the C library's zone). */
CV_EXPORT int cv_time_local_offset_min(int64_t sec);

#endif
