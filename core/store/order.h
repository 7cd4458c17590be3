/* SPDX-License-Identifier: MIT
   Orders of messages (culver/order.h), kept with what else is kept in memory beside the columns. */
#ifndef CV_STORE_ORDER_H
#define CV_STORE_ORDER_H

#include <culver/order.h>

#include <stddef.h>

#define CV_ORDERS_MAX 4u /* of a mailbox; of more the one is given up that was not asked for longest */

/* Of one mailbox, whose rows are where they were when an order was begun. { 0 } to begin. */
struct cv_orders {
	struct cv_order *items[CV_ORDERS_MAX]; /* NULL: none */
	size_t *total;  /* octets of all mailboxes of the user */
	uint64_t asked; /* how often orders were asked for */
};

/* Give up all of them: rows move, or the memory is wanted. */
void cv_orders_clear(struct cv_orders *orders);

#endif
