/* SPDX-License-Identifier: MIT
   cv_err: an error as a value: a code that decides what is done, and a text that says what happened. */
#ifndef CV_ERR_H
#define CV_ERR_H

#include <culver/str.h>

/* Each protocol maps these in one table: IMAP response codes (RFC 5530), POP3 (RFC 3206), LMTP (RFC 3463). */
enum cv_err_code {
	CV_ERR_NONE = 0,
	CV_ERR_TEMP,        /* may work later; what we cannot tell is this */
	CV_ERR_UNAVAILABLE, /* a subsystem is away (auth back end, file system); temporary */
	CV_ERR_PERM,        /* not allowed */
	CV_ERR_NOTFOUND,    /* no such mailbox, message, user */
	CV_ERR_EXISTS,
	CV_ERR_NOQUOTA,     /* quota, also a full disk seen as EDQUOT */
	CV_ERR_LIMIT,       /* a configured or built-in bound */
	CV_ERR_INUSE,
	CV_ERR_INVALID,     /* the argument is wrong for what was asked */
	CV_ERR_EXPUNGED,    /* the message is gone */
	CV_ERR_CORRUPT,     /* data that does not check */
	CV_ERR_UNSUPPORTED,
	CV_ERR_AUTH,        /* wrong credentials */
	CV_ERR_INTERNAL,    /* a bug or a broken installation */
	CV_ERR_EXPIRED,     /* credentials that were right once */
	CV_ERR_AUTHZ        /* right credentials, whose owner may not act as who was asked for */
};
#define CV_ERR_LAST CV_ERR_AUTHZ

#define CV_ERR_TEXT_MAX 512

/* A value: no ownership. public_text: the text may be shown to clients; otherwise they get a generic phrase for the code.
   { 0 } is "no error". */
struct cv_err {
	enum cv_err_code code;
	bool public_text;
	char text[CV_ERR_TEXT_MAX]; /* NUL-terminated, cut with "…" when too long */
};

/* Set code and text (for the log only). Always returns -1, so that "return cv_err_set(…)" reads well. err may be NULL. */
CV_EXPORT int cv_err_set(struct cv_err *err, enum cv_err_code code, const char *fmt, ...) CV_PRINTF(3, 4);
/* The same with a text that clients may see: no paths, no errno texts. */
CV_EXPORT int cv_err_set_public(struct cv_err *err, enum cv_err_code code, const char *fmt, ...) CV_PRINTF(3, 4);
/* Code from errno (ENOSPC and EDQUOT: NOQUOTA, EACCES and EPERM: PERM, ENOENT: NOTFOUND, EEXIST: EXISTS, else TEMP); the text gets
   ": <strerror>" behind it. */
CV_EXPORT int cv_err_sys(struct cv_err *err, int errnum, const char *fmt, ...) CV_PRINTF(3, 4);
/* Put "<context>: " before the text; code stays. Returns -1. */
CV_EXPORT int cv_err_context(struct cv_err *err, const char *fmt, ...) CV_PRINTF(2, 3);
#ifdef __clang_analyzer__
/* clang-tidy looks into one file at a time: it has to be told what these always return. */
#define cv_err_set(...) ((void)(cv_err_set)(__VA_ARGS__), -1)
#define cv_err_set_public(...) ((void)(cv_err_set_public)(__VA_ARGS__), -1)
#define cv_err_sys(...) ((void)(cv_err_sys)(__VA_ARGS__), -1)
#define cv_err_context(...) ((void)(cv_err_context)(__VA_ARGS__), -1)
#endif
/* What a client may be told: the text when it is public, else a phrase for the code. */
CV_EXPORT const char *cv_err_public(const struct cv_err *err);
/* Will a repeat later possibly work? Delivery answers 4xx for true, 5xx for false. */
CV_EXPORT bool cv_err_is_temp(const struct cv_err *err);
/* Short lower-case name of the code, for logs and JSON. */
CV_EXPORT const char *cv_err_code_name(enum cv_err_code code);

#endif
