/* SPDX-License-Identifier: MIT
   LMTP in the recipient's worker: the question at RCPT, the delivery job, and the module. The dialogue is lmtp-login's, in front. */
#include <config.h>

#include "modules/lib/lmtp/lmtp.h"

#include <culver/hooks.h>
#include <culver/mailbox.h>
#include <culver/protocol.h>

struct lmtp_settings {
	bool lmtp_save_to_detail_mailbox;
};

static const struct cv_setting rows[] = {
	CV_SETTING_BOOL(lmtp_settings, lmtp_save_to_detail_mailbox, "no",
		"Deliver user+detail into the mailbox named by the detail, when there is one (lda_mailbox_autocreate makes it)."),
};

static const struct cv_settings_table table = CV_SETTINGS_TABLE(NULL, "LMTP delivery", lmtp_settings, rows, NULL);

/* Lives in the job's arena until the reply. */
struct delivering {
	struct cv_job *job;
	struct cv_delivery delivery;
};

/* The message's id, for the log. */
static struct cv_str message_id(struct cv_str message)
{
	struct cv_header_field field;
	struct cv_str header = cv_str_sub(message, 0, cv_header_size(message));

	if (!cv_header_find(header, CV_STR("Message-ID"), 0, &field))
		return CV_STR("unspecified");
	return cv_str_trim(field.value);
}

static void done(void *ctx, int result, const struct cv_err *err)
{
	struct delivering *d = ctx;
	struct cv_err failed = { 0 };

	if (result < 0) {
		/* Logged by front, with the recipient and the reply. */
		if (err != NULL)
			failed = *err;
		else
			cv_err_set(&failed, CV_ERR_TEMP, "committing the delivery failed");
		cv_job_reply(d->job, &failed, CV_STR(""));
		return;
	}
	if (d->delivery.uid != 0)
		cv_info(cv_job_log(d->job), "msgid=%s: saved mail to %s", cv_log_clean(message_id(d->delivery.octets)),
			cv_log_clean(d->delivery.mailbox));
	else
		cv_info(cv_job_log(d->job), "msgid=%s: mail was handled by a filter",
			cv_log_clean(message_id(d->delivery.octets)));
	cv_job_reply(d->job, NULL, CV_STR(""));
}

static struct cv_str session_of(struct cv_job *job)
{
	const struct cv_log_ctx *log = cv_job_log(job);

	return log != NULL ? log->session : (struct cv_str){ NULL, 0 };
}

static struct cv_str target_of(struct cv_job *job, const struct cv_lmtp_job *what)
{
	const struct lmtp_settings *set = cv_job_conf(job, &table);

	return set->lmtp_save_to_detail_mailbox && what->detail.len > 0 ? what->detail : CV_STR("INBOX");
}

static void answer_recipient(struct cv_job *job, const struct cv_lmtp_job *what)
{
	const struct cv_recipient recipient = { .address = what->recipient, .detail = what->detail, .reverse_path = what->reverse_path,
		.session = session_of(job), .mailbox = target_of(job, what), .size = what->size };
	struct cv_user *user = cv_job_user(job);
	struct cv_hook_recipient args = { .user = user, .recipient = &recipient };
	struct cv_err verdict = { 0 };
	struct cv_buf data;

	if (cv_hook_run_recipient(cv_user_registry(user), &args, &verdict) == CV_HOOK_PASS)
		verdict = (struct cv_err){ 0 };
	cv_buf_init(&data, 4096);
	cv_lmtp_verdict_put(&verdict, &data);
	cv_job_reply(job, NULL, cv_buf_str(&data));
	cv_buf_deinit(&data);
}

static int job(struct cv_job *job, struct cv_err *err)
{
	struct delivering *d = cv_new(cv_job_arena(job), struct delivering, 1);
	struct cv_lmtp_job what;

	if (!cv_lmtp_job_take(cv_job_payload(job), &what))
		return cv_err_set(err, CV_ERR_INTERNAL, "the delivery job from front does not check");
	if (what.kind == CV_LMTP_JOB_RECIPIENT) {
		answer_recipient(job, &what);
		return 0;
	}
	if (what.octets.ptr == NULL)
		what.octets = cv_job_octets(job);
	if (what.octets.ptr == NULL)
		return cv_err_set(err, CV_ERR_INTERNAL, "the delivery job from front has no message");
	d->job = job;
	d->delivery = (struct cv_delivery){
		.octets = what.octets,
		.header = what.header,
		.reverse_path = what.reverse_path,
		.recipient = what.recipient,
		.detail = what.detail,
		.session = session_of(job),
		.mailbox = target_of(job, &what),
	};
	return cv_deliver(cv_job_user(job), &d->delivery, done, d, err) < 0 ? -1 : 0;
}

static const struct cv_session_protocol protocol = {
	.name = "lmtp",
	.job = job,
};

static int load(struct cv_registry *reg, CV_UNUSED enum cv_role role, struct cv_err *err)
{
	return cv_provide_session(reg, &protocol, err);
}

static const struct cv_settings_table *const tables[] = { &table, NULL };

CV_MODULE(lmtp) = {
	CV_MODULE_ABI,
	.name = "lmtp",
	.version = PACKAGE_VERSION,
	.kind = CV_KIND_PROTOCOL,
	.roles = CV_ROLE_WORKER,
	.settings = tables,
	.load = load,
};
