/* SPDX-License-Identifier: MIT
   Header data of one message after another, for sort and thread keys: from the parse record, and from the octets only where that leaves something out. */
#ifndef CV_IMAP_MESSAGE_H
#define CV_IMAP_MESSAGE_H

#include <culver/mailbox.h>

/* { 0 } to begin; cv_imap_message_deinit at the end. One message is open at a time. */
struct cv_imap_message {
	struct cv_arena *arena;
	struct cv_mail *mail;
	struct cv_parse_record record;
	struct cv_str header;         /* absent: not looked at */
	struct cv_buf buf;            /* for header */
	struct cv_envelope *envelope; /* the same */
};
/* -1 with err, CV_ERR_EXPUNGED when the message is gone. To be closed in any case. */
CV_MUST_CHECK int cv_imap_message_open(struct cv_imap_message *message, struct cv_view *view, uint32_t seq, struct cv_err *err);
void cv_imap_message_close(struct cv_imap_message *message);
void cv_imap_message_deinit(struct cv_imap_message *message);
/* The same for one that may be open already. */
CV_MUST_CHECK int cv_imap_message_need(struct cv_imap_message *message, struct cv_view *view, uint32_t seq, struct cv_err *err);
/* Valid until close. */
CV_MUST_CHECK int cv_imap_message_envelope(struct cv_imap_message *message, const struct cv_envelope **envelope_r, struct cv_err *err);
/* Append the raw, unfolded value of the first field with this name. 1; 0 when there is none; -1. */
CV_MUST_CHECK int cv_imap_message_field(struct cv_imap_message *message, const char *name, struct cv_buf *out, struct cv_err *err);
/* Sent date (RFC 5256 section 2.2): seconds since 1970, UTC. The internal date stands in. The message is opened where the date is not known already. */
CV_MUST_CHECK int cv_imap_message_sent(struct cv_imap_message *message, struct cv_view *view, uint32_t seq, int64_t *sent_r,
	struct cv_err *err);

#endif
