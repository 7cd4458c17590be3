/* SPDX-License-Identifier: MIT
   LMTP: what the dialogue in front and the delivery in the worker share: the job, and the replies for errors. */
#ifndef CV_LMTP_H
#define CV_LMTP_H

#include <culver/buf.h>
#include <culver/err.h>

/* What goes to the recipient's worker. Views. */
struct cv_lmtp_job {
	enum cv_lmtp_job_kind {
		CV_LMTP_JOB_DELIVER = 1, /* a delivery, with the message's octets; done when the job's reply has no error */
		CV_LMTP_JOB_RECIPIENT    /* a question at RCPT: may it come? The reply's data is a verdict; an error is no answer */
	} kind;
	struct cv_str reverse_path; /* without <>; empty for the null path */
	struct cv_str recipient;    /* address as given in RCPT, without <> */
	struct cv_str detail;       /* behind recipient_delimiter; absent when none */
	struct cv_str header;       /* fields to put in front of the message, LF line ends */
	struct cv_str octets;       /* of DELIVER: the message, when it is short; absent: they are in the job's memfd */
	uint64_t size;              /* of RECIPIENT: octets that MAIL announced; 0: none */
};
/* Octets of header, and of a message that is short, at most; a job stays below 32 KiB. */
#define CV_LMTP_HEADER_MAX 8192
#define CV_LMTP_OCTETS_MAX 16384

void cv_lmtp_job_put(const struct cv_lmtp_job *job, struct cv_buf *out);
/* Views point into data. False when data does not check. */
CV_MUST_CHECK bool cv_lmtp_job_take(struct cv_str data, struct cv_lmtp_job *job_r);

/* The answer to RECIPIENT: code NONE: it may come. */
void cv_lmtp_verdict_put(const struct cv_err *verdict, struct cv_buf *out);
CV_MUST_CHECK bool cv_lmtp_verdict_take(struct cv_str data, struct cv_err *verdict_r);

/* An SMTP reply (RFC 5321 section 4.2) with its enhanced status code (RFC 3463). */
struct cv_lmtp_reply {
	unsigned code;
	const char *enhanced;
	const char *text;
};
/* The reply for a recipient whose delivery failed: the one table of error codes. Permanent only when the error's text is for clients, that is, when a rule
   refused the message: mail is never bounced for a broken installation or a full disk. text points into err or is a literal. quota_tempfail: a user
   over quota is no permanent reason. */
struct cv_lmtp_reply cv_lmtp_reply_for(const struct cv_err *err, bool quota_tempfail);

#endif
