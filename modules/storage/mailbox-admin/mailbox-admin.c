/* SPDX-License-Identifier: MIT
   Administrators' commands on a user's mailboxes (culver mailbox …), in the user's worker. */
#include <config.h>

#include "modules/storage/mailbox-admin/fsck.h"
#include <culver/admin.h>
#include <culver/mailbox.h>
#include <culver/map.h>

static const struct {
	enum cv_special_use use;
	const char *name;
} uses[] = {
	{ CV_USE_ALL, "\\All" }, { CV_USE_ARCHIVE, "\\Archive" }, { CV_USE_DRAFTS, "\\Drafts" }, { CV_USE_FLAGGED, "\\Flagged" },
	{ CV_USE_JUNK, "\\Junk" }, { CV_USE_SENT, "\\Sent" }, { CV_USE_TRASH, "\\Trash" }, { CV_USE_IMPORTANT, "\\Important" },
};

static void append_uses(struct cv_buf *out, unsigned bits)
{
	for (size_t i = 0; i < CV_COUNT_OF(uses); i++)
		if ((bits & (unsigned)uses[i].use) != 0)
			cv_buf_printf(out, "%s%s", out->len > 0 ? " " : "", uses[i].name);
}

static struct cv_str user_of(const struct cv_admin *admin)
{
	return cv_str_c(cv_user_name(cv_admin_user(admin)));
}

static void put_mailbox(struct cv_admin *admin, struct cv_str name)
{
	cv_admin_put_str(admin, "user", user_of(admin));
	cv_admin_put_str(admin, "mailbox", name);
}

/* Is the name among the masks? true without any. */
static bool wanted(const struct cv_admin *admin, struct cv_str name)
{
	const char *mask;
	bool any = false;
	for (size_t pos = 0; (mask = cv_admin_param_next(admin, "mailbox", &pos)) != NULL;) {
		any = true;
		if (cv_str_like(name, cv_str_c(mask)) || (cv_str_eq_c(name, "INBOX") && cv_str_caseeq_c(name, mask)))
			return true;
	}
	return !any;
}

/* A mask that met nothing is a mistake worth telling. */
static void complain_of_idle_masks(struct cv_admin *admin)
{
	const char *mask;
	for (size_t pos = 0; (mask = cv_admin_param_next(admin, "mailbox", &pos)) != NULL;) {
		struct cv_mailbox_info info;
		bool met = false;
		for (size_t at = 0; !met && cv_mailbox_next(cv_admin_user(admin), &at, &info);)
			met = (cv_str_like(info.name, cv_str_c(mask)) ||
				(cv_str_eq_c(info.name, "INBOX") && cv_str_caseeq_c(info.name, mask))) &&
				(!info.exists || info.subscribed || cv_mailbox_visible(cv_admin_user(admin), &info));
		if (met)
			continue;
		struct cv_err err = { 0 };
		(void)cv_err_set(&err, CV_ERR_NOTFOUND, "%s has no mailbox %s", cv_user_name(cv_admin_user(admin)), mask);
		cv_admin_complain(admin, &err);
	}
}

static int run_list(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_mailbox_info info;
	struct cv_buf use;
	bool subscribed = cv_admin_flag(admin, "subscribed");
	(void)err;

	cv_buf_init(&use, 256);
	for (size_t pos = 0; cv_mailbox_next(cv_admin_user(admin), &pos, &info);) {
		info.exists = cv_mailbox_visible(cv_admin_user(admin), &info);
		info.special_use = info.exists ? info.special_use : 0;
		if (!(subscribed ? info.subscribed : info.exists) || !wanted(admin, info.name))
			continue;
		cv_buf_clear(&use);
		append_uses(&use, info.special_use);
		cv_admin_row_begin(admin);
		put_mailbox(admin, info.name);
		cv_admin_put_bool(admin, "subscribed", info.subscribed);
		cv_admin_put_bool(admin, "exists", info.exists);
		cv_admin_put_str(admin, "special_use", cv_buf_str(&use));
		cv_admin_row_end(admin);
	}
	cv_buf_deinit(&use);
	complain_of_idle_masks(admin);
	return 1;
}

