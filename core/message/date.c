/* SPDX-License-Identifier: MIT
   The date-time of RFC 5322 section 3.3 with the obsolete forms of section 4.3, and asctime's, which old mail has. */
#include <config.h>

#include <culver/header.h>
#include <culver/time.h>

static const char *const month_names[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
	"Nov", "Dec" };
static const char *const day_names[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };

static const struct {
	const char *name;
	int hours;
} zone_names[] = { { "UT", 0 }, { "UTC", 0 }, { "GMT", 0 }, { "Z", 0 }, { "EST", -5 }, { "EDT", -4 }, { "CST", -6 },
	{ "CDT", -5 }, { "MST", -7 }, { "MDT", -6 }, { "PST", -8 }, { "PDT", -7 } };

/* Skip white space and comments. A comment that is not closed reaches to the end. */
static void skip_cfws(struct cv_reader *r)
{
	unsigned depth = 0;
	char c;

	while (cv_peek(r) >= 0) {
		c = (char)cv_peek(r);
		if (c == '(')
			depth++;
		else if (depth > 0 && c == ')')
			depth--;
		else if (depth > 0 && c == '\\' && cv_reader_left(r) > 1)
			r->pos++;
		else if (depth == 0 && !cv_is_space(c) && c != '\0')
			break;
		r->pos++;
	}
}

static struct cv_str take_alpha(struct cv_reader *r)
{
	return cv_take_while(r, cv_is_alpha);
}

static struct cv_str take_digits(struct cv_reader *r)
{
	return cv_take_while(r, cv_is_digit);
}

/* 1..12, or 0. Long names count as well: "September". */
static int month_number(struct cv_str name)
{
	if (name.len >= 3) {
		for (size_t i = 0; i < CV_COUNT_OF(month_names); i++) {
			if (cv_str_caseeq_c(cv_str_sub(name, 0, 3), month_names[i]))
				return (int)i + 1;
		}
	}
	return 0;
}

static bool take_number(struct cv_reader *r, size_t max_digits, uint32_t *n_r, size_t *digits_r)
{
	struct cv_str digits = take_digits(r);

	*digits_r = digits.len;
	return digits.len <= max_digits && cv_str_to_u32(digits, 99999, n_r);
}

static bool take_month(struct cv_reader *r, int *month_r)
{
	skip_cfws(r);
	*month_r = month_number(take_alpha(r));
	return *month_r != 0;
}

static bool take_year(struct cv_reader *r, int *year_r)
{
	uint32_t n;
	size_t digits;

	skip_cfws(r);
	if (!take_number(r, 5, &n, &digits) || digits < 2)
		return false;
	/* RFC 5322 section 4.3: 00 to 49 are 2000 and on, 50 to 99 and all of three digits count from 1900 */
	if (digits == 2)
		n += n < 50 ? 2000 : 1900;
	else if (digits == 3)
		n += 1900;
	*year_r = (int)n;
	return n >= 1900 && n <= 9999;
}

/* time-of-day = hour ":" minute [ ":" second ]; "." between them is seen in the wild */
static bool take_time(struct cv_reader *r, uint32_t time[3])
{
	size_t digits;

	skip_cfws(r);
	for (int i = 0; i < 3; i++) {
		if (!take_number(r, 2, &time[i], &digits))
			return false;
		if (i == 2)
			break;
		skip_cfws(r);
		if (!cv_take_char(r, ':') && !cv_take_char(r, '.')) {
			if (i == 0)
				return false;
			break;
		}
		skip_cfws(r);
	}
	return time[0] <= 23 && time[1] <= 59 && time[2] <= 60;
}

