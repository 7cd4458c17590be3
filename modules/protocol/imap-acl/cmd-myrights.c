/* SPDX-License-Identifier: MIT
   MYRIGHTS (RFC 4314 sections 3.5 and 3.8), and the same of many mailboxes in LIST (RFC 8440). */
#include <config.h>

#include "imap-acl.h"

#include <culver/log.h>
#include <culver/protocol.h>

/* Section 4: "any of the following rights is required to perform the operation". */
#define ANY (CV_RIGHT_LOOKUP | CV_RIGHT_READ | CV_RIGHT_INSERT | CV_RIGHT_CREATE | CV_RIGHT_DELETE | CV_RIGHT_ADMIN)

static void write_rights(struct cv_imap_cmd *cmd, struct cv_buf *out, struct cv_str mailbox, unsigned rights)
{
	cv_buf_append_c(out, "* MYRIGHTS ");
	cmd->api->append_mailbox(cmd, out, mailbox);
	acl_append_rights(cmd, out, rights);
	cv_buf_append_c(out, "\r\n");
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };
	struct acl_args args;
	unsigned rights;

	if (!acl_parse(cmd, ACL_MAILBOX, &args))
		return CV_IMAP_DONE;
	if (cv_mailbox_get(cmd->user, args.mailbox, &mailbox, &err) < 0)
		return cmd->api->fail(cmd, &err);
	cv_mailbox_unref(&mailbox);
	if (cv_mailbox_rights(cmd->user, args.mailbox, &rights, &err) < 0)
		return cmd->api->fail(cmd, &err);
	if ((rights & ANY) == 0) {
		/* As of one that does not exist. */
		cv_err_set_public(&err, CV_ERR_NOTFOUND, "Mailbox doesn't exist");
		return cmd->api->fail(cmd, &err);
	}
	write_rights(cmd, cmd->api->out(cmd), args.mailbox, rights);
	return cmd->api->ok(cmd, NULL, "Myrights completed");
}

/* RFC 8440 section 3: "If the server is unable to look up the set of rights for a given mailbox, it does not send the MYRIGHTS reply". */
static void write_listed(struct cv_imap_cmd *cmd, void *data, struct cv_buf *out, struct cv_str mailbox)
{
	struct cv_err err = { 0 };
	unsigned rights;

	(void)data;
	if (cv_mailbox_rights(cmd->user, mailbox, &rights, &err) < 0)
		cv_error(cv_session_log(cmd->session), "LIST: %s", err.text);
	else if ((rights & CV_RIGHT_LOOKUP) != 0)
		write_rights(cmd, out, mailbox, rights);
}

const struct cv_imap_command acl_cmd_myrights = { .verb = "MYRIGHTS", .opts = CV_IMAP_LOGGED_IN, .run = run };
const struct cv_imap_list_return acl_list_myrights = { .name = "MYRIGHTS", .write = write_listed, .capability = "LIST-MYRIGHTS" };
