/* SPDX-License-Identifier: MIT
   The SASL mechanisms of this module, one a file. */
#ifndef CV_SASL_H
#define CV_SASL_H

#include <culver/auth.h>

/* Longer names and passwords are malformed. RFC 4616 section 2 asks for at least 255 octets each. */
#define SASL_NAME_MAX 1024u
#define SASL_PASSWORD_MAX 4096u

extern const struct cv_settings_table sasl_settings_table;
/* auth_saslprep */
bool sasl_prepares(const struct cv_auth_request *request);
/* A name or password that the client sent, as it is to be compared: with auth_saslprep prepared, in the request's arena. -1: it can't be. */
CV_MUST_CHECK int sasl_prepare(struct cv_auth_request *request, struct cv_str *s, struct cv_err *err);

extern const struct cv_sasl_mech sasl_plain;         /* RFC 4616 */
extern const struct cv_sasl_mech sasl_login;         /* draft-murchison-sasl-login */
extern const struct cv_sasl_mech sasl_external;      /* RFC 4422 appendix A */
extern const struct cv_sasl_mech sasl_apop;          /* RFC 1939 section 7 */
extern const struct cv_sasl_mech sasl_scram_sha1;    /* RFC 5802 */
extern const struct cv_sasl_mech sasl_scram_sha256;  /* RFC 7677 */

#endif
