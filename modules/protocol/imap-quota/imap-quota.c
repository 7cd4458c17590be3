/* SPDX-License-Identifier: MIT
   GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208) over whatever modules know of quotas (culver/quota.h). Without one nothing is announced. */
#include <config.h>

#include <culver/hooks.h>
#include <culver/imap.h>
#include <culver/mailbox.h>
#include <culver/protocol.h>
#include <culver/quota.h>
#include <culver/str.h>

#include <string.h>

/* Octets of "QUOTA QUOTA=RES-…": a few resources of a few providers. */
#define WORDS_MAX 512u

static const struct cv_quota *next_provider(const struct cv_imap_cmd *cmd, size_t *pos)
{
	return cv_provider_next(cv_session_registry(cmd->session), CV_CAP_QUOTA, pos, NULL);
}

/* quota-response = "QUOTA" SP quota-root-name SP quota-list */
static void put_quota(const struct cv_imap_cmd *cmd, struct cv_buf *out, struct cv_str root, const struct cv_quota_resource *list, size_t count)
{
	cv_buf_append_c(out, "* QUOTA ");
	cmd->api->append_astring(out, root);
	cv_buf_append_c(out, " (");
	for (size_t i = 0; i < count; i++)
		/* RFC 9208 section 3.1.1: 63-bit numbers. */
		cv_buf_printf(out, "%s%s %llu %llu", i > 0 ? " " : "", list[i].name,
			(unsigned long long)CV_MIN(list[i].usage, (uint64_t)INT64_MAX),
			(unsigned long long)CV_MIN(list[i].limit, (uint64_t)INT64_MAX));
	cv_buf_append_c(out, ")\r\n");
}

/* 1 with the line appended, 0 when no provider has this root, -1. */
static int tell_root(struct cv_imap_cmd *cmd, struct cv_str root, struct cv_buf *out, struct cv_err *err)
{
	struct cv_quota_resource list[CV_QUOTA_RESOURCES_MAX];
	const struct cv_quota *quota;
	size_t count;
	int ret = 0;

	for (size_t pos = 0; ret == 0 && (quota = next_provider(cmd, &pos)) != NULL;) {
		count = 0;
		ret = quota->get(cmd->user, root, list, &count, err);
		if (ret > 0)
			put_quota(cmd, out, root, list, count);
	}
	return ret;
}

static enum cv_imap_result no_such_root(struct cv_imap_cmd *cmd)
{
	return cmd->api->no(cmd, "NONEXISTENT", "No such quota root");
}

/* getquota = "GETQUOTA" SP quota-root-name */
static enum cv_imap_result run_getquota(struct cv_imap_cmd *cmd)
{
	struct cv_err err = { 0 };
	struct cv_str root;
	int ret;

	if (!cv_imap_arg_astring(cmd->args, &root) || cmd->args->next != NULL)
		return cmd->api->bad(cmd, "GETQUOTA needs a quota root");
	ret = tell_root(cmd, root, cmd->api->out(cmd), &err);
	if (ret < 0)
		return cmd->api->fail(cmd, &err);
	return ret == 0 ? no_such_root(cmd) : cmd->api->ok(cmd, NULL, "Getquota completed");
}

/* RFC 9208 section 6: the right "r", where who acts may know of the mailbox at all; what he may not know of is as one that does not exist. */
static int may_read(struct cv_user *user, struct cv_str name, struct cv_err *err)
{
	struct cv_mailbox_info info;
	unsigned rights;

	if (cv_mailbox_lookup(user, name, &info) == 0 || !info.exists || !cv_mailbox_visible(user, &info))
		return 0;
	if (cv_mailbox_rights(user, name, &rights, err) < 0)
		return -1;
	return (rights & CV_RIGHT_READ) != 0 ? 0 : cv_err_set_public(err, CV_ERR_PERM, "Permission denied");
}

