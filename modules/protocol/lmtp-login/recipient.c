/* SPDX-License-Identifier: MIT
   LMTP in front: recipients, from RCPT to the answers of the user look-up and, when a module wants a say (hook recipient), of the user's worker. */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"

#include <culver/time.h>

struct cv_lmtp_rcpt *cv_lmtp_rcpt_by_id(struct cv_lmtp_client *client, uint64_t id)
{
	if (id < client->base_id || id - client->base_id >= client->rcpts.count)
		return NULL;
	return &client->rcpts.data[id - client->base_id];
}

uint64_t cv_lmtp_rcpt_id(const struct cv_lmtp_client *client, const struct cv_lmtp_rcpt *rcpt)
{
	return client->base_id + (uint64_t)(rcpt - client->rcpts.data);
}

/* Cut local at the first delimiter that has something before it. */
static void split_detail(const char *delimiters, struct cv_str *local, struct cv_str *detail_r)
{
	*detail_r = (struct cv_str){ NULL, 0 };
	if (delimiters == NULL)
		return;
	for (size_t i = 1; i < local->len; i++) {
		if (strchr(delimiters, local->ptr[i]) != NULL) {
			*detail_r = cv_str_sub(*local, i + 1, SIZE_MAX);
			local->len = i;
			return;
		}
	}
}

/* The name to look up: local part without quotes and detail, and the domain when there is one. */
static void set_user(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt, const struct cv_lmtp_path *path)
{
	struct cv_str local = path->local;
	struct cv_buf user;

	split_detail(client->set->recipient_delimiter, &local, &rcpt->detail);
	rcpt->detail = rcpt->detail.ptr != NULL ? cv_arena_str(client->arena, rcpt->detail) : rcpt->detail;
	cv_buf_init(&user, CV_LMTP_LINE_MAX);
	cv_buf_append(&user, local);
	if (path->domain.len > 0) {
		cv_buf_append_char(&user, '@');
		cv_buf_append(&user, path->domain);
	}
	rcpt->user = cv_arena_str(client->arena, cv_buf_str(&user));
	cv_buf_deinit(&user);
}

static bool is_postmaster(const struct cv_lmtp_client *client, const struct cv_lmtp_rcpt *rcpt)
{
	struct cv_str local, domain;

	(void)cv_str_split(rcpt->user, '@', &local, &domain);
	return cv_str_caseeq_c(local, "postmaster") && (domain.len == 0 || cv_str_caseeq(domain, client->hostname));
}

bool cv_lmtp_rcpt_add(struct cv_lmtp_client *client, const struct cv_lmtp_path *path)
{
	struct cv_lmtp_rcpt *rcpt;

	if (client->rcpts.count >= client->set->lmtp_max_recipients) {
		if (client->pending > 0)
			return false;
		/* RFC 5321 section 4.5.3.1.10: the client sends the message to these, then again to the rest. */
		cv_lmtp_reply(client, 452, "4.5.3", "Too many recipients");
		return true;
	}
	if (client->pending >= CV_LMTP_LOOKUPS_MAX)
		return false;
	rcpt = cv_vec_push(&client->rcpts);
	rcpt->state = CV_LMTP_RCPT_LOOKUP;
	rcpt->address = cv_arena_str(client->arena, path->text);
	set_user(client, rcpt, path);
	client->pending++;
	cv_login_user_lookup(client->login, cv_lmtp_rcpt_id(client, rcpt), rcpt->user);
	return true;
}

static void rcpt_reply(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt)
{
	rcpt->state = CV_LMTP_RCPT_REFUSED;
	switch (rcpt->result) {
	case CV_AUTH_OK:
		if (rcpt->reply.code != 0) {
			cv_lmtp_reply(client, rcpt->reply.code, rcpt->reply.enhanced, "<%.*s> %s", CV_STR_ARG(rcpt->address), rcpt->reply.text);
			return;
		}
		rcpt->state = CV_LMTP_RCPT_ACCEPTED;
		client->accepted++;
		cv_lmtp_reply(client, 250, "2.1.5", "OK");
		return;
	case CV_AUTH_NOUSER:
		cv_lmtp_reply(client, 550, "5.1.1", "<%.*s> There is no such user", CV_STR_ARG(rcpt->address));
		break;
	case CV_AUTH_DISABLED:
		cv_lmtp_reply(client, 550, "5.2.1", "<%.*s> This user takes no mail", CV_STR_ARG(rcpt->address));
		break;
	case CV_AUTH_MISMATCH:
	case CV_AUTH_TEMP:
		cv_lmtp_reply(client, 451, "4.3.0", "<%.*s> The user cannot be looked up now", CV_STR_ARG(rcpt->address));
		break;
	}
	cv_info(cv_login_log(client->login), "refused recipient %s from %s: %s", cv_log_clean(rcpt->address),
		cv_log_clean(client->reverse_path),
		rcpt->result == CV_AUTH_NOUSER ? "no such user"
			: rcpt->result == CV_AUTH_DISABLED ? "disabled" : "temporary failure of the look-up");
}

