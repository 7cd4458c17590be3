/* SPDX-License-Identifier: MIT
   Plugin quota: culver quota get, culver quota recalc. */
#include <config.h>

#include "plugins/quota/state.h"

#include <culver/loop.h>
#include <culver/map.h>

#define KILO UINT64_C(1024)

/* ---- quota get ----------------------------------------------------------------------------------------- */

static const struct cv_admin_param no_params[] = { { .name = NULL } };
static const struct cv_admin_column get_columns[] = {
	{ "user", "User", CV_ADMIN_COL_TEXT },
	{ "root", "Quota", CV_ADMIN_COL_TEXT },
	{ "resource", "Resource", CV_ADMIN_COL_TEXT },
	{ "usage", "Usage", CV_ADMIN_COL_NUMBER },
	{ "limit", "Limit", CV_ADMIN_COL_NUMBER },
	{ "percent", "%", CV_ADMIN_COL_NUMBER },
	{ .key = NULL },
};
static const struct cv_admin_spec get_spec = {
	.name = "quota get",
	.role = CV_ROLE_WORKER,
	.params = no_params,
	.columns = get_columns,
	.summary = "show what users have and may have",
	.help = "STORAGE and ANNOTATION-STORAGE are in KiB. What has no limit has none shown. Needs plugin quota.",
};

static int no_quota(const struct cv_admin *admin, struct cv_err *err)
{
	(void)admin;
	return cv_err_set(err, CV_ERR_UNSUPPORTED, "plugin quota has no settings");
}

static void put_resource(struct cv_admin *admin, const struct quota_user *quota, const char *resource, uint64_t usage, uint64_t limit)
{
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", cv_str_c(cv_user_name(cv_admin_user(admin))));
	cv_admin_put_str(admin, "root", quota->root.name);
	cv_admin_put_str(admin, "resource", cv_str_c(resource));
	cv_admin_put_u64(admin, "usage", usage);
	if (limit != 0) {
		cv_admin_put_u64(admin, "limit", limit);
		cv_admin_put_u64(admin, "percent", usage > UINT64_MAX / 100 ? usage / limit * 100 : usage * 100 / limit);
	}
	cv_admin_row_end(admin);
}

static uint64_t kilo(uint64_t octets)
{
	return octets / KILO + (octets % KILO != 0);
}

static int run_get(struct cv_admin *admin, struct cv_err *err)
{
	struct cv_user *user = cv_admin_user(admin);
	const struct quota_user *quota = quota_of(user);
	static const struct cv_quota_most none = { 0 };
	const struct cv_quota_most *most;
	struct cv_usage usage;

	if (quota == NULL)
		return no_quota(admin, err);
	most = quota->rules.ignore ? &none : &quota->rules.most;
	if (cv_user_count_notes(user, err) < 0)
		return -1;
	quota_usage(user, quota, &usage);
	put_resource(admin, quota, "STORAGE", kilo(usage.size), kilo(most->storage));
	put_resource(admin, quota, "MESSAGE", usage.messages, most->messages);
	put_resource(admin, quota, "MAILBOX", usage.mailboxes, most->mailboxes);
	put_resource(admin, quota, "ANNOTATION-STORAGE", kilo(usage.notes), kilo(most->annotations));
	return 1;
}

const struct cv_admin_command quota_admin_get = { .spec = &get_spec, .run = run_get };

/* ---- quota recalc -------------------------------------------------------------------------------------- */

static const struct cv_admin_column recalc_columns[] = {
	{ "user", "User", CV_ADMIN_COL_TEXT },
	{ "mailbox", "Mailbox", CV_ADMIN_COL_TEXT },
	{ "messages", "Messages", CV_ADMIN_COL_NUMBER },
	{ "size", "Size", CV_ADMIN_COL_SIZE },
	{ "annotations", "Annotations", CV_ADMIN_COL_SIZE },
	{ .key = NULL },
};
static const struct cv_admin_spec recalc_spec = {
	.name = "quota recalc",
	.role = CV_ROLE_WORKER,
	.params = no_params,
	.columns = recalc_columns,
	.summary = "count users' messages and their annotations one by one",
	.help = "Compares each mailbox with its storage and counts its messages, and shows those for which other numbers were known. Sums cannot drift by themselves: "
		"this is for mailboxes that other programs write to and that were not opened since, and after damage. Needs plugin quota.",
};

