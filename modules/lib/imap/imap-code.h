/* SPDX-License-Identifier: MIT
   Response codes for errors (RFC 3501 section 7.1, RFC 5530). */
#ifndef CV_IMAP_CODE_H
#define CV_IMAP_CODE_H

#include <culver/err.h>

/* The response code for an error of a mailbox command, without brackets; NULL: none. */
const char *cv_imap_code(enum cv_err_code code);
/* The same for an error of a login. */
const char *cv_imap_login_code(enum cv_err_code code);

#endif