/* Replies go in the order of the commands. */
static void send_replies(struct cv_lmtp_client *client)
{
	while (client->replied < client->rcpts.count &&
		client->rcpts.data[client->replied].state == CV_LMTP_RCPT_KNOWN) {
		rcpt_reply(client, &client->rcpts.data[client->replied]);
		client->replied++;
	}
	/* The next command may have waited for this. */
	cv_lmtp_go_on(client);
}

/* Ask the user's worker whether the message may come. */
static void ask(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt)
{
	const struct cv_lmtp_job job = { .kind = CV_LMTP_JOB_RECIPIENT, .reverse_path = client->reverse_path,
		.recipient = rcpt->address, .detail = rcpt->detail, .size = client->announced };
	struct cv_buf payload;

	cv_buf_init(&payload, 32768);
	cv_lmtp_job_put(&job, &payload);
	cv_assert(cv_buf_ok(&payload)); /* lines are bounded */
	rcpt->state = CV_LMTP_RCPT_ASK;
	cv_login_job_within(client->login, cv_lmtp_rcpt_id(client, rcpt), rcpt->ticket,
		cv_buf_str(&payload), -1, CV_LMTP_ASK_MS);
	cv_buf_deinit(&payload);
}

static void known(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt)
{
	rcpt->state = CV_LMTP_RCPT_KNOWN;
	client->pending--;
	send_replies(client);
}

void cv_lmtp_rcpt_answered(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt, const struct cv_login_job_reply *reply)
{
	const struct cv_log_ctx *log = cv_login_log(client->login);
	struct cv_err verdict = { 0 };

	/* Without an answer the message comes: its delivery finds out what is wrong, and can say so. */
	if (reply->err.code != CV_ERR_NONE)
		cv_info(log, "recipient %s is taken unasked: %s", cv_log_clean(rcpt->address), reply->err.text);
	else if (!cv_lmtp_verdict_take(reply->data, &verdict))
		cv_error(log, "a worker's answer for recipient %s does not check", cv_log_clean(rcpt->address));
	if (verdict.code != CV_ERR_NONE) {
		rcpt->reply = cv_lmtp_reply_for(&verdict, client->set->quota_full_tempfail);
		rcpt->reply.text = cv_arena_strdup(client->arena, rcpt->reply.text);
		cv_log(log, rcpt->reply.code < 500 ? CV_LOG_WARN : CV_LOG_INFO, "refused recipient %s from %s, replied %u %s: %s",
			cv_log_clean(rcpt->address), cv_log_clean(client->reverse_path), rcpt->reply.code, rcpt->reply.enhanced,
			verdict.text);
	}
	known(client, rcpt);
}

static enum cv_auth_result take_answer(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt,
	const struct cv_login_user_reply *reply)
{
	if (reply->result != CV_AUTH_OK)
		return reply->result;
	if (reply->ticket.len == 0) {
		cv_error(cv_login_log(client->login), "a look-up came without a ticket");
		return CV_AUTH_TEMP;
	}
	rcpt->ticket = cv_arena_str(client->arena, reply->ticket);
	rcpt->ticket_ms = cv_time_mono_ms();
	return CV_AUTH_OK;
}

void cv_lmtp_user_reply(void *state, const struct cv_login_user_reply *reply)
{
	struct cv_lmtp_client *client = state;
	struct cv_lmtp_rcpt *rcpt = cv_lmtp_rcpt_by_id(client, reply->id);

	if (rcpt == NULL || client->state == CV_LMTP_CLOSED)
		return;
	switch (rcpt->state) {
	case CV_LMTP_RCPT_LOOKUP:
		if (reply->result == CV_AUTH_NOUSER && is_postmaster(client, rcpt) &&
			cv_str_c(client->set->postmaster_address).len > 0) {
			/* RFC 5321 section 4.5.1: mail for the postmaster is always taken. */
			rcpt->state = CV_LMTP_RCPT_POSTMASTER;
			rcpt->user = cv_str_c(client->set->postmaster_address);
			cv_login_user_lookup(client->login, reply->id, rcpt->user);
			break;
		}
		CV_FALLTHROUGH;
	case CV_LMTP_RCPT_POSTMASTER:
		rcpt->result = take_answer(client, rcpt, reply);
		if (rcpt->result == CV_AUTH_OK && cv_login_worker_hook(client->login, "recipient"))
			ask(client, rcpt);
		else
			known(client, rcpt);
		break;
	case CV_LMTP_RCPT_RENEW:
		client->pending--;
		rcpt->result = take_answer(client, rcpt, reply);
		cv_lmtp_deliver_renewed(client, rcpt);
		break;
	case CV_LMTP_RCPT_ASK:
	case CV_LMTP_RCPT_KNOWN:
	case CV_LMTP_RCPT_ACCEPTED:
	case CV_LMTP_RCPT_REFUSED:
	case CV_LMTP_RCPT_JOB:
	case CV_LMTP_RCPT_DONE:
		break;
	}
}
