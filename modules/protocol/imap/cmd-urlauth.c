/* SPDX-License-Identifier: MIT
   GENURLAUTH and RESETKEY (RFC 4467 section 7). */
#include <config.h>

#include "urlauth.h"

#include "modules/lib/imap/imap-quote.h"

#define URLS_MAX 100u

/* ---- GENURLAUTH --------------------------------------------------------------------------------------- */

struct new_key {
	struct cv_mailbox *mailbox; /* owned */
	uint8_t key[IMAP_URLAUTH_KEY];
};

struct generate {
	struct cv_buf answer;
	struct cv_txn *txn;         /* of new keys; NULL: there are none, or the commit has it */
	CV_VEC(struct new_key) made;
};

static void end_generate(struct cv_imap_cmd *cmd)
{
	struct generate *generate = cmd->data;

	if (generate == NULL)
		return;
	cmd->data = NULL;
	cv_buf_deinit(&generate->answer);
	if (generate->txn != NULL)
		cv_txn_rollback(&generate->txn);
	for (size_t i = 0; i < generate->made.count; i++)
		cv_mailbox_unref(&generate->made.data[i].mailbox);
	cv_vec_free(&generate->made);
}

/* The mailbox's key, made if it has none: "it is not necessary to use RESETKEY prior to first-time use of GENURLAUTH". */
static int get_key(struct cv_imap_cmd *cmd, struct cv_str name, uint8_t key_r[IMAP_URLAUTH_KEY], struct cv_err *err)
{
	struct generate *generate = cmd->data;
	struct cv_mailbox *mailbox;
	struct new_key *made;

	if (cv_mailbox_open(cmd->user, name, CV_RIGHT_READ, &mailbox, err) < 0)
		return -1;
	for (size_t i = 0; i < generate->made.count; i++) {
		if (generate->made.data[i].mailbox != mailbox)
			continue;
		memcpy(key_r, generate->made.data[i].key, IMAP_URLAUTH_KEY);
		cv_mailbox_unref(&mailbox);
		return 0;
	}
	if (imap_urlauth_key(cmd->user, mailbox, key_r) > 0) {
		cv_mailbox_unref(&mailbox);
		return 0;
	}
	made = cv_vec_push(&generate->made);
	made->mailbox = mailbox;
	cv_random(made->key, sizeof(made->key));
	memcpy(key_r, made->key, IMAP_URLAUTH_KEY);
	if (generate->txn == NULL) {
		generate->txn = cv_txn_begin(cmd->user);
		cv_txn_trust(generate->txn); /* keys are the server's; that the mailbox may be read was asked */
	}
	return cv_txn_annotate(generate->txn, mailbox, CV_STR(IMAP_URLAUTH_ENTRY), cv_str_mem(made->key, sizeof(made->key)), err);
}

/* "The server MUST validate each supplied URL" (1) to (4). */
static int check_url(struct cv_imap_cmd *cmd, const struct cv_imap_url *url, struct cv_err *err)
{
	const struct imap_settings *set = imap_cmd_session(cmd)->set;
	int64_t expire;

	if (!url->has_server || !imap_urlauth_is_ours(set, url->server))
		return cv_err_set_public(err, CV_ERR_INVALID, "The URL is not one of this server");
	if (url->user.ptr == NULL)
		return cv_err_set_public(err, CV_ERR_INVALID, "The URL names no owner");
	if (!cv_str_caseeq_c(url->user, cv_user_name(cmd->user)))
		return cv_err_set_public(err, CV_ERR_INVALID, "The URL names another owner");
	if (url->uid == 0)
		return cv_err_set_public(err, CV_ERR_INVALID, "The URL names no message");
	if (url->access.ptr == NULL)
		return cv_err_set_public(err, CV_ERR_INVALID, "The URL has no access identifier");
	if (url->mechanism.ptr != NULL)
		return cv_err_set_public(err, CV_ERR_INVALID, "The URL has a token already");
	if (url->expire.ptr != NULL && !cv_imap_url_expire(url, &expire))
		return cv_err_set_public(err, CV_ERR_INVALID, "Invalid EXPIRE in the URL");
	return imap_urlauth_access_check(set, url->access, err);
}