static int put_status(struct cv_admin *admin, struct cv_str name, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_mailbox_status status;

	if (cv_mailbox_open(cv_admin_user(admin), name, CV_RIGHT_READ, &mailbox, err) < 0)
		return -1;
	int ret = cv_mailbox_refresh(mailbox, err);
	if (ret >= 0)
		ret = cv_mailbox_get_status(mailbox, &status, err);
	cv_mailbox_unref(&mailbox);
	if (ret < 0)
		return -1;
	cv_admin_row_begin(admin);
	put_mailbox(admin, name);
	cv_admin_put_u64(admin, "messages", status.messages);
	cv_admin_put_u64(admin, "unseen", status.unseen);
	cv_admin_put_u64(admin, "size", status.size);
	cv_admin_put_u64(admin, "uidnext", status.uidnext);
	cv_admin_put_u64(admin, "uidvalidity", status.uidvalidity);
	cv_admin_put_u64(admin, "highest_modseq", status.highest_modseq);
	cv_admin_row_end(admin);
	return 0;
}

static int run_status(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_mailbox_info info;
	CV_VEC(struct cv_str) names = { 0 };
	(void)err;

	/* Opening a mailbox may change the list. */
	for (size_t pos = 0; cv_mailbox_next(cv_admin_user(admin), &pos, &info);)
		if (wanted(admin, info.name) && cv_mailbox_visible(cv_admin_user(admin), &info))
			*cv_vec_push(&names) = cv_arena_str(cv_admin_arena(admin), info.name);
	for (size_t i = 0; i < names.count; i++) {
		struct cv_err one = { 0 };
		if (put_status(admin, names.data[i], &one) < 0) {
			(void)cv_err_context(&one, "%.*s", CV_STR_ARG(names.data[i]));
			cv_admin_complain(admin, &one);
		}
	}
	cv_vec_free(&names);
	complain_of_idle_masks(admin);
	return 1;
}

/* Each mailbox by itself: what fails is told, and the rest is done. */
static int for_each(struct cv_admin *admin, int (*fn)(struct cv_admin *admin, struct cv_str name, struct cv_err *err))
{
	const char *name;
	for (size_t pos = 0; (name = cv_admin_param_next(admin, "mailbox", &pos)) != NULL;) {
		struct cv_err err = { 0 };
		if (fn(admin, cv_str_c(name), &err) < 0) {
			(void)cv_err_context(&err, "%s", name);
			cv_admin_complain(admin, &err);
			continue;
		}
		cv_admin_row_begin(admin);
		put_mailbox(admin, cv_str_c(name));
		cv_admin_row_end(admin);
	}
	return 1;
}

static int create_one(struct cv_admin *admin, struct cv_str name, struct cv_err *err)
{
	if (cv_mailbox_create(cv_admin_user(admin), name, 0, err) < 0)
		return -1;
	return cv_admin_flag(admin, "subscribe") ? cv_mailbox_subscribe(cv_admin_user(admin), name, true, err) : 0;
}

static int run_create(struct cv_admin *admin, struct cv_err *err)
{
	(void)err;
	return for_each(admin, create_one);
}

static int delete_one(struct cv_admin *admin, struct cv_str name, struct cv_err *err)
{
	return cv_mailbox_delete(cv_admin_user(admin), name, err);
}

static int run_delete(struct cv_admin *admin, struct cv_err *err)
{
	(void)err;
	return for_each(admin, delete_one);
}

static int run_rename(struct cv_admin *admin, struct cv_err *err)
{
	const char *from = cv_admin_param(admin, "mailbox"), *to = cv_admin_param(admin, "new");
	if (cv_mailbox_rename(cv_admin_user(admin), cv_str_c(from), cv_str_c(to), err) < 0)
		return -1;
	cv_admin_row_begin(admin);
	put_mailbox(admin, cv_str_c(to));
	cv_admin_row_end(admin);
	return 1;
}

/* ---- annotations ------------------------------------------------------------------------------------------------- */

#define SPECIAL_USE "/private/specialuse"

