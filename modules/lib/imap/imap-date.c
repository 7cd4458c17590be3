/* SPDX-License-Identifier: MIT
   Dates of the protocol. */
#include <config.h>

#include "imap-date.h"

#include <culver/reader.h>
#include <culver/time.h>

static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

/* Exactly count digits. */
static bool take_number(struct cv_reader *in, size_t count, int *n_r)
{
	struct cv_str s;
	uint32_t n;

	if (!cv_take_len(in, count, &s) || !cv_str_to_u32(s, 9999, &n))
		return false;
	*n_r = (int)n;
	return true;
}

static int days_of_month(int year, int month)
{
	static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* "-" date-month "-" date-year */
static bool take_month_year(struct cv_reader *in, int *month_r, int *year_r)
{
	struct cv_str name;

	if (!cv_take_char(in, '-') || !cv_take_len(in, 3, &name) || !cv_take_char(in, '-') || !take_number(in, 4, year_r))
		return false;
	for (int i = 0; i < 12; i++) {
		if (cv_str_caseeq_c(name, months[i])) {
			*month_r = i + 1;
			return true;
		}
	}
	return false;
}

static bool day_exists(int year, int month, int day)
{
	return year >= 1 && day >= 1 && day <= days_of_month(year, month);
}

bool cv_imap_date_parse(struct cv_str s, int64_t *day_r)
{
	struct cv_reader in = cv_reader_init(s);
	int day, month, year;

	/* date-day = 1*2DIGIT */
	if (!take_number(&in, s.len > 1 && s.ptr[1] == '-' ? 1 : 2, &day) || !take_month_year(&in, &month, &year) ||
		!cv_reader_end(&in) || !day_exists(year, month, day))
		return false;
	*day_r = cv_time_from_civil(year, month, day, 0, 0, 0) / 86400; /* midnight: exact, also before 1970 */
	return true;
}

bool cv_imap_datetime_parse(struct cv_str s, int64_t *sec_r, int *zone_min_r)
{
	struct cv_reader in = cv_reader_init(s);
	int day, month, year, hour, minute, second, zone_hours, zone_minutes;
	bool west;

	/* date-day-fixed = (SP DIGIT) / 2DIGIT; one digit alone is what some clients write. */
	if (cv_take_char(&in, ' ') || (s.len > 1 && s.ptr[1] == '-')) {
		if (!take_number(&in, 1, &day))
			return false;
	} else if (!take_number(&in, 2, &day)) {
		return false;
	}
	if (!take_month_year(&in, &month, &year) || !cv_take_char(&in, ' ') || !take_number(&in, 2, &hour) ||
		!cv_take_char(&in, ':') || !take_number(&in, 2, &minute) || !cv_take_char(&in, ':') ||
		!take_number(&in, 2, &second) || !cv_take_char(&in, ' '))
		return false;
	west = cv_take_char(&in, '-');
	if (!west && !cv_take_char(&in, '+'))
		return false;
	if (!take_number(&in, 2, &zone_hours) || !take_number(&in, 2, &zone_minutes) || !cv_reader_end(&in))
		return false;
	/* 60 is a leap second. */
	if (!day_exists(year, month, day) || hour > 23 || minute > 59 || second > 60 || zone_minutes > 59)
		return false;
	*zone_min_r = (zone_hours * 60 + zone_minutes) * (west ? -1 : 1);
	*sec_r = cv_time_from_civil(year, month, day, hour, minute, second) - (int64_t)*zone_min_r * 60;
	return true;
}

void cv_imap_append_datetime(struct cv_buf *out, int64_t sec, int zone_min)
{
	struct cv_civil t = cv_time_to_civil(sec + (int64_t)zone_min * 60);
	int zone = zone_min < 0 ? -zone_min : zone_min;

	/* date-year has four digits. */
	if (t.year < 0 || t.year > 9999) {
		t = cv_time_to_civil(0);
		zone = 0;
	}
	cv_buf_printf(out, "\"%2d-%s-%04d %02d:%02d:%02d %c%02d%02d\"", t.day, months[(t.month - 1) % 12], t.year, t.hour,
		t.minute, t.second, zone_min < 0 ? '-' : '+', zone / 60 % 100, zone % 60);
}
