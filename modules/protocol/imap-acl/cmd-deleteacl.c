/* SPDX-License-Identifier: MIT
   DELETEACL (RFC 4314 section 3.2). */
#include <config.h>

#include "imap-acl.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct cv_err err = { 0 };
	struct acl_args args;

	if (!acl_parse(cmd, ACL_IDENTIFIER, &args) || !acl_prepare(cmd, &args.identifier) || !acl_may_administer(cmd, args.mailbox))
		return CV_IMAP_DONE;
	if (acl_service(cmd->user)->remove(cmd->user, args.mailbox, args.identifier, &err) < 0)
		return cmd->api->fail(cmd, &err);
	return cmd->api->ok(cmd, NULL, "Deleteacl completed");
}

const struct cv_imap_command acl_cmd_deleteacl = { .verb = "DELETEACL", .opts = CV_IMAP_LOGGED_IN, .run = run };
