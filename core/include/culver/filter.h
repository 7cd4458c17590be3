/* SPDX-License-Identifier: MIT
   Filters: what decides, when a message is delivered, where it goes (Sieve and the like).

   Filters are asked after the delivery hook, in the order of their stages, until one decides. It names actions; nothing is done before it returns. All filing is
   one transaction: every copy is durable, or none is and the delivery fails. Messages that are to be sent are handed to the submission service before that,
   held, and released once the transaction is durable, before the delivery is confirmed: after a crash in between the sender tries again, and what was held
   is dropped. */
#ifndef CV_FILTER_H
#define CV_FILTER_H

#include <culver/mailbox.h>

/* Filings and sent messages of one delivery; more are LIMIT. */
#define CV_FILTER_ACTIONS_MAX 32u

/* One delivery in a filter's hands. */
struct cv_filter_run;

struct cv_filter {
	const char *name; /* of the provider: lower-case letters, digits, dash */
	int stage;        /* lower ones are asked first; equal ones in the order of their names */
	/* 1: it has decided, its actions are all that is done; no action: the message is dropped. 0: it has not, its actions are forgotten, the next one is asked;
	   when none decides, the message is kept. -1: an error that may go away (TEMP, UNAVAILABLE) fails the delivery for now; with another one the message is kept,
	   and the error logged. It does not block, and keeps nothing of run. */
	int (*run)(struct cv_filter_run *run, struct cv_err *err);
};
static inline int cv_provide_filter(struct cv_registry *reg, const struct cv_filter *filter, struct cv_err *err)
{
	return cv_provide(reg, CV_CAP_FILTER, filter->name, filter, sizeof(*filter), err);
}

/* ---- What it sees: borrowed, valid until it returns ------------------------------------------------- */

CV_EXPORT struct cv_user *cv_filter_user(const struct cv_filter_run *run);
/* Envelope, octets, and the mailbox that keep means. */
CV_EXPORT const struct cv_delivery *cv_filter_delivery(const struct cv_filter_run *run);
/* The message parsed (once, when it is asked for): header, tree of parts; their octets are in cv_filter_delivery's. */
CV_EXPORT const struct cv_message *cv_filter_message(struct cv_filter_run *run);
/* For what it makes. */
CV_EXPORT struct cv_arena *cv_filter_arena(const struct cv_filter_run *run);

/* ---- Actions: 1, or -1 with err --------------------------------------------------------------------- */

/* Flags that a filed message gets. Keywords as in cv_save_config. */
struct cv_filter_flags {
	uint16_t flags;
	const struct cv_str *keywords;
	size_t keyword_count;
};
/* To where it would go without a filter. flags may be NULL. */
CV_EXPORT CV_MUST_CHECK int cv_filter_keep(struct cv_filter_run *run, const struct cv_filter_flags *flags, struct cv_err *err);
/* To a mailbox (UTF-8, levels separated by '/'); create: it is made when it is missing, else settings decide (lda_mailbox_autocreate). What cannot go there goes to
   INBOX. The same mailbox twice is one copy with the flags of both. */
CV_EXPORT CV_MUST_CHECK int cv_filter_fileinto(struct cv_filter_run *run, struct cv_str mailbox, bool create, const struct cv_filter_flags *flags,
	struct cv_err *err);
/* The sender is told no, permanently, with this text (at most 400 octets are used; other than printable ASCII becomes blanks and question marks, since a
   reply is one line of ASCII). INVALID beside any other action. */
CV_EXPORT CV_MUST_CHECK int cv_filter_reject(struct cv_filter_run *run, struct cv_str text, struct cv_err *err);
/* Send octets (absent: the message as it was received) from an address ("": a bounce's) to another. UNSUPPORTED when no module offers the service: the filter
   may keep the message then. */
CV_EXPORT CV_MUST_CHECK int cv_filter_send(struct cv_filter_run *run, struct cv_str from, struct cv_str to, struct cv_str octets, struct cv_err *err);

/* ---- The service that sends (cv_service_register: "submission", version 1) --------------------------- */

#define CV_SUBMISSION_SERVICE "submission"
#define CV_SUBMISSION_VERSION 1u

struct cv_submission {
	/* Put a message into the queue, durable on return, held: not sent yet, and dropped when it is found held after a crash. 1 with *held_r, -1. The arguments
	   are borrowed. */
	int (*hold)(struct cv_user *user, struct cv_str from, struct cv_str to, struct cv_str octets, void **held_r, struct cv_err *err);
	/* It may be sent now; durable on return. Frees held in any case. -1 fails the delivery for now: it is made again. */
	int (*release)(void *held, struct cv_err *err);
	/* It is not to be sent. Frees held. */
	void (*cancel)(void *held);
};

#endif
