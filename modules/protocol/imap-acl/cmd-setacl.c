/* SPDX-License-Identifier: MIT
   SETACL (RFC 4314 section 3.1). */
#include <config.h>

#include "imap-acl.h"

#include "modules/lib/imap/imap-rights.h"

/* "The third argument is a string containing an optional plus ("+") or minus ("-") prefix, followed by zero or more rights characters." */
static enum cv_acl_change take_prefix(struct cv_str *rights)
{
	enum cv_acl_change change = CV_ACL_REPLACE;

	if (rights->len > 0 && rights->ptr[0] == '+')
		change = CV_ACL_ADD;
	else if (rights->len > 0 && rights->ptr[0] == '-')
		change = CV_ACL_REMOVE;
	if (change != CV_ACL_REPLACE)
		*rights = cv_str_sub(*rights, 1, SIZE_MAX);
	return change;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	enum cv_acl_change change;
	struct cv_err err = { 0 };
	struct acl_args args;
	unsigned rights;

	if (!acl_parse(cmd, ACL_RIGHTS, &args))
		return CV_IMAP_DONE;
	change = take_prefix(&args.rights);
	/* "an unrecognized right MUST cause the command to return the BAD response". */
	if (cv_imap_rights_parse(args.rights, &rights, &err) < 0)
		return cmd->api->bad(cmd, cv_err_public(&err));
	if (!acl_prepare(cmd, &args.identifier) || !acl_may_administer(cmd, args.mailbox))
		return CV_IMAP_DONE;
	if (acl_service(cmd->user)->set(cmd->user, args.mailbox, args.identifier, change, rights, &err) < 0)
		return cmd->api->fail(cmd, &err);
	return cmd->api->ok(cmd, NULL, "Setacl completed");
}

const struct cv_imap_command acl_cmd_setacl = {
	.verb = "SETACL",
	.opts = CV_IMAP_LOGGED_IN,
	.run = run,
	/* Section 5.1.1: "The set of rights MUST include "t", "e", "x", and "k"." */
	.capability = "ACL RIGHTS=texkn",
};
