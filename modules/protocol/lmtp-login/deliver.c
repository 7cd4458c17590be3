/* SPDX-License-Identifier: MIT
   LMTP in front: one delivery job for each recipient, one reply for each in order (RFC 2033 section 4.2). */
#include <config.h>

#include "modules/protocol/lmtp-login/lmtp-login.h"

#include <culver/time.h>

static void append_date(struct cv_buf *out, int64_t sec)
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int zone = cv_time_local_offset_min(sec), abs_zone = zone < 0 ? -zone : zone;
	struct cv_civil t = cv_time_to_civil(sec + (int64_t)zone * 60);

	cv_buf_printf(out, "%.3s, %02d %.3s %04d %02d:%02d:%02d %c%02d%02d", days + 3 * t.weekday, t.day,
		months + 3 * (t.month - 1), t.year, t.hour, t.minute, t.second, zone < 0 ? '-' : '+', abs_zone / 60,
		abs_zone % 60);
}

/* Trace fields (RFC 5321 section 4.4), as MTAs and MUAs know them from other LMTP servers. Line ends are LF, as in the message. */
static void append_header(const struct cv_lmtp_client *client, const struct cv_lmtp_rcpt *rcpt, struct cv_buf *out)
{
	struct cv_str remote = cv_login_remote(client->login);

	cv_buf_printf(out, "Return-Path: <%.*s>\n", CV_STR_ARG(client->reverse_path));
	if (client->set->lmtp_hdr_delivery_address != CV_LMTP_ADDRESS_NONE)
		cv_buf_printf(out, "Delivered-To: %.*s\n", CV_STR_ARG(rcpt->address));
	if (!client->set->lmtp_add_received_header)
		return;
	cv_buf_printf(out, "Received: from %.*s", CV_STR_ARG(cv_buf_str(&client->lhlo)));
	if (remote.len > 0)
		cv_buf_printf(out, " (%s%.*s%s)", cv_str_find(remote, ':') != SIZE_MAX ? "[IPv6:" : "[", CV_STR_ARG(remote), "]");
	cv_buf_printf(out, "\n\tby %.*s with LMTP%s\n\tid %.*s\n\t(envelope-from <%.*s>)\n\tfor <%.*s>; ",
		CV_STR_ARG(client->hostname), cv_login_tls_active(client->login) ? "S" : "",
		CV_STR_ARG(cv_login_session_id(client->login)), CV_STR_ARG(client->reverse_path), CV_STR_ARG(rcpt->address));
	append_date(out, cv_time_now_sec());
	cv_buf_append_char(out, '\n');
}

static void fail(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt, const struct cv_err *err)
{
	rcpt->state = CV_LMTP_RCPT_DONE;
	rcpt->reply = cv_lmtp_reply_for(err, client->set->quota_full_tempfail);
	rcpt->reply.text = cv_arena_strdup(client->arena, rcpt->reply.text);
	cv_log(cv_login_log(client->login), rcpt->reply.code < 500 ? CV_LOG_WARN : CV_LOG_INFO,
		"delivery to %s from %s failed, replied %u %s: %s", cv_log_clean(rcpt->address),
		cv_log_clean(client->reverse_path), rcpt->reply.code, rcpt->reply.enhanced, err->text);
}

static void job_start(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt)
{
	struct cv_buf header, payload;
	struct cv_lmtp_job job;

	cv_buf_init(&header, CV_LMTP_HEADER_MAX);
	append_header(client, rcpt, &header);
	job = (struct cv_lmtp_job){ .kind = CV_LMTP_JOB_DELIVER, .reverse_path = client->reverse_path, .recipient = rcpt->address,
		.detail = rcpt->detail, .header = cv_buf_str(&header) };
	if (client->spool.fd < 0)
		job.octets = client->spool.buf.len > 0 ? cv_buf_str(&client->spool.buf) : CV_STR("");
	cv_buf_init(&payload, 32768);
	cv_lmtp_job_put(&job, &payload);
	/* Lines are bounded, and with them all parts. */
	cv_assert(cv_buf_ok(&header) && cv_buf_ok(&payload));
	rcpt->state = CV_LMTP_RCPT_JOB;
	client->pending++;
	cv_login_job(client->login, cv_lmtp_rcpt_id(client, rcpt), rcpt->ticket,
		cv_buf_str(&payload), client->spool.fd);
	cv_buf_deinit(&payload);
	cv_buf_deinit(&header);
}

