/* SPDX-License-Identifier: MIT
   Address lists (RFC 5322 section 3.4, obsolete forms too) and the envelope of a message. */
#ifndef CV_ADDRESS_H
#define CV_ADDRESS_H

#include <culver/arena.h>
#include <culver/buf.h>

enum cv_address_kind {
	CV_ADDRESS_MAILBOX = 0,
	CV_ADDRESS_GROUP_START = 1, /* mailbox is the group's name; all else absent */
	CV_ADDRESS_GROUP_END = 2    /* all absent */
};

/* Strings are unquoted and without comments and folds, but not decoded: encoded words (RFC 2047) and UTF-8
   are as written; cv_header_decode gives what people read. Absent: not there.
   Of a MAILBOX, mailbox and host are never absent, but empty where the text has none (in IMAP a NIL host would
   begin a group). Garbage has a defined answer too: text that is no address becomes the mailbox with an empty
   host ("undisclosed recipients" gives mailbox "undisclosed recipients"); "<>" has both empty. */
struct cv_address {
	enum cv_address_kind kind;
	struct cv_str name;    /* display name, or the comment behind an address without one */
	struct cv_str route;   /* obsolete source route as written: "@a,@b" */
	struct cv_str mailbox; /* local part */
	struct cv_str host;    /* domain or [literal] */
};

/* A list that is empty and one that is not there are told apart by items: NULL when the field is absent.
   Groups are closed, also where the field ends without ";". */
struct cv_address_list {
	struct cv_address *items;
	size_t count;
};

/* Parse the value of an address field. At most max items are kept. Strings and items live in arena (views of
   value are never kept). Cannot fail. */
CV_EXPORT void cv_address_parse(
	struct cv_arena *arena, struct cv_str value, size_t max, struct cv_address_list *list_r);
/* Append "name <mailbox@host>" with quotes where RFC 5322 needs them; the name as it is. */
CV_EXPORT void cv_address_append(struct cv_buf *out, const struct cv_address *address);

/* RFC 3501's envelope. Texts are unfolded, otherwise raw; absent when the message has no such field, empty
   when it is empty. A repeated address field adds to the list; of another repeated field the first counts.
   Nothing is made up: Sender and Reply-To are as in the message (IMAP puts From where they have no items). */
struct cv_envelope {
	struct cv_str date, subject, in_reply_to, message_id;
	struct cv_address_list from, sender, reply_to, to, cc, bcc;
};

#endif
