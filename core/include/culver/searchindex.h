/* SPDX-License-Identifier: MIT
   Search indexes: what a full-text module provides so that SEARCH need not read every message.

   The search asks an index about each text key of a mailbox. What it answers must agree with what reading the messages finds (search.h): "yes" and "no" are
   taken as they are, "maybe" is looked into, and so is every message above the last UID that the index has. An index that only narrows down (words,
   trigrams) answers with maybes. Where nothing provides an index, or it fails, everything is read.

   How an index learns of messages: update is asked before a search, and may take in what is missing (a view of the mailbox, cv_mail_search_begin with a
   tap as search). Of expunges and deleted mailboxes it is told as a journal subscriber (cv_provide_subscriber), which can also index in the background;
   mailboxes are known by their GUIDs, which outlive renaming. UIDs of messages that are gone do no harm in an answer. */
#ifndef CV_SEARCHINDEX_H
#define CV_SEARCHINDEX_H

#include <culver/mailsearch.h>
#include <culver/search.h>

/* One key. */
struct cv_index_query {
	enum cv_mailsearch_kind kind; /* CV_MAILSEARCH_HEADER, _BODY or _TEXT */
	struct cv_str name;           /* HEADER: the field */
	struct cv_str text;           /* UTF-8, as asked for; may be empty (HEADER: there is such a field) */
	struct cv_str mapped;         /* the same as cv_casemap makes it: what a tap's text is compared with */
};

/* The answer: of the messages with UIDs up to upto those in yes have the key, those in maybe have to be looked into, others have it not. */
struct cv_index_answer {
	uint32_t upto;                /* 0: no answer */
	struct cv_ranges yes, maybe;
};

struct cv_search_index {
	const char *name; /* of the provider: lower-case letters, digits, dash */

	/* Once for each opening of the user, when it is needed first: 1, 0 when this user has no index, -1 (logged; not tried again before the next opening). */
	int (*open)(struct cv_user *user, void **ctx_r, struct cv_err *err);
	/* Before the user is closed. */
	void (*close)(void *ctx);

	/* A search will ask about messages up to uid: take in those that are missing. 1 when that is done (or it will not be), 0 to be called again after
	   about budget_us microseconds, so that others get their turn, -1. May be NULL: the index is brought up to date elsewhere. */
	int (*update)(void *ctx, struct cv_mailbox *mailbox, uint32_t uid, uint64_t budget_us, struct cv_err *err);

	/* 1 with *answer_r (which is empty before, and freed by the caller), -1. From memory or files: it must not wait for a peer. */
	int (*lookup)(void *ctx, struct cv_mailbox *mailbox, const struct cv_index_query *query, struct cv_index_answer *answer_r,
		struct cv_err *err);
};

static inline int cv_provide_search_index(struct cv_registry *reg, const struct cv_search_index *index, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_SEARCH, index->name, index, sizeof(*index), err);
}

/* Begin search (cv_search_step follows) with a message: its tree is in arena, and mail must stay open meanwhile. */
CV_EXPORT CV_MUST_CHECK int cv_mail_search_begin(struct cv_mail *mail, struct cv_arena *arena, struct cv_search *search, struct cv_err *err);

#endif
