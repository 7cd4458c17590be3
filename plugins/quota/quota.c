/* SPDX-License-Identifier: MIT
   Plugin quota: the module: settings, hooks, what clients are told. See README beside this file. */
#include <config.h>

#include "plugins/quota/state.h"

#include <culver/hooks.h>
#include <culver/note.h>
#include <culver/quota.h>

#include <stdio.h>
#include <string.h>

#define KILO UINT64_C(1024)

/* ---- Settings ------------------------------------------------------------------------------------------ */

struct quota_settings {
	const char *quota;
	const char *quota_rule, *quota_rule2, *quota_rule3, *quota_rule4, *quota_rule5, *quota_rule6, *quota_rule7, *quota_rule8, *quota_rule9;
	const char *quota_grace;
	const char *quota_exceeded_message;
	uint64_t quota_max_mail_size;
	bool lmtp_rcpt_check_quota;
	bool quota_user_limits;
};

#define RULE_HELP "A further rule; the user database's field of the same name replaces it."
static const struct cv_setting rows[] = {
	CV_SETTING_STR(quota_settings, quota, "count:User quota",
		"Plugin quota: count:NAME, where NAME is what clients show. Behind another colon: noenforcing (nothing is refused), hidden (clients are not "
		"told), ignoreunlimited (nor those without limits)."),
	CV_SETTING_STR(quota_settings, quota_rule, NULL,
		"How much a user may have: MAILBOX:LIMIT:LIMIT…, MAILBOX a name, a mask with * and ?, or * alone for everything, LIMIT storage=1G, "
		"messages=1000, mailboxes=100, annotations=1M (of messages, with * only) or ignore. Sizes without a unit are in KiB. Limits of a mailbox are added to those of *: "
		"Trash:storage=+100M. The user database's field of the same name replaces it."),
	CV_SETTING_STR(quota_settings, quota_rule2, NULL, RULE_HELP),
	CV_SETTING_STR(quota_settings, quota_rule3, NULL, RULE_HELP),
	CV_SETTING_STR(quota_settings, quota_rule4, NULL, RULE_HELP),
	CV_SETTING_STR(quota_settings, quota_rule5, NULL, RULE_HELP),
	CV_SETTING_STR(quota_settings, quota_rule6, NULL, RULE_HELP),
	CV_SETTING_STR(quota_settings, quota_rule7, NULL, RULE_HELP),
	CV_SETTING_STR(quota_settings, quota_rule8, NULL, RULE_HELP),
	CV_SETTING_STR(quota_settings, quota_rule9, NULL, RULE_HELP),
	CV_SETTING_STR(quota_settings, quota_grace, "10%",
		"By how much the last message may go over the storage limit: a size, or a percentage of the limit."),
	CV_SETTING_STR(quota_settings, quota_exceeded_message, "Quota exceeded (mailbox for user is full)",
		"What senders and clients are told when something is refused."),
	CV_SETTING_SIZE(quota_settings, quota_max_mail_size, "0", 0, INT64_MAX, "Largest message that is saved; 0: any."),
	CV_SETTING_BOOL(quota_settings, lmtp_rcpt_check_quota, "yes",
		"Refuse a user over quota at LMTP's RCPT, before the message comes, and not only behind it."),
	CV_SETTING_BOOL(quota_settings, quota_user_limits, "no",
		"Let users set limits of their own by IMAP's SETQUOTA (QUOTASET), never above those of the rules."),
};

/* quota_rule (n 1) to quota_rule9 of the files. */
#define SETTING_RULES 9u
static const char *setting_rule(const struct quota_settings *set, unsigned n)
{
	const char *const rules[SETTING_RULES] = { set->quota_rule, set->quota_rule2, set->quota_rule3, set->quota_rule4, set->quota_rule5,
		set->quota_rule6, set->quota_rule7, set->quota_rule8, set->quota_rule9 };

	return n >= 1 && n <= SETTING_RULES ? rules[n - 1] : NULL;
}

static void rule_key(unsigned n, char key[24])
{
	if (n == 1)
		(void)snprintf(key, 24, "quota_rule");
	else
		(void)snprintf(key, 24, "quota_rule%u", n);
}

