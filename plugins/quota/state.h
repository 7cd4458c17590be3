/* SPDX-License-Identifier: MIT
   Plugin quota: what it knows of a user. Private to this plugin. */
#ifndef CV_QUOTA_STATE_H
#define CV_QUOTA_STATE_H

#include "plugins/quota/quota.h"

#include <culver/admin.h>
#include <culver/log.h>
#include <culver/mailbox.h>
#include <culver/quota.h>
#include <culver/settings.h>

/* In the user's slot while the worker has the user open. */
struct quota_user {
	struct cv_arena *arena;
	struct cv_log_ctx ctx;
	struct cv_quota_rules rules;
	bool may_set;            /* quota_user_limits */
	struct cv_quota_most most, own; /* of the administrator, and what the user set below; rules has the lower ones */
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
/* What is used of the limits: the mailboxes that count. notes are right only behind cv_user_count_notes. */
void quota_usage(struct cv_user *user, const struct quota_user *quota, struct cv_usage *usage_r);

/* own.c: limits that the user sets for himself, at most those of the rules. */
/* Take those that were set into the rules, which are complete. -1: they make no sense. */
CV_MUST_CHECK int quota_own_open(struct cv_user *user, struct quota_user *quota, struct cv_err *err);
/* cv_quota.set of a root that is the user's. */
CV_MUST_CHECK int quota_own_set(struct cv_user *user, struct quota_user *quota, const struct cv_quota_wish *wishes, size_t count, struct cv_err *err);

extern const struct cv_admin_command quota_admin_get, quota_admin_recalc;

#endif