static void begin(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt)
{
	if (client->spool.err.code != CV_ERR_NONE) {
		fail(client, rcpt, &client->spool.err);
	} else if (cv_time_mono_ms() - rcpt->ticket_ms > CV_LMTP_TICKET_MS) {
		rcpt->state = CV_LMTP_RCPT_RENEW;
		client->pending++;
		cv_login_user_lookup(client->login, cv_lmtp_rcpt_id(client, rcpt), rcpt->user);
	} else {
		job_start(client, rcpt);
	}
}

void cv_lmtp_deliver_renewed(struct cv_lmtp_client *client, struct cv_lmtp_rcpt *rcpt)
{
	struct cv_err err = { 0 };

	if (rcpt->result == CV_AUTH_OK) {
		job_start(client, rcpt);
		return;
	}
	/* It was there a moment ago: let the MTA ask again. */
	cv_err_set(&err, CV_ERR_TEMP, "the user could not be looked up a second time");
	fail(client, rcpt, &err);
	cv_lmtp_deliver_more(client);
}

static void send_reply(struct cv_lmtp_client *client, const struct cv_lmtp_rcpt *rcpt)
{
	if (rcpt->reply.code == 0)
		cv_lmtp_reply(client, 250, "2.0.0", "<%.*s> %.*s Saved", CV_STR_ARG(rcpt->address),
			CV_STR_ARG(cv_login_session_id(client->login)));
	else
		cv_lmtp_reply(client, rcpt->reply.code, rcpt->reply.enhanced, "<%.*s> %s", CV_STR_ARG(rcpt->address),
			rcpt->reply.text);
}

static void send_replies(struct cv_lmtp_client *client)
{
	while (client->replied < client->rcpts.count && cv_stream_room(client->stream) > 0) {
		const struct cv_lmtp_rcpt *rcpt = &client->rcpts.data[client->replied];

		if (rcpt->state == CV_LMTP_RCPT_DONE)
			send_reply(client, rcpt);
		else if (rcpt->state != CV_LMTP_RCPT_REFUSED)
			break;
		client->replied++;
	}
}

void cv_lmtp_deliver_more(struct cv_lmtp_client *client)
{
	while (client->started < client->rcpts.count && client->pending < CV_LMTP_JOBS_MAX) {
		struct cv_lmtp_rcpt *rcpt = &client->rcpts.data[client->started++];

		if (rcpt->state == CV_LMTP_RCPT_ACCEPTED)
			begin(client, rcpt);
	}
	send_replies(client);
	if (client->replied < client->rcpts.count)
		return;
	cv_lmtp_reset(client);
	cv_lmtp_set_state(client, CV_LMTP_COMMAND);
	cv_stream_want_input(client->stream);
}

void cv_lmtp_deliver(struct cv_lmtp_client *client)
{
	cv_lmtp_set_state(client, CV_LMTP_DELIVER);
	/* On failure the error stays in the spool, for each recipient. */
	if (cv_lmtp_spool_seal(&client->spool) < 0)
		cv_debug(cv_login_log(client->login), "message not taken: %s", client->spool.err.text);
	client->replied = client->started = 0;
	cv_lmtp_deliver_more(client);
}

void cv_lmtp_job_reply(void *state, const struct cv_login_job_reply *reply)
{
	struct cv_lmtp_client *client = state;
	struct cv_lmtp_rcpt *rcpt = cv_lmtp_rcpt_by_id(client, reply->id);

	if (rcpt == NULL || client->state == CV_LMTP_CLOSED)
		return;
	if (rcpt->state == CV_LMTP_RCPT_ASK) {
		cv_lmtp_rcpt_answered(client, rcpt, reply);
		return;
	}
	if (rcpt->state != CV_LMTP_RCPT_JOB)
		return;
	client->pending--;
	if (reply->err.code == CV_ERR_NONE)
		rcpt->state = CV_LMTP_RCPT_DONE;
	else
		fail(client, rcpt, &reply->err);
	cv_lmtp_deliver_more(client);
}
