/* SPDX-License-Identifier: MIT
   Case mapping of text that is known to be UTF-8. */
#ifndef CV_CASEMAP_PRIVATE_H
#define CV_CASEMAP_PRIVATE_H

#include <culver/buf.h>

/* Remembers what characters are mapped to, for who maps much text. */
struct cv_casemap_cache;
struct cv_casemap_cache *cv_casemap_cache_new(void);
void cv_casemap_cache_free(struct cv_casemap_cache **cache);

/* As cv_casemap, without the check: utf8 must be well-formed. cache may be NULL. */
void cv_casemap_valid(struct cv_buf *out, struct cv_str utf8, struct cv_casemap_cache *cache);

#endif
