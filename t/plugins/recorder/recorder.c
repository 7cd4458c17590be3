/* SPDX-License-Identifier: MIT
   Test plugin: writes a log line from every hook of a worker and for every journal record, and refuses what asks for it by a user's, mailbox's or
   header's name. recorder-auth.c does the same in auth, which never maps the mail library. */
#include <culver/header.h>
#include <culver/hooks.h>
#include <culver/log.h>
#include <culver/mailbox.h>
#include <culver/protocol.h>

#include <poll.h>
#include <string.h>

static const struct cv_log_ctx log_ctx = { .category = "recorder" };

static bool says(struct cv_str name, const char *word)
{
	return cv_str_find_str(name, cv_str_c(word)) != SIZE_MAX;
}

static struct cv_str user_name(const struct cv_user *user)
{
	return cv_str_c(cv_user_name(user));
}

/* ---- worker -------------------------------------------------------------------------------------------- */

static enum cv_hook_result on_user_open(void *ctx, struct cv_hook_user_open *args, struct cv_err *err)
{
	(void)ctx;
	cv_info(&log_ctx, "hook user_open user=%s", cv_user_name(args->user));
	if (!says(user_name(args->user), "noopen"))
		return CV_HOOK_PASS;
	cv_err_set_public(err, CV_ERR_PERM, "Mail is closed");
	return CV_HOOK_DENY;
}

