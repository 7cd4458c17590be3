/* SPDX-License-Identifier: MIT
   Storage that others change too: looking for what they did. */
#include <config.h>

#include "core/store/store-private.h"

int cv_mailbox_refresh(struct cv_mailbox *mailbox, struct cv_err *err)
{
	(void)mailbox;
	(void)err;
	return 1;
}

int cv_mirror_range(struct cv_mailbox *mailbox, struct cv_range range, struct cv_err *err)
{
	(void)mailbox;
	(void)range;
	(void)err;
	return 1;
}

void cv_watch_start(struct cv_mailbox *mailbox)
{
	(void)mailbox;
}

void cv_watch_stop(struct cv_mailbox *mailbox)
{
	(void)mailbox;
}
