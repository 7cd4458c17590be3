/* SPDX-License-Identifier: MIT
   Quota as others ask for it: which limits a mailbox is under, and what is used of them (RFC 9208). Enforcing them is the provider's own business, by hooks. */
#ifndef CV_QUOTA_H
#define CV_QUOTA_H

#include <culver/module.h>
#include <culver/str.h>

struct cv_user;

/* One resource of a quota root. name: as registered for IMAP ("STORAGE", in units of 1024 octets; "MESSAGE"; "MAILBOX"). Without a limit it is not told. */
struct cv_quota_resource {
	const char *name;
	uint64_t usage, limit;
};
/* Resources of one root, at most. */
#define CV_QUOTA_RESOURCES_MAX 8
/* A limit that a client asks for; name as it came. */
struct cv_quota_wish {
	struct cv_str name;
	uint64_t limit;
};

/* The provider, in workers. Names of roots are its own; they live as long as the user is open, or until the next call where that says so. */
struct cv_quota {
	const char *name;
	/* All resources that a root of this user can have, ended by NULL: they are announced. */
	const char *const *resources;
	/* Roots that a mailbox is under, whether it exists or not: false at the end. *pos starts at 0. */
	bool (*root_next)(struct cv_user *user, struct cv_str mailbox, size_t *pos, struct cv_str *root_r);
	/* The resources of a root that have a limit, into list: 1 with *count_r, 0 when there is no such root, -1. */
	int (*get)(struct cv_user *user, struct cv_str root, struct cv_quota_resource list[CV_QUOTA_RESOURCES_MAX], size_t *count_r,
		struct cv_err *err);
	/* Some root of the mailbox is above a limit (that may be exceeded: a soft one, or one with grace): true with a text for the user, valid until the next
	   call. */
	bool (*over)(struct cv_user *user, struct cv_str mailbox, const char **text_r);
	/* A new message of at least so many octets is about to come into the mailbox: 0, or -1 with a public err when it is clear that it would be refused, so that
	   it need not come. May be NULL. */
	int (*fits)(struct cv_user *user, struct cv_str mailbox, uint64_t octets, struct cv_err *err);
	/* May this user set limits himself? Then QUOTASET is announced. Asked when the user is opened; NULL: nobody may. */
	bool (*settable)(struct cv_user *user);
	/* These become the limits of a root, durably, and those that are not named are set no more: 1, 0 when there is no such root, -1 with a public err (PERM,
	   INVALID: no such resource can be limited) or another one. May be NULL. */
	int (*set)(struct cv_user *user, struct cv_str root, const struct cv_quota_wish *wishes, size_t count, struct cv_err *err);
};
static inline int cv_provide_quota(struct cv_registry *reg, const struct cv_quota *quota, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_QUOTA, quota->name, quota, sizeof(*quota), err);
}

#endif
