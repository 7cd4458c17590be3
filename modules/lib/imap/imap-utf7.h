/* SPDX-License-Identifier: MIT
   Modified UTF-7 of mailbox names (RFC 3501 section 5.1.3), both ways, exact. */
#ifndef CV_IMAP_UTF7_H
#define CV_IMAP_UTF7_H

#include <culver/buf.h>

/* Append the UTF-8 form of a name from the wire. False (out keeps what it had) when it is not in the one correct form: octets outside printable
   US-ASCII, an unended shift, a superfluous shift, printable US-ASCII in base64, wrong padding bits, a lone surrogate, U+0000. What is accepted comes
   back the same from cv_imap_utf7_encode. */
CV_MUST_CHECK bool cv_imap_utf7_decode(struct cv_buf *out, struct cv_str name);
/* Append the modified UTF-7 form of a name. Octets that are no UTF-8 become U+FFFD, so that there always is an answer. */
void cv_imap_utf7_encode(struct cv_buf *out, struct cv_str utf8);

#endif
