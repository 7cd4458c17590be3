/* SPDX-License-Identifier: MIT
   The two ways a process ends itself: no way on (cv_fatal), and a bug of ours (cv_assert). */
#include <config.h>

#include <culver/log.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FATAL_STATUS 70 /* EX_SOFTWARE of sysexits.h */

static cv_fatal_fn *fatal_hook;

void cv_fatal_set_hook(cv_fatal_fn *fn)
{
	fatal_hook = fn;
}

static void announce(const char *text)
{
	static bool announcing;

	if (fatal_hook != NULL)
		fatal_hook(text);
	/* Logging itself may end here: say it once, then just end. */
	if (!announcing) {
		announcing = true;
		cv_error(NULL, "fatal: %s", text);
	}
}

void cv_fatal(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	announce(text);
#ifdef CV_SANITIZE
	abort();
#else
	/* Not exit(): what is registered there belongs to a process that still works. */
	_exit(FATAL_STATUS);
#endif
}

void cv_assert_failed(const char *expr, const char *file, int line)
{
	char text[1024];

	(void)snprintf(text, sizeof(text), "assertion failed: %s (%s:%d)", expr, file, line);
	announce(text);
	abort();
}
