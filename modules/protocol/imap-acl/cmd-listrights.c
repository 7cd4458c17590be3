/* SPDX-License-Identifier: MIT
   LISTRIGHTS (RFC 4314 sections 3.4 and 3.7). */
#include <config.h>

#include "imap-acl.h"

#include "modules/lib/imap/imap-rights.h"

/* "*(SP rights)": no rights are tied to each other. Section 2.1.1: the virtual ones are "returned by itself" when a member can be granted, and no right
   is listed twice. */
static void append_optional(struct cv_buf *out, unsigned always, unsigned possible)
{
	struct cv_buf all, given;
	unsigned right = 0;
	char letter;

	cv_buf_init(&all, 64);
	cv_buf_init(&given, 64);
	cv_imap_rights_append(&all, possible);
	cv_imap_rights_append(&given, always);
	for (unsigned i = 0; (letter = cv_imap_right_letter(i, &right)) != 0; i++)
		if ((possible & ~always & right) != 0)
			cv_buf_printf(out, " %c", letter);
	for (const char *virtual = "cd"; *virtual != '\0'; virtual++)
		if (cv_str_find(cv_buf_str(&all), *virtual) != SIZE_MAX && cv_str_find(cv_buf_str(&given), *virtual) == SIZE_MAX)
			cv_buf_printf(out, " %c", *virtual);
	cv_buf_deinit(&all);
	cv_buf_deinit(&given);
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	unsigned always, possible;
	struct cv_err err = { 0 };
	struct acl_args args;
	struct cv_str as_given;
	struct cv_buf *out;

	if (!acl_parse(cmd, ACL_IDENTIFIER, &args))
		return CV_IMAP_DONE;
	/* "A LISTRIGHTS response […] MUST always return the same form of an identifier as specified by the client." */
	as_given = args.identifier;
	if (!acl_prepare(cmd, &args.identifier) || !acl_may_administer(cmd, args.mailbox))
		return CV_IMAP_DONE;
	if (acl_service(cmd->user)->possible(cmd->user, args.mailbox, args.identifier, &always, &possible, &err) < 0)
		return cmd->api->fail(cmd, &err);
	out = cmd->api->out(cmd);
	cv_buf_append_c(out, "* LISTRIGHTS ");
	cmd->api->append_mailbox(cmd, out, args.mailbox);
	cv_buf_append_char(out, ' ');
	cmd->api->append_astring(out, as_given);
	acl_append_rights(cmd, out, always);
	append_optional(out, always, possible);
	cv_buf_append_c(out, "\r\n");
	return cmd->api->ok(cmd, NULL, "Listrights completed");
}

const struct cv_imap_command acl_cmd_listrights = { .verb = "LISTRIGHTS", .opts = CV_IMAP_LOGGED_IN, .run = run };
