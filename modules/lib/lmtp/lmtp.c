/* SPDX-License-Identifier: MIT
   LMTP: the delivery job, and the replies for errors. */
#include <config.h>

#include "modules/lib/lmtp/lmtp.h"

#include <culver/reader.h>

#define JOB_VERSION 3
#define PATH_MAX_OCTETS 2048

void cv_lmtp_job_put(const struct cv_lmtp_job *job, struct cv_buf *out)
{
	cv_put_u8(out, JOB_VERSION);
	cv_put_u8(out, (uint8_t)job->kind);
	cv_put_str(out, job->reverse_path);
	cv_put_str(out, job->recipient);
	cv_put_str(out, job->detail);
	cv_put_str(out, job->header);
	cv_put_str(out, job->octets);
	cv_put_u64(out, job->size);
}

bool cv_lmtp_job_take(struct cv_str data, struct cv_lmtp_job *job_r)
{
	struct cv_reader r = cv_reader_init(data);
	struct cv_lmtp_job job;
	uint8_t version, kind;

	if (!cv_take_u8(&r, &version) || version != JOB_VERSION || !cv_take_u8(&r, &kind) ||
		(kind != CV_LMTP_JOB_DELIVER && kind != CV_LMTP_JOB_RECIPIENT) || !cv_take_str(&r, PATH_MAX_OCTETS, &job.reverse_path) ||
		!cv_take_str(&r, PATH_MAX_OCTETS, &job.recipient) || !cv_take_str(&r, PATH_MAX_OCTETS, &job.detail) ||
		!cv_take_str(&r, CV_LMTP_HEADER_MAX, &job.header) || !cv_take_str(&r, CV_LMTP_OCTETS_MAX, &job.octets) ||
		!cv_take_u64(&r, &job.size) || !cv_reader_end(&r))
		return false;
	job.kind = (enum cv_lmtp_job_kind)kind;
	*job_r = job;
	return true;
}

void cv_lmtp_verdict_put(const struct cv_err *verdict, struct cv_buf *out)
{
	cv_put_u8(out, (uint8_t)verdict->code);
	cv_put_u8(out, verdict->public_text);
	cv_put_str(out, cv_str_c(verdict->text));
}

bool cv_lmtp_verdict_take(struct cv_str data, struct cv_err *verdict_r)
{
	struct cv_reader r = cv_reader_init(data);
	uint8_t code, is_public;
	struct cv_str text;

	*verdict_r = (struct cv_err){ 0 };
	if (!cv_take_u8(&r, &code) || code > CV_ERR_LAST || !cv_take_u8(&r, &is_public) || is_public > 1 ||
		!cv_take_str(&r, CV_ERR_TEXT_MAX, &text) || !cv_reader_end(&r))
		return false;
	if (code == CV_ERR_NONE)
		return true;
	(void)cv_err_set(verdict_r, (enum cv_err_code)code, "%.*s", CV_STR_ARG(text));
	verdict_r->public_text = is_public != 0;
	return true;
}

/* Rows: the permanent reply where a rule refused, and the temporary one otherwise. code 0: there is no permanent one. */
static const struct {
	struct cv_lmtp_reply perm, temp;
} replies[] = {
	[CV_ERR_NONE] = { { 0, NULL, NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_TEMP] = { { 0, NULL, NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_UNAVAILABLE] = { { 0, NULL, NULL }, { 451, "4.3.2", NULL } },
	[CV_ERR_PERM] = { { 550, "5.7.1", NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_NOTFOUND] = { { 550, "5.1.1", NULL }, { 451, "4.2.0", NULL } },
	[CV_ERR_EXISTS] = { { 0, NULL, NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_NOQUOTA] = { { 552, "5.2.2", NULL }, { 452, "4.2.2", NULL } },
	[CV_ERR_LIMIT] = { { 552, "5.2.3", NULL }, { 452, "4.3.1", NULL } },
	[CV_ERR_INUSE] = { { 0, NULL, NULL }, { 451, "4.2.0", NULL } },
	[CV_ERR_INVALID] = { { 554, "5.6.0", NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_EXPUNGED] = { { 0, NULL, NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_CORRUPT] = { { 0, NULL, NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_UNSUPPORTED] = { { 554, "5.6.1", NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_AUTH] = { { 550, "5.7.1", NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_INTERNAL] = { { 0, NULL, NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_EXPIRED] = { { 550, "5.7.1", NULL }, { 451, "4.3.0", NULL } },
	[CV_ERR_AUTHZ] = { { 550, "5.7.1", NULL }, { 451, "4.3.0", NULL } },
};

struct cv_lmtp_reply cv_lmtp_reply_for(const struct cv_err *err, bool quota_tempfail)
{
	enum cv_err_code code = (size_t)err->code < CV_COUNT_OF(replies) ? err->code : CV_ERR_INTERNAL;
	struct cv_lmtp_reply reply = replies[code].temp;

	if (err->public_text && replies[code].perm.code != 0 && !(quota_tempfail && code == CV_ERR_NOQUOTA))
		reply = replies[code].perm;
	/* A generic phrase such as "Permission denied" would contradict a temporary code. */
	if (err->public_text)
		reply.text = err->text;
	else if (cv_err_is_temp(err))
		reply.text = cv_err_public(err);
	else
		reply.text = "Temporary failure, try again later";
	return reply;
}
