/* SPDX-License-Identifier: MIT
   Who is told of every record: the committed hook at once, journal subscribers from their own cursors. */
#include <config.h>

#include "core/store/store-private.h"

void cv_subscribers_committed(struct cv_user *user, const struct cv_txn *txn)
{
	(void)user;
	(void)txn;
}