struct recalc {
	struct cv_admin *admin;
	struct cv_timer *timer;
	CV_VEC(struct cv_str) names;
	size_t next;
};

static void free_recalc(void *ctx)
{
	struct recalc *recalc = ctx;

	cv_timer_remove(&recalc->timer);
	cv_vec_free(&recalc->names);
}

static int recalc_one(struct cv_admin *admin, struct cv_str name, struct cv_err *err)
{
	struct cv_mailbox *mailbox;
	struct cv_usage before, after;
	int ret;

	if (cv_mailbox_get(cv_admin_user(admin), name, &mailbox, err) < 0)
		return -1;
	/* What is not known since a crash is not wrong. */
	ret = cv_user_count_notes(cv_admin_user(admin), err);
	cv_mailbox_usage(mailbox, &before);
	if (ret > 0)
		ret = cv_mailbox_refresh(mailbox, err) < 0 ? -1 : cv_mailbox_verify(mailbox, err);
	cv_mailbox_usage(mailbox, &after);
	cv_mailbox_unref(&mailbox);
	if (ret < 0)
		return -1;
	if (before.messages == after.messages && before.size == after.size && before.notes == after.notes)
		return 0;
	cv_admin_row_begin(admin);
	cv_admin_put_str(admin, "user", cv_str_c(cv_user_name(cv_admin_user(admin))));
	cv_admin_put_str(admin, "mailbox", name);
	cv_admin_put_u64(admin, "messages", after.messages);
	cv_admin_put_u64(admin, "size", after.size);
	cv_admin_put_u64(admin, "annotations", after.notes);
	cv_admin_row_end(admin);
	return 0;
}

/* One mailbox a loop round: sessions and deliveries go on between them. */
static void on_recalc(void *ctx)
{
	struct recalc *recalc = ctx;
	struct cv_admin *admin = recalc->admin;
	struct cv_err err = { 0 };

	if (recalc->next < recalc->names.count) {
		struct cv_str name = recalc->names.data[recalc->next++];

		/* It may be gone in the meantime. */
		if (recalc_one(admin, name, &err) < 0 && err.code != CV_ERR_NOTFOUND) {
			(void)cv_err_context(&err, "%.*s", CV_STR_ARG(name));
			cv_admin_complain(admin, &err);
		}
		cv_timer_set(recalc->timer, 0);
		return;
	}
	cv_admin_done(admin, NULL);
}

static void on_gone(void *ctx)
{
	struct recalc *recalc = ctx;

	/* Nobody reads on. */
	recalc->next = recalc->names.count;
}

static int run_recalc(struct cv_admin *admin, struct cv_err *err)
{
	struct recalc *recalc = cv_new(cv_admin_arena(admin), struct recalc, 1);
	struct cv_mailbox_info info;

	if (quota_of(cv_admin_user(admin)) == NULL)
		return no_quota(admin, err);
	recalc->admin = admin;
	for (size_t pos = 0; cv_mailbox_next(cv_admin_user(admin), &pos, &info);) {
		if (info.exists)
			*cv_vec_push(&recalc->names) = cv_arena_str(cv_admin_arena(admin), info.name);
	}
	recalc->timer = cv_timer_add(cv_admin_loop(admin), 0, on_recalc, recalc);
	cv_arena_cleanup(cv_admin_arena(admin), free_recalc, recalc);
	cv_admin_on_gone(admin, on_gone, recalc);
	return 0;
}

const struct cv_admin_command quota_admin_recalc = { .spec = &recalc_spec, .run = run_recalc };
