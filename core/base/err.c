/* SPDX-License-Identifier: MIT
   Errors as values. */
#include <config.h>

#include <culver/err.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	const char *phrase; /* what a client is told when the text is not for it */
	bool temp;
} codes[] = {
	[CV_ERR_NONE] = { "none", "Success", false },
	[CV_ERR_TEMP] = { "temp", "Temporary failure, try again later", true },
	[CV_ERR_UNAVAILABLE] = { "unavailable", "Service is not available now, try again later", true },
	[CV_ERR_PERM] = { "perm", "Permission denied", false },
	[CV_ERR_NOTFOUND] = { "notfound", "Not found", false },
	[CV_ERR_EXISTS] = { "exists", "Already exists", false },
	[CV_ERR_NOQUOTA] = { "noquota", "Not enough storage space", true },
	[CV_ERR_LIMIT] = { "limit", "Limit exceeded", false },
	[CV_ERR_INUSE] = { "inuse", "In use, try again later", true },
	[CV_ERR_INVALID] = { "invalid", "Invalid argument", false },
	[CV_ERR_EXPUNGED] = { "expunged", "Message was expunged", false },
	[CV_ERR_CORRUPT] = { "corrupt", "Internal error, please tell the administrator", true },
	[CV_ERR_UNSUPPORTED] = { "unsupported", "Not supported", false },
	[CV_ERR_AUTH] = { "auth", "Authentication failed", false },
	[CV_ERR_INTERNAL] = { "internal", "Internal error, please tell the administrator", true },
	[CV_ERR_EXPIRED] = { "expired", "The password has expired", false },
	[CV_ERR_AUTHZ] = { "authz", "Not allowed to act as that user", false },
};

/* Copies text, cut before a character that does not fit, with "…" in its place. */
static void set_text(struct cv_err *err, const char *text, size_t len)
{
	static const char ellipsis[] = "\xe2\x80\xa6";
	size_t room = sizeof(err->text) - 1;

	if (len > room) {
		len = room - (sizeof(ellipsis) - 1);
		while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
		memcpy(err->text, text, len);
		memcpy(err->text + len, ellipsis, sizeof(ellipsis));
	} else {
		memcpy(err->text, text, len);
		err->text[len] = '\0';
	}
}

/* Through a copy, since err->text may be among the arguments. suffix may be NULL. */
static void CV_PRINTF(4, 0) set_from(struct cv_err *err, const char *separator, const char *suffix, const char *fmt,
	va_list ap)
{
	char text[2 * CV_ERR_TEXT_MAX];
	size_t len = 0;
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	if (n > 0)
		len = CV_MIN((size_t)n, sizeof(text) - 1);
	if (suffix != NULL) {
		n = snprintf(text + len, sizeof(text) - len, "%s%s", separator, suffix);
		if (n > 0)
			len = CV_MIN(len + (size_t)n, sizeof(text) - 1);
	}
	set_text(err, text, len);
}

int (cv_err_set)(struct cv_err *err, enum cv_err_code code, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	va_start(ap, fmt);
	set_from(err, "", NULL, fmt, ap);
	va_end(ap);
	err->code = code;
	err->public_text = false;
	return -1;
}

int (cv_err_set_public)(struct cv_err *err, enum cv_err_code code, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	va_start(ap, fmt);
	set_from(err, "", NULL, fmt, ap);
	va_end(ap);
	err->code = code;
	err->public_text = true;
	return -1;
}

static enum cv_err_code code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return CV_ERR_NOQUOTA;
	case EACCES:
	case EPERM:
		return CV_ERR_PERM;
	case ENOENT:
		return CV_ERR_NOTFOUND;
	case EEXIST:
		return CV_ERR_EXISTS;
	case EMFILE:
	case ENFILE:
	case ENOMEM: /* nothing is wrong with what was asked for: this process, or the machine, can't now */
		return CV_ERR_UNAVAILABLE;
	default:
		return CV_ERR_TEMP;
	}
}

int (cv_err_sys)(struct cv_err *err, int errnum, const char *fmt, ...)
{
	char number[64];
	va_list ap;

	if (err == NULL)
		return -1;
	va_start(ap, fmt);
	set_from(err, ": ", strerror_r(errnum, number, sizeof(number)), fmt, ap);
	va_end(ap);
	err->code = code_of_errno(errnum);
	err->public_text = false;
	return -1;
}

int (cv_err_context)(struct cv_err *err, const char *fmt, ...)
{
	char before[CV_ERR_TEXT_MAX];
	va_list ap;

	if (err == NULL)
		return -1;
	memcpy(before, err->text, sizeof(before));
	va_start(ap, fmt);
	set_from(err, ": ", before, fmt, ap);
	va_end(ap);
	return -1;
}

const char *cv_err_public(const struct cv_err *err)
{
	if (err->public_text)
		return err->text;
	cv_assert((size_t)err->code < CV_COUNT_OF(codes));
	return codes[err->code].phrase;
}

bool cv_err_is_temp(const struct cv_err *err)
{
	cv_assert((size_t)err->code < CV_COUNT_OF(codes));
	return codes[err->code].temp;
}

const char *cv_err_code_name(enum cv_err_code code)
{
	cv_assert((size_t)code < CV_COUNT_OF(codes));
	return codes[code].name;
}