static int add_url(struct cv_imap_cmd *cmd, struct cv_str text, struct cv_err *err)
{
	struct generate *generate = cmd->data;
	uint8_t key[IMAP_URLAUTH_KEY];
	struct cv_imap_section section;
	struct cv_imap_url url;
	struct cv_str name;
	struct cv_buf full;
	int result;

	if (cv_imap_url_parse(cmd->arena, text, cv_str_c(NULL), &url, err) < 0 || check_url(cmd, &url, err) < 0 ||
		cv_imap_url_section(cmd->arena, &url, &section, err) < 0 ||
		imap_utf8_name(cmd->user, cmd->arena, url.mailbox, &name, err) < 0 || get_key(cmd, name, key, err) < 0)
		return -1;
	cv_buf_init(&full, CV_IMAP_URL_MAX * 2);
	cv_buf_append(&full, text);
	cv_buf_append_c(&full, ":" IMAP_URLAUTH_MECHANISM ":");
	result = imap_urlauth_append_token(&full, key, text, err);
	cv_buf_append_char(&generate->answer, ' ');
	cv_imap_append_string(&generate->answer, cv_buf_str(&full));
	cv_buf_deinit(&full);
	return result;
}

static enum cv_imap_result answer(struct cv_imap_cmd *cmd)
{
	struct generate *generate = cmd->data;

	cv_buf_append_c(imap_out(cmd), "* GENURLAUTH");
	cv_buf_append(imap_out(cmd), cv_buf_str(&generate->answer));
	cv_buf_append_c(imap_out(cmd), "\r\n");
	return imap_ok(cmd, NULL, "Genurlauth completed");
}

/* genurlauth = "GENURLAUTH" 1*(SP url-rump SP mechanism) */
static enum cv_imap_result generate(struct cv_imap_cmd *cmd)
{
	struct generate *generate = cmd->data;
	struct cv_str text, mechanism;
	struct cv_err err = { 0 };
	unsigned count = 0;

	for (const struct cv_imap_arg *arg = cmd->args; arg != NULL; arg = arg->next->next) {
		if (!cv_imap_arg_astring(arg, &text) || !cv_imap_arg_atom(arg->next, &mechanism))
			return imap_bad(cmd, "A URL and a mechanism are needed");
		if (++count > URLS_MAX)
			return imap_no(cmd, "LIMIT", "Too many URLs at once");
		if (!cv_str_caseeq_c(mechanism, IMAP_URLAUTH_MECHANISM))
			return imap_bad(cmd, "Only the mechanism INTERNAL is known");
		if (add_url(cmd, text, &err) < 0)
			return err.public_text ? imap_bad(cmd, cv_arena_strdup(cmd->arena, err.text)) : imap_fail(cmd, &err);
	}
	if (count == 0)
		return imap_bad(cmd, "A URL and a mechanism are needed");
	return generate->txn != NULL ? imap_commit(cmd, &generate->txn) : answer(cmd);
}

static enum cv_imap_result run_genurlauth(struct cv_imap_cmd *cmd)
{
	struct generate *data = cv_new(cmd->arena, struct generate, 1);
	enum cv_imap_result result;

	cv_buf_init(&data->answer, SIZE_MAX / 2);
	cmd->data = data;
	result = generate(cmd);
	if (result == CV_IMAP_DONE)
		end_generate(cmd);
	return result;
}

static enum cv_imap_result step_genurlauth(struct cv_imap_cmd *cmd)
{
	if (imap_cmd(cmd)->commit_result < 0)
		imap_fail(cmd, &imap_cmd(cmd)->commit_err);
	else
		answer(cmd);
	end_generate(cmd);
	return CV_IMAP_DONE;
}