/* getquotaroot = "GETQUOTAROOT" SP mailbox; it need not exist. */
static enum cv_imap_result run_getquotaroot(struct cv_imap_cmd *cmd)
{
	const struct cv_quota *quota;
	struct cv_err err = { 0 };
	struct cv_str wire, name, root;
	struct cv_buf roots, lines;
	int ret = 1;

	if (!cv_imap_arg_astring(cmd->args, &wire) || cmd->args->next != NULL)
		return cmd->api->bad(cmd, "GETQUOTAROOT needs a mailbox");
	if (cmd->api->mailbox_name(cmd, wire, &name, &err) < 0 || may_read(cmd->user, name, &err) < 0)
		return cmd->api->fail(cmd, &err);
	cv_buf_init(&roots, (size_t)64 * 1024);
	cv_buf_init(&lines, (size_t)64 * 1024);
	cv_buf_append_c(&roots, "* QUOTAROOT ");
	cmd->api->append_mailbox(cmd, &roots, name);
	for (size_t pos = 0; ret > 0 && (quota = next_provider(cmd, &pos)) != NULL;) {
		for (size_t at = 0; ret > 0 && quota->root_next(cmd->user, name, &at, &root);) {
			cv_buf_append_char(&roots, ' ');
			cmd->api->append_astring(&roots, root);
			ret = tell_root(cmd, root, &lines, &err);
		}
	}
	if (ret > 0) {
		cv_buf_append_c(&roots, "\r\n");
		cv_buf_append(cmd->api->out(cmd), cv_buf_str(&roots));
		cv_buf_append(cmd->api->out(cmd), cv_buf_str(&lines));
	} else if (ret == 0) {
		cv_err_set(&err, CV_ERR_INTERNAL, "a quota root is named that nobody knows");
	}
	cv_buf_deinit(&roots);
	cv_buf_deinit(&lines);
	return ret > 0 ? cmd->api->ok(cmd, NULL, "Getquotaroot completed") : cmd->api->fail(cmd, &err);
}

/* setquota-list = "(" [setquota-resource *(SP setquota-resource)] ")"; setquota-resource = resource-name SP resource-limit */
static bool take_wishes(const struct cv_imap_arg *arg, struct cv_quota_wish wishes[CV_QUOTA_RESOURCES_MAX], size_t *count_r)
{
	const struct cv_imap_arg *item;
	struct cv_str limit;

	*count_r = 0;
	if (!cv_imap_arg_list(arg, &item))
		return false;
	for (; item != NULL; item = item->next->next) {
		struct cv_quota_wish *wish = &wishes[*count_r];

		if (*count_r == CV_QUOTA_RESOURCES_MAX || !cv_imap_arg_atom(item, &wish->name) || !cv_imap_arg_atom(item->next, &limit) ||
			!cv_str_to_u64(limit, INT64_MAX, &wish->limit))
			return false;
		(*count_r)++;
	}
	return true;
}

/* 1 they are the limits now, 0 when no provider has this root, -1. */
static int set_limits(struct cv_imap_cmd *cmd, struct cv_str root, const struct cv_quota_wish *wishes, size_t count, struct cv_err *err)
{
	struct cv_quota_resource list[CV_QUOTA_RESOURCES_MAX];
	const struct cv_quota *quota;
	size_t ignored;
	int ret = 0;

	for (size_t pos = 0; ret == 0 && (quota = next_provider(cmd, &pos)) != NULL;) {
		if (quota->set != NULL)
			ret = quota->set(cmd->user, root, wishes, count, err);
		else if ((ret = quota->get(cmd->user, root, list, &ignored, err)) > 0)
			ret = cv_err_set_public(err, CV_ERR_PERM, "Limits are set by the administrator");
	}
	return ret;
}

