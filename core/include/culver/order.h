/* SPDX-License-Identifier: MIT
   Orders of a mailbox's messages that were found once, by what never changes of a message: any later question that wants some of them in that order has only
   to place them. Kept in this process, within bounds for all mailboxes of a user and for one, and forgotten when the user is quiet. */
#ifndef CV_ORDER_H
#define CV_ORDER_H

#include <culver/mailbox.h>

/* References are counted: who has one may use it whatever becomes of the mailbox, but an order that is given up meanwhile has no places any more. */
struct cv_order;
#define CV_ORDER_NAME_MAX 40u

/* The order of this name that is kept for the view's mailbox, or NULL. */
CV_EXPORT struct cv_order *cv_order_get(const struct cv_view *view, struct cv_str name);
/* NULL is none. One that was made and not kept is gone. */
CV_EXPORT void cv_order_unref(struct cv_order **order);
/* Messages in it, those included that were expunged since: places are below it. */
CV_EXPORT uint32_t cv_order_count(const struct cv_order *order);
/* Where a message is: 1 with its place, 0 when it has none (it came later, or was left out), -1 when it is expunged. */
CV_EXPORT int cv_order_place(const struct cv_order *order, const struct cv_view *view, uint32_t seq, uint32_t *place_r);

/* What cv_order_new was given. Valid as long as the reference. */
CV_EXPORT struct cv_str cv_order_text(const struct cv_order *order);

/* Begin an order of count messages, which takes the place of another one of that name (CV_ORDER_NAME_MAX octets at most). text: what else is known of just these
   messages, kept with it (copied). NULL: it would not be kept, for there is no room, or these are less than half of the mailbox's messages. */
CV_EXPORT struct cv_order *cv_order_new(struct cv_view *view, struct cv_str name, size_t count, struct cv_str text);
/* The next message in it. */
CV_EXPORT void cv_order_add(struct cv_order *order, const struct cv_view *view, uint32_t seq);
/* It is whole now. */
CV_EXPORT void cv_order_keep(struct cv_order *order);

#endif
