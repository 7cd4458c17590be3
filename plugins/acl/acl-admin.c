/* SPDX-License-Identifier: MIT
   Administrators' commands: culver acl get, set, delete, rights. */
#include <config.h>

#include "acl.h"

#include "modules/lib/imap/imap-rights.h"

static const struct cv_admin_column list_columns[] = {
	{ "user", "User", CV_ADMIN_COL_TEXT },
	{ "mailbox", "Mailbox", CV_ADMIN_COL_TEXT },
	{ "identifier", "Identifier", CV_ADMIN_COL_TEXT },
	{ "rights", "Rights", CV_ADMIN_COL_TEXT },
	{ .key = NULL },
};
static const struct cv_admin_column rights_columns[] = {
	{ "user", "User", CV_ADMIN_COL_TEXT },
	{ "mailbox", "Mailbox", CV_ADMIN_COL_TEXT },
	{ "rights", "Rights", CV_ADMIN_COL_TEXT },
	{ .key = NULL },
};

static const struct cv_admin_param mailbox_params[] = {
	{ "mailbox", 0, true, CV_ADMIN_TEXT, CV_ADMIN_REQUIRED | CV_ADMIN_REPEAT, "MAILBOX", "one mailbox or several" },
	{ .name = NULL },
};
static const struct cv_admin_param set_params[] = {
	{ "add", 0, false, CV_ADMIN_FLAG, 0, NULL, "give these rights besides those that are there" },
	{ "remove", 0, false, CV_ADMIN_FLAG, 0, NULL, "take these rights from those that are there" },
	{ "mailbox", 0, true, CV_ADMIN_TEXT, CV_ADMIN_REQUIRED, "MAILBOX", "the mailbox" },
	{ "identifier", 0, true, CV_ADMIN_TEXT, CV_ADMIN_REQUIRED, "IDENTIFIER", "owner, user=NAME, group=NAME, group-override=NAME, authenticated, anyone" },
	{ "rights", 0, true, CV_ADMIN_TEXT, CV_ADMIN_REQUIRED, "RIGHTS", "letters (lrs), or names (:lookup:read:write-seen)" },
	{ .name = NULL },
};
static const struct cv_admin_param delete_params[] = {
	{ "mailbox", 0, true, CV_ADMIN_TEXT, CV_ADMIN_REQUIRED, "MAILBOX", "the mailbox" },
	{ "identifier", 0, true, CV_ADMIN_TEXT, CV_ADMIN_REQUIRED, "IDENTIFIER", "whose entry it is" },
	{ .name = NULL },
};

static const struct cv_admin_spec get_spec = {
	.name = "acl get",
	.role = CV_ROLE_WORKER,
	.params = mailbox_params,
	.columns = list_columns,
	.summary = "show the access control lists of mailboxes",
	.help = "What the administrator's acl_global says is not among them: culver acl rights shows what comes of both. Needs plugin acl.",
};
static const struct cv_admin_spec set_spec = {
	.name = "acl set",
	.role = CV_ROLE_WORKER,
	.params = set_params,
	.columns = list_columns,
	.summary = "give rights on a mailbox",
	.help = "Without --add and --remove the rights replace those that the identifier has. An identifier with a dash before it, behind \"--\", is for rights "
		"that are taken away. The owner keeps the right to administer (a). Needs plugin acl.",
};
static const struct cv_admin_spec delete_spec = {
	.name = "acl delete",
	.role = CV_ROLE_WORKER,
	.params = delete_params,
	.columns = list_columns,
	.summary = "remove an entry of an access control list",
	.help = "Needs plugin acl.",
};
static const struct cv_admin_spec rights_spec = {
	.name = "acl rights",
	.role = CV_ROLE_WORKER,
	.params = mailbox_params,
	.columns = rights_columns,
	.summary = "show the rights that users have on their mailboxes",
	.help = "Of all plugins that take rights away. Needs plugin acl.",
};

static struct cv_str text_of(struct cv_admin *admin, const struct cv_buf *text)
{
	return cv_arena_str(cv_admin_arena(admin), cv_buf_str(text));
}

static struct cv_str letters(struct cv_admin *admin, unsigned rights)
{
	struct cv_buf out;
	struct cv_str text;
	unsigned right = 0;
	char letter;

	cv_buf_init(&out, 64);
	for (unsigned n = 0; (letter = cv_imap_right_letter(n, &right)) != 0; n++)
		if ((rights & right) != 0)
			cv_buf_append_char(&out, letter);
	text = text_of(admin, &out);
	cv_buf_deinit(&out);
	return text;
}

static void begin_row(struct cv_admin *admin, struct cv_str mailbox)
{
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", cv_str_c(cv_user_name(cv_admin_user(admin))));
	cv_admin_put_str(admin, "mailbox", mailbox);
}

