/* SPDX-License-Identifier: MIT
   Plugin quota: what it knows of a user. Private to this plugin. */
#ifndef CV_QUOTA_STATE_H
#define CV_QUOTA_STATE_H

#include "plugins/quota/quota.h"

#include <culver/admin.h>
#include <culver/log.h>
#include <culver/mailbox.h>
#include <culver/settings.h>

/* In the user's slot while the worker has the user open. */
struct quota_user {
	struct cv_arena *arena;
	struct cv_log_ctx ctx;
	struct cv_quota_rules rules;
	struct cv_quota_root root;
	struct cv_quota_grace grace;
	uint64_t max_mail_size;  /* octets; 0: any */
	const char *exceeded;    /* what is said when something is refused */
	bool check_rcpt;
	/* What the transaction that is being made has so far. */
	uint64_t txn;
	struct cv_quota_change change;
};

/* NULL when there are no settings (tests of the store). */
struct quota_user *quota_of(struct cv_user *user);
/* What is used of the limits: the mailboxes that count. */
void quota_usage(struct cv_user *user, const struct quota_user *quota, struct cv_usage *usage_r);

extern const struct cv_admin_command quota_admin_get, quota_admin_recalc;

#endif
