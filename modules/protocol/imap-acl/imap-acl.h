/* SPDX-License-Identifier: MIT
   Access control lists in IMAP (RFC 4314, RFC 8440): what its commands share. Where rights come from is not known here: what a user may do is told by
   the hook mailbox_access, lists are kept by whoever registers the service of culver/acl.h. Private to the module. */
#ifndef CV_IMAP_ACL_H
#define CV_IMAP_ACL_H

#include <culver/acl.h>
#include <culver/imap.h>

/* The keeper of lists; there is one: a user's mail is not opened without. */
const struct cv_acl_service *acl_service(const struct cv_user *user);

/* What the commands take. identifier and rights: absent when the command has none. */
struct acl_args {
	struct cv_str mailbox, identifier, rights;
};
enum acl_args_kind { ACL_MAILBOX, ACL_IDENTIFIER, ACL_RIGHTS };
/* mailbox [SP identifier [SP mod-rights]]. The identifier is as it came (for LISTRIGHTS, whose response repeats it). False: the reply was made. */
CV_MUST_CHECK bool acl_parse(struct cv_imap_cmd *cmd, enum acl_args_kind kind, struct acl_args *args_r);
/* "prepare the received identifier using "SASLprep"". False: the reply was made. */
CV_MUST_CHECK bool acl_prepare(struct cv_imap_cmd *cmd, struct cv_str *identifier);
/* The "a" right on the mailbox, which must exist. False: the reply was made. */
CV_MUST_CHECK bool acl_may_administer(struct cv_imap_cmd *cmd, struct cv_str mailbox);
/* SP and rights as an astring. */
void acl_append_rights(struct cv_imap_cmd *cmd, struct cv_buf *out, unsigned rights);

extern const struct cv_imap_command acl_cmd_deleteacl, acl_cmd_getacl, acl_cmd_listrights, acl_cmd_myrights, acl_cmd_setacl;
extern const struct cv_imap_list_return acl_list_myrights;

#endif
