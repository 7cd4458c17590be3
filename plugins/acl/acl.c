/* SPDX-License-Identifier: MIT
   The acl plugin: rights on mailboxes by access control lists. It takes rights away in the hook mailbox_access, and keeps the lists that the commands
   of imap-acl and "culver acl" show and change. */
#include <config.h>

#include "acl.h"

#include <culver/hooks.h>
#include <culver/log.h>

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static const char *const anyone_values[] = { "deny", "allow", NULL };

static const struct cv_setting rows[] = {
	CV_SETTING_STR(acl_settings, acl, "vfile", "Where lists are kept; \"vfile\": with each mailbox, in the form of Dovecot's dovecot-acl files."),
	CV_SETTING_STR(acl_settings, acl_global, NULL,
		"Rights that go before those of mailboxes, \"</etc/culver/dovecot-acl\" for a file: lines \"pattern identifier rights\"."),
	CV_SETTING_BOOL(acl_settings, acl_globals_only, "no", "Only acl_global counts; mailboxes have no lists of their own."),
	CV_SETTING_ENUM(acl_settings, acl_anyone, "deny", anyone_values, "May users give rights to everyone (\"anyone\", \"authenticated\")?"),
};

static int check_settings(const void *settings, struct cv_err *err)
{
	const struct acl_settings *set = settings;

	if (cv_str_starts(cv_str_c(set->acl), CV_STR("vfile:")))
		return cv_err_set(err, CV_ERR_INVALID, "acl: a global file is given by acl_global = </path/to/file");
	if (!cv_str_eq_c(cv_str_c(set->acl), "vfile"))
		return cv_err_set(err, CV_ERR_INVALID, "acl: \"%s\" is not known (allowed: vfile)", set->acl);
	return 0;
}

const struct cv_settings_table acl_settings_table = CV_SETTINGS_TABLE(NULL, "Access control lists", acl_settings, rows, check_settings);

int acl_global_parse(const struct acl_settings *set, struct cv_arena *arena, struct acl_list *list_r, struct cv_err *err)
{
	acl_list_init(list_r, arena);
	if (acl_list_parse(list_r, cv_str_c(set->acl_global), true, err) < 0)
		return cv_err_context(err, "acl_global");
	return 0;
}

/* Mistakes are told at the start, not at each login. */
static int check(const struct cv_conf *conf, struct cv_err *err)
{
	struct cv_arena *arena = cv_arena_new("acl check", NULL, 0);
	struct acl_list list = { 0 };
	const void *set;
	int ret = cv_conf_get(conf, &acl_settings_table, NULL, arena, &set, err);

	if (ret >= 0)
		ret = acl_global_parse(set, arena, &list, err);
	acl_list_free(&list);
	cv_arena_free(&arena);
	return ret < 0 ? -1 : 0;
}

/* ---- hooks ------------------------------------------------------------------------------------------------------- */

static enum cv_hook_result on_mailbox_access(void *ctx, struct cv_hook_mailbox_access *args, struct cv_err *err)
{
	struct acl_user *acl;
	struct acl_box *box;

	(void)ctx;
	if (acl_user_get(args->user, &acl, err) < 0)
		return CV_HOOK_ERROR;
	if (args->guid == NULL) {
		args->rights &= acl_rights(NULL, &acl->global, args->name, &acl->who);
		return CV_HOOK_PASS;
	}
	if (acl_box_get(acl, args->guid, &box, err) < 0)
		return CV_HOOK_ERROR;
	if (box->name.ptr == NULL || !cv_str_eq(box->name, args->name)) {
		box->rights = acl_rights(&box->list, &acl->global, args->name, &acl->who);
		box->name = cv_arena_str(acl->cache, args->name);
	}
	args->rights &= box->rights;
	return CV_HOOK_PASS;
}

/* The nearest mailbox above name; 0: there is none. */
static int find_above(struct cv_user *user, struct cv_str name, struct cv_mailbox **mailbox_r, struct cv_err *err)
{
	for (size_t i = name.len; i-- > 1;) {
		struct cv_err get_err = { 0 };

		if (name.ptr[i] != '/')
			continue;
		if (cv_mailbox_get(user, cv_str_sub(name, 0, i), mailbox_r, &get_err) > 0)
			return 1;
		if (get_err.code != CV_ERR_NOTFOUND) {
			*err = get_err;
			return -1;
		}
	}
	return 0;
}

/* RFC 4314 section 4: "When a new mailbox is created, it SHOULD inherit the ACL from the parent mailbox (if one exists)". */
static int inherit(struct cv_user *user, struct cv_str name, struct cv_err *err)
{
	struct cv_mailbox *above, *mailbox;
	struct cv_buf text;
	int ret = find_above(user, name, &above, err);

	if (ret <= 0)
		return ret;
	cv_buf_init(&text, ACL_TEXT_MAX);
	ret = acl_load(above, &text, err);
	cv_mailbox_unref(&above);
	if (ret > 0)
		ret = cv_mailbox_get(user, name, &mailbox, err);
	if (ret > 0) {
		ret = acl_save(mailbox, cv_buf_str(&text), err);
		cv_mailbox_unref(&mailbox);
	}
	cv_buf_deinit(&text);
	return ret;
}

static enum cv_hook_result on_mailbox_op_done(void *ctx, struct cv_hook_mailbox_op_done *args, struct cv_err *err)
{
	(void)ctx;
	acl_user_forget(args->user); /* of mailboxes that are gone nothing stays */
	if (args->op == CV_OP_CREATE && inherit(args->user, args->name, err) < 0) {
		(void)cv_err_context(err, "new mailbox %.*s could not get the access control list of the one above it", CV_STR_ARG(args->name));
		return CV_HOOK_ERROR;
	}
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_user_close(void *ctx, struct cv_hook_user_close *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	acl_user_free(args->user);
	return CV_HOOK_PASS;
}

/* ---- the module -------------------------------------------------------------------------------------------------- */

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	/* Others may still ask when a user is closed. */
	const struct cv_hook_opts last = { .name = "acl", .stage = CV_STAGE_LAST };

	if (acl_provide_admin(reg, err) < 0)
		return -1;
	if (role == CV_ROLE_TOOL)
		return 0;
	acl_user_slot = cv_slot_register(reg);
	if (cv_service_register(reg, CV_ACL_SERVICE, CV_ACL_SERVICE_VERSION, &acl_service_functions, err) < 0 ||
		cv_hook_add_mailbox_access(reg, on_mailbox_access, NULL, err) < 0 ||
		cv_hook_add_mailbox_op_done(reg, on_mailbox_op_done, NULL, err) < 0)
		return -1;
	return cv_hook_add_user_close(reg, on_user_close, &last, err);
}

static const struct cv_settings_table *const tables[] = { &acl_settings_table, NULL };

CV_MODULE(acl) = {
	CV_MODULE_ABI,
	.name = "acl",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER | CV_ROLE_TOOL,
	.settings = tables,
	.check = check,
	.load = load,
};
