/* SPDX-License-Identifier: MIT
   LMTP: what the dialogue in front and the delivery in the worker share: the job, and the replies for errors. */
#ifndef CV_LMTP_H
#define CV_LMTP_H

#include <culver/buf.h>
#include <culver/err.h>

/* One delivery: what goes with the message's octets to the recipient's worker. Views. */
struct cv_lmtp_job {
	struct cv_str reverse_path; /* without <>; empty for the null path */
	struct cv_str recipient;    /* address as given in RCPT, without <> */
	struct cv_str detail;       /* behind recipient_delimiter; absent when none */
	struct cv_str header;       /* fields to put in front of the message, LF line ends */
};
/* Octets of header at most; a job is far below 32 KiB. */
#define CV_LMTP_HEADER_MAX 8192

void cv_lmtp_job_put(const struct cv_lmtp_job *job, struct cv_buf *out);
/* Views point into data. False when data does not check. */
CV_MUST_CHECK bool cv_lmtp_job_take(struct cv_str data, struct cv_lmtp_job *job_r);

/* An SMTP reply (RFC 5321 section 4.2) with its enhanced status code (RFC 3463). */
struct cv_lmtp_reply {
	unsigned code;
	const char *enhanced;
	const char *text;
};
/* The reply for a recipient whose delivery failed: the one table of error codes. Permanent only when the error's text is for clients, that is, when a rule
   refused the message: mail is never bounced for a broken installation or a full disk. text points into err or is a literal. */
struct cv_lmtp_reply cv_lmtp_reply_for(const struct cv_err *err);

#endif
