/* SPDX-License-Identifier: MIT
   The texts about a message that the store keeps for FETCH (culver/texts.h): ENVELOPE and BODYSTRUCTURE, as they are sent. */
#ifndef CV_IMAP_TEXTS_H
#define CV_IMAP_TEXTS_H

#include <culver/texts.h>

/* What the texts are. Another number whenever cv_imap_append_envelope or cv_imap_append_body write another octet for any message: those that are in files are not used
   then. (t/modules/imap/test-imap-texts.c has what they write.) */
#define CV_IMAP_TEXTS_FORMAT 0x494d0001u

/* memos: CV_MEMO_ENVELOPE, CV_MEMO_BODYSTRUCTURE. */
extern const struct cv_text_maker cv_imap_texts;

#endif