/* The mailbox that is meant: 1, with NULL for the server; -1. key may be NULL. */
static int metadata_args(struct cv_admin *admin, struct cv_mailbox **mailbox_r, struct cv_str *key_r, struct cv_err *err)
{
	const char *name = cv_admin_param(admin, "mailbox");

	*mailbox_r = NULL;
	*key_r = cv_str_c(cv_admin_param(admin, "key"));
	if (key_r->ptr != NULL && (cv_annotation_name_ok(*key_r, err) < 0))
		return -1;
	if (name == NULL || *name == '\0')
		return 1;
	if (cv_mailbox_get(cv_admin_user(admin), cv_str_c(name), mailbox_r, err) < 0)
		return -1;
	if (cv_annotations_may(*mailbox_r, err) > 0)
		return 1;
	cv_mailbox_unref(mailbox_r);
	return -1;
}

static int check_public(struct cv_str key, struct cv_err *err)
{
	return cv_annotation_is_public(key) ? 1 : cv_err_set_public(err, CV_ERR_INVALID, "%.*s: entries begin with /private/ or /shared/", CV_STR_ARG(key));
}

static void put_annotation(struct cv_admin *admin, const struct cv_mailbox *mailbox, struct cv_str key, struct cv_str value)
{
	cv_admin_row_begin(admin);
	put_mailbox(admin, mailbox != NULL ? cv_mailbox_name(mailbox) : CV_STR(""));
	cv_admin_put_str(admin, "key", key);
	if (value.ptr != NULL)
		cv_admin_put_str(admin, "value", value);
	cv_admin_row_end(admin);
}

static int parse_uses(struct cv_str words, unsigned *bits_r, struct cv_err *err)
{
	struct cv_str word;

	*bits_r = 0;
	while (words.len > 0) {
		size_t i;

		(void)cv_str_split(words, ' ', &word, &words);
		for (i = 0; i < CV_COUNT_OF(uses) && !cv_str_caseeq_c(word, uses[i].name); i++)
			;
		if (i == CV_COUNT_OF(uses))
			return cv_err_set_public(err, CV_ERR_INVALID, "%.*s is no special use", CV_STR_ARG(word));
		*bits_r |= (unsigned)uses[i].use;
	}
	return 1;
}

/* Its value, which may be in scratch: 1, or 0 when it is not set. */
static int value_of(struct cv_admin *admin, const struct cv_mailbox *mailbox, struct cv_str key, struct cv_buf *scratch, struct cv_annotation *annotation_r)
{
	struct cv_mailbox_info info;

	if (mailbox == NULL || !cv_str_caseeq_c(key, SPECIAL_USE))
		return cv_annotation_get(cv_admin_user(admin), mailbox, key, annotation_r);
	if (cv_mailbox_lookup(cv_admin_user(admin), cv_mailbox_name(mailbox), &info) <= 0 || info.special_use == 0)
		return 0;
	append_uses(scratch, info.special_use);
	*annotation_r = (struct cv_annotation){ CV_STR(SPECIAL_USE), cv_buf_str(scratch) };
	return 1;
}

static int run_metadata_get(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_annotation annotation;
	struct cv_buf scratch;
	struct cv_str key;
	int ret;

	if (metadata_args(admin, &mailbox, &key, err) < 0)
		return -1;
	cv_buf_init(&scratch, 1024);
	ret = check_public(key, err);
	if (ret > 0 && value_of(admin, mailbox, key, &scratch, &annotation) > 0)
		put_annotation(admin, mailbox, annotation.name, annotation.value);
	else if (ret > 0)
		ret = cv_err_set_public(err, CV_ERR_NOTFOUND, "%.*s is not set", CV_STR_ARG(key));
	cv_buf_deinit(&scratch);
	cv_mailbox_unref(&mailbox);
	return ret;
}

static bool is_below(struct cv_str name, struct cv_str key)
{
	return cv_str_casestarts(name, key) && (name.len == key.len || name.ptr[key.len] == '/');
}

