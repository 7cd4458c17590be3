/* SPDX-License-Identifier: MIT
   The module imap-acl: the commands of RFC 4314 and what they share. */
#include <config.h>

#include "imap-acl.h"

#include "modules/lib/imap/imap-rights.h"
#include "modules/lib/saslprep/saslprep.h"

#include <culver/hooks.h>

const struct cv_acl_service *acl_service(const struct cv_user *user)
{
	return cv_service_get(cv_user_registry(user), CV_ACL_SERVICE, CV_ACL_SERVICE_VERSION);
}

/* identifier = astring; mod-rights = astring. */
static bool take_astring(struct cv_imap_cmd *cmd, const struct cv_imap_arg **arg, struct cv_str *s_r, const char *missing)
{
	if (!cv_imap_arg_astring(*arg, s_r)) {
		cmd->api->bad(cmd, missing);
		return false;
	}
	*arg = (*arg)->next;
	return true;
}

bool acl_parse(struct cv_imap_cmd *cmd, enum acl_args_kind kind, struct acl_args *args_r)
{
	const struct cv_imap_arg *arg = cmd->args;
	struct cv_err err = { 0 };
	struct cv_str wire;

	*args_r = (struct acl_args){ 0 };
	if (!take_astring(cmd, &arg, &wire, "Missing or invalid mailbox name") ||
		(kind >= ACL_IDENTIFIER && !take_astring(cmd, &arg, &args_r->identifier, "Missing or invalid identifier")) ||
		(kind >= ACL_RIGHTS && !take_astring(cmd, &arg, &args_r->rights, "Missing or invalid rights")))
		return false;
	if (arg != NULL) {
		cmd->api->bad(cmd, "Unexpected arguments");
		return false;
	}
	if (cmd->api->mailbox_name(cmd, wire, &args_r->mailbox, &err) < 0) {
		cmd->api->fail(cmd, &err);
		return false;
	}
	return true;
}

bool acl_prepare(struct cv_imap_cmd *cmd, struct cv_str *identifier)
{
	bool negative = identifier->len > 0 && identifier->ptr[0] == '-';
	struct cv_err err = { 0 };
	struct cv_str name;

	/* "If the preparation of the identifier fails or results in an empty string, the server MUST refuse to perform the command with a BAD
	   response." The dash of negative rights is no part of a name. */
	if (cv_saslprep(cmd->arena, cv_str_sub(*identifier, negative ? 1 : 0, SIZE_MAX), &name, &err) < 0) {
		cmd->api->bad(cmd, cv_err_public(&err));
		return false;
	}
	*identifier = negative ? cv_str_c(cv_arena_printf(cmd->arena, "-%.*s", CV_STR_ARG(name))) : name;
	return true;
}

bool acl_may_administer(struct cv_imap_cmd *cmd, struct cv_str name)
{
	struct cv_mailbox *mailbox;
	struct cv_err err = { 0 };

	/* Section 6: without the right to look it up, "the same error that would be used if the mailbox did not exist". */
	if (cv_mailbox_open(cmd->user, name, CV_RIGHT_ADMIN, &mailbox, &err) < 0) {
		cmd->api->fail(cmd, &err);
		return false;
	}
	cv_mailbox_unref(&mailbox);
	return true;
}

void acl_append_rights(struct cv_imap_cmd *cmd, struct cv_buf *out, unsigned rights)
{
	struct cv_buf letters;

	cv_buf_init(&letters, 64);
	cv_imap_rights_append(&letters, rights);
	cv_buf_append_char(out, ' ');
	cmd->api->append_astring(out, cv_buf_str(&letters));
	cv_buf_deinit(&letters);
}

/* Commands that nobody answers would be announced all the same. */
static enum cv_hook_result on_user_open(void *ctx, struct cv_hook_user_open *args, struct cv_err *err)
{
	(void)ctx;
	if (acl_service(args->user) != NULL)
		return CV_HOOK_PASS;
	cv_err_set(err, CV_ERR_UNAVAILABLE, "mail_plugins: imap-acl needs a plugin that keeps access control lists, such as acl");
	return CV_HOOK_ERROR;
}

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	static const struct cv_imap_command *const commands[] = { &acl_cmd_deleteacl, &acl_cmd_getacl, &acl_cmd_listrights, &acl_cmd_myrights,
		&acl_cmd_setacl };

	(void)role;
	for (size_t i = 0; i < CV_COUNT_OF(commands); i++)
		if (cv_provide_imap_command(reg, commands[i], err) < 0)
			return -1;
	if (cv_provide_imap_list_return(reg, &acl_list_myrights, err) < 0)
		return -1;
	return cv_hook_add_user_open(reg, on_user_open, NULL, err);
}

CV_MODULE(imap_acl) = {
	CV_MODULE_ABI,
	.name = "imap-acl",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
