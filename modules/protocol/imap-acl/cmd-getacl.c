/* SPDX-License-Identifier: MIT
   GETACL (RFC 4314 sections 3.3 and 3.6). */
#include <config.h>

#include "imap-acl.h"

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	const struct cv_acl_entry *entries;
	struct cv_err err = { 0 };
	struct acl_args args;
	struct cv_buf *out;
	size_t count;

	if (!acl_parse(cmd, ACL_MAILBOX, &args) || !acl_may_administer(cmd, args.mailbox))
		return CV_IMAP_DONE;
	if (acl_service(cmd->user)->get(cmd->user, args.mailbox, cmd->arena, &entries, &count, &err) < 0)
		return cmd->api->fail(cmd, &err);
	/* acl-data = "ACL" SP mailbox *(SP identifier SP rights) */
	out = cmd->api->out(cmd);
	cv_buf_append_c(out, "* ACL ");
	cmd->api->append_mailbox(cmd, out, args.mailbox);
	for (size_t i = 0; i < count; i++) {
		cv_buf_append_char(out, ' ');
		cmd->api->append_astring(out, entries[i].identifier);
		acl_append_rights(cmd, out, entries[i].rights);
	}
	cv_buf_append_c(out, "\r\n");
	return cmd->api->ok(cmd, NULL, "Getacl completed");
}

const struct cv_imap_command acl_cmd_getacl = { .verb = "GETACL", .opts = CV_IMAP_LOGGED_IN, .run = run };
