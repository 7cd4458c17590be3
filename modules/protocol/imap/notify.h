/* SPDX-License-Identifier: MIT
   NOTIFY (RFC 5465): what the client wants to be told of the selected mailbox and of others, and what it was not told yet. Private to the module. */
#ifndef CV_IMAP_NOTIFY_H
#define CV_IMAP_NOTIFY_H

#include "imap-session.h"

#include "modules/lib/imap/imap-fetch.h"

/* Events as bits. */
enum imap_notify_event {
	IMAP_NOTIFY_NEW = 1,
	IMAP_NOTIFY_EXPUNGE = 2,
	IMAP_NOTIFY_FLAGS = 4,
	IMAP_NOTIFY_NAME = 8,
	IMAP_NOTIFY_SUBSCRIPTION = 16,
	IMAP_NOTIFY_MAILBOX_METADATA = 32,
	IMAP_NOTIFY_SERVER_METADATA = 64,
	IMAP_NOTIFY_METADATA = 96,
	IMAP_NOTIFY_ANNOTATIONS = 128,
	IMAP_NOTIFY_MESSAGES = 135 /* message-event */
};

/* One event-group for mailboxes that are not selected. */
struct imap_notify_group {
	enum imap_notify_filter {
		IMAP_NOTIFY_PERSONAL = 1, /* and "inboxes": RFC 5465 section 6.3 */
		IMAP_NOTIFY_SUBSCRIBED,
		IMAP_NOTIFY_SUBTREE,
		IMAP_NOTIFY_MAILBOXES
	} filter;
	struct cv_map *names; /* SUBTREE, MAILBOXES: the group itself under each name */
	unsigned events;      /* enum imap_notify_event */
};

/* Something that is to be told of a name. */
struct imap_note {
	char *name;        /* owned; NULL: there is nothing to tell any more */
	char *old_name;    /* owned; RENAME: what it was before, else NULL */
	bool list;         /* LIST response */
	unsigned messages; /* STATUS response for these events of IMAP_NOTIFY_MESSAGES */
	bool rights;       /* rights may have changed: LIST response if it is seen now and was not, or the other way */
	bool tell_rights;  /* not by this client */
};

/* Notes that wait for a client that does not read; more are an overflow (RFC 5465 section 5.8). */
#define IMAP_NOTES_MAX 2000u

struct imap_notify {
	struct imap_session *s;
	struct cv_arena *arena;
	/* The selected mailbox, whichever it is. */
	enum imap_notify_selected {
		IMAP_NOTIFY_NOTHING = 0, /* no message-events at all */
		IMAP_NOTIFY_AT_ONCE,     /* SELECTED */
		IMAP_NOTIFY_DELAYED      /* SELECTED-DELAYED: EXPUNGE only where RFC 3501 allows it */
	} selected;
	bool flags, annotations;
	bool fetch; /* what of new messages */
	struct cv_imap_fetch what;
	/* All others. */
	CV_VEC(struct imap_notify_group) groups;
	struct cv_mail_watch watch;
	struct cv_annotation_watch *rights_watch;
	struct cv_map *hidden; /* names of mailboxes that the client may not see, of those that groups mean */
	unsigned metadata; /* those of IMAP_NOTIFY_METADATA that any group has */
	CV_VEC(struct imap_note) notes;
	size_t notes_done;
	struct cv_map *note_by_name; /* index + 1 in notes: later events of the name go to the same note */
	bool due;      /* there may be something to tell */
	bool pushed;   /* of the selected mailbox, since what follows it was told */
	bool overflow; /* it is too much */
};

/* New settings, empty; they become the session's with start, which ends those before. */
struct imap_notify *imap_notify_new(struct imap_session *s);
void imap_notify_free(struct imap_notify **notify);
void imap_notify_start(struct imap_session *s, struct imap_notify **notify);
/* What the groups want to know of a mailbox with this name. */
unsigned imap_notify_events(const struct imap_notify *notify, struct cv_str name, bool subscribed);
/* The client may not see the mailbox of that name, or may. */
void imap_notify_hide(struct imap_notify *notify, struct cv_str name, bool hidden);
/* The selected mailbox may have changed: pushes begin or end. */
void imap_notify_attach(struct imap_session *s);
/* An annotation changed; many: the client does not read, and it is too much. */
void imap_notify_metadata(struct imap_session *s, bool many);
/* Something is to be told. */
bool imap_notify_due(const struct imap_session *s);
/* Write notes while there is room. False: more room or time is needed, and a step is asked for. */
bool imap_notify_write(struct imap_session *s);
/* Between commands: all that is due, of the selected mailbox and of others. False as above. */
bool imap_notify_push(struct imap_session *s);
/* A mailbox is no longer selected, and messages changed in it that the client was not told of. */
void imap_notify_left(struct imap_session *s, struct cv_str name);

#endif
