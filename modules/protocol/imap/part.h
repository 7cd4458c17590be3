/* SPDX-License-Identifier: MIT
   What an IMAP URL of this account stands for, as a stream of octets (CATENATE, URLFETCH). Private to the module. */
#ifndef CV_IMAP_PART_H
#define CV_IMAP_PART_H

#include "imap-session.h"

#include "modules/lib/imap/imap-url.h"

struct imap_part;

/* The base of references (RFC 4469 section 3): the selected mailbox, encoded; absent: none is selected. In the command's arena. */
struct cv_str imap_part_base(struct cv_imap_cmd *cmd);
enum imap_part_opt {
	IMAP_PART_BINARY = 1,   /* without its content transfer encoding, as BINARY.PEEK gives it */
	IMAP_PART_STRUCTURE = 2 /* imap_part_append_structure is wanted */
};

/* Open the message and find the section: the octets that "UID FETCH <uid> BODY.PEEK[<section>]<range>" gives, and \Seen is not set. url names a message; opts:
   enum imap_part_opt. 1, the caller closes it; 0 with a public err when the message has no such section; -1 when there is no such mailbox or
   message, or another one was meant (UIDVALIDITY), with a public err, or it can't be opened. */
CV_MUST_CHECK int imap_part_open(struct cv_user *user, const struct cv_imap_url *url, unsigned opts, struct imap_part **part_r, struct cv_err *err);
/* IMAP_PART_BINARY, and its encoding is not known: there is nothing to read. */
bool imap_part_unknown(const struct imap_part *part);
/* *octets_r: 1 to max octets, valid until the next call; with IMAP_PART_BINARY perhaps none yet. 1; 0 at the end; -1 with err. */
CV_MUST_CHECK int imap_part_read(struct imap_part *part, size_t max, struct cv_str *octets_r, struct cv_err *err);
/* Read it once more from its beginning. -1 with err. */
CV_MUST_CHECK int imap_part_rewind(struct imap_part *part, struct cv_err *err);
/* Octets of the whole. With IMAP_PART_BINARY, this and what follows: once all was read. */
uint64_t imap_part_size(const struct imap_part *part);
/* There was a NUL among them. */
bool imap_part_nul(const struct imap_part *part);
/* Octets of a body structure, at most: of who makes it, and of who takes it from another worker. */
#define IMAP_PART_STRUCTURE_MAX ((size_t)64 * 1024 * 1024)
/* With IMAP_PART_STRUCTURE: append the part's body structure, as its octets are that were read (RFC 5524 section 3.2). False: the section is no body part. */
bool imap_part_append_structure(const struct imap_part *part, struct cv_buf *out);
/* *part may be NULL. */
void imap_part_close(struct imap_part **part);

#endif
