/* SPDX-License-Identifier: MIT
   THREADID (RFC 8474 section 5.2), as a fact of the message alone: it cannot change, and nothing has to be kept for it. */
#ifndef CV_IMAP_THREADID_H
#define CV_IMAP_THREADID_H

#include <culver/mailsearch.h>

struct cv_imap_threadid {
	uint8_t octets[16];
};

/* The thread of a message: which message began it, by the first valid message-id of References, else of In-Reply-To, else of Message-ID. A message without any
   is a thread of its own, which goes along when it is copied. 1; 0: the record does not keep those fields, there is no reader, and the header is needed; -1. */
CV_MUST_CHECK int cv_imap_threadid_get(struct cv_mailsearch_message *message, struct cv_imap_threadid *id_r, struct cv_err *err);

/* objectid, one way to write each. */
void cv_imap_append_threadid(struct cv_buf *out, const struct cv_imap_threadid *id);
/* False: none of ours. */
bool cv_imap_threadid_parse(struct cv_str text, struct cv_imap_threadid *id_r);

#endif
