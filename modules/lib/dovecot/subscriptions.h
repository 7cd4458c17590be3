/* SPDX-License-Identifier: MIT
   Dovecot's file "subscriptions", read. */
#ifndef CV_DOVECOT_SUBSCRIPTIONS_H
#define CV_DOVECOT_SUBSCRIPTIONS_H

#include <culver/buf.h>
#include <culver/err.h>

/* fn for each name in dir/subscriptions (an absolute path), UTF-8 with levels separated by '/'. separator: between levels in a file without a first line
   that tells the version ("V<tab>2": levels are separated by tabs then). Lines that make no sense are passed over with a warning. No such file: none. -1 when
   it can't be read, or fn said so. */
CV_MUST_CHECK int cv_dovecot_subscriptions(const char *dir, char separator, int (*fn)(void *ctx, struct cv_str name), void *ctx,
	struct cv_err *err);

#endif
