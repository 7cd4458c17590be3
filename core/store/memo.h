/* SPDX-License-Identifier: MIT
   What was made of messages' headers, kept in memory beside the columns (cv_view_memo in culver/mailbox.h). */
#ifndef CV_STORE_MEMO_H
#define CV_STORE_MEMO_H

#include <stddef.h>

struct cv_columns;
struct cv_memos;

/* Of one mailbox. NULL is none. */
void cv_memos_free(struct cv_memos **memos);

#endif
