/* SPDX-License-Identifier: MIT
   RFC 5322 date-times, today's and obsolete ones. */
#include <config.h>

#include "t/lib/test.h"
#include <culver/header.h>

static void check(const char *value, int64_t sec, int zone_min, bool unknown)
{
	struct cv_date date;

	if (!cv_date_parse(cv_str_c(value), &date))
		fail_msg("not parsed: %s", value);
	assert_int_equal(date.sec, sec);
	assert_int_equal(date.zone_min, zone_min);
	assert_int_equal(date.zone_unknown, unknown);
}

static void dates_of_rfc5322_are_read(void **state CV_UNUSED)
{
	check("Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -360, false);
	check("Tue, 1 Jul 2003 10:52:37 +0200", 1057049557, 120, false);
	check("1 Jan 1970 00:00:00 +0000", 0, 0, false);
	check("Sat, 29 Feb 2020 23:59:60 +0530", 1583001000, 330, false);
	check("Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)", -27723480, -210, false);
}

static void obsolete_forms_are_read(void **state CV_UNUSED)
{
	/* RFC 5322 section 4.3: 00 to 49 add 2000, 50 to 99 and three digits add 1900 */
	check("21 Nov 97 09:55:06 GMT", 880106106, 0, false);
	check("1 Jan 49 00:00 UT", 2493072000, 0, false);
	check("1 Jan 104 00:00 UT", 1072915200, 0, false);
	check("21 Nov 97 09(comment):   55  :  06 -0600", 880127706, -360, false);
	check("21 Nov 1997 09:55:06 EST", 880124106, -300, false);
	check("21 Nov 1997 09:55:06 pdt", 880131306, -420, false);
	check("21 Nov 1997 09:55:06 -0000", 880106106, 0, true);
	/* "A" to "Y" mean nothing certain */
	check("21 Nov 1997 09:55:06 A", 880106106, 0, true);
	check("21 Nov 1997 09:55:06 Z", 880106106, 0, false);
	check("21 Nov 1997 09:55:06 CEST", 880106106, 0, true);
	check("21 Nov 1997 09:55:06", 880106106, 0, true);
}

static void what_mail_has_in_the_wild_is_read(void **state CV_UNUSED)
{
	check("Fri Nov 21 09:55:06 1997", 880106106, 0, true);
	check("Fri Nov 21 09:55:06 EST 1997", 880124106, -300, false);
	check("Freitag, 21 Nov 1997 09:55:06 +0100", 880102506, 60, false);
	check("21-Nov-1997 09.55.06 +0100", 880102506, 60, false);
	check("Fri, 21 November 1997 09:55:06 +01:00 (CET) trailing", 880102506, 60, false);
	check("Fri 21 Nov 1997 9:5 +01", 880099500, 60, false);
	check("  (c) Fri (c) , 21 (c) Nov (c) 1997 09:55:06 +0100", 880102506, 60, false);
}

static void what_is_no_date_is_refused(void **state CV_UNUSED)
{
	static const char *const values[] = { "", "Fri", "21 Nov", "21 Nov 1997", "32 Jan 2000 00:00:00 +0000",
		"29 Feb 2001 00:00:00 +0000", "0 Jan 2001 00:00:00 +0000", "1 Foo 2001 00:00:00 +0000",
		"1 Jan 2001 24:00:00 +0000", "1 Jan 2001 00:60:00 +0000", "1 Jan 2001 00:00:61 +0000", "1 Jan 1 00:00:00 +0000",
		"1 Jan 99999 00:00:00 +0000", "1 Jan 1899 00:00:00 +0000", "99999999999999999999 Jan 2001 00:00 +0000",
		"(((((", "2001-01-01 00:00:00 +0000", "1 Jan 2001 000:00:00 +0000" };
	struct cv_date date;

	for (size_t i = 0; i < CV_COUNT_OF(values); i++) {
		if (cv_date_parse(cv_str_c(values[i]), &date))
			fail_msg("parsed: %s", values[i]);
	}
}

static void impossible_zones_count_as_unknown(void **state CV_UNUSED)
{
	check("1 Jan 1970 00:00:00 +9999", 0, 0, true);
	check("1 Jan 1970 00:00:00 +123", 0, 0, true);
	check("1 Jan 1970 00:00:00 +2359", -86340, 1439, false);
}

static void formatted_dates_are_rfc5322(void **state CV_UNUSED)
{
	struct cv_buf out;

	cv_buf_init(&out, 100);
	cv_date_format(&out, 880127706, -360);
	assert_str(cv_buf_str(&out), "Fri, 21 Nov 1997 09:55:06 -0600");
	cv_buf_clear(&out);
	cv_date_format(&out, 0, 330);
	assert_str(cv_buf_str(&out), "Thu, 01 Jan 1970 05:30:00 +0530");
	cv_buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cv_test(dates_of_rfc5322_are_read),
		cv_test(obsolete_forms_are_read),
		cv_test(what_mail_has_in_the_wild_is_read),
		cv_test(what_is_no_date_is_refused),
		cv_test(impossible_zones_count_as_unknown),
		cv_test(formatted_dates_are_rfc5322),
	};

	return cv_test_run(tests);
}