/* setquota = "SETQUOTA" SP quota-root-name SP setquota-list. Known where QUOTASET is not announced too, because RFC 2087 had it in QUOTA itself. */
static enum cv_imap_result run_setquota(struct cv_imap_cmd *cmd)
{
	struct cv_quota_wish wishes[CV_QUOTA_RESOURCES_MAX];
	struct cv_err err = { 0 };
	struct cv_str root;
	size_t count;
	int ret;

	if (!cv_imap_arg_astring(cmd->args, &root) || !take_wishes(cmd->args->next, wishes, &count) || cmd->args->next->next != NULL)
		return cmd->api->bad(cmd, "SETQUOTA needs a quota root and a list of limits");
	ret = set_limits(cmd, root, wishes, count, &err);
	if (ret > 0)
		ret = tell_root(cmd, root, cmd->api->out(cmd), &err);
	if (ret < 0)
		return cmd->api->fail(cmd, &err);
	return ret == 0 ? no_such_root(cmd) : cmd->api->ok(cmd, NULL, "Setquota completed");
}

/* What load() makes: the words to announce are known when a user is open. */
struct commands {
	struct cv_imap_command getquota, getquotaroot, setquota;
	char words[WORDS_MAX];
};

static enum cv_hook_result on_user_open(void *ctx, struct cv_hook_user_open *args, struct cv_err *err)
{
	struct commands *commands = ctx;
	const struct cv_quota *quota;
	struct cv_buf words;
	bool settable = false;

	(void)err;
	cv_buf_init(&words, WORDS_MAX - 1);
	for (size_t pos = 0; (quota = cv_provider_next(cv_user_registry(args->user), CV_CAP_QUOTA, &pos, NULL)) != NULL;) {
		settable |= quota->set != NULL && quota->settable != NULL && quota->settable(args->user);
		for (size_t i = 0; quota->resources[i] != NULL; i++) {
			struct cv_str list = cv_buf_str(&words), word = { NULL, 0 };
			const char *name = quota->resources[i];
			bool there = false;

			/* Another provider may have it too. */
			while (list.len > 0 && !there) {
				cv_str_split(list, ' ', &word, &list);
				there = cv_str_starts(word, CV_STR("QUOTA=RES-")) &&
					cv_str_eq_c(cv_str_sub(word, strlen("QUOTA=RES-"), SIZE_MAX), name);
			}
			if (!there)
				cv_buf_printf(&words, "%sQUOTA=RES-%s", words.len > 0 ? " " : "QUOTA ", name);
		}
	}
	if (settable && words.len > 0)
		cv_buf_append_c(&words, " QUOTASET");
	if (cv_buf_ok(&words) && words.len > 0)
		memcpy(commands->words, words.data, words.len + 1);
	cv_buf_deinit(&words);
	return CV_HOOK_PASS;
}

static int load(struct cv_registry *reg, CV_UNUSED enum cv_role role, struct cv_err *err)
{
	struct commands *commands = cv_registry_alloc(reg, sizeof(*commands));
	const struct cv_hook_opts opts = { .name = "imap-quota", .ctx = commands };

	commands->getquota = (struct cv_imap_command){ .verb = "GETQUOTA", .opts = CV_IMAP_LOGGED_IN, .run = run_getquota,
		.capability = commands->words };
	commands->getquotaroot = (struct cv_imap_command){ .verb = "GETQUOTAROOT", .opts = CV_IMAP_LOGGED_IN, .run = run_getquotaroot };
	commands->setquota = (struct cv_imap_command){ .verb = "SETQUOTA", .opts = CV_IMAP_LOGGED_IN, .run = run_setquota };
	if (cv_provide_imap_command(reg, &commands->getquota, err) < 0 || cv_provide_imap_command(reg, &commands->getquotaroot, err) < 0 ||
		cv_provide_imap_command(reg, &commands->setquota, err) < 0)
		return -1;
	return cv_hook_add_user_open(reg, on_user_open, &opts, err);
}

CV_MODULE(imap_quota) = {
	CV_MODULE_ABI,
	.name = "imap-quota",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PROTOCOL,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
