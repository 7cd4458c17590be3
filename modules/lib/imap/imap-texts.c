/* SPDX-License-Identifier: MIT
   ENVELOPE and BODYSTRUCTURE for the store to keep. */
#include <config.h>

#include "imap-texts.h"

#include "imap-structure.h"

#include <culver/message.h>

/* A record that lacks a part of it for its length is one of a message whose texts are too long as well: they are made of the message when they are asked for. */
static bool make(struct cv_str octets, struct cv_arena *arena, struct cv_buf *texts)
{
	struct cv_parse_record record;
	struct cv_mime_part *root;
	struct cv_err ignored = { 0 };

	if (cv_parse_record_open(octets, &record, &ignored) < 0 || cv_parse_record_tree(&record, arena, &root, &ignored) <= 0)
		return false;
	cv_imap_append_envelope(&texts[0], root->envelope);
	cv_imap_append_body(&texts[1], root, true);
	return true;
}

const struct cv_text_maker cv_imap_texts = {
	.name = "imap",
	.format = CV_IMAP_TEXTS_FORMAT,
	.count = 2,
	.memos = { CV_MEMO_ENVELOPE, CV_MEMO_BODYSTRUCTURE },
	.make = make,
};
