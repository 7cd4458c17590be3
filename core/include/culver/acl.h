/* SPDX-License-Identifier: MIT
   Access control lists: what the commands of RFC 4314 and "culver acl" ask of the plugin that keeps them. Which rights come of a list is told by the hook
   mailbox_access alone. */
#ifndef CV_ACL_H
#define CV_ACL_H

#include <culver/mailbox.h>

/* An identifier as RFC 4314 has it: a user's name, "anyone", "-" and an identifier for rights that are taken away; other forms are the plugin's. */
struct cv_acl_entry {
	struct cv_str identifier;
	unsigned rights; /* enum cv_right */
};

enum cv_acl_change { CV_ACL_REPLACE = 1, CV_ACL_ADD, CV_ACL_REMOVE };

/* Nobody's rights are asked: that is the caller's to do (CV_RIGHT_ADMIN). Identifiers are valid UTF-8, not empty, without control characters. Errors:
   NOTFOUND (no such mailbox), INVALID (identifier), PERM (rules of the plugin), LIMIT. */
struct cv_acl_service {
	/* The list of a mailbox, in arena; *count_r may be 0. */
	int (*get)(struct cv_user *user, struct cv_str mailbox, struct cv_arena *arena, const struct cv_acl_entry **entries_r, size_t *count_r,
		struct cv_err *err);
	/* Durable on return. */
	int (*set)(struct cv_user *user, struct cv_str mailbox, struct cv_str identifier, enum cv_acl_change change, unsigned rights,
		struct cv_err *err);
	/* Remove the entry of an identifier; none is fine. Durable on return. */
	int (*remove)(struct cv_user *user, struct cv_str mailbox, struct cv_str identifier, struct cv_err *err);
	/* Rights that the identifier has in any case, and those that it can be given one by one. */
	int (*possible)(struct cv_user *user, struct cv_str mailbox, struct cv_str identifier, unsigned *always_r, unsigned *possible_r,
		struct cv_err *err);
};

/* cv_service_register, cv_service_get */
#define CV_ACL_SERVICE "acl"
#define CV_ACL_SERVICE_VERSION 1

#endif
