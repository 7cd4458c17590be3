/* SPDX-License-Identifier: MIT
   CREATE (RFC 3501 section 6.3.3, RFC 6154 section 3, RFC 8474 section 4.1). */
#include <config.h>

#include "imap-session.h"

/* create-param =/ "USE" SP "(" [use-attr *(SP use-attr)] ")". False: the reply was made. */
static bool parse_params(struct cv_imap_cmd *cmd, const struct cv_imap_arg *arg, unsigned *special_use_r)
{
	const struct cv_imap_arg *param, *use;

	*special_use_r = 0;
	if (arg == NULL)
		return true;
	if (!cv_imap_arg_list(arg, &param) || param == NULL || arg->next != NULL) {
		imap_bad(cmd, "Unexpected arguments");
		return false;
	}
	if (!cv_imap_arg_is(param, "USE") || !cv_imap_arg_list(param->next, &use) || param->next->next != NULL) {
		imap_bad(cmd, "Unknown CREATE parameter");
		return false;
	}
	for (; use != NULL; use = use->next) {
		unsigned bit = use->type == CV_IMAP_ARG_ATOM ? imap_special_use(use->str) : 0;

		/* \All and \Flagged name mailboxes that show messages of others; there are none of these here. */
		if (bit == 0 || (bit & IMAP_USES_OF_VIEWS) != 0) {
			imap_no(cmd, "USEATTR", "Special use is not supported for new mailboxes");
			return false;
		}
		*special_use_r |= bit;
	}
	return true;
}

static enum cv_imap_result run(struct cv_imap_cmd *cmd)
{
	struct cv_err err = { 0 };
	struct cv_mailbox_info info;
	struct cv_buf id;
	struct cv_str name;
	unsigned special_use;
	const char *code = NULL;

	/* "If the mailbox name is suffixed with the server's hierarchy separator character … the name created is without the trailing hierarchy
	   delimiter." */
	if (!imap_mailbox_arg(cmd, cmd->args, IMAP_NAME_TRAILING_SEP | IMAP_NAME_NEW, &name) || !parse_params(cmd, cmd->args->next, &special_use))
		return CV_IMAP_DONE;
	if (cv_mailbox_create(cmd->user, name, special_use, &err) < 0)
		return imap_fail(cmd, &err);
	if (cv_mailbox_lookup(cmd->user, name, &info) > 0) {
		cv_buf_init(&id, 256);
		imap_append_mailboxid(&id, info.guid);
		code = imap_code_printf(cmd, "MAILBOXID (%s)", id.data);
		cv_buf_deinit(&id);
	}
	return imap_ok(cmd, code, "Create completed");
}

const struct cv_imap_command imap_cmd_create = { .verb = "CREATE", .opts = CV_IMAP_LOGGED_IN, .run = run };
