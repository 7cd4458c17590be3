/* SPDX-License-Identifier: MIT
   Rights as letters (RFC 4314 section 2.1). */
#ifndef CV_IMAP_RIGHTS_H
#define CV_IMAP_RIGHTS_H

#include <culver/mailbox.h>

/* Letters to rights (enum cv_right). The obsolete "c" is "k" and "x", "d" is "t" and "e" (section 2.1.1). -1 with a public err for any other letter. */
CV_MUST_CHECK int cv_imap_rights_parse(struct cv_str letters, unsigned *rights_r, struct cv_err *err);
/* The letters, with "c" and "d" when one that they stand for is there. */
void cv_imap_rights_append(struct cv_buf *out, unsigned rights);
/* The letter of a right, by its number from 0; 0 at the end. *right_r: the bit. */
char cv_imap_right_letter(unsigned number, unsigned *right_r);

#endif