static void put_entry(struct cv_admin *admin, struct cv_str mailbox, const struct acl_entry *entry)
{
	struct cv_buf word;

	cv_buf_init(&word, ACL_TEXT_MAX);
	acl_word_append(&word, entry);
	begin_row(admin, mailbox);
	cv_admin_put_str(admin, "identifier", text_of(admin, &word));
	cv_admin_put_str(admin, "rights", letters(admin, entry->rights));
	cv_admin_row_end(admin);
	cv_buf_deinit(&word);
}

/* The list of a mailbox; only: one entry of it. */
static int put_list(struct cv_admin *admin, struct cv_str name, const struct acl_entry *only, struct cv_err *err)
{
	struct acl_user *acl;
	struct acl_box *box;
	struct cv_mailbox *mailbox;
	int ret;

	if (acl_user_get(cv_admin_user(admin), &acl, err) < 0 || cv_mailbox_get(cv_admin_user(admin), name, &mailbox, err) < 0)
		return -1;
	ret = acl_box_get(acl, cv_mailbox_guid(mailbox), &box, err);
	cv_mailbox_unref(&mailbox);
	if (ret < 0)
		return -1;
	for (size_t i = 0; i < box->list.entries.count; i++)
		if (only == NULL || &box->list.entries.data[i] == acl_list_find(&box->list, only))
			put_entry(admin, name, &box->list.entries.data[i]);
	return 1;
}

static int put_rights(struct cv_admin *admin, struct cv_str name, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	unsigned rights;

	if (cv_mailbox_get(cv_admin_user(admin), name, &mailbox, err) < 0)
		return -1;
	cv_mailbox_unref(&mailbox);
	if (cv_mailbox_rights(cv_admin_user(admin), name, &rights, err) < 0)
		return -1;
	begin_row(admin, name);
	cv_admin_put_str(admin, "rights", letters(admin, rights));
	cv_admin_row_end(admin);
	return 1;
}

/* Each mailbox by itself: what fails is told, and the rest is done. */
static int for_each(struct cv_admin *admin, bool rights)
{
	const char *name;

	for (size_t pos = 0; (name = cv_admin_param_next(admin, "mailbox", &pos)) != NULL;) {
		struct cv_err err = { 0 };

		if ((rights ? put_rights(admin, cv_str_c(name), &err) : put_list(admin, cv_str_c(name), NULL, &err)) < 0) {
			(void)cv_err_context(&err, "%s", name);
			cv_admin_complain(admin, &err);
		}
	}
	return 1;
}

static int run_get(struct cv_admin *admin, struct cv_err *err)
{
	(void)err;
	return for_each(admin, false);
}

static int run_rights(struct cv_admin *admin, struct cv_err *err)
{
	(void)err;
	return for_each(admin, true);
}

static int run_set(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_str mailbox = cv_str_c(cv_admin_param(admin, "mailbox"));
	bool add = cv_admin_flag(admin, "add"), take = cv_admin_flag(admin, "remove");
	struct acl_entry entry;
	unsigned rights;

	if (add && take)
		return cv_err_set(err, CV_ERR_INVALID, "either --add or --remove");
	if (acl_word_parse(cv_str_c(cv_admin_param(admin, "identifier")), &entry, err) < 0 ||
		acl_rights_parse(cv_str_c(cv_admin_param(admin, "rights")), &rights, err) < 0)
		return -1;
	if (acl_change(cv_admin_user(admin), mailbox, &entry, add ? CV_ACL_ADD : take ? CV_ACL_REMOVE : CV_ACL_REPLACE, rights, true, err) < 0)
		return -1;
	return put_list(admin, mailbox, &entry, err);
}

static int run_delete(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_str mailbox = cv_str_c(cv_admin_param(admin, "mailbox"));
	const char *identifier = cv_admin_param(admin, "identifier");
	struct acl_entry entry;
	int ret;

	if (acl_word_parse(cv_str_c(identifier), &entry, err) < 0)
		return -1;
	ret = acl_delete(cv_admin_user(admin), mailbox, &entry, true, err);
	return ret == 0 ? cv_err_set(err, CV_ERR_NOTFOUND, "mailbox %.*s has no entry for %s", CV_STR_ARG(mailbox), identifier) : ret;
}

int acl_provide_admin(struct cv_registry *reg, struct cv_err *err)
{
	static const struct cv_admin_command commands[] = {
		{ .spec = &delete_spec, .run = run_delete },
		{ .spec = &get_spec, .run = run_get },
		{ .spec = &rights_spec, .run = run_rights },
		{ .spec = &set_spec, .run = run_set },
	};

	for (size_t i = 0; i < CV_COUNT_OF(commands); i++)
		if (cv_provide_admin(reg, &commands[i], err) < 0)
			return -1;
	return 0;
}