static int run_metadata_list(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_annotation annotation;
	struct cv_buf scratch;
	struct cv_str key;

	if (metadata_args(admin, &mailbox, &key, err) < 0)
		return -1;
	cv_buf_init(&scratch, 1024);
	if (mailbox != NULL && (key.ptr == NULL || is_below(CV_STR(SPECIAL_USE), key)) &&
		value_of(admin, mailbox, CV_STR(SPECIAL_USE), &scratch, &annotation) > 0)
		put_annotation(admin, mailbox, annotation.name, annotation.value);
	for (size_t pos = 0; cv_annotation_next(cv_admin_user(admin), mailbox, &pos, &annotation);) {
		if (cv_annotation_is_public(annotation.name) && (key.ptr == NULL || is_below(annotation.name, key)))
			put_annotation(admin, mailbox, annotation.name, annotation.value);
	}
	cv_buf_deinit(&scratch);
	cv_mailbox_unref(&mailbox);
	return 1;
}

/* value absent: remove it. */
static int change_metadata(struct cv_admin *admin, struct cv_mailbox *mailbox, struct cv_str key, struct cv_str value, struct cv_err *err)
{
	struct cv_txn *txn = cv_txn_begin(cv_admin_user(admin));
	unsigned bits;
	int ret = check_public(key, err);

	if (ret > 0 && mailbox != NULL && cv_str_caseeq_c(key, SPECIAL_USE)) {
		ret = parse_uses(value, &bits, err);
		if (ret > 0)
			ret = cv_txn_special_use(txn, mailbox, bits, err);
	} else if (ret > 0) {
		ret = cv_txn_annotate(txn, mailbox, key, value, err);
	}
	if (ret > 0)
		return cv_txn_commit_wait(&txn, err) < 0 ? -1 : 1;
	cv_txn_rollback(&txn);
	return -1;
}

static int run_metadata_set(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_str key, value = cv_str_c(cv_admin_param(admin, "value"));
	struct cv_mailbox *mailbox;
	int ret;

	if (metadata_args(admin, &mailbox, &key, err) < 0)
		return -1;
	ret = change_metadata(admin, mailbox, key, value, err);
	if (ret > 0)
		put_annotation(admin, mailbox, key, value);
	cv_mailbox_unref(&mailbox);
	return ret;
}

static int run_metadata_unset(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_annotation annotation;
	struct cv_buf scratch;
	struct cv_str key;
	int ret;

	if (metadata_args(admin, &mailbox, &key, err) < 0)
		return -1;
	cv_buf_init(&scratch, 1024);
	if (value_of(admin, mailbox, key, &scratch, &annotation) > 0)
		ret = change_metadata(admin, mailbox, key, cv_str_c(NULL), err);
	else
		ret = cv_err_set_public(err, CV_ERR_NOTFOUND, "%.*s is not set", CV_STR_ARG(key));
	if (ret > 0)
		put_annotation(admin, mailbox, key, cv_str_c(NULL));
	cv_buf_deinit(&scratch);
	cv_mailbox_unref(&mailbox);
	return ret;
}

static int provide(struct cv_registry *reg, const char *name, int (*run)(struct cv_admin *admin, struct cv_err *err), struct cv_err *err)
{
	struct cv_admin_command *command = cv_registry_alloc(reg, sizeof(*command));
	command->spec = cv_admin_core_spec(name);
	command->run = run;
	return cv_provide_admin(reg, command, err);
}

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	if (provide(reg, "mailbox list", run_list, err) < 0 || provide(reg, "mailbox status", run_status, err) < 0 ||
		provide(reg, "mailbox create", run_create, err) < 0 || provide(reg, "mailbox delete", run_delete, err) < 0)
		return -1;
	if (provide(reg, "mailbox metadata get", run_metadata_get, err) < 0 || provide(reg, "mailbox metadata list", run_metadata_list, err) < 0 ||
		provide(reg, "mailbox metadata set", run_metadata_set, err) < 0 || provide(reg, "mailbox metadata unset", run_metadata_unset, err) < 0)
		return -1;
	return provide(reg, "mailbox rename", run_rename, err) < 0 ? -1 : provide(reg, "fsck", fsck_run, err);
}

CV_MODULE(mailbox_admin) = {
	CV_MODULE_ABI,
	.name = "mailbox-admin",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_STORAGE,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
