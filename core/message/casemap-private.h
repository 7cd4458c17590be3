/* SPDX-License-Identifier: MIT
   Case mapping of text that is known to be UTF-8. */
#ifndef CV_CASEMAP_PRIVATE_H
#define CV_CASEMAP_PRIVATE_H

#include <culver/buf.h>

/* As cv_casemap, without the check: utf8 must be well-formed. */
void cv_casemap_valid(struct cv_buf *out, struct cv_str utf8);

#endif