static void take_zone(struct cv_reader *r, struct cv_date *date_r)
{
	int sign;

	skip_cfws(r);
	sign = cv_take_char(r, '+') ? 1 : cv_take_char(r, '-') ? -1 : 0;
	date_r->zone_unknown = true;
	if (sign != 0) {
		struct cv_str digits = take_digits(r);
		uint32_t hours, minutes = 0;

		if (digits.len == 2 && cv_take_char(r, ':')) { /* "+01:00" as RFC 3339 has it */
			struct cv_str more = take_digits(r);

			if (more.len != 2 || !cv_str_to_u32(more, 59, &minutes))
				return;
		} else if (digits.len == 4) {
			if (!cv_str_to_u32(cv_str_sub(digits, 2, 2), 59, &minutes))
				return;
		} else if (digits.len != 2) {
			return;
		}
		if (!cv_str_to_u32(cv_str_sub(digits, 0, 2), 23, &hours))
			return;
		date_r->zone_min = (int16_t)(sign * (int)(hours * 60 + minutes));
		date_r->zone_unknown = sign < 0 && hours == 0 && minutes == 0;
		return;
	}
	struct cv_str name = take_alpha(r);

	for (size_t i = 0; i < CV_COUNT_OF(zone_names); i++) {
		if (cv_str_caseeq_c(name, zone_names[i].name)) {
			date_r->zone_min = (int16_t)(zone_names[i].hours * 60);
			date_r->zone_unknown = false;
		}
	}
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

bool cv_date_parse(struct cv_str value, struct cv_date *date_r)
{
	struct cv_reader r = cv_reader_init(value);
	struct cv_date date = { 0 };
	uint32_t day, time[3] = { 0 };
	size_t digits;
	int month = 0, year = 0;
	bool asctime;

	skip_cfws(&r);
	if (cv_peek(&r) >= 0 && cv_is_alpha((char)cv_peek(&r))) {
		size_t start = r.pos;

		month = month_number(take_alpha(&r));
		if (month != 0)
			r.pos = start; /* "Feb 22 …" without a day of week; no day's name begins like a month's */
		else {
			skip_cfws(&r);
			while (cv_take_char(&r, ',') || cv_take_char(&r, '.'))
				skip_cfws(&r);
		}
	}
	skip_cfws(&r);
	asctime = cv_peek(&r) >= 0 && cv_is_alpha((char)cv_peek(&r));
	if (asctime && !take_month(&r, &month))
		return false;
	skip_cfws(&r);
	if (!take_number(&r, 2, &day, &digits))
		return false;
	skip_cfws(&r);
	if (!asctime) {
		while (cv_take_char(&r, '-') || cv_take_char(&r, '.'))
			;
		if (!take_month(&r, &month))
			return false;
		skip_cfws(&r);
		while (cv_take_char(&r, '-') || cv_take_char(&r, '.') || cv_take_char(&r, ','))
			;
		if (!take_year(&r, &year) || !take_time(&r, time))
			return false;
		take_zone(&r, &date);
	} else {
		/* "Feb 22 17:06:23 [zone] 2008" */
		if (!take_time(&r, time))
			return false;
		skip_cfws(&r);
		if (cv_peek(&r) >= 0 && !cv_is_digit((char)cv_peek(&r)))
			take_zone(&r, &date);
		else
			date.zone_unknown = true;
		if (!take_year(&r, &year))
			return false;
	}
	if (day < 1 || (int)day > days_in_month(year, month))
		return false;
	date.sec = cv_time_from_civil(year, month, (int)day, (int)time[0], (int)time[1], (int)time[2]) -
		(int64_t)date.zone_min * 60;
	*date_r = date;
	return true;
}

void cv_date_format(struct cv_buf *out, int64_t sec, int zone_min)
{
	int abs_min = zone_min < 0 ? -zone_min : zone_min;
	struct cv_civil t = cv_time_to_civil(sec + (int64_t)zone_min * 60);

	cv_buf_printf(out, "%s, %02d %s %04d %02d:%02d:%02d %c%02d%02d", day_names[t.weekday], t.day,
		month_names[t.month - 1], t.year, t.hour, t.minute, t.second, zone_min < 0 ? '-' : '+',
		abs_min / 60, abs_min % 60);
}
