/* SPDX-License-Identifier: MIT
   Texts about a message that clients ask for again and again (of IMAP: ENVELOPE and BODYSTRUCTURE). A module makes them of the message's parse record; the store
   keeps them beside that record in the mailbox's cache file, so that who asks first has them as they are sent. They are made off the path of a reply, when the
   parse record goes from the journal to that file.

   Nothing else than the parse record goes into a text: no setting, no session, no time. Where nothing makes texts none are kept, and nothing is asked. */
#ifndef CV_TEXTS_H
#define CV_TEXTS_H

#include <culver/arena.h>
#include <culver/mailbox.h>

/* Texts that are made of one message. */
#define CV_TEXTS_MAX 4u
/* Octets of one; longer ones are not kept. */
#define CV_TEXT_MAX ((size_t)16 << 10)

struct cv_text_maker {
	const char *name; /* of the provider: lower-case letters, digits, dash */
	/* What the texts are, and of which version. It stands before them in the file: where the module's is another one they are not used. So it changes
	   whenever make would write another octet for any message. */
	uint32_t format;
	unsigned count;   /* texts that it makes; and each one's name in memory: */
	enum cv_memo memos[CV_TEXTS_MAX];
	/* Append the texts of a message to texts[0] .. texts[count - 1], which are empty and have the maximum CV_TEXT_MAX: one that is over it, or stays empty, is
	   not kept. record is believed nothing. What is needed meanwhile in arena. False when nothing can be made of it. */
	bool (*make)(struct cv_str record, struct cv_arena *arena, struct cv_buf *texts);
};

/* One module of a server makes texts. */
static inline int cv_provide_text_maker(struct cv_registry *reg, const struct cv_text_maker *maker, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_TEXTS, maker->name, maker, sizeof(*maker), err);
}

#endif