/* ---- RESETKEY ----------------------------------------------------------------------------------------- */

static int reset_one(struct cv_imap_cmd *cmd, struct cv_txn *txn, struct cv_str name, struct cv_err *err)
{
	uint8_t key[IMAP_URLAUTH_KEY];
	struct cv_mailbox *mailbox;
	int result;

	if (cv_mailbox_open(cmd->user, name, CV_RIGHT_READ, &mailbox, err) < 0)
		return -1;
	cv_random(key, sizeof(key));
	result = cv_txn_annotate(txn, mailbox, CV_STR(IMAP_URLAUTH_ENTRY), cv_str_mem(key, sizeof(key)), err);
	cv_mailbox_unref(&mailbox);
	return result;
}

/* *any_r: a key was there. */
static int remove_all(struct cv_imap_cmd *cmd, struct cv_txn *txn, bool *any_r, struct cv_err *err)
{
	uint8_t key[IMAP_URLAUTH_KEY];
	struct cv_mailbox_info info;
	struct cv_mailbox *mailbox;
	int result = 0;

	*any_r = false;
	for (size_t pos = 0; result >= 0 && cv_mailbox_next(cmd->user, &pos, &info);) {
		if (!info.exists)
			continue;
		if (cv_mailbox_get(cmd->user, info.name, &mailbox, err) < 0)
			return -1;
		if (imap_urlauth_key(cmd->user, mailbox, key) > 0) {
			*any_r = true;
			result = cv_txn_annotate(txn, mailbox, CV_STR(IMAP_URLAUTH_ENTRY), cv_str_c(NULL), err);
		}
		cv_mailbox_unref(&mailbox);
	}
	return result;
}

/* resetkey = "RESETKEY" [SP mailbox *(SP mechanism)] */
static enum cv_imap_result run_resetkey(struct cv_imap_cmd *cmd)
{
	struct cv_err err = { 0 };
	struct cv_txn *txn;
	struct cv_str name;
	bool any = true;
	int result;

	if (cmd->args != NULL && !imap_mailbox_arg(cmd, cmd->args, 0, &name))
		return CV_IMAP_DONE;
	for (const struct cv_imap_arg *arg = cmd->args != NULL ? cmd->args->next : NULL; arg != NULL; arg = arg->next)
		if (!cv_imap_arg_is(arg, IMAP_URLAUTH_MECHANISM))
			return imap_bad(cmd, "Only the mechanism INTERNAL is known");
	txn = cv_txn_begin(cmd->user);
	cv_txn_trust(txn); /* the user takes back what it gave, also of mailboxes that it may not look up any more */
	result = cmd->args != NULL ? reset_one(cmd, txn, name, &err) : remove_all(cmd, txn, &any, &err);
	if (result >= 0 && any)
		return imap_commit(cmd, &txn);
	cv_txn_rollback(&txn);
	return result < 0 ? imap_fail(cmd, &err) : imap_ok(cmd, NULL, "All keys removed");
}

static enum cv_imap_result step_resetkey(struct cv_imap_cmd *cmd)
{
	if (imap_cmd(cmd)->commit_result < 0)
		return imap_fail(cmd, &imap_cmd(cmd)->commit_err);
	if (cmd->args == NULL)
		return imap_ok(cmd, NULL, "All keys removed");
	return imap_ok(cmd, "URLMECH " IMAP_URLAUTH_MECHANISM, "Key was made anew");
}

const struct cv_imap_command imap_cmd_genurlauth = {
	.verb = "GENURLAUTH",
	.opts = CV_IMAP_LOGGED_IN,
	.run = run_genurlauth,
	.step = step_genurlauth,
	.cancel = end_generate,
};
const struct cv_imap_command imap_cmd_resetkey = {
	.verb = "RESETKEY",
	.opts = CV_IMAP_LOGGED_IN,
	.run = run_resetkey,
	.step = step_resetkey,
};