static enum cv_hook_result on_user_close(void *ctx, struct cv_hook_user_close *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	cv_info(&log_ctx, "hook user_close user=%s", cv_user_name(args->user));
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_session_start(void *ctx, struct cv_hook_session_start *args, struct cv_err *err)
{
	const struct cv_user *user = cv_session_user(args->session);

	(void)ctx;
	cv_info(&log_ctx, "hook session_start user=%s", cv_user_name(user));
	if (!says(user_name(user), "nosession"))
		return CV_HOOK_PASS;
	cv_err_set_public(err, CV_ERR_PERM, "No sessions now");
	return CV_HOOK_DENY;
}

static enum cv_hook_result on_session_end(void *ctx, struct cv_hook_session_end *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	cv_info(&log_ctx, "hook session_end user=%s", cv_user_name(cv_session_user(args->session)));
	return CV_HOOK_PASS;
}

static struct cv_str last_level(struct cv_str name)
{
	size_t at = name.len;

	while (at > 0 && name.ptr[at - 1] != '/')
		at--;
	return cv_str_sub(name, at, SIZE_MAX);
}

/* Rights by letters behind a word in a name: "rights-lrs" has lookup, read and seen, and no others. All without the word. */
static unsigned rights_by(struct cv_str name, const char *word)
{
	static const char letters[] = "lrswipkxtean";
	size_t at = cv_str_find_str(name, cv_str_c(word));
	unsigned rights = 0;

	if (at == SIZE_MAX)
		return CV_RIGHT_ALL;
	for (at += strlen(word); at < name.len && name.ptr[at] >= 'a' && name.ptr[at] <= 'z'; at++) {
		const char *letter = strchr(letters, name.ptr[at]);

		if (letter != NULL)
			rights |= 1u << (letter - letters);
	}
	return rights;
}

static enum cv_hook_result on_mailbox_access(void *ctx, struct cv_hook_mailbox_access *args, struct cv_err *err)
{
	(void)ctx;
	if (says(args->name, "access"))
		cv_info(&log_ctx, "hook mailbox_access %.*s guid=%d", CV_STR_ARG(args->name), args->guid != NULL);
	if (says(args->name, "noaccess"))
		return CV_HOOK_DENY;
	if (says(args->name, "erraccess")) {
		cv_err_set(err, CV_ERR_PERM, "secret: /etc/rights is gone");
		return CV_HOOK_ERROR;
	}
	args->rights &= rights_by(last_level(args->name), "rights-");
	if (cv_str_eq_c(args->name, "INBOX"))
		args->rights &= rights_by(user_name(args->user), "inbox-");
	if (args->name.len == 0)
		args->rights &= rights_by(user_name(args->user), "top-");
	return CV_HOOK_PASS;
}

static const char *op_name(enum cv_mailbox_op op)
{
	static const char *const names[] = { "?", "create", "delete", "rename", "subscribe", "unsubscribe" };

	return names[(size_t)op < CV_COUNT_OF(names) ? op : 0];
}

static enum cv_hook_result on_mailbox_op(void *ctx, struct cv_hook_mailbox_op *args, struct cv_err *err)
{
	(void)ctx;
	cv_info(&log_ctx, "hook mailbox_op %s %.*s %.*s", op_name(args->op), CV_STR_ARG(args->name), CV_STR_ARG(args->new_name));
	if (!says(args->name, "forbidden") && !says(args->new_name, "forbidden"))
		return CV_HOOK_PASS;
	cv_err_set_public(err, CV_ERR_PERM, "This name is taboo");
	return CV_HOOK_DENY;
}

static enum cv_hook_result on_mailbox_op_done(void *ctx, struct cv_hook_mailbox_op_done *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	cv_info(&log_ctx, "hook mailbox_op_done %s %.*s %.*s", op_name(args->op), CV_STR_ARG(args->name), CV_STR_ARG(args->new_name));
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_message_save(void *ctx, struct cv_hook_message_save *args, struct cv_err *err)
{
	struct cv_header_field field;
	struct cv_str octets;
	struct cv_mailbox *source;
	uint32_t uid;

	(void)ctx;
	source = cv_save_source(args->save, &uid);
	cv_info(&log_ctx, "hook message_save %s to=%.*s size=%llu", source == NULL ? "new" : cv_save_is_move(args->save) ? "move" : "copy",
		CV_STR_ARG(cv_mailbox_name(args->mailbox)), (unsigned long long)cv_save_size(args->save));
	if (cv_save_octets(args->save, &octets, err) < 0)
		return CV_HOOK_ERROR;
	if (!cv_header_find(cv_str_sub(octets, 0, cv_header_size(octets)), CV_STR("X-Save"), 0, &field))
		return CV_HOOK_PASS;
	if (says(field.value, "mark")) {
		cv_save_set_flags(args->save, cv_save_flags(args->save) | CV_FLAG_FLAGGED);
		return cv_save_add_keyword(args->save, CV_STR("$Marked"), err) < 0 ? CV_HOOK_ERROR : CV_HOOK_PASS;
	}
	if (says(field.value, "no-copies") && source == NULL)
		return CV_HOOK_PASS;
	if (says(field.value, "error")) {
		cv_err_set(err, CV_ERR_PERM, "secret: /etc/scanner.conf is gone");
		return CV_HOOK_ERROR;
	}
	if (says(field.value, "quota"))
		cv_err_set_public(err, CV_ERR_NOQUOTA, "Mailbox is full");
	else
		cv_err_set_public(err, CV_ERR_PERM, "This message is not wanted");
	return CV_HOOK_DENY;
}

static enum cv_hook_result on_recipient(void *ctx, struct cv_hook_recipient *args, struct cv_err *err)
{
	const struct cv_recipient *rcpt = args->recipient;

	(void)ctx;
	cv_info(&log_ctx, "hook recipient address=%.*s from=%.*s to=%.*s size=%llu", CV_STR_ARG(rcpt->address), CV_STR_ARG(rcpt->reverse_path),
		CV_STR_ARG(rcpt->mailbox), (unsigned long long)rcpt->size);
	if (says(rcpt->detail, "slow"))
		(void)poll(NULL, 0, 7000); /* as a worker whose disk does not answer */
	if (says(rcpt->detail, "broken")) {
		cv_err_set(err, CV_ERR_PERM, "secret: the list of addresses is gone");
		return CV_HOOK_ERROR;
	}
	if (says(rcpt->detail, "full"))
		cv_err_set_public(err, CV_ERR_NOQUOTA, "No more mail, please");
	else if (says(rcpt->detail, "later"))
		cv_err_set_public(err, CV_ERR_TEMP, "Come again tomorrow");
	else if (says(rcpt->detail, "never"))
		cv_err_set_public(err, CV_ERR_PERM, "Not at this address");
	else
		return CV_HOOK_PASS;
	return CV_HOOK_DENY;
}

static enum cv_hook_result on_delivery(void *ctx, struct cv_hook_delivery *args, struct cv_err *err)
{
	struct cv_delivery *delivery = args->delivery;
	struct cv_header_field field;

	(void)ctx;
	cv_info(&log_ctx, "hook delivery recipient=%.*s from=%.*s", CV_STR_ARG(delivery->recipient), CV_STR_ARG(delivery->reverse_path));
	if (!cv_header_find(cv_str_sub(delivery->octets, 0, cv_header_size(delivery->octets)), CV_STR("X-Deliver"), 0, &field))
		return CV_HOOK_PASS;
	if (says(field.value, "discard"))
		return CV_HOOK_DONE;
	if (says(field.value, "junk")) {
		delivery->mailbox = CV_STR("Junk");
		delivery->flags |= CV_FLAG_SEEN;
		return CV_HOOK_PASS;
	}
	if (says(field.value, "error"))
		return CV_HOOK_ERROR;
	cv_err_set_public(err, CV_ERR_PERM, "Not for this recipient");
	return CV_HOOK_DENY;
}

static enum cv_hook_result on_delivered(void *ctx, struct cv_hook_delivered *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	cv_info(&log_ctx, "hook delivered mailbox=%.*s uid=%u", CV_STR_ARG(args->delivery->mailbox), args->delivery->uid);
	return CV_HOOK_PASS;
}

static enum cv_hook_result on_commit(void *ctx, struct cv_hook_commit *args, struct cv_err *err)
{
	static const char *const kinds[] = { "?", "save", "copy", "flags", "expunge", "annotate" };
	struct cv_txn_op op;
	size_t pos = 0;

	(void)ctx;
	while (cv_txn_next(args->txn, &pos, &op)) {
		cv_info(&log_ctx, "hook commit %s %.*s", kinds[op.kind], CV_STR_ARG(op.mailbox != NULL ? cv_mailbox_name(op.mailbox) : op.name));
		for (size_t i = 0; op.kind == CV_TXN_FLAGS && i < op.change->keyword_count; i++) {
			if (!cv_str_eq_c(op.change->keywords[i], "$Forbidden"))
				continue;
			cv_err_set_public(err, CV_ERR_PERM, "This keyword is taboo");
			return CV_HOOK_DENY;
		}
	}
	return CV_HOOK_PASS;
}

static const char *change_name(enum cv_change_kind kind)
{
	static const char *const names[] = { "?", "create", "rename", "delete", "subscribe", "annotate", "append", "flags", "expunge", "copy" };

	return names[(size_t)kind < CV_COUNT_OF(names) ? kind : 0];
}

static enum cv_hook_result on_committed(void *ctx, struct cv_hook_committed *args, struct cv_err *err)
{
	(void)ctx;
	(void)err;
	for (size_t i = 0; i < args->count; i++)
		cv_info(&log_ctx, "hook committed %s %.*s uid=%u", change_name(args->changes[i].kind), CV_STR_ARG(args->changes[i].name),
			args->changes[i].uid);
	return CV_HOOK_PASS;
}

/* ---- journal ------------------------------------------------------------------------------------------- */

static int on_open(struct cv_user *user, void **ctx_r, struct cv_err *err)
{
	(void)err;
	*ctx_r = user;
	return 1;
}

static int on_reset(void *ctx, enum cv_subscriber_reset why, struct cv_err *err)
{
	(void)err;
	cv_info(&log_ctx, "journal user=%s reset=%s", cv_user_name(ctx), why == CV_SUBSCRIBER_NEW ? "new" : "lost");
	return 1;
}

static int on_record(void *ctx, const struct cv_change *changes, size_t count, struct cv_err *err)
{
	(void)err;
	for (size_t i = 0; i < count; i++)
		cv_info(&log_ctx, "journal user=%s modseq=%llu %s %.*s uid=%u", cv_user_name(ctx), (unsigned long long)changes[i].modseq,
			change_name(changes[i].kind), CV_STR_ARG(changes[i].name), changes[i].uid);
	return 1;
}

static const struct cv_subscriber subscriber = {
	.name = "recorder",
	.open = on_open,
	.record = on_record,
	.reset = on_reset,
};

/* ---- the module ---------------------------------------------------------------------------------------- */

static int load(struct cv_registry *reg, enum cv_role role, struct cv_err *err)
{
	(void)role;
	if (cv_hook_add_user_open(reg, on_user_open, NULL, err) < 0 || cv_hook_add_user_close(reg, on_user_close, NULL, err) < 0 ||
		cv_hook_add_session_start(reg, on_session_start, NULL, err) < 0 || cv_hook_add_session_end(reg, on_session_end, NULL, err) < 0 ||
		cv_hook_add_mailbox_access(reg, on_mailbox_access, NULL, err) < 0 || cv_hook_add_mailbox_op(reg, on_mailbox_op, NULL, err) < 0 ||
		cv_hook_add_mailbox_op_done(reg, on_mailbox_op_done, NULL, err) < 0 ||
		cv_hook_add_message_save(reg, on_message_save, NULL, err) < 0 || cv_hook_add_recipient(reg, on_recipient, NULL, err) < 0 ||
		cv_hook_add_delivery(reg, on_delivery, NULL, err) < 0 ||
		cv_hook_add_delivered(reg, on_delivered, NULL, err) < 0 || cv_hook_add_commit(reg, on_commit, NULL, err) < 0 ||
		cv_hook_add_committed(reg, on_committed, NULL, err) < 0)
		return -1;
	return cv_provide_subscriber(reg, &subscriber, err);
}

CV_MODULE(recorder) = {
	CV_MODULE_ABI,
	.name = "recorder",
	.version = "1",
	.kind = CV_KIND_PLUGIN,
	.roles = CV_ROLE_WORKER,
	.load = load,
};
