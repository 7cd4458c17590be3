/* SPDX-License-Identifier: MIT
   Plugin quota: how much mail a user may have. Private to this plugin and its tests. See README beside this file. */
#ifndef CV_QUOTA_PRIVATE_H
#define CV_QUOTA_PRIVATE_H

#include <culver/arena.h>
#include <culver/err.h>
#include <culver/str.h>

/* Rules of one user, at most: each is looked at for each message. */
#define CV_QUOTA_RULES_MAX 64u

/* ---- Rules (rule.c) ------------------------------------------------------------------------------------- */

/* One value of a rule. */
struct cv_quota_value {
	enum cv_quota_value_kind {
		CV_QUOTA_UNSET = 0,
		CV_QUOTA_PLAIN,    /* n */
		CV_QUOTA_MORE,     /* +n: above the user's limit */
		CV_QUOTA_LESS,     /* -n */
		CV_QUOTA_PERCENT,  /* +n% of the user's limit above it */
		CV_QUOTA_PERCENT_LESS
	} kind;
	uint64_t n;
};

/* What is said of the mailboxes that a mask matches. */
struct cv_quota_rule {
	struct cv_str mask; /* '/' between levels; wildcards * and ? */
	bool wild;
	bool ignore;
	struct cv_quota_value storage, messages;
};

/* Limits of everything; 0: none. storage and annotations in octets. */
struct cv_quota_most {
	uint64_t storage, messages, mailboxes, annotations;
};
static inline bool cv_quota_most_any(const struct cv_quota_most *most)
{
	return (most->storage | most->messages | most->mailboxes | most->annotations) != 0;
}

/* All rules of a user: the general one ("*"), and those of mailboxes in the order given. Strings in the arena they were parsed with. */
struct cv_quota_rules {
	bool ignore;        /* "*:ignore": nothing is limited */
	struct cv_quota_most most;
	bool fallback_only; /* what is here came from "?" rules, which "*" replaces */
	struct cv_quota_rule list[CV_QUOTA_RULES_MAX];
	size_t count;
	bool ignores;       /* some mailboxes do not count */
};

/* What applies to a mailbox. */
struct cv_quota_limits {
	bool ignored;       /* it does not count, and is not limited */
	bool storage_limited, messages_limited;
	uint64_t storage;   /* octets */
	uint64_t messages;
};

/* Add a rule, as quota_rule has it: "MAILBOX:LIMIT[:LIMIT…]" with LIMIT "storage=N[b|k|M|G|T|%]", "bytes=N…", "messages=N[%]", "ignore", and for all mailboxes "mailboxes=N",
   "annotations=N[b|k|M|G|T]"; a storage and annotations without a unit are of 1024 octets. MAILBOX "*": all; "?": all, unless a rule for "*" is there. Later ones for the same mailbox change earlier ones. separator: of
   hierarchy levels in MAILBOX beside '/'. -1 with err: nothing was added. */
CV_MUST_CHECK int cv_quota_rule_add(struct cv_quota_rules *rules, struct cv_arena *arena, char separator, struct cv_str text, struct cv_err *err);
/* The rule of a mailbox that has that name, else the first with a mask that matches; a limit of its own is added to (or taken from) the user's, as in
   Dovecot: "Trash:storage=100M" lets 100 MiB more be there while something is put into Trash. */
void cv_quota_limits_of(const struct cv_quota_rules *rules, struct cv_str mailbox, struct cv_quota_limits *limits_r);

/* quota_grace: "10%", "50M"; empty: 0. */
struct cv_quota_grace {
	bool percent;
	uint64_t n;
};
CV_MUST_CHECK int cv_quota_grace_parse(struct cv_str text, struct cv_quota_grace *grace_r, struct cv_err *err);
/* Octets above this limit. */
uint64_t cv_quota_grace_of(const struct cv_quota_grace *grace, uint64_t limit);

/* quota: "count[:ROOT[:noenforcing][:hidden][:ignoreunlimited]]". */
struct cv_quota_root {
	struct cv_str name;
	bool noenforcing;     /* limits are told and warned of, nothing is refused */
	bool hidden;          /* clients are not told of it */
	bool ignoreunlimited; /* the same for users without limits */
};
CV_MUST_CHECK int cv_quota_root_parse(struct cv_str text, struct cv_quota_root *root_r, struct cv_err *err);

/* ---- Checking (rule.c) ------------------------------------------------------------------------------------ */

/* A change that is to be made: what comes and what goes, of what counts. */
struct cv_quota_change {
	uint64_t storage_in, storage_out, messages_in, messages_out;
	bool adds;     /* something is put into a mailbox for which limits apply: only then is anything refused */
	bool stricter; /* and comes from one with higher limits: what there is now is checked even when nothing is added */
	/* The lowest ones of the mailboxes that something is put into. */
	struct cv_quota_limits limits;
};
/* Something is put into a mailbox with these limits. */
void cv_quota_change_target(struct cv_quota_change *change, const struct cv_quota_limits *limits);
/* -1: messages or storage (*storage_r) would be too much. A change that makes things no worse is always good, and so is one that goes over the limit by no more
   than grace when the limit was not reached before. */
CV_MUST_CHECK int cv_quota_change_check(const struct cv_quota_change *change, uint64_t storage, uint64_t messages, const struct cv_quota_grace *grace,
	bool *storage_r);
/* Octets of annotations, of which `used` are there: -1 when what comes in and goes out would be too much. */
CV_MUST_CHECK int cv_quota_notes_check(uint64_t used, uint64_t in, uint64_t out, uint64_t limit);

#endif
