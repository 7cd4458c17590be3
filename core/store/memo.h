/* SPDX-License-Identifier: MIT
   What was made of messages' headers, kept in memory beside the columns (cv_view_memo in culver/mailbox.h). */
#ifndef CV_STORE_MEMO_H
#define CV_STORE_MEMO_H

#include <culver/mailbox.h>

#include <stdbool.h>
#include <stddef.h>

/* What has a bound of its own: keys of sorting, threading and searching, texts of replies, or orders of messages (order.h). */
enum cv_memo_sort { CV_MEMO_KEYS, CV_MEMO_TEXTS, CV_MEMO_ORDERS, CV_MEMO_SORTS };

struct cv_mailbox;
struct cv_memos;
struct cv_orders;

/* Of one mailbox. NULL is none. */
void cv_memos_free(struct cv_memos **memos);
/* Orders of a mailbox's messages, which live as long as its memos; NULL: there are none, and make is not asked for. Columns must be loaded for that. */
struct cv_orders *cv_memos_orders(struct cv_mailbox *mailbox, bool make);
/* cv_view_memo of the message in a row; columns are loaded. */
CV_MUST_CHECK bool cv_memo_of_row(const struct cv_mailbox *mailbox, uint32_t row, enum cv_memo memo, struct cv_str *octets_r);
/* Was this asked for before? Then it is worth memory; from now on it was. False where there is no room to note it. */
bool cv_memo_asked(struct cv_mailbox *mailbox, uint32_t row, enum cv_memo memo);

#endif
