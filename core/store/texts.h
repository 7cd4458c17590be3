/* SPDX-License-Identifier: MIT
   Texts that a module makes of parse records (culver/texts.h), as the cache file has them. */
#ifndef CV_STORE_TEXTS_H
#define CV_STORE_TEXTS_H

#include <culver/texts.h>

struct cv_user;

/* Of all texts of a message together, with what stands before them. */
#define CV_TEXTS_OCTETS_MAX ((size_t)48 << 10)

/* What makes texts, and the memory it needs. */
struct cv_texts {
	const struct cv_text_maker *maker; /* NULL: nothing does */
	struct cv_arena *arena;            /* NULL: not needed yet, or given back */
	struct cv_buf made[CV_TEXTS_MAX];
	struct cv_buf octets;
};

/* LIMIT when more than one module makes texts. */
CV_MUST_CHECK int cv_texts_init(struct cv_user *user, struct cv_err *err);
/* Memory is given back; it comes again when it is needed. */
void cv_texts_quiet(struct cv_user *user);
/* What is written behind a parse record: u32 format, for each text its u32 length, 0 for one that is not kept; then the texts. Empty when there is nothing to be
   kept, or more than CV_TEXTS_OCTETS_MAX. Valid until the next one is made. */
struct cv_str cv_texts_make(struct cv_user *user, struct cv_str record);
/* Read it. False when it is of another format or makes no sense. Texts that are not kept are absent. */
CV_MUST_CHECK bool cv_texts_take(const struct cv_user *user, struct cv_str octets, struct cv_str texts_r[CV_TEXTS_MAX]);

#endif
