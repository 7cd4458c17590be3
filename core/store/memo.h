/* SPDX-License-Identifier: MIT
   What was made of messages' headers, kept in memory beside the columns (cv_view_memo in culver/mailbox.h). */
#ifndef CV_STORE_MEMO_H
#define CV_STORE_MEMO_H

#include <stddef.h>

/* What has a bound of its own: keys of sorting, threading and searching, or texts of replies. */
enum cv_memo_sort { CV_MEMO_KEYS, CV_MEMO_TEXTS, CV_MEMO_SORTS };

struct cv_memos;

/* Of one mailbox. NULL is none. */
void cv_memos_free(struct cv_memos **memos);

#endif
