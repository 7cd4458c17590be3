/* SPDX-License-Identifier: MIT
   Dates of the protocol (RFC 3501 section 9: date, date-time). */
#ifndef CV_IMAP_DATE_H
#define CV_IMAP_DATE_H

#include <culver/buf.h>

/* date-text "1-Feb-1994" to its number of days since 1970-01-01. False when it is none. */
CV_MUST_CHECK bool cv_imap_date_parse(struct cv_str s, int64_t *day_r);
/* date-time without its quotes, " 7-Feb-1994 21:52:25 -0800": seconds since 1970 in UTC, and minutes east of it. */
CV_MUST_CHECK bool cv_imap_datetime_parse(struct cv_str s, int64_t *sec_r, int *zone_min_r);
/* Append a date-time with its quotes. */
void cv_imap_append_datetime(struct cv_buf *out, int64_t sec, int zone_min);

#endif
