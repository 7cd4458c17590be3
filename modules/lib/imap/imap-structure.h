/* SPDX-License-Identifier: MIT
   ENVELOPE, BODY and BODYSTRUCTURE from what was parsed of a message (RFC 3501 section 7.4.2). */
#ifndef CV_IMAP_STRUCTURE_H
#define CV_IMAP_STRUCTURE_H

#include <culver/message.h>

/* Append an envelope. Where Sender or Reply-To have no address, From is put there. */
void cv_imap_append_envelope(struct cv_buf *out, const struct cv_envelope *envelope);
/* Append a body: BODYSTRUCTURE when extended, else BODY. */
void cv_imap_append_body(struct cv_buf *out, const struct cv_mime_part *root, bool extended);

#endif