static int add_rule(struct cv_quota_rules *rules, struct cv_arena *arena, char separator, unsigned n, const char *text, struct cv_err *err)
{
	char key[24];

	if (text == NULL || *text == '\0')
		return 0;
	if (cv_quota_rule_add(rules, arena, separator, cv_str_c(text), err) >= 0)
		return 0;
	rule_key(n, key);
	return cv_err_context(err, "%s", key);
}

static int parse_rest(const struct quota_settings *set, struct cv_quota_root *root_r, struct cv_quota_grace *grace_r, struct cv_err *err)
{
	if (cv_quota_root_parse(cv_str_c(set->quota), root_r, err) < 0)
		return cv_err_context(err, "quota");
	if (cv_quota_grace_parse(cv_str_c(set->quota_grace), grace_r, err) < 0)
		return cv_err_context(err, "quota_grace");
	return 0;
}

static bool is_clean(const char *text)
{
	for (; text != NULL && *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

static int check_settings(const void *settings, struct cv_err *err)
{
	const struct quota_settings *set = settings;
	struct cv_arena *arena = cv_arena_new("quota settings", NULL, 0);
	struct cv_quota_rules *rules = cv_new(arena, struct cv_quota_rules, 1);
	struct cv_quota_root root;
	struct cv_quota_grace grace;
	int ret = parse_rest(set, &root, &grace, err);

	for (unsigned n = 1; ret == 0 && n <= SETTING_RULES; n++)
		ret = add_rule(rules, arena, '/', n, setting_rule(set, n), err);
	if (ret == 0 && !is_clean(set->quota_exceeded_message))
		ret = cv_err_set(err, CV_ERR_INVALID, "quota_exceeded_message: must be one line of text");
	cv_arena_free(&arena);
	return ret;
}

static const struct cv_settings_table table = CV_SETTINGS_TABLE_TOP("Plugin quota", quota_settings, rows, check_settings);

/* ---- What belongs to a user ---------------------------------------------------------------------------- */

/* Which slot; written once, in load(). */
static unsigned user_slot;

struct quota_user *quota_of(struct cv_user *user)
{
	return *cv_user_data(user, user_slot);
}

/* Rules of the files, each replaced by the user database's of that name; those go on for as long as there are any. */
static int take_rules(struct cv_user *user, const struct quota_settings *set, struct quota_user *quota, struct cv_err *err)
{
	for (unsigned n = 1; n <= CV_QUOTA_RULES_MAX; n++) {
		const char *field, *text;
		char key[24];

		rule_key(n, key);
		field = cv_user_field(user, key);
		text = field != NULL ? field : setting_rule(set, n);
		if (text == NULL && n > SETTING_RULES)
			break;
		if (add_rule(&quota->rules, quota->arena, cv_user_separator(user), n, text, err) < 0)
			return field != NULL ? cv_err_context(err, "user database") : -1;
	}
	return 0;
}

static enum cv_hook_result on_user_open(void *ctx, struct cv_hook_user_open *args, struct cv_err *err)
{
	const struct cv_conf *conf = cv_user_conf(args->user);
	struct cv_arena *arena;
	struct quota_user *quota;
	const struct quota_settings *set;
	const void *found;

	(void)ctx;
	if (conf == NULL)
		return CV_HOOK_PASS;
	arena = cv_arena_new("quota", NULL, 0);
	quota = cv_new(arena, struct quota_user, 1);
	quota->arena = arena;
	if (cv_conf_get(conf, &table, NULL, arena, &found, err) < 0)
		goto fail;
	set = found;
	if (parse_rest(set, &quota->root, &quota->grace, err) < 0 || take_rules(args->user, set, quota, err) < 0)
		goto fail;
	quota->may_set = set->quota_user_limits;
	if (quota_own_open(args->user, quota, err) < 0)
		goto fail;
	quota->max_mail_size = set->quota_max_mail_size;
	quota->exceeded = set->quota_exceeded_message;
	quota->check_rcpt = set->lmtp_rcpt_check_quota;
	quota->ctx = (struct cv_log_ctx){ .category = "quota", .user = cv_str_c(cv_user_name(args->user)) };
	*cv_user_data(args->user, user_slot) = quota;
	return CV_HOOK_PASS;
fail:
	/* No limits would be the wrong ones. */
	cv_arena_free(&arena);
	return CV_HOOK_ERROR;
}

static enum cv_hook_result on_user_close(void *ctx, struct cv_hook_user_close *args, struct cv_err *err)
{
	struct quota_user *quota = quota_of(args->user);

	(void)ctx;
	(void)err;
	*cv_user_data(args->user, user_slot) = NULL;
	if (quota != NULL)
		cv_arena_free(&quota->arena);
	return CV_HOOK_PASS;
}

void quota_usage(struct cv_user *user, const struct quota_user *quota, struct cv_usage *usage_r)
{
	struct cv_usage part;
	struct cv_quota_limits limits;
	struct cv_str name;

	cv_user_usage(user, usage_r);
	/* The few that do not count are taken off. */
	for (size_t pos = 0; quota->rules.ignores && cv_usage_next(user, &pos, &name, &part);) {
		cv_quota_limits_of(&quota->rules, name, &limits);
		if (!limits.ignored)
			continue;
		usage_r->messages -= part.messages;
		usage_r->size -= part.size;
		usage_r->notes -= part.notes;
		usage_r->mailboxes--;
	}
}

/* ---- What would be too much ---------------------------------------------------------------------------- */

static bool is_lower(bool limited, uint64_t limit, bool than_limited, uint64_t than)
{
	return limited && (!than_limited || limit < than);
}

/* Messages come into a mailbox, from another one or from outside (NULL), which they leave when they are moved. */
static void add_messages(struct quota_user *quota, struct cv_quota_change *change, const struct cv_mailbox *to, const struct cv_mailbox *from,
	bool move, uint64_t messages, uint64_t octets)
{
	struct cv_quota_limits in, out = { .ignored = true };
	bool stricter;

	cv_quota_limits_of(&quota->rules, cv_mailbox_name(to), &in);
	if (from != NULL)
		cv_quota_limits_of(&quota->rules, cv_mailbox_name(from), &out);
	if (move && !out.ignored) {
		change->messages_out += messages;
		change->storage_out += octets;
	}
	if (in.ignored)
		return;
	change->messages_in += messages;
	change->storage_in += octets;
	stricter = move && !out.ignored &&
		(is_lower(in.storage_limited, in.storage, out.storage_limited, out.storage) ||
			is_lower(in.messages_limited, in.messages, out.messages_limited, out.messages));
	/* Moving what counts already adds nothing: it is allowed at the limit and above it. */
	if (move && !out.ignored && !stricter)
		return;
	change->stricter = change->stricter || stricter;
	cv_quota_change_target(change, &in);
}

static int add_op(struct quota_user *quota, struct cv_quota_change *change, const struct cv_txn_op *op, struct cv_err *err)
{
	struct cv_quota_limits limits;
	struct cv_usage sum;

	switch (op->kind) {
	case CV_TXN_SAVE:
		add_messages(quota, change, op->mailbox, NULL, false, 1, cv_save_virtual_size(op->save));
		break;
	case CV_TXN_COPY:
		if (cv_mailbox_sum(op->from, op->uids, 0, &sum, err) < 0)
			return -1;
		add_messages(quota, change, op->mailbox, op->from, op->move, sum.messages, sum.size);
		break;
	case CV_TXN_EXPUNGE:
		cv_quota_limits_of(&quota->rules, cv_mailbox_name(op->mailbox), &limits);
		if (limits.ignored)
			break;
		if (cv_mailbox_sum(op->mailbox, op->uids, 0, &sum, err) < 0)
			return -1;
		change->messages_out += sum.messages;
		change->storage_out += sum.size;
		break;
	case CV_TXN_FLAGS:
	case CV_TXN_ANNOTATE:
	case CV_TXN_NOTES:
		break;
	}
	return 0;
}

static enum cv_hook_result refuse(const struct quota_user *quota, const struct cv_usage *usage, const char *what, struct cv_err *err)
{
	cv_info(&quota->ctx, "%s refused: %llu messages, %llu octets are there", what, (unsigned long long)usage->messages,
		(unsigned long long)usage->size);
	cv_err_set_public(err, CV_ERR_NOQUOTA, "%s", quota->exceeded);
	return CV_HOOK_DENY;
}

static enum cv_hook_result check_change(struct cv_user *user, const struct quota_user *quota, const struct cv_quota_change *change,
	const char *what, struct cv_err *err)
{
	struct cv_usage usage;
	bool storage;

	if (!change->adds || quota->root.noenforcing || (!change->limits.storage_limited && !change->limits.messages_limited))
		return CV_HOOK_PASS;
	quota_usage(user, quota, &usage);
	if (cv_quota_change_check(change, usage.size, usage.messages, &quota->grace, &storage) == 0)
		return CV_HOOK_PASS;
	return refuse(quota, &usage, what, err);
}

/* ---- Hooks --------------------------------------------------------------------------------------------- */

static enum cv_hook_result check_size(const struct quota_user *quota, uint64_t octets, struct cv_err *err)
{
	if (quota->max_mail_size == 0 || octets <= quota->max_mail_size)
		return CV_HOOK_PASS;
	cv_err_set_public(err, CV_ERR_LIMIT, "Message is larger than %llu octets", (unsigned long long)quota->max_mail_size);
	return CV_HOOK_DENY;
}

/* Soon, so that the rest of many messages need not come; the commit hook is what counts. */
static enum cv_hook_result on_message_save(void *ctx, struct cv_hook_message_save *args, struct cv_err *err)
{
	struct quota_user *quota = quota_of(args->user);
	const struct cv_txn *txn = cv_save_txn(args->save);
	uint64_t octets = cv_save_virtual_size(args->save);
	struct cv_mailbox *from;
	struct cv_txn_op op;
	uint32_t uid;

	(void)ctx;
	if (quota == NULL)
		return CV_HOOK_PASS;
	from = cv_save_source(args->save, &uid);
	if (from == NULL && check_size(quota, octets, err) == CV_HOOK_DENY)
		return CV_HOOK_DENY;
	if (quota->txn != cv_txn_id(txn)) {
		quota->txn = cv_txn_id(txn);
		quota->change = (struct cv_quota_change){ 0 };
		for (size_t pos = 0; cv_txn_next(txn, &pos, &op);) {
			if (add_op(quota, &quota->change, &op, err) < 0) {
				quota->txn = 0;
				return CV_HOOK_ERROR;
			}
		}
	}
	add_messages(quota, &quota->change, args->mailbox, from, cv_save_is_move(args->save), 1, octets);
	return check_change(args->user, quota, &quota->change, "a message was", err);
}

static bool is_ignored(const struct quota_user *quota, const struct cv_mailbox *mailbox)
{
	struct cv_quota_limits limits;

	cv_quota_limits_of(&quota->rules, cv_mailbox_name(mailbox), &limits);
	return limits.ignored;
}

/* Annotations of messages: what of them comes into mailboxes that count, and goes from there. */
static enum cv_hook_result check_notes(struct cv_user *user, const struct quota_user *quota, const struct cv_txn *txn, struct cv_err *err)
{
	uint64_t all_in = 0, all_out = 0, in, out;
	struct cv_usage usage;
	struct cv_txn_op op;

	for (size_t pos = 0; cv_txn_next(txn, &pos, &op);) {
		if (cv_txn_notes_octets(txn, &op, &in, &out, err) < 0)
			return CV_HOOK_ERROR;
		if (in > 0 && !is_ignored(quota, op.mailbox))
			all_in += in;
		if (out > 0 && !is_ignored(quota, op.from != NULL ? op.from : op.mailbox))
			all_out += out;
	}
	if (all_in <= all_out)
		return CV_HOOK_PASS;
	if (cv_user_count_notes(user, err) < 0)
		return CV_HOOK_ERROR;
	quota_usage(user, quota, &usage);
	if (cv_quota_notes_check(usage.notes, all_in, all_out, quota->rules.most.annotations) == 0)
		return CV_HOOK_PASS;
	cv_info(&quota->ctx, "annotations were refused: %llu octets are there", (unsigned long long)usage.notes);
	cv_err_set_public(err, CV_ERR_NOQUOTA, "Annotations of messages are too large together");
	return CV_HOOK_DENY;
}

static enum cv_hook_result on_commit(void *ctx, struct cv_hook_commit *args, struct cv_err *err)
{
	struct quota_user *quota = quota_of(args->user);
	struct cv_quota_change change = { 0 };
	struct cv_txn_op op;

	(void)ctx;
	if (quota == NULL || quota->root.noenforcing)
		return CV_HOOK_PASS;
	if (quota->rules.most.annotations != 0 && !quota->rules.ignore) {
		enum cv_hook_result result = check_notes(args->user, quota, args->txn, err);

		if (result != CV_HOOK_PASS)
			return result;
	}
	for (size_t pos = 0; cv_txn_next(args->txn, &pos, &op);) {
		if (op.kind != CV_TXN_EXPUNGE && add_op(quota, &change, &op, err) < 0)
			return CV_HOOK_ERROR;
	}
	/* What goes matters only beside what comes. */
	if (!change.adds)
		return CV_HOOK_PASS;
	for (size_t pos = 0; cv_txn_next(args->txn, &pos, &op);) {
		if (op.kind == CV_TXN_EXPUNGE && add_op(quota, &change, &op, err) < 0)
			return CV_HOOK_ERROR;
	}
	return check_change(args->user, quota, &change, "a change was", err);
}

static enum cv_hook_result on_mailbox_op(void *ctx, struct cv_hook_mailbox_op *args, struct cv_err *err)
{
	struct quota_user *quota = quota_of(args->user);
	struct cv_quota_limits limits;
	struct cv_usage usage;
	struct cv_str name;

	(void)ctx;
	if (quota == NULL || quota->rules.most.mailboxes == 0 || quota->rules.ignore || quota->root.noenforcing)
		return CV_HOOK_PASS;
	/* INBOX stays when it is renamed (RFC 3501 section 6.3.5), so that there is one more. */
	if (args->op == CV_OP_CREATE)
		name = args->name;
	else if (args->op == CV_OP_RENAME && cv_str_eq_c(args->name, "INBOX"))
		name = args->new_name;
	else
		return CV_HOOK_PASS;
	cv_quota_limits_of(&quota->rules, name, &limits);
	quota_usage(args->user, quota, &usage);
	if (limits.ignored || usage.mailboxes < quota->rules.most.mailboxes)
		return CV_HOOK_PASS;
	return refuse(quota, &usage, "a mailbox was", err);
}

/* A message that is still to come. */
static enum cv_hook_result check_announced(struct cv_user *user, const struct quota_user *quota, struct cv_str mailbox, uint64_t octets,
	const char *what, struct cv_err *err)
{
	struct cv_quota_change change = { .messages_in = 1, .storage_in = CV_MAX(octets, (uint64_t)1) };
	struct cv_quota_limits limits;

	if (check_size(quota, octets, err) == CV_HOOK_DENY)
		return CV_HOOK_DENY;
	cv_quota_limits_of(&quota->rules, mailbox, &limits);
	if (limits.ignored)
		return CV_HOOK_PASS;
	cv_quota_change_target(&change, &limits);
	return check_change(user, quota, &change, what, err);
}

static enum cv_hook_result on_recipient(void *ctx, struct cv_hook_recipient *args, struct cv_err *err)
{
	struct quota_user *quota = quota_of(args->user);

	(void)ctx;
	if (quota == NULL || !quota->check_rcpt)
		return CV_HOOK_PASS;
	return check_announced(args->user, quota, args->recipient->mailbox, args->recipient->size, "a recipient was", err);
}

/* ---- What clients are told ----------------------------------------------------------------------------- */

static const char *const resources[] = { "STORAGE", "MESSAGE", "MAILBOX", "ANNOTATION-STORAGE", NULL };

static bool is_shown(const struct quota_user *quota)
{
	const struct cv_quota_rules *rules = &quota->rules;
	bool limited = !rules->ignore && cv_quota_most_any(&rules->most);

	return !quota->root.hidden && (limited || !quota->root.ignoreunlimited);
}

static bool root_next(struct cv_user *user, struct cv_str mailbox, size_t *pos, struct cv_str *root_r)
{
	const struct quota_user *quota = quota_of(user);
	struct cv_quota_limits limits;

	if (quota == NULL || *pos > 0 || !is_shown(quota))
		return false;
	cv_quota_limits_of(&quota->rules, mailbox, &limits);
	if (limits.ignored)
		return false;
	(*pos)++;
	*root_r = quota->root.name;
	return true;
}

static uint64_t kilo(uint64_t octets)
{
	return octets / KILO + (octets % KILO != 0);
}

static int get(struct cv_user *user, struct cv_str root, struct cv_quota_resource list[CV_QUOTA_RESOURCES_MAX], size_t *count_r,
	struct cv_err *err)
{
	const struct quota_user *quota = quota_of(user);
	struct cv_quota_most most;
	struct cv_usage usage;

	*count_r = 0;
	if (quota == NULL || !is_shown(quota) || !cv_str_eq(root, quota->root.name))
		return 0;
	if (quota->rules.ignore)
		return 1;
	most = quota->rules.most;
	if (most.annotations != 0 && cv_user_count_notes(user, err) < 0)
		return -1;
	quota_usage(user, quota, &usage);
	if (most.storage != 0)
		list[(*count_r)++] = (struct cv_quota_resource){ "STORAGE", kilo(usage.size), kilo(most.storage) };
	if (most.messages != 0)
		list[(*count_r)++] = (struct cv_quota_resource){ "MESSAGE", usage.messages, most.messages };
	if (most.mailboxes != 0)
		list[(*count_r)++] = (struct cv_quota_resource){ "MAILBOX", usage.mailboxes, most.mailboxes };
	if (most.annotations != 0)
		list[(*count_r)++] = (struct cv_quota_resource){ "ANNOTATION-STORAGE", kilo(usage.notes), kilo(most.annotations) };
	return 1;
}

static bool over(struct cv_user *user, struct cv_str mailbox, const char **text_r)
{
	const struct quota_user *quota = quota_of(user);
	struct cv_quota_limits limits;
	struct cv_usage usage;

	if (quota == NULL || !is_shown(quota))
		return false;
	cv_quota_limits_of(&quota->rules, mailbox, &limits);
	if (!limits.storage_limited && !limits.messages_limited)
		return false;
	quota_usage(user, quota, &usage);
	*text_r = "Soft quota has been exceeded";
	return (limits.storage_limited && usage.size > limits.storage) || (limits.messages_limited && usage.messages > limits.messages);
}

static int fits(struct cv_user *user, struct cv_str mailbox, uint64_t octets, struct cv_err *err)
{
	const struct quota_user *quota = quota_of(user);

	if (quota == NULL || check_announced(user, quota, mailbox, octets, "a message was", err) == CV_HOOK_PASS)
		return 0;
	return -1;
}

/* Asked before this plugin's own user_open hook may have run. */
static bool settable(struct cv_user *user)
{
	const struct cv_conf *conf = cv_user_conf(user);
	struct cv_arena *arena;
	struct cv_err err = { 0 };
	const void *found;
	bool may;

	if (conf == NULL)
		return false;
	arena = cv_arena_new("quota", NULL, 0);
	may = cv_conf_get(conf, &table, NULL, arena, &found, &err) == 0 && ((const struct quota_settings *)found)->quota_user_limits;
	cv_arena_free(&arena);
	return may;
}

static int set(struct cv_user *user, struct cv_str root, const struct cv_quota_wish *wishes, size_t count, struct cv_err *err)
{
	struct quota_user *quota = quota_of(user);

	if (quota == NULL || !is_shown(quota) || !cv_str_eq(root, quota->root.name))
		return 0;
	return quota_own_set(user, quota, wishes, count, err);
}

static const struct cv_quota provider = {
	.name = "quota",
	.resources = resources,
	.root_next = root_next,
	.get = get,
	.over = over,
	.fits = fits,
	.settable = settable,
	.set = set,
};

/* ---- The module ---------------------------------------------------------------------------------------- */

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	/* Late: what other plugins put into a transaction counts. */
	const struct cv_hook_opts opts = { .name = "quota", .stage = CV_STAGE_LATE };

	if (cv_provide_admin(reg, &quota_admin_get, err) < 0 || cv_provide_admin(reg, &quota_admin_recalc, err) < 0)
		return -1;
	if (role == CV_ROLE_TOOL)
		return 0;
	user_slot = cv_slot_register(reg);
	if (cv_hook_add_user_open(reg, on_user_open, &opts, err) < 0 || cv_hook_add_user_close(reg, on_user_close, &opts, err) < 0 ||
		cv_hook_add_message_save(reg, on_message_save, &opts, err) < 0 || cv_hook_add_commit(reg, on_commit, &opts, err) < 0 ||
		cv_hook_add_mailbox_op(reg, on_mailbox_op, &opts, err) < 0 || cv_hook_add_recipient(reg, on_recipient, &opts, err) < 0)
		return -1;
	return cv_provide_quota(reg, &provider, err);
}

static const struct cv_settings_table *const tables[] = { &table, NULL };

CV_MODULE(quota) = {
	CV_MODULE_ABI,
	.name = "quota",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER | CV_ROLE_TOOL,
	.settings = tables,
	.load = load,
};
